/* Commands, logs made of them, and the snapshots that those lead to. */

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "seeds.h"
#include "wire/command.h"
#include "wire/snapshot.h"

#define LOG_MAX 16384

static struct table table;
static uint8_t log_bytes[LOG_MAX]; /* of target_log.c: {u16 length, command} */
static size_t log_len;

static void snapshot(const char *name)
{
    static uint8_t bytes[SNAPSHOT_BYTES_MAX];
    size_t len;

    seed_need(snapshot_encode(&table, bytes, sizeof bytes, &len) == 0, name);
    seed("snapshot", name, bytes, len);
}

static void log_begin(void)
{
    table_init(&table);
    log_len = 0;
}

/* Appends to the log and, under a name, is a seed by itself. The command does what it says. */
static void entry(const struct command *command, const char *name)
{
    struct outcome outcome;
    size_t len;

    seed_need(command_encode(command, log_bytes + log_len + 2, sizeof log_bytes - log_len - 2, &len) == 0, "a command");
    seed_need(len <= UINT16_MAX, "a command is too long");
    log_bytes[log_len] = (uint8_t)(len >> 8);
    log_bytes[log_len + 1] = (uint8_t)len;
    if (name != NULL) {
        seed("command", name, log_bytes + log_len + 2, len);
    }
    log_len += 2 + len;
    table_apply(&table, table.applied + 1, command, &outcome);
    seed_need(outcome.code == OUTCOME_DONE, outcome.detail);
}

static void found(const char *name)
{
    static const struct found_node DEFAULTS = {.role = ROLE_VOTER};
    static struct found_node nodes[4];
    struct command command = {.type = COMMAND_FOUND, .at_ms = 1700000000000};

    for (int i = 0; i < 4; i++) {
        nodes[i] = DEFAULTS;
        nodes[i].id = (uint64_t)i + 1;
        nodes[i].name[0] = (char)('a' + i);
        nodes[i].at = seed_endpoint("[2001:db8::1]:7400");
        nodes[i].at.addr.bytes[15] = (uint8_t)(i + 1);
        nodes[i].role = i == 3 ? ROLE_STANDBY : ROLE_VOTER;
    }
    strcpy(command.found.cluster, "prod");
    command.found.cluster_id = UINT64_MAX;
    command.found.timing = (struct timing){100, 300, 500, 20, 1000};
    command.found.settings = (struct settings){.announce_count = 5, .announce_interval_ms = 200, .announce_refresh_ms = 60000};
    command.found.n_nodes = 4;
    command.found.nodes = nodes;
    entry(&command, name);
}

static void report(int8_t node, const char *name)
{
    struct command command = {.type = COMMAND_NODE_REPORT};

    command.report.node = node;
    command.report.id = (uint64_t)node + 1;
    command.report.identity = 1000;
    command.report.run = 70000;
    command.report.n_links = 2;
    strcpy(command.report.links[0].name, "eth0");
    command.report.links[0].up = true;
    memcpy(command.report.links[0].mac, "\x02\x00\x5e\x10\x00\x01", MAC_SIZE);
    command.report.links[0].n_prefixes = 2;
    command.report.links[0].prefixes[0] = seed_prefix("10.0.0.0/24");
    command.report.links[0].prefixes[1] = seed_prefix("2001:db8::/64");
    strcpy(command.report.links[1].name, "eth1");
    strcpy(command.report.version, "0.1.0");
    command.report.reads_first = command.report.reads_last = 2;
    entry(&command, name);
}

static void of_node(enum command_type type, int8_t node, const char *name)
{
    struct command command = {.type = type, .node = {.node = node}};

    command.node.since = table.nodes[node].since;
    command.node.fence = table.nodes[node].fence;
    entry(&command, name);
}

