/* The planner: each step of its ladder, and random small clusters against brute force. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/plan.h"

static struct table table;
static struct plan_scratch scratch;
static struct move moves[VIPS_MAX];
static uint64_t unsettled[VIPS_MAX / 64];
static struct plan_input input;

/* ------------------------------------------------------------------ a cluster to plan for */

static uint64_t seed;

static uint32_t below(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 11) % n;
}

static struct prefix prefix_of(const char *text)
{
    struct prefix prefix;

    assert_int_equal(prefix_parse(text, &prefix, NULL), 0);
    return prefix;
}

/* n admitted, usable nodes a, b, c ... in 10.0.0.0/8 and 2001:db8::/64. */
static void cluster(int n)
{
    table_init(&table);
    memset(unsettled, 0, sizeof unsettled);
    table.cluster_id = 1;
    for (int i = 0; i < n; i++) {
        struct node *node = &table.nodes[i];

        node->used = true;
        node->id = (uint64_t)i + 1;
        snprintf(node->name, sizeof node->name, "%c%d", 'a' + i % 26, i);
        node->status = NODE_ADMITTED;
        node->gen = 1;
        node->n_links = 2;
        strcpy(node->links[0].name, "eth0");
        node->links[0].up = true;
        node->links[0].n_prefixes = 1;
        node->links[0].prefixes[0] = prefix_of("10.0.0.1/8");
        strcpy(node->links[1].name, "eth1");
        node->links[1].up = true;
        node->links[1].n_prefixes = 1;
        node->links[1].prefixes[0] = prefix_of("2001:db8::1/64");
    }
    input = (struct plan_input){.table = &table, .usable = n == 64 ? UINT64_MAX : (1ull << n) - 1};
}

static struct vip *vip_at(int owner)
{
    int slot = table.vips_end++;
    struct vip *vip = &table.vips[slot];

    table.n_vips++;
    memset(vip, 0, sizeof *vip);
    vip->used = vip->enabled = true;
    vip->address.addr.family = 4;
    vip->address.len = 24;
    vip->address.addr.bytes[0] = 10;
    vip->address.addr.bytes[2] = (uint8_t)(slot >> 8);
    vip->address.addr.bytes[3] = (uint8_t)slot;
    snprintf(vip->name, sizeof vip->name, "v%d", slot);
    vip->group = SLOT_NONE;
    vip->pinned = vip->prev = SLOT_NONE;
    vip->owner = (int8_t)owner;
    vip->moved = 100 + (uint64_t)slot;
    return vip;
}

static uint32_t plan(void)
{
    return plan_moves(&input, &scratch, moves, VIPS_MAX);
}

static void apply(uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        table.vips[moves[i].vip].owner = moves[i].to;
    }
}

static int owner_after(uint32_t n, int slot)
{
    for (uint32_t i = 0; i < n; i++) {
        if (moves[i].vip == slot) {
            return moves[i].to;
        }
    }
    return table.vips[slot].owner;
}

static void assert_move(uint32_t i, int vip, int to, enum reason reason)
{
    assert_int_equal(moves[i].vip, vip);
    assert_int_equal(moves[i].to, to);
    assert_string_equal(reason_text(moves[i].reason), reason_text(reason));
    assert_true(moves[i].moved == table.vips[vip].moved);
}

/* ------------------------------------------------------------------ the ladder, step by step */

static void new_vips_are_spread(void **state)
{
    cluster(3);
    for (int i = 0; i < 7; i++) {
        vip_at(SLOT_NONE);
    }
    assert_int_equal(plan(), 7);
    for (uint32_t i = 0; i < 7; i++) {
        assert_move(i, (int)i, (int)i % 3, REASON_NEW);
    }
}

static void nothing_moves_without_need(void **state)
{
    cluster(3);
    vip_at(0);
    vip_at(0);
    vip_at(2);
    assert_int_equal(plan(), 1); /* b has none, a has two */
    assert_int_equal(moves[0].to, 1);
    assert_string_equal(reason_text(moves[0].reason), "rebalance");
    apply(1);
    assert_int_equal(plan(), 0);
    vip_at(2);
    assert_int_equal(plan(), 0); /* 1 1 2 is even enough */
}

static void a_crash_moves_only_what_it_must(void **state)
{
    cluster(3);
    for (int i = 0; i < 9; i++) {
        vip_at(i % 3);
    }
    input.excluded = 1 << 1; /* the leader is about to fence b */
    assert_int_equal(plan(), 3);
    assert_move(0, 1, 0, REASON_CRASH);
    assert_move(1, 4, 2, REASON_CRASH);
    assert_move(2, 7, 0, REASON_CRASH);
    input.excluded = 0;
    table.nodes[1].status = NODE_FENCED;
    assert_int_equal(plan(), 3);
    assert_move(2, 7, 0, REASON_CRASH);
}

static void a_node_that_returns_gets_its_share(void **state)
{
    cluster(3);
    for (int i = 0; i < 9; i++) {
        vip_at(i % 2);
    }
    assert_int_equal(plan(), 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(moves[i].to, 2);
        assert_string_equal(reason_text(moves[i].reason), "rebalance");
    }
    input.usable = 3; /* but not before it is heard */
    assert_int_equal(plan(), 0);
}

static void drain_and_leave(void **state)
{
    cluster(3);
    vip_at(0);
    vip_at(1);
    vip_at(2);
    table.nodes[0].draining = true;
    assert_int_equal(plan(), 1);
    assert_move(0, 0, 1, REASON_DRAIN);
    table.nodes[0].draining = false;
    table.nodes[0].leaving = true;
    assert_int_equal(plan(), 1);
    assert_move(0, 0, 1, REASON_DRAIN);
    table.nodes[0].leaving = false;
    input.drained = 1; /* vipctl plan --drain a */
    assert_int_equal(plan(), 1);
    assert_move(0, 0, 1, REASON_DRAIN);
}

static void nowhere_to_go_keeps_the_owner(void **state)
{
    cluster(2);
    vip_at(0)->nodes = 1;
    table.nodes[0].draining = true;
    assert_int_equal(plan(), 0);
    table.nodes[0].status = NODE_FENCED;
    assert_int_equal(plan(), 0);
    table.vips[0].enabled = false;
    assert_int_equal(plan(), 1);
    assert_move(0, 0, SLOT_NONE, REASON_DISABLED);
    unsettled[0] = 1;
    input.unsettled = unsettled;
    assert_int_equal(plan(), 0);
}

