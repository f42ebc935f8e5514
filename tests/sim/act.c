/* What the core asks for, carried out: the duties of the daemon's pump.c and kernel.c. */

#include <stdlib.h>
#include <string.h>

#include "sim.h"
#include "wire/command.h"
#include "wire/report.h"

static uint8_t bytes[COMMAND_BYTES_MAX];

static void trigger(const struct sim_node *node, enum trigger what, int slot)
{
    int host = members_host_at(node->table, slot);

    if (host >= 0) {
        ambush_trigger(what, host);
    }
}

static void propose(struct sim_node *node, uint64_t token, const struct command *command)
{
    size_t len = 0;
    uint64_t index = 0;
    int rv = command_encode(command, bytes, sizeof bytes, &len);

    if (rv == 0) {
        rv = consensus_submit(node->consensus, bytes, len, clock_own(node) / MS, &index);
    }
    if (rv != 0) {
        index = 0;
    } else if (command->type == COMMAND_FENCE) {
        trigger(node, TRIGGER_FENCE, command->fence.node);
    } else if (command->type == COMMAND_ADMIT) {
        trigger(node, TRIGGER_ADMIT, command->node.node);
    } else if (command->type == COMMAND_MOVE && command->move.moves[0].to >= 0) {
        trigger(node, TRIGGER_MOVE, command->move.moves[0].to);
    }
    world_note("propose", node->slot, (uint64_t)command->type, index);
    if (token != 0) {
        client_proposed(node, token, index);
    } else {
        struct event event = {.type = EV_PROPOSED, .proposed = {.token = 0, .index = index}};
        node_result(node, &event);
    }
}

static void report(struct sim_node *node, uint64_t to)
{
    uint8_t buf[REPORT_BYTES_MAX];
    size_t len;

    if (to == node->id) {
        node->report = *core_report(node->core);
        struct event event = {.type = EV_REPORT, .report = &node->report};
        node_event(node, &event);
    } else if (members_host(to) >= 0 && report_encode(core_report(node->core), FORMAT_LAST, buf, sizeof buf, &len) == 0) {
        net_send(node->slot, members_host(to), INPUT_REPORT, buf, len);
    }
}

static void address_result(struct sim_node *node, int address, bool wanted)
{
    struct event event = {.type = EV_KERNEL};

    event.kernel.addr = address_of(address);
    event.kernel.present = node->kernel.addresses[address].present;
    event.kernel.failed = event.kernel.present != wanted;
    node_result(node, &event);
}

static void add(struct sim_node *node, uint16_t vip)
{
    int address = address_index(&node->table->vips[vip].address.addr);

    if (address < 0) {
        world_violated(VIOLATION_BUG, "%c adds the address of no VIP", 'a' + node->slot);
        return;
    }
    foreign_check_add(node, vip);
    if (!RULE(N3_SERIAL)) {
        node->flying[address] = clock_own(node) + chance_below(&world.work, world.unit);
        return;
    }
    (void)kernel_add(node, address, true);
    address_result(node, address, true);
}

static void announce(struct sim_node *node, uint16_t vip)
{
    node->announcing[vip] = (struct announcing){
        .on = true,
        .left = node->table->settings.announce_count,
        .at = clock_own(node),
        .address = address_index(&node->table->vips[vip].address.addr),
    };
}

void act_announce_all(struct sim_node *node)
{
    for (int i = 0; i < VIPS_MAX; i++) {
        if (node->announcing[i].on) {
            node->announcing[i].left = node->table->settings.announce_count;
            node->announcing[i].at = clock_own(node);
        }
    }
}

void act_links(struct sim_node *node)
{
    struct event event = {.type = EV_LINKS, .report = &node->report};

    memset(&node->report, 0, sizeof node->report);
    node->report.node = node->id;
    node->report.identity = node->identity;
    node->report.run = node->run;
    node->report.witness = node->founder_witness;
    memcpy(node->report.version, "sim", 4);
    node->report.n_links = 1;
    memcpy(node->report.links[0].name, "eth0", 5);
    node->report.links[0].up = node->kernel.link_up;
    foreign_mac(node->slot, 0, node->report.links[0].mac);
    node->report.links[0].n_prefixes = 1;
    node->report.links[0].prefixes[0] =
        (struct prefix){.addr = {.family = 4, .bytes = {10, 0, 0, (uint8_t)(node->slot + 1)}}, .len = 24};
    node_event(node, &event);
}