static void add(const char *name)
{
    static const char *const ADDRESSES[] = {"10.0.0.50/24", "2001:db8::50/64", "10.0.0.52", "10.0.0.53/24"};
    static struct vip_spec specs[4];
    struct command command = {.type = COMMAND_VIP_ADD, .request = 77, .who = "uid 0 on a", .at_ms = -1};

    for (int i = 0; i < 4; i++) {
        specs[i] = (struct vip_spec){.enabled = i != 3, .pinned = i == 1 ? 2 : SLOT_NONE,
                                     .no_probe = i == 2, .yield = i == 1, .failback = i == 1 ? own_failback(600000) : 0};
        specs[i].address = seed_prefix(ADDRESSES[i]);
    }
    strcpy(specs[0].name, "web");
    strcpy(specs[0].group, "front");
    strcpy(specs[0].dev, "eth0");
    specs[0].nodes = 7;
    strcpy(specs[0].hooks[HOOK_AFTER_TAKE].program, "notify");
    specs[0].hooks[HOOK_AFTER_TAKE].timeout_ms = 5000;
    specs[0].n_prefers = 2;
    specs[0].prefers[0] = (struct prefer){.node = 2, .weight = 100};
    specs[0].prefers[1] = (struct prefer){.node = 0, .weight = 50};
    command.vip_add.vips = specs;
    command.vip_add.n_vips = 4;
    entry(&command, name);
}

static void set(const char *name)
{
    struct command command = {.type = COMMAND_VIP_SET, .request = 78, .who = "uid 1000 on b"};

    command.vip_set.vip = 2;
    strcpy(command.vip_set.name, "10.0.0.52");
    command.vip_set.set = VIP_SET_APART | VIP_SET_NAME | VIP_SET_GROUP | VIP_SET_PREFERS | VIP_SET_HOOKS | VIP_SET_RESET;
    command.vip_set.spec.no_reset = true;
    strcpy(command.vip_set.spec.hooks[HOOK_BEFORE_RELEASE].program, "leave.sh");
    command.vip_set.spec.hooks[HOOK_BEFORE_RELEASE].timeout_ms = 200;
    strcpy(command.vip_set.spec.name, "db");
    strcpy(command.vip_set.spec.group, "back");
    command.vip_set.spec.pinned = SLOT_NONE;
    command.vip_set.spec.n_apart = 2;
    command.vip_set.spec.apart[0] = 0;
    command.vip_set.spec.apart[1] = 1;
    command.vip_set.spec.n_prefers = 1;
    command.vip_set.spec.prefers[0] = (struct prefer){.node = 1, .weight = 1};
    entry(&command, name);
}

static struct move move_of(uint16_t vip, int8_t to, enum reason reason)
{
    return (struct move){.vip = vip, .to = to, .reason = reason, .moved = table.vips[vip].moved};
}

static void moves(const char *name)
{
    const struct move some[] = {move_of(0, 0, REASON_NEW), move_of(1, 2, REASON_MANUAL), move_of(2, 1, REASON_NEW)};
    const struct command command = {.type = COMMAND_MOVE, .move = {.n_moves = 3, .moves = some}};

    entry(&command, name);
}

static void fence(const char *name)
{
    const struct move some[] = {move_of(0, 1, REASON_CRASH)};
    const struct command command = {
        .type = COMMAND_FENCE, .fence = {.node = 0, .gen = table.nodes[0].gen, .n_moves = 1, .moves = some}};

    entry(&command, name);
}

static void removal(enum command_type type, uint16_t vip, const char *name)
{
    const struct move some[] = {move_of(vip, SLOT_NONE, REASON_DELETED)};
    const struct command command = {.type = type, .vip_del = {.n_vips = 1, .vips = some}};

    entry(&command, name);
}

static void drain(bool on, const char *name)
{
    const struct command command = {.type = COMMAND_DRAIN, .drain = {.node = 2, .id = 3, .on = on}};

    entry(&command, name);
}

