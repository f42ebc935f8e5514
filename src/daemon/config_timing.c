/* The timing of the node's file: profiles, durations, and the rules that keep a lease shorter than a promise. */

#include "daemon/config_schema.h"

#include <string.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define INTERVAL_MIN_MS 5 /* ranges: struct timing in core/table.h */
#define INTERVAL_MAX_MS 60000

/* lease = promise * 0.99 / 1.01 - margin: about 120 ms, 500 ms and 2.9 s. */
static const struct
{
    const char *name;
    struct timing timing;
} PROFILES[] = {
    {"fast", {.interval_ms = 20, .suspect_ms = 80, .promise_ms = 125, .margin_ms = 3, .election_ms = 150}},
    {"default", {.interval_ms = 100, .suspect_ms = 400, .promise_ms = 515, .margin_ms = 5, .election_ms = 600}},
    {"wan", {.interval_ms = 500, .suspect_ms = 2000, .promise_ms = 3000, .margin_ms = 20, .election_ms = 3000}},
};

const struct timing *config_profile(const char *name)
{
    for (int i = 0; i < COUNT(PROFILES); i++) {
        if (strcmp(PROFILES[i].name, name) == 0) {
            return &PROFILES[i].timing;
        }
    }
    return NULL;
}

static const struct
{
    const char *name;
    uint32_t ms;
} UNITS[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}};

static int refuse_duration(struct config_reader *reader, const struct document_node *value)
{
    return config_refuse(reader, value,
        "'%.40s' is not a duration: expected a whole number and a unit (ms, s, m), like 100ms or 1s", value->text);
}

int config_parse_duration(struct config_reader *reader, const struct document_node *value, void *field)
{
    const char *unit = value->text + strspn(value->text, "0123456789");
    uint64_t number = 0;

    if (unit == value->text) {
        return refuse_duration(reader, value);
    }
    if (unit[0] == '\0') {
        return config_refuse(reader, value, "'%.40s' lacks a unit: did you mean %.40sms?", value->text, value->text);
    }
    for (const char *c = value->text; c < unit; c++) {
        number = number * 10 + (uint64_t)(*c - '0');
        if (number > CONFIG_DURATION_MAX_MS) {
            return config_refuse(reader, value, "%.40s is too long: expected at most %um", value->text,
                CONFIG_DURATION_MAX_MS / 60000);
        }
    }
    for (int i = 0; i < COUNT(UNITS); i++) {
        if (strcmp(UNITS[i].name, unit) != 0) {
            continue;
        }
        number *= UNITS[i].ms;
        if (number > CONFIG_DURATION_MAX_MS) {
            return config_refuse(reader, value, "%.40s is too long: expected at most %um", value->text,
                CONFIG_DURATION_MAX_MS / 60000);
        }
        *(uint32_t *)field = (uint32_t)number;
        return 0;
    }
    return refuse_duration(reader, value);
}

enum timing_key
{
    INTERVAL,
    SUSPECT,
    PROMISE,
    MARGIN,
    ELECTION,
};

#define DURATION "a duration, like 100ms or 1s"

const struct config_key CONFIG_TIMING_KEYS[CONFIG_TIMING_KEYS_N] = {
    [INTERVAL] = {"interval", CONFIG_SCALAR, false, config_parse_duration, offsetof(struct timing, interval_ms), DURATION,
        "between two heartbeats of a node"},
    [SUSPECT] = {"suspect", CONFIG_SCALAR, false, config_parse_duration, offsetof(struct timing, suspect_ms), DURATION,
        "silence after which the leader fences a node"},
    [PROMISE] = {"promise", CONFIG_SCALAR, false, config_parse_duration, offsetof(struct timing, promise_ms), DURATION,
        "for how long a voter's ack supports a node"},
    [MARGIN] = {"margin", CONFIG_SCALAR, false, config_parse_duration, offsetof(struct timing, margin_ms), DURATION,
        "by how much a lease ends before the promise behind it, on top of the clocks' drift"},
    [ELECTION] = {"election", CONFIG_SCALAR, false, config_parse_duration, offsetof(struct timing, election_ms), DURATION,
        "the election timeout, the fall-back when the quick election does not come"},
};

/* The rules between the durations. Each is told at the value that breaks it, or at the map where that is the profile's.
 */
static int check_timing(struct config_reader *reader, const struct document_node *map,
    const struct document_node *values[CONFIG_TIMING_KEYS_N], const struct timing *timing)
{
    const struct timing *t = timing;
    const struct document_node *at[CONFIG_TIMING_KEYS_N];

    for (int i = 0; i < CONFIG_TIMING_KEYS_N; i++) {
        at[i] = values[i] != NULL ? values[i] : map;
    }
    if (t->interval_ms < INTERVAL_MIN_MS || t->interval_ms > INTERVAL_MAX_MS) {
        return config_refuse(reader, at[INTERVAL], "interval is %ums: expected %ums to %ums", t->interval_ms,
            INTERVAL_MIN_MS, INTERVAL_MAX_MS);
    }
    if (t->suspect_ms < 2 * t->interval_ms) {
        return config_refuse(reader, at[SUSPECT],
            "suspect is %ums: expected at least 2 intervals (%ums), so that one lost heartbeat fences nobody",
            t->suspect_ms, 2 * t->interval_ms);
    }
    if (t->promise_ms < t->suspect_ms + t->interval_ms) {
        return config_refuse(reader, at[PROMISE],
            "promise is %ums: expected at least suspect + interval (%ums), so that no lease ends before a silent node "
            "is fenced",
            t->promise_ms, t->suspect_ms + t->interval_ms);
    }
    if (t->margin_ms < 1 || t->margin_ms > (t->promise_ms - 1) / 2) {
        return config_refuse(reader, at[MARGIN], "margin is %ums: expected at least 1ms and less than half of promise "
            "(%ums)", t->margin_ms, t->promise_ms);
    }
    if (t->election_ms <= t->suspect_ms) {
        return config_refuse(reader, at[ELECTION],
            "election is %ums: expected more than suspect (%ums), since it is the fall-back", t->election_ms,
            t->suspect_ms);
    }
    return 0;
}

int config_parse_timing(struct config_reader *reader, const struct document_node *value, void *field)
{
    const struct document_node *values[CONFIG_TIMING_KEYS_N];
    struct timing timing = *config_profile("default"); /* of what a map leaves out */
    const char *names[COUNT(PROFILES)];
    int rv;

    if (value->kind == DOCUMENT_SCALAR) {
        const struct timing *profile = config_profile(value->text);

        for (int i = 0; i < COUNT(PROFILES); i++) {
            names[i] = PROFILES[i].name;
        }
        if (profile == NULL) {
            return config_refuse_word(reader, value, "a timing profile", names, COUNT(PROFILES));
        }
        timing = *profile;
    } else {
        rv = config_read_map(reader, value, CONFIG_TIMING_KEYS, CONFIG_TIMING_KEYS_N, &timing, values);
        if (rv == 0) {
            rv = check_timing(reader, value, values, &timing);
        }
        if (rv != 0) {
            return rv;
        }
    }
    *(struct timing *)field = timing;
    return 0;
}
