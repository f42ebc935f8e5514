/* What most commands do: one request, and its reply shown. */

#include "cli/cli.h"

#include <stdio.h>

int cli_show(struct cli *cli, const char *op, struct vipd_args *args,
             void (*show)(const struct cli *cli, const struct vipd_value *result))
{
    struct vipd_reply *reply;
    int r = cli_call(cli, op, args, &reply);

    vipd_args_free(args);
    if (r != 0) {
        return r;
    }
    if (is_json(cli)) {
        json_object(vipd_reply_result(reply), NULL, 0);
    } else {
        show(cli, vipd_reply_result(reply));
    }
    vipd_reply_free(reply);
    return 0;
}

int cli_change(struct cli *cli, const char *op, struct vipd_args *args, const char *subject, const char *done)
{
    struct vipd_reply *reply;
    int r = cli_call(cli, op, args, &reply);

    vipd_args_free(args);
    if (r != 0) {
        return r;
    }
    if (is_json(cli)) {
        json_object(vipd_reply_result(reply), "wait", vipd_reply_index(reply));
    } else if (cli->options.dry_run) {
        printf(CLI_DRY_RUN);
    } else {
        printf("%s%s%s\n", subject != NULL ? subject : "", subject != NULL ? ": " : "", done);
    }
    vipd_reply_free(reply);
    return 0;
}
