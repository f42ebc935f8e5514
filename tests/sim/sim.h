#ifndef VIPD_SIM_SIM_H
#define VIPD_SIM_SIM_H

/* A cluster of the product's own core and consensus in one thread, on a clock, a network, disks and kernels that are
 * the simulator's. See README.md. True time is in nanoseconds; each node has a clock of its own. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/core.h"
#include "io/consensus.h"
#include "wire/heartbeat.h"

#define SIM_NODES 7
#define ADDRS 20      /* addresses that may become VIPs */
#define US 1000ull
#define INBOX_MAX 2048
#define INBOX_NET_MAX 256 /* messages that wait for a node that does not run; more are lost */
#define QUEUE_MAX 512
#define JOBS_MAX 2048 /* more than consensus leaves under way */
#define INDEX_MAX 60000
#define FAULTS_MAX 4096
#define SESSIONS 3
#define IDS_MAX 256      /* that a cluster gives out */

/* ------------------------------------------------------------------ chance */

struct chance
{
    uint64_t state;
};
uint64_t chance_next(struct chance *c);
uint64_t chance_below(struct chance *c, uint64_t n);                 /* 0 .. n - 1 */
uint64_t chance_span(struct chance *c, uint64_t from, uint64_t to);  /* both included */
bool chance_permille(struct chance *c, unsigned permille);

/* ------------------------------------------------------------------ faults */

enum fault_kind
{
    FAULT_CRASH = 0, /* the process is killed; the kernel keeps what it has */
    FAULT_REBOOT,    /* the host goes down: the kernel's state is lost, too */
    FAULT_LEAVE,     /* SIGTERM, and a start later */
    FAULT_STALL,     /* the process is stopped for a while; the kernel goes on */
    FAULT_CRASH_ALL,
    FAULT_STALL_ALL,
    FAULT_CUT,       /* one direction of one pair, datagrams, Raft's frames or both */
    FAULT_ISOLATE,   /* a node: what it sends, what it should hear, or both */
    FAULT_PARTITION, /* the nodes of a set from the others, one way or both */
    FAULT_LOSS,      /* a share of all messages is lost */
    FAULT_DELAY,     /* messages of one direction are late, and so out of order */
    FAULT_REPEAT,    /* messages come twice, and old ones come again */
    FAULT_CLOCK,     /* a clock runs faster or slower, within the drift */
    FAULT_DISK_SLOW,
    FAULT_DISK_FAIL,
    FAULT_REMOVE,    /* somebody removes an address of a VIP */
    FAULT_KERNEL,    /* the kernel refuses additions or removals for a while */
    FAULT_LINK,      /* the interface is down for a while */
    FAULT_FORGE,     /* somebody announces a VIP who should not */
    FAULT_STRANGER,  /* another host has a VIP's address for a while */
    FAULT_AMBUSH,    /* waits for something to become of a node: ambush.c */
    FAULT_WIPE,      /* a disk is emptied; with the host's kernel, or without */
    FAULT_SLEW,      /* somebody slews clocks, some ahead and some back, by more than the drift; the nodes can know */
    FAULT_KINDS_N,
};

/* When in its work the fault hits a node. */
enum fault_moment
{
    MOMENT_NOW = 0,
    MOMENT_BEFORE_ACTION, /* between two actions of one step; `arg` is the kind of the next, 0 = any */
    MOMENT_BEFORE_STEP,   /* an event waits: after what caused it, before the core is stepped */
    MOMENT_WRITTEN,       /* something is on disk, and the process has not been told */
    MOMENT_START,         /* while it starts */
    MOMENTS_N,
};

