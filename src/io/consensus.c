#include "io/consensus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/consensus_private.h"

_Static_assert(CONSENSUS_ENTRY_MAX == RAFT_MESSAGE_ENTRY_MAX, "an entry fits into a message");
_Static_assert(CONSENSUS_SNAPSHOT_MAX <= RAFT_MESSAGE_SNAPSHOT_MAX, "a snapshot fits into a message");
_Static_assert(CONSENSUS_SERVERS_MAX == RAFT_MESSAGE_SERVERS_MAX, "a configuration fits into a message");
_Static_assert(CONSENSUS_ADDRESS_MAX == RAFT_MESSAGE_ADDRESS_MAX, "an address fits into a message");

/* ------------------------------------------------------------------ beginning and end */

static void fill_options(struct consensus_options *options)
{
    uint32_t *numbers[] = {&options->install_ms, &options->snapshot_entries, &options->trailing_entries,
                           &options->pending_entries};
    static const uint32_t default_numbers[] = {5000, 4096, 1024, 4096};
    size_t *bytes[] = {&options->snapshot_bytes, &options->trailing_bytes, &options->pending_bytes,
                       &options->held_bytes};
    static const size_t default_bytes[] = {8u << 20, 4u << 20, 32u << 20, 16u << 20};

    for (size_t i = 0; i < 4; i++) {
        *numbers[i] = *numbers[i] == 0 ? default_numbers[i] : *numbers[i];
        *bytes[i] = *bytes[i] == 0 ? default_bytes[i] : *bytes[i];
    }
}

int consensus_new(const struct consensus_options *options, const struct consensus_ops *ops, void *ud,
                  struct consensus **ret)
{
    if (options->id == 0 || options->address == NULL || strlen(options->address) > CONSENSUS_ADDRESS_MAX ||
        options->election_ms < 10 || options->election_ms > 600000 || options->heartbeat_ms == 0 ||
        options->heartbeat_ms >= options->election_ms) {
        return -EINVAL;
    }
    struct consensus *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return -ENOMEM;
    }
    if (raft_init(&c->raft, NULL, NULL, options->id, options->address) != 0) {
        free(c);
        return -ENOMEM;
    }
    c->options = *options;
    c->options.address = NULL; /* the library has its copy */
    fill_options(&c->options);
    c->ops = ops;
    c->ud = ud;
    consensus_log_init(&c->log, 1);
    c->raft.tracer = NULL;
    raft_seed(&c->raft, options->seed);
    raft_set_election_timeout(&c->raft, options->election_ms);
    raft_set_heartbeat_timeout(&c->raft, options->heartbeat_ms);
    raft_set_install_snapshot_timeout(&c->raft, c->options.install_ms);
    raft_set_pre_vote(&c->raft, true);
    raft_set_max_inflight_entries(&c->raft, INFLIGHT_ENTRIES);
    *ret = c;
    return 0;
}

void consensus_free(struct consensus *c)
{
    if (c == NULL) {
        return;
    }
    if (c->pumping) {
        abort(); /* from within a callback */
    }
    raft_close(&c->raft, NULL);
    while (c->works != NULL) {
        struct consensus_work *work = c->works;
        c->works = work->next;
        consensus_work_free(work);
    }
    consensus_letters_free(c);
    consensus_image_free(c->snapshot);
    consensus_log_close(&c->log);
    free(c->configuration);
    free(c);
}

/* What the library takes for granted of its disk. */
static int check_state(const struct consensus_state *state)
{
    const struct consensus_snapshot *snapshot = state->snapshot;
    uint64_t index = snapshot == NULL ? 0 : snapshot->index;
    uint64_t term = 0;

    if (state->term == 0 && (state->vote != 0 || snapshot != NULL || state->n_entries > 0)) {
        return -EBADMSG;
    }
    if (snapshot != NULL &&
        (index == 0 || snapshot->term == 0 || snapshot->term > state->term || snapshot->configuration_index == 0 ||
         snapshot->configuration_index > index ||
         raft_message_check_configuration(snapshot->configuration, snapshot->configuration_len) < 0)) {
        return -EBADMSG;
    }
    for (size_t i = 0; i < state->n_entries; i++) {
        const struct consensus_entry *entry = &state->entries[i];
        if (entry->index != state->entries[0].index + i || entry->term < term || entry->term == 0 ||
            entry->term > state->term || entry->len > CONSENSUS_ENTRY_MAX) {
            return -EBADMSG;
        }
        if (entry->type == CONSENSUS_CHANGE && raft_message_check_configuration(entry->data, entry->len) < 0) {
            return -EBADMSG;
        }
        term = entry->term;
    }
    if (state->n_entries == 0) {
        return 0;
    }
    uint64_t first = state->entries[0].index;
    bool founded = snapshot != NULL || state->entries[0].type == CONSENSUS_CHANGE;
    return first == 0 || first > index + 1 || first + state->n_entries - 1 < index || !founded ? -EBADMSG : 0;
}

