/* Raft under faults: clusters in one process, on a disk, a network and a clock that are this file's. A schedule is a seed.
 * `test_consensus SCHEDULES SEED` runs that many from that seed on. */

#include "io/consensus.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/raft_message.h"

#define NODES 5
#define FIRST_ID 101
#define ELECTION_MS 300
#define HEARTBEAT_MS 50
#define ACKS_MAX 20000

/* ------------------------------------------------------------------ the world */

static uint64_t random_state;

static uint32_t below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state >> 11) % n);
}

struct record
{
    uint64_t term;
    int type;
    uint8_t *data;
    size_t len;
};

struct disk
{
    uint64_t term, vote;
    uint64_t first; /* index of records[0] */
    struct record *records;
    size_t n, size;
    struct consensus_snapshot snapshot; /* index 0: none */
};

struct node
{
    struct consensus *consensus;
    uint64_t id;
    char address[24];
    unsigned epoch; /* counts runs: what was under way in an earlier one is void */
    struct disk disk;
    struct consensus_job *jobs[512]; /* given out, not done */
    size_t n_jobs;
    bool job_due;
    uint32_t disk_ms, net_ms;
    uint64_t applied, digest; /* the application */
    uint64_t said_index, said_term, said_low;
    bool leader;
    uint64_t led_term;
    bool dead;
    uint64_t dead_error;
};

enum event_kind
{
    EVENT_FRAME,
    EVENT_DISK,
    EVENT_SUBMIT,
    EVENT_FAULT,
    EVENT_RESTART,
};

struct event
{
    uint64_t at;
    uint64_t number;
    enum event_kind kind;
    unsigned to, from;
    unsigned epoch;
    uint8_t *frame;
    size_t len;
};

static struct
{
    uint64_t now, number;
    struct event *heap;
    size_t n, size;
    struct node nodes[NODES];
    bool cut[NODES][NODES];
    uint64_t seed;
    bool calm;
    bool closed;  /* to servers that are not in the configuration */
    uint64_t malformed; /* frames that the node which stops was given */
    bool stuck;   /* the disks do nothing */
    bool membership; /* change the servers, too */
    bool sync_disk;  /* persist completes at once, within the callback */
    uint64_t digests[ACKS_MAX]; /* [i]: of the state after entry i, as the first that applied it had it */
    uint64_t agreed;            /* the highest of them */
    uint64_t leaders[4096];     /* of a term */
    uint64_t commands;
    uint64_t installed, taken, elections, crashes, applied, configured, elected, impossible;
} world;

static bool comes_before(const struct event *a, const struct event *b)
{
    return a->at < b->at || (a->at == b->at && a->number < b->number);
}

static void push(struct event event)
{
    event.number = ++world.number;
    if (world.n == world.size) {
        world.size = world.size == 0 ? 1024 : world.size * 2;
        world.heap = realloc(world.heap, world.size * sizeof *world.heap);
        assert_non_null(world.heap);
    }
    size_t i = world.n++;
    while (i > 0 && comes_before(&event, &world.heap[(i - 1) / 2])) {
        world.heap[i] = world.heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    world.heap[i] = event;
}

static struct event pop(void)
{
    struct event first = world.heap[0], last = world.heap[--world.n];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= world.n) {
            break;
        }
        if (child + 1 < world.n && comes_before(&world.heap[child + 1], &world.heap[child])) {
            child++;
        }
        if (!comes_before(&world.heap[child], &last)) {
            break;
        }
        world.heap[i] = world.heap[child];
        i = child;
    }
    world.heap[i] = last;
    return first;
}

static unsigned place(uint64_t id)
{
    return (unsigned)(id - FIRST_ID);
}

/* ------------------------------------------------------------------ the disk */

static void *copy(const void *data, size_t len)
{
    void *to = malloc(len + 1);

    assert_non_null(to);
    memcpy(to, data, len);
    return to;
}

static void disk_cut(struct disk *disk, uint64_t from)
{
    while (disk->n > 0 && disk->first + disk->n > from) {
        free(disk->records[--disk->n].data);
    }
}

static void disk_compact(struct disk *disk, uint64_t below_index)
{
    size_t drop = 0;

    while (drop < disk->n && disk->first + drop < below_index) {
        free(disk->records[drop++].data);
    }
    memmove(disk->records, disk->records + drop, (disk->n - drop) * sizeof *disk->records);
    disk->n -= drop;
    disk->first += drop;
}

static void disk_append(struct disk *disk, const struct consensus_entry *entry)
{
    if (disk->n == 0) {
        disk->first = entry->index;
    }
    assert_int_equal(disk->first + disk->n, entry->index);
    if (disk->n == disk->size) {
        disk->size = disk->size == 0 ? 64 : disk->size * 2;
        disk->records = realloc(disk->records, disk->size * sizeof *disk->records);
        assert_non_null(disk->records);
    }
    disk->records[disk->n++] =
        (struct record){.term = entry->term, .type = (int)entry->type, .data = copy(entry->data, entry->len), .len = entry->len};
}

static void disk_free_snapshot(struct disk *disk)
{
    free((void *)(uintptr_t)disk->snapshot.configuration);
    free((void *)(uintptr_t)disk->snapshot.data);
    disk->snapshot = (struct consensus_snapshot){0};
}

static void disk_write(struct disk *disk, const struct consensus_job *job)
{
    if (job->set_vote) {
        assert_true(job->term >= disk->term);
        assert_true(job->term > disk->term || disk->vote == 0 || disk->vote == job->vote);
        disk->term = job->term;
        disk->vote = job->vote;
    }
    if (job->truncate_from != 0) {
        disk_cut(disk, job->truncate_from);
    }
    for (size_t i = 0; i < job->n_entries; i++) {
        disk_append(disk, &job->entries[i]);
    }
    if (job->snapshot != NULL) {
        disk_free_snapshot(disk);
        disk->snapshot = *job->snapshot;
        disk->snapshot.configuration = copy(job->snapshot->configuration, job->snapshot->configuration_len);
        disk->snapshot.data = copy(job->snapshot->data, job->snapshot->len);
    }
    if (job->compact_below != 0) {
        disk_compact(disk, job->compact_below);
    }
}

static uint64_t disk_last(const struct disk *disk)
{
    return disk->n > 0 ? disk->first + disk->n - 1 : disk->snapshot.index;
}

static const struct record *disk_record(const struct disk *disk, uint64_t index)
{
    return index >= disk->first && index - disk->first < disk->n ? &disk->records[index - disk->first] : NULL;
}

static uint64_t disk_term_of(const struct disk *disk, uint64_t index)
{
    const struct record *record = disk_record(disk, index);

    return record != NULL ? record->term : index == disk->snapshot.index ? disk->snapshot.term : 0;
}

static void disk_free(struct disk *disk)
{
    disk_cut(disk, 0);
    free(disk->records);
    disk_free_snapshot(disk);
    *disk = (struct disk){0};
}

/* ------------------------------------------------------------------ the callbacks, which check the duties */

