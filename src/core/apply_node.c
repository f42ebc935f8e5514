/* Commands about nodes and about the cluster as a whole. */

#include <stdio.h>
#include <string.h>

#include "core/apply.h"
#include "core/detail.h"
#include "core/upgrade.h"

/* ------------------------------------------------------------------ the founding */

static bool check_founders(const struct apply *apply)
{
    const struct found_node *nodes = apply->command->found.nodes;
    unsigned n = apply->command->found.n_nodes;
    unsigned voters = 0;

    for (unsigned i = 0; i < n; i++) {
        if (!check_name(apply, "node", nodes[i].name)) {
            return false;
        }
        voters += nodes[i].role == ROLE_VOTER;
        for (unsigned k = 0; k < i; k++) {
            if (nodes[k].id == nodes[i].id || strcmp(nodes[k].name, nodes[i].name) == 0) {
                detail_say(apply->outcome, OUTCOME_INVALID, "node ", nodes[i].name, " is named twice");
                return false;
            }
        }
        if (nodes[i].id == 0) {
            detail_say(apply->outcome, OUTCOME_INVALID, "node ", nodes[i].name, " has no id");
            return false;
        }
    }
    if (voters < 1 || voters > VOTERS_MAX || n > NODES_MAX) {
        detail_say(apply->outcome, OUTCOME_LIMIT, "a cluster has 1 to 7 voters and at most 64 nodes", "", "");
        return false;
    }
    return true;
}

static void found_node(const struct apply *apply, int slot, const struct found_node *from)
{
    struct node *node = &apply->table->nodes[slot];

    memset(node, 0, sizeof *node);
    node->used = true;
    node->id = from->id;
    memcpy(node->name, from->name, sizeof node->name);
    node->at = from->at;
    node->listed = true;
    node->status = NODE_CLEARED; /* until it reports that it stands at its addition (L4) */
    node->fence = node->since = node->added = apply->index;
    node->since_ms = apply->command->at_ms;
    if (from->role == ROLE_VOTER) {
        apply->table->voters |= 1ull << slot;
    }
    apply->table->next_id = from->id >= apply->table->next_id ? from->id + 1 : apply->table->next_id;
    apply_role(apply->table, slot);
}

/* As many voters as were founded, made odd. */
static uint8_t voters_wanted(uint64_t voters)
{
    int n = __builtin_popcountll(voters) | 1;

    return (uint8_t)(n < 3 ? 3 : n);
}

void apply_found(const struct apply *apply)
{
    const struct command *command = apply->command;
    struct table *table = apply->table;

    if (table->cluster_id != 0) {
        detail_say(apply->outcome, OUTCOME_STALE, "cluster ", table->cluster, " is founded already");
        return;
    }
    if (command->found.cluster_id == 0) {
        detail_say(apply->outcome, OUTCOME_INVALID, "a cluster's id is not zero", "", "");
        return;
    }
    if (!check_name(apply, "cluster", command->found.cluster) || !check_timing(apply, &command->found.timing) ||
        !check_settings(apply, &command->found.settings) || !check_founders(apply)) {
        return;
    }
    memcpy(table->cluster, command->found.cluster, sizeof table->cluster);
    table->cluster_id = command->found.cluster_id;
    table->format = command->format ? command->format : FORMAT_FIRST; /* the founding's own */
    table->timing = command->found.timing;
    table->settings = command->found.settings;
    for (int i = 0; i < command->found.n_nodes; i++) {
        found_node(apply, i, &command->found.nodes[i]);
    }
    table->voters_index = apply->index;
    table->voters_told = table->voters;
    table->voting = (struct voting){.count = voters_wanted(table->voters), .replace_ms = VOTER_REPLACE_MS};
    table->next_slot = (int8_t)(command->found.n_nodes % NODES_MAX);
    apply_history(apply, HISTORY_FOUND, REASON_NEW, SLOT_NONE, SLOT_NONE, table->cluster);
    apply_changed(apply);
}

/* ------------------------------------------------------------------ fence, clear, admit */

static void set_status(const struct apply *apply, int slot, enum node_status status, enum history_kind kind)
{
    struct node *node = &apply->table->nodes[slot];

    node->status = status;
    node->since = apply->index;
    node->since_ms = apply->command->at_ms;
    apply_role(apply->table, slot);
    apply_history(apply, kind, REASON_NEW, SLOT_NONE, slot, node->name);
    apply_changed(apply);
}

