#ifndef VIPD_CLIENT_H
#define VIPD_CLIENT_H

/* The C library for clients of vipd: asks the daemon of this host over its control socket. Synchronous; one client is
 * for one thread at a time, several clients are independent. It never prints, never exits, keeps no global state, raises
 * no SIGPIPE and goes on after EINTR.
 *
 *     struct vipd_client *client;
 *     struct vipd_reply *reply;
 *     int r = vipd_client_open(NULL, &client);
 *     if (r == 0) {
 *         r = vipd_call(client, "status", NULL, NULL, &reply);
 *     }
 *
 * Functions return 0 or -errno. A refusal of the daemon is not an error of the call: look at vipd_reply_code(). The
 * operations with their arguments and results are listed in docs/decisions/0007-control-protocol.md. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIPD_SOCKET_DEFAULT "/run/vipd/control.sock"
#define VIPD_NODISCARD __attribute__((warn_unused_result))

#define VIPD_TIMEOUT_MS 10000      /* for an answer, when nothing else is said */
#define VIPD_WAIT_TIMEOUT_MS 30000 /* the same with `wait` */
#define VIPD_TIMEOUT_MAX_MS 3600000
#define VIPD_RETRY_MS 2000         /* how long a request is repeated while there is no leader, when no timeout is given */
#define VIPD_VIPS_MAX 1024         /* VIPs in one request that adds or deletes */

/* What became of a request; also vipctl's exit codes. Stable. */
enum vipd_code
{
    VIPD_DONE = 0,
    VIPD_FAILED = 1,
    VIPD_USAGE = 2,     /* the request makes no sense */
    VIPD_UNSAFE = 3,    /* refused as unsafe; the hint names what overrides */
    VIPD_NO_QUORUM = 4, /* there is no leader; nothing was done */
    VIPD_TIMEOUT = 5,   /* no answer in time; or done, but not real in time (then vipd_reply_index() is not 0) */
    VIPD_NOT_FOUND = 6,
    VIPD_CONFLICT = 7,
};

struct vipd_client;
struct vipd_args;
struct vipd_reply;
struct vipd_value;

/* ---------------------------------------------------------------------------------------------------- connections */

/* Connect to the daemon at `socket` (NULL: VIPD_SOCKET_DEFAULT). -ENOENT, -ECONNREFUSED: no daemon runs there; -EACCES:
 * not allowed; -ENAMETOOLONG; -ENOMEM; another -errno of connect(2). */
VIPD_NODISCARD int vipd_client_open(const char *socket, struct vipd_client **ret);
/* NULL is fine. */
void vipd_client_close(struct vipd_client *client);

/* ------------------------------------------------------------------------------------------------------ arguments */

/* Arguments of a request: a map, built up. The functions that build take NULL (for lack of memory) and remember it: the
 * call then fails with -ENOMEM. Texts and keys are copied. */
struct vipd_args *vipd_args_new(void);
void vipd_args_free(struct vipd_args *args); /* NULL is fine */
struct vipd_value *vipd_args_root(struct vipd_args *args);

struct vipd_value *vipd_new_map(struct vipd_args *args);
struct vipd_value *vipd_new_array(struct vipd_args *args);
struct vipd_value *vipd_new_text(struct vipd_args *args, const char *text);
struct vipd_value *vipd_new_int(struct vipd_args *args, int64_t n);
struct vipd_value *vipd_new_bool(struct vipd_args *args, bool yes);
/* Put a value that is in no other place yet into a map, once for each key; append it to an array. */
void vipd_put(struct vipd_args *args, struct vipd_value *map, const char *key, struct vipd_value *value);
void vipd_push(struct vipd_args *args, struct vipd_value *array, struct vipd_value *value);

/* ---------------------------------------------------------------------------------------------------------- calls */

/* Zeroed: the defaults. */
struct vipd_options
{
    bool wait;    /* return only when the change is real: in the owner's kernel; gone from the old one's */
    bool force;   /* do it although it is unsafe */
    bool dry_run; /* judge it only */
    uint32_t timeout_ms; /* for all of the call, 1..VIPD_TIMEOUT_MAX_MS; 0: the defaults above */
};

