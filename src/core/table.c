/* The replicated table as a value: empty, advanced by one entry, summed up. What a command does to it is in apply*.c,
 * who is found where in lookup.c. */

#include "core/table.h"

#include <stdlib.h>
#include <string.h>

#include "core/format.h"
#include "core/lookup.h"

void table_init(struct table *table)
{
    memset(table, 0, sizeof *table);
    table->format = FORMAT_FIRST;
}

struct settings table_settings_default(void)
{
    return (struct settings){.announce_count = 5,
                             .announce_interval_ms = 200,
                             .announce_refresh_ms = 60000,
                             .hold_after = 5,
                             .hold_window_ms = 60000,
                             .hold_first_ms = 1000,
                             .hold_max_ms = 8000};
}

bool settings_equal(const struct settings *a, const struct settings *b)
{
    return a->announce_count == b->announce_count && a->announce_interval_ms == b->announce_interval_ms &&
           a->announce_refresh_ms == b->announce_refresh_ms && a->failback_ms == b->failback_ms &&
           a->hold_after == b->hold_after && a->hold_window_ms == b->hold_window_ms &&
           a->hold_first_ms == b->hold_first_ms && a->hold_max_ms == b->hold_max_ms;
}

struct check_spec check_spec_default(void)
{
    return (struct check_spec){.every_ms = 2000, .timeout_ms = 1000, .fall = 3, .rise = 2};
}

bool check_spec_equal(const struct check_spec *a, const struct check_spec *b)
{
    return strcmp(a->target, b->target) == 0 && a->kind == b->kind && a->every_ms == b->every_ms &&
           a->timeout_ms == b->timeout_ms && a->fall == b->fall && a->rise == b->rise && a->weight == b->weight &&
           a->node == b->node && a->release == b->release;
}

bool check_spec_runs_same(const struct check_spec *a, const struct check_spec *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->target, b->target) == 0 && a->kind == b->kind &&
           a->timeout_ms == b->timeout_ms;
}

void table_skip(struct table *table, uint64_t index)
{
    if (index <= table->applied) {
        abort(); /* a bug: the log is applied in order, each entry once */
    }
    table->applied = index;
}

/* Field by field and in a fixed width, so that neither padding nor the machine's byte order takes part. */
static uint64_t number(uint64_t hash, uint64_t value)
{
    uint8_t bytes[8];

    for (int i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(value >> 8 * i);
    }
    return fnv_bytes(hash, bytes, sizeof bytes);
}

static uint64_t text(uint64_t hash, const char *value)
{
    return fnv_bytes(hash, value, strlen(value) + 1);
}

static uint64_t digest_addr(uint64_t hash, const struct addr *addr)
{
    return fnv_bytes(number(hash, addr->family), addr->bytes, sizeof addr->bytes);
}

static uint64_t digest_prefers(uint64_t hash, const struct prefer *prefers, unsigned n)
{
    hash = number(hash, n);
    for (unsigned i = 0; i < n; i++) {
        hash = number(hash, (uint64_t)prefers[i].node);
        hash = number(hash, prefers[i].weight);
    }
    return hash;
}

static uint64_t digest_links(uint64_t hash, const struct link *links, unsigned n)
{
    hash = number(hash, n);
    for (unsigned i = 0; i < n; i++) {
        const struct link *link = &links[i];

        hash = number(text(hash, link->name), link->up);
        hash = fnv_bytes(hash, link->mac, sizeof link->mac);
        hash = number(hash, link->n_prefixes);
        for (int k = 0; k < link->n_prefixes; k++) {
            hash = number(digest_addr(hash, &link->prefixes[k].addr), link->prefixes[k].len);
        }
    }
    return hash;
}

static uint64_t digest_node(uint64_t hash, const struct node *node)
{
    hash = text(number(hash, node->id), node->name);
    hash = number(digest_addr(hash, &node->at.addr), node->at.port);
    hash = number(hash, node->role);
    hash = number(hash, (uint64_t)node->witness | (uint64_t)node->draining << 1 | (uint64_t)node->leaving << 2 |
                            (uint64_t)node->listed << 3 | (uint64_t)node->removing << 4 | (uint64_t)node->wish << 5);
    hash = number(hash, node->leaving_run);
    hash = number(hash, node->status);
    hash = number(hash, node->gen);
    hash = number(number(hash, node->fence), node->added);
    hash = number(hash, node->since);
    hash = number(hash, (uint64_t)node->since_ms);
    hash = number(number(hash, node->identity), node->capacity);
    hash = number(number(hash, node->reads_first), node->reads_last);
    return text(digest_links(hash, node->links, node->n_links), node->version);
}

