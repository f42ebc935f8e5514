/* Requests that come with a document: it is parsed on a thread of libuv's pool, because a large one takes as long as a
 * lease may have left.
 *
 * Happy path: call_must_read() copies the text out of the request and queues the work; once it is through the call has the
 * tree, or the message that says what is wrong with the text, and is looked after again. Failure modes: the call is over, or
 * the daemon closing, before the thread is through: the work has a life of its own, and what it made is freed. */

#include "daemon/call.h"

#include <stdio.h>
#include <stdlib.h>

struct reading
{
    uv_work_t work;
    struct daemon *daemon;
    uint64_t token;
    char *text;
    size_t len;
    char name[API_SOURCE_SIZE];
    struct document *document;
    char error[DOCUMENT_ERROR_SIZE];
};

static void on_thread(uv_work_t *work)
{
    struct reading *reading = work->data;
    if (document_parse(reading->name, reading->text, reading->len, &reading->document, reading->error)) {
        reading->document = NULL;
    }
}

static void on_read(uv_work_t *work, int status)
{
    struct reading *reading = work->data;
    struct daemon *d = reading->daemon;
    struct call *call = call_find(d, reading->token);
    if (call && call->state == CALL_READING) {
        call->document = reading->document;
        reading->document = NULL;
        snprintf(call->document_error, sizeof call->document_error, "%s",
                 status ? "the document was not read: the daemon stops" : reading->error);
        call_again(call, 0);
    }
    document_free(reading->document);
    free(reading->text);
    free(reading);
    requests_poll(d);
}

static void read_document(struct daemon *d, struct call *call, struct reading *reading)
{
    reading->work.data = reading;
    reading->daemon = d;
    reading->token = call->token;
    call->state = CALL_READING;
    if (uv_queue_work(&d->loop, &reading->work, on_thread, on_read)) {
        abort(); /* a bug: it refuses nothing but a missing callback */
    }
}

bool call_must_read(struct daemon *d, struct call *call)
{
    struct value_arena arena;
    struct control_reply reply = {0};
    struct api_view view = requests_view(d, false);
    if (!api_has_document(call->request.op) || call->document || call->document_error[0]) {
        return false;
    }
    struct reading *reading = calloc(1, sizeof *reading);
    value_arena_init(&arena, CONTROL_REQUEST_ARENA_MAX);
    if (!reading) {
        api_refuse(&arena, &reply, CONTROL_FAILED, NULL, "out of memory");
        call_finish(d, call, &reply);
    } else if (api_document_text(&view, &call->request, &arena, &reading->text, &reading->len, reading->name, &reply)) {
        free(reading);
        if (call->kind == API_CHANGE) {
            call_no_change(d, call, &reply);
        } else {
            call_finish(d, call, &reply);
        }
    } else {
        read_document(d, call, reading);
    }
    value_arena_close(&arena);
    return true;
}

struct api_view call_view(struct daemon *d, struct call *call, bool local)
{
    struct api_view view = requests_view(d, local);
    call->note.document = call->document;
    call->note.error = call->document_error[0] ? call->document_error : NULL;
    call->note.arena = &call->note_arena;
    view.note = &call->note;
    return view;
}
