/* The cluster's document: diff, apply, rollback, export, revisions (docs/decisions/0014-cluster-document.md).
 *
 * Happy path of apply: api_document_text() puts the text together, the caller has it parsed off the loop and comes with the
 * tree; it is read, judged against the table as it now is, and becomes one command. What is wrong is refused with
 * its place. When the command goes stale, all of it is done again on the new table. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/api_private.h"
#include "daemon/cluster_document.h"
#include "wire/command.h"

#define CHANGES_MAX 1000 /* rows of a diff */
#define PIECE_BYTES (32u << 10)

bool api_has_document(const char *op)
{
    return strcmp(op, "apply") == 0 || strcmp(op, "diff") == 0 || strcmp(op, "rollback") == 0;
}

/* ------------------------------------------------------------------ the text */

/* The pieces of `text`, joined; NULL after the refusal. */
static char *join(const struct api_call *call, size_t *ret_len)
{
    const struct value *pieces = api_arg(call, "text");
    size_t len = 0;
    char *text;

    if (!value_is(pieces, VALUE_ARRAY)) {
        (void)api_no(call, CONTROL_USAGE, NULL, "the request has no document");
        return NULL;
    }
    for (const struct value *piece = value_first(pieces); piece != NULL; piece = piece->next) {
        len += strlen(value_as_string(piece, ""));
    }
    text = malloc(len + 1);
    if (text == NULL) {
        (void)api_no(call, CONTROL_FAILED, NULL, "out of memory");
        return NULL;
    }
    len = 0;
    for (const struct value *piece = value_first(pieces); piece != NULL; piece = piece->next) {
        const char *bytes = value_as_string(piece, "");

        memcpy(text + len, bytes, strlen(bytes));
        len += strlen(bytes);
    }
    *ret_len = len;
    return text;
}

static const struct kept_document *find_kept(const struct table *table, uint64_t revision)
{
    for (uint64_t i = 0; i < table->n_kept && i < KEPT_MAX; i++) {
        if (table->kept[i].revision == revision && table->kept[i].size > 0) {
            return &table->kept[i];
        }
    }
    return NULL;
}

static char *kept_text(const struct api_call *call, size_t *ret_len)
{
    const struct table *table = call->view->table;
    uint64_t revision = value_as_uint(api_arg(call, "revision"), 0);
    const struct kept_document *kept = find_kept(table, revision);
    char *text;

    if (kept == NULL && revision == table->revision) {
        (void)api_no(call, CONTROL_CONFLICT, "vipctl revisions lists the earlier ones",
                     "the cluster is at revision %llu already", (unsigned long long)revision);
        return NULL;
    }
    if (kept == NULL) {
        (void)api_no(call, CONTROL_NOT_FOUND, "vipctl revisions lists those that are",
                     "the document of revision %llu is not kept", (unsigned long long)revision);
        return NULL;
    }
    text = malloc(kept->size);
    if (text == NULL) {
        (void)api_no(call, CONTROL_FAILED, NULL, "out of memory");
        return NULL;
    }
    memcpy(text, kept->text, kept->size);
    *ret_len = kept->size;
    return text;
}

static void source_of(const struct control_request *request, char ret[API_SOURCE_SIZE])
{
    if (strcmp(request->op, "rollback") == 0) {
        snprintf(ret, API_SOURCE_SIZE, "revision %llu",
                 (unsigned long long)value_as_uint(value_get(request->args, "revision"), 0));
    } else {
        snprintf(ret, API_SOURCE_SIZE, "%s", value_as_string(value_get(request->args, "name"), "document"));
    }
}

int api_document_text(const struct api_view *view, const struct control_request *request, struct value_arena *arena,
                      char **ret, size_t *ret_len, char ret_name[API_SOURCE_SIZE], struct control_reply *ret_reply)
{
    struct control_reply reply = { .code = CONTROL_FAILED };
    const struct api_call call = { view, request, arena, &reply };
    char *text = strcmp(request->op, "rollback") == 0 ? kept_text(&call, ret_len) : join(&call, ret_len);

    if (text == NULL) {
        *ret_reply = reply;
        return API_ANSWERED;
    }
    source_of(request, ret_name);
    *ret = text;
    return 0;
}

