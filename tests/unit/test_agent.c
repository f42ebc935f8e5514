/* core/agent.c: the lease (N1), what the kernel is asked to have (N2, N3), heartbeats, the report, the orderly end. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core_bed.h"

#define LEASE (515 * MS * 99 / 101 - 5 * MS)

static int setup(void **state)
{
    *state = bed_open_up(3);
    return 0;
}

static int teardown(void **state)
{
    bed_close(*state);
    return 0;
}

static time_ns lease_end(const struct bed *bed)
{
    return bed->core->agent.lease_end;
}

/* ---------------------------------------------------------------- N1 */

static void test_a_majority_makes_a_lease(void **state)
{
    struct bed *bed = *state;

    assert_int_equal(lease_end(bed), 0); /* its own ack is one of three */
    bed_at(bed, 7);
    time_ns sent = bed->core->agent.sent[bed->core->agent.seq % SEND_RING];
    struct answer answer = bed_answer_of(bed, 1);
    bed_answer(bed, &answer);
    assert_int_equal(lease_end(bed), sent + LEASE);
    assert_int_equal(bed_find(bed, ACT_LEASE)->lease_end, lease_end(bed));
    assert_true(bed_said(bed, LOG_CORE_LEASE_GAINED));
    bed_answer(bed, &answer);
    assert_null(bed_find(bed, ACT_LEASE)); /* the same again is no news */
    /* it is given up when the voters who made it are no voters any more */
    bed->table->voters = 5;
    bed_applied(bed);
    assert_int_equal(lease_end(bed), 0);
}

static void test_answers_that_count_nothing(void **state)
{
    struct bed *bed = *state;
    struct answer answer = bed_answer_of(bed, 1);
    static const struct
    {
        uint64_t from, to, run;
        int64_t seq; /* against the last one sent */
        bool acked;
    } CASES[] = {
        {2, 2, BED_RUN, 0, true},     {2, 1, BED_RUN + 1, 0, true}, {2, 1, BED_RUN, 1, true},
        {2, 1, BED_RUN, 0, false},    {1, 1, BED_RUN, 0, true},     {9, 1, BED_RUN, 0, true},
        {2, 1, BED_RUN, -SEND_RING, true},
    };

    for (uint64_t ms = 0; bed->core->agent.seq <= SEND_RING + 2; ms += 100) {
        bed_at(bed, ms);
    }
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        answer.from = CASES[i].from;
        answer.to = CASES[i].to;
        answer.run = CASES[i].run;
        answer.seq = bed->core->agent.seq + (uint64_t)CASES[i].seq;
        answer.acked = CASES[i].acked;
        bed_answer(bed, &answer);
        assert_int_equal(lease_end(bed), 0);
        assert_int_equal(bed->core->agent.acked[1], 0);
    }
    answer = bed_answer_of(bed, 1);
    answer.seq = 0;
    bed_answer(bed, &answer);
    assert_int_equal(bed->core->agent.acked[1], 0);
    answer.seq = bed->core->agent.seq - SEND_RING + 1; /* the oldest that is remembered: too old for a lease by far */
    bed_answer(bed, &answer);
    assert_true(bed->core->agent.acked[1] > 0);
    assert_true(lease_end(bed) < bed->now);
    /* an older one after a newer one takes nothing back */
    bed_acked(bed, 1);
    time_ns acked = bed->core->agent.acked[1];
    bed_answer(bed, &answer);
    assert_int_equal(bed->core->agent.acked[1], acked);
}

/* ---------------------------------------------------------------- what others' promises leave (V3, N2) */

