/* The other nodes: connections, datagrams, and who may speak.
 *
 * Happy path: every node of the table (before the founding: of the configuration) has a connection, whose hello is checked
 * against the identity that the table or the data directory has on record; Raft's messages, forwarded requests and
 * reports come over it; heartbeats and answers come as datagrams, sealed for the pair. Failure modes: a stranger, a node of another cluster
 * or with another data directory is refused and told why; this node itself is the stranger (its disk was wiped): it ends. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "daemon/daemon.h"
#include "wire/heartbeat.h"
#include "wire/report.h"

_Static_assert(CONFIG_KEY_SIZE == TLS_KEY_SIZE && CONFIG_KEYS_MAX == TLS_KEYS_MAX, "a key of the file is a key of the wire");

_Static_assert(DATAGRAM_MAX + SEAL_OVERHEAD == PACKET_MAX && PEERS_SESSIONS_MAX <= DATAGRAM_ALLOW_MAX, "what io/ has room for");

#define DROPS_TOLD_EVERY_MS 60000
#define DROPS_NEWS 1000 /* dropped by the kernel since it was last told */

const char *members_name(const struct daemon *d, uint64_t id)
{
    int slot = table_node_by_id(d->table, id);
    if (slot != SLOT_NONE) {
        return d->table->nodes[slot].name;
    }
    return id >= 1 && id <= (uint64_t)d->config->n_peers ? d->config->peers[id - 1].name : "?";
}

/* ---------------------------------------------------------------- who may speak */

/* The identity on record for a node, 0 = none. */
uint64_t members_identity(const struct daemon *d, uint64_t id)
{
    int slot = table_node_by_id(d->table, id);
    if (slot != SLOT_NONE && d->table->nodes[slot].identity) {
        return d->table->nodes[slot].identity;
    }
    return storage_pinned(d, id);
}

void members_hello(const struct daemon *d, struct hello *hello)
{
    memset(hello, 0, sizeof *hello);
    hello->cluster_id = d->table->cluster_id ? d->table->cluster_id : d->cluster_id;
    hello->identity = d->identity;
    hello->run = d->run;
    hello->founded = d->founded;
    hello->founders = config_founding_digest(d->config);
    hello->last_index = d->last_index;
    snprintf(hello->version, sizeof hello->version, "%s", VIPD_VERSION);
    hello->format = d->table->cluster_id ? d->table->format : d->format;
}

static void on_greet(void *ud, uint64_t to, struct hello *hello)
{
    struct daemon *d = ud;
    hello->pinned = to ? members_identity(d, to) : 0;
    hello->last_term = d->last_term;
    hello->last_index = d->last_index;
    hello->founded = d->founded;
    if (!to || !core_heard_log(d->core, to, &hello->seen_run, &hello->seen_term, &hello->seen_index)) {
        hello->seen_run = hello->seen_term = hello->seen_index = 0;
    }
}

/* What is on a node's disk only ever grows, by term and then by index, however its log is cut. */
static bool is_older(uint64_t term, uint64_t index, uint64_t than_term, uint64_t than_index)
{
    return term < than_term || (term == than_term && index < than_index);
}

/* Of the same data directory, but before something that an earlier run had written there: it may have voted, acknowledged and
 * promised since. */
static bool is_backup(const struct daemon *d, const struct hello *hello)
{
    uint64_t run, term, index;
    return core_heard_log(d->core, hello->from, &run, &term, &index) && run != hello->run &&
           is_older(hello->last_term, hello->last_index, term, index);
}

/* The same of this node, by what the other one has heard of it. */
static bool restored(struct daemon *d, const struct hello *hello)
{
    if (!d->consensus || !hello->seen_run || hello->seen_run == d->run ||
        !is_older(d->last_term, d->last_index, hello->seen_term, hello->seen_index)) {
        return false;
    }
    log_write(LOG_FATAL,
              "what=\"the data directory of node %s is older than it was\" advice=\"it was restored from a backup or a "
              "snapshot of its disk: votes and promises that it made since are not in it, so it must not come back; put the "
              "newer one back, or remove the node and add it anew\"",
              d->config->node);
    daemon_stop(d, 1);
    return true;
}

