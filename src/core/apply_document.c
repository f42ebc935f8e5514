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

/* Whether the checks of the document can be made, changed and deleted, what requires them aside. */
static bool checks_may(const struct apply *apply, uint64_t *ret_coming, uint64_t *ret_going)
{
    const struct apply_command *wanted = &apply->command->apply;

    for (uint32_t i = 0; i < wanted->n_checks; i++) {
        const struct check_item *item = &wanted->checks[i];
        int holder = table_check_by_name(apply->table, item->spec.name);
        bool is_new = item->slot < CHECKS_MAX && apply->table->checks[item->slot].spec.name[0] == '\0';

        if (item->slot >= CHECKS_MAX || (i > 0 && wanted->checks[i - 1].slot >= item->slot) ||
            (is_new ? item->gone : holder != item->slot)) {
            return stale(apply);
        }
        if (!item->gone && (!check_name(apply, "check", item->spec.name) || !apply_check_may(apply, &item->spec))) {
            return false;
        }
        for (uint32_t k = 0; k < i && is_new; k++) {
            holder = strcmp(wanted->checks[k].spec.name, item->spec.name) == 0 ? wanted->checks[k].slot : holder;
        }
        if (is_new && holder != SLOT_NONE) {
            detail_say(apply->outcome, OUTCOME_CONFLICT, "the name ", item->spec.name, " is in use by another check");
            return false;
        }
        *(item->gone ? ret_going : ret_coming) |= 1ull << item->slot;
    }
    return true;
}

/* That no VIP or group that stays as it is requires a check that goes; what comes and changes check_checks() sees to. */
static bool nobody_requires(const struct apply *apply)
{
    const struct apply_command *wanted = &apply->command->apply;
    const struct table *table = apply->table;
    uint64_t settled[WORDS] = {0};
    const char *user = NULL;

    for (uint32_t i = 0; i < wanted->n_deletes; i++) {
        (void)put_bit(settled, wanted->deletes[i].vip);
    }
    for (uint32_t i = 0; i < wanted->n_vips; i++) {
        if ((wanted->vips[i].set & VIP_SET_CHECKS) != 0) {
            (void)put_bit(settled, wanted->vips[i].slot);
        }
    }
    for (int i = 0; i < table->vips_end && user == NULL; i++) {
        bool stays = table->vips[i].used && !table->vips[i].deleted && !in_bits(settled, i);

        user = stays && (table->vips[i].checks & apply->checks_going) != 0 ? table->vips[i].name : NULL;
    }
    for (int i = 0; i < GROUPS_MAX && user == NULL; i++) {
        bool stays = table->groups[i].name[0] != '\0';

        for (uint32_t k = 0; k < wanted->n_groups && stays; k++) {
            stays = strcmp(wanted->groups[k].name, table->groups[i].name) != 0;
        }
        user = stays && (table->groups[i].checks & apply->checks_going) != 0 ? table->groups[i].name : NULL;
    }
    if (user != NULL) {
        detail_say(apply->outcome, OUTCOME_CONFLICT, "a check that is to be deleted is required by ", user, "");
    }
    return user == NULL;
}

static bool all_may(const struct apply *apply)
{
    const struct apply_command *wanted = &apply->command->apply;

    if ((wanted->has_settings && !check_settings(apply, &wanted->settings)) ||
        (wanted->has_voting && !check_voting(apply, &wanted->voting))) {
        return false;
    }
    for (uint32_t i = 0; i < wanted->n_groups; i++) {
        if (!check_name(apply, "group", wanted->groups[i].name) ||
            !check_prefers(apply, wanted->groups[i].prefers, wanted->groups[i].n_prefers) ||
            !check_checks(apply, wanted->groups[i].checks) || !check_hooks(apply, wanted->groups[i].hooks) ||
            !check_failback(apply, wanted->groups[i].failback)) {
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

static void put_checks(const struct apply *apply)
{
    for (uint32_t i = 0; i < apply->command->apply.n_checks; i++) {
        const struct check_item *item = &apply->command->apply.checks[i];

        if (!item->gone) {
            apply_check_put(apply, item->slot, &item->spec);
        }
    }
}

static void remove_checks(const struct apply *apply)
{
    for (uint64_t left = apply->checks_going; left != 0; left &= left - 1) {
        apply_check_remove(apply, __builtin_ctzll(left));
    }
}

static void change_vips(const struct apply *apply, const uint64_t *added)
{
    const struct apply_command *wanted = &apply->command->apply;

    for (uint32_t i = 0; i < wanted->n_vips; i++) {
        const struct vip_item *item = &wanted->vips[i];
        bool is_new = in_bits(added, item->slot);

        const struct vip *vip = &apply->table->vips[item->slot];
        char was[NAME_SIZE];

        memcpy(was, vip->name, sizeof was);
        bool is_changed = apply_vip_change(apply, item);

        if (is_new) {
            apply_history(apply, HISTORY_VIP_ADD, REASON_NEW, SLOT_NONE, SLOT_NONE, vip->name);
        } else if (is_changed) {
            apply_history_set(apply, REASON_NEW, vip, was, item->set);
        }
    }
}

/* `apply` knows the checks that come and go. */
static void apply_with_checks(const struct apply *apply)
{
    const struct apply_command *wanted = &apply->command->apply;
    struct table *table = apply->table;
    uint64_t free_names[WORDS] = {0}, added[WORDS] = {0};

    if (!list_slots(apply, free_names) || !all_may(apply) || !nobody_requires(apply) || !names_are_free(apply, free_names)) {
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
    if (wanted->has_voting) {
        table->voting = wanted->voting;
    }
    put_checks(apply);
    for (uint32_t i = 0; i < wanted->n_deletes; i++) {
        apply_vip_take_hooks(apply, wanted->deletes[i].vip);
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
    remove_checks(apply);
    apply_groups_forget(apply);
    apply_revised(apply);
}

void apply_document(const struct apply *apply)
{
    struct apply with_checks = *apply;

    if (RULE(L0) && apply->command->apply.revision != apply->table->revision) {
        (void)stale(apply);
        return;
    }
    if (checks_may(apply, &with_checks.checks_coming, &with_checks.checks_going)) {
        apply_with_checks(&with_checks);
    }
}
