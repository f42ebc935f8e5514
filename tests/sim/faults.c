/* Faults: planned from the seed as a list, so that a schedule can be printed, shortened and run again. */

#include <stdio.h>
#include <string.h>

#include "sim.h"

const char *const FAULT_NAMES[FAULT_KINDS_N] = {
    "crash", "reboot", "leave", "stall",     "crash-all", "stall-all", "cut",    "isolate", "partition", "loss",
    "delay", "repeat", "clock", "disk-slow", "disk-fail", "remove",    "kernel", "link",    "forge",   "stranger",
    "ambush", "wipe", "slew",
};
const char *const MOMENT_NAMES[MOMENTS_N] = {"now", "before-action", "before-step", "written", "start"};

/* Shares of the kinds, where a seed has them all. */
static const unsigned WEIGHTS[FAULT_KINDS_N] = {
    [FAULT_CRASH] = 100, [FAULT_REBOOT] = 30, [FAULT_LEAVE] = 25, [FAULT_STALL] = 140, [FAULT_CRASH_ALL] = 4,
    [FAULT_STALL_ALL] = 4, [FAULT_CUT] = 110, [FAULT_ISOLATE] = 80, [FAULT_PARTITION] = 50, [FAULT_LOSS] = 40,
    [FAULT_DELAY] = 50, [FAULT_REPEAT] = 40, [FAULT_CLOCK] = 60, [FAULT_DISK_SLOW] = 40, [FAULT_DISK_FAIL] = 10,
    [FAULT_REMOVE] = 40, [FAULT_KERNEL] = 40, [FAULT_LINK] = 30, [FAULT_FORGE] = 30, [FAULT_STRANGER] = 30, [FAULT_AMBUSH] = 120,
};

/* ------------------------------------------------------------------ the plan */

/* Mostly short against `unit`, sometimes long. */
static uint64_t length(struct chance *c, uint64_t unit)
{
    switch (chance_below(c, 4)) {
    case 0:
        return chance_span(c, unit / 64, unit / 4);
    case 1:
        return chance_span(c, unit / 4, unit);
    case 2:
        return chance_span(c, unit / 2, 3 * unit);
    default:
        return chance_span(c, unit, 8 * unit);
    }
}

static int whom(struct chance *c, int nodes)
{
    uint64_t dice = chance_below(c, 10);

    return dice == 0 ? -2 : dice == 1 ? -3 : (int)chance_below(c, (uint64_t)nodes);
}

static void plan_moment(struct chance *c, struct fault *fault)
{
    static const enum action_type ACTIONS[] = {0, 0, ACT_HEARTBEAT, ACT_ANSWER, ACT_LEASE, ACT_LEASE, ACT_ADDR_DEL,
                                               ACT_ADDR_ADD, ACT_ADDR_ADD, ACT_ANNOUNCE, ACT_PROPOSE};
    static const enum fault_moment MOMENTS[] = {MOMENT_NOW, MOMENT_NOW, MOMENT_BEFORE_ACTION, MOMENT_BEFORE_ACTION,
                                                MOMENT_BEFORE_STEP, MOMENT_WRITTEN, MOMENT_START};

    fault->moment = MOMENTS[chance_below(c, sizeof MOMENTS / sizeof MOMENTS[0])];
    if (fault->moment == MOMENT_BEFORE_ACTION) {
        fault->arg = ACTIONS[chance_below(c, sizeof ACTIONS / sizeof ACTIONS[0])];
    }
}

