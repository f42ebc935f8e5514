/* The datagrams of a pair: sessions, one for each of its connections, with keys from the connection's TLS.
 *
 * Happy path: both ends admit each other's hello -> session_add() on each; the connection comes to use -> session_use():
 * from now on this end seals with it. The higher end adds it before the lower can choose the connection, so what the
 * lower seals is always known.
 *
 * Failures: the connection is lost: the sessions stay, so that leases are renewed while it is made again. It is lost before
 * both ends use it: one seals with the new session, the other with the old; both know both. So old ones are kept, but for
 * the oldest when there are too many, and of these never the one that this end seals with or was last addressed by. The
 * peer starts anew (another run), or is no longer a member: all earlier ones go. */

#include <errno.h>
#include <string.h>

#include "io/peers_private.h"

#define LABEL_DIALLED "EXPORTER-vipd-1 datagrams of who dialled"
#define LABEL_ACCEPTED "EXPORTER-vipd-1 datagrams of who accepted"

_Static_assert(PEERS_SESSIONS_MAX == NODES_MAX * SESSIONS_PER_PEER, "what peers_sessions() tells is all there is");

/* ------------------------------------------------------------------------------------------------------- which there are */

static void place(struct peers *peers, unsigned peer, unsigned session)
{
    uint64_t at = peers->peers[peer].sessions[session].in.id;

    while (peers->by_id[at % SESSION_PLACES] != 0) {
        at++;
    }
    peers->by_id[at % SESSION_PLACES] = (uint16_t)(1 + peer * SESSIONS_PER_PEER + session);
}

static void changed(struct peers *peers)
{
    memset(peers->by_id, 0, sizeof peers->by_id);
    for (unsigned i = 0; i < NODES_MAX; i++) {
        for (unsigned k = 0; k < SESSIONS_PER_PEER && peers->peers[i].id != 0; k++) {
            if (peers->peers[i].sessions[k].number != 0) {
                place(peers, i, k);
            }
        }
    }
    if (peers->ops.sessions != NULL && !peers->closing) {
        peers->ops.sessions(peers->ud);
    }
}

static struct session *find(struct peers *peers, uint64_t id, struct peer **ret_peer)
{
    for (uint64_t at = id; peers->by_id[at % SESSION_PLACES] != 0; at++) {
        unsigned n = peers->by_id[at % SESSION_PLACES] - 1u;
        struct peer *peer = &peers->peers[n / SESSIONS_PER_PEER];
        struct session *session = &peer->sessions[n % SESSIONS_PER_PEER];

        if (session->in.id == id) {
            *ret_peer = peer;
            return session;
        }
    }
    return NULL;
}

size_t peers_sessions(const struct peers *peers, uint64_t ret[PEERS_SESSIONS_MAX])
{
    size_t n = 0;

    for (unsigned i = 0; i < NODES_MAX; i++) {
        for (unsigned k = 0; k < SESSIONS_PER_PEER && peers->peers[i].id != 0; k++) {
            if (peers->peers[i].sessions[k].number != 0) {
                ret[n++] = peers->peers[i].sessions[k].in.id;
            }
        }
    }
    return n;
}

/* --------------------------------------------------------------------------------------------------- coming and going */

static void wipe(struct peer *peer, struct session *session)
{
    peer->sealing = peer->sealing == session ? NULL : peer->sealing;
    peer->heard_by = peer->heard_by == session ? NULL : peer->heard_by;
    seal_end(&session->in);
    seal_end(&session->out);
    explicit_bzero(session, sizeof *session);
}

static struct session *room(struct peer *peer)
{
    struct session *oldest = NULL;

    for (unsigned i = 0; i < SESSIONS_PER_PEER; i++) {
        struct session *session = &peer->sessions[i];
        bool needed = session == peer->sealing || session == peer->heard_by;

        if (session->number == 0) {
            return session;
        }
        if (!needed && (oldest == NULL || session->number < oldest->number)) {
            oldest = session;
        }
    }
    wipe(peer, oldest); /* at most two are needed */
    return oldest;
}

