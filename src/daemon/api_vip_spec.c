/* A VIP as a user describes it, judged by what the table knows of nodes, interfaces and the other VIPs. */

#include <string.h>

#include "base/near.h"
#include "core/target.h"
#include "daemon/api_private.h"

/* ------------------------------------------------------------------------------------------------ a VIP's attributes */

static bool set_text(const struct api_call *call, const struct value *value, const char *what, char *to, size_t size)
{
    const char *text = value_as_string(value, NULL);

    if (text == NULL) {
        (void)api_no(call, CONTROL_USAGE, NULL, "%s is not a text", what);
        return false;
    }
    if (strlen(text) >= size) {
        (void)api_no(call, CONTROL_USAGE, NULL, "%s is longer than %zu characters", what, size - 1);
        return false;
    }
    memset(to, 0, size);
    memcpy(to, text, strlen(text));
    return true;
}

static bool set_name(const struct api_call *call, const struct value *value, struct vip_spec *spec)
{
    return set_text(call, value, "the VIP's name", spec->name, sizeof spec->name);
}

static bool set_dev(const struct api_call *call, const struct value *value, struct vip_spec *spec)
{
    return set_text(call, value, "the interface's name", spec->dev, sizeof spec->dev);
}

static bool set_group(const struct api_call *call, const struct value *value, struct vip_spec *spec)
{
    return set_text(call, value, "the group's name", spec->group, sizeof spec->group);
}

static bool set_enabled(const struct api_call *call, const struct value *value, struct vip_spec *spec)
{
    spec->enabled = value_as_bool(value, true);
    return true;
}

static bool set_probe(const struct api_call *call, const struct value *value, struct vip_spec *spec)
{
    spec->no_probe = !value_as_bool(value, true);
    return true;
}

static bool set_conflict(const struct api_call *call, const struct value *value, struct vip_spec *spec)
{
    const char *policy = value_as_string(value, "");

    spec->yield = strcmp(policy, "yield") == 0;
    if (!spec->yield && strcmp(policy, "defend") != 0) {
        (void)api_no(call, CONTROL_USAGE, "defend or yield", "there is no policy \"%.100s\" for a conflict", policy);
        return false;
    }
    return true;
}

/* A time in ms, 0 for never and 1 for at once; or "default". */
static bool set_failback(const struct api_call *call, const struct value *value, struct vip_spec *spec)
{
    uint64_t ms = value_as_uint(value, UINT64_MAX);

    if (strcmp(value_as_string(value, ""), "default") == 0) {
        spec->failback = 0;
        return true;
    }
    if (ms > FAILBACK_MAX_MS) {
        (void)api_no(call, CONTROL_USAGE, NULL, "failback is never, auto, a time of at most a day, or default");
        return false;
    }
    spec->failback = own_failback((uint32_t)ms);
    return true;
}

/* A node that may own VIPs, or SLOT_NONE after the refusal. */
int api_find_owner(const struct api_call *call, const char *name)
{
    int node = api_find_node(call, name);

    if (node != SLOT_NONE && call->view->table->nodes[node].witness) {
        return api_no(call, CONTROL_USAGE, NULL, "node %s is a witness: it votes and never holds a VIP", name);
    }
    return node;
}

static bool set_nodes(const struct api_call *call, const struct value *value, struct vip_spec *spec)
{
    spec->nodes = 0;
    for (const struct value *item = value_first(value); item != NULL; item = item->next) {
        int node = api_find_owner(call, value_as_string(item, ""));
        if (node == SLOT_NONE) {
            return false;
        }
        spec->nodes |= 1ull << node;
    }
    return true;
}

static bool set_prefer(const struct api_call *call, const struct value *value, struct vip_spec *spec)
{
    spec->n_prefers = 0;
    for (const struct value *item = value_first(value); item != NULL; item = item->next) {
        uint64_t weight = value_as_uint(item, 0);
        int node = item->key == NULL ? api_no(call, CONTROL_USAGE, NULL, "preferences are NODE=WEIGHT")
                                     : api_find_owner(call, item->key);
        if (node == SLOT_NONE) {
            return false;
        }
        if (weight < 1 || weight > UINT16_MAX) {
            (void)api_no(call, CONTROL_USAGE, NULL, "the weight of node %s is not 1 to 65535", item->key);
            return false;
        }
        if (spec->n_prefers == PREFERS_MAX) {
            (void)api_no(call, CONTROL_USAGE, NULL, "a VIP prefers at most %d nodes", PREFERS_MAX);
            return false;
        }
        spec->prefers[spec->n_prefers++] = (struct prefer){ .node = (int8_t)node, .weight = (uint16_t)weight };
    }
    return true;
}

static bool set_apart(const struct api_call *call, const struct value *value, struct vip_spec *spec)
{
    spec->n_apart = 0;
    for (const struct value *item = value_first(value); item != NULL; item = item->next) {
        int vip = api_find_vip(call, value_as_string(item, ""));
        if (vip == SLOT_NONE) {
            return false;
        }
        if (spec->n_apart == APART_MAX) {
            (void)api_no(call, CONTROL_USAGE, NULL, "a VIP is kept apart from at most %d others", APART_MAX);
            return false;
        }
        spec->apart[spec->n_apart++] = (uint16_t)vip;
    }
    return true;
}

