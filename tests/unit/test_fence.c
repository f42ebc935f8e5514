/* io/fence: what the kernel's programs decide on single frames, the set of VIPs, and what opening it needs.
 * `test_fence --cost` prints what a frame costs instead. Needs root. Where the programs stand is tested in
 * test_fence_place.c, real traffic in test_fence_wire.c. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <linux/bpf.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "core/limits.h"
#include "fence_bed.h"
#include "fence_frame.h"
#include "io/fence.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define VIP4 "10.0.0.50"
#define VIP6 "2001:db8::50"
#define HOST4 "10.0.0.9"
#define HOST6 "2001:db8::9"
#define SOLICITED "ff02::1:ff00:50"

static struct addr address(const char *text)
{
    struct addr addr;
    assert_int_equal(addr_parse(text, &addr), 0);
    return addr;
}

/* The one that the test has open; closed and removed behind every test, failed ones too. */
static struct fence *fence;

/* Address i of a table of thousands, IPv4 and IPv6 by turns. */
static struct addr nth_address(unsigned i)
{
    struct addr addr = {.family = i % 2 ? 6 : 4};
    if (addr.family == 6) {
        memcpy(addr.bytes, "\x20\x01\x0d\xb8", 4);
        addr.bytes[13] = (uint8_t)(i >> 16);
        addr.bytes[14] = (uint8_t)(i >> 8);
        addr.bytes[15] = (uint8_t)i;
    } else {
        memcpy(addr.bytes, (uint8_t[]){10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i}, 4);
    }
    return addr;
}

static void open_with_vips(void)
{
    struct addr vips[] = {address(VIP4), address(VIP6)};
    assert_done(fence_open(&fence));
    assert_done(fence_vips_replace(fence, vips, COUNT(vips)));
}

static int close_fence(bool remove)
{
    struct fence *closed = fence;
    fence = NULL;
    return fence_close(closed, remove);
}

static bool dropped(enum fence_side side, const struct frame_spec *spec)
{
    struct frame frame = frame_make(spec);
    bool ret = false;
    uint32_t ns;
    assert_done(fence_try(fence, side, spec->bare != 0, frame.bytes, frame.len, 1, &ret, &ns));
    return ret;
}

/* -------------------------------------------------------------------------------------------------------- verdicts */

static const uint8_t HOP_BY_HOP[] = {0};
static const uint8_t EACH_ONCE[] = {0, 60, 43, 51, 60};
static const uint8_t TOO_MANY[] = {60, 60, 60, 60, 60, 60, 60, 60, 60};
static const uint8_t FRAGMENT[] = {44};

#define EXTENSIONS(list) .extensions = (list), .n_extensions = COUNT(list)

struct verdict
{
    const char *what;
    struct frame_spec spec;
    bool in, out; /* dropped there once the lease has ended */
};

