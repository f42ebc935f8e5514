/* What every kind of check has in common: the time, the one answer, and the end.
 *
 * Happy path: the adapter starts, something comes back, check_tell() passes it on, everything is closed, gone(). Failure
 * modes: the time is up (told as failed, the adapter is closed); the adapter cannot even start (told by the return value);
 * given up (everything is closed, nobody is told). */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/check_private.h"

void check_opened(struct check_run *run)
{
    run->open++;
}

void check_closed(struct check_run *run)
{
    if (--run->open > 0) {
        return;
    }
    if (!run->abandoned) {
        run->ops.gone(run->ud);
    }
    free(run);
}

static void on_timer_closed(uv_handle_t *handle)
{
    check_closed(handle->data);
}

static void finish(struct check_run *run)
{
    run->told = true;
    uv_close((uv_handle_t *)&run->timer, on_timer_closed);
    run->adapter->close(run);
}

/* A detail goes into logs and onto terminals, and some of it was written by others. */
static void clean(char *text)
{
    for (; *text != '\0'; text++) {
        if (*text < ' ' || *text > '~' || *text == '"') {
            *text = ' ';
        }
    }
}

void check_tell(struct check_run *run, bool passed, const char *format, ...)
{
    char detail[CHECK_DETAIL_SIZE];
    va_list args;
    if (run->told) {
        return;
    }
    va_start(args, format);
    vsnprintf(detail, sizeof(detail), format, args);
    va_end(args);
    clean(detail);
    check_opened(run); /* until this is over */
    finish(run);
    run->ops.result(run->ud, passed, detail);
    check_closed(run);
}

static void on_timer(uv_timer_t *timer)
{
    check_tell(timer->data, false, "no answer in time");
}

static const struct check_adapter *adapter_of(enum check_kind kind)
{
    switch (kind) {
    case CHECK_HTTP:
    case CHECK_TCP:
        return &CHECK_CONNECT;
    case CHECK_EXEC:
        return &CHECK_PROGRAM;
    case CHECK_PROCESS:
    case CHECK_FILE:
        return &CHECK_LOOK;
    case CHECK_PING:
        return &CHECK_ECHO;
    }
    abort();
}

int check_start(struct check_run **ret, uv_loop_t *loop, const struct check_job *job, const struct check_run_ops *ops,
                void *ud, char ret_detail[CHECK_DETAIL_SIZE])
{
    struct check_run *run = calloc(1, sizeof(*run));
    if (run == NULL) {
        snprintf(ret_detail, CHECK_DETAIL_SIZE, "no memory");
        return -ENOMEM;
    }
    run->loop = loop;
    run->ops = *ops;
    run->ud = ud;
    run->kind = job->spec->kind;
    run->adapter = adapter_of(run->kind);
    snprintf(run->text, sizeof(run->text), "%s", job->spec->target);
    const char *wrong = target_parse(run->kind, run->text, &run->target);
    if (wrong != NULL) {
        snprintf(ret_detail, CHECK_DETAIL_SIZE, "expected %s", wrong);
        free(run);
        return -EINVAL;
    }
    (void)uv_timer_init(loop, &run->timer);
    run->timer.data = run;
    check_opened(run);
    int err = run->adapter->start(run, job, ret_detail);
    if (err == 0) {
        err = uv_timer_start(&run->timer, on_timer, job->spec->timeout_ms, 0);
    }
    if (err < 0) {
        clean(ret_detail);
        check_abandon(run);
        return err;
    }
    *ret = run;
    return 0;
}

void check_abandon(struct check_run *run)
{
    run->abandoned = true;
    if (run->told) {
        run->adapter->close(run); /* what may still be on its way out */
    } else {
        finish(run);
    }
}