static void a_link_that_is_down_or_gone(void **state)
{
    cluster(3);
    vip_at(0);
    table.nodes[0].links[0].up = false;
    assert_int_equal(plan(), 1);
    assert_move(0, 0, 1, REASON_HEALTH);
    table.nodes[0].n_links = 0;
    assert_int_equal(plan(), 1);
    assert_move(0, 0, 1, REASON_HEALTH);
    table.nodes[1].witness = true;
    assert_int_equal(plan(), 1);
    assert_move(0, 0, 2, REASON_HEALTH);
    table.nodes[2].links[0].up = false;
    assert_int_equal(plan(), 0);
}

static void outside_its_set_of_nodes(void **state)
{
    cluster(3);
    vip_at(0)->nodes = 1 << 2;
    assert_int_equal(plan(), 1);
    assert_move(0, 0, 2, REASON_PREFER);
}

static void unsettled_vips_stay_and_count(void **state)
{
    cluster(2);
    vip_at(0);
    vip_at(0);
    vip_at(0);
    vip_at(0);
    unsettled[0] = 7;
    input.unsettled = unsettled;
    assert_int_equal(plan(), 1);
    assert_move(0, 3, 1, REASON_REBALANCE);
    unsettled[0] = 15;
    assert_int_equal(plan(), 0);
    table.nodes[0].status = NODE_FENCED;
    assert_int_equal(plan(), 0);
}

static void preference_counts_when_placed_anew(void **state)
{
    cluster(3);
    for (int i = 0; i < 2; i++) {
        struct vip *vip = vip_at(SLOT_NONE);

        vip->n_prefers = 2;
        vip->prefers[0] = (struct prefer){.node = 1, .weight = 50};
        vip->prefers[1] = (struct prefer){.node = 2, .weight = 100};
    }
    assert_int_equal(plan(), 2);
    assert_move(0, 0, 2, REASON_NEW);
    assert_move(1, 1, 2, REASON_NEW);
    apply(2);
    assert_int_equal(plan(), 0); /* both stay, although a and b have none */
    table.nodes[2].status = NODE_FENCED;
    assert_int_equal(plan(), 2);
    assert_move(0, 0, 1, REASON_CRASH);
    assert_move(1, 1, 1, REASON_CRASH);
    apply(2);
    table.nodes[2].status = NODE_ADMITTED;
    /* No failback; evenness may draw a VIP to a node that it prefers more, never to one that it prefers less. */
    assert_int_equal(plan(), 1);
    assert_int_equal(moves[0].to, 2);
    assert_string_equal(reason_text(moves[0].reason), "rebalance");
}

static void pinned_by_hand(void **state)
{
    cluster(3);
    vip_at(0);
    vip_at(1);
    vip_at(2);
    table.vips[0].pinned = 1;
    assert_int_equal(plan(), 2); /* b gets v0; something goes to a */
    assert_move(0, 0, 1, REASON_MANUAL);
    assert_move(1, 1, 0, REASON_REBALANCE);
    apply(2);
    assert_int_equal(plan(), 0);
    table.nodes[1].status = NODE_FENCED;
    assert_int_equal(plan(), 1);
    assert_int_equal(moves[0].vip, 0);
    assert_string_equal(reason_text(moves[0].reason), "crash");
    apply(1);
    table.nodes[1].status = NODE_ADMITTED;
    input.usable = 5;
    assert_int_equal(plan(), 0); /* the pin waits until b can be given VIPs */
    input.usable = 7;
    assert_int_equal(plan(), 1);
    assert_move(0, 0, 1, REASON_MANUAL);
}

static void group(const char *name, int n, ...)
{
    va_list slots;
    int at = 0;

    while (table.groups[at].name[0] != '\0') {
        at++;
    }
    strcpy(table.groups[at].name, name);
    va_start(slots, n);
    for (int i = 0; i < n; i++) {
        table.vips[va_arg(slots, int)].group = (int16_t)at;
    }
    va_end(slots);
}

static void a_group_is_together(void **state)
{
    cluster(3);
    for (int i = 0; i < 6; i++) {
        vip_at(SLOT_NONE);
    }
    group("web", 3, 0, 2, 4);
    assert_int_equal(plan(), 6);
    assert_move(0, 0, 0, REASON_NEW);
    assert_move(2, 2, 0, REASON_NEW);
    assert_move(4, 4, 0, REASON_NEW);
    apply(6);
    assert_int_equal(plan(), 0); /* 3 2 1: more even only without the group */
    table.nodes[0].draining = true;
    assert_int_equal(plan(), 4); /* to c, which has fewer; what c has makes it even */
    assert_move(0, 0, 2, REASON_DRAIN);
    assert_move(1, 2, 2, REASON_DRAIN);
    assert_move(2, 3, 1, REASON_REBALANCE);
    assert_move(3, 4, 2, REASON_DRAIN);
    table.nodes[0].draining = false;
    table.vips[4].pinned = 1; /* vipctl vip move of one of them */
    uint32_t n = plan();
    for (int i = 0; i < 6; i += 2) {
        assert_int_equal(owner_after(n, i), 1);
    }
    assert_move(0, 0, 1, REASON_MANUAL);
}

static void a_scattered_group_gathers(void **state)
{
    cluster(3);
    vip_at(0);
    vip_at(1);
    vip_at(1);
    group("web", 3, 0, 1, 2);
    assert_int_equal(plan(), 1);
    assert_move(0, 0, 1, REASON_PREFER);
    table.groups[0].n_prefers = 2;
    table.groups[0].prefers[0] = (struct prefer){.node = 0, .weight = 1};
    table.groups[0].prefers[1] = (struct prefer){.node = 2, .weight = 2};
    assert_int_equal(plan(), 2); /* to a, which has one, not to c, which has none */
    assert_move(0, 1, 0, REASON_PREFER);
    assert_move(1, 2, 0, REASON_PREFER);
    unsettled[0] = 4;
    input.unsettled = unsettled;
    assert_int_equal(plan(), 1);
    assert_move(0, 1, 0, REASON_PREFER);
}

