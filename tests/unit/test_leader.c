/* core/leader.c: fences, clears, admissions, moves, and to whom it hands over (L1-L4, L6). */

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
    *state = bed;
    return 0;
}

static int setup_leading(void **state)
{
    (void)setup(state);
    bed_lead(*state);
    return 0;
}

static int teardown(void **state)
{
    bed_close(*state);
    return 0;
}

/* Time passes in which the nodes of the set are heard every 50 ms, and say what they miss. */
static void pass(struct bed *bed, uint64_t from_ms, uint64_t to_ms, unsigned heard, uint64_t missing)
{
    for (uint64_t ms = from_ms; ms <= to_ms; ms += 50) {
        bed->now = bed->start + ms * MS;
        for (int node = 1; node < 5; node++) {
            if (heard >> node & 1) {
                struct heartbeat beat = bed_beat(bed, node);
                beat.missing = missing;
                bed_hear(bed, &beat);
            }
        }
        if (heard & 2) {
            bed_acked(bed, 1);
        }
    }
}

static bool proposes(const struct bed *bed, enum command_type type)
{
    return bed_find(bed, ACT_PROPOSE) != NULL && bed->command.type == type;
}

/* The proposal of the last step is committed. */
static void commit(struct bed *bed)
{
    bed_commit(bed, &bed->command);
    bed_proposed(bed, bed->table->applied);
}

/* ---------------------------------------------------------------- L6 */

static void test_first_its_barrier(void **state)
{
    struct bed *bed = *state;

    bed_move(bed, bed_vip(bed, 0), 2);
    bed_applied(bed);
    bed_role(bed, RAFT_ROLE_LEADER, 2, 1);
    assert_int_equal(bed_count(bed, ACT_BARRIER), 1);
    assert_int_equal(bed_count(bed, ACT_PROPOSE), 0);
    assert_true(bed_said(bed, LOG_CORE_LEADER));
    uint64_t barrier = bed->table->applied + 3; /* entries of others come before it */
    bed_proposed(bed, barrier);
    assert_false(core_is_leader(bed->core));
    bed_fence(bed, 1); /* ... and there would be much to do */
    bed_applied(bed);
    bed_at(bed, 1000);
    assert_int_equal(bed_count(bed, ACT_PROPOSE) + bed_count(bed, ACT_BARRIER), 0);
    table_skip(bed->table, barrier - 1);
    table_skip(bed->table, barrier);
    bed->now = bed->start + 1001 * MS;
    bed_heard(bed, 2);
    bed_acked(bed, 2);
    assert_true(core_is_leader(bed->core));
    assert_true(leader_ready(bed->core));
    bed_role(bed, RAFT_ROLE_FOLLOWER, 3, 2);
    assert_false(core_is_leader(bed->core));
    assert_true(bed_said(bed, LOG_CORE_FOLLOWER));
}

static void test_a_refused_barrier_is_tried_again(void **state)
{
    struct bed *bed = *state;

    bed_role(bed, RAFT_ROLE_LEADER, 2, 1);
    bed_proposed(bed, 0);
    assert_int_equal(bed_count(bed, ACT_BARRIER), 0);
    bed_at(bed, 99);
    assert_int_equal(bed_count(bed, ACT_BARRIER), 0);
    assert_true(bed->actions->deadline <= bed->start + 100 * MS);
    bed_at(bed, 100);
    assert_int_equal(bed_count(bed, ACT_BARRIER), 1);
}

/* One decision at a time: each on the table that the last one made. */
static void test_one_at_a_time(void **state)
{
    struct bed *bed = *state;
    int vip = bed_vip(bed, 0);

    bed_applied(bed);
    assert_true(proposes(bed, COMMAND_MOVE));
    assert_int_equal(bed->command.move.n_moves, 1);
    assert_int_equal(bed->command.move.moves[0].vip, vip);
    assert_int_equal(bed->command.move.moves[0].moved, bed->table->vips[vip].moved); /* L0 */
    uint64_t index = bed->table->applied + 2;
    bed_proposed(bed, index);
    bed_fence(bed, 1);
    bed_applied(bed);
    assert_int_equal(bed_count(bed, ACT_PROPOSE), 0); /* its own is under way */
    assert_false(leader_ready(bed->core));
    table_skip(bed->table, index);
    bed_applied(bed);
    assert_int_equal(bed_count(bed, ACT_PROPOSE), 1);
}

/* ---------------------------------------------------------------- L1 */

static void test_a_silent_node_is_fenced(void **state)
{
    struct bed *bed = *state;

    pass(bed, 50, 400, 2, 0);
    assert_int_equal(bed->proposals, 0);
    pass(bed, 401, 401, 2, 4); /* b misses c, too: a majority */
    assert_int_equal(bed->proposals, 1);
    assert_int_equal(bed->command.type, COMMAND_FENCE);
    assert_int_equal(bed->command.fence.node, 2);
    assert_int_equal(bed->command.fence.gen, bed->table->nodes[2].gen); /* L0 */
}