/* The kernel's test facility refuses a short IP packet right behind the Ethernet header, so those have a tag. */
static const struct verdict VERDICTS[] = {
    /* ARP */
    {"a request for a VIP", SPEC(FRAME_ARP_REQUEST, HOST4, VIP4), true, false},
    {"a probe for a VIP", SPEC(FRAME_ARP_REQUEST, "0.0.0.0", VIP4), true, false},
    {"a request from a VIP", SPEC(FRAME_ARP_REQUEST, VIP4, HOST4), false, true},
    {"an announcement as a request", SPEC(FRAME_ARP_REQUEST, VIP4, VIP4), false, true},
    {"an announcement as a reply", SPEC(FRAME_ARP_REPLY, VIP4, VIP4), false, true},
    {"a reply of a VIP", SPEC(FRAME_ARP_REPLY, VIP4, HOST4), false, true},
    {"a reply to a VIP", SPEC(FRAME_ARP_REPLY, HOST4, VIP4), false, false},
    {"a request among others", SPEC(FRAME_ARP_REQUEST, HOST4, "10.0.0.51"), false, false},
    {"a reply among others", SPEC(FRAME_ARP_REPLY, HOST4, "10.0.0.51"), false, false},
    {"ARP cut short", SPEC(FRAME_ARP_REQUEST, HOST4, "10.0.0.51", .cut = 1), true, true},
    /* IPv4 */
    {"a packet to a VIP", SPEC(FRAME_IP4, HOST4, VIP4), true, false},
    {"a packet from a VIP", SPEC(FRAME_IP4, VIP4, HOST4), false, true},
    {"a packet among others", SPEC(FRAME_IP4, HOST4, "10.0.0.5"), false, false},
    {"a packet to a longer neighbour of a VIP", SPEC(FRAME_IP4, HOST4, "10.0.0.51"), false, false},
    {"IPv4 cut short", SPEC(FRAME_IP4, HOST4, "10.0.0.51", .n_tags = 1, .cut = 17), true, false},
    {"IPv4 cut shorter", SPEC(FRAME_IP4, HOST4, "10.0.0.51", .n_tags = 1, .cut = 22), true, true},
    /* IPv6 */
    {"a packet to an IPv6 VIP", SPEC(FRAME_IP6, HOST6, VIP6), true, false},
    {"a packet from an IPv6 VIP", SPEC(FRAME_IP6, VIP6, HOST6), false, true},
    {"an IPv6 packet among others", SPEC(FRAME_IP6, HOST6, "2001:db8::51"), false, false},
    {"IPv6 cut short", SPEC(FRAME_IP6, HOST6, "2001:db8::51", .n_tags = 1, .cut = 9), true, true},
    {"a fragment to a VIP", SPEC(FRAME_IP6, HOST6, VIP6, EXTENSIONS(FRAGMENT)), true, false},
    {"a fragment among others", SPEC(FRAME_IP6, HOST6, "2001:db8::51", EXTENSIONS(FRAGMENT)),
     false, false},
    /* neighbour discovery */
    {"a solicitation for a VIP", SPEC(FRAME_NS, HOST6, SOLICITED, .target = VIP6), true, false},
    {"one to the node's own address", SPEC(FRAME_NS, HOST6, "fe80::1", .target = VIP6), true, false},
    {"a probe for duplicates of a VIP", SPEC(FRAME_NS, "::", SOLICITED, .target = VIP6), true, false},
    {"a solicitation from a VIP", SPEC(FRAME_NS, VIP6, "ff02::1:ff00:9", .target = HOST6), false, true},
    {"a solicitation among others", SPEC(FRAME_NS, HOST6, "ff02::1:ff00:51", .target = "2001:db8::51"), false, false},
    {"an advertisement of a VIP from it", SPEC(FRAME_NA, VIP6, "ff02::1", .target = VIP6), false, true},
    {"an advertisement of a VIP from elsewhere", SPEC(FRAME_NA, "fe80::1", "ff02::1", .target = VIP6), false, true},
    {"an advertisement of another", SPEC(FRAME_NA, HOST6, "ff02::1", .target = HOST6), false, false},
    {"a solicitation cut short", SPEC(FRAME_NS, HOST6, "ff02::1:ff00:51", .target = HOST6, .cut = 9), true, false},
    {"an advertisement cut short", SPEC(FRAME_NA, HOST6, "ff02::1", .target = HOST6, .cut = 9), false, true},
    {"a solicitation behind hop-by-hop options",
     SPEC(FRAME_NS, HOST6, SOLICITED, .target = VIP6, EXTENSIONS(HOP_BY_HOP)), true, false},
    {"a solicitation behind every extension header",
     SPEC(FRAME_NS, HOST6, SOLICITED, .target = VIP6, EXTENSIONS(EACH_ONCE)), true, false},
    {"an advertisement behind every extension header",
     SPEC(FRAME_NA, "fe80::1", "ff02::1", .target = VIP6, EXTENSIONS(EACH_ONCE)), false, true},
    {"another's advertisement behind every extension header",
     SPEC(FRAME_NA, HOST6, "ff02::1", .target = HOST6, EXTENSIONS(EACH_ONCE)), false, false},
    {"more extension headers than anything honest",
     SPEC(FRAME_IP6, HOST6, "2001:db8::51", EXTENSIONS(TOO_MANY)), true, true},
    /* VLAN tags inside the frame */
    {"a tagged request for a VIP", SPEC(FRAME_ARP_REQUEST, HOST4, VIP4, .n_tags = 1), true, false},
    {"a tagged reply of a VIP", SPEC(FRAME_ARP_REPLY, VIP4, HOST4, .n_tags = 1), false, true},
    {"a tagged request among others", SPEC(FRAME_ARP_REQUEST, HOST4, "10.0.0.51", .n_tags = 1), false, false},
    {"a doubly tagged request for a VIP", SPEC(FRAME_ARP_REQUEST, HOST4, VIP4, .n_tags = 2), true, false},
    {"a doubly tagged announcement", SPEC(FRAME_ARP_REQUEST, VIP4, VIP4, .n_tags = 2), false, true},
    {"a doubly tagged packet to a VIP", SPEC(FRAME_IP4, HOST4, VIP4, .n_tags = 2), true, false},
    {"a doubly tagged solicitation", SPEC(FRAME_NS, HOST6, SOLICITED, .target = VIP6, .n_tags = 2), true, false},
    {"a doubly tagged advertisement", SPEC(FRAME_NA, "fe80::1", "ff02::1", .target = VIP6, .n_tags = 2), false, true},
    {"a doubly tagged packet among others", SPEC(FRAME_IP4, HOST4, "10.0.0.51", .n_tags = 2), false, false},
    {"four tags and a VIP", SPEC(FRAME_IP4, HOST4, VIP4, .n_tags = 4), true, false},
    {"four tags among others", SPEC(FRAME_IP4, HOST4, "10.0.0.51", .n_tags = 4), false, false},
    {"more tags than anything honest", SPEC(FRAME_IP4, HOST4, "10.0.0.51", .n_tags = 5), true, true},
    {"a tag and nothing behind it", SPEC(FRAME_IP4, HOST4, "10.0.0.51", .n_tags = 1, .cut = 37), true, true},
    /* links without a link-layer header */
    {"a bare packet to a VIP", SPEC(FRAME_IP4, HOST4, VIP4, .bare = 1), true, false},
    {"a bare packet from a VIP", SPEC(FRAME_IP4, VIP4, HOST4, .bare = 1), false, true},
    {"a bare packet among others", SPEC(FRAME_IP4, HOST4, "10.0.0.51", .bare = 1), false, false},
    {"a bare IPv6 packet to a VIP", SPEC(FRAME_IP6, HOST6, VIP6, .bare = 1), true, false},
    {"a bare IPv6 packet from a VIP", SPEC(FRAME_IP6, VIP6, HOST6, .bare = 1), false, true},
    {"a bare solicitation for a VIP", SPEC(FRAME_NS, HOST6, "fe80::1", .target = VIP6, .bare = 1), true, false},
    {"a bare IPv6 packet among others", SPEC(FRAME_IP6, HOST6, "2001:db8::51", .bare = 1), false, false},
    {"an EtherType of another kind", SPEC(FRAME_OTHER, VIP4, VIP4), false, false},
};