/* Ask, and take the answer. `args` and `options` may be NULL. A request that the daemon cannot serve now (no leader, the
 * connection was lost, something moves) is repeated until the time is over, with the same random id, by which the
 * cluster does a change once only. 0 with a reply, which the caller frees: whatever its code. -errno: the daemon cannot
 * be reached (as vipd_client_open()); -EMSGSIZE: the request is longer than 1 MiB; -EPROTO: what answers is no vipd of a
 * version that this library knows; -ENOMEM. */
VIPD_NODISCARD int vipd_call(struct vipd_client *client, const char *op, const struct vipd_args *args,
                             const struct vipd_options *options, struct vipd_reply **ret);

/* The same for operations whose result has `rows` ("vip.list", "node.list", "history"): asks for up to `limit` of them
 * (0 = all), page by page; the result is an array of the rows. The timeout is for each page. */
VIPD_NODISCARD int vipd_list(struct vipd_client *client, const char *op, const struct vipd_args *args,
                             const struct vipd_options *options, uint32_t limit, struct vipd_reply **ret);

/* --------------------------------------------------------------------------------------------------------- events */

/* Where a client stands among the cluster's events (those of "history"). Zeroed: it has not begun. It is good at every node of
 * the cluster, and after a restart of the daemon: it may be kept, and the events followed from it on. */
struct vipd_position
{
    uint64_t cluster, number;
    bool begun;
};

/* The events from `position` on, which moves behind them; up to 1000, oldest first. When there are none it waits for one, for two
 * seconds at most. At a position that has not begun: at once, the newest `newest` (1..1000; 0 = none) that there are.
 * `args`, or NULL: {vip or node, since_ms}, as for "history". The result has `rows`; `missed`, how many events came and went
 * before this client asked for them, if any did; `quorum`, whether a majority supports this node: without, what happens elsewhere
 * is not known here. 0, and -errno, as vipd_call(): the position stays then, and the next call goes on there with a new
 * connection. */
VIPD_NODISCARD int vipd_events(struct vipd_client *client, const struct vipd_args *args, struct vipd_position *position,
                               uint32_t newest, struct vipd_reply **ret);

/* -------------------------------------------------------------------------------------------------------- replies */

enum vipd_code vipd_reply_code(const struct vipd_reply *reply);
const char *vipd_reply_error(const struct vipd_reply *reply); /* one sentence; NULL when done */
const char *vipd_reply_hint(const struct vipd_reply *reply);  /* what to do, or NULL */
uint64_t vipd_reply_index(const struct vipd_reply *reply);    /* Raft index of the change or the reading; 0 = none */
/* The answering node's own view: there was no leader to ask. */
bool vipd_reply_local(const struct vipd_reply *reply);
/* NULL: none. It lives as long as the reply. */
const struct vipd_value *vipd_reply_result(const struct vipd_reply *reply);
void vipd_reply_free(struct vipd_reply *reply); /* NULL is fine */

/* --------------------------------------------------------------------------------------------------------- values */

enum vipd_type
{
    VIPD_NIL = 0,
    VIPD_BOOL,
    VIPD_INT, /* below zero */
    VIPD_UINT,
    VIPD_TEXT, /* without NUL within; not promised to be UTF-8 */
    VIPD_ARRAY,
    VIPD_MAP,
};

/* All take NULL, and values of another type: then they return nil, NULL, 0 or `otherwise`. */
enum vipd_type vipd_type(const struct vipd_value *value);
const struct vipd_value *vipd_get(const struct vipd_value *map, const char *key);
const struct vipd_value *vipd_first(const struct vipd_value *container);
const struct vipd_value *vipd_next(const struct vipd_value *item);
const char *vipd_key(const struct vipd_value *item); /* of an item of a map */
uint32_t vipd_count(const struct vipd_value *container);
bool vipd_bool(const struct vipd_value *value, bool otherwise);
int64_t vipd_int(const struct vipd_value *value, int64_t otherwise);
uint64_t vipd_uint(const struct vipd_value *value, uint64_t otherwise);
const char *vipd_text(const struct vipd_value *value, const char *otherwise);

/* ---------------------------------------------------------------------------------------------------------- words */

/* The one of n names that a mistyped word was probably meant to be, or NULL. */
const char *vipd_near(const char *word, const char *const names[], size_t n);
/* Version of this library, "0.1.0". */
const char *vipd_version(void);

#ifdef __cplusplus
}
#endif

#endif
