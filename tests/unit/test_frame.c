/* wire/frame and wire/hello: whole frames whatever the pieces, refusal of what is none, bounded memory. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/frame.h"
#include "wire/hello.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static size_t put(uint8_t *to, enum channel channel, const void *data, size_t len)
{
    frame_header(channel, len, to);
    memcpy(to + FRAME_HEADER, data, len);
    return FRAME_HEADER + len;
}

/* Three frames, one of them empty. */
static size_t stream_of_three(uint8_t *to)
{
    size_t n = put(to, CHANNEL_RAFT, "append", 6);

    n += put(to + n, CHANNEL_PING, "", 0);
    return n + put(to + n, CHANNEL_FORWARD, "request of a client", 19);
}

struct seen
{
    unsigned n;
    enum channel channel[8];
    char text[8][32];
};

/* Feeds one piece as often as it takes; the last result. */
static int feed(struct frame_decoder *decoder, const uint8_t *piece, size_t len, struct seen *seen)
{
    struct frame frame;
    size_t taken;
    int r = FRAME_MORE;

    while (len > 0) {
        r = frame_decoder_feed(decoder, piece, len, &taken, &frame);
        if (r < 0) {
            return r;
        }
        assert_true(taken > 0 && taken <= len);
        piece += taken;
        len -= taken;
        if (r == FRAME_READY) {
            assert_true(seen->n < COUNT(seen->text) && frame.len < sizeof seen->text[0]);
            seen->channel[seen->n] = frame.channel;
            memcpy(seen->text[seen->n], frame.data, frame.len);
            seen->text[seen->n++][frame.len] = '\0';
        } else {
            assert_int_equal(len, 0);
        }
    }
    return r;
}

static void assert_three(const struct seen *seen)
{
    assert_int_equal(seen->n, 3);
    assert_int_equal(seen->channel[0], CHANNEL_RAFT);
    assert_string_equal(seen->text[0], "append");
    assert_int_equal(seen->channel[1], CHANNEL_PING);
    assert_string_equal(seen->text[1], "");
    assert_int_equal(seen->channel[2], CHANNEL_FORWARD);
    assert_string_equal(seen->text[2], "request of a client");
}

static void frames_are_whole_at_every_pair_of_splits(void **state)
{
    uint8_t bytes[128];
    size_t n = stream_of_three(bytes);

    for (size_t a = 0; a <= n; a++) {
        for (size_t b = a; b <= n; b++) {
            struct frame_decoder decoder;
            struct seen seen = {0};
            frame_decoder_init(&decoder, CHANNEL_ALL);
            assert_true(feed(&decoder, bytes, a, &seen) >= 0);
            assert_true(feed(&decoder, bytes + a, b - a, &seen) >= 0);
            assert_true(feed(&decoder, bytes + b, n - b, &seen) >= 0);
            assert_three(&seen);
            frame_decoder_close(&decoder);
        }
    }
}

static void frames_are_whole_byte_by_byte(void **state)
{
    uint8_t bytes[128];
    size_t n = stream_of_three(bytes);
    struct frame_decoder decoder;
    struct seen seen = {0};

    frame_decoder_init(&decoder, CHANNEL_ALL);
    for (size_t i = 0; i < n; i++) {
        assert_true(feed(&decoder, bytes + i, 1, &seen) >= 0);
    }
    assert_three(&seen);
    frame_decoder_close(&decoder);
    frame_decoder_close(&decoder);
}

struct bad_header
{
    const char *what;
    unsigned at; /* byte that is changed */
    uint8_t to;
    int error;
};

static void what_is_no_frame_is_refused_for_good(void **state)
{
    static const struct bad_header cases[] = {
        {"magic", 0, 'X', -EPROTO},
        {"magic", 3, 'd', -EPROTO},
        {"version", 4, FRAME_VERSION + 1, -EPROTONOSUPPORT},
        {"channel 0", 5, 0, -EPROTO},
        {"unknown channel", 5, CHANNELS_N, -EPROTO},
        {"unknown channel", 5, 255, -EPROTO},
        {"channel not allowed", 5, CHANNEL_REPORT, -EPROTO},
        {"reserved", 6, 1, -EPROTO},
        {"reserved", 7, 1, -EPROTO},
        {"length", 8, 0xff, -EMSGSIZE},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        uint8_t bytes[64];
        struct frame_decoder decoder;
        struct seen seen = {0};
        size_t n = put(bytes, CHANNEL_HELLO, "hello", 5);
        bytes[cases[i].at] = cases[i].to;
        frame_decoder_init(&decoder, CHANNEL_ALL & ~CHANNEL_BIT(CHANNEL_REPORT));
        /* known as early as the byte is there, but for the length, which is judged as a whole */
        size_t first = cases[i].at < 8 ? cases[i].at + 1 : FRAME_HEADER;
        if (first > 1) {
            assert_int_equal(feed(&decoder, bytes, first - 1, &seen), FRAME_MORE);
        }
        assert_int_equal(feed(&decoder, bytes + first - 1, 1, &seen), cases[i].error);
        assert_int_equal(feed(&decoder, bytes, n, &seen), cases[i].error); /* stays broken */
        assert_int_equal(seen.n, 0);
        frame_decoder_close(&decoder);
    }
}

