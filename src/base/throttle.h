#ifndef VIPD_BASE_THROTTLE_H
#define VIPD_BASE_THROTTLE_H

/* At most so many of a thing in a window of time, and a count of the rest. Zero-initialised = nothing seen yet. */

#include <stdbool.h>
#include <stdint.h>

struct throttle
{
    int64_t since_ms; /* start of the window that is running */
    uint32_t passed;  /* in it; 0: no window is running */
    uint32_t refused; /* in it */
};

/* Whether one more may pass at now_ms (any clock that does not go back), with at most `limit` (1..) in window_ms. A
 * window starts with the first that passes; call throttle_end first, or what an ended window refused is forgotten. */
bool throttle_pass(struct throttle *throttle, int64_t now_ms, uint32_t limit, int64_t window_ms);

/* How many the window refused, if it has ended by now_ms; it is closed by that. 0 while it is running. */
uint32_t throttle_end(struct throttle *throttle, int64_t now_ms, int64_t window_ms);

#endif
