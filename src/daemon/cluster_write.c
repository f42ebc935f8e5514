/* The table as a document, and single values as they stand in one. What it writes, cluster_read() reads as the same. */

#include "daemon/cluster_document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct cluster_attribute CLUSTER_ATTRIBUTES[CLUSTER_ATTRIBUTES_N] = {
    {"name", VIP_SET_NAME},     {"dev", VIP_SET_DEV},           {"group", VIP_SET_GROUP},
    {"nodes", VIP_SET_NODES},   {"prefer", VIP_SET_PREFERS},    {"apart-from", VIP_SET_APART},
    {"enabled", VIP_SET_ENABLED}, {"probe", VIP_SET_PROBE},     {"conflict", VIP_SET_CONFLICT},
    {"require", VIP_SET_CHECKS}, {"hooks", VIP_SET_HOOKS},      {"reset-connections", VIP_SET_RESET},
    {"failback", VIP_SET_FAILBACK},
};

/* ------------------------------------------------------------------ a VIP as a document has it */

static int compare_prefers(const void *a, const void *b)
{
    return ((const struct prefer *)a)->node - ((const struct prefer *)b)->node;
}

static int compare_slots(const void *a, const void *b)
{
    return *(const uint16_t *)a - *(const uint16_t *)b;
}

void cluster_spec(const struct table *table, int slot, struct vip_spec *ret)
{
    const struct vip *vip = &table->vips[slot];

    memset(ret, 0, sizeof *ret);
    memcpy(ret->name, vip->name, sizeof ret->name);
    ret->address = vip->address;
    memcpy(ret->dev, vip->dev, sizeof ret->dev);
    ret->nodes = vip->nodes;
    ret->checks = vip->checks;
    if (vip->group != SLOT_NONE) {
        memcpy(ret->group, table->groups[vip->group].name, sizeof ret->group);
    }
    ret->enabled = vip->enabled;
    ret->pinned = vip->pinned;
    ret->no_probe = vip->no_probe;
    ret->yield = vip->yield;
    ret->no_reset = vip->no_reset;
    hooks_set(ret->hooks, table->vip_hooks[slot]);
    ret->failback = vip->failback;
    for (int i = 0; i < vip->n_prefers; i++) {
        ret->prefers[i].node = vip->prefers[i].node;
        ret->prefers[i].weight = vip->prefers[i].weight;
    }
    ret->n_prefers = vip->n_prefers;
    for (int i = 0; i < vip->n_apart; i++) { /* of one that is deleted nobody has to be apart */
        if (!table->vips[vip->apart[i]].deleted) {
            ret->apart[ret->n_apart++] = vip->apart[i];
        }
    }
}

static bool same_prefers(const struct vip_spec *a, const struct vip_spec *b)
{
    struct prefer x[PREFERS_MAX], y[PREFERS_MAX];

    memcpy(x, a->prefers, sizeof x);
    memcpy(y, b->prefers, sizeof y);
    qsort(x, a->n_prefers, sizeof x[0], compare_prefers);
    qsort(y, b->n_prefers, sizeof y[0], compare_prefers);
    for (int i = 0; i < a->n_prefers && a->n_prefers == b->n_prefers; i++) {
        if (x[i].node != y[i].node || x[i].weight != y[i].weight) {
            return false;
        }
    }
    return a->n_prefers == b->n_prefers;
}

static bool same_apart(const struct vip_spec *a, const struct vip_spec *b)
{
    uint16_t x[APART_MAX], y[APART_MAX];

    memcpy(x, a->apart, sizeof x);
    memcpy(y, b->apart, sizeof y);
    qsort(x, a->n_apart, sizeof x[0], compare_slots);
    qsort(y, b->n_apart, sizeof y[0], compare_slots);
    return a->n_apart == b->n_apart && memcmp(x, y, a->n_apart * sizeof x[0]) == 0;
}