static void groups_are_evened_out_whole(void **state)
{
    cluster(2);
    for (int i = 0; i < 4; i++) {
        vip_at(0);
    }
    group("x", 2, 0, 1);
    group("y", 2, 2, 3);
    assert_int_equal(plan(), 2);
    assert_move(0, 0, 1, REASON_REBALANCE);
    assert_move(1, 1, 1, REASON_REBALANCE);
}

/* No node can have both: each goes where it can be held. */
static void a_group_that_cannot_be_together(void **state)
{
    cluster(2);
    vip_at(SLOT_NONE);
    vip_at(SLOT_NONE)->address = prefix_of("2001:db8::50/64");
    group("web", 2, 0, 1);
    table.nodes[0].links[1].up = false;
    table.nodes[1].links[0].up = false;
    assert_int_equal(plan(), 2);
    assert_move(0, 0, 0, REASON_NEW);
    assert_move(1, 1, 1, REASON_NEW);
    apply(2);
    assert_int_equal(plan(), 0);
    table.nodes[1].links[0].up = true;
    assert_int_equal(plan(), 1);
    assert_move(0, 0, 1, REASON_PREFER);
}

static void apart(int a, int b)
{
    struct vip *vip = &table.vips[a];

    vip->apart[vip->n_apart++] = (uint16_t)b;
}

static void apart_from(void **state)
{
    cluster(3);
    vip_at(SLOT_NONE);
    vip_at(SLOT_NONE)->nodes = 3;
    vip_at(SLOT_NONE)->nodes = 3;
    apart(0, 2); /* given to the first, holds for the last as well */
    assert_int_equal(plan(), 3);
    assert_int_not_equal(owner_after(3, 0), owner_after(3, 2));
    table.vips[0].owner = table.vips[1].owner = table.vips[2].owner = 1; /* the rule came later */
    uint32_t n = plan();
    assert_int_not_equal(owner_after(n, 0), owner_after(n, 2));
    assert_int_equal(owner_after(n, 2), 0); /* the one with the higher slot gives way */
    input.usable = 2; /* nowhere else: it stays */
    assert_int_equal(plan(), 0);
    table.nodes[1].status = NODE_FENCED; /* and with one node left, one of the two is not held */
    input.usable = 1;
    n = plan();
    assert_int_equal(owner_after(n, 0), 0);
    assert_int_equal(owner_after(n, 2), 1);
}

/* v1 may only be on c, which is gone, so it stays on b: v0 is not put next to it, although b has fewer VIPs. */
static void apart_from_one_that_is_stuck(void **state)
{
    cluster(3);
    vip_at(SLOT_NONE);
    vip_at(1)->nodes = 4;
    vip_at(0)->pinned = 0;
    vip_at(0)->pinned = 0;
    table.nodes[2].status = NODE_FENCED;
    apart(0, 1);
    assert_int_equal(plan(), 1);
    assert_move(0, 0, 0, REASON_NEW);
}

static void those_that_end_an_outage_come_first(void **state)
{
    cluster(3);
    vip_at(0);
    vip_at(0);
    vip_at(0);
    vip_at(1);
    vip_at(SLOT_NONE);
    table.nodes[0].draining = true;
    table.nodes[1].status = NODE_FENCED;
    assert_int_equal(plan(), 5);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(moves[i].vip, i);
    }
    assert_int_equal(plan_moves(&input, &scratch, moves, 3), 3);
    assert_move(0, 0, 2, REASON_DRAIN);
    assert_move(1, 3, 2, REASON_CRASH);
    assert_move(2, 4, 2, REASON_NEW);
    assert_int_equal(plan_moves(&input, &scratch, moves, 1), 1);
    assert_move(0, 3, 2, REASON_CRASH);
    assert_int_equal(plan_moves(&input, &scratch, moves, 0), 0);
}

/* a has three of {a, b}, b one of {b, c}, c none: even takes a detour over b. */
static void evenness_by_a_detour(void **state)
{
    cluster(3);
    for (int i = 0; i < 2; i++) {
        vip_at(0)->nodes = 3;
    }
    vip_at(1)->nodes = 6;
    assert_int_equal(plan(), 2);
    assert_move(0, 0, 1, REASON_REBALANCE);
    assert_move(1, 2, 2, REASON_REBALANCE);
}

/* ------------------------------------------------------------------ explain */

static enum plan_step step_for(int vip, int node)
{
    struct plan_candidate ret[NODES_MAX];
    int n = plan_explain(&input, &scratch, vip, ret);

    for (int i = 0; i < n; i++) {
        if (ret[i].node == node) {
            return ret[i].step;
        }
    }
    fail_msg("node %d is not among the candidates", node);
    return PLAN_CHOSEN;
}

#define assert_step(vip, node, step) assert_string_equal(plan_step_text(step_for(vip, node)), plan_step_text(step))

static void explain_names_the_step(void **state)
{
    struct plan_candidate ret[NODES_MAX];

    cluster(10);
    vip_at(SLOT_NONE);
    vip_at(8);
    table.nodes[0].status = NODE_FENCED;
    table.nodes[1].witness = true;
    table.nodes[2].draining = true;
    table.vips[0].nodes = 0x3f7;
    table.nodes[4].n_links = 0;
    table.nodes[5].links[0].up = false;
    input.usable &= ~(1ull << 6);
    apart(0, 1);
    assert_step(0, 0, PLAN_NOT_A_MEMBER);
    assert_step(0, 1, PLAN_WITNESS);
    assert_step(0, 2, PLAN_DRAINING);
    assert_step(0, 3, PLAN_NOT_IN_SET);
    assert_step(0, 4, PLAN_NO_LINK);
    assert_step(0, 5, PLAN_LINK_DOWN);
    assert_step(0, 6, PLAN_NOT_USABLE);
    assert_step(0, 8, PLAN_APART);
    assert_step(0, 7, PLAN_CHOSEN);
    assert_step(0, 9, PLAN_ORDER);
    vip_at(9);
    assert_step(0, 9, PLAN_LOAD);
    table.vips[0].prefers[0] = (struct prefer){.node = 9, .weight = 5};
    table.vips[0].n_prefers = 1;
    assert_step(0, 9, PLAN_CHOSEN);
    assert_step(0, 7, PLAN_PREFERENCE);
    table.vips[0].owner = 7;
    assert_step(0, 7, PLAN_CHOSEN);
    assert_step(0, 9, PLAN_STAYS);
    table.vips[0].pinned = 9;
    assert_step(0, 9, PLAN_CHOSEN);
    assert_step(0, 7, PLAN_PINNED);
    assert_int_equal(plan_explain(&input, &scratch, 0, ret), 10);
    assert_int_equal(ret[9].node, 9);
    assert_int_equal(ret[9].weight, 5);
    assert_int_equal(ret[9].load, 1); /* v2 makes room */
    table.vips[0].enabled = false;
    assert_int_equal(plan_explain(&input, &scratch, 0, ret), 0);
    assert_int_equal(plan_explain(&input, &scratch, 5000, ret), 0);
    assert_int_equal(plan_explain(&input, &scratch, -1, ret), 0);
}

