#ifndef VIPD_DAEMON_CLUSTER_DOCUMENT_H
#define VIPD_DAEMON_CLUSTER_DOCUMENT_H

/* The cluster's document (docs/cluster-document.md): read from YAML into what the table shall say, compared with what it
 * says, written from it. A key is one line in the tables of cluster_read.c, and, for what a VIP has, one in
 * cluster_write.c.
 *
 * Files: cluster_read.c the keys; cluster_judge.c slots, and what the nodes can honour; cluster_write.c texts. */

#include "core/command.h"
#include "core/table.h"
#include "daemon/config_schema.h"
#include "wire/control.h"

struct wanted_vip
{
    struct vip_item item; /* cluster_judge() settles slot and set */
    const struct document_node *at; /* its map; ->key is its name */
};

struct wanted_group
{
    struct group group;
    const struct document_node *at;
};

struct wanted_check
{
    struct check_spec spec;
    const struct document_node *at; /* its map; NULL: the slot has none in the document */
};

/* What a document says. Sections that it does not have stay as they are. Large: the caller allocates it once. */
struct cluster_document
{
    bool has_settings, has_voters, has_nodes, has_checks, has_groups, has_vips;
    uint16_t capacities[NODES_MAX]; /* by slot, 0 = the default */
    struct settings settings;
    struct voting voting;
    struct wanted_check checks[CHECKS_MAX]; /* by the slot that the check has or gets */
    int n_groups;
    struct wanted_group groups[GROUPS_MAX];
    uint32_t n_vips;
    struct wanted_vip vips[VIPS_MAX]; /* in the order of their names once read */
    uint16_t by_slot[VIPS_MAX]; /* index into vips of the VIP that has or gets the slot */
    /* by cluster_judge(): what is to be changed */
    uint32_t n_items, n_deletes;
    struct vip_item items[VIPS_MAX]; /* in the order of their names, as COMMAND_APPLY wants them */
    struct move deletes[VIPS_MAX];
    int n_changed_groups;
    struct group changed_groups[GROUPS_MAX];
    uint32_t n_changed_nodes;
    struct node_item changed_nodes[NODES_MAX];
    uint32_t n_changed_checks;
    struct check_item changed_checks[CHECKS_MAX]; /* in the order of their slots, as COMMAND_APPLY wants them */
    bool settings_change, voting_change;
};

struct cluster_reader
{
    struct config_reader config; /* first: the parsers get this one */
    const struct table *table;
    struct cluster_document *into;
    bool force;
    enum control_code code; /* of the refusal; CONTROL_USAGE for what is wrong in itself */
    const char *hint;       /* static, or NULL */
    bool retry;             /* it may soon be right */
};

/* Both: 0, or a negative errno with the message in config.error, its code and hint. */
NODISCARD int cluster_read(struct cluster_reader *reader);
NODISCARD int cluster_judge(struct cluster_reader *reader);

/* Whether anything is to be changed; and as the part of a COMMAND_APPLY that the judgement makes. */
bool cluster_changes(const struct cluster_document *document);
struct apply_command cluster_command(const struct table *table, const struct cluster_document *document);

/* The value of a key of a VIP or group as it stands in the document, or the map itself. */
const struct document_node *cluster_place(const struct document_node *map, const char *key);

/* ------------------------------------------------------------------ as text (cluster_write.c) */

/* A growing text; what does not fit is counted, and not written. */
struct cluster_text
{
    char *bytes;
    size_t size, used;
};

#define CLUSTER_ATTRIBUTES_N 13 /* of a VIP, its address aside */
#define CLUSTER_VALUE_SIZE 4608 /* of one attribute's text */

struct cluster_attribute
{
    const char *key; /* in the document */
    enum vip_set bit;
};
extern const struct cluster_attribute CLUSTER_ATTRIBUTES[CLUSTER_ATTRIBUTES_N];

/* What the table says of a VIP, as a document would. */
void cluster_spec(const struct table *table, int slot, struct vip_spec *ret);
/* Attributes in which two VIPs differ (enum vip_set); names of groups and sets count, not their order. */
uint32_t cluster_differ(const struct vip_spec *a, const struct vip_spec *b);
/* The names that VIPs and checks have in the table, or, where a document is given, by that. */
const char *cluster_vip_name(const struct table *table, const struct cluster_document *document, int slot);
const char *cluster_check_name(const struct table *table, const struct cluster_document *document, int slot);
/* The attribute's value as in a document, "" for the default; `document`: whose names it has, or NULL. */
void cluster_value(const struct table *table, const struct cluster_document *document, const struct vip_spec *spec,
    enum vip_set bit, char ret[CLUSTER_VALUE_SIZE]);

/* The whole of the table as a document; returns the bytes that it takes, also when that is more than text->size. */
size_t cluster_write(const struct table *table, struct cluster_text *text);

/* Settings by number, as texts of a document: "announce.count", "5". */
#define CLUSTER_SETTINGS_N 8
#define CLUSTER_SETTING_FAILBACK 3
#define CLUSTER_SETTING_SIZE 32
extern const char *const CLUSTER_SETTINGS[CLUSTER_SETTINGS_N];
void cluster_setting(const struct settings *settings, int i, char ret[CLUSTER_SETTING_SIZE]);

/* What a check says, attribute by attribute, as in a document: its key, and its value, "" for the default. */
#define CLUSTER_CHECK_ATTRIBUTES_N (CHECK_KINDS_N + 7)
const char *cluster_check_key(int i);
void cluster_check_value(const struct check_spec *spec, int i, char ret[CLUSTER_VALUE_SIZE]);

/* "never", "auto", "after 10m"; of a VIP or group "" where it is not given */
void cluster_failback(uint32_t failback_ms, char ret[CLUSTER_SETTING_SIZE]);
void cluster_own_failback(uint32_t failback, char ret[CLUSTER_SETTING_SIZE]);

/* {a: 100, b: 50} */
void cluster_prefers(const struct table *table, const struct prefer *prefers, unsigned n, char ret[CLUSTER_VALUE_SIZE]);
/* [haproxy, disk] */
void cluster_checks(const struct table *table, const struct cluster_document *document, uint64_t checks,
    char ret[CLUSTER_VALUE_SIZE]);
/* {after-take: {run: notify, timeout: 5s}}; a hook with the default timeout is its name alone */
void cluster_hooks(const struct hook hooks[HOOK_POINTS_N], char ret[CLUSTER_VALUE_SIZE]);
/* "200ms", "60s", "10m" */
void cluster_duration(uint32_t ms, char ret[16]);

#endif
