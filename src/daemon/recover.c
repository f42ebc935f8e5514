/* vipd --recover: from a majority that is lost for good to a cluster of one node.
 *
 * Happy path: the data directory's lock shows that the daemon is stopped; the table is made from the snapshot and the
 * whole log, so nothing that was ever answered as done is missing, if this node had it; every other member is named by
 * the person, and none of them answers at its address; a snapshot with the new cluster's table takes the log's place, in
 * one transaction. Failure modes: each of these not so: nothing is changed, and it says why. What this node's log lacks
 * because the lost majority had not told it yet is lost; so the survivor with the highest term and index is the one to
 * recover. */

#include "daemon/recover.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "io/consensus.h"
#include "io/sockaddr.h"
#include "io/store.h"
#include "wire/command.h"
#include "wire/snapshot.h"

#define ANSWER_MS 500 /* for the connection to a member that should be off */

struct recovery
{
    const struct config *config;
    struct store *store;
    const struct consensus_state *state;
    struct table *table;
    void *scratch;
    uint64_t self, last_index, last_term;
};

/* ---------------------------------------------------------------- what the directory has */

static int apply_entry(struct recovery *r, const struct consensus_entry *entry)
{
    struct command command;
    struct outcome outcome;
    if (entry->type == CONSENSUS_BARRIER) {
        table_skip(r->table, entry->index);
        return 0;
    }
    if (entry->type == CONSENSUS_CHANGE) {
        struct consensus_server servers[CONSENSUS_SERVERS_MAX];
        struct server list[CONSENSUS_SERVERS_MAX];
        unsigned n = 0;
        int rv = consensus_servers_in(entry->data, entry->len, servers, CONSENSUS_SERVERS_MAX, &n);
        for (unsigned i = 0; !rv && i < n && i < CONSENSUS_SERVERS_MAX; i++) {
            list[i] = (struct server){.id = servers[i].id, .voter = servers[i].role == CONSENSUS_VOTER};
        }
        if (!rv) {
            table_configure(r->table, entry->index, list, n);
        }
        return rv;
    }
    int rv = command_decode(entry->data, entry->len, r->scratch, COMMAND_SCRATCH_BYTES, &command);
    if (!rv) {
        table_apply(r->table, entry->index, &command, &outcome);
    }
    return rv;
}

static int make_table(struct recovery *r)
{
    const struct consensus_state *state = r->state;
    int rv = 0;
    table_init(r->table);
    if (state->snapshot) {
        rv = snapshot_decode(state->snapshot->data, state->snapshot->len, r->table);
        r->last_index = state->snapshot->index;
        r->last_term = state->snapshot->term;
    }
    for (size_t i = 0; !rv && i < state->n_entries; i++) {
        r->last_index = state->entries[i].index;
        r->last_term = state->entries[i].term;
        if (r->last_index > r->table->applied) {
            rv = apply_entry(r, &state->entries[i]);
        }
    }
    return rv;
}

static int load(struct recovery *r)
{
    char text[STORE_TEXT_SIZE] = "";
    struct store_options options = {.path = r->config->data, .cluster = r->config->cluster, .node = r->config->node};
    int rv = store_open(&options, &r->store, text);
    if (!rv) {
        rv = store_load(r->store, &r->state, text);
    }
    if (rv) {
        fprintf(stderr, "vipd: %s\n", text);
        return rv == -EBUSY ? 3 : 1;
    }
    r->table = malloc(sizeof *r->table);
    r->scratch = malloc(COMMAND_SCRATCH_BYTES);
    if (!r->table || !r->scratch || make_table(r)) {
        fprintf(stderr, "vipd: the log of %s cannot be read\n", r->config->data);
        return 1;
    }
    if (store_get_u64(r->store, "node-id", &r->self) || !r->table->cluster_id ||
        table_node_by_id(r->table, r->self) == SLOT_NONE) {
        fprintf(stderr, "vipd: node %s is no member of a cluster by the data in %s: there is nothing to go on with\n",
                r->config->node, r->config->data);
        return 1;
    }
    return 0;
}

/* ---------------------------------------------------------------- what a person has to know, and to say */

static unsigned print_others(const struct recovery *r)
{
    unsigned n = 0;
    char at[ENDPOINT_TEXT_MAX];
    for (int i = 0; i < NODES_MAX; i++) {
        const struct node *node = &r->table->nodes[i];
        unsigned owned = 0;
        if (!node->used || node->id == r->self) {
            continue;
        }
        for (int k = 0; k < r->table->vips_end; k++) {
            owned += r->table->vips[k].used && r->table->vips[k].owner == i;
        }
        printf("  %-20s %-8s at %s, owned %u VIP%s\n", node->name, node_role_text(node->role),
               endpoint_format(&node->at, at), owned, owned == 1 ? "" : "s");
        n++;
    }
    return n;
}

static void print_names(const struct recovery *r)
{
    const char *comma = "";
    for (int i = 0; i < NODES_MAX; i++) {
        if (r->table->nodes[i].used && r->table->nodes[i].id != r->self) {
            printf("%s%s", comma, r->table->nodes[i].name);
            comma = ",";
        }
    }
}

