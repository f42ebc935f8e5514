/* The replicated table, command by command: what it changes, and what makes it void (L0). */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/command.h"

static struct table table;
static struct table copy;
static struct outcome outcome;
static struct vip_spec specs[VIPS_MAX];
static struct move moves[VIPS_MAX];

/* ------------------------------------------------------------------ shorthand */

static struct command command_of(enum command_type type)
{
    struct command command;

    memset(&command, 0, sizeof command);
    command.type = type;
    command.at_ms = 1000 + (int64_t)table.applied;
    return command;
}

/* Applies at the next index. */
static enum outcome_code apply(const struct command *command)
{
    uint64_t index = table.applied + 1;

    table_apply(&table, index, command, &outcome);
    assert_true(table.applied == index);
    assert_true(strlen(outcome.detail) < sizeof outcome.detail);
    return outcome.code;
}

static struct prefix prefix_of(const char *text)
{
    struct prefix prefix;

    assert_int_equal(prefix_parse(text, &prefix, NULL), 0);
    return prefix;
}

static struct endpoint endpoint_of(const char *text)
{
    struct endpoint endpoint;

    assert_int_equal(endpoint_parse(text, &endpoint), 0);
    return endpoint;
}

static struct found_node founders[NODES_MAX];

static struct command founding(void)
{
    struct command command = command_of(COMMAND_FOUND);

    for (int i = 0; i < 4; i++) {
        founders[i] = (struct found_node){.id = (uint64_t)i + 11, .role = i < 3 ? ROLE_VOTER : ROLE_SPARE};
        founders[i].name[0] = (char)('a' + i);
        founders[i].at = endpoint_of("10.9.0.1:7400");
        founders[i].at.addr.bytes[3] = (uint8_t)(i + 1);
    }
    strcpy(command.found.cluster, "prod");
    command.found.cluster_id = 7;
    command.found.timing = (struct timing){100, 300, 500, 20, 1000};
    command.found.settings = (struct settings){.announce_count = 5, .announce_interval_ms = 200, .announce_refresh_ms = 60000};
    command.found.n_nodes = 4;
    command.found.nodes = founders;
    return command;
}

static enum outcome_code on_node(enum command_type type, int node, uint64_t since)
{
    struct command command = command_of(type);

    command.node.node = (int8_t)node;
    command.node.since = since;
    command.node.fence = table.nodes[node].fence;
    return apply(&command);
}

static enum outcome_code admit(int node)
{
    return on_node(COMMAND_ADMIT, node, table.nodes[node].since);
}

static enum outcome_code fence(int node, const struct move *with, uint32_t n)
{
    struct command command = command_of(COMMAND_FENCE);

    command.fence.node = (int8_t)node;
    command.fence.gen = table.nodes[node].gen;
    command.fence.moves = with;
    command.fence.n_moves = n;
    return apply(&command);
}

static enum outcome_code clear(int node)
{
    return on_node(COMMAND_CLEAR, node, table.nodes[node].since);
}

static struct vip_spec spec_of(const char *address)
{
    struct vip_spec spec;

    memset(&spec, 0, sizeof spec);
    spec.address = prefix_of(address);
    spec.enabled = true;
    spec.pinned = SLOT_NONE;
    return spec;
}

static enum outcome_code add_spec(const struct vip_spec *spec)
{
    struct command command = command_of(COMMAND_VIP_ADD);

    command.vip_add.n_vips = 1;
    command.vip_add.vips = spec;
    return apply(&command);
}

static enum outcome_code add(const char *name, const char *address)
{
    struct vip_spec spec = spec_of(address);

    strcpy(spec.name, name);
    return add_spec(&spec);
}

static struct move move_of(int vip, int to, enum reason reason)
{
    return (struct move){
        .vip = (uint16_t)vip, .to = (int8_t)to, .reason = reason, .moved = table.vips[vip].moved};
}

static enum outcome_code move_moves(const struct move *list, uint32_t n)
{
    struct command command = command_of(COMMAND_MOVE);

    command.move.moves = list;
    command.move.n_moves = n;
    return apply(&command);
}

static enum outcome_code move_vip(int vip, int to, enum reason reason)
{
    struct move move = move_of(vip, to, reason);

    return move_moves(&move, 1);
}

static enum outcome_code del(enum command_type type, int vip, uint64_t moved)
{
    struct command command = command_of(type);
    struct move move = {.vip = (uint16_t)vip, .moved = moved};

    command.vip_del.n_vips = 1;
    command.vip_del.vips = &move;
    return apply(&command);
}

static struct command set_of(int vip, uint32_t set)
{
    struct command command = command_of(COMMAND_VIP_SET);

    command.vip_set.vip = (uint16_t)vip;
    memcpy(command.vip_set.name, table.vips[vip].name, NAME_SIZE);
    command.vip_set.set = set;
    command.vip_set.spec.pinned = SLOT_NONE;
    return command;
}

static const struct history *last_history(void)
{
    return &table.history[(table.n_history - 1) % HISTORY_MAX];
}

/* What the outcome says, and that nothing but `applied` (and the memory of requests) changed. */
#define assert_void(expression, expected_code)                                                                         \
    do {                                                                                                               \
        uint64_t applied_before = table.applied, changed_before = table.changed, history_before = table.n_history;     \
        uint64_t digest_before = table_digest(&table);                                                                 \
        assert_int_equal(expression, expected_code);                                                                   \
        assert_true(outcome.detail[0] != '\0');                                                                        \
        assert_true(table.changed == changed_before && table.n_history == history_before);                            \
        copy = table;                                                                                                  \
        copy.applied = applied_before;                                                                                 \
        assert_true(table_digest(&copy) == digest_before);                                                             \
    } while (0)

/* A founded cluster of a, b, c and the spare d, all admitted. */
static int start(void **state)
{
    struct command command;

    table_init(&table);
    command = founding();
    assert_int_equal(apply(&command), OUTCOME_DONE);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(admit(i), OUTCOME_DONE);
        strcpy(table.nodes[i].links[0].name, "eth0");
        table.nodes[i].links[0].up = true;
        table.nodes[i].links[0].n_prefixes = 1;
        table.nodes[i].links[0].prefixes[0] = prefix_of("10.0.0.1/24");
        table.nodes[i].n_links = 1;
    }
    return 0;
}

static int empty(void **state)
{
    table_init(&table);
    return 0;
}

/* ------------------------------------------------------------------ founding */

static void founded(void **state)
{
    struct command command = founding();

    table_skip(&table, 4);
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_string_equal(table.cluster, "prod");
    assert_true(table.cluster_id == 7 && table.voters == 7 && table.voters_index == 5 && table.changed == 5);
    assert_int_equal(table_node_by_name(&table, "c"), 2);
    assert_int_equal(table_node_by_id(&table, 14), 3);
    assert_int_equal(table_node_by_name(&table, "e"), SLOT_NONE);
    assert_int_equal(table_node_by_id(&table, 0), SLOT_NONE);
    assert_int_equal(table.nodes[0].status, NODE_CLEARED);
    assert_true(table.nodes[0].fence == 5 && table.nodes[0].since == 5 && table.nodes[0].gen == 0);
    assert_int_equal(last_history()->kind, HISTORY_FOUND);
    command.found.cluster_id = 8;
    assert_void(apply(&command), OUTCOME_STALE);
}

static void bad_foundings(void **state)
{
    struct command command = founding();

    command.found.cluster_id = 0;
    assert_void(apply(&command), OUTCOME_INVALID);
    command = founding();
    founders[1].id = founders[0].id;
    assert_void(apply(&command), OUTCOME_INVALID);
    command = founding();
    strcpy(founders[1].name, "a");
    assert_void(apply(&command), OUTCOME_INVALID);
    command = founding();
    strcpy(founders[1].name, "a,b");
    assert_void(apply(&command), OUTCOME_INVALID);
    command = founding();
    command.found.n_nodes = 0;
    assert_void(apply(&command), OUTCOME_LIMIT);
    command = founding();
    command.found.timing.promise_ms = 399;
    assert_void(apply(&command), OUTCOME_INVALID);
    command = founding();
    command.found.timing.margin_ms = 250;
    assert_void(apply(&command), OUTCOME_INVALID);
    command = founding();
    command.found.timing.margin_ms = 249;
    command.found.timing.promise_ms = 400;
    assert_void(apply(&command), OUTCOME_INVALID);
    command = founding();
    command.found.timing.election_ms = 300;
    assert_void(apply(&command), OUTCOME_INVALID);
    command = founding();
    command.found.settings.announce_refresh_ms = 999;
    assert_void(apply(&command), OUTCOME_INVALID);
    command = command_of(COMMAND_SETTINGS);
    command.settings = (struct settings){.announce_count = 1, .announce_interval_ms = 10, .announce_refresh_ms = 0};
    assert_void(apply(&command), OUTCOME_INVALID); /* not founded */
}

