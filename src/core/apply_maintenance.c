/* A rolling maintenance goes on: the one writer of its state.
 *
 * Every entry names the run, and the state of the step, that it was decided on (L0). So a leader's decision that comes late, and
 * a runner that was taken for lost, change nothing that has changed meanwhile; and no more than one node is under
 * maintenance, whatever the log says. */

#include <string.h>

#include "core/apply.h"
#include "core/detail.h"

#define BIT(state) (1u << (state))

/* From (row) to (bits). */
static const uint8_t NEXT[STEP_STATES_N] = {
    [STEP_WAITING] = BIT(STEP_DRAINING) | BIT(STEP_SKIPPED),
    [STEP_DRAINING] = BIT(STEP_DRAINED) | BIT(STEP_FAILED) | BIT(STEP_SKIPPED),
    [STEP_DRAINED] = BIT(STEP_RUNNING) | BIT(STEP_SKIPPED),
    [STEP_RUNNING] = BIT(STEP_RETURNING) | BIT(STEP_FAILED) | BIT(STEP_DRAINED) | BIT(STEP_SKIPPED),
    [STEP_RETURNING] = BIT(STEP_DONE) | BIT(STEP_FAILED) | BIT(STEP_SKIPPED),
    [STEP_FAILED] = BIT(STEP_DRAINING) | BIT(STEP_DRAINED) | BIT(STEP_RETURNING) | BIT(STEP_SKIPPED),
};

bool maintenance_may(enum step_state from, enum step_state to)
{
    return (NEXT[from] >> to & 1) != 0;
}

bool maintenance_is_open(const struct maintenance *maintenance)
{
    return maintenance->state == MAINTENANCE_RUNNING || maintenance->state == MAINTENANCE_PAUSED ||
           maintenance->state == MAINTENANCE_STOPPED;
}

bool maintenance_has(const struct maintenance *maintenance, int node)
{
    return maintenance_is_open(maintenance) && maintenance->at != SLOT_NONE &&
           maintenance->steps[maintenance->at].node == node;
}

static struct maintenance *of(const struct apply *apply)
{
    return &apply->table->maintenance;
}

static void changed(const struct apply *apply)
{
    of(apply)->changed = apply->index;
}

/* The command's first word, as far as a subject has room. */
static const char *subject(const struct apply *apply, char ret[NAME_SIZE])
{
    size_t len = strnlen(of(apply)->words, NAME_MAX_LEN);

    memcpy(ret, of(apply)->words, len);
    ret[len] = '\0';
    return ret;
}

static void note(const struct apply *apply, enum history_kind kind, int64_t since_ms)
{
    char name[NAME_SIZE];

    apply_history_took(apply, kind, SLOT_NONE, subject(apply, name), since_ms);
}

static bool conflict(const struct apply *apply, const char *sentence)
{
    detail_say(apply->outcome, OUTCOME_CONFLICT, sentence, "", "");
    return false;
}

/* ------------------------------------------------------------------ the steps */

static void set_draining(const struct apply *apply, struct node *node, bool on)
{
    if (node->draining != on && !node->removing) {
        node->draining = on;
        apply_history(apply, on ? HISTORY_DRAIN : HISTORY_UNDRAIN, REASON_DRAIN, SLOT_NONE,
                      (int)(node - apply->table->nodes), node->name);
        apply_changed(apply);
    }
}

static void begin_turn(const struct apply *apply, struct maintenance_step *step)
{
    struct node *node = &apply->table->nodes[step->node];
    struct maintenance *m = of(apply);

    if (step->state == STEP_WAITING) { /* and not again after a failure */
        step->was_drained = node->draining;
        m->before.passing = 0;
        for (int i = 0; i < CHECKS_MAX; i++) {
            m->before.passing |= (apply->table->checks[i].passing >> step->node & 1) << i;
        }
        m->before.n_links = node->n_links;
        memcpy(m->before.links, node->links, sizeof m->before.links);
    }
    set_draining(apply, node, true);
}

static void end_if_last(const struct apply *apply)
{
    struct maintenance *m = of(apply);

    for (int i = 0; i < m->n_steps; i++) {
        if (m->steps[i].state == STEP_WAITING) {
            return;
        }
    }
    m->state = MAINTENANCE_DONE;
    m->ended_ms = apply->command->at_ms;
    note(apply, HISTORY_MAINTENANCE_END, m->begun_ms);
}