int session_add(struct conn *conn)
{
    struct peers *peers = conn->peers;
    struct peer *peer = peers_find(peers, conn->id);
    uint8_t by_dialler[SEAL_SECRET_SIZE], by_other[SEAL_SECRET_SIZE];

    if (peer == NULL) {
        return -ENOENT;
    }
    int r = stream_export(&conn->stream, LABEL_DIALLED, by_dialler, sizeof by_dialler);
    if (r == 0) {
        r = stream_export(&conn->stream, LABEL_ACCEPTED, by_other, sizeof by_other);
    }
    if (r == 0) {
        struct session *session = room(peer);
        seal_init(&session->out, conn->dialled ? by_dialler : by_other);
        seal_init(&session->in, conn->dialled ? by_other : by_dialler);
        session->run = conn->hello.run;
        session->key = stream_key(&conn->stream);
        session->number = conn->session = ++peers->sessions;
        changed(peers);
    }
    explicit_bzero(by_dialler, sizeof by_dialler);
    explicit_bzero(by_other, sizeof by_other);
    return r;
}

void session_use(struct conn *conn)
{
    struct peer *peer = peers_find(conn->peers, conn->id);

    for (unsigned i = 0; i < SESSIONS_PER_PEER; i++) {
        struct session *session = &peer->sessions[i];

        if (session->number != 0 && session->number == conn->session) {
            peer->sealing = session;
        }
    }
    for (unsigned i = 0; i < SESSIONS_PER_PEER; i++) { /* a run that is over says nothing more */
        struct session *session = &peer->sessions[i];

        if (session->number != 0 && session->run != conn->hello.run && session != peer->sealing) {
            wipe(peer, session);
        }
    }
    changed(conn->peers);
}

void session_free_all(struct peer *peer)
{
    for (unsigned i = 0; i < SESSIONS_PER_PEER; i++) {
        wipe(peer, &peer->sessions[i]);
    }
}

void session_end_all(struct peers *peers, struct peer *peer)
{
    session_free_all(peer);
    changed(peers);
}

void session_end_keys(struct peers *peers)
{
    for (unsigned i = 0; i < NODES_MAX; i++) {
        for (unsigned k = 0; k < SESSIONS_PER_PEER; k++) {
            struct session *session = &peers->peers[i].sessions[k];

            if (session->number != 0 && !tls_accepts(peers->tls, session->key)) {
                wipe(&peers->peers[i], session);
            }
        }
    }
    changed(peers);
}

/* ---------------------------------------------------------------------------------------------------------- datagrams */

int peers_seal(struct peers *peers, uint64_t id, const void *plain, size_t len, uint8_t *ret)
{
    struct peer *peer = peers_find(peers, id);

    if (peer == NULL || peer->sealing == NULL) {
        return -ENOKEY;
    }
    return seal_put(peers->sealer, &peer->sealing->out, plain, len, ret);
}

int peers_open(struct peers *peers, const void *datagram, size_t len, uint8_t *ret, size_t *ret_len, uint64_t *ret_id)
{
    struct peer *peer = NULL;
    struct session *session;
    uint64_t claimed;

    if (seal_of(datagram, len, &claimed) < 0) {
        peers->counters.unsealed++;
        return -EBADMSG;
    }
    session = find(peers, claimed, &peer);
    if (session == NULL) {
        peers->counters.sessionless++;
        return -ENOKEY;
    }
    int r = seal_take(peers->sealer, &session->in, datagram, len, ret, ret_len);
    if (r != 0) {
        peers->counters.replayed += r == SEAL_REPLAYED;
        peers->counters.forged += r == SEAL_FORGED;
        return -EBADMSG;
    }
    peer->heard_by = session;
    *ret_id = peer->id;
    return 0;
}
