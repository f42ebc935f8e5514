/* As many datagrams to one node as this machine can make, from the bridge's network namespace: what only somebody on the nodes' own
 * link could send, since the frames have the other nodes' addresses. attack.py does the same slowly, and in more ways.
 *
 *     flood DEV KIND SECONDS     DEV: the bridge's port of the node. Prints how many were sent, and how many a second.
 *
 *     noise     random bytes behind the UDP header: no session's
 *     forged    a session's id, a counter that is yet to come, a wrong seal
 *     replayed  what was seen, again
 *
 * Frames that were seen on their way to the node are the pattern, so it has to be sent something meanwhile. */

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORT 7400
#define HEADERS (14 + 20 + 8)
#define FRAME_MAX 1600
#define PATTERNS 16
#define BATCH 256
#define PATIENCE_S 20

struct frame
{
    size_t len;
    uint8_t bytes[FRAME_MAX];
};

static struct frame patterns[PATTERNS];
static struct frame frames[BATCH];
static struct mmsghdr headers[BATCH];
static struct iovec vectors[BATCH];

static void die(const char *what)
{
    fprintf(stderr, "flood: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* xorshift64: what is random here need not be secret. */
static uint64_t dice(void)
{
    static uint64_t x = 0x9e3779b97f4a7c15u;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}

static int packet_socket(const char *dev)
{
    int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)), on = 1, size = 8 << 20;
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex(dev)};

    if (fd < 0 || at.sll_ifindex == 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0) {
        die(dev);
    }
    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    return fd;
}

/* Heartbeats on their way to the node, of as many sessions as there are. */
static void look(int fd)
{
    double end = now_s() + PATIENCE_S;
    unsigned n = 0;

    while (n < PATTERNS) {
        struct sockaddr_ll from;
        socklen_t size = sizeof from;
        struct frame *frame = &patterns[n];
        ssize_t len = recvfrom(fd, frame->bytes, sizeof frame->bytes, 0, (struct sockaddr *)&from, &size);

        if (now_s() > end) {
            errno = ETIMEDOUT;
            die("no heartbeats");
        }
        if (len > HEADERS + 32 && len <= FRAME_MAX && from.sll_pkttype == PACKET_OUTGOING && frame->bytes[12] == 8 &&
            frame->bytes[13] == 0 && frame->bytes[23] == IPPROTO_UDP && frame->bytes[36] == PORT >> 8 &&
            frame->bytes[37] == (PORT & 255)) {
            frame->len = (size_t)len;
            frame->bytes[40] = frame->bytes[41] = 0; /* no checksum: IPv4 allows it */
            n++;
        }
    }
}

static void fill(uint8_t *at, size_t len)
{
    for (size_t i = 0; i < len; i += 8) {
        uint64_t random = dice();

        memcpy(at + i, &random, len - i < 8 ? len - i : 8);
    }
}

static void prepare(const char *kind)
{
    for (unsigned i = 0; i < BATCH; i++) {
        struct frame *frame = &frames[i];

        *frame = patterns[dice() % PATTERNS];
        if (strcmp(kind, "noise") == 0) {
            fill(frame->bytes + HEADERS, frame->len - HEADERS);
        } else if (strcmp(kind, "forged") == 0) {
            frame->bytes[HEADERS + 16 + 2] = 1; /* of the counter */
            fill(frame->bytes + HEADERS + 20, frame->len - HEADERS - 20);
        } else if (strcmp(kind, "replayed") != 0) {
            errno = EINVAL;
            die(kind);
        }
        vectors[i] = (struct iovec){.iov_base = frame->bytes, .iov_len = frame->len};
        headers[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: flood DEV KIND SECONDS\n");
        return 2;
    }
    int in = packet_socket(argv[1]);
    look(in);
    close(in); /* or the kernel would give it a copy of all that follows */
    int fd = packet_socket(argv[1]);
    struct sockaddr_ll nothing = {.sll_family = AF_PACKET, .sll_protocol = 0, .sll_ifindex = (int)if_nametoindex(argv[1])};
    if (bind(fd, (struct sockaddr *)&nothing, sizeof nothing) < 0) {
        die("bind");
    }
    double begin = now_s(), end = begin + atof(argv[3]), at = begin;
    unsigned long long sent = 0;
    while (at < end) {
        prepare(argv[2]);
        for (unsigned turn = 0; turn < 16; turn++) { /* the same again: making them up costs more than sending them */
            int n = sendmmsg(fd, headers, BATCH, 0);
            sent += n > 0 ? (unsigned)n : 0;
        }
        at = now_s();
    }
    printf("%llu %.0f\n", sent, (double)sent / (at - begin));
    return 0;
}
