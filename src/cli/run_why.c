/* vipctl explain, plan, doctor */

#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"

/* --------------------------------------------------------------------------------------------------------- explain */

static void explain_check(const struct vipd_value *row);

static void explain_vip(const struct cli *cli, const struct vipd_value *result)
{
    const struct vipd_value *vip = vipd_get(result, "vip");
    const char *state = vipd_text(vipd_get(vip, "state"), "?"), *owner = vipd_text(vipd_get(vip, "owner"), NULL);
    const char *why = vipd_text(vipd_get(vip, "why"), NULL);
    char buf[TEXT_SIZE], colour[64];

    printf("%s (%s) is %s", vipd_text(vipd_get(vip, "name"), "?"), vipd_text(vipd_get(vip, "address"), "?"),
           coloured(state, text_state_colour(state), colour, sizeof colour));
    printf("%s%s, moved %s, reason: %s\n", owner != NULL ? ", owner " : "", owner != NULL ? owner : "",
           text_ago(vipd_int(vipd_get(vip, "since_ms"), 0), buf), vipd_text(vipd_get(vip, "reason"), "?"));
    if (why != NULL) {
        printf("because: %s\n", why);
    }
    const struct vipd_value *failback = vipd_get(result, "failback");
    if (failback != NULL) {
        const char *of = vipd_text(vipd_get(failback, "of"), "cluster");
        printf("failback: %s (%s)\n", vipd_text(vipd_get(failback, "mode"), "?"),
               strcmp(of, "vip") == 0     ? "its own"
               : strcmp(of, "group") == 0 ? "its group's"
                                          : "the cluster's setting");
    }
    printf("\n");
    struct table_print *table = table_open();
    static const char *const columns[] = { "NODE", "", "VIPS", "WEIGHT", "BECAUSE" };
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        table_column(table, columns[i], i == 2 || i == 3);
    }
    const struct vipd_value *row = vipd_first(vipd_get(result, "nodes"));
    for (; row != NULL; row = vipd_next(row)) {
        bool chosen = vipd_bool(vipd_get(row, "chosen"), false);
        table_row(table);
        table_cell(table, vipd_text(vipd_get(row, "node"), "?"), COLOUR_NONE);
        table_cell(table, vipd_bool(vipd_get(row, "owner"), false) ? "owner" : chosen ? "chosen" : "",
                   chosen ? COLOUR_GOOD : COLOUR_NONE);
        snprintf(buf, sizeof buf, "%" PRIu64, vipd_uint(vipd_get(row, "vips"), 0));
        table_cell(table, buf, COLOUR_NONE);
        snprintf(buf, sizeof buf, "%" PRId64, vipd_int(vipd_get(row, "weight"), 0));
        table_cell(table, buf, COLOUR_NONE);
        table_cell(table, vipd_text(vipd_get(row, "because"), "?"), COLOUR_NONE);
    }
    table_close(table);
    printf("\n");
    for (row = vipd_first(vipd_get(result, "checks")); row != NULL; row = vipd_next(row)) {
        explain_check(row);
    }
    if (vipd_get(result, "hosts") != NULL) {
        text_wrap(stdout, text_clean(vipd_text(vipd_get(result, "hosts"), ""), buf, sizeof buf), 80, 0);
    }
}

static void explain_check(const struct vipd_value *row)
{
    const struct vipd_value *passes = vipd_get(row, "passes"), *fails = vipd_get(row, "fails");
    char buf[TEXT_SIZE], colour[TEXT_SIZE * 2];

    printf("%s check %s: ", vipd_bool(vipd_get(row, "required"), false) ? "required" : "weighted",
           vipd_text(vipd_get(row, "name"), "?"));
    if (vipd_count(fails) > 0) {
        printf("%s%s", coloured("fails", COLOUR_BAD, colour, sizeof colour), " on ");
        printf("%s%s", text_join(fails, buf), vipd_count(passes) > 0 ? ", " : "\n");
    }
    if (vipd_count(passes) > 0) {
        printf("passes on %s\n", text_join(passes, buf));
    } else if (vipd_count(fails) == 0) {
        printf("no node has judged it yet\n");
    }
}

static void explain_node(const struct cli *cli, const struct vipd_value *result)
{
    const struct vipd_value *node = vipd_get(result, "node");
    bool can = vipd_bool(vipd_get(result, "can_hold"), false);
    char colour[64];

    printf("%s is %s and %s be given VIPs%s%s; it owns %" PRIu64 "\n", vipd_text(vipd_get(node, "name"), "?"),
           vipd_text(vipd_get(node, "status"), "?"), can ? "can" : "cannot", can ? "" : ": ",
           can ? "" : vipd_text(vipd_get(result, "because"), "?"), vipd_uint(vipd_get(node, "owns"), 0));
    const struct vipd_value *row = vipd_first(vipd_get(result, "checks"));
    for (; row != NULL; row = vipd_next(row)) {
        bool ok = vipd_bool(vipd_get(row, "ok"), false);
        printf("  %s  %s\n", coloured(ok ? "ok" : "no", ok ? COLOUR_GOOD : COLOUR_BAD, colour, sizeof colour),
               vipd_text(vipd_get(row, "text"), ""));
    }
}

