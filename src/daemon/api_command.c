/* A client's change as a command of the log. What is wrong with it is said here, in the user's words, as far as the
 * leader's table tells; table_apply() and the core judge again what may have changed by then. */

#include <stdio.h>
#include <string.h>

#include "daemon/api_private.h"

/* The items of `vips`, or NULL after the refusal. */
static const struct value *vips_argument(const struct api_call *call, uint32_t max)
{
    const struct value *vips = api_arg(call, "vips");

    if (!value_is(vips, VALUE_ARRAY) || vips->n == 0) {
        (void)api_no(call, CONTROL_USAGE, NULL, "the request names no VIP");
        return NULL;
    }
    if (vips->n > max) {
        (void)api_no(call, CONTROL_USAGE, "make several requests", "this request takes at most %u VIPs", max);
        return NULL;
    }
    return value_first(vips);
}

static bool vip_add(const struct api_call *call, struct command *command)
{
    struct vip_spec *specs = call->view->scratch->specs;
    uint32_t n = 0;

    for (const struct value *item = vips_argument(call, API_VIPS_MAX); item != NULL; item = item->next) {
        if (!api_vip_spec(call, item, &specs[n])) {
            return false;
        }
        n++;
    }
    if ((uint32_t)call->view->table->n_vips + n > VIPS_MAX) {
        (void)api_no(call, CONTROL_FAILED, "docs/limits.md states the limits", "a cluster has at most %d VIPs",
                     VIPS_MAX);
        return false;
    }
    command->type = COMMAND_VIP_ADD;
    command->vip_add.vips = specs;
    command->vip_add.n_vips = n;
    return n > 0;
}

/* ---------------------------------------------------------------------------------------------- changes of one VIP */

/* Begins a COMMAND_VIP_SET of the only VIP that the request names; its slot, or SLOT_NONE after the refusal. */
static int begin_set(const struct api_call *call, struct command *command)
{
    const struct value *item = vips_argument(call, 1);
    int slot = item == NULL ? SLOT_NONE : api_find_vip(call, value_as_string(item, ""));

    if (slot == SLOT_NONE) {
        return SLOT_NONE;
    }
    command->type = COMMAND_VIP_SET;
    command->vip_set.vip = (uint16_t)slot;
    memcpy(command->vip_set.name, call->view->table->vips[slot].name, NAME_SIZE);
    command->vip_set.spec.pinned = SLOT_NONE;
    return slot;
}

static bool vip_set(const struct api_call *call, struct command *command)
{
    const struct value *set = api_arg(call, "set");
    int slot = begin_set(call, command);

    if (slot == SLOT_NONE) {
        return false;
    }
    if (value_get(set, "address") != NULL) {
        (void)api_no(call, CONTROL_USAGE, "add a VIP with the new address and delete this one",
                     "the address of a VIP cannot be changed");
        return false;
    }
    if (value_first(set) == NULL) {
        (void)api_no(call, CONTROL_USAGE, "vipctl vip set --help lists them", "nothing is to be changed");
        return false;
    }
    return api_vip_attributes(call, set, &command->vip_set.spec, &command->vip_set.set) &&
           api_name_is_free(call, command->vip_set.spec.name, slot);
}

static bool set_able(const struct api_call *call, struct command *command, bool enabled)
{
    int slot = begin_set(call, command);

    command->vip_set.set = VIP_SET_ENABLED;
    command->vip_set.spec.enabled = enabled;
    return slot != SLOT_NONE;
}

static bool vip_enable(const struct api_call *call, struct command *command)
{
    return set_able(call, command, true);
}

static bool vip_disable(const struct api_call *call, struct command *command)
{
    return set_able(call, command, false);
}

/* Where the planner would put it if its owner were drained, or SLOT_NONE. */
static int other_node(const struct api_view *view, int slot)
{
    struct plan_candidate candidates[NODES_MAX];
    struct plan_input input = api_plan_now(view);
    int owner = view->table->vips[slot].owner;

    input.drained = owner == SLOT_NONE ? 0 : 1ull << owner;
    int n = plan_explain(&input, &view->scratch->plan, slot, candidates);
    for (int i = 0; i < n; i++) {
        if (candidates[i].step == PLAN_CHOSEN && candidates[i].node != owner) {
            return candidates[i].node;
        }
    }
    return SLOT_NONE;
}

