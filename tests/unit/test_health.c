/* Health checks in the core: damping, targets, the table's side of them, and what the planner makes of them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/damping.h"
#include "core/plan.h"
#include "core/target.h"
#include "core_bed.h"

static struct table table;
static struct plan_scratch scratch;
static struct move moves[VIPS_MAX];
static struct plan_input input;
static struct outcome outcome;

/* ------------------------------------------------------------------ damping */

static void feed(struct damping *damping, const char *results, int64_t now_ms)
{
    for (; *results != '\0'; results++) {
        (void)damping_result(damping, *results == '+', 3, 2, now_ms);
    }
}

static void fall_and_rise(void **state)
{
    struct damping damping = {0};

    feed(&damping, "+--", 0);
    assert_int_equal(damping.verdict, DAMPING_UNKNOWN);
    feed(&damping, "-", 0);
    assert_int_equal(damping.verdict, DAMPING_FAILS);
    feed(&damping, "+-+-+", 0);
    assert_int_equal(damping.verdict, DAMPING_FAILS);
    feed(&damping, "+", 0);
    assert_int_equal(damping.verdict, DAMPING_PASSES);
    feed(&damping, "--+--+--", 0);
    assert_int_equal(damping.verdict, DAMPING_PASSES);
    assert_true(damping_result(&damping, false, 3, 2, 0));
    assert_false(damping_result(&damping, false, 3, 2, 0)); /* no news */
}

/* Each failure within the window beyond the free ones doubles the time for which a pass does not count. */
static void flapping_is_held_down(void **state)
{
    struct damping damping = {0};
    int64_t now_ms = 1000, hold_ms = DAMPING_HOLD_MS;

    for (int i = 0; i < DAMPING_FREE; i++) {
        feed(&damping, "---", now_ms);
        assert_int_equal(damping_hold_ms(&damping), 0);
        feed(&damping, "++", now_ms);
        assert_int_equal(damping.verdict, DAMPING_PASSES);
    }
    for (int i = 0; i <= DAMPING_DOUBLINGS_MAX + 1; i++) {
        feed(&damping, "---", now_ms);
        assert_int_equal(damping_hold_ms(&damping), now_ms + hold_ms);
        feed(&damping, "++++++", now_ms + hold_ms - 1);
        assert_int_equal(damping.verdict, DAMPING_FAILS);
        feed(&damping, "+", now_ms + hold_ms);
        assert_int_equal(damping.verdict, DAMPING_PASSES);
        hold_ms *= i < DAMPING_DOUBLINGS_MAX ? 2 : 1;
        now_ms += 10; /* the window counts from failure to failure */
    }
    now_ms += DAMPING_WINDOW_MS + 1;
    feed(&damping, "---", now_ms);
    assert_int_equal(damping_hold_ms(&damping), 0);
}

static void many_results_do_not_overflow(void **state)
{
    struct damping damping = {0};

    for (int i = 0; i < 1000; i++) {
        (void)damping_result(&damping, true, 255, 255, i);
    }
    assert_int_equal(damping.verdict, DAMPING_PASSES);
}

/* ------------------------------------------------------------------ targets */

