#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/control.h"
#include "wire/value.h"

#define ARENA ((size_t)16 << 20)

static struct value *sample(struct value_arena *arena)
{
    struct value *map = value_map(arena);
    struct value *list = value_array(arena);
    char text[300];

    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    value_put_bool(arena, map, "yes", true);
    value_put_bool(arena, map, "no", false);
    value_put(arena, map, "nil", value_nil(arena));
    value_put_string(arena, map, "text", "web");
    value_put_string(arena, map, "long", text);
    value_put_string(arena, map, "", "");
    const int64_t numbers[] = { 0, 1, 127, 128, 255, 256, 65535, 65536, UINT32_MAX, INT64_MAX, -1, -32, -33, -128, -129,
                                -32768, -32769, INT32_MIN, INT64_MIN };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        value_push(arena, list, value_int(arena, numbers[i]));
    }
    value_push(arena, list, value_uint(arena, UINT64_MAX));
    for (int i = 0; i < 20; i++) {
        value_push(arena, list, value_map(arena));
    }
    value_put(arena, map, "list", list);
    value_put(arena, map, "none", value_array(arena));
    return map;
}

static void test_round_trip(void **state)
{
    struct value_arena arena;
    const struct value *back;
    void *bytes;
    size_t len;

    value_arena_init(&arena, ARENA);
    struct value *tree = sample(&arena);
    assert_false(value_failed(&arena));
    assert_int_equal(value_encode(tree, 0, ARENA, &bytes, &len), 0);
    assert_int_equal(value_decode(&arena, bytes, len, &back), 0);
    assert_true(value_equal(tree, back));
    assert_string_equal(value_as_string(value_get(back, "text"), "?"), "web");
    assert_true(value_as_bool(value_get(back, "yes"), false));
    free(bytes);
    value_arena_close(&arena);
}

static void test_every_truncation_is_refused(void **state)
{
    struct value_arena arena;
    const struct value *back = NULL;
    unsigned char *bytes;
    size_t len;

    value_arena_init(&arena, ARENA);
    assert_int_equal(value_encode(sample(&arena), 0, ARENA, (void **)&bytes, &len), 0);
    for (size_t n = 0; n < len; n++) {
        unsigned char *cut = malloc(n + 1); /* its own block: reading past its end is seen */
        memcpy(cut, bytes, n);
        cut = realloc(cut, n > 0 ? n : 1);
        assert_int_equal(value_decode(&arena, cut, n, &back), -EBADMSG);
        free(cut);
    }
    assert_null(back);
    bytes = realloc(bytes, len + 1);
    bytes[len] = 0xc0;
    assert_int_equal(value_decode(&arena, bytes, len + 1, &back), -EBADMSG);
    free(bytes);
    value_arena_close(&arena);
}

static int decode(const char *bytes, size_t len, size_t limit)
{
    struct value_arena arena;
    const struct value *back;

    value_arena_init(&arena, limit);
    int r = value_decode(&arena, bytes, len, &back);
    value_arena_close(&arena);
    return r;
}

#define DECODE(literal) decode(literal, sizeof(literal) - 1, ARENA)

static void test_nesting_has_a_limit(void **state)
{
    char deep[4096];

    memset(deep, '\x91', sizeof deep);
    for (size_t n = 1; n <= VALUE_DEPTH_MAX; n++) {
        deep[n] = '\xc0';
        assert_int_equal(decode(deep, n + 1, ARENA), 0);
        deep[n] = '\x91';
    }
    deep[VALUE_DEPTH_MAX + 1] = '\xc0';
    assert_int_equal(decode(deep, VALUE_DEPTH_MAX + 2, ARENA), -E2BIG);
    deep[VALUE_DEPTH_MAX + 1] = '\x91';
    assert_int_equal(decode(deep, sizeof deep, ARENA), -E2BIG);

    struct value_arena arena;
    void *bytes;
    size_t len;
    value_arena_init(&arena, ARENA);
    struct value *value = value_nil(&arena);
    for (int i = 0; i <= VALUE_DEPTH_MAX; i++) {
        struct value *outer = value_array(&arena);
        value_push(&arena, outer, value);
        value = outer;
    }
    assert_int_equal(value_encode(value, 0, ARENA, &bytes, &len), -E2BIG);
    assert_int_equal(value_encode(value_first(value), 0, ARENA, &bytes, &len), 0);
    free(bytes);
    value_arena_close(&arena);
}

