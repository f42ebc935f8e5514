/* What happened: the replicated history, in pages from its end, or followed from a place in it.
 *
 * An event's number is the same in every node's table, so a client that follows them may ask any node, and goes on at
 * another one, or after a restart, where it was. Nothing is kept for it here: who reads too slowly finds that the ring has
 * gone on, and is told how many events it missed. */

#include <string.h>

#include "daemon/api_private.h"

/* What was changed of a VIP, in the words of `vip set`. */
static struct value *changed_attributes(const struct api_call *call, const struct history *entry)
{
    static const struct
    {
        uint32_t bit;
        const char *word;
    } words[] = {
        { VIP_SET_DEV, "dev" },       { VIP_SET_NODES, "nodes" },   { VIP_SET_GROUP, "group" },
        { VIP_SET_PREFERS, "prefer" }, { VIP_SET_APART, "apart_from" }, { VIP_SET_PINNED, "pinned" },
        { VIP_SET_NAME, "name" },     { VIP_SET_PROBE, "probe" },   { VIP_SET_CONFLICT, "conflict" },
        { VIP_SET_CHECKS, "require" }, { VIP_SET_LEN, "length" },
        { VIP_SET_HOOKS, "hooks" },    { VIP_SET_RESET, "reset_connections" },
        { VIP_SET_FAILBACK, "failback" },
    };
    struct value *changed = value_array(call->arena);

    if ((entry->set & VIP_SET_ENABLED) != 0) {
        value_push(call->arena, changed, value_string(call->arena, entry->enabled ? "enabled" : "disabled"));
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if ((entry->set & words[i].bit) != 0) {
            value_push(call->arena, changed, value_string(call->arena, words[i].word));
        }
    }
    return changed;
}

/* How long its stages took, as far as the answering node measured it. */
static void put_stages(const struct api_call *call, struct value *row, uint64_t number, enum history_kind kind)
{
    const char *first = kind == HISTORY_MOVE                             ? "released_ms"
                        : kind == HISTORY_FENCE                            ? "silent_ms"
                        : kind == HISTORY_CLEAR || kind == HISTORY_ADMIT   ? "fenced_ms"
                                                                           : NULL;
    struct core_stages stages;

    core_stages(call->view->core, number, &stages);
    if (first != NULL && stages.first_ms != CORE_STAGE_UNKNOWN) {
        value_put_uint(call->arena, row, first, stages.first_ms);
    }
    if (stages.held_ms != CORE_STAGE_UNKNOWN) {
        value_put_uint(call->arena, row, "held_ms", stages.held_ms);
    }
}

static struct value *history_row(const struct api_call *call, uint64_t number)
{
    const struct table *table = call->view->table;
    const struct history *entry = &table->history[number % HISTORY_MAX];
    const char *was = table->history_was[number % HISTORY_MAX];
    struct value_arena *arena = call->arena;
    struct value *row = value_map(arena);

    value_put_uint(arena, row, "number", number);
    value_put_uint(arena, row, "index", entry->index);
    value_put_int(arena, row, "at_ms", entry->at_ms);
    value_put_string(arena, row, "kind", history_kind_text(entry->kind));
    value_put_string(arena, row, "subject", entry->subject);
    if (entry->kind == HISTORY_MOVE || entry->kind == HISTORY_VIP_DELETE) {
        value_put_string(arena, row, "from", table_name_at(table, entry->from, entry->index));
        value_put_string(arena, row, "to", table_name_at(table, entry->to, entry->index));
        value_put_string(arena, row, "reason", reason_text(entry->reason));
    }
    if (entry->kind >= HISTORY_TAKEN && entry->kind <= HISTORY_CONFLICT_END) {
        char mac[MAC_TEXT_SIZE];
        value_put_string(arena, row, "node", table_name_at(table, entry->to, entry->index));
        value_put_string(arena, row, "mac", mac_format(entry->mac, mac));
    }
    if (entry->kind == HISTORY_CHECK_FAILS || entry->kind == HISTORY_CHECK_PASSES) {
        value_put_string(arena, row, "node", api_node_name(table, entry->to));
    }
    if (entry->kind >= HISTORY_MAINTENANCE_DRAINED && entry->kind <= HISTORY_MAINTENANCE_FAILED) {
        value_put_string(arena, row, "node", table_name_at(table, entry->to, entry->index));
    }
    if (entry->took_ms > 0) {
        value_put_uint(arena, row, "took_ms", entry->took_ms);
    }
    put_stages(call, row, number, entry->kind);
    if (entry->kind == HISTORY_VIP_SET) {
        value_put(arena, row, "changed", changed_attributes(call, entry));
        if (was[0] != '\0') {
            value_put_string(arena, row, "was", was);
        }
    }
    if (entry->who[0] != '\0') {
        value_put_string(arena, row, "who", entry->who);
    }
    return row;
}

