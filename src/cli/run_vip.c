/* vipctl vip ... */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define HOOK_TIME_MAX_MS 86400000 /* the daemon says what is too long */

/* ------------------------------------------------------------------------------------------------------ attributes */

/* "a,b" as an array; a word that means "no restriction" makes an empty one. */
static struct vipd_value *list_of(struct vipd_args *args, const char *text, const char *none)
{
    struct vipd_value *list = vipd_new_array(args);
    char word[128];

    if (strcmp(text, none) == 0) {
        return list;
    }
    for (const char *at = text; *at != '\0';) {
        size_t n = strcspn(at, ",");
        snprintf(word, sizeof word, "%.*s", (int)n, at);
        if (n > 0) {
            vipd_push(args, list, vipd_new_text(args, word));
        }
        at += n + (at[n] == ',');
    }
    return list;
}

/* "a=100,b=50"; NULL after the complaint. */
static struct vipd_value *weights_of(const struct cli *cli, struct vipd_args *args, const char *text)
{
    struct vipd_value *map = vipd_new_map(args);
    char word[128], *end;

    if (strcmp(text, "none") == 0) {
        return map;
    }
    for (const char *at = text; *at != '\0';) {
        size_t n = strcspn(at, ",");
        snprintf(word, sizeof word, "%.*s", (int)n, at);
        char *equals = strchr(word, '=');
        long weight = equals == NULL ? 0 : strtol(equals + 1, &end, 10);
        if (equals == NULL || equals == word || equals[1] == '\0' || *end != '\0' || weight < 1 || weight > 65535) {
            complain(cli, VIPD_USAGE, "for example --prefer a=100,b=50; weights are 1 to 65535",
                     "\"%s\" is not NODE=WEIGHT", word);
            return NULL;
        }
        *equals = '\0';
        vipd_put(args, map, word, vipd_new_int(args, weight));
        at += n + (at[n] == ',');
    }
    return map;
}

/* "after-take=notify,timeout=5s,after-release=notify": a timeout belongs to the hook before it. NULL after the complaint. */
static struct vipd_value *hooks_of(const struct cli *cli, struct vipd_args *args, const char *text)
{
    static const char *const example = "for example --hook after-take=notify,timeout=5s,after-release=notify";
    struct vipd_value *map = vipd_new_map(args), *hook = NULL;
    char word[128];

    if (strcmp(text, "none") == 0) {
        return map;
    }
    for (const char *at = text; *at != '\0';) {
        size_t n = strcspn(at, ",");
        snprintf(word, sizeof word, "%.*s", (int)n, at);
        char *equals = strchr(word, '=');
        at += n + (at[n] == ',');
        if (equals == NULL || equals == word || equals[1] == '\0') {
            complain(cli, VIPD_USAGE, example, "\"%s\" is not WHEN=PROGRAM", word);
            return NULL;
        }
        *equals = '\0';
        if (strcmp(word, "timeout") == 0) {
            uint64_t ms;
            if (hook == NULL || !arguments_duration(equals + 1, HOOK_TIME_MAX_MS, &ms)) {
                complain(cli, VIPD_USAGE, example,
                         hook == NULL ? "timeout=%s stands before any hook" : "\"%s\" is not a time, like 500ms or 5s", equals + 1);
                return NULL;
            }
            vipd_put(args, hook, "timeout_ms", vipd_new_int(args, (int64_t)ms));
            continue;
        }
        hook = vipd_new_map(args);
        vipd_put(args, hook, "run", vipd_new_text(args, equals + 1));
        vipd_put(args, map, word, hook);
    }
    return map;
}

static void put_text(struct vipd_args *args, struct vipd_value *map, const char *key, const char *text)
{
    if (text != NULL) {
        vipd_put(args, map, key, vipd_new_text(args, text));
    }
}

