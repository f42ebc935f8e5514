/* How the leader leads a rolling maintenance: which node is next, when it is drained, when it is healthy again, and when
 * to stop. Who runs the command is no matter of the core: it sees entries.
 *
 * Happy path: the next node's turn begins, if that is safe (waiting -> draining); it holds nothing any more (-> drained); the
 * runner begins and ends the command (-> running -> returning); the node is healthy for as long as it is to be (-> done), and
 * the next one's turn comes. Failure modes: the leader dies (the next one finds the step in the table, and waits for it with a
 * fresh time-out); the runner is not heard (paused; nothing of the cluster's side waits for it); the node does not drain or
 * does not come back (failed: stopped, and it stays drained); the next turn would be unsafe, and stays so (stopped). */

#include <stdio.h>
#include <string.h>

#include "core/core_private.h"

#define PATIENCE (10000 * MS) /* with a turn that would be unsafe now: perhaps something is about to settle */
#define PLANNED_AT_ONCE 32768 /* VIPs times nodes: the planner takes a few hundred nanoseconds for each, and leases wait */
#define PLANNED_NODES 4

/* ---------------------------------------------------------------- is it safe, is it healthy */

static bool is_heard(const struct core *core, int node, time_ns now)
{
    return node == core->slot || (core->hearing[node].heard && !core_silent(core, node, now));
}

static bool unsafe_voter(const struct core *core, int node, time_ns now, char ret_why[192])
{
    int left = 0, missing = SLOT_NONE;

    for (int v = 0; v < NODES_MAX; v++) {
        if (in_set(core->table->voters, v) && v != node) {
            bool well = is_heard(core, v, now) && !core->table->nodes[v].leaving;
            left += well;
            missing = well ? missing : v;
        }
    }
    if (!in_set(core->table->voters, node) || left >= majority_of(core->table->voters)) {
        return false;
    }
    int n = __builtin_popcountll(core->table->voters);
    if (n == 1) {
        snprintf(ret_why, 192, "%.63s is the only voter", core->table->nodes[node].name);
    } else if (missing == SLOT_NONE) {
        snprintf(ret_why, 192, "without %.63s no majority of the %d voters would be left", core->table->nodes[node].name, n);
    } else {
        snprintf(ret_why, 192, "without %.60s no majority of the voters would be left: %.60s is not there",
                 core->table->nodes[node].name, core->table->nodes[missing].name);
    }
    return true;
}

static bool unsafe_node(const struct core *core, int node, time_ns now, char ret_why[192])
{
    const struct node *n = &core->table->nodes[node];
    enum node_state state = core_node_state(core, node, now);

    if (n->removing || n->leaving || state == NODE_STATE_FENCED || state == NODE_STATE_DOWN) {
        snprintf(ret_why, 192, "node %.63s %s", n->name,
                 n->removing                   ? "is being removed"
                 : n->leaving                  ? "is shutting down"
                 : state == NODE_STATE_FENCED ? "is fenced"
                                              : "is down");
        return true;
    }
    return unsafe_voter(core, node, now, ret_why);
}

bool core_maintenance_unsafe(const struct core *core, int node, time_ns now, struct plan_scratch *scratch, struct move *moves,
                             char ret_why[192])
{
    if (unsafe_node(core, node, now, ret_why)) {
        return true;
    }
    int vip = overview_left_nowhere(core, node, now, scratch, moves);
    if (vip != SLOT_NONE) {
        snprintf(ret_why, 192, "draining %.60s would leave VIP %.60s without a node", core->table->nodes[node].name,
                 core->table->vips[vip].name);
    }
    return vip != SLOT_NONE;
}

int core_maintenance_planned(const struct core *core, int n)
{
    int vips = core->table->vips_end > 0 ? core->table->vips_end : 1;
    int most = PLANNED_AT_ONCE / vips < PLANNED_NODES ? PLANNED_NODES : PLANNED_AT_ONCE / vips;

    return n < most ? n : most;
}

