/* The control protocol's envelopes (wire/control.h): the same bytes as a client's request and as a daemon's reply. */

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "fuzz.h"
#include "wire/control.h"

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_tree(const struct value *a, const struct value *b)
{
    return a == NULL || b == NULL ? a == b : value_equal(a, b);
}

static void check_frame(const unsigned char *bytes, size_t len)
{
    FUZZ_CHECK(len > CONTROL_FRAME_SIZE && control_frame_len(bytes) == len - CONTROL_FRAME_SIZE);
}

static void request_round_trip(const struct control_request *was)
{
    struct value_arena arena;
    struct control_request is;
    const char *why = NULL;
    void *bytes;
    size_t len;

    value_arena_init(&arena, CONTROL_REQUEST_ARENA_MAX);
    FUZZ_CHECK(was->args != NULL && memchr(was->op, '\0', sizeof was->op) != NULL);
    FUZZ_CHECK(control_request_encode(was, &bytes, &len) == 0);
    check_frame(bytes, len);
    FUZZ_CHECK(control_request_decode(&arena, (uint8_t *)bytes + CONTROL_FRAME_SIZE, len - CONTROL_FRAME_SIZE, &is,
                                      &why) == 0);
    FUZZ_CHECK(is.id == was->id && strcmp(is.op, was->op) == 0 && value_equal(is.args, was->args));
    FUZZ_CHECK(is.force == was->force && is.dry_run == was->dry_run && is.timeout_ms == was->timeout_ms);
    free(bytes);
    value_arena_close(&arena);
}

static void reply_round_trip(const struct control_reply *was)
{
    struct value_arena arena;
    struct control_reply is;
    void *bytes;
    size_t len;

    value_arena_init(&arena, CONTROL_REQUEST_ARENA_MAX);
    FUZZ_CHECK(was->code < CONTROL_CODES_N);
    FUZZ_CHECK(control_reply_encode(was, &bytes, &len) == 0);
    check_frame(bytes, len);
    FUZZ_CHECK(control_reply_decode(&arena, (uint8_t *)bytes + CONTROL_FRAME_SIZE, len - CONTROL_FRAME_SIZE, &is) == 0);
    FUZZ_CHECK(is.code == was->code && is.index == was->index && is.retry == was->retry && is.local == was->local);
    FUZZ_CHECK(same_text(is.error, was->error) && same_text(is.hint, was->hint) && same_tree(is.result, was->result));
    free(bytes);
    value_arena_close(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct value_arena arena;
    struct control_request request;
    struct control_reply reply;
    const char *why = NULL;

    value_arena_init(&arena, CONTROL_REQUEST_ARENA_MAX);
    int r = control_request_decode(&arena, data, size, &request, &why);
    FUZZ_CHECK(r == 0 || ((r == -EBADMSG || r == -E2BIG) && why != NULL));
    if (r == 0) {
        request_round_trip(&request);
    }
    value_arena_close(&arena);
    r = control_reply_decode(&arena, data, size, &reply);
    FUZZ_CHECK(r == 0 || r == -EBADMSG || r == -E2BIG);
    if (r == 0) {
        reply_round_trip(&reply);
    }
    value_arena_close(&arena);
    return 0;
}
