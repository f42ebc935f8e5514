/* Additions and deletions, one at a time and in batches. Each is over when it returns: requests go out in one system
 * call for RTSOCK_BATCH of them, the kernel has done and answered them when that call returns, and the answers are in
 * the mirror before anything else happens. What an answer does not tell (a transport error), a dump does (netlink.c). */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "io/netlink_private.h"
#include "io/promote.h"

#define DELETE_ROUNDS 3 /* attempts against something that adds an address again */
#define SLICE_FIRST 8   /* items of a slice of time, before it is known how long they take */

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
                netlink_take_address(nl, &requests[i].address, true);
            } else if (requests[i].act != RTSOCK_DELETE && requests[i].result == 0) {
                netlink_take_address(nl, &requests[i].address, false);
            }
        }
        if (err < 0) {
            nl->stale = true; /* what became of the unanswered, only a dump tells */
        } else {
            err = netlink_sync(nl);
        }
    }
    netlink_arm(nl);
    return err;
}

/* Makes the request for one addition; 0, or the item's result. */
static int prepare_add(const struct netlink *nl, const struct netlink_item *item, uint32_t valid_s, bool replace,
                       struct rtsock_request *ret)
{
    const struct addr *addr = &item->address.addr;
    if (nl->sealed) {
        return -ESHUTDOWN;
    }
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
            netlink_take_address(nl, &found, false);
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

/* The size of the next slice: as many as the last one's speed lets into what is left of the budget. */
static int next_slice(int last, uint64_t took_ns, uint64_t left_ns)
{
    uint64_t fits = took_ns > 0 ? left_ns * (uint64_t)last / took_ns : RTSOCK_BATCH;
    int most = 2 * last < RTSOCK_BATCH ? 2 * last : RTSOCK_BATCH; /* the first ones of a list are quicker */
    return fits < 1 ? 1 : fits < (uint64_t)most ? (int)fits : most;
}

/* Works through items in slices until the budget is used up. */
static int in_slices(struct netlink *nl, struct netlink_item *items, int n, uint32_t budget_ms,
                     int (*work)(struct netlink *nl, struct netlink_item *items, int n, const void *how),
                     const void *how)
{
    uint64_t now = uv_hrtime(), end = now + (uint64_t)budget_ms * 1000000;
    int done = 0, slice = SLICE_FIRST;
    while (done < n && (done == 0 || now < end)) {
        int size = n - done < slice ? n - done : slice;
        uint64_t before = now;
        (void)work(nl, items + done, size, how); /* each item has its result */
        done += size;
        now = uv_hrtime();
        slice = next_slice(size, now - before, now < end ? end - now : 0);
    }
    return done;
}

struct addition
{
    uint32_t valid_s;
    bool replace;
};

static int work_add(struct netlink *nl, struct netlink_item *items, int n, const void *how)
{
    const struct addition *addition = how;
    return netlink_address_add_many(nl, items, n, addition->valid_s, addition->replace);
}

static int work_del(struct netlink *nl, struct netlink_item *items, int n, const void *how)
{
    return netlink_address_del_many(nl, items, n);
}

int netlink_address_add_some(struct netlink *nl, struct netlink_item *items, int n, uint32_t valid_s, bool replace,
                             uint32_t budget_ms)
{
    struct addition addition = {.valid_s = valid_s, .replace = replace};
    return in_slices(nl, items, n, budget_ms, work_add, &addition);
}

int netlink_address_del_some(struct netlink *nl, struct netlink_item *items, int n, uint32_t budget_ms)
{
    return in_slices(nl, items, n, budget_ms, work_del, NULL);
}

void netlink_seal(struct netlink *nl)
{
    nl->sealed = true;
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
    int err = netlink_dump(nl);
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
        netlink_arm(nl);
        if (n <= 0) {
            return n < 0 ? n : removed;
        }
        removed += n;
    }
    return -EBUSY;
}
