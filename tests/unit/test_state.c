/* core/state.c: what `status`, `list` and `--wait` say. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core_bed.h"

static int setup(void **state)
{
    struct bed *bed = bed_open_up(3);

    bed_heard(bed, 1);
    bed_heard(bed, 2);
    bed_acked(bed, 1);
    *state = bed;
    return 0;
}

static int teardown(void **state)
{
    bed_close(*state);
    return 0;
}

static char why[192];

static enum vip_state state_of(const struct bed *bed, int vip)
{
    enum vip_state state = core_vip_state(bed->core, vip, bed->now, why);

    assert_true((state == VIP_HELD || state == VIP_DISABLED) == (why[0] == 0)); /* a reason, if and only if one is due */
    return state;
}

static void test_a_vip_that_goes_its_way(void **state)
{
    struct bed *bed = *state;
    int vip = bed_vip(bed, 0);

    assert_int_equal(state_of(bed, vip), VIP_UNHELD);
    assert_non_null(strstr(why, "no node can hold it now"));
    bed_move(bed, vip, 1);
    bed_applied(bed);
    assert_int_equal(state_of(bed, vip), VIP_MOVING);
    assert_string_equal(why, "b is taking it");
    bed_heard(bed, 1);
    assert_int_equal(state_of(bed, vip), VIP_HELD);
    struct heartbeat beat = bed_beat(bed, 1);
    beat.gen--; /* of before its last fence: what it held then says nothing */
    bed_hear(bed, &beat);
    assert_int_equal(state_of(bed, vip), VIP_MOVING);
    bed_heard(bed, 1);
    bed_move(bed, vip, 0);
    bed_applied(bed);
    assert_int_equal(state_of(bed, vip), VIP_MOVING);
    assert_string_equal(why, "waits until b has certainly released it");
    bed_heard(bed, 1);
    assert_int_equal(state_of(bed, vip), VIP_MOVING);
    assert_string_equal(why, "a is taking it");
    bed_kernel(bed, vip, true);
    bed_rest(bed);
    assert_int_equal(state_of(bed, vip), VIP_HELD);
    bed_at(bed, 600); /* the lease is over */
    assert_int_equal(state_of(bed, vip), VIP_UNHELD);
    assert_non_null(strstr(why, "no quorum"));
}

static void test_why_it_is_unheld(void **state)
{
    struct bed *bed = *state;
    int vip = bed_vip(bed, 0);

    bed_move(bed, vip, 1);
    bed_applied(bed);
    bed_links(bed, 1, false);
    bed_applied(bed);
    assert_int_equal(state_of(bed, vip), VIP_UNHELD);
    assert_string_equal(why, "its owner b has no interface that is up for it");
    bed_links(bed, 1, true);
    bed_applied(bed);
    bed_heard(bed, 1);
    assert_int_equal(state_of(bed, vip), VIP_HELD);
    bed->table->vips[vip].conflict = (struct conflict){.kind = CONFLICT_TAKEN, .mac = {2, 4, 6, 8, 10, 12}};
    assert_int_equal(state_of(bed, vip), VIP_UNHELD);
    assert_string_equal(why, "another host, 02:04:06:08:0a:0c, has it: b does not take it");
    bed->table->vips[vip].conflict.kind = CONFLICT_YIELDED;
    assert_int_equal(state_of(bed, vip), VIP_UNHELD);
    assert_string_equal(why, "another host, 02:04:06:08:0a:0c, announces it: b gave it up");
    bed->table->vips[vip].conflict.kind = CONFLICT_DEFENDED;
    assert_int_equal(state_of(bed, vip), VIP_HELD);
    bed->table->vips[vip].conflict.kind = CONFLICT_NONE;
    bed_at(bed, 401);
    assert_int_equal(state_of(bed, vip), VIP_UNHELD);
    assert_string_equal(why, "its owner b is not heard");
    bed_fence(bed, 1);
    bed_applied(bed);
    assert_int_equal(state_of(bed, vip), VIP_UNHELD);
    assert_string_equal(why, "its owner b is fenced and no other node can hold it");
    bed->table->vips[vip].owner = SLOT_NONE;
    bed->table->vips[vip].enabled = false;
    assert_int_equal(state_of(bed, vip), VIP_DISABLED);
}

static void test_a_clock_that_cannot_keep_a_lease(void **state)
{
    struct bed *bed = *state;
    int vip = bed_vip(bed, 0);

    bed_move(bed, vip, 0);
    bed_applied(bed);
    bed_kernel(bed, vip, true);
    bed_rest(bed);
    assert_int_equal(state_of(bed, vip), VIP_HELD);
    bed->slew.slow_ppm = SLEW_MAX_PPM + 1;
    bed_at(bed, 10);
    assert_int_equal(state_of(bed, vip), VIP_UNHELD);
    assert_string_equal(why, "the clock of its owner a is slewed by more than a lease can bear");
}

