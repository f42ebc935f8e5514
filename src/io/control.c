/* The happy path: on_connection takes a connection; its bytes are read straight into the frame's length and then into
 * a buffer of that length; a whole frame stops the reading, becomes a call and goes to ops->request. control_reply()
 * writes the answer, on_written starts reading the next frame. So one client has one request at a time, and whatever
 * else it sends waits in the kernel.
 *
 * Failure modes. Too many clients: the next one waits in the listener until one of them closes; the one that has been
 * idle for longest is closed for it. Only when all of them are at work it gets a reply that says so and is closed. Too
 * long a frame: a reply that says so, then the connection is closed. A client that
 * stops in the middle (of its request, or of taking a reply), or idles: the sweep closes it. A client that goes away
 * while its call is with the daemon: the call loses its client and the reply is thrown away. Replies that nobody takes:
 * over CONTROL_QUEUED_MAX the next one closes its connection instead. */

#include "io/control.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/control_socket.h"
#include "wire/control.h"

#define SWEEP_MS 1000
#define BACKLOG 128

struct client
{
    uv_pipe_t pipe;
    uv_write_t write;
    struct control *control;
    struct client *next;
    struct control_call *call; /* with the daemon, or NULL */
    unsigned char length[CONTROL_FRAME_SIZE];
    size_t have; /* bytes of the length and the body together */
    unsigned char *body;
    uint32_t body_len;
    unsigned char *reply; /* being written, or NULL */
    size_t reply_len;
    uint64_t deadline_ms; /* loop time when it is closed; 0 = never, the daemon has the turn */
    uint64_t turn_ms;     /* loop time since when it has its turn */
    uid_t uid;
    gid_t gid;
    bool last;    /* close after this reply */
    bool closing;
};

struct control_call
{
    struct client *client; /* NULL once gone */
    unsigned char *body;
};

struct control
{
    uv_loop_t *loop;
    uv_pipe_t listener;
    uv_timer_t sweep;
    const struct control_ops *ops;
    void *ud;
    struct client *clients; /* closing ones included */
    unsigned n_handles;     /* that libuv still knows */
    size_t queued;
    struct control_stats stats;
    struct control_socket at;
    uint64_t idle_ms, stall_ms;
    bool waiting; /* a connection that could not be taken yet; libuv tells of it only once */
    bool ending;  /* control_close() was called */
    void (*closed)(void *ud);
    void *closed_ud;
};

/* --------------------------------------------------------------------------------------------------------- a client */

static void read_on(struct client *client);
static void take(struct control *control);

static void handle_gone(struct control *control)
{
    if (--control->n_handles > 0) {
        return;
    }
    if (control->closed != NULL) {
        control->closed(control->closed_ud);
    }
    free(control);
}

static void on_client_closed(uv_handle_t *handle)
{
    struct client *client = handle->data;
    struct control *control = client->control;

    for (struct client **at = &control->clients; *at != NULL; at = &(*at)->next) {
        if (*at == client) {
            *at = client->next;
            break;
        }
    }
    if (client->reply != NULL) {
        control->queued -= client->reply_len;
    }
    free(client->reply);
    free(client->body);
    free(client);
    control->stats.clients--;
    if (control->waiting && !control->ending) {
        take(control);
    }
    handle_gone(control);
}

static void client_close(struct client *client)
{
    if (client->closing) {
        return;
    }
    client->closing = true;
    if (client->call != NULL) {
        client->call->client = NULL;
        client->call = NULL;
    }
    uv_close((uv_handle_t *)&client->pipe, on_client_closed);
}

static void set_deadline(struct client *client, uint64_t in_ms)
{
    client->deadline_ms = uv_now(client->control->loop) + in_ms;
}

static void on_written(uv_write_t *write, int status)
{
    struct client *client = write->data;

    if (client->closing) {
        return; /* on_client_closed frees the reply */
    }
    client->control->queued -= client->reply_len;
    free(client->reply);
    client->reply = NULL;
    if (status < 0 || client->last) {
        client_close(client);
        return;
    }
    read_on(client);
}

/* Takes ownership of frame, on failure too. */
static void client_write(struct client *client, void *frame, size_t len)
{
    struct control *control = client->control;

    if (len > CONTROL_QUEUED_MAX - control->queued) {
        free(frame);
        client_close(client);
        return;
    }
    client->reply = frame;
    client->reply_len = len;
    control->queued += len;
    set_deadline(client, client->control->stall_ms);
    client->write.data = client;
    uv_buf_t buf = uv_buf_init(frame, (unsigned)len);
    if (uv_write(&client->write, (uv_stream_t *)&client->pipe, &buf, 1, on_written) < 0) {
        client_close(client);
    }
}

