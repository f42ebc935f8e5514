/* A rolling maintenance, translated: its plan, its changes as commands of the log, what it is now. The runner's requests
 * (claim, beat, end) come from a vipctl, too. */

#include <stdio.h>
#include <string.h>

#include "daemon/api_private.h"

/* ------------------------------------------------------------------------------------------------------------ turns */

struct turns
{
    int n;
    int nodes[NODES_MAX];
};

static bool add_turn(const struct api_call *call, struct turns *turns, int node)
{
    for (int i = 0; i < turns->n; i++) {
        if (turns->nodes[i] == node) {
            (void)api_no(call, CONTROL_USAGE, NULL, "node %s is named twice", call->view->table->nodes[node].name);
            return false;
        }
    }
    turns->nodes[turns->n++] = node;
    return true;
}

static void all_by_name(const struct table *table, struct turns *turns)
{
    for (int node = 0; node < NODES_MAX; node++) {
        int at = turns->n;
        if (!table->nodes[node].used || table->nodes[node].removing) {
            continue;
        }
        for (; at > 0 && strcmp(table->nodes[turns->nodes[at - 1]].name, table->nodes[node].name) > 0; at--) {
            turns->nodes[at] = turns->nodes[at - 1];
        }
        turns->nodes[at] = node;
        turns->n++;
    }
}

/* As named, else by name; the leader last, as the core will have it. False after the refusal. */
static bool read_turns(const struct api_call *call, struct turns *ret)
{
    const struct value *nodes = api_arg(call, "nodes");
    uint64_t leader = core_leader(call->view->core);
    struct turns turns = { 0 };

    if (nodes != NULL && (!value_is(nodes, VALUE_ARRAY) || nodes->n == 0 || nodes->n > NODES_MAX)) {
        (void)api_no(call, CONTROL_USAGE, NULL, "a maintenance is of 1 to %d nodes", NODES_MAX);
        return false;
    }
    for (const struct value *item = value_first(nodes); item != NULL; item = item->next) {
        int node = api_find_node(call, value_as_string(item, ""));
        if (node == SLOT_NONE || !add_turn(call, &turns, node)) {
            return false;
        }
    }
    if (nodes == NULL) {
        all_by_name(call->view->table, &turns);
    }
    ret->n = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < turns.n; i++) {
            if ((call->view->table->nodes[turns.nodes[i]].id == leader) == (pass == 1)) {
                ret->nodes[ret->n++] = turns.nodes[i];
            }
        }
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------------------- plan */

/* What the planner looks at; a copy, in which moves are made as if they had been. */
static void copy_for_plan(struct table *to, const struct table *from)
{
    to->timing = from->timing;
    to->settings = from->settings;
    to->voters = from->voters;
    to->n_vips = from->n_vips;
    to->vips_end = from->vips_end;
    to->required = from->required;
    to->everywhere = from->everywhere;
    to->checks_index = from->checks_index;
    memcpy(to->nodes, from->nodes, sizeof to->nodes);
    memcpy(to->vips, from->vips, (size_t)from->vips_end * sizeof to->vips[0]);
    memcpy(to->groups, from->groups, sizeof to->groups);
    memcpy(to->checks, from->checks, sizeof to->checks);
}

/* The moves of one stage as rows, as far as `*room` goes; and made. */
static struct value *plan_stage(const struct api_call *call, const struct plan_input *input, uint32_t *room, uint32_t *ret_n)
{
    struct api_scratch *scratch = call->view->scratch;
    struct value *rows = value_array(call->arena);

    *ret_n = plan_moves(input, &scratch->plan, scratch->moves, VIPS_MAX);
    for (uint32_t i = 0; i < *ret_n; i++) {
        struct vip *vip = &scratch->sandbox.vips[scratch->moves[i].vip];
        if (*room > 0) {
            --*room;
            value_push(call->arena, rows, api_move_row(call, &scratch->sandbox, &scratch->moves[i]));
        }
        vip->owner = scratch->moves[i].to;
        vip->prev = SLOT_NONE;
    }
    return rows;
}

