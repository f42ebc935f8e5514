#include "wire/value.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of msgpack-c: the packing functions, and the parser as a template over our own callbacks. msgpack_unpack_next() is not
 * used: it allocates what a container's header claims before it has seen one item. */
#define MSGPACK_EMBED_STACK_SIZE VALUE_DEPTH_MAX
#include <msgpack/pack.h>
#include <msgpack/unpack.h>
#include <msgpack/unpack_define.h>

/* ------------------------------------------------------------------------------------------------------------ arena */

#define CHUNK_FIRST ((size_t)4 << 10)
#define CHUNK_MAX ((size_t)1 << 20)

struct value_chunk
{
    struct value_chunk *next;
    size_t size, used;
    _Alignas(16) unsigned char bytes[];
};

void value_arena_init(struct value_arena *arena, size_t limit)
{
    *arena = (struct value_arena){ .limit = limit };
}

void value_arena_close(struct value_arena *arena)
{
    if (arena == NULL) {
        return;
    }
    while (arena->chunks != NULL) {
        struct value_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        free(chunk);
    }
    value_arena_init(arena, arena->limit);
}

bool value_failed(const struct value_arena *arena)
{
    return arena->failed;
}

static struct value_chunk *arena_grow(struct value_arena *arena, size_t least)
{
    size_t size = arena->chunks == NULL ? CHUNK_FIRST : arena->chunks->size * 2;
    size_t left = arena->limit - arena->used;

    if (size > CHUNK_MAX) {
        size = CHUNK_MAX;
    }
    if (size < least) {
        size = least;
    }
    if (size > left) {
        size = left;
    }
    if (size < least) {
        return NULL;
    }
    struct value_chunk *chunk = malloc(sizeof *chunk + size);
    if (chunk == NULL) {
        return NULL;
    }
    chunk->next = arena->chunks;
    chunk->size = size;
    chunk->used = 0;
    arena->used += size;
    arena->chunks = chunk;
    return chunk;
}

static void *arena_take(struct value_arena *arena, size_t n)
{
    struct value_chunk *chunk = arena->chunks;

    n = (n + 15) & ~(size_t)15;
    if (chunk == NULL || chunk->size - chunk->used < n) {
        chunk = arena_grow(arena, n);
    }
    if (chunk == NULL) {
        arena->failed = true;
        return NULL;
    }
    void *bytes = chunk->bytes + chunk->used;
    chunk->used += n;
    return bytes;
}

static const char *arena_text(struct value_arena *arena, const char *text, size_t n)
{
    char *copy = arena_take(arena, n + 1);

    if (copy != NULL) {
        if (n > 0) {
            memcpy(copy, text, n);
        }
        copy[n] = '\0';
    }
    return copy;
}

/* --------------------------------------------------------------------------------------------------------- building */

static struct value *make(struct value_arena *arena, enum value_type type)
{
    struct value *value = arena_take(arena, sizeof *value);

    if (value != NULL) {
        memset(value, 0, sizeof *value);
        value->type = type;
    }
    return value;
}

struct value *value_nil(struct value_arena *arena)
{
    return make(arena, VALUE_NIL);
}

struct value *value_bool(struct value_arena *arena, bool boolean)
{
    struct value *value = make(arena, VALUE_BOOL);

    if (value != NULL) {
        value->boolean = boolean;
    }
    return value;
}

struct value *value_uint(struct value_arena *arena, uint64_t integer)
{
    struct value *value = make(arena, VALUE_UINT);

    if (value != NULL) {
        value->unsigned_integer = integer;
    }
    return value;
}

struct value *value_int(struct value_arena *arena, int64_t integer)
{
    if (integer >= 0) {
        return value_uint(arena, (uint64_t)integer);
    }
    struct value *value = make(arena, VALUE_INT);
    if (value != NULL) {
        value->integer = integer;
    }
    return value;
}

static struct value *make_string(struct value_arena *arena, const char *text, size_t n)
{
    if (n > VALUE_STRING_MAX) {
        arena->failed = true;
        return NULL;
    }
    const char *copy = arena_text(arena, text, n);
    struct value *value = copy == NULL ? NULL : make(arena, VALUE_STRING);
    if (value != NULL) {
        value->string = copy;
        value->n = (uint32_t)n;
    }
    return value;
}