/* A reply that the server itself gives before it closes the connection. */
static void client_refuse(struct client *client, enum control_code code, const char *error, const char *hint)
{
    struct control_reply reply = { .code = code, .error = error, .hint = hint };
    void *frame;
    size_t len;

    client->last = true;
    if (control_reply_encode(&reply, &frame, &len) < 0) {
        client_close(client);
        return;
    }
    client_write(client, frame, len);
}

/* ----------------------------------------------------------------------------------------------------- its requests */

static void deliver(struct client *client)
{
    struct control *control = client->control;
    struct control_call *call = malloc(sizeof *call);

    uv_read_stop((uv_stream_t *)&client->pipe);
    if (call == NULL) {
        client_close(client);
        return;
    }
    call->client = client;
    call->body = client->body;
    client->call = call;
    client->body = NULL;
    client->deadline_ms = 0;
    control->stats.requests++;
    control->ops->request(control->ud, call, call->body, client->body_len, client->uid);
}

/* The frame's length is there. */
static void on_length(struct client *client)
{
    client->body_len = control_frame_len(client->length);
    if (client->body_len == 0 || client->body_len > CONTROL_REQUEST_MAX) {
        uv_read_stop((uv_stream_t *)&client->pipe);
        client->control->stats.bad++;
        client_refuse(client, CONTROL_USAGE, "the request is empty or longer than 1 MiB",
                      "split it: vip add and vip del take up to 1024 VIPs at once");
        return;
    }
    client->body = malloc(client->body_len);
    if (client->body == NULL) {
        client_close(client);
    }
}

static void on_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct client *client = handle->data;

    if (client->have < CONTROL_FRAME_SIZE) {
        *buf = uv_buf_init((char *)client->length + client->have, (unsigned)(CONTROL_FRAME_SIZE - client->have));
        return;
    }
    size_t have = client->have - CONTROL_FRAME_SIZE;
    *buf = uv_buf_init((char *)client->body + have, (unsigned)(client->body_len - have));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct client *client = stream->data;

    if (n < 0) {
        client_close(client);
        return;
    }
    if (n == 0) {
        return;
    }
    if (client->have == 0) {
        set_deadline(client, client->control->stall_ms); /* the whole request within this, not each byte */
    }
    client->have += (size_t)n;
    if (client->have == CONTROL_FRAME_SIZE) {
        on_length(client);
    } else if (client->have == CONTROL_FRAME_SIZE + (size_t)client->body_len) {
        deliver(client);
    }
}

static void read_on(struct client *client)
{
    client->have = 0;
    client->body_len = 0;
    client->turn_ms = uv_now(client->control->loop);
    set_deadline(client, client->control->idle_ms);
    if (uv_read_start((uv_stream_t *)&client->pipe, on_buffer, on_read) < 0) {
        client_close(client);
    }
}

/* -------------------------------------------------------------------------------------------------------- the server */

static int peer_of(struct client *client)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    uv_os_fd_t fd;
    int r = uv_fileno((uv_handle_t *)&client->pipe, &fd);

    if (r < 0) {
        return r;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0) {
        return -errno;
    }
    client->uid = peer.uid;
    client->gid = peer.gid;
    return 0;
}

bool control_in_group(const struct control_call *call, gid_t group)
{
    gid_t *groups;
    socklen_t size = NGROUPS_MAX * sizeof *groups;
    uv_os_fd_t fd;
    bool in = call->client != NULL && call->client->gid == group;

    if (in || call->client == NULL || uv_fileno((uv_handle_t *)&call->client->pipe, &fd) < 0) {
        return in;
    }
    groups = malloc(size);
    if (groups == NULL || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0) {
        size = 0;
    }
    for (size_t i = 0; !in && i < size / sizeof *groups; i++) {
        in = groups[i] == group;
    }
    free(groups);
    return in;
}

/* Takes the connection that the listener has. */
static void take(struct control *control)
{
    struct client *client = calloc(1, sizeof *client);

    control->waiting = client == NULL;
    if (client == NULL) {
        return;
    }
    client->control = control;
    client->pipe.data = client;
    (void)uv_pipe_init(control->loop, &client->pipe, 0); /* cannot fail */
    control->n_handles++;
    control->stats.clients++;
    client->next = control->clients;
    control->clients = client;
    if (uv_accept((uv_stream_t *)&control->listener, (uv_stream_t *)&client->pipe) < 0 || peer_of(client) < 0) {
        client_close(client);
        return;
    }
    if (control->stats.clients > CONTROL_CLIENTS_MAX) {
        control->stats.refused++;
        client_refuse(client, CONTROL_FAILED, "the daemon serves 64 control connections already", "try again");
        return;
    }
    control->stats.accepted++;
    read_on(client);
}

