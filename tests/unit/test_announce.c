/* Announcements as the other end of a cable sees them: frames, and what they do to its neighbour table. */

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <uv.h>

#include "io/announce.h"
#include "netns.h"
#include "wire/arp_nd.h"

#define MAC "02:00:00:00:00:01"
#define FRAMES_MAX 65536

static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 0x01};

struct fixture
{
    uv_loop_t loop;
    struct announce *an;
    int home, peer; /* namespaces */
    int capture;    /* on the peer's end, but for test_many */
    struct arp_nd *frames;
    int frames_n;
    bool gate;
    int asked;
    bool closed;
};

static struct fixture *fx;

static bool may(void *ud, uint16_t key)
{
    fx->asked++;
    return fx->gate;
}

static const struct announce_ops ops = {.may = may};

static void open_capture(int at_netns, const char *dev)
{
    netns_enter(at_netns);
    struct sockaddr_ll at = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(ETH_P_ALL),
                             .sll_ifindex = (int)if_nametoindex(dev)};
    int size = 64 * 1024 * 1024;
    fx->capture = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
    assert_true(fx->capture >= 0);
    assert_int_equal(setsockopt(fx->capture, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)), 0);
    assert_int_equal(bind(fx->capture, (struct sockaddr *)&at, sizeof(at)), 0);
    netns_enter(fx->home);
}

static void make_cable(void)
{
    sh("ip link add v0 address " MAC " type veth peer name v1 && ip link set v0 addrgenmode none &&"
       " ip link set v1 netns /proc/%d/fd/%d && ip link set v0 up",
       (int)getpid(), fx->peer);
    netns_enter(fx->peer);
    /* addrgenmode: here and not before, for another namespace gives an interface its defaults back. */
    sh("ip link set v1 addrgenmode none && ip link set v1 up"
       " && ip addr add 10.0.0.9/24 dev v1 && ip addr add 2001:db8::9/64 dev v1 nodad");
    netns_enter(fx->home);
    wait_up("v0");
}

static int setup(void **state)
{
    fx = calloc(1, sizeof(*fx));
    assert_non_null(fx);
    fx->frames = calloc(FRAMES_MAX, sizeof(*fx->frames));
    assert_non_null(fx->frames);
    fx->gate = true;
    fx->peer = netns_new();
    fx->home = netns_new();
    make_cable();
    open_capture(fx->peer, "v1");
    assert_int_equal(uv_loop_init(&fx->loop), 0);
    assert_int_equal(announce_init(&fx->an, &fx->loop, &ops, NULL), 0);
    return 0;
}

static void on_closed(void *ud)
{
    fx->closed = true;
}

static int teardown(void **state)
{
    announce_close(fx->an, on_closed, NULL);
    uv_run(&fx->loop, UV_RUN_DEFAULT);
    assert_true(fx->closed);
    assert_int_equal(uv_loop_close(&fx->loop), 0);
    close(fx->capture);
    close(fx->home);
    close(fx->peer);
    free(fx->frames);
    free(fx);
    return 0;
}

/* Takes what has arrived; returns how many announcements of `addr` there are now, of every address if NULL. */
static int captured(const struct addr *addr)
{
    uint8_t frame[2048];
    ssize_t size;
    while ((size = recv(fx->capture, frame, sizeof(frame), 0)) >= 0) {
        struct arp_nd message;
        if (arp_nd_parse(frame, (size_t)size, &message) == 0 && message.kind != ARP_ND_SOLICITATION) {
            assert_true(fx->frames_n < FRAMES_MAX);
            fx->frames[fx->frames_n++] = message;
        }
    }
    int n = 0;
    for (int i = 0; i < fx->frames_n; i++) {
        n += addr == NULL || addr_equal(&fx->frames[i].target, addr);
    }
    return n;
}

/* Waits for frames on the cable without a turn of the loop. */
static int captured_unaided(const struct addr *addr, int n)
{
    struct pollfd wait = {.fd = fx->capture, .events = POLLIN};
    int now;
    while ((now = captured(addr)) < n && poll(&wait, 1, NETNS_DEADLINE_MS) > 0) {
    }
    return now;
}

static bool captured_at_least(const void *n)
{
    return captured(NULL) >= *(const int *)n;
}

static bool asked_at_least(const void *n)
{
    return fx->asked >= *(const int *)n;
}

static bool never(const void *arg)
{
    return false;
}

static void wait_frames(int n)
{
    assert_true(run_for(&fx->loop, captured_at_least, &n, NETNS_DEADLINE_MS) >= 0);
}

