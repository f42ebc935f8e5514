/*
 * The planner's processor time for many VIPs on many nodes.
 *
 *   bench_plan VIPS NODES
 *
 * One line for each case, "CASE MOVES MS ASK_MS": how many moves the plan has, the time it took (the median of ROUNDS), and the
 * time that the same machine takes just then to look for each VIP's interface on each node once, which is the least that has to be known.
 * Groups, apart-from rules, preferences, capacities and checks are in the last cases. Failure modes: none but wrong
 * arguments; it needs nothing but a processor.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/plan.h"

enum {
    ROUNDS = 9,
};

static struct table table;
static struct plan_scratch scratch;
static struct move moves[VIPS_MAX];
static int n_vips, n_nodes;

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double ask_ms(void)
{
    volatile unsigned n = 0;
    double begun = now_ms();
    for (int slot = 0; slot < table.vips_end; slot++) {
        for (int node = 0; node < n_nodes; node++) {
            n += table_link_for(&table, node, &table.vips[slot]) != NULL;
        }
    }
    return now_ms() - begun;
}

/* Plans ROUNDS times, prints the case, and makes the moves. */
static void measure(const char *name)
{
    struct plan_input input = {.table = &table, .usable = n_nodes == 64 ? UINT64_MAX : (1ull << n_nodes) - 1};
    double took[ROUNDS], asked[ROUNDS];
    uint32_t n = 0;

    for (int i = 0; i < ROUNDS; i++) {
        double begun = now_ms();
        n = plan_moves(&input, &scratch, moves, VIPS_MAX);
        took[i] = now_ms() - begun;
        asked[i] = ask_ms();
    }
    qsort(took, ROUNDS, sizeof took[0], compare);
    qsort(asked, ROUNDS, sizeof asked[0], compare);
    printf("%s %u %.3f %.3f\n", name, n, took[ROUNDS / 2], asked[ROUNDS / 2]);
    for (uint32_t i = 0; i < n; i++) {
        table.vips[moves[i].vip].owner = moves[i].to;
    }
}

static void make_nodes(void)
{
    for (int i = 0; i < n_nodes; i++) {
        struct node *node = &table.nodes[i];
        node->used = true;
        node->id = (uint64_t)i + 1;
        node->status = NODE_ADMITTED;
        node->gen = 1;
        node->n_links = 1;
        strcpy(node->links[0].name, "eth0");
        node->links[0].up = true;
        node->links[0].n_prefixes = 1;
        node->links[0].prefixes[0] = (struct prefix){.addr = {.family = 4, .bytes = {10}}, .len = 8};
    }
}

static void make_vips(void)
{
    for (int i = 0; i < n_vips; i++) {
        struct vip *vip = &table.vips[i];
        vip->used = vip->enabled = true;
        vip->address = (struct prefix){.addr = {.family = 4, .bytes = {10, 1, (uint8_t)(i >> 8), (uint8_t)i}}, .len = 8};
        vip->group = vip->pinned = vip->owner = vip->prev = SLOT_NONE;
    }
    table.vips_end = table.n_vips = n_vips;
}

static void make_checks(void)
{
    table.checks[0] = (struct check){.spec = {.name = "required", .kind = CHECK_FILE, .target = "/ok"}, .changed = 1};
    table.checks[1] = (struct check){.spec = {.name = "weighted", .kind = CHECK_FILE, .target = "/ok", .weight = 50}, .changed = 1};
    table.checks[0].passing = ~(uint64_t)0 << 1;
    table.checks[0].failing = 1;
    table.checks[1].failing = 0xf0;
    table.checks[1].passing = ~(uint64_t)0xf0;
    table.checks_index = 1;
    table_index(&table);
}

/* Every fourth VIP in a group of four, every fifth kept apart from its neighbour, a third with preferences, half with checks. */
static void with_every_rule(void)
{
    for (int i = 0; i < n_vips; i++) {
        struct vip *vip = &table.vips[i];
        vip->owner = SLOT_NONE;
        vip->nodes = 0;
        if (i % 4 == 0 && i / 16 < GROUPS_MAX) {
            vip->group = (int16_t)(i / 16);
            snprintf(table.groups[vip->group].name, NAME_SIZE, "g%d", vip->group);
        } else if (i % 5 == 1 && i > 0) {
            vip->n_apart = 1;
            vip->apart[0] = (uint16_t)(i - 1);
        }
        if (i % 3 == 0) {
            vip->n_prefers = 1;
            vip->prefers[0] = (struct prefer){.node = (int8_t)(i % n_nodes), .weight = 100};
        }
        vip->checks = i % 2 == 0 ? 3 : 0;
    }
    for (int i = 0; i < n_nodes; i++) {
        table.nodes[i].capacity = (uint16_t)(i % 3 == 0 ? 200 : 0);
    }
    make_checks();
}

int main(int argc, char **argv)
{
    n_vips = argc == 3 ? atoi(argv[1]) : 0;
    n_nodes = argc == 3 ? atoi(argv[2]) : 0;
    if (n_vips < 1 || n_vips > VIPS_MAX || n_nodes < 2 || n_nodes > NODES_MAX) {
        fprintf(stderr, "usage: bench_plan VIPS NODES\n");
        return 2;
    }
    table_init(&table);
    table.cluster_id = 1;
    make_nodes();
    make_vips();
    measure("anew");
    measure("nothing-to-do");
    table.nodes[1].status = NODE_FENCED;
    measure("one-node-gone");
    table.nodes[1].status = NODE_ADMITTED;
    measure("and-back");
    for (int i = 0; i < n_vips; i++) {
        table.vips[i].nodes = 3ull << i % (n_nodes - 1);
        table.vips[i].owner = SLOT_NONE;
    }
    measure("two-nodes-each");
    table.nodes[n_nodes / 2].draining = true;
    measure("of-them-one-drained");
    table.nodes[n_nodes / 2].draining = false;
    for (int i = 0; i < n_vips; i++) {
        table.vips[i].nodes = 3;
        table.vips[i].owner = 1;
    }
    measure("two-for-all-one-back");
    with_every_rule();
    measure("every-rule-anew");
    measure("every-rule-again");
    table.nodes[1].status = NODE_FENCED;
    measure("every-rule-one-gone");
    return 0;
}
