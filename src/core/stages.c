/* How long the stages of what happened took: from the entry that moves a VIP to the old owner's release, and to the new owner's
 * hold; from a node's last word to its fence, from there to its clear and its admission.
 *
 * The history says what was decided, and is replicated; what became of it is heard, not logged. Every voter hears the same
 * heartbeats, so each measures for itself, from when it applied the entry, and another leader knows as much. What was applied
 * while this run was catching up happened before, and is not known; nor is what a later move overtook. */

#include "core/core_private.h"

#define LOOK_EACH (1 * MS)
#define LOOK_AT_ONCE 64 /* open entries are looked at in every step; more of them less often */

static struct stage *stage_of(struct core *core, uint64_t number)
{
    return &core->stages.ring[number % HISTORY_MAX];
}

static uint32_t since(time_ns from, time_ns now)
{
    return now > from ? (uint32_t)((now - from) / MS) : 0;
}

static void begin(struct core *core, uint64_t number, time_ns now)
{
    const struct history *entry = &core->table->history[number % HISTORY_MAX];
    struct stage *stage = stage_of(core, number);
    int node = entry->to;
    *stage = (struct stage){.number = number, .at = now, .first_ms = CORE_STAGE_UNKNOWN, .held_ms = CORE_STAGE_UNKNOWN,
                            .vip = SLOT_NONE};
    if (!core->caught_up) {
        return;
    }
    if (entry->kind == HISTORY_MOVE) {
        stage->vip = (int16_t)table_vip_by_name(core->table, entry->subject);
        stage->open = stage->vip != SLOT_NONE;
    } else if (entry->kind == HISTORY_FENCE && node >= 0) {
        if (core->hearing[node].heard && node != core->slot) {
            stage->first_ms = since(core->hearing[node].heard, now);
        }
        core->stages.fenced_at[node] = now;
    } else if ((entry->kind == HISTORY_CLEAR || entry->kind == HISTORY_ADMIT) && node >= 0 &&
               core->stages.fenced_at[node]) {
        stage->first_ms = since(core->stages.fenced_at[node], now);
        core->stages.fenced_at[node] = entry->kind == HISTORY_ADMIT ? 0 : core->stages.fenced_at[node];
    }
}

void stages_table_changed(struct core *core, time_ns now)
{
    uint64_t n = core->table->n_history, oldest = n > HISTORY_MAX ? n - HISTORY_MAX : 0;
    if (core->stages.seen > n) {
        core->stages.seen = core->stages.open = 0; /* a snapshot took the table back */
    }
    if (core->stages.seen < oldest) {
        core->stages.seen = oldest;
    }
    for (; core->stages.seen < n; core->stages.seen++) {
        begin(core, core->stages.seen, now);
    }
    if (core->stages.open < oldest) {
        core->stages.open = oldest;
    }
    core->stages.look_at = 0;
}

/* Whether there is nothing more to be learned of it. */
static bool look_at(const struct core *core, struct stage *stage, time_ns now)
{
    const struct history *entry = &core->table->history[stage->number % HISTORY_MAX];
    const struct vip *v = &core->table->vips[stage->vip];
    if (!v->used || v->moved != entry->index) {
        return true; /* overtaken */
    }
    if (stage->first_ms == CORE_STAGE_UNKNOWN && entry->from != SLOT_NONE && core_settled_move(core, stage->vip, now)) {
        stage->first_ms = since(stage->at, now);
    }
    if (v->owner == SLOT_NONE) {
        return entry->from == SLOT_NONE || stage->first_ms != CORE_STAGE_UNKNOWN;
    }
    if (state_held(core, stage->vip, now)) {
        stage->held_ms = since(stage->at, now);
        if (stage->first_ms == CORE_STAGE_UNKNOWN && entry->from != SLOT_NONE) {
            stage->first_ms = stage->held_ms; /* the new owner heard of the release before this node did: by then at the latest */
        }
        return true;
    }
    return false;
}

void stages_step(struct core *core, time_ns now)
{
    if (core->stages.open == core->stages.seen || now < core->stages.look_at) {
        return;
    }
    uint64_t n = core->stages.seen - core->stages.open;
    bool first = true;
    for (uint64_t number = core->stages.open; number < core->stages.seen; number++) {
        struct stage *stage = stage_of(core, number);
        stage->open = stage->open && !look_at(core, stage, now);
        first = first && !stage->open;
        core->stages.open += first;
    }
    core->stages.look_at = n < LOOK_AT_ONCE ? 0 : now + LOOK_EACH * (1 + n / 512);
}

void core_stages(const struct core *core, uint64_t number, struct core_stages *ret)
{
    const struct stage *stage = &core->stages.ring[number % HISTORY_MAX];
    *ret = (struct core_stages){CORE_STAGE_UNKNOWN, CORE_STAGE_UNKNOWN};
    if (number < core->stages.seen && stage->number == number && stage->at) {
        *ret = (struct core_stages){.first_ms = stage->first_ms, .held_ms = stage->held_ms};
    }
}