static void plan_one(struct chance *c, struct fault *fault, int nodes, uint64_t unit)
{
    fault->for_ns = length(c, unit);
    fault->node = whom(c, nodes);
    switch (fault->kind) {
    case FAULT_CRASH:
    case FAULT_REBOOT:
    case FAULT_STALL:
        plan_moment(c, fault);
        break;
    case FAULT_CUT:
        fault->node = (int)chance_below(c, (uint64_t)nodes);
        fault->other = (fault->node + 1 + (int)chance_below(c, (uint64_t)nodes - 1)) % nodes;
        fault->arg = 1 + (unsigned)chance_below(c, 3);
        if (chance_below(c, 4) == 0) { /* the leader alone does not hear who holds most */
            fault->node = -3;
            fault->other = -2;
            fault->arg = CHANNEL_DATAGRAMS;
        }
        break;
    case FAULT_ISOLATE:
        fault->arg = chance_below(c, 2) == 0 ? 3 : 1 + (unsigned)chance_below(c, 3);
        fault->arg2 = 1 + (unsigned)chance_below(c, 3); /* 1 out, 2 in */
        break;
    case FAULT_PARTITION:
        fault->arg = 1 + (unsigned)chance_below(c, (1u << nodes) - 2);
        fault->arg2 = 1 + (unsigned)chance_below(c, 3);
        break;
    case FAULT_LOSS:
    case FAULT_REPEAT:
        fault->arg = (unsigned)chance_span(c, 10, 400);
        break;
    case FAULT_DELAY:
        fault->node = (int)chance_below(c, (uint64_t)nodes);
        fault->other = (fault->node + 1 + (int)chance_below(c, (uint64_t)nodes - 1)) % nodes;
        fault->arg = (unsigned)(chance_span(c, unit / 16, 2 * unit) / US);
        break;
    case FAULT_CLOCK:
        fault->arg = (unsigned)chance_below(c, 3) == 0 ? (unsigned)chance_below(c, 2) * 20000
                                                       : (unsigned)chance_below(c, 20001);
        break;
    case FAULT_DISK_SLOW:
        fault->arg = (unsigned)(chance_span(c, unit / 16, unit) / US);
        break;
    case FAULT_KERNEL:
        fault->arg = (unsigned)chance_below(c, 1001);
        fault->arg2 = chance_below(c, 2) == 0 ? 0 : (unsigned)chance_below(c, 1001);
        break;
    case FAULT_STRANGER:
        fault->for_ns *= chance_span(c, 1, 8);
        fault->arg = (unsigned)chance_below(c, ADDRS);
        break;
    case FAULT_FORGE:
        fault->arg2 = chance_below(c, 3) == 0 ? 1 + (unsigned)chance_below(c, (uint64_t)nodes) : 0; /* as from a member */
        fault->arg = (unsigned)chance_below(c, ADDRS);
        break;
    case FAULT_REMOVE:
        fault->arg = (unsigned)chance_below(c, ADDRS);
        break;
    case FAULT_AMBUSH:
        ambush_plan(c, fault, nodes, unit);
        break;
    case FAULT_LEAVE:
    case FAULT_CRASH_ALL:
    case FAULT_STALL_ALL:
    case FAULT_DISK_FAIL:
    case FAULT_LINK:
    case FAULT_WIPE:
    case FAULT_SLEW:
    case FAULT_KINDS_N:
        break;
    }
}

/* In a third of the seeds some of the faults are slews instead. They have a chance of their own, and are no kind like the
 * others in WEIGHTS: what else befalls a seed is what it was before there were any. */
static void plan_slews(struct schedule *schedule, uint64_t seed, int nodes, uint64_t unit)
{
    struct chance c = {seed * 0x9e3779b9ull + 100};
    bool slews = chance_below(&c, 3) == 0;

    for (unsigned i = 0; i < schedule->n && slews; i++) {
        struct fault *fault = &schedule->list[i];
        if (chance_below(&c, 10) == 0) {
            *fault = (struct fault){.kind = FAULT_SLEW, .at = fault->at, .for_ns = chance_span(&c, 2 * unit, 40 * unit)};
            fault->arg = (unsigned)(chance_below(&c, 2) == 0 ? 100000 : chance_span(&c, 10000, 100000));
            fault->arg2 = (unsigned)chance_below(&c, 1u << nodes);
        }
    }
}

/* Likewise, where members change at all. */
static void plan_wipes(struct schedule *schedule, uint64_t seed, int nodes, uint64_t unit)
{
    struct chance c = {seed * 0x9e3779b9ull + 101};

    for (unsigned i = 0; i < schedule->n && world.roster; i++) {
        struct fault *fault = &schedule->list[i];
        if (chance_below(&c, 12) == 0) {
            *fault = (struct fault){.kind = FAULT_WIPE, .at = fault->at, .node = whom(&c, nodes), .arg = (unsigned)chance_below(&c, 2),
                                    .for_ns = chance_span(&c, 3 * unit, 8 * unit)};
        }
    }
}