static void when_persist(void *ud, struct consensus_job *job)
{
    struct node *node = ud;

    if (world.sync_disk) {
        disk_write(&node->disk, job);
        assert_int_equal(consensus_persisted(node->consensus, job, 0, world.now), 0);
        return;
    }
    assert_true(node->n_jobs < sizeof node->jobs / sizeof node->jobs[0]);
    node->jobs[node->n_jobs++] = job;
    if (!node->job_due && !world.stuck) {
        node->job_due = true;
        push((struct event){
            .at = world.now + 1 + below(node->disk_ms), .kind = EVENT_DISK, .to = place(node->id), .epoch = node->epoch});
    }
}

/* Nothing leaves a node that its disk does not bear out. */
static void check_promise(const struct node *node, uint64_t to, const void *frame, size_t len)
{
    static struct raft_entry entries[RAFT_MESSAGE_ENTRIES_MAX];
    struct raft_message message;
    struct raft_buffer configuration;
    const struct disk *disk = &node->disk;

    assert_int_equal(raft_message_decode(frame, len, entries, &message, &configuration), 0);
    switch (message.type) {
    case RAFT_APPEND_ENTRIES_RESULT:
        assert_true(message.append_entries_result.term <= disk->term);
        assert_true(message.append_entries_result.rejected > 0 ||
                    message.append_entries_result.last_log_index <= disk_last(disk));
        break;
    case RAFT_REQUEST_VOTE:
        assert_true(message.request_vote.pre_vote ||
                    (message.request_vote.term <= disk->term &&
                     (message.request_vote.term < disk->term || disk->vote == node->id)));
        assert_true(message.request_vote.last_log_index <= disk_last(disk));
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        if (message.request_vote_result.vote_granted && !message.request_vote_result.pre_vote) {
            assert_true(message.request_vote_result.term < disk->term ||
                        (message.request_vote_result.term == disk->term && disk->vote == to));
        }
        break;
    case RAFT_APPEND_ENTRIES:
        assert_true(message.append_entries.term <= disk->term);
        break;
    case RAFT_INSTALL_SNAPSHOT:
        assert_true(message.install_snapshot.last_index <= disk->snapshot.index);
        break;
    case RAFT_TIMEOUT_NOW:
    default:
        break;
    }
}

static void when_send(void *ud, uint64_t to, const void *frame, size_t len)
{
    struct node *node = ud;
    unsigned copies = 1;

    check_promise(node, to, frame, len);
    if (world.cut[place(node->id)][place(to)]) {
        return;
    }
    if (!world.calm) {
        copies = below(20) == 0 ? 0 : below(20) == 0 ? 2 : 1;
    }
    for (unsigned i = 0; i < copies; i++) {
        uint32_t delay = 1 + below(node->net_ms) + (!world.calm && below(50) == 0 ? below(1000) : 0);
        push((struct event){.at = world.now + delay,
                            .kind = EVENT_FRAME,
                            .to = place(to),
                            .from = place(node->id),
                            .frame = copy(frame, len),
                            .len = len});
    }
}

static uint64_t mix(uint64_t digest, const void *data, size_t len)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < len; i++) {
        digest = (digest ^ bytes[i]) * 1099511628211ull;
    }
    return digest;
}

static void advance(struct node *node, uint64_t index, uint64_t term, const void *data, size_t len)
{
    assert_int_equal(index, node->applied + 1);
    assert_true(index <= disk_last(&node->disk)); /* V2 */
    const struct record *record = disk_record(&node->disk, index);
    if (record != NULL) {
        assert_int_equal(record->term, term);
        assert_true(data == NULL || (record->len == len && memcmp(record->data, data, len) == 0));
    }
    node->applied = index;
    node->digest = mix(mix(node->digest, &term, sizeof term), data, len);
    world.applied++;
    assert_true(index < ACKS_MAX);
    if (index <= world.agreed) {
        assert_int_equal(world.digests[index], node->digest);
    } else {
        assert_int_equal(index, world.agreed + 1);
        world.agreed = index;
        world.digests[index] = node->digest;
    }
}

static void when_apply(void *ud, uint64_t index, uint64_t term, const void *data, size_t len)
{
    advance(ud, index, term, data, len);
    assert_int_equal(consensus_applied(((struct node *)ud)->consensus), index);
}

static void when_skip(void *ud, uint64_t index, uint64_t term)
{
    advance(ud, index, term, NULL, 0);
}

static void when_configured(void *ud, uint64_t index, uint64_t term, const struct consensus_server *servers, unsigned n)
{
    unsigned voters = 0;

    assert_in_range(n, 1, NODES);
    for (unsigned i = 0; i < n; i++) {
        assert_in_range(servers[i].id, FIRST_ID, FIRST_ID + NODES - 1);
        voters += servers[i].role == CONSENSUS_VOTER;
    }
    assert_true(voters > 0);
    advance(ud, index, term, NULL, 0);
}

static int when_restore(void *ud, uint64_t index, const void *data, size_t len)
{
    struct node *node = ud;
    uint64_t fields[2];

    assert_true(len >= sizeof fields);
    memcpy(fields, data, sizeof fields);
    assert_int_equal(fields[0], index);
    assert_int_equal(fields[1], world.digests[index]);
    assert_true(index >= node->applied);
    assert_int_equal(node->disk.snapshot.index, index);
    node->applied = index;
    node->digest = fields[1];
    return 0;
}

static int when_snapshot(void *ud, void **ret_data, size_t *ret_len)
{
    struct node *node = ud;
    uint64_t fields[2] = {node->applied, node->digest};
    size_t len = sizeof fields + below(500);

    if (below(10) == 0) {
        return -ENOMEM;
    }
    *ret_data = calloc(1, len);
    assert_non_null(*ret_data);
    memcpy(*ret_data, fields, sizeof fields);
    *ret_len = len;
    return 0;
}

static void when_role(void *ud, bool leader, uint64_t term, uint64_t leader_id)
{
    struct node *node = ud;

    node->leader = leader;
    if (leader) {
        assert_int_equal(leader_id, node->id);
        assert_true(term < 4096);
        assert_true(world.leaders[term] == 0 || world.leaders[term] == node->id);
        assert_true(consensus_barrier(node->consensus) > 0);
        world.leaders[term] = node->id;
        world.elections += node->led_term != term;
        node->led_term = term;
    } else {
        assert_int_equal(consensus_barrier(node->consensus), 0);
    }
}

static void when_disk(void *ud, uint64_t last_term, uint64_t last_index)
{
    struct node *node = ud;

    node->said_term = last_term;
    node->said_index = last_index;
    node->said_low = last_index < node->said_low ? last_index : node->said_low;
}

static bool when_known(void *ud, uint64_t id)
{
    return !world.closed; /* the peers' connections have proved who they are */
}

static void when_fatal(void *ud, int error, const char *what)
{
    struct node *node = ud;

    node->dead = true;
    node->dead_error = (uint64_t)-error;
}

static const struct consensus_ops ops = {
    .persist = when_persist,
    .send = when_send,
    .apply = when_apply,
    .skip = when_skip,
    .configured = when_configured,
    .restore = when_restore,
    .snapshot = when_snapshot,
    .role = when_role,
    .disk = when_disk,
    .known = when_known,
    .fatal = when_fatal,
};

/* ------------------------------------------------------------------ nodes */

