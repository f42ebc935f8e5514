/* The command line. The command's words come first among the words; the global options may stand anywhere, those of a
 * command behind its words. `--name=value`, `--name value`, `-o value`, `-ovalue`; `--` ends the options. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

bool arguments_duration(const char *text, uint64_t max_ms, uint64_t *ret_ms)
{
    static const struct
    {
        const char *unit;
        uint64_t ms;
    } units[] = { { "ms", 1 }, { "s", 1000 }, { "", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 } };
    char *end;

    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    for (size_t i = 0; errno == 0 && i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].unit) == 0) {
            if (n > max_ms / units[i].ms) {
                return false;
            }
            *ret_ms = n * units[i].ms;
            return true;
        }
    }
    return false;
}

bool arguments_failback(const char *text, uint64_t *ret_ms)
{
    uint64_t ms;

    if (strcmp(text, "never") == 0 || strcmp(text, "auto") == 0) {
        *ret_ms = text[0] == 'a';
        return true;
    }
    if (!arguments_duration(strncmp(text, "after ", 6) == 0 ? text + 6 : text, 86400000, &ms)) {
        return false;
    }
    *ret_ms = ms > 0 ? ms : 1;
    return true;
}

const char *arguments_option(const struct cli *cli, const char *name)
{
    for (int i = cli->n_given - 1; i >= 0; i--) {
        if (strcmp(cli->given[i].option->name, name) == 0) {
            return cli->given[i].value != NULL ? cli->given[i].value : "";
        }
    }
    return NULL;
}

/* --------------------------------------------------------------------------------------------------- which command */

static bool is_global_with_value(const char *word)
{
    for (const struct option_spec *option = global_options; option->name != NULL; option++) {
        bool is_long = strncmp(word, "--", 2) == 0 && strcmp(word + 2, option->name) == 0;
        bool is_short = option->letter != 0 && word[1] == option->letter && word[2] == '\0';
        if (option->value != NULL && (is_long || is_short)) {
            return true;
        }
    }
    return false;
}

/* The next word from *at on that is no option and no value of a global one; NULL at the end. */
static const char *next_word(int argc, char **argv, int *at)
{
    while (*at < argc) {
        const char *word = argv[(*at)++];
        if (word[0] != '-' || word[1] == '\0') {
            return word;
        }
        if (strcmp(word, "--") == 0) {
            return NULL;
        }
        if (is_global_with_value(word)) {
            (*at)++;
        }
    }
    return NULL;
}

static const struct command *find_command(const char *first, const char *second)
{
    const struct command *found = NULL;
    size_t n = strlen(first);

    for (size_t i = 0; i < commands_n; i++) {
        const char *words = commands[i].words;
        if (strcmp(words, first) == 0 && found == NULL) {
            found = &commands[i];
        }
        if (second != NULL && strncmp(words, first, n) == 0 && words[n] == ' ' && strcmp(words + n + 1, second) == 0) {
            return &commands[i];
        }
    }
    return found;
}

static bool is_group(const char *word)
{
    size_t n = strlen(word);

    for (size_t i = 0; i < commands_n; i++) {
        if (strncmp(commands[i].words, word, n) == 0 && commands[i].words[n] == ' ') {
            return true;
        }
    }
    return false;
}

/* What a wrong second word was meant to be: "list" of "vip lst". */
static const char *near_second(const char *first, const char *second)
{
    const char *names[64];
    size_t n = 0, len = strlen(first);

    for (size_t i = 0; i < commands_n && n < 64; i++) {
        if (strncmp(commands[i].words, first, len) == 0 && commands[i].words[len] == ' ') {
            names[n++] = commands[i].words + len + 1;
        }
    }
    return vipd_near(second, names, n);
}

