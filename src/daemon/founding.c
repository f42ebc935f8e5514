/* The founding: how nodes that have nothing become a cluster, and why one whose disk was wiped does not found a second.
 *
 * Every founder has an id by its place in the sorted `peers`, and a random identity made with its data directory. A node
 * without a log writes the founding entry (the same bytes on every founder) only after it has met a majority of the
 * founders that have no log either, or one that has and that does not know another identity for it. Whoever
 * meets a node keeps its identity on record before anything else; so a wiped founder is recognised by any one of those
 * who met it, and a majority did (docs/decisions/0009-founding.md). */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/daemon.h"
#include "wire/command.h"

#define FOUNDING_VOTERS_MAX VOTERS_MAX

/* The first seven by name vote; the others replicate. */
static enum node_role founder_role(int i)
{
    return i < FOUNDING_VOTERS_MAX ? ROLE_VOTER : ROLE_STANDBY;
}

static int voters(const struct config *config)
{
    return config->n_peers < FOUNDING_VOTERS_MAX ? config->n_peers : FOUNDING_VOTERS_MAX;
}

static int founding_entry(const struct config *config, void **ret, size_t *ret_len)
{
    struct consensus_server servers[NODES_MAX];
    for (int i = 0; i < config->n_peers; i++) {
        servers[i].id = (uint64_t)i + 1;
        servers[i].address = config->peers[i].name;
        servers[i].role = founder_role(i) == ROLE_VOTER ? CONSENSUS_VOTER : CONSENSUS_STANDBY;
    }
    return consensus_founding(servers, (unsigned)config->n_peers, ret, ret_len);
}

static void write_founding(struct daemon *d)
{
    void *data = NULL;
    size_t len = 0;
    int rv = founding_entry(d->config, &data, &len);
    if (!rv) {
        rv = store_set_u64(d->store, "node-id", d->self); /* the file's peers may change later, the id must not */
    }
    if (!rv) {
        rv = store_found(d->store, data, len);
    }
    if (!rv) {
        d->founded = true;
        struct consensus_entry entry = {.index = 1, .term = 1, .type = CONSENSUS_CHANGE, .data = data, .len = len};
        struct consensus_state state = {.term = 1, .entries = &entry, .n_entries = 1};
        rv = fsm_start(d, &state);
    }
    free(data);
    if (rv) {
        daemon_fatal(d, "founding");
        return;
    }
    log_write(LOG_FOUNDED, "cluster=%s node=%s", d->config->cluster, d->config->node);
}

static void try_to_found(struct daemon *d)
{
    int met = 1 + __builtin_popcountll(d->fresh);
    if (!d->founded && met >= voters(d->config) / 2 + 1) {
        write_founding(d);
    }
}

void founding_met(struct daemon *d, const struct hello *hello)
{
    if (d->founded || hello->from > NODES_MAX) {
        return;
    }
    if (hello->founded) {
        write_founding(d); /* the identity was checked by both sides */
        return;
    }
    if (hello->from <= (uint64_t)voters(d->config)) {
        d->fresh |= 1ull << (hello->from - 1);
    }
    try_to_found(d);
}

const char *founding_waits(const struct daemon *d, char *ret, size_t size)
{
    if (d->config->n_join > 0 && !d->founded) {
        snprintf(ret, size, "this node has not joined yet: it asks the members that its file names; vipctl node add makes it one");
        return ret;
    }
    if (d->founded) {
        snprintf(ret, size, "the founding is agreed upon: this node waits for a leader and the table");
        return ret;
    }
    size_t n = (size_t)snprintf(ret, size, "the cluster is not founded yet: %d of its %d voters must have met, and this node waits for",
                                voters(d->config) / 2 + 1, voters(d->config));
    const char *comma = "";
    for (int i = 0; i < voters(d->config) && n < size; i++) {
        if ((uint64_t)i + 1 != d->self && !(d->fresh >> i & 1)) {
            n += (size_t)snprintf(ret + n, size - n, "%s %s", comma, d->config->peers[i].name);
            comma = ",";
        }
    }
    return ret;
}

void founding_begin(struct daemon *d)
{
    if (voters(d->config) > 1) {
        log_write(LOG_FOUNDING, "cluster=%s peers=%d", d->config->cluster, d->config->n_peers);
    }
    try_to_found(d);
}

void founding_propose(struct daemon *d)
{
    struct found_node nodes[NODES_MAX];
    struct command command = {.type = COMMAND_FOUND, .at_ms = daemon_wall_ms()};
    size_t len;
    uint64_t index;
    memset(nodes, 0, sizeof nodes);
    for (int i = 0; i < d->config->n_peers; i++) {
        nodes[i].id = (uint64_t)i + 1;
        memcpy(nodes[i].name, d->config->peers[i].name, sizeof nodes[i].name);
        nodes[i].at = d->config->peers[i].at;
        nodes[i].role = founder_role(i);
    }
    memcpy(command.found.cluster, d->config->cluster, sizeof command.found.cluster);
    command.found.cluster_id = daemon_random();
    command.found.timing = d->config->timing;
    command.found.settings = table_settings_default();
    command.found.n_nodes = (uint8_t)d->config->n_peers;
    command.found.nodes = nodes;
    d->found_proposed = true;
    if (command_encode(&command, d->command_bytes, COMMAND_BYTES_MAX, &len) ||
        consensus_submit(d->consensus, d->command_bytes, len, daemon_now() / MS, &index)) {
        d->found_proposed = false; /* tried again by the next turn of the pump */
    }
}
