/* The rate of the own clock (clock.h).
 *
 * Happy path: each look asks the kernel what it was told; once a window is over, the two clocks' ratio over it is looked
 * at, too. Failure modes: adjtimex(2) is not allowed (the measured ratio alone, a window late); the process is interrupted
 * between two clocks (the window goes on until a reading succeeds, and is the more exact for it). */

#include "io/clock.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define READ_TRIES 4
#define PPM 1000000

static uint64_t read_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts); /* these clocks are in every kernel that has the fence */
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

int clock_read(struct clock_pair *ret)
{
    for (int i = 0; i < READ_TRIES; i++) {
        uint64_t before = read_ns(CLOCK_MONOTONIC_RAW);
        uint64_t mono = read_ns(CLOCK_MONOTONIC);
        uint64_t after = read_ns(CLOCK_MONOTONIC_RAW);
        if (after - before <= CLOCK_WIDTH_NS) {
            *ret = (struct clock_pair){.mono_ns = mono, .raw_ns = before + (after - before) / 2};
            return 0;
        }
    }
    return -EAGAIN;
}

void clock_told(const struct timex *timex, int64_t *ret_least_ppm, int64_t *ret_most_ppm)
{
    int64_t nominal = 1000000 / sysconf(_SC_CLK_TCK);
    int64_t rate = ((int64_t)timex->tick - nominal) * PPM / nominal + timex->freq / 65536;
    int64_t offset_ns = timex->status & STA_NANO ? timex->offset : (int64_t)timex->offset * 1000;
    int64_t constant = timex->constant < 0 ? 0 : timex->constant > 20 ? 20 : timex->constant;
    /* Each second the kernel works off 1/2^(2+constant) of the offset, and what it shows is what is left after that. */
    int64_t loop = offset_ns / 1000 / ((4 << constant) - 1);

    *ret_least_ppm = loop < 0 ? rate + loop : rate;
    *ret_most_ppm = loop > 0 ? rate + loop : rate;
}

bool clock_measured(const struct clock_pair *from, const struct clock_pair *to, int64_t *ret_ppm)
{
    uint64_t raw = to->raw_ns - from->raw_ns, mono = to->mono_ns - from->mono_ns;
    if (to->raw_ns <= from->raw_ns || raw < CLOCK_WINDOW_NS) {
        return false;
    }
    *ret_ppm = (int64_t)(((double)mono - (double)raw) * PPM / (double)raw);
    return true;
}

static uint32_t beyond_steady(int64_t ppm)
{
    return ppm < CLOCK_STEADY_PPM ? 0 : ppm > UINT32_MAX ? UINT32_MAX : (uint32_t)ppm;
}

struct slew clock_slew(int64_t least_ppm, int64_t most_ppm, int64_t measured_ppm)
{
    int64_t least = measured_ppm < least_ppm ? measured_ppm : least_ppm;
    int64_t most = measured_ppm > most_ppm ? measured_ppm : most_ppm;
    return (struct slew){.slow_ppm = beyond_steady(-least), .fast_ppm = beyond_steady(most)};
}

static void measure(struct clock *clock)
{
    struct clock_pair now;
    if (clock_read(&now)) {
        return;
    }
    if (!clock->begun || clock_measured(&clock->begin, &now, &clock->measured_ppm)) {
        clock->begin = now;
        clock->begun = true;
    }
}

void clock_init(struct clock *clock)
{
    memset(clock, 0, sizeof *clock);
}

void clock_look(struct clock *clock, uint64_t now_ns, struct slew *ret)
{
    if (!clock->looked || now_ns - clock->look_ns >= CLOCK_LOOK_NS) {
        struct timex timex = {.modes = 0};
        int64_t least_ppm = 0, most_ppm = 0;
        if (adjtimex(&timex) >= 0) {
            clock_told(&timex, &least_ppm, &most_ppm);
        }
        measure(clock);
        clock->slew = clock_slew(least_ppm, most_ppm, clock->measured_ppm);
        clock->look_ns = now_ns;
        clock->looked = true;
    }
    *ret = clock->slew;
}
