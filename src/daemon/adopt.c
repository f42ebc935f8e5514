/* What an earlier run left in the kernel (N4): taken over where that is safe, removed where not.
 *
 * Happy path: the earlier run died, or was told to make way for this one. Its addresses are still there, behind its fence,
 * which ends its lease whatever happens. They are left alone until this run's table has caught up: then this run's fence
 * takes the earlier one's place, the core learns of them in the very step in which it learns that it has caught up, and
 * with the lease of this run the gate opens: nothing was removed and nobody had to learn anything. Failure modes: no fence in force on one of
 * the host's interfaces, or no data of this cluster: removed before the first word; an interface that appears meanwhile: removed then. Not caught up within the longest
 * lease: removed. An address that the table has no VIP for, or that another node owns: removed, by this file or by the core. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/guard.h"

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct addr));
}

bool adopt_has(const struct daemon *d, const struct addr *addr)
{
    return d->earlier && bsearch(addr, d->earlier, d->n_earlier, sizeof *addr, compare);
}

static void forget(struct daemon *d)
{
    free(d->earlier);
    d->earlier = NULL;
    d->n_earlier = 0;
}

static void say_removed(void *ud, const struct addr *addr, const char *dev)
{
    char text[ADDR_TEXT_MAX];
    (void)ud;
    log_write(LOG_LEFTOVER, "address=%s dev=%s", addr_format(addr, text), dev);
}

static int remove_all(struct daemon *d)
{
    forget(d);
    int rv = netlink_flush_marked(d->netlink, say_removed, d); /* N4: the lock proves that the earlier process is gone */
    if (rv < 0) {
        log_write(LOG_FATAL, "what=\"removing what an earlier run left\" error=\"%s\"", strerror(-rv));
    }
    return rv < 0 ? rv : 0;
}

struct survey
{
    struct daemon *d;
    bool unfenced; /* there is more than can be taken over, or not all of it behind an earlier fence */
};

static void look(void *ud, const struct addr *addr, const char *dev, bool marked)
{
    struct survey *survey = ud;
    struct daemon *d = survey->d;
    if (!marked) {
        return;
    }
    (void)dev; /* the host answers for it on all interfaces: see guard_earlier_everywhere() */
    if (d->n_earlier == VIPS_MAX) {
        survey->unfenced = true;
        return;
    }
    d->earlier[d->n_earlier++] = *addr;
}

/* An interface that appears now has no fence: the earlier run is gone, and this one does not know its VIPs yet. */
void adopt_links_changed(struct daemon *d)
{
    if (d->earlier && !guard_earlier_everywhere() && remove_all(d)) {
        daemon_fatal(d, "removing what an earlier run left");
    }
}

static void on_adopt_timer(uv_timer_t *timer)
{
    struct daemon *d = timer->data;
    if (!d->caught_up && d->earlier && remove_all(d)) {
        daemon_fatal(d, "removing what an earlier run left");
    }
}

int adopt_open(struct daemon *d)
{
    struct survey survey = {.d = d};
    uv_timer_init(&d->loop, &d->adopt_timer);
    d->adopt_timer.data = d;
    d->earlier = d->fence && d->founded ? calloc(VIPS_MAX, sizeof *d->earlier) : NULL;
    if (d->earlier) {
        netlink_each(d->netlink, look, &survey);
    }
    if (!d->n_earlier || survey.unfenced || !guard_earlier_everywhere()) {
        return remove_all(d);
    }
    /* This run's fence knows them from the start, VIPs of its table or not: it may take the earlier one's place while the table
     * knows none of them, as that of a node which has only just joined, and they are removed a moment later. */
    memcpy(d->kept, d->earlier, d->n_earlier * sizeof *d->earlier);
    d->n_kept = d->n_earlier;
    guard_keep(d);
    qsort(d->earlier, d->n_earlier, sizeof *d->earlier, compare);
    log_write(LOG_ADOPT, "addresses=%u", d->n_earlier);
    uv_timer_start(&d->adopt_timer, on_adopt_timer, d->config->timing.promise_ms, 0);
    return 0;
}

void adopt_take(struct daemon *d, struct event *event)
{
    uint32_t n = 0;
    uv_timer_stop(&d->adopt_timer);
    for (uint32_t i = 0; i < d->n_earlier; i++) {
        struct addr addr = d->earlier[i];
        if (!netlink_has(d->netlink, &addr)) {
            continue;
        }
        if (table_vip_by_addr(d->table, &addr) != SLOT_NONE) {
            d->earlier[n++] = addr;
            continue;
        }
        int rv = netlink_address_del(d->netlink, &addr);
        if (rv) {
            log_write(LOG_FATAL, "what=\"removing what an earlier run left\" error=\"%s\"", strerror(-rv));
            daemon_stop(d, 1);
            break;
        }
        say_removed(d, &addr, "");
    }
    event->disk.earlier = d->earlier;
    event->disk.n_earlier = n;
}

void adopt_taken(struct daemon *d)
{
    forget(d);
}

void adopt_close(struct daemon *d)
{
    forget(d);
    if (d->adopt_timer.data) {
        uv_close((uv_handle_t *)&d->adopt_timer, NULL);
    }
}