static void eight_voters_are_too_many(void **state)
{
    struct command command = founding();

    for (int i = 0; i < 8; i++) {
        founders[i] = (struct found_node){.id = (uint64_t)i + 1, .name = {(char)('a' + i)}, .role = ROLE_VOTER};
    }
    command.found.n_nodes = 8;
    assert_void(apply(&command), OUTCOME_LIMIT);
    command.found.n_nodes = 7;
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_int_equal(majority_of(table.voters), 4);
    assert_int_equal(majority_of(0), 0);
    assert_int_equal(majority_of(1), 1);
    assert_int_equal(majority_of(3), 2);
}

/* ------------------------------------------------------------------ fence, clear, admit */

static void a_life_of_a_node(void **state)
{
    uint64_t gen = table.nodes[0].gen;

    assert_true(gen != 0 && gen == table.nodes[0].since);
    assert_int_equal(fence(0, NULL, 0), OUTCOME_DONE);
    assert_int_equal(table.nodes[0].status, NODE_FENCED);
    assert_true(table.nodes[0].fence == table.applied && table.nodes[0].since == table.applied);
    assert_true(table.nodes[0].gen == gen);
    assert_int_equal(last_history()->kind, HISTORY_FENCE);
    assert_int_equal(last_history()->to, 0);
    uint64_t at = table.nodes[0].fence;
    assert_int_equal(clear(0), OUTCOME_DONE);
    assert_int_equal(table.nodes[0].status, NODE_CLEARED);
    assert_true(table.nodes[0].fence == at && table.nodes[0].since == table.applied);
    assert_int_equal(admit(0), OUTCOME_DONE);
    assert_int_equal(table.nodes[0].status, NODE_ADMITTED);
    assert_true(table.nodes[0].gen == table.applied && table.nodes[0].since == table.applied);
    assert_true(table.nodes[0].since_ms == 1000 + (int64_t)table.applied - 1);
    assert_true(table.changed == table.applied);
    assert_int_equal(fence(0, NULL, 0), OUTCOME_DONE);
    assert_int_equal(admit(0), OUTCOME_DONE); /* without a clear */
}

static void stale_decisions_about_nodes(void **state)
{
    struct command late = command_of(COMMAND_FENCE);
    uint64_t since;

    late.fence.node = 0;
    late.fence.gen = table.nodes[0].gen;
    assert_void(on_node(COMMAND_ADMIT, 0, table.nodes[0].since), OUTCOME_STALE); /* is admitted */
    assert_void(on_node(COMMAND_CLEAR, 0, table.nodes[0].since), OUTCOME_STALE); /* is not fenced */
    assert_int_equal(fence(0, NULL, 0), OUTCOME_DONE);
    since = table.nodes[0].since;
    assert_void(apply(&late), OUTCOME_STALE); /* is fenced */
    assert_int_equal(admit(0), OUTCOME_DONE);
    assert_void(apply(&late), OUTCOME_STALE); /* another gen: the retry of a fence that was done */
    assert_int_equal(fence(0, NULL, 0), OUTCOME_DONE);
    assert_void(on_node(COMMAND_CLEAR, 0, since), OUTCOME_STALE); /* decided on the fence before */
    assert_void(on_node(COMMAND_ADMIT, 0, since), OUTCOME_STALE);
    assert_void(on_node(COMMAND_ADMIT, 63, 0), OUTCOME_NOT_FOUND);
}

/* ------------------------------------------------------------------ moves */

static void a_move_names_whom_to_wait_for(void **state)
{
    assert_int_equal(add("web", "10.0.0.50/24"), OUTCOME_DONE);
    assert_int_equal(table.vips[0].owner, SLOT_NONE);
    assert_int_equal(table.vips[0].prev, SLOT_NONE);
    assert_true(table.vips[0].moved == table.applied);
    assert_int_equal(move_vip(0, 0, REASON_NEW), OUTCOME_DONE);
    assert_int_equal(table.vips[0].owner, 0);
    assert_int_equal(table.vips[0].prev, SLOT_NONE);
    assert_int_equal(move_vip(0, 1, REASON_REBALANCE), OUTCOME_DONE);
    assert_int_equal(table.vips[0].owner, 1);
    assert_int_equal(table.vips[0].prev, 0);
    assert_true(table.vips[0].moved == table.applied && table.changed == table.applied);
    assert_true(table.vips[0].moved_ms == 1000 + (int64_t)table.applied - 1);
    assert_int_equal(last_history()->kind, HISTORY_MOVE);
    assert_int_equal(last_history()->reason, REASON_REBALANCE);
    assert_int_equal(last_history()->from, 0);
    assert_int_equal(last_history()->to, 1);
    assert_string_equal(last_history()->subject, "web");
    assert_int_equal(move_vip(0, SLOT_NONE, REASON_DISABLED), OUTCOME_DONE);
    assert_int_equal(table.vips[0].owner, SLOT_NONE);
    assert_int_equal(table.vips[0].prev, 1);
}

/* L1: one entry; the fenced node is not cleared, so it is to be waited for. */
static void a_fence_with_its_moves(void **state)
{
    struct move with[2];

    assert_int_equal(add("x", "10.0.0.50/24"), OUTCOME_DONE);
    assert_int_equal(add("y", "10.0.0.51/24"), OUTCOME_DONE);
    assert_int_equal(move_vip(0, 0, REASON_NEW), OUTCOME_DONE);
    assert_int_equal(move_vip(1, 0, REASON_NEW), OUTCOME_DONE);
    with[0] = move_of(0, 1, REASON_CRASH);
    with[1] = move_of(1, 2, REASON_CRASH);
    with[1].moved--; /* void: decided on an older state */
    assert_int_equal(fence(0, with, 2), OUTCOME_DONE);
    assert_int_equal(table.vips[0].owner, 1);
    assert_int_equal(table.vips[0].prev, 0);
    assert_true(table.vips[0].moved == table.applied);
    assert_int_equal(table.vips[1].owner, 0);
    assert_int_equal(admit(0), OUTCOME_DONE);
    assert_int_equal(table.vips[0].prev, 0); /* kept: its own report settles it */
    assert_int_equal(fence(0, NULL, 0), OUTCOME_DONE);
    assert_int_equal(clear(0), OUTCOME_DONE);
    assert_int_equal(table.vips[0].prev, SLOT_NONE);
    assert_int_equal(move_vip(1, 2, REASON_CRASH), OUTCOME_DONE);
    assert_int_equal(table.vips[1].prev, SLOT_NONE); /* away from a cleared owner */
}

static void a_void_fence_does_not_move(void **state)
{
    struct move with;

    assert_int_equal(add("x", "10.0.0.50/24"), OUTCOME_DONE);
    assert_int_equal(move_vip(0, 0, REASON_NEW), OUTCOME_DONE);
    assert_int_equal(fence(0, NULL, 0), OUTCOME_DONE);
    with = move_of(0, 1, REASON_CRASH);
    assert_void(fence(0, &with, 1), OUTCOME_STALE);
}

static void void_moves(void **state)
{
    struct move late;

    assert_int_equal(add("x", "10.0.0.50/24"), OUTCOME_DONE);
    assert_int_equal(add("y", "10.0.0.51/24"), OUTCOME_DONE);
    late = move_of(0, 0, REASON_NEW);
    assert_int_equal(move_vip(0, 1, REASON_NEW), OUTCOME_DONE);
    assert_void(move_moves(&late, 1), OUTCOME_STALE);
    assert_void(move_vip(0, 9, REASON_NEW), OUTCOME_STALE); /* no such node */
    table.nodes[2].witness = true;
    assert_void(move_vip(0, 2, REASON_NEW), OUTCOME_STALE);
    assert_void(move_vip(5, 0, REASON_NEW), OUTCOME_STALE); /* no such VIP */
    late.vip = VIPS_MAX;
    assert_void(move_moves(&late, 1), OUTCOME_STALE);
    moves[0] = move_of(0, 2, REASON_NEW);
    moves[1] = move_of(1, 0, REASON_NEW);
    assert_int_equal(move_moves(moves, 2), OUTCOME_DONE); /* the others count */
    assert_int_equal(table.vips[0].owner, 1);
    assert_int_equal(table.vips[1].owner, 0);
    assert_int_equal(del(COMMAND_VIP_DELETE, 1, 0), OUTCOME_DONE);
    assert_void(move_vip(1, 1, REASON_NEW), OUTCOME_STALE); /* deleted */
}