static bool set_require(const struct api_call *call, const struct value *value, struct vip_spec *spec)
{
    spec->checks = 0;
    for (const struct value *item = value_first(value); item != NULL; item = item->next) {
        int check = api_find_check(call, value_as_string(item, ""));
        if (check == SLOT_NONE) {
            return false;
        }
        spec->checks |= 1ull << check;
    }
    return true;
}

static bool set_reset(const struct api_call *call, const struct value *value, struct vip_spec *spec)
{
    spec->no_reset = !value_as_bool(value, true);
    return true;
}

static int find_point(const struct api_call *call, const char *name)
{
    const char *names[HOOK_POINTS_N];

    for (int i = 0; i < HOOK_POINTS_N; i++) {
        names[i] = hook_point_text((enum hook_point)i);
        if (strcmp(names[i], name) == 0) {
            return i;
        }
    }
    const char *near = near_name(name, names, HOOK_POINTS_N);
    return api_no(call, CONTROL_USAGE, "they are before-take, after-take, before-release and after-release",
                  "there is no hook \"%.100s\"%s%s%s", name, near != NULL ? "; did you mean \"" : "",
                  near != NULL ? near : "", near != NULL ? "\"?" : "");
}

/* {"after-take": {"run": "notify", "timeout_ms": 2000}} */
static bool set_hooks(const struct api_call *call, const struct value *value, struct vip_spec *spec)
{
    memset(spec->hooks, 0, sizeof spec->hooks);
    for (const struct value *item = value_first(value); item != NULL; item = item->next) {
        int point = find_point(call, item->key != NULL ? item->key : "");
        if (point == SLOT_NONE) {
            return false;
        }
        const char *program = value_as_string(value_get(item, "run"), "");
        uint64_t timeout_ms = value_as_uint(value_get(item, "timeout_ms"), HOOK_TIMEOUT_DEFAULT_MS);
        if (strlen(program) > HOOK_PROGRAM_MAX_LEN || !target_is_program(program)) {
            (void)api_no(call, CONTROL_USAGE, "it names a file in the nodes' hooks-dir: no path and no arguments",
                         "\"%.100s\" is not the name of a program: 1 to %d letters, digits, '.', '_' and '-'", program,
                         HOOK_PROGRAM_MAX_LEN);
            return false;
        }
        if (timeout_ms < HOOK_TIMEOUT_MIN_MS || timeout_ms > HOOK_TIMEOUT_MAX_MS) {
            (void)api_no(call, CONTROL_USAGE, NULL, "the timeout of hook %s is not 10ms to 60s", item->key);
            return false;
        }
        memcpy(spec->hooks[point].program, program, strlen(program));
        spec->hooks[point].timeout_ms = (uint32_t)timeout_ms;
    }
    return true;
}

static const struct attribute
{
    const char *key;
    enum vip_set bit;
    bool (*set)(const struct api_call *call, const struct value *value, struct vip_spec *spec);
} attributes[] = {
    { "name", VIP_SET_NAME, set_name },         { "dev", VIP_SET_DEV, set_dev },
    { "nodes", VIP_SET_NODES, set_nodes },      { "group", VIP_SET_GROUP, set_group },
    { "prefer", VIP_SET_PREFERS, set_prefer },  { "apart_from", VIP_SET_APART, set_apart },
    { "enabled", VIP_SET_ENABLED, set_enabled },
    { "require", VIP_SET_CHECKS, set_require },
    { "probe", VIP_SET_PROBE, set_probe },      { "conflict", VIP_SET_CONFLICT, set_conflict },
    { "hooks", VIP_SET_HOOKS, set_hooks },      { "reset_connections", VIP_SET_RESET, set_reset },
    { "failback_ms", VIP_SET_FAILBACK, set_failback },
};
#define ATTRIBUTES_N (sizeof attributes / sizeof attributes[0])

/* Reads the map of attributes into spec, `address` left out. */
bool api_vip_attributes(const struct api_call *call, const struct value *map, struct vip_spec *spec,
                           uint32_t *ret_set)
{
    uint32_t set = 0;

    for (const struct value *item = value_first(map); item != NULL; item = item->next) {
        const struct attribute *attribute = attributes;
        while (attribute < attributes + ATTRIBUTES_N && strcmp(attribute->key, item->key) != 0) {
            attribute++;
        }
        if (attribute == attributes + ATTRIBUTES_N) {
            if (strcmp(item->key, "address") == 0) {
                continue;
            }
            (void)api_no(call, CONTROL_USAGE, NULL, "a VIP has no attribute \"%.100s\"", item->key);
            return false;
        }
        if (!attribute->set(call, item, spec)) {
            return false;
        }
        set |= attribute->bit;
    }
    *ret_set = set;
    return true;
}

