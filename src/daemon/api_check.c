/* Health checks: as lists, alone, as this node sees them, and changes of what they are. */

#include <string.h>

#include "base/near.h"
#include "core/target.h"
#include "daemon/api_private.h"

/* --------------------------------------------------------------------------------------------------------- finding */

int api_find_check(const struct api_call *call, const char *name)
{
    const struct table *table = call->view->table;
    const char *names[CHECKS_MAX];
    size_t n = 0;
    int slot = table_check_by_name(table, name);

    if (slot != SLOT_NONE) {
        return slot;
    }
    for (int i = 0; i < CHECKS_MAX; i++) {
        if (table->checks[i].spec.name[0] != '\0') {
            names[n++] = table->checks[i].spec.name;
        }
    }
    const char *near = near_name(name, names, n);
    if (near != NULL) {
        return api_no(call, CONTROL_NOT_FOUND, "vipctl check list shows what there is",
                      "there is no check \"%.100s\"; did you mean \"%s\"?", name, near);
    }
    return api_no(call, CONTROL_NOT_FOUND, "vipctl check list shows what there is", "there is no check \"%.100s\"",
                  name);
}

/* ------------------------------------------------------------------------------------------------------------ rows */

const char *api_check_result(const struct api_call *call, int check, int node)
{
    const struct check *at = &call->view->table->checks[check];
    bool member = call->view->table->nodes[node].status == NODE_ADMITTED; /* of others the last word is old */

    return !member ? "unknown" : at->passing >> node & 1 ? "passes" : at->failing >> node & 1 ? "fails" : "unknown";
}

struct value *api_check_names(const struct api_call *call, uint64_t checks)
{
    struct value *names = value_array(call->arena);

    for (; checks != 0; checks &= checks - 1) {
        value_push(call->arena, names,
                   value_string(call->arena, call->view->table->checks[__builtin_ctzll(checks)].spec.name));
    }
    return names;
}

uint64_t api_failing(const struct table *table, const struct vip *vip, int node)
{
    uint64_t failing = 0;

    for (uint64_t left = table_checks_of(table, vip); left != 0 && node != SLOT_NONE; left &= left - 1) {
        int check = __builtin_ctzll(left);
        failing |= (table->checks[check].failing >> node & 1) << check;
    }
    return failing;
}

static struct value *users_of(const struct api_call *call, int check)
{
    const struct table *table = call->view->table;
    struct value *names = value_array(call->arena);

    for (int i = 0; i < table->vips_end && names != NULL && names->n < API_ROWS_MAX; i++) {
        if (table->vips[i].used && !table->vips[i].deleted && (table->vips[i].checks >> check & 1) != 0) {
            value_push(call->arena, names, value_string(call->arena, table->vips[i].name));
        }
    }
    for (int i = 0; i < GROUPS_MAX; i++) {
        if (table->groups[i].name[0] != '\0' && (table->groups[i].checks >> check & 1) != 0) {
            value_push(call->arena, names, value_format(call->arena, "group %s", table->groups[i].name));
        }
    }
    return names;
}

static struct value *check_row(const struct api_call *call, int slot)
{
    const struct table *table = call->view->table;
    const struct check_spec *spec = &table->checks[slot].spec;
    struct value_arena *arena = call->arena;
    struct value *row = value_map(arena), *results = value_map(arena);

    value_put_string(arena, row, "name", spec->name);
    value_put_string(arena, row, "kind", check_kind_text(spec->kind));
    value_put_string(arena, row, "target", spec->target);
    value_put_uint(arena, row, "every_ms", spec->every_ms);
    value_put_uint(arena, row, "timeout_ms", spec->timeout_ms);
    value_put_uint(arena, row, "fall", spec->fall);
    value_put_uint(arena, row, "rise", spec->rise);
    value_put_uint(arena, row, "weight", spec->weight);
    value_put_string(arena, row, "scope", spec->node ? "node" : "vip");
    value_put_string(arena, row, "all_failed", spec->release ? "release" : "keep");
    for (int node = 0; node < NODES_MAX; node++) {
        if (table->nodes[node].used && !table->nodes[node].witness) {
            value_put_string(arena, results, table->nodes[node].name, api_check_result(call, slot, node));
        }
    }
    value_put(arena, row, "nodes", results);
    value_put(arena, row, "required_by", users_of(call, slot));
    return row;
}

