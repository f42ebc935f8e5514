/* The node's hands: addresses, announcements and the lease's end, as the core's actions ask.
 *
 * Happy path: ACT_LEASE stores the lease's end for the fence; ACT_ADDR_ADD puts addresses on their links in one batch and
 * reports each result; ACT_ANNOUNCE tells the wire. A slow timer renews `valid_lft` of what is held, so that it
 * goes away by itself if this process never comes back. Failure modes: the kernel refuses an address (reported as
 * failed, the core tries again); an address vanishes or appears (reported by netlink); an interface comes back or is new
 * (the fence is attached before the link is reported, and the announcements are sent again). */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/guard.h"

#define BATCH_MAX 512
#define BUDGET_MS 8 /* away from the loop with addresses, at a time */
#define RENEW_TICK_MS 20
#define RENEW_PER_S 80  /* VIPs of the table for each second that addresses live longer, beyond three */
#define RENEW_IPV4_US 10 /* for each pair of them, as the kernel walks those that it has for each that is renewed */
#define RENEW_IPV6_US 75

static struct netlink_item items[BATCH_MAX];

/* ---------------------------------------------------------------- how long an address lives by itself */

/* Seconds. With the kernel fence the lease's end is kept elsewhere, and this is for hosts whose daemon never comes back:
 * longer where there are many, so that renewing costs little, 0.3 % of a processor even where one node has all of them.
 * Without the fence it is the last line: as short as whole seconds permit. */
static uint32_t valid_s(const struct daemon *d)
{
    if (!d->fence) {
        return d->table->timing.promise_ms / 1000 + 2;
    }
    uint64_t seconds = (uint64_t)d->table->n_vips / RENEW_PER_S;
    uint64_t n6 = d->n_vips6, n4 = (uint64_t)d->table->n_vips - n6;
    uint64_t walks = (n4 * n4 * RENEW_IPV4_US + n6 * n6 * RENEW_IPV6_US) / 1000000;
    seconds = seconds > walks ? seconds : walks;
    return seconds < 3 ? 3 : (uint32_t)seconds;
}

/* Collects up to a batch of held addresses from `*slot` on; slots[i] is the VIP of items[i]. */
static int collect(struct daemon *d, uint32_t *slot, uint32_t slots[BATCH_MAX])
{
    time_ns now = daemon_now();
    int n = 0;
    for (; *slot < (uint32_t)d->table->vips_end && n < BATCH_MAX; ++*slot) {
        const struct vip *vip = &d->table->vips[*slot];
        const struct link *link = core_link_for(d->core, (int)*slot);
        if (!vip->used || !link || !core_may_hold(d->core, (int)*slot, now) ||
            !netlink_has(d->netlink, &vip->address.addr)) {
            continue;
        }
        snprintf(items[n].dev, DEV_SIZE, "%s", link->name);
        items[n].address = vip->address;
        slots[n++] = *slot;
    }
    return n;
}

/* It is the address of a VIP, whoever put it there, or wrote over what this node had put there: from now on it is ours to take away,
 * and goes away by itself. */
static void take_over(struct daemon *d, int n)
{
    for (int i = 0; i < n; i++) {
        if (items[i].result == NETLINK_FOREIGN) {
            items[i].result = netlink_address_del(d->netlink, &items[i].address.addr);
            if (!items[i].result) {
                items[i].result =
                    netlink_address_add(d->netlink, items[i].dev, &items[i].address, valid_s(d), true);
            }
        }
    }
}

static void on_renew(uv_timer_t *timer)
{
    static uint32_t slots[BATCH_MAX];
    struct daemon *d = timer->data;
    uint32_t slot = d->renew_at;
    int n = collect(d, &slot, slots);
    /* whatever goes wrong shows as an address that is gone, which netlink reports and the core mends */
    int done = n ? netlink_address_add_some(d->netlink, items, n, valid_s(d), true, BUDGET_MS) : 0;
    take_over(d, done);
    if (done < n) {
        slot = slots[done];
    }
    bool through = slot >= (uint32_t)d->table->vips_end;
    d->renew_at = through ? 0 : slot;
    uint64_t period = (uint64_t)valid_s(d) * 1000 / 3;
    uv_timer_start(&d->renew_timer, on_renew, through ? period : RENEW_TICK_MS, 0);
}

/* ---------------------------------------------------------------- actions */

void kernel_lease(struct daemon *d, time_ns end)
{
    if (d->fence) {
        fence_set_lease(d->fence, end);
    }
}

static int add_batch(struct daemon *d, const struct action *list, int n)
{
    for (int i = 0; i < n; i++) {
        const struct link *link = core_link_for(d->core, list[i].vip);
        memset(&items[i], 0, sizeof items[i]);
        snprintf(items[i].dev, DEV_SIZE, "%s", link ? link->name : "");
        items[i].address = d->table->vips[list[i].vip].address;
    }
    int done = netlink_address_add_some(d->netlink, items, n, valid_s(d), true, BUDGET_MS);
    take_over(d, done);
    return done;
}

