/* The data directory: what was written is there again, and what was damaged is refused.
 * `test_store --bench DIR N` measures instead: N small transactions in DIR. */

#include "io/store.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>
#include <uv.h>

#include "io/crc32c.h"
#include "io/store_thread.h"

static char top[64];
static char text[STORE_TEXT_SIZE];

/* ------------------------------------------------------------------ a directory to work in */

static int make_top(void **state)
{
    /* In memory where that is possible: the tests are about what is written, not about how fast. */
    snprintf(top, sizeof top, "%s/test_store.XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    return mkdtemp(top) == NULL ? -1 : 0;
}

static int remove_top(void **state)
{
    char command[96];

    snprintf(command, sizeof command, "rm -rf %s", top);
    return system(command);
}

static const char *path_of(const char *name)
{
    static char path[128];

    snprintf(path, sizeof path, "%s/%s", top, name);
    return path;
}

static void clear_dir(void)
{
    char command[320];

    snprintf(command, sizeof command, "rm -rf %s %s.copy", path_of("d"), path_of("d"));
    assert_int_equal(system(command), 0);
}

static int try_open(struct store **ret)
{
    struct store_options options = {.path = path_of("d"), .cluster = "prod", .node = "a"};

    text[0] = '\0';
    return store_open(&options, ret, text);
}

static struct store *opened(void)
{
    struct store *store = NULL;

    if (try_open(&store) != 0) {
        fail_msg("%s", text);
    }
    return store;
}

static const struct consensus_state *loaded(struct store *store)
{
    const struct consensus_state *state = NULL;

    if (store_load(store, &state, text) != 0) {
        fail_msg("%s", text);
    }
    return state;
}

/* ------------------------------------------------------------------ things to write */

static struct consensus_entry entry_at(uint64_t index, uint64_t term)
{
    static const char data[] = "a command of some length";

    return (struct consensus_entry){
        .index = index, .term = term, .type = CONSENSUS_COMMAND, .data = data, .len = index % sizeof data};
}

static void write_one(struct store *store, struct consensus_job *job)
{
    struct consensus_job *jobs[] = {job};

    assert_int_equal(store_write(store, jobs, 1), 0);
}

static void append(struct store *store, uint64_t index, uint64_t term)
{
    struct consensus_entry entry = entry_at(index, term);
    struct consensus_job job = {.entries = &entry, .n_entries = 1};

    write_one(store, &job);
}

static void found(struct store *store)
{
    assert_int_equal(store_found(store, "configuration", 13), 0);
}

static const struct consensus_snapshot snapshot_at_12 = {.index = 12,
                                                         .term = 2,
                                                         .configuration_index = 1,
                                                         .configuration = "configuration",
                                                         .configuration_len = 13,
                                                         .data = "the table",
                                                         .len = 9};

/* Founded, entries 2..15, a vote, a snapshot at 12 that leaves 10..15. */
static void fill(struct store *store)
{
    struct consensus_job vote = {.set_vote = true, .term = 2, .vote = 77};
    struct consensus_job snapshot = {.snapshot = &snapshot_at_12, .compact_below = 10};

    found(store);
    write_one(store, &vote);
    for (uint64_t index = 2; index <= 15; index++) {
        append(store, index, 2);
    }
    write_one(store, &snapshot);
}

static bool is_filled(const struct consensus_state *state)
{
    if (state->term != 2 || state->vote != 77 || state->n_entries != 6 || state->snapshot == NULL ||
        state->snapshot->index != 12 || state->snapshot->term != 2 || state->snapshot->len != 9 ||
        state->snapshot->configuration_index != 1 || state->snapshot->configuration_len != 13 ||
        memcmp(state->snapshot->data, "the table", 9) != 0 ||
        memcmp(state->snapshot->configuration, "configuration", 13) != 0) {
        return false;
    }
    for (size_t i = 0; i < 6; i++) {
        struct consensus_entry entry = entry_at(10 + i, 2);
        if (state->entries[i].index != entry.index || state->entries[i].term != entry.term ||
            state->entries[i].type != entry.type || state->entries[i].len != entry.len ||
            memcmp(state->entries[i].data, entry.data, entry.len) != 0) {
            return false;
        }
    }
    return true;
}

/* ------------------------------------------------------------------ tests */

static void test_crc(void **state)
{
    /* RFC 3720, B.4 */
    uint8_t zeros[32] = {0};

    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(0, zeros, sizeof zeros), 0x8a9136aa);
    assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
    assert_int_equal(crc32c_u64(0, 0x3837363534333231), crc32c(0, "12345678", 8));
}

