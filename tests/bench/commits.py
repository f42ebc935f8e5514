"""How many changes a second are committed, and how long one takes; on a disk and in memory, beside one write and fdatasync.

A change is an attribute of a VIP that is disabled, so that nothing follows from it: three nodes have it on their disks, the
client has the answer. Through the library (changes.c) with one client and with many, and through vipctl, a process for each."""

import os
import pathlib
import tempfile
import time
from statistics import median

from programs import clusters, program

CLIENTS = 16
ENTRY = b"x" * 256  # about what a change takes in the log
MEMORY_KIB = 65536
WRITES_MAX = 10000


def floor_us(folder, seconds):
    """One appended write and its fdatasync."""
    took = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        end = time.monotonic() + seconds
        while time.monotonic() < end and len(took) < WRITES_MAX:
            start = time.perf_counter_ns()
            os.write(file.fileno(), ENTRY)
            os.fdatasync(file.fileno())
            took.append((time.perf_counter_ns() - start) / 1000)
    return median(took)


def through_library(node, names, seconds):
    """(changes a second, median of one in µs, its 99th percentile)"""
    out = clusters.run(program("changes"), node.control, seconds, *names).stdout.split()
    return int(out[0]) / float(out[1]), float(out[2]), float(out[3])


def through_vipctl(node, name, seconds):
    start, n = time.monotonic(), 0
    while time.monotonic() < start + seconds:
        node.vipctl("vip", "set", name, "--probe", ("no", "yes")[n % 2])
        n += 1
    return n / (time.monotonic() - start)


def measure(where, seconds):
    """`where`: "disk" or "memory"."""
    with clusters.Cluster(3) as cluster:
        for node in cluster:
            if where == "memory":
                cluster.small_disk(node, MEMORY_KIB)
            else:
                node.data.mkdir(parents=True)
        floor = floor_us(cluster.nodes[0].data, min(seconds, 2))
        cluster.start().wait_formed()
        vips = [cluster.vip4(i) for i in range(CLIENTS)]
        names = [vip.split("/")[0] for vip in vips]
        leader = cluster.leader()
        leader.vipctl("vip", "add", *vips, "--disabled")
        one, one_us, one_p99_us = through_library(leader, names[:1], seconds)
        many, _, _ = through_library(leader, names, seconds)
        _, other_us, _ = through_library(cluster.any(but=[leader.name]), names[:1], seconds)
        return {
            "where": where, "seconds": seconds, "floor_us": floor, "one_us": one_us, "one_p99_us": one_p99_us,
            "follower_us": other_us, "one_s": one, "many_s": many, "clients": CLIENTS,
            "vipctl_s": through_vipctl(leader, names[0], seconds),
        }  # fmt: skip


def file_system(folder):
    return clusters.run("stat", "-f", "-c", "%T", pathlib.Path(folder)).stdout.strip()
