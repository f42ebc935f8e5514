#include "wire/command.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "core/upgrade.h"
#include "wire/pack.h"
#include "wire/pack_table.h"

#define HEAD_VALUES 6
#define MOVE_FIELDS 4
#define FOUND_FIELDS 5
#define CONFLICT_FIELDS 4
#define ITEM_VALUES 3
#define GROUP_VALUES 5
#define NODE_VALUES 3
#define VOTING_VALUES 2
#define CHECK_VALUES 3
#define TURN_VALUES 2

/* How many fields the body of a type has; 0 for what is not a type. */
static uint32_t body_values(uint64_t type)
{
    static const uint8_t VALUES[] = {
        [COMMAND_FOUND] = 5,      [COMMAND_FENCE] = 3,      [COMMAND_CLEAR] = 3,       [COMMAND_ADMIT] = 3,
        [COMMAND_MOVE] = 1,       [COMMAND_VIP_ADD] = 1,    [COMMAND_VIP_SET] = 4,     [COMMAND_VIP_DELETE] = 1,
        [COMMAND_VIP_PURGE] = 1,  [COMMAND_NODE_REPORT] = 9, [COMMAND_DRAIN] = 3,      [COMMAND_LEAVE] = 3,
        [COMMAND_SETTINGS] = 1,   [COMMAND_GROUP_SET] = 5,  [COMMAND_CONFLICT] = 3,
        [COMMAND_APPLY] = 10,
        [COMMAND_NODE_ADD] = 3,   [COMMAND_NODE_SET] = 6,   [COMMAND_NODE_REMOVE] = 2, [COMMAND_NODE_DELETE] = 3,
        [COMMAND_VOTERS] = 1,     [COMMAND_VOTING] = 2,
        [COMMAND_CHECK_SET] = 2,  [COMMAND_CHECK_DELETE] = 2, [COMMAND_HEALTH] = 5,
        [COMMAND_MAINTENANCE] = 18,
        [COMMAND_FORMAT] = 2,
#if VIPD_PRETEND_FORMAT
        [COMMAND_MARK] = 1,
#endif
    };

    return type < sizeof VALUES ? VALUES[type] : 0;
}

/* ------------------------------------------------------------------ encoding */

/* Four numbers a move, without a header of its own: there may be one for each VIP. */
static void pack_moves(struct packer *packer, const struct move *moves, uint32_t n)
{
    pack_array(packer, (size_t)n * MOVE_FIELDS);
    for (uint32_t i = 0; i < n; i++) {
        pack_uint(packer, moves[i].vip);
        pack_int(packer, moves[i].to);
        pack_uint(packer, moves[i].reason);
        pack_uint(packer, moves[i].moved);
    }
}

static void pack_found(struct packer *packer, const struct command *command)
{
    pack_text(packer, command->found.cluster);
    pack_uint(packer, command->found.cluster_id);
    pack_timing(packer, &command->found.timing);
    pack_settings(packer, &command->found.settings);
    pack_array(packer, (size_t)command->found.n_nodes * FOUND_FIELDS);
    for (int i = 0; i < command->found.n_nodes; i++) {
        const struct found_node *node = &command->found.nodes[i];

        pack_uint(packer, node->id);
        pack_text(packer, node->name);
        pack_endpoint(packer, &node->at);
        pack_uint(packer, node->role);
    }
}

static void pack_report(struct packer *packer, const struct command *command)
{
    pack_int(packer, command->report.node);
    pack_uint(packer, command->report.id);
    pack_uint(packer, command->report.identity);
    pack_uint(packer, command->report.run);
    pack_bool(packer, command->report.witness);
    pack_links(packer, command->report.links, command->report.n_links);
    pack_text(packer, command->report.version);
    pack_uint(packer, command->report.reads_first);
    pack_uint(packer, command->report.reads_last);
}

static void pack_conflict(struct packer *packer, const struct command *command)
{
    pack_int(packer, command->conflict.node);
    pack_uint(packer, command->conflict.id);
    pack_array(packer, (size_t)command->conflict.n_items * CONFLICT_FIELDS);
    for (uint32_t i = 0; i < command->conflict.n_items; i++) {
        const struct conflict_item *item = &command->conflict.items[i];

        pack_uint(packer, item->vip);
        pack_uint(packer, item->moved);
        pack_uint(packer, item->kind);
        pack_mac(packer, item->mac);
    }
}

