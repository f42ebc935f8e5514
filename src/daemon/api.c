#include "daemon/api_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/near.h"

/* ------------------------------------------------------------------------------------------------------- operations */

static const struct
{
    const char *op;
    enum api_kind kind;
} operations[] = {
    { "status", API_READ },
    { "vip.list", API_READ },
    { "vip.show", API_READ },
    { "node.list", API_READ },
    { "node.show", API_READ },
    { "history", API_READ },
    { "leader", API_READ },
    { "explain", API_READ },
    { "plan", API_READ },
    { "settings", API_READ },
    { "diff", API_READ },
    { "export", API_READ },
    { "revisions", API_READ },
    { "daemon", API_OWN },
    { "doctor", API_OWN },
    { "version", API_OWN },
    { "wait", API_WAIT },
    { "events", API_EVENTS },
    { "vip.announce", API_HOLDER },
    { "vip.add", API_CHANGE },
    { "vip.set", API_CHANGE },
    { "vip.del", API_CHANGE },
    { "vip.move", API_CHANGE },
    { "vip.enable", API_CHANGE },
    { "vip.disable", API_CHANGE },
    { "drain", API_CHANGE },
    { "undrain", API_CHANGE },
    { "settings.set", API_CHANGE },
    { "apply", API_CHANGE },
    { "rollback", API_CHANGE },
    { "node.add", API_CHANGE },
    { "node.set", API_CHANGE },
    { "node.remove", API_CHANGE },
#if VIPD_PRETEND_FORMAT
    { "mark", API_CHANGE },
#endif
    { "check.list", API_READ },
    { "check.show", API_READ },
    { "check.own", API_OWN },
    { "hook.own", API_OWN },
    { "check.add", API_CHANGE },
    { "check.set", API_CHANGE },
    { "check.del", API_CHANGE },
    { "maintenance.plan", API_READ },
    { "maintenance.show", API_READ },
    { "maintenance.begin", API_CHANGE },
    { "maintenance.claim", API_CHANGE },
    { "maintenance.beat", API_CHANGE },
    { "maintenance.end", API_CHANGE },
    { "maintenance.pause", API_CHANGE },
    { "maintenance.resume", API_CHANGE },
    { "maintenance.abort", API_CHANGE },
    { "leader.transfer", API_DAEMON },
    { "key.show", API_NODE },
    { "key.accept", API_NODE },
    { "key.use", API_NODE },
    { "key.renew", API_NODE },
    { "key.drop", API_NODE },
};
#define OPERATIONS_N (sizeof operations / sizeof operations[0])

enum api_kind api_kind(const char *op)
{
    for (size_t i = 0; i < OPERATIONS_N; i++) {
        if (strcmp(operations[i].op, op) == 0) {
            return operations[i].kind;
        }
    }
    return API_UNKNOWN;
}

/* -------------------------------------------------------------------------------------------------------- arguments */

const struct value *api_arg(const struct api_call *call, const char *key)
{
    return value_get(call->request->args, key);
}

const char *api_arg_text(const struct api_call *call, const char *key)
{
    return value_as_string(api_arg(call, key), NULL);
}

int api_vip_slot(const struct table *table, const char *name)
{
    struct prefix prefix;
    int slot = table_vip_find(table, name);

    if (slot == SLOT_NONE && prefix_parse(name, &prefix, NULL) == 0) {
        slot = table_vip_by_addr(table, &prefix.addr);
    }
    return slot != SLOT_NONE && table->vips[slot].deleted ? SLOT_NONE : slot;
}

/* The near name is looked for among the first of a large table only: the comparison is not free. */
#define NEAR_NAMES_MAX 512

