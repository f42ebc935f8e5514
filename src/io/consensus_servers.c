#include "io/consensus_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/rule.h"

/* Configurations: which servers there are. The library tracks the committed and the uncommitted one, and is told of a
 * commit when the entry is applied.
 *
 * Two things it gets wrong when two changes are in a follower's log before the first is applied there (it keeps one
 * uncommitted configuration only): the first is never recorded as committed, and when the second is cut off, it goes
 * back to the one before the first. consensus_configuration_applied() and consensus_configuration_mend() put that
 * right from the entries themselves. */

/* The library's decoder reads past the end of what is damaged: check first. */
int consensus_decode(const void *data, size_t len, struct raft_configuration *ret)
{
    struct raft_buffer buffer = {.base = (void *)(uintptr_t)data, .len = len};
    int r = raft_message_check_configuration(data, len);

    if (r < 0) {
        return r;
    }
    return raft_configuration_decode(&buffer, ret) == 0 ? 0 : -ENOMEM;
}

const struct raft_server *consensus_server(const struct consensus *c, uint64_t id)
{
    for (unsigned i = 0; i < c->raft.configuration.n; i++) {
        if (c->raft.configuration.servers[i].id == id) {
            return &c->raft.configuration.servers[i];
        }
    }
    return NULL;
}

int consensus_configuration_set(struct consensus *c, uint64_t index, const void *data, size_t len)
{
    void *copy = malloc(len + 1);

    if (copy == NULL) {
        return -ENOMEM;
    }
    memcpy(copy, data, len);
    free(c->configuration);
    c->configuration = copy;
    c->configuration_len = len;
    c->configuration_index = index;
    return 0;
}

int consensus_configuration_applied(struct consensus *c, uint64_t index, const void *data, size_t len)
{
    struct raft_event event = {.type = RAFT_CONFIGURATION};
    struct raft_configuration configuration;

    int r = consensus_decode(data, len, &event.configuration.conf);
    if (r < 0) {
        return r;
    }
    event.configuration.index = index;
    r = consensus_step_or_die(c, &event, "a configuration was applied");
    if (r < 0) {
        return r;
    }
    if (c->raft.configuration_committed_index < index) {
        r = consensus_decode(data, len, &configuration);
        if (r < 0) {
            return r;
        }
        raft_configuration_close(&c->raft.configuration_committed);
        c->raft.configuration_committed = configuration;
        c->raft.configuration_committed_index = index;
    }
    return consensus_configuration_set(c, index, data, len);
}

/* After the log was cut: the newest configuration in it is in force. Only followers cut their log. */
void consensus_configuration_mend(struct consensus *c)
{
    uint64_t committed = c->raft.configuration_committed_index;
    struct raft_configuration configuration;

    for (uint64_t index = consensus_log_last(&c->log); index > committed; index--) {
        const struct consensus_slot *slot = consensus_log_get(&c->log, index);
        if (slot == NULL) {
            return;
        }
        if (slot->type != CONSENSUS_CHANGE) {
            continue;
        }
        if (c->raft.configuration_uncommitted_index == index) {
            return;
        }
        if (consensus_decode(slot->blob->data, slot->blob->len, &configuration) < 0) {
            consensus_die(c, -ENOMEM, "no memory for a configuration");
            return;
        }
        raft_configuration_close(&c->raft.configuration);
        c->raft.configuration = configuration;
        c->raft.configuration_uncommitted_index = index;
        return;
    }
}

unsigned consensus_servers_of(const struct raft_configuration *configuration, struct consensus_server *ret, unsigned max)
{
    for (unsigned i = 0; i < configuration->n && i < max; i++) {
        const struct raft_server *server = &configuration->servers[i];
        ret[i] = (struct consensus_server){.id = server->id, .address = server->address, .role = server->role};
    }
    return configuration->n;
}

unsigned consensus_servers(const struct consensus *c, struct consensus_server *ret, unsigned max)
{
    return consensus_servers_of(&c->raft.configuration, ret, max);
}

int consensus_servers_in(const void *data, size_t len, struct consensus_server *ret, unsigned max, unsigned *ret_n)
{
    struct raft_configuration configuration;
    int r = consensus_decode(data, len, &configuration);

    if (r < 0) {
        return r;
    }
    *ret_n = consensus_servers_of(&configuration, ret, max);
    for (unsigned i = 0; i < *ret_n && i < max; i++) {
        ret[i].address = "";
    }
    raft_configuration_close(&configuration);
    return 0;
}

/* ------------------------------------------------------------------ making one */

static int add(struct raft_configuration *configuration, const struct consensus_server *server)
{
    if (server->id == 0 || server->address == NULL || strlen(server->address) > CONSENSUS_ADDRESS_MAX) {
        return -EINVAL;
    }
    int rv = raft_configuration_add(configuration, server->id, server->address, server->role);
    if (rv != 0) {
        return rv == RAFT_NOMEM ? -ENOMEM : -EINVAL;
    }
    return 0;
}

