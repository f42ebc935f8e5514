#include "wire/snapshot.h"

#include <errno.h>
#include <string.h>

#include "core/format.h"
#include "wire/pack.h"
#include "wire/pack_table.h"

#define SNAPSHOT_VALUES 11
#define HEAD_VALUES 15
#define NODE_VALUES 25
#define DEPARTED_VALUES 2
#define GROUP_VALUES 6
#define VIP_VALUES 27
#define CHECK_VALUES 5
#define HISTORY_VALUES 13
#define DEDUP_VALUES 3
#define KEPT_VALUES 3
#define MAINTENANCE_VALUES 24
#define STEP_VALUES (7 + STEP_STATES_N)

static uint32_t snapshot_values(uint32_t format)
{
    return SNAPSHOT_VALUES + (VIPD_PRETEND_FORMAT && format == FORMAT_LAST);
}

/* ------------------------------------------------------------------ encoding */

static void pack_former(struct packer *packer, const struct table *table)
{
    pack_array(packer, 1 + FORMER_MAX);
    pack_uint(packer, table->n_former);
    for (int i = 0; i < FORMER_MAX; i++) {
        pack_uint(packer, table->former[i]);
    }
}

static void pack_head(struct packer *packer, const struct table *table)
{
    pack_array(packer, HEAD_VALUES);
    pack_text(packer, table->cluster);
    pack_uint(packer, table->cluster_id);
    pack_uint(packer, table->applied);
    pack_timing(packer, &table->timing);
    pack_settings(packer, &table->settings);
    pack_uint(packer, table->voters);
    pack_uint(packer, table->voters_index);
    pack_uint(packer, table->voters_told);
    pack_uint(packer, table->voting.count);
    pack_uint(packer, table->voting.replace_ms);
    pack_uint(packer, table->next_id);
    pack_int(packer, table->next_slot);
    pack_former(packer, table);
    pack_uint(packer, table->changed);
    pack_uint(packer, table->revision);
}

static void pack_node(struct packer *packer, int slot, const struct node *node)
{
    pack_array(packer, NODE_VALUES);
    pack_int(packer, slot);
    pack_uint(packer, node->id);
    pack_text(packer, node->name);
    pack_endpoint(packer, &node->at);
    pack_uint(packer, node->role);
    pack_uint(packer, node->wish);
    pack_bool(packer, node->listed);
    pack_bool(packer, node->removing);
    pack_bool(packer, node->witness);
    pack_bool(packer, node->draining);
    pack_bool(packer, node->leaving);
    pack_uint(packer, node->leaving_run);
    pack_uint(packer, node->status);
    pack_uint(packer, node->gen);
    pack_uint(packer, node->fence);
    pack_uint(packer, node->added);
    pack_uint(packer, node->since);
    pack_int(packer, node->since_ms);
    pack_uint(packer, node->identity);
    pack_uint(packer, node->capacity);
    pack_links(packer, node->links, node->n_links);
    pack_text(packer, node->version);
    pack_uint(packer, node->reads_first);
    pack_uint(packer, node->reads_last);
}

static void pack_nodes(struct packer *packer, const struct table *table)
{
    size_t n = 0;

    for (int slot = 0; slot < NODES_MAX; slot++) {
        n += table->nodes[slot].used;
    }
    pack_array(packer, n);
    for (int slot = 0; slot < NODES_MAX; slot++) {
        if (table->nodes[slot].used) {
            pack_node(packer, slot, &table->nodes[slot]);
        }
    }
}

/* The names of deleted nodes, where no other one is in their slots yet. */
static void pack_departed(struct packer *packer, const struct table *table)
{
    size_t n = 0;

    for (int slot = 0; slot < NODES_MAX; slot++) {
        n += !table->nodes[slot].used && table->nodes[slot].name[0] != '\0';
    }
    pack_array(packer, n);
    for (int slot = 0; slot < NODES_MAX; slot++) {
        if (!table->nodes[slot].used && table->nodes[slot].name[0] != '\0') {
            pack_array(packer, DEPARTED_VALUES);
            pack_int(packer, slot);
            pack_text(packer, table->nodes[slot].name);
        }
    }
}

