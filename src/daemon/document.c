/* Happy path: read the bytes, let libyaml cut them into events, hang each event's node below the innermost open map or
 * list. A map alternates between keys and values: `key` holds the key whose value comes next.
 *
 * Failure modes: unreadable or too large a file; text that is not YAML (libyaml's words, at libyaml's place); what the
 * subset refuses; a limit. Each ends the reading with one message. Nothing recurses, so depth costs no stack. */

#include "daemon/document.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <yaml.h>

#define NAME_SHOWN_MAX 255 /* bytes of the file's name in a message: its end, the rest is for the message */

#define CHUNK_NODES 512

/* Nodes in pieces, so that a small file takes little and no node ever moves. */
struct chunk
{
    struct chunk *before;
    int n;
    struct document_node nodes[CHUNK_NODES];
};

struct document
{
    char name[NAME_SHOWN_MAX + 1];
    int n_nodes;
    struct document_node *root;
    struct chunk *chunks; /* the newest first */
};

/* A map or list that is not closed yet. */
struct open_node
{
    struct document_node *node;
    struct document_node *last; /* its last value */
    struct document_node *key;  /* of a map: the key that waits for its value */
};

struct reader
{
    struct document *document;
    char *error;
    int depth;
    struct open_node open[DOCUMENT_DEPTH_MAX];
    int n_documents;
    bool end;
    struct known_key *keys; /* of all maps so far: open addressing, `size` is a power of two */
    size_t n_keys, size;
};

/* A key, to find a second one of the same map: by comparing all of them, a map of thousands would take seconds. */
struct known_key
{
    const struct document_node *map, *key; /* NULL: free */
};

const char *document_kind_text(enum document_kind kind)
{
    switch (kind) {
    case DOCUMENT_SCALAR:
        return "a value";
    case DOCUMENT_LIST:
        return "a list";
    case DOCUMENT_MAP:
        return "a map";
    }
    return "nothing";
}

static void set_name(struct document *document, const char *name)
{
    size_t len = strlen(name);

    if (len <= NAME_SHOWN_MAX) {
        memcpy(document->name, name, len + 1);
    } else {
        snprintf(document->name, sizeof(document->name), "...%s", name + len - (NAME_SHOWN_MAX - 3));
    }
}

static void write_fault(const struct document *document, int line, int column, char *error, const char *format,
    va_list args) __attribute__((format(printf, 5, 0)));

static void write_fault(const struct document *document, int line, int column, char *error, const char *format,
    va_list args)
{
    int n = snprintf(error, DOCUMENT_ERROR_SIZE, "%s:%d:%d: ", document->name, line, column);

    vsnprintf(error + n, DOCUMENT_ERROR_SIZE - (size_t)n, format, args); /* the name leaves half of it, at least */
}

int document_fault(const struct document *document, const struct document_node *at, char error[DOCUMENT_ERROR_SIZE],
    const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_fault(document, at->line, at->column, error, format, args);
    va_end(args);
    return -EINVAL;
}

static int fault_at(struct reader *reader, int rv, const yaml_mark_t *mark, const char *format, ...) PRINTF(4, 5);

static int fault_at(struct reader *reader, int rv, const yaml_mark_t *mark, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_fault(reader->document, (int)mark->line + 1, (int)mark->column + 1, reader->error, format, args);
    va_end(args);
    return rv;
}

static int new_node(struct reader *reader, enum document_kind kind, const yaml_mark_t *mark, struct document_node **ret)
{
    struct document *document = reader->document;

    struct chunk *chunk = document->chunks;

    if (document->n_nodes == DOCUMENT_NODES_MAX) {
        return fault_at(reader, -EFBIG, mark, "more than %d keys and values", DOCUMENT_NODES_MAX);
    }
    if (chunk == NULL || chunk->n == CHUNK_NODES) {
        chunk = malloc(sizeof *chunk);
        if (chunk == NULL) {
            return fault_at(reader, -ENOMEM, mark, "out of memory");
        }
        chunk->n = 0;
        chunk->before = document->chunks;
        document->chunks = chunk;
    }
    struct document_node *node = &chunk->nodes[chunk->n++];
    document->n_nodes++;
    *node = (struct document_node){.kind = kind, .line = (int)mark->line + 1, .column = (int)mark->column + 1};
    *ret = node;
    return 0;
}