uint32_t cluster_differ(const struct vip_spec *a, const struct vip_spec *b)
{
    return (strcmp(a->name, b->name) != 0 ? (uint32_t)VIP_SET_NAME : 0) |
           (strcmp(a->dev, b->dev) != 0 ? (uint32_t)VIP_SET_DEV : 0) |
           (a->nodes != b->nodes ? (uint32_t)VIP_SET_NODES : 0) |
           (a->checks != b->checks ? (uint32_t)VIP_SET_CHECKS : 0) |
           (strcmp(a->group, b->group) != 0 ? (uint32_t)VIP_SET_GROUP : 0) |
           (!same_prefers(a, b) ? (uint32_t)VIP_SET_PREFERS : 0) |
           (!same_apart(a, b) ? (uint32_t)VIP_SET_APART : 0) |
           (a->enabled != b->enabled ? (uint32_t)VIP_SET_ENABLED : 0) |
           (a->no_probe != b->no_probe ? (uint32_t)VIP_SET_PROBE : 0) |
           (a->yield != b->yield ? (uint32_t)VIP_SET_CONFLICT : 0) |
           (!hooks_equal(a->hooks, b->hooks) ? (uint32_t)VIP_SET_HOOKS : 0) |
           (a->no_reset != b->no_reset ? (uint32_t)VIP_SET_RESET : 0) |
           (a->failback != b->failback ? (uint32_t)VIP_SET_FAILBACK : 0) |
           (a->address.len != b->address.len ? (uint32_t)VIP_SET_LEN : 0);
}

/* ------------------------------------------------------------------ texts */

static void put_bytes(struct cluster_text *text, const char *bytes, size_t n)
{
    if (text->used + n <= text->size) {
        memcpy(text->bytes + text->used, bytes, n);
    }
    text->used += n;
}

static void put(struct cluster_text *text, const char *string)
{
    put_bytes(text, string, strlen(string));
}

/* A name or an address; in quotes where YAML would take it for something else. */
static void put_word(struct cluster_text *text, const char *word)
{
    size_t plain = strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/-");

    if (word[plain] == '\0' && plain > 0 && strcmp(word, "null") != 0) {
        put_bytes(text, word, plain);
        return;
    }
    put(text, "\"");
    for (; *word != '\0'; word++) {
        if (*word == '"' || *word == '\\') {
            put(text, "\\");
        }
        put_bytes(text, word, 1);
    }
    put(text, "\"");
}

static void put_number(struct cluster_text *text, uint32_t number)
{
    char digits[16];

    put_bytes(text, digits, (size_t)snprintf(digits, sizeof digits, "%u", number));
}

void cluster_duration(uint32_t ms, char ret[16])
{
    if (ms % 60000 == 0 && ms > 60000) {
        snprintf(ret, 16, "%um", ms / 60000);
    } else if (ms % 1000 == 0) {
        snprintf(ret, 16, "%us", ms / 1000);
    } else {
        snprintf(ret, 16, "%ums", ms);
    }
}

void cluster_failback(uint32_t failback_ms, char ret[CLUSTER_SETTING_SIZE])
{
    char time[16];

    cluster_duration(failback_ms, time);
    snprintf(ret, CLUSTER_SETTING_SIZE, "%s%s", failback_ms == 0 ? "never" : failback_ms == 1 ? "auto" : "after ",
        failback_ms > 1 ? time : "");
}

void cluster_own_failback(uint32_t failback, char ret[CLUSTER_SETTING_SIZE])
{
    ret[0] = '\0';
    if (failback != 0) {
        cluster_failback(failback - 1, ret);
    }
}

static void put_prefers(const struct table *table, struct cluster_text *text, const struct prefer *prefers, unsigned n)
{
    put(text, "{");
    for (unsigned i = 0; i < n; i++) {
        put(text, i > 0 ? ", " : "");
        put_word(text, table->nodes[prefers[i].node].name);
        put(text, ": ");
        put_number(text, prefers[i].weight);
    }
    put(text, "}");
}

