/* A call's way to the leader and back, on a channel of the peers' connections. */

#include "daemon/call.h"

#include <stdlib.h>
#include <string.h>

#define FORWARD_HEAD 12 /* u64 number of the call, u32 uid, big endian */
#define REPLY_HEAD 8

static void put_number(uint8_t *to, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--) {
        to[i] = (uint8_t)value;
        value >>= 8;
    }
}

static uint64_t get_number(const uint8_t *from, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) {
        value = value << 8 | from[i];
    }
    return value;
}

bool call_forward(struct daemon *d, struct call *call, uint64_t to)
{
    if (!to || to == d->self || !peers_is_connected(d->peers, to)) {
        return false;
    }
    uint8_t *bytes = malloc(FORWARD_HEAD + call->len);
    if (!bytes) {
        return false;
    }
    put_number(bytes, call->token, 8);
    put_number(bytes + 8, call->uid, 4);
    memcpy(bytes + FORWARD_HEAD, call->bytes, call->len);
    int rv = peers_send(d->peers, to, CHANNEL_FORWARD, bytes, FORWARD_HEAD + call->len);
    free(bytes);
    if (rv) {
        return false;
    }
    call->state = CALL_FORWARDED;
    call->leader = to;
    return true;
}

void call_send_back(struct daemon *d, struct call *call, const void *frame, size_t len)
{
    uint8_t *bytes = malloc(REPLY_HEAD + len);
    if (bytes) {
        put_number(bytes, call->corr, 8);
        memcpy(bytes + REPLY_HEAD, frame, len);
        int rv = peers_send(d->peers, call->from, CHANNEL_FORWARD_REPLY, bytes, REPLY_HEAD + len);
        (void)rv; /* an asker that lost its connection asks again */
        free(bytes);
    }
}

void requests_forwarded(struct daemon *d, uint64_t from, const void *data, size_t len)
{
    struct call *call;
    if (len < FORWARD_HEAD || !(call = call_new(d, (const uint8_t *)data + FORWARD_HEAD, len - FORWARD_HEAD))) {
        d->counters.malformed += len < FORWARD_HEAD;
        return;
    }
    call->from = from;
    call->corr = get_number(data, 8);
    call->uid = (uint32_t)get_number((const uint8_t *)data + 8, 4);
    call_begin(d, call);
}

/* The leader's reply says that it leads no more: the small reply is looked into. */
static bool says_no_quorum(const uint8_t *frame, size_t len)
{
    struct value_arena arena;
    struct control_reply reply;
    if (len <= CONTROL_FRAME_SIZE || len > 4096) {
        return false;
    }
    value_arena_init(&arena, 1 << 16);
    bool no = !control_reply_decode(&arena, frame + CONTROL_FRAME_SIZE, len - CONTROL_FRAME_SIZE, &reply) &&
              reply.code == CONTROL_NO_QUORUM;
    value_arena_close(&arena);
    return no;
}

void requests_reply(struct daemon *d, uint64_t from, const void *data, size_t len)
{
    if (len < REPLY_HEAD + CONTROL_FRAME_SIZE) {
        d->counters.malformed++;
        return;
    }
    struct call *call = call_find(d, get_number(data, 8));
    if (!call || call->state != CALL_FORWARDED || call->leader != from) {
        return; /* it was given up, or asked elsewhere, meanwhile */
    }
    const uint8_t *frame = (const uint8_t *)data + REPLY_HEAD;
    if (says_no_quorum(frame, len - REPLY_HEAD)) {
        call_again(call, CALL_RETRY_MS);
    } else {
        call_send(d, call, frame, len - REPLY_HEAD);
    }
    requests_poll(d);
}

void call_unanswered(struct daemon *d, struct call *call)
{
    uint64_t leader = d->consensus ? consensus_leader(d->consensus) : 0;
    if (call->kind == API_DAEMON && leader != call->leader) {
        const char *to = value_as_string(value_get(call->request.args, "node"), NULL);
        if (!to || (leader && strcmp(members_name(d, leader), to) == 0)) {
            struct outcome outcome = {.code = OUTCOME_DONE};
            call_outcome(d, call, &outcome); /* asking the new leader would hand the leadership over once more */
            return;
        }
    }
    call->proposed = call->proposed || call->kind == API_CHANGE;
    call_again(call, 0);
}

void requests_disconnected(struct daemon *d, uint64_t id)
{
    for (struct call *call = d->requests ? d->requests->calls : NULL; call; call = call->next) {
        if (call->state == CALL_FORWARDED && call->leader == id) {
            call_unanswered(d, call);
        }
        if (!call->local && call->from == id) {
            call->from = 0;
        }
    }
    requests_poll(d);
}
