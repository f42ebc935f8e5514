/* The pump: one event at a time into the core, its actions out in their order.
 *
 * Happy path: an adapter's callback calls daemon_event(); the core is stepped, each action is carried out by the part that
 * can, and the timer is set for the core's next deadline. Failure modes: events that arise while actions are carried
 * out (a result, Raft's progress) wait in the queue, results first; a queue that overflows is a bug and ends the
 * process, because a lost event could leave a VIP held. */

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "base/log.h"
#include "daemon/daemon.h"
#include "wire/command.h"

time_ns daemon_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

int64_t daemon_wall_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

uint64_t daemon_random(void)
{
    uint64_t value = 0;
    while (!value) {
        if (getrandom(&value, sizeof value, 0) != sizeof value) {
            abort();
        }
    }
    return value;
}

static uint64_t raft_ms(void)
{
    return daemon_now() / MS;
}

/* ---------------------------------------------------------------- actions */

static const char *node_label(const struct daemon *d, int slot)
{
    return slot >= 0 && slot < NODES_MAX ? d->table->nodes[slot].name : "-";
}

static bool is_about_host(enum log_id id)
{
    return id == LOG_FOREIGN || id == LOG_TAKEN || id == LOG_DEFENDED || id == LOG_YIELDED || id == LOG_CONFLICT_END;
}

static void say(const struct daemon *d, const struct action *action)
{
    static const enum log_id IDS[] = {
        [LOG_CORE_LEASE_GAINED] = LOG_LEASE_GAINED, [LOG_CORE_LEASE_LOST] = LOG_LEASE_LOST,
        [LOG_CORE_HOLD] = LOG_HOLD,                 [LOG_CORE_DROP] = LOG_DROP,
        [LOG_CORE_FENCE] = LOG_FENCE,               [LOG_CORE_CLEAR] = LOG_CLEAR,
        [LOG_CORE_ADMIT] = LOG_ADMIT,               [LOG_CORE_MOVE] = LOG_MOVE,
        [LOG_CORE_LEADER] = LOG_LEADER,             [LOG_CORE_FOLLOWER] = LOG_FOLLOWER,
        [LOG_CORE_MISSING] = LOG_MISSING,           [LOG_CORE_HEARD] = LOG_HEARD,
        [LOG_CORE_FOREIGN] = LOG_FOREIGN,           [LOG_CORE_READD] = LOG_READD,
        [LOG_CORE_TAKEN] = LOG_TAKEN,               [LOG_CORE_DEFENDED] = LOG_DEFENDED,
        [LOG_CORE_YIELDED] = LOG_YIELDED,           [LOG_CORE_CONFLICT_END] = LOG_CONFLICT_END,
        [LOG_CORE_CLOCK_STEADY] = LOG_CLOCK_STEADY, [LOG_CORE_CLOCK_SLEWED] = LOG_CLOCK_SLEWED,
        [LOG_CORE_CLOCK_UNFIT] = LOG_CLOCK_UNFIT,
        [LOG_CORE_LISTED] = LOG_LISTED,             [LOG_CORE_VOTER] = LOG_VOTER,
        [LOG_CORE_UNLISTED] = LOG_UNLISTED,         [LOG_CORE_REMOVED] = LOG_REMOVED,
        [LOG_CORE_CHECK_FAILS] = LOG_CHECK_FAILS,   [LOG_CORE_CHECK_PASSES] = LOG_CHECK_PASSES,
        [LOG_CORE_DISK_LATE] = LOG_DISK_LATE,       [LOG_CORE_DISK_WELL] = LOG_DISK_WELL,
        [LOG_CORE_DISK_DEAD] = LOG_DISK_DEAD,
        [LOG_CORE_MAINTENANCE] = LOG_MAINTENANCE,   [LOG_CORE_MAINTENANCE_LOST] = LOG_MAINTENANCE_LOST,
    };
    enum log_id id = IDS[action->log.id];
    if (action->log.vip != SLOT_NONE) {
        const struct vip *vip = &d->table->vips[action->log.vip];
        char text[PREFIX_TEXT_MAX];
        if (id == LOG_MOVE) {
            log_write(id, "vip=%s address=%s to=%s reason=%s", vip->name, prefix_format(&vip->address, text),
                      node_label(d, action->log.node), reason_text((enum reason)action->log.value));
        } else if (is_about_host(id)) {
            uint8_t mac[MAC_SIZE];
            char host[MAC_TEXT_SIZE];
            for (int i = 0; i < MAC_SIZE; i++) {
                mac[i] = (uint8_t)(action->log.value >> 8 * (MAC_SIZE - 1 - i));
            }
            log_write(id, "vip=%s address=%s mac=%s", vip->name, prefix_format(&vip->address, text),
                      mac_format(mac, host));
        } else {
            log_write(id, "vip=%s address=%s", vip->name, prefix_format(&vip->address, text));
        }
    } else if (id == LOG_LEADER || id == LOG_FOLLOWER) {
        log_write(id, "term=%llu", (unsigned long long)action->log.value);
    } else if (id == LOG_CLOCK_STEADY || id == LOG_CLOCK_SLEWED || id == LOG_CLOCK_UNFIT) {
        log_write(id, "ppm=%llu", (unsigned long long)action->log.value);
    } else if (id == LOG_CHECK_FAILS || id == LOG_CHECK_PASSES) {
        log_write(id, "check=%s why=\"%s\"", d->table->checks[action->log.value].spec.name,
                  health_detail(d, (int)action->log.value));
    } else if (id == LOG_MAINTENANCE) {
        enum step_state step = (enum step_state)action->log.value;
        log_write(step == STEP_FAILED ? LOG_MAINTENANCE_FAILED : id, "node=%s step=%s", node_label(d, action->log.node),
                  step_state_text(step));
    } else if (id == LOG_FENCE) {
        log_write(id, "node=%s moves=%llu", node_label(d, action->log.node), (unsigned long long)action->log.value);
    } else {
        log_write(id, "node=%s", node_label(d, action->log.node));
    }
}

