/* core/voter.c: promises, acks and their reports (V1-V3). */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core_bed.h"

#define PROMISE (515 * MS)

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

/* Whether the heartbeat was answered at all; *ret_acked how. */
static bool answered(struct bed *bed, const struct heartbeat *beat, bool *ret_acked)
{
    bed_hear(bed, beat);
    *ret_acked = bed->answer.acked;
    return bed_count(bed, ACT_ANSWER) == 1;
}

static void test_an_ack_is_a_promise(void **state)
{
    struct bed *bed = *state;
    struct heartbeat beat = bed_beat(bed, 1);
    bool acked;

    beat.seq = 9;
    assert_true(answered(bed, &beat, &acked));
    assert_true(acked);
    assert_int_equal(bed_find(bed, ACT_ANSWER)->to, 2);
    assert_int_equal(bed->answer.from, 1);
    assert_int_equal(bed->answer.to, 2);
    assert_int_equal(bed->answer.run, beat.run);
    assert_int_equal(bed->answer.gen, beat.gen);
    assert_int_equal(bed->answer.seq, 9);
    assert_int_equal(bed->answer.applied, bed->table->applied);
    assert_int_equal(bed->core->voter.promised[1], bed->now + PROMISE);
    bed_at(bed, 30);
    assert_int_equal(bed->core->voter.promised[1], bed->start + PROMISE); /* time alone promises nothing */
}

/* V1: only a newer heartbeat of a run counts; a new run begins anew. */
static void test_old_heartbeats(void **state)
{
    struct bed *bed = *state;
    struct heartbeat beat = bed_beat(bed, 1);
    bool acked;

    beat.seq = 9;
    assert_true(answered(bed, &beat, &acked));
    bed_at(bed, 10);
    assert_false(answered(bed, &beat, &acked));
    beat.seq = 8;
    beat.released = 1000000;
    assert_false(answered(bed, &beat, &acked));
    assert_true(bed->core->hearing[1].released < 1000000);
    assert_int_equal(bed->core->hearing[1].heard, bed->start);
    beat.released = 0;
    beat.run = 6;
    beat.seq = 1;
    assert_true(answered(bed, &beat, &acked));
    assert_true(acked);
}

static void test_strangers(void **state)
{
    struct bed *bed = *state;
    struct heartbeat beat = bed_beat(bed, 1);
    bool acked;

    beat.from = 4711;
    assert_false(answered(bed, &beat, &acked));
    beat.from = 0;
    assert_false(answered(bed, &beat, &acked));
    beat.from = 1; /* itself */
    assert_false(answered(bed, &beat, &acked));
    beat = bed_beat(bed, 1);
    beat.run = 0;
    assert_false(answered(bed, &beat, &acked));
}

/* What is not promised is answered nevertheless: the rest of the answer may be waited for. */
static void test_refusals(void **state)
{
    struct bed *bed = *state;
    struct heartbeat beat = bed_beat(bed, 1);
    time_ns before = bed->core->voter.promised[1];
    bool acked;

    beat.gen++;
    assert_true(answered(bed, &beat, &acked));
    assert_false(acked);
    beat = bed_beat(bed, 1);
    beat.gen--;
    assert_true(answered(bed, &beat, &acked));
    assert_false(acked);
    bed_fence(bed, 1);
    beat = bed_beat(bed, 1);
    assert_true(answered(bed, &beat, &acked));
    assert_false(acked);
    assert_int_equal(bed->core->voter.promised[1], before);
    bed_node(bed, COMMAND_ADMIT, 1);
    beat = bed_beat(bed, 1);
    assert_true(answered(bed, &beat, &acked));
    assert_true(acked);
}

/* V2: before it has caught up it promises nothing, and then it begins as if it had just promised everything. */
static void test_unarmed(void **state)
{
    struct bed *bed = bed_open(3);
    struct heartbeat beat = bed_beat(bed, 1);
    bool acked;
    (void)state;

    assert_true(answered(bed, &beat, &acked));
    assert_false(acked);
    assert_int_equal(bed->answer.n_promises, 0);
    assert_int_equal(bed->core->voter.promised[1], bed->start + PROMISE);
    bed_fence(bed, 2);
    bed_applied(bed);
    beat = bed_beat(bed, 1);
    assert_true(answered(bed, &beat, &acked));
    assert_int_equal(bed->answer.n_promises, 0); /* a node that it does not name is not at zero */
    bed_caught_up(bed);
    beat = bed_beat(bed, 1);
    assert_true(answered(bed, &beat, &acked));
    assert_true(acked);
    assert_int_equal(bed->answer.n_promises, 1);
    assert_int_equal(bed->answer.promises[0].left_us, 515000);
    bed_close(bed);
}

