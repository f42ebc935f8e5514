#include "io/consensus_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 64 /* a power of two */

struct consensus_blob *consensus_blob_ref(struct consensus_blob *blob)
{
    blob->refs++;
    return blob;
}

void consensus_blob_unref(struct consensus_blob *blob)
{
    if (blob != NULL && --blob->refs == 0) {
        free(blob);
    }
}

static struct consensus_blob *blob_new(const void *data, size_t len)
{
    struct consensus_blob *blob = malloc(sizeof *blob + len);

    if (blob == NULL) {
        return NULL;
    }
    blob->refs = 1;
    blob->len = len;
    if (len > 0) {
        memcpy(blob->data, data, len);
    }
    return blob;
}

void consensus_log_init(struct consensus_log *log, uint64_t first)
{
    *log = (struct consensus_log){.first = first};
}

static struct consensus_slot *slot_at(const struct consensus_log *log, size_t i)
{
    return &log->slots[(log->head + i) & (log->size - 1)];
}

void consensus_log_close(struct consensus_log *log)
{
    consensus_log_reset(log, 1);
    free(log->slots);
    *log = (struct consensus_log){0};
}

static int grow(struct consensus_log *log)
{
    size_t size = log->size == 0 ? FIRST_SIZE : log->size * 2;
    struct consensus_slot *slots = calloc(size, sizeof *slots);

    if (slots == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < log->n; i++) {
        slots[i] = *slot_at(log, i);
    }
    free(log->slots);
    log->slots = slots;
    log->size = size;
    log->head = 0;
    return 0;
}

int consensus_log_append(struct consensus_log *log, uint64_t term, enum consensus_entry_type type, const void *data,
                         size_t len, uint64_t job)
{
    if (log->n == log->size) {
        int r = grow(log);
        if (r < 0) {
            return r;
        }
    }
    struct consensus_blob *blob = blob_new(data, len);
    if (blob == NULL) {
        return -ENOMEM;
    }
    log->end += len;
    *slot_at(log, log->n) = (struct consensus_slot){.blob = blob, .term = term, .job = job, .end = log->end, .type = type};
    log->n++;
    return 0;
}

void consensus_log_truncate(struct consensus_log *log, uint64_t from)
{
    while (log->n > 0 && log->first + log->n > from) {
        struct consensus_slot *slot = slot_at(log, log->n - 1);
        log->end -= slot->blob->len;
        consensus_blob_unref(slot->blob);
        log->n--;
    }
}

void consensus_log_compact(struct consensus_log *log, uint64_t below)
{
    while (log->n > 0 && log->first < below) {
        consensus_blob_unref(slot_at(log, 0)->blob);
        log->head = (log->head + 1) & (log->size - 1);
        log->first++;
        log->n--;
    }
}

void consensus_log_reset(struct consensus_log *log, uint64_t first)
{
    consensus_log_truncate(log, 0);
    log->first = first;
}

const struct consensus_slot *consensus_log_get(const struct consensus_log *log, uint64_t index)
{
    if (index < log->first || index - log->first >= log->n) {
        return NULL;
    }
    return slot_at(log, (size_t)(index - log->first));
}

uint64_t consensus_log_last(const struct consensus_log *log)
{
    return log->first + log->n - 1;
}

size_t consensus_log_bytes_above(const struct consensus_log *log, uint64_t index)
{
    const struct consensus_slot *slot;

    if (log->n == 0 || index >= consensus_log_last(log)) {
        return 0;
    }
    if (index >= log->first) {
        return (size_t)(log->end - consensus_log_get(log, index)->end);
    }
    slot = consensus_log_get(log, log->first);
    return (size_t)(log->end - slot->end) + slot->blob->len;
}
