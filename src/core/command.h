#ifndef VIPD_CORE_COMMAND_H
#define VIPD_CORE_COMMAND_H

/* The commands of the log, in decoded form. Each names the state that it was decided on (L0). Arrays belong to the
 * caller (wire/command.h decodes them into a scratch area); strings are NUL-terminated within their arrays. */

#include <stdbool.h>
#include <stdint.h>

#include "core/limits.h"
#include "core/table.h"

enum command_type
{
    COMMAND_FOUND = 1, /* founds the cluster: the first command of a log */
    COMMAND_FENCE,     /* fences one node, with the moves that follow (L1: one entry) */
    COMMAND_CLEAR,
    COMMAND_ADMIT,
    COMMAND_MOVE, /* one or more moves */
    COMMAND_VIP_ADD,
    COMMAND_VIP_SET,    /* enable, disable, change attributes other than the address */
    COMMAND_VIP_DELETE, /* a move to nobody; leaves a tombstone */
    COMMAND_VIP_PURGE,  /* forgets a settled tombstone */
    COMMAND_NODE_REPORT, /* what a node says of itself: identity, witness, version, links; ends `leaving` of an older run */
    COMMAND_DRAIN,       /* on or off */
    COMMAND_LEAVE,       /* a node is in orderly shutdown */
    COMMAND_SETTINGS,
    COMMAND_GROUP_SET, /* creates or replaces a group */
    COMMAND_CONFLICT,  /* begin or end of conflicts between a node's VIPs and foreign hosts */
    COMMAND_APPLY,     /* a cluster document, as a whole */
    COMMAND_NODE_ADD,
    COMMAND_NODE_SET,    /* address, role by hand */
    COMMAND_NODE_REMOVE, /* it is to be drained, demoted, cleared and deleted */
    COMMAND_NODE_DELETE, /* L5: a cleared one */
    COMMAND_VOTERS,      /* history is told of the voters that a Raft configuration changed */
    COMMAND_VOTING,
    COMMAND_CHECK_SET, /* creates or replaces a health check */
    COMMAND_CHECK_DELETE,
    COMMAND_HEALTH, /* what a node's checks say of it */
    COMMAND_MAINTENANCE, /* a rolling maintenance goes on */
    COMMAND_FORMAT, /* from here on the log may have what came with a newer format (core/format.h) */
#if VIPD_PRETEND_FORMAT
    COMMAND_MARK = 250, /* the command that a pretended next version has: leaves a text in the table */
#endif
};

struct move
{
    uint16_t vip;   /* slot */
    int8_t to;      /* node slot or SLOT_NONE */
    enum reason reason;
    uint64_t moved; /* the VIP's `moved` that it replaces (L0) */
};

struct found_node
{
    uint64_t id;
    char name[NAME_SIZE];
    struct endpoint at;
    enum node_role role;
};

/* What a node reports of one of its VIPs. */
struct conflict_item
{
    uint16_t vip;   /* slot */
    uint64_t moved; /* the move by which the node owns it (L0) */
    enum conflict_kind kind; /* CONFLICT_NONE: it is over */
    uint8_t mac[MAC_SIZE];
};

/* Attributes of a VIP as a user gives them. */
struct vip_spec
{
    char name[NAME_SIZE]; /* "" in COMMAND_VIP_ADD: the address as text becomes the name */
    struct prefix address;
    char dev[DEV_SIZE];
    uint64_t nodes;
    uint64_t checks; /* set of check slots */
    char group[NAME_SIZE]; /* "" = none; created when it does not exist */
    bool enabled;
    int8_t pinned; /* SLOT_NONE or a node slot */
    bool no_probe;
    bool yield;
    bool no_reset;
    struct hook hooks[HOOK_POINTS_N];
    uint32_t failback; /* 0 = the group's, or the setting's; else own_failback() */
    uint8_t n_prefers;
    uint8_t n_apart;
    struct prefer prefers[PREFERS_MAX];
    uint16_t apart[APART_MAX];
};

/* Which attributes a COMMAND_VIP_SET changes. */
enum vip_set
{
    VIP_SET_ENABLED = 1 << 0,
    VIP_SET_DEV = 1 << 1,
    VIP_SET_NODES = 1 << 2,
    VIP_SET_GROUP = 1 << 3,
    VIP_SET_PREFERS = 1 << 4,
    VIP_SET_APART = 1 << 5,
    VIP_SET_PINNED = 1 << 6,
    VIP_SET_NAME = 1 << 7,
    VIP_SET_PROBE = 1 << 8,
    VIP_SET_CONFLICT = 1 << 9,
    VIP_SET_CHECKS = 1 << 10,
    VIP_SET_HOOKS = 1 << 11, /* all four */
    VIP_SET_RESET = 1 << 12,
    VIP_SET_FAILBACK = 1 << 13,
    VIP_SET_LEN = 1 << 14, /* of the address; by COMMAND_APPLY only */
};
#define VIP_SET_ALL 0x7fffu