static void each_channel_has_its_limit(void **state)
{
    for (enum channel channel = CHANNEL_HELLO; channel < CHANNELS_N; channel++) {
        uint8_t bytes[FRAME_HEADER];
        struct frame_decoder decoder;
        struct frame frame;
        size_t taken, max = channel_max(channel);
        assert_true(max > 0);
        assert_string_not_equal(channel_text(channel), "unknown");

        frame_header(channel, max, bytes);
        frame_decoder_init(&decoder, CHANNEL_ALL);
        assert_int_equal(frame_decoder_feed(&decoder, bytes, sizeof bytes, &taken, &frame), FRAME_MORE);
        assert_true(decoder.size <= FRAME_STEP); /* not what the header claims */
        frame_decoder_close(&decoder);

        max++;
        bytes[8] = (uint8_t)(max >> 24), bytes[9] = (uint8_t)(max >> 16);
        bytes[10] = (uint8_t)(max >> 8), bytes[11] = (uint8_t)max;
        frame_decoder_init(&decoder, CHANNEL_ALL);
        assert_int_equal(frame_decoder_feed(&decoder, bytes, sizeof bytes, &taken, &frame), -EMSGSIZE);
        frame_decoder_close(&decoder);
    }
    assert_int_equal(channel_max(0), 0);
    assert_int_equal(channel_max(CHANNELS_N), 0);
    assert_string_equal(channel_text(CHANNELS_N), "unknown");
}

static void memory_follows_what_arrives(void **state)
{
    size_t len = (size_t)8 << 20, step = 10007, taken, arrived = 0;
    uint8_t header[FRAME_HEADER];
    uint8_t *data = malloc(len);
    struct frame_decoder decoder;
    struct frame frame;
    int r = FRAME_MORE;

    assert_non_null(data);
    for (size_t i = 0; i < len; i++) {
        data[i] = (uint8_t)(i * 31 >> 3);
    }
    frame_header(CHANNEL_RAFT, len, header);
    frame_decoder_init(&decoder, CHANNEL_ALL);
    assert_int_equal(frame_decoder_feed(&decoder, header, sizeof header, &taken, &frame), FRAME_MORE);
    while (arrived < len) {
        assert_int_equal(r, FRAME_MORE);
        size_t n = len - arrived < step ? len - arrived : step;
        r = frame_decoder_feed(&decoder, data + arrived, n, &taken, &frame);
        assert_int_equal(taken, n);
        arrived += n;
        assert_true(decoder.size <= 2 * arrived + FRAME_STEP);
    }
    assert_int_equal(r, FRAME_READY);
    assert_int_equal(frame.len, len);
    assert_memory_equal(frame.data, data, len);
    /* given back when the next frame begins */
    frame_header(CHANNEL_PING, 0, header);
    assert_int_equal(frame_decoder_feed(&decoder, header, sizeof header, &taken, &frame), FRAME_READY);
    assert_true(decoder.size <= FRAME_STEP);
    frame_decoder_close(&decoder);
    free(data);
}

static void what_is_allowed_changes_between_frames(void **state)
{
    uint8_t bytes[128];
    struct frame_decoder decoder;
    struct frame frame;
    size_t taken, n = put(bytes, CHANNEL_HELLO, "a", 1);

    n += put(bytes + n, CHANNEL_RAFT, "b", 1);
    frame_decoder_init(&decoder, CHANNEL_BIT(CHANNEL_HELLO));
    assert_int_equal(frame_decoder_feed(&decoder, bytes, n, &taken, &frame), FRAME_READY);
    assert_int_equal(frame.channel, CHANNEL_HELLO);
    frame_decoder_allow(&decoder, CHANNEL_BIT(CHANNEL_RAFT));
    assert_int_equal(frame_decoder_feed(&decoder, bytes + taken, n - taken, &taken, &frame), FRAME_READY);
    assert_int_equal(frame.channel, CHANNEL_RAFT);
    assert_int_equal(frame_decoder_feed(&decoder, bytes, n, &taken, &frame), -EPROTO);
    frame_decoder_close(&decoder);
}

static struct hello sample(void)
{
    return (struct hello){
        .protocol_min = 1,
        .protocol_max = 3,
        .cluster = "prod",
        .cluster_id = UINT64_MAX,
        .name = "a",
        .from = 1,
        .to = 2,
        .identity = 0x0123456789abcdef,
        .pinned = 7,
        .run = 99,
        .founded = true,
        .founders = 1234567,
        .version = "0.1.0",
        .last_term = 6,
        .last_index = 1u << 31,
        .seen_run = UINT64_MAX,
        .seen_term = 8,
        .seen_index = 9,
        .format = UINT32_MAX,
        .link = 5,
    };
}

