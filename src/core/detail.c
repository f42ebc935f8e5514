#include "core/detail.h"

#include <string.h>

void detail_begin(struct outcome *outcome, enum outcome_code code)
{
    outcome->code = code;
    outcome->detail[0] = '\0';
}

void detail_text(struct outcome *outcome, const char *text)
{
    size_t used = strlen(outcome->detail);
    size_t room = sizeof outcome->detail - 1 - used;
    size_t len = strlen(text);

    if (len > room) {
        len = room;
    }
    memcpy(outcome->detail + used, text, len);
    outcome->detail[used + len] = '\0';
}

void detail_number(struct outcome *outcome, uint64_t number)
{
    char digits[21];
    size_t at = sizeof digits - 1;

    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    detail_text(outcome, digits + at);
}

void detail_addr(struct outcome *outcome, const struct addr *addr)
{
    char text[ADDR_TEXT_MAX];

    detail_text(outcome, addr_format(addr, text));
}

void detail_say(struct outcome *outcome, enum outcome_code code, const char *before, const char *name,
                const char *after)
{
    detail_begin(outcome, code);
    detail_text(outcome, before);
    detail_text(outcome, name);
    detail_text(outcome, after);
}
