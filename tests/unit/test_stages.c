/* What core/stages.c measures, on a cluster whose other nodes do at once whatever they ought to, or nothing. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api_cluster.h"

static struct cluster *cluster;

static int setup(void **state)
{
    cluster = cluster_open();
    return 0;
}

static int teardown(void **state)
{
    cluster_close(cluster);
    return 0;
}

static void add(const char *name, const char *address, int node)
{
    struct vip_spec spec = {.enabled = true, .pinned = SLOT_NONE, .no_probe = true, .nodes = 1ull << node};
    struct command command = {.type = COMMAND_VIP_ADD, .vip_add = {.n_vips = 1, .vips = &spec}};

    strcpy(spec.name, name);
    assert_int_equal(prefix_parse(address, &spec.address, NULL), 0);
    cluster_commit(cluster, &command);
    cluster_step(cluster, (struct event){.type = EV_APPLIED});
}

static void move(const char *name, int to)
{
    int vip = table_vip_by_name(cluster->table, name);
    struct move at = {.vip = (uint16_t)vip, .to = (int8_t)to, .reason = REASON_MANUAL, .moved = cluster->table->vips[vip].moved};
    struct command command = {.type = COMMAND_MOVE, .move = {.n_moves = 1, .moves = &at}};

    cluster->table->vips[vip].nodes = 0;
    cluster_commit(cluster, &command);
    cluster_step(cluster, (struct event){.type = EV_APPLIED});
}

/* Of the last event of that kind. */
static struct core_stages last(enum history_kind kind)
{
    struct core_stages stages = {0, 0};

    for (uint64_t number = cluster->table->n_history; number-- > 0;) {
        if (cluster->table->history[number % HISTORY_MAX].kind == kind) {
            core_stages(cluster->core, number, &stages);
            return stages;
        }
    }
    fail();
    return stages;
}

static void a_move_is_released_and_then_held(void **state)
{
    add("web", "10.0.0.50/24", 1);
    cluster_pass(cluster, 100);
    assert_int_equal(last(HISTORY_MOVE).first_ms, CORE_STAGE_UNKNOWN); /* from nobody */
    assert_in_range(last(HISTORY_MOVE).held_ms, 1, 100);
    move("web", 2);
    assert_int_equal(last(HISTORY_MOVE).first_ms, CORE_STAGE_UNKNOWN);
    assert_int_equal(last(HISTORY_MOVE).held_ms, CORE_STAGE_UNKNOWN);
    cluster->now += 70 * MS;
    cluster_pass(cluster, 50);
    assert_in_range(last(HISTORY_MOVE).first_ms, 70, 130);
    assert_in_range(last(HISTORY_MOVE).held_ms, 70, 130);
    struct core_stages before = last(HISTORY_MOVE);
    cluster_pass(cluster, 500);
    assert_int_equal(last(HISTORY_MOVE).held_ms, before.held_ms); /* measured once */
}

/* The new owner hears of the release, takes the VIP and says so, all before this node has heard of the release. */
static void what_is_held_was_released(void **state)
{
    add("web", "10.0.0.50/24", 1);
    cluster_pass(cluster, 100);
    move("web", 2);
    cluster->silent[1] = true;
    cluster_pass(cluster, 100);
    struct core_stages stages = last(HISTORY_MOVE);
    assert_in_range(stages.held_ms, 1, 100);
    assert_int_equal(stages.first_ms, stages.held_ms);
}

static void what_a_later_move_overtook_is_not_known(void **state)
{
    add("web", "10.0.0.50/24", 1);
    cluster_pass(cluster, 100);
    uint64_t number = cluster->table->n_history;
    move("web", 2);
    move("web", 0);
    cluster_pass(cluster, 500);
    struct core_stages stages;
    core_stages(cluster->core, number, &stages);
    assert_int_equal(stages.held_ms, CORE_STAGE_UNKNOWN);
    assert_true(last(HISTORY_MOVE).held_ms < 500);
}

static void from_the_last_word_to_the_admission(void **state)
{
    add("web", "10.0.0.50/24", 1);
    cluster_pass(cluster, 200);
    cluster->silent[1] = true;
    cluster_pass(cluster, 2500);
    assert_in_range(last(HISTORY_FENCE).first_ms, 400, 900); /* suspect, to twice that without others who miss it */
    cluster->silent[1] = false;
    cluster_pass(cluster, 1000);
    struct core_stages admit = last(HISTORY_ADMIT);
    assert_true(admit.first_ms != CORE_STAGE_UNKNOWN && admit.first_ms >= 1000);
    assert_int_equal(admit.held_ms, CORE_STAGE_UNKNOWN);
}

static void what_was_before_this_run_is_not_known(void **state)
{
    struct core_stages stages;

    core_stages(cluster->core, 0, &stages); /* the founding */
    assert_int_equal(stages.first_ms, CORE_STAGE_UNKNOWN);
    core_stages(cluster->core, cluster->table->n_history + 3, &stages);
    assert_int_equal(stages.held_ms, CORE_STAGE_UNKNOWN);
    struct core *core = calloc(1, core_size());
    struct actions *actions = calloc(1, sizeof *actions);
    add("web", "10.0.0.50/24", 1);
    cluster_pass(cluster, 100);
    core_init(core, 2, 9, cluster->table, cluster->now); /* b, which catches up */
    core_step(core, &(struct event){.type = EV_APPLIED, .now = cluster->now}, actions);
    core_step(core, &(struct event){.type = EV_DISK, .now = cluster->now, .disk = {.caught_up = true}}, actions);
    core_step(core, &(struct event){.type = EV_TIMER, .now = cluster->now + 100 * MS}, actions);
    core_stages(core, cluster->table->n_history - 1, &stages);
    assert_int_equal(stages.held_ms, CORE_STAGE_UNKNOWN);
    free(core);
    free(actions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_move_is_released_and_then_held, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_held_was_released, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_later_move_overtook_is_not_known, setup, teardown),
        cmocka_unit_test_setup_teardown(from_the_last_word_to_the_admission, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_before_this_run_is_not_known, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
