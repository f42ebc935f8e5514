/* Raft's commands become the table's changes: what the log commits is decoded and applied, and the core is told. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "daemon/daemon.h"
#include "io/pages.h"
#include "wire/command.h"
#include "wire/snapshot.h"

/* The founding leader's timing is the cluster's, whatever this node's file says. */
static void follow_timing(struct daemon *d)
{
    const struct timing *timing = &d->table->timing;
    if (d->table->cluster_id && d->consensus && d->timing_of != d->table->cluster_id) {
        d->timing_of = d->table->cluster_id;
        if (consensus_set_times(d->consensus, timing->election_ms, timing->interval_ms)) {
            daemon_fatal(d, "timing");
        }
        pump_raft_timer(d);
    }
}

/* Kept on disk, so that it is known before a leader says what of the log is committed. */
static void keep_cluster(struct daemon *d)
{
    if (d->table->cluster_id && d->cluster_id != d->table->cluster_id) {
        d->cluster_id = d->table->cluster_id;
        if (store_set_u64(d->store, "cluster-id", d->cluster_id)) {
            daemon_fatal(d, store_error(d->store));
        }
    }
}

static void table_moved(struct daemon *d)
{
    follow_timing(d);
    keep_cluster(d);
    format_table_changed(d);
    members_table_changed(d);
    kernel_table_changed(d);
    fsm_progress(d);
    if (!d->applied_queued) {
        struct event event = {.type = EV_APPLIED};
        d->applied_queued = true;
        daemon_event(d, &event);
    }
}

#define LARGE 4096 /* bytes of a command, above which its decoding leaves memory behind that is not needed every day */

static void on_apply(void *ud, uint64_t index, uint64_t term, const void *data, size_t len)
{
    struct daemon *d = ud;
    struct command command;
    struct outcome outcome = {.code = OUTCOME_FAILED, .index = index};
    (void)term;
    if (d->halted) {
        return;
    }
    int rv = command_decode(data, len, d->scratch, COMMAND_SCRATCH_BYTES, &command);
    if (rv) {
        /* it was proposed by a version that knows more than this one: what it does not understand it must not guess, and nothing
         * that comes behind it may be applied without it */
        char what[160];
        snprintf(what, sizeof what, "the log holds a command that vipd %s does not know, at index %llu; install the version "
                 "that the leader runs", VIPD_VERSION, (unsigned long long)index);
        d->halted = true;
        daemon_fatal(d, what);
        return;
    }
    table_apply(d->table, index, &command, &outcome);
    if (len > LARGE) {
        pages_give_back(d->scratch, COMMAND_SCRATCH_BYTES);
    }
    requests_applied(d, index, command.request, &outcome);
    table_moved(d);
}

static void on_skip(void *ud, uint64_t index, uint64_t term)
{
    struct daemon *d = ud;
    (void)term;
    if (d->halted) {
        return;
    }
    table_skip(d->table, index);
    table_moved(d);
}

static void on_configured(void *ud, uint64_t index, uint64_t term, const struct consensus_server *servers, unsigned n)
{
    struct daemon *d = ud;
    struct server list[CONSENSUS_SERVERS_MAX];
    (void)term;
    if (d->halted) {
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        list[i] = (struct server){.id = servers[i].id, .voter = servers[i].role == CONSENSUS_VOTER};
    }
    table_configure(d->table, index, list, n);
    table_moved(d);
}

/* The servers as they are, with one of them in its new place. */
static unsigned next_servers(struct daemon *d, uint64_t id, enum configure_role role, struct consensus_server *servers)
{
    unsigned n = consensus_servers(d->consensus, servers, CONSENSUS_SERVERS_MAX), at = 0;
    while (at < n && servers[at].id != id) {
        at++;
    }
    if (role == CONFIGURE_NONE) {
        if (at < n) {
            servers[at] = servers[--n];
        }
        return n;
    }
    if (at == n && n < CONSENSUS_SERVERS_MAX) {
        servers[n++] = (struct consensus_server){.id = id, .address = members_name(d, id)};
    }
    if (at < n) {
        servers[at].role = role == CONFIGURE_VOTER ? CONSENSUS_VOTER : CONSENSUS_STANDBY;
    }
    return n;
}

void fsm_configure(struct daemon *d, uint64_t id, enum configure_role role)
{
    struct consensus_server servers[CONSENSUS_SERVERS_MAX];
    struct event event = {.type = EV_PROPOSED};
    unsigned n = next_servers(d, id, role, servers);
    if (consensus_configure(d->consensus, servers, n, daemon_now() / MS, &event.proposed.index)) {
        event.proposed.index = 0; /* busy, behind, or no leader any more: the core asks again */
    }
    daemon_result(d, &event);
}

