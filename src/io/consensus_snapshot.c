#include "io/consensus_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Snapshots: taken here, or installed from the leader. One of each may be under way at once: the disk does jobs in
 * order, so one that was taken before is simply overwritten by the one installed after it, and the library is not
 * told of it (its log no longer has the entry). While one is being installed none is taken, and the library itself
 * takes no second one. */

int consensus_image_new(const struct consensus_snapshot *snapshot, void *data, struct consensus_image **ret)
{
    struct consensus_image *image = calloc(1, sizeof *image);

    if (image == NULL) {
        return -ENOMEM;
    }
    image->snapshot = *snapshot;
    image->configuration = malloc(snapshot->configuration_len + 1);
    if (image->configuration == NULL) {
        free(image);
        return -ENOMEM;
    }
    memcpy(image->configuration, snapshot->configuration, snapshot->configuration_len);
    image->data = data;
    image->snapshot.configuration = image->configuration;
    image->snapshot.data = data;
    *ret = image;
    return 0;
}

void consensus_image_free(struct consensus_image *image)
{
    if (image == NULL) {
        return;
    }
    free(image->configuration);
    free(image->data);
    free(image);
}

/* ------------------------------------------------------------------ from the leader */

/* Configuration and data are ours from here on, whatever happens. */
void consensus_install(struct consensus *c, struct consensus_work *work, struct raft_update *update)
{
    const struct raft_snapshot_metadata *metadata = &update->snapshot.metadata;
    struct consensus_snapshot snapshot = {
        .index = metadata->index,
        .term = metadata->term,
        .configuration_index = metadata->configuration_index,
        .data = update->snapshot.chunk.base,
        .len = update->snapshot.chunk.len,
    };
    struct raft_buffer encoded = {0};

    work->install = true;
    work->configuration = metadata->configuration;
    consensus_log_reset(&c->log, metadata->index + 1);
    if (raft_configuration_encode(&work->configuration, &encoded) != 0) {
        raft_free(update->snapshot.chunk.base);
        consensus_die(c, -ENOMEM, "no memory for a snapshot");
        return;
    }
    snapshot.configuration = encoded.base;
    snapshot.configuration_len = encoded.len;
    int r = consensus_image_new(&snapshot, update->snapshot.chunk.base, &work->image);
    raft_free(encoded.base);
    if (r < 0) {
        raft_free(update->snapshot.chunk.base);
        consensus_die(c, r, "no memory for a snapshot");
        return;
    }
    work->job.truncate_from = 1;
    work->job.snapshot = &work->image->snapshot;
}

static struct consensus_image *exchange(struct consensus *c, struct consensus_work *work)
{
    consensus_image_free(c->snapshot);
    c->snapshot = work->image;
    work->image = NULL;
    return c->snapshot;
}

void consensus_installed(struct consensus *c, struct consensus_work *work)
{
    struct raft_event event = {.type = RAFT_PERSISTED_SNAPSHOT};
    const struct consensus_snapshot *snapshot = &exchange(c, work)->snapshot;

    c->disk_index = snapshot->index;
    c->disk_term = snapshot->term;
    c->disk_news = true;
    c->restore_due = true;
    c->stats.snapshots_installed++;
    if (consensus_configuration_set(c, snapshot->configuration_index, snapshot->configuration,
                                    snapshot->configuration_len) < 0) {
        consensus_die(c, -ENOMEM, "no memory for a configuration");
        return;
    }
    event.persisted_snapshot.metadata = (struct raft_snapshot_metadata){
        .index = snapshot->index,
        .term = snapshot->term,
        .configuration = work->configuration,
        .configuration_index = snapshot->configuration_index,
    };
    event.persisted_snapshot.last = true;
    raft_configuration_init(&work->configuration); /* it is the library's now */
    (void)!consensus_step_or_die(c, &event, "a snapshot was installed");
}

/* ------------------------------------------------------------------ taken here */

