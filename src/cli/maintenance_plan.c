/* The plan of a rolling maintenance, as vipctl shows it before it begins. */

#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/maintenance.h"

#define PLAN_NAMED 4 /* VIPs of a node that the plan names; of more it tells how many go where */

void maintenance_nodes(const struct cli *cli, struct vipd_args *args)
{
    struct vipd_value *list = vipd_new_array(args);
    char word[128];
    bool any = false;

    for (int i = 0; i < cli->n_given; i++) {
        const char *at = strcmp(cli->given[i].option->name, "nodes") == 0 ? cli->given[i].value : "";
        while (*at != '\0') {
            size_t n = strcspn(at, ",");
            snprintf(word, sizeof word, "%.*s", (int)n, at);
            if (n > 0) {
                vipd_push(args, list, vipd_new_text(args, word));
                any = true;
            }
            at += n + (at[n] == ',');
        }
    }
    if (any || arguments_option(cli, "nodes") != NULL) {
        vipd_put(args, vipd_args_root(args), "nodes", list);
    }
}

/* "web > b, db > c", or, when there are more, "3 to b, 2 to c". */
static const char *where_to(const struct vipd_value *rows, uint64_t n, char buf[TEXT_SIZE])
{
    const char *to[64];
    unsigned counts[64], kinds = 0;
    size_t used = 0;

    buf[0] = '\0';
    for (const struct vipd_value *row = vipd_first(rows); row != NULL; row = vipd_next(row)) {
        const char *node = vipd_text(vipd_get(row, "to"), "nobody");
        unsigned i = 0;
        if (n <= PLAN_NAMED) {
            int more = snprintf(buf + used, TEXT_SIZE - used, "%s%s > %s", used > 0 ? ", " : "",
                                vipd_text(vipd_get(row, "vip"), "?"), node);
            used = used + (size_t)more < TEXT_SIZE ? used + (size_t)more : TEXT_SIZE - 1;
            continue;
        }
        while (i < kinds && strcmp(to[i], node) != 0) {
            i++;
        }
        if (i == kinds && kinds < 64) {
            to[kinds] = node;
            counts[kinds++] = 0;
        }
        counts[i < 64 ? i : 63]++;
    }
    for (unsigned i = 0; i < kinds; i++) {
        int more = snprintf(buf + used, TEXT_SIZE - used, "%s%u to %s", used > 0 ? ", " : "", counts[i], to[i]);
        used = used + (size_t)more < TEXT_SIZE ? used + (size_t)more : TEXT_SIZE - 1;
    }
    return buf;
}

static void plan_row(struct table_print *table, const struct vipd_value *node, unsigned number)
{
    uint64_t away = vipd_uint(vipd_get(node, "moves"), 0), back = vipd_uint(vipd_get(node, "back"), 0);
    char buf[TEXT_SIZE], text[TEXT_SIZE + 64];

    table_row(table);
    snprintf(buf, sizeof buf, "%u", number);
    table_cell(table, buf, COLOUR_NONE);
    table_cell(table, vipd_text(vipd_get(node, "name"), "?"), COLOUR_NONE);
    table_cell(table, away == 0 ? "nothing moves" : where_to(vipd_get(node, "rows"), away, buf), COLOUR_NONE);
    bool drained = vipd_bool(vipd_get(node, "drained"), false);
    where_to(vipd_get(node, "back_rows"), back, buf);
    snprintf(text, sizeof text, "%s%s%s", drained ? "stays drained, as now" : back > 0 ? buf : "nothing moves back",
             vipd_bool(vipd_get(node, "leader"), false) ? "; leads now: hands over first" : "", "");
    table_cell(table, text, COLOUR_NONE);
}

