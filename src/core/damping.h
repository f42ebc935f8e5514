#ifndef VIPD_CORE_DAMPING_H
#define VIPD_CORE_DAMPING_H

/* One health check on one node, from results to a verdict: `fall` failures in a row make it fail, `rise` passes in a row
 * make it pass, and one that fails again and again has to pass for longer each time. */

#include <stdbool.h>
#include <stdint.h>

#define DAMPING_WINDOW_MS 60000 /* failures further apart are no flapping */
#define DAMPING_FREE 2          /* times that it may fail within the window without a hold-down */
#define DAMPING_HOLD_MS 5000    /* the first hold-down; each further one is twice as long ... */
#define DAMPING_DOUBLINGS_MAX 4 /* ... at most 80 s */

enum damping_verdict
{
    DAMPING_UNKNOWN = 0, /* too few results yet: not a pass */
    DAMPING_PASSES,
    DAMPING_FAILS,
};

/* Zero-initialised: nothing is known. */
struct damping
{
    enum damping_verdict verdict;
    uint8_t row;      /* results in a row that speak against the verdict; it stops at 255 */
    bool last;        /* ... and what they were */
    uint8_t n_fails;  /* verdicts `fails` within the window */
    int64_t failed_ms; /* the last of them */
};

/* Takes in one result at now_ms (any clock that does not go back); whether the verdict changed. fall, rise: 1..255. */
bool damping_result(struct damping *damping, bool passed, uint8_t fall, uint8_t rise, int64_t now_ms);

/* When it may pass again, on the same clock; 0 = it is not held down. */
int64_t damping_hold_ms(const struct damping *damping);

#endif
