#ifndef VIPD_IO_CHECK_H
#define VIPD_IO_CHECK_H

/* One run of a health check: looks once, tells once whether it passed and why. It decides nothing: how often, and what it
 * means, is the caller's and the core's. */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "core/table.h"

#define CHECK_DETAIL_SIZE 256

struct check_run_ops
{
    /* Once, within timeout_ms and a turn of the loop. `detail` is one line without control characters and double quotes,
     * valid during the call. */
    void (*result)(void *ud, bool passed, const char *detail);
    /* Once, after result(): nothing of the run is left, and its memory is freed. It may be long in coming when what it
     * looked at does not answer even to being given up (a file on a dead server, a process that cannot be killed). */
    void (*gone)(void *ud);
};

struct check_job
{
    const struct check_spec *spec; /* sound (core/target.h) */
    const char *dir;               /* of the programs of exec checks */
    const char *node;              /* this node's name: they find it in VIPD_NODE */
};

struct check_run;

/* 0; or -errno with *ret_detail filled in, and nothing comes: it did not pass. */
NODISCARD int check_start(struct check_run **ret, uv_loop_t *loop, const struct check_job *job,
                          const struct check_run_ops *ops, void *ud, char ret_detail[CHECK_DETAIL_SIZE]);

/* Give it up; nothing comes any more. */
void check_abandon(struct check_run *run);

/* Whether the programs of `dir` may be run by root: the directory and everything above it belongs to root (or to the daemon's
 * user), and nobody else may write it. 0, or -errno with the reason. Also asked of each program before each run. */
NODISCARD int check_program_trusted(const char *path, char ret_detail[CHECK_DETAIL_SIZE]);

#endif
