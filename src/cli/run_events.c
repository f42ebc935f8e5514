/* vipctl events: what happened, a sentence a line, and with --follow what happens.
 *
 * Following asks again and again from the place behind the last event; the daemon answers when there is one. A daemon that is
 * away is waited for, and the events of that time are told when it is back: other nodes brought them about, and this one
 * learned of them. What the cluster itself has forgotten by then is told as a number. */

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/progress.h"

#define NEWEST 20     /* events, when nothing else is said */
#define PAGE_MAX 1000 /* that following begins with */
#define ALONE_TOLD 4  /* answers without a majority until it is told; without news one takes two seconds */
#define AWAY_MS 200   /* from one look for a daemon that is away to the next */

/* --------------------------------------------------------------------------------------------------------- sentences */

/* Kinds whose sentence is their subject between two texts. */
static const struct
{
    const char *kind, *before, *after;
    enum colour colour;
} plain[] = {
    { "found", "cluster ", " was founded", COLOUR_NONE },
    { "vip-add", "VIP ", " was added", COLOUR_NONE },
    { "vip-set", "VIP ", " was changed", COLOUR_NONE },
    { "fence", "node ", " was fenced: its VIPs go to others", COLOUR_BAD },
    { "clear", "node ", "'s right to hold VIPs has certainly ended", COLOUR_NONE },
    { "admit", "node ", " may hold VIPs", COLOUR_GOOD },
    { "drain", "node ", " is drained", COLOUR_WARN },
    { "undrain", "node ", " is no longer drained", COLOUR_NONE },
    { "leave", "node ", " shuts down", COLOUR_WARN },
    { "return", "node ", " is back", COLOUR_NONE },
    { "links", "node ", "'s interfaces have changed", COLOUR_NONE },
    { "settings", "the settings of ", " were changed", COLOUR_NONE },
    { "apply", "document ", " was applied", COLOUR_NONE },
    { "node-add", "node ", " was added", COLOUR_NONE },
    { "node-set", "node ", "'s address or role was changed", COLOUR_NONE },
    { "node-remove", "node ", " is being removed", COLOUR_WARN },
    { "node-gone", "node ", " was removed", COLOUR_NONE },
    { "voter", "node ", " votes", COLOUR_NONE },
    { "no-voter", "node ", " votes no more", COLOUR_NONE },
    { "recover", "the cluster was recovered as ", " alone", COLOUR_BAD },
    { "check-set", "check ", " was made or changed", COLOUR_NONE },
    { "check-delete", "check ", " was deleted", COLOUR_NONE },
    { "maintenance", "maintenance begins; its command is ", "", COLOUR_NONE },
    { "maintenance-drained", "node ", " is drained for its maintenance", COLOUR_WARN },
    { "maintenance-command", "node ", " has run its command", COLOUR_NONE },
    { "maintenance-node", "node ", " is in service again", COLOUR_GOOD },
    { "maintenance-failed", "the maintenance of node ", " failed", COLOUR_BAD },
    { "maintenance-pause", "the maintenance with ", " pauses", COLOUR_WARN },
    { "maintenance-resume", "the maintenance with ", " goes on", COLOUR_NONE },
    { "maintenance-abort", "the maintenance with ", " was aborted", COLOUR_WARN },
    { "maintenance-end", "the maintenance with ", " is over", COLOUR_GOOD },
    { "format", "the cluster uses format ", " from here on", COLOUR_NONE },
};

static enum colour say_plain(const char *kind, const char *subject, char buf[TEXT_SIZE])
{
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        if (strcmp(plain[i].kind, kind) == 0) {
            snprintf(buf, TEXT_SIZE, "%s%s%s", plain[i].before, subject, plain[i].after);
            return plain[i].colour;
        }
    }
    snprintf(buf, TEXT_SIZE, "%s %s", kind, subject);
    return COLOUR_NONE;
}

static enum colour say_move(const struct vipd_value *row, const char *subject, char buf[TEXT_SIZE])
{
    const char *from = vipd_text(vipd_get(row, "from"), NULL), *to = vipd_text(vipd_get(row, "to"), NULL);
    const char *reason = vipd_text(vipd_get(row, "reason"), "?");

    if (to == NULL) {
        snprintf(buf, TEXT_SIZE, "VIP %s is taken from %s: %s", subject, from != NULL ? from : "nobody", reason);
    } else if (from == NULL) {
        snprintf(buf, TEXT_SIZE, "VIP %s goes to %s: %s", subject, to, reason);
    } else {
        snprintf(buf, TEXT_SIZE, "VIP %s goes from %s to %s: %s", subject, from, to, reason);
    }
    return strcmp(reason, "crash") == 0 || strcmp(reason, "health") == 0 ? COLOUR_WARN : COLOUR_NONE;
}

