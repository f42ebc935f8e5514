/* Other hosts that have, or say that they have, a VIP of this node: the probe before a VIP is taken, and N6.
 *
 * Happy path: a VIP that nobody held is asked for on the link (ACT_PROBE, RFC 5227 2.1.1; DAD for IPv6), nobody answers
 * (EV_PROBE), it is added. Failure modes: a host answers, or asks for it at the same time (CONFLICT_TAKEN: not taken, asked for again every PROBE_AGAIN);
 * a host announces what this node holds (the gate closes until a majority speaks, and then, by the VIP's policy, it is
 * announced again or given up: CONFLICT_DEFENDED, CONFLICT_YIELDED, until the host is silent for SILENCE); the answer to
 * an ACT_PROBE never comes (asked again after PROBE_LOST). The table learns of each change with this node's report, and
 * with the table the leader, which does not take it for a fault that a VIP is not held (L1).
 *
 * What the cluster's own nodes announce, and what arrives within a lease of the move that brought the VIP here, is late
 * and no conflict: the gate closes, nothing else. */

#include "core/core_private.h"

#include <string.h>

#define PROBE_AGAIN (5000 * MS)
#define PROBE_LOST (2000 * MS)
#define PROBE_FAILED (200 * MS) /* the link could not be asked: again after this */
#define SILENCE (30000 * MS)
#define LATE_TOLD (1000 * MS) /* of hosts that are no conflict one line in that time */
#define DEFENDED_MAX 64       /* at a time and node: a flood of forged packets must not push all else out of the history */
#define INTERVAL_MIN_MS 20
#define INTERVAL_MAX_MS 70

static uint32_t probe_interval_ms(const struct timing *timing)
{
    uint32_t ms = timing->interval_ms;
    return ms < INTERVAL_MIN_MS ? INTERVAL_MIN_MS : ms > INTERVAL_MAX_MS ? INTERVAL_MAX_MS : ms;
}

uint32_t core_probe_ms(const struct timing *timing)
{
    return PROBES_N * probe_interval_ms(timing);
}

static bool is_blocking(enum conflict_kind kind)
{
    return kind == CONFLICT_TAKEN || kind == CONFLICT_YIELDED;
}

static void look_after(struct core *core, unsigned vip, bool on)
{
    if (bit_get(core->agent.contested, vip) != on) {
        bit_put(core->agent.contested, vip, on);
        core->agent.n_contested += on ? 1u : -1u;
    }
}

static void set_kind(struct core *core, unsigned vip, enum conflict_kind kind)
{
    struct contest *c = &core->agent.contests[vip];
    core->agent.n_defended += kind == CONFLICT_DEFENDED;
    core->agent.n_defended -= c->kind == CONFLICT_DEFENDED;
    c->kind = kind;
    core->agent.dirty = core->agent.conflicts_differ = true;
    if (kind != CONFLICT_NONE) {
        look_after(core, vip, true);
    }
}

static uint64_t mac_number(const uint8_t mac[MAC_SIZE])
{
    uint64_t number = 0;
    for (int i = 0; i < MAC_SIZE; i++) {
        number = number << 8 | mac[i];
    }
    return number;
}

/* Its owner, by the move that the contest is about. */
static bool is_current(const struct core *core, unsigned vip)
{
    const struct vip *v = &core->table->vips[vip];
    return v->used && core->slot != SLOT_NONE && v->owner == core->slot && core->agent.contests[vip].moved == v->moved;
}

bool contest_blocks(const struct core *core, unsigned vip)
{
    return is_blocking(core->agent.contests[vip].kind) && is_current(core, vip);
}

bool contest_excuses(const struct core *core, unsigned vip)
{
    return contest_blocks(core, vip) && is_blocking(core->table->vips[vip].conflict.kind);
}

bool core_probing(const struct core *core, int vip)
{
    return vip >= 0 && core->agent.contests[vip].probing && is_current(core, (unsigned)vip);
}

/* ---------------------------------------------------------------- the table */

/* A move begins anew. What an earlier run of this node reported is taken up where it was left. */
static void begin(struct core *core, unsigned vip, time_ns now)
{
    const struct vip *v = &core->table->vips[vip];
    struct contest *c = &core->agent.contests[vip];
    set_kind(core, vip, CONFLICT_NONE);
    *c = (struct contest){.moved = v->moved, .since = now, .heard = now};
    look_after(core, vip, false);
    if (v->conflict.kind != CONFLICT_NONE && is_current(core, vip)) {
        memcpy(c->mac, v->conflict.mac, sizeof c->mac);
        set_kind(core, vip, v->conflict.kind);
    }
}