bool maintenance_refuses(struct core *core, const struct maintenance_command *begin, time_ns now, char ret_why[192])
{
    int planned = core_maintenance_planned(core, begin->n_nodes);

    for (int i = 0; i < begin->n_nodes; i++) {
        int node = begin->nodes[i];
        if (node < 0 || node >= NODES_MAX || !core->table->nodes[node].used) {
            continue; /* the table says what is wrong with it */
        }
        if (unsafe_node(core, node, now, ret_why) ||
            (i < planned &&
             core_maintenance_unsafe(core, node, now, &core->lead.scratch, core->lead.moves, ret_why))) {
            return true;
        }
    }
    return false;
}

static uint64_t run_of(const struct core *core, int node)
{
    return node == core->slot ? core->run : core->hearing[node].last.run;
}

uint64_t core_node_run(const struct core *core, int node)
{
    return run_of(core, node);
}

static bool has_restarted(const struct core *core, int node)
{
    uint64_t before = core->table->maintenance.node_run;

    return before != 0 && run_of(core, node) != 0 && run_of(core, node) != before;
}

static bool lacks_check(const struct core *core, int node, char ret_why[192])
{
    const struct maintenance *m = &core->table->maintenance;

    for (int i = 0; i < CHECKS_MAX; i++) {
        const struct check *check = &core->table->checks[i];
        bool passes = in_set(check->passing, node), anew = check->changed > m->run;

        if ((m->before.passing >> i & 1) != 0 && check->spec.name[0] != '\0' && !passes &&
            (!anew || in_set(check->failing, node))) {
            snprintf(ret_why, 192, "check %.63s %s there", check->spec.name,
                     in_set(check->failing, node) ? "fails" : "has not passed yet");
            return true;
        }
    }
    return false;
}

/* What it could carry before, it is to carry again. */
static bool lacks_link(const struct core *core, int node, char ret_why[192])
{
    const struct maintenance *m = &core->table->maintenance;

    for (int i = 0; i < core->table->vips_end; i++) {
        const struct vip *v = &core->table->vips[i];
        const struct link *before, *link;

        if (!v->used || v->deleted || (v->nodes != 0 && !in_set(v->nodes, node))) {
            continue;
        }
        before = links_find(m->before.links, m->before.n_links, v);
        link = before && before->up ? table_link_for(core->table, node, v) : NULL;
        if (before && before->up && (!link || !link->up)) {
            snprintf(ret_why, 192, "interface %.15s is %s there", before->name, link ? "down" : "missing");
            return true;
        }
    }
    return false;
}

static bool unhealthy(const struct core *core, int node, time_ns now, char ret_why[192])
{
    const struct maintenance *m = &core->table->maintenance;
    const struct node *n = &core->table->nodes[node];
    const char *why = NULL;

    if (m->restart && !has_restarted(core, node)) {
        why = is_heard(core, node, now) ? "it has not been restarted yet" : "it is not heard";
    } else if (!is_heard(core, node, now)) {
        why = "it is not heard";
    } else if (n->status != NODE_ADMITTED) {
        why = n->status == NODE_FENCED ? "it is fenced" : "it is not admitted yet";
    } else if (n->leaving) {
        why = "vipd is shutting down there";
    } else if (node != core->slot && core->hearing[node].last.applied < m->changed) {
        why = "it has not caught up yet";
    } else if (!n->witness && !in_set(core_usable(core, now), node)) {
        why = "it has no lease yet";
    }
    if (why) {
        snprintf(ret_why, 192, "%s", why);
        return true;
    }
    return lacks_check(core, node, ret_why) || lacks_link(core, node, ret_why);
}

/* ---------------------------------------------------------------- entries */

static struct maintenance_command *command(struct core *core, enum maintenance_op op)
{
    struct command *c = leader_command(core, COMMAND_MAINTENANCE);

