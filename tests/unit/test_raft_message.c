/* Raft's messages as bytes: there and back, and nothing but what the encoder could have made comes through. */

#include "wire/raft_message.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct raft_entry entries[RAFT_MESSAGE_ENTRIES_MAX];

/* Two servers: the library's format 1, count, then id, address, role of each; padded. */
static const uint8_t configuration_bytes[] = {
    1, 2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 'a', 0, 1, 8, 0, 0, 0, 0, 0, 0, 0, 'b', 'c', 0, 1,
};
static const struct raft_buffer configuration = {
    .base = (void *)(uintptr_t)configuration_bytes, .len = sizeof configuration_bytes};

struct sample
{
    const char *name;
    struct raft_message message;
    const struct raft_buffer *configuration;
};

static struct raft_entry three[3] = {
    {.term = 3, .type = RAFT_CHANGE, .buf = {(void *)(uintptr_t)configuration_bytes, sizeof configuration_bytes}},
    {.term = 3, .type = RAFT_COMMAND, .buf = {(void *)(uintptr_t) "hello, world", 12}},
    {.term = 4, .type = RAFT_BARRIER, .buf = {NULL, 0}},
};

static const struct sample samples[] = {
    {"append", {.type = RAFT_APPEND_ENTRIES,
                .append_entries = {.term = 4, .prev_log_index = 9, .prev_log_term = 2, .leader_commit = 8,
                                   .entries = three, .n_entries = 3}}, NULL},
    {"heartbeat", {.type = RAFT_APPEND_ENTRIES,
                   .append_entries = {.term = 4, .prev_log_index = 9, .prev_log_term = 2, .leader_commit = 8}}, NULL},
    {"first", {.type = RAFT_APPEND_ENTRIES, .append_entries = {.term = 4, .entries = three, .n_entries = 1}}, NULL},
    {"result", {.type = RAFT_APPEND_ENTRIES_RESULT,
                .append_entries_result = {.version = 2, .term = 5, .rejected = 7, .last_log_index = 6, .features = 1,
                                          .capacity = 65535}}, NULL},
    {"vote", {.type = RAFT_REQUEST_VOTE,
              .request_vote = {.version = 2, .term = 5, .candidate_id = 0xfedcba9876543210, .last_log_index = 3,
                               .last_log_term = 2, .disrupt_leader = true}}, NULL},
    {"pre-vote", {.type = RAFT_REQUEST_VOTE,
                  .request_vote = {.version = 2, .term = 5, .candidate_id = 1, .pre_vote = true}}, NULL},
    {"vote result", {.type = RAFT_REQUEST_VOTE_RESULT,
                     .request_vote_result = {.version = 2, .term = 5, .vote_granted = true, .features = 1,
                                             .capacity = 9}}, NULL},
    {"pre-vote result", {.type = RAFT_REQUEST_VOTE_RESULT,
                         .request_vote_result = {.version = 2, .term = 5, .pre_vote = true}}, NULL},
    {"snapshot", {.type = RAFT_INSTALL_SNAPSHOT,
                  .install_snapshot = {.term = 9, .last_index = 100, .last_term = 8, .conf_index = 1,
                                       .data = {(void *)(uintptr_t) "the table", 9}}}, &configuration},
    {"timeout", {.type = RAFT_TIMEOUT_NOW,
                 .timeout_now = {.term = 9, .last_log_index = 100, .last_log_term = 8}}, NULL},
};
#define SAMPLES (sizeof samples / sizeof samples[0])

static uint8_t *encoded(const struct sample *sample, size_t *ret_len)
{
    size_t len = raft_message_size(&sample->message, sample->configuration);
    uint8_t *frame = malloc(len);

    assert_true(len > 0);
    assert_non_null(frame);
    memset(frame, 0xaa, len);
    raft_message_encode(&sample->message, sample->configuration, frame);
    *ret_len = len;
    return frame;
}

static void test_round_trip(void **state)
{
    for (size_t i = 0; i < SAMPLES; i++) {
        struct raft_message back;
        struct raft_buffer back_configuration;
        size_t len;
        uint8_t *frame = encoded(&samples[i], &len);
        if (raft_message_decode(frame, len, entries, &back, &back_configuration) != 0) {
            fail_msg("%s", samples[i].name);
        }
        assert_int_equal(back.type, samples[i].message.type);
        /* Encoded again it is the same: the encoder reads every field. */
        assert_int_equal(raft_message_size(&back, &back_configuration), len);
        uint8_t *again = malloc(len);
        assert_non_null(again);
        raft_message_encode(&back, &back_configuration, again);
        assert_memory_equal(frame, again, len);
        free(again);
        free(frame);
    }
}

