/* Hosts outside of the cluster: strangers that have a VIP's address for a while, announce it and answer who asks for it; and
 * single packets that somebody forged, or that come late. With what must be so of how the nodes take it (N6). */

#include <string.h>

#include "sim.h"

#define STRANGER (-1)
#define LATE 30 /* ms that a forged packet may cost: three messages of up to 8.6 ms each, and heartbeats are 2 ms apart */

/* ------------------------------------------------------------------ strangers */

void foreign_mac(int who, int address, uint8_t ret[MAC_SIZE])
{
    const uint8_t mac[MAC_SIZE] = {2, who == STRANGER ? 0xee : 0, 0, 0, 0,
                                   (uint8_t)(who == STRANGER ? address + 1 : who + 1)};

    memcpy(ret, mac, MAC_SIZE);
}

static void announce_in(int address, uint64_t ns)
{
    struct timer *timer = world_at(world.now + ns, TIMER_STRANGER, -1);

    timer->a = (uint64_t)address;
    timer->b = world.strangers[address].number;
}

void foreign_comes(int address, uint64_t for_ns)
{
    struct stranger *stranger = &world.strangers[address];

    stranger->number = ++world.number;
    stranger->until = world.now + for_ns;
    world_say(-1, "a stranger has 10.0.0.%d", 100 + address);
    announce_in(address, chance_below(&world.net, world.unit));
}

static bool is_there(int address)
{
    return !world.calm && world.now < world.strangers[address].until;
}

void foreign_timer(int address, uint64_t number)
{
    if (is_there(address) && number == world.strangers[address].number) {
        net_announce(STRANGER, address);
        announce_in(address, chance_span(&world.net, world.unit / 4, 4 * world.unit));
    }
}

/* ------------------------------------------------------------------ probes (daemon/foreign.c, io/probe.c) */

void foreign_probe(struct sim_node *node, const struct action *action)
{
    const struct link *link = core_link_for(node->core, action->probe.vip);
    struct probing *probing = &node->probing[action->probe.vip];

    if (link == NULL) {
        struct event event = {.type = EV_PROBE,
                              .probe = {.vip = action->probe.vip, .moved = action->probe.moved, .failed = true}};
        node_event(node, &event);
        return;
    }
    *probing = (struct probing){.on = true, .left = PROBES_N, .at = clock_own(node), .moved = action->probe.moved,
                                .interval = action->probe.interval_ms * MS,
                                .address = address_index(&node->table->vips[action->probe.vip].address.addr)};
}

static void go_on(struct sim_node *node, int vip, uint64_t own)
{
    struct probing *probing = &node->probing[vip];

    if (!core_probing(node->core, vip)) {
        probing->on = false;
    } else if (probing->left > 0) {
        probing->left--;
        probing->at = own + probing->interval;
        probing->sent = probing->sent || node->kernel.link_up;
        if (node->kernel.link_up && is_there(probing->address)) {
            net_claim(STRANGER, node->slot, probing->address);
        }
    } else {
        struct event event = {.type = EV_PROBE,
                              .probe = {.vip = (uint16_t)vip, .moved = probing->moved, .failed = !probing->sent}};
        probing->on = false;
        if (probing->sent) {
            node->asked[vip] = probing->moved;
        }
        node_event(node, &event);
    }
}

bool foreign_probe_due(struct sim_node *node, uint64_t own)
{
    for (int vip = 0; vip < node->table->vips_end; vip++) {
        if (node->probing[vip].on && node->probing[vip].at <= own) {
            go_on(node, vip, own);
            return true;
        }
    }
    return false;
}

/* ------------------------------------------------------------------ what a node hears (io/watch.c, daemon/foreign.c) */

void foreign_heard(struct sim_node *node, int from, int address)
{
    struct event event = {.type = EV_FOREIGN, .foreign.addr = address_of(address)};
    int vip = table_vip_by_addr(node->table, &event.foreign.addr);

    if (vip == SLOT_NONE || from == node->slot ||
        (node->table->vips[vip].owner != members_slot(node->table, node->slot) && !node->kernel.addresses[address].present)) {
        return;
    }
    foreign_mac(from, address, event.foreign.mac);
    node_event(node, &event);
}

/* ------------------------------------------------------------------ what must be so */

