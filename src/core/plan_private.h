#ifndef VIPD_CORE_PLAN_PRIVATE_H
#define VIPD_CORE_PLAN_PRIVATE_H

/* Shared by the files of the planner.
 *
 * A *unit* is what is placed as one: a VIP of its own, or the VIPs of a group. It goes by its leading slot, the lowest
 * of its members; ->next leads to the others. What the scratch memory is used for:
 *
 *     target  where each VIP shall be; UNDECIDED until its unit is put somewhere
 *     next    the next member of the unit, or END
 *     order   the next VIP in the list of its node, while loads are evened out, or END
 *     aux     flags below, and for a leading slot the size of the unit
 *     able    leading slots: nodes that can own every member; while loads are evened out, of VIPs of their own without those
 *             that they prefer less
 *     barred  leading slots: nodes that have a VIP which says that it must be apart from this unit
 *     load    VIPs that each node has in the wanted placement, as far as it is decided */

#include "core/plan.h"

#define UNDECIDED (-2)
#define END UINT16_MAX

enum
{
    PLAN_ACTIVE = 1 << 0,  /* enabled: takes part */
    PLAN_UNIT = 1 << 1,    /* leads a unit */
    PLAN_FIXED = 1 << 2,   /* this VIP's last move is not settled: it stays (L3) */
    PLAN_SPECIAL = 1 << 3, /* unit: a group, or in an apart-from rule */
    PLAN_KEPT = 1 << 4,    /* unit: not to be moved for the sake of an even spread */
    PLAN_BY_PIN = 1 << 5,  /* unit: put where it is pinned */
    PLAN_CROWDED = 1 << 6, /* unit: an apart-from rule drives it away from its owner */
    PLAN_EVENED = 1 << 7,  /* unit: moved for the sake of an even spread */
    PLAN_HOME_SHIFT = 8,   /* plan_spread.c, of VIPs that it may send elsewhere: slot + 1 of where it belongs, or 0 */
    PLAN_HOME_MASK = 0x7f, /* ... 7 bits */
    PLAN_SIZE_SHIFT = 16,
};

struct plan
{
    const struct plan_input *input;
    const struct table *table;
    struct plan_scratch *scratch;
    uint64_t base; /* nodes that can own VIPs at all: admitted, staying, no witness */
    uint64_t open; /* ... and may be given some now */
    uint64_t lowering; /* checks with a weight that fail on some node */
    uint64_t cost[NODES_MAX]; /* of one VIP more beside none, by node: the less, the greater its capacity */
    unsigned tries; /* of plan_room.c in this plan */
    int leader[GROUPS_MAX]; /* leading slot of the group, SLOT_NONE when it has no active VIP or cannot be together */
};

static inline bool plan_in(uint64_t set, int slot)
{
    return slot >= 0 && (set >> slot & 1) != 0;
}

static inline uint32_t plan_size(const struct plan *plan, int unit)
{
    return plan->scratch->aux[unit] >> PLAN_SIZE_SHIFT;
}

/* plan_able.c: fills able[] of every active VIP. */
void plan_able(struct plan *plan);

/* plan_health.c */
uint64_t plan_lowering(const struct table *table);           /* fills plan->lowering */
int32_t plan_lowered(const struct plan *plan, int unit, int node); /* what failing checks take from the preference */
bool plan_fails(const struct plan *plan, int unit, int node); /* a check that some member requires fails there */
bool plan_released(const struct plan *plan, int vip);        /* its owner's failing check says that it is to be released */
enum plan_step plan_checked(const struct plan *plan, int vip, int node); /* PLAN_CHOSEN, or what its checks say */

/* plan.c */
uint64_t plan_candidates(const struct plan *plan, int unit); /* nodes that it may be given to now */
int plan_best(const struct plan *plan, int unit, uint64_t nodes); /* steps 5 to 7; SLOT_NONE of no nodes */

/* plan_room.c: puts a unit that finds no place where those that are in the way can make room for it; false: nowhere. */
bool plan_make_room(struct plan *plan, int unit);

/* plan_unit.c */
void plan_units(struct plan *plan);                         /* forms the units */
int plan_leader(const struct plan *plan, int vip);          /* leading slot of the VIP's unit */
int plan_home(const struct plan *plan, int unit); /* where it stays if nothing asks it to move, or SLOT_NONE */
int plan_pin(const struct plan *plan, int unit);            /* node that it is pinned to, or SLOT_NONE */
int32_t plan_weight(const struct plan *plan, int unit, int node); /* of the preference for the node; 0 = none */
/* How long a preferred node has to be well before the unit is drawn to it, and whose word that is. */
uint32_t plan_failback_ms(const struct plan *plan, int unit, enum plan_failback *ret_of);
uint64_t plan_forbidden(const struct plan *plan, int unit); /* nodes that an apart-from rule rules out */
void plan_bar(struct plan *plan, int vip);                  /* tells those that the VIP must be apart from */
void plan_bar_all(struct plan *plan);                       /* the same anew for all that are placed */
void plan_put(struct plan *plan, int unit, int node);       /* places it; or, already placed, moves it */

/* What one VIP more costs on a node that has `load`, and what one less saves: the derivative of load * load / capacity. */
static inline int64_t plan_more(const struct plan *plan, int node, uint32_t load)
{
    return (2 * (int64_t)load + 1) * (int64_t)plan->cost[node];
}

static inline int64_t plan_less(const struct plan *plan, int node, uint32_t load)
{
    return (2 * (int64_t)load - 1) * (int64_t)plan->cost[node];
}

/* plan_spread.c: evens out the loads of the open nodes. */
void plan_spread(struct plan *plan);

#endif
