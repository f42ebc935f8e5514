/* Clients: each has VIPs of its own, asks for one change after another and asks again until it has an answer. What was
 * answered must be so in the end; what was given up may have happened or not, now or later. */

#include <stdio.h>
#include <string.h>

#include "sim.h"

#define MEMBERS 120 /* permille of the changes that are about who is a member and who votes, where these change */

enum op_kind
{
    OP_ADD = 0,
    OP_DELETE,
    OP_ENABLE,
    OP_DISABLE,
    OP_PIN,
    OP_UNPIN,
    OP_DRAIN,
    OP_UNDRAIN,
    OP_TRANSFER,
    OP_NODES, /* the set that it may be on */
    OP_RULES, /* its group, what it is apart from, what it prefers */
    OP_MAINTAIN, /* of session SESSIONS alone */
    OP_NODE_ADD,
    OP_NODE_REMOVE,
    OP_NODE_WISH,
    OP_VOTING,
    OP_BACK, /* in the end: whatever is still needed to make a host a member */
    OP_KINDS_N,
};

static const char *const OP_NAMES[OP_KINDS_N] = {"add",  "delete", "enable",  "disable", "pin",
                                                 "unpin", "drain",  "undrain", "transfer", "nodes", "rules", "maintain",
                                                 "node-add", "node-remove", "node-wish", "voting", "back"};

enum existence
{
    ABSENT = 0,
    PRESENT,
    DOUBTFUL, /* something about it was given up */
};

static struct
{
    struct
    {
        bool active, last; /* last: of those after the faults */
        enum op_kind kind;
        int address, node;
        uint64_t nodes; /* hosts */
        uint64_t request;
        unsigned tries;
        int final; /* calm: how many of the last changes are through */
    } sessions[SESSIONS + 1]; /* the last one is the keeper's */
    enum existence exists[ADDRS];
    bool disabled[ADDRS];
} client;

void client_open(void)
{
    memset(&client, 0, sizeof client);
    keeper_open();
    for (int s = 0; s < SESSIONS + world.maintenance; s++) {
        world_at(world.now + world.unit * 4, TIMER_SESSION, -1)->a = (uint64_t)s;
    }
}

/* ------------------------------------------------------------------ a session */

static int own_address(int session)
{
    return session + SESSIONS * (int)chance_below(&world.client, ADDRS / SESSIONS);
}

static struct chance *chance_of(int s)
{
    return s == SESSIONS ? &world.keeper : &world.client;
}

/* A host that is no member, if there is one, is mostly whom it is about. */
static void choose_member_op(int s)
{
    static const enum op_kind KINDS[] = {OP_NODE_ADD, OP_NODE_ADD, OP_NODE_REMOVE, OP_NODE_REMOVE, OP_NODE_WISH, OP_NODE_WISH, OP_VOTING};

    client.sessions[s].kind = KINDS[chance_below(&world.client, sizeof KINDS / sizeof KINDS[0])];
    for (int i = 0; i < world.n; i++) {
        if (world.nodes[i].id == 0 && chance_permille(&world.client, 600)) {
            client.sessions[s].node = i;
            client.sessions[s].kind = chance_permille(&world.client, 500) ? OP_NODE_ADD : OP_NODE_REMOVE;
        }
    }
}

static void choose(int s)
{
    if (s == SESSIONS) {
        client.sessions[s].kind = OP_MAINTAIN;
        return;
    }
    static const unsigned SHARES[OP_NODE_ADD] = {250, 100, 70, 70, 90, 40, 40, 80, 60, 100, 100, 0};
    unsigned at = (unsigned)chance_below(&world.client, 1000);
    enum op_kind kind = OP_ADD;

    while (at >= SHARES[kind]) {
        at -= SHARES[kind++];
    }
    client.sessions[s].kind = kind == OP_RULES && world.seed % 3 != 0 ? OP_ADD : kind;
    client.sessions[s].address = own_address(s);
    client.sessions[s].node = (int)chance_below(&world.client, (uint64_t)world.n);
    if (world.roster && chance_permille(&world.client, MEMBERS)) {
        choose_member_op(s);
    }
    client.sessions[s].nodes = chance_permille(&world.client, 500)
                                   ? 0
                                   : 1ull << client.sessions[s].node | 1ull << chance_below(&world.client, (uint64_t)world.n);
}