#define NAMES_MAX 16 /* names that a VIP had, of which its history is told; older ones are left out */

/* What a history request asks for. */
struct filter
{
    const char *subject; /* or NULL */
    const char *other_name;
    int64_t since_ms;
    struct
    {
        const char *name;
        uint64_t from, end; /* numbers of the events in which the VIP has that name */
    } names[NAMES_MAX];     /* the newest one first; n == 0: it is not about a VIP */
    unsigned n;
};

static uint64_t oldest_event(const struct table *table)
{
    return table->n_history > HISTORY_MAX ? table->n_history - HISTORY_MAX : 0;
}

/* Follows the VIP that has the name now through its renamings. One entry may swap names: what else it says under the old
 * name is about the other VIP. */
static void put_names(const struct table *table, struct filter *filter, const char *name)
{
    uint64_t oldest = oldest_event(table);

    filter->names[0].name = name;
    filter->names[0].end = UINT64_MAX;
    for (uint64_t number = table->n_history; number > oldest; number--) {
        const struct history *entry = &table->history[(number - 1) % HISTORY_MAX];
        const char *was = table->history_was[(number - 1) % HISTORY_MAX];

        if (was[0] == '\0' || strcmp(entry->subject, filter->names[filter->n].name) != 0) {
            continue;
        }
        filter->names[filter->n++].from = number - 1;
        if (filter->n == NAMES_MAX) {
            return;
        }
        filter->names[filter->n].name = was;
        while (number > oldest + 1 && table->history[(number - 2) % HISTORY_MAX].index == entry->index) {
            number--;
        }
        filter->names[filter->n].end = number - 1;
    }
    filter->names[filter->n++].from = 0;
}

static bool is_named(const struct filter *filter, const char *subject, uint64_t number)
{
    for (unsigned i = 0; i < filter->n; i++) {
        if (number >= filter->names[i].from && number < filter->names[i].end) {
            return strcmp(subject, filter->names[i].name) == 0;
        }
    }
    return false;
}

static bool history_matches(const struct table *table, uint64_t number, const struct filter *filter)
{
    const struct history *entry = &table->history[number % HISTORY_MAX];

    if (entry->at_ms < filter->since_ms) {
        return false;
    }
    if (filter->n > 0) {
        return is_named(filter, entry->subject, number);
    }
    return filter->subject == NULL || strcmp(entry->subject, filter->subject) == 0 ||
           (filter->other_name != NULL && strcmp(entry->subject, filter->other_name) == 0);
}

/* Collects the newest entries below `before` that match, oldest first; *ret_next is 0 or where to go on. */
static struct value *history_rows(const struct api_call *call, const struct filter *filter, uint64_t before,
                                  uint32_t max, uint64_t *ret_next)
{
    const struct table *table = call->view->table;
    uint64_t oldest = oldest_event(table);
    uint64_t number = before < table->n_history ? before : table->n_history;
    uint64_t numbers[API_ROWS_MAX];
    struct value *rows = value_array(call->arena);
    uint32_t n = 0;

    while (number > oldest && n < max) {
        number--;
        if (history_matches(table, number, filter)) {
            numbers[n++] = number;
        }
    }
    for (uint32_t i = n; i > 0; i--) {
        value_push(call->arena, rows, history_row(call, numbers[i - 1]));
    }
    *ret_next = number > oldest ? number : 0;
    return rows;
}

static struct filter filter_of(const struct api_call *call)
{
    const struct table *table = call->view->table;
    /* Behind a position all counts: another leader's clock may say less than what was read from this one's. */
    bool any_time = api_arg(call, "position") != NULL;
    struct filter filter = { .subject = api_arg_text(call, "vip"),
                             .since_ms = any_time ? INT64_MIN : value_as_int(api_arg(call, "since_ms"), INT64_MIN) };
    int slot = filter.subject != NULL ? api_vip_slot(table, filter.subject) : SLOT_NONE;

    if (filter.subject == NULL) {
        filter.subject = api_arg_text(call, "node");
        slot = filter.subject != NULL ? api_node_slot(table, filter.subject) : SLOT_NONE;
        filter.other_name = slot != SLOT_NONE ? table->nodes[slot].name : NULL;
    } else { /* it may have been given by its address, or be one that is no more */
        put_names(table, &filter, slot != SLOT_NONE ? table->vips[slot].name : filter.subject);
    }
    return filter;
}

