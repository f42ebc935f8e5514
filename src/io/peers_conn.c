/* One connection of the mesh. TLS comes first (io/stream.c): who gets past it has a key of the cluster, and nobody else
 * costs more than one handshake. Then, inside it: both ends may dial, and do; which connection a pair uses is decided by the end with the
 * lower id alone ("lower" below), so both agree whatever crosses on the way and no established one is given up:
 *
 *   lower dials    lower: hello ->   higher: hello ->   lower: in use, ping with the link's name ->   higher: in use
 *   higher dials   higher: hello ->  lower: hello ->    higher: ping ->   lower: in use, named ping ->  higher: in use
 *
 * Neither end takes a connection into use before it has an answer to something that it sent on it: what a stopped
 * node finds in its backlog when it wakes up never gets that far. Coming to use closes every other connection of the
 * pair. A second one is turned away by the lower end while it has one in use, unless the hello proves that the other
 * end has lost that one: it is of a later run, or it names that very link as its last.
 *
 * Failures: dialling fails or takes too long, the handshake takes too long (CONN_DIALLING, _SECURING, _HELLO, _GREETED):
 * closed, the next attempt planned. The other end has another key: both are told so by TLS, closed. No frame, no hello, or a message out of place: closed, counted, no answer. A hello that is
 * not acceptable: the reason is sent back, then closed. In use: the stream breaks, or nothing comes for dead_ms: closed,
 * disconnected(), dialled anew at once. An own stall looks like the other's silence, so dead_ms is believed only when
 * the loop has read the sockets once more. */

#include "io/peers_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINK_BYTES 8
#define DOUBT_MS 100 /* for the loop to read what came in during its own stall */

static const struct
{
    const char *text;
    uint8_t next;     /* set of states */
    uint32_t allowed; /* set of channels that may come in */
} STATES[CONN_STATES_N] = {
    [CONN_NEW] = {"new", 1 << CONN_DIALLING | 1 << CONN_SECURING | 1 << CONN_CLOSED, 0},
    [CONN_DIALLING] = {"dialling", 1 << CONN_SECURING | 1 << CONN_CLOSED, 0},
    [CONN_SECURING] = {"securing", 1 << CONN_HELLO | 1 << CONN_CLOSED, 0},
    [CONN_HELLO] = {"hello", 1 << CONN_GREETED | 1 << CONN_ACTIVE | 1 << CONN_REFUSING | 1 << CONN_CLOSED,
                    CHANNEL_BIT(CHANNEL_HELLO)},
    [CONN_GREETED] = {"greeted", 1 << CONN_ACTIVE | 1 << CONN_REFUSING | 1 << CONN_CLOSED,
                      CHANNEL_BIT(CHANNEL_HELLO) | CHANNEL_BIT(CHANNEL_PING)},
    [CONN_ACTIVE] = {"active", 1 << CONN_CLOSED, CHANNEL_ALL & ~CHANNEL_BIT(CHANNEL_HELLO)},
    [CONN_REFUSING] = {"refusing", 1 << CONN_CLOSED, 0},
    [CONN_CLOSED] = {"closed", 0, 0},
};

/* The one writer of conn->state. */
static void set_state(struct conn *conn, enum conn_state next, uint32_t timeout_ms)
{
    if ((STATES[conn->state].next & 1 << next) == 0) {
        fprintf(stderr, "peers: connection cannot go from %s to %s\n", STATES[conn->state].text, STATES[next].text);
        abort();
    }
    conn->state = next;
    conn->since_ms = uv_now(conn->peers->loop);
    frame_decoder_allow(&conn->stream.decoder, STATES[next].allowed);
    if (next != CONN_CLOSED) {
        conn->due_ms = conn->since_ms + timeout_ms;
        peers_wake(conn->peers, conn->due_ms);
    }
}

/* How long a part of the handshake may take. */
static uint32_t patience(const struct conn *conn)
{
    const struct peers *peers = conn->peers;
    bool known = conn->dialled || peers_at(peers, &conn->remote.addr) != NULL;

    return known ? peers->config.peer_timeout_ms : peers->config.hello_timeout_ms;
}

/* ---------------------------------------------------------------------------------------------------------- its end */