/* After the faults: every node is undrained, every pin is taken off. */
static bool older_left(void)
{
    for (int s = 0; s < SESSIONS; s++) {
        if (client.sessions[s].active && !client.sessions[s].last) {
            return true;
        }
    }
    return false;
}

/* By the table the host is a member, on its way to be one, or stays away. */
static bool is_back(const struct table *table, int who)
{
    const struct sim_node *host = &world.nodes[who];
    int slot = members_named(table, who);

    if (slot != SLOT_NONE && table->nodes[slot].removing) {
        return members_must_stay(table, slot);
    }
    return host->lost || (slot != SLOT_NONE && (table->nodes[slot].id == host->id || !world.claimed[table->nodes[slot].id]));
}

static int not_back(void)
{
    const struct sim_node *leader = oracle_leader();

    for (int i = 0; i < world.n; i++) {
        if (leader == NULL || !is_back(leader->table, i)) {
            return i;
        }
    }
    return SLOT_NONE;
}

static bool choose_final(int s)
{
    int at = client.sessions[s].final;
    int addresses = (ADDRS - s + SESSIONS - 1) / SESSIONS;

    if (at < addresses) {
        client.sessions[s].kind = OP_UNPIN;
        client.sessions[s].address = s + SESSIONS * at;
        return true;
    }
    if (s == 0 && at < addresses + 2 * world.n) {
        client.sessions[s].kind = at < addresses + world.n ? OP_NODE_WISH : OP_UNDRAIN;
        client.sessions[s].node = (at - addresses) % world.n;
        return true;
    }
    client.sessions[s].kind = OP_BACK;
    client.sessions[s].node = not_back();
    return s == 0 && client.sessions[s].node != SLOT_NONE;
}

bool client_calm(void)
{
    if (!keeper_over()) {
        return false;
    }
    for (int s = 0; s < SESSIONS; s++) {
        if (client.sessions[s].active || client.sessions[s].final < (ADDRS - s + SESSIONS - 1) / SESSIONS + (s == 0) * 2 * world.n) {
            return false;
        }
    }
    return not_back() == SLOT_NONE;
}

static int whom_to_ask(struct chance *c)
{
    if (!chance_permille(c, 200)) {
        for (int i = 0; i < world.n; i++) {
            if (node_leads(&world.nodes[i])) {
                int k = (i + (int)chance_below(c, 2) * (int)chance_below(c, (uint64_t)world.n)) % world.n;
                return node_leads(&world.nodes[k]) ? k : i;
            }
        }
    }
    return (int)chance_below(c, (uint64_t)world.n);
}

static void give_up(int s)
{
    enum op_kind kind = client.sessions[s].kind;

    client.sessions[s].active = false;
    world.stats->changes_lost++;
    if (kind <= OP_DISABLE) {
        client.exists[client.sessions[s].address] = DOUBTFUL;
    }
}

void client_timer(int s)
{
    struct chance *c = chance_of(s);
    uint64_t pause = s == SESSIONS && world.calm ? chance_span(c, 20 * MS, 200 * MS)
                     : world.calm                ? chance_span(c, 5 * MS, 50 * MS)
                                                 : chance_span(c, world.unit / 16, world.unit);

    if (client.sessions[s].active && !world.calm && client.sessions[s].tries > 30) {
        give_up(s);
    }
    if (!client.sessions[s].active) {
        if (world.calm) {
            if (s == SESSIONS && keeper_over()) {
                return;
            }
            if (s == SESSIONS) {
                choose(s);
            } else if (older_left() || !keeper_over() || !choose_final(s)) { /* a drain of before must not come after the last undrain */
                world_at(world.now + pause, TIMER_SESSION, -1)->a = (uint64_t)s;
                return;
            }
        } else {
            choose(s);
        }
        client.sessions[s].active = true;
        client.sessions[s].last = world.calm;
        client.sessions[s].tries = 0;
        client.sessions[s].request = chance_next(c) | 1;
    }
    client.sessions[s].tries++;
    struct timer *timer = world_at(world.now + chance_span(c, 50 * US, 2 * MS), TIMER_MESSAGE, whom_to_ask(c));
    timer->input = (struct input){.kind = INPUT_REQUEST, .session = s, .request = client.sessions[s].request};
    world_at(world.now + pause, TIMER_SESSION, -1)->a = (uint64_t)s;
}

