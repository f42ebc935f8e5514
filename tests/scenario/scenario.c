/* Runs scenario files: one node's core is fed with events and with committed entries, and its actions are compared with
 * what the file expects. docs/architecture.md describes the language; `scenario --words` prints it.
 *
 * Time is in milliseconds since the node's start. Between two lines nothing happens by itself but timers that are due
 * before the next `at`. Actions pile up until an `expect` names them: the named kind must be next of its kind, and at
 * every `expect none KIND` and at the end of the file no unexpected action of a watched kind may be left. */

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.h"

#define WORDS_MAX 24
#define PILE_MAX 4096
#define IDLE_MAX 20 /* timers in a row that find nothing to do, and are due again at once */

static const char *WORDS =
    "self NAME                       the node under test; before `found`\n"
    "found NAME...                   an entry: founds the cluster (ids 1.., all voters)\n"
    "entry vip NAME ADDR [probe] [yield] [reset] [before-take=MS] [after-take=MS] [before-release=MS] [after-release=MS] | conflict NODE VIP none|taken|defended|yielded MAC | move VIP NODE|none [REASON] | fence NODE [VIP>NODE...] | clear NODE | admit NODE\n"
    "      | drain NODE | undrain NODE | delete VIP | purge VIP | disable VIP | links NODE DEV up|down PREFIX [MAC]\n"
    "      | add NODE | set NODE voter|spare|auto | remove NODE | gone NODE | voting COUNT REPLACE-MS | voters\n"
    "      | configure NODE voter|standby|none   a configuration of Raft, with that node in its new place\n"
    "      | check NAME [weight] | require VIP CHECK | health NODE CHECK passes|fails|unknown\n"
    "      | maintenance begin NODE... [restart] | step NODE STATE | claim | end STATUS | beat | lost | pause | resume [retry|done] | abort\n"
    "                                settling 100 ms, draining 1 s, returning 2 s; by runner 7\n"
    "                                each is one committed entry at the next index\n"
    "stale                           the entry before must have changed nothing\n"
    "applied                         tells the core that the table has moved on\n"
    "caught-up [earlier ADDR...]     everything that was on disk at the start is applied; what an earlier run left\n"
    "links DEV up|down PREFIX [MAC]  the node's own interface\n"
    "slew slow|fast PPM              the own clock from here on; 0: no more\n"
    "at MS                           lets time pass, with the timers that fall due\n"
    "stall MS                        lets time pass in which the process stands still\n"
    "heartbeat NODE [run=N seq=N gen=N|table applied=N|table released=N|table held=N|table lease=N missing=A+B term=N writing=MS\n"
    "          checks=N|table passing=CHECK failing=CHECK\n"
    "          index=N leader=NODE]  from another node; `table` = as a good node would say now\n"
    "answer NODE acked|refused [seq=N|last run=N|own promise=NODE:FENCE|table:LEFT released=NODE:INDEX|table]\n"
    "kernel ADDR present|gone [failed]\n"
    "foreign ADDR [MAC]              another host claims it; without a MAC: another node of the cluster\n"
    "probed VIP silent|failed        nobody answered the last probe of it, or nothing was asked\n"
    "hooked VIP before-take|before-release   such a hook has ended\n"
    "reset-done VIP                  the connections of that VIP have been reset\n"
    "result CHECK passed|failed      a health check of this node has come to a result\n"
    "report NODE VIP none|taken|defended|yielded MAC   a node's report of a conflict, to the leader\n"
    "role leader|follower TERM LEADER|none\n"
    "proposed INDEX|ok|refused       ok: the proposal was appended at the next index\n"
    "disk TERM INDEX                 last entry on this node's disk\n"
    "writing MS|none                 since when a write has been at this node's disk\n"
    "request drain NODE [force] | delete VIP | pin VIP NODE | remove|promote|demote NODE [force] | address NODE\n"
    "shutdown\n"
    "expect add VIP | probe VIP | hook VIP POINT moved|again|lease|foreign within=MS | reset VIP | del ADDR | lease MS|0 | announce VIP | heartbeat TO [applied released held gen as key=N]\n"
    "       | answer TO acked|refused [promise=NODE:LEFT] [released=NODE:N] | propose KIND [ARG...] | barrier\n"
    "       | configure NODE voter|standby|none"
    "       | elect LEADER | transfer NODE | exit | reply CODE | announce-all\n"
    "expect none KIND...             no such action was made since it was last expected\n"
    "state VIP held|moving|unheld|disabled;  node NODE up|draining|drained|fenced|down\n"
    "at-rest                         nothing is due now\n"
    "forget                          everything made so far was not of interest\n";

struct pile
{
    struct action action;
    struct answer answer;   /* copies of what the action points to */
    struct command command;
    struct move moves[64];
    uint32_t n_moves;
    struct conflict_item items[CONFLICTS_MAX];
    bool expected;
};

static struct table *table, *before;
static struct core *core;
static struct actions actions;
static struct pile *pile;
static unsigned n_pile;
static time_ns now = 1000 * MS, start = 1000 * MS, deadline = UINT64_MAX;
static const char *file;
static unsigned line_number;
static char self_name[NAME_SIZE];
static struct slew slew;
static time_ns writing_since;
static uint64_t run = 77, next_seq[NODES_MAX], last_seq;

static void fail(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
static void fail(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "%s:%u: ", file, line_number);
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

/* ---------------------------------------------------------------- words to things */

static uint64_t number(const char *text)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);
    if (!*text || *end) {
        fail("'%s' is not a number", text);
    }
    return n;
}

static int node_slot(const char *name)
{
    int slot = table_node_by_name(table, name);
    if (slot == SLOT_NONE) {
        fail("no node '%s'", name);
    }
    return slot;
}

static int vip_slot(const char *name)
{
    int slot = table_vip_find(table, name);
    for (int i = 0; slot == SLOT_NONE && i < table->vips_end; i++) { /* a deleted one, to be purged */
        slot = table->vips[i].used && !strcmp(table->vips[i].name, name) ? i : SLOT_NONE;
    }
    if (slot == SLOT_NONE) {
        fail("no VIP '%s'", name);
    }
    return slot;
}

static uint64_t node_id(const char *name)
{
    return table->nodes[node_slot(name)].id;
}

