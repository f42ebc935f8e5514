/* A cluster that has lost the majority of its voters for good goes on as a cluster of one node, under a new cluster id.
 *
 * What makes it safe is a person's word that all other members are off, and that none of them comes back with its old data:
 * the leases that they had have ended with them. The new cluster id keeps them out: heartbeats and connections of
 * another cluster are not listened to, and who says that it is of the old one is told that it is gone. */

#include <stdlib.h>
#include <string.h>

#include "core/apply.h"

static void leave_out(const struct apply *apply, int node)
{
    struct node *at = &apply->table->nodes[node];
    char name[NAME_SIZE];

    at->status = NODE_CLEARED; /* by that person's word */
    apply_forget_node(apply, node);
    apply_history(apply, HISTORY_NODE_GONE, REASON_CRASH, SLOT_NONE, node, at->name);
    memcpy(name, at->name, sizeof name);
    memset(at, 0, sizeof *at);
    memcpy(at->name, name, sizeof name);
}

/* A VIP that might be on lost nodes only would be one that may be anywhere. */
static void disable_orphans(const struct apply *apply, int self)
{
    for (int i = 0; i < apply->table->vips_end; i++) {
        struct vip *vip = &apply->table->vips[i];

        if (vip->used && vip->nodes != 0 && (vip->nodes >> self & 1) == 0) {
            vip->nodes = 1ull << self;
            vip->enabled = false;
            apply_history_set(apply, REASON_DISABLED, vip, vip->name, VIP_SET_NODES | VIP_SET_ENABLED);
        }
    }
}

void table_recover(struct table *table, uint64_t index, uint64_t self, uint64_t cluster_id, int64_t at_ms)
{
    struct outcome outcome = {.code = OUTCOME_DONE, .index = index};
    struct command command = {.at_ms = at_ms, .who = "vipd --recover"};
    struct apply apply = {.table = table, .index = index, .command = &command, .outcome = &outcome};
    int slot = table_node_by_id(table, self);

    if (slot == SLOT_NONE || cluster_id == 0 || table->cluster_id == 0) {
        abort(); /* the caller has looked */
    }
    table_skip(table, index);
    apply_history(&apply, HISTORY_RECOVER, REASON_CRASH, SLOT_NONE, slot, table->nodes[slot].name);
    disable_orphans(&apply, slot);
    for (int i = 0; i < NODES_MAX; i++) {
        if (table->nodes[i].used && i != slot) {
            leave_out(&apply, i);
        }
    }
    table->former[table->n_former++ % FORMER_MAX] = table->cluster_id;
    table->cluster_id = cluster_id;
    table->voters = table->voters_told = 1ull << slot;
    table->voters_index = index;
    struct node *node = &table->nodes[slot];
    node->listed = true;
    node->removing = node->draining = node->leaving = false;
    node->wish = WISH_AUTO;
    node->status = NODE_CLEARED; /* it admits itself, under a new gen */
    node->fence = node->since = index;
    node->since_ms = at_ms;
    apply_role(table, slot);
    apply_revised(&apply);
}

bool table_was(const struct table *table, uint64_t cluster_id)
{
    for (uint64_t i = 0; i < FORMER_MAX && i < table->n_former; i++) {
        if (table->former[i] == cluster_id) {
            return true;
        }
    }
    return false;
}
