/* vipctl key list, key rotate: the cluster's key on each node, and its change while all of them run.
 *
 * The daemons do what they are told one by one (key.accept, key.use, key.renew, key.drop); the order is kept here: no node
 * uses a key before all accept it, and none drops the old one before every connection is of the new one. Each step may
 * be repeated, so after any failure the same command goes on where this one ended. The keys themselves are in no message:
 * every node reads them from its own file. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"

#define NODES 64
#define KEYS 2
#define ID_SIZE 17
#define LOOK_EVERY_MS 100
#define RENEW_EVERY 10 /* looks */
#define RENEW_MS 30000

struct holder
{
    char name[64];
    bool reached;
    char trouble[256]; /* why it was not reached, or what is wrong with its file */
    char keys[KEYS][ID_SIZE], file[KEYS][ID_SIZE];
    unsigned n_keys, n_file;
    uint64_t connections, other;
};

struct holders
{
    unsigned n;
    struct holder node[NODES];
};

static unsigned take_ids(const struct vipd_value *list, char ret[KEYS][ID_SIZE])
{
    unsigned n = 0;

    for (const struct vipd_value *id = vipd_first(list); id != NULL && n < KEYS; id = vipd_next(id)) {
        snprintf(ret[n++], ID_SIZE, "%s", vipd_text(id, "?"));
    }
    return n;
}

static bool has(char ids[KEYS][ID_SIZE], unsigned n, const char *id)
{
    for (unsigned i = 0; i < n; i++) {
        if (strcmp(ids[i], id) == 0) {
            return true;
        }
    }
    return false;
}

/* Asks one node; its answer, or its trouble, is noted. 0, or a negative errno: this host's daemon is gone. */
static int ask(struct cli *cli, struct holder *holder, const char *op, const char *key)
{
    struct vipd_args *args = vipd_args_new();
    struct vipd_options options = { .timeout_ms = 5000 };
    struct vipd_reply *reply;

    vipd_put(args, vipd_args_root(args), "node", vipd_new_text(args, holder->name));
    if (key != NULL) {
        vipd_put(args, vipd_args_root(args), "key", vipd_new_text(args, key));
    }
    int r = vipd_call(cli->client, op, args, &options, &reply);
    vipd_args_free(args);
    if (r < 0) {
        return r;
    }
    const struct vipd_value *result = vipd_reply_result(reply);
    holder->reached = vipd_reply_code(reply) == VIPD_DONE;
    snprintf(holder->trouble, sizeof holder->trouble, "%s",
             holder->reached ? vipd_text(vipd_get(result, "file_error"), "") : vipd_reply_error(reply));
    if (holder->reached) {
        holder->n_keys = take_ids(vipd_get(result, "keys"), holder->keys);
        holder->n_file = take_ids(vipd_get(result, "file"), holder->file);
        holder->connections = vipd_uint(vipd_get(result, "connections"), 0);
        holder->other = vipd_uint(vipd_get(result, "connections_other_key"), 0);
    }
    vipd_reply_free(reply);
    return 0;
}

static int gone(const struct cli *cli, int r)
{
    return complain(cli, VIPD_FAILED, "run it again: it goes on where it ended", "the daemon of this host: %s", strerror(-r));
}

/* Each node once, that is not left out; 0 or an exit code. */
static int ask_all(struct cli *cli, struct holders *holders, const char *op, const char *key)
{
    for (unsigned i = 0; i < holders->n; i++) {
        struct holder *holder = &holders->node[i];
        if (strcmp(op, "key.show") != 0 && !holder->reached) {
            continue; /* --force goes on without it */
        }
        int r = ask(cli, holder, op, key);
        if (r < 0) {
            return gone(cli, r);
        }
        if (strcmp(op, "key.show") != 0 && !holder->reached) {
            return complain(cli, VIPD_FAILED, "every node still accepts the key that the others use; run it again",
                            "%s", holder->trouble);
        }
    }
    return 0;
}

static int look(struct cli *cli, struct holders *holders)
{
    struct vipd_reply *reply;
    int r = cli_list(cli, "node.list", NULL, 0, &reply);

    if (r != 0) {
        return r;
    }
    for (const struct vipd_value *row = vipd_first(vipd_reply_result(reply)); row != NULL && holders->n < NODES;
         row = vipd_next(row)) {
        snprintf(holders->node[holders->n++].name, sizeof holders->node[0].name, "%s",
                 vipd_text(vipd_get(row, "name"), "?"));
    }
    vipd_reply_free(reply);
    return ask_all(cli, holders, "key.show", NULL);
}

/* ------------------------------------------------------------------------------------------------------------ showing */

