/* vipctl history */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/progress.h"

#define LIMIT 1000

static const char *change_of(const struct vipd_value *row, char buf[TEXT_SIZE])
{
    const char *from = vipd_text(vipd_get(row, "from"), NULL), *to = vipd_text(vipd_get(row, "to"), NULL);

    const char *mac = vipd_text(vipd_get(row, "mac"), NULL);

    if (mac != NULL) {
        snprintf(buf, TEXT_SIZE, "%.63s at %.63s", mac, vipd_text(vipd_get(row, "node"), "?"));
        return buf;
    }
    if (vipd_get(row, "took_ms") != NULL) {
        char time[32];
        snprintf(buf, TEXT_SIZE, "took %s", progress_time(vipd_int(vipd_get(row, "took_ms"), 0), time));
        return buf;
    }
    if (from == NULL && to == NULL) {
        const char *node = vipd_text(vipd_get(row, "node"), NULL);
        snprintf(buf, TEXT_SIZE, "%s%.63s", node != NULL ? "on " : "", node != NULL ? node : "");
        return buf;
    }
    snprintf(buf, TEXT_SIZE, "%s > %s", from != NULL ? from : "nobody", to != NULL ? to : "nobody");
    return buf;
}

void show_history(const struct vipd_value *rows)
{
    static const char *const columns[] = { "TIME", "INDEX", "EVENT", "OF", "CHANGE", "REASON", "BY" };
    struct table_print *table = table_open();
    char buf[TEXT_SIZE];

    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        table_column(table, columns[i], i == 1);
    }
    for (const struct vipd_value *row = vipd_first(rows); row != NULL; row = vipd_next(row)) {
        table_row(table);
        table_cell(table, text_time(vipd_int(vipd_get(row, "at_ms"), 0), buf), COLOUR_NONE);
        snprintf(buf, sizeof buf, "%" PRIu64, vipd_uint(vipd_get(row, "index"), 0));
        table_cell(table, buf, COLOUR_NONE);
        table_cell(table, vipd_text(vipd_get(row, "kind"), "?"), COLOUR_NONE);
        table_cell(table, vipd_text(vipd_get(row, "subject"), ""), COLOUR_NONE);
        table_cell(table, change_of(row, buf), COLOUR_NONE);
        table_cell(table, vipd_text(vipd_get(row, "reason"), ""), COLOUR_NONE);
        table_cell(table, vipd_text(vipd_get(row, "who"), ""), COLOUR_NONE);
    }
    table_close(table);
}

static int limit_of(const struct cli *cli, uint32_t *ret)
{
    const char *text = arguments_option(cli, "limit");
    char *end;

    if (text == NULL) {
        *ret = LIMIT;
        return 0;
    }
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || n > UINT32_MAX) {
        return complain(cli, VIPD_USAGE, NULL, "\"%s\" is not a number of events", text);
    }
    *ret = (uint32_t)n;
    return 0;
}

static int args_of(const struct cli *cli, struct vipd_args *args)
{
    static const char *const keys[] = { "vip", "node" };
    const char *since = arguments_option(cli, "since");
    int64_t since_ms;

    for (int i = 0; i < 2; i++) {
        const char *text = arguments_option(cli, keys[i]);
        if (text != NULL) {
            vipd_put(args, vipd_args_root(args), keys[i], vipd_new_text(args, text));
        }
    }
    if (since != NULL) {
        if (!text_since(since, &since_ms)) {
            return complain(cli, VIPD_USAGE, "30m (ago), @UNIX-SECONDS or \"2026-01-31 12:30\"",
                            "\"%s\" is not a time", since);
        }
        vipd_put(args, vipd_args_root(args), "since_ms", vipd_new_int(args, since_ms));
    }
    return 0;
}

int run_history(struct cli *cli)
{
    struct vipd_args *args = vipd_args_new();
    struct vipd_reply *reply;
    uint32_t limit = 0;
    int r = limit_of(cli, &limit);

    r = r != 0 ? r : args_of(cli, args);
    r = r != 0 ? r : cli_list(cli, "history", args, limit, &reply);
    vipd_args_free(args);
    if (r != 0) {
        return r;
    }
    if (is_json(cli)) {
        json_rows(cli, vipd_reply_result(reply));
    } else if (vipd_count(vipd_reply_result(reply)) == 0) {
        printf("nothing of that kind happened\n");
    } else {
        show_history(vipd_reply_result(reply));
    }
    vipd_reply_free(reply);
    return 0;
}
