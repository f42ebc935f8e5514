/* The membership in the table: nodes added, changed, removed; who votes; what history says of it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/command.h"
#include "core/table.h"

static struct table table;
static struct outcome outcome;

static enum outcome_code apply(struct command *command)
{
    command->at_ms = 1700000000000;
    table_apply(&table, table.applied + 1, command, &outcome);
    return outcome.code;
}

static struct endpoint endpoint_of(const char *text)
{
    struct endpoint at;

    assert_int_equal(endpoint_parse(text, &at), 0);
    return at;
}

/* a, b, c vote. */
static int setup(void **state)
{
    struct found_node founders[3];
    struct command command = {.type = COMMAND_FOUND};

    memset(founders, 0, sizeof founders);
    for (int i = 0; i < 3; i++) {
        founders[i].id = (uint64_t)i + 1;
        founders[i].name[0] = (char)('a' + i);
        founders[i].at = endpoint_of("10.9.0.1:7400");
        founders[i].at.addr.bytes[3] = (uint8_t)(i + 1);
    }
    table_init(&table);
    strcpy(command.found.cluster, "prod");
    command.found.cluster_id = 7;
    command.found.timing = (struct timing){100, 300, 500, 20, 1000};
    command.found.settings.announce_count = 5;
    command.found.settings.announce_interval_ms = 200;
    command.found.n_nodes = 3;
    command.found.nodes = founders;
    assert_int_equal(apply(&command), OUTCOME_DONE);
    return 0;
}

static enum outcome_code add(const char *name, const char *at)
{
    struct command command = {.type = COMMAND_NODE_ADD};

    strcpy(command.node_add.name, name);
    command.node_add.at = endpoint_of(at);
    return apply(&command);
}

static enum outcome_code on_node(enum command_type type, int node)
{
    struct command command = {.type = type};

    command.node.node = (int8_t)node;
    command.node.since = table.nodes[node].since;
    return apply(&command);
}

static enum outcome_code remove_node(int node)
{
    struct command command = {.type = COMMAND_NODE_REMOVE};

    command.node_remove.node = (int8_t)node;
    command.node_remove.id = table.nodes[node].id;
    return apply(&command);
}

static enum outcome_code wish(int node, enum node_wish what)
{
    struct command command = {.type = COMMAND_NODE_SET};

    command.node_set.node = (int8_t)node;
    command.node_set.id = table.nodes[node].id;
    command.node_set.set = NODE_SET_WISH;
    command.node_set.wish = what;
    return apply(&command);
}

/* Everyone gets the log but those in `without`; `voters` vote. */
static void configure(uint64_t voters, uint64_t without)
{
    struct server servers[NODES_MAX];
    unsigned n = 0;

    for (int i = 0; i < NODES_MAX; i++) {
        if (table.nodes[i].used && !(without >> i & 1)) {
            servers[n++] = (struct server){.id = table.nodes[i].id, .voter = voters >> i & 1};
        }
    }
    table_configure(&table, table.applied + 1, servers, n);
}

static const struct history *last(void)
{
    return &table.history[(table.n_history - 1) % HISTORY_MAX];
}

static void take_out(int node)
{
    if (!table.nodes[node].removing) {
        assert_int_equal(remove_node(node), OUTCOME_DONE);
    }
    configure(table.voters & ~(1ull << node), 1ull << node);
    assert_int_equal(on_node(COMMAND_NODE_DELETE, node), OUTCOME_DONE);
}

static void a_new_node_is_nothing_yet(void **state)
{
    assert_int_equal(add("d", "10.9.0.4:7400"), OUTCOME_DONE);
    const struct node *d = &table.nodes[3];
    assert_true(d->used && d->id == 4 && d->status == NODE_CLEARED && d->gen == 0 && !d->listed);
    assert_true(d->fence == table.applied && d->added == table.applied && d->since == table.applied);
    assert_int_equal(d->role, ROLE_SPARE);
    assert_int_equal(table.voters, 7);
    assert_int_equal(last()->kind, HISTORY_NODE_ADD);
    configure(7, 0);
    assert_true(d->listed);
    assert_int_equal(d->role, ROLE_SPARE);
    assert_int_equal(on_node(COMMAND_ADMIT, 3), OUTCOME_DONE);
    assert_int_equal(d->role, ROLE_STANDBY);
    assert_int_equal(wish(3, WISH_SPARE), OUTCOME_DONE);
    assert_int_equal(d->role, ROLE_SPARE);
}