/* This node is the stranger: the other one knows another identity for it. */
static bool wiped(struct daemon *d, const struct hello *hello)
{
    if (!hello->pinned || hello->pinned == d->identity) {
        return false;
    }
    log_write(LOG_FATAL,
              "what=\"node %s of this cluster had another data directory\" advice=\"this one was emptied, "
              "restored or copied: a node's votes and promises live there, so it must not come back under the old "
              "id; put the old directory back, or remove the node and add it anew\"",
              d->config->node);
    daemon_stop(d, 1);
    return true;
}

/* Its id was given out, and is in the table no more. */
static bool was_removed(const struct daemon *d, const struct hello *hello)
{
    if (hello->cluster_id && table_was(d->table, hello->cluster_id)) {
        return true; /* of the cluster that was recovered without it */
    }
    return d->table->cluster_id && hello->cluster_id == d->table->cluster_id && !table_may_have(d->table, hello->from);
}

/* A member that was added later than this node's table knows: after a start that is as old as the last snapshot, until a leader
 * says what of the log is committed, and the leader may be the very node. */
static int welcome(struct daemon *d, uint64_t id)
{
    int rv = peers_welcome(d->peers, id);
    for (size_t i = 0; !rv && i < d->n_recalled; i++) {
        if (d->recalled[i] == id) {
            return 0;
        }
    }
    if (!rv && d->n_recalled < NODES_MAX) {
        d->recalled[d->n_recalled++] = id;
    }
    return rv;
}

static int judge_name(struct daemon *d, const struct hello *hello, char reason[HELLO_REASON_SIZE])
{
    if (was_removed(d, hello)) {
        snprintf(reason, HELLO_REASON_SIZE, "node %.40s was removed from the cluster", hello->name);
        return -EACCES;
    }
    bool joining = !d->table->cluster_id && !d->config->n_peers; /* what it knows of the others comes with the log */
    if (joining || (d->founded && table_node_by_id(d->table, hello->from) == SLOT_NONE)) {
        return welcome(d, hello->from);
    }
    if (strcmp(members_name(d, hello->from), hello->name) != 0) {
        snprintf(reason, HELLO_REASON_SIZE, "node %.40s is not known by this name and id", hello->name);
        return -EACCES;
    }
    return 0;
}

static void on_turn_away(void *ud, const struct hello *hello, struct hello *answer)
{
    struct daemon *d = ud;
    char reason[HELLO_REASON_SIZE];
    if (hello->from == HELLO_JOINING) {
        answer->to = join_judge(d, hello, reason);
    }
    answer->gone = was_removed(d, hello);
    answer->format = d->table->cluster_id ? d->table->format : d->format;
}

static void on_turned_away(void *ud, const struct hello *answer)
{
    struct daemon *d = ud;
    if (format_outgrown(d, answer)) {
        return;
    }
    if (answer->gone && !d->stopping) {
        log_write(LOG_GONE, "cluster=%s node=%s by=%s", d->config->cluster, d->config->node, answer->name);
        daemon_stop(d, 1);
    }
}

static int on_admit(void *ud, const struct hello *hello, char reason[HELLO_REASON_SIZE])
{
    struct daemon *d = ud;
    if (!format_fits(d, hello, reason)) {
        return -EACCES;
    }
    if (hello->from == HELLO_JOINING) {
        (void)join_judge(d, hello, reason);
        return -EAGAIN;
    }
    if (wiped(d, hello)) {
        snprintf(reason, HELLO_REASON_SIZE, "node %.40s has lost its data directory", d->config->node);
        return -EACCES;
    }
    if (restored(d, hello) || is_backup(d, hello)) {
        snprintf(reason, HELLO_REASON_SIZE, "the data directory of node %.40s is older than it was: a backup",
                 is_backup(d, hello) ? hello->name : d->config->node);
        return -EACCES;
    }
    if ((!d->founded || !hello->founded) && hello->founders != config_founding_digest(d->config)) {
        snprintf(reason, HELLO_REASON_SIZE, "the configurations differ in cluster, peers or timing");
        return -EACCES;
    }
    if (judge_name(d, hello, reason)) {
        return -EACCES;
    }
    uint64_t known = members_identity(d, hello->from);
    if (known && known != hello->identity) {
        snprintf(reason, HELLO_REASON_SIZE, "another data directory is on record for node %.40s", hello->name);
        return -EACCES;
    }
    if (!known && store_pin(d->store, hello->from, hello->identity)) {
        snprintf(reason, HELLO_REASON_SIZE, "the data directory failed");
        return -EIO;
    }
    return 0;
}