static void stale_node(const struct apply *apply, int slot)
{
    detail_say(apply->outcome, OUTCOME_STALE, "the status of node ", apply->table->nodes[slot].name,
               " changed meanwhile");
}

/* The moves that follow from a fence are in the same entry (L1), and see the node as fenced. */
void apply_fence(const struct apply *apply)
{
    int slot = apply->command->fence.node;
    struct node *node;

    if (!check_node(apply, slot)) {
        return;
    }
    node = &apply->table->nodes[slot];
    if (node->status != NODE_ADMITTED || (RULE(L0) && node->gen != apply->command->fence.gen)) {
        return stale_node(apply, slot);
    }
    set_status(apply, slot, NODE_FENCED, HISTORY_FENCE);
    node->fence = apply->index;
    (void)apply_moves(apply, apply->command->fence.moves, apply->command->fence.n_moves);
}

void apply_clear(const struct apply *apply)
{
    int slot = apply->command->node.node;
    struct table *table = apply->table;

    if (!check_node(apply, slot)) {
        return;
    }
    if (table->nodes[slot].status != NODE_FENCED ||
        (RULE(L0) && table->nodes[slot].since != apply->command->node.since)) {
        return stale_node(apply, slot);
    }
    set_status(apply, slot, NODE_CLEARED, HISTORY_CLEAR);
    for (int i = 0; i < table->vips_end; i++) {
        if (table->vips[i].used && table->vips[i].prev == slot) {
            table->vips[i].prev = SLOT_NONE;
        }
    }
}

/* A fenced node may come back without a clear: where `prev` names it, its own `released` settles the move. */
void apply_admit(const struct apply *apply)
{
    int slot = apply->command->node.node;
    struct node *node;

    if (!check_node(apply, slot)) {
        return;
    }
    node = &apply->table->nodes[slot];
    if (node->status == NODE_ADMITTED || (RULE(L0) && node->since != apply->command->node.since)) {
        return stale_node(apply, slot);
    }
    set_status(apply, slot, NODE_ADMITTED, HISTORY_ADMIT);
    node->gen = RULE(L4_GEN) || node->gen == 0 ? apply->index : node->gen;
}

/* ------------------------------------------------------------------ what a node says of itself */

static bool up_in(const struct link *links, unsigned n, const char *name)
{
    for (unsigned i = 0; i < n; i++) {
        if (strcmp(links[i].name, name) == 0) {
            return links[i].up;
        }
    }
    return false;
}

static bool same_ups(const struct link *a, unsigned n_a, const struct link *b, unsigned n_b)
{
    for (unsigned i = 0; i < n_a; i++) {
        if (a[i].up && !up_in(b, n_b, a[i].name)) {
            return false;
        }
    }
    for (unsigned i = 0; i < n_b; i++) {
        if (b[i].up && !up_in(a, n_a, b[i].name)) {
            return false;
        }
    }
    return true;
}

static bool same_links(const struct link *a, unsigned n_a, const struct link *b, unsigned n_b)
{
    if (n_a != n_b) {
        return false;
    }
    for (unsigned i = 0; i < n_a; i++) {
        if (a[i].up != b[i].up || a[i].n_prefixes != b[i].n_prefixes || strcmp(a[i].name, b[i].name) != 0 ||
            memcmp(a[i].mac, b[i].mac, MAC_SIZE) != 0) {
            return false;
        }
        for (int k = 0; k < a[i].n_prefixes; k++) {
            if (a[i].prefixes[k].len != b[i].prefixes[k].len ||
                !addr_equal(&a[i].prefixes[k].addr, &b[i].prefixes[k].addr)) {
                return false;
            }
        }
    }
    return true;
}

static void report_links(const struct apply *apply, int slot)
{
    const struct command *command = apply->command;
    struct node *node = &apply->table->nodes[slot];

    if (same_links(node->links, node->n_links, command->report.links, command->report.n_links)) {
        return;
    }
    if (node->identity != 0 &&
        !same_ups(node->links, node->n_links, command->report.links, command->report.n_links)) {
        apply_history(apply, HISTORY_LINKS, REASON_NEW, SLOT_NONE, slot, node->name);
    }
    memset(node->links, 0, sizeof node->links);
    memcpy(node->links, command->report.links, command->report.n_links * sizeof node->links[0]);
    node->n_links = command->report.n_links;
    apply_changed(apply);
}

