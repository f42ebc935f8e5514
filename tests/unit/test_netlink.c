/* Addresses and links against a real kernel, each test in a network namespace of its own. What the kernel has is read
 * by `ip`, not by the code under test. Skipped, with the reason, where namespaces cannot be made. */

#include <arpa/inet.h>
#include <errno.h>
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

#include "io/netlink.h"
#include "netns.h"

#define SEEN_MAX 65536

struct seen
{
    struct addr addr;
    bool present, marked;
};

struct fixture
{
    uv_loop_t loop;
    struct netlink *nl;
    int links_calls, resync_calls, hardware_calls, seen_n;
    char hardware_dev[DEV_SIZE];
    struct seen seen[SEEN_MAX];
    bool closed;
};

static struct fixture *fx;

static void on_links(void *ud)
{
    fx->links_calls++;
}

static void on_address(void *ud, const struct addr *addr, bool present, bool marked)
{
    assert_true(fx->seen_n < SEEN_MAX);
    fx->seen[fx->seen_n++] = (struct seen){.addr = *addr, .present = present, .marked = marked};
}

static void on_resync(void *ud)
{
    fx->resync_calls++;
}

static void on_hardware(void *ud, const char *dev)
{
    fx->hardware_calls++;
    snprintf(fx->hardware_dev, sizeof(fx->hardware_dev), "%s", dev);
}

static const struct netlink_ops ops = {
    .links = on_links, .address = on_address, .resync = on_resync, .hardware = on_hardware};

static void open_netlink(const char (*interfaces)[DEV_SIZE], int n)
{
    struct netlink_config config = {.interfaces = interfaces, .n = n};
    assert_int_equal(netlink_init(&fx->nl, &fx->loop, &config, &ops, NULL), 0);
}

static void on_closed(void *ud)
{
    fx->closed = true;
}

static void close_netlink(void)
{
    fx->closed = false;
    netlink_close(fx->nl, on_closed, NULL);
    uv_run(&fx->loop, UV_RUN_DEFAULT);
    assert_true(fx->closed);
    fx->nl = NULL;
}

static int setup(void **state)
{
    close(netns_new());
    fx = calloc(1, sizeof(*fx));
    assert_non_null(fx);
    assert_int_equal(uv_loop_init(&fx->loop), 0);
    sh("ip link add v0 type veth peer name v1 && ip link set v0 addrgenmode none && ip link set v1 addrgenmode none &&"
       " ip link set lo up && ip link set v0 up && ip link set v1 up && ip addr add 10.0.0.1/24 dev v0 &&"
       " ip addr add 10.0.0.2/24 dev v0 && ip addr add 2001:db8::1/64 dev v0 nodad");
    wait_up("v0");
    wait_up("v1");
    wait_says("ip -6 route show table local", "local 2001:db8::1 "); /* the kernel does that later, and other routes */
    wait_says("ip -6 route show table local", "multicast ff00::/8 dev v0");
    wait_says("ip -6 route show table local", "multicast ff00::/8 dev v1");
    open_netlink(NULL, 0);
    return 0;
}

static int teardown(void **state)
{
    if (fx->nl != NULL) {
        close_netlink();
    }
    assert_int_equal(uv_loop_close(&fx->loop), 0);
    free(fx);
    return 0;
}

static int64_t run_until(bool (*done)(const void *arg), const void *arg)
{
    return run_for(&fx->loop, done, arg, NETNS_DEADLINE_MS);
}

static int add(const char *dev, const char *text, bool replace)
{
    struct prefix prefix;
    assert_int_equal(prefix_parse(text, &prefix, NULL), 0);
    return netlink_address_add(fx->nl, dev, &prefix, 60, replace);
}

static int del(const char *text)
{
    struct addr addr = address(text);
    return netlink_address_del(fx->nl, &addr);
}

static bool has(const char *text)
{
    struct addr addr = address(text);
    return netlink_has(fx->nl, &addr);
}

static bool seen_absent(const void *text)
{
    struct addr addr = address(text);
    for (int i = 0; i < fx->seen_n; i++) {
        if (addr_equal(&fx->seen[i].addr, &addr) && !fx->seen[i].present) {
            return true;
        }
    }
    return false;
}

