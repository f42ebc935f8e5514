/* The datagrams of the ownership protocol: what is sent is what arrives; nothing else is taken for one. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "wire/heartbeat.h"

#define CLUSTER 0x1122334455667788ull

static const struct heartbeat BEAT = {
    .from = 1,
    .run = UINT64_MAX,
    .gen = 300,
    .seq = 70000,
    .applied = 5000000000ull,
    .released = 17,
    .held = 16,
    .n_held = 4000000000u,
    .lease_ms = 497,
    .leader = 3,
    .missing = 1ull << 63 | 5,
    .checks = 4999999999ull,
    .passing = 1ull << 63 | 2,
    .failing = 4,
    .last_term = 9,
    .writing_ms = 4000000001u,
    .slow_ppm = 83333,
    .fast_ppm = 4000000002u,
    .last_index = 5000000001ull,
    .format = UINT32_MAX,
};

static void full_answer(struct answer *answer, uint64_t seq)
{
    memset(answer, 0, sizeof *answer);
    *answer = (struct answer){
        .from = UINT64_MAX,
        .to = UINT64_MAX - 1,
        .run = UINT64_MAX - 2,
        .gen = UINT64_MAX - 3,
        .seq = seq,
        .acked = true,
        .applied = UINT64_MAX,
        .n_promises = ANSWER_REPORTS_MAX,
        .n_released = ANSWER_REPORTS_MAX,
    };
    for (uint64_t i = 0; i < ANSWER_REPORTS_MAX; i++) {
        answer->promises[i] = (struct promise_report){UINT64_MAX - i, UINT64_MAX - 100 - i, UINT64_MAX - 200 - i};
        answer->released[i] = (struct released_report){UINT64_MAX - i, UINT64_MAX - 300 - i};
    }
}

static void heartbeat_round_trip(void **state)
{
    uint8_t bytes[DATAGRAM_MAX];
    struct datagram_message got;
    size_t len = heartbeat_encode(&BEAT, FORMAT_LAST, CLUSTER, bytes);

    assert_in_range(len, 16 + 14, 200);
    assert_int_equal(heartbeat_decode(bytes, len, CLUSTER, &got), 0);
    assert_int_equal(got.type, DATAGRAM_HEARTBEAT);
    assert_memory_equal(&got.heartbeat, &BEAT, sizeof BEAT);
}

static void answer_round_trip(void **state)
{
    struct answer answer;
    uint8_t bytes[DATAGRAM_MAX];
    struct datagram_message got;
    size_t len;

    full_answer(&answer, 12);
    answer.n_promises = 3;
    answer.n_released = 5;
    answer.acked = false;
    len = answer_encode(&answer, FORMAT_LAST, CLUSTER, bytes);
    assert_int_equal(heartbeat_decode(bytes, len, CLUSTER, &got), 0);
    assert_int_equal(got.type, DATAGRAM_ANSWER);
    assert_int_equal(got.answer.from, answer.from);
    assert_int_equal(got.answer.to, answer.to);
    assert_int_equal(got.answer.run, answer.run);
    assert_int_equal(got.answer.gen, answer.gen);
    assert_int_equal(got.answer.seq, 12);
    assert_false(got.answer.acked);
    assert_int_equal(got.answer.applied, answer.applied);
    assert_int_equal(got.answer.n_promises, 3);
    assert_int_equal(got.answer.n_released, 5);
    for (unsigned i = 0; i < 3; i++) { /* seq 12: from the first on */
        assert_memory_equal(&got.answer.promises[i], &answer.promises[i], sizeof answer.promises[i]);
    }
    for (unsigned i = 0; i < 5; i++) { /* ... and from the third */
        assert_memory_equal(&got.answer.released[i], &answer.released[(12 + i) % 5], sizeof answer.released[i]);
    }
}

/* A cut answer says nothing false, and a few of them name every node. */
static void answer_too_large_is_cut_in_turns(void **state)
{
    struct answer answer;
    uint8_t bytes[DATAGRAM_MAX];
    struct datagram_message got;
    uint64_t promises = 0, released = 0;

    for (uint64_t seq = 1; seq <= 50; seq++) {
        full_answer(&answer, seq);
        size_t len = answer_encode(&answer, FORMAT_LAST, CLUSTER, bytes);

        assert_in_range(len, DATAGRAM_MAX - 64, DATAGRAM_MAX);
        assert_int_equal(heartbeat_decode(bytes, len, CLUSTER, &got), 0);
        assert_in_range(got.answer.n_promises, 20, ANSWER_REPORTS_MAX - 1);
        assert_in_range(got.answer.n_released, 20, ANSWER_REPORTS_MAX - 1);
        for (unsigned i = 0; i < got.answer.n_promises; i++) {
            uint64_t which = UINT64_MAX - got.answer.promises[i].node;

            assert_memory_equal(&got.answer.promises[i], &answer.promises[which], sizeof answer.promises[0]);
            promises |= 1ull << which;
        }
        for (unsigned i = 0; i < got.answer.n_released; i++) {
            uint64_t which = UINT64_MAX - got.answer.released[i].node;

            assert_memory_equal(&got.answer.released[i], &answer.released[which], sizeof answer.released[0]);
            released |= 1ull << which;
        }
    }
    assert_true(promises == UINT64_MAX);
    assert_true(released == UINT64_MAX);
}

