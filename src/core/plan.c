/* Placement, as a ladder. What is placed as one is a unit: a VIP of its own, or a group. For each unit the first step
 * that decides is the last:
 *
 *      1. A disabled VIP goes to nobody. A VIP whose last move is not settled stays (L3), whatever else is wished.
 *      2. Only nodes that are able come into question: admitted, no witness, staying (neither drained nor leaving), in
 *         the VIP's set of nodes, with an interface for the address that is up, and passing each check that the VIP
 *         requires (its owner: not failing one). For a new place, also usable: heard by the leader and with a lease. Nor may it be a node that has a VIP which this one must be apart from.
 *         A group is asked as one; when no node can have all of it, its VIPs go their own ways.
 *      3. The node that it is pinned to (`vip move --to`).
 *      4. With failback: a node that it prefers to the one where it is, once that has been usable for as long as failback
 *         says: the group's, else the most cautious of the unit's VIPs', else the cluster's. Without (never), a preference
 *         draws nothing back.
 *         After the whole cluster was started: the node that it was on before, when that comes later than others.
 *         Else where it is. A group that is scattered gathers on one of its owners: the most preferred one, else the one
 *         with most of it.
 *      5. The node with the greatest preference, less the weights of its failing checks.
 *      6. The node with the fewest VIPs for its capacity, counting what was placed before.
 *      7. The first node, by slot.
 *
 * Units are decided in this order, so that each knows what it has to be apart from: what cannot be moved, those that
 * are where they are pinned, those that stay, those that follow a pin, those that are drawn back, scattered groups, groups that need a place, VIPs
 * that need one; each by slot. One that finds none only because of what it must be apart from is made room for, when those
 * can go elsewhere (plan_room.c). Then the loads are evened out (plan_spread.c). A unit that needs a place and finds none
 * keeps its owner: it is held again as soon as that one is able again, and a move to nobody would help no one. Only where a
 * failing check says so (`all-failed: release`) it goes to nobody. */

#include "core/plan.h"

#include "core/plan_private.h"

#define COST_SCALE_MAX ((uint64_t)1 << 24) /* times twice the VIPs times LOAD_COST fits 64 bits many times over */

/* ------------------------------------------------------------------ the ladder */

/* Step 2, as far as it is about the node and no VIP. */
static enum plan_step staying(const struct plan_input *input, int slot)
{
    const struct node *node = &input->table->nodes[slot];

    if (!node->used || node->status != NODE_ADMITTED || plan_in(input->excluded, slot)) {
        return PLAN_NOT_A_MEMBER;
    }
    if (node->witness) {
        return PLAN_WITNESS;
    }
    return node->draining || node->leaving || plan_in(input->drained, slot) ? PLAN_DRAINING : PLAN_CHOSEN;
}

enum plan_step plan_on_node(const struct plan_input *input, int node)
{
    enum plan_step step = staying(input, node);

    return step == PLAN_CHOSEN && !plan_in(input->usable, node) ? PLAN_NOT_USABLE : step;
}

static uint64_t nodes_that_stay(const struct plan_input *input)
{
    uint64_t nodes = 0;

    for (int slot = 0; slot < NODES_MAX; slot++) {
        nodes |= (uint64_t)(staying(input, slot) == PLAN_CHOSEN) << slot;
    }
    return nodes;
}

/* Step 1. */
static void put_fixed(struct plan *plan)
{
    struct plan_scratch *scratch = plan->scratch;

    for (int slot = 0; slot < plan->table->vips_end; slot++) {
        int owner = plan->table->vips[slot].owner;

        if ((scratch->aux[slot] & PLAN_FIXED) != 0) {
            scratch->target[slot] = (int8_t)owner;
            if (owner != SLOT_NONE) {
                scratch->load[owner]++;
            }
            plan_bar(plan, slot);
        }
    }
}

static bool is_decided(const struct plan *plan, int unit)
{
    for (int vip = unit; vip != END; vip = plan->scratch->next[vip]) {
        if (plan->scratch->target[vip] == UNDECIDED) {
            return false;
        }
    }
    return true;
}