static void on_refused(void *ud, const char *who, const char *reason, uint32_t times)
{
    (void)ud;
    if (strstr(reason, JOIN_WELCOME)) {
        return;
    }
    log_write(LOG_REFUSED, "who=\"%s\" reason=\"%s\" times=%u", who, reason, times);
}

/* ---------------------------------------------------------------- connections */

static void on_connected(void *ud, uint64_t id, const struct hello *hello)
{
    struct daemon *d = ud;
    log_write(LOG_PEER_UP, "node=%s version=%s", hello->name, hello->version);
    (void)id;
    founding_met(d, hello);
    requests_role(d);
    struct event event = {.type = EV_REACHED};
    daemon_event(d, &event);
}

static void on_disconnected(void *ud, uint64_t id, const char *why)
{
    struct daemon *d = ud;
    log_write(LOG_PEER_DOWN, "node=%s why=\"%s\"", members_name(d, id), why ? why : "");
    if (d->consensus) {
        consensus_disconnected(d->consensus, id);
    }
    requests_disconnected(d, id);
}

static void on_report(struct daemon *d, uint64_t id, const void *data, size_t len)
{
    struct report report;
    if (report_decode(data, len, &report) || report.node != id) {
        d->counters.malformed++;
        return;
    }
    struct event event = {.type = EV_REPORT, .report = &report};
    daemon_event(d, &event);
}

static void on_message(void *ud, uint64_t id, enum channel channel, const void *data, size_t len)
{
    struct daemon *d = ud;
    switch (channel) {
    case CHANNEL_RAFT:
        if (d->consensus && consensus_receive(d->consensus, id, data, len, daemon_now() / MS) < 0) {
            d->counters.malformed++;
        }
        pump_raft_timer(d);
        break;
    case CHANNEL_REPORT:
        on_report(d, id, data, len);
        break;
    case CHANNEL_FORWARD:
        requests_forwarded(d, id, data, len);
        break;
    case CHANNEL_FORWARD_REPLY:
        requests_reply(d, id, data, len);
        break;
    case CHANNEL_HELLO:
    case CHANNEL_PING:
    default:
        d->counters.malformed++;
    }
}

static void keep_connected(struct daemon *d, uint64_t id, const struct endpoint *at)
{
    if (id == d->self) {
        return;
    }
    int rv = peers_set(d->peers, id, at);
    if (rv) {
        log_write(LOG_REFUSED, "who=%s reason=\"%s\"", members_name(d, id), strerror(-rv));
    }
}

/* Whether the table has this node, and where it is. */
static void check_self(struct daemon *d)
{
    int slot = table_node_by_id(d->table, d->self);
    if (slot == SLOT_NONE && d->was_member && !d->stopping) {
        log_write(LOG_GONE, "cluster=%s node=%s", d->config->cluster, d->config->node);
        daemon_stop(d, 1);
    }
    d->was_member = d->was_member || slot != SLOT_NONE;
    const struct endpoint *at = slot == SLOT_NONE ? NULL : &d->table->nodes[slot].at;
    bool there = !at || (at->port == d->config->listen.port && addr_equal(&at->addr, &d->config->listen.addr));
    if (!there && d->caught_up && !d->told_address) {
        char here[ENDPOINT_TEXT_MAX], text[ENDPOINT_TEXT_MAX];
        log_write(LOG_ELSEWHERE, "node=%s listens=%s cluster=%s", d->config->node,
                  endpoint_format(&d->config->listen, here), endpoint_format(at, text));
    }
    d->told_address = !there && d->caught_up;
}

/* ---------------------------------------------------------------- where they were */

/* Members as the data directory keeps them: after a start the table stands where a leader says, and a node that nobody
 * calls any more (it was removed) has to call somebody to hear so. */
static void keep_members(struct daemon *d)
{
    struct kept_member kept[NODES_MAX];
    size_t n = 0;
    memset(kept, 0, sizeof kept);
    for (int i = 0; i < NODES_MAX; i++) {
        const struct node *node = &d->table->nodes[i];
        if (node->used && node->id != d->self) {
            kept[n].id = node->id;
            kept[n++].at = node->at;
        }
    }
    if (n && (n != d->n_kept_members || memcmp(kept, d->kept_members, sizeof kept) != 0)) {
        memcpy(d->kept_members, kept, sizeof kept);
        d->n_kept_members = n;
        if (store_set(d->store, "members", kept, n * sizeof kept[0])) {
            daemon_fatal(d, store_error(d->store));
        }
    }
}