static struct value *plan_node(const struct api_call *call, struct plan_input *input, int node, uint32_t *room)
{
    const struct node *n = &call->view->table->nodes[node];
    struct value_arena *arena = call->arena;
    struct value *row = value_map(arena);
    uint32_t away, back;

    value_put_string(arena, row, "name", n->name);
    value_put_bool(arena, row, "leader", n->id == core_leader(call->view->core));
    value_put_bool(arena, row, "drained", n->draining);
    input->drained = 1ull << node;
    value_put(arena, row, "rows", plan_stage(call, input, room, &away));
    input->drained = 0;
    input->steady_ms[node] = 0; /* its time of being well begins anew */
    value_put(arena, row, "back_rows", plan_stage(call, input, room, &back));
    value_put_uint(arena, row, "moves", away);
    value_put_uint(arena, row, "back", back);
    return row;
}

void api_maintenance_plan(const struct api_call *call)
{
    const struct api_view *view = call->view;
    struct value_arena *arena = call->arena;
    struct value *result = value_map(arena), *rows = value_array(arena);
    struct plan_input input = { .table = &view->scratch->sandbox, .usable = core_usable(view->core, view->now) };
    uint32_t room = API_ROWS_MAX;
    struct turns turns;
    char why[192];

    if (maintenance_is_open(&view->table->maintenance)) {
        (void)api_no(call, CONTROL_CONFLICT, "vipctl maintenance status", "a maintenance is under way");
        return;
    }
    if (!read_turns(call, &turns)) {
        return;
    }
    int planned = core_maintenance_planned(view->core, turns.n);
    for (int i = 0; i < planned; i++) {
        if (core_maintenance_unsafe(view->core, turns.nodes[i], view->now, &view->scratch->plan,
                                             view->scratch->moves, why)) {
            value_put_string(arena, result, "unsafe", why);
            break;
        }
    }
    copy_for_plan(&view->scratch->sandbox, view->table);
    core_steady_ms(view->core, view->now, input.steady_ms);
    for (int i = 0; i < planned; i++) {
        value_push(arena, rows, plan_node(call, &input, turns.nodes[i], &room));
    }
    value_put_uint(arena, result, "n", (uint64_t)turns.n);
    value_put(arena, result, "nodes", rows);
    call->reply->result = result;
}

/* ------------------------------------------------------------------------------------------------------- what is now */

static void put_took(const struct api_call *call, struct value *row, const char *key, int64_t from_ms, int64_t to_ms)
{
    if (from_ms > 0 && to_ms >= from_ms) {
        value_put_int(call->arena, row, key, to_ms - from_ms);
    }
}

/* The time at which the stage that began with `from` ended; 0: not yet, or it is a later turn's. */
static int64_t later(const struct maintenance_step *step, enum step_state from, enum step_state to)
{
    int64_t at = step->at_ms[to], failed = step->at_ms[STEP_FAILED], begun = step->at_ms[from];

    return at >= begun && at > 0 ? at : failed >= begun && step->state == STEP_FAILED ? failed : 0;
}

static struct value *step_row(const struct api_call *call, const struct maintenance_step *step)
{
    const struct node *node = &call->view->table->nodes[step->node];
    struct value *row = value_map(call->arena);
    const int64_t *at = step->at_ms;

    value_put_string(call->arena, row, "name", step->name);
    value_put_string(call->arena, row, "state", step_state_text(step->state));
    if (at[step->state] > 0) {
        value_put_int(call->arena, row, "since_ms", at[step->state]);
    }
    if (at[STEP_DRAINING] > 0) {
        value_put_int(call->arena, row, "begun_ms", at[STEP_DRAINING]);
    }
    value_put_bool(call->arena, row, "was_drained", step->was_drained);
    if (step->state == STEP_SKIPPED && step->begun && node->used && node->id == step->id && node->draining) {
        value_put_bool(call->arena, row, "left_drained", true);
    }
    put_took(call, row, "drain_ms", at[STEP_DRAINING], later(step, STEP_DRAINING, STEP_DRAINED));
    put_took(call, row, "command_ms", at[STEP_RUNNING], later(step, STEP_RUNNING, STEP_RETURNING));
    put_took(call, row, "return_ms", at[STEP_RETURNING], later(step, STEP_RETURNING, STEP_DONE));
    return row;
}