void api_check_list(const struct api_call *call)
{
    struct value *result = value_map(call->arena), *rows = value_array(call->arena);

    for (int slot = 0; slot < CHECKS_MAX; slot++) {
        if (call->view->table->checks[slot].spec.name[0] != '\0') {
            value_push(call->arena, rows, check_row(call, slot));
        }
    }
    value_put(call->arena, result, "rows", rows);
    call->reply->result = result;
}

void api_check_show(const struct api_call *call)
{
    const char *name = api_arg_text(call, "name");
    int slot = name == NULL ? api_no(call, CONTROL_USAGE, NULL, "the request names no check") : api_find_check(call, name);

    if (slot != SLOT_NONE) {
        call->reply->result = check_row(call, slot);
    }
}

/* {rows}: what this node's own runs last said. */
void api_check_own(const struct api_call *call)
{
    const struct api_view *view = call->view;
    struct value *result = value_map(call->arena), *rows = value_array(call->arena);

    for (int slot = 0; slot < CHECKS_MAX && view->daemon->checks != NULL; slot++) {
        const struct api_check *own = &view->daemon->checks[slot];
        struct value *row;
        if (!own->runs) {
            continue;
        }
        row = value_map(call->arena);
        value_put_string(call->arena, row, "name", view->table->checks[slot].spec.name);
        value_put_bool(call->arena, row, "passed", own->passed);
        value_put_int(call->arena, row, "at_ms", own->at_ms);
        value_put_string(call->arena, row, "detail", own->detail);
        value_push(call->arena, rows, row);
    }
    value_put_string(call->arena, result, "node", view->daemon->node);
    value_put(call->arena, result, "rows", rows);
    call->reply->result = result;
}

/* --------------------------------------------------------------------------------------------------------- changes */

static bool set_target(const struct api_call *call, const struct value *item, enum check_kind kind,
                       struct check_spec *spec)
{
    const char *text = value_as_string(item, "");
    struct target target;
    const char *wrong = strlen(text) > CHECK_TARGET_MAX_LEN ? "at most 255 bytes" : target_parse(kind, text, &target);

    if (wrong != NULL) {
        (void)api_no(call, CONTROL_USAGE, NULL, "%s: expected %s, found \"%.80s\"", item->key, wrong, text);
        return false;
    }
    memset(spec->target, 0, sizeof spec->target);
    memcpy(spec->target, text, strlen(text));
    spec->kind = kind;
    return true;
}

static bool set_word(const struct api_call *call, const struct value *item, const char *no, const char *yes, bool *ret)
{
    const char *text = value_as_string(item, "");

    if (strcmp(text, no) != 0 && strcmp(text, yes) != 0) {
        (void)api_no(call, CONTROL_USAGE, NULL, "%s is %s or %s, not \"%.80s\"", item->key, no, yes, text);
        return false;
    }
    *ret = strcmp(text, yes) == 0;
    return true;
}

static bool set_number(const struct api_call *call, const struct value *item, uint32_t max, uint32_t *ret)
{
    uint64_t n = value_as_uint(item, UINT64_MAX);

    if (n > max) {
        (void)api_no(call, CONTROL_USAGE, NULL, "%s is a number of at most %u", item->key, max);
        return false;
    }
    *ret = (uint32_t)n;
    return true;
}

static bool set_one(const struct api_call *call, const struct value *item, struct check_spec *spec)
{
    uint32_t n = 0;

    for (int kind = 0; kind < CHECK_KINDS_N; kind++) {
        if (strcmp(item->key, check_kind_text((enum check_kind)kind)) == 0) {
            return set_target(call, item, (enum check_kind)kind, spec);
        }
    }
    if (strcmp(item->key, "scope") == 0) {
        return set_word(call, item, "vip", "node", &spec->node);
    }
    if (strcmp(item->key, "all_failed") == 0) {
        return set_word(call, item, "keep", "release", &spec->release);
    }
    if (strcmp(item->key, "every_ms") == 0) {
        return set_number(call, item, UINT32_MAX, &spec->every_ms);
    }
    if (strcmp(item->key, "timeout_ms") == 0) {
        return set_number(call, item, UINT32_MAX, &spec->timeout_ms);
    }
    if (strcmp(item->key, "fall") == 0 || strcmp(item->key, "rise") == 0) {
        bool ok = set_number(call, item, 100, &n);
        *(item->key[0] == 'f' ? &spec->fall : &spec->rise) = (uint8_t)n;
        return ok;
    }
    if (strcmp(item->key, "weight") == 0) {
        bool ok = set_number(call, item, UINT16_MAX, &n);
        spec->weight = (uint16_t)n;
        return ok;
    }
    (void)api_no(call, CONTROL_USAGE, NULL, "a check has no attribute \"%.100s\"", item->key);
    return false;
}

