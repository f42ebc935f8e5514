/* What is not as it should be, and what to do about it, as far as the table and this node tell. */

#include <string.h>

#include "daemon/api_private.h"

/* Adds one finding; `ok` ones are told, too, so that a person sees what was looked at. */
static void find(const struct api_call *call, struct value *rows, const char *check, bool ok, struct value *text,
                 const char *advice)
{
    struct value *row = value_map(call->arena);

    value_put_string(call->arena, row, "check", check);
    value_put_bool(call->arena, row, "ok", ok);
    value_put(call->arena, row, "text", text);
    if (!ok && advice != NULL) {
        value_put_string(call->arena, row, "advice", advice);
    }
    value_push(call->arena, rows, row);
}

static void check_quorum(const struct api_call *call, struct value *rows)
{
    const struct api_view *view = call->view;
    struct value_arena *arena = call->arena;
    bool quorum = core_has_quorum(view->core, view->now);
    uint64_t leader = core_leader(view->core);
    const char *name = leader == 0 ? NULL : api_node_name(view->table, table_node_by_id(view->table, leader));

    find(call, rows, "quorum", quorum,
         value_string(arena, quorum ? "a majority of the voters supports this node"
                                    : "no quorum: this node holds nothing"),
         "start the missing voters, or check the network (TCP and UDP) between them and this node");
    find(call, rows, "leader", name != NULL,
         name != NULL ? value_format(arena, "%s leads", name) : value_string(arena, "there is no leader"),
         "a majority of the voters must reach each other");
    find(call, rows, "up-to-date", core_caught_up(view->core),
         value_string(arena, core_caught_up(view->core) ? "this node's table is up to date"
                                                        : "this node still catches up with the log"),
         "wait; when it lasts, check the network between this node and the leader");
}

static void check_fence(const struct api_call *call, struct value *rows)
{
    const struct api_daemon *daemon = call->view->daemon;
    bool kernel = strcmp(daemon->fence, "kernel") == 0 && daemon->fence_why == NULL;

    find(call, rows, "fence", kernel,
         kernel ? value_string(call->arena, "the kernel enforces the end of the lease")
                : value_format(call->arena, "the kernel does not enforce the end of the lease%s%s",
                               daemon->fence_why != NULL ? ": " : "",
                               daemon->fence_why != NULL ? daemon->fence_why : ""),
         "a stopped daemon can hold a VIP until valid_lft ends: remove `fence: addresses` where the kernel allows, or "
         "whatever took the tc filter away");
}

/* The own clock against the hardware's (timing.md). */
static void check_clock(const struct api_call *call, struct value *rows)
{
    struct core_clock clock;
    struct value *text;

    core_clock(call->view->core, &clock);
    double slow = clock.slow_ppm / 10000.0, fast = clock.fast_ppm / 10000.0;
    if (clock.unfit) {
        text = value_format(call->arena, "this node's clock is slewed (%.1f%% slow, %.1f%% fast), by more than a lease of "
                                         "%u ms can bear: this node holds nothing",
                            slow, fast, clock.full_ms);
    } else if (clock.slow_ppm > 0 || clock.fast_ppm > 0) {
        text = value_format(call->arena, "this node's clock is slewed (%.1f%% slow, %.1f%% fast): its lease is %u of %u "
                                         "ms, its promises last %u ms longer",
                            slow, fast, clock.lease_ms, clock.full_ms, clock.wait_ms);
    } else {
        text = value_string(call->arena, "this node's clock is not slewed");
    }
    find(call, rows, "clock", clock.slow_ppm == 0 && clock.fast_ppm == 0, text,
         "it passes when the time is set (chronyc tracking, timedatectl timesync-status); a lower maxslewrate of chrony "
         "shortens leases less");
}

/* Whether this node's disk hangs (docs/decisions/0029). */
static void check_disk(const struct api_call *call, struct value *rows)
{
    const struct api_view *view = call->view;
    int slot = table_node_by_name(view->table, view->daemon->node);
    uint32_t late_ms = slot == SLOT_NONE ? 0 : core_disk_late_ms(view->core, slot, view->now);

    find(call, rows, "disk", late_ms == 0,
         late_ms == 0 ? value_string(call->arena, "this node's disk answers")
                      : value_format(call->arena, "this node's disk has not answered for %.1f s: it cannot lead, and is given no VIP",
                                     late_ms / 1000.0),
         "look at the kernel's log (dmesg) and at what is below the data directory");
}

/* A change of the key that was begun and not finished. */
static void check_keys(const struct api_call *call, struct value *rows)
{
    bool two = call->view->daemon->n_keys > 1;

    find(call, rows, "key", !two,
         value_string(call->arena, two ? "this node accepts two keys of the cluster" : "this node accepts one key of the cluster"),
         "vipctl key list shows who uses which; vipctl key rotate finishes the change, then take the old key out of key-file on "
         "every node");
}

static void check_nodes(const struct api_call *call, struct value *rows)
{
    const struct api_view *view = call->view;
    struct value_arena *arena = call->arena;
    int missing = 0;

    for (int slot = 0; slot < NODES_MAX; slot++) {
        const struct node *node = &view->table->nodes[slot];
        enum node_state state = node->used ? core_node_state(view->core, slot, view->now) : NODE_STATE_UP;
        if (state == NODE_STATE_FENCED || state == NODE_STATE_DOWN) {
            missing += (int)(view->table->voters >> slot & 1);
            find(call, rows, "node", false,
                 value_format(arena, "node %s is %s", node->name, state == NODE_STATE_DOWN ? "not heard" : "fenced"),
                 "look at its log; start its daemon, or check its network");
        } else if (state == NODE_STATE_DRAINED || state == NODE_STATE_DRAINING) {
            find(call, rows, "node", false, value_format(arena, "node %s is drained", node->name),
                 "vipctl undrain NODE when its maintenance is over");
        }
    }
    int alive = __builtin_popcountll(view->table->voters) - missing;
    int spare = alive - majority_of(view->table->voters);
    find(call, rows, "redundancy", spare > 0,
         spare > 0 ? value_format(arena, "%d more of the voters may fail", spare)
                   : value_string(arena, "not one more of the voters may fail"),
         "bring the missing voters back");
}