struct value *api_history_of(const struct api_call *call, const char *vip, uint32_t max)
{
    struct filter filter = { .since_ms = INT64_MIN };
    uint64_t next;

    put_names(call->view->table, &filter, vip);
    return history_rows(call, &filter, call->view->table->n_history, max, &next);
}

/* {rows, next?: {before}}: the newest rows; the next ones are older. */
void api_history(const struct api_call *call)
{
    struct filter filter = filter_of(call);
    struct value *result = value_map(call->arena);
    uint64_t next;

    value_put(call->arena, result, "rows",
              history_rows(call, &filter, value_as_uint(api_arg(call, "before"), call->view->table->n_history),
                           api_rows_max(call), &next));
    if (next > 0) {
        struct value *more = value_map(call->arena);
        value_put_uint(call->arena, more, "before", next);
        value_put(call->arena, result, "next", more);
    }
    call->reply->result = result;
}

/* ------------------------------------------------------------------------------------------------------------ events */

/* What a client that follows has not been told yet. */
struct rest
{
    uint64_t from;   /* the first event that is still there */
    uint64_t missed; /* how many before it are not */
};

/* The number of the last recovery, or `otherwise`. The cluster went on from what one node had: numbers behind it may have been
 * other events before. */
static uint64_t recovered_at(const struct table *table, uint64_t otherwise)
{
    for (uint64_t number = table->n_history; number > oldest_event(table); number--) {
        if (table->history[(number - 1) % HISTORY_MAX].kind == HISTORY_RECOVER) {
            return number - 1;
        }
    }
    return otherwise;
}

/* From the client's position on; false: it has none yet. */
static bool rest_of(const struct table *table, const struct value *position, struct rest *ret)
{
    uint64_t cluster = value_as_uint(value_get(position, "cluster"), 0);
    uint64_t oldest = oldest_event(table);

    if (!value_is(position, VALUE_MAP)) {
        return false;
    }
    *ret = (struct rest){ .from = value_as_uint(value_get(position, "number"), 0) };
    if (cluster != 0 && table->cluster_id != 0 && cluster != table->cluster_id) {
        uint64_t at = table_was(table, cluster) ? recovered_at(table, oldest) : oldest;
        ret->from = at < ret->from ? at : ret->from;
    }
    if (ret->from < oldest) {
        ret->missed = oldest - ret->from;
        ret->from = oldest;
    }
    return true;
}

bool api_events_due(const struct api_view *view, const struct control_request *request)
{
    const struct api_call call = { view, request, NULL, NULL };
    struct filter filter = filter_of(&call);
    struct rest rest;

    if (!rest_of(view->table, api_arg(&call, "position"), &rest) || rest.missed > 0) {
        return true;
    }
    for (uint64_t number = rest.from; number < view->table->n_history; number++) {
        if (history_matches(view->table, number, &filter)) {
            return true;
        }
    }
    return false;
}

/* The rows from *at on that match, and in *at how far they go. */
static struct value *rows_from(const struct api_call *call, const struct filter *filter, uint64_t *at)
{
    const struct table *table = call->view->table;
    struct value *rows = value_array(call->arena);
    uint32_t n = 0, max = api_rows_max(call);

    for (; *at < table->n_history && n < max; ++*at) {
        if (history_matches(table, *at, filter)) {
            value_push(call->arena, rows, history_row(call, *at));
            n++;
        }
    }
    return rows;
}

/* {rows, position: {cluster, number}, quorum, missed?}: from the position that the request has, else the newest rows. */
void api_events(const struct api_call *call)
{
    const struct api_view *view = call->view;
    struct value_arena *arena = call->arena;
    struct filter filter = filter_of(call);
    struct value *result = value_map(arena), *position = value_map(arena);
    struct rest rest;
    uint64_t at = view->table->n_history, next;

    if (rest_of(view->table, api_arg(call, "position"), &rest)) {
        at = rest.from;
        value_put(arena, result, "rows", rows_from(call, &filter, &at));
        if (rest.missed > 0) {
            value_put_uint(arena, result, "missed", rest.missed);
        }
    } else {
        value_put(arena, result, "rows", history_rows(call, &filter, at, api_rows_max(call), &next));
    }
    value_put_uint(arena, position, "cluster", view->table->cluster_id);
    value_put_uint(arena, position, "number", at);
    value_put(arena, result, "position", position);
    value_put_bool(arena, result, "quorum", core_has_quorum(view->core, view->now));
    call->reply->result = result;
}

uint32_t api_events_ms(const struct control_request *request)
{
    uint32_t ms = request->timeout_ms;

    return ms == 0 || ms > API_EVENTS_MS ? API_EVENTS_MS : ms;
}
