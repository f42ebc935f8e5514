/* The agent: what this node holds (N1-N6) and what it tells the voters.
 *
 * Happy path: a heartbeat goes out, answers of a majority move the lease's end forward, the kernel is told (ACT_LEASE);
 * a committed move makes this node the owner, the earlier owner's `released` arrives, the address is added, announced
 * and reported in `held`. Failure modes: no majority (the gate closes by itself in the kernel, the addresses are
 * dropped at the same time); an addition fails (tried again, `held` stays behind, the leader fences at last); an
 * address is removed by somebody else (put back); another host has or announces a VIP (contest.c). */

#include "core/core_private.h"

#include <string.h>

#define RETRY (200 * MS)
/* Between two defences. RFC 5227 2.4 (c) has ten seconds, for hosts whose users can wait so long; the loop of two
 * defenders that it bounds is bounded as well. */
#define DEFEND (1000 * MS)

static bool own_admitted(const struct core *core)
{
    return core->slot != SLOT_NONE && (core->table->nodes[core->slot].status == NODE_ADMITTED || !RULE(N2_ADMIT));
}

/* What the table alone denies this node; `released` is about that. */
static bool denied(const struct core *core, unsigned vip)
{
    const struct vip *v = &core->table->vips[vip];
    return !own_admitted(core) || !v->used || (v->owner != core->slot && RULE(N2_OWNER)) ||
           !addr_equal(&v->address.addr, &core->agent.where[vip]);
}

/* An earlier run held it under this very move, or the address would not have been there: back under a later move it came
 * only after that run had removed it. So `prev` was settled then, and settled is for ever. */
static bool adopted(const struct core *core, unsigned vip)
{
    return core->agent.adopted[vip] && core->agent.adopted[vip] == core->table->vips[vip].moved;
}

/* N2 but for the lease. */
static bool permitted(const struct core *core, unsigned vip, time_ns now)
{
    const struct vip *v = &core->table->vips[vip];
    return (core->caught_up || !RULE(N2_CATCH)) && own_admitted(core) && v->used &&
           (v->owner == core->slot || !RULE(N2_OWNER)) && (adopted(core, vip) || core_settled_move(core, (int)vip, now) || !RULE(N2_PREV));
}

/* What may be in the kernel, but for the lease: N2, and no other host has it (N6). */
static bool allowed(const struct core *core, unsigned vip, time_ns now)
{
    return permitted(core, vip, now) && !contest_blocks(core, vip);
}

static bool lease_running(const struct core *core, time_ns now)
{
    return (core->caught_up || !RULE(N2_CATCH)) && own_admitted(core) && now < core->agent.lease_end;
}

const struct report *core_report(const struct core *core)
{
    return &core->agent.report;
}

const struct link *core_link_for(const struct core *core, int vip)
{
    return links_find(core->agent.report.links, core->agent.report.n_links, &core->table->vips[vip]);
}

bool core_may_hold(const struct core *core, int vip, time_ns now)
{
    return vip >= 0 && lease_running(core, now) && now < core->agent.gate && allowed(core, (unsigned)vip, now);
}

/* ---------------------------------------------------------------- the lease (N1) */

static void send_time_noted(struct core *core, time_ns now)
{
    core->agent.sent[core->agent.seq % SEND_RING] = now;
    if (core->slot != SLOT_NONE && voter_ack(core, core->slot, core->table->nodes[core->slot].gen, now)) {
        core->agent.acked[core->slot] = now;
    }
}