static void pack_groups(struct packer *packer, const struct table *table)
{
    size_t n = 0;

    for (int group = 0; group < GROUPS_MAX; group++) {
        n += table->groups[group].name[0] != '\0';
    }
    pack_array(packer, n);
    for (int group = 0; group < GROUPS_MAX; group++) {
        if (table->groups[group].name[0] != '\0') {
            pack_array(packer, GROUP_VALUES);
            pack_uint(packer, (uint64_t)group);
            pack_text(packer, table->groups[group].name);
            pack_uint(packer, table->groups[group].checks);
            pack_uint(packer, table->groups[group].failback);
            pack_prefers(packer, table->groups[group].prefers, table->groups[group].n_prefers);
            pack_hooks(packer, table->groups[group].hooks);
        }
    }
}

/* The index of their last change, and each with its slot. */
static void pack_checks(struct packer *packer, const struct table *table)
{
    size_t n = 0;

    for (int check = 0; check < CHECKS_MAX; check++) {
        n += table->checks[check].spec.name[0] != '\0';
    }
    pack_array(packer, 1 + n);
    pack_uint(packer, table->checks_index);
    for (int check = 0; check < CHECKS_MAX; check++) {
        const struct check *at = &table->checks[check];

        if (at->spec.name[0] != '\0') {
            pack_array(packer, CHECK_VALUES);
            pack_uint(packer, (uint64_t)check);
            pack_check(packer, &at->spec);
            pack_uint(packer, at->changed);
            pack_uint(packer, at->passing);
            pack_uint(packer, at->failing);
        }
    }
}

static void pack_vip(struct packer *packer, const struct table *table, int slot)
{
    const struct vip *vip = &table->vips[slot];

    pack_array(packer, VIP_VALUES);
    pack_uint(packer, (uint64_t)slot);
    pack_bool(packer, vip->deleted);
    pack_bool(packer, vip->enabled);
    pack_text(packer, vip->name);
    pack_prefix(packer, &vip->address);
    pack_text(packer, vip->dev);
    pack_uint(packer, vip->nodes);
    pack_int(packer, vip->group);
    pack_uint(packer, vip->checks);
    pack_prefers(packer, vip->prefers, vip->n_prefers);
    pack_apart(packer, vip->apart, vip->n_apart);
    pack_int(packer, vip->pinned);
    pack_int(packer, vip->owner);
    pack_int(packer, vip->prev);
    pack_uint(packer, vip->moved);
    pack_int(packer, vip->moved_ms);
    pack_uint(packer, vip->reason);
    pack_uint(packer, vip->failback);
    pack_bool(packer, vip->no_probe);
    pack_bool(packer, vip->yield);
    pack_bool(packer, vip->no_reset);
    pack_hooks(packer, table->vip_hooks[slot]);
    pack_bool(packer, vip->fresh);
    pack_uint(packer, vip->conflict.kind);
    pack_mac(packer, vip->conflict.mac);
    pack_int(packer, vip->conflict.at_ms);
}

static void pack_vips(struct packer *packer, const struct table *table)
{
    pack_array(packer, (size_t)table->n_vips);
    for (int slot = 0; slot < table->vips_end; slot++) {
        if (table->vips[slot].used) {
            pack_vip(packer, table, slot);
        }
    }
}

/* How many entries a ring of `size` has kept of the `n` that were ever written. */
static size_t kept(uint64_t n, size_t size)
{
    return n < size ? (size_t)n : size;
}

static void pack_history(struct packer *packer, const struct table *table)
{
    size_t n = kept(table->n_history, HISTORY_MAX);

    pack_array(packer, 1 + n);
    pack_uint(packer, table->n_history);
    for (size_t i = 0; i < n; i++) {
        const struct history *entry = &table->history[i];

        pack_array(packer, HISTORY_VALUES);
        pack_uint(packer, entry->index);
        pack_int(packer, entry->at_ms);
        pack_uint(packer, entry->kind);
        pack_uint(packer, entry->reason);
        pack_int(packer, entry->from);
        pack_int(packer, entry->to);
        pack_text(packer, entry->subject);
        pack_text(packer, entry->who);
        pack_mac(packer, entry->mac);
        pack_uint(packer, entry->took_ms);
        pack_uint(packer, entry->set);
        pack_bool(packer, entry->enabled);
        pack_text(packer, table->history_was[i]);
    }
}

