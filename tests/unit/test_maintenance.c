/* core/apply_maintenance.c: what entries make of a rolling maintenance; core/maintenance.c: how the leader leads it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/apply.h"
#include "core_bed.h"

#define RUNNER 4242u

static int setup(void **state)
{
    struct bed *bed = bed_open_up(3);

    bed_heard(bed, 1);
    bed_heard(bed, 2);
    bed_acked(bed, 1);
    *state = bed;
    return 0;
}

static int teardown(void **state)
{
    bed_close(*state);
    return 0;
}

static struct maintenance *of(struct bed *bed)
{
    return &bed->table->maintenance;
}

static struct command command_of(struct bed *bed, enum maintenance_op op)
{
    struct command command = {.type = COMMAND_MAINTENANCE, .who = "uid 0 on a"};

    command.maintenance.op = op;
    command.maintenance.run = of(bed)->run;
    command.maintenance.runner = RUNNER;
    command.maintenance.step = (uint8_t)(of(bed)->at < 0 ? 0 : of(bed)->at);
    return command;
}

static struct command beginning(struct bed *bed, int n)
{
    struct command command = command_of(bed, MAINTENANCE_BEGIN);

    command.maintenance.settle_ms = 100;
    command.maintenance.drain_ms = 1000;
    command.maintenance.return_ms = 2000;
    memcpy(command.maintenance.words, "/bin/true\0x", 12);
    command.maintenance.words_size = 12;
    command.maintenance.n_nodes = (uint8_t)n;
    for (int i = 0; i < n; i++) {
        command.maintenance.nodes[i] = (int8_t)i;
        command.maintenance.ids[i] = (uint64_t)i + 1;
    }
    return command;
}

static void begin(struct bed *bed, int n)
{
    struct command command = beginning(bed, n);

    bed_commit(bed, &command);
}

static enum outcome_code step(struct bed *bed, int at, enum step_state from, enum step_state to)
{
    struct command command = command_of(bed, MAINTENANCE_STEP);

    command.maintenance.step = (uint8_t)at;
    command.maintenance.from = from;
    command.maintenance.to = to;
    return bed_apply(bed, &command);
}

static enum outcome_code say(struct bed *bed, enum maintenance_op op)
{
    struct command command = command_of(bed, op);

    command.maintenance.runner = op == MAINTENANCE_LOST ? of(bed)->beat : RUNNER;
    return bed_apply(bed, &command);
}

static enum outcome_code ended(struct bed *bed, int status)
{
    struct command command = command_of(bed, MAINTENANCE_END);

    command.maintenance.status = status;
    strcpy(command.maintenance.why, status ? "the command ended with 3" : "");
    strcpy(command.maintenance.tail, "last words");
    return bed_apply(bed, &command);
}

static enum outcome_code resume(struct bed *bed, uint64_t runner, enum maintenance_again again)
{
    struct command command = command_of(bed, MAINTENANCE_RESUME);

    command.maintenance.runner = runner;
    command.maintenance.again = again;
    return bed_apply(bed, &command);
}

static void to_running(struct bed *bed, int at)
{
    assert_int_equal(step(bed, at, STEP_WAITING, STEP_DRAINING), OUTCOME_DONE);
    assert_int_equal(step(bed, at, STEP_DRAINING, STEP_DRAINED), OUTCOME_DONE);
    assert_int_equal(say(bed, MAINTENANCE_CLAIM), OUTCOME_DONE);
    assert_int_equal(of(bed)->steps[at].state, STEP_RUNNING);
}

static void to_done(struct bed *bed, int at)
{
    to_running(bed, at);
    assert_int_equal(ended(bed, 0), OUTCOME_DONE);
    assert_int_equal(step(bed, at, STEP_RETURNING, STEP_DONE), OUTCOME_DONE);
}

static unsigned told(const struct bed *bed, enum history_kind kind)
{
    unsigned n = 0;

    for (uint64_t i = 0; i < bed->table->n_history && i < HISTORY_MAX; i++) {
        n += bed->table->history[i].kind == kind;
    }
    return n;
}

/* ---------------------------------------------------------------- entries */