void conn_close(struct conn *conn, const char *why)
{
    struct peers *peers = conn->peers;
    uint64_t id = conn->id;
    struct peer *peer = peers_find(peers, id);
    bool was_active = peer != NULL && peer->active == conn;

    if (conn->state == CONN_CLOSED) {
        return;
    }
    set_state(conn, CONN_CLOSED, 0);
    stream_close(&conn->stream);
    if (peer != NULL && peer->dial == conn) {
        peer->dial = NULL;
    }
    if (was_active) {
        peer->active = NULL;
        peers->counters.lost++;
        if (!peers->closing) {
            peers->ops.disconnected(peers->ud, id, why);
        }
    }
    peer = peers_find(peers, id); /* the callback may have unset it */
    if (peer != NULL) {
        peers_plan(peers, peer);
    }
}

/* As conn_close(), and if it was an attempt, the next one comes later than this one did. */
static void give_up(struct conn *conn, const char *why, bool refused)
{
    struct peer *peer = peers_find(conn->peers, conn->id);

    if (peer != NULL && peer->dial == conn) {
        peers_dial_failed(conn->peers, peer, refused);
    }
    conn_close(conn, why);
}

static void give_up_malformed(struct conn *conn)
{
    conn->peers->counters.malformed++;
    peers_tell_refused(conn, REFUSAL_MALFORMED, NULL, tls_failure_text(TLS_FAILURE_MALFORMED));
    give_up(conn, "it sent what has no place there", false);
}

/* TLS ended it: the other end has another key, or is no node at all. */
static void give_up_unproven(struct conn *conn, enum tls_failure failure)
{
    const char *reason = tls_failure_text(failure);

    if (failure == TLS_FAILURE_MALFORMED) {
        give_up_malformed(conn);
        return;
    }
    conn->peers->counters.unproven++;
    peers_tell_refused(conn, REFUSAL_PROOF, NULL, reason);
    give_up(conn, reason, true);
}

/* `refused`: the other's, which this one refuses with that reason; else NULL. */
static int send_hello(struct conn *conn, const struct hello *refused, const char *refusal)
{
    uint8_t buf[4096];
    struct hello hello;
    size_t len;

    peers_greeting(conn->peers, conn->id, &hello);
    if (refusal != NULL) {
        hello.refused = true;
        snprintf(hello.reason, sizeof hello.reason, "%s", refusal);
        if (conn->peers->ops.turn_away != NULL) {
            conn->peers->ops.turn_away(conn->peers->ud, refused, &hello);
        }
    }
    int r = hello_encode(&hello, buf, sizeof buf, &len);
    return r < 0 ? r : stream_send(&conn->stream, CHANNEL_HELLO, buf, len);
}

static void refuse(struct conn *conn, const struct hello *hello, const char *reason)
{
    struct peers *peers = conn->peers;
    struct peer *peer = peers_find(peers, conn->id);

    peers->counters.refused++;
    peers_tell_refused(conn, REFUSAL_HELLO, hello, reason);
    if (conn->state == CONN_CLOSED) { /* by the callback */
        return;
    }
    if (send_hello(conn, hello, reason) < 0) {
        give_up(conn, reason, true);
        return;
    }
    set_state(conn, CONN_REFUSING, peers->config.hello_timeout_ms);
    stream_end(&conn->stream);
    peer = peers_find(peers, conn->id);
    if (peer != NULL && peer->dial == conn) {
        peer->dial = NULL; /* the attempt is over, the connection has its own deadline */
        peers_dial_failed(peers, peer, true);
        peers_plan(peers, peer);
    }
}

static void refused_by_peer(struct conn *conn, const struct hello *hello)
{
    char reason[HELLO_REASON_SIZE + 32];

    conn->peers->counters.refused_by_peer++;
    snprintf(reason, sizeof reason, "it refuses this node: %.*s", HELLO_REASON_SIZE, hello->reason);
    reason[HELLO_REASON_SIZE - 1] = '\0';
    peers_tell_refused(conn, REFUSAL_BY_PEER, hello, reason);
    give_up(conn, reason, true);
    if (conn->peers->ops.turned_away != NULL && !conn->peers->closing) {
        conn->peers->ops.turned_away(conn->peers->ud, hello);
    }
}

/* -------------------------------------------------------------------------------------------------------- handshake */