static void test_fresh(void **state)
{
    struct stat st;

    clear_dir();
    struct store *store = opened();
    const struct consensus_state *loaded_state = loaded(store);
    assert_int_equal(loaded_state->term, 0);
    assert_int_equal(loaded_state->n_entries, 0);
    assert_null(loaded_state->snapshot);
    assert_int_equal(stat(path_of("d"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    uint64_t identity = store_identity(store);
    assert_true(identity != 0);
    store_close(store);
    store = opened();
    assert_int_equal(store_identity(store), identity);
    store_close(store);
    store_close(NULL);
}

static void test_reopen(void **state)
{
    clear_dir();
    struct store *store = opened();
    fill(store);
    assert_true(is_filled(loaded(store)));
    assert_int_equal(store_found(store, "again", 5), -EEXIST);
    store_close(store);
    store = opened();
    assert_int_equal(store_found(store, "again", 5), -EEXIST);
    assert_true(is_filled(loaded(store)));
    append(store, 16, 2); /* goes on where it was */
    store_close(store);
    store = opened();
    assert_int_equal(loaded(store)->n_entries, 7);
    store_close(store);
}

static void test_truncation_and_install(void **state)
{
    struct consensus_entry entries[2] = {entry_at(14, 3), entry_at(15, 3)};
    struct consensus_job cut = {.set_vote = true, .term = 3, .truncate_from = 14, .entries = entries, .n_entries = 2};
    struct consensus_snapshot snapshot = snapshot_at_12;
    struct consensus_job install = {.truncate_from = 1, .snapshot = &snapshot};

    clear_dir();
    struct store *store = opened();
    fill(store);
    write_one(store, &cut);
    const struct consensus_state *now = loaded(store);
    assert_int_equal(now->n_entries, 6);
    assert_int_equal(now->entries[3].term, 2);
    assert_int_equal(now->entries[4].term, 3);
    assert_int_equal(now->term, 3);
    assert_int_equal(now->vote, 0);
    snapshot.index = 40;
    write_one(store, &install);
    append(store, 41, 3);
    store_close(store);
    store = opened();
    now = loaded(store);
    assert_int_equal(now->snapshot->index, 40);
    assert_int_equal(now->n_entries, 1);
    assert_int_equal(now->entries[0].index, 41);
    store_close(store);
}

static void test_group(void **state)
{
    struct consensus_entry entries[20];
    struct consensus_job jobs[20], *pointers[20];

    clear_dir();
    struct store *store = opened();
    found(store);
    for (uint64_t i = 0; i < 20; i++) {
        entries[i] = entry_at(2 + i, 1);
        jobs[i] = (struct consensus_job){.entries = &entries[i], .n_entries = 1};
        pointers[i] = &jobs[i];
    }
    jobs[19].truncate_from = 10; /* the last of a group cuts what the others wrote */
    entries[19] = entry_at(10, 1);
    assert_int_equal(store_write(store, pointers, 20), 0);
    assert_int_equal(loaded(store)->n_entries, 10);
    store_close(store);
}

static void test_values(void **state)
{
    char value[16], big[STORE_VALUE_MAX + 1] = {0}, key[STORE_KEY_MAX + 2];
    uint64_t number = 5;
    size_t len = 99;

    clear_dir();
    struct store *store = opened();
    assert_int_equal(store_get(store, "k", value, sizeof value, &len), STORE_ABSENT);
    assert_int_equal(len, 99);
    assert_int_equal(store_set(store, "k", "value", 5), 0);
    assert_int_equal(store_set(store, "k", "other", 5), 0);
    assert_int_equal(store_get(store, "k", value, sizeof value, &len), 0);
    assert_int_equal(len, 5);
    assert_memory_equal(value, "other", 5);
    assert_int_equal(store_get(store, "k", value, 4, &len), -ENOBUFS);
    assert_int_equal(store_get_u64(store, "k", &number), -EBADMSG);
    assert_int_equal(number, 5);
    assert_int_equal(store_set(store, "k", big, sizeof big), -EINVAL);
    memset(key, 'x', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    assert_int_equal(store_set(store, key, "v", 1), -EINVAL);
    assert_int_equal(store_set(store, "empty", NULL, 0), 0);
    assert_int_equal(store_get(store, "empty", value, sizeof value, &len), 0);
    assert_int_equal(len, 0);
    assert_int_equal(store_set_u64(store, "id", UINT64_MAX), 0);
    assert_int_equal(store_pinned(store, 3, &number), STORE_ABSENT);
    assert_int_equal(store_pin(store, 3, 12345), 0);
    store_close(store);
    store = opened();
    assert_int_equal(store_get_u64(store, "id", &number), 0);
    assert_true(number == UINT64_MAX);
    for (uint64_t peer = 3; peer < 600; peer++) { /* more than are remembered */
        uint64_t before = number;
        assert_int_equal(store_pinned(store, peer + 1, &number), STORE_ABSENT);
        assert_int_equal(number, before);
        assert_int_equal(store_pin(store, peer + 1, peer + 10000), 0);
        assert_int_equal(store_pinned(store, peer + 1, &number), 0);
        assert_int_equal(number, peer + 10000);
        assert_int_equal(store_pin(store, peer + 1, 1), 0);
        assert_int_equal(store_pinned(store, peer + 1, &number), 0);
        assert_int_equal(number, 1);
    }
    assert_int_equal(store_pinned(store, 3, &number), 0);
    assert_int_equal(number, 12345);
    assert_int_equal(store_pinned(store, 77, &number), 0);
    assert_int_equal(number, 1);
    store_close(store);
}

static void test_refusals(void **state)
{
    struct store_options options = {.path = path_of("d"), .cluster = "other", .node = "a"};
    struct store *store, *second = NULL;

    clear_dir();
    store = opened();
    assert_int_equal(try_open(&second), -EBUSY);
    assert_non_null(strstr(text, "in use by another process, pid "));
    assert_null(second);
    store_close(store);

    assert_int_equal(store_open(&options, &second, text), -EPERM);
    assert_non_null(strstr(text, "belongs to cluster \"prod\""));
    options.cluster = "prod";
    options.node = "b";
    assert_int_equal(store_open(&options, &second, text), -EPERM);
    assert_non_null(strstr(text, "belongs to node \"a\""));
    options.path = "/nowhere/at/all";
    assert_int_equal(store_open(&options, &second, text), -ENOENT);
    assert_non_null(strstr(text, "/nowhere/at/all"));
    store_close(opened()); /* and none of that has broken it */
}

static void change(const char *sql)
{
    sqlite3 *db;
    char file[160];

    snprintf(file, sizeof file, "%s/vipd.db", path_of("d"));
    assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_changes(db) > 0 || strncmp(sql, "PRAGMA", 6) == 0 || strncmp(sql, "DROP", 4) == 0, 1);
    sqlite3_close(db);
}

/* Opens and loads; 0, or the error. */
static int try_load(bool *ret_filled)
{
    const struct consensus_state *state;
    struct store *store = NULL;

    int r = try_open(&store);
    if (r == 0) {
        r = store_load(store, &state, text);
    }
    if (r == 0) {
        *ret_filled = is_filled(state);
    }
    store_close(store);
    return r;
}

static void test_damaged_records(void **state)
{
    static const char *const changes[] = {
        "UPDATE log SET data = x'00' WHERE idx = 12",
        "UPDATE log SET term = 1 WHERE idx = 10",
        "UPDATE log SET type = 2 WHERE idx = 15",
        "UPDATE log SET crc = crc + 1 WHERE idx = 11",
        "DELETE FROM log WHERE idx = 15",
        "DELETE FROM log WHERE idx = 10",
        "DELETE FROM log WHERE idx = 12",
        "UPDATE log SET idx = 20 WHERE idx = 15",
        "UPDATE state SET term = 1",
        "UPDATE state SET vote = 0",
        "UPDATE state SET last = 14",
        "DELETE FROM state",
        "UPDATE snapshot SET data = x'00'",
        "UPDATE snapshot SET configuration = x'00'",
        "UPDATE snapshot SET term = 1",
        "UPDATE meta SET value = 'b' WHERE key = 'identity'",
        "DELETE FROM meta WHERE key = 'identity'",
        "DELETE FROM meta WHERE key = 'cluster'",
        "DROP TABLE snapshot",
    };
    bool filled;

    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        clear_dir();
        struct store *store = opened();
        fill(store);
        store_close(store);
        change(changes[i]);
        if (try_load(&filled) != -EBADMSG || strstr(text, "is damaged: ") == NULL || strstr(text, "To rejoin") == NULL) {
            fail_msg("%s: %s", changes[i], text);
        }
    }
    change("PRAGMA user_version = 7");
    assert_int_equal(try_load(&filled), -EPROTONOSUPPORT);
    assert_non_null(strstr(text, "format 7"));
}

static uint8_t *read_file(const char *name, size_t *ret_len)
{
    char file[160];
    struct stat st;

    snprintf(file, sizeof file, "%s/%s", path_of("d"), name);
    int fd = open(file, O_RDONLY);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    uint8_t *data = malloc((size_t)st.st_size + 1);
    assert_non_null(data);
    assert_int_equal(read(fd, data, (size_t)st.st_size), st.st_size);
    close(fd);
    *ret_len = (size_t)st.st_size;
    return data;
}

static void write_file(const char *name, const uint8_t *data, size_t len)
{
    char file[160];

    snprintf(file, sizeof file, "%s/%s", path_of("d"), name);
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), (ssize_t)len);
    close(fd);
}

