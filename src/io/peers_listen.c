/* Happy path: connection_waits() -> accept_one() -> conn_accept(), and peers_conn.c asks who it is.
 *
 * Failures: strangers. Accepted connections that are not in use yet are bounded in number here (over the bound the oldest
 * goes, those from addresses of no peer first), and by the handshake in time (its deadline) and memory (one hello). How
 * many are accepted is bounded per turn of the loop. Without memory or descriptors the connection waits in the kernel, or
 * libuv turns it away. */

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/peers_private.h"
#include "io/sockaddr.h"

#define BACKLOG 128
#define ACCEPTS_MAX 32 /* in a millisecond: then the loop's other work comes first */

static bool is_stranger(const struct conn *conn)
{
    return !conn->dialled && conn->state != CONN_ACTIVE && conn->state != CONN_CLOSED;
}

static bool is_at_peer(const struct peers *peers, const struct conn *conn)
{
    for (unsigned i = 0; i < NODES_MAX; i++) {
        if (peers->peers[i].id != 0 && addr_equal(&peers->peers[i].at.addr, &conn->remote.addr)) {
            return true;
        }
    }
    return false;
}

/* Over the bound: the oldest from an address of no peer, else the oldest of all (the list begins with the newest). */
static void evict_stranger(struct peers *peers)
{
    struct conn *oldest = NULL, *oldest_foreign = NULL;
    unsigned n = 0;

    for (struct conn *conn = peers->conns; conn != NULL; conn = conn->next) {
        if (is_stranger(conn)) {
            n++;
            oldest = conn;
            oldest_foreign = is_at_peer(peers, conn) ? oldest_foreign : conn;
        }
    }
    if (n > peers->config.strangers_max) {
        peers->counters.evicted++;
        conn_close(oldest_foreign != NULL ? oldest_foreign : oldest, "too many strangers");
    }
}

static void accept_one(struct peers *peers)
{
    struct conn *conn = conn_new(peers, false, 0);

    peers->accepted_n++;
    if (conn == NULL) {
        peers->accept_waits = true; /* tried again when there may be memory */
        peers_wake(peers, uv_now(peers->loop) + peers->config.retry_max_ms);
        return;
    }
    if (conn_accept(conn) < 0) {
        conn_close(conn, "it was gone before it was accepted");
        return;
    }
    peers->counters.accepted++;
    evict_stranger(peers);
}

static void connection_waits(uv_stream_t *listener, int status)
{
    struct peers *peers = listener->data;
    uint64_t now = uv_now(peers->loop);

    if (status < 0 || peers->closing) {
        return;
    }
    if (peers->accept_ms != now) {
        peers->accept_ms = now;
        peers->accepted_n = 0;
    }
    if (peers->accepted_n >= ACCEPTS_MAX) {
        peers->accept_waits = true; /* libuv listens again once it is accepted */
        peers_wake(peers, now + 1);
        return;
    }
    accept_one(peers);
}

void peers_accept_waiting(struct peers *peers)
{
    peers->accept_waits = false;
    peers->accept_ms = uv_now(peers->loop);
    peers->accepted_n = 0;
    accept_one(peers);
}

/* The socket listens before libuv has a part in it, so that a failure leaves nothing to be closed by the loop. */
static int listen_at(const struct endpoint *at, struct endpoint *ret_listening)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    int fd = sockaddr_bound(at, SOCK_STREAM);

    if (fd < 0) {
        return fd;
    }
    if (listen(fd, BACKLOG) < 0 || getsockname(fd, (struct sockaddr *)&address, &len) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    if (!sockaddr_to(&address, ret_listening)) {
        abort(); /* of the family that it was made of */
    }
    return fd;
}

int peers_listen(struct peers *peers)
{
    int fd = listen_at(&peers->config.listen, &peers->listening);

    if (fd < 0) {
        return fd;
    }
    if (uv_tcp_init(peers->loop, &peers->listener) < 0 || uv_timer_init(peers->loop, &peers->timer) < 0) {
        abort(); /* neither can fail: no socket is made here */
    }
    peers->listener.data = peers;
    peers->timer.data = peers;
    peers->handles = 2;
    int r = uv_tcp_open(&peers->listener, fd);
    if (r < 0) {
        close(fd);
        return r;
    }
    return uv_listen((uv_stream_t *)&peers->listener, BACKLOG, connection_waits);
}
