/* core/overview.c: which moves are settled, who does not hold what it could, who can be given a VIP. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core_bed.h"

/* As a follower, which decides nothing: the functions are called by the tests. */
static int setup(void **state)
{
    struct bed *bed = bed_open_up(3);

    bed_heard(bed, 1);
    bed_heard(bed, 2);
    bed_acked(bed, 1);
    *state = bed;
    return 0;
}

static int teardown(void **state)
{
    bed_close(*state);
    return 0;
}

static void test_unsettled(void **state)
{
    struct bed *bed = *state;
    struct core *core = bed->core;
    int first = bed_vip(bed, 0), second = bed_vip(bed, 1);

    bed_move(bed, first, 1);
    bed_move(bed, second, 1);
    bed_applied(bed);
    overview_unsettled(core, bed->now, bed->actions);
    assert_int_equal(core->lead.any_unsettled, 0); /* they came from nobody */
    assert_true(core->lead.unreleased[1].index == NEVER);
    bed_move(bed, first, 2);
    uint64_t moved = bed->table->applied;
    bed_move(bed, second, 2);
    bed_applied(bed);
    core->lead.plan_dirty = false;
    bed->actions->deadline = NEVER;
    overview_unsettled(core, bed->now, bed->actions);
    assert_int_equal(core->lead.any_unsettled, 2);
    assert_true(bit_get(core->lead.unsettled, (unsigned)first));
    assert_true(core->lead.plan_dirty);
    assert_int_equal(core->lead.unreleased[1].index, moved); /* the least that b has not released */
    assert_int_equal(core->lead.unreleased[1].since, bed->now);
    assert_int_equal(bed->actions->deadline, bed->now + core_lease(core) + 1);
    bed->now += 10 * MS;
    struct heartbeat beat = bed_beat(bed, 1);
    beat.released = moved;
    bed_hear(bed, &beat);
    overview_unsettled(core, bed->now, bed->actions);
    assert_int_equal(core->lead.any_unsettled, 1);
    assert_false(bit_get(core->lead.unsettled, (unsigned)first));
    assert_int_equal(core->lead.unreleased[1].index, moved + 1); /* the next one, with time of its own */
    assert_int_equal(core->lead.unreleased[1].since, bed->now);
    bed_heard(bed, 1);
    overview_unsettled(core, bed->now, bed->actions);
    assert_int_equal(core->lead.any_unsettled, 0);
    assert_true(core->lead.unreleased[1].index == NEVER);
}

/* c says that it holds up to `held`, and n VIPs. */
static void holds(struct bed *bed, uint64_t held, uint32_t n)
{
    struct heartbeat beat = bed_beat(bed, 2);

    beat.held = held;
    beat.n_held = n;
    bed_hear(bed, &beat);
    overview_unsettled(bed->core, bed->now, bed->actions);
    overview_lacking(bed->core, bed->now, bed->actions);
}

static time_ns lacking(const struct bed *bed)
{
    return bed->core->lead.lacking[2].since;
}

static void test_lacking(void **state)
{
    struct bed *bed = *state;
    int vip = bed_vip(bed, 0);
    uint64_t before = bed->table->applied;

    bed_move(bed, vip, 2);
    bed_applied(bed);
    holds(bed, bed->table->applied, 1);
    assert_int_equal(lacking(bed), 0);
    holds(bed, before, 0);
    time_ns since = bed->now;
    assert_int_equal(lacking(bed), since);
    assert_int_equal(overview_patience(bed->core, 2), 400 * MS);
    bed->now += 50 * MS;
    holds(bed, before, 0);
    assert_int_equal(lacking(bed), since); /* it gets nowhere */
    assert_true(core_usable(bed->core, bed->now) & 4);
    holds(bed, before, 1);
    assert_int_equal(lacking(bed), bed->now); /* it is getting on */
    holds(bed, bed->table->applied, 1);
    assert_int_equal(lacking(bed), 0);
}

static void test_what_is_no_fault(void **state)
{
    struct bed *bed = *state;
    int vip = bed_vip(bed, 0);
    uint64_t before = bed->table->applied;

    bed_move(bed, vip, 2);
    bed_applied(bed);
    bed_links(bed, 2, false); /* its interface is down */
    bed_applied(bed);
    holds(bed, before, 0);
    assert_int_equal(lacking(bed), 0);
    bed_links(bed, 2, true);
    bed_applied(bed);
    holds(bed, before, 0);
    assert_true(lacking(bed) > 0);
    bed_fence(bed, 2); /* fenced already */
    bed_applied(bed);
    holds(bed, before, 0);
    assert_int_equal(lacking(bed), 0);
    bed_node(bed, COMMAND_ADMIT, 2);
    bed_move(bed, vip, 1);
    bed_applied(bed);
    bed_move(bed, vip, 2); /* b has not released it yet */
    bed_applied(bed);
    holds(bed, before, 0);
    assert_int_equal(lacking(bed), 0);
    bed_heard(bed, 1);
    holds(bed, before, 0);
    assert_true(lacking(bed) > 0);
}

/* A VIP that is asked for first gets the time that this takes. */
static void test_patience_with_a_probe(void **state)
{
    struct bed *bed = *state;
    int vip = bed_vip(bed, 0);
    uint64_t before = bed->table->applied;

    bed_move(bed, vip, 2);
    bed->table->vips[vip].no_probe = false;
    bed_applied(bed);
    assert_true(bed->table->vips[vip].fresh);
    holds(bed, before, 0);
    assert_int_equal(overview_patience(bed->core, 2), (400 + 210) * MS);
    assert_int_equal(overview_patience(bed->core, 1), 400 * MS);
}

static void test_usable(void **state)
{
    struct bed *bed = *state;
    struct plan_input input;

    assert_int_equal(core_usable(bed->core, bed->now), 7);
    overview_plan_input(bed->core, bed->now, &input);
    assert_int_equal(input.usable, 7);
    assert_ptr_equal(input.table, bed->table);
    struct heartbeat beat = bed_beat(bed, 1);
    beat.lease_ms = 0; /* no lease */
    bed_hear(bed, &beat);
    assert_int_equal(core_usable(bed->core, bed->now), 5);
    beat = bed_beat(bed, 1);
    beat.gen--; /* a lease of before its fence */
    bed_hear(bed, &beat);
    assert_int_equal(core_usable(bed->core, bed->now), 5);
    bed_heard(bed, 1);
    bed_fence(bed, 2);
    bed_applied(bed);
    assert_int_equal(core_usable(bed->core, bed->now), 3);
    bed_at(bed, 401); /* b is silent, and so its own lease has no majority soon */
    assert_int_equal(core_usable(bed->core, bed->now), 1);
    bed_at(bed, 600);
    assert_int_equal(core_usable(bed->core, bed->now), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_unsettled, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lacking, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_no_fault, setup, teardown),
        cmocka_unit_test_setup_teardown(test_patience_with_a_probe, setup, teardown),
        cmocka_unit_test_setup_teardown(test_usable, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
