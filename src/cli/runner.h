#ifndef VIPD_CLI_RUNNER_H
#define VIPD_CLI_RUNNER_H

/* The runner of a rolling maintenance: the process that runs COMMAND for one node after the other, when the cluster says that
 * it is that node's turn, and tells the cluster how it ended. runner.c has its states and failure modes. */

#include <stdbool.h>
#include <stdint.h>

#define RUNNER_WORDS_MAX 512 /* of COMMAND; its bytes are limited by the cluster */

struct runner
{
    const char *socket; /* NULL: the default */
    uint64_t run, id;   /* which maintenance; random, of this runner */
    const char *const *words;
    int n_words;
    uint64_t command_ms; /* the longest time of a command; 0 = any */
    int out;             /* its output goes there, as "node | line"; -1 = nowhere */
};

/* Until the maintenance is over, paused, or another one's. */
void runner_go(const struct runner *runner);

#endif