static void done(int s, const struct outcome *outcome)
{
    int address = client.sessions[s].address;
    bool doubtful = client.exists[address] == DOUBTFUL;

    world_say(-1, "client %d: %s 10.0.0.%d/%c: outcome %d at %llu %s", s, OP_NAMES[client.sessions[s].kind], 100 + address,
              'a' + client.sessions[s].node, outcome->code, (unsigned long long)outcome->index, outcome->detail);
    client.sessions[s].active = false;
    client.sessions[s].final += client.sessions[s].last && client.sessions[s].kind != OP_BACK;
    if (outcome->code != OUTCOME_DONE) {
        world.stats->changes_refused++;
        if (client.sessions[s].kind == OP_DELETE && outcome->code == OUTCOME_NOT_FOUND) {
            client.exists[address] = DOUBTFUL; /* perhaps it was this very request, asked before */
        }
        return;
    }
    world.stats->changes++;
    switch (client.sessions[s].kind) {
    case OP_ADD:
        client.exists[address] = doubtful ? DOUBTFUL : PRESENT;
        client.disabled[address] = false;
        break;
    case OP_DELETE:
        client.exists[address] = doubtful ? DOUBTFUL : ABSENT;
        break;
    case OP_ENABLE:
    case OP_DISABLE:
        client.disabled[address] = client.sessions[s].kind == OP_DISABLE;
        break;
    case OP_PIN:
    case OP_UNPIN:
    case OP_DRAIN:
    case OP_UNDRAIN:
    case OP_TRANSFER:
    case OP_NODES:
    case OP_RULES:
    case OP_MAINTAIN:
    case OP_NODE_ADD:
    case OP_NODE_REMOVE:
    case OP_NODE_WISH:
    case OP_VOTING:
    case OP_BACK:
    case OP_KINDS_N:
        break;
    }
}

static void deliver(int s, uint64_t request, const struct outcome *outcome)
{
    if (client.sessions[s].active && client.sessions[s].request == request &&
        (world.calm || !chance_permille(chance_of(s), world.loss + 20))) {
        done(s, outcome);
    }
}

/* ------------------------------------------------------------------ on the node that is asked */

/* A third of the seeds has them; in half of these they stay. */
bool client_keeps_rules(void)
{
    return world.seed % 6 == 3;
}

static void fill_rules(struct sim_node *node)
{
    struct vip_spec *spec = &node->spec;
    struct chance *c = &world.client;

    if (chance_permille(c, 500)) {
        snprintf(spec->group, sizeof spec->group, "g%u", (unsigned)chance_below(c, 3));
    }
    for (uint64_t i = chance_below(c, 3); i > 0; i--) {
        struct addr addr = address_of((int)chance_below(c, ADDRS));
        int other = table_vip_by_addr(node->table, &addr);
        if (other != SLOT_NONE && (spec->n_apart == 0 || spec->apart[0] != other)) {
            spec->apart[spec->n_apart++] = (uint16_t)other;
        }
    }
    int preferred = members_named(node->table, (int)chance_below(c, (uint64_t)world.n));
    if (chance_permille(c, 400) && preferred != SLOT_NONE) {
        spec->prefers[spec->n_prefers++] = (struct prefer){.node = (int8_t)preferred, .weight = 100};
    }
}

/* What the last change of a VIP takes back. */
static uint32_t last_set(void)
{
    return VIP_SET_PINNED | VIP_SET_NODES |
           (client_keeps_rules() ? 0u : (uint32_t)(VIP_SET_GROUP | VIP_SET_APART | VIP_SET_PREFERS));
}

/* Hosts, as slots of the table. */
static uint64_t slots_of(const struct table *table, uint64_t hosts)
{
    uint64_t slots = 0;

    for (int i = 0; i < world.n; i++) {
        int slot = members_named(table, i);
        slots |= (hosts >> i & 1) && slot != SLOT_NONE ? 1ull << slot : 0;
    }
    return slots;
}