/* With every place taken: closes the connection that has been idle for longest. One that was given its turn just now is
 * left alone, its request may be on the way. false: there is none, and all the others are at work. */
static bool make_room(struct control *control)
{
    struct client *idlest = NULL;
    bool at_work = true;

    for (struct client *client = control->clients; client != NULL; client = client->next) {
        bool idle = client->call == NULL && client->reply == NULL && client->have == 0;
        at_work = at_work && !idle && !client->closing;
        if (idle && !client->closing && (idlest == NULL || client->turn_ms <= idlest->turn_ms)) {
            idlest = client;
        }
    }
    if (idlest != NULL && uv_now(control->loop) - idlest->turn_ms >= SWEEP_MS) {
        control->stats.evicted++;
        client_close(idlest);
    }
    return !at_work;
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct control *control = listener->data;

    if (status < 0) {
        return;
    }
    if (control->stats.clients >= CONTROL_CLIENTS_MAX) {
        control->waiting = true;
        (void)make_room(control);
        return;
    }
    take(control);
}

static void on_sweep(uv_timer_t *timer)
{
    struct control *control = timer->data;
    uint64_t now_ms = uv_now(control->loop);

    for (struct client *client = control->clients; client != NULL; client = client->next) {
        if (!client->closing && client->deadline_ms != 0 && now_ms >= client->deadline_ms) {
            control->stats.stalled += client->have > 0;
            client_close(client);
        }
    }
    if (control->waiting && (control->stats.clients < CONTROL_CLIENTS_MAX || !make_room(control))) {
        take(control);
    }
}

static void on_own_closed(uv_handle_t *handle)
{
    handle_gone(handle->data);
}

/* From here on control_close() cleans up. */
static int start(struct control *control, int fd)
{
    int r = uv_pipe_open(&control->listener, fd);

    if (r < 0) {
        close(fd);
        return r;
    }
    r = uv_listen((uv_stream_t *)&control->listener, BACKLOG, on_connection);
    return r < 0 ? r : uv_timer_start(&control->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
}

void control_patience(struct control *control, uint64_t idle_ms, uint64_t stall_ms)
{
    control->idle_ms = idle_ms;
    control->stall_ms = stall_ms;
}

int control_open(struct control **ret, uv_loop_t *loop, const char *path, gid_t group, const struct control_ops *ops,
                 void *ud)
{
    struct control *control = calloc(1, sizeof *control);
    int fd = -1;

    if (control == NULL) {
        return -ENOMEM;
    }
    control->loop = loop;
    control->ops = ops;
    control->ud = ud;
    control_patience(control, CONTROL_IDLE_MS, CONTROL_STALL_MS);
    int r = control_socket_bind(path, group, &control->at, &fd);
    r = r < 0 ? r : uv_pipe_init(loop, &control->listener, 0);
    if (r < 0) {
        if (fd >= 0) {
            close(fd);
        }
        free(control);
        return r;
    }
    (void)uv_timer_init(loop, &control->sweep); /* cannot fail */
    uv_unref((uv_handle_t *)&control->sweep);
    control->listener.data = control;
    control->sweep.data = control;
    control->n_handles = 2;
    r = start(control, fd);
    if (r < 0) {
        control_close(control, NULL, NULL);
        return r;
    }
    *ret = control;
    return 0;
}

void control_close(struct control *control, void (*closed)(void *ud), void *ud)
{
    if (control == NULL) {
        if (closed != NULL) {
            closed(ud);
        }
        return;
    }
    control->closed = closed;
    control->closed_ud = ud;
    control->ending = true;
    control_socket_remove(&control->at);
    for (struct client *client = control->clients; client != NULL; client = client->next) {
        client_close(client);
    }
    uv_close((uv_handle_t *)&control->listener, on_own_closed);
    uv_close((uv_handle_t *)&control->sweep, on_own_closed);
}

/* Ends the call; the client that waits for it, or NULL. */
static struct client *call_end(struct control_call *call)
{
    struct client *client = call->client;

    if (client != NULL) {
        client->call = NULL;
    }
    free(call->body);
    free(call);
    return client;
}

void control_reply(struct control_call *call, const void *frame, size_t len)
{
    struct client *client = call_end(call);
    void *copy = client == NULL ? NULL : malloc(len);

    if (client == NULL) {
        return;
    }
    if (copy == NULL) {
        client_close(client);
        return;
    }
    memcpy(copy, frame, len);
    client_write(client, copy, len);
}

void control_drop(struct control_call *call)
{
    struct client *client = call_end(call);

    if (client != NULL) {
        client_close(client);
    }
}

struct control_stats control_stats(const struct control *control)
{
    return control->stats;
}
