/* Hooks as this node has run them, for `vip show` and `doctor`. */

#include <string.h>

#include "daemon/api_private.h"

#define PROGRAMS_MAX 32 /* that `doctor` looks at */

/* {node, hooks: {"after-take": {at_ms, took_ms, failed, detail}}} */
void api_hook_own(const struct api_call *call)
{
    const struct api_hooks *hooks = call->view->daemon->hooks;
    const char *name = api_arg_text(call, "name");
    int slot = name == NULL ? api_no(call, CONTROL_USAGE, NULL, "the request names no VIP") : api_find_vip(call, name);
    struct value *result = value_map(call->arena), *runs = value_map(call->arena);

    if (slot == SLOT_NONE) {
        return;
    }
    for (int i = 0; i < HOOK_POINTS_N; i++) {
        struct api_hook last;
        if (hooks == NULL || hooks->last == NULL || !hooks->last(hooks->ud, slot, (enum hook_point)i, &last)) {
            continue;
        }
        struct value *run = value_map(call->arena);
        value_put_int(call->arena, run, "at_ms", last.at_ms);
        value_put_uint(call->arena, run, "took_ms", last.took_ms);
        value_put_bool(call->arena, run, "failed", last.failed);
        value_put_string(call->arena, run, "detail", last.detail[0] != '\0' ? last.detail : NULL);
        value_put(call->arena, runs, hook_point_text((enum hook_point)i), run);
    }
    value_put_string(call->arena, result, "node", call->view->daemon->node);
    value_put(call->arena, result, "hooks", runs);
    call->reply->result = result;
}

/* ------------------------------------------------------------------------------------------------------------ doctor */

struct seen
{
    const char *programs[PROGRAMS_MAX];
    unsigned n, unfit;
    uint32_t vips, failed;
    int vip; /* one that failed, ... */
    enum hook_point point;
    struct api_hook last;
};

static void look_at_program(const struct api_call *call, struct value *rows, api_finder *find, struct seen *seen,
                            const char *program)
{
    const struct api_hooks *hooks = call->view->daemon->hooks;
    char why[192];

    for (unsigned i = 0; i < seen->n; i++) {
        if (strcmp(seen->programs[i], program) == 0) {
            return;
        }
    }
    if (seen->n == PROGRAMS_MAX) {
        return;
    }
    seen->programs[seen->n++] = program;
    if (!hooks->fit(hooks->ud, program, why, sizeof why)) {
        seen->unfit++;
        find(call, rows, "hooks", false, value_format(call->arena, "hook program %s cannot be run here: %s", program, why),
             "put it into hooks-dir on every node; it belongs to root, and nobody else may write it");
    }
}

static bool may_hold(const struct table *table, int node, const struct vip *vip)
{
    return vip->used && !vip->deleted && node != SLOT_NONE && !table->nodes[node].witness &&
           (vip->nodes == 0 || (vip->nodes >> node & 1) != 0);
}

static void look_at_vip(const struct api_call *call, struct value *rows, api_finder *find, struct seen *seen, int slot)
{
    const struct api_hooks *hooks = call->view->daemon->hooks;
    const struct table *table = call->view->table;
    bool any = false;

    for (int i = 0; i < HOOK_POINTS_N; i++) {
        const struct hook *hook = table_hook(table, &table->vips[slot], (enum hook_point)i);
        struct api_hook last;
        if (hook == NULL) {
            continue;
        }
        any = true;
        look_at_program(call, rows, find, seen, hook->program);
        if (hooks->last(hooks->ud, slot, (enum hook_point)i, &last) && last.failed) {
            seen->failed++;
            if (last.at_ms >= seen->last.at_ms) {
                seen->vip = slot;
                seen->point = (enum hook_point)i;
                seen->last = last;
            }
        }
    }
    seen->vips += any;
}

void api_hook_doctor(const struct api_call *call, struct value *rows, api_finder *find)
{
    const struct api_hooks *hooks = call->view->daemon->hooks;
    const struct table *table = call->view->table;
    int self = table_node_by_id(table, call->view->daemon->id);
    struct seen seen = { .n = 0 };

    if (hooks == NULL || hooks->last == NULL) {
        return;
    }
    for (int slot = 0; slot < table->vips_end; slot++) {
        if (may_hold(table, self, &table->vips[slot])) {
            look_at_vip(call, rows, find, &seen, slot);
        }
    }
    if (seen.failed > 0) {
        find(call, rows, "hooks", false,
             value_format(call->arena, "%u hooks failed when they were last run here, the latest %s of %s: %s", seen.failed,
                          hook_point_text(seen.point), table->vips[seen.vip].name,
                          seen.last.detail[0] != '\0' ? seen.last.detail : "its words are no longer known"),
             "the VIPs went their way all the same; vipctl vip show NAME on this node");
    }
    if (hooks->dropped_lately) {
        find(call, rows, "hooks", false,
             value_format(call->arena, "hooks were not run in the last ten minutes, because too many were asked for at a time "
                                       "(%llu since the start)",
                          (unsigned long long)hooks->dropped),
             "make them faster, or give fewer VIPs one");
    }
    if (seen.vips > 0 && seen.failed == 0 && seen.unfit == 0 && !hooks->dropped_lately) {
        find(call, rows, "hooks", true, value_format(call->arena, "the hooks of %u VIP%s can be run here", seen.vips,
                                                       seen.vips == 1 ? "" : "s"), NULL);
    }
}
