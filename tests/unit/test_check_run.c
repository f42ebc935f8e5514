/* The adapters of health checks, each against something real on loopback: servers that answer, answer wrongly, or not at
 * all; programs that fail, hang, flood, or leave something behind. */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/check.h"
#include "io/child.h"
#include "netns.h"

static uv_loop_t loop;
static char dir[64];

struct seen
{
    struct check_run *run;
    int results, gone;
    bool passed;
    char detail[CHECK_DETAIL_SIZE];
};

static void on_result(void *ud, bool passed, const char *detail)
{
    struct seen *seen = ud;
    seen->results++;
    seen->passed = passed;
    snprintf(seen->detail, sizeof seen->detail, "%s", detail);
}

static void on_gone(void *ud)
{
    struct seen *seen = ud;
    assert_int_equal(seen->results, 1);
    seen->gone++;
}

static bool is_gone(const void *arg)
{
    return ((const struct seen *)arg)->gone > 0;
}

static const struct check_run_ops OPS = {.result = on_result, .gone = on_gone};

static int begin(struct seen *seen, enum check_kind kind, const char *target, uint32_t timeout_ms)
{
    struct check_spec spec = {.name = "test", .kind = kind, .every_ms = 10000, .timeout_ms = timeout_ms, .fall = 1, .rise = 1};
    struct check_job job = {.spec = &spec, .dir = dir, .node = "a"};

    snprintf(spec.target, sizeof spec.target, "%s", target);
    memset(seen, 0, sizeof *seen);
    return check_start(&seen->run, &loop, &job, &OPS, seen, seen->detail);
}

/* Runs it to its end: passed or not, in *seen the words. A start that is refused is a failure. */
static bool passes(struct seen *seen, enum check_kind kind, const char *target, uint32_t timeout_ms)
{
    if (begin(seen, kind, target, timeout_ms) < 0) {
        return false;
    }
    assert_true(run_for(&loop, is_gone, seen, NETNS_DEADLINE_MS) >= 0);
    assert_int_equal(seen->results, 1);
    return seen->passed;
}

static void assert_fails(enum check_kind kind, const char *target, const char *why)
{
    struct seen seen;

    /* only what is to be late has little time */
    assert_false(passes(&seen, kind, target, strstr(why, "in time") != NULL ? 300 : NETNS_DEADLINE_MS));
    if (strstr(seen.detail, why) == NULL) {
        fail_msg("'%s' does not say '%s'", seen.detail, why);
    }
}

static void assert_passes(enum check_kind kind, const char *target, const char *why)
{
    struct seen seen;

    if (!passes(&seen, kind, target, NETNS_DEADLINE_MS)) {
        fail_msg("%s: %s", target, seen.detail);
    }
    if (strstr(seen.detail, why) == NULL) {
        fail_msg("'%s' does not say '%s'", seen.detail, why);
    }
}

/* ------------------------------------------------------------------ tcp, http */

static uint16_t port;

static int listening(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    port = ntohs(at.sin_port);
    return fd;
}

static const char *url(void)
{
    static char text[64];
    snprintf(text, sizeof text, "http://127.0.0.1:%u/x", port);
    return text;
}

/* A process that gives one connection that answer; it holds the connection when `hold`. */
static pid_t serve(int fd, const char *answer, size_t len, bool hold)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        char request[1024];
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        int connection = accept(fd, NULL, NULL);
        ssize_t n = read(connection, request, sizeof request - 1);
        request[n > 0 ? n : 0] = '\0';
        bool good = strncmp(request, "GET /x HTTP/1.1\r\nHost: 127.0.0.1:", 33) == 0;
        (void)!write(connection, good ? answer : "BAD", good ? len : 3);
        while (hold) {
            (void)pause();
        }
        _exit(0);
    }
    return pid;
}

