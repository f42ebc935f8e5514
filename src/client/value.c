/* The public face of wire/value.h: struct vipd_value is struct value, and never defined. */

#include <errno.h>
#include <stdlib.h>

#include "base/near.h"
#include "client/client_private.h"

static struct value *own(struct vipd_value *value)
{
    return (struct value *)value;
}

static const struct value *own_const(const struct vipd_value *value)
{
    return (const struct value *)value;
}

static struct vipd_value *public(struct value *value)
{
    return (struct vipd_value *)value;
}

static const struct vipd_value *public_const(const struct value *value)
{
    return (const struct vipd_value *)value;
}

/* ------------------------------------------------------------------------------------------------------- arguments */

struct vipd_args *vipd_args_new(void)
{
    struct vipd_args *args = malloc(sizeof *args);

    if (args != NULL) {
        value_arena_init(&args->arena, CONTROL_REQUEST_ARENA_MAX);
        args->root = value_map(&args->arena);
    }
    return args;
}

void vipd_args_free(struct vipd_args *args)
{
    if (args != NULL) {
        value_arena_close(&args->arena);
        free(args);
    }
}

struct vipd_value *vipd_args_root(struct vipd_args *args)
{
    return args == NULL ? NULL : public(args->root);
}

struct vipd_value *vipd_new_map(struct vipd_args *args)
{
    return args == NULL ? NULL : public(value_map(&args->arena));
}

struct vipd_value *vipd_new_array(struct vipd_args *args)
{
    return args == NULL ? NULL : public(value_array(&args->arena));
}

struct vipd_value *vipd_new_text(struct vipd_args *args, const char *text)
{
    return args == NULL ? NULL : public(value_string(&args->arena, text));
}

struct vipd_value *vipd_new_int(struct vipd_args *args, int64_t n)
{
    return args == NULL ? NULL : public(value_int(&args->arena, n));
}

struct vipd_value *vipd_new_bool(struct vipd_args *args, bool yes)
{
    return args == NULL ? NULL : public(value_bool(&args->arena, yes));
}

void vipd_put(struct vipd_args *args, struct vipd_value *map, const char *key, struct vipd_value *value)
{
    if (args != NULL) {
        value_put(&args->arena, own(map), key, own(value));
    }
}

void vipd_push(struct vipd_args *args, struct vipd_value *array, struct vipd_value *value)
{
    if (args != NULL) {
        value_push(&args->arena, own(array), own(value));
    }
}

/* --------------------------------------------------------------------------------------------------------- replies */

enum vipd_code vipd_reply_code(const struct vipd_reply *reply)
{
    return (enum vipd_code)reply->reply.code;
}

const char *vipd_reply_error(const struct vipd_reply *reply)
{
    return reply->reply.error;
}

const char *vipd_reply_hint(const struct vipd_reply *reply)
{
    return reply->reply.hint;
}

uint64_t vipd_reply_index(const struct vipd_reply *reply)
{
    return reply->reply.index;
}

bool vipd_reply_local(const struct vipd_reply *reply)
{
    return reply->reply.local;
}

const struct vipd_value *vipd_reply_result(const struct vipd_reply *reply)
{
    return public_const(reply->reply.result);
}

void vipd_reply_free(struct vipd_reply *reply)
{
    if (reply != NULL) {
        value_arena_close(&reply->arena);
        free(reply);
    }
}

/* ---------------------------------------------------------------------------------------------------------- values */

enum vipd_type vipd_type(const struct vipd_value *value)
{
    return value == NULL ? VIPD_NIL : (enum vipd_type)own_const(value)->type;
}

const struct vipd_value *vipd_get(const struct vipd_value *map, const char *key)
{
    return public_const(value_get(own_const(map), key));
}

const struct vipd_value *vipd_first(const struct vipd_value *container)
{
    return public_const(value_first(own_const(container)));
}

const struct vipd_value *vipd_next(const struct vipd_value *item)
{
    return item == NULL ? NULL : public_const(own_const(item)->next);
}

const char *vipd_key(const struct vipd_value *item)
{
    return item == NULL ? NULL : own_const(item)->key;
}

uint32_t vipd_count(const struct vipd_value *container)
{
    enum vipd_type type = vipd_type(container);

    return type == VIPD_ARRAY || type == VIPD_MAP ? own_const(container)->n : 0;
}

bool vipd_bool(const struct vipd_value *value, bool otherwise)
{
    return value_as_bool(own_const(value), otherwise);
}

int64_t vipd_int(const struct vipd_value *value, int64_t otherwise)
{
    return value_as_int(own_const(value), otherwise);
}

uint64_t vipd_uint(const struct vipd_value *value, uint64_t otherwise)
{
    return value_as_uint(own_const(value), otherwise);
}

const char *vipd_text(const struct vipd_value *value, const char *otherwise)
{
    return value_as_string(own_const(value), otherwise);
}

/* ----------------------------------------------------------------------------------------------------------- words */

const char *vipd_near(const char *word, const char *const names[], size_t n)
{
    return near_name(word, names, n);
}

const char *vipd_version(void)
{
    return VIPD_VERSION;
}

_Static_assert((int)VIPD_NIL == (int)VALUE_NIL && (int)VIPD_BOOL == (int)VALUE_BOOL &&
                   (int)VIPD_INT == (int)VALUE_INT && (int)VIPD_UINT == (int)VALUE_UINT &&
                   (int)VIPD_TEXT == (int)VALUE_STRING && (int)VIPD_ARRAY == (int)VALUE_ARRAY &&
                   (int)VIPD_MAP == (int)VALUE_MAP,
               "the public types are the wire's");
_Static_assert((int)VIPD_DONE == (int)CONTROL_DONE && (int)VIPD_FAILED == (int)CONTROL_FAILED &&
                   (int)VIPD_USAGE == (int)CONTROL_USAGE && (int)VIPD_UNSAFE == (int)CONTROL_UNSAFE &&
                   (int)VIPD_NO_QUORUM == (int)CONTROL_NO_QUORUM && (int)VIPD_TIMEOUT == (int)CONTROL_TIMEOUT &&
                   (int)VIPD_NOT_FOUND == (int)CONTROL_NOT_FOUND && (int)VIPD_CONFLICT == (int)CONTROL_CONFLICT,
               "the public codes are the wire's");
