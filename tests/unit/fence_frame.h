#ifndef VIPD_TESTS_FENCE_FRAME_H
#define VIPD_TESTS_FENCE_FRAME_H

/* Frames for the tests of the kernel fence, written byte by byte and not with the product's own encoders. */

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_MAX 512

enum frame_kind
{
    FRAME_ARP_REQUEST,
    FRAME_ARP_REPLY,
    FRAME_IP4,   /* UDP */
    FRAME_IP6,   /* UDP */
    FRAME_NS,    /* neighbour solicitation */
    FRAME_NA,    /* neighbour advertisement */
    FRAME_ECHO4, /* echo request */
    FRAME_ECHO6,
    FRAME_OTHER, /* an EtherType that is not IP's */
};

struct frame_spec
{
    enum frame_kind kind;
    const char *from, *to;     /* ARP: sender and target; else the packet's addresses */
    const char *target;        /* NS, NA */
    unsigned n_tags;           /* VLAN 5, 6, ...; the outermost of several is 802.1ad */
    const uint8_t *extensions; /* types of IPv6 extension headers, in order */
    unsigned n_extensions;
    unsigned cut;  /* bytes missing at the end */
    int bare;      /* no Ethernet header */
    uint8_t source_mac[6], target_mac[6];
};

/* SPEC(kind, from, to, .n_tags = 1, ...) */
#define SPEC(kind_, from_, to_, ...) {.kind = (kind_), .from = (from_), .to = (to_), ##__VA_ARGS__}

struct frame
{
    uint8_t bytes[FRAME_MAX];
    size_t len;
};

static inline void frame_put(struct frame *frame, const void *bytes, size_t len)
{
    if (frame->len + len > FRAME_MAX) {
        abort();
    }
    memcpy(frame->bytes + frame->len, bytes, len);
    frame->len += len;
}

static inline void frame_put8(struct frame *frame, unsigned value)
{
    uint8_t byte = (uint8_t)value;
    frame_put(frame, &byte, 1);
}

static inline void frame_put16(struct frame *frame, unsigned value)
{
    uint8_t bytes[2] = {(uint8_t)(value >> 8), (uint8_t)value};
    frame_put(frame, bytes, 2);
}

static inline void frame_put_addr(struct frame *frame, int family, const char *text)
{
    uint8_t bytes[16];
    if (inet_pton(family, text, bytes) != 1) {
        abort();
    }
    frame_put(frame, bytes, family == AF_INET ? 4 : 16);
}

