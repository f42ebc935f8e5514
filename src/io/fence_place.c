/* Where the fence stands: the tc hooks of interfaces. */

#include "io/fence_private.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* enum bpf_attach_type of Linux 6.6, younger than the headers that this is built with. */
#define TCX_INGRESS ((enum bpf_attach_type)46)
#define TCX_EGRESS ((enum bpf_attach_type)47)

struct place
{
    const char *dev;
    int ifindex;
    bool bare;
};

static int find_place(const char *dev, struct place *ret)
{
    unsigned ifindex = if_nametoindex(dev);
    if (ifindex == 0) {
        return fence_fail(-ENODEV, "%s: no such interface", dev);
    }
    *ret = (struct place){.dev = dev, .ifindex = (int)ifindex};
    return 0;
}

/* Which program fits: by whether a frame begins with an Ethernet header. */
static int find_kind(struct place *place)
{
    struct ifreq request = {0};
    (void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", place->dev);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int r = fd < 0 || ioctl(fd, SIOCGIFHWADDR, &request) != 0 ? -errno : 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (r < 0) {
        return fence_fail(r, "%s: cannot read its link type: %s", place->dev, strerror(-r));
    }
    switch (request.ifr_hwaddr.sa_family) {
    case ARPHRD_ETHER:
        place->bare = false;
        return 0;
    case ARPHRD_NONE:
    case ARPHRD_PPP:
    case ARPHRD_RAWIP:
    case ARPHRD_SIT:
    case ARPHRD_TUNNEL:
    case ARPHRD_TUNNEL6:
        place->bare = true;
        return 0;
    case ARPHRD_LOOPBACK:
        return fence_fail(-EOPNOTSUPP, "%s: a loopback interface reaches no other host and is not fenced", place->dev);
    default:
        return fence_fail(-EOPNOTSUPP, "%s: the kernel fence does not know its link type %u", place->dev,
                    (unsigned)request.ifr_hwaddr.sa_family);
    }
}

static struct bpf_tc_hook tc_hook(const struct place *place, unsigned sides)
{
    return (struct bpf_tc_hook){
        .sz = sizeof(struct bpf_tc_hook), .ifindex = place->ifindex, .attach_point = (enum bpf_tc_attach_point)sides};
}

static struct bpf_tc_hook tc_hook_of(const struct place *place, enum fence_side side)
{
    return tc_hook(place, side == FENCE_IN ? BPF_TC_INGRESS : BPF_TC_EGRESS);
}

static int tc_failed(int r, const struct place *place, const char *what)
{
    return fence_fail(r, "%s: cannot %s: %s (%s)", place->dev, what, strerror(-r), fence_libbpf_text());
}

static int read_hooks(const struct place *place, struct fence_hook ret[FENCE_SIDES_N])
{
    int r = fence_hook_read(place->ifindex, FENCE_IN, &ret[FENCE_IN]);
    r = r ? r : fence_hook_read(place->ifindex, FENCE_OUT, &ret[FENCE_OUT]);
    return r ? fence_fail(r, "%s: cannot read its tc filters: %s", place->dev, strerror(-r)) : 0;
}

static bool made_by_us(const struct fence_hook hooks[FENCE_SIDES_N])
{
    for (unsigned side = 0; side < FENCE_SIDES_N; side++) {
        for (unsigned i = 0; i < hooks[side].n_ours; i++) {
            if (hooks[side].ours[i].handle & FENCE_HANDLE_MADE) {
                return true;
            }
        }
    }
    return false;
}

static int ensure_qdisc(const struct place *place, bool *ret_made)
{
    enum fence_qdisc qdisc;
    int r = fence_qdisc_read(place->ifindex, &qdisc);
    if (r == 0 && qdisc == FENCE_QDISC_NONE) {
        struct bpf_tc_hook hook = tc_hook(place, BPF_TC_INGRESS | BPF_TC_EGRESS);
        r = bpf_tc_hook_create(&hook);
        if (r == 0) {
            *ret_made = true;
            return 0;
        }
        /* somebody was quicker: look again at what he made */
        r = r == -EEXIST ? fence_qdisc_read(place->ifindex, &qdisc) : r;
    }
    if (r < 0) {
        return tc_failed(r, place, "make its clsact qdisc");
    }
    /* The older qdisc would take an egress filter too, and run it on the way in. */
    if (qdisc != FENCE_QDISC_CLSACT) {
        return fence_fail(-EBUSY,
                          "%s: another program's `ingress` qdisc is in the way: it has no egress side, and a clsact "
                          "qdisc, which has both, cannot stand beside it", place->dev);
    }
    return 0;
}

