/* Happy path: ask how it stands; when a node is drained, claim its command (an entry of the log, so that it is begun once), run
 * it, report its end; all the while give a sign of life. Failure modes: the daemon of this host goes away, perhaps by the very
 * command (asked again and again; meanwhile the cluster may take this runner for lost, and believes it again when it is
 * back); the answer to a claim is lost (the step runs, and nobody else can have claimed it under this id); the report is
 * lost (sent until it is answered: it is taken once); another runner has taken over (then this one's word counts no more, and
 * it ends); the terminal is gone (the output goes nowhere). */

#include "cli/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vipd/client.h"

#define BEAT_MS 5000u      /* signs of life: core/maintenance.h says when a runner is lost */
#define LOOK_MS 200        /* how it stands */
#define CALL_MS 4000u      /* one request */
#define AWAY_MS 1800000u   /* a daemon that cannot be reached for so long: then the runner ends */
#define KILL_MS 5000u      /* from SIGTERM to SIGKILL */
#define TAIL_SIZE 512      /* of the output, as the cluster keeps it */
#define LINE_SIZE 1024     /* longer lines of output are cut in two */

struct running
{
    const struct runner *runner;
    struct vipd_client *client;
    uint64_t beat_at_ms, heard_at_ms; /* the next sign of life; the last answer */
    bool unsure; /* a claim was not answered */
    char node[128], address[128];
    char line[LINE_SIZE];
    size_t line_len;
    char tail[TAIL_SIZE];
    size_t tail_len;
};

static uint64_t now_ms(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_BOOTTIME, &now) < 0) {
        abort();
    }
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ------------------------------------------------------------------------------------------------------------ asking */

static struct vipd_args *arguments(const struct running *r, bool node)
{
    struct vipd_args *args = vipd_args_new();
    struct vipd_value *root = vipd_args_root(args);

    vipd_put(args, root, "run", vipd_new_int(args, (int64_t)r->runner->run));
    vipd_put(args, root, "runner", vipd_new_int(args, (int64_t)r->runner->id));
    if (node) {
        vipd_put(args, root, "node", vipd_new_text(args, r->node));
    }
    return args;
}

/* NULL: no answer, now. The arguments are freed. */
static struct vipd_reply *ask(struct running *r, const char *op, struct vipd_args *args)
{
    const struct vipd_options options = { .timeout_ms = CALL_MS };
    struct vipd_reply *reply = NULL;
    int error = r->client != NULL ? 0 : vipd_client_open(r->runner->socket, &r->client);

    if (error == 0) {
        error = vipd_call(r->client, op, args, &options, &reply);
    }
    vipd_args_free(args);
    if (error != 0) {
        vipd_client_close(r->client);
        r->client = NULL;
        return NULL;
    }
    if (vipd_reply_code(reply) != VIPD_TIMEOUT && vipd_reply_code(reply) != VIPD_NO_QUORUM) {
        r->heard_at_ms = now_ms();
        return reply;
    }
    vipd_reply_free(reply);
    return NULL;
}

static void beat(struct running *r)
{
    uint64_t now = now_ms();

    if (now >= r->beat_at_ms) {
        r->beat_at_ms = now + BEAT_MS;
        vipd_reply_free(ask(r, "maintenance.beat", arguments(r, false)));
    }
}

/* ------------------------------------------------------------------------------------------------------------ output */

static void put_line(struct running *r)
{
    char text[LINE_SIZE + 160];
    int n = snprintf(text, sizeof text, "%s | %.*s\n", r->node, (int)r->line_len, r->line);
    size_t done = 0;

    while (r->runner->out >= 0 && n > 0 && done < (size_t)n) {
        ssize_t wrote = write(r->runner->out, text + done, (size_t)n - done);
        if (wrote <= 0 && errno != EINTR) {
            break; /* nobody reads it any more */
        }
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    r->line_len = 0;
}

static void take_output(struct running *r, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = bytes[i] == '\0' ? '?' : bytes[i];
        if (r->tail_len == TAIL_SIZE - 1) {
            memmove(r->tail, r->tail + 1, --r->tail_len);
        }
        r->tail[r->tail_len++] = c;
        if (c == '\n' || r->line_len == LINE_SIZE) {
            put_line(r);
        }
        if (c != '\n') {
            r->line[r->line_len++] = c;
        }
    }
}

