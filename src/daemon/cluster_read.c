/* The keys of the cluster's document, as tables, and what may stand behind each. Everything is told at its place. */

#include "daemon/cluster_document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/near.h"
#include "core/target.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define DURATION "a duration, like 200ms or 60s"

static struct cluster_reader *cluster_of(struct config_reader *reader)
{
    return (struct cluster_reader *)reader;
}

const struct document_node *cluster_place(const struct document_node *map, const char *key)
{
    for (const struct document_node *value = map->first; value != NULL; value = value->next) {
        if (strcmp(value->key->text, key) == 0) {
            return value;
        }
    }
    return map;
}

/* ------------------------------------------------------------------ plain values */

/* A whole number in min..max. */
static int read_number(struct config_reader *reader, const struct document_node *value, uint32_t min, uint32_t max,
    uint32_t *ret)
{
    uint64_t number = 0;
    size_t digits = strspn(value->text, "0123456789");

    if (digits == 0 || value->text[digits] != '\0' || value->quoted) {
        return config_refuse(reader, value, "'%.40s' is not a number: expected %u to %u", value->text, min, max);
    }
    for (size_t i = 0; i < digits && number <= UINT32_MAX; i++) {
        number = number * 10 + (uint64_t)(value->text[i] - '0');
    }
    if (number < min || number > max) {
        return config_refuse(reader, value, "%.40s is out of range: expected %u to %u", value->text, min, max);
    }
    *ret = (uint32_t)number;
    return 0;
}

static int read_scalar(struct config_reader *reader, const struct document_node *value, const char *expected)
{
    if (value->kind != DOCUMENT_SCALAR) {
        return config_refuse(reader, value, "expected %s, found %s", expected, document_kind_text(value->kind));
    }
    return 0;
}