static void start(struct node *node)
{
    struct disk *disk = &node->disk;
    struct consensus_entry *entries = calloc(disk->n + 1, sizeof *entries);
    struct consensus_options options = {
        .id = node->id,
        .address = node->address,
        .seed = below(1u << 31),
        .election_ms = ELECTION_MS,
        .heartbeat_ms = HEARTBEAT_MS,
        .install_ms = 1000,
        .snapshot_entries = 20,
        .trailing_entries = 1 + below(8),
        .trailing_bytes = 400,
        .pending_entries = 100,
    };

    assert_non_null(entries);
    for (size_t i = 0; i < disk->n; i++) {
        const struct record *record = &disk->records[i];
        entries[i] = (struct consensus_entry){.index = disk->first + i,
                                              .term = record->term,
                                              .type = (enum consensus_entry_type)record->type,
                                              .data = record->data,
                                              .len = record->len};
    }
    struct consensus_state state = {.term = disk->term,
                                    .vote = disk->vote,
                                    .snapshot = disk->snapshot.index > 0 ? &disk->snapshot : NULL,
                                    .entries = entries,
                                    .n_entries = disk->n};
    node->applied = 0;
    node->digest = 14695981039346656037ull;
    node->leader = false;
    node->dead = false;
    node->n_jobs = 0;
    node->job_due = false;
    assert_int_equal(consensus_new(&options, &ops, node, &node->consensus), 0);
    assert_int_equal(consensus_start(node->consensus, &state, world.now), 0);
    assert_int_equal(node->said_index, disk_last(disk));
    node->said_low = node->said_index;
    free(entries);
}

static void stop(struct node *node)
{
    struct consensus_stats stats;

    if (node->consensus != NULL) {
        consensus_stats(node->consensus, &stats);
        world.installed += stats.snapshots_installed;
        world.taken += stats.snapshots_taken;
        world.impossible += stats.impossible;
        assert_int_equal(stats.malformed, world.malformed);
    }
    node->epoch++;
    consensus_free(node->consensus);
    node->consensus = NULL;
}

/* Of the writes under way a part was made, but nobody was told. */
static void crash(struct node *node)
{
    size_t made = below((uint32_t)node->n_jobs + 1);

    for (size_t i = 0; i < made; i++) {
        disk_write(&node->disk, node->jobs[i]);
    }
    stop(node);
    world.crashes++;
}

static void world_begin(uint64_t seed)
{
    struct consensus_server servers[3];
    void *data, *again;
    size_t len, len_again;

    struct event *heap = world.heap;
    size_t size = world.size;
    memset(&world, 0, sizeof world);
    world.heap = heap;
    world.size = size;
    world.seed = seed;
    random_state = (seed + 1) * 0x9E3779B97F4A7C15ull | 1;
    for (unsigned i = 0; i < 8; i++) {
        below(2);
    }
    for (unsigned i = 0; i < NODES; i++) {
        struct node *node = &world.nodes[i];
        node->id = FIRST_ID + i;
        node->disk_ms = 1 + below(20);
        node->net_ms = 1 + below(20);
        snprintf(node->address, sizeof node->address, "10.0.0.%u:7400", i);
        if (i < 3) {
            servers[i] = (struct consensus_server){.id = node->id, .address = node->address, .role = CONSENSUS_VOTER};
        }
    }
    assert_int_equal(consensus_founding(servers, 3, &data, &len), 0);
    struct consensus_server first = servers[0];
    servers[0] = servers[2];
    servers[2] = first;
    assert_int_equal(consensus_founding(servers, 3, &again, &len_again), 0);
    assert_int_equal(len, len_again);
    assert_memory_equal(data, again, len);
    struct consensus_entry entry = {.index = 1, .term = 1, .type = CONSENSUS_CHANGE, .data = data, .len = len};
    for (unsigned i = 0; i < 3; i++) {
        disk_append(&world.nodes[i].disk, &entry);
        world.nodes[i].disk.term = 1;
    }
    free(data);
    free(again);
}

static void world_end(void)
{
    while (world.n > 0) {
        free(pop().frame);
    }
    for (unsigned i = 0; i < NODES; i++) {
        stop(&world.nodes[i]);
        disk_free(&world.nodes[i].disk);
    }
}

/* ------------------------------------------------------------------ what happens */

static void do_frame(const struct event *event)
{
    struct node *node = &world.nodes[event->to];

    if (node->consensus != NULL && !world.cut[event->from][event->to]) {
        assert_int_equal(
            consensus_receive(node->consensus, FIRST_ID + event->from, event->frame, event->len, world.now), 0);
    }
    free(event->frame);
}

static void do_disk(const struct event *event)
{
    struct node *node = &world.nodes[event->to];

    if (node->consensus == NULL || node->epoch != event->epoch) {
        return;
    }
    /* A group of jobs is done at once, and each is told. */
    size_t group = 1 + below((uint32_t)node->n_jobs);
    for (size_t i = 0; i < group; i++) {
        struct consensus_job *job = node->jobs[0];
        memmove(node->jobs, node->jobs + 1, --node->n_jobs * sizeof(struct consensus_job *));
        disk_write(&node->disk, job);
        assert_int_equal(consensus_persisted(node->consensus, job, 0, world.now), 0);
        if (i + 1 == group) {
            assert_int_equal(node->said_index, disk_last(&node->disk));
            assert_int_equal(node->said_term, disk_term_of(&node->disk, node->said_index));
        }
    }
    node->job_due = node->n_jobs > 0;
    if (node->job_due) {
        push((struct event){
            .at = world.now + 1 + below(node->disk_ms), .kind = EVENT_DISK, .to = event->to, .epoch = node->epoch});
    }
}

static bool submit(struct node *node)
{
    uint8_t data[300] = {0};
    uint64_t index;
    size_t len = 8 + below(sizeof data - 8);

    world.commands++;
    memcpy(data, &world.commands, sizeof world.commands);
    int r = consensus_submit(node->consensus, data, len, world.now, &index);
    assert_true(r == 0 || r == CONSENSUS_BUSY || r == CONSENSUS_NOT_LEADER);
    return r == 0;
}

/* One server added, removed, or given another role; three voters at least stay. */
static void configure(struct node *node)
{
    struct consensus_server servers[NODES + 1];
    unsigned n = consensus_servers(node->consensus, servers, NODES);
    uint64_t id = FIRST_ID + below(NODES), index;
    unsigned at = 0, voters = 0;

    for (unsigned i = 0; i < n; i++) {
        voters += servers[i].role == CONSENSUS_VOTER;
    }
    while (at < n && servers[at].id != id) {
        at++;
    }
    if (at == n) {
        servers[n++] = (struct consensus_server){
            .id = id, .address = world.nodes[place(id)].address, .role = below(2) == 0 ? CONSENSUS_SPARE : CONSENSUS_STANDBY};
    } else if (servers[at].role == CONSENSUS_VOTER) {
        if (voters <= 3) {
            return;
        }
        servers[at].role = CONSENSUS_STANDBY;
    } else if (below(3) == 0) {
        servers[at] = servers[--n];
    } else {
        servers[at].role = servers[at].role == CONSENSUS_SPARE ? CONSENSUS_STANDBY : CONSENSUS_VOTER;
    }
    int r = consensus_configure(node->consensus, servers, n, world.now, &index);
    assert_true(r == 0 || r == CONSENSUS_BUSY || r == CONSENSUS_NOT_LEADER || r == CONSENSUS_BEHIND);
    world.configured += r == 0;
}

