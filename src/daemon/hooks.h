#ifndef VIPD_DAEMON_HOOKS_H
#define VIPD_DAEMON_HOOKS_H

/* The event of a hook, as its program gets it (docs/hooks.md). Private to daemon/hooks*.c. */

#include "core/core.h"

#define HOOK_TEXT_MAX 2048 /* bytes of the environment, and of the JSON */
#define HOOK_ENV_MAX 20

/* Everything that is told, as it was when the hook was asked for: the VIP may be gone when its turn comes. */
struct hook_event
{
    enum hook_point point;
    enum hook_cause cause;
    enum reason reason; /* of the last move */
    uint64_t moved;
    uint16_t vip; /* slot */
    struct prefix address;
    char name[NAME_SIZE], group[NAME_SIZE], from[NAME_SIZE], to[NAME_SIZE];
    char dev[DEV_SIZE];
};

struct hook_text
{
    const char *env[HOOK_ENV_MAX + 1];
    char bytes[HOOK_TEXT_MAX]; /* of env */
    char json[HOOK_TEXT_MAX];
    size_t json_len;
};

/* `node` and `cluster` are this node's. */
void hook_text(const struct hook_event *event, const char *node, const char *cluster, struct hook_text *ret);

#endif
