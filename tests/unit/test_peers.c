/* io/peers over loopback: several nodes in one process on one loop, and strangers made of bare streams. Nothing waits
 * for time to pass: the loop runs until a condition holds, or a deadline fails the test. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/peers_private.h"
#include "io/sockaddr.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define DEADLINE_MS 10000
#define IDS 8

/* ------------------------------------------------------------------------------------------------------------- loop */

static uv_loop_t loop;
static uv_timer_t guard;
static bool expired;

static void guard_due(uv_timer_t *timer)
{
    (void)timer;
    expired = true;
}

/* Run the loop until the condition holds. */
#define UNTIL(condition)                                       \
    do {                                                       \
        expired = false;                                       \
        uv_timer_start(&guard, guard_due, DEADLINE_MS, 0);     \
        while (!(condition) && !expired) {                     \
            uv_run(&loop, UV_RUN_ONCE);                        \
        }                                                      \
        uv_timer_stop(&guard);                                 \
        if (expired) {                                         \
            fail_msg("did not come to be: %s", #condition);    \
        }                                                      \
    } while (0)

static const uint8_t KEYS[3][TLS_KEY_SIZE] = {"the key of the cluster", "the next one", "the key of another cluster"};
static struct tls *stranger_tls; /* strangers have the key, unless a test says otherwise */

static int open_loop(void **state)
{
    (void)state;
    assert_int_equal(tls_init(&stranger_tls, "prod"), 0);
    tls_set_keys(stranger_tls, KEYS, 1);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(uv_timer_init(&loop, &guard), 0);
    return 0;
}

static int close_loop(void **state)
{
    (void)state;
    uv_close((uv_handle_t *)&guard, NULL);
    for (unsigned i = 0; i < 1000 && uv_run(&loop, UV_RUN_NOWAIT) != 0; i++) {
    }
    tls_free(stranger_tls);
    return uv_loop_close(&loop); /* fails when a handle was left behind, as by a test that failed */
}

/* ------------------------------------------------------------------------------------------------------------- nodes */

struct node
{
    struct peers *peers;
    uint64_t id;
    struct hello hello;
    struct endpoint at;
    unsigned connected[IDS], disconnected[IDS];
    uint64_t run_of[IDS];     /* of the last connected() */
    struct hello last_admit;
    unsigned messages;
    enum channel channel;     /* of the last message */
    size_t len;
    uint64_t sum;
    char text[64];
    const char *deny;         /* reason of admit() */
    unsigned refusals;
    uint32_t times;           /* of the last one */
    char reason[HELLO_REASON_SIZE], who[128], why[64];
    uint64_t unset_on_message; /* id to unset from within message() */
    unsigned sessions; /* how often they changed */
    bool closed;
};

static uint64_t sum_of(const void *data, size_t len)
{
    const uint8_t *bytes = data;
    uint64_t sum = len;

    for (size_t i = 0; i < len; i++) {
        sum = sum * 31 + bytes[i];
    }
    return sum;
}

static void on_connected(void *ud, uint64_t id, const struct hello *hello)
{
    struct node *node = ud;

    assert_int_equal(hello->from, id);
    assert_int_equal(node->connected[id], node->disconnected[id]); /* never twice without an end between */
    node->connected[id]++;
    node->run_of[id] = hello->run;
    assert_true(peers_is_connected(node->peers, id));
}

static void on_disconnected(void *ud, uint64_t id, const char *why)
{
    struct node *node = ud;

    node->disconnected[id]++;
    assert_int_equal(node->connected[id], node->disconnected[id]);
    assert_false(peers_is_connected(node->peers, id));
    snprintf(node->why, sizeof node->why, "%s", why);
}

static void on_message(void *ud, uint64_t id, enum channel channel, const void *data, size_t len)
{
    struct node *node = ud;

    node->messages++;
    node->channel = channel;
    node->len = len;
    node->sum = sum_of(data, len);
    snprintf(node->text, sizeof node->text, "%.*s", len < 60 ? (int)len : 60, (const char *)data);
    if (node->unset_on_message == id) {
        peers_unset(node->peers, id);
    }
}

static int on_admit(void *ud, const struct hello *hello, char reason[HELLO_REASON_SIZE])
{
    struct node *node = ud;

    node->last_admit = *hello;
    if (node->deny != NULL) {
        snprintf(reason, HELLO_REASON_SIZE, "%s", node->deny);
        return -1;
    }
    return 0;
}

static void on_refused(void *ud, const char *who, const char *reason, uint32_t times)
{
    struct node *node = ud;

    node->refusals++;
    node->times = times;
    snprintf(node->who, sizeof node->who, "%s", who);
    snprintf(node->reason, sizeof node->reason, "%s", reason);
}

static void on_greet(void *ud, uint64_t to, struct hello *hello)
{
    hello->pinned = 1000 + to;
}

static void on_sessions(void *ud)
{
    ((struct node *)ud)->sessions++;
}

static const struct peers_ops OPS = {.connected = on_connected,
                                     .disconnected = on_disconnected,
                                     .message = on_message,
                                     .admit = on_admit,
                                     .refused = on_refused,
                                     .greet = on_greet,
                                     .sessions = on_sessions};

static struct endpoint loopback(uint16_t port)
{
    return (struct endpoint){.addr = {.family = 4, .bytes = {127, 0, 0, 1}}, .port = port};
}

static struct peers_config quick(void)
{
    /* all come from one address here, and the tests hurry */
    return (struct peers_config){.cluster = "prod",
                                 .listen = loopback(0),
                                 .keys = KEYS,
                                 .n_keys = 1,
                                 .strangers_per_address_max = 1000,
                                 .accepts_per_s = 1000000};
}

static uint64_t runs = 100;

static void start_as(struct node *node, uint64_t id, struct peers_config config)
{
    static const char *const NAMES[IDS] = {"-", "a", "b", "c", "d", "e", "f", "g"};

    *node = (struct node){.id = id};
    node->hello = (struct hello){.cluster_id = 7, .identity = 500 + id, .run = ++runs, .version = "0.1.0"};
    config.self = id;
    config.name = NAMES[id];
    assert_int_equal(peers_init(&node->peers, &loop, &config, &node->hello, &OPS, node), 0);
    node->at = peers_listening(node->peers);
    assert_true(node->at.port != 0);
}

static void start(struct node *node, uint64_t id)
{
    start_as(node, id, quick());
}

static void meet(struct node *node, const struct node *other)
{
    assert_int_equal(peers_set(node->peers, other->id, &other->at), 0);
}

static void node_closed(void *ud)
{
    ((struct node *)ud)->closed = true;
}

static void stop(struct node *node)
{
    peers_close(node->peers, node_closed, node);
    UNTIL(node->closed);
    node->peers = NULL;
}

static bool together(const struct node *a, const struct node *b)
{
    return peers_is_connected(a->peers, b->id) && peers_is_connected(b->peers, a->id);
}

/* Connections of a node that are not closed, in any state. */
static unsigned open_connections(const struct node *node)
{
    unsigned n = 0;

    for (const struct conn *conn = node->peers->conns; conn != NULL; conn = conn->next) {
        n += conn->state != CONN_CLOSED;
    }
    return n;
}

static struct conn *connection_to(const struct node *node, uint64_t id)
{
    return peers_find(node->peers, id)->active;
}

/* An address at which nobody answers: bound, not listening. */
static int dead_end(struct endpoint *ret)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    struct endpoint any = loopback(0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    sockaddr_from(&any, &address);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(struct sockaddr_in)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    assert_true(sockaddr_to(&address, ret));
    return fd;
}

/* --------------------------------------------------------------------------------------------------------- strangers */

/* A stream that says what the test tells it to. */
struct stranger
{
    struct stream stream;
    bool connected, opened, broken, closed;
    int error;
    unsigned frames;
    enum channel channel; /* of the last frame */
    struct hello hello;   /* the last that came */
    uint64_t link;        /* named by the last ping, 0 = none */
};

static uint8_t scratch[STREAM_SCRATCH_SIZE];

static void stranger_connected(void *ud)
{
    ((struct stranger *)ud)->connected = true;
}

static void stranger_opened(void *ud)
{
    ((struct stranger *)ud)->opened = true;
}

static void stranger_frame(void *ud, const struct frame *frame)
{
    struct stranger *stranger = ud;
    const uint8_t *bytes = frame->data;

    stranger->frames++;
    stranger->channel = frame->channel;
    if (frame->channel == CHANNEL_HELLO) {
        assert_int_equal(hello_decode(frame->data, frame->len, &stranger->hello), 0);
    }
    for (size_t i = 0; i < 8 && frame->channel == CHANNEL_PING && frame->len == 8; i++) {
        stranger->link = stranger->link << 8 | bytes[i];
    }
}

static void stranger_broken(void *ud, int error)
{
    struct stranger *stranger = ud;

    stranger->broken = true;
    stranger->error = error;
}

static void stranger_closed(void *ud)
{
    ((struct stranger *)ud)->closed = true;
}

static const struct stream_ops STRANGER_OPS = {.connected = stranger_connected,
                                               .opened = stranger_opened,
                                               .frame = stranger_frame,
                                               .broken = stranger_broken,
                                               .closed = stranger_closed};

static void approach_from(struct stranger *stranger, const struct node *node, uint8_t last_byte)
{
    struct endpoint from = {.addr = {.family = 4, .bytes = {127, 0, 0, last_byte}}};

    memset(stranger, 0, sizeof *stranger);
    stream_init(&stranger->stream, &loop, stranger_tls, scratch, &STRANGER_OPS, stranger, CHANNEL_ALL);
    assert_int_equal(stream_dial(&stranger->stream, &from, &node->at, 60000), 0);
    UNTIL(stranger->opened);
}

static void approach(struct stranger *stranger, const struct node *node)
{
    approach_from(stranger, node, 1);
}

static void leave(struct stranger *stranger)
{
    stream_close(&stranger->stream);
    UNTIL(stranger->closed);
}

static int stranger_fd(const struct stranger *stranger)
{
    uv_os_fd_t fd;

    assert_int_equal(uv_fileno((const uv_handle_t *)&stranger->stream.tcp, &fd), 0);
    return fd;
}

/* Whether it went out: the other end may have closed already. */
static bool try_to_say(struct stranger *stranger, const void *bytes, size_t len)
{
    uint8_t record[8192];

    assert_int_equal(tls_session_write(stranger->stream.session, bytes, len), 0);
    size_t n = tls_session_take(stranger->stream.session, record, sizeof record);
    return send(stranger_fd(stranger), record, n, MSG_NOSIGNAL) == (ssize_t)n;
}

static void say_bytes(struct stranger *stranger, const void *bytes, size_t len)
{
    assert_true(try_to_say(stranger, bytes, len));
}

/* A connection without TLS; the kernel completes it whatever the node does. */
static int bare_connection(const struct node *node)
{
    struct sockaddr_storage address;
    socklen_t len = sockaddr_from(&node->at, &address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, len), 0);
    return fd;
}

