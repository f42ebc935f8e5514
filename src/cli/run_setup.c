/* vipctl settings, keygen, version */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "cli/cli.h"

#define KEY_BYTES 32

/* -------------------------------------------------------------------------------------------------------- settings */

int run_settings(struct cli *cli)
{
    struct vipd_reply *reply;
    int r = cli_call(cli, "settings", NULL, &reply);

    if (r != 0) {
        return r;
    }
    if (is_json(cli)) {
        json_object(vipd_reply_result(reply), NULL, 0);
    } else {
        const struct vipd_value *part = vipd_first(vipd_reply_result(reply));
        for (; part != NULL; part = vipd_next(part)) {
            for (const struct vipd_value *item = vipd_first(part); item != NULL; item = vipd_next(item)) {
                const char *unit = strstr(vipd_key(item), "_ms");
                char name[64];
                snprintf(name, sizeof name, "%s.%.*s", vipd_key(part),
                         (int)(unit != NULL ? (size_t)(unit - vipd_key(item)) : strlen(vipd_key(item))),
                         vipd_key(item));
                uint64_t n = vipd_uint(item, 0);
                if (vipd_type(item) == VIPD_TEXT) {
                    printf("%-20s%s\n", vipd_key(part), vipd_text(item, ""));
                    continue;
                }
                bool seconds = unit != NULL && n >= 10000 && n % 1000 == 0;
                printf("%-20s%" PRIu64 "%s\n", name, seconds ? n / 1000 : n,
                       unit == NULL ? "" : seconds ? "s" : "ms");
            }
        }
    }
    vipd_reply_free(reply);
    return 0;
}

static bool is_count(const char *text, uint64_t *ret)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    *ret = n;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && n <= UINT16_MAX;
}

enum setting_kind
{
    SETTING_COUNT,
    SETTING_DURATION,
    SETTING_FAILBACK, /* never, auto, 10m */
};

static const struct setting
{
    const char *name, *map, *key; /* map NULL: at the top */
    enum setting_kind kind;
} settings[] = {
    { "announce.count", "announce", "count", SETTING_COUNT },
    { "announce.interval", "announce", "interval_ms", SETTING_DURATION },
    { "announce.refresh", "announce", "refresh_ms", SETTING_DURATION },
    { "failback", NULL, "failback_ms", SETTING_FAILBACK },
    { "hold-down.after", "hold_down", "after", SETTING_COUNT },
    { "hold-down.window", "hold_down", "window_ms", SETTING_DURATION },
    { "hold-down.first", "hold_down", "first_ms", SETTING_DURATION },
    { "hold-down.max", "hold_down", "max_ms", SETTING_DURATION },
    { "voters.count", "voters", "count", SETTING_COUNT },
    { "voters.replace", "voters", "replace_ms", SETTING_DURATION },
};
#define SETTINGS_N (sizeof settings / sizeof settings[0])

static bool setting_value(enum setting_kind kind, const char *text, uint64_t *ret)
{
    if (kind == SETTING_FAILBACK) {
        return arguments_failback(text, ret);
    }
    return kind == SETTING_COUNT ? is_count(text, ret) : arguments_duration(text, 86400000, ret);
}

/* "announce.count=5" as {key: 5}, into the map that it belongs to. */
static int put_setting(const struct cli *cli, struct vipd_args *args, struct vipd_value *const maps[3], const char *word)
{
    const char *names[SETTINGS_N];
    const char *equals = strchr(word, '=');
    size_t n = equals == NULL ? strlen(word) : (size_t)(equals - word);

    for (size_t i = 0; i < SETTINGS_N; i++) {
        const struct setting *setting = &settings[i];
        const char *value = equals == NULL ? "" : equals + 1;
        uint64_t number;

        names[i] = setting->name;
        if (strlen(setting->name) != n || strncmp(setting->name, word, n) != 0) {
            continue;
        }
        if (!setting_value(setting->kind, value, &number)) {
            return complain(cli, VIPD_USAGE,
                            setting->kind == SETTING_COUNT      ? "for example 5"
                            : setting->kind == SETTING_DURATION ? "for example 200ms or 60s"
                                                                : "never, auto, or a time like 10m",
                            "\"%s\" is no value for %s", value, setting->name);
        }
        vipd_put(args, setting->map == NULL ? vipd_args_root(args) : maps[setting->map[0] == 'h' ? 1 : setting->map[0] == 'v' ? 2 : 0], setting->key,
                 vipd_new_int(args, (int64_t)number));
        return 0;
    }
    char name[128];
    snprintf(name, sizeof name, "%.*s", (int)n, word);
    const char *near = vipd_near(name, names, SETTINGS_N);
    return complain(cli, VIPD_USAGE, "vipctl settings set --help lists them",
                    near != NULL ? "there is no setting \"%s\"; did you mean \"%s\"?" : "there is no setting \"%s\"",
                    name, near);
}