static inline unsigned frame_checksum(const uint8_t *bytes, size_t len, unsigned sum)
{
    for (size_t i = 0; i < len; i++) {
        sum += i % 2 ? bytes[i] : (unsigned)bytes[i] << 8;
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return ~sum & 0xffff;
}

static inline void frame_set16(struct frame *frame, size_t at, unsigned value)
{
    frame->bytes[at] = (uint8_t)(value >> 8);
    frame->bytes[at + 1] = (uint8_t)value;
}

static inline void frame_put_arp(struct frame *frame, const struct frame_spec *spec)
{
    static const uint8_t fixed[6] = {0, 1, 8, 0, 6, 4};
    frame_put(frame, fixed, sizeof(fixed));
    frame_put16(frame, spec->kind == FRAME_ARP_REQUEST ? 1 : 2);
    frame_put(frame, spec->source_mac, 6);
    frame_put_addr(frame, AF_INET, spec->from);
    frame_put(frame, spec->target_mac, 6);
    frame_put_addr(frame, AF_INET, spec->to);
}

static inline void frame_put_ip4(struct frame *frame, const struct frame_spec *spec)
{
    static const uint8_t echo[16] = {8, 0, 0, 0, 0, 7, 0, 1};
    static const uint8_t udp[16] = {0x12, 0x34, 0x12, 0x35, 0, 16};
    size_t start = frame->len;
    frame_put16(frame, 0x4500);
    frame_put16(frame, 20 + sizeof(echo));
    frame_put16(frame, 1);
    frame_put16(frame, 0);
    frame_put8(frame, 64);
    frame_put8(frame, spec->kind == FRAME_ECHO4 ? 1 : 17);
    frame_put16(frame, 0);
    frame_put_addr(frame, AF_INET, spec->from);
    frame_put_addr(frame, AF_INET, spec->to);
    frame_set16(frame, start + 10, frame_checksum(frame->bytes + start, 20, 0));
    frame_put(frame, spec->kind == FRAME_ECHO4 ? echo : udp, 16);
    if (spec->kind == FRAME_ECHO4) {
        frame_set16(frame, start + 22, frame_checksum(frame->bytes + start + 20, 16, 0));
    }
}

static inline void frame_put_payload6(struct frame *frame, const struct frame_spec *spec)
{
    uint8_t zero[8] = {0};
    if (spec->kind == FRAME_IP6) {
        frame_put16(frame, 0x1234);
        frame_put16(frame, 0x1235);
        frame_put16(frame, 8);
        frame_put16(frame, 0);
        return;
    }
    frame_put8(frame, spec->kind == FRAME_NS ? 135 : spec->kind == FRAME_NA ? 136 : 128);
    frame_put(frame, zero, 7);
    if (spec->kind == FRAME_ECHO6) {
        return;
    }
    frame_put_addr(frame, AF_INET6, spec->target);
    if (strcmp(spec->from, "::") != 0) { /* a probe for duplicates has no option (RFC 4861, 4.3) */
        frame_put8(frame, spec->kind == FRAME_NS ? 1 : 2);
        frame_put8(frame, 1);
        frame_put(frame, spec->source_mac, 6);
    }
}

/* Each extension header has its least length: 8 bytes; an authentication header 16, and counts it in fours. */
static inline void frame_put_ip6(struct frame *frame, const struct frame_spec *spec)
{
    uint8_t zero[14] = {0};
    size_t start = frame->len;
    unsigned protocol = spec->kind == FRAME_IP6 ? 17 : 58;
    frame_put16(frame, 0x6000);
    frame_put16(frame, 0);
    frame_put16(frame, 0);
    frame_put8(frame, spec->n_extensions ? spec->extensions[0] : protocol);
    frame_put8(frame, 255);
    frame_put_addr(frame, AF_INET6, spec->from);
    frame_put_addr(frame, AF_INET6, spec->to);
    for (unsigned i = 0; i < spec->n_extensions; i++) {
        int ah = spec->extensions[i] == 51;
        frame_put8(frame, i + 1 < spec->n_extensions ? spec->extensions[i + 1] : protocol);
        frame_put8(frame, ah ? 2 : 0);
        frame_put(frame, zero, ah ? 14 : 6);
    }
    size_t payload = frame->len;
    frame_put_payload6(frame, spec);
    frame_set16(frame, start + 4, (unsigned)(frame->len - start - 40));
    if (protocol == 58) { /* RFC 4443, 2.3 */
        size_t len = frame->len - payload;
        unsigned sum = frame_checksum(frame->bytes + payload, len, 58 + (unsigned)len);
        sum = frame_checksum(frame->bytes + start + 8, 32, ~sum & 0xffff);
        frame_set16(frame, payload + 2, sum);
    }
}

static inline struct frame frame_make(const struct frame_spec *spec)
{
    struct frame frame = {.len = 0};
    int ip6 = spec->kind == FRAME_IP6 || spec->kind == FRAME_NS || spec->kind == FRAME_NA || spec->kind == FRAME_ECHO6;
    int arp = spec->kind == FRAME_ARP_REQUEST || spec->kind == FRAME_ARP_REPLY;
    if (!spec->bare) {
        frame_put(&frame, spec->target_mac, 6);
        frame_put(&frame, spec->source_mac, 6);
        for (unsigned i = 0; i < spec->n_tags; i++) {
            frame_put16(&frame, i == 0 && spec->n_tags > 1 ? ETH_P_8021AD : ETH_P_8021Q);
            frame_put16(&frame, 5 + i);
        }
        frame_put16(&frame, spec->kind == FRAME_OTHER ? 0x88b5u : arp ? ETH_P_ARP : ip6 ? ETH_P_IPV6 : ETH_P_IP);
    }
    if (arp) {
        frame_put_arp(&frame, spec);
    } else if (ip6) {
        frame_put_ip6(&frame, spec);
    } else {
        frame_put_ip4(&frame, spec);
    }
    if (spec->cut > frame.len) {
        abort();
    }
    frame.len -= spec->cut;
    return frame;
}

#endif
