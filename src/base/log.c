/* Happy path: log_write() looks the message up in the catalogue, formats its fields, and hands one line to standard
 * error, or one entry to the journal when systemd connected standard error to it.
 *
 * Failure modes: a storm of one message is cut by the throttle and reported as a count; fields that do not fit are cut
 * and marked; bytes from strangers that could forge a line or steer a terminal are replaced; a journal that does not
 * take an entry gets the line on standard error instead; a failing standard error is ignored, since there is nobody
 * left to tell. A reader that does not empty the pipe behind standard error stalls the caller: the lease's end does
 * not depend on it (the kernel fence).
 *
 * May be called from any thread. */

#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION /* the location would always be this file */
#include <systemd/sd-journal.h>

#include "base/throttle.h"

#define LINES_MAX 20       /* of one message ... */
#define WINDOW_MS 10000    /* ... in this time */
#define FIELDS_SIZE 1024   /* formatted fields of one message */
#define FIELDS_MAX 24      /* fields of one journal entry */
#define NODE_MAX 64        /* with the NUL */
#define NAME_TEXT_MAX 32   /* a message's id as text, with the NUL */
#define LINE_SIZE (FIELDS_SIZE + 512)
#define ENTRY_SIZE (FIELDS_SIZE + FIELDS_MAX * sizeof("VIPD_"))
#define CUT " ..."

struct message
{
    const char *id;
    enum log_level level;
    const char *text;
    const char *advice;
};

static const struct message CATALOGUE[LOG_IDS_N] = {
#define X(id, level, text, advice) [LOG_##id] = {#id, level, text, advice},
#include "base/log_catalogue.h"
#undef X
};

static struct
{
    pthread_mutex_t lock;
    enum log_level level;
    bool journal;
    bool colour;
    char node[NODE_MAX];
    struct throttle throttles[LOG_IDS_N];
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .level = LOG_NOTE};

static int64_t monotonic_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* systemd.exec(5): JOURNAL_STREAM holds device and inode of the stream; a redirected standard error differs. */
static bool is_connected_to_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat stat;
    int end = 0;

    if (stream == NULL || sscanf(stream, "%llu:%llu%n", &device, &inode, &end) != 2 || stream[end] != '\0') {
        return false;
    }
    return fstat(STDERR_FILENO, &stat) == 0 && stat.st_dev == (dev_t)device && stat.st_ino == (ino_t)inode;
}

static bool wants_colour(void)
{
    const char *term = getenv("TERM");
    const char *refused = getenv("NO_COLOR");

    return isatty(STDERR_FILENO) == 1 && term != NULL && strcmp(term, "dumb") != 0 &&
           (refused == NULL || refused[0] == '\0');
}

void log_init(const char *node, enum log_level level)
{
    pthread_mutex_lock(&state.lock);
    state.level = level;
    state.journal = is_connected_to_journal();
    state.colour = wants_colour();
    snprintf(state.node, sizeof(state.node), "%s", node);
    pthread_mutex_unlock(&state.lock);
}

static const char *level_text(enum log_level level)
{
    switch (level) {
    case LOG_ERROR:
        return "error";
    case LOG_WARN:
        return "warn";
    case LOG_NOTE:
        return "note";
    case LOG_INFO:
        return "info";
    case LOG_TRACE:
        return "trace";
    }
    return "none";
}

static const char *level_colour(enum log_level level)
{
    return level == LOG_ERROR ? "\033[1;31m" : level == LOG_WARN ? "\033[33m" : level == LOG_NOTE ? "" : "\033[2m";
}

/* LEASE_LOST -> lease-lost */
static void message_name(enum log_id id, char ret[NAME_TEXT_MAX])
{
    size_t i = 0;

    for (const char *c = CATALOGUE[id].id; *c != '\0' && i < NAME_TEXT_MAX - 1; c++) {
        ret[i++] = *c == '_' ? '-' : (char)tolower((unsigned char)*c);
    }
    ret[i] = '\0';
}

/* A peer's bytes may be in a field: a newline would forge a line, an escape steer the terminal. */
static void clean(char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if (c < ' ' || c == 0x7f) {
            *text = '?';
        }
    }
}

/* "sentence (fields) [advice]" */
static void format_sentence(const struct message *message, const char *fields, char *ret, size_t size)
{
    bool has_fields = fields[0] != '\0', has_advice = message->advice[0] != '\0';

    snprintf(ret, size, "%s%s%s%s%s%s%s", message->text, has_fields ? " (" : "", fields, has_fields ? ")" : "",
        has_advice ? " [" : "", message->advice, has_advice ? "]" : "");
}

