/* VIPs come, change and go. An address is unique over all VIPs, tombstones included; a name over those that are not
 * deleted. */

#include <string.h>

#include "core/apply.h"
#include "core/detail.h"
#include "core/lookup.h"

/* ------------------------------------------------------------------ what a VIP may be */

static bool mapped(const struct addr *addr)
{
    static const uint8_t start[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    return addr->family == 6 && memcmp(addr->bytes, start, sizeof start) == 0;
}

static bool check_address(const struct apply *apply, const struct prefix *address)
{
    char text[ADDR_TEXT_MAX];
    const struct table *table = apply->table;
    const struct addr *addr = &address->addr;
    bool known = addr->family == 4 || addr->family == 6;
    int other;

    if (!known || !addr_is_unicast(addr) || mapped(addr)) {
        detail_say(apply->outcome, OUTCOME_INVALID, "", known ? addr_format(addr, text) : "nothing",
                   " is not an address that a host can be given");
        return false;
    }
    if (address->len < 1 || address->len > addr_bits(addr)) {
        detail_say(apply->outcome, OUTCOME_INVALID, "the prefix length of ", addr_format(addr, text),
                   " is out of range");
        return false;
    }
    other = table_node_by_addr(table, addr);
    if (other != SLOT_NONE) {
        detail_say(apply->outcome, OUTCOME_CONFLICT, addr_format(addr, text), " is the own address of node ",
                   table->nodes[other].name);
        return false;
    }
    other = table_vip_by_addr(table, addr);
    if (other == SLOT_NONE) {
        return true;
    }
    detail_say(apply->outcome, OUTCOME_CONFLICT, addr_format(addr, text),
               table->vips[other].deleted ? " is still being released" : " is the address of VIP ",
               table->vips[other].deleted ? "" : table->vips[other].name);
    return false;
}

/* Settles the name that `vip` shall have into its `name`. A name that reads as an address must be its own, or
 * people who mean the address would reach another VIP. */
static bool check_vip_name(const struct apply *apply, struct vip *vip, int slot, const char *name)
{
    char text[ADDR_TEXT_MAX];
    struct addr addr;
    int other;

    addr_format(&vip->address.addr, text);
    if (name[0] == '\0') {
        name = text;
    }
    if (strcmp(name, text) != 0 && !check_name(apply, "VIP", name)) {
        return false;
    }
    if (addr_parse(name, &addr) == 0) {
        if (!addr_equal(&addr, &vip->address.addr)) {
            detail_say(apply->outcome, OUTCOME_INVALID, "the name ", name, " is another address than the VIP's own");
            return false;
        }
        name = text;
    }
    other = table_vip_by_name(apply->table, name);
    if (other != SLOT_NONE && other != slot) {
        detail_say(apply->outcome, OUTCOME_CONFLICT, "the name ", name, " is in use by VIP ");
        detail_addr(apply->outcome, &apply->table->vips[other].address.addr);
        return false;
    }
    memset(vip->name, 0, sizeof vip->name);
    memcpy(vip->name, name, strlen(name));
    return true;
}

static bool check_apart(const struct apply *apply, const struct vip_spec *spec, int slot)
{
    if (spec->n_apart > APART_MAX) {
        detail_say(apply->outcome, OUTCOME_LIMIT, "a VIP is kept apart from at most 8 others", "", "");
        return false;
    }
    for (unsigned i = 0; i < spec->n_apart; i++) {
        uint16_t other = spec->apart[i];

        if (other >= VIPS_MAX || !apply->table->vips[other].used || apply->table->vips[other].deleted) {
            detail_say(apply->outcome, OUTCOME_NOT_FOUND, "no such VIP to be kept apart from", "", "");
            return false;
        }
        if (other == slot) {
            detail_say(apply->outcome, OUTCOME_INVALID, "VIP ", apply->table->vips[other].name,
                       " cannot be kept apart from itself");
            return false;
        }
    }
    return true;
}

static bool check_pinned(const struct apply *apply, int8_t pinned)
{
    return pinned == SLOT_NONE ||
           (check_node(apply, pinned) && check_nodes(apply, 1ull << pinned));
}

static bool check_dev(const struct apply *apply, const char *dev)
{
    size_t len = strnlen(dev, DEV_SIZE);

    for (size_t i = 0; i < len && len < DEV_SIZE; i++) {
        if (dev[i] <= ' ' || dev[i] > '~' || dev[i] == '/') {
            len = DEV_SIZE;
        }
    }
    if (len < DEV_SIZE) {
        return true;
    }
    detail_say(apply->outcome, OUTCOME_INVALID,
               "the name of an interface has at most 15 printable characters, without '/' and blanks", "", "");
    return false;
}

/* ------------------------------------------------------------------ attributes */

static void set_text(char *to, size_t size, const char *from)
{
    size_t len = strnlen(from, size - 1);

    memset(to, 0, size);
    memcpy(to, from, len);
}

static void set_prefers(struct vip *vip, const struct vip_spec *spec)
{
    memset(vip->prefers, 0, sizeof vip->prefers);
    for (unsigned i = 0; i < spec->n_prefers; i++) {
        vip->prefers[i].node = spec->prefers[i].node;
        vip->prefers[i].weight = spec->prefers[i].weight;
    }
    vip->n_prefers = spec->n_prefers;
}

static void set_apart(struct vip *vip, const struct vip_spec *spec)
{
    memset(vip->apart, 0, sizeof vip->apart);
    memcpy(vip->apart, spec->apart, spec->n_apart * sizeof vip->apart[0]);
    vip->n_apart = spec->n_apart;
}

/* Whether the attributes named in `set` may be, those aside that are about other VIPs. */
static bool attributes_may(const struct apply *apply, const struct vip_spec *spec, uint32_t set)
{
    return ((set & VIP_SET_DEV) == 0 || check_dev(apply, spec->dev)) &&
           ((set & VIP_SET_NODES) == 0 || check_nodes(apply, spec->nodes)) &&
           ((set & VIP_SET_PREFERS) == 0 || check_prefers(apply, spec->prefers, spec->n_prefers)) &&
           ((set & VIP_SET_CHECKS) == 0 || check_checks(apply, spec->checks)) &&
           ((set & VIP_SET_HOOKS) == 0 || check_hooks(apply, spec->hooks)) &&
           ((set & VIP_SET_FAILBACK) == 0 || check_failback(apply, spec->failback)) &&
           ((set & VIP_SET_PINNED) == 0 || check_pinned(apply, spec->pinned));
}

/* Brings the attributes named in `set` into `vip`, which is not in the table yet, name and hooks aside. The group comes
 * last, because it may be made. */
static void assign(const struct apply *apply, struct vip *vip, const struct vip_spec *spec, uint32_t set)
{
    if ((set & VIP_SET_ENABLED) != 0) {
        vip->enabled = spec->enabled;
    }
    if ((set & VIP_SET_DEV) != 0) {
        set_text(vip->dev, sizeof vip->dev, spec->dev);
    }
    if ((set & VIP_SET_NODES) != 0) {
        vip->nodes = spec->nodes;
    }
    if ((set & VIP_SET_PREFERS) != 0) {
        set_prefers(vip, spec);
    }
    if ((set & VIP_SET_APART) != 0) {
        set_apart(vip, spec);
    }
    if ((set & VIP_SET_PINNED) != 0) {
        vip->pinned = spec->pinned;
    }
    if ((set & VIP_SET_PROBE) != 0) {
        vip->no_probe = spec->no_probe;
    }
    if ((set & VIP_SET_CONFLICT) != 0) {
        vip->yield = spec->yield;
    }
    if ((set & VIP_SET_CHECKS) != 0) {
        vip->checks = spec->checks;
    }
    if ((set & VIP_SET_RESET) != 0) {
        vip->no_reset = spec->no_reset;
    }
    if ((set & VIP_SET_FAILBACK) != 0) {
        vip->failback = spec->failback;
    }
    if ((set & VIP_SET_GROUP) != 0) {
        vip->group = (int16_t)apply_group_named(apply, spec->group);
    }
    if ((set & VIP_SET_LEN) != 0) {
        vip->address.len = spec->address.len;
    }
}

/* Brings the hooks into the table, where `set` names them; whether they are others than before. */
static bool set_hooks(struct table *table, int slot, const struct vip_spec *spec, uint32_t set)
{
    if ((set & VIP_SET_HOOKS) == 0 || hooks_equal(table->vip_hooks[slot], spec->hooks)) {
        return false;
    }
    hooks_set(table->vip_hooks[slot], spec->hooks);
    return true;
}

/* The same as assign() with the name, all of it judged; false with the outcome set. */
static bool set_attributes(const struct apply *apply, struct vip *vip, int slot, const struct vip_spec *spec,
                           uint32_t set)
{
    if (!attributes_may(apply, spec, set) || ((set & VIP_SET_APART) != 0 && !check_apart(apply, spec, slot)) ||
        ((set & VIP_SET_NAME) != 0 && !check_vip_name(apply, vip, slot, spec->name))) {
        return false;
    }
    assign(apply, vip, spec, set);
    return apply->outcome->code == OUTCOME_DONE;
}

/* ------------------------------------------------------------------ add */

static int free_slot(const struct table *table)
{
    int slot = 0;

    if (table->n_vips == table->vips_end) {
        return table->vips_end < VIPS_MAX ? table->vips_end : SLOT_NONE;
    }
    while (table->vips[slot].used) {
        slot++;
    }
    return slot;
}

static void insert(struct table *table, int slot, const struct vip *vip)
{
    table->vips[slot] = *vip;
    table->n_vips++;
    if (slot >= table->vips_end) {
        table->vips_end = slot + 1;
    }
    lookup_add_addr(table, slot);
    lookup_add_name(table, slot);
}

static void forget(struct table *table, int slot)
{
    if (!table->vips[slot].deleted) {
        lookup_remove_name(table, slot);
    }
    lookup_remove_addr(table, slot);
    memset(&table->vips[slot], 0, sizeof table->vips[slot]);
    if (hooks_any(table->vip_hooks[slot])) {
        memset(table->vip_hooks[slot], 0, sizeof table->vip_hooks[slot]);
    }
    table->n_vips--;
    while (table->vips_end > 0 && !table->vips[table->vips_end - 1].used) {
        table->vips_end--;
    }
}

static void replace(struct table *table, int slot, const struct vip *vip)
{
    lookup_remove_name(table, slot);
    table->vips[slot] = *vip;
    lookup_add_name(table, slot);
}

/* A VIP that nobody owns yet, without attributes. */
static struct vip new_vip(const struct apply *apply, const struct vip_spec *spec)
{
    struct vip vip;

    memset(&vip, 0, sizeof vip);
    vip.used = true;
    vip.address = spec->address;
    vip.group = vip.pinned = vip.owner = vip.prev = SLOT_NONE;
    vip.moved = apply->index;
    vip.moved_ms = apply->command->at_ms;
    vip.reason = REASON_NEW;
    return vip;
}

static bool add(const struct apply *apply, const struct vip_spec *spec)
{
    int slot = free_slot(apply->table);
    struct vip vip;

    if (slot == SLOT_NONE) {
        detail_say(apply->outcome, OUTCOME_LIMIT, "a cluster has at most ", "16384", " VIPs");
        return false;
    }
    vip = new_vip(apply, spec);
    if (!check_address(apply, &spec->address) || !set_attributes(apply, &vip, slot, spec, VIP_SET_ALL)) {
        return false;
    }
    insert(apply->table, slot, &vip);
    (void)set_hooks(apply->table, slot, spec, VIP_SET_ALL);
    return true;
}

/* All or none: the VIPs of a batch that fails are those whose last move is this entry. */
void apply_vip_take_back(const struct apply *apply)
{
    for (int slot = apply->table->vips_end - 1; slot >= 0; slot--) {
        if (apply->table->vips[slot].used && apply->table->vips[slot].moved == apply->index) {
            forget(apply->table, slot);
        }
    }
    apply_groups_forget(apply);
}

void apply_vip_add(const struct apply *apply)
{
    const struct command *command = apply->command;
    uint32_t n = 0;

    while (n < command->vip_add.n_vips && add(apply, &command->vip_add.vips[n])) {
        n++;
    }
    if (n < command->vip_add.n_vips) {
        apply_vip_take_back(apply);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        int slot = table_vip_by_addr(apply->table, &command->vip_add.vips[i].address.addr);

        apply_history(apply, HISTORY_VIP_ADD, REASON_NEW, SLOT_NONE, SLOT_NONE, apply->table->vips[slot].name);
    }
    if (n > 0) {
        apply_revised(apply);
    }
}

/* ------------------------------------------------------------------ set */

/* Hooks aside. */
static bool same_attributes(const struct vip *a, const struct vip *b)
{
    if (a->enabled != b->enabled || strcmp(a->name, b->name) != 0 || strcmp(a->dev, b->dev) != 0 ||
        a->nodes != b->nodes || a->checks != b->checks || a->address.len != b->address.len ||
        a->group != b->group || a->pinned != b->pinned ||
        a->no_probe != b->no_probe || a->yield != b->yield || a->no_reset != b->no_reset || a->failback != b->failback ||
        a->n_prefers != b->n_prefers || a->n_apart != b->n_apart || memcmp(a->apart, b->apart, sizeof a->apart) != 0) {
        return false;
    }
    for (int i = 0; i < a->n_prefers; i++) {
        if (a->prefers[i].node != b->prefers[i].node || a->prefers[i].weight != b->prefers[i].weight) {
            return false;
        }
    }
    return true;
}

/* A group has one pin: the last one that was given. */
static void pin_group(const struct apply *apply, int slot)
{
    struct table *table = apply->table;

    for (int i = 0; table->vips[slot].group != SLOT_NONE && i < table->vips_end; i++) {
        if (i != slot && table->vips[i].used && table->vips[i].group == table->vips[slot].group &&
            table->vips[i].pinned != SLOT_NONE) {
            table->vips[i].pinned = SLOT_NONE;
            apply_changed(apply);
        }
    }
}

void apply_vip_set(const struct apply *apply)
{
    const struct command *command = apply->command;
    struct table *table = apply->table;
    int slot = command->vip_set.vip;
    struct vip vip;

    if (slot >= VIPS_MAX || !table->vips[slot].used || table->vips[slot].deleted ||
        strcmp(table->vips[slot].name, command->vip_set.name) != 0) {
        detail_say(apply->outcome, OUTCOME_STALE, "VIP ", command->vip_set.name, " was deleted or renamed meanwhile");
        return;
    }
    vip = table->vips[slot];
    if (!set_attributes(apply, &vip, slot, &command->vip_set.spec, command->vip_set.set & ~(uint32_t)VIP_SET_LEN)) {
        return;
    }
    if ((command->vip_set.set & VIP_SET_PINNED) != 0) {
        pin_group(apply, slot);
    }
    bool hooked = set_hooks(table, slot, &command->vip_set.spec, command->vip_set.set);
    if (same_attributes(&table->vips[slot], &vip) && !hooked) {
        return;
    }
    char was[NAME_SIZE];
    memcpy(was, table->vips[slot].name, sizeof was);
    replace(table, slot, &vip);
    if ((command->vip_set.set & VIP_SET_GROUP) != 0) {
        apply_groups_forget(apply);
    }
    apply_history_set(apply, REASON_MANUAL, &vip, was, command->vip_set.set);
    if ((command->vip_set.set & ~(uint32_t)VIP_SET_PINNED) != 0) {
        apply_revised(apply);
    } else {
        apply_changed(apply); /* where a VIP is pinned is no configuration */
    }
}

/* ------------------------------------------------------------------ items of a document */

/* The name that an item gives, its uniqueness aside; it comes as it will stand in the table. */
static bool name_may(const struct apply *apply, const struct vip_item *item)
{
    const char *name = item->spec.name;
    char text[ADDR_TEXT_MAX];
    struct addr addr;

    if (addr_parse(name, &addr) != 0) {
        return check_name(apply, "VIP", name);
    }
    if (!addr_equal(&addr, &item->spec.address.addr) || strcmp(addr_format(&addr, text), name) != 0) {
        detail_say(apply->outcome, OUTCOME_INVALID, "the name ", name, " is another address than the VIP's own");
        return false;
    }
    return true;
}

bool apply_vip_may(const struct apply *apply, const struct vip_item *item)
{
    const struct vip *vip = &apply->table->vips[item->slot < VIPS_MAX ? item->slot : 0];
    uint32_t set = item->set & ~(uint32_t)VIP_SET_APART;

    if (item->slot >= VIPS_MAX || vip->deleted || (vip->used && !addr_equal(&vip->address.addr, &item->spec.address.addr))) {
        detail_say(apply->outcome, OUTCOME_STALE, "VIP ", item->spec.name, " was deleted or replaced meanwhile");
        return false;
    }
    if (!vip->used && item->set != VIP_SET_ALL) {
        detail_say(apply->outcome, OUTCOME_STALE, "VIP ", item->spec.name, " was deleted meanwhile");
        return false;
    }
    return (vip->used || check_address(apply, &item->spec.address)) && attributes_may(apply, &item->spec, set) &&
           ((set & VIP_SET_NAME) == 0 || name_may(apply, item));
}

bool apply_vip_apart_may(const struct apply *apply, const struct vip_item *item)
{
    return (item->set & VIP_SET_APART) == 0 || check_apart(apply, &item->spec, item->slot);
}

bool apply_vip_insert(const struct apply *apply, const struct vip_item *item)
{
    struct vip vip = new_vip(apply, &item->spec);

    if (!check_address(apply, &item->spec.address)) {
        return false; /* another item has it, too */
    }
    assign(apply, &vip, &item->spec, item->set & ~(uint32_t)(VIP_SET_APART | VIP_SET_NAME));
    set_text(vip.name, sizeof vip.name, item->spec.name);
    insert(apply->table, item->slot, &vip);
    (void)set_hooks(apply->table, item->slot, &item->spec, item->set);
    return true;
}

bool apply_vip_change(const struct apply *apply, const struct vip_item *item)
{
    struct table *table = apply->table;
    struct vip vip = table->vips[item->slot];

    assign(apply, &vip, &item->spec, item->set);
    if ((item->set & VIP_SET_NAME) != 0) {
        set_text(vip.name, sizeof vip.name, item->spec.name);
    }
    bool hooked = set_hooks(table, item->slot, &item->spec, item->set);
    if (same_attributes(&table->vips[item->slot], &vip) && !hooked) {
        return false;
    }
    replace(table, item->slot, &vip);
    return true;
}

/* ------------------------------------------------------------------ delete and purge */

static bool is_current(const struct table *table, const struct move *at, bool deleted)
{
    const struct vip *vip = &table->vips[at->vip < VIPS_MAX ? at->vip : 0];

    return at->vip < VIPS_MAX && vip->used && vip->deleted == deleted &&
           (vip->moved == at->moved || !RULE(L0));
}

/* It is released with the hooks that it has now, its group's too, whatever becomes of that. */
void apply_vip_take_hooks(const struct apply *apply, int slot)
{
    struct hook *own = apply->table->vip_hooks[slot];

    for (int point = 0; point < HOOK_POINTS_N; point++) {
        const struct hook *hook = table_hook(apply->table, &apply->table->vips[slot], (enum hook_point)point);

        if (hook != NULL && hook != &own[point]) {
            own[point] = *hook;
        }
    }
}

/* Deleting is a move to nobody. An owner that the VIP has becomes the one to wait for; that the one before it is
 * settled is the leader's duty (L3). A VIP without owner keeps whom it waits for: the address must not be given away
 * before. */
void apply_vip_remove(const struct apply *apply, int slot)
{
    struct vip *vip = &apply->table->vips[slot];
    int8_t prev = vip->prev;
    int8_t from = vip->owner;

    apply_vip_take_hooks(apply, slot);
    lookup_remove_name(apply->table, slot);
    apply_new_owner(apply, vip, SLOT_NONE, REASON_DELETED);
    if (from == SLOT_NONE) {
        vip->prev = prev;
    }
    vip->prev = RULE(DELETE) ? vip->prev : SLOT_NONE;
    vip->deleted = true;
    apply_history(apply, HISTORY_VIP_DELETE, REASON_DELETED, from, SLOT_NONE, vip->name);
}

bool apply_vip_current(const struct apply *apply, const struct move *at)
{
    return is_current(apply->table, at, false);
}

void apply_vip_delete(const struct apply *apply)
{
    const struct command *command = apply->command;
    uint32_t done = 0;

    for (uint32_t i = 0; i < command->vip_del.n_vips; i++) {
        struct move at = command->vip_del.vips[i];

        if (at.vip < VIPS_MAX && at.moved == 0) {
            at.moved = apply->table->vips[at.vip].moved;
        }
        if (is_current(apply->table, &at, false)) {
            apply_vip_remove(apply, at.vip);
            done++;
        }
    }
    if (done == 0) {
        detail_say(apply->outcome, OUTCOME_STALE, "the VIP was moved or deleted meanwhile", "", "");
    } else {
        apply_revised(apply);
    }
}

static void forget_apart(struct vip *vip, const uint64_t *purged)
{
    uint8_t kept = 0;

    for (int i = 0; i < vip->n_apart; i++) {
        uint16_t other = vip->apart[i];

        if ((purged[other / 64] >> other % 64 & 1) == 0) {
            vip->apart[kept++] = other;
        }
    }
    memset(&vip->apart[kept], 0, (APART_MAX - kept) * sizeof vip->apart[0]);
    vip->n_apart = kept;
}

void apply_vip_purge(const struct apply *apply)
{
    const struct command *command = apply->command;
    struct table *table = apply->table;
    uint64_t purged[VIPS_MAX / 64] = {0};
    uint32_t done = 0;

    for (uint32_t i = 0; i < command->vip_del.n_vips; i++) {
        const struct move *at = &command->vip_del.vips[i];

        if (is_current(table, at, true)) {
            purged[at->vip / 64] |= 1ull << at->vip % 64;
            forget(table, at->vip);
            done++;
        }
    }
    if (done == 0) {
        detail_say(apply->outcome, OUTCOME_STALE, "no such deleted VIP", "", "");
        return;
    }
    for (int slot = 0; slot < table->vips_end; slot++) {
        if (table->vips[slot].used) {
            forget_apart(&table->vips[slot], purged);
        }
    }
    apply_groups_forget(apply);
    apply_changed(apply);
}