/* The attributes given as options, into a map. */
static int put_attributes(const struct cli *cli, struct vipd_args *args, struct vipd_value *map)
{
    const char *group = arguments_option(cli, "group"), *nodes = arguments_option(cli, "nodes");
    const char *prefer = arguments_option(cli, "prefer"), *apart = arguments_option(cli, "apart-from");
    const char *probe = arguments_option(cli, "probe"), *require = arguments_option(cli, "require");
    const char *hook = arguments_option(cli, "hook"), *reset = arguments_option(cli, "reset-connections");
    const char *failback = arguments_option(cli, "failback");

    put_text(args, map, "name", arguments_option(cli, "name"));
    put_text(args, map, "dev", arguments_option(cli, "dev"));
    put_text(args, map, "group", group != NULL && strcmp(group, "none") == 0 ? "" : group);
    put_text(args, map, "conflict", arguments_option(cli, "conflict"));
    if (arguments_option(cli, "no-probe") != NULL) {
        vipd_put(args, map, "probe", vipd_new_bool(args, false));
    }
    if (probe != NULL) {
        if (strcmp(probe, "yes") != 0 && strcmp(probe, "no") != 0) {
            return complain(cli, VIPD_USAGE, "yes or no", "--probe is not \"%s\"", probe);
        }
        vipd_put(args, map, "probe", vipd_new_bool(args, strcmp(probe, "yes") == 0));
    }
    if (reset != NULL) {
        if (strcmp(reset, "yes") != 0 && strcmp(reset, "no") != 0) {
            return complain(cli, VIPD_USAGE, "yes or no", "--reset-connections is not \"%s\"", reset);
        }
        vipd_put(args, map, "reset_connections", vipd_new_bool(args, strcmp(reset, "yes") == 0));
    }
    if (hook != NULL) {
        struct vipd_value *hooks = hooks_of(cli, args, hook);
        if (hooks == NULL) {
            return VIPD_USAGE;
        }
        vipd_put(args, map, "hooks", hooks);
    }
    if (failback != NULL && strcmp(failback, "default") == 0) {
        vipd_put(args, map, "failback_ms", vipd_new_text(args, failback));
    } else if (failback != NULL) {
        uint64_t ms;
        if (!arguments_failback(failback, &ms)) {
            return complain(cli, VIPD_USAGE, "never, auto, a time like 10m (at most a day), or default",
                            "\"%s\" is no failback", failback);
        }
        vipd_put(args, map, "failback_ms", vipd_new_int(args, (int64_t)ms));
    }
    if (nodes != NULL) {
        vipd_put(args, map, "nodes", list_of(args, nodes, "all"));
    }
    if (apart != NULL) {
        vipd_put(args, map, "apart_from", list_of(args, apart, "none"));
    }
    if (require != NULL) {
        vipd_put(args, map, "require", list_of(args, require, "none"));
    }
    if (prefer != NULL) {
        struct vipd_value *weights = weights_of(cli, args, prefer);
        if (weights == NULL) {
            return VIPD_USAGE;
        }
        vipd_put(args, map, "prefer", weights);
    }
    return 0;
}

/* ---------------------------------------------------------------------------------------------------------- changes */

/* One VIP after a change, in one line. */
static void show_changed(const struct cli *cli, const struct vipd_value *row, const char *done)
{
    const char *state = vipd_text(vipd_get(row, "state"), "?");
    const char *owner = vipd_text(vipd_get(row, "owner"), NULL);
    const char *name = vipd_text(vipd_get(row, "name"), "?"), *address = vipd_text(vipd_get(row, "address"), "?");
    char colour[128];

    printf("%s", name);
    if (strncmp(address, name, strlen(name)) != 0) {
        printf(" (%s)", address);
    }
    if (!cli->options.wait) {
        printf(": %s\n", done);
        return;
    }
    printf(": %s", coloured(state, text_state_colour(state), colour, sizeof colour));
    if (owner != NULL) {
        printf(" by %s on %s", owner, vipd_text(vipd_get(row, "dev"), "?"));
    }
    printf("\n");
}

