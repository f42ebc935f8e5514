/* Ambushes: faults that wait for something to become of a node and then hit around it. What breaks a protocol of leases is
 * seldom a fault alone but its moment: the voter that crashes behind its ack, the node that falls silent when it is admitted, the
 * old answer that arrives in a new run. Chance alone meets those moments once in thousands of seeds.
 *
 * An ambush stands for a while. It has up to three stages, one after the other on the same node; each time the trigger of its
 * stage comes it springs (the first one not always), and each of its deeds follows at once or a little later. What it does is nothing that a network, a host or a supervisor could not do. */

#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define STANDS 24  /* units */
#define PATIENCE 8 /* between two of its stages */

const char *const TRIGGER_NAMES[TRIGGERS_N] = {"fence", "admit", "move", "lead", "start", "caught-up", "promote", "demote", "ack"};
const char *const DEED_NAMES[DEEDS_N] = {"mute",   "deaf",   "blind", "crash-voters", "crash-leader",
                                         "crash", "stall", "replay", "refuse", "unheard", "split", "latch"};

/* How often it springs, in permille: what happens all the time is let pass mostly. */
static const unsigned SPRINGS[TRIGGERS_N] = {
    [TRIGGER_FENCE] = 600, [TRIGGER_ADMIT] = 600, [TRIGGER_MOVE] = 300,   [TRIGGER_LEAD] = 400,
    [TRIGGER_START] = 600, [TRIGGER_CAUGHT_UP] = 600, [TRIGGER_PROMOTE] = 400,
    [TRIGGER_DEMOTE] = 400, [TRIGGER_ACK] = 4,
};

/* ------------------------------------------------------------------ the plan */

#define DO(deed) (1u << DEED_##deed)

/* Those whose stages belong together; the others are put together by chance. */
static const struct stage KNOWN[][STAGES] = {
    /* a node does not learn that it is fenced, and voters forget their promises to it, which the leader had none of */
    {{TRIGGER_FENCE, DO(BLIND)}},
    {{TRIGGER_FENCE, DO(BLIND) | DO(MUTE)}},
    {{TRIGGER_FENCE, DO(BLIND) | DO(MUTE) | DO(CRASH_VOTERS)}},
    {{TRIGGER_MOVE, DO(UNHEARD)}, {TRIGGER_FENCE, DO(BLIND)}},
    {{TRIGGER_MOVE, DO(UNHEARD)}, {TRIGGER_FENCE, DO(BLIND) | DO(MUTE) | DO(CRASH_VOTERS)}},
    /* twice fenced within one lease */
    {{TRIGGER_MOVE, DO(UNHEARD)}, {TRIGGER_ADMIT, DO(MUTE)}, {TRIGGER_FENCE, DO(BLIND)}},
    {{TRIGGER_ADMIT, DO(MUTE)}, {TRIGGER_FENCE, DO(BLIND)}},
    /* a new run is told what was meant for the one before */
    {{TRIGGER_START, DO(MUTE) | DO(REPLAY)}},
    {{TRIGGER_CAUGHT_UP, DO(MUTE) | DO(BLIND) | DO(REPLAY)}},
    /* what was taken away stays, and is seen late */
    {{TRIGGER_FENCE, DO(REFUSE) | DO(UNHEARD)}},
    {{TRIGGER_FENCE, DO(REFUSE)}, {TRIGGER_ADMIT, DO(BLIND)}},
    /* a table knows other voters than those that decide, and has a majority of them */
    {{TRIGGER_PROMOTE, DO(SPLIT)}},
    {{TRIGGER_PROMOTE, DO(BLIND)}, {TRIGGER_DEMOTE, DO(SPLIT)}},
    {{TRIGGER_DEMOTE, DO(SPLIT)}},
    /* gone behind a promise, before a deed */
    {{TRIGGER_ACK, DO(CRASH)}},
    {{TRIGGER_MOVE, DO(CRASH)}},
    {{TRIGGER_LEAD, DO(CRASH)}},
    /* too late to the kernel */
    {{TRIGGER_MOVE, DO(LATCH)}},
    {{TRIGGER_ACK, DO(LATCH)}},
};
#define KNOWN_N (sizeof KNOWN / sizeof KNOWN[0])

