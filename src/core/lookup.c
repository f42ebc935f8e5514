/* Who is where in the table: two hash indexes over the VIPs (linear probing, slot + 1, 0 = empty), and plain searches
 * over what is small. */

#include "core/lookup.h"

#include <stdlib.h>
#include <string.h>

#define MASK (TABLE_HASH - 1u)

_Static_assert((TABLE_HASH & MASK) == 0 && TABLE_HASH >= 3 * VIPS_MAX, "an index is never nearly full");

uint64_t fnv_bytes(uint64_t hash, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;

    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ at[i]) * 0x100000001b3ull;
    }
    return hash;
}

static uint32_t fold(uint64_t hash)
{
    return (uint32_t)(hash ^ hash >> 32 ^ hash >> 16) & MASK;
}

static uint32_t home_of_name(const char *name)
{
    return fold(fnv_bytes(FNV_BASIS, name, strlen(name)));
}

static uint32_t home_of_addr(const struct addr *addr)
{
    uint64_t hash = fnv_bytes(FNV_BASIS, &addr->family, 1);

    return fold(fnv_bytes(hash, addr->bytes, sizeof addr->bytes));
}

static uint32_t home_of(const struct table *table, const uint16_t *index, int slot)
{
    const struct vip *vip = &table->vips[slot];

    return index == table->by_name ? home_of_name(vip->name) : home_of_addr(&vip->address.addr);
}

static void index_add(struct table *table, uint16_t *index, int slot)
{
    uint32_t at = home_of(table, index, slot);

    while (index[at] != 0) {
        at = (at + 1) & MASK;
    }
    index[at] = (uint16_t)(slot + 1);
}

/* Closes the gap behind a removed entry by shifting back whatever would not be found across it. */
static void index_remove(struct table *table, uint16_t *index, int slot)
{
    uint32_t gap = home_of(table, index, slot);

    while (index[gap] != (uint16_t)(slot + 1)) {
        if (index[gap] == 0) {
            abort(); /* a bug: the caller removes what is not there */
        }
        gap = (gap + 1) & MASK;
    }
    for (uint32_t at = (gap + 1) & MASK; index[at] != 0; at = (at + 1) & MASK) {
        uint32_t home = home_of(table, index, index[at] - 1);

        if (((at - home) & MASK) >= ((at - gap) & MASK)) {
            index[gap] = index[at];
            gap = at;
        }
    }
    index[gap] = 0;
}

void lookup_add_name(struct table *table, int slot)
{
    index_add(table, table->by_name, slot);
}

void lookup_remove_name(struct table *table, int slot)
{
    index_remove(table, table->by_name, slot);
}

void lookup_add_addr(struct table *table, int slot)
{
    index_add(table, table->by_addr, slot);
}

void lookup_remove_addr(struct table *table, int slot)
{
    index_remove(table, table->by_addr, slot);
}

void table_index(struct table *table)
{
    memset(table->by_name, 0, sizeof table->by_name);
    memset(table->by_addr, 0, sizeof table->by_addr);
    lookup_checks(table);
    table->n_vips = 0;
    table->vips_end = 0;
    for (int slot = 0; slot < VIPS_MAX; slot++) {
        const struct vip *vip = &table->vips[slot];

        if (!vip->used) {
            continue;
        }
        lookup_add_addr(table, slot);
        if (!vip->deleted) {
            lookup_add_name(table, slot);
        }
        table->n_vips++;
        table->vips_end = slot + 1;
    }
}

int table_vip_by_name(const struct table *table, const char *name)
{
    for (uint32_t at = home_of_name(name); table->by_name[at] != 0; at = (at + 1) & MASK) {
        int slot = table->by_name[at] - 1;

        if (strcmp(table->vips[slot].name, name) == 0) {
            return slot;
        }
    }
    return SLOT_NONE;
}

int table_vip_by_addr(const struct table *table, const struct addr *addr)
{
    for (uint32_t at = home_of_addr(addr); table->by_addr[at] != 0; at = (at + 1) & MASK) {
        int slot = table->by_addr[at] - 1;

        if (addr_equal(&table->vips[slot].address.addr, addr)) {
            return slot;
        }
    }
    return SLOT_NONE;
}

int table_vip_find(const struct table *table, const char *name_or_addr)
{
    int slot = table_vip_by_name(table, name_or_addr);
    struct addr addr;

    if (slot == SLOT_NONE && addr_parse(name_or_addr, &addr) == 0) {
        slot = table_vip_by_addr(table, &addr);
        if (slot != SLOT_NONE && table->vips[slot].deleted) {
            slot = SLOT_NONE;
        }
    }
    return slot;
}

int table_node_by_name(const struct table *table, const char *name)
{
    for (int slot = 0; slot < NODES_MAX; slot++) {
        if (table->nodes[slot].used && strcmp(table->nodes[slot].name, name) == 0) {
            return slot;
        }
    }
    return SLOT_NONE;
}

int table_node_by_id(const struct table *table, uint64_t id)
{
    for (int slot = 0; slot < NODES_MAX; slot++) {
        if (table->nodes[slot].used && table->nodes[slot].id == id) {
            return slot;
        }
    }
    return SLOT_NONE;
}

static bool links_have(const struct node *node, const struct addr *addr)
{
    for (int i = 0; i < node->n_links; i++) {
        for (int k = 0; k < node->links[i].n_prefixes; k++) {
            if (addr_equal(&node->links[i].prefixes[k].addr, addr)) {
                return true;
            }
        }
    }
    return false;
}