static bool vip_move(const struct api_call *call, struct command *command)
{
    const char *name = api_arg_text(call, "to");
    int slot = begin_set(call, command);

    if (slot == SLOT_NONE) {
        return false;
    }
    const struct vip *vip = &call->view->table->vips[slot];
    int to = name != NULL ? api_find_owner(call, name) : other_node(call->view, slot);
    if (to == SLOT_NONE) {
        if (name == NULL) {
            (void)api_no(call, CONTROL_UNSAFE, "vipctl explain vip NAME tells why",
                         "no other node can hold %s now", vip->name);
        }
        return false;
    }
    if (!vip->enabled) {
        (void)api_no(call, CONTROL_UNSAFE, "enable it first: vipctl vip enable NAME", "%s is disabled", vip->name);
        return false;
    }
    if (vip->nodes != 0 && (vip->nodes >> to & 1) == 0) {
        (void)api_no(call, CONTROL_UNSAFE, "vipctl vip set NAME --nodes allows it", "%s may not be on node %s",
                     vip->name, call->view->table->nodes[to].name);
        return false;
    }
    command->vip_set.set = VIP_SET_PINNED;
    command->vip_set.spec.pinned = (int8_t)to;
    return true;
}

/* ----------------------------------------------------------------------------------------------------------- the rest */

static bool vip_del(const struct api_call *call, struct command *command)
{
    struct api_scratch *scratch = call->view->scratch;
    uint32_t n = 0;

    memset(scratch->taken, 0, sizeof scratch->taken);
    for (const struct value *item = vips_argument(call, API_VIPS_MAX); item != NULL; item = item->next) {
        int slot = api_find_vip(call, value_as_string(item, ""));
        if (slot == SLOT_NONE) {
            return false;
        }
        if ((scratch->taken[slot / 64] >> slot % 64 & 1) == 0) {
            scratch->taken[slot / 64] |= 1ull << slot % 64;
            scratch->moves[n++] = (struct move){ .vip = (uint16_t)slot, .to = SLOT_NONE, .reason = REASON_DELETED,
                                                 .moved = call->view->table->vips[slot].moved };
        }
    }
    command->type = COMMAND_VIP_DELETE;
    command->vip_del.vips = scratch->moves;
    command->vip_del.n_vips = n;
    return n > 0;
}

static bool set_drain(const struct api_call *call, struct command *command, bool on)
{
    const char *name = api_arg_text(call, "node");
    int node = name == NULL ? api_no(call, CONTROL_USAGE, NULL, "the request names no node")
                            : api_find_node(call, name);

    if (node == SLOT_NONE) {
        return false;
    }
    command->type = COMMAND_DRAIN;
    command->drain.node = (int8_t)node;
    command->drain.id = call->view->table->nodes[node].id;
    command->drain.on = on;
    return true;
}

static bool drain(const struct api_call *call, struct command *command)
{
    return set_drain(call, command, true);
}

static bool undrain(const struct api_call *call, struct command *command)
{
    return set_drain(call, command, false);
}

static bool settings_number(const struct api_call *call, const struct value *item, struct settings *settings)
{
    uint64_t n = value_as_uint(item, UINT64_MAX);

    if (n > UINT32_MAX) {
        (void)api_no(call, CONTROL_USAGE, NULL, "announce %s is not a number in range", item->key);
        return false;
    }
    if (strcmp(item->key, "count") == 0) {
        settings->announce_count = (uint16_t)(n > UINT16_MAX ? UINT16_MAX : n);
    } else if (strcmp(item->key, "interval_ms") == 0) {
        settings->announce_interval_ms = (uint32_t)n;
    } else if (strcmp(item->key, "refresh_ms") == 0) {
        settings->announce_refresh_ms = (uint32_t)n;
    } else {
        (void)api_no(call, CONTROL_USAGE, "they are count, interval_ms and refresh_ms",
                     "announce has no setting \"%.100s\"", item->key);
        return false;
    }
    return true;
}

