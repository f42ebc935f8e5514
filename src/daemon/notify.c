#include "daemon/notify.h"

#include <string.h>

#include <systemd/sd-daemon.h>

#define STATUS_MAX 255

void notify_ready(void)
{
    (void)sd_notify(0, "READY=1");
}

void notify_stopping(void)
{
    (void)sd_notify(0, "STOPPING=1");
}

void notify_status(const char *status)
{
    size_t len = strcspn(status, "\n"); /* a line of its own would be another assignment */

    (void)sd_notifyf(0, "STATUS=%.*s", (int)(len < STATUS_MAX ? len : STATUS_MAX), status);
}

void notify_watchdog(void)
{
    (void)sd_notify(0, "WATCHDOG=1");
}

uint64_t notify_watchdog_ms(void)
{
    uint64_t watchdog_us;

    return sd_watchdog_enabled(0, &watchdog_us) > 0 ? watchdog_us / 2000 : 0;
}