static bool is_lower(const struct conn *conn)
{
    return conn->peers->config.self < conn->id;
}

static int send_ping(struct conn *conn, uint64_t link)
{
    uint8_t bytes[LINK_BYTES];

    for (unsigned i = 0; i < LINK_BYTES; i++) {
        bytes[i] = (uint8_t)(link >> (56 - 8 * i));
    }
    return stream_send(&conn->stream, CHANNEL_PING, bytes, link == 0 ? 0 : sizeof bytes);
}

static uint64_t ping_link(const struct frame *frame)
{
    const uint8_t *bytes = frame->data;
    uint64_t link = 0;

    for (size_t i = 0; i < frame->len && frame->len == LINK_BYTES; i++) {
        link = link << 8 | bytes[i];
    }
    return link;
}

/* Every other connection of the pair is obsolete: the lower end keeps one, and this is it. */
static void close_others(struct conn *conn)
{
    struct conn *next;

    for (struct conn *other = conn->peers->conns; other != NULL; other = next) {
        next = other->next;
        if (other != conn && other->id == conn->id && other->state != CONN_REFUSING) {
            conn_close(other, "replaced by a new connection");
        }
    }
}

static void bring_to_use(struct conn *conn, uint64_t link)
{
    struct peers *peers = conn->peers;
    struct peer *peer = peers_find(peers, conn->id);

    if (peer == NULL) {
        conn_close(conn, "no longer a member"); /* unset since the hello */
        return;
    }
    if (peer->dial == conn) {
        peer->dial = NULL;
    }
    conn->link = link;
    set_state(conn, CONN_ACTIVE, peers->config.ping_ms);
    close_others(conn); /* may call disconnected(), and that anything */
    peer = peers_find(peers, conn->id);
    if (peer == NULL || conn->state == CONN_CLOSED) {
        conn_close(conn, "no longer a member");
        return;
    }
    peer->active = conn;
    peer->link = link;
    peer->protocol = hello_protocol(&conn->hello, &(struct hello){.protocol_min = PROTOCOL_MIN, .protocol_max = PROTOCOL_MAX});
    session_use(conn);
    peer->retry_ms = 0;
    peer->refused = false;
    peer->reason[0] = '\0';
    memset(peer->told, 0, sizeof peer->told); /* what comes after this is news */
    peers->counters.connected++;
    peers->ops.connected(peers->ud, conn->id, &conn->hello);
}

/* By the lower end: it names the connection and tells the other. */
static void choose(struct conn *conn)
{
    struct peers *peers = conn->peers;
    uint64_t link = peers->hello.run + ++peers->links;

    if (link == 0) {
        link = peers->hello.run + ++peers->links;
    }
    if (send_ping(conn, link) < 0) {
        give_up(conn, "it could not be written to", false);
        return;
    }
    bring_to_use(conn, link);
}

/* Whether the lower end has a connection in use that the other end cannot have lost before it sent this hello. */
static bool is_duplicate(const struct conn *conn, const struct hello *hello)
{
    const struct peer *peer = peers_find(conn->peers, hello->from);

    return !conn->dialled && conn->peers->config.self < hello->from && peer != NULL && peer->active != NULL &&
           peer->active->hello.run == hello->run && peer->active->link != hello->link;
}

/* This file's own checks; false: reason is filled in. */
static bool judge(const struct conn *conn, const struct hello *hello, char reason[HELLO_REASON_SIZE])
{
    const struct peers *peers = conn->peers;
    struct hello own = {.protocol_min = PROTOCOL_MIN, .protocol_max = PROTOCOL_MAX};

#define REFUSE(...) return snprintf(reason, HELLO_REASON_SIZE, __VA_ARGS__), false
    if (hello_protocol(hello, &own) == 0) {
        REFUSE("vipd %.20s of node %.30s reads formats %u to %u, this one %u to %u", hello->version, hello->name,
               hello->protocol_min, hello->protocol_max, PROTOCOL_MIN, PROTOCOL_MAX);
    }
    if (strcmp(hello->cluster, peers->cluster) != 0) {
        REFUSE("of another cluster: %s", hello->cluster);
    }
    if (hello->cluster_id != 0 && peers->hello.cluster_id != 0 && hello->cluster_id != peers->hello.cluster_id) {
        REFUSE("of another cluster of the same name");
    }
    if (hello->from == peers->config.self) {
        REFUSE("it has the id of this node");
    }
    if (hello->to != 0 && hello->to != peers->config.self) {
        REFUSE("it expects another node at this address: its list of members is old, or an address is wrong");
    }
    if (conn->dialled && hello->from != conn->id) {
        REFUSE("it is another node than the one expected at this address");
    }
#undef REFUSE
    return true;
}

