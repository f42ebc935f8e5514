/* core/election.c: who starts an election at once when a majority misses the leader. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core_bed.h"

/* a, b, c, d, e; e leads, and has been heard; a's own log ends at term 1. */
static int setup(void **state)
{
    struct bed *bed = bed_open_up(5);

    bed_heard(bed, 4);
    bed_role(bed, RAFT_ROLE_FOLLOWER, 2, 5);
    *state = bed;
    return 0;
}

static int teardown(void **state)
{
    bed_close(*state);
    return 0;
}

/* A heartbeat of `node` that misses e, with that log. */
static void misses(struct bed *bed, int node, uint64_t term, uint64_t index)
{
    struct heartbeat beat = bed_beat(bed, node);

    beat.missing = 1ull << 4;
    beat.last_term = term;
    beat.last_index = index;
    bed_hear(bed, &beat);
}

static uint64_t last(const struct bed *bed)
{
    return bed->core->agent.last_index;
}

/* e is silent for so long that a misses it. */
static void silence(struct bed *bed)
{
    bed_heard(bed, 1);
    bed_heard(bed, 2);
    bed_heard(bed, 3);
    bed_at(bed, 300);
    bed_heard(bed, 1);
    bed_heard(bed, 2);
    bed_heard(bed, 3);
    bed_at(bed, 401);
    assert_true(bed->core->agent.missing >> 4 & 1);
}

static void test_a_majority_is_needed(void **state)
{
    struct bed *bed = *state;

    silence(bed);
    assert_null(bed_find(bed, ACT_ELECT));
    misses(bed, 1, 1, last(bed));
    assert_null(bed_find(bed, ACT_ELECT)); /* two of five */
    misses(bed, 2, 1, last(bed));
    assert_int_equal(bed_find(bed, ACT_ELECT)->to, 5);
    bed_heard(bed, 3);
    assert_null(bed_find(bed, ACT_ELECT)); /* not again at once ... */
    bed_at(bed, 600);
    assert_null(bed_find(bed, ACT_ELECT));
    misses(bed, 1, 1, last(bed));
    misses(bed, 2, 1, last(bed));
    bed_at(bed, 601);
    assert_non_null(bed_find(bed, ACT_ELECT)); /* ... but half of `suspect` later */
}

static void test_who_still_hears_it_has_no_say(void **state)
{
    struct bed *bed = *state;

    silence(bed);
    bed_heard(bed, 1);
    bed_heard(bed, 2);
    bed_heard(bed, 3);
    assert_null(bed_find(bed, ACT_ELECT));
    misses(bed, 3, 1, last(bed));
    misses(bed, 2, 1, last(bed));
    assert_non_null(bed_find(bed, ACT_ELECT));
}

static void test_the_better_log_goes_first(void **state)
{
    struct bed *bed = *state;
    static const struct
    {
        uint64_t term;
        int64_t more;
        bool better;
    } CASES[] = {{1, 1, true}, {2, -5, true}, {1, 0, false}, {1, -1, false}, {0, 100, false}};

    silence(bed);
    misses(bed, 1, 1, last(bed));
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        bed->core->lead.elect_at = 0;
        misses(bed, 2, CASES[i].term, last(bed) + (uint64_t)CASES[i].more);
        assert_int_equal(bed_find(bed, ACT_ELECT) == NULL, CASES[i].better);
    }
}

/* Equal logs: the lowest id. a is the lowest of all; as c it gives way. */
static void test_ties(void **state)
{
    struct bed *bed = bed_open(5);
    (void)state;

    memset(bed->core, 0, core_size());
    core_init(bed->core, 3, BED_RUN, bed->table, bed->now);
    bed_caught_up(bed);
    bed_heard(bed, 4);
    bed_role(bed, RAFT_ROLE_FOLLOWER, 2, 5);
    bed_at(bed, 401);
    misses(bed, 3, 1, last(bed));
    assert_null(bed_find(bed, ACT_ELECT));
    misses(bed, 0, 1, last(bed));
    assert_null(bed_find(bed, ACT_ELECT));
    misses(bed, 0, 1, last(bed) - 1);
    assert_non_null(bed_find(bed, ACT_ELECT));
    bed_close(bed);
}

static void test_whose_word_is_old_does_not_count(void **state)
{
    struct bed *bed = *state;

    bed_heard(bed, 3);
    misses(bed, 1, 1, 1);
    misses(bed, 2, 1, 1); /* both are silent since */
    bed_at(bed, 300);
    bed_heard(bed, 3);
    bed_at(bed, 401);
    assert_null(bed_find(bed, ACT_ELECT));
    misses(bed, 3, 1, last(bed));
    assert_null(bed_find(bed, ACT_ELECT)); /* a and d: two of five */
}

static void test_those_who_may_not(void **state)
{
    struct bed *bed = *state;

    silence(bed);
    misses(bed, 1, 1, last(bed));
    bed->table->voters &= ~1ull;
    misses(bed, 2, 1, last(bed));
    assert_null(bed_find(bed, ACT_ELECT)); /* no voter */
    bed->table->voters |= 1;
    bed->core->caught_up = false;
    misses(bed, 2, 1, last(bed));
    assert_null(bed_find(bed, ACT_ELECT)); /* its table is not up to date */
    bed->core->caught_up = true;
    bed->core->lead.leader = 0;
    misses(bed, 2, 1, last(bed));
    assert_null(bed_find(bed, ACT_ELECT)); /* whom should it replace? */
    bed->core->lead.leader = 1;
    misses(bed, 2, 1, last(bed));
    assert_null(bed_find(bed, ACT_ELECT)); /* itself? */
    bed->core->lead.leader = 5;
    misses(bed, 2, 1, last(bed));
    assert_non_null(bed_find(bed, ACT_ELECT));
}

/* One that has just been elected may have to catch up before it says a word (simulator, seed 1083). */
static void test_a_new_leader_gets_time(void **state)
{
    struct bed *bed = *state;

    silence(bed);
    misses(bed, 1, 1, last(bed));
    bed_role(bed, RAFT_ROLE_FOLLOWER, 3, 5); /* the silent one is elected again */
    misses(bed, 2, 1, last(bed));
    assert_null(bed_find(bed, ACT_ELECT));
    bed_at(bed, 700);
    misses(bed, 1, 1, last(bed));
    misses(bed, 2, 1, last(bed));
    assert_null(bed_find(bed, ACT_ELECT));
    bed_at(bed, 801);
    assert_non_null(bed_find(bed, ACT_ELECT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_majority_is_needed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_still_hears_it_has_no_say, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_better_log_goes_first, setup, teardown),
        cmocka_unit_test(test_ties),
        cmocka_unit_test_setup_teardown(test_whose_word_is_old_does_not_count, setup, teardown),
        cmocka_unit_test_setup_teardown(test_those_who_may_not, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_new_leader_gets_time, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
