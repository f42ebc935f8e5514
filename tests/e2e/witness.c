/*
 * The outside witness: who answers for an address, told from the wire, without a line of the product.
 *
 * Happy path. The witness lives in a namespace of its own on the shared link. Every period it asks each node by itself
 * (frames with that node's hardware address as the destination), for each address: "who has it?" (ARP request or
 * neighbour solicitation) and "are you there?" (ICMP echo). The answers carry the question's number, so that each tells:
 * at some instant between asking and hearing, this node held this address. Asking every node, not the broadcast address,
 * means that a second holder cannot hide behind the first one.
 * Beside that it follows every node namespace's addresses: by notification, in the one order in which the kernel made
 * the changes in all of them (NETLINK_LISTEN_ALL_NSID), and by a dump each period.
 * And it plays the client: in the client's namespace it pings each address through the kernel's own neighbour cache.
 *
 * Failure modes. Being late itself (a busy machine): the question's time is taken before sending, the answer's after
 * receiving, so that a late witness sees shorter holds, never longer ones. A lost frame ends a run of answers, and is told
 * apart from "does not hold" by nobody: it can hide an overlap of one period, not invent one. A full notification queue
 * is reported ("lost"), and the dumps bring it up to date.
 *
 * The program's answers are lines on standard output; times are CLOCK_MONOTONIC in ns:
 *   ready
 *   answer KIND ADDRESS NODE SEQ ASKED HEARD     KIND: arp (or nd) | echo
 *   ping ADDRESS NODE SEQ ASKED HEARD            NODE: who answered, "?" for a stranger
 *   announce ADDRESS NODE TIME                   gratuitous ARP or unsolicited NA for a watched address
 *   change NODE ADDRESS add|del TIME             in the order in which the kernel made the changes
 *   sample NODE ADDRESS 0|1 TIME                 the dumps, where they differ from the last one
 *   lost TIME
 * It takes lines on standard input: "watch ADDRESS", "unwatch ADDRESS", "flush" (answered by "flushed"); it ends at its end.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/net_namespace.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    NODES_MAX = 16,
    VIPS_MAX = 64,
    SENDERS = 32,      /* sender addresses in turn: an answer to a question up to this many periods old is matched */
    ASKED_MAX = 4096,  /* remembered questions by sequence number */
};

#define MARK_ECHO 0x5650u /* the ICMP id of the witness's own questions */
#define MARK_PING 0x5651u /* and of the client's pings */

struct node
{
    const char *name;
    uint8_t mac[6];
    int rtnl;    /* a netlink socket inside of the node's namespace, for the dumps */
    int nsid;    /* the node's namespace as the witness's namespace numbers it */
};

struct vip
{
    char text[INET6_ADDRSTRLEN];
    int family;
    uint8_t bytes[16];
    bool watched;
    uint32_t seq;                            /* of the questions; the same number goes to every node */
    uint64_t asked_ns[NODES_MAX][ASKED_MAX]; /* by node and seq % ASKED_MAX */
    uint64_t echoed_ns[NODES_MAX][ASKED_MAX];
    uint32_t ping_seq;
    uint64_t pinged_ns[ASKED_MAX];
    bool present[NODES_MAX]; /* by the last dump */
    bool seen[NODES_MAX];    /* in the dump that runs */
};

struct witness
{
    struct node nodes[NODES_MAX];
    size_t n_nodes;
    struct vip *vips[VIPS_MAX];
    size_t n_vips;
    int packet, ifindex, events;
    int ping4, ping6; /* in the client's namespace */
    int heard;        /* packet socket in the client's namespace, for the answers to the pings */
    uint8_t mac[6];
    uint32_t ip4;      /* the first of SENDERS senders, host order; the echoes come from the one before it */
    uint8_t ip6[16];
    char line[256];
    size_t line_len;
    long period_ms;
    long ping_ms;      /* the client's own period; 0: the same */
};

static struct witness w;

static void die(const char *format, ...)
{
    va_list args;
    int errnum = errno;
    va_start(args, format);
    fputs("witness: ", stderr);
    vfprintf(stderr, format, args);
    fprintf(stderr, " (%s)\n", strerror(errnum));
    va_end(args);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint16_t sum_fold(uint32_t sum)
{
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)~sum;
}

