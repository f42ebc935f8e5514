/* What may enter the table: names, node sets, preferences, timing, settings. */

#include <string.h>

#include "core/apply.h"
#include "core/detail.h"
#include "core/target.h"

#define TIMING_MAX_MS 600000u /* ten minutes: beyond it a lease is no lease */

static bool name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == ':' || c == '-';
}

bool check_name(const struct apply *apply, const char *what, const char *name)
{
    size_t len = strnlen(name, NAME_SIZE);

    if (len > 0 && len < NAME_SIZE && name[0] != '-') {
        size_t ok = 0;

        while (ok < len && name_byte(name[ok])) {
            ok++;
        }
        if (ok == len) {
            return true;
        }
    }
    detail_say(apply->outcome, OUTCOME_INVALID, "a name of a ", what,
               " has 1 to 63 letters, digits, '.', '_', ':' or '-', and no '-' at its beginning");
    return false;
}

bool check_node(const struct apply *apply, int node)
{
    if (node >= 0 && node < NODES_MAX && apply->table->nodes[node].used) {
        return true;
    }
    detail_say(apply->outcome, OUTCOME_NOT_FOUND, "no such node", "", "");
    return false;
}

bool check_node_id(const struct apply *apply, int node, uint64_t id)
{
    if (!check_node(apply, node)) {
        return false;
    }
    if (apply->table->nodes[node].id != id) {
        detail_say(apply->outcome, OUTCOME_STALE, "the node was replaced meanwhile", "", "");
        return false;
    }
    return true;
}

static bool check_holder(const struct apply *apply, int node)
{
    if (!check_node(apply, node)) {
        return false;
    }
    if (apply->table->nodes[node].removing) {
        detail_say(apply->outcome, OUTCOME_CONFLICT, "node ", apply->table->nodes[node].name, " is being removed");
        return false;
    }
    if (apply->table->nodes[node].witness) {
        detail_say(apply->outcome, OUTCOME_INVALID, "node ", apply->table->nodes[node].name,
                   " is a witness and never owns a VIP");
        return false;
    }
    return true;
}

bool check_nodes(const struct apply *apply, uint64_t nodes)
{
    for (int node = 0; node < NODES_MAX; node++) {
        if ((nodes >> node & 1) != 0 && !check_holder(apply, node)) {
            return false;
        }
    }
    return true;
}

bool check_prefers(const struct apply *apply, const struct prefer *prefers, unsigned n)
{
    uint64_t seen = 0;

    if (n > PREFERS_MAX) {
        detail_say(apply->outcome, OUTCOME_LIMIT, "at most 8 preferred nodes", "", "");
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        if (!check_holder(apply, prefers[i].node)) {
            return false;
        }
        if ((seen >> prefers[i].node & 1) != 0) {
            detail_say(apply->outcome, OUTCOME_INVALID, "node ", apply->table->nodes[prefers[i].node].name,
                       " is preferred twice");
            return false;
        }
        seen |= 1ull << prefers[i].node;
    }
    return true;
}

bool check_checks(const struct apply *apply, uint64_t checks)
{
    for (int check = 0; check < CHECKS_MAX; check++) {
        bool is_there = apply->table->checks[check].spec.name[0] != '\0' || (apply->checks_coming >> check & 1) != 0;

        if ((checks >> check & 1) != 0 && (!is_there || (apply->checks_going >> check & 1) != 0)) {
            detail_say(apply->outcome, OUTCOME_NOT_FOUND, "no such check", "", "");
            return false;
        }
    }
    return true;
}