int run_settings_set(struct cli *cli)
{
    struct vipd_args *args = vipd_args_new();
    struct vipd_value *const maps[3] = { vipd_new_map(args), vipd_new_map(args), vipd_new_map(args) };
    struct vipd_reply *reply;
    int r = 0;

    for (int i = 0; i < cli->n_args && r == 0; i++) {
        r = put_setting(cli, args, maps, cli->args[i]);
    }
    vipd_put(args, vipd_args_root(args), "hold_down", maps[1]);
    vipd_put(args, vipd_args_root(args), "voters", maps[2]);
    vipd_put(args, vipd_args_root(args), "announce", maps[0]);
    r = r != 0 ? r : cli_call(cli, "settings.set", args, &reply);
    vipd_args_free(args);
    if (r != 0) {
        return r;
    }
    if (is_json(cli)) {
        json_object(vipd_reply_result(reply), "wait", vipd_reply_index(reply));
    } else {
        printf("%s\n", cli->options.dry_run ? "nothing was changed (--dry-run)" : "set");
    }
    vipd_reply_free(reply);
    return 0;
}

/* ---------------------------------------------------------------------------------------------------------- keygen */

static int write_all(int fd, const char *text, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = write(fd, text + done, len - done);
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* A new file, durable before it is reported; nothing is ever overwritten: a lost key is a cluster that must be rekeyed. */
static int write_key(const struct cli *cli, const char *path, const char *text, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0) {
        return complain(cli, errno == EEXIST ? VIPD_CONFLICT : VIPD_FAILED,
                        errno == EEXIST ? "name another file, or remove it first" : NULL, "%s: %s", path,
                        strerror(errno));
    }
    int r = write_all(fd, text, len);
    if (r == 0 && fsync(fd) < 0) {
        r = -errno;
    }
    if (close(fd) < 0 && r == 0) {
        r = -errno;
    }
    if (r < 0) {
        unlink(path);
        return complain(cli, VIPD_FAILED, NULL, "%s: %s", path, strerror(-r));
    }
    return 0;
}

int run_keygen(struct cli *cli)
{
    unsigned char key[KEY_BYTES];
    char text[2 * KEY_BYTES + 2];

    while (getrandom(key, sizeof key, 0) != (ssize_t)sizeof key) {
        if (errno != EINTR) {
            return complain(cli, VIPD_FAILED, NULL, "no random numbers: %s", strerror(errno));
        }
    }
    for (size_t i = 0; i < KEY_BYTES; i++) {
        snprintf(text + 2 * i, 3, "%02x", key[i]);
    }
    strcpy(text + 2 * KEY_BYTES, "\n");
    if (cli->n_args > 0) {
        int r = write_key(cli, cli->args[0], text, 2 * KEY_BYTES + 1);
        if (r == 0 && is_json(cli)) {
            printf("{\"file\": ");
            json_text(stdout, cli->args[0]);
            printf("}\n");
        } else if (r == 0) {
            printf("wrote a new key to %s; give the same file to every node\n", cli->args[0]);
        }
        return r;
    }
    if (is_json(cli)) {
        printf("{\"key\": \"%.*s\"}\n", 2 * KEY_BYTES, text);
    } else {
        fputs(text, stdout);
    }
    return 0;
}

/* --------------------------------------------------------------------------------------------------------- version */

int run_version(struct cli *cli)
{
    struct vipd_reply *reply;
    int r = cli_try(cli, "version", &reply);

    if (r != 0) {
        return r;
    }
    const struct vipd_value *daemon = reply == NULL ? NULL : vipd_reply_result(reply);
    const char *version = vipd_text(vipd_get(daemon, "version"), NULL);
    if (is_json(cli)) {
        printf("{\"vipctl\": \"%s\", \"vipd\": ", vipd_version());
        json_value(stdout, vipd_get(daemon, "version"));
        for (const struct vipd_value *item = vipd_first(daemon); item != NULL; item = vipd_next(item)) {
            if (strcmp(vipd_key(item), "version") != 0 && strcmp(vipd_key(item), "protocol") != 0) {
                printf(", \"%s\": ", vipd_key(item));
                json_value(stdout, item);
            }
        }
        printf("}\n");
    } else {
        printf("vipctl %s\n", vipd_version());
        if (version == NULL) {
            printf("vipd   not reachable\n");
        } else {
            const char *mixed = vipd_text(vipd_get(daemon, "mixed"), NULL);
            uint64_t format = vipd_uint(vipd_get(daemon, "format"), 0);
            printf("vipd   %s on node %s, reads format %s\n", version, vipd_text(vipd_get(daemon, "node"), "?"),
                   vipd_text(vipd_get(daemon, "reads"), "?"));
            if (format > 0) {
                printf("the cluster uses format %" PRIu64 "\n", format);
            }
            if (mixed != NULL) {
                printf("nodes run different versions: %s\n", mixed);
            }
        }
    }
    vipd_reply_free(reply);
    return 0;
}

#if VIPD_PRETEND_FORMAT
/* The command that only the pretended next version has. */
int run_mark(struct cli *cli)
{
    struct vipd_args *args = vipd_args_new();
    struct vipd_reply *reply;

    vipd_put(args, vipd_args_root(args), "text", vipd_new_text(args, cli->args[0]));
    int r = cli_call(cli, "mark", args, &reply);
    vipd_args_free(args);
    if (r == 0) {
        vipd_reply_free(reply);
    }
    return r;
}
#endif
