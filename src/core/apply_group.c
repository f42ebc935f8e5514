/* Groups of VIPs. A group comes into being when a VIP or a command names it, and is forgotten when no VIP is in it and
 * says nothing of its own. */

#include <string.h>

#include "core/apply.h"
#include "core/detail.h"

bool group_says(const struct group *group)
{
    return group->n_prefers > 0 || group->checks != 0 || group->failback != 0 || hooks_any(group->hooks);
}

void apply_groups_forget(const struct apply *apply)
{
    struct table *table = apply->table;
    bool has_vips[GROUPS_MAX] = {false};

    for (int i = 0; i < table->vips_end; i++) {
        if (table->vips[i].used && table->vips[i].group != SLOT_NONE) {
            has_vips[table->vips[i].group] = true;
        }
    }
    for (int group = 0; group < GROUPS_MAX; group++) {
        if (!has_vips[group] && !group_says(&table->groups[group])) {
            memset(&table->groups[group], 0, sizeof table->groups[group]);
        }
    }
}

static int free_group(const struct table *table)
{
    for (int group = 0; group < GROUPS_MAX; group++) {
        if (table->groups[group].name[0] == '\0') {
            return group;
        }
    }
    return SLOT_NONE;
}

int apply_group_named(const struct apply *apply, const char *name)
{
    struct table *table = apply->table;
    int group;

    if (name[0] == '\0' || !check_name(apply, "group", name)) {
        return SLOT_NONE;
    }
    group = table_group_by_name(table, name);
    if (group != SLOT_NONE) {
        return group;
    }
    group = free_group(table);
    if (group == SLOT_NONE) {
        detail_say(apply->outcome, OUTCOME_LIMIT, "no room for group ", name, ": there are 256 already");
        return SLOT_NONE;
    }
    memset(&table->groups[group], 0, sizeof table->groups[group]);
    memcpy(table->groups[group].name, name, strlen(name));
    return group;
}

void apply_group_put(const struct apply *apply, const struct group *wanted)
{
    struct group *group = &apply->table->groups[table_group_by_name(apply->table, wanted->name)];

    memset(group->prefers, 0, sizeof group->prefers);
    memcpy(group->prefers, wanted->prefers, wanted->n_prefers * sizeof group->prefers[0]);
    group->n_prefers = wanted->n_prefers;
    group->checks = wanted->checks;
    hooks_set(group->hooks, wanted->hooks);
    group->failback = wanted->failback;
}

void apply_group_set(const struct apply *apply)
{
    const struct group *wanted = &apply->command->group;

    if (!check_name(apply, "group", wanted->name) || !check_prefers(apply, wanted->prefers, wanted->n_prefers) ||
        !check_checks(apply, wanted->checks) || !check_hooks(apply, wanted->hooks) ||
        !check_failback(apply, wanted->failback)) {
        return;
    }
    if (apply_group_named(apply, wanted->name) == SLOT_NONE) {
        return;
    }
    apply_group_put(apply, wanted);
    apply_history(apply, HISTORY_SETTINGS, REASON_NEW, SLOT_NONE, SLOT_NONE, wanted->name);
    apply_groups_forget(apply);
    apply_revised(apply);
}
