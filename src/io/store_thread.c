#include "io/store_thread.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <uv.h>

/* Happy path: store_thread_write() queues and wakes the thread; the thread takes what has piled up, at most
 * STORE_GROUP_MAX jobs, writes them in one transaction, queues them as done and wakes the loop, which reports them in
 * order.
 *
 * Failure modes: a write failed: its group and all later jobs are reported with the error, and nothing is written any
 * more, since a later job rests on the earlier. The disk stalls: jobs pile up; their number is bounded by whoever makes
 * them. Stopped while jobs are queued: these are dropped, which is a crash before them to the log. */

struct job_list
{
    struct consensus_job *first, *last;
};

/* The owner field of a job links it into the lists; its status comes with the list. */
struct store_thread
{
    struct store *store;
    store_thread_done done;
    void *ud;
    uv_thread_t thread;
    uv_async_t async;
    uv_mutex_t mutex;
    uv_cond_t cond;
    bool stopping;
    int status; /* of all that is not yet written, once a write has failed */
    struct job_list queued, finished;
    size_t finished_ok; /* how many of the finished, from the front, are on disk */
    void (*closed)(void *ud);
    void *closed_ud;
};

static void add(struct job_list *list, struct consensus_job *job)
{
    job->owner = NULL;
    if (list->first == NULL) {
        list->first = job;
    } else {
        list->last->owner = job;
    }
    list->last = job;
}

static struct consensus_job *take(struct job_list *list)
{
    struct consensus_job *job = list->first;

    if (job != NULL) {
        list->first = job->owner;
        job->owner = NULL;
    }
    return job;
}

/* Waits for work; the number of jobs of the group, 0 when it is over. */
static size_t next_group(struct store_thread *thread, struct consensus_job *group[STORE_GROUP_MAX], int *ret_status)
{
    size_t n = 0;

    uv_mutex_lock(&thread->mutex);
    while (thread->queued.first == NULL && !thread->stopping) {
        uv_cond_wait(&thread->cond, &thread->mutex);
    }
    while (!thread->stopping && n < STORE_GROUP_MAX && thread->queued.first != NULL) {
        group[n++] = take(&thread->queued);
    }
    *ret_status = thread->status;
    uv_mutex_unlock(&thread->mutex);
    return n;
}

static void finish_group(struct store_thread *thread, struct consensus_job *group[], size_t n, int status)
{
    uv_mutex_lock(&thread->mutex);
    for (size_t i = 0; i < n; i++) {
        add(&thread->finished, group[i]);
    }
    thread->status = status;
    thread->finished_ok += status == 0 ? n : 0;
    uv_mutex_unlock(&thread->mutex);
    uv_async_send(&thread->async);
}

static void write_all(void *ud)
{
    struct store_thread *thread = ud;
    struct consensus_job *group[STORE_GROUP_MAX];
    int status;
    size_t n;

    while ((n = next_group(thread, group, &status)) > 0) {
        if (status == 0) {
            status = store_write(thread->store, group, n);
        }
        finish_group(thread, group, n, status);
        if (status == 0 && store_tidy(thread->store) < 0) {
            /* What was written is written; but the next write would not be. */
            uv_mutex_lock(&thread->mutex);
            thread->status = -EIO;
            uv_mutex_unlock(&thread->mutex);
        }
    }
}

/* One at a time, because a callback may stop the thread. */
static struct consensus_job *take_finished(struct store_thread *thread, int *ret_status)
{
    uv_mutex_lock(&thread->mutex);
    struct consensus_job *job = thread->stopping ? NULL : take(&thread->finished);
    if (job != NULL && thread->finished_ok > 0) {
        thread->finished_ok--;
        *ret_status = 0;
    } else {
        *ret_status = thread->status;
    }
    uv_mutex_unlock(&thread->mutex);
    return job;
}

static void when_woken(uv_async_t *async)
{
    struct store_thread *thread = async->data;
    struct consensus_job *job;
    int status;

    while ((job = take_finished(thread, &status)) != NULL) {
        thread->done(thread->ud, job, status);
    }
}

static void forget(uv_handle_t *handle)
{
    free(handle->data);
}

int store_thread_start(struct uv_loop_s *loop, struct store *store, store_thread_done done, void *ud,
                       struct store_thread **ret)
{
    struct store_thread *thread = calloc(1, sizeof *thread);

    if (thread == NULL) {
        return -ENOMEM;
    }
    thread->store = store;
    thread->done = done;
    thread->ud = ud;
    thread->async.data = thread;
    int r = uv_mutex_init(&thread->mutex);
    if (r < 0) {
        goto free_thread;
    }
    r = uv_cond_init(&thread->cond);
    if (r < 0) {
        goto destroy_mutex;
    }
    r = uv_async_init(loop, &thread->async, when_woken);
    if (r < 0) {
        goto destroy_cond;
    }
    r = uv_thread_create(&thread->thread, write_all, thread);
    if (r < 0) {
        /* The loop has to forget the handle before its memory goes. */
        thread->stopping = true;
        uv_close((uv_handle_t *)&thread->async, forget);
        uv_cond_destroy(&thread->cond);
        uv_mutex_destroy(&thread->mutex);
        return r;
    }
    *ret = thread;
    return 0;

destroy_cond:
    uv_cond_destroy(&thread->cond);
destroy_mutex:
    uv_mutex_destroy(&thread->mutex);
free_thread:
    free(thread);
    return r;
}

void store_thread_write(struct store_thread *thread, struct consensus_job *job)
{
    uv_mutex_lock(&thread->mutex);
    add(&thread->queued, job);
    uv_cond_signal(&thread->cond);
    uv_mutex_unlock(&thread->mutex);
}

static void when_closed(uv_handle_t *handle)
{
    struct store_thread *thread = handle->data;

    uv_cond_destroy(&thread->cond);
    uv_mutex_destroy(&thread->mutex);
    if (thread->closed != NULL) {
        thread->closed(thread->closed_ud);
    }
    free(thread);
}

void store_thread_stop(struct store_thread *thread, void (*closed)(void *ud), void *ud)
{
    if (thread == NULL) {
        return;
    }
    thread->closed = closed;
    thread->closed_ud = ud;
    uv_mutex_lock(&thread->mutex);
    thread->stopping = true;
    uv_cond_signal(&thread->cond);
    uv_mutex_unlock(&thread->mutex);
    (void)!uv_thread_join(&thread->thread);
    uv_close((uv_handle_t *)&thread->async, when_closed);
}
