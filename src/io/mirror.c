#include "io/mirror.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NONE (-1)
#define BUCKETS_FIRST 1024u /* a power of two; doubled when there are more entries than buckets */

struct entry
{
    struct mirror_address address; /* family 0: the position is free */
    int next;                      /* in its bucket, or in the free list */
};

struct mirror
{
    struct mirror_link *links; /* sorted by ifindex */
    int links_n, links_size;
    struct entry *entries;
    int entries_end, entries_size, entries_n;
    int free; /* head of the list of free positions */
    int *buckets;
    unsigned buckets_n;
};

int mirror_init(struct mirror **ret)
{
    struct mirror *mirror = calloc(1, sizeof(*mirror));
    int *buckets = malloc(BUCKETS_FIRST * sizeof(*buckets));
    if (mirror == NULL || buckets == NULL) {
        free(mirror);
        free(buckets);
        return -ENOMEM;
    }
    memset(buckets, 0xff, BUCKETS_FIRST * sizeof(*buckets));
    *mirror = (struct mirror){.free = NONE, .buckets = buckets, .buckets_n = BUCKETS_FIRST};
    *ret = mirror;
    return 0;
}

void mirror_free(struct mirror *mirror)
{
    if (mirror != NULL) {
        free(mirror->links);
        free(mirror->entries);
        free(mirror->buckets);
        free(mirror);
    }
}

/* FNV-1a: the addresses are this host's own, nobody outside chooses enough of them to make it slow. */
static unsigned bucket_of(const struct addr *addr, unsigned buckets_n)
{
    uint32_t hash = 2166136261u;
    for (unsigned i = 0; i < (addr->family == 4 ? 4u : 16u); i++) {
        hash = (hash ^ addr->bytes[i]) * 16777619u;
    }
    return (hash ^ hash >> 16) & (buckets_n - 1);
}

static int find_position(const struct mirror *mirror, const struct mirror_address *address)
{
    int p = mirror->buckets[bucket_of(&address->addr, mirror->buckets_n)];
    while (p != NONE) {
        const struct mirror_address *at = &mirror->entries[p].address;
        if (at->ifindex == address->ifindex && at->len == address->len && addr_equal(&at->addr, &address->addr)) {
            return p;
        }
        p = mirror->entries[p].next;
    }
    return NONE;
}

static int grow_buckets(struct mirror *mirror)
{
    unsigned n = mirror->buckets_n * 2;
    int *buckets = malloc(n * sizeof(*buckets));
    if (buckets == NULL) {
        return -ENOMEM;
    }
    memset(buckets, 0xff, n * sizeof(*buckets));
    for (int p = 0; p < mirror->entries_end; p++) {
        struct entry *entry = &mirror->entries[p];
        if (entry->address.addr.family != 0) {
            unsigned bucket = bucket_of(&entry->address.addr, n);
            entry->next = buckets[bucket];
            buckets[bucket] = p;
        }
    }
    free(mirror->buckets);
    mirror->buckets = buckets;
    mirror->buckets_n = n;
    return 0;
}

static int take_position(struct mirror *mirror, int *ret)
{
    if (mirror->entries_n >= MIRROR_ADDRESSES_MAX) {
        return -ENOSPC;
    }
    if ((unsigned)mirror->entries_n >= mirror->buckets_n && grow_buckets(mirror) < 0) {
        return -ENOMEM;
    }
    if (mirror->free != NONE) {
        *ret = mirror->free;
        mirror->free = mirror->entries[*ret].next;
        return 0;
    }
    if (mirror->entries_end == mirror->entries_size) {
        int size = mirror->entries_size == 0 ? 64 : mirror->entries_size * 2;
        struct entry *entries = realloc(mirror->entries, (size_t)size * sizeof(*entries));
        if (entries == NULL) {
            return -ENOMEM;
        }
        mirror->entries = entries;
        mirror->entries_size = size;
    }
    *ret = mirror->entries_end++;
    return 0;
}

int mirror_put_address(struct mirror *mirror, const struct mirror_address *address)
{
    int p = find_position(mirror, address);
    if (p != NONE) {
        struct mirror_address *at = &mirror->entries[p].address;
        bool same = at->marked == address->marked && at->secondary == address->secondary &&
                    at->temporary == address->temporary && addr_equal(&at->peer, &address->peer);
        *at = *address;
        at->seen = true;
        return same ? 0 : MIRROR_CHANGED;
    }
    int err = take_position(mirror, &p);
    if (err < 0) {
        return err;
    }
    unsigned bucket = bucket_of(&address->addr, mirror->buckets_n);
    mirror->entries[p] = (struct entry){.address = *address, .next = mirror->buckets[bucket]};
    mirror->entries[p].address.seen = true;
    mirror->buckets[bucket] = p;
    mirror->entries_n++;
    return MIRROR_CHANGED;
}

