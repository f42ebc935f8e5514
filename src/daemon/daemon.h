#ifndef VIPD_DAEMON_DAEMON_H
#define VIPD_DAEMON_DAEMON_H

/* One running node: the loop, the parts, and the one pump between them. Only files of daemon/ include this.
 *
 * Adapters call back from the loop; what they have to say becomes an event, daemon_event() steps the core and executes its
 * actions. Nothing re-enters: events that arise while actions are executed are queued. */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/throttle.h"
#include "core/core.h"
#include "daemon/config.h"
#include "io/announce.h"
#include "io/clock.h"
#include "io/consensus.h"
#include "io/control.h"
#include "io/datagram.h"
#include "io/fence.h"
#include "io/netlink.h"
#include "io/peers.h"
#include "io/probe.h"
#include "io/store.h"
#include "io/store_thread.h"
#include "io/watch.h"

#define EVENTS_MAX 2048 /* queued while one step's actions are executed */

struct api_check;
struct health;
struct hooks;
struct resets;
struct api_hooks;
struct requests;

/* Where a member was, on this node's disk. */
struct kept_member
{
    uint64_t id;
    struct endpoint at;
};

struct event_queue
{
    struct event ring[EVENTS_MAX];
    unsigned head, n;
};

struct daemon
{
    const struct config *config;
    uv_loop_t loop;
    uint64_t self, run, identity;
    uint64_t cluster_id; /* of the data directory, where the table does not know it yet; 0 = unknown */
    const struct consensus_state *loaded; /* the store's, until the start is over */
    struct table *table;
    struct core *core;
    struct actions actions;
    struct report report;

    /* pump.c */
    struct event_queue urgent, queue; /* results of actions come before anything else (N3) */
    bool pumping, applied_queued;
    uv_timer_t core_timer, raft_timer;
    uv_idle_t core_now; /* what is due at once: a timer of 0 ms would run again before anything is heard */
    struct clock clock;
    uint8_t *command_bytes; /* COMMAND_BYTES_MAX */

    /* fsm.c */
    void *scratch; /* COMMAND_SCRATCH_BYTES */
    uint64_t target; /* V2: applied must get there; NEVER before Raft has started */
    bool caught_up;
    bool halted; /* an entry was met that this version does not read: no later one may be applied */
    uint64_t timing_of; /* the cluster whose timing Raft has; 0: the file's */
    uint64_t last_term, last_index;

    /* format.c */
    uint32_t format; /* of the data directory: the table's, as last kept; 0 = unknown */

    /* founding.c */
    bool founded, found_proposed;
    uint64_t fresh; /* founders met (bit id - 1) that have no log either */

    /* kernel.c */
    struct netlink *netlink;
    struct announce *announce;
    struct watch *watch;
    struct probe *probe;
    struct fence *fence; /* NULL: fence: addresses */
    int fence_lock;      /* then; without it another daemon has this network namespace */
    bool fence_locked;
    struct addr fenced[VIPS_MAX]; /* what the fence knows, by VIP slot */
    struct addr kept[VIPS_MAX];   /* and what it keeps: no VIPs any more, but still in the kernel */
    uint32_t n_kept;
    uint64_t fenced_changed;
    uv_timer_t renew_timer, fence_timer;
    unsigned fence_looked; /* the last of the other interfaces that was looked at */
    char fence_trouble[192]; /* "" = in force on every link */
    uint32_t renew_at; /* VIP slot to go on with */
    uint32_t n_vips6;
    bool left_behind; /* addresses stay at the end: they could not be removed, or the next run takes them over */

    /* adopt.c */
    struct addr *earlier; /* what an earlier run left behind its fence, sorted; NULL = nothing (more) */
    uint32_t n_earlier;
    uv_timer_t adopt_timer;

