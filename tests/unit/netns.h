#ifndef VIPD_TESTS_NETNS_H
#define VIPD_TESTS_NETNS_H

/* For tests against a real kernel: network namespaces that no name holds, so nothing of them outlives the process, and
 * a loop that is turned until something is so. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "base/addr.h"
#include "base/err.h"

#define NETNS_DEADLINE_MS 5000

/* False, with the reason printed: no namespaces here, the test is to be skipped. */
static inline bool netns_available(void)
{
    if (geteuid() == 0 && unshare(CLONE_NEWNET) == 0) {
        return true;
    }
    printf("skipped: network namespaces need root (%s)\n", geteuid() != 0 ? "not root" : strerror(errno));
    return false;
}

/* A new namespace for this process; the file descriptor holds it. */
static inline int netns_new(void)
{
    assert_int_equal(unshare(CLONE_NEWNET), 0);
    int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static inline void netns_enter(int fd)
{
    assert_int_equal(setns(fd, CLONE_NEWNET), 0);
}

PRINTF(1, 2) static inline void sh(const char *format, ...)
{
    char command[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    int status = system(command);
    if (status != 0) {
        print_error("failed: %s\n", command);
    }
    assert_int_equal(status, 0);
}

/* Output of a command; to be freed. */
static inline char *output(const char *command)
{
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t size = 0, used = 0;
    char *text = NULL;
    do {
        text = realloc(text, size += 65536);
        assert_non_null(text);
        used += fread(text + used, 1, size - used - 1, pipe);
    } while (used == size - 1);
    text[used] = '\0';
    (void)pclose(pipe);
    return text;
}

static inline bool says(const char *command, const char *part)
{
    char *text = output(command);
    bool found = strstr(text, part) != NULL;
    free(text);
    return found;
}

/* Until the output of a command contains the text. */
static inline void wait_says(const char *command, const char *part)
{
    uint64_t start = uv_hrtime();
    while (!says(command, part)) {
        assert_true(uv_hrtime() - start < NETNS_DEADLINE_MS * 1000000ull);
    }
}

/* Until the interface carries frames: before that the kernel drops them without a word. */
static inline void wait_up(const char *dev)
{
    char command[128];
    snprintf(command, sizeof(command), "ip -o link show dev %s", dev);
    wait_says(command, "state UP");
}

/* Turns the loop until done(arg), for limit_ms at most; how long it took in ms, or -1. */
static inline int64_t run_for(uv_loop_t *loop, bool (*done)(const void *arg), const void *arg, int limit_ms)
{
    uint64_t start = uv_hrtime();
    for (;;) {
        uv_run(loop, UV_RUN_NOWAIT);
        int64_t took = (int64_t)((uv_hrtime() - start) / 1000000);
        if (done(arg)) {
            return took;
        }
        if (took >= limit_ms) {
            return -1;
        }
        int timeout = uv_backend_timeout(loop), left = (int)(limit_ms - took);
        struct pollfd wait = {.fd = uv_backend_fd(loop), .events = POLLIN};
        (void)!poll(&wait, 1, timeout < 0 || timeout > left ? left : timeout);
    }
}

static inline struct addr address(const char *text)
{
    struct addr addr;
    assert_int_equal(addr_parse(text, &addr), 0);
    return addr;
}

#endif