void faults_plan(struct schedule *schedule, uint64_t seed, unsigned n, int nodes, uint64_t unit)
{
    struct chance c = {seed * 0x9e3779b9ull + 99};
    unsigned weights[FAULT_WIPE], sum = 0; /* the kinds before it */
    uint64_t gap = unit * 4 >> chance_below(&c, 6); /* from 4 units between two down to an eighth */
    uint64_t at = world.now + (chance_below(&c, 4) == 0 ? 0 : 10 * unit + 3000 * MS);
    bool all = chance_below(&c, 4) == 0;

    for (int k = 0; k < FAULT_WIPE; k++) { /* a seed has some kinds only: the rarer meet undisturbed */
        weights[k] = all || chance_below(&c, 2) == 0 ? WEIGHTS[k] : 0;
        sum += weights[k];
    }
    if (chance_below(&c, 4) == 0) { /* mostly ambushes, with room for all of their stages */
        weights[FAULT_AMBUSH] += 2 * sum;
        sum += 2 * sum;
        gap = 2 * unit;
    }
    if (sum == 0) {
        weights[FAULT_CRASH] = sum = 1;
    }
    schedule->n = n < FAULTS_MAX ? n : FAULTS_MAX;
    for (unsigned i = 0; i < schedule->n; i++) {
        struct fault *fault = &schedule->list[i];
        unsigned dice = (unsigned)chance_below(&c, sum);

        memset(fault, 0, sizeof *fault);
        while (dice >= weights[fault->kind]) {
            dice -= weights[fault->kind++];
        }
        at += chance_below(&c, 2 * gap + 1);
        fault->at = at;
        plan_one(&c, fault, nodes, unit);
    }
    plan_slews(schedule, seed, nodes, unit);
    plan_wipes(schedule, seed, nodes, unit);
}

static void print_node(FILE *to, const char *what, int node)
{
    if (node >= 0) {
        fprintf(to, " %s=%c", what, 'a' + node);
    } else {
        fprintf(to, " %s=%s", what, node == -1 ? "any" : node == -2 ? "leader" : "holder");
    }
}

void faults_print(FILE *to, const struct fault *fault)
{
    fprintf(to, "%10.4f %-10s", (double)fault->at / 1e9, FAULT_NAMES[fault->kind]);
    print_node(to, "node", fault->node);
    if (fault->kind == FAULT_CUT || fault->kind == FAULT_DELAY) {
        print_node(to, "to", fault->other);
    }
    fprintf(to, " for=%.4f", (double)fault->for_ns / 1e9);
    if (fault->moment != MOMENT_NOW) {
        fprintf(to, " moment=%s", MOMENT_NAMES[fault->moment]);
    }
    if (fault->kind == FAULT_AMBUSH) {
        ambush_print(to, fault);
    }
    fprintf(to, " arg=%u,%u\n", fault->arg, fault->arg2);
}

/* ------------------------------------------------------------------ begin */

static int which_node(int wanted)
{
    int which = wanted >= 0 ? wanted : 0, most = -1;

    for (int i = 0; i < world.n && wanted < 0; i++) {
        int weight = 0;
        if (wanted == -2) {
            weight = node_leads(&world.nodes[i]);
        }
        for (int a = 0; a < ADDRS && wanted == -3; a++) {
            weight += world.nodes[i].kernel.addresses[a].present;
        }
        if (weight > most) {
            most = weight;
            which = i;
        }
    }
    return which;
}

void faults_restart(struct sim_node *node, uint64_t ns)
{
    node->start_at = world.now + ns;
    world_at(node->start_at, TIMER_START, node->slot);
}

