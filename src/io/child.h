#ifndef VIPD_IO_CHILD_H
#define VIPD_IO_CHILD_H

/* One program, run beside the loop: in a session and process group of its own, with a bound on its time and on its output.
 * What it leaves in its group when it ends is killed; what leaves the group (setsid) is out of reach, holds nothing of ours
 * and delays nothing. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"

#define CHILD_OUTPUT_MAX 65536 /* bytes; a program that writes more is killed */
#define CHILD_OUTPUT_KEPT 200  /* of them, for people */
#define CHILD_INPUT_MAX 4096   /* bytes: fit into a pipe at once */

enum child_end
{
    CHILD_EXITED,
    CHILD_SIGNALLED,
    CHILD_TIMED_OUT, /* and was killed, with its group */
    CHILD_FLOODED,   /* likewise */
};

struct child_result
{
    enum child_end end;
    int code;           /* exit status or signal */
    const char *output; /* the beginning of what it wrote, as one line without control characters; valid during the call */
};

struct child_ops
{
    /* Once, when it has ended, or is given up. Then its output is no longer read. */
    void (*ended)(void *ud, const struct child_result *result);
    /* Once, later than ended(): the process is gone and the child's memory is freed. A process that cannot even be killed
     * (it waits for a dead disk) keeps this from coming. */
    void (*gone)(void *ud);
};

struct child_spec
{
    const char *path;       /* absolute; the only word of its command line */
    const char *const *env; /* the whole environment, up to a NULL */
    const char *input;      /* its standard input, or NULL */
    size_t input_len;       /* at most CHILD_INPUT_MAX */
    uint32_t timeout_ms;
};

struct child;

/* 0; or -errno and nothing comes: no such program, not executable, no descriptors, no memory. */
NODISCARD int child_start(struct child **ret, uv_loop_t *loop, const struct child_spec *spec, const struct child_ops *ops,
                          void *ud);

/* Kill it with its group and forget it: nothing comes any more. NULL is fine. */
void child_abandon(struct child *child);

#endif
