#ifndef VIPD_CORE_FORMAT_H
#define VIPD_CORE_FORMAT_H

/* Formats: one number for all that nodes of different versions have to understand of each other (docs/decisions/0027). The log
 * and its snapshots are written in the cluster's format, which the table has; what goes from one node to another, in
 * the highest that both read. A version that adds a command, or a field to one of these, takes the next number. */

/* A build that pretends to be of the next version; tests put it beside this one. */
#ifndef VIPD_PRETEND_FORMAT
#define VIPD_PRETEND_FORMAT 0
#endif

#define FORMAT_FIRST 1u /* what this version reads: never more than the last format of the version before it */
#define FORMAT_LAST (1u + VIPD_PRETEND_FORMAT)

#endif