struct value *value_string(struct value_arena *arena, const char *text)
{
    return text == NULL ? value_nil(arena) : make_string(arena, text, strlen(text));
}

struct value *value_format(struct value_arena *arena, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return value_string(arena, n < 0 ? NULL : text);
}

struct value *value_array(struct value_arena *arena)
{
    return make(arena, VALUE_ARRAY);
}

struct value *value_map(struct value_arena *arena)
{
    return make(arena, VALUE_MAP);
}

static void append(struct value *container, struct value *item)
{
    if (container->items.last == NULL) {
        container->items.first = item;
    } else {
        container->items.last->next = item;
    }
    container->items.last = item;
    container->n++;
}

void value_push(struct value_arena *arena, struct value *array, struct value *item)
{
    if (array == NULL || item == NULL) {
        arena->failed = true;
        return;
    }
    append(array, item);
}

void value_put(struct value_arena *arena, struct value *map, const char *key, struct value *item)
{
    const char *copy = item == NULL ? NULL : arena_text(arena, key, strlen(key));

    if (map == NULL || copy == NULL) {
        arena->failed = true;
        return;
    }
    item->key = copy;
    append(map, item);
}

void value_put_bool(struct value_arena *arena, struct value *map, const char *key, bool boolean)
{
    value_put(arena, map, key, value_bool(arena, boolean));
}

void value_put_int(struct value_arena *arena, struct value *map, const char *key, int64_t integer)
{
    value_put(arena, map, key, value_int(arena, integer));
}

void value_put_uint(struct value_arena *arena, struct value *map, const char *key, uint64_t integer)
{
    value_put(arena, map, key, value_uint(arena, integer));
}

void value_put_string(struct value_arena *arena, struct value *map, const char *key, const char *text)
{
    value_put(arena, map, key, value_string(arena, text));
}

/* ---------------------------------------------------------------------------------------------------------- reading */

bool value_is(const struct value *value, enum value_type type)
{
    return value != NULL && value->type == type;
}

const struct value *value_first(const struct value *container)
{
    return value_is(container, VALUE_ARRAY) || value_is(container, VALUE_MAP) ? container->items.first : NULL;
}

const struct value *value_get(const struct value *map, const char *key)
{
    if (!value_is(map, VALUE_MAP)) {
        return NULL;
    }
    for (const struct value *item = map->items.first; item != NULL; item = item->next) {
        if (strcmp(item->key, key) == 0) {
            return item;
        }
    }
    return NULL;
}

bool value_as_bool(const struct value *value, bool otherwise)
{
    return value_is(value, VALUE_BOOL) ? value->boolean : otherwise;
}

int64_t value_as_int(const struct value *value, int64_t otherwise)
{
    if (value_is(value, VALUE_INT)) {
        return value->integer;
    }
    if (value_is(value, VALUE_UINT) && value->unsigned_integer <= INT64_MAX) {
        return (int64_t)value->unsigned_integer;
    }
    return otherwise;
}

uint64_t value_as_uint(const struct value *value, uint64_t otherwise)
{
    return value_is(value, VALUE_UINT) ? value->unsigned_integer : otherwise;
}

const char *value_as_string(const struct value *value, const char *otherwise)
{
    return value_is(value, VALUE_STRING) ? value->string : otherwise;
}

static bool items_equal(const struct value *a, const struct value *b)
{
    const struct value *x = a->items.first, *y = b->items.first;

    for (; x != NULL && y != NULL; x = x->next, y = y->next) {
        if (a->type == VALUE_MAP && strcmp(x->key, y->key) != 0) {
            return false;
        }
        if (!value_equal(x, y)) {
            return false;
        }
    }
    return x == y;
}

bool value_equal(const struct value *a, const struct value *b)
{
    if (a->type != b->type) {
        return false;
    }
    switch (a->type) {
    case VALUE_NIL:
        return true;
    case VALUE_BOOL:
        return a->boolean == b->boolean;
    case VALUE_INT:
        return a->integer == b->integer;
    case VALUE_UINT:
        return a->unsigned_integer == b->unsigned_integer;
    case VALUE_STRING:
        return strcmp(a->string, b->string) == 0;
    case VALUE_ARRAY:
    case VALUE_MAP:
        return items_equal(a, b);
    }
    abort();
}

