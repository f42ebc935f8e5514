#ifndef VIPD_WIRE_CONTROL_H
#define VIPD_WIRE_CONTROL_H

/* The control protocol's envelope: one request, one reply. On the socket each is a 4-byte big-endian length and that
 * many bytes of one MessagePack map (docs/decisions/0007-control-protocol.md).
 *
 *     request {v: 1, id, op, args: {...}, force, dry_run, timeout_ms}
 *     reply   {v: 1, code, error, hint, index, retry, local, result}
 *
 * Unknown keys are ignored, so that either side may be the newer one; an unknown v is refused. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/value.h"

#define CONTROL_VERSION 1
#define CONTROL_FRAME_SIZE 4             /* the length in front of each message */
#define CONTROL_REQUEST_MAX (1u << 20)   /* bytes of a request, without its length */
#define CONTROL_REPLY_MAX (16u << 20)    /* the same of a reply */
#define CONTROL_REQUEST_ARENA_MAX ((size_t)8 << 20) /* for the tree of a request and of its reply */
#define CONTROL_LIST_ARENA_MAX ((size_t)96 << 20)   /* at the client, for the rows of many replies */
#define CONTROL_OP_SIZE 32
#define CONTROL_TIMEOUT_MAX_MS 3600000u

/* Exit codes of vipctl, too. */
enum control_code
{
    CONTROL_DONE = 0,
    CONTROL_FAILED,
    CONTROL_USAGE,     /* the request makes no sense */
    CONTROL_UNSAFE,    /* refused; `hint` names the flag that overrides */
    CONTROL_NO_QUORUM, /* no leader now; nothing was done, or what was done is found again by the request's id */
    CONTROL_TIMEOUT,
    CONTROL_NOT_FOUND,
    CONTROL_CONFLICT,
};
#define CONTROL_CODES_N 8

struct control_request
{
    uint64_t id; /* random; the same when a request is repeated, so that a change is done once. 0: a reading request */
    char op[CONTROL_OP_SIZE]; /* "vip.add" */
    const struct value *args; /* a map; NULL when encoding = an empty one, never NULL once decoded */
    bool force;
    bool dry_run;
    uint32_t timeout_ms; /* how long the client waits for the reply; 0 = not said */
};

struct control_reply
{
    enum control_code code;
    const char *error; /* one sentence; NULL when code is CONTROL_DONE */
    const char *hint;  /* what to do, the flag that overrides; or NULL */
    uint64_t index;    /* Raft index of the change, or that the answer was read at; 0 = none */
    bool retry;        /* nothing was done now, and the same request may soon be: send it again, with the same id */
    bool local;        /* read from the answering node's own view: there was no leader to ask */
    const struct value *result; /* or NULL */
};

/* Decode. 0; -EBADMSG with *ret_why one sentence for a person (static); -E2BIG. Strings and values are the arena's. */
NODISCARD int control_request_decode(struct value_arena *arena, const void *bytes, size_t len,
                                     struct control_request *ret, const char **ret_why);
NODISCARD int control_reply_decode(struct value_arena *arena, const void *bytes, size_t len,
                                   struct control_reply *ret);

/* Encode with the length in front, into memory that the caller frees. -E2BIG: over the limit; -ENOMEM. */
NODISCARD int control_request_encode(const struct control_request *request, void **ret, size_t *ret_len);
NODISCARD int control_reply_encode(const struct control_reply *reply, void **ret, size_t *ret_len);

/* The length in front of a message, from its CONTROL_FRAME_SIZE bytes. */
uint32_t control_frame_len(const unsigned char bytes[CONTROL_FRAME_SIZE]);

#endif