static void pack_dedup(struct packer *packer, const struct table *table)
{
    size_t n = kept(table->n_dedup, DEDUP_MAX);

    pack_array(packer, 1 + n);
    pack_uint(packer, table->n_dedup);
    for (size_t i = 0; i < n; i++) {
        pack_array(packer, DEDUP_VALUES);
        pack_uint(packer, table->dedup[i].request);
        pack_uint(packer, table->dedup[i].code);
        pack_uint(packer, table->dedup[i].index);
    }
}

static void pack_kept(struct packer *packer, const struct table *table)
{
    size_t n = kept(table->n_kept, KEPT_MAX);

    pack_array(packer, 1 + n);
    pack_uint(packer, table->n_kept);
    for (size_t i = 0; i < n; i++) {
        pack_array(packer, KEPT_VALUES);
        pack_uint(packer, table->kept[i].revision);
        pack_int(packer, table->kept[i].until_ms);
        pack_bytes(packer, table->kept[i].text, table->kept[i].size);
    }
}

static void pack_steps(struct packer *packer, const struct maintenance *m)
{
    pack_array(packer, (size_t)m->n_steps * STEP_VALUES);
    for (int i = 0; i < m->n_steps; i++) {
        const struct maintenance_step *step = &m->steps[i];

        pack_int(packer, step->node);
        pack_uint(packer, step->id);
        pack_text(packer, step->name);
        pack_uint(packer, step->state);
        pack_bool(packer, step->was_drained);
        pack_bool(packer, step->begun);
        pack_bool(packer, step->ended);
        for (int k = 0; k < STEP_STATES_N; k++) {
            pack_int(packer, step->at_ms[k]);
        }
    }
}

static void pack_maintenance(struct packer *packer, const struct maintenance *m)
{
    pack_array(packer, MAINTENANCE_VALUES);
    pack_uint(packer, m->state);
    pack_uint(packer, m->run);
    pack_uint(packer, m->changed);
    pack_int(packer, m->begun_ms);
    pack_int(packer, m->ended_ms);
    pack_text(packer, m->who);
    pack_uint(packer, m->runner);
    pack_uint(packer, m->beat);
    pack_bool(packer, m->lost);
    pack_bool(packer, m->held);
    pack_bool(packer, m->restart);
    pack_bool(packer, m->force);
    pack_uint(packer, m->settle_ms);
    pack_uint(packer, m->drain_ms);
    pack_uint(packer, m->return_ms);
    pack_bytes(packer, m->words, m->words_size);
    pack_int(packer, m->at);
    pack_steps(packer, m);
    pack_uint(packer, m->before.passing);
    pack_links(packer, m->before.links, m->before.n_links);
    pack_uint(packer, m->node_run);
    pack_int(packer, m->status);
    pack_text(packer, m->why);
    pack_text(packer, m->tail);
}

int snapshot_encode(const struct table *table, void *buf, size_t size, size_t *ret_len)
{
    struct packer packer;

    if (table->format < FORMAT_FIRST || table->format > FORMAT_LAST) {
        return -EPROTONOSUPPORT;
    }
    packer_init(&packer, buf, size);
    pack_array(&packer, snapshot_values(table->format));
    pack_uint(&packer, table->format);
    pack_head(&packer, table);
    pack_nodes(&packer, table);
    pack_departed(&packer, table);
    pack_groups(&packer, table);
    pack_checks(&packer, table);
    pack_vips(&packer, table);
    pack_history(&packer, table);
    pack_dedup(&packer, table);
    pack_kept(&packer, table);
    pack_maintenance(&packer, &table->maintenance);
#if VIPD_PRETEND_FORMAT
    if (table->format == FORMAT_LAST) {
        pack_text(&packer, table->mark);
    }
#endif
    return packer_done(&packer, ret_len);
}

/* ------------------------------------------------------------------ decoding */

