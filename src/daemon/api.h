#ifndef VIPD_DAEMON_API_H
#define VIPD_DAEMON_API_H

/* Control requests, translated: reading ones into answers out of the table and the core, changing ones into commands of
 * the log, outcomes into replies. Nothing here waits, sends or keeps anything between two calls.
 *
 *     api_kind(op)
 *       API_READ    ask the leader when there is one, else answer here with view.local set: api_read()
 *       API_OWN     of this node alone, never passed on: api_read()
 *       API_WAIT    as API_READ; the answerer calls api_settled() again and again, and api_read() once it is true or
 *                   api_wait_ms() have passed
 *       API_EVENTS  of this node's own table: api_read() once api_events_due() is true or api_events_ms() have passed
 *       API_HOLDER  on the node that holds the VIP that it names: api_announce(), and what it says
 *       API_CHANGE  on the leader: api_command(), then EV_REQUEST with the command, then api_outcome()
 *       API_NODE    of the node that the argument "node" names (default: this one), and passed on to it: keys.c
 *       API_DAEMON  on the leader, but no command of the log ("leader.transfer"): api_transfer(), then api_outcome()
 *
 * Files: api.c kinds, outcomes; api_read.c lists; api_rows.c; api_history.c; api_status.c; api_survey.c; api_announce.c;
 * api_explain.c explain, plan; api_doctor.c; api_hook.c; api_wait.c; api_maintenance.c; api_command.c and api_vip_spec.c changes;
 * api_document.c the
 * cluster's document. The operations with their arguments and results: docs/decisions/0007-control-protocol.md. */

#include <stdbool.h>
#include <stdint.h>

#include "core/command.h"
#include "core/core.h"
#include "core/plan.h"
#include "core/table.h"
#include "daemon/cluster_document.h"
#include "wire/control.h"
#include "wire/value.h"

#define API_VIPS_MAX 1024u /* VIPs that one request adds or deletes */
#define API_ROWS_MAX 1000u /* rows of one reply; the client asks for the next ones */
#define API_WAIT_MS 1000u /* the longest wait of one request */
#define API_EVENTS_MS 2000u /* the same for events: a client that went away is noticed only when it is answered */

enum api_kind
{
    API_UNKNOWN = 0,
    API_READ,
    API_OWN,
    API_WAIT,
    API_CHANGE,
    API_DAEMON,
    API_NODE,
    API_EVENTS,
    API_HOLDER,
};

struct api_counter
{
    const char *name;
    uint64_t value;
};

/* A health check as this node's own runs have it. */
struct api_check
{
    bool runs, passed;
    int64_t at_ms; /* Unix, of the last result; 0 = none yet */
    const char *detail;
};

/* The last run of a VIP's hook on this node. */
struct api_hook
{
    int64_t at_ms; /* Unix, of its end */
    uint32_t took_ms;
    bool failed;
    const char *detail; /* why; "": no longer known */
};

/* Hooks as this node runs them. */
struct api_hooks
{
    const void *ud;
    bool (*last)(const void *ud, int vip, enum hook_point point, struct api_hook *ret); /* false: none yet */
    bool (*fit)(const void *ud, const char *program, char *ret_why, size_t size); /* whether it could be run here */
    uint64_t run, failed, dropped;
    bool dropped_lately; /* some were not run in the last ten minutes */
};

/* What the daemon says of itself. */
struct api_daemon
{
    const char *node;      /* this node's name */
    const char *cluster;   /* as its file says */
    const char *waits;     /* what it waits for before there is a table, one sentence */
    uint64_t id;
    int64_t started_ms;    /* Unix */
    const char *fence;     /* "kernel" or "addresses" */
    const char *fence_why; /* why it is not "kernel", or NULL */
    unsigned n_keys;       /* of the cluster that this node accepts */
    unsigned n_counters;
    const struct api_counter *counters;
    const struct api_check *checks; /* CHECKS_MAX, by slot; NULL = none */
    const struct api_hooks *hooks;  /* NULL = none */
    const char *no_reset;           /* why connections cannot be reset here, or NULL */
};

/* Working memory; some MiB, of which little is touched in a small cluster; allocated once. */
struct api_scratch
{
    struct plan_scratch plan;
    struct move moves[VIPS_MAX];
    struct vip_spec specs[API_VIPS_MAX];
    uint64_t taken[VIPS_MAX / 64];
    struct cluster_document document;
    char kept[KEPT_BYTES_MAX];
    struct table sandbox; /* nodes, VIPs, groups and checks of the table, to try moves on */
};

/* What the loss of each single node would mean, by the planner; made bit by bit, and good as long as what it rests on is. */
#define API_SURVEY_NAMED 5
struct api_survey
{
    uint64_t changed; /* the table's, and the nodes that were usable: 0 = not begun */
    uint64_t usable;
    int next; /* node slot to be looked at; NODES_MAX = done */
    uint32_t stranded[NODES_MAX];                 /* VIPs that nobody could hold without that node ... */
    uint16_t named[NODES_MAX][API_SURVEY_NAMED];  /* ... the first of them, by slot */
};

