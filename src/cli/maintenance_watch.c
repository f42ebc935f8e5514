/* Watching a rolling maintenance from here, with a runner of its own unless another one has a command at work.
 *
 * Two processes: the runner (runner.c), in a session of its own and without the terminal, runs the commands; this one shows how it goes
 * on, and may end at any time: by Ctrl-C, which asks the cluster for a pause, by a death of whatever kind, which asks for nothing. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/maintenance.h"
#include "cli/progress.h"

#define LOOK_MS 250

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
        signal(SIGTERM, SIG_DFL);
        signal(SIGINT, SIG_DFL);
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

/* It would find out by itself, if the daemon is there still when it looks. None of its commands is at work in these states. */
static void end_runner(const struct watch *w, const struct vipd_value *row)
{
    const char *state = vipd_text(vipd_get(row, "state"), "");

    if (w->runner > 0 && (strcmp(state, "done") == 0 || strcmp(state, "stopped") == 0)) {
        kill(w->runner, SIGTERM);
    }
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

    vipd_put(args, vipd_args_root(args), "run", vipd_new_int(args, (int64_t)w->run));
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
            end_runner(w, row);
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

int maintenance_go_on(struct cli *cli, const struct vipd_value *row, struct runner *runner)
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
