/* A node's report of itself: what is sent is what arrives, and nothing else does. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/pack.h"
#include "wire/report.h"

static struct prefix prefix_of(const char *text)
{
    struct prefix prefix;

    assert_int_equal(prefix_parse(text, &prefix, NULL), 0);
    return prefix;
}

static void fill(struct report *ret, uint8_t links, uint8_t prefixes)
{
    memset(ret, 0, sizeof *ret);
    ret->node = 3;
    ret->identity = UINT64_MAX;
    ret->run = 1ull << 63;
    ret->witness = true;
    strcpy(ret->version, "0.1.0");
    ret->reads_first = 2;
    ret->reads_last = UINT32_MAX;
    ret->n_links = links;
    for (int i = 0; i < links; i++) {
        struct link *link = &ret->links[i];

        strcpy(link->name, "eth0");
        link->name[3] = (char)('a' + i);
        link->up = i % 2 == 0;
        link->n_prefixes = prefixes;
        memcpy(link->mac, "\xff\xfe\x03\x04\x05\x06", MAC_SIZE);
        for (int k = 0; k < prefixes; k++) {
            link->prefixes[k] = prefix_of(k % 2 == 0 ? "10.1.2.0/24" : "2001:db8:1:2::/64");
        }
    }
}

/* In memory of exactly its size, so that a sanitizer sees a read beyond it. */
static int decode_exact(const uint8_t *bytes, size_t len, struct report *ret)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);

    assert_non_null(copy);
    memcpy(copy, bytes, len);
    int r = report_decode(copy, len, ret);
    free(copy);
    return r;
}

static void fill_conflicts(struct report *ret)
{
    ret->n_conflicts = CONFLICTS_MAX;
    for (int i = 0; i < CONFLICTS_MAX; i++) {
        struct conflict_item *item = &ret->conflicts[i];

        item->vip = (uint16_t)(VIPS_MAX - 1 - i);
        item->moved = UINT64_MAX - (uint64_t)i;
        item->kind = (enum conflict_kind)(i % CONFLICT_KINDS_N);
        memset(item->mac, 0xff - i, sizeof item->mac);
    }
}

static void check_round_trip(const struct report *report)
{
    uint8_t bytes[REPORT_BYTES_MAX];
    struct report decoded;
    size_t len;

    memset(&decoded, 0xaa, sizeof decoded);
    assert_int_equal(report_encode(report, FORMAT_LAST, bytes, sizeof bytes, &len), 0);
    assert_int_equal(decode_exact(bytes, len, &decoded), 0);
    assert_memory_equal(&decoded, report, sizeof decoded);
}

static void test_round_trip(void **state)
{
    struct report report;

    fill(&report, 0, 0);
    check_round_trip(&report);
    fill(&report, 2, 2);
    report.witness = false;
    report.leaving = true;
    check_round_trip(&report);
    fill_conflicts(&report);
    check_round_trip(&report);
    fill(&report, LINKS_MAX, LINK_PREFIXES_MAX);
    fill_conflicts(&report);
    check_round_trip(&report);
}

/* Everything at its longest fits with room to spare. */
static void test_largest(void **state)
{
    struct report report;
    uint8_t bytes[REPORT_BYTES_MAX];
    size_t len;

    fill(&report, LINKS_MAX, LINK_PREFIXES_MAX);
    report.node = UINT64_MAX;
    memset(report.version, 'v', sizeof report.version - 1);
    for (int i = 0; i < LINKS_MAX; i++) {
        memset(report.links[i].name, 'a' + i, DEV_SIZE - 1);
        for (int k = 0; k < LINK_PREFIXES_MAX; k++) {
            report.links[i].prefixes[k] = prefix_of("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128");
        }
    }
    check_round_trip(&report);
    assert_int_equal(report_encode(&report, FORMAT_LAST, bytes, sizeof bytes, &len), 0);
    assert_true(len <= REPORT_BYTES_MAX / 2);
}

static void test_no_room(void **state)
{
    struct report report;
    uint8_t bytes[REPORT_BYTES_MAX];
    size_t len, untouched = 77;

    fill(&report, 3, 2);
    assert_int_equal(report_encode(&report, FORMAT_LAST, bytes, sizeof bytes, &len), 0);
    for (size_t size = 0; size < len; size++) {
        assert_int_equal(report_encode(&report, FORMAT_LAST, bytes, size, &untouched), -ENOBUFS);
        assert_int_equal(untouched, 77);
    }
    assert_int_equal(report_encode(&report, FORMAT_LAST, bytes, len, &untouched), 0);
    assert_int_equal(untouched, len);
}

