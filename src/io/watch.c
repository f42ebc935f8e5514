#include "io/watch.h"

/* One AF_PACKET socket for each interface, bound to it, with a filter that passes ARP, neighbour solicitations and
 * advertisements alone.
 *
 * The sockets take all protocols, for those taps come before the tc ingress hook: what the kernel fence drops once the
 * lease has ended is seen here all the same.
 *
 * Failure modes: the interface is removed: its socket reports ENETDOWN and then nothing; it is closed by the next
 * watch_set_links, which compares the index. More frames than are read: the kernel drops and counts them, and what is
 * missed is repeated by whoever announces. A frame from one of this host's own interfaces that is new or changed its
 * hardware address: the set of these is read anew before a frame is called foreign, once in OWN_FRESH_MS at most. */

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "wire/arp_nd.h"

#define FRAMES_PER_TURN 64 /* of one interface */
#define FRAME_SIZE 2048    /* the rest of a longer one is of no interest */
#define RECEIVE_BUFFER (256 * 1024)
#define OWN_MAX 1024 /* hardware addresses of this host */
#define OWN_FRESH_MS 1000

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

struct port
{
    uv_poll_t poll;
    struct watch *watch;
    int fd;
    int ifindex;
    char name[DEV_SIZE];
    bool wanted;
};

struct watch
{
    uv_idle_t anchor; /* never started: its close carries the callback where no port is open */
    uv_loop_t *loop;
    struct watch_ops ops;
    void *ud;
    struct watch_stats stats;
    struct port *ports[LINKS_MAX];
    int open; /* handles that are not closed yet: the anchor, and ports, those out of `ports` included */
    uint8_t own[OWN_MAX][ARP_ND_MAC_SIZE];
    int own_n;
    uint64_t own_ms; /* loop time of the last reading */
    uint8_t frame[FRAME_SIZE];
    void (*close_cb)(void *ud);
    void *close_ud;
};

/* In classic BPF: frames of another VLAN come by an interface with the tag beside the frame, they are none of its own
 * (the VLAN's interface has them without). Then ARP; or IPv6 with ICMPv6 directly behind it, of type 135 or 136. */
static struct sock_filter filter[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG)),
    BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x0fff),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 8),
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_ARP, 7, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IPV6, 0, 5),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 20),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 58, 0, 3),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 54),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 135, 2, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 136, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, 0),
    BPF_STMT(BPF_RET | BPF_K, FRAME_SIZE),
};

/* ---- whose frame it is ---- */

/* For what is asked about interfaces. Not of AF_PACKET: closing one of those waits for all processors, 100 ms and more on busy
 * ones. */
