#ifndef VIPD_IO_FENCE_PRIVATE_H
#define VIPD_IO_FENCE_PRIVATE_H

/* What the files of the fence share: fence.c loads and times, fence_place.c puts it on interfaces, fence_vips.c keeps
 * the set. libbpf is theirs alone. */

#include "io/fence.h"

struct fence_bpf;

struct fence
{
    struct fence_bpf *skeleton;
    uint64_t *lease; /* the kernel's memory */
    int lock_fd;
    int vips_fd;
    bool vips_set;
    bool sealed; /* lease 0 for good */
    int prog_fd[2][FENCE_SIDES_N]; /* [bare][side] */
    uint32_t prog_id[2][FENCE_SIDES_N];
};

/* Sets fence_error() and returns r. */
PRINTF(2, 3) int fence_fail(int r, const char *format, ...);

/* libbpf's first warning since fence_libbpf_listen(), or "". */
const char *fence_libbpf_text(void);
void fence_libbpf_listen(void);

/* fence_remove_all without asking for the lock. */
NODISCARD int fence_place_remove_everywhere(void);

#endif
