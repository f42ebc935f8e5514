#ifndef VIPD_CORE_LOOKUP_H
#define VIPD_CORE_LOOKUP_H

/* Within core: keeps the table's lookup indexes in step with its VIPs. Tombstones are found by address, which stays
 * reserved, and not by name, which may be given again at once. */

#include "core/table.h"

/* Hash of `len` bytes, continued from `hash` (64-bit FNV-1a; begin with FNV_BASIS). */
#define FNV_BASIS 0xcbf29ce484222325ull
uint64_t fnv_bytes(uint64_t hash, const void *bytes, size_t len);

/* The VIP in `slot` must be filled in and not be in that index yet; or, to remove, must be in it under this key. */
void lookup_add_name(struct table *table, int slot);
void lookup_remove_name(struct table *table, int slot);
void lookup_add_addr(struct table *table, int slot);
void lookup_remove_addr(struct table *table, int slot);

/* After what the checks are has changed. */
void lookup_checks(struct table *table);

#endif