static void explain_names_the_group(void **state)
{
    cluster(3);
    vip_at(1);
    vip_at(1);
    vip_at(SLOT_NONE);
    group("web", 3, 0, 1, 2);
    assert_step(2, 1, PLAN_CHOSEN);
    assert_step(2, 0, PLAN_GROUP);
    assert_step(0, 0, PLAN_STAYS);
}

/* What plan_explain() calls chosen is where plan_moves() leads. */
static void assert_explained(uint32_t n)
{
    struct plan_candidate ret[NODES_MAX];
    static struct plan_scratch other;

    for (int slot = 0; slot < table.vips_end; slot++) {
        int owner = owner_after(n, slot);
        int count = plan_explain(&input, &other, slot, ret);

        for (int i = 0; i < count; i++) {
            if (ret[i].step == PLAN_CHOSEN) {
                assert_int_equal(ret[i].node, owner);
            } else if (ret[i].node == owner) {
                assert_int_equal(owner, table.vips[slot].owner); /* unable, and nowhere to go */
            }
        }
    }
}

/* ------------------------------------------------------------------ random clusters */

static void random_nodes(int n)
{
    cluster(n);
    for (int i = 0; i < n; i++) {
        struct node *node = &table.nodes[i];

        switch (below(12)) {
        case 0:
            node->status = below(2) ? NODE_FENCED : NODE_CLEARED;
            break;
        case 1:
            node->draining = true;
            break;
        case 2:
            node->links[0].up = false;
            break;
        case 3:
            input.usable &= ~(1ull << i);
            break;
        case 4:
            input.excluded |= 1ull << i;
            break;
        case 5:
            node->witness = below(2);
            break;
        default:
            break;
        }
    }
}

static void random_vips(int n_nodes, int n_vips)
{
    for (int i = 0; i < n_vips; i++) {
        struct vip *vip = vip_at((int)below((uint32_t)n_nodes + 1) - 1);

        if (below(3) == 0) {
            vip->nodes = below(1u << n_nodes);
        }
        vip->enabled = below(12) != 0;
        if (below(8) == 0) {
            unsettled[0] |= 1ull << i;
            input.unsettled = unsettled;
        }
    }
}

static bool able(int slot, int node)
{
    return node >= 0 && table_may_own(&table, node, &table.vips[slot]) &&
           ((input.excluded | input.drained) >> node & 1) == 0;
}

/* What a VIP weighs on the node; the capacities in use divide it. */
static uint32_t weight_of(int node)
{
    return 600u / (table.nodes[node].capacity != 0 ? table.nodes[node].capacity : CAPACITY_DEFAULT);
}

static bool open_node(int node)
{
    const struct node *at = &table.nodes[node];

    return at->used && at->status == NODE_ADMITTED && !at->witness && !at->draining && !at->leaving &&
           (input.usable >> node & 1) != 0 && ((input.excluded | input.drained) >> node & 1) == 0;
}

static uint64_t candidates(int slot)
{
    uint64_t nodes = 0;

    for (int node = 0; node < NODES_MAX; node++) {
        if (able(slot, node) && open_node(node)) {
            nodes |= 1ull << node;
        }
    }
    return nodes;
}

static bool is_unsettled(int slot)
{
    return input.unsettled != NULL && (unsettled[slot / 64] >> slot % 64 & 1) != 0;
}

static bool is_in_apart_rule(int slot)
{
    bool in = table.vips[slot].n_apart > 0;

    for (int i = 0; i < table.vips_end; i++) {
        for (int k = 0; k < table.vips[i].n_apart; k++) {
            in |= table.vips[i].apart[k] == slot;
        }
    }
    return in;
}

/* Each move goes where it may, says what it replaces, and none is empty or double. */
static void assert_valid(uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct vip *vip = &table.vips[moves[i].vip];

        assert_true(vip->used && !vip->deleted);
        assert_true(moves[i].moved == vip->moved);
        assert_false(is_unsettled(moves[i].vip));
        assert_int_not_equal(moves[i].to, vip->owner);
        assert_true(i == 0 || moves[i - 1].vip < moves[i].vip);
        if (vip->enabled) {
            assert_true(moves[i].to >= 0 && (candidates(moves[i].vip) >> moves[i].to & 1) != 0);
        } else {
            assert_int_equal(moves[i].to, SLOT_NONE);
        }
    }
    for (int slot = 0; slot < table.vips_end; slot++) {
        int owner = owner_after(n, slot);

        if (table.vips[slot].enabled && !is_unsettled(slot) && table.vips[slot].group == SLOT_NONE &&
            !is_in_apart_rule(slot)) {
            assert_true(able(slot, owner) || candidates(slot) == 0);
        }
    }
}

struct score
{
    uint32_t squares, moves;
};

static struct score best_score;

static int32_t own_weight(int slot, int node)
{
    const struct vip *vip = &table.vips[slot];
    int32_t weight = 0;

    for (int i = 0; i < vip->n_prefers; i++) {
        weight = vip->prefers[i].node == node ? vip->prefers[i].weight : weight;
    }
    for (uint64_t left = table_checks_of(&table, vip); left != 0; left &= left - 1) {
        const struct check *check = &table.checks[__builtin_ctzll(left)];

        weight -= (check->failing >> node & 1) != 0 ? check->spec.weight : 0;
    }
    return weight;
}