static void test_the_longest_names_fit(void **state)
{
    struct bed *bed = *state;
    int vip = bed_vip(bed, 0);

    memset(bed->table->nodes[1].name, 'n', NAME_MAX_LEN);
    memset(bed->table->vips[vip].name, 'v', NAME_MAX_LEN);
    (void)state_of(bed, vip);
    bed_move(bed, vip, 1);
    bed_applied(bed);
    for (int k = 0; k < CONFLICT_KINDS_N; k++) {
        bed->table->vips[vip].conflict.kind = (enum conflict_kind)k;
        (void)state_of(bed, vip);
        assert_true(strlen(why) < sizeof why - 1);
    }
}

static void test_nodes(void **state)
{
    struct bed *bed = *state;
    int vip = bed_vip(bed, 0);

    bed_move(bed, vip, 1);
    bed_applied(bed);
    bed_heard(bed, 1);
    assert_int_equal(core_node_state(bed->core, 1, bed->now), NODE_STATE_UP);
    bed_drain(bed, 1, true);
    assert_int_equal(core_node_state(bed->core, 1, bed->now), NODE_STATE_DRAINING);
    bed_move(bed, vip, 2);
    bed_applied(bed);
    assert_int_equal(core_node_state(bed->core, 1, bed->now), NODE_STATE_DRAINING); /* it has not released it yet */
    bed_heard(bed, 1);
    assert_int_equal(core_node_state(bed->core, 1, bed->now), NODE_STATE_DRAINED);
    bed_at(bed, 401);
    assert_int_equal(core_node_state(bed->core, 1, bed->now), NODE_STATE_DOWN);
    assert_int_equal(core_node_state(bed->core, 0, bed->now), NODE_STATE_UP); /* never silent to itself */
    bed_fence(bed, 1);
    assert_int_equal(core_node_state(bed->core, 1, bed->now), NODE_STATE_FENCED);
    bed_node(bed, COMMAND_CLEAR, 1);
    assert_int_equal(core_node_state(bed->core, 1, bed->now), NODE_STATE_DOWN);
    bed->table->nodes[2].leaving = true;
    bed_heard(bed, 2);
    assert_int_equal(core_node_state(bed->core, 2, bed->now), NODE_STATE_DRAINING);
}

static void test_what_is_left_of_a_lease(void **state)
{
    struct bed *bed = *state;

    assert_int_equal(core_node_lease_ms(bed->core, 1, bed->now), 400);
    assert_int_equal(core_node_lease_ms(bed->core, 0, bed->now), 499);
    bed_at(bed, 150);
    assert_int_equal(core_node_lease_ms(bed->core, 1, bed->now), 250);
    bed_at(bed, 400);
    assert_int_equal(core_node_lease_ms(bed->core, 1, bed->now), 0);
    bed_at(bed, 600);
    assert_int_equal(core_node_lease_ms(bed->core, 0, bed->now), 0);
    assert_int_equal(core_node_lease_ms(bed->core, 1, bed->now), 0);
    struct heartbeat beat = bed_beat(bed, 1);
    beat.gen--; /* of before its fence */
    bed_hear(bed, &beat);
    assert_int_equal(core_node_lease_ms(bed->core, 1, bed->now), 0);
    assert_int_equal(core_node_lease_ms(bed->core, 5, bed->now), 0); /* nobody */
}

static void test_quorum_and_who_speaks(void **state)
{
    struct bed *bed = *state;

    assert_true(core_has_quorum(bed->core, bed->now));
    assert_false(core_speaks(bed->core, bed->now)); /* it follows */
    assert_int_equal(core_leader(bed->core), 0);
    bed_lead(bed);
    assert_true(core_speaks(bed->core, bed->now));
    assert_int_equal(core_leader(bed->core), 1);
    bed_at(bed, 300);
    bed_heard(bed, 1);
    bed_at(bed, 600);
    assert_true(core_has_quorum(bed->core, bed->now));  /* it hears b ... */
    assert_false(core_speaks(bed->core, bed->now));     /* ... but its lease is over: its word may be old */
    bed_at(bed, 1000);
    assert_false(core_has_quorum(bed->core, bed->now));
    struct bed *young = bed_open(3);
    assert_false(core_caught_up(young->core));
    bed_acked(young, 1);
    assert_false(core_has_quorum(young->core, young->now));
    bed_caught_up(young);
    assert_true(core_caught_up(young->core));
    bed_close(young);
}