static void unpack_former(struct unpacker *unpacker, struct table *ret)
{
    (void)unpack_array(unpacker, 1 + FORMER_MAX, 1 + FORMER_MAX);
    ret->n_former = unpack_uint(unpacker, UINT64_MAX);
    for (int i = 0; i < FORMER_MAX; i++) {
        ret->former[i] = unpack_uint(unpacker, UINT64_MAX);
    }
}

static void unpack_head(struct unpacker *unpacker, struct table *ret)
{
    (void)unpack_array(unpacker, HEAD_VALUES, HEAD_VALUES);
    unpack_text(unpacker, ret->cluster, sizeof ret->cluster);
    ret->cluster_id = unpack_uint(unpacker, UINT64_MAX);
    ret->applied = unpack_uint(unpacker, UINT64_MAX);
    unpack_timing(unpacker, &ret->timing);
    unpack_settings(unpacker, &ret->settings);
    ret->voters = unpack_uint(unpacker, UINT64_MAX);
    ret->voters_index = unpack_uint(unpacker, UINT64_MAX);
    ret->voters_told = unpack_uint(unpacker, UINT64_MAX);
    ret->voting.count = (uint8_t)unpack_uint(unpacker, VOTERS_MAX);
    ret->voting.replace_ms = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    ret->next_id = unpack_uint(unpacker, UINT64_MAX);
    ret->next_slot = unpack_node(unpacker);
    unpack_former(unpacker, ret);
    ret->changed = unpack_uint(unpacker, UINT64_MAX);
    ret->revision = unpack_uint(unpacker, UINT64_MAX);
}

static void unpack_one_node(struct unpacker *unpacker, struct table *table)
{
    struct node *node;

    (void)unpack_array(unpacker, NODE_VALUES, NODE_VALUES);
    node = &table->nodes[unpack_node(unpacker)];
    unpacker->failed = unpacker->failed || node->used;
    node->used = true;
    node->id = unpack_uint(unpacker, UINT64_MAX);
    unpack_text(unpacker, node->name, sizeof node->name);
    node->at = unpack_endpoint(unpacker);
    node->role = (enum node_role)unpack_uint(unpacker, ROLE_SPARE);
    node->wish = (enum node_wish)unpack_uint(unpacker, WISH_SPARE);
    node->listed = unpack_bool(unpacker);
    node->removing = unpack_bool(unpacker);
    node->witness = unpack_bool(unpacker);
    node->draining = unpack_bool(unpacker);
    node->leaving = unpack_bool(unpacker);
    node->leaving_run = unpack_uint(unpacker, UINT64_MAX);
    node->status = (enum node_status)unpack_uint(unpacker, NODE_FENCED);
    node->gen = unpack_uint(unpacker, UINT64_MAX);
    node->fence = unpack_uint(unpacker, UINT64_MAX);
    node->added = unpack_uint(unpacker, UINT64_MAX);
    node->since = unpack_uint(unpacker, UINT64_MAX);
    node->since_ms = unpack_int(unpacker, INT64_MIN, INT64_MAX);
    node->identity = unpack_uint(unpacker, UINT64_MAX);
    node->capacity = (uint16_t)unpack_uint(unpacker, CAPACITY_MAX);
    node->n_links = unpack_links(unpacker, node->links);
    unpack_text(unpacker, node->version, sizeof node->version);
    node->reads_first = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    node->reads_last = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    unpacker->failed = unpacker->failed || node->id == 0 || node->name[0] == '\0';
}

static void unpack_departed(struct unpacker *unpacker, struct table *table)
{
    uint32_t n = unpack_array(unpacker, 0, NODES_MAX);

    for (uint32_t i = 0; i < n && !unpacker->failed; i++) {
        struct node *node;

        (void)unpack_array(unpacker, DEPARTED_VALUES, DEPARTED_VALUES);
        node = &table->nodes[unpack_node(unpacker)];
        unpacker->failed = unpacker->failed || node->name[0] != '\0';
        unpack_text(unpacker, node->name, sizeof node->name);
        unpacker->failed = unpacker->failed || node->name[0] == '\0';
    }
}

