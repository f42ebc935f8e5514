#include "wire/control.h"

#include <errno.h>
#include <string.h>

#define ENVELOPE_MAX ((size_t)64 << 10) /* arena for the envelope's own few values */

static void frame(unsigned char *bytes, size_t len)
{
    size_t n = len - CONTROL_FRAME_SIZE;

    bytes[0] = (unsigned char)(n >> 24);
    bytes[1] = (unsigned char)(n >> 16);
    bytes[2] = (unsigned char)(n >> 8);
    bytes[3] = (unsigned char)n;
}

uint32_t control_frame_len(const unsigned char bytes[CONTROL_FRAME_SIZE])
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static int encode(struct value_arena *arena, const struct value *envelope, size_t limit, void **ret, size_t *ret_len)
{
    int r = value_failed(arena) ? -ENOMEM : value_encode(envelope, CONTROL_FRAME_SIZE, limit, ret, ret_len);

    if (r == 0) {
        frame(*ret, *ret_len);
    }
    return r;
}

/* Puts a tree of another arena at the end of the envelope. The tree stays as it was; only its root is copied. */
static void graft(struct value_arena *arena, struct value *envelope, const char *key, const struct value *tree)
{
    struct value *root = value_nil(arena);

    if (root == NULL) {
        return;
    }
    *root = *tree;
    root->next = NULL;
    value_put(arena, envelope, key, root);
}

int control_request_encode(const struct control_request *request, void **ret, size_t *ret_len)
{
    struct value_arena arena;

    value_arena_init(&arena, ENVELOPE_MAX);
    struct value *envelope = value_map(&arena);
    value_put_uint(&arena, envelope, "v", CONTROL_VERSION);
    value_put_uint(&arena, envelope, "id", request->id);
    value_put_string(&arena, envelope, "op", request->op);
    if (request->args != NULL) {
        graft(&arena, envelope, "args", request->args);
    }
    if (request->force) {
        value_put_bool(&arena, envelope, "force", true);
    }
    if (request->dry_run) {
        value_put_bool(&arena, envelope, "dry_run", true);
    }
    if (request->timeout_ms > 0) {
        value_put_uint(&arena, envelope, "timeout_ms", request->timeout_ms);
    }
    int r = encode(&arena, envelope, CONTROL_REQUEST_MAX, ret, ret_len);
    value_arena_close(&arena);
    return r;
}

int control_reply_encode(const struct control_reply *reply, void **ret, size_t *ret_len)
{
    struct value_arena arena;

    value_arena_init(&arena, ENVELOPE_MAX * 4);
    struct value *envelope = value_map(&arena);
    value_put_uint(&arena, envelope, "v", CONTROL_VERSION);
    value_put_uint(&arena, envelope, "code", reply->code);
    if (reply->error != NULL) {
        value_put_string(&arena, envelope, "error", reply->error);
    }
    if (reply->hint != NULL) {
        value_put_string(&arena, envelope, "hint", reply->hint);
    }
    value_put_uint(&arena, envelope, "index", reply->index);
    if (reply->retry) {
        value_put_bool(&arena, envelope, "retry", true);
    }
    if (reply->local) {
        value_put_bool(&arena, envelope, "local", true);
    }
    if (reply->result != NULL) {
        graft(&arena, envelope, "result", reply->result);
    }
    int r = encode(&arena, envelope, CONTROL_REPLY_MAX, ret, ret_len);
    value_arena_close(&arena);
    return r;
}

static const char *request_read(const struct value *envelope, const struct value *nothing, struct control_request *ret)
{
    const struct value *args = value_get(envelope, "args");
    const char *op = value_as_string(value_get(envelope, "op"), NULL);
    uint64_t timeout_ms = value_as_uint(value_get(envelope, "timeout_ms"), 0);

    if (!value_is(envelope, VALUE_MAP)) {
        return "the request is not a map";
    }
    if (value_as_uint(value_get(envelope, "v"), 0) != CONTROL_VERSION) {
        return "the request is of another version of the control protocol (this daemon speaks version 1)";
    }
    if (op == NULL || op[0] == '\0' || strlen(op) >= CONTROL_OP_SIZE) {
        return "the request names no operation";
    }
    if (args != NULL && !value_is(args, VALUE_MAP)) {
        return "the request's arguments are not a map";
    }
    *ret = (struct control_request){
        .id = value_as_uint(value_get(envelope, "id"), 0),
        .args = args != NULL ? args : nothing,
        .force = value_as_bool(value_get(envelope, "force"), false),
        .dry_run = value_as_bool(value_get(envelope, "dry_run"), false),
        .timeout_ms = (uint32_t)(timeout_ms > CONTROL_TIMEOUT_MAX_MS ? CONTROL_TIMEOUT_MAX_MS : timeout_ms),
    };
    strcpy(ret->op, op);
    return NULL;
}

int control_request_decode(struct value_arena *arena, const void *bytes, size_t len, struct control_request *ret,
                           const char **ret_why)
{
    const struct value *envelope;
    const struct value *nothing = value_map(arena);
    int r = nothing == NULL ? -E2BIG : value_decode(arena, bytes, len, &envelope);

    if (r < 0) {
        *ret_why = r == -E2BIG ? "the request is beyond a limit" : "the request is malformed";
        return r;
    }
    const char *why = request_read(envelope, nothing, ret);
    if (why != NULL) {
        *ret_why = why;
        return -EBADMSG;
    }
    return 0;
}

int control_reply_decode(struct value_arena *arena, const void *bytes, size_t len, struct control_reply *ret)
{
    const struct value *envelope;
    int r = value_decode(arena, bytes, len, &envelope);

    if (r < 0) {
        return r;
    }
    uint64_t code = value_as_uint(value_get(envelope, "code"), UINT64_MAX);
    if (value_as_uint(value_get(envelope, "v"), 0) != CONTROL_VERSION || code == UINT64_MAX) {
        return -EBADMSG;
    }
    *ret = (struct control_reply){
        .code = code < CONTROL_CODES_N ? (enum control_code)code : CONTROL_FAILED,
        .error = value_as_string(value_get(envelope, "error"), NULL),
        .hint = value_as_string(value_get(envelope, "hint"), NULL),
        .index = value_as_uint(value_get(envelope, "index"), 0),
        .retry = value_as_bool(value_get(envelope, "retry"), false),
        .local = value_as_bool(value_get(envelope, "local"), false),
        .result = value_get(envelope, "result"),
    };
    return 0;
}
