#ifndef VIPD_CORE_CORE_H
#define VIPD_CORE_CORE_H

/* The deciding part of a node: leases, fences, moves, admissions, placement. One function,
 *
 *     core_step(core, event, actions)
 *
 * with the time in the event and an ordered, bounded list of actions as its result. No clock, no I/O, no malloc, no
 * globals, no logging (it emits ACT_LOG). The replicated table is changed only by table_apply(), which the daemon runs
 * as the log commits and then reports with EV_APPLIED; core reads it.
 *
 * Files: core.c dispatch; slew.c the own clock; disk.c a disk that hangs; voter.c promises (V1-V3); agent.c lease, hold,
 * release (N1-N5); contest.c other hosts (N6); hook.c hooks, connections; leader.c, overview.c, request.c, roster.c fence, clear, move, admit, voters
 * (L1-L6); election.c; stages.c how long it took; plan.c placement; table.c the table.
 *
 * Duties of the caller: execute the actions of a step completely and in order before the next step; results of
 * ACT_ADDR_ADD and ACT_ADDR_DEL are reported as EV_KERNEL before anything else is stepped (N3: one actuator, one thing
 * at a time), and those that there was no time for are forgotten: the core asks again; ACT_LEASE before any action behind it; when actions->more is set, step EV_CONTINUE soon. */

#include <stdbool.h>
#include <stdint.h>

#include "core/command.h"
#include "core/damping.h"
#include "core/limits.h"
#include "core/message.h"
#include "core/table.h"

typedef uint64_t time_ns; /* the node's own clock, CLOCK_BOOTTIME, in nanoseconds */
#define MS 1000000ull

/* How much slower and faster than real time the own clock runs now, beyond the drift that every lease allows for: somebody
 * slews it. Parts per million; both 0 in ordinary times. */
struct slew
{
    uint32_t slow_ppm, fast_ppm;
};
#define SLEW_MAX_PPM 250000 /* no kernel slews by more: beyond it the clock is broken, and the node neither holds nor votes */

enum event_type
{
    EV_TIMER = 1, /* the deadline that the last step returned has come (or any later time) */
    EV_CONTINUE,  /* the last step had more to do */
    EV_HEARTBEAT, /* a heartbeat arrived */
    EV_ANSWER,    /* an answer arrived */
    EV_APPLIED,   /* the table now stands at a later index */
    EV_DISK,      /* progress of Raft on this node: last entry on disk, target of catching up */
    EV_ROLE,      /* Raft's state changed */
    EV_PROPOSED,  /* what became of an ACT_PROPOSE */
    EV_KERNEL,    /* an address of a VIP is now in, or gone from, this node's kernel */
    EV_LINKS,     /* this node's interfaces changed (also once at start) */
    EV_REPORT,    /* a node's report of itself arrived (leader only) */
    EV_REQUEST,   /* a client's change (leader only) */
    EV_FOREIGN,   /* another host claimed a VIP that this node has or is to have (N6), answered a probe, or probes for it */
    EV_PROBE,     /* the probe of a VIP is over */
    EV_HEALTH,    /* a health check of this node has come to a result */
    EV_REACHED,   /* a node that could not be sent to can be now */
    EV_HOOK,      /* a before-take or before-release hook has ended, whatever came of it */
    EV_RESET,     /* the connections of a VIP have been reset, as far as they could be */
    EV_SHUTDOWN,  /* SIGTERM: give the VIPs away, then ACT_EXIT */
};

enum raft_role
{
    RAFT_ROLE_FOLLOWER = 0, /* also candidates and non-voters */
    RAFT_ROLE_LEADER,
};

/* What a node says of itself to the leader, over the peer connection. */
struct report
{
    uint64_t node; /* id */
    uint64_t identity;
    uint64_t run;
    bool witness;
    bool leaving; /* in orderly shutdown */
    uint8_t n_links;
    struct link links[LINKS_MAX];
    char version[VERSION_SIZE];
    uint32_t reads_first, reads_last; /* formats */
    uint8_t n_conflicts; /* of its VIPs, as far as the table has them otherwise */
    struct conflict_item conflicts[CONFLICTS_MAX];
};

