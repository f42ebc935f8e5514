#ifndef VIPD_IO_FENCE_HOOK_H
#define VIPD_IO_FENCE_HOOK_H

/* What sits at the tc hooks of an interface, read from the kernel (rtnetlink, this network namespace): which filters
 * are ours, whether another's is asked first, which seats are free. It changes nothing. */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Our filters' names begin so (libbpf: "PROGRAM:[ID]") and their handles lie in this range. Bit 0 of the handle tells
 * that this product made the clsact qdisc too: a qdisc has no room for a mark of its own, and only who made it may
 * take it away. */
#define FENCE_PROGRAM_PREFIX "vipd_"
#define FENCE_HANDLE_BASE 0x76697000u
#define FENCE_HANDLE_MADE 1u
#define FENCE_SEATS_MAX 16      /* handles of ours, without the mark */
#define FENCE_PRIORITIES_MAX 32 /* priorities that are looked at for a seat, from 1 */

enum fence_side
{
    FENCE_IN = 0,
    FENCE_OUT,
    FENCE_SIDES_N
};

enum fence_qdisc
{
    FENCE_QDISC_NONE = 0,
    FENCE_QDISC_CLSACT,
    FENCE_QDISC_INGRESS, /* the older kind: it has no egress side, and clsact cannot stand beside it */
};

struct fence_seat
{
    uint32_t handle;
    uint16_t priority; /* 1..; the lowest is asked first */
    uint32_t prog_id;
};

struct fence_hook
{
    struct fence_seat ours[FENCE_SEATS_MAX]; /* in the order in which they are asked */
    unsigned n_ours;
    unsigned n_others;
    bool first;                /* no filter of another is asked before ours[0]; false without one of ours */
    uint32_t seats_taken;      /* bit i: the i-th handle of the range, by whomever */
    uint32_t priorities_taken; /* bit p - 1: at priority p is something that our filter cannot sit beside */
};

static inline uint32_t fence_hook_handle(unsigned seat, bool made)
{
    return FENCE_HANDLE_BASE | seat << 1 | (made ? FENCE_HANDLE_MADE : 0);
}

/* 0, or -errno with *ret untouched; no qdisc means an empty hook. -EAGAIN: it changed during every reading. */
NODISCARD int fence_hook_read(int ifindex, enum fence_side side, struct fence_hook *ret);
NODISCARD int fence_qdisc_read(int ifindex, enum fence_qdisc *ret);

#endif
