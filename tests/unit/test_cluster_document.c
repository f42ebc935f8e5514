/* The cluster's document: what is read from it, judged against a table, and written again. What is refused, with its place,
 * is in tests/e2e/test_documents.py. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "daemon/cluster_document.h"

#define TEXT_MAX (1024 * 1024)

static struct table table;
static struct cluster_document wanted;
static char error[CONFIG_ERROR_SIZE];
static char text[TEXT_MAX], again[TEXT_MAX];

/* ------------------------------------------------------------------ shorthand */

static struct prefix prefix_of(const char *address)
{
    struct prefix prefix;

    assert_int_equal(prefix_parse(address, &prefix, NULL), 0);
    return prefix;
}

/* Nodes a to d, the last a witness; eth0 in 10.0.0.0/8 and fd00::/64. */
static int start(void **state)
{
    static struct found_node nodes[4];
    struct command command = {.type = COMMAND_FOUND};
    struct outcome outcome;

    table_init(&table);
    for (int i = 0; i < 4; i++) {
        nodes[i] = (struct found_node){.id = (uint64_t)i + 1};
        nodes[i].name[0] = (char)('a' + i);
        assert_int_equal(endpoint_parse("192.168.0.1:7400", &nodes[i].at), 0);
        nodes[i].at.addr.bytes[3] = (uint8_t)(i + 1);
        nodes[i].role = i < 3 ? ROLE_VOTER : ROLE_SPARE;
    }
    strcpy(command.found.cluster, "prod");
    command.found.cluster_id = 7;
    command.found.timing = (struct timing){100, 400, 515, 5, 600};
    command.found.settings = table_settings_default();
    command.found.n_nodes = 4;
    command.found.nodes = nodes;
    table_apply(&table, 1, &command, &outcome);
    assert_int_equal(outcome.code, OUTCOME_DONE);
    for (int i = 0; i < 4; i++) {
        struct node *node = &table.nodes[i];

        node->n_links = 1;
        strcpy(node->links[0].name, "eth0");
        node->links[0].up = true;
        node->links[0].n_prefixes = 2;
        node->links[0].prefixes[0] = prefix_of("10.255.0.1/8");
        node->links[0].prefixes[1] = prefix_of("fd00::ffff/64");
    }
    table.nodes[3].witness = true;
    return 0;
}

/* 0 with `wanted` judged, or the code of the refusal with `error` written. */
static enum control_code judge(const char *yaml, bool force)
{
    struct document *document;
    struct cluster_reader reader = {.config.error = error, .table = &table, .into = &wanted, .force = force};
    int rv = document_parse("c.yaml", yaml, strlen(yaml), &document, error);

    assert_int_equal(rv, 0);
    reader.config.document = document;
    rv = cluster_read(&reader);
    rv = rv != 0 ? rv : cluster_judge(&reader);
    document_free(document);
    return rv != 0 ? reader.code : CONTROL_DONE;
}

/* What was judged, as the entry of the log that it becomes. */
static void apply(void)
{
    struct command command = {.type = COMMAND_APPLY, .at_ms = 1000};
    struct outcome outcome;

    command.apply = cluster_command(&table, &wanted);
    table_apply(&table, table.applied + 1, &command, &outcome);
    assert_string_equal(outcome.detail, "");
    assert_int_equal(outcome.code, OUTCOME_DONE);
}

static bool changes(void)
{
    return cluster_changes(&wanted);
}

static const char *exported(char to[TEXT_MAX])
{
    struct cluster_text out = {.bytes = to, .size = TEXT_MAX - 1};
    size_t size = cluster_write(&table, &out);

    assert_true(size < TEXT_MAX);
    to[size] = '\0';
    return to;
}