void contest_table_changed(struct core *core, time_ns now)
{
    for (int i = 0; i < core->table->vips_end; i++) {
        const struct vip *v = &core->table->vips[i];
        struct contest *c = &core->agent.contests[i];
        if (v->used && c->moved != v->moved) {
            begin(core, (unsigned)i, now);
        } else if (v->used && ((c->kind == CONFLICT_TAKEN && v->no_probe) || (c->kind == CONFLICT_YIELDED && !v->yield))) {
            set_kind(core, (unsigned)i, CONFLICT_NONE); /* told to take it nevertheless */
            c->probing = false;
            c->clear = true;
        }
    }
}

void contest_caught_up(struct core *core)
{
    for (int i = 0; i < core->table->vips_end; i++) {
        struct contest *c = &core->agent.contests[i];
        c->clear = c->clear || (is_current(core, (unsigned)i) && c->kind == CONFLICT_NONE);
    }
}

/* ---------------------------------------------------------------- what is heard */

static bool is_member(const struct core *core, const uint8_t mac[MAC_SIZE])
{
    for (int i = 0; i < NODES_MAX; i++) {
        const struct node *n = &core->table->nodes[i];
        for (unsigned k = 0; n->used && k < n->n_links; k++) {
            if (memcmp(n->links[k].mac, mac, MAC_SIZE) == 0) {
                return true;
            }
        }
    }
    return false;
}

static void conflict_begins(struct core *core, unsigned vip, enum conflict_kind kind, const uint8_t mac[MAC_SIZE],
                            struct actions *actions)
{
    enum core_log id = kind == CONFLICT_TAKEN      ? LOG_CORE_TAKEN
                       : kind == CONFLICT_DEFENDED ? LOG_CORE_DEFENDED
                                                   : LOG_CORE_YIELDED;
    memcpy(core->agent.contests[vip].mac, mac, MAC_SIZE);
    set_kind(core, vip, kind);
    core_log(actions, id, core->slot, (int)vip, mac_number(mac));
}

/* A claim by a host that is none of the cluster's; whether it is on record as a conflict. */
static bool claim(struct core *core, unsigned vip, bool present, const struct event *event, struct actions *actions)
{
    const struct vip *v = &core->table->vips[vip];
    struct contest *c = &core->agent.contests[vip];
    const uint8_t *mac = event->foreign.mac;
    c->heard = event->now;
    if (c->probing) {
        c->probing = false;
        c->at = event->now + PROBE_AGAIN;
        core->agent.dirty = true;
        if (c->kind == CONFLICT_NONE) {
            conflict_begins(core, vip, CONFLICT_TAKEN, mac, actions);
        }
    } else if (c->kind == CONFLICT_NONE && present && event->now - c->since >= core_lease(core)) {
        if (v->yield) {
            conflict_begins(core, vip, CONFLICT_YIELDED, mac, actions);
        } else if (core->agent.n_defended < DEFENDED_MAX) {
            conflict_begins(core, vip, CONFLICT_DEFENDED, mac, actions);
        }
    }
    return c->kind != CONFLICT_NONE;
}

void contest_foreign(struct core *core, const struct event *event, struct actions *actions)
{
    int vip = table_vip_by_addr(core->table, &event->foreign.addr);
    if (vip == SLOT_NONE) {
        return;
    }
    bool present = bit_get(core->agent.present, (unsigned)vip), known = false;
    if (event->foreign.probes && !core_probing(core, vip)) {
        return; /* it claims nothing: only where both are about to take it one has to give way (RFC 5227 2.1.1) */
    }
    if (is_current(core, (unsigned)vip) && !is_member(core, event->foreign.mac)) {
        known = claim(core, (unsigned)vip, present, event, actions);
    }
    if (present && !event->foreign.probes && !core->agent.foreign) {
        /* N6: what is sent in this very step counts, what was sent before does not */
        core->agent.foreign = core->agent.beat_last < event->now && RULE(N6_SOON) ? event->now - 1 : event->now;
        core->agent.beat_now = core->agent.dirty = true;
        if (!known && event->now >= core->agent.told_at) {
            core->agent.told_at = event->now + LATE_TOLD;
            core_log(actions, LOG_CORE_FOREIGN, core->slot, vip, mac_number(event->foreign.mac));
        }
    }
}

static void conflict_ends(struct core *core, unsigned vip, struct actions *actions)
{
    core_log(actions, LOG_CORE_CONFLICT_END, core->slot, (int)vip, mac_number(core->agent.contests[vip].mac));
    set_kind(core, vip, CONFLICT_NONE);
}

