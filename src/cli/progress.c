#include "cli/progress.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define WIDTH_DEFAULT 80
#define LINE_SIZE 1024
#define BAR 20
#define NODES_SHOWN 64
#define EARLY_MAX 65536

struct progress
{
    bool quiet;    /* the answer is JSON: what is shown on the way goes to standard error */
    bool terminal; /* the block is drawn again and again */
    FILE *to;
    unsigned lines;        /* of the block, as it stands on the screen */
    char line[LINE_SIZE];  /* of output, not complete yet */
    size_t line_len;
    int shown[NODES_SHOWN]; /* plain: how many stages of each node were told */
    char told[128];         /* plain: the last node whose command was told to begin ... */
    char *early;            /* ... and output of a later one, which waits for that */
    size_t early_len;
    bool said_away;
    char state[16];
    unsigned turns;
};

static int64_t wall_ms(void)
{
    struct timespec now;

    return clock_gettime(CLOCK_REALTIME, &now) < 0 ? 0 : (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

const char *progress_time(int64_t ms, char buf[32])
{
    ms = ms < 0 ? 0 : ms; /* clocks of two hosts */
    if (ms < 1000) {
        snprintf(buf, 32, "%" PRId64 "ms", ms);
    } else if (ms < 60000) {
        snprintf(buf, 32, "%" PRId64 ".%" PRId64 "s", ms / 1000, ms % 1000 / 100);
    } else if (ms < 3600000) {
        snprintf(buf, 32, "%" PRId64 "m %02" PRId64 "s", ms / 60000, ms % 60000 / 1000);
    } else {
        snprintf(buf, 32, "%" PRId64 "h %02" PRId64 "m", ms / 3600000, ms % 3600000 / 60000);
    }
    return buf;
}

const char *progress_command(const struct vipd_value *row, char *buf, size_t size)
{
    const struct vipd_value *words = vipd_get(row, "command");
    size_t used = 0;

    buf[0] = '\0';
    for (const struct vipd_value *word = vipd_first(words); word != NULL && used + 1 < size; word = vipd_next(word)) {
        const char *text = vipd_text(word, "");
        bool plain = text[0] != '\0' && text[strcspn(text, " \t\n\"'\\$;&|<>()*?")] == '\0';
        int n = snprintf(buf + used, size - used, plain ? "%s%s" : "%s'%s'", used > 0 ? " " : "", text);
        used += n > 0 ? (size_t)n : 0;
    }
    for (char *c = buf; *c != '\0'; c++) {
        *c = (unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c;
    }
    return buf;
}

static unsigned width_of(void)
{
    struct winsize size = { 0 };

    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40 ? size.ws_col : WIDTH_DEFAULT;
}

static unsigned height_of(void)
{
    struct winsize size = { 0 };

    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row >= 10 ? size.ws_row : 24;
}

/* As many bytes of text as fit into `room` columns, where a character of UTF-8 takes one; at most size - 1. */
static void cut(char *to, size_t size, const char *text, unsigned room)
{
    size_t n = 0;
    unsigned columns = 0;

    for (; text[n] != '\0' && n + 1 < size; n++) {
        bool begins = ((unsigned char)text[n] & 0xc0) != 0x80;
        if (begins && columns == room) {
            break;
        }
        columns += begins;
        to[n] = (unsigned char)text[n] < 0x20 || text[n] == 0x7f ? ' ' : text[n];
    }
    to[n] = '\0';
}

/* ----------------------------------------------------------------------------------------------------------- the block */

static enum colour colour_of(const char *state)
{
    static const struct
    {
        const char *state;
        enum colour colour;
    } of[] = { { "done", COLOUR_GOOD }, { "failed", COLOUR_BAD }, { "waiting", COLOUR_FAINT }, { "skipped", COLOUR_FAINT } };

    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        if (strcmp(of[i].state, state) == 0) {
            return of[i].colour;
        }
    }
    return COLOUR_WARN;
}

/* What a person calls it. */
static const char *name_of(const char *state)
{
    return strcmp(state, "running") == 0 ? "command" : strcmp(state, "drained") == 0 ? "drained" : state;
}

static void add_took(const struct vipd_value *node, const char *key, const char *what, char *buf, size_t size)
{
    const struct vipd_value *took = vipd_get(node, key);
    size_t used = strlen(buf);
    char time[32];

    if (took != NULL) {
        snprintf(buf + used, size - used, "%s%s %s", used > 0 ? ", " : "", what, progress_time(vipd_int(took, 0), time));
    }
}

/* "drain 350ms, command 4.2s, healthy 3.0s", and since when what is under way is. */
static void stages_of(const struct vipd_value *row, const struct vipd_value *node, char *buf, size_t size)
{
    const char *state = vipd_text(vipd_get(node, "state"), "");
    bool current = strcmp(vipd_text(vipd_get(row, "node"), ""), vipd_text(vipd_get(node, "name"), "")) == 0;
    char time[32];

    buf[0] = '\0';
    add_took(node, "drain_ms", "drain", buf, size);
    add_took(node, "command_ms", "command", buf, size);
    add_took(node, "return_ms", strcmp(state, "failed") == 0 ? "waited" : "healthy", buf, size);
    size_t used = strlen(buf);
    if (current && strcmp(state, "failed") != 0) {
        snprintf(buf + used, size - used, "%s%s for %s", used > 0 ? ", " : "",
                 strcmp(state, "returning") == 0 ? "waited" : name_of(state),
                 progress_time(wall_ms() - vipd_int(vipd_get(node, "since_ms"), 0), time));
    }
    used = strlen(buf);
    if (strcmp(state, "done") == 0 && vipd_bool(vipd_get(node, "was_drained"), false)) {
        snprintf(buf + used, size - used, "; stays drained, as before");
    }
}

static unsigned name_width(const struct vipd_value *row)
{
    unsigned width = 4;

    for (const struct vipd_value *node = vipd_first(vipd_get(row, "nodes")); node != NULL; node = vipd_next(node)) {
        size_t len = strlen(vipd_text(vipd_get(node, "name"), "?"));
        width = len > width ? (unsigned)(len < 24 ? len : 24) : width;
    }
    return width;
}

static void put_node(FILE *to, const struct vipd_value *row, const struct vipd_value *node, unsigned turn)
{
    static const char *const spin[] = { "|", "/", "-", "\\" };
    const char *state = vipd_text(vipd_get(node, "state"), "?"), *name = vipd_text(vipd_get(node, "name"), "?");
    bool current = strcmp(vipd_text(vipd_get(row, "node"), ""), name) == 0;
    bool moves = current && strcmp(vipd_text(vipd_get(row, "state"), ""), "running") == 0;
    unsigned width = width_of(), names = name_width(row);
    char stages[LINE_SIZE], shown[LINE_SIZE], word[32], colour[64];

    const char *mark = strcmp(state, "done") == 0     ? "*"
                       : strcmp(state, "failed") == 0 ? "!"
                       : moves                        ? (turn > 0 ? spin[turn % 4] : ">")
                       : current                      ? ">"
                                                      : " ";
    stages_of(row, node, stages, sizeof stages);
    cut(shown, sizeof shown, stages, width > names + 20 ? width - names - 20 : 0);
    snprintf(word, sizeof word, "%-10s", name_of(state));
    fprintf(to, "  %s %-*.24s  %s  %s\n", mark, (int)names, name, coloured(word, colour_of(state), colour, sizeof colour), shown);
}

static void count(const struct vipd_value *row, unsigned *ret_over, unsigned *ret_all)
{
    *ret_over = *ret_all = 0;
    for (const struct vipd_value *node = vipd_first(vipd_get(row, "nodes")); node != NULL; node = vipd_next(node)) {
        const char *state = vipd_text(vipd_get(node, "state"), "");
        *ret_over += strcmp(state, "done") == 0 || strcmp(state, "skipped") == 0;
        ++*ret_all;
    }
}

static void put_head(FILE *to, const struct vipd_value *row)
{
    const char *state = vipd_text(vipd_get(row, "state"), "?");
    int64_t end_ms = vipd_int(vipd_get(row, "ended_ms"), wall_ms());
    char bar[BAR + 1], time[32], text[LINE_SIZE], shown[LINE_SIZE];
    unsigned over, all;

    count(row, &over, &all);
    memset(bar, '.', BAR);
    memset(bar, '#', all > 0 ? BAR * over / all : 0);
    bar[BAR] = '\0';
    fprintf(to, "maintenance %s  [%s]  %u of %u nodes  %s\n", strcmp(state, "running") == 0 ? "is running" : state, bar, over, all,
            progress_time(end_ms - vipd_int(vipd_get(row, "begun_ms"), 0), time));
    cut(shown, sizeof shown, progress_command(row, text, sizeof text), width_of() > 4 ? width_of() - 3 : 1);
    fprintf(to, "  %s\n", shown);
}

/* The lines that fit on the screen, around the node whose turn it is; how many there are. */
static unsigned put_block(FILE *to, const struct vipd_value *row, unsigned turn, unsigned room)
{
    const struct vipd_value *nodes = vipd_get(row, "nodes");
    const char *current = vipd_text(vipd_get(row, "node"), "");
    unsigned over, all, at = 0, lines = 2, first, i = 0;
    char text[LINE_SIZE], shown[LINE_SIZE];

    count(row, &over, &all);
    for (const struct vipd_value *node = vipd_first(nodes); node != NULL; node = vipd_next(node), i++) {
        at = strcmp(vipd_text(vipd_get(node, "name"), ""), current) == 0 ? i : at;
    }
    at = current[0] != '\0' ? at : over;
    first = all <= room || at < room / 2 ? 0 : at - room / 2 < all - room ? at - room / 2 : all - room;
    put_head(to, row);
    i = 0;
    for (const struct vipd_value *node = vipd_first(nodes); node != NULL; node = vipd_next(node), i++) {
        if (i >= first && i < first + room) {
            put_node(to, row, node, turn);
            lines++;
        }
    }
    if (all > room) {
        fprintf(to, "    (%u of %u nodes shown)\n", room, all);
        lines++;
    }
    const char *waits = vipd_text(vipd_get(row, "waits"), NULL);
    if (waits != NULL) {
        snprintf(text, sizeof text, "%s is waited for: %s", current, waits);
        cut(shown, sizeof shown, text, width_of() - 5);
        fprintf(to, "    %s\n", shown);
        lines++;
    }
    return lines;
}

void progress_print(const struct vipd_value *row)
{
    (void)put_block(stdout, row, 0, NODES_SHOWN);
}

static void erase(struct progress *p)
{
    if (p->lines > 0) {
        fprintf(p->to, "\033[%uA\r\033[J", p->lines);
        p->lines = 0;
    }
}

/* ------------------------------------------------------------------------------------------------------- plain lines */

static void say(struct progress *p, const char *node, const char *what)
{
    time_t now = (time_t)(wall_ms() / 1000);
    struct tm tm;
    char clock[16] = "";

    if (localtime_r(&now, &tm) != NULL) {
        (void)strftime(clock, sizeof clock, "%T", &tm);
    }
    fprintf(p->to, "%s  %s: %s\n", clock, node, what);
}

/* Output that came before it was told that its command begins. */
static void put_early(struct progress *p)
{
    if (p->early_len > 0) {
        fwrite(p->early, 1, p->early_len, p->to);
    }
    free(p->early);
    p->early = NULL;
    p->early_len = 0;
}

/* "node | text"; false: it is printed at once. */
static bool keep_early(struct progress *p, const char *line)
{
    size_t len = strlen(line), told = strlen(p->told);
    bool of_told = told > 0 && strncmp(line, p->told, told) == 0 && strncmp(line + told, " | ", 3) == 0;
    char *more = of_told || p->early_len + len > EARLY_MAX ? NULL : realloc(p->early, p->early_len + len + 1);

    if (more == NULL) {
        put_early(p);
        return false;
    }
    p->early = more;
    memcpy(p->early + p->early_len, line, len);
    p->early[p->early_len + len] = '\n';
    p->early_len += len + 1;
    return true;
}

static void say_took(struct progress *p, const struct vipd_value *node, const char *key, const char *what)
{
    char text[160], time[32];

    snprintf(text, sizeof text, "%s (%s)", what, progress_time(vipd_int(vipd_get(node, key), 0), time));
    say(p, vipd_text(vipd_get(node, "name"), "?"), text);
}

/* How far it is, in stages that are told; a failure is told once, and what comes after it anew. */
static int stage_of(const char *state)
{
    static const char *const stages[] = { "waiting", "draining", "drained", "running", "returning", "done" };

    for (int i = 0; i < 6; i++) {
        if (strcmp(stages[i], state) == 0) {
            return i;
        }
    }
    return strcmp(state, "failed") == 0 ? 6 : 7;
}

static void tell_node(struct progress *p, const struct vipd_value *row, const struct vipd_value *node, int *shown)
{
    const char *state = vipd_text(vipd_get(node, "state"), ""), *name = vipd_text(vipd_get(node, "name"), "?");
    const char *why = vipd_text(vipd_get(row, "why"), "?");
    int now = stage_of(state), upto = now;
    char text[256];

    if (now == 6) { /* as far as it had come */
        upto = vipd_get(node, "return_ms") != NULL ? 4 : vipd_get(node, "command_ms") != NULL ? 3 : 1;
    }
    *shown = *shown >= 6 || (now < *shown && now < 5) ? (now > 0 ? now - 1 : 0) : *shown;
    for (int stage = *shown + 1; stage <= upto && stage <= 5; stage++) {
        if (stage == 1) {
            say(p, name, "draining");
        } else if (stage == 2) {
            say_took(p, node, "drain_ms", "drained");
        } else if (stage == 3) {
            say(p, name, "command begins");
            snprintf(p->told, sizeof p->told, "%s", name);
            put_early(p);
        } else if (stage == 4) {
            say_took(p, node, "command_ms", "command ended; waiting until it is healthy");
        } else {
            say_took(p, node, "return_ms", vipd_bool(vipd_get(node, "was_drained"), false) ? "healthy; it stays drained, as before"
                                                                                         : "healthy, and in service again");
        }
    }
    if (now == 6 && *shown < 6) {
        snprintf(text, sizeof text, "FAILED: %.200s", why);
        say(p, name, text);
    } else if (now == 7 && *shown < 7 && *shown > 0) {
        say(p, name, "skipped");
    }
    *shown = now;
}

static void tell(struct progress *p, const struct vipd_value *row)
{
    const char *state = vipd_text(vipd_get(row, "state"), "");
    int i = 0;

    for (const struct vipd_value *node = vipd_first(vipd_get(row, "nodes")); node != NULL && i < NODES_SHOWN; node = vipd_next(node)) {
        tell_node(p, row, node, &p->shown[i++]);
    }
    if (strcmp(state, p->state) != 0 && (strcmp(state, "paused") == 0 || strcmp(p->state, "paused") == 0)) {
        say(p, "maintenance", strcmp(state, "paused") == 0 ? "paused" : "goes on");
    }
    snprintf(p->state, sizeof p->state, "%s", state);
}

/* ----------------------------------------------------------------------------------------------------------- the face */

struct progress *progress_open(const struct cli *cli)
{
    struct progress *p = calloc(1, sizeof *p);

    if (p == NULL) {
        fputs("vipctl: out of memory\n", stderr);
        exit(VIPD_FAILED);
    }
    p->quiet = is_json(cli);
    p->terminal = !p->quiet && isatty(STDOUT_FILENO);
    p->to = p->quiet ? stderr : stdout;
    snprintf(p->state, sizeof p->state, "running");
    return p;
}

void progress_output(struct progress *p, const char *bytes, size_t len)
{
    char clean[LINE_SIZE];

    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != '\n' && p->line_len + 1 < sizeof p->line) {
            p->line[p->line_len++] = bytes[i];
            continue;
        }
        p->line[p->line_len] = '\0';
        p->line_len = 0;
        erase(p);
        cut(clean, sizeof clean, p->line, p->terminal ? width_of() - 1 : LINE_SIZE);
        if (p->terminal || !keep_early(p, clean)) {
            fprintf(p->to, "%s\n", clean);
        }
    }
    fflush(p->to);
}

