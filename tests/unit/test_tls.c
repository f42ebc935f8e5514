/* io/tls in memory: two ends and the bytes between them, which the tests cut, change, hold back and make up. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "io/tls.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const uint8_t KEYS[3][TLS_KEY_SIZE] = {"the first", "the second", "of another cluster"};

struct end
{
    struct tls *tls;
    struct tls_session *session;
    int r;          /* of the last read */
    uint8_t got[1 << 16];
    size_t n_got;
    uint8_t flight[1 << 16]; /* what it has to say */
    size_t n_flight;
};

static void open_end(struct end *end, const char *cluster, const uint8_t (*keys)[TLS_KEY_SIZE], unsigned n, bool dialled)
{
    memset(end, 0, sizeof *end);
    assert_int_equal(tls_init(&end->tls, cluster), 0);
    tls_set_keys(end->tls, keys, n);
    assert_int_equal(tls_session_init(&end->session, end->tls, dialled), 0);
}

static void close_end(struct end *end)
{
    tls_session_free(end->session);
    tls_free(end->tls);
}

static void collect(struct end *end)
{
    end->n_flight += tls_session_take(end->session, end->flight + end->n_flight, sizeof end->flight - end->n_flight);
}

static void hear(struct end *end, const uint8_t *bytes, size_t len)
{
    size_t n = 0;

    end->r = tls_session_feed(end->session, bytes, len);
    while (end->r == 0) {
        end->r = tls_session_read(end->session, end->got + end->n_got, sizeof end->got - end->n_got, &n);
        if (n == 0 || end->r != 0) {
            break;
        }
        end->n_got += n;
    }
    collect(end);
}

/* All that `from` has to say reaches `to`, `step` bytes at a time. Whether there was anything. */
static bool carry(struct end *from, struct end *to, size_t step)
{
    uint8_t bytes[1 << 16];

    collect(from);
    size_t len = from->n_flight;
    memcpy(bytes, from->flight, len);
    from->n_flight = 0;
    for (size_t at = 0; at < len; at += step) {
        hear(to, bytes + at, len - at < step ? len - at : step);
    }
    return len > 0;
}

static void carry_all(struct end *a, struct end *b, size_t step)
{
    for (bool more = true; more;) {
        more = carry(a, b, step);
        more = carry(b, a, step) || more;
    }
}

/* ---------------------------------------------------------------------------------------------------- those who belong */

static void the_same_key_secures_both_ends_whatever_the_pieces(void **state)
{
    for (size_t step = 1; step < 3000; step = step < 8 ? step + 1 : step * 3) {
        struct end a, b;
        uint8_t secret_a[44], secret_b[44], other[44];

        open_end(&a, "prod", KEYS, 1, true);
        open_end(&b, "prod", KEYS, 1, false);
        assert_int_equal(tls_session_write(a.session, "x", 1), -ENOTCONN);
        carry_all(&a, &b, step);
        assert_true(tls_session_secured(a.session) && tls_session_secured(b.session));
        assert_int_equal(tls_session_key(a.session), tls_key_id(KEYS[0]));
        assert_int_equal(tls_session_key(b.session), tls_key_id(KEYS[0]));

        assert_int_equal(tls_session_write(a.session, "over there", 10), 0);
        assert_int_equal(tls_session_write(b.session, "and back", 8), 0);
        carry_all(&a, &b, step);
        assert_memory_equal(b.got, "over there", 10);
        assert_memory_equal(a.got, "and back", 8);
        assert_int_equal(a.n_got + b.n_got, 18);

        assert_int_equal(tls_session_export(a.session, "one", secret_a, sizeof secret_a), 0);
        assert_int_equal(tls_session_export(b.session, "one", secret_b, sizeof secret_b), 0);
        assert_int_equal(tls_session_export(b.session, "two", other, sizeof other), 0);
        assert_memory_equal(secret_a, secret_b, sizeof secret_a);
        assert_memory_not_equal(secret_a, other, sizeof other);
        close_end(&a);
        close_end(&b);
    }
}