/* What an ambush waits for, and what it then does around the node. */
enum trigger
{
    TRIGGER_FENCE = 0, /* the leader proposes to fence the node */
    TRIGGER_ADMIT,     /* ... to admit it */
    TRIGGER_MOVE,      /* ... to move a VIP to it */
    TRIGGER_LEAD,      /* it was elected */
    TRIGGER_START,
    TRIGGER_CAUGHT_UP, /* since its start */
    TRIGGER_PROMOTE,   /* the leader proposes another voter, which the node is not ... */
    TRIGGER_DEMOTE,    /* ... or a voter less */
    TRIGGER_ACK,       /* as a voter it has just acked another one's heartbeat */
    TRIGGERS_N,
};
enum deed
{
    DEED_MUTE = 0,     /* its datagrams reach nobody */
    DEED_DEAF,         /* no datagrams reach it */
    DEED_BLIND,        /* no frames of Raft reach it */
    DEED_CRASH_VOTERS, /* the others but the leader are killed, and soon started again */
    DEED_CRASH_LEADER,
    DEED_CRASH,
    DEED_STALL,
    DEED_REPLAY,       /* what was sent to its earlier runs arrives again */
    DEED_REFUSE,       /* its kernel removes nothing */
    DEED_UNHEARD,      /* the leader alone does not hear it, until it fences it */
    DEED_SPLIT,        /* it and as many as make a majority of the voters of its table are cut off from all others */
    DEED_LATCH,        /* it is stopped before it tells its kernel of a lease, and killed behind that */
    DEEDS_N,
};
#define STAGES 3
struct stage
{
    enum trigger trigger;
    unsigned deeds; /* a set; none = there is no such stage */
};

struct fault
{
    enum fault_kind kind;
    uint64_t at;       /* true time */
    uint64_t for_ns;   /* how long it lasts */
    int node, other;   /* other: of a pair; FAULT_CRASH and the like: -2 whoever leads, -3 whoever holds most */
    enum fault_moment moment;
    unsigned arg;      /* of the moment, or of the kind: channels, directions, a set, permille, ppm, an address */
    unsigned arg2;
    struct stage stages[STAGES]; /* of an ambush */
};

struct schedule
{
    unsigned n;
    struct fault list[FAULTS_MAX];
};

/* A host outside of the cluster that has the address. */
struct stranger
{
    uint64_t until, number;
};

#define AMBUSHES 3
struct ambush
{
    const struct fault *fault;
    uint64_t until, patience;
    int stage, node;
};

/* ------------------------------------------------------------------ a node */

struct sim_record
{
    uint64_t term;
    enum consensus_entry_type type;
    void *data;
    size_t len;
};

struct sim_disk
{
    uint64_t term, vote, first;
    size_t n, size;
    struct sim_record *records;
    struct consensus_snapshot snapshot; /* index 0 = none */
};

struct sim_address
{
    bool present;
    uint64_t valid_until; /* own clock */
    uint64_t number;      /* of the addition: an expiry is about one */
};

struct sim_kernel
{
    struct sim_address addresses[ADDRS];
    bool fence;         /* attached */
    uint32_t fenced;    /* the set of VIPs that the fence knows */
    uint64_t lease_end; /* own clock */
    bool link_up;
};

enum input_kind
{
    INPUT_DATAGRAM = 1,
    INPUT_FRAME,   /* Raft's */
    INPUT_REPORT,  /* a node's report over the peer connection */
    INPUT_WRITTEN, /* a disk job is done */
    INPUT_ADDRESS, /* netlink tells of an address */
    INPUT_LINKS,
    INPUT_ARP,     /* somebody announced an address */
    INPUT_REQUEST, /* a client */
    INPUT_TERM,    /* SIGTERM */
    INPUT_LOST,    /* the connection to a peer */
    INPUT_GONE,    /* a member says that this node is none any more */
};

struct input
{
    enum input_kind kind;
    int from;
    uint64_t from_id, to_id; /* as the sender knew them */
    int address, session;
    uint64_t request;
    size_t len;
    void *data;
    struct consensus_job *job;
    int status;
};

struct event_ring
{
    struct event list[QUEUE_MAX];
    unsigned head, n;
};

struct announcing
{
    bool on;
    unsigned left;
    uint64_t at; /* own clock */
    int address;
};

enum start_phase
{
    START_FLUSH = 0,
    START_LINKS,
    START_RAFT,
    STARTED,
};

/* io/probe.c's part of a probe. */
struct probing
{
    bool on, sent;
    int left, address;
    uint64_t at, interval, moved; /* at: own clock */
};

