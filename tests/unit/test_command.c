/* The log's commands as bytes: what is encoded is what is decoded; what is damaged is refused. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/format.h"
#include "wire/command.h"

static struct
{
    uint8_t bytes[COMMAND_BYTES_MAX];
    uint8_t again[COMMAND_BYTES_MAX];
    _Alignas(max_align_t) uint8_t scratch[COMMAND_SCRATCH_BYTES];
    struct move moves[VIPS_MAX];
    struct vip_spec specs[VIPS_MAX];
    struct conflict_item items[CONFLICTS_MAX];
} mem;

static struct found_node founders[NODES_MAX];

static void fill(char *text, size_t size, char with)
{
    memset(text, with, size - 1);
    text[size - 1] = '\0';
}

static struct vip_item vip_items[2];
static struct check_item check_items[2];
static struct group groups[1];

static struct prefix prefix_of(const char *text)
{
    struct prefix prefix;

    assert_int_equal(prefix_parse(text, &prefix, NULL), 0);
    return prefix;
}

static void longest_spec(struct vip_spec *spec, uint32_t i)
{
    memset(spec, 0, sizeof *spec);
    fill(spec->name, sizeof spec->name, 'n');
    fill(spec->dev, sizeof spec->dev, 'd');
    fill(spec->group, sizeof spec->group, 'g');
    spec->address = prefix_of("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff/128");
    spec->nodes = UINT64_MAX - i;
    spec->pinned = SLOT_NONE;
    spec->no_probe = i % 2 == 0;
    spec->yield = i % 2 == 1;
    spec->no_reset = i % 2 == 0;
    for (int k = 0; k < HOOK_POINTS_N; k++) {
        fill(spec->hooks[k].program, HOOK_PROGRAM_SIZE, 'h');
        spec->hooks[k].timeout_ms = HOOK_TIMEOUT_MAX_MS - (uint32_t)k;
    }
    spec->failback = i % 2 == 1 ? OWN_FAILBACK_MAX : (uint32_t)i;
    spec->n_prefers = PREFERS_MAX;
    spec->n_apart = APART_MAX;
    for (int k = 0; k < PREFERS_MAX; k++) {
        spec->prefers[k] = (struct prefer){.node = (int8_t)(63 - k), .weight = UINT16_MAX};
    }
    for (int k = 0; k < APART_MAX; k++) {
        spec->apart[k] = (uint16_t)(VIPS_MAX - 1 - k);
    }
}

static struct command command_of(enum command_type type)
{
    struct command command;

    memset(&command, 0, sizeof command);
    command.type = type;
    command.at_ms = -5;
    command.request = UINT64_MAX;
    strcpy(command.who, "uid 0 on a");
    return command;
}

/* One of each type, with every field set to something of its own. */
static struct command sample(enum command_type type)
{
    struct command command = command_of(type);

