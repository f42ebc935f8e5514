#include "io/store.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "io/crc32c.h"
#include "io/store_dir.h"

/* One file for all that speaks SQL; longer than others for that reason.
 *
 * `state` has one row: term, vote, and the first and last index of the log (first = last + 1: none). It is written with
 * every job, so that rows which have gone missing are noticed. A write holds the mutex from BEGIN to COMMIT: the daemon
 * may set one of its own values while the writing thread is at work. */

#define VERSION 1
#define TIDY_FRAMES 1000 /* pages of 4 KiB in the write-ahead log, above which it is tidied when there is time ... */
#define FORCE_FRAMES 2000 /* ... and in any case */
#define LOG_SIZE ((size_t)9 << 20) /* bytes that it is kept at, more than FORCE_FRAMES take */
#define PINS_N 128 /* a power of two, twice the nodes of a cluster */
#define BUSY_MS 2000 /* a person's sqlite3 may read meanwhile; one that writes must be quick */

enum statement
{
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_SET_STATE,
    SQL_GET_STATE,
    SQL_ADD_ENTRY,
    SQL_CUT_ENTRIES,
    SQL_COMPACT,
    SQL_GET_ENTRIES,
    SQL_SIZE_ENTRIES,
    SQL_SET_SNAPSHOT,
    SQL_GET_SNAPSHOT,
    SQL_SET_META,
    SQL_GET_META,
    SQL_N,
};

static const char *const texts[SQL_N] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_SET_STATE] = "REPLACE INTO state(id, term, vote, first, last, crc) VALUES(1, ?1, ?2, ?3, ?4, ?5)",
    [SQL_GET_STATE] = "SELECT term, vote, first, last, crc FROM state",
    [SQL_ADD_ENTRY] = "INSERT INTO log(idx, term, type, data, crc) VALUES(?1, ?2, ?3, ?4, ?5)",
    [SQL_CUT_ENTRIES] = "DELETE FROM log WHERE idx >= ?1",
    [SQL_COMPACT] = "DELETE FROM log WHERE idx < ?1",
    [SQL_GET_ENTRIES] = "SELECT idx, term, type, data, crc FROM log ORDER BY idx",
    [SQL_SIZE_ENTRIES] = "SELECT count(*), coalesce(sum(length(data)), 0) FROM log",
    [SQL_SET_SNAPSHOT] = "REPLACE INTO snapshot(id, idx, term, configuration_idx, configuration, data, crc) "
                         "VALUES(1, ?1, ?2, ?3, ?4, ?5, ?6)",
    [SQL_GET_SNAPSHOT] = "SELECT idx, term, configuration_idx, configuration, data, crc FROM snapshot",
    [SQL_SET_META] = "REPLACE INTO meta(key, value, crc) VALUES(?1, ?2, ?3)",
    [SQL_GET_META] = "SELECT value, crc FROM meta WHERE key = ?1",
};

static const char schema[] = "CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL);"
                             "CREATE TABLE state(id INTEGER PRIMARY KEY CHECK(id = 1), term INTEGER NOT NULL,"
                             " vote INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,"
                             " crc INTEGER NOT NULL);"
                             "CREATE TABLE log(idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, type INTEGER NOT NULL,"
                             " data BLOB NOT NULL, crc INTEGER NOT NULL);"
                             "CREATE TABLE snapshot(id INTEGER PRIMARY KEY CHECK(id = 1), idx INTEGER NOT NULL,"
                             " term INTEGER NOT NULL, configuration_idx INTEGER NOT NULL, configuration BLOB NOT NULL,"
                             " data BLOB NOT NULL, crc INTEGER NOT NULL);";

/* synchronous=FULL syncs the write-ahead log at each commit. RESTART: what an unfinished transaction left in the log must
 * not be there, under the same generation, when the next is written. The size limit takes back what a large snapshot
 * made of the log; store_close() lifts it, for SQLite would cut the log to nothing. What was written is read again at a start
 * only: by itself SQLite would keep the last 2 MB of it in memory. */
static const char pragmas[] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA journal_size_limit=9437184;"
                              "PRAGMA cell_size_check=ON; PRAGMA cache_size=-256; PRAGMA wal_checkpoint(RESTART);";

struct state
{
    uint64_t term, vote, first, last;
};

struct pin
{
    uint64_t peer, identity; /* peer 0: free */
};

