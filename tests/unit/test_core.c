/* core/core.c: what every step has in common: time, deadlines, silence, what a changed table means. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core_bed.h"

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

static void test_lengths(void **state)
{
    struct bed *bed = *state;

    assert_int_equal(core_interval(bed->core), 100 * MS);
    assert_int_equal(core_suspect(bed->core), 400 * MS);
    assert_int_equal(core_promise(bed->core), 515 * MS);
    assert_int_equal(core_lease(bed->core), 515 * MS * 99 / 101 - 5 * MS);
    assert_true(core_size() >= sizeof(struct core));
}

/* A clock that is read twice may not go back: an event with an earlier time is stepped at the latest one. */
static void test_time_goes_on(void **state)
{
    struct bed *bed = *state;

    bed_at(bed, 100);
    uint64_t seq = bed->core->agent.seq;
    bed->now = bed->start + 50 * MS;
    bed_step(bed, (struct event){.type = EV_TIMER});
    assert_int_equal(bed->core->last_now, bed->start + 100 * MS);
    assert_int_equal(bed->core->agent.seq, seq);
    assert_true(bed->actions->deadline > bed->start + 100 * MS);
}

/* A step always says when it wants to be stepped again, and a timer at that moment finds something to do. */
static void test_deadlines_are_kept(void **state)
{
    struct bed *bed = *state;

    for (int i = 0; i < 200; i++) {
        time_ns deadline = bed->actions->deadline;
        assert_true(deadline != NEVER && deadline > bed->now);
        bed->now = deadline;
        bed_step(bed, (struct event){.type = EV_TIMER});
        assert_true(bed->actions->deadline > deadline || bed->actions->more);
        bed_rest(bed);
    }
    assert_true(bed->now < bed->start + 200 * 101 * MS);
}

static void test_silence(void **state)
{
    struct bed *bed = *state;

    bed_heard(bed, 1);
    bed_at(bed, 400);
    assert_false(core_silent(bed->core, 1, bed->now));
    assert_true(core_hears_majority(bed->core, bed->now));
    bed_at(bed, 410);
    assert_true(core_silent(bed->core, 1, bed->now));
    assert_true(core_silent(bed->core, 2, bed->now)); /* never heard: from the start on */
    assert_false(core_silent(bed->core, 0, bed->now));
    assert_false(core_hears_majority(bed->core, bed->now));
    assert_int_equal(bed->core->agent.missing, 6);
    assert_int_equal(bed_find(bed, ACT_HEARTBEAT)->heartbeat.missing, 6); /* told at once */
    assert_true(bed_said(bed, LOG_CORE_MISSING));
    bed_heard(bed, 1);
    assert_int_equal(bed->core->agent.missing, 4);
    assert_true(bed_said(bed, LOG_CORE_HEARD));
    assert_true(core_hears_majority(bed->core, bed->now));
}

/* L6: a process that was stopped has not listened; whatever it did not listen for gets a fresh `suspect`. */
static void test_a_stall_is_nobodys_silence(void **state)
{
    struct bed *bed = *state;

    bed_heard(bed, 1);
    bed->now = bed->start + 3000 * MS;
    bed_step(bed, (struct event){.type = EV_TIMER});
    assert_false(core_silent(bed->core, 1, bed->now));
    assert_int_equal(bed->core->agent.missing, 0);
    bed_at(bed, 3400);
    assert_int_equal(bed->core->agent.missing, 0);
    bed_at(bed, 3401);
    assert_int_equal(bed->core->agent.missing, 6);
    bed->now += 200 * MS; /* two intervals are no stall */
    bed_step(bed, (struct event){.type = EV_TIMER});
    assert_int_equal(bed->core->agent.missing, 6);
}

/* Results come by the hundred: until the last one nothing is decided, and the timer is due at once. */
static void test_results_in_a_row(void **state)
{
    struct bed *bed = *state;
    struct event event = {.type = EV_KERNEL};
    int vip = bed_vip(bed, 0), other = bed_vip(bed, 1);

    bed_move(bed, vip, 0);
    bed_move(bed, other, 0);
    bed_applied(bed);
    bed_acked(bed, 1);
    assert_int_equal(bed_count(bed, ACT_ADDR_ADD), 2);
    event.kernel.addr = bed->table->vips[vip].address.addr;
    event.kernel.present = event.kernel.more = true;
    bed_step(bed, event);
    assert_int_equal(bed->actions->deadline, bed->now);
    assert_int_equal(bed_count(bed, ACT_ANNOUNCE), 1);
    assert_int_equal(bed_count(bed, ACT_HEARTBEAT), 0);
    event.kernel.addr = bed->table->vips[other].address.addr;
    event.kernel.more = false;
    bed->now += 3 * MS;
    bed_step(bed, event);
    assert_true(bed->actions->more);
    bed_rest(bed);
    assert_int_equal(bed->core->agent.held, bed->table->applied);
}

