/* core/lookup.c: who is where in the table; core/detail.c and core/texts.c: its words. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/detail.h"
#include "core/lookup.h"
#include "core/table.h"

static int setup(void **state)
{
    struct table *table = calloc(1, sizeof *table);

    table_init(table);
    *state = table;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

static void fill(struct table *table, int slot)
{
    struct vip *vip = &table->vips[slot];

    memset(vip, 0, sizeof *vip);
    vip->used = true;
    snprintf(vip->name, sizeof vip->name, "vip-%d", slot);
    vip->address.addr.family = slot % 2 ? 6 : 4;
    vip->address.addr.bytes[0] = 10;
    vip->address.addr.bytes[1] = (uint8_t)(slot >> 8);
    vip->address.addr.bytes[2] = (uint8_t)slot;
    vip->address.len = (uint8_t)addr_bits(&vip->address.addr);
}

/* A full table, from which every third goes again and again: the others stay where they were found. */
static void test_a_full_index(void **state)
{
    struct table *table = *state;

    for (int slot = 0; slot < VIPS_MAX; slot++) {
        fill(table, slot);
    }
    table_index(table);
    assert_int_equal(table->n_vips, VIPS_MAX);
    assert_int_equal(table->vips_end, VIPS_MAX);
    for (int round = 0; round < 3; round++) {
        for (int slot = round; slot < VIPS_MAX; slot += 3) {
            lookup_remove_name(table, slot);
            lookup_remove_addr(table, slot);
        }
        for (int slot = 0; slot < VIPS_MAX; slot++) {
            bool gone = slot % 3 == round;
            assert_int_equal(table_vip_by_name(table, table->vips[slot].name), gone ? SLOT_NONE : slot);
            assert_int_equal(table_vip_by_addr(table, &table->vips[slot].address.addr), gone ? SLOT_NONE : slot);
        }
        for (int slot = round; slot < VIPS_MAX; slot += 3) {
            lookup_add_name(table, slot);
            lookup_add_addr(table, slot);
        }
    }
    for (int slot = 0; slot < VIPS_MAX; slot++) {
        assert_int_equal(table_vip_by_name(table, table->vips[slot].name), slot);
    }
}

/* A tombstone keeps its address, and gives its name away. */
static void test_a_tombstone(void **state)
{
    struct table *table = *state;

    fill(table, 0);
    fill(table, 4);
    table->vips[0].deleted = true;
    table_index(table);
    assert_int_equal(table->n_vips, 2);
    assert_int_equal(table->vips_end, 5);
    assert_int_equal(table_vip_by_name(table, "vip-0"), SLOT_NONE);
    assert_int_equal(table_vip_by_addr(table, &table->vips[0].address.addr), 0);
    assert_int_equal(table_vip_find(table, "10.0.0.0"), SLOT_NONE);
    assert_int_equal(table_vip_find(table, "vip-4"), 4);
    assert_int_equal(table_vip_find(table, "10.0.4.0"), 4);
    assert_int_equal(table_vip_find(table, "10.0.4.1"), SLOT_NONE);
    assert_int_equal(table_vip_find(table, ""), SLOT_NONE);
    table->vips[0].used = table->vips[4].used = false;
    table_index(table);
    assert_int_equal(table->n_vips, 0);
    assert_int_equal(table->vips_end, 0);
}

static void test_nodes_and_groups(void **state)
{
    struct table *table = *state;

    table->nodes[3].used = true;
    table->nodes[3].id = 7;
    strcpy(table->nodes[3].name, "a");
    table->nodes[4].id = 8; /* not used */
    strcpy(table->nodes[4].name, "b");
    strcpy(table->groups[GROUPS_MAX - 1].name, "web");
    assert_int_equal(table_node_by_name(table, "a"), 3);
    assert_int_equal(table_node_by_name(table, "b"), SLOT_NONE);
    assert_int_equal(table_node_by_id(table, 7), 3);
    assert_int_equal(table_node_by_id(table, 8), SLOT_NONE);
    assert_int_equal(table_node_by_id(table, 0), SLOT_NONE);
    assert_int_equal(table_group_by_name(table, "web"), GROUPS_MAX - 1);
    assert_int_equal(table_group_by_name(table, ""), SLOT_NONE); /* the empty slots are no group */
}

static void prefix(struct prefix *ret, const char *text)
{
    assert_int_equal(prefix_parse(text, ret, NULL), 0);
}

