/* The process of a node, one small turn at a time: what the daemon's loop and pump do (daemon/pump.c, daemon.c), cut so
 * that it can be stopped or killed between any two steps.
 *
 * A turn is one of: one action of the last step; one step of the core with a result of an action, or with an event; one
 * phase of the start; one input; one timer that is due. Inputs are taken only when nothing of the others is left. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"
#include "wire/report.h"

#define IDLE_MAX 200 /* timers in a row that find nothing to do, and are due again at once */

/* ------------------------------------------------------------------ when it runs next */

void node_wake(struct sim_node *node, uint64_t at)
{
    at = at > world.now ? at : world.now;
    if (node->run_at != UINT64_MAX && node->run_at <= at) {
        return;
    }
    node->run_at = at;
    struct timer *timer = world_at(at, TIMER_RUN, node->slot);
    timer->a = ++node->run_ticket;
}

static bool has_work(const struct sim_node *node)
{
    return node->next_action < node->actions->n || node->urgent.n > 0 || node->queue.n > 0;
}

static uint64_t next_timer(const struct sim_node *node)
{
    uint64_t own = node->core_due < node->renew_due ? node->core_due : node->renew_due;

    own = node->adopt_due < own ? node->adopt_due : own;

    for (int i = 0; i < node->table->vips_end || i < ADDRS; i++) {
        if (i < VIPS_MAX && node->announcing[i].on && node->announcing[i].at < own) {
            own = node->announcing[i].at;
        }
        if (i < VIPS_MAX && node->probing[i].on && node->probing[i].at < own) {
            own = node->probing[i].at;
        }
        if (i < ADDRS && node->flying[i] != 0 && node->flying[i] < own) {
            own = node->flying[i];
        }
    }
    own = hooks_next(node, own);
    if (node->checked.at != 0 && node->checked.at < own) {
        own = node->checked.at;
    }
    if (node->consensus != NULL) {
        uint64_t raft = consensus_timeout_ms(node->consensus);
        if (raft < UINT64_MAX / MS && raft * MS < own) {
            own = raft * MS;
        }
    }
    return own;
}

static void wake_next(struct sim_node *node)
{
    uint64_t at = world.now + chance_span(&world.work, 1 * US, 15 * US);

    if (!has_work(node) && node->inbox_n == 0 && node->phase == STARTED && node->about_to_announce < 0 &&
        !node->stopping) {
        uint64_t due = next_timer(node);
        if (due > clock_own(node) + 10000 * MS) {
            due = clock_own(node) + 10000 * MS;
        }
        uint64_t then = clock_true(node, due) + chance_below(&world.work, 1 * MS); /* the loop counts in ms, upwards */
        at = then > at ? then : at;
    }
    node_wake(node, at);
}

/* ------------------------------------------------------------------ events */

static void put(struct event_ring *ring, const struct event *event)
{
    if (ring->n == QUEUE_MAX) {
        abort();
    }
    ring->list[(ring->head + ring->n++) % QUEUE_MAX] = *event;
}

static bool take(struct event_ring *ring, struct event *ret)
{
    if (ring->n == 0) {
        return false;
    }
    *ret = ring->list[ring->head];
    ring->head = (ring->head + 1) % QUEUE_MAX;
    ring->n--;
    return true;
}

static void step(struct sim_node *node, struct event *event)
{
    event->now = node->step_at = clock_own(node);
    event->slew = (struct slew){.slow_ppm = node->slew_told < 0 ? (uint32_t)-node->slew_told : 0,
                                .fast_ppm = node->slew_told > 0 ? (uint32_t)node->slew_told : 0};
    node->slew_seen = node->slew_told;
    event->writing_since = node->consensus == NULL ? 0 : consensus_writing_since_ms(node->consensus) * MS;
    event->wall_ms = (int64_t)(1700000000000ull + event->now / MS);
    if (event->type == EV_APPLIED) {
        node->applied_queued = false;
    }
    if (event->type == EV_DISK && event->disk.caught_up && !core_caught_up(node->core)) {
        kernel_adopt_take(node, event);
    }
    foreign_step(node, event);
    core_step(node->core, event, node->actions);
    node->next_action = 0;
    world.stats->steps++;
    world_note("step", node->slot, (uint64_t)event->type, node->actions->n);
    bool idle = event->type == EV_TIMER && node->actions->n == 0 && !node->actions->more && node->actions->deadline <= event->now;
    node->idle_steps = idle ? node->idle_steps + 1 : 0;
    if (node->idle_steps > IDLE_MAX && !world.broken) { /* a rule that is due, and broken, stays due */
        world_violated(VIOLATION_BUG, "%c turns without end: a deadline stays due, though there is nothing to do", 'a' + node->slot);
    }
    uint64_t bound = event->now + 1000 * MS;
    node->core_due = node->actions->more            ? event->now
                     : node->actions->deadline < bound ? node->actions->deadline
                                                       : bound;
}