static struct hello hello_of(uint64_t from, uint64_t run)
{
    return (struct hello){.protocol_min = PROTOCOL_MIN,
                          .protocol_max = PROTOCOL_MAX,
                          .cluster = "prod",
                          .cluster_id = 7,
                          .name = "fake",
                          .from = from,
                          .run = run,
                          .version = "0.1.0"};
}

static void say_hello(struct stranger *stranger, const struct hello *hello)
{
    uint8_t buf[4096];
    size_t len;

    assert_int_equal(hello_encode(hello, buf, sizeof buf, &len), 0);
    assert_int_equal(stream_send(&stranger->stream, CHANNEL_HELLO, buf, len), 0);
}

/* The whole handshake, as a higher id would do it. */
static void join(struct stranger *stranger, struct node *node, uint64_t id, uint64_t run, uint64_t last_link)
{
    struct hello hello = hello_of(id, run);

    hello.link = last_link;
    approach(stranger, node);
    say_hello(stranger, &hello);
    UNTIL(stranger->frames == 1);
    assert_int_equal(stranger->channel, CHANNEL_HELLO);
    assert_int_equal(stream_send(&stranger->stream, CHANNEL_PING, NULL, 0), 0);
    UNTIL(stranger->link != 0);
    assert_true(peers_is_connected(node->peers, id));
}

/* A stranger that is dialled. */
struct host
{
    uv_tcp_t listener;
    struct endpoint at;
    struct stranger *next; /* what the next connection becomes, NULL = it is left waiting */
    bool taken, closed;
};

static void host_connection(uv_stream_t *listener, int status)
{
    struct host *host = listener->data;
    struct endpoint from;

    assert_int_equal(status, 0);
    if (host->next == NULL) {
        return; /* it waits until the host stops */
    }
    memset(host->next, 0, sizeof *host->next);
    stream_init(&host->next->stream, &loop, stranger_tls, scratch, &STRANGER_OPS, host->next, CHANNEL_ALL);
    assert_int_equal(stream_accept(&host->next->stream, listener, 60000, &from), 0);
    host->next = NULL;
    host->taken = true;
}