struct event
{
    enum event_type type;
    time_ns now;
    struct slew slew; /* read no later than `now` */
    time_ns writing_since; /* when the oldest write that Raft waits for was given to the disk; 0 = it waits for none */
    int64_t wall_ms;  /* Unix; copied into commands, never compared */
    union {
        const struct heartbeat *heartbeat;
        const struct answer *answer;
        const struct report *report; /* EV_REPORT, EV_LINKS (self) */
        struct
        {
            uint64_t last_term, last_index; /* of the last entry on disk */
            uint64_t target; /* index that must be applied before this run is caught up (V2); may shrink */
            bool caught_up;  /* the daemon knows that applied >= target */
            const struct addr *earlier; /* with the first caught_up: VIPs of the table which an earlier run left in the */
            uint32_t n_earlier;         /* kernel, behind its fence (N4); valid during the step */
        } disk;
        struct
        {
            enum raft_role role;
            uint64_t term;
            uint64_t leader; /* node id, 0 = unknown */
        } role;
        struct
        {
            uint64_t token;
            uint64_t index; /* 0: refused, nothing was appended */
        } proposed;
        struct
        {
            struct addr addr;
            bool present;
            bool failed; /* the addition or removal failed; `present` still tells what the kernel has */
            bool more;   /* another EV_KERNEL follows at once: decide nothing yet */
        } kernel;
        struct
        {
            uint64_t token; /* caller's, returned in ACT_REPLY */
            const struct command *command; /* arrays inside stay valid during the step only */
            bool force;
            bool dry_run;
        } request;
        struct
        {
            struct addr addr;
            uint8_t mac[MAC_SIZE]; /* of the other host */
            bool probes; /* it claims nothing yet, it asks for the VIP before it takes it */
        } foreign;
        struct
        {
            uint16_t vip;
            uint64_t moved; /* as in the ACT_PROBE */
            bool failed;    /* nothing was asked; else nobody answered (who answers is an EV_FOREIGN) */
        } probe;
        struct
        {
            uint8_t check;    /* slot */
            uint64_t changed; /* of the definition that was looked at */
            bool passed;
        } health;
        struct
        {
            uint16_t vip;
            enum hook_point point;
            uint64_t moved; /* as in the ACT_HOOK */
        } hook;
        struct
        {
            uint16_t vip;
            uint64_t moved; /* as in the ACT_RESET */
            bool more;      /* another EV_RESET follows at once: decide nothing yet */
        } reset;
    };
};

enum action_type
{
    ACT_HEARTBEAT = 1, /* send heartbeat to node `to` */
    ACT_ANSWER,        /* send answer to node `to` */
    ACT_LEASE,         /* lease.end is the new end of the lease for the kernel; 0 closes the gate */
    ACT_ADDR_DEL,      /* remove a VIP's address; report EV_KERNEL */
    ACT_ADDR_ADD,      /* add it, on the link table_link_for() names; report EV_KERNEL */
    ACT_PROBE,         /* ask the link whether another host has the VIP; report EV_PROBE */
    ACT_ANNOUNCE,      /* start the announcements of a held VIP */
    ACT_SILENCE,       /* stop them */
    ACT_ANNOUNCE_ALL,  /* announce every held VIP again: the gate was closed for a moment */
    ACT_HOOK,          /* run the VIP's hook of that point, if it is still of use; report EV_HOOK of a before-... */
    ACT_RESET,         /* reset the TCP connections of a VIP that is about to be removed; report EV_RESET */
    ACT_BARRIER,       /* append a Raft barrier; report EV_PROPOSED with token 0 before the next step (L6) */
    ACT_CONFIGURE,     /* give node `to` another place in Raft's configuration; report EV_PROPOSED with token 0 before the next
                        * step */
    ACT_PROPOSE,       /* append `command` to the Raft log; report EV_PROPOSED with the token before the next step */
    ACT_REPLY,         /* answer a client's request */
    ACT_REPORT,        /* send this node's report to the leader `to` (to itself: step EV_REPORT) */
    ACT_ELECT,         /* start an election now, as if the leader `to` had sent TimeoutNow */
    ACT_TRANSFER,      /* hand the leadership to node `to` */
    ACT_LOG,           /* tell people */
    ACT_EXIT,          /* orderly shutdown is complete */
};