/* The value of key=... among the words, or NULL. */
static const char *option(char **words, int n, const char *key)
{
    size_t len = strlen(key);
    for (int i = 0; i < n; i++) {
        if (!strncmp(words[i], key, len) && words[i][len] == '=') {
            return words[i] + len + 1;
        }
    }
    return NULL;
}

static bool flag(char **words, int n, const char *word)
{
    for (int i = 0; i < n; i++) {
        if (!strcmp(words[i], word)) {
            return true;
        }
    }
    return false;
}

static uint64_t option_or(char **words, int n, const char *key, uint64_t otherwise)
{
    const char *text = option(words, n, key);
    return !text || !strcmp(text, "table") ? otherwise : number(text);
}

/* ---------------------------------------------------------------- stepping */

static void keep(const struct action *action)
{
    if (action->type == ACT_LOG) {
        return;
    }
    if (n_pile == PILE_MAX) {
        fail("too many actions");
    }
    struct pile *p = &pile[n_pile++];
    p->action = *action;
    p->expected = false;
    if (action->type == ACT_ANSWER) {
        p->answer = *action->answer;
    } else if (action->type == ACT_HEARTBEAT) {
        last_seq = action->heartbeat.seq;
    } else if (action->type == ACT_PROPOSE) {
        p->command = *action->propose.command;
        const struct move *moves = NULL;
        if (p->command.type == COMMAND_FENCE) {
            moves = p->command.fence.moves;
            p->n_moves = p->command.fence.n_moves;
        } else if (p->command.type == COMMAND_MOVE) {
            moves = p->command.move.moves;
            p->n_moves = p->command.move.n_moves;
        }
        for (uint32_t i = 0; p->command.type == COMMAND_CONFLICT && i < p->command.conflict.n_items; i++) {
            p->items[i] = p->command.conflict.items[i];
        }
        for (uint32_t i = 0; moves && i < p->n_moves && i < 64; i++) {
            p->moves[i] = moves[i];
        }
    }
}

static void step(struct event *event)
{
    struct event on = {.type = EV_CONTINUE, .wall_ms = 1700000000000};
    event->now = now;
    event->slew = on.slew = slew;
    event->writing_since = on.writing_since = writing_since;
    event->wall_ms = 1700000000000;
    for (int rounds = 0; rounds < 1000; rounds++) {
        core_step(core, event, &actions);
        for (unsigned i = 0; i < actions.n; i++) {
            keep(&actions.list[i]);
        }
        deadline = actions.deadline;
        if (!actions.more) {
            return;
        }
        on.now = now;
        event = &on;
    }
    fail("the core never comes to rest");
}

static void do_at(uint64_t ms)
{
    time_ns until = start + ms * MS;
    if (until < now) {
        fail("time does not run backwards");
    }
    for (int idle = 0; deadline <= until;) {
        time_ns was = deadline;
        now = deadline > now ? deadline : now;
        step(&(struct event){.type = EV_TIMER});
        idle = actions.n == 0 && deadline <= now ? idle + 1 : 0;
        if (idle > IDLE_MAX) {
            fail("a deadline stays due, though there is nothing to do: the daemon would turn without end");
        }
        if (deadline <= was && deadline <= now) {
            now += MS / 10; /* a deadline that stays due: time must go on */
            if (now > until) {
                break;
            }
        }
    }
    now = until;
    step(&(struct event){.type = EV_TIMER});
}

/* The process stands still until then. */
static void do_stall(uint64_t ms)
{
    if (start + ms * MS < now) {
        fail("time does not run backwards");
    }
    now = start + ms * MS;
    step(&(struct event){.type = EV_TIMER});
}

/* ---------------------------------------------------------------- entries */

static void commit(struct command *command)
{
    struct outcome outcome;
    *before = *table;
    command->at_ms = 1700000000000;
    table_apply(table, table->applied + 1, command, &outcome);
    if (outcome.code != OUTCOME_DONE && outcome.code != OUTCOME_STALE) {
        fail("the entry was refused: %s", outcome.detail);
    }
}

static void do_found(char **words, int n)
{
    struct found_node nodes[NODES_MAX];
    memset(nodes, 0, sizeof nodes);
    for (int i = 0; i < n; i++) {
        nodes[i].id = (uint64_t)i + 1;
        snprintf(nodes[i].name, NAME_SIZE, "%s", words[i]);
        char at[32];
        snprintf(at, sizeof at, "192.0.2.%d:7400", i + 1);
        if (endpoint_parse(at, &nodes[i].at)) {
            fail("endpoint");
        }
    }
    struct command command = {.type = COMMAND_FOUND};
    command.found.cluster_id = 4711;
    strcpy(command.found.cluster, "test");
    command.found.timing = (struct timing){100, 400, 515, 5, 600};
    command.found.settings = (struct settings){.announce_count = 5, .announce_interval_ms = 200, .announce_refresh_ms = 60000};
    command.found.n_nodes = (uint8_t)n;
    command.found.nodes = nodes;
    commit(&command);
    int slot = table_node_by_name(table, self_name); /* else it is the first one that is added */
    memset(core, 0, core_size());
    core_init(core, slot == SLOT_NONE ? (uint64_t)n + 1 : table->nodes[slot].id, run, table, start);
}

static struct move parse_move(const char *vip, const char *to, enum reason reason)
{
    int slot = vip_slot(vip);
    return (struct move){.vip = (uint16_t)slot,
                         .to = (int8_t)(!strcmp(to, "none") ? SLOT_NONE : node_slot(to)),
                         .reason = reason,
                         .moved = table->vips[slot].moved};
}

static void entry_moves(char **words, int n)
{
    struct move moves[64];
    struct command command = {0};
    if (!strcmp(words[0], "move")) {
        moves[0] = parse_move(words[1], words[2], REASON_MANUAL);
        command.type = COMMAND_MOVE;
        command.move.n_moves = 1;
        command.move.moves = moves;
    } else {
        int slot = node_slot(words[1]);
        command.type = COMMAND_FENCE;
        command.fence.node = (int8_t)slot;
        command.fence.gen = table->nodes[slot].gen;
        command.fence.moves = moves;
        for (int i = 2; i < n; i++) {
            char *to = strchr(words[i], '>');
            if (!to) {
                fail("'%s' is not VIP>NODE", words[i]);
            }
            *to++ = 0;
            moves[command.fence.n_moves++] = parse_move(words[i], to, REASON_CRASH);
        }
    }
    commit(&command);
}