    for (int i = 0; i < 3; i++) {
        mem.moves[i] = (struct move){
            .vip = (uint16_t)(VIPS_MAX - 1 - i),
            .to = (int8_t)(i - 1),
            .reason = (enum reason)(REASONS_N - 1 - i),
            .moved = UINT64_MAX - (uint64_t)i,
        };
        longest_spec(&mem.specs[i], (uint32_t)i);
    }
    switch (type) {
    case COMMAND_FOUND:
        strcpy(command.found.cluster, "prod");
        command.found.cluster_id = 7;
        command.found.timing = (struct timing){100, 300, 500, 20, 1000};
        command.found.settings = (struct settings){.announce_count = 5, .announce_interval_ms = 200, .announce_refresh_ms = 60000};
        command.found.n_nodes = 2;
        command.found.nodes = founders;
        founders[0] = (struct found_node){.id = 1, .name = "a", .role = ROLE_VOTER};
        founders[1] = (struct found_node){.id = UINT64_MAX, .name = "b", .role = ROLE_SPARE};
        assert_int_equal(endpoint_parse("10.0.0.1:7400", &founders[0].at), 0);
        assert_int_equal(endpoint_parse("[2001:db8::1]:65535", &founders[1].at), 0);
        break;
    case COMMAND_FENCE:
        command.fence.node = 63;
        command.fence.gen = 99;
        command.fence.n_moves = 3;
        command.fence.moves = mem.moves;
        break;
    case COMMAND_CLEAR:
    case COMMAND_ADMIT:
        command.node.node = 5;
        command.node.fence = 6;
        command.node.since = 7;
        break;
    case COMMAND_MOVE:
        command.move.n_moves = 3;
        command.move.moves = mem.moves;
        break;
    case COMMAND_VIP_ADD:
        command.vip_add.n_vips = 3;
        command.vip_add.vips = mem.specs;
        break;
    case COMMAND_VIP_SET:
        command.vip_set.vip = 16383;
        strcpy(command.vip_set.name, "web");
        command.vip_set.set = VIP_SET_NAME | VIP_SET_ENABLED;
        command.vip_set.spec = mem.specs[0];
        command.vip_set.spec.enabled = true;
        break;
    case COMMAND_VIP_DELETE:
    case COMMAND_VIP_PURGE:
        command.vip_del.n_vips = 3;
        command.vip_del.vips = mem.moves;
        break;
    case COMMAND_NODE_REPORT:
        command.report.node = 1;
        command.report.id = 2;
        command.report.identity = 3;
        command.report.run = 4;
        command.report.witness = true;
        command.report.n_links = 2;
        strcpy(command.report.links[0].name, "eth0");
        command.report.links[0].up = true;
        memcpy(command.report.links[0].mac, "\xff\xfe\x03\x04\x05\x06", MAC_SIZE);
        command.report.links[0].n_prefixes = 2;
        command.report.links[0].prefixes[0] = prefix_of("10.0.0.1/24");
        command.report.links[0].prefixes[1] = prefix_of("2001:db8::1/64");
        strcpy(command.report.links[1].name, "eth1");
        strcpy(command.report.version, "0.1.0");
        command.report.reads_first = 2;
        command.report.reads_last = UINT32_MAX;
        break;
    case COMMAND_DRAIN:
        command.drain.node = 8;
        command.drain.id = 9;
        command.drain.on = true;
        break;
    case COMMAND_LEAVE:
        command.leave.node = 10;
        command.leave.id = 11;
        command.leave.run = 12;
        break;
    case COMMAND_SETTINGS:
        command.settings = (struct settings){.announce_count = 100, .announce_interval_ms = 60000, .announce_refresh_ms = UINT32_MAX};
        break;
    case COMMAND_GROUP_SET:
        strcpy(command.group.name, "web");
        command.group.n_prefers = 1;
        command.group.prefers[0] = (struct prefer){.node = 3, .weight = 100};
        break;
    case COMMAND_APPLY:
        command.apply.revision = UINT64_MAX;
        fill(command.apply.source, sizeof command.apply.source, 's');
        command.apply.has_settings = true;
        command.apply.settings = (struct settings){.announce_count = 7, .announce_interval_ms = 300, .announce_refresh_ms = 4000};
        command.apply.has_voting = true;
        command.apply.voting = (struct voting){.count = 5, .replace_ms = 90000};
        command.apply.n_checks = 2;
        command.apply.checks = check_items;
        check_items[0] = (struct check_item){.slot = 2, .gone = true, .spec.name = "old"};
        check_items[1] = (struct check_item){.slot = CHECKS_MAX - 1,
                                             .spec = {.name = "disk", .kind = CHECK_PING, .target = "gateway", .every_ms = 3600000,
                                                      .timeout_ms = 10, .fall = 100, .rise = 1, .weight = 65535, .node = true}};
        command.apply.n_vips = 2;
        command.apply.vips = vip_items;
        vip_items[0] = (struct vip_item){.slot = 3, .set = VIP_SET_ALL, .spec = mem.specs[0]};
        vip_items[1] = (struct vip_item){.slot = VIPS_MAX - 1, .set = VIP_SET_LEN, .spec = mem.specs[1]};
        command.apply.n_deletes = 3;
        command.apply.deletes = mem.moves;
        command.apply.n_groups = 1;
        command.apply.groups = groups;
        groups[0] = (struct group){.name = "web", .failback = OWN_FAILBACK_NEVER, .n_prefers = 1, .prefers = {{.node = 3, .weight = 9}}};
        command.apply.kept = "vips: {}\n";
        command.apply.kept_size = 9;
        break;
    case COMMAND_CHECK_SET:
    case COMMAND_CHECK_DELETE:
        command.check.changed = UINT64_MAX;
        memset(command.check.spec.name, 'n', NAME_MAX_LEN);
        memset(command.check.spec.target, 't', CHECK_TARGET_MAX_LEN);
        command.check.spec.kind = CHECK_PING;
        command.check.spec.every_ms = UINT32_MAX;
        command.check.spec.timeout_ms = UINT32_MAX - 1;
        command.check.spec.fall = 255;
        command.check.spec.rise = 254;
        command.check.spec.weight = UINT16_MAX;
        command.check.spec.node = command.check.spec.release = true;
        break;
    case COMMAND_HEALTH:
        command.health.node = 63;
        command.health.id = UINT64_MAX;
        command.health.checks = UINT64_MAX - 1;
        command.health.passing = 1ull << 63;
        command.health.failing = ~(1ull << 63);
        break;
    case COMMAND_MAINTENANCE:
        command.maintenance.op = MAINTENANCE_ABORT;
        command.maintenance.run = UINT64_MAX;
        command.maintenance.step = NODES_MAX - 1;
        command.maintenance.from = STEP_FAILED;
        command.maintenance.to = STEP_SKIPPED;
        command.maintenance.runner = UINT64_MAX - 1;
        command.maintenance.node_run = UINT64_MAX - 2;
        command.maintenance.status = INT32_MIN;
        command.maintenance.again = AGAIN_DONE;
        fill(command.maintenance.why, sizeof command.maintenance.why, 'y');
        fill(command.maintenance.tail, sizeof command.maintenance.tail, 't');
        command.maintenance.restart = command.maintenance.force = true;
        command.maintenance.settle_ms = UINT32_MAX;
        command.maintenance.drain_ms = UINT32_MAX - 1;
        command.maintenance.return_ms = UINT32_MAX - 2;
        command.maintenance.words_size = MAINTENANCE_WORDS_MAX;
        memset(command.maintenance.words, 'w', MAINTENANCE_WORDS_MAX);
        command.maintenance.n_nodes = NODES_MAX;
        for (int i = 0; i < NODES_MAX; i++) {
            command.maintenance.nodes[i] = (int8_t)(NODES_MAX - 1 - i);
            command.maintenance.ids[i] = UINT64_MAX - (uint64_t)i;
        }
        break;
    case COMMAND_FORMAT:
        command.upgrade.was = UINT32_MAX - 1;
        command.upgrade.format = UINT32_MAX;
        break;
    case COMMAND_CONFLICT:
        command.conflict.node = 63;
        command.conflict.id = UINT64_MAX;
        command.conflict.n_items = CONFLICTS_MAX;
        command.conflict.items = mem.items;
        for (int i = 0; i < CONFLICTS_MAX; i++) {
            mem.items[i] = (struct conflict_item){.vip = (uint16_t)(VIPS_MAX - 1 - i),
                                                  .moved = UINT64_MAX - (uint64_t)i,
                                                  .kind = (enum conflict_kind)(i % CONFLICT_KINDS_N),
                                                  .mac = {0xff, 0xfe, 3, 4, 5, (uint8_t)i}};
        }
        break;
    case COMMAND_NODE_ADD:
        strcpy(command.node_add.name, "d");
        assert_int_equal(endpoint_parse("10.0.0.4:7400", &command.node_add.at), 0);
        break;
    case COMMAND_NODE_SET:
        command.node_set.node = 63;
        command.node_set.id = UINT64_MAX;
        command.node_set.set = NODE_SET_AT | NODE_SET_WISH;
        command.node_set.wish = WISH_SPARE;
        assert_int_equal(endpoint_parse("[2001:db8::4]:65535", &command.node_set.at), 0);
        break;
    case COMMAND_NODE_REMOVE:
        command.node_remove.node = 3;
        command.node_remove.id = 4;
        break;
    case COMMAND_NODE_DELETE:
        command.node.node = 6;
        command.node.fence = 7;
        command.node.since = 8;
        break;
    case COMMAND_VOTERS:
        command.voters.index = 12;
        break;
    case COMMAND_VOTING:
        command.voting = (struct voting){7, 86400000};
        break;
    }
    return command;
}