/* False: there is nothing to do, or nothing now. */
static bool fill_member(struct sim_node *node, int s, int slot)
{
    struct command *c = &node->command;
    enum op_kind kind = client.sessions[s].kind;
    const struct node *is = &node->table->nodes[slot == SLOT_NONE ? 0 : slot];

    if (kind == OP_BACK) {
        if (is_back(node->table, client.sessions[s].node) || (slot != SLOT_NONE && is->removing)) {
            return false;
        }
        kind = slot == SLOT_NONE ? OP_NODE_ADD : OP_NODE_REMOVE;
    }
    if (kind == OP_VOTING) {
        c->type = COMMAND_VOTING;
        c->voting.count = chance_permille(&world.client, 700) ? 3 : 5;
        c->voting.replace_ms = (uint32_t)chance_span(&world.client, 1000, 4000);
        return true;
    }
    if (kind == OP_NODE_ADD) {
        c->type = COMMAND_NODE_ADD;
        memcpy(c->node_add.name, world.nodes[client.sessions[s].node].name, sizeof c->node_add.name);
        c->node_add.at = fsm_endpoint(client.sessions[s].node);
        return true;
    }
    if (slot == SLOT_NONE) {
        return false;
    }
    if (kind == OP_NODE_REMOVE) {
        c->type = COMMAND_NODE_REMOVE;
        c->node_remove.node = (int8_t)slot;
        c->node_remove.id = is->id;
        return true;
    }
    c->type = COMMAND_NODE_SET;
    c->node_set.node = (int8_t)slot;
    c->node_set.id = is->id;
    c->node_set.set = NODE_SET_WISH;
    c->node_set.wish = world.calm ? WISH_AUTO : (enum node_wish)chance_below(&world.client, 3);
    return true;
}

static bool fill(struct sim_node *node, int s)
{
    struct command *c = &node->command;
    enum op_kind kind = client.sessions[s].kind;
    int address = client.sessions[s].address, to = members_named(node->table, client.sessions[s].node);
    char name[8];
    int vip;

    snprintf(name, sizeof name, "v%d", address);
    memset(c, 0, sizeof *c);
    memset(&node->spec, 0, sizeof node->spec);
    c->at_ms = (int64_t)(clock_own(node) / MS);
    c->request = client.sessions[s].request;
    memcpy(c->who, "sim", 4);
    memcpy(node->spec.name, name, sizeof name);
    node->spec.pinned = SLOT_NONE;
    if (kind == OP_ADD) {
        node->spec.address = (struct prefix){address_of(address), 24};
        node->spec.enabled = true;
        node->spec.yield = world.seed % 4 == 0 && address % 4 == 0;
        node->spec.no_probe = address % 8 == 1;
        hooks_of(address, &node->spec);
        c->type = COMMAND_VIP_ADD;
        c->vip_add.n_vips = 1;
        c->vip_add.vips = &node->spec;
        return true;
    }
    if (kind == OP_MAINTAIN) {
        c->type = COMMAND_MAINTENANCE;
        return keeper_fill(node, &c->maintenance);
    }
    if (kind == OP_DRAIN || kind == OP_UNDRAIN) {
        c->type = COMMAND_DRAIN;
        c->drain.node = (int8_t)to;
        c->drain.id = to == SLOT_NONE ? 0 : node->table->nodes[to].id;
        c->drain.on = kind == OP_DRAIN;
        return to != SLOT_NONE;
    }
    if (kind >= OP_NODE_ADD) {
        return fill_member(node, s, to);
    }
    vip = table_vip_by_name(node->table, name);
    if (vip == SLOT_NONE) {
        return false;
    }
    if (kind == OP_DELETE) {
        node->move = (struct move){.vip = (uint16_t)vip, .to = SLOT_NONE, .reason = REASON_DELETED,
                                   .moved = node->table->vips[vip].moved};
        c->type = COMMAND_VIP_DELETE;
        c->vip_del.n_vips = 1;
        c->vip_del.vips = &node->move;
        return true;
    }
    c->type = COMMAND_VIP_SET;
    c->vip_set.vip = (uint16_t)vip;
    memcpy(c->vip_set.name, name, sizeof name);
    c->vip_set.spec = node->spec;
    if (kind == OP_RULES) {
        c->vip_set.set = VIP_SET_GROUP | VIP_SET_APART | VIP_SET_PREFERS;
        fill_rules(node);
        return true;
    }
    c->vip_set.set = kind == OP_NODES                         ? VIP_SET_NODES
                     : kind == OP_UNPIN && world.calm          ? last_set()
                     : kind == OP_PIN || kind == OP_UNPIN ? VIP_SET_PINNED
                                                               : VIP_SET_ENABLED;
    c->vip_set.spec.nodes = kind == OP_NODES ? slots_of(node->table, client.sessions[s].nodes) : 0;
    c->vip_set.spec.enabled = kind == OP_ENABLE;
    c->vip_set.spec.pinned = kind == OP_PIN ? (int8_t)to : SLOT_NONE;
    return true;
}

