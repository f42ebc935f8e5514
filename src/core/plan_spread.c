/* Evens out the loads of the open nodes, with as few moves as that takes.
 *
 * Even is: the least sum of the squares of the loads, each over the capacity of its node, which for equal nodes is "within one" wherever VIPs may go everywhere, and the
 * nearest to it where they may not. A VIP that the plan moves anyway costs nothing to be sent elsewhere; one that is
 * where it belongs costs one move. In this order:
 *
 *     1. VIPs of their own go straight from full nodes to emptier ones, in batches: the bulk of the work.
 *     2. What is left to gain needs detours (a to b and another one from b to c), or saves moves at the same evenness.
 *        Both are cycles of negative cost in a graph of the nodes and one more point, the hub, through which load
 *        comes and goes; without such a cycle nothing better exists (the optimality criterion of minimum cost flows).
 *     3. Groups and VIPs with apart-from rules go as a whole, when that makes things more even.
 *
 * VIPs do not leave a node for one that they prefer less, nor the node that they are pinned to. */

#include <string.h>

#include "core/plan_private.h"

#define COSTS 3         /* of sending a VIP on: back to where it belongs (-1), neither (0), away from there (+1) */
#define LOAD_COST 65536 /* evenness counts before moves */
#define CYCLES_MAX 512  /* bounds the time of one plan; the next plan goes on from there */
#define SPECIALS_MAX 64
#define SHARE ((uint64_t)1 << 32) /* over a node's cost: its part of the capacity, finely enough */
#define HUB NODES_MAX
#define POINTS (NODES_MAX + 1)

struct spread
{
    struct plan *plan;
    uint16_t head[NODES_MAX];         /* VIPs on each node that may be sent elsewhere */
    uint64_t to[NODES_MAX][COSTS];    /* nodes that some VIP of it can go to, at the cost of index - 1 */
};

/* ------------------------------------------------------------------ who can go where */

static bool has_preference(const struct plan *plan, int slot)
{
    const struct vip *vip = &plan->table->vips[slot];

    return vip->n_prefers > 0 || vip->group != SLOT_NONE || plan->lowering != 0;
}

/* Those of the nodes that the unit does not prefer less than the one where it is planned to be. */
static uint64_t not_less_preferred(const struct plan *plan, int unit, uint64_t nodes)
{
    int32_t weight = plan_weight(plan, unit, plan->scratch->target[unit]);

    for (uint64_t left = nodes; left != 0 && (weight > 0 || plan->lowering != 0); left &= left - 1) {
        int node = __builtin_ctzll(left);

        if (plan_weight(plan, unit, node) < weight) {
            nodes &= ~(1ull << node);
        }
    }
    return nodes;
}

/* Open nodes that a group, or a VIP with apart-from rules, may be sent to, those rules aside. */
static uint64_t allowed(const struct plan *plan, int unit)
{
    uint64_t nodes = plan->scratch->able[unit] & plan->open & ~(1ull << plan->scratch->target[unit]);

    return not_less_preferred(plan, unit, nodes);
}

/* Open nodes that a VIP on `now` can be sent to at each cost. Asked for every VIP of a node again and again, so it
 * touches no more memory than it must. */
static void by_cost(const struct plan *plan, int slot, int now, uint64_t ret[COSTS])
{
    uint32_t flags = plan->scratch->aux[slot];
    uint64_t nodes = plan->scratch->able[slot] & plan->open & ~(1ull << now);
    int home = (int)(flags >> PLAN_HOME_SHIFT & PLAN_HOME_MASK) - 1;
    uint64_t back = home == SLOT_NONE ? 0 : 1ull << home;

    ret[0] = home == now ? 0 : nodes & back;
    ret[1] = home == now ? 0 : nodes & ~back;
    ret[2] = home == now ? nodes : 0;
}

static void look(struct spread *spread, int node)
{
    memset(spread->to[node], 0, sizeof spread->to[node]);
    for (int slot = spread->head[node]; slot != END; slot = spread->plan->scratch->order[slot]) {
        uint64_t nodes[COSTS];

        by_cost(spread->plan, slot, node, nodes);
        for (int i = 0; i < COSTS; i++) {
            spread->to[node][i] |= nodes[i];
        }
    }
}

static bool is_loose(const struct plan *plan, int slot)
{
    uint32_t flags = plan->scratch->aux[slot];

    return (flags & PLAN_UNIT) != 0 && (flags & (PLAN_FIXED | PLAN_SPECIAL | PLAN_KEPT | PLAN_BY_PIN)) == 0 &&
           plan_in(plan->open, plan->scratch->target[slot]);
}

static void list_loose(struct spread *spread)
{
    struct plan_scratch *scratch = spread->plan->scratch;

    for (int node = 0; node < NODES_MAX; node++) {
        spread->head[node] = END;
    }
    for (int slot = spread->plan->table->vips_end - 1; slot >= 0; slot--) {
        if (is_loose(spread->plan, slot)) {
            scratch->aux[slot] &= ~(uint32_t)(PLAN_HOME_MASK << PLAN_HOME_SHIFT);
            scratch->aux[slot] |= (uint32_t)(plan_home(spread->plan, slot) + 1) << PLAN_HOME_SHIFT;
            scratch->order[slot] = spread->head[scratch->target[slot]];
            spread->head[scratch->target[slot]] = (uint16_t)slot;
        }
    }
    for (int node = 0; node < NODES_MAX; node++) {
        look(spread, node);
    }
}

