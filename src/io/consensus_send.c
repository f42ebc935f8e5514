#include "io/consensus_private.h"

#include <stdlib.h>
#include <string.h>

#define SPARE_ONE_IN 3

/* Messages on their way out. They are encoded at once, because the log may change before they may be sent: those that
 * rest on a term or a vote wait until it is on disk, and all behind them, so that their order stays. So do those behind a
 * configuration of this leader's (consensus_step.c).
 *
 * A standby has no election timer and counts in no majority: it needs a heartbeat only to go on believing in its leader, and to
 * show that nothing was lost. So of the heartbeats that are due to nothing but the time it gets one in SPARE_ONE_IN, as
 * long as it has acknowledged all that there is.
 *
 * The library takes a server for lost that has said nothing since it last looked at the time, and holds back its next entry until
 * a heartbeat is due. That is a spared standby, and whoever's heartbeats are due at other times than others', as they
 * are after an absence. So it hears the last answer again, as if that had come twice, while that is no older than a
 * server which is well lets it become. */

static void post_frame(struct consensus *c, const struct raft_message *message, const struct raft_buffer *configuration)
{
    size_t len = raft_message_size(message, configuration);
    uint64_t after = c->held_job > c->job_done ? c->held_job : 0;

    if (len == 0) {
        abort(); /* all that can be long is bounded before it gets into the log */
    }
    if (after != 0 && c->letters_bytes + len > c->options.held_bytes) {
        c->stats.held_back++;
        return;
    }
    struct consensus_letter *letter = malloc(sizeof *letter + len);
    if (letter == NULL) {
        return; /* as good as lost on the way */
    }
    raft_message_encode(message, configuration, letter->frame);
    letter->next = NULL;
    letter->to = message->server_id;
    letter->after = after;
    letter->len = len;
    if (c->letters == NULL) {
        c->letters = letter;
    } else {
        c->letters_last->next = letter;
    }
    c->letters_last = letter;
    c->letters_bytes += len;
}

bool consensus_deliver(struct consensus *c)
{
    struct consensus_letter *letter = c->letters;

    if (letter == NULL || letter->after > c->job_done) {
        return false;
    }
    c->letters = letter->next;
    c->letters_bytes -= letter->len;
    c->stats.sent++;
    c->ops->send(c->ud, letter->to, letter->frame, letter->len);
    free(letter);
    return true;
}

void consensus_letters_free(struct consensus *c)
{
    while (c->letters != NULL) {
        struct consensus_letter *letter = c->letters;
        c->letters = letter->next;
        free(letter);
    }
}

struct consensus_follower *consensus_follower(struct consensus *c, uint64_t id)
{
    for (size_t i = 0; i < CONSENSUS_SERVERS_MAX; i++) {
        if (c->followers[i].id == id) {
            return &c->followers[i];
        }
    }
    for (size_t i = 0; i < CONSENSUS_SERVERS_MAX; i++) {
        if (consensus_server(c, c->followers[i].id) == NULL) { /* never used, or its server is gone */
            c->followers[i] = (struct consensus_follower){.id = id};
            return &c->followers[i];
        }
    }
    return NULL;
}

/* As many of the n entries as fit into one frame, at least one; a configuration begins a frame of its own (wire/
 * raft_message.c says why). Fills c->scratch. */
static unsigned fill_frame(struct consensus *c, uint64_t first, unsigned n)
{
    size_t size = RAFT_MESSAGE_APPEND_FIXED;
    unsigned i;

    for (i = 0; i < n && i < RAFT_MESSAGE_ENTRIES_MAX; i++) {
        const struct consensus_slot *slot = consensus_log_get(&c->log, first + i);
        if (slot == NULL) {
            abort(); /* the library asks for what its own log has, and ours has the same */
        }
        size += RAFT_MESSAGE_ENTRY_FIXED + raft_message_pad(slot->blob->len);
        if (i > 0 && (size > RAFT_MESSAGE_APPEND_MAX || slot->type == CONSENSUS_CHANGE)) {
            break;
        }
        c->scratch[i] = (struct raft_entry){.term = slot->term,
                                            .type = (enum raft_entry_type)slot->type,
                                            .buf = {.base = slot->blob->data, .len = slot->blob->len}};
    }
    return i;
}