static void test_no_voter(void **state)
{
    struct bed *bed = *state;
    struct heartbeat beat = bed_beat(bed, 1);
    bool acked;

    bed->table->voters &= ~1ull;
    assert_false(answered(bed, &beat, &acked)); /* heard, but it is nobody's voter */
    assert_int_equal(bed->core->hearing[1].heard, bed->now);
    assert_false(voter_ack(bed->core, 2, bed->table->nodes[2].gen, bed->now));
}

/* V3: what is left, rounded up, of each fenced node, with which fence. */
static void test_reports(void **state)
{
    struct bed *bed = *state;

    bed_heard(bed, 1);
    bed_fence(bed, 1);
    bed_applied(bed);
    bed->now = bed->start + 100 * MS + 1;
    bed_heard(bed, 2);
    assert_int_equal(bed->answer.n_promises, 1);
    assert_int_equal(bed->answer.promises[0].node, 2);
    assert_int_equal(bed->answer.promises[0].fence, bed->table->nodes[1].fence);
    assert_int_equal(bed->answer.promises[0].left_us, 415000); /* 414999.999 */
    bed->now = bed->start + 515 * MS - 1;
    bed_heard(bed, 2);
    assert_int_equal(bed->answer.promises[0].left_us, 1);
    bed->now = bed->start + 515 * MS;
    bed_heard(bed, 2);
    assert_int_equal(bed->answer.promises[0].left_us, 0);
    bed_node(bed, COMMAND_CLEAR, 1);
    bed_heard(bed, 2);
    assert_int_equal(bed->answer.n_promises, 0); /* cleared: nobody waits any more */
}

/* V1: an admit resets no promise. */
static void test_promises_outlive_an_admit(void **state)
{
    struct bed *bed = *state;

    bed_heard(bed, 1);
    bed_fence(bed, 1);
    bed_node(bed, COMMAND_ADMIT, 1);
    bed_fence(bed, 1);
    bed_applied(bed);
    bed->now = bed->start + 15 * MS;
    bed_heard(bed, 2);
    assert_int_equal(bed->answer.n_promises, 1);
    assert_int_equal(bed->answer.promises[0].left_us, 500000);
}

/* N2: who waits for a node is told what it has released, by whomever hears it first. */
static void test_released_is_relayed(void **state)
{
    struct bed *bed = *state;
    int vip = bed_vip(bed, 0);

    bed_move(bed, vip, 1);
    bed_applied(bed);
    bed_heard(bed, 1);
    bed_move(bed, vip, 2); /* c waits for b */
    bed_applied(bed);
    uint64_t moved = bed->table->vips[vip].moved;
    bed_heard(bed, 2);
    assert_int_equal(bed->answer.n_released, 1);
    assert_int_equal(bed->answer.released[0].node, 2);
    assert_true(bed->answer.released[0].released < moved);
    bed_heard(bed, 1);
    assert_int_equal(bed->answer.n_released, 0); /* b waits for nobody */
    bed_heard(bed, 2);
    assert_int_equal(bed->answer.released[0].released, bed->table->applied);
}

/* A fence is told at once to the leader and to whoever waits; once. */
static void test_a_fence_is_told_at_once(void **state)
{
    struct bed *bed = *state;
    int vip = bed_vip(bed, 0);

    bed_role(bed, RAFT_ROLE_FOLLOWER, 2, 3);
    bed_move(bed, vip, 2);
    bed_applied(bed);
    bed_heard(bed, 2);
    bed_move(bed, vip, 1); /* b waits for c */
    bed_applied(bed);
    assert_int_equal(bed_count(bed, ACT_ANSWER), 0);
    bed_fence(bed, 2);
    bed_applied(bed);
    assert_int_equal(bed_count(bed, ACT_ANSWER), 2); /* b, and c, which leads */
    assert_false(bed->answer.acked);
    assert_int_equal(bed->answer.n_promises, 1);
    assert_int_equal(bed->answer.promises[0].node, 3);
    bed_drain(bed, 1, true); /* the table changes, the fence is old */
    bed_applied(bed);
    assert_int_equal(bed_count(bed, ACT_ANSWER), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_ack_is_a_promise, setup, teardown),
        cmocka_unit_test_setup_teardown(test_old_heartbeats, setup, teardown),
        cmocka_unit_test_setup_teardown(test_strangers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test(test_unarmed),
        cmocka_unit_test_setup_teardown(test_no_voter, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reports, setup, teardown),
        cmocka_unit_test_setup_teardown(test_promises_outlive_an_admit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_released_is_relayed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_fence_is_told_at_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
