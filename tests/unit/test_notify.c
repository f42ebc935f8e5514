/* daemon/notify against a service manager's socket. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/notify.h"

static int manager;
static char received[1024];

static int start_manager(void **state)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char name[64];

    /* An abstract name: nothing to clean up. */
    snprintf(name, sizeof(name), "@vipd-test-notify-%d", (int)getpid());
    memcpy(at.sun_path, name, strlen(name));
    at.sun_path[0] = '\0';
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    setenv("NOTIFY_SOCKET", name, 1);
    return bind(manager, (struct sockaddr *)&at, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name)));
}

static int end_manager(void **state)
{
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return close(manager);
}

/* A datagram on a local socket is there when its sender returns. */
static const char *receive(void)
{
    ssize_t n = recv(manager, received, sizeof(received) - 1, MSG_DONTWAIT);

    received[n > 0 ? n : 0] = '\0';
    return received;
}

static void each_call_says_its_word(void **state)
{
    notify_ready();
    assert_string_equal(receive(), "READY=1");
    notify_status("2 VIPs held");
    assert_string_equal(receive(), "STATUS=2 VIPs held");
    notify_watchdog();
    assert_string_equal(receive(), "WATCHDOG=1");
    notify_stopping();
    assert_string_equal(receive(), "STOPPING=1");
}

static void a_status_is_one_short_line(void **state)
{
    char status[600];

    notify_status("web held\nREADY=1");
    assert_string_equal(receive(), "STATUS=web held");
    memset(status, 'x', sizeof(status) - 1);
    status[sizeof(status) - 1] = '\0';
    notify_status(status);
    assert_int_equal(strlen(receive()), strlen("STATUS=") + 255);
}

static void without_a_manager_nothing_happens(void **state)
{
    unsetenv("NOTIFY_SOCKET");
    notify_ready();
    assert_string_equal(receive(), "");
}

static void the_watchdog_is_fed_twice_in_its_time(void **state)
{
    char pid[16];

    assert_int_equal(notify_watchdog_ms(), 0);
    setenv("WATCHDOG_USEC", "3000000", 1);
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    assert_int_equal(notify_watchdog_ms(), 1500);
    setenv("WATCHDOG_PID", "1", 1);
    assert_int_equal(notify_watchdog_ms(), 0); /* meant for another process */
}

#define MANAGED(f) cmocka_unit_test_setup_teardown(f, start_manager, end_manager)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MANAGED(each_call_says_its_word),
        MANAGED(a_status_is_one_short_line),
        MANAGED(without_a_manager_nothing_happens),
        MANAGED(the_watchdog_is_fed_twice_in_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
