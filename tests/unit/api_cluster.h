#ifndef VIPD_TESTS_UNIT_API_CLUSTER_H
#define VIPD_TESTS_UNIT_API_CLUSTER_H

/* A cluster to put requests to: the real table and the real core of node a, which leads, and the nodes b and c, which are
 * well and do at once whatever they ought to. Each entry is committed as it is proposed. Time passes by
 * cluster_pass() only. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.h"
#include "daemon/api.h"

#define CLUSTER_NODES 3
#define CLUSTER_EVENTS 1024
#define CLUSTER_RUN 77
#define CLUSTER_WALL_MS INT64_C(1700000000000)

struct cluster
{
    struct table *table;
    struct core *core;
    struct actions *actions;
    struct api_scratch *scratch;
    struct api_survey survey;
    struct api_daemon daemon;
    time_ns now;
    struct slew slew;             /* of a's clock */
    struct slew others[CLUSTER_NODES]; /* b's and c's, by their own word */
    time_ns writing_since;        /* at a's disk */
    uint64_t own_seq;             /* of a's last heartbeat */
    uint64_t seq[CLUSTER_NODES];
    bool silent[CLUSTER_NODES];   /* b or c is not heard and does not answer */
    uint64_t restarts[CLUSTER_NODES]; /* of b's and c's daemons */
    struct event queue[CLUSTER_EVENTS];
    unsigned first, last;
    struct event kernel[ACTIONS_MAX]; /* goes before all others (N3) */
    unsigned kernel_first, kernel_last;
    bool more;                    /* an EV_CONTINUE is in the queue */
    uint64_t token;               /* of the request on its way; 0 once it is answered */
    struct outcome outcome;
};

static inline void cluster_queue(struct cluster *cluster, struct event event)
{
    if (cluster->last - cluster->first == CLUSTER_EVENTS) {
        abort(); /* the test is too large for its queue */
    }
    cluster->queue[cluster->last++ % CLUSTER_EVENTS] = event;
}

static inline void cluster_kernel(struct cluster *cluster, const struct addr *addr, bool present)
{
    struct event event = { .type = EV_KERNEL };

    event.kernel.addr = *addr;
    event.kernel.present = present;
    if (cluster->kernel_last - cluster->kernel_first == ACTIONS_MAX) {
        abort();
    }
    cluster->kernel[cluster->kernel_last++ % ACTIONS_MAX] = event;
}

/* The next event; false when there is none. */
static inline bool cluster_next(struct cluster *cluster, struct event *ret)
{
    if (cluster->kernel_first != cluster->kernel_last) {
        *ret = cluster->kernel[cluster->kernel_first++ % ACTIONS_MAX];
        ret->kernel.more = cluster->kernel_first != cluster->kernel_last;
        return true;
    }
    if (cluster->first != cluster->last) {
        *ret = cluster->queue[cluster->first++ % CLUSTER_EVENTS];
        return true;
    }
    return false;
}

static inline void cluster_apply(struct cluster *cluster, const struct action *action)
{
    struct outcome outcome;
    struct event proposed = { .type = EV_PROPOSED };

    proposed.proposed.index = cluster->table->applied + 1;
    if (action->type == ACT_BARRIER) {
        table_skip(cluster->table, cluster->table->applied + 1);
    } else {
        table_apply(cluster->table, cluster->table->applied + 1, action->propose.command, &outcome);
        proposed.proposed.token = action->propose.token;
        if (action->propose.token != 0 && action->propose.token == cluster->token) {
            cluster->outcome = outcome;
            cluster->token = 0;
        }
    }
    cluster_queue(cluster, proposed);
    cluster_queue(cluster, (struct event){ .type = EV_APPLIED });
}

static inline void cluster_act(struct cluster *cluster, const struct action *action)
{
    switch ((int)action->type) {
    case ACT_HEARTBEAT:
        cluster->own_seq = action->heartbeat.seq;
        break;
    case ACT_ADDR_ADD:
        cluster_kernel(cluster, &cluster->table->vips[action->vip].address.addr, true);
        break;
    case ACT_PROBE: /* nobody answers */
        cluster_queue(cluster, (struct event){.type = EV_PROBE,
                                              .probe = {.vip = action->probe.vip, .moved = action->probe.moved}});
        break;
    case ACT_RESET: /* nobody is connected */
        cluster_queue(cluster, (struct event){.type = EV_RESET,
                                              .reset = {.vip = action->reset.vip, .moved = action->reset.moved}});
        break;
    case ACT_ADDR_DEL:
        cluster_kernel(cluster, &action->addr, false);
        break;
    case ACT_BARRIER:
    case ACT_PROPOSE:
        cluster_apply(cluster, action);
        break;
    case ACT_REPLY:
        if (action->reply.token == cluster->token) {
            cluster->outcome = action->reply.outcome;
            cluster->token = 0;
        }
        break;
    default:
        break;
    }
}