/* A name as VIPs and groups have it (core/check.c). */
static int read_name(struct config_reader *reader, const struct document_node *at, const char *what, char ret[NAME_SIZE])
{
    size_t len = strlen(at->text);

    if (len == 0 || len > NAME_MAX_LEN || at->text[0] == '-' ||
        strspn(at->text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-") != len) {
        return config_refuse(reader, at,
            "'%.70s' is not a name of %s: expected 1 to %d letters, digits, '.', '_', ':' and '-', the first no '-'",
            at->text, what, NAME_MAX_LEN);
    }
    memset(ret, 0, NAME_SIZE);
    memcpy(ret, at->text, len);
    return 0;
}

/* A duration that may be longer than those of the node's file: 10m, 2h, 1d, 3600s. What is longer than any is UINT32_MAX. */
static int cluster_parse_time(struct config_reader *reader, const struct document_node *value, uint32_t *ret)
{
    static const struct
    {
        const char *name;
        uint32_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    size_t digits = strspn(value->text, "0123456789");
    uint64_t number = 0;

    for (int i = 0; i < COUNT(units) && digits > 0; i++) {
        if (strcmp(value->text + digits, units[i].name) != 0) {
            continue;
        }
        for (size_t k = 0; k < digits && number <= UINT32_MAX; k++) {
            number = number * 10 + (uint64_t)(value->text[k] - '0');
        }
        *ret = number < UINT32_MAX / units[i].ms ? (uint32_t)number * units[i].ms : UINT32_MAX;
        return 0;
    }
    return config_parse_duration(reader, value, ret); /* it says what is wrong */
}

/* A duration up to max_ms, which is told as `max`. */
static int read_duration(struct config_reader *reader, const struct document_node *value, uint32_t max_ms, const char *max,
    uint32_t *ret)
{
    uint32_t ms = 0;
    int rv = cluster_parse_time(reader, value, &ms);

    if (rv == 0 && ms > max_ms) {
        return config_refuse(reader, value, "%.40s is too long: expected at most %s", value->text, max);
    }
    *ret = rv == 0 ? ms : *ret;
    return rv;
}

/* ------------------------------------------------------------------ nodes */

static int read_node(struct config_reader *reader, const struct document_node *at, int *ret)
{
    const struct table *table = cluster_of(reader)->table;
    const char *names[NODES_MAX];
    int node = table_node_by_name(table, at->text), n = 0;

    if (node == SLOT_NONE) {
        for (int i = 0; i < NODES_MAX; i++) {
            if (table->nodes[i].used) {
                names[n++] = table->nodes[i].name;
            }
        }
        return config_refuse_word(reader, at, "a node", names, n);
    }
    if (table->nodes[node].witness) {
        return config_refuse(reader, at, "node '%s' is a witness: it votes and never holds a VIP", at->text);
    }
    *ret = node;
    return 0;
}

/* uint64_t, a set of slots */
static int parse_nodes(struct config_reader *reader, const struct document_node *value, void *field)
{
    uint64_t nodes = 0;

    if (value->n == 0) {
        return config_refuse(reader, value, "an empty list: leave the key out to allow every node");
    }
    for (const struct document_node *item = value->first; item != NULL; item = item->next) {
        int node, rv = read_scalar(reader, item, "a node's name");

        rv = rv != 0 ? rv : read_node(reader, item, &node);
        if (rv != 0) {
            return rv;
        }
        if ((nodes >> node & 1) != 0) {
            return config_refuse(reader, item, "node '%s' is listed twice", item->text);
        }
        nodes |= 1ull << node;
    }
    memcpy(field, &nodes, sizeof nodes);
    return 0;
}

static int compare_prefers(const void *a, const void *b)
{
    return ((const struct prefer *)a)->node - ((const struct prefer *)b)->node;
}

/* A map of nodes to weights, in the order of the nodes' slots. */
static int read_prefers(struct config_reader *reader, const struct document_node *map,
    struct prefer ret[PREFERS_MAX], uint8_t *ret_n)
{
    uint8_t n = 0;

    if (map->n > PREFERS_MAX) {
        return config_refuse(reader, map, "%d preferred nodes: expected at most %d", map->n, PREFERS_MAX);
    }
    for (const struct document_node *value = map->first; value != NULL; value = value->next) {
        uint32_t weight = 0;
        int node, rv = read_node(reader, value->key, &node);

        rv = rv != 0 ? rv : read_scalar(reader, value, "a weight from 1 to 65535");
        rv = rv != 0 ? rv : read_number(reader, value, 1, UINT16_MAX, &weight);
        if (rv != 0) {
            return rv;
        }
        ret[n].node = (int8_t)node;
        ret[n].weight = (uint16_t)weight;
        n++;
    }
    qsort(ret, n, sizeof ret[0], compare_prefers);
    *ret_n = n;
    return 0;
}

/* struct vip_spec, whole */
static int parse_vip_prefer(struct config_reader *reader, const struct document_node *value, void *field)
{
    struct vip_spec *spec = field;

    return read_prefers(reader, value, spec->prefers, &spec->n_prefers);
}

/* The name of the check in that slot: of this document where it has checks (they are read first), else of the table. */
static const char *check_name(const struct cluster_reader *reader, int slot)
{
    const char *name = cluster_check_name(reader->table, reader->into, slot);

    return name[0] != '\0' ? name : NULL;
}

/* uint64_t, a set of checks */
static int parse_require(struct config_reader *reader, const struct document_node *value, void *field)
{
    const struct cluster_reader *of = cluster_of(reader);
    const char *names[CHECKS_MAX];
    uint64_t checks = 0;
    int n = 0;

    for (int i = 0; i < CHECKS_MAX; i++) {
        if (check_name(of, i) != NULL) {
            names[n++] = check_name(of, i);
        }
    }
    for (const struct document_node *item = value->first; item != NULL; item = item->next) {
        int check = 0, rv = read_scalar(reader, item, "a check's name");

        if (rv != 0) {
            return rv;
        }
        while (check < CHECKS_MAX && (check_name(of, check) == NULL || strcmp(check_name(of, check), item->text) != 0)) {
            check++;
        }
        if (check == CHECKS_MAX && n == 0) {
            return config_refuse(reader, item, "there is no check '%.70s': expected one that 'checks' has, like checks: {%.70s: "
                "{http: \"http://127.0.0.1/\"}}, or that was made with vipctl check add", item->text, item->text);
        }
        if (check == CHECKS_MAX) {
            return config_refuse_word(reader, item, of->into->has_checks ? "in checks" : "a check", names, n);
        }
        if ((checks >> check & 1) != 0) {
            return config_refuse(reader, item, "check '%s' is listed twice", item->text);
        }
        checks |= 1ull << check;
    }
    memcpy(field, &checks, sizeof checks);
    return 0;
}

/* struct group, whole */
static int parse_group_prefer(struct config_reader *reader, const struct document_node *value, void *field)
{
    struct group *group = field;

    return read_prefers(reader, value, group->prefers, &group->n_prefers);
}

/* ------------------------------------------------------------------ hooks */

/* char[HOOK_PROGRAM_SIZE] */
static int parse_program(struct config_reader *reader, const struct document_node *value, void *field)
{
    size_t len = strlen(value->text);

    if (len > HOOK_PROGRAM_MAX_LEN || !target_is_program(value->text)) {
        return config_refuse(reader, value,
            "'%.70s' is not a program's name: expected 1 to %d letters, digits, '.', '_' and '-', of a file in the nodes' "
            "hooks-dir; no path and no arguments",
            value->text, HOOK_PROGRAM_MAX_LEN);
    }
    memset(field, 0, HOOK_PROGRAM_SIZE);
    memcpy(field, value->text, len);
    return 0;
}

static int parse_hook_timeout(struct config_reader *reader, const struct document_node *value, void *field)
{
    uint32_t ms;
    int rv = cluster_parse_time(reader, value, &ms);

    if (rv == 0 && (ms < HOOK_TIMEOUT_MIN_MS || ms > HOOK_TIMEOUT_MAX_MS)) {
        return config_refuse(reader, value, "timeout is %.40s: expected 10ms to 60s", value->text);
    }
    *(uint32_t *)field = rv == 0 ? ms : *(uint32_t *)field;
    return rv;
}

static const struct config_key HOOK_KEYS[] = {
    {"run", CONFIG_SCALAR, true, parse_program, offsetof(struct hook, program), "a program's name", "of the nodes' hooks-dir"},
    {"timeout", CONFIG_SCALAR, false, parse_hook_timeout, offsetof(struct hook, timeout_ms), DURATION,
        "then it is killed"},
};

/* struct hook: a program, or a map of program and timeout */
static int parse_hook(struct config_reader *reader, const struct document_node *value, void *field)
{
    const struct document_node *values[COUNT(HOOK_KEYS)];
    struct hook *hook = field;

    hook->timeout_ms = HOOK_TIMEOUT_DEFAULT_MS;
    return value->kind == DOCUMENT_SCALAR ? parse_program(reader, value, hook->program)
                                          : config_read_map(reader, value, HOOK_KEYS, COUNT(HOOK_KEYS), hook, values);
}

#define HOOK_KEY(point, name, help)                                                                                        \
    {name, CONFIG_SCALAR | CONFIG_MAP, false, parse_hook, (point) * sizeof(struct hook),                                   \
        "a program's name, or a map like {run: NAME, timeout: 2s}", help}

static const struct config_key POINT_KEYS[] = {
    HOOK_KEY(HOOK_BEFORE_TAKE, "before-take", "on the node that is to take it, before it does"),
    HOOK_KEY(HOOK_AFTER_TAKE, "after-take", "once it is held"),
    HOOK_KEY(HOOK_BEFORE_RELEASE, "before-release", "on the node that is to give it away as planned, before it does"),
    HOOK_KEY(HOOK_AFTER_RELEASE, "after-release", "once it is gone"),
};

/* struct hook[HOOK_POINTS_N] */
static int parse_hooks(struct config_reader *reader, const struct document_node *value, void *field)
{
    const struct document_node *values[COUNT(POINT_KEYS)];

    return config_read_map(reader, value, POINT_KEYS, COUNT(POINT_KEYS), field, values);
}

/* ------------------------------------------------------------------ settings */

static int parse_count(struct config_reader *reader, const struct document_node *value, void *field)
{
    uint32_t number = 0;
    int rv = read_number(reader, value, 1, 100, &number);

    *(uint16_t *)field = rv == 0 ? (uint16_t)number : *(uint16_t *)field;
    return rv;
}

static int parse_announce_interval(struct config_reader *reader, const struct document_node *value, void *field)
{
    uint32_t ms = 0;
    int rv = cluster_parse_time(reader, value, &ms);

    if (rv == 0 && (ms < 10 || ms > 60000)) {
        return config_refuse(reader, value, "interval is %.40s: expected 10ms to 60s", value->text);
    }
    *(uint32_t *)field = rv == 0 ? ms : *(uint32_t *)field;
    return rv;
}

static int parse_refresh(struct config_reader *reader, const struct document_node *value, void *field)
{
    uint32_t ms = 0;
    int rv = read_duration(reader, value, REFRESH_MAX_MS, "1d", &ms);

    if (rv == 0 && ms != 0 && ms < 1000) {
        return config_refuse(reader, value, "refresh is %.40s: expected 0s (never) or at least 1s", value->text);
    }
    *(uint32_t *)field = rv == 0 ? ms : *(uint32_t *)field;
    return rv;
}

static const struct config_key ANNOUNCE_KEYS[] = {
    {"count", CONFIG_SCALAR, false, parse_count, offsetof(struct settings, announce_count), "a number from 1 to 100",
        "announcements in a burst"},
    {"interval", CONFIG_SCALAR, false, parse_announce_interval, offsetof(struct settings, announce_interval_ms), DURATION,
        "between them"},
    {"refresh", CONFIG_SCALAR, false, parse_refresh, offsetof(struct settings, announce_refresh_ms), DURATION,
        "repeated as long as a VIP is held"},
};

static int parse_announce(struct config_reader *reader, const struct document_node *value, void *field)
{
    const struct document_node *values[COUNT(ANNOUNCE_KEYS)];

    return config_read_map(reader, value, ANNOUNCE_KEYS, COUNT(ANNOUNCE_KEYS), field, values);
}

/* never, auto, or for how long a preferred node has to be well: "after 10m" */
static int parse_failback(struct config_reader *reader, const struct document_node *value, void *field)
{
    uint32_t *ret = field, ms = 0;
    struct document_node time = *value;
    const char *near;
    static const char *const words[] = {"never", "auto", "after 10m"};
    int rv;

    if (strcmp(value->text, "never") == 0 || strcmp(value->text, "auto") == 0) {
        *ret = strcmp(value->text, "auto") == 0;
        return 0;
    }
    if (strncmp(value->text, "after ", 6) == 0) {
        time.text += 6 + strspn(value->text + 6, " ");
    }
    if (time.text[0] < '0' || time.text[0] > '9') {
        near = near_name(value->text, words, COUNT(words));
        return config_refuse(reader, value, "'%.40s' is no failback: expected never, auto, or a time like 'after 10m'%s%s%s",
            value->text, near != NULL ? "; did you mean '" : "", near != NULL ? near : "", near != NULL ? "'?" : "");
    }
    rv = read_duration(reader, &time, FAILBACK_MAX_MS, "1d", &ms);
    if (rv == 0) {
        *ret = ms == 0 ? 1 : ms;
    }
    return rv;
}

/* uint32_t; what a VIP or group says itself */
static int parse_own_failback(struct config_reader *reader, const struct document_node *value, void *field)
{
    uint32_t ms = 0;
    int rv = parse_failback(reader, value, &ms);

    *(uint32_t *)field = rv == 0 ? own_failback(ms) : *(uint32_t *)field;
    return rv;
}

static int parse_hold_after(struct config_reader *reader, const struct document_node *value, void *field)
{
    uint32_t number = 0;
    int rv = read_number(reader, value, 0, 1000, &number);

    *(uint16_t *)field = rv == 0 ? (uint16_t)number : *(uint16_t *)field;
    return rv;
}

static int parse_hold_time(struct config_reader *reader, const struct document_node *value, void *field)
{
    return read_duration(reader, value, HOLD_MAX_MS, "1h", field);
}

static const struct config_key HOLD_KEYS[] = {
    {"after", CONFIG_SCALAR, false, parse_hold_after, offsetof(struct settings, hold_after), "a number from 0 to 1000",
        "fences in a row without a hold-down"},
    {"window", CONFIG_SCALAR, false, parse_hold_time, offsetof(struct settings, hold_window_ms), DURATION,
        "fences further apart are not in a row"},
    {"first", CONFIG_SCALAR, false, parse_hold_time, offsetof(struct settings, hold_first_ms), DURATION,
        "the first hold-down; each further one is twice as long"},
    {"max", CONFIG_SCALAR, false, parse_hold_time, offsetof(struct settings, hold_max_ms), DURATION,
        "the longest one; 0s: none at all"},
};

static int parse_hold_down(struct config_reader *reader, const struct document_node *value, void *field)
{
    const struct document_node *values[COUNT(HOLD_KEYS)];
    struct settings *settings = field;
    int rv = config_read_map(reader, value, HOLD_KEYS, COUNT(HOLD_KEYS), field, values);

    if (rv == 0 && settings->hold_max_ms == 0) {
        settings->hold_first_ms = 0;
    }
    if (rv == 0 && settings->hold_first_ms > settings->hold_max_ms) {
        return config_refuse(reader, values[3] != NULL ? values[3] : values[2],
            "the first hold-down is longer than the longest: expected first to be at most max");
    }
    return rv;
}

static const struct config_key SETTINGS_KEYS[] = {
    {"announce", CONFIG_MAP, false, parse_announce, 0, "a map of count, interval and refresh", "how a VIP is announced"},
    {"failback", CONFIG_SCALAR, false, parse_failback, offsetof(struct settings, failback_ms),
        "never, auto or a time like 'after 10m'", "whether VIPs are drawn back to preferred nodes"},
    {"hold-down", CONFIG_MAP, false, parse_hold_down, 0, "a map of after, window, first and max",
        "how long a node that comes and goes is kept out"},
};

static int parse_settings(struct config_reader *reader, const struct document_node *value, void *field)
{
    struct cluster_document *into = cluster_of(reader)->into;
    const struct document_node *values[COUNT(SETTINGS_KEYS)];

    into->has_settings = true;
    into->settings = table_settings_default();
    return config_read_map(reader, value, SETTINGS_KEYS, COUNT(SETTINGS_KEYS), &into->settings, values);
}

/* ------------------------------------------------------------------ voters */

static int parse_voters_count(struct config_reader *reader, const struct document_node *value, void *field)
{
    uint32_t number = 0;
    int rv = read_number(reader, value, 3, VOTERS_MAX, &number);

    if (rv == 0 && number % 2 == 0) {
        return config_refuse(reader, value, "%u voters: expected 3, 5 or 7; one more of an even number makes no loss more "
            "survivable", number);
    }
    *(uint8_t *)field = rv == 0 ? (uint8_t)number : *(uint8_t *)field;
    return rv;
}

static int parse_replace(struct config_reader *reader, const struct document_node *value, void *field)
{
    uint32_t ms = 0;
    int rv = read_duration(reader, value, 86400000, "1d", &ms);

    if (rv == 0 && ms < 1000) {
        return config_refuse(reader, value, "replace is %.40s: expected 1s to 1d", value->text);
    }
    *(uint32_t *)field = rv == 0 ? ms : *(uint32_t *)field;
    return rv;
}

static const struct config_key VOTERS_KEYS[] = {
    {"count", CONFIG_SCALAR, true, parse_voters_count, offsetof(struct voting, count), "3, 5 or 7", "how many nodes vote"},
    {"replace", CONFIG_SCALAR, false, parse_replace, offsetof(struct voting, replace_ms), "a duration, like 60s",
        "after which a voter that is lost is replaced by a standby"},
};

static int parse_voters(struct config_reader *reader, const struct document_node *value, void *field)
{
    struct cluster_document *into = cluster_of(reader)->into;
    const struct document_node *values[COUNT(VOTERS_KEYS)];

    into->has_voters = true;
    into->voting = (struct voting){.replace_ms = VOTER_REPLACE_MS};
    return config_read_map(reader, value, VOTERS_KEYS, COUNT(VOTERS_KEYS), &into->voting, values);
}

/* ------------------------------------------------------------------ checks */

/* struct check_spec, whole; the key is one of the kinds */
static int parse_target(struct config_reader *reader, const struct document_node *value, void *field)
{
    struct check_spec *spec = field;
    struct target target;
    int kind = 0;

    while (strcmp(check_kind_text((enum check_kind)kind), value->key->text) != 0) {
        kind++;
    }
    if (spec->target[0] != '\0') {
        return config_refuse(reader, value->key, "'%s' and '%s': expected one of them, as a check looks at one thing",
            check_kind_text(spec->kind), value->key->text);
    }
    const char *wrong = strlen(value->text) > CHECK_TARGET_MAX_LEN ? "at most 255 bytes"
                                                                  : target_parse((enum check_kind)kind, value->text, &target);
    if (wrong != NULL) {
        return config_refuse(reader, value, "'%.60s' is nothing that %s can look at: expected %s", value->text,
            value->key->text, wrong);
    }
    spec->kind = (enum check_kind)kind;
    memcpy(spec->target, value->text, strlen(value->text));
    return 0;
}

static int parse_check_time(struct config_reader *reader, const struct document_node *value, void *field)
{
    return read_duration(reader, value, TARGET_EVERY_MAX_MS, "1h", field);
}

static int parse_check_count(struct config_reader *reader, const struct document_node *value, void *field)
{
    uint32_t number = 0;
    int rv = read_number(reader, value, 1, TARGET_COUNT_MAX, &number);

    *(uint8_t *)field = rv == 0 ? (uint8_t)number : *(uint8_t *)field;
    return rv;
}

static int parse_weight(struct config_reader *reader, const struct document_node *value, void *field)
{
    uint32_t number = 0;
    int rv = read_number(reader, value, 0, UINT16_MAX, &number);

    *(uint16_t *)field = rv == 0 ? (uint16_t)number : *(uint16_t *)field;
    return rv;
}

static int read_either(struct config_reader *reader, const struct document_node *value, const char *what, const char *no,
    const char *yes, bool *ret)
{
    const char *const words[] = {no, yes};

    if (strcmp(value->text, no) != 0 && strcmp(value->text, yes) != 0) {
        return config_refuse_word(reader, value, what, words, COUNT(words));
    }
    *ret = strcmp(value->text, yes) == 0;
    return 0;
}

static int parse_scope(struct config_reader *reader, const struct document_node *value, void *field)
{
    return read_either(reader, value, "a scope", "vip", "node", field);
}

static int parse_all_failed(struct config_reader *reader, const struct document_node *value, void *field)
{
    return read_either(reader, value, "what can be done when all nodes fail", "keep", "release", field);
}

#define CHECK(field) offsetof(struct check_spec, field)

enum
{
    EVERY = CHECK_KINDS_N,
    TIMEOUT,
};

static const struct config_key CHECK_KEYS[] = {
    [CHECK_HTTP] = {"http", CONFIG_SCALAR, false, parse_target, 0, "a URL, like \"http://127.0.0.1:8404/healthz\"", "a GET"},
    [CHECK_TCP] = {"tcp", CONFIG_SCALAR, false, parse_target, 0, "ADDRESS:PORT, like 127.0.0.1:5432", "a connection"},
    [CHECK_EXEC] = {"exec", CONFIG_SCALAR, false, parse_target, 0, "a program's name", "a program of the nodes' checks-dir"},
    [CHECK_PROCESS] = {"process", CONFIG_SCALAR, false, parse_target, 0, "a process's name", "whether it runs"},
    [CHECK_FILE] = {"file", CONFIG_SCALAR, false, parse_target, 0, "an absolute path", "whether it exists"},
    [CHECK_PING] = {"ping", CONFIG_SCALAR, false, parse_target, 0, "an address, or gateway", "whether it answers"},
    [EVERY] = {"every", CONFIG_SCALAR, false, parse_check_time, CHECK(every_ms), DURATION, "from run to run"},
    [TIMEOUT] = {"timeout", CONFIG_SCALAR, false, parse_check_time, CHECK(timeout_ms), DURATION,
        "a run that takes longer fails"},
    {"fall", CONFIG_SCALAR, false, parse_check_count, CHECK(fall), "a number from 1 to 100",
        "so many failures in a row make it fail"},
    {"rise", CONFIG_SCALAR, false, parse_check_count, CHECK(rise), "a number from 1 to 100",
        "so many passes in a row make it pass"},
    {"weight", CONFIG_SCALAR, false, parse_weight, CHECK(weight), "a number from 0 to 65535",
        "what its failing takes from a node's preference; 0: it is required"},
    {"scope", CONFIG_SCALAR, false, parse_scope, CHECK(node), "vip or node", "node: every VIP has it"},
    {"all-failed", CONFIG_SCALAR, false, parse_all_failed, CHECK(release), "keep or release",
        "what becomes of a VIP when every node fails"},
};

/* What is wrong in a check's parts together. */
static int check_parts(struct config_reader *reader, const struct document_node *map, struct check_spec *spec,
    const struct document_node *const values[])
{
    const struct document_node *every = values[EVERY], *timeout = values[TIMEOUT];
    uint32_t least_ms = target_least_ms(spec->kind);

    if (spec->target[0] == '\0') {
        return config_refuse(reader, map, "check '%s' does not say what it looks at: expected one of http, tcp, exec, process, "
            "file and ping", map->key->text);
    }
    if (every != NULL && spec->every_ms < least_ms) {
        return config_refuse(reader, every, "every is %.40s: expected %s to 1h for %s", every->text,
            least_ms == 1000 ? "1s" : "100ms", check_kind_text(spec->kind));
    }
    if (every != NULL && timeout == NULL && spec->timeout_ms > spec->every_ms) {
        spec->timeout_ms = spec->every_ms;
    }
    if (spec->timeout_ms < TARGET_TIMEOUT_MIN_MS || spec->timeout_ms > spec->every_ms) {
        char most[16];

        cluster_duration(spec->every_ms, most);
        return config_refuse(reader, timeout, "timeout is %.40s: expected 10ms to %s, which is 'every'", timeout->text, most);
    }
    return 0;
}

/* The slot that the check of that name has, or gets: one that no check of the table is in. SLOT_NONE: there is none left. */
static int slot_for(const struct cluster_reader *reader, const char *name)
{
    int slot = table_check_by_name(reader->table, name);

    for (int i = 0; i < CHECKS_MAX && slot == SLOT_NONE; i++) {
        slot = reader->table->checks[i].spec.name[0] == '\0' && reader->into->checks[i].at == NULL ? i : SLOT_NONE;
    }
    return slot;
}

static int parse_checks(struct config_reader *reader, const struct document_node *value, void *field)
{
    struct cluster_document *into = cluster_of(reader)->into;

    if (into->has_checks) {
        return 0; /* read before the others */
    }
    into->has_checks = true;
    memset(into->checks, 0, sizeof into->checks);
    for (const struct document_node *item = value->first; item != NULL; item = item->next) {
        struct check_spec spec = check_spec_default();
        const struct document_node *values[COUNT(CHECK_KEYS)];
        int slot, rv = read_name(reader, item->key, "a check", spec.name);

        if (rv == 0 && item->kind != DOCUMENT_MAP) {
            rv = config_refuse(reader, item, "expected a map, like {tcp: \"127.0.0.1:5432\"}, for check '%s', found %s",
                item->key->text, document_kind_text(item->kind));
        }
        rv = rv != 0 ? rv : config_read_map(reader, item, CHECK_KEYS, COUNT(CHECK_KEYS), &spec, values);
        rv = rv != 0 ? rv : check_parts(reader, item, &spec, values);
        if (rv != 0) {
            return rv;
        }
        slot = slot_for(cluster_of(reader), spec.name);
        if (slot == SLOT_NONE) {
            return config_refuse(reader, item->key, "no room for check '%s': expected at most %d, those included that this "
                "document deletes; delete them first", item->key->text, CHECKS_MAX);
        }
        into->checks[slot] = (struct wanted_check){.spec = spec, .at = item};
    }
    return 0;
}

/* ------------------------------------------------------------------ nodes of the cluster */

/* uint16_t; the default is 0 */
static int parse_capacity(struct config_reader *reader, const struct document_node *value, void *field)
{
    uint32_t number = 0;
    int rv = read_number(reader, value, 1, CAPACITY_MAX, &number);

    *(uint16_t *)field = rv == 0 ? (uint16_t)(number == CAPACITY_DEFAULT ? 0 : number) : *(uint16_t *)field;
    return rv;
}

static const struct config_key NODE_KEYS[] = {
    {"capacity", CONFIG_SCALAR, false, parse_capacity, 0, "a number from 1 to 1000",
        "the node's share of the VIPs beside others', which have 100"},
};

static int parse_cluster_nodes(struct config_reader *reader, const struct document_node *value, void *field)
{
    struct cluster_document *into = cluster_of(reader)->into;

    into->has_nodes = true;
    memset(into->capacities, 0, sizeof into->capacities);
    for (const struct document_node *item = value->first; item != NULL; item = item->next) {
        const struct document_node *values[COUNT(NODE_KEYS)];
        int node, rv = read_node(reader, item->key, &node);

        if (rv == 0 && item->kind != DOCUMENT_MAP) {
            rv = config_refuse(reader, item, "expected a map, like {capacity: 200}, for node '%s', found %s",
                item->key->text, document_kind_text(item->kind));
        }
        rv = rv != 0 ? rv : config_read_map(reader, item, NODE_KEYS, COUNT(NODE_KEYS), &into->capacities[node], values);
        if (rv != 0) {
            return rv;
        }
    }
    return 0;
}

/* ------------------------------------------------------------------ groups */

static const struct config_key GROUP_KEYS[] = {
    {"prefer", CONFIG_MAP, false, parse_group_prefer, 0, "a map of nodes to weights, like {a: 100}",
        "the nodes that the group would rather be on"},
    {"require", CONFIG_LIST, false, parse_require, offsetof(struct group, checks), "a list of checks, like [haproxy]",
        "what the node of its VIPs must pass"},
    {"hooks", CONFIG_MAP, false, parse_hooks, offsetof(struct group, hooks), "a map like {after-take: NAME}",
        "programs that are run when one of its VIPs is taken or released"},
    {"failback", CONFIG_SCALAR, false, parse_own_failback, offsetof(struct group, failback),
        "never, auto or a time like 'after 10m'", "instead of the cluster's setting"},
};

static int parse_groups(struct config_reader *reader, const struct document_node *value, void *field)
{
    struct cluster_document *into = cluster_of(reader)->into;

    into->has_groups = true;
    if (value->n > GROUPS_MAX) {
        return config_refuse(reader, value, "%d groups: expected at most %d", value->n, GROUPS_MAX);
    }
    for (const struct document_node *item = value->first; item != NULL; item = item->next) {
        struct wanted_group *group = &into->groups[into->n_groups];
        const struct document_node *values[COUNT(GROUP_KEYS)];
        int rv;

        *group = (struct wanted_group){.at = item};
        rv = read_name(reader, item->key, "a group", group->group.name);
        if (rv == 0 && item->kind != DOCUMENT_MAP) {
            rv = config_refuse(reader, item, "expected a map, like {prefer: {a: 100}}, or {} for group '%s', found %s",
                item->key->text, document_kind_text(item->kind));
        }
        rv = rv != 0 ? rv : config_read_map(reader, item, GROUP_KEYS, COUNT(GROUP_KEYS), &group->group, values);
        if (rv != 0) {
            return rv;
        }
        into->n_groups++;
    }
    return 0;
}

/* ------------------------------------------------------------------ VIPs */

/* struct prefix */
static int parse_address(struct config_reader *reader, const struct document_node *value, void *field)
{
    const struct table *table = cluster_of(reader)->table;
    struct prefix prefix;

    if (prefix_parse(value->text, &prefix, NULL) < 0) {
        return config_refuse(reader, value,
            "'%.60s' is not an address: expected one like 10.0.0.50/24 or 2001:db8::50/64", value->text);
    }
    if (!prefix_is_host(&prefix)) {
        return config_refuse(reader, value,
            "%.60s is not an address that one host can be given: expected no network, broadcast, multicast, loopback "
            "or link-local address",
            value->text);
    }
    int owner = table_node_by_addr(table, &prefix.addr);
    if (owner != SLOT_NONE) {
        return config_refuse(reader, value, "%.60s is the own address of node '%s': expected one that no host has", value->text,
            table->nodes[owner].name);
    }
    memcpy(field, &prefix, sizeof prefix);
    return 0;
}

/* char[DEV_SIZE] */
static int parse_dev(struct config_reader *reader, const struct document_node *value, void *field)
{
    size_t len = strlen(value->text);

    for (const char *c = value->text; *c != '\0'; c++) {
        len = *c <= ' ' || *c > '~' || *c == '/' ? DEV_SIZE : len;
    }
    if (len == 0 || len >= DEV_SIZE) {
        return config_refuse(reader, value,
            "'%.40s' is not an interface's name: expected 1 to %d printable characters without '/' and blanks",
            value->text, DEV_SIZE - 1);
    }
    memset(field, 0, DEV_SIZE);
    memcpy(field, value->text, len);
    return 0;
}

/* char[NAME_SIZE] */
static int parse_group(struct config_reader *reader, const struct document_node *value, void *field)
{
    return read_name(reader, value, "a group", field);
}

/* Only its form; the names are looked up once all VIPs are known. */
static int parse_apart(struct config_reader *reader, const struct document_node *value, void *field)
{
    if (value->n > APART_MAX) {
        return config_refuse(reader, value, "%d VIPs to be apart from: expected at most %d", value->n, APART_MAX);
    }
    for (const struct document_node *item = value->first; item != NULL; item = item->next) {
        int rv = read_scalar(reader, item, "a VIP's name");

        if (rv != 0) {
            return rv;
        }
    }
    return 0;
}

static int parse_probe(struct config_reader *reader, const struct document_node *value, void *field)
{
    bool probe;
    int rv = config_parse_bool(reader, value, &probe);

    *(bool *)field = rv == 0 ? !probe : *(bool *)field;
    return rv;
}

static int parse_reset(struct config_reader *reader, const struct document_node *value, void *field)
{
    bool reset;
    int rv = config_parse_bool(reader, value, &reset);

    *(bool *)field = rv == 0 ? !reset : *(bool *)field;
    return rv;
}

static int parse_conflict(struct config_reader *reader, const struct document_node *value, void *field)
{
    static const char *const words[] = {"defend", "yield"};

    if (strcmp(value->text, words[0]) != 0 && strcmp(value->text, words[1]) != 0) {
        return config_refuse_word(reader, value, "a policy for conflicts", words, COUNT(words));
    }
    *(bool *)field = strcmp(value->text, "yield") == 0;
    return 0;
}

#define SPEC(field) offsetof(struct vip_spec, field)

static const struct config_key VIP_KEYS[] = {
    {"address", CONFIG_SCALAR, true, parse_address, SPEC(address), "an address, like 10.0.0.50/24",
        "the address with the length of its subnet"},
    {"dev", CONFIG_SCALAR, false, parse_dev, SPEC(dev), "an interface's name, like eth0",
        "the interface; default: the one whose subnet contains the address"},
    {"group", CONFIG_SCALAR, false, parse_group, SPEC(group), "a group's name", "VIPs of a group move together"},
    {"nodes", CONFIG_LIST, false, parse_nodes, SPEC(nodes), "a list of nodes, like [a, b]", "only these may hold it"},
    {"prefer", CONFIG_MAP, false, parse_vip_prefer, 0, "a map of nodes to weights, like {a: 100}",
        "the nodes that it would rather be on"},
    {"require", CONFIG_LIST, false, parse_require, SPEC(checks), "a list of checks, like [haproxy]",
        "what its node must pass"},
    {"apart-from", CONFIG_LIST, false, parse_apart, 0, "a list of VIPs, like [web]", "never on the node of these"},
    {"enabled", CONFIG_SCALAR, false, config_parse_bool, SPEC(enabled), "true or false", "false: held by nobody"},
    {"probe", CONFIG_SCALAR, false, parse_probe, SPEC(no_probe), "true or false",
        "whether other hosts are asked for it before it is taken from nobody"},
    {"conflict", CONFIG_SCALAR, false, parse_conflict, SPEC(yield), "defend or yield",
        "what happens when another host announces it"},
    {"hooks", CONFIG_MAP, false, parse_hooks, SPEC(hooks), "a map like {after-take: NAME}",
        "programs that are run when it is taken or released"},
    {"reset-connections", CONFIG_SCALAR, false, parse_reset, SPEC(no_reset), "true or false",
        "whether its open TCP connections are reset when it moves as planned"},
    {"failback", CONFIG_SCALAR, false, parse_own_failback, SPEC(failback), "never, auto or a time like 'after 10m'",
        "instead of the group's or the cluster's setting"},
};

static int read_vip(struct config_reader *reader, const struct document_node *map, struct wanted_vip *ret)
{
    struct vip_spec *spec = &ret->item.spec;
    const struct document_node *values[COUNT(VIP_KEYS)];
    char text[ADDR_TEXT_MAX];
    struct addr addr;
    int rv;

    memset(ret, 0, sizeof *ret);
    ret->at = map;
    spec->enabled = true;
    spec->pinned = SLOT_NONE;
    rv = read_name(reader, map->key, "a VIP", spec->name);
    if (rv == 0 && map->kind != DOCUMENT_MAP) {
        rv = config_refuse(reader, map, "expected a map, like {address: 10.0.0.50/24}, for VIP '%s', found %s",
            map->key->text, document_kind_text(map->kind));
    }
    rv = rv != 0 ? rv : config_read_map(reader, map, VIP_KEYS, COUNT(VIP_KEYS), spec, values);
    if (rv != 0 || addr_parse(spec->name, &addr) != 0) {
        return rv;
    }
    if (!addr_equal(&addr, &spec->address.addr)) {
        return config_refuse(reader, map->key, "the name '%s' is another address than the VIP's own: expected %s or a word",
            map->key->text, addr_format(&spec->address.addr, text));
    }
    memset(spec->name, 0, sizeof spec->name);
    memcpy(spec->name, addr_format(&addr, text), strlen(addr_format(&addr, text)));
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct wanted_vip *)a)->item.spec.name, ((const struct wanted_vip *)b)->item.spec.name);
}