/* {after, window_ms, first_ms, max_ms} */
static bool settings_hold(const struct api_call *call, const struct value *item, struct settings *settings)
{
    uint64_t n = value_as_uint(item, UINT64_MAX);
    uint32_t *of = strcmp(item->key, "window_ms") == 0  ? &settings->hold_window_ms
                   : strcmp(item->key, "first_ms") == 0 ? &settings->hold_first_ms
                   : strcmp(item->key, "max_ms") == 0   ? &settings->hold_max_ms
                                                        : NULL;

    if (n > UINT32_MAX || (of == NULL && strcmp(item->key, "after") != 0)) {
        (void)api_no(call, CONTROL_USAGE, "they are after, window_ms, first_ms and max_ms",
                     "hold_down has no setting \"%.100s\" of that value", item->key);
        return false;
    }
    if (of != NULL) {
        *of = (uint32_t)n;
    } else {
        settings->hold_after = (uint16_t)(n > UINT16_MAX ? UINT16_MAX : n);
    }
    return true;
}

static bool settings_set(const struct api_call *call, struct command *command)
{
    const struct value *announce = api_arg(call, "announce"), *voters = api_arg(call, "voters");
    const struct value *hold = api_arg(call, "hold_down"), *failback = api_arg(call, "failback_ms");

    if (value_is(voters, VALUE_MAP) && voters->n > 0) {
        if (value_first(announce) != NULL || value_first(hold) != NULL || failback != NULL) {
            (void)api_no(call, CONTROL_USAGE, "make two requests", "voters and other settings are not set in one request");
            return false;
        }
        return api_voting(call, voters, command);
    }
    command->type = COMMAND_SETTINGS;
    command->settings = call->view->table->settings;
    if (value_first(announce) == NULL && value_first(hold) == NULL && failback == NULL) {
        (void)api_no(call, CONTROL_USAGE, NULL, "no setting is to be changed");
        return false;
    }
    if (failback != NULL) {
        uint64_t ms = value_as_uint(failback, UINT32_MAX);

        command->settings.failback_ms = (uint32_t)(ms < UINT32_MAX ? ms : UINT32_MAX);
    }
    for (const struct value *item = value_first(hold); item != NULL; item = item->next) {
        if (!settings_hold(call, item, &command->settings)) {
            return false;
        }
    }
    for (const struct value *item = value_first(announce); item != NULL; item = item->next) {
        if (!settings_number(call, item, &command->settings)) {
            return false;
        }
    }
    return true;
}

#if VIPD_PRETEND_FORMAT
static bool mark(const struct api_call *call, struct command *command)
{
    command->type = COMMAND_MARK;
    snprintf(command->mark, sizeof command->mark, "%.63s", api_arg_text(call, "text"));
    return true;
}
#endif

/* ---------------------------------------------------------------------------------------------------------- dispatch */

static const struct
{
    const char *op;
    bool (*translate)(const struct api_call *call, struct command *command); /* false: call->reply has the refusal */
} changes[] = {
    { "vip.add", vip_add },         { "vip.set", vip_set },       { "vip.del", vip_del },
    { "vip.move", vip_move },       { "vip.enable", vip_enable }, { "vip.disable", vip_disable },
    { "apply", api_apply },         { "rollback", api_apply },
    { "drain", drain },             { "undrain", undrain },       { "settings.set", settings_set },
    { "node.add", api_node_add },   { "node.set", api_node_set }, { "node.remove", api_node_remove },
#if VIPD_PRETEND_FORMAT
    { "mark", mark },
#endif
    { "check.add", api_check_add }, { "check.set", api_check_set }, { "check.del", api_check_del },
    { "maintenance.begin", api_maintenance_begin },   { "maintenance.claim", api_maintenance_claim },
    { "maintenance.beat", api_maintenance_beat },     { "maintenance.end", api_maintenance_end },
    { "maintenance.pause", api_maintenance_pause },   { "maintenance.resume", api_maintenance_resume },
    { "maintenance.abort", api_maintenance_abort },
};

