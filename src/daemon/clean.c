#include "daemon/clean.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "io/fence.h"
#include "io/netlink.h"

static void nothing(void *ud)
{
    (void)ud;
}

static void changed(void *ud, const struct addr *addr, bool present, bool marked)
{
    (void)ud, (void)addr, (void)present, (void)marked;
}

static void removed(void *ud, const struct addr *addr, const char *dev)
{
    char text[ADDR_TEXT_MAX];
    (void)ud;
    printf("removed %s from %s\n", addr_format(addr, text), dev);
}

static int clean_addresses(void)
{
    static const struct netlink_ops OPS = {.links = nothing, .address = changed, .resync = nothing};
    struct netlink_config config = {.interfaces = NULL, .n = 0};
    struct netlink *netlink = NULL;
    uv_loop_t loop;
    uv_loop_init(&loop);
    int rv = netlink_init(&netlink, &loop, &config, &OPS, NULL);
    if (!rv) {
        rv = netlink_flush_marked(netlink, removed, NULL);
        netlink_close(netlink, NULL, NULL);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return rv < 0 ? rv : 0;
}

int clean_all(void)
{
    struct fence *fence = NULL;
    int rv = fence_open(&fence); /* nobody else has it open: no daemon runs in this network namespace */
    if (rv == -EADDRINUSE) {
        fprintf(stderr, "vipd: a daemon runs in this network namespace; stop it first\n");
        return 1;
    }
    /* The addresses go first, while the fence is in force; without a fence (a kernel that has none) they go all the same. */
    int addresses = clean_addresses();
    if (addresses) {
        fprintf(stderr, "vipd: addresses are left: %s\n", strerror(-addresses));
    }
    int closed = rv ? 0 : fence_close(fence, false);
    int fences = rv || addresses ? 0 : fence_remove_all();
    if (closed || fences) {
        fprintf(stderr, "vipd: the fence is left: %s\n", fence_error());
    }
    if (!addresses && !closed && !fences) {
        printf("nothing of vipd is left on the interfaces\n");
    }
    return addresses || closed || fences;
}
