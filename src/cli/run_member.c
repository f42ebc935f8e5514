/* vipctl node add, remove, set, promote, demote */

#include <string.h>

#include "cli/cli.h"

struct change
{
    const char *op, *node, *address, *role;
    const char *done, *real; /* what is said of it, without and with --wait */
};

static void put(struct vipd_args *args, const char *key, const char *text)
{
    if (text != NULL) {
        vipd_put(args, vipd_args_root(args), key, vipd_new_text(args, text));
    }
}

static int make(struct cli *cli, const struct change *change)
{
    struct vipd_args *args = vipd_args_new();

    put(args, "node", change->node);
    put(args, "address", change->address);
    put(args, "role", change->role);
    return cli_change(cli, change->op, args, change->node, cli->options.wait ? change->real : change->done);
}

int run_node_add(struct cli *cli)
{
    return make(cli, &(struct change){"node.add", cli->args[0], cli->args[1], NULL,
                                      "added; now start it there, with join: in its file and the cluster's key",
                                      "a member, and up"});
}

int run_node_remove(struct cli *cli)
{
    return make(cli, &(struct change){"node.remove", cli->args[0], NULL, NULL,
                                      "is being removed (--wait returns when it is gone)",
                                      "removed: its data directory is of no use any more"});
}

int run_node_set(struct cli *cli)
{
    const char *address = arguments_option(cli, "address"), *role = arguments_option(cli, "role");

    return make(cli, &(struct change){"node.set", cli->args[0], address, role, "changed", "changed, and so it is"});
}

int run_node_promote(struct cli *cli)
{
    return make(cli, &(struct change){"node.set", cli->args[0], NULL, "voter", "will be a voter", "a voter"});
}

int run_node_demote(struct cli *cli)
{
    return make(cli, &(struct change){"node.set", cli->args[0], NULL, "spare", "will vote no more", "votes no more"});
}
