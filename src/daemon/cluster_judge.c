/* What a document changes, and whether the nodes can honour it.
 *
 * VIPs are told apart by their addresses. Each gets the slot that it has, or a free one, before any refers to another; then
 * what differs becomes an item of the command. Only what changes is held against the nodes: an interface that is gone
 * must not stand in the way of a document that is about something else. */

#include "daemon/cluster_document.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/near.h"

static int refuse_as(struct cluster_reader *reader, enum control_code code, const char *hint, int rv)
{
    reader->code = code;
    reader->hint = hint;
    return rv;
}

/* ------------------------------------------------------------------ slots */

static int compare_addresses(const void *a, const void *b, void *vips)
{
    const struct wanted_vip *of = vips;
    uint16_t i = *(const uint16_t *)a, k = *(const uint16_t *)b;
    int order = addr_compare(&of[i].item.spec.address.addr, &of[k].item.spec.address.addr);

    return order != 0 ? order : of[i].at->line - of[k].at->line;
}

static int check_addresses(struct cluster_reader *reader)
{
    struct cluster_document *into = reader->into;
    uint16_t order[VIPS_MAX];
    char text[ADDR_TEXT_MAX];

    for (uint32_t i = 0; i < into->n_vips; i++) {
        order[i] = (uint16_t)i;
    }
    qsort_r(order, into->n_vips, sizeof order[0], compare_addresses, into->vips);
    for (uint32_t i = 1; i < into->n_vips; i++) {
        const struct wanted_vip *a = &into->vips[order[i - 1]], *b = &into->vips[order[i]];

        if (addr_equal(&a->item.spec.address.addr, &b->item.spec.address.addr)) {
            return config_refuse(&reader->config, cluster_place(b->at, "address"),
                "%s is the address of VIP '%s' in line %d, too: expected one of its own",
                addr_format(&b->item.spec.address.addr, text), a->at->key->text, a->at->key->line);
        }
    }
    return 0;
}

static int settle_slots(struct cluster_reader *reader)
{
    const struct table *table = reader->table;
    int next = 0;

    for (uint32_t i = 0; i < reader->into->n_vips; i++) {
        struct wanted_vip *vip = &reader->into->vips[i];
        int slot = table_vip_by_addr(table, &vip->item.spec.address.addr);
        char text[ADDR_TEXT_MAX];

        if (slot != SLOT_NONE && table->vips[slot].deleted) {
            reader->retry = true;
            return refuse_as(reader, CONTROL_CONFLICT, "try again in a moment",
                config_refuse(&reader->config, cluster_place(vip->at, "address"),
                    "%s is still being released by a VIP that was deleted",
                    addr_format(&vip->item.spec.address.addr, text)));
        }
        while (slot == SLOT_NONE && next < VIPS_MAX && table->vips[next].used) {
            next++;
        }
        if (slot == SLOT_NONE && next == VIPS_MAX) {
            return refuse_as(reader, CONTROL_FAILED, "docs/limits.md states the limits",
                config_refuse(&reader->config, vip->at->key, "a cluster has at most %d VIPs, deleted ones included "
                    "until they are released", VIPS_MAX));
        }
        vip->item.slot = (uint16_t)(slot != SLOT_NONE ? slot : next++);
        reader->into->by_slot[vip->item.slot] = (uint16_t)i;
    }
    return 0;
}

/* ------------------------------------------------------------------ references */

static int compare_to_name(const void *name, const void *vip)
{
    return strcmp(name, ((const struct wanted_vip *)vip)->item.spec.name);
}

#define NEAR_NAMES_MAX 512

static int refuse_vip(struct cluster_reader *reader, const struct document_node *at)
{
    const char *names[NEAR_NAMES_MAX];
    size_t n = 0;

    while (n < reader->into->n_vips && n < NEAR_NAMES_MAX) {
        names[n] = reader->into->vips[n].item.spec.name;
        n++;
    }
    const char *near = near_name(at->text, names, n);
    return config_refuse(&reader->config, at, "'%.63s' is no VIP of this document%s%s%s", at->text,
        near != NULL ? "; did you mean '" : "", near != NULL ? near : "", near != NULL ? "'?" : "");
}