static size_t encode(const struct command *command)
{
    size_t len = 0, counted = 1;

    assert_int_equal(command_encode(command, mem.bytes, sizeof mem.bytes, &len), 0);
    assert_int_equal(command_encode(command, NULL, 0, &counted), 0);
    assert_int_equal(len, counted);
    return len;
}

static int decode(const void *bytes, size_t len, struct command *ret)
{
    return command_decode(bytes, len, mem.scratch, sizeof mem.scratch, ret);
}

static void assert_same_arrays(const struct command *a, const struct command *b)
{
    if (a->type == COMMAND_FENCE || a->type == COMMAND_MOVE) {
        uint32_t n = a->type == COMMAND_FENCE ? a->fence.n_moves : a->move.n_moves;
        const struct move *x = a->type == COMMAND_FENCE ? a->fence.moves : a->move.moves;
        const struct move *y = a->type == COMMAND_FENCE ? b->fence.moves : b->move.moves;

        for (uint32_t i = 0; i < n; i++) {
            assert_int_equal(x[i].vip, y[i].vip);
            assert_int_equal(x[i].to, y[i].to);
            assert_int_equal(x[i].reason, y[i].reason);
            assert_true(x[i].moved == y[i].moved);
        }
    }
    for (uint32_t i = 0; a->type == COMMAND_VIP_ADD && i < a->vip_add.n_vips; i++) {
        assert_string_equal(a->vip_add.vips[i].name, b->vip_add.vips[i].name);
        assert_true(a->vip_add.vips[i].nodes == b->vip_add.vips[i].nodes);
        assert_true(addr_equal(&a->vip_add.vips[i].address.addr, &b->vip_add.vips[i].address.addr));
        assert_true(a->vip_add.vips[i].no_reset == b->vip_add.vips[i].no_reset);
        assert_true(hooks_equal(a->vip_add.vips[i].hooks, b->vip_add.vips[i].hooks));
        assert_memory_equal(a->vip_add.vips[i].apart, b->vip_add.vips[i].apart, sizeof a->vip_add.vips[i].apart);
    }
    for (uint32_t i = 0; a->type == COMMAND_FOUND && i < a->found.n_nodes; i++) {
        assert_string_equal(a->found.nodes[i].name, b->found.nodes[i].name);
        assert_true(a->found.nodes[i].id == b->found.nodes[i].id);
        assert_int_equal(a->found.nodes[i].at.port, b->found.nodes[i].at.port);
        assert_true(addr_equal(&a->found.nodes[i].at.addr, &b->found.nodes[i].at.addr));
        assert_int_equal(a->found.nodes[i].role, b->found.nodes[i].role);
    }
}

