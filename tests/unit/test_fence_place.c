/* io/fence: where the programs stand on interfaces, among filters of others. Needs root. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <linux/bpf.h>
#include <net/if.h>
#include <sys/syscall.h>

#include "fence_bed.h"
#include "io/fence.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The one that the test has open; closed and removed behind every test, failed ones too. */
static struct fence *fence;

static void open_with_vips(void)
{
    static const struct addr vip = {.family = 4, .bytes = {10, 0, 0, 50}};
    assert_done(fence_open(&fence));
    assert_done(fence_vips_replace(fence, &vip, 1));
}

static int close_fence(bool remove)
{
    struct fence *closed = fence;
    fence = NULL;
    return fence_close(closed, remove);
}

static struct fence_hook hook(const char *dev, enum fence_side side)
{
    struct fence_hook ret;
    assert_int_equal(fence_hook_read((int)if_nametoindex(dev), side, &ret), 0);
    return ret;
}

static enum fence_qdisc qdisc(const char *dev)
{
    enum fence_qdisc ret;
    assert_int_equal(fence_qdisc_read((int)if_nametoindex(dev), &ret), 0);
    return ret;
}

static int fresh_link(void **state)
{
    return bed_run("ip link add dev0 type veth peer name dev1 && ip link set dev0 up && ip link set dev1 up");
}

static int no_link(void **state)
{
    return bed_run("ip link del dev0");
}

static void attaching_is_idempotent_and_closing_leaves_it_in_force(void **state)
{
    assert_done(fence_open(&fence));
    assert_int_equal(fence_attach(fence, "dev0"), -EINVAL); /* no VIPs set: it might replace an earlier run's */
    assert_done(close_fence(false));

    open_with_vips();
    assert_int_equal(fence_check(fence, "dev0"), FENCE_ABSENT);
    assert_done(fence_attach(fence, "dev0"));
    assert_done(fence_check(fence, "dev0"));
    struct fence_hook before = hook("dev0", FENCE_IN);
    assert_int_equal(before.n_ours, 1);
    assert_done(fence_attach(fence, "dev0"));
    struct fence_hook after = hook("dev0", FENCE_IN);
    assert_memory_equal(&before, &after, sizeof(before));
    assert_done(close_fence(false));
    assert_int_equal(hook("dev0", FENCE_IN).n_ours, 1);
    assert_int_equal(hook("dev0", FENCE_OUT).n_ours, 1);

    assert_done(fence_remove_all());
    assert_int_equal(qdisc("dev0"), FENCE_QDISC_NONE);
    assert_done(fence_remove_all());
}

static void what_cannot_be_fenced_is_refused_with_a_reason(void **state)
{
    open_with_vips();
    assert_int_equal(fence_attach(fence, "nothere"), -ENODEV);
    assert_int_equal(fence_check(fence, "nothere"), -ENODEV);
    assert_int_equal(fence_detach(fence, "nothere"), -ENODEV);
    assert_int_equal(fence_attach(fence, "lo"), -EOPNOTSUPP);
    assert_non_null(strstr(fence_error(), "loopback"));
    assert_int_equal(bed_run("tc qdisc add dev dev0 ingress"), 0);
    assert_int_equal(fence_attach(fence, "dev0"), -EBUSY);
    assert_non_null(strstr(fence_error(), "ingress"));
    assert_int_equal(hook("dev0", FENCE_IN).n_ours, 0);
    assert_done(close_fence(true));
    assert_int_equal(qdisc("dev0"), FENCE_QDISC_INGRESS);
}

/* A tun device begins with the IP header; the program for Ethernet would read its addresses at the wrong place. */
static void a_link_without_a_header_gets_its_own_program(void **state)
{
    if (bed_run("ip tuntap add dev tun0 mode tun 2>/dev/null") != 0) {
        print_message("the kernel has no tun device\n");
        skip();
    }
    open_with_vips();
    assert_done(fence_attach(fence, "tun0"));
    assert_int_equal(bed_run("tc filter show dev tun0 ingress | grep -q vipd_in_bare"), 0);
    assert_int_equal(bed_run("tc filter show dev tun0 egress | grep -q vipd_out_bare"), 0);
    assert_done(close_fence(true));
    assert_int_equal(bed_run("ip link del tun0"), 0);
}

