/* Clients' requests: answered here, or passed on to the leader and answered with its reply.
 *
 * Happy path: a request comes from the control socket; on the leader a change becomes a command, is proposed, and is
 * answered when its entry has been applied; elsewhere it goes to the leader over the peer connection and the
 * reply comes back the same way. Failure modes: no leader (waited for until the request's time is up, then exit code 4; what
 * is only read is answered from this node's own view); the leader changes half way (asked again: the request's id makes
 * sure that a change is done once); a decision went stale (made anew on the new table); the client went away (the
 * reply is dropped by the control socket). */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/api.h"
#include "daemon/daemon.h"
#include "wire/command.h"

#define CALLS_MAX 512
#define TIMEOUT_MS 10000u  /* for a leader, when the client does not say */
#define READ_PATIENCE_MS 500u   /* a reading request waits so long for a leader */
#define CHANGE_PATIENCE_MS 250u /* a change, too: then its client is told, and asks again or gives up; a change that
                                 * outlived its client would be done after its refusal */
#define RETRY_MS 10u
#define FORWARD_HEAD 12 /* u64 number of the call, u32 uid, big endian */
#define REPLY_HEAD 8

enum call_state
{
    CALL_READY = 0, /* to be asked, at retry_at */
    CALL_PROPOSED,
    CALL_FORWARDED,
    CALL_WAITING, /* op wait, on the leader */
    CALL_DONE,    /* to be freed */
};

struct call
{
    struct call *next;
    uint64_t token;
    struct control_call *local; /* NULL: from another node */
    uint64_t from, corr;        /* that node, and its number for the call; from 0: it went away */
    uint32_t uid;
    uint8_t *bytes;
    size_t len;
    struct value_arena arena;
    struct control_request request;
    enum api_kind kind;
    enum call_state state;
    uint64_t leader; /* forwarded to */
    uint64_t index;  /* proposed as */
    bool proposed;   /* once it was, perhaps, here or by a leader that did not answer: it may come true all the same */
    bool confirming; /* what is proposed is an entry that does nothing: once it is applied this node led until then ... */
    bool confirmed;  /* ... and its table is no older than the request */
    uint64_t begun_ms, until_ms, retry_at_ms, wait_until_ms;
};

struct requests
{
    struct call *calls;
    unsigned n;
    uint64_t tokens;
    bool polling;
    uv_timer_t timer;
    struct api_scratch scratch;
    struct api_daemon daemon;
    struct api_counter counters[12];
};

static uint64_t now_ms(void)
{
    return daemon_now() / MS;
}

/* ---------------------------------------------------------------- numbers on the wire */

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

/* ---------------------------------------------------------------- replies */

static void send_frame(struct daemon *d, struct call *call, const void *frame, size_t len)
{
    if (call->local) {
        control_reply(call->local, frame, len);
        call->local = NULL;
    } else if (call->from) {
        uint8_t *bytes = malloc(REPLY_HEAD + len);
        if (bytes) {
            put_number(bytes, call->corr, 8);
            memcpy(bytes + REPLY_HEAD, frame, len);
            int rv = peers_send(d->peers, call->from, CHANNEL_FORWARD_REPLY, bytes, REPLY_HEAD + len);
            (void)rv; /* an asker that lost its connection asks again */
            free(bytes);
        }
    }
    call->state = CALL_DONE;
}

static void finish(struct daemon *d, struct call *call, const struct control_reply *reply)
{
    void *frame = NULL;
    size_t len = 0;
    if (control_reply_encode(reply, &frame, &len)) {
        if (call->local) {
            control_drop(call->local);
            call->local = NULL;
        }
        call->state = CALL_DONE;
        return;
    }
    send_frame(d, call, frame, len);
    free(frame);
}

/* There is no leader. A change that was proposed may still be committed, and must not be called undone. */
static void finish_no_quorum(struct daemon *d, struct call *call)
{
    struct control_reply reply = {0};
    api_no_quorum(&reply);
    if (call->proposed || (call->kind == API_CHANGE && call->state == CALL_FORWARDED)) {
        reply = (struct control_reply){
            .code = CONTROL_TIMEOUT,
            .error = "the change is proposed, but not committed yet; it may still be",
            .hint = "vipctl history tells",
        };
    }
    finish(d, call, &reply);
}