/* What a request with a document has besides its bytes, from one attempt to the next. */
struct api_note
{
    const struct document *document; /* parsed, or NULL: */
    const char *error;               /* why not */
    struct value_arena *arena;       /* lives until the answer */
    struct value *changes, *wait;    /* of the last attempt: for the answer */
};

struct api_view
{
    const struct core *core;
    const struct table *table;
    const struct api_daemon *daemon;
    struct api_scratch *scratch;
    time_ns now;
    int64_t wall_ms; /* Unix */
    bool local;      /* there is no leader to ask: marked in the reply */
    const struct api_survey *survey; /* NULL: there is none */
    struct api_note *note; /* NULL but for a request with a document */
};

enum api_kind api_kind(const char *op);

#define API_ANSWERED 1

/* Whether requests of this operation come with a document (or mean one that is kept): before api_read() or api_command() it
 * has to be parsed into the view's note. */
bool api_has_document(const char *op);
#define API_SOURCE_SIZE 256 /* of a document's name */
/* Its text, which the caller frees, and name: 0; API_ANSWERED: *ret_reply is the refusal. */
NODISCARD int api_document_text(const struct api_view *view, const struct control_request *request,
                                struct value_arena *arena, char **ret, size_t *ret_len,
                                char ret_name[API_SOURCE_SIZE], struct control_reply *ret_reply);

/* Answer a request of kind READ, OWN or WAIT; also any other kind, with a refusal. The reply's strings and values are
 * the arena's; should it be too small, the reply is a refusal that needs none. */
void api_read(const struct api_view *view, const struct control_request *request, struct value_arena *arena,
              struct control_reply *ret);

/* Goes on with the survey that "status" shows, by one node, or begins it anew; whether it is done. Takes as long as planning does, at
 * most: some milliseconds with 10,000 VIPs. */
bool api_survey_step(const struct api_view *view, struct api_survey *survey);
/* Whether the request shows it. */
bool api_has_survey(const char *op);

/* How long the answer to a "wait" may take that is not over yet, ms. */
uint32_t api_wait_ms(const struct control_request *request);

/* Whether a "wait" is over; false also for arguments that make no sense (api_read() says so at once: see ret_bad). */
bool api_settled(const struct api_view *view, const struct control_request *request, bool *ret_bad);

/* Whether there is something for a client that follows the events; and how long the answer may take that has nothing, ms. */
bool api_events_due(const struct api_view *view, const struct control_request *request);
uint32_t api_events_ms(const struct control_request *request);

/* "vip.announce", at any node: 0, and *ret_vip is to be announced here, now; API_ELSEWHERE: *ret_node is the id of the node that
 * can; API_ANSWERED: *ret_reply is the refusal. `asked`: another node took this one for the holder, so it is not passed on. */
#define API_ELSEWHERE 2
NODISCARD int api_announce(const struct api_view *view, const struct control_request *request, bool asked,
                           struct value_arena *arena, uint16_t *ret_vip, uint64_t *ret_node,
                           struct control_reply *ret_reply);
/* The answer, once it was announced, or, not `done`, was left to the burst that goes on. */
void api_announced(const struct api_view *view, const struct control_request *request, uint16_t vip, bool done,
                   struct value_arena *arena, struct control_reply *ret);

/* Turn a change into a command: 0; its arrays are the scratch's, until the next call. `who` goes into the history,
 * e.g. "uid 0 on a"; it is cut at WHO_SIZE. API_ANSWERED: *ret_reply is the answer, and there is nothing to propose:
 * a refusal, or what is so already, or what this very request (by its id) did before. */
NODISCARD int api_command(const struct api_view *view, const struct control_request *request, const char *who,
                          struct value_arena *arena, struct command *ret, struct control_reply *ret_reply);

/* "leader.transfer": 0 with the id of the voter to hand over to, 0 = whom the leader chooses (then ACT_TRANSFER's way, and
 * api_outcome() once it is on its way); API_ANSWERED with the refusal. */
NODISCARD int api_transfer(const struct api_view *view, const struct control_request *request,
                           struct value_arena *arena, uint64_t *ret_id, struct control_reply *ret_reply);

/* The reply to a change, from what became of it (ACT_REPLY, or table_apply() of its entry); `view` is taken after it was applied. */
void api_outcome(const struct api_view *view, const struct control_request *request, const struct outcome *outcome,
                 struct value_arena *arena, struct control_reply *ret);

/* A reply that says no. `hint` may be NULL and is static; the sentence is the arena's. */
void api_refuse(struct value_arena *arena, struct control_reply *ret, enum control_code code, const char *hint,
                const char *format, ...) PRINTF(5, 6);

/* No leader now: exit code 4, to be tried again by the client's library. */
void api_no_quorum(struct control_reply *ret);

#endif
