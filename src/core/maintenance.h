#ifndef VIPD_CORE_MAINTENANCE_H
#define VIPD_CORE_MAINTENANCE_H

/* A rolling maintenance, as the table keeps it: which nodes, in which order, how far it is. One at a time in a cluster, and
 * in it one node at a time: it is drained, the operator's vipctl (the runner) runs COMMAND, the leader waits until the node is
 * healthy, and it is undrained. docs/decisions/0021-maintenance.md says why it is divided so.
 *
 *     waiting -> draining -> drained -> running -> returning -> done
 *
 * drained -> running is the runner's, by an entry of the log, so that a command is begun once; running -> returning is the
 * runner's word that the command ended; all else is the leader's (core/maintenance.c). A failure ends in `failed`, and
 * nothing goes on before a person says so. Applied by apply_maintenance.c, which is the one writer. */

#include <stdbool.h>
#include <stdint.h>

#include "core/limits.h"
#include "core/link.h"

enum step_state
{
    STEP_WAITING = 0,
    STEP_DRAINING,
    STEP_DRAINED, /* its command may be begun */
    STEP_RUNNING,
    STEP_RETURNING, /* its command has ended; it is to be healthy for a while */
    STEP_DONE,
    STEP_FAILED,
    STEP_SKIPPED, /* the run was aborted, or the node removed */
};
#define STEP_STATES_N 8

enum maintenance_state
{
    MAINTENANCE_NONE = 0,
    MAINTENANCE_RUNNING,
    MAINTENANCE_PAUSED,  /* by a person, or because its runner is not heard (`lost`): nothing new is begun */
    MAINTENANCE_STOPPED, /* a step failed, or the next one would be unsafe */
    MAINTENANCE_DONE,
    MAINTENANCE_ABORTED,
};
#define MAINTENANCE_STATES_N 6

struct maintenance_step
{
    int8_t node; /* slot */
    uint64_t id;
    char name[NAME_SIZE];
    enum step_state state;
    bool was_drained; /* before: so it stays */
    bool begun;       /* its command was, at least once */
    bool ended;       /* ... and the latest one has ended, well or by a person's word */
    int64_t at_ms[STEP_STATES_N]; /* Unix, of its latest entry into each state; 0 = never */
};

/* What the node under maintenance had when its turn came: it is to have that again. */
struct maintenance_before
{
    uint64_t passing; /* set of checks */
    uint8_t n_links;
    struct link links[LINKS_MAX];
};

struct maintenance
{
    enum maintenance_state state;
    uint64_t run;     /* index of the entry that began it: its name (L0) */
    uint64_t changed; /* index of the last entry that changed something other than `beat` */
    int64_t begun_ms, ended_ms;
    char who[WHO_SIZE];
    uint64_t runner; /* random, of the vipctl that runs the commands */
    uint64_t beat;   /* index of its last sign of life */
    bool lost;       /* it is not heard: what became of a command that it runs is not known */
    bool held;       /* paused by a person: it does not go on by itself */
    bool restart;    /* COMMAND restarts the node, or vipd there: it counts only when it has been seen to */
    bool force;      /* unsafe steps are taken all the same */
    uint32_t settle_ms;            /* a node that returns is to be healthy for so long without a break */
    uint32_t drain_ms, return_ms;  /* longest times of these stages */
    uint16_t words_size;
    char words[MAINTENANCE_WORDS_MAX]; /* COMMAND: each word with its NUL */
    uint8_t n_steps;
    int8_t at; /* the step whose node is under maintenance, or SLOT_NONE */
    struct maintenance_step steps[NODES_MAX];
    struct maintenance_before before; /* of that step */
    uint64_t node_run; /* of vipd on its node when the command was begun; 0 = not known */
    int32_t status;    /* what the last command ended with: exit code, or the signal below zero */
    char why[MAINTENANCE_WHY_SIZE];   /* it is stopped, or "" */
    char tail[MAINTENANCE_TAIL_SIZE]; /* the end of that command's output */
};

/* What a COMMAND_MAINTENANCE does. */
enum maintenance_op
{
    MAINTENANCE_BEGIN = 0,
    MAINTENANCE_STEP,   /* the leader: a step goes on, or fails */
    MAINTENANCE_STOP,   /* the leader: the next step would be unsafe */
    MAINTENANCE_LOST,   /* the leader: the runner is not heard */
    MAINTENANCE_CLAIM,  /* these three the runner: it begins a command; it is alive; the command has ended */
    MAINTENANCE_BEAT,
    MAINTENANCE_END,
    MAINTENANCE_PAUSE,  /* these three a person */
    MAINTENANCE_RESUME,
    MAINTENANCE_ABORT,
};
#define MAINTENANCE_OPS_N 10

/* What a resume makes of a command whose end is not known, or that failed. */
enum maintenance_again
{
    AGAIN_PLAIN = 0, /* nothing if its end is not known; else it is run again, or the node waited for again */
    AGAIN_RETRY,     /* it is run again */
    AGAIN_DONE,      /* it is taken as done */
};
#define MAINTENANCE_AGAINS_N 3

struct maintenance_command
{
    enum maintenance_op op;
    uint64_t run; /* which; of a begin: the one that it replaces, 0 = none (L0) */
    uint8_t step; /* STEP, CLAIM, END */
    enum step_state from, to; /* STEP */
    uint64_t runner; /* BEGIN, CLAIM, BEAT, END, RESUME; LOST: its last beat */
    uint64_t node_run; /* STEP, CLAIM */
    int32_t status;  /* END */
    enum maintenance_again again; /* RESUME */
    char why[MAINTENANCE_WHY_SIZE];   /* STEP to failed, STOP, END */
    char tail[MAINTENANCE_TAIL_SIZE]; /* END */
    /* BEGIN */
    bool restart, force;
    uint32_t settle_ms, drain_ms, return_ms;
    uint16_t words_size;
    char words[MAINTENANCE_WORDS_MAX];
    uint8_t n_nodes;
    int8_t nodes[NODES_MAX];
    uint64_t ids[NODES_MAX];
};

#define MAINTENANCE_TIME_MAX_MS 86400000u /* of settle, drain and return */
#define MAINTENANCE_BEAT_MS 5000u  /* a runner gives a sign of life so often */
#define MAINTENANCE_LOST_MS 20000u /* ... and is lost after so long without one */

/* The table of states: whether a step may go from one to the other. */
bool maintenance_may(enum step_state from, enum step_state to);
/* It has begun and not ended: no other may begin. */
bool maintenance_is_open(const struct maintenance *maintenance);
/* Whether the node's turn has come and is not over: it is drained by the run. */
bool maintenance_has(const struct maintenance *maintenance, int node);

const char *step_state_text(enum step_state state);               /* "waiting", ... */
const char *maintenance_state_text(enum maintenance_state state); /* "none", "running", ... */

#endif