/* Cut short at any length it is refused, and so is one byte more. */
static void test_cut(void **state)
{
    struct report report, untouched;
    uint8_t bytes[REPORT_BYTES_MAX] = {0};
    size_t len;

    fill(&report, 3, 2);
    assert_int_equal(report_encode(&report, FORMAT_LAST, bytes, sizeof bytes - 1, &len), 0);
    memset(&untouched, 0x55, sizeof untouched);
    for (size_t cut = 0; cut <= len + 1; cut++) {
        if (cut != len) {
            assert_int_equal(decode_exact(bytes, cut, &untouched), -EBADMSG);
        }
    }
    for (size_t i = 0; i < sizeof untouched; i++) {
        assert_int_equal(((const uint8_t *)&untouched)[i], 0x55);
    }
}

/* A report in parts that a test can bend. */
struct parts
{
    uint64_t version;
    const char *software;
    uint32_t n_links;
    const char *name;
    uint32_t n_prefixes;
    const char *prefix; /* NULL: no address */
    uint64_t len;       /* of the prefix, 0 = its own */
    uint32_t n_conflicts;
    uint64_t vip, kind;
};

static void pack_links(struct packer *packer, const struct parts *parts)
{
    struct prefix prefix = parts->prefix != NULL ? prefix_of(parts->prefix) : (struct prefix){0};

    pack_array(packer, parts->n_links);
    for (uint32_t i = 0; i < parts->n_links; i++) {
        pack_array(packer, 4);
        pack_text(packer, parts->name);
        pack_bool(packer, true);
        pack_uint(packer, 0xffffffffffff);
        pack_array(packer, parts->n_prefixes);
        for (uint32_t k = 0; k < parts->n_prefixes; k++) {
            pack_array(packer, 2);
            pack_addr(packer, &prefix.addr);
            pack_uint(packer, parts->len > 0 ? parts->len : prefix.len);
        }
    }
}

static void pack_conflicts(struct packer *packer, const struct parts *parts)
{
    pack_array(packer, (size_t)parts->n_conflicts * 4);
    for (uint32_t i = 0; i < parts->n_conflicts; i++) {
        pack_uint(packer, parts->vip);
        pack_uint(packer, 7);
        pack_uint(packer, parts->kind);
        pack_uint(packer, 1);
    }
}

static int decode_parts(const struct parts *parts)
{
    uint8_t bytes[REPORT_BYTES_MAX];
    struct packer packer;
    struct report report;
    size_t len;

    packer_init(&packer, bytes, sizeof bytes);
    pack_array(&packer, 11);
    pack_uint(&packer, parts->version);
    pack_uint(&packer, 1);
    pack_uint(&packer, 2);
    pack_uint(&packer, 3);
    pack_bool(&packer, false);
    pack_bool(&packer, false);
    pack_text(&packer, parts->software);
    pack_uint(&packer, 1);
    pack_uint(&packer, 2);
    pack_links(&packer, parts);
    pack_conflicts(&packer, parts);
    assert_int_equal(packer_done(&packer, &len), 0);
    return decode_exact(bytes, len, &report);
}