static void test_promise_reports(void **state)
{
    struct bed *bed = *state;

    bed_fence(bed, 2);
    bed_applied(bed);
    struct answer answer = bed_answer_of(bed, 1);
    answer.n_promises = 1;
    struct promise_report *report = &answer.promises[0];
    struct runout *runout = &bed->core->runout[2][1];
    uint64_t fence = bed->table->nodes[2].fence;

    *report = (struct promise_report){.node = 3, .fence = 0, .left_us = 0}; /* of no fence */
    bed_answer(bed, &answer);
    assert_int_equal(runout->fence, 0);
    *report = (struct promise_report){.node = 3, .fence = fence, .left_us = 3600ull * 1000000 + 1}; /* of no sense */
    bed_answer(bed, &answer);
    assert_int_equal(runout->fence, 0);
    *report = (struct promise_report){.node = 99, .fence = fence, .left_us = 0};
    bed_answer(bed, &answer);
    *report = (struct promise_report){.node = 3, .fence = fence, .left_us = 300000};
    bed_answer(bed, &answer);
    assert_int_equal(runout->fence, fence);
    assert_int_equal(runout->at, bed->now + 300 * MS);
    report->left_us = 400000; /* a late one takes nothing back */
    bed_answer(bed, &answer);
    assert_int_equal(runout->at, bed->now + 300 * MS);
    report->left_us = 200000;
    bed_answer(bed, &answer);
    assert_int_equal(runout->at, bed->now + 200 * MS);
    *report = (struct promise_report){.node = 3, .fence = fence - 1, .left_us = 0}; /* an earlier fence's */
    bed_answer(bed, &answer);
    assert_int_equal(runout->at, bed->now + 200 * MS);
    report->fence = fence + 1; /* a fence that this node has yet to apply */
    report->left_us = 500000;
    bed_answer(bed, &answer);
    assert_int_equal(runout->fence, fence + 1);
    assert_int_equal(runout->at, bed->now + 500 * MS);
    assert_true(core_runout(bed->core, 2) == NEVER);
}

static void test_released_reports(void **state)
{
    struct bed *bed = *state;
    struct answer answer = bed_answer_of(bed, 1);
    uint64_t own = bed->core->hearing[0].released;

    answer.n_released = 3;
    answer.released[0] = (struct released_report){.node = 3, .released = 10};
    answer.released[1] = (struct released_report){.node = 1, .released = 1000};
    answer.released[2] = (struct released_report){.node = 44, .released = 1000};
    bed_answer(bed, &answer);
    assert_int_equal(bed->core->hearing[2].released, 10);
    assert_int_equal(bed->core->hearing[0].released, own); /* nobody else knows that better */
    answer.released[0].released = 9;
    bed_answer(bed, &answer);
    assert_int_equal(bed->core->hearing[2].released, 10);
}

/* ---------------------------------------------------------------- heartbeats */

static void test_heartbeats_in_turn(void **state)
{
    struct bed *bed = bed_open(5);
    (void)state;

    bed_caught_up(bed);
    uint64_t seq = bed->core->agent.seq;
    assert_int_equal(bed_count(bed, ACT_HEARTBEAT), 4); /* all voters but itself */
    assert_int_equal(bed_find(bed, ACT_HEARTBEAT)->heartbeat.seq, seq);
    assert_int_equal(bed_find(bed, ACT_HEARTBEAT)->heartbeat.from, 1);
    bed_at(bed, 99);
    assert_int_equal(bed_count(bed, ACT_HEARTBEAT), 0);
    assert_true(bed->actions->deadline <= bed->start + 100 * MS);
    bed_at(bed, 100);
    assert_int_equal(bed_count(bed, ACT_HEARTBEAT), 4);
    assert_int_equal(bed->core->agent.seq, seq + 1);
    /* to voters only, and not to itself */
    bed->table->voters = 1 | 2 | 4;
    bed_at(bed, 200);
    assert_int_equal(bed_count(bed, ACT_HEARTBEAT), 2);
    bed_close(bed);
}

/* News goes out of turn, but not more often than every 2 ms. */
static void test_news_goes_at_once(void **state)
{
    struct bed *bed = *state;

    bed_at(bed, 100);
    bed_at(bed, 110);
    bed_drain(bed, 1, true);
    bed_applied(bed);
    assert_int_equal(bed_count(bed, ACT_HEARTBEAT), 2);
    assert_int_equal(bed_find(bed, ACT_HEARTBEAT)->heartbeat.applied, bed->table->applied);
    bed_drain(bed, 1, false);
    bed->now += MS;
    bed_applied(bed);
    assert_int_equal(bed_count(bed, ACT_HEARTBEAT), 0);
    assert_int_equal(bed->actions->deadline, bed->now + MS);
    bed_at(bed, 112);
    assert_int_equal(bed_count(bed, ACT_HEARTBEAT), 2);
}

/* ---------------------------------------------------------------- addresses (N2, N3) */

