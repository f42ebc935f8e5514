/* Of the cluster's document: groups and VIPs, and what both have: nodes, checks, hooks. */

#include "daemon/cluster_read_private.h"

#include <stdlib.h>
#include <string.h>

#include "core/target.h"

/* ------------------------------------------------------------------ nodes and checks */

/* uint64_t, a set of slots */
static int parse_nodes(struct config_reader *reader, const struct document_node *value, void *field)
{
    uint64_t nodes = 0;

    if (value->n == 0) {
        return config_refuse(reader, value, "an empty list: leave the key out to allow every node");
    }
    for (const struct document_node *item = value->first; item != NULL; item = item->next) {
        int node, rv = cluster_read_scalar(reader, item, "a node's name");

        rv = rv != 0 ? rv : cluster_read_node(reader, item, &node);
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
        int node, rv = cluster_read_node(reader, value->key, &node);

        rv = rv != 0 ? rv : cluster_read_scalar(reader, value, "a weight from 1 to 65535");
        rv = rv != 0 ? rv : cluster_read_number(reader, value, 1, UINT16_MAX, &weight);
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
        int check = 0, rv = cluster_read_scalar(reader, item, "a check's name");

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
    int rv = cluster_read_time(reader, value, &ms);

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

/* ------------------------------------------------------------------ groups */

static const struct config_key GROUP_KEYS[] = {
    {"prefer", CONFIG_MAP, false, parse_group_prefer, 0, "a map of nodes to weights, like {a: 100}",
        "the nodes that the group would rather be on"},
    {"require", CONFIG_LIST, false, parse_require, offsetof(struct group, checks), "a list of checks, like [haproxy]",
        "what the node of its VIPs must pass"},
    {"hooks", CONFIG_MAP, false, parse_hooks, offsetof(struct group, hooks), "a map like {after-take: NAME}",
        "programs that are run when one of its VIPs is taken or released"},
    {"failback", CONFIG_SCALAR, false, cluster_parse_own_failback, offsetof(struct group, failback),
        "never, auto or a time like 'after 10m'", "instead of the cluster's setting"},
};

int cluster_parse_groups(struct config_reader *reader, const struct document_node *value, void *field)
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
        rv = cluster_read_name(reader, item->key, "a group", group->group.name);
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
    return cluster_read_name(reader, value, "a group", field);
}

/* Only its form; the names are looked up once all VIPs are known. */
static int parse_apart(struct config_reader *reader, const struct document_node *value, void *field)
{
    if (value->n > APART_MAX) {
        return config_refuse(reader, value, "%d VIPs to be apart from: expected at most %d", value->n, APART_MAX);
    }
    for (const struct document_node *item = value->first; item != NULL; item = item->next) {
        int rv = cluster_read_scalar(reader, item, "a VIP's name");

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
    {"failback", CONFIG_SCALAR, false, cluster_parse_own_failback, SPEC(failback), "never, auto or a time like 'after 10m'",
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
    rv = cluster_read_name(reader, map->key, "a VIP", spec->name);
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

int cluster_parse_vips(struct config_reader *reader, const struct document_node *value, void *field)
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