static int no_command(const struct cli *cli, const char *first, const char *second)
{
    const char *names[128];
    char words[128][24];
    size_t n = 0;

    if (is_group(first)) {
        const char *near = second == NULL ? NULL : near_second(first, second);
        if (second == NULL) {
            (void)help_group(stderr, first);
            return complain(cli, VIPD_USAGE, NULL, "%s needs a second word", first);
        }
        return complain(cli, VIPD_USAGE, "vipctl --help lists the commands",
                        near != NULL ? "there is no command \"%s %s\"; did you mean \"%s %s\"?"
                                     : "there is no command \"%s %s\"",
                        first, second, first, near);
    }
    for (size_t i = 0; i < commands_n && n < 128; i++) {
        snprintf(words[n], sizeof words[n], "%.*s", (int)strcspn(commands[i].words, " "), commands[i].words);
        names[n] = words[n];
        n++;
    }
    const char *near = vipd_near(first, names, n);
    return complain(cli, VIPD_USAGE, "vipctl --help lists the commands",
                    near != NULL ? "there is no command \"%s\"; did you mean \"%s\"?" : "there is no command \"%s\"",
                    first, near);
}

/* --------------------------------------------------------------------------------------------------------- options */

static const struct option_spec *find_in(const struct option_spec *options, const char *name, size_t len, char letter)
{
    for (; options != NULL && options->name != NULL; options++) {
        if (letter != 0 ? options->letter == letter : strlen(options->name) == len &&
                                                          strncmp(options->name, name, len) == 0) {
            return options;
        }
    }
    return NULL;
}

static const struct option_spec *find_option(const struct cli *cli, const char *name, size_t len, char letter)
{
    const struct option_spec *own = cli->command == NULL ? NULL : cli->command->options;
    const struct option_spec *found = find_in(own, name, len, letter);

    return found != NULL ? found : find_in(global_options, name, len, letter);
}

static int unknown_option(const struct cli *cli, const char *word)
{
    const char *names[64];
    char plain[64];
    size_t n = 0;
    const struct option_spec *lists[] = { cli->command == NULL ? NULL : cli->command->options, global_options };

    for (int i = 0; i < 2; i++) {
        for (const struct option_spec *option = lists[i]; option != NULL && option->name != NULL && n < 64; option++) {
            names[n++] = option->name;
        }
    }
    snprintf(plain, sizeof plain, "%.*s", (int)strcspn(word, "="), word);
    const char *near = strncmp(plain, "--", 2) == 0 ? vipd_near(plain + 2, names, n) : NULL;
    bool takes_command = cli->command != NULL && strstr(cli->command->args, "-- COMMAND") != NULL;
    return complain(cli, VIPD_USAGE,
                    takes_command && near == NULL ? "options of the COMMAND stand behind --, like the COMMAND itself"
                                                  : "--help lists the options",
                    near != NULL ? "there is no option %s; did you mean --%s?" : "there is no option %s", plain, near);
}

static int set_format(struct cli *cli, const char *value)
{
    static const char *const names[] = { "table", "wide", "json", "jsonl" };

    for (int i = 0; i < 4; i++) {
        if (strcmp(value, names[i]) == 0) {
            cli->format = (enum format)i;
            return 0;
        }
    }
    return complain(cli, VIPD_USAGE, "table, wide, json or jsonl", "there is no output format \"%s\"", value);
}

static int set_timeout(struct cli *cli, const char *value)
{
    uint64_t ms;

    if (!arguments_duration(value, VIPD_TIMEOUT_MAX_MS, &ms) || ms == 0) {
        return complain(cli, VIPD_USAGE, "for example 10s, 500ms or 2m; at most 1h", "\"%s\" is not a timeout", value);
    }
    cli->options.timeout_ms = (uint32_t)ms;
    return 0;
}

static int take_option(struct cli *cli, const struct option_spec *option, const char *value)
{
    if (strcmp(option->name, "socket") == 0) {
        cli->socket = value;
    } else if (strcmp(option->name, "output") == 0) {
        return set_format(cli, value);
    } else if (strcmp(option->name, "timeout") == 0) {
        return set_timeout(cli, value);
    } else if (strcmp(option->name, "wait") == 0) {
        cli->options.wait = true;
    } else if (strcmp(option->name, "force") == 0) {
        cli->options.force = true;
    } else if (strcmp(option->name, "dry-run") == 0) {
        cli->options.dry_run = true;
    } else if (strcmp(option->name, "help") == 0) {
        cli->help = true;
    } else if (strcmp(option->name, "version") == 0) {
        cli->version = true;
    } else if (cli->n_given == CLI_OPTIONS_MAX) {
        return complain(cli, VIPD_USAGE, NULL, "more than %d options", CLI_OPTIONS_MAX);
    } else {
        cli->given[cli->n_given++] = (struct given){ option, value };
    }
    return 0;
}

