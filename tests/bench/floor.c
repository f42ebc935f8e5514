/*
 * What the kernel itself takes for addresses and announcements: netlink in batches and a packet socket, nothing else.
 *
 *   floor add|del DEV      the addresses (IPv4, one a line) come on standard input, to its end
 *
 * Happy path: BATCH requests go in one sendmsg, the last one asks for an answer; once that is there, both forms of
 * gratuitous ARP of the batch go in one sendmmsg. The addresses have what a VIP has (a host prefix, a lifetime), so that the
 * kernel has the same work. `del` announces nothing. It prints the seconds that it took. Failure modes: whatever is refused
 * ends the program.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

enum {
    ADDRESSES_MAX = 65536,
    BATCH = 256,
    VALID_S = 600,
    ARP_SIZE = 42,
};

struct request
{
    struct nlmsghdr header;
    struct ifaddrmsg info;
    struct rtattr local_attr;
    uint32_t local;
    struct rtattr cache_attr;
    struct ifa_cacheinfo cache;
};

static uint32_t addresses[ADDRESSES_MAX];
static struct request requests[BATCH];
static uint8_t frames[BATCH * 2][ARP_SIZE];
static struct iovec vectors[BATCH * 2];
static struct mmsghdr messages[BATCH * 2];
static struct sockaddr_ll everybody = {.sll_family = AF_PACKET, .sll_halen = 6};
static uint8_t mac[6];

static void die(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void change(int fd, bool add, const uint32_t *list, unsigned n, unsigned ifindex)
{
    char answer[4096];
    struct nlmsghdr *header = (struct nlmsghdr *)answer;
    for (unsigned i = 0; i < n; i++) {
        requests[i] = (struct request){
            .header = {.nlmsg_len = sizeof requests[i],
                       .nlmsg_type = add ? RTM_NEWADDR : RTM_DELADDR,
                       .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | (add ? NLM_F_CREATE | NLM_F_REPLACE : 0) |
                                                 (i == n - 1 ? NLM_F_ACK : 0))},
            .info = {.ifa_family = AF_INET, .ifa_prefixlen = 32, .ifa_index = ifindex},
            .local_attr = {RTA_LENGTH(4), IFA_LOCAL},
            .local = list[i],
            .cache_attr = {RTA_LENGTH(sizeof requests[i].cache), IFA_CACHEINFO},
            .cache = {.ifa_prefered = VALID_S, .ifa_valid = VALID_S},
        };
    }
    if (send(fd, requests, n * sizeof requests[0], 0) < 0 || recv(fd, answer, sizeof answer, 0) < 0) {
        die("netlink");
    }
    struct nlmsgerr *outcome = NLMSG_DATA(header);
    if (header->nlmsg_type != NLMSG_ERROR || outcome->error != 0) {
        errno = -outcome->error;
        die("the kernel refused an address");
    }
}

static void build_arp(uint8_t *frame, uint32_t address, bool reply)
{
    memset(frame, 0xff, 6);
    memcpy(frame + 6, mac, 6);
    memcpy(frame + 12, (const uint8_t[]){8, 6, 0, 1, 8, 0, 6, 4, 0, reply ? 2 : 1}, 10);
    memcpy(frame + 22, mac, 6);
    memcpy(frame + 28, &address, 4);
    memset(frame + 32, reply ? 0xff : 0, 6);
    memcpy(frame + 38, &address, 4);
}

static void announce(int fd, const uint32_t *list, unsigned n)
{
    for (unsigned m = 0; m < n * 2; m++) {
        build_arp(frames[m], list[m / 2], m % 2 == 1);
        vectors[m] = (struct iovec){frames[m], ARP_SIZE};
        messages[m].msg_hdr = (struct msghdr){
            .msg_name = &everybody, .msg_namelen = sizeof everybody, .msg_iov = &vectors[m], .msg_iovlen = 1};
    }
    for (unsigned at = 0; at < n * 2;) {
        int sent = sendmmsg(fd, messages + at, n * 2 - at, 0);
        if (sent < 0 && errno != ENOBUFS) { /* a full queue drains by itself */
            die("announcing");
        }
        at += sent > 0 ? (unsigned)sent : 0;
    }
}

static int open_packet(const char *dev)
{
    struct ifreq request = {0};
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", dev);
    if (fd < 0 || ioctl(fd, SIOCGIFINDEX, &request) < 0) {
        die(dev);
    }
    everybody.sll_ifindex = request.ifr_ifindex;
    everybody.sll_protocol = htons(ETH_P_ARP);
    memset(everybody.sll_addr, 0xff, 6);
    if (ioctl(fd, SIOCGIFHWADDR, &request) < 0) {
        die(dev);
    }
    memcpy(mac, request.ifr_hwaddr.sa_data, 6);
    return fd;
}

int main(int argc, char **argv)
{
    char line[64];
    unsigned n = 0;
    if (argc != 3 || (strcmp(argv[1], "add") != 0 && strcmp(argv[1], "del") != 0)) {
        fputs("usage: floor add|del DEV < ADDRESSES\n", stderr);
        return 2;
    }
    bool add = strcmp(argv[1], "add") == 0;
    int packet = open_packet(argv[2]), netlink = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    if (netlink < 0) {
        die("netlink");
    }
    while (n < ADDRESSES_MAX && fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (inet_pton(AF_INET, line, &addresses[n++]) != 1) {
            errno = EINVAL;
            die(line);
        }
    }
    double start = now_s();
    for (unsigned at = 0; at < n; at += BATCH) {
        unsigned size = n - at < BATCH ? n - at : BATCH;
        change(netlink, add, addresses + at, size, (unsigned)everybody.sll_ifindex);
        if (add) {
            announce(packet, addresses + at, size);
        }
    }
    printf("%.6f\n", now_s() - start);
    return 0;
}
