/* daemon/api_maintenance.c, and with it core/maintenance.c: a rolling maintenance as a client and a runner ask for it, led by a
 * real core. The leader is a, which hands over to nobody here. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "api_cluster.h"

#define RUNNER 4242
#define SETTLE_MS 300
#define DRAIN_MS 2000
#define RETURN_MS 5000

struct bench
{
    struct cluster *cluster;
    struct value_arena arena;
    struct control_request request;
    struct control_reply reply;
    uint64_t next_id;
};

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);

    bench->cluster = cluster_open();
    value_arena_init(&bench->arena, CONTROL_REQUEST_ARENA_MAX);
    bench->next_id = 1;
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;

    cluster_close(bench->cluster);
    value_arena_close(&bench->arena);
    free(bench);
    return 0;
}

static struct maintenance *of(struct bench *bench)
{
    return &bench->cluster->table->maintenance;
}

static enum control_code serve(struct bench *bench, const char *op, struct value *args, bool force)
{
    bench->request = (struct control_request){ .id = bench->next_id++, .args = args, .force = force };
    strcpy(bench->request.op, op);
    cluster_serve(bench->cluster, &bench->request, &bench->arena, &bench->reply);
    assert_false(value_failed(&bench->arena));
    return bench->reply.code;
}

static struct value *list(struct bench *bench, const char *text)
{
    struct value *array = value_array(&bench->arena);
    char words[2048], *save = NULL;

    snprintf(words, sizeof words, "%s", text);
    for (char *word = strtok_r(words, ",", &save); word != NULL; word = strtok_r(NULL, ",", &save)) {
        value_push(&bench->arena, array, value_string(&bench->arena, word));
    }
    return array;
}

static struct value *beginning(struct bench *bench, const char *nodes)
{
    struct value_arena *arena = &bench->arena;
    struct value *args = value_map(arena);

    if (nodes != NULL) {
        value_put(arena, args, "nodes", list(bench, nodes));
    }
    value_put(arena, args, "command", list(bench, "ssh,{node},true"));
    value_put_uint(arena, args, "runner", RUNNER);
    value_put_uint(arena, args, "settle_ms", SETTLE_MS);
    value_put_uint(arena, args, "drain_ms", DRAIN_MS);
    value_put_uint(arena, args, "return_ms", RETURN_MS);
    return args;
}

static void begin(struct bench *bench, const char *nodes)
{
    assert_int_equal(serve(bench, "maintenance.begin", beginning(bench, nodes), false), CONTROL_DONE);
}

/* As the runner says it. */
static enum control_code say(struct bench *bench, const char *op, const char *node, int status)
{
    struct value *args = value_map(&bench->arena);

    value_put_uint(&bench->arena, args, "run", of(bench)->run);
    value_put_uint(&bench->arena, args, "runner", RUNNER);
    value_put_string(&bench->arena, args, "node", node);
    value_put_int(&bench->arena, args, "status", status);
    value_put_string(&bench->arena, args, "tail", "the end");
    value_put_string(&bench->arena, args, "why", status != 0 ? "the command ended badly" : "");
    return serve(bench, op, args, false);
}

static enum control_code ask(struct bench *bench, const char *op, const char *key, const char *text)
{
    struct value *args = value_map(&bench->arena);

    value_put_uint(&bench->arena, args, "runner", RUNNER + 1);
    if (key != NULL) {
        value_put_string(&bench->arena, args, key, text);
    }
    return serve(bench, op, args, false);
}

static const struct value *shown(struct bench *bench)
{
    assert_int_equal(ask(bench, "maintenance.show", NULL, NULL), CONTROL_DONE);
    return bench->reply.result;
}

static const char *text_of(const struct value *map, const char *key)
{
    return value_as_string(value_get(map, key), "");
}

static void expect(struct bench *bench, const char *state, const char *node, const char *step)
{
    const struct value *row = shown(bench);

    assert_string_equal(text_of(row, "state"), state);
    assert_string_equal(text_of(row, "node"), node);
    assert_string_equal(text_of(row, "step"), step);
}

static void pass(struct bench *bench, unsigned ms)
{
    cluster_pass(bench->cluster, ms);
}