static void print_ids(char ids[KEYS][ID_SIZE], unsigned n)
{
    printf("[");
    for (unsigned i = 0; i < n; i++) {
        printf("%s\"%s\"", i > 0 ? ", " : "", ids[i]);
    }
    printf("]");
}

static void print_json(struct holder *holder)
{
    printf("{\"name\": ");
    json_text(stdout, holder->name);
    printf(", \"reached\": %s, \"keys\": ", holder->reached ? "true" : "false");
    print_ids(holder->keys, holder->n_keys);
    printf(", \"file\": ");
    print_ids(holder->file, holder->n_file);
    printf(", \"connections\": %" PRIu64 ", \"connections_other_key\": %" PRIu64 ", \"trouble\": ", holder->connections,
           holder->other);
    if (holder->trouble[0] != '\0') {
        json_text(stdout, holder->trouble);
    } else {
        printf("null");
    }
    printf("}");
}

static const char *join(char ids[KEYS][ID_SIZE], unsigned from, unsigned n, char buf[TEXT_SIZE])
{
    buf[0] = '\0';
    for (unsigned i = from; i < n; i++) {
        strcat(buf, i > from ? "," : "");
        strcat(buf, ids[i]);
    }
    return buf[0] != '\0' ? buf : "-";
}

static void show_table(struct holders *holders)
{
    static const char *const columns[] = { "NODE", "USES", "ACCEPTS TOO", "IN ITS FILE", "CONNECTIONS" };
    struct table_print *table = table_open();
    char buf[TEXT_SIZE];

    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        table_column(table, columns[i], false);
    }
    for (unsigned i = 0; i < holders->n; i++) {
        struct holder *holder = &holders->node[i];
        table_row(table);
        table_cell(table, holder->name, COLOUR_NONE);
        if (!holder->reached) {
            table_cell(table, holder->trouble, COLOUR_BAD);
            continue;
        }
        table_cell(table, holder->n_keys > 0 ? holder->keys[0] : "-", COLOUR_NONE);
        table_cell(table, join(holder->keys, 1, holder->n_keys, buf), COLOUR_NONE);
        bool bad = holder->trouble[0] != '\0';
        table_cell(table, bad ? holder->trouble : join(holder->file, 0, holder->n_file, buf), bad ? COLOUR_BAD : COLOUR_NONE);
        snprintf(buf, sizeof buf, holder->other > 0 ? "%" PRIu64 ", %" PRIu64 " by another key" : "%" PRIu64,
                 holder->connections, holder->other);
        table_cell(table, buf, holder->other > 0 ? COLOUR_WARN : COLOUR_NONE);
    }
    table_close(table);
}

static void show_holders(const struct cli *cli, struct holders *holders)
{
    if (!is_json(cli)) {
        show_table(holders);
        return;
    }
    bool array = cli->format == FORMAT_JSON;
    printf(array ? "[" : "");
    for (unsigned i = 0; i < holders->n; i++) {
        printf(array && i > 0 ? ",\n " : "");
        print_json(&holders->node[i]);
        printf(array ? "" : "\n");
    }
    printf(array ? "]\n" : "");
}

int run_key_list(struct cli *cli)
{
    struct holders *holders = calloc(1, sizeof *holders);
    int r = holders == NULL ? complain(cli, VIPD_FAILED, NULL, "no memory") : look(cli, holders);

    if (r == 0) {
        show_holders(cli, holders);
    }
    free(holders);
    return r;
}

/* ----------------------------------------------------------------------------------------------------------- changing */

/* Every node can be asked and can read its file; or --force. */
static int check_reached(const struct cli *cli, const struct holders *holders)
{
    for (unsigned i = 0; i < holders->n; i++) {
        const struct holder *holder = &holders->node[i];
        if (!holder->reached && !cli->options.force) {
            return complain(cli, VIPD_UNSAFE, "--force goes on without it; it is cut off until its key-file has the new key",
                            "%s", holder->trouble);
        }
        if (holder->reached && holder->trouble[0] != '\0') {
            return complain(cli, VIPD_FAILED, NULL, "node %s: %s", holder->name, holder->trouble);
        }
    }
    return 0;
}

static const struct holder *who_lacks(struct holders *holders, const char *key)
{
    for (unsigned i = 0; i < holders->n; i++) {
        struct holder *holder = &holders->node[i];
        if (holder->reached && !has(holder->file, holder->n_file, key)) {
            return holder;
        }
    }
    return NULL;
}

