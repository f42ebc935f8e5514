#include "io/consensus_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The way of an event. consensus_step() gives it to the library, whose update is taken over at once and in full:
 * entries into the log in memory, everything for the disk into one job, messages into letters. Then consensus_pump()
 * makes the callbacks, in this order: jobs are given out, letters that wait for no job are sent, changes of role, of
 * the disk and of the state are told, entries applied, a snapshot taken. A callback may call back in; the inner call
 * then only queues, and the outer pump goes on.
 *
 * Happy path of a command on the leader: submit -> entries in the log, job 7, letters with the entries -> persist(7),
 * send -> [disk] consensus_persisted(7) and [network] a follower's result -> commit, letters that tell it -> apply.
 *
 * Failure modes: a job that failed, or an error of the library, is fatal: term, vote and log in memory are ahead of the
 * disk then, and nothing may rest on them. A lost message costs a heartbeat. A slow disk holds back votes and
 * what rests on a new term; these letters are bounded and count as lost above that.
 *
 * What is written: entries carry the number of the job that writes them, and are said to be stored when that very
 * job is done. The library's own glue compares terms instead, and takes an older job for the newer one when an entry was
 * cut off and came back. */

_Static_assert((int)RAFT_COMMAND == (int)CONSENSUS_COMMAND && (int)RAFT_BARRIER == (int)CONSENSUS_BARRIER &&
                   (int)RAFT_CHANGE == (int)CONSENSUS_CHANGE,
               "entry types are the library's");
_Static_assert(RAFT_VERSION_NUMBER == 2201, "memory ownership and the guards were read at this version");

void consensus_die(struct consensus *c, int error, const char *what)
{
    if (!c->dead) {
        c->dead = true;
        c->ops->fatal(c->ud, error, what);
    }
}

/* ------------------------------------------------------------------ jobs */

struct consensus_work *consensus_work_new(struct consensus *c)
{
    struct consensus_work *work = calloc(1, sizeof *work);

    if (work == NULL) {
        consensus_die(c, -ENOMEM, "no memory for a write");
        return NULL;
    }
    work->job.number = ++c->job_number;
    if (c->works == NULL) {
        c->works = work;
    } else {
        c->works_last->next = work;
    }
    c->works_last = work;
    if (c->works_due == NULL) {
        c->works_due = work;
    }
    return work;
}

void consensus_work_free(struct consensus_work *work)
{
    if (work == NULL) {
        return;
    }
    for (size_t i = 0; i < work->job.n_entries; i++) {
        consensus_blob_unref(work->blobs[i]);
    }
    free(work->blobs);
    free(work->entries);
    consensus_image_free(work->image);
    raft_configuration_close(&work->configuration);
    free(work);
}

static bool give_out_jobs(struct consensus *c)
{
    struct consensus_work *work = c->works_due;

    if (work == NULL || c->dead) {
        return false;
    }
    c->works_due = work->next;
    work->since_ms = c->now_ms;
    c->ops->persist(c->ud, &work->job);
    return true;
}

/* ------------------------------------------------------------------ updates */

uint64_t consensus_term_of(const struct consensus *c, uint64_t index)
{
    const struct consensus_slot *slot = consensus_log_get(&c->log, index);

    if (slot != NULL) {
        return slot->term;
    }
    return c->snapshot != NULL && c->snapshot->snapshot.index == index ? c->snapshot->snapshot.term : 0;
}

static int job_entries(struct consensus *c, struct consensus_work *work, uint64_t first, unsigned n)
{
    work->entries = calloc(n, sizeof *work->entries);
    work->blobs = calloc(n, sizeof *work->blobs);
    if (work->entries == NULL || work->blobs == NULL) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < n; i++) {
        const struct consensus_slot *slot = consensus_log_get(&c->log, first + i);
        work->blobs[i] = consensus_blob_ref(slot->blob);
        work->entries[i] = (struct consensus_entry){
            .index = first + i, .term = slot->term, .type = slot->type, .data = slot->blob->data, .len = slot->blob->len};
    }
    work->job.entries = work->entries;
    work->job.n_entries = n;
    return 0;
}