static void a_hello_comes_back_as_it_was(void **state)
{
    struct hello hello = sample(), back;
    uint8_t buf[4096];
    size_t len;

    assert_int_equal(hello_encode(&hello, buf, sizeof buf, &len), 0);
    assert_true(len <= channel_max(CHANNEL_HELLO));
    assert_int_equal(hello_decode(buf, len, &back), 0);
    assert_memory_equal(&back, &hello, sizeof hello);

    memset(hello.cluster, 'c', NAME_MAX_LEN);
    memset(hello.name, 'n', NAME_MAX_LEN);
    memset(hello.version, 'v', VERSION_SIZE - 1);
    memset(hello.reason, 'r', HELLO_REASON_SIZE - 1);
    hello.refused = true;
    assert_int_equal(hello_encode(&hello, buf, sizeof buf, &len), 0);
    assert_int_equal(hello_decode(buf, len, &back), 0);
    assert_memory_equal(&back, &hello, sizeof hello);
    assert_int_equal(hello_encode(&hello, buf, len - 1, &len), -ENOBUFS);
}

static void a_refusal_needs_no_name_and_is_made_printable(void **state)
{
    struct hello hello = {.protocol_min = 1, .protocol_max = 1, .refused = true, .reason = "not\nyours\x01\"\xc3"}, back;
    uint8_t buf[4096];
    size_t len;

    assert_int_equal(hello_encode(&hello, buf, sizeof buf, &len), 0);
    assert_int_equal(hello_decode(buf, len, &back), 0);
    assert_true(back.refused);
    assert_string_equal(back.reason, "not?yours???");
}

static void a_hello_that_makes_no_sense_is_not_sent(void **state)
{
    struct hello good = sample(), bad;
    uint8_t buf[4096];
    size_t len;

#define BAD(change)                                                          \
    do {                                                                     \
        bad = good;                                                          \
        change;                                                              \
        assert_int_equal(hello_encode(&bad, buf, sizeof buf, &len), -EINVAL); \
    } while (0)
    BAD(bad.from = 0);
    BAD(bad.run = 0);
    BAD(bad.cluster[0] = '\0');
    BAD(bad.name[0] = '\0');
    BAD(memset(bad.name, 'x', sizeof bad.name));
    BAD(bad.name[0] = ' ');
    BAD(bad.name[0] = '"');
    BAD(bad.name[0] = '\n');
    BAD(bad.protocol_min = 4);
    BAD(bad.protocol_min = 0);
    BAD(memset(bad.reason, 'x', sizeof bad.reason));
#undef BAD
}

static void every_cut_and_every_changed_byte_of_a_hello_is_survived(void **state)
{
    struct hello hello = sample(), back;
    uint8_t buf[4096];
    unsigned refused = 0;
    size_t len;

    assert_int_equal(hello_encode(&hello, buf, sizeof buf, &len), 0);
    for (size_t n = 0; n < len; n++) {
        uint8_t *cut = malloc(n > 0 ? n : 1); /* its own block, for the sanitizer to see reads past its end */
        assert_non_null(cut);
        memcpy(cut, buf, n);
        assert_true(hello_decode(cut, n, &back) < 0);
        free(cut);
    }
    for (size_t i = 0; i < len; i++) {
        for (unsigned change = 1; change < 256; change++) {
            buf[i] ^= (uint8_t)change;
            int r = hello_decode(buf, len, &back);
            assert_true(r <= 0);
            refused += r < 0;
            buf[i] ^= (uint8_t)change;
        }
    }
    assert_true(refused > 0);
    assert_int_equal(hello_decode(buf, channel_max(CHANNEL_HELLO) + 1, &back), -E2BIG);
}

static void protocols_meet_at_the_highest_common(void **state)
{
    struct hello a = {.protocol_min = 1, .protocol_max = 3}, b = {.protocol_min = 2, .protocol_max = 5};

    assert_int_equal(hello_protocol(&a, &b), 3);
    assert_int_equal(hello_protocol(&b, &a), 3);
    b.protocol_min = 4;
    assert_int_equal(hello_protocol(&a, &b), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_whole_at_every_pair_of_splits),
        cmocka_unit_test(frames_are_whole_byte_by_byte),
        cmocka_unit_test(what_is_no_frame_is_refused_for_good),
        cmocka_unit_test(each_channel_has_its_limit),
        cmocka_unit_test(memory_follows_what_arrives),
        cmocka_unit_test(what_is_allowed_changes_between_frames),
        cmocka_unit_test(a_hello_comes_back_as_it_was),
        cmocka_unit_test(a_refusal_needs_no_name_and_is_made_printable),
        cmocka_unit_test(a_hello_that_makes_no_sense_is_not_sent),
        cmocka_unit_test(every_cut_and_every_changed_byte_of_a_hello_is_survived),
        cmocka_unit_test(protocols_meet_at_the_highest_common),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
