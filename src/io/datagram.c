/* Happy path: the socket becomes readable -> readable() -> one recvmmsg() per BATCH -> received() for each; sending is one
 * sendmmsg() per BATCH, at once.
 *
 * Failures: a datagram that cannot be sent (a filter, no route, full queues) is counted and skipped: its successor may go
 * elsewhere. A flood: what nobody wants the kernel drops at once (datagram_allow); at most READS_MAX are taken per turn of the
 * loop, the rest waits in the kernel or is dropped there. The kernel counts both (SO_RXQ_OVFL). An error that the network left on the socket is read off and counted. */

#include "io/datagram.h"

#include <errno.h>
#include <linux/filter.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/sockaddr.h"

#define BATCH 32
#define UDP_HEADER 8 /* bytes: a socket's filter sees it */
#define READS_MAX (4 * BATCH)
#define RECEIVE_BUFFER (1 << 20)                  /* bytes: seconds of heartbeats of a full cluster */
#define SLOT_SIZE ((PACKET_MAX + 1 + 7) / 8 * 8) /* one byte more than allowed tells what is too long */

struct datagram
{
    uv_poll_t poll;
    int fd;
    struct endpoint at;
    datagram_received *received;
    void *ud;
    bool closing;
    void (*closed)(void *ud);
    void *closed_ud;
    struct datagram_counters counters;
    uint32_t dropped_before; /* the kernel's count, which wraps */
    struct mmsghdr headers[BATCH];
    struct iovec vectors[BATCH];
    struct sockaddr_storage names[BATCH];
    _Alignas(struct cmsghdr) char controls[BATCH][CMSG_SPACE(sizeof(uint32_t))];
    _Alignas(8) uint8_t slots[BATCH][SLOT_SIZE];
};

/* ------------------------------------------------------------------------------------------------------- receiving */

static void note_overflow(struct datagram *datagram, struct msghdr *header)
{
    uint32_t count;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
            memcpy(&count, CMSG_DATA(c), sizeof count);
            datagram->counters.dropped += (uint32_t)(count - datagram->dropped_before);
            datagram->dropped_before = count;
        }
    }
}

static void prepare_receive(struct datagram *datagram)
{
    for (unsigned i = 0; i < BATCH; i++) {
        datagram->vectors[i] = (struct iovec){.iov_base = datagram->slots[i], .iov_len = PACKET_MAX + 1};
        datagram->headers[i] = (struct mmsghdr){
            .msg_hdr = {.msg_name = &datagram->names[i],
                        .msg_namelen = sizeof datagram->names[i],
                        .msg_iov = &datagram->vectors[i],
                        .msg_iovlen = 1,
                        .msg_control = datagram->controls[i],
                        .msg_controllen = sizeof datagram->controls[i]},
        };
    }
}

static void deliver(struct datagram *datagram, unsigned i)
{
    struct mmsghdr *header = &datagram->headers[i];
    struct endpoint from;

    note_overflow(datagram, &header->msg_hdr);
    if (header->msg_len > PACKET_MAX) {
        datagram->counters.oversize++;
    } else if (!sockaddr_to(&datagram->names[i], &from)) {
        datagram->counters.failed++;
    } else {
        datagram->counters.received++;
        datagram->received(datagram->ud, &from, datagram->slots[i], header->msg_len);
    }
}

/* How many were taken; 0: there is nothing more. */
static unsigned receive_batch(struct datagram *datagram)
{
    prepare_receive(datagram);
    int n = recvmmsg(datagram->fd, datagram->headers, BATCH, MSG_DONTWAIT, NULL);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            datagram->counters.failed++;
        }
        return 0;
    }
    for (unsigned i = 0; i < (unsigned)n && !datagram->closing; i++) {
        deliver(datagram, i);
    }
    return (unsigned)n;
}

static void readable(uv_poll_t *poll, int status, int events)
{
    struct datagram *datagram = poll->data;
    unsigned total = 0, n;

    (void)events;
    if (status < 0) { /* POLLERR comes so: receiving takes the error off the socket */
        datagram->counters.failed++;
    }
    do {
        n = receive_batch(datagram);
        total += n;
    } while (n == BATCH && total < READS_MAX && !datagram->closing);
    if (status < 0 && !datagram->closing && uv_poll_start(poll, UV_READABLE, readable) < 0) {
        abort(); /* libuv stops at an error; starting again fails only for a closed handle */
    }
}

/* --------------------------------------------------------------------------------------------------------- sending */

static void count_error(struct datagram_counters *counters, int error)
{
    switch (error) {
    case EPERM:
    case EACCES:
        counters->denied++;
        break;
    case ENOBUFS:
    case ENOMEM:
    case EAGAIN:
        counters->no_buffer++;
        break;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case EADDRNOTAVAIL:
    case ECONNREFUSED:
        counters->unreachable++;
        break;
    default:
        counters->failed++;
        break;
    }
}

struct outgoing
{
    struct mmsghdr headers[BATCH];
    struct iovec vectors[BATCH];
    struct sockaddr_storage names[BATCH];
    unsigned n;
};

