/* The node's file: its keys as a table, and what must hold between them. */

#include "daemon/config_schema.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/near.h"

_Static_assert(CONFIG_ERROR_SIZE == DOCUMENT_ERROR_SIZE, "an error of the document is an error of the configuration");

#define CONTROL_DEFAULT "/run/vipd/control.sock"
#define CONTROL_GROUP_DEFAULT "vipd"
#define ADMIN_GROUP_DEFAULT "vipd-admin"
#define CHECKS_DIR_DEFAULT "/etc/vipd/checks.d"
#define HOOKS_DIR_DEFAULT "/etc/vipd/hooks.d"
#define WORDS_SIZE 176 /* of a list of words in a message; a longer list is cut */

enum config_key_index
{
    CLUSTER,
    NODE,
    LISTEN,
    DATA,
    KEY_FILE,
    PEERS,
    INTERFACES,
    CONTROL,
    CONTROL_GROUP,
    ADMIN_GROUP,
    CHECKS_DIR,
    HOOKS_DIR,
    WITNESS,
    TIMING,
    FENCE,
    LOG,
    JOIN,
};

#define FIELD(field) offsetof(struct config, field)
#define WHOLE 0 /* the parser writes more than one field of struct config */

const struct config_key CONFIG_KEYS[CONFIG_KEYS_N] = {
    [CLUSTER] = {"cluster", CONFIG_SCALAR, true, config_parse_name, FIELD(cluster), "a name",
        "the cluster's name; nodes of another cluster are refused"},
    [NODE] = {"node", CONFIG_SCALAR, true, config_parse_name, FIELD(node), "a name",
        "this node's name: one of peers, or as it was added"},
    [LISTEN] = {"listen", CONFIG_SCALAR, true, config_parse_endpoint, FIELD(listen),
        "ADDRESS:PORT, like 10.1.0.1:7400 or \"[2001:db8::1]:7400\"",
        "where this node listens, TCP and UDP; its own line in peers says the same"},
    [DATA] = {"data", CONFIG_SCALAR, true, config_parse_path, FIELD(data), "an absolute path",
        "the directory that keeps the log and the node's identity"},
    [KEY_FILE] = {"key-file", CONFIG_SCALAR, false, config_parse_key_file, WHOLE, "an absolute path",
        "the cluster's key or two, made by vipctl keygen, mode 0600"},
    [PEERS] = {"peers", CONFIG_MAP, false, config_parse_peers, WHOLE, "a map of node names to ADDRESS:PORT",
        "the founding voters, used at the first start only"},
    [INTERFACES] = {"interfaces", CONFIG_LIST, false, config_parse_interfaces, WHOLE, "a list, like [eth0, eth1]",
        "the interfaces that may carry VIPs; default: any whose subnet contains the VIP"},
    [CONTROL] = {"control", CONFIG_SCALAR, false, config_parse_control, FIELD(control), "an absolute path",
        "the socket that vipctl talks to"},
    [CONTROL_GROUP] = {"control-group", CONFIG_SCALAR, false, config_parse_name, FIELD(control_group),
        "the name or number of a group", "the group whose members may read (vipctl status); default vipd"},
    [ADMIN_GROUP] = {"admin-group", CONFIG_SCALAR, false, config_parse_name, FIELD(admin_group),
        "the name or number of a group", "the group whose members may change; default vipd-admin"},
    [CHECKS_DIR] = {"checks-dir", CONFIG_SCALAR, false, config_parse_path, FIELD(checks_dir), "an absolute path",
        "the directory of the programs that exec checks may run"},
    [HOOKS_DIR] = {"hooks-dir", CONFIG_SCALAR, false, config_parse_path, FIELD(hooks_dir), "an absolute path",
        "the directory of the programs that hooks may run"},
    [WITNESS] = {"witness", CONFIG_SCALAR, false, config_parse_bool, FIELD(witness), "true or false",
        "whether this node only votes and never holds a VIP"},
    [TIMING] = {"timing", CONFIG_SCALAR | CONFIG_MAP, false, config_parse_timing, FIELD(timing),
        "fast, default, wan or a map of durations", "the cluster's timing, fixed at its founding"},
    [FENCE] = {"fence", CONFIG_SCALAR, false, config_parse_fence, FIELD(fence), "kernel or addresses",
        "what ends the lease when the daemon cannot"},
    [LOG] = {"log", CONFIG_SCALAR, false, config_parse_log, FIELD(log), "error, warn, note, info or trace",
        "the least important messages that are written"},
    [JOIN] = {"join", CONFIG_LIST, false, config_parse_join, WHOLE, "a list of members' ADDRESS:PORT, like [10.1.0.1:7400]",
        "members of the running cluster that this node was added to; instead of peers"},
};

