/* Happy path: stream_dial() -> connect_done() -> opened(); or stream_accept(). Then read_done() -> frame() for each
 * whole frame; stream_send() -> uv_write(), which tries the socket at once and queues the rest -> write_done().
 *
 * Failures: the socket could not be made, bound or connected: an error of the call, or broken() from connect_done().
 * The other end closes, resets or is silent too long (TCP_USER_TIMEOUT), or sends what is no frame: broken() from
 * read_done() or write_done(), once. A callback may close the stream: each is followed by a look at `closing`. libuv
 * finishes pending requests with UV_ECANCELED between uv_close() and close_done(); they are passed over. */

#include "io/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/sockaddr.h"

struct pending
{
    uv_write_t request;
    uint8_t bytes[]; /* header and payload */
};

static void fail(struct stream *stream, int error)
{
    if (stream->broken || stream->closing) {
        return;
    }
    stream->broken = true;
    uv_read_stop((uv_stream_t *)&stream->tcp);
    stream->ops->broken(stream->ud, error);
}

static void lend_scratch(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct stream *stream = handle->data;

    (void)suggested;
    *ret = uv_buf_init((char *)stream->scratch, STREAM_SCRATCH_SIZE);
}

static void take(struct stream *stream, const uint8_t *bytes, size_t len)
{
    struct frame frame;
    size_t taken;

    stream->in_ms = uv_now(stream->tcp.loop);
    while (len > 0 && !stream->ending && !stream->broken && !stream->closing) {
        int r = frame_decoder_feed(&stream->decoder, bytes, len, &taken, &frame);
        if (r < 0) {
            fail(stream, r);
            return;
        }
        bytes += taken;
        len -= taken;
        if (r == FRAME_READY) {
            stream->ops->frame(stream->ud, &frame);
        }
    }
}

static void read_done(uv_stream_t *handle, ssize_t n, const uv_buf_t *buf)
{
    struct stream *stream = handle->data;

    if (n < 0) {
        fail(stream, (int)n);
    } else if (n > 0) {
        take(stream, (const uint8_t *)buf->base, (size_t)n);
    }
}

static int set_options(struct stream *stream, uint32_t user_timeout_ms)
{
    uv_os_fd_t fd;
    int r = uv_fileno((const uv_handle_t *)&stream->tcp, &fd);

    if (r == 0) {
        r = uv_tcp_nodelay(&stream->tcp, 1);
    }
    if (r == 0 && setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms) < 0) {
        r = -errno;
    }
    return r;
}

static int start(struct stream *stream)
{
    stream->in_ms = uv_now(stream->tcp.loop);
    stream->out_ms = stream->in_ms;
    return uv_read_start((uv_stream_t *)&stream->tcp, lend_scratch, read_done);
}

static void connect_done(uv_connect_t *request, int status)
{
    struct stream *stream = request->data;

    if (stream->closing) {
        return;
    }
    int r = status < 0 ? status : start(stream);
    if (r < 0) {
        fail(stream, r);
    } else {
        stream->ops->opened(stream->ud);
    }
}

void stream_init(struct stream *stream, uv_loop_t *loop, uint8_t *scratch, const struct stream_ops *ops, void *ud,
                 uint32_t allowed)
{
    *stream = (struct stream){.ops = ops, .ud = ud, .scratch = scratch};
    if (uv_tcp_init(loop, &stream->tcp) < 0) {
        abort(); /* without a family it makes no socket, so nothing can fail */
    }
    stream->tcp.data = stream;
    stream->connect.data = stream;
    frame_decoder_init(&stream->decoder, allowed);
}

static int open_from(struct stream *stream, const struct endpoint *from)
{
    struct endpoint any_port = {.addr = from->addr};
    int fd = sockaddr_bound(&any_port, SOCK_STREAM);
    int r = fd < 0 ? fd : uv_tcp_open(&stream->tcp, fd);

    if (r < 0 && fd >= 0) {
        close(fd);
    }
    return r;
}

int stream_dial(struct stream *stream, const struct endpoint *from, const struct endpoint *to, uint32_t user_timeout_ms)
{
    struct sockaddr_storage address;

    if (from->addr.family != to->addr.family) {
        return -EAFNOSUPPORT;
    }
    int r = open_from(stream, from);
    if (r == 0) {
        r = set_options(stream, user_timeout_ms);
    }
    if (r < 0) {
        return r;
    }
    sockaddr_from(to, &address);
    return uv_tcp_connect(&stream->connect, &stream->tcp, (const struct sockaddr *)&address, connect_done);
}

int stream_accept(struct stream *stream, uv_stream_t *server, uint32_t user_timeout_ms, struct endpoint *ret_from)
{
    struct sockaddr_storage address;
    int len = sizeof address;
    int r = uv_accept(server, (uv_stream_t *)&stream->tcp);

    if (r == 0) {
        r = set_options(stream, user_timeout_ms);
    }
    if (r == 0) {
        r = uv_tcp_getpeername(&stream->tcp, (struct sockaddr *)&address, &len);
    }
    if (r == 0 && !sockaddr_to(&address, ret_from)) {
        r = -EAFNOSUPPORT;
    }
    return r < 0 ? r : start(stream);
}

static void write_done(uv_write_t *request, int status)
{
    struct stream *stream = request->data;

    free((struct pending *)request);
    if (status < 0) {
        fail(stream, status);
    }
}

int stream_send(struct stream *stream, enum channel channel, const void *data, size_t len)
{
    if (stream->broken || stream->closing || stream->ending || !uv_is_writable((const uv_stream_t *)&stream->tcp)) {
        return -ENOTCONN;
    }
    if (len > channel_max(channel)) {
        return -EMSGSIZE;
    }
    struct pending *pending = malloc(sizeof *pending + FRAME_HEADER + len);
    if (pending == NULL) {
        return -ENOMEM;
    }
    frame_header(channel, len, pending->bytes);
    if (len > 0) {
        memcpy(pending->bytes + FRAME_HEADER, data, len);
    }
    pending->request.data = stream;
    uv_buf_t buf = uv_buf_init((char *)pending->bytes, (unsigned)(FRAME_HEADER + len));
    int r = uv_write(&pending->request, (uv_stream_t *)&stream->tcp, &buf, 1, write_done);
    if (r < 0) {
        free(pending);
        return r;
    }
    stream->out_ms = uv_now(stream->tcp.loop);
    return 0;
}

size_t stream_queued(const struct stream *stream)
{
    return uv_stream_get_write_queue_size((const uv_stream_t *)&stream->tcp);
}

static void shutdown_done(uv_shutdown_t *request, int status)
{
    if (status < 0) {
        fail(request->data, status);
    }
}

void stream_end(struct stream *stream)
{
    if (stream->ending || stream->broken || stream->closing) {
        return;
    }
    stream->ending = true;
    stream->shutdown.data = stream;
    if (uv_shutdown(&stream->shutdown, (uv_stream_t *)&stream->tcp, shutdown_done) < 0) {
        uv_read_stop((uv_stream_t *)&stream->tcp); /* never open: the owner's deadline closes it */
    }
}

static void close_done(uv_handle_t *handle)
{
    struct stream *stream = handle->data;

    frame_decoder_close(&stream->decoder);
    stream->ops->closed(stream->ud);
}

void stream_close(struct stream *stream)
{
    if (!stream->closing) {
        stream->closing = true;
        uv_close((uv_handle_t *)&stream->tcp, close_done);
    }
}
