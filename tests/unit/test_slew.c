/* core/slew.c: what a slewed clock does to leases and promises (docs/timing.md has the arithmetic). */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core_bed.h"

#define PROMISE (515 * MS)
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

static void slewed(struct bed *bed, uint32_t slow_ppm, uint32_t fast_ppm)
{
    bed->slew = (struct slew){.slow_ppm = slow_ppm, .fast_ppm = fast_ppm};
    bed_step(bed, (struct event){.type = EV_TIMER});
}

static void test_steady(void **state)
{
    struct bed *bed = *state;
    struct core_clock clock;

    slewed(bed, 0, 0);
    assert_false(slew_unfit(bed->core));
    assert_int_equal(slew_lease(bed->core), LEASE);
    assert_int_equal(slew_wait(bed->core), 0);
    assert_int_equal(slew_true(bed->core, 1234567), 1234567);
    assert_int_equal(slew_true(bed->core, 0), 0);
    core_clock(bed->core, &clock);
    assert_int_equal(clock.lease_ms, 499);
    assert_int_equal(clock.full_ms, 499);
    assert_int_equal(clock.slow_ppm + clock.fast_ppm + clock.wait_ms, 0);
    assert_false(bed_said(bed, LOG_CORE_CLOCK_STEADY)); /* no news */
}

static void test_slow_shortens_the_lease(void **state)
{
    struct bed *bed = *state;

    slewed(bed, 83333, 0);
    assert_true(bed_said(bed, LOG_CORE_CLOCK_SLEWED));
    assert_int_equal(slew_lease(bed->core), LEASE * (1000000 - 83333) / 1000000);
    assert_int_equal(slew_wait(bed->core), 0);
    /* in real time, on the slow clock, it is no longer than ever */
    assert_true((double)slew_lease(bed->core) / (1 - 0.083333) <= (double)LEASE);
    slewed(bed, 83333, 0);
    assert_false(bed_said(bed, LOG_CORE_CLOCK_SLEWED)); /* said once */
}

static void test_fast_lengthens_the_promise(void **state)
{
    struct bed *bed = *state;

    slewed(bed, 0, 100000);
    assert_int_equal(slew_lease(bed->core), LEASE);
    assert_int_equal(slew_wait(bed->core), PROMISE / 10);
    /* all of a promise, told in true time, is the promise again; nothing rounds to its harm */
    assert_int_equal(slew_true(bed->core, PROMISE + PROMISE / 10), PROMISE);
    assert_int_equal(slew_true(bed->core, 1), 1);
    assert_true((slew_true(bed->core, 1000001) * 11 + 9) / 10 >= 1000001);
}

/* The worst of the last two promises counts, whenever within them it was. */
static void test_what_was(void **state)
{
    struct bed *bed = *state;

    for (unsigned shift = 0; shift < 1030; shift += 103) {
        uint64_t at = 10000 + 100 * 1030 + shift; /* well after all that was before */
        bed->slew = (struct slew){0};
        bed_at(bed, at - 4000 + 1030 * 10 * (shift / 103));
        at += 1030 * 10 * (shift / 103);
        for (uint64_t t = at - 3900; t <= at; t += 50) {
            bed_at(bed, t);
        }
        slewed(bed, 40000, 20000);
        slewed(bed, 0, 0);
        for (uint64_t t = at; t <= at + 1029; t += 49) {
            bed_at(bed, t);
            assert_int_equal(slew_wait(bed->core), PROMISE / 50);
            assert_true(slew_lease(bed->core) < LEASE);
        }
        for (uint64_t t = at + 1030; t <= at + 2 * 1030 + 100; t += 50) {
            bed_at(bed, t);
        }
        assert_int_equal(slew_wait(bed->core), 0);
        assert_int_equal(slew_lease(bed->core), LEASE);
    }
}

/* The narrowest timings that a table may have: even the greatest slew leaves more than an interval, so that the lease can be
 * renewed. */
static void test_narrow(void **state)
{
    (void)state;
    for (uint32_t interval = 5; interval <= 60000; interval = interval * 3 / 2) {
        struct timing narrow = {interval, 2 * interval, 3 * interval, (3 * interval - 1) / 2, 3 * interval};
        struct bed *bed = bed_open_with(3, &narrow);
        bed_caught_up(bed);
        slewed(bed, SLEW_MAX_PPM, 0);
        bed_acked(bed, 1);
        assert_true(slew_lease(bed->core) > interval * MS);
        assert_true(bed_find(bed, ACT_LEASE)->lease_end > bed->now + interval * MS);
        bed_close(bed);
    }
}

static void test_broken_clock(void **state)
{
    struct bed *bed = *state;

    bed_acked(bed, 1);
    bed_fence(bed, 2);
    bed_applied(bed);
    struct answer answer = bed_answer_of(bed, 1);
    answer.n_promises = 1;
    answer.promises[0] = (struct promise_report){.node = 3, .fence = bed->table->nodes[2].fence, .left_us = 0};
    bed_answer(bed, &answer);
    assert_true(core_runout(bed->core, 2) != NEVER);
    slewed(bed, 0, SLEW_MAX_PPM);
    assert_false(slew_unfit(bed->core));
    assert_true(core_runout(bed->core, 2) != NEVER);
    slewed(bed, 0, SLEW_MAX_PPM + 1);
    assert_true(slew_unfit(bed->core));
    assert_int_equal(slew_lease(bed->core), 0);
    assert_true(bed_said(bed, LOG_CORE_CLOCK_UNFIT));
    assert_int_equal(bed_find(bed, ACT_LEASE)->lease_end, 0);
    assert_true(core_has_quorum(bed->core, bed->now)); /* it is not the majority that is missing */
    assert_true(core_runout(bed->core, 2) == NEVER); /* it clears nobody */
    bed_heard(bed, 1);
    assert_false(bed->answer.acked); /* promises nothing */
    assert_int_equal(bed->answer.n_promises, 0);
    /* and does not lead */
    bed_role(bed, RAFT_ROLE_LEADER, 2, 1);
    table_skip(bed->table, bed->table->applied + 1);
    bed_proposed(bed, bed->table->applied);
    assert_non_null(bed_find(bed, ACT_TRANSFER));
}

/* The longest times that a table may have do not overflow. */
static void test_longest(void **state)
{
    static const struct timing LONGEST = {60000, 300000, 600000, 1, 600000};
    struct bed *bed = bed_open_with(3, &LONGEST);
    (void)state;

    bed_caught_up(bed);
    slewed(bed, SLEW_MAX_PPM, SLEW_MAX_PPM);
    assert_int_equal(slew_wait(bed->core), 150000 * MS);
    assert_int_equal(slew_lease(bed->core), (600000 * MS * 99 / 101 - MS) * 3 / 4);
    assert_int_equal(slew_true(bed->core, 750000 * MS), 600000 * MS);
    bed_close(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_steady, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_shortens_the_lease, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fast_lengthens_the_promise, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was, setup, teardown),
        cmocka_unit_test(test_narrow),
        cmocka_unit_test_setup_teardown(test_broken_clock, setup, teardown),
        cmocka_unit_test(test_longest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
