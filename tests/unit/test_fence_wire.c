/* io/fence on real interfaces: a node and a client in namespaces, joined by a veth pair. The node's kernel answers ARP,
 * neighbour solicitations and pings for its VIPs; the witness is the client's packet socket. Needs root. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "fence_bed.h"
#include "fence_frame.h"
#include "fence_witness.h"
#include "io/fence.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int node, client; /* namespaces */
static struct fence *fence;
static pid_t daemon_pid; /* the child that plays the daemon */

static int set_vips(struct fence *of)
{
    static const char *const texts[] = {VIP4, MOVED4, VIP6, MOVED6};
    struct addr vips[COUNT(texts)];
    for (size_t i = 0; i < COUNT(texts); i++) {
        if (addr_parse(texts[i], &vips[i]) != 0) {
            return -EINVAL;
        }
    }
    return fence_vips_replace(of, vips, COUNT(vips));
}

static int open_attached(struct fence **ret)
{
    int r = fence_open(ret);
    r = r ? r : set_vips(*ret);
    return r ? r : fence_attach(*ret, "node0");
}

/* ------------------------------------------------------------------------------------------------------------- bed */

static int make_bed(void **state)
{
    client = bed_new_namespace();
    node = bed_new_namespace();
    if (node < 0 || client < 0) {
        return -1;
    }
    int r = bed_run("ip link add node0 address 02:00:00:00:00:01 type veth "
                    "peer name client0 address 02:00:00:00:00:09 netns /proc/%d/fd/%d", getpid(), client);
    r = r ? r : bed_run("ip link set node0 up && ip addr add " NODE4 "/24 dev node0 &&"
                        "ip addr add " VIP4 "/24 dev node0 && ip addr add " NODE6 "/64 dev node0 nodad &&"
                        "ip addr add " VIP6 "/64 dev node0 nodad && ip link set lo up");
    bed_enter(client);
    r = r ? r : bed_run("ip link set client0 up && ip addr add " CLIENT4 "/24 dev client0 &&"
                        "ip addr add " MOVED4 "/24 dev client0 && ip addr add " CLIENT6 "/64 dev client0 nodad &&"
                        "ip addr add " MOVED6 "/64 dev client0 nodad");
    bed_enter(node);
    return r ? -1 : 0;
}

static void end_daemon(void)
{
    int status;
    if (daemon_pid > 0 && kill(daemon_pid, SIGKILL) == 0) {
        (void)waitpid(daemon_pid, &status, 0);
    }
    daemon_pid = 0;
}

/* The namespaces and what is in them end with their last descriptor. */
static int clear_bed(void **state)
{
    end_daemon();
    (void)fence_close(fence, false);
    fence = NULL;
    (void)close(node);
    (void)close(client);
    return 0;
}

/* Asks until each kind of question has had so many answers. */
static void assert_answered(int fd, bool vip, unsigned times)
{
    struct tally tally = {0};
    uint64_t deadline = bed_now() + BED_PATIENCE_NS;
    while (!all_answered(&tally, times)) {
        ask_round(fd, vip, &tally);
        if (bed_now() > deadline) {
            for (enum question q = 0; q < QUESTIONS_N; q++) {
                print_message("%s: asked %u, answered %u\n", QUESTION_NAMES[q], tally.asked[q], tally.answered[q]);
            }
            fail_msg("questions about the %s stay without answer", vip ? "VIPs" : "node's own addresses");
        }
    }
}

/* Questions about the VIPs among questions about the node's own addresses, which prove that the node works: once those
 * have been answered many times, none of the others may have been. */
static void assert_silent(int fd)
{
    struct tally vips = {0}, own = {0};
    uint64_t deadline = bed_now() + BED_PATIENCE_NS;
    while (!all_answered(&own, 20)) {
        struct arrival frame;
        for (enum question q = 0; q < QUESTIONS_N; q++) {
            struct frame_spec first = question(q, true), second = question(q, false);
            send_frame(fd, &first);
            send_frame(fd, &second);
        }
        (void)wait_readable(fd, 1);
        while (receive(fd, &frame)) {
            for (enum question q = 0; q < QUESTIONS_N; q++) {
                vips.answered[q] += answers(&frame, q, true);
                own.answered[q] += answers(&frame, q, false);
            }
        }
        assert_true(bed_now() < deadline);
    }
    for (enum question q = 0; q < QUESTIONS_N; q++) {
        if (vips.answered[q] > 0) {
            fail_msg("%s for a VIP answered %u times without a lease", QUESTION_NAMES[q], vips.answered[q]);
        }
    }
}