/* To where it is already: whom it waits for must not be forgotten. */
static void a_move_to_the_owner_keeps_prev(void **state)
{
    uint64_t moved;

    assert_int_equal(add("x", "10.0.0.50/24"), OUTCOME_DONE);
    assert_int_equal(move_vip(0, 0, REASON_NEW), OUTCOME_DONE);
    assert_int_equal(move_vip(0, 1, REASON_NEW), OUTCOME_DONE);
    moved = table.vips[0].moved;
    assert_int_equal(move_vip(0, 1, REASON_MANUAL), OUTCOME_DONE);
    assert_int_equal(table.vips[0].prev, 0);
    assert_true(table.vips[0].moved == moved);
    assert_int_equal(table.vips[0].pinned, 1);
}

static enum outcome_code report_conflict(int node, uint64_t id, int vip, uint64_t moved, enum conflict_kind kind)
{
    const struct conflict_item item = {
        .vip = (uint16_t)vip, .moved = moved, .kind = kind, .mac = {2, 0x66, 0, 0, 0, (uint8_t)kind}};
    struct command command = command_of(COMMAND_CONFLICT);

    command.conflict.node = (int8_t)node;
    command.conflict.id = id;
    command.conflict.n_items = 1;
    command.conflict.items = &item;
    return apply(&command);
}

static void a_vip_from_nobody_is_fresh(void **state)
{
    assert_int_equal(add("web", "10.0.0.50/24"), OUTCOME_DONE);
    assert_false(table.vips[0].fresh);
    assert_int_equal(move_vip(0, 0, REASON_NEW), OUTCOME_DONE);
    assert_true(table.vips[0].fresh);
    assert_int_equal(move_vip(0, 1, REASON_DRAIN), OUTCOME_DONE);
    assert_false(table.vips[0].fresh);
    assert_int_equal(move_vip(0, SLOT_NONE, REASON_DISABLED), OUTCOME_DONE);
    assert_false(table.vips[0].fresh);
    assert_int_equal(move_vip(0, 1, REASON_NEW), OUTCOME_DONE);
    assert_true(table.vips[0].fresh);
}

/* L0: by its owner, about the move by which that owned it. */
static void conflicts_begin_and_end(void **state)
{
    uint64_t id = table.nodes[0].id, changed;
    struct vip *vip = &table.vips[0];

    assert_int_equal(add("web", "10.0.0.50/24"), OUTCOME_DONE);
    assert_int_equal(move_vip(0, 0, REASON_NEW), OUTCOME_DONE);
    changed = table.changed;
    assert_void(report_conflict(1, table.nodes[1].id, 0, vip->moved, CONFLICT_TAKEN), OUTCOME_STALE);
    assert_void(report_conflict(0, id + 70, 0, vip->moved, CONFLICT_TAKEN), OUTCOME_STALE);
    assert_void(report_conflict(0, id, 0, vip->moved - 1, CONFLICT_TAKEN), OUTCOME_STALE);
    assert_void(report_conflict(0, id, 1, vip->moved, CONFLICT_TAKEN), OUTCOME_STALE);
    assert_void(report_conflict(0, id, VIPS_MAX, vip->moved, CONFLICT_TAKEN), OUTCOME_STALE);
    assert_void(report_conflict(0, id, 0, vip->moved, CONFLICT_NONE), OUTCOME_STALE);
    assert_int_equal(report_conflict(0, id, 0, vip->moved, CONFLICT_DEFENDED), OUTCOME_DONE);
    assert_int_equal(vip->conflict.kind, CONFLICT_DEFENDED);
    assert_int_equal(vip->conflict.mac[5], CONFLICT_DEFENDED);
    assert_int_equal(last_history()->kind, HISTORY_DEFENDED);
    assert_int_equal(last_history()->to, 0);
    assert_int_equal(last_history()->mac[1], 0x66);
    assert_void(report_conflict(0, id, 0, vip->moved, CONFLICT_DEFENDED), OUTCOME_STALE);
    assert_int_equal(report_conflict(0, id, 0, vip->moved, CONFLICT_NONE), OUTCOME_DONE);
    assert_int_equal(vip->conflict.kind, CONFLICT_NONE);
    assert_int_equal(last_history()->kind, HISTORY_CONFLICT_END);
    assert_true(table.changed == changed); /* nobody need plan anew for it */
    assert_int_equal(report_conflict(0, id, 0, vip->moved, CONFLICT_YIELDED), OUTCOME_DONE);
    assert_int_equal(move_vip(0, 1, REASON_MANUAL), OUTCOME_DONE);
    assert_int_equal(vip->conflict.kind, CONFLICT_NONE);
    assert_int_equal(last_history()->mac[1], 0);
}

static void a_pin_lasts_as_long_as_the_node_can(void **state)
{
    assert_int_equal(add("x", "10.0.0.50/24"), OUTCOME_DONE);
    assert_int_equal(move_vip(0, 0, REASON_MANUAL), OUTCOME_DONE);
    assert_int_equal(table.vips[0].pinned, 0);
    assert_int_equal(move_vip(0, 1, REASON_REBALANCE), OUTCOME_DONE);
    assert_int_equal(table.vips[0].pinned, 0);
    assert_int_equal(move_vip(0, 0, REASON_MANUAL), OUTCOME_DONE);
    struct move with = move_of(0, 1, REASON_CRASH);
    assert_int_equal(fence(0, &with, 1), OUTCOME_DONE);
    assert_int_equal(table.vips[0].pinned, SLOT_NONE);
}

/* ------------------------------------------------------------------ VIPs */

static void found_by_name_and_address(void **state)
{
    struct vip_spec spec = spec_of("2001:db8::50/64");
    struct addr addr;

    assert_int_equal(add("web", "10.0.0.50/24"), OUTCOME_DONE);
    assert_int_equal(add_spec(&spec), OUTCOME_DONE);
    assert_string_equal(table.vips[1].name, "2001:db8::50");
    assert_int_equal(table_vip_find(&table, "web"), 0);
    assert_int_equal(table_vip_find(&table, "10.0.0.50"), 0);
    assert_int_equal(table_vip_find(&table, "2001:0db8::0050"), 1);
    assert_int_equal(table_vip_by_name(&table, "10.0.0.50"), SLOT_NONE);
    assert_int_equal(table_vip_find(&table, "Web"), SLOT_NONE);
    assert_int_equal(addr_parse("2001:db8::50", &addr), 0);
    assert_int_equal(table_vip_by_addr(&table, &addr), 1);
    assert_true(table.n_vips == 2 && table.vips_end == 2);
    assert_int_equal(table.vips[1].reason, REASON_NEW);
    assert_int_equal(last_history()->kind, HISTORY_VIP_ADD);
    assert_string_equal(last_history()->subject, "2001:db8::50");
}

