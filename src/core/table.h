#ifndef VIPD_CORE_TABLE_H
#define VIPD_CORE_TABLE_H

/* The replicated table: what the Raft log says. Pure data and the one function that changes it, table_apply().
 *
 * The struct is large (a few MiB): the caller allocates it once. Everything in it is a deterministic function of the
 * log; nothing of it depends on clocks, on this node, or on order in memory. Words are those of the ownership
 * protocol (docs/safety.md): owner, prev, moved, gen, fence, clear, admit. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "core/limits.h"
#include "core/link.h"
#include "core/maintenance.h"

enum node_status
{
    NODE_CLEARED = 0, /* not admitted and its lease has certainly ended (also: added, never admitted) */
    NODE_ADMITTED,
    NODE_FENCED,
};

enum node_role
{
    ROLE_VOTER = 0, /* votes in Raft, acks heartbeats */
    ROLE_STANDBY,   /* replicates, may be made a voter */
    ROLE_SPARE,     /* replicates only */
};

/* What people want a node to be; who else votes the leader sees to (core/roster.c). */
enum node_wish
{
    WISH_AUTO = 0, /* a voter when one is needed */
    WISH_VOTER,    /* `node promote`: before others */
    WISH_SPARE,    /* `node demote`: never */
};

/* Why a VIP was moved; history and `vip show` tell it. */
enum reason
{
    REASON_NEW = 0,   /* the VIP was created or enabled */
    REASON_CRASH,     /* its owner was fenced */
    REASON_DRAIN,     /* its owner is drained, or leaves in order */
    REASON_MANUAL,    /* vip move */
    REASON_REBALANCE, /* evens out the spread */
    REASON_DISABLED,  /* vip disable */
    REASON_DELETED,   /* vip del */
    REASON_HEALTH,    /* its owner's interface or check failed */
    REASON_PREFER,    /* a preference, group or apart-from rule asked for it */
    REASON_RETURN,    /* it was there before the cluster was started */
};
#define REASONS_N 10

struct timing
{
    uint32_t interval_ms; /* between heartbeats, 5..60000 */
    uint32_t suspect_ms;  /* silence after which the leader fences; at least 2 intervals */
    uint32_t promise_ms;  /* a voter's promise; at least suspect_ms + interval_ms */
    uint32_t margin_ms;   /* subtracted from the lease; at least 1, less than half of the promise */
    uint32_t election_ms; /* Raft's own randomized timeout, the fall-back; more than suspect_ms */
};

struct node
{
    bool used;
    uint64_t id; /* Raft id, never used twice in a cluster; 0 = none */
    char name[NAME_SIZE];
    struct endpoint at;
    enum node_role role;
    enum node_wish wish;
    bool listed;   /* it is in Raft's configuration: it gets the log */
    bool removing; /* vipctl node remove; draining, too */
    bool witness;  /* votes, never owns */
    bool draining; /* vipctl drain */
    bool leaving;  /* in orderly shutdown; ends when a run other than leaving_run reports */
    uint64_t leaving_run;
    enum node_status status;
    uint64_t gen;   /* index of the admit under which it heartbeats; 0 = never admitted */
    uint64_t fence; /* index of its last fence, or of its addition */
    uint64_t added; /* index of its addition */
    uint64_t since; /* index of its last fence, clear, admit or addition: what a decision about it names (L0) */
    int64_t since_ms; /* Unix time in ms of that entry, by its proposer's wall clock: to show, never to decide */
    uint16_t capacity; /* its share of the VIPs beside others', 1..1000; 0 = CAPACITY_DEFAULT */
    uint64_t identity; /* random, made with its data directory; 0 = not yet seen */
    uint8_t n_links;
    struct link links[LINKS_MAX];
    char version[VERSION_SIZE]; /* of its software, by its last report */
    uint32_t reads_first, reads_last; /* formats that it reads, likewise; 0 = not said yet */
};

#define CAPACITY_DEFAULT 100
#define CAPACITY_MAX 1000

struct prefer
{
    int8_t node; /* slot */
    uint16_t weight;
};

/* What a health check looks at; core/target.h has the notation of each. */
enum check_kind
{
    CHECK_HTTP = 0,
    CHECK_TCP,
    CHECK_EXEC,
    CHECK_PROCESS,
    CHECK_FILE,
    CHECK_PING,
};
#define CHECK_KINDS_N 6

