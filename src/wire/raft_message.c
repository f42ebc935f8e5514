#include "wire/raft_message.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT 1
#define NUMBER_MAX ((uint64_t)1 << 62) /* of indexes and terms, so that sums of them cannot wrap */
#define CONFIGURATION_FORMAT 1         /* the library's encoding of configurations */

/* Versions that the library gives its messages; its rules for older ones are of no use to us. */
static int message_version(int type)
{
    switch (type) {
    case RAFT_REQUEST_VOTE:
    case RAFT_REQUEST_VOTE_RESULT:
    case RAFT_APPEND_ENTRIES_RESULT:
        return 2;
    case RAFT_APPEND_ENTRIES:
    case RAFT_INSTALL_SNAPSHOT:
    case RAFT_TIMEOUT_NOW:
        return 0;
    default:
        return -1;
    }
}

/* ------------------------------------------------------------------ writing */

static void put(uint8_t **at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        *(*at)++ = (uint8_t)(value >> (8 * i));
    }
}

static void put_padded(uint8_t **at, const void *data, size_t len)
{
    size_t padding = raft_message_pad(len) - len;

    if (len > 0) {
        memcpy(*at, data, len);
    }
    memset(*at + len, 0, padding);
    *at += len + padding;
}

static size_t append_size(const struct raft_append_entries *append)
{
    size_t size = RAFT_MESSAGE_APPEND_FIXED;

    if (append->n_entries > RAFT_MESSAGE_ENTRIES_MAX) {
        return 0;
    }
    for (unsigned i = 0; i < append->n_entries; i++) {
        if (append->entries[i].buf.len > RAFT_MESSAGE_ENTRY_MAX) {
            return 0;
        }
        size += RAFT_MESSAGE_ENTRY_FIXED + raft_message_pad(append->entries[i].buf.len);
    }
    return size <= RAFT_MESSAGE_APPEND_MAX ? size : 0;
}

size_t raft_message_size(const struct raft_message *message, const struct raft_buffer *configuration)
{
    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        return append_size(&message->append_entries);
    case RAFT_APPEND_ENTRIES_RESULT:
    case RAFT_REQUEST_VOTE:
        return RAFT_MESSAGE_HEADER + 24;
    case RAFT_REQUEST_VOTE_RESULT:
        return RAFT_MESSAGE_HEADER + 8;
    case RAFT_INSTALL_SNAPSHOT:
        if (configuration->len > RAFT_MESSAGE_CONFIGURATION_MAX ||
            message->install_snapshot.data.len > RAFT_MESSAGE_SNAPSHOT_MAX) {
            return 0;
        }
        return RAFT_MESSAGE_HEADER + 32 + raft_message_pad(configuration->len) +
               raft_message_pad(message->install_snapshot.data.len);
    case RAFT_TIMEOUT_NOW:
        return RAFT_MESSAGE_HEADER + 16;
    default:
        return 0;
    }
}

static void put_header(uint8_t **at, const struct raft_message *message, unsigned flags, uint64_t n, raft_term term)
{
    put(at, FORMAT, 1);
    put(at, message->type, 1);
    put(at, (uint64_t)message_version((int)message->type), 1);
    put(at, flags, 1);
    put(at, n, 4);
    put(at, term, 8);
}

static void encode_append(const struct raft_message *message, uint8_t **at)
{
    const struct raft_append_entries *append = &message->append_entries;

    put_header(at, message, 0, append->n_entries, append->term);
    put(at, append->prev_log_index, 8);
    put(at, append->prev_log_term, 8);
    put(at, append->leader_commit, 8);
    for (unsigned i = 0; i < append->n_entries; i++) {
        put(at, append->entries[i].term, 8);
        put(at, append->entries[i].buf.len, 4);
        put(at, append->entries[i].type, 1);
        put(at, 0, 3);
    }
    for (unsigned i = 0; i < append->n_entries; i++) {
        put_padded(at, append->entries[i].buf.base, append->entries[i].buf.len);
    }
}

static void encode_snapshot(const struct raft_message *message, const struct raft_buffer *configuration, uint8_t **at)
{
    const struct raft_install_snapshot *install = &message->install_snapshot;

    put_header(at, message, 0, configuration->len, install->term);
    put(at, install->last_index, 8);
    put(at, install->last_term, 8);
    put(at, install->conf_index, 8);
    put(at, install->data.len, 8);
    put_padded(at, configuration->base, configuration->len);
    put_padded(at, install->data.base, install->data.len);
}

