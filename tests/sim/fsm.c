/* The node's half towards the consensus: the duties of daemon/fsm.c and daemon/founding.c. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"
#include "wire/command.h"
#include "wire/snapshot.h"

static uint8_t bytes[COMMAND_BYTES_MAX];
static _Alignas(16) uint8_t scratch[COMMAND_SCRATCH_BYTES + 64];

static void table_moved(struct sim_node *node)
{
    members_table_changed(node);
    kernel_table_changed(node);
    fsm_progress(node);
    if (!node->applied_queued) {
        struct event event = {.type = EV_APPLIED};
        node->applied_queued = true;
        node_event(node, &event);
    }
}

static void count(const struct command *command, const struct outcome *outcome, uint64_t index)
{
    if (outcome->code != OUTCOME_DONE || index <= world.newest) {
        return;
    }
    world.stats->fences += command->type == COMMAND_FENCE;
    world.stats->clears += command->type == COMMAND_CLEAR;
    world.stats->admits += command->type == COMMAND_ADMIT;
    world.stats->moves += command->type == COMMAND_MOVE ? command->move.n_moves : 0;
}

static void say(const struct sim_node *node, uint64_t index, const struct command *command,
                const struct outcome *outcome)
{
    static const char *const NAMES[] = {"?",        "found",  "fence",     "clear",  "admit", "move",     "vip-add", "vip-set",
                                        "vip-delete", "purge", "report", "drain", "leave",  "settings", "group",
                                        "conflict", "apply", "node-add", "node-set", "node-remove", "node-delete", "voters", "voting", "check-set",
                                        "check-delete", "health"};
    char more[300] = "";
    size_t at = 0;

    if (!world.trace) {
        return;
    }
    if (command->type == COMMAND_FENCE) {
        at += (size_t)snprintf(more, sizeof more, "%c", members_letter(node->table, command->fence.node));
    } else if (command->type == COMMAND_CLEAR || command->type == COMMAND_ADMIT || command->type == COMMAND_NODE_DELETE) {
        at += (size_t)snprintf(more, sizeof more, "%c", members_letter(node->table, command->node.node));
    }
    const struct move *moves = command->type == COMMAND_FENCE  ? command->fence.moves
                               : command->type == COMMAND_MOVE ? command->move.moves
                               : command->type == COMMAND_VIP_DELETE || command->type == COMMAND_VIP_PURGE
                                   ? command->vip_del.vips
                                   : NULL;
    unsigned n = command->type == COMMAND_FENCE  ? command->fence.n_moves
                 : command->type == COMMAND_MOVE ? command->move.n_moves
                 : moves != NULL                 ? command->vip_del.n_vips
                                                 : 0;
    for (unsigned i = 0; i < n && at + 40 < sizeof more; i++) {
        at += (size_t)snprintf(more + at, sizeof more - at, " %s>%c", node->table->vips[moves[i].vip].name,
                               members_letter(node->table, moves[i].to));
    }
    world_say(node->slot, "applied %llu %s %s%s", (unsigned long long)index, NAMES[command->type], more,
              outcome->code == OUTCOME_DONE ? "" : outcome->code == OUTCOME_STALE ? " (stale)" : " (refused)");
}

static void on_apply(void *ud, uint64_t index, uint64_t term, const void *data, size_t len)
{
    struct sim_node *node = ud;
    struct command command;
    struct outcome outcome = {.code = OUTCOME_FAILED, .index = index};

    if (command_decode(data, len, scratch, sizeof scratch, &command) != 0) {
        world_violated(VIOLATION_BUG, "a command of the log does not decode");
        return;
    }
    if (index > disk_last(&node->disk)) {
        world_violated(VIOLATION_SAFETY, "%c applies %llu, which is not on its disk", 'a' + node->slot,
                       (unsigned long long)index);
    }
    table_apply(node->table, index, &command, &outcome);
    say(node, index, &command, &outcome);
    if (outcome.code != OUTCOME_DONE) {
        world_say(node->slot, "entry %llu did nothing: %s", (unsigned long long)index, outcome.detail);
    }
    count(&command, &outcome, index);
    oracle_applied(node);
    world_note("applied", node->slot, index, (uint64_t)outcome.code);
    client_applied(node, index, command.request, &outcome);
    table_moved(node);
}

static void on_skip(void *ud, uint64_t index, uint64_t term)
{
    struct sim_node *node = ud;

    table_skip(node->table, index);
    oracle_applied(node);
    table_moved(node);
}

static void on_configured(void *ud, uint64_t index, uint64_t term, const struct consensus_server *servers, unsigned n)
{
    struct sim_node *node = ud;
    struct server list[CONSENSUS_SERVERS_MAX];

    for (unsigned i = 0; i < n; i++) {
        list[i] = (struct server){.id = servers[i].id, .voter = servers[i].role == CONSENSUS_VOTER};
    }
    uint64_t before = node->table->voters_index;
    table_configure(node->table, index, list, n);
    world_say(node->slot, "applied %llu configuration: voters %llx", (unsigned long long)index,
              (unsigned long long)node->table->voters);
    world.stats->voter_changes += node->table->voters_index != before && index > world.newest;
    oracle_applied(node);
    table_moved(node);
}

/* L5_ONE broken. */
static void demote_another(const struct sim_node *node, struct consensus_server *servers, unsigned n, uint64_t promoted)
{
    unsigned from = (unsigned)chance_below(&world.work, n);

    for (unsigned i = 0; i < n; i++) {
        struct consensus_server *server = &servers[(from + i) % n];
        if (server->role == CONSENSUS_VOTER && server->id != promoted && server->id != node->id) {
            server->role = CONSENSUS_STANDBY;
            return;
        }
    }
}

