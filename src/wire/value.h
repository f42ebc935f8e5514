#ifndef VIPD_WIRE_VALUE_H
#define VIPD_WIRE_VALUE_H

/* Trees of plain values, as the control protocol carries them: nil, bool, integers, strings, arrays and maps with string
 * keys; nothing else. A tree lives in an arena with a limit and is freed with it.
 *
 * Building never needs a check at each step: when the arena is full the makers return NULL, NULL is accepted everywhere
 * and value_failed() tells in the end. Readers accept NULL and values of another type, too, and return the default. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define VALUE_DEPTH_MAX 16          /* arrays and maps within each other */
#define VALUE_STRING_MAX (64 << 10) /* bytes of one string */

enum value_type
{
    VALUE_NIL = 0,
    VALUE_BOOL,
    VALUE_INT,  /* below zero */
    VALUE_UINT, /* zero and above */
    VALUE_STRING,
    VALUE_ARRAY,
    VALUE_MAP,
};

struct value
{
    enum value_type type;
    uint32_t n;         /* bytes of a string without its NUL; items of an array or a map */
    struct value *next; /* in the array or map that it belongs to */
    const char *key;    /* in a map */
    union {
        bool boolean;
        int64_t integer;
        uint64_t unsigned_integer;
        const char *string; /* NUL-terminated, no NUL within */
        struct
        {
            struct value *first, *last;
        } items;
    };
};

struct value_chunk;

struct value_arena
{
    size_t limit; /* bytes */
    size_t used;
    bool failed;
    struct value_chunk *chunks;
};

/* `limit` bounds all that the arena takes from the heap. */
void value_arena_init(struct value_arena *arena, size_t limit);
/* Frees every value of the arena, which may be used again. NULL and a zeroed one are fine. */
void value_arena_close(struct value_arena *arena);
/* Whether something did not fit since the start: the trees are incomplete then. */
bool value_failed(const struct value_arena *arena);

struct value *value_nil(struct value_arena *arena);
struct value *value_bool(struct value_arena *arena, bool boolean);
struct value *value_int(struct value_arena *arena, int64_t integer);
struct value *value_uint(struct value_arena *arena, uint64_t integer);
/* Copies; NULL makes nil. */
struct value *value_string(struct value_arena *arena, const char *text);
/* n bytes without a NUL among them. */
struct value *value_text(struct value_arena *arena, const char *text, size_t n);
struct value *value_format(struct value_arena *arena, const char *format, ...) PRINTF(2, 3);
struct value *value_array(struct value_arena *arena);
struct value *value_map(struct value_arena *arena);

/* Append to an array; put into a map under a key (copied; the caller puts each key once). An item belongs to one
 * container. */
void value_push(struct value_arena *arena, struct value *array, struct value *item);
void value_put(struct value_arena *arena, struct value *map, const char *key, struct value *item);
/* The same with a key that lives as long as the arena: it is not copied. */
void value_put_kept(struct value_arena *arena, struct value *map, const char *key, struct value *item);

/* The same with what is put most. */
void value_put_bool(struct value_arena *arena, struct value *map, const char *key, bool boolean);
void value_put_int(struct value_arena *arena, struct value *map, const char *key, int64_t integer);
void value_put_uint(struct value_arena *arena, struct value *map, const char *key, uint64_t integer);
void value_put_string(struct value_arena *arena, struct value *map, const char *key, const char *text);

/* The first item of that key, or NULL. */
const struct value *value_get(const struct value *map, const char *key);
/* The first item of an array or a map (then ->next), or NULL. */
const struct value *value_first(const struct value *container);

bool value_is(const struct value *value, enum value_type type);
bool value_as_bool(const struct value *value, bool otherwise);
int64_t value_as_int(const struct value *value, int64_t otherwise); /* also `otherwise` when above INT64_MAX */
uint64_t value_as_uint(const struct value *value, uint64_t otherwise); /* also `otherwise` when below zero */
const char *value_as_string(const struct value *value, const char *otherwise);

bool value_equal(const struct value *a, const struct value *b);

/* Decode exactly one value out of exactly len bytes of MessagePack. -EBADMSG: malformed, cut short, with bytes behind
 * its end, or of a type that is not used here (floats, binary, extensions, keys other than strings, strings with a NUL
 * within); -E2BIG: beyond a limit above or that of the arena, which is not marked as failed by this. */
NODISCARD int value_decode(struct value_arena *arena, const void *bytes, size_t len, const struct value **ret);

/* Encode into fresh memory, which the caller frees; `reserve` bytes are left free at its start (for a frame) and
 * counted in *ret_len. -E2BIG: more than `limit` bytes, or too deep; -ENOMEM. */
NODISCARD int value_encode(const struct value *value, size_t reserve, size_t limit, void **ret, size_t *ret_len);

#endif