static void encode_vote(const struct raft_message *message, uint8_t **at)
{
    const struct raft_request_vote *vote = &message->request_vote;

    put_header(at, message, (vote->disrupt_leader ? 1u : 0u) | (vote->pre_vote ? 2u : 0u), 0, vote->term);
    put(at, vote->candidate_id, 8);
    put(at, vote->last_log_index, 8);
    put(at, vote->last_log_term, 8);
}

static void encode_vote_result(const struct raft_message *message, uint8_t **at)
{
    const struct raft_request_vote_result *result = &message->request_vote_result;

    put_header(at, message, (result->vote_granted ? 1u : 0u) | (result->pre_vote ? 2u : 0u), 0, result->term);
    put(at, result->features, 2);
    put(at, result->capacity, 2);
    put(at, 0, 4);
}

static void encode_append_result(const struct raft_message *message, uint8_t **at)
{
    const struct raft_append_entries_result *result = &message->append_entries_result;

    put_header(at, message, 0, 0, result->term);
    put(at, result->rejected, 8);
    put(at, result->last_log_index, 8);
    put(at, result->features, 2);
    put(at, result->capacity, 2);
    put(at, 0, 4);
}

void raft_message_encode(const struct raft_message *message, const struct raft_buffer *configuration, void *frame)
{
    uint8_t *at = frame;

    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        encode_append(message, &at);
        return;
    case RAFT_APPEND_ENTRIES_RESULT:
        encode_append_result(message, &at);
        return;
    case RAFT_REQUEST_VOTE:
        encode_vote(message, &at);
        return;
    case RAFT_REQUEST_VOTE_RESULT:
        encode_vote_result(message, &at);
        return;
    case RAFT_INSTALL_SNAPSHOT:
        encode_snapshot(message, configuration, &at);
        return;
    case RAFT_TIMEOUT_NOW:
        put_header(&at, message, 0, 0, message->timeout_now.term);
        put(&at, message->timeout_now.last_log_index, 8);
        put(&at, message->timeout_now.last_log_term, 8);
        return;
    default:
        abort(); /* raft_message_size() was 0 */
    }
}

/* ------------------------------------------------------------------ reading */

/* A cursor that never leaves its buffer: what is not there reads as zero and sets `bad`. */
struct cursor
{
    const uint8_t *at;
    size_t left;
    bool bad;
};

static uint64_t get(struct cursor *in, int bytes)
{
    uint64_t value = 0;

    if (in->left < (size_t)bytes) {
        in->bad = true;
        return 0;
    }
    for (int i = 0; i < bytes; i++) {
        value |= (uint64_t)in->at[i] << (8 * i);
    }
    in->at += bytes;
    in->left -= (size_t)bytes;
    return value;
}

/* An index or a term. */
static uint64_t get_number(struct cursor *in)
{
    uint64_t value = get(in, 8);

    in->bad = in->bad || value >= NUMBER_MAX;
    return value;
}

static void get_zeros(struct cursor *in, int bytes)
{
    in->bad = get(in, bytes) != 0 || in->bad;
}

/* The buffer is the frame's; the library's type is not const. */
static void get_padded(struct cursor *in, size_t len, struct raft_buffer *ret)
{
    size_t padded = raft_message_pad(len);

    if (len > RAFT_MESSAGE_MAX || in->left < padded) {
        in->bad = true;
        return;
    }
    ret->base = (void *)(uintptr_t)in->at;
    ret->len = len;
    for (size_t i = len; i < padded; i++) {
        in->bad = in->bad || in->at[i] != 0;
    }
    in->at += padded;
    in->left -= padded;
}