/* What store_load() gives out. */
struct loaded
{
    struct consensus_state state;
    struct consensus_snapshot snapshot;
    struct consensus_entry *entries;
    uint8_t *data; /* of the entries */
    void *configuration, *snapshot_data;
};

struct store
{
    char *path;
    int lock_fd;
    sqlite3 *db;
    sqlite3_stmt *statements[SQL_N];
    pthread_mutex_t mutex;
    struct state state;
    int frames; /* in the write-ahead log */
    uint64_t identity;
    struct loaded loaded;
    struct pin pins[PINS_N]; /* those that were asked for */
    char error[256];
};

/* ------------------------------------------------------------------ SQLite */

static int map_error(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
        return -EBADMSG;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_CANTOPEN:
        return -EACCES;
    case SQLITE_TOOBIG:
        return -EMSGSIZE;
    default:
        return -EIO;
    }
}

static int fail(struct store *store, int rc)
{
    snprintf(store->error, sizeof store->error, "%s", store->db != NULL ? sqlite3_errmsg(store->db) : sqlite3_errstr(rc));
    return map_error(rc);
}

static int execute(struct store *store, const char *sql)
{
    int rc = sqlite3_exec(store->db, sql, NULL, NULL, NULL);

    return rc == SQLITE_OK ? 0 : fail(store, rc);
}

static void bind_u64(sqlite3_stmt *statement, int at, uint64_t value)
{
    (void)!sqlite3_bind_int64(statement, at, (sqlite3_int64)value);
}

/* The data outlives the statement's run. NULL is bound as an empty blob: columns are NOT NULL. */
static void bind_blob(sqlite3_stmt *statement, int at, const void *data, size_t len)
{
    (void)!sqlite3_bind_blob64(statement, at, len > 0 ? data : "", len, SQLITE_STATIC);
}

static uint64_t column_u64(sqlite3_stmt *statement, int at)
{
    return (uint64_t)sqlite3_column_int64(statement, at);
}

static size_t column_blob(sqlite3_stmt *statement, int at, const void **ret)
{
    *ret = sqlite3_column_blob(statement, at);
    return *ret == NULL ? 0 : (size_t)sqlite3_column_bytes(statement, at);
}

/* Runs a statement that returns no rows. */
static int run(struct store *store, enum statement which)
{
    sqlite3_stmt *statement = store->statements[which];
    int rc = sqlite3_step(statement);
    int r = rc == SQLITE_DONE ? 0 : fail(store, rc);

    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return r;
}

static int run_u64(struct store *store, enum statement which, uint64_t value)
{
    bind_u64(store->statements[which], 1, value);
    return run(store, which);
}

/* 1: a row is there (the caller resets), 0: none, below 0: error. */
static int first_row(struct store *store, enum statement which)
{
    int rc = sqlite3_step(store->statements[which]);

    if (rc == SQLITE_ROW) {
        return 1;
    }
    int r = rc == SQLITE_DONE ? 0 : fail(store, rc);
    sqlite3_reset(store->statements[which]);
    return r;
}

static int prepare(struct store *store)
{
    for (int i = 0; i < SQL_N; i++) {
        int rc = sqlite3_prepare_v3(store->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &store->statements[i], NULL);
        if (rc != SQLITE_OK) {
            return fail(store, rc);
        }
    }
    return 0;
}

static int begin(struct store *store)
{
    pthread_mutex_lock(&store->mutex);
    int r = run(store, SQL_BEGIN);
    if (r < 0) {
        pthread_mutex_unlock(&store->mutex);
    }
    return r;
}

static int count_frames(void *ud, sqlite3 *db, const char *name, int frames)
{
    ((struct store *)ud)->frames = frames;
    return SQLITE_OK;
}

/* A person's sqlite3 that reads an old state can keep it from being done in full; then the log grows meanwhile. */
static int checkpoint(struct store *store)
{
    int rc = sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);

    store->frames = 0;
    return rc == SQLITE_OK || rc == SQLITE_BUSY ? 0 : fail(store, rc);
}

int store_tidy(struct store *store)
{
    int r = 0;

    pthread_mutex_lock(&store->mutex);
    if (store->frames >= TIDY_FRAMES) {
        r = checkpoint(store);
    }
    pthread_mutex_unlock(&store->mutex);
    return r;
}

