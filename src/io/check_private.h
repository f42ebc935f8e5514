#ifndef VIPD_IO_CHECK_PRIVATE_H
#define VIPD_IO_CHECK_PRIVATE_H

/* Shared by io/check*.c. */

#include "core/target.h"
#include "io/check.h"
#include "io/child.h"

#define CHECK_ANSWER_MAX 512 /* bytes of an HTTP answer that are read: its first line */

/* How one kind of check is run. start(): 0, or -errno with *ret_detail; then nothing is open but what close() closes. Each
 * handle or request that is opened counts in run->open and calls check_closed() in the end. */
struct check_adapter
{
    int (*start)(struct check_run *run, const struct check_job *job, char ret_detail[CHECK_DETAIL_SIZE]);
    void (*close)(struct check_run *run); /* idempotent */
};

struct check_run
{
    uv_loop_t *loop;
    uv_timer_t timer;
    const struct check_adapter *adapter;
    struct check_run_ops ops;
    void *ud;
    int open;
    bool told, abandoned;
    enum check_kind kind;
    char text[CHECK_TARGET_SIZE]; /* the target's; `target` points into it */
    struct target target;
    union {
        struct
        {
            uv_tcp_t tcp;
            uv_connect_t connect;
            uv_write_t write;
            char request[CHECK_TARGET_SIZE * 2 + 128];
            char answer[CHECK_ANSWER_MAX + 1];
            size_t n;
        } net;
        struct child *child;
        struct
        {
            uv_work_t request;
            bool running, passed;
            char detail[CHECK_DETAIL_SIZE];
        } look;
        struct
        {
            uv_poll_t poll;
            int fd;
            uint8_t family; /* 4 or 6 */
            uint8_t echo[16];
        } ping;
    };
};

/* What has come out; only the first word counts. Ends the run. */
void check_tell(struct check_run *run, bool passed, const char *format, ...) PRINTF(3, 4);
void check_opened(struct check_run *run);
void check_closed(struct check_run *run);

extern const struct check_adapter CHECK_CONNECT; /* tcp, http */
extern const struct check_adapter CHECK_PROGRAM;
extern const struct check_adapter CHECK_LOOK; /* file, process */
extern const struct check_adapter CHECK_ECHO;

#endif