static void unpack_groups(struct unpacker *unpacker, struct table *table)
{
    uint32_t n = unpack_array(unpacker, 0, GROUPS_MAX);

    for (uint32_t i = 0; i < n && !unpacker->failed; i++) {
        struct group *group;

        (void)unpack_array(unpacker, GROUP_VALUES, GROUP_VALUES);
        group = &table->groups[unpack_uint(unpacker, GROUPS_MAX - 1)];
        unpacker->failed = unpacker->failed || group->name[0] != '\0';
        unpack_text(unpacker, group->name, sizeof group->name);
        group->checks = unpack_uint(unpacker, UINT64_MAX);
        group->failback = (uint32_t)unpack_uint(unpacker, OWN_FAILBACK_MAX);
        group->n_prefers = unpack_prefers(unpacker, group->prefers);
        unpack_hooks(unpacker, group->hooks);
        unpacker->failed = unpacker->failed || group->name[0] == '\0';
    }
}

static void unpack_checks(struct unpacker *unpacker, struct table *table)
{
    uint32_t n = unpack_array(unpacker, 1, 1 + CHECKS_MAX);

    table->checks_index = unpack_uint(unpacker, UINT64_MAX);
    for (uint32_t i = 1; i < n && !unpacker->failed; i++) {
        struct check *check;

        (void)unpack_array(unpacker, CHECK_VALUES, CHECK_VALUES);
        check = &table->checks[unpack_uint(unpacker, CHECKS_MAX - 1)];
        unpacker->failed = unpacker->failed || check->spec.name[0] != '\0';
        unpack_check(unpacker, &check->spec);
        check->changed = unpack_uint(unpacker, UINT64_MAX);
        check->passing = unpack_uint(unpacker, UINT64_MAX);
        check->failing = unpack_uint(unpacker, UINT64_MAX);
        unpacker->failed = unpacker->failed || check->spec.name[0] == '\0' || (check->passing & check->failing) != 0;
    }
}

static void unpack_one_vip(struct unpacker *unpacker, struct table *table)
{
    struct hook hooks[HOOK_POINTS_N];
    struct vip *vip;
    unsigned slot;

    (void)unpack_array(unpacker, VIP_VALUES, VIP_VALUES);
    slot = unpack_vip(unpacker);
    vip = &table->vips[slot];
    unpacker->failed = unpacker->failed || vip->used;
    vip->deleted = unpack_bool(unpacker);
    vip->enabled = unpack_bool(unpacker);
    unpack_text(unpacker, vip->name, sizeof vip->name);
    vip->address = unpack_prefix(unpacker);
    unpack_text(unpacker, vip->dev, sizeof vip->dev);
    vip->nodes = unpack_uint(unpacker, UINT64_MAX);
    vip->group = (int16_t)unpack_int(unpacker, SLOT_NONE, GROUPS_MAX - 1);
    vip->checks = unpack_uint(unpacker, UINT64_MAX);
    vip->n_prefers = unpack_prefers(unpacker, vip->prefers);
    vip->n_apart = unpack_apart(unpacker, vip->apart);
    vip->pinned = unpack_node_or_none(unpacker);
    vip->owner = unpack_node_or_none(unpacker);
    vip->prev = unpack_node_or_none(unpacker);
    vip->moved = unpack_uint(unpacker, UINT64_MAX);
    vip->moved_ms = unpack_int(unpacker, INT64_MIN, INT64_MAX);
    vip->reason = (enum reason)unpack_uint(unpacker, REASONS_N - 1);
    vip->failback = (uint32_t)unpack_uint(unpacker, OWN_FAILBACK_MAX);
    vip->no_probe = unpack_bool(unpacker);
    vip->yield = unpack_bool(unpacker);
    vip->no_reset = unpack_bool(unpacker);
    unpack_hooks(unpacker, hooks);
    if (hooks_any(hooks)) {
        hooks_set(table->vip_hooks[slot], hooks);
    }
    vip->fresh = unpack_bool(unpacker);
    vip->conflict.kind = (enum conflict_kind)unpack_uint(unpacker, CONFLICT_KINDS_N - 1);
    unpack_mac(unpacker, vip->conflict.mac);
    vip->conflict.at_ms = unpack_int(unpacker, INT64_MIN, INT64_MAX);
    vip->used = true;
}

