/* The key file: 64 hexadecimal digits, as `vipctl keygen` writes them, that nobody but its owner may read. */

#include "daemon/config_schema.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIGITS (2 * CONFIG_KEY_SIZE)
#define FORBIDDEN_MODE (S_IRWXG | S_IRWXO)

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

/* DIGITS digits and at most one newline. */
static bool decode_key(const char *text, size_t len, uint8_t ret[CONFIG_KEY_SIZE])
{
    uint8_t key[CONFIG_KEY_SIZE];
    bool valid = len == DIGITS || (len == DIGITS + 1 && text[DIGITS] == '\n');

    for (size_t i = 0; valid && i < CONFIG_KEY_SIZE; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);

        valid = high >= 0 && low >= 0;
        key[i] = (uint8_t)(valid ? high * 16 + low : 0);
    }
    if (valid) {
        memcpy(ret, key, sizeof(key));
    }
    explicit_bzero(key, sizeof(key));
    return valid;
}

/* Who may read the key may join the cluster. */
static int check_file(struct config_reader *reader, const struct document_node *value, int fd)
{
    struct stat stat;

    if (fstat(fd, &stat) != 0) {
        return config_refuse(reader, value, "cannot look at key file %.200s: %s", value->text, strerror(errno));
    }
    if (!S_ISREG(stat.st_mode)) {
        return config_refuse(reader, value, "key file %.200s is not a file", value->text);
    }
    if ((stat.st_mode & FORBIDDEN_MODE) != 0) {
        return config_refuse(reader, value,
            "key file %.80s has mode %04o: others can read it; run: chmod 600 %.80s", value->text,
            (unsigned)(stat.st_mode & 07777), value->text);
    }
    if (stat.st_uid != geteuid() && stat.st_uid != 0) {
        return config_refuse(reader, value, "key file %.80s belongs to user %u, who can read it; run: chown %u %.80s",
            value->text, (unsigned)stat.st_uid, (unsigned)geteuid(), value->text);
    }
    return 0;
}

static int read_key(struct config_reader *reader, const struct document_node *value, int fd,
    uint8_t ret[CONFIG_KEY_SIZE])
{
    char text[DIGITS + 2]; /* one more than is valid, to see that there is more */
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
        rv = config_refuse(reader, value, "cannot read key file %.200s: %s", value->text, strerror(errno));
    } else if (!decode_key(text, len, ret)) {
        rv = config_refuse(reader, value,
            "key file %.200s does not hold a key: expected %d hexadecimal digits, as vipctl keygen writes them",
            value->text, DIGITS);
    }
    explicit_bzero(text, sizeof(text));
    return rv;
}

int config_parse_key_file(struct config_reader *reader, const struct document_node *value, void *field)
{
    struct config *config = field;
    int rv = config_parse_path(reader, value, config->key_file);
    int fd;

    if (rv != 0) {
        return rv;
    }
    fd = open(value->text, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a FIFO must not stall the start */
    if (fd < 0 && errno == ENOENT) {
        return config_refuse(reader, value, "key file %.100s does not exist; make it on one node with vipctl keygen and "
            "copy it to the others", value->text);
    }
    if (fd < 0) {
        return config_refuse(reader, value, "cannot open key file %.200s: %s", value->text, strerror(errno));
    }
    rv = check_file(reader, value, fd);
    if (rv == 0) {
        rv = read_key(reader, value, fd, config->key);
    }
    close(fd);
    config->has_key = rv == 0;
    return rv;
}