/* Decoded and encoded again, each gives the same bytes; and the fields are where they were. */
static void round_trip(void **state)
{
    for (int type = COMMAND_FOUND; type <= COMMAND_FORMAT; type++) {
        struct command command = sample((enum command_type)type);
        struct command got;
        size_t len = encode(&command), len_again;

        assert_int_equal(decode(mem.bytes, len, &got), 0);
        assert_int_equal(got.type, command.type);
        assert_true(got.at_ms == -5 && got.request == UINT64_MAX);
        assert_string_equal(got.who, command.who);
        assert_same_arrays(&command, &got);
        assert_int_equal(command_encode(&got, mem.again, sizeof mem.again, &len_again), 0);
        assert_int_equal(len, len_again);
        assert_memory_equal(mem.bytes, mem.again, len);
    }
}

static void fields_of_plain_types(void **state)
{
    struct command got, command = sample(COMMAND_CLEAR);

    assert_int_equal(decode(mem.bytes, encode(&command), &got), 0);
    assert_true(got.node.node == 5 && got.node.fence == 6 && got.node.since == 7);
    command = sample(COMMAND_LEAVE);
    assert_int_equal(decode(mem.bytes, encode(&command), &got), 0);
    assert_true(got.leave.node == 10 && got.leave.id == 11 && got.leave.run == 12);
    command = sample(COMMAND_DRAIN);
    assert_int_equal(decode(mem.bytes, encode(&command), &got), 0);
    assert_true(got.drain.node == 8 && got.drain.id == 9 && got.drain.on);
    command = sample(COMMAND_NODE_REPORT);
    assert_int_equal(decode(mem.bytes, encode(&command), &got), 0);
    assert_memory_equal(&got.report, &command.report, sizeof got.report);
    command = sample(COMMAND_GROUP_SET);
    assert_int_equal(decode(mem.bytes, encode(&command), &got), 0);
    assert_string_equal(got.group.name, "web");
    assert_true(got.group.n_prefers == 1 && got.group.prefers[0].node == 3 && got.group.prefers[0].weight == 100);
    command = sample(COMMAND_CHECK_SET);
    assert_int_equal(decode(mem.bytes, encode(&command), &got), 0);
    assert_memory_equal(&got.check, &command.check, sizeof got.check);
    command = sample(COMMAND_HEALTH);
    assert_int_equal(decode(mem.bytes, encode(&command), &got), 0);
    assert_memory_equal(&got.health, &command.health, sizeof got.health);
    command = sample(COMMAND_MAINTENANCE);
    assert_int_equal(decode(mem.bytes, encode(&command), &got), 0);
    assert_memory_equal(&got.maintenance, &command.maintenance, sizeof got.maintenance);
    command = sample(COMMAND_FORMAT);
    assert_int_equal(decode(mem.bytes, encode(&command), &got), 0);
    assert_memory_equal(&got.upgrade, &command.upgrade, sizeof got.upgrade);
    command = sample(COMMAND_VIP_SET);
    assert_int_equal(decode(mem.bytes, encode(&command), &got), 0);
    command = sample(COMMAND_NODE_SET);
    assert_int_equal(decode(mem.bytes, encode(&command), &got), 0);
    assert_true(got.node_set.node == 63 && got.node_set.id == UINT64_MAX && got.node_set.set == 3 &&
                got.node_set.wish == WISH_SPARE && got.node_set.at.port == 65535 &&
                addr_equal(&got.node_set.at.addr, &command.node_set.at.addr));
    command = sample(COMMAND_NODE_DELETE);
    assert_int_equal(decode(mem.bytes, encode(&command), &got), 0);
    assert_true(got.node.node == 6 && got.node.fence == 7 && got.node.since == 8);
    command = sample(COMMAND_VIP_SET);
    assert_int_equal(decode(mem.bytes, encode(&command), &got), 0);
    assert_true(got.vip_set.vip == 16383 && got.vip_set.set == command.vip_set.set && got.vip_set.spec.enabled);
}