void agent_answer(struct core *core, const struct answer *answer, time_ns now)
{
    int voter = table_node_by_id(core->table, answer->from);
    if (voter == SLOT_NONE || answer->to != core->self || voter == core->slot) {
        return;
    }
    uint64_t age = core->agent.seq - answer->seq;
    if (answer->acked && (answer->run == core->run || !RULE(N1_RUN)) && answer->seq &&
        answer->seq <= core->agent.seq && age < SEND_RING) {
        time_ns sent = RULE(N1_SEND) ? core->agent.sent[answer->seq % SEND_RING] : now;
        if (sent > core->agent.acked[voter]) {
            core->agent.acked[voter] = sent;
        }
    }
    for (unsigned i = 0; i < answer->n_promises; i++) {
        const struct promise_report *p = &answer->promises[i];
        int fenced = table_node_by_id(core->table, p->node);
        if (fenced == SLOT_NONE || !p->fence || p->left_us > 3600ull * 1000000) {
            continue;
        }
        struct runout *r = &core->runout[fenced][voter];
        time_ns at = now + p->left_us * 1000;
        if (r->fence != p->fence || at < r->at) {
            if (r->fence > p->fence) {
                continue; /* late: about an earlier fence */
            }
            *r = (struct runout){p->fence, at};
            core->settle_dirty = true;
        }
    }
    for (int i = 0; !RULE(V3_NAMED) && i < NODES_MAX; i++) {
        const struct node *n = &core->table->nodes[i];
        if (n->used && n->status == NODE_FENCED && core->runout[i][voter].fence != n->fence) {
            core->runout[i][voter] = (struct runout){n->fence, now};
        }
    }
    for (unsigned i = 0; i < answer->n_released; i++) {
        int node = table_node_by_id(core->table, answer->released[i].node);
        if (node != SLOT_NONE && node != core->slot && answer->released[i].released > core->hearing[node].released) {
            core->hearing[node].released = answer->released[i].released;
            core->settle_dirty = true;
        }
    }
}

/* N1: the newest send time that a majority of the voters of the table now have acked. */
static time_ns majority_acked(const struct core *core)
{
    time_ns times[VOTERS_MAX + 1];
    int n = 0;
    for (int v = 0; v < core->nodes_end && n < VOTERS_MAX; v++) {
        if (in_set(core->table->voters, v) && core->agent.acked[v]) {
            int i = n++;
            for (; i > 0 && times[i - 1] < core->agent.acked[v]; i--) {
                times[i] = times[i - 1];
            }
            times[i] = core->agent.acked[v];
        }
    }
    int need = RULE(N1_MAJORITY) ? majority_of(core->table->voters) : 1;
    return need > 0 && n >= need ? times[need - 1] : 0;
}

/* Anything in the kernel that N2 forbids keeps a closed gate closed (N3). */
static bool forbidden_present(const struct core *core, time_ns now)
{
    for (unsigned w = 0; w < core->words; w++) {
        for (uint64_t bits = core->agent.present[w]; bits; bits &= bits - 1) {
            unsigned vip = w * 64 + (unsigned)__builtin_ctzll(bits);
            if (denied(core, vip) || !allowed(core, vip, now)) {
                return true;
            }
        }
    }
    return false;
}

/* N4: what an earlier run put into the kernel may stay while this run does not know yet whether it is to keep it: it is
 * the earlier run's lease that it is held by, which the kernel ends, and which is over by `adopt_by`. */
static bool adopting(const struct core *core, time_ns now)
{
    return now < core->agent.adopt_by;
}

static void update_adoption(struct core *core, time_ns now, struct actions *actions)
{
    if (core->agent.adopt_by && (core->agent.running || now >= core->agent.adopt_by)) {
        core->agent.adopt_by = 0;
        core->agent.dirty = true;
    } else if (core->agent.adopt_by) {
        core_deadline(actions, core->agent.adopt_by);
    }
}