static void parse_mac(const char *text, uint8_t ret[MAC_SIZE])
{
    if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &ret[0], &ret[1], &ret[2], &ret[3], &ret[4], &ret[5]) != MAC_SIZE) {
        fail("'%s' is not a hardware address", text);
    }
}

static struct conflict_item parse_conflict(char **words)
{
    int slot = vip_slot(words[0]);
    struct conflict_item item = {.vip = (uint16_t)slot, .moved = table->vips[slot].moved};
    while (strcmp(conflict_kind_text(item.kind), words[1]) != 0) {
        if (++item.kind == CONFLICT_KINDS_N) {
            fail("'%s' is no outcome of a conflict", words[1]);
        }
    }
    parse_mac(words[2], item.mac);
    return item;
}

static void place_of(const char *name, char ret[32], struct endpoint *at)
{
    snprintf(ret, 32, "192.0.2.%d:7400", 100 + name[0] % 100);
    if (endpoint_parse(ret, at)) {
        fail("endpoint");
    }
}

static enum node_wish wish_of(const char *word)
{
    return !strcmp(word, "voter") ? WISH_VOTER : !strcmp(word, "spare") ? WISH_SPARE : WISH_AUTO;
}

/* The configuration as the table has it, with one node in another place. */
static void entry_configure(char **words, int n)
{
    struct server servers[NODES_MAX];
    unsigned count = 0;
    if (n < 3) {
        fail("'configure' needs NODE PLACE");
    }
    int slot = node_slot(words[1]);
    for (int i = 0; i < NODES_MAX; i++) {
        bool is_it = i == slot;
        if (is_it ? strcmp(words[2], "none") != 0 : table->nodes[i].used && table->nodes[i].listed) {
            servers[count++] = (struct server){table->nodes[i].id, is_it ? !strcmp(words[2], "voter") : table->voters >> i & 1};
        }
    }
    *before = *table;
    table_configure(table, table->applied + 1, servers, count);
}

/* Entries about members; false: it is none. */
static bool entry_of_roster(char **words, int n)
{
    const char *kind = words[0];
    struct command command = {0};
    char text[32];
    if (!strcmp(kind, "configure")) {
        entry_configure(words, n);
        return true;
    }
    if (!strcmp(kind, "add")) {
        command.type = COMMAND_NODE_ADD;
        snprintf(command.node_add.name, NAME_SIZE, "%s", words[1]);
        place_of(words[1], text, &command.node_add.at);
    } else if (!strcmp(kind, "set")) {
        command.type = COMMAND_NODE_SET;
        command.node_set.node = (int8_t)node_slot(words[1]);
        command.node_set.id = node_id(words[1]);
        command.node_set.set = NODE_SET_WISH;
        command.node_set.wish = wish_of(words[n > 2 ? 2 : 1]);
    } else if (!strcmp(kind, "remove")) {
        command.type = COMMAND_NODE_REMOVE;
        command.node_remove.node = (int8_t)node_slot(words[1]);
        command.node_remove.id = node_id(words[1]);
    } else if (!strcmp(kind, "gone")) {
        command.type = COMMAND_NODE_DELETE;
        command.node.node = (int8_t)node_slot(words[1]);
        command.node.since = table->nodes[command.node.node].since;
    } else if (!strcmp(kind, "voting")) {
        command.type = COMMAND_VOTING;
        command.voting = (struct voting){(uint8_t)number(words[1]), (uint32_t)number(words[n > 2 ? 2 : 1])};
    } else if (!strcmp(kind, "voters")) {
        command.type = COMMAND_VOTERS;
        command.voters.index = table->voters_index;
    } else {
        return false;
    }
    commit(&command);
    return true;
}

static void entry_conflict(char **words)
{
    struct conflict_item item = parse_conflict(words + 2);
    struct command command = {.type = COMMAND_CONFLICT};
    command.conflict.node = (int8_t)node_slot(words[1]);
    command.conflict.id = node_id(words[1]);
    command.conflict.n_items = 1;
    command.conflict.items = &item;
    commit(&command);
}

static void entry_links(char **words, int n)
{
    int slot = node_slot(words[1]);
    struct command command = {.type = COMMAND_NODE_REPORT};
    command.report.node = (int8_t)slot;
    command.report.id = table->nodes[slot].id;
    command.report.identity = command.report.id + 100;
    command.report.run = 5;
    command.report.n_links = 1;
    snprintf(command.report.links[0].name, DEV_SIZE, "%s", words[2]);
    command.report.links[0].up = !strcmp(words[3], "up");
    if (n > 5) {
        parse_mac(words[5], command.report.links[0].mac);
    }
    command.report.links[0].n_prefixes = 1;
    if (prefix_parse(words[4], &command.report.links[0].prefixes[0], NULL)) {
        fail("'%s' is not a prefix", words[4]);
    }
    commit(&command);
}

static void entry_vip(char **words, int n)
{
    struct vip_spec spec = {.enabled = true, .pinned = SLOT_NONE, .no_probe = !flag(words, n, "probe"),
                            .yield = flag(words, n, "yield"), .no_reset = !flag(words, n, "reset")};
    struct command command = {.type = COMMAND_VIP_ADD};
    for (int i = 0; i < HOOK_POINTS_N; i++) {
        const char *ms = option(words, n, hook_point_text((enum hook_point)i));
        if (ms) {
            spec.hooks[i].timeout_ms = (uint32_t)number(ms);
            strcpy(spec.hooks[i].program, "hook");
        }
    }
    snprintf(spec.name, NAME_SIZE, "%s", words[1]);
    if (prefix_parse(words[2], &spec.address, NULL)) {
        fail("'%s' is not an address", words[2]);
    }
    command.vip_add.n_vips = 1;
    command.vip_add.vips = &spec;
    commit(&command);
}

static int check_slot(const char *name)
{
    int slot = table_check_by_name(table, name);
    if (slot == SLOT_NONE) {
        fail("no check '%s'", name);
    }
    return slot;
}