/* A health check as a user gives it. */
struct check_spec
{
    char name[NAME_SIZE];
    enum check_kind kind;
    char target[CHECK_TARGET_SIZE];
    uint32_t every_ms;   /* 100 (exec: 1000) to 3600000 */
    uint32_t timeout_ms; /* 10 to every_ms */
    uint8_t fall, rise;  /* results in a row that make it fail, and pass: 1..100 */
    uint16_t weight;     /* by how much its failing lowers the node's preference; 0: it is required */
    bool node;           /* it is about the node: every VIP has it */
    bool release;        /* all nodes fail: the VIP is taken from its owner, too, and not kept */
};

/* A check of the table. A node that is in neither set is not known: it has not judged this definition yet. */
struct check
{
    struct check_spec spec; /* an empty name = slot free */
    uint64_t changed;       /* index of the entry that made or last changed it */
    uint64_t passing, failing; /* sets of node slots */
};

/* When a hook is run, on the node that takes or releases a VIP. */
enum hook_point
{
    HOOK_BEFORE_TAKE = 0,
    HOOK_AFTER_TAKE,
    HOOK_BEFORE_RELEASE, /* of a planned move only */
    HOOK_AFTER_RELEASE,
};
#define HOOK_POINTS_N 4

/* A program that is run then: by its name in the node's own directory of hooks. */
struct hook
{
    char program[HOOK_PROGRAM_SIZE]; /* empty = none */
    uint32_t timeout_ms;
};

struct group
{
    char name[NAME_SIZE]; /* empty = slot free */
    uint64_t checks; /* set of checks that each of its VIPs has */
    struct hook hooks[HOOK_POINTS_N]; /* of each of its VIPs that has none of its own */
    uint32_t failback; /* of its VIPs; 0 = not given, see own_failback() */
    uint8_t n_prefers;
    struct prefer prefers[PREFERS_MAX];
};

/* What a foreign host means for a VIP, as its owner reported it. */
enum conflict_kind
{
    CONFLICT_NONE = 0,
    CONFLICT_TAKEN,    /* the host answered the probe: the VIP is not taken, and probed again every few seconds */
    CONFLICT_DEFENDED, /* the host announces it, and so does its owner */
    CONFLICT_YIELDED,  /* the host announces it, and its owner gave it up until the host is silent */
};
#define CONFLICT_KINDS_N 4

struct conflict
{
    enum conflict_kind kind;
    uint8_t mac[MAC_SIZE]; /* of the host that was seen first */
    int64_t at_ms;         /* Unix, by the proposer's wall clock: to show */
};

struct vip
{
    bool used;
    bool deleted; /* tombstone: the address stays reserved until the last move is settled */
    bool enabled;
    char name[NAME_SIZE];
    struct prefix address; /* unique over all used VIPs, after normalisation */
    char dev[DEV_SIZE];    /* empty: the node's interface whose subnet contains the address */
    uint64_t nodes;        /* set of slots that may own it; 0 = all */
    int16_t group;         /* index into groups, or SLOT_NONE */
    uint64_t checks;       /* set of check slots */
    uint8_t n_prefers;
    uint8_t n_apart;
    struct prefer prefers[PREFERS_MAX];
    uint16_t apart[APART_MAX]; /* VIP slots that it must not share an owner with */
    int8_t pinned;             /* slot that `vip move --to` asked for, or SLOT_NONE; kept while that node can own it */
    int8_t owner;              /* slot, or SLOT_NONE */
    int8_t prev;               /* the owner before, or SLOT_NONE once settled for good */
    uint64_t moved;            /* index of the last move */
    int64_t moved_ms;          /* Unix time in ms of that entry: to show */
    enum reason reason;        /* of the last move */
    uint32_t failback;         /* 0 = not given, see own_failback() */
    bool no_probe; /* it is taken without asking whether another host has it */
    bool yield;    /* policy in a conflict: give it up (or else defend it) */
    bool no_reset; /* its connections are left alone when it moves as planned */
    bool fresh;    /* the last move gave it to its owner from nobody: it is probed before it is taken */
    struct conflict conflict; /* of the owner; ended by a move */
};

/* How many voters there are to be. */
struct voting
{
    uint8_t count;       /* 3, 5 or 7 */
    uint32_t replace_ms; /* a voter that is lost for so long is replaced by a standby, 1000..86400000 */
};

