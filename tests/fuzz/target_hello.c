/* The first message of a connection (wire/hello.h): from whoever can reach the port. */

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "fuzz.h"
#include "wire/frame.h"
#include "wire/hello.h"

/* All of it goes to logs and terminals as it is. */
static bool harmless(const char *text, size_t size)
{
    size_t len = strnlen(text, size);

    for (size_t i = 0; i < len; i++) {
        if (text[i] < ' ' || text[i] > '~') {
            return false;
        }
    }
    return len < size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct hello was, is;
    static uint8_t bytes[4096], bytes_again[4096];
    size_t len, len_again;
    int r = hello_decode(data, size, &was);

    FUZZ_CHECK(sizeof bytes == channel_max(CHANNEL_HELLO));
    if (r != 0) {
        FUZZ_CHECK(r == -EBADMSG || r == -E2BIG);
        return 0;
    }
    FUZZ_CHECK(harmless(was.reason, sizeof was.reason) && harmless(was.cluster, sizeof was.cluster));
    FUZZ_CHECK(harmless(was.name, sizeof was.name) && harmless(was.version, sizeof was.version));
    FUZZ_CHECK(hello_protocol(&was, &was) == was.protocol_max);
    FUZZ_CHECK(hello_encode(&was, bytes, sizeof bytes, &len) == 0);
    FUZZ_CHECK(hello_decode(bytes, len, &is) == 0 && memcmp(&was, &is, sizeof was) == 0);
    FUZZ_CHECK(hello_encode(&is, bytes_again, sizeof bytes_again, &len_again) == 0);
    FUZZ_CHECK(len == len_again && memcmp(bytes, bytes_again, len) == 0);
    FUZZ_CHECK(hello_encode(&is, bytes_again, len - 1, &len_again) == -ENOBUFS);
    return 0;
}