/* Whether there was something. */
static bool pump_one(struct sim_node *node)
{
    struct event event;

    if (node->next_action < node->actions->n) {
        unsigned i = node->next_action;
        node->next_action = i + act_execute(node, &node->actions->list[i]);
        return true;
    }
    if (node->stopping) {
        return false;
    }
    unsigned more = node->urgent.n;
    if (take(&node->urgent, &event)) {
        if (event.type == EV_KERNEL) {
            event.kernel.more = more > 1;
        }
    } else if (!take(&node->queue, &event)) {
        return false;
    }
    step(node, &event);
    return true;
}

/* As the daemon's pump: what an input causes is worked off within it, now and then without a chance for anything else. */
void node_event(struct sim_node *node, const struct event *event)
{
    put(&node->queue, event);
    if (!node->pumping && event->type == EV_APPLIED && chance_permille(&world.work, 500)) {
        node->pumping = true;
        while (pump_one(node)) {
        }
        node->pumping = false;
    }
}

void node_result(struct sim_node *node, const struct event *event)
{
    put(&node->urgent, event);
}

/* ------------------------------------------------------------------ inputs */

void node_input(struct sim_node *node, struct input *input)
{
    bool net = input->kind == INPUT_DATAGRAM || input->kind == INPUT_FRAME || input->kind == INPUT_ARP ||
               input->kind == INPUT_REPORT;

    if (!node->alive || (net && node->inbox_n >= INBOX_NET_MAX)) {
        world.stats->messages.overflowed += node->alive;
        free(input->data);
        return;
    }
    if (node->inbox_n == INBOX_MAX) {
        abort();
    }
    node->inbox[(node->inbox_head + node->inbox_n++) % INBOX_MAX] = *input;
    if (world.now >= node->stalled_until) {
        node_wake(node, world.now + chance_span(&world.work, 1 * US, 20 * US));
    }
}

/* V1_ATOMIC broken: a heartbeat is found good now and acked in a while, with those of the same node that come meanwhile. */
static bool check_only(struct sim_node *node, const struct heartbeat *beat, const struct node *from)
{
    int self = members_slot(node->table, node->slot);
    bool good = !world.calm && node->caught_up && from->status == NODE_ADMITTED && from->gen == beat->gen && self >= 0 &&
                (node->table->voters >> self & 1);

    if (!good || (node->checked.at != 0 ? node->checked.datagram->heartbeat.from != beat->from
                                        : !chance_permille(&world.work, 300))) {
        return false;
    }
    *node->checked.datagram = *node->datagram;
    if (node->checked.at == 0) {
        node->checked.at = clock_own(node) + chance_below(&world.work, world.unit / 2);
    }
    return true;
}

static void on_datagram(struct sim_node *node, const struct input *input)
{
    struct event event = {0};

    if (node->table->cluster_id == 0 ||
        heartbeat_decode(input->data, input->len, node->table->cluster_id, node->datagram) != 0) {
        return;
    }
    if (node->datagram->type == DATAGRAM_ANSWER) {
        foreign_acked(node, &node->datagram->answer);
        event.type = EV_ANSWER;
        event.answer = &node->datagram->answer;
        node_event(node, &event);
        return;
    }
    const struct heartbeat *beat = &node->datagram->heartbeat;
    int slot = table_node_by_id(node->table, beat->from);
    if (!RULE(V1_ATOMIC) && slot >= 0 && check_only(node, beat, &node->table->nodes[slot])) {
        return;
    }
    event.type = EV_HEARTBEAT;
    event.heartbeat = beat;
    node_event(node, &event);
}

