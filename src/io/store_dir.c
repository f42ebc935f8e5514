#include "io/store_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAL_HEADER 32
#define FRAME_HEADER 24
#define PAGE_MAX 65536

/* ------------------------------------------------------------------ directory and lock */

/* So that the directory is still there after a power failure: nothing in it is worth more than its name. */
static int sync_parent(const char *path)
{
    char copy[PATH_MAX];

    snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int r = fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return r;
}

static int make_directory(const char *path, char text[STORE_TEXT_SIZE])
{
    if (strlen(path) >= PATH_MAX - 16) {
        snprintf(text, STORE_TEXT_SIZE, "the path of the data directory is too long");
        return -ENAMETOOLONG;
    }
    int r = mkdir(path, 0700) < 0 ? -errno : sync_parent(path);
    if (r < 0 && r != -EEXIST) {
        snprintf(text, STORE_TEXT_SIZE, "the data directory %.400s cannot be made: %s", path, strerror(-r));
        return r;
    }
    return 0;
}

static void read_owner(int fd, char owner[16])
{
    ssize_t n = pread(fd, owner, 15, 0);

    owner[n > 0 ? n : 0] = '\0';
    owner[strspn(owner, "0123456789")] = '\0';
}

static void write_owner(int fd)
{
    char text[16];
    int len = snprintf(text, sizeof text, "%d\n", getpid());

    /* To show, never to decide: the lock is the kernel's. */
    if (ftruncate(fd, 0) == 0) {
        (void)!pwrite(fd, text, (size_t)len, 0);
    }
}

int store_dir_lock(const char *path, int *ret_fd, char text[STORE_TEXT_SIZE])
{
    char file[PATH_MAX], owner[16];

    int r = make_directory(path, text);
    if (r < 0) {
        return r;
    }
    snprintf(file, sizeof file, "%s/lock", path);
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        r = -errno;
        snprintf(text, STORE_TEXT_SIZE, "the lock file in the data directory %.400s cannot be opened: %s", path,
                 strerror(-r));
        return r;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        r = errno == EWOULDBLOCK ? -EBUSY : -errno;
        read_owner(fd, owner);
        snprintf(text, STORE_TEXT_SIZE, "the data directory %.400s is in use by another process%s%s", path,
                 owner[0] != '\0' ? ", pid " : "", owner);
        close(fd);
        return r;
    }
    write_owner(fd);
    *ret_fd = fd;
    return 0;
}

/* ------------------------------------------------------------------ write-ahead log */

struct wal
{
    int fd;
    size_t page;
    bool big_endian; /* of the checksums, not of the fields */
    uint8_t salts[8];
    uint32_t sum[2];
    uint8_t *frame;
};

static uint32_t get_u32(const uint8_t *at, bool big_endian)
{
    uint32_t a = at[0], b = at[1], c = at[2], d = at[3];

    return big_endian ? a << 24 | b << 16 | c << 8 | d : d << 24 | c << 16 | b << 8 | a;
}

static void add_to_sum(struct wal *wal, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i += 8) {
        wal->sum[0] += get_u32(data + i, wal->big_endian) + wal->sum[1];
        wal->sum[1] += get_u32(data + i + 4, wal->big_endian) + wal->sum[0];
    }
}

static bool sum_is(const struct wal *wal, const uint8_t *at)
{
    return wal->sum[0] == get_u32(at, true) && wal->sum[1] == get_u32(at + 4, true);
}

/* Nothing was ever written to it: zeros where the header and the first frame's would be. */
static bool is_blank(const struct wal *wal)
{
    static const uint8_t zeros[WAL_HEADER + FRAME_HEADER];
    uint8_t start[sizeof zeros] = {0};

    return pread(wal->fd, start, sizeof start, 0) >= WAL_HEADER && memcmp(start, zeros, sizeof zeros) == 0;
}

static int read_header(struct wal *wal)
{
    uint8_t header[WAL_HEADER];

    if (pread(wal->fd, header, sizeof header, 0) != (ssize_t)sizeof header) {
        return -EIO;
    }
    uint32_t magic = get_u32(header, true);
    wal->page = get_u32(header + 8, true);
    wal->big_endian = (magic & 1) != 0;
    memcpy(wal->salts, header + 16, sizeof wal->salts);
    add_to_sum(wal, header, 24);
    if ((magic | 1) != 0x377f0683 || wal->page < 512 || wal->page > PAGE_MAX || (wal->page & (wal->page - 1)) != 0 ||
        !sum_is(wal, header + 24)) {
        return -EBADMSG;
    }
    wal->frame = malloc(FRAME_HEADER + wal->page);
    return wal->frame == NULL ? -ENOMEM : 0;
}

/* Whether frame i is there; *ret_current: it belongs to this generation of the log, *ret_commit: it ends a transaction,
 * *ret_sound: its checksum continues the chain. */
static bool read_frame(struct wal *wal, off_t i, bool *ret_current, bool *ret_commit, bool *ret_sound)
{
    size_t size = FRAME_HEADER + wal->page;
    uint32_t before[2] = {wal->sum[0], wal->sum[1]};

    if (pread(wal->fd, wal->frame, size, WAL_HEADER + i * (off_t)size) != (ssize_t)size) {
        return false;
    }
    *ret_current = memcmp(wal->frame + 8, wal->salts, sizeof wal->salts) == 0;
    *ret_commit = get_u32(wal->frame + 4, true) != 0;
    add_to_sum(wal, wal->frame, 8);
    add_to_sum(wal, wal->frame + FRAME_HEADER, wal->page);
    *ret_sound = *ret_current && sum_is(wal, wal->frame + 16);
    if (!*ret_sound) {
        memcpy(wal->sum, before, sizeof before);
    }
    return true;
}

static int check_frames(struct wal *wal)
{
    bool current, commit, sound;
    bool broken = false, ended = false;

    for (off_t i = 0; read_frame(wal, i, &current, &commit, &sound); i++) {
        broken = broken || !sound;
        if (!broken || !current) {
            continue; /* in the chain, or left over from an earlier generation */
        }
        if (ended) {
            return -EBADMSG; /* a transaction follows the broken one: that one had been finished */
        }
        ended = commit;
    }
    return 0;
}

int store_dir_check_wal(const char *path)
{
    struct wal wal = {.fd = open(path, O_RDONLY | O_CLOEXEC)};
    struct stat st;
    int r = 0;

    if (wal.fd < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (fstat(wal.fd, &st) < 0) {
        r = -errno;
    } else if (st.st_size >= WAL_HEADER && !is_blank(&wal)) {
        r = read_header(&wal);
    }
    if (r == 0 && wal.frame != NULL) {
        r = check_frames(&wal);
    }
    free(wal.frame);
    close(wal.fd);
    return r;
}

int store_dir_extend_wal(const char *path, size_t size)
{
    static const uint8_t zeros[65536];
    struct stat st;
    int r = 0;

    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return -errno;
    }
    if (fstat(fd, &st) < 0) {
        r = -errno;
    }
    for (off_t at = st.st_size; r == 0 && at < (off_t)size;) {
        ssize_t n = pwrite(fd, zeros, sizeof zeros, at);
        r = n < 0 ? -errno : 0;
        at += n;
    }
    if (r == 0 && fsync(fd) < 0) {
        r = -errno;
    }
    close(fd);
    return r;
}
