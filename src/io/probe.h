#ifndef VIPD_IO_PROBE_H
#define VIPD_IO_PROBE_H

/* Asks a link whether another host has an address: ARP probes (RFC 5227 2.1.1), or the solicitations of duplicate address
 * detection (RFC 4862 5.4). It only asks; the answers are seen by io/watch. */

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/addr.h"
#include "base/err.h"
#include "core/limits.h"

struct probe;

struct probe_ops
{
    /* Asked before each frame: whether the answer still matters. A no ends the probe without a word. Must not call
     * probe_ functions. */
    bool (*wanted)(void *ud, uint16_t key);
    /* The last interval is over. failed: not one frame went out. May call probe_ functions. */
    void (*over)(void *ud, uint16_t key, uint64_t token, bool failed);
};

NODISCARD int probe_init(struct probe **ret, uv_loop_t *loop, const struct probe_ops *ops, void *ud);

/* Asks nothing more; takes NULL. */
void probe_close(struct probe *probe);

/* Sends `count` (1..) frames for addr on dev, the first in this or the coming loop turn, interval_ms (1..) apart, and calls
 * ops.over an interval after the last one. key is 0..VIPS_MAX - 1; a probe of the same key is replaced. token comes back in
 * ops.over. All probes that run at the same time have the same interval_ms. */
void probe_start(struct probe *probe, uint16_t key, uint64_t token, const char *dev, const struct addr *addr, int count,
                 uint32_t interval_ms);

#endif
