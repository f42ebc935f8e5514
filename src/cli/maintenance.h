#ifndef VIPD_CLI_MAINTENANCE_H
#define VIPD_CLI_MAINTENANCE_H

/* Within vipctl maintenance. */

#include "cli/cli.h"
#include "cli/runner.h"

/* --nodes a,b, which may be given several times. */
void maintenance_nodes(const struct cli *cli, struct vipd_args *args);
/* The plan, shown; 0, or an exit code after the complaint. */
int maintenance_plan(struct cli *cli);
/* Starts the runner, unless another one has a command at work, and watches; `row` as the change answered it. The exit code. */
int maintenance_go_on(struct cli *cli, const struct vipd_value *row, struct runner *runner);

#endif
