/* What is told of refusals. An attempt that is refused is repeated for ever, and a stranger may try as often as it likes:
 * of each kind one is told a minute, with how many there were; for each peer by itself, and once for all that are none,
 * so that no stranger can hide what is wrong with a peer. What a hello is refused for is told at once when it is new. */

#include "io/peers_private.h"

#include <stdio.h>
#include <string.h>

#define TOLD_EVERY_MS 60000

static void describe(const struct conn *conn, const struct hello *hello, char *ret, size_t size)
{
    char at[ENDPOINT_TEXT_MAX];

    endpoint_format(&conn->remote, at);
    if (hello != NULL && hello->name[0] != '\0') {
        snprintf(ret, size, "%s at %s", hello->name, at);
    } else {
        snprintf(ret, size, "%s", at);
    }
}

static struct peer *peer_of(const struct conn *conn)
{
    struct peer *peer = peers_find(conn->peers, conn->id);

    return peer != NULL ? peer : peers_at(conn->peers, &conn->remote.addr);
}

static bool is_new_reason(char last[HELLO_REASON_SIZE], enum refusal refusal, const char *reason)
{
    if ((refusal != REFUSAL_HELLO && refusal != REFUSAL_BY_PEER) || strcmp(last, reason) == 0) {
        return false;
    }
    snprintf(last, HELLO_REASON_SIZE, "%s", reason);
    return true;
}

void peers_tell_refused(struct conn *conn, enum refusal refusal, const struct hello *hello, const char *reason)
{
    struct peers *peers = conn->peers;
    struct peer *peer = peer_of(conn);
    struct throttle *told = peer != NULL ? &peer->told[refusal] : &peers->told[refusal];
    int64_t now = (int64_t)uv_now(peers->loop);
    char who[NAME_SIZE + ENDPOINT_TEXT_MAX + 8];

    if (is_new_reason(peer != NULL ? peer->reason : peers->reason, refusal, reason)) {
        *told = (struct throttle){0};
    }
    uint32_t before = throttle_end(told, now, TOLD_EVERY_MS);
    if (peers->closing || !throttle_pass(told, now, 1, TOLD_EVERY_MS)) {
        return;
    }
    describe(conn, hello, who, sizeof who);
    peers->ops.refused(peers->ud, who, reason, before == UINT32_MAX ? before : before + 1);
}
