#include "io/consensus_private.h"

#include <errno.h>
#include <string.h>

/* Messages on their way in. The library takes its peers at their word, and its assertions are compiled out: what it would
 * trip over is held back here, what it answers wrongly is answered here. */

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
    uint64_t index = consensus_snapshot_index(c);

    if (c->raft.snapshot.installing || append->prev_log_index >= c->log.first || append->prev_log_index >= index) {
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
int consensus_step_message(struct consensus *c, struct raft_message *message, const struct raft_buffer *configuration)
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

/* A voter forgets its leader when it stands for election. One that takes itself for a standby or a spare never does, and
 * as long as it believes in a leader it refuses whoever else asks for its vote. */
void consensus_forget_leader(struct consensus *c)
{
    if (c->raft.state != RAFT_FOLLOWER || raft_role(&c->raft) == RAFT_VOTER ||
        c->now_ms - c->heard_ms < c->options.election_ms) {
        return;
    }
    raft_free(c->raft.follower_state.current_leader.address);
    c->raft.follower_state.current_leader.address = NULL;
    c->raft.follower_state.current_leader.id = 0;
}

/* A server votes when it is asked, whatever it takes itself for: it may lag and not know yet that it is a voter, and its
 * vote be needed (Raft, dissertation 4.1). The library asks its own configuration, so that has to say "voter" for the
 * time of the question; whether the vote counts is for the candidate's configuration. */
static int step_vote(struct consensus *c, struct raft_message *message)
{
    struct raft_event event = {.type = RAFT_RECEIVE, .receive.message = message};
    struct raft_server *self = (struct raft_server *)(uintptr_t)consensus_server(c, c->raft.id);
    int role = self == NULL ? RAFT_VOTER : self->role;

    consensus_forget_leader(c);
    if (role != RAFT_VOTER) {
        self->role = RAFT_VOTER;
    }
    int r = consensus_step_or_die(c, &event, "a vote was asked for");
    if (role != RAFT_VOTER) {
        self->role = role;
    }
    return r;
}

/* A leader sends what it has without waiting; what a disk that hangs does not take must not pile up here. */
static bool disk_is_behind(const struct consensus *c)
{
    return c->job_number - c->job_done >= CONSENSUS_JOBS_MAX ||
           consensus_log_bytes_above(&c->log, c->raft.last_stored) > c->options.pending_bytes;
}

int consensus_receive(struct consensus *c, uint64_t from, const void *frame, size_t len, uint64_t now_ms)
{
    struct raft_message message;
    struct raft_buffer configuration;

    if (!consensus_begin(c, now_ms)) {
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
    if (leader_term(&message) != 0) {
        c->heard_ms = c->now_ms;
    }
    if (message.type == RAFT_APPEND_ENTRIES && message.append_entries.n_entries > 0 && disk_is_behind(c)) {
        c->stats.held_back++; /* lost: the leader sends it again */
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
    if (message.type == RAFT_APPEND_ENTRIES_RESULT) {
        consensus_answered(c, from, &message.append_entries_result);
    }
    r = message.type == RAFT_REQUEST_VOTE ? step_vote(c, &message) : consensus_step_message(c, &message, &configuration);
    return r < 0 ? r : consensus_pump(c);
}

void consensus_disconnected(struct consensus *c, uint64_t id)
{
    for (size_t i = 0; i < CONSENSUS_SERVERS_MAX; i++) {
        if (c->followers[i].id == id) {
            c->followers[i].install_ms = 0;
            c->followers[i].sound = false; /* what was sent may be lost: heartbeats show it */
        }
    }
}