/* The one place where the state of a step changes. */
static void enter(const struct apply *apply, int at, enum step_state to)
{
    struct maintenance *m = of(apply);
    struct maintenance_step *step = &m->steps[at];
    enum step_state from = step->state;
    struct node *node = &apply->table->nodes[step->node];

    if (!maintenance_may(from, to)) {
        __builtin_trap(); /* the caller has looked */
    }
    if (to == STEP_DRAINING) {
        begin_turn(apply, step);
    } else if (to == STEP_DONE || (to == STEP_SKIPPED && from != STEP_WAITING && !step->begun)) {
        set_draining(apply, node, step->was_drained);
    }
    if (from == STEP_DRAINING && to == STEP_DRAINED) {
        apply_history_took(apply, HISTORY_MAINTENANCE_DRAINED, step->node, step->name, step->at_ms[from]);
    } else if (from == STEP_RUNNING && (to == STEP_RETURNING || to == STEP_FAILED)) {
        apply_history_took(apply, to == STEP_FAILED ? HISTORY_MAINTENANCE_FAILED : HISTORY_MAINTENANCE_COMMAND, step->node,
                           step->name, step->at_ms[from]);
    } else if (to == STEP_DONE || to == STEP_FAILED) {
        apply_history_took(apply, to == STEP_DONE ? HISTORY_MAINTENANCE_NODE : HISTORY_MAINTENANCE_FAILED, step->node,
                           step->name, step->at_ms[from]);
    }
    step->state = to;
    if (to != STEP_DRAINED || from == STEP_DRAINING) { /* a command that is run again did not take longer to drain */
        step->at_ms[to] = apply->command->at_ms;
    }
    step->begun = step->begun || to == STEP_RUNNING;
    step->ended = to == STEP_RETURNING || (step->ended && to != STEP_RUNNING);
    m->at = (int8_t)(to == STEP_DONE || to == STEP_SKIPPED ? (m->at == at ? SLOT_NONE : m->at) : at);
    m->state = to == STEP_FAILED ? MAINTENANCE_STOPPED : m->state;
    changed(apply);
    if (to == STEP_DONE) {
        end_if_last(apply);
    }
}

/* ------------------------------------------------------------------ begin */

static bool words_fit(const struct maintenance_command *c)
{
    return c->words_size > 1 && c->words_size <= MAINTENANCE_WORDS_MAX && c->words[0] != '\0' &&
           c->words[c->words_size - 1] == '\0';
}

static bool times_fit(const struct maintenance_command *c)
{
    return c->settle_ms <= MAINTENANCE_TIME_MAX_MS && c->drain_ms >= 1 && c->drain_ms <= MAINTENANCE_TIME_MAX_MS &&
           c->return_ms >= 1 && c->return_ms <= MAINTENANCE_TIME_MAX_MS && c->settle_ms < c->return_ms;
}

static bool check_steps(const struct apply *apply, const struct maintenance_command *c)
{
    uint64_t seen = 0;

    if (c->n_nodes < 1 || c->n_nodes > NODES_MAX) {
        detail_say(apply->outcome, OUTCOME_INVALID, "a maintenance is of one node or more", "", "");
        return false;
    }
    for (int i = 0; i < c->n_nodes; i++) {
        if (!check_node_id(apply, c->nodes[i], c->ids[i])) {
            return false;
        }
        const struct node *node = &apply->table->nodes[c->nodes[i]];
        if (node->removing || (seen >> c->nodes[i] & 1) != 0) {
            detail_say(apply->outcome, node->removing ? OUTCOME_CONFLICT : OUTCOME_INVALID, "node ", node->name,
                       node->removing ? " is being removed" : " is named twice");
            return false;
        }
        seen |= 1ull << c->nodes[i];
    }
    return true;
}

static void begin(const struct apply *apply, const struct maintenance_command *c)
{
    struct maintenance *m = of(apply);

    if (maintenance_is_open(m)) {
        (void)conflict(apply, "a maintenance is under way: vipctl maintenance status");
        return;
    }
    if (!words_fit(c) || !times_fit(c) || c->runner == 0) {
        detail_say(apply->outcome, OUTCOME_INVALID, "a maintenance has a command of at most 1024 bytes, and times of at most a "
                   "day; settling takes less than returning", "", "");
        return;
    }
    if (!check_steps(apply, c)) {
        return;
    }
    memset(m, 0, sizeof *m);
    m->state = MAINTENANCE_RUNNING;
    m->run = m->beat = apply->index;
    m->begun_ms = apply->command->at_ms;
    memcpy(m->who, apply->command->who, sizeof m->who);
    m->runner = c->runner;
    m->restart = c->restart;
    m->force = c->force;
    m->settle_ms = c->settle_ms;
    m->drain_ms = c->drain_ms;
    m->return_ms = c->return_ms;
    m->words_size = c->words_size;
    memcpy(m->words, c->words, c->words_size);
    m->at = SLOT_NONE;
    m->n_steps = c->n_nodes;
    for (int i = 0; i < c->n_nodes; i++) {
        m->steps[i].node = c->nodes[i];
        m->steps[i].id = c->ids[i];
        memcpy(m->steps[i].name, apply->table->nodes[c->nodes[i]].name, NAME_SIZE);
    }
    changed(apply);
    note(apply, HISTORY_MAINTENANCE, 0);
}

