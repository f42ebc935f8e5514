/* The leader's judgement: fence, clear, move, admit (L1-L4), and what becomes of clients' changes.
 *
 * One decision at a time: nothing is judged before the table has reached the leader's own last entry, so every entry
 * names a state that this leader has seen (L0, L6). Whatever is lost with a leadership is judged anew by the next. */

#include "core/core_private.h"

#include <stdio.h>
#include <string.h>


struct command *leader_command(struct core *core, enum command_type type)
{
    struct command *command = &core->lead.command;
    memset(command, 0, sizeof *command);
    command->type = type;
    command->at_ms = core->wall_ms;
    command->format = core->table->format;
    return command;
}

void leader_propose(struct core *core, struct actions *actions)
{
    core->lead.own = NEVER;
    struct action *action = core_act(actions, ACT_PROPOSE, 0);
    action->propose.token = 0;
    action->propose.command = &core->lead.command;
}

/* L6: its barrier, and since then its own last decision, stand in the table. */
bool leader_ready(const struct core *core)
{
    return core->lead.role == RAFT_ROLE_LEADER && core->lead.barrier && core->table->applied >= core->lead.own;
}

bool core_is_leader(const struct core *core)
{
    return core->lead.role == RAFT_ROLE_LEADER && core->lead.barrier && core->table->applied >= core->lead.barrier &&
           core->table->cluster_id;
}

void leader_role(struct core *core, const struct event *event, struct actions *actions)
{
    bool won = event->role.role == RAFT_ROLE_LEADER &&
               (core->lead.role != RAFT_ROLE_LEADER || core->lead.term != event->role.term);
    bool lost = event->role.role != RAFT_ROLE_LEADER && core->lead.role == RAFT_ROLE_LEADER;
    if (event->role.leader && (event->role.leader != core->lead.leader || event->role.term != core->lead.term)) {
        /* One that has just been elected may have to catch up before it says a word: a row of elections would keep it
         * from ever getting there. */
        core->lead.elect_at = event->now + core_suspect(core);
        core->lead.led_since = event->now;
    }
    if (won || lost) {
        homes_forget(core);
    }
    core->lead.role = event->role.role;
    core->lead.term = event->role.term;
    core->lead.leader = event->role.leader;
    core->agent.report_at = 0;
    if (won) {
        core->lead.barrier = 0;
        core->lead.own = NEVER;
        core->lead.try_at = core->lead.roster_at = 0;
        core->lead.configuring = false;
        memset(core->lead.lost_since, 0, sizeof core->lead.lost_since);
        core->lead.plan_dirty = core->settle_dirty = true;
        core->lead.usable = 0; /* whoever is usable has been so from now on, as far as this leader knows */
        core->lead.ripe_at = 0;
        core->lead.fresh = true;
        for (int i = 0; i < NODES_MAX; i++) {
            core->lead.unreleased[i].index = NEVER;
        }
        memset(core->lead.lacking, 0, sizeof core->lead.lacking);
        memset(&core->lead.maintenance, 0, sizeof core->lead.maintenance);
        core_log(actions, LOG_CORE_LEADER, core->slot, SLOT_NONE, event->role.term);
    } else if (lost) {
        core->lead.barrier = 0;
        core_log(actions, LOG_CORE_FOLLOWER, core->slot, SLOT_NONE, event->role.term);
    }
}

void leader_proposed(struct core *core, const struct event *event)
{
    if (event->proposed.token) {
        return;
    }
    if (event->proposed.index) {
        core->lead.roster_at = core->lead.configuring ? 0 : core->lead.roster_at;
        core->lead.configuring = false;
        core->lead.own = RULE(L6) || core->lead.barrier ? event->proposed.index : core->table->applied;
        core->lead.barrier = core->lead.barrier ? core->lead.barrier : event->proposed.index;
        return;
    }
    if (core->lead.configuring) { /* it comes back to that by itself */
        core->lead.configuring = false;
        core->lead.own = core->table->applied;
        return;
    }
    core->lead.try_at = event->now + (core_interval(core) ? core_interval(core) : 100 * MS);
    core->lead.plan_dirty = true;
    core->lead.own = core->lead.barrier ? core->table->applied : NEVER;
}

/* ---------------------------------------------------------------- fence, clear, admit */

/* Whether a majority of the voters, this one among them, misses the node. When it died they all do, at the same time,
 * and say so at once; lost datagrams are missed by one at a time. */
static bool missed_by_majority(const struct core *core, int node, time_ns now)
{
    int missed = 0;
    for (int v = 0; v < core->nodes_end; v++) {
        if (!in_set(core->table->voters, v)) {
            continue;
        }
        bool heard = v != core->slot && core->hearing[v].heard && !core_silent(core, v, now);
        missed += v == core->slot || (heard && in_set(core->hearing[v].last.missing, node));
    }
    return missed >= majority_of(core->table->voters);
}

