/* Who maintains the cluster: an operator that begins, pauses, resumes and aborts rolling maintenances at any moment, and runners
 * that run their commands, badly at times. One more client (sim --maintenance), with chances of its own, so that the seeds
 * without it stay what they are. After the faults it is a good one, and what is under way ends or stops. */

#include <string.h>

#include "sim.h"

#define PATIENCE_NS (40 * 1000 * MS) /* of calm: a turn takes its times-out at most, an unsafe one ten seconds */

static struct
{
    uint64_t calm_since;
    bool resumed, over;
} keeper;

void keeper_open(void)
{
    memset(&keeper, 0, sizeof keeper);
}

bool keeper_over(void)
{
    return !world.maintenance || keeper.over;
}

static void begin(struct maintenance_command *c, const struct table *table)
{
    struct chance *chance = &world.keeper;
    uint64_t nodes = chance_permille(chance, 600) ? UINT64_MAX : chance_next(chance);

    c->op = MAINTENANCE_BEGIN;
    c->runner = 1 + chance_below(chance, 2);
    c->restart = chance_permille(chance, 100);
    c->force = chance_permille(chance, 100);
    c->settle_ms = (uint32_t)chance_below(chance, 100);
    c->drain_ms = 500 + (uint32_t)chance_below(chance, 1500);
    c->return_ms = 1000 + (uint32_t)chance_below(chance, 4000);
    c->words_size = 5;
    memcpy(c->words, "true", 5);
    for (int i = 0; i < NODES_MAX; i++) {
        if (table->nodes[i].used && (nodes >> i & 1) != 0) {
            c->nodes[c->n_nodes] = (int8_t)i;
            c->ids[c->n_nodes++] = table->nodes[i].id;
        }
    }
}

/* What a runner does that knows how it stands. */
static void go_on(struct maintenance_command *c, const struct sim_node *node, bool well)
{
    const struct maintenance *m = &node->table->maintenance;
    enum step_state state = m->at == SLOT_NONE ? STEP_WAITING : m->steps[m->at].state;

    c->runner = m->runner;
    c->op = state == STEP_DRAINED ? MAINTENANCE_CLAIM : state == STEP_RUNNING ? MAINTENANCE_END : MAINTENANCE_BEAT;
    c->node_run = c->op == MAINTENANCE_CLAIM ? core_node_run(node->core, m->steps[m->at].node) : 0;
    c->status = well ? 0 : 1;
}

static void meddle(struct maintenance_command *c, const struct sim_node *node)
{
    struct chance *chance = &world.keeper;
    uint64_t dice = chance_below(chance, 1000);

    if (dice < 650) {
        go_on(c, node, !chance_permille(chance, 150));
        c->runner = chance_permille(chance, 50) ? 1 + chance_below(chance, 2) : c->runner;
    } else if (dice < 850) {
        c->op = MAINTENANCE_RESUME;
        c->again = (enum maintenance_again)chance_below(chance, MAINTENANCE_AGAINS_N);
        c->runner = 1 + chance_below(chance, 2);
    } else {
        c->op = dice < 930 ? MAINTENANCE_PAUSE : dice < 970 ? MAINTENANCE_BEAT : MAINTENANCE_ABORT;
        c->runner = 1 + chance_below(chance, 2);
    }
}

/* In the end: to its end, or until it stops again; then it is aborted. */
static bool finish(struct maintenance_command *c, const struct sim_node *node)
{
    const struct maintenance *m = &node->table->maintenance;

    keeper.calm_since = keeper.calm_since != 0 ? keeper.calm_since : world.now;
    if (!maintenance_is_open(m)) {
        world.stats->maintained += m->state == MAINTENANCE_DONE;
        keeper.over = true;
        return false;
    }
    if (m->state == MAINTENANCE_RUNNING) {
        go_on(c, node, true);
        c->node_run = 0; /* no restart will be seen any more */
        if (world.now - keeper.calm_since > PATIENCE_NS) {
            world_violated(VIOLATION_LIVENESS, "a maintenance neither ends nor stops: step %d of %d is %s", m->at, m->n_steps,
                           m->at == SLOT_NONE ? "none" : step_state_text(m->steps[m->at].state));
        }
        return true;
    }
    c->op = keeper.resumed ? MAINTENANCE_ABORT : MAINTENANCE_RESUME;
    c->again = AGAIN_RETRY;
    c->runner = 1;
    keeper.resumed = true;
    return true;
}

bool keeper_fill(struct sim_node *node, struct maintenance_command *c)
{
    const struct maintenance *m = &node->table->maintenance;

    c->run = m->run;
    c->step = (uint8_t)(m->at == SLOT_NONE ? 0 : m->at);
    if (world.calm) {
        return finish(c, node);
    }
    if (maintenance_is_open(m)) {
        meddle(c, node);
    } else {
        begin(c, node->table);
    }
    return true;
}

/* No more than one node is drained by it, whatever was asked. */
void keeper_check(const struct sim_node *node)
{
    const struct maintenance *m = &node->table->maintenance;
    int turns = 0;

    for (int i = 0; maintenance_is_open(m) && i < m->n_steps; i++) {
        bool turn = m->steps[i].state != STEP_WAITING && m->steps[i].state != STEP_DONE && m->steps[i].state != STEP_SKIPPED;
        turns += turn;
        if (turn != (i == m->at)) {
            world_violated(VIOLATION_SAFETY, "maintenance: %c is %s, and it is not its turn", members_letter(node->table, m->steps[i].node),
                           step_state_text(m->steps[i].state));
        }
    }
    world.stats->turns_seen += turns > 0;
}
