#ifndef VIPD_WIRE_REPORT_H
#define VIPD_WIRE_REPORT_H

/* A node's report of itself to the leader, as bytes: MessagePack, an array of format, node, identity, run, witness,
 * leaving, the software's version, the first and last format that it reads, and the links: each its name, up, its
 * hardware address and its prefixes; and the changed conflicts of its VIPs. */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/core.h"
#include "core/format.h"

#define REPORT_BYTES_MAX 8192

/* Encodes into buf, in a format that the receiver reads; 0 and *ret_len, or -ENOBUFS. A link whose name has spaces or control characters is left out: the
 * leader would refuse it, and the whole report with it. */
NODISCARD int report_encode(const struct report *report, uint32_t format, uint8_t *buf, size_t size, size_t *ret_len);

/* Decodes all of buf; 0, or -EBADMSG with *ret untouched. Every count, length and flag is checked. */
NODISCARD int report_decode(const uint8_t *buf, size_t len, struct report *ret);

#endif