/* 0; or the hello was not acceptable, and the connection has been dealt with. */
static int admit(struct conn *conn, const struct hello *hello)
{
    struct peers *peers = conn->peers;
    char reason[HELLO_REASON_SIZE] = "";
    bool good = judge(conn, hello, reason);

    if (good && peers->ops.admit(peers->ud, hello, reason) != 0) {
        reason[HELLO_REASON_SIZE - 1] = '\0';
        good = false;
    }
    if (conn->state == CONN_CLOSED) { /* by the callback */
        return -1;
    }
    if (good && peers_find(peers, hello->from) == NULL) {
        snprintf(reason, sizeof reason, "no member of this cluster");
        good = false;
    }
    if (!good) {
        refuse(conn, hello, reason[0] != '\0' ? reason : "not acceptable");
        return -1;
    }
    return 0;
}

static void take_first_hello(struct conn *conn, const struct hello *hello)
{
    if (admit(conn, hello) < 0) {
        return;
    }
    if (is_duplicate(conn, hello)) {
        conn->peers->counters.duplicate++;
        conn_close(conn, "a second connection");
        return;
    }
    conn->id = hello->from;
    conn->hello = *hello;
    if (session_add(conn) < 0) {
        give_up(conn, "no keys came of it", false);
        return;
    }
    if (conn->dialled && is_lower(conn)) {
        choose(conn);
        return;
    }
    set_state(conn, CONN_GREETED, patience(conn));
    int r = conn->dialled ? send_ping(conn, 0) : send_hello(conn, NULL, NULL);
    if (r < 0) {
        give_up(conn, "it could not be written to", false);
    }
}

static void take_hello(struct conn *conn, const struct frame *frame)
{
    struct hello hello;

    if (hello_decode(frame->data, frame->len, &hello) < 0) {
        give_up_malformed(conn);
    } else if (hello.refused) {
        refused_by_peer(conn, &hello);
    } else if (conn->state == CONN_HELLO) {
        take_first_hello(conn, &hello);
    } else {
        give_up_malformed(conn); /* a second one */
    }
}

/* The first word after the hellos. */
static void take_word(struct conn *conn, const struct frame *frame)
{
    uint64_t link = ping_link(frame);

    if (is_lower(conn) && frame->len == 0) {
        choose(conn);
    } else if (!is_lower(conn) && link != 0) {
        bring_to_use(conn, link);
    } else {
        give_up_malformed(conn);
    }
}

/* --------------------------------------------------------------------------------------------------- events of it */

static void stream_connected(void *ud)
{
    struct conn *conn = ud;

    set_state(conn, CONN_SECURING, patience(conn));
}

static void stream_opened(void *ud)
{
    struct conn *conn = ud;

    set_state(conn, CONN_HELLO, patience(conn));
    if (conn->dialled && send_hello(conn, NULL, NULL) < 0) {
        give_up(conn, "it could not be written to", false);
    }
}

static void stream_frame(void *ud, const struct frame *frame)
{
    struct conn *conn = ud;
    struct peers *peers = conn->peers;

    if (frame->channel == CHANNEL_HELLO) {
        take_hello(conn, frame);
    } else if (conn->state == CONN_GREETED) {
        take_word(conn, frame);
    } else if (frame->channel != CHANNEL_PING) {
        peers->counters.messages_in++;
        peers->counters.bytes_in += frame->len;
        peers->ops.message(peers->ud, conn->id, frame->channel, frame->data, frame->len);
    }
}

static void stream_broken(void *ud, int error)
{
    struct conn *conn = ud;

    if (error == -EKEYREJECTED) {
        give_up_unproven(conn, stream_failure(&conn->stream));
    } else if (error == -EPROTO || error == -EPROTONOSUPPORT || error == -EMSGSIZE) {
        give_up_malformed(conn);
    } else {
        give_up(conn, error == UV_EOF ? "it closed the connection" : uv_strerror(error), false);
    }
}

