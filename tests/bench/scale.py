"""From 1 to 10,000 VIPs: added by one command, failed over, drained, each until the last one answers at its new place; beside
what the kernel itself takes for the same addresses and announcements.

The holder is a, the other one that may hold is b; c votes. What is timed begins right before the command, or before the cut,
and ends with the answer of the last VIP to the client (sweep.c). The floor (floor.c, and `ip -batch`) works in the
namespaces of the same cluster before its daemons are started."""

import re
import subprocess
import time

from statistics import median

from programs import clusters, program, run_in, start_in

LEASE_MS = 500  # of the default timing
AIM = 1.5  # times the floor, plus a lease
BATCH_S = 120  # for one command
SETTLE_S = 120


class Sweep:
    """The client that waits until all addresses answer from somewhere else."""

    def __init__(self, cluster, addresses):
        self.cluster = cluster
        macs = ",".join(node.mac() for node in cluster)
        self.process = start_in(
            cluster.client, program("sweep"), "eth0", macs, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._order("\n".join(f"address {address}" for address in addresses))

    def _order(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def _answer(self, word):
        what, *figures = self.process.stdout.readline().split() or ["nothing"]
        assert what == word, f"the sweep said {what}"
        return figures

    def time(self, begin, away_from=None):
        """Calls begin(); milliseconds until the (first, median, last) address answers from another node than that."""
        start = time.monotonic_ns()
        self._order(f"await {start} {away_from.mac() if away_from else '-'}")
        self._answer("awaiting")
        late = time.monotonic_ns() - start
        begin()
        return [float(text) - late / 1e6 for text in self._answer("done")[:3]]

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


def bare(node, what, addresses):
    return run_in(node.netns, program("floor"), what, "eth0", input="\n".join(addresses) + "\n")


def ip_batch_ms(node, what, addresses):
    lines = "".join(f"addr {what} {address}/32 dev eth0\n" for address in addresses)
    start = time.monotonic()
    clusters.run("ip", "-n", node.netns, "-batch", "-", input=lines, timeout=BATCH_S)
    return (time.monotonic() - start) * 1000


def floor_round(cluster, sweep, addresses):
    """The kernel alone: adding everything, and taking it from one node to another."""
    a, b = cluster["a"], cluster["b"]
    batch = ip_batch_ms(a, "add", addresses)
    batch_del = ip_batch_ms(a, "del", addresses)
    add = sweep.time(lambda: bare(a, "add", addresses))[2]

    def move():
        bare(a, "del", addresses)
        bare(b, "add", addresses)

    moved = sweep.time(move, away_from=a)[2]
    bare(b, "del", addresses)
    return {"ip_batch_add_ms": batch, "ip_batch_move_ms": batch + batch_del, "add_ms": add, "move_ms": moved}


def product_round(cluster, sweep, vips):
    a, b, c = cluster
    add = sweep.time(lambda: c.vipctl_raw("vip", "add", *vips, "--nodes", "a,b", "--prefer", "a=100",
                                            "--timeout", f"{BATCH_S - 20}s", timeout=BATCH_S))
    fail = sweep.time(lambda: a.carry(False), away_from=a)
    a.carry(True)
    cluster.wait_formed(timeout=SETTLE_S)
    settle_on(c, b, len(vips))
    drain = sweep.time(lambda: c.vipctl_raw("drain", "b", timeout=BATCH_S), away_from=b)
    c.vipctl("undrain", "b")
    c.vipctl_raw("vip", "del", *[vip.split("/")[0] for vip in vips], "--wait", timeout=BATCH_S)
    clusters.wait_until(lambda: not holds(a) and not holds(b), SETTLE_S, "everything is gone")
    return {"add_ms": add[2], "failover_ms": fail[2], "drain_ms": drain[2]}


def settle_on(asked, node, count):
    """Whatever has moved since: all of them are on the node, and the other one is a place to go to."""
    asked.vipctl_raw("drain", "a", timeout=BATCH_S)
    clusters.wait_until(lambda: len(holds(node)) == count, SETTLE_S, f"{node.name} holds everything")
    asked.vipctl("undrain", "a")
    clusters.wait_until(lambda: asked.vipctl("status")["vips"]["held"] == count, SETTLE_S, "all held")


def holds(node):
    return [address for address in node.addresses("eth0") if address.startswith("10.77.") and address != node.ip4]


def late_ms(cluster):
    """The longest time by which a node's loop was late, as far as they log it: from a heartbeat interval on."""
    return max([0, *[int(ms) for node in cluster for ms in re.findall(r"late_ms=(\d+)", node.log_text())]])


def several(one_round, rounds, end):
    """So many rounds, as long as there is time."""
    found = []
    while len(found) < rounds and (not found or time.monotonic() < end):
        found.append(one_round())
    return found


def measure(count, rounds, seconds=float("inf")):
    """In about so many seconds, or one round."""
    start = time.monotonic()
    with clusters.Cluster(3) as cluster:
        vips = [cluster.vip4(i) for i in range(count)]
        addresses = [vip.split("/")[0] for vip in vips]
        sweep = Sweep(cluster, addresses)
        try:
            floors = several(lambda: floor_round(cluster, sweep, addresses), rounds, start + seconds / 4)
            cluster.start().wait_formed()
            ours = several(lambda: product_round(cluster, sweep, vips), rounds, start + seconds * 2 / 3)
        finally:
            sweep.close()
        row = {"vips": count, "rounds": len(ours), "late_ms": late_ms(cluster)}
    row |= {key: median([one[key] for one in ours]) for key in ours[0]}
    row |= {f"floor_{key}": median([one[key] for one in floors]) for key in floors[0]}
    return row