/* ------------------------------------------------------------------ what changes, as rows */

static void put_attribute(const struct api_call *call, struct value *list, const char *key, const char *from, const char *to)
{
    struct value *row = value_map(call->arena);

    value_put_string(call->arena, row, "key", key);
    value_put_string(call->arena, row, "from", from[0] != '\0' ? from : NULL);
    value_put_string(call->arena, row, "to", to[0] != '\0' ? to : NULL);
    value_push(call->arena, list, row);
}

static struct value *change_row(const struct api_call *call, const char *what, const char *name, const char *change)
{
    struct value *row = value_map(call->arena);

    value_put_string(call->arena, row, "what", what);
    value_put_string(call->arena, row, "name", name);
    value_put_string(call->arena, row, "change", change);
    return row;
}

static struct value *vip_change(const struct api_call *call, const struct cluster_document *document,
                                const struct vip_item *item)
{
    const struct table *table = call->view->table;
    bool is_new = !table->vips[item->slot].used;
    struct vip_spec now = { .enabled = true }, wanted = item->spec;
    char from[CLUSTER_VALUE_SIZE], to[CLUSTER_VALUE_SIZE];
    struct value *attributes = value_array(call->arena);
    struct value *row;

    if (!is_new) {
        cluster_spec(table, item->slot, &now);
    }
    memcpy(wanted.name, cluster_vip_name(table, document, item->slot), sizeof wanted.name);
    row = change_row(call, "vip", wanted.name, is_new ? "add" : "change");
    value_put_string(call->arena, row, "address", prefix_format(&wanted.address, to));
    if (!is_new && (item->set & VIP_SET_LEN) != 0) {
        put_attribute(call, attributes, "address", prefix_format(&now.address, from), to);
    }
    for (int i = 0; i < CLUSTER_ATTRIBUTES_N; i++) {
        enum vip_set bit = CLUSTER_ATTRIBUTES[i].bit;

        if ((item->set & bit) == 0 || (is_new && bit == VIP_SET_NAME)) {
            continue;
        }
        cluster_value(table, NULL, &now, bit, from);
        cluster_value(table, document, &wanted, bit, to);
        if (strcmp(from, to) != 0) {
            put_attribute(call, attributes, CLUSTER_ATTRIBUTES[i].key, is_new ? "" : from, to);
        }
    }
    value_put(call->arena, row, "attributes", attributes);
    return row;
}

static struct value *delete_row(const struct api_call *call, int slot)
{
    const struct vip *vip = &call->view->table->vips[slot];
    struct value *row = change_row(call, "vip", vip->name, "delete");
    char text[PREFIX_TEXT_MAX];

    value_put_string(call->arena, row, "address", prefix_format(&vip->address, text));
    return row;
}

#define GROUP_ATTRIBUTES_N 4

static void group_texts(const struct table *table, const struct cluster_document *document, const struct group *group,
                        char ret[GROUP_ATTRIBUTES_N][CLUSTER_VALUE_SIZE])
{
    ret[0][0] = ret[1][0] = ret[2][0] = '\0';
    if (group->n_prefers > 0) {
        cluster_prefers(table, group->prefers, group->n_prefers, ret[0]);
    }
    if (group->checks != 0) {
        cluster_checks(table, document, group->checks, ret[1]);
    }
    if (hooks_any(group->hooks)) {
        cluster_hooks(group->hooks, ret[2]);
    }
    cluster_own_failback(group->failback, ret[3]);
}

static struct value *group_change(const struct api_call *call, const struct cluster_document *document,
                                  const struct group *group)
{
    static const char *const keys[GROUP_ATTRIBUTES_N] = { "prefer", "require", "hooks", "failback" };
    static const struct group none;
    const struct table *table = call->view->table;
    int slot = table_group_by_name(table, group->name);
    struct value *row = change_row(call, "group", group->name, slot == SLOT_NONE ? "add" : "change");
    struct value *attributes = value_array(call->arena);
    char from[GROUP_ATTRIBUTES_N][CLUSTER_VALUE_SIZE], to[GROUP_ATTRIBUTES_N][CLUSTER_VALUE_SIZE];

    group_texts(table, NULL, slot == SLOT_NONE ? &none : &table->groups[slot], from);
    group_texts(table, document, group, to);
    for (int i = 0; i < GROUP_ATTRIBUTES_N; i++) {
        if (strcmp(from[i], to[i]) != 0) {
            put_attribute(call, attributes, keys[i], from[i], to[i]);
        }
    }
    value_put(call->arena, row, "attributes", attributes);
    return row;
}

