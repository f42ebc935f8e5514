/* What must be so at every moment, and what must come to be so when the faults have stopped. */

#include <stdio.h>

#include "sim.h"

void oracle_holders(int address)
{
    int first = -1;

    for (int i = 0; i < world.n; i++) {
        if (!kernel_holds(&world.nodes[i], address)) {
            continue;
        }
        if (first >= 0) {
            world_violated(VIOLATION_SAFETY, "10.0.0.%d is held by %c and %c", 100 + address, 'a' + first, 'a' + i);
            return;
        }
        first = i;
    }
}

void oracle_all_holders(const struct sim_node *node)
{
    for (int address = 0; address < ADDRS; address++) {
        if (kernel_holds(node, address)) {
            oracle_holders(address);
        }
    }
}

void oracle_applied(const struct sim_node *node)
{
    uint64_t index = node->table->applied;

    if (index >= INDEX_MAX) {
        world_violated(VIOLATION_LIVENESS, "more than %d entries: somebody writes without end", INDEX_MAX);
        return;
    }
    world.newest = index > world.newest ? index : world.newest;
    keeper_check(node);
    if (index % 4 != 0) {
        return; /* a table that differs goes on to differ: a digest costs as much as all else about an entry */
    }
    uint64_t digest = table_digest(node->table) | 1;
    if (world.digests[index] == 0) {
        world.digests[index] = digest;
    } else if (world.digests[index] != digest) {
        world_violated(VIOLATION_SAFETY, "%c's table at %llu differs from what another node had there", 'a' + node->slot,
                       (unsigned long long)index);
    }
}

/* ------------------------------------------------------------------ calm */

const struct sim_node *oracle_leader(void)
{
    const struct sim_node *best = NULL;

    for (int i = 0; i < world.n; i++) {
        const struct sim_node *node = &world.nodes[i];
        if (!node->lost && node_leads(node) && core_is_leader(node->core) &&
            (best == NULL || consensus_term(node->consensus) > consensus_term(best->consensus))) {
            best = node;
        }
    }
    return best;
}

/* In the end, when the node is admitted again. */
bool oracle_could_hold(const struct sim_node *node)
{
    return !node->lost && node->alive && !node->founder_witness && node->kernel.link_up;
}

bool oracle_held(char why[200])
{
    const struct sim_node *node = oracle_leader();

    if (node == NULL) {
        snprintf(why, 200, "nobody leads");
        return false;
    }
    for (int i = 0; i < node->table->vips_end; i++) {
        const struct vip *vip = &node->table->vips[i];
        int address = address_index(&vip->address.addr);

        if (!vip->used || vip->deleted || !vip->enabled) {
            continue;
        }
        int owner = members_host_at(node->table, vip->owner);
        if ((owner < 0 || !kernel_holds(&world.nodes[owner], address)) && placed_could(node->table, i)) {
            snprintf(why, 200, "VIP %s is not held (owner %c, leader %c)", vip->name,
                     members_letter(node->table, vip->owner), 'a' + node->slot);
            return false;
        }
    }
    return true;
}

bool oracle_even(char why[200])
{
    const struct sim_node *node = oracle_leader();
    int least = ADDRS + 1, most = -1;

    if (node == NULL) {
        snprintf(why, 200, "nobody leads");
        return false;
    }
    for (int i = 0; i < world.n; i++) {
        const struct sim_node *other = &world.nodes[i];
        int slot = members_slot(node->table, i);
        if (other->lost || slot == SLOT_NONE || node->table->nodes[slot].removing) {
            continue; /* members_well */
        }
        int owns = 0;
        for (int k = 0; k < node->table->vips_end; k++) {
            owns += node->table->vips[k].used && node->table->vips[k].owner == slot;
        }
        for (int address = 0; address < ADDRS; address++) {
            struct addr addr = address_of(address);
            int vip = table_vip_by_addr(node->table, &addr);
            if (other->kernel.addresses[address].present && (vip < 0 || node->table->vips[vip].owner != slot)) {
                snprintf(why, 200, "10.0.0.%d is left on %c", 100 + address, 'a' + i);
                return false;
            }
        }
        if (node->table->nodes[slot].status != NODE_ADMITTED) {
            snprintf(why, 200, "%c is %s", 'a' + i, node_status_text(node->table->nodes[slot].status));
            return false;
        }
        if (node->table->nodes[slot].witness) {
            continue;
        }
        least = owns < least ? owns : least;
        most = owns > most ? owns : most;
    }
    for (int k = 0; k < node->table->vips_end; k++) {
        if (node->table->vips[k].used && node->table->vips[k].deleted) {
            snprintf(why, 200, "deleted VIP %s is not forgotten", node->table->vips[k].name);
            return false;
        }
    }
    if (!members_well(node->table, why) || !placed_well(node->table, why)) {
        return false;
    }
    if (most > least + 1 && !client_keeps_rules()) {
        snprintf(why, 200, "the spread is %d to %d", least, most);
        return false;
    }
    return true;
}

/* The end of a traced run that failed: the leader's table. */
void oracle_tell(void)
{
    const struct sim_node *leader = oracle_leader();

    for (int i = 0; leader != NULL && i < NODES_MAX; i++) {
        const struct node *n = &leader->table->nodes[i];
        if (n->used) {
            world_say(leader->slot, "%s: slot %d id %llu %s %s%s%s%s%s wish %d, fence %llu", n->name, i, (unsigned long long)n->id,
                      node_status_text(n->status), (leader->table->voters >> i & 1) ? "votes" : "does not vote",
                      n->listed ? "" : ", not listed", n->removing ? ", removing" : "", n->draining ? ", draining" : "",
                      n->witness ? ", witness" : "", n->wish, (unsigned long long)n->fence);
        }
    }
    for (int i = 0; leader != NULL && i < leader->table->vips_end; i++) {
        const struct vip *v = &leader->table->vips[i];
        if (v->used) {
            world_say(leader->slot, "%s: owner %c prev %c moved %llu nodes %llx%s%s%s", v->name, members_letter(leader->table, v->owner),
                      members_letter(leader->table, v->prev), (unsigned long long)v->moved, (unsigned long long)v->nodes,
                      v->enabled ? "" : ", disabled", v->deleted ? ", deleted" : "", v->pinned >= 0 ? ", pinned" : "");
        }
    }
}

void oracle_end(void)
{
    const struct sim_node *node = oracle_leader();

    if (node != NULL) {
        client_check(node->table);
    }
}