static void hit(struct sim_node *node, const struct fault *fault)
{
    world_note(FAULT_NAMES[fault->kind], node->slot, fault->for_ns, fault->moment);
    if (fault->kind == FAULT_STALL || fault->kind == FAULT_STALL_ALL) {
        node->stalled_until = world.now + fault->for_ns;
        return;
    }
    node_crash(node);
    if (fault->kind == FAULT_REBOOT) {
        kernel_reboot(node);
        node->own_base = chance_span(&world.work, 1000 * MS, 60000 * MS);
        node->true_base = world.now;
        node->slew = 0;
    }
    faults_restart(node, fault->for_ns);
}

void faults_hit(struct sim_node *node)
{
    const struct fault *fault = node->armed;

    node->armed = NULL;
    world.stats->armed_hits++;
    hit(node, fault);
    ambush_hit(node->slot, fault);
}

static void arm_or_hit(struct sim_node *node, struct fault *fault)
{
    if (fault->moment == MOMENT_NOW || !node->alive || node->armed != NULL) {
        hit(node, fault);
        return;
    }
    node->armed = fault;
    world_at(world.now + 2 * world.unit, TIMER_FAULT_END, node->slot)->a = (uint64_t)(fault - world.schedule->list) + 1;
}

static bool in_cut(const struct fault *fault, int victim, int from, int to)
{
    if (fault->kind == FAULT_CUT) {
        return from == fault->node && to == fault->other;
    }
    if (fault->kind == FAULT_ISOLATE) {
        return (from == victim && (fault->arg2 & 1)) || (to == victim && (fault->arg2 & 2));
    }
    bool side_from = fault->arg >> from & 1, side_to = fault->arg >> to & 1;
    return (side_from && !side_to && (fault->arg2 & 1)) || (!side_from && side_to && (fault->arg2 & 2));
}

static void cut(const struct fault *fault, int victim, bool on)
{
    unsigned channels = fault->kind == FAULT_PARTITION ? 3 : fault->arg;

    for (int from = 0; from < world.n; from++) {
        for (int to = 0; to < world.n; to++) {
            if (from == to || !in_cut(fault, victim, from, to)) {
                continue;
            }
            net_cut(from, to, channels, on);
            if (on && (channels & CHANNEL_FRAMES) && world.nodes[from].consensus != NULL) {
                struct input input = {.kind = INPUT_LOST, .from = to, .from_id = world.nodes[to].id};
                node_input(&world.nodes[from], &input);
            }
        }
    }
}

/* The clock first, and then what the node sees. */
static void slew_ends(struct sim_node *node)
{
    clock_slewed(node, 0);
    node->slew_told = 0;
}

static void slew(const struct fault *fault, bool on)
{
    for (int i = 0; i < world.n; i++) {
        struct sim_node *node = &world.nodes[i];
        if (on && node->alive && node->caught_up && node->slew_told == 0) {
            node->slew_told = fault->arg2 >> i & 1 ? (int32_t)fault->arg : -(int32_t)fault->arg;
        } else if (!on) {
            slew_ends(node);
        }
    }
}

static void set_link(struct sim_node *node, bool up)
{
    node->kernel.link_up = up;
    if (node->alive && node->phase == STARTED) {
        struct input input = {.kind = INPUT_LINKS};
        node_input(node, &input);
    }
}

static void leave(struct sim_node *node, const struct fault *fault)
{
    if (node->alive && node->phase == STARTED) {
        struct input input = {.kind = INPUT_TERM};
        node_input(node, &input);
        faults_restart(node, fault->for_ns);
    }
}

/* The host goes, perhaps with all that its kernel had; once the others know, its disk is lost as well: never so many that
 * what was acknowledged could be lost with them, nor so soon that the leader could just be demoting another voter. */
static void wipe(struct sim_node *node, bool reboots)
{
    if (node->id == 0 || !members_majority_without(1u << node->slot)) {
        return;
    }
    node_crash(node);
    if (reboots) {
        kernel_reboot(node);
    }
    node->start_at = UINT64_MAX;
}

static void wiped(struct sim_node *node)
{
    if (node->alive || node->start_at != UINT64_MAX) {
        return; /* somebody started it */
    }
    if (members_majority_without(1u << node->slot)) {
        members_wipe(node);
    } else {
        faults_restart(node, 0);
    }
}