static bool seen_present(const void *text)
{
    struct addr addr = address(text);
    for (int i = 0; i < fx->seen_n; i++) {
        if (addr_equal(&fx->seen[i].addr, &addr) && fx->seen[i].present) {
            return true;
        }
    }
    return false;
}

static bool links_called(const void *more_than)
{
    return fx->links_calls > *(const int *)more_than;
}

static bool resynced(const void *arg)
{
    return fx->resync_calls > 0;
}

static void count_marked(void *ud, const struct addr *addr, const char *dev, bool marked)
{
    *(int *)ud += marked;
}

static int marked_in_kernel(void)
{
    struct netlink *fresh;
    struct netlink_config config = {.n = 0};
    int n = 0;
    assert_int_equal(netlink_init(&fresh, &fx->loop, &config, &ops, NULL), 0);
    netlink_each(fresh, count_marked, &n);
    netlink_close(fresh, NULL, NULL);
    return n;
}

#define EVERYTHING "ip -o addr show; ip route show table all; ip -6 route show table all"

static void test_add_and_del(void **state)
{
    char *before = output(EVERYTHING);
    assert_int_equal(add("v0", "10.0.0.50/24", false), 0);
    assert_int_equal(add("v0", "2001:db8::50/64", false), 0);
    assert_true(has("10.0.0.50") && has("2001:db8::50"));
    char *text = output("ip -o -4 addr show dev v0 | grep 10.0.0.50");
    char *line = strstr(text, "10.0.0.50/32");
    assert_non_null(line); /* a host prefix, whatever its subnet: see the decision */
    assert_null(strstr(line, "secondary"));
    assert_true(strstr(line, "valid_lft 60sec") != NULL || strstr(line, "valid_lft 59sec") != NULL);
    free(text);
    text = output("ip -o -6 addr show dev v0 | grep db8::50");
    line = strstr(text, "2001:db8::50/128");
    assert_non_null(line);
    assert_non_null(strstr(line, "deprecated"));
    assert_non_null(strstr(line, "noprefixroute"));
    assert_null(strstr(text, "tentative"));
    free(text);
    assert_int_equal(marked_in_kernel(), 2);
    assert_int_equal(add("v0", "10.0.0.50/24", false), -EEXIST);
    assert_int_equal(add("v0", "2001:db8::50/64", false), -EEXIST);
    assert_true(run_until(seen_present, "10.0.0.50") >= 0);
    assert_true(run_until(seen_present, "2001:db8::50") >= 0);

    assert_int_equal(del("10.0.0.50"), 0);
    assert_int_equal(del("2001:db8::50"), 0);
    assert_int_equal(del("10.0.0.99"), 0); /* never there: the wanted end holds */
    assert_false(has("10.0.0.50") || has("2001:db8::50"));
    char *after = output(EVERYTHING);
    assert_string_equal(before, after);
    free(before);
    free(after);
    assert_true(run_until(seen_absent, "10.0.0.50") >= 0);
    assert_true(run_until(seen_absent, "2001:db8::50") >= 0);
}

static void test_renewal(void **state)
{
    struct prefix prefixes[2];
    assert_int_equal(prefix_parse("10.0.0.50/24", &prefixes[0], NULL), 0);
    assert_int_equal(prefix_parse("2001:db8::50/64", &prefixes[1], NULL), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(netlink_address_add(fx->nl, "v0", &prefixes[i], 60, false), 0);
        assert_int_equal(netlink_address_add(fx->nl, "v0", &prefixes[i], 600, true), 0);
    }
    assert_true(says("ip -o -4 addr show dev v0 | grep 10.0.0.50 | sed 's/ 5[0-9][0-9]sec/ 600sec/'", "600sec"));
    assert_true(says("ip -o -6 addr show dev v0 | grep db8::50 | sed 's/ 5[0-9][0-9]sec/ 600sec/'", "600sec"));
    assert_int_equal(marked_in_kernel(), 2);
    fx->seen_n = 0;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(netlink_address_add(fx->nl, "v0", &prefixes[i], 600, true), 0);
    }
    sh("ip addr add 10.0.0.3/24 dev v0"); /* reported after whatever the renewals are */
    assert_true(run_until(seen_present, "10.0.0.3") >= 0);
    for (int i = 0; i < fx->seen_n; i++) {
        assert_false(fx->seen[i].marked && !fx->seen[i].present);
    }
}

