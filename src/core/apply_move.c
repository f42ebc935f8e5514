/* Moves: who owns a VIP now, and whom the new owner has to wait for. */

#include "core/apply.h"
#include "core/detail.h"

/* L0; and a witness can never own. L3 (the last move is settled) is the leader's duty: what settles a move is heard,
 * not logged. */
static bool is_void(const struct table *table, const struct move *move)
{
    const struct vip *vip;

    if (move->vip >= VIPS_MAX || move->to < SLOT_NONE || move->to >= NODES_MAX) {
        return true;
    }
    vip = &table->vips[move->vip];
    if (!vip->used || vip->deleted || (RULE(L0) && vip->moved != move->moved)) {
        return true;
    }
    return move->to != SLOT_NONE && (!table->nodes[move->to].used || table->nodes[move->to].witness);
}

/* A move by hand pins the VIP to its target; any other move away from the pinned node ends the pin once that node
 * cannot own the VIP, so that it is not drawn back long after people have forgotten. */
static void follow_pin(const struct apply *apply, struct vip *vip, const struct move *move)
{
    int8_t pinned = vip->pinned;

    if (move->to == SLOT_NONE) {
        return;
    }
    if (move->reason == REASON_MANUAL) {
        pinned = move->to;
    } else if (pinned != SLOT_NONE && pinned != move->to && !table_may_own(apply->table, pinned, vip)) {
        pinned = SLOT_NONE;
    }
    if (pinned != vip->pinned) {
        vip->pinned = pinned;
        apply_changed(apply);
    }
}

uint32_t apply_moves(const struct apply *apply, const struct move *moves, uint32_t n)
{
    uint32_t done = 0;

    for (uint32_t i = 0; i < n; i++) {
        struct vip *vip;

        if (is_void(apply->table, &moves[i])) {
            continue;
        }
        vip = &apply->table->vips[moves[i].vip];
        follow_pin(apply, vip, &moves[i]);
        /* To where it is already: `prev` may still be unsettled and must not be lost. */
        if (vip->owner != moves[i].to) {
            apply_history(apply, HISTORY_MOVE, moves[i].reason, vip->owner, moves[i].to, vip->name);
            apply_new_owner(apply, vip, moves[i].to, moves[i].reason);
        }
        done++;
    }
    return done;
}

void apply_move(const struct apply *apply)
{
    if (apply_moves(apply, apply->command->move.moves, apply->command->move.n_moves) == 0) {
        detail_say(apply->outcome, OUTCOME_STALE, "the VIP was moved or deleted meanwhile", "", "");
    }
}