/* Why a VIP is taken or released, for its hooks. */
enum hook_cause
{
    HOOK_MOVED = 0, /* the VIP's last move: its `reason` */
    HOOK_AGAIN,     /* taken: under the same move as before */
    HOOK_LEASE,     /* released: this node lost its right to hold anything */
    HOOK_FOREIGN,   /* released: another host has it */
};

enum configure_role
{
    CONFIGURE_STANDBY = 0, /* it gets the log; listed when it is not yet */
    CONFIGURE_VOTER,
    CONFIGURE_NONE, /* taken out */
};

/* What core has to say to people; base/log.h has the texts. */
enum core_log
{
    LOG_CORE_LEASE_GAINED = 1,
    LOG_CORE_LEASE_LOST,
    LOG_CORE_HOLD,
    LOG_CORE_DROP,
    LOG_CORE_FENCE,
    LOG_CORE_CLEAR,
    LOG_CORE_ADMIT,
    LOG_CORE_MOVE,
    LOG_CORE_LEADER,
    LOG_CORE_FOLLOWER,
    LOG_CORE_MISSING,
    LOG_CORE_HEARD,
    LOG_CORE_FOREIGN,
    LOG_CORE_READD, /* an address was removed by something else and is put back */
    LOG_CORE_TAKEN, /* these four: value is the other host's hardware address, its first byte the highest of six */
    LOG_CORE_DEFENDED,
    LOG_CORE_YIELDED,
    LOG_CORE_CONFLICT_END,
    LOG_CORE_CLOCK_STEADY, /* these three: value is the slew, ppm */
    LOG_CORE_CLOCK_SLEWED,
    LOG_CORE_CLOCK_UNFIT,
    LOG_CORE_LISTED, /* a node gets the log without a vote */
    LOG_CORE_VOTER,
    LOG_CORE_UNLISTED,
    LOG_CORE_REMOVED,
    LOG_CORE_CHECK_FAILS, /* on this node; value is the check's slot */
    LOG_CORE_CHECK_PASSES,
    LOG_CORE_DISK_LATE, /* this node's */
    LOG_CORE_DISK_WELL,
    LOG_CORE_DISK_DEAD, /* a node is fenced for its disk */
    LOG_CORE_MAINTENANCE, /* value is the node's enum step_state from now on */
    LOG_CORE_MAINTENANCE_LOST,
};

struct action
{
    enum action_type type;
    uint64_t to; /* node id, where one is meant */
    union {
        struct heartbeat heartbeat;
        const struct answer *answer; /* valid until the next step */
        time_ns lease_end;
        uint16_t vip;
        enum configure_role configure;
        struct
        {
            uint16_t vip;
            uint64_t moved;
            uint32_t interval_ms; /* between PROBES_N probes, and after the last one: then nobody answered */
        } probe;
        struct
        {
            uint16_t vip;
            enum hook_point point;
            enum hook_cause cause;
            uint64_t moved;
            uint32_t within_ms; /* a before-... is waited for no longer, from now on; an after-... may run for so long */
        } hook;
        struct
        {
            uint16_t vip;
            uint64_t moved;
        } reset;
        struct addr addr; /* ACT_ADDR_DEL */
        struct
        {
            uint64_t token;                /* of the client's request, 0 = the leader's own; the caller answers the
                                            * client with the outcome once the entry is applied */
            const struct command *command; /* valid until the next step */
        } propose;
        struct
        {
            uint64_t token;
            struct outcome outcome;
        } reply;
        struct
        {
            enum core_log id;
            int node, other; /* slots or SLOT_NONE */
            int vip;         /* slot or SLOT_NONE */
            uint64_t value;
        } log;
    };
};

