#ifndef VIPD_DAEMON_CLUSTER_READ_PRIVATE_H
#define VIPD_DAEMON_CLUSTER_READ_PRIVATE_H

/* What the readers of the cluster's document share: cluster_read.c the whole and its plain values, the others a part each.
 * Each returns 0, or what config_refuse() does, after telling what is wrong at its place; then `ret` is as it was. */

#include "daemon/cluster_document.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define DURATION "a duration, like 200ms or 60s"

static inline struct cluster_reader *cluster_of(struct config_reader *reader)
{
    return (struct cluster_reader *)reader;
}

/* ------------------------------------------------------------------ plain values */

/* A whole number in min..max. */
NODISCARD int cluster_read_number(struct config_reader *reader, const struct document_node *value, uint32_t min, uint32_t max,
    uint32_t *ret);

/* Refuses what is a list or a map; `expected` says what should be there. */
NODISCARD int cluster_read_scalar(struct config_reader *reader, const struct document_node *value, const char *expected);

/* A name as VIPs, groups and checks have it (core/check.c); `what` has it. */
NODISCARD int cluster_read_name(struct config_reader *reader, const struct document_node *at, const char *what,
    char ret[NAME_SIZE]);

/* A duration that may be longer than those of the node's file: 10m, 2h, 1d, 3600s. What is longer than any is UINT32_MAX. */
NODISCARD int cluster_read_time(struct config_reader *reader, const struct document_node *value, uint32_t *ret_ms);

/* A duration up to max_ms, which is told as `max`. */
NODISCARD int cluster_read_duration(struct config_reader *reader, const struct document_node *value, uint32_t max_ms,
    const char *max, uint32_t *ret_ms);

/* One of two words: whether it is `yes`. */
NODISCARD int cluster_read_either(struct config_reader *reader, const struct document_node *value, const char *what,
    const char *no, const char *yes, bool *ret);

/* The slot of the node of that name, which may hold VIPs. */
NODISCARD int cluster_read_node(struct config_reader *reader, const struct document_node *at, int *ret);

/* ------------------------------------------------------------------ parts, for struct config_key */

int cluster_parse_settings(struct config_reader *reader, const struct document_node *value, void *field);
int cluster_parse_voters(struct config_reader *reader, const struct document_node *value, void *field);
int cluster_parse_nodes(struct config_reader *reader, const struct document_node *value, void *field);
int cluster_parse_checks(struct config_reader *reader, const struct document_node *value, void *field);
int cluster_parse_groups(struct config_reader *reader, const struct document_node *value, void *field);
int cluster_parse_vips(struct config_reader *reader, const struct document_node *value, void *field);

/* uint32_t; what a VIP or group says itself of its failback */
int cluster_parse_own_failback(struct config_reader *reader, const struct document_node *value, void *field);

#endif
