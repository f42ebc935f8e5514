/* The voter: promises and their reports (V1-V3). Every node also hears others here, voter or not. */

#include "core/core_private.h"

#include <string.h>

/* V2: caught up since its start; V1: by its own table a voter; and its clock can keep a promise. */
static bool armed(const struct core *core)
{
    return (core->caught_up || !RULE(V2_CATCH)) && in_set(core->table->voters, core->slot) && !slew_unfit(core);
}

bool voter_ack(struct core *core, int node, uint64_t gen, time_ns now)
{
    const struct node *n = &core->table->nodes[node];
    if (!armed(core) || !n->used || (RULE(V1_ADMIT) && n->status != NODE_ADMITTED) || (RULE(V1_GEN) && n->gen != gen)) {
        return false;
    }
    time_ns until = now + core_promise(core);
    if (RULE(V1_PROMISE) && until > core->voter.promised[node]) {
        core->voter.promised[node] = until;
    }
    return true;
}

/* V3: what is left of the promises to fenced nodes, as one snapshot with `applied`. */
static void report_promises(const struct core *core, time_ns now, struct answer *answer)
{
    if (!armed(core)) {
        return;
    }
    for (int i = 0; i < core->nodes_end && answer->n_promises < ANSWER_REPORTS_MAX; i++) {
        const struct node *n = &core->table->nodes[i];
        if (n->used && n->status == NODE_FENCED) {
            time_ns until = core->voter.promised[i] + slew_wait(core);
            answer->promises[answer->n_promises++] = (struct promise_report){
                .node = n->id,
                .fence = n->fence,
                .left_us = until > now ? (slew_true(core, until - now) + 999) / 1000 : 0,
            };
        }
    }
}

/* Relays what this voter knows of those that `to` waits for (N2). */
static void report_released(const struct core *core, int to, struct answer *answer)
{
    for (int i = 0; i < core->nodes_end && answer->n_released < ANSWER_REPORTS_MAX; i++) {
        if (in_set(core->waiters[i], to) && core->hearing[i].released) {
            answer->released[answer->n_released++] =
                (struct released_report){.node = core->hearing[i].id, .released = core->hearing[i].released};
        }
    }
}

static void fill_answer(const struct core *core, int to, time_ns now, struct answer *answer)
{
    memset(answer, 0, sizeof *answer);
    answer->from = core->self;
    answer->to = core->table->nodes[to].id;
    answer->applied = core->table->applied;
    report_promises(core, now, answer);
    report_released(core, to, answer);
}

/* What the newer heartbeat says is kept; whatever can settle a move or end a wait is noticed. */
static void hear(struct core *core, int node, const struct heartbeat *heartbeat, time_ns now)
{
    struct hearing *h = &core->hearing[node];
    h->last = *heartbeat;
    h->heard = now;
    if (heartbeat->released > h->released) {
        h->released = heartbeat->released;
        core->settle_dirty = true;
    }
    if (heartbeat->applied > h->applied) {
        h->applied = heartbeat->applied;
    }
}

void voter_heartbeat(struct core *core, const struct heartbeat *heartbeat, time_ns now, struct actions *actions)
{
    int node = table_node_by_id(core->table, heartbeat->from);
    if (node == SLOT_NONE || node == core->slot || !heartbeat->run) {
        return;
    }
    const struct hearing *h = &core->hearing[node];
    if (RULE(V1_SEQ) && h->heard && heartbeat->run == h->last.run && heartbeat->seq <= h->last.seq) {
        return; /* V1: only a newer seq of the run counts */
    }
    hear(core, node, heartbeat, now);
    if (!in_set(core->table->voters, core->slot)) {
        return;
    }
    struct answer *answer = &core->answer;
    fill_answer(core, node, now, answer);
    answer->run = heartbeat->run;
    answer->gen = heartbeat->gen;
    answer->seq = heartbeat->seq;
    answer->acked = voter_ack(core, node, heartbeat->gen, now);
    core_act(actions, ACT_ANSWER, heartbeat->from)->answer = answer;
}

/* Those who wait for a fenced node, and the leader, are told at once that this voter supports it no more. */
void voter_table_changed(struct core *core, time_ns now, struct actions *actions)
{
    uint64_t newest = core->voter.fences_told, tell = 0;
    for (int i = 0; i < core->nodes_end; i++) {
        const struct node *n = &core->table->nodes[i];
        if (n->used && n->status == NODE_FENCED && n->fence > core->voter.fences_told) {
            newest = n->fence > newest ? n->fence : newest;
            tell |= core->waiters[i];
            int leader = table_node_by_id(core->table, core->lead.leader);
            tell |= leader == SLOT_NONE ? 0 : 1ull << leader;
        }
    }
    core->voter.fences_told = newest;
    for (int i = 0; !RULE(V1_KEEP) && i < NODES_MAX; i++) {
        core->voter.promised[i] *= core->table->nodes[i].gen != core->table->changed;
    }
    if (!armed(core)) {
        return;
    }
    for (int i = 0; i < core->nodes_end; i++) {
        if (in_set(tell, i) && i != core->slot && core->table->nodes[i].used) {
            fill_answer(core, i, now, &core->pushed[i]);
            core_act(actions, ACT_ANSWER, core->table->nodes[i].id)->answer = &core->pushed[i];
        }
    }
}
