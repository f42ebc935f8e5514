/* What is: the lists of VIPs and nodes, single ones, history; and the dispatch of reading operations. */

#include <string.h>

#include "daemon/api_private.h"

#define SHOWN_HISTORY 10 /* entries that `vip.show` has */

/* ------------------------------------------------------------------------------------------------------------ lists */

uint32_t api_rows_max(const struct api_call *call)
{
    uint64_t max = value_as_uint(api_arg(call, "max"), API_ROWS_MAX);

    return (uint32_t)(max < 1 ? 1 : max > API_ROWS_MAX ? API_ROWS_MAX : max);
}

/* What is to be put into the arguments to get the rows that follow these. */
static void put_next(const struct api_call *call, struct value *result, const char *key, uint64_t at)
{
    struct value *next = value_map(call->arena);

    value_put_uint(call->arena, next, key, at);
    value_put(call->arena, result, "next", next);
}

/* What a list of VIPs is limited to. */
struct vip_filter
{
    int node; /* SLOT_NONE: any */
    const char *state, *group; /* NULL: any */
};

static bool vip_filter(const struct api_call *call, struct vip_filter *ret)
{
    const char *node = api_arg_text(call, "node"), *state = api_arg_text(call, "state");

    *ret = (struct vip_filter){ .node = SLOT_NONE, .state = state, .group = api_arg_text(call, "group") };
    if (node != NULL) {
        ret->node = api_find_node(call, node);
        return ret->node != SLOT_NONE;
    }
    for (int i = VIP_HELD; state != NULL && strcmp(api_vip_state_text((enum vip_state)i), state) != 0; i++) {
        if (i == VIP_DISABLED) {
            (void)api_no(call, CONTROL_USAGE, "held, moving, unheld or disabled", "there is no state \"%.100s\"",
                         state);
            return false;
        }
    }
    return true;
}

static bool vip_passes(const struct api_call *call, int slot, const struct vip_filter *filter)
{
    const struct table *table = call->view->table;
    const struct vip *vip = &table->vips[slot];
    char why[192];

    if (!vip->used || vip->deleted || (filter->node != SLOT_NONE && vip->owner != filter->node)) {
        return false;
    }
    if (filter->group != NULL &&
        (vip->group == SLOT_NONE || strcmp(table->groups[vip->group].name, filter->group) != 0)) {
        return false;
    }
    return filter->state == NULL ||
           strcmp(api_vip_state_text(core_vip_state(call->view->core, slot, call->view->now, why)), filter->state) == 0;
}

/* {rows, next?: {after}} */
static void vip_list(const struct api_call *call)
{
    const struct table *table = call->view->table;
    struct value *result = value_map(call->arena), *rows = value_array(call->arena);
    int64_t after = value_as_int(api_arg(call, "after"), SLOT_NONE);
    uint32_t n = 0, max = api_rows_max(call);
    int slot = after >= 0 && after < VIPS_MAX ? (int)after + 1 : 0;
    struct vip_filter filter;

    if (!vip_filter(call, &filter)) {
        return;
    }
    for (; slot < table->vips_end && n < max; slot++) {
        if (vip_passes(call, slot, &filter)) {
            value_push(call->arena, rows, api_vip_row(call, slot));
            n++;
        }
    }
    value_put(call->arena, result, "rows", rows);
    if (slot < table->vips_end) {
        put_next(call, result, "after", (uint64_t)slot - 1);
    }
    call->reply->result = result;
}

/* ----------------------------------------------------------------------------------------------------- single things */

static const char *name_argument(const struct api_call *call, const char *what)
{
    const char *name = api_arg_text(call, "name");

    if (name == NULL) {
        (void)api_no(call, CONTROL_USAGE, NULL, "the request names no %s", what);
    }
    return name;
}