/* A key change: what is used by one is accepted by the other, whichever is its first. */
static void either_of_two_keys_is_accepted(void **state)
{
    static const uint8_t swapped[2][TLS_KEY_SIZE] = {"the second", "the first"};
    struct end a, b;
    uint64_t ids[TLS_KEYS_MAX];

    for (int old = 0; old < 2; old++) {
        open_end(&a, "prod", old ? KEYS : KEYS + 1, 1, true);
        open_end(&b, "prod", swapped, 2, false);
        carry_all(&a, &b, 5000);
        assert_true(tls_session_secured(a.session) && tls_session_secured(b.session));
        assert_int_equal(tls_session_key(b.session), tls_key_id(KEYS[!old]));
        assert_int_equal(tls_keys(b.tls, ids), 2);
        assert_int_equal(ids[0], tls_key_id(KEYS[1]));
        assert_true(tls_accepts(b.tls, tls_key_id(KEYS[0])));
        tls_set_keys(b.tls, KEYS + 1, 1); /* the sessions stay, the key does not */
        assert_false(tls_accepts(b.tls, tls_key_id(KEYS[0])));
        assert_int_equal(tls_session_write(a.session, "still", 5), 0);
        carry_all(&a, &b, 5000);
        assert_int_equal(b.n_got, 5);
        close_end(&a);
        close_end(&b);
    }
}

static void two_sessions_have_nothing_in_common(void **state)
{
    struct end a[2], b[2];
    uint8_t secret[2][44];

    for (int i = 0; i < 2; i++) {
        open_end(&a[i], "prod", KEYS, 1, true);
        open_end(&b[i], "prod", KEYS, 1, false);
        carry_all(&a[i], &b[i], 5000);
        assert_int_equal(tls_session_export(a[i].session, "one", secret[i], sizeof secret[i]), 0);
    }
    assert_memory_not_equal(secret[0], secret[1], sizeof secret[0]);
    assert_int_equal(tls_session_write(a[0].session, "recorded", 8), 0);
    carry(&a[0], &b[1], 5000); /* into the other session */
    assert_int_equal(b[1].r, -EKEYREJECTED);
    assert_int_equal(b[1].n_got, 0);
    for (int i = 0; i < 2; i++) {
        close_end(&a[i]);
        close_end(&b[i]);
    }
}

/* Who listens learns neither the name of the cluster nor the key, and cannot tell a cluster's name from its guess. */
static void nothing_of_the_cluster_is_in_the_clear(void **state)
{
    struct end a;

    open_end(&a, "production-cluster", KEYS, 1, true);
    collect(&a);
    assert_null(memmem(a.flight, a.n_flight, "production", 10));
    assert_null(memmem(a.flight, a.n_flight, KEYS[0], 9));
    close_end(&a);
}

/* ------------------------------------------------------------------------------------------------ those who do not belong */

static void refused(const char *cluster, const uint8_t (*keys)[TLS_KEY_SIZE], enum tls_failure failure)
{
    struct end a, b;

    open_end(&a, cluster, keys, 1, true);
    open_end(&b, "prod", KEYS, 2, false);
    carry_all(&a, &b, 5000);
    assert_false(tls_session_secured(a.session) || tls_session_secured(b.session));
    assert_int_equal(b.r, -EKEYREJECTED);
    assert_int_equal(tls_session_failure(b.session), failure);
    assert_int_equal(a.r, -EKEYREJECTED); /* by the alert */
    assert_int_equal(tls_session_failure(a.session), TLS_FAILURE_REFUSED);
    assert_int_equal(tls_session_write(a.session, "x", 1), -ENOTCONN);
    assert_int_equal(tls_session_feed(b.session, "x", 1), -EKEYREJECTED); /* for good */
    assert_non_null(strstr(tls_failure_text(failure), failure == TLS_FAILURE_KEY ? "key-file" : "another name"));
    close_end(&a);
    close_end(&b);
}

static void another_key_or_cluster_is_refused_and_both_know_why(void **state)
{
    refused("prod", KEYS + 2, TLS_FAILURE_KEY);
    refused("test", KEYS, TLS_FAILURE_CLUSTER);
    refused("test", KEYS + 2, TLS_FAILURE_KEY);
    refused("", KEYS, TLS_FAILURE_CLUSTER);
}

/* A library's own session that plays the other end. */
struct foreign
{
    SSL_CTX *context;
    SSL *ssl;
    BIO *in, *out;
};

static void open_foreign(struct foreign *foreign)
{
    foreign->context = SSL_CTX_new(TLS_method());
    assert_non_null(foreign->context);
}

static void begin_foreign(struct foreign *foreign)
{
    foreign->ssl = SSL_new(foreign->context);
    foreign->in = BIO_new(BIO_s_mem());
    foreign->out = BIO_new(BIO_s_mem());
    SSL_set_bio(foreign->ssl, foreign->in, foreign->out);
}

static void close_foreign(struct foreign *foreign)
{
    SSL_free(foreign->ssl);
    SSL_CTX_free(foreign->context);
}

