/* Why it is so, and what would be: both by the function that decides (core/plan.h). */

#include <string.h>

#include "daemon/api_private.h"
#include "daemon/cluster_document.h"

struct plan_input api_plan_now(const struct api_view *view)
{
    struct plan_input input = { .table = view->table, .usable = core_usable(view->core, view->now),
                                .homes = core_homes(view->core) };

    core_steady_ms(view->core, view->now, input.steady_ms);
    return input;
}

/* ---------------------------------------------------------------------------------------------------------- explain */

/* The step that decided, and which check when it is about one. */
static struct value *because(const struct api_call *call, int slot, const struct plan_candidate *candidate)
{
    const struct table *table = call->view->table;
    const struct vip *vip = &table->vips[slot];
    bool fails = candidate->step == PLAN_CHECK_FAILS || candidate->step == PLAN_ALL_FAILED;
    uint64_t checks = table_checks_of(table, vip) & table->required;

    for (uint64_t left = checks; left != 0 && (fails || candidate->step == PLAN_CHECK_UNKNOWN); left &= left - 1) {
        const struct check *check = &table->checks[__builtin_ctzll(left)];
        if (((fails ? check->failing : ~check->passing) >> candidate->node & 1) != 0) {
            return value_format(call->arena, "%s: %s", plan_step_text(candidate->step), check->spec.name);
        }
    }
    return value_string(call->arena, plan_step_text(candidate->step));
}

static void put_candidates(const struct api_call *call, struct value *result, int slot)
{
    const struct api_view *view = call->view;
    struct plan_candidate candidates[NODES_MAX];
    struct plan_input input = api_plan_now(view);
    struct value_arena *arena = call->arena;
    struct value *rows = value_array(arena);
    int n = plan_explain(&input, &view->scratch->plan, slot, candidates);

    for (int i = 0; i < n; i++) {
        struct value *row = value_map(arena);
        value_put_string(arena, row, "node", api_node_name(view->table, candidates[i].node));
        value_put_bool(arena, row, "owner", candidates[i].node == view->table->vips[slot].owner);
        value_put_bool(arena, row, "chosen", candidates[i].step == PLAN_CHOSEN || candidates[i].step == PLAN_ALL_FAILED);
        value_put(arena, row, "because", because(call, slot, &candidates[i]));
        value_put_uint(arena, row, "vips", candidates[i].load);
        value_put_int(arena, row, "weight", candidates[i].weight);
        value_push(arena, rows, row);
    }
    value_put(arena, result, "nodes", rows);
    if (n > 0) {
        static const char *const of[] = { "cluster", "group", "vip" };
        struct value *failback = value_map(arena);
        char mode[CLUSTER_SETTING_SIZE];

        cluster_failback(view->scratch->plan.failback_ms, mode);
        value_put_string(arena, failback, "mode", mode);
        value_put_string(arena, failback, "of", of[view->scratch->plan.failback_of]);
        value_put(arena, result, "failback", failback);
    }
}

/* The nodes of a set, by name. */
static struct value *names_in(const struct api_call *call, uint64_t nodes)
{
    struct value *names = value_array(call->arena);

    for (int node = 0; node < NODES_MAX; node++) {
        if ((nodes >> node & 1) != 0 && call->view->table->nodes[node].used) {
            value_push(call->arena, names, value_string(call->arena, call->view->table->nodes[node].name));
        }
    }
    return names;
}

/* The checks that the VIP has, its own, its group's and the nodes', and what they say: {name, required, passes, fails}. */
static void put_checks(const struct api_call *call, struct value *result, const struct vip *vip)
{
    const struct table *table = call->view->table;
    struct value *rows = value_array(call->arena);

    for (uint64_t left = table_checks_of(table, vip); left != 0; left &= left - 1) {
        const struct check *check = &table->checks[__builtin_ctzll(left)];
        struct value *row = value_map(call->arena);
        value_put_string(call->arena, row, "name", check->spec.name);
        value_put_bool(call->arena, row, "required", check->spec.weight == 0);
        value_put(call->arena, row, "passes", names_in(call, check->passing));
        value_put(call->arena, row, "fails", names_in(call, check->failing));
        value_push(call->arena, rows, row);
    }
    value_put(call->arena, result, "checks", rows);
}

/* How it stands with other hosts that have the address, or say so. */
static struct value *about_hosts(const struct api_call *call, int slot)
{
    const struct vip *vip = &call->view->table->vips[slot];
    const char *owner = api_node_name(call->view->table, vip->owner);
    char mac[MAC_TEXT_SIZE];

