#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "io/control.h"
#include "wire/control.h"

#define DEADLINE_MS 10000
#define CALLS_MAX 128

/* A server on a loop of its own; the test is the daemon behind it and the clients before it. */
struct bench
{
    char dir[64];
    char path[100];
    uv_loop_t loop;
    uv_timer_t tick; /* so that uv_run() comes back */
    struct control *control;
    unsigned n_calls; /* ever */
    struct control_call *calls[CALLS_MAX];
    size_t len[CALLS_MAX];
    const void *bytes[CALLS_MAX];
    uid_t uid;
    bool echo; /* answer at once with what came */
    bool closed;
};

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

static void echo(struct control_call *call, const void *bytes, size_t len)
{
    unsigned char *frame = malloc(len + 4);

    frame[0] = (unsigned char)(len >> 24), frame[1] = (unsigned char)(len >> 16);
    frame[2] = (unsigned char)(len >> 8), frame[3] = (unsigned char)len;
    memcpy(frame + 4, bytes, len);
    control_reply(call, frame, len + 4);
    free(frame);
}

static void on_request(void *ud, struct control_call *call, const void *bytes, size_t len, uid_t uid)
{
    struct bench *bench = ud;

    bench->uid = uid;
    if (bench->echo) {
        bench->n_calls++;
        echo(call, bytes, len);
        return;
    }
    assert_true(bench->n_calls < CALLS_MAX);
    bench->bytes[bench->n_calls] = bytes;
    bench->len[bench->n_calls] = len;
    bench->calls[bench->n_calls++] = call;
}

static const struct control_ops ops = { .request = on_request };

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);

    strcpy(bench->dir, "/tmp/vipd-test-XXXXXX");
    assert_non_null(mkdtemp(bench->dir));
    snprintf(bench->path, sizeof bench->path, "%s/run/vipd/s", bench->dir);
    assert_int_equal(uv_loop_init(&bench->loop), 0);
    uv_timer_init(&bench->loop, &bench->tick);
    uv_timer_start(&bench->tick, on_tick, 2, 2);
    assert_int_equal(control_open(&bench->control, &bench->loop, bench->path, (gid_t)-1, &ops, bench), 0);
    *state = bench;
    return 0;
}

static void on_closed(void *ud)
{
    *(bool *)ud = true;
}

static void finish(struct bench *bench)
{
    uint64_t end = now_ms() + DEADLINE_MS;

    if (bench->control != NULL) {
        control_close(bench->control, on_closed, &bench->closed);
        bench->control = NULL;
    }
    while (!bench->closed && now_ms() < end) {
        uv_run(&bench->loop, UV_RUN_ONCE);
    }
    assert_true(bench->closed);
}

static int teardown(void **state)
{
    struct bench *bench = *state;

    finish(bench);
    uv_close((uv_handle_t *)&bench->tick, NULL);
    uv_run(&bench->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&bench->loop), 0);
    unlink(bench->path);
    snprintf(bench->path, sizeof bench->path, "%s/run/vipd", bench->dir);
    rmdir(bench->path);
    snprintf(bench->path, sizeof bench->path, "%s/run", bench->dir);
    rmdir(bench->path);
    assert_int_equal(rmdir(bench->dir), 0); /* nothing else was left behind */
    free(bench);
    return 0;
}

static int dial(const struct bench *bench)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    strcpy(at.sun_path, bench->path);
    assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static void say(struct bench *bench, int fd, const void *bytes, size_t len)
{
    uint64_t end = now_ms() + DEADLINE_MS;

    for (size_t done = 0; done < len;) {
        ssize_t n = send(fd, (const char *)bytes + done, len - done, MSG_NOSIGNAL);
        if (n > 0) {
            done += (size_t)n;
        } else {
            assert_true(errno == EAGAIN && now_ms() < end);
        }
        uv_run(&bench->loop, UV_RUN_NOWAIT);
    }
}

static void say_frame(struct bench *bench, int fd, const void *bytes, size_t len)
{
    unsigned char head[4] = { (unsigned char)(len >> 24), (unsigned char)(len >> 16), (unsigned char)(len >> 8),
                              (unsigned char)len };

    say(bench, fd, head, sizeof head);
    say(bench, fd, bytes, len);
}