static void update_lease(struct core *core, time_ns now, struct actions *actions)
{
    time_ns acked = majority_acked(core);
    time_ns before = core->agent.lease_end;
    core->agent.lease_end = acked ? acked + slew_lease(core) : 0;
    if (!RULE(N1_NOW) && before > core->agent.lease_end) {
        core->agent.lease_end = before;
    }
    core->agent.supported_until = acked ? acked + core_lease(core) : 0;
    if (core->agent.foreign && (acked > core->agent.foreign || !RULE(N6_LATER))) {
        core->agent.foreign = 0;
        core->agent.dirty = core->agent.reannounce = true;
    }
    bool running = lease_running(core, now);
    if (running != core->agent.running) {
        core->agent.running = running;
        core->agent.dirty = core->agent.beat_now = core->lead.plan_dirty = true;
        core_log(actions, running ? LOG_CORE_LEASE_GAINED : LOG_CORE_LEASE_LOST, core->slot, SLOT_NONE, 0);
    }
    time_ns gate = running && !(core->agent.foreign && RULE(N6_GATE)) ? core->agent.lease_end : 0;
    if (RULE(N3_GATE) && gate && core->agent.gate <= now && forbidden_present(core, now)) {
        gate = 0;
        core->agent.dirty = true;
    }
    if (gate != core->agent.gate && (gate || core->agent.gate > now)) {
        if (!core->agent.gate) {
            core->agent.dirty = true; /* opened: what is in the kernel already is announced again */
        }
        core->agent.gate = gate;
        core_act(actions, ACT_LEASE, 0)->lease_end = gate;
    }
    if (running) {
        core_deadline(actions, core->agent.lease_end);
    } else {
        core->agent.gate = 0;
    }
}

/* ---------------------------------------------------------------- the kernel's addresses (N2, N3) */

/* The slot under which an address of the kernel is known, or will be. An address that was deleted and added again may have
 * another slot in the table than the one under which it is still in the kernel. */
static int slot_of_present(const struct core *core, const struct addr *addr)
{
    int vip = table_vip_by_addr(core->table, addr);
    if (vip != SLOT_NONE && bit_get(core->agent.present, (unsigned)vip) && addr_equal(&core->agent.where[vip], addr)) {
        return vip;
    }
    for (unsigned i = 0; core->agent.strays && i < VIPS_MAX; i++) {
        if (bit_get(core->agent.present, i) && addr_equal(&core->agent.where[i], addr)) {
            return (int)i;
        }
    }
    return vip != SLOT_NONE && !bit_get(core->agent.present, (unsigned)vip) ? vip : SLOT_NONE;
}

void agent_table_changed(struct core *core)
{
    core->agent.strays = false;
    for (unsigned w = 0; w < core->words; w++) {
        for (uint64_t bits = core->agent.present[w]; bits; bits &= bits - 1) {
            unsigned vip = w * 64 + (unsigned)__builtin_ctzll(bits);
            const struct vip *v = &core->table->vips[vip];
            core->agent.strays |= !v->used || !addr_equal(&v->address.addr, &core->agent.where[vip]);
        }
    }
}

void agent_caught_up(struct core *core, const struct addr *earlier, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        int vip = table_vip_by_addr(core->table, &earlier[i]);
        if (vip == SLOT_NONE || bit_get(core->agent.present, (unsigned)vip)) {
            continue; /* it was reported already */
        }
        core->agent.where[vip] = earlier[i];
        core->agent.n_present++;
        bit_put(core->agent.present, (unsigned)vip, true);
        bit_put(core->agent.silent, (unsigned)vip, true);
        core->agent.adopted[vip] = denied(core, (unsigned)vip) ? 0 : core->table->vips[vip].moved;
        core->agent.adopt_by = core->started + core_lease(core);
    }
}

static void begin_hold(struct core *core, unsigned vip, struct actions *actions)
{
    bit_put(core->agent.silent, vip, false);
    core_act(actions, ACT_ANNOUNCE, 0)->vip = (uint16_t)vip;
    core_log(actions, LOG_CORE_HOLD, core->slot, (int)vip, 0);
}

