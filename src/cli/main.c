#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

/* ---------------------------------------------------------------------------------------------------------- asking */

static int unreachable(const struct cli *cli, int error)
{
    const char *path = cli->socket != NULL ? cli->socket : VIPD_SOCKET_DEFAULT;

    switch (-error) {
    case EACCES:
    case EPERM:
        return complain(cli, VIPD_FAILED, "use sudo, or join the group that owns the socket",
                        "you are not allowed to use %s", path);
    case ENOENT:
        return complain(cli, VIPD_FAILED, "start vipd (systemctl status vipd), or name another socket with -s",
                        "no daemon runs here: there is no socket %s", path);
    case ECONNREFUSED:
        return complain(cli, VIPD_FAILED, "start vipd (systemctl status vipd), or name another socket with -s",
                        "no daemon answers at %s: it does not run any more", path);
    case ECONNRESET:
    case EPIPE:
        return complain(cli, VIPD_FAILED, "look whether vipd still runs (systemctl status vipd), and ask again",
                        "the daemon at %s closed the connection", path);
    case EMSGSIZE:
        return complain(cli, VIPD_FAILED, NULL, "the request or its answer is too long");
    case EPROTO:
        return complain(cli, VIPD_FAILED, "vipctl and vipd may be of different versions",
                        "what answers at %s does not speak this version's protocol", path);
    default:
        return complain(cli, VIPD_FAILED, NULL, "%s: %s", path, strerror(-error));
    }
}

static int connect_once(struct cli *cli)
{
    return cli->client != NULL ? 0 : vipd_client_open(cli->socket, &cli->client);
}

/* The reply's code, after the complaint when it is not VIPD_DONE; the reply is freed then. */
static int judge(const struct cli *cli, struct vipd_reply *reply, struct vipd_reply **ret)
{
    enum vipd_code code = vipd_reply_code(reply);

    if (code == VIPD_DONE) {
        *ret = reply;
        return 0;
    }
    const char *error = vipd_reply_error(reply);
    complain(cli, code, vipd_reply_hint(reply), "%s", error != NULL ? error : "refused");
    vipd_reply_free(reply);
    return (int)code;
}

int cli_call(struct cli *cli, const char *op, const struct vipd_args *args, struct vipd_reply **ret)
{
    struct vipd_reply *reply;
    int r = connect_once(cli);

    r = r < 0 ? r : vipd_call(cli->client, op, args, &cli->options, &reply);
    return r < 0 ? unreachable(cli, r) : judge(cli, reply, ret);
}

int cli_list(struct cli *cli, const char *op, const struct vipd_args *args, uint32_t limit, struct vipd_reply **ret)
{
    struct vipd_reply *reply;
    int r = connect_once(cli);

    r = r < 0 ? r : vipd_list(cli->client, op, args, &cli->options, limit, &reply);
    return r < 0 ? unreachable(cli, r) : judge(cli, reply, ret);
}

int cli_ask(struct cli *cli, const char *op, const struct vipd_args *args, struct vipd_reply **ret)
{
    int r = connect_once(cli);

    return r < 0 ? r : vipd_call(cli->client, op, args, &cli->options, ret);
}

int cli_events(struct cli *cli, const struct vipd_args *args, struct vipd_position *position, uint32_t newest,
               struct vipd_reply **ret)
{
    int r = connect_once(cli);

    return r < 0 ? r : vipd_events(cli->client, args, position, newest, ret);
}

int cli_failed(const struct cli *cli, int error, struct vipd_reply *reply)
{
    return error < 0 ? unreachable(cli, error) : judge(cli, reply, &reply);
}

int cli_try(struct cli *cli, const char *op, struct vipd_reply **ret)
{
    struct vipd_reply *reply = NULL;
    int r = connect_once(cli);

    r = r < 0 ? r : vipd_call(cli->client, op, NULL, &cli->options, &reply);
    *ret = NULL;
    if (r == -ENOENT || r == -ECONNREFUSED || r == -EACCES) {
        return 0;
    }
    return r < 0 ? unreachable(cli, r) : judge(cli, reply, ret);
}

/* ------------------------------------------------------------------------------------------------------------ main */

static int run(struct cli *cli, int argc, char **argv)
{
    int r = arguments_read(cli, argc, argv);

    if (r != 0) {
        return r;
    }
    if (cli->help || (cli->command == NULL && !cli->version)) {
        if (cli->command != NULL) {
            help_command(stdout, cli->command);
        } else {
            help_overview(stdout);
        }
        return 0;
    }
    return cli->version ? run_version(cli) : cli->command->run(cli);
}

int main(int argc, char **argv)
{
    struct cli cli = { .socket = getenv("VIPD_SOCKET") };

    signal(SIGPIPE, SIG_DFL); /* `vipctl vip list | head` ends quietly, also where a parent ignores the signal */
    if (cli.socket != NULL && cli.socket[0] == '\0') {
        cli.socket = NULL;
    }
    int r = run(&cli, argc, argv);
    vipd_client_close(cli.client);
    free(cli.args);
    if (fflush(stdout) != 0) {
        fprintf(stderr, "vipctl: cannot write the answer: %s\n", strerror(errno));
        return VIPD_FAILED;
    }
    return r;
}