/* A VIP that nobody held is asked for before it is taken, but for what the node owned before it started. */
void foreign_check_add(const struct sim_node *node, int vip)
{
    const struct vip *v = &node->table->vips[vip];

    if (v->fresh && !v->no_probe && node->asked[vip] != v->moved && node->kept[vip] != v->moved) {
        world_violated(VIOLATION_FOREIGN, "%c takes VIP %s, which nobody held, without asking for it", 'a' + node->slot, v->name);
    }
}

static void caught_up(struct sim_node *node)
{
    int self = members_slot(node->table, node->slot);

    for (int vip = 0; vip < node->table->vips_end; vip++) {
        const struct vip *v = &node->table->vips[vip];
        node->kept[vip] = v->used && v->owner == self ? v->moved : 0;
    }
}

/* The core is told of a claim to what this node has: it closes the gate, until a majority has acked what was sent later. The
 * acks are counted here as well, from the wire. */
void foreign_step(struct sim_node *node, const struct event *event)
{
    if (node->shut == SHUT_NEXT && node->kernel.lease_end > event->now) {
        world_violated(VIOLATION_FOREIGN, "%c keeps its gate open though another host claims what it has", 'a' + node->slot);
    }
    if (node->shut == SHUT_NEXT) {
        node->shut = SHUT;
    }
    if (event->type == EV_DISK && event->disk.caught_up && !core_caught_up(node->core)) {
        caught_up(node);
    }
    int address = event->type == EV_FOREIGN ? address_index(&event->foreign.addr) : -1;
    if (address >= 0 && node->shut == SHUT_NOT && node->kernel.addresses[address].present &&
        core_may_hold(node->core, table_vip_by_addr(node->table, &event->foreign.addr), event->now)) {
        node->shut = SHUT_NEXT;
        node->shut_since = event->now;
        node->shut_acked = 0;
    }
}

void foreign_sent(struct sim_node *node, uint64_t seq)
{
    node->sent_at[seq % SENT_KEPT] = clock_own(node);
    int self = members_slot(node->table, node->slot);
    node->shut_acked |= self < 0 ? 0 : 1u << self; /* its own ack, where it votes */
}

void foreign_acked(struct sim_node *node, const struct answer *answer)
{
    int voter = table_node_by_id(node->table, answer->from);

    if (answer->acked && answer->run == node->run && voter >= 0 &&
        node->sent_at[answer->seq % SENT_KEPT] >= node->shut_since) {
        node->shut_acked |= 1u << voter;
    }
}

void foreign_check_gate(struct sim_node *node, uint64_t end)
{
    if (node->shut != SHUT || end <= clock_own(node)) {
        return;
    }
    int self = members_slot(node->table, node->slot);
    bool alone = self >= 0 && node->table->voters == 1ull << self; /* it sends to nobody, and asks itself */
    if (!alone && __builtin_popcountll(node->shut_acked & node->table->voters) < majority_of(node->table->voters)) {
        world_violated(VIOLATION_FOREIGN, "%c opens its gate again before a majority has acked what it sent since the claim",
                       'a' + node->slot);
    }
    node->shut = SHUT_NOT;
}

/* ------------------------------------------------------------------ in the end */

/* The last entry that moved a VIP, or let a node in or not. */
static uint64_t last_move(const struct table *table)
{
    uint64_t last = 0;

    for (int vip = 0; vip < table->vips_end; vip++) {
        last = table->vips[vip].moved > last ? table->vips[vip].moved : last;
    }
    for (int i = 0; i < NODES_MAX; i++) {
        last = table->nodes[i].since > last ? table->nodes[i].since : last;
    }
    return last;
}

/* When all is well, one forged packet for each VIP: nobody may be out for longer than a round trip. A node that stays away in part
 * may be fenced or let in at any time: then once more. */
bool foreign_judged(bool held, const char *why)
{
    const struct sim_node *node = oracle_leader();

    if (node == NULL || (world.forged_at != 0 && last_move(node->table) != world.forged_after)) {
        world.forged_at = 0;
        return false;
    }
    if (world.forged_at == 0) {
        world.forged_at = world.now;
        world.forged_after = last_move(node->table);
        for (int vip = 0; vip < node->table->vips_end; vip++) {
            if (node->table->vips[vip].used && !node->table->vips[vip].yield) {
                net_announce(STRANGER, address_index(&node->table->vips[vip].address.addr));
            }
        }
    }
    if (world.now <= world.forged_at + LATE * MS) {
        return false;
    }
    if (!held) {
        world_violated(VIOLATION_LIVENESS, "%d ms after a forged packet: %s", LATE, why);
    }
    return true;
}