/* Shows what became of a change; `names` for those of which the answer has no row. */
static void show_change(const struct cli *cli, struct vipd_reply *reply, const char *done, const char *const *names,
                        int n)
{
    const struct vipd_value *result = vipd_reply_result(reply);
    const struct vipd_value *rows = vipd_get(result, "vips");

    if (is_json(cli)) {
        json_object(result, "wait", vipd_reply_index(reply));
        return;
    }
    if (cli->options.dry_run) {
        printf(CLI_DRY_RUN);
        return;
    }
    if (!vipd_bool(vipd_get(result, "changed"), true)) {
        done = "was so already";
    }
    for (const struct vipd_value *row = vipd_first(rows); row != NULL; row = vipd_next(row)) {
        show_changed(cli, row, done);
    }
    for (int i = 0; vipd_count(rows) == 0 && i < n; i++) {
        printf("%s: %s\n", names[i], done);
    }
}

/* Sends a change with its arguments, which are freed, and shows what became of it. */
static int change(struct cli *cli, const char *op, struct vipd_args *args, const char *done, const char *const *names,
                  int n)
{
    struct vipd_reply *reply;
    int r = cli_call(cli, op, args, &reply);

    vipd_args_free(args);
    if (r == 0) {
        show_change(cli, reply, done, names, n);
        vipd_reply_free(reply);
    }
    return r;
}

/* What several requests of one command did, as one object. */
static void json_changes(const struct cli *cli, struct vipd_reply *const *replies, int n)
{
    bool changed = false, settled = true;
    uint64_t index = 0;
    const char *between = "";

    for (int i = 0; i < n; i++) {
        changed |= vipd_bool(vipd_get(vipd_reply_result(replies[i]), "changed"), false);
        settled &= vipd_bool(vipd_get(vipd_reply_result(replies[i]), "settled"), false);
        index = vipd_reply_index(replies[i]) > index ? vipd_reply_index(replies[i]) : index;
    }
    printf("{\"changed\": %s, %s%s\"vips\": [", changed ? "true" : "false", settled ? "\"settled\": true, " : "",
           cli->options.dry_run ? "\"dry_run\": true, " : "");
    for (int i = 0; i < n; i++) {
        const struct vipd_value *rows = vipd_get(vipd_reply_result(replies[i]), "vips");
        for (const struct vipd_value *row = vipd_first(rows); row != NULL; row = vipd_next(row)) {
            fputs(between, stdout);
            between = ", ";
            json_value(stdout, row);
        }
    }
    if (index > 0) {
        printf("], \"index\": %" PRIu64 "}\n", index);
    } else {
        printf("]}\n");
    }
}

/* Sends a change of any number of VIPs in as many requests as it takes, each all or nothing, and shows what became of it.
 * Where a later one is refused, what was done is shown as text alone: in JSON the refusal is the answer. `fill` makes the arguments for n of them; 0, or an exit code
 * after the complaint. */
static int change_many(struct cli *cli, const char *op, const char *done,
                       int (*fill)(struct cli *cli, struct vipd_args *args, const char *const *names, int n))
{
    int parts = (cli->n_args + VIPD_VIPS_MAX - 1) / VIPD_VIPS_MAX, n = 0, r = 0;
    struct vipd_reply **replies = calloc((size_t)parts + 1, sizeof *replies);

    if (replies == NULL) {
        return complain(cli, VIPD_FAILED, NULL, "no memory");
    }
    for (int at = 0; at < cli->n_args && r == 0; at += VIPD_VIPS_MAX) {
        int some = cli->n_args - at < VIPD_VIPS_MAX ? cli->n_args - at : VIPD_VIPS_MAX;
        struct vipd_args *args = vipd_args_new();
        r = args == NULL ? complain(cli, VIPD_FAILED, NULL, "no memory") : fill(cli, args, cli->args + at, some);
        r = r != 0 ? r : cli_call(cli, op, args, &replies[n]);
        vipd_args_free(args);
        n += r == 0;
    }
    if (is_json(cli) && r == 0 && n > 1) {
        json_changes(cli, replies, n);
    }
    for (int i = 0; i < n; i++) {
        int at = i * VIPD_VIPS_MAX, some = cli->n_args - at < VIPD_VIPS_MAX ? cli->n_args - at : VIPD_VIPS_MAX;
        if (!is_json(cli) || (r == 0 && n == 1)) {
            show_change(cli, replies[i], done, cli->args + at, some);
        }
        vipd_reply_free(replies[i]);
    }
    free(replies);
    return r;
}

