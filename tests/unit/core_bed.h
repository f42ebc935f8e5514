#ifndef VIPD_TESTS_UNIT_CORE_BED_H
#define VIPD_TESTS_UNIT_CORE_BED_H

/* One node's core on a table of its own, for tests that look at a single file of core/: `a` (id 1) of the voters a, b, c ..,
 * all admitted, each with eth0 up in 10.0.0.0/24 and the default timing. Nothing happens by itself: a test commits entries,
 * steps events, and looks at the actions of the last step. Times are in ms since the core began. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/core_private.h"

#define BED_RUN 77
#define BED_FENCE_MOVES 16

struct bed
{
    struct table *table;
    struct core *core;
    struct actions *actions;
    time_ns start, now;
    struct slew slew;
    uint64_t seq[NODES_MAX]; /* of the last heartbeat from each node */
    struct answer answer;    /* copies of what the last step's last ACT_ANSWER and ACT_PROPOSE point to */
    struct command command;
    unsigned proposals;      /* ... and how many there were */
};

static inline enum outcome_code bed_apply(struct bed *bed, struct command *command)
{
    struct outcome outcome;

    command->at_ms = 1700000000000;
    table_apply(bed->table, bed->table->applied + 1, command, &outcome);
    return outcome.code;
}

static inline void bed_commit(struct bed *bed, struct command *command)
{
    if (bed_apply(bed, command) != OUTCOME_DONE) {
        abort(); /* the test's own preparations */
    }
}

static inline void bed_step(struct bed *bed, struct event event)
{
    event.now = bed->now;
    event.slew = bed->slew;
    event.wall_ms = 1700000000000;
    core_step(bed->core, &event, bed->actions);
    for (unsigned i = 0; i < bed->actions->n; i++) {
        const struct action *action = &bed->actions->list[i];
        if (action->type == ACT_ANSWER) {
            bed->answer = *action->answer;
        } else if (action->type == ACT_PROPOSE) {
            bed->command = *action->propose.command;
            bed->proposals++;
        }
    }
}

/* Lets it become `ms`, with a timer stepped every interval, as a process that is not stalled would, and one at the end. */
static inline void bed_at(struct bed *bed, uint64_t ms)
{
    time_ns interval = bed->table->timing.interval_ms * MS;

    while (bed->now + interval < bed->start + ms * MS) {
        bed->now += interval;
        bed_step(bed, (struct event){.type = EV_TIMER});
    }
    bed->now = bed->start + ms * MS;
    bed_step(bed, (struct event){.type = EV_TIMER});
}

/* How many actions of the last step are of this type. */
static inline unsigned bed_count(const struct bed *bed, enum action_type type)
{
    unsigned n = 0;

    for (unsigned i = 0; i < bed->actions->n; i++) {
        n += bed->actions->list[i].type == type;
    }
    return n;
}

/* The first one, or NULL. */
static inline const struct action *bed_find(const struct bed *bed, enum action_type type)
{
    for (unsigned i = 0; i < bed->actions->n; i++) {
        if (bed->actions->list[i].type == type) {
            return &bed->actions->list[i];
        }
    }
    return NULL;
}

static inline bool bed_said(const struct bed *bed, enum core_log id)
{
    for (unsigned i = 0; i < bed->actions->n; i++) {
        if (bed->actions->list[i].type == ACT_LOG && bed->actions->list[i].log.id == id) {
            return true;
        }
    }
    return false;
}

/* ---------------------------------------------------------------- entries */

static inline void bed_found(struct bed *bed, int n, const struct timing *timing)
{
    struct found_node nodes[NODES_MAX];
    struct command command = {.type = COMMAND_FOUND};

    memset(nodes, 0, sizeof nodes);
    for (int i = 0; i < n; i++) {
        char at[32];
        nodes[i].id = (uint64_t)i + 1;
        nodes[i].name[0] = (char)('a' + i);
        snprintf(at, sizeof at, "10.0.0.%d:7400", i + 1);
        if (endpoint_parse(at, &nodes[i].at) < 0) {
            abort();
        }
    }
    strcpy(command.found.cluster, "test");
    command.found.cluster_id = 4711;
    command.found.timing = *timing;
    command.found.settings = (struct settings){.announce_count = 5, .announce_interval_ms = 200, .announce_refresh_ms = 60000};
    command.found.n_nodes = (uint8_t)n;
    command.found.nodes = nodes;
    bed_commit(bed, &command);
}