static void test_a_lease_and_a_vip(void **state)
{
    struct bed *bed = *state;
    int vip = bed_vip(bed, 0);

    bed_move(bed, vip, 0);
    bed_applied(bed);
    assert_null(bed_find(bed, ACT_ADDR_ADD)); /* no lease */
    assert_false(core_may_hold(bed->core, vip, bed->now));
    bed_acked(bed, 1);
    assert_int_equal(bed_find(bed, ACT_ADDR_ADD)->vip, vip);
    assert_true(core_may_hold(bed->core, vip, bed->now));
    assert_false(core_may_hold(bed->core, SLOT_NONE, bed->now));
    assert_false(core_may_hold(bed->core, vip, lease_end(bed)));
    bed_kernel(bed, vip, true);
    assert_int_equal(bed_find(bed, ACT_ANNOUNCE)->vip, vip);
    assert_int_equal(bed->core->agent.n_present, 1);
    bed_kernel(bed, vip, true); /* an echo */
    assert_null(bed_find(bed, ACT_ANNOUNCE));
    assert_int_equal(bed->core->agent.n_present, 1);
    /* somebody took it away: it is put back */
    bed_kernel(bed, vip, false);
    assert_int_equal(bed_find(bed, ACT_SILENCE)->vip, vip);
    assert_true(bed_said(bed, LOG_CORE_READD));
    bed_rest(bed);
    assert_int_equal(bed_find(bed, ACT_ADDR_ADD)->vip, vip);
    /* an address that is no VIP is nobody's business here */
    struct event event = {.type = EV_KERNEL};
    assert_int_equal(addr_parse("10.0.0.200", &event.kernel.addr), 0);
    event.kernel.present = true;
    bed_step(bed, event);
    assert_int_equal(bed->core->agent.n_present, 0);
}

static void test_what_goes_before_it_is_released(void **state)
{
    struct bed *bed = *state;
    int vip = bed_vip(bed, 0);

    bed_move(bed, vip, 0);
    bed_applied(bed);
    bed_acked(bed, 1);
    bed_kernel(bed, vip, true);
    bed_rest(bed);
    assert_int_equal(bed->core->agent.released, bed->table->applied);
    bed_move(bed, vip, 1);
    bed_applied(bed);
    assert_true(addr_equal(&bed_find(bed, ACT_ADDR_DEL)->addr, &bed->table->vips[vip].address.addr));
    assert_true(bed->core->agent.released < bed->table->applied); /* not before the kernel has said so (N3) */
    struct event event = {.type = EV_KERNEL};
    event.kernel.addr = bed->table->vips[vip].address.addr;
    event.kernel.present = event.kernel.failed = true; /* refused */
    bed_step(bed, event);
    bed_rest(bed);
    assert_true(bed->core->agent.released < bed->table->applied);
    assert_null(bed_find(bed, ACT_ADDR_DEL)); /* tried again, but not in a loop */
    bed_at(bed, 200);
    assert_non_null(bed_find(bed, ACT_ADDR_DEL));
    bed_kernel(bed, vip, false);
    bed_rest(bed);
    assert_int_equal(bed->core->agent.released, bed->table->applied);
}

/* `n` VIPs that are node a's. */
static void many_vips(struct bed *bed, int n)
{
    struct move *moves = calloc((size_t)n, sizeof *moves);
    struct vip_spec *specs = calloc((size_t)n, sizeof *specs);
    struct command command = {.type = COMMAND_VIP_ADD};

    for (int i = 0; i < n; i++) {
        char address[32];
        specs[i].enabled = specs[i].no_probe = true;
        specs[i].pinned = SLOT_NONE;
        strcpy(specs[i].dev, "eth0");
        snprintf(specs[i].name, sizeof specs[i].name, "m%d", i);
        snprintf(address, sizeof address, "10.1.%d.%d/32", i / 250, i % 250 + 1);
        assert_int_equal(prefix_parse(address, &specs[i].address, NULL), 0);
    }
    command.vip_add.n_vips = (uint32_t)n;
    command.vip_add.vips = specs;
    bed_commit(bed, &command);
    for (int i = 0; i < n; i++) {
        moves[i] = (struct move){.vip = (uint16_t)i, .to = 0, .moved = bed->table->vips[i].moved};
    }
    command = (struct command){.type = COMMAND_MOVE};
    command.move.n_moves = (uint32_t)n;
    command.move.moves = moves;
    bed_commit(bed, &command);
    free(specs);
    free(moves);
}