static void pack_apply(struct packer *packer, const struct apply_command *apply)
{
    pack_uint(packer, apply->revision);
    pack_text(packer, apply->source);
    pack_array(packer, apply->has_settings);
    if (apply->has_settings) {
        pack_settings(packer, &apply->settings);
    }
    pack_array(packer, apply->has_voting ? VOTING_VALUES : 0);
    if (apply->has_voting) {
        pack_uint(packer, apply->voting.count);
        pack_uint(packer, apply->voting.replace_ms);
    }
    pack_array(packer, (size_t)apply->n_checks * CHECK_VALUES);
    for (uint32_t i = 0; i < apply->n_checks; i++) {
        pack_uint(packer, apply->checks[i].slot);
        pack_bool(packer, apply->checks[i].gone);
        pack_check(packer, &apply->checks[i].spec);
    }
    pack_array(packer, (size_t)apply->n_vips * ITEM_VALUES);
    for (uint32_t i = 0; i < apply->n_vips; i++) {
        pack_uint(packer, apply->vips[i].slot);
        pack_uint(packer, apply->vips[i].set);
        pack_spec(packer, &apply->vips[i].spec);
    }
    pack_moves(packer, apply->deletes, apply->n_deletes);
    pack_array(packer, (size_t)apply->n_groups * GROUP_VALUES);
    for (uint32_t i = 0; i < apply->n_groups; i++) {
        pack_text(packer, apply->groups[i].name);
        pack_uint(packer, apply->groups[i].checks);
        pack_uint(packer, apply->groups[i].failback);
        pack_prefers(packer, apply->groups[i].prefers, apply->groups[i].n_prefers);
        pack_hooks(packer, apply->groups[i].hooks);
    }
    pack_array(packer, (size_t)apply->n_nodes * NODE_VALUES);
    for (uint32_t i = 0; i < apply->n_nodes; i++) {
        pack_int(packer, apply->nodes[i].node);
        pack_uint(packer, apply->nodes[i].id);
        pack_uint(packer, apply->nodes[i].capacity);
    }
    pack_bytes(packer, apply->kept, apply->kept_size);
}

static void pack_node_set(struct packer *packer, const struct command *command)
{
    pack_int(packer, command->node_set.node);
    pack_uint(packer, command->node_set.id);
    pack_uint(packer, command->node_set.set);
    pack_endpoint(packer, &command->node_set.at);
    pack_uint(packer, command->node_set.wish);
}

static void pack_maintenance(struct packer *packer, const struct maintenance_command *m)
{
    pack_uint(packer, m->op);
    pack_uint(packer, m->run);
    pack_uint(packer, m->step);
    pack_uint(packer, m->from);
    pack_uint(packer, m->to);
    pack_uint(packer, m->runner);
    pack_uint(packer, m->node_run);
    pack_int(packer, m->status);
    pack_uint(packer, m->again);
    pack_text(packer, m->why);
    pack_text(packer, m->tail);
    pack_bool(packer, m->restart);
    pack_bool(packer, m->force);
    pack_uint(packer, m->settle_ms);
    pack_uint(packer, m->drain_ms);
    pack_uint(packer, m->return_ms);
    pack_bytes(packer, m->words, m->words_size);
    pack_array(packer, (size_t)m->n_nodes * TURN_VALUES);
    for (int i = 0; i < m->n_nodes; i++) {
        pack_int(packer, m->nodes[i]);
        pack_uint(packer, m->ids[i]);
    }
}