void contest_probe(struct core *core, const struct event *event, struct actions *actions)
{
    unsigned vip = event->probe.vip;
    struct contest *c = &core->agent.contests[vip];
    if (!core_probing(core, (int)vip) || c->moved != event->probe.moved) {
        return; /* somebody answered, or it is about an earlier move */
    }
    c->probing = false;
    core->agent.dirty = true;
    if (event->probe.failed) {
        c->at = event->now + PROBE_FAILED;
        return;
    }
    c->clear = true;
    c->at = 0;
    if (c->kind != CONFLICT_NONE) {
        conflict_ends(core, vip, actions);
    }
}

/* ---------------------------------------------------------------- what is done */

/* When a VIP that may not be added is asked for again. */
static time_ns again_at(const struct contest *c)
{
    time_ns silent = c->kind == CONFLICT_YIELDED ? c->heard + SILENCE : 0;
    return silent > c->at ? silent : c->at;
}

bool contest_may_add(struct core *core, unsigned vip, unsigned *n, time_ns now, struct actions *actions)
{
    const struct vip *v = &core->table->vips[vip];
    struct contest *c = &core->agent.contests[vip];
    if (c->kind != CONFLICT_TAKEN && c->kind != CONFLICT_YIELDED && (!v->fresh || v->no_probe || c->clear || !RULE(N6_PROBE))) {
        return true;
    }
    if (c->probing || now < again_at(c)) {
        return false;
    }
    ++*n;
    c->probing = true;
    c->at = now + core_probe_ms(&core->table->timing) * MS + PROBE_LOST;
    look_after(core, vip, true);
    struct action *action = core_act(actions, ACT_PROBE, 0);
    action->probe.vip = (uint16_t)vip;
    action->probe.moved = v->moved;
    action->probe.interval_ms = probe_interval_ms(&core->table->timing);
    return false;
}

/* Sets the deadline of a VIP that is looked after; false when there is nothing more to look after. */
static bool step_one(struct core *core, unsigned vip, time_ns now, struct actions *actions)
{
    const struct vip *v = &core->table->vips[vip];
    struct contest *c = &core->agent.contests[vip];
    if (c->kind == CONFLICT_DEFENDED && now >= c->heard + SILENCE) {
        conflict_ends(core, vip, actions);
    }
    if (c->probing && now >= c->at) {
        c->probing = false;
    }
    if (c->kind == CONFLICT_NONE && !c->probing && c->at <= now) {
        core->agent.dirty = core->agent.dirty || c->at;
        c->at = 0;
        return v->conflict.kind != CONFLICT_NONE; /* until the table knows that it is over */
    }
    time_ns at = c->kind == CONFLICT_DEFENDED ? c->heard + SILENCE : c->probing ? c->at : again_at(c);
    core->agent.dirty = core->agent.dirty || at <= now;
    core_deadline(actions, at > now ? at : now + PROBE_AGAIN); /* due, but for want of a lease or a link */
    return true;
}

void contest_step(struct core *core, time_ns now, struct actions *actions)
{
    if (!core->agent.n_contested) {
        return;
    }
    if (now < core->agent.contest_at) {
        core_deadline(actions, core->agent.contest_at);
        return;
    }
    core->agent.contest_at = look_again(core->table, now);
    core->agent.conflicts_differ = false;
    for (unsigned w = 0; w < core->words; w++) {
        for (uint64_t bits = core->agent.contested[w]; bits; bits &= bits - 1) {
            unsigned vip = w * 64 + (unsigned)__builtin_ctzll(bits);
            if (!is_current(core, vip)) {
                set_kind(core, vip, CONFLICT_NONE);
                core->agent.contests[vip] = (struct contest){0};
                look_after(core, vip, false);
            } else if (!step_one(core, vip, now, actions)) {
                look_after(core, vip, false);
            }
            core->agent.conflicts_differ |=
                is_current(core, vip) && core->agent.contests[vip].kind != core->table->vips[vip].conflict.kind;
        }
    }
}

bool contest_report(struct core *core, struct report *report)
{
    report->n_conflicts = 0;
    memset(report->conflicts, 0, sizeof report->conflicts);
    for (unsigned w = 0; core->agent.conflicts_differ && w < core->words; w++) {
        for (uint64_t bits = core->agent.contested[w]; bits; bits &= bits - 1) {
            unsigned vip = w * 64 + (unsigned)__builtin_ctzll(bits);
            const struct contest *c = &core->agent.contests[vip];
            if (!is_current(core, vip) || core->table->vips[vip].conflict.kind == c->kind) {
                continue;
            }
            if (report->n_conflicts == CONFLICTS_MAX) {
                return true;
            }
            struct conflict_item *item = &report->conflicts[report->n_conflicts++];
            item->vip = (uint16_t)vip;
            item->moved = c->moved;
            item->kind = c->kind;
            memcpy(item->mac, c->mac, MAC_SIZE);
        }
    }
    return report->n_conflicts > 0;
}