static void all_parts_of_a_document(void **state)
{
    struct command got, command = sample(COMMAND_APPLY);

    assert_int_equal(decode(mem.bytes, encode(&command), &got), 0);
    assert_true(got.apply.revision == UINT64_MAX && got.apply.has_settings && got.apply.settings.announce_count == 7);
    assert_true(got.apply.n_vips == 2 && got.apply.n_deletes == 3 && got.apply.n_groups == 1);
    assert_true(got.apply.has_voting && got.apply.voting.count == 5 && got.apply.voting.replace_ms == 90000);
    assert_true(got.apply.n_checks == 2 && got.apply.checks[0].slot == 2 && got.apply.checks[0].gone);
    assert_string_equal(got.apply.checks[0].spec.name, "old");
    assert_true(got.apply.checks[1].slot == CHECKS_MAX - 1 && !got.apply.checks[1].gone);
    assert_memory_equal(&got.apply.checks[1].spec, &check_items[1].spec, sizeof check_items[1].spec);
    assert_true(got.apply.vips[1].slot == VIPS_MAX - 1 && got.apply.vips[1].set == VIP_SET_LEN);
    assert_memory_equal(got.apply.vips[0].spec.apart, mem.specs[0].apart, sizeof mem.specs[0].apart);
    assert_true(got.apply.deletes[2].vip == VIPS_MAX - 3 && got.apply.deletes[2].to == 1);
    assert_string_equal(got.apply.groups[0].name, "web");
    assert_int_equal(got.apply.groups[0].prefers[0].weight, 9);
    assert_int_equal(got.apply.groups[0].failback, OWN_FAILBACK_NEVER);
    assert_true(got.apply.vips[1].spec.failback == mem.specs[1].failback);
    assert_int_equal(got.apply.kept_size, 9);
    assert_memory_equal(got.apply.kept, "vips: {}\n", 9);
    command.apply.kept_size = KEPT_BYTES_MAX + 1;
    assert_int_equal(command_encode(&command, mem.bytes, sizeof mem.bytes, &(size_t){0}), -EINVAL);
}