static void test_fields(void **state)
{
    struct raft_message back;
    struct raft_buffer back_configuration;
    size_t len;

    uint8_t *frame = encoded(&samples[0], &len);
    assert_int_equal(raft_message_decode(frame, len, entries, &back, &back_configuration), 0);
    assert_int_equal(back.append_entries.term, 4);
    assert_int_equal(back.append_entries.prev_log_index, 9);
    assert_int_equal(back.append_entries.prev_log_term, 2);
    assert_int_equal(back.append_entries.leader_commit, 8);
    assert_int_equal(back.append_entries.n_entries, 3);
    for (unsigned i = 0; i < 3; i++) {
        const struct raft_entry *entry = &back.append_entries.entries[i];
        assert_int_equal(entry->term, three[i].term);
        assert_int_equal(entry->type, three[i].type);
        assert_int_equal(entry->buf.len, three[i].buf.len);
        if (entry->buf.len > 0) {
            assert_memory_equal(entry->buf.base, three[i].buf.base, entry->buf.len);
        }
        assert_int_equal(((uint8_t *)entry->buf.base - frame) % 8, 0);
        assert_null(entry->batch);
    }
    free(frame);

    frame = encoded(&samples[4], &len);
    assert_int_equal(raft_message_decode(frame, len, entries, &back, &back_configuration), 0);
    assert_true(back.request_vote.candidate_id == 0xfedcba9876543210);
    assert_true(back.request_vote.disrupt_leader);
    assert_false(back.request_vote.pre_vote);
    free(frame);

    frame = encoded(&samples[8], &len);
    assert_int_equal(raft_message_decode(frame, len, entries, &back, &back_configuration), 0);
    assert_int_equal(back.install_snapshot.data.len, 9);
    assert_memory_equal(back.install_snapshot.data.base, "the table", 9);
    assert_int_equal(back_configuration.len, sizeof configuration_bytes);
    assert_memory_equal(back_configuration.base, configuration_bytes, sizeof configuration_bytes);
    free(frame);
}

/* At every length but the right one; in a buffer of just that length, so that a sanitizer sees one byte too far. */
static void test_truncated(void **state)
{
    for (size_t i = 0; i < SAMPLES; i++) {
        struct raft_message back;
        struct raft_buffer back_configuration;
        size_t len;
        uint8_t *frame = encoded(&samples[i], &len);
        for (size_t cut = 0; cut < len + 9; cut++) {
            uint8_t *part = calloc(1, cut > 0 ? cut : 1);
            assert_non_null(part);
            memcpy(part, frame, cut < len ? cut : len);
            if (cut != len && raft_message_decode(part, cut, entries, &back, &back_configuration) != -EBADMSG) {
                fail_msg("%s at %zu of %zu", samples[i].name, cut, len);
            }
            free(part);
        }
        free(frame);
    }
}