static void refused_vips(void **state)
{
    struct vip_spec spec;

    assert_int_equal(add("web", "10.0.0.50/24"), OUTCOME_DONE);
    assert_void(add("web", "10.0.0.51/24"), OUTCOME_CONFLICT);
    assert_string_equal(outcome.detail, "the name web is in use by VIP 10.0.0.50");
    assert_void(add("web2", "10.0.0.50/32"), OUTCOME_CONFLICT);
    assert_string_equal(outcome.detail, "10.0.0.50 is the address of VIP web");
    assert_void(add("x", "10.9.0.2/24"), OUTCOME_CONFLICT);
    assert_string_equal(outcome.detail, "10.9.0.2 is the own address of node b");
    struct link *link = &table.nodes[2].links[0]; /* not where it listens, but it has it */
    link->n_prefixes = table.nodes[2].n_links = 1;
    assert_int_equal(prefix_parse("2001:db8::7/64", &link->prefixes[0], NULL), 0);
    assert_void(add("x", "2001:db8::7/128"), OUTCOME_CONFLICT);
    assert_string_equal(outcome.detail, "2001:db8::7 is the own address of node c");
    assert_void(add("10.0.0.52", "10.0.0.51/24"), OUTCOME_INVALID);
    assert_void(add("x y", "10.0.0.51/24"), OUTCOME_INVALID);
    assert_void(add("-x", "10.0.0.51/24"), OUTCOME_INVALID);
    assert_void(add("x", "224.0.0.5/24"), OUTCOME_INVALID);
    assert_void(add("x", "127.0.0.1/8"), OUTCOME_INVALID);
    assert_void(add("x", "fe80::1/64"), OUTCOME_INVALID);
    assert_void(add("x", "0.0.0.0/0"), OUTCOME_INVALID);
    spec = spec_of("10.0.0.51/24");
    spec.address.len = 33;
    assert_void(add_spec(&spec), OUTCOME_INVALID);
    spec.address.len = 0;
    assert_void(add_spec(&spec), OUTCOME_INVALID);
    memset(&spec.address, 0, sizeof spec.address);
    assert_void(add_spec(&spec), OUTCOME_INVALID);
    spec = spec_of("2001:db8::1/64");
    memset(spec.address.addr.bytes, 0, 10);
    spec.address.addr.bytes[10] = spec.address.addr.bytes[11] = 0xff; /* ::ffff:0.0.0.1 would be a second name */
    assert_void(add_spec(&spec), OUTCOME_INVALID);
    spec = spec_of("10.0.0.51/24");
    spec.nodes = 1ull << 9;
    assert_void(add_spec(&spec), OUTCOME_NOT_FOUND);
    spec = spec_of("10.0.0.51/24");
    spec.pinned = 9;
    assert_void(add_spec(&spec), OUTCOME_NOT_FOUND);
    spec = spec_of("10.0.0.51/24");
    spec.n_prefers = 2;
    assert_void(add_spec(&spec), OUTCOME_INVALID); /* a twice */
    spec = spec_of("10.0.0.51/24");
    spec.n_apart = 1;
    spec.apart[0] = 7;
    assert_void(add_spec(&spec), OUTCOME_NOT_FOUND);
    spec = spec_of("10.0.0.51/24");
    strcpy(spec.dev, "eth 0");
    assert_void(add_spec(&spec), OUTCOME_INVALID);
    spec = spec_of("10.0.0.51/24");
    strcpy(spec.group, "a/b");
    assert_void(add_spec(&spec), OUTCOME_INVALID);
    spec = spec_of("10.0.0.51/24");
    spec.hooks[HOOK_AFTER_TAKE] = (struct hook){"../sh", 1000};
    assert_void(add_spec(&spec), OUTCOME_INVALID);
    spec.hooks[HOOK_AFTER_TAKE] = (struct hook){"notify", HOOK_TIMEOUT_MAX_MS + 1};
    assert_void(add_spec(&spec), OUTCOME_INVALID);
    spec.hooks[HOOK_AFTER_TAKE] = (struct hook){"notify", HOOK_TIMEOUT_MIN_MS - 1};
    assert_void(add_spec(&spec), OUTCOME_INVALID);
    table.nodes[1].witness = true;
    spec = spec_of("10.0.0.51/24");
    spec.nodes = 3;
    assert_void(add_spec(&spec), OUTCOME_INVALID);
    assert_int_equal(add("10.0.0.51", "10.0.0.51/24"), OUTCOME_DONE);
}

static void all_or_none(void **state)
{
    struct command command = command_of(COMMAND_VIP_ADD);

    assert_int_equal(add("web", "10.0.0.50/24"), OUTCOME_DONE);
    for (int i = 0; i < 4; i++) {
        specs[i] = spec_of("10.0.0.60/24");
        specs[i].address.addr.bytes[3] = (uint8_t)(60 + i);
        strcpy(specs[i].group, "g");
    }
    strcpy(specs[3].name, "10.0.0.61"); /* not its own address */
    command.vip_add.vips = specs;
    command.vip_add.n_vips = 4;
    assert_void(apply(&command), OUTCOME_INVALID);
    assert_int_equal(table_vip_find(&table, "10.0.0.60"), SLOT_NONE);
    assert_int_equal(table_group_by_name(&table, "g"), SLOT_NONE);
    specs[3].name[0] = '\0';
    specs[3].address = specs[0].address;
    assert_void(apply(&command), OUTCOME_CONFLICT);
    command.vip_add.n_vips = 3;
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_int_equal(table.n_vips, 4);
    assert_int_equal(table_vip_find(&table, "10.0.0.62"), 3);
    assert_int_equal(table.vips[3].group, table_group_by_name(&table, "g"));
}

static void full(void **state)
{
    struct command command = command_of(COMMAND_VIP_ADD);

    for (int i = 0; i < VIPS_MAX; i++) {
        specs[i] = spec_of("10.1.0.0/16");
        specs[i].address.addr.bytes[2] = (uint8_t)(i >> 8);
        specs[i].address.addr.bytes[3] = (uint8_t)i;
    }
    command.vip_add.vips = specs;
    command.vip_add.n_vips = VIPS_MAX;
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_int_equal(table.n_vips, VIPS_MAX);
    assert_void(add("x", "10.0.0.50/24"), OUTCOME_LIMIT);
    assert_string_equal(outcome.detail, "a cluster has at most 16384 VIPs");
    for (int i = 0; i < VIPS_MAX; i += 97) {
        assert_int_equal(table_vip_by_addr(&table, &specs[i].address.addr), i);
        assert_int_equal(table_vip_by_name(&table, table.vips[i].name), i);
    }
    assert_int_equal(del(COMMAND_VIP_DELETE, 5000, 0), OUTCOME_DONE);
    assert_void(add("x", "10.0.0.50/24"), OUTCOME_LIMIT); /* its tombstone takes the room */
    assert_int_equal(del(COMMAND_VIP_PURGE, 5000, table.vips[5000].moved), OUTCOME_DONE);
    assert_int_equal(add("x", "10.0.0.50/24"), OUTCOME_DONE);
    assert_int_equal(table_vip_find(&table, "x"), 5000);
}

/* Slots are taken and freed in random order; every lookup agrees with a plain search, and with a rebuilt index. */
static void lookups_after_many_changes(void **state)
{
    uint64_t seed = 88172645463325252ull;
    char name[NAME_SIZE], address[ADDR_TEXT_MAX];

    for (int i = 0; i < 6000; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        int which = (int)((seed >> 20) % 300);

        snprintf(name, sizeof name, "n%d", which);
        snprintf(address, sizeof address, "10.2.%d.%d", which / 250, which % 250 + 1);
        int slot = table_vip_find(&table, address);
        if (slot == SLOT_NONE) {
            char with[ADDR_TEXT_MAX + 4];

            snprintf(with, sizeof with, "%s/16", address);
            assert_int_equal(add(name, with), OUTCOME_DONE);
            slot = table_vip_find(&table, name);
        } else {
            assert_int_equal(table_vip_by_name(&table, name), slot);
            assert_int_equal(del(COMMAND_VIP_DELETE, slot, 0), OUTCOME_DONE);
            assert_int_equal(table_vip_by_name(&table, name), SLOT_NONE);
            assert_int_equal(table_vip_by_addr(&table, &table.vips[slot].address.addr), slot);
            assert_int_equal(del(COMMAND_VIP_PURGE, slot, table.vips[slot].moved), OUTCOME_DONE);
            slot = SLOT_NONE;
        }
        assert_int_equal(table_vip_find(&table, name), slot);
        assert_int_equal(table_vip_find(&table, address), slot);
    }
    int used = 0;
    for (int slot = 0; slot < table.vips_end; slot++) {
        if (table.vips[slot].used) {
            used++;
            assert_int_equal(table_vip_by_name(&table, table.vips[slot].name), slot);
            assert_int_equal(table_vip_by_addr(&table, &table.vips[slot].address.addr), slot);
        }
    }
    assert_int_equal(used, table.n_vips);
    assert_in_range(used, 50, 250);
    copy = table;
    table_index(&copy);
    assert_true(copy.n_vips == table.n_vips && copy.vips_end == table.vips_end);
    for (int slot = 0; slot < table.vips_end; slot++) {
        if (table.vips[slot].used) {
            assert_int_equal(table_vip_by_name(&copy, table.vips[slot].name), slot);
        }
    }
}