static int client_socket(void)
{
    bed_enter(client);
    int fd = packet_socket("client0", ETH_P_ALL);
    bed_enter(node);
    return fd;
}

static void a_lease_lets_vips_answer_and_its_end_silences_them_alone(void **state)
{
    int fd = client_socket();
    assert_answered(fd, true, 3); /* the bed itself works */
    assert_done(open_attached(&fence));
    assert_silent(fd);
    fence_set_lease(fence, UINT64_MAX);
    assert_answered(fd, true, 20);
    fence_set_lease(fence, bed_now());
    assert_silent(fd);
    assert_done(fence_close(fence, true));
    fence = NULL;
    assert_answered(fd, true, 3);
    (void)close(fd);
}

/* The node, without a lease, as a client of a VIP that has moved: nothing of that is its announcement. */
static void a_node_without_lease_can_talk_to_the_new_owner(void **state)
{
    assert_done(open_attached(&fence));
    assert_int_equal(bed_run("ping -q -c 3 -i 0.01 -W 5 -I " NODE4 " " MOVED4 " >/dev/null"), 0);
    assert_int_equal(bed_run("ping -q -c 3 -i 0.01 -W 5 -I " NODE6 " " MOVED6 " >/dev/null"), 0);
    assert_int_equal(bed_run("ping -q -c 1 " VIP4 " >/dev/null"), 0); /* itself: by the loopback */
    assert_int_not_equal(bed_run("ping -q -c 1 -W 0.1 -I " VIP4 " " CLIENT4 " >/dev/null"), 0);
    fence_set_lease(fence, UINT64_MAX);
    assert_int_equal(bed_run("ping -q -c 3 -i 0.01 -W 5 -I " VIP4 " " CLIENT4 " >/dev/null"), 0);
}

/* -------------------------------------------------------------------------------------- the daemon's last moments */

#define RENEW_LEASE_NS (1500 * BED_MS) /* the test itself may be kept from its CPU for a while */
#define RENEW_EVERY_MS 10
/* The kernel stamps the answer when the client's end of the pair gets it, microseconds after the fence let it go; the
 * rest is for a machine that is stolen from a virtual one just then. */
#define TOLERANCE_NS (20 * BED_MS)

struct promise
{
    _Atomic uint64_t lease_end; /* stored before the fence gets it: no lease is later than this */
    _Atomic int error;
};

/* A daemon whose only work is to renew its lease. */
static void renew_for_ever(struct promise *promise)
{
    struct fence *own = NULL;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    bed_enter(node);
    int r = open_attached(&own);
    if (r != 0) {
        promise->error = r;
        _exit(1);
    }
    for (;;) {
        uint64_t end = bed_now() + RENEW_LEASE_NS;
        promise->lease_end = end;
        fence_set_lease(own, end);
        (void)poll(NULL, 0, RENEW_EVERY_MS);
    }
}

static void assert_silent_after(const struct tally *tally, uint64_t lease_end)
{
    for (enum question q = 0; q < QUESTIONS_N; q++) {
        int64_t late = (int64_t)(tally->last_answer[q] - lease_end);
        print_message("    %-10s last answer %+8.3f ms from the lease's end, %u answers to %u questions\n",
                      QUESTION_NAMES[q], (double)late / 1e6, tally->answered[q], tally->asked[q]);
        assert_true(late <= (int64_t)TOLERANCE_NS);
        assert_true(late >= -(int64_t)RENEW_LEASE_NS); /* it answered when the daemon had already been stopped */
    }
}

