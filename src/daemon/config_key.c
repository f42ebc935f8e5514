/* The key file: one line of 64 hexadecimal digits, as `vipctl keygen` writes them, that nobody but its owner may read; or
 * two, while a cluster changes its key: the first is used, both are accepted. */

#include "daemon/config_schema.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIGITS (2 * CONFIG_KEY_SIZE)
#define TEXT_MAX (CONFIG_KEYS_MAX * (DIGITS + 1))
#define FORBIDDEN_MODE (S_IRWXG | S_IRWXO)

static int complain(char error[CONFIG_ERROR_SIZE], int rv, const char *format, ...) PRINTF(3, 4);
static int complain(char error[CONFIG_ERROR_SIZE], int rv, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error, CONFIG_ERROR_SIZE, format, args);
    va_end(args);
    return rv;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool decode_key(const char *digits, uint8_t ret[CONFIG_KEY_SIZE])
{
    for (size_t i = 0; i < CONFIG_KEY_SIZE; i++) {
        int high = digit(digits[2 * i]), low = digit(digits[2 * i + 1]);

        if (high < 0 || low < 0) {
            return false;
        }
        ret[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

/* Lines of DIGITS digits; only the last may be without its newline. */
static bool decode_keys(const char *text, size_t len, struct config_keys *ret)
{
    *ret = (struct config_keys){0};
    while (len >= DIGITS && ret->n < CONFIG_KEYS_MAX) {
        if (!decode_key(text, ret->key[ret->n++])) {
            return false;
        }
        text += DIGITS;
        len -= DIGITS;
        if (len > 0 && *text != '\n') {
            return false;
        }
        text += len > 0;
        len -= len > 0;
    }
    return len == 0 && ret->n > 0;
}

/* Who may read the key may join the cluster. */
static int check_file(const char *path, int fd, char error[CONFIG_ERROR_SIZE])
{
    struct stat stat;

    if (fstat(fd, &stat) != 0) {
        return complain(error, -errno, "cannot look at key file %.200s: %s", path, strerror(errno));
    }
    if (!S_ISREG(stat.st_mode)) {
        return complain(error, -EINVAL, "key file %.200s is not a file", path);
    }
    if ((stat.st_mode & FORBIDDEN_MODE) != 0) {
        return complain(error, -EINVAL, "key file %.80s has mode %04o: others can read it; run: chmod 600 %.80s", path,
            (unsigned)(stat.st_mode & 07777), path);
    }
    if (stat.st_uid != geteuid() && stat.st_uid != 0) {
        return complain(error, -EINVAL, "key file %.80s belongs to user %u, who can read it; run: chown %u %.80s", path,
            (unsigned)stat.st_uid, (unsigned)geteuid(), path);
    }
    return 0;
}

static int read_keys(const char *path, int fd, struct config_keys *ret, char error[CONFIG_ERROR_SIZE])
{
    char text[TEXT_MAX + 1]; /* one more than is valid, to see that there is more */
    size_t len = 0;
    ssize_t n = 1;
    int rv = 0;

    while (n > 0 && len < sizeof(text)) {
        do {
            n = read(fd, text + len, sizeof(text) - len);
        } while (n < 0 && errno == EINTR);
        len += n > 0 ? (size_t)n : 0;
    }
    if (n < 0) {
        rv = complain(error, -errno, "cannot read key file %.200s: %s", path, strerror(errno));
    } else if (!decode_keys(text, len, ret)) {
        rv = complain(error, -EINVAL, "key file %.200s does not hold a key: expected %d hexadecimal digits, as vipctl "
            "keygen writes them, or two such lines", path, DIGITS);
    } else if (ret->n == CONFIG_KEYS_MAX && memcmp(ret->key[0], ret->key[1], CONFIG_KEY_SIZE) == 0) {
        rv = complain(error, -EINVAL, "key file %.200s holds the same key twice: expected another one, or one line", path);
    }
    explicit_bzero(text, sizeof(text));
    return rv;
}

int config_load_keys(const char *path, struct config_keys *ret, char error[CONFIG_ERROR_SIZE])
{
    struct config_keys keys = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a FIFO must not stall the loop */

    if (fd < 0 && errno == ENOENT) {
        return complain(error, -ENOENT, "key file %.100s does not exist; make it on one node with vipctl keygen and "
            "copy it to the others", path);
    }
    if (fd < 0) {
        return complain(error, -errno, "cannot open key file %.200s: %s", path, strerror(errno));
    }
    int rv = check_file(path, fd, error);
    if (rv == 0) {
        rv = read_keys(path, fd, &keys, error);
    }
    close(fd);
    if (rv == 0) {
        *ret = keys;
    }
    explicit_bzero(&keys, sizeof(keys));
    return rv;
}

int config_parse_key_file(struct config_reader *reader, const struct document_node *value, void *field)
{
    struct config *config = field;
    char error[CONFIG_ERROR_SIZE];
    int rv = config_parse_path(reader, value, config->key_file);

    if (rv != 0) {
        return rv;
    }
    rv = config_load_keys(config->key_file, &config->keys, error);
    return rv != 0 ? config_refuse(reader, value, "%s", error) : 0;
}