/* Whether more may come. */
static bool read_output(struct running *r, int fd)
{
    char bytes[4096];

    for (int i = 0; i < 16; i++) { /* a command that floods its output does not keep the runner from its other work */
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            return false;
        }
        if (n < 0) {
            break;
        }
        take_output(r, bytes, (size_t)n);
    }
    return true;
}

/* ----------------------------------------------------------------------------------------------------------- command */

/* A word with {node} and {address} replaced; the caller frees it. */
static char *filled(const struct running *r, const char *word)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);

    if (to == NULL) {
        return NULL;
    }
    while (*word != '\0') {
        if (strncmp(word, "{node}", 6) == 0) {
            fputs(r->node, to);
            word += 6;
        } else if (strncmp(word, "{address}", 9) == 0) {
            fputs(r->address, to);
            word += 9;
        } else {
            fputc(*word++, to);
        }
    }
    return fclose(to) == 0 ? text : NULL;
}

__attribute__((noreturn)) static void become(const struct running *r, int out)
{
    char *words[RUNNER_WORDS_MAX + 1] = { NULL };
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    for (int i = 0; i < r->runner->n_words && i < RUNNER_WORDS_MAX; i++) {
        words[i] = filled(r, r->runner->words[i]);
    }
    setpgid(0, 0);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 || setenv("VIPD_NODE", r->node, 1) != 0 ||
        setenv("VIPD_ADDRESS", r->address, 1) != 0) {
        _exit(126);
    }
    execvp(words[0], words);
    dprintf(2, "cannot run %s: %s\n", words[0], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
}

/* Starts it; the process id, or -errno. */
static pid_t start(const struct running *r, int *ret_fd)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0) {
        return -errno;
    }
    pid_t pid = fork();
    if (pid == 0) {
        become(r, ends[1]);
    }
    int error = errno;
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return -error;
    }
    (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
    *ret_fd = ends[0];
    return pid;
}

/* Waits for its end; what it ended with, as waitpid() tells it. What it left running in the background keeps its output, but is
 * not waited for. */
static int await(struct running *r, pid_t pid, int fd, bool *ret_late)
{
    uint64_t due = r->runner->command_ms != 0 ? now_ms() + r->runner->command_ms : UINT64_MAX;
    bool more = true;
    int status = 0;

    *ret_late = false;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        struct pollfd at = { .fd = more ? fd : -1, .events = POLLIN };
        (void)poll(&at, 1, LOOK_MS / 2);
        more = more && read_output(r, fd);
        if (now_ms() >= due) {
            kill(-pid, *ret_late ? SIGKILL : SIGTERM);
            *ret_late = true;
            due = now_ms() + KILL_MS;
        }
        beat(r);
    }
    if (more) {
        (void)read_output(r, fd);
    }
    if (r->line_len > 0) {
        put_line(r);
    }
    return status;
}

/* The tail as a text of whole characters, without a cut one or an escape at its begin. */
static const char *tail_of(struct running *r)
{
    size_t from = 0;

    r->tail[r->tail_len] = '\0';
    while (r->tail_len == TAIL_SIZE - 1 && from < 4 && ((unsigned char)r->tail[from] & 0xc0) == 0x80) {
        from++;
    }
    while (r->tail_len > from && r->tail[r->tail_len - 1] == '\n') {
        r->tail[--r->tail_len] = '\0';
    }
    return r->tail + from;
}

