/* A cluster document as one entry: all of it or nothing.
 *
 * Everything is judged before anything is changed, but for what can be taken back: groups that are made and VIPs that are
 * added come first, and show whether addresses are free and there is room. What follows cannot fail. */

#include <string.h>

#include "core/apply.h"
#include "core/detail.h"

#define WORDS (VIPS_MAX / 64)

static bool in_bits(const uint64_t *bits, int slot)
{
    return (bits[slot / 64] >> slot % 64 & 1) != 0;
}

static bool put_bit(uint64_t *bits, int slot)
{
    bool was = in_bits(bits, slot);

    bits[slot / 64] |= 1ull << slot % 64;
    return !was;
}

static bool stale(const struct apply *apply)
{
    detail_say(apply->outcome, OUTCOME_STALE, "the configuration was changed meanwhile", "", "");
    return false;
}

/* Slots whose VIP gives up its name in this entry; false: a slot is named twice, or what is to be deleted has moved. */
static bool list_slots(const struct apply *apply, uint64_t *ret_free_names)
{
    const struct apply_command *wanted = &apply->command->apply;
    uint64_t seen[WORDS] = {0};

    for (uint32_t i = 0; i < wanted->n_deletes; i++) {
        const struct move *at = &wanted->deletes[i];

        if (!apply_vip_current(apply, at) || !put_bit(seen, at->vip)) {
            return stale(apply);
        }
        (void)put_bit(ret_free_names, at->vip);
    }
    for (uint32_t i = 0; i < wanted->n_vips; i++) {
        if (wanted->vips[i].slot >= VIPS_MAX || !put_bit(seen, wanted->vips[i].slot)) {
            return stale(apply);
        }
        if ((wanted->vips[i].set & VIP_SET_NAME) != 0) {
            (void)put_bit(ret_free_names, wanted->vips[i].slot);
        }
    }
    return true;
}

/* The names are in order, so two that are the same would follow each other. */
static bool names_are_free(const struct apply *apply, const uint64_t *free_names)
{
    const struct apply_command *wanted = &apply->command->apply;

    for (uint32_t i = 0; i < wanted->n_vips; i++) {
        const struct vip_item *item = &wanted->vips[i];
        int holder = table_vip_by_name(apply->table, item->spec.name);
        bool twice = i > 0 && strcmp(wanted->vips[i - 1].spec.name, item->spec.name) >= 0;

        if ((item->set & VIP_SET_NAME) == 0 ? item->spec.name[0] != '\0' : twice) {
            detail_say(apply->outcome, OUTCOME_INVALID, "the VIPs of a document are in the order of their names", "", "");
            return false;
        }
        if ((item->set & VIP_SET_NAME) != 0 && holder != SLOT_NONE && !in_bits(free_names, holder)) {
            detail_say(apply->outcome, OUTCOME_CONFLICT, "the name ", item->spec.name, " is in use by VIP ");
            detail_addr(apply->outcome, &apply->table->vips[holder].address.addr);
            return false;
        }
    }
    return true;
}