static struct api_view view_of(struct daemon *d, bool local)
{
    struct requests *r = d->requests;
    const struct peers_counters *peers = peers_counters(d->peers);
    const struct datagram_counters *datagrams = datagram_counters(d->datagram);
    unsigned n = 0;
    r->counters[n++] = (struct api_counter){"datagrams_received", datagrams->received};
    r->counters[n++] = (struct api_counter){"datagrams_malformed", d->counters.malformed + datagrams->oversize};
    r->counters[n++] = (struct api_counter){"datagrams_strangers", d->counters.strangers};
    r->counters[n++] = (struct api_counter){"datagrams_other_cluster", d->counters.other_cluster};
    r->counters[n++] = (struct api_counter){"datagrams_other_version", d->counters.other_version};
    r->counters[n++] = (struct api_counter){"connections_refused", peers->refused};
    r->counters[n++] = (struct api_counter){"connections_malformed", peers->malformed};
    r->counters[n++] = (struct api_counter){"connections_lost", peers->lost};
    r->daemon = (struct api_daemon){
        .node = d->config->node,
        .id = d->self,
        .started_ms = d->started_ms,
        .fence = d->fence ? "kernel" : "addresses",
        .fence_why = !d->fence               ? "the configuration says fence: addresses"
                     : d->fence_trouble[0] ? d->fence_trouble
                                           : NULL,
        .n_counters = n,
        .counters = r->counters,
    };
    return (struct api_view){
        .core = d->core,
        .table = d->table,
        .daemon = &r->daemon,
        .scratch = &r->scratch,
        .now = daemon_now(),
        .wall_ms = daemon_wall_ms(),
        .local = local,
    };
}

static void answer(struct daemon *d, struct call *call, bool local)
{
    struct value_arena arena;
    struct control_reply reply = {0};
    struct api_view view = view_of(d, local);
    value_arena_init(&arena, CONTROL_REQUEST_ARENA_MAX);
    api_read(&view, &call->request, &arena, &reply);
    finish(d, call, &reply);
    value_arena_close(&arena);
}

static void again(struct call *call, uint64_t after_ms)
{
    call->state = CALL_READY;
    call->retry_at_ms = now_ms() + after_ms;
}

static void finish_outcome(struct daemon *d, struct call *call, const struct outcome *outcome)
{
    struct value_arena arena;
    struct control_reply reply = {0};
    struct api_view view = view_of(d, false);
    value_arena_init(&arena, CONTROL_REQUEST_ARENA_MAX);
    api_outcome(&view, &call->request, outcome, &arena, &reply);
    finish(d, call, &reply);
    value_arena_close(&arena);
}

/* ---------------------------------------------------------------- on the leader */

/* An answer without a change rests on this node's table alone, which may be an old leader's: before it is given, an entry
 * that does nothing has to go through the log. */
static void confirm(struct daemon *d, struct call *call)
{
    struct command nothing = {.type = COMMAND_MOVE, .at_ms = daemon_wall_ms()};
    uint8_t bytes[128];
    size_t len;
    uint64_t index = 0;
    if (command_encode(&nothing, bytes, sizeof bytes, &len) ||
        consensus_submit(d->consensus, bytes, len, now_ms(), &index) || !index) {
        again(call, RETRY_MS);
        return;
    }
    call->state = CALL_PROPOSED;
    call->confirming = true;
    call->index = index;
}

static void change(struct daemon *d, struct call *call)
{
    struct value_arena arena;
    struct control_reply reply = {0};
    struct command command;
    struct api_view view = view_of(d, false);
    char who[WHO_SIZE];
    snprintf(who, sizeof who, "uid %u on %.15s", call->uid,
             call->from ? members_name(d, call->from) : d->config->node);
    value_arena_init(&arena, CONTROL_REQUEST_ARENA_MAX);
    if (api_command(&view, &call->request, who, &arena, &command, &reply)) {
        if (call->confirmed) {
            finish(d, call, &reply);
        } else {
            confirm(d, call);
        }
    } else {
        struct event event = {.type = EV_REQUEST};
        command.at_ms = view.wall_ms;
        command.request = call->request.id;
        event.request.token = call->token;
        event.request.command = &command;
        event.request.force = call->request.force;
        event.request.dry_run = call->request.dry_run;
        again(call, RETRY_MS); /* unless the step below says otherwise */
        daemon_event(d, &event);
    }
    value_arena_close(&arena);
}