static uint32_t sum_add(uint32_t sum, const void *data, size_t n)
{
    const uint8_t *p = data;
    for (size_t i = 0; i + 1 < n; i += 2) {
        sum += (uint32_t)(p[i] << 8 | p[i + 1]);
    }
    if (n % 2) {
        sum += (uint32_t)(p[n - 1] << 8);
    }
    return sum;
}

static struct vip *vip_find(int family, const void *bytes)
{
    for (size_t i = 0; i < w.n_vips; i++) {
        if (w.vips[i]->watched && w.vips[i]->family == family &&
            memcmp(w.vips[i]->bytes, bytes, family == AF_INET ? 4 : 16) == 0) {
            return w.vips[i];
        }
    }
    return NULL;
}

/* The index of the node with this hardware address, or -1. */
static int node_find(const uint8_t *mac)
{
    for (size_t i = 0; i < w.n_nodes; i++) {
        if (memcmp(w.nodes[i].mac, mac, 6) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* ---- asking ---- */

static void send_frame(const uint8_t *frame, size_t n)
{
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = w.ifindex, .sll_halen = 6};
    memcpy(to.sll_addr, frame, 6);
    (void)!sendto(w.packet, frame, n, 0, (struct sockaddr *)&to, sizeof to); /* a lost question ends a run, no more */
}

static size_t put_ethernet(uint8_t *frame, const uint8_t *to, uint16_t type)
{
    memcpy(frame, to, 6);
    memcpy(frame + 6, w.mac, 6);
    frame[12] = (uint8_t)(type >> 8);
    frame[13] = (uint8_t)type;
    return 14;
}

static void ask_arp(const struct vip *vip, const struct node *node)
{
    uint8_t frame[60] = {0};
    size_t at = put_ethernet(frame, node->mac, ETH_P_ARP);
    uint32_t sender = htonl(w.ip4 + vip->seq % SENDERS);
    memcpy(frame + at, (const uint8_t[]){0, 1, 8, 0, 6, 4, 0, 1}, 8);
    memcpy(frame + at + 8, w.mac, 6);
    memcpy(frame + at + 14, &sender, 4);
    memcpy(frame + at + 24, vip->bytes, 4);
    send_frame(frame, sizeof frame);
}

static void ask_echo4(const struct vip *vip, const struct node *node)
{
    uint8_t frame[14 + 20 + 8 + 8] = {0};
    size_t at = put_ethernet(frame, node->mac, ETH_P_IP);
    struct iphdr ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_ICMP};
    struct icmphdr icmp = {.type = ICMP_ECHO, .un.echo = {.id = htons(MARK_ECHO)}};
    uint32_t seq = htonl(vip->seq);
    ip.tot_len = htons((uint16_t)(sizeof frame - at));
    ip.saddr = htonl(w.ip4 - 1);
    memcpy(&ip.daddr, vip->bytes, 4);
    ip.check = htons(sum_fold(sum_add(0, &ip, sizeof ip)));
    icmp.checksum = htons(sum_fold(sum_add(sum_add(0, &icmp, sizeof icmp), &seq, 4)));
    memcpy(frame + at, &ip, sizeof ip);
    memcpy(frame + at + 20, &icmp, sizeof icmp);
    memcpy(frame + at + 28, &seq, 4);
    send_frame(frame, sizeof frame);
}

/* Sends an ICMPv6 message to the node; `sender` 0..SENDERS-1 asks, SENDERS is the address of the echoes. */
static void send_icmp6(const struct vip *vip, const struct node *node, uint8_t hops, uint32_t sender, void *body, size_t n)
{
    uint8_t frame[14 + 40 + 64];
    size_t at = put_ethernet(frame, node->mac, ETH_P_IPV6);
    struct ip6_hdr ip = {.ip6_hlim = hops, .ip6_nxt = IPPROTO_ICMPV6};
    uint16_t sum;
    ip.ip6_flow = htonl(0x60000000u);
    ip.ip6_plen = htons((uint16_t)n);
    memcpy(&ip.ip6_src, w.ip6, 16);
    ip.ip6_src.s6_addr[15] = (uint8_t)(w.ip6[15] + sender);
    memcpy(&ip.ip6_dst, vip->bytes, 16);
    sum = htons(sum_fold(sum_add(sum_add(0, &ip.ip6_src, 32), body, n) + (uint32_t)n + IPPROTO_ICMPV6));
    memcpy((uint8_t *)body + 2, &sum, 2);
    memcpy(frame + at, &ip, sizeof ip);
    memcpy(frame + at + 40, body, n);
    send_frame(frame, at + 40 + n);
}

static void ask_nd(const struct vip *vip, const struct node *node)
{
    uint8_t body[32] = {ND_NEIGHBOR_SOLICIT};
    memcpy(body + 8, vip->bytes, 16);
    body[24] = ND_OPT_SOURCE_LINKADDR;
    body[25] = 1;
    memcpy(body + 26, w.mac, 6);
    send_icmp6(vip, node, 255, vip->seq % SENDERS, body, sizeof body);
}

static void ask_echo6(const struct vip *vip, const struct node *node)
{
    uint8_t body[16] = {ICMP6_ECHO_REQUEST, 0, 0, 0, MARK_ECHO >> 8, MARK_ECHO & 0xff};
    uint32_t seq = htonl(vip->seq);
    memcpy(body + 8, &seq, 4);
    send_icmp6(vip, node, 64, SENDERS, body, sizeof body);
}

static void ask_all(void)
{
    for (size_t v = 0; v < w.n_vips; v++) {
        struct vip *vip = w.vips[v];
        if (!vip->watched) {
            continue;
        }
        vip->seq++;
        for (size_t n = 0; n < w.n_nodes; n++) {
            vip->asked_ns[n][vip->seq % ASKED_MAX] = now_ns();
            (vip->family == AF_INET ? ask_arp : ask_nd)(vip, &w.nodes[n]);
            vip->echoed_ns[n][vip->seq % ASKED_MAX] = now_ns();
            (vip->family == AF_INET ? ask_echo4 : ask_echo6)(vip, &w.nodes[n]);
        }
    }
}

/* ---- hearing ---- */

/* The number of the question that an answer to sender `sender` belongs to: the newest one sent from there. */
static uint32_t seq_of_sender(const struct vip *vip, uint32_t sender)
{
    return vip->seq - (vip->seq % SENDERS + SENDERS - sender) % SENDERS;
}

static void tell_answer(const char *kind, const struct vip *vip, int node, uint32_t seq, uint64_t asked, uint64_t heard)
{
    if (node >= 0) {
        printf("answer %s %s %s %u %llu %llu\n", kind, vip->text, w.nodes[node].name, seq, (unsigned long long)asked,
               (unsigned long long)heard);
    }
}

static void tell_announce(const struct vip *vip, int node, uint64_t heard)
{
    printf("announce %s %s %llu\n", vip->text, node < 0 ? "?" : w.nodes[node].name, (unsigned long long)heard);
}

static void hear_arp(const uint8_t *frame, size_t n, uint64_t heard)
{
    const uint8_t *arp = frame + 14;
    const struct vip *vip;
    uint32_t target;
    int node = node_find(frame + 6);
    if (n < 14 + 28 || (vip = vip_find(AF_INET, arp + 14)) == NULL) {
        return; /* the sender's address is no watched one */
    }
    memcpy(&target, arp + 24, 4);
    target = ntohl(target);
    if (memcmp(arp + 14, arp + 24, 4) == 0) {
        tell_announce(vip, node, heard);
    } else if (arp[7] == 2 && node >= 0 && target - w.ip4 < SENDERS) {
        uint32_t seq = seq_of_sender(vip, (target - w.ip4) % SENDERS);
        tell_answer("arp", vip, node, seq, vip->asked_ns[node][seq % ASKED_MAX], heard);
    }
}

static void hear_ip4(const uint8_t *frame, size_t n, uint64_t heard)
{
    const uint8_t *ip = frame + 14, *icmp = ip + 20;
    const struct vip *vip;
    uint32_t seq;
    int node = node_find(frame + 6);
    if (n < 14 + 20 + 8 + 4 || ip[0] != 0x45 || ip[9] != IPPROTO_ICMP || icmp[0] != ICMP_ECHOREPLY ||
        (icmp[4] << 8 | icmp[5]) != MARK_ECHO || node < 0 || (vip = vip_find(AF_INET, ip + 12)) == NULL) {
        return;
    }
    memcpy(&seq, icmp + 8, 4);
    seq = ntohl(seq);
    tell_answer("echo", vip, node, seq, vip->echoed_ns[node][seq % ASKED_MAX], heard);
}

static void hear_ip6(const uint8_t *frame, size_t n, uint64_t heard)
{
    const uint8_t *ip = frame + 14, *icmp = ip + 40;
    const struct vip *vip;
    uint32_t seq;
    int node = node_find(frame + 6);
    if (n < 14 + 40 + 24 - 12 || ip[6] != IPPROTO_ICMPV6) {
        return;
    }
    if (icmp[0] == ND_NEIGHBOR_ADVERT && n >= 14 + 40 + 24 && (vip = vip_find(AF_INET6, icmp + 8)) != NULL) {
        uint32_t sender = (uint32_t)(ip[24 + 15] - w.ip6[15]);
        if (!(icmp[4] & 0x40)) {
            tell_announce(vip, node, heard); /* not solicited */
        } else if (node >= 0 && memcmp(ip + 24, w.ip6, 15) == 0 && sender < SENDERS) {
            seq = seq_of_sender(vip, sender);
            tell_answer("nd", vip, node, seq, vip->asked_ns[node][seq % ASKED_MAX], heard);
        }
    } else if (icmp[0] == ICMP6_ECHO_REPLY && (icmp[4] << 8 | icmp[5]) == MARK_ECHO && node >= 0 &&
               (vip = vip_find(AF_INET6, ip + 8)) != NULL) {
        memcpy(&seq, icmp + 8, 4);
        seq = ntohl(seq);
        tell_answer("echo", vip, node, seq, vip->echoed_ns[node][seq % ASKED_MAX], heard);
    }
}

static void hear_all(void)
{
    uint8_t frame[2048];
    for (;;) {
        struct sockaddr_ll from;
        socklen_t from_len = sizeof from;
        ssize_t n = recvfrom(w.packet, frame, sizeof frame, MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
        uint64_t heard = now_ns();
        if (n < 14) {
            return;
        }
        if (from.sll_pkttype == PACKET_OUTGOING) {
            continue;
        }
        switch (frame[12] << 8 | frame[13]) {
        case ETH_P_ARP:
            hear_arp(frame, (size_t)n, heard);
            break;
        case ETH_P_IP:
            hear_ip4(frame, (size_t)n, heard);
            break;
        case ETH_P_IPV6:
            hear_ip6(frame, (size_t)n, heard);
            break;
        default:
            break;
        }
    }
}

/* ---- the client ---- */

static void ping_all(void)
{
    for (size_t v = 0; v < w.n_vips; v++) {
        struct vip *vip = w.vips[v];
        uint8_t body[16] = {vip->family == AF_INET ? ICMP_ECHO : ICMP6_ECHO_REQUEST, 0, 0, 0, MARK_PING >> 8,
                            MARK_PING & 0xff};
        uint32_t seq;
        if (!vip->watched) {
            continue;
        }
        seq = htonl(++vip->ping_seq);
        memcpy(body + 8, &seq, 4);
        vip->pinged_ns[vip->ping_seq % ASKED_MAX] = now_ns();
        if (vip->family == AF_INET) {
            struct sockaddr_in to = {.sin_family = AF_INET};
            uint16_t sum = htons(sum_fold(sum_add(0, body, sizeof body)));
            memcpy(body + 2, &sum, 2);
            memcpy(&to.sin_addr, vip->bytes, 4);
            (void)!sendto(w.ping4, body, sizeof body, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to);
        } else {
            struct sockaddr_in6 to = {.sin6_family = AF_INET6};
            memcpy(&to.sin6_addr, vip->bytes, 16);
            (void)!sendto(w.ping6, body, sizeof body, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to);
        }
    }
}

static void hear_pings(void)
{
    uint8_t frame[2048];
    for (;;) {
        ssize_t n = recv(w.heard, frame, sizeof frame, MSG_DONTWAIT);
        uint64_t heard = now_ns();
        const uint8_t *ip = frame + 14, *icmp;
        const struct vip *vip = NULL;
        uint32_t seq;
        int node, type = frame[12] << 8 | frame[13];
        if (n < 0) {
            return;
        }
        if (type == ETH_P_IP && n >= 14 + 20 + 12 && ip[9] == IPPROTO_ICMP && ip[20] == ICMP_ECHOREPLY) {
            icmp = ip + 20;
            vip = vip_find(AF_INET, ip + 12);
        } else if (type == ETH_P_IPV6 && n >= 14 + 40 + 12 && ip[6] == IPPROTO_ICMPV6 && ip[40] == ICMP6_ECHO_REPLY) {
            icmp = ip + 40;
            vip = vip_find(AF_INET6, ip + 8);
        }
        if (vip == NULL || (icmp[4] << 8 | icmp[5]) != MARK_PING) {
            continue;
        }
        memcpy(&seq, icmp + 8, 4);
        seq = ntohl(seq);
        node = node_find(frame + 6);
        printf("ping %s %s %u %llu %llu\n", vip->text, node < 0 ? "?" : w.nodes[node].name, seq,
               (unsigned long long)vip->pinged_ns[seq % ASKED_MAX], (unsigned long long)heard);
    }
}

/* ---- the namespaces ---- */

/* The watched address that an RTM_NEWADDR or RTM_DELADDR speaks of, or NULL. */
static struct vip *vip_of_message(const struct nlmsghdr *h)
{
    const struct ifaddrmsg *m = NLMSG_DATA(h);
    const struct rtattr *a = IFA_RTA(m);
    long left = (long)h->nlmsg_len - (long)NLMSG_LENGTH(sizeof *m);
    const void *bytes = NULL;
    for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        if (a->rta_type == IFA_LOCAL || (a->rta_type == IFA_ADDRESS && bytes == NULL)) {
            bytes = RTA_DATA(a);
        }
    }
    return bytes == NULL ? NULL : vip_find(m->ifa_family, bytes);
}

static void hear_changes(void)
{
    char buf[65536], control[CMSG_SPACE(sizeof(int))];
    for (;;) {
        struct iovec iov = {buf, sizeof buf};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        ssize_t n = recvmsg(w.events, &msg, MSG_DONTWAIT);
        uint64_t heard = now_ns();
        unsigned left;
        int nsid = -1, node = -1;
        if (n < 0 && errno == ENOBUFS) {
            printf("lost %llu\n", (unsigned long long)heard);
            continue;
        }
        if (n < 0) {
            return;
        }
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c)) {
            if (c->cmsg_level == SOL_NETLINK && c->cmsg_type == NETLINK_LISTEN_ALL_NSID) {
                memcpy(&nsid, CMSG_DATA(c), sizeof nsid);
            }
        }
        for (size_t i = 0; i < w.n_nodes; i++) {
            if (nsid >= 0 && w.nodes[i].nsid == nsid) {
                node = (int)i;
            }
        }
        left = (unsigned)n;
        for (struct nlmsghdr *h = (struct nlmsghdr *)buf; node >= 0 && NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
            const struct vip *vip;
            if ((h->nlmsg_type == RTM_NEWADDR || h->nlmsg_type == RTM_DELADDR) && (vip = vip_of_message(h)) != NULL) {
                printf("change %s %s %s %llu\n", w.nodes[node].name, vip->text,
                       h->nlmsg_type == RTM_NEWADDR ? "add" : "del", (unsigned long long)heard);
            }
        }
    }
}

