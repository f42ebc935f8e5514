/* The data directory in the daemon's terms. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/daemon.h"

static void on_written(void *ud, struct consensus_job *job, int status)
{
    struct daemon *d = ud;
    if (consensus_persisted(d->consensus, job, status, daemon_now() / MS)) {
        daemon_fatal(d, store_error(d->store)); /* not half alive: the VIPs go first */
    }
}

int storage_open(struct daemon *d, const struct consensus_state **ret, char error[STORE_TEXT_SIZE])
{
    struct store_options options = {
        .path = d->config->data, .cluster = d->config->cluster, .node = d->config->node};
    int rv = store_open(&options, &d->store, error);
    if (!rv) {
        rv = store_load(d->store, ret, error);
    }
    if (!rv) {
        rv = store_thread_start(&d->loop, d->store, on_written, d, &d->writer);
    }
    if (rv) {
        return rv;
    }
    d->identity = store_identity(d->store);
    if (store_get_u64(d->store, "node-id", &d->self) == 0) {
        bool belongs = store_get_u64(d->store, "cluster-id", &d->cluster_id) == 0;
        d->founded = belongs || (*ret)->term > 0;
    }
    return 0;
}

void storage_write(struct daemon *d, struct consensus_job *job)
{
    store_thread_write(d->writer, job);
}

static void on_stopped(void *ud)
{
    struct daemon *d = ud;
    store_close(d->store);
    d->store = NULL;
}

void storage_close(struct daemon *d)
{
    if (d->writer) {
        store_thread_stop(d->writer, on_stopped, d);
    } else {
        on_stopped(d);
    }
}

uint64_t storage_pinned(const struct daemon *d, uint64_t id)
{
    uint64_t identity = 0;
    return store_pinned(d->store, id, &identity) ? 0 : identity;
}
