/* Happy path: peers_set() plans an attempt, the timer starts it (dial), peers_conn.c takes it through the handshake into
 * use; what others dial comes through peers_listen.c into the same handshake. peers_send() queues on the connection in
 * use; message() brings what comes.
 *
 * Failures: an attempt fails: the next one starts retry_ms after its start, doubled each time up to a limit, with
 * jitter, so that two nodes do not keep meeting half way. A connection in use ends: the next attempt is planned at once.
 * A peer heard by datagram (peers_hint) has its waiting cut short, and an attempt that began into silence is begun
 * anew once: its first packet is lost, and the kernel would repeat it a second later only. */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "io/peers_private.h"

#define SILENCE_MS 300 /* without a hint for so long, an attempt is made blindly */

/* ------------------------------------------------------------------------------------------------------------- time */

static uint64_t now_ms(const struct peers *peers)
{
    return uv_now(peers->loop);
}

/* xorshift64: for jitter only. */
static uint32_t random_below(struct peers *peers, uint32_t bound)
{
    peers->random ^= peers->random << 13;
    peers->random ^= peers->random >> 7;
    peers->random ^= peers->random << 17;
    return bound == 0 ? 0 : (uint32_t)(peers->random >> 32) % bound;
}

static void dial(struct peers *peers, struct peer *peer);

static uint64_t next_due(const struct peers *peers)
{
    uint64_t due = PEERS_NEVER;

    for (const struct conn *conn = peers->conns; conn != NULL; conn = conn->next) {
        if (conn->state != CONN_CLOSED && conn->due_ms < due) {
            due = conn->due_ms;
        }
    }
    for (unsigned i = 0; i < NODES_MAX; i++) {
        if (peers->peers[i].id != 0 && peers->peers[i].due_ms < due) {
            due = peers->peers[i].due_ms;
        }
    }
    return due;
}

static void timer_due(uv_timer_t *timer)
{
    struct peers *peers = timer->data;
    uint64_t now = now_ms(peers);

    peers->timer_ms = PEERS_NEVER;
    if (peers->accept_waits) {
        peers_accept_waiting(peers);
    }
    for (struct conn *conn = peers->conns; conn != NULL && !peers->closing; conn = conn->next) {
        if (conn->due_ms <= now) {
            conn_due(conn);
        }
    }
    for (unsigned i = 0; i < NODES_MAX && !peers->closing; i++) {
        if (peers->peers[i].id != 0 && peers->peers[i].due_ms <= now) {
            dial(peers, &peers->peers[i]);
        }
    }
    peers_wake(peers, next_due(peers));
}

void peers_wake(struct peers *peers, uint64_t due_ms)
{
    uint64_t now = now_ms(peers);

    if (peers->closing || due_ms >= peers->timer_ms) {
        return;
    }
    peers->timer_ms = due_ms;
    if (uv_timer_start(&peers->timer, timer_due, due_ms > now ? due_ms - now : 0, 0) < 0) {
        abort(); /* only a closed timer or no callback: a bug */
    }
}

/* ------------------------------------------------------------------------------------------------------------ peers */

struct peer *peers_find(const struct peers *peers, uint64_t id)
{
    for (unsigned i = 0; i < NODES_MAX && id != 0; i++) {
        if (peers->peers[i].id == id) {
            return (struct peer *)&peers->peers[i];
        }
    }
    return NULL;
}

struct peer *peers_at(const struct peers *peers, const struct addr *addr)
{
    for (unsigned i = 0; i < NODES_MAX; i++) {
        if (peers->peers[i].id != 0 && addr_equal(&peers->peers[i].at.addr, addr)) {
            return (struct peer *)&peers->peers[i];
        }
    }
    return NULL;
}

void peers_plan(struct peers *peers, struct peer *peer)
{
    uint64_t now = now_ms(peers);
    uint32_t min_ms = peers->config.retry_min_ms; /* also when each attempt succeeds and ends at once */
    uint32_t wait_ms = peer->retry_ms < min_ms ? min_ms : peer->retry_ms;

    if (peers->closing || peer->active != NULL || peer->dial != NULL || peer->at.port == 0) {
        return;
    }
    wait_ms -= random_below(peers, wait_ms / 4 + 1);
    peer->due_ms = peer->dial_ms == 0 || peer->dial_ms + wait_ms < now ? now : peer->dial_ms + wait_ms;
    peers_wake(peers, peer->due_ms);
}

