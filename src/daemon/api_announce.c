/* "vip.announce": by the node that holds the VIP, and nobody else. */

#include "daemon/api_private.h"

/* The only VIP that the request names, or SLOT_NONE after the refusal. */
static int named(const struct api_call *call)
{
    const struct value *vips = api_arg(call, "vips");

    if (!value_is(vips, VALUE_ARRAY) || vips->n != 1) {
        return api_no(call, CONTROL_USAGE, NULL, "the request names no VIP, or more than one");
    }
    return api_find_vip(call, value_as_string(value_first(vips), ""));
}

/* Nobody holds it now. On its way it is soon held: then the same request is worth another try. */
static void refuse(const struct api_call *call, int slot)
{
    const struct vip *vip = &call->view->table->vips[slot];
    char why[192];

    switch (core_vip_state(call->view->core, slot, call->view->now, why)) {
    case VIP_DISABLED:
        (void)api_no(call, CONTROL_UNSAFE, "enable it first: vipctl vip enable NAME", "nobody holds %s: it is disabled",
                     vip->name);
        return;
    case VIP_UNHELD:
        (void)api_no(call, CONTROL_UNSAFE, "vipctl explain vip NAME tells why", "nobody holds %s: %s", vip->name, why);
        return;
    case VIP_HELD: /* as this node sees it; the holder, which was asked, says otherwise */
    case VIP_MOVING:
        break;
    }
    (void)api_no(call, CONTROL_CONFLICT, "it is announced by itself when it has arrived", "%s is moving", vip->name);
    call->reply->retry = true;
}

int api_announce(const struct api_view *view, const struct control_request *request, bool asked,
                 struct value_arena *arena, uint16_t *ret_vip, uint64_t *ret_node, struct control_reply *ret_reply)
{
    struct control_reply reply = { .code = CONTROL_FAILED };
    const struct api_call call = { view, request, arena, &reply };
    int slot = named(&call);
    int owner = slot == SLOT_NONE ? SLOT_NONE : view->table->vips[slot].owner;
    bool here = owner != SLOT_NONE && view->table->nodes[owner].id == view->daemon->id;

    if (here && core_may_hold(view->core, slot, view->now)) {
        *ret_vip = (uint16_t)slot;
        return 0;
    }
    if (owner != SLOT_NONE && !here && !asked) {
        *ret_node = view->table->nodes[owner].id;
        return API_ELSEWHERE;
    }
    if (slot != SLOT_NONE) {
        refuse(&call, slot);
    }
    *ret_reply = reply;
    return API_ANSWERED;
}

void api_announced(const struct api_view *view, const struct control_request *request, uint16_t vip, bool done,
                   struct value_arena *arena, struct control_reply *ret)
{
    struct control_reply reply = { .code = CONTROL_DONE };
    const struct api_call call = { view, request, arena, &reply };
    struct value *result = value_map(arena), *rows = value_array(arena);

    value_push(arena, rows, api_vip_row(&call, vip));
    value_put_bool(arena, result, "changed", done && !request->dry_run);
    value_put(arena, result, "vips", rows);
    if (request->dry_run) {
        value_put_bool(arena, result, "dry_run", true);
    }
    reply.result = result;
    *ret = reply;
}
