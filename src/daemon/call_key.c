/* Calls about the cluster's keys: each is for one node, which does it, or passes it on to that node. `vipctl key rotate`
 * makes of them what a cluster needs, in an order that cuts nobody off. */

#include "daemon/call.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define ID_SIZE 17
#define PATIENCE_MS 1000u

static void put_id(struct value_arena *arena, struct value *list, uint64_t id)
{
    char text[ID_SIZE];
    snprintf(text, sizeof text, "%016" PRIx64, id);
    value_push(arena, list, value_string(arena, text));
}

static bool parse_id(const char *text, uint64_t *ret)
{
    char *end;
    if (!text || strlen(text) != ID_SIZE - 1 || strspn(text, "0123456789abcdef") != ID_SIZE - 1) {
        return false;
    }
    *ret = strtoull(text, &end, 16);
    return *end == '\0';
}

/* What the file has now, which need not be in effect. */
static void put_file(const struct daemon *d, struct value_arena *arena, struct value *result)
{
    struct config_keys file;
    char error[CONFIG_ERROR_SIZE];
    struct value *list = value_array(arena);
    if (config_load_keys(d->config->key_file, &file, error)) {
        value_put_string(arena, result, "file_error", error);
    } else {
        for (unsigned i = 0; i < file.n; i++) {
            put_id(arena, list, tls_key_id(file.key[i]));
        }
        explicit_bzero(&file, sizeof file);
    }
    value_put(arena, result, "file", list);
}

static struct value *show(const struct daemon *d, struct value_arena *arena)
{
    struct value *result = value_map(arena), *keys = value_array(arena);
    uint64_t ids[TLS_KEYS_MAX];
    unsigned n = peers_keys(d->peers, ids), used, other;
    for (unsigned i = 0; i < n; i++) {
        put_id(arena, keys, ids[i]);
    }
    peers_by_key(d->peers, &used, &other);
    value_put_string(arena, result, "node", d->config->node);
    value_put(arena, result, "keys", keys); /* the one in use first */
    put_file(d, arena, result);
    value_put_uint(arena, result, "connections", used);
    value_put_uint(arena, result, "connections_other_key", other);
    return result;
}

static void perform(struct daemon *d, const struct call *call, struct value_arena *arena, struct control_reply *reply)
{
    const char *op = call->request.op;
    const char *key = value_as_string(value_get(call->request.args, "key"), NULL);
    char error[CONFIG_ERROR_SIZE];
    uint64_t id = 0;
    if (strcmp(op, "key.accept") == 0 && keys_accept(d, error)) {
        api_refuse(arena, reply, CONTROL_FAILED, NULL, "node %s: %s", d->config->node, error);
        return;
    }
    if (strcmp(op, "key.use") == 0 && !parse_id(key, &id)) {
        api_refuse(arena, reply, CONTROL_USAGE, "vipctl key list shows them", "a key is named by 16 hexadecimal digits");
        return;
    }
    if (strcmp(op, "key.use") == 0 && keys_use(d, id)) {
        api_refuse(arena, reply, CONTROL_NOT_FOUND, "vipctl key list shows what each node accepts",
                   "node %s does not accept key %s", d->config->node, key);
        return;
    }
    if (strcmp(op, "key.renew") == 0) {
        peers_renew(d->peers);
    } else if (strcmp(op, "key.drop") == 0) {
        keys_drop(d);
    }
    reply->result = show(d, arena);
}

static void answer(struct daemon *d, struct call *call)
{
    struct value_arena arena;
    struct control_reply reply = {0};
    if (strcmp(call->request.op, "key.show") != 0) {
        log_write(LOG_KEYS_ASKED, "what=%s who=\"uid %u on %s\"", call->request.op, call->uid,
                  call->from ? members_name(d, call->from) : d->config->node);
    }
    value_arena_init(&arena, CONTROL_REQUEST_ARENA_MAX);
    perform(d, call, &arena, &reply);
    call_finish(d, call, &reply);
    value_arena_close(&arena);
}

static void refuse(struct daemon *d, struct call *call, enum control_code code, const char *name, const char *why)
{
    struct value_arena arena;
    struct control_reply reply = {0};
    value_arena_init(&arena, CONTROL_REQUEST_ARENA_MAX);
    api_refuse(&arena, &reply, code, "vipctl node list shows the nodes", "node %.100s cannot be asked: %s", name, why);
    call_finish(d, call, &reply);
    value_arena_close(&arena);
}

void call_no_node(struct daemon *d, struct call *call)
{
    const char *name = call->kind == API_HOLDER ? members_name(d, call->leader)
                                                : value_as_string(value_get(call->request.args, "node"), "?");
    refuse(d, call, CONTROL_TIMEOUT, name, "it does not answer");
}

/* A connection that is just being made anew is waited for. */
void call_key(struct daemon *d, struct call *call)
{
    const char *name = value_as_string(value_get(call->request.args, "node"), NULL);
    if (!name || !call->local || strcmp(name, d->config->node) == 0) {
        answer(d, call);
        return;
    }
    int slot = table_node_by_name(d->table, name);
    if (slot == SLOT_NONE) {
        refuse(d, call, CONTROL_NOT_FOUND, name, "there is no such node");
    } else if (call_forward(d, call, d->table->nodes[slot].id)) {
        return;
    } else if (call_now_ms() < call->begun_ms + PATIENCE_MS) {
        call_again(call, CALL_RETRY_MS);
    } else {
        refuse(d, call, CONTROL_FAILED, name, "there is no connection to it");
    }
}