    struct store *store;
    struct store_thread *writer;
    struct consensus *consensus;
    struct peers *peers;
    struct datagram *datagram;
    uint64_t peers_changed;
    uint64_t peer_ids[NODES_MAX]; /* as peers was told; by slot of the table */
    struct kept_member kept_members[NODES_MAX]; /* as they are on disk */
    size_t n_kept_members, n_recalled;
    uint64_t recalled[NODES_MAX]; /* known from the disk, or by their word alone, before the table is new enough */
    bool was_member; /* the table has had this node */
    bool told_address;
    struct control *control;
    struct requests *requests;
    struct health *health;
    struct hooks *hooks;
    struct resets *resets;

    struct config_keys keys; /* keys.c: the one in use first */
    uv_signal_t term, intr, again, hup;
    uv_timer_t close_timer;
    bool shutting, handing, stopping, closed;
    int exit_status;
    unsigned hand_over_looks;
    int64_t started_ms; /* Unix */
    struct
    {
        uint64_t strangers, malformed, other_cluster, other_version;
    } counters;
    struct throttle drops;   /* of datagrams: told once a minute */
    uint64_t drops_told;     /* by the kernel, of which was told */
};

time_ns daemon_now(void);      /* CLOCK_BOOTTIME */
int64_t daemon_wall_ms(void);  /* Unix */
uint64_t daemon_random(void);  /* not 0 */

/* main.c: run until told to stop; the exit status. */
int daemon_run(const struct config *config);

/* node.c: end of everything. `status` is the exit status; VIPs are released first. */
void daemon_stop(struct daemon *d, int status);
void daemon_fatal(struct daemon *d, const char *what);

/* format.c */
bool format_reads(uint32_t format);                   /* this version */
void format_stop(struct daemon *d, uint32_t format);  /* the node ends: this format is needed */
bool format_on_disk(struct daemon *d);                /* whether the data directory is in one that is read; else it ends */
void format_table_changed(struct daemon *d);
/* Whether a peer reads the cluster's format, and this node the one that the peer's cluster has; else the reason. */
bool format_fits(struct daemon *d, const struct hello *hello, char reason[HELLO_REASON_SIZE]);
/* The peer's cluster is this node's, and is beyond what it reads: it ends. */
bool format_outgrown(struct daemon *d, const struct hello *hello);

/* pump.c */
void daemon_event(struct daemon *d, struct event *event);   /* now, or queued behind what is being executed */
void daemon_result(struct daemon *d, struct event *event);  /* of an action: before everything else */
void pump_open(struct daemon *d);
void pump_raft_timer(struct daemon *d);

/* fsm.c */
extern const struct consensus_ops FSM_OPS;
int fsm_start(struct daemon *d, const struct consensus_state *state);
void fsm_configure(struct daemon *d, uint64_t id, enum configure_role role); /* ACT_CONFIGURE */
void fsm_progress(struct daemon *d); /* has V2's target been reached? */

/* storage.c */
int storage_open(struct daemon *d, const struct consensus_state **ret, char error[STORE_TEXT_SIZE]);
void storage_write(struct daemon *d, struct consensus_job *job);
void storage_close(struct daemon *d);
uint64_t storage_pinned(const struct daemon *d, uint64_t id); /* identity on record in the data directory, 0 = none */

/* members.c */
int members_open(struct daemon *d);
struct peers_config members_config(const struct daemon *d, uint64_t self);
void members_hello(const struct daemon *d, struct hello *ret);
uint64_t members_identity(const struct daemon *d, uint64_t id); /* on record for a node, 0 = none */
void members_table_changed(struct daemon *d);
void members_heartbeat(struct daemon *d, uint64_t to, const struct heartbeat *heartbeat);
void members_answer(struct daemon *d, uint64_t to, const struct answer *answer);
void members_report(struct daemon *d, uint64_t leader);
const char *members_name(const struct daemon *d, uint64_t id);

/* adopt.c */
int adopt_open(struct daemon *d);
void adopt_close(struct daemon *d);
void adopt_links_changed(struct daemon *d); /* before it has caught up */
bool adopt_has(const struct daemon *d, const struct addr *addr);
void adopt_take(struct daemon *d, struct event *event); /* into the first EV_DISK that has caught up, as it is stepped */
void adopt_taken(struct daemon *d);

