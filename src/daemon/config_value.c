/* The values of the node's file: names, endpoints, paths, words, and lists and maps of them. */

#include "daemon/config_schema.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/near.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static bool is_name(const char *text)
{
    size_t len = strlen(text);

    if (len == 0 || len > NAME_MAX_LEN || !isalnum((unsigned char)text[0])) {
        return false;
    }
    return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == len;
}

static int check_name(struct config_reader *reader, const struct document_node *at)
{
    if (is_name(at->text)) {
        return 0;
    }
    return config_refuse(reader, at,
        "'%.70s' is not a name: expected 1 to %d letters, digits, '.', '_' and '-', the first a letter or digit",
        at->text, NAME_MAX_LEN);
}

int config_parse_name(struct config_reader *reader, const struct document_node *value, void *field)
{
    int rv = check_name(reader, value);

    if (rv == 0) {
        memcpy(field, value->text, strlen(value->text) + 1);
    }
    return rv;
}

static bool is_loopback(const struct addr *addr)
{
    struct addr loopback6 = {.family = 6, .bytes = {[15] = 1}};

    return (addr->family == 4 && addr->bytes[0] == 127) || addr_equal(addr, &loopback6);
}

int config_parse_endpoint(struct config_reader *reader, const struct document_node *value, void *field)
{
    struct endpoint endpoint;
    struct addr addr;

    if (endpoint_parse(value->text, &endpoint) != 0) {
        if (addr_parse(value->text, &addr) == 0) {
            return config_refuse(reader, value, addr.family == 6 ? "'%.60s' lacks a port: expected \"[%.60s]:PORT\""
                                                               : "'%.60s' lacks a port: expected %.60s:PORT",
                value->text, value->text);
        }
        return config_refuse(reader, value,
            "'%.60s' is not an endpoint: expected ADDRESS:PORT, like 10.1.0.1:7400 or \"[2001:db8::1]:7400\"",
            value->text);
    }
    /* Loopback serves clusters on one host, for trying out. */
    if (!addr_is_unicast(&endpoint.addr) && !is_loopback(&endpoint.addr)) {
        return config_refuse(reader, value,
            "'%.60s' is not an address that other nodes can reach: expected one of this node's own, neither "
            "unspecified, multicast, broadcast nor link-local",
            value->text);
    }
    memcpy(field, &endpoint, sizeof(endpoint)); /* with its zeroed padding */
    return 0;
}

static int check_path(struct config_reader *reader, const struct document_node *value, size_t max_len)
{
    size_t len = strlen(value->text);

    if (value->text[0] != '/') {
        return config_refuse(reader, value, "'%.60s' is not an absolute path: expected it to begin with '/'",
            value->text);
    }
    if (len > max_len) {
        return config_refuse(reader, value, "a path of %zu bytes: expected at most %zu", len, max_len);
    }
    return 0;
}

int config_parse_path(struct config_reader *reader, const struct document_node *value, void *field)
{
    int rv = check_path(reader, value, CONFIG_PATH_MAX);

    if (rv == 0) {
        memcpy(field, value->text, strlen(value->text) + 1);
    }
    return rv;
}

int config_parse_control(struct config_reader *reader, const struct document_node *value, void *field)
{
    int rv = check_path(reader, value, CONFIG_CONTROL_SIZE - 1); /* the kernel's limit for a socket's path */

    if (rv == 0) {
        memcpy(field, value->text, strlen(value->text) + 1);
    }
    return rv;
}

int config_parse_bool(struct config_reader *reader, const struct document_node *value, void *field)
{
    bool yes = !value->quoted && strcmp(value->text, "true") == 0;

    if (!yes && (value->quoted || strcmp(value->text, "false") != 0)) {
        return config_refuse(reader, value, "expected true or false, found '%.40s'%s", value->text,
            value->quoted ? " in quotes" : "");
    }
    memcpy(field, &yes, sizeof(yes));
    return 0;
}

static int find_word(const char *word, const char *const words[], int n)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(words[i], word) == 0) {
            return i;
        }
    }
    return -1;
}

int config_parse_fence(struct config_reader *reader, const struct document_node *value, void *field)
{
    static const char *const words[] = {
        [CONFIG_FENCE_KERNEL] = "kernel",
        [CONFIG_FENCE_ADDRESSES] = "addresses",
    };
    int found = find_word(value->text, words, COUNT(words));

    if (found < 0) {
        return config_refuse_word(reader, value, "a fence", words, COUNT(words));
    }
    *(enum config_fence *)field = (enum config_fence)found;
    return 0;
}