static void what_is_taken_is_refused(void **state)
{
    assert_int_equal(add("c", "10.9.0.4:7400"), OUTCOME_CONFLICT);
    assert_int_equal(add("d", "10.9.0.3:7400"), OUTCOME_CONFLICT);
    assert_int_equal(add("d", "[2001:db8::4]:7400"), OUTCOME_INVALID);
    assert_int_equal(add("-d", "10.9.0.4:7400"), OUTCOME_INVALID);
    for (int i = 3; i < NODES_MAX; i++) {
        char name[8], at[32];
        snprintf(name, sizeof name, "n%d", i);
        snprintf(at, sizeof at, "10.9.0.%d:7400", i + 1);
        assert_int_equal(add(name, at), OUTCOME_DONE);
    }
    assert_int_equal(add("more", "10.9.0.200:7400"), OUTCOME_LIMIT);
}

static void an_id_is_never_used_twice(void **state)
{
    assert_int_equal(add("d", "10.9.0.4:7400"), OUTCOME_DONE);
    take_out(3);
    assert_int_equal(add("d", "10.9.0.4:7400"), OUTCOME_DONE);
    int slot = table_node_by_name(&table, "d");
    assert_int_equal(table.nodes[slot].id, 5);
    assert_int_equal(slot, 4); /* and a slot not before all others were */
    assert_int_equal(table_node_by_id(&table, 4), SLOT_NONE);
}

static void names_of_the_departed(void **state)
{
    assert_int_equal(add("d", "10.9.0.4:7400"), OUTCOME_DONE);
    uint64_t then = table.applied;
    take_out(3);
    assert_string_equal(table_name_at(&table, 3, then), "d");
    assert_null(table_name_at(&table, 9, then));
    for (int i = 0; i < NODES_MAX - 4; i++) { /* all other slots, one after the other */
        assert_int_equal(add("x", "10.9.0.5:7400"), OUTCOME_DONE);
        take_out(table_node_by_name(&table, "x"));
    }
    while (!table.nodes[3].used) {
        assert_int_equal(add("e", "10.9.0.4:7400"), OUTCOME_DONE);
        if (!table.nodes[3].used) {
            take_out(table_node_by_name(&table, "e"));
        }
    }
    assert_null(table_name_at(&table, 3, then)); /* not another node's name */
    assert_string_equal(table_name_at(&table, 3, table.applied), "e");
}

static void a_configuration_changes_the_voters(void **state)
{
    uint64_t founded = table.voters_index;
    struct command tell = {.type = COMMAND_VOTERS};

    assert_int_equal(add("d", "10.9.0.4:7400"), OUTCOME_DONE);
    configure(7, 0);
    assert_int_equal(table.voters_index, founded); /* who gets the log is not who votes */
    configure(15, 0);
    assert_int_equal(table.voters, 15);
    assert_int_equal(table.voters_index, table.applied);
    assert_int_equal(table.nodes[3].role, ROLE_VOTER);
    tell.voters.index = founded;
    assert_int_equal(apply(&tell), OUTCOME_STALE); /* L0 */
    tell.voters.index = table.voters_index;
    assert_int_equal(apply(&tell), OUTCOME_DONE);
    assert_int_equal(last()->kind, HISTORY_VOTER);
    assert_string_equal(last()->subject, "d");
    assert_int_equal(apply(&tell), OUTCOME_STALE); /* told once */
    configure(13, 0);
    assert_int_equal(table.nodes[1].role, ROLE_SPARE); /* not admitted */
    tell.voters.index = table.voters_index;
    assert_int_equal(apply(&tell), OUTCOME_DONE);
    assert_int_equal(last()->kind, HISTORY_NO_VOTER);
    assert_string_equal(last()->subject, "b");
}

static void before_the_founding_it_says_nothing(void **state)
{
    struct server server = {.id = 1, .voter = true};

    table_init(&table);
    table_configure(&table, 1, &server, 1);
    assert_int_equal(table.applied, 1);
    assert_int_equal(table.voters, 0);
}

