#ifndef VIPD_WIRE_FRAME_H
#define VIPD_WIRE_FRAME_H

/* Frames: how the messages between two nodes lie on one byte stream. A header of FRAME_HEADER bytes, then the payload:
 *
 *     u32 "VIPD" | u8 FRAME_VERSION | u8 channel | u16 0 | u32 length of the payload, big endian
 *
 * The header's version is that of this layout; what the payloads may say is agreed on in the hello (wire/hello.h). */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define FRAME_HEADER 12
#define FRAME_VERSION 1
#define FRAME_STEP ((size_t)64 << 10) /* the decoder never holds more than twice what arrived, plus this */

enum channel
{
    CHANNEL_HELLO = 1,     /* who is at the other end */
    CHANNEL_RAFT,          /* between the Raft cores */
    CHANNEL_FORWARD,       /* a client's request, passed on to the leader */
    CHANNEL_FORWARD_REPLY, /* the leader's answer to it */
    CHANNEL_REPORT,        /* what a node says of itself, to the leader */
    CHANNEL_PING,          /* the connection lives */
};
#define CHANNELS_N 7 /* one past the last */

/* A set of channels. */
#define CHANNEL_BIT(channel) (1u << (channel))
#define CHANNEL_ALL ((1u << CHANNELS_N) - 2u)

/* The most bytes that a payload of the channel may have; 0 for what is not a channel. */
size_t channel_max(enum channel channel);
const char *channel_text(enum channel channel); /* "hello", ...; never NULL */

/* Writes the header of a payload of len bytes; len <= channel_max(channel). */
void frame_header(enum channel channel, size_t len, uint8_t ret[FRAME_HEADER]);

struct frame
{
    enum channel channel;
    const void *data; /* aligned for any type; not NULL even if len is 0; the decoder's, until it is fed again */
    size_t len;
};

/* Takes a byte stream in pieces of any size and gives whole frames. Memory grows as bytes arrive, never by what a
 * header claims. */
struct frame_decoder
{
    uint32_t allowed; /* set of channels */
    int error;        /* the stream is broken from here on */
    uint8_t header[FRAME_HEADER];
    size_t have; /* bytes of the header */
    uint8_t *body;
    size_t len, used, size; /* of the payload: claimed, arrived, allocated */
};

enum frame_result
{
    FRAME_MORE = 0,  /* all was consumed; no frame is complete */
    FRAME_READY = 1, /* *ret is a frame; feed what is left of the piece for the next */
};

/* `allowed` is the set of channels that the stream may use; it may be changed between two frames by
 * frame_decoder_allow(), and holds from the next header on. */
void frame_decoder_init(struct frame_decoder *decoder, uint32_t allowed);
void frame_decoder_allow(struct frame_decoder *decoder, uint32_t allowed);
/* Frees the memory; fine on a zeroed one, and twice. */
void frame_decoder_close(struct frame_decoder *decoder);

/* Takes bytes up to the end of one frame; *ret_taken says how many. A frame_result, or an error, which then stays:
 * -EPROTO (wrong magic, reserved bits, or a channel that is unknown or not allowed now), -EPROTONOSUPPORT (another
 * version of the layout), -EMSGSIZE (longer than the channel may be), -ENOMEM. */
NODISCARD int frame_decoder_feed(struct frame_decoder *decoder, const void *piece, size_t len, size_t *ret_taken,
                                 struct frame *ret);

#endif
