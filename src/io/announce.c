#include "io/announce.h"

/* One AF_PACKET socket that never receives, one timer, one heap of VIPs by the time of their next announcement.
 *
 * Happy path: start sends the first announcement at once and puts the VIP into the heap; the timer, which stands at the
 * earliest time of the heap, takes what is due, at most VIPS_PER_TURN, and sends it with one system call for each
 * BATCH. After the burst a VIP comes up once in refresh_ms: at rest 10,000 VIPs cost 10,000 heap steps a
 * refresh and nothing between. What goes out first, for a VIP that came or on an interface that came back, goes as soon
 * as it can and before all else; repeats are paced, for they are broadcasts that every host of the link has to take in,
 * and those of 10,000 VIPs at once would crowd out the heartbeats on the way. While first ones still come, repeats go more
 * slowly: the time is for the VIPs that nobody has heard of yet.
 *
 * Failure modes, none of which ends anything: the interface is gone or down, or the queue is full: counted, logged, and
 * the announcement is due again after the interval, or RETRY_MS. may says no: likewise, without a log line, for the one
 * who says no knows why. The interface was recreated: index and hardware address are looked up
 * once in a turn, so what is sent is never older than that. */

#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "wire/arp_nd.h"

#define VIPS_PER_TURN 256
#define TURN_MS 8 /* of repeats; the next ones go so much later */
#define FIRSTS_MS 100 /* so long after a first announcement more of them are expected */
#define AT_ONCE 0 /* a due time before all others: the first of a burst */
#define BATCH 32 /* announcements of one system call, of two frames at most */
#define REFUSED 1
#define RETRY_MS 1000 /* at the least, after an interface failed: it comes back with announce_again */
#define DEVS_PER_TURN 16
#define SEND_BUFFER (4 * 1024 * 1024)
_Static_assert(VIPS_MAX < UINT16_MAX, "a place in the heap fits");

struct vip_entry
{
    bool active, queued;
    uint16_t position; /* in the heap, if it is queued */
    uint16_t left;     /* of the burst */
    char dev[DEV_SIZE];
    struct addr addr;
    struct announce_burst burst;
    uint64_t due_ms; /* loop time, or AT_ONCE */
};

/* An interface as it is in this turn. */
struct device
{
    char name[DEV_SIZE];
    int ifindex;
    bool ethernet;
    bool router, router_known; /* read for IPv6 alone */
    uint8_t mac[ARP_ND_MAC_SIZE];
    int err; /* of the look-up */
};

/* The announcements of one system call. */
struct batch
{
    struct
    {
        uint16_t key;
        int frames; /* 0: nothing to send */
        int err;    /* the outcome: 0, -errno, or REFUSED */
    } items[BATCH];
    int n;
    uint8_t frames[BATCH * 2][ARP_ND_FRAME_MAX];
    struct sockaddr_ll to[BATCH * 2];
    struct iovec iov[BATCH * 2];
    struct mmsghdr messages[BATCH * 2];
    int item_of[BATCH * 2]; /* message -> item */
    int messages_n;
};

struct announce
{
    uv_timer_t timer;
    uv_loop_t *loop;
    int fd;
    struct announce_ops ops;
    void *ud;
    struct announce_stats stats;
    struct vip_entry *vips;        /* VIPS_MAX */
    uint16_t heap[VIPS_MAX];       /* keys, by due_ms */
    int heap_n;
    uint64_t repeats_from_ms; /* loop time; no repeat before */
    uint64_t firsts_until_ms; /* loop time; more of them are expected */
    struct device devices[DEVS_PER_TURN];
    int devices_n;
    struct batch *batch;
    bool closing;
    void (*close_cb)(void *ud);
    void *close_ud;
};

/* ---- the heap ---- */

static bool earlier(const struct announce *an, int a, int b)
{
    return an->vips[an->heap[a]].due_ms < an->vips[an->heap[b]].due_ms;
}

static void place(struct announce *an, int position, uint16_t key)
{
    an->heap[position] = key;
    an->vips[key].position = (uint16_t)position;
    an->vips[key].queued = true;
}

static void swap(struct announce *an, int a, int b)
{
    uint16_t key = an->heap[a];
    place(an, a, an->heap[b]);
    place(an, b, key);
}

