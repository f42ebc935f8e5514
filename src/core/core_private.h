#ifndef VIPD_CORE_CORE_PRIVATE_H
#define VIPD_CORE_CORE_PRIVATE_H

/* The state of a node's deciding part, shared by the files of core/ that make it up. Volatile: all of it is forgotten
 * by a restart, and ownership.md's rules say why that is safe. */

#include "base/rule.h"
#include "core/core.h"
#include "core/plan.h"
#include "core/upgrade.h"



#define NEVER UINT64_MAX
#define SEND_RING 256       /* heartbeats whose send time is remembered for their acks */
#define BIT_WORDS (VIPS_MAX / 64)
#define HEARTBEAT_GAP (2 * MS) /* between two that are sent out of turn */

/* What this node heard from another one; from itself for its own slot. */
struct hearing
{
    uint64_t id; /* whom it is about; a reused slot starts anew */
    struct heartbeat last;
    uint64_t released; /* the greatest ever: it stays true */
    uint64_t applied;  /* likewise */
    time_ns heard;     /* when the last newer heartbeat arrived; 0 = never */
    time_ns since;     /* silence counts from here at the earliest: this node was not listening before */
    bool missed;       /* not heard for `suspect` */
};

/* When voter v's promise to a fenced node runs out, by v's own report (V3) or, for this node as a voter, its record. */
struct runout
{
    uint64_t fence; /* of which fence; a report about another one counts nothing */
    time_ns at;     /* and slew_wait() later */
};

/* What other hosts mean for a VIP that this node owns, since the move that gave it to this node (contest.c). */
struct contest
{
    uint64_t moved;  /* which move; 0 = none yet */
    time_ns since;   /* when this node saw it */
    enum conflict_kind kind;
    bool probing;    /* an ACT_PROBE is out ... */
    bool clear;      /* nobody answered one: need not be asked again */
    uint8_t mac[MAC_SIZE];
    time_ns heard;   /* the other host, last */
    time_ns at;      /* probing: given up then; else asked again then */
};

/* What was measured of one entry of the history (stages.c). */
struct stage
{
    uint64_t number;
    time_ns at; /* when this node applied it */
    uint32_t first_ms, held_ms;
    int16_t vip; /* slot */
    bool open;   /* there is more to come */
};

/* What a take or a planned release waits for (hook.c). */
struct waiting
{
    uint64_t moved; /* by which move; 0 = none yet */
    time_ns until;
    bool reset;     /* its hook is over, and the connections are being reset */
};

struct core
{
    const struct table *table;
    uint64_t self, run;
    int slot; /* of self in the table, or SLOT_NONE */
    time_ns started, last_now;
    int64_t wall_ms;
    uint64_t seen_changed; /* table->changed at the last look */
    int nodes_end;         /* no node of the table has had a slot from here on, nor a VIP one of a word of bits from `words` on */
    unsigned words;
    bool caught_up;
    bool voted; /* it is a voter, by the table at the last look */
    struct hearing hearing[NODES_MAX];
    struct runout runout[NODES_MAX][NODES_MAX]; /* [fenced][voter] */
    uint64_t waiters[NODES_MAX]; /* [prev]: owners of VIPs whose last move took them from it */
    uint64_t wanted[NODES_MAX];  /* [prev]: the greatest `moved` that its `released` must reach for them */
    time_ns deadline;            /* of the last whole step */
    bool more;                   /* likewise */
    bool settle_dirty;           /* something that can settle a move has changed */

    struct /* slew.c */
    {
        uint32_t slow_ppm[2], fast_ppm[2]; /* the worst since `turn_at` was set, and of the time before that */
        time_ns turn_at;
        enum core_log told; /* 0 = nothing yet */
    } slew;

    struct /* disk.c */
    {
        time_ns writing_since; /* 0 = nothing is being written */
        bool late;             /* as told to people and in heartbeats */
        time_ns leave_at;      /* the leader: whether VIPs can leave a dead disk is not asked before */
    } disk;

    struct /* voter.c */
    {
        time_ns promised[NODES_MAX]; /* and slew_wait() longer */
        uint64_t fences_told; /* table->changed up to which waiting owners were told of fences */
    } voter;

