/* What other hosts claim, as frames written on the other end of a cable. */

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

#include "io/watch.h"
#include "netns.h"
#include "wire/arp_nd.h"

static const uint8_t own_mac[6] = {0x02, 0, 0, 0, 0, 0x01};
static const uint8_t other_mac[6] = {0x02, 0, 0, 0, 0, 0x09};

struct fixture
{
    uv_loop_t loop;
    struct watch *watch;
    int home, peer;
    int wire; /* writes on the peer's end */
    int calls, probes;
    struct addr addr;
    uint8_t mac[6];
    char dev[DEV_SIZE];
    bool close_within;
    bool closed;
};

static struct fixture *fx;

static void on_closed(void *ud)
{
    fx->closed = true;
}

static void foreign(void *ud, const struct addr *addr, const uint8_t mac[6], const char *dev, bool probes)
{
    if (probes) {
        fx->probes++;
        return;
    }
    fx->calls++;
    fx->addr = *addr;
    memcpy(fx->mac, mac, 6);
    snprintf(fx->dev, sizeof(fx->dev), "%s", dev);
    if (fx->close_within) {
        watch_close(fx->watch, on_closed, NULL);
        fx->watch = NULL;
    }
}

static const struct watch_ops ops = {.foreign = foreign};
static const char v0[1][DEV_SIZE] = {"v0"};

static void make_cable(void)
{
    sh("ip link add v0 address 02:00:00:00:00:01 type veth peer name v1 && ip link set v0 addrgenmode none &&"
       " ip link set v1 netns /proc/%d/fd/%d && ip link set v0 up",
       (int)getpid(), fx->peer);
    netns_enter(fx->peer);
    /* Here and not before: another namespace gives an interface its defaults back, and the kernel would ask for a link-local
     * address of its own some time within the next second. */
    sh("ip link set v1 addrgenmode none && ip link set v1 up");
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex("v1")};
    fx->wire = socket(AF_PACKET, SOCK_RAW, 0);
    assert_true(fx->wire >= 0);
    assert_int_equal(bind(fx->wire, (struct sockaddr *)&at, sizeof(at)), 0);
    wait_up("v1");
    netns_enter(fx->home);
}

static int setup(void **state)
{
    fx = calloc(1, sizeof(*fx));
    assert_non_null(fx);
    fx->peer = netns_new();
    fx->home = netns_new();
    make_cable();
    assert_int_equal(uv_loop_init(&fx->loop), 0);
    assert_int_equal(watch_init(&fx->watch, &fx->loop, &ops, NULL), 0);
    assert_int_equal(watch_set_links(fx->watch, v0, 1), 0);
    return 0;
}

static int teardown(void **state)
{
    watch_close(fx->watch, on_closed, NULL);
    uv_run(&fx->loop, UV_RUN_DEFAULT);
    assert_true(fx->closed);
    assert_int_equal(uv_loop_close(&fx->loop), 0);
    close(fx->wire);
    close(fx->home);
    close(fx->peer);
    free(fx);
    return 0;
}

static void put(const uint8_t *frame, size_t size)
{
    assert_int_equal(send(fx->wire, frame, size, 0), size);
}

static void put_arp(const char *text, const uint8_t *mac, bool reply)
{
    uint8_t frame[ARP_ND_FRAME_MAX];
    struct addr addr = address(text);
    put(frame, arp_nd_build_arp(frame, mac, &addr, reply));
}

static bool called(const void *n)
{
    return fx->calls >= *(const int *)n;
}

static bool frames_at_least(const void *n)
{
    struct watch_stats stats;
    watch_stats(fx->watch, &stats);
    return stats.frames >= (uint64_t)*(const int *)n;
}

static void wait_calls(int n)
{
    assert_true(run_for(&fx->loop, called, &n, NETNS_DEADLINE_MS) >= 0);
    assert_int_equal(fx->calls, n);
}

static void wait_frames(int n)
{
    assert_true(run_for(&fx->loop, frames_at_least, &n, NETNS_DEADLINE_MS) >= 0);
}

static void test_claims(void **state)
{
    uint8_t frame[ARP_ND_FRAME_MAX];
    struct addr v4 = address("10.0.0.50"), v6 = address("2001:db8::50");
    for (int reply = 0; reply <= 1; reply++) {
        put_arp("10.0.0.50", other_mac, reply == 1);
        wait_calls(1 + reply);
        assert_true(addr_equal(&fx->addr, &v4));
        assert_memory_equal(fx->mac, other_mac, 6);
        assert_string_equal(fx->dev, "v0");
    }
    put(frame, arp_nd_build_na(frame, other_mac, &v6, false));
    wait_calls(3);
    assert_true(addr_equal(&fx->addr, &v6));
    assert_memory_equal(fx->mac, other_mac, 6);
}

/* What a host says of itself by the kernel: an ordinary ARP request is a claim too, a DAD probe is none. */
static void test_kernel_of_another(void **state)
{
    netns_enter(fx->peer);
    sh("ip link set v1 address 02:00:00:00:00:09 && ip addr add 10.0.0.50/24 dev v1");
    wait_up("v1");
    sh("bash -c 'echo x > /dev/udp/10.0.0.77/9'");
    netns_enter(fx->home);
    wait_calls(1);
    struct addr v4 = address("10.0.0.50");
    assert_true(addr_equal(&fx->addr, &v4));
    struct watch_stats before;
    watch_stats(fx->watch, &before);
    netns_enter(fx->peer);
    sh("ip addr flush dev v1 && ip addr add 2001:db8::50/64 dev v1");
    netns_enter(fx->home);
    wait_frames((int)before.frames + 1); /* its DAD probe */
    assert_int_equal(fx->calls, 1);
    assert_int_equal(fx->probes, 1);
}