static int fill_to_add(struct cli *cli, struct vipd_args *args, const char *const *addresses, int n)
{
    struct vipd_value *vips = vipd_new_array(args);

    for (int i = 0; i < n; i++) {
        struct vipd_value *vip = vipd_new_map(args);
        vipd_put(args, vip, "address", vipd_new_text(args, addresses[i]));
        int r = put_attributes(cli, args, vip);
        if (r != 0) {
            return r;
        }
        if (arguments_option(cli, "disabled") != NULL) {
            vipd_put(args, vip, "enabled", vipd_new_bool(args, false));
        }
        vipd_push(args, vips, vip);
    }
    vipd_put(args, vipd_args_root(args), "vips", vips);
    return 0;
}

int run_vip_add(struct cli *cli)
{
    if (cli->n_args > 1 && arguments_option(cli, "name") != NULL) {
        return complain(cli, VIPD_USAGE, "add them one by one", "--name is for one VIP");
    }
    return change_many(cli, "vip.add", "added", fill_to_add);
}

static int fill_names(struct cli *cli, struct vipd_args *args, const char *const *names, int n)
{
    struct vipd_value *vips = vipd_new_array(args);

    (void)cli;
    for (int i = 0; i < n; i++) {
        vipd_push(args, vips, vipd_new_text(args, names[i]));
    }
    vipd_put(args, vipd_args_root(args), "vips", vips);
    return 0;
}

/* Arguments that name the VIPs names[0..n). */
static struct vipd_args *args_for(const char *const *names, int n)
{
    struct vipd_args *args = vipd_args_new();

    (void)fill_names(NULL, args, names, n);
    return args;
}

int run_vip_del(struct cli *cli)
{
    return change_many(cli, "vip.del", "deleted", fill_names);
}

int run_vip_set(struct cli *cli)
{
    struct vipd_args *args = args_for(cli->args, 1);
    struct vipd_value *set = vipd_new_map(args);
    int r = put_attributes(cli, args, set);

    if (r != 0) {
        vipd_args_free(args);
        return r;
    }
    vipd_put(args, vipd_args_root(args), "set", set);
    return change(cli, "vip.set", args, "changed", cli->args, 1);
}

/* Before several are changed one by one: a name that is none ends it before it has begun. */
static int check_names(struct cli *cli)
{
    int r = 0;

    for (int i = 0; i < cli->n_args && r == 0 && cli->n_args > 1; i++) {
        struct vipd_args *args = vipd_args_new();
        struct vipd_reply *reply;
        put_text(args, vipd_args_root(args), "name", cli->args[i]);
        r = cli_call(cli, "vip.show", args, &reply);
        vipd_args_free(args);
        if (r == 0) {
            vipd_reply_free(reply);
        }
    }
    return r;
}

/* A change that takes one VIP at a time, for each that is named; `show` tells what became of one. In JSON they are one object;
 * where a later one is refused, the refusal is. */
