/* A hook's event as environment and as one line of JSON: the same words in both. */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "daemon/hooks.h"

struct writer
{
    struct hook_text *to;
    size_t used;
    int n;
};

/* Everything has its limit, so that nothing is ever cut. */
static void PRINTF(2, 3) put_env(struct writer *writer, const char *format, ...)
{
    char *at = writer->to->bytes + writer->used;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(at, HOOK_TEXT_MAX - writer->used, format, args);
    va_end(args);
    if (n >= 0 && writer->used + (size_t)n < HOOK_TEXT_MAX && writer->n < HOOK_ENV_MAX) {
        writer->to->env[writer->n++] = at;
        writer->used += (size_t)n + 1;
    }
}

static void put(struct hook_text *to, const char *text)
{
    size_t len = strlen(text);
    if (to->json_len + len < HOOK_TEXT_MAX) {
        memcpy(to->json + to->json_len, text, len);
        to->json_len += len;
    }
}

/* "KEY": "VALUE", or null for nothing. Names are plain; an interface may have quotes in it. */
static void put_string(struct hook_text *to, const char *key, const char *value)
{
    put(to, to->json_len > 1 ? ", \"" : "\"");
    put(to, key);
    put(to, value[0] != '\0' ? "\": \"" : "\": null");
    for (const char *c = value; *c != '\0'; c++) {
        char escaped[8] = {'\\', *c, '\0'};
        if (*c < ' ' || *c > '~') {
            snprintf(escaped, sizeof(escaped), "\\u%04x", (unsigned char)*c);
        }
        put(to, *c == '"' || *c == '\\' || *c < ' ' || *c > '~' ? escaped : (char[]){*c, '\0'});
    }
    put(to, value[0] != '\0' ? "\"" : "");
}

static void put_number(struct hook_text *to, const char *key, uint64_t value)
{
    char text[96];
    snprintf(text, sizeof(text), ", \"%.32s\": %llu", key, (unsigned long long)value);
    put(to, text);
}

static const char *reason_of(const struct hook_event *event)
{
    switch (event->cause) {
    case HOOK_MOVED:
        return reason_text(event->reason);
    case HOOK_AGAIN:
        return "again";
    case HOOK_LEASE:
        return "lease";
    case HOOK_FOREIGN:
        return "foreign";
    }
    return "unknown";
}

void hook_text(const struct hook_event *event, const char *node, const char *cluster, struct hook_text *ret)
{
    const char *point = hook_point_text(event->point), *reason = reason_of(event);
    char address[ADDR_TEXT_MAX];
    struct writer writer = {.to = ret};
    memset(ret, 0, sizeof(*ret));
    addr_format(&event->address.addr, address);
    put_env(&writer, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    put_env(&writer, "LANG=C.UTF-8");
    put_env(&writer, "VIPD_EVENT=%s", point);
    put_env(&writer, "VIPD_VIP=%s", event->name);
    put_env(&writer, "VIPD_ADDRESS=%s", address);
    put_env(&writer, "VIPD_LENGTH=%u", event->address.len);
    put_env(&writer, "VIPD_DEV=%s", event->dev);
    put_env(&writer, "VIPD_GROUP=%s", event->group);
    put_env(&writer, "VIPD_NODE=%s", node);
    put_env(&writer, "VIPD_CLUSTER=%s", cluster);
    put_env(&writer, "VIPD_REASON=%s", reason);
    put_env(&writer, "VIPD_FROM=%s", event->from);
    put_env(&writer, "VIPD_TO=%s", event->to);
    put_env(&writer, "VIPD_MOVED=%llu", (unsigned long long)event->moved);
    put(ret, "{");
    put_string(ret, "event", point);
    put_string(ret, "vip", event->name);
    put_string(ret, "address", address);
    put_number(ret, "length", event->address.len);
    put_string(ret, "dev", event->dev);
    put_string(ret, "group", event->group);
    put_string(ret, "node", node);
    put_string(ret, "cluster", cluster);
    put_string(ret, "reason", reason);
    put_string(ret, "from", event->from);
    put_string(ret, "to", event->to);
    put_number(ret, "moved", event->moved);
    put(ret, "}\n");
}