static void test_whom_others_hear_is_given_time(void **state)
{
    struct bed *bed = *state;

    pass(bed, 50, 800, 2, 0);
    assert_int_equal(bed->proposals, 0);
    pass(bed, 801, 801, 2, 0);
    assert_int_equal(bed->command.type, COMMAND_FENCE);
}

static void test_a_fence_takes_the_vips_along(void **state)
{
    struct bed *bed = *state;
    int vip = bed_vip(bed, 0);

    bed_applied(bed);
    bed_proposed(bed, 0); /* the leader's own idea of where it should be is refused */
    bed_move(bed, vip, 2);
    bed_applied(bed);
    pass(bed, 50, 100, 6, 0);
    pass(bed, 150, 500, 2, 0);
    pass(bed, 501, 501, 2, 4);
    assert_int_equal(bed->command.type, COMMAND_FENCE);
    assert_int_equal(bed->command.fence.n_moves, 1);
    assert_int_equal(bed->command.fence.moves[0].vip, vip);
    assert_true(bed->command.fence.moves[0].to == 0 || bed->command.fence.moves[0].to == 1);
    assert_int_equal(bed->command.fence.moves[0].reason, REASON_CRASH);
}

/* A leader that hears no majority judges nobody and hands on, to each of the others in turn. */
static void test_a_deaf_leader_hands_on(void **state)
{
    struct bed *bed = *state;

    bed_at(bed, 401);
    assert_int_equal(bed_count(bed, ACT_PROPOSE), 0);
    uint64_t first = bed_find(bed, ACT_TRANSFER)->to;
    bed_at(bed, 500);
    assert_null(bed_find(bed, ACT_TRANSFER));
    bed_at(bed, 801);
    uint64_t second = bed_find(bed, ACT_TRANSFER)->to;
    assert_true(first != second && first != 1 && second != 1);
    assert_int_equal(bed_count(bed, ACT_PROPOSE), 0);
}

/* ---------------------------------------------------------------- L2, L4 */

static void test_clear(void **state)
{
    struct bed *bed = *state;

    pass(bed, 50, 400, 2, 0);
    pass(bed, 401, 401, 2, 4);
    commit(bed);
    struct answer answer = bed_answer_of(bed, 1);
    answer.n_promises = 1;
    answer.promises[0] =
        (struct promise_report){.node = 3, .fence = bed->table->nodes[2].fence, .left_us = 100000};
    bed_answer(bed, &answer);
    assert_int_equal(bed_count(bed, ACT_PROPOSE), 0);
    /* its own promise ends at 515, b's at 501: of three voters two are enough, and the later one counts */
    pass(bed, 450, 514, 2, 4);
    assert_int_equal(bed->proposals, 1); /* the fence */
    bed_at(bed, 515);
    assert_true(proposes(bed, COMMAND_CLEAR));
    assert_int_equal(bed->command.node.node, 2);
    assert_int_equal(bed->command.node.fence, bed->table->nodes[2].fence);
    assert_int_equal(bed->command.node.since, bed->table->nodes[2].since);
}

static void test_admit(void **state)
{
    struct bed *bed = *state;
    struct heartbeat beat;

    bed_fence(bed, 2);
    bed_applied(bed);
    beat = bed_beat(bed, 2);
    beat.applied = bed->table->nodes[2].fence - 1;
    bed_hear(bed, &beat);
    assert_int_equal(bed_count(bed, ACT_PROPOSE), 0); /* it does not know yet */
    beat = bed_beat(bed, 2);
    beat.released = bed->table->nodes[2].fence - 1;
    bed_hear(bed, &beat);
    assert_int_equal(bed_count(bed, ACT_PROPOSE), 0); /* it has not released */
    bed->table->nodes[2].leaving = true;
    bed_heard(bed, 2);
    assert_int_equal(bed_count(bed, ACT_PROPOSE), 0); /* it is on its way out */
    bed->table->nodes[2].leaving = false;
    bed_heard(bed, 2);
    assert_true(proposes(bed, COMMAND_ADMIT));
    assert_int_equal(bed->command.node.node, 2);
    assert_int_equal(bed->command.node.fence, bed->table->nodes[2].fence);
}