void peers_dial_failed(struct peers *peers, struct peer *peer, bool refused)
{
    const struct peers_config *config = &peers->config;
    uint32_t max = refused ? config->refused_max_ms : config->retry_max_ms;

    peers->counters.dials_failed++;
    peer->refused = refused;
    peer->retry_ms = peer->retry_ms == 0 ? config->retry_min_ms : peer->retry_ms * 2;
    if (refused && peer->retry_ms < config->retry_max_ms) {
        peer->retry_ms = config->retry_max_ms; /* a person has to do something first */
    }
    if (peer->retry_ms > max) {
        peer->retry_ms = max;
    }
}

static void dial(struct peers *peers, struct peer *peer)
{
    uint64_t now = now_ms(peers);

    peer->due_ms = PEERS_NEVER;
    if (peer->active != NULL || peer->dial != NULL) {
        return;
    }
    peers->counters.dialled++;
    peer->dial_ms = now;
    peer->blind = peer->heard_ms == 0 || now - peer->heard_ms > SILENCE_MS;
    struct conn *conn = conn_new(peers, true, peer->id);
    int r = conn == NULL ? -ENOMEM : conn_dial(conn, &peer->at);
    if (r < 0) {
        peers_dial_failed(peers, peer, false);
        peers_plan(peers, peer);
        if (conn != NULL) {
            conn_close(conn, "it cannot be dialled");
        }
        return;
    }
    peer->dial = conn;
}

static void drop_dial(struct peer *peer)
{
    if (peer->dial != NULL) {
        conn_close(peer->dial, "begun anew");
    }
}

int peers_welcome(struct peers *peers, uint64_t id)
{
    struct peer *peer = peers_find(peers, id);

    if (id == 0 || id == peers->config.self) {
        return -EINVAL;
    }
    for (unsigned i = 0; i < NODES_MAX && peer == NULL; i++) {
        if (peers->peers[i].id == 0) {
            peer = &peers->peers[i];
            *peer = (struct peer){.id = id, .due_ms = PEERS_NEVER};
        }
    }
    return peer == NULL ? -ENOSPC : 0;
}

int peers_set(struct peers *peers, uint64_t id, const struct endpoint *at)
{
    if (at->port == 0 || at->addr.family == 0) {
        return -EINVAL;
    }
    if (at->addr.family != peers->listening.addr.family) {
        return -EAFNOSUPPORT;
    }
    int r = peers_welcome(peers, id);
    if (r < 0) {
        return r;
    }
    struct peer *peer = peers_find(peers, id);
    if (addr_equal(&peer->at.addr, &at->addr) && peer->at.port == at->port) {
        return 0;
    }
    peer->at = *at;
    peer->retry_ms = 0;
    peer->refused = false;
    drop_dial(peer);
    peers_plan(peers, peer);
    return 0;
}

void peers_unset(struct peers *peers, uint64_t id)
{
    struct peer *peer = peers_find(peers, id);
    struct conn *active = peer == NULL ? NULL : peer->active;

    if (peer == NULL) {
        return;
    }
    for (struct conn *conn = peers->conns; conn != NULL; conn = conn->next) {
        if (conn->id == id && conn != active && conn->state != CONN_REFUSING) {
            conn_close(conn, "no longer a member");
        }
    }
    session_end_all(peers, peer);
    peer->active = NULL;
    peer->id = 0;
    if (active != NULL) {
        conn_close(active, "no longer a member");
        peers->counters.lost++;
        if (!peers->closing) {
            peers->ops.disconnected(peers->ud, id, "no longer a member");
        }
    }
}

void peers_hint(struct peers *peers, uint64_t id)
{
    struct peer *peer = peers_find(peers, id);

    if (peer == NULL || peers->closing) {
        return;
    }
    peer->heard_ms = now_ms(peers);
    if (peer->active != NULL || peer->refused) {
        return;
    }
    if (peer->dial != NULL && peer->dial->state == CONN_DIALLING && peer->blind &&
        peer->heard_ms > peer->dial_ms) {
        peer->retry_ms = 0;
        drop_dial(peer); /* plans the next */
    } else if (peer->dial == NULL && peer->retry_ms > peers->config.retry_min_ms) {
        peer->retry_ms = peers->config.retry_min_ms;
        peers_plan(peers, peer);
    }
}