static void propose(struct daemon *d, uint64_t token, const struct command *command)
{
    size_t len = 0;
    uint64_t index = 0;
    struct command written = *command;
    written.format = d->table->format; /* never one that some node does not read */
    int rv = command_encode(&written, d->command_bytes, COMMAND_BYTES_MAX, &len);
    if (!rv && d->consensus) {
        rv = consensus_submit(d->consensus, d->command_bytes, len, raft_ms(), &index);
    }
    if (rv) {
        index = 0;
    }
    if (token) {
        requests_proposed(d, token, index);
    } else {
        struct event event = {.type = EV_PROPOSED, .proposed = {.token = 0, .index = index}};
        daemon_result(d, &event);
    }
}

static void barrier(struct daemon *d)
{
    /* the consensus appends an entry of its own term on winning (L6) */
    struct event event = {.type = EV_PROPOSED, .proposed = {.token = 0, .index = consensus_barrier(d->consensus)}};
    daemon_result(d, &event);
}

static void elect(struct daemon *d)
{
    /* a refusal is fine: Raft's own timers are the fall-back */
    if (consensus_elect(d->consensus, raft_ms()) < 0) {
        daemon_fatal(d, "election");
    }
}

static void report(struct daemon *d, uint64_t to)
{
    if (to == d->self) {
        d->report = *core_report(d->core);
        struct event event = {.type = EV_REPORT, .report = &d->report};
        daemon_event(d, &event);
    } else {
        members_report(d, to);
    }
}

static unsigned execute(struct daemon *d, const struct action *action, unsigned left)
{
    switch (action->type) {
    case ACT_HEARTBEAT:
        members_heartbeat(d, action->to, &action->heartbeat);
        break;
    case ACT_ANSWER:
        members_answer(d, action->to, action->answer);
        break;
    case ACT_LEASE:
        kernel_lease(d, action->lease_end);
        break;
    case ACT_ADDR_DEL:
    case ACT_ADDR_ADD:
        return kernel_addresses(d, action, left);
    case ACT_PROBE:
        foreign_probe(d, action);
        break;
    case ACT_ANNOUNCE:
        kernel_announce(d, action->vip);
        break;
    case ACT_SILENCE:
        kernel_silence(d, action->vip);
        break;
    case ACT_ANNOUNCE_ALL:
        kernel_announce_all(d);
        break;
    case ACT_HOOK:
        hooks_ask(d, action);
        break;
    case ACT_RESET:
        resets_ask(d, action);
        break;
    case ACT_CONFIGURE:
        fsm_configure(d, action->to, action->configure);
        break;
    case ACT_PROPOSE:
        propose(d, action->propose.token, action->propose.command);
        break;
    case ACT_BARRIER:
        barrier(d);
        break;
    case ACT_REPLY:
        requests_outcome(d, action->reply.token, &action->reply.outcome);
        break;
    case ACT_REPORT:
        report(d, action->to);
        break;
    case ACT_ELECT:
        elect(d);
        break;
    case ACT_TRANSFER:
        if (consensus_transfer(d->consensus, action->to, raft_ms()) < 0) {
            daemon_fatal(d, "transfer");
        }
        break;
    case ACT_LOG:
        say(d, action);
        break;
    case ACT_EXIT:
        daemon_stop(d, 0);
        break;
    default:
        abort();
    }
    return 1;
}

/* ---------------------------------------------------------------- events */

static void put(struct event_queue *queue, const struct event *event)
{
    if (queue->n == EVENTS_MAX) {
        abort(); /* bounded by what one step's actions can cause */
    }
    queue->ring[(queue->head + queue->n++) % EVENTS_MAX] = *event;
}