/* What it says reaches the end, and the other way round, until both are quiet. */
static void talk(struct foreign *foreign, struct end *end)
{
    uint8_t bytes[1 << 14];
    int n;

    for (int i = 0; i < 10; i++) {
        (void)SSL_do_handshake(foreign->ssl);
        n = BIO_read(foreign->out, bytes, sizeof bytes);
        if (n > 0) {
            hear(end, bytes, (size_t)n);
        }
        collect(end);
        if (end->n_flight > 0) {
            assert_int_equal(BIO_write(foreign->in, end->flight, (int)end->n_flight), end->n_flight);
            end->n_flight = 0;
        }
    }
}

/* The identity is in the clear, so anybody may have it; without the key it is worth nothing. */
static uint8_t stolen[16];
static int offer_stolen(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *len, SSL_SESSION **ret)
{
    static const unsigned char suite[] = {0x13, 0x02};
    SSL_SESSION *psk = SSL_SESSION_new();

    (void)md;
    assert_int_equal(SSL_SESSION_set1_master_key(psk, KEYS[2], 32), 1);
    assert_int_equal(SSL_SESSION_set_cipher(psk, SSL_CIPHER_find(ssl, suite)), 1);
    assert_int_equal(SSL_SESSION_set_protocol_version(psk, TLS1_3_VERSION), 1);
    *id = stolen;
    *len = sizeof stolen;
    *ret = psk;
    return 1;
}

static void a_stolen_identity_is_no_proof(void **state)
{
    struct foreign thief;
    struct end a, b;

    open_end(&a, "prod", KEYS, 1, true);
    collect(&a);
    /* the identity follows its length, 16, in the last extension, before the age and the binder of 48 bytes */
    size_t at = a.n_flight - 48 - 1 - 2 - 4 - 16;
    assert_int_equal(a.flight[at - 1], 16);
    memcpy(stolen, a.flight + at, sizeof stolen);
    close_end(&a);

    open_foreign(&thief);
    SSL_CTX_set_psk_use_session_callback(thief.context, offer_stolen);
    begin_foreign(&thief);
    SSL_set_connect_state(thief.ssl);
    open_end(&b, "prod", KEYS, 1, false);
    talk(&thief, &b);
    assert_int_equal(b.r, -EKEYREJECTED);
    assert_int_equal(tls_session_failure(b.session), TLS_FAILURE_PROOF);
    close_end(&b);
    close_foreign(&thief);
}

static void give_certificate(SSL_CTX *context)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();

    assert_non_null(key);
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    assert_int_equal(SSL_CTX_use_certificate(context, certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(context, key), 1);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

/* Whoever answers in a node's place can make a certificate, but has no key. */
static void a_certificate_is_no_proof(void **state)
{
    struct foreign server;
    struct end a;

    open_foreign(&server);
    give_certificate(server.context);
    begin_foreign(&server);
    SSL_set_accept_state(server.ssl);
    open_end(&a, "prod", KEYS, 1, true);
    talk(&server, &a);
    assert_int_equal(a.r, -EKEYREJECTED);
    assert_int_equal(tls_session_failure(a.session), TLS_FAILURE_PROOF);
    assert_false(tls_session_secured(a.session));
    close_end(&a);
    close_foreign(&server);
}

static void give_nothing(SSL_CTX *context) { (void)context; }
static void give_old_version(SSL_CTX *context) { SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION); }
static void give_other_suite(SSL_CTX *context) { SSL_CTX_set_ciphersuites(context, "TLS_CHACHA20_POLY1305_SHA256"); }

static void a_client_without_the_key_is_refused(void **state)
{
    static void (*const makes[])(SSL_CTX *context) = {give_nothing, give_old_version, give_other_suite, give_certificate};

    for (size_t i = 0; i < COUNT(makes); i++) {
        struct foreign client;
        struct end b;

        open_foreign(&client);
        makes[i](client.context);
        begin_foreign(&client);
        SSL_set_connect_state(client.ssl);
        open_end(&b, "prod", KEYS, 1, false);
        talk(&client, &b);
        assert_int_equal(b.r, -EKEYREJECTED);
        assert_int_not_equal(tls_session_failure(b.session), TLS_FAILURE_NONE);
        assert_false(tls_session_secured(b.session));
        close_end(&b);
        close_foreign(&client);
    }
}

/* ---------------------------------------------------------------------------------------------------------- bad bytes */