/* A slot that another node gets is about another node: nothing that was heard, acked or promised counts for it. */
static void test_a_reused_slot(void **state)
{
    struct bed *bed = *state;

    bed_heard(bed, 1);
    bed_acked(bed, 1);
    assert_true(bed->core->agent.acked[1] != 0);
    bed->core->runout[1][2] = bed->core->runout[2][1] = (struct runout){5, bed->now};
    bed->now += 300 * MS;
    bed->table->nodes[1].id = 44;
    bed->table->changed++;
    bed_applied(bed);
    assert_int_equal(bed->core->agent.acked[1], 0);
    assert_int_equal(bed->core->hearing[1].heard, 0);
    assert_int_equal(bed->core->hearing[1].released, 0);
    assert_int_equal(bed->core->runout[1][2].fence, 0);
    assert_int_equal(bed->core->runout[2][1].fence, 0);
    assert_int_equal(bed->core->voter.promised[1], bed->start + 515 * MS); /* V2 */
    assert_int_equal(bed->core->hearing[2].id, 3);
}

/* N2, L2: of the voters' promises to a fenced node some majority must have run out: the median counts. */
static void test_runout(void **state)
{
    struct bed *bed = bed_open_up(5);
    uint64_t fence;
    (void)state;

    bed_heard(bed, 4); /* promised until 515 */
    bed_fence(bed, 4);
    bed_applied(bed);
    fence = bed->table->nodes[4].fence;
    assert_int_equal(bed->core->runout[4][0].at, bed->start + 515 * MS); /* its own, as a voter */
    assert_true(core_runout(bed->core, 4) == NEVER);
    bed->core->runout[4][1] = (struct runout){fence, bed->start + 100 * MS};
    assert_true(core_runout(bed->core, 4) == NEVER);
    bed->core->runout[4][2] = (struct runout){fence - 1, bed->start + 200 * MS}; /* about another fence */
    assert_true(core_runout(bed->core, 4) == NEVER);
    bed->core->runout[4][2].fence = fence;
    assert_int_equal(core_runout(bed->core, 4), bed->start + 515 * MS);
    bed->core->runout[4][3] = (struct runout){fence, bed->start + 300 * MS};
    assert_int_equal(core_runout(bed->core, 4), bed->start + 300 * MS);
    bed->table->voters &= ~(1ull << 3); /* no voter: three of four are needed, and there are three */
    assert_int_equal(core_runout(bed->core, 4), bed->start + 515 * MS);
    bed_close(bed);
}

static void test_settled(void **state)
{
    struct bed *bed = *state;
    int vip = bed_vip(bed, 0);
    struct vip *v = &bed->table->vips[vip];

    assert_true(core_settled_move(bed->core, vip, bed->now)); /* of nobody */
    bed_move(bed, vip, 1);
    bed_heard(bed, 1);
    bed_move(bed, vip, 0);
    bed_applied(bed);
    assert_false(core_settled_move(bed->core, vip, bed->now));
    bed->core->hearing[1].released = v->moved - 1;
    assert_false(core_settled_move(bed->core, vip, bed->now));
    bed->core->hearing[1].released = v->moved;
    assert_true(core_settled_move(bed->core, vip, bed->now));
    bed->core->hearing[1].id = 99; /* somebody else's word */
    assert_false(core_settled_move(bed->core, vip, bed->now));
    bed->table->nodes[1].status = NODE_CLEARED;
    assert_true(core_settled_move(bed->core, vip, bed->now));
    bed->table->nodes[1].status = NODE_ADMITTED;
    v->prev = v->owner;
    assert_true(core_settled_move(bed->core, vip, bed->now));
}

/* A node that its own table does not know (removed, or not added yet) is silent and holds nothing. */
static void test_no_member(void **state)
{
    struct bed *bed = *state;

    memset(bed->core, 0, core_size());
    core_init(bed->core, 77, BED_RUN, bed->table, bed->now);
    bed_caught_up(bed);
    bed_applied(bed);
    assert_int_equal(bed_count(bed, ACT_HEARTBEAT), 0);
    bed_heard(bed, 1);
    assert_int_equal(bed_count(bed, ACT_ANSWER), 0);
    bed_step(bed, (struct event){.type = EV_SHUTDOWN});
    assert_int_equal(bed_count(bed, ACT_EXIT), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lengths, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deadlines_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_silence, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_stall_is_nobodys_silence, setup, teardown),
        cmocka_unit_test_setup_teardown(test_results_in_a_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_reused_slot, setup, teardown),
        cmocka_unit_test(test_runout),
        cmocka_unit_test_setup_teardown(test_settled, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_member, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
