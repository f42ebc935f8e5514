/* vipctl node ..., drain, undrain, leader */

#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"

static const char *lease_of(const struct vipd_value *row, char buf[TEXT_SIZE])
{
    uint64_t lease_ms = vipd_uint(vipd_get(row, "lease_ms"), 0);

    snprintf(buf, TEXT_SIZE, lease_ms > 0 ? "%" PRIu64 "ms" : "-", lease_ms);
    return buf;
}

static const char *role_of(const struct vipd_value *row)
{
    return vipd_bool(vipd_get(row, "witness"), false) ? "witness" : vipd_text(vipd_get(row, "role"), "?");
}

/* While a cluster is upgraded: nodes that have said so run different versions. */
static bool are_mixed(const struct vipd_value *rows)
{
    const char *first = NULL;

    for (const struct vipd_value *row = vipd_first(rows); row != NULL; row = vipd_next(row)) {
        const char *version = vipd_text(vipd_get(row, "version"), "");
        if (version[0] != '\0' && first != NULL && strcmp(version, first) != 0) {
            return true;
        }
        first = version[0] != '\0' ? version : first;
    }
    return false;
}

void show_nodes(const struct cli *cli, const struct vipd_value *rows)
{
    static const char *const columns[] = { "NODE", "STATUS", "ROLE", "LEADER", "LEASE", "VIPS", "ADDRESS" };
    static const char *const more[] = { "ID", "SINCE", "VERSION" };
    bool wide = cli->format == FORMAT_WIDE;
    struct table_print *table = table_open();
    char buf[TEXT_SIZE];

    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        table_column(table, columns[i], i == 4 || i == 5);
    }
    for (size_t i = 0; wide && i < sizeof more / sizeof more[0]; i++) {
        table_column(table, more[i], i == 0);
    }
    bool mixed = !wide && are_mixed(rows);
    if (mixed) {
        table_column(table, "VERSION", false);
    }
    for (const struct vipd_value *row = vipd_first(rows); row != NULL; row = vipd_next(row)) {
        const char *status = vipd_text(vipd_get(row, "status"), "?");
        table_row(table);
        table_cell(table, vipd_text(vipd_get(row, "name"), "?"), COLOUR_NONE);
        table_cell(table, status, text_state_colour(status));
        table_cell(table, role_of(row), COLOUR_NONE);
        table_cell(table, vipd_bool(vipd_get(row, "leader"), false) ? "leader" : "", COLOUR_NONE);
        table_cell(table, lease_of(row, buf), COLOUR_NONE);
        snprintf(buf, sizeof buf, "%" PRIu64, vipd_uint(vipd_get(row, "vips"), 0));
        table_cell(table, buf, COLOUR_NONE);
        table_cell(table, vipd_text(vipd_get(row, "address"), "?"), COLOUR_NONE);
        if (wide) {
            snprintf(buf, sizeof buf, "%" PRIu64, vipd_uint(vipd_get(row, "id"), 0));
            table_cell(table, buf, COLOUR_NONE);
            table_cell(table, text_ago(vipd_int(vipd_get(row, "since_ms"), 0), buf), COLOUR_NONE);
            table_cell(table, vipd_text(vipd_get(row, "version"), ""), COLOUR_NONE);
        } else if (mixed) {
            table_cell(table, vipd_text(vipd_get(row, "version"), ""), COLOUR_NONE);
        }
    }
    table_close(table);
}

int run_node_list(struct cli *cli)
{
    struct vipd_reply *reply;
    int r = cli_list(cli, "node.list", NULL, 0, &reply);

    if (r != 0) {
        return r;
    }
    if (is_json(cli)) {
        json_rows(cli, vipd_reply_result(reply));
    } else {
        show_nodes(cli, vipd_reply_result(reply));
        if (vipd_reply_local(reply)) {
            printf("\nno leader: this is what this node knows\n");
        }
    }
    vipd_reply_free(reply);
    return 0;
}

