#ifndef VIPD_IO_CONFINE_H
#define VIPD_IO_CONFINE_H

/* System calls that this process and its children can do without, refused by the kernel. */

#include "base/err.h"

/* For this thread and those that come after it; needs no_new_privs. They fail with EPERM. Names that this kernel or
 * library does not know are left out. -errno: the kernel has no seccomp filters (-EINVAL), no memory. */
NODISCARD int confine_calls(void);

#endif
