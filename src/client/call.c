/* Requests: asked, repeated as long as it helps, and with `wait` followed until they are real.
 *
 * The happy path: connect, one exchange, its reply. Failure modes: the connection ends before the answer (the daemon was
 * restarted, or closed an idle connection): connect again and repeat; no leader, or what is to be changed is moving: the
 * reply says `retry`, pause and repeat; the time is over: the last reply, or one of our own that says so. Each repetition
 * has the same id, so a change whose answer was lost is done once. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "client/client_private.h"

#define PAUSE_MS 50
#define WAIT_TURN_MS 3000 /* for one answer to "wait", which takes about a second */

int vipd_client_open(const char *socket, struct vipd_client **ret)
{
    const char *path = socket != NULL ? socket : VIPD_SOCKET_DEFAULT;
    struct vipd_client *client = calloc(1, sizeof *client);

    if (client == NULL) {
        return -ENOMEM;
    }
    client->fd = -1;
    client->at.sun_family = AF_UNIX;
    int r = strlen(path) >= sizeof client->at.sun_path ? -ENAMETOOLONG : 0;
    if (r == 0) {
        strcpy(client->at.sun_path, path);
        r = exchange_connect(client);
    }
    if (r < 0) {
        free(client);
        return r;
    }
    *ret = client;
    return 0;
}

void vipd_client_close(struct vipd_client *client)
{
    if (client != NULL) {
        exchange_close(client);
        free(client);
    }
}

/* One call on its way. */
struct asking
{
    struct vipd_client *client;
    struct vipd_reply *reply;
    uint64_t retry_ms;    /* until when an answer that says `retry` is followed by another try */
    uint64_t deadline_ms; /* until when at all */
    bool persistent;      /* repeat also while the daemon itself is away */
};

/* A reply of our own. */
static void say(struct vipd_reply *reply, enum control_code code, const char *hint, const char *text)
{
    uint64_t index = reply->reply.index;
    const struct value *copy = value_string(&reply->arena, text);

    reply->reply = (struct control_reply){ .code = code, .hint = hint, .index = index,
                                           .error = value_as_string(copy, "out of memory") };
}

static void say_unanswered(struct vipd_reply *reply)
{
    say(reply, CONTROL_TIMEOUT, "it may still be done; look with vipctl status, or ask again",
        "the daemon did not answer in time");
}

static int decode(struct vipd_reply *reply, void *body, size_t len)
{
    struct control_reply decoded;
    int r = control_reply_decode(&reply->arena, body, len, &decoded);

    free(body);
    if (r < 0) {
        return r == -E2BIG ? -EMSGSIZE : -EPROTO;
    }
    reply->reply = decoded;
    return 0;
}

/* One try. 0 with a reply; -ETIMEDOUT; -EAGAIN: the connection was lost, try again; other -errno. *ret_sent: the daemon may
 * have the request. */
static int try_once(const struct asking *asking, const void *frame, size_t len, bool was_connected, bool *ret_sent)
{
    void *body;
    size_t body_len;
    int r = exchange_connect(asking->client);

    if (r < 0) {
        bool away = r == -ECONNREFUSED || r == -ENOENT || r == -EAGAIN;
        return away && (asking->persistent || r == -EAGAIN) ? -EAGAIN : r;
    }
    *ret_sent = true;
    r = exchange(asking->client, frame, len, asking->deadline_ms, &body, &body_len);
    if (r == -ECONNRESET || r == -EPIPE) {
        return was_connected || asking->persistent ? -EAGAIN : r;
    }
    return r < 0 ? r : decode(asking->reply, body, body_len);
}

/* Whether an answer is the last one. `took_ms`: it came after that; another try that has less (half as much again, because
 * the daemon may be busier) would likely end without an answer, and nobody would know what came of it. */
static bool is_last(const struct asking *asking, uint64_t now_ms, uint64_t took_ms)
{
    return !asking->reply->reply.retry || now_ms + PAUSE_MS >= asking->retry_ms ||
           now_ms + PAUSE_MS + took_ms + took_ms / 2 >= asking->deadline_ms;
}

