/* Who gets the log and who votes: what the leader does about it, one step at a time (L5), and what it refuses.
 *
 * Each step is decided anew on what is so now, and nothing of it has to be remembered: a leader that dies in the
 * middle of a removal leaves a node that is being removed, and the next one goes on with it. The table of steps is in
 * docs/decisions/0013-membership.md. */

#include "core/core_private.h"

#include <stdio.h>
#include <string.h>

/* How dispensable a voter is. */
enum weakness
{
    WEAK_NEVER = 0, /* promoted by hand */
    WEAK_NOT,
    WEAK_ABSENT, /* not admitted, for now */
    WEAK_LOST,   /* from here on a standby takes its place */
    WEAK_UNWANTED,
    WEAK_REMOVED,
};

static bool is_voter(const struct core *core, int node)
{
    return in_set(core->table->voters, node);
}

static bool is_heard(const struct core *core, int node, time_ns now)
{
    return node == core->slot || (core->hearing[node].heard && !core_silent(core, node, now));
}

/* How many of the voters could fail now; below 0: there is no majority. */
static int tolerance(const struct core *core, uint64_t voters, time_ns now)
{
    int heard = 0;

    for (int v = 0; v < core->nodes_end; v++) {
        heard += in_set(voters, v) && is_heard(core, v, now);
    }
    return voters == 0 ? -1 : heard - majority_of(voters);
}

/* A node that can become a voter now. */
static bool is_fit(const struct core *core, int node, time_ns now)
{
    const struct node *n = &core->table->nodes[node];

    return n->used && !is_voter(core, node) && n->listed && n->status == NODE_ADMITTED && is_heard(core, node, now) &&
           !n->removing && !n->draining && !n->leaving && n->wish != WISH_SPARE;
}

/* The best of them, or SLOT_NONE; *ret_n: how many there are. */
static int fittest(const struct core *core, int without, time_ns now, int *ret_n)
{
    int best = SLOT_NONE;

    *ret_n = 0;
    for (int i = 0; i < core->nodes_end; i++) {
        if (i == without || !is_fit(core, i, now)) {
            continue;
        }
        ++*ret_n;
        if (best == SLOT_NONE ||
            (core->table->nodes[i].wish == WISH_VOTER && core->table->nodes[best].wish != WISH_VOTER)) {
            best = i;
        }
    }
    return best;
}

static enum weakness weakness(const struct core *core, int node, time_ns now)
{
    const struct node *n = &core->table->nodes[node];
    time_ns since = core->lead.lost_since[node];

    if (n->removing) {
        return WEAK_REMOVED;
    }
    if (n->wish == WISH_SPARE) {
        return WEAK_UNWANTED;
    }
    if (since && now - since >= core->table->voting.replace_ms * MS) {
        return WEAK_LOST;
    }
    if (since) {
        return WEAK_ABSENT;
    }
    return n->wish == WISH_VOTER ? WEAK_NEVER : WEAK_NOT;
}

/* Whether voter `a` should go before voter `b`; among equals first who is not heard, for without the other one there may be no
 * majority, and this node last. */
static bool goes_before(const struct core *core, int a, int b, time_ns now)
{
    enum weakness weak_a = weakness(core, a, now), weak_b = weakness(core, b, now);
    bool heard_a = is_heard(core, a, now), heard_b = is_heard(core, b, now);

    if (weak_a != weak_b) {
        return weak_a > weak_b;
    }
    return heard_a != heard_b ? heard_b : b == core->slot;
}

/* The voter that should go first; among equals a later one. */
static int weakest(const struct core *core, time_ns now)
{
    int worst = SLOT_NONE;

    for (int v = core->nodes_end - 1; v >= 0; v--) {
        if (!is_voter(core, v)) {
            continue;
        }
        if (worst == SLOT_NONE || goes_before(core, v, worst, now)) {
            worst = v;
        }
    }
    return worst;
}

/* Voters that are not admitted or not heard, by this leader's own clock. */
static void note_lost(struct core *core, time_ns now, struct actions *actions)
{
    for (int i = 0; i < core->nodes_end; i++) {
        bool lost = is_voter(core, i) &&
                    (core->table->nodes[i].status != NODE_ADMITTED || !is_heard(core, i, now));
        if (!lost) {
            core->lead.lost_since[i] = 0;
        } else if (!core->lead.lost_since[i]) {
            core->lead.lost_since[i] = now;
        }
        if (lost) {
            time_ns due = core->lead.lost_since[i] + core->table->voting.replace_ms * MS;
            core_deadline(actions, due > now ? due : NEVER);
        }
    }
}

/* ---------------------------------------------------------------- steps */

