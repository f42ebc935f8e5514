/* What the health checks have to say in placing: those that are required take a node out of the question (plan_able.c, by
 * table_passing()), those with a weight lower its preference. */

#include "core/plan_private.h"

uint64_t plan_lowering(const struct table *table)
{
    uint64_t lowering = 0;

    for (int check = 0; check < CHECKS_MAX; check++) {
        lowering |= (uint64_t)(table->checks[check].spec.weight > 0 && table->checks[check].failing != 0) << check;
    }
    return lowering;
}

static uint64_t checks_of(const struct plan *plan, int unit)
{
    uint64_t checks = 0;

    for (int vip = unit; vip != END; vip = plan->scratch->next[vip]) {
        checks |= table_checks_of(plan->table, &plan->table->vips[vip]);
    }
    return checks;
}

int32_t plan_lowered(const struct plan *plan, int unit, int node)
{
    int32_t sum = 0;

    if (plan->lowering == 0) {
        return 0;
    }
    for (uint64_t left = checks_of(plan, unit) & plan->lowering; left != 0; left &= left - 1) {
        const struct check *check = &plan->table->checks[__builtin_ctzll(left)];

        sum += plan_in(check->failing, node) ? check->spec.weight : 0;
    }
    return sum;
}

static bool any_fails(const struct table *table, uint64_t checks, int node)
{
    for (uint64_t left = checks & table->required; left != 0; left &= left - 1) {
        if (plan_in(table->checks[__builtin_ctzll(left)].failing, node)) {
            return true;
        }
    }
    return false;
}

bool plan_fails(const struct plan *plan, int unit, int node)
{
    return plan->table->checks_index != 0 && any_fails(plan->table, checks_of(plan, unit), node);
}

bool plan_released(const struct plan *plan, int vip)
{
    const struct table *table = plan->table;
    const struct vip *at = &table->vips[vip];
    uint64_t release = 0;

    for (uint64_t left = table_checks_of(table, at); left != 0; left &= left - 1) {
        int check = __builtin_ctzll(left);

        release |= (uint64_t)table->checks[check].spec.release << check;
    }
    return plan_in(plan->base, at->owner) && any_fails(table, release, at->owner);
}

enum plan_step plan_checked(const struct plan *plan, int vip, int node)
{
    const struct vip *at = &plan->table->vips[vip];

    if (any_fails(plan->table, table_checks_of(plan->table, at), node)) {
        return PLAN_CHECK_FAILS;
    }
    return table_passing(plan->table, at, 1ull << node) != 0 ? PLAN_CHOSEN : PLAN_CHECK_UNKNOWN;
}