/* Whether a heartbeat need not be sent: its standby has said that it has everything, and was told so. A standby forgets a leader
 * that is silent for an election timeout; it hears of it twice in that time. */
static bool spare(const struct consensus *c, const struct consensus_follower *follower, const struct raft_message *message)
{
    const struct raft_append_entries *append = &message->append_entries;
    const struct raft_server *server = consensus_server(c, message->server_id);
    uint64_t heartbeat = c->options.heartbeat_ms, last = consensus_log_last(&c->log);

    return c->ticking && append->n_entries == 0 && server != NULL && server->role == RAFT_STANDBY && follower->sound &&
           !follower->waits && follower->answer.term == append->term && follower->answer.last_log_index == last &&
           append->prev_log_index == last && follower->told >= append->leader_commit &&
           SPARE_ONE_IN * heartbeat * 2 <= c->options.election_ms &&
           c->now_ms - follower->asked_ms + heartbeat / 2 < SPARE_ONE_IN * heartbeat;
}

void consensus_answered(struct consensus *c, uint64_t id, const struct raft_append_entries_result *result)
{
    struct consensus_follower *follower = consensus_server(c, id) != NULL ? consensus_follower(c, id) : NULL;

    if (follower != NULL) {
        follower->waits = false;
        follower->sound = result->rejected == 0;
        follower->answered_ms = c->now_ms;
        follower->answer = *result;
    }
}

