/* core/contest.c: probes before a VIP is taken, and hosts that announce what this node holds (N6). */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core_bed.h"

static const uint8_t STRANGER[MAC_SIZE] = {0x52, 0x54, 0, 1, 2, 3};

/* a owns v0, which nobody held before and which is to be asked for; it has a lease. */
static int setup(void **state)
{
    struct bed *bed = bed_open_up(3);
    int vip = bed_vip(bed, 0);

    bed->table->vips[vip].no_probe = false;
    bed_move(bed, vip, 0);
    bed_applied(bed);
    *state = bed;
    return 0;
}

static int teardown(void **state)
{
    bed_close(*state);
    return 0;
}

static void foreign(struct bed *bed, int vip, const uint8_t mac[MAC_SIZE])
{
    struct event event = {.type = EV_FOREIGN};

    event.foreign.addr = bed->table->vips[vip].address.addr;
    memcpy(event.foreign.mac, mac, MAC_SIZE);
    bed_step(bed, event);
}

static void probed(struct bed *bed, int vip, uint64_t moved, bool failed)
{
    struct event event = {.type = EV_PROBE};

    event.probe.vip = (uint16_t)vip;
    event.probe.moved = moved;
    event.probe.failed = failed;
    bed_step(bed, event);
}

static enum conflict_kind kind(const struct bed *bed, int vip)
{
    return bed->core->agent.contests[vip].kind;
}

/* Time goes on to `ms`, with b's acks. */
static void live(struct bed *bed, uint64_t ms)
{
    while (bed->now + 100 * MS < bed->start + ms * MS) {
        bed_at(bed, (bed->now - bed->start) / MS + 100);
        bed_acked(bed, 1);
    }
    bed_at(bed, ms);
    bed_acked(bed, 1);
}

/* ---------------------------------------------------------------- probes */

static void test_asked_before_it_is_taken(void **state)
{
    struct bed *bed = *state;
    uint64_t moved = bed->table->vips[0].moved;

    assert_null(bed_find(bed, ACT_PROBE)); /* without a lease there is nothing to ask for */
    bed_acked(bed, 1);
    assert_null(bed_find(bed, ACT_ADDR_ADD));
    const struct action *probe = bed_find(bed, ACT_PROBE);
    assert_int_equal(probe->probe.vip, 0);
    assert_int_equal(probe->probe.moved, moved);
    assert_int_equal(probe->probe.interval_ms, 70);
    assert_true(core_probing(bed->core, 0));
    assert_false(core_probing(bed->core, SLOT_NONE));
    probed(bed, 0, moved - 1, false); /* about an earlier move */
    assert_true(core_probing(bed->core, 0));
    probed(bed, 0, moved, false);
    assert_false(core_probing(bed->core, 0));
    assert_int_equal(bed_find(bed, ACT_ADDR_ADD)->vip, 0);
}

static void test_a_probe_that_fails_is_tried_again(void **state)
{
    struct bed *bed = *state;

    bed_acked(bed, 1);
    probed(bed, 0, bed->table->vips[0].moved, true);
    assert_null(bed_find(bed, ACT_ADDR_ADD));
    bed_at(bed, 100);
    bed_acked(bed, 1);
    bed_at(bed, 199);
    assert_null(bed_find(bed, ACT_PROBE));
    bed_at(bed, 200);
    assert_non_null(bed_find(bed, ACT_PROBE));
}

static void test_a_probe_whose_answer_never_comes(void **state)
{
    struct bed *bed = *state;

    bed_acked(bed, 1);
    live(bed, 2209);
    assert_true(core_probing(bed->core, 0));
    bed_at(bed, 2210); /* the time that a probe takes, and two seconds */
    assert_non_null(bed_find(bed, ACT_PROBE));
}