static void set_attributes(void **state)
{
    struct command command;

    assert_int_equal(add("web", "10.0.0.50/24"), OUTCOME_DONE);
    assert_int_equal(add("db", "10.0.0.51/24"), OUTCOME_DONE);
    command = set_of(0, VIP_SET_ENABLED | VIP_SET_DEV | VIP_SET_NODES | VIP_SET_PREFERS | VIP_SET_APART | VIP_SET_NAME);
    strcpy(command.vip_set.spec.name, "www");
    strcpy(command.vip_set.spec.dev, "eth1");
    command.vip_set.spec.nodes = 3;
    command.vip_set.spec.n_prefers = 1;
    command.vip_set.spec.prefers[0] = (struct prefer){.node = 1, .weight = 9};
    command.vip_set.spec.n_apart = 1;
    command.vip_set.spec.apart[0] = 1;
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_false(table.vips[0].enabled);
    assert_string_equal(table.vips[0].dev, "eth1");
    assert_true(table.vips[0].nodes == 3 && table.vips[0].prefers[0].weight == 9 && table.vips[0].apart[0] == 1);
    assert_int_equal(table_vip_find(&table, "www"), 0);
    assert_int_equal(table_vip_find(&table, "web"), SLOT_NONE);
    assert_int_equal(last_history()->kind, HISTORY_VIP_SET);
    assert_int_equal(last_history()->set, command.vip_set.set);
    assert_false(last_history()->enabled);
    assert_void(apply(&command), OUTCOME_STALE); /* names it by its old name */
    command = set_of(0, VIP_SET_NAME);
    strcpy(command.vip_set.spec.name, "db");
    assert_void(apply(&command), OUTCOME_CONFLICT);
    command = set_of(0, VIP_SET_APART);
    command.vip_set.spec.n_apart = 1;
    assert_void(apply(&command), OUTCOME_INVALID); /* from itself */
    command = set_of(0, VIP_SET_NODES | VIP_SET_ENABLED);
    command.vip_set.spec.nodes = 1ull << 50;
    command.vip_set.spec.enabled = true;
    assert_void(apply(&command), OUTCOME_NOT_FOUND);
    assert_false(table.vips[0].enabled); /* all or nothing */
    uint64_t changed = table.changed, history = table.n_history;
    command = set_of(0, VIP_SET_ENABLED);
    assert_int_equal(apply(&command), OUTCOME_DONE); /* it is disabled already */
    assert_true(table.changed == changed && table.n_history == history);
}

static void groups_come_and_go(void **state)
{
    struct vip_spec spec = spec_of("10.0.0.50/24");
    struct command command;

    strcpy(spec.group, "web");
    assert_int_equal(add_spec(&spec), OUTCOME_DONE);
    assert_int_equal(table_group_by_name(&table, "web"), table.vips[0].group);
    command = set_of(0, VIP_SET_GROUP);
    strcpy(command.vip_set.spec.group, "db");
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_int_equal(table_group_by_name(&table, "web"), SLOT_NONE);
    assert_int_not_equal(table_group_by_name(&table, "db"), SLOT_NONE);
    command = command_of(COMMAND_GROUP_SET);
    strcpy(command.group.name, "web");
    command.group.n_prefers = 1;
    command.group.prefers[0] = (struct prefer){.node = 2, .weight = 10};
    assert_int_equal(apply(&command), OUTCOME_DONE);
    int group = table_group_by_name(&table, "web");
    assert_int_equal(table.groups[group].prefers[0].node, 2);
    command.group.prefers[0].node = 60;
    assert_void(apply(&command), OUTCOME_NOT_FOUND);
    command.group.n_prefers = 0;
    assert_int_equal(apply(&command), OUTCOME_DONE); /* nobody is in it: forgotten */
    assert_int_equal(table_group_by_name(&table, "web"), SLOT_NONE);
    assert_int_equal(table_group_by_name(&table, ""), SLOT_NONE);
}

static void as_many_groups_as_there_may_be(void **state)
{
    for (int i = 0; i <= GROUPS_MAX; i++) {
        struct vip_spec spec = spec_of("10.2.0.1/16");

        spec.address.addr.bytes[2] = (uint8_t)(i >> 8);
        spec.address.addr.bytes[3] = (uint8_t)i;
        snprintf(spec.group, sizeof spec.group, "g%d", i);
        if (i < GROUPS_MAX) {
            assert_int_equal(add_spec(&spec), OUTCOME_DONE);
        } else {
            assert_void(add_spec(&spec), OUTCOME_LIMIT);
        }
    }
}

static void a_group_has_one_pin(void **state)
{
    struct vip_spec spec = spec_of("10.0.0.50/24");
    struct command command;

    strcpy(spec.group, "web");
    spec.pinned = 0;
    assert_int_equal(add_spec(&spec), OUTCOME_DONE);
    spec.address = prefix_of("10.0.0.51/24");
    spec.pinned = SLOT_NONE;
    assert_int_equal(add_spec(&spec), OUTCOME_DONE);
    command = set_of(1, VIP_SET_PINNED);
    command.vip_set.spec.pinned = 2;
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_int_equal(table.vips[1].pinned, 2);
    assert_int_equal(table.vips[0].pinned, SLOT_NONE);
    command.vip_set.spec.pinned = 40;
    assert_void(apply(&command), OUTCOME_NOT_FOUND);
}

/* ------------------------------------------------------------------ deletion */

static void a_deleted_vip_reserves_its_address(void **state)
{
    assert_int_equal(add("web", "10.0.0.50/24"), OUTCOME_DONE);
    assert_int_equal(add("db", "10.0.0.51/24"), OUTCOME_DONE);
    struct command command = set_of(1, VIP_SET_APART);
    command.vip_set.spec.n_apart = 1;
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_int_equal(move_vip(0, 0, REASON_NEW), OUTCOME_DONE);
    assert_void(del(COMMAND_VIP_DELETE, 0, table.vips[0].moved - 1), OUTCOME_STALE);
    assert_void(del(COMMAND_VIP_PURGE, 0, table.vips[0].moved), OUTCOME_STALE); /* not deleted */
    assert_int_equal(del(COMMAND_VIP_DELETE, 0, table.vips[0].moved), OUTCOME_DONE);
    assert_true(table.vips[0].used && table.vips[0].deleted);
    assert_int_equal(table.vips[0].owner, SLOT_NONE);
    assert_int_equal(table.vips[0].prev, 0);
    assert_true(table.vips[0].moved == table.applied);
    assert_int_equal(table.vips[0].reason, REASON_DELETED);
    assert_int_equal(last_history()->kind, HISTORY_VIP_DELETE);
    assert_int_equal(last_history()->from, 0);
    assert_int_equal(table_vip_find(&table, "web"), SLOT_NONE);
    assert_int_equal(table_vip_find(&table, "10.0.0.50"), SLOT_NONE);
    assert_void(del(COMMAND_VIP_DELETE, 0, 0), OUTCOME_STALE);
    assert_void(add("web", "10.0.0.50/24"), OUTCOME_CONFLICT);
    assert_string_equal(outcome.detail, "10.0.0.50 is still being released");
    assert_int_equal(add("web", "10.0.0.52/24"), OUTCOME_DONE); /* the name is free */
    assert_void(del(COMMAND_VIP_PURGE, 0, table.vips[0].moved - 1), OUTCOME_STALE);
    assert_int_equal(table.vips[1].n_apart, 1);
    assert_int_equal(del(COMMAND_VIP_PURGE, 0, table.vips[0].moved), OUTCOME_DONE);
    assert_false(table.vips[0].used);
    assert_int_equal(table.vips[1].n_apart, 0);
    assert_int_equal(table_vip_find(&table, "web"), 2);
    assert_int_equal(add("again", "10.0.0.50/24"), OUTCOME_DONE);
    assert_int_equal(table_vip_find(&table, "again"), 0);
}