static void add_vip(struct bench *bench, const char *address, const char *nodes)
{
    struct value_arena *arena = &bench->arena;
    struct value *args = value_map(arena), *vips = value_array(arena), *vip = value_map(arena);

    value_put_string(arena, vip, "address", address);
    if (nodes != NULL) {
        value_put(arena, vip, "nodes", list(bench, nodes));
    }
    value_push(arena, vips, vip);
    value_put(arena, args, "vips", vips);
    assert_int_equal(serve(bench, "vip.add", args, false), CONTROL_DONE);
    pass(bench, 300);
}

/* Through the turn of a node. */
static void take_turn(struct bench *bench, const char *node)
{
    pass(bench, 600);
    expect(bench, "running", node, "drained");
    assert_int_equal(say(bench, "maintenance.claim", node, 0), CONTROL_DONE);
    pass(bench, 200);
    expect(bench, "running", node, "running");
    assert_int_equal(say(bench, "maintenance.end", node, 0), CONTROL_DONE);
    expect(bench, "running", node, "returning");
}

static void test_a_run(void **state)
{
    struct bench *bench = *state;
    const struct table *table = bench->cluster->table;

    add_vip(bench, "10.0.0.50/24", NULL);
    add_vip(bench, "10.0.0.51/24", NULL);
    add_vip(bench, "10.0.0.52/24", NULL);
    begin(bench, "c,b");
    assert_string_equal(text_of(value_get(bench->reply.result, "maintenance"), "state"), "running");
    take_turn(bench, "c");
    assert_true(table->nodes[2].draining && !table->nodes[1].draining);
    for (int i = 0; i < table->vips_end; i++) {
        assert_int_not_equal(table->vips[i].owner, 2);
    }
    pass(bench, SETTLE_MS - 100);
    assert_true(table->nodes[2].draining); /* healthy, but not for long enough */
    pass(bench, 300);
    assert_false(table->nodes[2].draining);
    take_turn(bench, "b");
    pass(bench, 800);
    expect(bench, "done", "", "");
    assert_false(table->nodes[1].draining);
    assert_string_equal(of(bench)->who, "uid 0 on a");
    assert_int_equal(ask(bench, "status", NULL, NULL), CONTROL_DONE);
    assert_null(value_get(bench->reply.result, "maintenance"));
}

static void test_the_leader_is_last(void **state)
{
    struct bench *bench = *state;

    begin(bench, NULL);
    assert_string_equal(of(bench)->steps[0].name, "b");
    assert_string_equal(of(bench)->steps[2].name, "a");
    take_turn(bench, "b");
    struct maintenance_step first = of(bench)->steps[1]; /* and also when another one led as it began */
    of(bench)->steps[1] = of(bench)->steps[2];
    of(bench)->steps[2] = first;
    pass(bench, 1000);
    expect(bench, "running", "c", "drained");
}

static void test_words_of_status(void **state)
{
    struct bench *bench = *state;

    begin(bench, "b,c");
    pass(bench, 600);
    assert_int_equal(ask(bench, "status", NULL, NULL), CONTROL_DONE);
    const struct value *line = value_get(bench->reply.result, "maintenance");
    assert_string_equal(text_of(line, "node"), "b");
    assert_string_equal(text_of(line, "step"), "drained");
    assert_int_equal(value_as_uint(value_get(line, "n"), 0), 2);
    const struct value *row = shown(bench);
    assert_int_equal(value_get(row, "command")->n, 3);
    assert_string_equal(text_of(row, "address"), "10.0.0.2");
    assert_int_equal(serve(bench, "maintenance.plan", value_map(&bench->arena), false), CONTROL_CONFLICT);
    struct value *args = value_map(&bench->arena);
    value_put_string(&bench->arena, args, "node", "b");
    assert_int_equal(serve(bench, "undrain", args, false), CONTROL_UNSAFE);
    assert_int_equal(serve(bench, "undrain", args, true), CONTROL_DONE);
}

