/* Calls for the node that holds a VIP: it announces the VIP again, or they are passed on to it.
 *
 * Happy path: this node's table tells the owner, the call goes there, the owner announces and answers. Failure modes: the
 * table is a moment behind (a VIP that is not there yet, an owner that has just changed): looked at again for a while; the owner
 * cannot be reached: said so; a script that asks again and again: the burst that goes on is left alone for ANNOUNCE_AGAIN_MS. */

#include "daemon/call.h"

#include "base/log.h"

#define PATIENCE_MS 500u
#define ANNOUNCE_AGAIN_MS 1000u /* from one burst that somebody asked for to the next of that VIP */

/* Whether it is time for another one. */
static bool is_due(struct daemon *d, uint16_t vip)
{
    uint64_t *at_ms = &d->requests->announced_ms[vip];
    uint64_t now_ms = call_now_ms();
    if (*at_ms && now_ms - *at_ms < ANNOUNCE_AGAIN_MS) {
        return false;
    }
    *at_ms = now_ms;
    return true;
}

static void announce(struct daemon *d, struct call *call, const struct api_view *view, uint16_t vip,
                     struct value_arena *arena)
{
    struct control_reply reply = {0};
    bool due = call->request.dry_run || is_due(d, vip);
    if (due && !call->request.dry_run) {
        log_write(LOG_ANNOUNCE_ASKED, "vip=%s who=\"uid %u on %s\"", d->table->vips[vip].name, call->uid,
                  call->from ? members_name(d, call->from) : d->config->node);
        kernel_announce(d, vip);
    }
    api_announced(view, &call->request, vip, due, arena, &reply);
    call_finish(d, call, &reply);
}

void call_announce(struct daemon *d, struct call *call)
{
    struct value_arena arena;
    struct control_reply reply = {0};
    struct api_view view = requests_view(d, false);
    uint16_t vip = 0;
    uint64_t node = 0;
    bool patient = call_now_ms() < call->begun_ms + PATIENCE_MS;
    value_arena_init(&arena, CONTROL_REQUEST_ARENA_MAX);
    int rv = api_announce(&view, &call->request, call->from != 0, &arena, &vip, &node, &reply);
    if (!rv) {
        announce(d, call, &view, vip, &arena);
    } else if (rv == API_ELSEWHERE && call_forward(d, call, node)) {
        /* the answer comes from there */
    } else if (call->local && patient && (rv == API_ELSEWHERE || reply.code == CONTROL_NOT_FOUND)) {
        call_again(call, CALL_RETRY_MS);
    } else {
        if (rv == API_ELSEWHERE) {
            api_refuse(&arena, &reply, CONTROL_FAILED, "vipctl status tells more", "node %s, which has it, cannot be reached",
                       members_name(d, node));
        }
        call_finish(d, call, &reply);
    }
    value_arena_close(&arena);
}