static struct call *free_call(struct sim_node *node)
{
    for (unsigned i = 0; i < sizeof node->calls / sizeof node->calls[0]; i++) {
        if (node->calls[i].token == 0) {
            return &node->calls[i];
        }
    }
    return NULL;
}

void client_request(struct sim_node *node, const struct input *input)
{
    int s = input->session;
    struct call *call = free_call(node);
    struct event event = {.type = EV_REQUEST};

    if (!client.sessions[s].active || client.sessions[s].request != input->request || call == NULL ||
        !core_is_leader(node->core)) {
        return; /* asked again elsewhere */
    }
    if (client.sessions[s].kind == OP_TRANSFER) {
        struct outcome outcome = {.code = OUTCOME_DONE};
        if (consensus_transfer(node->consensus, 0, clock_own(node) / MS) < 0) {
            node_stop(node);
        }
        deliver(s, input->request, &outcome);
        return;
    }
    if (!fill(node, s)) {
        /* a leader that is none any more may not know of the VIP: no proof that there is none */
        if (world.calm || s == SESSIONS || client.sessions[s].kind >= OP_NODE_ADD ||
            client.exists[client.sessions[s].address] != PRESENT) {
            struct outcome outcome = {.code = OUTCOME_NOT_FOUND};
            deliver(s, input->request, &outcome);
        }
        return;
    }
    *call = (struct call){.token = ++node->tokens, .request = input->request, .session = s};
    event.request.token = call->token;
    event.request.command = &node->command;
    event.request.force = chance_permille(chance_of(s), 500);
    node_event(node, &event);
}

static struct call *find(struct sim_node *node, uint64_t token)
{
    for (unsigned i = 0; i < sizeof node->calls / sizeof node->calls[0]; i++) {
        if (node->calls[i].token == token) {
            return &node->calls[i];
        }
    }
    return NULL;
}

void client_proposed(struct sim_node *node, uint64_t token, uint64_t index)
{
    struct call *call = find(node, token);

    if (call != NULL && index != 0) {
        call->index = index;
    } else if (call != NULL) {
        call->token = 0;
    }
}

void client_outcome(struct sim_node *node, uint64_t token, const struct outcome *outcome)
{
    struct call *call = find(node, token);

    if (call == NULL) {
        return;
    }
    if (outcome->code != OUTCOME_STALE && outcome->code != OUTCOME_NO_QUORUM) {
        deliver(call->session, call->request, outcome);
    }
    call->token = 0;
}

void client_applied(struct sim_node *node, uint64_t index, uint64_t request, const struct outcome *outcome)
{
    for (unsigned i = 0; i < sizeof node->calls / sizeof node->calls[0]; i++) {
        struct call *call = &node->calls[i];
        if (call->token == 0 || call->index != index) {
            continue;
        }
        if (call->request == request && outcome->code != OUTCOME_STALE) {
            deliver(call->session, request, outcome);
        }
        call->token = 0;
    }
}

void client_role(struct sim_node *node)
{
    if (!node_leads(node)) {
        memset(node->calls, 0, sizeof node->calls);
    }
}

/* ------------------------------------------------------------------ in the end */

void client_check(const struct table *table)
{
    for (int i = 0; i < ADDRS; i++) {
        struct addr addr = address_of(i);
        int vip = table_vip_by_addr(table, &addr);
        bool there = vip != SLOT_NONE && !table->vips[vip].deleted;

        if (client.exists[i] == DOUBTFUL) {
            continue;
        }
        if (there != (client.exists[i] == PRESENT)) {
            world_violated(VIOLATION_SAFETY, "VIP v%d was acknowledged as %s and is %s", i,
                           client.exists[i] == PRESENT ? "added" : "deleted", there ? "there" : "not there");
        } else if (there && table->vips[vip].enabled == client.disabled[i]) {
            world_violated(VIOLATION_SAFETY, "VIP v%d was acknowledged as %s and is not", i,
                           client.disabled[i] ? "disabled" : "enabled");
        }
    }
}