static void test_unsafe_beginnings(void **state)
{
    struct bench *bench = *state;

    bench->cluster->silent[2] = true;
    pass(bench, 3000);
    assert_int_equal(serve(bench, "maintenance.begin", beginning(bench, "b"), false), CONTROL_UNSAFE);
    assert_non_null(strstr(bench->reply.error, "without b no majority"));
    assert_int_equal(serve(bench, "maintenance.begin", beginning(bench, "c"), false), CONTROL_UNSAFE);
    assert_non_null(strstr(bench->reply.error, "node c is"));
    assert_int_equal(of(bench)->state, MAINTENANCE_NONE);
    struct value *args = value_map(&bench->arena);
    value_put(&bench->arena, args, "nodes", list(bench, "b"));
    assert_int_equal(serve(bench, "maintenance.plan", args, false), CONTROL_DONE);
    assert_non_null(strstr(text_of(bench->reply.result, "unsafe"), "without b no majority"));
    assert_int_equal(serve(bench, "maintenance.begin", beginning(bench, "b"), true), CONTROL_DONE);
    pass(bench, 600);
    expect(bench, "running", "b", "drained"); /* --force is for each turn */
}

static void test_nowhere_to_go(void **state)
{
    struct bench *bench = *state;

    add_vip(bench, "10.0.0.50/24", "b");
    assert_int_equal(serve(bench, "maintenance.begin", beginning(bench, "c,b"), false), CONTROL_UNSAFE);
    assert_non_null(strstr(bench->reply.error, "10.0.0.50"));
    assert_int_equal(serve(bench, "maintenance.begin", beginning(bench, "b"), true), CONTROL_DONE);
    pass(bench, DRAIN_MS - 300);
    expect(bench, "running", "b", "draining");
    pass(bench, 600);
    expect(bench, "running", "b", "drained"); /* forced: it stays behind, and the run goes on */
}

static void test_the_next_turn_is_unsafe(void **state)
{
    struct bench *bench = *state;

    begin(bench, "b,c");
    take_turn(bench, "b");
    add_vip(bench, "10.0.0.50/24", "c");
    pass(bench, 2000);
    expect(bench, "running", "", "");
    assert_false(bench->cluster->table->nodes[2].draining);
    assert_int_equal(say(bench, "maintenance.beat", "b", 0), CONTROL_DONE);
    pass(bench, 11000);
    expect(bench, "stopped", "", "");
    assert_non_null(strstr(of(bench)->why, "10.0.0.50"));
    struct value *args = value_map(&bench->arena);
    value_put(&bench->arena, args, "vips", list(bench, "10.0.0.50"));
    assert_int_equal(serve(bench, "vip.del", args, false), CONTROL_DONE);
    pass(bench, 300);
    assert_int_equal(ask(bench, "maintenance.resume", NULL, NULL), CONTROL_DONE);
    pass(bench, 600);
    expect(bench, "running", "c", "drained");
}

static void test_not_drained_in_time(void **state)
{
    struct bench *bench = *state;

    begin(bench, "a"); /* it cannot give up the leadership here */
    pass(bench, DRAIN_MS + 300);
    expect(bench, "stopped", "a", "failed");
    assert_non_null(strstr(of(bench)->why, "not drained in time"));
    assert_true(bench->cluster->table->nodes[0].draining);
    assert_int_equal(ask(bench, "maintenance.abort", NULL, NULL), CONTROL_DONE);
    assert_false(bench->cluster->table->nodes[0].draining);
}

static void report_link(struct bench *bench, int slot, bool up)
{
    const struct node *node = &bench->cluster->table->nodes[slot];
    struct command command = { .type = COMMAND_NODE_REPORT };

    command.report.node = (int8_t)slot;
    command.report.id = node->id;
    command.report.identity = node->identity;
    command.report.run = 5;
    command.report.n_links = node->n_links;
    memcpy(command.report.links, node->links, sizeof node->links);
    command.report.links[0].up = up;
    strcpy(command.report.version, "0.1.0");
    cluster_commit(bench->cluster, &command);
}

