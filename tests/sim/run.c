/* One seed: a cluster, faults, calm, judgement. */

#include <setjmp.h>
#include <signal.h>
#include <string.h>

#include "sim.h"

#define CALM_MAX_NS (90000 * MS) /* the longest hold-down of a flapping node is 32 s, and two may follow on each other */

static struct schedule *plan_of_run;

/* ------------------------------------------------------------------ the cluster of a seed */

static const struct timing TIMINGS[] = {
    {20, 80, 125, 3, 150},      /* fast */
    {100, 400, 515, 5, 600},    /* default */
    {500, 2000, 3000, 20, 3000} /* wan */
};

static void choose_timing(struct chance *c)
{
    uint64_t dice = chance_below(c, 10);

    if (dice < 7) {
        world.timing = TIMINGS[dice < 4 ? 0 : dice < 6 ? 1 : 2];
    } else {
        struct timing *t = &world.timing;
        t->interval_ms = (uint32_t)chance_span(c, 5, 60);
        t->suspect_ms = t->interval_ms * (uint32_t)chance_span(c, 2, 6);
        t->promise_ms = t->suspect_ms + t->interval_ms + (uint32_t)chance_below(c, chance_below(c, 2) == 0 ? 50 : 3 * t->suspect_ms);
        t->margin_ms = (uint32_t)chance_span(c, 1, t->promise_ms / 2 - 1 < 20 ? t->promise_ms / 2 - 1 : 20);
        t->election_ms = t->suspect_ms + 1 + (uint32_t)chance_below(c, 300);
    }
    world.unit = world.timing.suspect_ms * MS;
}

static void choose_nodes(struct chance *c)
{
    static const struct
    {
        int voters, others, witnesses;
    } SHAPES[] = {{3, 0, 0}, {3, 0, 0}, {3, 1, 0}, {3, 0, 1}, {5, 0, 0}, {5, 1, 0}, {5, 0, 1}, {4, 0, 0}, {3, 2, 0}};
    unsigned members;
    unsigned shape = (unsigned)chance_below(c, sizeof SHAPES / sizeof SHAPES[0]);
    struct consensus_server servers[SIM_NODES];

    members = (unsigned)(SHAPES[shape].voters + SHAPES[shape].others);
    world.roster = chance_below(c, 2) == 0;
    world.n = (int)members + (world.roster && members < SIM_NODES ? (int)chance_below(c, 2) : 0); /* one that may join */
    for (int i = 0; i < world.n; i++) {
        struct sim_node *node = &world.nodes[i];
        bool voter = i < SHAPES[shape].voters;
        node_open(node, i);
        node->role = voter ? ROLE_VOTER : ROLE_STANDBY;
        node->out = i >= (int)members;
        node->founder_witness = i == SHAPES[shape].voters - 1 && SHAPES[shape].witnesses > 0;
        node->ppm = (int32_t)chance_below(c, 20001) - 10000;
        if (!node->out) {
            members_claim(node, (uint64_t)i + 1);
            servers[i] = (struct consensus_server){
                .id = node->id, .address = node->name, .role = voter ? CONSENSUS_VOTER : CONSENSUS_STANDBY};
        }
    }
    for (int i = 0; i < world.n; i++) {
        uint64_t at = world.now + chance_below(c, world.unit);
        if (!world.nodes[i].out) {
            disk_open(&world.nodes[i].disk, servers, members);
            world_at(at, TIMER_START, i);
        }
        if (world.roster) {
            world_at(at, TIMER_MEMBER, i);
        }
    }
}

/* ------------------------------------------------------------------ what happens */

static void dispatch(struct timer *timer)
{
    struct sim_node *node = timer->node >= 0 ? &world.nodes[timer->node] : NULL;

    switch (timer->kind) {
    case TIMER_RUN:
        if (timer->a == node->run_ticket) {
            node_turn(node);
        }
        break;
    case TIMER_MESSAGE:
        world_note("message", timer->node, (uint64_t)timer->input.kind, timer->input.len);
        node_input(node, &timer->input);
        break;
    case TIMER_DISK:
        if (node->alive && timer->epoch == node->epoch) {
            disk_timer(node);
        }
        break;
    case TIMER_EXPIRE:
        kernel_expire(node, (int)timer->a, timer->b);
        break;
    case TIMER_FAULT:
        if (!world.calm) {
            faults_begin(&world.schedule->list[timer->a]);
        }
        break;
    case TIMER_FAULT_END:
        faults_end(&world.schedule->list[timer->a - 1], timer->node);
        break;
    case TIMER_SESSION:
        client_timer((int)timer->a);
        break;
    case TIMER_START:
        if (node->alive && (node->leaving || node->stopping)) {
            world_at(world.now + world.unit, TIMER_START, timer->node); /* it is still leaving */
        } else if (!node->alive) {
            node_start(node);
        }
        break;
    case TIMER_MEMBER:
        members_timer(node);
        break;
    case TIMER_STRANGER:
        foreign_timer((int)timer->a, timer->b);
        break;
    case TIMER_AMBUSH:
        ambush_deed(timer->node, (unsigned)timer->a, timer->b);
        break;
    case TIMER_AMBUSH_END:
        ambush_over(timer->node, (unsigned)timer->a);
        break;
    }
}