int raft_message_check_configuration(const void *data, size_t len)
{
    struct cursor in = {.at = data, .left = len};
    uint64_t ids[RAFT_MESSAGE_SERVERS_MAX];
    const char *addresses[RAFT_MESSAGE_SERVERS_MAX];

    if (len > RAFT_MESSAGE_CONFIGURATION_MAX || get(&in, 1) != CONFIGURATION_FORMAT) {
        return -EBADMSG;
    }
    uint64_t n = get(&in, 8);
    if (in.bad || n == 0 || n > RAFT_MESSAGE_SERVERS_MAX) {
        return -EBADMSG;
    }
    for (uint64_t i = 0; i < n; i++) {
        ids[i] = get(&in, 8);
        addresses[i] = (const char *)in.at;
        const uint8_t *end = in.bad || in.left == 0 ? NULL : memchr(in.at, 0, in.left);
        if (ids[i] == 0 || end == NULL || end - in.at > RAFT_MESSAGE_ADDRESS_MAX) {
            return -EBADMSG;
        }
        in.left -= (size_t)(end - in.at) + 1;
        in.at = end + 1;
        uint64_t role = get(&in, 1);
        if (in.bad || (role != RAFT_STANDBY && role != RAFT_VOTER && role != RAFT_SPARE)) {
            return -EBADMSG;
        }
        for (uint64_t j = 0; j < i; j++) {
            if (ids[j] == ids[i] || strcmp(addresses[j], addresses[i]) == 0) {
                return -EBADMSG;
            }
        }
    }
    if (in.left >= 8) {
        return -EBADMSG; /* more than padding */
    }
    while (in.left > 0) {
        get_zeros(&in, 1);
    }
    return in.bad ? -EBADMSG : 0;
}

/* The terms of a log never fall, and none is above the leader's; a configuration comes first in its message: the library
 * takes the index of the first new entry for that of the configuration. */
static bool entry_is_sound(const struct raft_append_entries *append, unsigned i)
{
    const struct raft_entry *entry = &append->entries[i];
    raft_term before = i == 0 ? append->prev_log_term : append->entries[i - 1].term;

    if (entry->term == 0 || entry->term < before || entry->term > append->term) {
        return false;
    }
    switch (entry->type) {
    case RAFT_COMMAND:
    case RAFT_BARRIER:
        return true;
    case RAFT_CHANGE:
        return i == 0;
    default:
        return false;
    }
}

static int decode_append(struct cursor *in, uint64_t n, struct raft_entry *entries, struct raft_append_entries *append)
{
    append->prev_log_index = get_number(in);
    append->prev_log_term = get_number(in);
    append->leader_commit = get_number(in);
    append->entries = n > 0 ? entries : NULL;
    append->n_entries = (unsigned)n;
    if ((append->prev_log_index == 0) != (append->prev_log_term == 0) || append->prev_log_term > append->term) {
        return -EBADMSG;
    }
    for (unsigned i = 0; i < n && !in->bad; i++) {
        entries[i].term = get_number(in);
        entries[i].buf.len = (size_t)get(in, 4);
        entries[i].type = (enum raft_entry_type)get(in, 1);
        entries[i].batch = NULL;
        get_zeros(in, 3);
        if (entries[i].buf.len > RAFT_MESSAGE_ENTRY_MAX) {
            return -EMSGSIZE;
        }
        if (!entry_is_sound(append, i)) {
            return -EBADMSG;
        }
    }
    for (unsigned i = 0; i < n && !in->bad; i++) {
        get_padded(in, entries[i].buf.len, &entries[i].buf);
    }
    if (n > 0 && !in->bad && entries[0].type == RAFT_CHANGE) {
        return raft_message_check_configuration(entries[0].buf.base, entries[0].buf.len);
    }
    return 0;
}

static int decode_snapshot(struct cursor *in, uint64_t n, struct raft_install_snapshot *install,
                           struct raft_buffer *ret_configuration)
{
    install->last_index = get_number(in);
    install->last_term = get_number(in);
    install->conf_index = get_number(in);
    uint64_t len = get(in, 8);

    if (install->last_index == 0 || install->last_term == 0 || install->last_term > install->term ||
        install->conf_index == 0 || install->conf_index > install->last_index) {
        return -EBADMSG;
    }
    if (n > RAFT_MESSAGE_CONFIGURATION_MAX || len > RAFT_MESSAGE_SNAPSHOT_MAX) {
        return -EMSGSIZE;
    }
    get_padded(in, (size_t)n, ret_configuration);
    get_padded(in, (size_t)len, &install->data);
    if (in->bad) {
        return -EBADMSG;
    }
    return raft_message_check_configuration(ret_configuration->base, ret_configuration->len);
}

static void decode_append_result(struct cursor *in, struct raft_append_entries_result *result)
{
    result->rejected = get_number(in);
    result->last_log_index = get_number(in);
    result->features = (unsigned short)get(in, 2);
    result->capacity = (unsigned short)get(in, 2);
    get_zeros(in, 4);
}

