/* A change of the cluster's key while the nodes speak to each other.
 *
 * Happy path: peers_set_keys() with the old and the new key on every node; then with the new one first; peers_renew() ends
 * the connections of the old one, one after the other, and both ends dial anew at once; when all are of the new one,
 * peers_set_keys() with that alone.
 *
 * Failures: a node still uses the old key when another makes a connection anew: it may be of the old key again, and
 * peers_renew() is called again later. A node was forgotten: it is refused, and told so (peers_refusal.c). Whatever becomes of
 * connections, the sessions of datagrams stay until their key is accepted no more. */

#include "io/peers_private.h"

#define RENEW_GAP_MS 30 /* between two: never all connections at a time */

static bool is_of_use(const struct conn *conn, uint64_t key)
{
    return stream_key(&conn->stream) == key;
}

void peers_set_keys(struct peers *peers, const uint8_t (*keys)[TLS_KEY_SIZE], unsigned n)
{
    tls_set_keys(peers->tls, keys, n);
    session_end_keys(peers);
    for (struct conn *conn = peers->conns; conn != NULL; conn = conn->next) {
        uint64_t key = stream_key(&conn->stream);

        conn->renew_ms = 0;
        if (key != 0 && conn->state != CONN_CLOSED && !tls_accepts(peers->tls, key)) {
            conn_close(conn, "its key is accepted no more");
        }
    }
}

void peers_renew(struct peers *peers)
{
    uint64_t ids[TLS_KEYS_MAX], at = uv_now(peers->loop);

    tls_keys(peers->tls, ids);
    for (struct conn *conn = peers->conns; conn != NULL; conn = conn->next) {
        if (conn->state != CONN_ACTIVE || is_of_use(conn, ids[0]) || conn->renew_ms != 0) {
            continue;
        }
        at += RENEW_GAP_MS;
        conn->renew_ms = at;
        if (at < conn->due_ms) {
            conn->due_ms = at;
            peers_wake(peers, at);
        }
    }
}

unsigned peers_keys(const struct peers *peers, uint64_t ret[TLS_KEYS_MAX])
{
    return tls_keys(peers->tls, ret);
}

void peers_by_key(const struct peers *peers, unsigned *ret_used, unsigned *ret_other)
{
    uint64_t ids[TLS_KEYS_MAX];
    unsigned used = 0, other = 0;

    tls_keys(peers->tls, ids);
    for (const struct conn *conn = peers->conns; conn != NULL; conn = conn->next) {
        used += conn->state == CONN_ACTIVE && is_of_use(conn, ids[0]);
        other += conn->state == CONN_ACTIVE && !is_of_use(conn, ids[0]);
    }
    *ret_used = used;
    *ret_other = other;
}
