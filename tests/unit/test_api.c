#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "api_cluster.h"

/* One test's cluster and its last request and reply. */
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

/* Arguments as text: keys and values by turns, up to NULL; "a,b" behind a key that ends in '*' is a list, a key that ends
 * in '#' has a number. */
static struct value *args_of(struct bench *bench, va_list texts)
{
    struct value_arena *arena = &bench->arena;
    struct value *map = value_map(arena);

    for (const char *key = va_arg(texts, const char *); key != NULL; key = va_arg(texts, const char *)) {
        const char *text = va_arg(texts, const char *);
        char name[32], words[256], *save = NULL;
        snprintf(name, sizeof name, "%s", key);
        char *mark = &name[strlen(name) - 1];
        struct value *value;
        if (*mark == '*') {
            value = value_array(arena);
            snprintf(words, sizeof words, "%s", text);
            for (char *word = strtok_r(words, ",", &save); word != NULL; word = strtok_r(NULL, ",", &save)) {
                value_push(arena, value, value_string(arena, word));
            }
            *mark = '\0';
        } else if (*mark == '#') {
            value = value_int(arena, atoll(text));
            *mark = '\0';
        } else {
            value = value_string(arena, text);
        }
        value_put(arena, map, name, value);
    }
    return map;
}

static enum control_code serve(struct bench *bench, const char *op, struct value *args)
{
    bench->request = (struct control_request){ .id = bench->next_id++, .args = args };
    strcpy(bench->request.op, op);
    cluster_serve(bench->cluster, &bench->request, &bench->arena, &bench->reply);
    assert_false(value_failed(&bench->arena));
    assert_true((bench->reply.code == CONTROL_DONE) == (bench->reply.error == NULL));
    return bench->reply.code;
}

static enum control_code ask(struct bench *bench, const char *op, ...)
{
    va_list texts;

    va_start(texts, op);
    struct value *args = args_of(bench, texts);
    va_end(texts);
    return serve(bench, op, args);
}

/* vip.add of one VIP with these attributes. */
static enum control_code add(struct bench *bench, const char *address, ...)
{
    va_list texts;
    struct value *args = value_map(&bench->arena), *vips = value_array(&bench->arena);

    va_start(texts, address);
    struct value *vip = args_of(bench, texts);
    va_end(texts);
    value_put_string(&bench->arena, vip, "address", address);
    value_push(&bench->arena, vips, vip);
    value_put(&bench->arena, args, "vips", vips);
    return serve(bench, "vip.add", args);
}

/* vip.set */
static enum control_code set(struct bench *bench, const char *name, ...)
{
    va_list texts;
    struct value *args = value_map(&bench->arena), *vips = value_array(&bench->arena);

    va_start(texts, name);
    value_put(&bench->arena, args, "set", args_of(bench, texts));
    va_end(texts);
    value_push(&bench->arena, vips, value_string(&bench->arena, name));
    value_put(&bench->arena, args, "vips", vips);
    return serve(bench, "vip.set", args);
}

static const struct value *result(const struct bench *bench, const char *key)
{
    return value_get(bench->reply.result, key);
}

static const char *text(const struct value *map, const char *key)
{
    return value_as_string(value_get(map, key), "(none)");
}

/* The row of a VIP now. */
static const struct value *shown(struct bench *bench, const char *name)
{
    assert_int_equal(ask(bench, "vip.show", "name", name, NULL), CONTROL_DONE);
    return bench->reply.result;
}

#define SAYS(bench, word) assert_non_null(strstr((bench)->reply.error, word))

/* ------------------------------------------------------------------------------------------------------- reading */

static void test_status(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(add(bench, "10.0.0.50/24", "name", "web", NULL), CONTROL_DONE);
    cluster_pass(bench->cluster, 500);
    assert_int_equal(ask(bench, "status", NULL), CONTROL_DONE);
    assert_string_equal(text(bench->reply.result, "cluster"), "prod");
    assert_string_equal(text(bench->reply.result, "leader"), "a");
    assert_string_equal(text(bench->reply.result, "node"), "a");
    assert_string_equal(text(bench->reply.result, "fence"), "kernel");
    assert_true(value_as_bool(result(bench, "quorum"), false));
    assert_int_equal(value_as_uint(result(bench, "index"), 0), bench->cluster->table->applied);
    assert_int_equal(result(bench, "nodes")->n, 3);
    assert_int_equal(value_as_uint(value_get(result(bench, "vips"), "total"), 0), 1);
    assert_int_equal(value_as_uint(value_get(result(bench, "vips"), "held"), 0), 1);
    assert_int_equal(result(bench, "unheld")->n, 0);
    assert_int_equal(result(bench, "warnings")->n, 0);
}

static const struct value *surveyed(struct bench *bench)
{
    struct api_view view = cluster_view(bench->cluster);

    while (!api_survey_step(&view, &bench->cluster->survey)) {
    }
    assert_int_equal(ask(bench, "status", NULL), CONTROL_DONE);
    return result(bench, "losses");
}

static void test_status_says_whether_a_loss_is_survived(void **state)
{
    struct bench *bench = *state;
    struct cluster *cluster = bench->cluster;

    assert_int_equal(add(bench, "10.0.0.50/24", "name", "web", NULL), CONTROL_DONE);
    cluster_pass(cluster, 500);
    assert_int_equal(ask(bench, "status", NULL), CONTROL_DONE);
    assert_true(value_is(result(bench, "survives"), VALUE_NIL)); /* nobody has looked */
    assert_int_equal(surveyed(bench)->n, 0);
    assert_true(value_as_bool(result(bench, "survives"), false));

    assert_int_equal(add(bench, "10.0.0.51/24", "name", "db", "nodes*", "b", NULL), CONTROL_DONE);
    cluster_pass(cluster, 500);
    assert_int_equal(ask(bench, "status", NULL), CONTROL_DONE);
    assert_true(value_is(result(bench, "survives"), VALUE_NIL)); /* what was found is about another table */
    const struct value *loss = value_first(surveyed(bench));
    assert_false(value_as_bool(result(bench, "survives"), true));
    assert_int_equal(result(bench, "losses")->n, 1);
    assert_string_equal(text(loss, "node"), "b");
    assert_true(value_as_bool(value_get(loss, "quorum"), false));
    assert_int_equal(value_as_uint(value_get(loss, "unheld"), 0), 1);
    assert_string_equal(value_as_string(value_first(value_get(loss, "vips")), ""), "db");

    assert_int_equal(ask(bench, "vip.disable", "vips*", "db", NULL), CONTROL_DONE);
    cluster->silent[2] = true; /* a third of the voters is gone: no other can be spared */
    cluster_pass(cluster, 3000);
    assert_int_equal(surveyed(bench)->n, 2);
    assert_false(value_as_bool(value_get(value_first(result(bench, "losses")), "quorum"), true));
}