/* FNV-1a */
static size_t hash_key(const struct document_node *map, const char *text)
{
    uint64_t hash = 0xcbf29ce484222325 ^ (uintptr_t)map;

    for (; *text != '\0'; text++) {
        hash = (hash ^ (uint8_t)*text) * 0x100000001b3;
    }
    return (size_t)(hash ^ hash >> 32);
}

/* Where the key is, or would go. */
static struct known_key *find_known(struct known_key *keys, size_t size, const struct document_node *map, const char *text)
{
    size_t at = hash_key(map, text) & (size - 1);

    while (keys[at].key != NULL && (keys[at].map != map || strcmp(keys[at].key->text, text) != 0)) {
        at = (at + 1) & (size - 1);
    }
    return &keys[at];
}

/* Room for one more, at most half full. */
static bool grow_known(struct reader *reader)
{
    size_t size = reader->size == 0 ? 64 : reader->size * 2;
    struct known_key *keys;

    if (reader->n_keys * 2 < reader->size) {
        return true;
    }
    keys = calloc(size, sizeof *keys);
    if (keys == NULL) {
        return false;
    }
    for (size_t i = 0; i < reader->size; i++) {
        if (reader->keys[i].key != NULL) {
            *find_known(keys, size, reader->keys[i].map, reader->keys[i].key->text) = reader->keys[i];
        }
    }
    free(reader->keys);
    reader->keys = keys;
    reader->size = size;
    return true;
}

static int check_duplicate(struct reader *reader, const struct document_node *map, const struct document_node *key)
{
    struct known_key *known;

    if (!grow_known(reader)) {
        return fault_at(reader, -ENOMEM, &(yaml_mark_t){0}, "out of memory");
    }
    known = find_known(reader->keys, reader->size, map, key->text);
    if (known->key != NULL) {
        return document_fault(reader->document, key, reader->error, "duplicate key '%.64s', first given in line %d",
            key->text, known->key->line);
    }
    *known = (struct known_key){.map = map, .key = key};
    reader->n_keys++;
    return 0;
}

/* Hang a node below the innermost open one. */
static int attach(struct reader *reader, struct document_node *node)
{
    if (reader->depth == 0) {
        reader->document->root = node;
        return 0;
    }
    struct open_node *parent = &reader->open[reader->depth - 1];
    if (parent->node->kind == DOCUMENT_MAP && parent->key == NULL) {
        if (node->kind != DOCUMENT_SCALAR) {
            return document_fault(reader->document, node, reader->error, "expected a key, found %s",
                document_kind_text(node->kind));
        }
        parent->key = node;
        return check_duplicate(reader, parent->node, node);
    }
    node->key = parent->key;
    parent->key = NULL;
    if (parent->last == NULL) {
        parent->node->first = node;
    } else {
        parent->last->next = node;
    }
    parent->last = node;
    parent->node->n++;
    return 0;
}

static int check_anchor_and_tag(struct reader *reader, const yaml_mark_t *mark, const yaml_char_t *anchor,
    const yaml_char_t *tag)
{
    if (anchor != NULL) {
        return fault_at(reader, -EINVAL, mark, "anchors (&%.32s) are not supported: write the value out",
            (const char *)anchor);
    }
    if (tag != NULL) {
        return fault_at(reader, -EINVAL, mark, "tags (%.32s) are not supported: leave it out", (const char *)tag);
    }
    return 0;
}

static int open_container(struct reader *reader, enum document_kind kind, const yaml_mark_t *mark,
    const yaml_char_t *anchor, const yaml_char_t *tag)
{
    struct document_node *node = NULL;
    int rv = check_anchor_and_tag(reader, mark, anchor, tag);

    if (rv == 0 && reader->depth == DOCUMENT_DEPTH_MAX) {
        rv = fault_at(reader, -EFBIG, mark, "more than %d maps and lists within each other", DOCUMENT_DEPTH_MAX);
    }
    if (rv == 0) {
        rv = new_node(reader, kind, mark, &node);
    }
    if (rv == 0) {
        rv = attach(reader, node);
    }
    if (rv == 0) {
        reader->open[reader->depth++] = (struct open_node){.node = node};
    }
    return rv;
}

/* Control characters have no place in a name, an address or a path, and would garble messages: C0, DEL, and C1 and the
 * line separators, which are c2 80..9f and e2 80 a8..a9 in UTF-8. */
