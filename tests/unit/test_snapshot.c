/* Snapshots: a table that is decoded is the one that was encoded; damaged ones are refused. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/command.h"
#include "wire/command.h"
#include "core/format.h"
#include "wire/snapshot.h"

static struct table table, decoded;
static uint8_t bytes[SNAPSHOT_BYTES_MAX], again[SNAPSHOT_BYTES_MAX];

static void apply(const struct command *command)
{
    struct outcome outcome;

    table_apply(&table, table.applied + 1, command, &outcome);
    if (outcome.code != OUTCOME_DONE) {
        fail_msg("%s", outcome.detail);
    }
}

static struct prefix prefix_of(const char *text)
{
    struct prefix prefix;

    assert_int_equal(prefix_parse(text, &prefix, NULL), 0);
    return prefix;
}

static void fill(char *text, size_t size, int number)
{
    memset(text, 'n', size - 1);
    text[size - 1] = '\0';
    snprintf(text, size, "%0*d", (int)size - 1, number);
}

#define SOME_ID ((uint64_t)0xfffffffffff) /* of the first node */

/* A table with something of everything, made by commands. */
static void some_table(void)
{
    static struct found_node founders[3];
    static struct vip_spec specs[3];
    static struct move moves[2];
    struct command command = {.type = COMMAND_FOUND, .at_ms = 1, .who = ""};

    table_init(&table);
    for (int i = 0; i < 3; i++) {
        founders[i] = (struct found_node){.id = SOME_ID - (uint64_t)i, .name = {(char)('a' + i)}};
        assert_int_equal(endpoint_parse("[2001:db8:1::1]:7400", &founders[i].at), 0);
        founders[i].at.port = (uint16_t)(7400 + i);
        specs[i] = (struct vip_spec){.enabled = i != 1, .pinned = i == 1 ? 2 : SLOT_NONE};
        specs[i].address = prefix_of(i == 0 ? "10.0.0.50/24" : i == 1 ? "2001:db8::50/64" : "10.0.0.52/32");
    }
    strcpy(command.found.cluster, "prod");
    command.found.cluster_id = 5;
    command.found.timing = (struct timing){100, 300, 500, 20, 1000};
    command.found.settings = (struct settings){.announce_count = 5, .announce_interval_ms = 200, .announce_refresh_ms = 60000};
    command.found.n_nodes = 3;
    command.found.nodes = founders;
    apply(&command);
    command = (struct command){.type = COMMAND_ADMIT, .at_ms = 2};
    command.node.since = 1;
    apply(&command);
    command = (struct command){.type = COMMAND_NODE_REPORT};
    command.report.id = SOME_ID;
    command.report.identity = 9;
    command.report.n_links = 1;
    strcpy(command.report.links[0].name, "eth0");
    command.report.links[0].up = true;
    command.report.links[0].n_prefixes = 1;
    command.report.links[0].prefixes[0] = prefix_of("10.0.0.1/24");
    strcpy(command.report.version, "0.1.0");
    apply(&command);
    command = (struct command){.type = COMMAND_VIP_ADD, .request = 77, .who = "uid 0 on a", .at_ms = -1};
    strcpy(specs[0].group, "web");
    strcpy(specs[0].dev, "eth0");
    specs[0].nodes = 5;
    specs[0].n_prefers = 1;
    specs[0].prefers[0] = (struct prefer){.node = 2, .weight = 100};
    command.vip_add.vips = specs;
    command.vip_add.n_vips = 3;
    apply(&command);
    command = (struct command){.type = COMMAND_VIP_SET};
    command.vip_set.vip = 2;
    strcpy(command.vip_set.name, "10.0.0.52");
    command.vip_set.set = VIP_SET_APART;
    command.vip_set.spec.n_apart = 1;
    command.vip_set.spec.pinned = SLOT_NONE;
    apply(&command);
    moves[0] = (struct move){.vip = 0, .to = 0, .reason = REASON_NEW, .moved = table.vips[0].moved};
    moves[1] = (struct move){.vip = 2, .to = 1, .reason = REASON_MANUAL, .moved = table.vips[2].moved};
    command = (struct command){.type = COMMAND_MOVE, .move = {.n_moves = 2, .moves = moves}};
    apply(&command);
    moves[0] = (struct move){.vip = 0};
    command = (struct command){.type = COMMAND_VIP_DELETE, .vip_del = {.n_vips = 1, .vips = moves}};
    apply(&command);
    command = (struct command){.type = COMMAND_LEAVE, .leave = {.node = 1, .id = SOME_ID - 1, .run = 4}};
    apply(&command);
    table_skip(&table, 1000000000000ull);
}

