/* Who runs which version. */

#include <string.h>

#include "core/format.h"
#include "daemon/api_private.h"

/* The nodes of one version, as "a, b". */
static const char *nodes_of(const struct api_call *call, const char *version)
{
    const struct table *table = call->view->table;
    const char *names = "";

    for (int slot = 0; slot < NODES_MAX; slot++) {
        const struct node *node = &table->nodes[slot];
        if (node->used && strcmp(node->version, version) == 0) {
            const struct value *longer =
                value_format(call->arena, "%s%s%s", names, names[0] != '\0' ? ", " : "", node->name);
            names = value_as_string(longer, names);
        }
    }
    return names;
}

const char *api_mixed_versions(const struct api_call *call)
{
    const struct table *table = call->view->table;
    const char *text = "";
    unsigned n = 0;

    for (int slot = 0; slot < NODES_MAX; slot++) {
        const struct node *node = &table->nodes[slot];
        bool seen = !node->used || node->version[0] == '\0';
        for (int before = 0; before < slot && !seen; before++) {
            seen = table->nodes[before].used && strcmp(table->nodes[before].version, node->version) == 0;
        }
        if (!seen) {
            const struct value *longer = value_format(call->arena, "%s%s%s on %s", text, n++ > 0 ? "; " : "", node->version,
                                                      nodes_of(call, node->version));
            text = value_as_string(longer, text);
        }
    }
    return n > 1 ? text : NULL;
}

const char *api_reads(const struct api_call *call, uint32_t first, uint32_t last)
{
    const struct value *text = first == last ? value_format(call->arena, "%u", last)
                                             : value_format(call->arena, "%u to %u", first, last);

    return last == 0 ? "" : value_as_string(text, "");
}

void api_version(const struct api_call *call)
{
    const struct table *table = call->view->table;
    struct value_arena *arena = call->arena;
    struct value *result = value_map(arena), *rows = value_array(arena);

    value_put_string(arena, result, "version", VIPD_VERSION);
    value_put_uint(arena, result, "protocol", CONTROL_VERSION);
    value_put_string(arena, result, "node", call->view->daemon->node);
    value_put_string(arena, result, "reads", api_reads(call, FORMAT_FIRST, FORMAT_LAST));
    value_put_uint(arena, result, "format", table->cluster_id != 0 ? table->format : 0);
    for (int slot = 0; slot < NODES_MAX; slot++) {
        const struct node *node = &table->nodes[slot];
        if (node->used) {
            struct value *row = value_map(arena);
            value_put_string(arena, row, "name", node->name);
            value_put_string(arena, row, "version", node->version);
            value_put_string(arena, row, "reads", api_reads(call, node->reads_first, node->reads_last));
            value_push(arena, rows, row);
        }
    }
    value_put(arena, result, "nodes", rows);
    const char *mixed = api_mixed_versions(call);
    if (mixed != NULL) {
        value_put_string(arena, result, "mixed", mixed);
    }
#if VIPD_PRETEND_FORMAT
    value_put_string(arena, result, "mark", table->mark);
#endif
    call->reply->result = result;
}
