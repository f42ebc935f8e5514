/* Tables by libsmartcols: it knows the terminal's width and cuts the last column there. */

#include <libsmartcols/libsmartcols.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

struct table_print
{
    struct libscols_table *table;
    struct libscols_line *line;
    size_t n_columns, at;
};

static void must(bool ok)
{
    if (!ok) {
        fputs("vipctl: out of memory\n", stderr);
        exit(VIPD_FAILED);
    }
}

bool colours(void)
{
    const char *no = getenv("NO_COLOR"); /* no-color.org */

    return isatty(STDOUT_FILENO) && (no == NULL || no[0] == '\0');
}

static const char *escape(enum colour colour)
{
    static const char *const of[] = { "", "\033[32m", "\033[33m", "\033[31m", "\033[2m" };

    return of[colour];
}

const char *coloured(const char *text, enum colour colour, char *buf, size_t size)
{
    bool on = colour != COLOUR_NONE && colours();

    snprintf(buf, size, "%s%s%s", on ? escape(colour) : "", text, on ? "\033[0m" : "");
    return buf;
}

struct table_print *table_open(void)
{
    struct table_print *table = calloc(1, sizeof *table);

    must(table != NULL);
    table->table = scols_new_table();
    must(table->table != NULL);
    scols_table_enable_colors(table->table, colours());
    return table;
}

void table_column(struct table_print *table, const char *name, bool right)
{
    must(scols_table_new_column(table->table, name, 0, right ? SCOLS_FL_RIGHT : 0) != NULL);
    table->n_columns++;
}

void table_row(struct table_print *table)
{
    table->line = scols_table_new_line(table->table, NULL);
    must(table->line != NULL);
    table->at = 0;
}

void table_cell(struct table_print *table, const char *text, enum colour colour)
{
    struct libscols_cell *cell = scols_line_get_cell(table->line, table->at++);

    must(cell != NULL && scols_cell_set_data(cell, text) == 0);
    if (colour != COLOUR_NONE && colours()) {
        must(scols_cell_set_color(cell, escape(colour)) == 0);
    }
}

void table_close(struct table_print *table)
{
    struct libscols_column *last = scols_table_get_column(table->table, table->n_columns - 1);

    if (last != NULL) {
        scols_column_set_flags(last, scols_column_get_flags(last) | SCOLS_FL_WRAP);
    }
    fflush(stdout);
    scols_print_table(table->table);
    scols_unref_table(table->table);
    free(table);
}