static void frames_of_vips_are_dropped_after_the_lease_and_no_others(void **state)
{
    open_with_vips();
    for (size_t i = 0; i < COUNT(VERDICTS); i++) {
        const struct verdict *row = &VERDICTS[i];
        fence_set_lease(fence, UINT64_MAX);
        if (dropped(FENCE_IN, &row->spec) || dropped(FENCE_OUT, &row->spec)) {
            fail_msg("%s: dropped under a running lease", row->what);
        }
        fence_set_lease(fence, bed_now());
        if (dropped(FENCE_IN, &row->spec) != row->in) {
            fail_msg("%s: %s on the way in", row->what, row->in ? "passes" : "dropped");
        }
        if (dropped(FENCE_OUT, &row->spec) != row->out) {
            fail_msg("%s: %s on the way out", row->what, row->out ? "passes" : "dropped");
        }
    }
    assert_done(close_fence(false));
}

static void the_lease_is_what_was_stored_and_may_go_back(void **state)
{
    static const struct frame_spec spec = SPEC(FRAME_IP4, HOST4, VIP4);
    open_with_vips();
    assert_int_equal(fence_lease(fence), 0);
    assert_true(dropped(FENCE_IN, &spec));
    uint64_t far = bed_now() + 3600 * 1000 * BED_MS;
    fence_set_lease(fence, far);
    assert_int_equal(fence_lease(fence), far);
    assert_false(dropped(FENCE_IN, &spec));
    fence_set_lease(fence, 0);
    assert_true(dropped(FENCE_IN, &spec));
    assert_done(close_fence(false));
}