static void configure(struct core *core, int node, enum configure_role role, time_ns now, struct actions *actions)
{
    struct action *action = core_act(actions, ACT_CONFIGURE, core->table->nodes[node].id);

    action->configure = role;
    core->lead.own = NEVER;
    core->lead.configuring = true;
    core->lead.roster_at = now + core_suspect(core); /* if it is refused: not before */
    core_log(actions, role == CONFIGURE_VOTER ? LOG_CORE_VOTER : role == CONFIGURE_NONE ? LOG_CORE_UNLISTED : LOG_CORE_LISTED,
             node, SLOT_NONE, 0);
}

/* L5: every node that is not cleared has applied the change before. */
static bool all_have_applied(const struct core *core)
{
    for (int i = 0; i < core->nodes_end; i++) {
        const struct node *n = &core->table->nodes[i];

        if (n->used && n->status != NODE_CLEARED && i != core->slot &&
            core->hearing[i].applied < core->table->voters_index) {
            return false;
        }
    }
    return true;
}

/* The voter to hand the leadership to before this one is demoted. */
static int heir(const struct core *core, time_ns now)
{
    for (int v = 0; v < NODES_MAX; v++) {
        if (is_voter(core, v) && v != core->slot && is_heard(core, v, now) &&
            weakness(core, v, now) < WEAK_ABSENT && !core->table->nodes[v].draining && !core->table->nodes[v].leaving) {
            return v;
        }
    }
    return SLOT_NONE;
}

static bool promote(struct core *core, int node, time_ns now, struct actions *actions)
{
    if (tolerance(core, core->table->voters | 1ull << node, now) < 0) {
        return false;
    }
    configure(core, node, CONFIGURE_VOTER, now, actions);
    return true;
}

static bool demote(struct core *core, int node, time_ns now, struct actions *actions)
{
    if (tolerance(core, core->table->voters & ~(1ull << node), now) < 0) {
        return false;
    }
    if (node != core->slot) {
        configure(core, node, CONFIGURE_STANDBY, now, actions);
        return true;
    }
    int to = heir(core, now);
    if (to == SLOT_NONE) {
        return false;
    }
    core->lead.roster_at = core->lead.transfer_at = now + core_suspect(core);
    core_act(actions, ACT_TRANSFER, core->table->nodes[to].id);
    return true;
}

/* A node that is being removed stays a voter until it has nothing left that could be moved. */
static bool is_drained(const struct core *core, int node)
{
    for (int i = 0; i < core->table->vips_end && !core->lead.plan_dirty; i++) {
        const struct vip *v = &core->table->vips[i];

        if (v->used && v->prev == node && bit_get(core->lead.unsettled, (unsigned)i)) {
            return false;
        }
    }
    return !core->lead.plan_dirty;
}

static bool change_voters(struct core *core, time_ns now, struct actions *actions)
{
    int n = __builtin_popcountll(core->table->voters), n_fit;
    int up = fittest(core, SLOT_NONE, now, &n_fit), down = weakest(core, now);
    enum weakness weak = weakness(core, down, now);

    if (weak == WEAK_REMOVED && !is_drained(core, down)) {
        return false;
    }
    if (n > core->table->voting.count || (weak == WEAK_LOST && n % 2 == 0)) {
        return demote(core, down, now, actions);
    }
    bool wished = up != SLOT_NONE && core->table->nodes[up].wish == WISH_VOTER && weak > WEAK_NEVER;
    bool grows = n < core->table->voting.count && (n % 2 == 0 || n_fit > 1);
    if (up != SLOT_NONE && (weak >= WEAK_LOST || wished || grows)) {
        return n < VOTERS_MAX ? promote(core, up, now, actions) : demote(core, down, now, actions);
    }
    return weak >= WEAK_UNWANTED && demote(core, down, now, actions);
}

/* ---------------------------------------------------------------- members */

static bool fence_removed(struct core *core, int node, struct actions *actions)
{
    struct command *command = leader_command(core, COMMAND_FENCE);

    command->fence.node = (int8_t)node;
    command->fence.gen = core->table->nodes[node].gen;
    command->fence.moves = core->lead.moves;
    core_log(actions, LOG_CORE_FENCE, node, SLOT_NONE, 0);
    leader_propose(core, actions);
    return true;
}

/* The next step of a removal: no voter, fenced, (cleared,) in no configuration, deleted. */
static bool remove_one(struct core *core, int node, time_ns now, struct actions *actions)
{
    const struct node *n = &core->table->nodes[node];

    if (is_voter(core, node) || node == core->slot || !is_drained(core, node)) {
        return false;
    }
    if (n->status == NODE_ADMITTED) {
        return fence_removed(core, node, actions);
    }
    if (n->status != NODE_CLEARED && RULE(L5_DELETE)) {
        return false;
    }
    if (n->listed) {
        configure(core, node, CONFIGURE_NONE, now, actions);
        return true;
    }
    struct command *command = leader_command(core, COMMAND_NODE_DELETE);
    command->node.node = (int8_t)node;
    command->node.fence = n->fence;
    command->node.since = n->since;
    core_log(actions, LOG_CORE_REMOVED, node, SLOT_NONE, 0);
    leader_propose(core, actions);
    return true;
}

