#ifndef VIPD_CORE_LINK_H
#define VIPD_CORE_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "core/limits.h"

/* An interface that a node reported. */
struct link
{
    char name[DEV_SIZE];
    bool up; /* administratively and operationally */
    uint8_t mac[MAC_SIZE]; /* zero where it has none: what it sends is no foreign host's */
    uint8_t n_prefixes;
    struct prefix prefixes[LINK_PREFIXES_MAX]; /* of its own addresses, VIPs left out */
};

#endif