static void test_states(void **state)
{
    static const char *const path[] = {"waiting", "draining", "drained", "running", "returning", "done"};

    for (int i = 0; i < 6; i++) {
        assert_string_equal(step_state_text((enum step_state)i), path[i]);
        for (int k = 0; k < 6; k++) { /* forward by one; a command of unknown end may be run again */
            assert_int_equal(maintenance_may((enum step_state)i, (enum step_state)k),
                             k == i + 1 || (i == STEP_RUNNING && k == STEP_DRAINED));
        }
        assert_int_equal(maintenance_may((enum step_state)i, STEP_SKIPPED), i != STEP_DONE);
        assert_false(maintenance_may(STEP_DONE, (enum step_state)i) || maintenance_may(STEP_SKIPPED, (enum step_state)i));
    }
    assert_false(maintenance_may(STEP_FAILED, STEP_DONE)); /* not without having been found healthy */
    assert_false(maintenance_may(STEP_FAILED, STEP_RUNNING)); /* only the runner begins a command */
}

static void test_whole_run(void **state)
{
    struct bed *bed = *state;

    bed_drain(bed, 1, true); /* by a person, before */
    begin(bed, 2);
    assert_int_equal(of(bed)->state, MAINTENANCE_RUNNING);
    assert_string_equal(of(bed)->who, "uid 0 on a");
    assert_int_equal(step(bed, 0, STEP_WAITING, STEP_DRAINING), OUTCOME_DONE);
    assert_true(bed->table->nodes[0].draining);
    assert_true(maintenance_has(of(bed), 0));
    assert_int_equal(step(bed, 1, STEP_WAITING, STEP_DRAINING), OUTCOME_STALE); /* one at a time */
    assert_int_equal(say(bed, MAINTENANCE_CLAIM), OUTCOME_CONFLICT);            /* not drained yet */
    assert_int_equal(step(bed, 0, STEP_DRAINING, STEP_DRAINED), OUTCOME_DONE);
    assert_int_equal(step(bed, 0, STEP_DRAINED, STEP_RUNNING), OUTCOME_STALE); /* that is the runner's */
    assert_int_equal(say(bed, MAINTENANCE_CLAIM), OUTCOME_DONE);
    assert_int_equal(say(bed, MAINTENANCE_CLAIM), OUTCOME_CONFLICT); /* a command is begun once */
    assert_int_equal(ended(bed, 0), OUTCOME_DONE);
    assert_int_equal(ended(bed, 0), OUTCOME_CONFLICT);
    assert_string_equal(of(bed)->tail, "last words");
    assert_true(bed->table->nodes[0].draining); /* until it is healthy */
    assert_int_equal(step(bed, 0, STEP_RETURNING, STEP_DONE), OUTCOME_DONE);
    assert_false(bed->table->nodes[0].draining);
    to_done(bed, 1);
    assert_true(bed->table->nodes[1].draining); /* it was before */
    assert_int_equal(of(bed)->state, MAINTENANCE_DONE);
    assert_int_equal(told(bed, HISTORY_MAINTENANCE), 1);
    assert_int_equal(told(bed, HISTORY_MAINTENANCE_DRAINED), 2);
    assert_int_equal(told(bed, HISTORY_MAINTENANCE_COMMAND), 2);
    assert_int_equal(told(bed, HISTORY_MAINTENANCE_NODE), 2);
    assert_int_equal(told(bed, HISTORY_MAINTENANCE_END), 1);
    assert_string_equal(bed->table->history[bed->table->n_history - 1].subject, "/bin/true");
    assert_int_equal(say(bed, MAINTENANCE_PAUSE), OUTCOME_CONFLICT); /* it is over */
    begin(bed, 1);
}

static void test_how_long(void **state)
{
    struct bed *bed = *state;
    struct command command;
    struct outcome outcome;

    begin(bed, 1);
    to_running(bed, 0);
    command = command_of(bed, MAINTENANCE_END);
    command.at_ms = 1700000000000 + 3200;
    table_apply(bed->table, bed->table->applied + 1, &command, &outcome);
    assert_int_equal(outcome.code, OUTCOME_DONE);
    const struct history *last = &bed->table->history[bed->table->n_history - 1];
    assert_int_equal(last->kind, HISTORY_MAINTENANCE_COMMAND);
    assert_int_equal(last->took_ms, 3200);
    assert_int_equal(last->to, 0);
    command = command_of(bed, MAINTENANCE_STEP); /* the next leader's clock is behind */
    command.maintenance.from = STEP_RETURNING;
    command.maintenance.to = STEP_DONE;
    command.at_ms = 1700000000000;
    table_apply(bed->table, bed->table->applied + 1, &command, &outcome);
    assert_int_equal(bed->table->history[bed->table->n_history - 2].took_ms, 0);
}

