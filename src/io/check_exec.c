/* exec: a program of the node's directory of checks, run as the daemon's user, so only if nobody but root could have
 * written it. (The replicated table names it, and whoever may change the table must not by that run what he likes.) */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/check_private.h"

static int refuse(char *ret_detail, int err, const char *path, const char *why)
{
    snprintf(ret_detail, CHECK_DETAIL_SIZE, "%.150s %s", path, why);
    return err;
}

/* One file or directory of the way. */
static int is_trusted(const char *path, char *ret_detail)
{
    struct stat at;
    if (stat(path, &at) < 0) {
        return refuse(ret_detail, -errno, path, strerror(errno));
    }
    if (at.st_uid != 0 && at.st_uid != geteuid()) {
        return refuse(ret_detail, -EPERM, path, "does not belong to root");
    }
    /* in a sticky directory others cannot replace what is not theirs */
    if ((at.st_mode & (S_IWGRP | S_IWOTH)) != 0 && !(S_ISDIR(at.st_mode) && (at.st_mode & S_ISVTX) != 0)) {
        return refuse(ret_detail, -EPERM, path, "can be written by others than root");
    }
    return 0;
}

int check_program_trusted(const char *path, char ret_detail[CHECK_DETAIL_SIZE])
{
    char real[PATH_MAX];
    if (realpath(path, real) == NULL) {
        return refuse(ret_detail, -errno, path, strerror(errno));
    }
    struct stat at;
    if (stat(real, &at) < 0 || !S_ISREG(at.st_mode) || (at.st_mode & 0111) == 0) {
        return refuse(ret_detail, -EACCES, path, "is not a program: chmod +x");
    }
    for (char *end = real + strlen(real); end > real; end = strrchr(real, '/')) {
        *end = '\0';
        int err = is_trusted(real, ret_detail);
        if (err < 0) {
            return err;
        }
    }
    return is_trusted("/", ret_detail);
}

static void on_ended(void *ud, const struct child_result *result)
{
    struct check_run *run = ud;
    const char *colon = result->output[0] != '\0' ? ": " : "";
    switch (result->end) {
    case CHILD_EXITED:
        check_tell(run, result->code == 0, "exit %d%s%s", result->code, colon, result->output);
        break;
    case CHILD_SIGNALLED:
        check_tell(run, false, "ended by signal %d%s%s", result->code, colon, result->output);
        break;
    case CHILD_TIMED_OUT:
        check_tell(run, false, "not done in time, killed%s%s", colon, result->output);
        break;
    case CHILD_FLOODED:
        check_tell(run, false, "more than %d bytes of output, killed", CHILD_OUTPUT_MAX);
        break;
    }
}

static void on_gone(void *ud)
{
    struct check_run *run = ud;
    run->child = NULL;
    check_closed(run);
}

static void close_program(struct check_run *run)
{
    struct child *child = run->child;
    if (run->abandoned && child != NULL) { /* else it ends by itself, at its timeout at the latest */
        run->child = NULL;
        child_abandon(child);
        check_closed(run);
    }
}

static int start(struct check_run *run, const struct check_job *job, char ret_detail[CHECK_DETAIL_SIZE])
{
    static const struct child_ops OPS = {.ended = on_ended, .gone = on_gone};
    char path[PATH_MAX], check[NAME_SIZE + 16], node[NAME_SIZE + 16];
    snprintf(path, sizeof(path), "%s/%s", job->dir, run->target.text);
    int err = check_program_trusted(path, ret_detail);
    if (err < 0) {
        return err;
    }
    snprintf(check, sizeof(check), "VIPD_CHECK=%s", job->spec->name);
    snprintf(node, sizeof(node), "VIPD_NODE=%s", job->node);
    const char *const env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", check,
                               node, NULL};
    struct child_spec spec = {.path = path, .env = env, .timeout_ms = job->spec->timeout_ms};
    err = child_start(&run->child, run->loop, &spec, &OPS, run);
    if (err < 0) {
        snprintf(ret_detail, CHECK_DETAIL_SIZE, "%.150s: %s", path, strerror(-err));
        return err;
    }
    check_opened(run);
    return 0;
}

const struct check_adapter CHECK_PROGRAM = {.start = start, .close = close_program};