/* Any single bit: refused, or another message that is encoded to just these bytes. */
static void test_flipped(void **state)
{
    for (size_t i = 0; i < SAMPLES; i++) {
        struct raft_message back;
        struct raft_buffer back_configuration;
        size_t len, refused = 0;
        uint8_t *frame = encoded(&samples[i], &len);
        uint8_t *again = malloc(len);
        assert_non_null(again);
        for (size_t bit = 0; bit < len * 8; bit++) {
            frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
            int r = raft_message_decode(frame, len, entries, &back, &back_configuration);
            if (r == 0) {
                assert_int_equal(raft_message_size(&back, &back_configuration), len);
                raft_message_encode(&back, &back_configuration, again);
                assert_memory_equal(frame, again, len);
            }
            assert_true(r == 0 || r == -EBADMSG || r == -EMSGSIZE || r == -EPROTONOSUPPORT);
            refused += r != 0;
            frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_true(refused >= 24);
        free(again);
        free(frame);
    }
}

static int decode_changed(const struct sample *sample, size_t at, uint64_t value, int bytes)
{
    struct raft_message back;
    struct raft_buffer back_configuration;
    size_t len;
    uint8_t *frame = encoded(sample, &len);

    for (int i = 0; i < bytes; i++) {
        frame[at + (size_t)i] = (uint8_t)(value >> (8 * i));
    }
    int r = raft_message_decode(frame, len, entries, &back, &back_configuration);
    free(frame);
    return r;
}

/* What the library would assert, or take. */
static void test_senseless(void **state)
{
    const struct sample *append = &samples[0], *first = &samples[2], *snapshot = &samples[8];

    assert_int_equal(decode_changed(append, 0, 2, 1), -EPROTONOSUPPORT);  /* format */
    assert_int_equal(decode_changed(append, 2, 1, 1), -EPROTONOSUPPORT);  /* version of the message */
    assert_int_equal(decode_changed(append, 1, 0, 1), -EBADMSG);          /* type */
    assert_int_equal(decode_changed(append, 1, 7, 1), -EBADMSG);
    assert_int_equal(decode_changed(append, 3, 1, 1), -EBADMSG);          /* flags */
    assert_int_equal(decode_changed(append, 8, 0, 8), -EBADMSG);          /* term 0 */
    assert_int_equal(decode_changed(append, 8, UINT64_MAX, 8), -EBADMSG); /* a number that could wrap */
    assert_int_equal(decode_changed(append, 8, 3, 8), -EBADMSG);          /* an entry newer than its leader */
    assert_int_equal(decode_changed(append, 16, 0, 8), -EBADMSG);         /* index 0 with a term */
    assert_int_equal(decode_changed(append, 24, 0, 8), -EBADMSG);         /* an index with term 0 */
    assert_int_equal(decode_changed(append, 24, 5, 8), -EBADMSG);         /* previous term above the leader's */
    assert_int_equal(decode_changed(append, 40, 0, 8), -EBADMSG);         /* an entry of term 0 */
    assert_int_equal(decode_changed(append, 40, 1, 8), -EBADMSG);         /* terms that fall */
    assert_int_equal(decode_changed(append, 52, 4, 1), -EBADMSG);         /* no such type of entry */
    assert_int_equal(decode_changed(append, 68, RAFT_CHANGE, 1), -EBADMSG); /* a configuration not at the front */
    assert_int_equal(decode_changed(append, 48, RAFT_MESSAGE_ENTRY_MAX + 1, 4), -EMSGSIZE);
    assert_int_equal(decode_changed(append, 4, RAFT_MESSAGE_ENTRIES_MAX + 1, 4), -EMSGSIZE);
    assert_int_equal(decode_changed(first, 56, 9, 1), -EBADMSG); /* the configuration's format */
    assert_int_equal(decode_changed(first, 57, 200, 8), -EBADMSG); /* more servers than bytes: the library reads on */
    assert_int_equal(decode_changed(first, 57, 0, 8), -EBADMSG);
    assert_int_equal(decode_changed(first, 65, 8, 8), -EBADMSG);  /* an id twice */
    assert_int_equal(decode_changed(first, 65, 0, 8), -EBADMSG);  /* id 0 */
    assert_int_equal(decode_changed(first, 75, 3, 1), -EBADMSG);  /* role */
    assert_int_equal(decode_changed(snapshot, 16, 0, 8), -EBADMSG);   /* index 0 */
    assert_int_equal(decode_changed(snapshot, 24, 0, 8), -EBADMSG);   /* term 0 */
    assert_int_equal(decode_changed(snapshot, 24, 10, 8), -EBADMSG);  /* newer than its leader */
    assert_int_equal(decode_changed(snapshot, 32, 0, 8), -EBADMSG);   /* configuration at 0 */
    assert_int_equal(decode_changed(snapshot, 32, 101, 8), -EBADMSG); /* behind the snapshot */
    assert_int_equal(decode_changed(snapshot, 40, UINT64_MAX, 8), -EMSGSIZE);
    assert_int_equal(decode_changed(snapshot, 4, RAFT_MESSAGE_CONFIGURATION_MAX + 1, 4), -EMSGSIZE);
}

static void test_configuration(void **state)
{
    uint8_t bytes[8 + sizeof configuration_bytes + 300] = {0};
    size_t len = sizeof configuration_bytes;

    /* at every length, in a buffer of that length */
    for (size_t cut = 0; cut <= len; cut++) {
        uint8_t *part = malloc(cut > 0 ? cut : 1);
        assert_non_null(part);
        memcpy(part, configuration_bytes, cut);
        assert_int_equal(raft_message_check_configuration(part, cut), cut == len ? 0 : -EBADMSG);
        free(part);
    }
    memcpy(bytes, configuration_bytes, len);
    assert_int_equal(raft_message_check_configuration(bytes, len + 7), 0); /* padding */
    assert_int_equal(raft_message_check_configuration(bytes, len + 8), -EBADMSG);
    bytes[len] = 1;
    assert_int_equal(raft_message_check_configuration(bytes, len + 7), -EBADMSG);
    /* one server with an address that is too long */
    memset(bytes, 'x', sizeof bytes);
    memcpy(bytes, configuration_bytes, 17);
    bytes[1] = 1;
    bytes[17 + RAFT_MESSAGE_ADDRESS_MAX] = 0;
    bytes[17 + RAFT_MESSAGE_ADDRESS_MAX + 1] = RAFT_VOTER;
    assert_int_equal(raft_message_check_configuration(bytes, 17 + RAFT_MESSAGE_ADDRESS_MAX + 2), 0);
    bytes[17 + RAFT_MESSAGE_ADDRESS_MAX] = 'x';
    bytes[17 + RAFT_MESSAGE_ADDRESS_MAX + 1] = 0;
    bytes[17 + RAFT_MESSAGE_ADDRESS_MAX + 2] = RAFT_VOTER;
    assert_int_equal(raft_message_check_configuration(bytes, 17 + RAFT_MESSAGE_ADDRESS_MAX + 3), -EBADMSG);
}

static void test_limits(void **state)
{
    struct raft_message message = samples[0].message, back;
    struct raft_buffer back_configuration;
    uint8_t *data = calloc(1, RAFT_MESSAGE_SNAPSHOT_MAX + 1);
    struct raft_entry *many = calloc(RAFT_MESSAGE_ENTRIES_MAX + 1, sizeof *many);

    assert_non_null(data);
    assert_non_null(many);
    for (size_t i = 0; i <= RAFT_MESSAGE_ENTRIES_MAX; i++) {
        many[i] = (struct raft_entry){.term = 4, .type = RAFT_COMMAND, .buf = {data, 10}};
    }
    message.append_entries.entries = many;
    message.append_entries.n_entries = RAFT_MESSAGE_ENTRIES_MAX;
    size_t len = raft_message_size(&message, NULL);
    uint8_t *frame = malloc(len);
    assert_non_null(frame);
    raft_message_encode(&message, NULL, frame);
    assert_int_equal(raft_message_decode(frame, len, entries, &back, &back_configuration), 0);
    assert_int_equal(back.append_entries.n_entries, RAFT_MESSAGE_ENTRIES_MAX);
    free(frame);
    message.append_entries.n_entries++;
    assert_int_equal(raft_message_size(&message, NULL), 0);

    message.append_entries.n_entries = 1;
    many[0].buf.len = RAFT_MESSAGE_ENTRY_MAX;
    assert_true(raft_message_size(&message, NULL) > RAFT_MESSAGE_ENTRY_MAX);
    many[0].buf.len++;
    assert_int_equal(raft_message_size(&message, NULL), 0);
    message.append_entries.n_entries = 2; /* together above the limit of the frame */
    many[0].buf.len = many[1].buf.len = RAFT_MESSAGE_ENTRY_MAX;
    assert_int_equal(raft_message_size(&message, NULL), 0);

    message = samples[8].message;
    message.install_snapshot.data = (struct raft_buffer){data, RAFT_MESSAGE_SNAPSHOT_MAX};
    len = raft_message_size(&message, &configuration);
    assert_true(len > RAFT_MESSAGE_SNAPSHOT_MAX && len <= RAFT_MESSAGE_MAX);
    frame = malloc(len);
    assert_non_null(frame);
    raft_message_encode(&message, &configuration, frame);
    assert_int_equal(raft_message_decode(frame, len, entries, &back, &back_configuration), 0);
    free(frame);
    message.install_snapshot.data.len++;
    assert_int_equal(raft_message_size(&message, &configuration), 0);
    message.type = (enum raft_message_type)99;
    assert_int_equal(raft_message_size(&message, NULL), 0);
    assert_int_equal(raft_message_decode(data, RAFT_MESSAGE_MAX + 1, entries, &back, &back_configuration), -EMSGSIZE);
    free(many);
    free(data);
}

/* The library's own encoder and decoder agree with the check. */
static void test_library_configuration(void **state)
{
    struct raft_configuration made, back;
    struct raft_buffer buffer;

    raft_configuration_init(&made);
    for (raft_id id = 1; id <= RAFT_MESSAGE_SERVERS_MAX; id++) {
        char address[300];
        memset(address, 'a', RAFT_MESSAGE_ADDRESS_MAX);
        address[RAFT_MESSAGE_ADDRESS_MAX - 1] = (char)('0' + id);
        address[RAFT_MESSAGE_ADDRESS_MAX] = '\0';
        assert_int_equal(raft_configuration_add(&made, id, address, (int)(id % 3)), 0);
        assert_int_equal(raft_configuration_encode(&made, &buffer), 0);
        assert_true(buffer.len <= RAFT_MESSAGE_CONFIGURATION_MAX);
        assert_int_equal(raft_message_check_configuration(buffer.base, buffer.len), 0);
        assert_int_equal(raft_configuration_decode(&buffer, &back), 0);
        assert_int_equal(back.n, id);
        raft_configuration_close(&back);
        raft_free(buffer.base);
    }
    raft_configuration_close(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_fields),        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_flipped),    cmocka_unit_test(test_senseless),     cmocka_unit_test(test_configuration),
        cmocka_unit_test(test_limits),     cmocka_unit_test(test_library_configuration),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
