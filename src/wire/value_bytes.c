/* Trees of values as MessagePack, there and back. */

#include "wire/value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Of msgpack-c: the packing functions, and the parser as a template over our own callbacks. msgpack_unpack_next() is not
 * used: it allocates what a container's header claims before it has seen one item. */
#define MSGPACK_EMBED_STACK_SIZE VALUE_DEPTH_MAX
#include <msgpack/pack.h>
#include <msgpack/unpack.h>
#include <msgpack/unpack_define.h>

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
    return made(value_text(decoding->arena, text, n), ret);
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
    value_push(decoding->arena, *array, item);
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
    if (key->type != VALUE_STRING) {
        return STOP_MALFORMED;
    }
    value_put_kept(decoding->arena, *map, key->string, item);
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
