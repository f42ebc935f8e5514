#ifndef VIPD_WIRE_RAFT_MESSAGE_H
#define VIPD_WIRE_RAFT_MESSAGE_H

/* Messages between Raft cores as bytes. The layout is this project's own, little endian, every field at a fixed place:
 *
 *     u8 format | u8 type | u8 version of the message | u8 flags | u32 n | u64 term | body
 *
 *     append entries         n entries: u64 prev index, prev term, commit; n times {u64 term, u32 length, u8 type,
 *                            3 zeros}; then n times the data, each padded with zeros to 8 bytes
 *     append entries result  u64 rejected, last index; u16 features, capacity; 4 zeros
 *     request vote           flags 1 = disrupt the leader, 2 = pre-vote; u64 candidate, last index, last term
 *     request vote result    flags 1 = granted, 2 = pre-vote; u16 features, capacity; 4 zeros
 *     install snapshot       n = length of the configuration; u64 last index, last term, configuration index, length
 *                            of the data; configuration, then data, each padded with zeros to 8 bytes
 *     timeout now            u64 last index, last term
 *
 * The decoder is strict: not one byte more or less, reserved bits zero, and nothing passes that the library would take
 * for granted of its peer and check, if at all, by an assertion only (zero terms, terms that fall along the log,
 * configurations that overrun their buffer). Nothing is allocated and no function of the library is called: only
 * its types are used here. */

#include <raft.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define RAFT_MESSAGE_MAX ((size_t)64 << 20)        /* bytes of any frame; only a snapshot may be so long */
#define RAFT_MESSAGE_APPEND_MAX ((size_t)8 << 20)  /* bytes of a frame with entries */
#define RAFT_MESSAGE_ENTRY_MAX ((size_t)6 << 20)   /* bytes of one entry's data */
#define RAFT_MESSAGE_ENTRIES_MAX 1024              /* entries of one frame */
#define RAFT_MESSAGE_SERVERS_MAX 64                /* servers of a configuration */
#define RAFT_MESSAGE_ADDRESS_MAX 255               /* bytes of a server's address, without the NUL */
#define RAFT_MESSAGE_CONFIGURATION_MAX ((size_t)32 << 10) /* bytes of an encoded configuration */
#define RAFT_MESSAGE_SNAPSHOT_MAX (RAFT_MESSAGE_MAX - RAFT_MESSAGE_CONFIGURATION_MAX - 64) /* bytes of its data */

#define RAFT_MESSAGE_HEADER 16       /* bytes before the body */
#define RAFT_MESSAGE_APPEND_FIXED 40 /* bytes of append entries without any entry, header included */
#define RAFT_MESSAGE_ENTRY_FIXED 16  /* bytes that an entry takes besides its padded data */

/* len rounded up to a multiple of 8. */
static inline size_t raft_message_pad(size_t len)
{
    return (len + 7) & ~(size_t)7;
}

/* Bytes of the message's frame; 0 when it exceeds a limit or has no known type. `configuration` is the encoded
 * configuration of an install snapshot (whose own `conf` is not looked at); NULL for the other types. */
size_t raft_message_size(const struct raft_message *message, const struct raft_buffer *configuration);

/* Writes the frame, raft_message_size() bytes, which the caller has found not to be 0. server_id and server_address
 * are not part of it: the connection knows them. */
void raft_message_encode(const struct raft_message *message, const struct raft_buffer *configuration, void *frame);

/* Reads a frame. `entries` has room for RAFT_MESSAGE_ENTRIES_MAX and becomes append_entries.entries; the data of entries,
 * of the snapshot and *ret_configuration point into the frame, `batch` is NULL and install_snapshot.conf empty: the
 * caller makes of them what the library may own. server_id and server_address are left 0 and NULL.
 * -EBADMSG malformed, -EMSGSIZE above a limit, -EPROTONOSUPPORT another format or version; *ret is then undefined. */
NODISCARD int raft_message_decode(const void *frame, size_t len, struct raft_entry *entries, struct raft_message *ret,
                                  struct raft_buffer *ret_configuration);

/* Whether raft_configuration_decode() can be let loose on the bytes: it trusts them. 0 or -EBADMSG. */
NODISCARD int raft_message_check_configuration(const void *data, size_t len);

#endif