static void test_what_wait_waits_for(void **state)
{
    struct bed *bed = *state;
    int vip = bed_vip(bed, 0), other = bed_vip(bed, 1);

    assert_false(core_settled(bed->core, vip, SLOT_NONE, bed->now)); /* it has no owner yet */
    bed_move(bed, vip, 1);
    bed_applied(bed);
    assert_false(core_settled(bed->core, vip, SLOT_NONE, bed->now));
    bed_heard(bed, 1);
    assert_true(core_settled(bed->core, vip, SLOT_NONE, bed->now));
    assert_false(core_settled(bed->core, SLOT_NONE, SLOT_NONE, bed->now)); /* the other one */
    bed_move(bed, other, 2);
    bed_applied(bed);
    bed_heard(bed, 1);
    bed_heard(bed, 2);
    assert_true(core_settled(bed->core, SLOT_NONE, SLOT_NONE, bed->now));
    bed->table->vips[vip].pinned = 2; /* it should be somewhere else */
    assert_false(core_settled(bed->core, vip, SLOT_NONE, bed->now));
    bed->table->nodes[2].draining = true; /* ... but cannot */
    assert_true(core_settled(bed->core, vip, SLOT_NONE, bed->now));
    bed->table->nodes[2].draining = false;
    bed->table->vips[vip].pinned = SLOT_NONE;
    bed->table->vips[vip].deleted = true; /* until it is purged */
    assert_false(core_settled(bed->core, vip, SLOT_NONE, bed->now));
}

static void test_what_a_drain_waits_for(void **state)
{
    struct bed *bed = *state;
    int vip = bed_vip(bed, 0);

    bed_move(bed, vip, 1);
    bed_applied(bed);
    bed_heard(bed, 1);
    assert_false(core_settled(bed->core, SLOT_NONE, 1, bed->now));
    assert_true(core_settled(bed->core, SLOT_NONE, 2, bed->now));
    bed_move(bed, vip, 2);
    bed_applied(bed);
    assert_false(core_settled(bed->core, SLOT_NONE, 1, bed->now)); /* not released */
    bed_heard(bed, 1);
    assert_false(core_settled(bed->core, SLOT_NONE, 1, bed->now)); /* not held by the next one */
    bed_heard(bed, 2);
    assert_true(core_settled(bed->core, SLOT_NONE, 1, bed->now));
    /* dead for certain it holds nothing, though nobody else can be the owner */
    bed_move(bed, vip, 1);
    bed_applied(bed);
    bed->table->nodes[1].status = NODE_FENCED;
    assert_false(core_settled(bed->core, SLOT_NONE, 1, bed->now));
    bed->table->nodes[1].status = NODE_CLEARED;
    assert_true(core_settled(bed->core, SLOT_NONE, 1, bed->now));
    bed_drain(bed, 0, true);
    assert_true(core_settled(bed->core, SLOT_NONE, 0, bed->now));
    bed_lead(bed);
    assert_false(core_settled(bed->core, SLOT_NONE, 0, bed->now)); /* the leadership is to go as well */
}

/* By which a restored backup is known: the last word of each node on its log, and of which run it was. */
static void test_what_was_heard_of_a_log(void **state)
{
    struct bed *bed = *state;
    struct heartbeat beat = bed_beat(bed, 1);
    uint64_t run = 0, term = 0, index = 0;

    beat.last_term = 4;
    beat.last_index = 100;
    bed_hear(bed, &beat);
    assert_true(core_heard_log(bed->core, 2, &run, &term, &index));
    assert_true(run == beat.run && term == 4 && index == 100);
    beat = bed_beat(bed, 1);
    beat.run++;
    beat.last_term = 5;
    beat.last_index = 90; /* it was cut, and has grown again */
    bed_hear(bed, &beat);
    assert_true(core_heard_log(bed->core, 2, &run, &term, &index));
    assert_true(run == beat.run && term == 5 && index == 90);
    run = 7;
    assert_false(core_heard_log(bed->core, 99, &run, &term, &index)); /* no member */
    assert_int_equal(run, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_vip_that_goes_its_way, setup, teardown),
        cmocka_unit_test_setup_teardown(test_why_it_is_unheld, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_clock_that_cannot_keep_a_lease, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_longest_names_fit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nodes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_left_of_a_lease, setup, teardown),
        cmocka_unit_test_setup_teardown(test_quorum_and_who_speaks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_wait_waits_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_a_drain_waits_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_heard_of_a_log, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
