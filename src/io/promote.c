#include "io/promote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int read_switch(const char *path, char *ret)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    ssize_t size = read(fd, ret, 1);
    int err = size == 1 ? 0 : size < 0 ? -errno : -EIO;
    close(fd);
    return err;
}

static int write_switch(const char *path, char value)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int err = write(fd, &value, 1) == 1 ? 0 : -errno;
    close(fd);
    return err;
}

int promote_begin(struct promote *ret, const char *dev)
{
    static const char all[] = "/proc/sys/net/ipv4/conf/all/promote_secondaries";
    struct promote promote = {.path = ""};
    char here = '0', everywhere = '0';
    snprintf(promote.path, sizeof(promote.path), "/proc/sys/net/ipv4/conf/%s/promote_secondaries", dev);
    int err = read_switch(promote.path, &here);
    if (err == 0) {
        err = read_switch(all, &everywhere);
    }
    if (err < 0) {
        return err;
    }
    if (here != '0' || everywhere != '0') {
        promote.path[0] = '\0';
    } else {
        err = write_switch(promote.path, '1');
    }
    if (err == 0) {
        *ret = promote;
    }
    return err;
}

void promote_end(struct promote *promote)
{
    if (promote->path[0] != '\0') {
        (void)!write_switch(promote->path, '0'); /* an interface that went meanwhile needs it no more */
        promote->path[0] = '\0';
    }
}