static void test_somebody_has_it(void **state)
{
    struct bed *bed = *state;
    char mac[MAC_TEXT_SIZE];

    bed_acked(bed, 1);
    foreign(bed, 0, STRANGER);
    assert_int_equal(kind(bed, 0), CONFLICT_TAKEN);
    assert_true(bed_said(bed, LOG_CORE_TAKEN));
    assert_true(contest_blocks(bed->core, 0));
    assert_false(contest_excuses(bed->core, 0)); /* not before the table knows, too */
    assert_int_equal(core_vip_conflict(bed->core, 0, mac), CONFLICT_TAKEN);
    assert_string_equal(mac, "52:54:00:01:02:03");
    probed(bed, 0, bed->table->vips[0].moved, false); /* the probe's end says nothing more */
    assert_true(contest_blocks(bed->core, 0));
    assert_null(bed_find(bed, ACT_ADDR_ADD));
    bed->table->vips[0].conflict.kind = CONFLICT_TAKEN;
    assert_true(contest_excuses(bed->core, 0));
    live(bed, 4999);
    assert_false(core_probing(bed->core, 0));
    bed_at(bed, 5000);
    assert_non_null(bed_find(bed, ACT_PROBE)); /* asked again every five seconds */
    probed(bed, 0, bed->table->vips[0].moved, false);
    assert_int_equal(kind(bed, 0), CONFLICT_NONE);
    assert_true(bed_said(bed, LOG_CORE_CONFLICT_END));
    bed_acked(bed, 1);
    bed_rest(bed);
    assert_int_equal(bed->core->agent.contests[0].clear, true);
}

static void asked_for(struct bed *bed, int vip, const uint8_t mac[MAC_SIZE])
{
    struct event event = {.type = EV_FOREIGN, .foreign = {.addr = bed->table->vips[vip].address.addr, .probes = true}};

    memcpy(event.foreign.mac, mac, MAC_SIZE);
    bed_step(bed, event);
}

/* RFC 5227 2.1.1: a host that probes for the address while this node does. */
static void test_somebody_asks_at_the_same_time(void **state)
{
    struct bed *bed = *state;
    uint8_t member[MAC_SIZE] = {2, 0, 0, 0, 0, 9};

    asked_for(bed, 0, STRANGER); /* not yet asked for here: whoever takes it first answers the other */
    assert_int_equal(kind(bed, 0), CONFLICT_NONE);
    bed_acked(bed, 1);
    assert_non_null(bed_find(bed, ACT_PROBE));
    memcpy(bed->table->nodes[1].links[0].mac, member, MAC_SIZE);
    bed->table->nodes[1].n_links = 1;
    asked_for(bed, 0, member); /* one of the cluster's own, whose turn is over or yet to come */
    assert_int_equal(kind(bed, 0), CONFLICT_NONE);
    asked_for(bed, 0, STRANGER);
    assert_int_equal(kind(bed, 0), CONFLICT_TAKEN);
    assert_null(bed_find(bed, ACT_ADDR_ADD));
    probed(bed, 0, bed->table->vips[0].moved, false); /* its own probe says nothing any more */
    assert_null(bed_find(bed, ACT_ADDR_ADD));
    assert_int_equal(kind(bed, 0), CONFLICT_TAKEN);
    live(bed, 5200);
    assert_true(bed->core->agent.contests[0].probing); /* asked again */
    probed(bed, 0, bed->table->vips[0].moved, false);
    assert_non_null(bed_find(bed, ACT_ADDR_ADD));
    assert_int_equal(kind(bed, 0), CONFLICT_NONE);
    asked_for(bed, 0, STRANGER); /* what is held: the kernel answers */
    assert_int_equal(kind(bed, 0), CONFLICT_NONE);
    assert_int_equal(bed->core->agent.foreign, 0);
}

static void test_told_to_take_it_nevertheless(void **state)
{
    struct bed *bed = *state;

    bed_acked(bed, 1);
    foreign(bed, 0, STRANGER);
    assert_true(contest_blocks(bed->core, 0));
    struct command command = {.type = COMMAND_VIP_SET};
    command.vip_set.vip = 0;
    strcpy(command.vip_set.name, "v0");
    command.vip_set.set = VIP_SET_PROBE;
    command.vip_set.spec.no_probe = true;
    command.vip_set.spec.pinned = SLOT_NONE;
    bed_commit(bed, &command);
    bed_applied(bed);
    assert_false(contest_blocks(bed->core, 0));
    assert_int_equal(bed_find(bed, ACT_ADDR_ADD)->vip, 0);
}