static enum colour say_conflict(const struct vipd_value *row, const char *kind, const char *subject, char buf[TEXT_SIZE])
{
    const char *mac = vipd_text(vipd_get(row, "mac"), "?"), *node = vipd_text(vipd_get(row, "node"), "?");
    const char *what = strcmp(kind, "conflict-taken") == 0      ? "has it; it is not taken by"
                       : strcmp(kind, "conflict-defended") == 0 ? "announces it; it is defended by"
                       : strcmp(kind, "conflict-yielded") == 0  ? "announces it; it was given up by"
                                                                : "is silent; good for";

    snprintf(buf, TEXT_SIZE, "VIP %s: host %s %s %s", subject, mac, what, node);
    return strcmp(kind, "conflict-end") == 0 ? COLOUR_NONE : COLOUR_BAD;
}

/* One sentence without its end. */
static enum colour say(const struct vipd_value *row, char buf[TEXT_SIZE])
{
    const char *kind = vipd_text(vipd_get(row, "kind"), "?"), *subject = vipd_text(vipd_get(row, "subject"), "?");
    const char *node = vipd_text(vipd_get(row, "node"), "?"), *from = vipd_text(vipd_get(row, "from"), NULL);

    if (strcmp(kind, "move") == 0) {
        return say_move(row, subject, buf);
    }
    if (strcmp(kind, "vip-delete") == 0) {
        snprintf(buf, TEXT_SIZE, "VIP %s was deleted%s%s", subject, from != NULL ? "; it was on " : "",
                 from != NULL ? from : "");
        return COLOUR_NONE;
    }
    if (strcmp(kind, "vip-set") == 0 && vipd_count(vipd_get(row, "changed")) > 0) {
        char changed[TEXT_SIZE];
        text_join(vipd_get(row, "changed"), changed);
        const char *was = vipd_text(vipd_get(row, "was"), NULL);
        snprintf(buf, TEXT_SIZE, "VIP %s%s%.63s: %.150s%s", subject, was != NULL ? ", which was " : "", was != NULL ? was : "",
                 changed, strstr(changed, "abled") == NULL ? " changed" : "");
        return COLOUR_NONE;
    }
    if (strcmp(kind, "check-fails") == 0 || strcmp(kind, "check-passes") == 0) {
        bool fails = strcmp(kind, "check-fails") == 0;
        snprintf(buf, TEXT_SIZE, "check %s %s on %s", subject, fails ? "fails" : "passes", node);
        return fails ? COLOUR_BAD : COLOUR_GOOD;
    }
    return strncmp(kind, "conflict-", 9) == 0 ? say_conflict(row, kind, subject, buf) : say_plain(kind, subject, buf);
}

/* ------------------------------------------------------------------------------------------------------------ lines */

/* What the lines before say already. */
struct lines
{
    char day[16];
};

static void show_event(struct lines *lines, const struct vipd_value *row)
{
    int64_t at_ms = vipd_int(vipd_get(row, "at_ms"), 0);
    const char *who = vipd_text(vipd_get(row, "who"), NULL);
    char text[TEXT_SIZE], clean[TEXT_SIZE], time[TEXT_SIZE], colour[TEXT_SIZE * 2], took[32];
    enum colour of = say(row, text);

    text_time(at_ms, time);
    if (strncmp(lines->day, time, 10) != 0) {
        snprintf(lines->day, sizeof lines->day, "%.10s", time);
        printf("%s\n", coloured(lines->day, COLOUR_FAINT, colour, sizeof colour));
    }
    printf("%.8s.%03d  %s", strlen(time) > 11 ? time + 11 : "-", (int)(at_ms % 1000),
           coloured(text_clean(text, clean, sizeof clean), of, colour, sizeof colour));
    if (vipd_get(row, "took_ms") != NULL) {
        printf(" (%s)", progress_time(vipd_int(vipd_get(row, "took_ms"), 0), took));
    }
    if (who != NULL) {
        printf(", by %s", text_clean(who, clean, sizeof clean));
    }
    printf("\n");
}

static void show_events(const struct cli *cli, struct lines *lines, const struct vipd_value *rows)
{
    for (const struct vipd_value *row = vipd_first(rows); row != NULL; row = vipd_next(row)) {
        if (is_json(cli)) {
            json_value(stdout, row);
            putchar('\n');
        } else {
            show_event(lines, row);
        }
    }
}

