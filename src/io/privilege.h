#ifndef VIPD_IO_PRIVILEGE_H
#define VIPD_IO_PRIVILEGE_H

/* What this process may: the capabilities that it needs, and none besides. */

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

#define PRIVILEGE_MISSING 1

/* Keeps CAP_NET_ADMIN, CAP_NET_RAW and, with `bpf`, CAP_BPF; gives up all others for good and leaves its children none,
 * sets no_new_privs and forbids core dumps. As root its groups become `group` alone ((gid_t)-1: none), which lets it give
 * files to that group without CAP_CHOWN. Before the first thread: capabilities are a thread's. PRIVILEGE_MISSING: one that
 * is needed is not there, *ret_missing names it (static memory), nothing was changed. -errno. */
NODISCARD int privilege_drop(bool bpf, gid_t group, const char **ret_missing);

#endif