static void an_earlier_run_is_replaced_in_its_seat(void **state)
{
    open_with_vips();
    assert_done(fence_attach(fence, "dev0"));
    struct fence_hook before = hook("dev0", FENCE_OUT);
    assert_done(close_fence(false));
    open_with_vips();
    assert_int_equal(fence_check(fence, "dev0"), FENCE_ABSENT); /* that one is not this one */
    assert_done(fence_attach(fence, "dev0"));
    struct fence_hook after = hook("dev0", FENCE_OUT);
    assert_int_equal(after.n_ours, 1);
    assert_int_equal(after.ours[0].handle, before.ours[0].handle);
    assert_int_equal(after.ours[0].priority, before.ours[0].priority);
    assert_int_not_equal(after.ours[0].prog_id, before.ours[0].prog_id);
    assert_done(close_fence(true));
    assert_int_equal(qdisc("dev0"), FENCE_QDISC_NONE); /* the mark that we made it outlived the first run */
}

#define OTHERS_BPF "tc filter add dev dev0 %s prio 1 bpf bytecode '1,6 0 0 4294967295' flowid 1:1"
#define OTHERS_U32 "tc filter add dev dev0 %s prio 1 protocol ip u32 match u32 0 0 flowid 1:1"

static void others_filters_stay_and_come_later(void **state)
{
    assert_int_equal(bed_run("tc qdisc add dev dev0 clsact"), 0);
    assert_int_equal(bed_run(OTHERS_BPF, "ingress"), 0);
    assert_int_equal(bed_run(OTHERS_BPF, "egress"), 0);
    open_with_vips();
    assert_done(fence_attach(fence, "dev0"));
    struct fence_hook now = hook("dev0", FENCE_IN);
    assert_true(now.first);
    assert_int_equal(now.n_others, 1);

    /* One that comes after us and puts itself first is seen, and overtaken by attaching again. */
    assert_int_equal(bed_run(OTHERS_BPF, "egress"), 0);
    assert_int_equal(fence_check(fence, "dev0"), FENCE_BEHIND);
    assert_done(fence_attach(fence, "dev0"));
    assert_int_equal(hook("dev0", FENCE_OUT).n_ours, 1);

    assert_done(fence_detach(fence, "dev0"));
    assert_int_equal(hook("dev0", FENCE_IN).n_ours, 0);
    assert_int_equal(hook("dev0", FENCE_IN).n_others, 1);
    assert_int_equal(hook("dev0", FENCE_OUT).n_others, 2);
    assert_done(close_fence(true));
    assert_int_equal(qdisc("dev0"), FENCE_QDISC_CLSACT);
}

static void a_qdisc_of_others_is_kept_even_when_empty(void **state)
{
    assert_int_equal(bed_run("tc qdisc add dev dev0 clsact"), 0);
    open_with_vips();
    assert_done(fence_attach(fence, "dev0"));
    assert_done(close_fence(true));
    assert_int_equal(hook("dev0", FENCE_IN).n_ours, 0);
    assert_int_equal(qdisc("dev0"), FENCE_QDISC_CLSACT);
}

static void a_qdisc_of_ours_that_others_use_is_kept(void **state)
{
    open_with_vips();
    assert_done(fence_attach(fence, "dev0"));
    assert_int_equal(bed_run("tc filter add dev dev0 egress prio 2 protocol ip u32 match u32 0 0 flowid 1:1"), 0);
    assert_done(close_fence(true));
    assert_int_equal(hook("dev0", FENCE_OUT).n_ours, 0);
    assert_true(hook("dev0", FENCE_OUT).n_others > 0);
    assert_int_equal(qdisc("dev0"), FENCE_QDISC_CLSACT);
}

static void another_kind_of_filter_before_us_is_reported(void **state)
{
    assert_int_equal(bed_run("tc qdisc add dev dev0 clsact"), 0);
    assert_int_equal(bed_run(OTHERS_U32, "ingress"), 0);
    open_with_vips();
    assert_int_equal(fence_attach(fence, "dev0"), FENCE_BEHIND);
    assert_non_null(strstr(fence_error(), "ingress"));
    assert_int_equal(hook("dev0", FENCE_IN).n_ours, 1);
    assert_int_equal(hook("dev0", FENCE_OUT).n_ours, 1);
    assert_int_equal(fence_attach(fence, "dev0"), FENCE_BEHIND);
    assert_int_equal(hook("dev0", FENCE_IN).n_ours, 1);

    /* gone: the next attach moves up, and leaves one of ours */
    assert_int_equal(bed_run("tc filter del dev dev0 ingress prio 1"), 0);
    assert_done(fence_attach(fence, "dev0"));
    assert_int_equal(hook("dev0", FENCE_IN).n_ours, 1);
    assert_done(close_fence(true));
}