/* The kernel drops what is not renewed, and that is reported. */
static void test_expiry(void **state)
{
    struct prefix prefix;
    assert_int_equal(prefix_parse("10.0.0.50/24", &prefix, NULL), 0);
    assert_int_equal(netlink_address_add(fx->nl, "v0", &prefix, 1, false), 0);
    assert_true(run_until(seen_absent, "10.0.0.50") >= 0);
    assert_false(says("ip -o addr show", "10.0.0.50"));
}

static void test_refusals(void **state)
{
    struct prefix prefix;
    assert_int_equal(prefix_parse("10.0.0.50/24", &prefix, NULL), 0);
    assert_int_equal(add("nowhere", "10.0.0.50/24", false), NETLINK_NO_LINK);
    assert_int_equal(add("lo", "10.0.0.50/24", false), -EINVAL);
    assert_int_equal(netlink_address_add(fx->nl, "v0", &prefix, 0, false), -EINVAL);
    assert_int_equal(netlink_address_add(fx->nl, "v0", &prefix, UINT32_MAX, false), -EINVAL);
    prefix.addr.family = 0;
    assert_int_equal(netlink_address_add(fx->nl, "v0", &prefix, 60, false), -EINVAL);
    sh("echo 1 > /proc/sys/net/ipv6/conf/v0/disable_ipv6");
    assert_true(add("v0", "2001:db8::50/64", false) < 0); /* the kernel's own word */
    assert_false(has("2001:db8::50"));
    struct netlink *none = NULL;
    struct netlink_config config = {.n = LINKS_MAX + 1};
    assert_int_equal(netlink_init(&none, &fx->loop, &config, &ops, NULL), -EINVAL);
    assert_null(none);
}

/* A VIP is there before the host's own address of the subnet, and goes: the own one must not go with it. */
static void test_never_a_primary(void **state)
{
    sh("sysctl -qw net.ipv4.conf.all.promote_secondaries=0 net.ipv4.conf.v0.promote_secondaries=0");
    sh("ip addr del 10.0.0.2/24 dev v0; ip addr del 10.0.0.1/24 dev v0");
    assert_int_equal(add("v0", "10.0.0.50/24", false), 0);
    sh("ip addr add 10.0.0.1/24 dev v0");
    assert_false(says("ip -o -4 addr show dev v0 | grep 10.0.0.1/", "secondary"));
    assert_int_equal(del("10.0.0.50"), 0);
    assert_true(says("ip -o -4 addr show dev v0", "10.0.0.1/24"));
    /* And the other way round: the host's own goes and comes, the VIP stays. */
    assert_int_equal(add("v0", "10.0.0.50/24", false), 0);
    sh("ip addr del 10.0.0.1/24 dev v0");
    assert_true(says("ip -o -4 addr show dev v0", "10.0.0.50/32"));
    assert_int_equal(netlink_sync(fx->nl), 0);
    assert_true(has("10.0.0.50"));
    assert_false(has("10.0.0.1"));
}

static void source_of(const char *to, char ret[ADDR_TEXT_MAX])
{
    struct addr addr = address(to), mine = {0};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(9)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
    memcpy(&in.sin_addr, addr.bytes, 4);
    memcpy(&in6.sin6_addr, addr.bytes, 16);
    bool v4 = addr.family == 4;
    struct sockaddr *name = v4 ? (struct sockaddr *)&in : (struct sockaddr *)&in6;
    socklen_t size = v4 ? sizeof(in) : sizeof(in6);
    int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, name, size), 0);
    assert_int_equal(getsockname(fd, name, &size), 0);
    close(fd);
    mine.family = addr.family;
    memcpy(mine.bytes, v4 ? (void *)&in.sin_addr : (void *)&in6.sin6_addr, v4 ? 4 : 16);
    addr_format(&mine, ret);
}