static int load_log(struct consensus *c, const struct consensus_state *state)
{
    uint64_t first = state->n_entries > 0       ? state->entries[0].index
                     : state->snapshot != NULL ? state->snapshot->index + 1
                                               : 1;
    consensus_log_reset(&c->log, first);
    for (size_t i = 0; i < state->n_entries; i++) {
        const struct consensus_entry *entry = &state->entries[i];
        int r = consensus_log_append(&c->log, entry->term, entry->type, entry->data, entry->len, 0);
        if (r < 0) {
            return r;
        }
    }
    c->disk_index = consensus_log_last(&c->log);
    c->disk_term = state->n_entries > 0       ? state->entries[state->n_entries - 1].term
                   : state->snapshot != NULL ? state->snapshot->term
                                             : 0;
    c->disk_news = true;
    return 0;
}

static int load_snapshot(struct consensus *c, const struct consensus_snapshot *snapshot,
                         struct raft_snapshot_metadata *ret)
{
    void *data = malloc(snapshot->len + 1);

    if (data == NULL) {
        return -ENOMEM;
    }
    if (snapshot->len > 0) {
        memcpy(data, snapshot->data, snapshot->len);
    }
    int r = consensus_image_new(snapshot, data, &c->snapshot);
    if (r < 0) {
        free(data);
        return r;
    }
    r = consensus_configuration_set(c, snapshot->configuration_index, snapshot->configuration,
                                    snapshot->configuration_len);
    if (r < 0) {
        return r;
    }
    ret->index = snapshot->index;
    ret->term = snapshot->term;
    ret->configuration_index = snapshot->configuration_index;
    c->restore_due = true;
    c->applied = snapshot->index;
    return consensus_decode(snapshot->configuration, snapshot->configuration_len, &ret->configuration);
}

/* The configuration that is in force at the start: the newest that is on disk, committed or not. */
static int newest_configuration(const struct consensus_state *state, struct raft_configuration *ret)
{
    for (size_t i = state->n_entries; i > 0; i--) {
        const struct consensus_entry *entry = &state->entries[i - 1];
        if (entry->type == CONSENSUS_CHANGE) {
            return consensus_decode(entry->data, entry->len, ret);
        }
    }
    if (state->snapshot != NULL) {
        return consensus_decode(state->snapshot->configuration, state->snapshot->configuration_len, ret);
    }
    raft_configuration_init(ret);
    return 0;
}

/* The library makes the only voter the leader as it starts, in the term that is on disk. But in that term it may have
 * led before it went down, and sent entries to standbys that never came to its own disk: others at their indexes, of the same term,
 * would be taken for the same. So its start is a new term, on disk before anybody hears of it. 1: it was; 0; -errno. */
static int begin_only_voter(struct consensus *c, const struct consensus_state *state)
{
    struct raft_configuration configuration;
    unsigned voters = 0;
    bool self = false;
    int r = newest_configuration(state, &configuration);

    if (r < 0) {
        return r;
    }
    for (unsigned i = 0; i < configuration.n; i++) {
        bool votes = configuration.servers[i].role == RAFT_VOTER;
        voters += votes;
        self = self || (votes && configuration.servers[i].id == c->options.id);
    }
    raft_configuration_close(&configuration);
    if (!self || voters != 1) {
        return 0;
    }
    struct consensus_work *work = consensus_work_new(c);
    if (work == NULL) {
        return -ENOMEM;
    }
    work->job.set_vote = true;
    work->job.term = state->term + 1;
    work->job.vote = c->options.id;
    c->held_job = work->job.number;
    return 1;
}

/* The library looks at the entries during the call only, and at the data of configurations only; on an error it frees
 * array and batch. */