void ambush_plan(struct chance *c, struct fault *fault, int nodes, uint64_t unit)
{
    uint64_t dice = chance_below(c, KNOWN_N * 3 / 2);

    fault->node = chance_below(c, 2) == 0 ? -1 : (int)chance_below(c, (uint64_t)nodes);
    fault->for_ns = chance_below(c, 3) == 0 ? chance_span(c, unit / 8, unit) : chance_span(c, unit, 3 * unit);
    if (dice < KNOWN_N) {
        memcpy(fault->stages, KNOWN[dice], sizeof fault->stages);
        return;
    }
    for (uint64_t i = 0, n = chance_span(c, 1, STAGES); i < n; i++) {
        fault->stages[i].trigger = (enum trigger)chance_below(c, TRIGGERS_N);
        fault->stages[i].deeds = 1u << chance_below(c, DEEDS_N) | 1u << chance_below(c, DEEDS_N);
    }
}

void ambush_print(FILE *to, const struct fault *fault)
{
    for (int i = 0; i < STAGES && fault->stages[i].deeds != 0; i++) {
        fprintf(to, "%s %s:", i > 0 ? "," : "", TRIGGER_NAMES[fault->stages[i].trigger]);
        for (unsigned deed = 0; deed < DEEDS_N; deed++) {
            if (fault->stages[i].deeds >> deed & 1) {
                fprintf(to, " %s", DEED_NAMES[deed]);
            }
        }
    }
}

/* ------------------------------------------------------------------ it springs */

void ambush_stand(const struct fault *fault)
{
    world.ambushes[world.ambush_at++ % AMBUSHES] =
        (struct ambush){.fault = fault, .until = world.now + STANDS * world.unit};
}

static uint64_t soon(void)
{
    switch (chance_below(&world.work, 4)) {
    case 0:
        return chance_below(&world.work, world.unit);
    case 1:
        return chance_below(&world.work, world.unit / 8);
    default:
        return 0;
    }
}

/* Whether the ambush is now at a stage that waits for this; of a node that its first stage took for all of them. */
static const struct stage *springs(struct ambush *ambush, enum trigger trigger, int node)
{
    if (ambush->fault == NULL || ambush->until < world.now) {
        return NULL;
    }
    if (ambush->stage > 0 && ambush->patience < world.now) {
        ambush->stage = 0;
    }
    const struct stage *stage = &ambush->fault->stages[ambush->stage];
    int wanted = ambush->stage > 0 ? ambush->node : ambush->fault->node;
    if (stage->trigger != trigger || (wanted >= 0 && wanted != node) ||
        (ambush->stage == 0 && !chance_permille(&world.work, SPRINGS[trigger]))) {
        return NULL;
    }
    ambush->node = node;
    ambush->patience = world.now + PATIENCE * world.unit;
    ambush->stage = ambush->stage + 1 < STAGES && stage[1].deeds != 0 ? ambush->stage + 1 : 0;
    return stage;
}

static void heard_again(int node);

void ambush_trigger(enum trigger trigger, int node)
{
    if (world.calm) {
        return;
    }
    if (trigger == TRIGGER_FENCE) {
        heard_again(node);
    }
    for (int i = 0; i < AMBUSHES; i++) {
        const struct stage *stage = springs(&world.ambushes[i], trigger, node);

        if (stage == NULL) {
            continue;
        }
        world.stats->sprung++;
        world_note("ambush", node, trigger, stage->deeds);
        for (unsigned deed = 0; deed < DEEDS_N; deed++) {
            if (stage->deeds >> deed & 1) {
                struct timer *timer = world_at(world.now + soon(), TIMER_AMBUSH, node);
                timer->a = deed;
                timer->b = world.ambushes[i].fault->for_ns;
            }
        }
    }
}

/* ------------------------------------------------------------------ the deeds */

static void cut_off(int node, unsigned deed, bool on)
{
    for (int i = 0; i < world.n; i++) {
        if (i == node) {
            continue;
        }
        if (deed == DEED_MUTE) {
            net_cut(node, i, CHANNEL_DATAGRAMS, on);
        } else {
            net_cut(i, node, deed == DEED_DEAF ? CHANNEL_DATAGRAMS : CHANNEL_FRAMES, on);
        }
    }
}

static void split_off(bool on)
{
    for (int from = 0; from < world.n; from++) {
        for (int to = 0; to < world.n; to++) {
            if (from != to && (world.split >> from & 1) != (world.split >> to & 1)) {
                net_cut(from, to, CHANNEL_DATAGRAMS | CHANNEL_FRAMES, on);
            }
        }
    }
}