uint64_t plan_candidates(const struct plan *plan, int unit)
{
    return plan->scratch->able[unit] & plan->open & ~plan_forbidden(plan, unit);
}

/* A home that is not usable now keeps what it has, and is given nothing; with no home at all, every VIP keeps its
 * owner. */
static void put_home(struct plan *plan, int unit, int home)
{
    if (plan_in(plan->open, home)) {
        plan_put(plan, unit, home);
        return;
    }
    for (int vip = unit; vip != END; vip = plan->scratch->next[vip]) {
        if (plan->scratch->target[vip] == UNDECIDED) {
            int owner = plan_released(plan, vip) ? SLOT_NONE : plan->table->vips[vip].owner;

            plan->scratch->target[vip] = (int8_t)owner;
            if (owner != SLOT_NONE) {
                plan->scratch->load[owner]++;
            }
            plan_bar(plan, vip);
        }
    }
}

/* What no node can be given, nor keep, stays where it is: known before others are placed next to it. */
static void put_stuck(struct plan *plan, int unit)
{
    if (plan_home(plan, unit) == SLOT_NONE && (plan->scratch->able[unit] & plan->open) == 0) {
        put_home(plan, unit, SLOT_NONE);
    }
}

/* Step 3. */
static void put_pinned(struct plan *plan, int unit)
{
    int pin = plan_pin(plan, unit);
    uint64_t nodes = plan->scratch->able[unit] & plan->open;

    if (pin == plan_home(plan, unit) && pin != SLOT_NONE) {
        nodes |= 1ull << pin;
    }
    if (plan_in(nodes & ~plan_forbidden(plan, unit), pin)) {
        put_home(plan, unit, pin);
        plan->scratch->aux[unit] |= PLAN_BY_PIN;
    }
}

/* All of it is where it stays if nothing asks it to move. */
static bool is_at_home(const struct plan *plan, int unit)
{
    int home = plan_home(plan, unit);

    for (int vip = unit; vip != END; vip = plan->scratch->next[vip]) {
        if (plan->table->vips[vip].owner != home) {
            return false;
        }
    }
    return home != SLOT_NONE;
}

static bool is_where_pinned(const struct plan *plan, int unit)
{
    return is_at_home(plan, unit) && plan_pin(plan, unit) == plan_home(plan, unit);
}

/* Steps 5 to 7. */
int plan_best(const struct plan *plan, int unit, uint64_t nodes)
{
    const uint32_t *load = plan->scratch->load;
    int32_t weight = 0;
    int chosen = SLOT_NONE;

    for (uint64_t left = nodes; left != 0; left &= left - 1) {
        int node = __builtin_ctzll(left);
        int32_t own = plan_weight(plan, unit, node);

        if (chosen == SLOT_NONE || own > weight ||
            (own == weight && plan_more(plan, node, load[node]) < plan_more(plan, chosen, load[chosen]))) {
            chosen = node;
            weight = own;
        }
    }
    return chosen;
}

/* Step 4, failback: where the unit is drawn to, or SLOT_NONE. Notes when one that is not steady yet may be. */
static int drawn_to(const struct plan *plan, int unit)
{
    enum plan_failback of;
    uint32_t failback_ms = plan_failback_ms(plan, unit, &of);
    int home = plan_home(plan, unit);
    uint64_t better = 0;

    if (failback_ms == 0 || home == SLOT_NONE) {
        return SLOT_NONE;
    }
    int32_t weight = plan_weight(plan, unit, home);
    for (uint64_t left = plan_candidates(plan, unit); left != 0; left &= left - 1) {
        int node = __builtin_ctzll(left);
        uint32_t steady_ms = plan->input->steady_ms[node];

        if (plan_weight(plan, unit, node) <= weight) {
            continue;
        }
        if (steady_ms >= failback_ms || failback_ms == 1) {
            better |= 1ull << node;
        } else if (failback_ms - steady_ms < plan->scratch->ripe_ms) {
            plan->scratch->ripe_ms = failback_ms - steady_ms;
        }
    }
    return better == 0 ? SLOT_NONE : plan_best(plan, unit, better);
}

