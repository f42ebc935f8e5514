/* What a stranger says where a TLS handshake should begin (io/tls.h): whatever it is, and however it is cut, it secures
 * nothing, for it has no key; it is answered with little, and it ends. One byte that says how it is cut, then the bytes. */

#include <errno.h>

#include "fuzz.h"
#include "io/tls.h"

#define ANSWER_MAX 4096 /* bytes: what is said to a stranger */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t KEYS[1][TLS_KEY_SIZE] = {"the key of the fuzzer's cluster"};
    static struct tls *tls;
    struct tls_session *session;
    uint8_t plain[TLS_RECORD_MAX], out[1024];
    size_t answered = 0, len;
    int r = 0;

    if (size < 1 || (tls == NULL && tls_init(&tls, "prod") != 0)) {
        return 0;
    }
    tls_set_keys(tls, KEYS, 1);
    if (tls_session_init(&session, tls, false) != 0) {
        return 0;
    }
    size_t step = data[0] == 0 ? size : data[0];
    for (size_t at = 1; at < size && r == 0; at += step) {
        r = tls_session_feed(session, data + at, size - at < step ? size - at : step);
        if (r == 0) {
            r = tls_session_read(session, plain, sizeof plain, &len);
            FUZZ_CHECK(len == 0);
        }
        for (size_t n = 1; n > 0; answered += n) {
            n = tls_session_take(session, out, sizeof out);
        }
        FUZZ_CHECK(r == 0 || r == TLS_ENDED || r == -EKEYREJECTED || r == -ENOMEM);
        FUZZ_CHECK(!tls_session_secured(session) && answered < ANSWER_MAX);
        FUZZ_CHECK(r == -EKEYREJECTED || at <= TLS_HANDSHAKE_MAX + 1);
    }
    FUZZ_CHECK((r == -EKEYREJECTED) == (tls_session_failure(session) != TLS_FAILURE_NONE));
    FUZZ_CHECK(tls_session_write(session, "x", 1) == -ENOTCONN);
    tls_session_free(session);
    return 0;
}