static void host_start(struct host *host, struct stranger *next)
{
    int fd = sockaddr_bound(&(struct endpoint){.addr = loopback(0).addr}, SOCK_STREAM);
    struct sockaddr_storage address;
    socklen_t len = sizeof address;

    *host = (struct host){.next = next};
    assert_true(fd >= 0);
    assert_int_equal(uv_tcp_init(&loop, &host->listener), 0);
    assert_int_equal(uv_tcp_open(&host->listener, fd), 0);
    host->listener.data = host;
    assert_int_equal(uv_listen((uv_stream_t *)&host->listener, 8, host_connection), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    assert_true(sockaddr_to(&address, &host->at));
}

static void host_closed(uv_handle_t *handle)
{
    ((struct host *)handle->data)->closed = true;
}

static void host_stop(struct host *host)
{
    uv_close((uv_handle_t *)&host->listener, host_closed);
    UNTIL(host->closed);
}

/* A node `a` (id 1) that expects node 2, which the test plays itself. */
static int expect_stranger(struct node *a, struct peers_config config)
{
    struct endpoint nowhere;
    int fd = dead_end(&nowhere);

    start_as(a, 1, config);
    assert_int_equal(peers_set(a->peers, 2, &nowhere), 0);
    return fd;
}

/* --------------------------------------------------------------------------------------------------------- together */

static void two_nodes_meet_and_talk_both_ways(void **state)
{
    struct node a, b;

    start(&a, 1);
    start(&b, 2);
    meet(&a, &b);
    meet(&b, &a);
    UNTIL(together(&a, &b));
    assert_int_equal(a.run_of[2], b.hello.run);
    assert_int_equal(b.run_of[1], a.hello.run);
    assert_string_equal(b.last_admit.name, "a");
    assert_int_equal(b.last_admit.identity, 501);
    assert_int_equal(a.last_admit.pinned, 1001); /* b has on record for node 1 */

    assert_int_equal(peers_send(a.peers, 2, CHANNEL_FORWARD, "over there", 10), 0);
    assert_int_equal(peers_send(b.peers, 1, CHANNEL_FORWARD_REPLY, "", 0), 0);
    UNTIL(a.messages == 1 && b.messages == 1);
    assert_int_equal(b.channel, CHANNEL_FORWARD);
    assert_string_equal(b.text, "over there");
    assert_int_equal(a.channel, CHANNEL_FORWARD_REPLY);
    assert_int_equal(a.len, 0);
    stop(&a);
    UNTIL(b.disconnected[1] == 1);
    stop(&b);
}

/* One side cannot get through, as behind a filter for connections one way. */
static void one_side_that_can_dial_is_enough(void **state)
{
    for (int lower_dials = 0; lower_dials < 2; lower_dials++) {
        struct node a, b;
        struct endpoint nowhere;
        int fd = dead_end(&nowhere);
        struct peer_info info;

        start(&a, 1);
        start(&b, 2);
        assert_int_equal(peers_set(a.peers, 2, lower_dials ? &b.at : &nowhere), 0);
        assert_int_equal(peers_set(b.peers, 1, lower_dials ? &nowhere : &a.at), 0);
        UNTIL(together(&a, &b));
        assert_int_equal(peers_info(a.peers, 2, &info), 0);
        assert_true(info.connected && info.dialled == lower_dials);
        assert_string_equal(info.hello->name, "b");
        assert_int_equal(peers_info(a.peers, 3, &info), -ENOENT);
        stop(&a);
        stop(&b);
        close(fd);
    }
}

static void three_nodes_make_a_mesh(void **state)
{
    struct node nodes[3];

    for (unsigned i = 0; i < 3; i++) {
        start(&nodes[i], i + 1);
    }
    for (unsigned i = 0; i < 3; i++) {
        meet(&nodes[i], &nodes[(i + 1) % 3]);
        meet(&nodes[i], &nodes[(i + 2) % 3]);
    }
    UNTIL(together(&nodes[0], &nodes[1]) && together(&nodes[1], &nodes[2]) && together(&nodes[0], &nodes[2]));
    UNTIL(open_connections(&nodes[0]) == 2 && open_connections(&nodes[1]) == 2 && open_connections(&nodes[2]) == 2);
    for (unsigned i = 0; i < 3; i++) {
        stop(&nodes[i]);
    }
}

/* Both dial at the same moment, many times: each time both sides agree on one connection, which stays. */
static void dialling_at_once_leaves_one_connection_and_no_flapping(void **state)
{
    struct node a, b;
    unsigned crossed = 0;

    start(&a, 1);
    start(&b, 2);
    for (unsigned round = 1; round <= 100; round++) {
        uint64_t dialled = peers_counters(a.peers)->dialled, dialled_by_b = peers_counters(b.peers)->dialled;
        meet(round % 2 ? &a : &b, round % 2 ? &b : &a);
        meet(round % 2 ? &b : &a, round % 2 ? &a : &b);
        UNTIL(together(&a, &b));
        UNTIL(open_connections(&a) == 1 && open_connections(&b) == 1);
        crossed += peers_counters(a.peers)->dialled > dialled && peers_counters(b.peers)->dialled > dialled_by_b;

        /* it carries a message each way, and it is the same on both sides */
        unsigned had = a.messages, had_b = b.messages;
        assert_int_equal(peers_send(a.peers, 2, CHANNEL_RAFT, "x", 1), 0);
        assert_int_equal(peers_send(b.peers, 1, CHANNEL_RAFT, "y", 1), 0);
        UNTIL(a.messages == had + 1 && b.messages == had_b + 1);
        assert_int_equal(connection_to(&a, 2)->link, connection_to(&b, 1)->link);
        assert_int_equal(a.connected[2], round);
        assert_int_equal(b.connected[1], round);
        assert_int_equal(a.disconnected[2], round - 1);
        assert_int_equal(b.disconnected[1], round - 1);

        peers_unset(a.peers, 2);
        peers_unset(b.peers, 1);
        UNTIL(open_connections(&a) == 0 && open_connections(&b) == 0);
    }
    assert_true(crossed > 0);
    stop(&a);
    stop(&b);
}

static void a_peer_that_restarts_is_found_again(void **state)
{
    struct node a, b;
    struct peers_config config = quick();
    struct endpoint nowhere;
    int fd = dead_end(&nowhere);

    start(&a, 1);
    start(&b, 2);
    meet(&a, &b);
    meet(&b, &a);
    UNTIL(together(&a, &b));
    uint64_t first = a.run_of[2];
    stop(&b);
    UNTIL(a.disconnected[2] == 1);
    UNTIL(peers_counters(a.peers)->dials_failed >= 2);
    config.listen = b.at;
    start_as(&b, 2, config);
    assert_int_equal(peers_set(b.peers, 1, &nowhere), 0); /* it is a that finds b */
    UNTIL(together(&a, &b));
    assert_int_not_equal(a.run_of[2], first);
    assert_int_equal(a.connected[2], 2);
    stop(&a);
    stop(&b);
    close(fd);
}

static void a_hint_cuts_the_waiting_short(void **state)
{
    struct node a, b;
    struct peers_config patient = quick(), config = quick();
    struct endpoint at;
    int fd = dead_end(&at);

    patient.retry_max_ms = 10 * DEADLINE_MS;
    start_as(&a, 1, patient);
    assert_int_equal(peers_set(a.peers, 2, &at), 0);
    UNTIL(peers_counters(a.peers)->dials_failed >= 5);
    /* what the seconds of waiting would have led to */
    peers_find(a.peers, 2)->retry_ms = patient.retry_max_ms;
    peers_find(a.peers, 2)->due_ms = uv_now(&loop) + patient.retry_max_ms;
    close(fd);
    config.listen = at;
    start_as(&b, 2, config);
    assert_int_equal(peers_set(b.peers, 1, &at), 0); /* not a's: it is a that dials */
    peers_hint(a.peers, 7); /* not known: nothing happens */
    peers_hint(a.peers, 2);
    UNTIL(peers_is_connected(a.peers, 2));
    stop(&a);
    stop(&b);
}

static void ipv6_works_as_well(void **state)
{
    struct node a, b;
    struct peers_config config = quick();
    struct endpoint four = loopback(1);

    config.listen = (struct endpoint){.addr = {.family = 6, .bytes = {[15] = 1}}};
    start_as(&a, 1, config);
    start_as(&b, 2, config);
    assert_int_equal(peers_set(a.peers, 3, &four), -EAFNOSUPPORT);
    meet(&a, &b);
    meet(&b, &a);
    UNTIL(together(&a, &b));
    stop(&a);
    stop(&b);
}

/* ---------------------------------------------------------------------------------------------------------- refusals */

struct refused_case
{
    const char *what;
    uint64_t cluster_id;
    bool member;
    const char *deny;
    const char *reason;
};

static void who_does_not_belong_is_told_why(void **state)
{
    static const struct refused_case cases[] = {
        {"its namesake", 8, true, NULL, "of another cluster of the same name"},
        {"no member", 7, false, NULL, "no member of this cluster"},
        {"not admitted", 7, true, "the data directory is another one", "the data directory is another one"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct node a, b;
        struct peers_config config = quick();
        struct endpoint nowhere;
        int fd = dead_end(&nowhere);
        char expected[HELLO_REASON_SIZE];

        start(&a, 1);
        a.deny = cases[i].deny;
        start_as(&b, 2, config);
        b.hello.cluster_id = cases[i].cluster_id;
        assert_int_equal(peers_set_hello(b.peers, &b.hello), 0);
        if (cases[i].member) {
            assert_int_equal(peers_set(a.peers, 2, &nowhere), 0);
        }
        meet(&b, &a);
        UNTIL(a.refusals > 0 && b.refusals > 0);
        assert_string_equal(a.reason, cases[i].reason);
        assert_non_null(strstr(a.who, "b at 127.0.0.1:"));
        snprintf(expected, sizeof expected, "it refuses this node: %s", cases[i].reason);
        assert_string_equal(b.reason, expected);
        assert_non_null(strstr(b.who, "127.0.0.1:"));
        assert_true(peers_counters(a.peers)->refused > 0);
        assert_true(peers_counters(b.peers)->refused_by_peer > 0);
        assert_int_equal(a.connected[2] + b.connected[1], 0);
        UNTIL(open_connections(&a) == 0);

        /* the same reason is told once, and the attempts go on */
        peers_find(b.peers, 1)->due_ms = uv_now(&loop);
        peers_find(b.peers, 1)->retry_ms = 0;
        peers_wake(b.peers, 0);
        UNTIL(peers_counters(b.peers)->refused_by_peer >= 2);
        assert_int_equal(b.refusals, 1);
        stop(&a);
        stop(&b);
        close(fd);
    }
}

/* Both dial, so each meets the other in both parts; still each tells it once, and neither learns more. */
static void another_key_or_cluster_is_told_by_both_once(void **state)
{
    for (int other_key = 0; other_key < 2; other_key++) {
        struct node a, b;
        struct peers_config config = quick();

        config.retry_max_ms = config.refused_max_ms = 50;
        start_as(&a, 1, config);
        config.keys = other_key ? KEYS + 2 : KEYS;
        config.cluster = other_key ? "prod" : "test";
        start_as(&b, 2, config);
        meet(&b, &a);
        meet(&a, &b);
        UNTIL(peers_counters(a.peers)->unproven >= 4 && peers_counters(b.peers)->unproven >= 4);
        assert_int_equal(a.refusals, 1);
        assert_int_equal(b.refusals, 1);
        assert_int_equal(a.times, 1);
        assert_non_null(strstr(a.who, "127.0.0.1:"));
        assert_non_null(strstr(a.reason, other_key ? "key" : "cluster"));
        assert_non_null(strstr(b.reason, other_key ? "key" : "cluster"));
        assert_int_equal(peers_counters(a.peers)->refused + peers_counters(b.peers)->refused, 0); /* no hello was said */
        assert_true(peers_find(b.peers, 1)->refused); /* a person has to do something first */

        /* a minute later it is told again, with how many there were */
        peers_find(a.peers, 2)->told[REFUSAL_PROOF].since_ms -= 60000;
        UNTIL(a.refusals == 2);
        assert_true(a.times >= 4);
        assert_int_equal(a.connected[2] + b.connected[1], 0);
        stop(&a);
        stop(&b);
    }
}

/* Strangers cannot wear a node out with handshakes, nor keep its peers out. */
static void who_comes_too_often_is_closed_at_once(void **state)
{
    struct node a, b;
    struct peers_config config = quick();
    int fds[60];

    for (int foreign = 0; foreign < 2; foreign++) {
        config.accepts_per_s = foreign ? 1000 : 20;
        config.foreign_per_s = foreign ? 20 : 1000;
        start_as(&a, 1, config);
        start(&b, 2);
        for (unsigned i = 0; i < COUNT(fds); i++) {
            fds[i] = bare_connection(&a);
        }
        UNTIL(peers_counters(a.peers)->accepted == COUNT(fds));
        assert_true(peers_counters(a.peers)->hasty >= COUNT(fds) - 40); /* a second may have ended meanwhile */
        assert_int_equal(a.refusals, 1);
        if (foreign) { /* whose address is known is not counted with the others */
            assert_int_equal(peers_set(a.peers, 2, &b.at), 0);
            meet(&b, &a);
            UNTIL(together(&a, &b));
        }
        for (unsigned i = 0; i < COUNT(fds); i++) {
            close(fds[i]);
        }
        UNTIL(open_connections(&a) == (unsigned)foreign);
        stop(&a);
        stop(&b);
    }
}

/* One address cannot take the room of all. */
static void one_address_has_its_share(void **state)
{
    static struct stranger crowd[20], other;
    struct node a;
    struct peers_config config = quick();

    config.strangers_per_address_max = 4;
    config.hello_timeout_ms = config.peer_timeout_ms = 2 * DEADLINE_MS;
    start_as(&a, 1, config);
    approach_from(&other, &a, 2);
    for (unsigned i = 0; i < COUNT(crowd); i++) {
        approach_from(&crowd[i], &a, 3);
    }
    UNTIL(peers_counters(a.peers)->evicted == COUNT(crowd) - 4);
    UNTIL(crowd[COUNT(crowd) - 5].broken);
    assert_false(other.broken || crowd[COUNT(crowd) - 4].broken);
    leave(&other);
    for (unsigned i = 0; i < COUNT(crowd); i++) {
        leave(&crowd[i]);
    }
    stop(&a);
}

static void the_dialling_side_refuses_as_well(void **state)
{
    struct node a, b, c;
    struct endpoint nowhere;
    int fd = dead_end(&nowhere);

    start(&a, 1);
    start(&b, 2);
    start(&c, 3);
    /* a takes c's address for that of b */
    assert_int_equal(peers_set(a.peers, 2, &c.at), 0);
    UNTIL(a.refusals > 0 && c.refusals > 0);
    assert_non_null(strstr(c.reason, "expects another node at this address"));
    assert_int_equal(a.connected[2] + c.connected[1], 0);

    /* a does not want b, which would take a */
    a.deny = "it has been replaced";
    assert_int_equal(peers_set(b.peers, 1, &nowhere), 0);
    a.refusals = 0;
    meet(&a, &b);
    UNTIL(a.refusals > 0 && b.refusals > 0);
    assert_string_equal(a.reason, "it has been replaced");
    assert_true(peers_find(a.peers, 2)->refused && peers_find(a.peers, 2)->retry_ms >= 500); /* no hurry */
    assert_string_equal(b.reason, "it refuses this node: it has been replaced");
    stop(&a);
    stop(&b);
    stop(&c);
    close(fd);
}

static void a_node_that_dials_itself_is_refused(void **state)
{
    struct node a;

    start(&a, 1);
    assert_int_equal(peers_set(a.peers, 2, &a.at), 0);
    UNTIL(a.refusals > 0);
    assert_non_null(strstr(a.reason, "it has the id of this node"));
    assert_int_equal(a.connected[2], 0);
    stop(&a);
}

/* --------------------------------------------------------------------------------------------------------- strangers */

static void garbage_is_closed_and_counted(void **state)
{
    struct node a;
    int fd = expect_stranger(&a, quick());
    struct stranger stranger;
    uint32_t seed = 12345;

    for (unsigned i = 1; i <= 50; i++) {
        uint8_t bytes[512];
        for (size_t k = 0; k < sizeof bytes; k++) {
            seed = seed * 1664525 + 1013904223;
            bytes[k] = (uint8_t)(seed >> 24);
        }
        bytes[0] = bytes[0] == 'V' || bytes[0] == 22 ? 'W' : bytes[0]; /* neither a frame nor a handshake */
        int bare = bare_connection(&a); /* where TLS should begin */
        assert_int_equal(send(bare, bytes, sizeof bytes, MSG_NOSIGNAL), sizeof bytes);
        UNTIL(peers_counters(a.peers)->malformed == 2 * i - 1 && open_connections(&a) == 0);
        close(bare);

        approach(&stranger, &a); /* and inside it */
        say_bytes(&stranger, bytes, sizeof bytes);
        UNTIL(stranger.broken);
        leave(&stranger);
        assert_int_equal(peers_counters(a.peers)->malformed, 2 * i);
    }
    assert_int_equal(a.connected[2], 0);
    assert_int_equal(a.refusals, 1); /* told once */
    assert_string_equal(a.reason, "it does not speak as a node does");
    stop(&a);
    close(fd);
}

static void frames_out_of_place_are_closed_and_counted(void **state)
{
    struct node a;
    int fd = expect_stranger(&a, quick());
    struct stranger stranger;
    uint8_t header[FRAME_HEADER];
    struct hello hello = hello_of(2, 50);
    uint64_t n = 0;

    /* a message before the hello */
    approach(&stranger, &a);
    assert_int_equal(stream_send(&stranger.stream, CHANNEL_RAFT, "vote", 4), 0);
    UNTIL(stranger.broken);
    leave(&stranger);
    assert_int_equal(peers_counters(a.peers)->malformed, ++n);

    /* a hello that is longer than it may be */
    approach(&stranger, &a);
    frame_header(CHANNEL_HELLO, 0, header);
    header[10] = 0x10, header[11] = 0x01;
    say_bytes(&stranger, header, sizeof header);
    UNTIL(stranger.broken);
    leave(&stranger);
    assert_int_equal(peers_counters(a.peers)->malformed, ++n);

    /* a hello that is none */
    approach(&stranger, &a);
    assert_int_equal(stream_send(&stranger.stream, CHANNEL_HELLO, "\xc0", 1), 0);
    UNTIL(stranger.broken);
    leave(&stranger);
    assert_int_equal(peers_counters(a.peers)->malformed, ++n);

    /* a second hello */
    approach(&stranger, &a);
    say_hello(&stranger, &hello);
    say_hello(&stranger, &hello);
    UNTIL(stranger.broken);
    leave(&stranger);
    assert_int_equal(peers_counters(a.peers)->malformed, ++n);

    /* the higher end names the link, which is not its to do */
    approach(&stranger, &a);
    say_hello(&stranger, &hello);
    UNTIL(stranger.frames == 1);
    assert_int_equal(stream_send(&stranger.stream, CHANNEL_PING, "12345678", 8), 0);
    UNTIL(stranger.broken);
    leave(&stranger);
    assert_int_equal(peers_counters(a.peers)->malformed, ++n);
    assert_int_equal(a.connected[2], 0);

    /* a hello on a connection in use ends it */
    join(&stranger, &a, 2, 50, 0);
    say_hello(&stranger, &hello);
    UNTIL(a.disconnected[2] == 1);
    UNTIL(stranger.broken);
    leave(&stranger);
    assert_int_equal(peers_counters(a.peers)->malformed, ++n);
    stop(&a);
    close(fd);
}

static unsigned drip(struct stranger *stranger, const uint8_t *byte, bool more)
{
    return more && !stranger->broken && try_to_say(stranger, byte, 1);
}

static void who_says_nothing_or_too_slowly_is_closed(void **state)
{
    struct node a;
    struct peers_config config = quick();
    struct stranger quiet, half, slow;
    uint8_t bytes[4096];
    struct hello hello = hello_of(2, 50);
    size_t len, said = 0;

    config.hello_timeout_ms = config.peer_timeout_ms = 60;
    int fd = expect_stranger(&a, config);
    assert_int_equal(hello_encode(&hello, bytes + FRAME_HEADER, sizeof bytes - FRAME_HEADER, &len), 0);
    frame_header(CHANNEL_HELLO, len, bytes);

    approach(&quiet, &a); /* says nothing */
    approach(&half, &a);  /* says half of it */
    say_bytes(&half, bytes, (FRAME_HEADER + len) / 2);
    int bare = bare_connection(&a); /* does not even begin with TLS */
    approach(&slow, &a);  /* says another byte whenever something happens, but never all */
    UNTIL((said += drip(&slow, bytes + said, said < len), slow.broken && quiet.broken && half.broken));
    UNTIL(peers_counters(a.peers)->late == 4);
    assert_int_equal(a.refusals, 0); /* at a peer's address others may be in a hurry, too */
    close(bare);
    assert_true(said > 0);
    leave(&quiet);
    leave(&half);
    leave(&slow);

    /* half a handshake: a hello, and then nothing */
    approach(&half, &a);
    say_hello(&half, &hello);
    UNTIL(half.broken);
    assert_int_equal(half.frames, 1);
    assert_int_equal(peers_counters(a.peers)->late, 5);
    assert_int_equal(a.connected[2], 0);
    leave(&half);
    stop(&a);
    close(fd);
}

static void a_crowd_of_strangers_is_bounded_and_keeps_nobody_out(void **state)
{
    static struct stranger first, crowd[40];

    for (int from_a_peers_address = 0; from_a_peers_address < 2; from_a_peers_address++) {
        struct node a, b;
        struct peers_config config = quick();
        config.strangers_max = 8;
        config.hello_timeout_ms = config.peer_timeout_ms = 2 * DEADLINE_MS; /* their number bounds them, not time */
        start_as(&a, 1, config);
        start(&b, 2);
        assert_int_equal(peers_set(a.peers, 3, &(struct endpoint){.addr = a.at.addr, .port = 1}), 0);
        approach(&first, &a);
        for (unsigned i = 0; i < COUNT(crowd); i++) {
            approach_from(&crowd[i], &a, from_a_peers_address ? 1 : 2);
        }
        UNTIL(peers_counters(a.peers)->accepted == COUNT(crowd) + 1);
        assert_int_equal(peers_counters(a.peers)->evicted, COUNT(crowd) - 7);
        /* the oldest went, but not for the sake of those from nowhere */
        size_t kept = COUNT(crowd) - (from_a_peers_address ? 8 : 7);
        UNTIL(crowd[0].broken && crowd[kept - 1].broken && first.broken >= from_a_peers_address);
        assert_int_equal(first.broken, from_a_peers_address);
        assert_false(crowd[kept].broken);

        meet(&b, &a);
        meet(&a, &b);
        UNTIL(together(&a, &b));
        leave(&first);
        for (unsigned i = 0; i < COUNT(crowd); i++) {
            leave(&crowd[i]);
        }
        assert_true(together(&a, &b));
        stop(&a);
        stop(&b);
    }
}

static void a_burst_of_connections_is_accepted_in_parts(void **state)
{
    enum { BURST = 100 };
    struct node a;
    struct peers_config config = quick();
    int fds[BURST];

    config.strangers_max = 2 * BURST;
    config.foreign_per_s = 2 * BURST;
    start_as(&a, 1, config);
    for (unsigned i = 0; i < BURST; i++) { /* while the loop stands still */
        fds[i] = bare_connection(&a);
    }
    UNTIL(peers_counters(a.peers)->accepted > 0);
    assert_true(peers_counters(a.peers)->accepted < BURST / 2);
    UNTIL(peers_counters(a.peers)->accepted == BURST);
    for (unsigned i = 0; i < BURST; i++) {
        close(fds[i]);
    }
    UNTIL(open_connections(&a) == 0);
    stop(&a);
}

/* What a stopped node finds in its backlog when it wakes up. */
static void a_hello_whose_sender_is_gone_connects_nobody(void **state)
{
    struct node a;
    int fd = expect_stranger(&a, quick());
    struct stranger stranger;
    struct hello hello = hello_of(2, 50);

    for (unsigned i = 1; i <= 20; i++) {
        approach(&stranger, &a);
        say_hello(&stranger, &hello);
        leave(&stranger);
        UNTIL(peers_counters(a.peers)->accepted == i && open_connections(&a) <= 1);
    }
    assert_int_equal(a.connected[2], 0);
    stop(&a);
    close(fd);
}

/* ------------------------------------------------------------------------------------------ second connections of a pair */

static void a_second_connection_is_taken_only_when_the_first_is_lost(void **state)
{
    struct node a;
    int fd = expect_stranger(&a, quick());
    struct stranger first, second, third, fourth;
    struct hello hello = hello_of(2, 50);

    join(&first, &a, 2, 50, 0);

    /* of the same run, begun before the first came to use: turned away */
    approach(&second, &a);
    say_hello(&second, &hello);
    UNTIL(second.broken);
    assert_int_equal(second.frames, 0);
    assert_int_equal(peers_counters(a.peers)->duplicate, 1);
    assert_int_equal(a.connected[2], 1);
    assert_false(first.broken);
    leave(&second);

    /* it names the first one's link as its last: that one is lost */
    join(&third, &a, 2, 50, first.link);
    assert_int_not_equal(third.link, first.link);
    UNTIL(first.broken);
    assert_int_equal(a.connected[2], 2);
    assert_int_equal(a.disconnected[2], 1);
    leave(&first);

    /* of a later run */
    join(&fourth, &a, 2, 51, 0);
    UNTIL(third.broken);
    assert_int_equal(a.run_of[2], 51);
    assert_int_equal(a.connected[2], 3);
    leave(&third);
    leave(&fourth);
    UNTIL(a.disconnected[2] == 3);
    stop(&a);
    close(fd);
}

/* What the higher end brings to that: the name of the last link, as soon as it has one. */
static void the_higher_end_names_the_link_that_it_lost(void **state)
{
    struct node b;
    struct host host;
    struct stranger first, second;
    struct hello hello = hello_of(1, 50);

    host_start(&host, &first);
    start(&b, 2);
    assert_int_equal(peers_set(b.peers, 1, &host.at), 0);
    UNTIL(host.taken && first.frames == 1);
    assert_int_equal(first.hello.from, 2);
    assert_int_equal(first.hello.to, 1);
    assert_int_equal(first.hello.link, 0);
    say_hello(&first, &hello);
    UNTIL(first.frames == 2 && first.channel == CHANNEL_PING);
    assert_int_equal(b.connected[1], 0); /* the lower end has not chosen it yet */
    assert_int_equal(stream_send(&first.stream, CHANNEL_PING, "\0\0\0\0\0\0\x12\x34", 8), 0);
    UNTIL(b.connected[1] == 1);
    host.next = &second;
    host.taken = false;
    leave(&first);
    UNTIL(b.disconnected[1] == 1);
    UNTIL(host.taken && second.frames == 1);
    assert_int_equal(second.hello.link, 0x1234);

    /* and it takes nobody else for the one that it dialled */
    hello.from = 3;
    say_hello(&second, &hello);
    UNTIL(b.refusals == 1 && second.broken);
    assert_string_equal(b.reason, "it is another node than the one expected at this address");
    assert_true(second.hello.refused);
    assert_int_equal(b.connected[3], 0);
    leave(&second);
    stop(&b);
    host_stop(&host);
}

static void a_silent_peer_is_given_up_and_a_pinging_one_is_not(void **state)
{
    struct node a, b;
    struct peers_config config = quick();
    struct stranger stranger;
    struct endpoint nowhere;
    int fd = dead_end(&nowhere);

    config.ping_ms = 20;
    config.dead_ms = 400;
    start_as(&a, 1, config);
    start_as(&b, 3, config);
    meet(&a, &b);
    meet(&b, &a);
    UNTIL(together(&a, &b));
    assert_int_equal(peers_set(a.peers, 2, &nowhere), 0);
    for (unsigned i = 1; i <= 3; i++) {
        uint64_t begun = uv_now(&loop);
        join(&stranger, &a, 2, 50 + i, 0);
        UNTIL(a.disconnected[2] == i);
        assert_true(uv_now(&loop) - begun >= config.dead_ms);
        assert_string_equal(a.why, "it was silent for too long");
        assert_int_equal(peers_counters(a.peers)->silent, i);
        assert_true(stranger.frames >= 3); /* hello, name of the link, pings */
        leave(&stranger);
    }
    assert_int_equal(a.disconnected[3] + b.disconnected[1], 0);
    stop(&a);
    stop(&b);
    close(fd);
}

/* --------------------------------------------------------------------------------------------------------- datagrams */

struct packet
{
    uint8_t bytes[64 + SEAL_OVERHEAD];
    size_t len;
};

static struct packet sealed_by(struct node *from, uint64_t to, const char *text)
{
    struct packet packet = {.len = strlen(text) + SEAL_OVERHEAD};

    assert_int_equal(peers_seal(from->peers, to, text, strlen(text), packet.bytes), 0);
    return packet;
}

/* What becomes of it at `at`; 0: it is from `from` and as it was. */
static int opened_at(struct node *at, const struct packet *packet, uint64_t from, const char *text)
{
    uint8_t plain[sizeof packet->bytes];
    size_t len = 0;
    uint64_t id = 0;
    int r = peers_open(at->peers, packet->bytes, packet->len, plain, &len, &id);

    if (r == 0) {
        assert_int_equal(id, from);
        assert_int_equal(len, strlen(text));
        assert_memory_equal(plain, text, len);
    }
    return r;
}

static bool passes(struct node *from, struct node *to)
{
    struct packet packet = sealed_by(from, to->id, "beat");

    return opened_at(to, &packet, from->id, "beat") == 0;
}

static void datagrams_pass_once_and_only_to_the_other(void **state)
{
    struct node a, b, c;
    uint8_t bytes[64];
    uint64_t ids[PEERS_SESSIONS_MAX];

    start(&a, 1);
    start(&b, 2);
    start(&c, 3);
    meet(&a, &b);
    assert_int_equal(peers_seal(a.peers, 2, "x", 1, bytes), -ENOKEY);
    meet(&b, &a);
    meet(&a, &c);
    meet(&c, &a);
    UNTIL(together(&a, &b) && together(&a, &c));
    assert_true(a.sessions > 0 && peers_sessions(a.peers, ids) >= 2);
    assert_true(passes(&a, &b) && passes(&b, &a) && passes(&a, &c) && passes(&c, &a));
    assert_int_equal(peers_seal(b.peers, 3, "x", 1, bytes), -ENOKEY); /* never met */

    struct packet packet = sealed_by(&a, 2, "once");
    assert_null(memmem(packet.bytes, packet.len, "once", 4));
    assert_int_equal(opened_at(&a, &packet, 0, ""), -ENOKEY); /* reflected */
    assert_int_equal(opened_at(&c, &packet, 0, ""), -ENOKEY); /* to somebody else */
    assert_int_equal(peers_counters(a.peers)->sessionless + peers_counters(c.peers)->sessionless, 2);
    packet.bytes[packet.len - 1] ^= 1;
    assert_int_equal(opened_at(&b, &packet, 0, ""), -EBADMSG);
    assert_int_equal(peers_counters(b.peers)->forged, 1);
    packet.bytes[packet.len - 1] ^= 1;
    assert_int_equal(opened_at(&b, &packet, 1, "once"), 0);
    assert_int_equal(opened_at(&b, &packet, 0, ""), -EBADMSG);
    assert_int_equal(peers_counters(b.peers)->replayed, 1);
    packet.bytes[0] ^= 1;
    assert_int_equal(opened_at(&b, &packet, 0, ""), -EBADMSG);
    assert_int_equal(peers_counters(b.peers)->unsealed, 1);
    stop(&a);
    stop(&b);
    stop(&c);
}

/* Leases are renewed while a connection is lost and made again, by whatever each end has at that moment. */
static void datagrams_outlive_the_connection(void **state)
{
    struct node a, b;

    start(&a, 1);
    start(&b, 2);
    meet(&a, &b);
    meet(&b, &a);
    UNTIL(together(&a, &b));
    for (unsigned round = 2; round < 30; round++) {
        struct packet before = sealed_by(&a, 2, "late");
        conn_close(connection_to(round % 2 ? &a : &b, round % 2 ? 2 : 1), "by the test");
        while (!together(&a, &b) || a.connected[2] < round || b.connected[1] < round) {
            assert_true(passes(&a, &b) && passes(&b, &a));
            uv_run(&loop, UV_RUN_ONCE);
        }
        assert_true(passes(&a, &b) && passes(&b, &a));
        assert_int_equal(opened_at(&b, &before, 1, "late"), 0); /* it was on its way meanwhile */
    }
    stop(&a);
    stop(&b);
}

static void a_restart_or_removal_ends_what_was_recorded(void **state)
{
    struct node a, b;
    struct peers_config config = quick();
    uint64_t ids[PEERS_SESSIONS_MAX];

    start(&a, 1);
    start(&b, 2);
    meet(&a, &b);
    meet(&b, &a);
    UNTIL(together(&a, &b));
    struct packet recorded = sealed_by(&b, 1, "held"), to_b = sealed_by(&a, 2, "acked");
    config.listen = b.at;
    stop(&b);
    UNTIL(a.disconnected[2] == 1);
    start_as(&b, 2, config);
    meet(&b, &a);
    UNTIL(together(&a, &b));
    assert_int_equal(opened_at(&a, &recorded, 0, ""), -ENOKEY);
    assert_int_equal(opened_at(&b, &to_b, 0, ""), -ENOKEY);
    assert_true(passes(&a, &b) && passes(&b, &a));

    struct packet packet = sealed_by(&b, 1, "held");
    peers_unset(a.peers, 2);
    assert_int_equal(opened_at(&a, &packet, 0, ""), -ENOKEY);
    assert_int_equal(peers_sessions(a.peers, ids), 0);
    stop(&a);
    stop(&b);
}

static bool all_by(const struct node *node, uint64_t key, unsigned n)
{
    uint64_t ids[TLS_KEYS_MAX];
    unsigned used, other;

    assert_true(peers_keys(node->peers, ids) > 0);
    peers_by_key(node->peers, &used, &other);
    return ids[0] == key && used == n && other == 0;
}

/* The four steps of a change, with datagrams all the while. */
static void the_key_changes_without_a_gap(void **state)
{
    static const uint8_t both[2][TLS_KEY_SIZE] = {"the key of the cluster", "the next one"};
    static const uint8_t swapped[2][TLS_KEY_SIZE] = {"the next one", "the key of the cluster"};
    uint64_t old = tls_key_id(both[0]), new = tls_key_id(both[1]);
    struct node a, b, c;

    start(&a, 1);
    start(&b, 2);
    start(&c, 3);
    struct node *nodes[] = {&a, &b, &c};
    for (unsigned i = 0; i < 3; i++) {
        meet(nodes[i], nodes[(i + 1) % 3]);
        meet(nodes[i], nodes[(i + 2) % 3]);
    }
#define PASSES (passes(&a, &b) && passes(&b, &a) && passes(&a, &c) && passes(&c, &a) && passes(&b, &c) && passes(&c, &b))
    UNTIL(together(&a, &b) && together(&a, &c) && together(&b, &c));
    struct packet recorded = sealed_by(&a, 2, "old");
    for (unsigned i = 0; i < 3; i++) {
        peers_set_keys(nodes[i]->peers, both, 2);
    }
    assert_true(all_by(&a, old, 2));
    for (unsigned i = 0; i < 3; i++) {
        peers_set_keys(nodes[i]->peers, swapped, 2); /* nothing happens by that alone */
    }
    assert_int_equal(a.disconnected[2] + a.disconnected[3], 0);
    assert_false(all_by(&a, new, 2));
    for (unsigned i = 0; i < 3; i++) {
        peers_renew(nodes[i]->peers);
        peers_renew(nodes[i]->peers); /* again is no harm */
    }
    UNTIL((assert_true(PASSES), all_by(&a, new, 2) && all_by(&b, new, 2) && all_by(&c, new, 2)));
    assert_true(a.disconnected[2] >= 1 && a.disconnected[3] >= 1);
    for (unsigned i = 0; i < 3; i++) {
        peers_set_keys(nodes[i]->peers, swapped, 1);
        assert_true(PASSES);
    }
    assert_int_equal(opened_at(&b, &recorded, 0, ""), -ENOKEY); /* what was sealed under the old one is worthless */
    assert_true(all_by(&a, new, 2) && together(&b, &c));

    /* a key that is taken away at once ends what was made with it */
    peers_set_keys(a.peers, KEYS + 2, 1);
    assert_false(peers_is_connected(a.peers, 2));
    assert_int_equal(peers_seal(a.peers, 2, "x", 1, (uint8_t[64]){0}), -ENOKEY);
    UNTIL(b.disconnected[1] >= 2 && c.disconnected[1] >= 2 && b.refusals > 0);
    stop(&a);
    stop(&b);
    stop(&c);
}

/* The seals of a connection that the test plays one end of. */
static void seals_of(struct stranger *stranger, bool dialled, struct seal *ret_out)
{
    uint8_t secret[SEAL_SECRET_SIZE];
    const char *label = dialled ? "EXPORTER-vipd-1 datagrams of who dialled" : "EXPORTER-vipd-1 datagrams of who accepted";

    assert_int_equal(stream_export(&stranger->stream, label, secret, sizeof secret), 0);
    seal_init(ret_out, secret);
}

/* The lower end takes a connection into use and seals with it; the higher one has not heard of that yet, and the connection
 * is lost: what comes is opened all the same, however many such attempts follow. */
static void what_the_lower_end_chose_is_opened_even_if_the_higher_never_knew(void **state)
{
    struct node b;
    struct stranger stranger;
    struct endpoint nowhere;
    struct hello hello = hello_of(1, 50);
    struct sealer *sealer;
    struct seal first = {0}, seal;
    int fd = dead_end(&nowhere);

    assert_int_equal(sealer_init(&sealer), 0);
    start(&b, 2);
    assert_int_equal(peers_set(b.peers, 1, &nowhere), 0);
    for (unsigned i = 0; i < 30; i++) {
        struct packet packet = {.len = 4 + SEAL_OVERHEAD};

        approach(&stranger, &b);
        say_hello(&stranger, &hello);
        UNTIL(stranger.frames == 1); /* its hello: now it has been admitted */
        seals_of(&stranger, true, &seal);
        first = i == 0 ? seal : first;
        leave(&stranger);
        UNTIL(open_connections(&b) <= 1);
        if (i == 0) {
            assert_int_equal(seal_put(sealer, &first, "beat", 4, packet.bytes), 0);
            assert_int_equal(opened_at(&b, &packet, 1, "beat"), 0);
        } else { /* new, but the one that is in use stays */
            assert_int_equal(seal_put(sealer, &first, "more", 4, packet.bytes), 0);
            assert_int_equal(opened_at(&b, &packet, 1, "more"), 0);
        }
    }
    assert_int_equal(b.connected[1], 0);
    uint64_t ids[PEERS_SESSIONS_MAX];
    assert_int_equal(peers_sessions(b.peers, ids), SESSIONS_PER_PEER); /* and no more */
    stop(&b);
    seal_end(&first);
    sealer_free(sealer);
    close(fd);
}

/* ---------------------------------------------------------------------------------------------------------- messages */

static void a_big_message_passes_whole_and_in_order(void **state)
{
    struct node a, b;
    size_t len = (size_t)10 << 20;
    uint8_t *data = malloc(len);

    assert_non_null(data);
    for (size_t i = 0; i < len; i++) {
        data[i] = (uint8_t)(i * 2654435761u >> 13);
    }
    start(&a, 1);
    start(&b, 2);
    meet(&a, &b);
    meet(&b, &a);
    UNTIL(together(&a, &b));
    assert_int_equal(peers_send(a.peers, 2, CHANNEL_RAFT, data, len), 0);
    assert_int_equal(peers_send(b.peers, 1, CHANNEL_FORWARD_REPLY, data, len), 0);
    UNTIL(b.messages == 1 && a.messages == 1);
    assert_int_equal(b.len, len);
    assert_int_equal(b.sum, sum_of(data, len));
    assert_int_equal(a.sum, sum_of(data, len));
    assert_int_equal(peers_counters(b.peers)->bytes_in, len);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(peers_send(a.peers, 2, CHANNEL_RAFT, data, i), 0);
    }
    UNTIL(b.messages == 1001);
    assert_int_equal(b.sum, sum_of(data, 999));
    assert_int_equal(a.disconnected[2], 0);
    free(data);
    stop(&a);
    stop(&b);
}

static void what_a_slow_reader_can_hold_up_is_bounded(void **state)
{
    struct node a;
    struct peers_config config = quick();
    struct stranger stranger;
    struct peer_info info;
    size_t len = (size_t)256 << 10;
    uint8_t *data = calloc(1, len);
    uint64_t sent = 0;
    int r = 0;

    assert_non_null(data);
    config.queue_max = (size_t)1 << 20;
    config.user_timeout_ms = 60000;
    config.dead_ms = 60000;
    int fd = expect_stranger(&a, config);
    join(&stranger, &a, 2, 50, 0);
    uv_read_stop((uv_stream_t *)&stranger.stream.tcp);

    while (peers_counters(a.peers)->raft_dropped == 0) {
        assert_true(sent < 1000); /* the kernel's own buffers take some MiB */
        assert_int_equal(peers_send(a.peers, 2, CHANNEL_RAFT, data, len), 0);
        sent++;
    }
    assert_int_equal(peers_info(a.peers, 2, &info), 0);
    assert_true(info.queued <= config.queue_max);
    /* what is not Raft's may go beyond, up to its own bound */
    for (unsigned i = 0; i < 1000 && r == 0; i++) {
        r = peers_send(a.peers, 2, CHANNEL_FORWARD, data, len);
    }
    assert_int_equal(r, -ENOBUFS);
    assert_int_equal(peers_counters(a.peers)->queue_full, 1);
    assert_int_equal(peers_info(a.peers, 2, &info), 0);
    assert_true(info.queued <= config.queue_max + PEERS_QUEUE_SLACK);
    assert_true(peers_is_connected(a.peers, 2));
    leave(&stranger);
    UNTIL(a.disconnected[2] == 1);
    free(data);
    stop(&a);
    close(fd);
}

static void sending_has_its_errors(void **state)
{
    struct node a, b;
    size_t len = channel_max(CHANNEL_REPORT) + 1;
    uint8_t *data = calloc(1, len);

    assert_non_null(data);
    start(&a, 1);
    start(&b, 2);
    assert_int_equal(peers_send(a.peers, 2, CHANNEL_RAFT, "x", 1), -ENOTCONN);
    meet(&a, &b);
    meet(&b, &a);
    UNTIL(together(&a, &b));
    assert_int_equal(peers_send(a.peers, 2, CHANNEL_REPORT, data, len), -EMSGSIZE);
    assert_int_equal(peers_send(a.peers, 2, CHANNEL_HELLO, "x", 1), -EINVAL);
    assert_int_equal(peers_send(a.peers, 2, CHANNEL_PING, "x", 1), -EINVAL);
    assert_int_equal(peers_send(a.peers, 2, CHANNELS_N, "x", 1), -EINVAL);
    assert_int_equal(peers_send(a.peers, 2, CHANNEL_REPORT, data, len - 1), 0);
    UNTIL(b.messages == 1);
    free(data);
    stop(&a);
    stop(&b);
}

/* ------------------------------------------------------------------------------------------------- membership and ends */

static void a_peer_may_be_unset_from_within_its_message(void **state)
{
    struct node a, b;

    start(&a, 1);
    start(&b, 2);
    meet(&a, &b);
    meet(&b, &a);
    UNTIL(together(&a, &b));
    b.unset_on_message = 1;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(peers_send(a.peers, 2, CHANNEL_RAFT, "leave me", 8), 0);
    }
    UNTIL(b.disconnected[1] == 1 && a.disconnected[2] == 1);
    assert_int_equal(b.messages, 1);
    UNTIL(a.refusals > 0); /* and is told, when it comes again */
    assert_string_equal(a.reason, "it refuses this node: no member of this cluster");
    stop(&a);
    stop(&b);
}

