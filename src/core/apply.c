/* Applies one committed command to the table.
 *
 * A command names the state that it was decided on and does nothing where the table differs (L0); a request of a client
 * that was done before is answered from memory, so that a retry through a new leader is done once. Whatever happens,
 * the table then stands at the command's index. */

#include "core/apply.h"

#include <string.h>

#include "core/detail.h"

void apply_changed(const struct apply *apply)
{
    apply->table->changed = apply->index;
}

void apply_revised(const struct apply *apply)
{
    apply->table->changed = apply->table->revision = apply->index;
}

/* Names are limited when they enter the table, so a copy never cuts one. */
static void copy(char *to, size_t size, const char *from)
{
    size_t len = strlen(from);

    if (len >= size) {
        len = size - 1;
    }
    memcpy(to, from, len);
    memset(to + len, 0, size - len);
}

void apply_history(const struct apply *apply, enum history_kind kind, enum reason reason, int from, int to,
                   const char *subject)
{
    uint64_t at = apply->table->n_history++ % HISTORY_MAX;
    struct history *entry = &apply->table->history[at];
    char *was = apply->table->history_was[at];

    entry->index = apply->index;
    entry->at_ms = apply->command->at_ms;
    entry->kind = kind;
    entry->reason = reason;
    entry->from = (int8_t)from;
    entry->to = (int8_t)to;
    copy(entry->subject, sizeof entry->subject, subject);
    memset(entry->mac, 0, sizeof entry->mac);
    entry->took_ms = 0;
    copy(entry->who, sizeof entry->who, apply->command->who);
    entry->set = 0;
    entry->enabled = false;
    if (was[0] != '\0') {
        memset(was, 0, NAME_SIZE);
    }
}

void apply_history_set(const struct apply *apply, enum reason reason, const struct vip *vip, const char *was,
                       uint32_t set)
{
    apply_history(apply, HISTORY_VIP_SET, reason, SLOT_NONE, SLOT_NONE, vip->name);
    uint64_t at = (apply->table->n_history - 1) % HISTORY_MAX;
    struct history *entry = &apply->table->history[at];

    entry->set = set & VIP_SET_ALL;
    entry->enabled = (set & VIP_SET_ENABLED) != 0 && vip->enabled;
    if (strcmp(was, vip->name) != 0) {
        copy(apply->table->history_was[at], NAME_SIZE, was);
    }
}

/* Both times are wall clocks of leaders, perhaps of different ones: a time below zero is no time. */
void apply_history_took(const struct apply *apply, enum history_kind kind, int node, const char *subject, int64_t since_ms)
{
    int64_t took = since_ms > 0 && apply->command->at_ms > since_ms ? apply->command->at_ms - since_ms : 0;

    apply_history(apply, kind, REASON_NEW, SLOT_NONE, node, subject);
    apply->table->history[(apply->table->n_history - 1) % HISTORY_MAX].took_ms =
        (uint32_t)(took < UINT32_MAX ? took : UINT32_MAX);
}

void apply_new_owner(const struct apply *apply, struct vip *vip, int to, enum reason reason)
{
    int from = vip->owner;

    /* A cleared owner holds nothing, so nobody need wait for it. */
    vip->prev = from == SLOT_NONE || apply->table->nodes[from].status == NODE_CLEARED ? SLOT_NONE : (int8_t)from;
    vip->owner = (int8_t)to;
    vip->moved = apply->index;
    vip->moved_ms = apply->command->at_ms;
    vip->reason = reason;
    vip->fresh = from == SLOT_NONE && to != SLOT_NONE;
    memset(&vip->conflict, 0, sizeof vip->conflict);
    apply_changed(apply);
}

static const struct dedup *find_request(const struct table *table, uint64_t request)
{
    for (int i = 0; request != 0 && i < DEDUP_MAX; i++) {
        if (table->dedup[i].request == request) {
            return &table->dedup[i];
        }
    }
    return NULL;
}

/* A stale command did nothing and may be decided anew under the same request, so it is not remembered. */
static void remember(const struct apply *apply)
{
    struct table *table = apply->table;
    struct dedup *entry;

    if (apply->command->request == 0 || apply->outcome->code == OUTCOME_STALE) {
        return;
    }
    entry = &table->dedup[table->n_dedup++ % DEDUP_MAX];
    entry->request = apply->command->request;
    entry->code = apply->outcome->code;
    entry->index = apply->outcome->index;
}

static void apply_body(const struct apply *apply)
{
    if (apply->command->type != COMMAND_FOUND && apply->table->cluster_id == 0) {
        detail_say(apply->outcome, OUTCOME_INVALID, "the cluster is not founded yet", "", "");
        return;
    }
    switch (apply->command->type) {
    case COMMAND_FOUND:
        return apply_found(apply);
    case COMMAND_FENCE:
        return apply_fence(apply);
    case COMMAND_CLEAR:
        return apply_clear(apply);
    case COMMAND_ADMIT:
        return apply_admit(apply);
    case COMMAND_MOVE:
        return apply_move(apply);
    case COMMAND_VIP_ADD:
        return apply_vip_add(apply);
    case COMMAND_VIP_SET:
        return apply_vip_set(apply);
    case COMMAND_VIP_DELETE:
        return apply_vip_delete(apply);
    case COMMAND_VIP_PURGE:
        return apply_vip_purge(apply);
    case COMMAND_NODE_REPORT:
        return apply_report(apply);
    case COMMAND_DRAIN:
        return apply_drain(apply);
    case COMMAND_LEAVE:
        return apply_leave(apply);
    case COMMAND_SETTINGS:
        return apply_settings(apply);
    case COMMAND_GROUP_SET:
        return apply_group_set(apply);
    case COMMAND_CONFLICT:
        return apply_conflict(apply);
    case COMMAND_APPLY:
        return apply_document(apply);
    case COMMAND_NODE_ADD:
        return apply_node_add(apply);
    case COMMAND_NODE_SET:
        return apply_node_set(apply);
    case COMMAND_NODE_REMOVE:
        return apply_node_remove(apply);
    case COMMAND_NODE_DELETE:
        return apply_node_delete(apply);
    case COMMAND_VOTERS:
        return apply_voters(apply);
    case COMMAND_VOTING:
        return apply_voting(apply);
    case COMMAND_CHECK_SET:
        return apply_check_set(apply);
    case COMMAND_CHECK_DELETE:
        return apply_check_delete(apply);
    case COMMAND_HEALTH:
        return apply_health(apply);
    case COMMAND_MAINTENANCE:
        return apply_maintenance(apply);
    case COMMAND_FORMAT:
        return apply_format(apply);
#if VIPD_PRETEND_FORMAT
    case COMMAND_MARK:
        memcpy(apply->table->mark, apply->command->mark, sizeof apply->table->mark);
        return;
#endif
    }
    detail_say(apply->outcome, OUTCOME_INVALID, "unknown command", "", "");
}

void table_apply(struct table *table, uint64_t index, const struct command *command, struct outcome *ret)
{
    struct outcome outcome = {.code = OUTCOME_DONE, .index = index};
    struct apply apply = {.table = table, .index = index, .command = command, .outcome = &outcome};
    const struct dedup *done = find_request(table, command->request);

    table_skip(table, index);
    if (done != NULL) {
        detail_say(&outcome, done->code, "this request was decided before", "", "");
        outcome.index = done->index;
    } else {
        apply_body(&apply);
        remember(&apply);
    }
    *ret = outcome;
}