/* Where it may be: not on a node that it prefers less than the one where it is; a new one on the most preferred ones only. */
static uint64_t preferred(int slot)
{
    int owner = table.vips[slot].owner;
    uint64_t nodes = candidates(slot), among = nodes;
    int32_t least = INT32_MIN;

    if (able(slot, owner)) {
        least = own_weight(slot, owner);
    } else {
        for (uint64_t left = nodes; left != 0; left &= left - 1) {
            int32_t weight = own_weight(slot, __builtin_ctzll(left));

            least = weight > least ? weight : least;
        }
    }
    for (uint64_t left = nodes; left != 0; left &= left - 1) {
        int node = __builtin_ctzll(left);

        among &= own_weight(slot, node) < least ? ~(1ull << node) : UINT64_MAX;
    }
    return among;
}

static void search(int slot, uint32_t *load, uint32_t n_moves)
{
    const struct vip *vip = &table.vips[slot];
    uint64_t nodes;

    if (slot == table.vips_end) {
        uint32_t squares = 0;

        for (int node = 0; node < NODES_MAX; node++) {
            squares += open_node(node) ? load[node] * load[node] * weight_of(node) : 0;
        }
        if (squares < best_score.squares || (squares == best_score.squares && n_moves < best_score.moves)) {
            best_score = (struct score){squares, n_moves};
        }
        return;
    }
    if (!vip->enabled || is_unsettled(slot) || candidates(slot) == 0 ||
        (able(slot, vip->owner) && !open_node(vip->owner))) {
        uint32_t *there = vip->enabled && vip->owner >= 0 ? &load[vip->owner] : NULL;

        if (there != NULL) {
            ++*there;
        }
        search(slot + 1, load, n_moves + (!vip->enabled && !is_unsettled(slot) && vip->owner >= 0));
        if (there != NULL) {
            --*there;
        }
        return;
    }
    for (nodes = preferred(slot); nodes != 0; nodes &= nodes - 1) {
        int node = __builtin_ctzll(nodes);

        load[node]++;
        search(slot + 1, load, n_moves + (node != vip->owner));
        load[node]--;
    }
}

static struct score score_of(uint32_t n)
{
    uint32_t load[NODES_MAX] = {0};
    struct score score = {.moves = n};

    for (int slot = 0; slot < table.vips_end; slot++) {
        int owner = owner_after(n, slot);

        if (table.vips[slot].enabled && owner >= 0) {
            load[owner]++;
        }
    }
    for (int node = 0; node < NODES_MAX; node++) {
        score.squares += open_node(node) ? load[node] * load[node] * weight_of(node) : 0;
    }
    return score;
}

static void assert_fixpoint(void)
{
    for (int round = 0; round < 4; round++) {
        uint32_t n = plan();

        if (n == 0) {
            return;
        }
        assert_valid(n);
        apply(n);
    }
    assert_int_equal(plan(), 0);
}

/* Checks that nodes pass, fail and do not know yet, required by some of the VIPs; or with a weight. */
static void random_checks(int n_nodes, int n_vips)
{
    for (int i = 0; i < 2; i++) {
        struct check *check = &table.checks[i];

        *check = (struct check){.spec = check_spec_default(), .changed = 1};
        snprintf(check->spec.name, NAME_SIZE, "c%d", i);
        check->spec.weight = (uint16_t)(below(3) == 0 ? 5 + 5 * below(2) : 0);
        check->passing = below(1u << n_nodes);
        check->failing = ~check->passing & below(1u << n_nodes);
    }
    table.checks_index = 1;
    table_index(&table);
    for (int k = 0; k < n_vips; k++) {
        table.vips[k].checks = below(2) ? 0 : below(4);
    }
}

static void random_preferences(int n_nodes, int n_vips)
{
    for (int k = 0; k < n_vips; k++) {
        struct vip *vip = &table.vips[k];

        for (int node = 0; node < n_nodes && below(2) == 0; node++) {
            vip->prefers[vip->n_prefers++] = (struct prefer){.node = (int8_t)node, .weight = (uint16_t)(10 * (1 + below(2)))};
        }
    }
}

struct worth
{
    int moved, detours;
};

static void brute_force_of(int i, struct worth *worth)
{
    uint32_t load[NODES_MAX] = {0};
    struct score got;
    int n_nodes;
    uint32_t n;

    seed = 0x9e3779b97f4a7c15ull * ((uint64_t)i + 1);
    n_nodes = 2 + (int)below(3);
    random_nodes(n_nodes);
    for (int node = 0; node < n_nodes && i % 2 == 0; node++) {
        static const uint16_t capacities[] = {0, 50, 200, 300};

        table.nodes[node].capacity = capacities[below(4)];
    }
    random_vips(n_nodes, 1 + (int)below(n_nodes == 4 ? 6 : 8));
    if (i % 3 == 0) {
        random_preferences(n_nodes, table.vips_end);
    }
    if (i % 4 == 0) {
        random_checks(n_nodes, table.vips_end);
    }
    n = plan();
    assert_valid(n);
    assert_explained(n);
    best_score = (struct score){UINT32_MAX, UINT32_MAX};
    search(0, load, 0);
    n = plan();
    got = score_of(n);
    if (got.squares != best_score.squares || got.moves != best_score.moves) {
        fail_msg("case %d: squares %u moves %u, best is %u and %u", i, got.squares, got.moves, best_score.squares,
                 best_score.moves);
    }
    worth->moved += n > 0;
    worth->detours += n > 3;
    apply(n);
    assert_int_equal(plan(), 0);
}

/* Nothing is as even with fewer moves: with sets of nodes, capacities, preferences, and checks, required and weighted. */
static void brute_force(void **state)
{
    struct worth worth = {0};

    for (int i = 0; i < 8000; i++) {
        brute_force_of(i, &worth);
    }
    brute_force_of(29040, &worth); /* on its way it came to where it is preferred more, and had to find back */
    assert_in_range(worth.moved, 4000, 8000); /* the cases are worth something */
    assert_in_range(worth.detours, 130, 8000);
}

