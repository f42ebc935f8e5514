/* A node's disk. A job is on it at once and whole, some time after it was given; the process is told later still. What
 * was not on it when the host or the process goes is lost, but for the job at work, which may have got there. */

#include <stdlib.h>
#include <string.h>

#include "sim.h"

static void *copied(const void *data, size_t len)
{
    void *to = malloc(len + 8);

    if (to == NULL) {
        abort();
    }
    memcpy(to, data, len);
    return to;
}

static void cut(struct sim_disk *disk, uint64_t from)
{
    while (disk->n > 0 && disk->first + disk->n > from) {
        free(disk->records[--disk->n].data);
    }
}

static void compact(struct sim_disk *disk, uint64_t below)
{
    size_t drop = 0;

    while (drop < disk->n && disk->first + drop < below) {
        free(disk->records[drop++].data);
    }
    memmove(disk->records, disk->records + drop, (disk->n - drop) * sizeof *disk->records);
    disk->n -= drop;
    disk->first += drop;
}

static void append(struct sim_disk *disk, const struct consensus_entry *entry)
{
    if (disk->n == 0) {
        disk->first = entry->index;
    }
    if (disk->first + disk->n != entry->index) {
        world_violated(VIOLATION_SAFETY, "a job appends entry %llu behind %llu", (unsigned long long)entry->index,
                       (unsigned long long)(disk->first + disk->n - 1));
        return;
    }
    if (disk->n == disk->size) {
        disk->size = disk->size == 0 ? 64 : disk->size * 2;
        disk->records = realloc(disk->records, disk->size * sizeof *disk->records);
        if (disk->records == NULL) {
            abort();
        }
    }
    disk->records[disk->n++] = (struct sim_record){
        .term = entry->term, .type = entry->type, .data = copied(entry->data, entry->len), .len = entry->len};
}

static void forget_snapshot(struct sim_disk *disk)
{
    free((void *)(uintptr_t)disk->snapshot.configuration);
    free((void *)(uintptr_t)disk->snapshot.data);
    memset(&disk->snapshot, 0, sizeof disk->snapshot);
}

void disk_write(struct sim_disk *disk, const struct consensus_job *job)
{
    if (job->set_vote) {
        disk->term = job->term;
        disk->vote = job->vote;
    }
    if (job->truncate_from != 0) {
        cut(disk, job->truncate_from);
    }
    for (size_t i = 0; i < job->n_entries; i++) {
        append(disk, &job->entries[i]);
    }
    if (job->snapshot != NULL) {
        forget_snapshot(disk);
        disk->snapshot = *job->snapshot;
        disk->snapshot.configuration = copied(job->snapshot->configuration, job->snapshot->configuration_len);
        disk->snapshot.data = copied(job->snapshot->data, job->snapshot->len);
    }
    if (job->compact_below != 0) {
        compact(disk, job->compact_below);
    }
}

uint64_t disk_last(const struct sim_disk *disk)
{
    return disk->n > 0 ? disk->first + disk->n - 1 : disk->snapshot.index;
}

void disk_open(struct sim_disk *disk, const struct consensus_server *servers, unsigned n)
{
    void *data = NULL;
    size_t len = 0;

    memset(disk, 0, sizeof *disk);
    if (consensus_founding(servers, n, &data, &len) != 0) {
        abort();
    }
    struct consensus_entry entry = {.index = 1, .term = 1, .type = CONSENSUS_CHANGE, .data = data, .len = len};
    disk->term = 1;
    append(disk, &entry);
    free(data);
}

void disk_close(struct sim_disk *disk)
{
    cut(disk, 0);
    free(disk->records);
    forget_snapshot(disk);
    memset(disk, 0, sizeof *disk);
}

/* ------------------------------------------------------------------ jobs */

static void schedule_job(struct sim_node *node)
{
    uint64_t ns = chance_span(&world.disk, 30 * US, 300 * US);

    if (chance_permille(&world.disk, 30)) {
        ns += chance_below(&world.disk, 4 * MS);
    }
    if (!world.calm && node->disk_ns > 0) {
        ns += chance_below(&world.disk, node->disk_ns);
    }
    node->job_due = true;
    if (node->disk_hangs) {
        return;
    }
    world_at(world.now + ns, TIMER_DISK, node->slot)->epoch = node->epoch;
}

void disk_job(struct sim_node *node, struct consensus_job *job)
{
    if (node->jobs_n == JOBS_MAX) {
        abort();
    }
    node->jobs[node->jobs_n++] = job;
    if (!node->job_due) {
        schedule_job(node);
    }
}

/* The writing thread takes all that has come meanwhile as one transaction. */
void disk_timer(struct sim_node *node)
{
    if (node->disk_hangs) {
        return;
    }
    unsigned n = 1 + (unsigned)chance_below(&world.disk, node->jobs_n);
    int status = node->disk_fails ? -5 : 0;

    node->job_due = false;
    for (unsigned i = 0; i < n; i++) {
        if (status == 0) {
            disk_write(&node->disk, node->jobs[i]);
        }
    }
    for (unsigned i = 0; i < n; i++) {
        struct input input = {.kind = INPUT_WRITTEN, .job = node->jobs[i], .status = status};
        node_input(node, &input);
    }
    node->jobs_n -= n;
    memmove(node->jobs, node->jobs + n, node->jobs_n * sizeof node->jobs[0]);
    if (node->jobs_n > 0) {
        schedule_job(node);
    }
    world_note("disk", node->slot, disk_last(&node->disk), node->disk.term);
    if (node->armed != NULL && node->armed->moment == MOMENT_WRITTEN) {
        faults_hit(node);
    }
}

/* Before the process' memory goes: the transaction at work is whole or not at all. */
void disk_crash(struct sim_node *node)
{
    if (node->jobs_n > 0 && !node->disk_fails && chance_permille(&world.disk, 500)) {
        unsigned n = 1 + (unsigned)chance_below(&world.disk, node->jobs_n);

        for (unsigned i = 0; i < n; i++) {
            disk_write(&node->disk, node->jobs[i]);
        }
    }
    node->jobs_n = 0;
    node->job_due = false;
}
