/* A node's kernel: addresses that expire, the fence that compares with an absolute time, and what leaves the interface.
 *
 * A node holds an address here exactly when it would answer for it: the address is on the interface, and the fence lets
 * its packets pass. Every change that could make somebody a holder asks the oracle at once; what ends a hold needs no
 * question. */

#include <string.h>

#include "sim.h"

#define VALID_NS (6000 * MS) /* kernel.c of the daemon: with the fence, for a small table */

static bool passes(const struct sim_node *node, int address)
{
    const struct sim_kernel *kernel = &node->kernel;

    if (!RULE(N5)) {
        return true;
    }
    return !kernel->fence || !(kernel->fenced >> address & 1) || clock_own(node) < kernel->lease_end;
}

bool kernel_holds(const struct sim_node *node, int address)
{
    return node->kernel.addresses[address].present && passes(node, address);
}

static void tell(struct sim_node *node, int address)
{
    if (node->alive) {
        struct input input = {.kind = INPUT_ADDRESS, .address = address};
        node_input(node, &input);
    }
}

static void set_expiry(struct sim_node *node, int address)
{
    struct sim_address *a = &node->kernel.addresses[address];

    a->valid_until = clock_own(node) + VALID_NS;
    a->number = ++world.number;
    struct timer *timer = world_at(clock_true(node, a->valid_until) + chance_below(&world.work, 420 * MS), TIMER_EXPIRE,
                                   node->slot);
    timer->a = (uint64_t)address;
    timer->b = a->number;
}

int kernel_add(struct sim_node *node, int address, bool may_fail)
{
    struct sim_address *a = &node->kernel.addresses[address];

    if (may_fail && chance_permille(&world.work, node->add_fails)) {
        return -1;
    }
    if (!a->present) {
        a->present = true;
        tell(node, address);
    }
    set_expiry(node, address);
    world_note("add", node->slot, (uint64_t)address, 0);
    oracle_holders(address);
    return 0;
}

int kernel_del(struct sim_node *node, int address, bool may_fail)
{
    struct sim_address *a = &node->kernel.addresses[address];

    if (may_fail && chance_permille(&world.work, node->del_fails)) {
        return -1;
    }
    if (a->present) {
        a->present = false;
        tell(node, address);
    }
    world_note("del", node->slot, (uint64_t)address, 0);
    return 0;
}

void kernel_renew(struct sim_node *node, int address)
{
    if (node->kernel.addresses[address].present) {
        set_expiry(node, address);
    }
}

void kernel_expire(struct sim_node *node, int address, uint64_t number)
{
    struct sim_address *a = &node->kernel.addresses[address];

    if (a->present && a->number == number) {
        a->present = false;
        world_note("expire", node->slot, (uint64_t)address, 0);
        tell(node, address);
    }
}

void kernel_removed(struct sim_node *node, int address)
{
    if (node->kernel.addresses[address].present) {
        node->kernel.addresses[address].present = false;
        world_note("removed", node->slot, (uint64_t)address, 0);
        tell(node, address);
    }
}

void kernel_lease(struct sim_node *node, uint64_t end)
{
    node->kernel.lease_end = end;
    oracle_all_holders(node);
}

void kernel_set(struct sim_node *node, uint32_t fenced)
{
    node->kernel.fenced = fenced;
    oracle_all_holders(node);
}

/* A fence of an earlier run is replaced in one step. */
void kernel_attach(struct sim_node *node)
{
    node->kernel.fence = true;
    node->kernel.fenced = 0;
    node->kernel.lease_end = 0;
    oracle_all_holders(node);
}

/* The last deed of an orderly end. Where an address could not be removed, the fence stays, closed. */
void kernel_detach_if_released(struct sim_node *node)
{
    for (int address = 0; address < ADDRS; address++) {
        if (node->kernel.addresses[address].present) {
            return;
        }
    }
    node->kernel.fence = false;
}

void kernel_reboot(struct sim_node *node)
{
    memset(&node->kernel, 0, sizeof node->kernel);
    node->kernel.link_up = true;
}