static int each(struct cli *cli, const char *op, const char *done,
                void (*show)(const struct cli *cli, struct vipd_reply *reply, const char *done, const char *const *names,
                             int n))
{
    struct vipd_reply **replies = calloc((size_t)cli->n_args + 1, sizeof *replies);
    int r = replies == NULL ? complain(cli, VIPD_FAILED, NULL, "no memory") : check_names(cli), n = 0;

    for (int i = 0; i < cli->n_args && r == 0; i++) {
        struct vipd_args *args = args_for(cli->args + i, 1);
        put_text(args, vipd_args_root(args), "to", arguments_option(cli, "to"));
        r = cli_call(cli, op, args, &replies[n]);
        vipd_args_free(args);
        n += r == 0;
        if (r == 0 && (!is_json(cli) || cli->n_args == 1)) {
            show(cli, replies[n - 1], done, cli->args + i, 1);
        }
    }
    if (is_json(cli) && r == 0 && n > 1) {
        json_changes(cli, replies, n);
    }
    for (int i = 0; i < n; i++) {
        vipd_reply_free(replies[i]);
    }
    free(replies);
    return r;
}

int run_vip_move(struct cli *cli)
{
    return each(cli, "vip.move", "will be moved", show_change);
}

static void show_announced(const struct cli *cli, struct vipd_reply *reply, const char *done, const char *const *names, int n)
{
    const struct vipd_value *result = vipd_reply_result(reply), *row = vipd_first(vipd_get(result, "vips"));
    bool changed = vipd_bool(vipd_get(result, "changed"), true);

    (void)n;
    if (is_json(cli)) {
        json_object(result, NULL, 0);
        return;
    }
    printf("%s: %s %s\n", names[0], vipd_text(vipd_get(row, "owner"), "?"),
           cli->options.dry_run ? "would announce it" : changed ? done : "is announcing it already");
}

/* Answered when it has been done; so nothing is left to be waited for. */
int run_vip_announce(struct cli *cli)
{
    return each(cli, "vip.announce", "announces it", show_announced);
}

int run_vip_enable(struct cli *cli)
{
    return each(cli, "vip.enable", "enabled", show_change);
}

int run_vip_disable(struct cli *cli)
{
    return each(cli, "vip.disable", "disabled", show_change);
}

/* ------------------------------------------------------------------------------------------------------------ list */

static const char *owner_of(const struct vipd_value *row, char buf[TEXT_SIZE])
{
    const char *owner = vipd_text(vipd_get(row, "owner"), "-"), *from = vipd_text(vipd_get(row, "from"), NULL);

    snprintf(buf, TEXT_SIZE, "%s%s%s", from != NULL ? from : "", from != NULL ? ">" : "", owner);
    return buf;
}

static void list_row(const struct vipd_value *row, struct table_print *table, bool wide, bool why)
{
    const char *state = vipd_text(vipd_get(row, "state"), "?");
    char buf[TEXT_SIZE];

    table_row(table);
    table_cell(table, vipd_text(vipd_get(row, "name"), "?"), COLOUR_NONE);
    table_cell(table, vipd_text(vipd_get(row, "address"), "?"), COLOUR_NONE);
    table_cell(table, vipd_text(vipd_get(row, "dev"), ""), COLOUR_NONE);
    table_cell(table, owner_of(row, buf), COLOUR_NONE);
    table_cell(table, state, text_state_colour(state));
    table_cell(table, text_ago(vipd_int(vipd_get(row, "since_ms"), 0), buf), COLOUR_NONE);
    table_cell(table, vipd_text(vipd_get(row, "reason"), ""), COLOUR_NONE);
    if (wide) {
        table_cell(table, text_join(vipd_get(row, "nodes"), buf), COLOUR_NONE);
        table_cell(table, vipd_text(vipd_get(row, "group"), ""), COLOUR_NONE);
        table_cell(table, text_join(vipd_get(row, "prefer"), buf), COLOUR_NONE);
        table_cell(table, text_join(vipd_get(row, "apart_from"), buf), COLOUR_NONE);
        table_cell(table, vipd_text(vipd_get(row, "pinned"), ""), COLOUR_NONE);
        snprintf(buf, sizeof buf, "%" PRIu64, vipd_uint(vipd_get(row, "moved"), 0));
        table_cell(table, buf, COLOUR_NONE);
    }
    if (why) {
        table_cell(table, vipd_text(vipd_get(row, "why"), ""), COLOUR_NONE);
    }
}