static void report_results(struct daemon *d, const char *what, bool wanted, int n)
{
    for (int i = 0; i < n; i++) {
        struct event event = {.type = EV_KERNEL};
        event.kernel.addr = items[i].address.addr;
        event.kernel.present = netlink_has(d->netlink, &items[i].address.addr);
        event.kernel.failed = event.kernel.present != wanted;
        if (items[i].result) {
            char text[PREFIX_TEXT_MAX];
            log_write(LOG_ADDR_FAILED, "what=%s address=%s dev=%s error=\"%s\"", what,
                      prefix_format(&items[i].address, text), items[i].dev,
                      items[i].result < 0 ? strerror(-items[i].result) : "no such interface");
        }
        daemon_result(d, &event);
    }
}

unsigned kernel_addresses(struct daemon *d, const struct action *list, unsigned left)
{
    enum action_type type = list[0].type;
    int n = 0;
    if (d->stopping && type == ACT_ADDR_ADD) {
        return 1; /* kernel_release() */
    }
    while ((unsigned)n < left && n < BATCH_MAX && list[n].type == type) {
        n++;
    }
    int done;
    if (type == ACT_ADDR_ADD) {
        done = add_batch(d, list, n);
    } else {
        for (int i = 0; i < n; i++) {
            memset(&items[i], 0, sizeof items[i]);
            items[i].address.addr = list[i].addr;
            items[i].address.len = addr_bits(&list[i].addr);
        }
        done = netlink_address_del_some(d->netlink, items, n, BUDGET_MS);
        if (netlink_sync(d->netlink)) {
            log_write(LOG_NETLINK, "what=sync"); /* N3: the kernel's word; a resync follows by itself */
        }
    }
    report_results(d, type == ACT_ADDR_ADD ? "add" : "remove", type == ACT_ADDR_ADD, done);
    return (unsigned)n; /* the core asks again for what there was no time for */
}

void kernel_announce(struct daemon *d, uint16_t vip)
{
    const struct settings *settings = &d->table->settings;
    const struct link *link = core_link_for(d->core, vip);
    if (!link) {
        return;
    }
    struct announce_burst burst = {
        .count = settings->announce_count,
        .interval_ms = settings->announce_interval_ms,
        .refresh_ms = settings->announce_refresh_ms,
    };
    int rv = announce_start(d->announce, vip, link->name, &d->table->vips[vip].address.addr, &burst);
    if (rv < 0) {
        log_write(LOG_NETLINK, "what=announce vip=%s error=\"%s\"", d->table->vips[vip].name, strerror(-rv));
    }
}

void kernel_silence(struct daemon *d, uint16_t vip)
{
    announce_stop(d->announce, vip);
}

void kernel_announce_all(struct daemon *d)
{
    for (unsigned i = 0; i < d->report.n_links; i++) {
        announce_again(d->announce, d->report.links[i].name);
    }
}

static bool may_announce(void *ud, uint16_t vip)
{
    struct daemon *d = ud;
    return !d->stopping && core_may_hold(d->core, vip, daemon_now());
}

/* ---------------------------------------------------------------- what the kernel tells */

/* Reports the links that can carry VIPs: with the fence, those that it is in force on. */
static void tell_links(struct daemon *d)
{
    if (!d->caught_up) {
        adopt_links_changed(d);
        return; /* an earlier run's fence, which knows its VIPs, stays in force until this run knows them */
    }
    struct link links[LINKS_MAX];
    struct report report = {
        .node = d->self, .identity = d->identity, .run = d->run, .witness = d->config->witness};
    snprintf(report.version, sizeof report.version, "%s", VIPD_VERSION);
    report.reads_first = FORMAT_FIRST;
    report.reads_last = FORMAT_LAST;
    int n = netlink_links(d->netlink, links, LINKS_MAX);
    char names[LINKS_MAX][DEV_SIZE];
    for (int i = 0; i < n; i++) {
        links[i].up = guard_link(d, links[i].name) && links[i].up;
        memcpy(names[report.n_links], links[i].name, DEV_SIZE);
        bool was_up = false;
        for (unsigned k = 0; k < d->report.n_links; k++) {
            was_up = was_up || (!strcmp(d->report.links[k].name, links[i].name) && d->report.links[k].up);
        }
        if (links[i].up && !was_up) {
            announce_again(d->announce, links[i].name);
        }
        report.links[report.n_links++] = links[i];
    }
    guard_others(d, links, n);
    int rv = watch_set_links(d->watch, (const char (*)[DEV_SIZE])names, report.n_links);
    if (rv) {
        log_write(LOG_NETLINK, "what=watch error=\"%s\"", strerror(-rv));
    }
    d->report = report;
    struct event event = {.type = EV_LINKS, .report = &d->report};
    daemon_event(d, &event);
}

void kernel_caught_up(struct daemon *d)
{
    tell_links(d);
}

static void on_links(void *ud)
{
    tell_links(ud);
}