static void test_status_without_a_majority(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(add(bench, "10.0.0.50/24", "name", "web", NULL), CONTROL_DONE);
    cluster_pass(bench->cluster, 500);
    bench->cluster->silent[1] = bench->cluster->silent[2] = true;
    cluster_pass(bench->cluster, 2000);
    struct api_view view = cluster_view(bench->cluster);
    struct control_request request = { .op = "status", .args = value_map(&bench->arena) };
    view.local = true;
    api_read(&view, &request, &bench->arena, &bench->reply);
    assert_int_equal(bench->reply.code, CONTROL_DONE);
    assert_true(bench->reply.local);
    assert_false(value_as_bool(result(bench, "quorum"), true));
    assert_string_equal(value_as_string(value_first(result(bench, "warnings")), ""),
                        "no quorum: this node holds nothing");
    assert_int_equal(value_as_uint(value_get(result(bench, "vips"), "held"), 9), 0);
    assert_int_equal(result(bench, "unheld")->n, 1);
}

static void test_rows_have_what_scripts_rely_on(void **state)
{
    static const char *const vip_keys[] = { "name", "address", "dev", "owner", "state", "since_ms", "reason" };
    static const char *const node_keys[] = { "id", "name", "address", "role", "status", "leader", "lease_ms", "vips" };
    struct bench *bench = *state;

    assert_int_equal(add(bench, "10.0.0.50/24", "name", "web", NULL), CONTROL_DONE);
    cluster_pass(bench->cluster, 500);
    assert_int_equal(ask(bench, "vip.list", NULL), CONTROL_DONE);
    const struct value *row = value_first(result(bench, "rows"));
    for (size_t i = 0; i < sizeof vip_keys / sizeof vip_keys[0]; i++) {
        assert_non_null(value_get(row, vip_keys[i]));
    }
    assert_string_equal(text(row, "address"), "10.0.0.50/24");
    assert_string_equal(text(row, "state"), "held");
    assert_string_equal(text(row, "reason"), "new");
    assert_string_equal(text(row, "dev"), "eth0");
    assert_true(value_as_int(value_get(row, "since_ms"), 0) > CLUSTER_WALL_MS);
    assert_int_equal(ask(bench, "node.list", NULL), CONTROL_DONE);
    row = value_first(result(bench, "rows"));
    for (size_t i = 0; i < sizeof node_keys / sizeof node_keys[0]; i++) {
        assert_non_null(value_get(row, node_keys[i]));
    }
    assert_string_equal(text(row, "status"), "up");
    assert_string_equal(text(row, "role"), "voter");
    assert_true(value_as_bool(value_get(row, "leader"), false));
}

static void test_names_and_addresses_are_interchangeable(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(add(bench, "10.0.0.50/24", "name", "web", NULL), CONTROL_DONE);
    assert_int_equal(add(bench, "2001:db8::50/64", NULL), CONTROL_DONE);
    assert_string_equal(text(shown(bench, "web"), "name"), "web");
    assert_string_equal(text(shown(bench, "10.0.0.50"), "name"), "web");
    assert_string_equal(text(shown(bench, "10.0.0.50/24"), "name"), "web");
    assert_string_equal(text(shown(bench, "2001:0db8:0::50"), "name"), "2001:db8::50");
    assert_int_equal(ask(bench, "vip.show", "name", "wbe", NULL), CONTROL_NOT_FOUND);
    SAYS(bench, "did you mean \"web\"");
    assert_int_equal(ask(bench, "vip.show", NULL), CONTROL_USAGE);
    assert_int_equal(ask(bench, "node.show", "name", "b", NULL), CONTROL_DONE);
    assert_int_equal(ask(bench, "node.show", "name", "nosuch", NULL), CONTROL_NOT_FOUND);
}

/* Lists in pages: every row once, whatever the size of a page. */
static void test_pages(void **state)
{
    struct bench *bench = *state;
    char address[32];

    for (int i = 0; i < 25; i++) {
        snprintf(address, sizeof address, "10.0.0.%d/24", 100 + i);
        assert_int_equal(add(bench, address, NULL), CONTROL_DONE);
    }
    assert_int_equal(ask(bench, "vip.del", "vips*", "10.0.0.110,10.0.0.111", NULL), CONTROL_DONE);
    for (int max = 1; max <= 30; max += 4) {
        int rows = 0;
        int64_t after = -1;
        do {
            char number[16], limit[16];
            snprintf(number, sizeof number, "%d", (int)after);
            snprintf(limit, sizeof limit, "%d", max);
            assert_int_equal(ask(bench, "vip.list", "after#", number, "max#", limit, NULL), CONTROL_DONE);
            assert_true((int)result(bench, "rows")->n <= max);
            rows += (int)result(bench, "rows")->n;
            after = value_as_int(value_get(result(bench, "next"), "after"), -1);
        } while (after >= 0);
        assert_int_equal(rows, 23);
    }
    assert_int_equal(ask(bench, "vip.list", "max#", "1000000", "after#", "999999999", NULL), CONTROL_DONE);
}