static struct value *words_of(const struct api_call *call, const struct maintenance *m)
{
    struct value *words = value_array(call->arena);

    for (uint32_t at = 0; at < m->words_size; at += (uint32_t)strlen(m->words + at) + 1) {
        value_push(call->arena, words, value_string(call->arena, m->words + at));
    }
    return words;
}

static void put_current(const struct api_call *call, struct value *row, const struct maintenance *m)
{
    const struct maintenance_step *step = &m->steps[m->at];
    const struct node *node = &call->view->table->nodes[step->node];
    char why[192], address[ADDR_TEXT_MAX];

    value_put_string(call->arena, row, "node", step->name);
    value_put_string(call->arena, row, "address", addr_format(&node->at.addr, address));
    value_put_string(call->arena, row, "step", step_state_text(step->state));
    if (core_maintenance_waits(call->view->core, call->view->now, why)) {
        value_put_string(call->arena, row, "waits", why);
    }
}

struct value *api_maintenance_row(const struct api_call *call)
{
    const struct maintenance *m = &call->view->table->maintenance;
    struct value_arena *arena = call->arena;
    struct value *row = value_map(arena), *steps = value_array(arena);

    value_put_string(arena, row, "state", maintenance_state_text(m->state));
    if (m->state == MAINTENANCE_NONE) {
        return row;
    }
    value_put_uint(arena, row, "run", m->run);
    value_put_string(arena, row, "who", m->who);
    value_put_int(arena, row, "begun_ms", m->begun_ms);
    if (m->ended_ms > 0) {
        value_put_int(arena, row, "ended_ms", m->ended_ms);
    }
    value_put(arena, row, "command", words_of(call, m));
    value_put_bool(arena, row, "restart", m->restart);
    value_put_uint(arena, row, "settle_ms", m->settle_ms);
    value_put_uint(arena, row, "drain_ms", m->drain_ms);
    value_put_uint(arena, row, "return_ms", m->return_ms);
    value_put_uint(arena, row, "runner", m->runner);
    value_put_bool(arena, row, "lost", m->lost);
    value_put_bool(arena, row, "held", m->held);
    if (m->why[0] != '\0') {
        value_put_string(arena, row, "why", m->why);
    }
    if (maintenance_is_open(m) && m->at != SLOT_NONE) {
        put_current(call, row, m);
    }
    value_put_int(arena, row, "status", m->status);
    if (m->tail[0] != '\0') {
        value_put_string(arena, row, "tail", m->tail);
    }
    for (int i = 0; i < m->n_steps; i++) {
        value_push(arena, steps, step_row(call, &m->steps[i]));
    }
    value_put(arena, row, "nodes", steps);
    return row;
}

void api_maintenance_show(const struct api_call *call)
{
    call->reply->result = api_maintenance_row(call);
}

/* One line for `status`, or NULL. */
struct value *api_maintenance_line(const struct api_call *call)
{
    const struct maintenance *m = &call->view->table->maintenance;
    struct value *row = value_map(call->arena);
    uint64_t over = 0;

    if (!maintenance_is_open(m)) {
        return NULL;
    }
    for (int i = 0; i < m->n_steps; i++) {
        over += m->steps[i].state == STEP_DONE || m->steps[i].state == STEP_SKIPPED;
    }
    value_put_string(call->arena, row, "state", maintenance_state_text(m->state));
    value_put_string(call->arena, row, "who", m->who);
    value_put_int(call->arena, row, "begun_ms", m->begun_ms);
    value_put_uint(call->arena, row, "done", over);
    value_put_uint(call->arena, row, "n", m->n_steps);
    value_put_bool(call->arena, row, "lost", m->lost);
    if (m->at != SLOT_NONE) {
        value_put_string(call->arena, row, "node", m->steps[m->at].name);
        value_put_string(call->arena, row, "step", step_state_text(m->steps[m->at].state));
        value_put_int(call->arena, row, "since_ms", m->steps[m->at].at_ms[m->steps[m->at].state]);
    }
    if (m->why[0] != '\0') {
        value_put_string(call->arena, row, "why", m->why);
    }
    return row;
}