/* Reads up to len bytes while the server runs; fewer only when the server closed the connection. */
static size_t hear(struct bench *bench, int fd, void *bytes, size_t len)
{
    uint64_t end = now_ms() + DEADLINE_MS;
    size_t done = 0;

    while (done < len) {
        ssize_t n = recv(fd, (char *)bytes + done, len - done, 0);
        if (n > 0) {
            done += (size_t)n;
            continue;
        }
        if (n == 0 || errno == ECONNRESET) {
            break;
        }
        assert_int_equal(errno, EAGAIN);
        assert_true(now_ms() < end);
        uv_run(&bench->loop, UV_RUN_ONCE);
    }
    return done;
}

/* Hears one reply of the server's own; its code. */
static int hear_code(struct bench *bench, int fd)
{
    struct value_arena arena;
    struct control_reply reply;
    unsigned char head[4];

    assert_int_equal(hear(bench, fd, head, 4), 4);
    uint32_t len = control_frame_len(head);
    unsigned char *body = malloc(len);
    assert_int_equal(hear(bench, fd, body, len), len);
    value_arena_init(&arena, 1 << 20);
    assert_int_equal(control_reply_decode(&arena, body, len, &reply), 0);
    assert_non_null(reply.error);
    value_arena_close(&arena);
    free(body);
    return (int)reply.code;
}

#define UNTIL(bench, condition)                                             \
    do {                                                                    \
        uint64_t until_end = now_ms() + DEADLINE_MS;                        \
        while (!(condition)) {                                              \
            assert_true(now_ms() < until_end);                              \
            uv_run(&(bench)->loop, UV_RUN_ONCE);                            \
        }                                                                   \
    } while (0)

