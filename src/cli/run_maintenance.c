/* vipctl maintenance run, status, pause, resume, abort */

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/maintenance.h"
#include "cli/progress.h"

#define LOOK_MS 250
#define DAY_MS 86400000u
#define SETTLE_MS 3000u
#define DRAIN_MS 60000u
#define RETURN_MS 600000u

static void put_text(struct vipd_args *args, const char *key, const char *text)
{
    if (text != NULL) {
        vipd_put(args, vipd_args_root(args), key, vipd_new_text(args, text));
    }
}

static void put_int(struct vipd_args *args, const char *key, uint64_t n)
{
    vipd_put(args, vipd_args_root(args), key, vipd_new_int(args, (int64_t)n));
}

/* ------------------------------------------------------------------------------------------------------------- options */

static int time_option(const struct cli *cli, const char *name, uint64_t otherwise, uint64_t *ret)
{
    const char *text = arguments_option(cli, name);

    *ret = otherwise;
    if (text != NULL && !arguments_duration(text, DAY_MS, ret)) {
        return complain(cli, VIPD_USAGE, "for example 10s, 500ms or 15m; at most 1d", "\"%s\" is no time for --%s", text, name);
    }
    return 0;
}

static bool random_id(uint64_t *ret)
{
    uint64_t id = 0;
    bool read = getrandom(&id, sizeof id, 0) == (ssize_t)sizeof id;

    *ret = (id & INT64_MAX) | 1;
    return read;
}

/* ----------------------------------------------------------------------------------------------------------------- run */

