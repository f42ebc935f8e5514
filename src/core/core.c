#include "core/core_private.h"

#include <string.h>

size_t core_size(void)
{
    return sizeof(struct core);
}

/* How far there is anything to look at in what is kept by slot. It never shrinks: what is left of one that went is to be found. */
static void note_ends(struct core *core)
{
    unsigned words = ((unsigned)core->table->vips_end + 63) / 64;
    core->words = words > core->words ? words : core->words;
    for (int i = core->nodes_end; i < NODES_MAX; i++) {
        core->nodes_end = core->table->nodes[i].used ? i + 1 : core->nodes_end;
    }
}

void core_init(struct core *core, uint64_t self, uint64_t run, const struct table *table, time_ns now)
{
    core->table = table;
    core->self = self;
    core->run = run;
    core->slot = SLOT_NONE;
    core->started = core->last_now = now;
    core->agent.dirty = core->settle_dirty = true;
    core->seen_changed = core->hook.due = NEVER;
    for (int i = 0; i < NODES_MAX; i++) {
        core->hearing[i].since = now;
    }
    note_ends(core);
}

void core_replace_table(struct core *core, const struct table *table)
{
    core->table = table;
    note_ends(core);
}

struct action *core_act(struct actions *actions, enum action_type type, uint64_t to)
{
    if (actions->n == ACTIONS_MAX) {
        __builtin_trap(); /* a step's actions are bounded by construction */
    }
    struct action *action = &actions->list[actions->n++];
    action->type = type;
    action->to = to;
    return action;
}

void core_log(struct actions *actions, enum core_log id, int node, int vip, uint64_t value)
{
    if (actions->n_logs == LOGS_MAX) {
        return; /* words give way to deeds */
    }
    actions->n_logs++;
    struct action *action = core_act(actions, ACT_LOG, 0);
    action->log.id = id;
    action->log.node = node;
    action->log.other = SLOT_NONE;
    action->log.vip = vip;
    action->log.value = value;
}

void core_deadline(struct actions *actions, time_ns at)
{
    if (at < actions->deadline) {
        actions->deadline = at;
    }
}

time_ns core_suspect(const struct core *core)
{
    return core->table->timing.suspect_ms * MS;
}

time_ns core_interval(const struct core *core)
{
    return core->table->timing.interval_ms * MS;
}

time_ns core_promise(const struct core *core)
{
    return core->table->timing.promise_ms * MS;
}

time_ns core_lease(const struct core *core)
{
    if (!RULE(N1_LENGTH)) {
        return core_promise(core);
    }
    /* lease = promise * (1 - drift) / (1 + drift) - margin, drift 1 % */
    return core_promise(core) * 99 / 101 - core->table->timing.margin_ms * MS;
}

bool core_silent(const struct core *core, int node, time_ns now)
{
    const struct hearing *h = &core->hearing[node];
    time_ns from = h->heard > h->since ? h->heard : h->since;
    return node != core->slot && now > from && now - from > core_suspect(core);
}

bool core_hears_majority(const struct core *core, time_ns now)
{
    int heard = 0;
    for (int i = 0; i < core->nodes_end; i++) {
        heard += in_set(core->table->voters, i) && (i == core->slot || !core_silent(core, i, now));
    }
    return heard > 0 && heard >= majority_of(core->table->voters);
}

time_ns core_runout(const struct core *core, int node)
{
    const struct node *fenced = &core->table->nodes[node];
    time_ns at[VOTERS_MAX + 1];
    int n = 0;
    for (int v = 0; v < core->nodes_end && n < VOTERS_MAX; v++) {
        const struct runout *r = &core->runout[node][v];
        if (in_set(core->table->voters, v) && r->fence && (r->fence == fenced->fence || !RULE(L2_APPLIED))) {
            int i = n++;
            for (; i > 0 && at[i - 1] > r->at; i--) {
                at[i] = at[i - 1];
            }
            at[i] = RULE(L2_PROMISE) ? r->at : 0;
        }
    }
    int need = RULE(L2_MAJORITY) ? majority_of(core->table->voters) : 1;
    return need > 0 && n >= need && !slew_unfit(core) ? at[need - 1] + slew_wait(core) : NEVER;
}