int api_find_vip(const struct api_call *call, const char *name)
{
    const struct table *table = call->view->table;
    const char *names[NEAR_NAMES_MAX];
    size_t n = 0;
    int slot = api_vip_slot(table, name);

    if (slot != SLOT_NONE) {
        return slot;
    }
    for (int i = 0; i < table->vips_end && n < NEAR_NAMES_MAX; i++) {
        if (table->vips[i].used && !table->vips[i].deleted) {
            names[n++] = table->vips[i].name;
        }
    }
    const char *near = near_name(name, names, n);
    if (near != NULL) {
        return api_no(call, CONTROL_NOT_FOUND, "vipctl vip list shows what there is",
                      "there is no VIP \"%.100s\"; did you mean \"%s\"?", name, near);
    }
    return api_no(call, CONTROL_NOT_FOUND, "vipctl vip list shows what there is", "there is no VIP \"%.100s\"", name);
}

int api_node_slot(const struct table *table, const char *name)
{
    struct endpoint at;
    struct addr addr;
    int found = table_node_by_name(table, name);
    bool whole = endpoint_parse(name, &at) == 0, bare = addr_parse(name, &addr) == 0;

    for (int slot = 0; found == SLOT_NONE && (whole || bare) && slot < NODES_MAX; slot++) {
        const struct node *node = &table->nodes[slot];
        bool is_it = node->used && addr_equal(&node->at.addr, whole ? &at.addr : &addr) &&
                     (!whole || node->at.port == at.port);
        if (is_it) {
            found = slot;
        }
    }
    for (int slot = found + 1; found != SLOT_NONE && bare && slot < NODES_MAX; slot++) {
        if (table->nodes[slot].used && addr_equal(&table->nodes[slot].at.addr, &addr)) {
            return SLOT_NONE; /* several daemons of one host: the port tells them apart */
        }
    }
    return found;
}

int api_find_node(const struct api_call *call, const char *name)
{
    const struct table *table = call->view->table;
    const char *names[NODES_MAX];
    size_t n = 0;
    int slot = api_node_slot(table, name);

    if (slot != SLOT_NONE) {
        return slot;
    }
    for (int i = 0; i < NODES_MAX; i++) {
        if (table->nodes[i].used) {
            names[n++] = table->nodes[i].name;
        }
    }
    const char *near = near_name(name, names, n);
    if (near != NULL) {
        return api_no(call, CONTROL_NOT_FOUND, "vipctl node list shows what there is",
                      "there is no node \"%.100s\"; did you mean \"%s\"?", name, near);
    }
    return api_no(call, CONTROL_NOT_FOUND, "vipctl node list shows what there is", "there is no node \"%.100s\"",
                  name);
}

const char *api_node_name(const struct table *table, int node)
{
    return node >= 0 && node < NODES_MAX && table->nodes[node].used ? table->nodes[node].name : NULL;
}

void api_loads(const struct table *table, uint32_t ret[NODES_MAX])
{
    memset(ret, 0, NODES_MAX * sizeof ret[0]);
    for (int i = 0; i < table->vips_end; i++) {
        if (table->vips[i].used && table->vips[i].owner >= 0) {
            ret[table->vips[i].owner]++;
        }
    }
}

/* ---------------------------------------------------------------------------------------------------------- replies */

void api_refuse(struct value_arena *arena, struct control_reply *ret, enum control_code code, const char *hint,
                const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    *ret = (struct control_reply){ .code = code, .hint = hint };
    ret->error = value_as_string(value_string(arena, n < 0 ? NULL : text), "refused; there was no memory to say why");
}

void api_no_quorum(struct control_reply *ret)
{
    *ret = (struct control_reply){
        .code = CONTROL_NO_QUORUM,
        .error = "no quorum: there is no leader, so nothing can be changed now",
        .hint = "vipctl status and vipctl doctor show which nodes are missing",
        .retry = true,
    };
}