/* Steps the event and all that follow from it. */
static inline void cluster_step(struct cluster *cluster, struct event event)
{
    struct event next;

    cluster_queue(cluster, event);
    while (cluster_next(cluster, &next)) {
        cluster->more &= next.type != EV_CONTINUE;
        next.now = cluster->now;
        next.slew = cluster->slew;
        next.writing_since = cluster->writing_since;
        next.wall_ms = CLUSTER_WALL_MS + (int64_t)(cluster->now / MS);
        core_step(cluster->core, &next, cluster->actions);
        bool more = cluster->actions->more;
        for (unsigned i = 0; i < cluster->actions->n; i++) {
            cluster_act(cluster, &cluster->actions->list[i]);
        }
        if (more && !cluster->more) {
            cluster->more = true;
            cluster_queue(cluster, (struct event){ .type = EV_CONTINUE });
        }
    }
}

/* b and c say that they have applied, released and taken what they should. */
static inline void cluster_peers(struct cluster *cluster)
{
    for (int slot = 1; slot < CLUSTER_NODES; slot++) {
        const struct node *node = &cluster->table->nodes[slot];
        if (cluster->silent[slot]) {
            continue;
        }
        struct heartbeat beat = { .from = node->id, .run = 5 + cluster->restarts[slot], .gen = node->gen, .seq = ++cluster->seq[slot],
                                  .applied = cluster->table->applied, .released = cluster->table->applied,
                                  .held = cluster->table->applied, .lease_ms = 400,
                                  .slow_ppm = cluster->others[slot].slow_ppm,
                                  .fast_ppm = cluster->others[slot].fast_ppm, .leader = 1, .last_term = 1,
                                  .last_index = cluster->table->applied };
        cluster_step(cluster, (struct event){ .type = EV_HEARTBEAT, .heartbeat = &beat });
        struct answer answer = { .from = node->id, .to = 1, .run = CLUSTER_RUN, .gen = cluster->table->nodes[0].gen,
                                 .seq = cluster->own_seq, .acked = true, .applied = cluster->table->applied };
        cluster_step(cluster, (struct event){ .type = EV_ANSWER, .answer = &answer });
    }
}

static inline void cluster_pass(struct cluster *cluster, unsigned ms)
{
    for (unsigned at = 0; at < ms; at += 25) {
        cluster->now += 25 * MS;
        cluster_step(cluster, (struct event){ .type = EV_TIMER });
        cluster_peers(cluster);
    }
}

static inline void cluster_commit(struct cluster *cluster, const struct command *command)
{
    struct outcome outcome;

    table_apply(cluster->table, cluster->table->applied + 1, command, &outcome);
    if (outcome.code != OUTCOME_DONE) {
        fprintf(stderr, "%s\n", outcome.detail);
        abort();
    }
}

static inline void cluster_found(struct cluster *cluster)
{
    static const char *const names[] = { "a", "b", "c" };
    struct found_node nodes[CLUSTER_NODES];
    struct command command = { .type = COMMAND_FOUND, .at_ms = CLUSTER_WALL_MS };

    memset(nodes, 0, sizeof nodes);
    for (int i = 0; i < CLUSTER_NODES; i++) {
        char at[32];
        nodes[i].id = (uint64_t)i + 1;
        strcpy(nodes[i].name, names[i]);
        snprintf(at, sizeof at, "10.0.0.%d:7400", i + 1);
        if (endpoint_parse(at, &nodes[i].at) < 0) {
            abort();
        }
    }
    strcpy(command.found.cluster, "prod");
    command.found.cluster_id = 4711;
    command.found.timing = (struct timing){ 100, 400, 515, 5, 600 };
    command.found.settings = (struct settings){.announce_count = 5, .announce_interval_ms = 200, .announce_refresh_ms = 60000};
    command.found.n_nodes = CLUSTER_NODES;
    command.found.nodes = nodes;
    cluster_commit(cluster, &command);
}

