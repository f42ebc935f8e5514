/* Why it is so, and what would be: both by the function that decides (core/plan.h). */

#include <stdio.h>
#include <string.h>

#include "daemon/api_private.h"

static struct plan_input plan_now(const struct api_view *view)
{
    struct plan_input input = { .table = view->table, .usable = core_usable(view->core, view->now) };

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
    struct plan_input input = plan_now(view);
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
    call->reply->result = result;
}

static void check(const struct api_call *call, struct value *rows, bool ok, const char *text)
{
    struct value *row = value_map(call->arena);

    value_put_bool(call->arena, row, "ok", ok);
    value_put_string(call->arena, row, "text", text);
    value_push(call->arena, rows, row);
}

/* What its health checks say; only what requires one is concerned. */
static void explain_checks(const struct api_call *call, struct value *rows, int node)
{
    const struct table *table = call->view->table;
    char text[NAME_SIZE + 64];

    for (int slot = 0; slot < CHECKS_MAX; slot++) {
        const struct check *at = &table->checks[slot];
        if (at->spec.name[0] != '\0' && ((at->passing | at->failing) >> node & 1) != 0) {
            bool fails = at->failing >> node & 1;
            snprintf(text, sizeof text, "check %s %s%s", at->spec.name, fails ? "fails" : "passes",
                     !fails ? "" : at->spec.weight > 0 ? ": it is less preferred" : ": nothing that requires it comes here");
            check(call, rows, !fails, text);
        }
    }
}

/* What a node needs to be given VIPs, one after the other. */
static void explain_node(const struct api_call *call, const char *name)
{
    const struct api_view *view = call->view;
    int slot = api_find_node(call, name);

    if (slot == SLOT_NONE) {
        return;
    }
    const struct node *node = &view->table->nodes[slot];
    struct value *result = value_map(call->arena), *rows = value_array(call->arena);
    bool up = false, member = node->status == NODE_ADMITTED;
    bool usable = core_usable(view->core, view->now) >> slot & 1;
    for (unsigned i = 0; i < node->n_links; i++) {
        up |= node->links[i].up;
    }
    check(call, rows, !node->witness, node->witness ? "it is a witness: it votes and never holds a VIP"
                                                    : "it is no witness");
    check(call, rows, member,
          member                        ? "it is admitted"
          : node->status == NODE_FENCED ? "it is fenced: it was not heard, or did not release what it had to"
                                        : "it is not admitted: it must be heard and up to date first");
    check(call, rows, !node->draining, maintenance_has(&view->table->maintenance, slot) ? "it is under maintenance: vipctl maintenance status"
          : node->draining                                    ? "it is drained: vipctl undrain ends that"
                                                              : "it is not drained");
    check(call, rows, !node->leaving, node->leaving ? "it is shutting down" : "it is not shutting down");
    check(call, rows, usable, usable ? "it is heard and has a lease" : "it is not heard, or has no lease");
    check(call, rows, up, up ? "it has an interface that is up" : "it has no interface that is up");
    explain_checks(call, rows, slot);
    value_put(call->arena, result, "node", api_node_row(call, slot));
    value_put_bool(call->arena, result, "can_hold", !node->witness && member && !node->draining && !node->leaving &&
                                                        usable && up);
    value_put(call->arena, result, "checks", rows);
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

/* The VIPs that stay without a node that could hold them: those of the nodes that are gone, and those without owner,
 * that no move gives to another. */
static struct value *stranded(const struct api_call *call, uint64_t gone, uint32_t n_moves)
{
    const struct api_view *view = call->view;
    uint64_t *placed = view->scratch->taken;
    struct value *names = value_array(call->arena);

    memset(placed, 0, sizeof view->scratch->taken);
    for (uint32_t i = 0; i < n_moves; i++) {
        const struct move *move = &view->scratch->moves[i];
        placed[move->vip / 64] |= (uint64_t)(move->to != SLOT_NONE) << move->vip % 64;
    }
    for (int slot = 0; slot < view->table->vips_end && names != NULL && names->n < API_ROWS_MAX; slot++) {
        const struct vip *vip = &view->table->vips[slot];
        bool without = vip->owner == SLOT_NONE || (gone >> vip->owner & 1) != 0;
        if (vip->used && !vip->deleted && vip->enabled && without && (placed[slot / 64] >> slot % 64 & 1) == 0) {
            value_push(call->arena, names, value_string(call->arena, vip->name));
        }
    }
    return names;
}

/* The majority of the voters must remain, or nothing is held at all. */
static bool keeps_quorum(const struct api_view *view, uint64_t failed)
{
    uint64_t left = view->table->voters & ~failed;

    for (int node = 0; node < NODES_MAX; node++) {
        if (left >> node & 1 && core_node_state(view->core, node, view->now) == NODE_STATE_DOWN) {
            left &= ~(1ull << node);
        }
    }
    return __builtin_popcountll(left) >= majority_of(view->table->voters);
}

void api_plan(const struct api_call *call)
{
    const struct api_view *view = call->view;
    struct plan_input input = plan_now(view);

    if (!nodes_argument(call, "fail", &input.excluded) || !nodes_argument(call, "drain", &input.drained)) {
        return;
    }
    uint32_t n = plan_moves(&input, &view->scratch->plan, view->scratch->moves, VIPS_MAX);
    struct value *result = value_map(call->arena), *rows = value_array(call->arena);
    for (uint32_t i = 0; i < n && i < API_ROWS_MAX; i++) {
        value_push(call->arena, rows, api_move_row(call, view->table, &view->scratch->moves[i]));
    }
    bool quorum = keeps_quorum(view, input.excluded);
    value_put_uint(call->arena, result, "moves", n);
    value_put_bool(call->arena, result, "quorum", quorum);
    value_put(call->arena, result, "rows", rows);
    value_put(call->arena, result, "nowhere", stranded(call, input.excluded | input.drained, n));
    call->reply->result = result;
}
