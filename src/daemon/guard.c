/* The kernel fence's part of the node: on which interfaces it is, and which addresses it knows.
 *
 * Happy path: guard_open() takes an earlier run's fence over as it is; once the table is known, its VIPs become the set
 * and every interface gets the program. Failure modes: a program that was taken away by hand is found by a look a second,
 * put back, and told by doctor; an address that is no VIP any more but still in the kernel stays in the set; a set that
 * cannot be written ends the daemon. */

#include "daemon/guard.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

#define CHECK_MS 1000
#define OTHERS_PER_CHECK 16

/* ---------------------------------------------------------------- the interfaces */

/* The fence is put on every interface, not only on those that carry VIPs: a Linux host answers for its addresses on all
 * of them. Whether it is in force on `name`. */
bool guard_link(struct daemon *d, const char *name)
{
    int rv = d->fence ? fence_attach(d->fence, name) : 0;
    if (rv && rv != -ENODEV) {
        log_write(LOG_FENCE_LINK, "dev=%s why=\"%s\"", name, fence_error());
    }
    return rv >= 0;
}

void guard_others(struct daemon *d, const struct link *links, int n)
{
    struct if_nameindex *all = d->fence ? if_nameindex() : NULL;
    for (struct if_nameindex *i = all; i && i->if_name; i++) {
        bool other = strcmp(i->if_name, "lo") != 0;
        for (int k = 0; k < n; k++) {
            other = other && strcmp(i->if_name, links[k].name) != 0;
        }
        if (other) {
            (void)guard_link(d, i->if_name);
        }
    }
    if (all) {
        if_freenameindex(all);
    }
}

bool guard_earlier_everywhere(void)
{
    struct if_nameindex *all = if_nameindex();
    bool everywhere = all != NULL;
    for (struct if_nameindex *i = all; everywhere && i->if_name; i++) {
        int rv = strcmp(i->if_name, "lo") != 0 ? fence_check_any(i->if_name) : 0;
        everywhere = rv == 0 || rv == -ENODEV || rv == -EOPNOTSUPP; /* gone, or of a kind on which no fence can stand */
    }
    if (all) {
        if_freenameindex(all);
    }
    return everywhere;
}

/* Those that carry no VIPs, a few at a time: of containers a host may have hundreds. */
static void check_others(struct daemon *d)
{
    struct if_nameindex *all = d->fence && d->caught_up ? if_nameindex() : NULL;
    unsigned n = 0;
    while (all && all[n].if_name) {
        n++;
    }
    for (unsigned k = 0; k < n && k < OTHERS_PER_CHECK; k++) {
        d->fence_looked = (d->fence_looked + 1) % n;
        const char *name = all[d->fence_looked].if_name;
        if (strcmp(name, "lo") != 0 && fence_check(d->fence, name) == FENCE_ABSENT) {
            log_write(LOG_FENCE_LINK, "dev=%s why=\"%s\"", name, fence_error());
            (void)guard_link(d, name);
        }
    }
    if (all) {
        if_freenameindex(all);
    }
}

/* ---------------------------------------------------------------- the set of VIPs that it knows */

/* An address that is no VIP any more stays fenced while the kernel may still have it: its removal was refused, or has yet
 * to be done. Should it become a VIP again, somebody else may hold it. Returns how many of `kept` remain. */
static uint32_t keep_strays(struct daemon *d, uint32_t room)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < d->n_kept; i++) {
        if (n < room && table_vip_by_addr(d->table, &d->kept[i]) == SLOT_NONE && netlink_has(d->netlink, &d->kept[i])) {
            d->kept[n++] = d->kept[i];
        }
    }
    for (int i = 0; i < VIPS_MAX && n < room; i++) {
        const struct addr *addr = &d->fenced[i];
        if (addr->family && table_vip_by_addr(d->table, addr) == SLOT_NONE && netlink_has(d->netlink, addr)) {
            d->kept[n++] = *addr;
        }
    }
    return n;
}