static int compare_slots(const void *a, const void *b)
{
    return *(const uint16_t *)a - *(const uint16_t *)b;
}

static int settle_apart(struct cluster_reader *reader, struct wanted_vip *vip)
{
    struct cluster_document *into = reader->into;
    struct vip_spec *spec = &vip->item.spec;
    const struct document_node *list = cluster_place(vip->at, "apart-from");

    for (const struct document_node *item = list != vip->at ? list->first : NULL; item != NULL; item = item->next) {
        const struct wanted_vip *other =
            bsearch(item->text, into->vips, into->n_vips, sizeof into->vips[0], compare_to_name);

        if (other == NULL) {
            return refuse_vip(reader, item);
        }
        if (other == vip) {
            return config_refuse(&reader->config, item, "VIP '%s' cannot be apart from itself", item->text);
        }
        for (int i = 0; i < spec->n_apart; i++) {
            if (spec->apart[i] == other->item.slot) {
                return config_refuse(&reader->config, item, "VIP '%s' is listed twice", item->text);
            }
        }
        if (spec->group[0] != '\0' && strcmp(spec->group, other->item.spec.group) == 0) {
            return config_refuse(&reader->config, item,
                "VIPs '%s' and '%s' are in the same group, which moves together: expected one of another group, or of none",
                vip->at->key->text, item->text);
        }
        spec->apart[spec->n_apart++] = other->item.slot;
    }
    qsort(spec->apart, spec->n_apart, sizeof spec->apart[0], compare_slots);
    return 0;
}

/* Where groups are listed, a group that is not is a mistyped one. */
static int check_group(struct cluster_reader *reader, const struct wanted_vip *vip)
{
    const struct cluster_document *into = reader->into;
    const char *names[GROUPS_MAX];

    if (!into->has_groups || vip->item.spec.group[0] == '\0') {
        return 0;
    }
    for (int i = 0; i < into->n_groups; i++) {
        names[i] = into->groups[i].group.name;
        if (strcmp(names[i], vip->item.spec.group) == 0) {
            return 0;
        }
    }
    return config_refuse_word(&reader->config, cluster_place(vip->at, "group"), "in groups", names, into->n_groups);
}

/* ------------------------------------------------------------------ what the nodes can honour */

static bool may_hold(const struct table *table, int node, const struct vip_spec *spec)
{
    const struct node *at = &table->nodes[node];

    return at->used && !at->witness && (spec->nodes == 0 || (spec->nodes >> node & 1) != 0);
}

/* Unknown, and so true, as long as the node has reported no interfaces. */
static bool has_link(const struct table *table, int node, const struct vip_spec *spec)
{
    struct vip vip = {.address = spec->address};

    memcpy(vip.dev, spec->dev, sizeof vip.dev);
    return table->nodes[node].n_links == 0 || table_link_for(table, node, &vip) != NULL;
}

static const char *near_dev(const struct table *table, uint64_t nodes, const char *dev)
{
    const char *names[NODES_MAX * LINKS_MAX];
    size_t n = 0;

    for (int node = 0; node < NODES_MAX; node++) {
        for (int i = 0; (nodes >> node & 1) != 0 && i < table->nodes[node].n_links; i++) {
            names[n++] = table->nodes[node].links[i].name;
        }
    }
    return near_name(dev, names, n);
}

/* That the nodes (a set; `who` in words) have no interface for the VIP. */
static int refuse_place(struct cluster_reader *reader, const struct wanted_vip *vip, const struct document_node *at,
    uint64_t nodes, const char *who)
{
    const struct vip_spec *spec = &vip->item.spec;
    char text[PREFIX_TEXT_MAX];
    int rv;

    prefix_format(&spec->address, text);
    if (spec->dev[0] != '\0') {
        const char *near = near_dev(reader->table, nodes, spec->dev);

        rv = config_refuse(&reader->config, at, "%s no interface '%s' for %s%s%s%s", who, spec->dev, text,
            near != NULL ? "; did you mean '" : "", near != NULL ? near : "", near != NULL ? "'?" : "");
    } else {
        rv = config_refuse(&reader->config, at,
            "%s no interface whose subnet contains %s: expected another address, a dev, or other nodes", who, text);
    }
    return refuse_as(reader, CONTROL_UNSAFE, "vipctl node show NODE lists its interfaces; --force does it nevertheless", rv);
}