/* One VIP of a COMMAND_APPLY. */
struct vip_item
{
    uint16_t slot; /* free: it is added, and every attribute is given; else it is changed */
    uint32_t set;  /* enum vip_set */
    struct vip_spec spec;
};

/* One node of a COMMAND_APPLY. */
struct node_item
{
    int8_t node; /* slot */
    uint64_t id;
    uint16_t capacity;
};

/* One health check of a COMMAND_APPLY. */
struct check_item
{
    uint8_t slot; /* free: the check is made; else the check of that name is there, and is changed or deleted */
    bool gone;    /* deleted; then only the name counts */
    struct check_spec spec;
};

/* What a cluster document changes. Void as a whole. */
struct apply_command
{
    uint64_t revision; /* that it was decided on (L0) */
    char source[NAME_SIZE]; /* the document's name, to show */
    bool has_settings;
    struct settings settings;
    bool has_voting;
    struct voting voting;
    uint32_t n_checks;
    const struct check_item *checks; /* in the order of their slots, so that none is given twice */
    uint32_t n_vips;
    const struct vip_item *vips; /* in the order of their names, so that none is given twice */
    uint32_t n_deletes;
    const struct move *deletes; /* slot and `moved` (L0) */
    uint32_t n_groups;
    const struct group *groups; /* made or replaced; one without preferences and VIPs is forgotten */
    uint32_t n_nodes;
    const struct node_item *nodes;
    uint32_t kept_size;
    const char *kept; /* the document of the revision before, to go back to; size 0 = too long to be kept */
};

/* Which attributes a COMMAND_NODE_SET changes. */
enum node_set
{
    NODE_SET_AT = 1 << 0,
    NODE_SET_WISH = 1 << 1,
};

struct command
{
    enum command_type type;
    uint32_t format;  /* that it is written in; 0 = the first one. What is decoded has that which it was written in */
    int64_t at_ms;    /* proposer's wall clock, Unix: to show, never to decide */
    uint64_t request; /* random id of the client's request, 0 = the leader's own; remembered (DEDUP_MAX), so that a
                       * retry through a new leader is done once */
    char who[WHO_SIZE];
    union {
        struct
        {
            char cluster[NAME_SIZE];
            uint64_t cluster_id;
            struct timing timing;
            struct settings settings;
            uint8_t n_nodes;
            const struct found_node *nodes;
        } found;
        struct
        {
            int8_t node;
            uint64_t gen; /* the gen that it was decided on */
            uint32_t n_moves;
            const struct move *moves;
        } fence;
        struct /* clear, admit and delete */
        {
            int8_t node;
            uint64_t fence; /* the fence's (or addition's) index */
            uint64_t since; /* node.since that it was decided on */
        } node;
        struct
        {
            uint32_t n_moves;
            const struct move *moves;
        } move;
        struct
        {
            uint32_t n_vips;
            const struct vip_spec *vips; /* all or none */
        } vip_add;
        struct
        {
            uint16_t vip;
            char name[NAME_SIZE]; /* current name: guards against a reused slot */
            uint32_t set;         /* enum vip_set */
            struct vip_spec spec;
        } vip_set;
        struct /* delete and purge */
        {
            uint32_t n_vips;
            const struct move *vips; /* slot and the `moved` that it was decided on; purge: moved must match (L0);
                                      * delete: moved 0 = whatever it is now */
        } vip_del;
        struct
        {
            int8_t node;
            uint64_t id;
            uint64_t identity;
            uint64_t run;
            bool witness;
            uint8_t n_links;
            struct link links[LINKS_MAX];
            char version[VERSION_SIZE];
            uint32_t reads_first, reads_last; /* formats */
        } report;
        struct
        {
            int8_t node;
            uint64_t id;
            bool on;
        } drain;
        struct
        {
            int8_t node;
            uint64_t id;
            uint64_t run;
        } leave;
        struct settings settings;
        struct voting voting;
        struct
        {
            char name[NAME_SIZE];
            struct endpoint at;
        } node_add;
        struct
        {
            int8_t node;
            uint64_t id;
            uint32_t set; /* enum node_set */
            struct endpoint at;
            enum node_wish wish;
        } node_set;
        struct
        {
            int8_t node;
            uint64_t id;
        } node_remove;
        struct
        {
            uint64_t index; /* of the change */
        } voters;
        struct
        {
            uint32_t was; /* the format that it was decided on (L0) */
            uint32_t format;
        } upgrade;
#if VIPD_PRETEND_FORMAT
        char mark[NAME_SIZE];
#endif
        struct group group;
        struct apply_command apply;
        struct
        {
            int8_t node;
            uint64_t id;
            uint32_t n_items;
            const struct conflict_item *items;
        } conflict;
        struct /* set and delete; of delete only the name counts */
        {
            uint64_t changed; /* of the check that it replaces or deletes (L0); 0 = there is none */
            struct check_spec spec;
        } check;
        struct
        {
            int8_t node;
            uint64_t id;
            uint64_t checks;           /* the table's checks_index that the sets are about (L0) */
            uint64_t passing, failing; /* sets of checks; those in neither are not known */
        } health;
        struct maintenance_command maintenance;
    };
};

#endif
