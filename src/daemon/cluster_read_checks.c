/* Of the cluster's document: health checks. */

#include "daemon/cluster_read_private.h"

#include <string.h>

#include "core/target.h"

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
    return cluster_read_duration(reader, value, TARGET_EVERY_MAX_MS, "1h", field);
}

static int parse_check_count(struct config_reader *reader, const struct document_node *value, void *field)
{
    uint32_t number = 0;
    int rv = cluster_read_number(reader, value, 1, TARGET_COUNT_MAX, &number);

    *(uint8_t *)field = rv == 0 ? (uint8_t)number : *(uint8_t *)field;
    return rv;
}

static int parse_weight(struct config_reader *reader, const struct document_node *value, void *field)
{
    uint32_t number = 0;
    int rv = cluster_read_number(reader, value, 0, UINT16_MAX, &number);

    *(uint16_t *)field = rv == 0 ? (uint16_t)number : *(uint16_t *)field;
    return rv;
}

static int parse_scope(struct config_reader *reader, const struct document_node *value, void *field)
{
    return cluster_read_either(reader, value, "a scope", "vip", "node", field);
}

static int parse_all_failed(struct config_reader *reader, const struct document_node *value, void *field)
{
    return cluster_read_either(reader, value, "what can be done when all nodes fail", "keep", "release", field);
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

int cluster_parse_checks(struct config_reader *reader, const struct document_node *value, void *field)
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
        int slot, rv = cluster_read_name(reader, item->key, "a check", spec.name);

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