void agent_kernel(struct core *core, const struct event *event, struct actions *actions)
{
    const struct addr *addr = &event->kernel.addr;
    int vip = slot_of_present(core, addr);
    if (vip == SLOT_NONE) {
        return;
    }
    bool was = bit_get(core->agent.present, (unsigned)vip);
    bool had_failed = bit_get(core->agent.failed, (unsigned)vip);
    bit_put(core->agent.failed, (unsigned)vip, event->kernel.failed);
    if (event->kernel.failed) {
        core->agent.retry_at = event->now + RETRY;
    }
    if (event->kernel.present == was && event->kernel.failed == had_failed) {
        return; /* the echo of what is known: thousands of these must cost little */
    }
    core->agent.dirty = core->agent.results = true;
    if (event->kernel.present == was) {
        return;
    }
    bit_put(core->agent.present, (unsigned)vip, event->kernel.present);
    bit_put(core->agent.silent, (unsigned)vip, event->kernel.present);
    core->agent.n_present += event->kernel.present ? 1u : -1u;
    if (event->kernel.present) {
        core->agent.where[vip] = *addr;
        if (lease_running(core, event->now) && allowed(core, (unsigned)vip, event->now)) {
            begin_hold(core, (unsigned)vip, actions);
        }
    } else {
        core->agent.adopted[vip] = 0;
        core_act(actions, ACT_SILENCE, 0)->vip = (uint16_t)vip;
        bool back = core_may_hold(core, vip, event->now);
        core_log(actions, back ? LOG_CORE_READD : LOG_CORE_DROP, core->slot, vip, 0);
    }
}

/* Drops what N2 forbids; whether everything that must go has been asked to go. */
static bool drop_forbidden(struct core *core, time_ns now, struct actions *actions)
{
    unsigned n = 0, asked = 0;
    bool keeping = lease_running(core, now) || adopting(core, now);
    for (unsigned w = 0; w < core->words; w++) {
        for (uint64_t bits = core->agent.present[w]; bits; bits &= bits - 1) {
            unsigned vip = w * 64 + (unsigned)__builtin_ctzll(bits);
            if (keeping && !denied(core, vip) && allowed(core, vip, now)) {
                continue;
            }
            if (bit_get(core->agent.failed, vip) && now < core->agent.retry_at) {
                core_deadline(actions, core->agent.retry_at);
                continue;
            }
            if (n + asked >= ADDR_BATCH) {
                actions->more = true;
                return false;
            }
            if (!hook_may_drop(core, vip, &asked, now, actions)) {
                continue;
            }
            n++;
            core_act(actions, ACT_ADDR_DEL, 0)->addr = core->agent.where[vip];
        }
    }
    if (asked > 0) {
        core->agent.dirty = actions->more = true; /* this step's room is taken */
    }
    return n == 0 && asked == 0;
}

/* What was in the kernel before this run had the right to it; false: there may be more of it. */
static bool announce_kept(struct core *core, time_ns now, struct actions *actions)
{
    unsigned n = 0;
    for (unsigned w = 0; w < core->words && now < core->agent.gate; w++) {
        for (uint64_t bits = core->agent.silent[w]; bits; bits &= bits - 1) {
            unsigned vip = w * 64 + (unsigned)__builtin_ctzll(bits);
            if (n == ADDR_BATCH) {
                return false;
            }
            if (!denied(core, vip) && allowed(core, vip, now)) {
                n++;
                begin_hold(core, vip, actions);
            }
        }
    }
    return n == 0;
}

static void add_permitted(struct core *core, time_ns now, struct actions *actions)
{
    unsigned n = 0;
    for (int vip = 0; vip < core->table->vips_end; vip++) {
        const struct vip *v = &core->table->vips[vip];
        if (!v->used || v->owner != core->slot || bit_get(core->agent.present, (unsigned)vip) ||
            !core_link_for(core, vip) || !core_link_for(core, vip)->up) {
            continue;
        }
        if (n >= ADDR_BATCH) {
            actions->more = true;
            return;
        }
        bool ready = hook_may_take(core, (unsigned)vip, &n, now, actions); /* asked for while others still let go */
        if (!permitted(core, (unsigned)vip, now)) {
            continue;
        }
        if (bit_get(core->agent.failed, (unsigned)vip) && now < core->agent.retry_at) {
            core_deadline(actions, core->agent.retry_at);
            continue;
        }
        if (n >= ADDR_BATCH) {
            actions->more = true;
            return;
        }
        if (contest_may_add(core, (unsigned)vip, &n, now, actions) && ready) {
            n++;
            core_act(actions, ACT_ADDR_ADD, 0)->vip = (uint16_t)vip;
        }
    }
}