/* What the host sends of its own accord never comes from a VIP, in whatever order the addresses were added. */
static void test_never_a_source(void **state)
{
    static const char *const destinations[][2] = {
        {"10.0.0.77", "10.0.0.1"},
        {"192.0.2.1", "10.0.0.1"},
        {"2001:db8::77", "2001:db8::1"},
        {"2001:db8:ffff::1", "2001:db8::1"},
    };
    sh("ip addr flush dev v0");
    assert_int_equal(add("v0", "10.0.0.50/24", false), 0);
    assert_int_equal(add("v0", "2001:db8::50/64", false), 0);
    sh("ip addr add 10.0.0.1/24 dev v0 && ip addr add 2001:db8::1/64 dev v0 nodad &&"
       " ip route add default via 10.0.0.254 && ip -6 route add default via 2001:db8::fe");
    for (size_t i = 0; i < sizeof(destinations) / sizeof(destinations[0]); i++) {
        char source[ADDR_TEXT_MAX];
        source_of(destinations[i][0], source);
        assert_string_equal(source, destinations[i][1]);
    }
}

static void test_foreign(void **state)
{
    sh("ip addr add 10.0.0.50/24 dev v0 && ip addr add 2001:db8::50/64 dev v0 nodad");
    wait_says("ip -6 route show table local", "local 2001:db8::50 ");
    char *before = output(EVERYTHING);
    assert_int_equal(add("v0", "10.0.0.50/24", false), NETLINK_FOREIGN);
    assert_int_equal(add("v0", "10.0.0.50/24", true), NETLINK_FOREIGN);
    assert_int_equal(add("v0", "2001:db8::50/64", true), NETLINK_FOREIGN);
    assert_int_equal(netlink_flush_marked(fx->nl, NULL, NULL), 0);
    char *after = output(EVERYTHING);
    assert_string_equal(before, after);
    free(before);
    free(after);
    assert_int_equal(del("10.0.0.50"), 0); /* it is a VIP by its table, so the daemon may have it removed */
    assert_int_equal(del("2001:db8::50"), 0);
    assert_false(says("ip -o addr show", "10.0.0.50"));
    assert_false(says("ip -o addr show", "db8::50"));
    assert_true(says("ip -o addr show", "10.0.0.1/24"));
}

/* The VIP was configured by hand and is the primary of the host's subnet: the kernel would remove all of it. */
static void test_foreign_primary(void **state)
{
    sh("sysctl -qw net.ipv4.conf.all.promote_secondaries=0 net.ipv4.conf.v0.promote_secondaries=0");
    assert_int_equal(del("10.0.0.1"), 0);
    assert_true(says("ip -o addr show dev v0", "10.0.0.2/24"));
    assert_false(says("ip -o addr show dev v0", "10.0.0.1/24"));
    assert_true(says("cat /proc/sys/net/ipv4/conf/v0/promote_secondaries", "0"));
    assert_true(says("ip route", "10.0.0.0/24 dev v0"));
    assert_int_equal(netlink_sync(fx->nl), 0);
    assert_true(has("10.0.0.2"));
}

static void test_loopback(void **state)
{
    sh("ip addr add 10.0.0.50/32 dev lo && ip addr add 2001:db8::50/128 dev lo nodad");
    assert_int_equal(netlink_sync(fx->nl), 0);
    assert_false(has("10.0.0.50"));
    assert_int_equal(add("v0", "10.0.0.50/24", false), 0);
    assert_int_equal(add("v0", "2001:db8::50/64", false), 0);
    assert_int_equal(del("10.0.0.50"), 0);
    assert_int_equal(del("2001:db8::50"), 0);
    assert_true(says("ip -o addr show dev lo", "10.0.0.50/32"));
    assert_true(says("ip -o addr show dev lo", "2001:db8::50/128"));
    assert_false(says("ip -o addr show dev v0", ".50/"));
    assert_false(says("ip -o addr show dev v0", "::50/"));
}

static void test_everywhere(void **state)
{
    assert_int_equal(add("v0", "10.0.0.50/24", false), 0);
    sh("ip addr add 10.0.0.50/24 dev v0 && ip addr add 10.0.0.50/16 dev v1 && ip addr add 2001:db8::50/64 dev v1 nodad"
       " && ip addr add 2001:db8::50/128 dev v0 nodad");
    assert_int_equal(del("10.0.0.50"), 0);
    assert_int_equal(del("2001:db8::50"), 0);
    assert_false(says("ip -o addr show", ".50/"));
    assert_false(says("ip -o addr show", "::50/"));
}