void progress_show(struct progress *p, const struct vipd_value *row)
{
    p->turns++;
    if (row == NULL) {
        if (!p->said_away && !p->terminal) {
            say(p, "maintenance", "the daemon here does not answer now; asking again");
            p->said_away = true;
        }
    } else if (p->terminal) {
        erase(p);
        p->lines = put_block(p->to, row, p->turns, height_of() - 6);
    } else {
        p->said_away = false;
        tell(p, row);
    }
    fflush(p->to);
}

void progress_close(struct progress *p)
{
    put_early(p);
    fflush(p->to);
    free(p);
}

static void put_tail(const struct vipd_value *row)
{
    const char *tail = vipd_text(vipd_get(row, "tail"), NULL);
    char line[LINE_SIZE], colour[LINE_SIZE + 16];

    if (tail == NULL) {
        return;
    }
    printf("the end of its output:\n");
    while (*tail != '\0') {
        size_t n = strcspn(tail, "\n");
        snprintf(line, sizeof line, "%.*s", (int)(n < LINE_SIZE - 1 ? n : LINE_SIZE - 1), tail);
        char shown[LINE_SIZE];
        cut(shown, sizeof shown, line, width_of() - 3);
        printf("  %s\n", coloured(shown, COLOUR_FAINT, colour, sizeof colour));
        tail += n + (tail[n] == '\n');
    }
}

