#ifndef VIPD_CLIENT_PRIVATE_H
#define VIPD_CLIENT_PRIVATE_H

/* Within the client library: value.c arguments, replies and values; exchange.c the connection; call.c requests. */

#include <sys/un.h>

#include "vipd/client.h"
#include "wire/control.h"
#include "wire/value.h"

struct vipd_client
{
    struct sockaddr_un at;
    int fd; /* -1: not connected */
};

struct vipd_args
{
    struct value_arena arena;
    struct value *root;
};

struct vipd_reply
{
    struct value_arena arena;
    struct control_reply reply;
};

/* Milliseconds of a clock that only grows. */
uint64_t exchange_now_ms(void);
void exchange_pause(uint32_t ms);

/* -errno as vipd_client_open(). Nothing to do when connected. */
NODISCARD int exchange_connect(struct vipd_client *client);
void exchange_close(struct vipd_client *client);

/* Send a frame and receive the frame that answers, until `deadline_ms`; *ret is its body, which the caller frees.
 * -ETIMEDOUT; -ECONNRESET: the connection ended before the answer; -EPROTO: too long an answer; -ENOMEM. After any
 * failure the connection is closed. */
NODISCARD int exchange(struct vipd_client *client, const void *frame, size_t len, uint64_t deadline_ms, void **ret,
                       size_t *ret_len);

#endif