static bool all_may(const struct apply *apply)
{
    const struct apply_command *wanted = &apply->command->apply;

    if (wanted->has_settings && !check_settings(apply, &wanted->settings)) {
        return false;
    }
    for (uint32_t i = 0; i < wanted->n_groups; i++) {
        if (!check_name(apply, "group", wanted->groups[i].name) ||
            !check_prefers(apply, wanted->groups[i].prefers, wanted->groups[i].n_prefers) ||
            !check_checks(apply, wanted->groups[i].checks)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < wanted->n_nodes; i++) {
        if (!check_node_id(apply, wanted->nodes[i].node, wanted->nodes[i].id)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < wanted->n_vips; i++) {
        if (!apply_vip_may(apply, &wanted->vips[i])) {
            return false;
        }
    }
    return true;
}

/* ------------------------------------------------------------------ what can be taken back */

static bool make_groups(const struct apply *apply)
{
    const struct apply_command *wanted = &apply->command->apply;

    for (uint32_t i = 0; i < wanted->n_groups; i++) {
        if (apply_group_named(apply, wanted->groups[i].name) == SLOT_NONE) {
            return false;
        }
    }
    for (uint32_t i = 0; i < wanted->n_vips; i++) {
        const struct vip_item *item = &wanted->vips[i];

        if ((item->set & VIP_SET_GROUP) != 0 && item->spec.group[0] != '\0' &&
            apply_group_named(apply, item->spec.group) == SLOT_NONE) {
            return false;
        }
    }
    return true;
}

/* Marks those that were added. */
static bool add_vips(const struct apply *apply, uint64_t *ret_added)
{
    const struct apply_command *wanted = &apply->command->apply;

    for (uint32_t i = 0; i < wanted->n_vips; i++) {
        if (!apply->table->vips[wanted->vips[i].slot].used) {
            if (!apply_vip_insert(apply, &wanted->vips[i])) {
                return false;
            }
            (void)put_bit(ret_added, wanted->vips[i].slot);
        }
    }
    for (uint32_t i = 0; i < wanted->n_vips; i++) {
        if (!apply_vip_apart_may(apply, &wanted->vips[i])) {
            return false;
        }
    }
    return true;
}

/* ------------------------------------------------------------------ the rest */

static void keep(const struct apply *apply)
{
    const struct apply_command *wanted = &apply->command->apply;
    struct table *table = apply->table;
    struct kept_document *kept;

    if (wanted->kept_size == 0 || wanted->kept_size > KEPT_BYTES_MAX) {
        return;
    }
    kept = &table->kept[table->n_kept++ % KEPT_MAX];
    memset(kept, 0, sizeof *kept);
    kept->revision = table->revision;
    kept->until_ms = apply->command->at_ms;
    kept->size = wanted->kept_size;
    memcpy(kept->text, wanted->kept, wanted->kept_size);
}

static void change_vips(const struct apply *apply, const uint64_t *added)
{
    const struct apply_command *wanted = &apply->command->apply;

    for (uint32_t i = 0; i < wanted->n_vips; i++) {
        const struct vip_item *item = &wanted->vips[i];
        bool is_new = in_bits(added, item->slot);

        if (apply_vip_change(apply, item) || is_new) {
            apply_history(apply, is_new ? HISTORY_VIP_ADD : HISTORY_VIP_SET, REASON_NEW, SLOT_NONE, SLOT_NONE,
                          apply->table->vips[item->slot].name);
        }
    }
}

void apply_document(const struct apply *apply)
{
    const struct apply_command *wanted = &apply->command->apply;
    struct table *table = apply->table;
    uint64_t free_names[WORDS] = {0}, added[WORDS] = {0};

    if (RULE(L0) && wanted->revision != table->revision) {
        (void)stale(apply);
        return;
    }
    if (!list_slots(apply, free_names) || !all_may(apply) || !names_are_free(apply, free_names)) {
        return;
    }
    if (!make_groups(apply) || !add_vips(apply, added)) {
        apply_vip_take_back(apply);
        return;
    }
    keep(apply);
    apply_history(apply, HISTORY_APPLY, REASON_NEW, SLOT_NONE, SLOT_NONE, wanted->source);
    if (wanted->has_settings) {
        table->settings = wanted->settings;
    }
    for (uint32_t i = 0; i < wanted->n_groups; i++) {
        apply_group_put(apply, &wanted->groups[i]);
    }
    for (uint32_t i = 0; i < wanted->n_nodes; i++) {
        table->nodes[wanted->nodes[i].node].capacity = wanted->nodes[i].capacity;
    }
    change_vips(apply, added);
    for (uint32_t i = 0; i < wanted->n_deletes; i++) {
        apply_vip_remove(apply, wanted->deletes[i].vip);
    }
    apply_groups_forget(apply);
    apply_revised(apply);
}
