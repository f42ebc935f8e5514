/* Of the cluster's document: settings, voters, and what nodes can carry. */

#include "daemon/cluster_read_private.h"

#include <string.h>

#include "base/near.h"

/* ------------------------------------------------------------------ settings */

static int parse_count(struct config_reader *reader, const struct document_node *value, void *field)
{
    uint32_t number = 0;
    int rv = cluster_read_number(reader, value, 1, 100, &number);

    *(uint16_t *)field = rv == 0 ? (uint16_t)number : *(uint16_t *)field;
    return rv;
}

static int parse_announce_interval(struct config_reader *reader, const struct document_node *value, void *field)
{
    uint32_t ms = 0;
    int rv = cluster_read_time(reader, value, &ms);

    if (rv == 0 && (ms < 10 || ms > 60000)) {
        return config_refuse(reader, value, "interval is %.40s: expected 10ms to 60s", value->text);
    }
    *(uint32_t *)field = rv == 0 ? ms : *(uint32_t *)field;
    return rv;
}

static int parse_refresh(struct config_reader *reader, const struct document_node *value, void *field)
{
    uint32_t ms = 0;
    int rv = cluster_read_duration(reader, value, REFRESH_MAX_MS, "1d", &ms);

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
    rv = cluster_read_duration(reader, &time, FAILBACK_MAX_MS, "1d", &ms);
    if (rv == 0) {
        *ret = ms == 0 ? 1 : ms;
    }
    return rv;
}

int cluster_parse_own_failback(struct config_reader *reader, const struct document_node *value, void *field)
{
    uint32_t ms = 0;
    int rv = parse_failback(reader, value, &ms);

    *(uint32_t *)field = rv == 0 ? own_failback(ms) : *(uint32_t *)field;
    return rv;
}

static int parse_hold_after(struct config_reader *reader, const struct document_node *value, void *field)
{
    uint32_t number = 0;
    int rv = cluster_read_number(reader, value, 0, 1000, &number);

    *(uint16_t *)field = rv == 0 ? (uint16_t)number : *(uint16_t *)field;
    return rv;
}

static int parse_hold_time(struct config_reader *reader, const struct document_node *value, void *field)
{
    return cluster_read_duration(reader, value, HOLD_MAX_MS, "1h", field);
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

int cluster_parse_settings(struct config_reader *reader, const struct document_node *value, void *field)
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
    int rv = cluster_read_number(reader, value, 3, VOTERS_MAX, &number);

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
    int rv = cluster_read_duration(reader, value, 86400000, "1d", &ms);

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

int cluster_parse_voters(struct config_reader *reader, const struct document_node *value, void *field)
{
    struct cluster_document *into = cluster_of(reader)->into;
    const struct document_node *values[COUNT(VOTERS_KEYS)];

    into->has_voters = true;
    into->voting = (struct voting){.replace_ms = VOTER_REPLACE_MS};
    return config_read_map(reader, value, VOTERS_KEYS, COUNT(VOTERS_KEYS), &into->voting, values);
}

/* ------------------------------------------------------------------ nodes of the cluster */

/* uint16_t; the default is 0 */
static int parse_capacity(struct config_reader *reader, const struct document_node *value, void *field)
{
    uint32_t number = 0;
    int rv = cluster_read_number(reader, value, 1, CAPACITY_MAX, &number);

    *(uint16_t *)field = rv == 0 ? (uint16_t)(number == CAPACITY_DEFAULT ? 0 : number) : *(uint16_t *)field;
    return rv;
}

static const struct config_key NODE_KEYS[] = {
    {"capacity", CONFIG_SCALAR, false, parse_capacity, 0, "a number from 1 to 1000",
        "the node's share of the VIPs beside others', which have 100"},
};

int cluster_parse_nodes(struct config_reader *reader, const struct document_node *value, void *field)
{
    struct cluster_document *into = cluster_of(reader)->into;

    into->has_nodes = true;
    memset(into->capacities, 0, sizeof into->capacities);
    for (const struct document_node *item = value->first; item != NULL; item = item->next) {
        const struct document_node *values[COUNT(NODE_KEYS)];
        int node, rv = cluster_read_node(reader, item->key, &node);

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
