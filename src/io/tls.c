/* Happy path: tls_session_init() for a dialled one makes the first flight; tls_session_feed() and tls_session_read() on
 * either side go through the handshake (offer_key() on the side that dialled, find_key() on the other), then read() gives
 * plaintext and write() takes it. Both directions lie in memory; io/stream.c carries them.
 *
 * Failures: whatever the library does not like ends the session for good; read() and feed() say so from then on, and an
 * alert waits to be sent, by which the other end learns that it was refused. Which of the reasons it was is taken from
 * what find_key() saw and from the library's own. An end that answers a key with a certificate instead is not taken for
 * a node: nothing is trusted to sign one (set_verify), and a session counts as secured only with the key in it. */

#include "io/tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/core_names.h>
#include <openssl/ssl.h>

#define SUITE "TLS_AES_256_GCM_SHA384"
static const unsigned char SUITE_ID[2] = {0x13, 0x02};
#define GROUPS "X25519:P-256"
#define HALF 8                      /* bytes of an identity: for the key, then for key and cluster */
#define IDENTITY_SIZE (2 * HALF)
#define SECRET_SIZE 48              /* as long as the suite's hash */
#define ALERTS 1000                 /* reasons from here on are alerts that came from the other end */

struct key
{
    uint64_t id;
    uint8_t identity[IDENTITY_SIZE];
    uint8_t secret[SECRET_SIZE]; /* for this cluster */
};

struct tls
{
    SSL_CTX *context;
    char *cluster;
    unsigned n_keys;
    struct key keys[TLS_KEYS_MAX];
};

struct tls_session
{
    struct tls *tls;
    SSL *ssl;
    BIO *in, *out; /* the ssl's */
    bool secured;
    size_t fed; /* before it was secured */
    uint64_t key;
    uint8_t offered[IDENTITY_SIZE]; /* by this end */
    enum tls_failure offer;         /* what is wrong with the other's */
    enum tls_failure failure;
};

/* --------------------------------------------------------------------------------------------------------- derivation */

/* HKDF (RFC 5869) with SHA-384. A library that cannot do that is not the one that this was built for. */
static void derive(const uint8_t key[TLS_KEY_SIZE], const char *purpose, const char *cluster, uint8_t *ret, size_t len)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *context = kdf == NULL ? NULL : EVP_KDF_CTX_new(kdf);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA384", 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)key, TLS_KEY_SIZE),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)purpose, strlen(purpose)),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)cluster, strlen(cluster)),
        OSSL_PARAM_construct_end(),
    };

    if (context == NULL || EVP_KDF_derive(context, ret, len, params) <= 0) {
        abort();
    }
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
}

static uint64_t number_of(const uint8_t bytes[HALF])
{
    uint64_t number = 0;

    for (unsigned i = 0; i < HALF; i++) {
        number = number << 8 | bytes[i];
    }
    return number == 0 ? 1 : number;
}

uint64_t tls_key_id(const uint8_t key[TLS_KEY_SIZE])
{
    uint8_t bytes[HALF];

    derive(key, "vipd 1 key id", "", bytes, sizeof bytes);
    return number_of(bytes);
}

static void derive_key(const uint8_t key[TLS_KEY_SIZE], const char *cluster, struct key *ret)
{
    derive(key, "vipd 1 key id", "", ret->identity, HALF);
    derive(key, "vipd 1 cluster id", cluster, ret->identity + HALF, HALF);
    derive(key, "vipd 1 psk", cluster, ret->secret, sizeof ret->secret);
    ret->id = number_of(ret->identity);
}

/* --------------------------------------------------------------------------------------------- the library's questions */

static struct tls_session *session_of(SSL *ssl)
{
    return SSL_get_app_data(ssl);
}

static SSL_SESSION *make_psk(SSL *ssl, const struct key *key)
{
    const SSL_CIPHER *suite = SSL_CIPHER_find(ssl, SUITE_ID);
    SSL_SESSION *psk = SSL_SESSION_new();

    if (psk == NULL || suite == NULL || SSL_SESSION_set1_master_key(psk, key->secret, sizeof key->secret) != 1 ||
        SSL_SESSION_set_cipher(psk, suite) != 1 || SSL_SESSION_set_protocol_version(psk, TLS1_3_VERSION) != 1) {
        SSL_SESSION_free(psk);
        return NULL;
    }
    return psk;
}

/* The side that dials: the first key. */
static int offer_key(SSL *ssl, const EVP_MD *hash, const unsigned char **ret_id, size_t *ret_len, SSL_SESSION **ret)
{
    struct tls_session *session = session_of(ssl);
    const struct key *key = &session->tls->keys[0];

    (void)hash; /* the only suite's */
    if (session->tls->n_keys == 0) {
        return 0;
    }
    SSL_SESSION *psk = make_psk(ssl, key);
    if (psk == NULL) {
        return 0;
    }
    memcpy(session->offered, key->identity, IDENTITY_SIZE);
    session->key = key->id;
    *ret_id = session->offered;
    *ret_len = IDENTITY_SIZE;
    *ret = psk;
    return 1;
}