static int take_seat(const struct fence *fence, const struct place *place, enum fence_side side,
                     const struct fence_seat *seat, uint32_t flags)
{
    struct bpf_tc_hook hook = tc_hook_of(place, side);
    struct bpf_tc_opts opts = {.sz = sizeof(opts), .prog_fd = fence->prog_fd[place->bare][side], .flags = flags,
                               .handle = seat->handle, .priority = seat->priority};
    int r = bpf_tc_attach(&hook, &opts);
    if (r < 0) {
        return tc_failed(r, place, "attach the kernel fence");
    }
    return 0;
}

static int leave_seat(const struct place *place, enum fence_side side, const struct fence_seat *seat)
{
    struct bpf_tc_hook hook = tc_hook_of(place, side);
    struct bpf_tc_opts opts = {.sz = sizeof(opts), .handle = seat->handle, .priority = seat->priority};
    int r = bpf_tc_detach(&hook, &opts);
    if (r < 0 && r != -ENOENT) {
        return tc_failed(r, place, "detach the kernel fence");
    }
    return 0;
}

/* The lowest priority where nothing stands or only filters like ours; among those the newest is asked first. */
static int choose_seat(const struct place *place, const struct fence_hook *hook, bool made, struct fence_seat *ret)
{
    unsigned seat = 0, priority = 1;
    while (seat < FENCE_SEATS_MAX && (hook->seats_taken & 1u << seat)) {
        seat++;
    }
    while (priority <= FENCE_PRIORITIES_MAX && (hook->priorities_taken & 1u << (priority - 1))) {
        priority++;
    }
    if (seat == FENCE_SEATS_MAX || priority > FENCE_PRIORITIES_MAX) {
        return fence_fail(-ENOSPC, "%s: others' tc filters take the first %d priorities", place->dev,
                          FENCE_PRIORITIES_MAX);
    }
    *ret = (struct fence_seat){.handle = fence_hook_handle(seat, made), .priority = (uint16_t)priority};
    return 0;
}

/* Gapless either way: an earlier program that is asked first is replaced in its seat, which the kernel does in one step
 * for every packet; one that is not gets a successor before it, and leaves when that is in force. */
static int attach_side(const struct fence *fence, const struct place *place, enum fence_side side,
                       const struct fence_hook *hook, bool made)
{
    struct fence_seat seat = {0};
    unsigned stale = 0; /* ours[stale..] leave */
    int r = 0;
    if (hook->n_ours > 0 && hook->first) {
        stale = 1;
        seat = hook->ours[0];
        if (seat.prog_id != fence->prog_id[place->bare][side]) {
            r = take_seat(fence, place, side, &seat, BPF_TC_F_REPLACE);
        }
    } else {
        r = choose_seat(place, hook, made, &seat);
        r = r ? r : take_seat(fence, place, side, &seat, 0);
    }
    for (unsigned i = stale; r == 0 && i < hook->n_ours; i++) {
        r = leave_seat(place, side, &hook->ours[i]);
    }
    return r;
}

/* Programs of this newer kind of hook run before all tc filters. An older kernel knows none and says -EINVAL. */
static unsigned count_tcx(const struct place *place)
{
    unsigned total = 0;
    static const enum bpf_attach_type types[FENCE_SIDES_N] = {TCX_INGRESS, TCX_EGRESS};
    for (unsigned side = 0; side < FENCE_SIDES_N; side++) {
        uint32_t n = 0;
        if (bpf_prog_query(place->ifindex, types[side], 0, NULL, NULL, &n) == 0) {
            total += n;
        }
    }
    return total;
}