/* Two failures in a row fail it, two passes make it pass. */
static void entry_check(char **words, int n)
{
    struct command command = {.type = COMMAND_CHECK_SET};
    if (!strcmp(words[0], "check")) {
        struct check_spec *spec = &command.check.spec;
        *spec = (struct check_spec){.kind = CHECK_FILE, .target = "/ok", .every_ms = 1000, .timeout_ms = 500, .fall = 2, .rise = 2};
        snprintf(spec->name, NAME_SIZE, "%s", words[1]);
        int slot = table_check_by_name(table, words[1]);
        command.check.changed = slot == SLOT_NONE ? 0 : table->checks[slot].changed;
        spec->weight = flag(words, n, "weight") ? 50 : 0;
    } else if (!strcmp(words[0], "require")) {
        command.type = COMMAND_VIP_SET;
        command.vip_set.vip = (uint16_t)vip_slot(words[1]);
        snprintf(command.vip_set.name, NAME_SIZE, "%s", words[1]);
        command.vip_set.set = VIP_SET_CHECKS;
        command.vip_set.spec.checks = 1ull << check_slot(words[2]);
    } else {
        int slot = check_slot(words[2]);
        command.type = COMMAND_HEALTH;
        command.health.node = (int8_t)node_slot(words[1]);
        command.health.id = node_id(words[1]);
        command.health.checks = table->checks_index;
        command.health.passing = (uint64_t)flag(words, n, "passes") << slot;
        command.health.failing = (uint64_t)flag(words, n, "fails") << slot;
    }
    commit(&command);
}

static void begin_maintenance(struct maintenance_command *c, char **words, int n)
{
    c->restart = flag(words, n, "restart");
    c->settle_ms = 100;
    c->drain_ms = 1000;
    c->return_ms = 2000;
    c->words_size = 5;
    memcpy(c->words, "true", 5);
    for (int i = 2; i < n && strcmp(words[i], "restart") != 0; i++) {
        c->nodes[c->n_nodes] = (int8_t)node_slot(words[i]);
        c->ids[c->n_nodes++] = node_id(words[i]);
    }
}

static void entry_maintenance(char **words, int n)
{
    static const char *const OPS[MAINTENANCE_OPS_N] = {"begin", "step", "stop", "lost",   "claim",
                                                       "beat",  "end",  "pause", "resume", "abort"};
    const struct maintenance *m = &table->maintenance;
    struct command command = {.type = COMMAND_MAINTENANCE};
    struct maintenance_command *c = &command.maintenance;
    int op = 0;

    while (op < MAINTENANCE_OPS_N && strcmp(OPS[op], words[1]) != 0) {
        op++;
    }
    if (op == MAINTENANCE_OPS_N) {
        fail("unknown deed of a maintenance '%s'", words[1]);
    }
    c->op = (enum maintenance_op)op;
    c->run = m->run;
    c->runner = c->op == MAINTENANCE_LOST ? m->beat : 7;
    c->step = (uint8_t)(m->at == SLOT_NONE ? 0 : m->at);
    c->again = flag(words, n, "retry") ? AGAIN_RETRY : flag(words, n, "done") ? AGAIN_DONE : AGAIN_PLAIN;
    c->node_run = c->op == MAINTENANCE_CLAIM ? core_node_run(core, m->steps[c->step].node) : 0;
    c->status = c->op == MAINTENANCE_END ? atoi(words[2]) : 0;
    if (c->op == MAINTENANCE_BEGIN) {
        begin_maintenance(c, words, n);
    }
    for (int i = 0; c->op == MAINTENANCE_STEP && i < m->n_steps; i++) {
        c->step = (uint8_t)(m->steps[i].node == node_slot(words[2]) ? i : c->step);
    }
    c->from = m->steps[c->step].state;
    while (c->op == MAINTENANCE_STEP && c->to < STEP_STATES_N - 1 && strcmp(step_state_text(c->to), words[3]) != 0) {
        c->to++;
    }
    commit(&command);
}

static void do_entry(char **words, int n)
{
    struct command command = {0};
    const char *kind = words[0];
    if (!strcmp(kind, "maintenance")) {
        entry_maintenance(words, n);
        return;
    }
    if (entry_of_roster(words, n)) {
        return;
    }
    if (!strcmp(kind, "vip")) {
        entry_vip(words, n);
    } else if (!strcmp(kind, "move") || !strcmp(kind, "fence")) {
        entry_moves(words, n);
    } else if (!strcmp(kind, "links")) {
        entry_links(words, n);
    } else if (!strcmp(kind, "conflict")) {
        if (n < 5) {
            fail("'conflict' needs NODE VIP OUTCOME MAC");
        }
        entry_conflict(words);
    } else if (!strcmp(kind, "clear") || !strcmp(kind, "admit")) {
        int slot = node_slot(words[1]);
        command.type = !strcmp(kind, "clear") ? COMMAND_CLEAR : COMMAND_ADMIT;
        command.node.node = (int8_t)slot;
        command.node.fence = table->nodes[slot].fence;
        command.node.since = n > 2 ? number(words[2]) : table->nodes[slot].since;
        commit(&command);
    } else if (!strcmp(kind, "drain") || !strcmp(kind, "undrain")) {
        command.type = COMMAND_DRAIN;
        command.drain.node = (int8_t)node_slot(words[1]);
        command.drain.id = node_id(words[1]);
        command.drain.on = !strcmp(kind, "drain");
        commit(&command);
    } else if (!strcmp(kind, "delete") || !strcmp(kind, "purge")) {
        int slot = n > 2 ? (int)number(words[2]) : vip_slot(words[1]);
        struct move move = {.vip = (uint16_t)slot, .to = SLOT_NONE, .moved = table->vips[slot].moved};
        command.type = !strcmp(kind, "delete") ? COMMAND_VIP_DELETE : COMMAND_VIP_PURGE;
        command.vip_del.n_vips = 1;
        command.vip_del.vips = &move;
        commit(&command);
    } else if (!strcmp(kind, "check") || !strcmp(kind, "require") || !strcmp(kind, "health")) {
        entry_check(words, n);
    } else if (!strcmp(kind, "disable")) {
        command.type = COMMAND_VIP_SET;
        command.vip_set.vip = (uint16_t)vip_slot(words[1]);
        snprintf(command.vip_set.name, NAME_SIZE, "%s", words[1]);
        command.vip_set.set = VIP_SET_ENABLED;
        commit(&command);
    } else {
        fail("unknown entry '%s'", kind);
    }
}