static void check_versions(const struct api_call *call, struct value *rows)
{
    const char *mixed = api_mixed_versions(call);

    find(call, rows, "versions", mixed == NULL,
         mixed == NULL ? value_string(call->arena, "all nodes run the same version")
                       : value_format(call->arena, "nodes run different versions: %s", mixed),
         "finish the upgrade (docs/operations.md); until then what only the newer version can do is refused");
}

/* VIPs that are not held, and how many have but one node that could hold them. */
static void check_vips(const struct api_call *call, struct value *rows)
{
    const struct api_view *view = call->view;
    const struct table *table = view->table;
    uint32_t unheld = 0, single = 0, foreign = 0;
    char why[192], mac[MAC_TEXT_SIZE];

    for (int slot = 0; slot < table->vips_end; slot++) {
        const struct vip *vip = &table->vips[slot];
        int places = 0;
        if (!vip->used || vip->deleted || !vip->enabled) {
            continue;
        }
        foreign += core_vip_conflict(view->core, slot, mac) != CONFLICT_NONE;
        unheld += core_vip_state(view->core, slot, view->now, why) == VIP_UNHELD;
        for (int node = 0; node < NODES_MAX && places < 2; node++) {
            places += table_may_own(table, node, vip);
        }
        single += places < 2;
    }
    find(call, rows, "held", unheld == 0,
         unheld == 0 ? value_string(call->arena, "no VIP is unheld")
                     : value_format(call->arena, "%u VIP%s held by nobody", unheld, unheld == 1 ? " is" : "s are"),
         "vipctl status names them; vipctl explain vip NAME tells why");
    find(call, rows, "foreign", foreign == 0,
         foreign == 0 ? value_string(call->arena, "no other host has or announces a VIP")
                      : value_format(call->arena, "other hosts have or announce %u VIP%s", foreign, foreign == 1 ? "" : "s"),
         "find them by their hardware addresses: vipctl status, vipctl vip show NAME");
    find(call, rows, "places", single == 0,
         single == 0 ? value_string(call->arena, "every VIP has at least two nodes that can hold it")
                     : value_format(call->arena, "%u VIP%s at most one node that can hold %s now", single,
                                    single == 1 ? " has" : "s have", single == 1 ? "it" : "them"),
         "check --nodes, the interfaces (vipctl node show NODE) and drained nodes");
}

/* Whether what VIPs want of their connections can be done here. */
static void check_connections(const struct api_call *call, struct value *rows)
{
    const struct api_view *view = call->view;
    uint32_t wanted = 0;

    for (int slot = 0; slot < view->table->vips_end; slot++) {
        const struct vip *vip = &view->table->vips[slot];
        wanted += vip->used && !vip->deleted && !vip->no_reset;
    }
    if (wanted == 0) {
        return;
    }
    find(call, rows, "connections", view->daemon->no_reset == NULL,
         view->daemon->no_reset == NULL
             ? value_string(call->arena, "connections of a VIP that moves away as planned are reset")
             : value_format(call->arena, "connections of a VIP that moves away cannot be reset here (%s): their clients hang "
                                         "until they time out",
                            view->daemon->no_reset),
         "a kernel with CONFIG_INET_DIAG_DESTROY; or vipctl vip set NAME --reset-connections no");
}

/* The health checks that this very node runs. */
static void check_checks(const struct api_call *call, struct value *rows)
{
    const struct api_view *view = call->view;
    uint32_t runs = 0, failing = 0;

    for (int slot = 0; slot < CHECKS_MAX && view->daemon->checks != NULL; slot++) {
        const struct api_check *own = &view->daemon->checks[slot];
        runs += own->runs;
        if (own->runs && core_own_check(view->core, slot) == DAMPING_FAILS) {
            failing++;
            find(call, rows, "checks", false,
                 value_format(call->arena, "check %s fails on this node: %s", view->table->checks[slot].spec.name,
                              own->detail),
                 "what requires it goes elsewhere: vipctl check show NAME");
        }
    }
    if (runs > 0 && failing == 0) {
        find(call, rows, "checks", true, value_format(call->arena, "%u checks of this node: none fails", runs), NULL);
    }
}

void api_doctor(const struct api_call *call)
{
    struct value *result = value_map(call->arena), *rows = value_array(call->arena);

    check_quorum(call, rows);
    check_fence(call, rows);
    check_clock(call, rows);
    check_disk(call, rows);
    check_keys(call, rows);
    check_nodes(call, rows);
    check_versions(call, rows);
    check_vips(call, rows);
    check_checks(call, rows);
    api_hook_doctor(call, rows, find);
    check_connections(call, rows);
    bool healthy = true;
    for (const struct value *row = value_first(rows); row != NULL; row = row->next) {
        healthy &= value_as_bool(value_get(row, "ok"), false);
    }
    value_put_bool(call->arena, result, "healthy", healthy);
    value_put_string(call->arena, result, "node", call->view->daemon->node);
    value_put(call->arena, result, "rows", rows);
    call->reply->result = result;
}