/* What is written in another format is told from what is damaged, and none is ever written. */
static void formats(void **state)
{
    struct command got = {.type = (enum command_type)77}, command = sample(COMMAND_DRAIN);
    size_t len = encode(&command);

    assert_int_equal(decode(mem.bytes, len, &got), 0);
    assert_int_equal(got.format, FORMAT_FIRST); /* that of a command that names none */
    assert_int_equal(mem.bytes[1], FORMAT_FIRST);
    got.type = (enum command_type)77;
    for (unsigned format = FORMAT_LAST + 1; format < 0x80; format++) {
        mem.bytes[1] = (uint8_t)format;
        assert_int_equal(decode(mem.bytes, len, &got), -EPROTONOSUPPORT);
    }
    mem.bytes[1] = FORMAT_FIRST - 1;
    assert_int_equal(decode(mem.bytes, len, &got), -EPROTONOSUPPORT);
    assert_int_equal(got.type, 77);
    command.format = FORMAT_LAST + 1;
    assert_int_equal(command_encode(&command, mem.bytes, sizeof mem.bytes, &len), -EPROTONOSUPPORT);
    command.format = FORMAT_LAST;
    assert_int_equal(command_encode(&command, mem.bytes, sizeof mem.bytes, &len), 0);
    assert_int_equal(decode(mem.bytes, len, &got), 0);
    assert_int_equal(got.format, FORMAT_LAST);
}

static void truncated_or_longer(void **state)
{
    for (int type = COMMAND_FOUND; type <= COMMAND_FORMAT; type++) {
        struct command command = sample((enum command_type)type);
        struct command got = {.type = (enum command_type)77};
        size_t len = encode(&command);

        for (size_t i = 0; i < len; i++) {
            uint8_t *piece = test_malloc(i + 1); /* so that ASan sees a read behind its end */

            memcpy(piece + 1, mem.bytes, i);
            assert_int_equal(decode(piece + 1, i, &got), -EBADMSG);
            test_free(piece);
        }
        mem.bytes[len] = 0;
        assert_int_equal(decode(mem.bytes, len + 1, &got), -EBADMSG);
        assert_int_equal(got.type, 77);
    }
}

/* Any damaged byte is refused or gives a command that can be encoded again: all of its numbers are within limits. */
static void damaged(void **state)
{
    for (int type = COMMAND_FOUND; type <= COMMAND_FORMAT; type++) {
        struct command command = sample((enum command_type)type);
        size_t len = encode(&command);

        for (size_t at = 0; at < len; at++) {
            uint8_t was = mem.bytes[at];

            for (unsigned value = 0; value < 256; value += len > 400 ? 7 : 1) {
                struct command got;
                size_t len_again;

                mem.bytes[at] = (uint8_t)value;
                int r = decode(mem.bytes, len, &got);

                assert_true(r == 0 || r == -EBADMSG || (r == -EPROTONOSUPPORT && at == 1));
                if (r == 0) {
                    assert_int_equal(command_encode(&got, mem.again, sizeof mem.again, &len_again), 0);
                }
            }
            mem.bytes[at] = was;
        }
    }
}

