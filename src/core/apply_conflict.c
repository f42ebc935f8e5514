/* Conflicts with foreign hosts, as the VIPs' owners report them: to show, and to excuse an owner that does not hold. */

#include "core/apply.h"
#include "core/detail.h"

#include <string.h>

static enum history_kind kind_of(enum conflict_kind kind)
{
    switch (kind) {
    case CONFLICT_TAKEN:
        return HISTORY_TAKEN;
    case CONFLICT_DEFENDED:
        return HISTORY_DEFENDED;
    case CONFLICT_YIELDED:
        return HISTORY_YIELDED;
    case CONFLICT_NONE:
        break;
    }
    return HISTORY_CONFLICT_END;
}

/* L0: the owner, by the very move by which it owned the VIP when it saw the other host. */
static bool is_void(const struct apply *apply, const struct conflict_item *item)
{
    const struct vip *vip = &apply->table->vips[item->vip < VIPS_MAX ? item->vip : 0];

    return item->vip >= VIPS_MAX || !vip->used || vip->owner != apply->command->conflict.node ||
           vip->moved != item->moved || vip->conflict.kind == item->kind;
}

void apply_conflict(const struct apply *apply)
{
    const struct command *command = apply->command;
    struct table *table = apply->table;
    int node = command->conflict.node;
    uint32_t done = 0;

    if (!check_node_id(apply, node, command->conflict.id)) {
        return;
    }
    for (uint32_t i = 0; i < command->conflict.n_items; i++) {
        const struct conflict_item *item = &command->conflict.items[i];

        if (is_void(apply, item)) {
            continue;
        }
        struct vip *vip = &table->vips[item->vip];
        apply_history(apply, kind_of(item->kind), vip->reason, SLOT_NONE, node, vip->name);
        memcpy(table->history[(table->n_history - 1) % HISTORY_MAX].mac, item->mac, MAC_SIZE);
        memset(&vip->conflict, 0, sizeof vip->conflict);
        vip->conflict.kind = item->kind;
        if (item->kind != CONFLICT_NONE) {
            memcpy(vip->conflict.mac, item->mac, MAC_SIZE);
            vip->conflict.at_ms = command->at_ms;
        }
        done++;
    }
    if (done == 0) {
        detail_say(apply->outcome, OUTCOME_STALE, "the VIP was moved or deleted meanwhile", "", "");
    }
}