/* A hook, or a reset of connections, that is at work. */
enum hooking_kind
{
    HOOKING_TAKE = 0,
    HOOKING_RELEASE,
    HOOKING_RESET,
};
#define HOOKING_KINDS_N 3
struct hooking
{
    uint64_t at, moved; /* at: own clock, when it ends; 0 = never */
};

/* N6, as the simulator follows it: foreign.c. */
enum shut
{
    SHUT_NOT = 0,
    SHUT_NEXT, /* by the end of this step's actions */
    SHUT,
};
#define SENT_KEPT 256 /* heartbeats */

struct call /* a client's change that was proposed here */
{
    uint64_t token, request, index;
    int session;
};

struct sim_node
{
    int slot;      /* the host: not its slot in a table */
    char name[NAME_SIZE];
    uint64_t id, identity; /* id 0: no member; its disk is empty */
    bool was_member; /* of its table, in this run */
    bool gone;       /* it ends because it was removed */
    bool out;        /* at the beginning it is no member */
    bool founder_witness;
    enum node_role role;
    struct sim_disk disk;
    struct sim_kernel kernel;

    uint64_t own_base, true_base; /* the clock */
    int32_t ppm;
    int32_t slew, slew_told, slew_seen; /* ppm; the node is told before it begins, and sees it before that (node.c) */

    bool disk_fails;
    uint64_t disk_ns;       /* of a write, at most */
    unsigned add_fails, del_fails; /* permille */

    /* the process */
    bool alive, stopping, leaving;
    bool lost; /* in the calm at the end it stays away, in one way or another */
    unsigned epoch;
    uint64_t run;
    enum start_phase phase;
    uint64_t stalled_until, step_at; /* step_at: own clock, when the actions at hand were decided */
    struct table *table;
    struct core *core;
    struct consensus *consensus;
    struct actions *actions;
    unsigned next_action;
    struct event_ring urgent, queue;
    bool applied_queued;
    unsigned idle_steps;
    bool pumping; /* an input is taken only when nothing is left to do */
    struct report report, told; /* own; another node's, what an event points to */
    struct datagram_message *datagram; /* likewise */
    struct command command;
    struct vip_spec spec;
    struct move move;
    uint64_t target, last_term, last_index;
    bool caught_up, found_proposed, started_raft;
    uint64_t fenced_changed;
    uint32_t vips_told; /* addresses of VIPs that the core knows of */
    uint32_t adopted; /* addresses that an earlier run left behind its fence, which is in force still */
    uint64_t adopt_due;
    bool attached; /* this run's fence is in force */
    uint64_t core_due, renew_due; /* own clock, ns */
    struct announcing announcing[VIPS_MAX];
    int about_to_announce; /* VIP slot whose may-hold has been asked, or -1 */
    struct probing probing[VIPS_MAX];
    struct hooking hooking[VIPS_MAX][HOOKING_KINDS_N];
    uint64_t asked[VIPS_MAX], kept[VIPS_MAX]; /* by which move: nobody answered; owned before it started */
    enum shut shut;
    uint64_t shut_since; /* own clock */
    uint64_t shut_acked; /* voters that acked what was sent since */
    uint64_t sent_at[SENT_KEPT];
    uint64_t flying[ADDRS]; /* N3_SERIAL broken: when an addition under way is done, 0 = none */
    struct { uint64_t at; struct datagram_message *datagram; } checked; /* V1_ATOMIC broken: acked at that time */
    struct call calls[16];
    uint64_t tokens;
    bool disk_hangs; /* nothing is written any more, and nothing fails */
    struct consensus_job *jobs[JOBS_MAX];
    unsigned jobs_n;
    bool job_due;
    struct input inbox[INBOX_MAX];
    unsigned inbox_head, inbox_n;
    uint64_t run_at, run_ticket;
    uint64_t start_at; /* 0 = none planned */

    struct fault *armed; /* waits for its moment */
    uint64_t armed_until;
};

/* ------------------------------------------------------------------ the world */

struct message_stats
{
    uint64_t sent, lost, repeated, late, overflowed;
};