static void test_filters(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(add(bench, "10.0.0.50/24", "name", "one", "nodes*", "b", "group", "g", NULL), CONTROL_DONE);
    assert_int_equal(add(bench, "10.0.0.51/24", "name", "two", "nodes*", "c", NULL), CONTROL_DONE);
    cluster_pass(bench->cluster, 500);
    assert_int_equal(ask(bench, "vip.list", "node", "b", NULL), CONTROL_DONE);
    assert_int_equal(result(bench, "rows")->n, 1);
    assert_string_equal(text(value_first(result(bench, "rows")), "name"), "one");
    assert_int_equal(ask(bench, "vip.list", "group", "g", NULL), CONTROL_DONE);
    assert_int_equal(result(bench, "rows")->n, 1);
    assert_int_equal(ask(bench, "vip.list", "state", "held", NULL), CONTROL_DONE);
    assert_int_equal(result(bench, "rows")->n, 2);
    assert_int_equal(ask(bench, "vip.list", "state", "unheld", NULL), CONTROL_DONE);
    assert_int_equal(result(bench, "rows")->n, 0);
    assert_int_equal(ask(bench, "vip.list", "state", "hold", NULL), CONTROL_USAGE);
    assert_int_equal(ask(bench, "vip.list", "node", "nosuch", NULL), CONTROL_NOT_FOUND);
}

static void test_history(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(add(bench, "10.0.0.50/24", "name", "web", "nodes*", "a,b", NULL), CONTROL_DONE);
    cluster_pass(bench->cluster, 500);
    const char *owner = text(shown(bench, "web"), "owner");
    const char *other = strcmp(owner, "a") == 0 ? "b" : "a";
    assert_int_equal(ask(bench, "vip.move", "vips*", "web", "to", other, NULL), CONTROL_DONE);
    cluster_pass(bench->cluster, 1000);
    assert_string_equal(text(shown(bench, "web"), "owner"), other);
    assert_string_equal(text(shown(bench, "web"), "reason"), "manual");
    assert_int_equal(ask(bench, "history", "vip", "10.0.0.50", NULL), CONTROL_DONE);
    const struct value *first = value_first(result(bench, "rows")), *last = first;
    while (last->next != NULL) {
        assert_true(value_as_uint(value_get(last, "number"), 0) < value_as_uint(value_get(last->next, "number"), 0));
        last = last->next;
    }
    assert_string_equal(text(first, "kind"), "vip-add");
    assert_string_equal(text(first, "who"), "uid 0 on a");
    assert_string_equal(text(last, "kind"), "move");
    assert_string_equal(text(last, "reason"), "manual");
    assert_string_equal(text(last, "to"), other);
    assert_string_equal(text(last, "from"), owner);
    uint32_t n = (uint32_t)result(bench, "rows")->n;
    assert_int_equal(set(bench, "web", "name", "www", NULL), CONTROL_DONE);
    assert_int_equal(add(bench, "10.0.0.51/24", "name", "web", NULL), CONTROL_DONE); /* another one */
    assert_int_equal(ask(bench, "history", "vip", "www", NULL), CONTROL_DONE);
    assert_int_equal(result(bench, "rows")->n, n + 1);
    assert_string_equal(text(value_first(result(bench, "rows")), "subject"), "web"); /* as it was called then */
    assert_int_equal(ask(bench, "history", "vip", "10.0.0.50", "max#", "1", NULL), CONTROL_DONE);
    assert_string_equal(text(value_first(result(bench, "rows")), "was"), "web");
    assert_string_equal(text(value_first(result(bench, "rows")), "subject"), "www");
    assert_int_equal(ask(bench, "history", "vip", "nosuch", NULL), CONTROL_DONE); /* a deleted one is found, too */
    assert_int_equal(result(bench, "rows")->n, 0);
    assert_int_equal(ask(bench, "history", "max#", "2", NULL), CONTROL_DONE);
    assert_int_equal(result(bench, "rows")->n, 2);
    assert_non_null(value_get(result(bench, "next"), "before"));
    assert_int_equal(ask(bench, "history", "since_ms#", "1900000000000", NULL), CONTROL_DONE);
    assert_int_equal(result(bench, "rows")->n, 0);
}

/* "events" from that position on; what it says of where to go on. */
static uint64_t follow(struct bench *bench, uint64_t cluster, uint64_t number)
{
    struct value *args = value_map(&bench->arena), *position = value_map(&bench->arena);

    value_put_uint(&bench->arena, position, "cluster", cluster);
    value_put_uint(&bench->arena, position, "number", number);
    value_put(&bench->arena, args, "position", position);
    assert_int_equal(serve(bench, "events", args), CONTROL_DONE);
    return value_as_uint(value_get(result(bench, "position"), "number"), 0);
}

static bool is_due(struct bench *bench)
{
    struct api_view view = cluster_view(bench->cluster);

    return api_events_due(&view, &bench->request);
}

static void test_events_are_followed(void **state)
{
    struct bench *bench = *state;
    struct table *table = bench->cluster->table;

    assert_int_equal(add(bench, "10.0.0.50/24", "name", "web", NULL), CONTROL_DONE);
    cluster_pass(bench->cluster, 500);
    assert_int_equal(ask(bench, "events", "max#", "2", NULL), CONTROL_DONE); /* the newest, at once */
    assert_int_equal(result(bench, "rows")->n, 2);
    uint64_t at = value_as_uint(value_get(result(bench, "position"), "number"), 0);
    assert_int_equal(at, table->n_history);
    assert_true(value_as_bool(result(bench, "quorum"), false));

    assert_int_equal(follow(bench, table->cluster_id, at), at); /* nothing new */
    assert_int_equal(result(bench, "rows")->n, 0);
    assert_false(is_due(bench));
    assert_int_equal(ask(bench, "vip.disable", "vips*", "web", NULL), CONTROL_DONE);
    cluster_pass(bench->cluster, 100);
    assert_true(follow(bench, table->cluster_id, at) > at);
    assert_true(is_due(bench));
    assert_string_equal(text(value_first(result(bench, "rows")), "kind"), "vip-set");
    assert_string_equal(value_as_string(value_first(value_get(value_first(result(bench, "rows")), "changed")), ""),
                        "disabled");
    assert_null(result(bench, "missed"));
    assert_int_equal(follow(bench, table->cluster_id, table->n_history + 5), table->n_history + 5); /* it is behind */
    assert_false(is_due(bench));
}