static void on_hardware(void *ud, const char *dev)
{
    struct daemon *d = ud;
    announce_again(d->announce, dev);
}

static void tell_address(struct daemon *d, const struct addr *addr)
{
    struct event event = {.type = EV_KERNEL};
    event.kernel.addr = *addr;
    event.kernel.present = netlink_has(d->netlink, addr);
    if (event.kernel.present && adopt_has(d, addr)) {
        return; /* the core learns of it when the table has caught up */
    }
    if (!event.kernel.present || table_vip_by_addr(d->table, addr) != SLOT_NONE) {
        daemon_event(d, &event);
    }
}

static void on_address(void *ud, const struct addr *addr, bool present, bool marked)
{
    (void)present; /* the mirror is as new as any notification */
    (void)marked;
    tell_address(ud, addr);
}

static void on_resync(void *ud)
{
    struct daemon *d = ud;
    for (int i = 0; i < d->table->vips_end; i++) {
        if (d->table->vips[i].used) {
            tell_address(d, &d->table->vips[i].address.addr);
        }
    }
    tell_links(d);
}

void kernel_table_changed(struct daemon *d)
{
    if (d->fenced_changed == d->table->changed || !d->netlink) {
        return;
    }
    d->fenced_changed = d->table->changed;
    bool added = guard_table_changed(d);
    for (int i = 0; added && i < d->table->vips_end; i++) {
        if (d->table->vips[i].used && netlink_has(d->netlink, &d->table->vips[i].address.addr)) {
            tell_address(d, &d->table->vips[i].address.addr); /* it was there before it was a VIP */
        }
    }
}

/* ---------------------------------------------------------------- begin and end */

int kernel_open(struct daemon *d)
{
    static const struct netlink_ops NETLINK = {
        .links = on_links, .hardware = on_hardware, .address = on_address, .resync = on_resync};
    struct netlink_config config = {.interfaces = d->config->interfaces, .n = d->config->n_interfaces};
    int rv = netlink_init(&d->netlink, &d->loop, &config, &NETLINK, d);
    if (rv) {
        log_write(LOG_FATAL, "what=netlink error=\"%s\"", strerror(-rv));
        return rv;
    }
    rv = guard_open(d);
    if (rv) {
        return rv;
    }
    rv = adopt_open(d);
    if (rv) {
        return rv;
    }
    guard_earlier_gone(d);
    static const struct announce_ops ANNOUNCE = {.may = may_announce};
    rv = announce_init(&d->announce, &d->loop, &ANNOUNCE, d);
    if (!rv) {
        rv = foreign_open(d);
    }
    if (rv) {
        log_write(LOG_FATAL, "what=\"packet sockets\" error=\"%s\"", strerror(-rv));
        return rv;
    }
    uv_timer_init(&d->loop, &d->renew_timer);
    d->renew_timer.data = d;
    uv_timer_start(&d->renew_timer, on_renew, RENEW_TICK_MS, 0);
    d->fenced_changed = UINT64_MAX;
    return 0;
}

/* A VIP's address without the mark, put there by hand: without the fence it would be answered for. */
static int remove_unmarked(struct daemon *d)
{
    int first = 0;
    for (int i = 0; i < d->table->vips_end; i++) {
        const struct vip *vip = &d->table->vips[i];
        if (vip->used && netlink_has(d->netlink, &vip->address.addr)) {
            int rv = netlink_address_del(d->netlink, &vip->address.addr);
            first = first ? first : rv;
        }
    }
    for (uint32_t i = 0; i < d->n_kept; i++) {
        if (netlink_has(d->netlink, &d->kept[i])) {
            int rv = netlink_address_del(d->netlink, &d->kept[i]);
            first = first ? first : rv;
        }
    }
    return first;
}

void kernel_release(struct daemon *d)
{
    if (d->handing) {
        d->left_behind = true; /* all stays as it is, until the lease's end, for the run that comes next */
        return;
    }
    if (!d->fence && !d->fence_locked) {
        return; /* it never had the fence here: what there is belongs to another daemon, or is behind an earlier run's */
    }
    /* Until the loop is done, the core may go on asking, with a lease that still runs: for what comes next nothing is added and
     * the gate stays shut, or an address would be there when the fence is taken away. */
    if (d->fence) {
        fence_seal(d->fence);
    }
    if (d->netlink) {
        netlink_seal(d->netlink);
    }
    d->left_behind = d->netlink && (netlink_flush_marked(d->netlink, NULL, NULL) < 0 || remove_unmarked(d));
    if (d->left_behind) {
        log_write(LOG_ADDR_FAILED, "what=\"releasing all\"");
    }
}

void kernel_close(struct daemon *d)
{
    announce_close(d->announce, NULL, NULL);
    foreign_close(d);
    adopt_close(d);
    netlink_close(d->netlink, NULL, NULL);
    guard_close(d);
    if (d->renew_timer.data) {
        uv_close((uv_handle_t *)&d->renew_timer, NULL);
    }
}
