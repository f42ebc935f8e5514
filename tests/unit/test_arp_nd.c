/* ARP and ND frames: what is built is what the RFCs draw, and what is parsed survives every truncation and bit flip. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/arp_nd.h"

static const uint8_t mac[6] = {0x02, 0x11, 0x22, 0x33, 0x44, 0x55};
static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const struct addr vip4 = {.family = 4, .bytes = {10, 0, 0, 50}};
static const struct addr vip6 = {.family = 6, .bytes = {0x20, 0x01, 0x0d, 0xb8, [15] = 0x50}};

/* Parses from a heap block of exactly this size, so that the sanitizer sees a read past its end. */
static int parse_exact(const uint8_t *frame, size_t size, struct arp_nd *ret)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, frame, size);
    int err = arp_nd_parse(copy, size, ret);
    free(copy);
    return err;
}

static void test_arp_request(void **state)
{
    static const uint8_t expected[60] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x08, 0x06, /* Ethernet */
        0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55, /* ARP request, sender */
        0x0a, 0x00, 0x00, 0x32, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x00, 0x00, 0x32, /* RFC 5227: target MAC 0 */
    };
    uint8_t frame[ARP_ND_FRAME_MAX];
    assert_int_equal(arp_nd_build_arp(frame, mac, &vip4, false), 60);
    assert_memory_equal(frame, expected, 60);
}

static void test_arp_reply(void **state)
{
    uint8_t frame[ARP_ND_FRAME_MAX];
    size_t size = arp_nd_build_arp(frame, mac, &vip4, true);
    assert_int_equal(frame[21], 2);
    assert_memory_equal(frame + 32, mac, 6); /* RFC 5944 4.6: the target hardware address is the new one as well */
    struct arp_nd got;
    assert_int_equal(parse_exact(frame, size, &got), 0);
    assert_int_equal(got.kind, ARP_ND_ARP_REPLY);
    assert_memory_equal(got.to, broadcast, 6);
    assert_memory_equal(got.mac, mac, 6);
    assert_true(addr_equal(&got.sender, &vip4));
    assert_true(addr_equal(&got.target, &vip4));
    struct addr claimed;
    assert_true(arp_nd_claim(&got, &claimed));
    assert_true(addr_equal(&claimed, &vip4));
}

static void test_advertisement(void **state)
{
    uint8_t frame[ARP_ND_FRAME_MAX];
    size_t size = arp_nd_build_na(frame, mac, &vip6, true);
    assert_int_equal(size, 86);
    static const uint8_t group_mac[6] = {0x33, 0x33, 0, 0, 0, 1};
    assert_memory_equal(frame, group_mac, 6);
    assert_int_equal(frame[21], 255);        /* hop limit */
    assert_int_equal(frame[58] & 0xe0, 0xa0); /* router, not solicited, override */
    /* The checksum by hand: 2001:0db8::50 twice, ff02::1, length 32, next header 58, and the message. */
    static const uint32_t words[] = {0x2001, 0x0db8, 0x50, 0xff02, 0x1, 32, 58, 0x8800, 0xa000, 0x2001, 0x0db8, 0x50,
                                     0x0201, 0x0211, 0x2233, 0x4455};
    uint32_t sum = 0;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        sum += words[i];
    }
    sum = (sum & 0xffff) + (sum >> 16);
    assert_int_equal((uint32_t)frame[56] << 8 | frame[57], ~sum & 0xffff);

    struct arp_nd got;
    assert_int_equal(parse_exact(frame, size, &got), 0);
    assert_int_equal(got.kind, ARP_ND_ADVERTISEMENT);
    assert_true(got.router && got.override && !got.solicited);
    assert_memory_equal(got.mac, mac, 6);
    struct addr claimed;
    assert_true(arp_nd_claim(&got, &claimed));
    assert_true(addr_equal(&claimed, &vip6));
    arp_nd_build_na(frame, mac, &vip6, false);
    assert_int_equal(frame[58] & 0xe0, 0x20);
    assert_int_equal(parse_exact(frame, size, &got), 0);
    assert_false(got.router);
}

/* The ones'-complement sum is taken anew after a test changed the message. */
static void fix_checksum(uint8_t *frame, size_t nd_size)
{
    uint8_t *nd = frame + 54;
    nd[2] = nd[3] = 0;
    uint32_t sum = (uint32_t)nd_size + 58;
    for (size_t i = 0; i < 32; i += 2) {
        sum += (uint32_t)frame[22 + i] << 8 | frame[23 + i];
    }
    for (size_t i = 0; i < nd_size; i += 2) {
        sum += (uint32_t)nd[i] << 8 | nd[i + 1];
    }
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    nd[2] = (uint8_t)(~sum >> 8);
    nd[3] = (uint8_t)~sum;
}