static int on_restore(void *ud, uint64_t index, const void *data, size_t len)
{
    struct daemon *d = ud;
    struct table *table = calloc(1, sizeof *table); /* a running table is replaced by a whole one, never decoded over */
    if (!table) {
        return -ENOMEM;
    }
    int rv = snapshot_decode(data, len, table);
    if (rv == -EPROTONOSUPPORT) {
        daemon_fatal(d, "the leader's snapshot is in a format that vipd " VIPD_VERSION
                        " does not read; install the version that the leader runs");
    }
    if (!rv && table->applied != index) {
        rv = -EBADMSG;
    }
    if (rv) {
        free(table);
        return rv;
    }
    free(d->table);
    d->table = table;
    core_replace_table(d->core, table);
    table_moved(d);
    return 0;
}

static int on_snapshot(void *ud, void **ret_data, size_t *ret_len)
{
    struct daemon *d = ud;
    size_t len;
    if (d->halted) {
        return -EPROTONOSUPPORT;
    }
    int rv = snapshot_encode(d->table, NULL, 0, &len);
    if (rv) {
        return rv;
    }
    void *data = malloc(len);
    if (!data) {
        return -ENOMEM;
    }
    rv = snapshot_encode(d->table, data, len, &len);
    if (rv) {
        free(data);
        return rv;
    }
    *ret_data = data;
    *ret_len = len;
    return 0;
}

static void on_role(void *ud, bool leader, uint64_t term, uint64_t leader_id)
{
    struct daemon *d = ud;
    struct event event = {.type = EV_ROLE};
    event.role.role = leader ? RAFT_ROLE_LEADER : RAFT_ROLE_FOLLOWER;
    event.role.term = term;
    event.role.leader = leader_id;
    if (!leader) {
        d->found_proposed = false;
    }
    requests_role(d);
    daemon_event(d, &event);
}

static void disk_event(struct daemon *d)
{
    struct event event = {.type = EV_DISK};
    event.disk.last_term = d->last_term;
    event.disk.last_index = d->last_index;
    event.disk.target = d->target;
    event.disk.caught_up = d->caught_up;
    daemon_event(d, &event);
}

void fsm_progress(struct daemon *d)
{
    if (!d->caught_up && d->table->applied >= d->target && d->table->cluster_id) {
        d->caught_up = true; /* V2, N2 */
        kernel_caught_up(d);
        disk_event(d);
    }
}

static void on_disk(void *ud, uint64_t last_term, uint64_t last_index)
{
    struct daemon *d = ud;
    if (last_index < d->target) {
        d->target = last_index; /* a truncation lowers it (V2) */
    }
    d->last_term = last_term;
    d->last_index = last_index;
    fsm_progress(d);
    disk_event(d);
}

static void on_persist(void *ud, struct consensus_job *job)
{
    struct daemon *d = ud;
    storage_write(d, job);
}

static void on_send(void *ud, uint64_t to, const void *frame, size_t len)
{
    struct daemon *d = ud;
    if (d->peers && peers_send(d->peers, to, CHANNEL_RAFT, frame, len)) {
        return; /* not connected: Raft repeats it */
    }
}

/* A leader that was added later than this node's table knows is a leader. */
static bool on_known(void *ud, uint64_t id)
{
    const struct daemon *d = ud;
    return table_may_have(d->table, id);
}

static void on_fatal(void *ud, int error, const char *what)
{
    struct daemon *d = ud;
    log_write(LOG_STORE, "what=\"%s\" error=%d", what, error);
    daemon_fatal(d, what);
}

const struct consensus_ops FSM_OPS = {
    .persist = on_persist,
    .send = on_send,
    .apply = on_apply,
    .skip = on_skip,
    .configured = on_configured,
    .restore = on_restore,
    .snapshot = on_snapshot,
    .role = on_role,
    .disk = on_disk,
    .known = on_known,
    .fatal = on_fatal,
};

int fsm_start(struct daemon *d, const struct consensus_state *state)
{
    const struct timing *timing = &d->config->timing;
    struct consensus_options options = {
        .id = d->self,
        .address = d->config->node,
        .seed = (unsigned)daemon_random(),
        .election_ms = timing->election_ms,
        .heartbeat_ms = timing->interval_ms,
    };
    d->target = state->n_entries ? state->entries[state->n_entries - 1].index
                                    : (state->snapshot ? state->snapshot->index : 0);
    int rv = consensus_new(&options, &FSM_OPS, d, &d->consensus);
    if (rv) {
        return rv;
    }
    rv = consensus_start(d->consensus, state, daemon_now() / MS);
    pump_raft_timer(d);
    return rv;
}