/* --------------------------------------------------------------------------------------------------------- changes */

static bool read_words(const struct api_call *call, struct maintenance_command *c)
{
    size_t used = 0;

    for (const struct value *item = value_first(api_arg(call, "command")); item != NULL; item = item->next) {
        const char *word = value_as_string(item, NULL);
        size_t len = word == NULL ? 0 : strlen(word) + 1;
        if (word == NULL || len > sizeof c->words - used) {
            (void)api_no(call, CONTROL_USAGE, "put it into a script", "the command is longer than %d bytes",
                         MAINTENANCE_WORDS_MAX);
            return false;
        }
        memcpy(c->words + used, word, len);
        used += len;
    }
    c->words_size = (uint16_t)used;
    if (used == 0 || c->words[0] == '\0') {
        (void)api_no(call, CONTROL_USAGE, "vipctl maintenance run -- COMMAND", "there is no command to run");
    }
    return used > 0 && c->words[0] != '\0';
}

static bool read_time(const struct api_call *call, const char *key, uint64_t least, uint32_t *ret)
{
    uint64_t ms = value_as_uint(api_arg(call, key), UINT64_MAX);

    if (ms < least || ms > MAINTENANCE_TIME_MAX_MS) {
        (void)api_no(call, CONTROL_USAGE, NULL, "%s is %u to %u ms", key, (unsigned)least, MAINTENANCE_TIME_MAX_MS);
        return false;
    }
    *ret = (uint32_t)ms;
    return true;
}

bool api_maintenance_begin(const struct api_call *call, struct command *command)
{
    struct maintenance_command *c = &command->maintenance;
    const struct table *table = call->view->table;
    struct turns turns;

    command->type = COMMAND_MAINTENANCE;
    c->op = MAINTENANCE_BEGIN;
    c->run = table->maintenance.run;
    c->runner = value_as_uint(api_arg(call, "runner"), 0);
    c->restart = value_as_bool(api_arg(call, "restart"), false);
    c->force = call->request->force;
    if (!read_words(call, c) || !read_time(call, "settle_ms", 0, &c->settle_ms) ||
        !read_time(call, "drain_ms", 1, &c->drain_ms) || !read_time(call, "return_ms", 1, &c->return_ms) ||
        !read_turns(call, &turns)) {
        return false;
    }
    if (c->settle_ms >= c->return_ms) {
        (void)api_no(call, CONTROL_USAGE, NULL, "settling has to take less than what a node has to return");
        return false;
    }
    if (c->runner == 0) {
        (void)api_no(call, CONTROL_USAGE, NULL, "the request has no runner");
        return false;
    }
    c->n_nodes = (uint8_t)turns.n;
    for (int i = 0; i < turns.n; i++) {
        c->nodes[i] = (int8_t)turns.nodes[i];
        c->ids[i] = table->nodes[turns.nodes[i]].id;
    }
    return true;
}

/* Begins a change of the one that is under way; NULL after the refusal. */
static struct maintenance_command *of_open(const struct api_call *call, struct command *command, enum maintenance_op op)
{
    const struct maintenance *m = &call->view->table->maintenance;
    uint64_t run = value_as_uint(api_arg(call, "run"), m->run);
    struct maintenance_command *c = &command->maintenance;

    if (!maintenance_is_open(m)) {
        (void)api_no(call, CONTROL_NOT_FOUND, "vipctl maintenance run --help", "no maintenance is under way");
        return NULL;
    }
    if (run != m->run) {
        (void)api_no(call, CONTROL_CONFLICT, NULL, "that maintenance is over; another one is under way");
        return NULL;
    }
    command->type = COMMAND_MAINTENANCE;
    c->op = op;
    c->run = run;
    c->runner = value_as_uint(api_arg(call, "runner"), 0);
    c->step = (uint8_t)(m->at == SLOT_NONE ? 0 : m->at);
    return c;
}

