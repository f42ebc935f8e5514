#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/confine.h"

/* In a child, since there is no way back: 0 when every forbidden call is refused, and the others go on. The arguments
 * are such that none would do anything but for the filter's refusal. */
static int confined(void)
{
    struct timespec now;
    struct timex timex = {.modes = 0};
    bool may_ask = adjtimex(&timex) >= 0; /* a container's own filter may refuse it */

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || confine_calls() != 0) {
        return 1;
    }
    if (unshare(0) != -1 || errno != EPERM) {
        return 2;
    }
    if (mount(NULL, "/", NULL, 0, NULL) != -1 || errno != EPERM) {
        return 3;
    }
    if (syscall(SYS_clock_settime, CLOCK_REALTIME, NULL) != -1 || errno != EPERM) {
        return 4;
    }
    if (setns(-1, 0) != -1 || errno != EPERM) {
        return 5;
    }
    if (may_ask && adjtimex(&timex) < 0) { /* io/clock.c asks how the clock is slewed */
        return 7;
    }
    return getppid() > 0 && clock_gettime(CLOCK_BOOTTIME, &now) == 0 ? 0 : 6;
}

static void test_calls_are_refused_and_others_are_not(void **state)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        _exit(confined());
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls_are_refused_and_others_are_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
