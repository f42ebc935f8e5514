/* True time, chance, the queue of what happens next, and the record of it. */

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

struct world world;
bool sim_broken[SIM_RULES_N];

/* ------------------------------------------------------------------ chance: splitmix64 */

uint64_t chance_next(struct chance *c)
{
    uint64_t z = (c->state += 0x9e3779b97f4a7c15ull);

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

uint64_t chance_below(struct chance *c, uint64_t n)
{
    return n == 0 ? 0 : chance_next(c) % n;
}

uint64_t chance_span(struct chance *c, uint64_t from, uint64_t to)
{
    return from + chance_below(c, to - from + 1);
}

bool chance_permille(struct chance *c, unsigned permille)
{
    return chance_below(c, 1000) < permille;
}

/* ------------------------------------------------------------------ what happens next */

/* The heap has the times; what is due then stays where it is in `timers`. */
static bool sooner(const struct due *a, const struct due *b)
{
    return a->at < b->at || (a->at == b->at && a->number < b->number);
}

static void sift_up(size_t i, struct due due)
{
    for (; i > 0 && sooner(&due, &world.heap[(i - 1) / 2]); i = (i - 1) / 2) {
        world.heap[i] = world.heap[(i - 1) / 2];
    }
    world.heap[i] = due;
}

static void sift_down(struct due due)
{
    size_t i = 0;

    for (size_t child = 1; child < world.heap_n; child = 2 * i + 1) {
        child += child + 1 < world.heap_n && sooner(&world.heap[child + 1], &world.heap[child]);
        if (!sooner(&world.heap[child], &due)) {
            break;
        }
        world.heap[i] = world.heap[child];
        i = child;
    }
    world.heap[i] = due;
}

static void grow(void)
{
    size_t size = world.heap_size == 0 ? 4096 : world.heap_size * 2;

    world.heap = realloc(world.heap, size * sizeof *world.heap);
    world.timers = realloc(world.timers, size * sizeof *world.timers);
    world.free = realloc(world.free, size * sizeof *world.free);
    if (world.heap == NULL || world.timers == NULL || world.free == NULL) {
        abort();
    }
    for (size_t i = world.heap_size; i < size; i++) {
        world.free[i] = (uint32_t)i; /* from heap_n on: those that are free */
    }
    world.heap_size = size;
}

/* Valid until the next call. */
struct timer *world_at(uint64_t at, enum timer_kind kind, int node)
{
    if (world.heap_n == world.heap_size) {
        grow();
    }
    uint32_t slot = world.free[world.heap_n];
    struct timer *timer = &world.timers[slot];
    *timer = (struct timer){.at = at > world.now ? at : world.now, .number = ++world.number, .kind = kind, .node = node};
    world.heap_n++;
    sift_up(world.heap_n - 1, (struct due){.at = timer->at, .number = timer->number, .slot = slot});
    return timer;
}

bool world_take(struct timer *ret)
{
    if (world.heap_n == 0) {
        return false;
    }
    uint32_t slot = world.heap[0].slot;
    *ret = world.timers[slot];
    world.heap_n--;
    world.free[world.heap_n] = slot;
    if (world.heap_n > 0) {
        sift_down(world.heap[world.heap_n]);
    }
    world.now = ret->at;
    return true;
}

/* ------------------------------------------------------------------ the record */

static void mix(uint64_t value)
{
    world.hash = (world.hash ^ value) * 0x100000001b3ull;
    world.hash ^= world.hash >> 29;
}

static void say_time(int node)
{
    printf("%12.6f  ", (double)world.now / 1e9);
    if (node >= 0) {
        printf("%c  ", 'a' + node);
    } else {
        printf("-  ");
    }
}

void world_note(const char *text, int node, uint64_t a, uint64_t b)
{
    mix(world.now);
    for (const char *c = text; *c != '\0'; c++) {
        mix((uint8_t)*c);
    }
    mix((uint64_t)node);
    mix(a);
    mix(b);
    if (world.trace) {
        say_time(node);
        printf("%s %llu %llu\n", text, (unsigned long long)a, (unsigned long long)b);
    }
}

void world_say(int node, const char *format, ...)
{
    va_list args;

    if (!world.trace) {
        return;
    }
    say_time(node);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

void world_violated(enum violation kind, const char *format, ...)
{
    va_list args;

    if (world.violation != VIOLATION_NONE) {
        return;
    }
    world.violation = kind;
    va_start(args, format);
    vsnprintf(world.what, sizeof world.what, format, args);
    va_end(args);
    if (world.trace) {
        say_time(-1);
        printf("VIOLATION: %s\n", world.what);
    }
}

/* ------------------------------------------------------------------ clocks */

/* What the clock counts in 1000000 of true time. */
static uint64_t clock_ppm(const struct sim_node *node)
{
    return (uint64_t)((1000000 + node->ppm) * (int64_t)(1000000 + node->slew) / 1000000);
}

uint64_t clock_own(const struct sim_node *node)
{
    uint64_t elapsed = world.now - node->true_base; /* of hours at most: no overflow */

    return node->own_base + elapsed / 1000000 * clock_ppm(node) + elapsed % 1000000 * clock_ppm(node) / 1000000;
}

uint64_t clock_true(const struct sim_node *node, uint64_t own)
{
    if (own <= node->own_base) {
        return node->true_base;
    }
    uint64_t rate = clock_ppm(node);
    uint64_t elapsed = own - node->own_base;
    return node->true_base + elapsed / rate * 1000000 + (elapsed % rate * 1000000 + rate - 1) / rate;
}

static void clock_changes(struct sim_node *node, int32_t *rate, int32_t ppm)
{
    node->own_base = clock_own(node);
    node->true_base = world.now;
    *rate = ppm;
    if (node->run_at != UINT64_MAX) {
        node_wake(node, world.now);
    }
}

void clock_rate(struct sim_node *node, int32_t ppm)
{
    clock_changes(node, &node->ppm, ppm);
}

void clock_slewed(struct sim_node *node, int32_t ppm)
{
    clock_changes(node, &node->slew, ppm);
}

/* ------------------------------------------------------------------ addresses */

struct addr address_of(int i)
{
    return (struct addr){.family = 4, .bytes = {10, 0, 0, (uint8_t)(100 + i)}};
}

int address_index(const struct addr *addr)
{
    int i = addr->bytes[3] - 100;

    return addr->family == 4 && addr->bytes[0] == 10 && addr->bytes[2] == 0 && i >= 0 && i < ADDRS ? i : -1;
}

/* ------------------------------------------------------------------ begin and end */

void world_open(uint64_t seed, bool trace, struct sim_stats *stats)
{
    struct due *heap = world.heap;
    struct timer *timers = world.timers;
    uint32_t *unused = world.free;
    size_t heap_size = world.heap_size;
    struct sim_node kept[SIM_NODES];

    memcpy(kept, world.nodes, sizeof kept); /* memory that is used again */
    memset(&world, 0, sizeof world);
    world.heap = heap;
    world.timers = timers;
    world.free = unused;
    world.heap_size = heap_size;
    for (int i = 0; i < SIM_NODES; i++) {
        world.nodes[i].table = kept[i].table;
        world.nodes[i].core = kept[i].core;
        world.nodes[i].actions = kept[i].actions;
        world.nodes[i].datagram = kept[i].datagram;
    }
    world.seed = seed;
    world.hash = 0xcbf29ce484222325ull;
    world.trace = trace;
    for (int i = 0; i < SIM_RULES_N; i++) {
        world.broken = world.broken || sim_broken[i];
    }
    world.stats = stats;
    world.net.state = seed * 4 + 1;
    world.disk.state = seed * 4 + 2;
    world.work.state = seed * 4 + 3;
    world.client.state = seed * 4 + 4;
    world.keeper.state = seed * 4 + 5;
    world.now = 1000000000ull;
    net_open();
}

void world_close(void)
{
    for (int i = 0; i < world.n; i++) {
        node_close(&world.nodes[i]);
    }
    for (size_t i = 0; i < world.heap_n; i++) {
        free(world.timers[world.heap[i].slot].input.data);
        world.free[i] = world.heap[i].slot;
    }
    world.heap_n = 0;
}