static int start(uint16_t key, const char *text, uint16_t count, uint32_t interval_ms, uint32_t refresh_ms)
{
    struct addr addr = address(text);
    struct announce_burst burst = {.count = count, .interval_ms = interval_ms, .refresh_ms = refresh_ms};
    return announce_start(fx->an, key, "v0", &addr, &burst);
}

static void test_first_is_synchronous(void **state)
{
    struct addr v4 = address("10.0.0.50"), v6 = address("2001:db8::50");
    assert_int_equal(start(1, "10.0.0.50", 5, 1000, 0), 0);
    assert_int_equal(captured_unaided(&v4, 2), 2);
    assert_int_equal(fx->frames[0].kind, ARP_ND_ARP_REQUEST);
    assert_int_equal(fx->frames[1].kind, ARP_ND_ARP_REPLY);
    assert_int_equal(start(2, "2001:db8::50", 5, 1000, 0), 0);
    assert_int_equal(captured_unaided(&v6, 1), 1);
    assert_int_equal(fx->frames[2].kind, ARP_ND_ADVERTISEMENT);
    assert_true(fx->frames[2].override && !fx->frames[2].router);
    for (int i = 0; i < 3; i++) {
        assert_memory_equal(fx->frames[i].mac, mac, 6);
        assert_memory_equal(fx->frames[i].from, mac, 6);
    }
}

static void test_burst(void **state)
{
    enum { INTERVAL = 30 };
    uint64_t begin = uv_hrtime();
    uv_update_time(&fx->loop);
    assert_int_equal(start(1, "10.0.0.50", 4, INTERVAL, 0), 0);
    assert_int_equal(start(2, "2001:db8::50", 2, INTERVAL, 0), 0);
    wait_frames(4 * 2 + 2);
    assert_true(uv_hrtime() - begin >= 3 * (INTERVAL - 1) * 1000000ull); /* three intervals, not all at once */
    assert_int_equal(run_for(&fx->loop, never, NULL, 4 * INTERVAL), -1);
    struct addr v4 = address("10.0.0.50"), v6 = address("2001:db8::50");
    assert_int_equal(captured(&v4), 8);
    assert_int_equal(captured(&v6), 2);
    struct announce_stats stats;
    announce_stats(fx->an, &stats);
    assert_int_equal(stats.sent, 6);
    assert_int_equal(stats.failed + stats.refused, 0);
    assert_int_equal(stats.active, 2);
}

static void test_refresh_and_stop(void **state)
{
    assert_int_equal(start(1, "10.0.0.50", 1, 10, 40), 0);
    wait_frames(2 * 4);
    announce_stop(fx->an, 1);
    announce_stop(fx->an, 1);
    announce_stop(fx->an, 2);
    struct announce_stats before, after;
    announce_stats(fx->an, &before);
    assert_int_equal(run_for(&fx->loop, never, NULL, 150), -1);
    announce_stats(fx->an, &after);
    assert_int_equal(after.sent, before.sent);
    assert_int_equal(captured(NULL), 2 * after.sent);
    assert_int_equal(after.active, 0);
}

static void test_start_again_replaces(void **state)
{
    assert_int_equal(start(1, "10.0.0.50", 100, 10, 0), 0);
    assert_int_equal(start(1, "10.0.0.51", 3, 10, 0), 0);
    wait_frames(2 + 6);
    assert_int_equal(run_for(&fx->loop, never, NULL, 100), -1);
    struct addr old = address("10.0.0.50"), new = address("10.0.0.51");
    assert_int_equal(captured(&old), 2);
    assert_int_equal(captured(&new), 6);
}

/* Nothing goes out while the gate is shut, and the burst is whole once it opens. */
static void test_gate(void **state)
{
    fx->gate = false;
    assert_int_equal(start(1, "10.0.0.50", 3, 10, 0), ANNOUNCE_LATER);
    int asked = 5;
    assert_true(run_for(&fx->loop, asked_at_least, &asked, NETNS_DEADLINE_MS) >= 0);
    assert_int_equal(captured(NULL), 0);
    fx->gate = true;
    wait_frames(6);
    assert_int_equal(run_for(&fx->loop, never, NULL, 60), -1);
    assert_int_equal(captured(NULL), 6);
    struct announce_stats stats;
    announce_stats(fx->an, &stats);
    assert_int_equal(stats.sent, 3);
    assert_true(stats.refused >= 5);
}

