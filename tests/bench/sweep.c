/*
 * Who has them now: many addresses (IPv4), asked from outside until the last one answers from where it should.
 *
 *   sweep DEV MAC[,MAC...]     the hardware addresses of the nodes that can have the addresses
 *
 * It takes lines on standard input: "address A" (any number of them, before all else), then "await START NOT": from now on,
 * until every address has answered from a node other than NOT (a hardware address, or "-" for any), times counted from
 * START (CLOCK_MONOTONIC, ns). Then it prints "done FIRST MEDIAN LAST ASKED", milliseconds and the number of questions,
 * and takes the next order. It ends at the end of its orders.
 *
 * Happy path: an announcement of an address that is awaited is heard, and an ICMP echo goes to that node at once; what counts
 * is the answer to it. So each address costs one question and one answer, and what is measured is not disturbed by
 * asking. Failure modes: an announcement is lost, or comes before the address answers: where nothing was heard for
 * IDLE_MS, those that are awaited are asked for at each node in turn, a few each millisecond.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    NODES_MAX = 64,
    VIPS_MAX = 16384,
    TABLE = 65536, /* slots of the hash of addresses */
    IDLE_MS = 20,
    ASK_PER_MS = 16,
    IDENTIFIER = 0x5652,
};

struct vip
{
    uint32_t address; /* network order */
    bool done;
    double after_ms;
};

static struct sweep
{
    int fd;
    struct sockaddr_ll to;
    uint8_t mac[6];
    uint32_t own; /* this host's address, network order */
    uint8_t nodes[NODES_MAX][6];
    unsigned n_nodes;
    struct vip vips[VIPS_MAX];
    unsigned n, left, next, asked;
    uint16_t table[TABLE]; /* index + 1 */
    uint8_t not[6];
    bool awaiting;
    uint64_t start, heard;
} s;

static void die(const char *what)
{
    fprintf(stderr, "sweep: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint32_t slot_of(uint32_t address)
{
    uint32_t slot = address * 2654435761u >> 16;
    while (s.table[slot] != 0 && s.vips[s.table[slot] - 1].address != address) {
        slot = (slot + 1) % TABLE;
    }
    return slot;
}

/* The awaited address of these bytes, or NULL. */
static struct vip *awaited(const uint8_t *bytes)
{
    uint32_t address;
    memcpy(&address, bytes, 4);
    unsigned at = s.table[slot_of(address)];
    return at == 0 || s.vips[at - 1].done ? NULL : &s.vips[at - 1];
}

static uint16_t checksum(const void *data, size_t n)
{
    const uint8_t *p = data;
    uint32_t sum = 0;
    for (size_t i = 0; i + 1 < n; i += 2) {
        sum += (uint32_t)(p[i] << 8 | p[i + 1]);
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return htons((uint16_t)~sum);
}

static void ask(const struct vip *vip, const uint8_t *node)
{
    uint8_t frame[14 + 20 + 8] = {0};
    struct iphdr ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_ICMP, .saddr = s.own};
    struct icmphdr icmp = {.type = ICMP_ECHO, .un.echo = {.id = htons(IDENTIFIER)}};
    memcpy(frame, node, 6);
    memcpy(frame + 6, s.mac, 6);
    frame[12] = 8;
    ip.tot_len = htons(28);
    ip.daddr = vip->address;
    ip.check = checksum(&ip, sizeof ip);
    icmp.checksum = checksum(&icmp, sizeof icmp);
    memcpy(frame + 14, &ip, sizeof ip);
    memcpy(frame + 34, &icmp, sizeof icmp);
    (void)!sendto(s.fd, frame, sizeof frame, MSG_DONTWAIT, (struct sockaddr *)&s.to, sizeof s.to); /* asked again */
    s.asked++;
}

static int by_time(const void *a, const void *b)
{
    double x = ((const struct vip *)a)->after_ms, y = ((const struct vip *)b)->after_ms;
    return (x > y) - (x < y);
}

static void tell_done(void)
{
    static struct vip sorted[VIPS_MAX];
    memcpy(sorted, s.vips, s.n * sizeof sorted[0]);
    qsort(sorted, s.n, sizeof sorted[0], by_time);
    printf("done %.3f %.3f %.3f %u\n", sorted[0].after_ms, sorted[s.n / 2].after_ms, sorted[s.n - 1].after_ms, s.asked);
    fflush(stdout);
    s.awaiting = false;
}

static void hear(const uint8_t *frame, size_t n)
{
    struct vip *vip;
    int type = frame[12] << 8 | frame[13];
    if (n < 42 || memcmp(frame + 6, s.mac, 6) == 0 || memcmp(frame + 6, s.not, 6) == 0) {
        return;
    }
    if (type == ETH_P_ARP && memcmp(frame + 28, frame + 38, 4) == 0) {
        s.heard = now_ns();
        if ((vip = awaited(frame + 28)) != NULL) {
            ask(vip, frame + 6);
        }
    } else if (type == ETH_P_IP && frame[23] == IPPROTO_ICMP && frame[34] == ICMP_ECHOREPLY &&
               (frame[38] << 8 | frame[39]) == IDENTIFIER && (vip = awaited(frame + 26)) != NULL) {
        s.heard = now_ns();
        vip->after_ms = (double)(int64_t)(s.heard - s.start) / 1e6;
        vip->done = true;
        s.left--;
    }
}

static void hear_all(void)
{
    uint8_t frame[2048];
    ssize_t n;
    while ((n = recv(s.fd, frame, sizeof frame, MSG_DONTWAIT)) > 0) {
        if (s.awaiting) {
            hear(frame, (size_t)n);
        }
    }
    if (s.awaiting && s.left == 0) {
        tell_done();
    }
}

/* Some of those that are awaited, at each node. */
static void ask_some(void)
{
    unsigned asked = 0;
    for (unsigned i = 0; i < s.n && asked < ASK_PER_MS; i++) {
        const struct vip *vip = &s.vips[s.next++ % s.n];
        for (unsigned n = 0; n < s.n_nodes && !vip->done; n++) {
            if (memcmp(s.nodes[n], s.not, 6) != 0) {
                ask(vip, s.nodes[n]);
                asked++;
            }
        }
    }
}

static bool parse_mac(const char *text, uint8_t *mac)
{
    return sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5]) == 6;
}

