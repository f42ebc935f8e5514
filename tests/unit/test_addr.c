/* base/addr: what parses, what does not, and the one text that each value has. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/addr.h"

struct text_case
{
    const char *text;
    const char *canonical; /* NULL: refused */
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void addresses_have_one_canonical_text(void **state)
{
    static const struct text_case cases[] = {
        {"10.0.0.1", "10.0.0.1"},
        {"255.255.255.255", "255.255.255.255"},
        {"0.0.0.0", "0.0.0.0"},
        {"::", "::"},
        {"::1", "::1"},
        {"1::", "1::"},
        {"2001:DB8::50", "2001:db8::50"},
        {"2001:0db8:0:0:0:0:0:0050", "2001:db8::50"},
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"}, /* RFC 5952 4.2.2: one zero group stays */
        {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},          /* 4.2.3: the longest run */
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},    /* 4.2.3: the first of equals */
        {"0:0:1:2:3:4:5:6", "::1:2:3:4:5:6"},
        {"1:2:3:4:5:6:0:0", "1:2:3:4:5:6::"},
        {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
        {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
        {"::ffff:10.0.0.1", "10.0.0.1"},
        {"::ffff:a00:1", "10.0.0.1"},
        {"64:ff9b::10.0.0.1", "64:ff9b::a00:1"},
        {"", NULL},
        {"10.0.0", NULL},
        {"10.0.0.256", NULL},
        {"10.0.0.01", NULL},
        {"10.0.0.1 ", NULL},
        {" 10.0.0.1", NULL},
        {"10.0.0.1/24", NULL},
        {"fe80::1%eth0", NULL},
        {"1::2::3", NULL},
        {"1:2:3:4:5:6:7:8:9", NULL},
        {"[::1]", NULL},
        {"localhost", NULL},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct addr addr = {.family = 9};
        char buf[ADDR_TEXT_MAX];

        if (cases[i].canonical == NULL) {
            assert_int_equal(addr_parse(cases[i].text, &addr), -EINVAL);
            assert_int_equal(addr.family, 9); /* untouched */
            continue;
        }
        assert_int_equal(addr_parse(cases[i].text, &addr), 0);
        assert_string_equal(addr_format(&addr, buf), cases[i].canonical);
    }
}

static void a_missing_address_prints_none(void **state)
{
    struct endpoint none = {0};
    struct prefix no_prefix = {0};
    char buf[ENDPOINT_TEXT_MAX];

    assert_string_equal(addr_format(&none.addr, buf), "none");
    assert_string_equal(prefix_format(&no_prefix, buf), "none");
    assert_string_equal(endpoint_format(&none, buf), "none");
}

static void prefixes_keep_their_host_bits(void **state)
{
    static const struct text_case cases[] = {
        {"10.0.0.50/24", "10.0.0.50/24"},
        {"10.0.0.50", "10.0.0.50/32"},
        {"10.0.0.50/0", "10.0.0.50/0"},
        {"10.0.0.50/32", "10.0.0.50/32"},
        {"2001:db8::50/64", "2001:db8::50/64"},
        {"2001:db8::50", "2001:db8::50/128"},
        {"::/0", "::/0"},
        {"::ffff:10.0.0.50", "10.0.0.50/32"},
        {"::ffff:10.0.0.50/120", "10.0.0.50/24"},
        {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"},
        {"::ffff:10.0.0.50/24", NULL}, /* shorter than the mapped prefix itself */
        {"10.0.0.50/33", NULL},
        {"10.0.0.50/", NULL},
        {"10.0.0.50/-1", NULL},
        {"10.0.0.50/+1", NULL},
        {"10.0.0.50/024", NULL},
        {"10.0.0.50/24 ", NULL},
        {"10.0.0.50/24/8", NULL},
        {"10.0.0.50/99999999999999999999", NULL},
        {"2001:db8::50/129", NULL},
        {"/24", NULL},
        {"", NULL},
        {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/128/128/128/128/128", NULL},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct prefix prefix = {.len = 77};
        bool is_explicit = false;
        char buf[PREFIX_TEXT_MAX];

        if (cases[i].canonical == NULL) {
            assert_int_equal(prefix_parse(cases[i].text, &prefix, &is_explicit), -EINVAL);
            assert_int_equal(prefix.len, 77);
            continue;
        }
        assert_int_equal(prefix_parse(cases[i].text, &prefix, &is_explicit), 0);
        assert_string_equal(prefix_format(&prefix, buf), cases[i].canonical);
        assert_int_equal(is_explicit, strchr(cases[i].text, '/') != NULL);
        assert_int_equal(prefix_parse(cases[i].text, &prefix, NULL), 0);
    }
}

static void endpoints_need_a_port(void **state)
{
    static const struct text_case cases[] = {
        {"10.1.0.1:7400", "10.1.0.1:7400"},
        {"10.1.0.1:1", "10.1.0.1:1"},
        {"10.1.0.1:65535", "10.1.0.1:65535"},
        {"[::1]:7400", "[::1]:7400"},
        {"[2001:DB8:0::1]:7400", "[2001:db8::1]:7400"},
        {"[::ffff:10.1.0.1]:7400", "10.1.0.1:7400"},
        {"10.1.0.1", NULL},
        {"10.1.0.1:", NULL},
        {"10.1.0.1:0", NULL},
        {"10.1.0.1:65536", NULL},
        {"10.1.0.1:07400", NULL},
        {"10.1.0.1:7400x", NULL},
        {"[10.1.0.1]:7400", NULL},
        {"::1:7400", NULL},
        {"[::1]", NULL},
        {"[::1:7400", NULL},
        {"::1]:7400", NULL},
        {"[]:7400", NULL},
        {"[:7400", NULL},
        {"[", NULL},
        {":7400", NULL},
        {"", NULL},
        {"node-a:7400", NULL},
        {"[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:655350000000000000", NULL},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct endpoint endpoint = {.port = 7};
        char buf[ENDPOINT_TEXT_MAX];

        if (cases[i].canonical == NULL) {
            assert_int_equal(endpoint_parse(cases[i].text, &endpoint), -EINVAL);
            assert_int_equal(endpoint.port, 7);
            continue;
        }
        assert_int_equal(endpoint_parse(cases[i].text, &endpoint), 0);
        assert_string_equal(endpoint_format(&endpoint, buf), cases[i].canonical);
    }
}

static void equal_endpoints_are_equal_bytes(void **state)
{
    struct endpoint a, b;

    memset(&a, 0x55, sizeof(a));
    memset(&b, 0xaa, sizeof(b));
    assert_int_equal(endpoint_parse("10.1.0.1:7400", &a), 0);
    assert_int_equal(endpoint_parse("[::ffff:10.1.0.1]:7400", &b), 0);
    assert_memory_equal(&a, &b, sizeof(a));
}

static void order_is_family_then_bytes(void **state)
{
    static const char *const sorted[] = {"0.0.0.1", "9.255.0.0", "10.0.0.0", "10.0.0.1", "::", "::1", "2001:db8::"};

    for (size_t i = 0; i < COUNT(sorted); i++) {
        for (size_t j = 0; j < COUNT(sorted); j++) {
            struct addr a, b;

            assert_int_equal(addr_parse(sorted[i], &a), 0);
            assert_int_equal(addr_parse(sorted[j], &b), 0);
            assert_int_equal(addr_compare(&a, &b) < 0, i < j);
            assert_int_equal(addr_compare(&a, &b) > 0, i > j);
            assert_int_equal(addr_equal(&a, &b), i == j);
        }
    }
}

static void a_prefix_contains_its_network(void **state)
{
    static const struct
    {
        const char *prefix, *addr;
        bool contains;
    } cases[] = {
        {"10.0.0.50/24", "10.0.0.1", true},
        {"10.0.0.50/24", "10.0.1.1", false},
        {"10.0.0.0/23", "10.0.1.255", true},
        {"10.0.0.0/23", "10.0.2.0", false},
        {"10.0.0.128/25", "10.0.0.127", false},
        {"10.0.0.1/32", "10.0.0.1", true},
        {"10.0.0.1/32", "10.0.0.0", false},
        {"0.0.0.0/0", "203.0.113.1", true},
        {"0.0.0.0/0", "::", false},
        {"::/0", "0.0.0.0", false},
        {"2001:db8::/63", "2001:db8:0:1::5", true},
        {"2001:db8::/64", "2001:db8:0:1::5", false},
        {"::1/128", "::1", true},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct prefix prefix;
        struct addr addr;

        assert_int_equal(prefix_parse(cases[i].prefix, &prefix, NULL), 0);
        assert_int_equal(addr_parse(cases[i].addr, &addr), 0);
        assert_int_equal(prefix_contains(&prefix, &addr), cases[i].contains);
    }
}

/* A prefix that was not parsed but received may be out of range: no byte outside of it is read. */
static void nothing_lies_in_a_broken_prefix(void **state)
{
    struct prefix too_long = {.addr = {.family = 4}, .len = 33};
    struct prefix none = {0};
    struct addr zero = {.family = 4};
    struct addr no_addr = {0};

    assert_false(prefix_contains(&too_long, &zero));
    assert_false(prefix_contains(&none, &no_addr));
}

static void one_host_can_have_a_unicast_address(void **state)
{
    static const char *const yes[] = {"10.0.0.1", "203.0.113.9", "169.254.1.1", "2001:db8::1", "fd00::1", "::2"};
    static const char *const no[] = {"0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.18", "239.255.255.255",
        "255.255.255.255", "::", "::1", "ff02::1", "fe80::1", "febf::1"};
    struct addr addr = {0};
    struct addr mapped = {.family = 6, .bytes = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 1}};

    assert_false(addr_is_unicast(&addr));
    assert_false(addr_is_unicast(&mapped));
    for (size_t i = 0; i < COUNT(yes); i++) {
        assert_int_equal(addr_parse(yes[i], &addr), 0);
        assert_true(addr_is_unicast(&addr));
    }
    for (size_t i = 0; i < COUNT(no); i++) {
        assert_int_equal(addr_parse(no[i], &addr), 0);
        assert_false(addr_is_unicast(&addr));
    }
}

static void a_network_and_its_edges_are_no_host(void **state)
{
    static const char *const yes[] = {"10.0.0.1/24", "10.0.0.254/24", "10.0.0.0/31", "10.0.0.1/31", "10.0.0.0/32", "10.0.0.255/16",
                                      "2001:db8::1/64", "2001:db8::/127", "2001:db8::/128", "2001:db8::ffff:ffff:ffff:ffff/64"};
    static const char *const no[] = {"10.0.0.0/24", "10.0.0.255/24", "10.0.0.3/30", "10.0.0.1/0", "224.0.0.5/24", "127.0.0.1/8",
                                     "2001:db8::/64", "2001:db8::/126", "fe80::1/64"};
    struct prefix prefix;

    for (size_t i = 0; i < COUNT(yes); i++) {
        assert_int_equal(prefix_parse(yes[i], &prefix, NULL), 0);
        assert_true(prefix_is_host(&prefix));
    }
    for (size_t i = 0; i < COUNT(no); i++) {
        assert_int_equal(prefix_parse(no[i], &prefix, NULL), 0);
        assert_false(prefix_is_host(&prefix));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_have_one_canonical_text),
        cmocka_unit_test(a_missing_address_prints_none),
        cmocka_unit_test(prefixes_keep_their_host_bits),
        cmocka_unit_test(endpoints_need_a_port),
        cmocka_unit_test(equal_endpoints_are_equal_bytes),
        cmocka_unit_test(order_is_family_then_bytes),
        cmocka_unit_test(a_prefix_contains_its_network),
        cmocka_unit_test(nothing_lies_in_a_broken_prefix),
        cmocka_unit_test(one_host_can_have_a_unicast_address),
        cmocka_unit_test(a_network_and_its_edges_are_no_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