static inline struct link bed_link(int node, bool up)
{
    struct link link = {.name = "eth0", .up = up, .mac = {2, 0, 0, 0, 0, (uint8_t)(node + 1)}, .n_prefixes = 1};
    char address[32];

    snprintf(address, sizeof address, "10.0.0.%d/24", node + 1);
    if (prefix_parse(address, &link.prefixes[0], NULL) < 0) {
        abort();
    }
    return link;
}

static inline struct report bed_report(int node, bool up)
{
    struct report report = {.node = (uint64_t)node + 1, .identity = (uint64_t)node + 101, .run = BED_RUN, .n_links = 1};

    report.links[0] = bed_link(node, up);
    strcpy(report.version, "0.1.0");
    return report;
}

static inline void bed_links(struct bed *bed, int node, bool up)
{
    struct report report = bed_report(node, up);
    struct command command = {.type = COMMAND_NODE_REPORT};

    command.report.node = (int8_t)node;
    command.report.id = report.node;
    command.report.identity = report.identity;
    command.report.run = report.run;
    command.report.n_links = 1;
    command.report.links[0] = report.links[0];
    strcpy(command.report.version, report.version);
    bed_commit(bed, &command);
}

static inline void bed_node(struct bed *bed, enum command_type type, int node)
{
    struct command command = {.type = type};

    command.node.node = (int8_t)node;
    command.node.fence = bed->table->nodes[node].fence;
    command.node.since = bed->table->nodes[node].since;
    bed_commit(bed, &command);
}

static inline void bed_fence(struct bed *bed, int node)
{
    struct command command = {.type = COMMAND_FENCE};

    command.fence.node = (int8_t)node;
    command.fence.gen = bed->table->nodes[node].gen;
    bed_commit(bed, &command);
}

static inline void bed_drain(struct bed *bed, int node, bool on)
{
    struct command command = {.type = COMMAND_DRAIN};

    command.drain.node = (int8_t)node;
    command.drain.id = bed->table->nodes[node].id;
    command.drain.on = on;
    bed_commit(bed, &command);
}

/* VIP number i (0 ..) is 10.0.0.(50 + i), without a probe; its slot. */
static inline int bed_vip(struct bed *bed, int i)
{
    struct vip_spec spec = {.enabled = true, .pinned = SLOT_NONE, .no_probe = true, .no_reset = true};
    struct command command = {.type = COMMAND_VIP_ADD};
    char address[32];

    snprintf(spec.name, sizeof spec.name, "v%d", i);
    snprintf(address, sizeof address, "10.0.0.%d/32", 50 + i);
    if (prefix_parse(address, &spec.address, NULL) < 0) {
        abort();
    }
    command.vip_add.n_vips = 1;
    command.vip_add.vips = &spec;
    bed_commit(bed, &command);
    return table_vip_by_name(bed->table, spec.name);
}

static inline void bed_move(struct bed *bed, int vip, int to)
{
    struct move move = {.vip = (uint16_t)vip, .to = (int8_t)to, .reason = REASON_MANUAL,
                        .moved = bed->table->vips[vip].moved};
    struct command command = {.type = COMMAND_MOVE};

    command.move.n_moves = 1;
    command.move.moves = &move;
    bed_commit(bed, &command);
}

/* ---------------------------------------------------------------- events */

static inline void bed_applied(struct bed *bed)
{
    bed_step(bed, (struct event){.type = EV_APPLIED});
}

static inline void bed_caught_up(struct bed *bed)
{
    struct event event = {.type = EV_DISK};

    event.disk.last_term = 1;
    event.disk.last_index = event.disk.target = bed->table->applied;
    event.disk.caught_up = true;
    bed_step(bed, event);
}