/* A node that others hear, but not the leader, is out, too, but with more patience. */
static bool long_silent(const struct core *core, int node, time_ns now)
{
    const struct hearing *h = &core->hearing[node];
    return now > (h->heard > h->since ? h->heard : h->since) + 2 * core_suspect(core);
}

static bool must_fence(const struct core *core, int i, time_ns now)
{
    if (!core->table->nodes[i].used || core->table->nodes[i].status != NODE_ADMITTED) {
        return false;
    }
    if (RULE(L1_SILENCE) && core_silent(core, i, now) && (missed_by_majority(core, i, now) || long_silent(core, i, now))) {
        return true;
    }
    if (RULE(L1_RELEASE) && core->lead.unreleased[i].index != NEVER &&
        now > core->lead.unreleased[i].since + core_lease(core)) {
        return true;
    }
    return RULE(L1_DEAF) && core->lead.lacking[i].since && now > core->lead.lacking[i].since + overview_patience(core, i);
}

/* Whether each VIP of the node is given to another one by the moves. */
static bool all_go_elsewhere(const struct core *core, int node, uint32_t n_moves)
{
    uint32_t owned = 0, moved = 0;
    for (int i = 0; i < core->table->vips_end; i++) {
        owned += core->table->vips[i].used && core->table->vips[i].owner == node;
    }
    for (uint32_t i = 0; i < n_moves; i++) {
        moved += core->table->vips[core->lead.moves[i].vip].owner == node && core->lead.moves[i].to != SLOT_NONE;
    }
    return owned > 0 && moved == owned;
}

/* A node whose disk is dead applies no move: what it has it loses by a fence, but only if there is a better place for it. */
static bool may_leave(struct core *core, int i, time_ns now, struct actions *actions)
{
    if (!core->table->nodes[i].used || core->table->nodes[i].status != NODE_ADMITTED || !disk_dead(core, i, now)) {
        return false;
    }
    core_deadline(actions, core->disk.leave_at > now ? core->disk.leave_at : NEVER);
    return now >= core->disk.leave_at;
}

/* Evening out can wait until nothing has changed for a while; without that, a row of changes, or a node that comes and goes,
 * would move VIPs to and fro. Removes those moves while it is too early; returns how many are left. */
static uint32_t only_urgent(struct core *core, uint32_t n, time_ns now, struct actions *actions)
{
    uint32_t kept = 0;
    if (now >= core->lead.calm_at) {
        return n;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (core->lead.moves[i].reason != REASON_REBALANCE) {
            core->lead.moves[kept++] = core->lead.moves[i];
        }
    }
    if (kept < n) {
        core->lead.plan_dirty = true;
        core_deadline(actions, core->lead.calm_at);
    }
    return kept;
}

static bool fence_one(struct core *core, time_ns now, struct actions *actions)
{
    for (int i = 0; i < core->nodes_end; i++) {
        bool must = must_fence(core, i, now);
        if (!must && !may_leave(core, i, now, actions)) {
            continue;
        }
        struct plan_input input;
        overview_plan_input(core, now, &input);
        input.excluded = 1ull << i;
        struct command *command = leader_command(core, COMMAND_FENCE);
        command->fence.node = (int8_t)i;
        command->fence.gen = core->table->nodes[i].gen;
        command->fence.moves = core->lead.moves;
        command->fence.n_moves = only_urgent(
            core, plan_moves(&input, &core->lead.scratch, core->lead.moves, VIPS_MAX), now, actions);
        if (!must && !all_go_elsewhere(core, i, command->fence.n_moves)) {
            core->disk.leave_at = now + core_suspect(core);
            core_deadline(actions, core->disk.leave_at);
            continue;
        }
        if (!must) {
            core_log(actions, LOG_CORE_DISK_DEAD, i, SLOT_NONE, 0);
        }
        homes_moves(core, command->fence.n_moves);
        if (now - core->lead.flaps[i].last > core->table->settings.hold_window_ms * MS) {
            core->lead.flaps[i].n = 0;
        }
        core->lead.flaps[i].n++;
        core->lead.flaps[i].last = now;
        core_log(actions, LOG_CORE_FENCE, i, SLOT_NONE, command->fence.n_moves);
        leader_propose(core, actions);
        return true;
    }
    return false;
}

