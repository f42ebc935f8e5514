#include "io/interfaces.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Whether the address gives its interface a subnet that VIPs may belong to. A temporary address would make the answer
 * change by itself every day; a host prefix contains no other address; link-local ones are no place for a VIP. */
static bool gives_subnet(const struct mirror_address *address)
{
    bool link_local = address->addr.family == 6 && address->addr.bytes[0] == 0xfe &&
                      (address->addr.bytes[1] & 0xc0) == 0x80;
    return !address->marked && !address->temporary && !link_local && address->len < addr_bits(&address->addr);
}

/* Sorted, each once; the first LINK_PREFIXES_MAX stay, so the answer depends on no order of arrival. */
static void insert_prefix(struct link *link, const struct prefix *prefix)
{
    int p = 0;
    for (; p < link->n_prefixes; p++) {
        int order = addr_compare(&prefix->addr, &link->prefixes[p].addr);
        order = order != 0 ? order : prefix->len - link->prefixes[p].len;
        if (order == 0) {
            return;
        }
        if (order < 0) {
            break;
        }
    }
    if (p == LINK_PREFIXES_MAX) {
        return;
    }
    int moved = link->n_prefixes - p;
    if (link->n_prefixes == LINK_PREFIXES_MAX) {
        moved--;
    } else {
        link->n_prefixes++;
    }
    memmove(&link->prefixes[p + 1], &link->prefixes[p], (size_t)moved * sizeof(*link->prefixes));
    link->prefixes[p] = *prefix;
}

static void remove_prefix(struct link *link, int p)
{
    link->n_prefixes--;
    memmove(&link->prefixes[p], &link->prefixes[p + 1], (size_t)(link->n_prefixes - p) * sizeof(*link->prefixes));
    memset(&link->prefixes[link->n_prefixes], 0, sizeof(*link->prefixes));
}

static int find_network(const struct link *link, const struct prefix *prefix)
{
    for (int p = 0; p < link->n_prefixes; p++) {
        if (link->prefixes[p].len == prefix->len && prefix_contains(&link->prefixes[p], &prefix->addr)) {
            return p;
        }
    }
    return -1;
}

/* Of each subnet the first address comes before further ones of any: where VIPs may be counts for more than which
 * addresses are no VIPs. */
static void insert_address(struct link *link, struct link *further, const struct mirror_address *address)
{
    struct prefix own = {.addr = address->addr, .len = address->len};
    int p = find_network(link, &own);

    if (p >= 0 && addr_compare(&own.addr, &link->prefixes[p].addr) < 0) {
        struct prefix later = link->prefixes[p];
        remove_prefix(link, p);
        insert_prefix(further, &later);
        p = -1;
    }
    insert_prefix(p < 0 ? link : further, &own);
}

static void insert_addresses(const struct mirror *mirror, const struct mirror_link *const *links, int n, struct link *ret)
{
    struct link further[LINKS_MAX];

    memset(further, 0, sizeof(further));
    for (int p = 0; p < mirror_addresses_end(mirror); p++) {
        const struct mirror_address *address = mirror_address_at(mirror, p);
        for (int i = 0; i < n && address != NULL && gives_subnet(address); i++) {
            if (links[i] != NULL && links[i]->ifindex == address->ifindex) {
                insert_address(&ret[i], &further[i], address);
            }
        }
    }
    for (int i = 0; i < n; i++) {
        for (int p = 0; p < further[i].n_prefixes && ret[i].n_prefixes < LINK_PREFIXES_MAX; p++) {
            insert_prefix(&ret[i], &further[i].prefixes[p]);
        }
    }
}

struct choice
{
    const struct mirror_link *link;
    bool subnet;
};

/* Inserts by: has a subnet, then name; beyond max the last falls off. */
static void insert_choice(struct choice *choices, int *n, int max, struct choice choice)
{
    int p = *n;
    while (p > 0 && (choice.subnet != choices[p - 1].subnet
                         ? choice.subnet
                         : strcmp(choice.link->name, choices[p - 1].link->name) < 0)) {
        p--;
    }
    if (p == max) {
        return;
    }
    int moved = *n - p;
    if (*n == max) {
        moved--;
    } else {
        (*n)++;
    }
    memmove(&choices[p + 1], &choices[p], (size_t)moved * sizeof(*choices));
    choices[p] = choice;
}

static int choose_all(const struct mirror *mirror, const struct mirror_link **chosen, int max)
{
    int links = mirror_links_n(mirror), n = 0;
    bool *subnet = calloc(links > 0 ? (size_t)links : 1, sizeof(*subnet));
    if (subnet == NULL) {
        return -ENOMEM;
    }
    for (int p = 0; p < mirror_addresses_end(mirror); p++) {
        const struct mirror_address *address = mirror_address_at(mirror, p);
        const struct mirror_link *link = address == NULL ? NULL : mirror_link(mirror, address->ifindex);
        if (link != NULL && gives_subnet(address)) {
            subnet[link - mirror_link_at(mirror, 0)] = true;
        }
    }
    struct choice choices[LINKS_MAX];
    for (int p = 0; p < links; p++) {
        const struct mirror_link *link = mirror_link_at(mirror, p);
        if (!link->loopback) {
            insert_choice(choices, &n, max, (struct choice){.link = link, .subnet = subnet[p]});
        }
    }
    free(subnet);
    int chosen_n = 0;
    struct choice by_name[LINKS_MAX];
    for (int i = 0; i < n; i++) {
        insert_choice(by_name, &chosen_n, max, (struct choice){.link = choices[i].link});
    }
    for (int i = 0; i < n; i++) {
        chosen[i] = by_name[i].link;
    }
    return n;
}

int interfaces_fill(const struct mirror *mirror, const char (*names)[DEV_SIZE], int n, struct link *ret, int max)
{
    const struct mirror_link *chosen[LINKS_MAX] = {NULL};
    max = max < LINKS_MAX ? max : LINKS_MAX;
    bool all = n == 0;
    if (all) {
        n = choose_all(mirror, chosen, max);
        if (n < 0) {
            return n;
        }
    }
    n = n < max ? n : max;
    memset(ret, 0, (size_t)n * sizeof(*ret));
    for (int i = 0; i < n; i++) {
        if (!all) {
            chosen[i] = mirror_link_named(mirror, names[i]);
        }
        memcpy(ret[i].name, all ? chosen[i]->name : names[i], DEV_SIZE - 1);
        ret[i].up = chosen[i] != NULL && chosen[i]->up;
        if (chosen[i] != NULL) {
            memcpy(ret[i].mac, chosen[i]->mac, sizeof(ret[i].mac));
        }
    }
    insert_addresses(mirror, chosen, n, ret);
    return n;
}