#define ADDR_BATCH 512 /* address operations of one step; the rest follows with EV_CONTINUE */
#define LOGS_MAX 256   /* words of one step; what is more is not said */
#define ACTIONS_MAX (ADDR_BATCH + LOGS_MAX + 2 * NODES_MAX + 64) /* an answer and a heartbeat for each node, and what is one */
#define PROBES_N 3 /* frames of one probe (RFC 5227 2.1.1) */

struct actions
{
    unsigned n, n_logs;
    bool more;        /* step EV_CONTINUE soon */
    time_ns deadline; /* when EV_TIMER is due */
    struct action list[ACTIONS_MAX];
};

struct core;

/* Bytes that the caller allocates for a core, from calloc(): most of them are never used. */
size_t core_size(void);

/* `core` is all zeros, `self` this node's id, `run` random and nonzero. `table` outlives the core or is replaced. The kernel
 * holds no VIP that EV_KERNEL has not reported. */
void core_init(struct core *core, uint64_t self, uint64_t run, const struct table *table, time_ns now);

/* A restored table in the place of the one before; EV_APPLIED comes next. */
void core_replace_table(struct core *core, const struct table *table);

/* What this node says of itself (ACT_REPORT), as last told by EV_LINKS. */
const struct report *core_report(const struct core *core);

void core_step(struct core *core, const struct event *event, struct actions *actions);

/* ------------------------------------------------------------------ what is (for status, list and show; read only) */

enum vip_state
{
    VIP_HELD = 0,
    VIP_MOVING,
    VIP_UNHELD,
    VIP_DISABLED,
};

enum node_state
{
    NODE_STATE_UP = 0,
    NODE_STATE_DRAINING,
    NODE_STATE_DRAINED,
    NODE_STATE_FENCED,
    NODE_STATE_DOWN,
};

/* The state of a VIP as this node sees it (complete on the leader; on others as far as it hears). `ret_why` gets one
 * sentence when the state is not held. */
enum vip_state core_vip_state(const struct core *core, int vip, time_ns now, char ret_why[192]);
/* The VIP's conflict with a foreign host, and that host's hardware address; the owner knows of it a moment before the
 * table. */
enum conflict_kind core_vip_conflict(const struct core *core, int vip, char ret_mac[MAC_TEXT_SIZE]);
enum node_state core_node_state(const struct core *core, int node, time_ns now);
/* What is left of the node's lease by its last heartbeat; 0 = none or not heard. */
uint32_t core_node_lease_ms(const struct core *core, int node, time_ns now);

/* For how long the node's disk has not answered, by its last heartbeat, where that is longer than it should be; else 0. */
uint32_t core_disk_late_ms(const struct core *core, int node, time_ns now);

/* The own clock as it counts now: the worst of the last few seconds at most. */
struct core_clock
{
    uint32_t slow_ppm, fast_ppm;
    bool unfit;        /* more than a lease can bear: the node holds nothing, promises nothing and does not lead */
    uint32_t lease_ms; /* how long a lease is */
    uint32_t full_ms;  /* ... and without the slew */
    uint32_t wait_ms;  /* by how much promises last longer */
};
void core_clock(const struct core *core, struct core_clock *ret);

/* The clock of any node, by its own word in its last heartbeat; of one that is not heard nothing is known: zero. */
struct core_slew
{
    uint32_t slow_ppm, fast_ppm;
    bool unfit;
};
void core_node_slew(const struct core *core, int node, time_ns now, struct core_slew *ret);

bool core_is_leader(const struct core *core);     /* by Raft, and its barrier is applied (L6) */
uint64_t core_leader(const struct core *core);    /* node id whom this node takes for the leader, 0 = unknown */
bool core_has_quorum(const struct core *core, time_ns now); /* this node's lease is running, or it leads with one */
/* core_is_leader, and likely still the only one: it hears a majority, and its lease is running (as far as it may have one).
 * After it was stopped what it has heard is old, whatever time it was read; the lease knows. */
