#ifndef VIPD_IO_STREAM_H
#define VIPD_IO_STREAM_H

/* One framed TCP connection on the loop, inside TLS (io/tls.h): socket options, whole frames in, frames out through the
 * kernel's queue and then ours. It knows neither nodes nor hellos; io/peers.c decides what a stream is for and how much may wait in it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/addr.h"
#include "base/err.h"
#include "io/tls.h"
#include "wire/frame.h"

#define STREAM_READ_SIZE ((size_t)64 << 10) /* bytes at a time from the kernel */
#define STREAM_SCRATCH_SIZE (STREAM_READ_SIZE + TLS_RECORD_MAX)

struct stream_ops
{
    void (*connected)(void *ud); /* a dialled stream: the other end's kernel has answered */
    void (*opened)(void *ud);    /* the handshake is over: both ends have proved that they have the key */
    void (*frame)(void *ud, const struct frame *frame);
    /* Once: UV_EOF (the other end closed), -EKEYREJECTED (stream_failure() says what is wrong with the other end; it has
     * been told by an alert), an error of frame_decoder_feed(), or another -errno. The owner closes the
     * stream then; nothing more comes of it. Never called from within a function of this file. */
    void (*broken)(void *ud, int error);
    void (*closed)(void *ud); /* the memory is the owner's again */
};

struct stream
{
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_shutdown_t shutdown;
    struct tls *tls;
    struct tls_session *session; /* NULL until there is something to say or to hear */
    struct frame_decoder decoder;
    const struct stream_ops *ops;
    void *ud;
    uint8_t *scratch; /* STREAM_SCRATCH_SIZE bytes, shared by all streams of a loop */
    uint64_t in_ms, out_ms; /* loop time when plaintext last came in, when a frame was last given to stream_send() */
    bool opened, ending, broken, closing;
};

/* Cannot fail; from here on the stream ends by stream_close() and its closed(). */
void stream_init(struct stream *stream, uv_loop_t *loop, struct tls *tls, uint8_t *scratch, const struct stream_ops *ops,
                 void *ud, uint32_t allowed);

/* Connect, from the address (any port) of `from` unless it is unspecified. Ends in opened() or broken(); -errno: at
 * once not. user_timeout_ms: TCP_USER_TIMEOUT (RFC 5482), how long sent bytes may go without an answer. */
NODISCARD int stream_dial(struct stream *stream, const struct endpoint *from, const struct endpoint *to,
                          uint32_t user_timeout_ms);

/* Take the connection that waits at the listening server; *ret_from: the other end. */
NODISCARD int stream_accept(struct stream *stream, uv_stream_t *server, uint32_t user_timeout_ms,
                            struct endpoint *ret_from);

/* Copies. -ENOTCONN: not opened, or ending; -EMSGSIZE: longer than the channel may be; -ENOMEM. A failure to write comes
 * as broken(). */
NODISCARD int stream_send(struct stream *stream, enum channel channel, const void *data, size_t len);

/* What is wrong with the other end, after broken() with -EKEYREJECTED. */
enum tls_failure stream_failure(const struct stream *stream);

/* After opened(): secret bytes that only both ends have (tls_session_export()), and the id of the key that opened it. */
NODISCARD int stream_export(struct stream *stream, const char *label, void *ret, size_t len);
uint64_t stream_key(const struct stream *stream);

/* Bytes that stream_send() took and the kernel has not. */
size_t stream_queued(const struct stream *stream);

/* Say no more: what is queued is still sent, then the end; what comes in is thrown away (closing with unread bytes
 * would make the kernel send a reset, which overtakes the last words). Ends in broken(). */
void stream_end(struct stream *stream);

/* At once; what is queued is lost. Idempotent. */
void stream_close(struct stream *stream);

#endif