/* Done when this node leads no more; `index` notes that it was asked. */
static void transfer(struct daemon *d, struct call *call)
{
    struct value_arena arena;
    struct control_reply reply = {0};
    struct api_view view = view_of(d, false);
    uint64_t to = 0;
    if (call->index) {
        again(call, RETRY_MS);
        return;
    }
    value_arena_init(&arena, CONTROL_REQUEST_ARENA_MAX);
    if (api_transfer(&view, &call->request, &arena, &to, &reply)) {
        finish(d, call, &reply);
    } else {
        int rv = consensus_transfer(d->consensus, to, now_ms());
        if (rv < 0) {
            daemon_fatal(d, "transfer");
        } else if (rv) {
            again(call, RETRY_MS); /* not a leader any more, or not ready: asked again until the time is up */
        } else {
            call->index = 1;
            again(call, RETRY_MS);
        }
    }
    value_arena_close(&arena);
}

static void lead(struct daemon *d, struct call *call)
{
    switch (call->kind) {
    case API_WAIT:
        call->state = CALL_WAITING;
        call->wait_until_ms = now_ms() + api_wait_ms(&call->request);
        call->retry_at_ms = 0;
        break;
    case API_CHANGE:
        change(d, call);
        break;
    case API_DAEMON:
        transfer(d, call);
        break;
    case API_UNKNOWN:
    case API_READ:
    case API_OWN:
    default:
        answer(d, call, !core_has_quorum(d->core, daemon_now()));
    }
}

/* ---------------------------------------------------------------- elsewhere */

static bool forward(struct daemon *d, struct call *call)
{
    uint64_t leader = core_leader(d->core);
    if (!leader || leader == d->self || !peers_is_connected(d->peers, leader)) {
        return false;
    }
    uint8_t *bytes = malloc(FORWARD_HEAD + call->len);
    if (!bytes) {
        return false;
    }
    put_number(bytes, call->token, 8);
    put_number(bytes + 8, call->uid, 4);
    memcpy(bytes + FORWARD_HEAD, call->bytes, call->len);
    int rv = peers_send(d->peers, leader, CHANNEL_FORWARD, bytes, FORWARD_HEAD + call->len);
    free(bytes);
    if (rv) {
        return false;
    }
    call->state = CALL_FORWARDED;
    call->leader = leader;
    return true;
}

static void dispatch(struct daemon *d, struct call *call)
{
    bool leads = core_is_leader(d->core);
    if (call->kind == API_CHANGE && !core_speaks(d->core, daemon_now())) {
        leads = false; /* others may lead by now: a refusal would speak of an old table */
    }
    if (call->kind == API_OWN || call->kind == API_UNKNOWN) {
        answer(d, call, false);
        return;
    }
    if (leads && !(call->kind == API_DAEMON && call->index && core_leader(d->core) != d->self)) {
        lead(d, call);
        return;
    }
    if (call->kind == API_DAEMON && call->index) {
        struct outcome outcome = {.code = OUTCOME_DONE};
        finish_outcome(d, call, &outcome); /* handed over */
        return;
    }
    if (!call->local) {
        finish_no_quorum(d, call); /* the asker finds the new leader */
        return;
    }
    if (forward(d, call)) {
        return;
    }
    uint64_t now = now_ms();
    if (call->kind == API_READ && now >= call->begun_ms + READ_PATIENCE_MS) {
        answer(d, call, true);
        return;
    }
    if (call->kind == API_CHANGE && !call->proposed && now >= call->begun_ms + CHANGE_PATIENCE_MS) {
        finish_no_quorum(d, call);
        return;
    }
    again(call, RETRY_MS);
}

/* ---------------------------------------------------------------- time */

static void poll_waiting(struct daemon *d, struct call *call, uint64_t now)
{
    bool bad = false;
    struct api_view view = view_of(d, false);
    if (now < call->retry_at_ms) {
        return;
    }
    call->retry_at_ms = now + 3 + (uint64_t)d->table->vips_end / 500; /* it looks at every VIP */
    if (!core_is_leader(d->core)) {
        again(call, 0);
    } else if (api_settled(&view, &call->request, &bad) || bad || now >= call->wait_until_ms) {
        answer(d, call, false);
    }
}

static void poll_call(struct daemon *d, struct call *call, uint64_t now)
{
    if (call->state == CALL_WAITING) {
        poll_waiting(d, call, now);
    }
    if (call->state == CALL_READY && now >= call->retry_at_ms) {
        dispatch(d, call);
    }
    if (call->state != CALL_DONE && now >= call->until_ms) {
        if (call->kind == API_READ) {
            answer(d, call, true);
        } else {
            finish_no_quorum(d, call);
        }
    }
}