/* All but the leader and the node that it is about are bystanders, whose tables are about to be old. */
static void tell_ambushes(const struct sim_node *node, uint64_t id, enum configure_role role)
{
    bool was = node->table->voters >> table_node_by_id(node->table, id) & 1;

    for (int i = 0; i < world.n && (was || role == CONFIGURE_VOTER); i++) {
        if (i != node->slot && world.nodes[i].id != 0 && (was || world.nodes[i].id != id)) {
            ambush_trigger(was ? TRIGGER_DEMOTE : TRIGGER_PROMOTE, i);
        }
    }
}

/* ACT_CONFIGURE. */
void fsm_configure(struct sim_node *node, uint64_t id, enum configure_role role)
{
    struct consensus_server servers[CONSENSUS_SERVERS_MAX];
    struct event event = {.type = EV_PROPOSED};
    unsigned n = consensus_servers(node->consensus, servers, CONSENSUS_SERVERS_MAX), at;

    for (at = 0; at < n && servers[at].id != id;) {
        at++;
    }
    if (role == CONFIGURE_NONE && at < n) {
        servers[at] = servers[--n];
    } else if (role != CONFIGURE_NONE) {
        if (at == n) {
            servers[n++] = (struct consensus_server){.id = id, .address = node->table->nodes[table_node_by_id(node->table, id)].name};
        }
        servers[at].role = role == CONFIGURE_VOTER ? CONSENSUS_VOTER : CONSENSUS_STANDBY;
    }
    if (!RULE(L5_ONE) && role == CONFIGURE_VOTER) {
        demote_another(node, servers, n, id);
    }
    if (consensus_configure(node->consensus, servers, n, clock_own(node) / MS, &event.proposed.index) != 0) {
        event.proposed.index = 0;
    } else {
        tell_ambushes(node, id, role);
    }
    world_note("configure", node->slot, id, event.proposed.index);
    node_result(node, &event);
}

static int on_restore(void *ud, uint64_t index, const void *data, size_t len)
{
    static struct table table;
    struct sim_node *node = ud;
    table_init(&table);
    int rv = snapshot_decode(data, len, &table);

    if (rv == 0 && table.applied != index) {
        rv = -EBADMSG;
    }
    if (rv == 0) {
        *node->table = table;
        world.stats->installed += node->phase == STARTED && node->started_raft;
        world_note("restored", node->slot, index, 0);
        oracle_applied(node);
        table_moved(node);
    }
    return rv;
}

static int on_snapshot(void *ud, void **ret_data, size_t *ret_len)
{
    struct sim_node *node = ud;
    size_t len;

    if (snapshot_encode(node->table, NULL, 0, &len) != 0) {
        return -EIO;
    }
    *ret_data = malloc(len);
    if (*ret_data == NULL || snapshot_encode(node->table, *ret_data, len, &len) != 0) {
        abort();
    }
    *ret_len = len;
    world.stats->snapshots++;
    return 0;
}

static void on_role(void *ud, bool leader, uint64_t term, uint64_t leader_id)
{
    struct sim_node *node = ud;
    struct event event = {.type = EV_ROLE};

    event.role.role = leader ? RAFT_ROLE_LEADER : RAFT_ROLE_FOLLOWER;
    event.role.term = term;
    event.role.leader = leader_id;
    if (!leader) {
        node->found_proposed = false;
    }
    if (leader) {
        world.stats->elections++;
        ambush_trigger(TRIGGER_LEAD, node->slot);
    }
    world_note(leader ? "leads" : "follows", node->slot, term, leader_id);
    client_role(node);
    node_event(node, &event);
}

static void disk_event(struct sim_node *node)
{
    struct event event = {.type = EV_DISK};

    event.disk.last_term = node->last_term;
    event.disk.last_index = node->last_index;
    event.disk.target = node->target;
    event.disk.caught_up = node->caught_up;
    node_event(node, &event);
}