int run_explain(struct cli *cli)
{
    bool vip = strcmp(cli->args[0], "vip") == 0;
    struct vipd_args *args;

    if (!vip && strcmp(cli->args[0], "node") != 0) {
        return complain(cli, VIPD_USAGE, "vipctl explain vip NAME, or vipctl explain node NAME",
                        "\"%s\" is neither \"vip\" nor \"node\"", cli->args[0]);
    }
    args = vipd_args_new();
    vipd_put(args, vipd_args_root(args), cli->args[0], vipd_new_text(args, cli->args[1]));
    return cli_show(cli, "explain", args, vip ? explain_vip : explain_node);
}

/* ------------------------------------------------------------------------------------------------------------ plan */

/* All that was given for an option, "a,b" and repeated ones alike. */
static void put_nodes(const struct cli *cli, struct vipd_args *args, const char *name)
{
    struct vipd_value *list = vipd_new_array(args);
    char word[128];

    for (int i = 0; i < cli->n_given; i++) {
        const char *at = strcmp(cli->given[i].option->name, name) == 0 ? cli->given[i].value : "";
        while (*at != '\0') {
            size_t n = strcspn(at, ",");
            snprintf(word, sizeof word, "%.*s", (int)n, at);
            if (n > 0) {
                vipd_push(args, list, vipd_new_text(args, word));
            }
            at += n + (at[n] == ',');
        }
    }
    vipd_put(args, vipd_args_root(args), name, list);
}

/* Of use where nodes fail: a witness has nothing that moves, and its vote counts. */
static void show_voters(const struct vipd_value *result)
{
    bool quorum = vipd_bool(vipd_get(result, "quorum"), true);
    uint64_t left = vipd_uint(vipd_get(result, "voters_left"), 0), voters = vipd_uint(vipd_get(result, "voters"), 0);
    char colour[128];

    printf("%s (%" PRIu64 " of %" PRIu64 " left)\n",
           quorum ? "a majority of the voters would remain"
                  : coloured("the majority of the voters would be lost: nothing would be held", COLOUR_BAD, colour, sizeof colour),
           left, voters);
}

static void show_plan(const struct cli *cli, const struct vipd_value *result)
{
    uint64_t moves = vipd_uint(vipd_get(result, "moves"), 0);
    uint32_t nowhere = vipd_count(vipd_get(result, "nowhere"));
    char buf[TEXT_SIZE], colour[TEXT_SIZE + 32];

    printf("%" PRIu64 " %s\n", moves, moves == 1 ? "move" : "moves");
    if (arguments_option(cli, "fail") != NULL || !vipd_bool(vipd_get(result, "quorum"), true)) {
        show_voters(result);
    }
    if (nowhere > 0) {
        printf("%s: %s\n", coloured("nowhere to go", COLOUR_BAD, colour, sizeof colour),
               text_join(vipd_get(result, "nowhere"), buf));
    }
    const struct vipd_value *rows = vipd_get(result, "rows");
    if (vipd_count(rows) == 0) {
        return;
    }
    printf("\n");
    static const char *const columns[] = { "VIP", "ADDRESS", "FROM", "TO", "REASON" };
    static const char *const keys[] = { "vip", "address", "from", "to", "reason" };
    struct table_print *table = table_open();
    for (int i = 0; i < 5; i++) {
        table_column(table, columns[i], false);
    }
    for (const struct vipd_value *row = vipd_first(rows); row != NULL; row = vipd_next(row)) {
        table_row(table);
        for (int i = 0; i < 5; i++) {
            table_cell(table, vipd_text(vipd_get(row, keys[i]), "nobody"), COLOUR_NONE);
        }
    }
    table_close(table);
    if (moves > vipd_count(rows)) {
        printf("and %" PRIu64 " more\n", moves - vipd_count(rows));
    }
}

int run_plan(struct cli *cli)
{
    struct vipd_args *args = vipd_args_new();

    put_nodes(cli, args, "fail");
    put_nodes(cli, args, "drain");
    return cli_show(cli, "plan", args, show_plan);
}

/* ---------------------------------------------------------------------------------------------------------- doctor */

static void show_findings(const struct vipd_value *result)
{
    char colour[64];

    const struct vipd_value *row = vipd_first(vipd_get(result, "rows"));
    for (; row != NULL; row = vipd_next(row)) {
        bool ok = vipd_bool(vipd_get(row, "ok"), false);
        const char *advice = vipd_text(vipd_get(row, "advice"), NULL);
        printf("%s  %s\n", coloured(ok ? "ok" : "!!", ok ? COLOUR_GOOD : COLOUR_BAD, colour, sizeof colour),
               vipd_text(vipd_get(row, "text"), ""));
        if (advice != NULL) {
            printf("      %s\n", advice);
        }
    }
}

int run_doctor(struct cli *cli)
{
    struct vipd_reply *reply;
    int r = cli_call(cli, "doctor", NULL, &reply);

    if (r != 0) {
        return r;
    }
    bool healthy = vipd_bool(vipd_get(vipd_reply_result(reply), "healthy"), false);
    if (is_json(cli)) {
        json_object(vipd_reply_result(reply), NULL, 0);
    } else {
        show_findings(vipd_reply_result(reply));
    }
    vipd_reply_free(reply);
    return healthy ? 0 : VIPD_FAILED;
}
