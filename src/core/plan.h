#ifndef VIPD_CORE_PLAN_H
#define VIPD_CORE_PLAN_H

/* Placement: which node should own each VIP. Pure; runs on the leader, and its result is a logged command with a
 * reason, so nodes of different versions cannot diverge. plan.c has the ladder of steps above the code. */

#include <stdbool.h>
#include <stdint.h>

#include "core/command.h"
#include "core/limits.h"
#include "core/table.h"

struct plan_input
{
    const struct table *table;
    uint64_t usable;   /* slots that VIPs may newly be placed on: heard, with a lease */
    uint64_t excluded; /* slots to be treated as gone (about to be fenced; or `plan --fail`) */
    uint64_t drained;  /* slots to be treated as draining, in addition to the table (`plan --drain`) */
    uint32_t steady_ms[NODES_MAX]; /* for how long each has been usable without a break */
    const int8_t *homes; /* by VIP slot: the node that it was on before the whole cluster was started and shall go back to, or
                          * SLOT_NONE; NULL = none has one */
    const uint64_t *unsettled; /* bit set over VIP slots whose last move is not settled and that may not be moved now
                                * (L3); NULL = none */
};

/* Whose word the failback of a VIP is. */
enum plan_failback
{
    PLAN_FAILBACK_CLUSTER = 0,
    PLAN_FAILBACK_GROUP,
    PLAN_FAILBACK_VIP, /* or that of a VIP that it moves together with */
};

/* Working memory, so that nothing is allocated. */
struct plan_scratch
{
    uint32_t load[NODES_MAX];
    int8_t target[VIPS_MAX];
    uint16_t order[VIPS_MAX];
    uint32_t aux[VIPS_MAX];
    uint16_t next[VIPS_MAX];
    uint64_t able[VIPS_MAX];
    uint64_t barred[VIPS_MAX];
    uint32_t ripe_ms; /* result: after it a plan may draw a VIP back that this one did not; UINT32_MAX = never */
    uint32_t failback_ms; /* result of plan_explain(), like the setting, and whose word it is */
    enum plan_failback failback_of;
};

/* The moves that lead from the table to the wanted placement, in slot order of the VIPs; at most `max`, those that end an
 * outage first. A VIP stays where it is unless a rule says otherwise; a VIP whose owner cannot own it and that has no
 * candidate keeps its owner when that owner is merely unable and is moved to nobody when disabled. Returns how many.
 * The reason of each: crash (owner excluded or fenced), drain (owner draining or leaving), health (owner's link is down
 * or gone, or a check that it requires fails there), new (had no owner), prefer, return
 * (to where it was before the cluster was started), rebalance, manual (pinned elsewhere), disabled. */
uint32_t plan_moves(const struct plan_input *input, struct plan_scratch *scratch, struct move *ret_moves, uint32_t max);

/* The VIPs that have no place once `moves` (plan_moves() of this input) are made: enabled ones whose owner is excluded, drained by the
 * input, or none, and that no move gives to another. As a set of slots; returns how many. */
uint32_t plan_stranded(const struct plan_input *input, const struct move *moves, uint32_t n, uint64_t ret[VIPS_MAX / 64]);

/* Why a node is, or is not, the owner that the planner wants for a VIP. */
enum plan_step
{
    PLAN_CHOSEN = 0,
    PLAN_NOT_A_MEMBER,   /* fenced, cleared or excluded */
    PLAN_WITNESS,
    PLAN_DRAINING,
    PLAN_NOT_IN_SET,     /* --nodes */
    PLAN_NO_LINK,        /* no interface for the address */
    PLAN_LINK_DOWN,
    PLAN_CHECK_FAILS,    /* a check that it requires fails there */
    PLAN_CHECK_UNKNOWN,  /* ... or has not been judged there yet */
    PLAN_NOT_USABLE,     /* not heard by the leader, or without a lease */
    PLAN_APART,          /* holds a VIP that this one must be apart from */
    PLAN_PINNED,         /* another node was asked for by hand */
    PLAN_RETURN,         /* it goes back to the node that it was on before the cluster was started */
    PLAN_GROUP,          /* the group is elsewhere */
    PLAN_PREFERENCE,     /* another node has a greater preference */
    PLAN_STAYS,          /* another node owns it and nothing asks it to move */
    PLAN_LOAD,           /* another node owns fewer VIPs */
    PLAN_ORDER,          /* equal in all; another node comes first */
    PLAN_ALL_FAILED,           /* it is chosen, though its check fails: nobody else can have it */
};

/* Whether VIPs may be placed on the node at all: PLAN_CHOSEN, or at which step it is left out for every VIP. */
enum plan_step plan_on_node(const struct plan_input *input, int node);

struct plan_candidate
{
    int8_t node;
    enum plan_step step; /* the step at which it was left out, or PLAN_CHOSEN */
    uint32_t load;       /* VIPs it owns in the wanted placement */
    int32_t weight;      /* of its preference, 0 = none; less what failing checks take from it */
};

/* The ladder for one VIP, by the function that decides: fills one candidate per used node, in slot order; returns how
 * many. */
int plan_explain(const struct plan_input *input, struct plan_scratch *scratch, int vip,
                 struct plan_candidate ret[NODES_MAX]);

const char *plan_step_text(enum plan_step step);

#endif