static bool neighbour_is_ours(const void *text)
{
    char command[128];
    snprintf(command, sizeof(command), "ip neigh show %s", (const char *)text);
    netns_enter(fx->peer);
    bool is = says(command, "lladdr " MAC);
    netns_enter(fx->home);
    return is;
}

static void test_neighbours_learn(void **state)
{
    static const char *const vips[] = {"10.0.0.50", "2001:db8::50"};
    netns_enter(fx->peer);
    for (int i = 0; i < 2; i++) {
        sh("ip neigh add %s lladdr 02:00:00:00:00:99 dev v1 nud reachable", vips[i]);
    }
    netns_enter(fx->home);
    for (int i = 0; i < 2; i++) {
        assert_false(neighbour_is_ours(vips[i]));
        assert_int_equal(start((uint16_t)i, vips[i], 1, 10, 0), 0);
        assert_true(run_for(&fx->loop, neighbour_is_ours, vips[i], NETNS_DEADLINE_MS) >= 0);
    }
}

static void test_router(void **state)
{
    sh("echo 1 > /proc/sys/net/ipv6/conf/v0/forwarding");
    assert_int_equal(start(1, "2001:db8::50", 1, 10, 0), 0);
    assert_int_equal(captured_unaided(NULL, 1), 1);
    assert_true(fx->frames[0].router);
}

static void test_arguments(void **state)
{
    struct addr addr = address("10.0.0.50"), none = {0};
    struct announce_burst burst = {.count = 1, .interval_ms = 10}, empty = {.interval_ms = 10}, fast = {.count = 1};
    assert_int_equal(announce_start(fx->an, VIPS_MAX, "v0", &addr, &burst), -EINVAL);
    assert_int_equal(announce_start(fx->an, 1, "", &addr, &burst), -EINVAL);
    assert_int_equal(announce_start(fx->an, 1, "a-name-of-16-chr", &addr, &burst), -EINVAL);
    assert_int_equal(announce_start(fx->an, 1, "v0", &none, &burst), -EINVAL);
    assert_int_equal(announce_start(fx->an, 1, "v0", &addr, &empty), -EINVAL);
    assert_int_equal(announce_start(fx->an, 1, "v0", &addr, &fast), -EINVAL);
    announce_stop(fx->an, UINT16_MAX);
    assert_int_equal(announce_start(fx->an, 1, "nowhere", &addr, &burst), ANNOUNCE_LATER);
    assert_int_equal(announce_start(fx->an, VIPS_MAX - 1, "lo", &addr, &burst), 0); /* nobody to tell */
    struct announce_stats stats;
    announce_stats(fx->an, &stats);
    assert_int_equal(stats.failed, 1);
    assert_int_equal(stats.sent, 0);
    assert_int_equal(stats.active, 2);
}

/* The cable is pulled, and a new one is plugged in, with other addresses, under the old name. */
static void test_again(void **state)
{
    assert_int_equal(start(1, "10.0.0.50", 1, 10, 0), 0);
    assert_int_equal(captured_unaided(NULL, 2), 2);
    sh("ip link set v0 down");
    assert_int_equal(start(2, "10.0.0.51", 2, 10, 0), ANNOUNCE_LATER);
    sh("ip link set v0 up");
    wait_up("v0");
    announce_again(fx->an, "v0");
    wait_frames(2 + 2 + 4);
    close(fx->capture);
    sh("ip link del v0");
    make_cable();
    open_capture(fx->peer, "v1");
    sh("ip link set v0 down && ip link set v0 address 02:00:00:00:00:07 && ip link set v0 up");
    wait_up("v0");
    fx->frames_n = 0;
    announce_again(fx->an, "elsewhere");
    assert_int_equal(run_for(&fx->loop, never, NULL, 60), -1);
    assert_int_equal(captured(NULL), 0);
    announce_again(fx->an, "v0");
    wait_frames(2 + 4);
    for (int i = 0; i < fx->frames_n; i++) {
        assert_int_equal(fx->frames[i].mac[5], 7);
    }
}

