/* Other hosts: asks the link whether one has a VIP (ACT_PROBE), and hears what they claim (EV_FOREIGN).
 *
 * Happy path: io/probe asks, nobody answers, the core is told when the last interval is over. Failure modes: the VIP has no
 * link any more, or the link could not be asked: told as failed, and the core asks again; somebody answers: io/watch sees
 * it as it sees any other claim; somebody asks for it at the same time: likewise (RFC 5227 2.1.1). */

#include <string.h>

#include "daemon/daemon.h"

static void tell_probe(struct daemon *d, uint16_t vip, uint64_t moved, bool failed)
{
    struct event event = {.type = EV_PROBE, .probe = {.vip = vip, .moved = moved, .failed = failed}};
    daemon_event(d, &event);
}

void foreign_probe(struct daemon *d, const struct action *action)
{
    const struct link *link = core_link_for(d->core, action->probe.vip);
    if (link) {
        probe_start(d->probe, action->probe.vip, action->probe.moved, link->name,
                    &d->table->vips[action->probe.vip].address.addr, PROBES_N, action->probe.interval_ms);
    } else {
        tell_probe(d, action->probe.vip, action->probe.moved, true);
    }
}

static bool probe_wanted(void *ud, uint16_t vip)
{
    struct daemon *d = ud;
    return core_probing(d->core, vip);
}

static void on_probed(void *ud, uint16_t vip, uint64_t moved, bool failed)
{
    tell_probe(ud, vip, moved, failed);
}

static void on_foreign(void *ud, const struct addr *addr, const uint8_t mac[6], const char *dev, bool probes)
{
    struct daemon *d = ud;
    int vip = table_vip_by_addr(d->table, addr);
    if (vip == SLOT_NONE || (probes && !core_probing(d->core, vip))) {
        return; /* whoever asks for what is held is answered by the kernel */
    }
    int owner = d->table->vips[vip].owner; /* as whom this node wants to know who answers a probe, or is silent */
    if ((owner == SLOT_NONE || d->table->nodes[owner].id != d->self) && !netlink_has(d->netlink, addr)) {
        return;
    }
    (void)dev;
    struct event event = {.type = EV_FOREIGN};
    event.foreign.addr = *addr;
    event.foreign.probes = probes;
    memcpy(event.foreign.mac, mac, MAC_SIZE);
    daemon_event(d, &event);
}

int foreign_open(struct daemon *d)
{
    static const struct watch_ops WATCH = {.foreign = on_foreign};
    static const struct probe_ops PROBE = {.wanted = probe_wanted, .over = on_probed};
    int rv = watch_init(&d->watch, &d->loop, &WATCH, d);
    return rv ? rv : probe_init(&d->probe, &d->loop, &PROBE, d);
}

void foreign_close(struct daemon *d)
{
    watch_close(d->watch, NULL, NULL);
    probe_close(d->probe);
    d->probe = NULL;
}
