/* What nodes say to each other. */

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "seeds.h"
#include "io/seal.h"
#include "wire/frame.h"
#include "wire/heartbeat.h"
#include "wire/hello.h"
#include "wire/raft_message.h"
#include "wire/report.h"

#define CLUSTER 0x1122334455667788ull /* as in target_heartbeat.c */

/* ------------------------------------------------------------------ datagrams */

static void answer(const char *name, uint64_t seq, uint64_t big, uint8_t n)
{
    struct answer answer;
    uint8_t bytes[DATAGRAM_MAX];

    memset(&answer, 0, sizeof answer);
    answer = (struct answer){.from = 2, .to = 1, .run = 70000, .gen = 300, .seq = seq, .acked = n == 0, .applied = 400};
    answer.n_promises = n;
    answer.n_released = n;
    for (uint64_t i = 0; i < n; i++) {
        answer.promises[i] = (struct promise_report){big + i, 300 + i, 500000 - i};
        answer.released[i] = (struct released_report){big + i, i};
    }
    seed("heartbeat", name, bytes, answer_encode(&answer, FORMAT_LAST, CLUSTER, bytes));
}

static void datagrams(void)
{
    const struct heartbeat beat = {.from = 1, .run = UINT64_MAX, .gen = 300, .seq = 70000, .applied = 5000000000ull,
                                   .released = 17, .held = 16, .n_held = 4000000000u, .lease_ms = 497, .leader = 3,
                                   .missing = 1ull << 63 | 5, .checks = 12, .passing = 2, .failing = 4, .last_term = 9,
                                   .writing_ms = 12000,
                                   .slow_ppm = 83333,
                                   .fast_ppm = 1,
                                   .last_index = 5000000001ull,
                                   .format = 2};
    const struct heartbeat first = {.from = 1, .run = 1};
    uint8_t bytes[DATAGRAM_MAX];

    seed("heartbeat", "beat", bytes, heartbeat_encode(&beat, FORMAT_LAST, CLUSTER, bytes));
    seed("heartbeat", "first", bytes, heartbeat_encode(&first, FORMAT_LAST, CLUSTER, bytes));
    answer("answer", 12, 1, 0);
    answer("answer-few", 13, 1, 3);
    answer("answer-last-seq", UINT64_MAX, 1, 3);
    answer("answer-cut", 14, UINT64_MAX - 100, ANSWER_REPORTS_MAX);
}

static void seals(void)
{
    const uint8_t secret[SEAL_SECRET_SIZE] = "the secret of the seeds, as in seeds_peers.c"; /* as in target_seal.c */
    struct sealer *sealer;
    struct seal out;
    uint8_t bytes[64 + SEAL_OVERHEAD];

    seed_need(sealer_init(&sealer) == 0, "the cipher");
    seal_init(&out, secret);
    seed_need(seal_put(sealer, &out, "", 0, bytes) == 0, "a seal");
    seed("seal", "empty", bytes, SEAL_OVERHEAD);
    out.counter = 70000;
    seed_need(seal_put(sealer, &out, "a heartbeat", 11, bytes) == 0, "a seal");
    seed("seal", "heartbeat", bytes, 11 + SEAL_OVERHEAD);
    bytes[SEAL_HEAD] ^= 1;
    seed("seal", "forged", bytes, 11 + SEAL_OVERHEAD);
    bytes[4]++;
    seed("seal", "next-version", bytes, 11 + SEAL_OVERHEAD);
    seal_end(&out);
    sealer_free(sealer);
}

/* As a handshake begins, as far as that is always the same; recorded-hello is a whole one. */
static void handshakes(void)
{
    static const uint8_t begun[] = "\0\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03 a random number of 32 bytes in all\0\0\x02\x13\x02\x01";
    static const uint8_t alert[] = "\x03\x15\x03\x03\0\x02\x02\x28";
    static const uint8_t http[] = "\0GET / HTTP/1.1\r\n\r\n";

    seed("tls", "begun", begun, sizeof begun - 1);
    seed("tls", "alert", alert, sizeof alert - 1);
    seed("tls", "http", http, sizeof http - 1);
}

/* ------------------------------------------------------------------ hello, report */

static size_t hello(const char *name, bool refused, uint8_t *bytes)
{
    struct hello hello = {.protocol_min = PROTOCOL_MIN, .protocol_max = PROTOCOL_MAX, .refused = refused};
    size_t len;

    if (refused) {
        strcpy(hello.reason, "the key is another");
    } else {
        strcpy(hello.cluster, "prod");
        strcpy(hello.name, "a");
        strcpy(hello.version, "0.1.0");
        hello.cluster_id = UINT64_MAX;
        hello.from = 1;
        hello.to = 2;
        hello.identity = 70000;
        hello.pinned = 5000000000ull;
        hello.run = 9;
        hello.founded = true;
        hello.founders = 77;
        hello.last_index = 400;
        hello.link = 300;
    }
    seed_need(hello_encode(&hello, bytes, channel_max(CHANNEL_HELLO), &len) == 0, name);
    seed("hello", name, bytes, len);
    return len;
}