static uint64_t digest_hooks(uint64_t hash, const struct hook hooks[HOOK_POINTS_N])
{
    for (int i = 0; i < HOOK_POINTS_N; i++) {
        hash = number(text(hash, hooks[i].program), hooks[i].timeout_ms);
    }
    return hash;
}

static uint64_t digest_vip(uint64_t hash, const struct table *table, int slot)
{
    const struct vip *vip = &table->vips[slot];

    hash = number(hash, (uint64_t)vip->deleted | (uint64_t)vip->enabled << 1);
    hash = text(hash, vip->name);
    hash = number(digest_addr(hash, &vip->address.addr), vip->address.len);
    hash = text(hash, vip->dev);
    hash = number(hash, vip->nodes);
    hash = number(hash, (uint64_t)vip->group);
    hash = number(hash, vip->checks);
    hash = digest_prefers(hash, vip->prefers, vip->n_prefers);
    hash = number(hash, vip->n_apart);
    for (int i = 0; i < vip->n_apart; i++) {
        hash = number(hash, vip->apart[i]);
    }
    hash = number(hash, (uint64_t)vip->pinned);
    hash = number(hash, (uint64_t)vip->owner);
    hash = number(hash, (uint64_t)vip->prev);
    hash = number(hash, vip->moved);
    hash = number(hash, (uint64_t)vip->moved_ms);
    hash = number(hash, vip->reason);
    hash = number(hash, (uint64_t)vip->no_probe | (uint64_t)vip->yield << 1 | (uint64_t)vip->fresh << 2 |
                            (uint64_t)vip->no_reset << 3);
    hash = digest_hooks(hash, table->vip_hooks[slot]);
    hash = number(hash, vip->failback);
    hash = number(fnv_bytes(hash, vip->conflict.mac, sizeof vip->conflict.mac), vip->conflict.kind);
    return number(hash, (uint64_t)vip->conflict.at_ms);
}

static uint64_t digest_check(uint64_t hash, const struct check *check)
{
    const struct check_spec *spec = &check->spec;

    hash = text(text(number(hash, spec->kind), spec->name), spec->target);
    hash = number(number(hash, spec->every_ms), spec->timeout_ms);
    hash = number(number(number(hash, spec->fall), spec->rise), spec->weight);
    hash = number(hash, (uint64_t)spec->node | (uint64_t)spec->release << 1);
    return number(number(number(hash, check->changed), check->passing), check->failing);
}

static uint64_t digest_history(uint64_t hash, const struct table *table, uint64_t at)
{
    const struct history *entry = &table->history[at];

    hash = number(number(hash, entry->index), (uint64_t)entry->at_ms);
    hash = number(number(hash, entry->kind), entry->reason);
    hash = number(number(hash, (uint64_t)entry->from), (uint64_t)entry->to);
    hash = number(fnv_bytes(hash, entry->mac, sizeof entry->mac), entry->took_ms);
    hash = number(hash, (uint64_t)entry->set | (uint64_t)entry->enabled << 32);
    return text(text(text(hash, entry->subject), entry->who), table->history_was[at]);
}

static uint64_t digest_maintenance(uint64_t hash, const struct maintenance *m)
{
    hash = number(number(number(hash, m->state), m->run), m->changed);
    hash = text(number(number(hash, (uint64_t)m->begun_ms), (uint64_t)m->ended_ms), m->who);
    hash = number(number(hash, m->runner), m->beat);
    hash = number(hash, (uint64_t)m->lost | (uint64_t)m->held << 1 | (uint64_t)m->restart << 2 |
                            (uint64_t)m->force << 3);
    hash = number(number(number(hash, m->settle_ms), m->drain_ms), m->return_ms);
    hash = fnv_bytes(number(hash, m->words_size), m->words, m->words_size);
    hash = number(number(hash, (uint64_t)m->at), m->n_steps);
    for (int i = 0; i < m->n_steps; i++) {
        const struct maintenance_step *step = &m->steps[i];

        hash = text(number(number(hash, (uint64_t)step->node), step->id), step->name);
        hash = number(number(hash, step->state), (uint64_t)step->was_drained | (uint64_t)step->begun << 1 |
                                                   (uint64_t)step->ended << 2);
        for (int k = 0; k < STEP_STATES_N; k++) {
            hash = number(hash, (uint64_t)step->at_ms[k]);
        }
    }
    hash = digest_links(number(hash, m->before.passing), m->before.links, m->before.n_links);
    hash = number(number(hash, m->node_run), (uint64_t)m->status);
    return text(text(hash, m->why), m->tail);
}