/* fence: whose programs they have to be; NULL = any run's. */
static int judge(const struct fence *fence, const struct place *place)
{
    struct fence_hook hooks[FENCE_SIDES_N];
    int r = read_hooks(place, hooks);
    if (r < 0) {
        return r;
    }
    for (unsigned side = 0; side < FENCE_SIDES_N; side++) {
        if (hooks[side].n_ours == 0 ||
            (fence && hooks[side].ours[0].prog_id != fence->prog_id[place->bare][side])) {
            return fence_fail(FENCE_ABSENT, "%s: the kernel fence is not at its %s", place->dev,
                        side == FENCE_IN ? "ingress" : "egress");
        }
    }
    if (!hooks[FENCE_IN].first || !hooks[FENCE_OUT].first) {
        return fence_fail(FENCE_BEHIND, "%s: another program's tc filter is asked before the kernel fence (%s)",
                          place->dev, hooks[FENCE_IN].first ? "egress" : "ingress");
    }
    if (count_tcx(place) > 0) {
        return fence_fail(FENCE_BEHIND, "%s: a tcx program of another is asked before the kernel fence", place->dev);
    }
    return 0;
}

int fence_attach(struct fence *fence, const char *dev)
{
    struct place place;
    struct fence_hook hooks[FENCE_SIDES_N];
    bool made = false;
    if (!fence->vips_set) {
        return fence_fail(-EINVAL, "%s: set the VIPs first: an empty fence must not replace an earlier run's", dev);
    }
    fence_libbpf_listen();
    int r = find_place(dev, &place);
    r = r ? r : find_kind(&place);
    r = r ? r : ensure_qdisc(&place, &made);
    r = r ? r : read_hooks(&place, hooks);
    made = r == 0 && (made || made_by_us(hooks));
    r = r ? r : attach_side(fence, &place, FENCE_IN, &hooks[FENCE_IN], made);
    r = r ? r : attach_side(fence, &place, FENCE_OUT, &hooks[FENCE_OUT], made);
    return r ? r : judge(fence, &place);
}

int fence_check_any(const char *dev)
{
    struct place place;
    int r = find_place(dev, &place);
    r = r ? r : find_kind(&place);
    return r ? r : judge(NULL, &place);
}

int fence_check(const struct fence *fence, const char *dev)
{
    struct place place;
    int r = find_place(dev, &place);
    r = r ? r : find_kind(&place);
    return r ? r : judge(fence, &place);
}

static int detach(const struct place *place)
{
    struct fence_hook hooks[FENCE_SIDES_N];
    fence_libbpf_listen();
    int r = read_hooks(place, hooks);
    if (r < 0) {
        return r;
    }
    for (unsigned side = 0; side < FENCE_SIDES_N; side++) {
        for (unsigned i = 0; r == 0 && i < hooks[side].n_ours; i++) {
            r = leave_seat(place, side, &hooks[side].ours[i]);
        }
    }
    if (r == 0 && made_by_us(hooks) && hooks[FENCE_IN].n_others == 0 && hooks[FENCE_OUT].n_others == 0) {
        struct bpf_tc_hook hook = tc_hook(place, BPF_TC_INGRESS | BPF_TC_EGRESS);
        r = bpf_tc_hook_destroy(&hook);
        if (r < 0 && r != -ENOENT) {
            return tc_failed(r, place, "remove its clsact qdisc");
        }
        r = 0;
    }
    return r;
}

int fence_detach(struct fence *fence, const char *dev)
{
    struct place place;
    int r = find_place(dev, &place);
    return r ? r : detach(&place);
}

/* Goes on after a failure, and returns the first. */
int fence_place_remove_everywhere(void)
{
    struct if_nameindex *links = if_nameindex();
    if (!links) {
        return fence_fail(-errno, "cannot list the interfaces: %s", strerror(errno));
    }
    int first = 0;
    for (const struct if_nameindex *link = links; link->if_index != 0; link++) {
        int r = detach(&(struct place){.dev = link->if_name, .ifindex = (int)link->if_index});
        first = first ? first : r;
    }
    if_freenameindex(links);
    return first;
}
