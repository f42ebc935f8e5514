/* Runs the hooks that the core asks for: a few at a time, the rest waiting in their order.
 *
 * Happy path: ACT_HOOK puts a job into the queue, a turn of the loop starts one program, its end is recorded, and that of a
 * before-... goes back to the core. Failure modes, all recorded, logged and counted: the queue is full, or its turn came too
 * late (not run); there is no such program, or somebody else could have written it (not run); it fails, hangs, or floods
 * its output (killed, with its group); it cannot even be killed (its place stays taken). The core waits for nobody longer than it
 * said, so nothing here can hold up a VIP for longer. For one VIP they run one after the other, in the order in which they were asked for. */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/api.h"
#include "daemon/daemon.h"
#include "daemon/hooks.h"
#include "io/check.h"
#include "io/child.h"

#define HOOKS_RUNNING_MAX 16   /* programs at a time */
#define HOOKS_QUEUED_MAX 16384 /* waiting; one more is not run */
#define HOOKS_PATIENCE_MS 60000 /* one that has waited for so long is not run */
#define HOOKS_END_MS 5000      /* at the daemon's end what is asked for may take so long */
#define HOOKS_FAILURES_MAX 64  /* whose words are remembered */
#define LATELY_MS 600000

struct job
{
    struct hook_event event;
    char program[HOOK_PROGRAM_SIZE];
    uint32_t within_ms;
    time_ns by; /* before-...: of no use any more; after-...: has waited for too long */
    bool waits; /* false: it was taken out of the queue */
};

struct running
{
    struct hooks *hooks;
    struct child *child; /* NULL = free */
    struct job job;
    time_ns begun;
};

/* The last run of one hook of a VIP. */
struct record
{
    int64_t at_ms; /* Unix; 0 = none */
    struct addr addr;
    uint32_t took_ms;
    bool failed;
    uint64_t failure; /* number of its words */
};

struct failure
{
    char detail[CHECK_DETAIL_SIZE];
};

struct hooks
{
    struct daemon *d;
    uv_idle_t next; /* a timer that starts itself anew would run again before anything is heard */
    uv_timer_t end_timer;
    struct job *queue; /* a ring */
    unsigned head, n;
    unsigned n_before; /* of those that wait, before-... */
    struct running running[HOOKS_RUNNING_MAX];
    unsigned n_running;
    uint8_t pending[VIPS_MAX]; /* jobs of a VIP that wait or run, up to 255 */
    uint64_t in_use[VIPS_MAX / 64]; /* VIPs one of whose jobs runs */
    struct record *records; /* [VIPS_MAX][HOOK_POINTS_N] */
    struct failure failures[HOOKS_FAILURES_MAX];
    uint64_t n_failures;
    struct
    {
        uint64_t run, failed, dropped;
    } counters;
    int64_t dropped_at_ms;
    bool closing;
};

static bool is_before(const struct job *job)
{
    return job->event.point == HOOK_BEFORE_TAKE || job->event.point == HOOK_BEFORE_RELEASE;
}

static void tell_core(struct hooks *h, const struct job *job)
{
    struct event event = {.type = EV_HOOK};
    if (is_before(job)) {
        event.hook.vip = job->event.vip;
        event.hook.point = job->event.point;
        event.hook.moved = job->event.moved;
        daemon_event(h->d, &event);
    }
}

/* ---------------------------------------------------------------- what came of it */

static void record(struct hooks *h, const struct job *job, bool failed, uint32_t took_ms, const char *detail)
{
    struct record *record = &h->records[job->event.vip * HOOK_POINTS_N + job->event.point];
    *record = (struct record){.at_ms = daemon_wall_ms(), .addr = job->event.address.addr, .took_ms = took_ms, .failed = failed};
    if (failed) {
        record->failure = ++h->n_failures;
        snprintf(h->failures[record->failure % HOOKS_FAILURES_MAX].detail, CHECK_DETAIL_SIZE, "%s", detail);
    }
}

static void failed(struct hooks *h, const struct job *job, uint32_t took_ms, const char *detail)
{
    h->counters.failed++;
    record(h, job, true, took_ms, detail);
    log_write(LOG_HOOK_FAILED, "hook=%s vip=%s program=%s why=\"%s\"", hook_point_text(job->event.point), job->event.name,
              job->program, detail);
}

static void drop(struct hooks *h, const struct job *job, const char *why)
{
    h->counters.dropped++;
    h->dropped_at_ms = daemon_wall_ms();
    record(h, job, true, 0, why);
    log_write(LOG_HOOK_DROPPED, "hook=%s vip=%s program=%s why=\"%s\"", hook_point_text(job->event.point), job->event.name,
              job->program, why);
    tell_core(h, job);
}

