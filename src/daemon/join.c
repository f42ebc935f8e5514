/* How a node that was added to a running cluster learns who it is.
 *
 * Happy path: its file says `join:`, its data directory has no id yet. It dials the addresses as HELLO_JOINING; whichever
 * member answers turns it away with the id under which the table has its name. The id is written to disk, and the start
 * goes on as for any node: the members dial it, the leader sends it the log or a snapshot, it reports, it is admitted.
 * Failure modes: nobody answers, or it was not added (yet): it keeps asking. Its name was joined by another data
 * directory: the members say so, and it keeps asking until a person has removed that node and added it anew. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "daemon/daemon.h"

static uint64_t place_of(int i)
{
    return HELLO_JOINING - 1 - (uint64_t)i; /* stands for a member whose id is not known */
}

/* ---------------------------------------------------------------- the new node */

static void on_closed(void *ud)
{
    struct daemon *d = ud;
    if (!d->stopping) {
        daemon_go_on(d);
    }
}

static void on_turned_away(void *ud, const struct hello *answer)
{
    struct daemon *d = ud;
    if (format_outgrown(d, answer)) {
        return;
    }
    if (answer->to == 0 || answer->to >= place_of(NODES_MAX) || !answer->cluster_id || d->self || d->stopping) {
        return;
    }
    if (store_set_u64(d->store, "cluster-id", answer->cluster_id) || store_set_u64(d->store, "node-id", answer->to)) {
        daemon_fatal(d, store_error(d->store));
        return;
    }
    d->self = answer->to;
    d->cluster_id = answer->cluster_id;
    d->founded = true;
    log_write(LOG_JOINED, "cluster=%s node=%s id=%llu by=%s", d->config->cluster, d->config->node,
              (unsigned long long)d->self, answer->name);
    struct peers *peers = d->peers;
    d->peers = NULL;
    peers_close(peers, on_closed, d);
}

static int on_admit(void *ud, const struct hello *hello, char reason[HELLO_REASON_SIZE])
{
    (void)ud;
    (void)hello;
    snprintf(reason, HELLO_REASON_SIZE, "this node is joining, and does not know its id yet");
    return -EAGAIN;
}

static void on_refused(void *ud, const char *who, const char *reason, uint32_t times)
{
    (void)ud;
    if (!strstr(reason, JOIN_WELCOME)) {
        log_write(LOG_REFUSED, "who=\"%s\" reason=\"%s\" times=%u", who, reason, times);
    }
}

static void on_nothing(void *ud, uint64_t id, const struct hello *hello)
{
    (void)ud;
    (void)id;
    (void)hello;
}

static void on_lost(void *ud, uint64_t id, const char *why)
{
    (void)ud;
    (void)id;
    (void)why;
}

static void on_message(void *ud, uint64_t id, enum channel channel, const void *data, size_t len)
{
    (void)ud;
    (void)id;
    (void)channel;
    (void)data;
    (void)len;
}

int join_begin(struct daemon *d)
{
    static const struct peers_ops OPS = {.connected = on_nothing,
                                         .disconnected = on_lost,
                                         .message = on_message,
                                         .admit = on_admit,
                                         .refused = on_refused,
                                         .turned_away = on_turned_away};
    struct peers_config config = members_config(d, HELLO_JOINING);
    struct hello hello;
    members_hello(d, &hello);
    int rv = peers_init(&d->peers, &d->loop, &config, &hello, &OPS, d);
    for (int i = 0; !rv && i < d->config->n_join; i++) {
        rv = peers_set(d->peers, place_of(i), &d->config->join[i]);
    }
    if (rv) {
        log_write(LOG_FATAL, "what=\"joining\" error=\"%s\"", strerror(-rv));
    } else {
        log_write(LOG_JOINING, "cluster=%s node=%s", d->config->cluster, d->config->node);
    }
    return rv;
}

/* ---------------------------------------------------------------- a member */

uint64_t join_judge(const struct daemon *d, const struct hello *hello, char reason[HELLO_REASON_SIZE])
{
    int slot = d->table->cluster_id ? table_node_by_name(d->table, hello->name) : SLOT_NONE;
    if (!d->table->cluster_id) {
        snprintf(reason, HELLO_REASON_SIZE, "this node is no member of a cluster yet itself");
        return 0;
    }
    if (slot == SLOT_NONE) {
        snprintf(reason, HELLO_REASON_SIZE, "node %.40s was not added to the cluster: vipctl node add does it", hello->name);
        return 0;
    }
    uint64_t known = members_identity(d, d->table->nodes[slot].id);
    if (known && known != hello->identity) {
        snprintf(reason, HELLO_REASON_SIZE, "node %.40s had another data directory: vipctl node remove it, and add it anew",
                 hello->name);
        return 0;
    }
    snprintf(reason, HELLO_REASON_SIZE, "%s", JOIN_WELCOME);
    return d->table->nodes[slot].id;
}