static void test_advertisement_rules(void **state)
{
    static const struct
    {
        size_t at;
        uint8_t value;
    } broken[] = {
        {21, 254},  /* hop limit */
        {55, 1},    /* code */
        {58, 0x60}, /* solicited, yet sent to a group */
        {62, 0xff}, /* target is a group */
        {79, 0},    /* option of length 0 */
        {79, 2},    /* option longer than the message */
    };
    struct arp_nd got;
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        uint8_t frame[ARP_ND_FRAME_MAX];
        size_t size = arp_nd_build_na(frame, mac, &vip6, false);
        frame[broken[i].at] = broken[i].value;
        fix_checksum(frame, 32);
        assert_int_equal(parse_exact(frame, size, &got), -EBADMSG);
    }
    uint8_t frame[ARP_ND_FRAME_MAX];
    size_t size = arp_nd_build_na(frame, mac, &vip6, false);
    fix_checksum(frame, 32);
    assert_int_equal(parse_exact(frame, size, &got), 0);
    frame[57] ^= 1;
    assert_int_equal(parse_exact(frame, size, &got), -EBADMSG);
}

static void test_advertisement_without_option(void **state)
{
    uint8_t frame[ARP_ND_FRAME_MAX];
    arp_nd_build_na(frame, mac, &vip6, false);
    frame[6] = 0x06;
    frame[19] = 24; /* payload */
    fix_checksum(frame, 24);
    struct arp_nd got;
    assert_int_equal(parse_exact(frame, 86, &got), 0); /* the rest is padding */
    assert_int_equal(got.mac[0], 0x06);                /* the Ethernet source stands in for the option */
}

static void test_solicitation(void **state)
{
    uint8_t frame[ARP_ND_FRAME_MAX];
    arp_nd_build_na(frame, mac, &vip6, false);
    frame[54] = 135;
    frame[58] = 0;
    frame[78] = 1; /* source link-layer option */
    fix_checksum(frame, 32);
    struct arp_nd got;
    struct addr claimed;
    assert_int_equal(parse_exact(frame, 86, &got), 0);
    assert_int_equal(got.kind, ARP_ND_SOLICITATION);
    assert_true(arp_nd_claim(&got, &claimed)); /* by its source */
    assert_true(addr_equal(&claimed, &vip6));

    memset(frame + 22, 0, 16); /* from ::, a DAD probe: claims nothing, and may carry no option */
    fix_checksum(frame, 32);
    assert_int_equal(parse_exact(frame, 86, &got), -EBADMSG);
    frame[19] = 24;
    fix_checksum(frame, 24);
    assert_int_equal(parse_exact(frame, 78, &got), -EBADMSG); /* nor go to all nodes */
    static const uint8_t group[16] = {0xff, 0x02, [11] = 0x01, [12] = 0xff, [15] = 0x50};
    memcpy(frame + 38, group, 16);
    fix_checksum(frame, 24);
    assert_int_equal(parse_exact(frame, 78, &got), 0);
    assert_int_equal(got.sender.family, 0);
    assert_true(addr_equal(&got.target, &vip6));
    assert_false(arp_nd_claim(&got, &claimed));
}

static void test_probe_claims_nothing(void **state)
{
    uint8_t frame[ARP_ND_FRAME_MAX];
    const struct addr *const vips[] = {&vip4, &vip6};
    for (int i = 0; i < 2; i++) {
        size_t size = arp_nd_build_probe(frame, mac, vips[i]);
        struct arp_nd got;
        struct addr claimed;
        assert_int_equal(parse_exact(frame, size, &got), 0);
        assert_int_equal(got.kind, i == 0 ? ARP_ND_ARP_REQUEST : ARP_ND_SOLICITATION);
        assert_int_equal(got.sender.family, 0);
        assert_true(addr_equal(&got.target, vips[i]));
        assert_memory_equal(got.from, mac, ARP_ND_MAC_SIZE);
        assert_false(arp_nd_claim(&got, &claimed));
        assert_true(arp_nd_probes(&got, &claimed) && addr_equal(&claimed, vips[i]));
        got.sender = *vips[i]; /* somebody who has an address asks for it */
        assert_false(arp_nd_probes(&got, &claimed));
        got.sender.family = 0;
        got.kind = i == 0 ? ARP_ND_ARP_REPLY : ARP_ND_ADVERTISEMENT;
        assert_false(arp_nd_probes(&got, &claimed));
    }
}