/* Until it is answered. */
static void report(struct running *r, int status, const char *why)
{
    for (;;) {
        struct vipd_args *args = arguments(r, true);
        struct vipd_value *root = vipd_args_root(args);

        vipd_put(args, root, "status", vipd_new_int(args, status));
        vipd_put(args, root, "why", vipd_new_text(args, why));
        vipd_put(args, root, "tail", vipd_new_text(args, tail_of(r)));
        struct vipd_reply *reply = ask(r, "maintenance.end", args);
        bool answered = reply != NULL;
        vipd_reply_free(reply);
        if (answered || now_ms() - r->heard_at_ms > AWAY_MS) {
            return;
        }
        (void)poll(NULL, 0, LOOK_MS);
    }
}

static void run_command(struct running *r)
{
    char why[160] = "";
    int fd = -1, status = 0;
    bool late = false;

    r->line_len = r->tail_len = 0;
    pid_t pid = start(r, &fd);
    if (pid < 0) {
        snprintf(why, sizeof why, "the command could not be started: %s", strerror(-(int)pid));
        report(r, 126, why);
        return;
    }
    int ended = await(r, pid, fd, &late);
    close(fd);
    status = WIFEXITED(ended) ? WEXITSTATUS(ended) : -WTERMSIG(ended);
    if (late) {
        snprintf(why, sizeof why, "the command did not end in time, and was ended");
        status = status != 0 ? status : -SIGTERM;
    } else if (status != 0) {
        snprintf(why, sizeof why, status > 0 ? "the command ended with %d" : "the command was ended by signal %d",
                 status > 0 ? status : -status);
    }
    report(r, status, why);
}

/* -------------------------------------------------------------------------------------------------------------- turns */

static void take_turn(struct running *r, const struct vipd_value *row)
{
    snprintf(r->node, sizeof r->node, "%s", vipd_text(vipd_get(row, "node"), ""));
    snprintf(r->address, sizeof r->address, "%s", vipd_text(vipd_get(row, "address"), ""));
    if (strcmp(vipd_text(vipd_get(row, "step"), ""), "running") == 0) {
        run_command(r); /* the claim was not answered, but it was taken */
        return;
    }
    struct vipd_reply *reply = ask(r, "maintenance.claim", arguments(r, true));
    r->unsure = reply == NULL;
    if (reply != NULL && vipd_reply_code(reply) == VIPD_DONE) {
        run_command(r);
    }
    vipd_reply_free(reply);
}

/* Whether there may be more to do. */
static bool look(struct running *r)
{
    struct vipd_reply *reply = ask(r, "maintenance.show", NULL);

    if (reply == NULL || vipd_reply_local(reply) || vipd_reply_code(reply) != VIPD_DONE) {
        vipd_reply_free(reply);
        return now_ms() - r->heard_at_ms < AWAY_MS;
    }
    const struct vipd_value *row = vipd_reply_result(reply);
    const char *state = vipd_text(vipd_get(row, "state"), ""), *step = vipd_text(vipd_get(row, "step"), "");
    bool mine = vipd_uint(vipd_get(row, "run"), 0) == r->runner->run && vipd_uint(vipd_get(row, "runner"), 0) == r->runner->id;
    bool lost = vipd_bool(vipd_get(row, "lost"), false) && !vipd_bool(vipd_get(row, "held"), false);
    bool goes_on = mine && (strcmp(state, "running") == 0 || (strcmp(state, "paused") == 0 && lost));
    if (goes_on) {
        r->beat_at_ms = lost ? 0 : r->beat_at_ms;
        beat(r);
    }
    if (goes_on && (strcmp(step, "drained") == 0 || (strcmp(step, "running") == 0 && r->unsure))) {
        take_turn(r, row);
    }
    vipd_reply_free(reply);
    return goes_on;
}

void runner_go(const struct runner *runner)
{
    struct running *r = calloc(1, sizeof *r);

    if (r == NULL) {
        return;
    }
    signal(SIGPIPE, SIG_IGN);
    r->runner = runner;
    r->heard_at_ms = now_ms();
    r->beat_at_ms = now_ms() + BEAT_MS;
    while (look(r)) {
        (void)poll(NULL, 0, LOOK_MS);
    }
    vipd_client_close(r->client);
    free(r);
}