static bool take(struct event_queue *queue, struct event *ret)
{
    if (!queue->n) {
        return false;
    }
    *ret = queue->ring[queue->head];
    queue->n--;
    queue->head = queue->n ? (queue->head + 1) % EVENTS_MAX : 0; /* one that is rarely long stays in a page */
    return true;
}

static void on_core_timer(uv_timer_t *timer)
{
    struct daemon *d = timer->data;
    struct event event = {.type = EV_TIMER};
    daemon_event(d, &event);
}

static void on_core_now(uv_idle_t *idle)
{
    struct daemon *d = idle->data;
    struct event event = {.type = EV_CONTINUE};
    uv_idle_stop(idle);
    daemon_event(d, &event);
}

static void arm(struct daemon *d)
{
    if (d->closed) {
        return;
    }
    time_ns now = daemon_now();
    uint64_t wait_ms = 1000;
    if (d->actions.more) {
        wait_ms = 0;
    } else if (d->actions.deadline != UINT64_MAX) {
        wait_ms = d->actions.deadline > now ? (d->actions.deadline - now + MS - 1) / MS : 0;
        wait_ms = wait_ms < 1000 ? wait_ms : 1000;
    }
    uv_timer_stop(&d->core_timer);
    uv_idle_stop(&d->core_now);
    if (wait_ms == 0) {
        uv_idle_start(&d->core_now, on_core_now);
        return;
    }
    uv_update_time(&d->loop);
    uv_timer_start(&d->core_timer, on_core_timer, wait_ms, 0);
}

static void step(struct daemon *d, struct event *event)
{
    clock_look(&d->clock, daemon_now(), &event->slew);
    event->now = daemon_now();
    event->writing_since = d->consensus ? consensus_writing_since_ms(d->consensus) * MS : 0;
    event->wall_ms = daemon_wall_ms();
    time_ns late = event->now > d->actions.deadline ? event->now - d->actions.deadline : 0;
    if (late > d->table->timing.interval_ms * MS && d->table->timing.interval_ms) {
        log_write(LOG_TIMING, "late_ms=%llu interval_ms=%u", (unsigned long long)(late / MS),
                  d->table->timing.interval_ms);
    }
    if (event->type == EV_APPLIED) {
        d->applied_queued = false;
    }
    bool catches_up = event->type == EV_DISK && event->disk.caught_up && !core_caught_up(d->core);
    if (catches_up) {
        adopt_take(d, event);
    }
    core_step(d->core, event, &d->actions);
    if (catches_up) {
        adopt_taken(d);
    }
    /* the list is walked to its end even when the node stops in the middle: the last heartbeat is in it */
    for (unsigned i = 0; i < d->actions.n;) {
        i += execute(d, &d->actions.list[i], d->actions.n - i);
    }
}

static void pump(struct daemon *d)
{
    struct event event;
    d->pumping = true;
    while (!d->closed) {
        unsigned more = d->urgent.n;
        if (take(&d->urgent, &event)) {
            if (event.type == EV_KERNEL) {
                event.kernel.more = more > 1;
            }
        } else if (!take(&d->queue, &event)) {
            break;
        }
        step(d, &event);
    }
    d->pumping = false;
    if (!d->closed && d->consensus && !d->table->cluster_id && !d->found_proposed &&
        consensus_is_leader(d->consensus) && d->table->applied >= consensus_barrier(d->consensus)) {
        founding_propose(d);
    }
    if (!d->closed) {
        health_poll(d);
        resets_poll(d);
        requests_poll(d);
        arm(d);
        pump_raft_timer(d);
    }
}

void daemon_event(struct daemon *d, struct event *event)
{
    if (d->closed) {
        return;
    }
    put(&d->queue, event);
    if (!d->pumping) {
        pump(d);
    }
}

void daemon_result(struct daemon *d, struct event *event)
{
    if (d->closed) {
        return;
    }
    put(&d->urgent, event);
    if (!d->pumping) {
        pump(d);
    }
}

static void on_raft_timer(uv_timer_t *timer)
{
    struct daemon *d = timer->data;
    if (d->consensus && consensus_tick(d->consensus, raft_ms()) < 0) {
        daemon_fatal(d, "raft");
        return;
    }
    pump_raft_timer(d);
}

void pump_raft_timer(struct daemon *d)
{
    if (!d->consensus || d->closed) {
        return;
    }
    uint64_t now = raft_ms(), at = consensus_timeout_ms(d->consensus);
    uint64_t wait = at > now ? at - now : 0;
    uv_timer_start(&d->raft_timer, on_raft_timer, wait < 60000 ? wait : 60000, 0);
}

void pump_open(struct daemon *d)
{
    uv_timer_init(&d->loop, &d->core_timer);
    uv_idle_init(&d->loop, &d->core_now);
    d->core_now.data = d;
    uv_timer_init(&d->loop, &d->raft_timer);
    d->core_timer.data = d->raft_timer.data = d;
    d->actions.deadline = UINT64_MAX;
    clock_init(&d->clock);
    arm(d);
}
