/* vipctl status: the leader's view of the cluster, with what this host's daemon says of itself. */

#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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
    uint64_t total = vipd_uint(vipd_get(vips, "total"), 0);
    printf("%" PRIu64 " VIP%s: %" PRIu64 " held, %" PRIu64 " moving, %" PRIu64 " unheld, %" PRIu64 " disabled\n", total,
           total == 1 ? "" : "s", vipd_uint(vipd_get(vips, "held"), 0),
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

#define LOSSES_SHOWN 5

/* "5 VIPs could be held by nobody: web, db, ..." */
static void show_loss(const struct vipd_value *loss)
{
    uint64_t unheld = vipd_uint(vipd_get(loss, "unheld"), 0);
    const char *node = vipd_text(vipd_get(loss, "node"), "?");
    char names[TEXT_SIZE], colour[64];

    printf("%s without %s: ", coloured("!", COLOUR_WARN, colour, sizeof colour), node);
    if (!vipd_bool(vipd_get(loss, "quorum"), true)) {
        printf("no majority of the voters, so nothing would be held\n");
        return;
    }
    printf("nobody could hold %s%s\n", text_join(vipd_get(loss, "vips"), names),
           unheld > vipd_count(vipd_get(loss, "vips")) ? ", ..." : "");
    if (unheld > vipd_count(vipd_get(loss, "vips"))) {
        printf("  (%" PRIu64 " VIPs: vipctl plan --fail %s)\n", unheld, node);
    }
}

static void show_survives(const struct vipd_value *status)
{
    const struct vipd_value *survives = vipd_get(status, "survives"), *losses = vipd_get(status, "losses");
    char colour[TEXT_SIZE];
    uint32_t n = 0;

    if (vipd_type(survives) != VIPD_BOOL) {
        printf("loss of a node: it is not known now whether all VIPs would be held\n");
        return;
    }
    bool yes = vipd_bool(survives, false);
    printf("loss of any one node: %s\n",
           yes ? coloured("survived, every VIP would be held", COLOUR_GOOD, colour, sizeof colour)
               : coloured("not survived", COLOUR_BAD, colour, sizeof colour));
    for (const struct vipd_value *loss = vipd_first(losses); loss != NULL && n < LOSSES_SHOWN; loss = vipd_next(loss)) {
        show_loss(loss);
        n++;
    }
    if (vipd_count(losses) > n) {
        printf("  and without each of %" PRIu32 " more nodes\n", vipd_count(losses) - n);
    }
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
        printf("%s ", coloured("!", COLOUR_WARN, colour, sizeof colour));
        text_wrap(stdout, text_clean(vipd_text(item, ""), clean, sizeof clean), 80, 2);
    }
}

/* The two answers that a status is made of. */
struct answers
{
    struct vipd_reply *own, *status;
};

static void forget(struct answers *answers)
{
    vipd_reply_free(answers->own);
    vipd_reply_free(answers->status);
    *answers = (struct answers){ NULL, NULL };
}

/* 0; or, without a complaint, -errno, or a code with the reply that refused in *ret_refusal. */
static int ask(struct cli *cli, struct answers *ret, struct vipd_reply **ret_refusal)
{
    struct answers answers = { NULL, NULL };
    int r = cli_ask(cli, "daemon", NULL, &answers.own);

    if (r == 0 && vipd_reply_code(answers.own) == VIPD_DONE) {
        r = cli_ask(cli, "status", NULL, &answers.status);
    }
    struct vipd_reply *last = answers.status != NULL ? answers.status : answers.own;
    if (r == 0 && vipd_reply_code(last) != VIPD_DONE) {
        r = (int)vipd_reply_code(last);
        *ret_refusal = last;
        answers.own = answers.own == last ? NULL : answers.own;
        answers.status = NULL;
    }
    if (r != 0) {
        forget(&answers);
        return r;
    }
    *ret = answers;
    return 0;
}

static void show(const struct cli *cli, const struct answers *answers)
{
    const struct vipd_value *status = vipd_reply_result(answers->status), *own = vipd_reply_result(answers->own);

    if (is_json(cli)) {
        status_json(status, own, vipd_reply_local(answers->status));
        return;
    }
    show_head(status, own);
    show_survives(status);
    show_warnings(status);
    printf("\n");
    show_nodes(cli, vipd_get(status, "nodes"));
    show_maintenance(vipd_get(status, "maintenance"));
    show_unheld(status);
}

/* ------------------------------------------------------------------------------------------------------------ watch */

static void clock_text(char buf[TEXT_SIZE])
{
    struct timespec now = { .tv_sec = 0 };
    char time[TEXT_SIZE];

    clock_gettime(CLOCK_REALTIME, &now);
    text_time((int64_t)now.tv_sec * 1000, time);
    snprintf(buf, TEXT_SIZE, "%.8s", strlen(time) > 11 ? time + 11 : time);
}

/* Shows the latest answers, new or, with the daemon away since then, old ones. */
static void picture(struct cli *cli, struct screen *screen, const struct answers *answers, bool away, const char *heard)
{
    char now[TEXT_SIZE], last[TEXT_SIZE], colour[TEXT_SIZE + 32];

    clock_text(now);
    if (away) {
        snprintf(last, sizeof last, "%.8s  the daemon is away; this is as it was at %.8s", now, heard);
    } else {
        snprintf(last, sizeof last, "%.8s  Ctrl-C ends", now);
    }
    screen_begin(screen);
    show(cli, answers);
    screen_end(screen, coloured(last, away ? COLOUR_WARN : COLOUR_FAINT, colour, sizeof colour));
}

static int watch(struct cli *cli)
{
    struct answers answers, newer;
    struct vipd_reply *refusal = NULL;
    char heard[TEXT_SIZE];
    bool terminal = colours() || isatty(STDOUT_FILENO), was_away = false;
    int r = ask(cli, &answers, &refusal);
    struct screen *screen = r == 0 ? screen_open() : NULL;

    if (r != 0 || screen == NULL) {
        return r != 0 ? cli_failed(cli, r, refusal) : complain(cli, VIPD_FAILED, NULL, "no memory");
    }
    clock_text(heard);
    while (!ferror(stdout)) {
        bool away = r != 0;
        if (terminal || !away) {
            picture(cli, screen, &answers, away, heard);
        }
        if (!terminal && away != was_away) {
            fputs(away ? "vipctl: the daemon is away; waiting for it\n" : "vipctl: the daemon is back\n", stderr);
        }
        was_away = away;
        (void)poll(NULL, 0, WATCH_MS);
        if (!terminal && !is_json(cli) && !away) {
            printf("\n");
        }
        r = ask(cli, &newer, &refusal);
        if (r > 0) {
            vipd_reply_free(refusal);
        } else if (r == 0) {
            forget(&answers);
            answers = newer;
            clock_text(heard);
        }
    }
    screen_close(screen);
    forget(&answers);
    return VIPD_FAILED;
}

int run_status(struct cli *cli)
{
    struct answers answers;
    struct vipd_reply *refusal = NULL;

    if (arguments_option(cli, "watch") != NULL) {
        return watch(cli);
    }
    int r = ask(cli, &answers, &refusal);
    if (r != 0) {
        return cli_failed(cli, r, refusal);
    }
    show(cli, &answers);
    forget(&answers);
    return 0;
}
