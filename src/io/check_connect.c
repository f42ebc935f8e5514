/* tcp: a connection stands. http: and its answer begins with a status of 2xx or 3xx; nothing but the first line is read. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "io/check_private.h"
#include "io/sockaddr.h"

static void on_closed(uv_handle_t *handle)
{
    check_closed(handle->data);
}

static void close_net(struct check_run *run)
{
    if (run->net.tcp.data != NULL && !uv_is_closing((uv_handle_t *)&run->net.tcp)) {
        uv_close((uv_handle_t *)&run->net.tcp, on_closed);
    }
}

/* "HTTP/1.1 200 OK", up to the end of the line or of what there is room for. */
static void judge(struct check_run *run)
{
    const char *line = run->net.answer;
    unsigned status = 0;
    int minor = 0, end = 0;
    if (sscanf(line, "HTTP/1.%1d %3u%n", &minor, &status, &end) < 2 || end == 0 || status < 100) {
        check_tell(run, false, "the answer is not HTTP: %.60s", line);
    } else {
        check_tell(run, status >= 200 && status < 400, "status %u", status);
    }
}

static void on_buffer(uv_handle_t *handle, size_t size, uv_buf_t *ret)
{
    struct check_run *run = handle->data;
    (void)size;
    *ret = uv_buf_init(run->net.answer + run->net.n, (unsigned)(CHECK_ANSWER_MAX - run->net.n));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct check_run *run = stream->data;
    (void)buf;
    if (run->told) {
        return;
    }
    if (n < 0 && run->net.n == 0) {
        check_tell(run, false, "closed without an answer: %s", uv_strerror((int)n));
        return;
    }
    run->net.n += n > 0 ? (size_t)n : 0;
    run->net.answer[run->net.n] = '\0';
    char *end = strpbrk(run->net.answer, "\r\n");
    if (end != NULL || n < 0 || run->net.n == CHECK_ANSWER_MAX) {
        if (end != NULL) {
            *end = '\0';
        }
        judge(run);
    }
}

static void on_written(uv_write_t *request, int status)
{
    struct check_run *run = request->handle->data;
    if (status < 0) {
        check_tell(run, false, "writing: %s", uv_strerror(status));
    }
}

static void ask(struct check_run *run)
{
    const struct target *target = &run->target;
    int n = snprintf(run->net.request, sizeof(run->net.request),
                     "GET %s HTTP/1.1\r\nHost: %.*s\r\nUser-Agent: vipd/" VIPD_VERSION
                     "\r\nAccept: */*\r\nConnection: close\r\n\r\n",
                     target->text[0] == '\0' ? "/" : target->text, target->host_len, target->host);
    uv_buf_t buf = uv_buf_init(run->net.request, (unsigned)n);
    int err = uv_write(&run->net.write, (uv_stream_t *)&run->net.tcp, &buf, 1, on_written);
    if (err == 0) {
        err = uv_read_start((uv_stream_t *)&run->net.tcp, on_buffer, on_read);
    }
    if (err < 0) {
        check_tell(run, false, "%s", uv_strerror(err));
    }
}

static void on_connected(uv_connect_t *request, int status)
{
    struct check_run *run = request->handle->data;
    if (status < 0) {
        check_tell(run, false, "%s", uv_strerror(status));
    } else if (run->kind == CHECK_TCP) {
        check_tell(run, true, "connected");
    } else if (!run->told) {
        ask(run);
    }
}

static int start(struct check_run *run, const struct check_job *job, char ret_detail[CHECK_DETAIL_SIZE])
{
    struct sockaddr_storage to;
    (void)job;
    (void)sockaddr_from(&run->target.at, &to);
    int err = uv_tcp_init(run->loop, &run->net.tcp);
    if (err == 0) {
        run->net.tcp.data = run;
        check_opened(run);
        err = uv_tcp_connect(&run->net.connect, &run->net.tcp, (struct sockaddr *)&to, on_connected);
    }
    if (err < 0) {
        snprintf(ret_detail, CHECK_DETAIL_SIZE, "%s", uv_strerror(err));
    }
    return err;
}

const struct check_adapter CHECK_CONNECT = {.start = start, .close = close_net};
