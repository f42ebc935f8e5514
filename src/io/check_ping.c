/* ping: one ICMP echo (RFC 792, RFC 4443) to an address, or to the default router of this node, and its answer. One frame a
 * run: what is lost is what `fall` is for. */

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/check_private.h"
#include "io/sockaddr.h"

#define ICMP_FILTER 1 /* raw(7); its header cannot be had beside net/if.h: a set of types that are dropped */
#define IPV4_HEADER_MIN 20
#define ROUTES_MAX 4096 /* lines that are looked at: the default route comes early */

static uint16_t checksum(const uint8_t *bytes, size_t n) /* RFC 1071; n is even */
{
    uint32_t sum = 0;
    for (size_t i = 0; i < n; i += 2) {
        sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
    }
    sum = (sum >> 16) + (sum & 0xffff);
    return (uint16_t)~(sum + (sum >> 16));
}

/* proc(5), /proc/net/route: numbers in hexadecimal, addresses in the machine's memory order. */
static bool router4(struct sockaddr_storage *ret)
{
    char line[256];
    unsigned destination, gateway, flags, mask;
    bool found = false;
    FILE *file = fopen("/proc/self/net/route", "re");
    for (int i = 0; file != NULL && !found && i < ROUTES_MAX && fgets(line, sizeof(line), file) != NULL; i++) {
        found = sscanf(line, "%*s %x %x %x %*s %*s %*s %x", &destination, &gateway, &flags, &mask) == 4 &&
                destination == 0 && mask == 0 && gateway != 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    if (found) {
        struct sockaddr_in *at = (struct sockaddr_in *)ret;
        *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = gateway};
    }
    return found;
}

/* /proc/net/ipv6_route: "DESTINATION LEN SOURCE LEN NEXT-HOP ... DEVICE"; the next hop is link-local as a rule. */
static bool router6(struct sockaddr_storage *ret)
{
    char line[256], destination[33], hop[33], dev[IFNAMSIZ];
    unsigned len;
    bool found = false;
    struct sockaddr_in6 at = {.sin6_family = AF_INET6};
    FILE *file = fopen("/proc/self/net/ipv6_route", "re");
    for (int i = 0; file != NULL && !found && i < ROUTES_MAX && fgets(line, sizeof(line), file) != NULL; i++) {
        found = sscanf(line, "%32s %x %*s %*s %32s %*s %*s %*s %*s %15s", destination, &len, hop, dev) == 4 && len == 0 &&
                strspn(destination, "0") == 32 && strlen(hop) == 32 && strspn(hop, "0") < 32;
    }
    if (file != NULL) {
        fclose(file);
    }
    for (int i = 0; found && i < 16; i++) {
        unsigned byte = 0;
        (void)sscanf(hop + 2 * i, "%2x", &byte);
        at.sin6_addr.s6_addr[i] = (uint8_t)byte;
    }
    if (found) {
        at.sin6_scope_id = if_nametoindex(dev);
        memcpy(ret, &at, sizeof(at));
    }
    return found;
}

static bool whom(const struct check_run *run, struct sockaddr_storage *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (run->target.at.addr.family == 0) {
        return router4(ret) || router6(ret);
    }
    (void)sockaddr_from(&run->target.at, ret);
    return true;
}

/* Only echo replies reach the socket, and, as it is connected, only those of the host that was asked. */
static int open_socket(struct check_run *run, const struct sockaddr_storage *to)
{
    bool four = to->ss_family == AF_INET;
    uint32_t filter4 = ~(1u << ICMP_ECHOREPLY);
    struct icmp6_filter filter6;
    ICMP6_FILTER_SETBLOCKALL(&filter6);
    ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter6);
    int fd = socket(to->ss_family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, four ? IPPROTO_ICMP : (int)IPPROTO_ICMPV6);
    if (fd < 0) {
        return -errno;
    }
    int err = four ? setsockopt(fd, SOL_RAW, ICMP_FILTER, &filter4, sizeof(filter4))
                   : setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter6, sizeof(filter6));
    if (err < 0 || connect(fd, (const struct sockaddr *)to, four ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6)) < 0) {
        err = -errno;
        close(fd);
        return err;
    }
    run->ping.family = four ? 4 : 6;
    return fd;
}

/* Type, code, checksum, identifier, number, and eight random bytes that the answer must bring back. */
static int send_echo(struct check_run *run)
{
    uint8_t *echo = run->ping.echo;
    memset(echo, 0, sizeof(run->ping.echo));
    if (getrandom(echo + 4, 12, 0) != 12) {
        abort();
    }
    echo[0] = run->ping.family == 4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
    uint16_t sum = run->ping.family == 4 ? checksum(echo, sizeof(run->ping.echo)) : 0; /* IPv6: the kernel's work */
    echo[2] = (uint8_t)(sum >> 8);
    echo[3] = (uint8_t)sum;
    return send(run->ping.fd, echo, sizeof(run->ping.echo), MSG_DONTWAIT) < 0 ? -errno : 0;
}

static bool is_answer(const struct check_run *run, const uint8_t *packet, size_t n)
{
    if (run->ping.family == 4) {
        size_t header = n > 0 ? (packet[0] & 15u) * 4u : 0;
        if (header < IPV4_HEADER_MIN || n < header) {
            return false;
        }
        packet += header;
        n -= header;
    }
    return n >= sizeof(run->ping.echo) && memcmp(packet + 4, run->ping.echo + 4, sizeof(run->ping.echo) - 4) == 0;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct check_run *run = poll->data;
    uint8_t packet[256];
    (void)events;
    ssize_t n = status < 0 ? 0 : recv(run->ping.fd, packet, sizeof(packet), MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        check_tell(run, false, "%s", strerror(errno));
    } else if (n > 0 && is_answer(run, packet, (size_t)n)) {
        check_tell(run, true, "answered");
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct check_run *run = handle->data;
    close(run->ping.fd);
    check_closed(run);
}

static void close_ping(struct check_run *run)
{
    if (run->ping.poll.data != NULL && !uv_is_closing((uv_handle_t *)&run->ping.poll)) {
        uv_close((uv_handle_t *)&run->ping.poll, on_closed);
    }
}

static int start(struct check_run *run, const struct check_job *job, char ret_detail[CHECK_DETAIL_SIZE])
{
    struct sockaddr_storage to;
    (void)job;
    if (!whom(run, &to)) {
        snprintf(ret_detail, CHECK_DETAIL_SIZE, "there is no default route");
        return -ENETUNREACH;
    }
    int err = run->ping.fd = open_socket(run, &to);
    if (err >= 0) {
        err = uv_poll_init(run->loop, &run->ping.poll, run->ping.fd);
        if (err < 0) {
            close(run->ping.fd);
        }
    }
    if (err >= 0) {
        run->ping.poll.data = run;
        check_opened(run);
        err = send_echo(run);
    }
    if (err >= 0) {
        err = uv_poll_start(&run->ping.poll, UV_READABLE, on_readable);
    }
    if (err < 0) {
        snprintf(ret_detail, CHECK_DETAIL_SIZE, "%s", strerror(-err));
    }
    return err;
}

const struct check_adapter CHECK_ECHO = {.start = start, .close = close_ping};