static int ask_frame(const struct asking *asking, const void *frame, size_t len)
{
    bool again = true; /* a first connection that was lost was perhaps an idle one: that is worth one more try */
    bool answered = false;
    bool unsure = false; /* a try was sent and not answered: what a later one is refused, that one may still do */

    for (;;) {
        bool sent = false;
        uint64_t begun_ms = exchange_now_ms();
        int r = try_once(asking, frame, len, again, &sent);
        uint64_t now_ms = exchange_now_ms();
        again = false;
        unsure = unsure || (sent && r != 0);
        if (r == 0) {
            answered = true;
            if (is_last(asking, now_ms, now_ms - begun_ms)) {
                if (unsure && asking->reply->reply.code == CONTROL_NO_QUORUM) {
                    say_unanswered(asking->reply);
                }
                return 0;
            }
        } else if (r == -ETIMEDOUT || (r == -EAGAIN && now_ms + PAUSE_MS >= asking->deadline_ms)) {
            if (!answered || unsure) {
                say_unanswered(asking->reply);
            }
            return 0;
        } else if (r != -EAGAIN) {
            return r;
        }
        exchange_pause(PAUSE_MS);
    }
}

static int ask(const struct asking *asking, const struct control_request *request)
{
    void *frame;
    size_t len;
    int r = control_request_encode(request, &frame, &len);

    if (r < 0) {
        return r == -E2BIG ? -EMSGSIZE : r;
    }
    r = ask_frame(asking, frame, len);
    free(frame);
    return r;
}

/* ------------------------------------------------------------------------------------------------------------ wait */

/* The arguments of "wait": what the change's reply named, and its index. */
static const struct value *wait_args(struct vipd_reply *reply, const struct value *named)
{
    struct value *args = value_map(&reply->arena);

    value_put_uint(&reply->arena, args, "index", reply->reply.index);
    for (const struct value *item = value_first(named); item != NULL; item = item->next) {
        struct value *copy = value_nil(&reply->arena);
        if (copy != NULL) {
            *copy = *item;
            copy->next = NULL;
        }
        value_put(&reply->arena, args, item->key, copy);
    }
    return args;
}

/* It is real: the result of the change with what the last "wait" told of it. */
static void wait_over(struct vipd_reply *reply, const struct vipd_reply *turn, uint64_t index, bool changed)
{
    const struct value *first = reply->reply.result;
    struct value *result = value_map(&reply->arena);
    const void *body;
    void *frame;
    size_t len;

    value_put_bool(&reply->arena, result, "changed", changed);
    for (const struct value *item = value_first(first); item != NULL; item = item->next) {
        struct value *own = value_nil(&reply->arena);
        bool kept = strcmp(item->key, "changed") != 0 && strcmp(item->key, "wait") != 0 && strcmp(item->key, "vips") != 0;

        if (own != NULL && kept) {
            *own = *item;
            own->next = NULL;
            value_put(&reply->arena, result, item->key, own);
        }
    }
    /* Through bytes, because the turn's values live in another arena. */
    const struct value *told = NULL;
    if (control_reply_encode(&turn->reply, &frame, &len) == 0) {
        struct control_reply copy;
        body = (const char *)frame + CONTROL_FRAME_SIZE;
        if (control_reply_decode(&reply->arena, body, len - CONTROL_FRAME_SIZE, &copy) == 0) {
            told = copy.result;
        }
        free(frame);
    }
    for (const struct value *item = value_first(told); item != NULL;) {
        const struct value *next = item->next;
        struct value *own = value_nil(&reply->arena);
        if (own != NULL) {
            *own = *item;
            own->next = NULL;
            value_put(&reply->arena, result, item->key, own);
        }
        item = next;
    }
    reply->reply = (struct control_reply){ .code = CONTROL_DONE, .index = index, .result = result };
}