    memcpy(c->who, core->table->maintenance.who, sizeof c->who); /* it is in that person's name */
    c->maintenance.op = op;
    c->maintenance.run = core->table->maintenance.run;
    return &c->maintenance;
}

static bool enter(struct core *core, int at, enum step_state to, const char *why, struct actions *actions)
{
    const struct maintenance_step *step = &core->table->maintenance.steps[at];
    struct maintenance_command *c = command(core, MAINTENANCE_STEP);

    c->step = (uint8_t)at;
    c->from = step->state;
    c->to = to;
    snprintf(c->why, sizeof c->why, "%s", why);
    core_log(actions, LOG_CORE_MAINTENANCE, step->node, SLOT_NONE, to);
    leader_propose(core, actions);
    return true;
}

/* ---------------------------------------------------------------- the runner */

static bool judge_runner(struct core *core, time_ns now, struct actions *actions)
{
    const struct maintenance *m = &core->table->maintenance;
    bool running = m->at != SLOT_NONE && m->steps[m->at].state == STEP_RUNNING;
    time_ns due = core->lead.maintenance.beat_at + MAINTENANCE_LOST_MS * MS;

    if (m->lost || (m->state != MAINTENANCE_RUNNING && !running)) {
        return false;
    }
    if (now < due) {
        core_deadline(actions, due);
        return false;
    }
    command(core, MAINTENANCE_LOST)->runner = m->beat;
    core_log(actions, LOG_CORE_MAINTENANCE_LOST, m->at == SLOT_NONE ? SLOT_NONE : m->steps[m->at].node, SLOT_NONE, 0);
    leader_propose(core, actions);
    return true;
}

/* ---------------------------------------------------------------- steps */

/* As named, but this leader last, whoever led when it began: the leadership is handed over once. */
static int next_step(const struct core *core)
{
    const struct maintenance *m = &core->table->maintenance;
    int last = SLOT_NONE;

    for (int i = 0; i < m->n_steps; i++) {
        if (m->steps[i].state == STEP_WAITING) {
            if (m->steps[i].node != core->slot) {
                return i;
            }
            last = i;
        }
    }
    return last;
}

static bool begin_next(struct core *core, time_ns now, struct actions *actions)
{
    const struct maintenance *m = &core->table->maintenance;
    int at = next_step(core);
    char why[192];

    if (m->state != MAINTENANCE_RUNNING || at == SLOT_NONE) {
        return false;
    }
    if (m->force || !core_maintenance_unsafe(core, m->steps[at].node, now, &core->lead.scratch, core->lead.moves, why)) {
        return enter(core, at, STEP_DRAINING, "", actions);
    }
    core->lead.maintenance.refused = core->lead.maintenance.refused ? core->lead.maintenance.refused : now;
    if (now < core->lead.maintenance.refused + PATIENCE) {
        return false;
    }
    snprintf(command(core, MAINTENANCE_STOP)->why, MAINTENANCE_WHY_SIZE, "%s", why);
    core_log(actions, LOG_CORE_MAINTENANCE, m->steps[at].node, SLOT_NONE, STEP_FAILED);
    leader_propose(core, actions);
    return true;
}

static bool is_late(const struct core *core, uint32_t ms, time_ns now, struct actions *actions)
{
    time_ns due = core->lead.maintenance.since + ms * MS;

    core_deadline(actions, now < due ? due : NEVER);
    return now >= due;
}

static bool lead_draining(struct core *core, int at, time_ns now, struct actions *actions)
{
    const struct maintenance *m = &core->table->maintenance;
    int node = m->steps[at].node;
    unsigned owns = 0;
    char why[192];

    if (core_settled(core, SLOT_NONE, node, now)) {
        return enter(core, at, STEP_DRAINED, "", actions);
    }
    if (!is_late(core, m->drain_ms, now, actions)) {
        return false;
    }
    if (m->force) { /* it was said that VIPs may stay behind */
        return enter(core, at, STEP_DRAINED, "", actions);
    }
    for (int i = 0; i < core->table->vips_end; i++) {
        owns += core->table->vips[i].used && core->table->vips[i].owner == node;
    }
    snprintf(why, sizeof why, owns ? "it was not drained in time: it still owns %u VIPs"
                                   : "it was not drained in time: it still releases its VIPs, or leads",
             owns);
    return enter(core, at, STEP_FAILED, why, actions);
}