/* The same of a runner, about the node whose turn it is. */
static struct maintenance_command *of_turn(const struct api_call *call, struct command *command, enum maintenance_op op)
{
    const struct maintenance *m = &call->view->table->maintenance;
    const char *node = api_arg_text(call, "node");
    struct maintenance_command *c = of_open(call, command, op);

    if (c != NULL && (node == NULL || m->at == SLOT_NONE || strcmp(m->steps[m->at].name, node) != 0)) {
        (void)api_no(call, CONTROL_CONFLICT, NULL, "it is not that node's turn, or not any more");
        return NULL;
    }
    return c;
}

bool api_maintenance_claim(const struct api_call *call, struct command *command)
{
    const struct maintenance *m = &call->view->table->maintenance;
    struct maintenance_command *c = of_turn(call, command, MAINTENANCE_CLAIM);

    if (c == NULL) {
        return false;
    }
    c->node_run = core_node_run(call->view->core, m->steps[m->at].node);
    if (m->restart && c->node_run == 0) { /* a leader of a moment ago: a restart could not be told from none */
        (void)api_no(call, CONTROL_CONFLICT, NULL, "%s has not been heard yet", m->steps[m->at].name);
        return false;
    }
    return true;
}

bool api_maintenance_beat(const struct api_call *call, struct command *command)
{
    return of_open(call, command, MAINTENANCE_BEAT) != NULL;
}

bool api_maintenance_end(const struct api_call *call, struct command *command)
{
    struct maintenance_command *c = of_turn(call, command, MAINTENANCE_END);
    int64_t status = value_as_int(api_arg(call, "status"), INT64_MAX);

    if (c == NULL) {
        return false;
    }
    if (status < INT32_MIN || status > INT32_MAX) {
        (void)api_no(call, CONTROL_USAGE, NULL, "the request has no status that a command can end with");
        return false;
    }
    c->status = (int32_t)status;
    snprintf(c->why, sizeof c->why, "%s", value_as_string(api_arg(call, "why"), ""));
    snprintf(c->tail, sizeof c->tail, "%s", value_as_string(api_arg(call, "tail"), ""));
    return true;
}

bool api_maintenance_pause(const struct api_call *call, struct command *command)
{
    return of_open(call, command, MAINTENANCE_PAUSE) != NULL;
}

bool api_maintenance_resume(const struct api_call *call, struct command *command)
{
    const struct maintenance *m = &call->view->table->maintenance;
    struct maintenance_command *c = of_open(call, command, MAINTENANCE_RESUME);
    const char *again = api_arg_text(call, "again");

    if (c == NULL) {
        return false;
    }
    c->again = again == NULL ? AGAIN_PLAIN : strcmp(again, "retry") == 0 ? AGAIN_RETRY : AGAIN_DONE;
    if (again != NULL && c->again == AGAIN_DONE && strcmp(again, "done") != 0) {
        (void)api_no(call, CONTROL_USAGE, "retry or done", "there is no \"%.100s\" of a command", again);
        return false;
    }
    if (m->lost && c->again == AGAIN_PLAIN && m->at != SLOT_NONE && m->steps[m->at].state == STEP_RUNNING) {
        (void)api_no(call, CONTROL_UNSAFE, "look there; then resume with --retry to run it again, or with --done if it has ended",
                     "it is not known whether the command on %s has ended: the vipctl that ran it is gone",
                     m->steps[m->at].name);
        return false;
    }
    return true;
}

bool api_maintenance_abort(const struct api_call *call, struct command *command)
{
    return of_open(call, command, MAINTENANCE_ABORT) != NULL;
}

bool api_maintenance_settled(const struct api_view *view, char *why, size_t size)
{
    const struct maintenance *m = &view->table->maintenance;
    enum step_state state = m->at == SLOT_NONE ? STEP_WAITING : m->steps[m->at].state;

    if (!maintenance_is_open(m) || m->state == MAINTENANCE_RUNNING || m->lost ||
        (state != STEP_DRAINING && state != STEP_RUNNING && state != STEP_RETURNING)) {
        return true;
    }
    snprintf(why, size, "%.63s is still %s", m->steps[m->at].name,
             state == STEP_RUNNING ? "running its command" : step_state_text(state));
    return false;
}
