#include "io/netlink.h"

/* The kernel's own journal, the monitor socket, keeps a mirror of links and addresses; a second socket has requests.
 *
 * Happy path: init subscribes, dumps; the loop reads notifications, changes of the mirror are queued, and `deliver`
 * calls the ops at the end of the same turn. An operation first reads the journal to its end, sends its requests in one
 * system call, reads the answers, puts them into the mirror, reads the journal again. rtnetlink queues a notification
 * before the operation that caused it returns, so after that the mirror is what a question to the kernel would answer;
 * the exception is an IPv6 addition, which is announced by a work queue later: its acknowledgement stands for it, and a
 * deletion asks the kernel for IPv6 addresses directly.
 *
 * Failure modes:
 * - the journal overran (ENOBUFS): it is emptied, everything is dumped and compared, the differences are queued like
 *   other changes and ops.resync is called;
 * - that dump fails: `stale` is set, netlink_sync says so to whoever asks, and it is tried again every RETRY_MS;
 * - no memory for the queue: ops.resync takes the place of what is lost;
 * - an interface goes: the kernel reports its addresses and then the link; what it did not report goes with it. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/log.h"
#include "io/interfaces.h"
#include "io/netlink_private.h"

#define RETRY_MS 100
#define READS_PER_TURN 1024  /* datagrams; the rest waits for the next turn */
#define READS_PER_SYNC 65536 /* an end of the journal must come; if it does not, a dump is as good */
#define DUMPS_MAX 20         /* attempts at a dump that nothing interrupted */
#define CHANGES_MAX (2 * MIRROR_ADDRESSES_MAX)

/* ---- the mirror and what follows from its changes ---- */

static void queue_change(struct netlink *nl, const struct mirror_address *address)
{
    if (nl->changes_n == nl->changes_size) {
        int size = nl->changes_size == 0 ? 256 : nl->changes_size * 2;
        struct change *changes =
            size > CHANGES_MAX ? NULL : realloc(nl->changes, (size_t)size * sizeof(*changes));
        if (changes == NULL) {
            nl->resynced = true;
            return;
        }
        nl->changes = changes;
        nl->changes_size = size;
    }
    nl->changes[nl->changes_n++] = (struct change){.addr = address->addr, .marked = address->marked};
}

static void address_changed(struct netlink *nl, const struct mirror_address *address)
{
    queue_change(nl, address);
    if (!address->marked) {
        nl->links_dirty = true;
    }
}

void netlink_take_address(struct netlink *nl, const struct mirror_address *address, bool gone)
{
    const struct mirror_link *link = mirror_link(nl->mirror, address->ifindex);
    if (link == NULL || link->loopback) {
        return; /* a link is always told before its addresses */
    }
    if (gone) {
        struct mirror_address copy = *address;
        if (mirror_remove_address(nl->mirror, &copy)) {
            address_changed(nl, &copy);
        }
        return;
    }
    int err = mirror_put_address(nl->mirror, address);
    if (err == MIRROR_CHANGED) {
        address_changed(nl, address);
    } else if (err < 0) {
        nl->stale = true; /* an address that we do not know of: has() would lie */
        log_write(LOG_NETLINK, "what=mirror error=\"%s\"", strerror(-err));
    }
}

static void on_address(void *ud, const struct mirror_address *address, bool gone)
{
    netlink_take_address(ud, address, gone);
}

static void drop_addresses_of(struct netlink *nl, int ifindex)
{
    for (int p = 0; p < mirror_addresses_end(nl->mirror); p++) {
        const struct mirror_address *at = mirror_address_at(nl->mirror, p);
        if (at != NULL && at->ifindex == ifindex) {
            struct mirror_address copy = *at;
            mirror_remove_address(nl->mirror, &copy);
            address_changed(nl, &copy);
        }
    }
}

