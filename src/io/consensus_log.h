#ifndef VIPD_IO_CONSENSUS_LOG_H
#define VIPD_IO_CONSENSUS_LOG_H

/* The part of the log that a node keeps in memory: what the library may ask to be sent, and what is not applied yet.
 * Indexes are contiguous from `first`. The library itself remembers only terms. */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "io/consensus.h"

/* The data of an entry, shared between the log and the jobs that write it. The count is touched by one thread only. */
struct consensus_blob
{
    unsigned refs;
    size_t len;
    _Alignas(8) uint8_t data[];
};

struct consensus_slot
{
    struct consensus_blob *blob;
    uint64_t term;
    uint64_t job;   /* number of the job that writes it; 0: it was on disk at the start */
    uint64_t end;   /* bytes of all entries ever appended up to and including this one */
    enum consensus_entry_type type;
};

struct consensus_log
{
    struct consensus_slot *slots; /* a ring */
    size_t size, head, n;
    uint64_t first; /* index of the oldest entry, or of the next to come */
    uint64_t end;   /* bytes of all entries ever appended and not cut off again */
};

struct consensus_blob *consensus_blob_ref(struct consensus_blob *blob);
void consensus_blob_unref(struct consensus_blob *blob); /* NULL is fine */

/* first is at least 1. */
void consensus_log_init(struct consensus_log *log, uint64_t first);
void consensus_log_close(struct consensus_log *log);

/* Copies the data. -ENOMEM. */
NODISCARD int consensus_log_append(struct consensus_log *log, uint64_t term, enum consensus_entry_type type,
                                   const void *data, size_t len, uint64_t job);
void consensus_log_truncate(struct consensus_log *log, uint64_t from); /* drops from, from + 1, ... */
void consensus_log_compact(struct consensus_log *log, uint64_t below); /* drops ..., below - 1 */
void consensus_log_reset(struct consensus_log *log, uint64_t first);   /* drops all */

/* NULL: not in memory. Valid until the log changes. */
const struct consensus_slot *consensus_log_get(const struct consensus_log *log, uint64_t index);
uint64_t consensus_log_last(const struct consensus_log *log); /* first - 1 when there are none */
/* Bytes of the entries above `index`; of all that there are if it is older. */
size_t consensus_log_bytes_above(const struct consensus_log *log, uint64_t index);

#endif