static size_t encode(void)
{
    size_t len = 0, counted = 1;

    assert_int_equal(snapshot_encode(&table, NULL, 0, &counted), 0);
    assert_in_range(counted, 1, SNAPSHOT_BYTES_MAX);
    assert_int_equal(snapshot_encode(&table, bytes, sizeof bytes, &len), 0);
    assert_int_equal(len, counted);
    return len;
}

static int decode(const void *from, size_t len, struct table *ret)
{
    table_init(ret);
    return snapshot_decode(from, len, ret);
}

static void assert_round_trip(void)
{
    size_t len = encode(), len_again;

    assert_int_equal(decode(bytes, len, &decoded), 0);
    assert_true(table_digest(&decoded) == table_digest(&table));
    assert_int_equal(decoded.n_vips, table.n_vips);
    assert_int_equal(decoded.vips_end, table.vips_end);
    assert_int_equal(snapshot_encode(&decoded, again, sizeof again, &len_again), 0);
    assert_int_equal(len_again, len);
    assert_memory_equal(again, bytes, len);
}

static void round_trip(void **state)
{
    some_table();
    assert_round_trip();
    assert_int_equal(table_vip_find(&decoded, "2001:db8::50"), 1);
    assert_int_equal(table_vip_find(&decoded, "10.0.0.50"), SLOT_NONE); /* a tombstone */
    assert_int_equal(table_vip_by_addr(&decoded, &table.vips[0].address.addr), 0);
    assert_int_equal(decoded.vips[0].prev, 0);
}

static void an_empty_table(void **state)
{
    table_init(&table);
    assert_round_trip();
}

/* What is applied afterwards has the same effect on both. */
static void goes_on_alike(void **state)
{
    struct vip_spec spec = {.enabled = true, .pinned = SLOT_NONE};
    struct command command = {.type = COMMAND_VIP_ADD, .request = 78};
    struct outcome a, b;

    some_table();
    assert_int_equal(decode(bytes, encode(), &decoded), 0);
    spec.address = prefix_of("10.0.0.53/24");
    command.vip_add.vips = &spec;
    command.vip_add.n_vips = 1;
    for (int i = 0; i < 3; i++) {
        command.request = 76 + (uint64_t)i; /* one of them was done before */
        spec.address.addr.bytes[3]++;
        table_apply(&table, table.applied + 1, &command, &a);
        table_apply(&decoded, decoded.applied + 1, &command, &b);
        assert_int_equal(a.code, b.code);
        assert_true(a.index == b.index);
    }
    assert_true(table_digest(&decoded) == table_digest(&table));
}

/* ------------------------------------------------------------------ random logs */

static uint64_t seed;

static uint32_t below(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)((seed >> 11) % n);
}

static struct vip_spec random_spec(void)
{
    struct vip_spec spec = {.enabled = below(4) != 0, .pinned = (int8_t)((int)below(5) - 1)};