static void sweep(struct requests *r)
{
    for (struct call **at = &r->calls; *at;) {
        struct call *call = *at;
        if (call->state != CALL_DONE) {
            at = &call->next;
            continue;
        }
        *at = call->next;
        r->n--;
        value_arena_close(&call->arena);
        free(call->bytes);
        free(call);
    }
}

static void on_timer(uv_timer_t *timer)
{
    requests_poll(timer->data);
}

void requests_poll(struct daemon *d)
{
    struct requests *r = d->requests;
    if (!r || r->polling || d->pumping || !r->calls) {
        return;
    }
    r->polling = true;
    uint64_t now = now_ms();
    for (struct call *call = r->calls; call; call = call->next) {
        if (call->state != CALL_DONE) {
            poll_call(d, call, now);
        }
    }
    sweep(r);
    if (r->calls) {
        uv_timer_start(&r->timer, on_timer, 5, 0);
    }
    r->polling = false;
}

/* ---------------------------------------------------------------- a new call */

static void refuse_at_once(struct daemon *d, struct call *call, const char *why)
{
    struct control_reply reply = {.code = CONTROL_USAGE, .error = why};
    finish(d, call, &reply);
}

static void begin(struct daemon *d, struct call *call)
{
    struct requests *r = d->requests;
    const char *why = NULL;
    call->token = ++r->tokens;
    call->begun_ms = now_ms();
    call->next = r->calls;
    r->calls = call;
    r->n++;
    value_arena_init(&call->arena, CONTROL_REQUEST_ARENA_MAX);
    int rv = control_request_decode(&call->arena, call->bytes, call->len, &call->request, &why);
    call->until_ms = call->begun_ms + (call->request.timeout_ms ? call->request.timeout_ms : TIMEOUT_MS);
    if (rv) {
        call->until_ms = call->begun_ms + TIMEOUT_MS;
        refuse_at_once(d, call, why ? why : "the request is too large");
    } else {
        call->kind = api_kind(call->request.op);
        if (call->kind == API_CHANGE && !call->request.id) {
            refuse_at_once(d, call, "a change needs an id, so that it is done once");
        }
    }
    requests_poll(d);
}

static struct call *new_call(struct daemon *d, const void *bytes, size_t len)
{
    struct call *call = d->requests->n < CALLS_MAX ? calloc(1, sizeof *call) : NULL;
    if (!call) {
        return NULL;
    }
    call->bytes = malloc(len ? len : 1);
    if (!call->bytes) {
        free(call);
        return NULL;
    }
    memcpy(call->bytes, bytes, len);
    call->len = len;
    return call;
}

static void on_request(void *ud, struct control_call *local, const void *bytes, size_t len, uid_t uid, pid_t pid)
{
    struct daemon *d = ud;
    struct call *call = new_call(d, bytes, len);
    (void)pid;
    if (!call) {
        control_drop(local);
        return;
    }
    call->local = local;
    call->uid = uid;
    begin(d, call);
}

void requests_forwarded(struct daemon *d, uint64_t from, const void *data, size_t len)
{
    struct call *call;
    if (len < FORWARD_HEAD || !(call = new_call(d, (const uint8_t *)data + FORWARD_HEAD, len - FORWARD_HEAD))) {
        d->counters.malformed += len < FORWARD_HEAD;
        return;
    }
    call->from = from;
    call->corr = get_number(data, 8);
    call->uid = (uint32_t)get_number((const uint8_t *)data + 8, 4);
    begin(d, call);
}

/* ---------------------------------------------------------------- what becomes of it */

static struct call *find(struct daemon *d, uint64_t token)
{
    for (struct call *call = d->requests->calls; call; call = call->next) {
        if (call->token == token) {
            return call;
        }
    }
    return NULL;
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
    struct call *call = find(d, get_number(data, 8));
    if (!call || call->state != CALL_FORWARDED || call->leader != from) {
        return; /* it was given up, or asked elsewhere, meanwhile */
    }
    const uint8_t *frame = (const uint8_t *)data + REPLY_HEAD;
    if (says_no_quorum(frame, len - REPLY_HEAD)) {
        again(call, RETRY_MS);
    } else {
        send_frame(d, call, frame, len - REPLY_HEAD);
    }
    requests_poll(d);
}

