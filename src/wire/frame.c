#include "wire/frame.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t MAGIC[4] = {'V', 'I', 'P', 'D'};

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

struct channel_row
{
    const char *text;
    size_t max;
};

static const struct channel_row CHANNELS[CHANNELS_N] = {
    [CHANNEL_HELLO] = {"hello", 4 * KIB},
    /* a snapshot of a full table, or a batch of entries, in one message; and what describes it */
    [CHANNEL_RAFT] = {"raft", 64 * MIB + 64 * KIB},
    [CHANNEL_FORWARD] = {"forward", MIB},
    [CHANNEL_FORWARD_REPLY] = {"forward-reply", 16 * MIB},
    [CHANNEL_REPORT] = {"report", MIB},
    [CHANNEL_PING] = {"ping", 64},
};

static bool is_channel(unsigned number)
{
    return number > 0 && number < CHANNELS_N;
}

size_t channel_max(enum channel channel)
{
    return is_channel(channel) ? CHANNELS[channel].max : 0;
}

const char *channel_text(enum channel channel)
{
    return is_channel(channel) ? CHANNELS[channel].text : "unknown";
}

void frame_header(enum channel channel, size_t len, uint8_t ret[FRAME_HEADER])
{
    if (!is_channel(channel) || len > channel_max(channel)) {
        abort();
    }
    memcpy(ret, MAGIC, sizeof MAGIC);
    ret[4] = FRAME_VERSION;
    ret[5] = (uint8_t)channel;
    ret[6] = 0;
    ret[7] = 0;
    ret[8] = (uint8_t)(len >> 24);
    ret[9] = (uint8_t)(len >> 16);
    ret[10] = (uint8_t)(len >> 8);
    ret[11] = (uint8_t)len;
}

void frame_decoder_init(struct frame_decoder *decoder, uint32_t allowed)
{
    *decoder = (struct frame_decoder){.allowed = allowed};
}

void frame_decoder_allow(struct frame_decoder *decoder, uint32_t allowed)
{
    decoder->allowed = allowed;
}

void frame_decoder_close(struct frame_decoder *decoder)
{
    free(decoder->body);
    decoder->body = NULL;
    decoder->size = 0;
    decoder->used = 0;
}

/* Looks at what has arrived of the header, so that a stranger is known by its first byte. */
static int check_header(struct frame_decoder *decoder)
{
    const uint8_t *header = decoder->header;
    size_t have = decoder->have;

    if (memcmp(header, MAGIC, have < sizeof MAGIC ? have : sizeof MAGIC) != 0) {
        return -EPROTO;
    }
    if (have > 4 && header[4] != FRAME_VERSION) {
        return -EPROTONOSUPPORT;
    }
    if (have > 5 && (!is_channel(header[5]) || (decoder->allowed & CHANNEL_BIT(header[5])) == 0)) {
        return -EPROTO;
    }
    if ((have > 6 && header[6] != 0) || (have > 7 && header[7] != 0)) {
        return -EPROTO;
    }
    if (have < FRAME_HEADER) {
        return 0;
    }
    decoder->len = (size_t)header[8] << 24 | (size_t)header[9] << 16 | (size_t)header[10] << 8 | header[11];
    return decoder->len > channel_max(header[5]) ? -EMSGSIZE : 0;
}

/* Makes room for the bytes at hand: at most double of what arrived, or one step. */
static int make_room(struct frame_decoder *decoder, size_t more)
{
    size_t need = decoder->used + more;
    size_t size = 2 * need > FRAME_STEP ? 2 * need : FRAME_STEP;

    if (need <= decoder->size && decoder->body != NULL) {
        return 0;
    }
    if (size > decoder->len) {
        size = decoder->len;
    }
    uint8_t *grown = realloc(decoder->body, size > 0 ? size : 1);
    if (grown == NULL) {
        return -ENOMEM;
    }
    decoder->body = grown;
    decoder->size = size;
    return 0;
}

/* A new frame begins: what a large one before it needed is given back. */
static void begin(struct frame_decoder *decoder)
{
    if (decoder->size > FRAME_STEP) {
        frame_decoder_close(decoder);
    }
    decoder->used = 0;
}

static int take_header(struct frame_decoder *decoder, const uint8_t *piece, size_t len, size_t *ret_taken)
{
    size_t n = FRAME_HEADER - decoder->have;

    if (n > len) {
        n = len;
    }
    if (decoder->have == 0 && n > 0) {
        begin(decoder);
    }
    if (n > 0) {
        memcpy(decoder->header + decoder->have, piece, n);
    }
    decoder->have += n;
    *ret_taken = n;
    return check_header(decoder);
}

int frame_decoder_feed(struct frame_decoder *decoder, const void *piece, size_t len, size_t *ret_taken,
                       struct frame *ret)
{
    const uint8_t *bytes = piece;
    size_t taken = 0;

    *ret_taken = 0;
    if (decoder->error != 0) {
        return decoder->error;
    }
    if (decoder->have < FRAME_HEADER) {
        decoder->error = take_header(decoder, bytes, len, &taken);
        *ret_taken = taken;
        if (decoder->error != 0 || decoder->have < FRAME_HEADER) {
            return decoder->error;
        }
    }
    size_t n = decoder->len - decoder->used;
    if (n > len - taken) {
        n = len - taken;
    }
    decoder->error = make_room(decoder, n);
    if (decoder->error != 0) {
        return decoder->error;
    }
    if (n > 0) {
        memcpy(decoder->body + decoder->used, bytes + taken, n);
    }
    decoder->used += n;
    *ret_taken = taken + n;
    if (decoder->used < decoder->len) {
        return FRAME_MORE;
    }
    decoder->have = 0;
    *ret = (struct frame){.channel = decoder->header[5], .data = decoder->body, .len = decoder->len};
    return FRAME_READY;
}