/* ------------------------------------------------------------------ held at all: groups and apart-from rules */

static int most_held;

/* Where group 0 shall be in this search: on a node, ... */
enum
{
    EACH_BY_ITSELF = -2,  /* no node can have all of it */
    EACH_AT_ITS_OWNER = -1,
};
static int group_at;

/* Nodes that can have all of group 0. */
static uint64_t together(void)
{
    uint64_t nodes = UINT64_MAX;

    for (int slot = 0; slot < table.vips_end; slot++) {
        int owner = table.vips[slot].owner;

        if (table.vips[slot].group == 0) {
            nodes &= candidates(slot) | (able(slot, owner) ? 1ull << owner : 0);
        }
    }
    return nodes;
}

static uint64_t places(int slot)
{
    int owner = table.vips[slot].owner;
    uint64_t there = owner != SLOT_NONE ? 1ull << owner : 0;

    if (table.vips[slot].group == SLOT_NONE || group_at == EACH_BY_ITSELF) {
        return candidates(slot) | there;
    }
    return group_at == EACH_AT_ITS_OWNER ? there : 1ull << group_at;
}

static bool side_by_side(int a, int b)
{
    for (int k = 0; k < table.vips[a].n_apart; k++) {
        if (table.vips[a].apart[k] == b) {
            return true;
        }
    }
    return false;
}

/* Every placement that keeps to the rules, but that two that are side by side already may stay so. What is held nowhere
 * else is still its owner's, and the others keep away from it. */
static void search_held(int slot, int *at, int held)
{
    if (slot == table.vips_end) {
        most_held = held > most_held ? held : most_held;
        return;
    }
    if (held + table.vips_end - slot <= most_held) {
        return;
    }
    int owner = table.vips[slot].owner;
    for (uint64_t nodes = places(slot); nodes != 0; nodes &= nodes - 1) {
        int node = __builtin_ctzll(nodes);
        bool fits = true;

        for (int other = 0; other < slot && fits; other++) {
            bool both_stay = node == owner && at[other] == table.vips[other].owner;

            both_stay |= table.vips[slot].group == 0 && table.vips[other].group == 0; /* one unit */
            fits = at[other] != node || both_stay || !(side_by_side(slot, other) || side_by_side(other, slot));
        }
        if (fits) {
            at[slot] = node;
            search_held(slot + 1, at, held + able(slot, node));
        }
    }
    at[slot] = SLOT_NONE;
    if (owner == SLOT_NONE) {
        search_held(slot + 1, at, held);
    }
}

static void search_all_held(int *at)
{
    uint64_t nodes = together();

    group_at = nodes == 0 || nodes == UINT64_MAX ? EACH_BY_ITSELF : EACH_AT_ITS_OWNER;
    search_held(0, at, 0);
    for (; nodes != 0 && group_at != EACH_BY_ITSELF; nodes &= nodes - 1) {
        group_at = __builtin_ctzll(nodes);
        search_held(0, at, 0);
    }
}

static int held_after(uint32_t n)
{
    int held = 0;

    for (int slot = 0; slot < table.vips_end; slot++) {
        held += able(slot, owner_after(n, slot));
    }
    return held;
}

/* As many VIPs are held as can be, though what is held already moves only to make room. Finding that is as hard as colouring a
 * map: what the planner's search misses is counted, one in eighty; without making room it is one in nine. */
static void brute_force_of_rules(void **state)
{
    int missed = 0, tight = 0;

    for (int i = 0; i < 6000; i++) {
        int at[16], n_nodes, n_vips;
        uint32_t n;

        seed = 0xd6e8feb86659fd93ull * ((uint64_t)i + 1);
        n_nodes = 2 + (int)below(3);
        n_vips = 2 + (int)below(5);
        cluster(n_nodes);
        for (int k = 0; k < n_vips; k++) {
            struct vip *vip = vip_at((int)below((uint32_t)n_nodes + 1) - 1);

            vip->nodes = below(3) == 0 ? 1 + below((1u << n_nodes) - 1) : 0;
            if (k > 0 && below(3) > 0) {
                apart(k, (int)below((uint32_t)k));
            }
        }
        if (i % 2 == 0) {
            random_checks(n_nodes, n_vips);
        }
        if (i % 3 == 0) {
            table.nodes[below((uint32_t)n_nodes)].status = NODE_FENCED;
        }
        if (i % 5 == 0) {
            strcpy(table.groups[0].name, "g");
            table.vips[below((uint32_t)n_vips)].group = table.vips[below((uint32_t)n_vips)].group = 0;
        }
        most_held = 0;
        search_all_held(at);
        n = plan();
        assert_valid(n);
        int held = held_after(n);
        assert_true(held <= most_held);
        missed += held < most_held;
        tight += most_held < n_vips;
        apply(n);
        assert_fixpoint();
    }
    assert_in_range(missed, 0, 75); /* of those that are held, another choice would have been better for more */
    assert_in_range(tight, 1000, 6000);
}

/* Loads follow the capacities. */
static void twice_the_capacity_twice_the_vips(void **state)
{
    uint32_t load[3] = {0};

    cluster(3);
    table.nodes[1].capacity = 200;
    for (int i = 0; i < 400; i++) {
        vip_at(i % 3);
    }
    apply(plan());
    for (int i = 0; i < 400; i++) {
        load[table.vips[i].owner]++;
    }
    assert_true(load[0] == 100 && load[1] == 200 && load[2] == 100);
    assert_int_equal(plan(), 0);
    for (int i = 0; i < 9000; i++) {
        vip_at(SLOT_NONE);
    }
    table.nodes[2].capacity = 997; /* no common multiple to speak of */
    table.nodes[0].capacity = 991;
    table.nodes[1].capacity = 983;
    assert_true(plan() >= 9000);
    apply(plan());
    assert_int_equal(plan(), 0);
}

/* ------------------------------------------------------------------ failback */

static struct vip *preferring(int owner, int node, uint16_t weight)
{
    struct vip *vip = vip_at(owner);

    vip->n_prefers = 1;
    vip->prefers[0] = (struct prefer){.node = (int8_t)node, .weight = weight};
    return vip;
}

