/* vipctl maintenance run, status, pause, resume, abort
 *
 * `run` and `resume` make two processes of themselves: the runner (runner.c), in a session of its own, runs the commands; this one
 * shows how it goes on, and may end at any time. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/runner.h"

#define LOOK_MS 250
#define DAY_MS 86400000u
#define SETTLE_MS 3000u
#define DRAIN_MS 60000u
#define RETURN_MS 600000u
#define PLAN_NAMED 4 /* VIPs of a node that the plan names; of more it tells how many go where */

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

static uint64_t now_ms(void)
{
    struct timespec now;

    return clock_gettime(CLOCK_BOOTTIME, &now) < 0 ? 0 : (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

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

/* --nodes a,b; may be given several times. */
static void put_nodes(const struct cli *cli, struct vipd_args *args)
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

/* ---------------------------------------------------------------------------------------------------------------- plan */

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

/* The plan, shown; 0, or an exit code after the complaint. */
static int plan(struct cli *cli)
{
    struct vipd_args *args = vipd_args_new();
    struct vipd_reply *reply;

    put_nodes(cli, args);
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
    }
    if (unsafe != NULL && !cli->options.force) {
        r = complain(cli, VIPD_UNSAFE, "mend that first, or leave nodes out with --nodes; --force does it nevertheless", "%s",
                     unsafe);
    }
    vipd_reply_free(reply);
    return r;
}

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

/* -------------------------------------------------------------------------------------------------------------- runner */

static bool random_id(uint64_t *ret)
{
    uint64_t id = 0;
    bool read = getrandom(&id, sizeof id, 0) == (ssize_t)sizeof id;

    *ret = (id & INT64_MAX) | 1;
    return read;
}

/* The runner, in a session of its own and without the terminal; its process id, or -errno. */
static pid_t start_runner(const struct runner *runner, int *ret_output)
{
    struct runner own = *runner;
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0) {
        return -errno;
    }
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        own.out = ends[1];
        close(ends[0]);
        signal(SIGHUP, SIG_IGN);
        if (setsid() < 0 || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0) {
            _exit(1);
        }
        runner_go(&own);
        _exit(0);
    }
    int error = errno;
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return -error;
    }
    (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
    *ret_output = ends[0];
    return pid;
}

/* -------------------------------------------------------------------------------------------------------------- watching */

struct watch
{
    struct cli *cli;
    struct progress *progress;
    uint64_t run;    /* which maintenance */
    pid_t runner;    /* 0: it is another vipctl's */
    int output;      /* of its commands, or -1 */
    uint64_t due_ms; /* --timeout */
};

/* What goes on until it is over: the row, with the reply that it lives in. NULL: no answer now. */
static struct vipd_reply *fetch(struct watch *w)
{
    const struct vipd_options options = { .timeout_ms = 3000 };
    struct vipd_reply *reply = NULL;

    if (w->cli->client == NULL && vipd_client_open(w->cli->socket, &w->cli->client) < 0) {
        return NULL;
    }
    if (vipd_call(w->cli->client, "maintenance.show", NULL, &options, &reply) < 0) {
        vipd_client_close(w->cli->client);
        w->cli->client = NULL;
        return NULL;
    }
    if (vipd_reply_code(reply) != VIPD_DONE || vipd_reply_local(reply)) {
        vipd_reply_free(reply);
        return NULL;
    }
    return reply;
}

static void relay(struct watch *w)
{
    char bytes[4096];

    while (w->output >= 0) {
        ssize_t n = read(w->output, bytes, sizeof bytes);
        if (n > 0) {
            progress_output(w->progress, bytes, (size_t)n);
        } else if (n == 0) {
            close(w->output);
            w->output = -1;
        } else if (errno != EINTR) {
            return;
        }
    }
}

/* Its own runner is there still: a cluster that takes it for lost will hear of it. */
static bool has_runner(struct watch *w)
{
    if (w->runner > 0 && waitpid(w->runner, NULL, WNOHANG) != 0) {
        w->runner = 0;
    }
    return w->runner > 0;
}

