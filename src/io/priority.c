#include "io/priority.h"

#include <errno.h>
#include <sched.h>
#include <sys/resource.h>

void priority_raise(void)
{
    errno = 0;
    int now = getpriority(PRIO_PROCESS, 0);
    if (errno == 0 && now > PRIORITY_NICE) {
        (void)setpriority(PRIO_PROCESS, 0, PRIORITY_NICE); /* refused: as it was */
    }
}

void priority_keep(void)
{
    struct sched_param param;
    int policy = sched_getscheduler(0);
    if (policy >= 0 && sched_getparam(0, &param) == 0) {
        (void)sched_setscheduler(0, policy | SCHED_RESET_ON_FORK, &param); /* it takes nothing but the flag */
    }
}