static void test_intervals_of_probes(void **state)
{
    (void)state;
    assert_int_equal(core_probe_ms(&(struct timing){.interval_ms = 5}), 60);
    assert_int_equal(core_probe_ms(&(struct timing){.interval_ms = 30}), 90);
    assert_int_equal(core_probe_ms(&(struct timing){.interval_ms = 100}), 210);
    assert_int_equal(core_probe_ms(&(struct timing){.interval_ms = 60000}), 210);
}

/* What an earlier run of this node owned without a conflict is not asked for again. */
static void test_a_restart_does_not_ask(void **state)
{
    struct bed *bed = *state;

    memset(bed->core, 0, core_size());
    core_init(bed->core, 1, BED_RUN, bed->table, bed->now);
    bed_caught_up(bed);
    struct report report = bed_report(0, true);
    bed_step(bed, (struct event){.type = EV_LINKS, .report = &report});
    bed_acked(bed, 1);
    assert_null(bed_find(bed, ACT_PROBE));
    assert_non_null(bed_find(bed, ACT_ADDR_ADD));
}

/* ---------------------------------------------------------------- what is held (N6) */

/* a holds v0, and the move that gave it is longer ago than a lease. */
static void held(struct bed *bed)
{
    bed_acked(bed, 1);
    probed(bed, 0, bed->table->vips[0].moved, false);
    bed_kernel(bed, 0, true);
    bed_rest(bed);
    live(bed, 600);
    assert_true(core_may_hold(bed->core, 0, bed->now));
}

static void test_the_gate_closes_until_a_majority_speaks(void **state)
{
    struct bed *bed = *state;

    held(bed);
    bed->now += 10 * MS;
    struct answer before = bed_answer_of(bed, 1); /* to a heartbeat that was sent before the claim */
    foreign(bed, 0, STRANGER);
    assert_int_equal(bed_find(bed, ACT_LEASE)->lease_end, 0);
    assert_int_equal(bed_count(bed, ACT_HEARTBEAT), 2); /* the voters are asked at once */
    assert_false(core_may_hold(bed->core, 0, bed->now));
    assert_null(bed_find(bed, ACT_ADDR_DEL)); /* one forged packet takes no VIP down */
    bed->now += MS;
    bed_answer(bed, &before);
    assert_false(core_may_hold(bed->core, 0, bed->now));
    bed_acked(bed, 1); /* and this one was sent because of the claim */
    assert_true(core_may_hold(bed->core, 0, bed->now));
    assert_int_equal(kind(bed, 0), CONFLICT_DEFENDED);
}

static void test_a_claim_is_defended(void **state)
{
    struct bed *bed = *state;

    held(bed);
    bed->now += 10 * MS;
    foreign(bed, 0, STRANGER);
    assert_true(bed_said(bed, LOG_CORE_DEFENDED));
    bed->now += MS;
    bed_acked(bed, 1);
    assert_non_null(bed_find(bed, ACT_ANNOUNCE_ALL));
    bed->now += 20 * MS;
    foreign(bed, 0, STRANGER);
    assert_false(bed_said(bed, LOG_CORE_DEFENDED)); /* once */
    bed->now += MS;
    bed_acked(bed, 1);
    assert_true(core_may_hold(bed->core, 0, bed->now));
    assert_null(bed_find(bed, ACT_ANNOUNCE_ALL)); /* and announced once a second at the most */
    live(bed, 30600);
    assert_int_equal(kind(bed, 0), CONFLICT_DEFENDED);
    live(bed, 30800); /* 30 s after the last claim */
    assert_int_equal(kind(bed, 0), CONFLICT_NONE);
}

static void test_a_claim_is_yielded_to(void **state)
{
    struct bed *bed = *state;

    bed->table->vips[0].yield = true;
    held(bed);
    foreign(bed, 0, STRANGER);
    assert_true(bed_said(bed, LOG_CORE_YIELDED));
    assert_true(contest_blocks(bed->core, 0));
    assert_non_null(bed_find(bed, ACT_ADDR_DEL));
    bed_kernel(bed, 0, false);
    live(bed, 30500);
    assert_false(core_probing(bed->core, 0));
    live(bed, 30700); /* silent for 30 s: asked for, and not simply taken */
    assert_true(core_probing(bed->core, 0));
}

