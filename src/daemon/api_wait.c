/* `--wait`: whether a change is real, not only committed. The client's library asks again and again; the daemon answers
 * at once when it is so and else after about a second. */

#include <stdio.h>
#include <string.h>

#include "daemon/api_private.h"

#define WHY_SIZE 192

/* The wait for one change: which VIPs or which node, and what of them. */
struct value *api_wait_for(struct value_arena *arena, const struct control_request *request)
{
    const struct value *vips = value_get(request->args, "vips");
    const char *to = value_as_string(value_get(request->args, "to"), NULL);
    bool maintains = strncmp(request->op, "maintenance.", 12) == 0; /* the node whose turn it is then is another matter */
    const char *node = maintains ? NULL : value_as_string(value_get(request->args, "node"), NULL);
    struct value *wait = value_map(arena);

    if (vips != NULL) {
        struct value *names = value_array(arena);
        for (const struct value *item = value_first(vips); item != NULL; item = item->next) {
            value_push(arena, names, value_string(arena, api_named(request, item)));
        }
        value_put(arena, wait, "vips", names);
    }
    if (to != NULL) {
        value_put_string(arena, wait, "to", to);
    }
    if (node != NULL) {
        value_put_string(arena, wait, "node", node);
    }
    if (strcmp(request->op, "node.set") == 0) {
        value_put_string(arena, wait, "role", value_as_string(value_get(request->args, "role"), NULL));
    }
    value_put_string(arena, wait, "until", request->op);
    return wait;
}

/* A deleted VIP's slot as long as its address is reserved, or SLOT_NONE. */
static int tombstone(const struct table *table, const char *name)
{
    struct prefix prefix;
    int slot = prefix_parse(name, &prefix, NULL) == 0 ? table_vip_by_addr(table, &prefix.addr) : SLOT_NONE;

    for (int i = 0; slot == SLOT_NONE && i < table->vips_end; i++) {
        if (table->vips[i].used && table->vips[i].deleted && strcmp(table->vips[i].name, name) == 0) {
            slot = i;
        }
    }
    return slot != SLOT_NONE && table->vips[slot].deleted ? slot : SLOT_NONE;
}

static bool deleted_settled(const struct api_view *view, const char *name, char why[WHY_SIZE])
{
    int slot = tombstone(view->table, name);

    if (slot == SLOT_NONE || core_vip_settled(view->core, slot, view->now)) {
        return true;
    }
    const char *prev = api_node_name(view->table, view->table->vips[slot].prev);
    snprintf(why, WHY_SIZE, "%.60s is still being released by %.63s", name, prev != NULL ? prev : "its owner");
    return false;
}

/* Whether some node could own it now, so that an owner that may not is about to change. */
static bool has_candidate(const struct api_view *view, const struct vip *vip)
{
    uint64_t usable = core_usable(view->core, view->now);

    for (int node = 0; node < NODES_MAX; node++) {
        if (usable >> node & 1 && table_may_own(view->table, node, vip)) {
            return true;
        }
    }
    return false;
}

static bool vip_settled(const struct api_view *view, int slot, int to, char why[WHY_SIZE])
{
    const struct vip *vip = &view->table->vips[slot];
    char state_why[192] = "";
    enum vip_state state = core_vip_state(view->core, slot, view->now, state_why);

    if (!vip->enabled) {
        snprintf(why, WHY_SIZE, "%.63s is still being released", vip->name);
        return state == VIP_DISABLED && core_vip_settled(view->core, slot, view->now);
    }
    if (state != VIP_HELD) {
        snprintf(why, WHY_SIZE, "%.63s: %.120s", vip->name, state_why);
        return false;
    }
    if (to != SLOT_NONE && vip->owner != to) {
        snprintf(why, WHY_SIZE, "%.63s is still on %.63s", vip->name, api_node_name(view->table, vip->owner));
        return false;
    }
    if ((!table_may_own(view->table, vip->owner, vip) && has_candidate(view, vip)) ||
        (vip->pinned != SLOT_NONE && !core_settled(view->core, slot, SLOT_NONE, view->now))) {
        snprintf(why, WHY_SIZE, "%.63s is about to move", vip->name);
        return false;
    }
    return true;
}

static bool vips_settled(const struct api_view *view, const struct value *args, const struct value *vips,
                         char why[WHY_SIZE])
{
    const char *to_name = value_as_string(value_get(args, "to"), NULL);
    int to = to_name == NULL ? SLOT_NONE : api_node_slot(view->table, to_name);
    bool gone = strcmp(value_as_string(value_get(args, "until"), ""), "vip.del") == 0;

    for (const struct value *item = value_first(vips); item != NULL; item = item->next) {
        const char *name = value_as_string(item, "");
        int slot = api_vip_slot(view->table, name);
        if (slot == SLOT_NONE) {
            if (!deleted_settled(view, name, why)) {
                return false;
            }
        } else if (!gone && !vip_settled(view, slot, to, why)) {
            return false;
        }
    }
    return true;
}