    struct /* agent.c */
    {
        uint64_t seq;
        uint64_t last_term, last_index;
        time_ns sent[SEND_RING];     /* by seq */
        time_ns acked[NODES_MAX];    /* send time of the newest heartbeat of this run that the voter acked */
        time_ns lease_end;           /* N1 */
        time_ns supported_until;     /* likewise, had the clock not been slewed: whether there is a majority */
        time_ns gate;                /* what the kernel was told */
        time_ns foreign;             /* N6: no gate before a majority acked a heartbeat sent after this; 0 = none */
        bool running;                /* lease is running: for the log */
        uint64_t adopted[VIPS_MAX];  /* by VIP slot: the move under which an earlier run held it; 0 = none */
        time_ns adopt_by;            /* what an earlier run left is kept until then (N4); 0 = not */
        uint64_t present[BIT_WORDS]; /* VIP slots whose address is in the kernel */
        uint64_t failed[BIT_WORDS];  /* additions that failed, tried again at retry_at */
        uint64_t silent[BIT_WORDS];  /* present, but this run has not announced it */
        struct addr where[VIPS_MAX]; /* the address that `present` is about: slots may be reused */
        bool strays;                 /* ... and some are: a slot's address is another one in the table */
        uint32_t n_present;
        time_ns retry_at;
        bool results; /* of address operations, that no whole step has seen */
        time_ns results_at; /* what follows from results: not before */
        bool breath;        /* the loop is to turn once before the next operations */
        bool dirty; /* look at every VIP again ... */
        time_ns look_at; /* ... but not before */
        uint64_t released, held, missing;
        struct heartbeat told; /* as last sent */
        time_ns beat_at;  /* next heartbeat in turn */
        time_ns beat_last;
        bool beat_now; /* something changed: send out of turn */
        struct report report;
        bool has_report;
        time_ns report_at; /* when to send it again unless the table has it */
        bool reannounce; /* the gate was closed while VIPs were held */
        struct contest contests[VIPS_MAX];
        uint64_t contested[BIT_WORDS]; /* VIP slots that contest.c has to look after */
        uint32_t n_contested, n_defended;
        bool conflicts_differ; /* from the table's, as far as was looked */
        time_ns contest_at;    /* to look after them again: not before */
        time_ns defend_at; /* announced again for a conflict: not before */
        time_ns told_at;   /* of hosts that are no conflict: not before */
        uint8_t n_told;    /* conflicts in the last report */
        struct conflict_item told_conflicts[CONFLICTS_MAX];
        bool shutdown, exited;
        time_ns shutdown_by;
        time_ns idle_since; /* shutting down: since when nothing is left to give away */
    } agent;

    struct /* hook.c */
    {
        struct waiting taking[VIPS_MAX], leaving[VIPS_MAX];
        uint64_t taken[BIT_WORDS];   /* VIP slots whose after-take was asked for, and whose after-release was not */
        uint64_t taken_by[VIPS_MAX]; /* under which move it was last taken */
        time_ns due;                 /* the first `until`; NEVER = nothing waits */
    } hook;

    struct /* leader.c */
    {
        enum raft_role role;
        uint64_t term, leader; /* as Raft has it */
        uint64_t own;          /* index of the last entry that this leader proposed by its own judgement */
        uint64_t barrier;      /* index of its first entry, 0 = not appended yet (L6) */
        time_ns try_at;        /* after a refused proposal: not before */
        bool plan_dirty;
        time_ns calm_at; /* no evening out before */
        uint64_t purged; /* table->changed when tombstones were last looked at */
        uint64_t usable; /* at the last plan */
        time_ns usable_since[NODES_MAX]; /* without a break, as long as this one leads */
        bool fresh;      /* it has judged nothing yet */
        time_ns homes_until; /* VIPs go back where they were before the start; 0 = this run has not led yet */
        time_ns homes_at;    /* looked at again then */
        uint64_t awaited;    /* nodes that they go back to */
        int8_t homes[VIPS_MAX];
        time_ns ripe_at; /* a plan may then draw a VIP back; 0 = nothing is waiting */
        uint64_t unsettled[BIT_WORDS];
        uint64_t any_unsettled;
        time_ns look_at; /* at every VIP again: not before */
        struct
        {
            uint64_t index; /* least `moved` that it has not released */
            time_ns since;
        } unreleased[NODES_MAX];
        struct
        {
            uint64_t held;
            uint32_t n_held;
            time_ns more;  /* it may take longer: it asks for what it lacks first, or runs hooks */
            time_ns since; /* 0 = it holds what it could */
        } lacking[NODES_MAX];
        struct
        {
            uint32_t n;
            time_ns last;
        } flaps[NODES_MAX];
        time_ns transfer_at; /* not before */
        time_ns lost_since[NODES_MAX]; /* a voter that is not admitted or not heard; 0 = it is well */
        time_ns roster_at;   /* no change of members or voters before */
        time_ns awake_at;    /* likewise, since it last stood still: by then who is gone is missed again */
        bool configuring;    /* what is proposed is a configuration */
        int heir;            /* the voter whom a deaf leader last handed over to */
        time_ns led_since;   /* by the present leader, as far as this node knows */
        time_ns elect_at;    /* not before */
        struct /* maintenance.c; by this leader's own clock */
        {
            uint64_t changed; /* table->maintenance.changed that these three are about */
            time_ns since;
            time_ns healthy;  /* the node under maintenance, without a break; 0 = it is not */
            time_ns refused;  /* the next turn would be unsafe; 0 = not */
            uint64_t beat;
            time_ns beat_at;  /* this leader saw that sign of life of the runner */
            time_ns look_at;  /* not before */
        } maintenance;
        struct move moves[VIPS_MAX];
        struct conflict_item conflicts[CONFLICTS_MAX];
        struct command command;
        struct plan_scratch scratch;
    } lead;