static void settle(struct announce *an, int position)
{
    while (position > 0 && earlier(an, position, (position - 1) / 2)) {
        swap(an, position, (position - 1) / 2);
        position = (position - 1) / 2;
    }
    for (;;) {
        int least = position, left = 2 * position + 1;
        if (left < an->heap_n && earlier(an, left, least)) {
            least = left;
        }
        if (left + 1 < an->heap_n && earlier(an, left + 1, least)) {
            least = left + 1;
        }
        if (least == position) {
            return;
        }
        swap(an, position, least);
        position = least;
    }
}

static void unqueue(struct announce *an, uint16_t key)
{
    int position = an->vips[key].position;
    if (!an->vips[key].queued) {
        return;
    }
    an->vips[key].queued = false;
    uint16_t last = an->heap[--an->heap_n];
    if (last != key) {
        place(an, position, last);
        settle(an, position);
    }
}

static void queue(struct announce *an, uint16_t key, uint64_t due_ms)
{
    unqueue(an, key);
    an->vips[key].due_ms = due_ms;
    place(an, an->heap_n++, key);
    settle(an, an->heap_n - 1);
}

/* ---- frames ---- */

static bool forwards_ipv6(const char *dev)
{
    char path[96], value = '0';
    snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/forwarding", dev);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (read(fd, &value, 1) != 1) {
            value = '0';
        }
        close(fd);
    }
    return value != '0';
}

static void look_up(const struct announce *an, struct device *device)
{
    struct ifreq request = {0};
    memcpy(request.ifr_name, device->name, DEV_SIZE);
    if (ioctl(an->fd, SIOCGIFINDEX, &request) < 0) {
        device->err = -errno;
        return;
    }
    device->ifindex = request.ifr_ifindex;
    if (ioctl(an->fd, SIOCGIFHWADDR, &request) < 0) {
        device->err = -errno;
        return;
    }
    device->ethernet = request.ifr_hwaddr.sa_family == ARPHRD_ETHER;
    memcpy(device->mac, request.ifr_hwaddr.sa_data, ARP_ND_MAC_SIZE);
}

static void forget_devices(struct announce *an)
{
    an->devices_n = 0;
}

static struct device *device_named(struct announce *an, const char *name)
{
    for (int i = 0; i < an->devices_n; i++) {
        if (strcmp(an->devices[i].name, name) == 0) {
            return &an->devices[i];
        }
    }
    if (an->devices_n == DEVS_PER_TURN) {
        forget_devices(an);
    }
    struct device *device = &an->devices[an->devices_n++];
    *device = (struct device){0};
    memcpy(device->name, name, DEV_SIZE);
    look_up(an, device);
    return device;
}

static void log_failure(const struct announce *an, uint16_t key, int err)
{
    char text[ADDR_TEXT_MAX];
    log_write(LOG_ANNOUNCE, "address=%s dev=%s error=\"%s\"", addr_format(&an->vips[key].addr, text),
              an->vips[key].dev, strerror(-err));
}

/* Builds the frames of one announcement into the batch. */
static void gather(struct announce *an, uint16_t key)
{
    struct batch *batch = an->batch;
    const struct vip_entry *vip = &an->vips[key];
    struct device *device = device_named(an, vip->dev);
    if (vip->addr.family == 6 && !device->router_known) {
        device->router = forwards_ipv6(device->name);
        device->router_known = true;
    }
    int item = batch->n++;
    batch->items[item].key = key;
    batch->items[item].err = device->err;
    batch->items[item].frames = device->err < 0 || !device->ethernet ? 0 : vip->addr.family == 4 ? 2 : 1;
    for (int i = 0; i < batch->items[item].frames; i++) {
        int m = batch->messages_n++;
        uint8_t *frame = batch->frames[m];
        size_t size = vip->addr.family == 4 ? arp_nd_build_arp(frame, device->mac, &vip->addr, i == 1)
                                            : arp_nd_build_na(frame, device->mac, &vip->addr, device->router);
        batch->to[m] = (struct sockaddr_ll){.sll_family = AF_PACKET,
                                            .sll_ifindex = device->ifindex,
                                            .sll_protocol = htons(vip->addr.family == 4 ? ETH_P_ARP : ETH_P_IPV6),
                                            .sll_halen = ARP_ND_MAC_SIZE};
        memcpy(batch->to[m].sll_addr, frame, ARP_ND_MAC_SIZE);
        batch->iov[m] = (struct iovec){.iov_base = frame, .iov_len = size};
        batch->item_of[m] = item;
    }
}