/* --------------------------------------------------------------------------------------------------------- decoding */

/* Why the parser was told to stop. */
enum stop
{
    STOP_MALFORMED = MSGPACK_UNPACK_PARSE_ERROR,
    STOP_LIMIT = MSGPACK_UNPACK_NOMEM_ERROR, /* the parser's own for containers that are too deep */
};

struct decoding
{
    struct value_arena *arena;
};

/* The parser's callbacks: each makes one value, or stops the parser with a negative number. */

static inline int made(struct value *value, struct value **ret)
{
    if (value == NULL) {
        return STOP_LIMIT;
    }
    *ret = value;
    return 0;
}

#define DECODE_INTEGER(name, c_type, maker, wide)                                          \
    static inline int decode_##name(struct decoding *decoding, c_type n, struct value **ret) \
    {                                                                                      \
        return made(maker(decoding->arena, (wide)n), ret);                                 \
    }
DECODE_INTEGER(uint8, uint8_t, value_uint, uint64_t)
DECODE_INTEGER(uint16, uint16_t, value_uint, uint64_t)
DECODE_INTEGER(uint32, uint32_t, value_uint, uint64_t)
DECODE_INTEGER(uint64, uint64_t, value_uint, uint64_t)
DECODE_INTEGER(int8, int8_t, value_int, int64_t)
DECODE_INTEGER(int16, int16_t, value_int, int64_t)
DECODE_INTEGER(int32, int32_t, value_int, int64_t)
DECODE_INTEGER(int64, int64_t, value_int, int64_t)
#undef DECODE_INTEGER

static inline struct value *decode_root(struct decoding *decoding)
{
    (void)decoding;
    return NULL;
}

static inline int decode_nil(struct decoding *decoding, struct value **ret)
{
    return made(value_nil(decoding->arena), ret);
}

static inline int decode_true(struct decoding *decoding, struct value **ret)
{
    return made(value_bool(decoding->arena, true), ret);
}

static inline int decode_false(struct decoding *decoding, struct value **ret)
{
    return made(value_bool(decoding->arena, false), ret);
}

static inline int decode_float(struct decoding *decoding, float n, struct value **ret)
{
    (void)decoding, (void)n, (void)ret;
    return STOP_MALFORMED;
}

static inline int decode_double(struct decoding *decoding, double n, struct value **ret)
{
    (void)decoding, (void)n, (void)ret;
    return STOP_MALFORMED;
}

static inline int decode_str(struct decoding *decoding, const char *base, const char *text, unsigned n,
                             struct value **ret)
{
    (void)base;
    if (n > VALUE_STRING_MAX) {
        return STOP_LIMIT;
    }
    if (n > 0 && memchr(text, '\0', n) != NULL) {
        return STOP_MALFORMED;
    }
    return made(make_string(decoding->arena, text, n), ret);
}

static inline int decode_bin(struct decoding *decoding, const char *base, const char *bytes, unsigned n,
                             struct value **ret)
{
    (void)decoding, (void)base, (void)bytes, (void)n, (void)ret;
    return STOP_MALFORMED;
}

static inline int decode_ext(struct decoding *decoding, const char *base, const char *bytes, unsigned n,
                             struct value **ret)
{
    (void)decoding, (void)base, (void)bytes, (void)n, (void)ret;
    return STOP_MALFORMED;
}

static inline int decode_array(struct decoding *decoding, unsigned n, struct value **ret)
{
    (void)n; /* a claim: nothing is allocated for it */
    return made(value_array(decoding->arena), ret);
}

static inline int decode_array_item(struct decoding *decoding, struct value **array, struct value *item)
{
    (void)decoding;
    append(*array, item);
    return 0;
}

static inline int decode_map(struct decoding *decoding, unsigned n, struct value **ret)
{
    (void)n;
    return made(value_map(decoding->arena), ret);
}