    struct /* health.c */
    {
        struct damping checks[CHECKS_MAX];
        uint64_t changed[CHECKS_MAX]; /* the definition that each is about, and that itself */
        struct check_spec specs[CHECKS_MAX];
        uint64_t running;             /* set of checks that this node runs */
        uint64_t passing, failing;
    } health;

    struct /* stages.c */
    {
        uint64_t seen, open; /* numbers: the next entry that is new; the first of which more may be learned */
        time_ns look_at;     /* not before */
        time_ns fenced_at[NODES_MAX];
        struct stage ring[HISTORY_MAX];
    } stages;

    struct answer answer; /* of this step */
    struct answer pushed[NODES_MAX];
};

static inline bool bit_get(const uint64_t *bits, unsigned i)
{
    return bits[i / 64] >> (i % 64) & 1;
}
static inline void bit_put(uint64_t *bits, unsigned i, bool on)
{
    if (on) {
        bits[i / 64] |= 1ull << (i % 64);
    } else {
        bits[i / 64] &= ~(1ull << (i % 64));
    }
}
/* Looking at every VIP is put off so far that it takes a small part of the time, however many there are. */
static inline time_ns look_again(const struct table *table, time_ns now)
{
    return table->vips_end < 512 ? now : now + (time_ns)table->vips_end * 200;
}
static inline bool in_set(uint64_t set, int slot)
{
    return slot >= 0 && (set >> slot & 1);
}

/* core.c */
struct action *core_act(struct actions *actions, enum action_type type, uint64_t to);
void core_log(struct actions *actions, enum core_log id, int node, int vip, uint64_t value);
void core_deadline(struct actions *actions, time_ns at);
time_ns core_suspect(const struct core *core);
time_ns core_interval(const struct core *core);
time_ns core_promise(const struct core *core);
time_ns core_lease(const struct core *core); /* N1's `lease`, of a clock that is not slewed */
/* Whether a majority of the voters, this node among them if it is one, was heard within `suspect`. */
bool core_hears_majority(const struct core *core, time_ns now);
bool core_silent(const struct core *core, int node, time_ns now); /* not heard for `suspect` */

/* When the promises of some majority of the voters to fenced `node` have run out (V3, L2, N2); NEVER = not known yet. */
time_ns core_runout(const struct core *core, int node);
/* Whether the last move of the VIP is settled as far as this node knows (N2, L3). */
bool core_settled_move(const struct core *core, int vip, time_ns now);

/* slew.c */
void slew_note(struct core *core, const struct slew *seen, time_ns now, struct actions *actions);
uint32_t slew_slow_ppm(const struct core *core); /* the worst of the last two promises */
uint32_t slew_fast_ppm(const struct core *core);
bool slew_unfit(const struct core *core);     /* the clock measures nothing that others could rely on */
time_ns slew_lease(const struct core *core);  /* N1's `lease`; 0 = none */
time_ns slew_wait(const struct core *core);   /* by how much every promise lasts longer on this clock (V1, V3, L2, N2) */
time_ns slew_true(const struct core *core, time_ns own); /* what is at least left of `own` on any steady clock (V3) */

/* disk.c */
void disk_note(struct core *core, time_ns writing_since, time_ns now, struct actions *actions);
bool disk_late(const struct core *core, int node, time_ns now); /* it leads nobody and is given nothing */
bool disk_good(const struct core *core, int node, time_ns now); /* it answers in half the time that makes it late */
bool disk_replaces(const struct core *core, int leader, time_ns now, struct actions *actions); /* elect another one */
bool disk_dead(const struct core *core, int node, time_ns now); /* it is to hold nothing */
uint32_t disk_writing_ms(const struct core *core, time_ns now); /* of this node, for its heartbeat */

/* voter.c */
void voter_heartbeat(struct core *core, const struct heartbeat *heartbeat, time_ns now, struct actions *actions);
void voter_table_changed(struct core *core, time_ns now, struct actions *actions);
/* V1 for this node's own heartbeat; whether it acks itself. */
bool voter_ack(struct core *core, int node, uint64_t gen, time_ns now);

/* agent.c */
void agent_table_changed(struct core *core);
void agent_caught_up(struct core *core, const struct addr *earlier, uint32_t n);
void agent_answer(struct core *core, const struct answer *answer, time_ns now);
void agent_kernel(struct core *core, const struct event *event, struct actions *actions);
/* `turned`: the loop has turned since the step before. */
void agent_step(struct core *core, bool turned, time_ns now, struct actions *actions);
void agent_beat(struct core *core, time_ns now, struct actions *actions);