static struct value *node_change(const struct api_call *call, const struct node_item *item)
{
    const struct node *node = &call->view->table->nodes[item->node];
    struct value *row = change_row(call, "node", node->name, "change");
    struct value *attributes = value_array(call->arena);
    char from[16], to[16];

    snprintf(from, sizeof from, "%u", node->capacity != 0 ? node->capacity : CAPACITY_DEFAULT);
    snprintf(to, sizeof to, "%u", item->capacity != 0 ? item->capacity : CAPACITY_DEFAULT);
    put_attribute(call, attributes, "capacity", from, to);
    value_put(call->arena, row, "attributes", attributes);
    return row;
}

static struct value *settings_row(const struct api_call *call, const struct cluster_document *document)
{
    struct value *row = change_row(call, "settings", "settings", "change");
    struct value *attributes = value_array(call->arena);

    for (int i = 0; i < CLUSTER_SETTINGS_N; i++) {
        char from[CLUSTER_SETTING_SIZE], to[CLUSTER_SETTING_SIZE];

        cluster_setting(&call->view->table->settings, i, from);
        cluster_setting(&document->settings, i, to);
        if (strcmp(from, to) != 0) {
            put_attribute(call, attributes, CLUSTER_SETTINGS[i], from, to);
        }
    }
    value_put(call->arena, row, "attributes", attributes);
    return row;
}

static struct value *voters_row(const struct api_call *call, const struct cluster_document *document)
{
    const struct voting *now = &call->view->table->voting, *wanted = &document->voting;
    struct value *row = change_row(call, "voters", "voters", "change");
    struct value *attributes = value_array(call->arena);
    char from[16], to[16];

    if (now->count != wanted->count) {
        snprintf(from, sizeof from, "%u", now->count);
        snprintf(to, sizeof to, "%u", wanted->count);
        put_attribute(call, attributes, "count", from, to);
    }
    if (now->replace_ms != wanted->replace_ms) {
        cluster_duration(now->replace_ms, from);
        cluster_duration(wanted->replace_ms, to);
        put_attribute(call, attributes, "replace", from, to);
    }
    value_put(call->arena, row, "attributes", attributes);
    return row;
}

static struct value *check_change(const struct api_call *call, const struct check_item *item)
{
    const struct check_spec *now = &call->view->table->checks[item->slot].spec;
    bool is_new = now->name[0] == '\0';
    struct value *row = change_row(call, "check", item->spec.name, item->gone ? "delete" : is_new ? "add" : "change");
    struct value *attributes = value_array(call->arena);
    char from[CLUSTER_VALUE_SIZE] = "", to[CLUSTER_VALUE_SIZE];

    if (item->gone) {
        return row;
    }
    for (int i = 0; i < CLUSTER_CHECK_ATTRIBUTES_N; i++) {
        if (!is_new) {
            cluster_check_value(now, i, from);
        }
        cluster_check_value(&item->spec, i, to);
        if (strcmp(from, to) != 0) {
            put_attribute(call, attributes, cluster_check_key(i), from, to);
        }
    }
    value_put(call->arena, row, "attributes", attributes);
    return row;
}

static void put_changes(const struct api_call *call, const struct cluster_document *document, struct value *result)
{
    struct value *rows = value_array(call->arena);
    uint32_t added = 0, n = 0;

    if (document->settings_change) {
        value_push(call->arena, rows, settings_row(call, document));
    }
    if (document->voting_change) {
        value_push(call->arena, rows, voters_row(call, document));
    }
    for (uint32_t i = 0; i < document->n_changed_checks; i++) {
        value_push(call->arena, rows, check_change(call, &document->changed_checks[i]));
    }
    for (uint32_t i = 0; i < document->n_changed_nodes; i++) {
        value_push(call->arena, rows, node_change(call, &document->changed_nodes[i]));
    }
    for (int i = 0; i < document->n_changed_groups; i++) {
        value_push(call->arena, rows, group_change(call, document, &document->changed_groups[i]));
    }
    for (uint32_t i = 0; i < document->n_items; i++) {
        added += !call->view->table->vips[document->items[i].slot].used;
        if (n++ < CHANGES_MAX) {
            value_push(call->arena, rows, vip_change(call, document, &document->items[i]));
        }
    }
    for (uint32_t i = 0; i < document->n_deletes; i++) {
        if (n++ < CHANGES_MAX) {
            value_push(call->arena, rows, delete_row(call, document->deletes[i].vip));
        }
    }
    value_put(call->arena, result, "changes", rows);
    value_put_uint(call->arena, result, "add", added);
    value_put_uint(call->arena, result, "change", document->n_items - added);
    value_put_uint(call->arena, result, "delete", document->n_deletes);
}

