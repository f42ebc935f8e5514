/* What hooks and the resetting of connections do to a node's time: they end after a while, too late, or never
 * (daemon/hooks.c and daemon/connections.c do no more to it). In a sixth of the seeds. */

#include <string.h>

#include "sim.h"

bool hooks_there(void)
{
    return world.seed % 6 == 5;
}

/* The attributes that a VIP of such a seed has. */
void hooks_of(int address, struct vip_spec *spec)
{
    static const char *const programs[HOOK_POINTS_N] = {"bt", "at", "br", "ar"};

    spec->no_reset = !hooks_there() || address % 3 == 0;
    for (int i = 0; hooks_there() && i < HOOK_POINTS_N; i++) {
        if ((address + i) % 3 != 0) {
            strcpy(spec->hooks[i].program, programs[i]);
            spec->hooks[i].timeout_ms = 10 + (uint32_t)(world.unit / MS) * (uint32_t)(1 + address % 4) / 4;
        }
    }
}

static void plan(struct sim_node *node, uint16_t vip, enum hooking_kind kind, uint64_t moved, uint64_t within)
{
    struct hooking *hooking = &node->hooking[vip][kind];

    *hooking = (struct hooking){.moved = moved};
    if (!chance_permille(&world.work, 150)) { /* else it hangs */
        hooking->at = clock_own(node) + 1 + chance_below(&world.work, within * 3 / 2);
    }
}

void hooks_ask(struct sim_node *node, const struct action *action)
{
    if (action->type == ACT_RESET) {
        plan(node, action->reset.vip, HOOKING_RESET, action->reset.moved, 20 * MS);
        return;
    }
    const struct vip *vip = &node->table->vips[action->hook.vip];
    int address = address_index(&vip->address.addr);

    if (table_hook(node->table, vip, action->hook.point) == NULL) {
        world_violated(VIOLATION_BUG, "%c runs a hook that is none", 'a' + node->slot);
    }
    /* What a process that was stopped since the step does is late, and nobody's fault: the lease may be over by then. */
    bool stopped = clock_own(node) > node->step_at + 2 * MS;
    if (!stopped && (action->hook.point == HOOK_AFTER_TAKE || action->hook.point == HOOK_BEFORE_RELEASE)) {
        if (address < 0 || !kernel_holds(node, address)) {
            world_violated(VIOLATION_BUG, "%c runs %s of %s, which it does not hold", 'a' + node->slot,
                           hook_point_text(action->hook.point), vip->name);
        }
    } else if (action->hook.point == HOOK_AFTER_RELEASE && address >= 0 && kernel_holds(node, address)) {
        world_violated(VIOLATION_BUG, "%c runs after-release of %s, which it holds", 'a' + node->slot, vip->name);
    }
    if (action->hook.point == HOOK_BEFORE_TAKE || action->hook.point == HOOK_BEFORE_RELEASE) {
        plan(node, action->hook.vip, action->hook.point == HOOK_BEFORE_TAKE ? HOOKING_TAKE : HOOKING_RELEASE,
             action->hook.moved, action->hook.within_ms * MS);
    }
}

static void end(struct sim_node *node, int vip, int kind)
{
    struct hooking *hooking = &node->hooking[vip][kind];
    struct event event = {.type = EV_HOOK};

    hooking->at = 0;
    if (kind == HOOKING_RESET) {
        event.type = EV_RESET;
        event.reset.vip = (uint16_t)vip;
        event.reset.moved = hooking->moved;
    } else {
        event.hook.vip = (uint16_t)vip;
        event.hook.point = kind == HOOKING_TAKE ? HOOK_BEFORE_TAKE : HOOK_BEFORE_RELEASE;
        event.hook.moved = hooking->moved;
    }
    node_event(node, &event);
}

bool hooks_due(struct sim_node *node, uint64_t own)
{
    for (int vip = 0; hooks_there() && vip < VIPS_MAX; vip++) {
        for (int kind = 0; kind < HOOKING_KINDS_N; kind++) {
            if (node->hooking[vip][kind].at != 0 && node->hooking[vip][kind].at <= own) {
                end(node, vip, kind);
                return true;
            }
        }
    }
    return false;
}

uint64_t hooks_next(const struct sim_node *node, uint64_t own)
{
    for (int vip = 0; hooks_there() && vip < VIPS_MAX; vip++) {
        for (int kind = 0; kind < HOOKING_KINDS_N; kind++) {
            uint64_t at = node->hooking[vip][kind].at;
            own = at != 0 && at < own ? at : own;
        }
    }
    return own;
}