/* ------------------------------------------------------------------ the leader's word */

static void stale(const struct apply *apply)
{
    detail_say(apply->outcome, OUTCOME_STALE, "the maintenance went on meanwhile", "", "");
}

static void step(const struct apply *apply, const struct maintenance_command *c)
{
    struct maintenance *m = of(apply);
    bool first = c->from == STEP_WAITING;

    if (c->step >= m->n_steps || m->steps[c->step].state != c->from || !maintenance_may(c->from, c->to) ||
        c->to == STEP_SKIPPED || c->to == STEP_RUNNING || c->from == STEP_FAILED ||
        (first ? m->at != SLOT_NONE || m->state != MAINTENANCE_RUNNING : m->at != c->step)) {
        return stale(apply);
    }
    memcpy(m->why, c->why, sizeof m->why);
    enter(apply, c->step, c->to);
}

static void stop(const struct apply *apply, const struct maintenance_command *c)
{
    struct maintenance *m = of(apply);

    if (m->state != MAINTENANCE_RUNNING || m->at != SLOT_NONE) {
        return stale(apply);
    }
    m->state = MAINTENANCE_STOPPED;
    memcpy(m->why, c->why, sizeof m->why);
    changed(apply);
    note(apply, HISTORY_MAINTENANCE_PAUSE, 0);
}

static void lost(const struct apply *apply, const struct maintenance_command *c)
{
    struct maintenance *m = of(apply);

    if (m->lost || m->beat != c->runner || m->state == MAINTENANCE_STOPPED) {
        return stale(apply);
    }
    m->lost = true;
    if (m->state == MAINTENANCE_RUNNING) {
        m->state = MAINTENANCE_PAUSED;
        note(apply, HISTORY_MAINTENANCE_PAUSE, 0);
    }
    changed(apply);
}

/* ------------------------------------------------------------------ the runner's */

/* It lives, whatever was thought of it: what it was taken for lost for is known again. */
static void alive(const struct apply *apply)
{
    struct maintenance *m = of(apply);

    m->beat = apply->index;
    if (m->lost) {
        m->lost = false;
        changed(apply);
        if (m->state == MAINTENANCE_PAUSED && !m->held) {
            m->state = MAINTENANCE_RUNNING;
            note(apply, HISTORY_MAINTENANCE_RESUME, 0);
        }
    }
}

static bool is_runner(const struct apply *apply, const struct maintenance_command *c)
{
    return of(apply)->runner == c->runner || conflict(apply, "another vipctl runs this maintenance now");
}

static bool is_turn(const struct apply *apply, const struct maintenance_command *c, enum step_state state)
{
    const struct maintenance *m = of(apply);

    return (m->at == c->step && m->at != SLOT_NONE && m->steps[m->at].state == state) ||
           conflict(apply, "it is not that node's turn, or not any more");
}

static void claim(const struct apply *apply, const struct maintenance_command *c)
{
    struct maintenance *m = of(apply);

    if (!is_runner(apply, c) || !is_turn(apply, c, STEP_DRAINED)) {
        return;
    }
    alive(apply);
    if (m->state != MAINTENANCE_RUNNING) {
        (void)conflict(apply, "the maintenance is paused");
        return;
    }
    m->status = 0;
    memset(m->tail, 0, sizeof m->tail);
    m->node_run = c->node_run;
    enter(apply, c->step, STEP_RUNNING);
}

static void end(const struct apply *apply, const struct maintenance_command *c)
{
    struct maintenance *m = of(apply);
    bool well = c->status == 0 || m->restart;

    if (!is_runner(apply, c) || !is_turn(apply, c, STEP_RUNNING)) {
        return;
    }
    alive(apply);
    m->status = c->status;
    memcpy(m->tail, c->tail, sizeof m->tail);
    memcpy(m->why, c->why, sizeof m->why);
    if (well) {
        memset(m->why, 0, sizeof m->why); /* of a node that restarts: the connection's end is no failure */
    }
    enter(apply, c->step, well ? STEP_RETURNING : STEP_FAILED);
}

