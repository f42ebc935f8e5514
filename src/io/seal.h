#ifndef VIPD_IO_SEAL_H
#define VIPD_IO_SEAL_H

/* Sealed datagrams: what only the other end of a session can have sent, and sent just once. AES-256-GCM with a counter; the
 * secret of a direction comes from the TLS session of the pair (io/tls.h) and serves one direction only.
 *
 *     u32 "VIPS" | u8 SEAL_VERSION | u8[3] 0 | u64 id of the seal | u64 counter, big endian | sealed bytes | u8[16] tag
 *
 * The head is authenticated with the rest. Its id is of no use without the secret: it tells the receiver which seal to
 * try, and nobody who that is. */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define SEAL_MAGIC 0x56495053u /* "VIPS" */
#define SEAL_VERSION 1
#define SEAL_HEAD 24
#define SEAL_TAG 16
#define SEAL_ID_LOW 12 /* where the lower half of the id is: it is as random as the other */
#define SEAL_OVERHEAD (SEAL_HEAD + SEAL_TAG)
#define SEAL_SECRET_SIZE 52 /* key of 32, nonce base of 12, id of 8 */
#define SEAL_WINDOW 960     /* a counter that is so far behind the highest that came counts as seen */
#define SEAL_WORDS 16

/* One direction of a session. All of it is secret, but its id. */
struct seal
{
    uint64_t id;
    uint8_t key[32], base[12];
    uint64_t counter;            /* the last that was given out; or the highest that came */
    uint64_t window[SEAL_WORDS]; /* which came: a ring of bits */
    struct evp_cipher_ctx_st *context; /* OpenSSL's, with the key's schedule, which costs more than a datagram; NULL = not yet */
};

void seal_init(struct seal *seal, const uint8_t secret[SEAL_SECRET_SIZE]);
void seal_end(struct seal *seal); /* nothing of it is left in memory; one that is all zero is fine, too */

/* Which seal a datagram claims; before anything of it is proved. -EBADMSG: it is no sealed datagram of this version. */
NODISCARD int seal_of(const void *datagram, size_t len, uint64_t *ret_id);

struct sealer; /* the cipher: one serves all seals */
NODISCARD int sealer_init(struct sealer **ret); /* -ENOMEM */
void sealer_free(struct sealer *sealer);        /* NULL is fine */

/* Seals len bytes; writes len + SEAL_OVERHEAD. -EIO: the library failed. */
NODISCARD int seal_put(struct sealer *sealer, struct seal *seal, const void *plain, size_t len, uint8_t *ret);

enum seal_outcome
{
    SEAL_REPLAYED = 1, /* it came before, or is too old to be sure */
    SEAL_FORGED = 2,   /* who made it does not have the secret, or it was changed */
};

/* Opens a datagram that claims this seal; writes *ret_len bytes, at most len - SEAL_OVERHEAD. 0 or a seal_outcome; -EBADMSG:
 * it claims no seal, or another. On failure *ret may have been written, and is worthless. */
NODISCARD int seal_take(struct sealer *sealer, struct seal *seal, const void *datagram, size_t len, uint8_t *ret,
                        size_t *ret_len);

#endif