struct sim_stats
{
    uint64_t faults[FAULT_KINDS_N], fault_total, armed_hits, sprung;
    uint64_t steps, turns, events, sim_ns;
    uint64_t joined, removed, voter_changes, installed;
    uint64_t restarts, elections, fences, clears, admits, moves, snapshots, changes, changes_refused, changes_lost;
    uint64_t turns_seen, maintained; /* entries with a node under maintenance; maintenances that went to their end */
    uint64_t announcements;
    uint64_t held_ns_worst, even_ns_worst;
    uint64_t held_seed, even_seed;
    struct message_stats messages;
};

enum violation
{
    VIOLATION_NONE = 0,
    VIOLATION_SAFETY,
    VIOLATION_FOREIGN, /* N6: another host is not taken as it should be */
    VIOLATION_LIVENESS,
    VIOLATION_BUG, /* an abort in the product */
};

struct timer;
struct due
{
    uint64_t at, number;
    uint32_t slot;
};

struct world
{
    uint64_t now, seed, number;
    uint64_t hash;
    bool trace;
    bool broken; /* some rule is */
    struct due *heap;
    struct timer *timers;
    uint32_t *free; /* of `timers`: the slots from heap_n on */
    size_t heap_n, heap_size;
    struct chance net, disk, work, client, keeper;
    bool maintenance; /* somebody maintains the nodes (keeper.c) */

    int n; /* hosts */
    bool roster; /* members and voters change */
    int8_t host_of[IDS_MAX]; /* + 1; 0: the id's disk is gone, or never was */
    bool claimed[IDS_MAX];
    struct sim_node nodes[SIM_NODES];
    struct timing timing;
    uint64_t unit; /* suspect, in ns: the measure of faults */

    uint8_t cut[SIM_NODES][SIM_NODES]; /* count of cuts by channel: see net.c */
    uint8_t cut_raft[SIM_NODES][SIM_NODES];
    uint64_t cut_since[SIM_NODES][SIM_NODES]; /* of cut_raft */
    unsigned loss, repeat; /* permille */
    uint64_t late[SIM_NODES][SIM_NODES];
    struct stranger strangers[ADDRS];
    bool calm;
    uint64_t calm_since, forged_at, forged_after;
    struct schedule *schedule;
    struct ambush ambushes[AMBUSHES];
    unsigned ambush_at;
    int unheard[SIM_NODES]; /* by which leader, + 1 */
    unsigned split; /* a set of hosts; 0 = none */
    struct fault latches[SIM_NODES];

    uint64_t digests[INDEX_MAX];
    uint64_t newest; /* highest index applied anywhere */

    enum violation violation;
    char what[400];
    struct sim_stats *stats;
};

extern struct world world;
extern const char *const FAULT_NAMES[FAULT_KINDS_N];
extern const char *const MOMENT_NAMES[MOMENTS_N];
extern const char *const TRIGGER_NAMES[TRIGGERS_N];
extern const char *const DEED_NAMES[DEEDS_N];

/* hooks.c */
bool hooks_there(void);
void hooks_of(int address, struct vip_spec *spec);
void hooks_ask(struct sim_node *node, const struct action *action);
bool hooks_due(struct sim_node *node, uint64_t own);
uint64_t hooks_next(const struct sim_node *node, uint64_t own); /* no later than `own` */

/* world.c */
enum timer_kind
{
    TIMER_RUN = 1, /* a node takes a turn */
    TIMER_MESSAGE,
    TIMER_DISK,
    TIMER_EXPIRE,  /* of an address */
    TIMER_FAULT,
    TIMER_FAULT_END,
    TIMER_SESSION,
    TIMER_START,
    TIMER_AMBUSH,
    TIMER_AMBUSH_END,
    TIMER_STRANGER,
    TIMER_MEMBER,
};
struct timer
{
    uint64_t at, number;
    enum timer_kind kind;
    int node;
    unsigned epoch;
    uint64_t a, b;
    struct input input;
};
void world_open(uint64_t seed, bool trace, struct sim_stats *stats);
void world_close(void);
struct timer *world_at(uint64_t at, enum timer_kind kind, int node);
bool world_take(struct timer *ret);
void world_note(const char *text, int node, uint64_t a, uint64_t b); /* into the hash, and printed when traced */
void world_say(int node, const char *format, ...) PRINTF(2, 3);       /* printed when traced */
void world_violated(enum violation kind, const char *format, ...) PRINTF(2, 3);
uint64_t clock_own(const struct sim_node *node);
uint64_t clock_true(const struct sim_node *node, uint64_t own); /* the first moment at which the clock shows it */
void clock_rate(struct sim_node *node, int32_t ppm);
void clock_slewed(struct sim_node *node, int32_t ppm);

