/* What goes before and after a VIP's coming and going (docs/hooks.md): which hook is asked for when, and for how long the VIP
 * waits for it. The caller runs the programs and resets the connections; what comes of them never decides where a VIP is.
 *
 * Happy path of a take: the move gives the VIP to this node, before-take is asked for at once, beside all else that the take
 * waits for; when it has ended the address is added, and when it is announced after-take is asked for. Of a planned move
 * away: before-release is asked for while the address still answers, then the connections are reset, then it is removed and
 * after-release asked for. Failure modes: a hook that does not end in time is waited for no longer (its `until`); the
 * lease ends, the node is fenced, or the move follows from a fence: nothing is waited for. The new owner needs `released`, which
 * is told when the kernel has nothing left (N3), so that waiting costs time and never safety. */

#include "core/core_private.h"

#define ROOM 480 /* actions of a step beyond which hooks wait for the next one */
#define BATCH 128

/* How long a planned release may wait for its hook, and then for its connections. A leader fences who does not release
 * within a lease (L1), and some of that is needed for the removal itself; and an address that is not renewed lives for at
 * least two seconds more (daemon/kernel.c). */
#define RELEASE_MAX (1500 * MS)
#define RESET_MAX (250 * MS)

static time_ns least(time_ns a, time_ns b)
{
    return a < b ? a : b;
}

/* The step's room for hooks is used up: more is to come. */
static bool full(unsigned n, struct actions *actions)
{
    if (n >= BATCH || actions->n >= ROOM) {
        actions->more = true;
        return true;
    }
    return false;
}

static void ask(unsigned vip, enum hook_point point, enum hook_cause cause, uint64_t moved, time_ns within,
                struct actions *actions)
{
    struct action *action = core_act(actions, ACT_HOOK, 0);
    action->hook.vip = (uint16_t)vip;
    action->hook.point = point;
    action->hook.cause = cause;
    action->hook.moved = moved;
    action->hook.within_ms = (uint32_t)(within / MS > 0 ? within / MS : 1);
}

/* ---------------------------------------------------------------- before */

bool hook_may_take(struct core *core, unsigned vip, unsigned *n, time_ns now, struct actions *actions)
{
    const struct vip *v = &core->table->vips[vip];
    const struct hook *hook = table_hook(core->table, v, HOOK_BEFORE_TAKE);
    struct waiting *w = &core->hook.taking[vip];
    if (w->moved != v->moved) {
        if (!hook || bit_get(core->hook.taken, vip)) {
            return true; /* it is only put back */
        }
        *w = (struct waiting){.moved = v->moved, .until = now + hook->timeout_ms * MS};
        ask(vip, HOOK_BEFORE_TAKE, HOOK_MOVED, v->moved, hook->timeout_ms * MS, actions);
        ++*n;
    }
    if (now >= w->until) {
        return true;
    }
    core->hook.due = least(core->hook.due, w->until);
    return false;
}

/* Whether the last move takes the VIP from this node because somebody planned it, and this node still may take its time. */
static bool planned(const struct core *core, const struct vip *v, time_ns now)
{
    return v->used && v->prev == core->slot && v->owner != core->slot && v->reason != REASON_CRASH &&
           core->table->nodes[core->slot].status == NODE_ADMITTED && now < core->agent.gate && now < core->agent.lease_end;
}

bool hook_may_drop(struct core *core, unsigned vip, unsigned *n, time_ns now, struct actions *actions)
{
    const struct vip *v = &core->table->vips[vip];
    struct waiting *w = &core->hook.leaving[vip];
    if (core->slot == SLOT_NONE || !addr_equal(&v->address.addr, &core->agent.where[vip]) || !planned(core, v, now)) {
        return true;
    }
    if (w->moved != v->moved) {
        const struct hook *hook = table_hook(core->table, v, HOOK_BEFORE_RELEASE);
        *w = (struct waiting){.moved = v->moved, .until = now};
        if (hook && bit_get(core->hook.taken, vip)) {
            time_ns within = least(least(hook->timeout_ms * MS, core_lease(core) / 2), RELEASE_MAX);
            w->until = now + within;
            ask(vip, HOOK_BEFORE_RELEASE, HOOK_MOVED, v->moved, within, actions);
            ++*n;
        }
    }
    if (now >= w->until && !w->reset) {
        w->reset = true;
        if (!v->no_reset) {
            w->until = now + least(core_lease(core) / 8, RESET_MAX);
            struct action *action = core_act(actions, ACT_RESET, 0);
            action->reset.vip = (uint16_t)vip;
            action->reset.moved = v->moved;
            ++*n;
        }
    }
    if (now >= w->until) {
        return true;
    }
    core->hook.due = least(core->hook.due, w->until);
    return false;
}