/* Sends up to n VIPs of that cost from one node to another; returns how many. */
static uint32_t send(struct spread *spread, int from, int to, int cost, uint32_t n)
{
    struct plan_scratch *scratch = spread->plan->scratch;
    uint16_t *link = &spread->head[from];
    uint32_t sent = 0;

    while (*link != END && sent < n) {
        uint16_t slot = *link;
        uint64_t nodes[COSTS];

        by_cost(spread->plan, slot, from, nodes);
        if (!plan_in(nodes[cost + 1], to)) {
            link = &scratch->order[slot];
            continue;
        }
        *link = scratch->order[slot];
        scratch->order[slot] = spread->head[to];
        spread->head[to] = slot;
        plan_put(spread->plan, slot, to);
        sent++;
    }
    return sent;
}

/* ------------------------------------------------------------------ 1. straight moves */

static uint64_t reach(const struct spread *spread, int node)
{
    return spread->to[node][0] | spread->to[node][1] | spread->to[node][2];
}

static bool steepest(const struct spread *spread, int *ret_from, int *ret_to)
{
    const uint32_t *load = spread->plan->scratch->load;
    int64_t best = 0;

    for (uint64_t left = spread->plan->open; left != 0; left &= left - 1) {
        int from = __builtin_ctzll(left);

        for (uint64_t nodes = reach(spread, from); nodes != 0; nodes &= nodes - 1) {
            int to = __builtin_ctzll(nodes);

            int64_t gain = plan_less(spread->plan, from, load[from]) - plan_more(spread->plan, to, load[to]);

            if (gain > best) {
                best = gain;
                *ret_from = from;
                *ret_to = to;
            }
        }
    }
    return best > 0;
}

/* How many may go one after the other until the next one would gain nothing. */
static uint32_t until_even(const struct plan *plan, int from, int to)
{
    const uint32_t *load = plan->scratch->load;
    int64_t cost_from = (int64_t)plan->cost[from], cost_to = (int64_t)plan->cost[to];
    int64_t gain = (2 * (int64_t)load[from] + 1) * cost_from - (2 * (int64_t)load[to] - 1) * cost_to;

    return gain > 0 ? (uint32_t)((gain - 1) / (2 * (cost_from + cost_to))) : 0;
}

/* As many as go without either side's passing its share of all VIPs. Where that share is not within reach, half of what would even out
 * the two, for others may come in between: so that every batch is a good part of what is left. At least one. */
static uint32_t batch(const struct plan *plan, int from, int to)
{
    const uint32_t *load = plan->scratch->load;
    uint64_t sum = 0, parts = 0, low, high;

    for (uint64_t left = plan->open; left != 0; left &= left - 1) {
        int node = __builtin_ctzll(left);

        sum += load[node];
        parts += SHARE / plan->cost[node];
    }
    low = sum * (SHARE / plan->cost[to]) / parts;
    high = (sum * (SHARE / plan->cost[from]) + parts - 1) / parts;
    if (load[from] <= high || load[to] >= low) {
        uint32_t half = until_even(plan, from, to) / 2;

        return half > 0 ? half : 1;
    }
    return (uint32_t)(load[from] - high < low - load[to] ? load[from] - high : low - load[to]);
}

static void straight(struct spread *spread)
{
    int from, to;

    while (steepest(spread, &from, &to)) {
        uint32_t n = batch(spread->plan, from, to);

        for (int cost = -1; cost <= 1 && n > 0; cost++) {
            n -= send(spread, from, to, cost, n);
        }
        look(spread, from);
        look(spread, to);
    }
}

/* ------------------------------------------------------------------ 2. detours and swaps */

struct walk
{
    int64_t distance[POINTS];
    int before[POINTS];
};

static int arc_cost(const struct spread *spread, int from, int to)
{
    return plan_in(spread->to[from][0], to) ? -1 : plan_in(spread->to[from][1], to) ? 0 : 1;
}

static bool relax(struct walk *walk, int from, int to, int64_t cost)
{
    if (walk->distance[from] + cost >= walk->distance[to]) {
        return false;
    }
    walk->distance[to] = walk->distance[from] + cost;
    walk->before[to] = from;
    return true;
}

/* One round of Bellman and Ford over all arcs; whether any point came nearer. */
static bool relax_all(const struct spread *spread, struct walk *walk)
{
    const uint32_t *load = spread->plan->scratch->load;
    bool nearer = false;

    for (uint64_t left = spread->plan->open; left != 0; left &= left - 1) {
        int node = __builtin_ctzll(left);

        nearer |= relax(walk, HUB, node, -plan_less(spread->plan, node, load[node]) * LOAD_COST);
        for (uint64_t nodes = reach(spread, node); nodes != 0; nodes &= nodes - 1) {
            int to = __builtin_ctzll(nodes);

            nearer |= relax(walk, node, to, arc_cost(spread, node, to));
        }
        nearer |= relax(walk, node, HUB, plan_more(spread->plan, node, load[node]) * LOAD_COST);
    }
    return nearer;
}