/* V1_ATOMIC broken: what was found good some time ago is acked now. */
static void ack_checked(struct sim_node *node)
{
    const struct heartbeat *beat = &node->checked.datagram->heartbeat;
    int slot = table_node_by_id(node->table, beat->from);
    struct answer answer = {.from = node->id, .to = beat->from, .run = beat->run, .gen = beat->gen, .seq = beat->seq,
                            .acked = true, .applied = node->table->applied};
    uint8_t bytes[DATAGRAM_MAX];

    node->checked.at = 0;
    if (slot >= 0 && node->table->nodes[slot].status == NODE_ADMITTED) {
        struct event event = {.type = EV_HEARTBEAT};
        *node->datagram = *node->checked.datagram;
        event.heartbeat = &node->datagram->heartbeat;
        node_event(node, &event);
    } else if (members_host(beat->from) >= 0) {
        net_send(node->slot, members_host(beat->from), INPUT_DATAGRAM, bytes,
                 answer_encode(&answer, FORMAT_LAST, node->table->cluster_id, bytes));
    }
}

static void on_report(struct sim_node *node, const struct input *input)
{
    struct event event = {.type = EV_REPORT, .report = &node->told};

    if (report_decode(input->data, input->len, &node->told) == 0) {
        node_event(node, &event);
    }
}

static void on_address(struct sim_node *node, int address)
{
    struct event event = {.type = EV_KERNEL};

    event.kernel.addr = address_of(address);
    event.kernel.present = node->kernel.addresses[address].present;
    if (!event.kernel.present || table_vip_by_addr(node->table, &event.kernel.addr) != SLOT_NONE) {
        node_event(node, &event);
    }
}

static void on_input(struct sim_node *node)
{
    struct input input = node->inbox[node->inbox_head];
    uint64_t now_ms = clock_own(node) / MS;

    node->inbox_head = (node->inbox_head + 1) % INBOX_MAX;
    node->inbox_n--;
    switch (input.kind) {
    case INPUT_DATAGRAM:
        on_datagram(node, &input);
        break;
    case INPUT_FRAME:
        if (node->consensus != NULL && members_connected(node, &input) &&
            consensus_receive(node->consensus, input.from_id, input.data, input.len, now_ms) == -EBADMSG) {
            world_violated(VIOLATION_BUG, "a frame of Raft is refused as malformed");
        }
        break;
    case INPUT_REPORT:
        if (members_connected(node, &input)) {
            on_report(node, &input);
        }
        break;
    case INPUT_WRITTEN:
        if (consensus_persisted(node->consensus, input.job, input.status, now_ms) != 0) {
            node_stop(node);
        }
        break;
    case INPUT_ADDRESS:
        on_address(node, input.address);
        break;
    case INPUT_LINKS:
        act_links(node);
        break;
    case INPUT_ARP:
        foreign_heard(node, input.from, input.address);
        break;
    case INPUT_REQUEST:
        client_request(node, &input);
        break;
    case INPUT_TERM:
        if (node->leaving || !core_caught_up(node->core)) {
            node_stop(node);
        } else {
            struct event event = {.type = EV_SHUTDOWN};
            node->leaving = true;
            node_event(node, &event);
        }
        break;
    case INPUT_LOST:
        consensus_disconnected(node->consensus, input.from_id);
        break;
    case INPUT_GONE:
        node->gone = true;
        node_stop(node);
        break;
    }
    free(input.data);
}

/* ------------------------------------------------------------------ timers */

static bool announce_due(struct sim_node *node, uint64_t own)
{
    const struct settings *settings = &node->table->settings;

    for (int i = 0; i < VIPS_MAX; i++) {
        struct announcing *a = &node->announcing[i];
        if (!a->on || a->at > own) {
            continue;
        }
        if (core_may_hold(node->core, i, own)) {
            node->about_to_announce = i; /* asked now, sent in another turn */
        }
        a->left -= a->left > 0;
        if (a->left > 0) {
            a->at = own + settings->announce_interval_ms * MS;
        } else if (settings->announce_refresh_ms > 0) {
            a->at = own + settings->announce_refresh_ms * MS;
        } else {
            a->on = false;
        }
        return true;
    }
    return false;
}

static void renew(struct sim_node *node, uint64_t own)
{
    for (int i = 0; i < node->table->vips_end; i++) {
        int address = node->table->vips[i].used ? address_index(&node->table->vips[i].address.addr) : -1;
        if (address >= 0 && core_may_hold(node->core, i, own)) {
            kernel_renew(node, address);
        }
    }
    node->renew_due = own + 2000 * MS;
}

static bool flying_due(struct sim_node *node, uint64_t own)
{
    for (int address = 0; address < ADDRS; address++) {
        if (node->flying[address] == 0 || node->flying[address] > own) {
            continue;
        }
        struct event event = {.type = EV_KERNEL};
        node->flying[address] = 0;
        event.kernel.failed = kernel_add(node, address, true) != 0;
        event.kernel.addr = address_of(address);
        event.kernel.present = node->kernel.addresses[address].present;
        node_event(node, &event);
        return true;
    }
    return false;
}