/* Commits when r is 0, else rolls back. */
static int end(struct store *store, int r)
{
    char error[sizeof store->error];

    if (r == 0) {
        r = run(store, SQL_COMMIT);
    }
    if (r == 0 && store->frames >= FORCE_FRAMES) {
        r = checkpoint(store);
    }
    if (r < 0) {
        memcpy(error, store->error, sizeof error);
        (void)!run(store, SQL_ROLLBACK); /* it may have rolled back by itself */
        memcpy(store->error, error, sizeof error);
    }
    pthread_mutex_unlock(&store->mutex);
    return r;
}

/* ------------------------------------------------------------------ records */

static uint32_t state_crc(const struct state *state)
{
    return crc32c_u64(crc32c_u64(crc32c_u64(crc32c_u64(0, state->term), state->vote), state->first), state->last);
}

static uint32_t entry_crc(const struct consensus_entry *entry)
{
    uint32_t crc = crc32c_u64(crc32c_u64(crc32c_u64(0, entry->index), entry->term), (uint64_t)entry->type);

    return crc32c(crc, entry->data, entry->len);
}

static uint32_t snapshot_crc(const struct consensus_snapshot *snapshot)
{
    uint32_t crc = crc32c_u64(crc32c_u64(0, snapshot->index), snapshot->term);

    crc = crc32c_u64(crc32c_u64(crc, snapshot->configuration_index), snapshot->configuration_len);
    crc = crc32c(crc, snapshot->configuration, snapshot->configuration_len);
    return crc32c(crc, snapshot->data, snapshot->len);
}

static uint32_t meta_crc(const char *key, const void *value, size_t len)
{
    return crc32c(crc32c(0, key, strlen(key) + 1), value, len);
}

static int write_state(struct store *store, const struct state *state)
{
    sqlite3_stmt *statement = store->statements[SQL_SET_STATE];

    bind_u64(statement, 1, state->term);
    bind_u64(statement, 2, state->vote);
    bind_u64(statement, 3, state->first);
    bind_u64(statement, 4, state->last);
    bind_u64(statement, 5, state_crc(state));
    return run(store, SQL_SET_STATE);
}

static int write_entry(struct store *store, const struct consensus_entry *entry)
{
    sqlite3_stmt *statement = store->statements[SQL_ADD_ENTRY];

    bind_u64(statement, 1, entry->index);
    bind_u64(statement, 2, entry->term);
    bind_u64(statement, 3, (uint64_t)entry->type);
    bind_blob(statement, 4, entry->data, entry->len);
    bind_u64(statement, 5, entry_crc(entry));
    return run(store, SQL_ADD_ENTRY);
}

static int write_snapshot(struct store *store, const struct consensus_snapshot *snapshot)
{
    sqlite3_stmt *statement = store->statements[SQL_SET_SNAPSHOT];

    bind_u64(statement, 1, snapshot->index);
    bind_u64(statement, 2, snapshot->term);
    bind_u64(statement, 3, snapshot->configuration_index);
    bind_blob(statement, 4, snapshot->configuration, snapshot->configuration_len);
    bind_blob(statement, 5, snapshot->data, snapshot->len);
    bind_u64(statement, 6, snapshot_crc(snapshot));
    return run(store, SQL_SET_SNAPSHOT);
}

static int write_meta(struct store *store, const char *key, const void *value, size_t len)
{
    sqlite3_stmt *statement = store->statements[SQL_SET_META];

    (void)!sqlite3_bind_text(statement, 1, key, -1, SQLITE_STATIC);
    bind_blob(statement, 2, value, len);
    bind_u64(statement, 3, meta_crc(key, value, len));
    return run(store, SQL_SET_META);
}

/* ------------------------------------------------------------------ writing jobs */

static int write_entries(struct store *store, const struct consensus_job *job, struct state *state)
{
    for (size_t i = 0; i < job->n_entries; i++) {
        if (job->entries[i].index != state->last + 1) {
            abort(); /* the consensus and its disk have come apart */
        }
        int r = write_entry(store, &job->entries[i]);
        if (r < 0) {
            return r;
        }
        state->last++;
    }
    return 0;
}

static int cut(struct store *store, uint64_t from, struct state *state)
{
    if (from > state->last) {
        return 0;
    }
    state->last = from > state->first ? from - 1 : state->first - 1;
    return run_u64(store, SQL_CUT_ENTRIES, from);
}