/* The leader alone does not hear it, until it fences it for that. */
static void unheard(int node)
{
    for (int i = 0; i < world.n; i++) {
        if (i != node && node_leads(&world.nodes[i]) && world.unheard[node] == 0) {
            net_cut(node, i, CHANNEL_DATAGRAMS, true);
            world.unheard[node] = i + 1;
        }
    }
}

static void heard_again(int node)
{
    if (world.unheard[node] != 0) {
        net_cut(node, world.unheard[node] - 1, CHANNEL_DATAGRAMS, false);
        world.unheard[node] = 0;
    }
}

/* One at a time. */
static void split(const struct sim_node *node)
{
    unsigned set = 1u << node->slot;
    int more = majority_of(node->table->voters) - 1;

    for (int i = 0, from = (int)chance_below(&world.work, (uint64_t)world.n); i < world.n && more > 0; i++) {
        int host = (from + i) % world.n, slot = members_slot(node->table, host);
        if (host != node->slot && slot != SLOT_NONE && (node->table->voters >> slot & 1) && !node_leads(&world.nodes[host])) {
            set |= 1u << host;
            more--;
        }
    }
    if (world.split == 0) {
        world.split = set;
        split_off(true);
        world_at(world.now + 6 * world.unit, TIMER_AMBUSH_END, node->slot)->a = DEED_SPLIT;
    }
}

/* Down, and mostly soon up again: within the promises that it gave. */
static void crash(struct sim_node *node)
{
    if (node->alive) {
        node_crash(node);
        faults_restart(node, chance_span(&world.work, world.unit / 64,
                                         chance_permille(&world.work, 300) ? 4 * world.unit : world.unit / 4));
    }
}

static void crash_some(int but, unsigned deed)
{
    for (int i = 0; i < world.n; i++) {
        if (i != but && (node_leads(&world.nodes[i]) == (deed == DEED_CRASH_LEADER))) {
            crash(&world.nodes[i]);
        }
    }
}

static void latch(struct sim_node *node)
{
    struct fault *fault = &world.latches[node->slot];

    if (node->alive && node->armed == NULL) {
        *fault = (struct fault){.kind = FAULT_STALL, .for_ns = chance_span(&world.work, world.unit / 16, world.unit),
                                .moment = MOMENT_BEFORE_ACTION, .arg = ACT_LEASE};
        node->armed = fault;
    }
}

void ambush_hit(int victim, const struct fault *armed)
{
    if (armed == &world.latches[victim]) {
        world_at(world.nodes[victim].stalled_until + 50 * US, TIMER_AMBUSH, victim)->a = DEED_CRASH;
    }
}

void ambush_deed(int victim, unsigned deed, uint64_t for_ns)
{
    struct sim_node *node = &world.nodes[victim];

    if (world.calm) {
        return;
    }
    world_note(DEED_NAMES[deed], victim, for_ns, 0);
    switch (deed) {
    case DEED_MUTE:
    case DEED_DEAF:
    case DEED_BLIND:
        cut_off(victim, deed, true);
        break;
    case DEED_CRASH_VOTERS:
    case DEED_CRASH_LEADER:
        crash_some(victim, deed);
        return;
    case DEED_CRASH:
        crash(node);
        return;
    case DEED_STALL:
        node->stalled_until = world.now + for_ns;
        return;
    case DEED_REPLAY:
        net_replay(victim);
        return;
    case DEED_REFUSE:
        node->del_fails = 1000;
        break;
    case DEED_LATCH:
        latch(node);
        return;
    case DEED_SPLIT:
        split(node);
        return;
    case DEED_UNHEARD:
        unheard(victim);
        for_ns = 4 * world.unit;
        break;
    default:
        abort();
    }
    struct timer *timer = world_at(world.now + for_ns, TIMER_AMBUSH_END, victim);
    timer->a = deed;
}

void ambush_over(int victim, unsigned deed)
{
    if (world.calm) {
        return; /* healed with all the others */
    }
    if (deed == DEED_REFUSE) {
        world.nodes[victim].del_fails = 0;
    } else if (deed == DEED_SPLIT) {
        split_off(false);
        world.split = 0;
    } else if (deed == DEED_UNHEARD) {
        heard_again(victim);
    } else {
        cut_off(victim, deed, false);
    }
}