bool core_settled_move(const struct core *core, int vip, time_ns now)
{
    const struct vip *v = &core->table->vips[vip];
    if (v->prev == SLOT_NONE || v->prev == v->owner) {
        return true;
    }
    const struct node *prev = &core->table->nodes[v->prev];
    const struct hearing *h = &core->hearing[v->prev];
    if (h->id == prev->id && h->released >= v->moved) {
        return true;
    }
    if (prev->status == NODE_CLEARED) {
        return true;
    }
    return prev->status == NODE_FENCED && core_runout(core, v->prev) <= now;
}

/* What follows from a changed table for what this node remembers of others. */
static void table_changed(struct core *core, time_ns now, struct actions *actions)
{
    const struct table *table = core->table;
    note_ends(core);
    core->slot = table_node_by_id(table, core->self);
    memset(core->waiters, 0, sizeof core->waiters);
    memset(core->wanted, 0, sizeof core->wanted);
    for (int i = 0; i < table->vips_end; i++) {
        const struct vip *v = &table->vips[i];
        if (v->used && v->prev != SLOT_NONE && v->owner != SLOT_NONE) {
            core->waiters[v->prev] |= 1ull << v->owner;
            core->wanted[v->prev] = v->moved > core->wanted[v->prev] ? v->moved : core->wanted[v->prev];
        }
    }
    for (int i = 0; i < NODES_MAX; i++) {
        uint64_t id = table->nodes[i].used ? table->nodes[i].id : 0;
        if (core->hearing[i].id != id) {
            memset(&core->hearing[i], 0, sizeof core->hearing[i]);
            memset(core->runout[i], 0, sizeof core->runout[i]);
            for (int f = 0; f < NODES_MAX; f++) {
                core->runout[f][i] = (struct runout){0, 0};
            }
            core->hearing[i].id = id;
            core->hearing[i].since = now;
            core->agent.acked[i] = 0;
            memset(&core->lead.flaps[i], 0, sizeof core->lead.flaps[i]);
            /* V2: whatever an earlier run of this voter promised has run out by then */
            core->voter.promised[i] = RULE(V2_PROMISE) ? core->started + core_promise(core) : 0;
        }
    }
    bool votes = in_set(table->voters, core->slot);
    for (int i = 0; votes && !core->voted && i < NODES_MAX; i++) {
        core->hearing[i].since = now; /* nobody spoke to it before */
    }
    core->voted = votes;
    core->seen_changed = table->changed;
    core->agent.dirty = core->settle_dirty = core->lead.plan_dirty = true;
    core->lead.calm_at = now + 2 * core_promise(core);
    agent_table_changed(core);
    contest_table_changed(core, now);
    health_table_changed(core);
    stages_table_changed(core, now);
    voter_table_changed(core, now, actions);
}

/* A stalled process has not listened: what it did not listen for gets a fresh `suspect` (L6). */
static void notice_stall(struct core *core, time_ns now)
{
    time_ns gap = now > core->last_now ? now - core->last_now : 0;
    time_ns bound = 2 * core_interval(core) > core_suspect(core) / 2 ? 2 * core_interval(core) : core_suspect(core) / 2;
    if (core->table->cluster_id && gap > bound) {
        for (int i = 0; i < NODES_MAX; i++) {
            core->hearing[i].since = now;
        }
        core->lead.awake_at = now + 2 * core_suspect(core);
    }
    core->last_now = now;
}