static void stream_closed(void *ud)
{
    struct conn *conn = ud;
    struct peers *peers = conn->peers;

    if (conn->prev != NULL) {
        conn->prev->next = conn->next;
    } else {
        peers->conns = conn->next;
    }
    if (conn->next != NULL) {
        conn->next->prev = conn->prev;
    }
    free(conn);
    peers_handle_closed(peers);
}

static const struct stream_ops STREAM_OPS = {
    .connected = stream_connected,
    .opened = stream_opened,
    .frame = stream_frame,
    .broken = stream_broken,
    .closed = stream_closed,
};

static void keep_alive(struct conn *conn)
{
    const struct peers_config *config = &conn->peers->config;
    struct stream *stream = &conn->stream;
    uint64_t now = uv_now(conn->peers->loop);
    bool dead = now - stream->in_ms >= config->dead_ms;
    bool queued = stream_queued(stream) > 0; /* it has something to say, a ping would only wait behind it */

    if (conn->renew_ms != 0 && now >= conn->renew_ms) {
        conn_close(conn, "made anew with the key in use");
        return;
    }
    if (dead && conn->doubted) {
        conn->peers->counters.silent++;
        give_up(conn, "it was silent for too long", false);
        return;
    }
    conn->doubted = dead;
    if (now - stream->out_ms >= config->ping_ms && !queued && send_ping(conn, 0) < 0) {
        give_up(conn, "it could not be written to", false);
        return;
    }
    uint64_t speak_ms = (queued ? now : stream->out_ms) + config->ping_ms;
    uint64_t doubt_ms = dead ? now + DOUBT_MS : stream->in_ms + config->dead_ms;
    conn->due_ms = speak_ms < doubt_ms ? speak_ms : doubt_ms;
    if (conn->renew_ms != 0 && conn->renew_ms < conn->due_ms) {
        conn->due_ms = conn->renew_ms;
    }
    peers_wake(conn->peers, conn->due_ms);
}

void conn_due(struct conn *conn)
{
    switch (conn->state) {
    case CONN_ACTIVE:
        keep_alive(conn);
        break;
    case CONN_DIALLING:
        give_up(conn, "it did not answer", false);
        break;
    case CONN_SECURING:
    case CONN_HELLO:
    case CONN_GREETED:
        conn->peers->counters.late++;
        if (!conn->dialled && peers_at(conn->peers, &conn->remote.addr) == NULL) {
            peers_tell_refused(conn, REFUSAL_LATE, NULL, "it did not come to use in time");
        }
        give_up(conn, "it did not come to use in time", false);
        break;
    case CONN_REFUSING:
        conn_close(conn, "refused");
        break;
    case CONN_NEW:
    case CONN_CLOSED:
        break;
    }
}

/* ------------------------------------------------------------------------------------------------------ its beginning */

struct conn *conn_new(struct peers *peers, bool dialled, uint64_t id)
{
    struct conn *conn = calloc(1, sizeof *conn);

    if (conn == NULL) {
        return NULL;
    }
    conn->peers = peers;
    conn->dialled = dialled;
    conn->id = id;
    conn->due_ms = PEERS_NEVER;
    conn->next = peers->conns;
    if (conn->next != NULL) {
        conn->next->prev = conn;
    }
    peers->conns = conn;
    peers->handles++;
    stream_init(&conn->stream, peers->loop, peers->tls, peers->scratch, &STREAM_OPS, conn, 0);
    return conn;
}

int conn_dial(struct conn *conn, const struct endpoint *to)
{
    const struct peers *peers = conn->peers;

    conn->remote = *to;
    int r = stream_dial(&conn->stream, &peers->listening, to, peers->config.user_timeout_ms);
    if (r == 0) {
        set_state(conn, CONN_DIALLING, peers->config.connect_timeout_ms);
    }
    return r;
}

int conn_accept(struct conn *conn)
{
    const struct peers *peers = conn->peers;
    int r = stream_accept(&conn->stream, (uv_stream_t *)&peers->listener, peers->config.user_timeout_ms, &conn->remote);

    if (r == 0) {
        set_state(conn, CONN_SECURING, patience(conn));
    }
    return r;
}
