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
    if (vipd_count(vipd_get(row, "changed")) > 0) {
        const char *was = vipd_text(vipd_get(row, "was"), NULL);
        char changed[TEXT_SIZE];
        snprintf(buf, TEXT_SIZE, "%.150s%s%.63s", text_join(vipd_get(row, "changed"), changed), was != NULL ? "; it was " : "",
                 was != NULL ? was : "");
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

/* "released 2ms, held 5ms" */
static const char *took_of(const struct vipd_value *row, char buf[TEXT_SIZE])
{
    static const struct
    {
        const char *key, *before, *after;
    } stages[] = { { "released_ms", "released ", "" }, { "held_ms", "held ", "" }, { "silent_ms", "silent ", "" },
                   { "fenced_ms", "", " after the fence" } };
    size_t n = 0;

    buf[0] = '\0';
    for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++) {
        const struct vipd_value *ms = vipd_get(row, stages[i].key);
        if (ms != NULL && n < TEXT_SIZE) {
            n += (size_t)snprintf(buf + n, TEXT_SIZE - n, "%s%s%" PRIu64 "ms%s", n > 0 ? ", " : "", stages[i].before,
                                  vipd_uint(ms, 0), stages[i].after);
        }
    }
    return buf;
}

enum column
{
    COLUMN_TIME,
    COLUMN_INDEX,
    COLUMN_EVENT,
    COLUMN_OF,
    COLUMN_CHANGE,
    COLUMN_REASON,
    COLUMN_TOOK,
    COLUMN_BY,
};

static const char *cell_of(const struct vipd_value *row, enum column column, enum history_view view,
                           char buf[TEXT_SIZE])
{
    int64_t at_ms = vipd_int(vipd_get(row, "at_ms"), 0);
    char time[TEXT_SIZE];

    switch (column) {
    case COLUMN_TIME:
        text_time(at_ms, time);
        if (view == HISTORY_WIDE) {
            snprintf(buf, TEXT_SIZE, "%.19s.%03d", time, (int)(at_ms % 1000));
        } else {
            snprintf(buf, TEXT_SIZE, "%.19s", time + (view == HISTORY_OF_ONE && strlen(time) > 5 ? 5 : 0)); /* without the year */
        }
        return buf;
    case COLUMN_INDEX:
        snprintf(buf, TEXT_SIZE, "%" PRIu64, vipd_uint(vipd_get(row, "index"), 0));
        return buf;
    case COLUMN_EVENT:
        return vipd_text(vipd_get(row, "kind"), "?");
    case COLUMN_OF:
        return vipd_text(vipd_get(row, "subject"), "");
    case COLUMN_CHANGE:
        return change_of(row, buf);
    case COLUMN_REASON:
        return vipd_text(vipd_get(row, "reason"), "");
    case COLUMN_TOOK:
        return took_of(row, buf);
    case COLUMN_BY:
        return vipd_text(vipd_get(row, "who"), "");
    }
    return "";
}

void show_history(const struct vipd_value *rows, enum history_view view)
{
    static const struct
    {
        const char *name;
        bool shown[3]; /* by view */
    } columns[] = {
        { "TIME", { true, true, true } },   { "INDEX", { true, true, false } },  { "EVENT", { true, true, true } },
        { "OF", { true, true, false } },    { "CHANGE", { true, true, true } },  { "REASON", { true, true, true } },
        { "TOOK", { false, true, true } },  { "BY", { true, true, true } },
    };
    struct table_print *table = table_open();
    char buf[TEXT_SIZE];

    for (int i = COLUMN_TIME; i <= COLUMN_BY; i++) {
        if (columns[i].shown[view]) {
            table_column(table, columns[i].name, i == COLUMN_INDEX);
        }
    }
    for (const struct vipd_value *row = vipd_first(rows); row != NULL; row = vipd_next(row)) {
        table_row(table);
        for (int i = COLUMN_TIME; i <= COLUMN_BY; i++) {
            if (columns[i].shown[view]) {
                table_cell(table, cell_of(row, (enum column)i, view, buf), COLOUR_NONE);
            }
        }
    }
    table_close(table);
}

int history_limit(const struct cli *cli, uint32_t *ret)
{
    const char *text = arguments_option(cli, "limit");
    char *end;

    if (text == NULL) {
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

int history_args(const struct cli *cli, struct vipd_args *args)
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
            return complain(cli, VIPD_USAGE, "30m (ago), now, @UNIX-SECONDS, \"2026-01-31 12:30\" or 2026-01-31T12:30:00Z",
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
    uint32_t limit = LIMIT;
    int r = history_limit(cli, &limit);

    r = r != 0 ? r : history_args(cli, args);
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
        show_history(vipd_reply_result(reply), cli->format == FORMAT_WIDE ? HISTORY_WIDE : HISTORY_TABLE);
    }
    vipd_reply_free(reply);
    return 0;
}
