/* Happy path: a pipe for both outputs, uv_spawn(), the output is read, the process exits, the pipe comes to its end, ended()
 * is called and, once every handle is closed, gone(). Failure modes: the time is up, or there is too much output: the group
 * is killed and ended() called at once, gone() when the process is; a grandchild keeps the pipe open: the process's exit
 * counts, and what was written until then; the program closes its outputs and goes on: its exit counts. */

#include "io/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct child
{
    uv_process_t process;
    uv_pipe_t out;
    uv_timer_t timer;
    struct child_ops ops;
    void *ud;
    int open; /* handles */
    bool told, exited, abandoned;
    size_t n_output;
    char output[CHILD_OUTPUT_KEPT + 1];
    char buffer[4096];
};

static void on_closed(uv_handle_t *handle)
{
    struct child *child = handle->data;
    if (--child->open > 0) {
        return;
    }
    if (!child->abandoned) {
        child->ops.gone(child->ud);
    }
    free(child);
}

static void close_once(uv_handle_t *handle)
{
    if (!uv_is_closing(handle)) {
        uv_close(handle, on_closed);
    }
}

static void kill_group(const struct child *child)
{
    if (child->process.pid > 0) {
        (void)kill(-child->process.pid, SIGKILL); /* nobody is left: fine */
    }
}

/* The process's handle stays until its exit: only so it is reaped. */
static void tell(struct child *child, enum child_end end, int code)
{
    if (child->told) {
        return;
    }
    child->told = true;
    close_once((uv_handle_t *)&child->timer);
    close_once((uv_handle_t *)&child->out);
    if (!child->abandoned) {
        struct child_result result = {.end = end, .code = code, .output = child->output};
        child->ops.ended(child->ud, &result);
    }
}

static void take_some(struct child *child)
{
    ssize_t n;
    int fd;
    if (uv_fileno((uv_handle_t *)&child->out, &fd) == 0 && (n = read(fd, child->buffer, sizeof(child->buffer))) > 0) {
        child->n_output += (size_t)n;
    }
}

static void keep(struct child *child, const char *bytes, size_t n)
{
    size_t used = strlen(child->output);
    for (size_t i = 0; i < n && used < CHILD_OUTPUT_KEPT; i++) {
        char c = bytes[i];
        bool plain = c >= ' ' && c <= '~' && c != '"';
        if (plain || used > 0) {
            child->output[used++] = plain ? c : ' ';
        }
    }
    child->output[used] = '\0';
    while (used > 0 && child->output[used - 1] == ' ') {
        child->output[--used] = '\0';
    }
}

static void on_exit_status(uv_process_t *process, int64_t status, int number)
{
    struct child *child = process->data;
    child->exited = true;
    kill_group(child);
    if (!child->told) {
        size_t before = child->n_output;
        take_some(child); /* what it wrote just before; more than a page is not waited for */
        keep(child, child->buffer, child->n_output - before);
    }
    tell(child, number != 0 ? CHILD_SIGNALLED : CHILD_EXITED, number != 0 ? number : (int)status);
    close_once((uv_handle_t *)process);
}

static void on_timer(uv_timer_t *timer)
{
    struct child *child = timer->data;
    kill_group(child);
    tell(child, CHILD_TIMED_OUT, SIGKILL);
}

static void on_buffer(uv_handle_t *handle, size_t size, uv_buf_t *ret)
{
    struct child *child = handle->data;
    (void)size;
    *ret = uv_buf_init(child->buffer, sizeof(child->buffer));
}

static void on_output(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct child *child = stream->data;
    if (n < 0) {
        (void)uv_read_stop(stream); /* its end; the exit tells the rest */
        return;
    }
    keep(child, buf->base, (size_t)n);
    child->n_output += (size_t)n;
    if (child->n_output > CHILD_OUTPUT_MAX) {
        kill_group(child);
        tell(child, CHILD_FLOODED, SIGKILL);
    }
}

/* Standard input: a pipe that holds all of it, or nothing. Its descriptor, or -errno. */
static int open_input(const struct child_spec *spec)
{
    int fds[2];
    if (spec->input == NULL) {
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
    }
    if (spec->input_len > CHILD_INPUT_MAX) {
        return -EMSGSIZE;
    }
    if (pipe2(fds, O_CLOEXEC) < 0) {
        return -errno;
    }
    ssize_t n = write(fds[1], spec->input, spec->input_len);
    int err = n < 0 ? -errno : 0;
    close(fds[1]);
    if (err < 0) {
        close(fds[0]);
    }
    return err < 0 ? err : fds[0];
}

static int spawn(struct child *child, uv_loop_t *loop, const struct child_spec *spec, int input, int output)
{
    char *args[] = {(char *)(uintptr_t)spec->path, NULL};
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_INHERIT_FD, .data.fd = input},
        {.flags = UV_INHERIT_FD, .data.fd = output},
        {.flags = UV_INHERIT_FD, .data.fd = output},
    };
    uv_process_options_t options = {
        .exit_cb = on_exit_status,
        .file = spec->path,
        .args = args,
        .env = (char **)(uintptr_t)spec->env,
        .cwd = "/",
        .flags = UV_PROCESS_DETACHED, /* setsid(): a group of its own */
        .stdio_count = 3,
        .stdio = stdio,
    };
    return uv_spawn(loop, &child->process, &options);
}

/* `out`: the reading end of its output, taken over. */
static int begin(struct child *child, uv_loop_t *loop, const struct child_spec *spec, int input, int out, int output)
{
    int err = spawn(child, loop, spec, input, output);
    bool failed = err < 0; /* then there is no process, whatever its handle says */
    child->process.data = child->out.data = child->timer.data = child;
    (void)uv_pipe_init(loop, &child->out, 0);
    (void)uv_timer_init(loop, &child->timer);
    child->open = 3; /* the process, too: uv_spawn() begins its handle even when it fails */
    int opened = uv_pipe_open(&child->out, out);
    if (opened < 0) {
        close(out);
    }
    if (err == 0 && opened == 0) {
        err = uv_read_start((uv_stream_t *)&child->out, on_buffer, on_output);
    }
    if (err == 0) {
        err = opened;
    }
    if (err == 0) {
        err = uv_timer_start(&child->timer, on_timer, spec->timeout_ms, 0);
    }
    if (err < 0) {
        child->exited = failed;
        child_abandon(child);
    }
    return err;
}

int child_start(struct child **ret, uv_loop_t *loop, const struct child_spec *spec, const struct child_ops *ops, void *ud)
{
    int fds[2];
    struct child *child = calloc(1, sizeof(*child));
    if (child == NULL) {
        return -ENOMEM;
    }
    child->ops = *ops;
    child->ud = ud;
    int input = open_input(spec);
    if (input < 0 || pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
        int err = input < 0 ? input : -errno;
        if (input >= 0) {
            close(input);
        }
        free(child);
        return err;
    }
    (void)fcntl(fds[1], F_SETFL, 0); /* a program expects an output that waits */
    int err = begin(child, loop, spec, input, fds[0], fds[1]);
    close(input);
    close(fds[1]);
    if (err == 0) {
        *ret = child;
    }
    return err;
}

void child_abandon(struct child *child)
{
    if (child == NULL) {
        return;
    }
    child->abandoned = child->told = true;
    close_once((uv_handle_t *)&child->timer);
    close_once((uv_handle_t *)&child->out);
    if (child->exited) {
        close_once((uv_handle_t *)&child->process);
    } else {
        kill_group(child); /* its exit closes the rest: only so it is reaped */
    }
}
