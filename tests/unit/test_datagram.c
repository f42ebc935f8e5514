/* io/datagram over loopback: what is sent arrives as it was, what cannot be sent is counted and holds up nothing, and a
 * flood leaves the loop its turns. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/datagram.h"
#include "io/sockaddr.h"

#define DEADLINE_MS 10000

static uv_loop_t loop;
static uv_timer_t guard;
static bool expired;

static void guard_due(uv_timer_t *timer)
{
    (void)timer;
    expired = true;
}

#define UNTIL(condition)                                   \
    do {                                                   \
        expired = false;                                   \
        uv_timer_start(&guard, guard_due, DEADLINE_MS, 0); \
        while (!(condition) && !expired) {                 \
            uv_run(&loop, UV_RUN_ONCE);                    \
        }                                                  \
        uv_timer_stop(&guard);                             \
        if (expired) {                                     \
            fail_msg("did not come to be: %s", #condition); \
        }                                                  \
    } while (0)

static int open_loop(void **state)
{
    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    return uv_timer_init(&loop, &guard);
}

static int close_loop(void **state)
{
    (void)state;
    uv_close((uv_handle_t *)&guard, NULL);
    for (unsigned i = 0; i < 1000 && uv_run(&loop, UV_RUN_NOWAIT) != 0; i++) {
    }
    return uv_loop_close(&loop); /* fails when a handle was left behind */
}

struct socket
{
    struct datagram *datagram;
    struct endpoint at;
    unsigned received;
    struct endpoint from;
    uint8_t data[PACKET_MAX];
    size_t len;
    bool close_on_receipt, closed;
};

static void on_closed(void *ud)
{
    ((struct socket *)ud)->closed = true;
}

static void on_received(void *ud, const struct endpoint *from, const void *data, size_t len)
{
    struct socket *socket = ud;

    assert_true(len <= sizeof socket->data);
    assert_int_equal((uintptr_t)data % 8, 0);
    assert_false(socket->closed);
    socket->received++;
    socket->from = *from;
    socket->len = len;
    memcpy(socket->data, data, len);
    if (socket->close_on_receipt) {
        datagram_close(socket->datagram, on_closed, socket);
    }
}

static const struct endpoint ANY_PORT = {.addr = {.family = 4, .bytes = {127, 0, 0, 1}}};

static void start_at(struct socket *socket, struct endpoint at)
{
    *socket = (struct socket){0};
    assert_int_equal(datagram_init(&socket->datagram, &loop, &at, on_received, socket), 0);
    socket->at = datagram_at(socket->datagram);
}

static void stop(struct socket *socket)
{
    datagram_close(socket->datagram, on_closed, socket);
    UNTIL(socket->closed);
}

static void exchange(struct endpoint any_port)
{
    struct socket a, b;
    uint8_t data[PACKET_MAX];

    memset(data, 0x5a, sizeof data);
    start_at(&a, any_port);
    start_at(&b, any_port);
    for (size_t len = 0; len <= PACKET_MAX; len += PACKET_MAX / 4) {
        unsigned had = b.received;
        assert_true(datagram_send(a.datagram, &b.at, data, len));
        UNTIL(b.received == had + 1);
        assert_int_equal(b.len, len);
        assert_memory_equal(b.data, data, len);
        assert_true(addr_equal(&b.from.addr, &a.at.addr) && b.from.port == a.at.port);
    }
    assert_int_equal(datagram_counters(a.datagram)->sent, b.received);
    assert_int_equal(datagram_counters(b.datagram)->received, b.received);
    stop(&a);
    stop(&b);
}

static void what_is_sent_arrives_as_it_was(void **state)
{
    exchange(ANY_PORT);
    exchange((struct endpoint){.addr = {.family = 6, .bytes = {[15] = 1}}});
}