static void show_links(const struct vipd_value *links)
{
    char buf[TEXT_SIZE];

    for (const struct vipd_value *link = vipd_first(links); link != NULL; link = vipd_next(link)) {
        printf("%-12s%s %s %s\n", "interface", vipd_text(vipd_get(link, "name"), "?"),
               vipd_bool(vipd_get(link, "up"), false) ? "up" : "down", text_join(vipd_get(link, "addresses"), buf));
    }
}

static void show_node(const struct cli *cli, const struct vipd_value *row)
{
    const char *status = vipd_text(vipd_get(row, "status"), "?");
    int64_t since_ms = vipd_int(vipd_get(row, "since_ms"), 0);
    char buf[TEXT_SIZE], ago[TEXT_SIZE];

    printf("%-12s%s\n", "name", vipd_text(vipd_get(row, "name"), "?"));
    printf("%-12s%" PRIu64 "\n", "id", vipd_uint(vipd_get(row, "id"), 0));
    printf("%-12s%s\n", "address", vipd_text(vipd_get(row, "address"), "?"));
    printf("%-12s%s%s\n", "role", role_of(row), vipd_bool(vipd_get(row, "leader"), false) ? ", leader" : "");
    printf("%-12s%s\n", "status", coloured(status, text_state_colour(status), buf, sizeof buf));
    printf("%-12s%s since %s (%s)\n", "membership", vipd_text(vipd_get(row, "membership"), "?"),
           text_ago(since_ms, ago), text_time(since_ms, buf));
    printf("%-12s%s\n", "lease", lease_of(row, buf));
    printf("%-12s%" PRIu64 " held, %" PRIu64 " owned\n", "vips", vipd_uint(vipd_get(row, "vips"), 0),
           vipd_uint(vipd_get(row, "owns"), 0));
    printf("%-12s%s\n", "version", vipd_text(vipd_get(row, "version"), "?"));
    show_links(vipd_get(row, "links"));
}

/* Arguments with one text. */
static struct vipd_args *one(const char *key, const char *text)
{
    struct vipd_args *args = vipd_args_new();

    if (text != NULL) {
        vipd_put(args, vipd_args_root(args), key, vipd_new_text(args, text));
    }
    return args;
}

int run_node_show(struct cli *cli)
{
    return cli_show(cli, "node.show", one("name", cli->args[0]), show_node);
}

/* A change of one node. `done` and `real` are what is said of it, without and with --wait. */
static int change(struct cli *cli, const char *op, const char *node, const char *done, const char *real)
{
    return cli_change(cli, op, one("node", node), node, cli->options.wait ? real : done);
}

int run_drain(struct cli *cli)
{
    return change(cli, "drain", cli->args[0], "draining (--wait returns when it holds nothing)",
                  "drained: it holds nothing");
}

int run_undrain(struct cli *cli)
{
    return change(cli, "undrain", cli->args[0], "may hold VIPs again", "up: it may hold VIPs again");
}

int run_leader_transfer(struct cli *cli)
{
    return change(cli, "leader.transfer", cli->n_args > 0 ? cli->args[0] : NULL, "the leadership is handed over",
                  "the leadership was handed over");
}

int run_leader(struct cli *cli)
{
    struct vipd_reply *reply;
    int r = cli_call(cli, "leader", NULL, &reply);

    if (r != 0) {
        return r;
    }
    const char *leader = vipd_text(vipd_get(vipd_reply_result(reply), "leader"), NULL);
    if (is_json(cli)) {
        json_object(vipd_reply_result(reply), NULL, 0);
    } else if (leader != NULL) {
        printf("%s\n", leader);
    }
    vipd_reply_free(reply);
    return leader != NULL ? 0
                          : complain(cli, VIPD_NO_QUORUM, "vipctl status shows which nodes are missing",
                                     "there is no leader now");
}
