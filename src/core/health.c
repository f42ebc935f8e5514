/* Health checks: which of them this node runs, what it makes of their results, and how the cluster learns of it.
 *
 * Happy path: the daemon runs what core_runs_check() says and brings each result (EV_HEALTH); damping makes a verdict of
 * them; a changed verdict goes out with the next heartbeat, at once; the leader finds that the table says otherwise and
 * proposes it; the planner, which reads nothing but the table, moves what required the check. Failure modes: a heartbeat
 * is lost (every later one says the same); a definition changes (its verdict is forgotten where it runs something else
 * now, and heartbeats about other definitions than the table's are not counted); the leader dies (the next one hears the same heartbeats); the daemon
 * restarts (nothing is known of the node until its checks have been run again: no pass, but no failure either). */

#include <string.h>

#include "core/core_private.h"

/* The checks that are about this node, or about a VIP that it may own. */
static uint64_t wanted(const struct core *core)
{
    const struct table *table = core->table;
    uint64_t checks = table->everywhere;

    if (core->slot == SLOT_NONE || table->nodes[core->slot].witness) {
        return 0;
    }
    for (int i = 0; i < table->vips_end && table->checks_index != 0; i++) {
        const struct vip *vip = &table->vips[i];

        if (vip->used && !vip->deleted && (vip->nodes == 0 || in_set(vip->nodes, core->slot))) {
            checks |= table_checks_of(table, vip);
        }
    }
    return checks;
}

bool core_runs_check(const struct core *core, int check)
{
    return (core->health.running >> check & 1) != 0;
}

enum damping_verdict core_own_check(const struct core *core, int check)
{
    return core->health.checks[check].verdict;
}

static void forget(struct core *core, int check)
{
    memset(&core->health.checks[check], 0, sizeof core->health.checks[check]);
    core->health.passing &= ~(1ull << check);
    core->health.failing &= ~(1ull << check);
}

void health_table_changed(struct core *core)
{
    core->health.running = wanted(core);
    for (int i = 0; i < CHECKS_MAX; i++) {
        const struct check *check = &core->table->checks[i];
        uint64_t changed = core_runs_check(core, i) ? check->changed : 0;

        if (core->health.changed[i] == changed) {
            continue;
        }
        if (changed == 0 || core->health.changed[i] == 0 || !check_spec_runs_same(&core->health.specs[i], &check->spec)) {
            forget(core, i);
        }
        core->health.changed[i] = changed;
        core->health.specs[i] = check->spec;
    }
}

void health_result(struct core *core, const struct event *event, struct actions *actions)
{
    unsigned i = event->health.check;

    if (i >= CHECKS_MAX || !core_runs_check(core, (int)i) || core->health.changed[i] != event->health.changed) {
        return; /* of a definition that is no more */
    }
    const struct check_spec *spec = &core->table->checks[i].spec;
    struct damping *damping = &core->health.checks[i];
    if (!damping_result(damping, event->health.passed, spec->fall, spec->rise, (int64_t)(event->now / MS))) {
        return;
    }
    bool passes = damping->verdict == DAMPING_PASSES;
    core->health.passing = (core->health.passing & ~(1ull << i)) | (uint64_t)passes << i;
    core->health.failing = (core->health.failing & ~(1ull << i)) | (uint64_t)!passes << i;
    core->agent.beat_now = true;
    core_log(actions, passes ? LOG_CORE_CHECK_PASSES : LOG_CORE_CHECK_FAILS, core->slot, SLOT_NONE, i);
}

/* Whether the table says the same of the node. */
static bool is_known(const struct core *core, int node, uint64_t passing, uint64_t failing)
{
    for (int i = 0; i < CHECKS_MAX; i++) {
        const struct check *check = &core->table->checks[i];

        if (check->spec.name[0] != '\0' && (in_set(check->passing, node) != (passing >> i & 1) ||
                                            in_set(check->failing, node) != (failing >> i & 1))) {
            return false;
        }
    }
    return true;
}

bool health_lead(struct core *core, time_ns now, struct actions *actions)
{
    for (int node = 0; core->table->checks_index != 0 && node < NODES_MAX; node++) {
        const struct hearing *h = &core->hearing[node];
        bool self = node == core->slot;
        uint64_t checks = self ? core->table->checks_index : h->last.checks;
        uint64_t passing = self ? core->health.passing : h->last.passing;
        uint64_t failing = self ? core->health.failing : h->last.failing;

        if (!core->table->nodes[node].used || !h->heard || core_silent(core, node, now) ||
            checks != core->table->checks_index || (passing & failing) != 0 ||
            is_known(core, node, passing, failing)) {
            continue;
        }
        struct command *command = leader_command(core, COMMAND_HEALTH);
        command->health.node = (int8_t)node;
        command->health.id = core->table->nodes[node].id;
        command->health.checks = checks;
        command->health.passing = passing;
        command->health.failing = failing;
        leader_propose(core, actions);
        return true;
    }
    return false;
}
