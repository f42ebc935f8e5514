/* What is placed as one: VIPs of their own, and groups. */

#include <string.h>

#include "core/plan_private.h"

/* ------------------------------------------------------------------ forming them */

static bool is_active(const struct vip *vip)
{
    return vip->used && !vip->deleted && vip->enabled;
}

static bool is_unsettled(const struct plan *plan, int slot)
{
    return plan->input->unsettled != NULL && (plan->input->unsettled[slot / 64] >> slot % 64 & 1) != 0;
}

static void begin(struct plan *plan)
{
    struct plan_scratch *scratch = plan->scratch;

    memset(scratch->load, 0, sizeof scratch->load);
    for (int slot = 0; slot < plan->table->vips_end; slot++) {
        bool active = is_active(&plan->table->vips[slot]);

        scratch->aux[slot] = active ? PLAN_ACTIVE | (is_unsettled(plan, slot) ? PLAN_FIXED : 0u) : 0u;
        scratch->target[slot] = UNDECIDED;
        scratch->next[slot] = END;
        scratch->barred[slot] = 0;
    }
}

/* Without a node that can own them all, or that may be given them now, the members go their own ways until there is
 * one: a part of a group that is held is better than none. */
static bool can_be_together(const struct plan *plan, int unit, uint64_t able)
{
    if ((able & plan->open) != 0) {
        return true;
    }
    for (int vip = unit; vip != END; vip = plan->scratch->next[vip]) {
        if (plan_in(able, plan->table->vips[vip].owner)) {
            return true;
        }
    }
    return false;
}

static void set_unit(struct plan *plan, int unit, uint32_t size, uint32_t flags)
{
    plan->scratch->aux[unit] |= PLAN_UNIT | size << PLAN_SIZE_SHIFT | flags;
}

static void split(struct plan *plan, int unit)
{
    for (int vip = unit, next; vip != END; vip = next) {
        next = plan->scratch->next[vip];
        plan->scratch->next[vip] = END;
        set_unit(plan, vip, 1, PLAN_KEPT);
    }
}

static void close_group(struct plan *plan, int group)
{
    struct plan_scratch *scratch = plan->scratch;
    int unit = plan->leader[group];
    uint64_t able = UINT64_MAX;
    uint32_t size = 0;

    if (unit == SLOT_NONE) {
        return;
    }
    for (int vip = unit; vip != END; vip = scratch->next[vip]) {
        able &= scratch->able[vip];
        size++;
    }
    if (!can_be_together(plan, unit, able)) {
        split(plan, unit);
        plan->leader[group] = SLOT_NONE;
        return;
    }
    scratch->able[unit] = able;
    set_unit(plan, unit, size, size > 1 ? PLAN_SPECIAL : 0);
}

static void mark_apart(struct plan *plan, int slot)
{
    const struct vip *vip = &plan->table->vips[slot];
    int unit = plan_leader(plan, slot);

    for (int i = 0; i < vip->n_apart; i++) {
        if ((plan->scratch->aux[vip->apart[i]] & PLAN_ACTIVE) != 0) {
            int other = plan_leader(plan, vip->apart[i]);

            if (other != unit) {
                plan->scratch->aux[unit] |= PLAN_SPECIAL;
                plan->scratch->aux[other] |= PLAN_SPECIAL;
            }
        }
    }
}

void plan_units(struct plan *plan)
{
    struct plan_scratch *scratch = plan->scratch;
    int last[GROUPS_MAX];

    begin(plan);
    plan_able(plan);
    for (int group = 0; group < GROUPS_MAX; group++) {
        plan->leader[group] = last[group] = SLOT_NONE;
    }
    for (int slot = 0; slot < plan->table->vips_end; slot++) {
        int group = plan->table->vips[slot].group;

        if ((scratch->aux[slot] & PLAN_ACTIVE) == 0) {
            continue;
        }
        if (group == SLOT_NONE) {
            set_unit(plan, slot, 1, 0);
        } else if (last[group] == SLOT_NONE) {
            plan->leader[group] = last[group] = slot;
        } else {
            scratch->next[last[group]] = (uint16_t)slot;
            last[group] = slot;
        }
    }
    for (int group = 0; group < GROUPS_MAX; group++) {
        close_group(plan, group);
    }
    for (int slot = 0; slot < plan->table->vips_end; slot++) {
        if ((scratch->aux[slot] & PLAN_ACTIVE) != 0 && plan->table->vips[slot].n_apart > 0) {
            mark_apart(plan, slot);
        }
    }
}

/* ------------------------------------------------------------------ asking about them */

int plan_leader(const struct plan *plan, int vip)
{
    int group = plan->table->vips[vip].group;

    return group == SLOT_NONE || plan->leader[group] == SLOT_NONE ? vip : plan->leader[group];
}

static uint32_t weight_in(const struct prefer *prefers, unsigned n, int node)
{
    for (unsigned i = 0; i < n; i++) {
        if (prefers[i].node == node) {
            return prefers[i].weight;
        }
    }
    return 0;
}

int32_t plan_weight(const struct plan *plan, int unit, int node)
{
    const struct table *table = plan->table;
    int group = table->vips[unit].group;
    int32_t lowered = plan_lowered(plan, unit, node);
    uint32_t weight = 0;

    if (group != SLOT_NONE && table->groups[group].n_prefers > 0) {
        return (int32_t)weight_in(table->groups[group].prefers, table->groups[group].n_prefers, node) - lowered;
    }
    for (int vip = unit; vip != END; vip = plan->scratch->next[vip]) {
        uint32_t own = weight_in(table->vips[vip].prefers, table->vips[vip].n_prefers, node);

        weight = own > weight ? own : weight;
    }
    return (int32_t)weight - lowered;
}