static void targets(void **state)
{
    static const struct
    {
        enum check_kind kind;
        const char *text, *shown, *rest; /* shown NULL: refused */
    } cases[] = {
        {CHECK_HTTP, "http://127.0.0.1:8404/healthz?a=b", "127.0.0.1:8404", "/healthz?a=b"},
        {CHECK_HTTP, "http://10.0.0.1", "10.0.0.1:80", ""},
        {CHECK_HTTP, "http://[::1]/", "[::1]:80", "/"},
        {CHECK_HTTP, "http://[2001:db8::1]:81", "[2001:db8::1]:81", ""},
        {CHECK_HTTP, "https://127.0.0.1/", NULL, NULL},
        {CHECK_HTTP, "http://localhost/", NULL, NULL},
        {CHECK_HTTP, "http://::1/", NULL, NULL},
        {CHECK_HTTP, "http://127.0.0.1:0/", NULL, NULL},
        {CHECK_HTTP, "http://127.0.0.1/a b", NULL, NULL},
        {CHECK_HTTP, "http://127.0.0.1/\r\nX: y", NULL, NULL},
        {CHECK_HTTP, "http:///", NULL, NULL},
        {CHECK_HTTP, "http://[", NULL, NULL},
        {CHECK_HTTP, "", NULL, NULL},
        {CHECK_TCP, "127.0.0.1:5432", "127.0.0.1:5432", "127.0.0.1:5432"},
        {CHECK_TCP, "127.0.0.1", NULL, NULL},
        {CHECK_EXEC, "pg-primary.sh", "none", "pg-primary.sh"},
        {CHECK_EXEC, ".hidden", NULL, NULL},
        {CHECK_EXEC, "../sh", NULL, NULL},
        {CHECK_EXEC, "a b", NULL, NULL},
        {CHECK_EXEC, "-x", NULL, NULL},
        {CHECK_EXEC, "", NULL, NULL},
        {CHECK_PROCESS, "haproxy", "none", "haproxy"},
        {CHECK_PROCESS, "sixteen-bytes-16", NULL, NULL},
        {CHECK_PROCESS, "a/b", NULL, NULL},
        {CHECK_FILE, "/run/ok", "none", "/run/ok"},
        {CHECK_FILE, "run/ok", NULL, NULL},
        {CHECK_FILE, "/run/\x1b[2J", NULL, NULL},
        {CHECK_PING, "gateway", "none", "gateway"},
        {CHECK_PING, "10.0.0.1", "10.0.0.1", "10.0.0.1"},
        {CHECK_PING, "router", NULL, NULL},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct target target;
        char text[ENDPOINT_TEXT_MAX];
        const char *wrong = target_parse(cases[i].kind, cases[i].text, &target);

        if (cases[i].shown == NULL) {
            assert_non_null(wrong);
            continue;
        }
        assert_null(wrong);
        if (target.at.port != 0) {
            endpoint_format(&target.at, text);
        } else {
            addr_format(&target.at.addr, text);
        }
        assert_string_equal(text, cases[i].shown);
        assert_string_equal(target.text, cases[i].rest);
    }
}

/* ------------------------------------------------------------------ a cluster */

static void apply(const struct command *command)
{
    table_apply(&table, table.applied + 1, command, &outcome);
}

static struct check_spec spec_of(const char *name)
{
    struct check_spec spec = {
        .kind = CHECK_FILE, .target = "/run/ok", .every_ms = 1000, .timeout_ms = 500, .fall = 3, .rise = 2};

    snprintf(spec.name, sizeof spec.name, "%s", name);
    return spec;
}

static int set(const struct check_spec *spec)
{
    struct command command = {.type = COMMAND_CHECK_SET, .at_ms = 1};
    int slot = table_check_by_name(&table, spec->name);

    command.check.spec = *spec;
    command.check.changed = slot == SLOT_NONE ? 0 : table.checks[slot].changed;
    apply(&command);
    return table_check_by_name(&table, spec->name);
}

static int check(const char *name)
{
    struct check_spec spec = spec_of(name);

    return set(&spec);
}

static void say(int node, uint64_t passing, uint64_t failing)
{
    struct command command = {.type = COMMAND_HEALTH};

    command.health.node = (int8_t)node;
    command.health.id = table.nodes[node].id;
    command.health.checks = table.checks_index;
    command.health.passing = passing;
    command.health.failing = failing;
    apply(&command);
}

/* Three admitted nodes with a link. */
static int cluster(void **state)
{
    table_init(&table);
    table.cluster_id = table.applied = 1;
    for (int i = 0; i < 3; i++) {
        struct node *node = &table.nodes[i];

        *node = (struct node){.used = true, .id = (uint64_t)i + 1, .name = {(char)('a' + i)}, .status = NODE_ADMITTED,
                              .gen = 1, .n_links = 1};
        strcpy(node->links[0].name, "eth0");
        node->links[0].up = true;
        node->links[0].n_prefixes = 1;
        assert_int_equal(prefix_parse("10.0.0.1/8", &node->links[0].prefixes[0], NULL), 0);
    }
    input = (struct plan_input){.table = &table, .usable = 7};
    return 0;
}

static int vip(int owner, uint64_t checks)
{
    int slot = table.vips_end++;
    struct vip *at = &table.vips[slot];

    table.n_vips++;
    *at = (struct vip){.used = true, .enabled = true, .group = SLOT_NONE, .pinned = SLOT_NONE, .prev = SLOT_NONE,
                       .owner = (int8_t)owner, .checks = checks, .moved = 1};
    at->address.addr = (struct addr){.family = 4, .bytes = {10, 0, 0, (uint8_t)(slot + 1)}};
    snprintf(at->name, sizeof at->name, "v%d", slot);
    table_index(&table);
    return slot;
}

static uint32_t plan(void)
{
    return plan_moves(&input, &scratch, moves, VIPS_MAX);
}

static void assert_only_move(int slot, int to, enum reason reason)
{
    assert_int_equal(plan(), 1);
    assert_int_equal(moves[0].vip, slot);
    assert_int_equal(moves[0].to, to);
    assert_int_equal(moves[0].reason, reason);
}