static int compact(struct store *store, uint64_t below, struct state *state)
{
    if (below <= state->first) {
        return 0;
    }
    state->first = below;
    return run_u64(store, SQL_COMPACT, below);
}

static int write_job(struct store *store, const struct consensus_job *job, struct state *state)
{
    int r = 0;

    if (job->set_vote) {
        state->term = job->term;
        state->vote = job->vote;
    }
    if (job->truncate_from != 0) {
        r = cut(store, job->truncate_from, state);
    }
    if (r == 0) {
        r = write_entries(store, job, state);
    }
    if (r == 0 && job->snapshot != NULL) {
        r = write_snapshot(store, job->snapshot);
        if (state->last < job->snapshot->index) { /* installed: the log begins anew behind it */
            state->first = job->snapshot->index + 1;
            state->last = job->snapshot->index;
        }
    }
    if (r == 0 && job->compact_below != 0) {
        r = compact(store, job->compact_below, state);
    }
    return r;
}

int store_write(struct store *store, struct consensus_job *const *jobs, size_t n)
{
    struct state state = store->state;

    int r = begin(store);
    if (r < 0) {
        return r;
    }
    for (size_t i = 0; i < n && r == 0; i++) {
        r = write_job(store, jobs[i], &state);
    }
    if (r == 0) {
        r = write_state(store, &state);
    }
    r = end(store, r);
    if (r == 0) {
        store->state = state;
    }
    return r;
}

int store_found(struct store *store, const void *configuration, size_t len)
{
    struct consensus_entry entry = {.index = 1, .term = 1, .type = CONSENSUS_CHANGE, .data = configuration, .len = len};
    struct consensus_job job = {.set_vote = true, .term = 1, .entries = &entry, .n_entries = 1};
    struct consensus_job *jobs[] = {&job};

    if (store->state.term != 0 || store->state.last != 0) {
        return -EEXIST;
    }
    return store_write(store, jobs, 1);
}

/* ------------------------------------------------------------------ damage and refusal */

/* Says what is wrong and how the node comes back. Does not touch errno. */
static int damaged(const struct store *store, char text[STORE_TEXT_SIZE], const char *format, ...) PRINTF(3, 4);
static int damaged(const struct store *store, char text[STORE_TEXT_SIZE], const char *format, ...)
{
    char what[160];
    va_list args;

    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    snprintf(text, STORE_TEXT_SIZE,
             "the data directory %.300s is damaged: %s. What this node had acknowledged may be missing, so it must not "
             "vote with it. To rejoin as a new node: `vipctl node remove` it on another node, move the directory away, "
             "`vipctl node add` it, and start it again",
             store->path, what);
    return -EBADMSG;
}

/* A damaged database shows itself in whatever reads it. */
static int refuse(struct store *store, int r, char text[STORE_TEXT_SIZE])
{
    if (r == -EBADMSG) {
        return damaged(store, text, "%s", store->error);
    }
    snprintf(text, STORE_TEXT_SIZE, "the data directory %.400s cannot be used: %s", store->path,
             store->error[0] != '\0' ? store->error : strerror(-r));
    return r;
}

/* ------------------------------------------------------------------ loading */

static int load_state(struct store *store, char text[STORE_TEXT_SIZE])
{
    sqlite3_stmt *statement = store->statements[SQL_GET_STATE];

    int r = first_row(store, SQL_GET_STATE);
    if (r < 0) {
        return refuse(store, r, text);
    }
    if (r == 0) {
        return damaged(store, text, "term and vote are missing");
    }
    struct state state = {column_u64(statement, 0), column_u64(statement, 1), column_u64(statement, 2),
                          column_u64(statement, 3)};
    bool sound = column_u64(statement, 4) == state_crc(&state) && state.first >= 1 && state.last + 1 >= state.first;
    sqlite3_reset(statement);
    if (!sound) {
        return damaged(store, text, "the checksum of term and vote is wrong");
    }
    store->state = state;
    return 0;
}

static int copy_blob(sqlite3_stmt *statement, int at, void **ret, size_t *ret_len)
{
    const void *data;
    size_t len = column_blob(statement, at, &data);
    void *copy = malloc(len + 1);

    if (copy == NULL) {
        return -ENOMEM;
    }
    if (len > 0) {
        memcpy(copy, data, len);
    }
    *ret = copy;
    *ret_len = len;
    return 0;
}