/* However many there are, a step asks for ADDR_BATCH at the most, and says that there is more. The loop turns once between two
 * batches, whatever else comes in that turn; but it does not rest. */
static void test_batches(void **state)
{
    struct bed *bed = *state;

    many_vips(bed, ADDR_BATCH + 10);
    bed_acked(bed, 1);
    bed->now += 10 * MS; /* with so many it does not look at once */
    bed_applied(bed);
    assert_int_equal(bed_count(bed, ACT_ADDR_ADD), ADDR_BATCH);
    assert_true(bed->actions->more);
    for (int i = 0; i < ADDR_BATCH; i++) {
        struct event event = {.type = EV_KERNEL};
        event.kernel.addr = bed->table->vips[i].address.addr;
        event.kernel.present = true;
        event.kernel.more = i < ADDR_BATCH - 1;
        bed_step(bed, event);
        assert_int_equal(bed_count(bed, ACT_ADDR_ADD), 0);
    }
    assert_true(bed->actions->more);
    bed_heard(bed, 1);
    assert_int_equal(bed_count(bed, ACT_ADDR_ADD), 0);
    assert_true(bed->actions->more);
    struct event echo = {.type = EV_KERNEL, .kernel = {.addr = bed->table->vips[0].address.addr, .present = true}};
    bed_step(bed, echo);
    assert_int_equal(bed_count(bed, ACT_ADDR_ADD), 0);
    assert_true(bed->actions->more);
    bed_step(bed, (struct event){.type = EV_CONTINUE});
    assert_int_equal(bed_count(bed, ACT_ADDR_ADD), 10);
}

/* What an earlier run left is announced as it is taken over, so many in a step that the words about them would leave no room
 * for the deeds. */
static void test_batches_of_what_was_kept(void **state)
{
    enum { KEPT = ADDR_BATCH + 10 };
    struct bed *bed = bed_open(3);
    struct addr *earlier = calloc(KEPT, sizeof *earlier);
    struct event event = {.type = EV_DISK};
    struct report report = bed_report(0, true);
    unsigned announced = 0;
    (void)state;

    many_vips(bed, KEPT);
    for (int i = 0; i < KEPT; i++) {
        earlier[i] = bed->table->vips[i].address.addr;
    }
    event.disk.caught_up = true;
    event.disk.last_index = event.disk.target = bed->table->applied;
    event.disk.earlier = earlier;
    event.disk.n_earlier = KEPT;
    bed_step(bed, event);
    bed_step(bed, (struct event){.type = EV_LINKS, .report = &report});
    bed->now += 10 * MS;
    bed_acked(bed, 1);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(bed_count(bed, ACT_ADDR_DEL), 0);
        assert_in_range(bed_count(bed, ACT_ANNOUNCE), 0, ADDR_BATCH);
        assert_in_range(bed_count(bed, ACT_LOG), 0, LOGS_MAX);
        announced += (unsigned)bed_count(bed, ACT_ANNOUNCE);
        bed->now += 10 * MS;
        bed_step(bed, (struct event){.type = EV_CONTINUE});
    }
    assert_int_equal(announced, KEPT);
    free(earlier);
    bed_close(bed);
}

/* ---------------------------------------------------------------- the report */

static void test_the_report_is_told_until_it_is_known(void **state)
{
    struct bed *bed = *state;
    struct report report = bed_report(0, true);

    assert_true(agent_report_known(&bed->table->nodes[0], &report));
    bed_role(bed, RAFT_ROLE_FOLLOWER, 2, 2);
    assert_null(bed_find(bed, ACT_REPORT)); /* the table has it all */
    report = bed_report(0, false);
    assert_false(agent_report_known(&bed->table->nodes[0], &report));
    bed->now = bed->start + 500 * MS;
    bed_step(bed, (struct event){.type = EV_LINKS, .report = &report});
    assert_int_equal(bed_find(bed, ACT_REPORT)->to, 2);
    bed_at(bed, 799);
    assert_null(bed_find(bed, ACT_REPORT));
    bed_at(bed, 800);
    assert_non_null(bed_find(bed, ACT_REPORT)); /* again every three intervals */
    bed_links(bed, 0, false);
    bed_applied(bed);
    bed_at(bed, 1200);
    assert_null(bed_find(bed, ACT_REPORT));
    assert_int_equal(core_report(bed->core)->n_links, 1);
    assert_false(core_report(bed->core)->links[0].up);
}