static void test_claims_are_not_believed(void **state)
{
    assert_int_equal(DECODE("\xdd\xff\xff\xff\xff"), -EBADMSG);
    assert_int_equal(DECODE("\xdf\xff\xff\xff\xff"), -EBADMSG);
    assert_int_equal(DECODE("\xdd\xff\xff\xff\xff\xc0\xc0"), -EBADMSG);
    assert_int_equal(DECODE("\xdb\xff\xff\xff\xff"), -EBADMSG);
    assert_int_equal(DECODE("\xc9\xff\xff\xff\xff"), -EBADMSG);
    assert_int_equal(DECODE("\xdb\x00\x00\x00\x01"), -EBADMSG);
}

static void test_foreign_types_are_refused(void **state)
{
    assert_int_equal(DECODE("\xca\x00\x00\x00\x00"), -EBADMSG);                 /* float */
    assert_int_equal(DECODE("\xcb\x00\x00\x00\x00\x00\x00\x00\x00"), -EBADMSG); /* double */
    assert_int_equal(DECODE("\xc4\x01x"), -EBADMSG);                            /* binary */
    assert_int_equal(DECODE("\xd4\x01x"), -EBADMSG);                            /* extension */
    assert_int_equal(DECODE("\xc1"), -EBADMSG);                                 /* never used */
    assert_int_equal(DECODE("\x81\x01\x02"), -EBADMSG);                         /* a number as key */
    assert_int_equal(DECODE("\xa3"
                            "a\0b"),
                     -EBADMSG); /* a NUL within */
    assert_int_equal(DECODE(""), -EBADMSG);
}

static void test_limits_of_size(void **state)
{
    char *text = calloc(1, VALUE_STRING_MAX + 16);

    memcpy(text, "\xdb\x00\x01\x00\x00", 5);
    memset(text + 5, 'a', VALUE_STRING_MAX);
    assert_int_equal(decode(text, 5 + VALUE_STRING_MAX, ARENA), 0);
    memcpy(text, "\xdb\x00\x01\x00\x01", 5);
    text[5 + VALUE_STRING_MAX] = 'a';
    assert_int_equal(decode(text, 6 + VALUE_STRING_MAX, ARENA), -E2BIG);
    free(text);

    /* A small message that would grow: a thousand nils in an arena for a few. */
    char nils[1003] = "\xdc\x03\xe8";
    memset(nils + 3, '\xc0', 1000);
    assert_int_equal(decode(nils, sizeof nils, ARENA), 0);
    assert_int_equal(decode(nils, sizeof nils, 4096), -E2BIG);
    assert_int_equal(decode(nils, sizeof nils, 0), -E2BIG);

    struct value_arena arena;
    void *bytes;
    size_t len;
    value_arena_init(&arena, ARENA);
    struct value *tree = sample(&arena);
    assert_int_equal(value_encode(tree, 4, ARENA, &bytes, &len), 0);
    free(bytes);
    size_t exact = len - 4;
    assert_int_equal(value_encode(tree, 4, exact, &bytes, &len), 0);
    free(bytes);
    assert_int_equal(value_encode(tree, 4, exact - 1, &bytes, &len), -E2BIG);
    value_arena_close(&arena);
}

static void test_random_bytes(void **state)
{
    uint64_t x = 88172645463325252ull; /* xorshift64: the same bytes on each run */
    char bytes[64];
    unsigned decoded = 0;

    for (int round = 0; round < 200000; round++) {
        for (size_t i = 0; i < sizeof bytes; i++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            bytes[i] = (char)x;
        }
        size_t len = (size_t)(x % (sizeof bytes + 1));
        int r = decode(bytes, len, 4096);
        assert_true(r == 0 || r == -EBADMSG || r == -E2BIG);
        decoded += r == 0;
    }
    assert_true(decoded > 0);
}

static void test_a_full_arena_is_told_once(void **state)
{
    struct value_arena arena;

    value_arena_init(&arena, 4096);
    struct value *list = value_array(&arena);
    for (int i = 0; i < 1000; i++) {
        value_push(&arena, list, value_uint(&arena, 1));
    }
    value_put_string(&arena, value_map(&arena), "key", "text");
    value_push(&arena, NULL, NULL);
    assert_true(value_failed(&arena));
    assert_true(arena.used <= 4096);
    value_arena_close(&arena);
    assert_false(value_failed(&arena));
    assert_non_null(value_array(&arena));
    value_arena_close(&arena);
    value_arena_close(NULL);
}

static void test_readers_take_anything(void **state)
{
    struct value_arena arena;

    value_arena_init(&arena, ARENA);
    struct value *number = value_int(&arena, -5);
    assert_null(value_get(NULL, "x"));
    assert_null(value_get(number, "x"));
    assert_null(value_first(number));
    assert_int_equal(value_as_uint(number, 7), 7);
    assert_int_equal(value_as_int(number, 7), -5);
    assert_int_equal(value_as_int(value_uint(&arena, UINT64_MAX), 7), 7);
    assert_string_equal(value_as_string(number, "no"), "no");
    assert_true(value_as_bool(NULL, true));
    assert_true(value_is(value_string(&arena, NULL), VALUE_NIL));
    value_arena_close(&arena);
}

