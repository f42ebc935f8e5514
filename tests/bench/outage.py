"""Outages as a client sees them, vipd beside keepalived, by the same witness in namespaces of the same kind.

The client pings the VIP through its kernel's neighbour cache once a millisecond, whatever the answers; an outage is the longest
time between two answers around the fault. Beside that the witness asks every node by itself each 5 ms: where two answer
for the VIP at the same time, it is held twice; it is watched until a second after the take-over."""

import contextlib
import time

import rival
from programs import clusters, side_by_side
from statistics import median

NODES = 3
PROBE_MS = 1
QUIET_MS = 300  # one node alone has answered for so long before a fault
AFTER_S = 1  # still watched once another one answers
DEADLINE_S = 40
FAILURES_MAX = 3  # rounds that do not come to their end


class Vipd:
    """The product, with one of its timings."""

    FAULTS = ["power", "killed", "stopped", "partitioned", "leader too", "drain", "SIGTERM"]

    def __init__(self, profile):
        self.name, self.slow = f"vipd, {profile}", False
        self.cluster = clusters.Cluster(NODES, profile=profile).start().wait_formed()
        self.cluster.any().vipctl("settings", "set", "hold-down.first=0s", "hold-down.max=0s")  # so many faults are not flapping
        self.vip = self.cluster.vip4(0)
        self.cluster.add_vip(self.vip)

    def ready(self, fault):
        """The owner, which is the leader only where that is the fault."""
        leader, owner = self.cluster.leader(), self.cluster.wait_held(self.vip, timeout=DEADLINE_S)[0]
        if (owner is leader) != (fault == "leader too"):
            to = leader if fault == "leader too" else next(n for n in self.cluster if n is not leader)
            self.cluster.any().vipctl("vip", "move", self.vip.split("/")[0], "--to", to.name, "--wait")
            owner = to
        return owner

    def strike(self, fault, owner):
        if fault in ("power", "leader too"):
            owner.carry(False)
        elif fault == "killed":
            owner.kill()
        elif fault == "stopped":
            owner.stop()
        elif fault == "partitioned":
            self.cluster.isolate(owner.name, everything=True)
        elif fault == "drain":
            self.cluster.any().vipctl("drain", owner.name)
        elif fault == "SIGTERM":
            owner.terminate()

    def heal(self):
        self.cluster.heal()
        for node in self.cluster:
            node.carry(True)
            if node.running and node.state() == "T":
                node.cont()
        self.cluster.start().leader(timeout=DEADLINE_S)
        for node in self.cluster:
            self.cluster.any().vipctl("undrain", node.name)
        self.cluster.wait_formed(timeout=DEADLINE_S).wait_held(self.vip, timeout=DEADLINE_S)

    def close(self):
        self.cluster.close()


class Keepalived:
    """The other one; the first node is preferred, and takes the address back when it can (its default)."""

    FAULTS = ["power", "killed", "stopped", "partitioned", "SIGTERM"]

    def __init__(self, advert_s):
        shown = "its defaults" if advert_s is None else f"advert_int {advert_s:g}"
        self.name, self.slow = f"keepalived, {shown}", advert_s is None
        self.cluster = clusters.Cluster(NODES)
        self.vip = self.cluster.vip4(0)
        self.all = [rival.Keepalived(node, self.vip, 100 - i, advert_s) for i, node in enumerate(self.cluster)]
        for one in self.all:
            one.start()

    def ready(self, _fault):
        first = self.all[0].node
        clusters.wait_until(lambda: first.has(self.vip), DEADLINE_S, "the first one has the address")
        return first

    def strike(self, fault, _owner):
        first = self.all[0]
        if fault == "power":
            first.node.carry(False)
        elif fault == "killed":
            first.kill()
        elif fault == "stopped":
            first.stop()
        elif fault == "partitioned":
            self.cluster.isolate(first.name, everything=True)
        elif fault == "SIGTERM":
            first.terminate()

    def heal(self):
        self.cluster.heal()
        for one in self.all:
            one.node.carry(True)
            if one.running:
                one.cont()
            else:
                one.clean()
                one.start()

    def close(self):
        for one in self.all:
            one.close()
        self.cluster.close()