static int load_pass_all(void)
{
    struct bpf_insn code[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K}, {.code = BPF_JMP | BPF_EXIT}};
    union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_SCHED_CLS};
    attr.insns = (uint64_t)(uintptr_t)code;
    attr.insn_cnt = COUNT(code);
    attr.license = (uint64_t)(uintptr_t) "unspecified";
    return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}

static void a_tcx_program_before_us_is_reported(void **state)
{
    union bpf_attr attr = {0};
    int program = load_pass_all();
    assert_true(program >= 0);
    attr.link_create.prog_fd = (uint32_t)program;
    attr.link_create.target_fd = if_nametoindex("dev0");
    attr.link_create.attach_type = 46; /* BPF_TCX_INGRESS */
    int link = (int)syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
    (void)close(program);
    if (link < 0) {
        print_message("the kernel has no tcx hook (Linux 6.6)\n");
        skip();
    }
    open_with_vips();
    assert_int_equal(fence_attach(fence, "dev0"), FENCE_BEHIND);
    assert_non_null(strstr(fence_error(), "tcx"));
    (void)close(link);
    assert_done(fence_check(fence, "dev0"));
    assert_done(close_fence(true));
}

static void what_is_missing_is_seen_and_put_back(void **state)
{
    open_with_vips();
    assert_done(fence_attach(fence, "dev0"));
    assert_int_equal(bed_run("tc filter del dev dev0 egress"), 0);
    assert_int_equal(fence_check(fence, "dev0"), FENCE_ABSENT);
    assert_non_null(strstr(fence_error(), "egress"));
    assert_done(fence_attach(fence, "dev0"));

    assert_int_equal(no_link(NULL), 0); /* another interface of the same name is another interface */
    assert_int_equal(fresh_link(NULL), 0);
    assert_int_equal(fence_check(fence, "dev0"), FENCE_ABSENT);
    assert_done(fence_attach(fence, "dev0"));
    assert_done(fence_check(fence, "dev0"));
    assert_done(close_fence(true));
}

static void a_strangers_filter_with_our_handle_is_not_ours(void **state)
{
    assert_int_equal(bed_run("tc qdisc add dev dev0 clsact"), 0);
    assert_int_equal(bed_run("tc filter add dev dev0 ingress prio 1 handle 0x%x bpf bytecode '1,6 0 0 0' flowid 1:1",
                             FENCE_HANDLE_BASE), 0);
    open_with_vips();
    assert_done(fence_attach(fence, "dev0"));
    assert_int_equal(hook("dev0", FENCE_IN).n_ours, 1);
    assert_done(close_fence(true));
    assert_int_equal(hook("dev0", FENCE_IN).n_others, 1);
}

static int no_fence(void **state)
{
    return close_fence(true);
}

static int nothing_left(void **state)
{
    int r = no_fence(state);
    return no_link(state) != 0 ? -1 : r;
}

#define FENCE_TEST(f) cmocka_unit_test_teardown(f, no_fence)
#define LINK_TEST(f) cmocka_unit_test_setup_teardown(f, fresh_link, nothing_left)

int main(void)
{
    const char *reason = bed_missing();
    if (reason) {
        print_message("SKIPPED: the kernel fence on interfaces: %s\n", reason);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        LINK_TEST(attaching_is_idempotent_and_closing_leaves_it_in_force),
        LINK_TEST(what_cannot_be_fenced_is_refused_with_a_reason),
        FENCE_TEST(a_link_without_a_header_gets_its_own_program),
        LINK_TEST(an_earlier_run_is_replaced_in_its_seat),
        LINK_TEST(others_filters_stay_and_come_later),
        LINK_TEST(a_qdisc_of_others_is_kept_even_when_empty),
        LINK_TEST(a_qdisc_of_ours_that_others_use_is_kept),
        LINK_TEST(another_kind_of_filter_before_us_is_reported),
        LINK_TEST(a_tcx_program_before_us_is_reported),
        LINK_TEST(what_is_missing_is_seen_and_put_back),
        LINK_TEST(a_strangers_filter_with_our_handle_is_not_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
