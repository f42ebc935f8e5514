#include <stdarg.h>
#include <string.h>

#include "cli/cli.h"

int complain(const struct cli *cli, enum vipd_code code, const char *hint, const char *format, ...)
{
    char text[1024], clean[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fflush(stdout); /* what was shown before comes before */
    fprintf(stderr, "vipctl: %s\n", text_clean(text, clean, sizeof clean));
    if (hint != NULL) {
        fprintf(stderr, "        %s\n", text_clean(hint, clean, sizeof clean));
    }
    if (is_json(cli)) {
        printf("{\"error\": ");
        json_text(stdout, text);
        if (hint != NULL) {
            printf(", \"hint\": ");
            json_text(stdout, hint);
        }
        printf(", \"code\": %d}\n", (int)code);
    }
    return (int)code;
}