static void do_submit(void)
{
    if (world.calm) {
        return;
    }
    for (unsigned i = 0; i < NODES; i++) {
        struct node *node = &world.nodes[i];
        if (node->consensus == NULL || !consensus_is_leader(node->consensus)) {
            continue;
        }
        for (unsigned burst = below(10) == 0 ? 30 : 1; burst > 0; burst--) {
            submit(node);
        }
        if (world.membership && below(20) == 0) {
            configure(node);
        }
    }
    push((struct event){.at = world.now + 1 + below(60), .kind = EVENT_SUBMIT});
}

static void do_fault(void)
{
    unsigned x = below(NODES), y = below(NODES);
    struct node *node = &world.nodes[x];

    if (world.calm) {
        return;
    }
    switch (below(8)) {
    case 0:
        world.cut[x][y] = x != y;
        break;
    case 1:
        for (unsigned i = 0; i < NODES; i++) {
            world.cut[x][i] = world.cut[i][x] = i != x;
        }
        break;
    case 2:
        memset(world.cut, 0, sizeof world.cut);
        break;
    case 3:
    case 4:
        if (node->consensus != NULL) {
            crash(node);
            push((struct event){.at = world.now + 1 + below(2000), .kind = EVENT_RESTART, .to = x});
        }
        break;
    case 5:
        if (node->consensus != NULL && consensus_elect(node->consensus, world.now) == 0) {
            world.elected++;
        }
        break;
    case 6:
        if (node->consensus != NULL && consensus_is_leader(node->consensus)) {
            int r = consensus_transfer(node->consensus, below(2) == 0 ? 0 : FIRST_ID + y, world.now);
            assert_true(r == 0 || r == CONSENSUS_NO_SUCH_SERVER || r == CONSENSUS_NOT_LEADER);
        }
        break;
    default:
        node->net_ms = 1 + below(60);
        node->disk_ms = 1 + below(60);
    }
    push((struct event){.at = world.now + 20 + below(500), .kind = EVENT_FAULT});
}

static struct node *next_timeout(void)
{
    struct node *next = NULL;

    for (unsigned i = 0; i < NODES; i++) {
        struct node *node = &world.nodes[i];
        if (node->consensus != NULL &&
            (next == NULL || consensus_timeout_ms(node->consensus) < consensus_timeout_ms(next->consensus))) {
            next = node;
        }
    }
    return next;
}

static void happen(void)
{
    struct node *next = next_timeout();

    if (next != NULL && (world.n == 0 || consensus_timeout_ms(next->consensus) < world.heap[0].at)) {
        uint64_t at = consensus_timeout_ms(next->consensus);
        world.now = at > world.now ? at : world.now;
        assert_int_equal(consensus_tick(next->consensus, world.now), 0);
        return;
    }
    struct event event = pop();
    world.now = event.at;
    switch (event.kind) {
    case EVENT_FRAME:
        do_frame(&event);
        break;
    case EVENT_DISK:
        do_disk(&event);
        break;
    case EVENT_SUBMIT:
        do_submit();
        break;
    case EVENT_FAULT:
        do_fault();
        break;
    case EVENT_RESTART:
        if (world.nodes[event.to].consensus == NULL) {
            start(&world.nodes[event.to]);
        }
        break;
    }
}

static void print_state(void)
{
    struct consensus_server servers[NODES];

    print_message("seed %llu at %llu ms\n", (unsigned long long)world.seed, (unsigned long long)world.now);
    for (unsigned i = 0; i < NODES; i++) {
        const struct node *node = &world.nodes[i];
        const struct consensus *c = node->consensus;
        if (c == NULL) {
            continue;
        }
        print_message("%llu: term %llu leader %llu snapshot %llu applied %llu commit %llu disk %llu last %llu servers",
                      (unsigned long long)node->id, (unsigned long long)consensus_term(c),
                      (unsigned long long)consensus_leader(c), (unsigned long long)consensus_snapshot_index(c),
                      (unsigned long long)consensus_applied(c), (unsigned long long)consensus_commit(c),
                      (unsigned long long)consensus_disk_index(c), (unsigned long long)consensus_last_index(c));
        unsigned n = consensus_servers(c, servers, NODES);
        for (unsigned j = 0; j < n; j++) {
            print_message(" %llu:%d", (unsigned long long)servers[j].id, servers[j].role);
        }
        print_message("\n");
    }
}

/* After a test that failed, too. */
static int clean_up(void **state)
{
    for (unsigned i = 0; i < NODES; i++) {
        if (world.nodes[i].consensus != NULL) {
            print_state();
            break;
        }
    }
    world_end();
    return 0;
}

static void run_until(uint64_t at)
{
    while (world.now < at) {
        happen();
        for (unsigned i = 0; i < NODES; i++) {
            assert_false(world.nodes[i].dead);
        }
    }
}

static struct node *leader(void)
{
    struct node *found = NULL;

    for (unsigned i = 0; i < NODES; i++) {
        struct node *node = &world.nodes[i];
        if (node->consensus != NULL && consensus_is_leader(node->consensus) &&
            (found == NULL || consensus_term(node->consensus) > consensus_term(found->consensus))) {
            found = node;
        }
    }
    return found;
}

/* Whether one leader leads all, and every server that it replicates to has applied all. */
static bool is_settled(void)
{
    struct consensus_server servers[NODES];
    struct node *node = leader();

    if (node == NULL || node->applied != consensus_last_index(node->consensus) ||
        consensus_leader(node->consensus) != node->id) {
        return false;
    }
    unsigned n = consensus_servers(node->consensus, servers, NODES);
    for (unsigned i = 0; i < n; i++) {
        const struct node *other = &world.nodes[place(servers[i].id)];
        if (servers[i].role != CONSENSUS_SPARE && other->consensus != NULL && other->applied != node->applied) {
            return false;
        }
    }
    return true;
}

static void settle(uint64_t within_ms)
{
    uint64_t until = world.now + within_ms;

    while (!is_settled() && world.now < until) {
        happen();
    }
    assert_true(is_settled());
}

static void schedule(uint64_t seed, uint64_t length_ms)
{
    world_begin(seed);
    world.membership = below(2) == 0;
    world.sync_disk = below(8) == 0;
    for (unsigned i = 0; i < NODES; i++) {
        start(&world.nodes[i]);
    }
    push((struct event){.at = 400, .kind = EVENT_SUBMIT});
    push((struct event){.at = 700, .kind = EVENT_FAULT});
    run_until(length_ms);

    world.calm = true;
    memset(world.cut, 0, sizeof world.cut);
    for (unsigned i = 0; i < NODES; i++) {
        if (world.nodes[i].consensus == NULL) {
            start(&world.nodes[i]);
        }
        world.nodes[i].net_ms = world.nodes[i].disk_ms = 5;
    }
    settle(30000);
    uint64_t before = world.agreed;
    uint64_t until = world.now + 5000;
    while ((leader() == NULL || !submit(leader())) && world.now < until) {
        happen(); /* a transfer may still be under way */
    }
    settle(5000);
    assert_true(world.agreed > before);
    assert_int_equal(leader()->digest, world.digests[world.agreed]);
}

/* ------------------------------------------------------------------ tests */