/* address pool */
struct addr address_of(int i);
int address_index(const struct addr *addr); /* -1: none of the pool */

/* net.c: channel bits */
#define CHANNEL_DATAGRAMS 1u
#define CHANNEL_FRAMES 2u
void net_send(int from, int to, enum input_kind kind, const void *data, size_t len);
void net_announce(int from, int address); /* -1: a stranger */
void net_claim(int from, int to, int address); /* to one node alone */
void net_cut(int from, int to, unsigned channels, bool on);
void net_open(void);
void net_started(int to);  /* what was sent to it so far was sent to an earlier run */
void net_replay(int to);   /* ... and comes again */

/* disk.c */
void disk_open(struct sim_disk *disk, const struct consensus_server *servers, unsigned n);
void disk_close(struct sim_disk *disk); /* empty from then on */
void disk_write(struct sim_disk *disk, const struct consensus_job *job);
uint64_t disk_last(const struct sim_disk *disk);
void disk_job(struct sim_node *node, struct consensus_job *job);
void disk_timer(struct sim_node *node);
void disk_crash(struct sim_node *node);

/* kernel.c */
bool kernel_holds(const struct sim_node *node, int address);
int kernel_add(struct sim_node *node, int address, bool chance_to_fail);
int kernel_del(struct sim_node *node, int address, bool chance_to_fail);
void kernel_renew(struct sim_node *node, int address);
void kernel_expire(struct sim_node *node, int address, uint64_t number);
void kernel_removed(struct sim_node *node, int address); /* by somebody else */
void kernel_lease(struct sim_node *node, uint64_t end);
void kernel_set(struct sim_node *node, uint32_t fenced);
void kernel_attach(struct sim_node *node);
bool kernel_flush_one(struct sim_node *node);
void kernel_adopt_attach(struct sim_node *node);
void kernel_adopt_late(struct sim_node *node); /* not caught up in time */
void kernel_adopt_take(struct sim_node *node, struct event *event);
void kernel_detach_if_released(struct sim_node *node);
void kernel_reboot(struct sim_node *node);
void kernel_sent(struct sim_node *node, int address); /* an announcement comes to the egress */
void kernel_table_changed(struct sim_node *node);
void kernel_release(struct sim_node *node);

/* node.c: the process; fsm.c: its half towards the consensus; act.c: its actions */
void node_open(struct sim_node *node, int slot);
void node_close(struct sim_node *node);
void node_start(struct sim_node *node);
void node_crash(struct sim_node *node);
void node_stop(struct sim_node *node); /* in order, VIPs released first */
void node_input(struct sim_node *node, struct input *input); /* owns input->data */
void node_wake(struct sim_node *node, uint64_t at);
void node_turn(struct sim_node *node);
void node_event(struct sim_node *node, const struct event *event);
void node_result(struct sim_node *node, const struct event *event);
bool node_leads(const struct sim_node *node);
extern const struct consensus_ops FSM_OPS;
void fsm_start(struct sim_node *node);
void fsm_progress(struct sim_node *node);
void fsm_found(struct sim_node *node);
struct endpoint fsm_endpoint(int host);
void fsm_configure(struct sim_node *node, uint64_t id, enum configure_role role);
unsigned act_execute(struct sim_node *node, const struct action *action);
void act_announce_all(struct sim_node *node);
void act_links(struct sim_node *node);

/* client.c */
void client_open(void);
void client_timer(int session);
void client_request(struct sim_node *node, const struct input *input);
void client_proposed(struct sim_node *node, uint64_t token, uint64_t index);
void client_outcome(struct sim_node *node, uint64_t token, const struct outcome *outcome);
void client_applied(struct sim_node *node, uint64_t index, uint64_t request, const struct outcome *outcome);
void client_role(struct sim_node *node);
bool client_keeps_rules(void);  /* groups, apart-from and preferences stay in force to the end */
bool client_calm(void);         /* the final changes are through */
void client_check(const struct table *table); /* acknowledged changes survive */