/* L4's hold-down: none for the first few fences of a window, then longer and longer. */
static time_ns admit_at(const struct core *core, int i)
{
    const struct settings *s = &core->table->settings;
    uint64_t hold_ms = s->hold_first_ms;
    if (core->lead.flaps[i].n <= s->hold_after || !RULE(L4_HOLD)) {
        return 0;
    }
    for (uint32_t n = core->lead.flaps[i].n - s->hold_after; n > 1 && hold_ms < s->hold_max_ms && hold_ms; n--) {
        hold_ms *= 2;
    }
    return core->lead.flaps[i].last + (hold_ms < s->hold_max_ms ? hold_ms : s->hold_max_ms) * MS;
}

uint32_t core_hold_down_ms(const struct core *core, int node, time_ns now)
{
    time_ns at = core->table->nodes[node].status == NODE_ADMITTED || !core_is_leader(core) ? 0 : admit_at(core, node);
    return at > now ? (uint32_t)((at - now) / MS) + 1 : 0;
}

static bool may_admit(const struct core *core, int i, time_ns now, struct actions *actions)
{
    const struct node *n = &core->table->nodes[i];
    const struct hearing *h = &core->hearing[i];
    if (n->status == NODE_ADMITTED || core_silent(core, i, now) || !h->heard || n->leaving || n->removing || !n->identity ||
        (RULE(L4_RELEASED) && (h->last.applied < n->fence || h->last.released < n->fence))) {
        return false;
    }
    if (i == core->slot && core->agent.shutdown) {
        return false;
    }
    core_deadline(actions, admit_at(core, i) > now ? admit_at(core, i) : NEVER);
    return admit_at(core, i) <= now;
}

static bool clear_or_admit_one(struct core *core, time_ns now, struct actions *actions)
{
    for (int i = 0; i < core->nodes_end; i++) {
        const struct node *n = &core->table->nodes[i];
        if (!n->used) {
            continue;
        }
        bool admit = may_admit(core, i, now, actions);
        if (admit || (n->status == NODE_FENCED && core_runout(core, i) <= now)) {
            struct command *command = leader_command(core, admit ? COMMAND_ADMIT : COMMAND_CLEAR);
            command->node.node = (int8_t)i;
            command->node.fence = n->fence;
            command->node.since = n->since;
            core_log(actions, admit ? LOG_CORE_ADMIT : LOG_CORE_CLEAR, i, SLOT_NONE, 0);
            leader_propose(core, actions);
            return true;
        }
    }
    return false;
}

/* ---------------------------------------------------------------- moves and tombstones */

static bool move_some(struct core *core, time_ns now, struct actions *actions)
{
    struct plan_input input;
    overview_plan_input(core, now, &input);
    if (input.usable != core->lead.usable) {
        for (int i = 0; i < core->nodes_end; i++) {
            core->lead.usable_since[i] = in_set(input.usable & ~core->lead.usable, i) ? now : core->lead.usable_since[i];
        }
        core->lead.usable = input.usable;
        core->lead.plan_dirty = true;
    }
    homes_step(core, now);
    input.homes = core_homes(core);
    if (core->lead.ripe_at && now >= core->lead.ripe_at) {
        core->lead.plan_dirty = true; /* failback: a preferred node has been usable for long enough */
    }
    core_deadline(actions, core->lead.ripe_at && !core->lead.plan_dirty ? core->lead.ripe_at : NEVER);
    if (!core->lead.plan_dirty) {
        return false;
    }
    core->lead.plan_dirty = false;
    uint32_t n = plan_moves(&input, &core->lead.scratch, core->lead.moves, VIPS_MAX);
    uint32_t ripe_ms = core->lead.scratch.ripe_ms;
    core->lead.ripe_at = ripe_ms == UINT32_MAX ? 0 : now + ripe_ms * MS;
    core_deadline(actions, core->lead.ripe_at ? core->lead.ripe_at : NEVER);
    n = only_urgent(core, n, now, actions);
    if (!n) {
        return false;
    }
    homes_moves(core, n);
    struct command *command = leader_command(core, COMMAND_MOVE);
    command->move.moves = core->lead.moves;
    command->move.n_moves = n;
    for (uint32_t i = 0; i < n && i < 8; i++) {
        core_log(actions, LOG_CORE_MOVE, core->lead.moves[i].to, core->lead.moves[i].vip,
                 (uint64_t)core->lead.moves[i].reason);
    }
    leader_propose(core, actions);
    return true;
}

static bool purge_some(struct core *core, struct actions *actions)
{
    uint32_t n = 0;
    for (int i = 0; i < core->table->vips_end; i++) {
        const struct vip *v = &core->table->vips[i];
        if (v->used && v->deleted && v->owner == SLOT_NONE && !bit_get(core->lead.unsettled, (unsigned)i)) {
            core->lead.moves[n++] = (struct move){.vip = (uint16_t)i, .to = SLOT_NONE, .moved = v->moved};
        }
    }
    if (!n) {
        return false;
    }
    struct command *command = leader_command(core, COMMAND_VIP_PURGE);
    command->vip_del.vips = core->lead.moves;
    command->vip_del.n_vips = n;
    leader_propose(core, actions);
    return true;
}