static int check_node(struct cluster_reader *reader, const struct wanted_vip *vip, const struct document_node *at, int node)
{
    const struct vip_spec *spec = &vip->item.spec;
    char who[NAME_SIZE + 16];

    if (!may_hold(reader->table, node, spec)) {
        return config_refuse(&reader->config, at, "node '%s' is preferred, but is not among the nodes of VIP '%s'",
            reader->table->nodes[node].name, vip->at->key->text);
    }
    if (reader->force || has_link(reader->table, node, spec)) {
        return 0;
    }
    snprintf(who, sizeof who, "node '%s' has", reader->table->nodes[node].name);
    return refuse_place(reader, vip, at, 1ull << node, who);
}

static const struct wanted_group *group_of(const struct cluster_document *into, const struct wanted_vip *vip)
{
    for (int i = 0; i < into->n_groups; i++) {
        if (strcmp(into->groups[i].group.name, vip->item.spec.group) == 0) {
            return &into->groups[i];
        }
    }
    return NULL;
}

/* Each node that is named must be able to hold it; without names, some node must. */
static int check_place(struct cluster_reader *reader, const struct wanted_vip *vip)
{
    const struct vip_spec *spec = &vip->item.spec;
    const struct wanted_group *group = group_of(reader->into, vip);
    uint64_t all = 0;
    int rv = 0;

    for (int node = 0; node < NODES_MAX && rv == 0; node++) {
        if (may_hold(reader->table, node, spec)) {
            all |= 1ull << node;
            rv = spec->nodes != 0 ? check_node(reader, vip, cluster_place(vip->at, spec->dev[0] != '\0' ? "dev" : "nodes"), node) : 0;
        }
    }
    for (int i = 0; i < spec->n_prefers && rv == 0; i++) {
        rv = check_node(reader, vip, cluster_place(vip->at, "prefer"), spec->prefers[i].node);
    }
    for (int i = 0; group != NULL && i < group->group.n_prefers && rv == 0; i++) {
        rv = check_node(reader, vip, cluster_place(group->at, "prefer"), group->group.prefers[i].node);
    }
    for (uint64_t left = all; left != 0 && rv == 0; left &= left - 1) {
        if (reader->force || has_link(reader->table, __builtin_ctzll(left), spec)) {
            return 0;
        }
    }
    return rv != 0 || all == 0 ? rv
                               : refuse_place(reader, vip, cluster_place(vip->at, spec->dev[0] != '\0' ? "dev" : "address"),
                                     all, "the nodes have");
}

/* ------------------------------------------------------------------ what changes */

static bool same_group(const struct group *a, const struct group *b)
{
    struct vip_spec x = {.n_prefers = a->n_prefers}, y = {.n_prefers = b->n_prefers};

    memcpy(x.prefers, a->prefers, sizeof x.prefers);
    memcpy(y.prefers, b->prefers, sizeof y.prefers);
    return (cluster_differ(&x, &y) & VIP_SET_PREFERS) == 0 && a->checks == b->checks && a->failback == b->failback &&
           hooks_equal(a->hooks, b->hooks);
}

static void changed_nodes(struct cluster_reader *reader)
{
    struct cluster_document *into = reader->into;

    for (int node = 0; into->has_nodes && node < NODES_MAX; node++) {
        const struct node *at = &reader->table->nodes[node];

        if (at->used && at->capacity != into->capacities[node]) {
            into->changed_nodes[into->n_changed_nodes++] =
                (struct node_item){.node = (int8_t)node, .id = at->id, .capacity = into->capacities[node]};
        }
    }
}