bool check_hooks(const struct apply *apply, const struct hook hooks[HOOK_POINTS_N])
{
    for (int i = 0; i < HOOK_POINTS_N; i++) {
        const struct hook *hook = &hooks[i];

        if (hook->program[0] == '\0') {
            continue;
        }
        if (strnlen(hook->program, HOOK_PROGRAM_SIZE) == HOOK_PROGRAM_SIZE || !target_is_program(hook->program)) {
            detail_say(apply->outcome, OUTCOME_INVALID, "hook ", hook_point_text((enum hook_point)i),
                       ": a program's name has 1 to 31 letters, digits, '.', '_' and '-', and begins with neither '.' nor '-'");
            return false;
        }
        if (hook->timeout_ms < HOOK_TIMEOUT_MIN_MS || hook->timeout_ms > HOOK_TIMEOUT_MAX_MS) {
            detail_say(apply->outcome, OUTCOME_INVALID, "hook ", hook_point_text((enum hook_point)i),
                       ": its timeout is 10 ms to 60 s");
            return false;
        }
    }
    return true;
}

bool check_failback(const struct apply *apply, uint32_t failback)
{
    if (failback > OWN_FAILBACK_MAX) {
        detail_say(apply->outcome, OUTCOME_INVALID, "failback is at most a day", "", "");
    }
    return failback <= OWN_FAILBACK_MAX;
}

bool check_timing(const struct apply *apply, const struct timing *timing)
{
    const char *wrong = NULL;

    if (timing->interval_ms < 5 || timing->interval_ms > 60000) {
        wrong = "interval is 5 ms to 60 s";
    } else if (timing->suspect_ms > TIMING_MAX_MS || timing->promise_ms > TIMING_MAX_MS ||
               timing->election_ms > TIMING_MAX_MS) {
        wrong = "no time is more than 10 minutes";
    } else if (timing->suspect_ms < 2 * timing->interval_ms) {
        wrong = "suspect is at least 2 intervals";
    } else if (timing->promise_ms < timing->suspect_ms + timing->interval_ms) {
        wrong = "promise is at least suspect and an interval";
    } else if (timing->margin_ms < 1 || timing->margin_ms >= (timing->promise_ms + 1) / 2) {
        wrong = "margin is at least 1 ms and less than half of promise";
    } else if (timing->election_ms <= timing->suspect_ms) {
        wrong = "election is more than suspect";
    }
    if (wrong != NULL) {
        detail_say(apply->outcome, OUTCOME_INVALID, "timing: ", wrong, "");
    }
    return wrong == NULL;
}

bool check_settings(const struct apply *apply, const struct settings *settings)
{
    const char *wrong = NULL;

    if (settings->announce_count < 1 || settings->announce_count > 100) {
        wrong = "announce: count is 1 to 100";
    } else if (settings->announce_interval_ms < 10 || settings->announce_interval_ms > 60000) {
        wrong = "announce: interval is 10 ms to 60 s";
    } else if (settings->announce_refresh_ms > REFRESH_MAX_MS ||
               (settings->announce_refresh_ms != 0 && settings->announce_refresh_ms < 1000)) {
        wrong = "announce: refresh is 0 (never), or 1 s to a day";
    } else if (settings->failback_ms > FAILBACK_MAX_MS) {
        wrong = "failback is at most a day";
    } else if (settings->hold_after > 1000 || settings->hold_window_ms > HOLD_MAX_MS ||
               settings->hold_max_ms > HOLD_MAX_MS || settings->hold_first_ms > settings->hold_max_ms) {
        wrong = "hold-down: after is at most 1000, no time more than an hour, and first not above max";
    }
    if (wrong != NULL) {
        detail_say(apply->outcome, OUTCOME_INVALID, wrong, "", "");
    }
    return wrong == NULL;
}

bool check_voting(const struct apply *apply, const struct voting *voting)
{
    const char *wrong = NULL;

    if (voting->count != 3 && voting->count != 5 && voting->count != VOTERS_MAX) {
        wrong = "count is 3, 5 or 7";
    } else if (voting->replace_ms < 1000 || voting->replace_ms > 86400000) {
        wrong = "replace is 1 s to 24 h";
    }
    if (wrong != NULL) {
        detail_say(apply->outcome, OUTCOME_INVALID, "voters: ", wrong, "");
    }
    return wrong == NULL;
}
