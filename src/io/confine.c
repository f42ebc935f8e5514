#include "io/confine.h"

#include <errno.h>
#include <stddef.h>

#include <seccomp.h>

static const char *const REFUSED[] = {
    /* mounts and roots */
    "mount", "umount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount",
    "fspick", "mount_setattr", "quotactl", "quotactl_fd",
    /* the kernel itself */
    "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff",
    "acct", "syslog", "iopl", "ioperm",
    /* clocks: leases are measured with them (how they are slewed is asked by adjtimex(2), which sets nothing without a
     * capability that this process does not have) */
    "settimeofday", "stime", "clock_settime", "clock_settime64",
    /* other processes, and their secrets */
    "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd", "perf_event_open",
    "userfaultfd", "add_key", "request_key", "keyctl",
#ifndef __SANITIZE_ADDRESS__ /* its leak check traces the process */
    "ptrace",
#endif
    /* namespaces: the VIPs belong to the one that it was started in */
    "setns", "unshare",
    /* past the permissions of files */
    "open_by_handle_at", "sethostname", "setdomainname", "vhangup",
};

static int refuse_all(scmp_filter_ctx filter)
{
    for (size_t i = 0; i < sizeof REFUSED / sizeof REFUSED[0]; i++) {
        int call = seccomp_syscall_resolve_name(REFUSED[i]);
        int rv = call == __NR_SCMP_ERROR ? 0 : seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), call, 0);
        if (rv < 0 && rv != -EDOM) { /* -EDOM: not a call of this architecture */
            return rv;
        }
    }
    return 0;
}

int confine_calls(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

    if (filter == NULL) {
        return -ENOMEM;
    }
    int rv = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM));
    rv = rv < 0 ? rv : refuse_all(filter);
    rv = rv < 0 ? rv : seccomp_load(filter);
    seccomp_release(filter);
    return rv;
}