void kernel_sent(struct sim_node *node, int address)
{
    if (!passes(node, address)) {
        return; /* dropped at the egress */
    }
    world.stats->announcements++;
    world_note("announced", node->slot, (uint64_t)address, 0);
    if (RULE(N5) && clock_own(node) >= node->kernel.lease_end) {
        world_violated(VIOLATION_SAFETY, "%c announced 10.0.0.%d without a lease", 'a' + node->slot, 100 + address);
    }
    for (int i = 0; i < world.n; i++) {
        if (i != node->slot && kernel_holds(&world.nodes[i], address)) {
            world_violated(VIOLATION_SAFETY, "%c announced 10.0.0.%d, which %c holds", 'a' + node->slot, 100 + address,
                           'a' + i);
        }
    }
    net_announce(node->slot, address);
}

/* ------------------------------------------------------------------ the daemon's hands (daemon/kernel.c) */

static bool has_vip(const struct sim_node *node, int address)
{
    struct addr addr = address_of(address);
    return table_vip_by_addr(node->table, &addr) != SLOT_NONE;
}

/* What an earlier run left behind its fence stays until the table is known (daemon/adopt.c); the rest goes at once. Whether
 * something was removed: each is a turn of its own. */
bool kernel_flush_one(struct sim_node *node)
{
    node->adopted = 0;
    for (int address = 0; address < ADDRS && RULE(N4); address++) {
        bool kept = node->kernel.fence && (node->kernel.fenced >> address & 1) && node->disk.term > 0;
        if (node->kernel.addresses[address].present && !kept) {
            (void)kernel_del(node, address, false);
            return true;
        }
        node->adopted |= node->kernel.addresses[address].present ? 1u << address : 0;
    }
    return false;
}

/* This run's fence takes the earlier one's place, in one step, with a set that has every address that is there. */
void kernel_adopt_attach(struct sim_node *node)
{
    if (node->adopted) {
        node->fenced_changed = UINT64_MAX;
        node->attached = true;
        kernel_lease(node, 0);
        kernel_table_changed(node);
    }
}

static void adopt_done(struct sim_node *node)
{
    node->adopted = 0;
    node->adopt_due = UINT64_MAX;
}

void kernel_adopt_late(struct sim_node *node)
{
    for (int address = 0; address < ADDRS && !node->caught_up; address++) {
        if (node->kernel.addresses[address].present) {
            (void)kernel_del(node, address, false);
        }
    }
    if (!node->caught_up) {
        kernel_adopt_attach(node);
        adopt_done(node);
    }
    node->adopt_due = UINT64_MAX;
}

void kernel_adopt_take(struct sim_node *node, struct event *event)
{
    static struct addr list[ADDRS];

    event->disk.n_earlier = 0;
    event->disk.earlier = list;
    for (int address = 0; address < ADDRS; address++) {
        if (!(node->adopted >> address & 1) || !node->kernel.addresses[address].present) {
            continue;
        }
        if (has_vip(node, address)) {
            list[event->disk.n_earlier++] = address_of(address);
        } else {
            (void)kernel_del(node, address, false);
        }
    }
    adopt_done(node);
}

/* What the fence knows: the VIPs of the table, and those of an earlier table whose address is still there (seed 1134). */
void kernel_table_changed(struct sim_node *node)
{
    uint32_t fenced = 0;

    if (node->fenced_changed == node->table->changed || node->phase < START_LINKS) {
        return;
    }
    node->fenced_changed = node->table->changed;
    for (int i = 0; i < node->table->vips_end; i++) {
        const struct vip *vip = &node->table->vips[i];
        int address = vip->used ? address_index(&vip->address.addr) : -1;
        if (address >= 0) {
            fenced |= 1u << address;
        }
    }
    uint32_t fresh = fenced & ~node->vips_told;
    node->vips_told = fenced;
    for (int address = 0; address < ADDRS; address++) {
        if ((node->kernel.fenced >> address & 1) && node->kernel.addresses[address].present) {
            fenced |= 1u << address;
        }
    }
    if (fenced != node->kernel.fenced && (!node->adopted || node->attached)) {
        kernel_set(node, fenced);
    }
    for (int address = 0; address < ADDRS; address++) {
        if ((fresh & ~node->adopted) >> address & 1 && node->kernel.addresses[address].present) {
            struct event event = {.type = EV_KERNEL};
            event.kernel.addr = address_of(address);
            event.kernel.present = true;
            node_event(node, &event); /* it was there before it was a VIP */
        }
    }
}

void kernel_release(struct sim_node *node)
{
    if (node->kernel.fence) {
        kernel_lease(node, 0);
    }
    for (int address = 0; address < ADDRS; address++) {
        if (node->kernel.addresses[address].present) {
            (void)kernel_del(node, address, true);
        }
    }
}