struct settings
{
    uint16_t announce_count;       /* announcements in a burst, 1..100 */
    uint32_t announce_interval_ms; /* between them, 10..60000 */
    uint32_t announce_refresh_ms;  /* repeated while held; 0 = never, else 1000..86400000 */
    /* A VIP is drawn back to a node that it prefers once that could hold it for so long without a break: 0 = never, 1 = at
     * once, else up to a day */
    uint32_t failback_ms;
    /* L4's hold-down: a node that was fenced more than `hold_after` times, none of them further than `hold_window_ms` from the
     * last, is admitted only `hold_first_ms` after the fence, twice that after the next, up to `hold_max_ms` */
    uint16_t hold_after;      /* up to 1000 */
    uint32_t hold_window_ms;  /* these three: up to an hour; the first not above the max */
    uint32_t hold_first_ms;
    uint32_t hold_max_ms;
};
#define FAILBACK_MAX_MS 86400000u
#define REFRESH_MAX_MS 86400000u
#define HOLD_MAX_MS 3600000u

/* The failback of a VIP or group, which overrides the setting, where it is given: one more than the setting would be. */
#define OWN_FAILBACK_NEVER 1u
#define OWN_FAILBACK_MAX (FAILBACK_MAX_MS + 1)
static inline uint32_t own_failback(uint32_t failback_ms)
{
    return failback_ms + 1;
}

enum history_kind
{
    HISTORY_FOUND = 0,
    HISTORY_VIP_ADD,
    HISTORY_VIP_SET,
    HISTORY_VIP_DELETE,
    HISTORY_MOVE,
    HISTORY_FENCE,
    HISTORY_CLEAR,
    HISTORY_ADMIT,
    HISTORY_DRAIN,
    HISTORY_UNDRAIN,
    HISTORY_LEAVE,
    HISTORY_RETURN,
    HISTORY_LINKS,
    HISTORY_SETTINGS,
    HISTORY_TAKEN,    /* another host answered a probe; `to` is the owner that asked */
    HISTORY_DEFENDED, /* another host announced the VIP of `to` */
    HISTORY_YIELDED,
    HISTORY_CONFLICT_END,
    HISTORY_APPLY, /* a cluster document; `subject` is its name */
    HISTORY_NODE_ADD,
    HISTORY_NODE_SET,
    HISTORY_NODE_REMOVE, /* it is to be removed */
    HISTORY_NODE_GONE,   /* it was */
    HISTORY_VOTER,       /* it votes from here on */
    HISTORY_NO_VOTER,
    HISTORY_RECOVER, /* vipd --recover: the cluster goes on as this node alone */
    HISTORY_CHECK_SET,    /* a check was made or changed */
    HISTORY_CHECK_DELETE,
    HISTORY_CHECK_FAILS,  /* on node `to`; the subject is the check */
    HISTORY_CHECK_PASSES,
    HISTORY_MAINTENANCE, /* begins; the subject is the command's first word, as in pause to end */
    HISTORY_MAINTENANCE_DRAINED, /* these four: of node `to` */
    HISTORY_MAINTENANCE_COMMAND, /* its command has ended */
    HISTORY_MAINTENANCE_NODE,    /* it is healthy, and undrained unless it was drained before */
    HISTORY_MAINTENANCE_FAILED,
    HISTORY_MAINTENANCE_PAUSE,
    HISTORY_MAINTENANCE_RESUME,
    HISTORY_MAINTENANCE_ABORT,
    HISTORY_MAINTENANCE_END,
    HISTORY_FORMAT, /* the cluster's format is a newer one from here on; the subject is its number */
};
#define HISTORY_KINDS_N 40

struct history
{
    uint64_t index;
    int64_t at_ms; /* Unix, the proposer's wall clock */
    enum history_kind kind;
    enum reason reason;
    int8_t from, to;        /* node slots or SLOT_NONE; for node entries `to` is the node */
    char subject[NAME_SIZE]; /* VIP or node name */
    char who[WHO_SIZE];      /* "" = the leader by itself */
    uint8_t mac[MAC_SIZE];   /* the foreign host's, of a conflict's kinds; else zero */
    uint32_t took_ms;        /* how long the stage took that ended with it; 0 = not told */
    uint32_t set;            /* of HISTORY_VIP_SET: what was given (enum vip_set); else 0; see history_was, too */
    bool enabled;            /* ... and with VIP_SET_ENABLED, what */
};

/* Results of applying a command; also what a client is told (core/request.h maps them to exit codes). */
enum outcome_code
{
    OUTCOME_DONE = 0,
    OUTCOME_STALE,     /* L0: the state that it was decided on has changed; nothing was done */
    OUTCOME_CONFLICT,  /* name or address in use, or still being released */
    OUTCOME_NOT_FOUND, /* no such VIP, node or group */
    OUTCOME_LIMIT,     /* a stated limit would be exceeded */
    OUTCOME_INVALID,   /* makes no sense: a witness as owner, ... */
    OUTCOME_UNSAFE,    /* refused by a check that --force overrides */
    OUTCOME_NO_QUORUM, /* not an outcome of applying: there is no leader */
    OUTCOME_TIMEOUT,   /* not an outcome of applying */
    OUTCOME_FAILED,
};

