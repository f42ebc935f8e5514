#include "core/damping.h"

int64_t damping_hold_ms(const struct damping *damping)
{
    int doublings = damping->n_fails - DAMPING_FREE - 1;

    if (damping->verdict != DAMPING_FAILS || doublings < 0) {
        return 0;
    }
    return damping->failed_ms + ((int64_t)DAMPING_HOLD_MS
                                 << (doublings < DAMPING_DOUBLINGS_MAX ? doublings : DAMPING_DOUBLINGS_MAX));
}

static void fail(struct damping *damping, int64_t now_ms)
{
    if (now_ms - damping->failed_ms > DAMPING_WINDOW_MS) {
        damping->n_fails = 0;
    }
    if (damping->n_fails < UINT8_MAX) {
        damping->n_fails++;
    }
    damping->failed_ms = now_ms;
    damping->verdict = DAMPING_FAILS;
}

bool damping_result(struct damping *damping, bool passed, uint8_t fall, uint8_t rise, int64_t now_ms)
{
    if (passed != damping->last) {
        damping->row = 0;
        damping->last = passed;
    }
    if (damping->row < UINT8_MAX) {
        damping->row++;
    }
    if (damping->row < (passed ? rise : fall) || damping->verdict == (passed ? DAMPING_PASSES : DAMPING_FAILS)) {
        return false;
    }
    if (!passed) {
        fail(damping, now_ms);
        return true;
    }
    if (now_ms < damping_hold_ms(damping)) {
        return false;
    }
    damping->verdict = DAMPING_PASSES;
    return true;
}
