/* Room for a unit that could be held, and is not only because of what it must be apart from.
 *
 * Those who are in the way on a node go elsewhere, when each of them can, and if need be others make room for them in turn: a
 * planned move costs each of them milliseconds, while the unit would be held by nobody. Finding a place for all is as hard as
 * colouring a map; so this is a search that goes DEPTH steps deep and takes back what led nowhere. */

#include "core/plan_private.h"

#define BLOCKERS_MAX 8
#define DEPTH 3
#define TRIES_MAX 64 /* nodes looked at in one plan: for each, every VIP is looked at a few times */
#define STEPS_MAX 64

struct room
{
    struct plan *plan;
    unsigned n; /* what was moved, to be taken back in reverse */
    struct
    {
        int unit;
        int8_t from;
    } steps[STEPS_MAX];
};

static bool names(const struct plan *plan, int from, int to)
{
    for (int vip = from; vip != END; vip = plan->scratch->next[vip]) {
        const struct vip *at = &plan->table->vips[vip];

        for (int i = 0; i < at->n_apart; i++) {
            if ((plan->scratch->aux[at->apart[i]] & PLAN_ACTIVE) != 0 && plan_leader(plan, at->apart[i]) == to) {
                return true;
            }
        }
    }
    return false;
}

/* All of the unit is on the node, and may leave it. */
static bool can_leave(const struct plan *plan, int unit, int node)
{
    for (int vip = unit; vip != END; vip = plan->scratch->next[vip]) {
        if ((plan->scratch->aux[vip] & PLAN_FIXED) != 0 || plan->scratch->target[vip] != node) {
            return false;
        }
    }
    return true;
}

/* Units on the node that the unit must be apart from; -1: too many, or one that cannot leave. */
static int blockers(const struct plan *plan, int unit, int node, int ret[BLOCKERS_MAX])
{
    int n = 0;

    for (int slot = 0; slot < plan->table->vips_end; slot++) {
        if ((plan->scratch->aux[slot] & PLAN_ACTIVE) == 0 || plan->scratch->target[slot] != node) {
            continue;
        }
        int other = plan_leader(plan, slot);
        bool known = other == unit || (plan->scratch->aux[other] & PLAN_SPECIAL) == 0;

        for (int i = 0; i < n; i++) {
            known |= ret[i] == other;
        }
        if (known || !(names(plan, unit, other) || names(plan, other, unit))) {
            continue;
        }
        if (n == BLOCKERS_MAX || !can_leave(plan, other, node)) {
            return -1;
        }
        ret[n++] = other;
    }
    return n;
}

/* Puts the unit on the node, or, for the time being, nowhere (UNDECIDED). */
static bool step(struct room *room, int unit, int node)
{
    struct plan_scratch *scratch = room->plan->scratch;

    if (room->n == STEPS_MAX) {
        return false;
    }
    room->steps[room->n].unit = unit;
    room->steps[room->n++].from = scratch->target[unit];
    plan_put(room->plan, unit, node);
    plan_bar_all(room->plan);
    return true;
}

static void take_back(struct room *room, unsigned n)
{
    while (room->n > n) {
        room->n--;
        plan_put(room->plan, room->steps[room->n].unit, room->steps[room->n].from);
    }
    plan_bar_all(room->plan);
}

static bool place(struct room *room, int unit, int depth);

static bool clear_node(struct room *room, int unit, int node, int depth)
{
    int in_the_way[BLOCKERS_MAX];
    int n = blockers(room->plan, unit, node, in_the_way);

    for (int i = 0; i < n; i++) {
        if (!step(room, in_the_way[i], UNDECIDED)) {
            return false;
        }
    }
    if (n <= 0 || plan_in(plan_forbidden(room->plan, unit), node) || !step(room, unit, node)) {
        return false;
    }
    for (int i = 0; i < n; i++) {
        if (!place(room, in_the_way[i], depth - 1)) {
            return false;
        }
    }
    return true;
}

static bool place(struct room *room, int unit, int depth)
{
    struct plan *plan = room->plan;
    int node = plan_best(plan, unit, plan_candidates(plan, unit));

    if (node != SLOT_NONE) {
        return step(room, unit, node);
    }
    for (uint64_t nodes = plan->scratch->able[unit] & plan->open; nodes != 0 && depth > 0 && plan->tries < TRIES_MAX;) {
        unsigned before = room->n;

        node = plan_best(plan, unit, nodes);
        nodes &= ~(1ull << node);
        plan->tries++;
        if (clear_node(room, unit, node, depth)) {
            return true;
        }
        take_back(room, before);
    }
    return false;
}

bool plan_make_room(struct plan *plan, int unit)
{
    struct room room = {.plan = plan};

    if (!place(&room, unit, DEPTH)) {
        return false;
    }
    for (unsigned i = 0; i < room.n; i++) {
        if (room.steps[i].unit != unit && room.steps[i].from >= 0) {
            plan->scratch->aux[room.steps[i].unit] |= PLAN_CROWDED;
        }
    }
    return true;
}