#define SAMPLE                                                                                   \
    "settings: {failback: after 10m, announce: {count: 7, interval: 250ms, refresh: 0s}, hold-down: {after: 2, max: 1h}}\n" \
    "voters: {count: 5}\nnodes: {a: {capacity: 200}}\n"                                         \
    "checks:\n  disk: {file: /run/ok, weight: 20, scope: node}\n"                              \
    "  haproxy: {http: \"http://127.0.0.1:8404/healthz\", every: 1s, timeout: 500ms, fall: 4, rise: 1, all-failed: release}\n" \
    "groups:\n  web: {prefer: {b: 50, a: 100}, failback: never, hooks: {after-take: up}}\n  bare: {}\n"                \
    "vips:\n"                                                                                   \
    "  web-v4: {address: 10.0.0.50/24, dev: eth0, group: web, require: [haproxy]}\n"            \
    "  web-v6: {address: \"fd00::50/64\", group: web}\n"                                        \
    "  db: {address: 10.0.0.60/24, nodes: [a, b], apart-from: [web-v4], prefer: {b: 1}, reset-connections: false,\n"    \
    "       failback: after 90m, hooks: {before-release: {run: leave.sh, timeout: 200ms}, after-release: gone}}\n"   \
    "  \"fd00::61\": {address: \"fd00::61/64\", enabled: false, probe: false, conflict: yield, group: bare}\n"

/* ------------------------------------------------------------------ tests */

static void every_key_arrives(void **state)
{
    assert_int_equal(judge(SAMPLE, false), CONTROL_DONE);
    apply();
    int web = table_vip_find(&table, "web-v4"), db = table_vip_find(&table, "db"), last = table_vip_find(&table, "fd00::61");
    assert_true(table.settings.announce_count == 7 && table.settings.announce_refresh_ms == 0);
    assert_true(table.settings.failback_ms == 600000 && table.settings.hold_after == 2);
    assert_true(table.settings.hold_max_ms == 3600000 && table.settings.hold_first_ms == 1000);
    assert_true(table.voting.count == 5 && table.voting.replace_ms == VOTER_REPLACE_MS);
    int haproxy = table_check_by_name(&table, "haproxy"), disk = table_check_by_name(&table, "disk");
    assert_true(haproxy != SLOT_NONE && disk != SLOT_NONE && table.vips[web].checks == 1ull << haproxy);
    const struct check_spec *spec = &table.checks[haproxy].spec;
    assert_true(spec->kind == CHECK_HTTP && spec->every_ms == 1000 && spec->timeout_ms == 500 && spec->fall == 4);
    assert_true(spec->rise == 1 && spec->weight == 0 && !spec->node && spec->release);
    assert_string_equal(spec->target, "http://127.0.0.1:8404/healthz");
    spec = &table.checks[disk].spec;
    assert_true(spec->kind == CHECK_FILE && spec->every_ms == 2000 && spec->weight == 20 && spec->node && !spec->release);
    assert_true(table.everywhere == 1ull << disk && table.required == 1ull << haproxy);
    assert_true(table.nodes[0].capacity == 200 && table.nodes[1].capacity == 0);
    assert_string_equal(table.vips[web].dev, "eth0");
    assert_string_equal(table.groups[table.vips[web].group].name, "web");
    assert_int_equal(table.groups[table.vips[web].group].n_prefers, 2);
    assert_int_equal(table.vips[db].nodes, 3);
    assert_int_equal(table.vips[db].apart[0], web);
    assert_true(table.vips[db].prefers[0].node == 1 && table.vips[db].prefers[0].weight == 1);
    assert_true(table.vips[db].no_reset && !table.vips[web].no_reset);
    assert_string_equal(table_hook(&table, &table.vips[db], HOOK_BEFORE_RELEASE)->program, "leave.sh");
    assert_int_equal(table_hook(&table, &table.vips[db], HOOK_BEFORE_RELEASE)->timeout_ms, 200);
    assert_int_equal(table_hook(&table, &table.vips[db], HOOK_AFTER_RELEASE)->timeout_ms, HOOK_TIMEOUT_DEFAULT_MS);
    assert_null(table_hook(&table, &table.vips[db], HOOK_AFTER_TAKE));
    assert_string_equal(table_hook(&table, &table.vips[web], HOOK_AFTER_TAKE)->program, "up"); /* its group's */
    assert_true(table.vips[db].failback == own_failback(5400000) && table.vips[web].failback == 0);
    assert_int_equal(table.groups[table.vips[web].group].failback, OWN_FAILBACK_NEVER);
    assert_false(table.vips[last].enabled);
    assert_true(table.vips[last].no_probe && table.vips[last].yield);
}