/* L4's hold-down, with settings that let five fences within a minute pass: then it is 1, 2, 4, 8 and 8 seconds. */
static void test_hold_down(void **state)
{
    static const unsigned WAITS_S[] = {0, 0, 0, 0, 0, 1, 2, 4, 8, 8};
    struct bed *bed = *state;
    struct settings *settings = &bed->table->settings;
    uint64_t ms = 0;

    settings->hold_after = 5;
    settings->hold_window_ms = 60000;
    settings->hold_first_ms = 1000;
    settings->hold_max_ms = 8000;
    for (size_t i = 0; i < sizeof WAITS_S / sizeof WAITS_S[0]; i++) {
        uint64_t until = ms + 3000;
        while (bed->command.type != COMMAND_FENCE && ms < until) { /* c is silent until it is fenced */
            ms += 50;
            pass(bed, ms, ms, 2, 4);
        }
        assert_int_equal(bed->command.type, COMMAND_FENCE);
        commit(bed);
        uint64_t fenced = ms;
        for (until = ms + 10000; bed->command.type != COMMAND_ADMIT && ms < until;) {
            ms += 50;
            pass(bed, ms, ms, 6, 0);
            if (proposes(bed, COMMAND_CLEAR)) {
                commit(bed);
            }
        }
        assert_in_range(ms - fenced, WAITS_S[i] * 1000, WAITS_S[i] * 1000 + 150);
        commit(bed);
        bed->command.type = 0;
    }
}

/* ---------------------------------------------------------------- handing over */

static void test_a_drained_leader_hands_over(void **state)
{
    struct bed *bed = *state;
    struct heartbeat beat;

    bed_drain(bed, 0, true);
    bed_drain(bed, 1, true);
    bed_applied(bed);
    assert_int_equal(bed_find(bed, ACT_TRANSFER)->to, 3); /* b is drained, too */
    pass(bed, 50, 350, 6, 0);
    assert_null(bed_find(bed, ACT_TRANSFER));
    /* not to one that says that it is deaf */
    beat = bed_beat(bed, 2);
    beat.missing = 3;
    bed_hear(bed, &beat);
    bed_at(bed, 401);
    assert_null(bed_find(bed, ACT_TRANSFER));
    bed_heard(bed, 2);
    assert_int_equal(bed_find(bed, ACT_TRANSFER)->to, 3);
}

static void test_the_newest_log_is_the_heir(void **state)
{
    struct bed *bed = *state;
    struct heartbeat beat = bed_beat(bed, 1);

    beat.last_index = 1;
    bed_hear(bed, &beat);
    bed_drain(bed, 0, true);
    bed_applied(bed);
    assert_int_equal(bed_find(bed, ACT_TRANSFER)->to, 3);
}

/* ---------------------------------------------------------------- moves, tombstones */

static void test_a_deleted_vip_is_purged_when_it_is_settled(void **state)
{
    struct bed *bed = *state;
    int vip = bed_vip(bed, 0);
    struct move move = {.to = SLOT_NONE};
    struct command command = {.type = COMMAND_VIP_DELETE};

    bed_applied(bed);
    bed_proposed(bed, 0);
    bed_move(bed, vip, 2);
    bed_applied(bed);
    bed_heard(bed, 2);
    move.vip = (uint16_t)vip;
    move.moved = bed->table->vips[vip].moved;
    command.vip_del.n_vips = 1;
    command.vip_del.vips = &move;
    bed_commit(bed, &command);
    bed->now += 200 * MS;
    bed_applied(bed);
    assert_int_equal(bed_count(bed, ACT_PROPOSE), 0); /* c has it still, for all one knows */
    bed_heard(bed, 2);
    assert_true(proposes(bed, COMMAND_VIP_PURGE));
    assert_int_equal(bed->command.vip_del.n_vips, 1);
    assert_int_equal(bed->command.vip_del.vips[0].vip, vip);
}

static void test_who_follows_decides_nothing(void **state)
{
    struct bed *bed = *state;

    bed_vip(bed, 0);
    bed_applied(bed);
    pass(bed, 50, 2000, 2, 4);
    assert_int_equal(bed->proposals, 0);
    assert_null(bed_find(bed, ACT_TRANSFER));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_first_its_barrier, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_refused_barrier_is_tried_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_at_a_time, setup_leading, teardown),
        cmocka_unit_test_setup_teardown(test_a_silent_node_is_fenced, setup_leading, teardown),
        cmocka_unit_test_setup_teardown(test_whom_others_hear_is_given_time, setup_leading, teardown),
        cmocka_unit_test_setup_teardown(test_a_fence_takes_the_vips_along, setup_leading, teardown),
        cmocka_unit_test_setup_teardown(test_a_deaf_leader_hands_on, setup_leading, teardown),
        cmocka_unit_test_setup_teardown(test_clear, setup_leading, teardown),
        cmocka_unit_test_setup_teardown(test_admit, setup_leading, teardown),
        cmocka_unit_test_setup_teardown(test_hold_down, setup_leading, teardown),
        cmocka_unit_test_setup_teardown(test_a_drained_leader_hands_over, setup_leading, teardown),
        cmocka_unit_test_setup_teardown(test_the_newest_log_is_the_heir, setup_leading, teardown),
        cmocka_unit_test_setup_teardown(test_a_deleted_vip_is_purged_when_it_is_settled, setup_leading, teardown),
        cmocka_unit_test_setup_teardown(test_who_follows_decides_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
