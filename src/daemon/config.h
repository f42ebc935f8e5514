#ifndef VIPD_DAEMON_CONFIG_H
#define VIPD_DAEMON_CONFIG_H

/* The node's file, /etc/vipd/vipd.yaml: docs/configuration.md describes it for users. */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/log.h"
#include "core/limits.h"
#include "core/table.h"

#define CONFIG_ERROR_SIZE 512
#define CONFIG_PATH_MAX 1023      /* bytes of data and key-file: room is left for what is put behind them */
#define CONFIG_CONTROL_SIZE 108   /* sockaddr_un.sun_path, with the NUL */
#define CONFIG_KEY_SIZE 32        /* 256 bits */
#define CONFIG_KEYS_MAX 2         /* of a key file: the one in use first */
#define CONFIG_DURATION_MAX_MS 600000
#define CONFIG_JOIN_MAX 16        /* addresses of members to ask */

enum config_fence
{
    CONFIG_FENCE_KERNEL,    /* the eBPF program ends the lease; a host without it is refused at start */
    CONFIG_FENCE_ADDRESSES, /* valid_lft and the daemon's own timer alone */
};

struct config_peer
{
    char name[NAME_SIZE];
    struct endpoint at;
};

/* What a key file holds. */
struct config_keys
{
    unsigned n;
    uint8_t key[CONFIG_KEYS_MAX][CONFIG_KEY_SIZE];
};

struct config
{
    char cluster[NAME_SIZE];
    char node[NAME_SIZE];
    struct endpoint listen;
    char data[PATH_MAX];     /* absolute */
    char key_file[PATH_MAX]; /* absolute; "" = none */
    struct config_keys keys; /* none, unless key-file is given */
    int n_peers; /* 1..NODES_MAX, this node among them; 0 with join */
    struct config_peer peers[NODES_MAX]; /* sorted by name (bytes) */
    int n_join; /* 0: founded with peers; else n_peers is 0 */
    struct endpoint join[CONFIG_JOIN_MAX];
    int n_interfaces; /* 0 = any whose subnet contains the VIP */
    char interfaces[LINKS_MAX][DEV_SIZE];
    char control[CONFIG_CONTROL_SIZE];
    char control_group[NAME_SIZE]; /* name or number of the group that may read there, */
    char admin_group[NAME_SIZE];   /* and of the one that may change */
    char checks_dir[PATH_MAX]; /* absolute: the programs of exec checks */
    char hooks_dir[PATH_MAX];  /* absolute: the programs of hooks */
    bool witness;
    struct timing timing;
    enum config_fence fence;
    enum log_level log;
};

/* Read the file at path, and the key file that it names. 0; or -errno, *ret untouched, with one line in error for a
 * person: "file:line:column: message", or "cannot read FILE: why". -EINVAL: the text; -EFBIG: a limit; others as
 * open(2) and read(2). */
NODISCARD int config_load(const char *path, struct config *ret, char error[CONFIG_ERROR_SIZE]);

/* The same for `size` bytes that are called name in messages. */
NODISCARD int config_parse(const char *name, const void *bytes, size_t size, struct config *ret,
    char error[CONFIG_ERROR_SIZE]);

/* Read a key file again. As config_load(), without a place in the error; erase *ret after use. */
NODISCARD int config_load_keys(const char *path, struct config_keys *ret, char error[CONFIG_ERROR_SIZE]);

/* The timing of the profile "fast", "default" or "wan"; NULL for another name. */
const struct timing *config_profile(const char *name);

/* What the founding nodes must agree on: FNV-1a of cluster, peers and timing. Comments, order of keys, notation of
 * addresses and durations make no difference. */
uint64_t config_founding_digest(const struct config *config);

#endif