static void show_moves(const struct vipd_value *nodes)
{
    static const char *const keys[] = { "rows", "back_rows" };
    struct table_print *table = table_open();

    table_column(table, "NODE", false);
    table_column(table, "WHEN", false);
    table_column(table, "VIP", false);
    table_column(table, "FROM", false);
    table_column(table, "TO", false);
    for (const struct vipd_value *node = vipd_first(nodes); node != NULL; node = vipd_next(node)) {
        for (int i = 0; i < 2; i++) {
            const struct vipd_value *row = vipd_first(vipd_get(node, keys[i]));
            for (; row != NULL; row = vipd_next(row)) {
                table_row(table);
                table_cell(table, vipd_text(vipd_get(node, "name"), "?"), COLOUR_NONE);
                table_cell(table, i == 0 ? "drained" : "back", COLOUR_NONE);
                table_cell(table, vipd_text(vipd_get(row, "vip"), "?"), COLOUR_NONE);
                table_cell(table, vipd_text(vipd_get(row, "from"), "nobody"), COLOUR_NONE);
                table_cell(table, vipd_text(vipd_get(row, "to"), "nobody"), COLOUR_NONE);
            }
        }
    }
    table_close(table);
}

static void show_plan(const struct cli *cli, const struct vipd_value *plan)
{
    const struct vipd_value *nodes = vipd_get(plan, "nodes");
    uint64_t n = vipd_uint(vipd_get(plan, "n"), 0);
    struct table_print *table = table_open();
    unsigned number = 0;

    printf("maintenance of %" PRIu64 " %s, one after the other, as the planner sees it now:\n\n", n, n == 1 ? "node" : "nodes");
    table_column(table, "", true);
    table_column(table, "NODE", false);
    table_column(table, "WHEN IT IS DRAINED", false);
    table_column(table, "WHEN IT IS BACK", false);
    for (const struct vipd_value *node = vipd_first(nodes); node != NULL; node = vipd_next(node)) {
        plan_row(table, node, ++number);
    }
    table_close(table);
    if (n > number) {
        printf("and %" PRIu64 " more nodes\n", n - number);
    }
    if (cli->format == FORMAT_WIDE) {
        printf("\n");
        show_moves(nodes);
    }
    printf("\n");
}

/* A command that restarts this very host ends the runner with it. */
static void warn_of_own_node(struct cli *cli, const struct vipd_value *plan)
{
    struct vipd_reply *reply;
    const char *last = NULL;
    bool among = false;

    if (arguments_option(cli, "restart") == NULL || cli_call(cli, "version", NULL, &reply) != 0) {
        return;
    }
    const char *own = vipd_text(vipd_get(vipd_reply_result(reply), "node"), "");
    for (const struct vipd_value *node = vipd_first(vipd_get(plan, "nodes")); node != NULL; node = vipd_next(node)) {
        last = vipd_text(vipd_get(node, "name"), "");
        among = among || strcmp(last, own) == 0;
    }
    if (among && strcmp(last, own) != 0) {
        printf("this host is %s: should it restart, the maintenance is paused after its turn, and\n"
               "vipctl maintenance resume goes on\n\n", own);
    }
    vipd_reply_free(reply);
}

int maintenance_plan(struct cli *cli)
{
    struct vipd_args *args = vipd_args_new();
    struct vipd_reply *reply;

    maintenance_nodes(cli, args);
    int r = cli_call(cli, "maintenance.plan", args, &reply);
    vipd_args_free(args);
    if (r != 0) {
        return r;
    }
    const struct vipd_value *result = vipd_reply_result(reply);
    const char *unsafe = vipd_text(vipd_get(result, "unsafe"), NULL);
    if (is_json(cli) && cli->options.dry_run) {
        json_object(result, NULL, 0);
    } else if (!is_json(cli)) {
        show_plan(cli, result);
        warn_of_own_node(cli, result);
    }
    if (unsafe != NULL && !cli->options.force) {
        r = complain(cli, VIPD_UNSAFE, "mend that first, or leave nodes out with --nodes; --force does it nevertheless", "%s",
                     unsafe);
    }
    vipd_reply_free(reply);
    return r;
}
