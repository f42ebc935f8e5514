/* io/seal: what is sealed is opened once, by the other end of that direction, and by nobody else. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "io/seal.h"

#define MESSAGE "a heartbeat of node a"
#define LEN (sizeof MESSAGE - 1)

static struct sealer *sealer;

static int open_sealer(void **state)
{
    return sealer_init(&sealer);
}

static int close_sealer(void **state)
{
    sealer_free(sealer);
    sealer_free(NULL);
    return 0;
}

static void make(struct seal *seal, const char *secret)
{
    uint8_t bytes[SEAL_SECRET_SIZE] = {0};

    memcpy(bytes, secret, strlen(secret));
    memset(bytes + 44, 7, 8); /* the same id for all: the key has to do it */
    seal_init(seal, bytes);
}

static void put(struct seal *seal, uint8_t ret[LEN + SEAL_OVERHEAD])
{
    assert_int_equal(seal_put(sealer, seal, MESSAGE, LEN, ret), 0);
}

static int take(struct seal *seal, const uint8_t *datagram, size_t len)
{
    uint8_t plain[256];
    size_t n = 0;
    int r = seal_take(sealer, seal, datagram, len, plain, &n);

    if (r == 0) {
        assert_int_equal(n, len - SEAL_OVERHEAD);
        assert_memory_equal(plain, MESSAGE, n);
    }
    return r;
}

static void what_is_sealed_is_opened_once(void **state)
{
    struct seal out, in;
    uint8_t datagram[LEN + SEAL_OVERHEAD], again[LEN + SEAL_OVERHEAD];
    uint64_t id = 0;

    make(&out, "one");
    make(&in, "one");
    put(&out, datagram);
    assert_null(memmem(datagram, sizeof datagram, "node", 4));
    assert_int_equal(seal_of(datagram, sizeof datagram, &id), 0);
    assert_int_equal(id, out.id);
    assert_int_equal(take(&in, datagram, sizeof datagram), 0);
    assert_int_equal(take(&in, datagram, sizeof datagram), SEAL_REPLAYED);
    put(&out, again); /* the same again is not the same */
    assert_memory_not_equal(datagram + SEAL_HEAD, again + SEAL_HEAD, LEN);
    assert_int_equal(take(&in, again, sizeof again), 0);

    uint8_t none[SEAL_OVERHEAD];
    assert_int_equal(seal_put(sealer, &out, "", 0, none), 0);
    assert_int_equal(take(&in, none, sizeof none), 0);
    seal_end(&out);
    seal_end(&in);
    assert_int_equal(out.id + in.id + out.counter + in.counter, 0); /* nothing is left */
    seal_end(&in);                                                  /* and that is no harm */
}

/* Reflected (the other direction has another key), or of another session. */
static void another_secret_opens_nothing(void **state)
{
    struct seal out, back, other;
    uint8_t datagram[LEN + SEAL_OVERHEAD];

    make(&out, "one");
    make(&back, "one, the other way");
    make(&other, "two");
    put(&out, datagram);
    assert_int_equal(take(&back, datagram, sizeof datagram), SEAL_FORGED);
    assert_int_equal(take(&other, datagram, sizeof datagram), SEAL_FORGED);
    assert_int_equal(other.counter, 0); /* and changes nothing */
    seal_end(&out);
    seal_end(&back);
    seal_end(&other);
}