/* N5_ABSOLUTE broken: what is left of the lease is handed on, and counts from when it gets there. */
static void lease(struct sim_node *node, const struct action *action)
{
    uint64_t end = action->lease_end;

    if (!RULE(N5_ABSOLUTE) && end > node->step_at) {
        end = clock_own(node) + (end - node->step_at);
    }
    foreign_check_gate(node, end);
    kernel_lease(node, end);
}

static void send_heartbeat(struct sim_node *node, const struct action *action)
{
    uint8_t buf[DATAGRAM_MAX];

    foreign_sent(node, action->heartbeat.seq);
    if (members_host(action->to) >= 0) {
        net_send(node->slot, members_host(action->to), INPUT_DATAGRAM, buf,
                 heartbeat_encode(&action->heartbeat, FORMAT_LAST, node->table->cluster_id, buf));
    }
}

static void send_answer(const struct sim_node *node, const struct action *action)
{
    uint8_t buf[DATAGRAM_MAX];

    if (members_host(action->to) >= 0) {
        net_send(node->slot, members_host(action->to), INPUT_DATAGRAM, buf,
                 answer_encode(action->answer, FORMAT_LAST, node->table->cluster_id, buf));
    }
    if (action->answer->acked) {
        ambush_trigger(TRIGGER_ACK, node->slot);
    }
}

static void say(const struct sim_node *node, const struct action *action)
{
    static const char *const TEXTS[] = {"?", "lease gained", "lease lost", "hold", "drop", "fence", "clear", "admit", "move",
                                        "leader", "follower", "missing", "heard", "foreign", "put back", "taken", "defended", "yielded",
                                        "conflict over", "clock steady", "clock slewed", "clock unfit", "listed", "voter", "unlisted", "removed", "check fails", "check passes", "disk late", "disk well", "disk dead"};

    world_say(node->slot, "says: %s%s%c%s%s %llu", TEXTS[action->log.id], action->log.node >= 0 ? " node " : "",
              action->log.node >= 0 ? members_letter(node->table, action->log.node) : ' ', action->log.vip >= 0 ? " vip " : "",
              action->log.vip >= 0 ? node->table->vips[action->log.vip].name : "", (unsigned long long)action->log.value);
}

unsigned act_execute(struct sim_node *node, const struct action *action)
{
    int address;
    struct event event = {.type = EV_PROPOSED};

    if (action->type != ACT_LOG) {
        world_note("act", node->slot, (uint64_t)action->type, action->to);
    }
    switch (action->type) {
    case ACT_HEARTBEAT:
        send_heartbeat(node, action);
        break;
    case ACT_ANSWER:
        send_answer(node, action);
        break;
    case ACT_LEASE:
        lease(node, action);
        break;
    case ACT_ADDR_DEL:
        address = address_index(&action->addr);
        (void)kernel_del(node, address, true);
        address_result(node, address, false);
        break;
    case ACT_ADDR_ADD:
        add(node, action->vip);
        break;
    case ACT_PROBE:
        foreign_probe(node, action);
        break;
    case ACT_ANNOUNCE:
        announce(node, action->vip);
        break;
    case ACT_SILENCE:
        node->announcing[action->vip].on = false;
        break;
    case ACT_ANNOUNCE_ALL:
        act_announce_all(node);
        break;
    case ACT_HOOK:
    case ACT_RESET:
        hooks_ask(node, action);
        break;
    case ACT_CONFIGURE:
        fsm_configure(node, action->to, action->configure);
        break;
    case ACT_PROPOSE:
        propose(node, action->propose.token, action->propose.command);
        break;
    case ACT_BARRIER:
        event.proposed.index = consensus_barrier(node->consensus);
        node_result(node, &event);
        break;
    case ACT_REPLY:
        client_outcome(node, action->reply.token, &action->reply.outcome);
        break;
    case ACT_REPORT:
        report(node, action->to);
        break;
    case ACT_ELECT:
        if (consensus_elect(node->consensus, clock_own(node) / MS) < 0) {
            node_stop(node);
        }
        break;
    case ACT_TRANSFER:
        if (consensus_transfer(node->consensus, action->to, clock_own(node) / MS) < 0) {
            node_stop(node);
        }
        break;
    case ACT_LOG:
        say(node, action);
        break;
    case ACT_EXIT:
        node_stop(node);
        break;
    }
    return 1;
}
