#ifndef VIPD_DAEMON_CLEAN_H
#define VIPD_DAEMON_CLEAN_H

/* Removes what vipd left in this network namespace: the addresses that bear its mark, then its fence. For an uninstall,
 * or a host whose daemon was killed and will not come back. Prints what it does; 0, or 1 when something is left, among
 * others because a daemon runs. */
int clean_all(void);

#endif
