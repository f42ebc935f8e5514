/* After the whole cluster was started, VIPs go back where they were.
 *
 * What is owned stays owned across a restart, so nothing has to be done for nodes that are all there at once. But machines
 * do not boot at the same time: once a majority is there, a node that takes longer is fenced, as it must be, and its VIPs go
 * to others. When it comes, at last, they go back to it, whatever failback says: nobody's machine was broken. The leader
 * that the start begins with remembers for that where each VIP was; the next one would not know.
 *
 * A start of the whole cluster is: every node that is heard has not been running for long. Waited for are the owners that have
 * not been heard since; a node that was, and dies, is no late one, however young the cluster is, and failback says what becomes
 * of its VIPs. A node is no longer waited for once it has been usable for a while and has all of what it had but for what was given
 * elsewhere on purpose. */

#include "core/core_private.h"

#define YOUNG (60000 * MS)   /* runs of a cluster that was just started */
#define SETTLED (10000 * MS) /* a node that has been usable for so long is back */
#define PATIENCE (600000 * MS)
#define AGAIN (1000 * MS) /* between two looks at every VIP */

/* A heartbeat each interval at least of those that vote: one that has sent more than fit is older. */
static bool is_young(const struct core *core, time_ns now)
{
    if (now - core->started > YOUNG) {
        return false;
    }
    for (int i = 0; i < NODES_MAX; i++) {
        const struct hearing *h = &core->hearing[i];

        if (core->table->nodes[i].used && h->heard && h->last.seq * core_interval(core) > YOUNG) {
            return false;
        }
    }
    return true;
}

void homes_begin(struct core *core, time_ns now)
{
    if (core->lead.homes_until || !is_young(core, now)) {
        return;
    }
    core->lead.homes_until = now + PATIENCE;
    core->lead.awaited = 0;
    for (int i = 0; i < VIPS_MAX; i++) {
        const struct vip *v = &core->table->vips[i];
        bool late = i < core->table->vips_end && v->used && !v->deleted && v->owner != SLOT_NONE && v->owner != core->slot &&
                    !core->hearing[v->owner].heard;

        core->lead.homes[i] = late ? v->owner : SLOT_NONE;
        core->lead.awaited |= late ? 1ull << v->owner : 0;
    }
}

void homes_forget(struct core *core)
{
    core->lead.awaited = 0; /* what others did meanwhile, with VIPs that may be new at these slots, is not known */
}

/* It was taken away because of what becomes of nodes, and not because somebody wants it elsewhere. */
static bool is_away(const struct vip *v)
{
    return v->used && !v->deleted && v->enabled && v->pinned == SLOT_NONE &&
           (v->reason == REASON_CRASH || v->reason == REASON_HEALTH || v->reason == REASON_REBALANCE);
}

void homes_step(struct core *core, time_ns now)
{
    uint64_t missing = 0, back = 0;

    if (!core->lead.awaited || (now < core->lead.homes_at && !core->lead.plan_dirty)) {
        return;
    }
    core->lead.homes_at = now + AGAIN;
    for (int i = 0; i < core->table->vips_end; i++) {
        const struct vip *v = &core->table->vips[i];
        int8_t *home = &core->lead.homes[i];

        if (*home != SLOT_NONE && v->owner != *home) {
            *home = is_away(v) ? *home : SLOT_NONE;
            missing |= *home != SLOT_NONE ? 1ull << *home : 0;
        }
    }
    for (int i = 0; i < NODES_MAX; i++) {
        bool settled = in_set(core->lead.usable, i) && now - core->lead.usable_since[i] >= SETTLED;

        back |= settled && !in_set(missing, i) ? 1ull << i : 0;
    }
    core->lead.awaited = now < core->lead.homes_until ? core->lead.awaited & ~back : 0;
    for (int i = 0; i < core->table->vips_end; i++) {
        core->lead.homes[i] = in_set(core->lead.awaited, core->lead.homes[i]) ? core->lead.homes[i] : SLOT_NONE;
    }
}

/* What is evened out away from where it was does not come back: it would go to and fro until nobody is waited for. */
void homes_moves(struct core *core, uint32_t n)
{
    for (uint32_t i = 0; i < n && core->lead.awaited; i++) {
        const struct move *move = &core->lead.moves[i];
        int8_t *home = &core->lead.homes[move->vip];

        if (move->reason == REASON_REBALANCE && core->table->vips[move->vip].owner == *home) {
            *home = SLOT_NONE;
        }
    }
}

const int8_t *core_homes(const struct core *core)
{
    return core->lead.awaited ? core->lead.homes : NULL;
}