/* Reads the option at argv[*at] and, when it is a word of its own, its value. */
static int read_option(struct cli *cli, int argc, char **argv, int *at)
{
    const char *word = argv[(*at)++];
    bool is_long = word[1] == '-';
    const char *name = is_long ? word + 2 : word + 1;
    size_t len = is_long ? strcspn(name, "=") : 1;
    const struct option_spec *option = find_option(cli, name, len, is_long ? 0 : name[0]);
    const char *value = is_long && name[len] == '=' ? name + len + 1 : !is_long && name[1] != '\0' ? name + 1 : NULL;

    if (option == NULL) {
        return unknown_option(cli, word);
    }
    if (option->value == NULL && value != NULL) {
        return complain(cli, VIPD_USAGE, NULL, "--%s takes no value", option->name);
    }
    if (option->value != NULL && value == NULL) {
        if (*at == argc) {
            return complain(cli, VIPD_USAGE, NULL, "--%s needs a value: --%s %s", option->name, option->name,
                            option->value);
        }
        value = argv[(*at)++];
    }
    return take_option(cli, option, value);
}

static int check_count(const struct cli *cli)
{
    const struct command *command = cli->command;

    if (cli->help || (cli->n_args >= command->args_min && cli->n_args <= command->args_max)) {
        return 0;
    }
    char hint[256];
    snprintf(hint, sizeof hint, "usage: vipctl %s %s", command->words, command->args);
    if (cli->n_args > command->args_max) {
        return complain(cli, VIPD_USAGE, hint, "\"%s\" is one word too many", cli->args[command->args_max]);
    }
    return complain(cli, VIPD_USAGE, hint, "%s needs more than that", command->words);
}

/* How many of the first words are the command's own. */
static int words_of(const struct command *command)
{
    return command == NULL ? 0 : strchr(command->words, ' ') != NULL ? 2 : 1;
}

/* The wanted format, before anything is judged, so that every complaint comes in it. */
static void guess_format(struct cli *cli, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = strncmp(argv[i], "--output=", 9) == 0 ? argv[i] + 9
                            : strncmp(argv[i], "-o", 2) == 0 && argv[i][2] != '\0' ? argv[i] + 2
                            : (strcmp(argv[i], "-o") == 0 || strcmp(argv[i], "--output") == 0) && i + 1 < argc
                                ? argv[i + 1]
                                : "";
        if (strcmp(value, "json") == 0 || strcmp(value, "jsonl") == 0) {
            cli->format = FORMAT_JSON;
        }
    }
}

static int read_all(struct cli *cli, int argc, char **argv)
{
    int skip = words_of(cli->command);
    bool ended = false;

    for (int at = 1; at < argc;) {
        if (!ended && strcmp(argv[at], "--") == 0) {
            ended = true;
            at++;
        } else if (!ended && argv[at][0] == '-' && argv[at][1] != '\0') {
            int r = read_option(cli, argc, argv, &at);
            if (r != 0) {
                return r;
            }
        } else if (skip > 0) {
            skip--;
            at++;
        } else {
            cli->args[cli->n_args++] = argv[at++];
        }
    }
    return 0;
}

int arguments_read(struct cli *cli, int argc, char **argv)
{
    int at = 1;
    const char *first = next_word(argc, argv, &at);
    const char *second = first == NULL ? NULL : next_word(argc, argv, &at);

    guess_format(cli, argc, argv);
    cli->command = first == NULL ? NULL : find_command(first, second);
    if (cli->command == NULL && first != NULL) {
        return no_command(cli, first, second);
    }
    cli->args = calloc((size_t)argc + 1, sizeof cli->args[0]);
    if (cli->args == NULL) {
        return complain(cli, VIPD_FAILED, NULL, "out of memory");
    }
    int r = read_all(cli, argc, argv);
    return r != 0 || cli->command == NULL ? r : check_count(cli);
}
