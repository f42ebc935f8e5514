/* vipctl check ... */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define TIME_MAX_MS 3600000u

/* --------------------------------------------------------------------------------------------------------- changes */

static int put_time(const struct cli *cli, struct vipd_args *args, struct vipd_value *map, const char *option,
                    const char *key)
{
    const char *text = arguments_option(cli, option);
    uint64_t ms;

    if (text == NULL) {
        return 0;
    }
    if (!arguments_duration(text, TIME_MAX_MS, &ms)) {
        return complain(cli, VIPD_USAGE, "like 1s, 500ms", "--%s is not a time of at most an hour: \"%s\"", option, text);
    }
    vipd_put(args, map, key, vipd_new_int(args, (int64_t)ms));
    return 0;
}

static int put_number(const struct cli *cli, struct vipd_args *args, struct vipd_value *map, const char *option)
{
    const char *text = arguments_option(cli, option);
    char *end;

    if (text == NULL) {
        return 0;
    }
    unsigned long n = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || n > 65535) {
        return complain(cli, VIPD_USAGE, NULL, "--%s is not a number of at most 65535: \"%s\"", option, text);
    }
    vipd_put(args, map, option, vipd_new_int(args, (int64_t)n));
    return 0;
}

static int put_attributes(const struct cli *cli, struct vipd_args *args, struct vipd_value *map)
{
    static const char *const texts[][2] = {
        { "http", "http" }, { "tcp", "tcp" },   { "exec", "exec" },   { "process", "process" },
        { "file", "file" }, { "ping", "ping" }, { "scope", "scope" }, { "all-failed", "all_failed" },
    };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const char *text = arguments_option(cli, texts[i][0]);
        if (text != NULL) {
            vipd_put(args, map, texts[i][1], vipd_new_text(args, text));
        }
    }
    int r = put_time(cli, args, map, "every", "every_ms");
    r = r != 0 ? r : put_time(cli, args, map, "time", "timeout_ms");
    r = r != 0 ? r : put_number(cli, args, map, "fall");
    r = r != 0 ? r : put_number(cli, args, map, "rise");
    return r != 0 ? r : put_number(cli, args, map, "weight");
}

static int change(struct cli *cli, const char *op, const char *name, struct vipd_args *args, const char *done)
{
    char subject[128]; /* a name that is longer was refused */

    vipd_put(args, vipd_args_root(args), "name", vipd_new_text(args, name));
    snprintf(subject, sizeof subject, "check %s", name);
    return cli_change(cli, op, args, subject, done);
}

static int define(struct cli *cli, const char *op, const char *done)
{
    struct vipd_args *args = vipd_args_new();
    struct vipd_value *check = vipd_new_map(args);
    int r = put_attributes(cli, args, check);

    if (r != 0) {
        vipd_args_free(args);
        return r;
    }
    vipd_put(args, vipd_args_root(args), "check", check);
    return change(cli, op, cli->args[0], args, done);
}

int run_check_add(struct cli *cli)
{
    return define(cli, "check.add", "added");
}

int run_check_set(struct cli *cli)
{
    return define(cli, "check.set", "changed");
}

int run_check_del(struct cli *cli)
{
    int r = 0;

    for (int i = 0; i < cli->n_args && r == 0; i++) {
        r = change(cli, "check.del", cli->args[i], vipd_args_new(), "deleted");
    }
    return r;
}

/* --------------------------------------------------------------------------------------------------------- showing */

/* "a,b": the nodes of a check that say so. */
static const char *nodes_that(const struct vipd_value *row, const char *result, char buf[TEXT_SIZE])
{
    size_t at = 0;

    buf[0] = '\0';
    for (const struct vipd_value *node = vipd_first(vipd_get(row, "nodes")); node != NULL; node = vipd_next(node)) {
        if (strcmp(vipd_text(node, ""), result) == 0 && at < TEXT_SIZE) {
            at += (size_t)snprintf(buf + at, TEXT_SIZE - at, "%s%s", at > 0 ? "," : "", vipd_key(node));
        }
    }
    return buf;
}

