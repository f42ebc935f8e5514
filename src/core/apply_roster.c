/* Who is a member, who gets the log, who votes (L5). docs/decisions/0013-membership.md has the whole. */

#include <stdlib.h>
#include <string.h>

#include "core/apply.h"
#include "core/detail.h"

/* ------------------------------------------------------------------ roles */

void apply_role(struct table *table, int node)
{
    struct node *at = &table->nodes[node];

    if ((table->voters >> node & 1) != 0) {
        at->role = ROLE_VOTER;
    } else {
        bool ready = at->status == NODE_ADMITTED && at->listed && !at->removing && at->wish != WISH_SPARE;
        at->role = ready ? ROLE_STANDBY : ROLE_SPARE;
    }
}

/* The set of slots that the configuration's servers are in; *ret_voters: of its voters. */
static uint64_t slots_of(const struct table *table, const struct server *servers, unsigned n, uint64_t *ret_voters)
{
    uint64_t listed = 0;

    *ret_voters = 0;
    for (unsigned i = 0; i < n; i++) {
        int slot = table_node_by_id(table, servers[i].id);

        if (slot != SLOT_NONE) {
            listed |= 1ull << slot;
            *ret_voters |= (uint64_t)servers[i].voter << slot;
        } else if (servers[i].voter) {
            abort(); /* a bug: a node is deleted only when no configuration has it */
        }
    }
    return listed;
}

void table_configure(struct table *table, uint64_t index, const struct server *servers, unsigned n)
{
    uint64_t voters, listed;

    table_skip(table, index);
    if (table->cluster_id == 0) {
        return;
    }
    listed = slots_of(table, servers, n, &voters);
    if (voters != table->voters) {
        table->voters = voters;
        table->voters_index = table->changed = index;
    }
    for (int slot = 0; slot < NODES_MAX; slot++) {
        struct node *node = &table->nodes[slot];

        if (!node->used) {
            continue;
        }
        if (node->listed != (listed >> slot & 1)) {
            node->listed = !node->listed;
            table->changed = index;
        }
        apply_role(table, slot);
    }
}

/* A configuration has neither time nor author; this entry behind it has, and says what it changed. */
void apply_voters(const struct apply *apply)
{
    struct table *table = apply->table;
    uint64_t news = table->voters ^ table->voters_told;

    if (apply->command->voters.index != table->voters_index || news == 0) {
        detail_say(apply->outcome, OUTCOME_STALE, "the voters were changed meanwhile", "", "");
        return;
    }
    for (int slot = 0; slot < NODES_MAX; slot++) {
        if ((news >> slot & 1) != 0) {
            bool votes = (table->voters >> slot & 1) != 0;
            apply_history(apply, votes ? HISTORY_VOTER : HISTORY_NO_VOTER, REASON_NEW, SLOT_NONE, slot,
                          table->nodes[slot].name);
        }
    }
    table->voters_told = table->voters;
    apply_changed(apply);
}

void apply_voting(const struct apply *apply)
{
    const struct voting *voting = &apply->command->voting;
    struct voting *now = &apply->table->voting;

    if (check_voting(apply, voting) && (now->count != voting->count || now->replace_ms != voting->replace_ms)) {
        *now = *voting;
        apply_history(apply, HISTORY_SETTINGS, REASON_NEW, SLOT_NONE, SLOT_NONE, "settings");
        apply_revised(apply);
    }
}

/* ------------------------------------------------------------------ a node comes */

/* Where a node can be: nowhere where another one is, and as the others' connections are, IPv4 or IPv6. */
static bool check_endpoint(const struct apply *apply, const struct endpoint *at, int self)
{
    if (at->addr.family == 0 || at->port == 0) {
        detail_say(apply->outcome, OUTCOME_INVALID, "a node's address has a port, like 10.1.0.4:7400", "", "");
        return false;
    }
    for (int slot = 0; slot < NODES_MAX; slot++) {
        const struct node *node = &apply->table->nodes[slot];

        if (!node->used || slot == self) {
            continue;
        }
        if (addr_equal(&node->at.addr, &at->addr) && node->at.port == at->port) {
            detail_say(apply->outcome, OUTCOME_CONFLICT, "node ", node->name, " has that address");
            return false;
        }
        if (node->at.addr.family != at->addr.family) {
            detail_say(apply->outcome, OUTCOME_INVALID, "the nodes of a cluster speak either IPv4 or IPv6; node ",
                       node->name, " speaks the other one");
            return false;
        }
    }
    return true;
}