static inline int decode_map_item(struct decoding *decoding, struct value **map, struct value *key,
                                  struct value *item)
{
    (void)decoding;
    if (key->type != VALUE_STRING) {
        return STOP_MALFORMED;
    }
    item->key = key->string;
    append(*map, item);
    return 0;
}

#define msgpack_unpack_struct(name) struct decoder##name
#define msgpack_unpack_func(ret, name) static inline ret decoder##name
#define msgpack_unpack_callback(name) decode##name
#define msgpack_unpack_object struct value *
#define msgpack_unpack_user struct decoding
#include <msgpack/unpack_template.h>

int value_decode(struct value_arena *arena, const void *bytes, size_t len, const struct value **ret)
{
    struct decoder_context context;
    size_t at = 0;
    bool failed = arena->failed;

    memset(&context, 0, sizeof context);
    context.user.arena = arena;
    decoder_init(&context);
    int r = decoder_execute(&context, bytes, len, &at);
    arena->failed = failed;
    if (r < 0) {
        return r == STOP_LIMIT ? -E2BIG : -EBADMSG;
    }
    if (r == 0 || at != len) {
        return -EBADMSG;
    }
    *ret = decoder_data(&context);
    return 0;
}

/* --------------------------------------------------------------------------------------------------------- encoding */

struct encoding
{
    char *bytes;
    size_t n, size, limit;
    int error;
};

static int encoding_write(void *user, const char *bytes, size_t n)
{
    struct encoding *encoding = user;

    if (n > encoding->limit - encoding->n) {
        encoding->error = -E2BIG;
        return -1;
    }
    if (n > encoding->size - encoding->n) {
        size_t size = encoding->size * 2;
        while (size - encoding->n < n) {
            size *= 2;
        }
        char *grown = realloc(encoding->bytes, size);
        if (grown == NULL) {
            encoding->error = -ENOMEM;
            return -1;
        }
        encoding->bytes = grown;
        encoding->size = size;
    }
    memcpy(encoding->bytes + encoding->n, bytes, n);
    encoding->n += n;
    return 0;
}

static int pack_text(msgpack_packer *packer, const char *text, size_t n)
{
    int r = msgpack_pack_str(packer, n);

    return r < 0 ? r : msgpack_pack_str_body(packer, text, n);
}

/* -1: encoding->error tells. */
static int pack(msgpack_packer *packer, const struct value *value, int depth)
{
    int r;

    switch (value->type) {
    case VALUE_NIL:
        return msgpack_pack_nil(packer);
    case VALUE_BOOL:
        return value->boolean ? msgpack_pack_true(packer) : msgpack_pack_false(packer);
    case VALUE_INT:
        return msgpack_pack_int64(packer, value->integer);
    case VALUE_UINT:
        return msgpack_pack_uint64(packer, value->unsigned_integer);
    case VALUE_STRING:
        return pack_text(packer, value->string, value->n);
    case VALUE_ARRAY:
    case VALUE_MAP:
        if (depth >= VALUE_DEPTH_MAX) {
            ((struct encoding *)packer->data)->error = -E2BIG;
            return -1;
        }
        r = value->type == VALUE_MAP ? msgpack_pack_map(packer, value->n) : msgpack_pack_array(packer, value->n);
        for (const struct value *item = value->items.first; r >= 0 && item != NULL; item = item->next) {
            r = value->type == VALUE_MAP ? pack_text(packer, item->key, strlen(item->key)) : 0;
            r = r < 0 ? r : pack(packer, item, depth + 1);
        }
        return r;
    }
    abort();
}

int value_encode(const struct value *value, size_t reserve, size_t limit, void **ret, size_t *ret_len)
{
    struct encoding encoding = { .size = 512 + reserve, .n = reserve };
    msgpack_packer packer;

    encoding.limit = limit > SIZE_MAX - reserve ? SIZE_MAX : limit + reserve;
    encoding.bytes = malloc(encoding.size);
    if (encoding.bytes == NULL) {
        return -ENOMEM;
    }
    msgpack_packer_init(&packer, &encoding, encoding_write);
    if (pack(&packer, value, 0) < 0) {
        free(encoding.bytes);
        return encoding.error;
    }
    *ret = encoding.bytes;
    *ret_len = encoding.n;
    return 0;
}