static void show_list(const struct vipd_value *rows)
{
    static const char *const columns[] = { "NAME", "KIND", "TARGET", "EVERY", "FAILS", "PASSES", "UNKNOWN" };
    struct table_print *table = table_open();
    char buf[TEXT_SIZE];

    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        table_column(table, columns[i], i == 3);
    }
    for (const struct vipd_value *row = vipd_first(rows); row != NULL; row = vipd_next(row)) {
        table_row(table);
        table_cell(table, vipd_text(vipd_get(row, "name"), "?"), COLOUR_NONE);
        table_cell(table, vipd_text(vipd_get(row, "kind"), "?"), COLOUR_NONE);
        table_cell(table, vipd_text(vipd_get(row, "target"), "?"), COLOUR_NONE);
        snprintf(buf, sizeof buf, "%" PRIu64 "ms", vipd_uint(vipd_get(row, "every_ms"), 0));
        table_cell(table, buf, COLOUR_NONE);
        table_cell(table, nodes_that(row, "fails", buf), COLOUR_BAD);
        table_cell(table, nodes_that(row, "passes", buf), COLOUR_GOOD);
        table_cell(table, nodes_that(row, "unknown", buf), COLOUR_FAINT);
    }
    table_close(table);
}

int run_check_list(struct cli *cli)
{
    struct vipd_reply *reply;
    int r = cli_call(cli, "check.list", NULL, &reply);

    if (r != 0) {
        return r;
    }
    const struct vipd_value *rows = vipd_get(vipd_reply_result(reply), "rows");
    if (is_json(cli)) {
        json_rows(cli, rows);
    } else if (vipd_count(rows) == 0) {
        printf("there are no checks: vipctl check add\n");
    } else {
        show_list(rows);
    }
    vipd_reply_free(reply);
    return 0;
}

static void show_own(const struct vipd_value *own, const char *name)
{
    char buf[TEXT_SIZE], text[TEXT_SIZE];

    for (const struct vipd_value *row = vipd_first(vipd_get(own, "rows")); row != NULL; row = vipd_next(row)) {
        int64_t at_ms = vipd_int(vipd_get(row, "at_ms"), 0);
        if (strcmp(vipd_text(vipd_get(row, "name"), ""), name) == 0 && at_ms > 0) {
            printf("here (%s), %s: %s, %s\n", vipd_text(vipd_get(own, "node"), "?"), text_ago(at_ms, buf),
                   vipd_bool(vipd_get(row, "passed"), false) ? "passed" : "failed",
                   text_clean(vipd_text(vipd_get(row, "detail"), ""), text, sizeof text));
        }
    }
}

static void show_one(const struct vipd_value *row, const struct vipd_value *own)
{
    uint64_t weight = vipd_uint(vipd_get(row, "weight"), 0);
    const char *name = vipd_text(vipd_get(row, "name"), "?");
    char buf[TEXT_SIZE], colour[64];

    printf("%s: %s %s\n", name, vipd_text(vipd_get(row, "kind"), "?"), vipd_text(vipd_get(row, "target"), "?"));
    printf("every %" PRIu64 " ms, at most %" PRIu64 " ms; fails after %" PRIu64 ", passes after %" PRIu64 "\n",
           vipd_uint(vipd_get(row, "every_ms"), 0), vipd_uint(vipd_get(row, "timeout_ms"), 0),
           vipd_uint(vipd_get(row, "fall"), 0), vipd_uint(vipd_get(row, "rise"), 0));
    if (weight > 0) {
        printf("failing lowers the node's preference by %" PRIu64 "\n", weight);
    } else {
        printf("required; when all fail: %s\n", vipd_text(vipd_get(row, "all_failed"), "?"));
    }
    bool all = strcmp(vipd_text(vipd_get(row, "scope"), ""), "node") == 0;
    printf("of: %s\n\n", all ? "every VIP" : text_join(vipd_get(row, "required_by"), buf));
    for (const struct vipd_value *node = vipd_first(vipd_get(row, "nodes")); node != NULL; node = vipd_next(node)) {
        const char *result = vipd_text(node, "?");
        enum colour which = strcmp(result, "passes") == 0  ? COLOUR_GOOD
                            : strcmp(result, "fails") == 0 ? COLOUR_BAD
                                                           : COLOUR_FAINT;
        printf("%-16s %s\n", vipd_key(node), coloured(result, which, colour, sizeof colour));
    }
    show_own(own, name);
}

int run_check_show(struct cli *cli)
{
    struct vipd_args *args = vipd_args_new();
    struct vipd_reply *reply, *own = NULL;

    vipd_put(args, vipd_args_root(args), "name", vipd_new_text(args, cli->args[0]));
    int r = cli_call(cli, "check.show", args, &reply);
    vipd_args_free(args);
    if (r != 0) {
        return r;
    }
    if (is_json(cli)) {
        json_object(vipd_reply_result(reply), NULL, 0);
    } else {
        r = cli_call(cli, "check.own", NULL, &own);
        if (r == 0) {
            show_one(vipd_reply_result(reply), vipd_reply_result(own));
            vipd_reply_free(own);
        }
    }
    vipd_reply_free(reply);
    return r;
}
