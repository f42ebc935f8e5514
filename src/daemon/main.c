/* vipd: the daemon's command line. */

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/clean.h"
#include "daemon/config.h"
#include "daemon/daemon.h"

#define DEFAULT_CONFIG "/etc/vipd/vipd.yaml"

static int usage(FILE *to, int status)
{
    fprintf(to, "usage: vipd [-c FILE] [--check | --clean]\n"
                "\n"
                "Owns virtual IP addresses together with the other nodes of its cluster.\n"
                "\n"
                "  -c, --config FILE   the node's file (default " DEFAULT_CONFIG ")\n"
                "      --check         validate the file and exit: 0 good, 2 not\n"
                "      --clean         remove the addresses and the fence that a daemon left behind, and exit\n"
                "  -h, --help          this text\n"
                "  -V, --version       the version\n"
                "\n"
                "SIGTERM gives the VIPs away first and then leaves. vipctl talks to it.\n");
    return status;
}

int main(int argc, char **argv)
{
    static const struct option OPTIONS[] = {
        {"config", required_argument, NULL, 'c'}, {"check", no_argument, NULL, 'k'},
        {"clean", no_argument, NULL, 'x'},
        {"help", no_argument, NULL, 'h'},         {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    const char *path = DEFAULT_CONFIG;
    bool check = false;
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
    if (check) {
        printf("%s: good: node %s of cluster %s, %d peers\n", path, config.node, config.cluster, config.n_peers);
        return 0;
    }
    if (geteuid() != 0) {
        fprintf(stderr, "vipd: needs root (addresses, packet sockets, eBPF)\n");
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    log_init(config.node, config.log);
    if (config.has_key) {
        log_write(LOG_KEY_UNUSED, "file=%s", config.key_file);
    }
    return daemon_run(&config);
}
