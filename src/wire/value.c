#include "wire/value.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

struct value *value_text(struct value_arena *arena, const char *text, size_t n)
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
    return text == NULL ? value_nil(arena) : value_text(arena, text, strlen(text));
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

void value_put_kept(struct value_arena *arena, struct value *map, const char *key, struct value *item)
{
    if (map == NULL || item == NULL || key == NULL) {
        arena->failed = true;
        return;
    }
    item->key = key;
    append(map, item);
}

void value_put(struct value_arena *arena, struct value *map, const char *key, struct value *item)
{
    value_put_kept(arena, map, arena_text(arena, key, strlen(key)), item);
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
