#ifndef VIPD_CORE_APPLY_H
#define VIPD_CORE_APPLY_H

/* Within core: what applying one command is made of. Each apply_*() changes the table or, with any outcome other than
 * OUTCOME_DONE, leaves all of it as it was. */

#include "base/rule.h"
#include "core/command.h"
#include "core/table.h"

/* One command being applied. */
struct apply
{
    struct table *table;
    uint64_t index;
    const struct command *command;
    struct outcome *outcome; /* begins as OUTCOME_DONE without a sentence */
    uint64_t checks_coming, checks_going; /* sets of checks that a document makes, and deletes, in this very entry */
};

/* apply.c */
void apply_history(const struct apply *apply, enum history_kind kind, enum reason reason, int from, int to,
                   const char *subject);
/* The same for an event that ends a stage which began at `since_ms`. */
void apply_history_took(const struct apply *apply, enum history_kind kind, int node, const char *subject, int64_t since_ms);
/* HISTORY_VIP_SET of a VIP of which `set` (enum vip_set) was given. */
void apply_history_set(const struct apply *apply, enum reason reason, const struct vip *vip, const char *was,
                       uint32_t set);
void apply_changed(const struct apply *apply);
/* The same for what a cluster document says: a new revision. */
void apply_revised(const struct apply *apply);
/* What a move does to the VIP, history aside: owner, prev, moved, reason. */
void apply_new_owner(const struct apply *apply, struct vip *vip, int to, enum reason reason);

/* apply_node.c */
void apply_found(const struct apply *apply);
void apply_fence(const struct apply *apply);
void apply_clear(const struct apply *apply);
void apply_admit(const struct apply *apply);
void apply_report(const struct apply *apply);
void apply_drain(const struct apply *apply);
void apply_leave(const struct apply *apply);
void apply_settings(const struct apply *apply);
void apply_format(const struct apply *apply);

/* apply_roster.c */
void apply_node_add(const struct apply *apply);
void apply_node_set(const struct apply *apply);
void apply_node_remove(const struct apply *apply);
void apply_node_delete(const struct apply *apply);
void apply_voters(const struct apply *apply);
void apply_voting(const struct apply *apply);
/* Nothing refers to a cleared node any more, and what it owned has no owner. */
void apply_forget_node(const struct apply *apply, int node);
void apply_role(struct table *table, int node); /* after whatever its role follows from has changed */

/* apply_move.c; returns how many of the moves were not void */
uint32_t apply_moves(const struct apply *apply, const struct move *moves, uint32_t n);
void apply_move(const struct apply *apply);

/* apply_vip.c */
void apply_vip_add(const struct apply *apply);
void apply_vip_set(const struct apply *apply);
void apply_vip_delete(const struct apply *apply);
void apply_vip_purge(const struct apply *apply);

/* ... the parts that apply_document.c shares. Whether the attributes of the item may be, names in use and VIPs to be kept
 * apart from aside; the latter. */
bool apply_vip_may(const struct apply *apply, const struct vip_item *item);
bool apply_vip_apart_may(const struct apply *apply, const struct vip_item *item);
/* Adds the VIP of an item in its free slot, not yet kept apart from others; false: its address is not free. Takes back
 * all that were added so in this entry. */
bool apply_vip_insert(const struct apply *apply, const struct vip_item *item);
void apply_vip_take_back(const struct apply *apply);
/* Changes a VIP by an item that may be; whether it was not so already. */
bool apply_vip_change(const struct apply *apply, const struct vip_item *item);
/* Whether the VIP is there and was last moved as the decision says (L0); deletes it. */
bool apply_vip_current(const struct apply *apply, const struct move *at);
void apply_vip_remove(const struct apply *apply, int slot);
void apply_vip_take_hooks(const struct apply *apply, int slot); /* of one that is deleted: its group's become its own */

/* apply_document.c */
void apply_document(const struct apply *apply);

/* apply_conflict.c */
void apply_conflict(const struct apply *apply);

/* apply_health.c */
/* ... the parts that apply_document.c shares: whether a check may be so, its name aside; making it so; deleting it. */
bool apply_check_may(const struct apply *apply, const struct check_spec *spec);
void apply_check_put(const struct apply *apply, int slot, const struct check_spec *spec);
void apply_check_remove(const struct apply *apply, int slot);
void apply_check_set(const struct apply *apply);
void apply_check_delete(const struct apply *apply);
void apply_health(const struct apply *apply);

/* apply_maintenance.c */
void apply_maintenance(const struct apply *apply);
/* The node is about to be removed: its turn is over, or will not come. */
void apply_maintenance_forget(const struct apply *apply, int node);

/* apply_group.c */
void apply_group_set(const struct apply *apply);
/* The group of that name, made when missing; SLOT_NONE for "" and, with the outcome set, when the name is not allowed
 * or there is no room. */
int apply_group_named(const struct apply *apply, const char *name);
/* Replaces the preferences and checks of a group that there is. */
void apply_group_put(const struct apply *apply, const struct group *wanted);
/* Forgets the groups without VIPs and preferences. */
void apply_groups_forget(const struct apply *apply);

/* check.c: each returns true, or sets the outcome and returns false. */
bool check_name(const struct apply *apply, const char *what, const char *name);
bool check_node(const struct apply *apply, int node);                   /* a used slot */
bool check_node_id(const struct apply *apply, int node, uint64_t id);   /* ... that is still that node */
bool check_nodes(const struct apply *apply, uint64_t nodes);            /* all may own VIPs */
bool check_prefers(const struct apply *apply, const struct prefer *prefers, unsigned n);
bool check_checks(const struct apply *apply, uint64_t checks);          /* all are there, or will be */
bool check_hooks(const struct apply *apply, const struct hook hooks[HOOK_POINTS_N]);
bool check_failback(const struct apply *apply, uint32_t failback);      /* of a VIP or group */
bool check_timing(const struct apply *apply, const struct timing *timing);
bool check_settings(const struct apply *apply, const struct settings *settings);
bool check_voting(const struct apply *apply, const struct voting *voting);

#endif
