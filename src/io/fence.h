#ifndef VIPD_IO_FENCE_H
#define VIPD_IO_FENCE_H

/* The kernel fence (ownership.md, N5; docs/decisions/0005-kernel-fence.md): programs at the tc ingress and egress of
 * interfaces, which let nothing of a VIP pass once the lease has ended, whatever has become of the daemon.
 *
 * Order of a start, so that there is no moment without a fence after a crash of an earlier run:
 *
 *     fence_open            the earlier run's programs, with its old lease, stay in force
 *     fence_vips_replace    every VIP of the table as far as it is known
 *     (remove addresses that the earlier run left and that the table does not name: N4)
 *     fence_attach          for every interface: takes the earlier program's place in one step, with lease 0
 *     fence_set_lease       whenever the lease changes
 *
 * A VIP is added to the fence before its address is added to an interface, and taken out only after the address is
 * gone.
 *
 * One at a time in a network namespace. Everything here acts on the network namespace of the calling thread. Not
 * thread-safe, but fence_set_lease and fence_lease may be called from any thread. Times are CLOCK_BOOTTIME. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "io/fence_hook.h"

struct fence;

/* Outcomes of fence_attach and fence_check. */
enum fence_outcome
{
    FENCE_ABSENT = 1, /* not in force on the interface: detached by hand, or the interface is a new one of that name */
    FENCE_BEHIND,     /* in force, but another's filter or a tcx program is asked first and may let frames pass by it */
};

/* What the last call that did not return 0 has to say, for people: one or two lines, valid until the next call of this
 * thread. Never NULL. */
const char *fence_error(void);

/* Loads the programs and proves on one frame each that they pass while leased and drop afterwards by this process's own
 * CLOCK_BOOTTIME (a time namespace would shift it). Lease 0, no VIPs, nothing attached. Errors: -EPERM (a capability is
 * missing: CAP_BPF and CAP_NET_ADMIN are needed), -EOPNOTSUPP (the kernel is too old or built without it; the self-test
 * failed), -EADDRINUSE (another one is open in this network namespace), -ENOMEM, -errno. */
NODISCARD int fence_open(struct fence **ret);

/* Lets go of it. With `remove` (orderly stop, the addresses are gone): takes ours off every interface, and returns what
 * failed, -errno. Without: all stays in force with the last lease stored; 0. NULL is fine. */
int fence_close(struct fence *fence, bool remove);

/* Puts the programs on both sides of dev. Cheap when they are there already: call it on every link event. Takes the
 * place of an earlier run's programs without a gap; filters of others stay as they are. Makes a clsact qdisc where
 * there is none. The VIPs must have been set once before (-EINVAL). 0, FENCE_BEHIND; -ENODEV, -EBUSY (an `ingress`
 * qdisc of another is in the way), -EOPNOTSUPP (a link type that is neither Ethernet nor plain IP, loopback, a shared
 * tc block), -ENOSPC (no priority left), -errno. */
NODISCARD int fence_attach(struct fence *fence, const char *dev);

/* Takes ours off dev, whichever run put them there, and the qdisc if we made it and nobody else uses it. 0 also when
 * there is nothing; -ENODEV, -errno. */
NODISCARD int fence_detach(struct fence *fence, const char *dev);

/* Whether the programs of this very fence are on both sides of dev: 0, FENCE_ABSENT, FENCE_BEHIND, -ENODEV, -errno. */
NODISCARD int fence_check(const struct fence *fence, const char *dev);

/* Whether an earlier run's programs, or this one's, are asked first on both sides of dev: 0, FENCE_ABSENT, FENCE_BEHIND,
 * -ENODEV, -EOPNOTSUPP (no fence can stand there), -errno. */
NODISCARD int fence_check_any(const char *dev);

/* Takes ours off every interface of this network namespace (uninstall). -EBUSY while a fence is open in it. */
NODISCARD int fence_remove_all(void);

/* For a node that does without a fence: the place of the one daemon of this network namespace, until *ret_fd is closed, so that
 * what an earlier run left is nobody's. -EADDRINUSE (another one has it, with or without a fence), -errno. */
NODISCARD int fence_lock(int *ret_fd);
/* By who has that: as fence_remove_all(). No addresses may be left that an earlier run's fence is to keep. 0, -errno. */
NODISCARD int fence_remove_left(void);

/* The set of all VIPs of the table, not only this node's: at most VIPS_MAX, in any order, repetitions are harmless;
 * family 4 or 6. Replacing writes the difference only. Adding what is there and deleting what is not is fine. -EINVAL
 * (not an address), -ENOSPC (full), -ENOMEM, -errno; after a failed replacement the set is in between: replace it
 * again. */
NODISCARD int fence_vips_replace(struct fence *fence, const struct addr *vips, size_t n);
NODISCARD int fence_vip_add(struct fence *fence, const struct addr *vip);
NODISCARD int fence_vip_del(struct fence *fence, const struct addr *vip);

/* The end of the lease, nanoseconds of CLOCK_BOOTTIME; 0 closes the gate. One store to memory: no system call, no
 * failure. It may go back. */
void fence_set_lease(struct fence *fence, uint64_t end_boottime_ns);
uint64_t fence_lease(const struct fence *fence);

/* Closes the gate for good: what sets the lease afterwards sets nothing. For a node that ends. */
void fence_seal(struct fence *fence);

/* Frames dropped since fence_open, by reason. */
struct fence_stats
{
    uint64_t arp_in;     /* ARP requests for a VIP */
    uint64_t nd_in;      /* neighbour solicitations for a VIP */
    uint64_t ip_in;      /* packets to a VIP */
    uint64_t arp_out;    /* ARP from a VIP */
    uint64_t nd_out;     /* neighbour advertisements of a VIP */
    uint64_t ip_out;     /* packets from a VIP */
    uint64_t unreadable; /* cut short, or with more tags or extension headers than any honest frame */
};
NODISCARD int fence_stats(const struct fence *fence, struct fence_stats *ret);

/* Runs one of the programs on a frame that goes nowhere, `repeat` times (1..), by the kernel's own test facility.
 * `bare`: the program for links without a link-layer header. ret_ns: mean cost of a run. A dropped frame counts in
 * fence_stats. len 14..3000. */
NODISCARD int fence_try(const struct fence *fence, enum fence_side side, bool bare, const void *frame, size_t len,
                        uint32_t repeat, bool *ret_dropped, uint32_t *ret_ns);

#endif
