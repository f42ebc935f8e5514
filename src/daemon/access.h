#ifndef VIPD_DAEMON_ACCESS_H
#define VIPD_DAEMON_ACCESS_H

/* Who may ask this node for what: root everything, the control group may read, the admin group may change. */

#include <stdbool.h>
#include <sys/types.h>


#define ACCESS_NO_GROUP ((gid_t)-1) /* no client is ever in it */

struct access
{
    gid_t control, admin;
};

/* The group that the file names, by name or number. One that does not exist on this host is ACCESS_NO_GROUP. */
gid_t access_group(const char *name);

/* NULL: granted; else why not, and *ret_hint the remedy (static memory). `in` tells whether the client is in a group. */
const char *access_refusal(const struct access *access, uid_t uid, bool (*in)(void *ud, gid_t group), void *ud,
                           bool changes, const char **ret_hint);

#endif