/* Three voters, one millisecond for each message and each write, nothing lost, a leader. */
static struct node *quiet(void)
{
    world_begin(7);
    world.calm = true;
    for (unsigned i = 0; i < NODES; i++) {
        world.nodes[i].net_ms = world.nodes[i].disk_ms = 1;
    }
    for (unsigned i = 0; i < 3; i++) {
        start(&world.nodes[i]);
    }
    settle(5000);
    return leader();
}

static struct node *other_than(const struct node *a, const struct node *b)
{
    for (unsigned i = 0; i < 3; i++) {
        if (&world.nodes[i] != a && &world.nodes[i] != b) {
            return &world.nodes[i];
        }
    }
    return NULL;
}

static void isolate(const struct node *node, bool cut)
{
    for (unsigned i = 0; i < NODES; i++) {
        world.cut[place(node->id)][i] = world.cut[i][place(node->id)] = cut && i != place(node->id);
    }
}

/* One write and one message each way: own vote on disk, asked, theirs on disk, answered. */
static void test_elect(void **state)
{
    struct node *old = quiet();
    struct node *next = other_than(old, NULL);

    assert_int_equal(consensus_elect(old->consensus, world.now), CONSENSUS_BEHIND);
    crash(old);
    uint64_t from = world.now;
    assert_int_equal(consensus_elect(next->consensus, world.now), 0);
    while (!consensus_is_leader(next->consensus) && world.now < from + 1000) {
        happen();
    }
    assert_true(consensus_is_leader(next->consensus));
    assert_true(world.now - from <= 4);
    world_end();
}

static void test_elect_without_leader(void **state)
{
    world_begin(7);
    start(&world.nodes[0]);
    assert_int_equal(consensus_elect(world.nodes[0].consensus, 0), CONSENSUS_NO_LEADER);
    start(&world.nodes[4]); /* has nothing and is no voter */
    assert_int_equal(consensus_elect(world.nodes[4].consensus, 0), CONSENSUS_BEHIND);
    world_end();
}

/* Long before the next heartbeat: sent, written, acknowledged, told. */
static void test_commit_is_told(void **state)
{
    struct node *first = quiet();

    uint64_t from = world.now, index = first->applied + 1;
    assert_true(submit(first));
    while (!is_settled() && world.now < from + 1000) {
        happen();
    }
    assert_int_equal(first->applied, index);
    assert_true(world.now - from <= 5 && 5 < HEARTBEAT_MS);
    world_end();
}

static void test_transfer(void **state)
{
    struct node *old = quiet();
    struct node *next = other_than(old, NULL);

    assert_int_equal(consensus_transfer(old->consensus, FIRST_ID + 4, world.now), CONSENSUS_NO_SUCH_SERVER);
    assert_int_equal(consensus_transfer(next->consensus, 0, world.now), CONSENSUS_NOT_LEADER);
    uint64_t from = world.now;
    assert_int_equal(consensus_transfer(old->consensus, next->id, world.now), 0);
    assert_false(submit(old)); /* it is on its way out */
    while (!consensus_is_leader(next->consensus) && world.now < from + 1000) {
        happen();
    }
    assert_true(consensus_is_leader(next->consensus));
    assert_true(world.now - from <= 6);
    world_end();
}

static void test_one_voter(void **state)
{
    struct consensus_server server = {.id = FIRST_ID, .address = "10.0.0.0:7400", .role = CONSENSUS_VOTER};
    void *data;
    size_t len;

    world_begin(7);
    assert_int_equal(consensus_founding(&server, 1, &data, &len), 0);
    struct consensus_entry entry = {.index = 1, .term = 1, .type = CONSENSUS_CHANGE, .data = data, .len = len};
    disk_free(&world.nodes[0].disk);
    disk_append(&world.nodes[0].disk, &entry);
    world.nodes[0].disk.term = 1;
    free(data);
    world.sync_disk = true;
    start(&world.nodes[0]);
    assert_true(world.nodes[0].leader); /* at once: there is nobody to ask */
    assert_true(world.nodes[0].applied >= consensus_barrier(world.nodes[0].consensus));
    assert_true(submit(&world.nodes[0]));
    assert_int_equal(world.nodes[0].applied, consensus_last_index(world.nodes[0].consensus));
    world_end();
}

/* The only voter leads; an entry reaches a standby, and not the voter's own disk, before it goes down. What it writes at
 * that index when it is back must not be taken for the same. (Simulator, seed 337.) */
static void test_one_voter_again(void **state)
{
    struct consensus_server servers[2];
    struct node *voter = &world.nodes[0], *standby = &world.nodes[1];
    void *data;
    size_t len;

    world_begin(7);
    world.calm = true;
    for (unsigned i = 0; i < 2; i++) {
        servers[i] = (struct consensus_server){.id = FIRST_ID + i,
                                               .address = world.nodes[i].address,
                                               .role = i == 0 ? CONSENSUS_VOTER : CONSENSUS_STANDBY};
    }
    assert_int_equal(consensus_founding(servers, 2, &data, &len), 0);
    struct consensus_entry entry = {.index = 1, .term = 1, .type = CONSENSUS_CHANGE, .data = data, .len = len};
    for (unsigned i = 0; i < 2; i++) {
        disk_free(&world.nodes[i].disk);
        memset(&world.nodes[i].disk, 0, sizeof world.nodes[i].disk);
        disk_append(&world.nodes[i].disk, &entry);
        world.nodes[i].disk.term = 1;
        world.nodes[i].net_ms = world.nodes[i].disk_ms = 1;
        start(&world.nodes[i]);
    }
    free(data);
    settle(5000);
    uint64_t term = consensus_term(voter->consensus), last = disk_last(&voter->disk);

    voter->disk_ms = 1000;
    assert_true(submit(voter));
    for (uint64_t until = world.now + 500; disk_last(&standby->disk) == last && world.now < until;) {
        happen();
    }
    assert_int_equal(disk_last(&standby->disk), last + 1);
    assert_int_equal(disk_last(&voter->disk), last);
    voter->n_jobs = 0; /* none of the writes under way is made */
    crash(voter);
    voter->disk_ms = 1;
    start(voter);
    assert_true(consensus_term(voter->consensus) > term);
    assert_true(submit(voter));
    settle(5000);
    assert_int_equal(disk_term_of(&standby->disk, last + 1), disk_term_of(&voter->disk, last + 1));
    assert_int_equal(standby->digest, voter->digest);
    world_end();
}

/* Of two voters the leader demotes the other one, and goes down. The other one stands for election no more once it knows, and
 * votes for nobody with a shorter log: so it does not know before that is on the leader's own disk. (Simulator, seed 52.) */