static int parse_vips(struct config_reader *reader, const struct document_node *value, void *field)
{
    struct cluster_document *into = cluster_of(reader)->into;

    into->has_vips = true;
    if (value->n > VIPS_MAX) {
        return config_refuse(reader, value, "%d VIPs: expected at most %d", value->n, VIPS_MAX);
    }
    for (const struct document_node *item = value->first; item != NULL; item = item->next) {
        int rv = read_vip(reader, item, &into->vips[into->n_vips]);

        if (rv != 0) {
            return rv;
        }
        into->n_vips++;
    }
    qsort(into->vips, into->n_vips, sizeof into->vips[0], compare_names);
    for (uint32_t i = 1; i < into->n_vips; i++) { /* "2001:db8::1" and "2001:DB8::1" are different keys and one name */
        if (compare_names(&into->vips[i - 1], &into->vips[i]) == 0) {
            return config_refuse(reader, into->vips[i].at->key, "the name '%s' is that of the VIP in line %d, too",
                into->vips[i].item.spec.name, into->vips[i - 1].at->key->line);
        }
    }
    return 0;
}

/* ------------------------------------------------------------------ the document */

static const struct config_key KEYS[] = {
    {"settings", CONFIG_MAP, false, parse_settings, 0, "a map of settings", "the cluster's settings"},
    {"voters", CONFIG_MAP, false, parse_voters, 0, "a map of count and replace", "how many nodes vote"},
    {"nodes", CONFIG_MAP, false, parse_cluster_nodes, 0, "a map of nodes", "what nodes can carry"},
    {"checks", CONFIG_MAP, false, parse_checks, 0, "a map of checks", "all health checks of the cluster"},
    {"groups", CONFIG_MAP, false, parse_groups, 0, "a map of groups", "VIPs that move together"},
    {"vips", CONFIG_MAP, false, parse_vips, 0, "a map of VIPs", "all VIPs of the cluster"},
};

int cluster_read(struct cluster_reader *reader)
{
    struct config_reader *config = &reader->config;
    const struct document_node *root = document_root(config->document);
    const struct document_node *values[COUNT(KEYS)];

    reader->into->has_settings = reader->into->has_voters = reader->into->has_nodes = reader->into->has_checks = false;
    reader->into->has_groups = reader->into->has_vips = false;
    reader->into->n_groups = 0;
    reader->into->n_vips = 0;
    reader->code = CONTROL_USAGE;
    if (root == NULL || root->kind != DOCUMENT_MAP) {
        struct document_node start = {.line = 1, .column = 1};

        return config_refuse(config, root != NULL ? root : &start,
            "expected keys and values, like 'vips: {web: {address: 10.0.0.50/24}}', found %s",
            root != NULL ? document_kind_text(root->kind) : "nothing");
    }
    /* groups and VIPs refer to checks, wherever in the document these stand */
    const struct document_node *checks = cluster_place(root, "checks");
    int rv = checks != root && checks->kind == DOCUMENT_MAP ? parse_checks(config, checks, NULL) : 0;
    return rv != 0 ? rv : config_read_map(config, root, KEYS, COUNT(KEYS), reader->into, values);
}
