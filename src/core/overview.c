/* What the leader knows of the others: which moves are settled, who does not hold what it could, who can be given a VIP. */

#include <string.h>

#include "core/core_private.h"

void overview_unsettled(struct core *core, time_ns now, struct actions *actions)
{
    uint64_t least[NODES_MAX];
    memset(least, 0xff, sizeof least);
    memset(core->lead.unsettled, 0, sizeof core->lead.unsettled);
    uint64_t before = core->lead.any_unsettled;
    core->lead.any_unsettled = 0;
    for (int i = 0; i < core->table->vips_end; i++) {
        const struct vip *v = &core->table->vips[i];
        if (!v->used || v->prev == SLOT_NONE || core_settled_move(core, i, now)) {
            continue;
        }
        bit_put(core->lead.unsettled, (unsigned)i, RULE(L3));
        core->lead.any_unsettled++;
        if (v->moved < least[v->prev]) {
            least[v->prev] = v->moved;
        }
    }
    if (core->lead.any_unsettled != before) {
        core->lead.plan_dirty = true;
    }
    for (int i = 0; i < core->nodes_end; i++) {
        if (least[i] != core->lead.unreleased[i].index) {
            core->lead.unreleased[i].index = least[i];
            core->lead.unreleased[i].since = now;
        }
        if (least[i] != NEVER && core->table->nodes[i].status == NODE_ADMITTED) {
            core_deadline(actions, core->lead.unreleased[i].since + core_lease(core) + 1);
        }
    }
}

/* L1: whether there is a VIP that `node` does not hold though it could. *ret_more: by how much it may take longer than `suspect`,
 * because it asks for it first, or runs hooks before it takes what it lacks. */
static bool could_hold_more(const struct core *core, int node, time_ns *ret_more)
{
    time_ns hooks = 0;
    uint64_t held = core->hearing[node].last.held, least = NEVER;
    int which = SLOT_NONE;
    if (held >= core->table->changed || !core->hearing[node].heard) {
        return false;
    }
    for (int i = 0; i < core->table->vips_end; i++) {
        const struct vip *v = &core->table->vips[i];
        if (v->used && v->owner == node && v->moved > held) {
            const struct hook *hook = table_hook(core->table, v, HOOK_BEFORE_TAKE);
            hooks = hook && hook->timeout_ms * MS > hooks ? hook->timeout_ms * MS : hooks;
        }
        if (v->used && v->owner == node && v->moved > held && v->moved < least) {
            const struct link *link = table_link_for(core->table, node, v);
            if (link && link->up) {
                least = v->moved;
                which = i;
            }
        }
    }
    if (which == SLOT_NONE || bit_get(core->lead.unsettled, (unsigned)which)) {
        return false;
    }
    const struct vip *v = &core->table->vips[which];
    bool probes = (v->fresh && !v->no_probe) || v->conflict.kind != CONFLICT_NONE;
    *ret_more = hooks + (probes ? core_probe_ms(&core->table->timing) * MS : 0);
    return true;
}

/* How long a node may be getting nowhere with what it could hold. */
time_ns overview_patience(const struct core *core, int node)
{
    return core_suspect(core) + core->lead.lacking[node].more;
}

void overview_lacking(struct core *core, time_ns now, struct actions *actions)
{
    for (int i = 0; i < core->nodes_end; i++) {
        if (!core->table->nodes[i].used || core->table->nodes[i].status != NODE_ADMITTED || !could_hold_more(core, i, &core->lead.lacking[i].more)) {
            core->lead.lacking[i].since = 0;
            continue;
        }
        const struct heartbeat *last = &core->hearing[i].last;
        if (!core->lead.lacking[i].since || last->held != core->lead.lacking[i].held ||
            last->n_held > core->lead.lacking[i].n_held) {
            core->lead.lacking[i].since = now; /* it is getting on */
            core->lead.lacking[i].held = last->held;
            core->lead.lacking[i].n_held = last->n_held;
        }
        core_deadline(actions, core->lead.lacking[i].since + overview_patience(core, i) + 1);
    }
}

bool core_stuck(const struct core *core, int node, time_ns now)
{
    return core->lead.lacking[node].since && now - core->lead.lacking[node].since > overview_patience(core, node);
}

uint64_t core_usable(const struct core *core, time_ns now)
{
    uint64_t usable = 0, late = 0;
    for (int i = 0; i < core->nodes_end; i++) {
        const struct node *n = &core->table->nodes[i];
        const struct hearing *h = &core->hearing[i];
        if (!n->used || n->status != NODE_ADMITTED || core_silent(core, i, now)) {
            continue;
        }
        bool lease = i == core->slot ? core->agent.running : h->heard && h->last.lease_ms > 0 && h->last.gen == n->gen;
        if (lease && !core_stuck(core, i, now)) {
            usable |= 1ull << i;
            late |= (uint64_t)disk_late(core, i, now) << i;
        }
    }
    return usable & ~late ? usable & ~late : usable; /* where all disks are slow it must do with them */
}

void core_steady_ms(const struct core *core, time_ns now, uint32_t ret[NODES_MAX])
{
    memset(ret, 0, NODES_MAX * sizeof *ret);
    for (int i = 0; i < core->nodes_end; i++) {
        time_ns since = core->lead.usable_since[i];
        uint64_t ms = in_set(core->lead.usable, i) && now > since ? (now - since) / MS : 0;
        ret[i] = ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
    }
}

void overview_plan_input(const struct core *core, time_ns now, struct plan_input *ret)
{
    *ret = (struct plan_input){
        .table = core->table,
        .usable = core_usable(core, now),
        .unsettled = core->lead.unsettled,
    };
    core_steady_ms(core, now, ret->steady_ms);
    ret->homes = core_homes(core);
}

int overview_left_nowhere(const struct core *core, int node, time_ns now, struct plan_scratch *scratch, struct move *moves)
{
    struct plan_input input;
    overview_plan_input(core, now, &input);
    input.unsettled = NULL;
    input.drained = 1ull << node;
    uint32_t n = plan_moves(&input, scratch, moves, VIPS_MAX);
    uint64_t stranded[BIT_WORDS];
    (void)plan_stranded(&input, moves, n, stranded);
    for (int i = 0; i < core->table->vips_end; i++) {
        if (bit_get(stranded, (unsigned)i) && core->table->vips[i].owner == node) {
            return i;
        }
    }
    return SLOT_NONE;
}
