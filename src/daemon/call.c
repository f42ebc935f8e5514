/* A call's answer, and what it is made of. */

#include "daemon/call.h"

#include <stdlib.h>

void call_send(struct daemon *d, struct call *call, const void *frame, size_t len)
{
    if (call->local) {
        control_reply(call->local, frame, len);
        call->local = NULL;
    } else if (call->from) {
        call_send_back(d, call, frame, len);
    }
    call->state = CALL_DONE;
}

void call_finish(struct daemon *d, struct call *call, const struct control_reply *reply)
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
    call_send(d, call, frame, len);
    free(frame);
}

void call_no_quorum(struct daemon *d, struct call *call)
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
    call_finish(d, call, &reply);
}

struct api_view requests_view(struct daemon *d, bool local)
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
    r->counters[n++] = (struct api_counter){"datagrams_dropped", datagrams->dropped};
    r->counters[n++] = (struct api_counter){"datagrams_unsealed", peers->unsealed + peers->sessionless};
    r->counters[n++] = (struct api_counter){"datagrams_forged", peers->forged};
    r->counters[n++] = (struct api_counter){"datagrams_replayed", peers->replayed};
    r->counters[n++] = (struct api_counter){"connections_refused", peers->refused};
    r->counters[n++] = (struct api_counter){"connections_unproven", peers->unproven};
    r->counters[n++] = (struct api_counter){"connections_late", peers->late};
    r->counters[n++] = (struct api_counter){"connections_crowd", peers->evicted + peers->hasty};
    r->counters[n++] = (struct api_counter){"connections_malformed", peers->malformed};
    r->counters[n++] = (struct api_counter){"connections_lost", peers->lost};
    health_own(d, r->checks);
    hooks_describe(d, &r->hooks);
    r->counters[n++] = (struct api_counter){"hooks_run", r->hooks.run};
    r->counters[n++] = (struct api_counter){"hooks_failed", r->hooks.failed};
    r->counters[n++] = (struct api_counter){"hooks_dropped", r->hooks.dropped};
    r->counters[n++] = (struct api_counter){"connections_reset", resets_count(d)};
    r->daemon = (struct api_daemon){
        .node = d->config->node,
        .cluster = d->config->cluster,
        .waits = founding_waits(d, r->waits, sizeof r->waits),
        .id = d->self,
        .started_ms = d->started_ms,
        .fence = d->fence ? "kernel" : "addresses",
        .fence_why = !d->fence               ? "the configuration says fence: addresses"
                     : d->fence_trouble[0] ? d->fence_trouble
                                           : NULL,
        .n_keys = d->keys.n,
        .n_counters = n,
        .counters = r->counters,
        .checks = r->checks,
        .hooks = &r->hooks,
        .no_reset = resets_trouble(d),
    };
    return (struct api_view){
        .core = d->core,
        .table = d->table,
        .daemon = &r->daemon,
        .scratch = &r->scratch,
        .survey = &r->survey,
        .now = daemon_now(),
        .wall_ms = daemon_wall_ms(),
        .local = local,
    };
}

#define SURVEY_BUDGET_MS 2u     /* of one turn of the loop; planning once may take longer */
#define SURVEY_PATIENCE_MS 1500u /* then the answer says that it is not known: all changes too fast just now */

bool call_must_survey(struct daemon *d, const struct call *call)
{
    struct api_view view = requests_view(d, false);
    time_ns until = view.now + SURVEY_BUDGET_MS * MS;
    if (!api_has_survey(call->request.op) || call_now_ms() >= call->begun_ms + SURVEY_PATIENCE_MS) {
        return false;
    }
    while (!api_survey_step(&view, &d->requests->survey)) {
        if (daemon_now() >= until) {
            return true;
        }
    }
    return false;
}

void call_answer(struct daemon *d, struct call *call, bool local)
{
    struct value_arena arena;
    struct control_reply reply = {0};
    if (call_must_read(d, call)) {
        return;
    }
    struct api_view view = call_view(d, call, local);
    value_arena_init(&arena, CONTROL_REQUEST_ARENA_MAX);
    api_read(&view, &call->request, &arena, &reply);
    call_finish(d, call, &reply);
    value_arena_close(&arena);
}

void call_again(struct call *call, uint64_t after_ms)
{
    call->state = CALL_READY;
    call->retry_at_ms = call_now_ms() + after_ms;
}

void call_outcome(struct daemon *d, struct call *call, const struct outcome *outcome)
{
    struct value_arena arena;
    struct control_reply reply = {0};
    struct api_view view = call_view(d, call, false);
    value_arena_init(&arena, CONTROL_REQUEST_ARENA_MAX);
    api_outcome(&view, &call->request, outcome, &arena, &reply);
    call_finish(d, call, &reply);
    value_arena_close(&arena);
}