static void add(const char *text)
{
    struct vip vip = {0};
    if (s.n == VIPS_MAX || inet_pton(AF_INET, text, &vip.address) != 1) {
        errno = EINVAL;
        die(text);
    }
    uint32_t slot = slot_of(vip.address);
    s.vips[s.n++] = vip;
    s.table[slot] = (uint16_t)s.n;
}

static void obey(const char *line)
{
    char not[32];
    unsigned long long start;
    if (strncmp(line, "address ", 8) == 0) {
        add(line + 8);
    } else if (sscanf(line, "await %llu %31s", &start, not) == 2 && s.n > 0) {
        memset(s.not, 0, 6);
        if (strcmp(not, "-") != 0 && !parse_mac(not, s.not)) {
            errno = EINVAL;
            die(line);
        }
        hear_all(); /* what was said before does not count */
        for (unsigned i = 0; i < s.n; i++) {
            s.vips[i].done = false;
        }
        s.left = s.n;
        s.asked = 0;
        s.start = start;
        s.heard = now_ns();
        s.awaiting = true;
        printf("awaiting\n");
        fflush(stdout);
    } else {
        errno = EINVAL;
        die(line);
    }
}

/* False at the end of the orders. */
static bool obey_all(void)
{
    static char text[1 << 16];
    static size_t len;
    ssize_t n = read(STDIN_FILENO, text + len, sizeof text - 1 - len);
    char *end;
    if (n <= 0) {
        return false;
    }
    len += (size_t)n;
    text[len] = '\0';
    while ((end = strchr(text, '\n')) != NULL) {
        *end = '\0';
        obey(text);
        len -= (size_t)(end + 1 - text);
        memmove(text, end + 1, len + 1);
    }
    return true;
}

static void open_packet(const char *dev)
{
    struct ifreq request = {0};
    int size = 64 << 20;
    s.fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", dev);
    if (s.fd < 0 || ioctl(s.fd, SIOCGIFINDEX, &request) < 0) {
        die(dev);
    }
    s.to = (struct sockaddr_ll){.sll_family = AF_PACKET, .sll_ifindex = request.ifr_ifindex, .sll_halen = 6};
    struct sockaddr_ll at = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = request.ifr_ifindex};
    if (bind(s.fd, (struct sockaddr *)&at, sizeof at) < 0 || ioctl(s.fd, SIOCGIFHWADDR, &request) < 0) {
        die(dev);
    }
    memcpy(s.mac, request.ifr_hwaddr.sa_data, 6);
    if (ioctl(s.fd, SIOCGIFADDR, &request) < 0) {
        die(dev);
    }
    s.own = ((struct sockaddr_in *)&request.ifr_addr)->sin_addr.s_addr;
    setsockopt(s.fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: sweep DEV MAC[,MAC...]\n", stderr);
        return 2;
    }
    open_packet(argv[1]);
    for (char *mac = strtok(argv[2], ","); mac != NULL && s.n_nodes < NODES_MAX; mac = strtok(NULL, ",")) {
        if (!parse_mac(mac, s.nodes[s.n_nodes++])) {
            errno = EINVAL;
            die(mac);
        }
    }
    struct pollfd fds[2] = {{s.fd, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    while (poll(fds, 2, s.awaiting ? 1 : -1) >= 0) {
        hear_all();
        if (s.awaiting && now_ns() - s.heard > IDLE_MS * 1000000ull) {
            ask_some();
        }
        if (fds[1].revents && !obey_all()) {
            return 0;
        }
    }
    die("poll");
}