/* ---------------------------------------------------------------------------------------------------------- messages */

int peers_send(struct peers *peers, uint64_t id, enum channel channel, const void *data, size_t len)
{
    const struct peer *peer = peers_find(peers, id);
    size_t max = peers->config.queue_max + (channel == CHANNEL_RAFT ? 0 : PEERS_QUEUE_SLACK);

    if (channel_max(channel) == 0 || channel == CHANNEL_HELLO || channel == CHANNEL_PING) {
        return -EINVAL;
    }
    if (len > channel_max(channel)) {
        return -EMSGSIZE;
    }
    if (peer == NULL || peer->active == NULL) {
        return -ENOTCONN;
    }
    if (stream_queued(&peer->active->stream) + FRAME_HEADER + len > max) {
        peers->counters.raft_dropped += channel == CHANNEL_RAFT;
        peers->counters.queue_full += channel != CHANNEL_RAFT;
        return channel == CHANNEL_RAFT ? 0 : -ENOBUFS;
    }
    int r = stream_send(&peer->active->stream, channel, data, len);
    if (r == 0) {
        peers->counters.messages_out++;
        peers->counters.bytes_out += len;
    }
    return r;
}

/* What is this file's to say in every hello. */
static void fill_hello(const struct peers *peers, uint64_t to, struct hello *ret)
{
    const struct peer *peer = peers_find(peers, to);

    ret->protocol_min = PROTOCOL_MIN;
    ret->protocol_max = PROTOCOL_MAX;
    ret->refused = false;
    memset(ret->reason, 0, sizeof ret->reason);
    memcpy(ret->cluster, peers->cluster, sizeof ret->cluster);
    memcpy(ret->name, peers->name, sizeof ret->name);
    ret->from = peers->config.self;
    ret->to = to;
    ret->link = peer == NULL ? 0 : peer->link;
}

void peers_greeting(struct peers *peers, uint64_t to, struct hello *ret)
{
    *ret = peers->hello;
    ret->to = to;
    if (peers->ops.greet != NULL) {
        peers->ops.greet(peers->ud, to, ret);
    }
    fill_hello(peers, to, ret);
}

/* --------------------------------------------------------------------------------------------------- what there is */

uint32_t peers_protocol(const struct peers *peers, uint64_t id)
{
    const struct peer *peer = peers_find(peers, id);

    return peer == NULL || peer->protocol == 0 ? PROTOCOL_MIN : peer->protocol;
}

bool peers_is_connected(const struct peers *peers, uint64_t id)
{
    const struct peer *peer = peers_find(peers, id);

    return peer != NULL && peer->active != NULL;
}

int peers_info(const struct peers *peers, uint64_t id, struct peer_info *ret)
{
    const struct peer *peer = peers_find(peers, id);

    if (peer == NULL) {
        return -ENOENT;
    }
    *ret = (struct peer_info){.at = peer->at, .connected = peer->active != NULL};
    if (peer->active != NULL) {
        ret->dialled = peer->active->dialled;
        ret->connected_for_ms = now_ms(peers) - peer->active->since_ms;
        ret->queued = stream_queued(&peer->active->stream);
        ret->hello = &peer->active->hello;
    }
    return 0;
}

const struct peers_counters *peers_counters(const struct peers *peers)
{
    return &peers->counters;
}

struct endpoint peers_listening(const struct peers *peers)
{
    return peers->listening;
}

/* ------------------------------------------------------------------------------------------------ beginning and end */

static void or_default(uint32_t *value, uint32_t otherwise)
{
    *value = *value == 0 ? otherwise : *value;
}