    spec.address = prefix_of("10.0.0.0/24");
    spec.address.addr.bytes[3] = (uint8_t)(1 + below(40));
    if (below(2)) {
        snprintf(spec.name, sizeof spec.name, "v%u", below(30));
    }
    if (below(2)) {
        snprintf(spec.group, sizeof spec.group, "g%u", below(5));
    }
    spec.no_probe = below(4) == 0;
    spec.yield = below(2);
    spec.no_reset = below(2);
    for (int i = 0; i < HOOK_POINTS_N; i++) {
        if (below(3) == 0) {
            snprintf(spec.hooks[i].program, HOOK_PROGRAM_SIZE, "h%u", below(5));
            spec.hooks[i].timeout_ms = 10 + below(100);
        }
    }
    spec.failback = below(3) ? 0 : below(OWN_FAILBACK_MAX + 1);
    spec.nodes = below(3) ? 0 : below(16);
    spec.checks = below(3) ? 0 : below(16);
    spec.n_prefers = (uint8_t)below(3);
    for (int i = 0; i < spec.n_prefers; i++) {
        spec.prefers[i] = (struct prefer){.node = (int8_t)below(4), .weight = (uint16_t)below(100)};
    }
    spec.n_apart = (uint8_t)below(3);
    for (int i = 0; i < spec.n_apart; i++) {
        spec.apart[i] = (uint16_t)below(20);
    }
    return spec;
}

static struct move random_move(void)
{
    struct move move = {.vip = (uint16_t)below(25), .to = (int8_t)((int)below(5) - 1)};

    move.reason = (enum reason)below(REASONS_N);
    move.moved = below(8) ? table.vips[move.vip].moved : below(100);
    return move;
}

static void random_conflict(struct command *command, int node)
{
    static struct conflict_item items[3];

    command->conflict.node = (int8_t)node;
    command->conflict.id = table.nodes[node].id;
    command->conflict.items = items;
    command->conflict.n_items = 3;
    for (int i = 0; i < 3; i++) {
        items[i] = (struct conflict_item){.vip = (uint16_t)below(25), .kind = (enum conflict_kind)below(CONFLICT_KINDS_N)};
        items[i].moved = below(8) ? table.vips[items[i].vip].moved : below(100);
        items[i].mac[0] = (uint8_t)below(256);
        items[i].mac[5] = (uint8_t)below(256);
    }
}

/* Adds, changes and deletes at random; most are void, as a whole. */
static void random_document(struct command *command, struct move *moves, uint32_t n, const struct vip_spec *specs)
{
    static struct vip_item items[3];
    static struct group groups[1];
    static struct check_item check;
    static char text[64];

    for (uint32_t i = 0; i < n; i++) {
        bool used;

        items[i] = (struct vip_item){.slot = (uint16_t)below(25), .set = VIP_SET_ALL, .spec = specs[i]};
        used = table.vips[items[i].slot].used;
        if (used) {
            items[i].spec.address = table.vips[items[i].slot].address;
            items[i].set = below(VIP_SET_ALL + 1);
        }
        if ((items[i].set & VIP_SET_NAME) == 0) {
            memset(items[i].spec.name, 0, sizeof items[i].spec.name);
        } else {
            snprintf(items[i].spec.name, NAME_SIZE, "d%u-%u", i, below(40));
        }
        moves[i].moved = table.vips[moves[i].vip].moved;
    }
    snprintf(groups[0].name, NAME_SIZE, "g%u", below(5));
    groups[0].checks = specs[0].checks;
    groups[0].failback = specs[0].failback;
    groups[0].n_prefers = specs[0].n_prefers;
    memcpy(groups[0].prefers, specs[0].prefers, sizeof specs[0].prefers);
    snprintf(text, sizeof text, "vips: {%u}", below(1000));
    command->apply.revision = below(8) ? table.revision : below(100);
    snprintf(command->apply.source, NAME_SIZE, "c%u.yaml", below(5));
    command->apply.has_settings = below(2);
    command->apply.settings = (struct settings){.announce_count = (uint16_t)(1 + below(100)), .announce_interval_ms = 10 + below(100), .announce_refresh_ms = below(3) ? 0 : 2000};
    check = (struct check_item){.slot = (uint8_t)below(6), .spec = check_spec_default()};
    check.spec.kind = CHECK_PROCESS;
    snprintf(check.spec.target, sizeof check.spec.target, "p%u", below(3));
    check.spec.weight = (uint16_t)below(3);
    snprintf(check.spec.name, NAME_SIZE, "k%u", below(6));
    if (table.checks[check.slot].spec.name[0] != '\0') {
        memcpy(check.spec.name, table.checks[check.slot].spec.name, NAME_SIZE);
        check.gone = below(4) == 0;
    }
    command->apply.checks = &check;
    command->apply.n_checks = below(2);
    command->apply.has_voting = below(2);
    command->apply.voting = (struct voting){.count = (uint8_t)(3 + 2 * below(3)), .replace_ms = 1000 + below(5000)};
    command->apply.n_vips = below(n + 1);
    command->apply.vips = items;
    command->apply.n_deletes = below(2);
    command->apply.deletes = moves;
    command->apply.n_groups = below(2);
    command->apply.groups = groups;
    command->apply.kept = text;
    command->apply.kept_size = below(2) ? (uint32_t)strlen(text) : 0;
}