static void on_link(void *ud, const struct mirror_link *link, bool gone)
{
    struct netlink *nl = ud;
    if (gone) {
        if (mirror_remove_link(nl->mirror, link->ifindex)) {
            drop_addresses_of(nl, link->ifindex);
            nl->links_dirty = true;
        }
        return;
    }
    const struct mirror_link *before = mirror_link(nl->mirror, link->ifindex);
    struct mirror_link now = *link;
    now.mac_changed =
        before != NULL && (before->mac_changed || memcmp(before->mac, link->mac, sizeof(link->mac)) != 0);
    nl->macs_dirty = nl->macs_dirty || now.mac_changed;
    nl->links_new = nl->links_new || before == NULL || strcmp(before->name, link->name) != 0;
    int err = mirror_put_link(nl->mirror, &now);
    if (err == MIRROR_CHANGED) {
        nl->links_dirty = true;
    } else if (err < 0) {
        nl->stale = true;
        log_write(LOG_NETLINK, "what=mirror error=\"%s\"", strerror(-err));
    }
}

static const struct rtsock_ops into_mirror = {.link = on_link, .address = on_address};

static void skip_link(void *ud, const struct mirror_link *link, bool gone)
{
}

static void skip_address(void *ud, const struct mirror_address *address, bool gone)
{
}

/* Empties the journal: what is in it is older than the dump that follows. */
static void discard_journal(struct netlink *nl)
{
    static const struct rtsock_ops nowhere = {.link = skip_link, .address = skip_address};
    for (int i = 0; i < READS_PER_SYNC; i++) {
        int err = rtsock_read(nl->monitor, &nowhere, NULL);
        if (err < 0 && err != -ENOBUFS) {
            return;
        }
    }
}

static void sweep(struct netlink *nl)
{
    for (int p = 0; p < mirror_addresses_end(nl->mirror); p++) {
        const struct mirror_address *at = mirror_address_at(nl->mirror, p);
        if (at != NULL && !at->seen) {
            struct mirror_address copy = *at;
            mirror_remove_address(nl->mirror, &copy);
            address_changed(nl, &copy);
        }
    }
    for (int p = mirror_links_n(nl->mirror) - 1; p >= 0; p--) {
        const struct mirror_link *at = mirror_link_at(nl->mirror, p);
        if (!at->seen) {
            int ifindex = at->ifindex;
            mirror_remove_link(nl->mirror, ifindex);
            drop_addresses_of(nl, ifindex);
            nl->links_dirty = true;
        }
    }
}

/* Nothing is lost between the journal's emptying and the dump, for what happens in between stays in the journal. */
int netlink_dump(struct netlink *nl)
{
    int err = RTSOCK_INTERRUPTED;
    for (int i = 0; err == RTSOCK_INTERRUPTED; i++) {
        if (i == DUMPS_MAX) {
            err = -EAGAIN;
            break;
        }
        nl->stale = false;
        discard_journal(nl);
        mirror_unsee(nl->mirror);
        err = rtsock_dump(nl->requests, &into_mirror, nl);
    }
    if (err < 0 || nl->stale) {
        nl->stale = true;
        return err < 0 ? err : -ENOSPC;
    }
    sweep(nl);
    return 0;
}

static int resync(struct netlink *nl)
{
    int err = netlink_dump(nl);
    nl->resynced = true;
    nl->links_dirty = true;
    log_write(LOG_NETLINK, "what=resync error=\"%s\"", err < 0 ? strerror(-err) : "none");
    return err;
}

/* ---- the loop's side ---- */

/* An interface that is new, or has another name, is told of even where the ones that carry VIPs look as before: it may be none of
 * those, or have taken the place of one. */
static void deliver_links(struct netlink *nl)
{
    struct link now[LINKS_MAX];
    nl->links_dirty = false;
    int n = netlink_links(nl, now, LINKS_MAX);
    if (nl->links_new || n != nl->last_n || memcmp(now, nl->last, (size_t)n * sizeof(*now)) != 0) {
        memcpy(nl->last, now, (size_t)n * sizeof(*now));
        nl->last_n = n;
        nl->links_new = false;
        nl->ops.links(nl->ud);
    }
}