/* A full line in one write, so that the lines of two threads or processes do not mix. */
static void write_line(const struct message *message, const char *name, const char *sentence)
{
    char line[LINE_SIZE];
    struct timespec now;
    struct tm day;
    int n;

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &day);
    n = snprintf(line, sizeof(line) - 1, "%02d:%02d:%02d.%03ld %s%s%s %s: %s", day.tm_hour, day.tm_min, day.tm_sec,
        now.tv_nsec / 1000000, state.colour ? level_colour(message->level) : "", level_text(message->level),
        state.colour ? "\033[0m" : "", name, sentence);
    if (n < 0) {
        return;
    }
    size_t len = (size_t)n < sizeof(line) - 1 ? (size_t)n : sizeof(line) - 2;
    line[len++] = '\n';
    for (size_t at = 0; at < len;) {
        ssize_t done = write(STDERR_FILENO, line + at, len - at);

        if (done > 0) {
            at += (size_t)done;
        } else if (done == 0 || errno != EINTR) {
            return;
        }
    }
}

/* The next "key=value" of *fields as "VIPD_KEY=value" in buf, the value without its quotes; its length, or 0 at the
 * end or where the rest is not a field. Words without '=' are skipped: the sentence shows them. */
static size_t next_field(const char **fields, char *buf, size_t size)
{
    const char *c = *fields;
    size_t n = 0;

    for (;;) {
        c += strspn(c, " ");
        if (*c == '\0') {
            return 0;
        }
        size_t word = strcspn(c, " =");
        if (word > 0 && c[word] == '=') {
            break;
        }
        c += word + (c[word] == '=');
    }
    for (const char *p = "VIPD_"; *p != '\0' && n < size; p++) {
        buf[n++] = *p;
    }
    for (; *c != '=' && n < size; c++) {
        buf[n++] = isalnum((unsigned char)*c) ? (char)toupper((unsigned char)*c) : '_';
    }
    if (n < size) {
        buf[n++] = *c++;
    }
    char end = *c == '"' ? *c++ : ' ';
    for (; *c != '\0' && *c != end && n < size; c++) {
        buf[n++] = *c;
    }
    *fields = *c != '\0' ? c + 1 : c;
    return n;
}

#define OWN_FIELDS 6

static bool write_journal(const struct message *message, const char *name, const char *sentence, const char *fields)
{
    char text[LINE_SIZE], priority[32], id[64], node[NODE_MAX + 16], advice[256], entry[ENTRY_SIZE];
    const char *own[OWN_FIELDS] = {text, priority, id, "SYSLOG_IDENTIFIER=vipd", node, advice};
    struct iovec iov[OWN_FIELDS + FIELDS_MAX];
    size_t used = 0, len;
    int n = OWN_FIELDS;

    snprintf(text, sizeof(text), "MESSAGE=%s", sentence);
    snprintf(priority, sizeof(priority), "PRIORITY=%d", (int)message->level);
    snprintf(id, sizeof(id), "VIPD_MSG_ID=%s", name);
    snprintf(node, sizeof(node), "VIPD_SELF=%s", state.node);
    snprintf(advice, sizeof(advice), "VIPD_ADVICE=%s", message->advice);
    for (int i = 0; i < OWN_FIELDS; i++) {
        iov[i] = (struct iovec){.iov_base = (void *)(uintptr_t)own[i], .iov_len = strlen(own[i])};
    }
    while (n < OWN_FIELDS + FIELDS_MAX && (len = next_field(&fields, entry + used, sizeof(entry) - used)) > 0) {
        iov[n++] = (struct iovec){.iov_base = entry + used, .iov_len = len};
        used += len;
    }
    return sd_journal_sendv(iov, n) >= 0;
}

static void emit(enum log_id id, const char *fields)
{
    const struct message *message = &CATALOGUE[id];
    char name[NAME_TEXT_MAX], sentence[LINE_SIZE - 64];

    message_name(id, name);
    format_sentence(message, fields, sentence, sizeof(sentence));
    if (!state.journal || !write_journal(message, name, sentence, fields)) {
        write_line(message, name, sentence);
    }
}

/* One line for every message whose window has ended with something suppressed, whichever is being written now: a storm
 * that has stopped is reported too. */
static void report_suppressed(int64_t now_ms)
{
    for (int id = 0; id < LOG_IDS_N; id++) {
        uint32_t more = throttle_end(&state.throttles[id], now_ms, WINDOW_MS);
        char fields[64];

        if (more > 0) {
            snprintf(fields, sizeof(fields), "suppressed=%u window_ms=%d", more, WINDOW_MS);
            emit((enum log_id)id, fields);
        }
    }
}

void log_write(enum log_id id, const char *fields, ...)
{
    char text[FIELDS_SIZE];
    int64_t now_ms;
    va_list args;

    if ((unsigned)id >= LOG_IDS_N) {
        abort(); /* a bug: the catalogue is closed */
    }
    pthread_mutex_lock(&state.lock);
    now_ms = monotonic_ms();
    report_suppressed(now_ms);
    if (CATALOGUE[id].level <= state.level &&
        throttle_pass(&state.throttles[id], now_ms, LINES_MAX, WINDOW_MS)) {
        va_start(args, fields);
        int n = vsnprintf(text, sizeof(text), fields, args);
        va_end(args);
        if (n < 0) {
            text[0] = '\0';
        } else if ((size_t)n >= sizeof(text)) {
            memcpy(text + sizeof(text) - sizeof(CUT), CUT, sizeof(CUT));
        }
        clean(text);
        emit(id, text);
    }
    pthread_mutex_unlock(&state.lock);
}