/* Disabled first, so without owner: whoever is still to be waited for is not forgotten by deleting. */
static void deleting_without_owner_keeps_prev(void **state)
{
    assert_int_equal(add("web", "10.0.0.50/24"), OUTCOME_DONE);
    assert_int_equal(move_vip(0, 0, REASON_NEW), OUTCOME_DONE);
    assert_int_equal(move_vip(0, SLOT_NONE, REASON_DISABLED), OUTCOME_DONE);
    assert_int_equal(del(COMMAND_VIP_DELETE, 0, 0), OUTCOME_DONE);
    assert_int_equal(table.vips[0].prev, 0);
    assert_int_equal(fence(0, NULL, 0), OUTCOME_DONE);
    assert_int_equal(clear(0), OUTCOME_DONE);
    assert_int_equal(table.vips[0].prev, SLOT_NONE);
    assert_int_equal(add("db", "10.0.0.51/24"), OUTCOME_DONE);
    assert_int_equal(move_vip(1, 1, REASON_NEW), OUTCOME_DONE);
    assert_int_equal(fence(1, NULL, 0), OUTCOME_DONE);
    assert_int_equal(clear(1), OUTCOME_DONE);
    assert_int_equal(del(COMMAND_VIP_DELETE, 1, 0), OUTCOME_DONE);
    assert_int_equal(table.vips[1].prev, SLOT_NONE); /* its owner was cleared */
}

/* ------------------------------------------------------------------ what nodes say */

static struct command report_of(int node)
{
    struct command command = command_of(COMMAND_NODE_REPORT);

    command.report.node = (int8_t)node;
    command.report.id = table.nodes[node].id;
    command.report.identity = 77;
    command.report.run = 5;
    command.report.n_links = table.nodes[node].n_links;
    memcpy(command.report.links, table.nodes[node].links, sizeof command.report.links);
    strcpy(command.report.version, "0.1.0");
    return command;
}

static void reports(void **state)
{
    struct command command = report_of(0);
    uint64_t changed, history;

    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_true(table.nodes[0].identity == 77 && table.changed == table.applied);
    assert_string_equal(table.nodes[0].version, "0.1.0");
    changed = table.changed;
    history = table.n_history;
    assert_int_equal(apply(&command), OUTCOME_DONE); /* nothing new */
    assert_true(table.changed == changed && table.n_history == history);
    command.report.links[0].n_prefixes = 2;
    command.report.links[0].prefixes[1] = prefix_of("2001:db8::1/64");
    assert_int_equal(apply(&command), OUTCOME_DONE); /* a change, but none of up or down */
    assert_true(table.changed == table.applied && table.n_history == history);
    command.report.links[0].up = false;
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_int_equal(last_history()->kind, HISTORY_LINKS);
    assert_string_equal(last_history()->subject, "a");
    assert_true(table.n_history == history + 1);
    command.report.witness = true;
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_true(table.nodes[0].witness);
    command.report.identity = 78;
    assert_void(apply(&command), OUTCOME_INVALID);
    command.report.identity = 77;
    command.report.id++;
    assert_void(apply(&command), OUTCOME_STALE);
}

static void drain_leave_and_return(void **state)
{
    struct command command = command_of(COMMAND_DRAIN);

    command.drain.node = 1;
    command.drain.id = table.nodes[1].id;
    command.drain.on = true;
    strcpy(command.who, "uid 0 on a");
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_true(table.nodes[1].draining);
    assert_int_equal(last_history()->kind, HISTORY_DRAIN);
    assert_string_equal(last_history()->who, "uid 0 on a");
    uint64_t changed = table.changed;
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_true(table.changed == changed);
    command.drain.on = false;
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_int_equal(last_history()->kind, HISTORY_UNDRAIN);
    command.drain.id++;
    assert_void(apply(&command), OUTCOME_STALE);
    command = command_of(COMMAND_LEAVE);
    command.leave.node = 1;
    command.leave.id = table.nodes[1].id;
    command.leave.run = 5;
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_true(table.nodes[1].leaving && table.nodes[1].leaving_run == 5);
    assert_int_equal(last_history()->kind, HISTORY_LEAVE);
    command = report_of(1);
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_true(table.nodes[1].leaving); /* the same run */
    command.report.run = 6;
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_false(table.nodes[1].leaving);
    assert_int_equal(last_history()->kind, HISTORY_RETURN);
}

static void settings_have_ranges(void **state)
{
    static const struct settings BAD[] = {
        {.announce_count = 0, .announce_interval_ms = 200, .announce_refresh_ms = 0}, {.announce_count = 101, .announce_interval_ms = 200, .announce_refresh_ms = 0}, {.announce_count = 5, .announce_interval_ms = 9, .announce_refresh_ms = 0}, {.announce_count = 5, .announce_interval_ms = 60001, .announce_refresh_ms = 0}, {.announce_count = 5, .announce_interval_ms = 200, .announce_refresh_ms = 999}, {.announce_count = 5, .announce_interval_ms = 200, .announce_refresh_ms = 1},
    };
    struct command command = command_of(COMMAND_SETTINGS);

    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        command.settings = BAD[i];
        assert_void(apply(&command), OUTCOME_INVALID);
    }
    command.settings = (struct settings){.announce_count = 100, .announce_interval_ms = 10, .announce_refresh_ms = 0};
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_true(table.settings.announce_count == 100 && table.changed == table.applied);
    assert_int_equal(last_history()->kind, HISTORY_SETTINGS);
}

static void who_may_own(void **state)
{
    struct vip_spec spec = spec_of("10.0.0.50/24");

    assert_int_equal(add_spec(&spec), OUTCOME_DONE);
    struct vip *vip = &table.vips[0];
    assert_true(table_may_own(&table, 0, vip));
    assert_string_equal(table_link_for(&table, 0, vip)->name, "eth0");
    vip->nodes = 2;
    assert_false(table_may_own(&table, 0, vip));
    vip->nodes = 1;
    table.nodes[0].links[0].up = false;
    assert_false(table_may_own(&table, 0, vip));
    table.nodes[0].links[0].up = true;
    table.nodes[0].draining = true;
    assert_false(table_may_own(&table, 0, vip));
    table.nodes[0].draining = false;
    table.nodes[0].leaving = true;
    assert_false(table_may_own(&table, 0, vip));
    table.nodes[0].leaving = false;
    table.nodes[0].witness = true;
    assert_false(table_may_own(&table, 0, vip));
    table.nodes[0].witness = false;
    table.nodes[0].status = NODE_FENCED;
    assert_false(table_may_own(&table, 0, vip));
    table.nodes[0].status = NODE_ADMITTED;
    assert_true(table_may_own(&table, 0, vip));
    table.nodes[0].links[0].prefixes[0] = prefix_of("10.0.1.1/24");
    assert_null(table_link_for(&table, 0, vip));
    assert_false(table_may_own(&table, 0, vip));
    strcpy(vip->dev, "eth0"); /* asked for by name: the subnet does not matter */
    assert_true(table_may_own(&table, 0, vip));
    assert_false(table_may_own(&table, 40, vip));
}

/* ------------------------------------------------------------------ requests, history, digest */

/* ------------------------------------------------------------------ documents */

static struct vip_item doc_items[4];
static struct group doc_groups[2];

static struct command document_of(uint32_t n_vips, uint32_t n_deletes)
{
    struct command command = command_of(COMMAND_APPLY);

    command.apply.revision = table.revision;
    strcpy(command.apply.source, "cluster.yaml");
    command.apply.n_vips = n_vips;
    command.apply.vips = doc_items;
    command.apply.n_deletes = n_deletes;
    command.apply.deletes = moves;
    command.apply.groups = doc_groups;
    return command;
}

static void doc_item(int i, int slot, const char *name, const char *address, uint32_t set)
{
    doc_items[i] = (struct vip_item){.slot = (uint16_t)slot, .set = set, .spec = spec_of(address)};
    strcpy(doc_items[i].spec.name, name);
}

