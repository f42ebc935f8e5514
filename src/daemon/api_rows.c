/* A VIP, a node: as rows of lists. Scripts rely on their keys (docs/vipctl.md). */

#include <string.h>

#include "daemon/api_private.h"

const char *api_vip_state_text(enum vip_state state)
{
    switch (state) {
    case VIP_HELD:
        return "held";
    case VIP_MOVING:
        return "moving";
    case VIP_UNHELD:
        return "unheld";
    case VIP_DISABLED:
        return "disabled";
    }
    return "unknown";
}

const char *api_node_state_text(enum node_state state)
{
    switch (state) {
    case NODE_STATE_UP:
        return "up";
    case NODE_STATE_DRAINING:
        return "draining";
    case NODE_STATE_DRAINED:
        return "drained";
    case NODE_STATE_FENCED:
        return "fenced";
    case NODE_STATE_DOWN:
        return "down";
    }
    return "unknown";
}

/* ------------------------------------------------------------------------------------------------------------- rows */

static struct value *names_of(const struct api_call *call, uint64_t nodes)
{
    struct value *names = value_array(call->arena);

    for (int node = 0; node < NODES_MAX; node++) {
        const char *name = nodes >> node & 1 ? api_node_name(call->view->table, node) : NULL;
        if (name != NULL) {
            value_push(call->arena, names, value_string(call->arena, name));
        }
    }
    return names;
}

static struct value *prefers_of(const struct api_call *call, const struct vip *vip)
{
    struct value *prefers = value_map(call->arena);

    for (unsigned i = 0; i < vip->n_prefers; i++) {
        const char *name = api_node_name(call->view->table, vip->prefers[i].node);
        if (name != NULL) {
            value_put_uint(call->arena, prefers, name, vip->prefers[i].weight);
        }
    }
    return prefers;
}

static struct value *apart_of(const struct api_call *call, const struct vip *vip)
{
    struct value *apart = value_array(call->arena);

    for (unsigned i = 0; i < vip->n_apart; i++) {
        const struct vip *other = &call->view->table->vips[vip->apart[i]];
        if (other->used && !other->deleted) {
            value_push(call->arena, apart, value_string(call->arena, other->name));
        }
    }
    return apart;
}

/* The other host that has the VIP, or says so. */
static void put_foreign(const struct api_call *call, struct value *row, int slot)
{
    char mac[MAC_TEXT_SIZE];
    enum conflict_kind kind = core_vip_conflict(call->view->core, slot, mac);
    struct value *foreign = value_map(call->arena);

    if (kind == CONFLICT_NONE) {
        return;
    }
    value_put_string(call->arena, foreign, "mac", mac);
    value_put_string(call->arena, foreign, "outcome", conflict_kind_text(kind));
    value_put_int(call->arena, foreign, "since_ms", call->view->table->vips[slot].conflict.at_ms);
    value_put(call->arena, row, "foreign", foreign);
}

/* Those that the VIP has, its own and its group's. */
static void put_hooks(const struct api_call *call, struct value *row, const struct vip *vip)
{
    struct value *hooks = NULL;

    for (int i = 0; i < HOOK_POINTS_N; i++) {
        const struct hook *hook = table_hook(call->view->table, vip, (enum hook_point)i);
        if (hook == NULL) {
            continue;
        }
        struct value *of = value_map(call->arena);
        value_put_string(call->arena, of, "run", hook->program);
        value_put_uint(call->arena, of, "timeout_ms", hook->timeout_ms);
        hooks = hooks != NULL ? hooks : value_map(call->arena);
        value_put(call->arena, hooks, hook_point_text((enum hook_point)i), of);
    }
    if (hooks != NULL) {
        value_put(call->arena, row, "hooks", hooks);
    }
}

/* The attributes that a user gave and that differ from the defaults. */
static void put_attributes(const struct api_call *call, struct value *row, const struct vip *vip)
{
    struct value_arena *arena = call->arena;

    if (vip->nodes != 0) {
        value_put(arena, row, "nodes", names_of(call, vip->nodes));
    }
    if (vip->group != SLOT_NONE) {
        value_put_string(arena, row, "group", call->view->table->groups[vip->group].name);
    }
    if (vip->n_prefers > 0) {
        value_put(arena, row, "prefer", prefers_of(call, vip));
    }
    if (vip->n_apart > 0) {
        value_put(arena, row, "apart_from", apart_of(call, vip));
    }
    if (vip->pinned != SLOT_NONE) {
        value_put_string(arena, row, "pinned", api_node_name(call->view->table, vip->pinned));
    }
    if (vip->checks != 0) {
        value_put(arena, row, "require", api_check_names(call, vip->checks));
    }
    uint64_t failing = api_failing(call->view->table, vip, vip->owner);
    if (failing != 0) {
        value_put(arena, row, "failing", api_check_names(call, failing));
    }
    if (vip->no_probe) {
        value_put_bool(arena, row, "probe", false);
    }
    if (vip->yield) {
        value_put_string(arena, row, "conflict", "yield");
    }
    if (vip->no_reset) {
        value_put_bool(arena, row, "reset_connections", false);
    }
    put_hooks(call, row, vip);
    if (vip->failback != 0) {
        char failback[CLUSTER_SETTING_SIZE];
        cluster_own_failback(vip->failback, failback);
        value_put_string(arena, row, "failback", failback);
    }
}

