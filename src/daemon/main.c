/* vipd: the daemon's command line. */

#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/access.h"
#include "daemon/clean.h"
#include "daemon/config.h"
#include "daemon/daemon.h"
#include "daemon/recover.h"
#include "io/confine.h"
#include "io/priority.h"
#include "io/privilege.h"

#define OWN_PAGES (128 * 1024) /* bytes from which an allocation has pages of its own, which its end gives back */
#define DEFAULT_CONFIG "/etc/vipd/vipd.yaml"

static int usage(FILE *to, int status)
{
    fprintf(to, "usage: vipd [-c FILE] [--check | --clean]\n"
                "\n"
                "Owns virtual IP addresses together with the other nodes of its cluster.\n"
                "\n"
                "  -c, --config FILE   the node's file (default " DEFAULT_CONFIG ")\n"
                "      --check         validate the file and exit: 0 good, 2 not\n"
                "      --recover [--yes NODES]   the majority of the voters is lost for good: go on as a\n"
                "                      cluster of this node alone. Without --yes it says what that means.\n"
                "                      Read docs/operations.md first\n"
                "      --clean         remove the addresses and the fence that a daemon left behind, and exit\n"
                "  -h, --help          this text\n"
                "  -V, --version       the version\n"
                "\n"
                "SIGTERM gives the VIPs away first and then leaves. SIGUSR2 leaves them for a run that\n"
                "follows at once and takes them over. vipctl talks to it.\n");
    return status;
}

/* Before the first thread, and before anything comes from outside. */
static int confine(const struct config *config)
{
    const char *missing = NULL;

    priority_raise();
    int rv = privilege_drop(config->fence == CONFIG_FENCE_KERNEL, access_group(config->control_group), &missing);
    if (rv == PRIVILEGE_MISSING) {
        log_write(LOG_FATAL, "what=\"%s is missing\" advice=\"start vipd as root, or by its systemd unit\"", missing);
        return rv;
    }
    rv = rv ? rv : confine_calls();
    if (rv) {
        log_write(LOG_FATAL, "what=\"giving up privileges\" error=\"%s\"", strerror(-rv));
    }
    return rv;
}

int main(int argc, char **argv)
{
    static const struct option OPTIONS[] = {
        {"config", required_argument, NULL, 'c'}, {"check", no_argument, NULL, 'k'},
        {"clean", no_argument, NULL, 'x'},        {"recover", no_argument, NULL, 'r'},
        {"yes", required_argument, NULL, 'y'},
        {"help", no_argument, NULL, 'h'},         {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    const char *path = DEFAULT_CONFIG;
    const char *yes = NULL;
    bool check = false, recover = false;
    mallopt(M_MMAP_THRESHOLD, OWN_PAGES); /* else glibc raises it, and what a large request needed stays with the process */
    for (int option; (option = getopt_long(argc, argv, "c:hV", OPTIONS, NULL)) != -1;) {
        switch (option) {
        case 'c':
            path = optarg;
            break;
        case 'k':
            check = true;
            break;
        case 'x':
            return clean_all();
        case 'r':
            recover = true;
            break;
        case 'y':
            yes = optarg;
            break;
        case 'h':
            return usage(stdout, 0);
        case 'V':
            printf("vipd %s\n", VIPD_VERSION);
            return 0;
        default:
            return usage(stderr, 2);
        }
    }
    if (optind != argc) {
        fprintf(stderr, "vipd: unexpected argument '%s'\n", argv[optind]);
        return usage(stderr, 2);
    }
    static struct config config;
    char error[CONFIG_ERROR_SIZE];
    if (config_load(path, &config, error)) {
        fprintf(stderr, "vipd: %s\n", error);
        return 2;
    }
    if (config.keys.n == 0) {
        fprintf(stderr, "vipd: %s: key 'key-file' is missing: the nodes speak to each other with the cluster's key only; make it "
                        "on one node with vipctl keygen and copy it to the others\n", path);
        return 2;
    }
    if (check) {
        printf("%s: good: node %s of cluster %s, %d peers\n", path, config.node, config.cluster, config.n_peers);
        return 0;
    }
    signal(SIGPIPE, SIG_IGN);
    if (recover) {
        return recover_run(&config, yes);
    }
    if (yes) {
        fprintf(stderr, "vipd: --yes goes with --recover\n");
        return 2;
    }
    log_init(config.node, config.log);
    if (confine(&config)) {
        return 1;
    }
    return daemon_run(&config);
}