/* ------------------------------------------------------------------ the table */

static void a_changed_check_is_known_nowhere(void **state)
{
    struct check_spec spec = spec_of("web");
    int slot = check("web");
    uint64_t changed = table.checks[slot].changed;

    assert_int_equal(outcome.code, OUTCOME_DONE);
    say(0, 1, 0);
    say(1, 0, 1);
    assert_true(table.checks[slot].passing == 1 && table.checks[slot].failing == 2);
    assert_int_equal(set(&spec), slot); /* the same again changes nothing */
    assert_true(table.checks[slot].changed == changed && table.checks[slot].passing == 1);
    spec.timeout_ms = 400;
    assert_int_equal(set(&spec), slot);
    assert_true(table.checks[slot].changed > changed && table.checks[slot].passing == 0 && table.checks[slot].failing == 0);
    say(0, 1, 0);
    strcpy(spec.target, "/run/other");
    assert_int_equal(set(&spec), slot);
    assert_int_equal(table.checks[slot].passing, 0);
    say(0, 1, 0);
    spec.kind = CHECK_PROCESS;
    strcpy(spec.target, "nginx");
    assert_int_equal(set(&spec), slot);
    assert_int_equal(table.checks[slot].passing, 0);
}

/* What is made of it changes nothing of what was seen. */
static void what_runs_the_same_stays_known(void **state)
{
    struct check_spec spec = spec_of("web");
    int slot = check("web");

    say(0, 1, 0);
    say(1, 0, 1);
    for (int i = 0; i < 6; i++) {
        uint64_t changed = table.checks[slot].changed;

        spec.fall = i == 0 ? 5 : spec.fall;
        spec.rise = i == 1 ? 6 : spec.rise;
        spec.weight = i == 2 ? 10 : spec.weight;
        spec.release = i == 3 ? true : spec.release;
        spec.every_ms = i == 4 ? 2000 : spec.every_ms;
        spec.node = i == 5 ? true : spec.node;
        assert_int_equal(set(&spec), slot);
        assert_true(table.checks[slot].changed > changed);
        assert_true(table.checks[slot].passing == 1 && table.checks[slot].failing == 2);
        assert_true(check_spec_equal(&table.checks[slot].spec, &spec));
    }
}

/* The node's own side: it goes on with the verdict that it has, and forgets it with what is run. */
static void a_node_keeps_its_verdict(void **state)
{
    struct bed *bed = bed_open_up(3);
    struct command command = {.type = COMMAND_CHECK_SET, .check.spec = spec_of("web")};
    const struct check *web = &bed->table->checks[0];

    command.check.spec.node = true;
    command.check.spec.rise = 1;
    bed_commit(bed, &command);
    bed_applied(bed);
    bed_step(bed, (struct event){.type = EV_HEALTH, .health = {.check = 0, .passed = true, .changed = web->changed}});
    assert_int_equal(core_own_check(bed->core, 0), DAMPING_PASSES);
    command.check.spec.weight = 10;
    command.check.changed = web->changed;
    bed_commit(bed, &command);
    bed_applied(bed);
    assert_int_equal(core_own_check(bed->core, 0), DAMPING_PASSES);
    assert_int_equal(bed->core->health.passing, 1);
    command.check.spec.timeout_ms = 400;
    command.check.changed = web->changed;
    bed_commit(bed, &command);
    bed_applied(bed);
    assert_int_equal(core_own_check(bed->core, 0), DAMPING_UNKNOWN);
    assert_int_equal(bed->core->health.passing, 0);
    bed_close(bed);
}

static void stale_words_change_nothing(void **state)
{
    struct check_spec spec = spec_of("web");
    struct command command = {.type = COMMAND_HEALTH, .health = {.node = 0, .id = 1, .passing = 1}};

    (void)check("web");
    command.health.checks = table.checks_index - 1;
    apply(&command);
    assert_int_equal(outcome.code, OUTCOME_STALE);
    assert_true(table.checks[0].passing == 0);
    command.health.checks = table.checks_index;
    command.health.id = 9;
    apply(&command);
    assert_int_equal(outcome.code, OUTCOME_STALE);
    command = (struct command){.type = COMMAND_CHECK_SET, .check = {.changed = 0, .spec = spec}};
    apply(&command); /* decided when there was none */
    assert_int_equal(outcome.code, OUTCOME_STALE);
    command.type = COMMAND_CHECK_DELETE;
    apply(&command);
    assert_int_equal(outcome.code, OUTCOME_STALE);
    say(0, 1, 1); /* both at once is neither */
    assert_true(table.checks[0].passing == 0 && table.checks[0].failing == 0);
}

