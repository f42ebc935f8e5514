/* The cluster's keys of this node, and their change while it runs (docs/security.md).
 *
 * Happy path: the start takes what the configuration read; SIGHUP takes the file as it is then. A change for the whole
 * cluster is driven by `vipctl key rotate`, step by step on each node: accept, use, renew, drop. Failure modes: the file
 * cannot be read, or holds what is no key: all stays as it was, and that is said. The file has two keys, and the node uses
 * a third: refused, since nobody could say which is to go. */

#include "daemon/daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

static int place_of(const struct config_keys *keys, uint64_t id)
{
    for (unsigned i = 0; i < keys->n; i++) {
        if (tls_key_id(keys->key[i]) == id) {
            return (int)i;
        }
    }
    return -1;
}

/* Takes effect, and is told. */
static void take(struct daemon *d, const struct config_keys *keys)
{
    char other[32] = "none";
    if (keys->n == d->keys.n && memcmp(keys->key, d->keys.key, sizeof keys->key[0] * keys->n) == 0) {
        return;
    }
    d->keys = *keys;
    peers_set_keys(d->peers, d->keys.key, d->keys.n);
    if (keys->n > 1) {
        snprintf(other, sizeof other, "%016" PRIx64, tls_key_id(keys->key[1]));
    }
    log_write(LOG_KEYS, "uses=%016" PRIx64 " accepts_too=%s", tls_key_id(keys->key[0]), other);
}

void keys_reload(struct daemon *d)
{
    struct config_keys keys;
    char error[CONFIG_ERROR_SIZE];
    if (config_load_keys(d->config->key_file, &keys, error)) {
        log_write(LOG_KEYS_BAD, "what=\"%s\"", error);
        return;
    }
    take(d, &keys);
    peers_renew(d->peers);
    explicit_bzero(&keys, sizeof keys);
}

int keys_accept(struct daemon *d, char error[CONFIG_ERROR_SIZE])
{
    struct config_keys file, keys = {.n = 1};
    int rv = config_load_keys(d->config->key_file, &file, error);
    if (rv) {
        return rv;
    }
    memcpy(keys.key[0], d->keys.key[0], sizeof keys.key[0]);
    for (unsigned i = 0; i < file.n && !rv; i++) {
        if (memcmp(file.key[i], keys.key[0], sizeof keys.key[0]) == 0) {
            continue;
        }
        if (keys.n == CONFIG_KEYS_MAX) {
            snprintf(error, CONFIG_ERROR_SIZE, "key file %.200s holds two keys, and this node uses a third", d->config->key_file);
            rv = -EINVAL;
        } else {
            memcpy(keys.key[keys.n++], file.key[i], sizeof keys.key[0]);
        }
    }
    if (!rv) {
        take(d, &keys);
    }
    explicit_bzero(&file, sizeof file);
    explicit_bzero(&keys, sizeof keys);
    return rv;
}

int keys_use(struct daemon *d, uint64_t id)
{
    int place = place_of(&d->keys, id);
    if (place < 0) {
        return -ENOENT;
    }
    if (place > 0) {
        struct config_keys keys = d->keys;
        memcpy(keys.key[0], d->keys.key[place], sizeof keys.key[0]);
        memcpy(keys.key[place], d->keys.key[0], sizeof keys.key[0]);
        take(d, &keys);
        explicit_bzero(&keys, sizeof keys);
    }
    return 0;
}

void keys_drop(struct daemon *d)
{
    struct config_keys keys = {.n = 1};
    memcpy(keys.key[0], d->keys.key[0], sizeof keys.key[0]);
    take(d, &keys);
    explicit_bzero(&keys, sizeof keys);
}

static void on_hangup(uv_signal_t *handle, int number)
{
    (void)number;
    struct daemon *d = handle->data;
    if (d->peers && !d->stopping) {
        keys_reload(d);
    }
}

void keys_open(struct daemon *d)
{
    d->keys = d->config->keys;
    uv_signal_init(&d->loop, &d->hup);
    d->hup.data = d;
    uv_signal_start(&d->hup, on_hangup, SIGHUP);
}

void keys_close(struct daemon *d)
{
    uv_close((uv_handle_t *)&d->hup, NULL);
    explicit_bzero(&d->keys, sizeof d->keys);
}
