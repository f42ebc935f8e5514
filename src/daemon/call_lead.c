/* The leader's part of a call: a change becomes a command, is proposed, and is answered when its entry has been applied. */

#include "daemon/call.h"

#include <stdio.h>

#include "wire/command.h"

/* An answer without a change rests on this node's table alone, which may be an old leader's: before it is given, an entry
 * that does nothing has to go through the log. */
static void confirm(struct daemon *d, struct call *call)
{
    struct command nothing = {.type = COMMAND_MOVE, .at_ms = daemon_wall_ms(), .format = d->table->format};
    uint8_t bytes[128];
    size_t len;
    uint64_t index = 0;
    if (command_encode(&nothing, bytes, sizeof bytes, &len) ||
        consensus_submit(d->consensus, bytes, len, call_now_ms(), &index) || !index) {
        call_again(call, CALL_RETRY_MS);
        return;
    }
    call->state = CALL_PROPOSED;
    call->confirming = true;
    call->index = index;
}

void call_no_change(struct daemon *d, struct call *call, const struct control_reply *reply)
{
    if (call->confirmed) {
        call_finish(d, call, reply);
    } else {
        confirm(d, call);
    }
}

static void change(struct daemon *d, struct call *call)
{
    struct value_arena arena;
    struct control_reply reply = {0};
    struct command command;
    char who[WHO_SIZE];
    if (call_must_read(d, call)) {
        return;
    }
    struct api_view view = call_view(d, call, false);
    value_arena_close(&call->note_arena);
    value_arena_init(&call->note_arena, CONTROL_REQUEST_ARENA_MAX);
    call->note.changes = call->note.wait = NULL;
    snprintf(who, sizeof who, "uid %u on %.15s", call->uid,
             call->from ? members_name(d, call->from) : d->config->node);
    value_arena_init(&arena, CONTROL_REQUEST_ARENA_MAX);
    if (api_command(&view, &call->request, who, &arena, &command, &reply)) {
        call_no_change(d, call, &reply);
    } else {
        struct event event = {.type = EV_REQUEST};
        command.at_ms = view.wall_ms;
        command.request = call->request.id;
        event.request.token = call->token;
        event.request.command = &command;
        event.request.force = call->request.force;
        event.request.dry_run = call->request.dry_run;
        call_again(call, CALL_RETRY_MS); /* unless the step below says otherwise */
        daemon_event(d, &event);
    }
    value_arena_close(&arena);
}

/* Done when this node leads no more; `index` notes that it was asked. */
static void transfer(struct daemon *d, struct call *call)
{
    struct value_arena arena;
    struct control_reply reply = {0};
    struct api_view view = requests_view(d, false);
    uint64_t to = 0;
    if (call->index) {
        call_again(call, CALL_RETRY_MS);
        return;
    }
    value_arena_init(&arena, CONTROL_REQUEST_ARENA_MAX);
    if (api_transfer(&view, &call->request, &arena, &to, &reply)) {
        call_finish(d, call, &reply);
    } else if (call->request.dry_run) {
        struct outcome nothing = {.code = OUTCOME_DONE};
        call_outcome(d, call, &nothing);
    } else {
        int rv = consensus_transfer(d->consensus, to, call_now_ms());
        if (rv < 0) {
            daemon_fatal(d, "transfer");
        } else if (rv) {
            call_again(call, CALL_RETRY_MS); /* not a leader any more, or not ready: asked again until the time is up */
        } else {
            call->index = 1;
            call_again(call, CALL_RETRY_MS);
        }
    }
    value_arena_close(&arena);
}

void call_lead(struct daemon *d, struct call *call)
{
    switch (call->kind) {
    case API_WAIT:
        call->state = CALL_WAITING;
        call->wait_until_ms = call_now_ms() + api_wait_ms(&call->request);
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
    case API_NODE:
    case API_EVENTS:
    case API_HOLDER:
    default:
        if (call_must_survey(d, call)) {
            call_again(call, CALL_RETRY_MS / 2);
            break;
        }
        call_answer(d, call, !core_has_quorum(d->core, daemon_now()));
    }
}

void requests_proposed(struct daemon *d, uint64_t token, uint64_t index)
{
    struct call *call = call_find(d, token);
    if (!call) {
        return;
    }
    if (index) {
        call->state = CALL_PROPOSED;
        call->index = index;
        call->proposed = true;
    } else {
        call_again(call, CALL_RETRY_MS);
    }
}

void requests_outcome(struct daemon *d, uint64_t token, const struct outcome *outcome)
{
    struct call *call = call_find(d, token);
    if (!call) {
        return;
    }
    bool late = call_now_ms() >= call->begun_ms + CALL_CHANGE_PATIENCE_MS;
    if (outcome->code == OUTCOME_NO_QUORUM && late) {
        call_no_quorum(d, call);
    } else if (outcome->code == OUTCOME_STALE || outcome->code == OUTCOME_NO_QUORUM) {
        call_again(call, CALL_RETRY_MS);
    } else {
        call_outcome(d, call, outcome);
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
            call_again(call, 0);
        } else if (call->request.id != request || outcome->code == OUTCOME_STALE) {
            call->index = 0;
            call_again(call, 0); /* another leader's entry took the place, or the decision went stale: decide anew */
        } else {
            call_outcome(d, call, outcome);
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
            call_again(call, 0);
        }
        if (call->kind == API_DAEMON && call->state == CALL_READY && call->index && !leads) {
            struct outcome outcome = {.code = OUTCOME_DONE};
            call_outcome(d, call, &outcome); /* handed over */
        }
        if (call->state == CALL_FORWARDED && call->kind != API_NODE && call->kind != API_HOLDER && d->consensus && consensus_leader(d->consensus) != call->leader) {
            call_unanswered(d, call);
        }
    }
}
