/* Happy path: seal_put() counts, and seals under base xor counter (RFC 8446, 5.3, has the same nonces); seal_take() looks
 * whether the counter is new (RFC 6479), opens, and only then notes it.
 *
 * Failures: a counter that was seen costs nothing but a look; a forged datagram one failed opening, and changes nothing. A
 * counter cannot be used twice with one key: it only grows, and 2^64 of them last longer than any process. */

#include "io/seal.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#define BITS 64

struct sealer
{
    EVP_CIPHER *cipher;
};

/* --------------------------------------------------------------------------------------------------------------- head */

static void put_number(uint8_t *at, uint64_t number)
{
    for (unsigned i = 0; i < 8; i++) {
        at[i] = (uint8_t)(number >> (56 - 8 * i));
    }
}

static uint64_t number_at(const uint8_t *at)
{
    uint64_t number = 0;

    for (unsigned i = 0; i < 8; i++) {
        number = number << 8 | at[i];
    }
    return number;
}

#define FIRST ((uint64_t)SEAL_MAGIC << 32 | (uint64_t)SEAL_VERSION << 24) /* the first eight bytes */

static void put_head(uint8_t head[SEAL_HEAD], uint64_t id, uint64_t counter)
{
    put_number(head, FIRST);
    put_number(head + 8, id);
    put_number(head + 16, counter);
}

int seal_of(const void *datagram, size_t len, uint64_t *ret_id)
{
    const uint8_t *head = datagram;

    if (len < SEAL_OVERHEAD || len > INT_MAX || number_at(head) != FIRST) {
        return -EBADMSG;
    }
    *ret_id = number_at(head + 8);
    return 0;
}

/* ------------------------------------------------------------------------------------------------------------- counters */

static bool was_seen(const struct seal *seal, uint64_t counter)
{
    if (counter > seal->counter) {
        return false;
    }
    if (counter == 0 || seal->counter - counter >= SEAL_WINDOW) {
        return true;
    }
    return (seal->window[counter / BITS % SEAL_WORDS] >> counter % BITS & 1) != 0;
}

static void note(struct seal *seal, uint64_t counter)
{
    uint64_t from = seal->counter / BITS, to = counter / BITS;

    for (uint64_t word = from; word < to && word < from + SEAL_WORDS; word++) {
        seal->window[(word + 1) % SEAL_WORDS] = 0; /* of counters a window ago */
    }
    seal->window[to % SEAL_WORDS] |= (uint64_t)1 << counter % BITS;
    seal->counter = counter > seal->counter ? counter : seal->counter;
}

/* -------------------------------------------------------------------------------------------------------------- cipher */

void seal_init(struct seal *seal, const uint8_t secret[SEAL_SECRET_SIZE])
{
    *seal = (struct seal){0};
    memcpy(seal->key, secret, sizeof seal->key);
    memcpy(seal->base, secret + sizeof seal->key, sizeof seal->base);
    seal->id = number_at(secret + sizeof seal->key + sizeof seal->base);
}

void seal_end(struct seal *seal)
{
    EVP_CIPHER_CTX_free(seal->context); /* wipes what it has of the key */
    OPENSSL_cleanse(seal, sizeof *seal);
}

int sealer_init(struct sealer **ret)
{
    struct sealer *sealer = calloc(1, sizeof *sealer);

    if (sealer == NULL) {
        return -ENOMEM;
    }
    sealer->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    if (sealer->cipher == NULL) {
        sealer_free(sealer);
        return -ENOMEM;
    }
    *ret = sealer;
    return 0;
}

void sealer_free(struct sealer *sealer)
{
    if (sealer != NULL) {
        EVP_CIPHER_free(sealer->cipher);
        free(sealer);
    }
}

static void make_nonce(const struct seal *seal, uint64_t counter, uint8_t ret[12])
{
    uint8_t bytes[8];

    put_number(bytes, counter);
    memcpy(ret, seal->base, 12);
    for (unsigned i = 0; i < 8; i++) {
        ret[4 + i] ^= bytes[i];
    }
}

/* The key goes into the seal's own context at its first use, and stays there. */
static bool keyed(struct sealer *sealer, struct seal *seal, int sealing)
{
    if (seal->context == NULL) {
        seal->context = EVP_CIPHER_CTX_new();
        if (seal->context == NULL || EVP_CipherInit_ex2(seal->context, sealer->cipher, seal->key, NULL, sealing, NULL) != 1) {
            EVP_CIPHER_CTX_free(seal->context);
            seal->context = NULL;
        }
    }
    return seal->context != NULL;
}

/* Key, nonce and head are set; the rest is the caller's. */
static bool begin(struct sealer *sealer, struct seal *seal, const uint8_t *head, uint64_t counter, int sealing)
{
    uint8_t nonce[12];
    int n;

    make_nonce(seal, counter, nonce);
    return keyed(sealer, seal, sealing) && EVP_CipherInit_ex2(seal->context, NULL, NULL, nonce, sealing, NULL) == 1 &&
           EVP_CipherUpdate(seal->context, NULL, &n, head, SEAL_HEAD) == 1;
}

int seal_put(struct sealer *sealer, struct seal *seal, const void *plain, size_t len, uint8_t *ret)
{
    uint8_t *sealed = ret + SEAL_HEAD;
    uint64_t counter = ++seal->counter;
    int n = 0, more = 0;

    if (len > INT_MAX - SEAL_OVERHEAD) {
        abort();
    }
    put_head(ret, seal->id, counter);
    if (!begin(sealer, seal, ret, counter, 1) ||
        EVP_CipherUpdate(seal->context, sealed, &n, plain, (int)len) != 1 ||
        EVP_CipherFinal_ex(seal->context, sealed + n, &more) != 1 ||
        EVP_CIPHER_CTX_ctrl(seal->context, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG, sealed + len) != 1) {
        return -EIO;
    }
    return 0;
}

int seal_take(struct sealer *sealer, struct seal *seal, const void *datagram, size_t len, uint8_t *ret, size_t *ret_len)
{
    const uint8_t *head = datagram;
    uint8_t tag[SEAL_TAG];
    uint64_t id;
    int n = 0, more = 0;

    if (seal_of(datagram, len, &id) < 0 || id != seal->id) {
        return -EBADMSG;
    }
    uint64_t counter = number_at(head + 16);
    if (was_seen(seal, counter)) {
        return SEAL_REPLAYED;
    }
    size_t plain = len - SEAL_OVERHEAD;
    memcpy(tag, head + SEAL_HEAD + plain, sizeof tag);
    if (!begin(sealer, seal, head, counter, 0) ||
        EVP_CIPHER_CTX_ctrl(seal->context, EVP_CTRL_AEAD_SET_TAG, SEAL_TAG, tag) != 1 ||
        EVP_CipherUpdate(seal->context, ret, &n, head + SEAL_HEAD, (int)plain) != 1 ||
        EVP_CipherFinal_ex(seal->context, ret + n, &more) != 1) {
        return SEAL_FORGED;
    }
    note(seal, counter);
    *ret_len = plain;
    return 0;
}