static void test_a_follower_is_told_what_it_missed(void **state)
{
    struct bench *bench = *state;
    struct table *table = bench->cluster->table;
    uint64_t first = table->n_history;

    while (table->n_history < HISTORY_MAX + first + 10) {
        assert_int_equal(ask(bench, "drain", "node", "c", NULL), CONTROL_DONE);
        assert_int_equal(ask(bench, "undrain", "node", "c", NULL), CONTROL_DONE);
    }
    assert_int_equal(follow(bench, table->cluster_id, 3), table->n_history - HISTORY_MAX + API_ROWS_MAX);
    assert_int_equal(value_as_uint(result(bench, "missed"), 0), table->n_history - HISTORY_MAX - 3);
    assert_int_equal(result(bench, "rows")->n, API_ROWS_MAX);
    uint64_t at = table->n_history - 4;
    table->former[table->n_former++ % FORMER_MAX] = 17; /* the cluster goes on from what one node had */
    table->history[at % HISTORY_MAX].kind = HISTORY_RECOVER;
    assert_int_equal(follow(bench, 17, table->n_history), table->n_history);
    assert_int_equal(result(bench, "rows")->n, 4); /* the recovery and what followed, whatever had their numbers before */
    assert_int_equal(follow(bench, 17, at - 1), table->n_history);
    assert_int_equal(result(bench, "rows")->n, 5);
}

static int announce(struct bench *bench, const char *name, bool asked, uint64_t id, uint64_t *ret_node)
{
    struct value *vips = value_array(&bench->arena), *args = value_map(&bench->arena);
    uint16_t vip = 9999;

    value_push(&bench->arena, vips, value_string(&bench->arena, name));
    value_put(&bench->arena, args, "vips", vips);
    bench->request = (struct control_request){ .op = "vip.announce", .args = args };
    struct api_view view = cluster_view(bench->cluster);
    struct api_daemon daemon = *view.daemon;
    daemon.id = id;
    view.daemon = &daemon;
    int r = api_announce(&view, &bench->request, asked, &bench->arena, &vip, ret_node, &bench->reply);
    assert_true((r == 0) == (vip != 9999));
    return r;
}

static void test_announce_is_for_the_holder(void **state)
{
    struct bench *bench = *state;
    uint64_t node = 0;

    assert_int_equal(add(bench, "10.0.0.50/24", "name", "web", "nodes*", "a", NULL), CONTROL_DONE);
    assert_int_equal(add(bench, "10.0.0.51/24", "name", "db", "nodes*", "b", NULL), CONTROL_DONE);
    cluster_pass(bench->cluster, 500);
    assert_int_equal(announce(bench, "web", false, 1, &node), 0);
    assert_int_equal(announce(bench, "10.0.0.50/24", true, 1, &node), 0);
    assert_int_equal(announce(bench, "db", false, 1, &node), API_ELSEWHERE);
    assert_int_equal(node, 2);
    assert_int_equal(announce(bench, "db", true, 1, &node), API_ANSWERED); /* it was b's a moment ago */
    assert_int_equal(bench->reply.code, CONTROL_CONFLICT);
    assert_true(bench->reply.retry);
    assert_int_equal(announce(bench, "nosuch", false, 1, &node), API_ANSWERED);
    assert_int_equal(bench->reply.code, CONTROL_NOT_FOUND);
    assert_int_equal(ask(bench, "vip.disable", "vips*", "web", NULL), CONTROL_DONE);
    cluster_pass(bench->cluster, 100);
    assert_int_equal(announce(bench, "web", false, 1, &node), API_ANSWERED);
    assert_int_equal(bench->reply.code, CONTROL_UNSAFE);
    assert_non_null(strstr(bench->reply.error, "disabled"));
}

static void test_explain_plan_doctor(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(add(bench, "10.0.0.50/24", "name", "web", "nodes*", "a,b", NULL), CONTROL_DONE);
    cluster_pass(bench->cluster, 500);
    assert_int_equal(ask(bench, "explain", "vip", "web", NULL), CONTROL_DONE);
    assert_int_equal(result(bench, "nodes")->n, 3);
    int chosen = 0;
    for (const struct value *row = value_first(result(bench, "nodes")); row != NULL; row = row->next) {
        chosen += value_as_bool(value_get(row, "chosen"), false);
        assert_true(strlen(text(row, "because")) > 3);
        assert_true(strcmp(text(row, "node"), "c") != 0 || !value_as_bool(value_get(row, "chosen"), true));
    }
    assert_int_equal(chosen, 1);
    assert_int_equal(ask(bench, "explain", "node", "b", NULL), CONTROL_DONE);
    assert_true(value_as_bool(result(bench, "can_hold"), false));
    assert_int_equal(ask(bench, "explain", NULL), CONTROL_USAGE);

    const char *owner = text(shown(bench, "web"), "owner");
    assert_int_equal(ask(bench, "plan", "fail*", owner, NULL), CONTROL_DONE);
    assert_int_equal(value_as_uint(result(bench, "moves"), 0), 1);
    assert_string_equal(text(value_first(result(bench, "rows")), "vip"), "web");
    assert_true(value_as_bool(result(bench, "quorum"), false));
    assert_int_equal(ask(bench, "plan", "fail*", "a,b", NULL), CONTROL_DONE);
    assert_int_equal(result(bench, "nowhere")->n, 1);
    assert_false(value_as_bool(result(bench, "quorum"), true));
    assert_int_equal(ask(bench, "plan", "drain*", "nosuch", NULL), CONTROL_NOT_FOUND);
    assert_string_equal(text(shown(bench, "web"), "owner"), owner); /* and nothing happened */

    assert_int_equal(ask(bench, "doctor", NULL), CONTROL_DONE);
    assert_true(value_as_bool(result(bench, "healthy"), false));
    bench->cluster->silent[2] = true;
    bench->cluster->daemon.fence = "addresses";
    cluster_pass(bench->cluster, 2000);
    assert_int_equal(ask(bench, "doctor", NULL), CONTROL_DONE);
    assert_false(value_as_bool(result(bench, "healthy"), true));
}