static void tell_stopped(const struct vipd_value *row)
{
    const char *node = vipd_text(vipd_get(row, "node"), NULL), *why = vipd_text(vipd_get(row, "why"), "?");
    const struct vipd_value *at = vipd_first(vipd_get(row, "nodes"));
    char colour[TEXT_SIZE + 32], text[TEXT_SIZE];

    while (node != NULL && at != NULL && strcmp(vipd_text(vipd_get(at, "name"), ""), node) != 0) {
        at = vipd_next(at);
    }
    snprintf(text, sizeof text, node != NULL ? "stopped at %s: %s" : "stopped: %s%s", node != NULL ? node : why,
             node != NULL ? why : "");
    printf("%s\n", coloured(text, COLOUR_BAD, colour, sizeof colour));
    if (node == NULL) {
        printf("when that is mended: vipctl maintenance resume; or vipctl maintenance abort\n");
        return;
    }
    bool returned = vipd_get(at, "return_ms") != NULL, ran = vipd_get(at, "command_ms") != NULL;
    if (ran && !returned) {
        put_tail(row);
    }
    printf("%s stays drained; no other node is touched. When it is mended:\n", node);
    printf("  vipctl maintenance resume            %s\n", returned ? "waits for it again, then goes on"
                                                          : ran ? "runs the command there again, then goes on"
                                                                : "drains it again, then goes on");
    if (ran) {
        printf("  vipctl maintenance resume %-11s%s\n", returned ? "--retry" : "--done",
               returned ? "runs the command there again" : "takes the command as done");
    }
    printf("  vipctl maintenance abort             ends it; then vipctl undrain %s\n", node);
}