static void test_removed_by_hand(void **state)
{
    assert_int_equal(add("v0", "10.0.0.50/24", false), 0);
    assert_int_equal(add("v0", "2001:db8::50/64", false), 0);
    assert_true(run_until(seen_present, "2001:db8::50") >= 0);
    fx->seen_n = 0;
    sh("ip addr del 10.0.0.50/32 dev v0 && ip addr del 2001:db8::50/128 dev v0");
    int64_t took = run_until(seen_absent, "10.0.0.50");
    assert_in_range(took, 0, 100);
    assert_in_range(run_until(seen_absent, "2001:db8::50"), 0, 100);
    assert_true(fx->seen[0].marked);
    assert_int_equal(add("v0", "10.0.0.50/24", false), 0);
    assert_true(says("ip -o addr show", "10.0.0.50/32"));
}

static bool first_is_up(const void *arg)
{
    struct link links[LINKS_MAX];
    return netlink_links(fx->nl, links, LINKS_MAX) > 0 && links[0].up;
}

static bool first_is_down(const void *arg)
{
    return !first_is_up(arg);
}

static void test_down_and_up(void **state)
{
    assert_int_equal(add("v0", "10.0.0.50/24", false), 0);
    assert_int_equal(add("v0", "2001:db8::50/64", false), 0);
    assert_true(run_until(seen_present, "2001:db8::50") >= 0);
    int calls = fx->links_calls;
    fx->seen_n = 0;
    sh("ip link set v0 down");
    assert_true(run_until(first_is_down, NULL) >= 0);
    assert_true(run_until(links_called, &calls) >= 0);
    assert_true(run_until(seen_absent, "2001:db8::50") >= 0);
    assert_false(has("2001:db8::50"));
    assert_true(has("10.0.0.50"));
    calls = fx->links_calls;
    sh("ip link set v0 up");
    assert_true(run_until(first_is_up, NULL) >= 0);
    assert_true(run_until(links_called, &calls) >= 0);
    calls = fx->links_calls;
    sh("ip link set v1 down"); /* the other end: no carrier */
    assert_true(run_until(first_is_down, NULL) >= 0);
    assert_true(run_until(links_called, &calls) >= 0);
}

static void test_deleted_and_recreated(void **state)
{
    assert_int_equal(add("v0", "10.0.0.50/24", false), 0);
    assert_true(run_until(seen_present, "10.0.0.50") >= 0);
    fx->seen_n = 0;
    sh("ip link del v0");
    assert_true(run_until(seen_absent, "10.0.0.50") >= 0);
    assert_int_equal(add("v0", "10.0.0.50/24", false), NETLINK_NO_LINK);
    assert_int_equal(del("10.0.0.50"), 0);
    struct link links[LINKS_MAX];
    assert_int_equal(netlink_links(fx->nl, links, LINKS_MAX), 0);
    sh("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up");
    assert_int_equal(add("v0", "10.0.0.50/24", false), 0);
    assert_true(says("ip -o addr show dev v0", "10.0.0.50/32"));
}

/* Between two turns of the loop: an interface of the same name, but another. */
static void test_recreated_unseen(void **state)
{
    assert_int_equal(add("v0", "10.0.0.50/24", false), 0);
    sh("ip link del v0 && ip link add v0 type veth peer name v1");
    assert_int_equal(add("v0", "10.0.0.50/24", false), 0);
    assert_true(says("ip -o addr show dev v0", "10.0.0.50/32"));
}