static int load_snapshot(struct store *store, char text[STORE_TEXT_SIZE])
{
    sqlite3_stmt *statement = store->statements[SQL_GET_SNAPSHOT];
    struct consensus_snapshot *snapshot = &store->loaded.snapshot;

    int r = first_row(store, SQL_GET_SNAPSHOT);
    if (r <= 0) {
        return r == 0 ? 0 : refuse(store, r, text);
    }
    snapshot->index = column_u64(statement, 0);
    snapshot->term = column_u64(statement, 1);
    snapshot->configuration_index = column_u64(statement, 2);
    uint64_t crc = column_u64(statement, 5);
    r = copy_blob(statement, 3, &store->loaded.configuration, &snapshot->configuration_len);
    if (r == 0) {
        r = copy_blob(statement, 4, &store->loaded.snapshot_data, &snapshot->len);
    }
    sqlite3_reset(statement);
    if (r < 0) {
        return refuse(store, r, text);
    }
    snapshot->configuration = store->loaded.configuration;
    snapshot->data = store->loaded.snapshot_data;
    if (crc != snapshot_crc(snapshot)) {
        return damaged(store, text, "the checksum of the snapshot at index %llu is wrong",
                       (unsigned long long)snapshot->index);
    }
    store->loaded.state.snapshot = snapshot;
    return 0;
}

static size_t padded(size_t len)
{
    return (len + 7) & ~(size_t)7;
}

static int allocate_entries(struct store *store, char text[STORE_TEXT_SIZE])
{
    sqlite3_stmt *statement = store->statements[SQL_SIZE_ENTRIES];

    int r = first_row(store, SQL_SIZE_ENTRIES);
    if (r <= 0) {
        return refuse(store, r == 0 ? -EIO : r, text);
    }
    uint64_t n = column_u64(statement, 0);
    uint64_t bytes = column_u64(statement, 1);
    sqlite3_reset(statement);
    if (n != store->state.last + 1 - store->state.first) {
        return damaged(store, text, "the log has %llu entries, and should have those from %llu to %llu",
                       (unsigned long long)n, (unsigned long long)store->state.first,
                       (unsigned long long)store->state.last);
    }
    store->loaded.entries = calloc(n + 1, sizeof *store->loaded.entries);
    store->loaded.data = malloc(bytes + 8 * n + 8);
    return store->loaded.entries == NULL || store->loaded.data == NULL ? refuse(store, -ENOMEM, text) : 0;
}

static int load_entry(struct store *store, size_t i, uint8_t **at, char text[STORE_TEXT_SIZE])
{
    sqlite3_stmt *statement = store->statements[SQL_GET_ENTRIES];
    struct consensus_entry *entry = &store->loaded.entries[i];
    uint64_t index = store->state.first + i;
    const void *data;

    entry->index = column_u64(statement, 0);
    entry->term = column_u64(statement, 1);
    entry->type = (enum consensus_entry_type)column_u64(statement, 2);
    entry->len = column_blob(statement, 3, &data);
    entry->data = *at;
    if (entry->len > 0) {
        memcpy(*at, data, entry->len);
    }
    *at += padded(entry->len);
    if (entry->index != index) {
        return damaged(store, text, "entry %llu of the log is missing", (unsigned long long)index);
    }
    if (column_u64(statement, 4) != entry_crc(entry)) {
        return damaged(store, text, "the checksum of entry %llu of the log is wrong", (unsigned long long)index);
    }
    return 0;
}

static int load_entries(struct store *store, char text[STORE_TEXT_SIZE])
{
    sqlite3_stmt *statement = store->statements[SQL_GET_ENTRIES];
    uint8_t *at = store->loaded.data;
    size_t n = (size_t)(store->state.last + 1 - store->state.first);
    int r = 0, rc = SQLITE_ROW;

    for (size_t i = 0; i < n && r == 0; i++) {
        rc = sqlite3_step(statement);
        if (rc != SQLITE_ROW) {
            break;
        }
        r = load_entry(store, i, &at, text);
    }
    sqlite3_reset(statement);
    if (r < 0) {
        return r;
    }
    if (rc != SQLITE_ROW) {
        return refuse(store, rc == SQLITE_DONE ? -EBADMSG : fail(store, rc), text);
    }
    store->loaded.state.entries = store->loaded.entries;
    store->loaded.state.n_entries = n;
    return 0;
}

