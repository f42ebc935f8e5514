#include "io/netlink.h"

/* The kernel's own journal, the monitor socket, keeps a mirror of links and addresses; a second socket carries requests.
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
 * - an interface goes: the kernel reports its addresses and then the link; what it might not report goes with it here. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/log.h"
#include "io/links.h"
#include "io/mirror.h"
#include "io/promote.h"
#include "io/rtsock.h"

#define RETRY_MS 100
#define READS_PER_TURN 1024  /* datagrams; the rest waits for the next turn */
#define READS_PER_SYNC 65536 /* an end of the journal must come; if it does not, a dump is as good */
#define DUMPS_MAX 20         /* attempts at a dump that nothing interrupted */
#define DELETE_ROUNDS 3      /* attempts against something that adds an address again */
#define CHANGES_MAX (2 * MIRROR_ADDRESSES_MAX)

struct change
{
    struct addr addr;
    bool marked;
};

struct netlink
{
    uv_poll_t poll;
    uv_timer_t timer; /* delivers what operations have queued; retries a failed dump */
    int handles;      /* open ones */
    bool closing;
    struct rtsock *monitor, *requests;
    struct mirror *mirror;
    struct netlink_ops ops;
    void *ud;
    char interfaces[LINKS_MAX][DEV_SIZE];
    int n_interfaces;
    struct change *changes; /* queued for ops.address */
    int changes_n, changes_size;
    bool links_dirty;    /* something that netlink_links depends on */
    bool resynced;       /* ops.resync is due */
    bool stale;          /* a dump failed */
    struct link last[LINKS_MAX]; /* as delivered */
    int last_n;
    void (*close_cb)(void *ud);
    void *close_ud;
};

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

static void on_address(void *ud, const struct mirror_address *address, bool gone)
{
    struct netlink *nl = ud;
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
    int err = mirror_put_link(nl->mirror, link);
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

/* The mirror anew from the kernel. Nothing is lost between the journal's emptying and the dump, for what happens in
 * between stays in the journal. */
static int dump_all(struct netlink *nl)
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
    int err = dump_all(nl);
    nl->resynced = true;
    nl->links_dirty = true;
    log_write(LOG_NETLINK, "what=resync error=\"%s\"", err < 0 ? strerror(-err) : "none");
    return err;
}

/* ---- the loop's side ---- */

static void deliver_links(struct netlink *nl)
{
    struct link now[LINKS_MAX];
    nl->links_dirty = false;
    int n = netlink_links(nl, now, LINKS_MAX);
    if (n != nl->last_n || memcmp(now, nl->last, (size_t)n * sizeof(*now)) != 0) {
        memcpy(nl->last, now, (size_t)n * sizeof(*now));
        nl->last_n = n;
        nl->ops.links(nl->ud);
    }
}

static void on_timer(uv_timer_t *timer);

/* Sees to it that the loop comes back for what operations or ops have queued. */
static void arm(struct netlink *nl)
{
    bool pending = nl->stale || nl->changes_n > 0 || nl->links_dirty || nl->resynced;
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
    if (nl->resynced && !nl->stale && !nl->closing) {
        nl->resynced = false;
        nl->ops.resync(nl->ud);
    }
    arm(nl);
}

