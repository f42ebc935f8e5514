#include "base/throttle.h"

uint32_t throttle_end(struct throttle *throttle, int64_t now_ms, int64_t window_ms)
{
    uint32_t refused = throttle->refused;

    if (throttle->passed == 0 || now_ms - throttle->since_ms < window_ms) {
        return 0;
    }
    *throttle = (struct throttle){0};
    return refused;
}

bool throttle_pass(struct throttle *throttle, int64_t now_ms, uint32_t limit, int64_t window_ms)
{
    throttle_end(throttle, now_ms, window_ms);
    if (throttle->passed == 0) {
        throttle->since_ms = now_ms;
    }
    if (throttle->passed < limit) {
        throttle->passed++;
        return true;
    }
    if (throttle->refused < UINT32_MAX) {
        throttle->refused++;
    }
    return false;
}