/* What requires the check and is not settled by the document, in words; NULL: nothing. */
static const char *user_of(const struct cluster_reader *reader, int check, char ret[NAME_SIZE + 8])
{
    const struct table *table = reader->table;

    for (int i = 0; i < table->vips_end && !reader->into->has_vips; i++) {
        if (table->vips[i].used && !table->vips[i].deleted && (table->vips[i].checks >> check & 1) != 0) {
            snprintf(ret, NAME_SIZE + 8, "VIP '%s'", table->vips[i].name);
            return ret;
        }
    }
    for (int i = 0; i < GROUPS_MAX && !reader->into->has_groups; i++) {
        if (table->groups[i].name[0] != '\0' && (table->groups[i].checks >> check & 1) != 0) {
            snprintf(ret, NAME_SIZE + 8, "group '%s'", table->groups[i].name);
            return ret;
        }
    }
    return NULL;
}

static int changed_checks(struct cluster_reader *reader)
{
    struct cluster_document *into = reader->into;
    char who[NAME_SIZE + 8];

    for (int slot = 0; into->has_checks && slot < CHECKS_MAX; slot++) {
        const struct check_spec *now = &reader->table->checks[slot].spec;
        const struct wanted_check *wanted = &into->checks[slot];
        bool is_there = now->name[0] != '\0';

        if (wanted->at != NULL && !(is_there && check_spec_equal(now, &wanted->spec))) {
            into->changed_checks[into->n_changed_checks++] = (struct check_item){.slot = (uint8_t)slot, .spec = wanted->spec};
        }
        if (wanted->at != NULL || !is_there) {
            continue;
        }
        if (user_of(reader, slot, who) != NULL) {
            return refuse_as(reader, CONTROL_CONFLICT,
                "vipctl vip set NAME --require changes what a VIP requires; 'vips' and 'groups' of a document do, too",
                config_refuse(&reader->config, cluster_place(document_root(reader->config.document), "checks"),
                    "check '%s' is not in checks, so it would be deleted, but %s requires it: expected it to be listed here",
                    now->name, who));
        }
        into->changed_checks[into->n_changed_checks++] = (struct check_item){.slot = (uint8_t)slot, .gone = true, .spec = *now};
    }
    return 0;
}

static void changed_groups(struct cluster_reader *reader)
{
    struct cluster_document *into = reader->into;
    const struct table *table = reader->table;

    for (int i = 0; i < into->n_groups; i++) {
        static const struct group none;
        int slot = table_group_by_name(table, into->groups[i].group.name);

        if (!same_group(slot == SLOT_NONE ? &none : &table->groups[slot], &into->groups[i].group)) {
            into->changed_groups[into->n_changed_groups++] = into->groups[i].group;
        }
    }
    for (int slot = 0; into->has_groups && slot < GROUPS_MAX; slot++) {
        bool listed = !group_says(&table->groups[slot]);

        for (int i = 0; i < into->n_groups && !listed; i++) {
            listed = strcmp(into->groups[i].group.name, table->groups[slot].name) == 0;
        }
        if (!listed && into->n_changed_groups < GROUPS_MAX) {
            struct group *gone = &into->changed_groups[into->n_changed_groups++];

            *gone = (struct group){.n_prefers = 0};
            memcpy(gone->name, table->groups[slot].name, sizeof gone->name);
        }
    }
}