static void test_demoted_and_the_only_one(void **state)
{
    struct consensus_server servers[2];
    struct node *one = &world.nodes[0], *other = &world.nodes[1];
    uint64_t index;
    void *data;
    size_t len;

    world_begin(7);
    world.calm = true;
    for (unsigned i = 0; i < 2; i++) {
        servers[i] = (struct consensus_server){.id = FIRST_ID + i, .address = world.nodes[i].address, .role = CONSENSUS_VOTER};
    }
    assert_int_equal(consensus_founding(servers, 2, &data, &len), 0);
    struct consensus_entry entry = {.index = 1, .term = 1, .type = CONSENSUS_CHANGE, .data = data, .len = len};
    for (unsigned i = 0; i < 2; i++) {
        disk_free(&world.nodes[i].disk);
        memset(&world.nodes[i].disk, 0, sizeof world.nodes[i].disk);
        disk_append(&world.nodes[i].disk, &entry);
        world.nodes[i].disk.term = 1;
        world.nodes[i].net_ms = world.nodes[i].disk_ms = 1;
        start(&world.nodes[i]);
    }
    free(data);
    settle(5000);
    if (other->leader) {
        one = &world.nodes[1];
        other = &world.nodes[0];
    }
    uint64_t last = disk_last(&one->disk);

    one->disk_ms = 5000;
    servers[other == &world.nodes[1]].role = CONSENSUS_STANDBY;
    assert_int_equal(consensus_configure(one->consensus, servers, 2, world.now, &index), 0);
    for (uint64_t until = world.now + 100; world.now < until;) {
        happen();
    }
    assert_int_equal(disk_last(&one->disk), last);
    assert_int_equal(disk_last(&other->disk), last);
    one->n_jobs = 0;
    crash(one);
    one->disk_ms = 1;
    start(one);
    settle(5000);
    assert_true(one->leader || other->leader);
    world_end();
}

static void test_far_behind(void **state)
{
    struct node *first = quiet();
    struct node *away = other_than(first, NULL);
    struct consensus_stats stats;

    stop(away);
    for (unsigned i = 0; i < 200; i++) {
        assert_true(submit(first));
        run_until(world.now + 5);
    }
    assert_true(consensus_snapshot_index(first->consensus) > 150);
    start(away);
    settle(2000);
    consensus_stats(away->consensus, &stats);
    assert_int_equal(stats.snapshots_installed, 1);
    assert_int_equal(away->digest, first->digest);
    world_end();
}

/* What a leader could not commit is cut off, and the owner of the disk is told how far down. */
static void test_truncation_is_told(void **state)
{
    struct node *old = quiet();

    uint64_t agreed = old->applied;
    isolate(old, true);
    for (unsigned i = 0; i < 5; i++) {
        assert_true(submit(old));
    }
    run_until(world.now + 20);
    assert_int_equal(old->said_index, agreed + 5);
    assert_int_equal(old->applied, agreed);
    run_until(world.now + 2000); /* without a majority it has given up meanwhile */
    assert_false(consensus_is_leader(old->consensus));
    struct node *next = leader();
    for (unsigned i = 0; i < 8; i++) {
        assert_true(submit(next));
    }
    run_until(world.now + 20);
    old->said_low = old->said_index;
    isolate(old, false);
    settle(3000);
    assert_int_equal(old->said_low, agreed);
    assert_true(old->said_index >= agreed + 8);
    world_end();
}

static void test_joins(void **state)
{
    struct node *first = quiet();
    struct node *gone = other_than(first, NULL);
    struct consensus_server servers[NODES];
    uint64_t index;

    for (unsigned i = 0; i < 60; i++) {
        assert_true(submit(first));
        run_until(world.now + 5);
    }
    start(&world.nodes[3]); /* with an empty disk */
    assert_int_equal(consensus_servers(first->consensus, servers, NODES), 3);
    for (unsigned i = 0; i < 3; i++) {
        servers[i].address = world.nodes[i].address; /* theirs end with the configuration */
    }
    servers[3] = (struct consensus_server){
        .id = world.nodes[3].id, .address = world.nodes[3].address, .role = CONSENSUS_VOTER};
    assert_int_equal(consensus_configure(first->consensus, servers, 4, world.now, &index), CONSENSUS_BEHIND);
    servers[3].role = CONSENSUS_STANDBY;
    assert_int_equal(consensus_configure(gone->consensus, servers, 4, world.now, &index), CONSENSUS_NOT_LEADER);
    assert_int_equal(consensus_configure(first->consensus, servers, 3, world.now, &index), CONSENSUS_NO_SUCH_SERVER);
    assert_int_equal(consensus_configure(first->consensus, servers, 4, world.now, &index), 0);
    servers[3].role = CONSENSUS_SPARE;
    assert_int_equal(consensus_configure(first->consensus, servers, 4, world.now, &index), CONSENSUS_BUSY);
    settle(2000);
    assert_int_equal(world.nodes[3].digest, first->digest);
    servers[3].role = CONSENSUS_VOTER;
    assert_int_equal(consensus_configure(first->consensus, servers, 4, world.now, &index), 0);
    settle(2000);
    servers[place(gone->id)] = servers[3];
    assert_int_equal(consensus_configure(first->consensus, servers, 3, world.now, &index), 0);
    settle(2000);
    crash(gone);
    crash(first);
    settle(5000); /* two of the three that are left */
    assert_true(submit(leader()));
    settle(1000);
    assert_int_equal(world.nodes[3].applied, world.agreed);
    world_end();
}

static uint64_t received(const struct node *node)
{
    struct consensus_stats stats;

    consensus_stats(node->consensus, &stats);
    return stats.received;
}

static struct node *with_standby(struct node *first)
{
    struct consensus_server servers[NODES];
    uint64_t index;

    start(&world.nodes[3]);
    (void)consensus_servers(first->consensus, servers, NODES);
    for (unsigned i = 0; i < 3; i++) {
        servers[i].address = world.nodes[i].address;
    }
    servers[3] = (struct consensus_server){
        .id = world.nodes[3].id, .address = world.nodes[3].address, .role = CONSENSUS_STANDBY};
    assert_int_equal(consensus_configure(first->consensus, servers, 4, world.now, &index), 0);
    settle(2000);
    return &world.nodes[3];
}

/* A standby that has everything gets a heartbeat in three, and believes in its leader all the same; what there is to be told it is
 * told at once; what it missed it hears of with the next heartbeat that would be due. */
static void test_standby_is_spared(void **state)
{
    enum { BEATS = 60 };
    struct node *first = quiet();
    struct node *voter = other_than(first, NULL), *standby = with_standby(first);

    run_until(world.now + 10 * HEARTBEAT_MS);
    uint64_t from = world.now, by_standby = received(standby), by_voter = received(voter);
    while (world.now < from + BEATS * HEARTBEAT_MS) {
        happen();
        assert_int_equal(consensus_leader(standby->consensus), first->id);
    }
    assert_in_range(received(standby) - by_standby, BEATS / 3 - 1, BEATS / 3 + 1);
    assert_in_range(received(voter) - by_voter, BEATS - 2, BEATS + 2);

    for (unsigned i = 0; i < 20; i++) {
        run_until(world.now + 4 * HEARTBEAT_MS + 7);
        from = world.now;
        assert_true(submit(first));
        settle(1000);
        assert_true(world.now - from <= 5);
    }

    for (unsigned i = 0; i < 20; i++) {
        run_until(world.now + 4 * HEARTBEAT_MS + 7);
        isolate(standby, true);
        assert_true(submit(first));
        run_until(world.now + 5 + 17 * i);
        isolate(standby, false);
        from = world.now;
        settle(1000);
        assert_true(world.now - from <= HEARTBEAT_MS + 10);
    }
    world_end();
}

