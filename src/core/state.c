/* What is, for people and programs: read only, from the table and from what this node heard. */

#include "core/core_private.h"

#include <stdio.h>

uint64_t core_leader(const struct core *core)
{
    return core->lead.leader;
}

bool core_has_quorum(const struct core *core, time_ns now)
{
    bool leads = core->lead.role == RAFT_ROLE_LEADER && core_hears_majority(core, now);
    return core->caught_up && (now < core->agent.supported_until || leads);
}

bool core_speaks(const struct core *core, time_ns now)
{
    bool admitted = core->slot != SLOT_NONE && core->table->nodes[core->slot].status == NODE_ADMITTED;
    return core_is_leader(core) && core_hears_majority(core, now) && (!admitted || now < core->agent.lease_end);
}

bool core_caught_up(const struct core *core)
{
    return core->caught_up;
}

int core_voters_left(const struct core *core, uint64_t without, time_ns now)
{
    uint64_t left = core->table->voters & ~without;
    for (int node = 0; node < NODES_MAX; node++) {
        bool lost = core_silent(core, node, now) || core_node_state(core, node, now) == NODE_STATE_DOWN;
        if (in_set(left, node) && lost) {
            left &= ~(1ull << node);
        }
    }
    return __builtin_popcountll(left);
}

bool core_keeps_quorum(const struct core *core, uint64_t without, time_ns now)
{
    return core_voters_left(core, without, now) >= majority_of(core->table->voters);
}

bool core_vip_settled(const struct core *core, int vip, time_ns now)
{
    return core_settled_move(core, vip, now);
}

static bool node_holds(const struct core *core, int node, uint64_t moved, time_ns now)
{
    const struct node *n = &core->table->nodes[node];
    if (n->status != NODE_ADMITTED) {
        return false;
    }
    if (node == core->slot) {
        return now < core->agent.gate && core->agent.held >= moved;
    }
    const struct hearing *h = &core->hearing[node];
    return h->heard && !core_silent(core, node, now) && h->last.gen == n->gen && h->last.held >= moved;
}

enum conflict_kind core_vip_conflict(const struct core *core, int vip, char ret_mac[MAC_TEXT_SIZE])
{
    const struct vip *v = &core->table->vips[vip];
    const struct contest *c = &core->agent.contests[vip];
    bool own = core->slot != SLOT_NONE && v->owner == core->slot && c->moved == v->moved && c->kind != CONFLICT_NONE;
    mac_format(own ? c->mac : v->conflict.mac, ret_mac);
    return own ? c->kind : v->conflict.kind;
}

static bool is_carried(const struct core *core, const struct vip *v)
{
    const struct link *link = table_link_for(core->table, v->owner, v);
    return link && link->up;
}

bool state_held(const struct core *core, int vip, time_ns now)
{
    const struct vip *v = &core->table->vips[vip];
    char mac[MAC_TEXT_SIZE];
    if (v->owner == SLOT_NONE || !node_holds(core, v->owner, v->moved, now)) {
        return false;
    }
    enum conflict_kind foreign = core_vip_conflict(core, vip, mac);
    return foreign != CONFLICT_TAKEN && foreign != CONFLICT_YIELDED && is_carried(core, v);
}

enum vip_state core_vip_state(const struct core *core, int vip, time_ns now, char ret_why[192])
{
    const struct vip *v = &core->table->vips[vip];
    ret_why[0] = 0;
    if (v->owner == SLOT_NONE) {
        if (!v->enabled) {
            return VIP_DISABLED;
        }
        bool checked = (table_checks_of(core->table, v) & core->table->required) != 0;
        snprintf(ret_why, 192, checked ? "no node that passes its checks can hold it now (vipctl explain vip %.63s)"
                                       : "no node can hold it now (vipctl explain vip %.63s)", v->name);
        return VIP_UNHELD;
    }
    const struct node *owner = &core->table->nodes[v->owner];
    char mac[MAC_TEXT_SIZE];
    enum conflict_kind foreign = core_vip_conflict(core, vip, mac);
    if (foreign == CONFLICT_TAKEN || foreign == CONFLICT_YIELDED) {
        snprintf(ret_why, 192, foreign == CONFLICT_TAKEN ? "another host, %s, has it: %.63s does not take it"
                                                         : "another host, %s, announces it: %.63s gave it up",
                 mac, owner->name);
        return VIP_UNHELD;
    }
    if (state_held(core, vip, now)) {
        return VIP_HELD;
    }
    if (owner->status != NODE_ADMITTED) {
        snprintf(ret_why, 192, "its owner %.63s is fenced and no other node can hold it", owner->name);
        return VIP_UNHELD;
    }
    if (v->owner != core->slot && core_silent(core, v->owner, now)) {
        snprintf(ret_why, 192, "its owner %.63s is not heard", owner->name);
        return VIP_UNHELD;
    }
    if (!is_carried(core, v)) {
        snprintf(ret_why, 192, "its owner %.63s has no interface that is up for it", owner->name);
        return VIP_UNHELD;
    }
    if (!core_settled_move(core, vip, now)) {
        snprintf(ret_why, 192, "waits until %.63s has certainly released it", core->table->nodes[v->prev].name);
        return VIP_MOVING;
    }
    struct core_slew clock;
    core_node_slew(core, v->owner, now, &clock);
    if (clock.unfit) {
        snprintf(ret_why, 192, "the clock of its owner %.63s is slewed by more than a lease can bear", owner->name);
        return VIP_UNHELD;
    }
    if (!core_has_quorum(core, now)) {
        snprintf(ret_why, 192, "no quorum: no majority of the voters is heard");
        return VIP_UNHELD;
    }
    const char *hook = core_waits_for_hook(core, vip, now);
    if (hook) {
        snprintf(ret_why, 192, "%.63s waits for its before-take hook, %.31s", owner->name, hook);
        return VIP_MOVING;
    }
    snprintf(ret_why, 192, "%.63s is taking it", owner->name);
    return VIP_MOVING;
}