/* A point on a cycle of walk->before, or SLOT_NONE. Such a cycle always has negative cost, in whatever round it comes
 * up. */
static int on_cycle(const struct walk *walk)
{
    int seen_from[POINTS] = {0}; /* start of the walk that saw the point, plus one */

    for (int start = 0; start < POINTS; start++) {
        int at = start;

        while (at != SLOT_NONE && seen_from[at] == 0) {
            seen_from[at] = start + 1;
            at = walk->before[at];
        }
        if (at != SLOT_NONE && seen_from[at] == start + 1) {
            return at;
        }
    }
    return SLOT_NONE;
}

/* A point on a cycle of negative cost, with the cycle in walk->before; SLOT_NONE when there is none. */
static int find_cycle(const struct spread *spread, struct walk *walk)
{
    memset(walk, 0, sizeof *walk);
    for (int i = 0; i < POINTS; i++) {
        walk->before[i] = SLOT_NONE;
    }
    for (int round = 0; round < POINTS && relax_all(spread, walk); round++) {
        int start = on_cycle(walk);

        if (start != SLOT_NONE) {
            return start;
        }
    }
    return SLOT_NONE;
}

static void follow_cycle(struct spread *spread, const struct walk *walk, int start)
{
    int to = start;

    do {
        int from = walk->before[to];

        if (from != HUB && to != HUB) {
            (void)send(spread, from, to, arc_cost(spread, from, to), 1);
        }
        to = from;
    } while (to != start);
    for (uint64_t left = spread->plan->open; left != 0; left &= left - 1) {
        look(spread, __builtin_ctzll(left));
    }
}

static void detours(struct spread *spread)
{
    for (int i = 0; i < CYCLES_MAX; i++) {
        struct walk walk;
        int start = find_cycle(spread, &walk);

        if (start == SLOT_NONE) {
            return;
        }
        follow_cycle(spread, &walk, start);
    }
}

/* ------------------------------------------------------------------ 3. groups and what is kept apart */

/* All of the unit may be moved, and is planned to be on one open node. */
static bool is_whole(const struct plan *plan, int unit)
{
    uint32_t flags = plan->scratch->aux[unit];

    if ((flags & PLAN_SPECIAL) == 0 || (flags & (PLAN_KEPT | PLAN_BY_PIN)) != 0 ||
        !plan_in(plan->open, plan->scratch->target[unit])) {
        return false;
    }
    for (int vip = unit; vip != END; vip = plan->scratch->next[vip]) {
        if ((plan->scratch->aux[vip] & PLAN_FIXED) != 0 || plan->scratch->target[vip] != plan->scratch->target[unit]) {
            return false;
        }
    }
    return true;
}

/* What the unit would add to a node, for each of its VIPs. */
static int64_t whole_more(const struct plan *plan, int unit, int node)
{
    return (2 * (int64_t)plan->scratch->load[node] + plan_size(plan, unit)) * (int64_t)plan->cost[node];
}

static bool send_whole(struct plan *plan, int unit)
{
    const uint32_t *load = plan->scratch->load;
    int from = plan->scratch->target[unit], to = SLOT_NONE;

    for (uint64_t left = allowed(plan, unit) & ~plan_forbidden(plan, unit); left != 0; left &= left - 1) {
        int node = __builtin_ctzll(left);

        if (to == SLOT_NONE || whole_more(plan, unit, node) < whole_more(plan, unit, to)) {
            to = node;
        }
    }
    if (to == SLOT_NONE || (2 * (int64_t)load[from] - plan_size(plan, unit)) * (int64_t)plan->cost[from] <=
                               whole_more(plan, unit, to)) {
        return false;
    }
    plan_put(plan, unit, to);
    plan->scratch->aux[unit] |= PLAN_EVENED;
    plan_bar_all(plan);
    return true;
}

static bool specials(struct plan *plan, unsigned *left)
{
    bool moved = false;

    for (int slot = 0; slot < plan->table->vips_end && *left > 0; slot++) {
        if ((plan->scratch->aux[slot] & PLAN_UNIT) != 0 && is_whole(plan, slot) && send_whole(plan, slot)) {
            moved = true;
            --*left;
        }
    }
    return moved;
}

/* A VIP that is sent on and on may come to nodes that it prefers more, and must still find back: so what it may go to is
 * settled before the first step. */
static void settle_preferences(struct plan *plan)
{
    for (int slot = 0; slot < plan->table->vips_end; slot++) {
        if (is_loose(plan, slot) && has_preference(plan, slot)) {
            plan->scratch->able[slot] = not_less_preferred(plan, slot, plan->scratch->able[slot]);
        }
    }
}

void plan_spread(struct plan *plan)
{
    struct spread spread = {.plan = plan};
    unsigned left = SPECIALS_MAX;

    settle_preferences(plan);
    do {
        list_loose(&spread);
        straight(&spread);
        detours(&spread);
    } while (specials(plan, &left));
}