static int start_library(struct consensus *c, const struct consensus_state *state, bool new_term,
                         struct raft_snapshot_metadata *metadata)
{
    struct raft_event event = {.type = RAFT_START};
    struct raft_entry *entries = NULL;

    if (state->n_entries > 0) {
        entries = raft_calloc(state->n_entries, sizeof *entries);
        void *batch = raft_malloc(1);
        if (entries == NULL || batch == NULL) {
            raft_free(entries);
            raft_free(batch);
            return -ENOMEM;
        }
        for (size_t i = 0; i < state->n_entries; i++) {
            const struct consensus_slot *slot = consensus_log_get(&c->log, state->entries[i].index);
            entries[i] = (struct raft_entry){.term = slot->term,
                                             .type = (enum raft_entry_type)slot->type,
                                             .buf = {.base = slot->blob->data, .len = slot->blob->len},
                                             .batch = batch};
        }
    }
    event.start.term = state->term + new_term;
    event.start.voted_for = new_term ? c->options.id : state->vote;
    event.start.metadata = metadata;
    event.start.start_index = c->log.first;
    event.start.entries = entries;
    event.start.n_entries = (unsigned)state->n_entries;
    int r = consensus_step_or_die(c, &event, "start");
    if (r == 0 && entries != NULL) {
        raft_free(entries[0].batch);
        raft_free(entries);
    }
    return r;
}

int consensus_start(struct consensus *c, const struct consensus_state *state, uint64_t now_ms)
{
    struct raft_snapshot_metadata metadata = {0};

    if (c->started) {
        abort();
    }
    int r = check_state(state);
    if (r < 0) {
        return r;
    }
    c->now_ms = now_ms;
    r = load_log(c, state);
    if (r == 0 && state->snapshot != NULL) {
        r = load_snapshot(c, state->snapshot, &metadata);
    }
    if (r == 0) {
        r = begin_only_voter(c, state);
    }
    if (r >= 0) {
        r = start_library(c, state, r > 0, state->snapshot != NULL ? &metadata : NULL);
    }
    if (r < 0) {
        return r;
    }
    c->started = true;
    return consensus_pump(c);
}

/* ------------------------------------------------------------------ time */

bool consensus_begin(struct consensus *c, uint64_t now_ms)
{
    if (!c->started) {
        abort(); /* consensus_start() first */
    }
    c->now_ms = now_ms > c->now_ms ? now_ms : c->now_ms;
    return !c->dead;
}

uint64_t consensus_timeout_ms(const struct consensus *c)
{
    uint64_t due = raft_timeout(&c->raft);

    return due > c->not_before_ms ? due : c->not_before_ms;
}

int consensus_tick(struct consensus *c, uint64_t now_ms)
{
    struct raft_event event = {.type = RAFT_TIMEOUT};

    if (!consensus_begin(c, now_ms)) {
        return -EIO;
    }
    if (c->now_ms < consensus_timeout_ms(c)) {
        return 0;
    }
    consensus_forget_leader(c);
    if (consensus_answer_again(c) < 0) {
        return -EIO;
    }
    c->ticking = true;
    int r = consensus_step_or_die(c, &event, "timeout");
    c->ticking = false;
    if (r < 0) {
        return -EIO;
    }
    /* A server that has become a spare gets no heartbeats, but the library goes on counting when its next would be due:
     * without a floor that is a timer which is always due. */
    uint64_t floor = c->options.heartbeat_ms / 4 > 0 ? c->options.heartbeat_ms / 4 : 1;
    c->not_before_ms = raft_timeout(&c->raft) <= c->now_ms ? c->now_ms + floor : 0;
    return consensus_pump(c);
}

/* ------------------------------------------------------------------ wishes */

static bool is_full(const struct consensus *c, size_t len)
{
    uint64_t commit = raft_commit_index(&c->raft);
    uint64_t done = commit < c->raft.last_stored ? commit : c->raft.last_stored;

    return consensus_log_last(&c->log) - done >= c->options.pending_entries ||
           consensus_log_bytes_above(&c->log, done) + len > c->options.pending_bytes;
}