static void test_what_it_had_before(void **state)
{
    struct bench *bench = *state;

    add_vip(bench, "10.0.0.50/24", NULL);
    begin(bench, "b");
    take_turn(bench, "b");
    report_link(bench, 1, false);
    pass(bench, 1000);
    expect(bench, "running", "b", "returning");
    assert_string_equal(text_of(shown(bench), "waits"), "interface eth0 is down there");
    report_link(bench, 1, true);
    pass(bench, 200);
    expect(bench, "running", "b", "returning");
    report_link(bench, 1, false); /* a break: settling begins anew */
    pass(bench, 200);
    report_link(bench, 1, true);
    pass(bench, 200);
    expect(bench, "running", "b", "returning");
    report_link(bench, 1, false);
    pass(bench, RETURN_MS);
    expect(bench, "stopped", "b", "failed");
    assert_string_equal(of(bench)->why, "interface eth0 is down there");
    report_link(bench, 1, true);
    assert_int_equal(ask(bench, "maintenance.resume", NULL, NULL), CONTROL_DONE);
    pass(bench, 600);
    expect(bench, "done", "", "");
}

static void test_its_checks(void **state)
{
    struct bench *bench = *state;
    struct check_spec spec = { .name = "srv", .kind = CHECK_PROCESS, .target = "srv", .every_ms = 1000, .timeout_ms = 500,
                               .fall = 1, .rise = 1 };
    struct command command = { .type = COMMAND_CHECK_SET, .check = { .spec = spec } };
    struct check *check = &bench->cluster->table->checks[0];

    cluster_commit(bench->cluster, &command);
    check->passing = 2; /* b */
    begin(bench, "b");
    assert_int_equal(of(bench)->state, MAINTENANCE_RUNNING);
    pass(bench, 25);
    assert_int_equal(of(bench)->before.passing & 1, 1);
    check->passing = 0; /* unknown, as after a restart */
    pass(bench, 600);
    assert_int_equal(say(bench, "maintenance.claim", "b", 0), CONTROL_DONE);
    assert_int_equal(say(bench, "maintenance.end", "b", 0), CONTROL_DONE);
    pass(bench, 600);
    assert_string_equal(text_of(shown(bench), "waits"), "check srv has not passed yet there");
    check->spec.name[0] = '\0'; /* deleted: nothing to wait for */
    pass(bench, 600);
    expect(bench, "done", "", "");
}

static void test_not_heard(void **state)
{
    struct bench *bench = *state;

    begin(bench, "b,c");
    take_turn(bench, "b");
    bench->cluster->silent[1] = true;
    pass(bench, 1000);
    assert_string_equal(text_of(shown(bench), "waits"), "it is not heard");
    pass(bench, RETURN_MS);
    expect(bench, "stopped", "b", "failed");
    assert_false(bench->cluster->table->nodes[2].draining);
}

static void test_the_runner_is_lost(void **state)
{
    struct bench *bench = *state;

    begin(bench, "b,c");
    pass(bench, 600);
    assert_int_equal(say(bench, "maintenance.claim", "b", 0), CONTROL_DONE);
    pass(bench, MAINTENANCE_LOST_MS - 500);
    assert_int_equal(say(bench, "maintenance.beat", "b", 0), CONTROL_DONE);
    pass(bench, MAINTENANCE_LOST_MS - 500);
    expect(bench, "running", "b", "running");
    pass(bench, 1000);
    expect(bench, "paused", "b", "running");
    assert_true(value_as_bool(value_get(shown(bench), "lost"), false));
    assert_int_equal(ask(bench, "maintenance.resume", NULL, NULL), CONTROL_UNSAFE);
    assert_non_null(strstr(bench->reply.hint, "--retry"));
    assert_int_equal(ask(bench, "maintenance.resume", "again", "perhaps"), CONTROL_USAGE);
    assert_int_equal(say(bench, "maintenance.beat", "b", 0), CONTROL_DONE); /* it is not, after all */
    expect(bench, "running", "b", "running");
    pass(bench, MAINTENANCE_LOST_MS + 500);
    assert_int_equal(ask(bench, "maintenance.resume", "again", "retry"), CONTROL_DONE);
    expect(bench, "running", "b", "drained");
    assert_int_equal(say(bench, "maintenance.end", "b", 0), CONTROL_CONFLICT);
    assert_int_equal(say(bench, "maintenance.beat", "b", 0), CONTROL_CONFLICT);
}