static void test_links(void **state)
{
    assert_int_equal(add("v0", "10.0.0.50/24", false), 0);
    assert_int_equal(add("v0", "172.16.0.50/24", false), 0); /* ours, of a subnet that is not there */
    sh("ip addr add 10.0.0.9/32 dev v0 && ip addr add fe80::1/64 dev v0 nodad &&"
       " ip addr add 2001:db8::2/64 dev v0 nodad && ip addr add 192.168.7.1/16 dev v0");
    assert_int_equal(netlink_sync(fx->nl), 0);
    struct link links[LINKS_MAX];
    assert_int_equal(netlink_links(fx->nl, links, LINKS_MAX), 2);
    assert_string_equal(links[0].name, "v0");
    assert_string_equal(links[1].name, "v1");
    assert_int_equal(links[1].n_prefixes, 0);
    assert_int_equal(links[0].n_prefixes, 5);
    static const char *const expected[] = {"10.0.0.1/24", "10.0.0.2/24", "192.168.7.1/16", "2001:db8::1/64",
                                           "2001:db8::2/64"};
    for (int i = 0; i < 5; i++) {
        char text[PREFIX_TEXT_MAX];
        assert_string_equal(prefix_format(&links[0].prefixes[i], text), expected[i]);
    }
    for (int i = 20; i < 40; i++) {
        sh("ip addr add 10.%d.0.1/24 dev v1", i);
    }
    assert_int_equal(netlink_sync(fx->nl), 0);
    assert_int_equal(netlink_links(fx->nl, links, LINKS_MAX), 2);
    assert_int_equal(links[1].n_prefixes, LINK_PREFIXES_MAX);
    char text[PREFIX_TEXT_MAX];
    assert_string_equal(prefix_format(&links[1].prefixes[7], text), "10.27.0.1/24");
    /* further addresses of a subnet: after those of other subnets, the lowest first, whatever came first */
    sh("ip addr flush dev v1 && ip addr add 10.9.0.9/16 dev v1");
    for (int i = 20; i > 3; i--) {
        sh("ip addr replace 10.9.0.%d/16 dev v1", i);
    }
    sh("ip addr add 10.40.0.1/24 dev v1");
    assert_int_equal(netlink_sync(fx->nl), 0);
    assert_int_equal(netlink_links(fx->nl, links, LINKS_MAX), 2);
    assert_int_equal(links[1].n_prefixes, LINK_PREFIXES_MAX);
    for (int i = 0; i < 7; i++) {
        char own[PREFIX_TEXT_MAX];
        snprintf(own, sizeof own, "10.9.0.%d/16", 4 + i);
        assert_string_equal(prefix_format(&links[1].prefixes[i], text), own);
    }
    assert_string_equal(prefix_format(&links[1].prefixes[7], text), "10.40.0.1/24");
}

static void test_links_bounded(void **state)
{
    for (int i = 0; i < 20; i++) {
        sh("ip link add a%02d type veth peer name b%02d", i, i);
    }
    assert_int_equal(netlink_sync(fx->nl), 0);
    struct link links[LINKS_MAX];
    assert_int_equal(netlink_links(fx->nl, links, LINKS_MAX), LINKS_MAX);
    assert_string_equal(links[0].name, "a00");
    assert_string_equal(links[14].name, "a14");
    assert_string_equal(links[15].name, "v0"); /* has a subnet: no crowd displaces it */
    assert_int_equal(netlink_links(fx->nl, links, 1), 1);
    assert_string_equal(links[0].name, "v0");
}

static bool hardware_called(const void *arg)
{
    return fx->hardware_calls > 0;
}

static void test_hardware(void **state)
{
    int calls = fx->links_calls;
    sh("ip link set v0 mtu 1400 && ip link set v0 address 02:00:00:00:00:77");
    assert_true(run_until(hardware_called, NULL) >= 0);
    assert_string_equal(fx->hardware_dev, "v0");
    sh("ip addr add 10.0.0.77/24 dev v0"); /* after whatever else may come of it */
    assert_true(run_until(seen_present, "10.0.0.77") >= 0);
    assert_int_equal(fx->hardware_calls, 1);
    assert_int_equal(fx->links_calls, calls + 1); /* the links are told with their addresses */
}

static void test_links_configured(void **state)
{
    close_netlink();
    static const char names[2][DEV_SIZE] = {"later0", "v0"};
    open_netlink(names, 2);
    struct link links[LINKS_MAX];
    assert_int_equal(netlink_links(fx->nl, links, LINKS_MAX), 2);
    assert_string_equal(links[0].name, "later0");
    assert_false(links[0].up);
    assert_string_equal(links[1].name, "v0");
    assert_true(links[1].up);
    sh("ip link add x0 type veth peer name x1 && ip addr add 10.9.0.1/24 dev x0"); /* not configured: no call */
    sh("ip link add later0 type veth peer name later1 && ip link set later1 up && ip link set later0 up");
    int none = 0;
    assert_true(run_until(links_called, &none) >= 0);
    assert_int_equal(netlink_links(fx->nl, links, LINKS_MAX), 2);
    assert_string_equal(links[0].name, "later0");
}

/* A link that enters or leaves a bridge is told in messages that look like its own end. */
static void test_bridge(void **state)
{
    assert_int_equal(add("v0", "10.0.0.50/24", false), 0);
    sh("ip link add br0 type bridge && ip link set v0 master br0 && ip link set v0 nomaster");
    assert_int_equal(netlink_sync(fx->nl), 0);
    assert_true(has("10.0.0.50"));
    struct link links[LINKS_MAX];
    assert_int_equal(netlink_links(fx->nl, links, LINKS_MAX), 3);
}

