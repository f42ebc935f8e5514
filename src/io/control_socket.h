#ifndef VIPD_IO_CONTROL_SOCKET_H
#define VIPD_IO_CONTROL_SOCKET_H

/* The control socket's name in the file system: made, taken over from a dead process, and removed again. */

#include <sys/types.h>

#include "base/err.h"

#define CONTROL_PATH_SIZE 108 /* of sockaddr_un, unix(7) */

struct control_socket
{
    char path[CONTROL_PATH_SIZE];
    dev_t dev; /* which file it is, so that another's is never removed */
    ino_t ino;
};

/* A socket bound to `path`, of `group` unless that is (gid_t)-1, not yet listening. Errors: see control_open(). */
NODISCARD int control_socket_bind(const char *path, gid_t group, struct control_socket *ret, int *ret_fd);

/* Removes the name if it is still this socket's. */
void control_socket_remove(const struct control_socket *socket);

#endif