static void what_is_sealed_stays_shut(void **state)
{
    static const struct frame_spec spec = SPEC(FRAME_IP4, HOST4, VIP4);
    open_with_vips();
    fence_set_lease(fence, UINT64_MAX);
    assert_false(dropped(FENCE_IN, &spec));
    fence_seal(fence);
    assert_true(dropped(FENCE_IN, &spec));
    fence_set_lease(fence, UINT64_MAX);
    assert_int_equal(fence_lease(fence), 0);
    assert_true(dropped(FENCE_IN, &spec));
    assert_done(close_fence(false));
}

static void drops_are_counted_by_reason(void **state)
{
    static const struct
    {
        enum fence_side side;
        struct frame_spec spec;
        size_t counter;
    } cases[] = {
        {FENCE_IN, SPEC(FRAME_ARP_REQUEST, HOST4, VIP4), offsetof(struct fence_stats, arp_in)},
        {FENCE_IN, SPEC(FRAME_NS, HOST6, SOLICITED, .target = VIP6), offsetof(struct fence_stats, nd_in)},
        {FENCE_IN, SPEC(FRAME_IP6, HOST6, VIP6), offsetof(struct fence_stats, ip_in)},
        {FENCE_OUT, SPEC(FRAME_ARP_REPLY, VIP4, HOST4), offsetof(struct fence_stats, arp_out)},
        {FENCE_OUT, SPEC(FRAME_NA, "fe80::1", "ff02::1", .target = VIP6), offsetof(struct fence_stats, nd_out)},
        {FENCE_OUT, SPEC(FRAME_IP4, VIP4, HOST4), offsetof(struct fence_stats, ip_out)},
        {FENCE_OUT, SPEC(FRAME_ARP_REPLY, VIP4, HOST4, .cut = 1), offsetof(struct fence_stats, unreadable)},
    };
    open_with_vips();
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fence_stats before, after;
        assert_done(fence_stats(fence, &before));
        assert_true(dropped(cases[i].side, &cases[i].spec));
        assert_done(fence_stats(fence, &after));
        *(uint64_t *)((char *)&before + cases[i].counter) += 1;
        assert_memory_equal(&before, &after, sizeof(before));
    }
    assert_done(close_fence(false));
}

/* ------------------------------------------------------------------------------------------------------------ VIPs */

static bool knows(const struct addr *vip)
{
    char text[ADDR_TEXT_MAX];
    bool v4 = vip->family == 4;
    struct frame_spec spec = SPEC(v4 ? FRAME_IP4 : FRAME_IP6, v4 ? HOST4 : HOST6, addr_format(vip, text));
    return dropped(FENCE_IN, &spec);
}

static void assert_known(unsigned first, unsigned n, bool expected)
{
    for (unsigned i = first; i < first + n; i++) {
        struct addr vip = nth_address(i);
        if (knows(&vip) != expected) {
            fail_msg("VIP %u is %s", i, expected ? "missing" : "still there");
        }
    }
}