static void a_changed_bit_anywhere_is_noticed(void **state)
{
    struct seal out, in;
    uint8_t datagram[LEN + SEAL_OVERHEAD];
    uint64_t id;

    make(&out, "one");
    make(&in, "one");
    for (unsigned i = 0; i < 5; i++) {
        put(&out, datagram);
    }
    for (size_t bit = 0; bit < 8 * sizeof datagram; bit++) {
        datagram[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(take(&in, datagram, sizeof datagram), 0);
        datagram[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t len = 0; len < sizeof datagram; len++) {
        assert_int_equal(seal_of(datagram, len, &id), len < SEAL_OVERHEAD ? -EBADMSG : 0);
        assert_int_not_equal(take(&in, datagram, len), 0);
    }
    assert_int_equal(in.counter, 0);
    assert_int_equal(take(&in, datagram, sizeof datagram), 0);
    seal_end(&out);
    seal_end(&in);
}

/* Out of order is fine within the window, each just once; what is older is not believed. */
static void the_window_takes_each_once_in_any_order(void **state)
{
    enum { N = 3 * SEAL_WINDOW };
    static uint8_t datagrams[N][LEN + SEAL_OVERHEAD];
    struct seal out, in;
    uint32_t seed = 99;
    unsigned taken = 0;

    make(&out, "one");
    make(&in, "one");
    for (unsigned i = 0; i < N; i++) {
        put(&out, datagrams[i]);
    }
    /* a walk forward with steps back of less than a window: every one is taken exactly once */
    for (unsigned i = 0; i < N; i += 100) {
        for (unsigned k = i + 100 < N ? i + 100 : N; k-- > i;) {
            taken += take(&in, datagrams[k], sizeof datagrams[k]) == 0;
        }
        for (unsigned tries = 0; tries < 50; tries++) {
            seed = seed * 1664525 + 1013904223;
            unsigned old = (seed >> 8) % (i + 100 < N ? i + 100 : N);
            assert_int_equal(take(&in, datagrams[old], sizeof datagrams[old]), SEAL_REPLAYED);
        }
    }
    assert_int_equal(taken, N);

    /* the edges of the window */
    seal_end(&in);
    make(&in, "one");
    assert_int_equal(take(&in, datagrams[N - 1], sizeof datagrams[0]), 0);
    assert_int_equal(take(&in, datagrams[N - SEAL_WINDOW], sizeof datagrams[0]), 0);
    assert_int_equal(take(&in, datagrams[N - SEAL_WINDOW - 1], sizeof datagrams[0]), SEAL_REPLAYED);
    assert_int_equal(take(&in, datagrams[0], sizeof datagrams[0]), SEAL_REPLAYED);

    /* a leap far ahead forgets nothing that it should know */
    seal_end(&in);
    make(&in, "one");
    assert_int_equal(take(&in, datagrams[0], sizeof datagrams[0]), 0);
    assert_int_equal(take(&in, datagrams[2 * SEAL_WINDOW], sizeof datagrams[0]), 0);
    for (unsigned i = SEAL_WINDOW + 1; i < 2 * SEAL_WINDOW; i++) {
        assert_int_equal(take(&in, datagrams[i], sizeof datagrams[i]), 0);
        assert_int_equal(take(&in, datagrams[i], sizeof datagrams[i]), SEAL_REPLAYED);
    }
    seal_end(&out);
    seal_end(&in);
}

static void a_counter_of_zero_or_the_last_breaks_nothing(void **state)
{
    struct seal out, in;
    uint8_t datagram[LEN + SEAL_OVERHEAD];

    make(&in, "one");
    make(&out, "one");
    out.counter = UINT64_MAX; /* gives out 0, which no end does */
    put(&out, datagram);
    assert_int_equal(take(&in, datagram, sizeof datagram), SEAL_REPLAYED);
    out.counter = UINT64_MAX - 1;
    put(&out, datagram);
    assert_int_equal(take(&in, datagram, sizeof datagram), 0);
    assert_int_equal(take(&in, datagram, sizeof datagram), SEAL_REPLAYED);
    seal_end(&out);
    seal_end(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sealed_is_opened_once),
        cmocka_unit_test(another_secret_opens_nothing),
        cmocka_unit_test(a_changed_bit_anywhere_is_noticed),
        cmocka_unit_test(the_window_takes_each_once_in_any_order),
        cmocka_unit_test(a_counter_of_zero_or_the_last_breaks_nothing),
    };

    return cmocka_run_group_tests(tests, open_sealer, close_sealer);
}