/* ------------------------------------------------------------------ a person's */

static void pause_run(const struct apply *apply)
{
    struct maintenance *m = of(apply);

    if (m->state == MAINTENANCE_STOPPED) {
        (void)conflict(apply, "the maintenance has stopped already");
    } else if (!m->held) {
        m->held = true;
        m->state = MAINTENANCE_PAUSED;
        changed(apply);
        note(apply, HISTORY_MAINTENANCE_PAUSE, 0);
    }
}

/* What becomes of the step whose turn it is; STEP_STATES_N: nothing. */
static enum step_state again(const struct maintenance *m, enum maintenance_again again)
{
    const struct maintenance_step *at = &m->steps[m->at];

    if (at->state == STEP_RUNNING && m->lost) {
        return again == AGAIN_DONE ? STEP_RETURNING : STEP_DRAINED;
    }
    if (at->state != STEP_FAILED) {
        return (enum step_state)STEP_STATES_N;
    }
    if (!at->begun) {
        return STEP_DRAINING;
    }
    return again == AGAIN_DONE || (again == AGAIN_PLAIN && at->ended) ? STEP_RETURNING : STEP_DRAINED;
}

static void resume(const struct apply *apply, const struct maintenance_command *c)
{
    struct maintenance *m = of(apply);
    bool running = m->at != SLOT_NONE && m->steps[m->at].state == STEP_RUNNING;

    if (m->state == MAINTENANCE_RUNNING) {
        return; /* it goes on already */
    }
    if (c->runner == 0) {
        detail_say(apply->outcome, OUTCOME_INVALID, "who resumes a maintenance runs its commands", "", "");
        return;
    }
    if (running && m->lost && c->again == AGAIN_PLAIN) {
        detail_say(apply->outcome, OUTCOME_UNSAFE, "it is not known whether the command on ", m->steps[m->at].name,
                   " has ended");
        return;
    }
    enum step_state to = m->at == SLOT_NONE ? (enum step_state)STEP_STATES_N : again(m, c->again);
    m->runner = running && !m->lost ? m->runner : c->runner; /* a command that runs has its runner */
    m->beat = apply->index;
    m->lost = m->held = false;
    m->state = MAINTENANCE_RUNNING;
    memset(m->why, 0, sizeof m->why);
    changed(apply);
    note(apply, HISTORY_MAINTENANCE_RESUME, 0);
    if (to != (enum step_state)STEP_STATES_N) {
        enter(apply, m->at, to);
    }
}

/* A node whose command was begun stays drained: nobody knows what state it is in. */
static void abort_run(const struct apply *apply)
{
    struct maintenance *m = of(apply);

    for (int i = 0; i < m->n_steps; i++) {
        if (maintenance_may(m->steps[i].state, STEP_SKIPPED)) {
            enter(apply, i, STEP_SKIPPED);
        }
    }
    m->state = MAINTENANCE_ABORTED;
    m->ended_ms = apply->command->at_ms;
    changed(apply);
    note(apply, HISTORY_MAINTENANCE_ABORT, m->begun_ms);
}

void apply_maintenance(const struct apply *apply)
{
    const struct maintenance_command *c = &apply->command->maintenance;
    const struct maintenance *m = of(apply);

    if (c->op == MAINTENANCE_BEGIN) {
        return begin(apply, c);
    }
    if (!maintenance_is_open(m) || m->run != c->run) {
        (void)conflict(apply, "that maintenance is over");
        return;
    }
    switch (c->op) {
    case MAINTENANCE_BEGIN:
        return;
    case MAINTENANCE_STEP:
        return step(apply, c);
    case MAINTENANCE_STOP:
        return stop(apply, c);
    case MAINTENANCE_LOST:
        return lost(apply, c);
    case MAINTENANCE_CLAIM:
        return claim(apply, c);
    case MAINTENANCE_BEAT:
        return is_runner(apply, c) ? alive(apply) : (void)0;
    case MAINTENANCE_END:
        return end(apply, c);
    case MAINTENANCE_PAUSE:
        return pause_run(apply);
    case MAINTENANCE_RESUME:
        return resume(apply, c);
    case MAINTENANCE_ABORT:
        return abort_run(apply);
    }
}

void apply_maintenance_forget(const struct apply *apply, int node)
{
    struct maintenance *m = of(apply);

    for (int i = 0; maintenance_is_open(m) && i < m->n_steps; i++) {
        if (m->steps[i].node == node && maintenance_may(m->steps[i].state, STEP_SKIPPED)) {
            enter(apply, i, STEP_SKIPPED);
            end_if_last(apply);
        }
    }
}