/* Whether there were any. */
static bool recall_members(struct daemon *d)
{
    struct kept_member kept[NODES_MAX];
    size_t len = 0;
    if (store_get(d->store, "members", kept, sizeof kept, &len) || len % sizeof kept[0]) {
        return false;
    }
    for (size_t i = 0; i < len / sizeof kept[0]; i++) {
        keep_connected(d, kept[i].id, &kept[i].at);
        d->recalled[d->n_recalled++] = kept[i].id;
    }
    return len > 0;
}

/* The table knows better, where it is not older than the node. */
static void forget_recalled(struct daemon *d)
{
    size_t kept = 0;
    for (size_t i = 0; i < d->n_recalled; i++) {
        if (!table_may_have(d->table, d->recalled[i])) {
            peers_unset(d->peers, d->recalled[i]);
        } else if (table_node_by_id(d->table, d->recalled[i]) == SLOT_NONE) {
            d->recalled[kept++] = d->recalled[i];
        }
    }
    d->n_recalled = kept;
}

void members_table_changed(struct daemon *d)
{
    if (!d->peers || d->peers_changed == d->table->changed || !d->table->cluster_id) {
        return;
    }
    d->peers_changed = d->table->changed;
    for (int i = 0; i < NODES_MAX; i++) {
        uint64_t id = d->table->nodes[i].used ? d->table->nodes[i].id : 0;
        if (d->peer_ids[i] && d->peer_ids[i] != id) {
            peers_unset(d->peers, d->peer_ids[i]);
        }
        d->peer_ids[i] = id;
        if (id) {
            keep_connected(d, id, &d->table->nodes[i].at);
        }
    }
    forget_recalled(d);
    keep_members(d);
    check_self(d);
    struct hello hello;
    members_hello(d, &hello);
    if (peers_set_hello(d->peers, &hello)) {
        daemon_fatal(d, "hello");
    }
}

/* ---------------------------------------------------------------- datagrams */

/* Somebody sends what no node of this cluster sent now. A few datagrams of a session that is over are no news: a node that
 * restarts leaves them. */
static void tell_dropped(struct daemon *d)
{
    const struct peers_counters *peers = peers_counters(d->peers);
    uint64_t kernel = datagram_counters(d->datagram)->dropped;

    if (throttle_pass(&d->drops, (int64_t)(daemon_now() / MS), 1, DROPS_TOLD_EVERY_MS)) {
        d->drops_told = kernel;
        log_write(LOG_DROPPED, "kernel=%" PRIu64 " sessionless=%" PRIu64 " unsealed=%" PRIu64 " forged=%" PRIu64
                  " replayed=%" PRIu64, kernel, peers->sessionless, peers->unsealed, peers->forged, peers->replayed);
    }
}

/* 0, or it is nothing that a node of this cluster sent. */
static int open_datagram(struct daemon *d, const void *data, size_t len, struct datagram_message *ret, uint64_t *ret_id)
{
    _Alignas(8) uint8_t plain[PACKET_MAX];
    size_t n;
    int rv = peers_open(d->peers, data, len, plain, &n, ret_id);
    if (rv) {
        if (rv != -ENOKEY) {
            tell_dropped(d);
        }
        return rv;
    }
    rv = heartbeat_decode(plain, n, d->table->cluster_id, ret);
    if (rv) {
        uint64_t *counter = rv == HEARTBEAT_OTHER_CLUSTER   ? &d->counters.other_cluster
                            : rv == HEARTBEAT_OTHER_VERSION ? &d->counters.other_version
                                                            : &d->counters.malformed;
        ++*counter;
        return rv;
    }
    if ((ret->type == DATAGRAM_HEARTBEAT ? ret->heartbeat.from : ret->answer.from) != *ret_id) {
        d->counters.strangers++; /* a member that speaks for another */
        return -EBADMSG;
    }
    return 0;
}

static void on_datagram(void *ud, const struct endpoint *from, const void *data, size_t len)
{
    struct daemon *d = ud;
    struct datagram_message message;
    struct event event = {0};
    uint64_t id;
    (void)from; /* the session says who it is */
    if (!d->table->cluster_id) {
        return;
    }
    if (datagram_counters(d->datagram)->dropped - d->drops_told >= DROPS_NEWS) {
        tell_dropped(d);
    }
    if (open_datagram(d, data, len, &message, &id)) {
        return;
    }
    peers_hint(d->peers, id);
    if (message.type == DATAGRAM_HEARTBEAT) {
        event.type = EV_HEARTBEAT;
        event.heartbeat = &message.heartbeat;
    } else {
        event.type = EV_ANSWER;
        event.answer = &message.answer;
    }
    daemon_event(d, &event);
}