static bool has_preference(const struct plan *plan, int unit)
{
    const struct vip *vip = &plan->table->vips[unit];

    return vip->group != SLOT_NONE || vip->n_prefers > 0;
}

static bool is_drawn(const struct plan *plan, int unit)
{
    return has_preference(plan, unit) && drawn_to(plan, unit) != SLOT_NONE;
}

static void put_drawn(struct plan *plan, int unit)
{
    plan_put(plan, unit, drawn_to(plan, unit));
    plan->scratch->aux[unit] |= PLAN_CROWDED; /* the same reason: a rule asks for it */
}

/* Step 4, after a start of the whole cluster: where the unit was before, or SLOT_NONE: nowhere else than it is, or it cannot
 * go there now. */
static int returns_to(const struct plan *plan, int unit)
{
    for (int vip = unit; vip != END && plan->input->homes != NULL; vip = plan->scratch->next[vip]) {
        int was = plan->input->homes[vip];

        if (was != SLOT_NONE) {
            return was != plan_home(plan, unit) && plan_in(plan_candidates(plan, unit), was) ? was : SLOT_NONE;
        }
    }
    return SLOT_NONE;
}

static bool is_returning(const struct plan *plan, int unit)
{
    return returns_to(plan, unit) != SLOT_NONE;
}

static void put_returning(struct plan *plan, int unit)
{
    plan_put(plan, unit, returns_to(plan, unit));
    plan->scratch->aux[unit] |= PLAN_KEPT | PLAN_CROWDED; /* it is not sent elsewhere, as it moves anyway */
}

/* Whether that is what moves the unit. */
static bool has_returned(const struct plan *plan, int unit)
{
    uint32_t both = PLAN_KEPT | PLAN_CROWDED;

    for (int vip = unit; vip != END && plan->input->homes != NULL; vip = plan->scratch->next[vip]) {
        if (plan->input->homes[vip] != SLOT_NONE) {
            return (plan->scratch->aux[unit] & both) == both && plan->scratch->target[unit] == plan->input->homes[vip];
        }
    }
    return false;
}

static bool is_at_rest(const struct plan *plan, int unit)
{
    return is_at_home(plan, unit) && !plan_in(plan->scratch->able[unit] & plan->open, plan_pin(plan, unit)) &&
           !is_drawn(plan, unit) && !is_returning(plan, unit);
}

/* Step 4; a unit that an apart-from rule drives away stays, too, when there is nowhere else. */
static void put_staying(struct plan *plan, int unit)
{
    int home = plan_home(plan, unit);

    if (home == SLOT_NONE) {
        return;
    }
    if (!plan_in(plan_forbidden(plan, unit), home)) {
        put_home(plan, unit, home);
    } else if ((plan_candidates(plan, unit) & ~(1ull << home)) != 0) {
        plan->scratch->aux[unit] |= PLAN_CROWDED;
    } else {
        put_home(plan, unit, SLOT_NONE);
    }
}

static void put_anew(struct plan *plan, int unit)
{
    int node = plan_best(plan, unit, plan_candidates(plan, unit));

    if (node != SLOT_NONE) {
        plan_put(plan, unit, node);
    } else if (plan_home(plan, unit) != SLOT_NONE || !plan_make_room(plan, unit)) {
        put_home(plan, unit, SLOT_NONE);
    }
}

static void for_undecided(struct plan *plan, bool (*which)(const struct plan *, int),
                          void (*put)(struct plan *, int))
{
    for (int slot = 0; slot < plan->table->vips_end; slot++) {
        if ((plan->scratch->aux[slot] & PLAN_UNIT) != 0 && which(plan, slot) && !is_decided(plan, slot)) {
            put(plan, slot);
        }
    }
}

static bool any(const struct plan *plan, int unit)
{
    return true;
}

static bool several(const struct plan *plan, int unit)
{
    return plan_size(plan, unit) > 1;
}

