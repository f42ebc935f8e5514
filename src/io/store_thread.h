#ifndef VIPD_IO_STORE_THREAD_H
#define VIPD_IO_STORE_THREAD_H

/* The store's writing, off the loop: jobs go to a thread of their own, completions come back to the loop in order. */

#include "base/err.h"
#include "io/consensus.h"
#include "io/store.h"

#define STORE_GROUP_MAX 64 /* jobs in one transaction */

struct uv_loop_s;
struct store_thread;

/* A job is done (status 0) or failed (below 0, and all after it fail likewise); called on the loop. */
typedef void (*store_thread_done)(void *ud, struct consensus_job *job, int status);

/* `store` and `loop` outlive the thread. Keeps the loop alive until it is stopped. */
NODISCARD int store_thread_start(struct uv_loop_s *loop, struct store *store, store_thread_done done, void *ud,
                                 struct store_thread **ret);

/* Queues a job; it must stay unchanged until it is done. Uses job->owner. */
void store_thread_write(struct store_thread *thread, struct consensus_job *job);

/* Ends it: waits for the write under way; what is queued behind it is not written and not reported. `closed`, which may
 * be NULL, is called on the loop, and the thread's memory freed, once the loop is done with it. NULL is fine. */
void store_thread_stop(struct store_thread *thread, void (*closed)(void *ud), void *ud);

#endif
