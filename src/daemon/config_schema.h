#ifndef VIPD_DAEMON_CONFIG_SCHEMA_H
#define VIPD_DAEMON_CONFIG_SCHEMA_H

/* The keys of the node's file as a table of data, and the parsers that it names. Private to config*.c and its tests. */

#include "daemon/config.h"
#include "daemon/document.h"

struct config_reader
{
    const struct document *document;
    char *error; /* CONFIG_ERROR_SIZE */
};

/* Judges `value` and writes what it says to `field`, a member of the struct that the table describes. 0, or a negative
 * errno with reader->error written. */
typedef int config_parser(struct config_reader *reader, const struct document_node *value, void *field);

#define CONFIG_SCALAR (1u << DOCUMENT_SCALAR)
#define CONFIG_LIST (1u << DOCUMENT_LIST)
#define CONFIG_MAP (1u << DOCUMENT_MAP)

struct config_key
{
    const char *name;
    unsigned kinds; /* set of CONFIG_SCALAR, CONFIG_LIST, CONFIG_MAP */
    bool required;
    config_parser *parse;
    size_t offset;       /* of the field that parse writes */
    const char *expects; /* completes "expected ..." */
    const char *help;    /* one sentence: what it is for */
};

#define CONFIG_KEYS_N 17
extern const struct config_key CONFIG_KEYS[CONFIG_KEYS_N]; /* fields of struct config */

#define CONFIG_TIMING_KEYS_N 5
extern const struct config_key CONFIG_TIMING_KEYS[CONFIG_TIMING_KEYS_N]; /* fields of struct timing */

/* Parse every value of `map` by its key's line in keys[n]; ret_values[i] = the value of keys[i], NULL where it is not
 * given. Refused: unknown keys, missing required ones, wrong kinds, and what the parsers refuse. */
NODISCARD int config_read_map(struct config_reader *reader, const struct document_node *map,
    const struct config_key keys[], int n, void *base, const struct document_node *ret_values[]);

/* "file:line:column: message" for the place of `at`; returns -EINVAL. */
int config_refuse(struct config_reader *reader, const struct document_node *at, const char *format, ...) PRINTF(3, 4);

/* Refuse a word that is none of words[n], with a near one where there is one; returns -EINVAL. */
int config_refuse_word(struct config_reader *reader, const struct document_node *at, const char *what,
    const char *const words[], int n);

/* Parsers; the comment names the type of *field. */
config_parser config_parse_name;       /* char[NAME_SIZE] */
config_parser config_parse_endpoint;   /* struct endpoint */
config_parser config_parse_path;       /* char[PATH_MAX] */
config_parser config_parse_control;    /* char[CONFIG_CONTROL_SIZE] */
config_parser config_parse_bool;       /* bool */
config_parser config_parse_duration;   /* uint32_t, in ms */
config_parser config_parse_interfaces; /* struct config, whole */
config_parser config_parse_peers;      /* struct config, whole */
config_parser config_parse_key_file;   /* struct config, whole */
config_parser config_parse_timing;     /* struct timing */
config_parser config_parse_fence;      /* enum config_fence */
config_parser config_parse_log;        /* enum log_level */
config_parser config_parse_join;       /* struct config, whole */

#endif