static void list_table(const struct vipd_value *rows, bool wide)
{
    static const char *const columns[] = { "NAME", "ADDRESS", "DEV", "OWNER", "STATE", "SINCE", "REASON" };
    static const char *const more[] = { "NODES", "GROUP", "PREFER", "APART", "PINNED", "MOVED" };
    struct table_print *table = table_open();
    bool why = false;

    for (const struct vipd_value *row = vipd_first(rows); row != NULL; row = vipd_next(row)) {
        why |= vipd_get(row, "why") != NULL;
    }
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        table_column(table, columns[i], i == 5);
    }
    for (size_t i = 0; wide && i < sizeof more / sizeof more[0]; i++) {
        table_column(table, more[i], i == 5);
    }
    if (why) {
        table_column(table, "WHY", false);
    }
    for (const struct vipd_value *row = vipd_first(rows); row != NULL; row = vipd_next(row)) {
        list_row(row, table, wide, why);
    }
    table_close(table);
}

int run_vip_list(struct cli *cli)
{
    static const char *const filters[] = { "node", "state", "group" };
    struct vipd_args *args = vipd_args_new();
    struct vipd_reply *reply;

    for (int i = 0; i < 3; i++) {
        put_text(args, vipd_args_root(args), filters[i], arguments_option(cli, filters[i]));
    }
    int r = cli_list(cli, "vip.list", args, 0, &reply);
    vipd_args_free(args);
    if (r != 0) {
        return r;
    }
    const struct vipd_value *rows = vipd_reply_result(reply);
    if (is_json(cli)) {
        json_rows(cli, rows);
    } else if (vipd_count(rows) == 0) {
        printf("no VIPs%s\n", cli->n_given > 0 ? " of that kind" : "; vipctl vip add ADDRESS/LEN adds one");
    } else {
        list_table(rows, cli->format == FORMAT_WIDE);
    }
    if (vipd_reply_local(reply) && !is_json(cli)) {
        printf("\nno leader: this is what this node knows\n");
    }
    vipd_reply_free(reply);
    return 0;
}

/* ------------------------------------------------------------------------------------------------------------ show */

static void line(const char *name, const char *text)
{
    if (text != NULL && text[0] != '\0') {
        printf("%-12s%s\n", name, text);
    }
}

static void show_foreign(const struct vipd_value *foreign)
{
    int64_t since_ms = vipd_int(vipd_get(foreign, "since_ms"), 0);
    char ago[TEXT_SIZE], text[TEXT_SIZE * 2];

    if (foreign != NULL) {
        snprintf(text, sizeof text, "%.63s, %.63s%s%s", vipd_text(vipd_get(foreign, "mac"), "?"),
                 vipd_text(vipd_get(foreign, "outcome"), "?"), since_ms != 0 ? " " : "",
                 since_ms != 0 ? text_ago(since_ms, ago) : "");
        line("other host", text);
    }
}

/* What became of a hook on this very node. */
static void show_hook_run(const struct vipd_value *run, const char *node)
{
    const char *why = vipd_text(vipd_get(run, "detail"), "");
    char ago[TEXT_SIZE];

    if (run == NULL) {
        printf("\n");
        return;
    }
    text_ago(vipd_int(vipd_get(run, "at_ms"), 0), ago);
    if (vipd_bool(vipd_get(run, "failed"), false)) {
        printf("; on %s %s: failed%s%s\n", node, ago, why[0] != '\0' ? ": " : "", why);
    } else {
        printf("; on %s %s: done in %" PRId64 " ms\n", node, ago, vipd_int(vipd_get(run, "took_ms"), 0));
    }
}

