#ifndef VIPD_IO_CONTROL_H
#define VIPD_IO_CONTROL_H

/* The control socket: takes whole requests from local clients and gives back whole replies. What a request means is the
 * daemon's business (wire/control.h decodes it). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/err.h"

#define CONTROL_CLIENTS_MAX 64
#define CONTROL_QUEUED_MAX ((size_t)64 << 20) /* bytes of replies that all clients together have not taken yet */
#define CONTROL_IDLE_MS 60000                 /* a connection without a request is closed after this */
#define CONTROL_STALL_MS 10000                /* one that stops within a request or within a reply, after this */

struct control;

/* One request that waits for its reply. */
struct control_call;

struct control_ops
{
    /* A whole request arrived. bytes stay valid until control_reply() or control_drop(), one of which must be called
     * exactly once for the call: now or at any later time, before or after the client went away or the server was
     * closed. uid is that of the client's process when it connected. */
    void (*request)(void *ud, struct control_call *call, const void *bytes, size_t len, uid_t uid);
};

struct control_stats
{
    uint64_t clients;  /* connected now */
    uint64_t accepted; /* since the start */
    uint64_t refused;  /* over CONTROL_CLIENTS_MAX, all of them at work */
    uint64_t evicted;  /* idle ones closed to make room */
    uint64_t requests;
    uint64_t bad;     /* frames that were refused: too long or empty */
    uint64_t stalled; /* connections closed for their slowness */
};

/* Listen at `path`, mode 0660 and of `group` ((gid_t)-1: as it comes); its directory is made when missing (0755). A socket that a dead process left behind is
 * replaced. -EPERM: the socket cannot be given to the group; -EADDRINUSE: a live process listens there; -ENOTSOCK: something else has that name; -ENAMETOOLONG; another
 * -errno of the system. The caller ignores SIGPIPE. */
NODISCARD int control_open(struct control **ret, uv_loop_t *loop, const char *path, gid_t group,
                           const struct control_ops *ops, void *ud);

/* Whether the client's process was in the group when it connected, as its own or a supplementary one. false, too, once
 * the client is gone. */
bool control_in_group(const struct control_call *call, gid_t group);

/* Other times than CONTROL_IDLE_MS and CONTROL_STALL_MS, for what begins from now on; looked at once a second. */
void control_patience(struct control *control, uint64_t idle_ms, uint64_t stall_ms);

/* Stop listening, remove the socket, close every connection. `closed` (may be NULL) is called from the loop when
 * nothing of it is left there. NULL is fine: closed is called at once. */
void control_close(struct control *control, void (*closed)(void *ud), void *ud);

/* Answer; frame as control_reply_encode() makes it, length in front. It is copied. */
void control_reply(struct control_call *call, const void *frame, size_t len);

/* Answer by closing the connection: when there is no memory for a reply. */
void control_drop(struct control_call *call);

struct control_stats control_stats(const struct control *control);

#endif