static void only_what_is_cleared_and_unlisted_is_deleted(void **state)
{
    assert_int_equal(on_node(COMMAND_ADMIT, 2), OUTCOME_DONE);
    assert_int_equal(on_node(COMMAND_NODE_DELETE, 2), OUTCOME_STALE);
    assert_int_equal(remove_node(2), OUTCOME_DONE);
    assert_true(table.nodes[2].removing && table.nodes[2].draining);
    configure(3, 4);
    assert_int_equal(on_node(COMMAND_NODE_DELETE, 2), OUTCOME_STALE); /* admitted */
    struct command fence = {.type = COMMAND_FENCE};
    fence.fence.node = 2;
    fence.fence.gen = table.nodes[2].gen;
    assert_int_equal(apply(&fence), OUTCOME_DONE);
    assert_int_equal(on_node(COMMAND_NODE_DELETE, 2), OUTCOME_STALE); /* fenced */
    assert_int_equal(on_node(COMMAND_CLEAR, 2), OUTCOME_DONE);
    configure(3, 0);
    assert_int_equal(on_node(COMMAND_NODE_DELETE, 2), OUTCOME_STALE); /* it gets the log */
    configure(7, 0);
    assert_int_equal(on_node(COMMAND_NODE_DELETE, 2), OUTCOME_STALE); /* it votes */
    configure(3, 4);
    struct command late = {.type = COMMAND_NODE_DELETE, .node = {.node = 2, .since = 1}};
    assert_int_equal(apply(&late), OUTCOME_STALE); /* L0 */
    assert_int_equal(on_node(COMMAND_NODE_DELETE, 2), OUTCOME_DONE);
    assert_false(table.nodes[2].used);
    assert_int_equal(last()->kind, HISTORY_NODE_GONE);
}

static void nothing_refers_to_a_deleted_node(void **state)
{
    struct vip_spec spec = {.name = "web", .enabled = true, .pinned = 2, .nodes = 6, .group = "g",
                            .n_prefers = 2, .prefers = {{.node = 2, .weight = 9}, {.node = 1, .weight = 5}}};
    struct command command = {.type = COMMAND_VIP_ADD, .vip_add = {.n_vips = 1, .vips = &spec}};
    struct move move = {.vip = 0, .to = 2, .reason = REASON_NEW};

    assert_int_equal(prefix_parse("10.0.0.50/24", &spec.address, NULL), 0);
    assert_int_equal(apply(&command), OUTCOME_DONE);
    command = (struct command){.type = COMMAND_GROUP_SET};
    strcpy(command.group.name, "g");
    command.group.n_prefers = 1;
    command.group.prefers[0] = (struct prefer){.node = 2, .weight = 1};
    assert_int_equal(apply(&command), OUTCOME_DONE);
    move.moved = table.vips[0].moved;
    command = (struct command){.type = COMMAND_MOVE, .move = {.n_moves = 1, .moves = &move}};
    assert_int_equal(apply(&command), OUTCOME_DONE);
    uint64_t moved = table.vips[0].moved;
    take_out(2);
    const struct vip *vip = &table.vips[0];
    assert_true(vip->owner == SLOT_NONE && vip->prev == SLOT_NONE && vip->pinned == SLOT_NONE && vip->nodes == 2);
    assert_true(vip->moved > moved && vip->moved == table.applied);
    assert_true(vip->n_prefers == 1 && vip->prefers[0].node == 1 && vip->prefers[0].weight == 5);
    assert_true(table.groups[vip->group].n_prefers == 0);
}

static void a_vip_of_that_node_only(void **state)
{
    struct vip_spec spec = {.name = "web", .enabled = true, .pinned = SLOT_NONE, .nodes = 6};
    struct command command = {.type = COMMAND_VIP_ADD, .vip_add = {.n_vips = 1, .vips = &spec}};

    assert_int_equal(prefix_parse("10.0.0.50/24", &spec.address, NULL), 0);
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_int_equal(remove_node(2), OUTCOME_DONE);
    assert_int_equal(remove_node(1), OUTCOME_CONFLICT); /* it would be one that may be anywhere */
    strcpy(spec.name, "db");
    assert_int_equal(prefix_parse("10.0.0.51/24", &spec.address, NULL), 0);
    spec.nodes = 4;
    assert_int_equal(apply(&command), OUTCOME_CONFLICT); /* a node that goes */
}

static void a_node_that_goes_stays_drained(void **state)
{
    struct command command = {.type = COMMAND_DRAIN, .drain = {.node = 2, .id = 3, .on = false}};

    assert_int_equal(remove_node(2), OUTCOME_DONE);
    assert_int_equal(apply(&command), OUTCOME_CONFLICT);
    assert_int_equal(wish(2, WISH_VOTER), OUTCOME_CONFLICT);
}

