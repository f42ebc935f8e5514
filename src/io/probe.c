#include "io/probe.h"

/* One AF_PACKET socket that never receives, one timer, and a queue of probes by the time of their next frame: as all have
 * the same interval, whoever has just sent goes to its end.
 *
 * Failure modes: the interface is gone or down, or its queue is full: that frame is lost, and a probe of which every frame
 * was lost says so. The interface's index and hardware address are looked up for each frame, which is rare. More probes are
 * due than PROBES_PER_TURN: the rest waits for the next turn of the loop. */

#include <arpa/inet.h>
#include <errno.h>
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

#include "wire/arp_nd.h"

#define PROBES_PER_TURN 256

struct item
{
    bool active, queued;
    bool sent; /* at least one frame */
    int left;
    uint64_t token, due_ms;
    uint32_t interval_ms;
    struct addr addr;
    char dev[DEV_SIZE];
};

struct probe
{
    uv_timer_t timer;
    uv_loop_t *loop;
    struct probe_ops ops;
    void *ud;
    int fd;
    struct item items[VIPS_MAX];
    uint16_t queue[VIPS_MAX]; /* a ring; each key is in it once at most */
    uint32_t head, n;
};

static void append(struct probe *probe, uint16_t key)
{
    probe->queue[(probe->head + probe->n++) % VIPS_MAX] = key;
    probe->items[key].queued = true;
}

static bool send_frame(const struct probe *probe, const struct item *item)
{
    struct ifreq request = {0};
    uint8_t frame[ARP_ND_FRAME_MAX];
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", item->dev);
    if (ioctl(probe->fd, SIOCGIFHWADDR, &request) < 0) {
        return false;
    }
    if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER) {
        return true; /* no neighbours to ask */
    }
    size_t size = arp_nd_build_probe(frame, (const uint8_t *)request.ifr_hwaddr.sa_data, &item->addr);
    struct sockaddr_ll to = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(item->addr.family == 4 ? ETH_P_ARP : ETH_P_IPV6),
                             .sll_halen = ARP_ND_MAC_SIZE};
    memcpy(to.sll_addr, frame, ARP_ND_MAC_SIZE);
    if (ioctl(probe->fd, SIOCGIFINDEX, &request) < 0) {
        return false;
    }
    to.sll_ifindex = request.ifr_ifindex;
    return sendto(probe->fd, frame, size, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to)) >= 0;
}

static void go_on(struct probe *probe, uint16_t key)
{
    struct item *item = &probe->items[key];
    if (!item->active || !probe->ops.wanted(probe->ud, key)) {
        item->active = false;
    } else if (item->left > 0) {
        item->left--;
        item->sent = send_frame(probe, item) || item->sent;
        item->due_ms = uv_now(probe->loop) + item->interval_ms;
        append(probe, key);
    } else {
        item->active = false;
        probe->ops.over(probe->ud, key, item->token, !item->sent);
    }
}

static void on_timer(uv_timer_t *timer);

static void arm(struct probe *probe)
{
    if (probe->n > 0 && !uv_is_closing((uv_handle_t *)&probe->timer)) {
        uint64_t now = uv_now(probe->loop), due = probe->items[probe->queue[probe->head]].due_ms;
        (void)uv_timer_start(&probe->timer, on_timer, due > now ? due - now : 0, 0); /* has a callback: cannot fail */
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct probe *probe = timer->data;
    uint64_t now = uv_now(probe->loop);
    for (int i = 0; i < PROBES_PER_TURN && probe->n > 0 && probe->items[probe->queue[probe->head]].due_ms <= now; i++) {
        uint16_t key = probe->queue[probe->head];
        probe->head = (probe->head + 1) % VIPS_MAX;
        probe->n--;
        probe->items[key].queued = false;
        go_on(probe, key);
    }
    arm(probe);
}

void probe_start(struct probe *probe, uint16_t key, uint64_t token, const char *dev, const struct addr *addr, int count,
                 uint32_t interval_ms)
{
    if (key >= VIPS_MAX || count < 1 || interval_ms < 1) {
        abort();
    }
    struct item *item = &probe->items[key];
    bool queued = item->queued; /* of a probe that is replaced: this one begins at that one's next frame */
    uint64_t due_ms = queued ? item->due_ms : uv_now(probe->loop);
    *item = (struct item){.active = true, .queued = queued, .left = count, .token = token, .due_ms = due_ms,
                          .interval_ms = interval_ms, .addr = *addr};
    snprintf(item->dev, sizeof(item->dev), "%s", dev);
    if (!queued) {
        go_on(probe, key);
    }
    arm(probe);
}

int probe_init(struct probe **ret, uv_loop_t *loop, const struct probe_ops *ops, void *ud)
{
    struct probe *probe = calloc(1, sizeof(*probe));
    if (probe == NULL) {
        return -ENOMEM;
    }
    probe->loop = loop;
    probe->ops = *ops;
    probe->ud = ud;
    probe->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int err = probe->fd < 0 ? -errno : uv_timer_init(loop, &probe->timer);
    if (err < 0) {
        if (probe->fd >= 0) {
            close(probe->fd);
        }
        free(probe);
        return err;
    }
    probe->timer.data = probe;
    *ret = probe;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct probe *probe = handle->data;
    close(probe->fd);
    free(probe);
}

void probe_close(struct probe *probe)
{
    if (probe != NULL) {
        uv_close((uv_handle_t *)&probe->timer, on_closed);
    }
}