static void show_hooks(const struct vipd_value *hooks, const struct vipd_value *own)
{
    const char *node = vipd_text(vipd_get(own, "node"), "this node");

    for (const struct vipd_value *hook = vipd_first(hooks); hook != NULL; hook = vipd_next(hook)) {
        printf("%s: %s, at most %" PRId64 " ms", vipd_key(hook), vipd_text(vipd_get(hook, "run"), "?"),
               vipd_int(vipd_get(hook, "timeout_ms"), 0));
        show_hook_run(vipd_get(vipd_get(own, "hooks"), vipd_key(hook)), node);
    }
}

static void show(const struct vipd_value *row)
{
    const char *state = vipd_text(vipd_get(row, "state"), "?");
    int64_t since_ms = vipd_int(vipd_get(row, "since_ms"), 0);
    char buf[TEXT_SIZE], ago[TEXT_SIZE], text[TEXT_SIZE * 2 + 8];

    line("name", vipd_text(vipd_get(row, "name"), "?"));
    line("address", vipd_text(vipd_get(row, "address"), "?"));
    line("state", coloured(state, text_state_colour(state), buf, sizeof buf));
    line("why", vipd_text(vipd_get(row, "why"), NULL));
    line("owner", vipd_text(vipd_get(row, "owner"), "-"));
    line("from", vipd_text(vipd_get(row, "from"), NULL));
    line("interface", vipd_text(vipd_get(row, "dev"), NULL));
    snprintf(text, sizeof text, "%s (%s)", text_ago(since_ms, ago), text_time(since_ms, buf));
    line("since", text);
    line("reason", vipd_text(vipd_get(row, "reason"), NULL));
    line("nodes", vipd_get(row, "nodes") == NULL ? "all" : text_join(vipd_get(row, "nodes"), buf));
    line("group", vipd_text(vipd_get(row, "group"), NULL));
    line("prefer", text_join(vipd_get(row, "prefer"), buf));
    line("apart from", text_join(vipd_get(row, "apart_from"), buf));
    line("pinned to", vipd_text(vipd_get(row, "pinned"), NULL));
    line("probe", vipd_bool(vipd_get(row, "probe"), true) ? NULL : "no");
    line("conflict", vipd_text(vipd_get(row, "conflict"), NULL));
    line("connections", vipd_bool(vipd_get(row, "reset_connections"), true) ? NULL : "not reset on a planned move");
    line("failback", vipd_text(vipd_get(row, "failback"), NULL));
    show_foreign(vipd_get(row, "foreign"));
    snprintf(text, sizeof text, "%" PRIu64, vipd_uint(vipd_get(row, "moved"), 0));
    line("moved at", text);
}

static void show_own_hooks(struct cli *cli, const struct vipd_value *row)
{
    const struct vipd_value *hooks = vipd_get(row, "hooks");
    struct vipd_reply *own = NULL;
    struct vipd_args *args;

    if (vipd_first(hooks) == NULL) {
        return;
    }
    args = vipd_args_new();
    put_text(args, vipd_args_root(args), "name", vipd_text(vipd_get(row, "name"), ""));
    int r = cli_call(cli, "hook.own", args, &own);
    vipd_args_free(args);
    printf("\n");
    show_hooks(hooks, r == 0 ? vipd_reply_result(own) : NULL);
    if (r == 0) {
        vipd_reply_free(own);
    }
}

int run_vip_show(struct cli *cli)
{
    struct vipd_args *args = vipd_args_new();
    struct vipd_reply *reply;

    put_text(args, vipd_args_root(args), "name", cli->args[0]);
    int r = cli_call(cli, "vip.show", args, &reply);
    vipd_args_free(args);
    if (r != 0) {
        return r;
    }
    const struct vipd_value *row = vipd_reply_result(reply);
    if (is_json(cli)) {
        json_object(row, NULL, 0);
    } else {
        show(row);
        show_own_hooks(cli, row);
        printf("\n");
        show_history(vipd_get(row, "history"), cli->format == FORMAT_WIDE ? HISTORY_WIDE : HISTORY_OF_ONE);
    }
    vipd_reply_free(reply);
    return 0;
}