static enum control_code code_of(enum outcome_code code)
{
    switch (code) {
    case OUTCOME_DONE:
        return CONTROL_DONE;
    case OUTCOME_STALE:
    case OUTCOME_CONFLICT:
        return CONTROL_CONFLICT;
    case OUTCOME_NOT_FOUND:
        return CONTROL_NOT_FOUND;
    case OUTCOME_INVALID:
        return CONTROL_USAGE;
    case OUTCOME_LIMIT:
    case OUTCOME_FAILED:
        return CONTROL_FAILED;
    case OUTCOME_UNSAFE:
        return CONTROL_UNSAFE;
    case OUTCOME_NO_QUORUM:
        return CONTROL_NO_QUORUM;
    case OUTCOME_TIMEOUT:
        return CONTROL_TIMEOUT;
    }
    return CONTROL_FAILED;
}

static const char *hint_of(enum outcome_code code)
{
    switch (code) {
    case OUTCOME_UNSAFE:
        return "--force does it nevertheless";
    case OUTCOME_STALE:
        return "it was changed at the same time: look at it and try again";
    case OUTCOME_NO_QUORUM:
        return "vipctl status and vipctl doctor show which nodes are missing";
    case OUTCOME_LIMIT:
        return "docs/limits.md states the limits";
    case OUTCOME_DONE:
    case OUTCOME_CONFLICT:
    case OUTCOME_NOT_FOUND:
    case OUTCOME_INVALID:
    case OUTCOME_TIMEOUT:
    case OUTCOME_FAILED:
        return NULL;
    }
    return NULL;
}

const char *api_named(const struct control_request *request, const struct value *item)
{
    const char *renamed = value_as_string(value_get(value_get(request->args, "set"), "name"), "");

    if (strcmp(request->op, "vip.set") == 0 && renamed[0] != '\0') {
        return renamed;
    }
    return value_as_string(item, value_as_string(value_get(item, "address"), ""));
}

/* The VIPs that a request named, as they are now. */
static struct value *outcome_vips(const struct api_call *call)
{
    const struct value *named = api_arg(call, "vips");
    struct value *rows = value_array(call->arena);

    for (const struct value *item = value_first(named); item != NULL; item = item->next) {
        int slot = api_vip_slot(call->view->table, api_named(call->request, item));
        if (slot != SLOT_NONE) {
            value_push(call->arena, rows, api_vip_row(call, slot));
        }
    }
    return rows;
}

static struct value *wait_for(const struct api_view *view, const struct control_request *request,
                              struct value_arena *arena)
{
    if (!api_has_document(request->op)) {
        return api_wait_for(arena, request);
    }
    /* A request that was done before is not judged again, so what it changed is not known any more: all VIPs. */
    return view->note != NULL && view->note->wait != NULL ? view->note->wait : value_map(arena);
}

void api_outcome(const struct api_view *view, const struct control_request *request, const struct outcome *outcome,
                 struct value_arena *arena, struct control_reply *ret)
{
    struct control_reply reply = { .code = code_of(outcome->code), .hint = hint_of(outcome->code),
                                   .index = outcome->index };
    const struct api_call call = { view, request, arena, &reply };

    reply.retry = outcome->code == OUTCOME_STALE || outcome->code == OUTCOME_NO_QUORUM;
    if (outcome->code != OUTCOME_DONE) {
        const char *detail = outcome->detail[0] != '\0' ? outcome->detail : "refused";
        reply.error = value_as_string(value_string(arena, detail), "refused; there was no memory to say why");
        *ret = reply;
        return;
    }
    struct value *result = value_map(arena);
    value_put_bool(arena, result, "changed", !request->dry_run && outcome->index > 0);
    if (api_has_document(request->op)) {
        api_applied(&call, result);
    } else if (strncmp(request->op, "maintenance.", 12) == 0) {
        value_put(arena, result, "maintenance", api_maintenance_row(&call));
    } else {
        value_put(arena, result, "vips", outcome_vips(&call));
    }
    if (request->dry_run) {
        value_put_bool(arena, result, "dry_run", true);
    }
    struct value *wait = request->dry_run ? NULL : wait_for(view, request, arena);
    if (wait != NULL) {
        value_put(arena, result, "wait", wait);
    }
    reply.result = result;
    if (value_failed(arena)) {
        reply.result = NULL; /* it is done, and that is what counts */
    }
    *ret = reply;
}