static bool node_settled(const struct api_view *view, const struct value *args, const char *name, char why[WHY_SIZE])
{
    int node = api_node_slot(view->table, name);

    if (node == SLOT_NONE) {
        return true;
    }
    if (strncmp(value_as_string(value_get(args, "until"), ""), "node.", 5) == 0) {
        return api_member_settled(view, args, node, why, WHY_SIZE);
    }
    if (strcmp(value_as_string(value_get(args, "until"), ""), "undrain") == 0) {
        snprintf(why, WHY_SIZE, "%.63s is not up yet", name);
        return core_node_state(view->core, node, view->now) == NODE_STATE_UP;
    }
    if (strcmp(value_as_string(value_get(args, "until"), ""), "leader.transfer") == 0) {
        snprintf(why, WHY_SIZE, "%.63s does not lead yet", name);
        return core_leader(view->core) == view->table->nodes[node].id;
    }
    if (core_settled(view->core, SLOT_NONE, node, view->now)) {
        return true;
    }
    uint32_t loads[NODES_MAX];
    api_loads(view->table, loads);
    if (loads[node] > 0) {
        snprintf(why, WHY_SIZE, "%.63s still owns %u VIP%s", name, loads[node], loads[node] == 1 ? "" : "s");
    } else {
        snprintf(why, WHY_SIZE, "%.63s still releases its VIPs, or leads", name);
    }
    return false;
}

static bool settled(const struct api_view *view, const struct control_request *request, char why[WHY_SIZE])
{
    const struct value *vips = value_get(request->args, "vips");
    const char *node = value_as_string(value_get(request->args, "node"), NULL);

    if (view->local) {
        snprintf(why, WHY_SIZE, "no quorum: there is no leader to ask");
        return false;
    }
    if (view->table->applied < value_as_uint(value_get(request->args, "index"), 0)) {
        snprintf(why, WHY_SIZE, "the answering node has not applied the change yet");
        return false;
    }
    if (vips != NULL) {
        return vips_settled(view, request->args, vips, why);
    }
    if (node != NULL) {
        return node_settled(view, request->args, node, why);
    }
    if (strncmp(value_as_string(value_get(request->args, "until"), ""), "maintenance.", 12) == 0) {
        return api_maintenance_settled(view, why, WHY_SIZE);
    }
    if (value_get(request->args, "until") != NULL) {
        return true; /* settings: they are real once applied */
    }
    snprintf(why, WHY_SIZE, "VIPs are still moving or cannot be held");
    return core_settled(view->core, SLOT_NONE, SLOT_NONE, view->now);
}

static bool is_bad(const struct control_request *request)
{
    const struct value *vips = value_get(request->args, "vips");

    return vips != NULL && (!value_is(vips, VALUE_ARRAY) || vips->n > API_VIPS_MAX);
}

uint32_t api_wait_ms(const struct control_request *request)
{
    uint32_t ms = request->timeout_ms;

    return ms == 0 || ms > API_WAIT_MS ? API_WAIT_MS : ms;
}

bool api_settled(const struct api_view *view, const struct control_request *request, bool *ret_bad)
{
    char why[WHY_SIZE] = "";

    *ret_bad = is_bad(request);
    return !*ret_bad && settled(view, request, why);
}

void api_wait(const struct api_call *call)
{
    struct value_arena *arena = call->arena;
    const struct value *vips = api_arg(call, "vips");
    const char *node = api_arg_text(call, "node");
    char why[WHY_SIZE] = "";

    if (is_bad(call->request)) {
        (void)api_no(call, CONTROL_USAGE, NULL, "a wait names up to %u VIPs", API_VIPS_MAX);
        return;
    }
    struct value *result = value_map(arena);
    bool done = settled(call->view, call->request, why);
    value_put_bool(arena, result, "settled", done);
    if (!done) {
        value_put_string(arena, result, "why", why);
    } else if (vips != NULL) {
        struct value *rows = value_array(arena);
        for (const struct value *item = value_first(vips); item != NULL; item = item->next) {
            int slot = api_vip_slot(call->view->table, value_as_string(item, ""));
            if (slot != SLOT_NONE) {
                value_push(arena, rows, api_vip_row(call, slot));
            }
        }
        value_put(arena, result, "vips", rows);
    } else if (node != NULL && api_node_slot(call->view->table, node) != SLOT_NONE) {
        value_put(arena, result, "node", api_node_row(call, api_node_slot(call->view->table, node)));
    }
    call->reply->result = result;
}
