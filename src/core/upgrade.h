#ifndef VIPD_CORE_UPGRADE_H
#define VIPD_CORE_UPGRADE_H

/* Which format the nodes of a table can go over to, and what has to wait for that. */

#include <stdbool.h>
#include <stdint.h>

#include "core/command.h"
#include "core/format.h"
#include "core/table.h"

/* The lowest format that has commands of the type. */
uint32_t format_since(enum command_type type);

/* The highest format that every node of the table reads, by its own report, but not below the table's. `ret_node` gets the
 * slot of a node that reads no higher one, or has not reported yet; SLOT_NONE when the table has no node. */
uint32_t format_common(const struct table *table, int *ret_node);

/* Whether a command of the type must not be proposed yet. `ret_why` gets one sentence that names the node in the way; it is
 * "" when there is none: the cluster is about to go over. */
bool format_refuses(const struct table *table, enum command_type type, char ret_why[192]);

#endif