static void wait_failed(struct vipd_reply *reply, const char *why, uint32_t timeout_ms)
{
    char text[512];

    snprintf(text, sizeof text, "committed, but not real after %u.%u s: %s", timeout_ms / 1000,
             timeout_ms % 1000 / 100, why);
    say(reply, CONTROL_TIMEOUT, "it goes on by itself; vipctl status and vipctl explain show how it stands", text);
}

/* One turn of "wait"; 1 when it is over. */
static int wait_turn(const struct asking *asking, const struct value *args, struct vipd_reply *turn)
{
    uint64_t now_ms = exchange_now_ms();
    uint64_t left_ms = asking->deadline_ms > now_ms ? asking->deadline_ms - now_ms : 0;
    uint32_t turn_ms = (uint32_t)(left_ms < WAIT_TURN_MS ? left_ms : WAIT_TURN_MS);
    /* Half of it, so that the last answer, which tells why, still comes in time. */
    struct control_request request = { .op = "wait", .args = args, .timeout_ms = turn_ms / 2 + 1 };
    struct asking asking_turn = *asking;

    asking_turn.reply = turn;
    asking_turn.persistent = true;
    asking_turn.deadline_ms = now_ms + turn_ms;
    asking_turn.retry_ms = 0; /* the caller's loop repeats */
    int r = ask(&asking_turn, &request);
    if (r < 0) {
        return r;
    }
    return turn->reply.code == CONTROL_DONE && value_as_bool(value_get(turn->reply.result, "settled"), false);
}

static const char *why_not(const struct vipd_reply *turn)
{
    const char *why = value_as_string(value_get(turn->reply.result, "why"), turn->reply.error);

    return why != NULL ? why : "unknown";
}

static int wait_until_real(const struct asking *asking, uint32_t timeout_ms)
{
    struct vipd_reply *reply = asking->reply;
    const struct value *named = value_get(reply->reply.result, "wait");
    bool changed = value_as_bool(value_get(reply->reply.result, "changed"), true);
    uint64_t index = reply->reply.index;
    char why[400] = "the daemon did not answer";
    bool told = false; /* `why` is what a node that knows has said */

    if (named == NULL) {
        return 0;
    }
    const struct value *args = wait_args(reply, named);
    while (!value_failed(&reply->arena)) {
        struct vipd_reply turn = { .reply = { .code = CONTROL_FAILED } };
        value_arena_init(&turn.arena, CONTROL_REQUEST_ARENA_MAX);
        int r = wait_turn(asking, args, &turn);
        if (r == 1) {
            wait_over(reply, &turn, index, changed);
        } else if (r == 0 && (turn.reply.code == CONTROL_DONE || !told)) {
            told = turn.reply.code == CONTROL_DONE;
            snprintf(why, sizeof why, "%s", why_not(&turn));
        }
        bool refused = r == 0 && turn.reply.code != CONTROL_DONE && turn.reply.code != CONTROL_NO_QUORUM &&
                       turn.reply.code != CONTROL_TIMEOUT && turn.reply.code != CONTROL_FAILED;
        value_arena_close(&turn.arena);
        if (r != 0) {
            return r < 0 ? r : 0;
        }
        if (refused || exchange_now_ms() + PAUSE_MS >= asking->deadline_ms) {
            wait_failed(reply, why, timeout_ms);
            return 0;
        }
        exchange_pause(PAUSE_MS); /* an answerer that is settled at once never, or a refusal at once, must not spin */
    }
    return -ENOMEM;
}

/* ----------------------------------------------------------------------------------------------------------- calls */

static int fill_request(const char *op, const struct vipd_args *args, const struct vipd_options *options,
                        struct control_request *ret)
{
    uint64_t id = 0;

    if (op[0] == '\0' || strlen(op) >= CONTROL_OP_SIZE) {
        return -EINVAL;
    }
    if (args != NULL && value_failed(&args->arena)) {
        return -ENOMEM;
    }
    while (id == 0) {
        if (getrandom(&id, sizeof id, 0) != (ssize_t)sizeof id && errno != EINTR) {
            return -errno;
        }
    }
    *ret = (struct control_request){ .id = id, .args = args == NULL ? NULL : args->root, .force = options->force,
                                     .dry_run = options->dry_run };
    strcpy(ret->op, op);
    return 0;
}

