#include "io/privilege.h"

#include <errno.h>
#include <grp.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cap-ng.h>

struct need
{
    unsigned capability;
    const char *name;
};

static const struct need NEEDS[] = {
    {CAP_NET_ADMIN, "CAP_NET_ADMIN"},
    {CAP_NET_RAW, "CAP_NET_RAW"},
    {CAP_BPF, "CAP_BPF"}, /* the last: left out without the fence */
};

/* Children get nothing: those of root what the bounding set leaves, which is emptied, those of another user what is
 * ambient. */
static int apply(int n)
{
    /* only who has CAP_SETPCAP can shrink the bounding set; without it no_new_privs does the same for the children */
    bool setpcap = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);

    capng_clear(CAPNG_SELECT_BOTH);
    for (int i = 0; i < n; i++) {
        if (capng_updatev(CAPNG_ADD, CAPNG_PERMITTED | CAPNG_EFFECTIVE, NEEDS[i].capability, -1)) {
            return -EINVAL;
        }
    }
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL) {
        return -errno;
    }
    return capng_apply(setpcap ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS) ? -EPERM : 0;
}

static int no_dumps(void)
{
#ifndef __SANITIZE_ADDRESS__ /* its leak check traces the process */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) {
        return -errno;
    }
#endif
    return 0;
}

int privilege_drop(bool bpf, gid_t group, const char **ret_missing)
{
    int n = (int)(sizeof NEEDS / sizeof NEEDS[0]) - !bpf;

    if (capng_get_caps_process()) {
        return -EIO;
    }
    for (int i = 0; i < n; i++) {
        if (!capng_have_capability(CAPNG_PERMITTED, NEEDS[i].capability)) {
            *ret_missing = NEEDS[i].name;
            return PRIVILEGE_MISSING;
        }
    }
    if (capng_have_capability(CAPNG_EFFECTIVE, CAP_SETGID) && setgroups(group != (gid_t)-1, &group) < 0) {
        return -errno;
    }
    int rv = apply(n);
    if (rv == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        rv = -errno;
    }
    return rv ? rv : no_dumps();
}