static void random_check(struct command *command)
{
    struct check_spec *spec = &command->check.spec;
    int slot;

    snprintf(spec->name, sizeof spec->name, "c%u", below(6));
    slot = table_check_by_name(&table, spec->name);
    command->check.changed = slot != SLOT_NONE && below(8) ? table.checks[slot].changed : 0;
    spec->kind = CHECK_FILE;
    snprintf(spec->target, sizeof spec->target, "/run/%u", below(3));
    spec->every_ms = 1000;
    spec->timeout_ms = 50 * below(25);
    spec->fall = (uint8_t)below(4);
    spec->rise = 2;
    spec->weight = (uint16_t)(below(2) * 50);
    spec->node = below(4) == 0;
    spec->release = below(2);
}

static void random_maintenance(struct maintenance_command *c)
{
    const struct maintenance *m = &table.maintenance;

    c->op = (enum maintenance_op)(below(8) ? MAINTENANCE_STEP + below(MAINTENANCE_OPS_N - 2) : below(MAINTENANCE_OPS_N));
    c->op = maintenance_is_open(m) ? c->op : MAINTENANCE_BEGIN;
    c->run = m->run;
    c->step = (uint8_t)(maintenance_is_open(m) && m->at != SLOT_NONE ? m->at : (int)below(2));
    c->from = m->steps[c->step].state;
    c->to = (enum step_state)below(STEP_STATES_N);
    c->runner = c->op == MAINTENANCE_LOST ? m->beat : 1 + below(2);
    c->status = (int32_t)below(3) - 1;
    c->again = (enum maintenance_again)below(MAINTENANCE_AGAINS_N);
    snprintf(c->tail, sizeof c->tail, "line %u", below(100));
    c->settle_ms = below(5);
    c->drain_ms = c->return_ms = 5 + below(100);
    c->words_size = 5;
    memcpy(c->words, "true\0", 5);
    for (int node = 0; node < 4; node++) {
        if (table.nodes[node].used) {
            c->nodes[c->n_nodes] = (int8_t)node;
            c->ids[c->n_nodes++] = table.nodes[node].id;
        }
    }
}

