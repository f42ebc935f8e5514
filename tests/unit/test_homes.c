/* core/homes.c: after a start of the whole cluster, VIPs go back where they were. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core_bed.h"

/* Nodes b and c are heard; c had two VIPs and b one. */
static int setup(void **state)
{
    struct bed *bed = bed_open_up(3);

    for (int i = 0; i < 3; i++) {
        bed_move(bed, bed_vip(bed, i), i == 0 ? 1 : 2);
    }
    bed_applied(bed);
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

static void taken(struct bed *bed, int vip, int to, enum reason reason)
{
    struct move move = {.vip = (uint16_t)vip, .to = (int8_t)to, .reason = reason, .moved = bed->table->vips[vip].moved};
    struct command command = {.type = COMMAND_MOVE, .move = {.n_moves = 1, .moves = &move}};

    bed_commit(bed, &command);
    bed->table->vips[vip].pinned = SLOT_NONE;
}

static void unheard(struct bed *bed, uint64_t nodes)
{
    for (int i = 0; i < 3; i++) {
        bed->core->hearing[i].heard = in_set(nodes, i) ? 0 : bed->core->hearing[i].heard;
    }
}

/* As long as b and c are not there. */
static void begin(struct bed *bed)
{
    unheard(bed, 6);
    for (int i = 0; i < bed->table->vips_end; i++) {
        bed->table->vips[i].pinned = SLOT_NONE; /* by bed_move() */
    }
    homes_begin(bed->core, bed->now);
}

static void look(struct bed *bed, uint64_t usable)
{
    for (int i = 0; i < 3; i++) {
        bed->core->lead.usable_since[i] = in_set(usable & ~bed->core->lead.usable, i) ? bed->now : bed->core->lead.usable_since[i];
    }
    bed->core->lead.usable = usable;
    bed->now += 1000 * MS;
    homes_step(bed->core, bed->now);
}

static void test_what_was_there_goes_back(void **state)
{
    struct bed *bed = *state;

    assert_null(core_homes(bed->core));
    begin(bed);
    assert_int_equal(bed->core->lead.awaited, 6);
    assert_true(core_homes(bed->core)[0] == 1 && core_homes(bed->core)[1] == 2 && core_homes(bed->core)[3] == SLOT_NONE);
    taken(bed, 1, 0, REASON_CRASH);
    taken(bed, 2, 1, REASON_CRASH);
    taken(bed, 2, 0, REASON_REBALANCE);
    look(bed, 3);
    look(bed, 3);
    assert_true(core_homes(bed->core)[1] == 2 && core_homes(bed->core)[2] == 2);
    for (int i = 0; i < 11; i++) {
        look(bed, 7);
    }
    assert_int_equal(bed->core->lead.awaited, 4); /* b has what it had; c is there, but has not */
    assert_int_equal(core_homes(bed->core)[0], SLOT_NONE);
    taken(bed, 1, 2, REASON_RETURN);
    taken(bed, 2, 2, REASON_RETURN);
    look(bed, 7);
    assert_null(core_homes(bed->core)); /* what happens to c now is another story */
}

static void test_what_was_given_elsewhere_on_purpose_stays(void **state)
{
    struct bed *bed = *state;

    begin(bed);
    taken(bed, 1, 0, REASON_DRAIN);
    taken(bed, 2, 0, REASON_CRASH);
    bed->table->vips[2].pinned = 0;
    taken(bed, 0, 0, REASON_HEALTH);
    look(bed, 1);
    assert_true(core_homes(bed->core)[0] == 1);
    assert_true(core_homes(bed->core)[1] == SLOT_NONE && core_homes(bed->core)[2] == SLOT_NONE);
}

static void test_not_for_ever(void **state)
{
    struct bed *bed = *state;

    begin(bed);
    taken(bed, 1, 0, REASON_CRASH);
    bed->now += 590 * 1000 * MS;
    look(bed, 3);
    assert_non_null(core_homes(bed->core));
    bed->now += 20 * 1000 * MS;
    look(bed, 3);
    assert_null(core_homes(bed->core));
    begin(bed); /* once in a run */
    assert_null(core_homes(bed->core));
}

/* One node that comes back and leads is no start of the whole cluster, nor is an election later. */
static void test_others_that_run_for_long(void **state)
{
    struct bed *bed = *state;

    bed->seq[2] = 100000;
    bed_heard(bed, 2);
    unheard(bed, 2);
    homes_begin(bed->core, bed->now);
    assert_null(core_homes(bed->core));
    bed->core->hearing[2].last.seq = 9;
    bed->now += 61 * 1000 * MS;
    begin(bed);
    assert_null(core_homes(bed->core));
}

/* A node that was there and is not any more is no late one, however young the cluster is. */
static void test_a_young_cluster_is_not_one_that_starts(void **state)
{
    struct bed *bed = *state;

    unheard(bed, 2);
    homes_begin(bed->core, bed->now);
    assert_int_equal(bed->core->lead.awaited, 2);
    assert_true(core_homes(bed->core)[0] == 1 && core_homes(bed->core)[1] == SLOT_NONE);
}

/* Through the leader: it begins by itself, and its plan moves what c had back to it. */
static void test_the_leader_does_it(void **state)
{
    struct bed *bed = *state;

    unheard(bed, 4);
    bed_lead(bed);
    assert_int_equal(bed->core->lead.awaited, 4);
    for (int i = 0; i < 3; i++) {
        bed->table->vips[i].pinned = SLOT_NONE;
    }
    taken(bed, 1, 0, REASON_CRASH);
    bed->core->lead.plan_dirty = true;
    bed->core->lead.calm_at = NEVER;
    bed->proposals = 0;
    for (int i = 0; i < 5 && bed->proposals == 0; i++) {
        bed->now += 100 * MS;
        bed_heard(bed, 1);
        bed_heard(bed, 2);
        bed_acked(bed, 1);
        bed_acked(bed, 2);
    }
    assert_int_equal(bed->command.type, COMMAND_MOVE);
    assert_int_equal(bed->command.move.n_moves, 1);
    assert_true(bed->core->lead.moves[0].vip == 1 && bed->core->lead.moves[0].to == 2);
    assert_int_equal(bed->core->lead.moves[0].reason, REASON_RETURN);
}

/* What is evened out away from its home stays there, and nothing else is forgotten. */
static void test_evened_out_once(void **state)
{
    struct bed *bed = *state;

    begin(bed);
    taken(bed, 2, 1, REASON_CRASH);
    look(bed, 3);
    for (int i = 0; i < 3; i++) {
        bed->core->lead.moves[i] = (struct move){.vip = (uint16_t)i, .to = 0, .reason = REASON_REBALANCE};
    }
    bed->core->lead.moves[0].reason = REASON_HEALTH;
    homes_moves(bed->core, 3);
    assert_int_equal(core_homes(bed->core)[0], 1);
    assert_int_equal(core_homes(bed->core)[1], SLOT_NONE);
    assert_int_equal(core_homes(bed->core)[2], 2);
}

/* What others did meanwhile, with VIPs that may be new at the same slots, it does not know. */
static void test_not_by_a_later_leadership(void **state)
{
    struct bed *bed = *state;

    unheard(bed, 4);
    bed_lead(bed);
    assert_int_equal(bed->core->lead.awaited, 4);
    bed_role(bed, RAFT_ROLE_FOLLOWER, 3, 2);
    assert_null(core_homes(bed->core));
    bed_role(bed, RAFT_ROLE_LEADER, 4, 1);
    assert_null(core_homes(bed->core));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_what_was_there_goes_back), T(test_what_was_given_elsewhere_on_purpose_stays),
        T(test_not_for_ever),             T(test_others_that_run_for_long),
        T(test_the_leader_does_it),       T(test_evened_out_once),
        T(test_not_by_a_later_leadership), T(test_a_young_cluster_is_not_one_that_starts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
