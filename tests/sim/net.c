/* The network: datagrams and Raft's frames, lost, late, out of order, twice; cut in one direction or both. */

#include <stdlib.h>
#include <string.h>

#include "sim.h"

void net_cut(int from, int to, unsigned channels, bool on)
{
    uint8_t by = on ? 1 : (uint8_t)-1;

    if (channels & CHANNEL_DATAGRAMS) {
        world.cut[from][to] = (uint8_t)(world.cut[from][to] + by);
    }
    if (channels & CHANNEL_FRAMES) {
        if (on && world.cut_raft[from][to] == 0) {
            world.cut_since[from][to] = world.now;
        }
        world.cut_raft[from][to] = (uint8_t)(world.cut_raft[from][to] + by);
    }
}

/* Frames go over a connection: it breaks when what is sent has not been acknowledged for USER_TIMEOUT (io/stream.c), and there is
 * no new one while either direction is cut. */
#define USER_TIMEOUT (1000 * MS)

static bool is_broken(int from, int to)
{
    return world.cut_raft[to][from] > 0 && world.now - world.cut_since[to][from] > USER_TIMEOUT;
}

static bool is_cut(int from, int to, enum input_kind kind)
{
    return kind == INPUT_DATAGRAM || kind == INPUT_ARP ? world.cut[from][to] > 0
                                                       : world.cut_raft[from][to] > 0 || is_broken(from, to);
}

/* Mostly well below a millisecond, now and then some, rarely as late as a message can be that a network has kept. */
static uint64_t delay(int from, int to)
{
    uint64_t ns = chance_span(&world.net, 50 * US, 600 * US);

    if (chance_permille(&world.net, 20)) {
        ns += chance_below(&world.net, 8 * MS);
    }
    if (!world.calm && world.late[from][to] > 0 && chance_permille(&world.net, 500)) {
        ns += chance_below(&world.net, world.late[from][to]);
    }
    if (!world.calm && chance_permille(&world.net, 2)) {
        world.stats->messages.late++;
        ns += chance_below(&world.net, 8 * world.unit);
    }
    return ns;
}

static void post(int from, int to, enum input_kind kind, const void *data, size_t len, uint64_t after_ns, int address)
{
    struct timer *timer = world_at(world.now + after_ns, TIMER_MESSAGE, to);

    timer->input = (struct input){.kind = kind, .from = from, .to_id = world.nodes[to].id, .address = address, .len = len};
    timer->input.from_id = from >= 0 ? world.nodes[from].id : 0;
    if (len > 0) {
        timer->input.data = malloc(len);
        if (timer->input.data == NULL) {
            abort();
        }
        memcpy(timer->input.data, data, len);
    }
}

/* How much later a message comes again: soon, or when its sender has started anew long ago. */
static uint64_t echo(void)
{
    return chance_below(&world.net, (chance_permille(&world.net, 300) ? 40 : 3) * world.unit);
}

/* ------------------------------------------------------------------ what was sent to earlier runs */

/* Of the datagrams of each pair the first of a run, whose numbers come again in the next one, and some of the later. */
#define KEPT_FIRST 10
#define KEPT 16

static struct
{
    struct
    {
        size_t len;
        uint8_t bytes[DATAGRAM_MAX];
    } kept[2 * KEPT]; /* of this run, of the one before */
    unsigned n;
} pairs[SIM_NODES][SIM_NODES];

void net_open(void)
{
    for (int from = 0; from < SIM_NODES; from++) {
        for (int to = 0; to < SIM_NODES; to++) {
            pairs[from][to].n = 0;
            for (int i = 0; i < 2 * KEPT; i++) {
                pairs[from][to].kept[i].len = 0;
            }
        }
    }
}

static void keep(int from, int to, const void *data, size_t len)
{
    unsigned n = pairs[from][to].n++;

    if (n >= KEPT) {
        if (n % 64 != 0) {
            return;
        }
        n = KEPT_FIRST + n / 64 % (KEPT - KEPT_FIRST);
    }
    pairs[from][to].kept[n].len = len;
    memcpy(pairs[from][to].kept[n].bytes, data, len);
}

void net_started(int to)
{
    for (int from = 0; from < world.n; from++) {
        if (pairs[from][to].n > 0) {
            memcpy(&pairs[from][to].kept[KEPT], &pairs[from][to].kept[0], sizeof pairs[from][to].kept / 2);
            pairs[from][to].n = 0;
        }
    }
}

void net_replay(int to)
{
    for (int from = 0; from < world.n; from++) {
        for (int i = KEPT; i < 2 * KEPT; i++) {
            if (pairs[from][to].kept[i].len > 0 && chance_permille(&world.net, 700)) {
                world.stats->messages.repeated++;
                post(from, to, INPUT_DATAGRAM, pairs[from][to].kept[i].bytes, pairs[from][to].kept[i].len,
                     chance_below(&world.net, 2 * world.unit), 0);
            }
        }
    }
}

/* ------------------------------------------------------------------ now */

void net_send(int from, int to, enum input_kind kind, const void *data, size_t len)
{
    world.stats->messages.sent++;
    if (kind == INPUT_DATAGRAM) {
        keep(from, to, data, len);
    }
    if (is_cut(from, to, kind) || (!world.calm && chance_permille(&world.net, world.loss))) {
        world.stats->messages.lost++;
        return;
    }
    post(from, to, kind, data, len, delay(from, to), 0);
    if (!world.calm && chance_permille(&world.net, world.repeat)) {
        world.stats->messages.repeated++;
        post(from, to, kind, data, len, delay(from, to) + echo(), 0);
    }
}

void net_announce(int from, int address)
{
    for (int to = 0; to < world.n; to++) {
        if (to == from || (from >= 0 && is_cut(from, to, INPUT_ARP))) {
            continue;
        }
        post(from, to, INPUT_ARP, NULL, 0, delay(from < 0 ? to : from, to), address);
        if (!world.calm && chance_permille(&world.net, world.repeat)) {
            post(from, to, INPUT_ARP, NULL, 0, chance_below(&world.net, 3 * world.unit), address);
        }
    }
}

void net_claim(int from, int to, int address)
{
    if (world.calm || !chance_permille(&world.net, world.loss)) {
        post(from, to, INPUT_ARP, NULL, 0, delay(to, to), address);
    }
}
