/* A datagram from anybody (io/seal.h): nothing but what was sealed is opened, and that once. The seeds are sealed with the
 * secret below, so that a changed one is judged by the cipher, too. */

#include <string.h>

#include "fuzz.h"
#include "io/seal.h"

static const uint8_t SECRET[SEAL_SECRET_SIZE] = "the secret of the seeds, as in seeds_peers.c";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sealer *sealer;
    static uint8_t plain[1 << 16], again[(1 << 16) + SEAL_OVERHEAD];
    struct seal in, out;
    uint64_t id;
    size_t len = 0;

    if (size > sizeof plain || (sealer == NULL && sealer_init(&sealer) != 0)) {
        return 0;
    }
    seal_init(&in, SECRET);
    int claimed = seal_of(data, size, &id);
    int r = seal_take(sealer, &in, data, size, plain, &len);
    FUZZ_CHECK(claimed == 0 || r < 0);
    if (r != 0) {
        FUZZ_CHECK(in.counter == 0); /* nothing has changed */
        seal_end(&in);
        return 0;
    }
    FUZZ_CHECK(len == size - SEAL_OVERHEAD && in.counter != 0);
    FUZZ_CHECK(seal_take(sealer, &in, data, size, plain, &len) == SEAL_REPLAYED);
    seal_init(&out, SECRET); /* who could make it made just that */
    out.counter = in.counter - 1;
    FUZZ_CHECK(seal_put(sealer, &out, plain, len, again) == 0 && memcmp(again, data, size) == 0);
    seal_end(&in);
    seal_end(&out);
    return 0;
}