/* Heartbeats that are due at different times are no reason to hold back an entry until one of them is: here those of a server that
 * was away and of one that was not, with a third that is away now and cannot acknowledge in their place. */
static void test_commit_after_absence(void **state)
{
    struct node *first = quiet();
    struct node *away = other_than(first, NULL), *other = other_than(first, away);
    uint64_t from;

    for (unsigned i = 0; i < 10; i++) {
        crash(away);
        run_until(world.now + ELECTION_MS + 13 * i);
        start(away);
        run_until(world.now + 4 * HEARTBEAT_MS);
        assert_true(submit(first));
        settle(1000); /* the first one may wait for a heartbeat */
        crash(other);
        run_until(world.now + 3 * HEARTBEAT_MS + 7 * i);
        for (unsigned k = 0; k < 3; k++) {
            from = world.now;
            uint64_t index = first->applied + 1;
            assert_true(submit(first));
            while (first->applied < index && world.now < from + 1000) {
                happen();
            }
            assert_true(world.now - from <= 5);
            run_until(world.now + HEARTBEAT_MS + 11 * k);
        }
        start(other);
        settle(2000);
    }
    world_end();
}

static void test_failing_disk(void **state)
{
    struct node *first = quiet();
    uint64_t index;

    world.stuck = true;
    assert_true(submit(first));
    assert_int_equal(first->n_jobs, 1);
    struct consensus_job *job = first->jobs[0];
    assert_int_equal(consensus_persisted(first->consensus, job, -ENOSPC, world.now), -EIO);
    assert_true(first->dead);
    assert_int_equal(first->dead_error, ENOSPC);
    assert_int_equal(consensus_submit(first->consensus, "x", 1, world.now, &index), -EIO);
    assert_int_equal(consensus_tick(first->consensus, world.now + 10000), -EIO);
    assert_int_equal(consensus_receive(first->consensus, FIRST_ID + 1, "x", 1, world.now), -EIO);
    assert_int_equal(consensus_elect(first->consensus, world.now), -EIO);
    world_end();
}

static void test_full(void **state)
{
    struct node *first = quiet();
    uint8_t *big = calloc(1, CONSENSUS_ENTRY_MAX + 1);
    uint64_t index, accepted = 0;
    int r = 0;

    assert_non_null(big);
    assert_int_equal(consensus_submit(first->consensus, big, CONSENSUS_ENTRY_MAX + 1, world.now, &index), -EMSGSIZE);
    world.stuck = true;
    isolate(first, true);
    while (accepted < 1000 && (r = consensus_submit(first->consensus, big, 10, world.now, &index)) == 0) {
        accepted++;
    }
    assert_int_equal(r, CONSENSUS_BUSY);
    assert_int_equal(accepted, 100); /* as start() has it */
    world_end();

    first = quiet();
    world.stuck = true;
    isolate(first, true);
    for (accepted = 0; accepted < 20; accepted++) {
        r = consensus_submit(first->consensus, big, CONSENSUS_ENTRY_MAX, world.now, &index);
        if (r != 0) {
            break;
        }
    }
    assert_int_equal(r, CONSENSUS_BUSY);
    assert_int_equal(accepted, (32u << 20) / CONSENSUS_ENTRY_MAX);
    world_end();

    /* And the largest goes through. */
    first = quiet();
    assert_int_equal(consensus_submit(first->consensus, big, CONSENSUS_ENTRY_MAX, world.now, &index), 0);
    assert_int_equal(consensus_submit(first->consensus, big, CONSENSUS_ENTRY_MAX, world.now, &index), 0);
    settle(2000);
    assert_int_equal(world.agreed, index);
    free(big);
    world_end();
}

static void test_bad_frames(void **state)
{
    struct node *node = quiet();
    struct raft_message message = {.type = RAFT_REQUEST_VOTE};
    struct consensus_stats before, after;
    uint8_t frame[64];

    message.request_vote = (struct raft_request_vote){
        .version = 2, .term = 1000, .candidate_id = FIRST_ID + 4, .last_log_index = 1, .last_log_term = 1, .disrupt_leader = true};
    size_t len = raft_message_size(&message, NULL);
    raft_message_encode(&message, NULL, frame);
    uint64_t term = consensus_term(node->consensus);
    consensus_stats(node->consensus, &before);
    assert_int_equal(consensus_receive(node->consensus, FIRST_ID + 1, "nonsense", 8, world.now), -EBADMSG);
    assert_int_equal(consensus_receive(node->consensus, FIRST_ID + 1, frame, len - 1, world.now), -EBADMSG);
    /* from a stranger, from nobody, from itself, in another's name */
    world.closed = true;
    assert_int_equal(consensus_receive(node->consensus, FIRST_ID + 4, frame, len, world.now), 0);
    assert_int_equal(consensus_receive(node->consensus, 0, frame, len, world.now), 0);
    assert_int_equal(consensus_receive(node->consensus, node->id, frame, len, world.now), 0);
    assert_int_equal(consensus_receive(node->consensus, other_than(node, NULL)->id, frame, len, world.now), 0);
    consensus_stats(node->consensus, &after);
    assert_int_equal(after.malformed - before.malformed, 2);
    crash(other_than(node, NULL));
    crash(other_than(node, other_than(node, NULL)));
    world.malformed = 2;
    assert_int_equal(after.strangers - before.strangers, 3);
    assert_int_equal(after.impossible - before.impossible, 1);
    assert_int_equal(consensus_term(node->consensus), term);
    assert_true(consensus_is_leader(node->consensus));
    world_end();
}

/* What a leader of old sends is refused with the term in force, and with nothing that could be taken for an
 * acknowledgement. */
static void test_old_leader(void **state)
{
    struct node *node = quiet();
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES};
    uint8_t frame[64];

    struct node *follower = other_than(node, NULL), *sender = other_than(node, follower);
    isolate(follower, true);
    while (world.n > 0) {
        free(pop().frame);
    }
    isolate(follower, false);
    message.append_entries.term = consensus_term(node->consensus) - 1;
    size_t len = raft_message_size(&message, NULL);
    raft_message_encode(&message, NULL, frame);
    assert_int_equal(consensus_receive(follower->consensus, sender->id, frame, len, world.now), 0);
    assert_int_equal(world.n, 1);
    struct event reply = pop();
    struct raft_buffer configuration;
    struct raft_message result;
    static struct raft_entry entries[RAFT_MESSAGE_ENTRIES_MAX];
    assert_int_equal(reply.to, place(sender->id));
    assert_int_equal(raft_message_decode(reply.frame, reply.len, entries, &result, &configuration), 0);
    assert_int_equal(result.type, RAFT_APPEND_ENTRIES_RESULT);
    assert_int_equal(result.append_entries_result.term, consensus_term(node->consensus));
    assert_true(result.append_entries_result.rejected > 0);
    assert_int_equal(result.append_entries_result.last_log_index, 0);
    free(reply.frame);
    world_end();
}

