#include "core/target.h"

#include <string.h>

#define HTTP "http://"
#define HTTP_PORT 80

static bool is_plain(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~') {
            return false;
        }
    }
    return text[0] != '\0';
}

/* "ADDRESS", "ADDRESS:PORT", "[v6]", "[v6]:PORT" of len bytes. */
static bool parse_host(const char *text, size_t len, struct endpoint *ret)
{
    char host[ENDPOINT_TEXT_MAX + 1];
    struct endpoint endpoint = {.port = HTTP_PORT};
    size_t bracket = len > 1 && text[0] == '[' && text[len - 1] == ']';

    if (len >= sizeof host || len < 2) {
        return false;
    }
    memcpy(host, text, len);
    host[len] = '\0';
    if (endpoint_parse(host, ret) == 0) {
        return true;
    }
    host[len - bracket] = '\0';
    if (addr_parse(host + bracket, &endpoint.addr) != 0 || (endpoint.addr.family == 6 && bracket == 0)) {
        return false;
    }
    *ret = endpoint;
    return true;
}

static const char *parse_http(const char *text, struct target *target)
{
    const char *host = text + sizeof HTTP - 1;

    if (strncmp(text, HTTP, sizeof HTTP - 1) != 0 || !is_plain(text)) {
        return "http://ADDRESS[:PORT][/PATH], without blanks";
    }
    target->host = host;
    target->host_len = (int)strcspn(host, "/");
    target->text = host + target->host_len;
    return parse_host(host, (size_t)target->host_len, &target->at)
               ? NULL
               : "http:// and an address (no name), like http://127.0.0.1:8080/healthz or http://[::1]/";
}

bool target_is_program(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

    return len > 0 && len <= NAME_MAX_LEN && text[len] == '\0' && text[0] != '.' && text[0] != '-';
}

const char *target_parse(enum check_kind kind, const char *text, struct target *ret)
{
    struct target target = {.text = text};
    const char *wrong = NULL;

    switch (kind) {
    case CHECK_HTTP:
        wrong = parse_http(text, &target);
        break;
    case CHECK_TCP:
        wrong = endpoint_parse(text, &target.at) == 0 ? NULL : "ADDRESS:PORT, like 127.0.0.1:5432 or [::1]:5432";
        break;
    case CHECK_EXEC:
        wrong = target_is_program(text) ? NULL
                                 : "the name of a program in the nodes' directory of checks: letters, digits, '.', '_', "
                                   "'-'; no path and no arguments";
        break;
    case CHECK_PROCESS:
        wrong = is_plain(text) && strlen(text) <= TARGET_PROCESS_MAX && strchr(text, '/') == NULL
                    ? NULL
                    : "the name of a process as ps -e shows it: 1 to 15 bytes, without '/' and blanks";
        break;
    case CHECK_FILE:
        wrong = text[0] == '/' && is_plain(text) ? NULL : "an absolute path, without blanks";
        break;
    case CHECK_PING:
        wrong = strcmp(text, "gateway") == 0 || addr_parse(text, &target.at.addr) == 0 ? NULL : "an address, or gateway";
        break;
    }
    if (wrong == NULL) {
        *ret = target;
    }
    return wrong;
}

uint32_t target_least_ms(enum check_kind kind)
{
    return kind == CHECK_EXEC ? 1000 : 100;
}

const char *target_wrong_numbers(const struct check_spec *spec)
{
    if (spec->every_ms < target_least_ms(spec->kind) || spec->every_ms > TARGET_EVERY_MAX_MS) {
        return spec->kind == CHECK_EXEC ? "every is 1 s to 1 h" : "every is 100 ms to 1 h";
    }
    if (spec->timeout_ms < TARGET_TIMEOUT_MIN_MS || spec->timeout_ms > spec->every_ms) {
        return "timeout is 10 ms to every";
    }
    return spec->fall < 1 || spec->fall > TARGET_COUNT_MAX || spec->rise < 1 || spec->rise > TARGET_COUNT_MAX ? "fall and rise are 1 to 100" : NULL;
}