int consensus_submit(struct consensus *c, const void *data, size_t len, uint64_t now_ms, uint64_t *ret_index)
{
    if (!consensus_begin(c, now_ms)) {
        return -EIO;
    }
    if (len > CONSENSUS_ENTRY_MAX) {
        return -EMSGSIZE;
    }
    if (c->raft.state != RAFT_LEADER) {
        return CONSENSUS_NOT_LEADER;
    }
    if (c->barrier_due || is_full(c, len)) {
        return CONSENSUS_BUSY;
    }
    int rv = consensus_append(c, RAFT_COMMAND, data, len);
    if (rv != 0) {
        return rv == RAFT_NOTLEADER ? CONSENSUS_NOT_LEADER : -ENOMEM;
    }
    *ret_index = consensus_log_last(&c->log);
    return consensus_pump(c);
}

int consensus_set_times(struct consensus *c, uint32_t election_ms, uint32_t heartbeat_ms)
{
    if (election_ms < 10 || election_ms > 600000 || heartbeat_ms == 0 || heartbeat_ms >= election_ms) {
        return -EINVAL;
    }
    c->options.election_ms = election_ms;
    c->options.heartbeat_ms = heartbeat_ms;
    raft_set_election_timeout(&c->raft, election_ms);
    raft_set_heartbeat_timeout(&c->raft, heartbeat_ms);
    return 0;
}

int consensus_transfer(struct consensus *c, uint64_t to, uint64_t now_ms)
{
    struct raft_event event = {.type = RAFT_TRANSFER};

    if (!consensus_begin(c, now_ms)) {
        return -EIO;
    }
    event.transfer.server_id = to;
    int rv = consensus_step(c, &event);
    if (rv == RAFT_NOTLEADER) {
        return CONSENSUS_NOT_LEADER;
    }
    if (rv == RAFT_NOTFOUND || rv == RAFT_BADID) {
        return CONSENSUS_NO_SUCH_SERVER;
    }
    return rv != 0 ? -ENOMEM : consensus_pump(c);
}

int consensus_elect(struct consensus *c, uint64_t now_ms)
{
    struct raft_message message = {.type = RAFT_TIMEOUT_NOW};
    uint64_t last = consensus_log_last(&c->log);

    if (!consensus_begin(c, now_ms)) {
        return -EIO;
    }
    if (c->raft.state != RAFT_FOLLOWER || raft_role(&c->raft) != RAFT_VOTER || c->raft.snapshot.installing ||
        c->raft.last_stored < last) {
        return CONSENSUS_BEHIND;
    }
    if (consensus_leader(c) == 0) {
        return CONSENSUS_NO_LEADER;
    }
    message.server_id = consensus_leader(c);
    message.server_address = "";
    message.timeout_now = (struct raft_timeout_now){
        .term = raft_current_term(&c->raft), .last_log_index = last, .last_log_term = consensus_term_of(c, last)};
    int r = consensus_step_message(c, &message, NULL);
    return r < 0 ? r : consensus_pump(c);
}

/* ------------------------------------------------------------------ what is */

bool consensus_is_leader(const struct consensus *c)
{
    return c->raft.state == RAFT_LEADER;
}

uint64_t consensus_leader(const struct consensus *c)
{
    if (c->raft.state == RAFT_LEADER) {
        return c->raft.id;
    }
    return c->raft.state == RAFT_FOLLOWER ? c->raft.follower_state.current_leader.id : 0;
}

uint64_t consensus_term(const struct consensus *c)
{
    return raft_current_term(&c->raft);
}

uint64_t consensus_commit(const struct consensus *c)
{
    return raft_commit_index(&c->raft);
}

uint64_t consensus_applied(const struct consensus *c)
{
    return c->applied;
}

uint64_t consensus_last_index(const struct consensus *c)
{
    return consensus_log_last(&c->log);
}

uint64_t consensus_disk_index(const struct consensus *c)
{
    return c->disk_index;
}

uint64_t consensus_writing_since_ms(const struct consensus *c)
{
    return c->works == NULL || c->works == c->works_due ? 0 : c->works->since_ms;
}

uint64_t consensus_snapshot_index(const struct consensus *c)
{
    return c->snapshot == NULL ? 0 : c->snapshot->snapshot.index;
}

uint64_t consensus_barrier(const struct consensus *c)
{
    return c->barrier;
}

uint64_t consensus_match(const struct consensus *c, uint64_t id)
{
    raft_index match = 0;

    return raft_match_index(&c->raft, id, &match) == 0 ? match : 0;
}

void consensus_stats(const struct consensus *c, struct consensus_stats *ret)
{
    *ret = c->stats;
}
