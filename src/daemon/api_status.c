/* The cluster and this node as a whole: status, leader, settings, version, what the daemon says of itself. */

#include <string.h>

#include "daemon/api_private.h"

#define UNHELD_MAX 100 /* VIPs that `status` names; its counters have all */
#define CHECKS_SHOWN_MAX 20 /* VIPs whose owner fails a check, likewise */
#define FOREIGN_MAX 20 /* conflicts that it warns of one by one */

static const char *leader_name(const struct api_view *view)
{
    uint64_t id = core_leader(view->core);

    return id == 0 ? NULL : api_node_name(view->table, table_node_by_id(view->table, id));
}

void api_leader(const struct api_call *call)
{
    struct value *result = value_map(call->arena);

    value_put_string(call->arena, result, "leader", leader_name(call->view));
    value_put_uint(call->arena, result, "id", core_leader(call->view->core));
    value_put_bool(call->arena, result, "quorum", core_has_quorum(call->view->core, call->view->now));
    call->reply->result = result;
}

void api_settings(const struct api_call *call)
{
    const struct table *table = call->view->table;
    struct value_arena *arena = call->arena;
    struct value *result = value_map(arena), *announce = value_map(arena), *timing = value_map(arena),
                 *voters = value_map(arena);
    struct value *hold = value_map(arena), *failback = value_map(arena);
    char mode[CLUSTER_SETTING_SIZE];

    cluster_setting(&table->settings, CLUSTER_SETTING_FAILBACK, mode);
    value_put_string(arena, failback, "mode", mode);

    value_put_uint(arena, announce, "count", table->settings.announce_count);
    value_put_uint(arena, announce, "interval_ms", table->settings.announce_interval_ms);
    value_put_uint(arena, announce, "refresh_ms", table->settings.announce_refresh_ms);
    value_put_uint(arena, timing, "interval_ms", table->timing.interval_ms);
    value_put_uint(arena, timing, "suspect_ms", table->timing.suspect_ms);
    value_put_uint(arena, timing, "promise_ms", table->timing.promise_ms);
    value_put_uint(arena, timing, "margin_ms", table->timing.margin_ms);
    value_put_uint(arena, timing, "election_ms", table->timing.election_ms);
    value_put_uint(arena, voters, "count", table->voting.count);
    value_put_uint(arena, voters, "replace_ms", table->voting.replace_ms);
    value_put(arena, result, "announce", announce);
    value_put(arena, result, "voters", voters);
    value_put_uint(arena, hold, "after", table->settings.hold_after);
    value_put_uint(arena, hold, "window_ms", table->settings.hold_window_ms);
    value_put_uint(arena, hold, "first_ms", table->settings.hold_first_ms);
    value_put_uint(arena, hold, "max_ms", table->settings.hold_max_ms);
    value_put(arena, result, "hold_down", hold);
    value_put(arena, result, "failback", failback);
    value_put(arena, result, "timing", timing);
    call->reply->result = result;
}

/* ------------------------------------------------------------------------------------------------- this node, status */

static void put_own(const struct api_call *call, struct value *result)
{
    const struct api_view *view = call->view;
    const struct api_daemon *daemon = view->daemon;
    struct value_arena *arena = call->arena;

    value_put_string(arena, result, "node", daemon->node);
    value_put_string(arena, result, "version", VIPD_VERSION);
    value_put_int(arena, result, "started_ms", daemon->started_ms);
    value_put_string(arena, result, "fence", daemon->fence);
    if (daemon->fence_why != NULL) {
        value_put_string(arena, result, "fence_why", daemon->fence_why);
    }
}

void api_own(const struct api_call *call)
{
    const struct api_view *view = call->view;
    struct value_arena *arena = call->arena;
    struct value *result = value_map(arena), *counters = value_map(arena);

    put_own(call, result);
    value_put_string(arena, result, "cluster", view->table->cluster_id != 0 ? view->table->cluster : view->daemon->cluster);
    value_put_bool(arena, result, "quorum", core_has_quorum(view->core, view->now));
    value_put_bool(arena, result, "caught_up", core_caught_up(view->core));
    value_put_string(arena, result, "leader", leader_name(view));
    value_put_uint(arena, result, "index", view->table->applied);
    for (unsigned i = 0; i < view->daemon->n_counters; i++) {
        value_put_uint(arena, counters, view->daemon->counters[i].name, view->daemon->counters[i].value);
    }
    value_put(arena, result, "counters", counters);
    call->reply->result = result;
}

