#ifndef VIPD_IO_TLS_H
#define VIPD_IO_TLS_H

/* TLS 1.3 (RFC 8446) between two nodes of a cluster: bytes in, bytes out, no sockets. Both ends prove that they have a
 * key of the cluster and mean the cluster of that name; a key is used as external PSK with (EC)DHE, so what was recorded
 * stays secret even when the key is lost later. Which member of the cluster is at the other end, a key that all share
 * cannot prove: the hello inside says it (wire/hello.h, docs/security.md).
 *
 * In the clear there is only the PSK's identity: 8 bytes that stand for the key and 8 that stand for the key and the
 * cluster's name, both derived from the key, so that who does not have the key learns neither. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define TLS_KEY_SIZE 32
#define TLS_KEYS_MAX 2            /* the one in use, and the one before or after it */
#define TLS_RECORD_MAX 16384      /* bytes of plaintext in one record: RFC 8446, 5.1 */
#define TLS_RECORD_OVERHEAD 64    /* bytes that a record adds at most, with room to spare */
#define TLS_HANDSHAKE_MAX 8192    /* bytes that an end may say before it has proved anything; a handshake has ~400, and
                                   * the hello may come right behind it */

/* -------------------------------------------------------------------------------------------------- keys of a cluster */

struct tls;

/* Without keys; `cluster` is the name that both ends must have. -ENOMEM. */
NODISCARD int tls_init(struct tls **ret, const char *cluster);
void tls_free(struct tls *tls); /* after the last of its sessions; NULL is fine */

/* From now on the first key is offered and each is accepted. Sessions that stand stay. n: 1..TLS_KEYS_MAX. */
void tls_set_keys(struct tls *tls, const uint8_t (*keys)[TLS_KEY_SIZE], unsigned n);
/* Which keys there are: their ids, the one in use first; how many. */
unsigned tls_keys(const struct tls *tls, uint64_t ret[TLS_KEYS_MAX]);
bool tls_accepts(const struct tls *tls, uint64_t key);

/* The name of a key in logs, tables and the clear: derived from it, and says nothing about it. Never 0. */
uint64_t tls_key_id(const uint8_t key[TLS_KEY_SIZE]);

/* ----------------------------------------------------------------------------------------------------------- sessions */

struct tls_session;

/* Why a session is over, as far as it can be known. */
enum tls_failure
{
    TLS_FAILURE_NONE,
    TLS_FAILURE_MALFORMED, /* what came is no handshake of a node, or a record was changed on its way */
    TLS_FAILURE_KEY,       /* it offers a key that is none of ours */
    TLS_FAILURE_CLUSTER,   /* it offers a key of ours for a cluster of another name */
    TLS_FAILURE_PROOF,     /* it could not prove that it has the key */
    TLS_FAILURE_REFUSED,   /* it would not go on: it does not accept our key, or our cluster's name */
};
#define TLS_FAILURES_N 6
const char *tls_failure_text(enum tls_failure failure); /* a clause about the other end, with the remedy */

enum tls_outcome
{
    TLS_ENDED = 1, /* the other end says that nothing more comes */
};

/* `dialled`: this end begins; its first bytes can be taken at once. The keys are those of now. -ENOMEM. */
NODISCARD int tls_session_init(struct tls_session **ret, struct tls *tls, bool dialled);
void tls_session_free(struct tls_session *session); /* NULL is fine */

/* Bytes that came from the other end. -ENOMEM; -EKEYREJECTED: the session has failed, now (too many bytes before the
 * handshake is over) or before. */
NODISCARD int tls_session_feed(struct tls_session *session, const void *bytes, size_t len);

/* Goes on with what was fed: *ret_len bytes of plaintext, 0 = no more for now; to be called until then. TLS_ENDED;
 * -EKEYREJECTED: the session has failed. In any case there may be bytes to be sent after it. */
NODISCARD int tls_session_read(struct tls_session *session, void *buf, size_t size, size_t *ret_len);

/* The handshake is over: the other end has proved that it has the key, and knows that this end has. */
bool tls_session_secured(const struct tls_session *session);

/* 1..TLS_RECORD_MAX bytes of plaintext become one record, to be sent. -ENOTCONN: not secured, or failed; -ENOMEM. */
NODISCARD int tls_session_write(struct tls_session *session, const void *data, size_t len);

/* Bytes that are to be sent: how many there are, and up to `size` of them. */
size_t tls_session_waiting(const struct tls_session *session);
size_t tls_session_take(struct tls_session *session, void *buf, size_t size);

enum tls_failure tls_session_failure(const struct tls_session *session);
/* The id of the key that it was made with; 0 before it is known. */
uint64_t tls_session_key(const struct tls_session *session);

/* Secret bytes that only the two ends have (RFC 8446, 7.5), for what `label` names; both get the same. The session is
 * secured. -EIO: the library failed. */
NODISCARD int tls_session_export(struct tls_session *session, const char *label, void *ret, size_t len);

#endif
