/* Health checks come, change and go; what nodes say of them. One that runs something else than before is not known
 * anywhere, until the nodes have looked at what it says now; where only what is made of it was changed, they have. */

#include <string.h>

#include "core/apply.h"
#include "core/detail.h"
#include "core/lookup.h"
#include "core/target.h"

/* Slot of the check of that name, SLOT_NONE, or the outcome set: it is another one than was decided on (L0). */
static int find(const struct apply *apply)
{
    const char *name = apply->command->check.spec.name;
    int slot = table_check_by_name(apply->table, name);
    uint64_t changed = slot == SLOT_NONE ? 0 : apply->table->checks[slot].changed;

    if (RULE(L0) && changed != apply->command->check.changed) {
        detail_say(apply->outcome, OUTCOME_STALE, "check ", name, " was changed meanwhile");
    }
    return slot;
}

bool apply_check_may(const struct apply *apply, const struct check_spec *spec)
{
    struct target target;
    const char *wrong = target_wrong_numbers(spec);

    if (wrong == NULL && (strnlen(spec->target, CHECK_TARGET_SIZE) == CHECK_TARGET_SIZE ||
                          target_parse(spec->kind, spec->target, &target) != NULL)) {
        wrong = "it does not say what it looks at";
    }
    if (wrong != NULL) {
        detail_say(apply->outcome, OUTCOME_INVALID, "check: ", wrong, "");
    }
    return wrong == NULL;
}

static void changed(const struct apply *apply, enum history_kind kind, const char *name)
{
    lookup_checks(apply->table);
    apply->table->checks_index = apply->index;
    apply_history(apply, kind, REASON_NEW, SLOT_NONE, SLOT_NONE, name);
    apply_revised(apply);
}

void apply_check_put(const struct apply *apply, int slot, const struct check_spec *spec)
{
    struct check *check = &apply->table->checks[slot];

    if (check->changed != 0 && check_spec_equal(&check->spec, spec)) {
        return;
    }
    bool known = check->changed != 0 && check_spec_runs_same(&check->spec, spec);
    uint64_t passing = known ? check->passing : 0, failing = known ? check->failing : 0;
    memset(check, 0, sizeof *check);
    check->passing = passing;
    check->failing = failing;
    memcpy(check->spec.name, spec->name, strlen(spec->name));
    memcpy(check->spec.target, spec->target, strlen(spec->target));
    check->spec.kind = spec->kind;
    check->spec.every_ms = spec->every_ms;
    check->spec.timeout_ms = spec->timeout_ms;
    check->spec.fall = spec->fall;
    check->spec.rise = spec->rise;
    check->spec.weight = spec->weight;
    check->spec.node = spec->node;
    check->spec.release = spec->release;
    check->changed = apply->index;
    changed(apply, HISTORY_CHECK_SET, check->spec.name);
}

void apply_check_set(const struct apply *apply)
{
    const struct check_spec *spec = &apply->command->check.spec;
    int slot;

    if (!check_name(apply, "check", spec->name) || !apply_check_may(apply, spec)) {
        return;
    }
    slot = find(apply);
    if (apply->outcome->code != OUTCOME_DONE) {
        return;
    }
    for (int i = 0; slot == SLOT_NONE && i < CHECKS_MAX; i++) {
        slot = apply->table->checks[i].spec.name[0] == '\0' ? i : SLOT_NONE;
    }
    if (slot == SLOT_NONE) {
        detail_say(apply->outcome, OUTCOME_LIMIT, "no room for check ", spec->name, ": there are 64 already");
        return;
    }
    apply_check_put(apply, slot, spec);
}

/* What requires the check, or NULL. */
static const char *user_of(const struct table *table, int check)
{
    for (int i = 0; i < table->vips_end; i++) {
        if (table->vips[i].used && !table->vips[i].deleted && (table->vips[i].checks >> check & 1) != 0) {
            return table->vips[i].name;
        }
    }
    for (int i = 0; i < GROUPS_MAX; i++) {
        if (table->groups[i].name[0] != '\0' && (table->groups[i].checks >> check & 1) != 0) {
            return table->groups[i].name;
        }
    }
    return NULL;
}

void apply_check_remove(const struct apply *apply, int slot)
{
    char name[NAME_SIZE];

    memcpy(name, apply->table->checks[slot].spec.name, sizeof name);
    for (int i = 0; i < apply->table->vips_end; i++) { /* those that are deleted */
        apply->table->vips[i].checks &= ~(1ull << slot);
    }
    memset(&apply->table->checks[slot], 0, sizeof apply->table->checks[slot]);
    changed(apply, HISTORY_CHECK_DELETE, name);
}

void apply_check_delete(const struct apply *apply)
{
    const char *name = apply->command->check.spec.name, *user;
    int slot = find(apply);

    if (apply->outcome->code != OUTCOME_DONE) {
        return;
    }
    if (slot == SLOT_NONE) {
        detail_say(apply->outcome, OUTCOME_NOT_FOUND, "there is no check ", name, "");
        return;
    }
    user = user_of(apply->table, slot);
    if (user != NULL) {
        detail_say(apply->outcome, OUTCOME_CONFLICT, "the check is required by ", user, "");
        return;
    }
    apply_check_remove(apply, slot);
}

/* Brings one node's verdict on one check into the table; whether that changed anything. */
static bool judge(const struct apply *apply, int slot, int node)
{
    const struct command *command = apply->command;
    struct check *check = &apply->table->checks[slot];
    uint64_t bit = 1ull << node;
    bool passes = command->health.passing >> slot & 1, fails = command->health.failing >> slot & 1;
    bool passed = (check->passing & bit) != 0, failed = (check->failing & bit) != 0;

    if (check->spec.name[0] == '\0' || (passes && fails) || (passes == passed && fails == failed)) {
        return false;
    }
    check->passing = passes ? check->passing | bit : check->passing & ~bit;
    check->failing = fails ? check->failing | bit : check->failing & ~bit;
    /* not for the first pass: a start is no news */
    if (fails || failed) {
        apply_history(apply, fails ? HISTORY_CHECK_FAILS : HISTORY_CHECK_PASSES, REASON_HEALTH, SLOT_NONE, node,
                      check->spec.name);
    }
    return true;
}

void apply_health(const struct apply *apply)
{
    int node = apply->command->health.node;
    bool any = false;

    if (!check_node_id(apply, node, apply->command->health.id)) {
        return;
    }
    if (RULE(L0) && apply->command->health.checks != apply->table->checks_index) {
        detail_say(apply->outcome, OUTCOME_STALE, "the checks were changed meanwhile", "", "");
        return;
    }
    for (int slot = 0; slot < CHECKS_MAX; slot++) {
        any |= judge(apply, slot, node);
    }
    if (any) {
        apply_changed(apply);
    }
}