/* ------------------------------------------------------------------ diff and apply */

/* Reads and judges into the scratch's document; false after the refusal. */
static bool judge(const struct api_call *call, struct cluster_document **ret)
{
    const struct api_note *note = call->view->note;
    char error[CONFIG_ERROR_SIZE];
    struct cluster_reader reader = { .config = { .document = note == NULL ? NULL : note->document, .error = error },
                                     .table = call->view->table,
                                     .into = &call->view->scratch->document,
                                     .force = call->request->force };
    int rv;

    if (note == NULL || note->document == NULL) {
        return api_no(call, CONTROL_USAGE, NULL, "%s",
                      note != NULL && note->error != NULL ? note->error : "the request has no document") != SLOT_NONE;
    }
    rv = cluster_read(&reader);
    rv = rv != 0 ? rv : cluster_judge(&reader);
    if (rv != 0) {
        (void)api_no(call, reader.code, reader.hint, "%s", error);
        call->reply->retry = reader.retry;
        return false;
    }
    *ret = reader.into;
    return true;
}

void api_diff(const struct api_call *call)
{
    struct cluster_document *document;
    struct value *result;

    if (!judge(call, &document)) {
        return;
    }
    result = value_map(call->arena);
    value_put_bool(call->arena, result, "differs", cluster_changes(document));
    value_put_uint(call->arena, result, "revision", call->view->table->revision);
    put_changes(call, document, result);
    call->reply->result = result;
}

/* What a client waits for: the VIPs that change, by name, and those that go, by address; when they are too many for one
 * request, all VIPs. */
static struct value *wait_of(const struct api_call *call, const struct cluster_document *document)
{
    struct value *wait = value_map(call->arena), *names = value_array(call->arena);
    char text[ADDR_TEXT_MAX];

    if (document->n_items + document->n_deletes > API_VIPS_MAX) {
        return wait;
    }
    for (uint32_t i = 0; i < document->n_items; i++) {
        value_push(call->arena, names, value_string(call->arena, cluster_vip_name(call->view->table, document, document->items[i].slot)));
    }
    for (uint32_t i = 0; i < document->n_deletes; i++) {
        const struct prefix *address = &call->view->table->vips[document->deletes[i].vip].address;

        value_push(call->arena, names, value_string(call->arena, addr_format(&address->addr, text)));
    }
    value_put(call->arena, wait, "vips", names);
    value_put_string(call->arena, wait, "until", "apply");
    return wait;
}

static bool revision_is(const struct api_call *call)
{
    const struct table *table = call->view->table;
    const struct value *wanted = api_arg(call, "if_rev");

    if (wanted == NULL || value_as_uint(wanted, 0) == table->revision) {
        return true;
    }
    (void)api_no(call, CONTROL_CONFLICT, "vipctl diff -f shows what would change now; vipctl revisions shows who changed it",
                 "the cluster is at revision %llu, not %llu", (unsigned long long)table->revision,
                 (unsigned long long)value_as_uint(wanted, 0));
    return false;
}

/* The answer's rows and what to wait for must outlive this attempt: they are the call's. */
static void note_changes(const struct api_call *call, const struct cluster_document *document)
{
    struct api_note *note = call->view->note;
    const struct api_call lasting = { call->view, call->request, note->arena, call->reply };

    note->changes = value_map(note->arena);
    put_changes(&lasting, document, note->changes);
    note->wait = wait_of(&lasting, document);
}