static void the_same_again_changes_nothing(void **state)
{
    assert_int_equal(judge(SAMPLE, false), CONTROL_DONE);
    apply();
    assert_int_equal(judge(SAMPLE, false), CONTROL_DONE);
    assert_false(changes());
    assert_int_equal(judge(exported(text), false), CONTROL_DONE);
    assert_false(changes());
    apply(); /* even as a command it would change no VIP */
    assert_string_equal(exported(again), text);
}

static void a_section_that_is_left_out_stays(void **state)
{
    assert_int_equal(judge(SAMPLE, false), CONTROL_DONE);
    apply();
    assert_int_equal(judge("settings: {}\n", false), CONTROL_DONE);
    assert_true(wanted.settings_change && wanted.n_items == 0 && wanted.n_deletes == 0 && wanted.n_changed_groups == 0);
    apply();
    assert_true(table.settings.announce_count == 5);
    assert_int_equal(judge("groups: {}\n", false), CONTROL_DONE);
    assert_true(wanted.n_changed_groups == 1 && wanted.n_items == 0); /* web loses its preferences; bare has none */
    apply();
    assert_int_equal(table.groups[table_group_by_name(&table, "web")].n_prefers, 0);
}

/* One entry makes a check and what requires it, in whatever order they stand; and ends both. */
static void checks_come_and_go_with_what_requires_them(void **state)
{
    assert_int_equal(judge("vips: {x: {address: 10.0.0.9/24, require: [new]}}\nchecks: {new: {tcp: \"127.0.0.1:80\"}}", false),
                     CONTROL_DONE);
    apply();
    int check = table_check_by_name(&table, "new"), vip = table_vip_find(&table, "x");
    uint64_t index = table.checks_index;
    assert_true(check != SLOT_NONE && table.vips[vip].checks == 1ull << check && table.revision == table.applied);
    assert_true(table.n_kept == 0 && index == table.applied);
    /* what passes stays known when the document changes something else */
    table.checks[check].passing = 3;
    assert_int_equal(judge("checks: {new: {tcp: \"127.0.0.1:80\"}, more: {ping: gateway}}", false), CONTROL_DONE);
    assert_int_equal(wanted.n_changed_checks, 1);
    apply();
    assert_true(table.checks[check].passing == 3 && table_check_by_name(&table, "more") != SLOT_NONE);
    /* changed: what was known of it is no longer */
    assert_int_equal(judge("checks: {new: {tcp: \"127.0.0.1:81\"}}", false), CONTROL_DONE);
    assert_int_equal(wanted.n_changed_checks, 2);
    apply();
    assert_true(table.checks[check].passing == 0 && table_check_by_name(&table, "more") == SLOT_NONE);
    /* required by what the document does not speak of: refused, with the place and the remedy */
    assert_int_equal(judge("settings: {}\nchecks: {other: {file: /ok}}", false), CONTROL_CONFLICT);
    assert_string_equal(error, "c.yaml:2:9: check 'new' is not in checks, so it would be deleted, but VIP 'x' requires it: "
                               "expected it to be listed here");
    assert_int_equal(judge("checks: {}\nvips: {x: {address: 10.0.0.9/24, require: [new]}}", false), CONTROL_USAGE);
    assert_int_equal(judge("checks: {}\nvips: {x: {address: 10.0.0.9/24}}", false), CONTROL_DONE);
    apply();
    assert_true(table_check_by_name(&table, "new") == SLOT_NONE && table.vips[vip].checks == 0);
    /* by a group */
    assert_int_equal(judge("checks: {c: {file: /ok}}\ngroups: {g: {require: [c]}}", false), CONTROL_DONE);
    apply();
    assert_int_equal(judge("checks: {}", false), CONTROL_CONFLICT);
    assert_non_null(strstr(error, "but group 'g' requires it"));
    assert_int_equal(judge("checks: {}\ngroups: {}", false), CONTROL_DONE);
    apply();
    assert_int_equal(table_group_by_name(&table, "g"), SLOT_NONE);
    /* with the VIPs that required it, a check may go as well */
    assert_int_equal(judge("checks: {c: {file: /ok}}\nvips: {x: {address: 10.0.0.9/24}, y: {address: 10.0.0.8/24, require: [c]}}",
                           false), CONTROL_DONE);
    apply();
    assert_int_equal(judge("checks: {}\nvips: {x: {address: 10.0.0.9/24}}", false), CONTROL_DONE);
    apply();
    assert_true(table.checks[0].spec.name[0] == '\0' && table.required == 0);
    for (int i = 0; i < table.vips_end; i++) {
        assert_int_equal(table.vips[i].checks, 0);
    }
}