/* A group that is scattered gathers where it is preferred among the nodes that have a part of it, else where most of it
 * is. */
static int group_home(const struct plan *plan, int unit)
{
    uint32_t there[NODES_MAX] = {0};
    int32_t best_weight = 0;
    int best = SLOT_NONE;

    for (int vip = unit; vip != END; vip = plan->scratch->next[vip]) {
        if (plan_in(plan->scratch->able[unit], plan->table->vips[vip].owner)) {
            there[plan->table->vips[vip].owner]++;
        }
    }
    for (int node = 0; node < NODES_MAX; node++) {
        int32_t weight = there[node] > 0 ? plan_weight(plan, unit, node) : 0;

        if (there[node] > 0 && (best == SLOT_NONE || weight > best_weight ||
                                (weight == best_weight && there[node] > there[best]))) {
            best = node;
            best_weight = weight;
        }
    }
    return best;
}

int plan_home(const struct plan *plan, int unit)
{
    int owner = plan->table->vips[unit].owner;

    if (plan_size(plan, unit) > 1) {
        return group_home(plan, unit);
    }
    return plan_in(plan->scratch->able[unit], owner) ? owner : SLOT_NONE;
}

/* Where members disagree, the one that was moved last was pinned last. */
int plan_pin(const struct plan *plan, int unit)
{
    int pinned = SLOT_NONE;

    for (int vip = unit; vip != END; vip = plan->scratch->next[vip]) {
        if (plan->table->vips[vip].pinned != SLOT_NONE &&
            (pinned == SLOT_NONE || plan->table->vips[vip].moved > plan->table->vips[pinned].moved)) {
            pinned = vip;
        }
    }
    return pinned == SLOT_NONE ? SLOT_NONE : plan->table->vips[pinned].pinned;
}

/* A group's own word counts for all of it. Else the most cautious of its VIPs', then the cluster's. */
uint32_t plan_failback_ms(const struct plan *plan, int unit, enum plan_failback *ret_of)
{
    const struct table *table = plan->table;
    int group = table->vips[unit].group;
    uint32_t most = 0;

    if (group != SLOT_NONE && table->groups[group].failback != 0) {
        *ret_of = PLAN_FAILBACK_GROUP;
        return table->groups[group].failback - 1;
    }
    for (int vip = unit; vip != END && most != OWN_FAILBACK_NEVER; vip = plan->scratch->next[vip]) {
        uint32_t own = table->vips[vip].failback;

        most = own == OWN_FAILBACK_NEVER || own > most ? own : most;
    }
    *ret_of = most != 0 ? PLAN_FAILBACK_VIP : PLAN_FAILBACK_CLUSTER;
    return most != 0 ? most - 1 : table->settings.failback_ms;
}

/* ------------------------------------------------------------------ apart-from */

/* The rule holds both ways, whichever of the two VIPs it was given to: what the unit says itself is looked up here,
 * what others say of it is in `barred`. */
uint64_t plan_forbidden(const struct plan *plan, int unit)
{
    uint64_t nodes = plan->scratch->barred[unit];

    for (int vip = unit; vip != END; vip = plan->scratch->next[vip]) {
        const struct vip *at = &plan->table->vips[vip];

        for (int i = 0; i < at->n_apart; i++) {
            int other = at->apart[i];

            if ((plan->scratch->aux[other] & PLAN_ACTIVE) != 0 && plan->scratch->target[other] >= 0 &&
                plan_leader(plan, other) != unit) {
                nodes |= 1ull << plan->scratch->target[other];
            }
        }
    }
    return nodes;
}

void plan_bar(struct plan *plan, int vip)
{
    const struct vip *at = &plan->table->vips[vip];
    int unit = plan_leader(plan, vip);

    for (int i = 0; i < at->n_apart && plan->scratch->target[vip] >= 0; i++) {
        int other = plan_leader(plan, at->apart[i]);

        if ((plan->scratch->aux[at->apart[i]] & PLAN_ACTIVE) != 0 && other != unit) {
            plan->scratch->barred[other] |= 1ull << plan->scratch->target[vip];
        }
    }
}

void plan_bar_all(struct plan *plan)
{
    for (int slot = 0; slot < plan->table->vips_end; slot++) {
        plan->scratch->barred[slot] = 0;
    }
    for (int slot = 0; slot < plan->table->vips_end; slot++) {
        if ((plan->scratch->aux[slot] & PLAN_ACTIVE) != 0) {
            plan_bar(plan, slot);
        }
    }
}

/* ------------------------------------------------------------------ placing */

void plan_put(struct plan *plan, int unit, int node)
{
    struct plan_scratch *scratch = plan->scratch;

    for (int vip = unit; vip != END; vip = scratch->next[vip]) {
        if ((scratch->aux[vip] & PLAN_FIXED) != 0) {
            continue;
        }
        if (scratch->target[vip] >= 0) {
            scratch->load[scratch->target[vip]]--;
        }
        scratch->target[vip] = (int8_t)node;
        if (node >= 0) {
            scratch->load[node]++;
        }
        plan_bar(plan, vip);
    }
}
