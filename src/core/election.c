/* Election without waiting for dice: when a majority of the voters has not heard the leader for `suspect`, or the leader says
 * that its disk does not answer (disk.c) and a majority's does, the live voter with the most complete log (ties: the lowest
 * id) starts an ordinary election at once, as if that leader had told it to.
 * Always safe, since it is an ordinary election; Raft's own randomized timers stay as the fall-back. */

#include "core/core_private.h"

/* Whether a's log is more complete than b's; equal logs: the lower id. */
static bool better(const struct heartbeat *a, const struct heartbeat *b)
{
    if (a->last_term != b->last_term) {
        return a->last_term > b->last_term;
    }
    if (a->last_index != b->last_index) {
        return a->last_index > b->last_index;
    }
    return a->from < b->from;
}

void election_step(struct core *core, time_ns now, struct actions *actions)
{
    int leader = table_node_by_id(core->table, core->lead.leader);
    if (core->lead.role == RAFT_ROLE_LEADER || leader == SLOT_NONE || leader == core->slot || !core->caught_up ||
        !in_set(core->table->voters, core->slot) || disk_late(core, core->slot, now)) {
        return;
    }
    bool late = disk_replaces(core, leader, now, actions) && disk_good(core, core->slot, now); /* everybody hears that: none is asked */
    if (!late && !in_set(core->agent.missing, leader)) {
        return;
    }
    struct heartbeat self = {.from = core->self, .last_term = core->agent.last_term, .last_index = core->agent.last_index};
    int agree = 1;
    for (int i = 0; i < core->nodes_end; i++) {
        const struct hearing *h = &core->hearing[i];
        if (i == core->slot || !in_set(core->table->voters, i) || !h->heard || core_silent(core, i, now) ||
            (late ? !disk_good(core, i, now) : disk_late(core, i, now))) {
            continue;
        }
        if (!late && !in_set(h->last.missing, leader)) {
            continue;
        }
        agree++;
        if (better(&h->last, &self)) {
            return; /* its turn; the timers are the fall-back */
        }
    }
    if (agree < majority_of(core->table->voters)) {
        return;
    }
    if (now < core->lead.elect_at) {
        core_deadline(actions, core->lead.elect_at);
        return;
    }
    core->lead.elect_at = now + core_suspect(core) / 2;
    core_act(actions, ACT_ELECT, core->lead.leader);
}
