/* One frame out, one frame in, on a non-blocking socket with a deadline. An answer that comes after its deadline would be
 * taken for the next one's, so every failure closes the connection. */

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client/client_private.h"

uint64_t exchange_now_ms(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_BOOTTIME, &now) < 0) {
        abort(); /* every Linux that runs vipd has it */
    }
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void exchange_pause(uint32_t ms)
{
    (void)poll(NULL, 0, (int)ms);
}

void exchange_close(struct vipd_client *client)
{
    if (client->fd >= 0) {
        close(client->fd);
        client->fd = -1;
    }
}

int exchange_connect(struct vipd_client *client)
{
    if (client->fd >= 0) {
        return 0;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    while (connect(fd, (const struct sockaddr *)&client->at, sizeof client->at) < 0) {
        int r = -errno;
        if (r == -EINTR) {
            continue;
        }
        close(fd);
        return r;
    }
    client->fd = fd;
    return 0;
}

/* Until the socket is ready for `events`. */
static int await(const struct vipd_client *client, short events, uint64_t deadline_ms)
{
    for (;;) {
        struct pollfd at = { .fd = client->fd, .events = events };
        uint64_t now_ms = exchange_now_ms();
        int r = now_ms >= deadline_ms ? 0 : poll(&at, 1, (int)(deadline_ms - now_ms));
        if (r > 0) {
            return 0;
        }
        if (r == 0 && exchange_now_ms() >= deadline_ms) {
            return -ETIMEDOUT;
        }
        if (r < 0 && errno != EINTR) {
            return -errno;
        }
    }
}

static int send_all(const struct vipd_client *client, const char *bytes, size_t len, uint64_t deadline_ms)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = send(client->fd, bytes + done, len - done, MSG_NOSIGNAL);
        if (n >= 0) {
            done += (size_t)n;
            continue;
        }
        int r = errno == EAGAIN ? await(client, POLLOUT, deadline_ms) : errno == EINTR ? 0 : -errno;
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int receive_all(const struct vipd_client *client, char *bytes, size_t len, uint64_t deadline_ms)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = recv(client->fd, bytes + done, len - done, 0);
        if (n > 0) {
            done += (size_t)n;
            continue;
        }
        if (n == 0) {
            return -ECONNRESET;
        }
        int r = errno == EAGAIN ? await(client, POLLIN, deadline_ms) : errno == EINTR ? 0 : -errno;
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int receive_frame(const struct vipd_client *client, uint64_t deadline_ms, void **ret, size_t *ret_len)
{
    unsigned char length[CONTROL_FRAME_SIZE];
    int r = receive_all(client, (char *)length, sizeof length, deadline_ms);

    if (r < 0) {
        return r;
    }
    uint32_t len = control_frame_len(length);
    if (len == 0 || len > CONTROL_REPLY_MAX) {
        return -EPROTO;
    }
    char *body = malloc(len);
    if (body == NULL) {
        return -ENOMEM;
    }
    r = receive_all(client, body, len, deadline_ms);
    if (r < 0) {
        free(body);
        return r;
    }
    *ret = body;
    *ret_len = len;
    return 0;
}

int exchange(struct vipd_client *client, const void *frame, size_t len, uint64_t deadline_ms, void **ret,
             size_t *ret_len)
{
    int sent = send_all(client, frame, len, deadline_ms);
    /* A daemon that refuses a connection says why before it has read the request. */
    int r = sent == 0 || sent == -EPIPE || sent == -ECONNRESET ? receive_frame(client, deadline_ms, ret, ret_len)
                                                               : sent;

    if (r < 0) {
        exchange_close(client);
    }
    return r;
}