static bool change_members(struct core *core, time_ns now, struct actions *actions)
{
    for (int i = 0; i < core->nodes_end; i++) {
        const struct node *n = &core->table->nodes[i];

        if (n->used && n->removing && remove_one(core, i, now, actions)) {
            return true;
        }
        if (n->used && !n->removing && !n->listed) {
            configure(core, i, CONFIGURE_STANDBY, now, actions);
            return true;
        }
    }
    return false;
}

static bool tell_history(struct core *core, struct actions *actions)
{
    if (core->table->voters_told == core->table->voters) {
        return false;
    }
    leader_command(core, COMMAND_VOTERS)->voters.index = core->table->voters_index;
    leader_propose(core, actions);
    return true;
}

bool roster_step(struct core *core, time_ns now, struct actions *actions)
{
    note_lost(core, now, actions);
    if (tell_history(core, actions)) {
        return true;
    }
    time_ns at = core->lead.roster_at > core->lead.awake_at ? core->lead.roster_at : core->lead.awake_at;
    if (now < at) {
        core_deadline(actions, at);
        return false;
    }
    if ((all_have_applied(core) || !RULE(L5_APPLIED)) && change_voters(core, now, actions)) {
        return true;
    }
    return change_members(core, now, actions);
}

/* ---------------------------------------------------------------- what is refused */

/* Whether the voters would be no worse without `node`, if a standby takes its place where there is one. *ret: how many
 * could fail then. */
static bool can_go(const struct core *core, int node, time_ns now, int *ret)
{
    int n_fit, fit = fittest(core, node, now, &n_fit);
    uint64_t left = core->table->voters & ~(1ull << node);

    *ret = tolerance(core, fit == SLOT_NONE ? left : left | 1ull << fit, now);
    return *ret >= 0 && *ret >= tolerance(core, core->table->voters, now);
}

static enum outcome_code refuse_leave(const struct core *core, int node, bool force, time_ns now, char ret_why[192])
{
    int left;

    if (!is_voter(core, node) || can_go(core, node, now, &left)) {
        return OUTCOME_DONE;
    }
    if (left < 0) {
        snprintf(ret_why, 192, "without %.63s there would be no majority of voters left, and nothing could be held",
                 core->table->nodes[node].name);
        return OUTCOME_FAILED;
    }
    snprintf(ret_why, 192, "no standby can take the place of voter %.63s: then %d of the voters could fail, %d now",
             core->table->nodes[node].name, left, tolerance(core, core->table->voters, now));
    return force ? OUTCOME_DONE : OUTCOME_UNSAFE;
}

static enum outcome_code refuse_promotion(const struct core *core, int node, bool force, time_ns now, char ret_why[192])
{
    const struct node *n = &core->table->nodes[node];
    int by_hand = 0;

    for (int v = 0; v < NODES_MAX; v++) {
        by_hand += is_voter(core, v) && v != node && core->table->nodes[v].wish == WISH_VOTER;
    }
    if (by_hand >= core->table->voting.count) {
        snprintf(ret_why, 192, "all %d voters were promoted by hand: demote one, or raise the setting voters.count",
                 by_hand);
        return OUTCOME_CONFLICT;
    }
    if (!is_voter(core, node) && !force &&
        (!n->used || n->status != NODE_ADMITTED || !is_heard(core, node, now) || n->draining || n->leaving)) {
        snprintf(ret_why, 192, "node %.63s is not up, so it cannot vote now", n->name);
        return OUTCOME_UNSAFE;
    }
    return OUTCOME_DONE;
}

enum outcome_code roster_refuses(const struct core *core, const struct command *command, bool force, time_ns now,
                                 char ret_why[192])
{
    int node = command->type == COMMAND_NODE_REMOVE ? command->node_remove.node
               : command->type == COMMAND_NODE_SET  ? command->node_set.node
                                                    : SLOT_NONE;

    if (node == SLOT_NONE) {
        return OUTCOME_DONE;
    }
    if (command->type == COMMAND_NODE_REMOVE) {
        return refuse_leave(core, node, force, now, ret_why);
    }
    if ((command->node_set.set & NODE_SET_AT) != 0 && !force && is_heard(core, node, now) &&
        core->table->nodes[node].status == NODE_ADMITTED && !core->table->nodes[node].leaving) {
        snprintf(ret_why, 192, "node %.63s is up at its old address: stop it, then give it the new one, then start it there",
                 core->table->nodes[node].name);
        return OUTCOME_UNSAFE;
    }
    if ((command->node_set.set & NODE_SET_WISH) == 0) {
        return OUTCOME_DONE;
    }
    return command->node_set.wish == WISH_SPARE    ? refuse_leave(core, node, force, now, ret_why)
           : command->node_set.wish == WISH_VOTER ? refuse_promotion(core, node, force, now, ret_why)
                                                   : OUTCOME_DONE;
}
