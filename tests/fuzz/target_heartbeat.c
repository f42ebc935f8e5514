/* Datagrams of strangers and of peers (wire/heartbeat.h). */

#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "wire/heartbeat.h"

#define CLUSTER 0x1122334455667788ull
#define HEADS_SPARE 6 /* bytes that the encoder keeps free for the heads of its two arrays */

/* The encoder begins with another report at each seq; whether `was` came back is told from there on. */
static void check_answer(const struct answer *was, const struct answer *is, size_t was_len)
{
    unsigned promises = was->n_promises, released = was->n_released;

    FUZZ_CHECK(memcmp(was, is, offsetof(struct answer, n_promises)) == 0);
    FUZZ_CHECK(is->n_promises <= promises && is->n_released <= released);
    if (was_len + HEADS_SPARE <= DATAGRAM_MAX) {
        FUZZ_CHECK(is->n_promises == promises && is->n_released == released);
    }
    for (unsigned i = 0; i < is->n_promises; i++) {
        const struct promise_report *report = &was->promises[(was->seq % promises + i) % promises];

        FUZZ_CHECK(memcmp(report, &is->promises[i], sizeof *report) == 0);
    }
    for (unsigned i = 0; i < is->n_released; i++) {
        const struct released_report *report = &was->released[(was->seq % released + i) % released];

        FUZZ_CHECK(memcmp(report, &is->released[i], sizeof *report) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct datagram_message was, is;
    uint8_t bytes[DATAGRAM_MAX];
    int r = heartbeat_decode(data, size, CLUSTER, &was);

    if (r != 0) {
        FUZZ_CHECK(r == -EBADMSG || r == HEARTBEAT_OTHER_CLUSTER || r == HEARTBEAT_OTHER_VERSION);
        return 0;
    }
    FUZZ_CHECK(was.type == DATAGRAM_HEARTBEAT || was.type == DATAGRAM_ANSWER);
    size_t len = was.type == DATAGRAM_HEARTBEAT ? heartbeat_encode(&was.heartbeat, FORMAT_LAST, CLUSTER, bytes)
                                                : answer_encode(&was.answer, FORMAT_LAST, CLUSTER, bytes);
    FUZZ_CHECK(len <= size && heartbeat_decode(bytes, len, CLUSTER, &is) == 0 && is.type == was.type);
    if (was.type == DATAGRAM_ANSWER) {
        check_answer(&was.answer, &is.answer, size);
    } else {
        FUZZ_CHECK(memcmp(&was.heartbeat, &is.heartbeat, sizeof was.heartbeat) == 0);
    }
    return 0;
}
