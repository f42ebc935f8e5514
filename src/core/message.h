#ifndef VIPD_CORE_MESSAGE_H
#define VIPD_CORE_MESSAGE_H

/* The two datagrams of the ownership protocol, decoded. Nodes are named by id (never reused), not by slot. */

#include <stdbool.h>
#include <stdint.h>

#include "core/limits.h"

/* From every node to every voter each interval, and at once when one of applied, released, held, missing changes; then
 * also to the node that waits for it. */
struct heartbeat
{
    uint64_t from; /* node id */
    uint64_t run;  /* random, new at each start, never 0 */
    uint64_t gen;  /* of the sender's own table */
    uint64_t seq;  /* grows by at least one with each heartbeat of the run */
    uint64_t applied;
    uint64_t released;
    uint64_t held; /* the highest index i <= applied such that all that the sender's table gives it by moves at or
                    * before i, and that its links can carry, is in its kernel and open */
    uint32_t n_held;       /* VIPs in the kernel, to show */
    uint32_t lease_ms;     /* what is left of its lease, to show */
    uint64_t leader;       /* whom it takes for the leader, 0 = nobody */
    uint64_t missing;      /* set of slots of its own table that it has not heard for `suspect` */
    uint64_t checks;       /* the checks_index of its own table ... */
    uint64_t passing;      /* ... and the sets of those checks that pass and fail on it */
    uint64_t failing;
    uint32_t writing_ms;   /* age of the oldest write that its Raft waits for; 0 = it waits for none */
    uint32_t slow_ppm;     /* by how much its clock is slewed, the worst of the last few seconds: to show */
    uint32_t fast_ppm;
    uint64_t last_term;    /* of its last log entry on disk */
    uint64_t last_index;
    uint32_t format; /* the highest that it reads */
};

#define ANSWER_REPORTS_MAX 64

/* What is left of the answering voter's promise to one fenced, not yet cleared node (V3). */
struct promise_report
{
    uint64_t node;
    uint64_t fence;   /* the fence's index in the voter's table */
    uint64_t left_us; /* 0 = run out; rounded up */
};

struct released_report
{
    uint64_t node;
    uint64_t released;
};

/* A voter's answer to one heartbeat. `acked` false: the voter did not promise, and the rest still tells why. */
struct answer
{
    uint64_t from; /* node id of the voter */
    uint64_t to;   /* node id of the heartbeat's sender */
    uint64_t run, gen, seq; /* echoed */
    bool acked;
    uint64_t applied; /* the voter's; one snapshot with the reports */
    uint8_t n_promises;
    struct promise_report promises[ANSWER_REPORTS_MAX];
    uint8_t n_released; /* of the nodes that the receiver waits for (N2, relayed) */
    struct released_report released[ANSWER_REPORTS_MAX];
};

#endif