static int explain(const struct recovery *r)
{
    printf("node %s of cluster %s: log up to index %llu of term %llu\n\n", r->config->node, r->table->cluster,
           (unsigned long long)r->last_index, (unsigned long long)r->last_term);
    printf("The other members:\n");
    if (!print_others(r)) {
        printf("  none: nothing is lost, start the daemon\n");
        return 1;
    }
    printf("\nRecovering makes a new cluster of this node alone. Do it only when the majority of the voters is lost for good,\n"
           "and on the surviving voter with the highest term and index (run this on each). EVERY member above must be off\n"
           "(powered off, or its vipd stopped) and must never start vipd with its old data again: one that did could hold\n"
           "VIPs beside this node. What only the lost members knew is lost.\n\nThen:\n  vipd -c FILE --recover --yes ");
    print_names(r);
    printf("\n");
    return 3;
}

/* Whether `yes` is every other member, no one else, and no one twice. */
static bool names_all(const struct recovery *r, const char *yes)
{
    uint64_t named = 0, others = 0;
    char copy[NODES_MAX * NAME_SIZE], *save = NULL;
    for (int i = 0; i < NODES_MAX; i++) {
        others |= (uint64_t)(r->table->nodes[i].used && r->table->nodes[i].id != r->self) << i;
    }
    snprintf(copy, sizeof copy, "%s", yes);
    for (char *name = strtok_r(copy, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
        int slot = table_node_by_name(r->table, name);
        if (slot == SLOT_NONE || !(others >> slot & 1)) {
            fprintf(stderr, "vipd: %s is not another member of the cluster\n", name);
            return false;
        }
        named |= 1ull << slot;
    }
    for (int i = 0; i < NODES_MAX; i++) {
        if ((others & ~named) >> i & 1) {
            fprintf(stderr, "vipd: --yes does not name %s: every other member must be off, and named\n",
                    r->table->nodes[i].name);
            return false;
        }
    }
    return true;
}

static bool answers(const struct endpoint *at)
{
    struct sockaddr_storage to;
    socklen_t len = sockaddr_from(at, &to);
    int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int error = ECONNREFUSED;
    if (fd < 0) {
        return false;
    }
    if (connect(fd, (const struct sockaddr *)&to, len) == 0) {
        error = 0;
    } else if (errno == EINPROGRESS) {
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        socklen_t size = sizeof error;
        if (poll(&wait, 1, ANSWER_MS) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) {
            error = errno;
        }
    }
    close(fd);
    return error == 0;
}

/* The person may be wrong. */
static bool all_are_silent(const struct recovery *r)
{
    bool silent = true;
    char at[ENDPOINT_TEXT_MAX];
    for (int i = 0; i < NODES_MAX; i++) {
        const struct node *node = &r->table->nodes[i];
        if (node->used && node->id != r->self && answers(&node->at)) {
            fprintf(stderr, "vipd: node %s is not off: it answers at %s\n", node->name, endpoint_format(&node->at, at));
            silent = false;
        }
    }
    return silent;
}

/* ---------------------------------------------------------------- the new cluster */

static int64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int write_all(struct recovery *r, const void *configuration, size_t configuration_len)
{
    uint64_t index = r->table->applied;
    size_t len = 0;
    int rv = snapshot_encode(r->table, NULL, 0, &len);
    void *data = rv ? NULL : malloc(len);
    if (!data || snapshot_encode(r->table, data, len, &len)) {
        free(data);
        return -ENOMEM;
    }
    struct consensus_snapshot snapshot = {.index = index,
                                          .term = r->state->term + 1,
                                          .configuration_index = index,
                                          .configuration = configuration,
                                          .configuration_len = configuration_len,
                                          .data = data,
                                          .len = len};
    struct consensus_job job = {
        .number = 1, .set_vote = true, .term = r->state->term + 1, .vote = 0, .truncate_from = 1, .snapshot = &snapshot};
    struct consensus_job *jobs[] = {&job};
    rv = store_write(r->store, jobs, 1);
    free(data);
    if (!rv) {
        rv = store_set(r->store, "members", "", 0);
    }
    return rv ? rv : store_set_u64(r->store, "cluster-id", r->table->cluster_id);
}

static int recover(struct recovery *r)
{
    struct consensus_server alone = {.id = r->self, .address = r->config->node, .role = CONSENSUS_VOTER};
    uint64_t cluster_id = 0;
    void *configuration = NULL;
    size_t len = 0;
    while (!cluster_id) {
        if (getrandom(&cluster_id, sizeof cluster_id, 0) != sizeof cluster_id) {
            return 1;
        }
    }
    table_recover(r->table, r->last_index + 1, r->self, cluster_id, wall_ms());
    int rv = consensus_founding(&alone, 1, &configuration, &len);
    if (!rv) {
        rv = write_all(r, configuration, len);
    }
    free(configuration);
    if (rv) {
        fprintf(stderr, "vipd: %s: %s\n", r->config->data, rv == -ENOMEM ? "no memory" : store_error(r->store));
        return 1;
    }
    printf("recovered: node %s is a cluster of its own. Start vipd here; empty the other nodes' data directories before\n"
           "they start again, and add them anew: vipctl node add NODE ADDRESS:PORT\n",
           r->config->node);
    return 0;
}

int recover_run(const struct config *config, const char *yes)
{
    struct recovery r = {.config = config};
    int status = load(&r);
    if (!status && !yes) {
        status = explain(&r);
    } else if (!status && !names_all(&r, yes)) {
        status = 2;
    } else if (!status && !all_are_silent(&r)) {
        status = 3;
    } else if (!status) {
        status = recover(&r);
    }
    store_close(r.store);
    free(r.table);
    free(r.scratch);
    return status;
}