static void count_removed(void *ud, const struct addr *addr, const char *dev)
{
    assert_string_equal(dev, "v0");
    (*(int *)ud)++;
}

static void test_flush_marked(void **state)
{
    assert_int_equal(add("v0", "10.0.0.50/24", false), 0);
    assert_int_equal(add("v0", "10.0.0.51/24", false), 0);
    assert_int_equal(add("v0", "2001:db8::50/64", false), 0);
    close_netlink();
    open_netlink(NULL, 0); /* a later run */
    assert_true(has("10.0.0.50"));
    int n = 0;
    assert_int_equal(netlink_flush_marked(fx->nl, count_removed, &n), 3);
    assert_int_equal(n, 3);
    assert_false(says("ip -o addr show", ".50/"));
    assert_false(says("ip -o addr show", ".51/"));
    assert_false(says("ip -o addr show", "::50/"));
    assert_true(says("ip -o addr show", "10.0.0.1/24"));
    assert_true(says("ip -o addr show", "2001:db8::1/64"));
    assert_int_equal(marked_in_kernel(), 0);
}

static void test_seal(void **state)
{
    assert_int_equal(add("v0", "10.0.0.50/24", false), 0);
    netlink_seal(fx->nl);
    assert_int_equal(netlink_flush_marked(fx->nl, NULL, NULL), 1);
    assert_int_equal(add("v0", "10.0.0.50/24", true), -ESHUTDOWN);
    assert_int_equal(add("v0", "2001:db8::50/64", false), -ESHUTDOWN);
    assert_int_equal(marked_in_kernel(), 0);
}

/* More happens than the journal holds while the loop stands still. */
static void test_overrun(void **state)
{
    assert_int_equal(add("v0", "10.0.0.50/24", false), 0);
    assert_true(run_until(seen_present, "10.0.0.50") >= 0);
    fx->seen_n = 0;
    sh("ip addr del 10.0.0.50/32 dev v0 && for n in 1 2 3 4 5; do for act in add del; do for a in $(seq 0 15); do"
       " for b in $(seq 0 249); do echo addr $act 10.77.$a.$b/32 dev v1; done; done; done; done | ip -batch -");
    sh("ip addr add 10.0.0.77/24 dev v0");
    assert_true(run_until(resynced, NULL) >= 0);
    assert_true(seen_absent("10.0.0.50"));
    assert_true(seen_present("10.0.0.77"));
    assert_false(has("10.0.0.50"));
    assert_true(has("10.0.0.77"));
    sh("ip addr del 10.0.0.77/24 dev v0"); /* and the journal is read on */
    assert_true(run_until(seen_absent, "10.0.0.77") >= 0);
}

static void test_many(void **state)
{
    /* Every IPv6 addition walks all IPv6 addresses of the host: fewer of them, for the test's sake. */
    static const int many[2] = {10000, 1000};
    struct netlink_item *items = calloc((size_t)many[0], sizeof(*items));
    assert_non_null(items);
    char *before = output(EVERYTHING);
    for (int v6 = 0; v6 <= 1; v6++) {
        int n = many[v6];
        for (int i = 0; i < n; i++) {
            items[i].address = (struct prefix){.addr = address(v6 ? "2001:db8::" : "10.1.0.0"), .len = v6 ? 64 : 16};
            items[i].address.addr.bytes[v6 ? 14 : 2] = (uint8_t)(i >> 8);
            items[i].address.addr.bytes[v6 ? 15 : 3] = (uint8_t)i;
            items[i].address.addr.bytes[v6 ? 13 : 1] = 7;
            strcpy(items[i].dev, "v0");
        }
        uint64_t t0 = uv_hrtime();
        assert_int_equal(netlink_address_add_many(fx->nl, items, n, 60, false), 0);
        uint64_t t1 = uv_hrtime();
        assert_int_equal(marked_in_kernel(), n);
        uint64_t t2 = uv_hrtime();
        assert_int_equal(netlink_address_add_many(fx->nl, items, n, 600, true), 0);
        uint64_t t3 = uv_hrtime();
        assert_int_equal(netlink_address_del(fx->nl, &items[n / 2].address.addr), 0);
        uint64_t t4 = uv_hrtime();
        assert_int_equal(netlink_address_del_many(fx->nl, items, n), 0);
        uint64_t t5 = uv_hrtime();
        print_message("%d IPv%d addresses: add %.1f ms, dump %.1f ms, renew %.1f ms, delete one %.2f ms, all %.1f ms\n",
                      n, v6 ? 6 : 4, (double)(t1 - t0) / 1e6, (double)(t2 - t1) / 1e6, (double)(t3 - t2) / 1e6,
                      (double)(t4 - t3) / 1e6, (double)(t5 - t4) / 1e6);
        assert_int_equal(marked_in_kernel(), 0);
    }
    char *after = output(EVERYTHING);
    assert_string_equal(before, after);
    free(before);
    free(after);
    free(items);
}