/* Nobody can say that the command has ended; the node's new run of vipd does. */
static void test_a_restart_is_seen(void **state)
{
    struct bench *bench = *state;
    struct value *args = beginning(bench, "b");

    value_put_bool(&bench->arena, args, "restart", true);
    assert_int_equal(serve(bench, "maintenance.begin", args, false), CONTROL_DONE);
    pass(bench, 600);
    assert_int_equal(say(bench, "maintenance.claim", "b", 0), CONTROL_DONE);
    pass(bench, MAINTENANCE_LOST_MS + 500);
    expect(bench, "paused", "b", "running");
    bench->cluster->restarts[1]++;
    pass(bench, 600);
    expect(bench, "done", "", "");
    args = beginning(bench, "c");
    value_put_bool(&bench->arena, args, "restart", true);
    assert_int_equal(serve(bench, "maintenance.begin", args, false), CONTROL_DONE);
    pass(bench, 600);
    assert_int_equal(say(bench, "maintenance.claim", "c", 0), CONTROL_DONE);
    assert_int_equal(say(bench, "maintenance.end", "c", 255), CONTROL_DONE);
    pass(bench, 1000);
    assert_string_equal(text_of(shown(bench), "waits"), "it has not been restarted yet");
    bench->cluster->restarts[2]++;
    pass(bench, 600);
    expect(bench, "done", "", "");
}

static void test_pause_and_wait(void **state)
{
    struct bench *bench = *state;

    begin(bench, "b,c");
    pass(bench, 600);
    assert_int_equal(say(bench, "maintenance.claim", "b", 0), CONTROL_DONE);
    assert_int_equal(ask(bench, "maintenance.pause", NULL, NULL), CONTROL_DONE);
    const struct value *wait = value_get(bench->reply.result, "wait");
    assert_non_null(wait);
    assert_int_equal(serve(bench, "wait", (struct value *)wait, false), CONTROL_DONE);
    assert_false(value_as_bool(value_get(bench->reply.result, "settled"), true));
    assert_string_equal(text_of(bench->reply.result, "why"), "b is still running its command");
    assert_int_equal(say(bench, "maintenance.end", "b", 0), CONTROL_DONE);
    pass(bench, 800);
    expect(bench, "paused", "", "");
    assert_int_equal(serve(bench, "wait", (struct value *)wait, false), CONTROL_DONE);
    assert_true(value_as_bool(value_get(bench->reply.result, "settled"), false));
    pass(bench, MAINTENANCE_LOST_MS + 500);
    assert_false(of(bench)->lost); /* nothing depends on a runner */
    assert_false(bench->cluster->table->nodes[1].draining);
    assert_int_equal(ask(bench, "maintenance.resume", NULL, NULL), CONTROL_DONE);
    pass(bench, 600);
    expect(bench, "running", "c", "drained");
}

static const struct value *nth(const struct value *array, unsigned n)
{
    const struct value *item = value_first(array);

    while (n-- > 0) {
        item = item->next;
    }
    return item;
}

/* The second node is planned with the first one's VIPs where the plan has put them. */
static void test_the_plan(void **state)
{
    struct bench *bench = *state;
    char address[32];
    uint64_t index, owned[3] = { 0 };

    for (int i = 0; i < 6; i++) {
        snprintf(address, sizeof address, "10.0.0.%d/24", 50 + i);
        add_vip(bench, address, "b,c");
    }
    index = bench->cluster->table->applied;
    assert_int_equal(serve(bench, "maintenance.plan", value_map(&bench->arena), false), CONTROL_DONE);
    const struct value *nodes = value_get(bench->reply.result, "nodes");
    assert_int_equal(nodes->n, 3);
    assert_string_equal(text_of(nth(nodes, 0), "name"), "b");
    assert_string_equal(text_of(nth(nodes, 2), "name"), "a");
    for (int i = 0; i < bench->cluster->table->vips_end; i++) {
        owned[bench->cluster->table->vips[i].owner]++;
    }
    assert_int_equal(owned[1], 3);
    assert_int_equal(value_as_uint(value_get(nth(nodes, 0), "moves"), 0), 3);
    assert_int_equal(value_as_uint(value_get(nth(nodes, 0), "back"), 0), 3); /* evened out again */
    assert_int_equal(value_as_uint(value_get(nth(nodes, 1), "moves"), 0), 3);
    const struct value *row = value_first(value_get(nth(nodes, 1), "rows"));
    for (; row != NULL; row = row->next) {
        assert_string_equal(text_of(row, "from"), "c");
        assert_string_equal(text_of(row, "to"), "b");
    }
    assert_int_equal(value_as_uint(value_get(nth(nodes, 2), "moves"), 9), 0);
    assert_true(value_as_bool(value_get(nth(nodes, 2), "leader"), false));
    assert_null(value_get(bench->reply.result, "unsafe"));
    assert_true(bench->cluster->table->applied == index);
}