bool mirror_remove_address(struct mirror *mirror, const struct mirror_address *address)
{
    int p = find_position(mirror, address);
    if (p == NONE) {
        return false;
    }
    int *link = &mirror->buckets[bucket_of(&mirror->entries[p].address.addr, mirror->buckets_n)];
    while (*link != p) {
        link = &mirror->entries[*link].next;
    }
    *link = mirror->entries[p].next;
    mirror->entries[p] = (struct entry){.next = mirror->free};
    mirror->free = p;
    mirror->entries_n--;
    return true;
}

const struct mirror_address *mirror_find(const struct mirror *mirror, const struct addr *addr, int i)
{
    for (int p = mirror->buckets[bucket_of(addr, mirror->buckets_n)]; p != NONE; p = mirror->entries[p].next) {
        if (addr_equal(&mirror->entries[p].address.addr, addr) && i-- == 0) {
            return &mirror->entries[p].address;
        }
    }
    return NULL;
}

/* The position of ifindex among the links, or where it would be inserted. */
static int link_position(const struct mirror *mirror, int ifindex)
{
    int low = 0, high = mirror->links_n;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (mirror->links[middle].ifindex < ifindex) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

int mirror_put_link(struct mirror *mirror, const struct mirror_link *link)
{
    int p = link_position(mirror, link->ifindex);
    struct mirror_link *at = mirror->links + p;
    if (p < mirror->links_n && at->ifindex == link->ifindex) {
        bool same = at->up == link->up && at->loopback == link->loopback && strcmp(at->name, link->name) == 0;
        *at = *link;
        at->seen = true;
        return same ? 0 : MIRROR_CHANGED;
    }
    if (mirror->links_n >= MIRROR_LINKS_MAX) {
        return -ENOSPC;
    }
    if (mirror->links_n == mirror->links_size) {
        int size = mirror->links_size == 0 ? 16 : mirror->links_size * 2;
        struct mirror_link *links = realloc(mirror->links, (size_t)size * sizeof(*links));
        if (links == NULL) {
            return -ENOMEM;
        }
        mirror->links = links;
        mirror->links_size = size;
        at = links + p;
    }
    memmove(at + 1, at, (size_t)(mirror->links_n - p) * sizeof(*at));
    *at = *link;
    at->seen = true;
    mirror->links_n++;
    return MIRROR_CHANGED;
}

bool mirror_remove_link(struct mirror *mirror, int ifindex)
{
    int p = link_position(mirror, ifindex);
    if (p == mirror->links_n || mirror->links[p].ifindex != ifindex) {
        return false;
    }
    mirror->links_n--;
    memmove(mirror->links + p, mirror->links + p + 1, (size_t)(mirror->links_n - p) * sizeof(*mirror->links));
    return true;
}

const struct mirror_link *mirror_link(const struct mirror *mirror, int ifindex)
{
    int p = link_position(mirror, ifindex);
    return p < mirror->links_n && mirror->links[p].ifindex == ifindex ? &mirror->links[p] : NULL;
}

const struct mirror_link *mirror_link_named(const struct mirror *mirror, const char *name)
{
    for (int p = 0; p < mirror->links_n; p++) {
        if (strcmp(mirror->links[p].name, name) == 0) {
            return &mirror->links[p];
        }
    }
    return NULL;
}

int mirror_links_n(const struct mirror *mirror)
{
    return mirror->links_n;
}

const struct mirror_link *mirror_link_at(const struct mirror *mirror, int p)
{
    return p >= 0 && p < mirror->links_n ? &mirror->links[p] : NULL;
}

int mirror_addresses_end(const struct mirror *mirror)
{
    return mirror->entries_end;
}

const struct mirror_address *mirror_address_at(const struct mirror *mirror, int p)
{
    if (p < 0 || p >= mirror->entries_end || mirror->entries[p].address.addr.family == 0) {
        return NULL;
    }
    return &mirror->entries[p].address;
}

void mirror_unsee(struct mirror *mirror)
{
    for (int p = 0; p < mirror->links_n; p++) {
        mirror->links[p].seen = false;
    }
    for (int p = 0; p < mirror->entries_end; p++) {
        mirror->entries[p].address.seen = false;
    }
}