/* Asks for each announcement and leaves the messages of those that may go. It comes after everything that takes time,
 * right before the system call. */
static int ask(struct announce *an)
{
    struct batch *batch = an->batch;
    for (int i = 0; i < batch->n; i++) {
        if (batch->items[i].frames > 0 && !an->ops.may(an->ud, batch->items[i].key)) {
            batch->items[i].err = REFUSED;
        }
    }
    int n = 0;
    for (int m = 0; m < batch->messages_n; m++) {
        if (batch->items[batch->item_of[m]].err == 0) {
            batch->messages[n].msg_hdr = (struct msghdr){.msg_name = &batch->to[m],
                                                         .msg_namelen = sizeof(batch->to[m]),
                                                         .msg_iov = &batch->iov[m],
                                                         .msg_iovlen = 1};
            batch->item_of[n++] = batch->item_of[m];
        }
    }
    return n;
}

static void send_batch(struct announce *an)
{
    struct batch *batch = an->batch;
    int n = ask(an);
    for (int at = 0; at < n;) {
        int sent = sendmmsg(an->fd, batch->messages + at, (unsigned)(n - at), MSG_DONTWAIT);
        if (sent > 0) {
            at += sent;
        } else if (errno != EINTR) {
            batch->items[batch->item_of[at++]].err = -errno; /* that message failed; the others may do better */
        }
    }
}

/* ---- schedule ---- */

/* Refreshes come up to a quarter early, differently for each VIP: what was taken over together does not go out together
 * for ever. */
static uint64_t refresh_after(uint16_t key, uint32_t refresh_ms)
{
    uint32_t spread = (uint32_t)key * 2654435761u >> 16;
    return refresh_ms - (uint64_t)refresh_ms / 4 * spread / 65536;
}

static void reschedule(struct announce *an, uint16_t key, int err)
{
    struct vip_entry *vip = &an->vips[key];
    uint64_t now = uv_now(an->loop), interval = vip->burst.interval_ms;
    if (err == 0) {
        vip->left = (uint16_t)(vip->left > 0 ? vip->left - 1 : 0);
    } else {
        vip->left = vip->left > 0 ? vip->left : 1;
        bool busy = err == REFUSED || err == -ENOBUFS || err == -EAGAIN;
        interval = busy || interval > RETRY_MS ? interval : RETRY_MS;
    }
    if (vip->left > 0) {
        queue(an, key, now + interval);
    } else if (vip->burst.refresh_ms > 0) {
        queue(an, key, now + refresh_after(key, vip->burst.refresh_ms));
    }
}

/* Sends what was gathered, and counts and reschedules it; the outcome of the last one. */
static int finish(struct announce *an)
{
    struct batch *batch = an->batch;
    send_batch(an);
    int err = 0;
    for (int i = 0; i < batch->n; i++) {
        err = batch->items[i].err;
        if (err == REFUSED) {
            an->stats.refused++;
        } else if (err < 0) {
            an->stats.failed++;
            log_failure(an, batch->items[i].key, err);
        } else if (batch->items[i].frames > 0) {
            an->stats.sent++;
        }
        reschedule(an, batch->items[i].key, err);
    }
    batch->n = batch->messages_n = 0;
    return err;
}

static void on_timer(uv_timer_t *timer);

static void arm(struct announce *an)
{
    if (an->closing) {
        return;
    }
    if (an->heap_n == 0) {
        uv_timer_stop(&an->timer);
        return;
    }
    uint64_t now = uv_now(an->loop), due = an->vips[an->heap[0]].due_ms;
    if (due != AT_ONCE && due < an->repeats_from_ms) {
        due = an->repeats_from_ms;
    }
    (void)uv_timer_start(&an->timer, on_timer, due > now ? due - now : 0, 0); /* has a callback: cannot fail */
}

/* Whether the next one's time has come, when so many repeats may still go in this turn. */
static bool may_go(const struct announce *an, uint64_t now, uint32_t repeats)
{
    if (an->heap_n == 0) {
        return false;
    }
    uint64_t due = an->vips[an->heap[0]].due_ms;
    return due == AT_ONCE || (due <= now && now >= an->repeats_from_ms && repeats > 0);
}