static void a_list_is_sent_whole_past_those_that_cannot_be(void **state)
{
    enum { N = 100 };
    struct socket a, b;
    struct datagram_out list[N];
    uint8_t data[PACKET_MAX + 1] = {0};
    unsigned bad = 0;

    start_at(&a, ANY_PORT);
    start_at(&b, ANY_PORT);
    for (unsigned i = 0; i < N; i++) {
        list[i] = (struct datagram_out){.to = b.at, .data = data, .len = 8};
    }
    list[0].to.addr = (struct addr){.family = 6, .bytes = {[15] = 1}}, bad++; /* another family */
    list[1].len = PACKET_MAX + 1, bad++;
    list[2].to.port = 0, bad++;
    list[40].to.addr = (struct addr){.family = 4, .bytes = {255, 255, 255, 255}}, bad++; /* EACCES: no broadcast */
    list[41].to.addr = (struct addr){.family = 4, .bytes = {192, 0, 2, 1}}, bad++; /* from loopback: EINVAL, or no route */
    assert_int_equal(datagram_send_all(a.datagram, list, N), N - bad);
    UNTIL(b.received == N - bad);
    const struct datagram_counters *counters = datagram_counters(a.datagram);
    assert_int_equal(counters->sent, N - bad);
    assert_int_equal(counters->denied, 1);
    assert_int_equal(counters->failed + counters->unreachable, 4);
    assert_int_equal(datagram_send_all(a.datagram, NULL, 0), 0);
    stop(&a);
    stop(&b);
}

static void too_long_a_datagram_is_counted_and_dropped(void **state)
{
    struct socket a;
    uint8_t data[9000] = {0};
    struct sockaddr_storage address;
    int fd = sockaddr_bound(&ANY_PORT, SOCK_DGRAM);

    assert_true(fd >= 0);
    start_at(&a, ANY_PORT);
    socklen_t len = sockaddr_from(&a.at, &address);
    assert_int_equal(sendto(fd, data, PACKET_MAX + 1, 0, (struct sockaddr *)&address, len), PACKET_MAX + 1);
    assert_int_equal(sendto(fd, data, sizeof data, 0, (struct sockaddr *)&address, len), sizeof data);
    assert_int_equal(sendto(fd, data, 3, 0, (struct sockaddr *)&address, len), 3);
    UNTIL(a.received == 1);
    assert_int_equal(a.len, 3);
    assert_int_equal(datagram_counters(a.datagram)->oversize, 2);
    close(fd);
    stop(&a);
}

static void a_flood_leaves_the_loop_its_turns(void **state)
{
    enum { FLOOD = 1000 };
    struct socket a, b;
    unsigned turns = 0, most = 0;

    start_at(&a, ANY_PORT);
    start_at(&b, ANY_PORT);
    for (unsigned i = 0; i < FLOOD; i++) {
        assert_true(datagram_send(a.datagram, &b.at, &i, sizeof i));
    }
    while (b.received < FLOOD && turns < FLOOD) {
        unsigned had = b.received;
        uv_run(&loop, UV_RUN_NOWAIT);
        most = b.received - had > most ? b.received - had : most;
        turns++;
    }
    assert_true(b.received > most); /* in more than one turn; an unprivileged socket's buffer does not hold them all */
    assert_true(most < FLOOD / 5);
    stop(&a);
    stop(&b);
}

static void what_the_kernel_drops_is_counted(void **state)
{
    enum { FLOOD = 200000 };
    struct socket a, b;
    uint64_t sent = 0;

    start_at(&a, ANY_PORT);
    start_at(&b, ANY_PORT);
    for (unsigned i = 0; i < FLOOD; i++) {
        sent += datagram_send(a.datagram, &b.at, &i, sizeof i);
    }
    for (unsigned i = 0; i < FLOOD && uv_run(&loop, UV_RUN_NOWAIT) != 0 && b.received < FLOOD; i++) {
        unsigned had = b.received;
        uv_run(&loop, UV_RUN_NOWAIT);
        if (b.received == had) {
            break;
        }
    }
    assert_true(b.received < sent);
    /* the count comes with the next datagram that is queued after the drops */
    assert_true(datagram_send(a.datagram, &b.at, "x", 1));
    unsigned had = b.received;
    UNTIL(b.received == had + 1);
    assert_int_equal(datagram_counters(b.datagram)->dropped + b.received, sent + 1);
    stop(&a);
    stop(&b);
}

