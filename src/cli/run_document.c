/* vipctl apply, diff, export, rollback, revisions */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define DOCUMENT_MAX (1u << 20) /* bytes; the daemon says the same with the place */
#define PIECE_BYTES (32u << 10) /* of a text of a request */

/* ------------------------------------------------------------------------------------------------------- the request */

/* The whole of a file, or of standard input; an exit code after the complaint. */
static int read_file(const struct cli *cli, const char *path, char **ret)
{
    int code;
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    char *text = malloc(DOCUMENT_MAX + 2);
    size_t n = 0;

    if (file != NULL && text != NULL) {
        n = fread(text, 1, DOCUMENT_MAX + 1, file);
    }
    int error = file == NULL || ferror(file) ? errno : text == NULL ? ENOMEM : 0;
    if (file != NULL && file != stdin) {
        fclose(file);
    }
    if (error == 0 && n <= DOCUMENT_MAX && memchr(text, '\0', n) == NULL) {
        text[n] = '\0';
        *ret = text;
        return 0;
    }
    if (error != 0) {
        code = complain(cli, error == ENOENT ? VIPD_NOT_FOUND : VIPD_FAILED, NULL, "cannot read %s: %s", path, strerror(error));
    } else {
        code = complain(cli, VIPD_USAGE, NULL, n > DOCUMENT_MAX ? "%s is larger than %u bytes" : "%s is not a text", path,
                 DOCUMENT_MAX);
    }
    free(text);
    return code;
}

/* Arguments with the document that -f names; NULL after the complaint, *ret_code is then the exit code. */
static struct vipd_args *document_args(const struct cli *cli, int *ret_code)
{
    const char *path = arguments_option(cli, "file");
    char *text = NULL;

    if (path == NULL) {
        *ret_code = complain(cli, VIPD_USAGE, "for example: -f cluster.yaml; -f - reads standard input", "%s needs a document: -f FILE",
                 cli->command->words);
        return NULL;
    }
    *ret_code = read_file(cli, path, &text);
    if (*ret_code != 0) {
        return NULL;
    }
    struct vipd_args *args = vipd_args_new();
    struct vipd_value *pieces = vipd_new_array(args);
    size_t len = strlen(text);
    for (size_t at = 0; at < len; at += PIECE_BYTES) {
        char piece[PIECE_BYTES + 1];
        snprintf(piece, sizeof piece, "%s", text + at);
        vipd_push(args, pieces, vipd_new_text(args, piece));
    }
    free(text);
    vipd_put(args, vipd_args_root(args), "text", pieces);
    vipd_put(args, vipd_args_root(args), "name", vipd_new_text(args, strcmp(path, "-") == 0 ? "stdin" : path));
    return args;
}

static bool revision_of(const char *text, int64_t *ret)
{
    char *end;

    errno = 0;
    long long n = strtoll(text, &end, 10);
    *ret = n;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
}

static int not_a_revision(const struct cli *cli, const char *text)
{
    return complain(cli, VIPD_USAGE, "vipctl revisions lists them; vipctl diff -f tells the present one",
                    "\"%s\" is not a revision", text);
}

/* --------------------------------------------------------------------------------------------------------- changes */

static void show_attributes(const struct vipd_value *row, bool added)
{
    for (const struct vipd_value *item = vipd_first(vipd_get(row, "attributes")); item != NULL; item = vipd_next(item)) {
        const char *key = vipd_text(vipd_get(item, "key"), "?");
        const char *from = vipd_text(vipd_get(item, "from"), "-"), *to = vipd_text(vipd_get(item, "to"), "-");

        if (added) {
            printf("      %s: %s\n", key, to);
        } else {
            printf("      %s: %s -> %s\n", key, from, to);
        }
    }
}

static void show_change(const struct vipd_value *row)
{
    const char *change = vipd_text(vipd_get(row, "change"), "?"), *address = vipd_text(vipd_get(row, "address"), NULL);
    const char *what = vipd_text(vipd_get(row, "what"), "?"), *name = vipd_text(vipd_get(row, "name"), "?");
    bool added = strcmp(change, "add") == 0, deleted = strcmp(change, "delete") == 0;
    char colour[64];

    printf("%s %s", coloured(added ? "+" : deleted ? "-" : "~", added ? COLOUR_GOOD : deleted ? COLOUR_BAD : COLOUR_WARN,
                             colour, sizeof colour), what);
    printf("%s%s", strcmp(what, name) != 0 ? " " : "", strcmp(what, name) != 0 ? name : "");
    printf(address != NULL ? " (%s)\n" : "\n", address);
    show_attributes(row, added);
}

static void show_changes(const struct vipd_value *result)
{
    const struct vipd_value *rows = vipd_get(result, "changes");
    uint64_t add = vipd_uint(vipd_get(result, "add"), 0), change = vipd_uint(vipd_get(result, "change"), 0);
    uint64_t gone = vipd_uint(vipd_get(result, "delete"), 0);
    uint64_t vips = 0;

    for (const struct vipd_value *row = vipd_first(rows); row != NULL; row = vipd_next(row)) {
        show_change(row);
        vips += strcmp(vipd_text(vipd_get(row, "what"), ""), "vip") == 0;
    }
    if (add + change + gone > vips) {
        uint64_t more = add + change + gone - vips;
        printf("and %" PRIu64 " more VIP%s\n", more, more == 1 ? "" : "s");
    }
    printf("VIPs: %" PRIu64 " to add, %" PRIu64 " to change, %" PRIu64 " to delete\n", add, change, gone);
}

