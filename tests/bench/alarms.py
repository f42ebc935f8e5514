"""False alarms: moves that nobody needed, because a node that lives was taken for dead.

Three clusters, one for each timing, live through the same trouble at the same time, with VIPs on all of their nodes. Nobody
dies, so every fence and every move in the history is one too many; but for the control, in which a node of each cluster is
stopped: there they must be counted."""

import contextlib
import os
import subprocess
import time

from programs import clusters, witnesses

PROFILES = ["fast", "default", "wan"]
CONTROL = "a node stopped"
TROUBLES = ["nothing", "busy", "2 %", "5 %", "10 %", CONTROL]
VIPS = 12
FORM_S = 60
CONTROL_S = 8  # longer than any promise and election


@contextlib.contextmanager
def busy():
    """stress-ng, with two processes that only compute for each processor."""
    command = ["stress-ng", "--quiet", "--cpu", str(2 * os.cpu_count())]
    hogs = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=witnesses.die_with_parent)
    try:
        yield
        if hogs.poll() is not None:
            raise SystemExit("stress-ng did not run through: tests/install installs it")
    finally:
        hogs.terminate()
        hogs.wait()


@contextlib.contextmanager
def stopped(all_of_them):
    """The control: a node of each cluster that does lose its VIPs, and has to be counted."""
    victims = []
    for cluster in all_of_them:
        leader = cluster.leader()
        victims.append(next(node for node in cluster if node is not leader))
        victims[-1].stop()
    try:
        yield
    finally:
        for victim in victims:
            victim.cont()


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
    if name == CONTROL:
        return stopped(all_of_them)
    return busy() if name == "busy" else losing(all_of_them, int(name.split()[0]))


def counted(cluster):
    """{kind: number of such entries in the history}"""
    counts = {}
    for row in cluster.any().vipctl("history", "--limit", "0"):
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
            long_s = CONTROL_S if trouble == CONTROL else minutes * 60
            with trouble_of(trouble, all_of_them):
                time.sleep(long_s)  # the length of the measurement
            for profile, cluster, first in zip(profiles, all_of_them, before):
                settle(cluster)
                now = counted(cluster)
                more = {kind: n - first.get(kind, 0) for kind, n in now.items()}
                rows.append({"trouble": trouble, "profile": profile, "minutes": long_s / 60,
                             "moves": more.get("move", 0), "fences": more.get("fence", 0)})  # fmt: skip
    return rows