bool api_check_attributes(const struct api_call *call, const struct value *map, struct check_spec *spec)
{
    bool every = false, timeout = false;
    int kinds = 0;

    for (const struct value *item = value_first(map); item != NULL; item = item->next) {
        if (!set_one(call, item, spec)) {
            return false;
        }
        every |= strcmp(item->key, "every_ms") == 0;
        timeout |= strcmp(item->key, "timeout_ms") == 0;
        for (int kind = 0; kind < CHECK_KINDS_N; kind++) {
            kinds += strcmp(item->key, check_kind_text((enum check_kind)kind)) == 0;
        }
    }
    if (kinds > 1 || spec->target[0] == '\0') {
        (void)api_no(call, CONTROL_USAGE, NULL, kinds > 1 ? "a check looks at one thing only"
                                                          : "what is to be looked at: http, tcp, exec, process, file or "
                                                            "ping?");
        return false;
    }
    if (every && !timeout && spec->timeout_ms > spec->every_ms) {
        spec->timeout_ms = spec->every_ms;
    }
    const char *wrong = target_wrong_numbers(spec);
    if (wrong != NULL) {
        (void)api_no(call, CONTROL_USAGE, NULL, "check %s: %s", spec->name, wrong);
        return false;
    }
    return true;
}

static const char *begin(const struct api_call *call, struct command *command)
{
    const char *name = api_arg_text(call, "name");

    if (name == NULL || strlen(name) > NAME_MAX_LEN || name[0] == '\0') {
        (void)api_no(call, CONTROL_USAGE, NULL, "the name of a check has 1 to %d characters", NAME_MAX_LEN);
        return NULL;
    }
    command->type = COMMAND_CHECK_SET;
    command->check.spec = check_spec_default();
    memcpy(command->check.spec.name, name, strlen(name));
    return name;
}

bool api_check_add(const struct api_call *call, struct command *command)
{
    const char *name = begin(call, command);

    if (name == NULL) {
        return false;
    }
    if (table_check_by_name(call->view->table, name) != SLOT_NONE) {
        (void)api_no(call, CONTROL_CONFLICT, "vipctl check set changes it", "there is a check %s already", name);
        return false;
    }
    return api_check_attributes(call, api_arg(call, "check"), &command->check.spec);
}

bool api_check_set(const struct api_call *call, struct command *command)
{
    const char *name = begin(call, command);
    int slot = name == NULL ? SLOT_NONE : api_find_check(call, name);

    if (slot == SLOT_NONE) {
        return false;
    }
    command->check.changed = call->view->table->checks[slot].changed;
    command->check.spec = call->view->table->checks[slot].spec;
    if (value_first(api_arg(call, "check")) == NULL) {
        (void)api_no(call, CONTROL_USAGE, "vipctl check set --help lists them", "nothing is to be changed");
        return false;
    }
    return api_check_attributes(call, api_arg(call, "check"), &command->check.spec);
}

bool api_check_del(const struct api_call *call, struct command *command)
{
    const char *name = begin(call, command);
    int slot = name == NULL ? SLOT_NONE : api_find_check(call, name);

    if (slot == SLOT_NONE) {
        return false;
    }
    command->type = COMMAND_CHECK_DELETE;
    command->check.changed = call->view->table->checks[slot].changed;
    struct value *users = users_of(call, slot);
    if (users != NULL && users->n > 0) {
        (void)api_no(call, CONTROL_CONFLICT, "vipctl vip set NAME --require changes what it requires",
                     "check %s is required by %s%s", name, value_as_string(value_first(users), "?"),
                     users->n > 1 ? " and others" : "");
        return false;
    }
    return true;
}
