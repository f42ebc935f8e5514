/* What comes from clients, from others in the network and from the node's file. */

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "seeds.h"
#include "wire/arp_nd.h"
#include "wire/control.h"

#define ARENA ((size_t)1 << 16)

/* ------------------------------------------------------------------ control */

/* Frees the bytes; `skip` of them are no part of the seed. */
static void seed_and_free(const char *target, const char *name, void *bytes, size_t skip, size_t len)
{
    seed(target, name, (uint8_t *)bytes + skip, len - skip);
    free(bytes);
}

/* One of each type, below each other as deep as may be. */
static struct value *some_tree(struct value_arena *arena, int depth)
{
    struct value *map = value_map(arena), *list = value_array(arena);

    value_push(arena, list, value_nil(arena));
    value_push(arena, list, value_bool(arena, true));
    value_push(arena, list, value_int(arena, -129));
    value_push(arena, list, value_uint(arena, UINT64_MAX));
    value_push(arena, list, value_string(arena, "10.0.0.50/24"));
    if (depth >= 4) {
        value_push(arena, list, some_tree(arena, depth - 2));
    }
    value_put(arena, map, "list", list);
    value_put_uint(arena, map, "n", (uint64_t)depth);
    return map;
}

static void values(void)
{
    struct value_arena arena;
    void *bytes;
    size_t len;

    value_arena_init(&arena, ARENA);
    seed_need(value_encode(some_tree(&arena, 2), 0, ARENA, &bytes, &len) == 0, "a tree");
    seed_and_free("value", "each-type", bytes, 0, len);
    seed_need(value_encode(some_tree(&arena, VALUE_DEPTH_MAX), 0, ARENA, &bytes, &len) == 0, "a deep tree");
    seed_and_free("value", "deep", bytes, 0, len);
    seed_need(!value_failed(&arena), "the arena is too small");
    value_arena_close(&arena);
}

static void request(const char *name, const struct control_request *what)
{
    void *bytes;
    size_t len;

    seed_need(control_request_encode(what, &bytes, &len) == 0, name);
    seed_and_free("control", name, bytes, CONTROL_FRAME_SIZE, len);
}

static void reply(const char *name, const struct control_reply *what)
{
    void *bytes;
    size_t len;

    seed_need(control_reply_encode(what, &bytes, &len) == 0, name);
    seed_and_free("control", name, bytes, CONTROL_FRAME_SIZE, len);
}

static void control(void)
{
    struct value_arena arena;

    value_arena_init(&arena, ARENA);
    struct value *tree = some_tree(&arena, 4);
    request("request", &(struct control_request){.op = "status"});
    request("request-args", &(struct control_request){.id = UINT64_MAX, .op = "vip.add", .args = tree, .force = true,
                                                      .dry_run = true, .timeout_ms = 30000});
    reply("reply", &(struct control_reply){.code = CONTROL_DONE, .index = 70000, .result = tree});
    reply("reply-error", &(struct control_reply){.code = CONTROL_UNSAFE, .error = "a would hold nothing",
                                                 .hint = "--force", .retry = true, .local = true});
    seed_need(!value_failed(&arena), "the arena is too small");
    value_arena_close(&arena);
}

/* ------------------------------------------------------------------ ARP and ND */

/* Puts an 802.1Q tag behind the Ethernet addresses. */
static size_t tagged(uint8_t *frame, size_t len)
{
    memmove(frame + 16, frame + 12, len - 12);
    memcpy(frame + 12, (const uint8_t[]){0x81, 0x00, 0x00, 0x0a}, 4);
    return len + 4;
}

static void arp_nd(void)
{
    static const uint8_t MAC[ARP_ND_MAC_SIZE] = {2, 0, 0, 0, 0, 1};
    const struct addr v4 = seed_prefix("10.0.0.50").addr, v6 = seed_prefix("2001:db8::50").addr;
    uint8_t frame[ARP_ND_FRAME_MAX + 8];
    size_t len = arp_nd_build_arp(frame, MAC, &v4, false);

    seed("arp_nd", "arp-request", frame, len);
    memset(frame + 28, 0, 4); /* no sender: a probe */
    seed("arp_nd", "arp-probe", frame, len);
    seed("arp_nd", "arp-reply", frame, arp_nd_build_arp(frame, MAC, &v4, true));
    len = arp_nd_build_na(frame, MAC, &v6, true);
    seed("arp_nd", "na", frame, len);
    frame[19] = 28; /* the end of the message is within its option */
    seed("arp_nd", "na-option-cut", frame, len - 4);
    frame[19] = 32;
    frame[54] = 135; /* with a wrong checksum, which the target mends; the option becomes a source's */
    frame[78] = 1;
    seed("arp_nd", "ns", frame, len);
    memset(frame + 22, 0, 16); /* from nobody to the group of the address: duplicate address detection */
    memcpy(frame + 38, (const uint8_t[]){0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0x50}, 16);
    frame[19] = 24;
    seed("arp_nd", "ns-detection", frame, len - 8);
    len = tagged(frame, arp_nd_build_na(frame, MAC, &v6, false));
    seed("arp_nd", "na-tagged", frame, len);
    seed("arp_nd", "na-tagged-twice", frame, tagged(frame, len));
}

/* ------------------------------------------------------------------ configuration */

static void text(const char *name, const char *yaml)
{
    seed("config", name, yaml, strlen(yaml));
}

static void config(void)
{
    text("least", "cluster: prod\nnode: a\nlisten: 10.1.0.1:7400\ndata: /var/lib/vipd\npeers: {a: 10.1.0.1:7400}\n");
    text("all", "# every key\n"
                "cluster: prod\n"
                "node: b\n"
                "listen: \"[2001:db8::2]:7400\"\n"
                "data: /var/lib/vipd\n"
                "key-file: /key\n"
                "peers:\n"
                "  a: 10.1.0.1:7400\n"
                "  b: '[2001:db8::2]:7400'\n"
                "interfaces: [eth0, eth1.10]\n"
                "control: /run/vipd/control.sock\n"
                "witness: false\n"
                "timing: {interval: 100ms, suspect: 400ms, promise: 1s, margin: 5ms, election: 600ms}\n"
                "fence: addresses\n"
                "log: trace\n");
    text("wrong", "clutser: prod\nnode:\nlisten: [2001:db8::2]:7400\ninterfaces:\n  - \"eth\\u20ac\"\n  - ~\n");
    text("key-open", "cluster: p\nnode: a\nlisten: 10.1.0.1:1\ndata: /d\nkey-file: /open\npeers: {a: 10.1.0.1:1}\n");
    text("not-taken", "cluster: &x prod\nnode: *x\ndata: !!str /d\n<<: {a: b}\n---\njoin: |\n  a\n");
}

void seeds_outside(void)
{
    values();
    control();
    arp_nd();
    config();
}
