/* Whether the VIPs are where placement rules let them be, judged without the planner: what could be given a place has one,
 * groups are together, what is to be apart is apart, and no unit could go from a full node to an emptier one. Only single steps
 * are looked for: where two would have to change places, nothing is asked. */

#include <stdio.h>
#include <string.h>

#include "sim.h"

static bool is_active(const struct table *table, int vip)
{
    return table->vips[vip].used && !table->vips[vip].deleted && table->vips[vip].enabled;
}

static bool is_able(const struct table *table, int vip, int node)
{
    int host = members_host_at(table, node);

    return host >= 0 && oracle_could_hold(&world.nodes[host]) && !table->nodes[node].removing &&
           (table->vips[vip].nodes == 0 || (table->vips[vip].nodes >> node & 1));
}

static bool names(const struct vip *vip, int other)
{
    for (int i = 0; i < vip->n_apart; i++) {
        if (vip->apart[i] == other) {
            return true;
        }
    }
    return false;
}

static bool same_group(const struct table *table, int a, int b)
{
    return table->vips[a].group != SLOT_NONE && table->vips[a].group == table->vips[b].group;
}

/* The rule holds both ways; within a group being together counts more. */
static bool are_apart(const struct table *table, int a, int b)
{
    return a != b && !same_group(table, a, b) && (names(&table->vips[a], b) || names(&table->vips[b], a));
}

static bool is_barred(const struct table *table, int vip, int node)
{
    for (int other = 0; other < table->vips_end; other++) {
        if (is_active(table, other) && table->vips[other].owner == node && are_apart(table, vip, other)) {
            return true;
        }
    }
    return false;
}

/* Of the VIP, or of its group; returns its size. */
static int members(const struct table *table, int vip, int ret[VIPS_MAX])
{
    int n = 0;

    for (int other = 0; other < table->vips_end; other++) {
        if (is_active(table, other) && (other == vip || same_group(table, vip, other))) {
            ret[n++] = other;
        }
    }
    return n;
}

static bool all_able(const struct table *table, const int *unit, int n, int node)
{
    for (int i = 0; i < n; i++) {
        if (!is_able(table, unit[i], node)) {
            return false;
        }
    }
    return true;
}

static bool any_barred(const struct table *table, const int *unit, int n, int node)
{
    for (int i = 0; i < n; i++) {
        if (is_barred(table, unit[i], node)) {
            return true;
        }
    }
    return false;
}

/* A node that could be given the whole unit as things stand, other than `but`; SLOT_NONE: none. */
static int room_for(const struct table *table, const int *unit, int n, int but)
{
    for (int node = 0; node < NODES_MAX; node++) {
        if (node != but && all_able(table, unit, n, node) && !any_barred(table, unit, n, node)) {
            return node;
        }
    }
    return SLOT_NONE;
}

bool placed_could(const struct table *table, int vip)
{
    int unit[VIPS_MAX], n = members(table, vip, unit);
    bool together = false;

    for (int node = 0; node < NODES_MAX; node++) {
        together = together || all_able(table, unit, n, node);
    }
    return room_for(table, together ? unit : &vip, together ? n : 1, SLOT_NONE) != SLOT_NONE;
}

static bool is_preferred(const struct table *table, const int *unit, int n, int node)
{
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < table->vips[unit[i]].n_prefers; k++) {
            if (table->vips[unit[i]].prefers[k].node == node) {
                return true;
            }
        }
    }
    return false;
}

static bool unit_placed(const struct table *table, int vip, const int loads[NODES_MAX], char why[200])
{
    int unit[VIPS_MAX], n = members(table, vip, unit), owner = table->vips[vip].owner;
    int to;

    for (int i = 0; i < n; i++) {
        if (table->vips[unit[i]].owner != owner) {
            to = room_for(table, unit, n, SLOT_NONE);
            snprintf(why, 200, "the group of VIP %s is scattered, and %c could have all of it", table->vips[vip].name,
                     members_letter(table, to));
            return to == SLOT_NONE;
        }
    }
    if (owner == SLOT_NONE) {
        return true; /* oracle_held */
    }
    to = room_for(table, unit, n, owner);
    if (to != SLOT_NONE && any_barred(table, unit, n, owner)) {
        snprintf(why, 200, "VIP %s is where another one must not be, and %c could have it", table->vips[vip].name,
                 members_letter(table, to));
        return false;
    }
    for (to = 0; to < NODES_MAX && !is_preferred(table, unit, n, owner); to++) {
        if (loads[owner] > loads[to] + n && all_able(table, unit, n, to) && !any_barred(table, unit, n, to)) {
            snprintf(why, 200, "VIP %s stays on %c, which has %d, though %c has %d", table->vips[vip].name,
                     members_letter(table, owner), loads[owner], members_letter(table, to), loads[to]);
            return false;
        }
    }
    return true;
}

bool placed_well(const struct table *table, char why[200])
{
    int loads[NODES_MAX] = {0};

    for (int vip = 0; vip < table->vips_end; vip++) {
        if (is_active(table, vip) && table->vips[vip].owner != SLOT_NONE) {
            loads[table->vips[vip].owner]++;
        }
    }
    for (int vip = 0; vip < table->vips_end; vip++) {
        if (is_active(table, vip) && !unit_placed(table, vip, loads, why)) {
            return false;
        }
    }
    return true;
}
