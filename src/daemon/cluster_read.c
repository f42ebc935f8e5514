/* The cluster's document: its parts, whose keys are tables with what may stand behind each, and their plain values. Everything is told
 * at its place. */

#include "daemon/cluster_read_private.h"

#include <string.h>

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

int cluster_read_number(struct config_reader *reader, const struct document_node *value, uint32_t min, uint32_t max,
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

int cluster_read_scalar(struct config_reader *reader, const struct document_node *value, const char *expected)
{
    if (value->kind != DOCUMENT_SCALAR) {
        return config_refuse(reader, value, "expected %s, found %s", expected, document_kind_text(value->kind));
    }
    return 0;
}

int cluster_read_name(struct config_reader *reader, const struct document_node *at, const char *what, char ret[NAME_SIZE])
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

int cluster_read_time(struct config_reader *reader, const struct document_node *value, uint32_t *ret)
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

int cluster_read_duration(struct config_reader *reader, const struct document_node *value, uint32_t max_ms, const char *max,
    uint32_t *ret)
{
    uint32_t ms = 0;
    int rv = cluster_read_time(reader, value, &ms);

    if (rv == 0 && ms > max_ms) {
        return config_refuse(reader, value, "%.40s is too long: expected at most %s", value->text, max);
    }
    *ret = rv == 0 ? ms : *ret;
    return rv;
}

int cluster_read_either(struct config_reader *reader, const struct document_node *value, const char *what, const char *no,
    const char *yes, bool *ret)
{
    const char *const words[] = {no, yes};

    if (strcmp(value->text, no) != 0 && strcmp(value->text, yes) != 0) {
        return config_refuse_word(reader, value, what, words, COUNT(words));
    }
    *ret = strcmp(value->text, yes) == 0;
    return 0;
}

/* ------------------------------------------------------------------ nodes */

int cluster_read_node(struct config_reader *reader, const struct document_node *at, int *ret)
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

/* ------------------------------------------------------------------ the document */

static const struct config_key KEYS[] = {
    {"settings", CONFIG_MAP, false, cluster_parse_settings, 0, "a map of settings", "the cluster's settings"},
    {"voters", CONFIG_MAP, false, cluster_parse_voters, 0, "a map of count and replace", "how many nodes vote"},
    {"nodes", CONFIG_MAP, false, cluster_parse_nodes, 0, "a map of nodes", "what nodes can carry"},
    {"checks", CONFIG_MAP, false, cluster_parse_checks, 0, "a map of checks", "all health checks of the cluster"},
    {"groups", CONFIG_MAP, false, cluster_parse_groups, 0, "a map of groups", "VIPs that move together"},
    {"vips", CONFIG_MAP, false, cluster_parse_vips, 0, "a map of VIPs", "all VIPs of the cluster"},
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
    int rv = checks != root && checks->kind == DOCUMENT_MAP ? cluster_parse_checks(config, checks, NULL) : 0;
    return rv != 0 ? rv : config_read_map(config, root, KEYS, COUNT(KEYS), reader->into, values);
}
