#ifndef VIPD_CLI_PROGRESS_H
#define VIPD_CLI_PROGRESS_H

/* How a rolling maintenance goes on, for a person who watches: on a terminal a block of lines that is drawn again and again,
 * with the command's output running by above it; elsewhere one line for each stage. */

#include "cli/cli.h"

struct progress;

struct progress *progress_open(const struct cli *cli); /* aborts for lack of memory */
/* Output of the command, as it comes. */
void progress_output(struct progress *progress, const char *bytes, size_t len);
/* As "maintenance.show" has it; NULL: the daemon does not answer now. */
void progress_show(struct progress *progress, const struct vipd_value *row);
void progress_close(struct progress *progress); /* the last state stays on the screen */

/* The same once, for `maintenance status`. */
void progress_print(const struct vipd_value *row);
/* What is to be said of its end, or of what it waits for, and what to do; on standard output. */
void progress_verdict(const struct vipd_value *row);
/* "350ms", "12.3s", "4m 05s", "2h 10m" */
const char *progress_time(int64_t ms, char buf[32]);
/* COMMAND in one line. */
const char *progress_command(const struct vipd_value *row, char *buf, size_t size);

#endif