void apply_report(const struct apply *apply)
{
    const struct command *command = apply->command;
    int slot = command->report.node;
    struct node *node;

    if (!check_node_id(apply, slot, command->report.id)) {
        return;
    }
    node = &apply->table->nodes[slot];
    if (command->report.identity == 0 || (node->identity != 0 && node->identity != command->report.identity)) {
        detail_say(apply->outcome, OUTCOME_INVALID, "node ", node->name,
                   " speaks from another data directory than the one it joined with");
        return;
    }
    if (command->report.n_links > LINKS_MAX) {
        detail_say(apply->outcome, OUTCOME_LIMIT, "node ", node->name, " reports more than 16 interfaces");
        return;
    }
    report_links(apply, slot);
    if (node->identity == 0 || node->witness != command->report.witness ||
        node->reads_first != command->report.reads_first || node->reads_last != command->report.reads_last ||
        strcmp(node->version, command->report.version) != 0) {
        node->reads_first = command->report.reads_first;
        node->reads_last = command->report.reads_last;
        node->identity = command->report.identity;
        node->witness = command->report.witness;
        memcpy(node->version, command->report.version, sizeof node->version);
        apply_changed(apply);
    }
    if (node->leaving && node->leaving_run != command->report.run) {
        node->leaving = false;
        node->leaving_run = 0;
        apply_history(apply, HISTORY_RETURN, REASON_NEW, SLOT_NONE, slot, node->name);
        apply_changed(apply);
    }
}

/* ------------------------------------------------------------------ drain, leave, settings */

void apply_drain(const struct apply *apply)
{
    int slot = apply->command->drain.node;
    bool on = apply->command->drain.on;
    struct node *node;

    if (!check_node_id(apply, slot, apply->command->drain.id)) {
        return;
    }
    node = &apply->table->nodes[slot];
    if (node->removing && !on) {
        detail_say(apply->outcome, OUTCOME_CONFLICT, "node ", node->name, " is being removed");
        return;
    }
    if (node->draining != on) {
        node->draining = on;
        apply_history(apply, on ? HISTORY_DRAIN : HISTORY_UNDRAIN, REASON_DRAIN, SLOT_NONE, slot, node->name);
        apply_changed(apply);
    }
}

void apply_leave(const struct apply *apply)
{
    int slot = apply->command->leave.node;
    struct node *node;

    if (!check_node_id(apply, slot, apply->command->leave.id)) {
        return;
    }
    node = &apply->table->nodes[slot];
    if (!node->leaving || node->leaving_run != apply->command->leave.run) {
        node->leaving = true;
        node->leaving_run = apply->command->leave.run;
        apply_history(apply, HISTORY_LEAVE, REASON_DRAIN, SLOT_NONE, slot, node->name);
        apply_changed(apply);
    }
}

void apply_settings(const struct apply *apply)
{
    const struct settings *settings = &apply->command->settings;
    struct settings *now = &apply->table->settings;

    if (!check_settings(apply, settings)) {
        return;
    }
    if (!settings_equal(now, settings)) {
        *now = *settings;
        apply_history(apply, HISTORY_SETTINGS, REASON_NEW, SLOT_NONE, SLOT_NONE, "settings");
        apply_revised(apply);
    }
}

/* ------------------------------------------------------------------ format */

/* Also where this node does not read the new one: its table stands as everybody's does, and whoever applies it stops. */
void apply_format(const struct apply *apply)
{
    struct table *table = apply->table;
    uint32_t format = apply->command->upgrade.format;
    char text[12];
    int slot;

    if (apply->command->upgrade.was != table->format || format <= table->format ||
        format_common(table, &slot) < format) {
        detail_say(apply->outcome, OUTCOME_STALE, "not every node reads that format", "", "");
        return;
    }
    table->format = format;
    snprintf(text, sizeof text, "%u", format);
    apply_history(apply, HISTORY_FORMAT, REASON_NEW, SLOT_NONE, SLOT_NONE, text);
    apply_changed(apply);
}