/* ---------------------------------------------------------------- events */

static void do_heartbeat(char **words, int n)
{
    int slot = node_slot(words[0]);
    struct heartbeat beat = {
        .from = table->nodes[slot].id,
        .run = option_or(words, n, "run", 5),
        .gen = option_or(words, n, "gen", table->nodes[slot].gen),
        .applied = option_or(words, n, "applied", table->applied),
        .released = option_or(words, n, "released", table->applied),
        .held = option_or(words, n, "held", table->applied),
        .n_held = (uint32_t)option_or(words, n, "n-held", 0),
        .lease_ms = (uint32_t)option_or(words, n, "lease", 400),
        .writing_ms = (uint32_t)option_or(words, n, "writing", 0),
        .last_term = option_or(words, n, "term", 1),
        .last_index = option_or(words, n, "index", table->applied),
    };
    next_seq[slot]++;
    beat.seq = next_seq[slot] = option_or(words, n, "seq", next_seq[slot]);
    const char *leader = option(words, n, "leader");
    beat.leader = leader ? node_id(leader) : 0;
    const char *passing = option(words, n, "passing"), *failing = option(words, n, "failing");
    beat.checks = option_or(words, n, "checks", table->checks_index);
    beat.passing = passing ? 1ull << check_slot(passing) : 0;
    beat.failing = failing ? 1ull << check_slot(failing) : 0;
    const char *missing = option(words, n, "missing");
    if (missing) {
        char copy[256], *save = NULL;
        snprintf(copy, sizeof copy, "%s", missing);
        for (char *name = strtok_r(copy, "+", &save); name; name = strtok_r(NULL, "+", &save)) {
            beat.missing |= 1ull << node_slot(name);
        }
    }
    step(&(struct event){.type = EV_HEARTBEAT, .heartbeat = &beat});
}

static void answer_reports(char **words, int n, struct answer *answer)
{
    const char *promise = option(words, n, "promise"), *released = option(words, n, "released");
    char name[NAME_SIZE], what[32];
    unsigned left;
    if (promise) {
        if (sscanf(promise, "%63[^:]:%31[^:]:%u", name, what, &left) != 3) {
            fail("'%s' is not NODE:FENCE:LEFT", promise);
        }
        uint64_t fence = strcmp(what, "table") ? number(what) : table->nodes[node_slot(name)].fence;
        answer->promises[answer->n_promises++] = (struct promise_report){node_id(name), fence, left * 1000ull};
    }
    if (released) {
        if (sscanf(released, "%63[^:]:%31s", name, what) != 2) {
            fail("'%s' is not NODE:INDEX", released);
        }
        answer->released[answer->n_released++] =
            (struct released_report){node_id(name), strcmp(what, "table") ? number(what) : table->applied};
    }
}

static void do_answer(char **words, int n)
{
    struct answer answer = {
        .from = node_id(words[0]),
        .to = node_id(self_name),
        .run = option_or(words, n, "run", run),
        .gen = table->nodes[node_slot(self_name)].gen,
        .seq = option_or(words, n, "seq", last_seq),
        .acked = flag(words, n, "acked"),
        .applied = option_or(words, n, "applied", table->applied),
    };
    answer_reports(words, n, &answer);
    step(&(struct event){.type = EV_ANSWER, .answer = &answer});
}

static void do_links(char **words, int n)
{
    struct report report = {.node = node_id(self_name), .identity = node_id(self_name) + 100, .run = run, .n_links = 1};
    snprintf(report.links[0].name, DEV_SIZE, "%s", words[0]);
    report.links[0].up = !strcmp(words[1], "up");
    if (n > 3) {
        parse_mac(words[3], report.links[0].mac);
    }
    report.links[0].n_prefixes = 1;
    if (prefix_parse(words[2], &report.links[0].prefixes[0], NULL)) {
        fail("'%s' is not a prefix", words[2]);
    }
    step(&(struct event){.type = EV_LINKS, .report = &report});
}

static void do_request(char **words, int n)
{
    struct command command = {0};
    struct move move;
    struct event event = {.type = EV_REQUEST};
    if (!strcmp(words[0], "drain")) {
        command.type = COMMAND_DRAIN;
        command.drain.node = (int8_t)node_slot(words[1]);
        command.drain.id = node_id(words[1]);
        command.drain.on = true;
    } else if (!strcmp(words[0], "delete")) {
        move = parse_move(words[1], "none", REASON_DELETED);
        command.type = COMMAND_VIP_DELETE;
        command.vip_del.n_vips = 1;
        command.vip_del.vips = &move;
    } else if (!strcmp(words[0], "remove")) {
        command.type = COMMAND_NODE_REMOVE;
        command.node_remove.node = (int8_t)node_slot(words[1]);
        command.node_remove.id = node_id(words[1]);
    } else if (!strcmp(words[0], "promote") || !strcmp(words[0], "demote") || !strcmp(words[0], "address")) {
        command.type = COMMAND_NODE_SET;
        command.node_set.node = (int8_t)node_slot(words[1]);
        command.node_set.id = node_id(words[1]);
        command.node_set.set = !strcmp(words[0], "address") ? NODE_SET_AT : NODE_SET_WISH;
        command.node_set.wish = !strcmp(words[0], "promote") ? WISH_VOTER : WISH_SPARE;
    } else if (!strcmp(words[0], "pin")) {
        command.type = COMMAND_VIP_SET;
        command.vip_set.vip = (uint16_t)vip_slot(words[1]);
        command.vip_set.set = VIP_SET_PINNED;
        command.vip_set.spec.pinned = (int8_t)node_slot(words[2]);
    } else {
        fail("unknown request '%s'", words[0]);
    }
    event.request.token = 9;
    event.request.command = &command;
    event.request.force = flag(words, n, "force");
    step(&event);
}

static void do_kernel(char **words, int n)
{
    struct event event = {.type = EV_KERNEL};
    if (addr_parse(words[0], &event.kernel.addr)) {
        fail("'%s' is not an address", words[0]);
    }
    event.kernel.present = !strcmp(words[1], "present");
    event.kernel.failed = flag(words, n, "failed");
    step(&event);
}