static void random_command(struct command *command, struct move *moves, struct vip_spec *specs)
{
    int node = (int)below(4);
    uint32_t n = 1 + below(3);

    memset(command, 0, sizeof *command);
    command->type = (enum command_type)(COMMAND_FENCE + below(COMMAND_FORMAT - COMMAND_FENCE + 1));
    command->at_ms = (int64_t)table.applied * 7;
    command->request = below(3) ? 0 : 1 + below(400);
    for (uint32_t i = 0; i < n; i++) {
        moves[i] = random_move();
        specs[i] = random_spec();
    }
    switch (command->type) {
    case COMMAND_FENCE:
        command->fence.node = (int8_t)node;
        command->fence.gen = table.nodes[node].gen;
        command->fence.moves = moves;
        command->fence.n_moves = n;
        break;
    case COMMAND_CLEAR:
    case COMMAND_ADMIT:
        command->node.node = (int8_t)node;
        command->node.since = table.nodes[node].since;
        break;
    case COMMAND_MOVE:
        command->move.moves = moves;
        command->move.n_moves = n;
        break;
    case COMMAND_VIP_ADD:
        command->vip_add.vips = specs;
        command->vip_add.n_vips = n;
        break;
    case COMMAND_VIP_SET:
        command->vip_set.vip = moves[0].vip;
        memcpy(command->vip_set.name, table.vips[moves[0].vip].name, NAME_SIZE);
        command->vip_set.set = below(VIP_SET_CHECKS * 2);
        command->vip_set.spec = specs[0];
        break;
    case COMMAND_VIP_DELETE:
    case COMMAND_VIP_PURGE:
        command->vip_del.vips = moves;
        command->vip_del.n_vips = n;
        break;
    case COMMAND_NODE_REPORT:
        command->report.node = (int8_t)node;
        command->report.id = table.nodes[node].id;
        command->report.identity = (uint64_t)node + 1;
        command->report.run = below(3);
        command->report.n_links = (uint8_t)below(3);
        for (int i = 0; i < command->report.n_links; i++) {
            snprintf(command->report.links[i].name, DEV_SIZE, "eth%d", i);
            command->report.links[i].up = below(3) != 0;
            command->report.links[i].n_prefixes = 1;
            command->report.links[i].prefixes[0] = prefix_of(i ? "10.1.0.1/24" : "10.0.0.1/24");
        }
        break;
    case COMMAND_DRAIN:
        command->drain.node = (int8_t)node;
        command->drain.id = table.nodes[node].id;
        command->drain.on = below(2);
        break;
    case COMMAND_LEAVE:
        command->leave.node = (int8_t)node;
        command->leave.id = table.nodes[node].id;
        command->leave.run = below(3);
        break;
    case COMMAND_SETTINGS:
        command->settings = (struct settings){.announce_count = (uint16_t)below(120), .announce_interval_ms = 5 + below(100), .announce_refresh_ms = below(3) ? 0 : 2000};
        break;
    case COMMAND_GROUP_SET:
        snprintf(command->group.name, NAME_SIZE, "g%u", below(5));
        command->group.checks = below(2) ? 0 : below(16);
        command->group.failback = below(2) ? 0 : below(OWN_FAILBACK_MAX + 1);
        command->group.n_prefers = specs[0].n_prefers;
        memcpy(command->group.prefers, specs[0].prefers, sizeof specs[0].prefers);
        break;
    case COMMAND_CONFLICT:
        random_conflict(command, node);
        break;
    case COMMAND_APPLY:
        random_document(command, moves, n, specs);
        break;
    case COMMAND_NODE_ADD:
        snprintf(command->node_add.name, NAME_SIZE, "n%u", below(6));
        assert_int_equal(endpoint_parse("[2001:db8:1::1]:7400", &command->node_add.at), 0);
        command->node_add.at.port = (uint16_t)(7400 + below(8));
        break;
    case COMMAND_NODE_SET:
        command->node_set.node = (int8_t)node;
        command->node_set.id = table.nodes[node].id;
        command->node_set.set = below(4);
        command->node_set.wish = (enum node_wish)below(3);
        command->node_set.at = table.nodes[node].at;
        command->node_set.at.port = (uint16_t)(7400 + below(8));
        break;
    case COMMAND_NODE_REMOVE:
        command->node_remove.node = (int8_t)node;
        command->node_remove.id = below(4) ? 0 : table.nodes[node].id;
        break;
    case COMMAND_NODE_DELETE:
        command->node.node = (int8_t)node;
        command->node.since = table.nodes[node].since;
        break;
    case COMMAND_VOTERS:
        command->voters.index = table.voters_index;
        break;
    case COMMAND_VOTING:
        command->voting = (struct voting){(uint8_t)(3 + below(3)), 500 + below(2000)};
        break;
    case COMMAND_CHECK_SET:
    case COMMAND_CHECK_DELETE:
        random_check(command);
        break;
    case COMMAND_HEALTH:
        command->health.node = (int8_t)node;
        command->health.id = table.nodes[node].id;
        command->health.checks = below(8) ? table.checks_index : below(100);
        command->health.passing = below(16);
        command->health.failing = below(16);
        break;
    case COMMAND_MAINTENANCE:
        random_maintenance(&command->maintenance);
        break;
    case COMMAND_FORMAT:
        command->upgrade.was = table.format;
        command->upgrade.format = FORMAT_FIRST + below(3);
        break;
    case COMMAND_FOUND:
        break;
    }
}