static int try_encode(const struct command *command)
{
    size_t len;

    return command_encode(command, mem.bytes, sizeof mem.bytes, &len);
}

/* What every node would have to refuse does not get into the log. */
static void out_of_range_is_not_encoded(void **state)
{
    struct command command = sample(COMMAND_FENCE);

    command.fence.node = SLOT_NONE;
    assert_int_equal(try_encode(&command), -EINVAL);
    command.fence.node = NODES_MAX;
    assert_int_equal(try_encode(&command), -EINVAL);
    command = sample(COMMAND_MOVE);
    mem.moves[2].to = NODES_MAX;
    assert_int_equal(try_encode(&command), -EINVAL);
    mem.moves[2].to = -2;
    assert_int_equal(try_encode(&command), -EINVAL);
    command = sample(COMMAND_MOVE);
    mem.moves[0].vip = VIPS_MAX;
    assert_int_equal(try_encode(&command), -EINVAL);
    command = sample(COMMAND_MOVE);
    mem.moves[1].reason = REASONS_N;
    assert_int_equal(try_encode(&command), -EINVAL);
    command = sample(COMMAND_VIP_SET);
    command.vip_set.set = VIP_SET_LEN;
    assert_int_equal(try_encode(&command), -EINVAL);
    command = sample(COMMAND_VIP_ADD);
    mem.specs[2].address.len = 129;
    assert_int_equal(try_encode(&command), -EINVAL);
    command = sample(COMMAND_CONFLICT);
    mem.items[1].kind = CONFLICT_KINDS_N;
    assert_int_equal(try_encode(&command), -EINVAL);
    command = sample(COMMAND_CONFLICT);
    command.conflict.n_items = CONFLICTS_MAX + 1;
    assert_int_equal(try_encode(&command), -EINVAL);
    command = sample(COMMAND_FOUND);
    founders[1].role = ROLE_SPARE + 1;
    assert_int_equal(try_encode(&command), -EINVAL);
}

static void out_of_range_is_not_decoded(void **state)
{
    struct command got, command = command_of(COMMAND_MOVE);
    size_t len;
    uint8_t *end;

    mem.moves[0] = (struct move){.vip = VIPS_MAX - 1, .to = 2, .reason = REASON_MANUAL, .moved = 4};
    command.move.n_moves = 1;
    command.move.moves = mem.moves;
    len = encode(&command);
    end = mem.bytes + len;
    assert_int_equal(end[-1], 4);
    assert_int_equal(end[-2], REASON_MANUAL);
    assert_int_equal(end[-3], 2);
    assert_int_equal(decode(mem.bytes, len, &got), 0);
    end[-2] = REASONS_N;
    assert_int_equal(decode(mem.bytes, len, &got), -EBADMSG);
    end[-2] = 0;
    end[-3] = NODES_MAX;
    assert_int_equal(decode(mem.bytes, len, &got), -EBADMSG);
    end[-3] = 0xfe; /* -2 */
    assert_int_equal(decode(mem.bytes, len, &got), -EBADMSG);
    end[-3] = 0xff; /* SLOT_NONE */
    assert_int_equal(decode(mem.bytes, len, &got), 0);
    assert_int_equal(got.move.moves[0].to, SLOT_NONE);
    end[-4] = 0;
    end[-5] = VIPS_MAX >> 8;
    assert_int_equal(decode(mem.bytes, len, &got), -EBADMSG);
}