/* `held`: everything that moves up to it gave this node, that its links can carry and that the table does not know to be
 * another host's, is in the kernel and open. Without a lease the other host is no excuse: this node cannot even ask for it. */
static void update_held(struct core *core, time_ns now)
{
    uint64_t held = core->table->applied;
    bool open = now < core->agent.gate;
    for (unsigned w = 0; w < core->words && core->slot != SLOT_NONE; w++) {
        for (uint64_t bits = open ? ~core->agent.present[w] : UINT64_MAX; bits; bits &= bits - 1) {
            int vip = (int)(w * 64 + (unsigned)__builtin_ctzll(bits));
            const struct vip *v = &core->table->vips[vip];
            if (vip >= core->table->vips_end || !v->used || v->owner != core->slot || v->moved > held) {
                continue;
            }
            const struct link *link = core_link_for(core, vip);
            if (link && link->up && (!open || !contest_excuses(core, (unsigned)vip))) {
                held = v->moved - 1;
            }
        }
    }
    if (held != core->agent.held) {
        core->agent.held = held;
        core->agent.beat_now = true;
    }
}

/* N3: nothing that the table at `applied` denies is left in the kernel. What an earlier run left is known only once the
 * table is. */
static void update_released(struct core *core)
{
    if (!core->caught_up || core->agent.released >= core->table->applied) {
        return; /* it can say no more than it does */
    }
    for (unsigned w = 0; w < core->words; w++) {
        for (uint64_t bits = core->agent.present[w]; bits; bits &= bits - 1) {
            if (RULE(N3_KERNEL) && denied(core, w * 64 + (unsigned)__builtin_ctzll(bits))) {
                return;
            }
        }
    }
    core->agent.released = core->table->applied;
    core->agent.beat_now = core->settle_dirty = true;
    if (core->slot != SLOT_NONE) {
        core->hearing[core->slot].released = core->agent.released;
    }
}

static void own_hearing(struct core *core, time_ns now)
{
    if (core->slot == SLOT_NONE) {
        return;
    }
    core->hearing[core->slot].heard = now;
    core->hearing[core->slot].applied = core->table->applied;
    for (int i = 0; i < core->nodes_end; i++) { /* as a voter it reports to itself (V3) */
        const struct node *n = &core->table->nodes[i];
        struct runout *r = &core->runout[i][core->slot];
        if (n->used && n->status == NODE_FENCED && core->caught_up && r->fence != n->fence) {
            *r = (struct runout){n->fence, core->voter.promised[i]};
            core->settle_dirty = true;
        }
    }
}

/* The next moment at which a promise to a node that somebody waits for runs out. */
static void settle_deadline(struct core *core, time_ns now, struct actions *actions)
{
    for (int i = 0; i < core->nodes_end; i++) {
        if (core->table->nodes[i].used && core->table->nodes[i].status == NODE_FENCED) {
            time_ns at = core_runout(core, i);
            if (at != NEVER && at > now) {
                core_deadline(actions, at);
            } else if (at != NEVER && core->waiters[i]) {
                core->settle_dirty = true;
            }
        }
    }
}

static void step_shutdown(struct core *core, time_ns now, struct actions *actions)
{
    if (!core->agent.shutdown || core->agent.exited) {
        return;
    }
    bool owns = false;
    for (int vip = 0; vip < core->table->vips_end && core->slot != SLOT_NONE; vip++) {
        owns = owns || (core->table->vips[vip].used && core->table->vips[vip].owner == core->slot);
    }
    bool led = core->lead.role == RAFT_ROLE_LEADER;
    bool quorum = lease_running(core, now);
    if ((owns || led || core->agent.n_present > 0) && quorum && now < core->agent.shutdown_by) {
        core->agent.idle_since = now;
        core_deadline(actions, core->agent.shutdown_by);
        return;
    }
    /* `released` is told twice, so that one lost datagram costs the new owner nothing */
    if (quorum && now < core->agent.idle_since + core_interval(core) * 3 / 2) {
        core_deadline(actions, core->agent.idle_since + core_interval(core) * 3 / 2);
        return;
    }
    core->agent.exited = true;
    core_act(actions, ACT_EXIT, 0);
}