static bool timer(struct sim_node *node)
{
    uint64_t own = clock_own(node);

    if (node->core_due <= own) {
        struct event event = {.type = EV_TIMER};
        node->core_due = UINT64_MAX; /* until the step says */
        node_event(node, &event);
        return true;
    }
    if (node->consensus != NULL && consensus_timeout_ms(node->consensus) <= own / MS) {
        if (consensus_tick(node->consensus, own / MS) != 0) {
            node_stop(node);
        }
        return true;
    }
    if (node->adopt_due <= own) {
        kernel_adopt_late(node);
        return true;
    }
    if (node->renew_due <= own) {
        renew(node, own);
        return true;
    }
    if (node->checked.at != 0 && node->checked.at <= own) {
        ack_checked(node);
        return true;
    }
    return flying_due(node, own) || hooks_due(node, own) || foreign_probe_due(node, own) || announce_due(node, own);
}

/* ------------------------------------------------------------------ begin */

static void open_process(struct sim_node *node)
{
    node->epoch++;
    node->alive = true;
    node->stopping = node->leaving = node->applied_queued = node->pumping = node->was_member = node->gone = false;
    node->caught_up = node->found_proposed = node->started_raft = false;
    node->run = chance_next(&world.work) | 1;
    node->phase = START_FLUSH;
    node->stalled_until = 0;
    node->next_action = node->actions->n = 0;
    node->urgent.n = node->queue.n = node->inbox_n = 0;
    node->target = UINT64_MAX;
    node->last_term = node->last_index = 0;
    node->fenced_changed = UINT64_MAX;
    node->adopt_due = UINT64_MAX;
    node->adopted = node->vips_told = 0;
    node->attached = false;
    node->core_due = node->renew_due = clock_own(node) + 250 * MS;
    node->about_to_announce = -1;
    node->checked.at = 0;
    node->start_at = 0;
    node->disk_fails = false;
    node->slew_told = node->slew_seen = node->slew; /* one that had not begun does not */
    memset(node->announcing, 0, sizeof node->announcing);
    memset(node->calls, 0, sizeof node->calls);
    memset(node->flying, 0, sizeof node->flying);
    memset(node->probing, 0, sizeof node->probing);
    memset(node->hooking, 0, sizeof node->hooking);
    memset(node->asked, 0, sizeof node->asked);
    memset(node->kept, 0, sizeof node->kept);
    memset(node->sent_at, 0, sizeof node->sent_at);
    node->shut = SHUT_NOT;
    memset(&node->report, 0, sizeof node->report);
}

void node_start(struct sim_node *node)
{
    if (node->alive || node->id == 0 || (node->lost && world.calm)) {
        return;
    }
    open_process(node);
    table_init(node->table);
    memset(node->core, 0, core_size());
    core_init(node->core, node->id, node->run, node->table, clock_own(node));
    world.stats->restarts++;
    world_note("start", node->slot, node->epoch, 0);
    net_started(node->slot);
    ambush_trigger(TRIGGER_START, node->slot);
    node->run_at = UINT64_MAX;
    node_wake(node, world.now);
}

/* In the order of daemon.c; each address that an earlier run left is a turn of its own. */
static void start_on(struct sim_node *node)
{
    switch (node->phase) {
    case START_FLUSH:
        if (kernel_flush_one(node)) {
            return;
        }
        node->adopt_due = node->adopted ? clock_own(node) + world.timing.promise_ms * MS : UINT64_MAX;
        node->phase = START_LINKS;
        break;
    case START_LINKS:
        if (!node->adopted) {
            kernel_attach(node);
        }
        act_links(node);
        node->phase = START_RAFT;
        break;
    case START_RAFT:
        node->phase = STARTED;
        fsm_start(node);
        break;
    case STARTED:
        break;
    }
}

/* ------------------------------------------------------------------ end */

static void close_process(struct sim_node *node)
{
    disk_crash(node);
    consensus_free(node->consensus);
    node->consensus = NULL;
    for (; node->inbox_n > 0; node->inbox_n--) {
        free(node->inbox[node->inbox_head].data);
        node->inbox_head = (node->inbox_head + 1) % INBOX_MAX;
    }
    node->alive = false;
    node->armed = NULL;
    node->run_at = UINT64_MAX;
    node->run_ticket++;
}

