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

/* The library looks at the entries during the call only, and at the data of configurations only; on an error it frees
 * array and batch. */
static int start_library(struct consensus *c, const struct consensus_state *state,
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
    event.start.term = state->term;
    event.start.voted_for = state->vote;
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
        r = start_library(c, state, state->snapshot != NULL ? &metadata : NULL);
    }
    if (r < 0) {
        return r;
    }
    c->started = true;
    return consensus_pump(c);
}

/* ------------------------------------------------------------------ time */

static bool begin(struct consensus *c, uint64_t now_ms)
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

    if (!begin(c, now_ms)) {
        return -EIO;
    }
    if (c->now_ms < consensus_timeout_ms(c)) {
        return 0;
    }
    if (consensus_step_or_die(c, &event, "timeout") < 0) {
        return -EIO;
    }
    /* A server that has become a spare gets no heartbeats, but the library goes on counting when its next would be due:
     * without a floor that is a timer which is always due. */
    uint64_t floor = c->options.heartbeat_ms / 4 > 0 ? c->options.heartbeat_ms / 4 : 1;
    c->not_before_ms = raft_timeout(&c->raft) <= c->now_ms ? c->now_ms + floor : 0;
    return consensus_pump(c);
}

/* ------------------------------------------------------------------ receiving */

static bool is_stranger(const struct consensus *c, uint64_t from)
{
    if (c->raft.configuration.n == 0 || consensus_server(c, from) != NULL) {
        return false;
    }
    return c->ops->known == NULL || !c->ops->known(c->ud, from);
}

/* What no sound peer sends, or what is so late that it means nothing any more, and what the library would answer with an
 * assertion, a leak, or (its assertions are compiled out in the distribution) a log in disorder. */
static bool is_impossible(const struct consensus *c, uint64_t from, const struct raft_message *message)
{
    raft_index match = 0;
    bool leads = c->raft.state == RAFT_LEADER;

    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        /* A second leader of the term. */
        return leads && message->append_entries.term == raft_current_term(&c->raft);
    case RAFT_INSTALL_SNAPSHOT:
        /* While one is being installed the library neither takes nor frees a second. */
        return (leads && message->install_snapshot.term == raft_current_term(&c->raft)) ||
               c->raft.snapshot.installing;
    case RAFT_APPEND_ENTRIES_RESULT:
        /* A rejection below what the server has acknowledged is older than the acknowledgement. */
        return message->append_entries_result.rejected > 0 && leads &&
               message->append_entries_result.term == raft_current_term(&c->raft) &&
               raft_match_index(&c->raft, from, &match) == 0 &&
               (message->append_entries_result.last_log_index < match ||
                message->append_entries_result.rejected <= match);
    case RAFT_REQUEST_VOTE:
        return message->request_vote.candidate_id != from;
    case RAFT_REQUEST_VOTE_RESULT:
        return message->request_vote_result.pre_vote && message->request_vote_result.vote_granted &&
               message->request_vote_result.term > raft_current_term(&c->raft) + 1;
    case RAFT_TIMEOUT_NOW:
    default:
        return false;
    }
}

static raft_term leader_term(const struct raft_message *message)
{
    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        return message->append_entries.term;
    case RAFT_INSTALL_SNAPSHOT:
        return message->install_snapshot.term;
    case RAFT_APPEND_ENTRIES_RESULT:
    case RAFT_REQUEST_VOTE:
    case RAFT_REQUEST_VOTE_RESULT:
    case RAFT_TIMEOUT_NOW:
    default:
        return 0;
    }
}

/* Tells the leader of an old term that there is a newer one. The library would, too, but with an index out of
 * uninitialised memory, which a leader that has come back in that newer term takes for an acknowledgement. */
static void refuse(struct consensus *c, uint64_t to)
{
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES_RESULT, .server_id = to};

    message.append_entries_result.term = raft_current_term(&c->raft);
    message.append_entries_result.rejected = 1;
    message.append_entries_result.capacity = CAPACITY;
    consensus_post(c, &message);
}

/* Entries that begin before what is left of the log here: up to the snapshot all is committed, so it is the leader's, too,
 * and the message is taken to begin behind it. The library would refuse for ever when the leader missed the
 * acknowledgements, and append entries that begin at index 1 at the end of the log. */
static void skip_compacted(const struct consensus *c, struct raft_append_entries *append)
{
    uint64_t first = append->prev_log_index + 1;
    uint64_t index = consensus_snapshot_index(c);

    if (c->raft.snapshot.installing || first >= c->log.first || append->prev_log_index >= index) {
        return;
    }
    uint64_t skip = index - append->prev_log_index;
    if (skip >= append->n_entries) {
        append->n_entries = 0;
        append->entries = NULL;
    } else {
        append->n_entries -= (unsigned)skip;
        append->entries += skip;
    }
    append->prev_log_index = index;
    append->prev_log_term = c->snapshot->snapshot.term;
}

