#include "io/interfaces.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct prefix network_of(const struct mirror_address *address)
{
    struct prefix prefix = {.addr = address->addr, .len = address->len};
    for (unsigned bit = address->len; bit < addr_bits(&prefix.addr); bit++) {
        prefix.addr.bytes[bit / 8] = (uint8_t)(prefix.addr.bytes[bit / 8] & ~(0x80u >> bit % 8));
    }
    return prefix;
}

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
    for (int p = 0; p < mirror_addresses_end(mirror); p++) {
        const struct mirror_address *address = mirror_address_at(mirror, p);
        if (address == NULL || !gives_subnet(address)) {
            continue;
        }
        for (int i = 0; i < n; i++) {
            if (chosen[i] != NULL && chosen[i]->ifindex == address->ifindex) {
                struct prefix network = network_of(address);
                insert_prefix(&ret[i], &network);
            }
        }
    }
    return n;
}