static void remove_file(const char *name)
{
    char file[160];

    snprintf(file, sizeof file, "%s/%s", path_of("d"), name);
    unlink(file);
}

/* Whatever byte of the database is wrong: refused, or it did not matter. */
static void test_flipped_database(void **state)
{
    unsigned refused = 0;
    size_t len;

    clear_dir();
    struct store *store = opened();
    fill(store);
    store_close(store);
    uint8_t *data = read_file("vipd.db", &len);
    for (size_t at = 0; at < len; at += 97) {
        bool filled = false;
        data[at] ^= 0x10;
        write_file("vipd.db", data, len);
        data[at] ^= 0x10;
        remove_file("vipd.db-wal");
        remove_file("vipd.db-shm");
        int r = try_load(&filled);
        if (r == 0 && !filled) {
            fail_msg("a wrong byte at %zu went unnoticed", at);
        }
        refused += r != 0;
    }
    free(data);
    assert_true(refused > 10);
}

/* The directory as a killed process leaves it: everything is in the write-ahead log. */
static void fill_and_die(void)
{
    clear_dir();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        fill(opened());
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* A wrong byte in the log: refused, or it did not matter, or it was in the last transaction, which is then taken for
 * unfinished. */
static void test_flipped_log(void **state)
{
    size_t len, db_len;
    unsigned refused = 0, unfinished = 0;

    fill_and_die();
    uint8_t *wal = read_file("vipd.db-wal", &len);
    uint8_t *db = read_file("vipd.db", &db_len);
    while (len > 0 && wal[len - 1] == 0) {
        len--; /* filled up in advance */
    }
    len += 4096; /* of which some belong to the last page */
    assert_true(len > 10000);
    for (size_t at = 0; at < len; at += 307) {
        bool filled = false;
        wal[at] ^= 0x04;
        write_file("vipd.db-wal", wal, len);
        wal[at] ^= 0x04;
        write_file("vipd.db", db, db_len);
        remove_file("vipd.db-shm");
        int r = try_load(&filled);
        if (r == 0 && !filled) {
            unfinished++;
            /* the last transaction wrote the snapshot: four pages at most */
            assert_true(at + 5 * (4096 + 24) + 24 > len);
        }
        refused += r != 0;
    }
    free(wal);
    free(db);
    assert_true(refused > 20 && unfinished > 0);
}

static void test_missing_database(void **state)
{
    bool filled;

    fill_and_die();
    remove_file("vipd.db");
    assert_int_equal(try_load(&filled), -EBADMSG);
}

/* Killed at any moment: all that was said to be written is there. */
static void test_killed(void **state)
{
    clear_dir();
    store_close(opened());
    for (int round = 0; round < 10; round++) {
        int pipes[2];
        uint64_t said = 0, last;
        assert_int_equal(pipe(pipes), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(pipes[0]);
            struct store *store = opened();
            const struct consensus_state *now = loaded(store);
            uint64_t index = now->n_entries + 1;
            if (index == 1) {
                found(store);
                index = 2;
            }
            for (;; index++) {
                append(store, index, 1);
                if (write(pipes[1], &index, sizeof index) != (ssize_t)sizeof index) {
                    _exit(1);
                }
            }
        }
        close(pipes[1]);
        for (int i = 0; i < 3 + round * 7; i++) {
            assert_int_equal(read(pipes[0], &last, sizeof last), sizeof last);
            said = last;
        }
        kill(child, SIGKILL);
        while (read(pipes[0], &last, sizeof last) == (ssize_t)sizeof last) {
            said = last;
        }
        close(pipes[0]);
        assert_int_equal(waitpid(child, NULL, 0), child);
        struct store *store = opened();
        const struct consensus_state *now = loaded(store);
        assert_true(now->n_entries >= said && now->n_entries <= said + 1);
        store_close(store);
    }
}

/* ------------------------------------------------------------------ the thread */

#define JOBS 500

struct run
{
    struct store_thread *thread;
    uint64_t done, failed;
    uint64_t expected;
    bool closed;
    struct consensus_job jobs[JOBS];
    struct consensus_entry entries[JOBS];
};

static void when_closed(void *ud)
{
    ((struct run *)ud)->closed = true;
}

static void when_done(void *ud, struct consensus_job *job, int status)
{
    struct run *run = ud;

    assert_int_equal(job->number, run->expected++);
    assert_true(status == 0 || run->failed > 0 || run->done > 0);
    assert_true(status < 0 || run->failed == 0);
    run->done += status == 0;
    run->failed += status < 0;
    if (run->expected > JOBS) {
        store_thread_stop(run->thread, when_closed, run);
    }
}

static struct run *run_thread(struct store *store, size_t entry_len)
{
    static uint8_t big[65536];
    struct run *run = calloc(1, sizeof *run);
    uv_loop_t loop;

    assert_non_null(run);
    run->expected = 1;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(store_thread_start(&loop, store, when_done, run, &run->thread), 0);
    for (uint64_t i = 0; i < JOBS; i++) {
        run->entries[i] = (struct consensus_entry){
            .index = 2 + i, .term = 1, .type = CONSENSUS_COMMAND, .data = big, .len = entry_len};
        run->jobs[i] = (struct consensus_job){.number = 1 + i, .entries = &run->entries[i], .n_entries = 1};
        store_thread_write(run->thread, &run->jobs[i]);
    }
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_true(run->closed);
    return run;
}

static void test_thread(void **state)
{
    clear_dir();
    struct store *store = opened();
    found(store);
    struct run *run = run_thread(store, 100);
    assert_int_equal(run->done, JOBS);
    assert_int_equal(loaded(store)->n_entries, JOBS + 1);
    store_close(store);
    free(run);
}

/* A disk that takes no more: jobs fail from there on, in order, and what was said to be done is there. */
static void test_full_disk(void **state)
{
    int pipes[2], status;
    uint64_t said = 0;

    clear_dir();
    store_close(opened());
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit limit = {8u << 20, 8u << 20};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        struct store *store = opened();
        found(store);
        struct run *run = run_thread(store, 65536);
        bool good = run->failed > 0 && run->done + run->failed == JOBS && store_error(store)[0] != '\0' &&
                    write(pipes[1], &run->done, sizeof run->done) == (ssize_t)sizeof run->done;
        _exit(good ? 0 : 1);
    }
    assert_int_equal(read(pipes[0], &said, sizeof said), sizeof said);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(pipes[0]);
    close(pipes[1]);
    struct store *store = opened();
    assert_int_equal(loaded(store)->n_entries, said + 1);
    store_close(store);
}