/* The leader that it was forwarded to leads no more, or is gone, and what it did with it is not known. */
static void unanswered(struct daemon *d, struct call *call)
{
    uint64_t leader = d->consensus ? consensus_leader(d->consensus) : 0;
    if (call->kind == API_DAEMON && leader != call->leader) {
        const char *to = value_as_string(value_get(call->request.args, "node"), NULL);
        if (!to || (leader && strcmp(members_name(d, leader), to) == 0)) {
            struct outcome outcome = {.code = OUTCOME_DONE};
            finish_outcome(d, call, &outcome); /* asking the new leader would hand the leadership over once more */
            return;
        }
    }
    call->proposed = call->proposed || call->kind == API_CHANGE;
    again(call, 0);
}

void requests_disconnected(struct daemon *d, uint64_t id)
{
    for (struct call *call = d->requests ? d->requests->calls : NULL; call; call = call->next) {
        if (call->state == CALL_FORWARDED && call->leader == id) {
            unanswered(d, call);
        }
        if (!call->local && call->from == id) {
            call->from = 0;
        }
    }
    requests_poll(d);
}

void requests_proposed(struct daemon *d, uint64_t token, uint64_t index)
{
    struct call *call = find(d, token);
    if (!call) {
        return;
    }
    if (index) {
        call->state = CALL_PROPOSED;
        call->index = index;
        call->proposed = true;
    } else {
        again(call, RETRY_MS);
    }
}

void requests_outcome(struct daemon *d, uint64_t token, const struct outcome *outcome)
{
    struct call *call = find(d, token);
    if (!call) {
        return;
    }
    bool late = now_ms() >= call->begun_ms + CHANGE_PATIENCE_MS;
    if (outcome->code == OUTCOME_NO_QUORUM && late) {
        finish_no_quorum(d, call);
    } else if (outcome->code == OUTCOME_STALE || outcome->code == OUTCOME_NO_QUORUM) {
        again(call, RETRY_MS);
    } else {
        finish_outcome(d, call, outcome);
    }
}

void requests_applied(struct daemon *d, uint64_t index, uint64_t request, const struct outcome *outcome)
{
    for (struct call *call = d->requests ? d->requests->calls : NULL; call; call = call->next) {
        if (call->state != CALL_PROPOSED || call->index != index) {
            continue;
        }
        if (call->confirming) {
            call->confirming = false;
            call->confirmed = request == 0;
            call->index = 0;
            again(call, 0);
        } else if (call->request.id != request || outcome->code == OUTCOME_STALE) {
            call->index = 0;
            again(call, 0); /* another leader's entry took the place, or the decision went stale: decide anew */
        } else {
            finish_outcome(d, call, outcome);
        }
    }
}

void requests_role(struct daemon *d)
{
    bool leads = d->consensus && consensus_is_leader(d->consensus);
    for (struct call *call = d->requests ? d->requests->calls : NULL; call; call = call->next) {
        if (!leads) {
            call->confirming = call->confirmed = false;
        }
        if (call->state == CALL_PROPOSED && !leads) {
            call->index = 0;
            again(call, 0);
        }
        if (call->kind == API_DAEMON && call->state == CALL_READY && call->index && !leads) {
            struct outcome outcome = {.code = OUTCOME_DONE};
            finish_outcome(d, call, &outcome); /* handed over */
        }
        if (call->state == CALL_FORWARDED && d->consensus && consensus_leader(d->consensus) != call->leader) {
            unanswered(d, call);
        }
    }
}

/* ---------------------------------------------------------------- begin and end */

int requests_open(struct daemon *d)
{
    static const struct control_ops OPS = {.request = on_request};
    d->requests = calloc(1, sizeof *d->requests);
    if (!d->requests) {
        return -ENOMEM;
    }
    uv_timer_init(&d->loop, &d->requests->timer);
    d->requests->timer.data = d;
    int rv = control_open(&d->control, &d->loop, d->config->control, &OPS, d);
    if (rv) {
        log_write(LOG_FATAL, "what=\"control socket %s\" error=\"%s\"", d->config->control, strerror(-rv));
    }
    return rv;
}

void requests_close(struct daemon *d)
{
    struct requests *r = d->requests;
    control_close(d->control, NULL, NULL);
    d->control = NULL;
    if (!r) {
        return;
    }
    for (struct call *call = r->calls; call; call = call->next) {
        if (call->local) {
            control_drop(call->local);
            call->local = NULL;
        }
        call->state = CALL_DONE;
    }
    sweep(r);
    uv_timer_stop(&r->timer);
    uv_close((uv_handle_t *)&r->timer, NULL);
}