static void over(struct waiting *w, uint64_t moved, bool reset, time_ns now)
{
    if (w->moved == moved && w->reset == reset) {
        w->until = least(w->until, now);
    }
}

void hook_ended(struct core *core, const struct event *event)
{
    unsigned vip = event->hook.vip;
    if (event->hook.point == HOOK_BEFORE_TAKE) {
        over(&core->hook.taking[vip], event->hook.moved, false, event->now);
    } else if (event->hook.point == HOOK_BEFORE_RELEASE) {
        over(&core->hook.leaving[vip], event->hook.moved, false, event->now);
    }
    core->agent.dirty = true;
}

void hook_reset_done(struct core *core, const struct event *event)
{
    over(&core->hook.leaving[event->reset.vip], event->reset.moved, true, event->now);
    core->agent.dirty = true;
}

/* ---------------------------------------------------------------- after */

static void took(struct core *core, unsigned vip, unsigned *n, struct actions *actions)
{
    const struct vip *v = &core->table->vips[vip];
    bool again = core->hook.taken_by[vip] == v->moved || core->agent.adopted[vip] == v->moved;
    bit_put(core->hook.taken, vip, true);
    core->hook.taken_by[vip] = v->moved;
    const struct hook *hook = table_hook(core->table, v, HOOK_AFTER_TAKE);
    if (hook) {
        ask(vip, HOOK_AFTER_TAKE, again ? HOOK_AGAIN : HOOK_MOVED, v->moved, hook->timeout_ms * MS, actions);
        ++*n;
    }
}

static void gave(struct core *core, unsigned vip, unsigned *n, struct actions *actions)
{
    const struct vip *v = &core->table->vips[vip];
    const struct hook *hook = v->used ? table_hook(core->table, v, HOOK_AFTER_RELEASE) : NULL;
    bit_put(core->hook.taken, vip, false);
    core->hook.taking[vip].moved = 0; /* to be asked for again, should it come back */
    if (hook) {
        enum hook_cause cause = v->owner != core->slot       ? HOOK_MOVED
                                : contest_blocks(core, vip) ? HOOK_FOREIGN
                                                            : HOOK_LEASE;
        ask(vip, HOOK_AFTER_RELEASE, cause, v->moved, hook->timeout_ms * MS, actions);
        ++*n;
    }
}

void hook_step(struct core *core, time_ns now, struct actions *actions)
{
    unsigned n = 0;
    for (unsigned w = 0; w < core->words; w++) {
        uint64_t here = core->agent.present[w] & ~core->agent.silent[w];
        for (uint64_t bits = core->hook.taken[w] ^ here; bits; bits &= bits - 1) {
            unsigned vip = w * 64 + (unsigned)__builtin_ctzll(bits);
            if (full(n, actions)) {
                return;
            }
            if (bit_get(core->hook.taken, vip)) {
                if (!bit_get(core->agent.present, vip) && !core_may_hold(core, (int)vip, now)) {
                    gave(core, vip, &n, actions);
                }
            } else if (core_may_hold(core, (int)vip, now)) {
                took(core, vip, &n, actions);
            }
        }
    }
}

bool core_took(const struct core *core, int vip)
{
    return bit_get(core->hook.taken, (unsigned)vip);
}

const char *core_waits_for_hook(const struct core *core, int vip, time_ns now)
{
    const struct vip *v = &core->table->vips[vip];
    const struct waiting *w = &core->hook.taking[vip];
    const struct hook *hook = table_hook(core->table, v, HOOK_BEFORE_TAKE);
    return hook && core->slot != SLOT_NONE && v->owner == core->slot && w->moved == v->moved && now < w->until ? hook->program
                                                                                                              : NULL;
}