static void reap(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void http(void **state)
{
    static char flood[100000];
    static const struct
    {
        const char *answer, *why;
        bool pass, hold;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\n\r\nhello", "status 200", true, false},
        {"HTTP/1.0 302 Found\r\n", "status 302", true, true}, /* the rest is not waited for */
        {"HTTP/1.1 204\r\n", "status 204", true, false},
        {"HTTP/1.1 199 Odd\r\n\r\n", "status 199", false, false},
        {"HTTP/1.1 404 Not Found\r\n\r\n", "status 404", false, false},
        {"HTTP/1.1 503 Down\r\n\r\n", "status 503", false, false},
        {"SSH-2.0-OpenSSH\r\n", "not HTTP: SSH-2.0-OpenSSH", false, false},
        {"HTTP/1.1 OK\r\n", "not HTTP", false, false},
        {"HTTP/1.1 20", "not HTTP", false, false},
        {"\x1b[2J\r\n", "not HTTP:  [2J", false, false},
        {"", "closed without an answer", false, false},
        {"HTTP/1.1 200", "no answer in time", false, true}, /* the line has no end */
        {flood, "not HTTP", false, true},
    };
    int fd = listening();

    memset(flood, 'x', sizeof flood - 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pid_t pid = serve(fd, cases[i].answer, strlen(cases[i].answer), cases[i].hold);
        if (cases[i].pass) {
            assert_passes(CHECK_HTTP, url(), cases[i].why);
        } else {
            assert_fails(CHECK_HTTP, url(), cases[i].why);
        }
        reap(pid);
    }
    close(fd);
    assert_fails(CHECK_HTTP, url(), "refused");
}

static void tcp(void **state)
{
    int fd = listening();
    char target[32];

    snprintf(target, sizeof target, "127.0.0.1:%u", port);
    assert_passes(CHECK_TCP, target, "connected");
    close(fd);
    assert_fails(CHECK_TCP, target, "refused");
    assert_fails(CHECK_TCP, "127.0.0.1", "expected ADDRESS:PORT");
}

/* ------------------------------------------------------------------ file, process, ping */

static void file_and_process(void **state)
{
    char path[128];

    assert_passes(CHECK_FILE, "/proc/self/stat", "exists");
    assert_fails(CHECK_FILE, "/nosuch", "No such file");
    assert_int_equal(prctl(PR_SET_NAME, "a) Z (b"), 0);
    snprintf(path, sizeof path, "/proc/%d/stat", getpid());
    assert_passes(CHECK_FILE, path, "exists");
    assert_int_equal(prctl(PR_SET_NAME, "vipd-check-me"), 0);
    assert_passes(CHECK_PROCESS, "vipd-check-me", "process");
    assert_fails(CHECK_PROCESS, "vipd-check-m", "no process");
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_NAME, "vipd-zombie");
        _exit(0);
    }
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_fails(CHECK_PROCESS, "vipd-zombie", "no process");
    reap(pid);
}

static void ping(void **state)
{
    if (!netns_available()) {
        skip();
    }
    sh("ip link set lo up; ip link add dm0 type veth peer name dm1; ip link set dm1 up; ip addr add 10.9.0.1/24 dev dm0; "
       "ip -6 addr add fd09::1/64 dev dm0 nodad; ip link set dm0 up");
    assert_passes(CHECK_PING, "127.0.0.1", "answered");
    assert_passes(CHECK_PING, "::1", "answered");
    assert_passes(CHECK_PING, "10.9.0.1", "answered");
    assert_fails(CHECK_PING, "10.9.0.77", "no answer in time");
    assert_fails(CHECK_PING, "192.0.2.1", "unreachable");
    assert_fails(CHECK_PING, "gateway", "no default route");
    sh("ip -6 route add default via fd09::77 dev dm0");
    assert_fails(CHECK_PING, "gateway", "no answer in time");
    sh("ip route add default via 10.9.0.77");
    assert_fails(CHECK_PING, "gateway", "no answer in time");
    sh("ip link del dm0; ip -6 route flush default");
    int ready[2]; /* a router that answers, in a namespace of its own */
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)!write(ready[1], unshare(CLONE_NEWNET) == 0 ? "y" : "n", 1);
        for (;;) {
            (void)pause();
        }
    }
    char made = 'n';
    assert_int_equal(read(ready[0], &made, 1), 1);
    assert_int_equal(made, 'y');
    sh("ip link add p type veth peer name q netns %d; ip addr add 10.8.0.1/24 dev p; ip link set p up", pid);
    sh("nsenter -t %d -n sh -c 'ip addr add 10.8.0.2/24 dev q; ip link set q up'", pid);
    sh("ip route add default via 10.8.0.2");
    wait_up("p");
    assert_passes(CHECK_PING, "gateway", "answered");
    reap(pid);
    close(ready[0]);
    close(ready[1]);
}