static void do_foreign(char **words, int n)
{
    struct event event = {.type = EV_FOREIGN};
    if (addr_parse(words[0], &event.foreign.addr)) {
        fail("'%s' is not an address", words[0]);
    }
    if (n > 1) {
        parse_mac(words[1], event.foreign.mac);
    }
    step(&event);
}

static void do_probed(char **words)
{
    struct event event = {.type = EV_PROBE};
    event.probe.vip = (uint16_t)vip_slot(words[0]);
    event.probe.moved = table->vips[event.probe.vip].moved;
    event.probe.failed = !strcmp(words[1], "failed");
    step(&event);
}

/* What else the node says of itself is as the table has it. */
static void do_report(char **words)
{
    const struct node *node = &table->nodes[node_slot(words[0])];
    struct report report = {.node = node->id, .identity = node->identity, .run = 5, .n_links = node->n_links};
    memcpy(report.links, node->links, sizeof report.links);
    report.n_conflicts = 1;
    report.conflicts[0] = parse_conflict(words + 1);
    step(&(struct event){.type = EV_REPORT, .report = &report});
}

static void do_hooked(char **words)
{
    struct event event = {.type = EV_HOOK};
    event.hook.vip = (uint16_t)vip_slot(words[0]);
    event.hook.moved = table->vips[event.hook.vip].moved;
    event.hook.point = !strcmp(words[1], hook_point_text(HOOK_BEFORE_TAKE)) ? HOOK_BEFORE_TAKE : HOOK_BEFORE_RELEASE;
    step(&event);
}

static void do_reset_done(char **words)
{
    struct event event = {.type = EV_RESET};
    event.reset.vip = (uint16_t)vip_slot(words[0]);
    event.reset.moved = table->vips[event.reset.vip].moved;
    step(&event);
}

static void do_result(char **words)
{
    int slot = check_slot(words[0]);
    struct event event = {.type = EV_HEALTH};
    event.health.check = (uint8_t)slot;
    event.health.changed = table->checks[slot].changed;
    event.health.passed = !strcmp(words[1], "passed");
    step(&event);
}

static void do_role(char **words)
{
    struct event event = {.type = EV_ROLE};
    event.role.role = !strcmp(words[0], "leader") ? RAFT_ROLE_LEADER : RAFT_ROLE_FOLLOWER;
    event.role.term = number(words[1]);
    event.role.leader = !strcmp(words[2], "none") ? 0 : node_id(words[2]);
    step(&event);
}

static void do_proposed(char **words)
{
    struct event event = {.type = EV_PROPOSED};
    if (!strcmp(words[0], "ok")) {
        event.proposed.index = table->applied + 1;
    } else if (strcmp(words[0], "refused")) {
        event.proposed.index = number(words[0]);
    }
    step(&event);
}

/* ---------------------------------------------------------------- expectations */

static const struct
{
    const char *word;
    enum action_type type;
} KINDS[] = {
    {"heartbeat", ACT_HEARTBEAT}, {"answer", ACT_ANSWER},     {"lease", ACT_LEASE},     {"del", ACT_ADDR_DEL},
    {"add", ACT_ADDR_ADD},        {"probe", ACT_PROBE},      {"announce", ACT_ANNOUNCE}, {"silence", ACT_SILENCE}, {"propose", ACT_PROPOSE},
    {"barrier", ACT_BARRIER},     {"reply", ACT_REPLY},       {"report", ACT_REPORT},   {"elect", ACT_ELECT},
    {"transfer", ACT_TRANSFER},   {"exit", ACT_EXIT},         {"announce-all", ACT_ANNOUNCE_ALL},
    {"configure", ACT_CONFIGURE}, {"hook", ACT_HOOK}, {"reset", ACT_RESET},
};

static enum action_type kind_of(const char *word)
{
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
        if (!strcmp(word, KINDS[i].word)) {
            return KINDS[i].type;
        }
    }
    fail("unknown kind of action '%s'", word);
}

static const char *PROPOSALS[] = {
    [COMMAND_FENCE] = "fence", [COMMAND_CLEAR] = "clear",         [COMMAND_ADMIT] = "admit", [COMMAND_MOVE] = "move",
    [COMMAND_VIP_PURGE] = "purge", [COMMAND_NODE_REPORT] = "report", [COMMAND_DRAIN] = "drain",
    [COMMAND_VIP_DELETE] = "delete", [COMMAND_VIP_SET] = "set", [COMMAND_LEAVE] = "leave", [COMMAND_GROUP_SET] = "group",
    [COMMAND_CONFLICT] = "conflict", [COMMAND_NODE_SET] = "node-set", [COMMAND_NODE_REMOVE] = "remove",
    [COMMAND_NODE_DELETE] = "gone", [COMMAND_VOTERS] = "voters", [COMMAND_VOTING] = "voting",
    [COMMAND_HEALTH] = "health", [COMMAND_MAINTENANCE] = "maintenance",
};