static void dump(size_t node)
{
    struct
    {
        struct nlmsghdr h;
        struct ifaddrmsg m;
    } ask = {{NLMSG_LENGTH(sizeof ask.m), RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, 0}, {.ifa_family = AF_UNSPEC}};
    char buf[65536];
    bool done = false;
    if (send(w.nodes[node].rtnl, &ask, ask.h.nlmsg_len, 0) < 0) {
        return;
    }
    while (!done) {
        ssize_t n = recv(w.nodes[node].rtnl, buf, sizeof buf, 0);
        unsigned left = n < 0 ? 0 : (unsigned)n;
        done = n <= 0;
        for (struct nlmsghdr *h = (struct nlmsghdr *)buf; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
            struct vip *vip;
            if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR) {
                done = true;
            } else if (h->nlmsg_type == RTM_NEWADDR && (vip = vip_of_message(h)) != NULL) {
                vip->seen[node] = true;
            }
        }
    }
}

static void sample_all(void)
{
    for (size_t n = 0; n < w.n_nodes; n++) {
        uint64_t at = now_ns();
        for (size_t v = 0; v < w.n_vips; v++) {
            w.vips[v]->seen[n] = false;
        }
        dump(n);
        hear_changes(); /* those that came before the dump are told before it, in the kernel's order */
        for (size_t v = 0; v < w.n_vips; v++) {
            struct vip *vip = w.vips[v];
            if (vip->watched && vip->seen[n] != vip->present[n]) {
                vip->present[n] = vip->seen[n];
                printf("sample %s %s %d %llu\n", w.nodes[n].name, vip->text, vip->seen[n], (unsigned long long)at);
            }
        }
    }
}