bool api_apply(const struct api_call *call, struct command *command)
{
    struct cluster_document *document;
    struct api_scratch *scratch = call->view->scratch;
    struct cluster_text kept = { .bytes = scratch->kept, .size = sizeof scratch->kept };
    char source[API_SOURCE_SIZE];
    size_t len;

    if (!revision_is(call) || !judge(call, &document)) {
        return false;
    }
    source_of(call->request, source);
    command->type = COMMAND_APPLY;
    command->apply = cluster_command(call->view->table, document);
    snprintf(command->apply.source, sizeof command->apply.source, "%.63s",
             strrchr(source, '/') != NULL ? strrchr(source, '/') + 1 : source);
    if (cluster_changes(document) && cluster_write(call->view->table, &kept) <= sizeof scratch->kept) {
        command->apply.kept_size = (uint32_t)kept.used;
        command->apply.kept = scratch->kept;
    }
    if (command_encode(command, NULL, 0, &len) == -EMSGSIZE) {
        (void)api_no(call, CONTROL_FAILED, "apply it in parts, with fewer new VIPs each",
                     "%s changes %u VIPs, more than one entry of the log holds", source,
                     document->n_items + document->n_deletes);
        return false;
    }
    note_changes(call, document);
    return true;
}

bool api_apply_is_so(const struct command *command)
{
    const struct apply_command *apply = &command->apply;

    return !apply->has_settings && !apply->has_voting && apply->n_nodes == 0 && apply->n_checks == 0 && apply->n_groups == 0 &&
           apply->n_vips == 0 && apply->n_deletes == 0;
}

/* Moves what the note has into the result; it is there once. */
void api_applied(const struct api_call *call, struct value *result)
{
    struct api_note *note = call->view->note;

    value_put_uint(call->arena, result, "revision", call->view->table->revision);
    if (note == NULL || note->changes == NULL || value_failed(note->arena)) {
        return;
    }
    for (struct value *item = note->changes->items.first, *next; item != NULL; item = next) {
        next = item->next;
        value_put_kept(call->arena, result, item->key, item);
    }
    note->changes = NULL;
}

/* ------------------------------------------------------------------ export, revisions */

void api_export(const struct api_call *call)
{
    const struct table *table = call->view->table;
    struct cluster_text text = { .bytes = NULL };
    struct value *result = value_map(call->arena), *pieces = value_array(call->arena);
    size_t size = cluster_write(table, &text);

    text = (struct cluster_text){ .bytes = malloc(size + 1), .size = size };
    if (text.bytes == NULL) {
        (void)api_no(call, CONTROL_FAILED, NULL, "out of memory");
        return;
    }
    (void)cluster_write(table, &text);
    for (size_t at = 0; at < size; at += PIECE_BYTES) {
        size_t n = size - at < PIECE_BYTES ? size - at : PIECE_BYTES;

        value_push(call->arena, pieces, value_text(call->arena, text.bytes + at, n));
    }
    free(text.bytes);
    value_put_string(call->arena, result, "cluster", table->cluster);
    value_put_uint(call->arena, result, "revision", table->revision);
    value_put(call->arena, result, "text", pieces);
    call->reply->result = result;
}

/* {rows}: the revisions that can be gone back to, the oldest first, and the present one. */
void api_revisions(const struct api_call *call)
{
    const struct table *table = call->view->table;
    struct value *result = value_map(call->arena), *rows = value_array(call->arena);
    uint64_t n = table->n_kept < KEPT_MAX ? table->n_kept : KEPT_MAX;
    struct value *row;

    for (uint64_t i = 0; i < n; i++) {
        const struct kept_document *kept = &table->kept[(table->n_kept - n + i) % KEPT_MAX];

        row = value_map(call->arena);
        value_put_uint(call->arena, row, "revision", kept->revision);
        value_put_int(call->arena, row, "until_ms", kept->until_ms);
        value_put_uint(call->arena, row, "bytes", kept->size);
        value_push(call->arena, rows, row);
    }
    row = value_map(call->arena);
    value_put_uint(call->arena, row, "revision", table->revision);
    value_put_bool(call->arena, row, "current", true);
    value_push(call->arena, rows, row);
    value_put(call->arena, result, "rows", rows);
    call->reply->result = result;
}