/* The row of `doctor` about one thing, or NULL. */
static const struct value *finding(struct bench *bench, const char *check)
{
    assert_int_equal(ask(bench, "doctor", NULL), CONTROL_DONE);
    for (const struct value *row = value_first(result(bench, "rows")); row != NULL; row = row->next) {
        if (strcmp(text(row, "check"), check) == 0) {
            return row;
        }
    }
    return NULL;
}

static bool warned(struct bench *bench, const char *words)
{
    bool found = false;

    assert_int_equal(ask(bench, "status", NULL), CONTROL_DONE);
    for (const struct value *row = value_first(result(bench, "warnings")); row != NULL; row = row->next) {
        found = found || strstr(value_as_string(row, ""), words) != NULL;
    }
    return found;
}

static void test_a_slewed_clock_is_told(void **state)
{
    struct bench *bench = *state;

    assert_true(value_as_bool(value_get(finding(bench, "clock"), "ok"), false));
    assert_false(warned(bench, "clock"));
    bench->cluster->slew.slow_ppm = 83333;
    cluster_pass(bench->cluster, 25);
    assert_false(value_as_bool(value_get(finding(bench, "clock"), "ok"), true));
    assert_non_null(strstr(text(finding(bench, "clock"), "text"), "8.3% slow"));
    assert_non_null(strstr(text(finding(bench, "clock"), "text"), "458 of 499 ms"));
    assert_true(warned(bench, "its lease is shortened"));
    bench->cluster->slew = (struct slew){ .fast_ppm = 100000 };
    cluster_pass(bench->cluster, 2100);
    assert_non_null(strstr(text(finding(bench, "clock"), "text"), "52 ms longer"));
    assert_true(warned(bench, "its promises last longer"));
    bench->cluster->slew = (struct slew){ .fast_ppm = 300000 };
    cluster_pass(bench->cluster, 100);
    assert_non_null(strstr(text(finding(bench, "clock"), "text"), "holds nothing"));
    assert_true(value_as_bool(value_get(finding(bench, "quorum"), "ok"), false));
    assert_true(warned(bench, "it holds nothing while that lasts"));
    bench->cluster->slew = (struct slew){ 0 };
    cluster_pass(bench->cluster, 3000);
    assert_true(value_as_bool(value_get(finding(bench, "clock"), "ok"), false));
    assert_false(warned(bench, "clock"));
    bench->cluster->others[1].fast_ppm = 20000; /* another node's, by its heartbeats */
    bench->cluster->others[2].slow_ppm = 300000;
    cluster_pass(bench->cluster, 100);
    assert_true(warned(bench, "node b: its clock is slewed by 2.0%: its promises last longer"));
    assert_true(warned(bench, "node c: its clock is slewed by 30.0%: it holds nothing"));
    bench->cluster->silent[2] = true; /* of what is not heard nothing is known */
    bench->cluster->others[1].fast_ppm = 0;
    cluster_pass(bench->cluster, 1000);
    assert_false(warned(bench, "clock"));
}

static void test_a_disk_that_hangs_is_told(void **state)
{
    struct bench *bench = *state;

    assert_true(value_as_bool(value_get(finding(bench, "disk"), "ok"), false));
    bench->cluster->writing_since = bench->cluster->now;
    cluster_pass(bench->cluster, 700);
    assert_true(value_as_bool(value_get(finding(bench, "disk"), "ok"), false));
    assert_false(warned(bench, "its disk"));
    cluster_pass(bench->cluster, 1000);
    assert_non_null(strstr(text(finding(bench, "disk"), "text"), "has not answered for 1."));
    assert_true(warned(bench, "node a: its disk has not answered for 1."));
    bench->cluster->writing_since = 0;
    cluster_pass(bench->cluster, 10);
    assert_true(value_as_bool(value_get(finding(bench, "disk"), "ok"), false));
    assert_false(warned(bench, "its disk"));
}

static void test_the_small_ones(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(ask(bench, "version", NULL), CONTROL_DONE);
    assert_string_equal(text(bench->reply.result, "version"), VIPD_VERSION);
    assert_int_equal(ask(bench, "leader", NULL), CONTROL_DONE);
    assert_string_equal(text(bench->reply.result, "leader"), "a");
    assert_int_equal(ask(bench, "daemon", NULL), CONTROL_DONE);
    assert_int_equal(value_as_uint(value_get(result(bench, "counters"), "heartbeats"), 0), 3);
    assert_int_equal(ask(bench, "settings", NULL), CONTROL_DONE);
    assert_int_equal(value_as_uint(value_get(result(bench, "announce"), "count"), 0), 5);
    assert_int_equal(ask(bench, "nosuch", NULL), CONTROL_USAGE);
    assert_int_equal(api_kind("nosuch"), API_UNKNOWN);
    assert_int_equal(api_kind("vip.add"), API_CHANGE);
}

/* ------------------------------------------------------------------------------------------------------- changes */

