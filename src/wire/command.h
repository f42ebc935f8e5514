#ifndef VIPD_WIRE_COMMAND_H
#define VIPD_WIRE_COMMAND_H

/* The log's commands (core/command.h) as the bytes of a Raft entry: MessagePack, an array of format, type, at_ms,
 * request, who, and an array of the type's own fields. */

#include <stddef.h>

#include "base/err.h"
#include "core/command.h"

/* No encoded command is larger. It has room for the moves of every VIP that a cluster can have; a COMMAND_VIP_ADD
 * reaches it with some 20,000 plain VIPs, or with some 2,000 that have every attribute at its longest. */
#define COMMAND_BYTES_MAX ((size_t)1 << 20)

/* Memory that is enough to decode any command. */
#define COMMAND_SCRATCH_BYTES \
    (VIPS_MAX * (sizeof(struct vip_item) + sizeof(struct move)) + GROUPS_MAX * sizeof(struct group) + NODES_MAX * sizeof(struct node_item) + \
     CHECKS_MAX * sizeof(struct check_item) + 128)

/* Encodes into buf. -EMSGSIZE: more than COMMAND_BYTES_MAX; -ENOBUFS: more than size; -EINVAL: an unknown type, a count
 * beyond its limit, a number that command_decode() would refuse: what was encoded can be decoded, so that nothing gets
 * into the log that stops every node; -EPROTONOSUPPORT: its format is none of this version's, or has no such command
 * yet. With buf NULL only *ret_len is found, and numbers are not looked at. */
NODISCARD int command_encode(const struct command *command, void *buf, size_t size, size_t *ret_len);

/* Decodes exactly len bytes. The arrays of *ret lie in scratch, which the caller gives, aligned for any type, and keeps
 * as long as *ret is in use; the kept document of a COMMAND_APPLY stays where it is in `bytes`. -EPROTONOSUPPORT: in a format that
 * this version does not read; -EBADMSG: malformed, an unknown type, cut short, bytes behind the end, a
 * number out of its range, a text too long; -ENOBUFS: scratch_size is too small. *ret is untouched on failure. */
NODISCARD int command_decode(const void *bytes, size_t len, void *scratch, size_t scratch_size, struct command *ret);

#endif