/* agent.c: whether the table has what the node says of itself, conflicts aside */
bool agent_report_known(const struct node *node, const struct report *report);

/* contest.c */
void contest_table_changed(struct core *core, time_ns now);
/* What an earlier run of this node owned without a conflict is not asked for again: a daemon that comes back is to be quick. */
void contest_caught_up(struct core *core);
void contest_foreign(struct core *core, const struct event *event, struct actions *actions);
void contest_probe(struct core *core, const struct event *event, struct actions *actions);
void contest_step(struct core *core, time_ns now, struct actions *actions);
/* Another host keeps this node from holding the VIP. */
bool contest_blocks(const struct core *core, unsigned vip);
/* ... and the table says so, too: it is no fault of this node that it does not hold it (L1). */
bool contest_excuses(const struct core *core, unsigned vip);
/* Whether the VIP may be added now; if not, it is asked for, as far as `n` of the step's actions leave room. */
bool contest_may_add(struct core *core, unsigned vip, unsigned *n, time_ns now, struct actions *actions);
/* Puts what the table does not know yet into the report; whether there is any. */
bool contest_report(struct core *core, struct report *report);

/* hook.c. Whether a VIP that this node owns may be added, or one that it must let go be removed; if not, what it waits for is asked
 * for, and counted in `n`, and hook.due is when it is waited for no longer. */
bool hook_may_take(struct core *core, unsigned vip, unsigned *n, time_ns now, struct actions *actions);
bool hook_may_drop(struct core *core, unsigned vip, unsigned *n, time_ns now, struct actions *actions);
void hook_ended(struct core *core, const struct event *event);
void hook_reset_done(struct core *core, const struct event *event);
/* The hooks of what was taken and released since. */
void hook_step(struct core *core, time_ns now, struct actions *actions);

/* health.c */
void health_table_changed(struct core *core);
void health_result(struct core *core, const struct event *event, struct actions *actions);
/* The leader: brings what a node says of its checks into the table; whether something was proposed. */
bool health_lead(struct core *core, time_ns now, struct actions *actions);

/* stages.c */
void stages_table_changed(struct core *core, time_ns now);
void stages_step(struct core *core, time_ns now);
/* state.c: its owner has it, as this node hears */
bool state_held(const struct core *core, int vip, time_ns now);

/* leader.c: a fresh command, and its way into the log as the leader's own decision. */
struct command *leader_command(struct core *core, enum command_type type);
void leader_propose(struct core *core, struct actions *actions);
bool leader_ready(const struct core *core); /* L6: its barrier, and its own last decision, stand in the table */
/* overview.c */
void overview_unsettled(struct core *core, time_ns now, struct actions *actions);
void overview_lacking(struct core *core, time_ns now, struct actions *actions);
time_ns overview_patience(const struct core *core, int node); /* with a node that does not hold what it could */
void overview_plan_input(const struct core *core, time_ns now, struct plan_input *ret);
/* homes.c: a leader begins; it goes on; it is about to propose the first n of its moves; it leads no more */
void homes_begin(struct core *core, time_ns now);
void homes_forget(struct core *core);
void homes_step(struct core *core, time_ns now);
void homes_moves(struct core *core, uint32_t n);
/* leader.c */
void leader_role(struct core *core, const struct event *event, struct actions *actions);
void leader_proposed(struct core *core, const struct event *event);
/* request.c */
void request_report(struct core *core, const struct report *report, struct actions *actions);
void request_change(struct core *core, const struct event *event, struct actions *actions);
/* overview.c: the first VIP that draining `node` would leave nowhere, or SLOT_NONE; scratch and VIPS_MAX moves to work in. */
int overview_left_nowhere(const struct core *core, int node, time_ns now, struct plan_scratch *scratch, struct move *moves);
/* maintenance.c: whether something was proposed; whether a beginning is refused as unsafe. */
bool maintenance_lead(struct core *core, time_ns now, struct actions *actions);
bool maintenance_refuses(struct core *core, const struct maintenance_command *begin, time_ns now, char ret_why[192]);
/* leader.c */
void leader_step(struct core *core, time_ns now, struct actions *actions);
/* roster.c; whether it decided something */
bool roster_step(struct core *core, time_ns now, struct actions *actions);
/* What speaks against a change of a node; OUTCOME_DONE: nothing. */
enum outcome_code roster_refuses(const struct core *core, const struct command *command, bool force, time_ns now,
                                 char ret_why[192]);
/* upgrade.c; whether it decided something */
bool upgrade_step(struct core *core, time_ns now, struct actions *actions);
/* election.c */
void election_step(struct core *core, time_ns now, struct actions *actions);

#endif