static void test_limits(void **state)
{
    static const struct
    {
        const char *what;
        struct parts parts;
        int expected;
    } CASES[] = {
        {"sound", {1, "0.1.0", 1, "eth0", 1, "10.0.0.0/24", 0, 0, 0, 0}, 0},
        {"newer format", {FORMAT_LAST + 1, "0.1.0", 1, "eth0", 1, "10.0.0.0/24", 0, 0, 0, 0}, -EBADMSG},
        {"format of nobody", {FORMAT_FIRST - 1, "0.1.0", 1, "eth0", 1, "10.0.0.0/24", 0, 0, 0, 0}, -EBADMSG},
        {"no software version", {1, "", 1, "eth0", 1, "10.0.0.0/24", 0, 0, 0, 0}, 0},
        {"long software version", {1, "1234567890123456789012345678901", 1, "eth0", 1, "10.0.0.0/24", 0, 0, 0, 0}, 0},
        {"too long", {1, "12345678901234567890123456789012", 1, "eth0", 1, "10.0.0.0/24", 0, 0, 0, 0}, -EBADMSG},
        {"escape sequence", {1, "\033[2J", 1, "eth0", 1, "10.0.0.0/24", 0, 0, 0, 0}, -EBADMSG},
        {"all links", {1, "0.1.0", LINKS_MAX, "eth0", 1, "10.0.0.0/24", 0, 0, 0, 0}, 0},
        {"too many links", {1, "0.1.0", LINKS_MAX + 1, "eth0", 1, "10.0.0.0/24", 0, 0, 0, 0}, -EBADMSG},
        {"link without a name", {1, "0.1.0", 1, "", 1, "10.0.0.0/24", 0, 0, 0, 0}, -EBADMSG},
        {"long name", {1, "0.1.0", 1, "enp0s31f6.40951", 1, "10.0.0.0/24", 0, 0, 0, 0}, 0},
        {"too long name", {1, "0.1.0", 1, "enp0s31f6.409512", 1, "10.0.0.0/24", 0, 0, 0, 0}, -EBADMSG},
        {"name of another script", {1, "0.1.0", 1, "l\xc3\xa4n0", 1, "10.0.0.0/24", 0, 0, 0, 0}, 0},
        {"name with a space", {1, "0.1.0", 1, "eth 0", 1, "10.0.0.0/24", 0, 0, 0, 0}, -EBADMSG},
        {"name with an escape", {1, "0.1.0", 1, "eth\033", 1, "10.0.0.0/24", 0, 0, 0, 0}, -EBADMSG},
        {"name with a delete", {1, "0.1.0", 1, "eth\x7f", 1, "10.0.0.0/24", 0, 0, 0, 0}, -EBADMSG},
        {"all prefixes", {1, "0.1.0", 1, "eth0", LINK_PREFIXES_MAX, "10.0.0.0/24", 0, 0, 0, 0}, 0},
        {"too many prefixes", {1, "0.1.0", 1, "eth0", LINK_PREFIXES_MAX + 1, "10.0.0.0/24", 0, 0, 0, 0}, -EBADMSG},
        {"no address", {1, "0.1.0", 1, "eth0", 1, NULL, 0, 0, 0, 0}, -EBADMSG},
        {"longest of IPv4", {1, "0.1.0", 1, "eth0", 1, "10.0.0.0/24", 32, 0, 0, 0}, 0},
        {"too long for IPv4", {1, "0.1.0", 1, "eth0", 1, "10.0.0.0/24", 33, 0, 0, 0}, -EBADMSG},
        {"longest of IPv6", {1, "0.1.0", 1, "eth0", 1, "2001:db8::/64", 128, 0, 0, 0}, 0},
        {"all conflicts", {1, "0.1.0", 1, "eth0", 1, "10.0.0.0/24", 0, CONFLICTS_MAX, VIPS_MAX - 1, CONFLICT_YIELDED}, 0},
        {"too many conflicts", {1, "0.1.0", 1, "eth0", 1, "10.0.0.0/24", 0, CONFLICTS_MAX + 1, 0, 1}, -EBADMSG},
        {"conflict of no VIP", {1, "0.1.0", 1, "eth0", 1, "10.0.0.0/24", 0, 1, VIPS_MAX, 1}, -EBADMSG},
        {"no such outcome", {1, "0.1.0", 1, "eth0", 1, "10.0.0.0/24", 0, 1, 0, CONFLICT_KINDS_N}, -EBADMSG},
        {"too long for IPv6", {1, "0.1.0", 1, "eth0", 1, "2001:db8::/64", 129, 0, 0, 0}, -EBADMSG},
    };

    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        if (decode_parts(&CASES[i].parts) != CASES[i].expected) {
            fail_msg("%s", CASES[i].what);
        }
    }
}

/* The kernel lets an interface be called nearly anything. One such name must not cost the node its whole report, without
 * which it is never given a VIP. */
static void test_odd_interface(void **state)
{
    struct report report, decoded;
    uint8_t bytes[REPORT_BYTES_MAX];
    size_t len;

    fill(&report, 4, 1);
    strcpy(report.links[0].name, "l\xc3\xa4n0");
    strcpy(report.links[1].name, "eth\033[2J");
    strcpy(report.links[2].name, "");
    assert_int_equal(report_encode(&report, FORMAT_LAST, bytes, sizeof bytes, &len), 0);
    assert_int_equal(decode_exact(bytes, len, &decoded), 0);
    assert_int_equal(decoded.n_links, 2);
    assert_memory_equal(&decoded.links[0], &report.links[0], sizeof decoded.links[0]);
    assert_memory_equal(&decoded.links[1], &report.links[3], sizeof decoded.links[1]);
}

/* An array that claims four thousand million links in a few bytes costs nothing. */
static void test_claimed_links(void **state)
{
    static const uint8_t HEAD[] = {0x98, 1, 1, 2, 3, 0xc2, 0xc2, 0xa1, 'v', 0xdd, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t OUTER[] = {0xdd, 0xff, 0xff, 0xff, 0xff, 1};
    struct report report;

    assert_int_equal(decode_exact(HEAD, sizeof HEAD, &report), -EBADMSG);
    assert_int_equal(decode_exact(OUTER, sizeof OUTER, &report), -EBADMSG);
}

static void test_too_many_bytes(void **state)
{
    static uint8_t bytes[REPORT_BYTES_MAX + 1];
    struct report report;

    memset(bytes, 0xc2, sizeof bytes);
    assert_int_equal(report_decode(bytes, sizeof bytes, &report), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),      cmocka_unit_test(test_largest),
        cmocka_unit_test(test_no_room),         cmocka_unit_test(test_cut),
        cmocka_unit_test(test_limits),          cmocka_unit_test(test_odd_interface),
        cmocka_unit_test(test_claimed_links),   cmocka_unit_test(test_too_many_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