static bool is_over(struct watch *w, const struct vipd_value *row)
{
    const char *state = vipd_text(vipd_get(row, "state"), "");

    if (vipd_uint(vipd_get(row, "run"), 0) != w->run || strcmp(state, "done") == 0 || strcmp(state, "stopped") == 0 ||
        strcmp(state, "aborted") == 0) {
        return true;
    }
    return strcmp(state, "paused") == 0 && (vipd_bool(vipd_get(row, "held"), false) || !has_runner(w));
}

static int exit_of(const struct watch *w, const struct vipd_value *row)
{
    return vipd_uint(vipd_get(row, "run"), 0) == w->run && strcmp(vipd_text(vipd_get(row, "state"), ""), "done") == 0
               ? VIPD_DONE
               : VIPD_FAILED;
}

static int pause_it(struct watch *w)
{
    struct vipd_args *args = vipd_args_new();
    struct vipd_reply *reply;

    put_int(args, "run", w->run);
    w->cli->options = (struct vipd_options){ 0 };
    int r = cli_call(w->cli, "maintenance.pause", args, &reply);
    vipd_args_free(args);
    if (r == 0) {
        const struct vipd_value *row = vipd_get(vipd_reply_result(reply), "maintenance");
        if (!is_json(w->cli)) {
            progress_show(w->progress, row);
            progress_verdict(row);
        } else {
            json_object(row, "runner", 0);
        }
        vipd_reply_free(reply);
    }
    return r != 0 ? r : VIPD_FAILED;
}

static void on_signals(void)
{
    struct sigaction action = { .sa_handler = on_signal };

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static int watch(struct watch *w)
{
    for (;;) {
        struct pollfd at = { .fd = w->output, .events = POLLIN };
        struct vipd_reply *reply = fetch(w);
        const struct vipd_value *row = reply != NULL ? vipd_reply_result(reply) : NULL;

        relay(w);
        progress_show(w->progress, row);
        if (row != NULL && is_over(w, row)) {
            int r = exit_of(w, row);
            if (is_json(w->cli)) {
                json_object(row, "runner", 0);
            } else {
                progress_verdict(row);
            }
            vipd_reply_free(reply);
            return r;
        }
        vipd_reply_free(reply);
        if (interrupted) {
            return pause_it(w);
        }
        if (now_ms() >= w->due_ms) {
            return complain(w->cli, VIPD_TIMEOUT, "vipctl maintenance status --watch shows it, vipctl maintenance pause stops it",
                            "not over in time; the maintenance goes on");
        }
        (void)poll(&at, 1, LOOK_MS);
    }
}

/* Starts a runner unless another one has a command at work, and watches. */
static int go_on(struct cli *cli, const struct vipd_value *row, struct runner *runner)
{
    bool own = vipd_uint(vipd_get(row, "runner"), 0) == runner->id;
    struct watch w = { .cli = cli, .output = -1, .run = vipd_uint(vipd_get(row, "run"), 0) };

    runner->run = w.run;
    w.due_ms = cli->options.timeout_ms != 0 ? now_ms() + cli->options.timeout_ms : UINT64_MAX;
    on_signals();
    w.runner = own ? start_runner(runner, &w.output) : 0;
    if (w.runner < 0) {
        return complain(cli, VIPD_FAILED, "vipctl maintenance resume tries it again", "the commands cannot be run: %s",
                        strerror((int)-w.runner));
    }
    if (arguments_option(cli, "detach") != NULL) {
        if (is_json(cli)) {
            json_object(row, "runner", 0);
        } else {
            printf("it goes on in the background; vipctl maintenance status --watch shows it\n");
        }
        return 0;
    }
    w.progress = progress_open(cli);
    int r = watch(&w);
    relay(&w);
    progress_close(w.progress);
    return r;
}

/* ----------------------------------------------------------------------------------------------------------------- run */

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
    put_nodes(cli, args);
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
        r = go_on(cli, vipd_get(vipd_reply_result(reply), "maintenance"), runner);
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
    r = r != 0 ? r : plan(cli);
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
        printf(is_json(cli) ? "{\"changed\": false, \"dry_run\": true}\n" : "nothing stands against it; nothing was changed (--dry-run)\n");
    } else {
        r = go_on(cli, vipd_get(vipd_reply_result(reply), "maintenance"), runner);
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
        printf(is_json(cli) ? "{\"changed\": false, \"dry_run\": true}\n" : "nothing stands against it; nothing was changed (--dry-run)\n");
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