static void pack_body(struct packer *packer, const struct command *command)
{
    switch (command->type) {
    case COMMAND_FOUND:
        pack_found(packer, command);
        break;
    case COMMAND_FENCE:
        pack_int(packer, command->fence.node);
        pack_uint(packer, command->fence.gen);
        pack_moves(packer, command->fence.moves, command->fence.n_moves);
        break;
    case COMMAND_CLEAR:
    case COMMAND_ADMIT:
    case COMMAND_NODE_DELETE:
        pack_int(packer, command->node.node);
        pack_uint(packer, command->node.fence);
        pack_uint(packer, command->node.since);
        break;
    case COMMAND_MOVE:
        pack_moves(packer, command->move.moves, command->move.n_moves);
        break;
    case COMMAND_VIP_ADD:
        pack_array(packer, command->vip_add.n_vips);
        for (uint32_t i = 0; i < command->vip_add.n_vips; i++) {
            pack_spec(packer, &command->vip_add.vips[i]);
        }
        break;
    case COMMAND_VIP_SET:
        pack_uint(packer, command->vip_set.vip);
        pack_text(packer, command->vip_set.name);
        pack_uint(packer, command->vip_set.set);
        pack_spec(packer, &command->vip_set.spec);
        break;
    case COMMAND_VIP_DELETE:
    case COMMAND_VIP_PURGE:
        pack_moves(packer, command->vip_del.vips, command->vip_del.n_vips);
        break;
    case COMMAND_NODE_REPORT:
        pack_report(packer, command);
        break;
    case COMMAND_DRAIN:
        pack_int(packer, command->drain.node);
        pack_uint(packer, command->drain.id);
        pack_bool(packer, command->drain.on);
        break;
    case COMMAND_LEAVE:
        pack_int(packer, command->leave.node);
        pack_uint(packer, command->leave.id);
        pack_uint(packer, command->leave.run);
        break;
    case COMMAND_SETTINGS:
        pack_settings(packer, &command->settings);
        break;
    case COMMAND_GROUP_SET:
        pack_text(packer, command->group.name);
        pack_uint(packer, command->group.checks);
        pack_uint(packer, command->group.failback);
        pack_prefers(packer, command->group.prefers, command->group.n_prefers);
        pack_hooks(packer, command->group.hooks);
        break;
    case COMMAND_CONFLICT:
        pack_conflict(packer, command);
        break;
    case COMMAND_APPLY:
        pack_apply(packer, &command->apply);
        break;
    case COMMAND_NODE_ADD:
        pack_text(packer, command->node_add.name);
        pack_endpoint(packer, &command->node_add.at);
        break;
    case COMMAND_NODE_SET:
        pack_node_set(packer, command);
        break;
    case COMMAND_NODE_REMOVE:
        pack_int(packer, command->node_remove.node);
        pack_uint(packer, command->node_remove.id);
        break;
    case COMMAND_VOTERS:
        pack_uint(packer, command->voters.index);
        break;
    case COMMAND_VOTING:
        pack_uint(packer, command->voting.count);
        pack_uint(packer, command->voting.replace_ms);
        break;
    case COMMAND_CHECK_SET:
    case COMMAND_CHECK_DELETE:
        pack_uint(packer, command->check.changed);
        pack_check(packer, &command->check.spec);
        break;
    case COMMAND_HEALTH:
        pack_int(packer, command->health.node);
        pack_uint(packer, command->health.id);
        pack_uint(packer, command->health.checks);
        pack_uint(packer, command->health.passing);
        pack_uint(packer, command->health.failing);
        break;
    case COMMAND_MAINTENANCE:
        pack_maintenance(packer, &command->maintenance);
        break;
    case COMMAND_FORMAT:
        pack_uint(packer, command->upgrade.was);
        pack_uint(packer, command->upgrade.format);
        break;
#if VIPD_PRETEND_FORMAT
    case COMMAND_MARK:
        pack_text(packer, command->mark);
        break;
#endif
    }
}

static bool spec_fits(const struct vip_spec *spec)
{
    return spec->n_prefers <= PREFERS_MAX && spec->n_apart <= APART_MAX;
}