/* How long it took to drain is not counted anew when the command is run again. */
static void test_how_long_again(void **state)
{
    struct bed *bed = *state;
    struct command command;
    struct outcome outcome;

    begin(bed, 1);
    to_running(bed, 0);
    assert_int_equal(ended(bed, 3), OUTCOME_DONE);
    int64_t drained_ms = of(bed)->steps[0].at_ms[STEP_DRAINED];
    command = command_of(bed, MAINTENANCE_RESUME);
    command.at_ms = 1700000000000 + 60000;
    table_apply(bed->table, bed->table->applied + 1, &command, &outcome);
    assert_int_equal(of(bed)->steps[0].state, STEP_DRAINED);
    assert_true(of(bed)->steps[0].at_ms[STEP_DRAINED] == drained_ms);
}

static void test_bad_beginnings(void **state)
{
    struct bed *bed = *state;
    struct command command = beginning(bed, 2);

    command.maintenance.n_nodes = 0;
    assert_int_equal(bed_apply(bed, &command), OUTCOME_INVALID);
    command = beginning(bed, 2);
    command.maintenance.nodes[1] = 0;
    command.maintenance.ids[1] = 1;
    assert_int_equal(bed_apply(bed, &command), OUTCOME_INVALID);
    command = beginning(bed, 2);
    command.maintenance.ids[1] = 77;
    assert_int_equal(bed_apply(bed, &command), OUTCOME_STALE);
    command = beginning(bed, 2);
    command.maintenance.nodes[1] = 9;
    assert_int_equal(bed_apply(bed, &command), OUTCOME_NOT_FOUND);
    command = beginning(bed, 2);
    command.maintenance.words_size = 0;
    assert_int_equal(bed_apply(bed, &command), OUTCOME_INVALID);
    command = beginning(bed, 2);
    command.maintenance.words[11] = 'y'; /* the last word has no end */
    assert_int_equal(bed_apply(bed, &command), OUTCOME_INVALID);
    command = beginning(bed, 2);
    command.maintenance.return_ms = MAINTENANCE_TIME_MAX_MS + 1;
    assert_int_equal(bed_apply(bed, &command), OUTCOME_INVALID);
    command = beginning(bed, 2);
    command.maintenance.settle_ms = command.maintenance.return_ms;
    assert_int_equal(bed_apply(bed, &command), OUTCOME_INVALID);
    command = beginning(bed, 2);
    command.maintenance.runner = 0;
    assert_int_equal(bed_apply(bed, &command), OUTCOME_INVALID);
    bed->table->nodes[1].removing = true;
    command = beginning(bed, 2);
    assert_int_equal(bed_apply(bed, &command), OUTCOME_CONFLICT);
    bed->table->nodes[1].removing = false;
    assert_int_equal(of(bed)->state, MAINTENANCE_NONE);
    begin(bed, 2);
    command = beginning(bed, 1);
    assert_int_equal(bed_apply(bed, &command), OUTCOME_CONFLICT); /* one at a time */
    assert_int_equal(of(bed)->n_steps, 2);
}