static void as_many_checks_as_there_may_be(void **state)
{
    size_t at = (size_t)sprintf(text, "checks:\n");

    for (int i = 0; i < CHECKS_MAX; i++) {
        at += (size_t)sprintf(text + at, "  c%d: {file: /run/%d}\n", i, i);
    }
    assert_int_equal(judge(text, false), CONTROL_DONE);
    apply();
    sprintf(text + at, "  more: {file: /run/more}\n");
    assert_int_equal(judge(text, false), CONTROL_USAGE);
    assert_non_null(strstr(error, "c.yaml:66:3: no room for check 'more'"));
    assert_int_equal(judge("checks: {more: {file: /ok}}", false), CONTROL_USAGE); /* in two documents it can */
    assert_int_equal(judge("checks: {}", false), CONTROL_DONE);
    apply();
    assert_int_equal(judge("checks: {more: {file: /ok}}", false), CONTROL_DONE);
}

static void known_by_its_address(void **state)
{
    assert_int_equal(judge("vips:\n  a: {address: 10.0.0.1/24}\n  b: {address: 10.0.0.2/24}\n", false), CONTROL_DONE);
    apply();
    int first = table_vip_find(&table, "a"), second = table_vip_find(&table, "b");
    assert_int_equal(judge("vips:\n  b: {address: 10.0.0.1/24}\n  a: {address: 10.0.0.2/24}\n", false), CONTROL_DONE);
    assert_true(wanted.n_items == 2 && wanted.n_deletes == 0 && wanted.items[0].set == VIP_SET_NAME);
    apply();
    assert_int_equal(table_vip_find(&table, "a"), second);
    assert_int_equal(table_vip_find(&table, "b"), first);
    /* the same name with another address: a new VIP, and the end of the old one */
    assert_int_equal(judge("vips:\n  b: {address: 10.0.0.3/24}\n  a: {address: 10.0.0.2/16}\n", false), CONTROL_DONE);
    assert_true(wanted.n_items == 2 && wanted.n_deletes == 1 && wanted.deletes[0].vip == first);
    apply();
    assert_int_equal(table.vips[second].address.len, 16);
    assert_true(table_vip_find(&table, "b") != first);
}

static void what_nodes_cannot_honour(void **state)
{
    table.nodes[2].links[0].prefixes[0] = prefix_of("172.16.0.1/16");
    assert_int_equal(judge("vips: {x: {address: 10.0.0.9/24, nodes: [a, c]}}", false), CONTROL_UNSAFE);
    assert_string_equal(error, "c.yaml:1:41: node 'c' has no interface whose subnet contains 10.0.0.9/24: expected another "
                               "address, a dev, or other nodes");
    assert_int_equal(judge("vips: {x: {address: 10.0.0.9/24, nodes: [a, c]}}", true), CONTROL_DONE);
    assert_int_equal(judge("vips: {x: {address: 10.0.0.9/24}}", false), CONTROL_DONE); /* some node can */
    assert_int_equal(judge("vips: {x: {address: 10.0.0.9/24, prefer: {c: 1}}}", false), CONTROL_UNSAFE);
    assert_int_equal(judge("vips: {x: {address: 203.0.113.9/24}}", false), CONTROL_UNSAFE);
    assert_int_equal(judge("vips: {x: {address: 203.0.113.9/24, dev: eth0}}", false), CONTROL_DONE);
    assert_int_equal(judge("vips: {x: {address: 203.0.113.9/24, dev: eht0}}", false), CONTROL_UNSAFE);
    assert_non_null(strstr(error, "did you mean 'eth0'"));
    assert_int_equal(judge("groups: {g: {prefer: {c: 1}}}\nvips: {x: {address: 10.0.0.9/24, group: g}}", false),
                     CONTROL_UNSAFE);
    assert_non_null(strstr(error, "c.yaml:1:22: "));
    /* what is so already may be so although a node has lost its interface since */
    assert_int_equal(judge("vips: {x: {address: 10.0.0.9/24, nodes: [a, c]}}", true), CONTROL_DONE);
    apply();
    assert_int_equal(judge("settings: {announce: {count: 9}}\nvips: {x: {address: 10.0.0.9/24, nodes: [a, c]}}", false),
                     CONTROL_DONE);
}