/* ---------------------------------------------------------------- running */

static void plan_next(struct hooks *h);

static void on_ended(void *ud, const struct child_result *result)
{
    struct running *running = ud;
    struct hooks *h = running->hooks;
    uint32_t took_ms = (uint32_t)((daemon_now() - running->begun) / MS);
    const char *colon = result->output[0] != '\0' ? ": " : "";
    char why[CHECK_DETAIL_SIZE];
    switch (result->end) {
    case CHILD_EXITED:
        snprintf(why, sizeof why, "exit %d%s%s", result->code, colon, result->output);
        break;
    case CHILD_SIGNALLED:
        snprintf(why, sizeof why, "ended by signal %d%s%s", result->code, colon, result->output);
        break;
    case CHILD_TIMED_OUT:
        snprintf(why, sizeof why, "not done in time, killed%s%s", colon, result->output);
        break;
    case CHILD_FLOODED:
        snprintf(why, sizeof why, "more than %d bytes of output, killed", CHILD_OUTPUT_MAX);
        break;
    }
    if (result->end == CHILD_EXITED && result->code == 0) {
        record(h, &running->job, false, took_ms, "");
        log_write(LOG_HOOK, "hook=%s vip=%s program=%s ms=%u", hook_point_text(running->job.event.point),
                  running->job.event.name, running->job.program, took_ms);
    } else {
        failed(h, &running->job, took_ms, why);
    }
    tell_core(h, &running->job);
}

static void leave(struct hooks *h, struct running *running)
{
    unsigned vip = running->job.event.vip;
    running->child = NULL;
    h->n_running--;
    h->pending[vip]--;
    h->in_use[vip / 64] &= ~(1ull << vip % 64);
}

static void on_gone(void *ud)
{
    struct running *running = ud;
    struct hooks *h = running->hooks;
    leave(h, running);
    plan_next(h);
}

static int spawn(struct hooks *h, struct running *running, char why[CHECK_DETAIL_SIZE])
{
    static const struct child_ops OPS = {.ended = on_ended, .gone = on_gone};
    const struct job *job = &running->job;
    const struct config *config = h->d->config;
    struct hook_text text;
    char path[PATH_MAX];
    time_ns now = daemon_now();
    snprintf(path, sizeof path, "%.*s/%s", (int)(sizeof path - HOOK_PROGRAM_SIZE - 2), config->hooks_dir, job->program);
    int rv = check_program_trusted(path, why);
    if (rv) {
        return rv;
    }
    hook_text(&job->event, config->node, config->cluster, &text);
    struct child_spec spec = {
        .path = path, .env = text.env, .input = text.json, .input_len = text.json_len, .timeout_ms = job->within_ms};
    if (is_before(job)) {
        spec.timeout_ms = job->by > now + MS ? (uint32_t)((job->by - now) / MS) : 1;
    }
    running->begun = now;
    rv = child_start(&running->child, &h->d->loop, &spec, &OPS, running);
    if (rv) {
        snprintf(why, CHECK_DETAIL_SIZE, "%.150s: %s", path, strerror(-rv));
    }
    return rv;
}

static void start(struct hooks *h, const struct job *job)
{
    struct running *running = h->running;
    char why[CHECK_DETAIL_SIZE];
    while (running->child) {
        running++;
    }
    running->job = *job;
    running->hooks = h;
    h->n_running++;
    h->in_use[job->event.vip / 64] |= 1ull << job->event.vip % 64;
    h->counters.run++;
    if (spawn(h, running, why)) {
        leave(h, running);
        failed(h, job, 0, why);
        tell_core(h, job);
    }
}

/* ---------------------------------------------------------------- the queue */

static struct job *job_at(struct hooks *h, unsigned i)
{
    return &h->queue[(h->head + i) % HOOKS_QUEUED_MAX];
}

static void take_out(struct hooks *h, struct job *job, struct job *ret)
{
    *ret = *job;
    job->waits = false;
    h->n_before -= is_before(ret);
    while (h->n > 0 && !job_at(h, 0)->waits) {
        h->head = (h->head + 1) % HOOKS_QUEUED_MAX;
        h->n--;
    }
}

static bool may_start(const struct hooks *h, const struct job *job, bool before)
{
    unsigned vip = job->event.vip;
    if (!job->waits || (h->in_use[vip / 64] >> vip % 64 & 1)) {
        return false;
    }
    return !before || (is_before(job) && h->pending[vip] == 1);
}