static void deliver_macs(struct netlink *nl)
{
    nl->macs_dirty = false;
    for (int p = 0; p < mirror_links_n(nl->mirror) && !nl->closing; p++) {
        struct mirror_link link = *mirror_link_at(nl->mirror, p);
        if (link.mac_changed) {
            link.mac_changed = false;
            (void)!mirror_put_link(nl->mirror, &link); /* it is there: cannot fail */
            if (nl->ops.hardware != NULL) {
                nl->ops.hardware(nl->ud, link.name);
            }
        }
    }
}

static void on_timer(uv_timer_t *timer);

void netlink_arm(struct netlink *nl)
{
    bool pending = nl->stale || nl->changes_n > 0 || nl->links_dirty || nl->macs_dirty || nl->resynced;
    if (!pending || nl->closing) {
        return;
    }
    if (!nl->stale) {
        (void)uv_timer_start(&nl->timer, on_timer, 0, 0);
    } else if (!uv_is_active((uv_handle_t *)&nl->timer)) {
        (void)uv_timer_start(&nl->timer, on_timer, RETRY_MS, 0);
    }
}

/* Ops may call back into this file and queue more; that is for the next turn. */
static void deliver(struct netlink *nl)
{
    struct change *changes = nl->changes;
    int n = nl->changes_n;
    nl->changes = NULL;
    nl->changes_n = nl->changes_size = 0;
    for (int i = 0; i < n && !nl->closing; i++) {
        nl->ops.address(nl->ud, &changes[i].addr, netlink_has(nl, &changes[i].addr), changes[i].marked);
    }
    free(changes);
    if (nl->links_dirty && !nl->closing) {
        deliver_links(nl);
    }
    if (nl->macs_dirty && !nl->closing) {
        deliver_macs(nl);
    }
    if (nl->resynced && !nl->stale && !nl->closing) {
        nl->resynced = false;
        nl->ops.resync(nl->ud);
    }
    netlink_arm(nl);
}

static void on_timer(uv_timer_t *timer)
{
    struct netlink *nl = timer->data;
    if (nl->stale && resync(nl) < 0) {
        netlink_arm(nl);
        return;
    }
    deliver(nl);
}

/* At most `reads` datagrams. 0: the journal is at its end, or was replaced by a dump; 1: there is more; -errno. */
static int read_journal(struct netlink *nl, int reads)
{
    for (int i = 0; i < reads; i++) {
        int err = rtsock_read(nl->monitor, &into_mirror, nl);
        if (err == -EAGAIN) {
            return nl->stale ? resync(nl) : 0;
        }
        if (err < 0) {
            return resync(nl);
        }
    }
    return 1;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct netlink *nl = poll->data;
    (void)read_journal(nl, READS_PER_TURN); /* a failed dump is retried by the timer */
    if (status < 0 && !nl->closing) {
        /* An overrun raises EPOLLERR, and libuv stops a handle for that; the error is gone with the read. */
        (void)uv_poll_start(&nl->poll, UV_READABLE, on_readable);
    }
    deliver(nl);
}

/* ---- beginning and end ---- */

static int check_kernel(void)
{
    struct utsname name;
    int major = 0, minor = 0;
    if (uname(&name) < 0) {
        return -errno;
    }
    if (sscanf(name.release, "%d.%d", &major, &minor) != 2) {
        return -EOPNOTSUPP;
    }
    return major > 5 || (major == 5 && minor >= 18) ? 0 : -EOPNOTSUPP;
}

static void netlink_free(struct netlink *nl)
{
    rtsock_close(nl->monitor);
    rtsock_close(nl->requests);
    mirror_free(nl->mirror);
    free(nl->changes);
    free(nl);
}