/* The key that is asked for, else the last one that every file has: a new one is appended. 0 or an exit code. */
static int choose(const struct cli *cli, struct holders *holders, char ret[ID_SIZE])
{
    const struct holder *lacks = NULL;
    struct holder *first = NULL;

    for (unsigned i = 0; i < holders->n && first == NULL; i++) {
        first = holders->node[i].reached ? &holders->node[i] : NULL;
    }
    if (first == NULL) {
        return complain(cli, VIPD_FAILED, NULL, "no node can be asked");
    }
    if (cli->n_args > 0) {
        snprintf(ret, ID_SIZE, "%s", cli->args[0]);
        lacks = who_lacks(holders, ret);
        return lacks == NULL ? 0 : complain(cli, VIPD_UNSAFE, "give every node the same key-file", "node %s does not have key %s "
                                            "in its key-file", lacks->name, ret);
    }
    for (unsigned i = first->n_file; i > 0; i--) {
        snprintf(ret, ID_SIZE, "%s", first->file[i - 1]);
        const struct holder *without = who_lacks(holders, ret);
        if (without == NULL) {
            return i == first->n_file || lacks == NULL ? 0 :
                complain(cli, VIPD_UNSAFE, "give every node the same key-file; or name the key that is to be used",
                         "node %s does not have key %s in its key-file, which node %s has", lacks->name,
                         first->file[first->n_file - 1], first->name);
        }
        lacks = lacks == NULL ? without : lacks;
    }
    return complain(cli, VIPD_UNSAFE, "give every node the same key-file", "no key is in the key-file of every node: node %s has "
                    "none that node %s has", lacks == NULL ? "?" : lacks->name, first->name);
}

static uint64_t others(const struct holders *holders)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < holders->n; i++) {
        n += holders->node[i].reached ? holders->node[i].other : 0;
    }
    return n;
}

/* Until every connection is of the key in use. */
static int renew(struct cli *cli, struct holders *holders)
{
    const struct timespec pause = { .tv_nsec = LOOK_EVERY_MS * 1000000L };
    uint64_t limit_ms = cli->options.timeout_ms != 0 ? cli->options.timeout_ms : RENEW_MS;

    for (unsigned looks = 0; looks * LOOK_EVERY_MS < limit_ms; looks++) {
        int r = ask_all(cli, holders, looks % RENEW_EVERY == 0 ? "key.renew" : "key.show", NULL);
        if (r != 0 || (looks > 0 && others(holders) == 0)) {
            return r;
        }
        nanosleep(&pause, NULL);
    }
    return complain(cli, VIPD_TIMEOUT, "every node uses the new key and accepts the old one; run it again to finish",
                    "%" PRIu64 " connections are still of the old key", others(holders));
}

static bool is_done(const struct holders *holders, const char *key)
{
    for (unsigned i = 0; i < holders->n; i++) {
        const struct holder *holder = &holders->node[i];
        if (holder->reached && (holder->n_keys != 1 || strcmp(holder->keys[0], key) != 0 || holder->other > 0)) {
            return false;
        }
    }
    return true;
}

static int change(struct cli *cli, struct holders *holders, const char *key)
{
    int r = ask_all(cli, holders, "key.accept", NULL);

    r = r != 0 ? r : ask_all(cli, holders, "key.use", key);
    r = r != 0 ? r : renew(cli, holders);
    return r != 0 ? r : ask_all(cli, holders, "key.drop", NULL);
}

static void advise(struct holders *holders, const char *key, bool changed)
{
    const char *sep = " ";

    printf("\nevery node uses key %s%s\n", key, changed ? " and no other" : ", as before");
    for (unsigned i = 0; i < holders->n; i++) {
        struct holder *holder = &holders->node[i];
        if (holder->reached && holder->n_file > 1) {
            printf("%s%s", *sep == ' ' ? "take the other key out of key-file on " : sep, holder->name);
            sep = ", ";
        }
    }
    printf(*sep == ' ' ? "" : ": a node that starts uses the first one\n");
}

int run_key_rotate(struct cli *cli)
{
    struct holders *holders = calloc(1, sizeof *holders);
    char key[ID_SIZE] = "";
    int r = holders == NULL ? complain(cli, VIPD_FAILED, NULL, "no memory") : look(cli, holders);

    r = r != 0 ? r : check_reached(cli, holders);
    r = r != 0 ? r : choose(cli, holders, key);
    bool changes = r == 0 && !is_done(holders, key);
    if (changes && !cli->options.dry_run) {
        r = change(cli, holders, key);
    }
    if (r == 0) {
        show_holders(cli, holders);
    }
    if (r == 0 && !is_json(cli) && cli->options.dry_run) {
        printf("\nevery node %s key %s (--dry-run: nothing was changed)\n", changes ? "would use" : "uses", key);
    } else if (r == 0 && !is_json(cli)) {
        advise(holders, key, changes);
    }
    free(holders);
    return r;
}