/* What this request did when it came the first time, by its id; false: it is new. */
static bool done_before(const struct api_call *call)
{
    const struct table *table = call->view->table;

    for (int i = 0; call->request->id != 0 && i < DEDUP_MAX; i++) {
        if (table->dedup[i].request == call->request->id) {
            struct outcome outcome = { .code = table->dedup[i].code, .index = table->dedup[i].index };
            snprintf(outcome.detail, sizeof outcome.detail, "%s",
                     outcome.code == OUTCOME_DONE ? "" : "this request was refused before");
            api_outcome(call->view, call->request, &outcome, call->arena, call->reply);
            return true;
        }
    }
    return false;
}

/* What is so already needs no entry in the log. */
static bool is_so_already(const struct table *table, const struct command *command)
{
    if (command->type == COMMAND_APPLY) {
        return api_apply_is_so(command);
    }
    if (command->type == COMMAND_DRAIN) {
        return table->nodes[command->drain.node].draining == command->drain.on;
    }
    if (command->type == COMMAND_VIP_SET && command->vip_set.set == VIP_SET_ENABLED) {
        return table->vips[command->vip_set.vip].enabled == command->vip_set.spec.enabled;
    }
    return api_member_is_so(table, command);
}

static bool is_well(const struct api_view *view, int node)
{
    enum node_state state = core_node_state(view->core, node, view->now);

    return state != NODE_STATE_DOWN && state != NODE_STATE_FENCED;
}

int api_transfer(const struct api_view *view, const struct control_request *request, struct value_arena *arena,
                 uint64_t *ret_id, struct control_reply *ret_reply)
{
    struct control_reply reply = { .code = CONTROL_FAILED };
    const struct api_call call = { view, request, arena, &reply };
    const char *name = api_arg_text(&call, "node");
    int node = name == NULL ? SLOT_NONE : api_find_node(&call, name);

    if (name == NULL) {
        *ret_id = 0;
        return 0;
    }
    if (node != SLOT_NONE && view->table->nodes[node].id == core_leader(view->core)) {
        struct outcome nothing = { .code = OUTCOME_DONE };
        api_outcome(view, request, &nothing, arena, &reply);
    } else if (node != SLOT_NONE && (view->table->voters >> node & 1) == 0) {
        (void)api_no(&call, CONTROL_USAGE, NULL, "node %s is no voter, so it cannot lead", name);
    } else if (node != SLOT_NONE && !is_well(view, node)) {
        (void)api_no(&call, CONTROL_UNSAFE, NULL, "node %s is not heard, or fenced, so it cannot lead now", name);
    } else if (node != SLOT_NONE) {
        *ret_id = view->table->nodes[node].id;
        return 0;
    }
    *ret_reply = reply;
    return API_ANSWERED;
}

int api_command(const struct api_view *view, const struct control_request *request, const char *who,
                struct value_arena *arena, struct command *ret, struct control_reply *ret_reply)
{
    struct control_reply reply = { .code = CONTROL_FAILED };
    const struct api_call call = { view, request, arena, &reply };
    struct command command;
    size_t i = 0;

    while (i < sizeof changes / sizeof changes[0] && strcmp(changes[i].op, request->op) != 0) {
        i++;
    }
    memset(&command, 0, sizeof command);
    command.at_ms = view->wall_ms;
    command.request = request->id;
    snprintf(command.who, sizeof command.who, "%s", who);
    if (i == sizeof changes / sizeof changes[0]) {
        (void)api_no(&call, CONTROL_USAGE, "vipctl version tells which node runs which version",
                     "node %s (vipd %s) does not know the change \"%s\": upgrade it first", view->daemon->node, VIPD_VERSION,
                     request->op);
    } else if (!done_before(&call) && changes[i].translate(&call, &command)) {
        if (!is_so_already(view->table, &command)) {
            *ret = command;
            return 0;
        }
        struct outcome nothing = { .code = OUTCOME_DONE };
        api_outcome(view, request, &nothing, arena, &reply);
    }
    *ret_reply = reply;
    return API_ANSWERED;
}