static void describe(const struct pile *p, char *buf, size_t size)
{
    const struct action *a = &p->action;
    const char *word = "?";
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
        word = KINDS[i].type == a->type ? KINDS[i].word : word;
    }
    int to = table_node_by_id(table, a->to);
    const char *to_name = to == SLOT_NONE ? "-" : table->nodes[to].name;
    char text[ADDR_TEXT_MAX];
    switch ((int)a->type) {
    case ACT_LEASE:
        snprintf(buf, size, "lease %llu", a->lease_end ? (unsigned long long)((a->lease_end - start) / MS) : 0);
        break;
    case ACT_PROBE:
        snprintf(buf, size, "probe %s", table->vips[a->probe.vip].name);
        break;
    case ACT_HOOK:
        snprintf(buf, size, "hook %s %s %s within=%u", table->vips[a->hook.vip].name, hook_point_text(a->hook.point),
                 (const char *[]){"moved", "again", "lease", "foreign"}[a->hook.cause], a->hook.within_ms);
        break;
    case ACT_RESET:
        snprintf(buf, size, "reset %s", table->vips[a->reset.vip].name);
        break;
    case ACT_ADDR_ADD:
    case ACT_ANNOUNCE:
    case ACT_SILENCE:
        snprintf(buf, size, "%s %s", word, table->vips[a->vip].name);
        break;
    case ACT_ADDR_DEL:
        snprintf(buf, size, "del %s", addr_format(&a->addr, text));
        break;
    case ACT_HEARTBEAT:
        snprintf(buf, size, "heartbeat %s applied=%llu released=%llu held=%llu gen=%llu seq=%llu passing=%llu failing=%llu writing=%u", to_name,
                 (unsigned long long)a->heartbeat.applied, (unsigned long long)a->heartbeat.released,
                 (unsigned long long)a->heartbeat.held, (unsigned long long)a->heartbeat.gen,
                 (unsigned long long)a->heartbeat.seq, (unsigned long long)a->heartbeat.passing,
                 (unsigned long long)a->heartbeat.failing, a->heartbeat.writing_ms);
        break;
    case ACT_ANSWER: {
        int used = snprintf(buf, size, "answer %s %s", to_name, p->answer.acked ? "acked" : "refused");
        for (unsigned i = 0; i < p->answer.n_promises && used < (int)size; i++) {
            used += snprintf(buf + used, size - (size_t)used, " promise=%s:%llu",
                             table->nodes[table_node_by_id(table, p->answer.promises[i].node)].name,
                             (unsigned long long)(p->answer.promises[i].left_us / 1000));
        }
        for (unsigned i = 0; i < p->answer.n_released && used < (int)size; i++) {
            used += snprintf(buf + used, size - (size_t)used, " released=%s:%llu",
                             table->nodes[table_node_by_id(table, p->answer.released[i].node)].name,
                             (unsigned long long)p->answer.released[i].released);
        }
        break;
    }
    case ACT_PROPOSE: {
        const struct command *c = &p->command;
        int used = snprintf(buf, size, "propose %s", PROPOSALS[c->type]);
        int node = c->type == COMMAND_FENCE   ? c->fence.node
                   : c->type == COMMAND_CLEAR ? c->node.node
                   : c->type == COMMAND_ADMIT ? c->node.node
                   : c->type == COMMAND_NODE_DELETE ? c->node.node
                   : c->type == COMMAND_NODE_REMOVE ? c->node_remove.node
                   : c->type == COMMAND_NODE_SET    ? c->node_set.node
                   : c->type == COMMAND_DRAIN ? c->drain.node
                   : c->type == COMMAND_HEALTH ? c->health.node
                                              : SLOT_NONE;
        if (node != SLOT_NONE) {
            used += snprintf(buf + used, size - (size_t)used, " %s", table->nodes[node].name);
        }
        if (c->type == COMMAND_MAINTENANCE) {
            bool step = c->maintenance.op == MAINTENANCE_STEP;
            used += snprintf(buf + used, size - (size_t)used, " %s%s%s",
                             step ? table->maintenance.steps[c->maintenance.step].name : "", step ? " " : "",
                             step                                      ? step_state_text(c->maintenance.to)
                             : c->maintenance.op == MAINTENANCE_LOST ? "lost"
                                                                       : "stop");
        }
        for (uint32_t i = 0; c->type == COMMAND_CONFLICT && i < c->conflict.n_items && used < (int)size; i++) {
            char mac[MAC_TEXT_SIZE];
            used += snprintf(buf + used, size - (size_t)used, " %s %s %s", table->vips[p->items[i].vip].name,
                             conflict_kind_text(p->items[i].kind), mac_format(p->items[i].mac, mac));
        }
        for (int i = 0; c->type == COMMAND_HEALTH && i < CHECKS_MAX && used < (int)size; i++) {
            bool passes = c->health.passing >> i & 1, fails = c->health.failing >> i & 1;
            if (passes || fails) {
                used += snprintf(buf + used, size - (size_t)used, " %s:%s", table->checks[i].spec.name,
                                 fails ? "fails" : "passes");
            }
        }
        for (uint32_t i = 0; i < p->n_moves && used < (int)size; i++) {
            used += snprintf(buf + used, size - (size_t)used, " %s>%s:%s", table->vips[p->moves[i].vip].name,
                             p->moves[i].to == SLOT_NONE ? "none" : table->nodes[p->moves[i].to].name,
                             reason_text(p->moves[i].reason));
        }
        break;
    }
    case ACT_CONFIGURE:
        snprintf(buf, size, "configure %s %s", to_name,
                 a->configure == CONFIGURE_VOTER ? "voter" : a->configure == CONFIGURE_NONE ? "none" : "standby");
        break;
    case ACT_REPLY:
        snprintf(buf, size, "reply %d %s", a->reply.outcome.code, a->reply.outcome.detail);
        break;
    default:
        snprintf(buf, size, "%s %s", word, to_name);
    }
}

static void print_pile(void)
{
    char text[1024];
    for (unsigned i = 0; i < n_pile; i++) {
        if (!pile[i].expected) {
            describe(&pile[i], text, sizeof text);
            fprintf(stderr, "    there is: %s\n", text);
        }
    }
}

/* Every word after the kind must be found, as a whole word, in the action's description. */
static bool matches(const struct pile *p, char **words, int n)
{
    char text[1024], padded[1040], want[128];
    describe(p, text, sizeof text);
    snprintf(padded, sizeof padded, " %s ", text);
    for (int i = 1; i < n; i++) {
        snprintf(want, sizeof want, " %s ", words[i]);
        if (!strstr(padded, want)) {
            return false;
        }
    }
    return true;
}

static void do_expect(char **words, int n)
{
    if (!strcmp(words[0], "none")) {
        for (int i = 1; i < n; i++) {
            enum action_type type = kind_of(words[i]);
            for (unsigned k = 0; k < n_pile; k++) {
                if (pile[k].action.type == type && !pile[k].expected) {
                    print_pile();
                    fail("there is an unexpected '%s'", words[i]);
                }
            }
        }
        return;
    }
    enum action_type type = kind_of(words[0]);
    for (unsigned k = 0; k < n_pile; k++) {
        if (pile[k].action.type == type && !pile[k].expected && matches(&pile[k], words, n)) {
            for (unsigned j = 0; j <= k; j++) { /* what is expected comes in order within its kind */
                pile[j].expected = pile[j].expected || pile[j].action.type == type;
            }
            return;
        }
    }
    print_pile();
    fail("expected action is missing");
}

static void do_state(char **words)
{
    static const char *STATES[] = {"held", "moving", "unheld", "disabled"};
    char why[192];
    enum vip_state state = core_vip_state(core, vip_slot(words[0]), now, why);
    if (strcmp(STATES[state], words[1])) {
        fail("VIP %s is %s (%s)", words[0], STATES[state], why);
    }
}