static void an_address_may_change(void **state)
{
    struct node a, b;
    struct endpoint nowhere;
    int fd = dead_end(&nowhere);

    start(&a, 1);
    start(&b, 2);
    assert_int_equal(peers_set(b.peers, 1, &nowhere), 0);
    assert_int_equal(peers_set(a.peers, 2, &nowhere), 0);
    UNTIL(peers_counters(a.peers)->dials_failed >= 2);
    meet(&a, &b);
    UNTIL(together(&a, &b));
    assert_int_equal(peers_set(a.peers, 2, &nowhere), 0);
    assert_true(together(&a, &b));
    stop(&a);
    stop(&b);
    close(fd);
}

static void what_makes_no_sense_is_refused(void **state)
{
    struct node a;
    struct peers *peers = NULL;
    struct peers_config config = quick();
    struct hello hello = {.run = 1};
    struct endpoint at = loopback(1), no_port = loopback(0);

    start(&a, 1);
    assert_int_equal(peers_set(a.peers, 0, &at), -EINVAL);
    assert_int_equal(peers_set(a.peers, 1, &at), -EINVAL);
    assert_int_equal(peers_set(a.peers, 2, &no_port), -EINVAL);
    for (uint64_t id = 2; id < 2 + NODES_MAX; id++) {
        at.port = a.at.port;
        assert_int_equal(peers_set(a.peers, id, &at), 0);
    }
    assert_int_equal(peers_set(a.peers, 2 + NODES_MAX, &at), -ENOSPC);
    peers_unset(a.peers, 1000);

    config.name = "b";
    assert_int_equal(peers_init(&peers, &loop, &config, &hello, &OPS, NULL), -EINVAL); /* no id */
    config.self = 2;
    hello.run = 0;
    assert_int_equal(peers_init(&peers, &loop, &config, &hello, &OPS, NULL), -EINVAL);
    hello.run = 1;
    config.name = "b b";
    assert_int_equal(peers_init(&peers, &loop, &config, &hello, &OPS, NULL), -EINVAL);
    config.name = "b";
    config.dead_ms = 10;
    assert_int_equal(peers_init(&peers, &loop, &config, &hello, &OPS, NULL), -EINVAL);
    config.dead_ms = 0;
    config.listen = a.at;
    assert_int_equal(peers_init(&peers, &loop, &config, &hello, &OPS, NULL), -EADDRINUSE);
    config.listen = (struct endpoint){.addr = {.family = 4, .bytes = {192, 0, 2, 1}}, .port = 7400};
    assert_int_equal(peers_init(&peers, &loop, &config, &hello, &OPS, NULL), -EADDRNOTAVAIL);
    assert_null(peers);
    stop(&a);

    struct node none = {0};
    peers_close(NULL, node_closed, &none);
    assert_true(none.closed);
}