/* ------------------------------------------------------------------ exec */

static void program(const char *name, const char *text, mode_t mode)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fprintf(file, "#!/bin/sh\n%s\n", text);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static pid_t pid_in(const char *name)
{
    char path[128], text[32] = "";

    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        (void)!fgets(text, sizeof text, file);
        fclose(file);
    }
    return atoi(text);
}

static bool is_dead(const void *arg)
{
    return kill(*(const pid_t *)arg, 0) < 0;
}

static void exec(void **state)
{
    program("good", "echo \"$VIPD_CHECK on $VIPD_NODE\"; read x; test -z \"$HOME\"", 0755);
    assert_passes(CHECK_EXEC, "good", "exit 0: test on a");
    program("bad", "printf 'no \\033[2J\\nprimary' >&2; exit 3", 0700);
    assert_fails(CHECK_EXEC, "bad", "exit 3: no  [2J primary");
    program("killed", "kill -9 $$", 0755);
    assert_fails(CHECK_EXEC, "killed", "ended by signal 9");
    program("open", "exit 0", 0757);
    assert_fails(CHECK_EXEC, "open", "can be written by others");
    program("plain", "exit 0", 0644);
    assert_fails(CHECK_EXEC, "plain", "is not a program");
    assert_fails(CHECK_EXEC, "nosuch", "No such file");
    program("foreign", "exit 0", 0755);
    char path[128];
    snprintf(path, sizeof path, "%s/foreign", dir);
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 1, 1), 0);
        assert_fails(CHECK_EXEC, "foreign", "does not belong to root");
    }
    assert_int_equal(chmod(dir, 0777), 0);
    assert_fails(CHECK_EXEC, "good", "can be written by others");
    assert_int_equal(chmod(dir, 0755), 0);
    snprintf(path, sizeof path, "%s/garbage", dir);
    FILE *file = fopen(path, "we");
    fputs("\177ELF nonsense", file);
    fclose(file);
    assert_int_equal(chmod(path, 0755), 0);
    assert_fails(CHECK_EXEC, "garbage", "garbage: ");
}

static void exec_that_hangs(void **state)
{
    char text[256];
    struct seen seen;

    snprintf(text, sizeof text, "echo waiting; trap '' TERM; sleep 600 & echo $! >%s/grandchild; wait", dir);
    program("hangs", text, 0755);
    assert_false(passes(&seen, CHECK_EXEC, "hangs", 2000));
    assert_non_null(strstr(seen.detail, "killed: waiting"));
    pid_t left = pid_in("grandchild");
    assert_true(left > 0);
    assert_true(run_for(&loop, is_dead, &left, NETNS_DEADLINE_MS) >= 0);
}

static void exec_that_floods(void **state)
{
    program("floods", "exec yes", 0755);
    struct seen seen;
    assert_false(passes(&seen, CHECK_EXEC, "floods", NETNS_DEADLINE_MS));
    assert_non_null(strstr(seen.detail, "more than 65536 bytes"));
}

/* What it leaves in its group is killed with it; what leaves the group lives on, and delays nothing though it has the
 * output open. */