static void note_first(struct announce *an)
{
    an->firsts_until_ms = uv_now(an->loop) + FIRSTS_MS;
}

static void on_timer(uv_timer_t *timer)
{
    struct announce *an = timer->data;
    uint64_t now = uv_now(an->loop);
    uint32_t per_ms = now < an->firsts_until_ms ? ANNOUNCE_REPEATS_BESIDE_FIRSTS_PER_MS : ANNOUNCE_REPEATS_PER_MS;
    uint32_t repeats = per_ms * TURN_MS, left = repeats;
    forget_devices(an);
    for (int i = 0; i < VIPS_PER_TURN && may_go(an, now, left); i++) {
        uint16_t key = an->heap[0];
        if (an->vips[key].due_ms == AT_ONCE) {
            note_first(an);
        } else {
            left--;
        }
        unqueue(an, key);
        gather(an, key);
        if (an->batch->n == BATCH) {
            (void)finish(an);
        }
    }
    if (left < repeats) {
        an->repeats_from_ms = now + (repeats - left + per_ms - 1) / per_ms;
    }
    (void)finish(an);
    arm(an);
}

/* ---- what is called from outside ---- */

static void announce_free(struct announce *an)
{
    if (an->fd >= 0) {
        close(an->fd);
    }
    free(an->vips);
    free(an->batch);
    free(an);
}

/* Protocol 0: the socket sends, and receives nothing. */
static int open_socket(void)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), size = SEND_BUFFER;
    if (fd < 0) {
        return -errno;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    }
    return fd;
}

int announce_init(struct announce **ret, uv_loop_t *loop, const struct announce_ops *ops, void *ud)
{
    struct announce *an = calloc(1, sizeof(*an));
    if (an == NULL) {
        return -ENOMEM;
    }
    an->loop = loop;
    an->ops = *ops;
    an->ud = ud;
    an->vips = calloc(VIPS_MAX, sizeof(*an->vips));
    an->batch = calloc(1, sizeof(*an->batch));
    an->fd = open_socket();
    int err = an->fd < 0 ? an->fd : an->vips == NULL || an->batch == NULL ? -ENOMEM : uv_timer_init(loop, &an->timer);
    if (err < 0) {
        announce_free(an);
        return err;
    }
    an->timer.data = an;
    *ret = an;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct announce *an = handle->data;
    void (*cb)(void *ud) = an->close_cb;
    void *ud = an->close_ud;
    announce_free(an);
    if (cb != NULL) {
        cb(ud);
    }
}

void announce_close(struct announce *an, void (*cb)(void *ud), void *ud)
{
    if (an == NULL) {
        return;
    }
    an->closing = true;
    an->close_cb = cb;
    an->close_ud = ud;
    uv_close((uv_handle_t *)&an->timer, on_closed);
}

int announce_start(struct announce *an, uint16_t key, const char *dev, const struct addr *addr,
                   const struct announce_burst *burst)
{
    if (key >= VIPS_MAX || (addr->family != 4 && addr->family != 6) || dev[0] == '\0' || strlen(dev) >= DEV_SIZE ||
        burst->count == 0 || burst->interval_ms == 0) {
        return -EINVAL;
    }
    announce_stop(an, key);
    struct vip_entry *vip = &an->vips[key];
    *vip = (struct vip_entry){.active = true, .left = burst->count, .addr = *addr, .burst = *burst};
    snprintf(vip->dev, sizeof(vip->dev), "%s", dev);
    an->stats.active++;
    note_first(an);
    forget_devices(an);
    gather(an, key);
    int err = finish(an);
    arm(an);
    return err == 0 ? 0 : ANNOUNCE_LATER;
}

void announce_stop(struct announce *an, uint16_t key)
{
    if (key < VIPS_MAX && an->vips[key].active) {
        unqueue(an, key);
        an->vips[key].active = false;
        an->stats.active--;
        arm(an);
    }
}

void announce_again(struct announce *an, const char *dev)
{
    for (int key = 0; key < VIPS_MAX; key++) {
        struct vip_entry *vip = &an->vips[key];
        if (vip->active && strcmp(vip->dev, dev) == 0) {
            vip->left = vip->burst.count;
            queue(an, (uint16_t)key, AT_ONCE);
        }
    }
    arm(an);
}

void announce_stats(const struct announce *an, struct announce_stats *ret)
{
    *ret = an->stats;
}