/* Compaction gives the space back to be used again: neither the database nor its log grows without end. */
static void test_space(void **state)
{
    struct stat st;
    char file[160];
    uint8_t data[2000] = {0};
    struct consensus_snapshot snapshot = snapshot_at_12;

    clear_dir();
    struct store *store = opened();
    found(store);
    for (uint64_t index = 2; index < 6000; index += 50) {
        struct consensus_entry entries[50];
        for (uint64_t i = 0; i < 50; i++) {
            entries[i] = (struct consensus_entry){
                .index = index + i, .term = 1, .type = CONSENSUS_COMMAND, .data = data, .len = sizeof data};
        }
        struct consensus_job job = {.entries = entries, .n_entries = 50};
        write_one(store, &job);
        snapshot.index = index + 49;
        struct consensus_job compact = {.snapshot = &snapshot, .compact_below = index + 30};
        write_one(store, &compact);
    }
    snprintf(file, sizeof file, "%s/vipd.db", path_of("d"));
    assert_int_equal(stat(file, &st), 0);
    assert_true(st.st_size < 1 << 20);
    snprintf(file, sizeof file, "%s/vipd.db-wal", path_of("d"));
    assert_int_equal(stat(file, &st), 0);
    assert_true(st.st_size <= 9 << 20);
    store_close(store);
}