static void test_what_makes_a_report_news(void **state)
{
    struct bed *bed = *state;
    const struct node *node = &bed->table->nodes[0];
    struct report report = bed_report(0, true);

    report.identity++;
    assert_false(agent_report_known(node, &report));
    report = bed_report(0, true);
    report.witness = true;
    assert_false(agent_report_known(node, &report));
    report = bed_report(0, true);
    report.leaving = true;
    assert_false(agent_report_known(node, &report));
    report = bed_report(0, true);
    strcpy(report.version, "9");
    assert_false(agent_report_known(node, &report));
    report = bed_report(0, true);
    report.n_links = 0;
    assert_false(agent_report_known(node, &report));
    report = bed_report(0, true);
    report.links[0].mac[5]++;
    assert_false(agent_report_known(node, &report));
    report = bed_report(0, true);
    report.links[0].prefixes[0].len--;
    assert_false(agent_report_known(node, &report));
    report = bed_report(0, true);
    strcpy(report.links[0].name, "eth1");
    assert_false(agent_report_known(node, &report));
    report = bed_report(0, true);
    report.run++; /* another run of the same node is no news by itself */
    assert_true(agent_report_known(node, &report));
}

/* ---------------------------------------------------------------- the end */

static void test_the_end_waits_for_what_it_owns(void **state)
{
    struct bed *bed = *state;
    int vip = bed_vip(bed, 0);

    bed_move(bed, vip, 0);
    bed_applied(bed);
    bed_acked(bed, 1);
    bed_role(bed, RAFT_ROLE_FOLLOWER, 2, 2);
    bed_step(bed, (struct event){.type = EV_SHUTDOWN});
    assert_int_equal(bed_find(bed, ACT_REPORT)->to, 2);
    assert_true(core_report(bed->core)->leaving);
    bed_at(bed, 300);
    assert_null(bed_find(bed, ACT_EXIT));
    bed_acked(bed, 1);
    bed_move(bed, vip, 1);
    bed_applied(bed);
    assert_null(bed_find(bed, ACT_EXIT)); /* `released` is told twice */
    bed_at(bed, 449);
    assert_null(bed_find(bed, ACT_EXIT));
    bed_at(bed, 450);
    assert_non_null(bed_find(bed, ACT_EXIT));
    bed_at(bed, 500);
    assert_null(bed_find(bed, ACT_EXIT)); /* once */
}

static void test_the_end_without_a_majority(void **state)
{
    struct bed *bed = *state;

    bed_step(bed, (struct event){.type = EV_SHUTDOWN});
    assert_non_null(bed_find(bed, ACT_EXIT)); /* whom should it give them to? */
}

static void test_the_end_is_bounded(void **state)
{
    struct bed *bed = *state;
    bool over = false;
    uint64_t ms = 0;

    bed_move(bed, bed_vip(bed, 0), 0);
    bed_applied(bed);
    bed_acked(bed, 1);
    bed_step(bed, (struct event){.type = EV_SHUTDOWN});
    for (; ms < 3000 && !over; ms += 50) {
        bed_at(bed, ms);
        over = bed_find(bed, ACT_EXIT) != NULL;
        bed_acked(bed, 1);
        over = over || bed_find(bed, ACT_EXIT) != NULL;
    }
    assert_true(over); /* nobody took its VIP: after four promises it goes nevertheless, and a little later to tell */
    assert_in_range(ms, 4 * 515, 4 * 515 + 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_majority_makes_a_lease, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answers_that_count_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_promise_reports, setup, teardown),
        cmocka_unit_test_setup_teardown(test_released_reports, setup, teardown),
        cmocka_unit_test(test_heartbeats_in_turn),
        cmocka_unit_test_setup_teardown(test_news_goes_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_lease_and_a_vip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_goes_before_it_is_released, setup, teardown),
        cmocka_unit_test_setup_teardown(test_batches, setup, teardown),
        cmocka_unit_test(test_batches_of_what_was_kept),
        cmocka_unit_test_setup_teardown(test_the_report_is_told_until_it_is_known, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_makes_a_report_news, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_end_waits_for_what_it_owns, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_end_without_a_majority, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_end_is_bounded, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
