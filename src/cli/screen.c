/* A terminal that shows one picture after another: composed in memory, folded to the terminal's width, cut to its height, and
 * written over the last one in one piece, so that nothing flickers. It is the terminal's second screen; whatever ends the
 * program gives the first one back. Where standard output is no terminal the pictures follow each other. */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"

#define ENTER "\033[?1049h\033[?25l"
#define LEAVE "\033[?25h\033[?1049l"

static bool is_open; /* of this process's terminal: a signal's handler has no argument of its own */

struct screen
{
    bool terminal;
    FILE *real, *memory;
    char *text;
    size_t size;
};

static void give_back(void)
{
    if (is_open) {
        is_open = false;
        ssize_t n = write(STDOUT_FILENO, LEAVE, sizeof LEAVE - 1);
        (void)n; /* there is nobody left to tell */
    }
}

static void on_end(int number)
{
    give_back();
    signal(number, SIG_DFL);
    raise(number);
}

static void on_resize(int number)
{
    (void)number; /* the pause is over, and the picture is drawn anew */
}

static void handle(int number, void (*handler)(int))
{
    struct sigaction action = { .sa_handler = handler };

    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

struct screen *screen_open(void)
{
    struct screen *screen = calloc(1, sizeof *screen);

    if (screen == NULL) {
        return NULL;
    }
    screen->terminal = isatty(STDOUT_FILENO);
    if (screen->terminal) {
        static const int ending[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };
        fflush(stdout);
        is_open = true;
        for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++) {
            handle(ending[i], on_end);
        }
        handle(SIGWINCH, on_resize);
        ssize_t n = write(STDOUT_FILENO, ENTER, sizeof ENTER - 1);
        (void)n;
    }
    return screen;
}

void screen_close(struct screen *screen)
{
    if (screen != NULL) {
        give_back();
        free(screen);
    }
}

void screen_begin(struct screen *screen)
{
    FILE *memory = screen->terminal ? open_memstream(&screen->text, &screen->size) : NULL;

    if (memory != NULL) {
        screen->memory = memory;
        screen->real = stdout;
        stdout = memory; /* glibc: it is a variable; the tables' library writes there, too */
    }
}

/* The bytes of one character of the picture at `at`, and how many columns it takes. */
static size_t step(const char *at, unsigned *ret_columns)
{
    size_t n = 1;

    if (*at == '\033') {
        n = strcspn(at, "m");
        *ret_columns = 0;
        return n + (at[n] != '\0');
    }
    while (((unsigned char)at[n] & 0xc0) == 0x80) {
        n++;
    }
    *ret_columns = 1;
    return n;
}

/* One line of the terminal: the bytes of `at` that fit; *ret_next is where the next one begins. */
static size_t line_of(const char *at, unsigned width, const char **ret_next)
{
    unsigned columns = 0, wide;
    size_t n = 0;

    while (at[n] != '\0' && at[n] != '\n') {
        size_t more = step(at + n, &wide);
        if (columns + wide > width) {
            break;
        }
        columns += wide;
        n += more;
    }
    *ret_next = at + n + (at[n] == '\n');
    return n;
}

static void draw(const char *text, const char *last)
{
    struct winsize size = { .ws_row = 0 };
    const char *next;
    char *picture = NULL;
    size_t bytes = 0;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 1 && size.ws_col > 1;
    unsigned rows = known ? size.ws_row - 1u : 23, width = known ? size.ws_col : 80;
    FILE *out = open_memstream(&picture, &bytes);

    if (out == NULL) {
        return;
    }
    fputs("\033[H", out);
    for (unsigned row = 0; row < rows && *text != '\0'; row++) {
        size_t n = line_of(text, width, &next);
        bool cut = row + 1 == rows && *next != '\0';
        fwrite(text, 1, cut ? 0 : n, out);
        fputs(cut ? "...\033[0m\033[K\r\n" : "\033[K\r\n", out);
        text = next;
    }
    fprintf(out, "\033[0m\033[J%.*s", (int)line_of(last, width, &next), last);
    fclose(out);
    for (size_t done = 0; done < bytes;) {
        ssize_t n = write(STDOUT_FILENO, picture + done, bytes - done);
        if (n < 0 && errno != EINTR) {
            break;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    free(picture);
}

void screen_end(struct screen *screen, const char *last)
{
    if (screen->memory == NULL) {
        fflush(stdout);
        return;
    }
    fclose(screen->memory);
    screen->memory = NULL;
    stdout = screen->real;
    draw(screen->text, last);
    free(screen->text);
    screen->text = NULL;
}