static inline void cluster_join(struct cluster *cluster, int slot)
{
    const struct node *node = &cluster->table->nodes[slot];
    struct command report = { .type = COMMAND_NODE_REPORT, .at_ms = CLUSTER_WALL_MS };
    struct command admit = { .type = COMMAND_ADMIT, .at_ms = CLUSTER_WALL_MS };
    char address[32];

    report.report.node = (int8_t)slot;
    report.report.id = node->id;
    report.report.identity = node->id + 100;
    report.report.run = slot == 0 ? CLUSTER_RUN : 5;
    report.report.n_links = 1;
    strcpy(report.report.version, "0.1.0");
    strcpy(report.report.links[0].name, "eth0");
    report.report.links[0].up = true;
    report.report.links[0].n_prefixes = 2;
    snprintf(address, sizeof address, "10.0.0.%d/24", slot + 1);
    if (prefix_parse(address, &report.report.links[0].prefixes[0], NULL) < 0 ||
        prefix_parse("2001:db8::1/64", &report.report.links[0].prefixes[1], NULL) < 0) {
        abort();
    }
    cluster_commit(cluster, &report);
    if (node->status != NODE_ADMITTED) {
        admit.node.node = (int8_t)slot;
        admit.node.fence = node->fence;
        admit.node.since = node->since;
        cluster_commit(cluster, &admit);
    }
}

static inline struct cluster *cluster_open(void)
{
    static const struct api_counter counters[] = { { "heartbeats", 3 } };
    struct cluster *cluster = calloc(1, sizeof *cluster);

    cluster->table = calloc(1, sizeof *cluster->table);
    cluster->core = calloc(1, core_size());
    cluster->actions = calloc(1, sizeof *cluster->actions);
    cluster->scratch = calloc(1, sizeof *cluster->scratch);
    cluster->daemon = (struct api_daemon){ .node = "a", .cluster = "test", .waits = "it waits", .id = 1, .started_ms = CLUSTER_WALL_MS, .fence = "kernel",
                                           .n_counters = 1, .counters = counters };
    cluster->now = 1000 * MS;
    table_init(cluster->table);
    cluster_found(cluster);
    for (int slot = 0; slot < CLUSTER_NODES; slot++) {
        cluster_join(cluster, slot);
    }
    core_init(cluster->core, 1, CLUSTER_RUN, cluster->table, cluster->now);
    struct report report = { .node = 1, .identity = 101, .run = CLUSTER_RUN, .n_links = 1,
                             .links = { cluster->table->nodes[0].links[0] } };
    strcpy(report.version, "0.1.0");
    cluster_step(cluster, (struct event){ .type = EV_LINKS, .report = &report });
    cluster_step(cluster, (struct event){ .type = EV_APPLIED });
    struct event disk = { .type = EV_DISK };
    disk.disk.last_term = 1;
    disk.disk.last_index = disk.disk.target = cluster->table->applied;
    disk.disk.caught_up = true;
    cluster_step(cluster, disk);
    struct event role = { .type = EV_ROLE };
    role.role.role = RAFT_ROLE_LEADER;
    role.role.term = 1;
    role.role.leader = 1;
    cluster_step(cluster, role);
    cluster_pass(cluster, 1000);
    return cluster;
}

static inline void cluster_close(struct cluster *cluster)
{
    if (cluster != NULL) {
        free(cluster->table);
        free(cluster->core);
        free(cluster->actions);
        free(cluster->scratch);
        free(cluster);
    }
}

static inline struct api_view cluster_view(const struct cluster *cluster)
{
    return (struct api_view){ .core = cluster->core, .table = cluster->table, .daemon = &cluster->daemon,
                              .scratch = cluster->scratch, .survey = &cluster->survey, .now = cluster->now,
                              .wall_ms = CLUSTER_WALL_MS + (int64_t)(cluster->now / MS) };
}

/* Serves a request as the leader's daemon does. */
static inline void cluster_serve(struct cluster *cluster, const struct control_request *request,
                                 struct value_arena *arena, struct control_reply *ret)
{
    struct api_view view = cluster_view(cluster);
    struct command command;

    if (api_kind(request->op) != API_CHANGE) {
        api_read(&view, request, arena, ret);
        return;
    }
    if (api_command(&view, request, "uid 0 on a", arena, &command, ret) == API_ANSWERED) {
        return;
    }
    struct event event = { .type = EV_REQUEST };
    event.request.token = cluster->token = 99;
    event.request.command = &command;
    event.request.force = request->force;
    event.request.dry_run = request->dry_run;
    cluster_step(cluster, event);
    view = cluster_view(cluster);
    if (cluster->token != 0) {
        abort(); /* every request is answered in its step here */
    }
    api_outcome(&view, request, &cluster->outcome, arena, ret);
}

#endif