static void on_timer(uv_timer_t *timer)
{
    struct netlink *nl = timer->data;
    if (nl->stale && resync(nl) < 0) {
        arm(nl);
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
        err = dump_all(nl);
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
    nl->links_dirty = nl->resynced = false;
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
    int n = links_fill(nl->mirror, nl->interfaces, nl->n_interfaces, ret, max);
    if (n < 0) {
        nl->stale = true; /* no memory: the timer asks again */
        arm(nl);
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
    arm(nl);
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

/* ---- operations ---- */

static bool is_absent(int result)
{
    return result == 0 || result == -EADDRNOTAVAIL || result == -ENODEV || result == -ENXIO;
}

/* Sends all requests, in batches, and takes the answers into the mirror. -errno: some have no answer (-ETIMEDOUT). */
static int submit_all(struct netlink *nl, struct rtsock_request *requests, int n)
{
    int err = 0;
    for (int at = 0; at < n; at += RTSOCK_BATCH) {
        int batch = n - at < RTSOCK_BATCH ? n - at : RTSOCK_BATCH;
        if (err < 0) {
            for (int i = at; i < at + batch; i++) {
                requests[i].result = -ETIMEDOUT;
            }
            continue;
        }
        err = rtsock_submit(nl->requests, requests + at, batch);
        for (int i = at; i < at + batch; i++) {
            if (requests[i].act == RTSOCK_DELETE && is_absent(requests[i].result)) {
                on_address(nl, &requests[i].address, true);
            } else if (requests[i].act != RTSOCK_DELETE && requests[i].result == 0) {
                on_address(nl, &requests[i].address, false);
            }
        }
        if (err < 0) {
            nl->stale = true; /* what became of the unanswered, only a dump tells */
        } else {
            err = netlink_sync(nl);
        }
    }
    arm(nl);
    return err;
}

/* Makes the request for one addition; 0, or the item's result. */
static int prepare_add(const struct netlink *nl, const struct netlink_item *item, uint32_t valid_s, bool replace,
                       struct rtsock_request *ret)
{
    const struct addr *addr = &item->address.addr;
    if ((addr->family != 4 && addr->family != 6) || valid_s == 0 || valid_s == UINT32_MAX /* "for ever" */) {
        return -EINVAL;
    }
    const struct mirror_link *link = mirror_link_named(nl->mirror, item->dev);
    if (link == NULL) {
        return NETLINK_NO_LINK;
    }
    if (link->loopback) {
        return -EINVAL;
    }
    uint8_t len = addr_bits(addr);
    const struct mirror_address *at;
    for (int i = 0; (at = mirror_find(nl->mirror, addr, i)) != NULL; i++) {
        if (!at->marked || at->len != len) {
            return NETLINK_FOREIGN;
        }
    }
    *ret = (struct rtsock_request){
        .act = replace ? RTSOCK_REPLACE : RTSOCK_ADD,
        .address = {.addr = *addr, .peer = *addr, .ifindex = link->ifindex, .len = len, .marked = true},
        .valid_s = valid_s,
    };
    return 0;
}

static int first_result(const struct netlink_item *items, int n)
{
    for (int i = 0; i < n; i++) {
        if (items[i].result != 0) {
            return items[i].result;
        }
    }
    return 0;
}

static void fail_all(struct netlink_item *items, int n, int err)
{
    for (int i = 0; i < n; i++) {
        items[i].result = err;
    }
}

int netlink_address_add_many(struct netlink *nl, struct netlink_item *items, int n, uint32_t valid_s, bool replace)
{
    struct rtsock_request *requests = calloc(n > 0 ? (size_t)n : 1, sizeof(*requests));
    int err = requests == NULL ? -ENOMEM : netlink_sync(nl);
    if (err < 0) {
        fail_all(items, n, err);
        free(requests);
        return err;
    }
    int used = 0;
    for (int i = 0; i < n; i++) {
        items[i].result = prepare_add(nl, &items[i], valid_s, replace, &requests[used]);
        used += items[i].result == 0;
    }
    err = submit_all(nl, requests, used);
    for (int i = 0, r = 0; i < n; i++) {
        if (items[i].result == 0) {
            int result = requests[r++].result;
            items[i].result = result == -ENODEV ? NETLINK_NO_LINK : result;
        }
    }
    free(requests);
    return err < 0 ? err : first_result(items, n);
}

int netlink_address_add(struct netlink *nl, const char *dev, const struct prefix *address, uint32_t valid_s,
                        bool replace)
{
    struct netlink_item item = {.address = *address};
    snprintf(item.dev, sizeof(item.dev), "%s", dev);
    return netlink_address_add_many(nl, &item, 1, valid_s, replace);
}

/* What a round of deletions sends. */
struct deletion
{
    struct rtsock_request *requests;
    int n, size;
    int found; /* entries met, those included that were deleted by themselves */
};

static int deletion_push(struct deletion *deletion, const struct mirror_address *address)
{
    if (deletion->n == deletion->size) {
        int size = deletion->size == 0 ? 16 : deletion->size * 2;
        struct rtsock_request *requests = realloc(deletion->requests, (size_t)size * sizeof(*requests));
        if (requests == NULL) {
            return -ENOMEM;
        }
        deletion->requests = requests;
        deletion->size = size;
    }
    deletion->requests[deletion->n++] = (struct rtsock_request){.act = RTSOCK_DELETE, .address = *address};
    deletion->found++;
    return 0;
}

static bool has_secondaries(const struct mirror *mirror, const struct mirror_address *primary)
{
    if (primary->addr.family != 4 || primary->secondary || primary->len == 32) {
        return false; /* ours are host prefixes, so this is answered at once for them */
    }
    struct prefix subnet = {.addr = primary->peer, .len = primary->len};
    for (int p = 0; p < mirror_addresses_end(mirror); p++) {
        const struct mirror_address *at = mirror_address_at(mirror, p);
        if (at != NULL && at->secondary && at->ifindex == primary->ifindex && at->len == primary->len &&
            prefix_contains(&subnet, &at->peer)) {
            return true;
        }
    }
    return false;
}

/* Deletes an address that others depend on, by itself and with care for those. */
static int delete_primary(struct netlink *nl, const struct mirror_address *primary)
{
    const struct mirror_link *link = mirror_link(nl->mirror, primary->ifindex);
    struct promote promote;
    int err = link == NULL ? -ENODEV : promote_begin(&promote, link->name);
    if (err < 0) {
        log_write(LOG_NETLINK, "what=promote_secondaries error=\"%s\"", strerror(-err));
        return -EBUSY;
    }
    struct rtsock_request request = {.act = RTSOCK_DELETE, .address = *primary};
    err = submit_all(nl, &request, 1);
    promote_end(&promote);
    return err < 0 ? err : is_absent(request.result) ? 0 : request.result;
}

/* Queues the deletion of every entry of one address. For IPv6 the kernel is asked as well: an addition of another's
 * stands in the journal only after its work queue ran. */
static int collect_entries(struct netlink *nl, const struct addr *addr, struct deletion *deletion)
{
    if (addr->family == 6) {
        struct mirror_address found;
        int err = rtsock_lookup6(nl->requests, addr, &found);
        if (err < 0) {
            return err;
        }
        if (err == 0) {
            on_address(nl, &found, false);
        }
    }
    const struct mirror_address *at;
    for (int i = 0; (at = mirror_find(nl->mirror, addr, i)) != NULL; i++) {
        struct mirror_address copy = *at;
        if (has_secondaries(nl->mirror, &copy)) {
            deletion->found++;
            return delete_primary(nl, &copy); /* the mirror has changed: the rest waits for the next round */
        }
        int err = deletion_push(deletion, &copy);
        if (err < 0) {
            return err;
        }
    }
    return 0;
}

/* One round; returns how many entries it found, or -errno when nothing can be said. */
static int delete_round(struct netlink *nl, struct netlink_item *items, int n)
{
    struct deletion deletion = {0};
    int err = netlink_sync(nl);
    for (int i = 0; i < n && err == 0; i++) {
        items[i].result = collect_entries(nl, &items[i].address.addr, &deletion);
    }
    if (err == 0) {
        err = submit_all(nl, deletion.requests, deletion.n);
    }
    for (int i = 0, r = 0; i < n && err == 0; i++) {
        for (; r < deletion.n && addr_equal(&deletion.requests[r].address.addr, &items[i].address.addr); r++) {
            if (!is_absent(deletion.requests[r].result)) {
                items[i].result = deletion.requests[r].result;
            }
        }
    }
    free(deletion.requests);
    return err < 0 ? err : deletion.found;
}

int netlink_address_del_many(struct netlink *nl, struct netlink_item *items, int n)
{
    int found = 1;
    for (int round = 0; round <= DELETE_ROUNDS && found > 0; round++) {
        found = delete_round(nl, items, n); /* the last one finds nothing, as a rule: it is the kernel's answer */
    }
    if (found < 0) {
        fail_all(items, n, found);
        return found;
    }
    for (int i = 0; i < n; i++) {
        if (items[i].result == 0 && netlink_has(nl, &items[i].address.addr)) {
            items[i].result = -EBUSY;
        }
    }
    return first_result(items, n);
}

int netlink_address_del(struct netlink *nl, const struct addr *addr)
{
    struct netlink_item item = {.address = {.addr = *addr}};
    return netlink_address_del_many(nl, &item, 1);
}

static int collect_marked(const struct netlink *nl, struct deletion *deletion)
{
    for (int p = 0; p < mirror_addresses_end(nl->mirror); p++) {
        const struct mirror_address *at = mirror_address_at(nl->mirror, p);
        if (at != NULL && at->marked) {
            int err = deletion_push(deletion, at);
            if (err < 0) {
                return err;
            }
        }
    }
    return 0;
}

static int flush_round(struct netlink *nl, void (*cb)(void *ud, const struct addr *addr, const char *dev), void *ud)
{
    struct deletion deletion = {0};
    int err = dump_all(nl);
    if (err == 0) {
        err = collect_marked(nl, &deletion);
    }
    if (err == 0) {
        err = submit_all(nl, deletion.requests, deletion.n);
    }
    for (int i = 0; i < deletion.n && err == 0; i++) {
        const struct mirror_link *link = mirror_link(nl->mirror, deletion.requests[i].address.ifindex);
        if (deletion.requests[i].result == 0 && cb != NULL) {
            cb(ud, &deletion.requests[i].address.addr, link != NULL ? link->name : "");
        } else if (!is_absent(deletion.requests[i].result)) {
            err = deletion.requests[i].result;
        }
    }
    free(deletion.requests);
    return err < 0 ? err : deletion.n;
}

int netlink_flush_marked(struct netlink *nl, void (*cb)(void *ud, const struct addr *addr, const char *dev), void *ud)
{
    int removed = 0;
    for (int round = 0; round <= DELETE_ROUNDS; round++) {
        int n = flush_round(nl, cb, ud);
        arm(nl);
        if (n <= 0) {
            return n < 0 ? n : removed;
        }
        removed += n;
    }
    return -EBUSY;
}