static void bad_hooks(void **state)
{
    static const char *const BAD[][2] = {
        {"vips: {x: {address: 10.0.0.9/24, hooks: {after-tak: up}}}", "did you mean 'after-take'"},
        {"vips: {x: {address: 10.0.0.9/24, hooks: {after-take: /bin/sh}}}", "c.yaml:1:54: '/bin/sh' is not a program's name"},
        {"vips: {x: {address: 10.0.0.9/24, hooks: {after-take: .up}}}", "is not a program's name"},
        {"vips: {x: {address: 10.0.0.9/24, hooks: {after-take: {timeout: 1s}}}}", "run"},
        {"vips: {x: {address: 10.0.0.9/24, hooks: {after-take: {run: up, timeout: 2m}}}}", "expected 10ms to 60s"},
        {"vips: {x: {address: 10.0.0.9/24, hooks: {after-take: [up]}}}", "a program's name, or a map"},
        {"vips: {x: {address: 10.0.0.9/24, hooks: up}}", "a map like {after-take: NAME}"},
        {"vips: {x: {address: 10.0.0.9/24, reset-connections: maybe}}", "true or false"},
        {"groups: {g: {hooks: {before-take: a-name-that-is-longer-than-it-may-be}}}", "expected 1 to 31 letters"},
    };

    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        assert_int_equal(judge(BAD[i][0], false), CONTROL_USAGE);
        if (strstr(error, BAD[i][1]) == NULL) {
            fail_msg("%s\n%s", BAD[i][0], error);
        }
    }
}

/* One that goes together with its group is released with what the group ran, and with its own where it has one. */
static void a_group_leaves_its_hooks(void **state)
{
    assert_int_equal(judge("groups: {g: {hooks: {before-release: {run: stop, timeout: 1s}, after-release: gone}}}\n"
                           "vips:\n  x: {address: 10.0.0.1/24, group: g, hooks: {after-release: own}}\n"
                           "  y: {address: 10.0.0.2/24}\n", false), CONTROL_DONE);
    apply();
    const struct vip *x = &table.vips[table_vip_by_name(&table, "x")];
    assert_string_equal(table_hook(&table, x, HOOK_BEFORE_RELEASE)->program, "stop");
    assert_int_equal(judge("groups: {}\nvips: {y: {address: 10.0.0.2/24}}\n", false), CONTROL_DONE);
    apply();
    assert_true(x->used && x->deleted);
    assert_string_equal(table_hook(&table, x, HOOK_BEFORE_RELEASE)->program, "stop");
    assert_int_equal(table_hook(&table, x, HOOK_BEFORE_RELEASE)->timeout_ms, 1000);
    assert_string_equal(table_hook(&table, x, HOOK_AFTER_RELEASE)->program, "own");
    assert_null(table_hook(&table, x, HOOK_AFTER_TAKE));
}

static void not_all_at_once(void **state)
{
    assert_int_equal(judge("vips:\n  a: {address: 10.0.0.1/24}\n  b: {address: 10.0.0.2/24}\n", false), CONTROL_DONE);
    apply();
    assert_int_equal(judge("vips: {c: {address: 10.0.0.3/24}}\n", false), CONTROL_UNSAFE);
    assert_int_equal(judge("vips: {}\n", false), CONTROL_UNSAFE);
    assert_int_equal(judge("vips: {}\n", true), CONTROL_DONE);
    apply();
    assert_int_equal(judge("vips: {c: {address: 10.0.0.1/24}}\n", false), CONTROL_CONFLICT); /* not released yet */
    assert_non_null(strstr(error, "still being released"));
}

/* ------------------------------------------------------------------ what is written is what is read */

static uint64_t seed;

static uint32_t below(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 11) % n;
}

/* A duration between the two, mostly of a whole unit. */
static uint32_t some_ms(uint32_t min, uint32_t max)
{
    static const uint32_t units[] = {1, 1000, 60000, 3600000};
    uint32_t ms = min + below(max - min + 1), unit = units[below(4)];

    return ms / unit * unit >= min ? ms / unit * unit : ms;
}