static void what_is_required_is_not_deleted(void **state)
{
    struct command command = {.type = COMMAND_CHECK_DELETE};
    int slot = check("web"), user = vip(0, 1);

    command.check.spec = table.checks[slot].spec;
    command.check.changed = table.checks[slot].changed;
    apply(&command);
    assert_int_equal(outcome.code, OUTCOME_CONFLICT);
    assert_non_null(strstr(outcome.detail, "v0"));
    table.vips[user].checks = 0;
    apply(&command);
    assert_int_equal(outcome.code, OUTCOME_DONE);
    assert_int_equal(table_check_by_name(&table, "web"), SLOT_NONE);
}

static void bad_checks(void **state)
{
    struct check_spec spec = spec_of("web");

    spec.every_ms = 99;
    (void)set(&spec);
    assert_int_equal(outcome.code, OUTCOME_INVALID);
    spec = spec_of("web");
    spec.timeout_ms = 1001;
    (void)set(&spec);
    assert_int_equal(outcome.code, OUTCOME_INVALID);
    spec = spec_of("web");
    spec.rise = 0;
    (void)set(&spec);
    assert_int_equal(outcome.code, OUTCOME_INVALID);
    spec = spec_of("we b");
    (void)set(&spec);
    assert_int_equal(outcome.code, OUTCOME_INVALID);
    spec = spec_of("web");
    spec.kind = CHECK_TCP;
    (void)set(&spec);
    assert_int_equal(outcome.code, OUTCOME_INVALID);
    for (int i = 0; i <= CHECKS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "c%d", i);
        (void)check(name);
    }
    assert_int_equal(outcome.code, OUTCOME_LIMIT);
}

/* History has the failures and their ends, and not the first passes. */
static void history_tells(void **state)
{
    (void)check("web");
    uint64_t before = table.n_history;
    say(0, 1, 0);
    assert_true(table.n_history == before);
    say(0, 0, 1);
    assert_int_equal(table.history[before].kind, HISTORY_CHECK_FAILS);
    assert_string_equal(table.history[before].subject, "web");
    assert_int_equal(table.history[before].to, 0);
    say(0, 1, 0);
    assert_int_equal(table.history[before + 1].kind, HISTORY_CHECK_PASSES);
}

/* ------------------------------------------------------------------ placement */

static void unknown_is_no_pass_and_no_failure(void **state)
{
    (void)check("web");
    int held = vip(0, 1), fresh = vip(SLOT_NONE, 1);

    assert_int_equal(plan(), 0); /* the one stays, the other has nowhere to go */
    say(1, 1, 0);
    assert_only_move(fresh, 1, REASON_NEW);
    say(0, 0, 1);
    table.vips[fresh].owner = 1;
    assert_only_move(held, 1, REASON_HEALTH);
}

static void a_failing_check_moves_what_requires_it(void **state)
{
    struct plan_candidate candidates[NODES_MAX];
    (void)check("web");
    int plain = vip(0, 0), web = vip(0, 1);
    (void)vip(1, 0);
    (void)vip(2, 0);
    (void)vip(1, 0);

    say(1, 1, 0);
    say(2, 1, 0);
    say(0, 0, 1);
    assert_only_move(web, 2, REASON_HEALTH);
    assert_int_equal(table.vips[plain].owner, 0);
    assert_int_equal(plan_explain(&input, &scratch, web, candidates), 3);
    assert_int_equal(candidates[0].step, PLAN_CHECK_FAILS);
    assert_int_equal(candidates[2].step, PLAN_CHOSEN);
    assert_false(table_may_own(&table, 0, &table.vips[web]));
    assert_true(table_may_own(&table, 0, &table.vips[plain]));
}

static void when_all_fail_it_stays(void **state)
{
    struct plan_candidate candidates[NODES_MAX];
    (void)check("web");
    int web = vip(1, 1);

    for (int i = 0; i < 3; i++) {
        say(i, 0, 1);
    }
    assert_int_equal(plan(), 0);
    assert_int_equal(plan_explain(&input, &scratch, web, candidates), 3);
    assert_int_equal(candidates[1].step, PLAN_ALL_FAILED);
    say(0, 0, 0); /* one that is not known is no place to go */
    assert_int_equal(plan(), 0);
    (void)plan_explain(&input, &scratch, web, candidates);
    assert_int_equal(candidates[0].step, PLAN_CHECK_UNKNOWN);
    say(0, 1, 0);
    assert_only_move(web, 0, REASON_HEALTH);
}

