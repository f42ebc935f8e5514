#ifndef VIPD_IO_STORE_DIR_H
#define VIPD_IO_STORE_DIR_H

/* The data directory itself: made, locked, and its write-ahead log looked at before SQLite silently repairs it. */

#include "base/err.h"
#include "io/store.h"

/* Makes the directory if it is missing and locks it. *ret_fd holds the lock until it is closed, also by the end of the
 * process in any way. -EBUSY: another process has it. */
NODISCARD int store_dir_lock(const char *path, int *ret_fd, char text[STORE_TEXT_SIZE]);

/* Looks at SQLite's write-ahead log (https://www.sqlite.org/fileformat2.html#walformat). SQLite takes the log to end at
 * the first frame whose checksum is wrong, which is right for a last transaction that was not finished, and drops
 * whatever was committed behind it when it is not. Each transaction is synced before the next begins, so at most
 * one may be unfinished: 0; anything beyond is damage: -EBADMSG. No file is fine. */
NODISCARD int store_dir_check_wal(const char *path);

/* Fills the log up with zeros, behind whatever is in it, to `size` bytes: a sync after writing over what is allocated
 * takes a tenth of a millisecond, one after growing the file also waits for the file system's own journal, which
 * takes several. SQLite and the check above take zeros for the end. */
NODISCARD int store_dir_extend_wal(const char *path, size_t size);

#endif