static void test_request_round_trip(void **state)
{
    struct value_arena arena;
    struct control_request back;
    const char *why = NULL;
    unsigned char *bytes;
    size_t len;

    value_arena_init(&arena, ARENA);
    struct control_request request = { .id = UINT64_MAX, .op = "vip.add", .args = sample(&arena), .force = true,
                                       .dry_run = true, .timeout_ms = 1500 };
    assert_int_equal(control_request_encode(&request, (void **)&bytes, &len), 0);
    assert_int_equal(control_frame_len(bytes), len - CONTROL_FRAME_SIZE);
    assert_int_equal(control_request_decode(&arena, bytes + 4, len - 4, &back, &why), 0);
    assert_true(back.id == UINT64_MAX && back.force && back.dry_run && back.timeout_ms == 1500);
    assert_string_equal(back.op, "vip.add");
    assert_true(value_equal(back.args, request.args));
    assert_null(why);
    free(bytes);

    request = (struct control_request){ .op = "status" };
    assert_int_equal(control_request_encode(&request, (void **)&bytes, &len), 0);
    assert_int_equal(control_request_decode(&arena, bytes + 4, len - 4, &back, &why), 0);
    assert_true(value_is(back.args, VALUE_MAP) && back.args->n == 0);
    assert_false(back.force);
    free(bytes);
    value_arena_close(&arena);
}

static void refused(const char *bytes, size_t len, const char *word)
{
    struct value_arena arena;
    struct control_request request;
    const char *why = "";

    value_arena_init(&arena, ARENA);
    assert_true(control_request_decode(&arena, bytes, len, &request, &why) < 0);
    assert_non_null(strstr(why, word));
    value_arena_close(&arena);
}
#define REFUSED(literal, word) refused(literal, sizeof(literal) - 1, word)

static void test_requests_that_are_refused(void **state)
{
    REFUSED("\x90", "not a map");
    REFUSED("\x80", "another version");
    REFUSED("\x81\xa1v\x02", "another version");
    REFUSED("\x81\xa1v\x01", "no operation");
    REFUSED("\x82\xa1v\x01\xa2op\xa0", "no operation");
    REFUSED("\x82\xa1v\x01\xa2op\x05", "no operation");
    REFUSED("\x82\xa1v\x01\xa2op\xd9\x20xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "no operation");
    REFUSED("\x83\xa1v\x01\xa2op\xa1x\xa4"
            "args\x90",
            "not a map");
    REFUSED("\xff\xff", "malformed");
    REFUSED("\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\xc0", "limit");
}

static void test_reply_round_trip(void **state)
{
    struct value_arena arena;
    struct control_reply back;
    unsigned char *bytes;
    size_t len;

    value_arena_init(&arena, ARENA);
    struct control_reply reply = { .code = CONTROL_CONFLICT, .error = "taken", .hint = "use another", .index = 77,
                                   
                                   .retry = true, .local = true, .result = sample(&arena) };
    assert_int_equal(control_reply_encode(&reply, (void **)&bytes, &len), 0);
    assert_int_equal(control_reply_decode(&arena, bytes + 4, len - 4, &back), 0);
    assert_int_equal(back.code, CONTROL_CONFLICT);
    assert_string_equal(back.error, "taken");
    assert_string_equal(back.hint, "use another");
    assert_true(back.index == 77 && back.retry && back.local && value_equal(back.result, reply.result));
    free(bytes);
    assert_int_equal(control_reply_decode(&arena, "\x82\xa1v\x01\xa4"
                                                  "code\x63",
                                          10, &back),
                     0);
    assert_int_equal(back.code, CONTROL_FAILED); /* a code of a newer daemon */
    assert_int_equal(control_reply_decode(&arena, "\x81\xa1v\x01", 4, &back), -EBADMSG);
    assert_int_equal(control_reply_decode(&arena, "\xc0", 1, &back), -EBADMSG);
    value_arena_close(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_nesting_has_a_limit),
        cmocka_unit_test(test_claims_are_not_believed),
        cmocka_unit_test(test_foreign_types_are_refused),
        cmocka_unit_test(test_limits_of_size),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_a_full_arena_is_told_once),
        cmocka_unit_test(test_readers_take_anything),
        cmocka_unit_test(test_request_round_trip),
        cmocka_unit_test(test_requests_that_are_refused),
        cmocka_unit_test(test_reply_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
