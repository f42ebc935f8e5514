#ifndef VIPD_WIRE_HELLO_H
#define VIPD_WIRE_HELLO_H

/* The first message in each direction of a connection between two nodes: who speaks, of which cluster, and to whom it
 * takes itself to be speaking. Also the last one of a connection that is refused: it carries the reason, so that both
 * sides can tell it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/format.h"
#include "core/limits.h"

#define HELLO_REASON_SIZE 128
#define PROTOCOL_MIN FORMAT_FIRST /* of the payloads: what this version of the software can speak */
#define PROTOCOL_MAX FORMAT_LAST

/* `from` of a node that has been added, and does not know its id yet: it is turned away with its id in `to`. */
#define HELLO_JOINING UINT64_MAX

struct hello
{
    uint32_t protocol_min, protocol_max;
    bool refused;
    char reason[HELLO_REASON_SIZE]; /* why; "" unless refused */
    bool gone; /* refused: what the receiver said it is, is no member any more, for good */
    char cluster[NAME_SIZE];
    uint64_t cluster_id; /* random, of the founding; 0 = not founded */
    char name[NAME_SIZE]; /* of the sending node */
    uint64_t from; /* its id */
    uint64_t to;   /* id of the receiver, as the sender believes; 0 = it does not know yet */
    uint64_t identity; /* random, of the sender's data directory */
    uint64_t pinned;   /* the identity that the sender has on record for the receiver; 0 = never met */
    uint64_t run;      /* random, new at each start */
    bool founded;
    uint64_t founders; /* digest of the founding peers */
    char version[VERSION_SIZE];
    uint32_t format; /* the cluster's, as the sender knows it; 0 = not yet */
    uint64_t last_term, last_index; /* of the sender's log, on its disk */
    uint64_t seen_run; /* the receiver's run that the sender heard last, 0 = none ... */
    uint64_t seen_term, seen_index; /* ... and the end of its log on disk then */
    uint64_t link; /* name of the last connection that both had in use (io/peers.c), 0 = none in this run */
};

/* MessagePack, a map with string keys; keys that are not known are passed over. Encodes into buf; -EINVAL: a string
 * without its NUL, or a name that could not be decoded; -ENOBUFS: does not fit; -ENOMEM. */
NODISCARD int hello_encode(const struct hello *hello, void *buf, size_t size, size_t *ret_len);

/* Of len bytes (at most channel_max(CHANNEL_HELLO)). -EBADMSG: malformed, a key missing or of the wrong type, a name
 * that is empty, too long or not of graphic ASCII, or ids that are zero; -E2BIG or -ENOMEM. The reason text is made
 * printable. *ret is untouched on failure. */
NODISCARD int hello_decode(const void *data, size_t len, struct hello *ret);

/* The highest protocol version that both can speak, 0 = none. */
uint32_t hello_protocol(const struct hello *a, const struct hello *b);

#endif