static bool node_owns(const struct core *core, int node)
{
    for (int i = 0; i < core->table->vips_end; i++) {
        const struct vip *v = &core->table->vips[i];
        if (v->used && (v->owner == node || (v->prev == node && core->hearing[node].released < v->moved &&
                                             core->table->nodes[node].status != NODE_CLEARED))) {
            return true;
        }
    }
    return false;
}

enum node_state core_node_state(const struct core *core, int node, time_ns now)
{
    const struct node *n = &core->table->nodes[node];
    if (n->status == NODE_FENCED) {
        return NODE_STATE_FENCED;
    }
    if (n->status == NODE_CLEARED || (core_silent(core, node, now) && node != core->slot)) {
        return NODE_STATE_DOWN;
    }
    if (n->draining || n->leaving) {
        return node_owns(core, node) ? NODE_STATE_DRAINING : NODE_STATE_DRAINED;
    }
    return NODE_STATE_UP;
}

uint32_t core_node_lease_ms(const struct core *core, int node, time_ns now)
{
    if (node == core->slot) {
        return now < core->agent.gate ? (uint32_t)((core->agent.gate - now) / MS) : 0;
    }
    const struct hearing *h = &core->hearing[node];
    if (!h->heard || h->last.gen != core->table->nodes[node].gen) {
        return 0;
    }
    time_ns age = (now - h->heard) / MS;
    return h->last.lease_ms > age ? (uint32_t)(h->last.lease_ms - age) : 0;
}

/* Whether a VIP that left the node is not held at its new owner yet. */
static bool coming_from(const struct core *core, int node, time_ns now)
{
    char why[192];
    for (int i = 0; i < core->table->vips_end; i++) {
        const struct vip *v = &core->table->vips[i];
        if (v->used && v->prev == node && v->owner != SLOT_NONE && core_vip_state(core, i, now, why) == VIP_MOVING) {
            return true;
        }
    }
    return false;
}

bool core_settled(const struct core *core, int vip, int node, time_ns now)
{
    char why[192];
    if (node != SLOT_NONE) {
        /* what a cleared node owns on paper, because no other one can hold it, it does not hold */
        return (core->table->nodes[node].status == NODE_CLEARED || !node_owns(core, node)) && !coming_from(core, node, now) &&
               !(core->table->nodes[node].draining && core->slot == node && core_is_leader(core));
    }
    for (int i = 0; i < core->table->vips_end; i++) {
        const struct vip *v = &core->table->vips[i];
        if (!v->used || (vip != SLOT_NONE && i != vip)) {
            continue;
        }
        if (v->deleted) {
            return false;
        }
        enum vip_state state = core_vip_state(core, i, now, why);
        if (state == VIP_MOVING || (state == VIP_UNHELD && v->enabled)) {
            return false;
        }
        if (state == VIP_DISABLED && !core_settled_move(core, i, now)) {
            return false;
        }
        if (v->pinned != SLOT_NONE && v->pinned != v->owner && v->enabled &&
            table_may_own(core->table, v->pinned, v)) {
            return false;
        }
    }
    return true;
}

bool core_heard_log(const struct core *core, uint64_t id, uint64_t *ret_run, uint64_t *ret_term, uint64_t *ret_index)
{
    int slot = table_node_by_id(core->table, id);
    const struct hearing *h = slot == SLOT_NONE ? NULL : &core->hearing[slot];

    if (h == NULL || h->id != id || !h->heard) {
        return false;
    }
    *ret_run = h->last.run;
    *ret_term = h->last.last_term;
    *ret_index = h->last.last_index;
    return true;
}