/* ---- orders ---- */

static void watch(const char *text, bool on)
{
    struct vip *vip = calloc(1, sizeof *vip);
    struct vip *known = NULL;
    if (vip == NULL) {
        die("out of memory");
    }
    vip->family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET;
    if (inet_pton(vip->family, text, vip->bytes) != 1) {
        die("not an address: %s", text);
    }
    inet_ntop(vip->family, vip->bytes, vip->text, sizeof vip->text);
    for (size_t i = 0; i < w.n_vips; i++) {
        if (strcmp(w.vips[i]->text, vip->text) == 0) {
            known = w.vips[i];
        }
    }
    if (known != NULL) {
        free(vip);
        known->watched = on;
        memset(known->present, 0, sizeof known->present);
    } else if (on && w.n_vips < VIPS_MAX) {
        vip->watched = true;
        w.vips[w.n_vips++] = vip;
    } else {
        die("cannot watch %s", text);
    }
}

static void obey(char *line)
{
    char *argument = strchr(line, ' ');
    if (argument != NULL) {
        *argument++ = '\0';
    }
    if (strcmp(line, "watch") == 0 && argument != NULL) {
        watch(argument, true);
    } else if (strcmp(line, "unwatch") == 0 && argument != NULL) {
        watch(argument, false);
    } else if (strcmp(line, "flush") == 0) {
        hear_all();
        hear_pings();
        hear_changes();
        printf("flushed\n");
        fflush(stdout);
    }
}