static bool add(struct datagram *datagram, struct outgoing *outgoing, const struct datagram_out *out)
{
    unsigned i = outgoing->n;

    if (out->len > PACKET_MAX || out->to.port == 0 || out->to.addr.family != datagram->at.addr.family) {
        datagram->counters.failed++;
        return false;
    }
    outgoing->vectors[i] = (struct iovec){.iov_base = (void *)out->data, .iov_len = out->len};
    outgoing->headers[i] = (struct mmsghdr){
        .msg_hdr = {.msg_name = &outgoing->names[i],
                    .msg_namelen = sockaddr_from(&out->to, &outgoing->names[i]),
                    .msg_iov = &outgoing->vectors[i],
                    .msg_iovlen = 1},
    };
    outgoing->n++;
    return true;
}

/* sendmmsg() stops at the first that fails, and tells why only if that is the first of the call. */
static size_t flush(struct datagram *datagram, struct outgoing *outgoing)
{
    unsigned at = 0;
    size_t taken = 0;

    while (at < outgoing->n) {
        int n = sendmmsg(datagram->fd, outgoing->headers + at, outgoing->n - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            at += (unsigned)n;
            taken += (unsigned)n;
        } else if (errno != EINTR) {
            count_error(&datagram->counters, errno);
            at++;
        }
    }
    outgoing->n = 0;
    datagram->counters.sent += taken;
    return taken;
}

size_t datagram_send_all(struct datagram *datagram, const struct datagram_out *list, size_t n)
{
    struct outgoing outgoing; /* several KiB: filled as far as it is used */
    size_t taken = 0;

    outgoing.n = 0;
    for (size_t i = 0; i < n && !datagram->closing; i++) {
        if (add(datagram, &outgoing, &list[i]) && outgoing.n == BATCH) {
            taken += flush(datagram, &outgoing);
        }
    }
    return taken + flush(datagram, &outgoing);
}

bool datagram_send(struct datagram *datagram, const struct endpoint *to, const void *data, size_t len)
{
    struct datagram_out out = {.to = *to, .data = data, .len = len};

    return datagram_send_all(datagram, &out, 1) == 1;
}

/* ------------------------------------------------------------------------------------------------------------ filter */

/* Two instructions a word: a conditional jump reaches no further than 255. */
int datagram_allow(struct datagram *datagram, uint32_t offset, const uint32_t *words, size_t n)
{
    struct sock_filter program[2 + 2 * DATAGRAM_ALLOW_MAX];
    struct sock_fprog fprog = {.filter = program};
    unsigned short at = 0;

    if (n > DATAGRAM_ALLOW_MAX) {
        abort();
    }
    program[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, UDP_HEADER + offset); /* too short: dropped */
    for (size_t i = 0; i < n; i++) {
        program[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, words[i], 0, 1);
        program[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
    }
    program[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
    fprog.len = at;
    return setsockopt(datagram->fd, SOL_SOCKET, SO_ATTACH_FILTER, &fprog, sizeof fprog) < 0 ? -errno : 0;
}

/* ------------------------------------------------------------------------------------------------- beginning and end */

static int open_socket(const struct endpoint *at, struct endpoint *ret_at)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    int on = 1, size = RECEIVE_BUFFER;
    int fd = sockaddr_bound(at, SOCK_DGRAM);

    if (fd < 0) {
        return fd;
    }
    /* The plain option is cut to net.core.rmem_max; the other needs CAP_NET_ADMIN, which the daemon has. */
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0 &&
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) < 0) {
        goto failed;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) < 0) {
        goto failed;
    }
    if (!sockaddr_to(&address, ret_at)) {
        abort(); /* of the family that it was made of */
    }
    return fd;
failed:;
    int r = -errno;
    close(fd);
    return r;
}

static void poll_closed(uv_handle_t *handle)
{
    struct datagram *datagram = handle->data;
    void (*closed)(void *ud) = datagram->closed;
    void *ud = datagram->closed_ud;

    close(datagram->fd);
    free(datagram);
    if (closed != NULL) {
        closed(ud);
    }
}

int datagram_init(struct datagram **ret, uv_loop_t *loop, const struct endpoint *at, datagram_received *received,
                  void *ud)
{
    struct datagram *datagram = calloc(1, sizeof *datagram);

    if (datagram == NULL) {
        return -ENOMEM;
    }
    datagram->received = received;
    datagram->ud = ud;
    datagram->fd = open_socket(at, &datagram->at);
    int r = datagram->fd < 0 ? datagram->fd : uv_poll_init(loop, &datagram->poll, datagram->fd);
    if (r < 0) {
        if (datagram->fd >= 0) {
            close(datagram->fd);
        }
        free(datagram);
        return r;
    }
    datagram->poll.data = datagram;
    r = uv_poll_start(&datagram->poll, UV_READABLE, readable);
    if (r < 0) {
        datagram_close(datagram, NULL, NULL);
        return r;
    }
    *ret = datagram;
    return 0;
}

void datagram_close(struct datagram *datagram, void (*closed)(void *ud), void *ud)
{
    if (datagram == NULL) {
        if (closed != NULL) {
            closed(ud);
        }
        return;
    }
    if (datagram->closing) {
        abort(); /* twice */
    }
    datagram->closing = true;
    datagram->closed = closed;
    datagram->closed_ud = ud;
    uv_close((uv_handle_t *)&datagram->poll, poll_closed);
}

const struct datagram_counters *datagram_counters(const struct datagram *datagram)
{
    return &datagram->counters;
}

struct endpoint datagram_at(const struct datagram *datagram)
{
    return datagram->at;
}
