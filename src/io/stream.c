/* Happy path: stream_dial() -> connect_done() -> connected(), and the first flight of the TLS handshake is sent; or
 * stream_accept(). Then read_done() -> take(): the handshake goes on -> opened(); after it frame() for each whole frame.
 * stream_send() -> records -> uv_try_write(), and what the socket does not take at once uv_write() -> write_done().
 *
 * Failures: the other end cannot prove that it has the key, or what came is no TLS: what TLS has to say about it is sent,
 * then broken() with -EKEYREJECTED. An accepted stream costs no TLS session before its first byte. The socket could not be made, bound or connected: an error of the call, or broken() from connect_done().
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
    size_t len;
    uint8_t bytes[]; /* records */
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
    *ret = uv_buf_init((char *)stream->scratch, STREAM_READ_SIZE);
}

static void write_done(uv_write_t *request, int status)
{
    struct stream *stream = request->data;

    free((struct pending *)request);
    if (status < 0) {
        fail(stream, status);
    }
}

static struct pending *make_pending(struct stream *stream, size_t size)
{
    struct pending *pending = malloc(sizeof *pending + size);

    if (pending != NULL) {
        pending->request.data = stream;
        pending->len = 0;
    }
    return pending;
}

/* A uv_write() costs a turn of the loop and a system call more for its end, though the socket took all of it; so that is for what
 * is left, or for an error, which then comes when nothing is under way here any more. */
static int write_pending(struct stream *stream, struct pending *pending)
{
    uv_buf_t buf = uv_buf_init((char *)pending->bytes, (unsigned)pending->len);
    int n = uv_try_write((uv_stream_t *)&stream->tcp, &buf, 1);

    if (n >= 0 && (size_t)n == pending->len) {
        free(pending);
        return 0;
    }
    if (n > 0) {
        buf.base += n;
        buf.len -= (size_t)n;
    }
    int r = uv_write(&pending->request, (uv_stream_t *)&stream->tcp, &buf, 1, write_done);
    if (r < 0) {
        free(pending);
    }
    return r;
}

/* What TLS itself has to say: the handshake, alerts, new keys. */
static int flush(struct stream *stream)
{
    size_t waiting = tls_session_waiting(stream->session);

    if (waiting == 0 || stream->broken || stream->closing || !uv_is_writable((const uv_stream_t *)&stream->tcp)) {
        return 0;
    }
    struct pending *pending = make_pending(stream, waiting);
    if (pending == NULL) {
        return -ENOMEM;
    }
    pending->len = tls_session_take(stream->session, pending->bytes, waiting);
    return write_pending(stream, pending);
}

static void decode(struct stream *stream, const uint8_t *bytes, size_t len)
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

/* One step of what was fed; whether there may be more. */
static bool take_record(struct stream *stream)
{
    uint8_t *plain = stream->scratch + STREAM_READ_SIZE;
    size_t len = 0;
    int r = tls_session_read(stream->session, plain, TLS_RECORD_MAX, &len);
    int flushed = flush(stream);

    if (r == 0) {
        r = flushed;
    }
    if (r != 0) {
        fail(stream, r == TLS_ENDED ? UV_EOF : r);
        return false;
    }
    if (!stream->opened && tls_session_secured(stream->session)) {
        stream->opened = true;
        stream->ops->opened(stream->ud);
    }
    decode(stream, plain, len);
    return len > 0;
}

static int open_session(struct stream *stream, bool dialled)
{
    int r = tls_session_init(&stream->session, stream->tls, dialled);

    return r < 0 ? r : flush(stream);
}

static void take(struct stream *stream, const uint8_t *bytes, size_t len)
{
    int r = stream->session == NULL ? open_session(stream, false) : 0;

    if (r == 0) {
        r = tls_session_feed(stream->session, bytes, len);
    }
    if (r < 0) {
        fail(stream, r);
        return;
    }
    while (!stream->broken && !stream->closing && take_record(stream)) {
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
    if (r == 0) {
        r = open_session(stream, true);
    }
    if (r < 0) {
        fail(stream, r);
    } else {
        stream->ops->connected(stream->ud);
    }
}

void stream_init(struct stream *stream, uv_loop_t *loop, struct tls *tls, uint8_t *scratch,
                 const struct stream_ops *ops, void *ud, uint32_t allowed)
{
    *stream = (struct stream){.ops = ops, .ud = ud, .tls = tls, .scratch = scratch};
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

/* The next record: the first takes the frame's header along. */
static int seal_record(struct stream *stream, const uint8_t header[FRAME_HEADER], const uint8_t **data, size_t *len,
                       bool first)
{
    uint8_t record[TLS_RECORD_MAX];
    size_t room = TLS_RECORD_MAX - (first ? FRAME_HEADER : 0);
    size_t n = *len < room ? *len : room;
    const uint8_t *plain = *data;

    if (first) {
        memcpy(record, header, FRAME_HEADER);
        if (n > 0) {
            memcpy(record + FRAME_HEADER, *data, n);
        }
        plain = record;
    }
    int r = tls_session_write(stream->session, plain, n + (first ? FRAME_HEADER : 0));
    *data += n;
    *len -= n;
    return r;
}

/* A record at a time, so that TLS never holds more than one. */
static int seal_frame(struct stream *stream, enum channel channel, const uint8_t *data, size_t len,
                      struct pending *pending, size_t size)
{
    uint8_t header[FRAME_HEADER];
    int r = 0;

    frame_header(channel, len, header);
    for (bool first = true; r == 0 && (first || len > 0); first = false) {
        r = seal_record(stream, header, &data, &len, first);
        pending->len += tls_session_take(stream->session, pending->bytes + pending->len, size - pending->len);
    }
    if (tls_session_waiting(stream->session) > 0) {
        abort(); /* a record has more overhead than it can have */
    }
    return r;
}

int stream_send(struct stream *stream, enum channel channel, const void *data, size_t len)
{
    size_t plain = FRAME_HEADER + len;

    if (!stream->opened || stream->broken || stream->closing || stream->ending ||
        !uv_is_writable((const uv_stream_t *)&stream->tcp)) {
        return -ENOTCONN;
    }
    if (len > channel_max(channel)) {
        return -EMSGSIZE;
    }
    size_t size = plain + (plain / TLS_RECORD_MAX + 1) * TLS_RECORD_OVERHEAD + tls_session_waiting(stream->session);
    struct pending *pending = make_pending(stream, size);
    if (pending == NULL) {
        return -ENOMEM;
    }
    int r = seal_frame(stream, channel, data, len, pending, size);
    if (r < 0) { /* part of it may be in the session: there is no going on */
        free(pending);
        return r;
    }
    r = write_pending(stream, pending);
    if (r == 0) {
        stream->out_ms = uv_now(stream->tcp.loop);
    }
    return r;
}

enum tls_failure stream_failure(const struct stream *stream)
{
    return stream->session == NULL ? TLS_FAILURE_NONE : tls_session_failure(stream->session);
}

int stream_export(struct stream *stream, const char *label, void *ret, size_t len)
{
    return tls_session_export(stream->session, label, ret, len);
}

uint64_t stream_key(const struct stream *stream)
{
    return stream->session == NULL ? 0 : tls_session_key(stream->session);
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
    tls_session_free(stream->session);
    stream->ops->closed(stream->ud);
}

void stream_close(struct stream *stream)
{
    if (!stream->closing) {
        stream->closing = true;
        uv_close((uv_handle_t *)&stream->tcp, close_done);
    }
}
