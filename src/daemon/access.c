#include "daemon/access.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>

gid_t access_group(const char *name)
{
    char *end;
    unsigned long number = strtoul(name, &end, 10);
    const struct group *group;

    if (*name && !*end) {
        return number < ACCESS_NO_GROUP ? (gid_t)number : ACCESS_NO_GROUP;
    }
    group = getgrnam(name);
    return group ? group->gr_gid : ACCESS_NO_GROUP;
}

static bool member(gid_t group, bool (*in)(void *ud, gid_t group), void *ud)
{
    return group != ACCESS_NO_GROUP && in(ud, group);
}

const char *access_refusal(const struct access *access, uid_t uid, bool (*in)(void *ud, gid_t group), void *ud,
                           bool changes, const char **ret_hint)
{
    bool admin = uid == 0 || member(access->admin, in, ud);

    if (admin || (!changes && member(access->control, in, ud))) {
        return NULL;
    }
    if (member(access->control, in, ud)) {
        *ret_hint = "changes are for root and the members of the admin group (vipd-admin)";
        return "this user may look, but not change";
    }
    *ret_hint = "be root, or a member of the control group (vipd)";
    return "this user may not talk to vipd";
}
