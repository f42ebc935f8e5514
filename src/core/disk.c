/* A disk that hangs: no error, and no end of the write either (docs/decisions/0029). A leader whose disk is late is replaced
 * (election.c), a node whose disk is late is given no VIP (overview.c), and one whose disk is dead is fenced (leader.c). */

#include "core/core_private.h"

#define LATE_LEAST (500 * MS)
#define DEAD_LEAST (10000 * MS)

static time_ns late_after(const struct core *core)
{
    return 2 * core_suspect(core) > LATE_LEAST ? 2 * core_suspect(core) : LATE_LEAST;
}

static time_ns dead_after(const struct core *core)
{
    return 4 * core_promise(core) > DEAD_LEAST ? 4 * core_promise(core) : DEAD_LEAST;
}

/* How old the oldest unfinished write of the node is: for another one by its last heartbeat, and not older than that said. */
static time_ns writing(const struct core *core, int node, time_ns now)
{
    if (node == core->slot) {
        time_ns since = core->disk.writing_since;
        return since && now > since ? now - since : 0;
    }
    return core->hearing[node].heard ? core->hearing[node].last.writing_ms * MS : 0;
}

bool disk_late(const struct core *core, int node, time_ns now)
{
    return node >= 0 && core->table->cluster_id && writing(core, node, now) >= late_after(core);
}

/* A disk that is no better than one that is late is no reason for anything. */
bool disk_good(const struct core *core, int node, time_ns now)
{
    return writing(core, node, now) < late_after(core) / 2;
}

/* Where all disks are slow a leader must get the time to commit something: changing it again and again would keep everybody from
 * that. */
bool disk_replaces(const struct core *core, int leader, time_ns now, struct actions *actions)
{
    time_ns from = core->lead.led_since + 5 * late_after(core);
    if (!disk_late(core, leader, now)) {
        return false;
    }
    core_deadline(actions, now < from ? from : NEVER);
    return now >= from;
}

bool disk_dead(const struct core *core, int node, time_ns now)
{
    return core->table->cluster_id && writing(core, node, now) >= dead_after(core);
}

uint32_t disk_writing_ms(const struct core *core, time_ns now)
{
    uint64_t ms = writing(core, core->slot, now) / MS;
    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

uint32_t core_disk_late_ms(const struct core *core, int node, time_ns now)
{
    return disk_late(core, node, now) ? (uint32_t)(writing(core, node, now) / MS) : 0;
}

void disk_note(struct core *core, time_ns writing_since, time_ns now, struct actions *actions)
{
    core->disk.writing_since = writing_since;
    if (core->slot == SLOT_NONE) {
        return;
    }
    bool late = disk_late(core, core->slot, now);
    if (late != core->disk.late) {
        core->disk.late = late;
        core->agent.beat_now = core->lead.plan_dirty = true; /* the others are to know at once */
        core_log(actions, late ? LOG_CORE_DISK_LATE : LOG_CORE_DISK_WELL, core->slot, SLOT_NONE, 0);
    }
    if (writing_since && !late) {
        core_deadline(actions, writing_since + late_after(core));
    }
}
