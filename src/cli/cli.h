#ifndef VIPD_CLI_CLI_H
#define VIPD_CLI_CLI_H

/* vipctl: a table of commands (commands.c), one reader of arguments (arguments.c), and a function for each command
 * (run_*.c) that asks by the public client library and shows the answer (json.c, table.c, text.c). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vipd/client.h"

#define CLI_WORDS_MAX 20000 /* words of a command line behind the command: a shell's `vip add $(list)` */
#define CLI_OPTIONS_MAX 64  /* options given on one command line */

enum format
{
    FORMAT_TABLE = 0,
    FORMAT_WIDE, /* a table with every column */
    FORMAT_JSON,
    FORMAT_JSONL, /* lists: one row a line */
};

struct option_spec
{
    const char *name;  /* without dashes */
    char letter;       /* or 0 */
    const char *value; /* "NODE", as help shows it; NULL: a flag */
    const char *help;
};

struct cli;

struct command
{
    const char *words; /* "vip add" */
    const char *args;  /* "ADDRESS[/LEN]...", as help shows it */
    const char *group; /* heading in the list of commands */
    const char *summary;
    const char *text;     /* more for --help, or NULL */
    const char *examples; /* lines for --help */
    const struct option_spec *options; /* its own, up to one without a name; NULL: none */
    int args_min, args_max;
    bool changes; /* takes --wait, --dry-run, --force */
    int (*run)(struct cli *cli);
};

extern const struct command commands[];
extern const size_t commands_n;
extern const struct option_spec global_options[];

struct given
{
    const struct option_spec *option;
    const char *value; /* NULL of a flag */
};

struct cli
{
    const struct command *command;
    const char **args; /* behind the command's words */
    int n_args;
    struct given given[CLI_OPTIONS_MAX];
    int n_given;
    const char *socket;
    enum format format;
    struct vipd_options options;
    bool help;
    bool version;
    struct vipd_client *client; /* once cli_call() or cli_list() was used */
};

/* arguments.c: 0, or an exit code after the complaint. Words that start no command leave cli->command NULL. */
int arguments_read(struct cli *cli, int argc, char **argv);
/* Value of one of the command's own options, the last one given; NULL. A flag: "". */
const char *arguments_option(const struct cli *cli, const char *name);
/* "10s", "500ms", "2m", "1h", "30" (seconds); false: it is none, or above max_ms. */
bool arguments_duration(const char *text, uint64_t max_ms, uint64_t *ret_ms);
/* "never" (0), "auto" (1), "10m" and "after 10m"; at most a day. */
bool arguments_failback(const char *text, uint64_t *ret_ms);

/* help.c */
void help_overview(FILE *to);
void help_command(FILE *to, const struct command *command);
bool help_group(FILE *to, const char *word); /* the commands that begin with a word; whether there are any */

/* main.c: asking. Each returns 0 with a reply whose code is VIPD_DONE, or an exit code after the complaint. */
int cli_call(struct cli *cli, const char *op, const struct vipd_args *args, struct vipd_reply **ret);
int cli_list(struct cli *cli, const char *op, const struct vipd_args *args, uint32_t limit, struct vipd_reply **ret);
/* As cli_call() without a complaint about an unreachable daemon: then *ret is NULL. */
int cli_try(struct cli *cli, const char *op, struct vipd_reply **ret);

/* As vipd_call(): 0, or -errno, also when no daemon is there; without a complaint. */
int cli_ask(struct cli *cli, const char *op, const struct vipd_args *args, struct vipd_reply **ret);
/* The events behind a position, as vipd_events(): 0, or -errno, also when no daemon is there; cli_failed() complains of it, or
 * of a reply, which it frees. */
int cli_events(struct cli *cli, const struct vipd_args *args, struct vipd_position *position, uint32_t newest,
               struct vipd_reply **ret);
int cli_failed(const struct cli *cli, int error, struct vipd_reply *reply);

/* outcome.c: one request, whose args (which may be NULL) are freed, and its reply: as JSON, or shown by `show`. */
int cli_show(struct cli *cli, const char *op, struct vipd_args *args,
             void (*show)(const struct cli *cli, const struct vipd_value *result));
/* Likewise a change: "subject: done", or "done" alone without a subject; the sentence below with --dry-run. */
int cli_change(struct cli *cli, const char *op, struct vipd_args *args, const char *subject, const char *done);
#define CLI_DRY_RUN "nothing stands against it; nothing was changed (--dry-run)\n"

/* complain.c: to standard error as "vipctl: sentence" and the hint; with -o json also an object on standard output.
 * Returns the code. */