static void report(const char *name, uint8_t links, uint8_t prefixes)
{
    struct report report = {.node = 1, .identity = UINT64_MAX, .run = 70000, .witness = links == 0,
                            .leaving = links == 0, .n_links = links, .version = "0.1.0"};
    uint8_t bytes[REPORT_BYTES_MAX];
    size_t len;

    for (int i = 0; i < links; i++) {
        strcpy(report.links[i].name, "eth0");
        report.links[i].name[3] = (char)('a' + i);
        report.links[i].up = i != 1;
        report.links[i].n_prefixes = prefixes;
        report.links[i].mac[5] = (uint8_t)i;
        for (int k = 0; k < prefixes; k++) {
            report.links[i].prefixes[k] = seed_prefix(k % 2 == 0 ? "10.0.0.0/24" : "2001:db8::/64");
        }
    }
    report.n_conflicts = links;
    for (int i = 0; i < links; i++) {
        report.conflicts[i] = (struct conflict_item){
            .vip = (uint16_t)i, .moved = 300, .kind = CONFLICT_TAKEN, .mac = {2, 0x66, 0, 0, 0, 1}};
    }
    seed_need(report_encode(&report, FORMAT_LAST, bytes, sizeof bytes, &len) == 0, name);
    seed("report", name, bytes, len);
}

/* ------------------------------------------------------------------ Raft */

/* Two servers in the library's own encoding: format 1, how many, then id, address and role of each; padded. */
static const uint8_t SERVERS[] = {
    1, 2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 'a', 0, 1, 8, 0, 0, 0, 0, 0, 0, 0, 'b', 'c', 0, 1,
};
static const struct raft_buffer CONFIGURATION = {.base = (void *)(uintptr_t)SERVERS, .len = sizeof SERVERS};

static void raft(const char *name, const struct raft_message *message)
{
    size_t len = raft_message_size(message, &CONFIGURATION);
    uint8_t *bytes = malloc(len > 0 ? len : 1);

    seed_need(len > 0 && bytes != NULL, name);
    raft_message_encode(message, &CONFIGURATION, bytes);
    seed("raft_message", name, bytes, len);
    free(bytes);
}

static void raft_messages(void)
{
    static struct raft_entry entries[3] = {
        {.term = 3, .type = RAFT_CHANGE, .buf = {(void *)(uintptr_t)SERVERS, sizeof SERVERS}},
        {.term = 3, .type = RAFT_COMMAND, .buf = {(void *)(uintptr_t) "hello, world", 12}},
        {.term = 4, .type = RAFT_BARRIER, .buf = {NULL, 0}},
    };

    raft("append", &(struct raft_message){.type = RAFT_APPEND_ENTRIES,
        .append_entries = {.term = 4, .prev_log_index = 9, .prev_log_term = 2, .leader_commit = 8, .entries = entries,
                           .n_entries = 3}});
    raft("append-none", &(struct raft_message){.type = RAFT_APPEND_ENTRIES, .append_entries = {.term = 4}});
    raft("append-result", &(struct raft_message){.type = RAFT_APPEND_ENTRIES_RESULT,
        .append_entries_result = {.term = 5, .rejected = 7, .last_log_index = 6, .features = 1, .capacity = 65535}});
    raft("vote", &(struct raft_message){.type = RAFT_REQUEST_VOTE,
        .request_vote = {.term = 5, .candidate_id = 7, .last_log_index = 3, .last_log_term = 2,
                         .disrupt_leader = true}});
    raft("vote-result", &(struct raft_message){.type = RAFT_REQUEST_VOTE_RESULT,
        .request_vote_result = {.term = 5, .vote_granted = true, .pre_vote = true, .features = 1, .capacity = 9}});
    raft("snapshot", &(struct raft_message){.type = RAFT_INSTALL_SNAPSHOT,
        .install_snapshot = {.term = 9, .last_index = 100, .last_term = 8, .conf_index = 1,
                             .data = {(void *)(uintptr_t) "the table", 9}}});
    raft("timeout-now", &(struct raft_message){.type = RAFT_TIMEOUT_NOW,
        .timeout_now = {.term = 9, .last_log_index = 100, .last_log_term = 8}});
}

/* ------------------------------------------------------------------ frames */

static void frames(const uint8_t *first, size_t len)
{
    static const enum channel CHANNELS[] = {CHANNEL_PING, CHANNEL_RAFT, CHANNEL_FORWARD, CHANNEL_FORWARD_REPLY,
                                            CHANNEL_REPORT};
    uint8_t bytes[8192] = {7, (uint8_t)CHANNEL_ALL}; /* of target_frame.c: the cut, the allowed channels */
    size_t at = 2;

    frame_header(CHANNEL_HELLO, len, bytes + at);
    memcpy(bytes + at + FRAME_HEADER, first, len);
    at += FRAME_HEADER + len;
    seed("frame", "hello", bytes, at);
    for (size_t i = 0; i < sizeof CHANNELS / sizeof CHANNELS[0]; i++) {
        frame_header(CHANNELS[i], 9 * i, bytes + at);
        memset(bytes + at + FRAME_HEADER, 'x', 9 * i);
        at += FRAME_HEADER + 9 * i;
    }
    seed("frame", "all-channels", bytes, at);
    frame_header(CHANNEL_RAFT, channel_max(CHANNEL_RAFT), bytes + at);
    seed("frame", "long", bytes, at + FRAME_HEADER);
    bytes[1] = CHANNEL_BIT(CHANNEL_HELLO);
    seed("frame", "not-allowed", bytes, at);
}

void seeds_peers(void)
{
    uint8_t bytes[4096];

    datagrams();
    seals();
    handshakes();
    (void)hello("refused", true, bytes);
    frames(bytes, hello("plain", false, bytes));
    report("witness", 0, 0);
    report("two-links", 2, 2);
    report("full", LINKS_MAX, LINK_PREFIXES_MAX);
    raft_messages();
}