static void vip_show(const struct api_call *call)
{
    const char *name = name_argument(call, "VIP");
    int slot = name == NULL ? SLOT_NONE : api_find_vip(call, name);

    if (slot == SLOT_NONE) {
        return;
    }
    struct value *row = api_vip_row(call, slot);
    value_put(call->arena, row, "history",
              api_history_of(call, call->view->table->vips[slot].name, SHOWN_HISTORY));
    call->reply->result = row;
}

static struct value *links_of(const struct api_call *call, const struct node *node)
{
    struct value *links = value_array(call->arena);
    char text[PREFIX_TEXT_MAX];

    for (unsigned i = 0; i < node->n_links; i++) {
        struct value *link = value_map(call->arena), *prefixes = value_array(call->arena);
        for (unsigned k = 0; k < node->links[i].n_prefixes; k++) {
            value_push(call->arena, prefixes,
                       value_string(call->arena, prefix_format(&node->links[i].prefixes[k], text)));
        }
        value_put_string(call->arena, link, "name", node->links[i].name);
        value_put_bool(call->arena, link, "up", node->links[i].up);
        value_put(call->arena, link, "addresses", prefixes);
        value_push(call->arena, links, link);
    }
    return links;
}

static void node_show(const struct api_call *call)
{
    const char *name = name_argument(call, "node");
    int slot = name == NULL ? SLOT_NONE : api_find_node(call, name);

    if (slot == SLOT_NONE) {
        return;
    }
    const struct node *node = &call->view->table->nodes[slot];
    struct value *row = api_node_row(call, slot);
    value_put_string(call->arena, row, "membership", node_status_text(node->status));
    value_put_uint(call->arena, row, "gen", node->gen);
    value_put_bool(call->arena, row, "draining", node->draining);
    value_put_bool(call->arena, row, "leaving", node->leaving);
    value_put(call->arena, row, "links", links_of(call, node));
    call->reply->result = row;
}

static void node_list(const struct api_call *call)
{
    struct value *result = value_map(call->arena);

    value_put(call->arena, result, "rows", api_node_rows(call));
    call->reply->result = result;
}

/* --------------------------------------------------------------------------------------------------------- dispatch */

static const struct
{
    const char *op;
    void (*answer)(const struct api_call *call);
} readers[] = {
    { "status", api_status },     { "vip.list", vip_list },   { "vip.show", vip_show }, { "node.list", node_list },
    { "node.show", node_show }, { "history", api_history }, { "events", api_events }, { "leader", api_leader },     { "settings", api_settings },
    { "daemon", api_own },        { "version", api_version },     { "explain", api_explain }, { "plan", api_plan },
    { "doctor", api_doctor },       { "wait", api_wait },         { "diff", api_diff },     { "export", api_export },
    { "revisions", api_revisions }, { "check.list", api_check_list },
    { "check.show", api_check_show }, { "check.own", api_check_own },
    { "maintenance.plan", api_maintenance_plan }, { "maintenance.show", api_maintenance_show },
    { "hook.own", api_hook_own },
};

void api_read(const struct api_view *view, const struct control_request *request, struct value_arena *arena,
              struct control_reply *ret)
{
    struct control_reply reply = { .code = CONTROL_DONE, .index = view->table->applied, .local = view->local };
    const struct api_call call = { view, request, arena, &reply };
    size_t i = 0;

    while (i < sizeof readers / sizeof readers[0] && strcmp(readers[i].op, request->op) != 0) {
        i++;
    }
    if (i == sizeof readers / sizeof readers[0]) {
        (void)api_no(&call, CONTROL_USAGE, "vipctl version tells which node runs which version",
                     "node %s (vipd %s) does not know the operation \"%s\": upgrade it first", view->daemon->node, VIPD_VERSION,
                     request->op);
    } else {
        readers[i].answer(&call);
    }
    if (value_failed(arena) && reply.code == CONTROL_DONE) {
        reply = (struct control_reply){ .code = CONTROL_FAILED, .error = "the answer is beyond the limit of a reply" };
    }
    reply.local = view->local;
    *ret = reply;
}
