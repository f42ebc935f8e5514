/* Clients' requests: answered here, or passed on to the leader and answered with its reply.
 *
 * Happy path: a request comes from the control socket; on the leader a change becomes a command, is proposed, and is
 * answered when its entry has been applied; elsewhere it goes to the leader over the peer connection and the
 * reply comes back the same way. Failure modes: no leader (waited for until the request's time is up, then exit code 4; what
 * is only read is answered from this node's own view); the leader changes half way (asked again: the request's id makes
 * sure that a change is done once); a decision went stale (made anew on the new table); the client went away (the
 * reply is dropped by the control socket). */

#include "daemon/call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "io/pages.h"

#define CALLS_MAX 512
#define FOLLOWERS_MAX 16 /* of the events: each has one of the control socket's connections for as long as it follows */
#define POLL_MS 5
#define TIMEOUT_MS 10000u     /* for a leader, when the client does not say */
#define READ_PATIENCE_MS 500u /* a reading request waits so long for a leader */

uint64_t call_now_ms(void)
{
    return daemon_now() / MS;
}

struct call *call_find(struct daemon *d, uint64_t token)
{
    for (struct call *call = d->requests->calls; call; call = call->next) {
        if (call->token == token) {
            return call;
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- where it is answered */

static void refuse_at_once(struct daemon *d, struct call *call, enum control_code code, const char *why,
                           const char *hint)
{
    struct control_reply reply = {.code = code, .error = why, .hint = hint};
    call_finish(d, call, &reply);
}

static void follow(struct daemon *d, struct call *call)
{
    unsigned n = 0;
    for (const struct call *other = d->requests->calls; other; other = other->next) {
        n += other->state == CALL_FOLLOWING;
    }
    if (n >= FOLLOWERS_MAX) {
        refuse_at_once(d, call, CONTROL_FAILED, "16 clients follow the events of this node already",
                       "ask another node, or try again");
        return;
    }
    call->state = CALL_FOLLOWING;
    call->wait_until_ms = call->begun_ms + api_events_ms(&call->request);
}

static void dispatch(struct daemon *d, struct call *call)
{
    bool leads = core_is_leader(d->core);
    if (call->kind == API_CHANGE && !core_speaks(d->core, daemon_now())) {
        leads = false; /* others may lead by now: a refusal would speak of an old table */
    }
    if (call->kind == API_OWN || call->kind == API_UNKNOWN) {
        call_answer(d, call, false);
        return;
    }
    if (call->kind == API_NODE) {
        call_key(d, call);
        return;
    }
    if (call->kind == API_HOLDER) {
        call_announce(d, call);
        return;
    }
    if (call->kind == API_EVENTS) {
        follow(d, call);
        return;
    }
    if (leads && !(call->kind == API_DAEMON && call->index && core_leader(d->core) != d->self)) {
        call_lead(d, call);
        return;
    }
    if (call->kind == API_DAEMON && call->index) {
        struct outcome outcome = {.code = OUTCOME_DONE};
        call_outcome(d, call, &outcome); /* handed over */
        return;
    }
    if (!call->local) {
        call_no_quorum(d, call); /* the asker finds the new leader */
        return;
    }
    if (call_forward(d, call, core_leader(d->core))) {
        return;
    }
    uint64_t now = call_now_ms();
    if (call->kind == API_READ && now >= call->begun_ms + READ_PATIENCE_MS) {
        call_answer(d, call, true);
        return;
    }
    if (call->kind == API_CHANGE && !call->proposed && now >= call->begun_ms + CALL_CHANGE_PATIENCE_MS) {
        call_no_quorum(d, call);
        return;
    }
    call_again(call, CALL_RETRY_MS);
}

/* ---------------------------------------------------------------- time */

static void poll_waiting(struct daemon *d, struct call *call, uint64_t now)
{
    bool bad = false;
    struct api_view view = requests_view(d, false);
    if (now < call->retry_at_ms) {
        return;
    }
    call->retry_at_ms = now + 3 + (uint64_t)d->table->vips_end / 500; /* it looks at every VIP */
    if (!core_is_leader(d->core)) {
        call_again(call, 0);
    } else if (api_settled(&view, &call->request, &bad) || bad || now >= call->wait_until_ms) {
        call_answer(d, call, false);
    }
}

static void poll_following(struct daemon *d, struct call *call, uint64_t now)
{
    uint64_t seen = d->table->n_history + 1; /* call->index: as far as it was looked */
    if (now < call->wait_until_ms && call->index == seen) {
        return;
    }
    struct api_view view = requests_view(d, false);
    if (now >= call->wait_until_ms || api_events_due(&view, &call->request)) {
        call_answer(d, call, false);
    }
    call->index = seen;
}

static void poll_call(struct daemon *d, struct call *call, uint64_t now)
{
    if (call->state == CALL_WAITING) {
        poll_waiting(d, call, now);
    }
    if (call->state == CALL_READY && now >= call->retry_at_ms) {
        dispatch(d, call);
    }
    if (call->state == CALL_FOLLOWING) {
        poll_following(d, call, now);
    }
    if (call->state != CALL_DONE && call->state != CALL_READING && now >= call->until_ms) {
        if (call->kind == API_READ || call->kind == API_EVENTS) {
            call_answer(d, call, true);
        } else if (call->kind == API_NODE || call->kind == API_HOLDER) {
            call_no_node(d, call);
        } else {
            call_no_quorum(d, call);
        }
    }
}

/* What was answered needed the scratch memory, some of it a lot: at rest it takes no room. */
static void sweep(struct requests *r)
{
    unsigned before = r->n;
    for (struct call **at = &r->calls; *at;) {
        struct call *call = *at;
        if (call->state != CALL_DONE) {
            at = &call->next;
            continue;
        }
        *at = call->next;
        r->n--;
        value_arena_close(&call->arena);
        value_arena_close(&call->note_arena);
        document_free(call->document);
        free(call->bytes);
        free(call);
    }
    if (r->n < before) {
        pages_give_back(&r->scratch, sizeof r->scratch);
    }
}

static void on_timer(uv_timer_t *timer)
{
    requests_poll(timer->data);
}

/* Those that follow the events are looked after with every turn of the pump, which is what brings events; by themselves they
 * need no more than the end of their time. */
static uint64_t next_poll_ms(const struct requests *r, uint64_t now)
{
    uint64_t wait = UINT64_MAX;
    for (const struct call *call = r->calls; call; call = call->next) {
        uint64_t own = call->state != CALL_FOLLOWING ? POLL_MS : call->wait_until_ms > now ? call->wait_until_ms - now : 0;
        wait = own < wait ? own : wait;
    }
    return wait;
}

void requests_poll(struct daemon *d)
{
    struct requests *r = d->requests;
    if (!r || r->polling || d->pumping || !r->calls) {
        return;
    }
    r->polling = true;
    uint64_t now = call_now_ms();
    for (struct call *call = r->calls; call; call = call->next) {
        if (call->state != CALL_DONE) {
            poll_call(d, call, now);
        }
    }
    sweep(r);
    if (r->calls) {
        uv_timer_start(&r->timer, on_timer, next_poll_ms(r, now), 0);
    }
    r->polling = false;
}

/* ---------------------------------------------------------------- a new call */

static bool in_group(void *ud, gid_t group)
{
    return control_in_group(ud, group);
}

/* NULL: it may be done for this client. The node that took a request from its client judged it already. */
static const char *refusal(struct daemon *d, const struct call *call, const char **ret_hint)
{
    bool changes = ((call->kind == API_CHANGE || call->kind == API_HOLDER) && !call->request.dry_run) ||
                   call->kind == API_DAEMON ||
                   (call->kind == API_NODE && strcmp(call->request.op, "key.show") != 0);

    return !call->local ? NULL
                        : access_refusal(&d->requests->access, call->uid, in_group, call->local, changes, ret_hint);
}

void call_begin(struct daemon *d, struct call *call)
{
    struct requests *r = d->requests;
    const char *why = NULL;
    call->token = ++r->tokens;
    call->begun_ms = call_now_ms();
    call->next = r->calls;
    r->calls = call;
    r->n++;
    value_arena_init(&call->arena, CONTROL_REQUEST_ARENA_MAX);
    int rv = control_request_decode(&call->arena, call->bytes, call->len, &call->request, &why);
    call->until_ms = call->begun_ms + (call->request.timeout_ms ? call->request.timeout_ms : TIMEOUT_MS);
    if (rv) {
        call->until_ms = call->begun_ms + TIMEOUT_MS;
        refuse_at_once(d, call, CONTROL_USAGE, why ? why : "the request is too large", NULL);
    } else {
        const char *hint = NULL;
        call->kind = api_kind(call->request.op);
        why = refusal(d, call, &hint);
        if (why) {
            refuse_at_once(d, call, CONTROL_FAILED, why, hint);
        } else if (call->kind == API_CHANGE && !call->request.id) {
            refuse_at_once(d, call, CONTROL_USAGE, "a change needs an id, so that it is done once", NULL);
        }
    }
    requests_poll(d);
}

struct call *call_new(struct daemon *d, const void *bytes, size_t len)
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

static void on_request(void *ud, struct control_call *local, const void *bytes, size_t len, uid_t uid)
{
    struct daemon *d = ud;
    struct call *call = call_new(d, bytes, len);
    if (!call) {
        control_drop(local);
        return;
    }
    call->local = local;
    call->uid = uid;
    call_begin(d, call);
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
    d->requests->access.control = access_group(d->config->control_group);
    d->requests->access.admin = access_group(d->config->admin_group);
    int rv = control_open(&d->control, &d->loop, d->config->control, d->requests->access.control, &OPS, d);
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