static bool apply_fits(const struct apply_command *apply)
{
    for (uint32_t i = 0; i < apply->n_vips && i < VIPS_MAX; i++) {
        if (!spec_fits(&apply->vips[i].spec)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < apply->n_groups && i < GROUPS_MAX; i++) {
        if (apply->groups[i].n_prefers > PREFERS_MAX) {
            return false;
        }
    }
    return apply->n_vips <= VIPS_MAX && apply->n_deletes <= VIPS_MAX && apply->n_groups <= GROUPS_MAX && apply->n_nodes <= NODES_MAX &&
           apply->n_checks <= CHECKS_MAX && apply->kept_size <= KEPT_BYTES_MAX;
}

/* Whether every count is within its array. */
static bool fits(const struct command *command)
{
    if (command->type == COMMAND_FOUND) {
        return command->found.n_nodes <= NODES_MAX;
    }
    if (command->type == COMMAND_FENCE) {
        return command->fence.n_moves <= VIPS_MAX;
    }
    if (command->type == COMMAND_MOVE) {
        return command->move.n_moves <= VIPS_MAX;
    }
    if (command->type == COMMAND_VIP_DELETE || command->type == COMMAND_VIP_PURGE) {
        return command->vip_del.n_vips <= VIPS_MAX;
    }
    if (command->type == COMMAND_APPLY) {
        return apply_fits(&command->apply);
    }
    if (command->type == COMMAND_CONFLICT) {
        return command->conflict.n_items <= CONFLICTS_MAX;
    }
    if (command->type == COMMAND_MAINTENANCE) {
        return command->maintenance.n_nodes <= NODES_MAX && command->maintenance.words_size <= MAINTENANCE_WORDS_MAX;
    }
    if (command->type == COMMAND_VIP_SET) {
        return spec_fits(&command->vip_set.spec);
    }
    if (command->type == COMMAND_VIP_ADD) {
        for (uint32_t i = 0; i < command->vip_add.n_vips && i < VIPS_MAX; i++) {
            if (!spec_fits(&command->vip_add.vips[i])) {
                return false;
            }
        }
        return command->vip_add.n_vips <= VIPS_MAX;
    }
    if (command->type == COMMAND_NODE_REPORT) {
        for (int i = 0; i < command->report.n_links && i < LINKS_MAX; i++) {
            if (command->report.links[i].n_prefixes > LINK_PREFIXES_MAX) {
                return false;
            }
        }
        return command->report.n_links <= LINKS_MAX;
    }
    return command->type != COMMAND_GROUP_SET || command->group.n_prefers <= PREFERS_MAX;
}

/* ------------------------------------------------------------------ decoding */

/* The bytes on their way into a command, and the memory for its arrays. */
struct decoding
{
    struct unpacker unpacker;
    bool only_check; /* arrays are read and not kept: every item into the same place */
    void *scratch;
    size_t scratch_size, used;
    bool full;
};

#define ALIGNMENT _Alignof(max_align_t)

/* Place of the first of n items, behind the arrays before it. NULL when there is too little. */
static void *array_of(struct decoding *decoding, size_t n, size_t size)
{
    size_t start = decoding->only_check ? 0 : (decoding->used + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    size_t bytes = decoding->only_check ? size : n * size;

    if (start > decoding->scratch_size || bytes > decoding->scratch_size - start) {
        decoding->full = true;
        return NULL;
    }
    if (bytes > 0) {
        memset((char *)decoding->scratch + start, 0, bytes);
    }
    decoding->used = start + bytes;
    return (char *)decoding->scratch + start;
}

static uint32_t place(const struct decoding *decoding, uint32_t i)
{
    return decoding->only_check ? 0 : i;
}

static const struct move *unpack_moves(struct decoding *decoding, uint32_t *ret_n)
{
    struct unpacker *unpacker = &decoding->unpacker;
    uint32_t values = unpack_array(unpacker, 0, VIPS_MAX * MOVE_FIELDS);
    struct move *moves = array_of(decoding, values / MOVE_FIELDS, sizeof *moves);

    if (values % MOVE_FIELDS != 0) {
        unpacker->failed = true;
    }
    *ret_n = values / MOVE_FIELDS;
    for (uint32_t i = 0; moves != NULL && i < *ret_n; i++) {
        struct move *move = &moves[place(decoding, i)];

        move->vip = unpack_vip(unpacker);
        move->to = unpack_node_or_none(unpacker);
        move->reason = (enum reason)unpack_uint(unpacker, REASONS_N - 1);
        move->moved = unpack_uint(unpacker, UINT64_MAX);
    }
    return moves;
}

static const struct vip_spec *unpack_specs(struct decoding *decoding, uint32_t *ret_n)
{
    uint32_t n = unpack_array(&decoding->unpacker, 0, VIPS_MAX);
    struct vip_spec *specs = array_of(decoding, n, sizeof *specs);

    *ret_n = n;
    for (uint32_t i = 0; specs != NULL && i < n && !decoding->unpacker.failed; i++) {
        unpack_spec(&decoding->unpacker, &specs[place(decoding, i)]);
    }
    return specs;
}

static void unpack_found(struct decoding *decoding, struct command *ret)
{
    struct unpacker *unpacker = &decoding->unpacker;
    struct found_node *nodes;
    uint32_t values;

    unpack_text(unpacker, ret->found.cluster, sizeof ret->found.cluster);
    ret->found.cluster_id = unpack_uint(unpacker, UINT64_MAX);
    unpack_timing(unpacker, &ret->found.timing);
    unpack_settings(unpacker, &ret->found.settings);
    values = unpack_array(unpacker, 0, NODES_MAX * FOUND_FIELDS);
    if (values % FOUND_FIELDS != 0) {
        unpacker->failed = true;
    }
    ret->found.n_nodes = (uint8_t)(values / FOUND_FIELDS);
    nodes = array_of(decoding, ret->found.n_nodes, sizeof *nodes);
    ret->found.nodes = nodes;
    for (uint32_t i = 0; nodes != NULL && i < ret->found.n_nodes; i++) {
        struct found_node *node = &nodes[place(decoding, i)];

        node->id = unpack_uint(unpacker, UINT64_MAX);
        unpack_text(unpacker, node->name, sizeof node->name);
        node->at = unpack_endpoint(unpacker);
        node->role = (enum node_role)unpack_uint(unpacker, ROLE_SPARE);
    }
}

static void unpack_conflict(struct decoding *decoding, struct command *ret)
{
    struct unpacker *unpacker = &decoding->unpacker;
    struct conflict_item *items;
    uint32_t values;

    ret->conflict.node = unpack_node(unpacker);
    ret->conflict.id = unpack_uint(unpacker, UINT64_MAX);
    values = unpack_array(unpacker, 0, CONFLICTS_MAX * CONFLICT_FIELDS);
    if (values % CONFLICT_FIELDS != 0) {
        unpacker->failed = true;
    }
    ret->conflict.n_items = values / CONFLICT_FIELDS;
    items = array_of(decoding, ret->conflict.n_items, sizeof *items);
    ret->conflict.items = items;
    for (uint32_t i = 0; items != NULL && i < ret->conflict.n_items; i++) {
        struct conflict_item *item = &items[place(decoding, i)];

        item->vip = unpack_vip(unpacker);
        item->moved = unpack_uint(unpacker, UINT64_MAX);
        item->kind = (enum conflict_kind)unpack_uint(unpacker, CONFLICT_KINDS_N - 1);
        unpack_mac(unpacker, item->mac);
    }
}

static const struct vip_item *unpack_items(struct decoding *decoding, uint32_t *ret_n)
{
    struct unpacker *unpacker = &decoding->unpacker;
    uint32_t values = unpack_array(unpacker, 0, VIPS_MAX * ITEM_VALUES);
    struct vip_item *items = array_of(decoding, values / ITEM_VALUES, sizeof *items);

    if (values % ITEM_VALUES != 0) {
        unpacker->failed = true;
    }
    *ret_n = values / ITEM_VALUES;
    for (uint32_t i = 0; items != NULL && i < *ret_n && !unpacker->failed; i++) {
        struct vip_item *item = &items[place(decoding, i)];

        item->slot = unpack_vip(unpacker);
        item->set = (uint32_t)unpack_uint(unpacker, VIP_SET_ALL);
        unpack_spec(unpacker, &item->spec);
    }
    return items;
}

static const struct group *unpack_groups(struct decoding *decoding, uint32_t *ret_n)
{
    struct unpacker *unpacker = &decoding->unpacker;
    uint32_t values = unpack_array(unpacker, 0, GROUPS_MAX * GROUP_VALUES);
    struct group *groups = array_of(decoding, values / GROUP_VALUES, sizeof *groups);

    if (values % GROUP_VALUES != 0) {
        unpacker->failed = true;
    }
    *ret_n = values / GROUP_VALUES;
    for (uint32_t i = 0; groups != NULL && i < *ret_n && !unpacker->failed; i++) {
        struct group *group = &groups[place(decoding, i)];

        unpack_text(unpacker, group->name, sizeof group->name);
        group->checks = unpack_uint(unpacker, UINT64_MAX);
        group->failback = (uint32_t)unpack_uint(unpacker, OWN_FAILBACK_MAX);
        group->n_prefers = unpack_prefers(unpacker, group->prefers);
        unpack_hooks(unpacker, group->hooks);
    }
    return groups;
}

static const struct node_item *unpack_nodes(struct decoding *decoding, uint32_t *ret_n)
{
    struct unpacker *unpacker = &decoding->unpacker;
    uint32_t values = unpack_array(unpacker, 0, NODES_MAX * NODE_VALUES);
    struct node_item *items = array_of(decoding, values / NODE_VALUES, sizeof *items);

    if (values % NODE_VALUES != 0) {
        unpacker->failed = true;
    }
    *ret_n = values / NODE_VALUES;
    for (uint32_t i = 0; items != NULL && i < *ret_n && !unpacker->failed; i++) {
        struct node_item *item = &items[place(decoding, i)];

        item->node = unpack_node(unpacker);
        item->id = unpack_uint(unpacker, UINT64_MAX);
        item->capacity = (uint16_t)unpack_uint(unpacker, CAPACITY_MAX);
    }
    return items;
}

static const struct check_item *unpack_checks(struct decoding *decoding, uint32_t *ret_n)
{
    struct unpacker *unpacker = &decoding->unpacker;
    uint32_t values = unpack_array(unpacker, 0, CHECKS_MAX * CHECK_VALUES);
    struct check_item *items = array_of(decoding, values / CHECK_VALUES, sizeof *items);

    if (values % CHECK_VALUES != 0) {
        unpacker->failed = true;
    }
    *ret_n = values / CHECK_VALUES;
    for (uint32_t i = 0; items != NULL && i < *ret_n && !unpacker->failed; i++) {
        struct check_item *item = &items[place(decoding, i)];

        item->slot = (uint8_t)unpack_uint(unpacker, CHECKS_MAX - 1);
        item->gone = unpack_bool(unpacker);
        unpack_check(unpacker, &item->spec);
    }
    return items;
}

static void unpack_apply(struct decoding *decoding, struct apply_command *ret)
{
    struct unpacker *unpacker = &decoding->unpacker;

    ret->revision = unpack_uint(unpacker, UINT64_MAX);
    unpack_text(unpacker, ret->source, sizeof ret->source);
    ret->has_settings = unpack_array(unpacker, 0, 1) == 1;
    if (ret->has_settings) {
        unpack_settings(unpacker, &ret->settings);
    }
    uint32_t voting = unpack_array(unpacker, 0, VOTING_VALUES);
    ret->has_voting = voting == VOTING_VALUES;
    if (ret->has_voting) {
        ret->voting.count = (uint8_t)unpack_uint(unpacker, VOTERS_MAX);
        ret->voting.replace_ms = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    } else if (voting != 0) {
        unpacker->failed = true;
    }
    ret->checks = unpack_checks(decoding, &ret->n_checks);
    ret->vips = unpack_items(decoding, &ret->n_vips);
    ret->deletes = unpack_moves(decoding, &ret->n_deletes);
    ret->groups = unpack_groups(decoding, &ret->n_groups);
    ret->nodes = unpack_nodes(decoding, &ret->n_nodes);
    ret->kept = unpack_bytes(unpacker, KEPT_BYTES_MAX, &ret->kept_size);
}

static void unpack_report(struct unpacker *unpacker, struct command *ret)
{
    ret->report.node = unpack_node(unpacker);
    ret->report.id = unpack_uint(unpacker, UINT64_MAX);
    ret->report.identity = unpack_uint(unpacker, UINT64_MAX);
    ret->report.run = unpack_uint(unpacker, UINT64_MAX);
    ret->report.witness = unpack_bool(unpacker);
    ret->report.n_links = unpack_links(unpacker, ret->report.links);
    unpack_text(unpacker, ret->report.version, sizeof ret->report.version);
    ret->report.reads_first = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    ret->report.reads_last = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
}

static void unpack_vip_set(struct unpacker *unpacker, struct command *ret)
{
    ret->vip_set.vip = unpack_vip(unpacker);
    unpack_text(unpacker, ret->vip_set.name, sizeof ret->vip_set.name);
    ret->vip_set.set = (uint32_t)unpack_uint(unpacker, VIP_SET_LEN - 1);
    unpack_spec(unpacker, &ret->vip_set.spec);
}

static void unpack_node_set(struct unpacker *unpacker, struct command *ret)
{
    ret->node_set.node = unpack_node(unpacker);
    ret->node_set.id = unpack_uint(unpacker, UINT64_MAX);
    ret->node_set.set = (uint32_t)unpack_uint(unpacker, NODE_SET_WISH * 2 - 1);
    ret->node_set.at = unpack_endpoint(unpacker);
    ret->node_set.wish = (enum node_wish)unpack_uint(unpacker, WISH_SPARE);
}

static void unpack_maintenance(struct unpacker *unpacker, struct maintenance_command *ret)
{
    uint32_t size, values;

    ret->op = (enum maintenance_op)unpack_uint(unpacker, MAINTENANCE_OPS_N - 1);
    ret->run = unpack_uint(unpacker, UINT64_MAX);
    ret->step = (uint8_t)unpack_uint(unpacker, NODES_MAX - 1);
    ret->from = (enum step_state)unpack_uint(unpacker, STEP_STATES_N - 1);
    ret->to = (enum step_state)unpack_uint(unpacker, STEP_STATES_N - 1);
    ret->runner = unpack_uint(unpacker, UINT64_MAX);
    ret->node_run = unpack_uint(unpacker, UINT64_MAX);
    ret->status = (int32_t)unpack_int(unpacker, INT32_MIN, INT32_MAX);
    ret->again = (enum maintenance_again)unpack_uint(unpacker, MAINTENANCE_AGAINS_N - 1);
    unpack_text(unpacker, ret->why, sizeof ret->why);
    unpack_text(unpacker, ret->tail, sizeof ret->tail);
    ret->restart = unpack_bool(unpacker);
    ret->force = unpack_bool(unpacker);
    ret->settle_ms = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    ret->drain_ms = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    ret->return_ms = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    const void *words = unpack_bytes(unpacker, sizeof ret->words, &size);
    if (words != NULL) {
        memcpy(ret->words, words, size);
        ret->words_size = (uint16_t)size;
    }
    values = unpack_array(unpacker, 0, NODES_MAX * TURN_VALUES);
    unpacker->failed = unpacker->failed || values % TURN_VALUES != 0;
    ret->n_nodes = (uint8_t)(values / TURN_VALUES);
    for (int i = 0; i < ret->n_nodes; i++) {
        ret->nodes[i] = unpack_node(unpacker);
        ret->ids[i] = unpack_uint(unpacker, UINT64_MAX);
    }
}

static void unpack_body(struct decoding *decoding, struct command *ret)
{
    struct unpacker *unpacker = &decoding->unpacker;

    switch (ret->type) {
    case COMMAND_FOUND:
        unpack_found(decoding, ret);
        break;
    case COMMAND_FENCE:
        ret->fence.node = unpack_node(unpacker);
        ret->fence.gen = unpack_uint(unpacker, UINT64_MAX);
        ret->fence.moves = unpack_moves(decoding, &ret->fence.n_moves);
        break;
    case COMMAND_CLEAR:
    case COMMAND_ADMIT:
    case COMMAND_NODE_DELETE:
        ret->node.node = unpack_node(unpacker);
        ret->node.fence = unpack_uint(unpacker, UINT64_MAX);
        ret->node.since = unpack_uint(unpacker, UINT64_MAX);
        break;
    case COMMAND_MOVE:
        ret->move.moves = unpack_moves(decoding, &ret->move.n_moves);
        break;
    case COMMAND_VIP_ADD:
        ret->vip_add.vips = unpack_specs(decoding, &ret->vip_add.n_vips);
        break;
    case COMMAND_VIP_SET:
        unpack_vip_set(unpacker, ret);
        break;
    case COMMAND_VIP_DELETE:
    case COMMAND_VIP_PURGE:
        ret->vip_del.vips = unpack_moves(decoding, &ret->vip_del.n_vips);
        break;
    case COMMAND_NODE_REPORT:
        unpack_report(unpacker, ret);
        break;
    case COMMAND_DRAIN:
        ret->drain.node = unpack_node(unpacker);
        ret->drain.id = unpack_uint(unpacker, UINT64_MAX);
        ret->drain.on = unpack_bool(unpacker);
        break;
    case COMMAND_LEAVE:
        ret->leave.node = unpack_node(unpacker);
        ret->leave.id = unpack_uint(unpacker, UINT64_MAX);
        ret->leave.run = unpack_uint(unpacker, UINT64_MAX);
        break;
    case COMMAND_SETTINGS:
        unpack_settings(unpacker, &ret->settings);
        break;
    case COMMAND_GROUP_SET:
        unpack_text(unpacker, ret->group.name, sizeof ret->group.name);
        ret->group.checks = unpack_uint(unpacker, UINT64_MAX);
        ret->group.failback = (uint32_t)unpack_uint(unpacker, OWN_FAILBACK_MAX);
        ret->group.n_prefers = unpack_prefers(unpacker, ret->group.prefers);
        unpack_hooks(unpacker, ret->group.hooks);
        break;
    case COMMAND_CONFLICT:
        unpack_conflict(decoding, ret);
        break;
    case COMMAND_APPLY:
        unpack_apply(decoding, &ret->apply);
        break;
    case COMMAND_NODE_ADD:
        unpack_text(unpacker, ret->node_add.name, sizeof ret->node_add.name);
        ret->node_add.at = unpack_endpoint(unpacker);
        break;
    case COMMAND_NODE_SET:
        unpack_node_set(unpacker, ret);
        break;
    case COMMAND_NODE_REMOVE:
        ret->node_remove.node = unpack_node(unpacker);
        ret->node_remove.id = unpack_uint(unpacker, UINT64_MAX);
        break;
    case COMMAND_VOTERS:
        ret->voters.index = unpack_uint(unpacker, UINT64_MAX);
        break;
    case COMMAND_VOTING:
        ret->voting.count = (uint8_t)unpack_uint(unpacker, VOTERS_MAX);
        ret->voting.replace_ms = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
        break;
    case COMMAND_CHECK_SET:
    case COMMAND_CHECK_DELETE:
        ret->check.changed = unpack_uint(unpacker, UINT64_MAX);
        unpack_check(unpacker, &ret->check.spec);
        break;
    case COMMAND_HEALTH:
        ret->health.node = unpack_node(unpacker);
        ret->health.id = unpack_uint(unpacker, UINT64_MAX);
        ret->health.checks = unpack_uint(unpacker, UINT64_MAX);
        ret->health.passing = unpack_uint(unpacker, UINT64_MAX);
        ret->health.failing = unpack_uint(unpacker, UINT64_MAX);
        break;
    case COMMAND_MAINTENANCE:
        unpack_maintenance(unpacker, &ret->maintenance);
        break;
    case COMMAND_FORMAT:
        ret->upgrade.was = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
        ret->upgrade.format = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
        break;
#if VIPD_PRETEND_FORMAT
    case COMMAND_MARK:
        unpack_text(unpacker, ret->mark, sizeof ret->mark);
        break;
#endif
    }
}

static int decode(struct decoding *decoding, const void *bytes, size_t len, struct command *ret)
{
    struct unpacker *unpacker = &decoding->unpacker;
    uint64_t format, type;

    memset(ret, 0, sizeof *ret);
    unpacker_init(unpacker, bytes, len);
    (void)unpack_array(unpacker, HEAD_VALUES, HEAD_VALUES);
    format = unpack_uint(unpacker, UINT64_MAX);
    if (len > COMMAND_BYTES_MAX || unpacker->failed) {
        return -EBADMSG;
    }
    if (format < FORMAT_FIRST || format > FORMAT_LAST) {
        return -EPROTONOSUPPORT;
    }
    ret->format = (uint32_t)format;
    type = unpack_uint(unpacker, UINT64_MAX);
    ret->at_ms = unpack_int(unpacker, INT64_MIN, INT64_MAX);
    ret->request = unpack_uint(unpacker, UINT64_MAX);
    unpack_text(unpacker, ret->who, sizeof ret->who);
    if (unpacker->failed || body_values(type) == 0 || format_since((enum command_type)type) > format) {
        return -EBADMSG;
    }
    (void)unpack_array(unpacker, body_values(type), body_values(type));
    ret->type = (enum command_type)type;
    unpack_body(decoding, ret);
    if (decoding->full) {
        return -ENOBUFS;
    }
    return unpacker_done(unpacker);
}

int command_decode(const void *bytes, size_t len, void *scratch, size_t scratch_size, struct command *ret)
{
    struct decoding decoding = {.scratch = scratch, .scratch_size = scratch_size};
    struct command command;
    int r = decode(&decoding, bytes, len, &command);

    if (r == 0) {
        *ret = command;
    }
    return r;
}

/* ------------------------------------------------------------------ both */

/* What cannot be decoded must not get into the log, where every node would stop at it for good. */
static bool can_be_decoded(const void *bytes, size_t len)
{
    union {
        struct move move;
        struct vip_spec spec;
        struct found_node node;
        struct conflict_item conflict;
        struct vip_item item;
        struct group group;
        struct check_item check;
    } one;
    struct decoding decoding = {.only_check = true, .scratch = &one, .scratch_size = sizeof one};
    struct command command;

    return decode(&decoding, bytes, len, &command) == 0;
}

int command_encode(const struct command *command, void *buf, size_t size, size_t *ret_len)
{
    uint32_t format = command->format == 0 ? FORMAT_FIRST : command->format;
    struct packer packer;
    size_t len;
    int r;

    if (body_values(command->type) == 0 || !fits(command)) {
        return -EINVAL;
    }
    if (format < FORMAT_FIRST || format > FORMAT_LAST || format_since(command->type) > format) {
        return -EPROTONOSUPPORT;
    }
    packer_init(&packer, buf, size);
    pack_array(&packer, HEAD_VALUES);
    pack_uint(&packer, format);
    pack_uint(&packer, command->type);
    pack_int(&packer, command->at_ms);
    pack_uint(&packer, command->request);
    pack_text(&packer, command->who);
    pack_array(&packer, body_values(command->type));
    pack_body(&packer, command);
    if (packer.used > COMMAND_BYTES_MAX) {
        return -EMSGSIZE;
    }
    r = packer_done(&packer, &len);
    if (r == 0 && buf != NULL && !can_be_decoded(buf, len)) {
        r = -EINVAL;
    }
    if (r == 0) {
        *ret_len = len;
    }
    return r;
}