static void test_add_refusals(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(add(bench, "10.0.0.50/24", "name", "web", NULL), CONTROL_DONE);
    uint64_t applied = bench->cluster->table->applied;
    assert_int_equal(add(bench, "10.0.0.300/24", NULL), CONTROL_USAGE);
    assert_int_equal(add(bench, "10.0.0.51/33", NULL), CONTROL_USAGE);
    assert_int_equal(add(bench, "127.0.0.1/8", NULL), CONTROL_USAGE);
    assert_int_equal(add(bench, "224.0.0.1", NULL), CONTROL_USAGE);
    assert_int_equal(add(bench, "10.0.0.255/24", NULL), CONTROL_USAGE);
    assert_int_equal(add(bench, "10.0.0.0/24", NULL), CONTROL_USAGE);
    assert_int_equal(add(bench, "10.0.0.50/24", "name", "other", NULL), CONTROL_CONFLICT);
    SAYS(bench, "web");
    assert_int_equal(add(bench, "10.0.0.51/24", "name", "web", NULL), CONTROL_CONFLICT);
    assert_int_equal(add(bench, "10.0.0.2/24", NULL), CONTROL_CONFLICT); /* node b's own */
    assert_int_equal(add(bench, "10.0.0.51/24", "nodes*", "a,d", NULL), CONTROL_NOT_FOUND);
    assert_int_equal(add(bench, "10.0.0.51/24", "apart_from*", "wbe", NULL), CONTROL_NOT_FOUND);
    assert_int_equal(add(bench, "10.0.0.51/24", "dve", "eth0", NULL), CONTROL_USAGE);
    assert_int_equal(add(bench, "10.0.0.51/24", "dev", "averylonginterface", NULL), CONTROL_USAGE);
    assert_int_equal(add(bench, "10.0.0.51/24", "dev", "etho", NULL), CONTROL_UNSAFE);
    SAYS(bench, "eth0");
    assert_int_equal(add(bench, "192.168.9.9/24", NULL), CONTROL_UNSAFE);
    assert_non_null(strstr(bench->reply.hint, "--force"));
    assert_int_equal(ask(bench, "vip.add", NULL), CONTROL_USAGE);
    assert_int_equal(ask(bench, "vip.add", "vips*", "10.0.0.51", NULL), CONTROL_USAGE); /* texts, not maps */
    assert_int_equal(bench->cluster->table->applied, applied); /* none of these reached the log */
}

static void test_force_overrides_what_is_unsafe(void **state)
{
    struct bench *bench = *state;
    struct value *args = value_map(&bench->arena), *vips = value_array(&bench->arena), *vip = value_map(&bench->arena);

    value_put_string(&bench->arena, vip, "address", "192.168.9.9/24");
    value_push(&bench->arena, vips, vip);
    value_put(&bench->arena, args, "vips", vips);
    bench->request = (struct control_request){ .id = 5, .op = "vip.add", .args = args, .force = true };
    cluster_serve(bench->cluster, &bench->request, &bench->arena, &bench->reply);
    assert_int_equal(bench->reply.code, CONTROL_DONE);
    cluster_pass(bench->cluster, 500);
    assert_string_equal(text(shown(bench, "192.168.9.9"), "state"), "unheld");
    assert_true(strlen(text(shown(bench, "192.168.9.9"), "why")) > 6);
}

static void test_a_repeated_request_is_done_once(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(add(bench, "10.0.0.50/24", "name", "web", NULL), CONTROL_DONE);
    uint64_t index = bench->reply.index, applied = bench->cluster->table->applied;
    assert_true(index > 0);
    cluster_serve(bench->cluster, &bench->request, &bench->arena, &bench->reply);
    assert_int_equal(bench->reply.code, CONTROL_DONE);
    assert_int_equal(bench->reply.index, index);
    assert_int_equal(bench->cluster->table->applied, applied);
}

static void test_dry_run_changes_nothing(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(add(bench, "10.0.0.50/24", "name", "web", NULL), CONTROL_DONE);
    cluster_pass(bench->cluster, 500);
    uint64_t changed = bench->cluster->table->changed;
    bench->request = (struct control_request){ .id = 7, .op = "vip.del", .dry_run = true, .args = bench->request.args };
    strcpy(bench->request.op, "drain");
    struct value *args = value_map(&bench->arena);
    value_put_string(&bench->arena, args, "node", "b");
    bench->request.args = args;
    cluster_serve(bench->cluster, &bench->request, &bench->arena, &bench->reply);
    assert_int_equal(bench->reply.code, CONTROL_DONE);
    assert_false(value_as_bool(result(bench, "changed"), true));
    assert_null(result(bench, "wait"));
    assert_int_equal(bench->cluster->table->changed, changed);
}

static void test_set(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(add(bench, "10.0.0.50/24", "name", "web", NULL), CONTROL_DONE);
    assert_int_equal(add(bench, "10.0.0.51/24", "name", "db", NULL), CONTROL_DONE);
    assert_int_equal(set(bench, "web", "nodes*", "b,c", "group", "front", "apart_from*", "db", NULL), CONTROL_DONE);
    const struct value *row = shown(bench, "web");
    assert_int_equal(value_get(row, "nodes")->n, 2);
    assert_string_equal(text(row, "group"), "front");
    assert_string_equal(value_as_string(value_first(value_get(row, "apart_from")), ""), "db");
    assert_int_equal(set(bench, "web", "group", "", "nodes*", "", NULL), CONTROL_DONE);
    row = shown(bench, "web");
    assert_null(value_get(row, "nodes"));
    assert_null(value_get(row, "group"));
    assert_int_equal(set(bench, "web", "name", "db", NULL), CONTROL_CONFLICT);
    assert_int_equal(set(bench, "web", "name", "www", NULL), CONTROL_DONE);
    assert_string_equal(text(value_first(result(bench, "vips")), "name"), "www");
    assert_int_equal(set(bench, "web", "dev", "eth0", NULL), CONTROL_NOT_FOUND);
    assert_int_equal(set(bench, "www", "address", "10.0.0.9", NULL), CONTROL_USAGE);
    assert_int_equal(set(bench, "www", NULL), CONTROL_USAGE);
    assert_int_equal(set(bench, "www", "nodes*", "nosuch", NULL), CONTROL_NOT_FOUND);
}

