/* The rate of the own clock: arithmetic on what a kernel says, and a look at this one's clocks. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/clock.h"

static void assert_told(struct timex timex, int64_t least, int64_t most)
{
    int64_t is_least = -1, is_most = -1;

    clock_told(&timex, &is_least, &is_most);
    assert_int_equal(is_least, least);
    assert_int_equal(is_most, most);
}

/* tick is microseconds for each 1/USER_HZ second, freq ppm in 2^16ths. */
static void test_what_the_kernel_was_told(void **state)
{
    long nominal = 1000000 / sysconf(_SC_CLK_TCK);
    (void)state;

    assert_told((struct timex){.tick = nominal}, 0, 0);
    assert_told((struct timex){.tick = nominal, .freq = 500 * 65536}, 500, 500);
    assert_told((struct timex){.tick = nominal, .freq = -123 * 65536}, -123, -123);
    assert_told((struct timex){.tick = nominal + nominal / 100 * 8}, 80000, 80000);
    assert_told((struct timex){.tick = nominal - nominal / 10, .freq = -500 * 65536}, -100500, -100500);
}

/* An offset that is left is worked off by a 2^(2 + constant)th of it each second, with or without nanoseconds. */
static void test_the_kernels_own_loop(void **state)
{
    long nominal = 1000000 / sysconf(_SC_CLK_TCK);
    (void)state;

    assert_told((struct timex){.tick = nominal, .offset = 300000000, .status = STA_NANO}, 0, 100000);
    assert_told((struct timex){.tick = nominal, .offset = -300000, .constant = 0}, -100000, 0);
    assert_told((struct timex){.tick = nominal, .offset = 255000000, .constant = 6, .status = STA_NANO}, 0, 1000);
    assert_told((struct timex){.tick = nominal, .freq = 65536 * 50, .offset = -70000, .constant = 1}, 50 - 10000, 50);
    /* what no kernel says does no harm */
    assert_told((struct timex){.tick = nominal, .offset = 3000000, .constant = -4}, 0, 1000000);
    assert_told((struct timex){.tick = nominal, .offset = 1000, .constant = 1 << 30}, 0, 0);
}

static void test_what_is_measured(void **state)
{
    struct clock_pair from = {.mono_ns = 5000, .raw_ns = 7000}, to;
    int64_t ppm = 4711;
    (void)state;

    to = (struct clock_pair){.mono_ns = 5000 + CLOCK_WINDOW_NS - 1, .raw_ns = 7000 + CLOCK_WINDOW_NS - 1};
    assert_false(clock_measured(&from, &to, &ppm));
    assert_int_equal(ppm, 4711);
    assert_false(clock_measured(&to, &from, &ppm)); /* nor backwards */
    assert_int_equal(ppm, 4711);
    to = (struct clock_pair){.mono_ns = 5000 + 1080000000, .raw_ns = 7000 + 1000000000};
    assert_true(clock_measured(&from, &to, &ppm));
    assert_int_equal(ppm, 80000);
    to = (struct clock_pair){.mono_ns = 5000 + 230000000, .raw_ns = 7000 + CLOCK_WINDOW_NS};
    assert_true(clock_measured(&from, &to, &ppm));
    assert_int_equal(ppm, -80000);
    /* two readings of the greatest width that is used, both wrong by all of it, are no slew */
    to = (struct clock_pair){.mono_ns = 5000 + CLOCK_WINDOW_NS, .raw_ns = 7000 + CLOCK_WINDOW_NS + 2 * CLOCK_WIDTH_NS};
    assert_true(clock_measured(&from, &to, &ppm));
    assert_in_range(-ppm, 100, 200);
    struct slew slew = clock_slew(0, 0, ppm);
    assert_int_equal(slew.slow_ppm + slew.fast_ppm, 0);
}

static void test_the_worse_counts(void **state)
{
    struct slew slew = clock_slew(-80000, 0, 20000);
    (void)state;

    assert_int_equal(slew.slow_ppm, 80000);
    assert_int_equal(slew.fast_ppm, 20000);
    slew = clock_slew(0, 30000, -40000);
    assert_int_equal(slew.slow_ppm, 40000);
    assert_int_equal(slew.fast_ppm, 30000);
    slew = clock_slew(-999, 999, 0); /* what goes on all day */
    assert_int_equal(slew.slow_ppm, 0);
    assert_int_equal(slew.fast_ppm, 0);
    slew = clock_slew(-1000, 1000, 0);
    assert_int_equal(slew.slow_ppm, 1000);
    assert_int_equal(slew.fast_ppm, 1000);
    slew = clock_slew(INT32_MIN, INT64_MAX, 0); /* a broken one */
    assert_true(slew.slow_ppm > SLEW_MAX_PPM);
    assert_true(slew.fast_ppm > SLEW_MAX_PPM);
}

static uint64_t boot_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

/* What the kernel was told now; false: this process may not ask. */
static bool told_now(int64_t told[2])
{
    struct timex timex = {.modes = 0};

    if (adjtimex(&timex) < 0) {
        return false;
    }
    clock_told(&timex, &told[0], &told[1]);
    return true;
}

/* This machine's clocks: readings go forward, and the look comes to a window's end; two looks at once are one. The two
 * witnesses agree, unless somebody sets the time in the middle of it. */
static void test_these_clocks(void **state)
{
    struct clock clock;
    struct slew slew, again;
    uint64_t deadline = boot_ns() + 60000000000ull;
    (void)state;

    clock_init(&clock);
    do {
        clock_look(&clock, boot_ns(), &slew);
        assert_true(boot_ns() < deadline);
    } while (!clock.begun);
    uint64_t first_raw = clock.begin.raw_ns, first_mono = clock.begin.mono_ns, looked = clock.look_ns;
    clock_look(&clock, looked + CLOCK_LOOK_NS - 1, &again);
    assert_int_equal(clock.look_ns, looked);
    assert_memory_equal(&again, &clock.slew, sizeof again);
    int64_t before[2], after[2];
    bool may_ask = told_now(before);
    do { /* looks that wait for the end of the window: its own doing is all that passes the time */
        clock_look(&clock, boot_ns(), &slew);
        assert_true(boot_ns() < deadline);
    } while (clock.begin.raw_ns == first_raw);
    assert_true(clock.begin.raw_ns - first_raw >= CLOCK_WINDOW_NS);
    assert_true(clock.begin.mono_ns > first_mono);
    if (may_ask && told_now(after) && memcmp(before, after, sizeof before) == 0) {
        assert_true(clock.measured_ppm >= before[0] - CLOCK_STEADY_PPM);
        assert_true(clock.measured_ppm <= before[1] + CLOCK_STEADY_PPM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_the_kernel_was_told),
        cmocka_unit_test(test_the_kernels_own_loop),
        cmocka_unit_test(test_what_is_measured),
        cmocka_unit_test(test_the_worse_counts),
        cmocka_unit_test(test_these_clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
