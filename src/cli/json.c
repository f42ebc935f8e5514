#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"

bool is_json(const struct cli *cli)
{
    return cli->format == FORMAT_JSON || cli->format == FORMAT_JSONL;
}

/* Length of the well-formed UTF-8 sequence at text (RFC 3629), 0 when there is none. */
static size_t utf8_len(const unsigned char *text)
{
    size_t n = text[0] < 0x80 ? 1 : text[0] >= 0xc2 && text[0] < 0xe0 ? 2 : (text[0] & 0xf0) == 0xe0 ? 3
               : text[0] >= 0xf0 && text[0] < 0xf5                    ? 4
                                                                      : 0;

    for (size_t i = 1; i < n; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xf0 && text[1] < 0x90);
    bool beyond = (text[0] == 0xed && text[1] > 0x9f) || (text[0] == 0xf4 && text[1] > 0x8f);
    return overlong || beyond ? 0 : n;
}

void json_text(FILE *to, const char *text)
{
    const unsigned char *at = (const unsigned char *)text;

    fputc('"', to);
    while (*at != '\0') {
        size_t n = utf8_len(at);
        if (n == 0) {
            fputs("\\ufffd", to);
            n = 1;
        } else if (*at == '"' || *at == '\\') {
            fprintf(to, "\\%c", *at);
        } else if (*at < 0x20 || *at == 0x7f) {
            fprintf(to, "\\u%04x", *at);
        } else {
            fwrite(at, 1, n, to);
        }
        at += n;
    }
    fputc('"', to);
}

static void json_items(FILE *to, const struct vipd_value *container)
{
    const char *between = "";

    for (const struct vipd_value *item = vipd_first(container); item != NULL; item = vipd_next(item)) {
        fputs(between, to);
        between = ", ";
        if (vipd_type(container) == VIPD_MAP) {
            json_text(to, vipd_key(item));
            fputs(": ", to);
        }
        json_value(to, item);
    }
}

void json_value(FILE *to, const struct vipd_value *value)
{
    switch (vipd_type(value)) {
    case VIPD_NIL:
        fputs("null", to);
        break;
    case VIPD_BOOL:
        fputs(vipd_bool(value, false) ? "true" : "false", to);
        break;
    case VIPD_INT:
        fprintf(to, "%" PRId64, vipd_int(value, 0));
        break;
    case VIPD_UINT:
        fprintf(to, "%" PRIu64, vipd_uint(value, 0));
        break;
    case VIPD_TEXT:
        json_text(to, vipd_text(value, ""));
        break;
    case VIPD_ARRAY:
        fputc('[', to);
        json_items(to, value);
        fputc(']', to);
        break;
    case VIPD_MAP:
        fputc('{', to);
        json_items(to, value);
        fputc('}', to);
        break;
    }
}

void json_rows(const struct cli *cli, const struct vipd_value *rows)
{
    bool lines = cli->format == FORMAT_JSONL;
    const char *between = "\n";

    if (!lines) {
        fputc('[', stdout);
    }
    for (const struct vipd_value *row = vipd_first(rows); row != NULL; row = vipd_next(row)) {
        fputs(lines ? "" : between, stdout);
        between = ",\n";
        json_value(stdout, row);
        fputs(lines ? "\n" : "", stdout);
    }
    if (!lines) {
        fputs(vipd_count(rows) > 0 ? "\n]\n" : "]\n", stdout);
    }
}

void json_object(const struct vipd_value *map, const char *but, uint64_t index)
{
    const char *between = "";

    fputc('{', stdout);
    for (const struct vipd_value *item = vipd_first(map); item != NULL; item = vipd_next(item)) {
        if (but != NULL && strcmp(vipd_key(item), but) == 0) {
            continue;
        }
        fputs(between, stdout);
        between = ", ";
        json_text(stdout, vipd_key(item));
        fputs(": ", stdout);
        json_value(stdout, item);
    }
    if (index > 0) {
        printf("%s\"index\": %" PRIu64, between, index);
    }
    fputs("}\n", stdout);
}