static void refused(struct bench *bench, struct value *args, const char *key, struct value *with, const char *says)
{
    struct value *copy = value_map(&bench->arena);

    for (const struct value *item = value_first(args); item != NULL; item = item->next) {
        if (strcmp(item->key, key) != 0) {
            struct value *own = value_nil(&bench->arena);
            *own = *item;
            own->next = NULL;
            value_put(&bench->arena, copy, item->key, own);
        }
    }
    value_put(&bench->arena, copy, key, with);
    enum control_code code = serve(bench, "maintenance.begin", copy, false);
    assert_true(code == CONTROL_USAGE || code == CONTROL_NOT_FOUND);
    assert_non_null(strstr(bench->reply.error, says));
}

static void test_bad_requests(void **state)
{
    struct bench *bench = *state;
    struct value_arena *arena = &bench->arena;
    struct value *args = beginning(bench, "b");
    char long_word[1100];

    memset(long_word, 'x', sizeof long_word - 1);
    long_word[sizeof long_word - 1] = '\0';
    refused(bench, args, "command", value_array(arena), "no command");
    refused(bench, args, "command", list(bench, long_word), "longer than 1024");
    refused(bench, args, "nodes", list(bench, "d"), "no node \"d\"");
    refused(bench, args, "nodes", list(bench, "b,b"), "named twice");
    refused(bench, args, "nodes", value_array(arena), "1 to 64 nodes");
    refused(bench, args, "settle_ms", value_uint(arena, RETURN_MS), "settling");
    refused(bench, args, "settle_ms", value_string(arena, "soon"), "settle_ms");
    refused(bench, args, "return_ms", value_uint(arena, 0), "return_ms");
    refused(bench, args, "drain_ms", value_uint(arena, 86400001), "drain_ms");
    refused(bench, args, "runner", value_uint(arena, 0), "no runner");
    assert_int_equal(ask(bench, "maintenance.pause", NULL, NULL), CONTROL_NOT_FOUND);
    assert_int_equal(ask(bench, "maintenance.resume", NULL, NULL), CONTROL_NOT_FOUND);
    assert_int_equal(say(bench, "maintenance.claim", "b", 0), CONTROL_NOT_FOUND);
    begin(bench, "b");
    assert_int_equal(serve(bench, "maintenance.begin", args, false), CONTROL_CONFLICT);
    assert_int_equal(say(bench, "maintenance.claim", "c", 0), CONTROL_CONFLICT);
    struct value *other = value_map(arena);
    value_put_uint(arena, other, "run", of(bench)->run + 1);
    assert_int_equal(serve(bench, "maintenance.abort", other, false), CONTROL_CONFLICT);
    assert_int_equal(of(bench)->state, MAINTENANCE_RUNNING);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_a_run),
        T(test_the_leader_is_last),
        T(test_words_of_status),
        T(test_unsafe_beginnings),
        T(test_nowhere_to_go),
        T(test_the_next_turn_is_unsafe),
        T(test_not_drained_in_time),
        T(test_what_it_had_before),
        T(test_its_checks),
        T(test_not_heard),
        T(test_the_runner_is_lost),
        T(test_a_restart_is_seen),
        T(test_pause_and_wait),
        T(test_the_plan),
        T(test_bad_requests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
