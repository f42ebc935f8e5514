/* Resetting connections, against a real kernel. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include "netns.h"

#include "io/connections.h"

#define PORT 7001

struct bench
{
    uv_loop_t loop;
    struct connections *connections;
    struct connections_result result;
    int done;
};

static void on_done(void *ud, const struct connections_result *result)
{
    struct bench *bench = ud;
    bench->result = *result;
    bench->done++;
}

static int open_bench(void **state)
{
    static struct bench bench;
    static const struct connections_ops OPS = {.done = on_done};
    memset(&bench, 0, sizeof(bench));
    (void)netns_new();
    sh("ip link set lo up && ip addr add 10.0.0.1/32 dev lo && ip addr add 10.0.0.2/32 dev lo && ip addr add 10.0.0.9/32 dev lo && "
       "ip addr add 2001:db8::1/128 dev lo nodad && ip addr add 2001:db8::9/128 dev lo nodad");
    uv_loop_init(&bench.loop);
    int err = connections_open(&bench.connections, &bench.loop, &OPS, &bench);
    if (err == -EOPNOTSUPP) {
        printf("skipped: this kernel has no CONFIG_INET_DIAG_DESTROY\n");
        skip();
    }
    assert_int_equal(err, 0);
    *state = &bench;
    return 0;
}

static int close_bench(void **state)
{
    struct bench *bench = *state;
    if (bench != NULL) {
        connections_close(bench->connections);
        uv_run(&bench->loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&bench->loop), 0);
    }
    return 0;
}

/* An address of IPv6 sockets, IPv4 ones mapped. */
static struct sockaddr_in6 at(const char *text, int port)
{
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    assert_int_equal(inet_pton(AF_INET6, text, &to.sin6_addr), 1);
    return to;
}

static int listening(int port)
{
    struct sockaddr_in6 to = at("::", port);
    int fd = socket(AF_INET6, SOCK_STREAM, 0), off = 0;
    assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(listen(fd, 1024), 0);
    return fd;
}

/* From another address than any that is reset. */
static int connected(int family, const char *to, int port)
{
    struct sockaddr_in to4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 to6;
    int fd = socket(family, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    if (family == AF_INET) {
        struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000009)};
        assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
        assert_int_equal(inet_pton(AF_INET, to, &to4.sin_addr), 1);
        assert_int_equal(connect(fd, (struct sockaddr *)&to4, sizeof(to4)), 0);
    } else {
        to6 = at("2001:db8::9", 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&to6, sizeof(to6)), 0);
        to6 = at(to, port);
        assert_int_equal(connect(fd, (struct sockaddr *)&to6, sizeof(to6)), 0);
    }
    return fd;
}

static int accepted(int listener)
{
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    return fd;
}

/* 0: nothing has come; else ECONNRESET and the like. */
static int ended(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);
    return n >= 0 ? -1 : errno == EAGAIN ? 0 : errno;
}

static bool is_done(const void *arg)
{
    return ((const struct bench *)arg)->done > 0;
}

static void reset(struct bench *bench, const char *const *texts, uint32_t n)
{
    struct addr addrs[64];
    for (uint32_t i = 0; i < n; i++) {
        addrs[i] = address(texts[i]);
    }
    bench->done = 0;
    assert_int_equal(connections_reset(bench->connections, addrs, n), 0);
    assert_int_equal(connections_reset(bench->connections, addrs, n), -EBUSY);
    assert_true(run_for(&bench->loop, is_done, bench, NETNS_DEADLINE_MS) >= 0);
    assert_int_equal(bench->done, 1);
    assert_int_equal(bench->result.err, 0);
    assert_int_equal(bench->result.failed, 0);
}

