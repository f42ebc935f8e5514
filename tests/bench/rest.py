"""What a cluster costs while nothing happens: processor, memory, what goes over its network, what goes to the disk.

The nodes speak over a network of their own (eth1), so that what they say to each other and what they announce to the
clients (eth0) are counted apart. The VIPs are spread over all nodes. The figures are of the node that costs the most."""

import contextlib
import os
import pathlib
import time

from programs import clusters
from scale import BATCH_S

SETTLE_S = 180
QUIET_S = 3
QUIET_MAX_S = 45
REFRESH_S = 2 / 30  # frames a second for one VIP: two each 60 s, with room
FEW = 5  # more nodes than that, in one kernel and on a few processors, get more patience: the same interval, so the same cost
TICK = os.sysconf("SC_CLK_TCK")


def sample(node):
    pid = node.pid
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    io = dict(line.split(": ") for line in pathlib.Path(f"/proc/{pid}/io").read_text().splitlines())
    net = {}
    for line in node.exec("cat", "/proc/net/dev").stdout.splitlines()[2:]:
        dev, _, counters = line.partition(":")
        fields = [int(field) for field in counters.split()]
        net[dev.strip()] = {"bytes": fields[8], "packets": fields[9]}  # sent
    return {
        "at": time.monotonic(),
        "cpu_s": (int(stat[11]) + int(stat[12])) / TICK,
        "memory_mb": int(status["VmRSS"].split()[0]) / 1024,
        "own_mb": int(status["RssAnon"].split()[0]) / 1024,
        "disk_bytes": int(io["write_bytes"]),
        "packets": net["eth1"]["packets"],
        "bytes": net["eth1"]["bytes"],
        "announced": net["eth0"]["packets"],
    }


def spent(before, after):
    seconds = after["at"] - before["at"]
    return {
        "cpu_percent": (after["cpu_s"] - before["cpu_s"]) / seconds * 100,
        "memory_mb": after["memory_mb"],
        "own_mb": after["own_mb"],
        "packets_s": (after["packets"] - before["packets"]) / seconds,
        "kbytes_s": (after["bytes"] - before["bytes"]) / seconds / 1000,
        "announced_s": (after["announced"] - before["announced"]) / seconds,
        "disk_bytes": after["disk_bytes"] - before["disk_bytes"],
    }


def held(cluster):
    return cluster.any().vipctl("status")["vips"]["held"]


def quiet(cluster, vips):
    """Everything is held, nobody has anything to write, and the first announcements are over."""
    if held(cluster) != vips:
        return False
    before = [sample(node) for node in cluster]
    time.sleep(QUIET_S)  # the length of a look
    looks = [spent(one, sample(node)) for one, node in zip(before, cluster)]
    return all(look["disk_bytes"] == 0 and look["announced_s"] < REFRESH_S * vips + 5 for look in looks)


def takes_s(nodes, vips):
    """About how long it takes until there is something to measure, and to take it away again."""
    return 8 + nodes / 2 + vips / 400 + nodes * vips / 20000


def measure(nodes, vips, seconds, quiet_s=QUIET_MAX_S):
    profile = "default" if nodes <= FEW else clusters.CALM
    with clusters.Cluster(nodes, separate=True, profile=profile) as cluster:
        cluster.start().wait_formed(timeout=SETTLE_S)
        if vips:
            cluster.any().vipctl("vip", "add", *[cluster.vip4(i) for i in range(vips)], "--no-probe",
                                 "--timeout", f"{BATCH_S - 20}s", timeout=BATCH_S)
        clusters.wait_until(lambda: held(cluster) == vips, SETTLE_S, "all held")
        with contextlib.suppress(clusters.Timeout):  # on a machine as busy as that something always happens: the figures tell
            clusters.wait_until(lambda: quiet(cluster, vips), quiet_s, "quiet")
        before = [sample(node) for node in cluster]
        time.sleep(seconds)  # the length of the measurement
        each = [spent(one, sample(node)) for one, node in zip(before, cluster)]
    row = {"nodes": nodes, "vips": vips, "seconds": seconds}
    return row | {key: max(one[key] for one in each) for key in each[0]}