static void settings_and_group(void)
{
    struct command command = {.type = COMMAND_SETTINGS, .settings = {3, 100, 0}};

    entry(&command, "settings");
    command = (struct command){.type = COMMAND_GROUP_SET, .request = 79};
    strcpy(command.group.name, "front");
    command.group.n_prefers = 1;
    command.group.prefers[0] = (struct prefer){.node = 1, .weight = 65535};
    entry(&command, "group-set");
}

static void conflict(uint16_t vip, enum conflict_kind kind, const char *name)
{
    const struct conflict_item item = {
        .vip = vip, .moved = table.vips[vip].moved, .kind = kind, .mac = {2, 0x66, 0, 0, 0, 1}};
    const struct command command = {.type = COMMAND_CONFLICT,
                                    .at_ms = 1700000001000,
                                    .conflict = {.node = table.vips[vip].owner,
                                                 .id = (uint64_t)table.vips[vip].owner + 1,
                                                 .n_items = 1,
                                                 .items = &item}};

    entry(&command, name);
}

static void document(const char *name)
{
    const struct vip_spec spec = {.name = "doc",
                                  .address = {.addr = {.family = 4, .bytes = {10, 0, 0, 77}}, .len = 24},
                                  .group = "front",
                                  .enabled = true,
                                  .pinned = SLOT_NONE};
    const struct vip_item item = {.slot = 20, .set = VIP_SET_ALL, .spec = spec};
    const struct check_item check = {.slot = 5, .spec = {.name = "db", .kind = CHECK_TCP, .target = "[::1]:5432", .every_ms = 1000,
                                                         .timeout_ms = 1000, .fall = 1, .rise = 1, .weight = 7}};
    const struct move gone = {.vip = 0, .to = SLOT_NONE, .reason = REASON_DELETED, .moved = table.vips[0].moved};
    const struct group group = {.name = "front", .failback = OWN_FAILBACK_NEVER, .n_prefers = 1, .prefers = {{.node = 0, .weight = 7}}};
    static const char kept[] = "vips: {}\n";
    const struct command command = {.type = COMMAND_APPLY,
                                    .at_ms = 1700000001000,
                                    .apply = {.revision = table.revision,
                                              .source = "cluster.yaml",
                                              .has_settings = true,
                                              .settings = table_settings_default(),
                                              .has_voting = true,
                                              .voting = {.count = 3, .replace_ms = 60000},
                                              .n_checks = 1,
                                              .checks = &check,
                                              .n_vips = 1,
                                              .vips = &item,
                                              .n_deletes = 1,
                                              .deletes = &gone,
                                              .n_groups = 1,
                                              .groups = &group,
                                              .kept = kept,
                                              .kept_size = sizeof kept - 1}};

    entry(&command, name);
}

/* It says something behind a configuration of Raft only, so it is not in the logs. */
static void voters(void)
{
    const struct command command = {.type = COMMAND_VOTERS, .at_ms = 1700000002000, .voters = {.index = 70000}};
    uint8_t bytes[64];
    size_t len;

    seed_need(command_encode(&command, bytes, sizeof bytes, &len) == 0, "a command");
    seed("command", "voters", bytes, len);
}

static void members(void)
{
    struct command command = {.type = COMMAND_NODE_ADD, .request = 80};

    strcpy(command.node_add.name, "e");
    command.node_add.at = seed_endpoint("[2001:db8::5]:7400");
    entry(&command, "node-add");
    command = (struct command){.type = COMMAND_NODE_SET, .node_set = {.node = 1, .id = 2, .set = 3, .wish = WISH_SPARE}};
    command.node_set.at = seed_endpoint("[2001:db8::22]:7400");
    entry(&command, "node-set");
    command = (struct command){.type = COMMAND_VOTING, .voting = {.count = 5, .replace_ms = 30000}};
    entry(&command, "voting");
    command = (struct command){.type = COMMAND_NODE_REMOVE, .node_remove = {.node = 4, .id = 5}};
    entry(&command, "node-remove");
    of_node(COMMAND_NODE_DELETE, 4, "node-delete");
}

