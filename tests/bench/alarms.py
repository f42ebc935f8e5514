"""False alarms: moves that nobody needed, because a node that lives was taken for dead.

Three clusters, one for each timing, live through the same trouble at the same time, with VIPs on all of their nodes. Nobody
dies, so every fence and every move in the history is one too many."""

import contextlib
import os
import subprocess
import sys
import time

from programs import clusters, witnesses

PROFILES = ["fast", "default", "wan"]
TROUBLES = ["nothing", "busy", "2 %", "5 %", "10 %"]
VIPS = 12
FORM_S = 60


@contextlib.contextmanager
def busy():
    """Two processes that only compute for each processor."""
    hogs = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"], preexec_fn=witnesses.die_with_parent)
        for _ in range(2 * os.cpu_count())
    ]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


@contextlib.contextmanager
def losing(all_of_them, percent):
    for cluster in all_of_them:
        cluster.lose(percent)
    try:
        yield
    finally:
        for cluster in all_of_them:
            cluster.heal()


def trouble_of(name, all_of_them):
    if name == "nothing":
        return contextlib.nullcontext()
    return busy() if name == "busy" else losing(all_of_them, int(name.split()[0]))


def counted(cluster):
    """{kind: number of such entries in the history}"""
    counts = {}
    for row in cluster.any().vipctl("history"):
        counts[row["kind"]] = counts.get(row["kind"], 0) + 1
    return counts


def settle(cluster):
    cluster.leader(timeout=FORM_S)
    cluster.wait_formed(timeout=FORM_S)
    clusters.wait_until(lambda: cluster.any().vipctl("status")["vips"]["held"] == VIPS, FORM_S, "all held")


def measure(minutes, troubles=None, profiles=None):
    profiles = profiles or PROFILES
    rows = []
    with contextlib.ExitStack() as stack:
        all_of_them = [stack.enter_context(clusters.Cluster(3, profile=profile)) for profile in profiles]
        for cluster in all_of_them:
            cluster.start().wait_formed(timeout=FORM_S)
            cluster.any().vipctl("vip", "add", *[cluster.vip4(i) for i in range(VIPS)], "--wait")
        for trouble in troubles or TROUBLES:
            for cluster in all_of_them:
                settle(cluster)
            before = [counted(cluster) for cluster in all_of_them]
            with trouble_of(trouble, all_of_them):
                time.sleep(minutes * 60)  # the length of the measurement
            for profile, cluster, first in zip(profiles, all_of_them, before):
                settle(cluster)
                now = counted(cluster)
                more = {kind: n - first.get(kind, 0) for kind, n in now.items()}
                rows.append({"trouble": trouble, "profile": profile, "minutes": minutes,
                             "moves": more.get("move", 0), "fences": more.get("fence", 0)})  # fmt: skip
    return rows