static int configure(struct peers *peers, const struct peers_config *config)
{
    struct peers_config *own = &peers->config;

    if (config->self == 0 || config->cluster == NULL || strlen(config->cluster) >= NAME_SIZE || config->name == NULL ||
        strlen(config->name) >= NAME_SIZE || config->listen.addr.family == 0 || config->n_keys == 0 ||
        config->n_keys > TLS_KEYS_MAX) {
        return -EINVAL;
    }
    *own = *config;
    memcpy(peers->cluster, config->cluster, strlen(config->cluster) + 1);
    memcpy(peers->name, config->name, strlen(config->name) + 1);
    own->cluster = peers->cluster;
    own->name = peers->name;
    own->keys = NULL; /* the caller's; tls has its own */
    or_default(&own->connect_timeout_ms, 500);
    or_default(&own->hello_timeout_ms, 1000);
    or_default(&own->peer_timeout_ms, 5000);
    or_default(&own->user_timeout_ms, 1000);
    or_default(&own->ping_ms, 500);
    or_default(&own->dead_ms, 2000);
    or_default(&own->retry_min_ms, 50);
    or_default(&own->retry_max_ms, 500);
    or_default(&own->refused_max_ms, 5000);
    or_default(&own->strangers_max, 64);
    or_default(&own->strangers_per_address_max, 16);
    or_default(&own->accepts_per_s, 50);
    or_default(&own->foreign_per_s, 200);
    own->queue_max = own->queue_max != 0 ? own->queue_max : channel_max(CHANNEL_RAFT) + ((size_t)1 << 20);
    return own->retry_min_ms <= own->retry_max_ms && own->ping_ms < own->dead_ms ? 0 : -EINVAL;
}

int peers_set_hello(struct peers *peers, const struct hello *hello)
{
    uint8_t buf[4096];
    struct hello probe = *hello;
    size_t len;

    fill_hello(peers, 0, &probe);
    int r = hello_encode(&probe, buf, sizeof buf, &len);
    if (r == 0) {
        peers->hello = *hello;
    }
    return r;
}

int peers_init(struct peers **ret, uv_loop_t *loop, const struct peers_config *config, const struct hello *hello,
               const struct peers_ops *ops, void *ud)
{
    struct peers *peers = calloc(1, sizeof *peers);

    if (peers == NULL) {
        return -ENOMEM;
    }
    peers->loop = loop;
    peers->ops = *ops;
    peers->ud = ud;
    peers->timer_ms = PEERS_NEVER;
    int r = configure(peers, config);
    if (r == 0) {
        r = peers_set_hello(peers, hello);
    }
    if (r == 0) {
        r = tls_init(&peers->tls, peers->cluster);
    }
    if (r == 0) {
        r = sealer_init(&peers->sealer);
    }
    if (r == 0) {
        tls_set_keys(peers->tls, config->keys, config->n_keys);
    }
    if (r == 0 && getrandom(&peers->random, sizeof peers->random, 0) < 0) {
        r = -errno;
    }
    peers->random |= 1; /* xorshift stays at zero for ever */
    if (r == 0) {
        r = peers_listen(peers);
    }
    if (r < 0) {
        peers_close(peers, NULL, NULL);
        return r;
    }
    signal(SIGPIPE, SIG_IGN);
    *ret = peers;
    return 0;
}

static void finish(struct peers *peers)
{
    void (*closed)(void *ud) = peers->closed;
    void *ud = peers->closed_ud;

    tls_free(peers->tls);
    sealer_free(peers->sealer);
    for (unsigned i = 0; i < NODES_MAX; i++) {
        session_free_all(&peers->peers[i]);
    }
    explicit_bzero(peers->peers, sizeof peers->peers);
    free(peers);
    if (closed != NULL) {
        closed(ud);
    }
}

void peers_handle_closed(struct peers *peers)
{
    if (--peers->handles == 0) {
        finish(peers);
    }
}

static void own_handle_closed(uv_handle_t *handle)
{
    peers_handle_closed(handle->data);
}

void peers_close(struct peers *peers, void (*closed)(void *ud), void *ud)
{
    if (peers == NULL) {
        if (closed != NULL) {
            closed(ud);
        }
        return;
    }
    if (peers->closing) {
        abort(); /* twice */
    }
    peers->closing = true;
    peers->closed = closed;
    peers->closed_ud = ud;
    if (peers->handles == 0) { /* half-built */
        finish(peers);
        return;
    }
    uv_close((uv_handle_t *)&peers->listener, own_handle_closed);
    uv_close((uv_handle_t *)&peers->timer, own_handle_closed);
    for (struct conn *conn = peers->conns; conn != NULL; conn = conn->next) {
        conn_close(conn, "shutting down");
    }
}