struct outcome
{
    enum outcome_code code;
    uint64_t index;   /* of the entry */
    char detail[192]; /* one sentence for a person, or "" */
};

/* The cluster's document of an earlier revision, as `export` writes it. */
struct kept_document
{
    uint64_t revision;
    int64_t until_ms; /* Unix time in ms of the entry that replaced it: to show */
    uint32_t size;    /* bytes of text */
    char text[KEPT_BYTES_MAX];
};

struct dedup
{
    uint64_t request; /* 0 = free */
    enum outcome_code code;
    uint64_t index;
};

#ifndef TABLE_HASH
#define TABLE_HASH 65536 /* slots of the lookup indexes; a power of two, at least 3 * VIPS_MAX */
#endif

struct table
{
    char cluster[NAME_SIZE];
    uint64_t cluster_id; /* random, of the founding; 0 = not founded yet */
    uint64_t n_former; /* cluster ids that vipd --recover gave up; the ring keeps the last FORMER_MAX */
    uint64_t former[FORMER_MAX];
    uint64_t applied;    /* index of the last entry applied */
    uint32_t format;     /* that the log may use; grows (core/format.h) */
    struct timing timing;
    struct settings settings;
    uint64_t voters;       /* set of slots */
    uint64_t voters_index; /* index of the last change of them */
    uint64_t voters_told;  /* those that history knows of */
    struct voting voting;
    uint64_t next_id; /* of the next node that is added: no id is ever used twice */
    int8_t next_slot; /* slots are given out in turn: a deleted node's name stays in its slot, for history */
    uint64_t changed;      /* index of the last entry that changed nodes, VIPs, groups or settings */
    uint64_t revision;     /* index of the last entry that changed what a cluster document says */
    struct node nodes[NODES_MAX];
    int n_vips; /* used slots, tombstones included */
    int vips_end; /* one past the highest used slot */
    struct vip vips[VIPS_MAX];
    struct hook vip_hooks[VIPS_MAX][HOOK_POINTS_N]; /* their own, by slot. Apart from them and written only where there are
                                                     * some: few have any, and what is never written takes no memory */
    struct group groups[GROUPS_MAX];
    struct check checks[CHECKS_MAX];
    uint64_t checks_index; /* of the last change of what they are */
    uint64_t n_history; /* entries ever written; the ring keeps the last HISTORY_MAX */
    struct history history[HISTORY_MAX];
    char history_was[HISTORY_MAX][NAME_SIZE]; /* of HISTORY_VIP_SET: its name before, where that is another one; else "".
                                               * Written where there is one only, as vip_hooks is */
    uint64_t n_dedup;
    struct dedup dedup[DEDUP_MAX];
    uint64_t n_kept; /* ever; the ring has the last KEPT_MAX */
    struct kept_document kept[KEPT_MAX];
    struct maintenance maintenance; /* the one that is under way, or the last one */
#if VIPD_PRETEND_FORMAT
    char mark[NAME_SIZE]; /* what the last COMMAND_MARK left */
#endif
    /* Derived lookup indexes (linear probing, slot + 1, 0 = empty), rebuilt by table_index(). */
    uint16_t by_name[TABLE_HASH];
    uint16_t by_addr[TABLE_HASH];
    uint64_t required, everywhere; /* sets of checks: those without a weight, those that every VIP has */
};

struct command;

/* Empty, which is all zeros: memory from calloc() is an empty table already, and takes no room before it is used. */
void table_init(struct table *table);
/* What a cluster begins with, and what a document means that leaves a setting out. */
struct settings table_settings_default(void);
bool settings_equal(const struct settings *a, const struct settings *b);
/* What a check is of which nothing is given but what it looks at. */
struct check_spec check_spec_default(void);
bool check_spec_equal(const struct check_spec *a, const struct check_spec *b); /* names aside */
/* Whether both run the same, whatever is made of it: what one of them said the other would have said. */
bool check_spec_runs_same(const struct check_spec *a, const struct check_spec *b);

/* Apply one committed command at `index` (greater than table->applied). A pure function of the two; a command whose
 * decision is stale (L0) or invalid changes nothing but `applied` and its dedup entry. */
void table_apply(struct table *table, uint64_t index, const struct command *command, struct outcome *ret);

/* An entry without a command (a barrier, a Raft configuration): advances `applied`. */
void table_skip(struct table *table, uint64_t index);

