/* Who is a member: the hosts of a run, the ids that the cluster gives them, and their places in a table. What is
 * daemon/members.c and daemon/join.c in the product.
 *
 * A host has an id while its disk has one. A host whose disk was emptied, or that was removed, has none: it asks the members
 * it reaches, as `join:` does, until one of them has its name under an id that no directory has joined yet. */

#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define SERVERS_MAX 16 /* of a configuration of Raft */

/* ------------------------------------------------------------------ hosts, ids, slots */

int members_host(uint64_t id)
{
    return id > 0 && id < IDS_MAX ? world.host_of[id] - 1 : SLOT_NONE;
}

int members_host_at(const struct table *table, int slot)
{
    return slot >= 0 && table->nodes[slot].used ? members_host(table->nodes[slot].id) : SLOT_NONE;
}

int members_slot(const struct table *table, int host)
{
    uint64_t id = world.nodes[host].id;

    return id == 0 ? SLOT_NONE : table_node_by_id(table, id);
}

int members_named(const struct table *table, int host)
{
    return table_node_by_name(table, world.nodes[host].name);
}

char members_letter(const struct table *table, int slot)
{
    return slot >= 0 && table->nodes[slot].name[0] != '\0' ? table->nodes[slot].name[0] : '-';
}

void members_claim(struct sim_node *node, uint64_t id)
{
    node->id = id;
    node->identity = chance_next(&world.work) | 1;
    world.host_of[id] = (int8_t)(node->slot + 1);
    world.claimed[id] = true;
}

/* The disk is empty from now on. The process has ended. */
void members_wipe(struct sim_node *node)
{
    world_note("wiped", node->slot, node->id, 0);
    disk_close(&node->disk);
    if (node->id != 0) {
        world.host_of[node->id] = 0;
    }
    node->id = 0;
}

/* ------------------------------------------------------------------ who may speak */

static bool was_removed(const struct sim_node *node, uint64_t id)
{
    return !table_may_have(node->table, id);
}

/* Whether the node takes what comes over a connection: it is between the two directories that there are now, and the node has
 * not refused the other one's hello. */
bool members_connected(const struct sim_node *node, const struct input *input)
{
    if (input->to_id != node->id || members_host(input->from_id) != input->from) {
        return false;
    }
    return table_may_have(node->table, input->from_id);
}

/* ------------------------------------------------------------------ from time to time */

static bool reaches(const struct sim_node *node, const struct sim_node *other)
{
    return other != node && other->alive && other->phase == STARTED && other->table->cluster_id != 0 &&
           world.now >= other->stalled_until && world.cut_raft[node->slot][other->slot] == 0 &&
           world.cut_raft[other->slot][node->slot] == 0;
}

/* As daemon/join.c: the member that answers says which id it has for the name. */
static void ask_who_i_am(struct sim_node *node, const struct sim_node *member)
{
    int slot = members_named(member->table, node->slot);
    uint64_t id = slot == SLOT_NONE ? 0 : member->table->nodes[slot].id;

    if (id == 0 || id >= IDS_MAX || world.claimed[id]) {
        return; /* not added, or another directory is on record */
    }
    members_claim(node, id);
    world.stats->joined++;
    world_note("joins", node->slot, id, 0);
    node_start(node);
}

/* It calls everybody it knows of; who has its id in the table no more says so. */
static void ask_whether_i_am(struct sim_node *node, const struct sim_node *member)
{
    if (was_removed(member, node->id)) {
        struct input input = {.kind = INPUT_GONE};
        node_input(node, &input);
    }
}

void members_timer(struct sim_node *node)
{
    uint64_t pause = chance_span(&world.work, world.unit / 4, world.unit);

    world_at(world.now + pause, TIMER_MEMBER, node->slot);
    if (node->lost && world.calm) {
        return;
    }
    for (int i = 0, at = (int)chance_below(&world.work, (uint64_t)world.n); i < world.n; i++) {
        const struct sim_node *member = &world.nodes[(at + i) % world.n];
        if (!reaches(node, member)) {
            continue;
        }
        if (node->id == 0) {
            ask_who_i_am(node, member);
        } else if (node->alive && node->phase == STARTED) {
            ask_whether_i_am(node, member);
        }
        return;
    }
}

/* The node's own table has it no more. */
void members_table_changed(struct sim_node *node)
{
    bool is_member = table_node_by_id(node->table, node->id) != SLOT_NONE;

    if (node->was_member && !is_member) {
        struct input input = {.kind = INPUT_GONE};
        node_input(node, &input);
    }
    node->was_member = node->was_member || is_member;
}