/* The library wants the entries of a message in one piece of memory, which it then owns. */
static int own_entries(struct raft_append_entries *append)
{
    size_t size = 8;

    for (unsigned i = 0; i < append->n_entries; i++) {
        size += raft_message_pad(append->entries[i].buf.len);
    }
    uint8_t *batch = raft_malloc(size);
    if (batch == NULL) {
        return -ENOMEM;
    }
    uint8_t *at = batch;
    for (unsigned i = 0; i < append->n_entries; i++) {
        struct raft_entry *entry = &append->entries[i];
        if (entry->buf.len > 0) {
            memcpy(at, entry->buf.base, entry->buf.len);
        }
        entry->buf.base = at;
        entry->batch = batch;
        at += raft_message_pad(entry->buf.len);
    }
    return 0;
}

static int own_snapshot(struct raft_install_snapshot *install, const struct raft_buffer *configuration)
{
    void *data = raft_malloc(install->data.len + 1);

    if (data == NULL) {
        return -ENOMEM;
    }
    int r = consensus_decode(configuration->base, configuration->len, &install->conf);
    if (r < 0) {
        raft_free(data);
        return r;
    }
    if (install->data.len > 0) {
        memcpy(data, install->data.base, install->data.len);
    }
    install->data.base = data;
    return 0;
}

/* Ownership: on success the library has freed entries or snapshot, or has given them back in the update. On an error,
 * which is fatal, it has freed the entries in all cases but one (no memory for the leader's address). */
static int step_message(struct consensus *c, struct raft_message *message, const struct raft_buffer *configuration)
{
    struct raft_event event = {.type = RAFT_RECEIVE};
    int r = 0;

    if (message->type == RAFT_APPEND_ENTRIES && message->append_entries.n_entries > 0) {
        r = own_entries(&message->append_entries);
    } else if (message->type == RAFT_INSTALL_SNAPSHOT) {
        r = own_snapshot(&message->install_snapshot, configuration);
    }
    if (r < 0) {
        return r;
    }
    event.receive.message = message;
    return consensus_step_or_die(c, &event, "a message was received");
}

/* A server votes when it is asked, whatever it takes itself for: it may lag and not know yet that it is a voter, and its
 * vote be needed (Raft, dissertation 4.1). The library asks its own configuration, so that has to say "voter" for the
 * time of the question; whether the vote counts is for the candidate's configuration. */
static int step_vote(struct consensus *c, struct raft_message *message)
{
    struct raft_event event = {.type = RAFT_RECEIVE, .receive.message = message};
    struct raft_server *self = (struct raft_server *)(uintptr_t)consensus_server(c, c->raft.id);
    int role = self == NULL ? RAFT_VOTER : self->role;

    if (role != RAFT_VOTER) {
        self->role = RAFT_VOTER;
    }
    int r = consensus_step_or_die(c, &event, "a vote was asked for");
    if (role != RAFT_VOTER) {
        self->role = role;
    }
    return r;
}

int consensus_receive(struct consensus *c, uint64_t from, const void *frame, size_t len, uint64_t now_ms)
{
    struct raft_message message;
    struct raft_buffer configuration;

    if (!begin(c, now_ms)) {
        return -EIO;
    }
    c->stats.received++;
    if (from == 0 || from == c->raft.id || is_stranger(c, from)) {
        c->stats.strangers++;
        return 0;
    }
    int r = raft_message_decode(frame, len, c->scratch, &message, &configuration);
    if (r < 0) {
        c->stats.malformed++;
        return r;
    }
    if (is_impossible(c, from, &message)) {
        c->stats.impossible++;
        return 0;
    }
    if (leader_term(&message) != 0 && leader_term(&message) < raft_current_term(&c->raft)) {
        refuse(c, from);
        return consensus_pump(c);
    }
    if (message.type == RAFT_APPEND_ENTRIES) {
        skip_compacted(c, &message.append_entries);
    }
    /* The address is a copy, for the configuration may be replaced while the library still compares it. */
    char address[CONSENSUS_ADDRESS_MAX + 1] = "";
    const struct raft_server *server = consensus_server(c, from);
    if (server != NULL) {
        strncpy(address, server->address, CONSENSUS_ADDRESS_MAX);
    }
    message.server_id = from;
    message.server_address = address;
    r = message.type == RAFT_REQUEST_VOTE ? step_vote(c, &message) : step_message(c, &message, &configuration);
    return r < 0 ? r : consensus_pump(c);
}

void consensus_disconnected(struct consensus *c, uint64_t id)
{
    for (size_t i = 0; i < CONSENSUS_SERVERS_MAX; i++) {
        if (c->followers[i].id == id) {
            c->followers[i].install_ms = 0;
        }
    }
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
    if (!begin(c, now_ms)) {
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

int consensus_transfer(struct consensus *c, uint64_t to, uint64_t now_ms)
{
    struct raft_event event = {.type = RAFT_TRANSFER};

    if (!begin(c, now_ms)) {
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

    if (!begin(c, now_ms)) {
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
    int r = step_message(c, &message, NULL);
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