static void put_vips(const struct api_call *call, struct value *result)
{
    static const char *const keys[] = { "held", "moving", "unheld", "disabled" };
    const struct table *table = call->view->table;
    struct value_arena *arena = call->arena;
    struct value *vips = value_map(arena), *unheld = value_array(arena);
    uint64_t counts[4] = { 0 }, total = 0;
    char why[192];

    for (int slot = 0; slot < table->vips_end; slot++) {
        const struct vip *vip = &table->vips[slot];
        if (!vip->used || vip->deleted) {
            continue;
        }
        enum vip_state state = core_vip_state(call->view->core, slot, call->view->now, why);
        total++;
        counts[state]++;
        if (state == VIP_UNHELD && unheld != NULL && unheld->n < UNHELD_MAX) {
            struct value *row = value_map(arena);
            value_put_string(arena, row, "name", vip->name);
            value_put_string(arena, row, "why", why);
            value_push(arena, unheld, row);
        }
    }
    value_put_uint(arena, vips, "total", total);
    for (int i = 0; i < 4; i++) {
        value_put_uint(arena, vips, keys[i], counts[i]);
    }
    value_put(arena, result, "vips", vips);
    value_put(arena, result, "unheld", unheld);
}

static void warn_of_foreign(const struct api_call *call, struct value *warnings)
{
    const struct table *table = call->view->table;
    uint32_t n = 0;
    char mac[MAC_TEXT_SIZE];

    for (int slot = 0; slot < table->vips_end; slot++) {
        const struct vip *vip = &table->vips[slot];
        enum conflict_kind kind = CONFLICT_NONE;
        if (vip->used && !vip->deleted) {
            kind = core_vip_conflict(call->view->core, slot, mac);
        }
        if (kind != CONFLICT_NONE && n++ < FOREIGN_MAX) {
            value_push(call->arena, warnings,
                       value_format(call->arena, "VIP %s: another host, %s, %s", vip->name, mac,
                                    kind == CONFLICT_TAKEN      ? "has it: it is not taken"
                                    : kind == CONFLICT_DEFENDED ? "announces it: it is defended"
                                                                : "announces it: it was given up"));
        }
    }
    if (n > FOREIGN_MAX) {
        value_push(call->arena, warnings,
                   value_format(call->arena, "other hosts have or announce %u more VIP%s", n - FOREIGN_MAX,
                                n - FOREIGN_MAX == 1 ? "" : "s"));
    }
}

/* VIPs whose owner fails what they require: nobody else can have them. */
static void warn_of_checks(const struct api_call *call, struct value *warnings)
{
    const struct table *table = call->view->table;
    uint32_t n = 0;

    for (int slot = 0; slot < table->vips_end && table->checks_index != 0; slot++) {
        const struct vip *vip = &table->vips[slot];
        uint64_t failing = 0;
        if (vip->used && !vip->deleted && vip->enabled) {
            failing = api_failing(table, vip, vip->owner) & table->required;
        }
        if (failing != 0 && n++ < CHECKS_SHOWN_MAX) {
            value_push(call->arena, warnings,
                       value_format(call->arena, "VIP %s: check %s fails on its owner %s, and no other node can have it",
                                    vip->name, table->checks[__builtin_ctzll(failing)].spec.name,
                                    table->nodes[vip->owner].name));
        }
    }
    if (n > CHECKS_SHOWN_MAX) {
        value_push(call->arena, warnings,
                   value_format(call->arena, "%u more VIP%s where %s checks fail", n - CHECKS_SHOWN_MAX,
                                n - CHECKS_SHOWN_MAX == 1 ? " stays" : "s stay", n - CHECKS_SHOWN_MAX == 1 ? "its" : "their"));
    }
}