int store_load(struct store *store, const struct consensus_state **ret, char text[STORE_TEXT_SIZE])
{
    store_unload(store);
    int r = load_state(store, text);
    if (r == 0) {
        r = load_snapshot(store, text);
    }
    if (r == 0) {
        r = allocate_entries(store, text);
    }
    if (r == 0) {
        r = load_entries(store, text);
    }
    if (r < 0) {
        store_unload(store);
        return r;
    }
    store->loaded.state.term = store->state.term;
    store->loaded.state.vote = store->state.vote;
    *ret = &store->loaded.state;
    return 0;
}

void store_unload(struct store *store)
{
    free(store->loaded.entries);
    free(store->loaded.data);
    free(store->loaded.configuration);
    free(store->loaded.snapshot_data);
    store->loaded = (struct loaded){0};
}

/* ------------------------------------------------------------------ values */

int store_set(struct store *store, const char *key, const void *value, size_t len)
{
    if (strlen(key) > STORE_KEY_MAX || len > STORE_VALUE_MAX) {
        return -EINVAL;
    }
    int r = begin(store);
    return r < 0 ? r : end(store, write_meta(store, key, value, len));
}

static int get_locked(struct store *store, const char *key, void *ret_value, size_t size, size_t *ret_len)
{
    sqlite3_stmt *statement = store->statements[SQL_GET_META];
    const void *value;

    (void)!sqlite3_bind_text(statement, 1, key, -1, SQLITE_STATIC);
    int r = first_row(store, SQL_GET_META);
    if (r <= 0) {
        return r == 0 ? STORE_ABSENT : r;
    }
    size_t len = column_blob(statement, 0, &value);
    r = 0;
    if (column_u64(statement, 1) != meta_crc(key, value, len)) {
        snprintf(store->error, sizeof store->error, "the checksum of %s is wrong", key);
        r = -EBADMSG;
    } else if (len > size) {
        r = -ENOBUFS;
    } else {
        if (len > 0) {
            memcpy(ret_value, value, len);
        }
        *ret_len = len;
    }
    sqlite3_reset(statement);
    return r;
}

int store_get(struct store *store, const char *key, void *ret_value, size_t size, size_t *ret_len)
{
    if (strlen(key) > STORE_KEY_MAX) {
        return -EINVAL;
    }
    pthread_mutex_lock(&store->mutex);
    int r = get_locked(store, key, ret_value, size, ret_len);
    pthread_mutex_unlock(&store->mutex);
    return r;
}

/* As decimal text, which a person with sqlite3 can read. */
int store_set_u64(struct store *store, const char *key, uint64_t value)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%llu", (unsigned long long)value);

    return store_set(store, key, text, (size_t)len);
}

int store_get_u64(struct store *store, const char *key, uint64_t *ret)
{
    char text[24];
    char *rest;
    size_t len;

    int r = store_get(store, key, text, sizeof text - 1, &len);
    if (r != 0) {
        return r;
    }
    text[len] = '\0';
    errno = 0;
    unsigned long long value = strtoull(text, &rest, 10);
    if (len == 0 || *rest != '\0' || errno != 0) {
        snprintf(store->error, sizeof store->error, "%s is no number", key);
        return -EBADMSG;
    }
    *ret = value;
    return 0;
}

static void pin_key(uint64_t peer, char key[STORE_KEY_MAX])
{
    snprintf(key, STORE_KEY_MAX, "peer.%llu", (unsigned long long)peer);
}

/* Where the pin is, or would be: peers connect while the disk may be slow, and the loop must not wait for it then. */
static struct pin *find_pin(struct store *store, uint64_t peer)
{
    for (size_t i = 0; i < PINS_N; i++) {
        struct pin *pin = &store->pins[(peer + i) & (PINS_N - 1)];
        if (pin->peer == peer || pin->peer == 0) {
            return pin;
        }
    }
    return &store->pins[peer & (PINS_N - 1)]; /* full: another is asked for again */
}

int store_pin(struct store *store, uint64_t peer, uint64_t identity)
{
    char key[STORE_KEY_MAX];

    pin_key(peer, key);
    int r = store_set_u64(store, key, identity);
    if (r == 0 && peer != 0) {
        *find_pin(store, peer) = (struct pin){peer, identity};
    }
    return r;
}