static uint32_t timeout_of(const struct vipd_options *options)
{
    if (options->timeout_ms > 0) {
        return options->timeout_ms < VIPD_TIMEOUT_MAX_MS ? options->timeout_ms : VIPD_TIMEOUT_MAX_MS;
    }
    return options->wait ? VIPD_WAIT_TIMEOUT_MS : VIPD_TIMEOUT_MS;
}

static int call(struct vipd_client *client, const char *op, const struct vipd_args *args,
                const struct vipd_options *options, struct vipd_reply *reply)
{
    struct control_request request;
    uint32_t timeout_ms = timeout_of(options);
    uint64_t now_ms = exchange_now_ms();
    bool patient = options->wait || options->timeout_ms > 0;
    struct asking asking = { .client = client, .reply = reply, .deadline_ms = now_ms + timeout_ms,
                             .retry_ms = now_ms + (patient ? timeout_ms : VIPD_RETRY_MS),
                             .persistent = options->wait };
    int r = fill_request(op, args, options, &request);

    if (r < 0) {
        return r;
    }
    /* What the daemon may take: less than we wait, so that its answer, which tells why, still comes in time. */
    request.timeout_ms = patient ? timeout_ms - timeout_ms / 8 : VIPD_RETRY_MS;
    r = ask(&asking, &request);
    if (r == 0 && options->wait && !options->dry_run && reply->reply.code == CONTROL_DONE) {
        r = wait_until_real(&asking, timeout_ms);
    }
    return r;
}

int vipd_call(struct vipd_client *client, const char *op, const struct vipd_args *args,
              const struct vipd_options *options, struct vipd_reply **ret)
{
    static const struct vipd_options none = { 0 };
    struct vipd_reply *reply = calloc(1, sizeof *reply);

    if (reply == NULL) {
        return -ENOMEM;
    }
    value_arena_init(&reply->arena, CONTROL_LIST_ARENA_MAX);
    int r = call(client, op, args, options != NULL ? options : &none, reply);
    if (r < 0) {
        vipd_reply_free(reply);
        return r;
    }
    *ret = reply;
    return 0;
}

/* ----------------------------------------------------------------------------------------------------------- lists */

/* Arguments of the request for the next page: those of the caller, and what the last page said. */
static const struct value *page_args(struct value_arena *arena, const struct vipd_args *args, const struct value *next,
                                     uint32_t max)
{
    struct value *all = value_map(arena);
    const struct value *parts[] = { args == NULL ? NULL : args->root, next };

    for (int i = 0; i < 2; i++) {
        for (const struct value *item = value_first(parts[i]); item != NULL; item = item->next) {
            struct value *copy = value_nil(arena);
            if (copy != NULL) {
                *copy = *item;
                copy->next = NULL;
            }
            value_put(arena, all, item->key, copy);
        }
    }
    if (max > 0) {
        value_put_uint(arena, all, "max", max);
    }
    return all;
}

/* Moves the rows of a page to the end of the list, or, when pages go back in time, to its start. */
static void take_rows(struct value *list, const struct value *rows, bool backwards)
{
    if (!value_is(rows, VALUE_ARRAY) || rows->n == 0) {
        return;
    }
    if (list->n == 0) {
        list->items.first = rows->items.first;
        list->items.last = rows->items.last;
    } else if (backwards) {
        rows->items.last->next = list->items.first;
        list->items.first = rows->items.first;
    } else {
        list->items.last->next = rows->items.first;
        list->items.last = rows->items.last;
    }
    list->n += rows->n;
}