int table_node_by_addr(const struct table *table, const struct addr *addr)
{
    for (int slot = 0; slot < NODES_MAX; slot++) {
        const struct node *node = &table->nodes[slot];
        if (node->used && (addr_equal(&node->at.addr, addr) || links_have(node, addr))) {
            return slot;
        }
    }
    return SLOT_NONE;
}

bool table_may_have(const struct table *table, uint64_t id)
{
    return table->cluster_id == 0 || id >= table->next_id || table_node_by_id(table, id) != SLOT_NONE;
}

int table_group_by_name(const struct table *table, const char *name)
{
    for (int group = 0; group < GROUPS_MAX && name[0] != '\0'; group++) {
        if (strcmp(table->groups[group].name, name) == 0) {
            return group;
        }
    }
    return SLOT_NONE;
}

int table_check_by_name(const struct table *table, const char *name)
{
    for (int check = 0; check < CHECKS_MAX && name[0] != '\0'; check++) {
        if (strcmp(table->checks[check].spec.name, name) == 0) {
            return check;
        }
    }
    return SLOT_NONE;
}

void lookup_checks(struct table *table)
{
    table->required = table->everywhere = 0;
    for (int check = 0; check < CHECKS_MAX; check++) {
        const struct check_spec *spec = &table->checks[check].spec;

        if (spec->name[0] != '\0') {
            table->required |= (uint64_t)(spec->weight == 0) << check;
            table->everywhere |= (uint64_t)spec->node << check;
        }
    }
}

uint64_t table_checks_of(const struct table *table, const struct vip *vip)
{
    return vip->checks | table->everywhere | (vip->group == SLOT_NONE ? 0 : table->groups[vip->group].checks);
}

uint64_t table_passing(const struct table *table, const struct vip *vip, uint64_t nodes)
{
    uint64_t owner = vip->owner == SLOT_NONE ? 0 : nodes & 1ull << vip->owner;

    for (uint64_t left = table_checks_of(table, vip) & table->required; left != 0; left &= left - 1) {
        const struct check *check = &table->checks[__builtin_ctzll(left)];

        nodes &= check->passing;
        owner &= ~check->failing;
    }
    return nodes | owner;
}

static bool link_carries(const struct link *link, const struct addr *addr)
{
    for (int i = 0; i < link->n_prefixes; i++) {
        if (prefix_contains(&link->prefixes[i], addr)) {
            return true;
        }
    }
    return false;
}

const struct link *links_find(const struct link *links, int n_links, const struct vip *vip)
{
    for (int i = 0; i < n_links; i++) {
        if (vip->dev[0] != '\0' ? strcmp(links[i].name, vip->dev) == 0 : link_carries(&links[i], &vip->address.addr)) {
            return &links[i];
        }
    }
    return NULL;
}

const struct link *table_link_for(const struct table *table, int node, const struct vip *vip)
{
    return links_find(table->nodes[node].links, table->nodes[node].n_links, vip);
}

bool table_may_own(const struct table *table, int node, const struct vip *vip)
{
    const struct node *at = &table->nodes[node];
    const struct link *link;

    if (!at->used || at->status != NODE_ADMITTED || at->witness || at->draining || at->leaving) {
        return false;
    }
    if (vip->nodes != 0 && (vip->nodes >> node & 1) == 0) {
        return false;
    }
    link = table_link_for(table, node, vip);
    return link != NULL && link->up && table_passing(table, vip, 1ull << node) != 0;
}

int majority_of(uint64_t set)
{
    return set == 0 ? 0 : __builtin_popcountll(set) / 2 + 1;
}

/* ------------------------------------------------------------------ hooks */

void hooks_set(struct hook to[HOOK_POINTS_N], const struct hook from[HOOK_POINTS_N])
{
    for (int i = 0; i < HOOK_POINTS_N; i++) {
        struct hook hook;

        memset(&hook, 0, sizeof hook);
        if (from[i].program[0] != '\0') {
            memcpy(hook.program, from[i].program, strnlen(from[i].program, HOOK_PROGRAM_MAX_LEN));
            hook.timeout_ms = from[i].timeout_ms;
        }
        to[i] = hook;
    }
}

bool hooks_equal(const struct hook a[HOOK_POINTS_N], const struct hook b[HOOK_POINTS_N])
{
    for (int i = 0; i < HOOK_POINTS_N; i++) {
        if (strncmp(a[i].program, b[i].program, HOOK_PROGRAM_SIZE) != 0 ||
            (a[i].program[0] != '\0' && a[i].timeout_ms != b[i].timeout_ms)) {
            return false;
        }
    }
    return true;
}

bool hooks_any(const struct hook hooks[HOOK_POINTS_N])
{
    for (int i = 0; i < HOOK_POINTS_N; i++) {
        if (hooks[i].program[0] != '\0') {
            return true;
        }
    }
    return false;
}

const struct hook *table_hook(const struct table *table, const struct vip *vip, enum hook_point point)
{
    const struct hook *own = &table->vip_hooks[vip - table->vips][point];
    const struct hook *group = vip->group != SLOT_NONE ? &table->groups[vip->group].hooks[point] : own;

    return own->program[0] != '\0' ? own : group->program[0] != '\0' ? group : NULL;
}
