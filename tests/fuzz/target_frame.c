/* The byte stream between two nodes (wire/frame.h): one byte that says how the stream is cut into pieces, one with the
 * allowed channels, then the stream. Cut in any way it gives the same frames and ends with the same error. */

#include <stdbool.h>
#include <string.h>

#include "fuzz.h"
#include "wire/frame.h"

struct stream
{
    const uint8_t *bytes;
    size_t len;
    uint32_t allowed;
};

/* What a stream came to: a digest over its frames, how many there were, and the error at its end. */
struct reading
{
    uint64_t digest;
    unsigned frames;
    int error;
};

static uint64_t fnv(uint64_t hash, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    }
    return hash;
}

/* The frame is the last `taken` bytes before `at`: its header is what the encoder would write. */
static void check_frame(const struct stream *stream, size_t end, const struct frame *frame)
{
    uint8_t header[FRAME_HEADER];
    size_t start = end - frame->len - FRAME_HEADER;

    FUZZ_CHECK(end >= frame->len + FRAME_HEADER && frame->len <= channel_max(frame->channel) && frame->data != NULL);
    FUZZ_CHECK((stream->allowed & CHANNEL_BIT(frame->channel)) != 0);
    frame_header(frame->channel, frame->len, header);
    FUZZ_CHECK(memcmp(header, stream->bytes + start, FRAME_HEADER) == 0);
    FUZZ_CHECK(memcmp(frame->data, stream->bytes + start + FRAME_HEADER, frame->len) == 0);
}

/* A cut of 0: all at once; else pieces of 1 to 16 bytes that follow from it. */
static struct reading read_stream(const struct stream *stream, uint32_t cut)
{
    struct reading reading = {.digest = 0xcbf29ce484222325u};
    struct frame_decoder decoder;
    size_t at = 0;

    frame_decoder_init(&decoder, stream->allowed);
    while (at < stream->len && reading.error == 0) {
        size_t left = stream->len - at, taken;
        struct frame frame;

        cut = cut * 1664525u;
        size_t piece = cut == 0 ? left : 1 + (cut >> 28);
        piece = piece < left ? piece : left;
        int r = frame_decoder_feed(&decoder, stream->bytes + at, piece, &taken, &frame);
        FUZZ_CHECK(taken <= piece && (r != FRAME_MORE || taken == piece) && (r < 0 || taken > 0));
        FUZZ_CHECK(decoder.size <= 2 * (at + piece) + FRAME_STEP);
        at += taken;
        reading.error = r < 0 ? r : 0;
        if (r == FRAME_READY) {
            check_frame(stream, at, &frame);
            reading.digest = fnv(reading.digest, frame.data, frame.len) + (uint64_t)frame.channel;
            reading.frames++;
        }
    }
    if (reading.error != 0) {
        size_t taken;
        struct frame frame;

        FUZZ_CHECK(frame_decoder_feed(&decoder, stream->bytes, stream->len, &taken, &frame) == reading.error);
    }
    frame_decoder_close(&decoder);
    return reading;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct stream stream = {.bytes = data + 2, .len = size - 2, .allowed = data[1] & CHANNEL_ALL};
    struct reading whole = read_stream(&stream, 0);
    struct reading pieces = read_stream(&stream, 2u * data[0] + 1);

    FUZZ_CHECK(whole.frames == pieces.frames && whole.digest == pieces.digest && whole.error == pieces.error);
    return 0;
}