static void hold_and_drop(struct core *core, time_ns now, struct actions *actions)
{
    core->hook.due = NEVER;
    if ((drop_forbidden(core, now, actions) || !RULE(N3_ORDER)) && lease_running(core, now)) {
        if (announce_kept(core, now, actions)) {
            add_permitted(core, now, actions);
        } else {
            core->agent.dirty = actions->more = true;
        }
    }
}

/* What came of address operations. */
static void take_results(struct core *core, time_ns now, struct actions *actions)
{
    core->agent.results = false;
    core->agent.breath = true;
    if (now >= core->agent.results_at) {
        core->agent.results_at = look_again(core->table, now);
        update_released(core);
        update_held(core, now);
    }
    core->agent.dirty = actions->more = true;
}

/* Looks at every VIP, when there is reason to and it is time. Address operations by the hundred take time: after the results of one
 * batch the loop turns once (`turned`) before the next, whatever else comes in that turn, so that heartbeats are sent and
 * heard in between. But it does not rest until look_at: the operations took longer than the looking does. */
static void look_at_all(struct core *core, bool turned, time_ns now, struct actions *actions)
{
    time_ns look_at = core->agent.breath ? now : core->agent.look_at;
    if (core->agent.breath && !turned) {
        core->agent.dirty = actions->more = true;
    } else if (now < look_at) {
        core->agent.dirty = true;
        core_deadline(actions, look_at);
    } else {
        core->agent.look_at = look_again(core->table, now);
        bool settle = core->settle_dirty;
        core->agent.breath = core->agent.dirty = core->settle_dirty = false;
        hold_and_drop(core, now, actions);
        update_released(core);
        update_held(core, now);
        core->settle_dirty = core->settle_dirty || settle; /* leader_step looks at it, then clears it */
    }
}

void agent_step(struct core *core, bool turned, time_ns now, struct actions *actions)
{
    own_hearing(core, now);
    settle_deadline(core, now, actions);
    update_lease(core, now, actions);
    update_adoption(core, now, actions);
    if (core->agent.retry_at && now >= core->agent.retry_at) {
        core->agent.retry_at = 0;
        core->agent.dirty = true;
    }
    if (core->hook.due <= now) {
        core->agent.dirty = true;
    }
    contest_step(core, now, actions);
    if (core->agent.reannounce && now < core->agent.gate && now < core->agent.defend_at) {
        core_deadline(actions, core->agent.defend_at);
    } else if (core->agent.reannounce && now < core->agent.gate) {
        core->agent.reannounce = false;
        core->agent.defend_at = now + DEFEND;
        core_act(actions, ACT_ANNOUNCE_ALL, 0);
    }
    if (core->agent.results) {
        take_results(core, now, actions);
    } else if (core->agent.dirty || core->settle_dirty || core->agent.told.applied != core->table->applied) {
        look_at_all(core, turned, now, actions);
    }
    hook_step(core, now, actions);
    core_deadline(actions, core->hook.due > now ? core->hook.due : now + MS); /* due, and put off: see look_at */
    step_shutdown(core, now, actions);
}

/* ---------------------------------------------------------------- heartbeats */

static bool links_equal(const struct node *n, const struct report *r)
{
    if (n->n_links != r->n_links) {
        return false;
    }
    for (unsigned i = 0; i < n->n_links; i++) {
        const struct link *a = &n->links[i], *b = &r->links[i];
        if (strncmp(a->name, b->name, DEV_SIZE) || a->up != b->up || a->n_prefixes != b->n_prefixes ||
            memcmp(a->mac, b->mac, MAC_SIZE) != 0) {
            return false;
        }
        for (unsigned k = 0; k < a->n_prefixes; k++) {
            if (a->prefixes[k].len != b->prefixes[k].len || !addr_equal(&a->prefixes[k].addr, &b->prefixes[k].addr)) {
                return false;
            }
        }
    }
    return true;
}