struct value *api_vip_row(const struct api_call *call, int slot)
{
    const struct table *table = call->view->table;
    const struct vip *vip = &table->vips[slot];
    const struct link *link = vip->owner >= 0 ? table_link_for(table, vip->owner, vip) : NULL;
    struct value_arena *arena = call->arena;
    struct value *row = value_map(arena);
    char address[PREFIX_TEXT_MAX], why[192] = "";
    enum vip_state state = core_vip_state(call->view->core, slot, call->view->now, why);

    value_put_string(arena, row, "name", vip->name);
    value_put_string(arena, row, "address", prefix_format(&vip->address, address));
    value_put_string(arena, row, "dev", link != NULL ? link->name : vip->dev);
    value_put_string(arena, row, "owner", api_node_name(table, vip->owner));
    value_put_string(arena, row, "state", api_vip_state_text(state));
    value_put_int(arena, row, "since_ms", vip->moved_ms);
    value_put_string(arena, row, "reason", reason_text(vip->reason));
    if (state != VIP_HELD && state != VIP_DISABLED && why[0] != '\0') {
        value_put_string(arena, row, "why", why);
    }
    value_put_uint(arena, row, "moved", vip->moved);
    value_put_bool(arena, row, "enabled", vip->enabled);
    if (vip->prev != SLOT_NONE && vip->prev != vip->owner && state == VIP_MOVING) {
        value_put_string(arena, row, "from", api_node_name(table, vip->prev));
    }
    put_foreign(call, row, slot);
    put_attributes(call, row, vip);
    return row;
}

/* VIPs by node: how many it owns, and how many of these are held now. */
struct shares
{
    uint32_t owned[NODES_MAX], held[NODES_MAX];
};

static void count_shares(const struct api_view *view, struct shares *ret)
{
    const struct table *table = view->table;
    char why[192];

    memset(ret, 0, sizeof *ret);
    api_loads(table, ret->owned);
    for (int slot = 0; slot < table->vips_end; slot++) {
        const struct vip *vip = &table->vips[slot];
        if (vip->used && vip->owner >= 0 && core_vip_state(view->core, slot, view->now, why) == VIP_HELD) {
            ret->held[vip->owner]++;
        }
    }
}

static struct value *node_row(const struct api_call *call, int slot, const struct shares *shares)
{
    const struct api_view *view = call->view;
    const struct node *node = &view->table->nodes[slot];
    struct value_arena *arena = call->arena;
    struct value *row = value_map(arena);
    char address[ENDPOINT_TEXT_MAX];

    value_put_uint(arena, row, "id", node->id);
    value_put_string(arena, row, "name", node->name);
    value_put_string(arena, row, "address", endpoint_format(&node->at, address));
    value_put_string(arena, row, "role", node_role_text(node->role));
    value_put_string(arena, row, "status", api_node_state_text(core_node_state(view->core, slot, view->now)));
    value_put_bool(arena, row, "leader", node->id != 0 && core_leader(view->core) == node->id);
    value_put_uint(arena, row, "lease_ms", core_node_lease_ms(view->core, slot, view->now));
    value_put_uint(arena, row, "vips", shares->held[slot]);
    value_put_uint(arena, row, "owns", shares->owned[slot]);
    value_put_bool(arena, row, "witness", node->witness);
    if (node->wish != WISH_AUTO) {
        value_put_string(arena, row, "role_wanted", node_wish_text(node->wish));
    }
    if (node->removing) {
        value_put_bool(arena, row, "removing", true);
    }
    value_put_int(arena, row, "since_ms", node->since_ms);
    value_put_string(arena, row, "version", node->version);
    value_put_string(arena, row, "reads", api_reads(call, node->reads_first, node->reads_last));
    return row;
}

struct value *api_node_row(const struct api_call *call, int slot)
{
    struct shares shares;

    count_shares(call->view, &shares);
    return node_row(call, slot, &shares);
}

struct value *api_node_rows(const struct api_call *call)
{
    struct value *rows = value_array(call->arena);
    struct shares shares;

    count_shares(call->view, &shares);
    for (int slot = 0; slot < NODES_MAX; slot++) {
        if (call->view->table->nodes[slot].used) {
            value_push(call->arena, rows, node_row(call, slot, &shares));
        }
    }
    return rows;
}