static uint32_t capacity_of(const struct node *node)
{
    return node->capacity != 0 ? node->capacity : CAPACITY_DEFAULT;
}

static uint64_t common(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

/* The reciprocals of the capacities, as whole numbers: exact as long as their least common multiple is small, so that what is
 * equal stays equal; else rounded. */
static void set_costs(struct plan *plan)
{
    uint64_t scale = 1;

    for (uint64_t left = plan->base; left != 0; left &= left - 1) {
        uint64_t capacity = capacity_of(&plan->table->nodes[__builtin_ctzll(left)]);

        scale = scale / common(scale, capacity) * capacity;
        if (scale > COST_SCALE_MAX) {
            scale = COST_SCALE_MAX;
            break;
        }
    }
    for (int node = 0; node < NODES_MAX; node++) {
        plan->cost[node] = scale / capacity_of(&plan->table->nodes[node]);
        plan->cost[node] += plan->cost[node] == 0; /* of nodes that are not in question */
    }
}

static void decide(const struct plan_input *input, struct plan_scratch *scratch, struct plan *ret)
{
    *ret = (struct plan){.input = input, .table = input->table, .scratch = scratch, .base = nodes_that_stay(input)};
    ret->open = ret->base & input->usable;
    ret->lowering = plan_lowering(input->table);
    scratch->ripe_ms = UINT32_MAX;
    set_costs(ret);
    plan_units(ret);
    put_fixed(ret);
    for_undecided(ret, any, put_stuck);
    for_undecided(ret, is_where_pinned, put_pinned);
    for_undecided(ret, is_at_rest, put_staying);
    for_undecided(ret, any, put_pinned);
    for_undecided(ret, is_drawn, put_drawn);
    for_undecided(ret, is_returning, put_returning);
    for_undecided(ret, any, put_staying);
    for_undecided(ret, several, put_anew);
    for_undecided(ret, any, put_anew);
    plan_spread(ret);
}

/* ------------------------------------------------------------------ moves */

static enum reason reason_of(const struct plan *plan, int slot)
{
    const struct vip *vip = &plan->table->vips[slot];
    const struct node *owner;
    const struct link *link;
    int unit = plan_leader(plan, slot);
    uint32_t flags = plan->scratch->aux[unit];

    if (vip->owner < 0) {
        return REASON_NEW;
    }
    owner = &plan->table->nodes[vip->owner];
    if (!owner->used || owner->status != NODE_ADMITTED || plan_in(plan->input->excluded, vip->owner)) {
        return REASON_CRASH;
    }
    if (owner->draining || owner->leaving || plan_in(plan->input->drained, vip->owner)) {
        return REASON_DRAIN;
    }
    link = table_link_for(plan->table, vip->owner, vip);
    if (link == NULL || !link->up || plan_fails(plan, unit, vip->owner)) {
        return REASON_HEALTH;
    }
    if ((flags & PLAN_BY_PIN) != 0) {
        return REASON_MANUAL;
    }
    if (has_returned(plan, unit)) {
        return REASON_RETURN;
    }
    if (owner->witness || !plan_in(vip->nodes == 0 ? UINT64_MAX : vip->nodes, vip->owner) ||
        (flags & PLAN_CROWDED) != 0 || (plan_size(plan, unit) > 1 && (flags & PLAN_EVENED) == 0)) {
        return REASON_PREFER;
    }
    return REASON_REBALANCE;
}

/* The move that the VIP needs, if any. */
static bool move_of(const struct plan *plan, int slot, struct move *ret)
{
    const struct vip *vip = &plan->table->vips[slot];
    uint32_t flags = plan->scratch->aux[slot];
    int to = plan->scratch->target[slot];
    bool active = (flags & PLAN_ACTIVE) != 0;

    if (!vip->used || vip->deleted || (flags & PLAN_FIXED) != 0) {
        return false;
    }
    if (!active) {
        if (vip->owner == SLOT_NONE ||
            (plan->input->unsettled != NULL && (plan->input->unsettled[slot / 64] >> slot % 64 & 1) != 0)) {
            return false;
        }
        to = SLOT_NONE;
    }
    *ret = (struct move){
        .vip = (uint16_t)slot,
        .to = (int8_t)to,
        .reason = active ? reason_of(plan, slot) : REASON_DISABLED,
        .moved = vip->moved,
    };
    return to != vip->owner;
}

static bool ends_outage(const struct move *move)
{
    return move->reason == REASON_NEW || move->reason == REASON_CRASH || move->reason == REASON_HEALTH;
}

uint32_t plan_moves(const struct plan_input *input, struct plan_scratch *scratch, struct move *ret_moves, uint32_t max)
{
    struct plan plan;
    struct move move;
    uint32_t urgent = 0, others = 0, n = 0;

    decide(input, scratch, &plan);
    for (int slot = 0; slot < input->table->vips_end; slot++) {
        if (move_of(&plan, slot, &move)) {
            urgent += ends_outage(&move);
        }
    }
    urgent = urgent < max ? urgent : max;
    others = max - urgent;
    for (int slot = 0; slot < input->table->vips_end; slot++) {
        uint32_t *room;

        if (!move_of(&plan, slot, &move)) {
            continue;
        }
        room = ends_outage(&move) ? &urgent : &others;
        if (*room > 0) {
            --*room;
            ret_moves[n++] = move;
        }
    }
    return n;
}

uint32_t plan_stranded(const struct plan_input *input, const struct move *moves, uint32_t n, uint64_t ret[VIPS_MAX / 64])
{
    uint64_t gone = input->excluded | input->drained;
    uint32_t stranded = 0;

    for (int word = 0; word < VIPS_MAX / 64; word++) {
        ret[word] = 0;
    }
    for (int slot = 0; slot < input->table->vips_end; slot++) {
        const struct vip *vip = &input->table->vips[slot];
        bool without = vip->owner == SLOT_NONE || plan_in(gone, vip->owner);

        ret[slot / 64] |= (uint64_t)(vip->used && !vip->deleted && vip->enabled && without) << slot % 64;
    }
    for (uint32_t i = 0; i < n; i++) {
        ret[moves[i].vip / 64] &= ~((uint64_t)(moves[i].to != SLOT_NONE) << moves[i].vip % 64);
    }
    for (int word = 0; word < VIPS_MAX / 64; word++) {
        stranded += (uint32_t)__builtin_popcountll(ret[word]);
    }
    return stranded;
}

/* ------------------------------------------------------------------ explain */

/* Step 2, for one node. */
static enum plan_step unable(const struct plan *plan, int slot, int node)
{
    const struct vip *vip = &plan->table->vips[slot];
    enum plan_step step = staying(plan->input, node);
    const struct link *link;

    if (step != PLAN_CHOSEN) {
        return step;
    }
    if (vip->nodes != 0 && !plan_in(vip->nodes, node)) {
        return PLAN_NOT_IN_SET;
    }
    link = table_link_for(plan->table, node, vip);
    if (link == NULL) {
        return PLAN_NO_LINK;
    }
    return link->up ? plan_checked(plan, slot, node) : PLAN_LINK_DOWN;
}

static bool is_elsewhere(const struct plan *plan, int slot, int node)
{
    int unit = plan_leader(plan, slot);
    int target = plan->scratch->target[slot];

    if (plan_size(plan, unit) == 1) {
        return false;
    }
    if (!plan_in(plan->scratch->able[unit], node)) {
        return true;
    }
    for (int vip = unit; vip != END && plan->table->vips[slot].owner != target; vip = plan->scratch->next[vip]) {
        if (plan->table->vips[vip].owner == target && target >= 0) {
            return true;
        }
    }
    return false;
}

/* Whether the unit on `node` instead of `target` would make things less even. */
static bool would_be_fuller(const struct plan *plan, int unit, int node, int target)
{
    const uint32_t *load = plan->scratch->load;
    int64_t size = plan_size(plan, unit);

    return (2 * (int64_t)load[node] + size) * (int64_t)plan->cost[node] >
           (2 * (int64_t)load[target] - size) * (int64_t)plan->cost[target];
}

static enum plan_step step_of(const struct plan *plan, int slot, int node)
{
    int unit = plan_leader(plan, slot);
    int target = plan->scratch->target[slot];
    int owner = plan->table->vips[slot].owner;
    enum plan_step step = unable(plan, slot, node);

    if (step != PLAN_CHOSEN || node == target) {
        return step == PLAN_CHECK_FAILS && node == target ? PLAN_ALL_FAILED : step;
    }
    if ((plan->scratch->aux[slot] & PLAN_FIXED) != 0) {
        return PLAN_STAYS;
    }
    if (!plan_in(plan->input->usable, node) && node != owner) {
        return PLAN_NOT_USABLE;
    }
    if (plan_in(plan_forbidden(plan, unit), node)) {
        return PLAN_APART;
    }
    if ((plan->scratch->aux[unit] & PLAN_BY_PIN) != 0) {
        return PLAN_PINNED;
    }
    if (has_returned(plan, unit)) {
        return PLAN_RETURN;
    }
    if (is_elsewhere(plan, slot, node)) {
        return PLAN_GROUP;
    }
    if (target == owner) {
        return PLAN_STAYS;
    }
    if (target >= 0 && plan_weight(plan, unit, target) > plan_weight(plan, unit, node)) {
        return PLAN_PREFERENCE;
    }
    return target >= 0 && would_be_fuller(plan, unit, node, target) ? PLAN_LOAD : PLAN_ORDER;
}

int plan_explain(const struct plan_input *input, struct plan_scratch *scratch, int vip,
                 struct plan_candidate ret[NODES_MAX])
{
    struct plan plan;
    int n = 0;

    decide(input, scratch, &plan);
    if (vip < 0 || vip >= input->table->vips_end || (scratch->aux[vip] & PLAN_ACTIVE) == 0) {
        return 0;
    }
    scratch->failback_ms = plan_failback_ms(&plan, plan_leader(&plan, vip), &scratch->failback_of);
    for (int node = 0; node < NODES_MAX; node++) {
        if (input->table->nodes[node].used) {
            ret[n++] = (struct plan_candidate){
                .node = (int8_t)node,
                .step = step_of(&plan, vip, node),
                .load = scratch->load[node],
                .weight = plan_weight(&plan, plan_leader(&plan, vip), node),
            };
        }
    }
    return n;
}

const char *plan_step_text(enum plan_step step)
{
    switch (step) {
    case PLAN_CHOSEN:
        return "chosen";
    case PLAN_NOT_A_MEMBER:
        return "not admitted";
    case PLAN_WITNESS:
        return "a witness";
    case PLAN_DRAINING:
        return "drained or leaving";
    case PLAN_NOT_IN_SET:
        return "not among the VIP's nodes";
    case PLAN_NO_LINK:
        return "no interface for the address";
    case PLAN_LINK_DOWN:
        return "its interface is down";
    case PLAN_CHECK_FAILS:
        return "a check that it requires fails there";
    case PLAN_CHECK_UNKNOWN:
        return "a check that it requires has not passed there yet";
    case PLAN_NOT_USABLE:
        return "not heard by the leader, or without a lease";
    case PLAN_APART:
        return "has a VIP that this one must be apart from";
    case PLAN_PINNED:
        return "another node was asked for by hand";
    case PLAN_RETURN:
        return "it goes back to where it was before the cluster was started";
    case PLAN_GROUP:
        return "the group is elsewhere";
    case PLAN_PREFERENCE:
        return "another node is preferred";
    case PLAN_STAYS:
        return "another node owns it, and nothing asks it to move";
    case PLAN_LOAD:
        return "another node has fewer VIPs";
    case PLAN_ORDER:
        return "equal in all; another node comes first";
    case PLAN_ALL_FAILED:
        return "a check that it requires fails there, and nobody else can have it";
    }
    return "unknown";
}
