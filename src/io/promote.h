#ifndef VIPD_IO_PROMOTE_H
#define VIPD_IO_PROMOTE_H

/* Removing an IPv4 address that is the primary of its subnet takes the other addresses of that subnet with it, unless
 * the host has promote_secondaries set. For the moment of such a removal it is set here, and put back after. */

#include <stdbool.h>

#include "base/err.h"

struct promote
{
    char path[96]; /* empty: nothing to put back */
};

/* 0; -errno: secondaries of dev would be lost. */
NODISCARD int promote_begin(struct promote *ret, const char *dev);
void promote_end(struct promote *promote);

#endif