/* False at the end of the orders. */
static bool obey_all(void)
{
    ssize_t n = read(STDIN_FILENO, w.line + w.line_len, sizeof w.line - 1 - w.line_len);
    char *end;
    if (n <= 0) {
        return false;
    }
    w.line_len += (size_t)n;
    w.line[w.line_len] = '\0';
    while ((end = strchr(w.line, '\n')) != NULL) {
        *end = '\0';
        obey(w.line);
        w.line_len -= (size_t)(end + 1 - w.line);
        memmove(w.line, end + 1, w.line_len + 1);
    }
    return true;
}

/* ---- setting up ---- */

/* Makes a socket inside of a namespace and comes back. */
static int socket_in(const char *netns, int domain, int type, int protocol)
{
    int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int there = open(netns, O_RDONLY | O_CLOEXEC);
    int fd;
    if (here < 0 || there < 0 || setns(there, CLONE_NEWNET) < 0) {
        die("namespace %s", netns);
    }
    fd = socket(domain, type | SOCK_CLOEXEC, protocol);
    if (fd < 0 || setns(here, CLONE_NEWNET) < 0) {
        die("socket in %s", netns);
    }
    close(here);
    close(there);
    return fd;
}

/* Asks which number this namespace has for another one; the harness assigned it ("ip netns set"). */
static int nsid_of(const char *netns)
{
    struct
    {
        struct nlmsghdr h;
        struct rtgenmsg g;
        uint8_t attributes[64];
    } ask = {.h = {NLMSG_LENGTH(sizeof ask.g), RTM_GETNSID, NLM_F_REQUEST, 1, 0}};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), ns = open(netns, O_RDONLY | O_CLOEXEC), nsid = -1;
    struct rtattr *a = (struct rtattr *)((char *)&ask + NLMSG_ALIGN(ask.h.nlmsg_len));
    char buf[4096];
    ssize_t n;
    if (fd < 0 || ns < 0) {
        die("namespace %s", netns);
    }
    a->rta_type = NETNSA_FD;
    a->rta_len = RTA_LENGTH(sizeof ns);
    memcpy(RTA_DATA(a), &ns, sizeof ns);
    ask.h.nlmsg_len = NLMSG_ALIGN(ask.h.nlmsg_len) + a->rta_len;
    if (send(fd, &ask, ask.h.nlmsg_len, 0) < 0 || (n = recv(fd, buf, sizeof buf, 0)) < 0) {
        die("asking for the number of %s", netns);
    }
    if (((struct nlmsghdr *)buf)->nlmsg_type == RTM_NEWNSID) {
        long left = (long)((struct nlmsghdr *)buf)->nlmsg_len - (long)NLMSG_LENGTH(NLMSG_ALIGN(sizeof(struct rtgenmsg)));
        a = (struct rtattr *)(buf + NLMSG_LENGTH(NLMSG_ALIGN(sizeof(struct rtgenmsg))));
        for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
            if (a->rta_type == NETNSA_NSID) {
                memcpy(&nsid, RTA_DATA(a), sizeof nsid);
            }
        }
    }
    close(ns);
    close(fd);
    if (nsid < 0) {
        die("%s has no number here", netns);
    }
    return nsid;
}