/* New VIPs may refer to each other, before they are there; names change hands within one document. */
static void a_document_is_one_entry(void **state)
{
    struct command command;

    assert_int_equal(add("web", "10.0.0.50/24"), OUTCOME_DONE);
    assert_int_equal(add("db", "10.0.0.51/24"), OUTCOME_DONE);
    assert_int_equal(add("old", "10.0.0.52/24"), OUTCOME_DONE);
    assert_true(table.revision == table.applied);
    doc_item(0, 0, "db", "10.0.0.50/24", VIP_SET_NAME); /* web and db swap names */
    doc_item(1, 7, "new", "10.0.0.60/24", VIP_SET_ALL);
    doc_items[1].spec.n_apart = 1;
    doc_items[1].spec.apart[0] = 9;
    strcpy(doc_items[1].spec.group, "g");
    doc_item(2, 9, "old", "10.0.0.61/24", VIP_SET_ALL); /* the name of one that goes */
    doc_item(3, 1, "web", "10.0.0.51/16", VIP_SET_NAME | VIP_SET_LEN);
    moves[0] = (struct move){.vip = 2, .to = SLOT_NONE, .moved = table.vips[2].moved};
    command = document_of(4, 1);
    command.apply.n_groups = 1;
    strcpy(doc_groups[0].name, "g");
    doc_groups[0].n_prefers = 1;
    doc_groups[0].prefers[0] = (struct prefer){.node = 1, .weight = 9};
    command.apply.kept = "vips: {}\n";
    command.apply.kept_size = 9;
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_int_equal(table_vip_by_name(&table, "db"), 0);
    assert_int_equal(table_vip_by_name(&table, "web"), 1);
    assert_int_equal(table.vips[1].address.len, 16);
    assert_int_equal(table_vip_by_name(&table, "old"), 9);
    assert_true(table.vips[2].deleted && table.vips[7].apart[0] == 9);
    assert_int_equal(table.groups[table.vips[7].group].prefers[0].weight, 9);
    assert_true(table.revision == table.applied && table.n_kept == 1 && table.kept[0].revision == table.applied - 1);
    table_index(&table);
    assert_int_equal(table_vip_by_name(&table, "web"), 1);
}

static void a_document_is_void_as_a_whole(void **state)
{
    struct command command;

    assert_int_equal(add("web", "10.0.0.50/24"), OUTCOME_DONE);
    assert_int_equal(add("db", "10.0.0.51/24"), OUTCOME_DONE);
    doc_item(0, 5, "a", "10.0.0.60/24", VIP_SET_ALL);
    strcpy(doc_items[0].spec.group, "fresh");
    doc_item(1, 6, "b", "10.0.0.60/24", VIP_SET_ALL);
    command = document_of(2, 0);
    assert_void(apply(&command), OUTCOME_CONFLICT); /* one address twice: the first is taken back */
    assert_int_equal(table_vip_by_name(&table, "a"), SLOT_NONE);
    assert_int_equal(table_group_by_name(&table, "fresh"), SLOT_NONE);
    doc_item(1, 6, "a", "10.0.0.61/24", VIP_SET_ALL);
    assert_void(apply(&command), OUTCOME_INVALID); /* one name twice */
    doc_item(1, 6, "db", "10.0.0.61/24", VIP_SET_ALL);
    assert_void(apply(&command), OUTCOME_CONFLICT); /* a name in use */
    doc_item(1, 5, "b", "10.0.0.61/24", VIP_SET_ALL);
    assert_void(apply(&command), OUTCOME_STALE); /* one slot twice */
    doc_item(1, 0, "b", "10.0.0.61/24", VIP_SET_ALL);
    assert_void(apply(&command), OUTCOME_STALE); /* another VIP's slot */
    doc_item(1, 6, "b", "10.0.0.61/24", VIP_SET_ALL & ~(uint32_t)VIP_SET_DEV);
    assert_void(apply(&command), OUTCOME_STALE); /* a change of one that is not there */
    doc_item(1, 6, "10.0.0.62", "10.0.0.61/24", VIP_SET_ALL);
    doc_items[0].spec.name[0] = '0';
    assert_void(apply(&command), OUTCOME_INVALID); /* another's address as a name */
    doc_items[0].spec.name[0] = 'a';
    doc_item(1, 6, "b", "10.0.0.61/24", VIP_SET_ALL);
    doc_items[1].spec.n_apart = 1;
    doc_items[1].spec.apart[0] = 40;
    assert_void(apply(&command), OUTCOME_NOT_FOUND);
    doc_items[1].spec.n_apart = 0;
    moves[0] = (struct move){.vip = 1, .to = SLOT_NONE, .moved = table.vips[1].moved + 1};
    command.apply.n_deletes = 1;
    assert_void(apply(&command), OUTCOME_STALE); /* it has moved */
    command.apply.n_deletes = 0;
    command.apply.has_settings = true;
    command.apply.settings = (struct settings){.announce_count = 0, .announce_interval_ms = 200, .announce_refresh_ms = 0};
    assert_void(apply(&command), OUTCOME_INVALID);
    command.apply.has_settings = false;
    command.apply.revision--;
    assert_void(apply(&command), OUTCOME_STALE); /* L0 */
    command.apply.revision++;
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_int_equal(table.n_vips, 4);
}

static struct check_item doc_checks[3];

static struct check_item check_of(int slot, const char *name)
{
    struct check_item item = {.slot = (uint8_t)slot, .spec = check_spec_default()};

    strcpy(item.spec.name, name);
    item.spec.kind = CHECK_FILE;
    strcpy(item.spec.target, "/run/ok");
    return item;
}

/* A document's checks: void with it, whatever is wrong; its VIPs may require what it makes, and nothing that it deletes. */
static void checks_of_a_document(void **state)
{
    struct command command;

    assert_int_equal(add("web", "10.0.0.50/24"), OUTCOME_DONE);
    doc_checks[0] = check_of(0, "a");
    doc_checks[1] = check_of(3, "b");
    doc_item(0, 0, "", "10.0.0.50/24", VIP_SET_CHECKS);
    doc_items[0].spec.checks = 1ull << 3;
    command = document_of(1, 0);
    command.apply.checks = doc_checks;
    command.apply.n_checks = 1;
    assert_void(apply(&command), OUTCOME_NOT_FOUND); /* without b */
    command.apply.n_checks = 2;
    doc_checks[1].slot = 0;
    assert_void(apply(&command), OUTCOME_STALE); /* one slot twice */
    doc_checks[1] = check_of(3, "a");
    assert_void(apply(&command), OUTCOME_CONFLICT); /* one name twice */
    doc_checks[1] = check_of(3, "-");
    assert_void(apply(&command), OUTCOME_INVALID);
    doc_checks[1] = check_of(3, "b");
    doc_checks[1].spec.timeout_ms = 0;
    assert_void(apply(&command), OUTCOME_INVALID);
    doc_checks[1] = check_of(3, "b");
    doc_checks[1].gone = true;
    assert_void(apply(&command), OUTCOME_STALE); /* it is not there */
    doc_checks[1].gone = false;
    command.apply.has_voting = true;
    command.apply.voting = (struct voting){.count = 4, .replace_ms = 60000};
    assert_void(apply(&command), OUTCOME_INVALID);
    command.apply.voting.count = 5;
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_true(table.vips[0].checks == 1ull << 3 && table.voting.count == 5);
    assert_true(table_check_by_name(&table, "a") == 0 && table_check_by_name(&table, "b") == 3);
    assert_true(table.required == 9 && table.revision == table.applied && table.checks_index == table.applied);
    /* b goes: not while the VIP requires it, nor with one that would */
    doc_checks[0] = check_of(3, "b");
    doc_checks[0].gone = true;
    command = document_of(0, 0);
    command.apply.checks = doc_checks;
    command.apply.n_checks = 1;
    assert_void(apply(&command), OUTCOME_CONFLICT);
    doc_item(0, 7, "new", "10.0.0.60/24", VIP_SET_ALL);
    doc_items[0].spec.checks = 1ull << 3;
    moves[0] = (struct move){.vip = 0, .to = SLOT_NONE, .moved = table.vips[0].moved};
    command.apply.n_vips = command.apply.n_deletes = 1;
    assert_void(apply(&command), OUTCOME_NOT_FOUND);
    doc_items[0].spec.checks = 1;
    doc_checks[0] = check_of(3, "a");
    doc_checks[0].gone = true;
    assert_void(apply(&command), OUTCOME_STALE); /* another one's slot */
    doc_checks[0] = check_of(3, "b");
    doc_checks[0].gone = true;
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_true(table.checks[3].spec.name[0] == '\0' && table.vips[0].deleted && table.vips[0].checks == 0);
    assert_true(table.vips[7].checks == 1 && table.required == 1);
    assert_int_equal(last_history()->kind, HISTORY_CHECK_DELETE);
}