/* Each byte of each flight changed in turn: no end is secured that should not be, and what was said does not pass. */
static void a_changed_byte_is_noticed(void **state)
{
    unsigned spoilt = 0;

    for (int whose = 0; whose < 3; whose++) { /* the flights: hello, the answer, the last word */
        for (size_t at = 0; at < 1000; at += 7) {
            struct end a, b;
            struct end *ends[2] = {&a, &b};

            open_end(&a, "prod", KEYS, 1, true);
            open_end(&b, "prod", KEYS, 1, false);
            for (int flight = 0; flight < 3; flight++) {
                struct end *from = ends[flight % 2], *to = ends[(flight + 1) % 2];
                collect(from);
                if (flight == whose && at < from->n_flight) {
                    from->flight[at] ^= 0x10;
                    spoilt++;
                }
                carry(from, to, 5000);
            }
            carry_all(&a, &b, 5000);
            if (tls_session_secured(a.session) && tls_session_write(a.session, "mine", 4) == 0) {
                carry_all(&a, &b, 5000);
            }
            assert_true(b.n_got == 0 || (b.n_got == 4 && memcmp(b.got, "mine", 4) == 0));
            close_end(&a);
            close_end(&b);
        }
    }
    assert_true(spoilt > 50);
}

static void a_record_that_comes_twice_or_changed_ends_the_session(void **state)
{
    for (int change = 0; change < 2; change++) {
        struct end a, b;
        uint8_t record[256];

        open_end(&a, "prod", KEYS, 1, true);
        open_end(&b, "prod", KEYS, 1, false);
        carry_all(&a, &b, 5000);
        assert_int_equal(tls_session_write(a.session, "once", 4), 0);
        size_t n = tls_session_take(a.session, record, sizeof record);
        if (!change) {
            hear(&b, record, n);
            assert_int_equal(b.n_got, 4);
        } else {
            record[n - 1] ^= 1;
        }
        hear(&b, record, n);
        assert_int_equal(b.r, -EKEYREJECTED);
        assert_int_equal(tls_session_failure(b.session), TLS_FAILURE_MALFORMED);
        assert_int_equal(b.n_got, change ? 0 : 4);
        close_end(&a);
        close_end(&b);
    }
}

static void noise_is_malformed_and_bounded(void **state)
{
    static const char *const noises[] = {"GET / HTTP/1.1\r\n\r\n", "SSH-2.0-x\r\n", "VIPD\1\1\0\0\0\0\1\0"};
    uint32_t seed = 7;

    for (unsigned round = 0; round < 300; round++) {
        struct end b;
        uint8_t noise[600];
        size_t len = sizeof noise;

        open_end(&b, "prod", KEYS, 1, false);
        for (size_t i = 0; i < sizeof noise; i++) {
            seed = seed * 1664525 + 1013904223;
            noise[i] = (uint8_t)(seed >> 24);
        }
        if (round < COUNT(noises)) {
            len = strlen(noises[round]);
            memcpy(noise, noises[round], len);
        } else if (round % 2) {
            memcpy(noise, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11); /* as a handshake begins */
        }
        hear(&b, noise, len);
        /* all is wrong at once, or there is more to come, but never much more */
        for (unsigned i = 0; i < 20 && b.r == 0; i++) {
            hear(&b, noise, sizeof noise);
        }
        assert_int_equal(b.r, -EKEYREJECTED);
        assert_false(tls_session_secured(b.session));
        close_end(&b);
    }
}

static void a_handshake_that_never_ends_is_bounded(void **state)
{
    struct end b;
    uint8_t record[5 + 1000] = {0x16, 0x03, 0x01, 1000 >> 8, 1000 & 0xff, 0x01, 0x01, 0xff, 0x00}; /* a hello of 128 KiB */
    size_t said = 0;

    open_end(&b, "prod", KEYS, 1, false);
    while (b.r == 0) {
        hear(&b, record, sizeof record);
        record[5] = 0; /* no new message: more of the first */
        said += sizeof record;
        assert_true(said < 2 * TLS_HANDSHAKE_MAX);
    }
    assert_int_equal(b.r, -EKEYREJECTED);
    assert_int_equal(tls_session_failure(b.session), TLS_FAILURE_MALFORMED);
    close_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_key_secures_both_ends_whatever_the_pieces),
        cmocka_unit_test(either_of_two_keys_is_accepted),
        cmocka_unit_test(two_sessions_have_nothing_in_common),
        cmocka_unit_test(nothing_of_the_cluster_is_in_the_clear),
        cmocka_unit_test(another_key_or_cluster_is_refused_and_both_know_why),
        cmocka_unit_test(a_stolen_identity_is_no_proof),
        cmocka_unit_test(a_certificate_is_no_proof),
        cmocka_unit_test(a_client_without_the_key_is_refused),
        cmocka_unit_test(a_changed_byte_is_noticed),
        cmocka_unit_test(a_record_that_comes_twice_or_changed_ends_the_session),
        cmocka_unit_test(noise_is_malformed_and_bounded),
        cmocka_unit_test(a_handshake_that_never_ends_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