static void put_nodes(const struct table *table, struct cluster_text *text, uint64_t nodes)
{
    put(text, "[");
    for (uint64_t left = nodes; left != 0; left &= left - 1) {
        put(text, left != nodes ? ", " : "");
        put_word(text, table->nodes[__builtin_ctzll(left)].name);
    }
    put(text, "]");
}

const char *cluster_vip_name(const struct table *table, const struct cluster_document *document, int slot)
{
    return document != NULL ? document->vips[document->by_slot[slot]].item.spec.name : table->vips[slot].name;
}

const char *cluster_check_name(const struct table *table, const struct cluster_document *document, int slot)
{
    return document != NULL && document->has_checks ? document->checks[slot].spec.name : table->checks[slot].spec.name;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Whatever has a slot is written in the order of names: equal clusters have equal texts. */
static void put_names(struct cluster_text *text, const char *names[], size_t n)
{
    qsort(names, n, sizeof names[0], compare_texts);
    put(text, "[");
    for (size_t i = 0; i < n; i++) {
        put(text, i > 0 ? ", " : "");
        put_word(text, names[i]);
    }
    put(text, "]");
}

static void put_checks(const struct table *table, const struct cluster_document *document, struct cluster_text *text,
    uint64_t checks)
{
    const char *names[CHECKS_MAX];
    size_t n = 0;

    for (; checks != 0; checks &= checks - 1) {
        names[n++] = cluster_check_name(table, document, __builtin_ctzll(checks));
    }
    put_names(text, names, n);
}

static void put_hooks(struct cluster_text *text, const struct hook hooks[HOOK_POINTS_N])
{
    const char *between = "";

    put(text, "{");
    for (int i = 0; i < HOOK_POINTS_N; i++) {
        char time[16];

        if (hooks[i].program[0] == '\0') {
            continue;
        }
        cluster_duration(hooks[i].timeout_ms, time);
        put(text, between);
        between = ", ";
        put(text, hook_point_text((enum hook_point)i));
        put(text, hooks[i].timeout_ms != HOOK_TIMEOUT_DEFAULT_MS ? ": {run: " : ": ");
        put_word(text, hooks[i].program);
        if (hooks[i].timeout_ms != HOOK_TIMEOUT_DEFAULT_MS) {
            put(text, ", timeout: ");
            put(text, time);
            put(text, "}");
        }
    }
    put(text, "}");
}

static void put_apart(const struct table *table, const struct cluster_document *document, struct cluster_text *text,
    const struct vip_spec *spec)
{
    const char *names[APART_MAX];

    for (int i = 0; i < spec->n_apart; i++) {
        names[i] = cluster_vip_name(table, document, spec->apart[i]);
    }
    put_names(text, names, spec->n_apart);
}

/* The value of one attribute; nothing for its default. */
static void put_value(const struct table *table, const struct cluster_document *document, struct cluster_text *text,
    const struct vip_spec *spec, enum vip_set bit)
{
    char failback[CLUSTER_SETTING_SIZE];

    switch (bit) {
    case VIP_SET_NAME:
        put_word(text, spec->name);
        break;
    case VIP_SET_DEV:
    case VIP_SET_GROUP:
        if ((bit == VIP_SET_DEV ? spec->dev : spec->group)[0] != '\0') {
            put_word(text, bit == VIP_SET_DEV ? spec->dev : spec->group);
        }
        break;
    case VIP_SET_NODES:
        if (spec->nodes != 0) {
            put_nodes(table, text, spec->nodes);
        }
        break;
    case VIP_SET_PREFERS:
        if (spec->n_prefers > 0) {
            put_prefers(table, text, spec->prefers, spec->n_prefers);
        }
        break;
    case VIP_SET_APART:
        if (spec->n_apart > 0) {
            put_apart(table, document, text, spec);
        }
        break;
    case VIP_SET_ENABLED:
        put(text, spec->enabled ? "" : "false");
        break;
    case VIP_SET_PROBE:
        put(text, spec->no_probe ? "false" : "");
        break;
    case VIP_SET_CONFLICT:
        put(text, spec->yield ? "yield" : "");
        break;
    case VIP_SET_CHECKS:
        if (spec->checks != 0) {
            put_checks(table, document, text, spec->checks);
        }
        break;
    case VIP_SET_HOOKS:
        if (hooks_any(spec->hooks)) {
            put_hooks(text, spec->hooks);
        }
        break;
    case VIP_SET_RESET:
        put(text, spec->no_reset ? "false" : "");
        break;
    case VIP_SET_FAILBACK:
        cluster_own_failback(spec->failback, failback);
        put(text, failback);
        break;
    case VIP_SET_PINNED:
    case VIP_SET_LEN:
        break; /* the one is no configuration, the other part of the address */
    }
}

void cluster_value(const struct table *table, const struct cluster_document *document, const struct vip_spec *spec,
    enum vip_set bit, char ret[CLUSTER_VALUE_SIZE])
{
    struct cluster_text text = {.bytes = ret, .size = CLUSTER_VALUE_SIZE - 1};

    put_value(table, document, &text, spec, bit);
    ret[text.used < text.size ? text.used : text.size] = '\0';
}

void cluster_prefers(const struct table *table, const struct prefer *prefers, unsigned n, char ret[CLUSTER_VALUE_SIZE])
{
    struct cluster_text text = {.bytes = ret, .size = CLUSTER_VALUE_SIZE - 1};

    put_prefers(table, &text, prefers, n);
    ret[text.used < text.size ? text.used : text.size] = '\0';
}

void cluster_checks(const struct table *table, const struct cluster_document *document, uint64_t checks,
    char ret[CLUSTER_VALUE_SIZE])
{
    struct cluster_text text = {.bytes = ret, .size = CLUSTER_VALUE_SIZE - 1};

    put_checks(table, document, &text, checks);
    ret[text.used < text.size ? text.used : text.size] = '\0';
}

void cluster_hooks(const struct hook hooks[HOOK_POINTS_N], char ret[CLUSTER_VALUE_SIZE])
{
    struct cluster_text text = {.bytes = ret, .size = CLUSTER_VALUE_SIZE - 1};

    put_hooks(&text, hooks);
    ret[text.used < text.size ? text.used : text.size] = '\0';
}

/* ------------------------------------------------------------------ the document */

const char *const CLUSTER_SETTINGS[CLUSTER_SETTINGS_N] = {"announce.count", "announce.interval", "announce.refresh",
    "failback", "hold-down.after", "hold-down.window", "hold-down.first", "hold-down.max"};

void cluster_setting(const struct settings *settings, int i, char ret[CLUSTER_SETTING_SIZE])
{
    const uint32_t ms[] = {0, settings->announce_interval_ms, settings->announce_refresh_ms, 0, 0,
        settings->hold_window_ms, settings->hold_first_ms, settings->hold_max_ms};

    if (i == 0 || i == 4) {
        snprintf(ret, CLUSTER_SETTING_SIZE, "%u", i == 0 ? settings->announce_count : settings->hold_after);
    } else if (i == 3) {
        cluster_failback(settings->failback_ms, ret);
    } else {
        cluster_duration(ms[i], ret);
    }
}

static void put_settings(const struct table *table, struct cluster_text *text)
{
    char of[CLUSTER_SETTINGS_N][CLUSTER_SETTING_SIZE], line[128 + CLUSTER_SETTINGS_N * CLUSTER_SETTING_SIZE];

    for (int i = 0; i < CLUSTER_SETTINGS_N; i++) {
        cluster_setting(&table->settings, i, of[i]);
    }
    snprintf(line, sizeof line,
        "settings:\n  failback: %s\n  announce: {count: %s, interval: %s, refresh: %s}\n"
        "  hold-down: {after: %s, window: %s, first: %s, max: %s}\n",
        of[3], of[0], of[1], of[2], of[4], of[5], of[6], of[7]);
    put(text, line);
}

static void put_capacities(const struct table *table, struct cluster_text *text)
{
    bool any = false;

    for (int i = 0; i < NODES_MAX; i++) {
        if (table->nodes[i].used && table->nodes[i].capacity != 0) {
            put(text, any ? "  " : "nodes:\n  ");
            any = true;
            put_word(text, table->nodes[i].name);
            put(text, ": {capacity: ");
            put_number(text, table->nodes[i].capacity);
            put(text, "}\n");
        }
    }
    put(text, any ? "" : "nodes: {}\n");
}

static void put_voters(const struct table *table, struct cluster_text *text)
{
    char replace[16], line[64];

    cluster_duration(table->voting.replace_ms, replace);
    snprintf(line, sizeof line, "voters: {count: %u, replace: %s}\n", table->voting.count, replace);
    put(text, line);
}

/* ------------------------------------------------------------------ checks */

const char *cluster_check_key(int i)
{
    static const char *const others[] = {"every", "timeout", "fall", "rise", "weight", "scope", "all-failed"};

    return i < CHECK_KINDS_N ? check_kind_text((enum check_kind)i) : others[i - CHECK_KINDS_N];
}

/* Times and counts are written always: what they are is worth seeing. */
static void put_check_value(struct cluster_text *text, const struct check_spec *spec, int i)
{
    char time[16];

    if (i < CHECK_KINDS_N) {
        if ((int)spec->kind == i) {
            put_word(text, spec->target);
        }
        return;
    }
    switch (i - CHECK_KINDS_N) {
    case 0:
    case 1:
        cluster_duration(i == CHECK_KINDS_N ? spec->every_ms : spec->timeout_ms, time);
        put(text, time);
        break;
    case 2:
        put_number(text, spec->fall);
        break;
    case 3:
        put_number(text, spec->rise);
        break;
    case 4:
        if (spec->weight > 0) {
            put_number(text, spec->weight);
        }
        break;
    case 5:
        put(text, spec->node ? "node" : "");
        break;
    default:
        put(text, spec->release ? "release" : "");
        break;
    }
}

void cluster_check_value(const struct check_spec *spec, int i, char ret[CLUSTER_VALUE_SIZE])
{
    struct cluster_text text = {.bytes = ret, .size = CLUSTER_VALUE_SIZE - 1};

    put_check_value(&text, spec, i);
    ret[text.used < text.size ? text.used : text.size] = '\0';
}

static void put_check(struct cluster_text *text, const struct check_spec *spec)
{
    bool any = false;

    put(text, "  ");
    put_word(text, spec->name);
    put(text, ": {");
    for (int i = 0; i < CLUSTER_CHECK_ATTRIBUTES_N; i++) {
        struct cluster_text before = *text;
        size_t start;

        put(text, any ? ", " : "");
        put(text, cluster_check_key(i));
        put(text, ": ");
        start = text->used;
        put_check_value(text, spec, i);
        any |= text->used > start;
        if (text->used == start) {
            *text = before;
        }
    }
    put(text, "}\n");
}

static void put_all_checks(const struct table *table, struct cluster_text *text)
{
    const char *names[CHECKS_MAX];
    size_t n = 0;

    for (int i = 0; i < CHECKS_MAX; i++) {
        if (table->checks[i].spec.name[0] != '\0') {
            names[n++] = table->checks[i].spec.name;
        }
    }
    qsort(names, n, sizeof names[0], compare_texts);
    put(text, n > 0 ? "checks:\n" : "checks: {}\n");
    for (size_t i = 0; i < n; i++) {
        put_check(text, &table->checks[table_check_by_name(table, names[i])].spec);
    }
}

/* ------------------------------------------------------------------ groups and VIPs */

static void put_group(const struct table *table, struct cluster_text *text, const struct group *group)
{
    char failback[CLUSTER_SETTING_SIZE];
    const char *comma = "";

    if (group->n_prefers > 0) {
        put(text, "prefer: ");
        put_prefers(table, text, group->prefers, group->n_prefers);
        comma = ", ";
    }
    if (group->checks != 0) {
        put(text, comma);
        put(text, "require: ");
        put_checks(table, NULL, text, group->checks);
        comma = ", ";
    }
    if (hooks_any(group->hooks)) {
        put(text, comma);
        put(text, "hooks: ");
        put_hooks(text, group->hooks);
        comma = ", ";
    }
    if (group->failback != 0) {
        cluster_own_failback(group->failback, failback);
        put(text, comma);
        put(text, "failback: ");
        put(text, failback);
    }
}

/* A group that only deleted VIPs are in is there for what they run when they are released, and goes with them. */
static void put_groups(const struct table *table, struct cluster_text *text)
{
    const char *names[GROUPS_MAX];
    bool has_vips[GROUPS_MAX] = {false};
    size_t n = 0;

    for (int i = 0; i < table->vips_end; i++) {
        if (table->vips[i].used && !table->vips[i].deleted && table->vips[i].group != SLOT_NONE) {
            has_vips[table->vips[i].group] = true;
        }
    }
    for (int i = 0; i < GROUPS_MAX; i++) {
        if (has_vips[i] || group_says(&table->groups[i])) {
            names[n++] = table->groups[i].name;
        }
    }
    qsort(names, n, sizeof names[0], compare_texts);
    put(text, n > 0 ? "groups:\n" : "groups: {}\n");
    for (size_t i = 0; i < n; i++) {
        put(text, "  ");
        put_word(text, names[i]);
        put(text, ": {");
        put_group(table, text, &table->groups[table_group_by_name(table, names[i])]);
        put(text, "}\n");
    }
}

static void put_vip(const struct table *table, struct cluster_text *text, int slot)
{
    struct vip_spec spec;
    char address[PREFIX_TEXT_MAX];

    cluster_spec(table, slot, &spec);
    put(text, "  ");
    put_word(text, spec.name);
    put(text, ": {address: ");
    put_word(text, prefix_format(&spec.address, address));
    for (int i = 0; i < CLUSTER_ATTRIBUTES_N; i++) {
        struct cluster_text before = *text;
        size_t start;

        if (CLUSTER_ATTRIBUTES[i].bit == VIP_SET_NAME) {
            continue;
        }
        put(text, ", ");
        put(text, CLUSTER_ATTRIBUTES[i].key);
        put(text, ": ");
        start = text->used;
        put_value(table, NULL, text, &spec, CLUSTER_ATTRIBUTES[i].bit);
        if (text->used == start) {
            *text = before; /* the default is not written */
        }
    }
    put(text, "}\n");
}

static int compare_names(const void *a, const void *b, void *table)
{
    const struct table *of = table;

    return strcmp(of->vips[*(const uint16_t *)a].name, of->vips[*(const uint16_t *)b].name);
}

static void put_vips(const struct table *table, struct cluster_text *text)
{
    uint16_t order[VIPS_MAX];
    size_t n = 0;

    for (int slot = 0; slot < table->vips_end; slot++) {
        if (table->vips[slot].used && !table->vips[slot].deleted) {
            order[n++] = (uint16_t)slot;
        }
    }
    qsort_r(order, n, sizeof order[0], compare_names, (void *)table);
    put(text, n > 0 ? "vips:\n" : "vips: {}\n");
    for (size_t i = 0; i < n; i++) {
        put_vip(table, text, order[i]);
    }
}

size_t cluster_write(const struct table *table, struct cluster_text *text)
{
    put_settings(table, text);
    put_voters(table, text);
    put_capacities(table, text);
    put_all_checks(table, text);
    put_groups(table, text);
    put_vips(table, text);
    return text->used;
}