/* How many entries up to `index` are kept for followers that lag a little. */
static unsigned trailing(const struct consensus *c, uint64_t index)
{
    size_t bytes = 0;
    unsigned n = 0;

    while (n < c->options.trailing_entries) {
        const struct consensus_slot *slot = consensus_log_get(&c->log, index - n);
        if (slot == NULL || bytes + slot->blob->len > c->options.trailing_bytes) {
            break;
        }
        bytes += slot->blob->len;
        n++;
    }
    return n;
}

static bool is_due(const struct consensus *c)
{
    uint64_t before = c->snapshot == NULL ? 0 : c->snapshot->snapshot.index;

    if (c->taking || c->raft.snapshot.installing || c->restore_due || c->configuration_index == 0 ||
        c->applied <= before || c->applied < c->take_after || consensus_log_get(&c->log, c->applied) == NULL) {
        return false;
    }
    return c->applied - before >= c->options.snapshot_entries ||
           consensus_log_bytes_above(&c->log, before) - consensus_log_bytes_above(&c->log, c->applied) >=
               c->options.snapshot_bytes;
}

static int take(struct consensus *c, void **ret_data, struct consensus_snapshot *ret)
{
    void *data = NULL;
    size_t len = 0;
    int r = c->ops->snapshot(c->ud, &data, &len);

    if (r == 0 && len > CONSENSUS_SNAPSHOT_MAX) {
        free(data);
        r = -EMSGSIZE;
    }
    if (r != 0) {
        return r;
    }
    *ret = (struct consensus_snapshot){
        .index = c->applied,
        .term = consensus_term_of(c, c->applied),
        .configuration_index = c->configuration_index,
        .configuration = c->configuration,
        .configuration_len = c->configuration_len,
        .data = data,
        .len = len,
    };
    *ret_data = data;
    return 0;
}

bool consensus_take_if_due(struct consensus *c)
{
    struct consensus_snapshot snapshot;
    struct consensus_image *image;
    void *data;

    if (!is_due(c)) {
        return false;
    }
    if (take(c, &data, &snapshot) != 0) {
        c->stats.snapshots_failed++;
        c->take_after = c->applied + c->options.snapshot_entries;
        return false;
    }
    if (consensus_image_new(&snapshot, data, &image) < 0) {
        free(data);
        consensus_die(c, -ENOMEM, "no memory for a snapshot");
        return true;
    }
    struct consensus_work *work = consensus_work_new(c);
    if (work == NULL) {
        consensus_image_free(image);
        return true;
    }
    c->taking = true;
    work->image = image;
    work->trailing = trailing(c, snapshot.index);
    work->job.snapshot = &image->snapshot;
    /* The library's own rule, so that disk, memory and library keep the same entries. */
    if (consensus_log_get(&c->log, snapshot.index - work->trailing) != NULL) {
        work->job.compact_below = snapshot.index - work->trailing + 1;
    }
    return true;
}

void consensus_taken(struct consensus *c, struct consensus_work *work)
{
    struct raft_event event = {.type = RAFT_SNAPSHOT};

    c->taking = false;
    if (c->raft.snapshot.installing) {
        return; /* a newer one, from the leader, is being written over it */
    }
    const struct consensus_snapshot *snapshot = &exchange(c, work)->snapshot;
    event.snapshot.metadata.index = snapshot->index;
    event.snapshot.metadata.term = snapshot->term;
    event.snapshot.metadata.configuration_index = snapshot->configuration_index;
    event.snapshot.trailing = work->trailing;
    if (consensus_decode(snapshot->configuration, snapshot->configuration_len,
                         &event.snapshot.metadata.configuration) < 0) {
        consensus_die(c, -ENOMEM, "no memory for a configuration");
        return;
    }
    c->stats.snapshots_taken++;
    if (consensus_step_or_die(c, &event, "a snapshot was taken") == 0 && work->job.compact_below != 0) {
        consensus_log_compact(&c->log, work->job.compact_below);
    }
}