static void the_largest_table_fits_and_one_more_is_refused(void **state)
{
    assert_done(fence_open(&fence));
    struct addr *vips = calloc(VIPS_MAX + 1, sizeof(*vips));
    assert_non_null(vips);
    for (unsigned i = 0; i < VIPS_MAX + 1; i++) {
        vips[i] = nth_address(i);
    }
    assert_done(fence_vips_replace(fence, vips, VIPS_MAX));
    assert_known(0, VIPS_MAX, true);
    assert_int_equal(fence_vip_add(fence, &vips[VIPS_MAX]), -ENOSPC);
    assert_non_null(strstr(fence_error(), "16384"));
    assert_int_equal(fence_vips_replace(fence, vips, VIPS_MAX + 1), -ENOSPC);
    assert_known(0, VIPS_MAX, true);
    assert_done(fence_vip_del(fence, &vips[7]));
    assert_done(fence_vip_add(fence, &vips[VIPS_MAX]));
    assert_known(VIPS_MAX, 1, true);

    /* every one replaced by another */
    for (unsigned i = 0; i < VIPS_MAX; i++) {
        vips[i] = nth_address(VIPS_MAX + 100 + i);
    }
    assert_done(fence_vips_replace(fence, vips, VIPS_MAX));
    assert_known(0, VIPS_MAX + 1, false);
    assert_known(VIPS_MAX + 100, VIPS_MAX, true);
    free(vips);
    assert_done(close_fence(false));
}

static void replacing_keeps_what_is_in_both(void **state)
{
    assert_done(fence_open(&fence));
    struct addr vips[] = {nth_address(1), nth_address(2), nth_address(3), nth_address(2), nth_address(1)};
    assert_done(fence_vips_replace(fence, vips, COUNT(vips))); /* in any order, with repetitions */
    assert_known(1, 3, true);
    assert_done(fence_vips_replace(fence, &vips[2], 1));
    assert_known(1, 2, false);
    assert_known(3, 1, true);
    assert_done(fence_vip_add(fence, &vips[2])); /* again */
    assert_done(fence_vip_add(fence, &vips[0]));
    assert_done(fence_vip_del(fence, &vips[1])); /* not there */
    assert_known(3, 1, true);
    assert_known(1, 1, true);
    assert_done(fence_vips_replace(fence, NULL, 0));
    assert_known(1, 3, false);
    assert_int_equal(fence_vip_add(fence, &(struct addr){0}), -EINVAL);
    assert_int_equal(fence_vips_replace(fence, &(struct addr){.family = 5}, 1), -EINVAL);
    assert_done(close_fence(false));
}

/* ------------------------------------------------------------------------------------------------------------ open */

/* The result of fence_open in a child that has only the capabilities of the mask; its text must have `word` in it. */
static int open_with_capabilities(uint64_t mask, const char *word)
{
    pid_t child = fork();
    if (child == 0) {
        struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct data[2] = {
            {.effective = (uint32_t)mask, .permitted = (uint32_t)mask},
            {.effective = (uint32_t)(mask >> 32), .permitted = (uint32_t)(mask >> 32)}};
        if (syscall(SYS_capset, &head, data) != 0) {
            _exit(100);
        }
        int r = fence_open(&fence);
        bool named = word == NULL || strstr(fence_error(), word) != NULL;
        (void)fence_close(fence, false);
        _exit(named ? -r : 101);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return -WEXITSTATUS(status);
}

static void a_missing_capability_is_named(void **state)
{
    uint64_t bpf = 1ull << CAP_BPF, net = 1ull << CAP_NET_ADMIN;
    assert_int_equal(open_with_capabilities(bpf | net, NULL), 0);
    assert_int_equal(open_with_capabilities(net, "missing CAP_BPF"), -EPERM);
    assert_int_equal(open_with_capabilities(bpf, "missing CAP_NET_ADMIN"), -EPERM);
    assert_int_equal(open_with_capabilities(0, "missing CAP_BPF and CAP_NET_ADMIN"), -EPERM);
}

static void only_one_is_open_in_a_namespace(void **state)
{
    struct fence *second = NULL;
    assert_done(fence_open(&fence));
    assert_int_equal(fence_open(&second), -EADDRINUSE);
    assert_null(second);
    assert_int_equal(fence_remove_all(), -EBUSY);
    assert_done(close_fence(false));
    assert_done(fence_open(&fence));
    assert_int_equal(fence_close(NULL, true), 0);
}

/* ------------------------------------------------------------------------------------------------------------ cost */

static int load_pass_all(void)
{
    struct bpf_insn code[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K}, {.code = BPF_JMP | BPF_EXIT}};
    union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_SCHED_CLS};
    attr.insns = (uint64_t)(uintptr_t)code;
    attr.insn_cnt = COUNT(code);
    attr.license = (uint64_t)(uintptr_t) "unspecified";
    return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}

