/* Whether the cluster survives the loss of any one node: for each the planner is asked what it would do, and what would be left
 * without a place. With many VIPs and nodes that is more than the loop has time for at once, so it goes node by node, and what
 * is known stays known until the table changes, or who is usable. */

#include <string.h>

#include "daemon/api_private.h"

bool api_has_survey(const char *op)
{
    return strcmp(op, "status") == 0;
}

static bool is_current(const struct api_view *view, const struct api_survey *survey)
{
    return survey->changed == view->table->changed && survey->changed != 0 &&
           survey->usable == core_usable(view->core, view->now);
}

/* What is lost already is nothing that could be survived. */
static bool is_here(const struct api_view *view, int node)
{
    enum node_state state = view->table->nodes[node].used ? core_node_state(view->core, node, view->now) : NODE_STATE_DOWN;

    return state != NODE_STATE_DOWN && state != NODE_STATE_FENCED;
}

static void look_at(const struct api_view *view, struct api_survey *survey, int node)
{
    struct plan_input input = api_plan_now(view);
    uint64_t *stranded = view->scratch->taken;

    input.excluded = 1ull << node;
    uint32_t n = plan_moves(&input, &view->scratch->plan, view->scratch->moves, VIPS_MAX);
    (void)plan_stranded(&input, view->scratch->moves, n, stranded);
    for (int slot = 0; slot < view->table->vips_end; slot++) {
        if ((stranded[slot / 64] >> slot % 64 & 1) != 0 && view->table->vips[slot].owner == node) {
            if (survey->stranded[node] < API_SURVEY_NAMED) {
                survey->named[node][survey->stranded[node]] = (uint16_t)slot;
            }
            survey->stranded[node]++;
        }
    }
}

bool api_survey_step(const struct api_view *view, struct api_survey *survey)
{
    if (!is_current(view, survey)) {
        *survey = (struct api_survey){ .changed = view->table->changed, .usable = core_usable(view->core, view->now) };
    }
    /* A node that owns nothing leaves nothing behind. */
    uint32_t loads[NODES_MAX];
    api_loads(view->table, loads);
    while (survey->next < NODES_MAX && (!view->table->nodes[survey->next].used || loads[survey->next] == 0)) {
        survey->next++;
    }
    if (survey->next < NODES_MAX) {
        look_at(view, survey, survey->next++);
    }
    return survey->next == NODES_MAX;
}

/* One node whose loss is not survived. */
static struct value *loss_row(const struct api_call *call, int node, bool quorum)
{
    const struct api_survey *survey = call->view->survey;
    struct value_arena *arena = call->arena;
    struct value *row = value_map(arena), *names = value_array(arena);

    for (uint32_t i = 0; i < survey->stranded[node] && i < API_SURVEY_NAMED; i++) {
        value_push(arena, names, value_string(arena, call->view->table->vips[survey->named[node][i]].name));
    }
    value_put_string(arena, row, "node", call->view->table->nodes[node].name);
    value_put_bool(arena, row, "quorum", quorum);
    value_put_uint(arena, row, "unheld", survey->stranded[node]);
    value_put(arena, row, "vips", names);
    return row;
}

/* survives: true, false, or null when it is not known; losses: {node, quorum, unheld, vips} of each that is not survived. */
void api_put_survey(const struct api_call *call, struct value *result)
{
    const struct api_view *view = call->view;
    const struct api_survey *survey = view->survey;
    struct value *losses = value_array(call->arena);
    bool known = survey != NULL && survey->next == NODES_MAX && is_current(view, survey) && !view->local;

    for (int node = 0; known && node < NODES_MAX; node++) {
        bool quorum = core_keeps_quorum(view->core, 1ull << node, view->now);
        if (is_here(view, node) && (!quorum || survey->stranded[node] > 0)) {
            value_push(call->arena, losses, loss_row(call, node, quorum));
        }
    }
    value_put(call->arena, result, "survives",
              known && losses != NULL ? value_bool(call->arena, losses->n == 0) : value_nil(call->arena));
    value_put(call->arena, result, "losses", losses);
}