static void or_is_released(void **state)
{
    struct check_spec spec = spec_of("web");
    spec.release = true;
    (void)set(&spec);
    int web = vip(1, 1);
    (void)vip(1, 0);

    for (int i = 0; i < 3; i++) {
        say(i, 0, 1);
    }
    assert_only_move(web, SLOT_NONE, REASON_HEALTH);
    table.vips[web].owner = SLOT_NONE;
    assert_int_equal(plan(), 0);
    say(2, 1, 0);
    assert_only_move(web, 2, REASON_NEW);
}

static void a_weight_lowers_the_preference_only(void **state)
{
    struct check_spec spec = spec_of("disk");
    struct plan_candidate candidates[NODES_MAX];
    spec.weight = 50;
    (void)set(&spec);
    int held = vip(0, 1), fresh = vip(SLOT_NONE, 1);

    (void)vip(1, 0);
    (void)vip(2, 0);
    table.vips[fresh].prefers[0] = (struct prefer){.node = 0, .weight = 40};
    table.vips[fresh].n_prefers = 1;
    say(0, 0, 1);
    (void)plan_explain(&input, &scratch, fresh, candidates);
    assert_int_equal(candidates[0].weight, -10);
    assert_only_move(fresh, 1, REASON_NEW); /* 40 less 50 is less than nothing */
    assert_int_equal(table.vips[held].owner, 0);
    say(0, 1, 0);
    assert_only_move(fresh, 0, REASON_NEW);
}

/* ... and nothing is evened out to a node that is less preferred for that. */
static void evening_out_heeds_weights(void **state)
{
    struct check_spec spec = spec_of("disk");
    spec.weight = 50;
    spec.node = true;
    (void)set(&spec);
    for (int i = 0; i < 6; i++) {
        (void)vip(i % 2, 0);
    }
    say(2, 0, 1);
    assert_int_equal(plan(), 0);
    say(2, 1, 0);
    assert_int_equal(plan(), 2);
}

static void a_check_of_the_node_is_every_vips(void **state)
{
    struct check_spec spec = spec_of("router");
    spec.node = true;
    (void)set(&spec);
    (void)vip(0, 0);
    (void)vip(1, 0);
    say(0, 0, 1);
    say(1, 1, 0);
    assert_only_move(0, 1, REASON_HEALTH);
}

/* A group is asked as one: what one member requires all of them follow. */
static void a_group_goes_together(void **state)
{
    (void)check("web");
    int v4 = vip(0, 1), v6 = vip(0, 0);

    strcpy(table.groups[0].name, "web");
    table.vips[v4].group = table.vips[v6].group = 0;
    say(0, 0, 1);
    say(1, 1, 0);
    assert_int_equal(plan(), 2);
    assert_true(moves[0].to == 1 && moves[1].to == 1);
    assert_true(moves[0].reason == REASON_HEALTH && moves[1].reason == REASON_HEALTH);
    table.vips[v4].checks = 0;
    table.groups[0].checks = 1; /* the group's own */
    assert_int_equal(plan(), 2);
    say(1, 0, 1);
    assert_int_equal(plan(), 0); /* nowhere to go: all of it stays */
}

/* It ends a pin, too: the VIP is not drawn back when the check passes again. */
static void a_pin_ends_where_the_check_fails(void **state)
{
    struct command command = {.type = COMMAND_MOVE};
    (void)check("web");
    int web = vip(0, 1);

    table.vips[web].pinned = 0;
    say(0, 0, 1);
    say(1, 1, 0);
    assert_int_equal(plan(), 1);
    command.move.moves = moves;
    command.move.n_moves = 1;
    apply(&command);
    assert_true(table.vips[web].owner == 1 && table.vips[web].pinned == SLOT_NONE);
    say(0, 1, 0);
    assert_int_equal(plan(), 0);
}

#define T(name) cmocka_unit_test_setup(name, cluster)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(fall_and_rise), T(flapping_is_held_down), T(many_results_do_not_overflow), T(targets),
        T(a_changed_check_is_known_nowhere), T(what_runs_the_same_stays_known), T(a_node_keeps_its_verdict), T(stale_words_change_nothing), T(what_is_required_is_not_deleted),
        T(bad_checks), T(history_tells), T(unknown_is_no_pass_and_no_failure),
        T(a_failing_check_moves_what_requires_it), T(when_all_fail_it_stays), T(or_is_released),
        T(a_weight_lowers_the_preference_only), T(evening_out_heeds_weights), T(a_check_of_the_node_is_every_vips),
        T(a_group_goes_together), T(a_pin_ends_where_the_check_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
