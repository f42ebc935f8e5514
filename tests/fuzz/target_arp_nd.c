/* Frames from the wire (wire/arp_nd.h), of anybody in the same network. No fuzzer guesses a checksum, so each frame is
 * also tried with the right one; and what a frame claims is announced by this side, and read again. */

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "fuzz.h"
#include "wire/arp_nd.h"

#define ETHERNET 14u
#define IPV6 40u
#define CHECKSUM_AT 2u /* in an ICMPv6 message */

static unsigned get16(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

/* Adds `size` bytes to a ones' complement sum (RFC 1071). */
static uint32_t sum_of(uint32_t sum, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

/* Puts the checksum right where the frame looks like ICMPv6; false: it does not. */
static bool mend(uint8_t *frame, size_t size)
{
    size_t at = ETHERNET;

    while (size >= at + 4 && at < ETHERNET + 8 && (get16(frame + at - 2) == 0x8100 || get16(frame + at - 2) == 0x88a8)) {
        at += 4;
    }
    if (size < at + IPV6 + CHECKSUM_AT + 2 || get16(frame + at - 2) != 0x86dd) {
        return false;
    }
    uint8_t *ip = frame + at, *icmp = ip + IPV6;
    size_t len = get16(ip + 4);
    if (len < CHECKSUM_AT + 2 || len > size - at - IPV6) {
        return false;
    }
    const uint8_t pseudo[8] = {0, 0, (uint8_t)(len >> 8), (uint8_t)len, 0, 0, 0, 58};
    memset(icmp + CHECKSUM_AT, 0, 2);
    uint32_t sum = sum_of(sum_of(sum_of(0, ip + 8, 32), pseudo, sizeof pseudo), icmp, len);
    icmp[CHECKSUM_AT] = (uint8_t)(~sum >> 8);
    icmp[CHECKSUM_AT + 1] = (uint8_t)~sum;
    return true;
}

static void announce(const struct addr *addr, const uint8_t *mac, bool flag)
{
    uint8_t frame[ARP_ND_FRAME_MAX];
    struct arp_nd read;
    struct addr claimed;
    size_t len;

    if (addr->family == 4) {
        len = arp_nd_build_arp(frame, mac, addr, flag);
    } else {
        len = arp_nd_build_na(frame, mac, addr, flag);
    }
    FUZZ_CHECK(len <= sizeof frame && arp_nd_parse(frame, len, &read) == 0);
    FUZZ_CHECK(arp_nd_claim(&read, &claimed) && addr_equal(&claimed, addr));
    FUZZ_CHECK(memcmp(read.mac, mac, sizeof read.mac) == 0 && memcmp(read.from, mac, sizeof read.from) == 0);
    FUZZ_CHECK(read.kind == (addr->family == 6 ? ARP_ND_ADVERTISEMENT : flag ? ARP_ND_ARP_REPLY : ARP_ND_ARP_REQUEST));
    FUZZ_CHECK(addr->family == 4 || (read.router == flag && read.override && !read.solicited));
}

static void check(const uint8_t *frame, size_t size)
{
    struct arp_nd read;
    struct addr claimed;
    int r = arp_nd_parse(frame, size, &read);

    FUZZ_CHECK(r == 0 || r == ARP_ND_OTHER || r == -EBADMSG);
    if (r != 0) {
        return;
    }
    bool arp = read.kind == ARP_ND_ARP_REQUEST || read.kind == ARP_ND_ARP_REPLY;
    FUZZ_CHECK(arp || read.kind == ARP_ND_SOLICITATION || read.kind == ARP_ND_ADVERTISEMENT);
    FUZZ_CHECK(read.vlan <= 0x0fff);
    FUZZ_CHECK(read.sender.family == 0 || read.sender.family == (arp ? 4 : 6));
    FUZZ_CHECK(!arp_nd_probes(&read, &claimed) || !arp_nd_claim(&read, &claimed) || !arp);
    if (arp_nd_claim(&read, &claimed) && addr_is_unicast(&claimed)) {
        announce(&claimed, read.mac, read.router);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *mended = malloc(size > 0 ? size : 1);

    FUZZ_CHECK(mended != NULL);
    check(data, size);
    if (size > 0) {
        memcpy(mended, data, size);
    }
    if (mend(mended, size)) {
        check(mended, size);
    }
    free(mended);
    return 0;
}
