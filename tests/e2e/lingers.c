/* Preloaded into a vipd: once it has said that it ends (sd_notify "STOPPING=1"), a timer of 0 ms is one of 300 ms, so that
 * its loop goes on for that long between the release of its VIPs and its end. What may happen in the one turn that there
 * is otherwise then does happen. */

#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define LINGER_MS 300

static bool stopping;

int sd_notify(int unset_environment, const char *state);
int uv_timer_start(void *timer, void *cb, uint64_t timeout, uint64_t repeat);

int sd_notify(int unset_environment, const char *state)
{
    int (*real)(int, const char *) = (int (*)(int, const char *))dlsym(RTLD_NEXT, "sd_notify");
    stopping = stopping || strcmp(state, "STOPPING=1") == 0;
    return real(unset_environment, state);
}

int uv_timer_start(void *timer, void *cb, uint64_t timeout, uint64_t repeat)
{
    int (*real)(void *, void *, uint64_t, uint64_t) =
        (int (*)(void *, void *, uint64_t, uint64_t))dlsym(RTLD_NEXT, "uv_timer_start");
    return real(timer, cb, stopping && timeout == 0 ? LINGER_MS : timeout, repeat);
}