static int open_all(struct netlink *nl)
{
    int err = check_kernel();
    if (err == 0) {
        err = mirror_init(&nl->mirror);
    }
    if (err == 0) {
        err = rtsock_open(&nl->monitor, true);
    }
    if (err == 0) {
        err = rtsock_open(&nl->requests, false);
    }
    if (err == 0) {
        err = netlink_dump(nl);
    }
    return err;
}

/* The handles; when one fails, those before it are left to netlink_close. */
static int open_handles(struct netlink *nl, uv_loop_t *loop)
{
    int err = uv_timer_init(loop, &nl->timer);
    if (err < 0) {
        return err;
    }
    nl->timer.data = nl;
    nl->handles = 1;
    err = uv_poll_init(loop, &nl->poll, rtsock_fd(nl->monitor));
    if (err < 0) {
        return err;
    }
    nl->poll.data = nl;
    nl->handles = 2;
    return uv_poll_start(&nl->poll, UV_READABLE, on_readable);
}

int netlink_init(struct netlink **ret, uv_loop_t *loop, const struct netlink_config *config,
                 const struct netlink_ops *ops, void *ud)
{
    if (config->n < 0 || config->n > LINKS_MAX) {
        return -EINVAL;
    }
    struct netlink *nl = calloc(1, sizeof(*nl));
    if (nl == NULL) {
        return -ENOMEM;
    }
    nl->ops = *ops;
    nl->ud = ud;
    nl->n_interfaces = config->n;
    for (int i = 0; i < config->n; i++) {
        snprintf(nl->interfaces[i], DEV_SIZE, "%s", config->interfaces[i]);
    }
    int err = open_all(nl);
    if (err < 0) {
        netlink_free(nl);
        return err;
    }
    nl->changes_n = 0; /* what is there at the start is no change */
    nl->links_dirty = nl->links_new = nl->resynced = nl->macs_dirty = false;
    nl->last_n = netlink_links(nl, nl->last, LINKS_MAX);
    err = open_handles(nl, loop);
    if (err < 0) {
        netlink_close(nl, NULL, NULL);
        return err;
    }
    *ret = nl;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct netlink *nl = handle->data;
    if (--nl->handles == 0) {
        void (*cb)(void *ud) = nl->close_cb;
        void *ud = nl->close_ud;
        netlink_free(nl);
        if (cb != NULL) {
            cb(ud);
        }
    }
}

void netlink_close(struct netlink *nl, void (*cb)(void *ud), void *ud)
{
    if (nl == NULL) {
        return;
    }
    nl->closing = true;
    nl->close_cb = cb;
    nl->close_ud = ud;
    if (nl->handles == 0) {
        netlink_free(nl);
        return;
    }
    if (nl->handles == 2) {
        uv_close((uv_handle_t *)&nl->poll, on_closed);
    }
    uv_close((uv_handle_t *)&nl->timer, on_closed);
}

/* ---- questions ---- */

int netlink_links(struct netlink *nl, struct link *ret, int max)
{
    int n = interfaces_fill(nl->mirror, nl->interfaces, nl->n_interfaces, ret, max);
    if (n < 0) {
        nl->stale = true; /* no memory: the timer asks again */
        netlink_arm(nl);
        return 0;
    }
    return n;
}

int netlink_sync(struct netlink *nl)
{
    int err = read_journal(nl, READS_PER_SYNC);
    if (err > 0) {
        err = resync(nl);
    }
    netlink_arm(nl);
    return err;
}

bool netlink_has(const struct netlink *nl, const struct addr *addr)
{
    return mirror_find(nl->mirror, addr, 0) != NULL;
}

void netlink_each(const struct netlink *nl,
                  void (*cb)(void *ud, const struct addr *addr, const char *dev, bool marked), void *ud)
{
    for (int p = 0; p < mirror_addresses_end(nl->mirror); p++) {
        const struct mirror_address *at = mirror_address_at(nl->mirror, p);
        const struct mirror_link *link = at == NULL ? NULL : mirror_link(nl->mirror, at->ifindex);
        if (link != NULL) {
            cb(ud, &at->addr, link->name, at->marked);
        }
    }
}