/* Names as people and machines give them; some are words of YAML, numbers, or what an address looks like. */
static void some_name(char ret[NAME_SIZE], char kind, int i)
{
    static const char *const odd[] = {"true", "null", "no", "1e3", "0x1F", "12:30", "5", "1.5", "_", "on", "a.b:c", "Null"};

    memset(ret, 0, NAME_SIZE);
    if (below(3) == 0 && i < 12) {
        snprintf(ret, NAME_SIZE, "%s", odd[i]);
    } else if (below(9) == 0) {
        memset(ret, kind, NAME_MAX_LEN);
        snprintf(ret + NAME_MAX_LEN - 4, 5, "%04d", i);
    } else {
        snprintf(ret, NAME_SIZE, "%c-%d", kind, i);
    }
}

static void some_check(struct check_spec *ret, int i)
{
    static const char *const targets[CHECK_KINDS_N][3] = {
        [CHECK_HTTP] = {"http://127.0.0.1:8404/healthz", "http://[::1]/a?b=c#d", "http://10.0.0.1/\"'\\%7e{}[],&*!|>@`"},
        [CHECK_TCP] = {"127.0.0.1:80", "[fd00::1]:65535", "10.0.0.9:1"},
        [CHECK_EXEC] = {"check.sh", "5", "true"},
        [CHECK_PROCESS] = {"haproxy", "null", "#weird:name-1"},
        [CHECK_FILE] = {"/run/ok", "/a#b", "/\"quoted\\\""},
        [CHECK_PING] = {"gateway", "10.0.0.1", "fd00::1"},
    };
    uint32_t kind = below(CHECK_KINDS_N);

    *ret = check_spec_default();
    some_name(ret->name, 'k', i);
    ret->kind = (enum check_kind)kind;
    snprintf(ret->target, sizeof ret->target, "%s", targets[kind][below(3)]);
    if (below(2) == 0) {
        ret->every_ms = some_ms(1000, 3600000);
        ret->timeout_ms = below(2) ? ret->every_ms : some_ms(10, ret->every_ms);
        ret->fall = (uint8_t)(1 + below(100));
        ret->rise = (uint8_t)(1 + below(100));
    }
    ret->weight = (uint16_t)(below(2) ? 0 : below(65536));
    ret->node = below(4) == 0;
    ret->release = below(4) == 0;
}

static uint8_t some_prefers(struct prefer ret[PREFERS_MAX])
{
    uint8_t n = (uint8_t)below(4);

    for (int i = 0; i < n; i++) { /* the witness is none of them */
        ret[i] = (struct prefer){.node = (int8_t)i, .weight = (uint16_t)(1 + below(65535))};
    }
    return n;
}

static uint32_t some_failback(void)
{
    return below(2) ? 0 : own_failback(below(2) ? below(2) : some_ms(2, FAILBACK_MAX_MS));
}

static void some_hooks(struct hook ret[HOOK_POINTS_N])
{
    static const char *const programs[] = {"notify", "leave.sh", "true", "null", "5", "1e3", "no"};

    for (int i = 0; i < HOOK_POINTS_N; i++) {
        if (below(4) == 0) {
            snprintf(ret[i].program, HOOK_PROGRAM_SIZE, "%s", programs[below(7)]);
            ret[i].timeout_ms = below(2) ? HOOK_TIMEOUT_DEFAULT_MS : some_ms(HOOK_TIMEOUT_MIN_MS, HOOK_TIMEOUT_MAX_MS);
        }
    }
}

static struct vip_item some_items[40];
static struct check_item some_checks[8];
static struct group some_groups[5];
static struct node_item some_nodes[3];