static void test_batch_results(void **state)
{
    struct netlink_item items[4] = {
        {.dev = "v0", .address = {.addr = address("10.0.0.50"), .len = 24}},
        {.dev = "nowhere", .address = {.addr = address("10.0.0.51"), .len = 24}},
        {.dev = "v0", .address = {.addr = address("10.0.0.1"), .len = 24}},
        {.dev = "v0", .address = {.addr = address("10.0.0.52"), .len = 24}},
    };
    assert_int_equal(netlink_address_add_many(fx->nl, items, 4, 60, false), NETLINK_NO_LINK);
    assert_int_equal(items[0].result, 0);
    assert_int_equal(items[1].result, NETLINK_NO_LINK);
    assert_int_equal(items[2].result, NETLINK_FOREIGN);
    assert_int_equal(items[3].result, 0);
    assert_true(has("10.0.0.50") && has("10.0.0.52"));
    assert_int_equal(netlink_address_add_many(fx->nl, items, 0, 60, false), 0);
    assert_int_equal(netlink_address_del_many(fx->nl, items, 0), 0);
}

/* The budget ends the work early, and what was not worked on is not touched. */
static void test_slices(void **state)
{
    enum { MANY = 4000, UNTOUCHED = 77 };
    struct netlink_item *items = calloc(MANY, sizeof(*items));
    assert_non_null(items);
    for (int i = 0; i < MANY; i++) {
        items[i] = (struct netlink_item){.dev = "v0", .address = {.addr = address("10.7.0.0"), .len = 16}};
        items[i].address.addr.bytes[2] = (uint8_t)(i >> 8);
        items[i].address.addr.bytes[3] = (uint8_t)i;
        items[i].result = UNTOUCHED;
    }
    int done = netlink_address_add_some(fx->nl, items, MANY, 60, false, 0);
    assert_in_range(done, 1, 8); /* always some, so that the work ends */
    assert_int_equal(marked_in_kernel(), done);
    int turns = 1;
    for (; done < MANY; turns++) {
        assert_int_equal(items[done].result, UNTOUCHED);
        int more = netlink_address_add_some(fx->nl, items + done, MANY - done, 60, false, 5);
        assert_true(more > 0);
        done += more;
    }
    assert_true(turns > 2); /* 4,000 do not fit into one slice of 5 ms */
    assert_int_equal(marked_in_kernel(), MANY);
    assert_int_equal(netlink_address_del_some(fx->nl, items, MANY, 3600000), MANY);
    assert_int_equal(marked_in_kernel(), 0);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(items[i].result, 0);
    }
    assert_int_equal(netlink_address_del_some(fx->nl, items, 0, 5), 0);
    free(items);
}

int main(int argc, char **argv)
{
    if (!netns_available()) {
        return 0;
    }
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_add_and_del),
        T(test_renewal),
        T(test_expiry),
        T(test_refusals),
        T(test_never_a_primary),
        T(test_never_a_source),
        T(test_foreign),
        T(test_foreign_primary),
        T(test_loopback),
        T(test_everywhere),
        T(test_removed_by_hand),
        T(test_down_and_up),
        T(test_deleted_and_recreated),
        T(test_recreated_unseen),
        T(test_links),
        T(test_links_bounded),
        T(test_hardware),
        T(test_links_configured),
        T(test_bridge),
        T(test_flush_marked),
        T(test_seal),
        T(test_overrun),
        T(test_batch_results),
        T(test_slices),
        T(test_many),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