/* The other side: which of the keys is it? None: the library goes on without, finds no other way, and refuses. */
static int find_key(SSL *ssl, const unsigned char *id, size_t len, SSL_SESSION **ret)
{
    struct tls_session *session = session_of(ssl);
    const struct tls *tls = session->tls;

    *ret = NULL;
    session->offer = TLS_FAILURE_KEY;
    for (unsigned i = 0; i < tls->n_keys && len == IDENTITY_SIZE; i++) {
        if (memcmp(tls->keys[i].identity, id, HALF) != 0) {
            continue;
        }
        if (memcmp(tls->keys[i].identity, id, IDENTITY_SIZE) != 0) {
            session->offer = TLS_FAILURE_CLUSTER;
            return 1;
        }
        session->offer = TLS_FAILURE_NONE;
        session->key = tls->keys[i].id;
        *ret = make_psk(ssl, &tls->keys[i]);
        return *ret != NULL;
    }
    return 1;
}

/* --------------------------------------------------------------------------------------------------- keys of a cluster */

static bool configure(SSL_CTX *context)
{
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_psk_use_session_callback(context, offer_key);
    SSL_CTX_set_psk_find_session_callback(context, find_key);
    return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_ciphersuites(context, SUITE) == 1 && SSL_CTX_set1_groups_list(context, GROUPS) == 1 &&
           SSL_CTX_set_num_tickets(context, 0) == 1 && SSL_CTX_set_max_early_data(context, 0) == 1 &&
           SSL_CTX_set_recv_max_early_data(context, 0) == 1;
}

int tls_init(struct tls **ret, const char *cluster)
{
    struct tls *tls = calloc(1, sizeof *tls);

    if (tls == NULL) {
        return -ENOMEM;
    }
    tls->cluster = strdup(cluster);
    tls->context = SSL_CTX_new(TLS_method());
    if (tls->cluster == NULL || tls->context == NULL || !configure(tls->context)) {
        ERR_clear_error();
        tls_free(tls);
        return -ENOMEM;
    }
    *ret = tls;
    return 0;
}

void tls_free(struct tls *tls)
{
    if (tls == NULL) {
        return;
    }
    SSL_CTX_free(tls->context);
    free(tls->cluster);
    explicit_bzero(tls->keys, sizeof tls->keys);
    free(tls);
}

void tls_set_keys(struct tls *tls, const uint8_t (*keys)[TLS_KEY_SIZE], unsigned n)
{
    if (n == 0 || n > TLS_KEYS_MAX) {
        abort();
    }
    explicit_bzero(tls->keys, sizeof tls->keys);
    for (unsigned i = 0; i < n; i++) {
        derive_key(keys[i], tls->cluster, &tls->keys[i]);
    }
    tls->n_keys = n;
}

unsigned tls_keys(const struct tls *tls, uint64_t ret[TLS_KEYS_MAX])
{
    for (unsigned i = 0; i < tls->n_keys; i++) {
        ret[i] = tls->keys[i].id;
    }
    return tls->n_keys;
}

bool tls_accepts(const struct tls *tls, uint64_t key)
{
    for (unsigned i = 0; i < tls->n_keys; i++) {
        if (tls->keys[i].id == key) {
            return true;
        }
    }
    return false;
}

/* ------------------------------------------------------------------------------------------------------------ sessions */

const char *tls_failure_text(enum tls_failure failure)
{
    static const char *const TEXTS[TLS_FAILURES_N] = {
        [TLS_FAILURE_NONE] = "nothing is wrong with it",
        [TLS_FAILURE_MALFORMED] = "it does not speak as a node does",
        [TLS_FAILURE_KEY] = "it has another key: compare the key-file of both nodes",
        [TLS_FAILURE_CLUSTER] = "it has this cluster's key, but another name for the cluster",
        [TLS_FAILURE_PROOF] = "it could not prove that it has this cluster's key",
        [TLS_FAILURE_REFUSED] = "it does not accept this node's key: compare key-file and cluster of both nodes",
    };

    return failure < TLS_FAILURES_N ? TEXTS[failure] : "?";
}

static void give_memory(struct tls_session *session)
{
    session->in = BIO_new(BIO_s_mem());
    session->out = BIO_new(BIO_s_mem());
    if (session->in != NULL && session->out != NULL) {
        BIO_set_mem_eof_return(session->in, -1); /* empty means later, not the end */
    }
}

/* For the side that dials: a certificate is no proof, and nothing can make it one. */
static void set_verify(SSL *ssl)
{
    SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL); /* the context trusts nobody */
}

static enum tls_failure why(const struct tls_session *session, unsigned long error)
{
    int reason = ERR_GET_REASON(error);

    if (session->offer != TLS_FAILURE_NONE) {
        return session->offer;
    }
    if (ERR_GET_LIB(error) == ERR_LIB_SSL && reason > ALERTS) {
        return session->secured ? TLS_FAILURE_MALFORMED : TLS_FAILURE_REFUSED;
    }
    if (ERR_GET_LIB(error) == ERR_LIB_SSL &&
        (reason == SSL_R_BINDER_DOES_NOT_VERIFY || reason == SSL_R_CERTIFICATE_VERIFY_FAILED)) {
        return TLS_FAILURE_PROOF;
    }
    return TLS_FAILURE_MALFORMED;
}

