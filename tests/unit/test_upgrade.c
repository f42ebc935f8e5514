/* core/upgrade.c: the cluster's format, who is in the way of a newer one, and when the leader takes the cluster to it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core_bed.h"

static int setup(void **state)
{
    struct bed *bed = bed_open_up(3);

    bed_heard(bed, 1);
    bed_heard(bed, 2);
    bed_acked(bed, 1);
    bed_lead(bed);
    *state = bed;
    return 0;
}

static int teardown(void **state)
{
    bed_close(*state);
    return 0;
}

static void reads(struct bed *bed, int node, uint32_t first, uint32_t last)
{
    const struct node *at = &bed->table->nodes[node];
    struct command command = {.type = COMMAND_NODE_REPORT};

    command.report.node = (int8_t)node;
    command.report.id = at->id;
    command.report.identity = at->identity;
    command.report.run = BED_RUN;
    command.report.n_links = at->n_links;
    memcpy(command.report.links, at->links, sizeof command.report.links);
    snprintf(command.report.version, sizeof command.report.version, "1.%u", last);
    command.report.reads_first = first;
    command.report.reads_last = last;
    bed_commit(bed, &command);
}

static enum outcome_code go_over(struct bed *bed, uint32_t was, uint32_t format)
{
    struct command command = {.type = COMMAND_FORMAT, .upgrade = {.was = was, .format = format}};

    return bed_apply(bed, &command);
}

static void test_the_lowest_of_all(void **state)
{
    struct bed *bed = *state;
    int who;

    assert_int_equal(bed->table->format, FORMAT_FIRST);
    assert_int_equal(format_common(bed->table, &who), FORMAT_FIRST); /* nobody has said anything */
    assert_int_equal(who, 0);
    reads(bed, 0, 1, 4);
    reads(bed, 1, 2, 3);
    assert_int_equal(format_common(bed->table, &who), FORMAT_FIRST);
    assert_int_equal(who, 2);
    reads(bed, 2, 1, 5);
    assert_int_equal(format_common(bed->table, &who), 3);
    assert_int_equal(who, 1);
    assert_string_equal(bed->table->nodes[1].version, "1.3");
    assert_int_equal(bed->table->nodes[1].reads_first, 2);
}

/* L0, and never before all read it, whatever a leader says; a node that comes back older does not lower it. */
static void test_when_an_entry_counts(void **state)
{
    struct bed *bed = *state;

    reads(bed, 0, 1, 4);
    reads(bed, 1, 1, 3);
    assert_int_equal(go_over(bed, FORMAT_FIRST, 2), OUTCOME_STALE); /* c has not said what it reads */
    reads(bed, 2, 1, 2);
    assert_int_equal(go_over(bed, FORMAT_FIRST, 3), OUTCOME_STALE);
    assert_int_equal(go_over(bed, 2, 2), OUTCOME_STALE);
    assert_int_equal(bed->table->format, FORMAT_FIRST);
    uint64_t digest = table_digest(bed->table);
    assert_int_equal(go_over(bed, FORMAT_FIRST, 2), OUTCOME_DONE);
    assert_int_equal(bed->table->format, 2);
    assert_true(table_digest(bed->table) != digest);
    assert_int_equal(bed->table->changed, bed->table->applied);
    const struct history *last = &bed->table->history[(bed->table->n_history - 1) % HISTORY_MAX];
    assert_int_equal(last->kind, HISTORY_FORMAT);
    assert_string_equal(last->subject, "2");
    assert_int_equal(go_over(bed, FORMAT_FIRST, 2), OUTCOME_STALE); /* once */
    reads(bed, 2, 1, 1);
    int who;
    assert_int_equal(format_common(bed->table, &who), 2);
    assert_int_equal(bed->table->format, 2);
}

/* Types of this version are all of its first format; a later one has more. */
static void test_what_is_refused_names_the_node(void **state)
{
    struct bed *bed = *state;
    char why[192];

    for (int type = COMMAND_FOUND; type <= COMMAND_FORMAT; type++) {
        assert_true(format_since((enum command_type)type) <= FORMAT_LAST);
        assert_false(format_refuses(bed->table, (enum command_type)type, why));
        assert_string_equal(why, "");
    }
    bed->table->format = 0; /* as if it needed the next */
    reads(bed, 0, 0, 2);
    reads(bed, 2, 0, 2);
    assert_true(format_refuses(bed->table, COMMAND_DRAIN, why));
    assert_string_equal(why, "this needs format 1, and node b has not said yet what it reads: start it, or remove it");
    reads(bed, 1, 0, 1);
    assert_true(format_refuses(bed->table, COMMAND_DRAIN, why));
    assert_string_equal(why, ""); /* about to go over */
    bed->table->nodes[1].reads_last = 0;
    strcpy(bed->table->nodes[1].version, "0.9");
    assert_true(format_refuses(bed->table, COMMAND_DRAIN, why));
}

/* The heartbeats decide: the report in the table may be of an earlier run. */
static void test_the_leader_waits_for_every_heartbeat(void **state)
{
    struct bed *bed = *state;

    for (int node = 0; node < 3; node++) {
        reads(bed, node, 0, FORMAT_LAST);
    }
    bed->table->format = FORMAT_LAST - 1; /* the cluster of the version before this one */
    for (int node = 1; node < 3; node++) {
        struct heartbeat beat = bed_beat(bed, node);
        beat.format = node == 1 ? FORMAT_LAST : FORMAT_LAST - 1;
        bed_hear(bed, &beat);
    }
    bed->proposals = 0;
    bed_applied(bed);
    assert_int_equal(bed->proposals, 0);
    struct heartbeat beat = bed_beat(bed, 2);
    beat.format = FORMAT_LAST;
    bed_hear(bed, &beat);
    assert_int_equal(bed->proposals, 1);
    assert_int_equal(bed->command.type, COMMAND_FORMAT);
    assert_int_equal(bed->command.upgrade.was, FORMAT_LAST - 1);
    assert_int_equal(bed->command.upgrade.format, FORMAT_LAST);
    bed_commit(bed, &bed->command);
    bed_proposed(bed, bed->table->applied);
    assert_int_equal(bed->proposals, 1);
    assert_int_equal(bed->table->format, FORMAT_LAST);
}

/* One that is out holds nothing, and must not keep the others back. */
static void test_one_that_is_out_goes_by_its_report(void **state)
{
    struct bed *bed = *state;

    for (int node = 0; node < 3; node++) {
        reads(bed, node, 0, FORMAT_LAST);
    }
    bed->table->format = FORMAT_LAST - 1;
    bed_fence(bed, 2);
    bed->proposals = 0;
    struct heartbeat beat = bed_beat(bed, 1);
    beat.format = FORMAT_LAST;
    bed_hear(bed, &beat);
    assert_int_equal(bed->proposals, 1);
    assert_int_equal(bed->command.type, COMMAND_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_lowest_of_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_when_an_entry_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_refused_names_the_node, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_leader_waits_for_every_heartbeat, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_that_is_out_goes_by_its_report, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