static void test_options(void **state)
{
    struct consensus_options good = {.id = 1, .address = "a", .election_ms = 100, .heartbeat_ms = 10}, options = good;
    struct consensus *c = NULL;
    struct consensus_server server = {.id = 1, .address = "a", .role = CONSENSUS_STANDBY};
    void *data = NULL;
    size_t len = 5;

    options.id = 0;
    assert_int_equal(consensus_new(&options, &ops, NULL, &c), -EINVAL);
    options = good;
    options.address = NULL;
    assert_int_equal(consensus_new(&options, &ops, NULL, &c), -EINVAL);
    options = good;
    options.heartbeat_ms = 100;
    assert_int_equal(consensus_new(&options, &ops, NULL, &c), -EINVAL);
    options = good;
    options.election_ms = 9;
    assert_int_equal(consensus_new(&options, &ops, NULL, &c), -EINVAL);
    assert_null(c);
    assert_int_equal(consensus_founding(&server, 1, &data, &len), -EINVAL); /* no voter */
    server.role = 9;
    assert_int_equal(consensus_founding(&server, 1, &data, &len), -EINVAL);
    server = (struct consensus_server){.id = 0, .address = "a", .role = CONSENSUS_VOTER};
    assert_int_equal(consensus_founding(&server, 1, &data, &len), -EINVAL);
    struct consensus_server twice[2] = {{1, "a", CONSENSUS_VOTER}, {1, "b", CONSENSUS_VOTER}};
    assert_int_equal(consensus_founding(twice, 2, &data, &len), -EINVAL);
    assert_int_equal(consensus_founding(twice, 0, &data, &len), -EINVAL);
    assert_null(data);
    assert_int_equal(len, 5);
    consensus_free(NULL);
}

static void ignore_apply(void *ud, uint64_t index, uint64_t term, const void *data, size_t len)
{
}

static void ignore_skip(void *ud, uint64_t index, uint64_t term)
{
}

static void ignore_configured(void *ud, uint64_t index, uint64_t term, const struct consensus_server *servers, unsigned n)
{
}

static int start_with(const struct consensus_state *state)
{
    struct consensus_options options = {.id = FIRST_ID, .address = "a", .election_ms = 100, .heartbeat_ms = 10};
    struct consensus_ops deaf = ops;
    struct node node = {.id = FIRST_ID};
    struct consensus *c;

    deaf.apply = ignore_apply;
    deaf.skip = ignore_skip;
    deaf.configured = ignore_configured;
    assert_int_equal(consensus_new(&options, &deaf, &node, &c), 0);
    node.consensus = c;
    int r = consensus_start(c, state, 0);
    assert_false(node.dead);
    consensus_free(c);
    return r;
}

static void test_bad_state(void **state)
{
    struct consensus_server server = {.id = FIRST_ID, .address = "a", .role = CONSENSUS_STANDBY};
    struct consensus_server voter = {.id = FIRST_ID + 1, .address = "b", .role = CONSENSUS_VOTER};
    struct consensus_server servers[] = {server, voter};
    void *data;
    size_t len;

    assert_int_equal(consensus_founding(servers, 2, &data, &len), 0);
    struct consensus_entry entries[3] = {{1, 1, CONSENSUS_CHANGE, data, len}, {2, 1, CONSENSUS_COMMAND, "x", 1},
                                         {3, 2, CONSENSUS_COMMAND, "y", 1}};
    struct consensus_state good = {.term = 2, .entries = entries, .n_entries = 3}, bad = {0};
    assert_int_equal(start_with(&good), 0);
    assert_int_equal(start_with(&bad), 0); /* nothing yet */
    bad.vote = 3;
    assert_int_equal(start_with(&bad), -EBADMSG);
    bad = good;
    bad.term = 1; /* older than its log */
    assert_int_equal(start_with(&bad), -EBADMSG);
    bad = good;
    bad.entries = entries + 1; /* no beginning */
    bad.n_entries = 2;
    assert_int_equal(start_with(&bad), -EBADMSG);
    entries[2].index = 4; /* a gap */
    assert_int_equal(start_with(&good), -EBADMSG);
    entries[2].index = 3;
    entries[1].term = 3; /* terms that fall */
    bad = good;
    bad.term = 3;
    assert_int_equal(start_with(&bad), -EBADMSG);
    entries[1].term = 1;
    entries[0].len--; /* half a configuration */
    entries[0].len -= 8;
    assert_int_equal(start_with(&good), -EBADMSG);
    entries[0].len = len;

    struct consensus_snapshot snapshot = {.index = 5, .term = 2, .configuration_index = 1, .configuration = data,
                                          .configuration_len = len};
    bad = good;
    bad.snapshot = &snapshot; /* the log does not reach it */
    assert_int_equal(start_with(&bad), -EBADMSG);
    snapshot.configuration_index = 6;
    bad.n_entries = 0;
    assert_int_equal(start_with(&bad), -EBADMSG);
    free(data);
}

static uint64_t schedules = 200, first_seed = 1;

static void test_schedules(void **state)
{
    uint64_t taken = 0, installed = 0, elections = 0, crashes = 0, applied = 0, configured = 0, elected = 0,
             impossible = 0;

    for (uint64_t i = 0; i < schedules; i++) {
        schedule(first_seed + i, 8000);
        world_end();
        taken += world.taken;
        installed += world.installed;
        elections += world.elections;
        crashes += world.crashes;
        applied += world.applied;
        configured += world.configured;
        elected += world.elected;
        impossible += world.impossible;
    }
    print_message("%llu schedules: %llu applied, %llu elections, %llu crashes, %llu snapshots taken, %llu installed, "
                  "%llu configurations, %llu elected out of turn, %llu messages dropped as impossible\n",
                  (unsigned long long)schedules, (unsigned long long)applied, (unsigned long long)elections,
                  (unsigned long long)crashes, (unsigned long long)taken, (unsigned long long)installed,
                  (unsigned long long)configured, (unsigned long long)elected, (unsigned long long)impossible);
    /* A run in which these did not happen has tested nothing. */
    assert_true(taken > schedules && installed > schedules / 4 && elections > schedules && crashes > schedules);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_options, clean_up),
        cmocka_unit_test_teardown(test_bad_state, clean_up),
        cmocka_unit_test_teardown(test_elect, clean_up),
        cmocka_unit_test_teardown(test_elect_without_leader, clean_up),
        cmocka_unit_test_teardown(test_commit_is_told, clean_up),
        cmocka_unit_test_teardown(test_transfer, clean_up),
        cmocka_unit_test_teardown(test_one_voter, clean_up),
        cmocka_unit_test_teardown(test_one_voter_again, clean_up),
        cmocka_unit_test_teardown(test_demoted_and_the_only_one, clean_up),
        cmocka_unit_test_teardown(test_far_behind, clean_up),
        cmocka_unit_test_teardown(test_truncation_is_told, clean_up),
        cmocka_unit_test_teardown(test_joins, clean_up),
        cmocka_unit_test_teardown(test_standby_is_spared, clean_up),
        cmocka_unit_test_teardown(test_commit_after_absence, clean_up),
        cmocka_unit_test_teardown(test_failing_disk, clean_up),
        cmocka_unit_test_teardown(test_full, clean_up),
        cmocka_unit_test_teardown(test_bad_frames, clean_up),
        cmocka_unit_test_teardown(test_old_leader, clean_up),
        cmocka_unit_test_teardown(test_schedules, clean_up),
    };

    if (argc > 2) {
        schedules = strtoull(argv[1], NULL, 10);
        first_seed = strtoull(argv[2], NULL, 10);
    }
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    free(world.heap);
    return r;
}