static void failback_never(void **state)
{
    cluster(2);
    preferring(1, 0, 100);
    vip_at(0);
    assert_int_equal(plan(), 0);
    assert_true(scratch.ripe_ms == UINT32_MAX);
}

static void failback_at_once(void **state)
{
    cluster(2);
    preferring(1, 0, 100);
    table.settings.failback_ms = 1;
    assert_int_equal(plan(), 1);
    assert_move(0, 0, 0, REASON_PREFER);
    apply(1);
    assert_int_equal(plan(), 0);
    table.vips[0].owner = 1;
    table.vips[0].pinned = 1; /* a move by hand is stronger */
    assert_int_equal(plan(), 0);
    table.vips[0].pinned = SLOT_NONE;
    input.usable = 2; /* not while the node is away */
    assert_int_equal(plan(), 0);
}

static void failback_after_a_while(void **state)
{
    struct plan_candidate candidates_of[NODES_MAX];

    cluster(3);
    preferring(1, 0, 100);
    table.vips[0].n_prefers = 2;
    table.vips[0].prefers[1] = (struct prefer){.node = 2, .weight = 50};
    table.settings.failback_ms = 5000;
    input.steady_ms[0] = 1000;
    input.steady_ms[2] = 4000;
    assert_int_equal(plan(), 0);
    assert_int_equal(scratch.ripe_ms, 1000);
    input.steady_ms[0] = 2000;
    input.steady_ms[2] = 5000;
    assert_int_equal(plan(), 1);
    assert_move(0, 0, 2, REASON_PREFER); /* better than where it is */
    assert_int_equal(plan_explain(&input, &scratch, 0, candidates_of), 3);
    assert_int_equal(candidates_of[1].step, PLAN_PREFERENCE);
    apply(1);
    assert_int_equal(plan(), 0);
    assert_int_equal(scratch.ripe_ms, 3000);
    input.steady_ms[0] = 5000;
    assert_int_equal(plan(), 1);
    assert_move(0, 0, 0, REASON_PREFER);
}

/* A group as a whole; and not next to what it must be apart from. */
static void failback_of_a_group(void **state)
{
    cluster(2);
    strcpy(table.groups[0].name, "g");
    table.groups[0].n_prefers = 1;
    table.groups[0].prefers[0] = (struct prefer){.node = 0, .weight = 9};
    vip_at(1)->group = 0;
    vip_at(1)->group = 0;
    table.settings.failback_ms = 1;
    assert_int_equal(plan(), 2);
    assert_move(0, 0, 0, REASON_PREFER);
    assert_move(1, 1, 0, REASON_PREFER);
    struct vip *other = vip_at(0);
    other->nodes = 1;
    other->n_apart = 1;
    other->apart[0] = 1;
    assert_int_equal(plan(), 0);
}

/* A VIP's own word comes before the cluster's, its group's before its own; in a group that says nothing, the most cautious
 * of its VIPs' counts. */
static void failback_of_its_own(void **state)
{
    struct plan_candidate candidates_of[NODES_MAX];

    cluster(2);
    preferring(1, 0, 100);
    preferring(1, 0, 100)->failback = own_failback(1);
    vip_at(0)->nodes = 1;
    vip_at(0)->nodes = 1;
    assert_int_equal(plan(), 1);
    assert_move(0, 1, 0, REASON_PREFER);
    assert_int_equal(plan_explain(&input, &scratch, 1, candidates_of), 2);
    assert_true(scratch.failback_ms == 1 && scratch.failback_of == PLAN_FAILBACK_VIP);
    assert_int_equal(plan_explain(&input, &scratch, 0, candidates_of), 2);
    assert_true(scratch.failback_ms == 0 && scratch.failback_of == PLAN_FAILBACK_CLUSTER);
    table.settings.failback_ms = 1;
    table.vips[1].failback = OWN_FAILBACK_NEVER;
    assert_int_equal(plan(), 1);
    assert_move(0, 0, 0, REASON_PREFER);
    /* as a group */
    strcpy(table.groups[0].name, "g");
    table.vips[0].group = table.vips[1].group = 0;
    assert_int_equal(plan(), 0);
    assert_true(scratch.ripe_ms == UINT32_MAX);
    table.vips[0].failback = own_failback(5000);
    assert_int_equal(plan(), 0);
    table.vips[1].failback = own_failback(9000);
    input.steady_ms[0] = 6000;
    assert_int_equal(plan(), 0);
    assert_int_equal(scratch.ripe_ms, 3000);
    table.groups[0].failback = own_failback(6000);
    assert_int_equal(plan(), 2);
    assert_int_equal(plan_explain(&input, &scratch, 1, candidates_of), 2);
    assert_true(scratch.failback_ms == 6000 && scratch.failback_of == PLAN_FAILBACK_GROUP);
    table.groups[0].failback = OWN_FAILBACK_NEVER;
    assert_int_equal(plan(), 0);
}

/* ------------------------------------------------------------------ a start of the whole cluster */

/* What was on a node that came late goes back, and only there, however uneven that is; a pin and a preference are stronger. */
static void back_where_they_were(void **state)
{
    static int8_t homes[VIPS_MAX];
    struct plan_candidate candidates_of[NODES_MAX];

    memset(homes, SLOT_NONE, sizeof homes);
    cluster(3);
    for (int i = 0; i < 6; i++) {
        vip_at(i % 2);
        homes[i] = 2;
    }
    input.homes = homes;
    input.usable = 3; /* it has not come yet */
    assert_int_equal(plan(), 0);
    input.usable = 7;
    assert_int_equal(plan_explain(&input, &scratch, 0, candidates_of), 3);
    assert_true(candidates_of[2].step == PLAN_CHOSEN && candidates_of[0].step == PLAN_RETURN);
    assert_int_equal(plan(), 6);
    for (int i = 0; i < 6; i++) {
        assert_move((uint32_t)i, i, 2, REASON_RETURN);
    }
    table.vips[0].pinned = 0;
    assert_int_equal(plan(), 5);
    table.vips[0].pinned = SLOT_NONE;
    table.nodes[2].draining = true;
    assert_int_equal(plan(), 0);
    table.nodes[2].draining = false;
    /* a group as a whole */
    strcpy(table.groups[0].name, "g");
    for (int i = 0; i < 6; i++) {
        table.vips[i].group = 0;
        table.vips[i].owner = 0;
        homes[i] = i == 0 ? SLOT_NONE : 2;
    }
    assert_int_equal(plan(), 6);
    assert_move(5, 5, 2, REASON_RETURN);
    apply(6);
    assert_int_equal(plan(), 0);
    /* not next to what it must be apart from */
    for (int i = 0; i < 6; i++) {
        table.vips[i].owner = 0;
    }
    struct vip *other = vip_at(2);
    other->nodes = 4;
    other->n_apart = 1;
    other->apart[0] = 3;
    assert_int_equal(plan(), 0);
}