static int asking_socket(void)
{
    return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static void read_own(struct watch *watch)
{
    struct if_nameindex *names = if_nameindex();
    int fd = asking_socket();
    watch->own_ms = uv_now(watch->loop);
    if (names == NULL || fd < 0) {
        log_write(LOG_WATCH, "what=own error=\"%s\"", strerror(errno)); /* what was known stays known */
    } else {
        watch->own_n = 0;
        for (int i = 0; names[i].if_index != 0 && watch->own_n < OWN_MAX; i++) {
            struct ifreq request = {0};
            snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", names[i].if_name);
            if (ioctl(fd, SIOCGIFHWADDR, &request) == 0 && request.ifr_hwaddr.sa_family == ARPHRD_ETHER) {
                memcpy(watch->own[watch->own_n++], request.ifr_hwaddr.sa_data, ARP_ND_MAC_SIZE);
            }
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    if (names != NULL) {
        if_freenameindex(names);
    }
}

static bool own_has(const struct watch *watch, const uint8_t mac[ARP_ND_MAC_SIZE])
{
    for (int i = 0; i < watch->own_n; i++) {
        if (memcmp(watch->own[i], mac, ARP_ND_MAC_SIZE) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_own(struct watch *watch, const uint8_t mac[ARP_ND_MAC_SIZE])
{
    if (own_has(watch, mac)) {
        return true;
    }
    if (uv_now(watch->loop) - watch->own_ms < OWN_FRESH_MS) {
        return false;
    }
    read_own(watch);
    return own_has(watch, mac);
}

static void take_frame(struct port *port, size_t size)
{
    struct watch *watch = port->watch;
    struct arp_nd message;
    struct addr claimed;
    watch->stats.frames++;
    int err = arp_nd_parse(watch->frame, size, &message);
    if (err < 0) {
        watch->stats.malformed++;
        return;
    }
    bool claims = err == 0 && message.vlan == 0 && arp_nd_claim(&message, &claimed);
    bool probes = err == 0 && message.vlan == 0 && !claims && arp_nd_probes(&message, &claimed);
    if ((claims || probes) && !is_own(watch, message.mac)) {
        watch->ops.foreign(watch->ud, &claimed, message.mac, port->name, probes);
    }
}

/* ---- sockets ---- */

static void one_closed(struct watch *watch)
{
    if (--watch->open == 0) {
        void (*cb)(void *ud) = watch->close_cb;
        void *ud = watch->close_ud;
        free(watch);
        if (cb != NULL) {
            cb(ud);
        }
    }
}

static void anchor_closed(uv_handle_t *handle)
{
    one_closed(handle->data);
}

static void port_closed(uv_handle_t *handle)
{
    struct port *port = handle->data;
    struct watch *watch = port->watch;
    close(port->fd);
    free(port);
    one_closed(watch);
}

static void add_lost(struct watch *watch, const struct port *port)
{
    struct tpacket_stats stats;
    socklen_t size = sizeof(stats);
    if (getsockopt(port->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size) == 0) {
        watch->stats.lost += stats.tp_drops; /* the kernel's counter starts anew with each reading */
    }
}

static void port_close(struct watch *watch, int slot)
{
    struct port *port = watch->ports[slot];
    add_lost(watch, port);
    watch->ports[slot] = NULL;
    uv_close((uv_handle_t *)&port->poll, port_closed);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct port *port = poll->data;
    struct watch *watch = port->watch;
    for (int i = 0; i < FRAMES_PER_TURN && !uv_is_closing((uv_handle_t *)poll); i++) {
        ssize_t size = recv(port->fd, watch->frame, sizeof(watch->frame), 0);
        if (size >= 0) {
            take_frame(port, (size_t)size);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            break;
        } /* else ENETDOWN, once: the interface went down or away */
    }
    if (status < 0 && !uv_is_closing((uv_handle_t *)poll)) {
        (void)uv_poll_start(poll, UV_READABLE, on_readable); /* libuv stops a handle whose socket had an error */
    }
}

/* Opens a socket that has never received a frame from elsewhere: protocol 0 until filter and interface are set. */
static int open_socket(int ifindex, int *ret)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, size = RECEIVE_BUFFER;
    if (fd < 0) {
        return -errno;
    }
    struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = ifindex};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) < 0 ||
        bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    *ret = fd;
    return 0;
}

static int port_open(struct watch *watch, int slot, const char *name, int ifindex)
{
    struct port *port = calloc(1, sizeof(*port));
    if (port == NULL) {
        return -ENOMEM;
    }
    int err = open_socket(ifindex, &port->fd);
    if (err < 0) {
        free(port);
        return err;
    }
    err = uv_poll_init(watch->loop, &port->poll, port->fd);
    if (err < 0) {
        close(port->fd);
        free(port);
        return err;
    }
    port->poll.data = port;
    port->watch = watch;
    port->ifindex = ifindex;
    port->wanted = true;
    snprintf(port->name, sizeof(port->name), "%s", name);
    watch->ports[slot] = port;
    watch->open++;
    err = uv_poll_start(&port->poll, UV_READABLE, on_readable);
    if (err < 0) {
        port_close(watch, slot);
    }
    return err;
}

/* The index of an interface with an Ethernet address; 0: there is none such. */
static int ethernet_index(int fd, const char *name)
{
    struct ifreq request = {0};
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    if (ioctl(fd, SIOCGIFHWADDR, &request) < 0 || request.ifr_hwaddr.sa_family != ARPHRD_ETHER ||
        ioctl(fd, SIOCGIFINDEX, &request) < 0) {
        return 0;
    }
    return request.ifr_ifindex;
}

/* ---- what is called from outside ---- */

int watch_init(struct watch **ret, uv_loop_t *loop, const struct watch_ops *ops, void *ud)
{
    struct watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL) {
        return -ENOMEM;
    }
    int err = uv_idle_init(loop, &watch->anchor);
    if (err < 0) {
        free(watch);
        return err;
    }
    watch->anchor.data = watch;
    watch->open = 1;
    watch->loop = loop;
    watch->ops = *ops;
    watch->ud = ud;
    *ret = watch;
    return 0;
}

void watch_close(struct watch *watch, void (*cb)(void *ud), void *ud)
{
    if (watch == NULL) {
        return;
    }
    watch->close_cb = cb;
    watch->close_ud = ud;
    for (int slot = 0; slot < LINKS_MAX; slot++) {
        if (watch->ports[slot] != NULL) {
            port_close(watch, slot);
        }
    }
    uv_close((uv_handle_t *)&watch->anchor, anchor_closed);
}

static struct port *port_of(const struct watch *watch, const char *name, int ifindex)
{
    for (int slot = 0; slot < LINKS_MAX; slot++) {
        struct port *port = watch->ports[slot];
        if (port != NULL && port->ifindex == ifindex && strcmp(port->name, name) == 0) {
            return port;
        }
    }
    return NULL;
}

static int open_missing(struct watch *watch, const char *name, int ifindex)
{
    if (ifindex == 0 || port_of(watch, name, ifindex) != NULL) {
        return 0;
    }
    int slot = 0;
    while (watch->ports[slot] != NULL) {
        slot++; /* there is a free one: those not wanted are closed, and at most LINKS_MAX are */
    }
    int err = port_open(watch, slot, name, ifindex);
    if (err < 0) {
        log_write(LOG_WATCH, "dev=%s error=\"%s\"", name, strerror(-err));
    }
    return err;
}

int watch_set_links(struct watch *watch, const char (*names)[DEV_SIZE], int n)
{
    if (n < 0 || n > LINKS_MAX) {
        return -EINVAL;
    }
    int indexes[LINKS_MAX] = {0}, first = 0;
    int fd = asking_socket();
    if (fd < 0) {
        return -errno;
    }
    for (int slot = 0; slot < LINKS_MAX; slot++) {
        if (watch->ports[slot] != NULL) {
            watch->ports[slot]->wanted = false;
        }
    }
    for (int i = 0; i < n; i++) {
        indexes[i] = ethernet_index(fd, names[i]);
        struct port *port = port_of(watch, names[i], indexes[i]);
        if (port != NULL) {
            port->wanted = true;
        }
    }
    close(fd);
    for (int slot = 0; slot < LINKS_MAX; slot++) {
        if (watch->ports[slot] != NULL && !watch->ports[slot]->wanted) {
            port_close(watch, slot);
        }
    }
    read_own(watch);
    for (int i = 0; i < n; i++) {
        int err = open_missing(watch, names[i], indexes[i]);
        first = first != 0 ? first : err;
    }
    return first;
}

void watch_stats(struct watch *watch, struct watch_stats *ret)
{
    for (int slot = 0; slot < LINKS_MAX; slot++) {
        if (watch->ports[slot] != NULL) {
            add_lost(watch, watch->ports[slot]);
        }
    }
    *ret = watch->stats;
}