static bool has_control(const unsigned char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] < ' ' || text[i] == 0x7f) {
            return true;
        }
        if (i + 1 < len && text[i] == 0xc2 && text[i + 1] >= 0x80 && text[i + 1] <= 0x9f) {
            return true;
        }
        if (i + 2 < len && text[i] == 0xe2 && text[i + 1] == 0x80 && (text[i + 2] & 0xfe) == 0xa8) {
            return true;
        }
    }
    return false;
}

static int add_scalar(struct reader *reader, const yaml_event_t *event)
{
    const unsigned char *text = event->data.scalar.value;
    size_t len = event->data.scalar.length;
    const yaml_mark_t *mark = &event->start_mark;
    struct document_node *node = NULL;
    int rv = check_anchor_and_tag(reader, mark, event->data.scalar.anchor, event->data.scalar.tag);

    if (rv != 0) {
        return rv;
    }
    if (len > DOCUMENT_TEXT_MAX) {
        return fault_at(reader, -EFBIG, mark, "text longer than %d bytes", DOCUMENT_TEXT_MAX);
    }
    if (has_control(text, len)) {
        return fault_at(reader, -EINVAL, mark, "text with a control character or a line break");
    }
    rv = new_node(reader, DOCUMENT_SCALAR, mark, &node);
    if (rv != 0) {
        return rv;
    }
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    node->text = strdup((const char *)text);
    if (node->text == NULL) {
        return fault_at(reader, -ENOMEM, mark, "out of memory");
    }
    return attach(reader, node);
}

static int start_document(struct reader *reader, const yaml_event_t *event)
{
    if (reader->n_documents++ > 0) {
        return fault_at(reader, -EINVAL, &event->start_mark, "a second document: one file holds one");
    }
    if (event->data.document_start.tag_directives.start != event->data.document_start.tag_directives.end) {
        return fault_at(reader, -EINVAL, &event->start_mark, "tags (%%TAG) are not supported: leave it out");
    }
    return 0;
}

static int take_event(struct reader *reader, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return 0;
    case YAML_STREAM_END_EVENT:
        reader->end = true;
        return 0;
    case YAML_DOCUMENT_START_EVENT:
        return start_document(reader, event);
    case YAML_ALIAS_EVENT:
        return fault_at(reader, -EINVAL, &event->start_mark, "aliases (*%.32s) are not supported: write the value out",
            (const char *)event->data.alias.anchor);
    case YAML_SCALAR_EVENT:
        return add_scalar(reader, event);
    case YAML_SEQUENCE_START_EVENT:
        return open_container(reader, DOCUMENT_LIST, &event->start_mark, event->data.sequence_start.anchor,
            event->data.sequence_start.tag);
    case YAML_MAPPING_START_EVENT:
        return open_container(reader, DOCUMENT_MAP, &event->start_mark, event->data.mapping_start.anchor,
            event->data.mapping_start.tag);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        reader->depth--;
        return 0;
    }
    return 0;
}

/* Whether the line (from 0) holds [IPv6]:PORT without quotes, which YAML takes for a list with something behind it: a
 * mistake that every user of IPv6 makes once, and libyaml's words do not tell. */
static bool has_bare_ipv6(const char *bytes, size_t size, size_t line)
{
    const char *end = bytes + size;
    const char *c = bytes;

    for (; line > 0 && c < end; c++) {
        line -= *c == '\n';
    }
    for (bool quoted = false; c < end && *c != '\n'; c++) {
        quoted ^= *c == '"' || *c == '\'';
        if (*c != '[' || quoted) {
            continue;
        }
        size_t left = (size_t)(end - c) - 1, len = 0, colons = 0;
        for (; len < left && (isxdigit((unsigned char)c[1 + len]) || c[1 + len] == ':' || c[1 + len] == '.'); len++) {
            colons += c[1 + len] == ':';
        }
        if (colons >= 2 && left - len >= 2 && c[1 + len] == ']' && c[2 + len] == ':') {
            return true;
        }
    }
    return false;
}

/* An encoding error carries no mark, only a byte offset: its place is counted. */
static yaml_mark_t find_mark(const yaml_parser_t *parser, const char *bytes, size_t size)
{
    yaml_mark_t mark = {0};

    if (parser->error != YAML_READER_ERROR) {
        return parser->problem_mark;
    }
    for (size_t i = 0; i < parser->problem_offset && i < size; i++) {
        bool newline = bytes[i] == '\n';

        mark.line += newline;
        mark.column = newline ? 0 : mark.column + ((bytes[i] & 0xc0) != 0x80);
    }
    return mark;
}