static void show_missed(const struct cli *cli, uint64_t missed)
{
    if (missed > 0 && is_json(cli)) {
        printf("{\"kind\": \"missed\", \"count\": %" PRIu64 "}\n", missed);
    } else if (missed > 0) {
        char colour[128], text[96];
        snprintf(text, sizeof text, "%" PRIu64 " events are missing here: they came and went too fast", missed);
        printf("%s\n", coloured(text, COLOUR_WARN, colour, sizeof colour));
    }
}

/* -------------------------------------------------------------------------------------------------------- following */

struct following
{
    struct cli *cli;
    struct vipd_position position;
    struct lines lines;
    bool away;   /* the daemon; and it was said */
    bool alone;  /* no majority supports its node; likewise */
    int n_alone; /* answers in a row that say so: a node that starts has none for a moment */
};

/* The daemon is away, which is told once; or, with false, it is back. */
static void note_away(struct following *f, bool away)
{
    if (away != f->away) {
        fflush(stdout);
        fputs(away ? "vipctl: the daemon is away; waiting for it\n" : "vipctl: the daemon is back\n", stderr);
    }
    f->away = away;
}

static void note_alone(struct following *f, bool alone)
{
    f->n_alone = alone ? f->n_alone + 1 : 0;
    alone = alone && (f->alone || f->n_alone >= ALONE_TOLD);
    if (alone != f->alone) {
        fflush(stdout);
        fputs(alone ? "vipctl: no majority supports this node: what happens elsewhere is not known here\n"
                    : "vipctl: a majority supports this node again\n",
              stderr);
    }
    f->alone = alone;
}

static bool is_away(int r)
{
    return r == -ENOENT || r == -ECONNREFUSED || r == -ECONNRESET || r == -EPIPE || r == -EAGAIN;
}

/* One answer. 0: go on. */
static int follow_once(struct following *f, const struct vipd_args *args, uint32_t newest)
{
    struct vipd_reply *reply;
    bool begun = f->position.begun;
    int r = cli_events(f->cli, args, &f->position, newest, &reply);

    if (r == 0 && vipd_reply_code(reply) == VIPD_DONE) {
        const struct vipd_value *result = vipd_reply_result(reply);
        note_away(f, false);
        show_missed(f->cli, vipd_uint(vipd_get(result, "missed"), 0));
        show_events(f->cli, &f->lines, vipd_get(result, "rows"));
        fflush(stdout);
        note_alone(f, !vipd_bool(vipd_get(result, "quorum"), true));
        vipd_reply_free(reply);
        return 0;
    }
    bool away = begun && (r < 0 ? is_away(r) : vipd_reply_code(reply) == VIPD_TIMEOUT);
    if (away) {
        note_away(f, true);
        if (r == 0) {
            vipd_reply_free(reply);
        }
        (void)poll(NULL, 0, AWAY_MS);
        return 0;
    }
    return cli_failed(f->cli, r, r == 0 ? reply : NULL);
}

static int follow(struct cli *cli, const struct vipd_args *args, uint32_t newest)
{
    struct following f = { .cli = cli };
    int r = 0;

    while (r == 0 && !ferror(stdout)) {
        r = follow_once(&f, args, newest);
    }
    return r != 0 ? r : VIPD_FAILED;
}

int run_events(struct cli *cli)
{
    struct vipd_args *args = vipd_args_new();
    struct vipd_reply *reply;
    uint32_t newest = NEWEST;
    bool follows = arguments_option(cli, "follow") != NULL;
    int r = history_limit(cli, &newest);

    r = r != 0 ? r : history_args(cli, args);
    if (r == 0 && follows && arguments_option(cli, "since") != NULL && arguments_option(cli, "limit") == NULL) {
        newest = PAGE_MAX;
    }
    if (r == 0 && follows && newest > PAGE_MAX) {
        r = complain(cli, VIPD_USAGE, "vipctl events without --follow shows more",
                     "following begins with %d events at most", PAGE_MAX);
    }
    if (r == 0 && follows) {
        r = follow(cli, args, newest);
    } else if (r == 0) {
        r = cli_list(cli, "history", args, newest, &reply);
        if (r == 0) {
            struct lines lines = { .day = "" };
            if (is_json(cli)) {
                json_rows(cli, vipd_reply_result(reply));
            } else if (vipd_count(vipd_reply_result(reply)) == 0) {
                printf("nothing of that kind happened\n");
            } else {
                show_events(cli, &lines, vipd_reply_result(reply));
            }
            vipd_reply_free(reply);
        }
    }
    vipd_args_free(args);
    return r;
}