static void some_vips(struct apply_command *ret)
{
    for (int i = 0; i < (int)ret->n_vips; i++) {
        struct vip_spec *spec = &some_items[i].spec;
        char address[64];

        some_items[i] = (struct vip_item){.slot = (uint16_t)i, .set = VIP_SET_ALL};
        spec->pinned = SLOT_NONE;
        if (below(2) == 0) {
            snprintf(address, sizeof address, "10.0.%d.9/%d", i, 17 + (int)below(8));
        } else {
            snprintf(address, sizeof address, "fd00::%x/64", 9 + i);
        }
        spec->address = prefix_of(address);
        some_name(spec->name, 'v', i);
        if (below(9) == 0) {
            memset(spec->name, 0, sizeof spec->name);
            addr_format(&spec->address.addr, spec->name);
        }
        snprintf(spec->dev, sizeof spec->dev, "%s", below(4) ? "" : "eth0");
        spec->enabled = below(5) != 0;
        spec->no_probe = below(4) == 0;
        spec->yield = below(4) == 0;
        spec->no_reset = below(4) == 0;
        some_hooks(spec->hooks);
        spec->nodes = below(3) ? 0 : 7;
        spec->checks = below(1u << ret->n_checks);
        spec->failback = some_failback();
        spec->n_prefers = some_prefers(spec->prefers);
        if (ret->n_groups > 0 && below(2) == 0) {
            memcpy(spec->group, some_groups[below(ret->n_groups)].name, NAME_SIZE);
        }
        if (i > 0 && spec->group[0] == '\0' && below(3) == 0) {
            spec->n_apart = 1;
            spec->apart[0] = (uint16_t)below((uint32_t)i);
        }
    }
}

static int compare_items(const void *a, const void *b)
{
    return strcmp(((const struct vip_item *)a)->spec.name, ((const struct vip_item *)b)->spec.name);
}

/* A table with something of everything that a document says, through the entry that a document would be. */
static void some_table(void)
{
    struct command command = {.type = COMMAND_APPLY};
    struct apply_command *ret = &command.apply;
    struct settings *settings = &ret->settings;
    struct outcome outcome;

    start(NULL);
    *ret = (struct apply_command){.revision = table.revision, .vips = some_items, .checks = some_checks, .groups = some_groups,
                                  .nodes = some_nodes, .n_vips = below(41), .n_checks = below(9), .n_groups = below(6)};
    ret->has_settings = below(4) != 0;
    settings->announce_count = (uint16_t)(1 + below(100));
    settings->announce_interval_ms = some_ms(10, 60000);
    settings->announce_refresh_ms = below(3) ? some_ms(1000, REFRESH_MAX_MS) : 0;
    settings->failback_ms = below(3) ? some_ms(0, FAILBACK_MAX_MS) : below(2);
    settings->hold_after = (uint16_t)below(1001);
    settings->hold_window_ms = some_ms(0, HOLD_MAX_MS);
    settings->hold_max_ms = below(4) ? some_ms(0, HOLD_MAX_MS) : 0;
    settings->hold_first_ms = below(settings->hold_max_ms + 1);
    ret->has_voting = true;
    ret->voting = (struct voting){.count = (uint8_t)(3 + 2 * below(3)), .replace_ms = some_ms(1000, 86400000)};
    for (uint32_t i = 0; i < ret->n_checks; i++) {
        some_checks[i] = (struct check_item){.slot = (uint8_t)i};
        some_check(&some_checks[i].spec, (int)i);
    }
    for (uint32_t i = 0; i < ret->n_groups; i++) {
        some_groups[i] = (struct group){.checks = below(1u << ret->n_checks), .failback = some_failback()};
        some_name(some_groups[i].name, 'g', (int)i);
        some_groups[i].n_prefers = some_prefers(some_groups[i].prefers);
        some_hooks(some_groups[i].hooks);
    }
    ret->n_nodes = below(4);
    for (uint32_t i = 0; i < ret->n_nodes; i++) {
        some_nodes[i] = (struct node_item){.node = (int8_t)i, .id = i + 1, .capacity = (uint16_t)below(1001)};
        some_nodes[i].capacity = some_nodes[i].capacity == CAPACITY_DEFAULT ? 0 : some_nodes[i].capacity;
    }
    some_vips(ret);
    qsort(some_items, ret->n_vips, sizeof some_items[0], compare_items);
    table_apply(&table, table.applied + 1, &command, &outcome);
    assert_string_equal(outcome.detail, "");
    assert_int_equal(outcome.code, OUTCOME_DONE);
}

/* The text of a table, applied to it, changes nothing; applied to an empty one, or to any other, makes one with the same
 * text. */