static void test_request_and_reply(void **state)
{
    struct bench *bench = *state;
    char back[9];
    struct stat st;
    int fd = dial(bench);

    assert_int_equal(stat(bench->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    say_frame(bench, fd, "hello", 5);
    UNTIL(bench, bench->n_calls == 1);
    assert_int_equal(bench->len[0], 5);
    assert_memory_equal(bench->bytes[0], "hello", 5);
    assert_int_equal(bench->uid, getuid());
    assert_true(control_in_group(bench->calls[0], getgid()));
    assert_false(control_in_group(bench->calls[0], 64999));
    echo(bench->calls[0], bench->bytes[0], 5);
    assert_int_equal(hear(bench, fd, back, 9), 9);
    assert_memory_equal(back, "\0\0\0\5hello", 9);
    close(fd);
}

static void test_one_at_a_time(void **state)
{
    struct bench *bench = *state;
    char back[10];
    int fd = dial(bench);

    say(bench, fd, "\0\0\0\1a\0\0\0\1b", 10); /* both in one write */
    UNTIL(bench, bench->n_calls == 1);
    for (int i = 0; i < 20; i++) {
        uv_run(&bench->loop, UV_RUN_ONCE);
    }
    assert_int_equal(bench->n_calls, 1);
    echo(bench->calls[0], bench->bytes[0], 1);
    UNTIL(bench, bench->n_calls == 2);
    echo(bench->calls[1], bench->bytes[1], 1);
    assert_int_equal(hear(bench, fd, back, 10), 10);
    assert_memory_equal(back, "\0\0\0\1a\0\0\0\1b", 10);
    close(fd);
}

static void test_a_request_in_single_bytes_and_the_longest(void **state)
{
    struct bench *bench = *state;
    const char *bytes = "\0\0\0\3abc";
    char back[7];
    int fd = dial(bench);

    bench->echo = true;
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(bench->n_calls, 0);
        say(bench, fd, bytes + i, 1);
    }
    assert_int_equal(hear(bench, fd, back, 7), 7);
    char *body = calloc(1, CONTROL_REQUEST_MAX);
    char *answer = malloc(CONTROL_REQUEST_MAX + 4);
    say_frame(bench, fd, body, CONTROL_REQUEST_MAX);
    assert_int_equal(hear(bench, fd, answer, CONTROL_REQUEST_MAX + 4), CONTROL_REQUEST_MAX + 4);
    free(body);
    free(answer);
    close(fd);
}

static void test_garbage_and_oversize(void **state)
{
    struct bench *bench = *state;
    const char *bad[] = { "\xff\xff\xff\xff", "\x00\x10\x00\x01", "\0\0\0\0", "GET / HTTP/1.1\r\n\r\n" };
    const size_t len[] = { 4, 4, 4, 18 };
    char byte;

    for (size_t i = 0; i < 4; i++) {
        int fd = dial(bench);
        say(bench, fd, bad[i], len[i]);
        assert_int_equal(hear_code(bench, fd), CONTROL_USAGE);
        assert_int_equal(hear(bench, fd, &byte, 1), 0);
        close(fd);
    }
    assert_int_equal(bench->n_calls, 0);
    assert_int_equal(control_stats(bench->control).bad, 4);
    UNTIL(bench, control_stats(bench->control).clients == 0);
}

static void test_half_requests_end(void **state)
{
    struct bench *bench = *state;
    char byte;

    int gone = dial(bench);
    say(bench, gone, "\0\0\1\0abc", 7);
    close(gone);
    UNTIL(bench, control_stats(bench->control).clients == 0);

    control_patience(bench->control, DEADLINE_MS * 10, 1);
    int slow = dial(bench);
    say(bench, slow, "\0\0\1\0abc", 7);
    assert_int_equal(hear(bench, slow, &byte, 1), 0); /* the sweep closed it */
    close(slow);
    assert_int_equal(bench->n_calls, 0);
    assert_int_equal(control_stats(bench->control).stalled, 1);
}

static void test_idle_connections_end(void **state)
{
    struct bench *bench = *state;
    char byte;

    control_patience(bench->control, 1, DEADLINE_MS * 10);
    int fd = dial(bench);
    assert_int_equal(hear(bench, fd, &byte, 1), 0);
    close(fd);
    assert_int_equal(control_stats(bench->control).stalled, 0);
}

static void test_a_client_that_does_not_read(void **state)
{
    struct bench *bench = *state;
    size_t len = 8u << 20; /* more than a socket buffer */
    unsigned char *frame = calloc(1, len);
    int fds[16];

    control_patience(bench->control, DEADLINE_MS * 10, 1);
    for (unsigned i = 0; i < 16; i++) {
        fds[i] = dial(bench);
        say_frame(bench, fds[i], "x", 1);
        UNTIL(bench, bench->n_calls == i + 1);
        control_reply(bench->calls[i], frame, len); /* from some reply on over CONTROL_QUEUED_MAX */
    }
    UNTIL(bench, control_stats(bench->control).clients == 0);
    for (unsigned i = 0; i < 16; i++) {
        close(fds[i]);
    }
    /* And it serves on. */
    bench->echo = true;
    control_patience(bench->control, DEADLINE_MS * 10, DEADLINE_MS * 10);
    int fd = dial(bench);
    char back[5];
    say_frame(bench, fd, "x", 1);
    assert_int_equal(hear(bench, fd, back, 5), 5);
    close(fd);
    free(frame);
}

/* All places taken by clients that are idle: a hundred more are served none the less, each after the one that was idle
 * for longest was closed, and none that has just got its turn. */
static void test_idle_clients_make_room(void **state)
{
    struct bench *bench = *state;
    int idle[CONTROL_CLIENTS_MAX];
    char back[5];

    bench->echo = true;
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        idle[i] = dial(bench);
    }
    UNTIL(bench, control_stats(bench->control).accepted == CONTROL_CLIENTS_MAX);
    for (int i = 0; i < 3; i++) {
        int fd = dial(bench);
        say_frame(bench, fd, "x", 1);
        assert_int_equal(hear(bench, fd, back, 5), 5);
        close(fd);
    }
    assert_in_range(control_stats(bench->control).evicted, 1, 3);
    assert_int_equal(hear(bench, idle[0], back, 1), 0);
    say_frame(bench, idle[CONTROL_CLIENTS_MAX - 1], "x", 1);
    assert_int_equal(hear(bench, idle[CONTROL_CLIENTS_MAX - 1], back, 5), 5);
    assert_int_equal(control_stats(bench->control).refused, 0);
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        close(idle[i]);
    }
    UNTIL(bench, control_stats(bench->control).clients == 0);
}

/* More connections than places, that were closed before the server looked at them shut nobody out. */
static void test_closed_connections_shut_nobody_out(void **state)
{
    struct bench *bench = *state;
    char back[5];

    bench->echo = true;
    for (int i = 0; i < 2 * CONTROL_CLIENTS_MAX - 1; i++) { /* the backlog's 128 take no more at once */
        close(dial(bench));
    }
    int fd = dial(bench);
    say_frame(bench, fd, "x", 1);
    assert_int_equal(hear(bench, fd, back, 5), 5);
    assert_int_equal(control_stats(bench->control).refused, 0);
    close(fd);
}