static void unpack_history(struct unpacker *unpacker, struct table *table)
{
    uint32_t n = unpack_array(unpacker, 1, 1 + HISTORY_MAX);

    table->n_history = unpack_uint(unpacker, UINT64_MAX);
    if (unpacker->failed || kept(table->n_history, HISTORY_MAX) != n - 1) {
        unpacker->failed = true;
        return;
    }
    for (uint32_t i = 0; i < n - 1 && !unpacker->failed; i++) {
        struct history *entry = &table->history[i];
        char was[NAME_SIZE];

        (void)unpack_array(unpacker, HISTORY_VALUES, HISTORY_VALUES);
        entry->index = unpack_uint(unpacker, UINT64_MAX);
        entry->at_ms = unpack_int(unpacker, INT64_MIN, INT64_MAX);
        entry->kind = (enum history_kind)unpack_uint(unpacker, HISTORY_KINDS_N - 1);
        entry->reason = (enum reason)unpack_uint(unpacker, REASONS_N - 1);
        entry->from = unpack_node_or_none(unpacker);
        entry->to = unpack_node_or_none(unpacker);
        unpack_text(unpacker, entry->subject, sizeof entry->subject);
        unpack_text(unpacker, entry->who, sizeof entry->who);
        unpack_mac(unpacker, entry->mac);
        entry->took_ms = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
        entry->set = (uint32_t)unpack_uint(unpacker, VIP_SET_ALL);
        entry->enabled = unpack_bool(unpacker);
        unpack_text(unpacker, was, sizeof was);
        if (was[0] != '\0') {
            memcpy(table->history_was[i], was, sizeof was);
        }
    }
}

static void unpack_dedup(struct unpacker *unpacker, struct table *table)
{
    uint32_t n = unpack_array(unpacker, 1, 1 + DEDUP_MAX);

    table->n_dedup = unpack_uint(unpacker, UINT64_MAX);
    if (unpacker->failed || kept(table->n_dedup, DEDUP_MAX) != n - 1) {
        unpacker->failed = true;
        return;
    }
    for (uint32_t i = 0; i < n - 1; i++) {
        (void)unpack_array(unpacker, DEDUP_VALUES, DEDUP_VALUES);
        table->dedup[i].request = unpack_uint(unpacker, UINT64_MAX);
        table->dedup[i].code = (enum outcome_code)unpack_uint(unpacker, OUTCOME_FAILED);
        table->dedup[i].index = unpack_uint(unpacker, UINT64_MAX);
    }
}

static void unpack_kept(struct unpacker *unpacker, struct table *table)
{
    uint32_t n = unpack_array(unpacker, 1, 1 + KEPT_MAX);

    table->n_kept = unpack_uint(unpacker, UINT64_MAX);
    if (unpacker->failed || kept(table->n_kept, KEPT_MAX) != n - 1) {
        unpacker->failed = true;
        return;
    }
    for (uint32_t i = 0; i < n - 1 && !unpacker->failed; i++) {
        struct kept_document *document = &table->kept[i];
        const void *text;

        (void)unpack_array(unpacker, KEPT_VALUES, KEPT_VALUES);
        document->revision = unpack_uint(unpacker, UINT64_MAX);
        document->until_ms = unpack_int(unpacker, INT64_MIN, INT64_MAX);
        text = unpack_bytes(unpacker, KEPT_BYTES_MAX, &document->size);
        if (text != NULL) {
            memcpy(document->text, text, document->size);
        }
    }
}

static void unpack_steps(struct unpacker *unpacker, struct maintenance *ret)
{
    uint32_t values = unpack_array(unpacker, 0, NODES_MAX * STEP_VALUES);

    unpacker->failed = unpacker->failed || values % STEP_VALUES != 0;
    ret->n_steps = (uint8_t)(values / STEP_VALUES);
    for (int i = 0; i < ret->n_steps && !unpacker->failed; i++) {
        struct maintenance_step *step = &ret->steps[i];

        step->node = unpack_node(unpacker);
        step->id = unpack_uint(unpacker, UINT64_MAX);
        unpack_text(unpacker, step->name, sizeof step->name);
        step->state = (enum step_state)unpack_uint(unpacker, STEP_STATES_N - 1);
        step->was_drained = unpack_bool(unpacker);
        step->begun = unpack_bool(unpacker);
        step->ended = unpack_bool(unpacker);
        for (int k = 0; k < STEP_STATES_N; k++) {
            step->at_ms[k] = unpack_int(unpacker, INT64_MIN, INT64_MAX);
        }
    }
}