static void an_address(void **state)
{
    struct command command = {.type = COMMAND_NODE_SET, .node_set = {.node = 2, .id = 3, .set = NODE_SET_AT}};

    command.node_set.at = endpoint_of("10.9.0.1:7400");
    assert_int_equal(apply(&command), OUTCOME_CONFLICT);
    command.node_set.at = endpoint_of("10.9.0.33:7400");
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_int_equal(table.nodes[2].at.addr.bytes[3], 33);
    command.node_set.id = 4;
    assert_int_equal(apply(&command), OUTCOME_STALE);
}

static void how_many_vote(void **state)
{
    struct command command = {.type = COMMAND_VOTING, .voting = {.count = 4, .replace_ms = 5000}};

    assert_int_equal(table.voting.count, 3);
    assert_int_equal(table.voting.replace_ms, VOTER_REPLACE_MS);
    assert_int_equal(apply(&command), OUTCOME_INVALID);
    command.voting = (struct voting){.count = 5, .replace_ms = 999};
    assert_int_equal(apply(&command), OUTCOME_INVALID);
    command.voting.replace_ms = 1000;
    assert_int_equal(apply(&command), OUTCOME_DONE);
    assert_int_equal(table.voting.count, 5);
}

static void a_recovered_cluster_is_another_one(void **state)
{
    struct vip_spec specs[2] = {{.name = "web", .enabled = true, .pinned = SLOT_NONE, .nodes = 6},
                                {.name = "db", .enabled = true, .pinned = SLOT_NONE}};
    struct command command = {.type = COMMAND_VIP_ADD, .vip_add = {.n_vips = 2, .vips = specs}};
    struct move moves[2];

    assert_int_equal(prefix_parse("10.0.0.50/24", &specs[0].address, NULL), 0);
    assert_int_equal(prefix_parse("10.0.0.51/24", &specs[1].address, NULL), 0);
    assert_int_equal(apply(&command), OUTCOME_DONE);
    for (int i = 0; i < 2; i++) {
        moves[i] = (struct move){.vip = (uint16_t)i, .to = (int8_t)(i + 1), .reason = REASON_NEW, .moved = table.vips[i].moved};
    }
    command = (struct command){.type = COMMAND_MOVE, .move = {.n_moves = 2, .moves = moves}};
    assert_int_equal(apply(&command), OUTCOME_DONE);
    table_recover(&table, table.applied + 5, 1, 99, 1700000000000);
    assert_true(table.cluster_id == 99 && table_was(&table, 7) && !table_was(&table, 99) && !table_was(&table, 0));
    assert_int_equal(table.voters, 1);
    assert_int_equal(table.voters_index, table.applied);
    assert_true(table.nodes[0].used && !table.nodes[1].used && !table.nodes[2].used);
    assert_int_equal(table.nodes[0].status, NODE_CLEARED);
    assert_true(table.nodes[0].since == table.applied && table.nodes[0].fence == table.applied);
    assert_true(table.vips[0].owner == SLOT_NONE && table.vips[0].prev == SLOT_NONE && table.vips[0].moved == table.applied);
    assert_false(table.vips[0].enabled); /* it was for the others only */
    assert_true(table.vips[0].nodes == 1 && table.vips[1].enabled && table.vips[1].owner == SLOT_NONE);
    assert_int_equal(add("b", "10.9.0.2:7400"), OUTCOME_DONE);
    assert_int_equal(table.nodes[table_node_by_name(&table, "b")].id, 4);
    for (int i = 0; i < FORMER_MAX; i++) {
        table_recover(&table, table.applied + 1, 1, 100 + (uint64_t)i, 1);
    }
    assert_false(table_was(&table, 7));
    assert_true(table_was(&table, 99));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_new_node_is_nothing_yet, setup),
        cmocka_unit_test_setup(what_is_taken_is_refused, setup),
        cmocka_unit_test_setup(an_id_is_never_used_twice, setup),
        cmocka_unit_test_setup(names_of_the_departed, setup),
        cmocka_unit_test_setup(a_configuration_changes_the_voters, setup),
        cmocka_unit_test_setup(before_the_founding_it_says_nothing, setup),
        cmocka_unit_test_setup(only_what_is_cleared_and_unlisted_is_deleted, setup),
        cmocka_unit_test_setup(nothing_refers_to_a_deleted_node, setup),
        cmocka_unit_test_setup(a_vip_of_that_node_only, setup),
        cmocka_unit_test_setup(a_node_that_goes_stays_drained, setup),
        cmocka_unit_test_setup(an_address, setup),
        cmocka_unit_test_setup(how_many_vote, setup),
        cmocka_unit_test_setup(a_recovered_cluster_is_another_one, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
