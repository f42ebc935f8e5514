/* Happy path: connection_waits() -> accept_one() -> conn_accept(), and peers_conn.c asks who it is.
 *
 * Failures: strangers. Accepted connections that are not in use yet are bounded in number here, for one address and for
 * all (over the bound the oldest goes, those from addresses of no peer first), and by the handshake in time (its deadline)
 * and memory (TLS_HANDSHAKE_MAX). How many may begin is bounded per second, for one address and for all that are no
 * peer's: so strangers cannot wear the node out with handshakes, nor keep a peer from its own. How many are accepted is
 * bounded per turn of the loop. Without memory or descriptors the connection waits in the kernel, or
 * libuv turns it away. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/peers_private.h"
#include "io/sockaddr.h"

#define BACKLOG 128
#define SECOND_MS 1000
#define ACCEPTS_MAX 32 /* in a millisecond: then the loop's other work comes first */

static bool is_stranger(const struct conn *conn)
{
    return !conn->dialled && conn->state != CONN_ACTIVE && conn->state != CONN_CLOSED;
}

/* Who has one IPv6 address has the whole /64: it counts as one, unless it is a peer's. */
static struct addr source_of(const struct peers *peers, const struct addr *addr)
{
    struct addr source = *addr;

    if (addr->family == 6 && peers_at(peers, addr) == NULL) {
        memset(source.bytes + 8, 0, 8);
    }
    return source;
}

static void evict(struct conn *conn)
{
    conn->peers->counters.evicted++;
    peers_tell_refused(conn, REFUSAL_CROWD, NULL, "too many connections at a time that do not come to use");
    conn_close(conn, "too many strangers");
}

/* Over a bound, the oldest goes (the list begins with the newest): of the same address, else from an address of no peer,
 * else of all. */
static void evict_stranger(struct peers *peers, const struct conn *newest)
{
    struct conn *oldest = NULL, *oldest_foreign = NULL, *oldest_here = NULL;
    struct addr source = source_of(peers, &newest->remote.addr);
    unsigned n = 0, n_here = 0;

    for (struct conn *conn = peers->conns; conn != NULL; conn = conn->next) {
        struct addr other = source_of(peers, &conn->remote.addr);

        if (!is_stranger(conn)) {
            continue;
        }
        n++;
        oldest = conn;
        oldest_foreign = peers_at(peers, &conn->remote.addr) != NULL ? oldest_foreign : conn;
        if (addr_equal(&other, &source)) {
            n_here++;
            oldest_here = conn;
        }
    }
    if (n_here > peers->config.strangers_per_address_max) {
        evict(oldest_here);
    } else if (n > peers->config.strangers_max) {
        evict(oldest_foreign != NULL ? oldest_foreign : oldest);
    }
}

/* The entry of an address, or the one that is longest out of use. */
static struct source *find_source(struct peers *peers, const struct addr *addr)
{
    struct source *idle = &peers->sources[0];

    for (unsigned i = 0; i < SOURCES_MAX; i++) {
        if (addr_equal(&peers->sources[i].addr, addr)) {
            return &peers->sources[i];
        }
        if (peers->sources[i].accepts.since_ms < idle->accepts.since_ms) {
            idle = &peers->sources[i];
        }
    }
    *idle = (struct source){.addr = *addr};
    return idle;
}

/* Each one costs a handshake: no address may begin many in a second, nor all strangers together. */
static bool is_hasty(struct peers *peers, const struct conn *conn)
{
    struct addr addr = source_of(peers, &conn->remote.addr);
    int64_t now = (int64_t)uv_now(peers->loop);

    if (!throttle_pass(&find_source(peers, &addr)->accepts, now, peers->config.accepts_per_s, SECOND_MS)) {
        return true;
    }
    return peers_at(peers, &conn->remote.addr) == NULL &&
           !throttle_pass(&peers->foreign, now, peers->config.foreign_per_s, SECOND_MS);
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
    if (is_hasty(peers, conn)) {
        peers->counters.hasty++;
        peers_tell_refused(conn, REFUSAL_CROWD, NULL, "too many connections in a second");
        conn_close(conn, "too many strangers");
        return;
    }
    evict_stranger(peers, conn);
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