def alone(witness, vip, owner):
    """The owner, and nobody else, has answered for a while, and the client hears it."""
    pings = witness.of(vip).pings
    return witness.answering(vip, QUIET_MS) == [owner.name] and pings and pings[-1][2] == owner.name


def taken_over(witness, vip, owner, since):
    """Another node answers the client."""
    return any(node != owner.name for heard, _, node in reversed(witness.of(vip).pings) if heard > since)


def one_round(system, fault):
    """(outage, held twice) in milliseconds."""
    owner, vip = system.ready(fault), system.vip
    with system.cluster.witness(vip, ping_ms=PROBE_MS) as witness:
        clusters.wait_until(lambda: alone(witness, vip, owner), DEADLINE_S, "the owner alone answers", every=0.05)
        since = time.monotonic_ns()
        system.strike(fault, owner)
        clusters.wait_until(lambda: taken_over(witness, vip, owner, since), DEADLINE_S, "another answers", every=0.05)
        watched = time.monotonic() + AFTER_S
        clusters.wait_until(lambda: time.monotonic() > watched, AFTER_S + 1, "a look at what follows", every=0.05)
        outage = witness.of(vip).ping_outage_ms(since=since - 100 * 1000000)
        twice = witness.double_ms()
    system.cluster.witnesses.remove(witness)
    system.heal()
    return outage, twice


def row_of(system, fault, outages, twice):
    return {"system": system, "fault": fault, "rounds": len(outages), "median_ms": median(outages),
            "worst_ms": max(outages), "twice_ms": median(twice), "twice_worst_ms": max(twice)}  # fmt: skip


class Begun:
    """A system that is made anew where a round of it did not come to its end."""

    def __init__(self, make):
        self.make, self.system, self.failures = make, make(), 0

    def round(self, fault):
        """As one_round(), or None."""
        try:
            return one_round(self.system, fault)
        except clusters.Timeout as late:
            self.failures += 1
            print(f"  {self.system.name}: {fault}: {late}", flush=True)
            self.close()
            self.system = self.make()
            return None

    def close(self):
        self.system.close()


def measure_one(make, rounds, slow_rounds, faults, seconds):
    """Round after round of all faults in turn, so that each has as many when the time is over."""
    end = time.monotonic() + seconds
    with contextlib.closing(Begun(make)) as begun:
        name, slow = begun.system.name, begun.system.slow
        found = {fault: [] for fault in begun.system.FAULTS if faults is None or fault in faults}
        for n in range(slow_rounds if slow else rounds):
            for fault in found:
                if begun.failures <= FAILURES_MAX and (n == 0 or time.monotonic() < end):
                    found[fault].append(begun.round(fault))
    found = {fault: [one for one in all_of_it if one] for fault, all_of_it in found.items()}
    rows = [row_of(name, fault, *zip(*all_of_it)) for fault, all_of_it in found.items() if all_of_it]
    for row in rows:
        print(f"  {name}: {row['fault']}: {row['median_ms']:.0f} ms, held twice {row['twice_worst_ms']:.0f} ms", flush=True)
    return rows


def measure(systems, rounds, slow_rounds, faults=None, seconds=float("inf")):
    """`systems`: functions that make one; the rows of all faults. One after the other, in at most so many seconds or one round."""
    rows = []
    end = time.monotonic() + seconds
    for n, make in enumerate(systems):
        share = (end - time.monotonic()) / (len(systems) - n)
        rows += measure_one(make, rounds, slow_rounds, faults, share)
    return rows


def measure_in_lanes(lanes, rounds, slow_rounds, seconds):
    """Lists of systems: what is in different lists is measured at the same time."""
    return side_by_side([lambda lane=lane: measure(lane, rounds, slow_rounds, None, seconds) for lane in lanes])