    switch (core_vip_conflict(call->view->core, slot, mac)) {
    case CONFLICT_TAKEN:
        return value_format(call->arena, "host %s has it, or is about to: %s does not take it, and asks again every 5 s "
                                         "(vip set --probe no takes it)", mac, owner);
    case CONFLICT_DEFENDED:
        return value_format(call->arena, "host %s announces it, too: %s defends it, by announcing it again", mac, owner);
    case CONFLICT_YIELDED:
        return value_format(call->arena, "host %s announces it: %s gave it up until that host is silent for 30 s "
                                         "(vip set --conflict defend takes it)", mac, owner);
    case CONFLICT_NONE:
        break;
    }
    return value_format(call->arena, "no other host has it%s; were one to announce it, it would be %s",
                        vip->no_probe ? " (not asked for: --no-probe)" : "", vip->yield ? "given up" : "defended");
}

static void explain_vip(const struct api_call *call, const char *name)
{
    int slot = api_find_vip(call, name);

    if (slot == SLOT_NONE) {
        return;
    }
    struct value *result = value_map(call->arena);
    value_put(call->arena, result, "vip", api_vip_row(call, slot));
    put_candidates(call, result, slot);
    put_checks(call, result, &call->view->table->vips[slot]);
    value_put(call->arena, result, "hosts", about_hosts(call, slot));
    call->reply->result = result;
}

static void check(const struct api_call *call, struct value *rows, bool ok, struct value *text)
{
    struct value *row = value_map(call->arena);

    value_put_bool(call->arena, row, "ok", ok);
    value_put(call->arena, row, "text", text);
    value_push(call->arena, rows, row);
}

/* What its health checks say; only what requires one is concerned. */
static void explain_checks(const struct api_call *call, struct value *rows, int node)
{
    const struct table *table = call->view->table;

    for (int slot = 0; slot < CHECKS_MAX; slot++) {
        const struct check *at = &table->checks[slot];
        if (at->spec.name[0] != '\0' && ((at->passing | at->failing) >> node & 1) != 0) {
            bool fails = at->failing >> node & 1;
            check(call, rows, !fails,
                  value_format(call->arena, "check %s %s%s", at->spec.name, fails ? "fails" : "passes",
                               !fails                 ? ""
                               : at->spec.weight > 0 ? ": it is less preferred"
                                                     : ": nothing that requires it comes here"));
        }
    }
}

static void explain_membership(const struct api_call *call, struct value *rows, int slot)
{
    const struct api_view *view = call->view;
    const struct node *node = &view->table->nodes[slot];
    uint32_t held_ms = core_hold_down_ms(view->core, slot, view->now);
    struct value_arena *arena = call->arena;

    if (held_ms > 0) {
        check(call, rows, false,
              value_format(arena, "it came and went too often: it is held down for %u s more", (held_ms + 999) / 1000));
    } else {
        check(call, rows, node->status == NODE_ADMITTED,
              value_string(arena, node->status == NODE_ADMITTED ? "it is admitted"
                                  : node->status == NODE_FENCED
                                      ? "it is fenced: it was not heard, or did not do what it had to"
                                      : "it is not admitted: it must be heard and up to date first"));
    }
    if (node->removing) {
        check(call, rows, false, value_string(arena, "it is being removed from the cluster"));
    }
}

/* Heard by the leader, with a lease, and doing what it is told. */
static void explain_usable(const struct api_call *call, struct value *rows, int slot)
{
    const struct api_view *view = call->view;
    uint32_t lease_ms = core_node_lease_ms(view->core, slot, view->now);
    enum node_state state = core_node_state(view->core, slot, view->now);
    bool usable = core_usable(view->core, view->now) >> slot & 1, stuck = core_stuck(view->core, slot, view->now);
    struct value_arena *arena = call->arena;

    if (usable) {
        check(call, rows, true, value_format(arena, "it is heard, and has a lease for %u ms more", lease_ms));
    } else {
        check(call, rows, false,
              value_string(arena, stuck                                ? "it does not hold what it could"
                                  : core_disk_late_ms(view->core, slot, view->now) > 0 ? "its disk hangs"
                                  : state == NODE_STATE_DOWN           ? "it is not heard"
                                  : lease_ms == 0                      ? "it has no lease: no majority supports it"
                                                                       : "it is not heard, or fenced"));
    }
}

static void explain_links(const struct api_call *call, struct value *rows, const struct node *node)
{
    if (node->n_links == 0) {
        check(call, rows, false, value_string(call->arena, "it has no interface that may carry VIPs"));
    }
    for (unsigned i = 0; i < node->n_links; i++) {
        check(call, rows, node->links[i].up,
              value_format(call->arena, "interface %s is %s", node->links[i].name, node->links[i].up ? "up" : "down"));
    }
}