static void decode_vote_result(struct cursor *in, struct raft_request_vote_result *result)
{
    result->features = (unsigned short)get(in, 2);
    result->capacity = (unsigned short)get(in, 2);
    get_zeros(in, 4);
}

static int decode_body(struct cursor *in, unsigned flags, uint64_t n, raft_term term, struct raft_entry *entries,
                       struct raft_message *ret, struct raft_buffer *ret_configuration)
{
    uint8_t version = (uint8_t)message_version((int)ret->type);

    switch (ret->type) {
    case RAFT_APPEND_ENTRIES:
        ret->append_entries = (struct raft_append_entries){.version = version, .term = term};
        return decode_append(in, n, entries, &ret->append_entries);
    case RAFT_APPEND_ENTRIES_RESULT:
        ret->append_entries_result = (struct raft_append_entries_result){.version = version, .term = term};
        decode_append_result(in, &ret->append_entries_result);
        return 0;
    case RAFT_REQUEST_VOTE:
        ret->request_vote = (struct raft_request_vote){
            .version = version, .term = term, .disrupt_leader = (flags & 1u) != 0, .pre_vote = (flags & 2u) != 0};
        ret->request_vote.candidate_id = get(in, 8);
        ret->request_vote.last_log_index = get_number(in);
        ret->request_vote.last_log_term = get_number(in);
        return 0;
    case RAFT_REQUEST_VOTE_RESULT:
        ret->request_vote_result = (struct raft_request_vote_result){
            .version = version, .term = term, .vote_granted = (flags & 1u) != 0, .pre_vote = (flags & 2u) != 0};
        decode_vote_result(in, &ret->request_vote_result);
        return 0;
    case RAFT_INSTALL_SNAPSHOT:
        ret->install_snapshot = (struct raft_install_snapshot){.version = version, .term = term};
        return decode_snapshot(in, n, &ret->install_snapshot, ret_configuration);
    case RAFT_TIMEOUT_NOW:
        ret->timeout_now = (struct raft_timeout_now){.version = version, .term = term};
        ret->timeout_now.last_log_index = get_number(in);
        ret->timeout_now.last_log_term = get_number(in);
        return 0;
    default:
        return -EBADMSG;
    }
}

static bool header_is_sound(int type, unsigned flags, uint64_t n, raft_term term)
{
    unsigned allowed = type == RAFT_REQUEST_VOTE || type == RAFT_REQUEST_VOTE_RESULT ? 3u : 0u;

    if (n > 0 && type != RAFT_APPEND_ENTRIES && type != RAFT_INSTALL_SNAPSHOT) {
        return false;
    }
    return term > 0 && (flags & ~allowed) == 0;
}

int raft_message_decode(const void *frame, size_t len, struct raft_entry *entries, struct raft_message *ret,
                        struct raft_buffer *ret_configuration)
{
    struct cursor in = {.at = frame, .left = len};

    if (len > RAFT_MESSAGE_MAX) {
        return -EMSGSIZE;
    }
    if (len < RAFT_MESSAGE_HEADER) {
        return -EBADMSG;
    }
    uint64_t format = get(&in, 1);
    int type = (int)get(&in, 1);
    int version = (int)get(&in, 1);
    unsigned flags = (unsigned)get(&in, 1);
    uint64_t n = get(&in, 4);
    raft_term term = get_number(&in);

    if (format != FORMAT || (message_version(type) >= 0 && version != message_version(type))) {
        return -EPROTONOSUPPORT;
    }
    if (in.bad || message_version(type) < 0 || !header_is_sound(type, flags, n, term)) {
        return -EBADMSG;
    }
    if (type != RAFT_INSTALL_SNAPSHOT && (len > RAFT_MESSAGE_APPEND_MAX || n > RAFT_MESSAGE_ENTRIES_MAX)) {
        return -EMSGSIZE;
    }
    *ret = (struct raft_message){.type = (enum raft_message_type)type};
    *ret_configuration = (struct raft_buffer){0};
    int r = decode_body(&in, flags, n, term, entries, ret, ret_configuration);
    if (r == 0 && (in.bad || in.left != 0)) {
        r = -EBADMSG;
    }
    return r;
}