static void counts_beyond_their_limit_are_not_encoded(void **state)
{
    struct command command = sample(COMMAND_NODE_REPORT);
    size_t len = 77;

    command.report.n_links = LINKS_MAX + 1;
    assert_int_equal(command_encode(&command, mem.bytes, sizeof mem.bytes, &len), -EINVAL);
    command = sample(COMMAND_VIP_ADD);
    mem.specs[1].n_prefers = PREFERS_MAX + 1;
    assert_int_equal(command_encode(&command, mem.bytes, sizeof mem.bytes, &len), -EINVAL);
    command = sample(COMMAND_MOVE);
    command.move.n_moves = VIPS_MAX + 1;
    assert_int_equal(command_encode(&command, mem.bytes, sizeof mem.bytes, &len), -EINVAL);
    command = sample(COMMAND_GROUP_SET);
    command.group.n_prefers = PREFERS_MAX + 1;
    assert_int_equal(command_encode(&command, mem.bytes, sizeof mem.bytes, &len), -EINVAL);
    command = sample(COMMAND_MAINTENANCE);
    command.maintenance.n_nodes = NODES_MAX + 1;
    assert_int_equal(command_encode(&command, mem.bytes, sizeof mem.bytes, &len), -EINVAL);
    command = sample(COMMAND_MAINTENANCE);
    command.maintenance.words_size = MAINTENANCE_WORDS_MAX + 1;
    assert_int_equal(command_encode(&command, mem.bytes, sizeof mem.bytes, &len), -EINVAL);
    command = sample(COMMAND_DRAIN);
    command.type = (enum command_type)(COMMAND_FORMAT + 1);
    assert_int_equal(command_encode(&command, mem.bytes, sizeof mem.bytes, &len), -EINVAL);
    assert_int_equal(len, 77);
}

static void a_move_of_every_vip_is_small(void **state)
{
    struct command got, command = sample(COMMAND_FENCE);
    size_t len;

    for (uint32_t i = 0; i < VIPS_MAX; i++) {
        mem.moves[i] = (struct move){.vip = (uint16_t)i, .to = 63, .reason = REASON_CRASH, .moved = UINT64_MAX};
    }
    command.fence.n_moves = VIPS_MAX;
    len = encode(&command);
    assert_in_range(len, VIPS_MAX * 12, VIPS_MAX * 14 + 100);
    assert_int_equal(decode(mem.bytes, len, &got), 0);
    assert_int_equal(got.fence.n_moves, VIPS_MAX);
    assert_same_arrays(&command, &got);
    assert_int_equal(command_decode(mem.bytes, len, mem.scratch, 1000, &got), -ENOBUFS);
    assert_int_equal(command_encode(&command, mem.again, len - 1, &len), -ENOBUFS);
}

static void a_command_has_a_limit(void **state)
{
    struct command command = sample(COMMAND_VIP_ADD);
    uint32_t n = 0;
    size_t len;

    for (uint32_t i = 0; i < VIPS_MAX; i++) {
        longest_spec(&mem.specs[i], i);
    }
    command.vip_add.n_vips = VIPS_MAX;
    assert_int_equal(command_encode(&command, mem.bytes, sizeof mem.bytes, &len), -EMSGSIZE);
    for (n = 2000; n < VIPS_MAX; n++) {
        command.vip_add.n_vips = n;
        if (command_encode(&command, NULL, 0, &len) != 0) {
            break;
        }
    }
    assert_in_range(n, 2001, 3500); /* as wire/command.h says */
    for (uint32_t i = 0; i < VIPS_MAX; i++) {
        memset(&mem.specs[i], 0, sizeof mem.specs[i]);
        mem.specs[i].address = prefix_of("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff/128");
        mem.specs[i].pinned = SLOT_NONE;
    }
    command.vip_add.n_vips = VIPS_MAX;
    (void)encode(&command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(fields_of_plain_types),
        cmocka_unit_test(all_parts_of_a_document),
        cmocka_unit_test(formats),
        cmocka_unit_test(truncated_or_longer),
        cmocka_unit_test(damaged),
        cmocka_unit_test(out_of_range_is_not_encoded),
        cmocka_unit_test(out_of_range_is_not_decoded),
        cmocka_unit_test(counts_beyond_their_limit_are_not_encoded),
        cmocka_unit_test(a_move_of_every_vip_is_small),
        cmocka_unit_test(a_command_has_a_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
