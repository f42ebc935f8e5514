/* vipctl status: the leader's view of the cluster, with what this host's daemon says of itself. */

#include <inttypes.h>
#include <poll.h>
#include <string.h>

#include "cli/cli.h"

#define WATCH_MS 1000

/* What the daemon of this host knows best, whoever answered `status`. */
static const char *const own_keys[] = { "node", "version", "started_ms", "fence", "fence_why" };

static bool is_own(const char *key)
{
    for (size_t i = 0; i < sizeof own_keys / sizeof own_keys[0]; i++) {
        if (strcmp(own_keys[i], key) == 0) {
            return true;
        }
    }
    return false;
}

static void status_json(const struct vipd_value *status, const struct vipd_value *own, bool local)
{
    const char *between = "";

    putchar('{');
    for (const struct vipd_value *item = vipd_first(status); item != NULL; item = vipd_next(item)) {
        if (!is_own(vipd_key(item))) {
            printf("%s", between);
            json_text(stdout, vipd_key(item));
            printf(": ");
            json_value(stdout, item);
            between = ", ";
        }
    }
    for (size_t i = 0; i < sizeof own_keys / sizeof own_keys[0]; i++) {
        if (vipd_get(own, own_keys[i]) != NULL) {
            printf("%s\"%s\": ", between, own_keys[i]);
            json_value(stdout, vipd_get(own, own_keys[i]));
        }
    }
    printf(", \"node_quorum\": %s, \"local\": %s, \"counters\": ",
           vipd_bool(vipd_get(own, "quorum"), false) ? "true" : "false", local ? "true" : "false");
    json_value(stdout, vipd_get(own, "counters"));
    printf("}\n");
}

static void show_head(const struct vipd_value *status, const struct vipd_value *own)
{
    const struct vipd_value *vips = vipd_get(status, "vips");
    const char *leader = vipd_text(vipd_get(status, "leader"), NULL);
    bool quorum = vipd_bool(vipd_get(own, "quorum"), false);
    char buf[TEXT_SIZE], colour[TEXT_SIZE];

    printf("cluster %s: %s, leader %s, index %" PRIu64 "\n", vipd_text(vipd_get(status, "cluster"), "?"),
           quorum ? coloured("quorum", COLOUR_GOOD, colour, sizeof colour)
                  : coloured("no quorum: this node holds nothing", COLOUR_BAD, colour, sizeof colour),
           leader != NULL ? leader : "unknown", vipd_uint(vipd_get(status, "index"), 0));
    printf("this node %s: vipd %s, started %s, fence %s\n", vipd_text(vipd_get(own, "node"), "?"),
           vipd_text(vipd_get(own, "version"), "?"), text_ago(vipd_int(vipd_get(own, "started_ms"), 0), buf),
           vipd_text(vipd_get(own, "fence"), "?"));
    printf("%" PRIu64 " VIPs: %" PRIu64 " held, %" PRIu64 " moving, %" PRIu64 " unheld, %" PRIu64 " disabled\n\n",
           vipd_uint(vipd_get(vips, "total"), 0), vipd_uint(vipd_get(vips, "held"), 0),
           vipd_uint(vipd_get(vips, "moving"), 0), vipd_uint(vipd_get(vips, "unheld"), 0),
           vipd_uint(vipd_get(vips, "disabled"), 0));
}

/* One line of what is under way. */
static void show_maintenance(const struct vipd_value *m)
{
    const char *state = vipd_text(vipd_get(m, "state"), NULL), *node = vipd_text(vipd_get(m, "node"), NULL);
    const char *step = vipd_text(vipd_get(m, "step"), "");
    char since[TEXT_SIZE], colour[64];

    if (state == NULL) {
        return;
    }
    printf("\nmaintenance %s, %" PRIu64 " of %" PRIu64 " nodes done",
           coloured(state, strcmp(state, "stopped") == 0 ? COLOUR_BAD : COLOUR_WARN, colour, sizeof colour),
           vipd_uint(vipd_get(m, "done"), 0), vipd_uint(vipd_get(m, "n"), 0));
    if (node != NULL) {
        printf(": %s %s", node, strcmp(step, "running") == 0 ? "runs its command" : step);
    }
    printf(" (%s, %s)\n", vipd_text(vipd_get(m, "who"), "?"), text_ago(vipd_int(vipd_get(m, "begun_ms"), 0), since));
}

static void show_unheld(const struct vipd_value *status)
{
    uint64_t all = vipd_uint(vipd_get(vipd_get(status, "vips"), "unheld"), 0);
    uint32_t named = vipd_count(vipd_get(status, "unheld"));

    if (named == 0) {
        return;
    }
    printf("\n");
    struct table_print *table = table_open();
    table_column(table, "UNHELD", false);
    table_column(table, "WHY", false);
    const struct vipd_value *row = vipd_first(vipd_get(status, "unheld"));
    for (; row != NULL; row = vipd_next(row)) {
        table_row(table);
        table_cell(table, vipd_text(vipd_get(row, "name"), "?"), COLOUR_BAD);
        table_cell(table, vipd_text(vipd_get(row, "why"), ""), COLOUR_NONE);
    }
    table_close(table);
    if (all > named) {
        printf("and %" PRIu64 " more: vipctl vip list --state unheld\n", all - named);
    }
}

static void show_warnings(const struct vipd_value *status)
{
    const struct vipd_value *warnings = vipd_get(status, "warnings");
    char colour[64], clean[TEXT_SIZE];

    for (const struct vipd_value *item = vipd_first(warnings); item != NULL; item = vipd_next(item)) {
        printf("%s%s %s\n", item == vipd_first(warnings) ? "\n" : "",
               coloured("!", COLOUR_WARN, colour, sizeof colour),
               text_clean(vipd_text(item, ""), clean, sizeof clean));
    }
}

static int status_once(struct cli *cli)
{
    struct vipd_reply *own, *reply;
    int r = cli_call(cli, "daemon", NULL, &own);

    if (r != 0) {
        return r;
    }
    r = cli_call(cli, "status", NULL, &reply);
    if (r != 0) {
        vipd_reply_free(own);
        return r;
    }
    const struct vipd_value *status = vipd_reply_result(reply);
    if (is_json(cli)) {
        status_json(status, vipd_reply_result(own), vipd_reply_local(reply));
    } else {
        if (arguments_option(cli, "watch") != NULL && colours()) {
            printf("\033[H\033[2J");
        }
        show_head(status, vipd_reply_result(own));
        show_nodes(cli, vipd_get(status, "nodes"));
        show_maintenance(vipd_get(status, "maintenance"));
        show_unheld(status);
        show_warnings(status);
    }
    vipd_reply_free(reply);
    vipd_reply_free(own);
    return 0;
}

int run_status(struct cli *cli)
{
    int r = status_once(cli);

    while (r == 0 && arguments_option(cli, "watch") != NULL) {
        fflush(stdout);
        (void)poll(NULL, 0, WATCH_MS);
        r = status_once(cli);
    }
    return r;
}
