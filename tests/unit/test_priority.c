/* The daemon comes before those who compute, its children do not. Each test in a child: a priority is not given back. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/priority.h"

static int nice_now(void)
{
    return getpriority(PRIO_PROCESS, 0);
}

/* The nice value that a child of this process sees. */
static int nice_of_child(void)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        _exit(nice_now() + 20);
    }
    waitpid(child, &status, 0);
    return WEXITSTATUS(status) - 20;
}

static void in_child(int (*test)(void))
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(test());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int raised(void)
{
    priority_raise();
    return nice_now() == PRIORITY_NICE && nice_of_child() == PRIORITY_NICE ? 0 : 1;
}

static int kept(void)
{
    priority_raise();
    priority_keep();
    return nice_now() == PRIORITY_NICE && nice_of_child() == 0 ? 0 : 1;
}

static int above(void)
{
    if (setpriority(PRIO_PROCESS, 0, -20) < 0) {
        return 1;
    }
    priority_raise();
    return nice_now() == -20 ? 0 : 1;
}

static int refused(void)
{
    int before = nice_now();
    if (setuid(65534) < 0) {
        return 1;
    }
    priority_raise();
    priority_keep();
    return nice_now() == before ? 0 : 1;
}

static void test_raised(void **state)
{
    in_child(raised);
}

static void test_kept(void **state)
{
    in_child(kept);
}

static void test_above(void **state)
{
    in_child(above);
}

static void test_refused(void **state)
{
    in_child(refused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raised),
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_above),
        cmocka_unit_test(test_refused),
    };
    if (getuid() != 0) {
        print_message("skipped: needs root\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