/* Encodes and closes the configuration. *ret is from malloc(). */
static int encode(struct raft_configuration *configuration, int r, void **ret_data, size_t *ret_len)
{
    struct raft_buffer buffer = {0};
    bool voters = false;

    for (unsigned i = 0; i < configuration->n; i++) {
        voters = voters || configuration->servers[i].role == RAFT_VOTER;
    }
    if (r == 0 && !voters) {
        r = -EINVAL;
    }
    if (r == 0 && raft_configuration_encode(configuration, &buffer) != 0) {
        r = -ENOMEM;
    }
    raft_configuration_close(configuration);
    if (r < 0) {
        return r;
    }
    void *copy = malloc(buffer.len);
    if (copy != NULL) {
        memcpy(copy, buffer.base, buffer.len);
        *ret_data = copy;
        *ret_len = buffer.len;
    }
    raft_free(buffer.base);
    return copy == NULL ? -ENOMEM : 0;
}

static int compare_servers(const void *a, const void *b)
{
    const struct consensus_server *x = a, *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}

int consensus_founding(const struct consensus_server *servers, unsigned n, void **ret_data, size_t *ret_len)
{
    struct consensus_server sorted[CONSENSUS_SERVERS_MAX];
    struct raft_configuration configuration;
    int r = 0;

    if (n == 0 || n > CONSENSUS_SERVERS_MAX) {
        return -EINVAL;
    }
    memcpy(sorted, servers, n * sizeof *servers);
    qsort(sorted, n, sizeof *sorted, compare_servers);
    raft_configuration_init(&configuration);
    for (unsigned i = 0; i < n && r == 0; i++) {
        r = add(&configuration, &sorted[i]);
    }
    return encode(&configuration, r, ret_data, ret_len);
}

static const struct consensus_server *find(const struct consensus_server *servers, unsigned n, uint64_t id)
{
    for (unsigned i = 0; i < n; i++) {
        if (servers[i].id == id) {
            return &servers[i];
        }
    }
    return NULL;
}

/* Those that stay keep their places: the library's record of their progress goes by place when the number of servers
 * does not change. *ret_changes counts the servers that differ. */
static int next_configuration(const struct consensus *c, const struct consensus_server *servers, unsigned n,
                              struct raft_configuration *ret, unsigned *ret_changes)
{
    int r = 0;

    *ret_changes = 0;
    raft_configuration_init(ret);
    for (unsigned i = 0; i < c->raft.configuration.n && r == 0; i++) {
        const struct raft_server *old = &c->raft.configuration.servers[i];
        const struct consensus_server *new = find(servers, n, old->id);
        if (new != NULL) {
            r = add(ret, new);
        }
        if (r == 0 && (new == NULL || new->role != old->role || strcmp(new->address, old->address) != 0)) {
            ++*ret_changes;
        }
    }
    for (unsigned i = 0; i < n && r == 0; i++) {
        if (consensus_server(c, servers[i].id) == NULL) {
            r = add(ret, &servers[i]);
            ++*ret_changes;
        }
    }
    return r;
}

/* A voter without the log would only be missed at the next majority. */
static bool voters_caught_up(const struct consensus *c, const struct raft_configuration *configuration)
{
    for (unsigned i = 0; i < configuration->n; i++) {
        const struct raft_server *server = &configuration->servers[i];
        const struct raft_server *old = consensus_server(c, server->id);
        uint64_t match = consensus_match(c, server->id);
        if (server->role == RAFT_VOTER && (old == NULL || old->role != RAFT_VOTER) &&
            (match < c->barrier || consensus_log_last(&c->log) - match > INFLIGHT_ENTRIES)) {
            return false;
        }
    }
    return true;
}

int consensus_configure(struct consensus *c, const struct consensus_server *servers, unsigned n, uint64_t now_ms,
                        uint64_t *ret_index)
{
    struct raft_configuration configuration;
    unsigned changes;
    void *data;
    size_t len;

    if (c->dead) {
        return -EIO;
    }
    c->now_ms = now_ms > c->now_ms ? now_ms : c->now_ms;
    if (n == 0 || n > CONSENSUS_SERVERS_MAX) {
        return -EINVAL;
    }
    if (!consensus_is_leader(c)) {
        return CONSENSUS_NOT_LEADER;
    }
    if (c->barrier == 0 || c->applied < c->barrier) {
        return CONSENSUS_BUSY; /* a change by a leader that does not know the last one is how Raft loses entries */
    }
    int r = next_configuration(c, servers, n, &configuration, &changes);
    bool one = changes == 1 || (!RULE(L5_ONE) && changes > 0);
    if (r == 0 && (!one || !voters_caught_up(c, &configuration))) {
        raft_configuration_close(&configuration);
        return !one ? CONSENSUS_NO_SUCH_SERVER : CONSENSUS_BEHIND;
    }
    r = encode(&configuration, r, &data, &len);
    if (r < 0) {
        return r;
    }
    int rv = consensus_append(c, RAFT_CHANGE, data, len);
    free(data);
    if (rv != 0) {
        return rv == RAFT_NOMEM ? -ENOMEM : rv == RAFT_NOTLEADER ? CONSENSUS_NOT_LEADER : CONSENSUS_BUSY;
    }
    *ret_index = consensus_log_last(&c->log);
    return consensus_pump(c);
}