/* The process was told that it is no member any more, and has ended. Somebody empties the disk, now or after its supervisor has
 * tried again. */
void members_gone(struct sim_node *node)
{
    world.stats->removed++;
    if (chance_permille(&world.work, 700)) {
        members_wipe(node);
    }
    node->gone = false;
}

/* ------------------------------------------------------------------ majorities */

/* The leader may be about to make a voter of one that goes in this very moment, which it cannot know. */
static bool has_majority(const struct consensus_server *servers, unsigned n, unsigned without)
{
    unsigned voters = 0, left = 0, about_to_vote = 0;

    for (unsigned i = 0; i < n; i++) {
        int host = members_host(servers[i].id);
        if (servers[i].role == CONSENSUS_VOTER) {
            voters++;
            left += host >= 0 && !(without >> host & 1);
        } else if (host >= 0 && (without >> host & 1)) {
            about_to_vote = 1;
        }
    }
    return voters == 0 || left > (voters + about_to_vote) / 2;
}

static bool encoded_has_majority(const void *data, size_t len, unsigned without)
{
    struct consensus_server servers[SERVERS_MAX];
    unsigned n;

    return consensus_servers_in(data, len, servers, SERVERS_MAX, &n) != 0 || has_majority(servers, n, without);
}

/* Whether a majority of the voters is left without those hosts, by every configuration that is on any disk or in any log: one
 * of them is the cluster's, now or soon. */
bool members_majority_without(unsigned without)
{
    for (int i = 0; i < world.n; i++) {
        const struct sim_node *node = &world.nodes[i];
        const struct sim_disk *disk = &node->disk;
        struct consensus_server servers[SERVERS_MAX];
        if (node->id == 0) {
            continue;
        }
        if (node->alive && node->consensus != NULL &&
            !has_majority(servers, consensus_servers(node->consensus, servers, SERVERS_MAX), without)) {
            return false;
        }
        if (disk->snapshot.index != 0 &&
            !encoded_has_majority(disk->snapshot.configuration, disk->snapshot.configuration_len, without)) {
            return false;
        }
        for (size_t k = 0; k < disk->n; k++) {
            const struct sim_record *record = &disk->records[k];
            if (record->type == CONSENSUS_CHANGE && !encoded_has_majority(record->data, record->len, without)) {
                return false;
            }
        }
    }
    return true;
}

/* ------------------------------------------------------------------ in the end */

static bool is_there(int host)
{
    return host >= 0 && !world.nodes[host].lost && world.nodes[host].alive;
}

/* A voter that is being removed stays as long as there would be no majority without it. */
bool members_must_stay(const struct table *table, int slot)
{
    uint64_t left = table->voters & ~(1ull << slot);
    int there = 0;

    for (int v = 0; v < NODES_MAX; v++) {
        there += (left >> v & 1) && is_there(members_host_at(table, v));
    }
    return (table->voters >> slot & 1) && there <= __builtin_popcountll(left) / 2;
}

/* A standby that could take a voter's place. */
static bool has_reserve(const struct table *table)
{
    for (int i = 0; i < NODES_MAX; i++) {
        const struct node *node = &table->nodes[i];
        if (is_there(members_host_at(table, i)) && node->role == ROLE_STANDBY && !node->draining && !node->leaving) {
            return true;
        }
    }
    return false;
}

/* Every host is a member, but for those that stay away; who was to be removed is gone; and voters that will not come back have
 * been replaced. */
bool members_well(const struct table *table, char why[200])
{
    for (int i = 0; i < NODES_MAX; i++) {
        const struct node *node = &table->nodes[i];
        int host = members_host_at(table, i);
        if (!node->used) {
            continue;
        }
        if (node->removing && !members_must_stay(table, i)) {
            snprintf(why, 200, "%s is still not removed", node->name);
            return false;
        }
        if (!node->listed && !node->removing) {
            snprintf(why, 200, "%s is in no configuration", node->name);
            return false;
        }
        if (host < 0 && !node->removing && !world.nodes[node->name[0] - 'a'].lost) {
            snprintf(why, 200, "%s has not joined", node->name);
            return false;
        }
        bool dead = host >= 0 && world.nodes[host].lost && (!world.nodes[host].alive || world.nodes[host].stalled_until > world.now);
        if (dead && (table->voters >> i & 1) && has_reserve(table)) {
            snprintf(why, 200, "voter %s is gone for good, and no standby has taken its place", node->name);
            return false;
        }
    }
    for (int host = 0; host < world.n; host++) {
        if (!world.nodes[host].lost && members_slot(table, host) == SLOT_NONE) {
            snprintf(why, 200, "%c is no member", 'a' + host);
            return false;
        }
    }
    return true;
}
