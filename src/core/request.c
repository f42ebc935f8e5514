/* What the leader is asked to do: nodes report themselves, clients change the cluster. Each becomes a command, or is refused
 * with the reason. */

#include "core/core_private.h"

#include <stdio.h>
#include <string.h>

/* The VIPs of the node that other hosts have; what the table knows already, or what was moved meanwhile, is left out. */
static void report_conflicts(struct core *core, int slot, const struct report *report, struct actions *actions)
{
    uint32_t n = 0;
    for (unsigned i = 0; i < report->n_conflicts && i < CONFLICTS_MAX; i++) {
        const struct conflict_item *item = &report->conflicts[i];
        const struct vip *v = &core->table->vips[item->vip < VIPS_MAX ? item->vip : 0];
        if (item->vip < VIPS_MAX && v->used && v->owner == slot && v->moved == item->moved &&
            v->conflict.kind != item->kind) {
            core->lead.conflicts[n++] = *item;
        }
    }
    if (!n) {
        return;
    }
    struct command *command = leader_command(core, COMMAND_CONFLICT);
    command->conflict.node = (int8_t)slot;
    command->conflict.id = report->node;
    command->conflict.n_items = n;
    command->conflict.items = core->lead.conflicts;
    leader_propose(core, actions);
}

void request_report(struct core *core, const struct report *report, struct actions *actions)
{
    int slot = table_node_by_id(core->table, report->node);
    if (!core_is_leader(core) || slot == SLOT_NONE || report->n_links > LINKS_MAX) {
        return; /* it is sent again until the table has it */
    }
    const struct node *n = &core->table->nodes[slot];
    if (n->identity && n->identity != report->identity) {
        return;
    }
    if (report->leaving) {
        if (n->leaving && n->leaving_run == report->run) {
            return;
        }
        struct command *command = leader_command(core, COMMAND_LEAVE);
        command->leave.node = (int8_t)slot;
        command->leave.id = report->node;
        command->leave.run = report->run;
        leader_propose(core, actions);
        return;
    }
    if (agent_report_known(n, report)) {
        report_conflicts(core, slot, report, actions);
        return;
    }
    struct command *command = leader_command(core, COMMAND_NODE_REPORT);
    command->report.node = (int8_t)slot;
    command->report.id = report->node;
    command->report.identity = report->identity;
    command->report.run = report->run;
    command->report.witness = report->witness;
    command->report.n_links = report->n_links;
    memcpy(command->report.links, report->links, sizeof command->report.links);
    memcpy(command->report.version, report->version, sizeof command->report.version);
    command->report.reads_first = report->reads_first;
    command->report.reads_last = report->reads_last;
    leader_propose(core, actions);
}

static void reply(struct actions *actions, uint64_t token, enum outcome_code code, const char *detail)
{
    struct action *action = core_act(actions, ACT_REPLY, 0);
    memset(&action->reply, 0, sizeof action->reply);
    action->reply.token = token;
    action->reply.outcome.code = code;
    snprintf(action->reply.outcome.detail, sizeof action->reply.outcome.detail, "%s", detail);
}

/* The planner's reason why a node cannot be the owner of a VIP at all; PLAN_CHOSEN when it can. */
static enum plan_step cannot_hold(struct core *core, int vip, int node, time_ns now)
{
    struct plan_input input;
    struct plan_candidate candidates[NODES_MAX];
    overview_plan_input(core, now, &input);
    int n = plan_explain(&input, &core->lead.scratch, vip, candidates);
    for (int i = 0; i < n; i++) {
        if (candidates[i].node == node) {
            bool barred = candidates[i].step >= PLAN_NOT_A_MEMBER && candidates[i].step <= PLAN_APART;
            return barred ? candidates[i].step : PLAN_CHOSEN;
        }
    }
    return PLAN_NOT_A_MEMBER;
}

