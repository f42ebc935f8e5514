#ifndef VIPD_TESTS_FENCE_BED_H
#define VIPD_TESTS_FENCE_BED_H

/* Where the tests of the kernel fence run: nameless network namespaces, which end with the process whatever happens. */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BED_PATIENCE_NS (10 * 1000000000ull) /* how long a condition may take before the test fails */
#define BED_MS 1000000ull

/* For cmocka tests: a call of the fence that must return 0, else its own words. */
#define assert_done(expression)                                                                                        \
    do {                                                                                                               \
        int done_result = (expression);                                                                                \
        if (done_result != 0) {                                                                                        \
            fail_msg("%s: %d: %s", #expression, done_result, fence_error());                                           \
        }                                                                                                              \
    } while (0)

static inline uint64_t bed_now(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_BOOTTIME, &now) != 0) {
        abort();
    }
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The calling thread enters a network namespace of its own, and gets a descriptor of it; -errno. */
static inline int bed_new_namespace(void)
{
    if (unshare(CLONE_NEWNET) != 0) {
        return -errno;
    }
    int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static inline void bed_enter(int namespace)
{
    if (setns(namespace, CLONE_NEWNET) != 0) {
        perror("setns");
        abort();
    }
}

/* One shell command in the caller's namespace; its exit status. */
__attribute__((format(printf, 1, 2))) static inline int bed_run(const char *format, ...)
{
    char command[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof(command)) {
        abort();
    }
    return system(command);
}

/* Why these tests cannot run here, or NULL; the caller is then in a fresh namespace. */
static inline const char *bed_missing(void)
{
    if (geteuid() != 0) {
        return "needs root (network namespaces and bpf)";
    }
    int namespace = bed_new_namespace();
    if (namespace < 0) {
        return "cannot make a network namespace";
    }
    (void)close(namespace);
    if (bed_run("ip link add probe0 type veth peer name probe1") != 0) {
        return "cannot make a veth pair (ip of iproute2 and a kernel with veth are needed)";
    }
    return bed_run("ip link del probe0") == 0 ? NULL : "cannot delete a veth pair";
}

#endif