static void test_not_claims(void **state)
{
    uint8_t frame[ARP_ND_FRAME_MAX + 4], tagged[ARP_ND_FRAME_MAX + 4];
    struct addr v4 = address("10.0.0.50"), v6 = address("2001:db8::50");
    put_arp("10.0.0.50", own_mac, false); /* ours, come back through a loop */
    size_t size = arp_nd_build_arp(frame, other_mac, &v4, false);
    memset(frame + 28, 0, 4); /* a probe */
    put(frame, size);
    size = arp_nd_build_na(frame, other_mac, &v6, false);
    frame[56] ^= 1; /* checksum */
    put(frame, size);
    wait_frames(3);
    size = arp_nd_build_arp(frame, other_mac, &v4, false);
    static const uint8_t tag[4] = {0x81, 0x00, 0x00, 0x05}; /* of VLAN 5: not this network */
    memcpy(tagged, frame, 12);
    memcpy(tagged + 12, tag, 4);
    memcpy(tagged + 16, frame + 12, size - 12);
    put(tagged, size + 4);
    frame[13] = 0x00; /* IPv4: the filter keeps it away */
    put(frame, size);
    put_arp("10.0.0.51", other_mac, false);
    wait_calls(1);
    struct addr last = address("10.0.0.51");
    assert_true(addr_equal(&fx->addr, &last));
    struct watch_stats stats;
    watch_stats(fx->watch, &stats);
    assert_int_equal(stats.frames, 4);
    assert_int_equal(stats.malformed, 1);
    assert_int_equal(stats.lost, 0);
}

/* What this host sends is not received. */
static void test_outgoing(void **state)
{
    uint8_t frame[ARP_ND_FRAME_MAX];
    struct addr v4 = address("10.0.0.50");
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex("v0")};
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    size_t size = arp_nd_build_arp(frame, other_mac, &v4, false);
    assert_int_equal(sendto(fd, frame, size, 0, (struct sockaddr *)&to, sizeof(to)), size);
    close(fd);
    put_arp("10.0.0.51", other_mac, false);
    wait_calls(1);
    struct watch_stats stats;
    watch_stats(fx->watch, &stats);
    assert_int_equal(stats.frames, 1);
}

/* An interface that this host got since: its hardware address is its own before the first claim is reported. */
static void test_own_is_read_anew(void **state)
{
    sh("ip link add w0 address 02:00:00:00:00:0a type veth peer name w1");
    static const uint8_t new_mac[6] = {0x02, 0, 0, 0, 0, 0x0a};
    assert_int_equal(watch_set_links(fx->watch, v0, 1), 0);
    put_arp("10.0.0.50", new_mac, false);
    wait_frames(1);
    assert_int_equal(fx->calls, 0);
}

static void test_down_and_up(void **state)
{
    sh("ip link set v0 down && ip link set v0 up");
    netns_enter(fx->peer);
    wait_up("v1");
    netns_enter(fx->home);
    put_arp("10.0.0.50", other_mac, false);
    wait_calls(1);
}

static void test_recreated(void **state)
{
    static const char both[3][DEV_SIZE] = {"v0", "nowhere", "lo"};
    close(fx->wire);
    sh("ip link del v0");
    assert_int_equal(watch_set_links(fx->watch, both, 3), 0);
    make_cable();
    assert_int_equal(watch_set_links(fx->watch, both, 3), 0);
    put_arp("10.0.0.50", other_mac, false);
    wait_calls(1);
    assert_int_equal(watch_set_links(fx->watch, both, 0), 0);
    put_arp("10.0.0.50", other_mac, false);
    assert_int_equal(watch_set_links(fx->watch, both, LINKS_MAX + 1), -EINVAL);
    assert_int_equal(watch_set_links(fx->watch, both, 1), 0);
    put_arp("10.0.0.51", other_mac, false);
    wait_calls(2); /* the one in between was not watched */
}

static void test_flood(void **state)
{
    for (int i = 0; i < 1000; i++) {
        put_arp("10.0.0.50", other_mac, false);
    }
    uv_run(&fx->loop, UV_RUN_NOWAIT);
    assert_in_range(fx->calls, 1, 128); /* a turn takes a bounded part of it */
    struct watch_stats stats;
    watch_stats(fx->watch, &stats);
    wait_calls(1000 - (int)stats.lost);
}

static void test_close_within_callback(void **state)
{
    fx->close_within = true;
    put_arp("10.0.0.50", other_mac, false);
    put_arp("10.0.0.50", other_mac, false);
    uv_run(&fx->loop, UV_RUN_DEFAULT);
    assert_true(fx->closed);
    assert_int_equal(fx->calls, 1);
}

int main(int argc, char **argv)
{
    if (!netns_available()) {
        return 0;
    }
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_claims),
        T(test_kernel_of_another),
        T(test_not_claims),
        T(test_outgoing),
        T(test_own_is_read_anew),
        T(test_down_and_up),
        T(test_recreated),
        T(test_flood),
        T(test_close_within_callback),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