static bool lead_returning(struct core *core, int at, time_ns now, struct actions *actions)
{
    const struct maintenance *m = &core->table->maintenance;
    char why[192];

    if (!unhealthy(core, m->steps[at].node, now, why)) {
        core->lead.maintenance.healthy = core->lead.maintenance.healthy ? core->lead.maintenance.healthy : now;
        time_ns due = core->lead.maintenance.healthy + m->settle_ms * MS;
        if (now >= due) {
            return enter(core, at, STEP_DONE, "", actions);
        }
        core_deadline(actions, due);
        return false; /* it is on its way, late or not */
    }
    core->lead.maintenance.healthy = 0;
    return is_late(core, m->return_ms, now, actions) && enter(core, at, STEP_FAILED, why, actions);
}

static bool lead_step(struct core *core, int at, time_ns now, struct actions *actions)
{
    const struct maintenance *m = &core->table->maintenance;

    switch (m->steps[at].state) {
    case STEP_DRAINING:
        return lead_draining(core, at, now, actions);
    case STEP_RUNNING: /* with nobody left to say that the command has ended, the node itself may show it */
        return m->lost && m->restart && has_restarted(core, m->steps[at].node) &&
               enter(core, at, STEP_RETURNING, "", actions);
    case STEP_RETURNING:
        return lead_returning(core, at, now, actions);
    case STEP_DRAINED:
    case STEP_WAITING:
    case STEP_DONE:
    case STEP_FAILED:
    case STEP_SKIPPED:
    default:
        return false;
    }
}

/* Since when things are as they are, by this leader's own clock: a new leader waits anew. */
static void note(struct core *core, time_ns now)
{
    const struct maintenance *m = &core->table->maintenance;

    if (core->lead.maintenance.changed != m->changed) {
        core->lead.maintenance.changed = m->changed;
        core->lead.maintenance.since = now;
        core->lead.maintenance.healthy = core->lead.maintenance.refused = core->lead.maintenance.look_at = 0;
    }
    if (core->lead.maintenance.beat != m->beat) {
        core->lead.maintenance.beat = m->beat;
        core->lead.maintenance.beat_at = now;
    }
}

bool maintenance_lead(struct core *core, time_ns now, struct actions *actions)
{
    const struct maintenance *m = &core->table->maintenance;

    if (!maintenance_is_open(m)) {
        return false;
    }
    note(core, now);
    if (m->state == MAINTENANCE_STOPPED) {
        return false;
    }
    if (judge_runner(core, now, actions)) {
        return true;
    }
    if (now < core->lead.maintenance.look_at) {
        core_deadline(actions, core->lead.maintenance.look_at);
        return false;
    }
    /* Each look is at every VIP; the first one at the planner, too. */
    core->lead.maintenance.look_at = now + core_interval(core) * (m->at == SLOT_NONE ? 4 : 1);
    if (m->at == SLOT_NONE ? begin_next(core, now, actions) : lead_step(core, m->at, now, actions)) {
        return true;
    }
    core_deadline(actions, core->lead.maintenance.look_at);
    return false;
}

bool core_maintenance_waits(const struct core *core, time_ns now, char ret_why[192])
{
    const struct maintenance *m = &core->table->maintenance;

    return maintenance_is_open(m) && m->at != SLOT_NONE && m->steps[m->at].state == STEP_RETURNING &&
           unhealthy(core, m->steps[m->at].node, now, ret_why);
}