static int list_pages(struct vipd_client *client, const char *op, const struct vipd_args *args,
                      const struct vipd_options *options, uint32_t limit, struct vipd_reply *reply)
{
    struct value *list = value_array(&reply->arena);
    const struct value *next = NULL;

    do {
        struct vipd_args page = { .root = NULL };
        value_arena_init(&page.arena, CONTROL_REQUEST_ARENA_MAX);
        page.root = (struct value *)page_args(&page.arena, args, next, limit > 0 ? limit - list->n : 0);
        bool backwards = value_get(next, "before") != NULL;
        int r = list == NULL ? -ENOMEM : call(client, op, &page, options, reply);
        value_arena_close(&page.arena);
        if (r < 0 || reply->reply.code != CONTROL_DONE) {
            return r;
        }
        take_rows(list, value_get(reply->reply.result, "rows"), backwards);
        next = value_get(reply->reply.result, "next");
    } while (next != NULL && (limit == 0 || list->n < limit));
    reply->reply.result = list;
    return 0;
}

int vipd_list(struct vipd_client *client, const char *op, const struct vipd_args *args,
              const struct vipd_options *options, uint32_t limit, struct vipd_reply **ret)
{
    static const struct vipd_options none = { 0 };
    struct vipd_reply *reply = calloc(1, sizeof *reply);

    if (reply == NULL) {
        return -ENOMEM;
    }
    value_arena_init(&reply->arena, CONTROL_LIST_ARENA_MAX);
    int r = list_pages(client, op, args, options != NULL ? options : &none, limit, reply);
    if (r < 0) {
        vipd_reply_free(reply);
        return r;
    }
    *ret = reply;
    return 0;
}

/* ---------------------------------------------------------------------------------------------------------- events */

#define EVENTS_TURN_MS 2000 /* what the daemon waits at most */

static const struct value *position_value(struct value_arena *arena, const struct vipd_position *position)
{
    struct value *inner = value_map(arena), *outer = value_map(arena);

    value_put_uint(arena, inner, "cluster", position->cluster);
    value_put_uint(arena, inner, "number", position->number);
    value_put(arena, outer, "position", inner);
    return outer;
}

static int ask_events(struct vipd_client *client, const struct vipd_args *args, const struct vipd_position *position,
                      uint32_t newest, struct vipd_reply *reply)
{
    static const struct vipd_options none = { 0 };
    struct vipd_args all = { .root = NULL };
    struct control_request request;
    struct asking asking = { .client = client, .reply = reply,
                             .deadline_ms = exchange_now_ms() + EVENTS_TURN_MS + VIPD_TIMEOUT_MS };

    value_arena_init(&all.arena, CONTROL_REQUEST_ARENA_MAX);
    const struct value *at = position->begun ? position_value(&all.arena, position) : NULL;
    all.root = (struct value *)page_args(&all.arena, args, at, position->begun ? 0 : newest > 0 ? newest : 1);
    int r = fill_request("events", &all, &none, &request);
    request.timeout_ms = EVENTS_TURN_MS;
    r = r < 0 ? r : ask(&asking, &request);
    value_arena_close(&all.arena);
    return r;
}

int vipd_events(struct vipd_client *client, const struct vipd_args *args, struct vipd_position *position,
                uint32_t newest, struct vipd_reply **ret)
{
    struct vipd_reply *reply = calloc(1, sizeof *reply);

    if (reply == NULL) {
        return -ENOMEM;
    }
    value_arena_init(&reply->arena, CONTROL_LIST_ARENA_MAX);
    int r = ask_events(client, args, position, newest, reply);
    const struct value *at = value_get(reply->reply.result, "position");
    if (r == 0 && reply->reply.code == CONTROL_DONE && !value_is(at, VALUE_MAP)) {
        r = -EPROTO;
    }
    if (r < 0) {
        vipd_reply_free(reply);
        return r;
    }
    if (reply->reply.code == CONTROL_DONE) {
        struct value *rows = (struct value *)value_get(reply->reply.result, "rows");
        if (!position->begun && newest == 0 && value_is(rows, VALUE_ARRAY)) {
            rows->items.first = rows->items.last = NULL;
            rows->n = 0;
        }
        *position = (struct vipd_position){ .cluster = value_as_uint(value_get(at, "cluster"), 0),
                                            .number = value_as_uint(value_get(at, "number"), 0), .begun = true };
    }
    *ret = reply;
    return 0;
}
