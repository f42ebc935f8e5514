/* Happy path: the sockets of both families are asked for (a socket of IPv6 may have a connection of IPv4), those of the addresses are
 * noted as they come in, and when all are known they are destroyed, so many in each turn. The kernel does that within sendmsg(), and
 * answers only what it refuses. Failure modes: a socket is gone meanwhile (fine); the dump fails, or is cut short by the kernel (what is known is reset);
 * there are more than CONNECTIONS_MAX (the rest is left, and counted). */

#include "io/connections.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE 32768    /* what the kernel hands out of a dump at a time, at most */
#define READS_A_TURN 4
#define BATCH 32           /* destroyed by one call ... */
#define TURN_NS 1000000    /* ... and as many calls in a turn of the loop as fit: one socket takes some 10 us */
#define FILTERED_MAX 16    /* up to so many addresses the kernel looks for; else all sockets are looked at here */
#define ANSWER_S 2         /* of the probe; the kernel answers before sendmsg() returns */

/* Everything that has another end which could wait for it. */
#define STATES                                                                                                          \
    (1u << TCP_ESTABLISHED | 1u << TCP_SYN_SENT | 1u << TCP_SYN_RECV | 1u << TCP_FIN_WAIT1 | 1u << TCP_FIN_WAIT2 |     \
     1u << TCP_CLOSE_WAIT | 1u << TCP_LAST_ACK | 1u << TCP_CLOSING | 1u << 12 /* TCP_NEW_SYN_RECV, not in the headers */)

/* One socket, as the kernel names it. */
struct found
{
    uint8_t family;
    struct inet_diag_sockid id;
};

struct connections
{
    uv_poll_t poll;
    uv_idle_t turn; /* not a timer: one that is started anew by itself runs again before anything is heard */
    int fd, open; /* open: handles */
    struct connections_ops ops;
    void *ud;
    bool at_work, destroying;
    uint8_t family; /* being listed */
    uint32_t n_addrs;
    struct addr *addrs; /* sorted */
    uint32_t n_found, n_room, at;
    struct found *found;
    struct connections_result result;
    uint8_t buffer[READ_SIZE];
};

/* ------------------------------------------------------------------ requests */

struct request
{
    struct nlmsghdr head;
    struct inet_diag_req_v2 body;
};

static struct request request_of(uint16_t type, uint16_t flags, uint8_t family)
{
    struct request request;
    memset(&request, 0, sizeof(request));
    request.head.nlmsg_len = sizeof(request);
    request.head.nlmsg_type = type;
    request.head.nlmsg_flags = NLM_F_REQUEST | flags;
    request.body.sdiag_family = family;
    request.body.sdiag_protocol = IPPROTO_TCP;
    return request;
}

static int send_all(int fd, const void *bytes, size_t len)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t n;
    do {
        n = sendto(fd, bytes, len, 0, (struct sockaddr *)&kernel, sizeof(kernel));
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* ------------------------------------------------------------------ the filter
 *
 * "Its own address is one of these", in the kernel's little language: for each but the last a condition which, where it
 * holds, goes on to a jump behind all the others, and which else skips that jump; for the last one which rejects. */

struct filter
{
    uint8_t bytes[FILTERED_MAX * (2 * sizeof(struct inet_diag_bc_op) + sizeof(struct inet_diag_hostcond) + 16)];
    uint16_t len;
};

static uint16_t condition_len(const struct addr *addr)
{
    return (uint16_t)(sizeof(struct inet_diag_bc_op) + sizeof(struct inet_diag_hostcond) + (addr->family == 4 ? 4 : 16));
}

static void put(struct filter *filter, const void *bytes, size_t len)
{
    memcpy(filter->bytes + filter->len, bytes, len);
    filter->len = (uint16_t)(filter->len + len);
}

static void build_filter(const struct addr *addrs, uint32_t n, struct filter *ret)
{
    uint16_t total = 0;
    ret->len = 0;
    for (uint32_t i = 0; i < n; i++) {
        total = (uint16_t)(total + condition_len(&addrs[i]) + (i + 1 < n ? sizeof(struct inet_diag_bc_op) : 0));
    }
    for (uint32_t i = 0; i < n; i++) {
        uint16_t len = condition_len(&addrs[i]);
        struct inet_diag_bc_op op = {.code = INET_DIAG_BC_S_COND, .yes = (uint8_t)len, .no = (uint16_t)(len + sizeof(op))};
        struct inet_diag_hostcond cond = {.family = addrs[i].family == 4 ? AF_INET : AF_INET6,
                                          .prefix_len = addr_bits(&addrs[i]), .port = -1};
        put(ret, &op, sizeof(op));
        put(ret, &cond, sizeof(cond));
        put(ret, addrs[i].bytes, addrs[i].family == 4 ? 4 : 16);
        if (i + 1 < n) {
            struct inet_diag_bc_op jump = {.code = INET_DIAG_BC_JMP, .yes = sizeof(jump), .no = (uint16_t)(total - ret->len)};
            put(ret, &jump, sizeof(jump));
        }
    }
}

static int ask_for_list(struct connections *c)
{
    struct
    {
        struct request request;
        struct nlattr attr;
        uint8_t filter[sizeof(struct filter)];
    } message;
    struct filter filter;
    memset(&message, 0, sizeof(message));
    message.request = request_of(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, c->family);
    message.request.body.idiag_states = STATES;
    if (c->n_addrs <= FILTERED_MAX) {
        build_filter(c->addrs, c->n_addrs, &filter);
        memcpy(message.filter, filter.bytes, filter.len);
        message.attr.nla_type = INET_DIAG_REQ_BYTECODE;
        message.attr.nla_len = (uint16_t)(sizeof(message.attr) + filter.len);
        message.request.head.nlmsg_len += message.attr.nla_len;
    }
    return send_all(c->fd, &message, message.request.head.nlmsg_len);
}

/* ------------------------------------------------------------------ what comes back */

static struct addr own_address(const struct inet_diag_msg *socket)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    const uint8_t *bytes = (const uint8_t *)socket->id.idiag_src;
    struct addr addr = {.family = socket->idiag_family == AF_INET ? 4 : 6};
    if (addr.family == 6 && memcmp(bytes, mapped, sizeof(mapped)) == 0) {
        addr.family = 4;
        bytes += sizeof(mapped);
    }
    memcpy(addr.bytes, bytes, addr.family == 4 ? 4 : 16);
    return addr;
}

