/* The own clock, slewed (docs/timing.md has the arithmetic).
 *
 * A lease is measured by the holder's clock, and must not last longer than it says: where that clock runs slow by s, the
 * lease is shortened by s (N1). A promise is measured by the voter's clock, and what is left of it by the clock of whoever
 * waits for it; neither wait may be shorter than it says: where that clock runs fast by f, they last longer by f (V1, L2,
 * N2). The worst that was seen within the last two promises counts, since what runs now began up to one promise ago.
 *
 * Up to SLEW_MAX_PPM a lease is longer than an interval, whatever timing a table may have, so that it can be renewed; and
 * by no known means does a kernel slew by more. */

#include "core/core_private.h"

#define PPM 1000000u

static uint32_t worse(const uint32_t ppm[2])
{
    return ppm[0] > ppm[1] ? ppm[0] : ppm[1];
}

static void take(uint32_t ppm[2], uint32_t now_ppm, bool turn)
{
    if (turn) {
        ppm[1] = ppm[0];
        ppm[0] = 0;
    }
    ppm[0] = now_ppm > ppm[0] ? now_ppm : ppm[0];
}

uint32_t slew_slow_ppm(const struct core *core)
{
    return worse(core->slew.slow_ppm);
}

uint32_t slew_fast_ppm(const struct core *core)
{
    return worse(core->slew.fast_ppm);
}

static bool is_unfit(uint32_t slow_ppm, uint32_t fast_ppm)
{
    return slow_ppm > SLEW_MAX_PPM || fast_ppm > SLEW_MAX_PPM;
}

bool slew_unfit(const struct core *core)
{
    return is_unfit(slew_slow_ppm(core), slew_fast_ppm(core));
}

void core_node_slew(const struct core *core, int node, time_ns now, struct core_slew *ret)
{
    const struct heartbeat *last = &core->hearing[node].last;
    bool own = node == core->slot, heard = core->hearing[node].heard && !core_silent(core, node, now);
    *ret = (struct core_slew){
        .slow_ppm = own ? slew_slow_ppm(core) : heard ? last->slow_ppm : 0,
        .fast_ppm = own ? slew_fast_ppm(core) : heard ? last->fast_ppm : 0,
    };
    ret->unfit = is_unfit(ret->slow_ppm, ret->fast_ppm);
}

time_ns slew_lease(const struct core *core)
{
    uint32_t slow_ppm = RULE(N1_SLEW) ? worse(core->slew.slow_ppm) : 0;
    return slew_unfit(core) ? 0 : core_lease(core) * (PPM - slow_ppm) / PPM;
}

time_ns slew_wait(const struct core *core)
{
    return RULE(V1_SLEW) ? (core_promise(core) * worse(core->slew.fast_ppm) + PPM - 1) / PPM : 0;
}

time_ns slew_true(const struct core *core, time_ns own)
{
    uint32_t fast_ppm = RULE(V1_SLEW) ? worse(core->slew.fast_ppm) : 0;
    return (own * PPM + PPM + fast_ppm - 1) / (PPM + fast_ppm);
}

void slew_note(struct core *core, const struct slew *seen, time_ns now, struct actions *actions)
{
    bool turn = now >= core->slew.turn_at;
    if (turn) {
        core->slew.turn_at = now + 2 * core_promise(core);
    }
    take(core->slew.slow_ppm, seen->slow_ppm, turn);
    take(core->slew.fast_ppm, seen->fast_ppm, turn);

    struct core_clock clock;
    core_clock(core, &clock);
    enum core_log what = !clock.slow_ppm && !clock.fast_ppm ? LOG_CORE_CLOCK_STEADY
                         : clock.unfit                        ? LOG_CORE_CLOCK_UNFIT
                                                              : LOG_CORE_CLOCK_SLEWED;
    if (what != core->slew.told && (core->slew.told || what != LOG_CORE_CLOCK_STEADY)) {
        uint64_t ppm = clock.slow_ppm > clock.fast_ppm ? clock.slow_ppm : clock.fast_ppm;
        core_log(actions, what, core->slot, SLOT_NONE, ppm);
        core->slew.told = what;
    }
}

void core_clock(const struct core *core, struct core_clock *ret)
{
    *ret = (struct core_clock){
        .slow_ppm = worse(core->slew.slow_ppm),
        .fast_ppm = worse(core->slew.fast_ppm),
        .unfit = slew_unfit(core),
        .lease_ms = (uint32_t)(slew_lease(core) / MS),
        .full_ms = (uint32_t)(core_lease(core) / MS),
        .wait_ms = (uint32_t)((slew_wait(core) + MS - 1) / MS),
    };
}