static void it_may_be_closed_from_within_a_receipt(void **state)
{
    struct socket a, b;

    start_at(&a, ANY_PORT);
    start_at(&b, ANY_PORT);
    b.close_on_receipt = true;
    for (unsigned i = 0; i < 10; i++) {
        assert_true(datagram_send(a.datagram, &b.at, "x", 1));
    }
    UNTIL(b.closed);
    assert_int_equal(b.received, 1);
    stop(&a);

    struct socket none = {0};
    datagram_close(NULL, on_closed, &none);
    assert_true(none.closed);
}

static void a_port_has_one_owner(void **state)
{
    struct socket a;
    struct datagram *second = NULL;

    start_at(&a, ANY_PORT);
    assert_int_equal(datagram_init(&second, &loop, &a.at, on_received, NULL), -EADDRINUSE);
    assert_null(second);
    stop(&a);
}

#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, open_loop, close_loop)

/* What is not allowed does not get as far as the queue, however much there is of it. */
static void the_kernel_drops_what_is_not_allowed(void **state)
{
    struct socket a, b;
    uint8_t wanted[] = "----\x12\x34\x56\x78 wanted", other[] = "----\x12\x34\x56\x79 other";
    uint32_t words[DATAGRAM_ALLOW_MAX];

    start_at(&a, ANY_PORT);
    start_at(&b, ANY_PORT);
    for (uint32_t i = 0; i < DATAGRAM_ALLOW_MAX; i++) {
        words[i] = 0xa0000000u + i;
    }
    for (unsigned round = 0; round < 2; round++) { /* alone, and the last of as many as there may be */
        words[round * (DATAGRAM_ALLOW_MAX - 1)] = 0x12345678;
        assert_int_equal(datagram_allow(b.datagram, 4, words, round == 0 ? 1 : DATAGRAM_ALLOW_MAX), 0);
        b.received = 0;
        uint64_t before = datagram_counters(b.datagram)->dropped;
        for (unsigned i = 0; i < 5000; i++) { /* more than the queue holds */
            datagram_send(a.datagram, &b.at, other, sizeof other);
        }
        datagram_send(a.datagram, &b.at, other, 3); /* too short to have it */
        assert_true(datagram_send(a.datagram, &b.at, wanted, sizeof wanted));
        UNTIL(b.received == 1);
        assert_memory_equal(b.data, wanted, sizeof wanted);
        assert_int_equal(datagram_counters(b.datagram)->dropped - before, 5001);
        words[0] = 0xa0000000u;
    }
    assert_int_equal(datagram_allow(b.datagram, 4, NULL, 0), 0); /* nothing at all */
    assert_true(datagram_send(a.datagram, &b.at, wanted, sizeof wanted));
    assert_int_equal(datagram_allow(b.datagram, 4, words, DATAGRAM_ALLOW_MAX), 0);
    assert_true(datagram_send(a.datagram, &b.at, wanted, sizeof wanted));
    UNTIL(b.received == 2);
    stop(&a);
    stop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(what_is_sent_arrives_as_it_was),
        LOOP_TEST(a_list_is_sent_whole_past_those_that_cannot_be),
        LOOP_TEST(too_long_a_datagram_is_counted_and_dropped),
        LOOP_TEST(a_flood_leaves_the_loop_its_turns),
        LOOP_TEST(what_the_kernel_drops_is_counted),
        LOOP_TEST(it_may_be_closed_from_within_a_receipt),
        LOOP_TEST(a_port_has_one_owner),
        LOOP_TEST(the_kernel_drops_what_is_not_allowed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