static int compare(const void *a, const void *b)
{
    return addr_compare(a, b);
}

static void note(struct connections *c, const struct inet_diag_msg *socket)
{
    struct addr own = own_address(socket);
    if (!bsearch(&own, c->addrs, c->n_addrs, sizeof(*c->addrs), compare)) {
        return;
    }
    if (c->n_found == c->n_room) {
        uint32_t room = c->n_room == 0 ? 256 : c->n_room * 2;
        struct found *more = room > CONNECTIONS_MAX ? NULL : realloc(c->found, room * sizeof(*more));
        if (more == NULL) {
            c->result.left++;
            return;
        }
        c->found = more;
        c->n_room = room;
    }
    c->found[c->n_found++] = (struct found){.family = socket->idiag_family, .id = socket->id};
}

/* What it refuses to destroy. One that is gone meanwhile is no failure. */
static void refused(struct connections *c, int err)
{
    if (c->destroying && err != -ENOENT) {
        c->result.failed++;
    } else if (!c->destroying) {
        c->result.err = err;
    }
}

static void end_sweep(struct connections *c)
{
    struct connections_result result = c->result;
    uint32_t not_reset = result.failed;
    c->at_work = c->destroying = false;
    (void)uv_idle_stop(&c->turn);
    free(c->addrs);
    free(c->found);
    c->addrs = NULL;
    c->found = NULL;
    result.reset = c->at > not_reset ? c->at - not_reset : 0;
    c->n_found = c->n_room = c->at = 0;
    c->ops.done(c->ud, &result);
}

static void on_turn(uv_idle_t *idle);

static void listed(struct connections *c)
{
    if (c->family == AF_INET && c->result.err == 0) {
        c->family = AF_INET6;
        c->result.err = ask_for_list(c);
        if (c->result.err == 0) {
            return;
        }
    }
    c->destroying = true;
    on_turn(&c->turn); /* the addresses go as soon as that is done: no time for new connections */
}

static void take(struct connections *c, const uint8_t *bytes, size_t len)
{
    const struct nlmsghdr *head = (const void *)bytes;
    for (; c->at_work && NLMSG_OK(head, len); head = NLMSG_NEXT(head, len)) {
        const struct nlmsgerr *error = NLMSG_DATA(head);
        if (head->nlmsg_type == NLMSG_ERROR && head->nlmsg_len >= NLMSG_LENGTH(sizeof(*error))) {
            refused(c, error->error);
        }
        if (head->nlmsg_type == SOCK_DIAG_BY_FAMILY && head->nlmsg_len >= NLMSG_LENGTH(sizeof(struct inet_diag_msg))) {
            note(c, NLMSG_DATA(head));
        } else if (!c->destroying && (head->nlmsg_type == NLMSG_DONE || head->nlmsg_type == NLMSG_ERROR)) {
            listed(c);
            return; /* the buffer has been used anew */
        }
    }
}

/* One datagram; false: there is none. */
static bool read_one(struct connections *c)
{
    ssize_t n = recv(c->fd, c->buffer, sizeof(c->buffer), MSG_DONTWAIT);
    if (n > 0) {
        take(c, c->buffer, (size_t)n);
    } else if (n < 0 && errno == ENOBUFS && c->at_work && !c->destroying) {
        c->result.err = -ENOBUFS;
        listed(c);
    }
    return n > 0;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct connections *c = poll->data;
    (void)status;
    (void)events;
    for (int i = 0; i < READS_A_TURN && c->open == 2 && read_one(c); i++) {
    }
}