/* join.c */
#define JOIN_WELCOME "the reason is that it now knows its id"
int join_begin(struct daemon *d);
/* A member's answer to a node that is joining: the id of its name, or 0, with the reason. */
uint64_t join_judge(const struct daemon *d, const struct hello *hello, char reason[HELLO_REASON_SIZE]);
void daemon_go_on(struct daemon *d); /* daemon.c: with the start, the id is known */

/* founding.c */
void founding_met(struct daemon *d, const struct hello *hello);
/* What a node without a table waits for, one sentence for a person; returns ret. */
const char *founding_waits(const struct daemon *d, char *ret, size_t size);
void founding_begin(struct daemon *d);
void founding_propose(struct daemon *d); /* a leader without a founded table */

/* keys.c: the cluster's keys of this node. The outcomes are for people; a text in error is a clause. */
void keys_open(struct daemon *d);
void keys_close(struct daemon *d);
/* The file's keys take the place of all; the file as it is now. SIGHUP. */
void keys_reload(struct daemon *d);
/* What the file holds now is accepted, too. -EINVAL, or -errno of the file. */
NODISCARD int keys_accept(struct daemon *d, char error[CONFIG_ERROR_SIZE]);
/* From now on that one is used; -ENOENT: it is not accepted here. */
NODISCARD int keys_use(struct daemon *d, uint64_t id);
/* Nothing but the one in use is accepted. */
void keys_drop(struct daemon *d);

/* kernel.c */
int kernel_open(struct daemon *d);
void kernel_close(struct daemon *d);
void kernel_release(struct daemon *d); /* at once: gate closed, addresses gone */
void kernel_table_changed(struct daemon *d);
void kernel_caught_up(struct daemon *d); /* the table is known: the fence takes an earlier run's place */
void kernel_lease(struct daemon *d, time_ns end);
/* Executes the address actions at actions[i...]; returns how many it took. */
unsigned kernel_addresses(struct daemon *d, const struct action *list, unsigned n);
void kernel_announce(struct daemon *d, uint16_t vip);
void kernel_silence(struct daemon *d, uint16_t vip);
void kernel_announce_all(struct daemon *d);

/* foreign.c */
int foreign_open(struct daemon *d);
void foreign_close(struct daemon *d);
void foreign_probe(struct daemon *d, const struct action *action);

/* health.c */
int health_open(struct daemon *d);
void health_close(struct daemon *d);
void health_poll(struct daemon *d); /* after each turn of the pump */
const char *health_detail(const struct daemon *d, int check); /* of its last result */
void health_own(const struct daemon *d, struct api_check *ret); /* CHECKS_MAX of them */

/* hooks.c */
int hooks_open(struct daemon *d);
void hooks_close(struct daemon *d); /* what is asked for still runs, for a few seconds of the loop */
void hooks_free(struct daemon *d);
void hooks_ask(struct daemon *d, const struct action *action); /* ACT_HOOK */
void hooks_describe(const struct daemon *d, struct api_hooks *ret);

/* resets.c: connections of VIPs that move away */
int resets_open(struct daemon *d);
void resets_close(struct daemon *d);
void resets_free(struct daemon *d);
void resets_ask(struct daemon *d, const struct action *action); /* ACT_RESET */
void resets_poll(struct daemon *d); /* after each turn of the pump */
uint64_t resets_count(const struct daemon *d); /* connections reset since the start */
const char *resets_trouble(const struct daemon *d); /* why they cannot be reset here; NULL: they can */

/* requests.c */
int requests_open(struct daemon *d);
void requests_close(struct daemon *d);
void requests_forwarded(struct daemon *d, uint64_t from, const void *data, size_t len);
void requests_reply(struct daemon *d, uint64_t from, const void *data, size_t len);
void requests_disconnected(struct daemon *d, uint64_t id);
void requests_proposed(struct daemon *d, uint64_t token, uint64_t index);
void requests_outcome(struct daemon *d, uint64_t token, const struct outcome *outcome);
void requests_applied(struct daemon *d, uint64_t index, uint64_t request, const struct outcome *outcome);
void requests_role(struct daemon *d);
void requests_poll(struct daemon *d); /* after each turn of the pump */

#endif
