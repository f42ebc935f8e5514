#include <string.h>

#include "cli/cli.h"

static void usage_of(FILE *to, const struct command *command)
{
    fprintf(to, "%s%s%s", command->words, command->args[0] != '\0' ? " " : "", command->args);
}

static void line_of(FILE *to, const struct command *command)
{
    int width = (int)(strlen(command->words) + strlen(command->args) + (command->args[0] != '\0'));

    fputs("  ", to);
    usage_of(to, command);
    if (width > 34) {
        fprintf(to, "\n%36s", "");
        width = 34;
    }
    fprintf(to, "%*s%s\n", 36 - 2 - width + 2, "", command->summary);
}

static void options_of(FILE *to, const struct option_spec *options, bool changes)
{
    static const char *const only_changes[] = { "wait", "dry-run", "force" };

    for (; options != NULL && options->name != NULL; options++) {
        char left[64];
        bool skip = false;
        for (int i = 0; i < 3; i++) {
            skip |= !changes && strcmp(options->name, only_changes[i]) == 0;
        }
        if (skip) {
            continue;
        }
        snprintf(left, sizeof left, "%c%c%s--%s%s%s", options->letter != 0 ? '-' : ' ',
                 options->letter != 0 ? options->letter : ' ', options->letter != 0 ? ", " : "  ", options->name,
                 options->value != NULL ? " " : "", options->value != NULL ? options->value : "");
        fprintf(to, "  %-26s %s\n", left, options->help);
    }
}

void help_overview(FILE *to)
{
    const char *group = "";

    fputs("vipctl asks and changes a cluster of vipd, through the daemon of any node.\n", to);
    fputs("usage: vipctl COMMAND [OPTION]...\n", to);
    for (size_t i = 0; i < commands_n; i++) {
        if (strcmp(commands[i].group, group) != 0) {
            group = commands[i].group;
            fprintf(to, "\n%s\n", group);
        }
        line_of(to, &commands[i]);
    }
    fputs("\nOptions of every command\n", to);
    options_of(to, global_options, true);
    fputs("\nExit codes: 0 done, 1 failed, 2 usage, 3 refused as unsafe, 4 no quorum, 5 timed out,\n"
          "6 not found, 7 conflict. \"vipctl COMMAND --help\" tells more of each command.\n",
          to);
}

void help_command(FILE *to, const struct command *command)
{
    fputs("usage: vipctl ", to);
    usage_of(to, command);
    fprintf(to, "%s\n\n%s.\n", strstr(command->args, "[OPTION]") == NULL ? " [OPTION]..." : "", command->summary);
    if (command->text != NULL) {
        fprintf(to, "\n%s\n", command->text);
    }
    fputs("\nOptions\n", to);
    options_of(to, command->options, true);
    options_of(to, global_options, command->changes);
    fprintf(to, "\nExamples\n%s", command->examples);
}

bool help_group(FILE *to, const char *word)
{
    size_t n = strlen(word);
    bool any = false;

    for (size_t i = 0; i < commands_n; i++) {
        if (strncmp(commands[i].words, word, n) == 0 && (commands[i].words[n] == ' ' || commands[i].words[n] == '\0')) {
            line_of(to, &commands[i]);
            any = true;
        }
    }
    return any;
}

int run_help(struct cli *cli)
{
    char words[128];
    const struct command *found = NULL;

    if (cli->n_args == 0) {
        help_overview(stdout);
        return 0;
    }
    snprintf(words, sizeof words, "%s%s%s", cli->args[0], cli->n_args > 1 ? " " : "",
             cli->n_args > 1 ? cli->args[1] : "");
    for (size_t i = 0; i < commands_n; i++) {
        if (strcmp(commands[i].words, words) == 0) {
            found = &commands[i];
        }
    }
    if (found == NULL && cli->n_args == 1 && help_group(stdout, cli->args[0])) {
        return 0;
    }
    if (found == NULL) {
        return complain(cli, VIPD_USAGE, "vipctl help lists the commands", "there is no command \"%s\"", words);
    }
    help_command(stdout, found);
    return 0;
}