static void test_failures(void **state)
{
    struct bed *bed = *state;

    begin(bed, 2);
    to_running(bed, 0);
    assert_int_equal(ended(bed, 3), OUTCOME_DONE);
    assert_int_equal(of(bed)->state, MAINTENANCE_STOPPED);
    assert_string_equal(of(bed)->why, "the command ended with 3");
    assert_true(bed->table->nodes[0].draining);
    assert_int_equal(step(bed, 1, STEP_WAITING, STEP_DRAINING), OUTCOME_STALE);
    assert_int_equal(say(bed, MAINTENANCE_PAUSE), OUTCOME_CONFLICT);
    assert_int_equal(resume(bed, 7, AGAIN_PLAIN), OUTCOME_DONE); /* the command is run again */
    assert_int_equal(of(bed)->steps[0].state, STEP_DRAINED);
    assert_string_equal(of(bed)->why, "");
    assert_int_equal(say(bed, MAINTENANCE_CLAIM), OUTCOME_CONFLICT); /* by another vipctl now */
    of(bed)->runner = RUNNER;
    assert_int_equal(say(bed, MAINTENANCE_CLAIM), OUTCOME_DONE);
    assert_int_equal(ended(bed, 3), OUTCOME_DONE);
    assert_int_equal(resume(bed, RUNNER, AGAIN_DONE), OUTCOME_DONE); /* the person did it by hand */
    assert_int_equal(of(bed)->steps[0].state, STEP_RETURNING);
    assert_int_equal(step(bed, 0, STEP_RETURNING, STEP_FAILED), OUTCOME_DONE);
    assert_int_equal(resume(bed, RUNNER, AGAIN_PLAIN), OUTCOME_DONE); /* waited for again, not done again */
    assert_int_equal(of(bed)->steps[0].state, STEP_RETURNING);
    assert_int_equal(step(bed, 0, STEP_RETURNING, STEP_FAILED), OUTCOME_DONE);
    assert_int_equal(resume(bed, RUNNER, AGAIN_RETRY), OUTCOME_DONE);
    assert_int_equal(of(bed)->steps[0].state, STEP_DRAINED);
    assert_int_equal(say(bed, MAINTENANCE_ABORT), OUTCOME_DONE);
    begin(bed, 2);
    assert_int_equal(step(bed, 0, STEP_WAITING, STEP_DRAINING), OUTCOME_DONE);
    assert_int_equal(step(bed, 0, STEP_DRAINING, STEP_FAILED), OUTCOME_DONE);
    assert_int_equal(resume(bed, RUNNER, AGAIN_PLAIN), OUTCOME_DONE);
    assert_int_equal(of(bed)->steps[0].state, STEP_DRAINING);
}

static void test_restart(void **state)
{
    struct bed *bed = *state;
    struct command command = beginning(bed, 1);

    command.maintenance.restart = true;
    bed_commit(bed, &command);
    to_running(bed, 0);
    assert_int_equal(ended(bed, 255), OUTCOME_DONE); /* ssh, whose connection ended: no failure */
    assert_int_equal(of(bed)->steps[0].state, STEP_RETURNING);
    assert_string_equal(of(bed)->why, "");
}

static void test_pause(void **state)
{
    struct bed *bed = *state;

    begin(bed, 2);
    assert_int_equal(say(bed, MAINTENANCE_PAUSE), OUTCOME_DONE);
    assert_int_equal(say(bed, MAINTENANCE_PAUSE), OUTCOME_DONE);
    assert_int_equal(told(bed, HISTORY_MAINTENANCE_PAUSE), 1);
    assert_int_equal(step(bed, 0, STEP_WAITING, STEP_DRAINING), OUTCOME_STALE); /* nothing new is begun */
    assert_int_equal(say(bed, MAINTENANCE_BEAT), OUTCOME_DONE);
    assert_int_equal(of(bed)->state, MAINTENANCE_PAUSED); /* it does not go on by itself */
    assert_int_equal(resume(bed, RUNNER, AGAIN_PLAIN), OUTCOME_DONE);
    to_running(bed, 0);
    assert_int_equal(say(bed, MAINTENANCE_PAUSE), OUTCOME_DONE);
    assert_int_equal(resume(bed, 7, AGAIN_PLAIN), OUTCOME_DONE);
    assert_int_equal(of(bed)->runner, RUNNER); /* its command runs still */
    assert_int_equal(say(bed, MAINTENANCE_PAUSE), OUTCOME_DONE);
    assert_int_equal(ended(bed, 0), OUTCOME_DONE); /* what was begun ends well */
    assert_int_equal(step(bed, 0, STEP_RETURNING, STEP_DONE), OUTCOME_DONE);
    assert_false(bed->table->nodes[0].draining);
    assert_int_equal(of(bed)->state, MAINTENANCE_PAUSED);
    assert_int_equal(resume(bed, 7, AGAIN_PLAIN), OUTCOME_DONE);
    assert_int_equal(of(bed)->runner, 7);
}

