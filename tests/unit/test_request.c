/* core/request.c: what the leader is asked for: nodes' reports, and clients' changes with their refusals. */

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

static void tell(struct bed *bed, const struct report *report)
{
    bed->proposals = 0;
    bed_step(bed, (struct event){.type = EV_REPORT, .report = report});
}

/* ---------------------------------------------------------------- reports */

static void test_a_report_becomes_an_entry(void **state)
{
    struct bed *bed = *state;
    struct report report = bed_report(1, false);

    tell(bed, &report);
    assert_int_equal(bed->command.type, COMMAND_NODE_REPORT);
    assert_int_equal(bed->command.report.node, 1);
    assert_int_equal(bed->command.report.id, 2);
    assert_int_equal(bed->command.report.identity, 102);
    assert_int_equal(bed->command.report.run, BED_RUN);
    assert_int_equal(bed->command.report.n_links, 1);
    assert_false(bed->command.report.links[0].up);
    assert_string_equal(bed->command.report.version, "0.1.0");
    bed_commit(bed, &bed->command);
    bed_proposed(bed, bed->table->applied);
    tell(bed, &report);
    assert_int_equal(bed->proposals, 0); /* known */
}

static void test_reports_that_count_nothing(void **state)
{
    struct bed *bed = *state;
    struct report report = bed_report(1, false);

    report.node = 44; /* a stranger */
    tell(bed, &report);
    assert_int_equal(bed->proposals, 0);
    report = bed_report(1, false);
    report.identity++; /* another disk under the same id */
    tell(bed, &report);
    assert_int_equal(bed->proposals, 0);
    report = bed_report(1, false);
    report.n_links = LINKS_MAX + 1;
    tell(bed, &report);
    assert_int_equal(bed->proposals, 0);
    bed_role(bed, RAFT_ROLE_FOLLOWER, 3, 2);
    report = bed_report(1, false);
    tell(bed, &report);
    assert_int_equal(bed->proposals, 0); /* it leads no more */
}

static void test_leaving(void **state)
{
    struct bed *bed = *state;
    struct report report = bed_report(1, true);

    report.leaving = true;
    tell(bed, &report);
    assert_int_equal(bed->command.type, COMMAND_LEAVE);
    assert_int_equal(bed->command.leave.node, 1);
    assert_int_equal(bed->command.leave.id, 2);
    assert_int_equal(bed->command.leave.run, BED_RUN);
    bed_commit(bed, &bed->command);
    bed_proposed(bed, bed->table->applied);
    tell(bed, &report);
    assert_int_equal(bed->proposals, 0);
    report.run++; /* the next run leaves, too */
    tell(bed, &report);
    assert_int_equal(bed->command.type, COMMAND_LEAVE);
    assert_int_equal(bed->command.leave.run, BED_RUN + 1);
}

static void test_conflicts(void **state)
{
    struct bed *bed = *state;
    struct report report = bed_report(1, true);
    int vip = bed_vip(bed, 0), other = bed_vip(bed, 1);

    bed_move(bed, vip, 1);
    bed_move(bed, other, 2);
    bed_applied(bed);
    report.n_conflicts = 4;
    report.conflicts[0] = (struct conflict_item){.vip = (uint16_t)vip, .moved = bed->table->vips[vip].moved,
                                                 .kind = CONFLICT_TAKEN, .mac = {1, 2, 3, 4, 5, 6}};
    report.conflicts[1] = report.conflicts[2] = report.conflicts[3] = report.conflicts[0];
    report.conflicts[1].moved--;                /* about an earlier move */
    report.conflicts[2].vip = (uint16_t)other;  /* another node's */
    report.conflicts[2].moved = bed->table->vips[other].moved;
    report.conflicts[3].vip = VIPS_MAX - 1;     /* nobody's */
    tell(bed, &report);
    assert_int_equal(bed->command.type, COMMAND_CONFLICT);
    assert_int_equal(bed->command.conflict.node, 1);
    assert_int_equal(bed->command.conflict.n_items, 1);
    assert_int_equal(bed->command.conflict.items[0].vip, vip);
    bed_commit(bed, &bed->command);
    bed_proposed(bed, bed->table->applied);
    tell(bed, &report);
    assert_int_equal(bed->proposals, 0); /* known */
    report.conflicts[3].vip = UINT16_MAX; /* beyond the table */
    tell(bed, &report);
    assert_int_equal(bed->proposals, 0);
}

/* ---------------------------------------------------------------- changes */

static enum outcome_code ask(struct bed *bed, const struct command *command, bool force, bool dry_run)
{
    struct event event = {.type = EV_REQUEST};
    enum outcome_code code = OUTCOME_DONE;

    event.request.token = 99;
    event.request.command = command;
    event.request.force = force;
    event.request.dry_run = dry_run;
    bed->proposals = 0;
    bed_step(bed, event);
    const struct action *reply = bed_find(bed, ACT_REPLY);
    if (reply) {
        assert_int_equal(reply->reply.token, 99);
        assert_true(reply->reply.outcome.detail[0] != 0);
        code = reply->reply.outcome.code;
    }
    /* either an answer, or an entry with the client's token */
    bool proposed = bed_find(bed, ACT_PROPOSE) && bed_find(bed, ACT_PROPOSE)->propose.token == 99;
    assert_true(proposed != (reply != NULL));
    return code;
}

static struct command drain_of(const struct bed *bed, int node)
{
    struct command command = {.type = COMMAND_DRAIN};

