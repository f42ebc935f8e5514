#ifndef VIPD_IO_CLOCK_H
#define VIPD_IO_CLOCK_H

/* How fast the node's own clock runs against the hardware's: whether somebody slews it (chrony may, by 8 %).
 *
 * Two witnesses, and the worse of them counts. adjtimex(2), read only, tells the rate that the kernel was given, at once.
 * The ratio of CLOCK_MONOTONIC to CLOCK_MONOTONIC_RAW over a window shows whatever else does it, and stands in where the
 * call is refused (a container's filter). CLOCK_MONOTONIC has the rate of CLOCK_BOOTTIME, which is the own clock, but
 * does not jump when the host was suspended.
 *
 * Noise is kept out three times: a reading of the two clocks between which more than CLOCK_WIDTH_NS passed is not used; a
 * window has at least CLOCK_WINDOW_NS, so that two readings make it wrong by at most 160 ppm; and what is below
 * CLOCK_STEADY_PPM is no slew: as much as the kernel's frequency correction and adjtime(3) together may do all day long,
 * which the drift that every lease allows for covers. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/timex.h>

#include "base/err.h"
#include "core/core.h"

#define CLOCK_STEADY_PPM 1000           /* MAXFREQ and MAX_TICKADJ of the kernel, 500 ppm each */
#define CLOCK_WINDOW_NS 250000000ull
#define CLOCK_WIDTH_NS 20000ull
#define CLOCK_LOOK_NS 1000000ull        /* between two looks: what can be missed meanwhile is a part of the margin */

/* One reading of both clocks. */
struct clock_pair
{
    uint64_t mono_ns, raw_ns;
};

struct clock
{
    bool looked, begun; /* there is a last look; a window */
    uint64_t look_ns;   /* own clock of the last look */
    struct clock_pair begin;
    int64_t measured_ppm; /* of the last whole window */
    struct slew slew;     /* the last answer */
};

void clock_init(struct clock *clock);

/* The slew now; `now_ns` is the own clock. Asked again within CLOCK_LOOK_NS it answers what it answered. */
void clock_look(struct clock *clock, uint64_t now_ns, struct slew *ret);

/* -EAGAIN: this process was interrupted between the clocks again and again. */
NODISCARD int clock_read(struct clock_pair *ret);

/* What the kernel was told, as the least and the greatest rate of the next second in ppm of the hardware's: tick and
 * frequency, with and without what its own loop adds of an offset that is left (adjtimex(2), kernel/time/ntp.c). */
void clock_told(const struct timex *timex, int64_t *ret_least_ppm, int64_t *ret_most_ppm);

/* The rate between two readings, ppm; false: they are too close together. */
bool clock_measured(const struct clock_pair *from, const struct clock_pair *to, int64_t *ret_ppm);

/* The worst of three rates, as the core wants it. */
struct slew clock_slew(int64_t least_ppm, int64_t most_ppm, int64_t measured_ppm);

#endif
