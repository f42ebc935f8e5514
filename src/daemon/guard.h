#ifndef VIPD_DAEMON_GUARD_H
#define VIPD_DAEMON_GUARD_H

/* The kernel fence of this node (ownership.md, N5). With `fence: addresses` there is none, and these do nothing but keep
 * the account of addresses. */

#include "daemon/daemon.h"

/* Loads it. An earlier run's programs stay in force until guard_link(). -errno, told in the log, or another of fence_open(). */
NODISCARD int guard_open(struct daemon *d);
/* What an earlier run left is removed, or taken over. Without a fence, an earlier run's is taken off now: it would keep this run's VIPs from
 * everybody. */
void guard_earlier_gone(struct daemon *d);
/* Whether an earlier run's fence is on every interface on which one can stand. */
NODISCARD bool guard_earlier_everywhere(void);
/* Takes it off, unless addresses could not be removed. */
void guard_close(struct daemon *d);

/* Puts it on the interface; whether it is in force there (true without a fence). */
bool guard_link(struct daemon *d, const char *name);
/* And on every interface that is not among the links. */
void guard_others(struct daemon *d, const struct link *links, int n);

/* Brings the set to the table's; whether a VIP is new in it. A set that cannot be written ends the daemon. */
bool guard_table_changed(struct daemon *d);
/* Likewise, with what was put into d->kept: addresses of an earlier run that are still in the kernel. */
void guard_keep(struct daemon *d);

#endif