static bool refused_by_maintenance(struct core *core, const struct event *event, time_ns now, char ret_why[192])
{
    const struct command *c = event->request.command;
    const struct maintenance *m = &core->table->maintenance;

    if (event->request.force) {
        return false;
    }
    if (c->type == COMMAND_DRAIN && !c->drain.on && maintenance_has(m, c->drain.node)) {
        snprintf(ret_why, 192, "node %.63s is under maintenance, which undrains it in the end (vipctl maintenance status)",
                 core->table->nodes[c->drain.node].name);
        return true;
    }
    return c->type == COMMAND_MAINTENANCE && c->maintenance.op == MAINTENANCE_BEGIN && !maintenance_is_open(m) &&
           maintenance_refuses(core, &c->maintenance, now, ret_why);
}

static bool refused(struct core *core, const struct event *event, time_ns now, struct actions *actions)
{
    const struct command *c = event->request.command;
    char detail[192];
    if (format_refuses(core->table, c->type, detail)) {
        reply(actions, event->request.token, detail[0] ? OUTCOME_FAILED : OUTCOME_STALE, detail);
        return true;
    }
    const struct move *deletes = c->type == COMMAND_VIP_DELETE ? c->vip_del.vips : c->apply.deletes;
    uint32_t n = c->type == COMMAND_VIP_DELETE ? c->vip_del.n_vips : c->type == COMMAND_APPLY ? c->apply.n_deletes : 0;
    for (uint32_t i = 0; i < n; i++) {
        /* deleting is a move: L3; the caller tries again when the table has changed */
        int vip = deletes[i].vip;
        if (!leader_ready(core) || (RULE(L3) && !core_settled_move(core, vip, now))) {
            snprintf(detail, sizeof detail, "VIP %.63s is moving", core->table->vips[vip].name);
            reply(actions, event->request.token, OUTCOME_STALE, detail);
            return true;
        }
    }
    int drained = c->type == COMMAND_DRAIN && c->drain.on ? c->drain.node
                  : c->type == COMMAND_NODE_REMOVE        ? c->node_remove.node
                                                          : SLOT_NONE;
    if (drained != SLOT_NONE && !event->request.force) {
        int vip = overview_left_nowhere(core, drained, now, &core->lead.scratch, core->lead.moves);
        if (vip != SLOT_NONE) {
            snprintf(detail, sizeof detail, "draining %.63s would leave VIP %.63s without a node",
                     core->table->nodes[drained].name, core->table->vips[vip].name);
            reply(actions, event->request.token, OUTCOME_UNSAFE, detail);
            return true;
        }
    }
    if (refused_by_maintenance(core, event, now, detail)) {
        reply(actions, event->request.token, OUTCOME_UNSAFE, detail);
        return true;
    }
    enum outcome_code code = roster_refuses(core, c, event->request.force, now, detail);
    if (code != OUTCOME_DONE) {
        reply(actions, event->request.token, code, detail);
        return true;
    }
    if (c->type == COMMAND_VIP_SET && (c->vip_set.set & VIP_SET_PINNED) && c->vip_set.spec.pinned >= 0 &&
        !event->request.force) {
        int to = c->vip_set.spec.pinned;
        enum plan_step why = cannot_hold(core, c->vip_set.vip, to, now);
        bool soon = why == PLAN_NOT_USABLE && !core_silent(core, to, now); /* admitted a moment ago */
        if (why != PLAN_CHOSEN && !soon) {
            snprintf(detail, sizeof detail, "node %.30s cannot hold VIP %.40s now: %.60s", core->table->nodes[to].name,
                     core->table->vips[c->vip_set.vip].name, plan_step_text(why));
            reply(actions, event->request.token, OUTCOME_UNSAFE, detail);
            return true;
        }
    }
    return false;
}

void request_change(struct core *core, const struct event *event, struct actions *actions)
{
    if (!core_is_leader(core) || !core_hears_majority(core, event->now)) {
        reply(actions, event->request.token, OUTCOME_NO_QUORUM, "this node does not lead a majority");
        return;
    }
    if (refused(core, event, event->now, actions)) {
        return;
    }
    if (event->request.dry_run) {
        reply(actions, event->request.token, OUTCOME_DONE, "nothing was changed (--dry-run)");
        return;
    }
    struct action *action = core_act(actions, ACT_PROPOSE, 0);
    action->propose.token = event->request.token;
    action->propose.command = event->request.command;
}