static void test_links_and_owners(void **state)
{
    struct table *table = *state;
    struct node *node = &table->nodes[0];
    struct vip vip = {.used = true, .enabled = true};

    prefix(&vip.address, "10.2.0.9/32");
    node->used = true;
    node->status = NODE_ADMITTED;
    node->n_links = 2;
    node->links[0] = (struct link){.name = "eth0", .up = true, .n_prefixes = 1};
    node->links[1] = (struct link){.name = "eth1", .up = true, .n_prefixes = 2};
    prefix(&node->links[0].prefixes[0], "10.1.0.1/16");
    prefix(&node->links[1].prefixes[0], "2001:db8::1/64");
    prefix(&node->links[1].prefixes[1], "10.2.0.1/24");
    assert_ptr_equal(table_link_for(table, 0, &vip), &node->links[1]); /* by its subnet */
    strcpy(vip.dev, "eth0");
    assert_ptr_equal(table_link_for(table, 0, &vip), &node->links[0]); /* by name, whatever its subnet */
    strcpy(vip.dev, "eth9");
    assert_null(table_link_for(table, 0, &vip));
    assert_false(table_may_own(table, 0, &vip));
    vip.dev[0] = 0;
    prefix(&vip.address, "10.2.1.9/32");
    assert_null(table_link_for(table, 0, &vip));
    assert_null(links_find(NULL, 0, &vip));
    prefix(&vip.address, "10.2.0.9/32");
    assert_true(table_may_own(table, 0, &vip));
    vip.nodes = 2;
    assert_false(table_may_own(table, 0, &vip));
    vip.nodes = 1;
    assert_true(table_may_own(table, 0, &vip));
    node->links[1].up = false;
    assert_false(table_may_own(table, 0, &vip));
    node->links[1].up = true;
    bool *flags[] = {&node->witness, &node->draining, &node->leaving};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        *flags[i] = true;
        assert_false(table_may_own(table, 0, &vip));
        *flags[i] = false;
    }
    node->status = NODE_FENCED;
    assert_false(table_may_own(table, 0, &vip));
    node->status = NODE_ADMITTED;
    node->used = false;
    assert_false(table_may_own(table, 0, &vip));
}

static void test_majorities(void **state)
{
    static const int OF[] = {0, 1, 2, 2, 3, 3, 4, 4};
    (void)state;

    for (unsigned n = 0; n <= 7; n++) {
        assert_int_equal(majority_of((1ull << n) - 1), OF[n]);
        assert_int_equal(majority_of(((1ull << n) - 1) << 57), OF[n]);
    }
}

/* ---------------------------------------------------------------- words */

static void test_sentences(void **state)
{
    struct outcome outcome;
    struct addr addr;
    char longest[2 * sizeof outcome.detail];
    (void)state;

    detail_say(&outcome, OUTCOME_CONFLICT, "VIP ", "web", " is there");
    assert_int_equal(outcome.code, OUTCOME_CONFLICT);
    assert_string_equal(outcome.detail, "VIP web is there");
    detail_begin(&outcome, OUTCOME_DONE);
    assert_string_equal(outcome.detail, "");
    detail_number(&outcome, 0);
    detail_text(&outcome, " ");
    detail_number(&outcome, UINT64_MAX);
    detail_text(&outcome, " ");
    assert_int_equal(addr_parse("2001:db8::1", &addr), 0);
    detail_addr(&outcome, &addr);
    assert_string_equal(outcome.detail, "0 18446744073709551615 2001:db8::1");
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    detail_text(&outcome, longest); /* what does not fit is cut */
    assert_int_equal(strlen(outcome.detail), sizeof outcome.detail - 1);
    detail_number(&outcome, 12345);
    assert_int_equal(strlen(outcome.detail), sizeof outcome.detail - 1);
}

/* No word twice, and no gap among the first ones: scripts rely on them. (That none is missing the compiler sees.) */
static void all_different(const char *(*text)(int), int at_least)
{
    int n = 0;

    for (; strcmp(text(n), "unknown") != 0; n++) {
        for (int k = 0; k < n; k++) {
            assert_string_not_equal(text(n), text(k));
        }
    }
    assert_true(n >= at_least);
}

static const char *reason_word(int i)
{
    return reason_text((enum reason)i);
}
static const char *role_word(int i)
{
    return node_role_text((enum node_role)i);
}
static const char *status_word(int i)
{
    return node_status_text((enum node_status)i);
}
static const char *conflict_word(int i)
{
    return conflict_kind_text((enum conflict_kind)i);
}
static const char *history_word(int i)
{
    return history_kind_text((enum history_kind)i);
}

static void test_words(void **state)
{
    (void)state;
    all_different(reason_word, REASONS_N);
    all_different(role_word, ROLE_SPARE + 1);
    all_different(status_word, 3);
    all_different(conflict_word, CONFLICT_KINDS_N);
    all_different(history_word, HISTORY_CONFLICT_END + 1);
}

static void test_hardware_addresses(void **state)
{
    char text[MAC_TEXT_SIZE];
    (void)state;

    assert_string_equal(mac_format((const uint8_t[MAC_SIZE]){0, 0x1f, 0xa0, 0xff, 9, 0x80}, text), "00:1f:a0:ff:09:80");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_full_index, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_tombstone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nodes_and_groups, setup, teardown),
        cmocka_unit_test_setup_teardown(test_links_and_owners, setup, teardown),
        cmocka_unit_test(test_majorities),
        cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_hardware_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
