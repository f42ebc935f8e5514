#ifndef VIPD_DAEMON_API_PRIVATE_H
#define VIPD_DAEMON_API_PRIVATE_H

/* Within daemon/api*.c. */

#include "daemon/api.h"

/* A request being answered. */
struct api_call
{
    const struct api_view *view;
    const struct control_request *request;
    struct value_arena *arena;
    struct control_reply *reply;
};

/* An argument, or NULL. */
const struct value *api_arg(const struct api_call *call, const char *key);
/* A text argument, or NULL when missing or of another type. */
const char *api_arg_text(const struct api_call *call, const char *key);

/* Slot of what an argument names, or SLOT_NONE after the call was refused with a near name. A VIP may be given by its
 * name, its address, or its address with a prefix length. */
int api_find_vip(const struct api_call *call, const char *name);
int api_find_node(const struct api_call *call, const char *name);
/* The same without a refusal. A node may be given by its name, its address and port, or, where that is one node, its
 * address. */
int api_node_slot(const struct table *table, const char *name);
int api_vip_slot(const struct table *table, const char *name);

/* How an item of a change's `vips` is found once the change is applied: its name, its new name, or its address. */
const char *api_named(const struct control_request *request, const struct value *item);

/* How many rows the request asks for, at most API_ROWS_MAX. */
uint32_t api_rows_max(const struct api_call *call);

/* Rows. */
struct value *api_vip_row(const struct api_call *call, int vip);
struct value *api_node_row(const struct api_call *call, int node);
struct value *api_node_rows(const struct api_call *call); /* of all nodes */
const char *api_vip_state_text(enum vip_state state);
const char *api_node_state_text(enum node_state state);
const char *api_node_name(const struct table *table, int node); /* NULL for SLOT_NONE */

/* What the planner is to decide on, but for moves that are not settled: what it would be once they are. */
struct plan_input api_plan_now(const struct api_view *view);

/* How many VIPs each node owns. */
void api_loads(const struct table *table, uint32_t ret[NODES_MAX]);

/* Each answers one operation. */
void api_status(const struct api_call *call);
void api_put_survey(const struct api_call *call, struct value *result); /* api_survey.c: `survives`, `losses` */
void api_leader(const struct api_call *call);
void api_settings(const struct api_call *call);
void api_own(const struct api_call *call);
void api_version(const struct api_call *call);
/* "1.0 on a, b; 1.1 on c"; NULL: all nodes that have said it run the same. */
const char *api_mixed_versions(const struct api_call *call);
/* Formats, as "1 to 2"; "" = not known. */
const char *api_reads(const struct api_call *call, uint32_t first, uint32_t last);
void api_explain(const struct api_call *call);
void api_plan(const struct api_call *call);
void api_doctor(const struct api_call *call);
void api_wait(const struct api_call *call);
void api_diff(const struct api_call *call);
void api_export(const struct api_call *call);
void api_revisions(const struct api_call *call);
void api_history(const struct api_call *call);
void api_events(const struct api_call *call);

/* api_history.c: the newest rows of one VIP or node, oldest first. */
struct value *api_history_of(const struct api_call *call, const char *subject, uint32_t max);

/* api_document.c: the change "apply", and "rollback"; whether it changes nothing; what its answer has. */
bool api_apply(const struct api_call *call, struct command *command);
bool api_apply_is_so(const struct command *command);
void api_applied(const struct api_call *call, struct value *result);

/* api_vip_spec.c, for api_command.c: each returns false after the refusal. A VIP as `vip.add` has it; the attributes of a
 * map, and which they are (enum vip_set); a name that no other VIP than slot `self` has. */
bool api_vip_spec(const struct api_call *call, const struct value *item, struct vip_spec *ret);
bool api_vip_attributes(const struct api_call *call, const struct value *map, struct vip_spec *ret, uint32_t *ret_set);
bool api_name_is_free(const struct api_call *call, const char *name, int self);
/* A node that may own VIPs, or SLOT_NONE after the refusal. */
int api_find_owner(const struct api_call *call, const char *name);

/* api_member.c, for api_command.c and api_wait.c. */
bool api_node_add(const struct api_call *call, struct command *command);
bool api_node_set(const struct api_call *call, struct command *command);
bool api_node_remove(const struct api_call *call, struct command *command);
bool api_voting(const struct api_call *call, const struct value *voters, struct command *command);
bool api_member_is_so(const struct table *table, const struct command *command); /* it needs no entry */
bool api_member_settled(const struct api_view *view, const struct value *args, int node, char *why, size_t size);
/* api_check.c. Slot of a check, or SLOT_NONE after the refusal; the attributes of a map into spec, whose name is there and
 * whose other fields are what they were; "passes", "fails" or "unknown"; names of a set of checks; those of the VIP's checks
 * that fail on a node. */
int api_find_check(const struct api_call *call, const char *name);
bool api_check_attributes(const struct api_call *call, const struct value *map, struct check_spec *spec);
const char *api_check_result(const struct api_call *call, int check, int node);
struct value *api_check_names(const struct api_call *call, uint64_t checks);
uint64_t api_failing(const struct table *table, const struct vip *vip, int node);
void api_check_list(const struct api_call *call);
void api_check_show(const struct api_call *call);
void api_check_own(const struct api_call *call);
bool api_check_add(const struct api_call *call, struct command *command);
bool api_check_set(const struct api_call *call, struct command *command);
bool api_check_del(const struct api_call *call, struct command *command);

/* api_maintenance.c. What is now, and in short for `status` (NULL: nothing is under way); whether nothing that was begun is under
 * way any more. */
struct value *api_maintenance_row(const struct api_call *call);
struct value *api_maintenance_line(const struct api_call *call);
bool api_maintenance_settled(const struct api_view *view, char *why, size_t size);
void api_maintenance_plan(const struct api_call *call);
void api_maintenance_show(const struct api_call *call);
bool api_maintenance_begin(const struct api_call *call, struct command *command);
bool api_maintenance_claim(const struct api_call *call, struct command *command);
bool api_maintenance_beat(const struct api_call *call, struct command *command);
bool api_maintenance_end(const struct api_call *call, struct command *command);
bool api_maintenance_pause(const struct api_call *call, struct command *command);
bool api_maintenance_resume(const struct api_call *call, struct command *command);
bool api_maintenance_abort(const struct api_call *call, struct command *command);
/* A move as a row; `table` says who owns the VIP before it. */
struct value *api_move_row(const struct api_call *call, const struct table *table, const struct move *move);
/* api_hook.c: what became of a VIP's hooks here; what `doctor` says of hooks (it adds rows with `find`). */
void api_hook_own(const struct api_call *call);
typedef void api_finder(const struct api_call *call, struct value *rows, const char *check, bool ok, struct value *text,
                        const char *advice);
void api_hook_doctor(const struct api_call *call, struct value *rows, api_finder *find);

/* What a client is to wait for after a change ({vips, to, node, until}), or NULL. */
struct value *api_wait_for(struct value_arena *arena, const struct control_request *request);

/* Refuse within a call; returns SLOT_NONE, which is also false for who asks "is it fine". */
#define api_no(call, code, hint, ...) (api_refuse((call)->arena, (call)->reply, code, hint, __VA_ARGS__), SLOT_NONE)

#endif