static void unpack_maintenance(struct unpacker *unpacker, struct maintenance *ret)
{
    uint32_t size = 0;

    (void)unpack_array(unpacker, MAINTENANCE_VALUES, MAINTENANCE_VALUES);
    ret->state = (enum maintenance_state)unpack_uint(unpacker, MAINTENANCE_STATES_N - 1);
    ret->run = unpack_uint(unpacker, UINT64_MAX);
    ret->changed = unpack_uint(unpacker, UINT64_MAX);
    ret->begun_ms = unpack_int(unpacker, INT64_MIN, INT64_MAX);
    ret->ended_ms = unpack_int(unpacker, INT64_MIN, INT64_MAX);
    unpack_text(unpacker, ret->who, sizeof ret->who);
    ret->runner = unpack_uint(unpacker, UINT64_MAX);
    ret->beat = unpack_uint(unpacker, UINT64_MAX);
    ret->lost = unpack_bool(unpacker);
    ret->held = unpack_bool(unpacker);
    ret->restart = unpack_bool(unpacker);
    ret->force = unpack_bool(unpacker);
    ret->settle_ms = (uint32_t)unpack_uint(unpacker, MAINTENANCE_TIME_MAX_MS);
    ret->drain_ms = (uint32_t)unpack_uint(unpacker, MAINTENANCE_TIME_MAX_MS);
    ret->return_ms = (uint32_t)unpack_uint(unpacker, MAINTENANCE_TIME_MAX_MS);
    const void *words = unpack_bytes(unpacker, sizeof ret->words, &size);
    if (words != NULL) {
        memcpy(ret->words, words, size);
        ret->words_size = (uint16_t)size;
    }
    ret->at = (int8_t)unpack_int(unpacker, SLOT_NONE, NODES_MAX - 1);
    unpack_steps(unpacker, ret);
    ret->before.passing = unpack_uint(unpacker, UINT64_MAX);
    ret->before.n_links = unpack_links(unpacker, ret->before.links);
    ret->node_run = unpack_uint(unpacker, UINT64_MAX);
    ret->status = (int32_t)unpack_int(unpacker, INT32_MIN, INT32_MAX);
    unpack_text(unpacker, ret->why, sizeof ret->why);
    unpack_text(unpacker, ret->tail, sizeof ret->tail);
}

/* 0, with unpacker->failed or not, or -EPROTONOSUPPORT. */
static int unpack_table(struct unpacker *unpacker, struct table *table)
{
    uint64_t format;
    uint32_t n;

    n = unpack_array(unpacker, 1, UINT32_MAX);
    format = unpack_uint(unpacker, UINT64_MAX);
    if (unpacker->failed) {
        return 0;
    }
    if (format < FORMAT_FIRST || format > FORMAT_LAST) {
        return -EPROTONOSUPPORT;
    }
    table->format = (uint32_t)format;
    unpacker->failed = n != snapshot_values(table->format);
    unpack_head(unpacker, table);
    n = unpack_array(unpacker, 0, NODES_MAX);
    for (uint32_t i = 0; i < n && !unpacker->failed; i++) {
        unpack_one_node(unpacker, table);
    }
    unpack_departed(unpacker, table);
    unpack_groups(unpacker, table);
    unpack_checks(unpacker, table);
    n = unpack_array(unpacker, 0, VIPS_MAX);
    for (uint32_t i = 0; i < n && !unpacker->failed; i++) {
        unpack_one_vip(unpacker, table);
    }
    unpack_history(unpacker, table);
    unpack_dedup(unpacker, table);
    unpack_kept(unpacker, table);
    unpack_maintenance(unpacker, &table->maintenance);
#if VIPD_PRETEND_FORMAT
    if (table->format == FORMAT_LAST) {
        unpack_text(unpacker, table->mark, sizeof table->mark);
    }
#endif
    return 0;
}

/* ------------------------------------------------------------------ does it hang together */