static void open_packet(const char *dev)
{
    struct ifreq ifr = {0};
    struct packet_mreq promiscuous = {.mr_type = PACKET_MR_PROMISC};
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    int size = 8 << 20;
    w.packet = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
    snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", dev);
    if (w.packet < 0 || ioctl(w.packet, SIOCGIFINDEX, &ifr) < 0) {
        die("interface %s", dev);
    }
    w.ifindex = at.sll_ifindex = promiscuous.mr_ifindex = ifr.ifr_ifindex;
    if (ioctl(w.packet, SIOCGIFHWADDR, &ifr) < 0 || bind(w.packet, (struct sockaddr *)&at, sizeof at) < 0 ||
        setsockopt(w.packet, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof promiscuous) < 0) {
        die("packet socket on %s", dev);
    }
    memcpy(w.mac, ifr.ifr_hwaddr.sa_data, 6);
    setsockopt(w.packet, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
}

static void open_events(void)
{
    struct sockaddr_nl at = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};
    int on = 1, size = 8 << 20;
    w.events = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (w.events < 0 || setsockopt(w.events, SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, &on, sizeof on) < 0 ||
        bind(w.events, (struct sockaddr *)&at, sizeof at) < 0) {
        die("netlink notifications");
    }
    setsockopt(w.events, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
}

static void open_client(const char *netns)
{
    struct icmp6_filter none;
    struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog drop_all = {1, &drop};
    int size = 4 << 20;
    w.ping4 = socket_in(netns, AF_INET, SOCK_RAW, IPPROTO_ICMP);
    w.ping6 = socket_in(netns, AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
    w.heard = socket_in(netns, AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
    ICMP6_FILTER_SETBLOCKALL(&none);
    /* These two only send; what comes back is read where the sender's hardware address is seen, too. */
    setsockopt(w.ping6, IPPROTO_ICMPV6, ICMP6_FILTER, &none, sizeof none);
    setsockopt(w.ping4, SOL_SOCKET, SO_ATTACH_FILTER, &drop_all, sizeof drop_all);
    setsockopt(w.heard, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
}

static void add_node(char *argument)
{
    struct node *node = &w.nodes[w.n_nodes];
    char *mac = strchr(argument, ','), *netns = mac == NULL ? NULL : strchr(mac + 1, ',');
    if (netns == NULL || w.n_nodes == NODES_MAX) {
        die("--node NAME,MAC,NETNS: %s", argument);
    }
    *mac++ = *netns++ = '\0';
    node->name = argument;
    if (sscanf(mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &node->mac[0], &node->mac[1], &node->mac[2], &node->mac[3],
               &node->mac[4], &node->mac[5]) != 6) {
        die("not a hardware address: %s", mac);
    }
    node->rtnl = socket_in(netns, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    node->nsid = nsid_of(netns);
    w.n_nodes++;
}

static void set_up(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--dev") == 0) {
            open_packet(argv[i + 1]);
        } else if (strcmp(argv[i], "--ip4") == 0 && inet_pton(AF_INET, argv[i + 1], &w.ip4) == 1) {
            w.ip4 = ntohl(w.ip4);
        } else if (strcmp(argv[i], "--ip6") == 0 && inet_pton(AF_INET6, argv[i + 1], w.ip6) == 1) {
            continue;
        } else if (strcmp(argv[i], "--client") == 0) {
            open_client(argv[i + 1]);
        } else if (strcmp(argv[i], "--node") == 0) {
            add_node(argv[i + 1]);
        } else if (strcmp(argv[i], "--period-ms") == 0 && (w.period_ms = strtol(argv[i + 1], NULL, 10)) > 0) {
            continue;
        } else if (strcmp(argv[i], "--ping-ms") == 0 && (w.ping_ms = strtol(argv[i + 1], NULL, 10)) > 0) {
            continue;
        } else {
            die("unknown or wrong argument: %s %s", argv[i], argv[i + 1]);
        }
    }
    if (w.ip4 == 0 || w.ip6[0] == 0 || w.ifindex == 0 || w.heard == 0 || w.period_ms == 0) {
        die("wanted: --dev DEV --ip4 FIRST --ip6 FIRST --client NETNS --period-ms MS --node NAME,MAC,NETNS...");
    }
    if (w.ping_ms == 0) {
        w.ping_ms = w.period_ms;
    }
    if (w.period_ms % w.ping_ms != 0) {
        die("--period-ms is no multiple of --ping-ms");
    }
    open_events();
}

/* So many of the client's periods have passed: it asks once, and everybody is asked when their time has come. */
static void tick(uint64_t ticks)
{
    static long passed_ms;
    passed_ms += (long)ticks * w.ping_ms;
    ping_all();
    if (passed_ms >= w.period_ms) {
        passed_ms %= w.period_ms;
        ask_all();
        sample_all();
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    struct itimerspec period = {0};
    struct pollfd fds[5];
    bool more = true;
    static char out[1 << 16];
    setvbuf(stdout, out, _IOFBF, sizeof out);
    set_up(argc, argv);
    period.it_interval.tv_nsec = period.it_value.tv_nsec = w.ping_ms % 1000 * 1000000;
    period.it_interval.tv_sec = period.it_value.tv_sec = w.ping_ms / 1000;
    fds[0] = (struct pollfd){timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), POLLIN, 0};
    fds[1] = (struct pollfd){w.packet, POLLIN, 0};
    fds[2] = (struct pollfd){w.events, POLLIN, 0};
    fds[3] = (struct pollfd){w.heard, POLLIN, 0};
    fds[4] = (struct pollfd){STDIN_FILENO, POLLIN, 0};
    if (fds[0].fd < 0 || timerfd_settime(fds[0].fd, 0, &period, NULL) < 0) {
        die("timer");
    }
    printf("ready\n");
    fflush(stdout);
    while (more && poll(fds, 5, -1) >= 0) {
        uint64_t ticks;
        hear_all();
        hear_pings();
        hear_changes();
        if (read(fds[0].fd, &ticks, sizeof ticks) == sizeof ticks) {
            tick(ticks);
        }
        if (fds[4].revents) {
            more = obey_all();
        }
    }
    hear_all();
    hear_pings();
    hear_changes();
    fflush(stdout);
    return 0;
}