static void test_disable_enable_delete(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(add(bench, "10.0.0.50/24", "name", "web", NULL), CONTROL_DONE);
    cluster_pass(bench->cluster, 500);
    assert_int_equal(ask(bench, "vip.enable", "vips*", "web", NULL), CONTROL_DONE);
    assert_false(value_as_bool(result(bench, "changed"), true));
    assert_int_equal(ask(bench, "vip.disable", "vips*", "web", NULL), CONTROL_DONE);
    assert_true(value_as_bool(result(bench, "changed"), false));
    cluster_pass(bench->cluster, 500);
    assert_string_equal(text(shown(bench, "web"), "state"), "disabled");
    assert_int_equal(ask(bench, "vip.move", "vips*", "web", NULL), CONTROL_UNSAFE);
    assert_int_equal(ask(bench, "vip.enable", "vips*", "web", NULL), CONTROL_DONE);
    cluster_pass(bench->cluster, 500);
    assert_string_equal(text(shown(bench, "web"), "state"), "held");
    assert_int_equal(ask(bench, "vip.del", "vips*", "web,10.0.0.50,web", NULL), CONTROL_DONE);
    assert_int_equal(ask(bench, "vip.show", "name", "web", NULL), CONTROL_NOT_FOUND);
    assert_int_equal(ask(bench, "vip.del", "vips*", "web", NULL), CONTROL_NOT_FOUND);
}

static void test_move(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(add(bench, "10.0.0.50/24", "name", "web", "nodes*", "a,b", NULL), CONTROL_DONE);
    cluster_pass(bench->cluster, 500);
    const char *before = text(shown(bench, "web"), "owner");
    assert_int_equal(ask(bench, "vip.move", "vips*", "web", NULL), CONTROL_DONE); /* the only other one */
    cluster_pass(bench->cluster, 1000);
    assert_string_not_equal(text(shown(bench, "web"), "owner"), before);
    assert_int_equal(ask(bench, "vip.move", "vips*", "web", "to", "c", NULL), CONTROL_UNSAFE);
    assert_int_equal(ask(bench, "vip.move", "vips*", "web", "to", "nosuch", NULL), CONTROL_NOT_FOUND);
    assert_int_equal(ask(bench, "vip.move", "vips*", "nosuch", NULL), CONTROL_NOT_FOUND);
    assert_int_equal(set(bench, "web", "nodes*", "a", NULL), CONTROL_DONE);
    cluster_pass(bench->cluster, 1000);
    assert_int_equal(ask(bench, "vip.move", "vips*", "web", NULL), CONTROL_UNSAFE);
}

static void test_drain(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(add(bench, "10.0.0.50/24", "name", "web", "nodes*", "b", NULL), CONTROL_DONE);
    cluster_pass(bench->cluster, 500);
    assert_int_equal(ask(bench, "drain", "node", "b", NULL), CONTROL_UNSAFE);
    SAYS(bench, "web");
    assert_non_null(strstr(bench->reply.hint, "--force"));
    assert_int_equal(ask(bench, "drain", "node", "c", NULL), CONTROL_DONE);
    assert_int_equal(ask(bench, "drain", "node", "c", NULL), CONTROL_DONE);
    assert_false(value_as_bool(result(bench, "changed"), true));
    cluster_pass(bench->cluster, 500);
    assert_int_equal(ask(bench, "node.show", "name", "c", NULL), CONTROL_DONE);
    assert_string_equal(text(bench->reply.result, "status"), "drained");
    assert_int_equal(ask(bench, "undrain", "node", "c", NULL), CONTROL_DONE);
    assert_int_equal(ask(bench, "drain", "node", "nosuch", NULL), CONTROL_NOT_FOUND);
    assert_int_equal(ask(bench, "drain", NULL), CONTROL_USAGE);
}

static void test_settings_set(void **state)
{
    struct bench *bench = *state;
    struct value *args = value_map(&bench->arena), *announce = value_map(&bench->arena);

    value_put_uint(&bench->arena, announce, "count", 7);
    value_put(&bench->arena, args, "announce", announce);
    assert_int_equal(serve(bench, "settings.set", args), CONTROL_DONE);
    assert_int_equal(bench->cluster->table->settings.announce_count, 7);
    assert_int_equal(bench->cluster->table->settings.announce_interval_ms, 200);
    args = value_map(&bench->arena), announce = value_map(&bench->arena);
    value_put_uint(&bench->arena, announce, "count", 70000);
    value_put(&bench->arena, args, "announce", announce);
    assert_int_equal(serve(bench, "settings.set", args), CONTROL_USAGE);
    assert_int_equal(ask(bench, "settings.set", NULL), CONTROL_USAGE);
}

static void test_leader_transfer(void **state)
{
    struct bench *bench = *state;
    struct api_view view = cluster_view(bench->cluster);
    struct value *args = value_map(&bench->arena);
    struct control_request request = { .id = 3, .op = "leader.transfer", .args = args };
    uint64_t id = 99;

    assert_int_equal(api_transfer(&view, &request, &bench->arena, &id, &bench->reply), 0);
    assert_int_equal(id, 0);
    value_put_string(&bench->arena, args, "node", "c");
    assert_int_equal(api_transfer(&view, &request, &bench->arena, &id, &bench->reply), 0);
    assert_int_equal(id, 3);
    bench->cluster->silent[2] = true;
    cluster_pass(bench->cluster, 3000);
    view = cluster_view(bench->cluster);
    assert_int_equal(api_transfer(&view, &request, &bench->arena, &id, &bench->reply), API_ANSWERED);
    assert_int_equal(bench->reply.code, CONTROL_UNSAFE);
}

/* ---------------------------------------------------------------------------------------------------------- wait */

/* Whether what the last change's reply says to wait for is so. */
static bool waited(struct bench *bench, const struct value *wait, uint64_t index)
{
    struct api_view view = cluster_view(bench->cluster);
    struct value *args = value_map(&bench->arena);
    struct control_request request = { .op = "wait", .args = args };
    bool bad;

    value_put_uint(&bench->arena, args, "index", index);
    for (const struct value *item = value_first(wait); item != NULL; item = item->next) {
        struct value *copy = value_nil(&bench->arena);
        *copy = *item;
        copy->next = NULL;
        value_put(&bench->arena, args, item->key, copy);
    }
    bool settled = api_settled(&view, &request, &bad);
    assert_false(bad);
    api_read(&view, &request, &bench->arena, &bench->reply);
    assert_int_equal(bench->reply.code, CONTROL_DONE);
    assert_int_equal(value_as_bool(result(bench, "settled"), !settled), settled);
    assert_true(settled || strlen(text(bench->reply.result, "why")) > 6);
    return settled;
}

