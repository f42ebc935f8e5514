/* Runs the health checks that the core says are this node's, and brings it their results.
 *
 * Happy path: the table has a check, its timer runs it at once and then every `every`, each run's result goes to the core.
 * Failure modes: a run cannot be started, or the one before is still there (a process that cannot be killed, a file on a
 * dead server): that counts as a failure; the definition changes or goes: its run is given up. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/api.h"
#include "daemon/daemon.h"
#include "io/check.h"

struct watched
{
    struct daemon *d;
    uv_timer_t timer;
    struct check_run *run;
    uint64_t changed; /* the definition that is watched; 0 = none */
    int64_t at_ms;    /* Unix, of the last result; 0 = none yet */
    bool passed;
    char detail[CHECK_DETAIL_SIZE];
};

struct health
{
    uint64_t seen; /* table->changed */
    struct watched watched[CHECKS_MAX];
};

static const struct check_spec *spec_of(const struct watched *watched)
{
    return &watched->d->table->checks[watched - watched->d->health->watched].spec;
}

static void tell(struct watched *watched, bool passed, const char *detail)
{
    struct daemon *d = watched->d;
    struct event event = {.type = EV_HEALTH};
    event.health.check = (uint8_t)(watched - d->health->watched);
    event.health.changed = watched->changed;
    event.health.passed = passed;
    watched->at_ms = daemon_wall_ms();
    watched->passed = passed;
    snprintf(watched->detail, sizeof watched->detail, "%s", detail);
    daemon_event(d, &event);
}

static void on_result(void *ud, bool passed, const char *detail)
{
    tell(ud, passed, detail);
}

static void on_gone(void *ud)
{
    struct watched *watched = ud;
    watched->run = NULL;
}

static void on_due(uv_timer_t *timer)
{
    static const struct check_run_ops OPS = {.result = on_result, .gone = on_gone};
    struct watched *watched = timer->data;
    struct daemon *d = watched->d;
    struct check_job job = {.spec = spec_of(watched), .dir = d->config->checks_dir, .node = d->config->node};
    char detail[CHECK_DETAIL_SIZE];
    if (watched->run) {
        tell(watched, false, "the run before has not ended yet");
    } else if (check_start(&watched->run, &d->loop, &job, &OPS, watched, detail) < 0) {
        tell(watched, false, detail);
    }
}

static void stop(struct watched *watched)
{
    if (watched->run) {
        check_abandon(watched->run);
    }
    watched->run = NULL;
    watched->changed = 0;
    watched->at_ms = 0;
    watched->detail[0] = 0;
    uv_timer_stop(&watched->timer);
}

void health_poll(struct daemon *d)
{
    if (!d->health || d->health->seen == d->table->changed) {
        return;
    }
    d->health->seen = d->table->changed;
    for (int i = 0; i < CHECKS_MAX; i++) {
        struct watched *watched = &d->health->watched[i];
        uint64_t changed = core_runs_check(d->core, i) ? d->table->checks[i].changed : 0;
        if (watched->changed == changed) {
            continue;
        }
        stop(watched);
        watched->changed = changed;
        if (changed) {
            uv_timer_start(&watched->timer, on_due, 0, d->table->checks[i].spec.every_ms);
        }
    }
}

const char *health_detail(const struct daemon *d, int check)
{
    return d->health ? d->health->watched[check].detail : "";
}

void health_own(const struct daemon *d, struct api_check *ret)
{
    for (int i = 0; i < CHECKS_MAX; i++) {
        const struct watched *watched = &d->health->watched[i];
        ret[i] = (struct api_check){.runs = watched->changed != 0,
                                    .passed = watched->passed,
                                    .at_ms = watched->at_ms,
                                    .detail = watched->detail};
    }
}

int health_open(struct daemon *d)
{
    d->health = calloc(1, sizeof *d->health);
    if (!d->health) {
        return -ENOMEM;
    }
    d->health->seen = UINT64_MAX;
    for (int i = 0; i < CHECKS_MAX; i++) {
        struct watched *watched = &d->health->watched[i];
        watched->d = d;
        uv_timer_init(&d->loop, &watched->timer);
        watched->timer.data = watched;
    }
    return 0;
}

void health_close(struct daemon *d)
{
    for (int i = 0; d->health && i < CHECKS_MAX; i++) {
        stop(&d->health->watched[i]);
        uv_close((uv_handle_t *)&d->health->watched[i].timer, NULL);
    }
}