/* Pins are operation; all else that a document says makes a revision. */
static void what_makes_a_revision(void **state)
{
    struct command command;
    uint64_t revision;

    assert_int_equal(add("web", "10.0.0.50/24"), OUTCOME_DONE);
    revision = table.revision;
    command = set_of(0, VIP_SET_PINNED);
    command.vip_set.spec.pinned = 1;
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_true(table.revision == revision && table.changed > revision);
    command = set_of(0, VIP_SET_DEV);
    strcpy(command.vip_set.spec.dev, "eth7");
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_true(table.revision == table.applied);
    assert_int_equal(del(COMMAND_VIP_DELETE, 0, 0), OUTCOME_DONE);
    assert_true(table.revision == table.applied);
    revision = table.revision;
    assert_int_equal(del(COMMAND_VIP_PURGE, 0, table.vips[0].moved), OUTCOME_DONE);
    assert_true(table.revision == revision);
}

static void a_request_is_done_once(void **state)
{
    struct command command = command_of(COMMAND_VIP_ADD);
    struct vip_spec spec = spec_of("10.0.0.50/24");
    uint64_t first;

    command.request = 99;
    command.vip_add.n_vips = 1;
    command.vip_add.vips = &spec;
    assert_int_equal(apply(&command), OUTCOME_DONE);
    first = table.applied;
    assert_true(outcome.index == first);
    assert_int_equal(apply(&command), OUTCOME_DONE); /* without memory: a conflict */
    assert_true(outcome.index == first && table.n_vips == 1 && table.n_dedup == 1);
    command.request = 100;
    assert_int_equal(apply(&command), OUTCOME_CONFLICT);
    first = table.applied;
    assert_int_equal(del(COMMAND_VIP_DELETE, 0, 0), OUTCOME_DONE);
    assert_int_equal(del(COMMAND_VIP_PURGE, 0, table.vips[0].moved), OUTCOME_DONE);
    assert_int_equal(apply(&command), OUTCOME_CONFLICT); /* refused then, so refused */
    assert_true(outcome.index == first && table.n_vips == 0);
    for (uint64_t i = 0; i < DEDUP_MAX; i++) { /* forgotten after so many others */
        struct command other = command_of(COMMAND_SETTINGS);

        other.request = 1000 + i;
        other.settings = table.settings;
        assert_int_equal(apply(&other), OUTCOME_DONE);
    }
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_int_equal(table.n_vips, 1);
}

/* Nothing was done, so the same request may be decided anew and succeed. */
static void a_stale_request_is_not_remembered(void **state)
{
    struct command command;

    assert_int_equal(add("x", "10.0.0.50/24"), OUTCOME_DONE);
    moves[0] = move_of(0, 0, REASON_MANUAL);
    moves[0].moved--;
    command = command_of(COMMAND_MOVE);
    command.request = 5;
    command.move.n_moves = 1;
    command.move.moves = moves;
    assert_int_equal(apply(&command), OUTCOME_STALE);
    moves[0].moved++;
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_int_equal(table.vips[0].owner, 0);
}

static void history_is_a_ring(void **state)
{
    assert_int_equal(add("x", "10.0.0.50/24"), OUTCOME_DONE);
    for (int i = 0; i < HISTORY_MAX + 10; i++) {
        assert_int_equal(move_vip(0, i % 3, REASON_REBALANCE), OUTCOME_DONE);
    }
    assert_true(table.n_history > HISTORY_MAX);
    assert_true(last_history()->index == table.applied);
    assert_true(table.history[table.n_history % HISTORY_MAX].index == table.applied - HISTORY_MAX + 1);
}

static void the_digest_sees_every_field(void **state)
{
    struct command command;
    uint64_t digest;

    assert_int_equal(add("x", "10.0.0.50/24"), OUTCOME_DONE);
    command = report_of(0);
    command.request = 3;
    assert_int_equal(apply(&command), OUTCOME_DONE);
    digest = table_digest(&table);
    copy = table;
    assert_true(table_digest(&copy) == digest);
#define DIFFERS(change)                                                                                                \
    do {                                                                                                               \
        copy = table;                                                                                                  \
        change;                                                                                                        \
        assert_true(table_digest(&copy) != digest);                                                                    \
    } while (0)
    DIFFERS(copy.applied++);
    DIFFERS(copy.changed++);
    DIFFERS(copy.revision++);
    DIFFERS(copy.n_kept++);
    DIFFERS(copy.voters ^= 1);
    DIFFERS(copy.timing.margin_ms++);
    DIFFERS(copy.settings.announce_refresh_ms++);
    DIFFERS(copy.nodes[0].gen++);
    DIFFERS(copy.nodes[0].since_ms++);
    DIFFERS(copy.nodes[0].leaving_run++);
    DIFFERS(copy.nodes[0].links[0].up ^= true);
    DIFFERS(copy.nodes[0].at.port++);
    DIFFERS(copy.nodes[3].witness ^= true);
    DIFFERS(copy.vips[0].prev++);
    DIFFERS(copy.vips[0].pinned++);
    DIFFERS(copy.vips[0].deleted ^= true);
    DIFFERS(copy.vips[0].address.len--);
    DIFFERS(copy.vips[0].dev[0]++);
    DIFFERS(copy.vips[0].moved_ms++);
    DIFFERS(copy.vips[0].reason++);
    DIFFERS(strcpy(copy.groups[7].name, "g"));
    DIFFERS(copy.history[0].at_ms++);
    DIFFERS(copy.history[1].who[0] = 'x');
    DIFFERS(copy.history[0].took_ms++);
    DIFFERS(copy.n_history++);
    DIFFERS(copy.maintenance.state++);
    DIFFERS(copy.maintenance.beat++);
    DIFFERS(copy.maintenance.held ^= true);
    DIFFERS(copy.maintenance.words_size = 1);
    DIFFERS(copy.maintenance.n_steps++);
    DIFFERS(copy.maintenance.before.n_links++);
    DIFFERS(copy.maintenance.tail[0]++);
    DIFFERS(copy.dedup[0].index++);
#undef DIFFERS
    copy = table;
    memset(copy.by_name, 0, sizeof copy.by_name); /* derived */
    assert_true(table_digest(&copy) == digest);
}

static void texts_are_complete(void **state)
{
    for (int i = 0; i < REASONS_N; i++) {
        assert_string_not_equal(reason_text((enum reason)i), "unknown");
    }
    for (int i = 0; i < HISTORY_KINDS_N; i++) {
        assert_string_not_equal(history_kind_text((enum history_kind)i), "unknown");
    }
    assert_string_equal(reason_text((enum reason)REASONS_N), "unknown");
    assert_string_equal(history_kind_text((enum history_kind)HISTORY_KINDS_N), "unknown");
    assert_string_equal(node_status_text(NODE_ADMITTED), "admitted");
    assert_string_equal(node_role_text(ROLE_SPARE), "spare");
}

#define T(name) cmocka_unit_test_setup(name, start)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(founded, empty),
        cmocka_unit_test_setup(bad_foundings, empty),
        cmocka_unit_test_setup(eight_voters_are_too_many, empty),
        T(a_life_of_a_node),
        T(stale_decisions_about_nodes),
        T(a_move_names_whom_to_wait_for),
        T(a_fence_with_its_moves),
        T(a_void_fence_does_not_move),
        T(void_moves),
        T(a_move_to_the_owner_keeps_prev),
        T(a_vip_from_nobody_is_fresh),
        T(conflicts_begin_and_end),
        T(a_pin_lasts_as_long_as_the_node_can),
        T(found_by_name_and_address),
        T(refused_vips),
        T(all_or_none),
        T(full),
        T(lookups_after_many_changes),
        T(set_attributes),
        T(groups_come_and_go),
        T(as_many_groups_as_there_may_be),
        T(a_group_has_one_pin),
        T(a_deleted_vip_reserves_its_address),
        T(deleting_without_owner_keeps_prev),
        T(reports),
        T(drain_leave_and_return),
        T(settings_have_ranges),
        T(who_may_own),
        T(a_document_is_one_entry),
        T(a_document_is_void_as_a_whole),
        T(checks_of_a_document),
        T(what_makes_a_revision),
        T(a_request_is_done_once),
        T(a_stale_request_is_not_remembered),
        T(history_is_a_ring),
        T(the_digest_sees_every_field),
        T(texts_are_complete),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