static void exec_that_leaves_something_behind(void **state)
{
    char text[512];
    struct seen seen;

    snprintf(text, sizeof text, "sleep 600 & echo $! >%s/left", dir);
    program("leaves", text, 0755);
    assert_true(passes(&seen, CHECK_EXEC, "leaves", NETNS_DEADLINE_MS));
    pid_t left = pid_in("left");
    assert_true(left > 0);
    assert_true(run_for(&loop, is_dead, &left, NETNS_DEADLINE_MS) >= 0);
    snprintf(text, sizeof text, "setsid sh -c 'echo $$ >%s/away.new; mv %s/away.new %s/away; exec sleep 600' &\n"
                                "while ! test -e %s/away; do :; done", dir, dir, dir, dir);
    program("forks-away", text, 0755);
    assert_true(passes(&seen, CHECK_EXEC, "forks-away", NETNS_DEADLINE_MS));
    left = pid_in("away");
    assert_true(left > 0 && kill(left, 0) == 0);
    (void)kill(left, SIGKILL);
}


/* Given up at any moment nothing comes any more, and nothing is left. */
static void given_up(void **state)
{
    static const struct
    {
        enum check_kind kind;
        const char *target;
    } cases[] = {{CHECK_EXEC, "hangs"}, {CHECK_FILE, "/"}, {CHECK_PROCESS, "nosuch"}, {CHECK_TCP, "127.0.0.1:1"},
                 {CHECK_HTTP, "http://127.0.0.1:1/"}};

    program("hangs", "sleep 600", 0755);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int turns = 0; turns < 2; turns++) {
            struct seen seen;
            assert_int_equal(begin(&seen, cases[i].kind, cases[i].target, 600000), 0);
            for (int k = 0; k < turns && !seen.gone; k++) {
                uv_run(&loop, UV_RUN_NOWAIT);
            }
            if (!seen.gone) {
                int results = seen.results;
                check_abandon(seen.run);
                uv_run(&loop, UV_RUN_DEFAULT); /* until nothing is left */
                assert_true(seen.results == results && seen.gone == 0);
                assert_true(waitpid(-1, NULL, WNOHANG) < 0); /* no zombie */
            }
        }
    }
}

/* ------------------------------------------------------------------ standard input */

static int ended_code = -1;
static char ended_output[CHILD_OUTPUT_KEPT + 1];

static void on_child_ended(void *ud, const struct child_result *result)
{
    ended_code = result->code;
    snprintf(ended_output, sizeof ended_output, "%s", result->output);
}

static void on_child_gone(void *ud)
{
    *(bool *)ud = true;
}

static void input_of_a_child(void **state)
{
    static const struct child_ops CHILD = {.ended = on_child_ended, .gone = on_child_gone};
    const char *const env[] = {NULL};
    struct child_spec spec = {.path = "/bin/cat", .env = env, .input = "{\"event\":1}", .input_len = 11, .timeout_ms = 5000};
    struct child *child;
    bool gone = false;

    assert_int_equal(child_start(&child, &loop, &spec, &CHILD, &gone), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(gone && ended_code == 0);
    assert_string_equal(ended_output, "{ event :1}");
    spec.input_len = CHILD_INPUT_MAX + 1;
    assert_int_equal(child_start(&child, &loop, &spec, &CHILD, &gone), -EMSGSIZE);
    spec.input = NULL;
    spec.path = "/nosuch";
    assert_int_equal(child_start(&child, &loop, &spec, &CHILD, &gone), -ENOENT);
    uv_run(&loop, UV_RUN_DEFAULT);
}

static int before(void **state)
{
    strcpy(dir, "/tmp/vipd-checks-XXXXXX");
    return mkdtemp(dir) == NULL || chmod(dir, 0755) < 0 || uv_loop_init(&loop) < 0;
}

static int after(void **state)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command) != 0 || uv_run(&loop, UV_RUN_DEFAULT) != 0 || uv_loop_close(&loop) != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tcp), cmocka_unit_test(http), cmocka_unit_test(file_and_process), cmocka_unit_test(ping),
        cmocka_unit_test(exec), cmocka_unit_test(exec_that_hangs), cmocka_unit_test(exec_that_floods),
        cmocka_unit_test(exec_that_leaves_something_behind), cmocka_unit_test(given_up),
        cmocka_unit_test(input_of_a_child),
    };

    return cmocka_run_group_tests(tests, before, after);
}