static uint64_t digest_head(uint64_t hash, const struct table *table)
{
    hash = number(text(hash, table->cluster), table->cluster_id);
    hash = number(hash, table->applied);
    hash = number(hash, table->timing.interval_ms);
    hash = number(hash, table->timing.suspect_ms);
    hash = number(hash, table->timing.promise_ms);
    hash = number(hash, table->timing.margin_ms);
    hash = number(hash, table->timing.election_ms);
    hash = number(hash, table->settings.announce_count);
    hash = number(hash, table->settings.announce_interval_ms);
    hash = number(hash, table->settings.announce_refresh_ms);
    hash = number(number(hash, table->settings.failback_ms), table->settings.hold_after);
    hash = number(hash, table->settings.hold_window_ms);
    hash = number(number(hash, table->settings.hold_first_ms), table->settings.hold_max_ms);
    hash = number(number(number(hash, table->voters), table->voters_index), table->voters_told);
    hash = number(number(hash, table->voting.count), table->voting.replace_ms);
    hash = number(number(hash, table->next_id), (uint64_t)table->next_slot);
    hash = number(hash, table->n_former);
    for (int i = 0; i < FORMER_MAX; i++) {
        hash = number(hash, table->former[i]);
    }
#if VIPD_PRETEND_FORMAT
    hash = text(hash, table->mark);
#endif
    hash = number(hash, table->format);
    return number(number(hash, table->changed), table->revision);
}

uint64_t table_digest(const struct table *table)
{
    uint64_t hash = digest_head(FNV_BASIS, table);

    for (int i = 0; i < NODES_MAX; i++) {
        if (table->nodes[i].used) {
            hash = digest_node(number(hash, (uint64_t)i), &table->nodes[i]);
        } else if (table->nodes[i].name[0] != '\0') {
            hash = text(number(hash, (uint64_t)i), table->nodes[i].name);
        }
    }
    for (int i = 0; i < table->vips_end; i++) {
        if (table->vips[i].used) {
            hash = digest_vip(number(hash, (uint64_t)i), table, i);
        }
    }
    for (int i = 0; i < GROUPS_MAX; i++) {
        const struct group *group = &table->groups[i];

        if (group->name[0] != '\0') {
            hash = digest_prefers(text(number(hash, (uint64_t)i), group->name), group->prefers, group->n_prefers);
            hash = digest_hooks(number(number(hash, group->checks), group->failback), group->hooks);
        }
    }
    for (int i = 0; i < CHECKS_MAX; i++) {
        if (table->checks[i].spec.name[0] != '\0') {
            hash = digest_check(number(hash, (uint64_t)i), &table->checks[i]);
        }
    }
    hash = number(hash, table->checks_index);
    hash = number(hash, table->n_history);
    for (uint64_t i = 0; i < table->n_history && i < HISTORY_MAX; i++) {
        hash = digest_history(hash, table, i);
    }
    hash = number(hash, table->n_dedup);
    for (uint64_t i = 0; i < table->n_dedup && i < DEDUP_MAX; i++) {
        hash = number(number(number(hash, table->dedup[i].request), table->dedup[i].code), table->dedup[i].index);
    }
    hash = number(hash, table->n_kept);
    for (uint64_t i = 0; i < table->n_kept && i < KEPT_MAX; i++) {
        hash = number(number(hash, table->kept[i].revision), (uint64_t)table->kept[i].until_ms);
        hash = fnv_bytes(number(hash, table->kept[i].size), table->kept[i].text, table->kept[i].size);
    }
    return digest_maintenance(hash, &table->maintenance);
}