#define COST_RUNS 5000000

/* The same run of a program that does nothing: what the facility itself takes. */
static uint32_t cost_of_nothing(void)
{
    static const struct frame_spec spec = SPEC(FRAME_IP4, HOST4, "10.0.0.51");
    struct frame frame = frame_make(&spec);
    union bpf_attr attr = {0};
    int program = load_pass_all();
    attr.test.prog_fd = (uint32_t)program;
    attr.test.repeat = COST_RUNS;
    attr.test.data_in = (uint64_t)(uintptr_t)frame.bytes;
    attr.test.data_size_in = (uint32_t)frame.len;
    long r = syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attr, sizeof(attr));
    (void)close(program);
    return r == 0 ? attr.test.duration : UINT32_MAX;
}

static int print_costs(void)
{
    static const struct
    {
        const char *what;
        struct frame_spec spec;
        bool leased;
    } rows[] = {
        {"lease running, any frame", SPEC(FRAME_IP4, HOST4, "10.0.0.51"), true},
        {"lease ended, IPv4 of others", SPEC(FRAME_IP4, HOST4, "10.0.0.51"), false},
        {"lease ended, IPv4 of others, VLAN tag", SPEC(FRAME_IP4, HOST4, "10.0.0.51", .n_tags = 1), false},
        {"lease ended, IPv6 of others", SPEC(FRAME_IP6, HOST6, "2001:db8::51"), false},
        {"lease ended, ARP of others", SPEC(FRAME_ARP_REQUEST, HOST4, "10.0.0.51"), false},
        {"lease ended, solicitation of others", SPEC(FRAME_NS, HOST6, SOLICITED, .target = "2001:db8::51"), false},
        {"lease ended, not IP", SPEC(FRAME_OTHER, HOST4, HOST4), false},
    };
    assert_done(fence_open(&fence));
    static struct addr vips[VIPS_MAX];
    for (unsigned i = 0; i < VIPS_MAX; i++) {
        vips[i] = nth_address(i + 0x100000); /* 10.16.0.0 and on, 2001:db8::10:0 and on: none of the rows' */
    }
    assert_done(fence_vips_replace(fence, vips, VIPS_MAX));
    print_message("%-40s %8s %8s   (ns a frame, %d VIPs)\n", "frame that is not for a VIP", "in", "out", VIPS_MAX);
    print_message("%-40s %8u\n", "(an empty program)", cost_of_nothing());
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct frame frame = frame_make(&rows[i].spec);
        uint32_t ns[FENCE_SIDES_N];
        fence_set_lease(fence, rows[i].leased ? UINT64_MAX : 0);
        for (unsigned side = 0; side < FENCE_SIDES_N; side++) {
            bool drop;
            assert_done(fence_try(fence, side, false, frame.bytes, frame.len, COST_RUNS, &drop, &ns[side]));
            assert_false(drop);
        }
        print_message("%-40s %8u %8u\n", rows[i].what, ns[FENCE_IN], ns[FENCE_OUT]);
    }
    return close_fence(false);
}

static int no_fence(void **state)
{
    return close_fence(true);
}

#define FENCE_TEST(f) cmocka_unit_test_teardown(f, no_fence)

int main(int argc, char **argv)
{
    const char *reason = bed_missing();
    if (reason) {
        print_message("SKIPPED: the kernel fence: %s\n", reason);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--cost") == 0) {
        return print_costs();
    }
    const struct CMUnitTest tests[] = {
        FENCE_TEST(frames_of_vips_are_dropped_after_the_lease_and_no_others),
        FENCE_TEST(the_lease_is_what_was_stored_and_may_go_back),
        FENCE_TEST(what_is_sealed_stays_shut),
        FENCE_TEST(drops_are_counted_by_reason),
        FENCE_TEST(the_largest_table_fits_and_one_more_is_refused),
        FENCE_TEST(replacing_keeps_what_is_in_both),
        FENCE_TEST(a_missing_capability_is_named),
        FENCE_TEST(only_one_is_open_in_a_namespace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