/* ------------------------------------------------------------------ measuring */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec * 1e-6;
}

/* Small transactions one after the other, each of one entry of 100 bytes. */
static int bench(const char *dir, unsigned n)
{
    char path[256];
    uint8_t data[100] = {0};
    struct store *store;
    double *took = calloc(n, sizeof *took);

    snprintf(path, sizeof path, "%s/bench.%d", dir, getpid());
    struct store_options options = {.path = path, .cluster = "bench", .node = "bench"};
    if (took == NULL || store_open(&options, &store, text) != 0 || store_found(store, "c", 1) != 0) {
        fprintf(stderr, "%s\n", text);
        return 1;
    }
    for (unsigned i = 0; i < n; i++) {
        struct consensus_entry entry = {
            .index = 2 + i, .term = 1, .type = CONSENSUS_COMMAND, .data = data, .len = sizeof data};
        struct consensus_job job = {.entries = &entry, .n_entries = 1}, *jobs[] = {&job};
        double start = now_ms();
        if (store_write(store, jobs, 1) != 0) {
            fprintf(stderr, "%s\n", store_error(store));
            return 1;
        }
        took[i] = now_ms() - start;
    }
    store_close(store);
    qsort(took, n, sizeof *took, compare);
    printf("%u transactions of one entry of %zu bytes: median %.3f ms, p99 %.3f ms, longest %.3f ms\n", n, sizeof data,
           took[n / 2], took[n - 1 - n / 100], took[n - 1]);
    free(took);
    snprintf(text, sizeof text, "rm -rf %s", path);
    return system(text);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc),
        cmocka_unit_test(test_fresh),
        cmocka_unit_test(test_reopen),
        cmocka_unit_test(test_truncation_and_install),
        cmocka_unit_test(test_group),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_damaged_records),
        cmocka_unit_test(test_flipped_database),
        cmocka_unit_test(test_flipped_log),
        cmocka_unit_test(test_missing_database),
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_thread),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_space),
    };

    if (argc == 4 && strcmp(argv[1], "--bench") == 0) {
        return bench(argv[2], (unsigned)strtoul(argv[3], NULL, 10));
    }
    return cmocka_run_group_tests(tests, make_top, remove_top);
}