/* The kernel drops what has none of the sessions that there are. */
static void on_sessions(void *ud)
{
    struct daemon *d = ud;
    uint64_t ids[PEERS_SESSIONS_MAX];
    uint32_t words[PEERS_SESSIONS_MAX];
    size_t n = peers_sessions(d->peers, ids);
    if (!d->datagram) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        words[i] = (uint32_t)ids[i];
    }
    int rv = datagram_allow(d->datagram, SEAL_ID_LOW, words, n);
    if (rv) {
        log_write(LOG_FATAL, "what=\"filtering datagrams\" error=\"%s\"", strerror(-rv));
        daemon_stop(d, 1); /* the new session would be cut off */
    }
}

/* Nothing is sent to a node before there is a connection to it (EV_REACHED then). */
static void send_to(struct daemon *d, uint64_t to, const uint8_t *bytes, size_t len)
{
    uint8_t sealed[DATAGRAM_MAX + SEAL_OVERHEAD];
    int slot = table_node_by_id(d->table, to);
    if (slot != SLOT_NONE && d->datagram && peers_seal(d->peers, to, bytes, len, sealed) == 0) {
        datagram_send(d->datagram, &d->table->nodes[slot].at, sealed, len + SEAL_OVERHEAD);
    }
}

void members_heartbeat(struct daemon *d, uint64_t to, const struct heartbeat *heartbeat)
{
    uint8_t bytes[DATAGRAM_MAX];
    send_to(d, to, bytes, heartbeat_encode(heartbeat, peers_protocol(d->peers, to), d->table->cluster_id, bytes));
}

void members_answer(struct daemon *d, uint64_t to, const struct answer *answer)
{
    uint8_t bytes[DATAGRAM_MAX];
    send_to(d, to, bytes, answer_encode(answer, peers_protocol(d->peers, to), d->table->cluster_id, bytes));
}

void members_report(struct daemon *d, uint64_t leader)
{
    uint8_t bytes[REPORT_BYTES_MAX];
    size_t len;
    if (report_encode(core_report(d->core), peers_protocol(d->peers, leader), bytes, sizeof bytes, &len) ||
        peers_send(d->peers, leader, CHANNEL_REPORT, bytes, len)) {
        return; /* sent again until the table has it */
    }
}

/* ---------------------------------------------------------------- begin */

struct peers_config members_config(const struct daemon *d, uint64_t self)
{
    return (struct peers_config){.cluster = d->config->cluster,
                                 .name = d->config->node,
                                 .keys = d->keys.key,
                                 .n_keys = d->keys.n,
                                 .self = self,
                                 .listen = d->config->listen};
}

int members_open(struct daemon *d)
{
    static const struct peers_ops OPS = {
        .connected = on_connected,
        .disconnected = on_disconnected,
        .message = on_message,
        .admit = on_admit,
        .refused = on_refused,
        .greet = on_greet,
        .turn_away = on_turn_away,
        .turned_away = on_turned_away,
        .sessions = on_sessions,
    };
    struct peers_config config = members_config(d, d->self);
    struct hello hello;
    char text[ENDPOINT_TEXT_MAX];
    members_hello(d, &hello);
    int rv = peers_init(&d->peers, &d->loop, &config, &hello, &OPS, d);
    if (!rv) {
        rv = datagram_init(&d->datagram, &d->loop, &d->config->listen, on_datagram, d);
    }
    if (!rv) {
        on_sessions(d);
    }
    if (rv) {
        log_write(LOG_FATAL, "what=\"listening on %s\" error=\"%s\"", endpoint_format(&d->config->listen, text),
                  strerror(-rv));
        return rv;
    }
    d->peers_changed = UINT64_MAX;
    if (d->table->cluster_id) {
        members_table_changed(d);
        return 0;
    }
    bool recalled = recall_members(d);
    for (int i = 0; !recalled && i < d->config->n_peers; i++) {
        keep_connected(d, (uint64_t)i + 1, &d->config->peers[i].at);
        d->recalled[d->n_recalled++] = (uint64_t)i + 1;
    }
    return 0;
}
