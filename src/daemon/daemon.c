/* A node from its start to its end.
 *
 * Order of the start: the data directory's lock proves that an earlier process is gone; what that left in the kernel is
 * removed before the first word goes out (N4); then the other nodes, Raft, and last the control socket. Order of the
 * end: the VIPs first, always. */

#include "daemon/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/notify.h"
#include "io/priority.h"
#include "wire/command.h"

/* ---------------------------------------------------------------- end */

static void close_left(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

static void on_close_timer(uv_timer_t *timer)
{
    struct daemon *d = timer->data;
    d->closed = true;
    health_close(d);
    hooks_close(d);
    resets_close(d);
    requests_close(d);
    peers_close(d->peers, NULL, NULL);
    datagram_close(d->datagram, NULL, NULL);
    storage_close(d);
    kernel_close(d);
    uv_timer_stop(&d->core_timer);
    uv_timer_stop(&d->raft_timer);
    uv_close((uv_handle_t *)&d->core_timer, NULL);
    uv_close((uv_handle_t *)&d->core_now, NULL);
    uv_close((uv_handle_t *)&d->raft_timer, NULL);
    uv_close((uv_handle_t *)&d->term, NULL);
    uv_close((uv_handle_t *)&d->intr, NULL);
    uv_close((uv_handle_t *)&d->again, NULL);
    keys_close(d);
    uv_close((uv_handle_t *)timer, NULL);
}

void daemon_stop(struct daemon *d, int status)
{
    d->exit_status = status > d->exit_status ? status : d->exit_status;
    if (d->stopping) {
        return;
    }
    d->stopping = true;
    kernel_release(d);
    notify_stopping();
    /* not at once: the actions of this step, with the last heartbeat among them, are carried out first */
    uv_timer_start(&d->close_timer, on_close_timer, 0, 0);
}

void daemon_fatal(struct daemon *d, const char *what)
{
    if (!d->stopping) {
        log_write(LOG_FATAL, "what=\"%s\"", what);
    }
    daemon_stop(d, 1);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct daemon *d = handle->data;
    (void)number;
    if (d->shutting || !d->consensus || !core_caught_up(d->core)) {
        daemon_stop(d, 0);
        return;
    }
    d->shutting = true;
    log_write(LOG_SHUTDOWN, "node=%s", d->config->node);
    notify_stopping();
    struct event event = {.type = EV_SHUTDOWN};
    daemon_event(d, &event);
}

#define HAND_OVER_MS 10   /* between two looks whether somebody else leads */
#define HAND_OVER_LOOKS 100

static void on_hand_over(uv_timer_t *timer)
{
    struct daemon *d = timer->data;
    if (++d->hand_over_looks >= HAND_OVER_LOOKS || !core_is_leader(d->core)) {
        daemon_stop(d, 0);
        return;
    }
    uv_timer_start(timer, on_hand_over, HAND_OVER_MS, 0);
}

/* SIGUSR2: another run of this node follows at once, which takes the VIPs over. They are not moved; leadership is, since an
 * election would hold up everybody. Without a kernel fence nothing could stay behind: then as SIGTERM. */
static void on_restart(uv_signal_t *handle, int number)
{
    struct daemon *d = handle->data;
    if (!d->fence) {
        on_signal(handle, number);
        return;
    }
    if (d->handing || d->shutting || d->stopping) {
        return;
    }
    d->handing = true;
    log_write(LOG_HANDING, "node=%s", d->config->node);
    notify_stopping();
    if (d->consensus && core_is_leader(d->core) && consensus_transfer(d->consensus, 0, daemon_now() / MS) < 0) {
        daemon_fatal(d, "transfer");
        return;
    }
    uv_timer_start(&d->close_timer, on_hand_over, 0, 0);
}

/* ---------------------------------------------------------------- begin */

static int open_memory(struct daemon *d)
{
    d->table = calloc(1, sizeof *d->table);
    d->core = calloc(1, core_size());
    d->scratch = malloc(COMMAND_SCRATCH_BYTES);
    d->command_bytes = malloc(COMMAND_BYTES_MAX);
    return d->table && d->core && d->scratch && d->command_bytes ? 0 : -ENOMEM;
}

/* A new one: a node that joins has one of nobody's until it knows its id. */
static int open_core(struct daemon *d)
{
    struct core *core = calloc(1, core_size());
    if (!core) {
        return -ENOMEM;
    }
    free(d->core);
    d->core = core;
    core_init(d->core, d->self, d->run, d->table, daemon_now());
    return 0;
}

static void open_loop(struct daemon *d)
{
    uv_loop_init(&d->loop);
    uv_timer_init(&d->loop, &d->close_timer);
    uv_signal_init(&d->loop, &d->term);
    uv_signal_init(&d->loop, &d->intr);
    uv_signal_init(&d->loop, &d->again);
    d->close_timer.data = d->term.data = d->intr.data = d->again.data = d;
    uv_signal_start(&d->term, on_signal, SIGTERM);
    uv_signal_start(&d->intr, on_signal, SIGINT);
    uv_signal_start(&d->again, on_restart, SIGUSR2);
    keys_open(d);
    pump_open(d);
}

static uint64_t founder_id(const struct config *config)
{
    for (int i = 0; i < config->n_peers; i++) {
        if (!strcmp(config->peers[i].name, config->node)) {
            return (uint64_t)i + 1;
        }
    }
    return 0;
}

/* From where this node knows who it is. */
static int open_member(struct daemon *d)
{
    int rv = open_core(d);
    if (!rv) {
        rv = hooks_open(d);
    }
    if (!rv) {
        rv = resets_open(d);
    }
    if (!rv) {
        rv = kernel_open(d);
    }
    if (!rv) {
        rv = members_open(d);
    }
    if (!rv) {
        rv = health_open(d);
    }
    if (!rv && d->founded) {
        rv = fsm_start(d, d->loaded);
        if (rv) {
            log_write(LOG_FATAL, "what=raft error=\"%s\"", strerror(-rv));
        }
    }
    store_unload(d->store);
    if (!rv) {
        rv = requests_open(d);
    }
    if (!rv && !d->founded) {
        founding_begin(d);
    }
    return rv;
}

void daemon_go_on(struct daemon *d)
{
    if (open_member(d)) {
        daemon_stop(d, 1);
    }
}

static int open_parts(struct daemon *d)
{
    char error[STORE_TEXT_SIZE] = "";
    int rv = storage_open(d, &d->loaded, error);
    if (rv) {
        log_write(LOG_FATAL, "what=\"%s\"", error);
        return rv;
    }
    if (!format_on_disk(d)) {
        return -EPROTONOSUPPORT;
    }
    priority_keep(); /* the thread that writes to the disk has it */
    if (d->self) {
        return open_member(d);
    }
    if (d->loaded->term > 0) {
        log_write(LOG_FATAL, "what=\"the data directory has a log, but not the id of its node\"");
        return -EBADMSG;
    }
    if (d->config->n_join) {
        rv = open_core(d);
        return rv ? rv : join_begin(d);
    }
    d->self = founder_id(d->config);
    return open_member(d);
}

static void free_memory(struct daemon *d)
{
    consensus_free(d->consensus);
    free(d->requests);
    free(d->health);
    hooks_free(d);
    resets_free(d);
    free(d->table);
    free(d->core);
    free(d->scratch);
    free(d->command_bytes);
    free(d);
}

int daemon_run(const struct config *config)
{
    struct daemon *d = calloc(1, sizeof *d);
    if (!d || open_memory(d)) {
        free(d);
        return 1;
    }
    d->config = config;
    d->run = daemon_random();
    d->target = UINT64_MAX;
    d->started_ms = daemon_wall_ms();
    log_write(LOG_START, "node=%s cluster=%s version=%s", config->node, config->cluster, VIPD_VERSION);
    open_loop(d);
    if (open_parts(d)) {
        daemon_stop(d, 1);
    } else {
        log_write(LOG_READY, "node=%s", config->node);
        notify_ready();
    }
    uv_run(&d->loop, UV_RUN_DEFAULT);
    uv_walk(&d->loop, close_left, NULL);
    uv_run(&d->loop, UV_RUN_DEFAULT);
    uv_loop_close(&d->loop);
    int status = d->exit_status;
    free_memory(d);
    log_write(LOG_STOP, "status=%d", status);
    return status;
}
