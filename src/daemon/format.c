/* What this version reads, against what the cluster uses (core/format.h).
 *
 * Nothing is ever passed over: a log, a snapshot, a data directory or a cluster in a format that this version does not read ends
 * the node, the VIPs first, with a sentence that says what to install. What it has on disk stays as it is, and the version that
 * wrote it goes on with it. */

#include <stdio.h>

#include "base/log.h"
#include "daemon/daemon.h"

bool format_reads(uint32_t format)
{
    return format >= FORMAT_FIRST && format <= FORMAT_LAST;
}

void format_stop(struct daemon *d, uint32_t format)
{
    if (!d->stopping) {
        log_write(LOG_FORMAT, "node=%s version=%s format=%u reads=%u..%u", d->config->node, VIPD_VERSION, format, FORMAT_FIRST,
                  FORMAT_LAST);
    }
    d->halted = true;
    daemon_stop(d, 1);
}

bool format_on_disk(struct daemon *d)
{
    uint64_t format = 0;
    if (store_get_u64(d->store, "format", &format) || format_reads((uint32_t)format)) {
        d->format = (uint32_t)format;
        return true;
    }
    format_stop(d, (uint32_t)format);
    return false;
}

void format_table_changed(struct daemon *d)
{
    if (!d->table->cluster_id || d->format == d->table->format || !d->store) {
        return;
    }
    d->format = d->table->format;
    if (store_set_u64(d->store, "format", d->format)) {
        daemon_fatal(d, store_error(d->store));
    }
    if (!format_reads(d->format)) {
        format_stop(d, d->format);
    }
}

bool format_fits(struct daemon *d, const struct hello *hello, char reason[HELLO_REASON_SIZE])
{
    uint32_t format = d->table->cluster_id ? d->table->format : 0;
    if (format && (format < hello->protocol_min || format > hello->protocol_max)) {
        snprintf(reason, HELLO_REASON_SIZE, "the cluster uses format %u, vipd %.20s on node %.30s reads %u to %u", format,
                 hello->version, hello->name, hello->protocol_min, hello->protocol_max);
        return false;
    }
    if (format_outgrown(d, hello)) {
        snprintf(reason, HELLO_REASON_SIZE, "the cluster uses format %u, vipd %.20s on node %.30s reads %u to %u", hello->format,
                 VIPD_VERSION, d->config->node, FORMAT_FIRST, FORMAT_LAST);
        return false;
    }
    return true;
}

bool format_outgrown(struct daemon *d, const struct hello *hello)
{
    bool ours = hello->cluster_id && (!d->cluster_id || hello->cluster_id == d->cluster_id);
    if (!ours || !hello->format || format_reads(hello->format)) {
        return false;
    }
    format_stop(d, hello->format);
    return true;
}