/* Disks that hang (docs/decisions/0029). */
static void warn_of_disks(const struct api_call *call, struct value *warnings)
{
    const struct api_view *view = call->view;

    for (int slot = 0; slot < NODES_MAX; slot++) {
        uint32_t late_ms = view->table->nodes[slot].used ? core_disk_late_ms(view->core, slot, view->now) : 0;
        if (late_ms > 0) {
            value_push(call->arena, warnings,
                       value_format(call->arena, "node %s: its disk has not answered for %.1f s", view->table->nodes[slot].name,
                                    late_ms / 1000.0));
        }
    }
}

/* Clocks that somebody slews, each by its own node's word. */
static void warn_of_clocks(const struct api_call *call, struct value *warnings)
{
    const struct api_view *view = call->view;

    for (int slot = 0; slot < NODES_MAX; slot++) {
        struct core_slew clock = { .slow_ppm = 0 };
        if (view->table->nodes[slot].used) {
            core_node_slew(view->core, slot, view->now, &clock);
        }
        if (clock.slow_ppm > 0 || clock.fast_ppm > 0) {
            uint32_t ppm = clock.slow_ppm > clock.fast_ppm ? clock.slow_ppm : clock.fast_ppm;
            value_push(call->arena, warnings,
                       value_format(call->arena, "node %s: its clock is slewed by %.1f%%: %s (vipctl doctor, there)",
                                    view->table->nodes[slot].name, ppm / 10000.0,
                                    clock.unfit          ? "it holds nothing while that lasts"
                                    : clock.slow_ppm > 0 ? "its lease is shortened"
                                                         : "its promises last longer"));
        }
    }
}

static void put_warnings(const struct api_call *call, struct value *result)
{
    const struct api_view *view = call->view;
    struct value_arena *arena = call->arena;
    struct value *warnings = value_array(arena);

    if (view->table->cluster_id == 0) {
        value_push(arena, warnings, value_string(arena, view->daemon->waits));
    } else if (!core_has_quorum(view->core, view->now)) {
        value_push(arena, warnings, value_string(arena, "no quorum: this node holds nothing"));
    } else if (core_leader(view->core) == 0) {
        value_push(arena, warnings, value_string(arena, "there is no leader: nothing can be changed or moved now"));
    }
    if (strcmp(view->daemon->fence, "kernel") != 0) {
        value_push(arena, warnings,
                   value_format(arena, "node %s: the kernel does not enforce the lease (fence: %s)",
                                view->daemon->node, view->daemon->fence));
    }
    warn_of_clocks(call, warnings);
    for (int slot = 0; slot < NODES_MAX; slot++) {
        const struct node *node = &view->table->nodes[slot];
        enum node_state state = node->used ? core_node_state(view->core, slot, view->now) : NODE_STATE_UP;
        if (state == NODE_STATE_FENCED || state == NODE_STATE_DOWN) {
            value_push(arena, warnings, value_format(arena, "node %s is %s", node->name, api_node_state_text(state)));
        } else if (node->used && !node->witness && core_is_leader(view->core) && core_has_quorum(view->core, view->now) &&
                   core_node_lease_ms(view->core, slot, view->now) == 0) {
            value_push(arena, warnings,
                       value_format(arena, "node %s is heard, but hears no majority itself: it holds nothing", node->name));
        }
    }
    warn_of_disks(call, warnings);
    const char *mixed = api_mixed_versions(call);
    if (mixed != NULL) {
        value_push(arena, warnings, value_format(arena, "different versions: %s (vipctl version)", mixed));
    }
    warn_of_foreign(call, warnings);
    warn_of_checks(call, warnings);
    value_put(arena, result, "warnings", warnings);
}

void api_status(const struct api_call *call)
{
    const struct api_view *view = call->view;
    struct value_arena *arena = call->arena;
    struct value *result = value_map(arena);

    value_put_string(arena, result, "cluster", view->table->cluster_id != 0 ? view->table->cluster : view->daemon->cluster);
    value_put_bool(arena, result, "quorum", core_has_quorum(view->core, view->now));
    value_put_string(arena, result, "leader", leader_name(view));
    value_put_uint(arena, result, "index", view->table->applied);
    put_own(call, result);
    value_put(arena, result, "nodes", api_node_rows(call));
    put_vips(call, result);
    struct value *maintenance = api_maintenance_line(call);
    if (maintenance != NULL) {
        value_put(arena, result, "maintenance", maintenance);
    }
    put_warnings(call, result);
    api_put_survey(call, result);
    call->reply->result = result;
}
