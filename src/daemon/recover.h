#ifndef VIPD_DAEMON_RECOVER_H
#define VIPD_DAEMON_RECOVER_H

#include "daemon/config.h"

/* The majority of the voters is lost for good: makes of this node's data directory that of a new cluster in which it is
 * alone. `yes` names every other member, with commas between: a person's word that each is off and will not come back with
 * its old data; NULL: only says what would be done. Prints what it does. Exit code: 0 done, 1 failed, 2 wrong names, 3
 * refused: the daemon runs, a member answers, or `yes` is missing. */
int recover_run(const struct config *config, const char *yes);

#endif