int config_parse_log(struct config_reader *reader, const struct document_node *value, void *field)
{
    static const char *const words[] = {"error", "warn", "note", "info", "trace"};
    int found = find_word(value->text, words, COUNT(words));

    if (found < 0) {
        return config_refuse_word(reader, value, "a log level", words, COUNT(words));
    }
    *(enum log_level *)field = (enum log_level)(LOG_ERROR + found);
    return 0;
}

int config_parse_join(struct config_reader *reader, const struct document_node *value, void *field)
{
    struct config *config = field;

    if (value->n == 0 || value->n > CONFIG_JOIN_MAX) {
        return config_refuse(reader, value, "%d addresses: expected those of 1 to %d members", value->n, CONFIG_JOIN_MAX);
    }
    for (const struct document_node *item = value->first; item != NULL; item = item->next) {
        if (item->kind != DOCUMENT_SCALAR) {
            return config_refuse(reader, item, "expected a member's ADDRESS:PORT, found %s", document_kind_text(item->kind));
        }
        int rv = config_parse_endpoint(reader, item, &config->join[config->n_join]);
        if (rv != 0) {
            return rv;
        }
        config->n_join++;
    }
    return 0;
}

/* What the kernel takes for a device's name, except ':' which it keeps for aliases. */
static bool is_interface(const char *text)
{
    size_t len = strlen(text);

    if (len == 0 || len >= DEV_SIZE || strcmp(text, ".") == 0 || strcmp(text, "..") == 0) {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text == '/' || *text == ':' || isspace((unsigned char)*text)) {
            return false;
        }
    }
    return true;
}

int config_parse_interfaces(struct config_reader *reader, const struct document_node *value, void *field)
{
    struct config *config = field;

    if (value->n == 0) {
        return config_refuse(reader, value, "an empty list: leave the key out to allow every interface");
    }
    if (value->n > LINKS_MAX) {
        return config_refuse(reader, value, "%d interfaces: expected at most %d", value->n, LINKS_MAX);
    }
    for (const struct document_node *item = value->first; item != NULL; item = item->next) {
        if (item->kind != DOCUMENT_SCALAR) {
            return config_refuse(reader, item, "expected an interface's name, found %s",
                document_kind_text(item->kind));
        }
        if (!is_interface(item->text)) {
            return config_refuse(reader, item,
                "'%.40s' is not an interface's name: expected 1 to %d bytes without '/', ':' and blanks", item->text,
                DEV_SIZE - 1);
        }
        for (int i = 0; i < config->n_interfaces; i++) {
            if (strcmp(config->interfaces[i], item->text) == 0) {
                return config_refuse(reader, item, "interface '%s' is listed twice", item->text);
            }
        }
        memcpy(config->interfaces[config->n_interfaces++], item->text, strlen(item->text) + 1);
    }
    return 0;
}

static int compare_peers(const void *a, const void *b)
{
    return strcmp(((const struct config_peer *)a)->name, ((const struct config_peer *)b)->name);
}

static int parse_peer(struct config_reader *reader, const struct document_node *value, struct config *config)
{
    struct config_peer *peer = &config->peers[config->n_peers];
    char text[ENDPOINT_TEXT_MAX];
    int rv = check_name(reader, value->key);

    if (rv != 0) {
        return rv;
    }
    if (value->kind != DOCUMENT_SCALAR) {
        return config_refuse(reader, value, "expected the endpoint of node '%s', found %s", value->key->text,
            document_kind_text(value->kind));
    }
    rv = config_parse_endpoint(reader, value, &peer->at);
    if (rv != 0) {
        return rv;
    }
    for (int i = 0; i < config->n_peers; i++) {
        if (memcmp(&config->peers[i].at, &peer->at, sizeof(peer->at)) == 0) {
            return config_refuse(reader, value, "nodes '%s' and '%s' have the same endpoint %s", config->peers[i].name,
                value->key->text, endpoint_format(&peer->at, text));
        }
    }
    memcpy(peer->name, value->key->text, strlen(value->key->text) + 1);
    config->n_peers++;
    return 0;
}

int config_parse_peers(struct config_reader *reader, const struct document_node *value, void *field)
{
    struct config *config = field;

    if (value->n == 0) {
        return config_refuse(reader, value, "no peers: expected the founding nodes, this one among them");
    }
    if (value->n > NODES_MAX) {
        return config_refuse(reader, value, "%d peers: expected at most %d", value->n, NODES_MAX);
    }
    for (const struct document_node *peer = value->first; peer != NULL; peer = peer->next) {
        int rv = parse_peer(reader, peer, config);

        if (rv != 0) {
            return rv;
        }
    }
    qsort(config->peers, (size_t)config->n_peers, sizeof(config->peers[0]), compare_peers);
    return 0;
}