int store_pinned(struct store *store, uint64_t peer, uint64_t *ret_identity)
{
    struct pin *pin = find_pin(store, peer);
    char key[STORE_KEY_MAX];
    uint64_t identity;

    if (peer != 0 && pin->peer == peer) {
        *ret_identity = pin->identity;
        return 0;
    }
    pin_key(peer, key);
    int r = store_get_u64(store, key, &identity);
    if (r == 0) {
        *pin = (struct pin){peer, identity};
        *ret_identity = identity;
    }
    return r;
}

/* ------------------------------------------------------------------ opening */

static int draw_identity(uint64_t *ret)
{
    do {
        if (getrandom(ret, sizeof *ret, 0) != (ssize_t)sizeof *ret) {
            return -errno;
        }
    } while (*ret == 0);
    return 0;
}

/* In one transaction: a directory is either made, or still empty. */
static int create(struct store *store, const struct store_options *options)
{
    struct state empty = {.first = 1};
    char sql[64], identity[24];

    int r = draw_identity(&store->identity);
    if (r < 0) {
        return r;
    }
    int len = snprintf(identity, sizeof identity, "%llu", (unsigned long long)store->identity);
    snprintf(sql, sizeof sql, "PRAGMA user_version=%d", VERSION);
    r = execute(store, "BEGIN IMMEDIATE");
    if (r == 0) {
        r = execute(store, schema);
    }
    if (r == 0) {
        r = execute(store, sql);
    }
    if (r == 0) {
        r = prepare(store);
    }
    if (r == 0) {
        r = write_state(store, &empty);
    }
    if (r == 0) {
        r = write_meta(store, "cluster", options->cluster, strlen(options->cluster));
    }
    if (r == 0) {
        r = write_meta(store, "node", options->node, strlen(options->node));
    }
    if (r == 0) {
        r = write_meta(store, "identity", identity, (size_t)len);
    }
    if (r == 0) {
        r = execute(store, "COMMIT");
    }
    if (r == 0) {
        store->state = empty;
    }
    return r;
}

static int query_int(struct store *store, const char *sql, int64_t *ret, char *ret_text, size_t size)
{
    sqlite3_stmt *statement;
    int rc = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);

    if (rc == SQLITE_OK) {
        rc = sqlite3_step(statement);
    }
    if (rc == SQLITE_ROW && ret != NULL) {
        *ret = sqlite3_column_int64(statement, 0);
    }
    if (rc == SQLITE_ROW && ret_text != NULL) {
        const unsigned char *column = sqlite3_column_text(statement, 0);
        snprintf(ret_text, size, "%s", column == NULL ? "" : (const char *)column);
    }
    int r = rc == SQLITE_ROW ? 0 : fail(store, rc);
    sqlite3_finalize(statement);
    return r;
}

static int check_name(struct store *store, const char *key, const char *wanted, const char *what,
                      char text[STORE_TEXT_SIZE])
{
    char name[256] = "";
    size_t len;

    int r = store_get(store, key, name, sizeof name - 1, &len);
    if (r != 0) {
        return r == STORE_ABSENT ? damaged(store, text, "the name of the %s is missing", what) : refuse(store, r, text);
    }
    name[len] = '\0';
    if (strcmp(name, wanted) != 0) {
        snprintf(text, STORE_TEXT_SIZE,
                 "the data directory %.300s belongs to %s \"%.63s\", and the configuration says \"%.63s\": give this "
                 "node a directory of its own, or correct the name",
                 store->path, what, name, wanted);
        return -EPERM;
    }
    return 0;
}

static int check_made(struct store *store, const struct store_options *options, char text[STORE_TEXT_SIZE])
{
    char verdict[160] = "";

    int r = query_int(store, "PRAGMA journal_mode", NULL, verdict, sizeof verdict);
    if (r == 0 && strcmp(verdict, "wal") != 0) {
        snprintf(store->error, sizeof store->error, "SQLite's write-ahead log cannot be used here");
        r = -EIO;
    }
    if (r < 0) {
        return refuse(store, r, text);
    }
    r = query_int(store, "PRAGMA quick_check(1)", NULL, verdict, sizeof verdict);
    if (r < 0) {
        return refuse(store, r, text);
    }
    if (strcmp(verdict, "ok") != 0) {
        return damaged(store, text, "%.150s", verdict);
    }
    r = prepare(store);
    if (r < 0) {
        return damaged(store, text, "%s", store->error); /* a table is missing */
    }
    r = check_name(store, "cluster", options->cluster, "cluster", text);
    if (r == 0) {
        r = check_name(store, "node", options->node, "node", text);
    }
    if (r == 0) {
        r = load_state(store, text);
    }
    if (r < 0) {
        return r;
    }
    r = store_get_u64(store, "identity", &store->identity);
    if (r == STORE_ABSENT) {
        return damaged(store, text, "the identity is missing");
    }
    return r < 0 ? refuse(store, r, text) : 0;
}