static void tell_paused(const struct vipd_value *row)
{
    const char *node = vipd_text(vipd_get(row, "node"), NULL), *step = vipd_text(vipd_get(row, "step"), "");
    bool lost = vipd_bool(vipd_get(row, "lost"), false), running = strcmp(step, "running") == 0;

    if (lost && running) {
        printf("paused: the vipctl that ran the command on %s is gone\n"
               "whether the command has ended is not known; %s stays drained. Look there, then\n"
               "  vipctl maintenance resume --retry    runs the command there again, then goes on\n"
               "  vipctl maintenance resume --done     takes the command as done, then goes on\n"
               "  vipctl maintenance abort             ends it; then vipctl undrain %s\n",
               node, node, node);
        return;
    }
    if (lost) {
        printf("paused: the vipctl that ran the commands is gone; none was running.\n");
    } else if (running) {
        printf("paused: the command on %s is not stopped\nwhen it ends well, %s comes back into service\n", node, node);
    } else if (node != NULL) {
        printf("paused: %s is %s.\n", node, step);
    } else {
        printf("paused between two nodes.\n");
    }
    printf("go on: vipctl maintenance resume; end it: vipctl maintenance abort\n");
}

static void tell_aborted(const struct vipd_value *row)
{
    printf("aborted\n");
    for (const struct vipd_value *node = vipd_first(vipd_get(row, "nodes")); node != NULL; node = vipd_next(node)) {
        if (vipd_bool(vipd_get(node, "left_drained"), false)) {
            const char *name = vipd_text(vipd_get(node, "name"), "?");
            printf("%s stays drained, as its command was begun: vipctl undrain %s\n", name, name);
        }
    }
}

void progress_verdict(const struct vipd_value *row)
{
    const char *state = vipd_text(vipd_get(row, "state"), "none");
    unsigned over, all;
    char time[32];

    count(row, &over, &all);
    if (strcmp(state, "done") == 0) {
        printf("done: %u %s in %s\n", all, all == 1 ? "node" : "nodes",
               progress_time(vipd_int(vipd_get(row, "ended_ms"), 0) - vipd_int(vipd_get(row, "begun_ms"), 0), time));
    } else if (strcmp(state, "stopped") == 0) {
        tell_stopped(row);
    } else if (strcmp(state, "paused") == 0) {
        tell_paused(row);
    } else if (strcmp(state, "aborted") == 0) {
        tell_aborted(row);
    }
}