/* The batch is ours to free, whether we were handed it or had submitted it. */
static int take_entries(struct consensus *c, struct consensus_work *work, struct raft_update *update)
{
    uint64_t first = update->entries.index;
    bool cut = first <= consensus_log_last(&c->log);
    int r = 0;

    if (cut) {
        work->job.truncate_from = first;
        consensus_log_truncate(&c->log, first);
    }
    if (first != consensus_log_last(&c->log) + 1) {
        abort(); /* the library's log and ours have come apart */
    }
    for (unsigned i = 0; i < update->entries.n && r == 0; i++) {
        const struct raft_entry *entry = &update->entries.batch[i];
        r = consensus_log_append(&c->log, entry->term, (enum consensus_entry_type)entry->type, entry->buf.base,
                                 entry->buf.len, work->job.number);
        if (entry->type == RAFT_CHANGE && c->raft.state == RAFT_LEADER) {
            /* A voter that finds itself demoted stands for election no more, and votes for nobody with a shorter log: were the
             * leader to lose the entry that says so, and its vote be needed, there would never be a leader again. */
            c->held_job = work->job.number;
        }
    }
    if (r == 0) {
        r = job_entries(c, work, first, update->entries.n);
    }
    raft_free(update->entries.batch[0].batch);
    if (r == 0 && cut) {
        consensus_configuration_mend(c);
    }
    return r;
}

static int take_writes(struct consensus *c, struct raft_update *update)
{
    struct consensus_work *work = consensus_work_new(c);

    if (work == NULL) {
        return -EIO;
    }
    if (update->flags & ((RAFT_UPDATE_CURRENT_TERM) | (RAFT_UPDATE_VOTED_FOR))) {
        work->job.set_vote = true;
        work->job.term = raft_current_term(&c->raft);
        work->job.vote = raft_voted_for(&c->raft);
        c->held_job = work->job.number;
    }
    if (update->flags & (RAFT_UPDATE_SNAPSHOT)) {
        consensus_install(c, work, update);
    }
    if (update->flags & (RAFT_UPDATE_ENTRIES) && take_entries(c, work, update) < 0) {
        consensus_die(c, -ENOMEM, "no memory for entries");
    }
    return c->dead ? -EIO : 0;
}

static void take_state(struct consensus *c, const struct raft_update *update)
{
    c->barrier = 0;
    c->barrier_due = false;
    memset(c->followers, 0, sizeof c->followers);
    if (c->raft.state == RAFT_LEADER) {
        c->stats.elections++;
        /* The library writes a first entry of its own only when it does not know everything to be committed. */
        c->barrier = update->flags & (RAFT_UPDATE_ENTRIES) ? update->entries.index : 0;
        c->barrier_due = c->barrier == 0;
    }
}

static void take_update(struct consensus *c, const struct raft_event *event, struct raft_update *update)
{
    unsigned writes = (RAFT_UPDATE_CURRENT_TERM) | (RAFT_UPDATE_VOTED_FOR) | (RAFT_UPDATE_ENTRIES) |
                      (RAFT_UPDATE_SNAPSHOT);

    if ((update->flags & writes) != 0 && take_writes(c, update) < 0) {
        return;
    }
    if (update->flags & (RAFT_UPDATE_STATE)) {
        take_state(c, update);
    }
    if (update->flags & (RAFT_UPDATE_MESSAGES)) {
        for (unsigned i = 0; i < update->messages.n; i++) {
            consensus_post(c, &update->messages.batch[i]);
        }
    }
    if (c->raft.state == RAFT_LEADER && update->flags & (RAFT_UPDATE_COMMIT_INDEX)) {
        consensus_post_commit(c);
    } else if (c->raft.state == RAFT_LEADER && event->type == RAFT_RECEIVE) {
        consensus_post_commit_to(c, event->receive.message->server_id);
    }
}

