#ifndef VIPD_DAEMON_CALL_H
#define VIPD_DAEMON_CALL_H

/* What the files of the clients' requests share: a call is one request of a local client or of another node's, from its
 * arrival to its answer. requests.c keeps the calls and decides where each is to be answered, call.c answers,
 * call_lead.c is the leader's part, call_key.c and call_announce.c what is asked of one node, call_forward.c the way to the leader and back,
 * call_document.c has documents parsed. */

#include "daemon/access.h"
#include "daemon/api.h"
#include "daemon/daemon.h"

#define CALL_RETRY_MS 10u
#define CALL_CHANGE_PATIENCE_MS 250u /* for a leader: then the client is told, and asks again or gives up; a change that
                                      * outlived its client would be done after its refusal */

enum call_state
{
    CALL_READY = 0, /* to be asked, at retry_at */
    CALL_PROPOSED,
    CALL_FORWARDED,
    CALL_WAITING, /* op wait, on the leader */
    CALL_FOLLOWING, /* op events, until there is one */
    CALL_READING, /* its document is being parsed, on another thread */
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
    uint64_t leader; /* forwarded to: the leader, or (API_NODE) the node that it is for */
    uint64_t index;  /* proposed as */
    bool proposed;   /* once it was, perhaps, here or by a leader that did not answer: it may come true all the same */
    bool confirming; /* what is proposed is an entry that does nothing: once it is applied this node led until then ... */
    bool confirmed;  /* ... and its table is no older than the request */
    struct document *document; /* of an operation that has one */
    char document_error[DOCUMENT_ERROR_SIZE];
    struct api_note note;
    struct value_arena note_arena; /* of the last attempt */
    uint64_t begun_ms, until_ms, retry_at_ms, wait_until_ms;
};

struct requests
{
    struct call *calls;
    unsigned n;
    uint64_t tokens;
    struct access access;
    bool polling;
    uv_timer_t timer;
    uint64_t announced_ms[VIPS_MAX]; /* when somebody last asked for it, by VIP slot */
    struct api_scratch scratch;
    struct api_survey survey;
    struct api_daemon daemon;
    struct api_counter counters[32];
    struct api_check checks[CHECKS_MAX];
    char waits[VOTERS_MAX * NAME_SIZE + 192];
    struct api_hooks hooks;
};

/* The loop's time, ms. */
uint64_t call_now_ms(void);
/* The call with that number, or NULL. */
struct call *call_find(struct daemon *d, uint64_t token);
/* A call with a copy of the request; NULL: too many, or no memory. */
struct call *call_new(struct daemon *d, const void *bytes, size_t len);
/* Enters it in the list and looks after it at once. */
void call_begin(struct daemon *d, struct call *call);
/* Asked anew after that time. */
void call_again(struct call *call, uint64_t after_ms);

/* What the answers are made of. local: there is no leader to ask, the node's own table has to do. */
struct api_view requests_view(struct daemon *d, bool local);

/* The same with what the call has besides its bytes. */
struct api_view call_view(struct daemon *d, struct call *call, bool local);
/* Whether the call's document has yet to be parsed; then that is under way and the call is asked anew, or it was
 * answered. */
bool call_must_read(struct daemon *d, struct call *call);

/* Whether the call is one that shows the survey, which this node is not through with yet; it goes on with it. */
bool call_must_survey(struct daemon *d, const struct call *call);

/* Each of these answers, and with it ends the call. */
void call_send(struct daemon *d, struct call *call, const void *frame, size_t len);
void call_finish(struct daemon *d, struct call *call, const struct control_reply *reply);
void call_answer(struct daemon *d, struct call *call, bool local);
void call_outcome(struct daemon *d, struct call *call, const struct outcome *outcome);
/* There is no leader. A change that was proposed may still be committed, and is not called undone. */
void call_no_quorum(struct daemon *d, struct call *call);

/* The answer to a change that changes nothing: given once this node has shown that it led when it was made. */
void call_no_change(struct daemon *d, struct call *call, const struct control_reply *reply);

/* This node leads: does what the request says. */
void call_lead(struct daemon *d, struct call *call);
/* Passes it on to a node; false: it cannot be reached. */
bool call_forward(struct daemon *d, struct call *call, uint64_t to);
/* The answer to another node's call. */
void call_send_back(struct daemon *d, struct call *call, const void *frame, size_t len);
/* call_key.c: what is asked of one node about the cluster's keys, which it does or passes on to that node. */
void call_key(struct daemon *d, struct call *call);
/* call_announce.c: what is asked of the node that holds a VIP. */
void call_announce(struct daemon *d, struct call *call);
/* Its node did not answer in time. */
void call_no_node(struct daemon *d, struct call *call);
/* The leader that it was forwarded to leads no more, or is gone, and what it did with it is not known. */
void call_unanswered(struct daemon *d, struct call *call);

#endif