static bool agreed(const struct cli *cli, const char *question)
{
    char answer[16] = "";

    if (arguments_option(cli, "yes") != NULL || is_json(cli) || !isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        return true;
    }
    printf("%s [y/N] ", question);
    fflush(stdout);
    return fgets(answer, sizeof answer, stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y');
}

static void say_dry_run(const struct cli *cli)
{
    printf(is_json(cli) ? "{\"changed\": false, \"dry_run\": true}\n" : CLI_DRY_RUN);
}

static int begin(struct cli *cli, struct runner *runner)
{
    struct vipd_args *args = vipd_args_new();
    struct vipd_value *words = vipd_new_array(args);
    const struct vipd_options given = cli->options;
    uint64_t settle_ms, drain_ms, return_ms;
    struct vipd_reply *reply;

    int r = time_option(cli, "settle", SETTLE_MS, &settle_ms);
    r = r != 0 ? r : time_option(cli, "drain-timeout", DRAIN_MS, &drain_ms);
    r = r != 0 ? r : time_option(cli, "return-timeout", RETURN_MS, &return_ms);
    for (int i = 0; i < runner->n_words; i++) {
        vipd_push(args, words, vipd_new_text(args, runner->words[i]));
    }
    maintenance_nodes(cli, args);
    vipd_put(args, vipd_args_root(args), "command", words);
    put_int(args, "runner", runner->id);
    vipd_put(args, vipd_args_root(args), "restart", vipd_new_bool(args, arguments_option(cli, "restart") != NULL));
    if (r == 0) {
        put_int(args, "settle_ms", settle_ms);
        put_int(args, "drain_ms", drain_ms);
        put_int(args, "return_ms", return_ms);
        cli->options.wait = false;
        cli->options.timeout_ms = 0;
        r = cli_call(cli, "maintenance.begin", args, &reply);
        cli->options = given;
    }
    vipd_args_free(args);
    if (r == 0) {
        r = maintenance_go_on(cli, vipd_get(vipd_reply_result(reply), "maintenance"), runner);
        vipd_reply_free(reply);
    }
    return r;
}

static int runner_of(const struct cli *cli, struct runner *ret)
{
    int r = time_option(cli, "command-timeout", 0, &ret->command_ms);

    if (r != 0) {
        return r;
    }
    ret->socket = cli->socket;
    ret->words = cli->args;
    ret->n_words = cli->n_args;
    ret->out = -1;
    if (cli->n_args > RUNNER_WORDS_MAX) {
        return complain(cli, VIPD_USAGE, "put it into a script", "the command has more than %d words", RUNNER_WORDS_MAX);
    }
    return random_id(&ret->id) ? 0 : complain(cli, VIPD_FAILED, NULL, "no random numbers: %s", strerror(errno));
}

int run_maintenance_run(struct cli *cli)
{
    struct runner runner = { 0 };
    uint64_t ms;
    int r = runner_of(cli, &runner);

    r = r != 0 ? r : time_option(cli, "settle", 0, &ms);
    r = r != 0 ? r : time_option(cli, "drain-timeout", 0, &ms);
    r = r != 0 ? r : time_option(cli, "return-timeout", 0, &ms);
    r = r != 0 ? r : maintenance_plan(cli);
    if (r != 0 || cli->options.dry_run) {
        return r;
    }
    if (!agreed(cli, "Begin?")) {
        printf("nothing was begun\n");
        return VIPD_FAILED;
    }
    return begin(cli, &runner);
}

/* --------------------------------------------------------------------------------------------------------------- resume */

/* The words of COMMAND as the cluster has them. */
static const char **kept_words(const struct vipd_value *row, int *ret_n)
{
    const struct vipd_value *words = vipd_get(row, "command");
    const char **list = calloc(vipd_count(words) + 1, sizeof list[0]);

    *ret_n = 0;
    for (const struct vipd_value *word = vipd_first(words); word != NULL && list != NULL; word = vipd_next(word)) {
        list[(*ret_n)++] = vipd_text(word, "");
    }
    return list;
}

/* Another user's command would be run with this one's rights. */
static int judge_command(const struct cli *cli, const struct vipd_value *row, const char *const *kept, int n)
{
    const char *who = vipd_text(vipd_get(row, "who"), "");
    unsigned uid = UINT32_MAX;
    char text[512];

    if (cli->n_args > 0) {
        bool same = cli->n_args == n;
        for (int i = 0; same && i < n; i++) {
            same = strcmp(cli->args[i], kept[i]) == 0;
        }
        return same ? 0
                    : complain(cli, VIPD_USAGE, "to run another one, abort this maintenance and begin a new one",
                               "the command of this maintenance is another one: %s", progress_command(row, text, sizeof text));
    }
    if (sscanf(who, "uid %u ", &uid) == 1 && uid == (unsigned)geteuid()) {
        return 0;
    }
    if (cli->options.force) {
        return 0;
    }
    return complain(cli, VIPD_UNSAFE, "if that is what you want to run, repeat it: vipctl maintenance resume -- COMMAND",
                    "it was begun by %s, with the command: %s", who, progress_command(row, text, sizeof text));
}

static int resume(struct cli *cli, const struct vipd_value *shown, struct runner *runner)
{
    const struct vipd_options given = cli->options;
    struct vipd_args *args = vipd_args_new();
    struct vipd_reply *reply;

    put_int(args, "run", vipd_uint(vipd_get(shown, "run"), 0));
    put_int(args, "runner", runner->id);
    put_text(args, "again", arguments_option(cli, "retry") != NULL  ? "retry"
                            : arguments_option(cli, "done") != NULL ? "done"
                                                                    : NULL);
    cli->options.wait = false;
    cli->options.timeout_ms = 0;
    int r = cli_call(cli, "maintenance.resume", args, &reply);
    cli->options = given;
    vipd_args_free(args);
    if (r != 0) {
        return r;
    }
    if (cli->options.dry_run) {
        say_dry_run(cli);
    } else {
        r = maintenance_go_on(cli, vipd_get(vipd_reply_result(reply), "maintenance"), runner);
    }
    vipd_reply_free(reply);
    return r;
}

int run_maintenance_resume(struct cli *cli)
{
    struct runner runner = { 0 };
    struct vipd_reply *reply;
    int r = runner_of(cli, &runner);

    if (r == 0 && arguments_option(cli, "retry") != NULL && arguments_option(cli, "done") != NULL) {
        return complain(cli, VIPD_USAGE, NULL, "--retry and --done exclude each other");
    }
    r = r != 0 ? r : cli_call(cli, "maintenance.show", NULL, &reply);
    if (r != 0) {
        return r;
    }
    const struct vipd_value *row = vipd_reply_result(reply);
    const char *state = vipd_text(vipd_get(row, "state"), "none");
    const char **words = kept_words(row, &runner.n_words);
    if (strcmp(state, "none") == 0 || strcmp(state, "done") == 0 || strcmp(state, "aborted") == 0) {
        r = complain(cli, VIPD_NOT_FOUND, "vipctl maintenance run --help", "no maintenance is under way");
    } else {
        r = judge_command(cli, row, words, runner.n_words);
    }
    if (r == 0) {
        runner.words = words;
        r = resume(cli, row, &runner);
    }
    free(words);
    vipd_reply_free(reply);
    return r;
}

/* ------------------------------------------------------------------------------------------------------- the other words */

static int change(struct cli *cli, const char *op)
{
    struct vipd_reply *reply;
    int r = cli_call(cli, op, NULL, &reply);

    if (r != 0) {
        return r;
    }
    const struct vipd_value *row = vipd_get(vipd_reply_result(reply), "maintenance");
    if (cli->options.dry_run) {
        say_dry_run(cli);
    } else if (is_json(cli)) {
        json_object(vipd_reply_result(reply), "wait", vipd_reply_index(reply));
    } else if (row != NULL) {
        progress_verdict(row);
    } else {
        printf("done\n");
    }
    vipd_reply_free(reply);
    return 0;
}

int run_maintenance_pause(struct cli *cli)
{
    return change(cli, "maintenance.pause");
}

int run_maintenance_abort(struct cli *cli)
{
    return change(cli, "maintenance.abort");
}

static int status_once(struct cli *cli, struct progress *progress, bool *ret_over)
{
    struct vipd_reply *reply;
    int r = cli_call(cli, "maintenance.show", NULL, &reply);

    if (r != 0) {
        return r;
    }
    const struct vipd_value *row = vipd_reply_result(reply);
    const char *state = vipd_text(vipd_get(row, "state"), "none");
    *ret_over = strcmp(state, "running") != 0;
    if (is_json(cli)) {
        json_object(row, "runner", 0);
    } else if (strcmp(state, "none") == 0) {
        printf("there was no maintenance yet\n");
    } else if (progress != NULL) {
        progress_show(progress, row);
    } else {
        progress_print(row);
        printf("  begun by %s\n", vipd_text(vipd_get(row, "who"), "?"));
    }
    if (!is_json(cli) && *ret_over && strcmp(state, "none") != 0) {
        progress_verdict(row);
    }
    vipd_reply_free(reply);
    return 0;
}

int run_maintenance_status(struct cli *cli)
{
    struct progress *progress = arguments_option(cli, "watch") != NULL && !is_json(cli) ? progress_open(cli) : NULL;
    bool over = true;
    int r = status_once(cli, progress, &over);

    while (r == 0 && !over && arguments_option(cli, "watch") != NULL) {
        fflush(stdout);
        (void)poll(NULL, 0, is_json(cli) ? 1000 : LOOK_MS);
        r = status_once(cli, progress, &over);
    }
    if (progress != NULL) {
        progress_close(progress);
    }
    return r;
}