/* ------------------------------------------------------------------ judgement */

struct calm
{
    uint64_t next, held_since, even_since; /* 0 = not now */
    char why[200];
};

/* Whether the run is over. */
static bool judge(struct calm *calm)
{
    if (world.now < calm->next) {
        return false;
    }
    calm->next = world.now + 5 * MS;
    bool held = oracle_held(calm->why);
    if (world.forged_at != 0) {
        return foreign_judged(held, calm->why);
    }
    bool even = held && oracle_even(calm->why);
    if (even && !client_calm()) {
        snprintf(calm->why, sizeof calm->why, "a client waits");
        even = false;
    }
    calm->held_since = !held ? 0 : calm->held_since != 0 ? calm->held_since : world.now;
    calm->even_since = !even ? 0 : calm->even_since != 0 ? calm->even_since : world.now;
    uint64_t quiet = 3 * (world.timing.suspect_ms + world.timing.promise_ms) * MS; /* evening out waits for two promises */
    if (even && world.now - calm->even_since > quiet) {
        return foreign_judged(held, calm->why);
    }
    if (world.now - world.calm_since > CALM_MAX_NS) {
        world_violated(VIOLATION_LIVENESS, "%.0f s after the last fault: %s", (double)CALM_MAX_NS / 1e9,
                       calm->why);
    }
    return false;
}

static void worst(uint64_t *worst_ns, uint64_t *worst_seed, uint64_t since)
{
    uint64_t ns = since - world.calm_since;

    if (ns > *worst_ns) {
        *worst_ns = ns;
        *worst_seed = world.seed;
    }
}

static sigjmp_buf aborted;

static void on_abort(int number)
{
    siglongjmp(aborted, number);
}

static void loop(uint64_t calm_at)
{
    struct timer timer;
    struct calm calm = {.why = ""};

    while (world.violation == VIOLATION_NONE && world_take(&timer)) {
        world.stats->events++;
        if (!world.calm && world.now >= calm_at) {
            faults_heal();
        }
        dispatch(&timer);
        if (world.calm && judge(&calm)) {
            oracle_end();
            worst(&world.stats->held_ns_worst, &world.stats->held_seed, calm.held_since);
            worst(&world.stats->even_ns_worst, &world.stats->even_seed, calm.even_since);
            return;
        }
    }
}

enum violation run_seed(uint64_t seed, const struct options *options, struct schedule *schedule, bool planned,
                        struct sim_stats *stats)
{
    struct chance c = {seed * 31 + 7};
    uint64_t begun, calm_at;

    world_open(seed, options->trace, stats);
    world.maintenance = options->maintenance;
    begun = world.now;
    choose_timing(&c);
    choose_nodes(&c);
    plan_of_run = world.schedule = schedule;
    if (!planned) {
        faults_plan(schedule, seed, options->faults, world.n, world.unit);
    }
    calm_at = world.now + 10 * world.unit;
    for (unsigned i = 0; i < schedule->n; i++) {
        if (options->seconds != 0 && schedule->list[i].at > begun + options->seconds * 1000 * MS) {
            schedule->n = i;
            break;
        }
        world_at(schedule->list[i].at, TIMER_FAULT, -1)->a = i;
        calm_at = schedule->list[i].at + 2 * world.unit;
    }
    client_open();
    world_say(-1, "seed %llu: %d nodes, interval %u suspect %u promise %u margin %u election %u",
              (unsigned long long)seed, world.n, world.timing.interval_ms, world.timing.suspect_ms,
              world.timing.promise_ms, world.timing.margin_ms, world.timing.election_ms);
    int number = sigsetjmp(aborted, 1);
    if (number == 0) {
        signal(SIGABRT, on_abort);
        signal(SIGILL, on_abort);
        signal(SIGTRAP, on_abort);
        loop(calm_at);
    } else {
        world_violated(VIOLATION_BUG, "the product aborts (signal %d)", number);
    }
    if (number == 0 && world.violation != VIOLATION_NONE) {
        oracle_tell();
    }
    stats->sim_ns += world.now - begun;
    if (number == 0) {
        world_close();
    } else {
        for (int i = 0; i < world.n; i++) { /* what it was at is in no state to be closed */
            world.nodes[i].alive = false;
            world.nodes[i].consensus = NULL;
        }
        world_close();
    }
    return world.violation;
}