static inline void bed_role(struct bed *bed, enum raft_role role, uint64_t term, uint64_t leader)
{
    struct event event = {.type = EV_ROLE};

    event.role.role = role;
    event.role.term = term;
    event.role.leader = leader;
    bed_step(bed, event);
}

static inline void bed_proposed(struct bed *bed, uint64_t index)
{
    struct event event = {.type = EV_PROPOSED};

    event.proposed.index = index;
    bed_step(bed, event);
}

/* Wins an election: the barrier is appended and applied at once (L6). */
static inline void bed_lead(struct bed *bed)
{
    bed_role(bed, RAFT_ROLE_LEADER, 2, 1);
    table_skip(bed->table, bed->table->applied + 1);
    bed_proposed(bed, bed->table->applied);
    bed_applied(bed);
}

/* What a good node would say now; the caller changes what it wants. */
static inline struct heartbeat bed_beat(struct bed *bed, int node)
{
    return (struct heartbeat){
        .from = (uint64_t)node + 1, .run = 5, .gen = bed->table->nodes[node].gen, .seq = ++bed->seq[node],
        .applied = bed->table->applied, .released = bed->table->applied, .held = bed->table->applied,
        .lease_ms = 400, .leader = 1, .last_term = 1, .last_index = bed->table->applied,
    };
}

static inline void bed_hear(struct bed *bed, const struct heartbeat *beat)
{
    bed_step(bed, (struct event){.type = EV_HEARTBEAT, .heartbeat = beat});
}

static inline void bed_heard(struct bed *bed, int node)
{
    struct heartbeat beat = bed_beat(bed, node);
    bed_hear(bed, &beat);
}

/* The answer of a voter to this node's last heartbeat. */
static inline struct answer bed_answer_of(const struct bed *bed, int node)
{
    return (struct answer){
        .from = (uint64_t)node + 1, .to = 1, .run = BED_RUN, .gen = bed->table->nodes[0].gen,
        .seq = bed->core->agent.seq, .acked = true, .applied = bed->table->applied,
    };
}

static inline void bed_answer(struct bed *bed, const struct answer *answer)
{
    bed_step(bed, (struct event){.type = EV_ANSWER, .answer = answer});
}

static inline void bed_acked(struct bed *bed, int node)
{
    struct answer answer = bed_answer_of(bed, node);
    bed_answer(bed, &answer);
}

static inline void bed_kernel(struct bed *bed, int vip, bool present)
{
    struct event event = {.type = EV_KERNEL};

    event.kernel.addr = bed->table->vips[vip].address.addr;
    event.kernel.present = present;
    bed_step(bed, event);
}

/* Steps what the core asked for itself, until it has no more to do. */
static inline void bed_rest(struct bed *bed)
{
    while (bed->actions->more) {
        bed_step(bed, (struct event){.type = EV_CONTINUE});
    }
}

/* ---------------------------------------------------------------- begin and end */

static inline struct bed *bed_open_with(int nodes, const struct timing *timing)
{
    struct bed *bed = calloc(1, sizeof *bed);

    bed->table = calloc(1, sizeof *bed->table);
    bed->core = calloc(1, core_size());
    bed->actions = calloc(1, sizeof *bed->actions);
    bed->start = bed->now = 1000000 * MS;
    table_init(bed->table);
    bed_found(bed, nodes, timing);
    for (int i = 0; i < nodes; i++) {
        bed_links(bed, i, true);
        bed_node(bed, COMMAND_ADMIT, i);
    }
    core_init(bed->core, 1, BED_RUN, bed->table, bed->now);
    return bed;
}

static inline struct bed *bed_open(int nodes)
{
    static const struct timing DEFAULT = {100, 400, 515, 5, 600};
    return bed_open_with(nodes, &DEFAULT);
}

/* ... and up: caught up, its links known. */
static inline struct bed *bed_open_up(int nodes)
{
    struct bed *bed = bed_open(nodes);
    struct report report = bed_report(0, true);

    bed_caught_up(bed);
    bed_step(bed, (struct event){.type = EV_LINKS, .report = &report});
    return bed;
}

static inline void bed_close(struct bed *bed)
{
    free(bed->table);
    free(bed->core);
    free(bed->actions);
    free(bed);
}

#endif
