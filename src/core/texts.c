/* Stable texts of the table's enumerations: JSON and scripts rely on them. */

#include "core/table.h"

const char *reason_text(enum reason reason)
{
    switch (reason) {
    case REASON_NEW:
        return "new";
    case REASON_CRASH:
        return "crash";
    case REASON_DRAIN:
        return "drain";
    case REASON_MANUAL:
        return "manual";
    case REASON_REBALANCE:
        return "rebalance";
    case REASON_DISABLED:
        return "disabled";
    case REASON_DELETED:
        return "deleted";
    case REASON_HEALTH:
        return "health";
    case REASON_PREFER:
        return "prefer";
    case REASON_RETURN:
        return "return";
    }
    return "unknown";
}

const char *hook_point_text(enum hook_point point)
{
    switch (point) {
    case HOOK_BEFORE_TAKE:
        return "before-take";
    case HOOK_AFTER_TAKE:
        return "after-take";
    case HOOK_BEFORE_RELEASE:
        return "before-release";
    case HOOK_AFTER_RELEASE:
        return "after-release";
    }
    return "unknown";
}

const char *node_status_text(enum node_status status)
{
    switch (status) {
    case NODE_CLEARED:
        return "cleared";
    case NODE_ADMITTED:
        return "admitted";
    case NODE_FENCED:
        return "fenced";
    }
    return "unknown";
}

const char *node_role_text(enum node_role role)
{
    switch (role) {
    case ROLE_VOTER:
        return "voter";
    case ROLE_STANDBY:
        return "standby";
    case ROLE_SPARE:
        return "spare";
    }
    return "unknown";
}

const char *node_wish_text(enum node_wish wish)
{
    switch (wish) {
    case WISH_AUTO:
        return "auto";
    case WISH_VOTER:
        return "voter";
    case WISH_SPARE:
        return "spare";
    }
    return "unknown";
}

const char *conflict_kind_text(enum conflict_kind kind)
{
    switch (kind) {
    case CONFLICT_NONE:
        return "none";
    case CONFLICT_TAKEN:
        return "taken";
    case CONFLICT_DEFENDED:
        return "defended";
    case CONFLICT_YIELDED:
        return "yielded";
    }
    return "unknown";
}

const char *check_kind_text(enum check_kind kind)
{
    switch (kind) {
    case CHECK_HTTP:
        return "http";
    case CHECK_TCP:
        return "tcp";
    case CHECK_EXEC:
        return "exec";
    case CHECK_PROCESS:
        return "process";
    case CHECK_FILE:
        return "file";
    case CHECK_PING:
        return "ping";
    }
    return "unknown";
}

const char *history_kind_text(enum history_kind kind)
{
    switch (kind) {
    case HISTORY_FOUND:
        return "found";
    case HISTORY_VIP_ADD:
        return "vip-add";
    case HISTORY_VIP_SET:
        return "vip-set";
    case HISTORY_VIP_DELETE:
        return "vip-delete";
    case HISTORY_MOVE:
        return "move";
    case HISTORY_FENCE:
        return "fence";
    case HISTORY_CLEAR:
        return "clear";
    case HISTORY_ADMIT:
        return "admit";
    case HISTORY_DRAIN:
        return "drain";
    case HISTORY_UNDRAIN:
        return "undrain";
    case HISTORY_LEAVE:
        return "leave";
    case HISTORY_RETURN:
        return "return";
    case HISTORY_LINKS:
        return "links";
    case HISTORY_SETTINGS:
        return "settings";
    case HISTORY_TAKEN:
        return "conflict-taken";
    case HISTORY_DEFENDED:
        return "conflict-defended";
    case HISTORY_YIELDED:
        return "conflict-yielded";
    case HISTORY_APPLY:
        return "apply";
    case HISTORY_CONFLICT_END:
        return "conflict-end";
    case HISTORY_NODE_ADD:
        return "node-add";
    case HISTORY_NODE_SET:
        return "node-set";
    case HISTORY_NODE_REMOVE:
        return "node-remove";
    case HISTORY_NODE_GONE:
        return "node-gone";
    case HISTORY_VOTER:
        return "voter";
    case HISTORY_NO_VOTER:
        return "no-voter";
    case HISTORY_RECOVER:
        return "recover";
    case HISTORY_CHECK_SET:
        return "check-set";
    case HISTORY_CHECK_DELETE:
        return "check-delete";
    case HISTORY_CHECK_FAILS:
        return "check-fails";
    case HISTORY_CHECK_PASSES:
        return "check-passes";
    case HISTORY_MAINTENANCE:
        return "maintenance";
    case HISTORY_MAINTENANCE_DRAINED:
        return "maintenance-drained";
    case HISTORY_MAINTENANCE_COMMAND:
        return "maintenance-command";
    case HISTORY_MAINTENANCE_NODE:
        return "maintenance-node";
    case HISTORY_MAINTENANCE_FAILED:
        return "maintenance-failed";
    case HISTORY_MAINTENANCE_PAUSE:
        return "maintenance-pause";
    case HISTORY_MAINTENANCE_RESUME:
        return "maintenance-resume";
    case HISTORY_MAINTENANCE_ABORT:
        return "maintenance-abort";
    case HISTORY_MAINTENANCE_END:
        return "maintenance-end";
    case HISTORY_FORMAT:
        return "format";
    }
    return "unknown";
}

const char *step_state_text(enum step_state state)
{
    switch (state) {
    case STEP_WAITING:
        return "waiting";
    case STEP_DRAINING:
        return "draining";
    case STEP_DRAINED:
        return "drained";
    case STEP_RUNNING:
        return "running";
    case STEP_RETURNING:
        return "returning";
    case STEP_DONE:
        return "done";
    case STEP_FAILED:
        return "failed";
    case STEP_SKIPPED:
        return "skipped";
    }
    return "unknown";
}

const char *maintenance_state_text(enum maintenance_state state)
{
    switch (state) {
    case MAINTENANCE_NONE:
        return "none";
    case MAINTENANCE_RUNNING:
        return "running";
    case MAINTENANCE_PAUSED:
        return "paused";
    case MAINTENANCE_STOPPED:
        return "stopped";
    case MAINTENANCE_DONE:
        return "done";
    case MAINTENANCE_ABORTED:
        return "aborted";
    }
    return "unknown";
}

const char *mac_format(const uint8_t mac[MAC_SIZE], char ret[MAC_TEXT_SIZE])
{
    static const char DIGITS[] = "0123456789abcdef";

    for (int i = 0; i < MAC_SIZE; i++) {
        ret[3 * i] = DIGITS[mac[i] >> 4];
        ret[3 * i + 1] = DIGITS[mac[i] & 15];
        ret[3 * i + 2] = i < MAC_SIZE - 1 ? ':' : '\0';
    }
    return ret;
}
