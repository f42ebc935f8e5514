#ifndef VIPD_CORE_LIMITS_H
#define VIPD_CORE_LIMITS_H

/* Everything that a peer or a user can grow has a limit; docs/limits.md states them for users. The
 * simulator (tests/sim) builds with smaller ones, so that a cluster is cheap to restart. */

#define NAME_MAX_LEN 63         /* bytes of a node's, VIP's, group's or cluster's name, without the NUL */
#define NAME_SIZE (NAME_MAX_LEN + 1)
#define DEV_SIZE 16             /* IFNAMSIZ */
#ifndef NODES_MAX
#define NODES_MAX 64            /* slots of nodes; a node set is one uint64_t */
#endif
#define VOTERS_MAX 7
#define FORMER_MAX 8            /* recoveries of a cluster that it remembers, a ring */
#define VOTER_REPLACE_MS 60000 /* at the founding: a voter lost for so long is replaced */
#ifndef VIPS_MAX
#define VIPS_MAX 16384
#endif
#define GROUPS_MAX 256
#define PREFERS_MAX 8           /* weighted preferences of one VIP or group */
#define APART_MAX 8             /* apart-from references of one VIP */
#define LINKS_MAX 16            /* interfaces that one node reports */
#define LINK_PREFIXES_MAX 8     /* own addresses of one reported interface, one of each subnet first */
#ifndef HISTORY_MAX
#define HISTORY_MAX 8192        /* entries of the replicated history, a ring */
#endif
#ifndef KEPT_MAX
#define KEPT_MAX 8              /* documents of earlier revisions, a ring */
#endif
#ifndef KEPT_BYTES_MAX
#define KEPT_BYTES_MAX 65536    /* bytes of each */
#endif
#define DEDUP_MAX 256           /* request ids remembered, a ring */
#define CHECKS_MAX 64           /* health checks; a set of checks is one uint64_t */
#define CHECK_TARGET_MAX_LEN 255 /* bytes of what a check looks at */
#define CHECK_TARGET_SIZE (CHECK_TARGET_MAX_LEN + 1)
#define HOOK_PROGRAM_MAX_LEN 31 /* bytes of the name of a hook's program */
#define HOOK_PROGRAM_SIZE (HOOK_PROGRAM_MAX_LEN + 1)
#define HOOK_TIMEOUT_MIN_MS 10
#define HOOK_TIMEOUT_MAX_MS 60000
#define HOOK_TIMEOUT_DEFAULT_MS 2000
#define MAC_SIZE 6              /* bytes of an Ethernet address */
#define CONFLICTS_MAX 32        /* changed conflicts of one report and entry; the others follow in the next */
#define WHO_SIZE 32             /* who asked: "uid 0 on a" */
#define MAINTENANCE_WORDS_MAX 1024 /* bytes of a maintenance's command, each word with its NUL */
#define MAINTENANCE_TAIL_SIZE 512  /* of the end of its output that is kept, with the NUL */
#define MAINTENANCE_WHY_SIZE 192   /* of the sentence that says why it stopped, with the NUL */

#define VERSION_SIZE 32

#define SLOT_NONE (-1)

#endif
