#ifndef VIPD_DAEMON_DOCUMENT_H
#define VIPD_DAEMON_DOCUMENT_H

/* A YAML file (the node's own, or the cluster's document) as a tree whose every node knows where it stands, so that whoever judges it can point at it.
 *
 * The subset is the one that a person can read without knowing YAML: maps, lists, scalars, comments. Anchors, aliases,
 * merge keys, tags, several documents in a file, duplicate keys and control characters are refused. */

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define DOCUMENT_SIZE_MAX (1024 * 1024) /* bytes of a file */
#define DOCUMENT_DEPTH_MAX 8            /* maps and lists within each other */
#define DOCUMENT_NODES_MAX 262144       /* keys and values */
#define DOCUMENT_TEXT_MAX 4095          /* bytes of one key or value, without the NUL */
#define DOCUMENT_ERROR_SIZE 512         /* "file:line:column: message" */

enum document_kind
{
    DOCUMENT_SCALAR,
    DOCUMENT_LIST,
    DOCUMENT_MAP,
};

/* Owned by its document, as all that it points to. */
struct document_node
{
    enum document_kind kind;
    int line, column; /* of its first character, from 1; a column is a character, not a byte */
    bool quoted;      /* a scalar in quotes, or a block: text, never a number or a truth value */
    const char *text; /* a scalar's; valid UTF-8 without control characters; NULL for the others */
    const struct document_node *key; /* the scalar before the colon, of a value in a map; else NULL */
    const struct document_node *first; /* the first value in a list or map, in the order of the file */
    const struct document_node *next;  /* the next value of the same list or map */
    int n;                             /* how many are in the list or map */
};

struct document; /* opaque */

/* Read the file at path (document_load) or `size` bytes that are called name in messages (document_parse). 0 with a new
 * document in *ret, which the caller frees; else error says why, *ret untouched: -EINVAL (the text), -EFBIG (a limit
 * above), -ENOMEM, or what open(2) and read(2) return. */
NODISCARD int document_load(const char *path, struct document **ret, char error[DOCUMENT_ERROR_SIZE]);
NODISCARD int document_parse(const char *name, const void *bytes, size_t size, struct document **ret,
    char error[DOCUMENT_ERROR_SIZE]);
void document_free(struct document *document);

/* The outermost node; NULL for a file that holds nothing but blanks and comments. */
const struct document_node *document_root(const struct document *document);

/* Write "file:line:column: message" into error, for a node of the document, and return -EINVAL. */
int document_fault(const struct document *document, const struct document_node *at, char error[DOCUMENT_ERROR_SIZE],
    const char *format, ...) PRINTF(4, 5);

/* "a value", "a list", "a map": what stands there, for messages. */
const char *document_kind_text(enum document_kind kind);

#endif