/* By its own word the node hears no majority of the voters: as a leader it would hand on at once. */
static bool is_deaf(const struct core *core, int node)
{
    uint64_t hears = core->table->voters & ~core->hearing[node].last.missing;
    return __builtin_popcountll(hears) < majority_of(core->table->voters);
}

/* A leader that is drained or leaves hands the leadership over, once it has nothing left to move for itself. */
static void hand_over(struct core *core, time_ns now, struct actions *actions)
{
    const struct node *self = core->slot == SLOT_NONE ? NULL : &core->table->nodes[core->slot];
    if (!self || !(self->draining || self->leaving || core->agent.shutdown)) {
        return;
    }
    for (int i = 0; i < core->table->vips_end && !core->agent.shutdown; i++) {
        if (core->table->vips[i].used && core->table->vips[i].owner == core->slot &&
            table_may_own(core->table, core->slot, &core->table->vips[i])) {
            return;
        }
    }
    if (now < core->lead.transfer_at) {
        core_deadline(actions, core->lead.transfer_at);
        return;
    }
    int best = SLOT_NONE;
    for (int i = 0; i < NODES_MAX; i++) {
        const struct node *n = &core->table->nodes[i];
        if (i == core->slot || !in_set(core->table->voters, i) || core_silent(core, i, now) || n->draining ||
            n->leaving || !core->hearing[i].heard || is_deaf(core, i)) {
            continue;
        }
        if (best == SLOT_NONE || core->hearing[i].last.last_index > core->hearing[best].last.last_index) {
            best = i;
        }
    }
    if (best != SLOT_NONE) {
        core->lead.transfer_at = now + core_suspect(core);
        core_act(actions, ACT_TRANSFER, core->table->nodes[best].id);
    }
}

/* A leader that hears no majority of the voters, while Raft still reaches them (or it would soon lead no more), is deaf
 * itself: it would fence them all and could hold nothing. It judges nobody, and the next voter leads. Likewise one whose
 * clock measures nothing: it could never clear anybody. */
static void hand_on(struct core *core, time_ns now, struct actions *actions)
{
    if (now >= core->lead.transfer_at) {
        for (int i = 1; i < NODES_MAX; i++) {
            int heir = (core->lead.heir + i) % NODES_MAX;
            if (in_set(core->table->voters, heir) && heir != core->slot) {
                core->lead.heir = heir;
                core_act(actions, ACT_TRANSFER, core->table->nodes[heir].id);
                break;
            }
        }
        core->lead.transfer_at = now + core_suspect(core);
    }
    core_deadline(actions, core->lead.transfer_at);
}

void leader_step(struct core *core, time_ns now, struct actions *actions)
{
    bool settle = core->settle_dirty;
    core->settle_dirty = false;
    if (core->lead.role != RAFT_ROLE_LEADER) {
        return;
    }
    if (now < core->lead.try_at) {
        core_deadline(actions, core->lead.try_at);
        core->settle_dirty = settle;
        return;
    }
    if (!core->lead.barrier) {
        core_act(actions, ACT_BARRIER, 0);
        core->settle_dirty = settle;
        return;
    }
    if (!leader_ready(core) || !core->table->cluster_id) {
        core->settle_dirty = settle;
        return;
    }
    if (!core_hears_majority(core, now) || slew_unfit(core)) {
        hand_on(core, now, actions);
        core->settle_dirty = settle;
        return;
    }
    if (now < core->lead.look_at) {
        core_deadline(actions, core->lead.look_at);
        core->settle_dirty = settle;
        return;
    }
    core->lead.look_at = look_again(core->table, now);
    if (core->lead.fresh) {
        core->lead.fresh = false;
        homes_begin(core, now);
    }
    if (settle || core->lead.any_unsettled || core->lead.plan_dirty) {
        overview_unsettled(core, now, actions);
    }
    overview_lacking(core, now, actions);
    if (fence_one(core, now, actions) || health_lead(core, now, actions) ||
        clear_or_admit_one(core, now, actions) || move_some(core, now, actions) || upgrade_step(core, now, actions) ||
        roster_step(core, now, actions) || maintenance_lead(core, now, actions)) {
        return;
    }
    if (settle || core->seen_changed != core->lead.purged) {
        core->lead.purged = core->seen_changed;
        if (purge_some(core, actions)) {
            return;
        }
    }
    hand_over(core, now, actions);
}
