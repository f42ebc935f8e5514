/* Values as people read them. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"

static int64_t wall_ms(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_REALTIME, &now) < 0) {
        return 0;
    }
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

const char *text_ago(int64_t ms, char buf[TEXT_SIZE])
{
    static const struct
    {
        int64_t below_s, unit_s;
        char letter;
    } steps[] = { { 120, 1, 's' }, { 7200, 60, 'm' }, { 172800, 3600, 'h' }, { INT64_MAX, 86400, 'd' } };
    int64_t age_s = (wall_ms() - ms) / 1000;
    size_t i = 0;

    if (ms <= 0) {
        snprintf(buf, TEXT_SIZE, "-");
        return buf;
    }
    if (age_s <= 0) { /* also when the clocks of two hosts differ a little */
        snprintf(buf, TEXT_SIZE, "now");
        return buf;
    }
    while (age_s >= steps[i].below_s) {
        i++;
    }
    snprintf(buf, TEXT_SIZE, "%" PRId64 "%c ago", age_s / steps[i].unit_s, steps[i].letter);
    return buf;
}

const char *text_time(int64_t ms, char buf[TEXT_SIZE])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;

    if (localtime_r(&seconds, &tm) == NULL || strftime(buf, TEXT_SIZE, "%F %T", &tm) == 0) {
        snprintf(buf, TEXT_SIZE, "-");
    }
    return buf;
}

const char *text_clean(const char *text, char *buf, size_t size)
{
    size_t n = 0;

    for (; text[n] != '\0' && n + 1 < size; n++) {
        unsigned char c = (unsigned char)text[n];
        buf[n] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    buf[n] = '\0';
    return buf;
}

void text_wrap(FILE *to, const char *text, unsigned width, unsigned indent)
{
    size_t at = 0;

    while (strlen(text + at) > width - indent) {
        size_t n = width - indent, back = n;
        while (back > 0 && text[at + back] != ' ') {
            back--;
        }
        n = back > 0 ? back : n;
        fprintf(to, "%.*s\n%*s", (int)n, text + at, (int)indent, "");
        at += n + (text[at + n] == ' ');
    }
    fprintf(to, "%s\n", text + at);
}

const char *text_join(const struct vipd_value *list, char buf[TEXT_SIZE])
{
    size_t n = 0;

    buf[0] = '\0';
    for (const struct vipd_value *item = vipd_first(list); item != NULL && n < TEXT_SIZE; item = vipd_next(item)) {
        const char *comma = n > 0 ? "," : "";
        int more = vipd_type(list) == VIPD_MAP
                       ? snprintf(buf + n, TEXT_SIZE - n, "%s%s=%" PRIu64, comma, vipd_key(item), vipd_uint(item, 0))
                       : snprintf(buf + n, TEXT_SIZE - n, "%s%s", comma, vipd_text(item, "?"));
        n += more > 0 ? (size_t)more : 0;
    }
    if (n >= TEXT_SIZE) {
        strcpy(buf + TEXT_SIZE - 4, "...");
    }
    return buf;
}

enum colour text_state_colour(const char *state)
{
    static const struct
    {
        const char *state;
        enum colour colour;
    } of[] = {
        { "held", COLOUR_GOOD },     { "up", COLOUR_GOOD },       { "moving", COLOUR_WARN }, { "draining", COLOUR_WARN },
        { "drained", COLOUR_WARN },  { "unheld", COLOUR_BAD },    { "fenced", COLOUR_BAD },  { "down", COLOUR_BAD },
        { "disabled", COLOUR_FAINT },
    };

    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        if (strcmp(of[i].state, state) == 0) {
            return of[i].colour;
        }
    }
    return COLOUR_NONE;
}

/* What may stand behind a time (ISO 8601): nothing, which is this host's time zone; Z; +HH:MM, +HHMM, +HH. false: something else. */
static bool zone_of(const char *text, bool *ret_given, int *ret_east_s)
{
    unsigned hours = 0, minutes = 0;
    int n = 0;

    *ret_given = *text != '\0';
    *ret_east_s = 0;
    if (*text == '\0' || strcmp(text, "Z") == 0) {
        return true;
    }
    bool fits = (sscanf(text + 1, "%2u:%2u%n", &hours, &minutes, &n) == 2 && n == 5) ||
                (sscanf(text + 1, "%2u%2u%n", &hours, &minutes, &n) == 2 && n == 4) ||
                (sscanf(text + 1, "%2u%n", &hours, &n) == 1 && n == 2);
    if ((*text != '+' && *text != '-') || !fits || text[1 + n] != '\0' || hours > 14 || minutes > 59) {
        return false;
    }
    *ret_east_s = (int)(hours * 3600 + minutes * 60) * (*text == '-' ? -1 : 1);
    return true;
}

/* A date, or a date and a time; seconds may have a fraction, which is cut. */
static bool date_of(const char *text, int64_t *ret_ms)
{
    static const char *const formats[] = { "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M",
                                           "%Y-%m-%d" };

    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        struct tm tm = { .tm_isdst = -1 };
        const char *rest = strptime(text, formats[i], &tm);
        bool given;
        int east_s;
        if (rest != NULL && *rest == '.' && i < 2) {
            rest += 1 + strspn(rest + 1, "0123456789");
        }
        if (rest != NULL && zone_of(rest, &given, &east_s)) {
            *ret_ms = (int64_t)(given ? timegm(&tm) - east_s : mktime(&tm)) * 1000;
            return true;
        }
    }
    return false;
}

bool text_since(const char *text, int64_t *ret_ms)
{
    uint64_t ago_ms;
    char *end;

    if (text[0] == '@') {
        long long seconds = strtoll(text + 1, &end, 10);
        if (text[1] == '\0' || *end != '\0' || seconds < 0 || seconds > INT64_MAX / 1000) {
            return false;
        }
        *ret_ms = seconds * 1000;
        return true;
    }
    if (arguments_duration(text, UINT64_C(100) * 365 * 86400 * 1000, &ago_ms)) {
        *ret_ms = wall_ms() - (int64_t)ago_ms;
        return true;
    }
    if (strcmp(text, "now") == 0) {
        *ret_ms = wall_ms();
        return true;
    }
    return date_of(text, ret_ms);
}