/* An entry without a command: some nodes get the log, some of these vote. */
static void random_configuration(void)
{
    struct server servers[NODES_MAX];
    unsigned n = 0;

    for (int i = 0; i < NODES_MAX; i++) {
        if (table.nodes[i].used && (!table.nodes[i].removing || below(2))) {
            servers[n++] = (struct server){.id = table.nodes[i].id, .voter = n < VOTERS_MAX && below(2)};
        }
    }
    table_configure(&table, table.applied + 1, servers, n);
    table_configure(&decoded, decoded.applied + 1, servers, n);
}

/* Two nodes: one applies the commands as they are, the other as bytes of the log and restarts from snapshots. Their tables
 * are equal all the way, and what commands leave behind can always be decoded again. */
static void random_logs(void **state)
{
    _Alignas(max_align_t) static uint8_t scratch[4096];
    unsigned done = 0, refused = 0, gone = 0;

    for (unsigned log = 0; log < 12; log++) {
        seed = 0x9e3779b97f4a7c15ull * ((uint64_t)log + 1);
        some_table();
        assert_int_equal(decode(bytes, encode(), &decoded), 0);
        for (int i = 0; i < 1500; i++) {
            struct command command, got;
            struct move moves[3];
            struct vip_spec specs[3];
            struct outcome a, b;
            size_t len;

            random_command(&command, moves, specs);
            assert_int_equal(command_encode(&command, bytes, sizeof bytes, &len), 0);
            assert_int_equal(command_decode(bytes, len, scratch, sizeof scratch, &got), 0);
            table_apply(&table, table.applied + 1, &command, &a);
            table_apply(&decoded, decoded.applied + 1, &got, &b);
            assert_int_equal(a.code, b.code);
            assert_string_equal(a.detail, b.detail);
            if (below(10) == 0) {
                random_configuration();
            }
            gone += command.type == COMMAND_NODE_DELETE && a.code == OUTCOME_DONE;
            done += a.code == OUTCOME_DONE;
            refused += a.code != OUTCOME_DONE;
            if (i % 100 == 99) {
                assert_true(table_digest(&decoded) == table_digest(&table));
                assert_round_trip();
            }
        }
    }
    assert_in_range(done, 4000, 18000);
    assert_in_range(refused, 2000, 18000);
    assert_in_range(gone, 10, 18000);
}

