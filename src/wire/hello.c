#include "wire/hello.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/frame.h"
#include "wire/value.h"

/* Memory for one tree: a hello has 16 fields; the limit also bounds what a stranger's 4 KiB can make of it. */
#define ARENA_LIMIT ((size_t)256 << 10)

/* Graphic ASCII without the quote: fit for a log line as it is. A refusal may come from a node that has no name yet. */
static bool is_name(const char *text, size_t size, bool may_be_empty)
{
    size_t n = strnlen(text, size);

    if (n == size || (n == 0 && !may_be_empty)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '!' || text[i] > '~' || text[i] == '"') {
            return false;
        }
    }
    return true;
}

static bool is_sound(const struct hello *hello)
{
    return is_name(hello->cluster, sizeof hello->cluster, hello->refused) &&
           is_name(hello->name, sizeof hello->name, hello->refused) &&
           is_name(hello->version, sizeof hello->version, true) &&
           hello->protocol_min > 0 && hello->protocol_min <= hello->protocol_max &&
           (hello->refused || (hello->from != 0 && hello->run != 0));
}

static struct value *make_tree(struct value_arena *arena, const struct hello *hello)
{
    struct value *map = value_map(arena);

    value_put_uint(arena, map, "protocol_min", hello->protocol_min);
    value_put_uint(arena, map, "protocol_max", hello->protocol_max);
    if (hello->refused) {
        value_put_string(arena, map, "refused", hello->reason);
    }
    if (hello->gone) {
        value_put_bool(arena, map, "gone", true);
    }
    value_put_string(arena, map, "cluster", hello->cluster);
    value_put_uint(arena, map, "cluster_id", hello->cluster_id);
    value_put_string(arena, map, "name", hello->name);
    value_put_uint(arena, map, "from", hello->from);
    value_put_uint(arena, map, "to", hello->to);
    value_put_uint(arena, map, "identity", hello->identity);
    value_put_uint(arena, map, "pinned", hello->pinned);
    value_put_uint(arena, map, "run", hello->run);
    value_put_bool(arena, map, "founded", hello->founded);
    value_put_uint(arena, map, "founders", hello->founders);
    value_put_string(arena, map, "version", hello->version);
    value_put_uint(arena, map, "format", hello->format);
    value_put_uint(arena, map, "last_term", hello->last_term);
    value_put_uint(arena, map, "last_index", hello->last_index);
    value_put_uint(arena, map, "seen_run", hello->seen_run);
    value_put_uint(arena, map, "seen_term", hello->seen_term);
    value_put_uint(arena, map, "seen_index", hello->seen_index);
    value_put_uint(arena, map, "link", hello->link);
    return map;
}

int hello_encode(const struct hello *hello, void *buf, size_t size, size_t *ret_len)
{
    struct value_arena arena;
    void *bytes;
    size_t len;

    if (!is_sound(hello) || strnlen(hello->reason, sizeof hello->reason) == sizeof hello->reason) {
        return -EINVAL;
    }
    value_arena_init(&arena, ARENA_LIMIT);
    struct value *tree = make_tree(&arena, hello);
    int r = value_failed(&arena) ? -ENOMEM : value_encode(tree, 0, size, &bytes, &len);
    value_arena_close(&arena);
    if (r < 0) {
        return r == -E2BIG ? -ENOBUFS : r;
    }
    memcpy(buf, bytes, len);
    free(bytes);
    *ret_len = len;
    return 0;
}

/* The fields of a map, with one verdict in the end. */
struct fields
{
    const struct value *map;
    bool bad;
};

static uint64_t take_number(struct fields *fields, const char *key, uint64_t max)
{
    const struct value *value = value_get(fields->map, key);
    uint64_t number = value_as_uint(value, 0);

    if (!value_is(value, VALUE_UINT) || number > max) {
        fields->bad = true;
        return 0;
    }
    return number;
}

static bool take_bool(struct fields *fields, const char *key)
{
    const struct value *value = value_get(fields->map, key);

    fields->bad = fields->bad || !value_is(value, VALUE_BOOL);
    return value_as_bool(value, false);
}

static void take_text(struct fields *fields, const char *key, char *ret, size_t size)
{
    const struct value *value = value_get(fields->map, key);
    const char *text = value_as_string(value, "");

    if (!value_is(value, VALUE_STRING) || strlen(text) >= size) {
        fields->bad = true;
        return;
    }
    memcpy(ret, text, strlen(text) + 1);
}

/* Only to be shown: cut and cleaned rather than refused. */
static void take_reason(const char *text, char ret[HELLO_REASON_SIZE])
{
    snprintf(ret, HELLO_REASON_SIZE, "%s", text);
    for (char *c = ret; *c != '\0'; c++) {
        if (*c < ' ' || *c > '~' || *c == '"') {
            *c = '?';
        }
    }
}

static void take_fields(struct fields *fields, struct hello *ret)
{
    const struct value *refused = value_get(fields->map, "refused");

    if (refused != NULL) {
        ret->refused = true;
        take_reason(value_as_string(refused, "no reason given"), ret->reason);
    }
    if (value_get(fields->map, "gone") != NULL) {
        ret->gone = take_bool(fields, "gone");
    }
    ret->protocol_min = (uint32_t)take_number(fields, "protocol_min", UINT32_MAX);
    ret->protocol_max = (uint32_t)take_number(fields, "protocol_max", UINT32_MAX);
    take_text(fields, "cluster", ret->cluster, sizeof ret->cluster);
    ret->cluster_id = take_number(fields, "cluster_id", UINT64_MAX);
    take_text(fields, "name", ret->name, sizeof ret->name);
    ret->from = take_number(fields, "from", UINT64_MAX);
    ret->to = take_number(fields, "to", UINT64_MAX);
    ret->identity = take_number(fields, "identity", UINT64_MAX);
    ret->pinned = take_number(fields, "pinned", UINT64_MAX);
    ret->run = take_number(fields, "run", UINT64_MAX);
    ret->founded = take_bool(fields, "founded");
    ret->founders = take_number(fields, "founders", UINT64_MAX);
    take_text(fields, "version", ret->version, sizeof ret->version);
    ret->format = (uint32_t)take_number(fields, "format", UINT32_MAX);
    ret->last_term = take_number(fields, "last_term", UINT64_MAX);
    ret->last_index = take_number(fields, "last_index", UINT64_MAX);
    ret->seen_run = take_number(fields, "seen_run", UINT64_MAX);
    ret->seen_term = take_number(fields, "seen_term", UINT64_MAX);
    ret->seen_index = take_number(fields, "seen_index", UINT64_MAX);
    ret->link = take_number(fields, "link", UINT64_MAX);
}

int hello_decode(const void *data, size_t len, struct hello *ret)
{
    struct value_arena arena;
    struct fields fields = {0};
    struct hello hello = {0};

    if (len > channel_max(CHANNEL_HELLO)) {
        return -E2BIG;
    }
    value_arena_init(&arena, ARENA_LIMIT);
    int r = value_decode(&arena, data, len, &fields.map);
    if (r == 0) {
        take_fields(&fields, &hello);
        r = fields.bad || !is_sound(&hello) ? -EBADMSG : 0;
    }
    value_arena_close(&arena);
    if (r == 0) {
        *ret = hello;
    }
    return r;
}

uint32_t hello_protocol(const struct hello *a, const struct hello *b)
{
    uint32_t low = a->protocol_min > b->protocol_min ? a->protocol_min : b->protocol_min;
    uint32_t high = a->protocol_max < b->protocol_max ? a->protocol_max : b->protocol_max;

    return low <= high ? high : 0;
}