int complain(const struct cli *cli, enum vipd_code code, const char *hint, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* json.c */
void json_value(FILE *to, const struct vipd_value *value);
void json_text(FILE *to, const char *text);
/* Rows as the format wants them: one array, or one row a line. */
void json_rows(const struct cli *cli, const struct vipd_value *rows);
/* One object on a line of its own; items whose key is `but` (may be NULL) are left out, `index` (if not 0) is added. */
void json_object(const struct vipd_value *map, const char *but, uint64_t index);
bool is_json(const struct cli *cli);

/* table.c: a table whose cells are texts. Columns first, then rows. */
enum colour
{
    COLOUR_NONE = 0,
    COLOUR_GOOD,
    COLOUR_WARN,
    COLOUR_BAD,
    COLOUR_FAINT,
};
struct table_print;
struct table_print *table_open(void); /* aborts for lack of memory, as all of these */
void table_column(struct table_print *table, const char *name, bool right);
void table_row(struct table_print *table);
void table_cell(struct table_print *table, const char *text, enum colour colour);
void table_close(struct table_print *table); /* prints */
bool colours(void);
/* `text` in colour when standard output is a terminal; buf is the result's memory. */
const char *coloured(const char *text, enum colour colour, char *buf, size_t size);

/* screen.c: what is printed between begin and end is one picture; `last` stands below it on a terminal. */
struct screen;
struct screen *screen_open(void); /* NULL: no memory */
void screen_begin(struct screen *screen);
void screen_end(struct screen *screen, const char *last);
void screen_close(struct screen *screen);

/* text.c */
#define TEXT_SIZE 256
const char *text_ago(int64_t ms, char buf[TEXT_SIZE]);      /* Unix ms: "3m ago" */
const char *text_time(int64_t ms, char buf[TEXT_SIZE]);     /* Unix ms: local date and time */
const char *text_clean(const char *text, char *buf, size_t size); /* without control characters */
/* Prints it in lines of `width` columns, broken at blanks, those behind the first one begun with `indent` blanks: it stands there
 * already. */
void text_wrap(FILE *to, const char *text, unsigned width, unsigned indent);
const char *text_join(const struct vipd_value *list, char buf[TEXT_SIZE]); /* "a,b", of a map "a=1,b=2" */
enum colour text_state_colour(const char *state);
bool text_since(const char *text, int64_t *ret_ms); /* "10m", "now", "@UNIX", "2026-01-31[ 12:30[:00]][Z]" to Unix ms */

/* run_*.c */
int run_status(struct cli *cli);
int run_vip_add(struct cli *cli);
int run_vip_set(struct cli *cli);
int run_vip_del(struct cli *cli);
int run_vip_list(struct cli *cli);
int run_vip_show(struct cli *cli);
int run_vip_move(struct cli *cli);
int run_vip_enable(struct cli *cli);
int run_vip_disable(struct cli *cli);
int run_check_add(struct cli *cli);
int run_check_set(struct cli *cli);
int run_check_del(struct cli *cli);
int run_check_list(struct cli *cli);
int run_check_show(struct cli *cli);
int run_node_list(struct cli *cli);
int run_node_show(struct cli *cli);
int run_node_add(struct cli *cli);
int run_node_set(struct cli *cli);
int run_node_remove(struct cli *cli);
int run_node_promote(struct cli *cli);
int run_node_demote(struct cli *cli);
int run_drain(struct cli *cli);
int run_undrain(struct cli *cli);
int run_explain(struct cli *cli);
int run_plan(struct cli *cli);
int run_history(struct cli *cli);
int run_events(struct cli *cli);
int run_vip_announce(struct cli *cli);
int run_leader(struct cli *cli);
int run_leader_transfer(struct cli *cli);
int run_doctor(struct cli *cli);
int run_settings(struct cli *cli);
int run_settings_set(struct cli *cli);
int run_apply(struct cli *cli);
int run_diff(struct cli *cli);
int run_export(struct cli *cli);
int run_rollback(struct cli *cli);
int run_revisions(struct cli *cli);
int run_maintenance_run(struct cli *cli);
int run_maintenance_status(struct cli *cli);
int run_maintenance_pause(struct cli *cli);
int run_maintenance_resume(struct cli *cli);
int run_maintenance_abort(struct cli *cli);
int run_keygen(struct cli *cli);
int run_key_list(struct cli *cli);
int run_key_rotate(struct cli *cli);
int run_version(struct cli *cli);
#if VIPD_PRETEND_FORMAT
int run_mark(struct cli *cli);
#endif
int run_help(struct cli *cli);

/* run_node.c, also used by status */
void show_nodes(const struct cli *cli, const struct vipd_value *rows);
/* run_history.c, also used by vip show */
enum history_view
{
    HISTORY_TABLE = 0,
    HISTORY_WIDE,
    HISTORY_OF_ONE, /* of one VIP */
};
void show_history(const struct vipd_value *rows, enum history_view view);
/* ... by events: --limit, when it is given; --vip, --node and --since as arguments of the request. 0, or an exit code. */
int history_limit(const struct cli *cli, uint32_t *ret);
int history_args(const struct cli *cli, struct vipd_args *args);

#endif
