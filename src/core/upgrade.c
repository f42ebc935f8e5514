/* The leader takes the cluster to a newer format, once every node reads it.
 *
 * What the table says of a node is what its last report said. One that is admitted may run by now in another version than that,
 * so its heartbeat has to say the same. Who is not admitted holds nothing; should it come back in an older version, it is
 * told to be upgraded. */

#include "core/upgrade.h"

#include <stdio.h>

#include "core/core_private.h"

uint32_t format_since(enum command_type type)
{
#if VIPD_PRETEND_FORMAT
    if (type == COMMAND_MARK) {
        return FORMAT_LAST;
    }
#endif
    (void)type;
    return 1;
}

uint32_t format_common(const struct table *table, int *ret_node)
{
    uint32_t common = UINT32_MAX;

    *ret_node = SLOT_NONE;
    for (int slot = 0; slot < NODES_MAX; slot++) {
        if (table->nodes[slot].used && table->nodes[slot].reads_last < common) {
            common = table->nodes[slot].reads_last;
            *ret_node = slot;
        }
    }
    return *ret_node == SLOT_NONE || common < table->format ? table->format : common;
}

bool format_refuses(const struct table *table, enum command_type type, char ret_why[192])
{
    uint32_t since = format_since(type);
    int slot;

    ret_why[0] = '\0';
    if (since <= table->format) {
        return false;
    }
    if (format_common(table, &slot) < since && slot != SLOT_NONE) {
        const struct node *node = &table->nodes[slot];
        if (node->reads_last < FORMAT_FIRST) {
            snprintf(ret_why, 192, "this needs format %u, and node %.63s has not said yet what it reads: start it, or remove it",
                     since, node->name);
        } else {
            snprintf(ret_why, 192, "this needs format %u, and node %.63s (vipd %.31s) reads %u at most: upgrade it first", since,
                     node->name, node->version, node->reads_last);
        }
    }
    return true;
}

/* ------------------------------------------------------------------ the leader */

static bool all_say(const struct core *core, uint32_t format, time_ns now)
{
    for (int i = 0; i < core->nodes_end; i++) {
        const struct node *node = &core->table->nodes[i];
        if (!node->used || node->status != NODE_ADMITTED || i == core->slot) {
            continue;
        }
        if (!core->hearing[i].heard || core_silent(core, i, now) || core->hearing[i].last.format < format) {
            return false;
        }
    }
    return true;
}

bool upgrade_step(struct core *core, time_ns now, struct actions *actions)
{
    int slot;
    uint32_t format = format_common(core->table, &slot);
    if (format <= core->table->format || format > FORMAT_LAST || !all_say(core, format, now)) {
        return false;
    }
    struct command *command = leader_command(core, COMMAND_FORMAT);
    command->upgrade.was = core->table->format;
    command->upgrade.format = format;
    leader_propose(core, actions);
    return true;
}