/* keeper.c: session SESSIONS of the clients */
void keeper_open(void);
bool keeper_fill(struct sim_node *node, struct maintenance_command *c);
void keeper_check(const struct sim_node *node); /* what its node has just applied */
bool keeper_over(void); /* calm: nothing is under way any more */

/* faults.c */
void faults_plan(struct schedule *schedule, uint64_t seed, unsigned n, int nodes, uint64_t unit);
void faults_begin(const struct fault *fault);
void faults_end(const struct fault *fault, int slot);
void faults_hit(struct sim_node *node); /* an armed one */
void faults_heal(void);
void faults_print(FILE *to, const struct fault *fault);
void faults_restart(struct sim_node *node, uint64_t in_ns);

/* ambush.c */
void ambush_plan(struct chance *c, struct fault *fault, int nodes, uint64_t unit);
void ambush_print(FILE *to, const struct fault *fault);
void ambush_stand(const struct fault *fault);
void ambush_trigger(enum trigger trigger, int node);
void ambush_deed(int victim, unsigned deed, uint64_t for_ns);
void ambush_hit(int victim, const struct fault *armed); /* an armed fault has hit; perhaps one of an ambush */
void ambush_over(int victim, unsigned deed);

/* foreign.c: hosts outside of the cluster */
void foreign_mac(int who, int address, uint8_t ret[MAC_SIZE]); /* -1: the stranger */
void foreign_comes(int address, uint64_t for_ns);
void foreign_timer(int address, uint64_t number);
void foreign_probe(struct sim_node *node, const struct action *action);
bool foreign_probe_due(struct sim_node *node, uint64_t own); /* whether there was something */
void foreign_heard(struct sim_node *node, int from, int address);
void foreign_check_add(const struct sim_node *node, int vip);
void foreign_step(struct sim_node *node, const struct event *event); /* before the core is stepped */
void foreign_sent(struct sim_node *node, uint64_t seq);
void foreign_acked(struct sim_node *node, const struct answer *answer);
void foreign_check_gate(struct sim_node *node, uint64_t end);
bool foreign_judged(bool held, const char *why); /* calm: whether this has been looked at */

/* members.c: hosts, ids and slots; SLOT_NONE where there is none */
int members_host(uint64_t id);
int members_host_at(const struct table *table, int slot);
int members_slot(const struct table *table, int host);
int members_named(const struct table *table, int host); /* the slot that has the host's name */
char members_letter(const struct table *table, int slot);
void members_claim(struct sim_node *node, uint64_t id);
void members_wipe(struct sim_node *node);
bool members_connected(const struct sim_node *node, const struct input *input);
void members_timer(struct sim_node *node);
void members_table_changed(struct sim_node *node);
void members_gone(struct sim_node *node);
bool members_majority_without(unsigned without);
bool members_must_stay(const struct table *table, int slot); /* being removed, and there would be no majority without it */
bool members_well(const struct table *table, char why[200]);

/* oracle.c */
const struct sim_node *oracle_leader(void); /* NULL = none */
void oracle_holders(int address);
void oracle_all_holders(const struct sim_node *node);
void oracle_applied(const struct sim_node *node);
bool oracle_could_hold(const struct sim_node *node); /* in the end, when it is admitted again */
bool oracle_held(char why[200]); /* calm: every VIP that can be held is held by its owner */
bool oracle_even(char why[200]);
void oracle_end(void);
void oracle_tell(void);

/* placed.c */
bool placed_could(const struct table *table, int vip); /* some node could be given the VIP, and its group with it */
bool placed_well(const struct table *table, char why[200]);

/* run.c */
struct options
{
    unsigned faults;
    uint64_t seconds; /* bound of the time with faults, 0 = none */
    bool trace;
    bool maintenance;
};
enum violation run_seed(uint64_t seed, const struct options *options, struct schedule *schedule, bool planned,
                        struct sim_stats *stats);

#endif