static bool group_changes(const struct cluster_document *into, const char *name)
{
    for (int i = 0; i < into->n_changed_groups; i++) {
        if (strcmp(into->changed_groups[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static int changed_vip(struct cluster_reader *reader, struct wanted_vip *vip)
{
    const struct table *table = reader->table;
    struct cluster_document *into = reader->into;
    struct vip_item *item = &vip->item;
    struct vip_spec now;

    item->set = VIP_SET_ALL;
    if (table->vips[item->slot].used) {
        cluster_spec(table, item->slot, &now);
        item->set = cluster_differ(&now, &item->spec);
    }
    if ((item->set & (VIP_SET_DEV | VIP_SET_NODES | VIP_SET_PREFERS | VIP_SET_GROUP | VIP_SET_LEN)) != 0 ||
        group_changes(into, item->spec.group)) {
        int rv = check_place(reader, vip);

        if (rv != 0) {
            return rv;
        }
    }
    if (item->set != 0) {
        struct vip_item *to = &into->items[into->n_items++];

        *to = *item;
        if ((to->set & VIP_SET_NAME) == 0) {
            memset(to->spec.name, 0, sizeof to->spec.name); /* it has one only where it is given */
        }
    }
    return 0;
}

static int compare_items(const void *a, const void *b)
{
    return strcmp(((const struct vip_item *)a)->spec.name, ((const struct vip_item *)b)->spec.name);
}

static int deleted_vips(struct cluster_reader *reader)
{
    struct cluster_document *into = reader->into;
    const struct table *table = reader->table;
    uint64_t stays[VIPS_MAX / 64] = {0};
    uint32_t all = 0;

    for (uint32_t i = 0; i < into->n_vips; i++) {
        stays[into->vips[i].item.slot / 64] |= 1ull << into->vips[i].item.slot % 64;
    }
    for (int slot = 0; slot < table->vips_end; slot++) {
        if (!table->vips[slot].used || table->vips[slot].deleted) {
            continue;
        }
        all++;
        if ((stays[slot / 64] >> slot % 64 & 1) == 0) {
            into->deletes[into->n_deletes++] = (struct move){.vip = (uint16_t)slot, .to = SLOT_NONE,
                .reason = REASON_DELETED, .moved = table->vips[slot].moved};
        }
    }
    if (all > 1 && into->n_deletes == all && !reader->force) {
        return refuse_as(reader, CONTROL_UNSAFE, "vipctl diff -f shows what would change; --force does it nevertheless",
            config_refuse(&reader->config, cluster_place(document_root(reader->config.document), "vips"),
                "none of the cluster's %u VIPs is in this document, so all would be deleted", all));
    }
    return 0;
}

int cluster_judge(struct cluster_reader *reader)
{
    struct cluster_document *into = reader->into;
    int rv = check_addresses(reader);

    into->n_items = into->n_deletes = 0;
    into->n_changed_groups = 0;
    into->n_changed_nodes = 0;
    into->n_changed_checks = 0;
    rv = rv != 0 ? rv : settle_slots(reader);
    for (uint32_t i = 0; i < into->n_vips && rv == 0; i++) {
        rv = check_group(reader, &into->vips[i]);
        rv = rv != 0 ? rv : settle_apart(reader, &into->vips[i]);
    }
    if (rv != 0) {
        return rv;
    }
    into->settings_change = into->has_settings && !settings_equal(&into->settings, &reader->table->settings);
    into->voting_change = into->has_voters && (into->voting.count != reader->table->voting.count ||
                                                  into->voting.replace_ms != reader->table->voting.replace_ms);
    changed_nodes(reader);
    rv = changed_checks(reader);
    changed_groups(reader);
    for (uint32_t i = 0; i < into->n_vips && rv == 0; i++) {
        rv = changed_vip(reader, &into->vips[i]);
    }
    qsort(into->items, into->n_items, sizeof into->items[0], compare_items);
    return rv != 0 || !into->has_vips ? rv : deleted_vips(reader);
}

bool cluster_changes(const struct cluster_document *document)
{
    return document->settings_change || document->voting_change || document->n_changed_nodes > 0 ||
           document->n_changed_checks > 0 || document->n_changed_groups > 0 || document->n_items > 0 || document->n_deletes > 0;
}

struct apply_command cluster_command(const struct table *table, const struct cluster_document *document)
{
    return (struct apply_command){.revision = table->revision,
                                  .has_settings = document->settings_change,
                                  .settings = document->settings,
                                  .has_voting = document->voting_change,
                                  .voting = document->voting,
                                  .n_checks = document->n_changed_checks,
                                  .checks = document->changed_checks,
                                  .n_vips = document->n_items,
                                  .vips = document->items,
                                  .n_deletes = document->n_deletes,
                                  .deletes = document->deletes,
                                  .n_groups = (uint32_t)document->n_changed_groups,
                                  .groups = document->changed_groups,
                                  .n_nodes = document->n_changed_nodes,
                                  .nodes = document->changed_nodes};
}