/* The next one that may start: a before-... first, because somebody waits for it. */
static struct job *find(struct hooks *h, bool before)
{
    for (unsigned i = 0; i < h->n; i++) {
        if (may_start(h, job_at(h, i), before)) {
            return job_at(h, i);
        }
    }
    return NULL;
}

static void finish(struct hooks *h)
{
    if (!uv_is_closing((uv_handle_t *)&h->next)) {
        uv_close((uv_handle_t *)&h->next, NULL);
        uv_close((uv_handle_t *)&h->end_timer, NULL);
    }
}

/* One program a turn of the loop: heartbeats go out in between. */
static void on_next(uv_idle_t *idle)
{
    struct hooks *h = idle->data;
    struct job job;
    uv_idle_stop(idle);
    struct job *at = h->n_before > 0 ? find(h, true) : NULL;
    at = at || h->n_running == HOOKS_RUNNING_MAX ? at : find(h, false);
    if (!at || h->n_running == HOOKS_RUNNING_MAX) {
        return; /* until one is gone */
    }
    take_out(h, at, &job);
    if (daemon_now() >= job.by) {
        h->pending[job.event.vip]--;
        drop(h, &job, "not run: other hooks were still at work when its time was up");
    } else {
        start(h, &job);
    }
    plan_next(h);
}

static void plan_next(struct hooks *h)
{
    if (h->closing && h->n == 0 && h->n_running == 0) {
        finish(h);
    } else if (h->n > 0 && h->n_running < HOOKS_RUNNING_MAX && !uv_is_closing((uv_handle_t *)&h->next)) {
        uv_idle_start(&h->next, on_next);
    }
}

static void enqueue(struct hooks *h, const struct job *job)
{
    if (h->n == HOOKS_QUEUED_MAX || h->pending[job->event.vip] == UINT8_MAX) {
        drop(h, job, "not run: too many hooks are waiting");
        return;
    }
    struct job *to = job_at(h, h->n++);
    *to = *job;
    to->waits = true;
    h->n_before += is_before(job);
    h->pending[job->event.vip]++;
    plan_next(h);
}

/* ---------------------------------------------------------------- asked for */

/* Who had it before the move, as far as history knows. */
static const char *mover(const struct table *table, const struct hook_event *event)
{
    for (uint64_t i = table->n_history; i > 0 && i + HISTORY_MAX > table->n_history; i--) {
        const struct history *entry = &table->history[(i - 1) % HISTORY_MAX];
        if (entry->index < event->moved) {
            break;
        }
        if (entry->index == event->moved && entry->kind == HISTORY_MOVE && !strcmp(entry->subject, event->name)) {
            return entry->from >= 0 ? table_name_at(table, entry->from, entry->index) : NULL;
        }
    }
    return NULL;
}

static void describe(const struct daemon *d, uint16_t slot, struct hook_event *event)
{
    const struct table *table = d->table;
    const struct vip *vip = &table->vips[slot];
    const struct link *link = core_link_for(d->core, slot);
    bool takes = event->point == HOOK_BEFORE_TAKE || event->point == HOOK_AFTER_TAKE;
    const char *other;
    event->vip = slot;
    event->reason = vip->reason;
    event->address = vip->address;
    memcpy(event->name, vip->name, sizeof event->name);
    if (vip->group != SLOT_NONE) {
        memcpy(event->group, table->groups[vip->group].name, sizeof event->group);
    }
    snprintf(event->dev, sizeof event->dev, "%s", link ? link->name : vip->dev);
    other = takes ? mover(table, event)
                  : event->cause == HOOK_MOVED && vip->owner >= 0 ? table->nodes[vip->owner].name : NULL;
    snprintf(takes ? event->from : event->to, NAME_SIZE, "%s", other ? other : "");
    snprintf(takes ? event->to : event->from, NAME_SIZE, "%s", d->config->node);
}

static void ask(struct hooks *h, uint16_t vip, struct job *job)
{
    const struct table *table = h->d->table;
    const struct hook *hook = table_hook(table, &table->vips[vip], job->event.point);
    if (!hook) {
        return;
    }
    snprintf(job->program, sizeof job->program, "%s", hook->program);
    describe(h->d, vip, &job->event);
    job->by = daemon_now() + (is_before(job) ? job->within_ms : HOOKS_PATIENCE_MS) * MS;
    enqueue(h, job);
}

