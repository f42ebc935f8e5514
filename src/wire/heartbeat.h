#ifndef VIPD_WIRE_HEARTBEAT_H
#define VIPD_WIRE_HEARTBEAT_H

/* The two datagrams of the ownership protocol (core/message.h). A fixed head, so that strangers are told apart without
 * parsing anything of theirs, then MessagePack:
 *
 *     u32 "VIPH" | u8 format | u8 type | u16 0 | u64 cluster, big endian | values */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/format.h"
#include "core/message.h"

#define DATAGRAM_MAX 1360 /* bytes: sealed (io/seal.h) it fits in one frame of every usual network, tunnels included */

enum datagram_type
{
    DATAGRAM_HEARTBEAT = 1,
    DATAGRAM_ANSWER = 2,
};

struct datagram_message
{
    enum datagram_type type;
    union {
        struct heartbeat heartbeat;
        struct answer answer;
    };
};

/* Outcomes of heartbeat_decode(), to be counted. */
enum heartbeat_outcome
{
    HEARTBEAT_OTHER_CLUSTER = 1,
    HEARTBEAT_OTHER_VERSION = 2, /* of a format that this version does not read */
};

/* `format` is one that the receiver reads (hello_protocol()), `cluster` the cluster's tag (its id). Each returns the length of the datagram; it always fits. An answer that
 * would not fit is cut: the node that is left out counts as not reported, which is safe (V3), and which nodes those are
 * changes with the answer's seq, so that each is named soon. */
size_t heartbeat_encode(const struct heartbeat *heartbeat, uint32_t format, uint64_t cluster, uint8_t ret[DATAGRAM_MAX]);
size_t answer_encode(const struct answer *answer, uint32_t format, uint64_t cluster, uint8_t ret[DATAGRAM_MAX]);

/* 0; a heartbeat_outcome; or -EBADMSG: not one of ours, cut short, bytes behind its end, zero ids. *ret is untouched
 * unless 0 is returned. */
NODISCARD int heartbeat_decode(const void *bytes, size_t len, uint64_t cluster, struct datagram_message *ret);

#endif
