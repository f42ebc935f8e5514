/* Resets the connections of VIPs that are about to move away, as the core asks.
 *
 * Happy path: what the core asked for in one turn of the pump is one sweep over the sockets of the host; when it is over
 * each VIP is reported, and the core has its address removed at once. Failure modes: this kernel cannot, or the sockets cannot
 * be listed (reported all the same, told); the core waits no longer (the sweep goes on, and is of no harm: the addresses are
 * gone, or the VIPs have come back and their clients connect anew). */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/daemon.h"
#include "io/connections.h"

struct asked
{
    uint16_t vip;
    uint64_t moved;
    struct addr addr;
};

struct resets
{
    struct daemon *d;
    struct connections *connections; /* NULL: they cannot be reset here */
    char trouble[96];
    struct asked *waiting, *at_work; /* VIPS_MAX each */
    struct addr *addrs;
    uint32_t n_waiting, n_at_work;
    time_ns begun;
    uint64_t count;
};

/* All of them, as one decision: the core looks once. */
static void report(struct resets *r, struct asked *list, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct event event = {.type = EV_RESET, .reset = {.vip = list[i].vip, .moved = list[i].moved, .more = i + 1 < n}};
        daemon_event(r->d, &event);
    }
}

static void on_done(void *ud, const struct connections_result *result)
{
    struct resets *r = ud;
    uint32_t n = r->n_at_work;
    r->n_at_work = 0;
    r->count += result->reset;
    if (result->reset > 0) {
        log_write(LOG_RESET, "connections=%u vips=%u us=%llu", result->reset, n,
                  (unsigned long long)((daemon_now() - r->begun) / 1000));
    }
    if (result->err || result->failed || result->left) {
        log_write(LOG_RESET_FAILED, "vips=%u failed=%u left=%u error=\"%s\"", n, result->failed, result->left,
                  result->err ? strerror(-result->err) : "");
    }
    report(r, r->at_work, n);
}

void resets_ask(struct daemon *d, const struct action *action)
{
    struct resets *r = d->resets;
    uint16_t vip = action->reset.vip;
    if (r->n_waiting < VIPS_MAX) {
        r->waiting[r->n_waiting++] =
            (struct asked){.vip = vip, .moved = action->reset.moved, .addr = d->table->vips[vip].address.addr};
    }
}

void resets_poll(struct daemon *d)
{
    struct resets *r = d->resets;
    if (!r || r->n_waiting == 0 || r->n_at_work > 0) {
        return;
    }
    struct asked *list = r->waiting;
    r->waiting = r->at_work;
    r->at_work = list;
    uint32_t n = r->n_waiting;
    r->n_waiting = 0;
    int rv = -EOPNOTSUPP;
    if (r->connections) {
        for (uint32_t i = 0; i < n; i++) {
            r->addrs[i] = list[i].addr;
        }
        r->begun = daemon_now();
        rv = connections_reset(r->connections, r->addrs, n);
        if (rv) {
            log_write(LOG_RESET_FAILED, "vips=%u error=\"%s\"", n, strerror(-rv));
        }
    }
    r->n_at_work = n; /* also while they are reported: what that leads to waits */
    if (rv) {
        report(r, list, n);
        r->n_at_work = 0;
    }
}

uint64_t resets_count(const struct daemon *d)
{
    return d->resets ? d->resets->count : 0;
}

const char *resets_trouble(const struct daemon *d)
{
    return d->resets && d->resets->trouble[0] ? d->resets->trouble : NULL;
}

int resets_open(struct daemon *d)
{
    static const struct connections_ops OPS = {.done = on_done};
    struct resets *r = calloc(1, sizeof *r);
    if (!r) {
        return -ENOMEM;
    }
    d->resets = r;
    r->d = d;
    r->waiting = calloc(VIPS_MAX, sizeof *r->waiting);
    r->at_work = calloc(VIPS_MAX, sizeof *r->at_work);
    r->addrs = calloc(VIPS_MAX, sizeof *r->addrs);
    if (!r->waiting || !r->at_work || !r->addrs) {
        return -ENOMEM;
    }
    int rv = connections_open(&r->connections, &d->loop, &OPS, r);
    if (rv) {
        r->connections = NULL;
        snprintf(r->trouble, sizeof r->trouble, "%s",
                 rv == -EOPNOTSUPP ? "this kernel has no CONFIG_INET_DIAG_DESTROY" : strerror(-rv));
    }
    return 0;
}

void resets_close(struct daemon *d)
{
    if (d->resets) {
        connections_close(d->resets->connections);
        d->resets->connections = NULL;
    }
}

void resets_free(struct daemon *d)
{
    if (d->resets) {
        free(d->resets->waiting);
        free(d->resets->at_work);
        free(d->resets->addrs);
        free(d->resets);
    }
}