static void test_lost(void **state)
{
    struct bed *bed = *state;
    struct command command;

    begin(bed, 2);
    to_running(bed, 0);
    command = command_of(bed, MAINTENANCE_LOST);
    command.maintenance.runner = of(bed)->beat - 1; /* decided before it was heard again */
    assert_int_equal(bed_apply(bed, &command), OUTCOME_STALE);
    assert_int_equal(say(bed, MAINTENANCE_LOST), OUTCOME_DONE);
    assert_int_equal(of(bed)->state, MAINTENANCE_PAUSED);
    assert_true(bed->table->nodes[0].draining);
    assert_int_equal(resume(bed, 7, AGAIN_PLAIN), OUTCOME_UNSAFE); /* does it run still? */
    assert_int_equal(say(bed, MAINTENANCE_BEAT), OUTCOME_DONE);    /* yes: it goes on by itself */
    assert_int_equal(of(bed)->state, MAINTENANCE_RUNNING);
    assert_false(of(bed)->lost);
    assert_int_equal(say(bed, MAINTENANCE_LOST), OUTCOME_DONE);
    assert_int_equal(ended(bed, 0), OUTCOME_DONE); /* its word still counts */
    assert_int_equal(of(bed)->state, MAINTENANCE_RUNNING);
    assert_int_equal(step(bed, 0, STEP_RETURNING, STEP_DONE), OUTCOME_DONE);
    to_running(bed, 1);
    assert_int_equal(say(bed, MAINTENANCE_LOST), OUTCOME_DONE);
    assert_int_equal(resume(bed, 7, AGAIN_RETRY), OUTCOME_DONE);
    assert_int_equal(of(bed)->steps[1].state, STEP_DRAINED);
    assert_int_equal(ended(bed, 0), OUTCOME_CONFLICT); /* and now it does not */
    assert_int_equal(say(bed, MAINTENANCE_BEAT), OUTCOME_CONFLICT);
}

static void test_abort(void **state)
{
    struct bed *bed = *state;

    begin(bed, 3);
    assert_int_equal(step(bed, 0, STEP_WAITING, STEP_DRAINING), OUTCOME_DONE);
    assert_int_equal(say(bed, MAINTENANCE_ABORT), OUTCOME_DONE);
    assert_int_equal(of(bed)->state, MAINTENANCE_ABORTED);
    assert_false(bed->table->nodes[0].draining); /* nothing was done to it */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(of(bed)->steps[i].state, STEP_SKIPPED);
    }
    begin(bed, 3);
    to_done(bed, 0);
    to_running(bed, 1);
    assert_int_equal(say(bed, MAINTENANCE_ABORT), OUTCOME_DONE);
    assert_int_equal(of(bed)->steps[0].state, STEP_DONE);
    assert_true(bed->table->nodes[1].draining); /* who knows what its command left behind */
    assert_int_equal(ended(bed, 0), OUTCOME_CONFLICT);
}

static void test_node_removed(void **state)
{
    struct bed *bed = *state;
    struct command command = {.at_ms = 1700000000000};
    struct outcome outcome;
    struct apply apply = {.table = bed->table, .index = 1000, .command = &command, .outcome = &outcome};

    begin(bed, 2);
    assert_int_equal(step(bed, 0, STEP_WAITING, STEP_DRAINING), OUTCOME_DONE);
    apply_maintenance_forget(&apply, 2);
    assert_int_equal(of(bed)->at, 0);
    bed->table->nodes[0].removing = true;
    apply_maintenance_forget(&apply, 0);
    assert_int_equal(of(bed)->steps[0].state, STEP_SKIPPED);
    assert_true(bed->table->nodes[0].draining); /* by its removal */
    assert_int_equal(of(bed)->at, SLOT_NONE);
    assert_int_equal(of(bed)->state, MAINTENANCE_RUNNING);
    apply_maintenance_forget(&apply, 1);
    assert_int_equal(of(bed)->state, MAINTENANCE_DONE);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_states),   T(test_whole_run), T(test_how_long), T(test_how_long_again), T(test_bad_beginnings), T(test_failures),
        T(test_restart),  T(test_pause),     T(test_lost),     T(test_abort),          T(test_node_removed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