static void test_many(void **state)
{
    enum { MANY = 10000 };
    /* where they leave: the other end takes in 1000 (net.core.netdev_max_backlog) before its CPU has a turn */
    close(fx->capture);
    open_capture(fx->home, "v0");
    struct addr addr = address("10.7.0.0");
    struct announce_burst burst = {.count = 2, .interval_ms = 50, .refresh_ms = 60000};
    uint64_t t0 = uv_hrtime();
    for (int i = 0; i < MANY; i++) {
        addr.bytes[2] = (uint8_t)(i >> 8);
        addr.bytes[3] = (uint8_t)i;
        assert_int_equal(announce_start(fx->an, (uint16_t)i, "v0", &addr, &burst), 0);
    }
    uint64_t t1 = uv_hrtime();
    wait_frames(4 * MANY);
    uint64_t t2 = uv_hrtime();
    print_message("%d VIPs: first announcements %.1f ms, the second round after %.1f ms\n", MANY,
                  (double)(t1 - t0) / 1e6, (double)(t2 - t1) / 1e6);
    /* the repeats are paced: never more in a time than this */
    assert_true((t2 - t1) / 1000000 >= MANY / ANNOUNCE_REPEATS_PER_MS - (MANY / 10) / ANNOUNCE_REPEATS_PER_MS);
    bool *seen = calloc(MANY, sizeof(*seen));
    assert_non_null(seen);
    for (int i = 0; i < fx->frames_n; i++) {
        seen[fx->frames[i].target.bytes[2] << 8 | fx->frames[i].target.bytes[3]] = true;
    }
    for (int i = 0; i < MANY; i++) {
        assert_true(seen[i]);
    }
    free(seen);
    for (int i = MANY - 1; i >= 0; i -= 2) {
        announce_stop(fx->an, (uint16_t)i);
    }
    struct announce_stats stats;
    announce_stats(fx->an, &stats);
    assert_int_equal(stats.active, MANY / 2);
    assert_int_equal(stats.sent, 2 * MANY);
}

enum { WAITING = 3000 };

static uint64_t repeats(uint64_t firsts)
{
    struct announce_stats stats;
    announce_stats(fx->an, &stats);
    return stats.sent - firsts;
}

/* For a while one VIP after the other comes, while many wait for their repeat. False: the test itself was held up. */
static bool come_one_by_one(uint64_t *firsts, uint64_t *ret_repeats, double *ret_ms)
{
    struct announce_burst burst = {.count = 2, .interval_ms = 1, .refresh_ms = 0};
    struct addr addr = address("10.8.0.0");
    bool steady = true;
    for (int i = 0; i < WAITING; i++) {
        addr.bytes[2] = (uint8_t)(i >> 8);
        addr.bytes[3] = (uint8_t)i;
        assert_int_equal(announce_start(fx->an, (uint16_t)i, "v0", &addr, &burst), 0);
        ++*firsts;
    }
    uint64_t before = repeats(*firsts), begin = uv_hrtime(), last = begin;
    for (int i = 0; i < 30; i++) {
        assert_int_equal(run_for(&fx->loop, never, NULL, 10), -1);
        addr.bytes[1] = 9;
        addr.bytes[3] = (uint8_t)i;
        assert_int_equal(announce_start(fx->an, (uint16_t)(WAITING + i), "v0", &addr, &burst), 0);
        ++*firsts;
        uint64_t now = uv_hrtime();
        steady = steady && now - last < 60 * 1000000ull;
        last = now;
    }
    *ret_repeats = repeats(*firsts) - before;
    *ret_ms = (double)(uv_hrtime() - begin) / 1e6;
    return steady;
}

static bool all_repeated(const void *arg)
{
    const uint64_t *firsts = arg;
    return repeats(*firsts) >= *firsts;
}

static void test_repeats_give_way(void **state)
{
    uint64_t firsts = 0, sent = 0;
    double ms = 0;
    for (int attempt = 0; !come_one_by_one(&firsts, &sent, &ms); attempt++) {
        assert_true(attempt < 20);
        assert_true(run_for(&fx->loop, all_repeated, &firsts, NETNS_DEADLINE_MS) >= 0);
    }
    print_message("%d repeats in %.0f ms beside first announcements\n", (int)sent, ms);
    assert_true(sent > 0);
    assert_true((double)sent <= (ms + 20) * ANNOUNCE_REPEATS_BESIDE_FIRSTS_PER_MS);
    assert_true(run_for(&fx->loop, all_repeated, &firsts, NETNS_DEADLINE_MS) >= 0);
}

int main(int argc, char **argv)
{
    if (!netns_available()) {
        return 0;
    }
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_first_is_synchronous),
        T(test_burst),
        T(test_refresh_and_stop),
        T(test_start_again_replaces),
        T(test_gate),
        T(test_neighbours_learn),
        T(test_router),
        T(test_arguments),
        T(test_again),
        T(test_many),
        T(test_repeats_give_way),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