void node_crash(struct sim_node *node)
{
    if (node->alive) {
        world_note("crash", node->slot, node->next_action, node->actions->n);
        close_process(node);
    }
}

void node_stop(struct sim_node *node)
{
    if (!node->stopping) {
        node->stopping = true;
        kernel_release(node);
    }
}

static void end_in_order(struct sim_node *node)
{
    world_note("exit", node->slot, 0, 0);
    kernel_detach_if_released(node);
    close_process(node);
    if (node->gone) {
        members_gone(node);
    }
    if (node->id != 0 && node->start_at <= world.now) { /* its supervisor starts it again */
        node->start_at = world.now + world.unit / 2;
        world_at(node->start_at, TIMER_START, node->slot);
    }
}

/* ------------------------------------------------------------------ a turn */

static bool moment_has_come(const struct sim_node *node)
{
    switch (node->armed->moment) {
    case MOMENT_BEFORE_ACTION:
        return node->next_action > 0 && node->next_action < node->actions->n &&
               (node->armed->arg == 0 || node->actions->list[node->next_action].type == node->armed->arg);
    case MOMENT_BEFORE_STEP:
        return node->next_action >= node->actions->n && (node->urgent.n > 0 || node->queue.n > 0);
    case MOMENT_START:
        return node->phase != STARTED;
    case MOMENT_NOW:
    case MOMENT_WRITTEN:
    case MOMENTS_N:
    default:
        return false;
    }
}

/* A slew begins once the node has seen it and done what follows. What the product sees a moment late is a part of its margin
 * as long as it runs; that it may be stopped in this very moment is among what docs/safety.md leaves. */
static void slew_begins(struct sim_node *node)
{
    if (node->slew != node->slew_told && node->slew_seen == node->slew_told && !has_work(node)) {
        clock_slewed(node, node->slew_told);
        world_note("slewed", node->slot, (uint64_t)node->slew, 0);
    }
}

static void one(struct sim_node *node)
{
    slew_begins(node);
    if (has_work(node) && !(node->stopping && node->next_action >= node->actions->n)) {
        node->pumping = true;
        (void)pump_one(node);
        node->pumping = has_work(node);
        return;
    }
    node->pumping = false;
    if (node->stopping) {
        end_in_order(node);
        return;
    }
    if (node->phase != STARTED) {
        start_on(node);
        return;
    }
    if (node->about_to_announce >= 0) {
        int address = node->announcing[node->about_to_announce].address;
        node->about_to_announce = -1;
        kernel_sent(node, address);
        return;
    }
    fsm_found(node);
    bool timers_first = chance_permille(&world.work, 500);
    if (timers_first && timer(node)) {
        return;
    }
    if (node->inbox_n > 0) {
        on_input(node);
    } else if (!timers_first) {
        (void)timer(node);
    }
}

void node_turn(struct sim_node *node)
{
    node->run_at = UINT64_MAX;
    if (node->alive && world.now >= node->stalled_until && node->armed != NULL && moment_has_come(node)) {
        faults_hit(node);
    }
    if (!node->alive) {
        return;
    }
    if (world.now < node->stalled_until) {
        node_wake(node, node->stalled_until);
        return;
    }
    world.stats->turns++;
    one(node);
    if (node->alive) {
        wake_next(node);
    }
}

bool node_leads(const struct sim_node *node)
{
    return node->alive && node->consensus != NULL && consensus_is_leader(node->consensus);
}

void node_open(struct sim_node *node, int slot)
{
    node->slot = slot;
    node->name[0] = (char)('a' + slot);
    node->out = false;
    node->kernel.link_up = true;
    node->slew = node->slew_told = node->slew_seen = 0;
    node->run_at = UINT64_MAX;
    node->true_base = world.now;
    node->own_base = chance_span(&world.work, 1000 * MS, 100000000 * MS);
    if (node->table == NULL) {
        node->table = calloc(1, sizeof *node->table);
        node->core = calloc(1, core_size());
        node->actions = calloc(1, sizeof *node->actions);
        node->datagram = calloc(2, sizeof *node->datagram);
        if (node->table == NULL || node->core == NULL || node->actions == NULL || node->datagram == NULL) {
            abort();
        }
    }
    node->checked.datagram = node->datagram + 1;
}

void node_close(struct sim_node *node)
{
    if (node->alive) {
        node->disk_fails = true; /* nothing more is written */
        close_process(node);
    }
    disk_close(&node->disk);
}