    command.drain.node = (int8_t)node;
    command.drain.id = bed->table->nodes[node].id;
    command.drain.on = true;
    return command;
}

static void test_a_change_goes_into_the_log(void **state)
{
    struct bed *bed = *state;
    struct command command = {.type = COMMAND_SETTINGS};

    command.settings = bed->table->settings;
    command.settings.announce_count = 3;
    assert_int_equal(ask(bed, &command, false, false), OUTCOME_DONE);
    assert_int_equal(bed->proposals, 1);
    assert_int_equal(bed->command.type, COMMAND_SETTINGS);
    assert_int_equal(ask(bed, &command, false, true), OUTCOME_DONE);
    assert_int_equal(bed->proposals, 0); /* --dry-run */
}

static void test_who_does_not_lead_refuses(void **state)
{
    struct bed *bed = *state;
    struct command command = drain_of(bed, 1);

    bed_at(bed, 300);
    bed_heard(bed, 1);
    bed_at(bed, 600);
    assert_int_equal(ask(bed, &command, true, false), OUTCOME_DONE); /* hears b, itself and so a majority */
    bed_at(bed, 1100);
    assert_int_equal(ask(bed, &command, true, false), OUTCOME_NO_QUORUM); /* leads, but hears nobody */
    bed_heard(bed, 1);
    bed_heard(bed, 2);
    bed_role(bed, RAFT_ROLE_FOLLOWER, 3, 2);
    assert_int_equal(ask(bed, &command, true, false), OUTCOME_NO_QUORUM);
}

static void test_a_drain_that_leaves_a_vip_nowhere(void **state)
{
    struct bed *bed = *state;
    struct command command = drain_of(bed, 1);
    int vip = bed_vip(bed, 0);

    bed->table->vips[vip].nodes = 2; /* b alone may */
    bed_move(bed, vip, 1);
    bed_applied(bed);
    bed_heard(bed, 1);
    bed_heard(bed, 2);
    assert_int_equal(ask(bed, &command, false, false), OUTCOME_UNSAFE);
    assert_non_null(strstr(bed_find(bed, ACT_REPLY)->reply.outcome.detail, "v0"));
    assert_int_equal(ask(bed, &command, false, true), OUTCOME_UNSAFE); /* judged in a dry run as well */
    assert_int_equal(ask(bed, &command, true, false), OUTCOME_DONE);
    command.drain.on = false;
    assert_int_equal(ask(bed, &command, false, false), OUTCOME_DONE);
    command.drain.on = true;
    bed->table->vips[vip].nodes = 0;
    assert_int_equal(ask(bed, &command, false, false), OUTCOME_DONE);
    bed->table->vips[vip].nodes = 2;
    bed->table->vips[vip].enabled = false; /* it is nowhere anyway */
    assert_int_equal(ask(bed, &command, false, false), OUTCOME_DONE);
}

static void test_a_delete_waits_for_the_last_move(void **state)
{
    struct bed *bed = *state;
    int vip = bed_vip(bed, 0);
    struct move move = {.vip = (uint16_t)vip, .to = SLOT_NONE};
    struct command command = {.type = COMMAND_VIP_DELETE};

    bed_applied(bed);
    bed_proposed(bed, 0);
    bed_move(bed, vip, 1);
    bed_applied(bed);
    bed_heard(bed, 1);
    bed_move(bed, vip, 2);
    bed_applied(bed);
    move.moved = bed->table->vips[vip].moved;
    command.vip_del.n_vips = 1;
    command.vip_del.vips = &move;
    assert_int_equal(ask(bed, &command, true, false), OUTCOME_STALE); /* whatever the client insists on */
    bed_heard(bed, 1); /* it has released */
    bed_heard(bed, 2);
    assert_int_equal(ask(bed, &command, false, false), OUTCOME_DONE);
    assert_int_equal(bed->command.type, COMMAND_VIP_DELETE);
}

static void test_a_pin_to_who_cannot(void **state)
{
    struct bed *bed = *state;
    int vip = bed_vip(bed, 0);
    struct command command = {.type = COMMAND_VIP_SET};

    bed_applied(bed);
    bed_proposed(bed, 0);
    command.vip_set.vip = (uint16_t)vip;
    command.vip_set.set = VIP_SET_PINNED;
    command.vip_set.spec.pinned = 2;
    assert_int_equal(ask(bed, &command, false, false), OUTCOME_DONE);
    bed->table->nodes[2].draining = true;
    assert_int_equal(ask(bed, &command, false, false), OUTCOME_UNSAFE);
    assert_non_null(strstr(bed_find(bed, ACT_REPLY)->reply.outcome.detail, "node c cannot hold VIP v0"));
    assert_int_equal(ask(bed, &command, true, false), OUTCOME_DONE);
    command.vip_set.spec.pinned = SLOT_NONE; /* `unpin` needs nobody */
    assert_int_equal(ask(bed, &command, false, false), OUTCOME_DONE);
    command.vip_set.spec.pinned = 40; /* no node */
    assert_int_equal(ask(bed, &command, false, false), OUTCOME_UNSAFE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_report_becomes_an_entry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reports_that_count_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leaving, setup, teardown),
        cmocka_unit_test_setup_teardown(test_conflicts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_change_goes_into_the_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_does_not_lead_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_drain_that_leaves_a_vip_nowhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_delete_waits_for_the_last_move, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_pin_to_who_cannot, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