/* What a node needs to be given VIPs, one after the other; whether it can be is the planner's word (steps of plan_on_node()). */
static void explain_node(const struct api_call *call, const char *name)
{
    const struct api_view *view = call->view;
    int slot = api_find_node(call, name);

    if (slot == SLOT_NONE) {
        return;
    }
    const struct node *node = &view->table->nodes[slot];
    struct plan_input input = api_plan_now(view);
    struct value_arena *arena = call->arena;
    struct value *result = value_map(arena), *rows = value_array(arena);
    enum plan_step step = plan_on_node(&input, slot);
    bool up = false;
    for (unsigned i = 0; i < node->n_links; i++) {
        up |= node->links[i].up;
    }
    check(call, rows, !node->witness, value_string(arena, node->witness ? "it is a witness: it votes and never holds a VIP"
                                                                        : "it is no witness"));
    explain_membership(call, rows, slot);
    check(call, rows, !node->draining,
          value_string(arena, maintenance_has(&view->table->maintenance, slot) ? "it is under maintenance: vipctl maintenance status"
                              : node->draining ? "it is drained: vipctl undrain ends that"
                                               : "it is not drained"));
    check(call, rows, !node->leaving,
          value_string(arena, node->leaving ? "it is shutting down" : "it is not shutting down"));
    explain_usable(call, rows, slot);
    explain_links(call, rows, node);
    explain_checks(call, rows, slot);
    value_put(arena, result, "node", api_node_row(call, slot));
    value_put_bool(arena, result, "can_hold", step == PLAN_CHOSEN && up);
    if (step != PLAN_CHOSEN || !up) {
        value_put_string(arena, result, "because", step != PLAN_CHOSEN ? plan_step_text(step) : "no interface is up");
    }
    value_put(arena, result, "checks", rows);
    call->reply->result = result;
}

void api_explain(const struct api_call *call)
{
    const char *vip = api_arg_text(call, "vip"), *node = api_arg_text(call, "node");

    if (vip != NULL) {
        explain_vip(call, vip);
    } else if (node != NULL) {
        explain_node(call, node);
    } else {
        (void)api_no(call, CONTROL_USAGE, NULL, "the request names neither a VIP nor a node");
    }
}

/* ------------------------------------------------------------------------------------------------------------- plan */

/* The nodes that an argument lists; false after the refusal. */
static bool nodes_argument(const struct api_call *call, const char *key, uint64_t *ret)
{
    uint64_t nodes = 0;

    for (const struct value *item = value_first(api_arg(call, key)); item != NULL; item = item->next) {
        int node = api_find_node(call, value_as_string(item, ""));
        if (node == SLOT_NONE) {
            return false;
        }
        nodes |= 1ull << node;
    }
    *ret = nodes;
    return true;
}

struct value *api_move_row(const struct api_call *call, const struct table *table, const struct move *move)
{
    const struct vip *vip = &table->vips[move->vip];
    struct value *row = value_map(call->arena);
    char text[PREFIX_TEXT_MAX];

    value_put_string(call->arena, row, "vip", vip->name);
    value_put_string(call->arena, row, "address", prefix_format(&vip->address, text));
    value_put_string(call->arena, row, "from", api_node_name(table, vip->owner));
    value_put_string(call->arena, row, "to", api_node_name(table, move->to));
    value_put_string(call->arena, row, "reason", reason_text(move->reason));
    return row;
}

static struct value *stranded(const struct api_call *call, const struct plan_input *input, uint32_t n_moves)
{
    const struct api_view *view = call->view;
    struct value *names = value_array(call->arena);
    uint64_t *set = view->scratch->taken;

    (void)plan_stranded(input, view->scratch->moves, n_moves, set);
    for (int slot = 0; slot < view->table->vips_end && names != NULL && names->n < API_ROWS_MAX; slot++) {
        if ((set[slot / 64] >> slot % 64 & 1) != 0) {
            value_push(call->arena, names, value_string(call->arena, view->table->vips[slot].name));
        }
    }
    return names;
}

void api_plan(const struct api_call *call)
{
    const struct api_view *view = call->view;
    struct plan_input input = api_plan_now(view);

    if (!nodes_argument(call, "fail", &input.excluded) || !nodes_argument(call, "drain", &input.drained)) {
        return;
    }
    uint32_t n = plan_moves(&input, &view->scratch->plan, view->scratch->moves, VIPS_MAX);
    struct value *result = value_map(call->arena), *rows = value_array(call->arena);
    for (uint32_t i = 0; i < n && i < API_ROWS_MAX; i++) {
        value_push(call->arena, rows, api_move_row(call, view->table, &view->scratch->moves[i]));
    }
    value_put_uint(call->arena, result, "moves", n);
    value_put_bool(call->arena, result, "quorum", core_keeps_quorum(view->core, input.excluded, view->now));
    value_put_uint(call->arena, result, "voters", (uint64_t)__builtin_popcountll(view->table->voters));
    value_put_uint(call->arena, result, "voters_left", (uint64_t)core_voters_left(view->core, input.excluded, view->now));
    value_put(call->arena, result, "rows", rows);
    value_put(call->arena, result, "nowhere", stranded(call, &input, n));
    call->reply->result = result;
}
