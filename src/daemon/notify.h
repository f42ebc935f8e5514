#ifndef VIPD_DAEMON_NOTIFY_H
#define VIPD_DAEMON_NOTIFY_H

/* What the service manager is told (sd_notify(3)); each does nothing where no service manager asked ($NOTIFY_SOCKET),
 * and never fails in a way that would concern the caller. */

#include <stdint.h>

void notify_ready(void);               /* Type=notify: start-up is over */
void notify_stopping(void);            /* orderly shutdown has begun */
void notify_status(const char *status); /* one line for `systemctl status`; cut at 255 bytes */
void notify_watchdog(void);            /* this process still works */

/* How often notify_watchdog() is due, in ms: half of WatchdogSec=. 0: nobody waits for it. */
uint64_t notify_watchdog_ms(void);

#endif