static int free_slot(const struct table *table)
{
    for (int i = 0; i < NODES_MAX; i++) {
        int slot = (table->next_slot + i) % NODES_MAX;

        if (!table->nodes[slot].used) {
            return slot;
        }
    }
    return SLOT_NONE;
}

/* It holds nothing and votes nowhere until it has been admitted (L4). */
void apply_node_add(const struct apply *apply)
{
    struct table *table = apply->table;
    const char *name = apply->command->node_add.name;
    int slot = free_slot(table);
    struct node *node;

    if (!check_name(apply, "node", name) || !check_endpoint(apply, &apply->command->node_add.at, SLOT_NONE)) {
        return;
    }
    if (table_node_by_name(table, name) != SLOT_NONE) {
        detail_say(apply->outcome, OUTCOME_CONFLICT, "there is a node ", name,
                   " already; one whose disk was lost is removed first");
        return;
    }
    if (slot == SLOT_NONE || table->next_id == 0 || table_node_by_id(table, table->next_id) != SLOT_NONE) {
        detail_say(apply->outcome, OUTCOME_LIMIT, "a cluster has at most 64 nodes", "", "");
        return;
    }
    node = &table->nodes[slot];
    memset(node, 0, sizeof *node);
    node->used = true;
    node->id = table->next_id++;
    memcpy(node->name, name, sizeof node->name);
    node->at = apply->command->node_add.at;
    node->status = NODE_CLEARED;
    node->fence = node->since = node->added = apply->index;
    node->since_ms = apply->command->at_ms;
    table->next_slot = (int8_t)((slot + 1) % NODES_MAX);
    apply_role(table, slot);
    apply_history(apply, HISTORY_NODE_ADD, REASON_NEW, SLOT_NONE, slot, node->name);
    apply_changed(apply);
}

void apply_node_set(const struct apply *apply)
{
    const struct command *command = apply->command;
    int slot = command->node_set.node;
    bool moves = (command->node_set.set & NODE_SET_AT) != 0;
    struct node *node;

    if (!check_node_id(apply, slot, command->node_set.id) ||
        (moves && !check_endpoint(apply, &command->node_set.at, slot))) {
        return;
    }
    node = &apply->table->nodes[slot];
    if (node->removing) {
        detail_say(apply->outcome, OUTCOME_CONFLICT, "node ", node->name, " is being removed");
        return;
    }
    if (moves) {
        node->at = command->node_set.at;
    }
    if ((command->node_set.set & NODE_SET_WISH) != 0) {
        node->wish = command->node_set.wish;
        apply_role(apply->table, slot);
    }
    apply_history(apply, HISTORY_NODE_SET, REASON_NEW, SLOT_NONE, slot, node->name);
    apply_changed(apply);
}

/* ------------------------------------------------------------------ a node goes */

/* The nodes that will stay. */
static uint64_t staying(const struct table *table, int without)
{
    uint64_t nodes = 0;

    for (int slot = 0; slot < NODES_MAX; slot++) {
        if (table->nodes[slot].used && !table->nodes[slot].removing && slot != without) {
            nodes |= 1ull << slot;
        }
    }
    return nodes;
}