int consensus_step(struct consensus *c, struct raft_event *event)
{
    struct raft_update update = {0};

    event->time = c->now_ms;
    event->capacity = CAPACITY;
    int rv = raft_step(&c->raft, event, &update);
    if (rv == 0) {
        take_update(c, event, &update);
    }
    return rv;
}

int consensus_step_or_die(struct consensus *c, struct raft_event *event, const char *what)
{
    int rv = consensus_step(c, event);

    if (rv != 0) {
        consensus_die(c, rv == RAFT_NOMEM ? -ENOMEM : -ENOTRECOVERABLE, what);
    }
    return c->dead ? -EIO : 0;
}

int consensus_append(struct consensus *c, enum raft_entry_type type, const void *data, size_t len)
{
    struct raft_event event = {.type = RAFT_SUBMIT};
    struct raft_entry entry = {.type = type, .term = raft_current_term(&c->raft)};

    entry.batch = raft_malloc(raft_message_pad(len + 1));
    if (entry.batch == NULL) {
        return RAFT_NOMEM;
    }
    if (len > 0) {
        memcpy(entry.batch, data, len);
    }
    entry.buf = (struct raft_buffer){.base = entry.batch, .len = len};
    event.submit.entries = &entry;
    event.submit.n = 1;
    int rv = consensus_step(c, &event);
    if (rv != 0) {
        raft_free(entry.batch);
    }
    return rv;
}

/* ------------------------------------------------------------------ what was written */

static void note_disk(struct consensus *c, const struct consensus_job *job)
{
    if (job->truncate_from != 0 && job->truncate_from <= c->disk_index) {
        uint64_t left = job->truncate_from - 1;
        if (!c->low_news || left < c->low_index) {
            c->low_index = left;
            c->low_term = consensus_term_of(c, left);
        }
        c->low_news = true;
    }
    const struct consensus_entry *last = &job->entries[job->n_entries - 1];
    c->disk_index = last->index;
    c->disk_term = last->term;
    c->disk_news = true;
}

/* Tells the library of the entries that are written for good: those of the log whose own job is done. */
static void entries_written(struct consensus *c)
{
    uint64_t stored = c->raft.last_stored;

    if (c->raft.snapshot.installing) {
        return;
    }
    for (;;) {
        const struct consensus_slot *slot = consensus_log_get(&c->log, stored + 1);
        if (slot == NULL || slot->job > c->job_done) {
            break;
        }
        stored++;
    }
    if (stored > c->raft.last_stored) {
        struct raft_event event = {.type = RAFT_PERSISTED_ENTRIES};
        event.persisted_entries.index = stored;
        (void)!consensus_step_or_die(c, &event, "entries written");
    }
}

int consensus_persisted(struct consensus *c, struct consensus_job *job, int status, uint64_t now_ms)
{
    struct consensus_work *work = c->works;

    if (c->dead) {
        return -EIO;
    }
    if (work == NULL || &work->job != job || work == c->works_due) {
        abort(); /* not the oldest, or never given out */
    }
    c->now_ms = now_ms > c->now_ms ? now_ms : c->now_ms;
    if (status < 0) {
        consensus_die(c, status, "a write failed");
        return -EIO;
    }
    c->works = work->next;
    c->job_done = job->number;
    if (work->image != NULL && work->install) {
        consensus_installed(c, work);
    } else if (work->image != NULL) {
        consensus_taken(c, work);
    }
    if (job->n_entries > 0) {
        note_disk(c, job);
        entries_written(c);
    }
    consensus_work_free(work);
    return consensus_pump(c);
}

/* ------------------------------------------------------------------ callbacks */

static bool tell_role(struct consensus *c)
{
    bool leader = consensus_is_leader(c);
    uint64_t term = consensus_term(c);
    uint64_t leader_id = consensus_leader(c);

    if (c->said_role && leader == c->said_leader && term == c->said_term && leader_id == c->said_leader_id) {
        return false;
    }
    c->said_role = true;
    c->said_leader = leader;
    c->said_term = term;
    c->said_leader_id = leader_id;
    c->ops->role(c->ud, leader, term, leader_id);
    return true;
}