/* The largest table: every slot, every list, every text and number at its longest. */
static void the_largest_table(void **state)
{
    size_t len;

    some_table();
    table.n_history = UINT64_MAX;
    table.n_dedup = UINT64_MAX;
    table.applied = UINT64_MAX;
    for (int i = 0; i < NODES_MAX; i++) {
        table.nodes[i] = table.nodes[0];
        table.nodes[i].id = UINT64_MAX - (uint64_t)i;
        fill(table.nodes[i].name, NAME_SIZE, i);
        table.nodes[i].n_links = LINKS_MAX;
        for (int k = 0; k < LINKS_MAX; k++) {
            fill(table.nodes[i].links[k].name, DEV_SIZE, k);
            table.nodes[i].links[k].n_prefixes = LINK_PREFIXES_MAX;
            for (int m = 0; m < LINK_PREFIXES_MAX; m++) {
                table.nodes[i].links[k].prefixes[m] = prefix_of("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff/128");
            }
        }
    }
    for (int i = 0; i < GROUPS_MAX; i++) {
        fill(table.groups[i].name, NAME_SIZE, i);
        table.groups[i].n_prefers = PREFERS_MAX;
        for (int k = 0; k < HOOK_POINTS_N; k++) {
            fill(table.groups[i].hooks[k].program, HOOK_PROGRAM_SIZE, k);
            table.groups[i].hooks[k].timeout_ms = HOOK_TIMEOUT_MAX_MS;
        }
        for (int k = 0; k < PREFERS_MAX; k++) {
            table.groups[i].prefers[k] = (struct prefer){.node = (int8_t)k, .weight = UINT16_MAX};
        }
    }
    for (int i = 0; i < VIPS_MAX; i++) {
        struct vip *vip = &table.vips[i];

        memset(vip, 0, sizeof *vip);
        vip->used = vip->enabled = true;
        fill(vip->name, NAME_SIZE, i);
        fill(vip->dev, DEV_SIZE, i);
        vip->address = prefix_of("2001:db8:ffff:ffff:ffff:ffff::/128");
        vip->address.addr.bytes[14] = (uint8_t)(i >> 8);
        vip->address.addr.bytes[15] = (uint8_t)i;
        vip->nodes = UINT64_MAX;
        vip->group = GROUPS_MAX - 1;
        vip->n_prefers = PREFERS_MAX;
        memcpy(vip->prefers, table.groups[0].prefers, sizeof vip->prefers);
        vip->n_apart = APART_MAX;
        for (int k = 0; k < APART_MAX; k++) {
            vip->apart[k] = (uint16_t)(VIPS_MAX - 1 - k);
        }
        vip->pinned = vip->owner = vip->prev = NODES_MAX - 1;
        vip->moved = UINT64_MAX;
        vip->moved_ms = INT64_MIN;
        vip->no_probe = vip->yield = vip->fresh = vip->no_reset = true;
        hooks_set(table.vip_hooks[i], table.groups[0].hooks);
        vip->failback = OWN_FAILBACK_MAX;
        vip->conflict.kind = CONFLICT_YIELDED;
        vip->conflict.at_ms = INT64_MIN;
        memset(vip->conflict.mac, 0xff, MAC_SIZE);
    }
    for (int i = 0; i < HISTORY_MAX; i++) {
        table.history[i] = (struct history){.index = UINT64_MAX, .at_ms = INT64_MIN, .set = VIP_SET_ALL, .enabled = true};
        fill(table.history[i].subject, NAME_SIZE, i);
        fill(table.history[i].who, WHO_SIZE, i);
        fill(table.history_was[i], NAME_SIZE, i);
        memset(table.history[i].mac, 0xff, MAC_SIZE);
    }
    for (int i = 0; i < DEDUP_MAX; i++) {
        table.dedup[i] = (struct dedup){.request = UINT64_MAX, .code = OUTCOME_FAILED, .index = UINT64_MAX};
    }
    table.n_kept = UINT64_MAX;
    for (int i = 0; i < KEPT_MAX; i++) {
        table.kept[i] = (struct kept_document){.revision = UINT64_MAX, .until_ms = INT64_MIN, .size = KEPT_BYTES_MAX};
        memset(table.kept[i].text, 'k', KEPT_BYTES_MAX);
    }
    table_index(&table);
    assert_int_equal(table.n_vips, VIPS_MAX);
    assert_round_trip();
    len = encode();
    print_message("the largest snapshot has %zu bytes\n", len);
    assert_in_range(len, SNAPSHOT_BYTES_MAX / 4, SNAPSHOT_BYTES_MAX);
    assert_int_equal(snapshot_encode(&table, bytes, len - 1, &len), -ENOBUFS);
}

static void truncated_or_longer(void **state)
{
    size_t len;

    some_table();
    len = encode();
    for (size_t i = 0; i < len; i++) {
        uint8_t *piece = test_malloc(i + 1); /* so that ASan sees a read behind its end */

        memcpy(piece + 1, bytes, i);
        assert_int_equal(decode(piece + 1, i, &decoded), -EBADMSG);
        test_free(piece);
    }
    bytes[len] = 0;
    assert_int_equal(decode(bytes, len + 1, &decoded), -EBADMSG);
    assert_int_equal(decoded.n_vips, 0);
    assert_true(decoded.cluster_id == 0 && decoded.applied == 0);
}

/* Refused, or a table that holds together: it can be encoded, decoded and is the same again. */
static void damaged(void **state)
{
    static const uint8_t VALUES[] = {0x00, 0x01, 0x7f, 0x80, 0x90, 0xa0, 0xc0, 0xcc, 0xcf, 0xd9, 0xdc, 0xdd, 0xff};
    size_t len, taken = 0, refused = 0;

    some_table();
    len = encode();
    for (size_t at = 0; at < len; at++) {
        uint8_t was = bytes[at];

        /* table_init() of some MiB is what takes the time */
        for (size_t i = at % 4; i < sizeof VALUES; i += 4) {
            size_t len_again;

            bytes[at] = VALUES[i];
            if (VALUES[i] == was) {
                continue;
            }
            if (decode(bytes, len, &decoded) != 0) {
                refused++;
                continue;
            }
            taken++;
            assert_int_equal(snapshot_encode(&decoded, again, sizeof again, &len_again), 0);
            assert_in_range(len_again, len - 16, len);
        }
        bytes[at] = was;
    }
    assert_in_range(taken, 10, len * 4);
    assert_in_range(refused, 100, len * 4);
}