static void test_what_is_no_conflict(void **state)
{
    struct bed *bed = *state;
    struct link member = bed_link(2, true);

    held(bed);
    foreign(bed, 0, member.mac); /* another node of the cluster: late */
    assert_int_equal(kind(bed, 0), CONFLICT_NONE);
    assert_true(bed_said(bed, LOG_CORE_FOREIGN));
    live(bed, 701);
    foreign(bed, 0, member.mac);
    assert_false(bed_said(bed, LOG_CORE_FOREIGN)); /* one line a second */
    live(bed, 900);
    bed_move(bed, 0, 1);
    bed_applied(bed);
    bed_kernel(bed, 0, false);
    bed_rest(bed);
    foreign(bed, 0, STRANGER); /* neither its VIP any more, nor in its kernel */
    assert_int_equal(kind(bed, 0), CONFLICT_NONE);
    assert_null(bed_find(bed, ACT_LEASE));
    struct event event = {.type = EV_FOREIGN};
    assert_int_equal(addr_parse("10.0.0.200", &event.foreign.addr), 0);
    bed_step(bed, event);
    assert_null(bed_find(bed, ACT_LEASE));
}

/* Within a lease of the move the earlier owner's announcements are still on their way. */
static void test_a_claim_right_after_the_move(void **state)
{
    struct bed *bed = *state;

    bed_acked(bed, 1);
    probed(bed, 0, bed->table->vips[0].moved, false);
    bed_kernel(bed, 0, true);
    bed_rest(bed);
    foreign(bed, 0, STRANGER);
    assert_int_equal(kind(bed, 0), CONFLICT_NONE);
    assert_int_equal(bed_find(bed, ACT_LEASE)->lease_end, 0); /* the gate closes all the same */
}

/* ---------------------------------------------------------------- bounds */

/* A flood of forged claims: so many are on record as the limits say, and a report has its share of them. */
static void test_a_flood(void **state)
{
    struct bed *bed = bed_open_up(3);
    struct report report = bed_report(0, true);
    int n = 70, recorded = 0;
    (void)state;

    for (int i = 0; i < n; i++) {
        int vip = bed_vip(bed, i);
        bed_move(bed, vip, 0);
    }
    bed_applied(bed);
    bed_acked(bed, 1);
    for (int i = 0; i < n; i++) {
        bed_kernel(bed, i, true);
    }
    bed_rest(bed);
    live(bed, 700);
    for (int i = 0; i < n; i++) {
        foreign(bed, i, STRANGER);
        recorded += kind(bed, i) == CONFLICT_DEFENDED;
    }
    assert_int_equal(recorded, 64);
    assert_int_equal(bed->core->agent.n_defended, 64);
    assert_true(contest_report(bed->core, &report));
    assert_int_equal(report.n_conflicts, CONFLICTS_MAX);
    for (int i = 0; i < CONFLICTS_MAX; i++) {
        assert_int_equal(report.conflicts[i].kind, CONFLICT_DEFENDED);
        assert_memory_equal(report.conflicts[i].mac, STRANGER, MAC_SIZE);
        bed->table->vips[report.conflicts[i].vip].conflict.kind = CONFLICT_DEFENDED; /* the table learns of them */
    }
    assert_true(contest_report(bed->core, &report));
    assert_int_equal(report.n_conflicts, CONFLICTS_MAX); /* the others follow */
    for (int i = 0; i < n; i++) {
        bed->table->vips[i].conflict.kind = kind(bed, i);
    }
    assert_false(contest_report(bed->core, &report));
    assert_int_equal(report.n_conflicts, 0);
    bed_close(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_asked_before_it_is_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_probe_that_fails_is_tried_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_probe_whose_answer_never_comes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_somebody_has_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_somebody_asks_at_the_same_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_told_to_take_it_nevertheless, setup, teardown),
        cmocka_unit_test(test_intervals_of_probes),
        cmocka_unit_test_setup_teardown(test_a_restart_does_not_ask, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_gate_closes_until_a_majority_speaks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_claim_is_defended, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_claim_is_yielded_to, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_no_conflict, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_claim_right_after_the_move, setup, teardown),
        cmocka_unit_test(test_a_flood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