static bool tell_disk(struct consensus *c)
{
    if (c->low_news) {
        c->low_news = false;
        c->ops->disk(c->ud, c->low_term, c->low_index);
        return true;
    }
    if (c->disk_news) {
        c->disk_news = false;
        c->ops->disk(c->ud, c->disk_term, c->disk_index);
        return true;
    }
    return false;
}

static bool restore_if_due(struct consensus *c)
{
    if (!c->restore_due) {
        return false;
    }
    const struct consensus_snapshot *snapshot = &c->snapshot->snapshot;
    c->restore_due = false;
    c->applied = snapshot->index;
    int r = c->ops->restore(c->ud, snapshot->index, snapshot->data, snapshot->len);
    if (r < 0) {
        consensus_die(c, r, "a snapshot could not be restored");
    }
    return true;
}

static void apply_configuration(struct consensus *c, uint64_t index, uint64_t term, const struct consensus_blob *blob)
{
    struct consensus_server servers[CONSENSUS_SERVERS_MAX];
    struct raft_configuration configuration;

    if (consensus_configuration_applied(c, index, blob->data, blob->len) < 0 ||
        consensus_decode(blob->data, blob->len, &configuration) < 0) {
        consensus_die(c, -EBADMSG, "a configuration could not be applied");
        return;
    }
    unsigned n = consensus_servers_of(&configuration, servers, CONSENSUS_SERVERS_MAX);
    if (n > CONSENSUS_SERVERS_MAX) {
        consensus_die(c, -EBADMSG, "a configuration has too many servers");
    } else {
        c->ops->configured(c->ud, index, term, servers, n);
    }
    raft_configuration_close(&configuration);
}

static bool apply_one(struct consensus *c)
{
    uint64_t index = c->applied + 1;

    if (c->raft.snapshot.installing || index > raft_commit_index(&c->raft) ||
        (RULE(V2_DISK) && index > c->raft.last_stored)) {
        return false;
    }
    const struct consensus_slot *slot = consensus_log_get(&c->log, index);
    if (slot == NULL) {
        abort(); /* committed, stored, not in a snapshot: and not there */
    }
    /* The log may change under a callback that calls back in. */
    struct consensus_blob *blob = consensus_blob_ref(slot->blob);
    uint64_t term = slot->term;
    enum consensus_entry_type type = slot->type;

    c->applied = index;
    if (type == CONSENSUS_CHANGE) {
        apply_configuration(c, index, term, blob);
    } else if (type == CONSENSUS_COMMAND) {
        c->ops->apply(c->ud, index, term, blob->data, blob->len);
    } else {
        c->ops->skip(c->ud, index, term);
    }
    consensus_blob_unref(blob);
    return true;
}

static bool barrier_if_due(struct consensus *c)
{
    if (!c->barrier_due) {
        return false;
    }
    uint64_t zero = 0;
    c->barrier_due = false;
    if (consensus_append(c, RAFT_BARRIER, &zero, sizeof zero) != 0) {
        consensus_die(c, -ENOMEM, "the leader's first entry");
        return true;
    }
    c->barrier = consensus_log_last(&c->log);
    return true;
}

int consensus_pump(struct consensus *c)
{
    static bool (*const duties[])(struct consensus *) = {
        barrier_if_due, give_out_jobs, consensus_deliver, tell_role, tell_disk, restore_if_due, apply_one,
        consensus_take_if_due,
    };

    if (c->pumping) {
        return c->dead ? -EIO : 0;
    }
    c->pumping = true;
    /* After each duty that had something to do, begin again: what comes first may have got something new. */
    for (size_t i = 0; i < sizeof duties / sizeof duties[0] && !c->dead;) {
        i = duties[i](c) ? 0 : i + 1;
    }
    c->pumping = false;
    return c->dead ? -EIO : 0;
}