static void test_too_many_clients_at_work(void **state)
{
    struct bench *bench = *state;
    int fds[CONTROL_CLIENTS_MAX + 2];
    char back[5];

    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        fds[i] = dial(bench);
        say_frame(bench, fds[i], "x", 1);
    }
    UNTIL(bench, bench->n_calls == CONTROL_CLIENTS_MAX);
    for (int i = CONTROL_CLIENTS_MAX; i < CONTROL_CLIENTS_MAX + 2; i++) {
        fds[i] = dial(bench);
        assert_int_equal(hear_code(bench, fds[i]), CONTROL_FAILED);
        assert_int_equal(hear(bench, fds[i], back, 1), 0);
        close(fds[i]);
    }
    assert_int_equal(control_stats(bench->control).refused, 2);
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        echo(bench->calls[i], bench->bytes[i], 1);
        assert_int_equal(hear(bench, fds[i], back, 5), 5);
        close(fds[i]);
    }
    UNTIL(bench, control_stats(bench->control).clients == 0);
}

static void test_a_call_outlives_its_client(void **state)
{
    struct bench *bench = *state;

    int fd = dial(bench);
    say_frame(bench, fd, "x", 1);
    UNTIL(bench, bench->n_calls == 1);
    close(fd);
    echo(bench->calls[0], bench->bytes[0], 1); /* finds it gone while writing */

    fd = dial(bench);
    say_frame(bench, fd, "y", 1);
    UNTIL(bench, bench->n_calls == 2);
    int other = dial(bench);
    say_frame(bench, other, "z", 1);
    UNTIL(bench, bench->n_calls == 3);
    control_drop(bench->calls[2]);
    char byte;
    assert_int_equal(hear(bench, other, &byte, 1), 0);
    close(other);

    finish(bench); /* the server is gone, the call is not */
    assert_false(control_in_group(bench->calls[1], getgid()));
    assert_memory_equal(bench->bytes[1], "y", 1);
    echo(bench->calls[1], bench->bytes[1], 1);
    assert_int_equal(hear(bench, fd, &byte, 1), 0);
    close(fd);
}

static void test_a_live_socket_is_refused(void **state)
{
    struct bench *bench = *state;
    struct control *second;

    assert_int_equal(control_open(&second, &bench->loop, bench->path, (gid_t)-1, &ops, bench), -EADDRINUSE);
    bench->echo = true;
    int fd = dial(bench);
    char back[5];
    say_frame(bench, fd, "x", 1);
    assert_int_equal(hear(bench, fd, back, 5), 5);
    close(fd);
}

static void test_a_stale_socket_is_replaced(void **state)
{
    struct bench *bench = *state;
    struct sockaddr_un at = { .sun_family = AF_UNIX };

    finish(bench);
    assert_int_equal(access(bench->path, F_OK), -1); /* it took its socket with it */
    strcpy(at.sun_path, bench->path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    close(fd);
    assert_int_equal(access(bench->path, F_OK), 0);
    bench->closed = false;
    assert_int_equal(control_open(&bench->control, &bench->loop, bench->path, (gid_t)-1, &ops, bench), 0);

    /* Someone replaces our socket: closing leaves the other one alone. */
    assert_int_equal(unlink(bench->path), 0);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    finish(bench);
    assert_int_equal(access(bench->path, F_OK), 0);
    close(fd);
}

static void test_paths_that_are_refused(void **state)
{
    struct bench *bench = *state;
    struct control *control;
    char path[300];

    memset(path, 'x', sizeof path);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    assert_int_equal(control_open(&control, &bench->loop, path, (gid_t)-1, &ops, bench), -ENAMETOOLONG);
    assert_int_equal(control_open(&control, &bench->loop, "", (gid_t)-1, &ops, bench), -EINVAL);
    assert_int_equal(control_open(&control, &bench->loop, "/dev/null", (gid_t)-1, &ops, bench), -ENOTSOCK);
    assert_int_equal(control_open(&control, &bench->loop, "/dev/null/x", (gid_t)-1, &ops, bench), -ENOTDIR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_request_and_reply, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_request_in_single_bytes_and_the_longest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_garbage_and_oversize, setup, teardown),
        cmocka_unit_test_setup_teardown(test_half_requests_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idle_connections_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_client_that_does_not_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idle_clients_make_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closed_connections_shut_nobody_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many_clients_at_work, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_call_outlives_its_client, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_live_socket_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_stale_socket_is_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_paths_that_are_refused, setup, teardown),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