void faults_begin(const struct fault *planned)
{
    struct fault *fault = &world.schedule->list[planned - world.schedule->list];
    struct sim_node *node = &world.nodes[which_node(fault->node)];
    bool lasts = true;

    world.stats->faults[fault->kind]++;
    world.stats->fault_total++;
    world_note("fault", node->slot, (uint64_t)fault->kind, fault->arg);
    switch (fault->kind) {
    case FAULT_CRASH:
    case FAULT_REBOOT:
    case FAULT_STALL:
        arm_or_hit(node, fault);
        lasts = false;
        break;
    case FAULT_LEAVE:
        leave(node, fault);
        lasts = false;
        break;
    case FAULT_CRASH_ALL:
    case FAULT_STALL_ALL:
        for (int i = 0; i < world.n; i++) {
            hit(&world.nodes[i], fault);
        }
        lasts = false;
        break;
    case FAULT_CUT:
        if (fault->node < 0) { /* settled now, and so for its end */
            fault->node = node->slot;
            fault->other = which_node(fault->other);
        }
        cut(fault, node->slot, true);
        break;
    case FAULT_STRANGER:
        foreign_comes((int)fault->arg, fault->for_ns);
        lasts = false;
        break;
    case FAULT_AMBUSH:
        ambush_stand(fault);
        lasts = false;
        break;
    case FAULT_WIPE:
        wipe(node, fault->arg != 0);
        break;
    case FAULT_ISOLATE:
    case FAULT_PARTITION:
        cut(fault, node->slot, true);
        break;
    case FAULT_LOSS:
        world.loss += fault->arg;
        break;
    case FAULT_REPEAT:
        world.repeat += fault->arg;
        break;
    case FAULT_DELAY:
        world.late[fault->node][fault->other] += fault->arg * US;
        break;
    case FAULT_CLOCK:
        clock_rate(node, (int32_t)fault->arg - 10000);
        lasts = false;
        break;
    case FAULT_SLEW:
        slew(fault, true);
        break;
    case FAULT_DISK_SLOW:
        node->disk_ns = fault->arg * US;
        break;
    case FAULT_DISK_FAIL:
        node->disk_fails = node->alive;
        lasts = false;
        break;
    case FAULT_REMOVE:
        kernel_removed(node, (int)fault->arg);
        lasts = false;
        break;
    case FAULT_KERNEL:
        node->add_fails = fault->arg;
        node->del_fails = fault->arg2;
        break;
    case FAULT_LINK:
        set_link(node, false);
        break;
    case FAULT_FORGE:
        net_announce((int)fault->arg2 - 1, (int)fault->arg);
        lasts = false;
        break;
    case FAULT_KINDS_N:
        break;
    }
    if (lasts) {
        struct timer *timer = world_at(world.now + fault->for_ns, TIMER_FAULT_END, node->slot);
        timer->a = (uint64_t)(fault - world.schedule->list) + 1;
    }
}

/* ------------------------------------------------------------------ end */

void faults_end(const struct fault *fault, int slot)
{
    struct sim_node *node = &world.nodes[slot];

    if (world.calm) {
        return; /* healed with all the others */
    }
    world_note("over", slot, (uint64_t)fault->kind, 0);
    switch (fault->kind) {
    case FAULT_CRASH:
    case FAULT_REBOOT:
    case FAULT_STALL:
        if (node->armed == fault) { /* its moment did not come */
            faults_hit(node);
        }
        break;
    case FAULT_CUT:
    case FAULT_ISOLATE:
    case FAULT_PARTITION:
        cut(fault, slot, false);
        break;
    case FAULT_LOSS:
        world.loss -= fault->arg;
        break;
    case FAULT_REPEAT:
        world.repeat -= fault->arg;
        break;
    case FAULT_DELAY:
        world.late[fault->node][fault->other] -= fault->arg * US;
        break;
    case FAULT_SLEW:
        slew(fault, false);
        break;
    case FAULT_DISK_SLOW:
        node->disk_ns = 0;
        break;
    case FAULT_KERNEL:
        node->add_fails = node->del_fails = 0;
        break;
    case FAULT_LINK:
        set_link(node, true);
        break;
    case FAULT_WIPE:
        wiped(node);
        break;
    case FAULT_LEAVE:
    case FAULT_CRASH_ALL:
    case FAULT_STALL_ALL:
    case FAULT_CLOCK:
    case FAULT_DISK_FAIL:
    case FAULT_REMOVE:
    case FAULT_FORGE:
    case FAULT_STRANGER:
    case FAULT_AMBUSH:
    case FAULT_KINDS_N:
        break;
    }
}