/* Where every VIP may go everywhere, even is within one. */
static void within_one(void **state)
{
    for (int i = 0; i < 300; i++) {
        int n_nodes, n_vips;
        uint32_t least = UINT32_MAX, most = 0;

        seed = 0xd1342543de82ef95ull * ((uint64_t)i + 1);
        n_nodes = 2 + (int)below(62);
        n_vips = (int)below(700);
        cluster(n_nodes);
        for (int k = 0; k < n_vips; k++) {
            vip_at((int)below((uint32_t)n_nodes / (1 + below(3)) + 1) - 1);
        }
        apply(plan());
        for (int node = 0; node < n_nodes; node++) {
            uint32_t load = 0;

            for (int k = 0; k < n_vips; k++) {
                load += table.vips[k].owner == node;
            }
            least = load < least ? load : least;
            most = load > most ? load : most;
        }
        assert_in_range(most - least, 0, 1);
        assert_int_equal(plan(), 0);
    }
}

/* All rules at once: valid, agreed on by explain, at rest after a few plans; and no VIP of its own is moved next to one
 * that it must be apart from, unless that one is stuck where it must not be. */
static void random_rules(void **state)
{
    for (int i = 0; i < 4000; i++) {
        int n_nodes, n_vips;
        uint32_t n;

        seed = 0xa0761d6478bd642full * ((uint64_t)i + 1);
        n_nodes = 2 + (int)below(5);
        n_vips = 1 + (int)below(12);
        random_nodes(n_nodes);
        random_vips(n_nodes, n_vips);
        for (int k = 0; k < n_vips; k++) {
            struct vip *vip = &table.vips[k];

            if (below(4) == 0) {
                vip->n_prefers = 1;
                vip->prefers[0] = (struct prefer){.node = (int8_t)below((uint32_t)n_nodes), .weight = 10};
            }
            if (below(8) == 0) {
                vip->pinned = (int8_t)below((uint32_t)n_nodes);
            }
            if (below(4) == 0 && k > 0) {
                apart(k, (int)below((uint32_t)k));
            }
            if (below(3) == 0) {
                int g = (int)below(2);

                snprintf(table.groups[g].name, NAME_SIZE, "g%d", g);
                vip->group = (int16_t)g;
            }
        }
        n = plan();
        assert_valid(n);
        assert_explained(n);
        n = plan();
        for (int k = 0; k < n_vips; k++) {
            for (int m = 0; m < table.vips[k].n_apart; m++) {
                int other = table.vips[k].apart[m];
                bool alone = table.vips[k].group == SLOT_NONE && table.vips[other].group == SLOT_NONE;
                int a = owner_after(n, k), b = owner_after(n, other);

                if (a == b && alone && able(k, a) && able(other, b) && table.vips[k].enabled &&
                    table.vips[other].enabled) {
                    /* Only where both have been before. */
                    assert_true(table.vips[k].owner == a && table.vips[other].owner == b);
                }
            }
        }
        apply(n);
        assert_fixpoint();
    }
}

/* ------------------------------------------------------------------ as many as there may be */

/* Nothing is left over, and nothing moves twice; the time that it takes tests/bench measures. */
static void ten_thousand_on_fifty(void **state)
{
    uint32_t n;

    cluster(50);
    for (int i = 0; i < 10000; i++) {
        vip_at(SLOT_NONE);
    }
    n = plan();
    assert_int_equal(n, 10000);
    apply(n);
    assert_int_equal(plan(), 0);
    table.nodes[7].status = NODE_FENCED;
    n = plan();
    assert_int_equal(n, 200);
    apply(n);
    table.nodes[7].status = NODE_ADMITTED;
    n = plan();
    assert_int_equal(n, 200);
    apply(n);
    assert_int_equal(plan(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_vips_are_spread),
        cmocka_unit_test(nothing_moves_without_need),
        cmocka_unit_test(a_crash_moves_only_what_it_must),
        cmocka_unit_test(a_node_that_returns_gets_its_share),
        cmocka_unit_test(drain_and_leave),
        cmocka_unit_test(nowhere_to_go_keeps_the_owner),
        cmocka_unit_test(a_link_that_is_down_or_gone),
        cmocka_unit_test(outside_its_set_of_nodes),
        cmocka_unit_test(unsettled_vips_stay_and_count),
        cmocka_unit_test(preference_counts_when_placed_anew),
        cmocka_unit_test(pinned_by_hand),
        cmocka_unit_test(a_group_is_together),
        cmocka_unit_test(a_scattered_group_gathers),
        cmocka_unit_test(groups_are_evened_out_whole),
        cmocka_unit_test(a_group_that_cannot_be_together),
        cmocka_unit_test(apart_from),
        cmocka_unit_test(apart_from_one_that_is_stuck),
        cmocka_unit_test(those_that_end_an_outage_come_first),
        cmocka_unit_test(evenness_by_a_detour),
        cmocka_unit_test(explain_names_the_step),
        cmocka_unit_test(explain_names_the_group),
        cmocka_unit_test(brute_force),
        cmocka_unit_test(brute_force_of_rules),
        cmocka_unit_test(within_one),
        cmocka_unit_test(twice_the_capacity_twice_the_vips),
        cmocka_unit_test(failback_never),
        cmocka_unit_test(failback_at_once),
        cmocka_unit_test(failback_after_a_while),
        cmocka_unit_test(failback_of_a_group),
        cmocka_unit_test(failback_of_its_own),
        cmocka_unit_test(back_where_they_were),
        cmocka_unit_test(random_rules),
        cmocka_unit_test(ten_thousand_on_fifty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