int config_refuse(struct config_reader *reader, const struct document_node *at, const char *format, ...)
{
    char message[CONFIG_ERROR_SIZE];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    return document_fault(reader->document, at, reader->error, "%s", message);
}

/* "a, b, c" */
static void join_words(const char *const words[], int n, char ret[WORDS_SIZE])
{
    size_t at = 0;

    ret[0] = '\0';
    for (int i = 0; i < n && at < WORDS_SIZE; i++) {
        at += (size_t)snprintf(ret + at, WORDS_SIZE - at, "%s%s", i > 0 ? ", " : "", words[i]);
    }
}

int config_refuse_word(struct config_reader *reader, const struct document_node *at, const char *what,
    const char *const words[], int n)
{
    const char *near = near_name(at->text, words, (size_t)n);
    char known[WORDS_SIZE];

    join_words(words, n, known);
    return config_refuse(reader, at, "'%.40s' is not %s: expected one of %s%s%s%s", at->text, what, known,
        near != NULL ? "; did you mean '" : "", near != NULL ? near : "", near != NULL ? "'?" : "");
}

static int find_key(const struct config_key keys[], int n, const char *name)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(keys[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

static int refuse_key(struct config_reader *reader, const struct document_node *at, const struct config_key keys[],
    int n)
{
    const char *names[CONFIG_KEYS_N + CONFIG_TIMING_KEYS_N];
    int n_names = 0;

    for (int i = 0; i < n; i++) {
        names[n_names++] = keys[i].name;
    }
    return config_refuse_word(reader, at, "a key", names, n_names);
}

/* `key:` with nothing behind it, which YAML calls null. */
static bool is_nothing(const struct document_node *value)
{
    return value->kind == DOCUMENT_SCALAR && !value->quoted &&
           (value->text[0] == '\0' || strcmp(value->text, "~") == 0 || strcmp(value->text, "null") == 0);
}

static int read_value(struct config_reader *reader, const struct document_node *value, const struct config_key *key,
    void *base)
{
    if (is_nothing(value)) {
        return config_refuse(reader, value->key, "'%s' has no value: expected %s", key->name, key->expects);
    }
    if ((key->kinds & (1u << value->kind)) == 0) {
        return config_refuse(reader, value, "'%s' is %s: expected %s", key->name, document_kind_text(value->kind),
            key->expects);
    }
    return key->parse(reader, value, (char *)base + key->offset);
}

int config_read_map(struct config_reader *reader, const struct document_node *map, const struct config_key keys[],
    int n, void *base, const struct document_node *ret_values[])
{
    memset(ret_values, 0, (size_t)n * sizeof(ret_values[0]));
    for (const struct document_node *value = map->first; value != NULL; value = value->next) {
        int i = find_key(keys, n, value->key->text);
        int rv = i < 0 ? refuse_key(reader, value->key, keys, n) : read_value(reader, value, &keys[i], base);

        if (rv != 0) {
            return rv;
        }
        ret_values[i] = value;
    }
    for (int i = 0; i < n; i++) {
        if (keys[i].required && ret_values[i] == NULL) {
            return config_refuse(reader, map, "key '%s' is missing: expected %s, %s", keys[i].name, keys[i].expects,
                keys[i].help);
        }
    }
    return 0;
}

static const struct config_peer *find_peer(const struct config *config, const char *name)
{
    for (int i = 0; i < config->n_peers; i++) {
        if (strcmp(config->peers[i].name, name) == 0) {
            return &config->peers[i];
        }
    }
    return NULL;
}

/* This node is one of the founding nodes, under the endpoint that it listens on: else the others would look for it
 * where it is not. */
static int check_self(struct config_reader *reader, const struct config *config, const struct document_node *root,
    const struct document_node *const values[CONFIG_KEYS_N])
{
    if (values[PEERS] != NULL && values[JOIN] != NULL) {
        return config_refuse(reader, values[JOIN], "'join' and 'peers': expected one of them, peers on the founding "
            "nodes, join on a node that was added to a running cluster");
    }
    if (values[PEERS] == NULL && values[JOIN] == NULL) {
        return config_refuse(reader, root, "key 'peers' is missing: expected a map of node names to ADDRESS:PORT, the "
            "founding voters; or 'join', on a node that was added to a running cluster");
    }
    if (values[JOIN] != NULL) {
        return 0;
    }
    const struct config_peer *self = find_peer(config, config->node);
    char listen[ENDPOINT_TEXT_MAX], peer[ENDPOINT_TEXT_MAX];

    if (self == NULL) {
        const char *names[NODES_MAX];

        for (int i = 0; i < config->n_peers; i++) {
            names[i] = config->peers[i].name;
        }
        return config_refuse_word(reader, values[NODE], "one of peers", names, config->n_peers);
    }
    if (memcmp(&self->at, &config->listen, sizeof(self->at)) != 0) {
        return config_refuse(reader, values[LISTEN], "this node listens on %s, but peers has '%s' at %s: expected the "
            "same", endpoint_format(&config->listen, listen), config->node, endpoint_format(&self->at, peer));
    }
    return 0;
}

static int read_config(struct config_reader *reader, struct config *config)
{
    const struct document_node *root = document_root(reader->document);
    const struct document_node *values[CONFIG_KEYS_N];
    int rv;

    config->timing = *config_profile("default");
    config->fence = CONFIG_FENCE_KERNEL;
    config->log = LOG_NOTE;
    memcpy(config->control, CONTROL_DEFAULT, sizeof(CONTROL_DEFAULT));
    memcpy(config->control_group, CONTROL_GROUP_DEFAULT, sizeof(CONTROL_GROUP_DEFAULT));
    memcpy(config->admin_group, ADMIN_GROUP_DEFAULT, sizeof(ADMIN_GROUP_DEFAULT));
    memcpy(config->checks_dir, CHECKS_DIR_DEFAULT, sizeof(CHECKS_DIR_DEFAULT));
    memcpy(config->hooks_dir, HOOKS_DIR_DEFAULT, sizeof(HOOKS_DIR_DEFAULT));
    if (root == NULL || root->kind != DOCUMENT_MAP) {
        struct document_node start = {.line = 1, .column = 1};

        return config_refuse(reader, root != NULL ? root : &start, "expected keys and values, like 'cluster: prod', "
            "found %s", root != NULL ? document_kind_text(root->kind) : "nothing");
    }
    rv = config_read_map(reader, root, CONFIG_KEYS, CONFIG_KEYS_N, config, values);
    return rv != 0 ? rv : check_self(reader, config, root, values);
}

/* Takes the document over. */
static int judge(struct document *document, struct config *ret, char *error)
{
    struct config_reader reader = {.document = document, .error = error};
    struct config config = {0};
    int rv = read_config(&reader, &config);

    document_free(document);
    if (rv == 0) {
        *ret = config;
    }
    explicit_bzero(&config.keys, sizeof(config.keys));
    return rv;
}

int config_load(const char *path, struct config *ret, char error[CONFIG_ERROR_SIZE])
{
    struct document *document;
    int rv = document_load(path, &document, error);

    return rv != 0 ? rv : judge(document, ret, error);
}

int config_parse(const char *name, const void *bytes, size_t size, struct config *ret, char error[CONFIG_ERROR_SIZE])
{
    struct document *document;
    int rv = document_parse(name, bytes, size, &document, error);

    return rv != 0 ? rv : judge(document, ret, error);
}

static uint64_t fnv(uint64_t hash, const void *bytes, size_t size)
{
    const uint8_t *b = bytes;

    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ b[i]) * 0x100000001b3;
    }
    return hash;
}

static uint64_t fnv_number(uint64_t hash, uint32_t number)
{
    uint8_t bytes[4] = {(uint8_t)number, (uint8_t)(number >> 8), (uint8_t)(number >> 16), (uint8_t)(number >> 24)};

    return fnv(hash, bytes, sizeof(bytes));
}

uint64_t config_founding_digest(const struct config *config)
{
    const struct timing *t = &config->timing;
    uint64_t hash = 0xcbf29ce484222325;
    char text[ENDPOINT_TEXT_MAX];

    hash = fnv(hash, config->cluster, strlen(config->cluster) + 1);
    for (int i = 0; i < config->n_peers; i++) {
        const struct config_peer *peer = &config->peers[i];

        hash = fnv(hash, peer->name, strlen(peer->name) + 1);
        endpoint_format(&peer->at, text);
        hash = fnv(hash, text, strlen(text) + 1);
    }
    hash = fnv_number(hash, t->interval_ms);
    hash = fnv_number(hash, t->suspect_ms);
    hash = fnv_number(hash, t->promise_ms);
    hash = fnv_number(hash, t->margin_ms);
    return fnv_number(hash, t->election_ms);
}