/* A Raft configuration at `index`: the change of the voters (L5), and of who gets the log. Before the founding it says
 * nothing that the founding does not say. A voter that is no node of the table is a bug: aborts. */
struct server
{
    uint64_t id;
    bool voter;
};
void table_configure(struct table *table, uint64_t index, const struct server *servers, unsigned n);

/* Makes of the table that of a new cluster `cluster_id` in which node `self` is alone, at `index`: every other member is
 * certainly off, by a person's word (recover.c). */
void table_recover(struct table *table, uint64_t index, uint64_t self, uint64_t cluster_id, int64_t at_ms);
bool table_was(const struct table *table, uint64_t cluster_id); /* whether that id was given up by a recovery */

/* The name of the node that was in `slot` at `index`, as far as it is known; NULL: no longer, or there was none. */
const char *table_name_at(const struct table *table, int slot, uint64_t index);

/* Rebuild the derived indexes after a snapshot was decoded into the table. */
void table_index(struct table *table);

/* Lookups; slot or SLOT_NONE. A name may also be an address in table_vip_find. */
int table_vip_by_name(const struct table *table, const char *name);
int table_vip_by_addr(const struct table *table, const struct addr *addr);
int table_vip_find(const struct table *table, const char *name_or_addr);
int table_node_by_name(const struct table *table, const char *name);
int table_node_by_id(const struct table *table, uint64_t id);
/* The node whose own the address is: it listens there, or has it on an interface that it reported. */
int table_node_by_addr(const struct table *table, const struct addr *addr);
/* Whether a node with that id can be a member: the table has it, or is older than the id. */
bool table_may_have(const struct table *table, uint64_t id);
bool group_says(const struct group *group); /* it has preferences, checks, hooks or a failback of its own */
int table_group_by_name(const struct table *table, const char *name);

/* The first of `links` that would carry `vip`: the one that its dev names, or, without a dev, one whose subnet contains
 * its address; NULL: none. The caller looks at ->up. */
const struct link *links_find(const struct link *links, int n_links, const struct vip *vip);

/* links_find() over what the node reported. */
const struct link *table_link_for(const struct table *table, int node, const struct vip *vip);

int table_check_by_name(const struct table *table, const char *name);

/* The checks that the VIP has: its own, its group's, and those that every VIP has. */
uint64_t table_checks_of(const struct table *table, const struct vip *vip);

/* Of the nodes in `nodes`, those that the checks `required` of the VIP let be its owner: they pass each of them. What is
 * not known is no pass, except for the owner that it has: that one must fail. */
uint64_t table_passing(const struct table *table, const struct vip *vip, uint64_t nodes);

/* Whether the table lets `node` be the owner of `vip`: used, admitted, neither witness, draining nor leaving, in the
 * VIP's set, with a link that is up for it, and let by its checks. */
bool table_may_own(const struct table *table, int node, const struct vip *vip);

/* A clean copy, bytes behind the names included; whether they are the same. */
void hooks_set(struct hook to[HOOK_POINTS_N], const struct hook from[HOOK_POINTS_N]);
bool hooks_equal(const struct hook a[HOOK_POINTS_N], const struct hook b[HOOK_POINTS_N]);
bool hooks_any(const struct hook hooks[HOOK_POINTS_N]);
/* The hook that the VIP, one of the table's, has at that point, its own or its group's; NULL: none. */
const struct hook *table_hook(const struct table *table, const struct vip *vip, enum hook_point point);

/* Majority of `set`'s size: 1 of 1, 2 of 2 or 3, 3 of 4 or 5, ... 0 for an empty set. */
int majority_of(uint64_t set);

/* 64-bit FNV-1a over everything that is replicated: equal tables at equal index (used by tests and `doctor`). */
uint64_t table_digest(const struct table *table);

/* Stable texts, as in JSON: "new", "crash", ...; "admitted", ...; "voter", ... Never NULL. */
const char *reason_text(enum reason reason);
const char *node_status_text(enum node_status status);
const char *node_role_text(enum node_role role);
const char *node_wish_text(enum node_wish wish); /* "auto", "voter", "spare" */
const char *history_kind_text(enum history_kind kind);
#define MAC_TEXT_SIZE 18
/* "02:00:5e:10:00:01"; returns ret. */
const char *mac_format(const uint8_t mac[MAC_SIZE], char ret[MAC_TEXT_SIZE]);
const char *check_kind_text(enum check_kind kind); /* "http", ... */
const char *hook_point_text(enum hook_point point); /* "before-take", ... */
const char *conflict_kind_text(enum conflict_kind kind); /* "none", "taken", "defended", "yielded" */

#endif