bool core_speaks(const struct core *core, time_ns now);
bool core_caught_up(const struct core *core);
/* How long the stages of an event of the history took, as this node measured it; CORE_STAGE_UNKNOWN: it did not, or not yet. */
#define CORE_STAGE_UNKNOWN UINT32_MAX
struct core_stages
{
    uint32_t first_ms; /* a move: until the old owner had certainly let go; a fence: since the node was last heard;
                        * a clear or admission: since the fence */
    uint32_t held_ms;  /* a move: until the new owner held it */
};
void core_stages(const struct core *core, uint64_t number, struct core_stages *ret);

/* How many of the voters would be left without the nodes of the set, and without those that are not heard now. */
int core_voters_left(const struct core *core, uint64_t without, time_ns now);
/* Whether those are a majority. */
bool core_keeps_quorum(const struct core *core, uint64_t without, time_ns now);
/* This node's interface that carries the VIP, by its latest EV_LINKS; NULL = none. */
const struct link *core_link_for(const struct core *core, int vip);
/* Whether this node may hold the VIP now (N2); asked again before each announcement and renewal. */
bool core_may_hold(const struct core *core, int vip, time_ns now);

/* Whether this node is to run the check: it can hold VIPs, and the check is about the node or about a VIP that it may own. */
bool core_runs_check(const struct core *core, int check);
/* What this node makes of it, damped. */
enum damping_verdict core_own_check(const struct core *core, int check);

/* Whether the VIP counts as taken by this node: after-take was asked for, and after-release was not yet. */
bool core_took(const struct core *core, int vip);
/* The before-take program that this node waits for before it takes the VIP; NULL: none. */
const char *core_waits_for_hook(const struct core *core, int vip, time_ns now);

/* Whether this node waits for the answer to a probe of the VIP. */
bool core_probing(const struct core *core, int vip);
/* How long a probe takes: PROBES_N intervals of the timing, at least 60 and at most 210 ms. */
uint32_t core_probe_ms(const struct timing *timing);

/* Whether a client's `--wait` for entry `index` is over: every VIP moved at or after... up to now is held, or cannot be.
 * vip SLOT_NONE: all VIPs; node >= 0: that the node holds nothing (drain). */
bool core_settled(const struct core *core, int vip, int node, time_ns now);

struct plan_scratch;
/* Whether a maintenance of the node would be unsafe now: it is not up, no majority of the voters or no node for a VIP would be
 * left. Scratch, and VIPS_MAX moves, to work in. */
bool core_maintenance_unsafe(const struct core *core, int node, time_ns now, struct plan_scratch *scratch, struct move *moves,
                             char ret_why[192]);
/* Of how many of the n nodes of a maintenance the planner may be asked in one go; of the others before their turn. */
int core_maintenance_planned(const struct core *core, int n);
/* What the node under maintenance lacks to be healthy; false: nothing, or that is not what is waited for. */
bool core_maintenance_waits(const struct core *core, time_ns now, char ret_why[192]);
uint64_t core_node_run(const struct core *core, int node); /* of vipd there, as last heard; 0 = never */

/* Whether the leader takes the last move of the VIP for settled (N2). */
bool core_vip_settled(const struct core *core, int vip, time_ns now);
/* For how long each node has been usable without a break, as far as this leader knows; else 0. */
void core_steady_ms(const struct core *core, time_ns now, uint32_t ret[NODES_MAX]);
/* Which run of the node was heard last, and the end of its log on disk by then; false: none. */
bool core_heard_log(const struct core *core, uint64_t id, uint64_t *ret_run, uint64_t *ret_term, uint64_t *ret_index);
/* For how long the leader will not admit the node yet, because it came and went too often (L4's hold-down); 0 = it is not held down. */
uint32_t core_hold_down_ms(const struct core *core, int node, time_ns now);
/* Whether the leader waits in vain for the node to hold what it could (L1): it is given nothing more. */
bool core_stuck(const struct core *core, int node, time_ns now);
/* Where VIPs were before the whole cluster was started, by slot, as far as they are to go back; NULL: none (core/homes.c). */
const int8_t *core_homes(const struct core *core);
/* Nodes that the leader may place VIPs on now: heard within `suspect`, with a lease. */
uint64_t core_usable(const struct core *core, time_ns now);

#endif