static void checks(void)
{
    struct command command = {.type = COMMAND_CHECK_SET,
                              .check.spec = {.name = "haproxy", .kind = CHECK_HTTP, .target = "http://127.0.0.1:8404/healthz",
                                             .every_ms = 1000, .timeout_ms = 500, .fall = 3, .rise = 2}};

    entry(&command, "check-set");
    command = (struct command){.type = COMMAND_HEALTH,
                               .health = {.node = 1, .id = 2, .checks = table.checks_index, .passing = 1}};
    entry(&command, "health");
    snapshot("checks");
    command = (struct command){.type = COMMAND_CHECK_DELETE, .check = {.changed = table.checks_index, .spec.name = "haproxy"}};
    entry(&command, "check-delete");
}

static void maintenance(void)
{
    struct command command = {.type = COMMAND_MAINTENANCE,
                              .who = "uid 0 on a",
                              .maintenance = {.op = MAINTENANCE_BEGIN, .run = table.maintenance.run, .runner = 7,
                                              .settle_ms = 1000, .drain_ms = 60000, .return_ms = 600000,
                                              .words = "ssh\0{node}\0reboot", .words_size = 18, .n_nodes = 2,
                                              .nodes = {1, 0}, .ids = {2, 1}}};

    entry(&command, "maintenance-begin");
    command.maintenance = (struct maintenance_command){.op = MAINTENANCE_STEP, .run = table.maintenance.run,
                                                       .from = STEP_WAITING, .to = STEP_DRAINING};
    entry(&command, "maintenance-step");
    command.maintenance.from = STEP_DRAINING;
    command.maintenance.to = STEP_DRAINED;
    entry(&command, NULL);
    command.maintenance = (struct maintenance_command){.op = MAINTENANCE_CLAIM, .run = table.maintenance.run, .runner = 7};
    entry(&command, "maintenance-claim");
    command.maintenance.op = MAINTENANCE_END;
    command.maintenance.status = 3;
    strcpy(command.maintenance.why, "the command ended with 3");
    strcpy(command.maintenance.tail, "no space left on device");
    entry(&command, "maintenance-end");
    snapshot("maintenance");
    command.maintenance = (struct maintenance_command){.op = MAINTENANCE_ABORT, .run = table.maintenance.run};
    entry(&command, NULL);
}

void seeds_log(void)
{
    log_begin();
    snapshot("empty");
    found("found");
    report(0, "node-report");
    for (int8_t node = 0; node < 3; node++) {
        of_node(COMMAND_ADMIT, node, node == 0 ? "admit" : NULL);
    }
    snapshot("founded");
    add("vip-add");
    set("vip-set");
    moves("move");
    snapshot("placed");
    seed("log", "placed", log_bytes, log_len);
    conflict(0, CONFLICT_TAKEN, "conflict");
    conflict(0, CONFLICT_NONE, "conflict-end");
    conflict(1, CONFLICT_YIELDED, NULL);
    settings_and_group();
    checks();
    maintenance();
    fence("fence");
    of_node(COMMAND_CLEAR, 0, "clear");
    of_node(COMMAND_ADMIT, 0, NULL);
    drain(true, "drain");
    drain(false, "undrain");
    removal(COMMAND_VIP_DELETE, 1, "vip-delete");
    snapshot("deleted");
    seed("log", "deleted", log_bytes, log_len);
    members();
    voters();
    removal(COMMAND_VIP_DELETE, 3, NULL);
    removal(COMMAND_VIP_PURGE, 3, "vip-purge");
    const struct command leave = {.type = COMMAND_LEAVE, .leave = {.node = 1, .id = 2, .run = 4}};
    entry(&leave, "leave");
    report(1, NULL);
    document("apply");
    seed("log", "all", log_bytes, log_len);
    snapshot("all");
}