void hooks_ask(struct daemon *d, const struct action *action)
{
    struct job job = {.event = {.point = action->hook.point, .cause = action->hook.cause, .moved = action->hook.moved},
                      .within_ms = action->hook.within_ms};
    ask(d->hooks, action->hook.vip, &job);
}

/* ---------------------------------------------------------------- for people */

static bool last(const void *ud, int vip, enum hook_point point, struct api_hook *ret)
{
    const struct hooks *h = ud;
    const struct record *record = &h->records[vip * HOOK_POINTS_N + (int)point];
    if (!record->at_ms || !addr_equal(&record->addr, &h->d->table->vips[vip].address.addr)) {
        return false;
    }
    bool known = record->failed && record->failure + HOOKS_FAILURES_MAX > h->n_failures;
    *ret = (struct api_hook){.at_ms = record->at_ms, .took_ms = record->took_ms, .failed = record->failed,
                             .detail = known ? h->failures[record->failure % HOOKS_FAILURES_MAX].detail : ""};
    return true;
}

static bool fit(const void *ud, const char *program, char *ret_why, size_t size)
{
    const struct hooks *h = ud;
    char path[PATH_MAX], why[CHECK_DETAIL_SIZE];
    snprintf(path, sizeof path, "%.*s/%.31s", (int)(sizeof path - HOOK_PROGRAM_SIZE - 2), h->d->config->hooks_dir, program);
    if (check_program_trusted(path, why) == 0) {
        return true;
    }
    snprintf(ret_why, size, "%s", why);
    return false;
}

void hooks_describe(const struct daemon *d, struct api_hooks *ret)
{
    const struct hooks *h = d->hooks;
    if (!h) {
        *ret = (struct api_hooks){0};
        return;
    }
    *ret = (struct api_hooks){.ud = h, .last = last, .fit = fit, .run = h->counters.run, .failed = h->counters.failed,
                              .dropped = h->counters.dropped,
                              .dropped_lately = h->dropped_at_ms && daemon_wall_ms() - h->dropped_at_ms < LATELY_MS};
}

/* ---------------------------------------------------------------- begin and end */

int hooks_open(struct daemon *d)
{
    struct hooks *h = calloc(1, sizeof *h);
    if (!h) {
        return -ENOMEM;
    }
    h->d = d;
    h->queue = calloc(HOOKS_QUEUED_MAX, sizeof *h->queue);
    h->records = calloc((size_t)VIPS_MAX * HOOK_POINTS_N, sizeof *h->records);
    if (!h->queue || !h->records) {
        free(h->queue);
        free(h->records);
        free(h);
        return -ENOMEM;
    }
    uv_idle_init(&d->loop, &h->next);
    uv_timer_init(&d->loop, &h->end_timer);
    h->next.data = h->end_timer.data = h;
    d->hooks = h;
    return 0;
}

static void give_up(struct hooks *h)
{
    struct job job;
    while (h->n > 0) {
        take_out(h, job_at(h, 0), &job);
        h->pending[job.event.vip]--;
        drop(h, &job, "not run: the daemon ends");
    }
    for (int i = 0; i < HOOKS_RUNNING_MAX; i++) {
        if (h->running[i].child) {
            child_abandon(h->running[i].child);
            leave(h, &h->running[i]);
        }
    }
    finish(h);
}

static void on_end(uv_timer_t *timer)
{
    give_up(timer->data);
}

void hooks_close(struct daemon *d)
{
    struct hooks *h = d->hooks;
    if (!h) {
        return;
    }
    h->closing = true;
    if (d->handing) {
        give_up(h); /* what is held stays held; the next run asks for after-take again */
        return;
    }
    for (int vip = 0; vip < d->table->vips_end && !d->left_behind; vip++) {
        if (d->table->vips[vip].used && core_took(d->core, vip)) { /* released in one go, past the core */
            struct job job = {.event = {.point = HOOK_AFTER_RELEASE, .cause = HOOK_LEASE, .moved = d->table->vips[vip].moved}};
            const struct hook *hook = table_hook(d->table, &d->table->vips[vip], HOOK_AFTER_RELEASE);
            job.within_ms = hook ? hook->timeout_ms : 0;
            ask(h, (uint16_t)vip, &job);
        }
    }
    uv_timer_start(&h->end_timer, on_end, HOOKS_END_MS, 0);
    plan_next(h);
}

void hooks_free(struct daemon *d)
{
    if (d->hooks) {
        free(d->hooks->queue);
        free(d->hooks->records);
        free(d->hooks);
    }
}