/* A VIP that may be on this node only would be one that may be anywhere. */
static bool check_nobodys_only(const struct apply *apply, int node)
{
    uint64_t nodes = staying(apply->table, node);

    for (int i = 0; i < apply->table->vips_end; i++) {
        const struct vip *vip = &apply->table->vips[i];

        if (vip->used && !vip->deleted && vip->nodes != 0 && (vip->nodes & nodes) == 0) {
            detail_say(apply->outcome, OUTCOME_CONFLICT, "VIP ", vip->name,
                       " may be on that node only: vipctl vip set --nodes changes it");
            return false;
        }
    }
    return true;
}

void apply_node_remove(const struct apply *apply)
{
    int slot = apply->command->node_remove.node;
    struct node *node;

    if (!check_node_id(apply, slot, apply->command->node_remove.id) || !check_nobodys_only(apply, slot)) {
        return;
    }
    node = &apply->table->nodes[slot];
    if (!node->removing) {
        node->removing = node->draining = true;
        apply_role(apply->table, slot);
        apply_history(apply, HISTORY_NODE_REMOVE, REASON_DRAIN, SLOT_NONE, slot, node->name);
        apply_changed(apply);
    }
}

static uint8_t forget_prefer(struct prefer *prefers, uint8_t n, int node)
{
    uint8_t kept = 0;

    for (int i = 0; i < n; i++) {
        if (prefers[i].node != node) {
            prefers[kept++] = prefers[i];
        }
    }
    memset(&prefers[kept], 0, (size_t)(n - kept) * sizeof prefers[0]);
    return kept;
}

/* Nothing refers to the slot any more: it will be another node's. */
void apply_forget_node(const struct apply *apply, int node)
{
    struct table *table = apply->table;

    for (int i = 0; i < table->vips_end; i++) {
        struct vip *vip = &table->vips[i];

        if (!vip->used) {
            continue;
        }
        if (vip->owner == node) {
            apply_history(apply, HISTORY_MOVE, REASON_DRAIN, node, SLOT_NONE, vip->name);
            apply_new_owner(apply, vip, SLOT_NONE, REASON_DRAIN);
        }
        vip->prev = vip->prev == node ? SLOT_NONE : vip->prev; /* it is cleared */
        vip->pinned = vip->pinned == node ? SLOT_NONE : vip->pinned;
        vip->nodes &= ~(1ull << node);
        vip->n_prefers = forget_prefer(vip->prefers, vip->n_prefers, node);
    }
    for (int group = 0; group < GROUPS_MAX; group++) {
        struct group *at = &table->groups[group];
        at->n_prefers = forget_prefer(at->prefers, at->n_prefers, node);
    }
    apply_groups_forget(apply);
    apply_maintenance_forget(apply, node);
}

/* L5: only a cleared one, and one that no configuration of Raft has. */
void apply_node_delete(const struct apply *apply)
{
    int slot = apply->command->node.node;
    struct table *table = apply->table;
    struct node *node;
    char name[NAME_SIZE];

    if (!check_node(apply, slot)) {
        return;
    }
    node = &table->nodes[slot];
    if (node->since != apply->command->node.since || (RULE(L5_DELETE) && node->status != NODE_CLEARED) ||
        node->listed || !node->removing || (table->voters >> slot & 1) != 0) {
        detail_say(apply->outcome, OUTCOME_STALE, "the status of node ", node->name, " changed meanwhile");
        return;
    }
    if (!check_nobodys_only(apply, slot)) {
        return;
    }
    apply_forget_node(apply, slot);
    apply_history(apply, HISTORY_NODE_GONE, REASON_DRAIN, SLOT_NONE, slot, node->name);
    memcpy(name, node->name, sizeof name);
    memset(node, 0, sizeof *node);
    memcpy(node->name, name, sizeof name);
    table->voters_told &= ~(1ull << slot);
    apply_revised(apply); /* preferences and sets of nodes are part of a document */
}

const char *table_name_at(const struct table *table, int slot, uint64_t index)
{
    const struct node *node = &table->nodes[slot >= 0 && slot < NODES_MAX ? slot : 0];

    if (slot < 0 || slot >= NODES_MAX || node->name[0] == '\0' || (node->used && index < node->added)) {
        return NULL;
    }
    return node->name;
}