static int fail(struct tls_session *session, enum tls_failure failure)
{
    session->failure = failure;
    session->secured = false;
    ERR_clear_error();
    return -EKEYREJECTED;
}

/* What a call of the library came to: 0 = go on when more has come. */
static int judge(struct tls_session *session, int r)
{
    switch (SSL_get_error(session->ssl, r)) {
    case SSL_ERROR_WANT_READ:
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_ENDED;
    default:
        return fail(session, why(session, ERR_peek_last_error()));
    }
}

static int shake(struct tls_session *session)
{
    ERR_clear_error();
    int r = SSL_do_handshake(session->ssl);
    if (r != 1) {
        return judge(session, r);
    }
    if (SSL_session_reused(session->ssl) != 1 || session->key == 0) {
        return fail(session, TLS_FAILURE_PROOF); /* not by the key */
    }
    session->secured = true;
    return 0;
}

int tls_session_init(struct tls_session **ret, struct tls *tls, bool dialled)
{
    struct tls_session *session = calloc(1, sizeof *session);

    if (session == NULL) {
        return -ENOMEM;
    }
    session->tls = tls;
    session->ssl = SSL_new(tls->context);
    give_memory(session);
    if (session->ssl == NULL || session->in == NULL || session->out == NULL) {
        BIO_free(session->in);
        BIO_free(session->out);
        SSL_free(session->ssl);
        free(session);
        ERR_clear_error();
        return -ENOMEM;
    }
    SSL_set_bio(session->ssl, session->in, session->out);
    SSL_set_app_data(session->ssl, session);
    if (dialled) {
        set_verify(session->ssl);
        SSL_set_connect_state(session->ssl);
        if (shake(session) < 0) {
            tls_session_free(session);
            return -ENOMEM; /* nothing has come yet that could be wrong */
        }
    } else {
        SSL_set_accept_state(session->ssl);
    }
    *ret = session;
    return 0;
}

void tls_session_free(struct tls_session *session)
{
    if (session != NULL) {
        SSL_free(session->ssl);
        free(session);
    }
}

int tls_session_feed(struct tls_session *session, const void *bytes, size_t len)
{
    size_t written = 0;

    if (session->failure != TLS_FAILURE_NONE) {
        return -EKEYREJECTED;
    }
    session->fed += session->secured ? 0 : len;
    if (!session->secured && session->fed > TLS_HANDSHAKE_MAX) {
        return fail(session, session->offer != TLS_FAILURE_NONE ? session->offer : TLS_FAILURE_MALFORMED);
    }
    if (len > 0 && (BIO_write_ex(session->in, bytes, len, &written) != 1 || written != len)) {
        ERR_clear_error();
        return -ENOMEM;
    }
    return 0;
}

int tls_session_read(struct tls_session *session, void *buf, size_t size, size_t *ret_len)
{
    size_t len = 0;

    if (session->failure != TLS_FAILURE_NONE) {
        return -EKEYREJECTED;
    }
    if (!session->secured) {
        int r = shake(session);
        if (r != 0 || !session->secured) {
            *ret_len = 0;
            return r;
        }
    }
    ERR_clear_error();
    int r = SSL_read_ex(session->ssl, buf, size, &len);
    if (r != 1) {
        len = 0;
        r = judge(session, r);
    } else {
        r = 0;
    }
    *ret_len = len;
    return r;
}

bool tls_session_secured(const struct tls_session *session)
{
    return session->secured;
}

int tls_session_write(struct tls_session *session, const void *data, size_t len)
{
    size_t written = 0;

    if (len == 0 || len > TLS_RECORD_MAX) {
        abort();
    }
    if (!session->secured) {
        return -ENOTCONN;
    }
    ERR_clear_error();
    if (SSL_write_ex(session->ssl, data, len, &written) != 1 || written != len) {
        ERR_clear_error();
        return -ENOMEM; /* memory takes everything: there was none */
    }
    return 0;
}

size_t tls_session_waiting(const struct tls_session *session)
{
    return BIO_ctrl_pending(session->out);
}

size_t tls_session_take(struct tls_session *session, void *buf, size_t size)
{
    size_t len = 0;

    return size > 0 && BIO_read_ex(session->out, buf, size, &len) == 1 ? len : 0;
}

enum tls_failure tls_session_failure(const struct tls_session *session)
{
    return session->failure;
}

uint64_t tls_session_key(const struct tls_session *session)
{
    return session->key;
}

int tls_session_export(struct tls_session *session, const char *label, void *ret, size_t len)
{
    if (!session->secured) {
        abort();
    }
    ERR_clear_error();
    if (SSL_export_keying_material(session->ssl, ret, len, label, strlen(label), NULL, 0, 0) != 1) {
        ERR_clear_error();
        return -EIO;
    }
    return 0;
}
