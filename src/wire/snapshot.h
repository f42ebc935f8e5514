#ifndef VIPD_WIRE_SNAPSHOT_H
#define VIPD_WIRE_SNAPSHOT_H

/* The whole table (core/table.h) as bytes, for Raft's snapshots: MessagePack, an array of format, head, nodes, groups,
 * VIPs, history, remembered requests and kept documents; only slots in use are written. The lookup indexes are derived anew. */

#include <stddef.h>

#include "base/err.h"
#include "core/table.h"

/* No snapshot is larger: a full table, with every name and list at its longest, is below this. */
#define SNAPSHOT_BYTES_MAX ((size_t)12 << 20)

/* Encodes into buf, in the table's format. -EPROTONOSUPPORT: that is none of this version's; -ENOBUFS: more than size. With
 * buf NULL only *ret_len is found: ask first, then allocate. */
NODISCARD int snapshot_encode(const struct table *table, void *buf, size_t size, size_t *ret_len);

/* Decodes exactly len bytes into *ret, an empty table (table_init(), or memory from calloc(), of which it takes what the
 * snapshot fills), indexes included; equal in table_digest() to what was encoded. -EPROTONOSUPPORT: in a format that this
 * version does not read; -EBADMSG: malformed, a slot, count, text or reference out of its range, a name or address used
 * twice; *ret is then an empty table again. So a running table is not decoded over, but replaced by a decoded one. */
NODISCARD int snapshot_decode(const void *bytes, size_t len, struct table *ret);

#endif
