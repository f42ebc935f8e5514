/* Trees of plain values (wire/value.h). */

#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "wire/control.h"
#include "wire/value.h"

#define RESERVE 4

static void round_trip(const struct value *was, size_t size)
{
    struct value_arena arena;
    const struct value *is;
    void *bytes, *bytes_again;
    size_t len, len_again;

    value_arena_init(&arena, CONTROL_REQUEST_ARENA_MAX);
    FUZZ_CHECK(value_equal(was, was));
    FUZZ_CHECK(value_encode(was, RESERVE, size, &bytes, &len) == 0 && len <= size + RESERVE);
    FUZZ_CHECK(value_decode(&arena, (uint8_t *)bytes + RESERVE, len - RESERVE, &is) == 0);
    FUZZ_CHECK(value_equal(was, is));
    FUZZ_CHECK(value_encode(is, RESERVE, size, &bytes_again, &len_again) == 0);
    FUZZ_CHECK(len == len_again && memcmp((uint8_t *)bytes + RESERVE, (uint8_t *)bytes_again + RESERVE, len - RESERVE) == 0);
    free(bytes_again);
    FUZZ_CHECK(value_encode(is, 0, len - RESERVE - 1, &bytes_again, &len_again) == -E2BIG);
    free(bytes);
    value_arena_close(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct value_arena arena;
    const struct value *value;

    value_arena_init(&arena, CONTROL_REQUEST_ARENA_MAX);
    int r = value_decode(&arena, data, size, &value);
    FUZZ_CHECK(arena.used <= arena.limit && !value_failed(&arena));
    FUZZ_CHECK(r == 0 || r == -EBADMSG || r == -E2BIG);
    if (r == 0) {
        round_trip(value, size);
    }
    value_arena_close(&arena);
    return 0;
}
