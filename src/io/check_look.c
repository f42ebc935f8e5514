/* file, process: what the file system says, which may take its time; so in a thread of libuv's pool. A look that has not
 * come back by the timeout counts as failed, and the check is not run again before it has. */

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/check_private.h"

static void look_at_file(struct check_run *run)
{
    struct stat at;
    run->look.passed = stat(run->target.text, &at) == 0;
    snprintf(run->look.detail, sizeof(run->look.detail), "%s", run->look.passed ? "it exists" : strerror(errno));
}

/* proc(5): "PID (NAME) STATE ..."; the name may have anything in it. A zombie does not run. */
static bool is_process(const char *pid, const char *name)
{
    char path[64], text[256];
    snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0) {
        close(fd);
    }
    text[n > 0 ? n : 0] = '\0';
    char *open = strchr(text, '('), *end = strrchr(text, ')');
    if (open == NULL || end == NULL || end < open || end[1] != ' ' || end[2] == 'Z' || end[2] == 'X') {
        return false;
    }
    *end = '\0';
    return strcmp(open + 1, name) == 0;
}

static void look_for_process(struct check_run *run)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    snprintf(run->look.detail, sizeof(run->look.detail), "no process %s", run->target.text);
    while (proc != NULL && !run->look.passed && (entry = readdir(proc)) != NULL) {
        if (isdigit((unsigned char)entry->d_name[0]) && is_process(entry->d_name, run->target.text)) {
            run->look.passed = true;
            snprintf(run->look.detail, sizeof(run->look.detail), "process %.20s", entry->d_name);
        }
    }
    if (proc != NULL) {
        closedir(proc);
    }
}

static void on_work(uv_work_t *request)
{
    struct check_run *run = request->data;
    if (run->kind == CHECK_FILE) {
        look_at_file(run);
    } else {
        look_for_process(run);
    }
}

static void on_done(uv_work_t *request, int status)
{
    struct check_run *run = request->data;
    if (status == 0) {
        check_tell(run, run->look.passed, "%s", run->look.detail);
    }
    run->look.request.data = NULL;
    check_closed(run);
}

static void close_look(struct check_run *run)
{
    if (run->look.request.data != NULL) {
        (void)uv_cancel((uv_req_t *)&run->look.request); /* as long as it waits for a thread; else it comes back by itself */
    }
}

static int start(struct check_run *run, const struct check_job *job, char ret_detail[CHECK_DETAIL_SIZE])
{
    (void)job;
    run->look.request.data = run;
    int err = uv_queue_work(run->loop, &run->look.request, on_work, on_done);
    if (err < 0) {
        run->look.request.data = NULL;
        snprintf(ret_detail, CHECK_DETAIL_SIZE, "%s", uv_strerror(err));
        return err;
    }
    check_opened(run);
    return 0;
}

const struct check_adapter CHECK_LOOK = {.start = start, .close = close_look};