static void write_set(struct daemon *d)
{
    size_t n = 0;
    struct addr *all = calloc(VIPS_MAX, sizeof *all);
    if (!all) {
        daemon_fatal(d, "no memory");
        return;
    }
    d->n_kept = keep_strays(d, (uint32_t)(VIPS_MAX - d->table->n_vips));
    d->n_vips6 = 0;
    for (int i = 0; i < VIPS_MAX; i++) {
        const struct vip *vip = &d->table->vips[i];
        memset(&d->fenced[i], 0, sizeof d->fenced[i]);
        if (vip->used) {
            d->n_vips6 += vip->address.addr.family == 6;
            d->fenced[i] = vip->address.addr;
            all[n++] = vip->address.addr;
        }
    }
    memcpy(&all[n], d->kept, d->n_kept * sizeof *all);
    int rv = d->fence ? fence_vips_replace(d->fence, all, n + d->n_kept) : 0;
    free(all);
    if (rv) {
        daemon_fatal(d, fence_error());
    }
}

void guard_keep(struct daemon *d)
{
    write_set(d);
}

bool guard_table_changed(struct daemon *d)
{
    bool gone = false;
    bool added = false;
    for (int i = 0; i < VIPS_MAX && (i < d->table->vips_end || d->fenced[i].family); i++) {
        const struct vip *vip = &d->table->vips[i];
        gone = gone || (!vip->used && d->fenced[i].family);
        added = added || (vip->used && !addr_equal(&d->fenced[i], &vip->address.addr));
    }
    if (gone || added) {
        write_set(d);
    }
    return added;
}

/* ---------------------------------------------------------------- begin and end */

/* Whoever removes the fence by hand removes the promise: it is put back, and doctor tells. */
static void on_check(uv_timer_t *timer)
{
    struct daemon *d = timer->data;
    d->fence_trouble[0] = 0;
    if (d->n_kept) {
        write_set(d); /* the strays may be gone by now */
    }
    for (unsigned i = 0; d->fence && i < d->report.n_links; i++) {
        const char *name = d->report.links[i].name;
        int rv = fence_check(d->fence, name);
        if (rv == 0 || rv == -ENODEV) {
            continue;
        }
        snprintf(d->fence_trouble, sizeof d->fence_trouble, "%s: %.150s", name, fence_error());
        log_write(LOG_FENCE_LINK, "dev=%s why=\"%s\"", name, fence_error());
        if (rv != FENCE_BEHIND && fence_attach(d->fence, name) < 0) {
            log_write(LOG_FENCE_LINK, "dev=%s why=\"%s\"", name, fence_error());
        }
    }
    check_others(d);
}

int guard_open(struct daemon *d)
{
    uv_timer_init(&d->loop, &d->fence_timer);
    d->fence_timer.data = d;
    uv_timer_start(&d->fence_timer, on_check, CHECK_MS, CHECK_MS);
    if (d->config->fence == CONFIG_FENCE_ADDRESSES) {
        int locked = fence_lock(&d->fence_lock);
        if (locked) {
            log_write(LOG_FATAL, "what=\"%s\"", fence_error());
            return locked;
        }
        d->fence_locked = true;
        log_write(LOG_FENCE_WEAK, "node=%s", d->config->node);
        return 0;
    }
    int rv = fence_open(&d->fence);
    if (!rv) {
        rv = fence_vips_replace(d->fence, NULL, 0);
    }
    if (rv) {
        log_write(LOG_FATAL, "what=\"the kernel fence: %s\" advice=\"'fence: addresses' in the configuration does without "
                             "it, and then a stopped daemon can hold a VIP for seconds\"",
                  fence_error());
    }
    return rv;
}

void guard_earlier_gone(struct daemon *d)
{
    if (d->fence_locked && fence_remove_left() < 0) { /* such a kernel may have no such hooks: then nothing was left */
        log_write(LOG_NETLINK, "what=\"an earlier run's fence\" error=\"%s\"", fence_error());
    }
}

void guard_close(struct daemon *d)
{
    if (d->fence_locked) {
        (void)close(d->fence_lock);
        d->fence_locked = false;
    }
    if (d->fence && fence_close(d->fence, !d->left_behind)) { /* what could not be removed stays behind the fence */
        log_write(LOG_NETLINK, "what=fence error=\"%s\"", fence_error());
    }
    d->fence = NULL;
    if (d->fence_timer.data) {
        uv_close((uv_handle_t *)&d->fence_timer, NULL);
    }
}