int run_diff(struct cli *cli)
{
    struct vipd_reply *reply;
    int r;
    struct vipd_args *args = document_args(cli, &r);

    if (args == NULL) {
        return r;
    }
    r = cli_call(cli, "diff", args, &reply);
    vipd_args_free(args);
    if (r != 0) {
        return r;
    }
    const struct vipd_value *result = vipd_reply_result(reply);
    if (is_json(cli)) {
        json_object(result, NULL, 0);
    } else if (!vipd_bool(vipd_get(result, "differs"), false)) {
        printf("nothing would change: the cluster is so already (revision %" PRIu64 ")\n",
               vipd_uint(vipd_get(result, "revision"), 0));
    } else {
        show_changes(result);
        printf("the cluster is at revision %" PRIu64 "\n", vipd_uint(vipd_get(result, "revision"), 0));
    }
    vipd_reply_free(reply);
    return 0;
}

/* Sends what changes the cluster as a whole, and shows what it did; frees args. */
static int change(struct cli *cli, const char *op, struct vipd_args *args)
{
    struct vipd_reply *reply;
    int r = cli_call(cli, op, args, &reply);

    vipd_args_free(args);
    if (r != 0) {
        return r;
    }
    const struct vipd_value *result = vipd_reply_result(reply);
    uint64_t revision = vipd_uint(vipd_get(result, "revision"), 0);
    if (is_json(cli)) {
        json_object(result, "wait", vipd_reply_index(reply));
    } else if (!vipd_bool(vipd_get(result, "changed"), true) && !cli->options.dry_run) {
        printf("nothing to change: the cluster is so already (revision %" PRIu64 ")\n", revision);
    } else {
        show_changes(result);
        if (cli->options.dry_run) {
            printf("nothing was changed (--dry-run); the cluster is at revision %" PRIu64 "\n", revision);
        } else {
            printf("%s: revision %" PRIu64 "\n", cli->options.wait ? "done, and real" : "done", revision);
        }
    }
    vipd_reply_free(reply);
    return 0;
}

int run_apply(struct cli *cli)
{
    const char *if_rev = arguments_option(cli, "if-rev");
    int64_t revision = 0;
    int r;

    if (if_rev != NULL && !revision_of(if_rev, &revision)) {
        return not_a_revision(cli, if_rev);
    }
    struct vipd_args *args = document_args(cli, &r);
    if (args == NULL) {
        return r;
    }
    if (if_rev != NULL) {
        vipd_put(args, vipd_args_root(args), "if_rev", vipd_new_int(args, revision));
    }
    return change(cli, "apply", args);
}

int run_rollback(struct cli *cli)
{
    int64_t revision;

    if (!revision_of(cli->args[0], &revision)) {
        return not_a_revision(cli, cli->args[0]);
    }
    struct vipd_args *args = vipd_args_new();
    vipd_put(args, vipd_args_root(args), "revision", vipd_new_int(args, revision));
    return change(cli, "rollback", args);
}

/* ---------------------------------------------------------------------------------------------------------- export */

int run_export(struct cli *cli)
{
    struct vipd_reply *reply;
    int r = cli_call(cli, "export", NULL, &reply);

    if (r != 0) {
        return r;
    }
    const struct vipd_value *result = vipd_reply_result(reply);
    if (is_json(cli)) {
        json_object(result, NULL, 0);
    } else {
        printf("# cluster %s, revision %" PRIu64 "\n", vipd_text(vipd_get(result, "cluster"), "?"),
               vipd_uint(vipd_get(result, "revision"), 0));
        const struct vipd_value *piece = vipd_first(vipd_get(result, "text"));
        for (; piece != NULL; piece = vipd_next(piece)) {
            fputs(vipd_text(piece, ""), stdout);
        }
    }
    vipd_reply_free(reply);
    return 0;
}

int run_revisions(struct cli *cli)
{
    struct vipd_reply *reply;
    int r = cli_list(cli, "revisions", NULL, 0, &reply);
    char buf[TEXT_SIZE];

    if (r != 0) {
        return r;
    }
    if (is_json(cli)) {
        json_rows(cli, vipd_reply_result(reply));
    } else {
        struct table_print *table = table_open();
        table_column(table, "REVISION", true);
        table_column(table, "UNTIL", false);
        for (const struct vipd_value *row = vipd_first(vipd_reply_result(reply)); row != NULL; row = vipd_next(row)) {
            bool current = vipd_bool(vipd_get(row, "current"), false);
            table_row(table);
            snprintf(buf, sizeof buf, "%" PRIu64, vipd_uint(vipd_get(row, "revision"), 0));
            table_cell(table, buf, COLOUR_NONE);
            table_cell(table, current ? "now" : text_time(vipd_int(vipd_get(row, "until_ms"), 0), buf), COLOUR_NONE);
        }
        table_close(table);
    }
    vipd_reply_free(reply);
    return 0;
}