static void missing_changed(struct core *core, time_ns now, struct actions *actions)
{
    uint64_t missing = 0;
    for (int i = 0; i < core->nodes_end; i++) {
        if (!core->table->nodes[i].used || i == core->slot) {
            continue;
        }
        struct hearing *h = &core->hearing[i];
        if (!core->voted) { /* nobody speaks to a node that does not vote */
            h->missed = false;
            continue;
        }
        bool missed = core_silent(core, i, now);
        if (missed != h->missed) {
            h->missed = missed;
            if (h->heard || !missed) {
                core_log(actions, missed ? LOG_CORE_MISSING : LOG_CORE_HEARD, i, SLOT_NONE, 0);
            }
            core->lead.plan_dirty = true;
        }
        time_ns from = h->heard > h->since ? h->heard : h->since;
        if (missed) {
            missing |= 1ull << i;
            if (now <= from + 2 * core_suspect(core)) {
                core_deadline(actions, from + 2 * core_suspect(core) + 1); /* then the leader fences it alone */
            }
        } else {
            core_deadline(actions, from + core_suspect(core) + 1);
        }
    }
    if (missing != core->agent.missing) {
        core->agent.missing = missing;
        core->agent.beat_now = true;
    }
}

static void dispatch(struct core *core, const struct event *event, struct actions *actions)
{
    switch (event->type) {
    case EV_TIMER:
    case EV_CONTINUE:
    case EV_APPLIED:
        break;
    case EV_HEARTBEAT:
        voter_heartbeat(core, event->heartbeat, event->now, actions);
        break;
    case EV_ANSWER:
        agent_answer(core, event->answer, event->now);
        break;
    case EV_DISK:
        core->agent.last_term = event->disk.last_term;
        core->agent.last_index = event->disk.last_index;
        if (event->disk.caught_up && !core->caught_up) {
            core->caught_up = core->agent.dirty = core->agent.beat_now = true;
            agent_caught_up(core, event->disk.earlier, event->disk.n_earlier);
            contest_caught_up(core);
        }
        break;
    case EV_ROLE:
        leader_role(core, event, actions);
        break;
    case EV_PROPOSED:
        leader_proposed(core, event);
        break;
    case EV_KERNEL:
        agent_kernel(core, event, actions);
        break;
    case EV_LINKS:
        core->agent.report = *event->report;
        core->agent.has_report = core->agent.dirty = true;
        core->agent.report_at = 0;
        break;
    case EV_REPORT:
        request_report(core, event->report, actions);
        break;
    case EV_REQUEST:
        request_change(core, event, actions);
        break;
    case EV_FOREIGN:
        contest_foreign(core, event, actions);
        break;
    case EV_PROBE:
        contest_probe(core, event, actions);
        break;
    case EV_HEALTH:
        health_result(core, event, actions);
        break;
    case EV_HOOK:
        hook_ended(core, event);
        break;
    case EV_RESET:
        hook_reset_done(core, event);
        break;
    case EV_REACHED:
        core->agent.beat_now = true; /* it may wait for one: the first lease, the admission */
        break;
    case EV_SHUTDOWN:
        core->agent.shutdown = core->agent.dirty = true;
        core->agent.idle_since = event->now;
        core->agent.report.leaving = true;
        core->agent.report_at = 0;
        core->agent.shutdown_by = event->now + 4 * core_promise(core);
        break;
    default:
        __builtin_trap();
    }
}

void core_step(struct core *core, const struct event *event, struct actions *actions)
{
    actions->n = actions->n_logs = 0;
    actions->more = false;
    actions->deadline = NEVER;
    core->wall_ms = event->wall_ms;
    time_ns now = event->now > core->last_now ? event->now : core->last_now;
    notice_stall(core, now);
    slew_note(core, &event->slew, now, actions);
    disk_note(core, event->writing_since, now, actions);
    bool changed = core->seen_changed != core->table->changed;
    if (changed) {
        table_changed(core, now, actions);
    }
    dispatch(core, event, actions);
    bool more = (event->type == EV_KERNEL && event->kernel.more) || (event->type == EV_RESET && event->reset.more);
    bool echo = event->type == EV_KERNEL && !core->agent.results && !changed; /* whatever else is due has its time already */
    if (more || echo) {
        actions->deadline = more ? now : core->deadline;
        actions->more = core->more;
        return;
    }
    missing_changed(core, now, actions);
    agent_step(core, event->type == EV_CONTINUE || event->type == EV_TIMER, now, actions);
    election_step(core, now, actions);
    leader_step(core, now, actions);
    agent_beat(core, now, actions);
    stages_step(core, now);
    core->deadline = actions->deadline;
    core->more = actions->more;
}