static int open_database(struct store *store, char text[STORE_TEXT_SIZE])
{
    char file[PATH_MAX], wal[PATH_MAX];

    if (snprintf(file, sizeof file, "%s/vipd.db", store->path) >= (int)sizeof file ||
        snprintf(wal, sizeof wal, "%s/vipd.db-wal", store->path) >= (int)sizeof wal) {
        return refuse(store, -ENAMETOOLONG, text);
    }
    int r = store_dir_check_wal(wal);
    if (r < 0) {
        return r == -EBADMSG ? damaged(store, text, "the write-ahead log is broken before its end")
                             : refuse(store, r, text);
    }
    if (access(wal, F_OK) == 0 && access(file, F_OK) != 0) {
        return damaged(store, text, "vipd.db is missing, and its write-ahead log is there");
    }
    int rc = sqlite3_open_v2(file, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, NULL);
    if (rc != SQLITE_OK) {
        return refuse(store, fail(store, rc), text);
    }
    int keep = 1;
    (void)!sqlite3_busy_timeout(store->db, BUSY_MS);
    sqlite3_wal_hook(store->db, count_frames, store);
    r = execute(store, pragmas);
    if (r == 0) {
        (void)!sqlite3_file_control(store->db, NULL, SQLITE_FCNTL_PERSIST_WAL, &keep);
        r = store_dir_extend_wal(wal, LOG_SIZE);
    }
    return r < 0 ? refuse(store, r, text) : 0;
}

static int open_locked(struct store *store, const struct store_options *options, char text[STORE_TEXT_SIZE])
{
    int64_t version = 0, tables = 0;

    int r = open_database(store, text);
    if (r < 0) {
        return r;
    }
    r = query_int(store, "PRAGMA user_version", &version, NULL, 0);
    if (r == 0) {
        r = query_int(store, "SELECT count(*) FROM sqlite_schema", &tables, NULL, 0);
    }
    if (r < 0) {
        return refuse(store, r, text);
    }
    if (version == 0 && tables == 0) {
        r = create(store, options);
        return r < 0 ? refuse(store, r, text) : 0;
    }
    if (version != VERSION) {
        snprintf(text, STORE_TEXT_SIZE, "the data directory %.300s has format %lld, and this vipd knows format %d",
                 store->path, (long long)version, VERSION);
        return -EPROTONOSUPPORT;
    }
    return check_made(store, options, text);
}

int store_open(const struct store_options *options, struct store **ret, char text[STORE_TEXT_SIZE])
{
    struct store *store = calloc(1, sizeof *store);

    if (store == NULL) {
        snprintf(text, STORE_TEXT_SIZE, "no memory");
        return -ENOMEM;
    }
    store->lock_fd = -1;
    pthread_mutex_init(&store->mutex, NULL);
    store->path = strdup(options->path);
    int r = store->path == NULL ? -ENOMEM : store_dir_lock(store->path, &store->lock_fd, text);
    if (r == 0) {
        r = open_locked(store, options, text);
    }
    if (r < 0) {
        store_close(store);
        return r;
    }
    *ret = store;
    return 0;
}

void store_close(struct store *store)
{
    if (store == NULL) {
        return;
    }
    store_unload(store);
    if (store->db != NULL) {
        (void)!execute(store, "PRAGMA journal_size_limit=-1");
    }
    for (int i = 0; i < SQL_N; i++) {
        sqlite3_finalize(store->statements[i]);
    }
    sqlite3_close(store->db);
    if (store->lock_fd >= 0) {
        close(store->lock_fd);
    }
    pthread_mutex_destroy(&store->mutex);
    free(store->path);
    free(store);
}

const char *store_error(const struct store *store)
{
    return store->error;
}

uint64_t store_identity(const struct store *store)
{
    return store->identity;
}