static void export_and_apply_of_random_tables(void **state)
{
    for (int i = 0; i < 1500; i++) {
        seed = 0x9e3779b97f4a7c15ull * ((uint64_t)i + 1);
        some_table();
        exported(text);
        if (judge(text, false) != CONTROL_DONE || changes()) {
            print_message("%s\nin:\n%s\n", error, text);
            fail_msg("of the text that the table has made %d", i);
        }
        start(NULL);
        assert_int_equal(judge(text, false), CONTROL_DONE);
        if (changes()) {
            apply();
        }
        assert_string_equal(exported(again), text);
        some_table(); /* from whatever it was */
        if (judge(text, true) != CONTROL_DONE) {
            fail_msg("%s", error);
        }
        apply();
        assert_string_equal(exported(again), text);
        assert_int_equal(judge(text, false), CONTROL_DONE);
        assert_false(changes());
    }
}

static void delete_vip(int slot)
{
    struct move gone = {.vip = (uint16_t)slot, .to = SLOT_NONE, .reason = REASON_DELETED, .moved = table.vips[slot].moved};
    struct command command = {.type = COMMAND_VIP_DELETE, .move = {.n_moves = 1, .moves = &gone}};
    struct outcome outcome;

    table_apply(&table, table.applied + 1, &command, &outcome);
    assert_int_equal(outcome.code, OUTCOME_DONE);
    assert_true(table.vips[slot].used && table.vips[slot].deleted);
}

/* A deleted VIP has its group for as long as it is being released: for the group's hooks. A document knows neither. */
static void groups_of_deleted_vips(void **state)
{
    int slot;

    assert_int_equal(judge("groups: {bare: {}, says: {hooks: {after-release: gone}}}\nvips:\n"
                           "  x: {address: 10.0.0.8/24, group: bare}\n  y: {address: 10.0.0.9/24, group: says}\n", false),
                     CONTROL_DONE);
    apply();
    assert_non_null(strstr(exported(text), "  bare: {}\n"));
    slot = table_vip_find(&table, "y");
    delete_vip(table_vip_find(&table, "x"));
    delete_vip(slot);
    assert_string_equal(table_hook(&table, &table.vips[slot], HOOK_AFTER_RELEASE)->program, "gone");
    assert_null(strstr(exported(text), "bare"));
    assert_non_null(strstr(text, "groups:\n  says: {hooks: {after-release: gone}}\n"));
    assert_int_equal(judge(text, false), CONTROL_DONE);
    assert_false(changes());
}

/* Every VIP that a cluster can have, out and in again. */
static void as_many_as_there_may_be(void **state)
{
    size_t at = (size_t)sprintf(text, "vips:\n");

    for (int i = 0; i < VIPS_MAX; i++) {
        at += (size_t)sprintf(text + at, "  v%d: {address: 10.1.%d.%d/16}\n", i, i / 250, i % 250 + 1);
    }
    assert_int_equal(judge(text, false), CONTROL_DONE);
    assert_int_equal(wanted.n_items, VIPS_MAX);
    apply();
    clock_t begun = clock();
    assert_int_equal(judge(exported(again), false), CONTROL_DONE);
    printf("    %d VIPs written, parsed and judged in %.1f ms of processor time\n", VIPS_MAX,
           1000.0 * (double)(clock() - begun) / CLOCKS_PER_SEC);
    assert_false(changes());
    strcat(text, "  one-more: {address: 10.200.0.1/16}\n");
    assert_int_equal(judge(text, false), CONTROL_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_key_arrives, start),
        cmocka_unit_test_setup(the_same_again_changes_nothing, start),
        cmocka_unit_test_setup(a_section_that_is_left_out_stays, start),
        cmocka_unit_test_setup(checks_come_and_go_with_what_requires_them, start),
        cmocka_unit_test_setup(as_many_checks_as_there_may_be, start),
        cmocka_unit_test_setup(known_by_its_address, start),
        cmocka_unit_test_setup(what_nodes_cannot_honour, start),
        cmocka_unit_test_setup(bad_hooks, start),
        cmocka_unit_test_setup(a_group_leaves_its_hooks, start),
        cmocka_unit_test_setup(not_all_at_once, start),
        cmocka_unit_test(export_and_apply_of_random_tables),
        cmocka_unit_test_setup(groups_of_deleted_vips, start),
        cmocka_unit_test_setup(as_many_as_there_may_be, start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
