#ifndef VIPD_IO_STORE_H
#define VIPD_IO_STORE_H

/* A node's data directory: the Raft log with term, vote and snapshot, and who the node is. One SQLite database
 * (vipd.db, readable with sqlite3 while the daemon runs), one transaction a write, every record with a CRC-32C.
 *
 * What is refused at the start, with a text for a person: a directory in use by another process, of another cluster or
 * node, of another version, or damaged in any way that is not an unfinished last transaction. */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "io/consensus.h"

#define STORE_TEXT_SIZE 768
#define STORE_KEY_MAX 64            /* bytes of a key */
#define STORE_VALUE_MAX (64 << 10) /* bytes of a value */

struct store;

struct store_options
{
    const char *path;    /* of the directory; made with mode 0700 if only its last component is missing */
    const char *cluster; /* names that the directory must bear; a new one gets them */
    const char *node;
};

enum store_outcome
{
    STORE_ABSENT = 1, /* no such key */
};

/* Opens or makes the directory and takes the lock on it, which proves that an earlier process is gone (N4). On an error
 * `text` says what and what to do: -EBUSY in use, -EPERM another cluster's or node's, -EPROTONOSUPPORT another version's,
 * -EBADMSG damaged, or another -errno. */
NODISCARD int store_open(const struct store_options *options, struct store **ret, char text[STORE_TEXT_SIZE]);
/* NULL is fine. No thread may be writing. */
void store_close(struct store *store);

/* Reads and verifies all that consensus_start() needs; valid until store_unload() or store_close(). Errors as above. */
NODISCARD int store_load(struct store *store, const struct consensus_state **ret, char text[STORE_TEXT_SIZE]);
void store_unload(struct store *store);

/* Writes the entry at index 1 (see consensus_founding()) and term 1. -EEXIST: there is a log or a term already. */
NODISCARD int store_found(struct store *store, const void *configuration, size_t len);

/* Carries out the jobs in one transaction. -ENOSPC, -EIO, ...: they may be written, all, or none; nothing may be written
 * after them. Any thread. */
NODISCARD int store_write(struct store *store, struct consensus_job *const *jobs, size_t n);

/* Moves what was written from the write-ahead log to its place, when there is enough of it. Worth doing when nobody waits
 * for a write: store_write() does it only when it must. Any thread. */
NODISCARD int store_tidy(struct store *store);

/* What the last error of this store was, for a person. */
const char *store_error(const struct store *store);

/* Drawn at random when the directory was made; not 0. A node with another disk is another node. */
uint64_t store_identity(const struct store *store);

/* The daemon's own values. Synchronous, one transaction each. -EINVAL (key or value too long), -EBADMSG (damaged),
 * -ENOBUFS (get: `size` is too small), other -errno. */
NODISCARD int store_set(struct store *store, const char *key, const void *value, size_t len);
NODISCARD int store_get(struct store *store, const char *key, void *ret_value, size_t size, size_t *ret_len);
NODISCARD int store_set_u64(struct store *store, const char *key, uint64_t value);
NODISCARD int store_get_u64(struct store *store, const char *key, uint64_t *ret);

/* The identity by which a peer was known first; remembered, so that only the first question reads the disk. One thread. */
NODISCARD int store_pin(struct store *store, uint64_t peer, uint64_t identity);
NODISCARD int store_pinned(struct store *store, uint64_t peer, uint64_t *ret_identity); /* STORE_ABSENT */

#endif