void fsm_progress(struct sim_node *node)
{
    if (!node->caught_up && node->table->applied >= node->target && node->table->cluster_id != 0) {
        node->caught_up = true; /* V2, N2 */
        kernel_adopt_attach(node);
        world_say(node->slot, "caught up: %llu of %llu", (unsigned long long)node->table->applied,
                  (unsigned long long)node->target);
        disk_event(node);
        ambush_trigger(TRIGGER_CAUGHT_UP, node->slot);
    }
}

static void on_disk(void *ud, uint64_t last_term, uint64_t last_index)
{
    struct sim_node *node = ud;

    if (last_index < node->target && RULE(V2_LOWER)) {
        node->target = last_index; /* a truncation lowers it (V2) */
    }
    node->last_term = last_term;
    node->last_index = last_index;
    fsm_progress(node);
    disk_event(node);
}

static void on_persist(void *ud, struct consensus_job *job)
{
    disk_job(ud, job);
}

static void on_send(void *ud, uint64_t to, const void *frame, size_t len)
{
    const struct sim_node *node = ud;

    if (members_host(to) >= 0) {
        net_send(node->slot, members_host(to), INPUT_FRAME, frame, len);
    }
}

static bool on_known(void *ud, uint64_t id)
{
    const struct sim_node *node = ud;

    return table_may_have(node->table, id);
}

static void on_fatal(void *ud, int error, const char *what)
{
    struct sim_node *node = ud;

    world_say(node->slot, "fatal: %s (%d)", what, error);
    if (!node->disk_fails) {
        world_violated(VIOLATION_BUG, "%c ends though its disk is sound: %s (%d)", 'a' + node->slot, what, error);
    }
    node_stop(node);
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

void fsm_start(struct sim_node *node)
{
    const struct sim_disk *disk = &node->disk;
    struct consensus_entry *entries = calloc(disk->n + 1, sizeof *entries);
    char name[2] = {(char)('a' + node->slot), 0};
    struct consensus_state state = {.term = disk->term, .vote = disk->vote, .entries = entries, .n_entries = disk->n};
    struct consensus_options options = {
        .id = node->id,
        .address = name,
        .seed = (unsigned)chance_next(&world.work),
        .election_ms = world.timing.election_ms,
        .heartbeat_ms = world.timing.interval_ms,
        .install_ms = 500,
        .snapshot_entries = (uint32_t)(10 + world.seed % 7 * 30),
        .trailing_entries = (uint32_t)(4 + world.seed % 5 * 10),
    };

    if (entries == NULL) {
        abort();
    }
    for (size_t i = 0; i < disk->n; i++) {
        entries[i] = (struct consensus_entry){.index = disk->first + i, .term = disk->records[i].term,
            .type = disk->records[i].type, .data = disk->records[i].data, .len = disk->records[i].len};
    }
    if (disk->snapshot.index != 0) {
        state.snapshot = &disk->snapshot;
    }
    node->target = disk_last(disk);
    int rv = consensus_new(&options, &FSM_OPS, node, &node->consensus);
    if (rv == 0) {
        rv = consensus_start(node->consensus, &state, clock_own(node) / MS);
    }
    node->started_raft = true;
    if (rv != 0) {
        world_violated(VIOLATION_BUG, "%c cannot start from its disk (%d)", 'a' + node->slot, rv);
    }
    free(entries);
}

struct endpoint fsm_endpoint(int host)
{
    return (struct endpoint){.addr = {.family = 4, .bytes = {192, 168, 0, (uint8_t)(host + 1)}}, .port = 7700};
}

/* A leader without a founded table. */
void fsm_found(struct sim_node *node)
{
    struct found_node nodes[SIM_NODES];
    int n = 0;
    struct command command = {.type = COMMAND_FOUND, .at_ms = 1700000000000};
    size_t len;
    uint64_t index;

    if (node->consensus == NULL || node->table->cluster_id != 0 || node->found_proposed || !node_leads(node) ||
        node->table->applied < consensus_barrier(node->consensus)) {
        return;
    }
    memset(nodes, 0, sizeof nodes);
    for (int i = 0; i < world.n; i++) {
        if (!world.nodes[i].out) {
            nodes[n].id = (uint64_t)i + 1;
            memcpy(nodes[n].name, world.nodes[i].name, sizeof nodes[n].name);
            nodes[n].at = fsm_endpoint(i);
            nodes[n++].role = world.nodes[i].role;
        }
    }
    memcpy(command.found.cluster, "sim", 4);
    command.found.cluster_id = 77;
    command.found.timing = world.timing;
    command.found.settings = (struct settings){.announce_count = 3, .announce_interval_ms = 200, .announce_refresh_ms = 5000};
    command.found.n_nodes = (uint8_t)n;
    command.found.nodes = nodes;
    node->found_proposed = true;
    if (command_encode(&command, bytes, sizeof bytes, &len) != 0 ||
        consensus_submit(node->consensus, bytes, len, clock_own(node) / MS, &index) != 0) {
        node->found_proposed = false;
    }
}
