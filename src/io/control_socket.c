#include "io/control_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int make_directory(const char *path)
{
    char dir[sizeof((struct sockaddr_un *)0)->sun_path];

    for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        memcpy(dir, path, (size_t)(slash - path));
        dir[slash - path] = '\0';
        if (mkdir(dir, 0755) < 0 && errno != EEXIST) {
            return -errno;
        }
    }
    return 0;
}

/* Whether a live process listens there: -EADDRINUSE; 0: nobody does. */
static int probe(const struct sockaddr_un *at)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        return -errno;
    }
    int r = connect(fd, (const struct sockaddr *)at, sizeof *at) < 0 ? errno : 0;
    close(fd);
    return r == ECONNREFUSED || r == ENOENT ? 0 : -EADDRINUSE;
}

static int remove_stale(const struct sockaddr_un *at)
{
    struct stat st;

    if (lstat(at->sun_path, &st) < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISSOCK(st.st_mode)) {
        return -ENOTSOCK;
    }
    int r = probe(at);
    if (r < 0) {
        return r;
    }
    return unlink(at->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

/* The mode is set before the name exists, so that the socket is never open to more than 0660. */
static int bind_at(const struct sockaddr_un *at, gid_t group, int *ret_fd)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        return -errno;
    }
    if (fchmod(fd, 0660) < 0 || bind(fd, (const struct sockaddr *)at, sizeof *at) < 0 ||
        lchown(at->sun_path, (uid_t)-1, group) < 0 || chmod(at->sun_path, 0660) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

int control_socket_bind(const char *path, gid_t group, struct control_socket *ret, int *ret_fd)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    struct stat st;
    int fd = -1;

    if (path[0] == '\0') {
        return -EINVAL;
    }
    if (strlen(path) >= sizeof at.sun_path) {
        return -ENAMETOOLONG;
    }
    strcpy(at.sun_path, path);
    int r = make_directory(path);
    r = r < 0 ? r : remove_stale(&at);
    r = r < 0 ? r : bind_at(&at, group, &fd);
    if (r < 0) {
        return r;
    }
    if (stat(at.sun_path, &st) < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    *ret = (struct control_socket){ .dev = st.st_dev, .ino = st.st_ino };
    strcpy(ret->path, path);
    *ret_fd = fd;
    return 0;
}

void control_socket_remove(const struct control_socket *socket)
{
    struct stat st;

    if (lstat(socket->path, &st) == 0 && st.st_dev == socket->dev && st.st_ino == socket->ino) {
        (void)unlink(socket->path);
    }
}