/* ----------------------------------------------------------------------------------------------------------- vip.add */

static bool set_address(const struct api_call *call, const char *text, struct vip_spec *spec)
{
    const struct table *table = call->view->table;

    if (prefix_parse(text, &spec->address, NULL) < 0) {
        (void)api_no(call, CONTROL_USAGE, "for example 10.0.0.50/24 or 2001:db8::50/64",
                     "\"%.100s\" is not an IPv4 or IPv6 address with an optional prefix length", text);
        return false;
    }
    if (!prefix_is_host(&spec->address)) {
        (void)api_no(call, CONTROL_USAGE, NULL, "%s is not an address that one host can be given", text);
        return false;
    }
    int owner = table_node_by_addr(table, &spec->address.addr);
    if (owner != SLOT_NONE) {
        (void)api_no(call, CONTROL_CONFLICT, "a VIP must be nobody's own: take it off that node's interface, or choose another one",
                     "%s is the own address of node %s", text, table->nodes[owner].name);
        return false;
    }
    int other = table_vip_by_addr(table, &spec->address.addr);
    if (other != SLOT_NONE) {
        (void)api_no(call, CONTROL_CONFLICT,
                     table->vips[other].deleted ? "try again in a moment; vipctl vip del --wait waits for it" : NULL,
                     table->vips[other].deleted ? "%s is still being released by VIP %s, which was deleted"
                                                : "%s is the address of VIP %s",
                     text, table->vips[other].name);
        call->reply->retry = table->vips[other].deleted;
        return false;
    }
    return true;
}

bool api_name_is_free(const struct api_call *call, const char *name, int self)
{
    const struct table *table = call->view->table;
    int other = name[0] == '\0' ? SLOT_NONE : table_vip_by_name(table, name);
    char text[ADDR_TEXT_MAX];

    if (other == SLOT_NONE || other == self) {
        return true;
    }
    (void)api_no(call, CONTROL_CONFLICT, NULL, "the name %s is in use by the VIP with the address %s", name,
                 addr_format(&table->vips[other].address.addr, text));
    return false;
}

/* The interface names of all nodes, for a near one; they stay the table's. */
static const char *near_dev(const struct table *table, const char *dev)
{
    const char *names[NODES_MAX * LINKS_MAX];
    size_t n = 0;

    for (int node = 0; node < NODES_MAX; node++) {
        for (int i = 0; table->nodes[node].used && i < table->nodes[node].n_links; i++) {
            names[n++] = table->nodes[node].links[i].name;
        }
    }
    return near_name(dev, names, n);
}

/* Whether some node that may own it has an interface for it, up or not. Unknown, and so true, as long as no node has
 * reported any. */
static bool has_place(const struct table *table, const struct vip_spec *spec)
{
    struct vip vip = { .address = spec->address, .nodes = spec->nodes };
    bool reported = false;

    memcpy(vip.dev, spec->dev, sizeof vip.dev);
    for (int node = 0; node < NODES_MAX; node++) {
        const struct node *at = &table->nodes[node];
        if (!at->used || at->witness || (spec->nodes != 0 && (spec->nodes >> node & 1) == 0)) {
            continue;
        }
        reported |= at->n_links > 0;
        if (table_link_for(table, node, &vip) != NULL) {
            return true;
        }
    }
    return !reported;
}

static bool place_is_there(const struct api_call *call, const struct vip_spec *spec)
{
    const struct table *table = call->view->table;
    const char *among = spec->nodes != 0 ? "of the given nodes " : "";
    char text[PREFIX_TEXT_MAX];

    if (call->request->force || has_place(table, spec)) {
        return true;
    }
    prefix_format(&spec->address, text);
    if (spec->dev[0] == '\0') {
        (void)api_no(call, CONTROL_UNSAFE, "name an interface with --dev, or --force does it nevertheless",
                     "no node %shas an interface whose network contains %s, so nobody could hold it", among, text);
        return false;
    }
    const char *near = near_dev(table, spec->dev);
    (void)api_no(call, CONTROL_UNSAFE, "--force does it nevertheless",
                 "no node %shas an interface \"%s\", so nobody could hold %s%s%s%s", among, spec->dev, text,
                 near != NULL ? "; did you mean \"" : "", near != NULL ? near : "", near != NULL ? "\"?" : "");
    return false;
}

bool api_vip_spec(const struct api_call *call, const struct value *item, struct vip_spec *spec)
{
    const char *address = value_as_string(value_get(item, "address"), NULL);
    uint32_t set;

    memset(spec, 0, sizeof *spec);
    spec->enabled = true;
    spec->pinned = SLOT_NONE;
    if (address == NULL) {
        (void)api_no(call, CONTROL_USAGE, NULL, "a VIP to be added has no address");
        return false;
    }
    return set_address(call, address, spec) && api_vip_attributes(call, item, spec, &set) &&
           api_name_is_free(call, spec->name, SLOT_NONE) && place_is_there(call, spec);
}