#define WAITED(bench, after_ms)                                                   \
    do {                                                                          \
        const struct value *wait = result(bench, "wait");                         \
        uint64_t index = (bench)->reply.index;                                    \
        assert_non_null(wait);                                                    \
        assert_false(waited(bench, wait, index));                                 \
        cluster_pass((bench)->cluster, after_ms);                                 \
        assert_true(waited(bench, wait, index));                                  \
    } while (0)

static void test_wait(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(add(bench, "10.0.0.50/24", "name", "web", "nodes*", "b,c", NULL), CONTROL_DONE);
    WAITED(bench, 500);
    assert_string_equal(text(value_first(result(bench, "vips")), "state"), "held");
    const char *other = strcmp(text(shown(bench, "web"), "owner"), "b") == 0 ? "c" : "b";
    assert_int_equal(ask(bench, "vip.move", "vips*", "web", "to", other, NULL), CONTROL_DONE);
    WAITED(bench, 1000);
    assert_int_equal(ask(bench, "drain", "node", other, NULL), CONTROL_DONE);
    WAITED(bench, 1000);
    assert_int_equal(ask(bench, "undrain", "node", other, NULL), CONTROL_DONE);
    assert_true(waited(bench, result(bench, "wait"), bench->reply.index));
    assert_int_equal(set(bench, "web", "nodes*", "a", NULL), CONTROL_DONE);
    WAITED(bench, 1000);
    /* The leader itself owns it now, and does at once what it ought to. */
    assert_int_equal(ask(bench, "vip.disable", "vips*", "web", NULL), CONTROL_DONE);
    assert_true(waited(bench, result(bench, "wait"), bench->reply.index));
    assert_int_equal(ask(bench, "vip.enable", "vips*", "web", NULL), CONTROL_DONE);
    const struct value *wait = result(bench, "wait");
    cluster_pass(bench->cluster, 1000);
    assert_true(waited(bench, wait, bench->reply.index));
    assert_int_equal(ask(bench, "vip.del", "vips*", "web", NULL), CONTROL_DONE);
    wait = result(bench, "wait");
    assert_true(waited(bench, wait, bench->reply.index));
    assert_false(waited(bench, wait, bench->cluster->table->applied + 1)); /* a follower that is behind */
}

static void test_wait_for_what_cannot_be(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(add(bench, "10.0.0.50/24", "name", "web", "nodes*", "b", NULL), CONTROL_DONE);
    const struct value *wait = result(bench, "wait");
    bench->cluster->silent[1] = true;
    cluster_pass(bench->cluster, 5000);
    assert_false(waited(bench, wait, 1));
    struct value *args = value_map(&bench->arena);
    value_put_uint(&bench->arena, args, "vips", 5);
    assert_int_equal(serve(bench, "wait", args), CONTROL_USAGE);
}

/* Requests with some bytes of others, by an xorshift: whatever they say, they are answered. */
static void test_garbled_requests(void **state)
{
    static const char *const ops[] = { "status", "vip.list", "vip.show", "node.show", "history", "explain", "plan",
                                       "wait", "vip.add", "vip.set", "vip.del", "vip.move", "vip.enable", "drain",
                                       "undrain", "settings.set", "doctor" };
    struct bench *bench = *state;
    struct cluster *cluster = bench->cluster;
    uint64_t x = 88172645463325252ull;
    unsigned answered = 0;

    assert_int_equal(add(bench, "10.0.0.50/24", "name", "web", "nodes*", "a,b", NULL), CONTROL_DONE);
    for (int round = 0; round < 20000; round++) {
        struct value_arena arena;
        struct control_request request = { .id = (uint64_t)round + 1000 }, back;
        struct control_reply reply;
        unsigned char *bytes;
        const char *why;
        size_t len;
        value_arena_init(&arena, CONTROL_REQUEST_ARENA_MAX);
        strcpy(request.op, ops[round % (int)(sizeof ops / sizeof ops[0])]);
        request.args = bench->request.args;
        assert_int_equal(control_request_encode(&request, (void **)&bytes, &len), 0);
        for (int i = 0; i < 3; i++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            bytes[CONTROL_FRAME_SIZE + x % (len - CONTROL_FRAME_SIZE)] ^= (unsigned char)(1u << (x >> 40) % 8);
        }
        if (control_request_decode(&arena, bytes + CONTROL_FRAME_SIZE, len - CONTROL_FRAME_SIZE, &back, &why) == 0) {
            cluster_serve(cluster, &back, &arena, &reply);
            assert_true((reply.code == CONTROL_DONE) == (reply.error == NULL));
            answered++;
        }
        free(bytes);
        value_arena_close(&arena);
    }
    assert_true(answered > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_status, setup, teardown),
        cmocka_unit_test_setup_teardown(test_status_without_a_majority, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rows_have_what_scripts_rely_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names_and_addresses_are_interchangeable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_filters, setup, teardown),
        cmocka_unit_test_setup_teardown(test_status_says_whether_a_loss_is_survived, setup, teardown),
        cmocka_unit_test_setup_teardown(test_history, setup, teardown),
        cmocka_unit_test_setup_teardown(test_events_are_followed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_follower_is_told_what_it_missed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_announce_is_for_the_holder, setup, teardown),
        cmocka_unit_test_setup_teardown(test_explain_plan_doctor, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_slewed_clock_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_disk_that_hangs_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_small_ones, setup, teardown),
        cmocka_unit_test_setup_teardown(test_add_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_force_overrides_what_is_unsafe, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_repeated_request_is_done_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dry_run_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_set, setup, teardown),
        cmocka_unit_test_setup_teardown(test_disable_enable_delete, setup, teardown),
        cmocka_unit_test_setup_teardown(test_move, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_settings_set, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leader_transfer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wait_for_what_cannot_be, setup, teardown),
        cmocka_unit_test_setup_teardown(test_garbled_requests, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