#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, open_loop, close_loop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(two_nodes_meet_and_talk_both_ways),
        LOOP_TEST(one_side_that_can_dial_is_enough),
        LOOP_TEST(three_nodes_make_a_mesh),
        LOOP_TEST(dialling_at_once_leaves_one_connection_and_no_flapping),
        LOOP_TEST(a_peer_that_restarts_is_found_again),
        LOOP_TEST(a_hint_cuts_the_waiting_short),
        LOOP_TEST(ipv6_works_as_well),
        LOOP_TEST(who_does_not_belong_is_told_why),
        LOOP_TEST(another_key_or_cluster_is_told_by_both_once),
        LOOP_TEST(who_comes_too_often_is_closed_at_once),
        LOOP_TEST(one_address_has_its_share),
        LOOP_TEST(the_dialling_side_refuses_as_well),
        LOOP_TEST(a_node_that_dials_itself_is_refused),
        LOOP_TEST(garbage_is_closed_and_counted),
        LOOP_TEST(frames_out_of_place_are_closed_and_counted),
        LOOP_TEST(who_says_nothing_or_too_slowly_is_closed),
        LOOP_TEST(a_crowd_of_strangers_is_bounded_and_keeps_nobody_out),
        LOOP_TEST(a_burst_of_connections_is_accepted_in_parts),
        LOOP_TEST(a_hello_whose_sender_is_gone_connects_nobody),
        LOOP_TEST(a_second_connection_is_taken_only_when_the_first_is_lost),
        LOOP_TEST(the_higher_end_names_the_link_that_it_lost),
        LOOP_TEST(a_silent_peer_is_given_up_and_a_pinging_one_is_not),
        LOOP_TEST(datagrams_pass_once_and_only_to_the_other),
        LOOP_TEST(datagrams_outlive_the_connection),
        LOOP_TEST(a_restart_or_removal_ends_what_was_recorded),
        LOOP_TEST(the_key_changes_without_a_gap),
        LOOP_TEST(what_the_lower_end_chose_is_opened_even_if_the_higher_never_knew),
        LOOP_TEST(a_big_message_passes_whole_and_in_order),
        LOOP_TEST(what_a_slow_reader_can_hold_up_is_bounded),
        LOOP_TEST(sending_has_its_errors),
        LOOP_TEST(a_peer_may_be_unset_from_within_its_message),
        LOOP_TEST(an_address_may_change),
        LOOP_TEST(what_makes_no_sense_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