static bool in_set(uint64_t set, int slot)
{
    return slot == SLOT_NONE || (set >> slot & 1) != 0;
}

static bool prefers_known(uint64_t nodes, const struct prefer *prefers, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (!in_set(nodes, prefers[i].node)) {
            return false;
        }
    }
    return true;
}

static bool checks_known(const struct table *table, uint64_t checks)
{
    for (int check = 0; check < CHECKS_MAX; check++) {
        if ((checks >> check & 1) != 0 && table->checks[check].spec.name[0] == '\0') {
            return false;
        }
    }
    return true;
}

/* A VIP that refers to what is not there, or that is not found under its own name and address: these are taken
 * twice. */
static bool vip_sound(const struct table *table, uint64_t nodes, int slot)
{
    const struct vip *vip = &table->vips[slot];

    if (!in_set(nodes, vip->owner) || !in_set(nodes, vip->prev) || !in_set(nodes, vip->pinned) ||
        (vip->nodes & ~nodes) != 0 || !prefers_known(nodes, vip->prefers, vip->n_prefers) ||
        (vip->group != SLOT_NONE && table->groups[vip->group].name[0] == '\0') || !checks_known(table, vip->checks)) {
        return false;
    }
    for (int i = 0; i < vip->n_apart; i++) {
        if (!table->vips[vip->apart[i]].used) {
            return false;
        }
    }
    return vip->name[0] != '\0' && vip->address.addr.family != 0 && vip->moved <= table->applied &&
           table_vip_by_addr(table, &vip->address.addr) == slot &&
           (vip->deleted || table_vip_by_name(table, vip->name) == slot);
}

/* One that is under way is of nodes that are there, and the step whose turn it is has begun and is not over. */
static bool maintenance_sound(const struct table *table)
{
    const struct maintenance *m = &table->maintenance;

    if (m->words_size > 0 && m->words[m->words_size - 1] != '\0') {
        return false;
    }
    if (!maintenance_is_open(m)) {
        return true;
    }
    for (int i = 0; i < m->n_steps; i++) {
        const struct maintenance_step *step = &m->steps[i];
        bool over = step->state == STEP_DONE || step->state == STEP_SKIPPED;

        if ((!over && (!table->nodes[step->node].used || table->nodes[step->node].id != step->id)) ||
            (!over && step->state != STEP_WAITING) != (i == m->at)) {
            return false;
        }
    }
    return m->at < m->n_steps && m->words_size > 0;
}

static bool sound(const struct table *table)
{
    uint64_t nodes = 0;

    for (int slot = 0; slot < NODES_MAX; slot++) {
        if (table->nodes[slot].used) {
            nodes |= 1ull << slot;
            if (table_node_by_id(table, table->nodes[slot].id) != slot ||
                table_node_by_name(table, table->nodes[slot].name) != slot) {
                return false;
            }
        }
    }
    for (int check = 0; check < CHECKS_MAX; check++) {
        if (table->checks[check].spec.name[0] != '\0' &&
            table_check_by_name(table, table->checks[check].spec.name) != check) {
            return false;
        }
    }
    for (int group = 0; group < GROUPS_MAX; group++) {
        if (!prefers_known(nodes, table->groups[group].prefers, table->groups[group].n_prefers) ||
            !checks_known(table, table->groups[group].checks)) {
            return false;
        }
    }
    for (int slot = 0; slot < table->vips_end; slot++) {
        if (table->vips[slot].used && !vip_sound(table, nodes, slot)) {
            return false;
        }
    }
    return maintenance_sound(table) && (table->voters & ~nodes) == 0 && __builtin_popcountll(table->voters) <= VOTERS_MAX;
}

int snapshot_decode(const void *bytes, size_t len, struct table *ret)
{
    struct unpacker unpacker;
    int r;

    unpacker_init(&unpacker, bytes, len);
    r = unpack_table(&unpacker, ret);
    if (r == 0) {
        r = unpacker_done(&unpacker);
    }
    if (r == 0) {
        table_index(ret);
        r = sound(ret) ? 0 : -EBADMSG;
    }
    if (r != 0) {
        table_init(ret);
    }
    return r;
}