static void silenced_by(int signal_number)
{
    struct promise *promise =
        mmap(NULL, sizeof(*promise), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(promise, MAP_FAILED);
    int fd = client_socket(), status;
    struct tally tally = {0};
    daemon_pid = fork();
    if (daemon_pid == 0) {
        renew_for_ever(promise);
    }
    uint64_t patience = bed_now() + BED_PATIENCE_NS;
    while (promise->lease_end == 0 && promise->error == 0 && bed_now() < patience) {
        ask_round(fd, true, &tally);
    }
    assert_int_equal(promise->error, 0);
    while (!all_answered(&tally, 50) && bed_now() < patience) {
        ask_round(fd, true, &tally);
    }
    assert_true(all_answered(&tally, 50));

    assert_int_equal(kill(daemon_pid, signal_number), 0);
    assert_int_equal(waitpid(daemon_pid, &status, WUNTRACED), daemon_pid);
    uint64_t end = promise->lease_end, stopped = bed_now();
    assert_true(stopped < end); /* there is a lease left to run out */
    while (bed_now() < end + RENEW_LEASE_NS) {
        ask_round(fd, true, &tally);
    }
    assert_silent_after(&tally, end);
    assert_silent(fd);
    assert_int_equal(bed_run("ip -o addr show dev node0 | grep -q " VIP4), 0); /* the address is still there */

    if (WIFSTOPPED(status)) {
        end_daemon();
    }
    daemon_pid = 0;
    assert_silent(fd);
    assert_done(open_attached(&fence)); /* the next run takes over */
    assert_silent(fd);
    fence_set_lease(fence, UINT64_MAX);
    assert_answered(fd, true, 3);
    (void)close(fd);
    (void)munmap(promise, sizeof(*promise));
}

static void a_stopped_daemon_falls_silent_at_its_leases_end(void **state)
{
    silenced_by(SIGSTOP);
}

static void a_killed_daemon_falls_silent_at_its_leases_end(void **state)
{
    silenced_by(SIGKILL);
}

/* ----------------------------------------------------------------------------------------------------- a new run */

static void send_from_client(int fd, struct frame_spec spec)
{
    memcpy(spec.source_mac, CLIENT_MAC, 6);
    memcpy(spec.target_mac, BROADCAST, 6);
    send_frame(fd, &spec);
}

static void send_from_node(int fd, struct frame_spec spec)
{
    memcpy(spec.source_mac, NODE_MAC, 6);
    memcpy(spec.target_mac, BROADCAST, 6);
    send_frame(fd, &spec);
}

/* Requests that come in and announcements that go out, watched apart: with one side open for a moment and the other
 * shut, no answer would tell. */
struct flood
{
    int client_fd, node_fd;
    int node_arp_fd; /* sees the ARP that tc ingress let pass */
    _Atomic bool stop;
    _Atomic unsigned sent, came_in, went_out;
};

static void flood_count(struct flood *flood)
{
    struct arrival frame;
    while (receive(flood->node_arp_fd, &frame)) {
        flood->came_in += addr_is(&frame, 38, AF_INET, VIP4);
    }
    while (receive(flood->client_fd, &frame)) {
        flood->went_out += bytes_are(&frame, 12, "\x08\x06", 2) && addr_is(&frame, 28, AF_INET, VIP4);
    }
}

/* Not cmocka's thread: it counts, and the other judges. */
static void *flood_run(void *context)
{
    struct flood *flood = context;
    while (!flood->stop) {
        send_from_client(flood->client_fd, (struct frame_spec)SPEC(FRAME_ARP_REQUEST, CLIENT4, VIP4));
        send_from_node(flood->node_fd, (struct frame_spec)SPEC(FRAME_ARP_REPLY, VIP4, VIP4));
        flood->sent++;
        flood_count(flood);
    }
    return NULL;
}

static bool flood_passes(_Atomic unsigned *counter, unsigned more)
{
    unsigned from = *counter;
    uint64_t deadline = bed_now() + BED_PATIENCE_NS;
    while (*counter - from < more && bed_now() < deadline) {
        (void)sched_yield();
    }
    return *counter - from >= more;
}

#define REPLACEMENTS 100

static int replace_many_times(struct flood *flood)
{
    for (unsigned i = 0; i < REPLACEMENTS; i++) {
        int r = fence_close(fence, false);
        fence = NULL;
        r = r ? r : open_attached(&fence);
        if (r != 0 || !flood_passes(&flood->sent, 10)) {
            return r ? r : -ETIME;
        }
    }
    return 0;
}

static void a_new_run_replaces_the_old_without_a_gap(void **state)
{
    struct flood flood = {.client_fd = client_socket(), .node_fd = packet_socket("node0", ETH_P_ALL),
                          .node_arp_fd = packet_socket("node0", ETH_P_ARP)};
    pthread_t thread;
    assert_done(open_attached(&fence));
    assert_int_equal(pthread_create(&thread, NULL, flood_run, &flood), 0);
    int r = flood_passes(&flood.sent, 100) ? replace_many_times(&flood) : -ETIME;
    unsigned sent = flood.sent, came_in = flood.came_in, went_out = flood.went_out;
    fence_set_lease(fence, r == 0 ? UINT64_MAX : 0);
    bool noticed = r == 0 && flood_passes(&flood.came_in, 100) && flood_passes(&flood.went_out, 100);
    flood.stop = true;
    assert_int_equal(pthread_join(thread, NULL), 0);
    (void)close(flood.client_fd);
    (void)close(flood.node_fd);
    (void)close(flood.node_arp_fd);
    assert_int_equal(r, 0);
    print_message("    %d replacements under %u frames each way: %u came in, %u went out\n", REPLACEMENTS, sent,
                  came_in, went_out);
    assert_int_equal(came_in, 0);
    assert_int_equal(went_out, 0);
    assert_true(noticed); /* with a lease the flood passes: it would have told */
}

/* --------------------------------------------------------------------------------------------- what others announce */

/* The sender's address of the next ARP frame that arrives. */
static const char *next_arp(int fd, char text[INET_ADDRSTRLEN])
{
    struct arrival frame;
    uint64_t deadline = bed_now() + BED_PATIENCE_NS;
    while (bed_now() < deadline) {
        if (receive(fd, &frame) && bytes_are(&frame, 12, "\x08\x06", 2) && frame.len >= 42) {
            return inet_ntop(AF_INET, frame.bytes + 28, text, INET_ADDRSTRLEN);
        }
        (void)wait_readable(fd, 10);
    }
    return "nothing arrived";
}

/* Frames keep their order, so the frame that follows a dropped one tells that it was dropped, without waiting. */
static void others_announcements_come_in_and_requests_do_not(void **state)
{
    char text[INET_ADDRSTRLEN];
    int out = client_socket(), in = packet_socket("node0", ETH_P_ARP);
    assert_done(open_attached(&fence));
    for (unsigned n_tags = 0; n_tags <= 2; n_tags++) {
        bool seen_inside = n_tags < 2; /* the kernel leaves the second tag in the frame, which is then no ARP to it */
        fence_set_lease(fence, 0);
        struct fence_stats before, after;
        assert_done(fence_stats(fence, &before));
        send_from_client(out, (struct frame_spec)SPEC(FRAME_ARP_REQUEST, CLIENT4, VIP4, .n_tags = n_tags));
        send_from_client(out, (struct frame_spec)SPEC(FRAME_ARP_REQUEST, "10.9.0.201", "10.9.0.77"));
        assert_string_equal(next_arp(in, text), "10.9.0.201");
        assert_done(fence_stats(fence, &after));
        assert_int_equal(after.arp_in, before.arp_in + 1);
        send_from_client(out, (struct frame_spec)SPEC(FRAME_ARP_REQUEST, MOVED4, MOVED4, .n_tags = n_tags));
        send_from_client(out, (struct frame_spec)SPEC(FRAME_ARP_REPLY, MOVED4, MOVED4, .n_tags = n_tags));
        send_from_client(out, (struct frame_spec)SPEC(FRAME_ARP_REQUEST, "10.9.0.202", "10.9.0.77"));
        if (seen_inside) {
            assert_string_equal(next_arp(in, text), MOVED4);
            assert_string_equal(next_arp(in, text), MOVED4);
        }
        assert_string_equal(next_arp(in, text), "10.9.0.202");
        fence_set_lease(fence, UINT64_MAX);
        send_from_client(out, (struct frame_spec)SPEC(FRAME_ARP_REQUEST, CLIENT4, VIP4, .n_tags = n_tags));
        send_from_client(out, (struct frame_spec)SPEC(FRAME_ARP_REQUEST, "10.9.0.203", "10.9.0.77"));
        if (seen_inside) {
            assert_string_equal(next_arp(in, text), CLIENT4);
        }
        assert_string_equal(next_arp(in, text), "10.9.0.203");
        assert_done(fence_stats(fence, &before));
        assert_int_equal(after.arp_in, before.arp_in);
    }
    (void)close(in);
    (void)close(out);
}

/* Sender of the next ARP frame behind n_tags tags that arrives. */
static const char *next_tagged_arp(int fd, unsigned n_tags, char text[INET_ADDRSTRLEN])
{
    struct arrival frame;
    uint64_t deadline = bed_now() + BED_PATIENCE_NS;
    size_t inside = n_tags > 0 ? n_tags - 1 : 0; /* the outermost one is in the metadata when it arrives */
    while (bed_now() < deadline) {
        if (receive(fd, &frame) && bytes_are(&frame, 12 + 4 * inside, "\x08\x06", 2) && frame.len >= 42 + 4 * inside) {
            return inet_ntop(AF_INET, frame.bytes + 28 + 4 * inside, text, INET_ADDRSTRLEN);
        }
        (void)wait_readable(fd, 10);
    }
    return "nothing arrived";
}

static void announcements_do_not_leave_tagged_or_not(void **state)
{
    char text[INET_ADDRSTRLEN];
    int in = client_socket(), out = packet_socket("node0", ETH_P_ALL);
    assert_done(open_attached(&fence));
    for (unsigned n_tags = 0; n_tags <= 2; n_tags++) {
        fence_set_lease(fence, 0);
        send_from_node(out, (struct frame_spec)SPEC(FRAME_ARP_REPLY, VIP4, VIP4, .n_tags = n_tags));
        send_from_node(out, (struct frame_spec)SPEC(FRAME_ARP_REQUEST, VIP4, VIP4, .n_tags = n_tags));
        send_from_node(out, (struct frame_spec)SPEC(FRAME_ARP_REPLY, NODE4, NODE4, .n_tags = n_tags));
        assert_string_equal(next_tagged_arp(in, n_tags, text), NODE4);
        fence_set_lease(fence, UINT64_MAX);
        send_from_node(out, (struct frame_spec)SPEC(FRAME_ARP_REPLY, VIP4, VIP4, .n_tags = n_tags));
        assert_string_equal(next_tagged_arp(in, n_tags, text), VIP4);
    }
    (void)close(in);
    (void)close(out);
}

/* A bridge passes a tagged frame on with the tag in the metadata, where the frame on its way out does not show it. */
static void a_tag_in_the_metadata_hides_nothing_on_the_way_out(void **state)
{
    char text[INET_ADDRSTRLEN];
    if (bed_run("ip link add br0 type bridge forward_delay 0 2>/dev/null") != 0) {
        print_message("the kernel has no bridge\n");
        skip();
    }
    assert_int_equal(bed_run("ip link add node1 type veth peer name client1 netns /proc/%d/fd/%d", getpid(), client),
                     0);
    bed_enter(client);
    assert_int_equal(bed_run("ip link set client1 up"), 0);
    bed_enter(node);
    assert_int_equal(bed_run("ip link set node0 master br0 && ip link set node1 master br0 && ip link set node1 up &&"
                             "ip link set br0 up"), 0);
    assert_done(fence_open(&fence));
    assert_done(set_vips(fence));
    assert_done(fence_attach(fence, "node1"));
    int out = client_socket();
    bed_enter(client);
    int in = packet_socket("client1", ETH_P_ALL);
    bed_enter(node);
    for (unsigned n_tags = 1; n_tags <= 2; n_tags++) {
        fence_set_lease(fence, UINT64_MAX);
        send_from_client(out, (struct frame_spec)SPEC(FRAME_ARP_REPLY, VIP4, VIP4, .n_tags = n_tags));
        assert_string_equal(next_tagged_arp(in, n_tags, text), VIP4);
        fence_set_lease(fence, 0);
        send_from_client(out, (struct frame_spec)SPEC(FRAME_ARP_REPLY, VIP4, VIP4, .n_tags = n_tags));
        send_from_client(out, (struct frame_spec)SPEC(FRAME_ARP_REPLY, "10.9.0.204", CLIENT4, .n_tags = n_tags));
        assert_string_equal(next_tagged_arp(in, n_tags, text), "10.9.0.204");
    }
    (void)close(in);
    (void)close(out);
}

/* Another's filter that accepts everything, and ends the search with that, must not open the gate. */
static void anothers_filter_does_not_open_the_gate(void **state)
{
    int fd = client_socket();
    static const char *const sides[] = {"ingress", "egress"};
    assert_int_equal(bed_run("tc qdisc add dev node0 clsact"), 0);
    for (size_t i = 0; i < COUNT(sides); i++) {
        assert_int_equal(bed_run("tc filter add dev node0 %s prio 1 bpf bytecode '1,6 0 0 4294967295' flowid 1:1",
                                 sides[i]), 0);
    }
    assert_done(open_attached(&fence));
    assert_silent(fd);
    fence_set_lease(fence, UINT64_MAX);
    assert_answered(fd, true, 3);
    (void)close(fd);
}

#define WIRE_TEST(f) cmocka_unit_test_setup_teardown(f, make_bed, clear_bed)

int main(void)
{
    const char *reason = bed_missing();
    if (reason) {
        print_message("SKIPPED: the kernel fence on the wire: %s\n", reason);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        WIRE_TEST(a_lease_lets_vips_answer_and_its_end_silences_them_alone),
        WIRE_TEST(a_node_without_lease_can_talk_to_the_new_owner),
        WIRE_TEST(a_stopped_daemon_falls_silent_at_its_leases_end),
        WIRE_TEST(a_killed_daemon_falls_silent_at_its_leases_end),
        WIRE_TEST(a_new_run_replaces_the_old_without_a_gap),
        WIRE_TEST(others_announcements_come_in_and_requests_do_not),
        WIRE_TEST(announcements_do_not_leave_tagged_or_not),
        WIRE_TEST(a_tag_in_the_metadata_hides_nothing_on_the_way_out),
        WIRE_TEST(anothers_filter_does_not_open_the_gate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