/* libyaml's own complaint. */
static int not_yaml(struct reader *reader, const yaml_parser_t *parser, const char *bytes, size_t size)
{
    yaml_mark_t mark = find_mark(parser, bytes, size);
    const char *problem = parser->problem != NULL ? parser->problem : "unknown";
    const char *hint = has_bare_ipv6(bytes, size, mark.line)
                           ? "; an IPv6 endpoint needs quotes: \"[2001:db8::1]:7400\""
                           : "";

    if (parser->error == YAML_MEMORY_ERROR) {
        return fault_at(reader, -ENOMEM, &mark, "out of memory");
    }
    if (parser->context == NULL) {
        return fault_at(reader, -EINVAL, &mark, "not valid YAML: %s%s", problem, hint);
    }
    return fault_at(reader, -EINVAL, &mark, "not valid YAML: %s %s that begins at %d:%d%s", problem, parser->context,
        (int)parser->context_mark.line + 1, (int)parser->context_mark.column + 1, hint);
}

static int read_events(struct reader *reader, const void *bytes, size_t size)
{
    yaml_parser_t parser;
    yaml_event_t event;
    int rv = 0;

    if (!yaml_parser_initialize(&parser)) {
        return fault_at(reader, -ENOMEM, &(yaml_mark_t){0}, "out of memory");
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, bytes, size);
    while (rv == 0 && !reader->end) {
        if (!yaml_parser_parse(&parser, &event)) {
            rv = not_yaml(reader, &parser, bytes, size);
            break;
        }
        rv = take_event(reader, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return rv;
}

int document_parse(const char *name, const void *bytes, size_t size, struct document **ret,
    char error[DOCUMENT_ERROR_SIZE])
{
    struct document *document = calloc(1, sizeof(*document));
    struct reader reader = {.document = document, .error = error};
    int rv;

    if (document == NULL) {
        snprintf(error, DOCUMENT_ERROR_SIZE, "out of memory");
        return -ENOMEM;
    }
    set_name(document, name);
    if (size > DOCUMENT_SIZE_MAX) {
        rv = fault_at(&reader, -EFBIG, &(yaml_mark_t){0}, "larger than %d bytes", DOCUMENT_SIZE_MAX);
    } else {
        rv = read_events(&reader, bytes, size);
    }
    free(reader.keys);
    if (rv != 0) {
        document_free(document);
        return rv;
    }
    *ret = document;
    return 0;
}

/* Up to size bytes of the file at path; their number, or -errno. */
static ssize_t read_file(const char *path, char *ret, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t at = 0;
    ssize_t n = fd < 0 ? -1 : 1;

    while (fd >= 0 && n > 0 && at < size) {
        do {
            n = read(fd, ret + at, size - at);
        } while (n < 0 && errno == EINTR);
        at += n > 0 ? (size_t)n : 0;
    }
    int rv = n < 0 ? -errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    return rv != 0 ? rv : (ssize_t)at;
}

int document_load(const char *path, struct document **ret, char error[DOCUMENT_ERROR_SIZE])
{
    char *bytes = malloc(DOCUMENT_SIZE_MAX + 1);
    ssize_t n = bytes == NULL ? -ENOMEM : read_file(path, bytes, DOCUMENT_SIZE_MAX + 1);
    int rv;

    if (n < 0) {
        snprintf(error, DOCUMENT_ERROR_SIZE, "cannot read %.300s: %s", path, strerror((int)-n));
        rv = (int)n;
    } else {
        rv = document_parse(path, bytes, (size_t)n, ret, error);
    }
    free(bytes);
    return rv;
}

void document_free(struct document *document)
{
    if (document == NULL) {
        return;
    }
    for (struct chunk *chunk = document->chunks, *before; chunk != NULL; chunk = before) {
        for (int i = 0; i < chunk->n; i++) {
            free((void *)chunk->nodes[i].text); /* ours: only readers see it as const */
        }
        before = chunk->before;
        free(chunk);
    }
    free(document);
}

const struct document_node *document_root(const struct document *document)
{
    return document->root;
}