bool agent_report_known(const struct node *n, const struct report *r)
{
    return n->identity == r->identity && n->witness == r->witness && n->leaving == r->leaving &&
           (!r->leaving || n->leaving_run == r->run) && strncmp(n->version, r->version, VERSION_SIZE) == 0 &&
           n->reads_first == r->reads_first && n->reads_last == r->reads_last &&
           links_equal(n, r);
}

/* Whether the table has all that this node has to say; news is told at once, the rest again after a while. */
static bool report_known(struct core *core)
{
    struct report *r = &core->agent.report;
    if (contest_report(core, r)) {
        if (r->n_conflicts != core->agent.n_told ||
            memcmp(r->conflicts, core->agent.told_conflicts, sizeof r->conflicts) != 0) {
            core->agent.n_told = r->n_conflicts;
            memcpy(core->agent.told_conflicts, r->conflicts, sizeof r->conflicts);
            core->agent.report_at = 0;
        }
        return false;
    }
    core->agent.n_told = 0;
    return agent_report_known(&core->table->nodes[core->slot], r);
}

static void send_report(struct core *core, time_ns now, struct actions *actions)
{
    if (!core->agent.has_report || core->slot == SLOT_NONE || !core->lead.leader) {
        return;
    }
    if (report_known(core)) {
        return;
    }
    if (now >= core->agent.report_at) {
        core->agent.report_at = now + 3 * core_interval(core);
        core_act(actions, ACT_REPORT, core->lead.leader);
    }
    core_deadline(actions, core->agent.report_at);
}

void agent_beat(struct core *core, time_ns now, struct actions *actions)
{
    if (core->slot == SLOT_NONE || !core->table->voters) {
        return;
    }
    send_report(core, now, actions);
    struct heartbeat beat = {
        .from = core->self,
        .run = core->run,
        .gen = core->table->nodes[core->slot].gen,
        .applied = core->table->applied,
        .released = core->agent.released,
        .held = core->agent.held,
        .n_held = core->agent.n_present,
        .lease_ms = now < core->agent.gate ? (uint32_t)((core->agent.gate - now) / MS) : 0,
        .leader = core->lead.leader,
        .missing = core->agent.missing,
        .checks = core->table->checks_index,
        .passing = core->health.passing,
        .failing = core->health.failing,
        .writing_ms = disk_writing_ms(core, now),
        .slow_ppm = slew_slow_ppm(core),
        .fast_ppm = slew_fast_ppm(core),
        .last_term = core->agent.last_term,
        .last_index = core->agent.last_index,
        .format = FORMAT_LAST,
    };
    bool news = core->agent.beat_now || beat.applied != core->agent.told.applied || beat.gen != core->agent.told.gen;
    bool freed = beat.released != core->agent.told.released && core->agent.told.released < core->wanted[core->slot];
    time_ns at = core->agent.beat_at;
    if (news && core->agent.beat_last + HEARTBEAT_GAP < at) {
        at = core->agent.beat_last + HEARTBEAT_GAP;
    }
    if (now < at && !freed) {
        core_deadline(actions, at);
        return;
    }
    beat.seq = ++core->agent.seq;
    send_time_noted(core, now);
    core->agent.told = beat;
    core->agent.beat_now = false;
    core->agent.beat_last = now;
    core->agent.beat_at = now + core_interval(core);
    core->hearing[core->slot].last = beat;
    uint64_t to = core->table->voters | (freed ? core->waiters[core->slot] : 0);
    for (int i = 0; i < core->nodes_end; i++) {
        if (in_set(to, i) && i != core->slot && core->table->nodes[i].used) {
            core_act(actions, ACT_HEARTBEAT, core->table->nodes[i].id)->heartbeat = beat;
        }
    }
    core_deadline(actions, core->agent.beat_at);
    if (!core->agent.running && majority_of(core->table->voters) == 1) {
        actions->more = true; /* its own ack is all that it waits for */
    }
}