static void do_node(char **words)
{
    static const char *STATES[] = {"up", "draining", "drained", "fenced", "down"};
    enum node_state state = core_node_state(core, node_slot(words[0]), now);
    if (strcmp(STATES[state], words[1])) {
        fail("node %s is %s", words[0], STATES[state]);
    }
}

static void do_caught_up(char **words, int n)
{
    struct event event = {.type = EV_DISK};
    struct addr earlier[16];
    event.disk.caught_up = true;
    event.disk.last_term = 1;
    event.disk.last_index = table->applied;
    event.disk.earlier = earlier;
    for (int i = 1; i < n && i <= 16; i++) {
        if (addr_parse(words[i], &earlier[event.disk.n_earlier++])) {
            fail("'%s' is not an address", words[i]);
        }
    }
    step(&event);
}

/* ---------------------------------------------------------------- the file */

static void do_line(char **words, int n)
{
    const char *word = words[0];
    char **rest = words + 1;
    int m = n - 1;
    static const struct { const char *word; int min; } NEEDS[] = {
        {"self", 1}, {"found", 1}, {"entry", 1}, {"at", 1}, {"stall", 1}, {"heartbeat", 1}, {"answer", 2}, {"links", 3},
        {"kernel", 2}, {"foreign", 1}, {"probed", 2}, {"report", 4}, {"role", 3}, {"result", 2}, {"proposed", 1},
        {"hooked", 2}, {"reset-done", 1},
        {"disk", 2}, {"slew", 2}, {"writing", 1}, {"request", 2}, {"expect", 1}, {"state", 2}, {"node", 2},
    };
    for (size_t i = 0; i < sizeof NEEDS / sizeof *NEEDS; i++) {
        if (!strcmp(word, NEEDS[i].word) && m < NEEDS[i].min) {
            fail("'%s' needs %d words", word, NEEDS[i].min);
        }
    }
    if (!strcmp(word, "self")) {
        snprintf(self_name, sizeof self_name, "%s", rest[0]);
    } else if (!strcmp(word, "found")) {
        do_found(rest, m);
    } else if (!strcmp(word, "entry")) {
        do_entry(rest, m);
    } else if (!strcmp(word, "stale")) {
        if (table->changed != before->changed) {
            fail("the entry was not stale");
        }
    } else if (!strcmp(word, "applied")) {
        step(&(struct event){.type = EV_APPLIED});
    } else if (!strcmp(word, "caught-up")) {
        do_caught_up(rest, m);
    } else if (!strcmp(word, "disk")) {
        struct event event = {.type = EV_DISK};
        event.disk.last_term = number(rest[0]);
        event.disk.last_index = number(rest[1]);
        event.disk.caught_up = core_caught_up(core);
        step(&event);
    } else if (!strcmp(word, "links")) {
        do_links(rest, m);
    } else if (!strcmp(word, "at")) {
        do_at(number(rest[0]));
    } else if (!strcmp(word, "stall")) {
        do_stall(number(rest[0]));
    } else if (!strcmp(word, "heartbeat")) {
        do_heartbeat(rest, m);
    } else if (!strcmp(word, "answer")) {
        do_answer(rest, m);
    } else if (!strcmp(word, "kernel")) {
        do_kernel(rest, m);
    } else if (!strcmp(word, "foreign")) {
        do_foreign(rest, m);
    } else if (!strcmp(word, "probed")) {
        do_probed(rest);
    } else if (!strcmp(word, "report")) {
        do_report(rest);
    } else if (!strcmp(word, "hooked")) {
        do_hooked(rest);
    } else if (!strcmp(word, "reset-done")) {
        do_reset_done(rest);
    } else if (!strcmp(word, "result")) {
        do_result(rest);
    } else if (!strcmp(word, "role")) {
        do_role(rest);
    } else if (!strcmp(word, "proposed")) {
        do_proposed(rest);
    } else if (!strcmp(word, "request")) {
        do_request(rest, m);
    } else if (!strcmp(word, "slew")) {
        *(!strcmp(rest[0], "slow") ? &slew.slow_ppm : &slew.fast_ppm) = (uint32_t)number(rest[1]);
    } else if (!strcmp(word, "writing")) {
        writing_since = strcmp(rest[0], "none") ? start + number(rest[0]) * MS : 0;
    } else if (!strcmp(word, "shutdown")) {
        step(&(struct event){.type = EV_SHUTDOWN});
    } else if (!strcmp(word, "expect")) {
        do_expect(rest, m);
    } else if (!strcmp(word, "state")) {
        do_state(rest);
    } else if (!strcmp(word, "node")) {
        do_node(rest);
    } else if (!strcmp(word, "at-rest")) {
        if (deadline <= now) {
            fail("a deadline has passed %llu ms ago, and stays due", (unsigned long long)((now - deadline) / MS));
        }
    } else if (!strcmp(word, "forget")) {
        n_pile = 0;
    } else {
        fail("unknown word '%s'", word);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "--words")) {
        fputs(WORDS, stdout);
        return 0;
    }
    if (argc != 2) {
        fprintf(stderr, "usage: scenario FILE | --words\n");
        return 2;
    }
    file = argv[1];
    FILE *in = fopen(file, "r");
    if (!in) {
        fail("cannot be read");
    }
    table = calloc(1, sizeof *table);
    before = calloc(1, sizeof *before);
    core = calloc(1, core_size());
    pile = calloc(PILE_MAX, sizeof *pile);
    if (!table || !before || !core || !pile) {
        fail("no memory");
    }
    table_init(table);
    char line[512];
    while (fgets(line, sizeof line, in)) {
        line_number++;
        char *words[WORDS_MAX], *save = NULL;
        int n = 0;
        line[strcspn(line, "#\n")] = 0;
        for (char *w = strtok_r(line, " \t", &save); w && n < WORDS_MAX; w = strtok_r(NULL, " \t", &save)) {
            words[n++] = w;
        }
        if (n) {
            do_line(words, n);
        }
    }
    fclose(in);
    printf("%s: %u lines hold\n", file, line_number);
    free(table);
    free(before);
    free(core);
    free(pile);
    return 0;
}
