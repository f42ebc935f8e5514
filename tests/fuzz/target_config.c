/* The node's file (daemon/config.h). Opening files is taken over by __wrap_open() below: a key file is what the bytes
 * name, and no fuzzer should open a device of this host by chance. */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/config.h"
#include "fuzz.h"

#define NAME "f.yaml"
#define KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"

int __wrap_open(const char *path, int flags, ...);

/* "/key" is a sound key file, "/open" one that all can read; nothing else exists. */
int __wrap_open(const char *path, int flags, ...)
{
    bool sound = strcmp(path, "/key") == 0;

    (void)flags;
    if (!sound && strcmp(path, "/open") != 0) {
        errno = ENOENT;
        return -1;
    }
    int fd = memfd_create("key", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && fchmod(fd, sound ? 0600 : 0644) == 0);
    FUZZ_CHECK(write(fd, KEY, strlen(KEY)) == (ssize_t)strlen(KEY) && lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

static bool ends(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

/* What the daemon takes for granted of a configuration. */
static void check_config(const struct config *config)
{
    bool self = false;

    FUZZ_CHECK(config->cluster[0] != '\0' && ends(config->cluster, sizeof config->cluster));
    FUZZ_CHECK(config->node[0] != '\0' && ends(config->node, sizeof config->node));
    FUZZ_CHECK(config->data[0] == '/' && strlen(config->data) <= CONFIG_PATH_MAX);
    FUZZ_CHECK(strlen(config->key_file) <= CONFIG_PATH_MAX && (config->keys.n > 0) == (config->key_file[0] != '\0'));
    FUZZ_CHECK(config->control[0] == '/' && ends(config->control, sizeof config->control));
    FUZZ_CHECK(config->n_interfaces >= 0 && config->n_interfaces <= LINKS_MAX);
    for (int i = 0; i < config->n_interfaces; i++) {
        FUZZ_CHECK(config->interfaces[i][0] != '\0' && ends(config->interfaces[i], DEV_SIZE));
    }
    FUZZ_CHECK(config->n_peers >= 1 && config->n_peers <= NODES_MAX);
    for (int i = 0; i < config->n_peers; i++) {
        const struct config_peer *peer = &config->peers[i];

        FUZZ_CHECK(peer->name[0] != '\0' && ends(peer->name, sizeof peer->name) && peer->at.port != 0);
        FUZZ_CHECK(i == 0 || strcmp(config->peers[i - 1].name, peer->name) < 0);
        self = self || (strcmp(peer->name, config->node) == 0 && peer->at.port == config->listen.port &&
                        addr_equal(&peer->at.addr, &config->listen.addr));
    }
    FUZZ_CHECK(self);
    const struct timing *t = &config->timing;
    FUZZ_CHECK(t->interval_ms >= 5 && t->interval_ms <= 60000 && t->suspect_ms >= 2 * t->interval_ms);
    FUZZ_CHECK(t->promise_ms >= t->suspect_ms + t->interval_ms && t->margin_ms >= 1);
    FUZZ_CHECK(t->margin_ms < t->promise_ms - t->promise_ms / 2 && t->election_ms > t->suspect_ms);
}

/* One line for a person, which says where. */
static void check_error(const char *error)
{
    size_t len = strnlen(error, CONFIG_ERROR_SIZE);

    FUZZ_CHECK(len < CONFIG_ERROR_SIZE && strncmp(error, NAME ":", strlen(NAME ":")) == 0);
    for (size_t i = 0; i < len; i++) {
        FUZZ_CHECK((unsigned char)error[i] >= ' ' && error[i] != 0x7f);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config config, again;
    char error[CONFIG_ERROR_SIZE];

    memset(error, 'x', sizeof error);
    int r = config_parse(NAME, data, size, &config, error);
    if (r != 0) {
        FUZZ_CHECK(r == -EINVAL || r == -EFBIG);
        check_error(error);
        return 0;
    }
    check_config(&config);
    FUZZ_CHECK(config_parse(NAME, data, size, &again, error) == 0);
    FUZZ_CHECK(config_founding_digest(&config) == config_founding_digest(&again));
    FUZZ_CHECK(memcmp(config.peers, again.peers, sizeof config.peers) == 0);
    return 0;
}