static void strangers_are_told_apart(void **state)
{
    uint8_t bytes[DATAGRAM_MAX + 1];
    struct datagram_message got = {.type = 77};
    size_t len = heartbeat_encode(&BEAT, FORMAT_LAST, CLUSTER, bytes);

    assert_int_equal(heartbeat_decode(bytes, len, CLUSTER + 1, &got), HEARTBEAT_OTHER_CLUSTER);
    bytes[4]++;
    assert_int_equal(heartbeat_decode(bytes, len, CLUSTER, &got), HEARTBEAT_OTHER_VERSION);
    bytes[4]--;
    bytes[0]++;
    assert_int_equal(heartbeat_decode(bytes, len, CLUSTER, &got), -EBADMSG);
    bytes[0]--;
    bytes[5] = 3;
    assert_int_equal(heartbeat_decode(bytes, len, CLUSTER, &got), -EBADMSG);
    bytes[5] = DATAGRAM_ANSWER;
    assert_int_equal(heartbeat_decode(bytes, len, CLUSTER, &got), -EBADMSG);
    bytes[5] = DATAGRAM_HEARTBEAT;
    bytes[7] = 1;
    assert_int_equal(heartbeat_decode(bytes, len, CLUSTER, &got), -EBADMSG);
    bytes[7] = 0;
    bytes[len] = 0;
    assert_int_equal(heartbeat_decode(bytes, len + 1, CLUSTER, &got), -EBADMSG);
    memset(bytes + len, 0, sizeof bytes - len);
    assert_int_equal(heartbeat_decode(bytes, sizeof bytes, CLUSTER, &got), -EBADMSG);
    assert_int_equal(got.type, 77);
    assert_int_equal(heartbeat_decode(bytes, len, CLUSTER, &got), 0);
}

static void zero_ids_are_refused(void **state)
{
    uint8_t bytes[DATAGRAM_MAX];
    struct datagram_message got;
    struct heartbeat beat = BEAT;
    struct answer answer;

    beat.run = 0;
    assert_int_equal(heartbeat_decode(bytes, heartbeat_encode(&beat, FORMAT_LAST, CLUSTER, bytes), CLUSTER, &got), -EBADMSG);
    beat = BEAT;
    beat.from = 0;
    assert_int_equal(heartbeat_decode(bytes, heartbeat_encode(&beat, FORMAT_LAST, CLUSTER, bytes), CLUSTER, &got), -EBADMSG);
    full_answer(&answer, 1);
    answer.to = 0;
    assert_int_equal(heartbeat_decode(bytes, answer_encode(&answer, FORMAT_LAST, CLUSTER, bytes), CLUSTER, &got), -EBADMSG);
}

/* Every prefix is refused, and no byte is beyond it read (the copy is as large as the piece: ASan would tell). */
static void truncated(void **state)
{
    struct answer answer;
    uint8_t bytes[2][DATAGRAM_MAX];
    struct datagram_message got;
    size_t len[2];

    full_answer(&answer, 1);
    len[0] = answer_encode(&answer, FORMAT_LAST, CLUSTER, bytes[0]);
    len[1] = heartbeat_encode(&BEAT, FORMAT_LAST, CLUSTER, bytes[1]);
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < len[k]; i++) {
            uint8_t *piece = test_malloc(i + 1);

            memcpy(piece + 1, bytes[k], i);
            assert_int_equal(heartbeat_decode(piece + 1, i, CLUSTER, &got), -EBADMSG);
            test_free(piece);
        }
    }
}

/* Whatever byte is damaged: refused, or decoded into something within the limits. */
static void damaged(void **state)
{
    struct answer answer;
    uint8_t bytes[DATAGRAM_MAX];
    struct datagram_message got;
    size_t len;

    full_answer(&answer, 1);
    answer.n_promises = answer.n_released = 2;
    len = answer_encode(&answer, FORMAT_LAST, CLUSTER, bytes);
    for (size_t at = 0; at < len; at++) {
        uint8_t was = bytes[at];

        for (unsigned value = 0; value < 256; value++) {
            bytes[at] = (uint8_t)value;
            int r = heartbeat_decode(bytes, len, CLUSTER, &got);

            assert_true(r == 0 || r == -EBADMSG || r == HEARTBEAT_OTHER_CLUSTER || r == HEARTBEAT_OTHER_VERSION);
            if (r == 0 && got.type == DATAGRAM_ANSWER) {
                assert_in_range(got.answer.n_promises, 0, ANSWER_REPORTS_MAX);
                assert_in_range(got.answer.n_released, 0, ANSWER_REPORTS_MAX);
            }
        }
        bytes[at] = was;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heartbeat_round_trip),
        cmocka_unit_test(answer_round_trip),
        cmocka_unit_test(answer_too_large_is_cut_in_turns),
        cmocka_unit_test(strangers_are_told_apart),
        cmocka_unit_test(zero_ids_are_refused),
        cmocka_unit_test(truncated),
        cmocka_unit_test(damaged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