/* The turn of node 0, which is drained. */
static void some_maintenance(void)
{
    struct maintenance *m = &table.maintenance;

    *m = (struct maintenance){.state = MAINTENANCE_RUNNING, .run = 3, .words = "true", .words_size = 5, .n_steps = 2};
    for (int i = 0; i < 2; i++) {
        m->steps[i].node = (int8_t)i;
        m->steps[i].id = table.nodes[i].id;
    }
    m->steps[0].state = STEP_DRAINED;
}

/* Each is well-formed and means nothing. */
static void what_does_not_hang_together(void **state)
{
#define REFUSED(change)                                                                                                \
    do {                                                                                                               \
        some_table();                                                                                                  \
        change;                                                                                                        \
        assert_int_equal(decode(bytes, encode(), &decoded), -EBADMSG);                                        \
    } while (0)
    REFUSED(table.voters |= 1ull << 40);
    REFUSED(table.vips[2].owner = 40);
    REFUSED(table.vips[2].prev = 40);
    REFUSED(table.vips[2].pinned = 40);
    REFUSED(table.vips[2].owner = NODES_MAX);
    REFUSED(table.vips[2].nodes = 1ull << 40);
    REFUSED(table.vips[2].group = 9);
    REFUSED(table.vips[2].apart[0] = 9);
    REFUSED(table.vips[2].address = table.vips[1].address);
    REFUSED(strcpy(table.vips[2].name, table.vips[1].name));
    REFUSED(table.vips[2].name[0] = '\0');
    REFUSED(table.vips[2].moved = table.applied + 1);
    REFUSED(table.vips[2].reason = REASONS_N);
    REFUSED(table.nodes[1].id = table.nodes[0].id);
    REFUSED(strcpy(table.nodes[1].name, "a"));
    REFUSED(table.nodes[1].status = NODE_FENCED + 1);
    REFUSED(table.nodes[1].role = ROLE_SPARE + 1);
    REFUSED(strcpy(table.groups[0].name, "g"); table.groups[0].n_prefers = 1; table.groups[0].prefers[0].node = 40);
    REFUSED(table.history[0].kind = HISTORY_KINDS_N);
    REFUSED(table.history[0].set = VIP_SET_ALL + 1);
    REFUSED(table.dedup[0].code = OUTCOME_FAILED + 1);
    some_table();
    some_maintenance();
    assert_int_equal(snapshot_decode(bytes, encode(), &decoded), 0);
    assert_memory_equal(&decoded.maintenance, &table.maintenance, sizeof table.maintenance);
    REFUSED(some_maintenance(); table.maintenance.state = MAINTENANCE_STATES_N);
    REFUSED(some_maintenance(); table.maintenance.steps[1].node = 40);
    REFUSED(some_maintenance(); table.maintenance.steps[1].id = 99);
    REFUSED(some_maintenance(); table.maintenance.steps[1].state = STEP_RUNNING); /* two at a time */
    REFUSED(some_maintenance(); table.maintenance.at = SLOT_NONE);
    REFUSED(some_maintenance(); table.maintenance.at = 5);
    REFUSED(some_maintenance(); table.maintenance.words[4] = 's');
    REFUSED(some_maintenance(); table.maintenance.words_size = 0);
#undef REFUSED
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(an_empty_table),
        cmocka_unit_test(goes_on_alike),
        cmocka_unit_test(random_logs),
        cmocka_unit_test(the_largest_table),
        cmocka_unit_test(truncated_or_longer),
        cmocka_unit_test(damaged),
        cmocka_unit_test(what_does_not_hang_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