static void test_vlan(void **state)
{
    uint8_t plain[ARP_ND_FRAME_MAX], tagged[ARP_ND_FRAME_MAX + 12];
    size_t size = arp_nd_build_arp(plain, mac, &vip4, false);
    static const uint8_t tags[12] = {0x88, 0xa8, 0x00, 0x05, 0x81, 0x00, 0x20, 0x0a, 0x81, 0x00, 0x00, 0x01};
    for (size_t n = 0; n <= 3; n++) {
        memcpy(tagged, plain, 12);
        memcpy(tagged + 12, tags, 4 * n);
        memcpy(tagged + 12 + 4 * n, plain + 12, size - 12);
        struct arp_nd got;
        assert_int_equal(parse_exact(tagged, size + 4 * n, &got), n <= 2 ? 0 : ARP_ND_OTHER);
        if (n <= 2) {
            assert_int_equal(got.vlan, n == 0 ? 0 : n == 1 ? 5 : 10);
            assert_true(addr_equal(&got.sender, &vip4));
        }
    }
}

static void test_other(void **state)
{
    uint8_t frame[ARP_ND_FRAME_MAX];
    struct arp_nd got;
    size_t size = arp_nd_build_arp(frame, mac, &vip4, false);
    frame[13] = 0x00; /* IPv4 */
    assert_int_equal(parse_exact(frame, size, &got), ARP_ND_OTHER);
    frame[13] = 0x06;
    frame[21] = 3; /* RARP */
    assert_int_equal(parse_exact(frame, size, &got), ARP_ND_OTHER);
    size = arp_nd_build_na(frame, mac, &vip6, false);
    frame[20] = 17; /* UDP */
    assert_int_equal(parse_exact(frame, size, &got), ARP_ND_OTHER);
    frame[20] = 58;
    frame[54] = 128; /* echo */
    assert_int_equal(parse_exact(frame, size, &got), ARP_ND_OTHER);
}

/* No truncation parses (bar cut padding) and none reads past the end; *ret stays as it was on every failure. */
static void test_truncation(void **state)
{
    uint8_t frame[ARP_ND_FRAME_MAX];
    struct arp_nd got, before;
    memset(&before, 0xa5, sizeof(before));
    for (int v6 = 0; v6 <= 1; v6++) {
        size_t size = v6 ? arp_nd_build_na(frame, mac, &vip6, false) : arp_nd_build_arp(frame, mac, &vip4, true);
        for (size_t cut = 0; cut < size; cut++) {
            got = before;
            int err = parse_exact(frame, cut, &got);
            bool whole = !v6 && cut >= 42;
            assert_int_equal(err, whole ? 0 : -EBADMSG);
            if (!whole) {
                assert_memory_equal(&got, &before, sizeof(got));
            }
        }
    }
}

/* Every single-bit flip of an NA behind its hop limit is noticed; random frames do no harm. */
static void test_noise(void **state)
{
    uint8_t frame[ARP_ND_FRAME_MAX];
    struct arp_nd got;
    size_t size = arp_nd_build_na(frame, mac, &vip6, false);
    for (size_t bit = 22 * 8; bit < size * 8; bit++) {
        frame[bit / 8] = (uint8_t)(frame[bit / 8] ^ 1 << bit % 8);
        assert_int_not_equal(parse_exact(frame, size, &got), 0); /* the checksum covers all of it */
        frame[bit / 8] = (uint8_t)(frame[bit / 8] ^ 1 << bit % 8);
    }
    uint32_t seed = 1;
    for (int round = 0; round < 200000; round++) {
        size = round % 2 ? arp_nd_build_na(frame, mac, &vip6, false) : arp_nd_build_arp(frame, mac, &vip4, false);
        for (int flips = 0; flips < 4; flips++) {
            seed = seed * 1664525u + 1013904223u;
            frame[(seed >> 16) % size] = (uint8_t)(seed >> 8);
        }
        seed = seed * 1664525u + 1013904223u;
        int err = parse_exact(frame, (seed >> 16) % (size + 1), &got);
        assert_true(err == 0 || err == ARP_ND_OTHER || err == -EBADMSG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arp_request),
        cmocka_unit_test(test_arp_reply),
        cmocka_unit_test(test_advertisement),
        cmocka_unit_test(test_advertisement_rules),
        cmocka_unit_test(test_advertisement_without_option),
        cmocka_unit_test(test_solicitation),
        cmocka_unit_test(test_probe_claims_nothing),
        cmocka_unit_test(test_vlan),
        cmocka_unit_test(test_other),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