/* Of IPv4, of IPv4 on a socket of IPv6, and of IPv6; others stay, and so does the listener. */
static void just_those_of_the_address(void **state)
{
    struct bench *bench = *state;
    int listener = listening(PORT);
    int four = connected(AF_INET, "10.0.0.1", PORT), four_here = accepted(listener);
    int other = connected(AF_INET, "10.0.0.2", PORT), other_here = accepted(listener);
    int six = connected(AF_INET6, "2001:db8::1", PORT), six_here = accepted(listener);

    reset(bench, (const char *const[]){"10.0.0.1"}, 1);
    assert_int_equal(bench->result.reset, 1);
    assert_int_equal(ended(four), ECONNRESET);
    assert_int_equal(ended(four_here), ECONNABORTED);
    assert_int_equal(ended(other), 0);
    assert_int_equal(ended(other_here), 0);
    assert_int_equal(ended(six), 0);

    reset(bench, (const char *const[]){"2001:db8::1"}, 1);
    assert_int_equal(bench->result.reset, 1);
    assert_int_equal(ended(six), ECONNRESET);
    assert_int_equal(ended(other), 0);

    int again = connected(AF_INET, "10.0.0.1", PORT);
    assert_int_equal(ended(again), 0);
    const int all[] = {listener, four, four_here, other, other_here, six, six_here, again};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        close(all[i]);
    }
}

/* With more addresses than the kernel is asked to look for, and with each number up to that. */
static void any_number_of_addresses(void **state)
{
    struct bench *bench = *state;
    int listener = listening(PORT);
    const char *texts[40];
    char words[40][32];

    for (uint32_t n = 1; n <= 40; n += n < 18 ? 1 : 11) {
        int client = connected(AF_INET, "10.0.0.1", PORT), here = accepted(listener);
        int other = connected(AF_INET, "10.0.0.2", PORT), other_here = accepted(listener);
        for (uint32_t i = 0; i < n; i++) {
            snprintf(words[i], sizeof(words[i]), i % 3 == 2 ? "2001:db8:1::%u" : "10.9.9.%u", i + 1);
            texts[i] = i == n / 2 ? "10.0.0.1" : words[i];
        }
        reset(bench, texts, n);
        assert_int_equal(bench->result.reset, 1);
        assert_int_equal(ended(client), ECONNRESET);
        assert_int_equal(ended(other), 0);
        close(client);
        close(here);
        close(other);
        close(other_here);
    }
    close(listener);
}

static void nothing_to_reset(void **state)
{
    struct bench *bench = *state;

    reset(bench, (const char *const[]){"10.0.0.1", "10.0.0.2", "2001:db8::1"}, 3);
    assert_int_equal(bench->result.reset, 0);
}

/* Processor time of this thread, ns. */
static uint64_t busy(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Thousands, in turns that leave the loop time for heartbeats. */
static void many(void **state)
{
    enum { N = 4000 };
    static int fds[2 * N];
    struct bench *bench = *state;
    struct rlimit limit = {.rlim_cur = 3 * N, .rlim_max = 3 * N};

    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
        skip();
    }
    int listener = listening(PORT);
    for (int i = 0; i < N; i++) {
        fds[2 * i] = connected(AF_INET, "10.0.0.1", PORT);
        fds[2 * i + 1] = accepted(listener);
    }
    struct addr addr = address("10.0.0.1");
    uint64_t start = uv_hrtime(), longest = 0, before = busy();
    bench->done = 0;
    assert_int_equal(connections_reset(bench->connections, &addr, 1), 0);
    while (bench->done == 0) {
        uv_run(&bench->loop, UV_RUN_ONCE);
        uint64_t now = busy();
        longest = now - before > longest ? now - before : longest;
        before = now;
    }
    assert_int_equal(bench->result.reset, N);
    for (int i = 0; i < N; i++) {
        assert_int_equal(ended(fds[2 * i]), ECONNRESET);
        close(fds[2 * i]);
        close(fds[2 * i + 1]);
    }
    close(listener);
    printf("    %d connections reset in %.1f ms, %.2f ms of processor time in one turn at most\n", N, (double)(uv_hrtime() - start) / 1e6,
           (double)longest / 1e6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(just_those_of_the_address, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(any_number_of_addresses, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(nothing_to_reset, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(many, open_bench, close_bench),
    };

    if (!netns_available()) {
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