static void destroy_some(struct connections *c)
{
    struct request batch[BATCH];
    unsigned n = 0;
    for (; n < BATCH && c->at < c->n_found; n++, c->at++) {
        batch[n] = request_of(SOCK_DESTROY, 0, c->found[c->at].family);
        batch[n].body.id = c->found[c->at].id;
        batch[n].body.idiag_states = STATES;
    }
    if (n > 0 && send_all(c->fd, batch, n * sizeof(batch[0])) < 0) {
        c->result.failed += n;
    }
    while (read_one(c)) { /* what was refused: a few words for each */
    }
}

static void on_turn(uv_idle_t *idle)
{
    struct connections *c = idle->data;
    uint64_t until = uv_hrtime() + TURN_NS;
    do {
        destroy_some(c);
    } while (c->at < c->n_found && uv_hrtime() < until);
    if (c->at == c->n_found) {
        end_sweep(c);
    } else {
        uv_idle_start(&c->turn, on_turn);
    }
}

int connections_reset(struct connections *c, const struct addr *addrs, uint32_t n)
{
    if (c->at_work) {
        return -EBUSY;
    }
    c->addrs = malloc(n * sizeof(*addrs));
    if (c->addrs == NULL) {
        return -ENOMEM;
    }
    memcpy(c->addrs, addrs, n * sizeof(*addrs));
    qsort(c->addrs, n, sizeof(*addrs), compare);
    c->n_addrs = n;
    c->result = (struct connections_result){0};
    c->family = c->addrs[0].family == 4 ? AF_INET : AF_INET6; /* the families of addresses are in order: IPv4 first */
    int err = ask_for_list(c);
    if (err < 0) {
        free(c->addrs);
        c->addrs = NULL;
        return err;
    }
    c->at_work = true;
    return 0;
}

/* ------------------------------------------------------------------ begin and end */

/* The kernel's answer to a request; a dump of nothing answers 0. */
static int answer_to(int fd, struct request request)
{
    uint8_t bytes[8192];
    const struct nlmsghdr *head = (const void *)bytes;
    int err = send_all(fd, &request, request.head.nlmsg_len);
    ssize_t n = err < 0 ? 0 : recv(fd, bytes, sizeof(bytes), 0);
    if (err < 0 || n <= 0) {
        return err < 0 ? err : n < 0 ? -errno : -EIO;
    }
    const struct nlmsgerr *error = NLMSG_DATA(head);
    return head->nlmsg_type == NLMSG_ERROR && (size_t)n >= NLMSG_LENGTH(sizeof(*error)) ? error->error : 0;
}

/* A kernel without sock_diag for TCP has no such family (ENOENT); one that cannot destroy says so of a socket that is not there. */
static int probe(int fd)
{
    struct request destroy = request_of(SOCK_DESTROY, NLM_F_ACK, AF_INET);
    int err = answer_to(fd, request_of(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, AF_INET));
    if (err < 0) {
        return err == -ENOENT ? -EOPNOTSUPP : err;
    }
    destroy.body.idiag_states = STATES;
    destroy.body.id.idiag_cookie[0] = destroy.body.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    err = answer_to(fd, destroy);
    return err == -ENOENT || err == 0 ? 0 : err;
}

int connections_open(struct connections **ret, uv_loop_t *loop, const struct connections_ops *ops, void *ud)
{
    struct timeval limit = {.tv_sec = ANSWER_S};
    struct connections *c = calloc(1, sizeof(*c));
    int err;
    if (c == NULL) {
        return -ENOMEM;
    }
    c->ops = *ops;
    c->ud = ud;
    c->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    err = c->fd < 0 ? -errno : 0;
    if (err == 0) {
        (void)setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        err = probe(c->fd);
    }
    if (err == 0) {
        err = uv_poll_init(loop, &c->poll, c->fd);
    }
    if (err < 0) {
        if (c->fd >= 0) {
            close(c->fd);
        }
        free(c);
        return err;
    }
    (void)uv_idle_init(loop, &c->turn);
    c->poll.data = c->turn.data = c;
    c->open = 2;
    (void)uv_poll_start(&c->poll, UV_READABLE, on_readable);
    *ret = c;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct connections *c = handle->data;
    if (--c->open == 0) {
        close(c->fd);
        free(c->addrs);
        free(c->found);
        free(c);
    }
}

void connections_close(struct connections *c)
{
    if (c != NULL && !uv_is_closing((uv_handle_t *)&c->poll)) {
        c->at_work = false;
        uv_close((uv_handle_t *)&c->poll, on_closed);
        uv_close((uv_handle_t *)&c->turn, on_closed);
    }
}