int consensus_answer_again(struct consensus *c)
{
    uint64_t heartbeat = c->options.heartbeat_ms;

    for (size_t i = 0; i < CONSENSUS_SERVERS_MAX && c->raft.state == RAFT_LEADER; i++) {
        const struct consensus_follower *follower = &c->followers[i];
        const struct raft_server *server = follower->sound ? consensus_server(c, follower->id) : NULL;
        uint64_t age = c->now_ms - follower->answered_ms;

        if (server == NULL || follower->answered_ms >= c->raft.election_timer_start ||
            follower->answer.term != raft_current_term(&c->raft) ||
            age >= (server->role == RAFT_STANDBY ? SPARE_ONE_IN * heartbeat : heartbeat) + heartbeat / 2) {
            continue;
        }
        struct raft_message message = {
            .type = RAFT_APPEND_ENTRIES_RESULT, .server_id = server->id, .server_address = server->address};
        message.append_entries_result = follower->answer;
        int r = consensus_step_message(c, &message, NULL);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static void post_append(struct consensus *c, const struct raft_message *message)
{
    struct raft_message part = *message;
    struct raft_append_entries *append = &part.append_entries;
    unsigned left = append->n_entries;
    struct consensus_follower *follower = consensus_follower(c, message->server_id);
    uint64_t reach = append->prev_log_index + append->n_entries;
    uint64_t tells = reach < append->leader_commit ? reach : append->leader_commit;

    if (follower != NULL && spare(c, follower, message)) {
        return;
    }
    if (follower != NULL) {
        follower->told = tells > follower->told ? tells : follower->told;
        follower->asked_ms = c->now_ms;
        follower->waits = true;
    }
    do {
        append->entries = c->scratch;
        append->n_entries = left > 0 ? fill_frame(c, append->prev_log_index + 1, left) : 0;
        post_frame(c, &part, NULL);
        left -= append->n_entries;
        if (append->n_entries > 0) {
            append->prev_log_index += append->n_entries;
            append->prev_log_term = c->scratch[append->n_entries - 1].term;
        }
    } while (left > 0);
}

/* The library takes a snapshot for lost when it hears nothing for a heartbeat, which a long one may well cause, and sends
 * it again and again: once in install_ms is enough, or when the connection was lost. */
static bool install_is_under_way(struct consensus *c, uint64_t id)
{
    struct consensus_follower *follower = consensus_follower(c, id);

    if (follower == NULL) {
        return false;
    }
    if (follower->install_ms != 0 && c->now_ms - follower->install_ms < c->options.install_ms) {
        return true;
    }
    follower->install_ms = c->now_ms > 0 ? c->now_ms : 1;
    return false;
}

static void post_install(struct consensus *c, const struct raft_message *message)
{
    struct raft_message full = *message;

    if (c->snapshot == NULL || c->snapshot->snapshot.index != full.install_snapshot.last_index) {
        abort(); /* the library knows of one snapshot, and it is this one */
    }
    if (install_is_under_way(c, message->server_id)) {
        return;
    }
    const struct consensus_snapshot *snapshot = &c->snapshot->snapshot;
    struct raft_buffer configuration = {.base = c->snapshot->configuration, .len = snapshot->configuration_len};
    full.install_snapshot.conf_index = snapshot->configuration_index;
    full.install_snapshot.data = (struct raft_buffer){.base = c->snapshot->data, .len = snapshot->len};
    c->stats.snapshots_sent++;
    post_frame(c, &full, &configuration);
}

/* A refused pre-vote tells the term of the one who refuses. The library echoes the term that was asked about, and two
 * voters then refuse each other for ever when one has the longer log and the other the higher term. */
static void post_vote_result(struct consensus *c, const struct raft_message *message)
{
    struct raft_message result = *message;

    if (result.request_vote_result.pre_vote && !result.request_vote_result.vote_granted &&
        result.request_vote_result.term < raft_current_term(&c->raft)) {
        result.request_vote_result.term = raft_current_term(&c->raft);
    }
    post_frame(c, &result, NULL);
}

void consensus_post(struct consensus *c, const struct raft_message *message)
{
    switch (message->type) {
    case RAFT_REQUEST_VOTE_RESULT:
        post_vote_result(c, message);
        return;
    case RAFT_APPEND_ENTRIES:
        post_append(c, message);
        return;
    case RAFT_INSTALL_SNAPSHOT:
        post_install(c, message);
        return;
    case RAFT_APPEND_ENTRIES_RESULT:
    case RAFT_REQUEST_VOTE:
    case RAFT_TIMEOUT_NOW:
    default:
        post_frame(c, message, NULL);
    }
}

/* Tells a follower at once what is committed: the library does so with the next entries or heartbeat. It is what a
 * heartbeat would say to a follower of whom no more is known than what it has acknowledged. */
static void post_commit(struct consensus *c, const struct raft_server *server)
{
    if (server->id == c->raft.id || server->role == RAFT_SPARE) {
        return;
    }
    uint64_t commit = raft_commit_index(&c->raft), match = consensus_match(c, server->id);
    const struct consensus_follower *follower = consensus_follower(c, server->id);

    if (follower == NULL || (match < commit ? match : commit) <= follower->told) {
        return;
    }
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES, .server_id = server->id};
    message.append_entries = (struct raft_append_entries){
        .term = raft_current_term(&c->raft),
        .prev_log_index = match,
        .prev_log_term = consensus_term_of(c, match),
        .leader_commit = commit,
    };
    if (message.append_entries.prev_log_term != 0) {
        post_append(c, &message);
    }
}

void consensus_post_commit(struct consensus *c)
{
    for (unsigned i = 0; i < c->raft.configuration.n; i++) {
        post_commit(c, &c->raft.configuration.servers[i]);
    }
}

void consensus_post_commit_to(struct consensus *c, uint64_t id)
{
    const struct raft_server *server = consensus_server(c, id);

    if (server != NULL) {
        post_commit(c, server);
    }
}