/* How a node stays away in the end: dead, stopped, with a disk that hangs, or cut off in part; see `lost` in run.c. */
static void lose(struct sim_node *node, struct chance *c)
{
    unsigned way = (unsigned)chance_below(c, 4);
    unsigned channels = 1 + (unsigned)chance_below(c, 3), sides = 1 + (unsigned)chance_below(c, 3);

    if (world.roster) { /* altogether: one that is heard and that Raft does not reach would be counted on when another one is demoted */
        channels = sides = 3;
    }

    if (node->disk_hangs) {
        world_say(node->slot, "stays away: its disk hangs");
        return;
    }
    world_say(node->slot, "stays away: way %u, channels %u, sides %u", way, channels, sides);
    if (way == 0) {
        node_crash(node);
        return;
    }
    if (way == 1) {
        node->stalled_until = UINT64_MAX / 2;
        return;
    }
    for (int i = 0; i < world.n; i++) {
        if (i != node->slot && (sides & 1)) {
            net_cut(node->slot, i, channels, true);
        }
        if (i != node->slot && (sides & 2)) {
            net_cut(i, node->slot, channels, true);
        }
    }
}

/* In a third of the seeds some stay away: fewer than half of the voters, whoever votes by then. */
static void choose_lost(struct chance *c)
{
    unsigned lost = 0;

    if (chance_below(c, 3) != 0) {
        return;
    }
    for (uint64_t k = chance_span(c, 1, 2); k > 0; k--) {
        unsigned with = lost | 1u << chance_below(c, (uint64_t)world.n);
        lost = members_majority_without(with) ? with : lost;
    }
    for (int i = 0; i < world.n; i++) {
        world.nodes[i].lost = world.nodes[i].id != 0 && (lost >> i & 1);
    }
}

static unsigned lost_hosts(void)
{
    unsigned set = 0;

    for (int i = 0; i < world.n; i++) {
        set |= world.nodes[i].lost ? 1u << i : 0;
    }
    return set;
}

/* Some of those that stay away do so because their disk hangs: best the one of whoever leads. */
static void hang_disks(struct chance *c)
{
    for (int i = 0; i < world.n && !world.roster; i++) {
        struct sim_node *node = &world.nodes[i];
        if (!node->lost || chance_below(c, 3) != 0) {
            continue;
        }
        for (int k = 0; k < world.n && !node_leads(node); k++) {
            struct sim_node *other = &world.nodes[k];
            if (node_leads(other) && !other->lost && members_majority_without((lost_hosts() & ~(1u << i)) | 1u << k)) {
                node->lost = false;
                other->lost = true;
                node = other;
            }
        }
        node->disk_hangs = node->alive;
    }
}

void faults_heal(void)
{
    struct chance c = {world.seed + 12345};

    world.calm = true;
    world.calm_since = world.now;
    world.loss = world.repeat = 0;
    memset(world.cut, 0, sizeof world.cut);
    memset(world.cut_raft, 0, sizeof world.cut_raft);
    memset(world.unheard, 0, sizeof world.unheard);
    world.split = 0;
    memset(world.late, 0, sizeof world.late);
    world_note("calm", -1, 0, 0);
    choose_lost(&c);
    hang_disks(&c);
    for (int i = 0; i < world.n; i++) {
        struct sim_node *node = &world.nodes[i];
        node->disk_ns = 0;
        node->add_fails = node->del_fails = 0;
        node->armed = NULL;
        node->stalled_until = 0;
        slew_ends(node);
        if (node->alive) {
            node_wake(node, world.now);
        }
        if (!node->kernel.link_up) {
            set_link(node, true);
        }
        if (node->lost) {
            lose(node, &c);
        } else if (!node->alive) {
            faults_restart(node, chance_below(&c, world.unit));
        }
    }
}
