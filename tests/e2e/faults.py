"""What the nemesis does to a cluster: one class a kind of fault.

A fault strikes, and relents; both look at the cluster as it is then (who leads, who owns), all else comes from the round's
random numbers. `touched` are the nodes whose VIPs may move because of it: a move away from any other is spurious.
"""

import signal
import time

from ground import FREEZER, MEMORY, Ground

BULK_N = 100  # VIPs that are added and deleted at once, so that the log grows
BULK = "10.77.200."
ORDER_S = 2  # how long vipctl tries
ENDS_S = 30  # a daemon that was told to


class Fault:
    """strike() returns what was done in words, or None when it could not be; relent() takes it back, as far as Ground.mend
    does not."""

    kind = None
    weight = 2
    hold_s = (0.7, 2.2)
    by_name = False  # only when it is asked for

    def __init__(self, ground, rng, vips):
        self.ground, self.rng, self.vips = ground, rng, vips
        self.touched = set()
        self.hold = rng.uniform(*self.hold_s)

    @classmethod
    def missing(cls):
        """Why this machine cannot do it, or None."""
        return None

    def relent(self):
        pass

    def victim(self):
        """An owner, the leader, or just any node, that is awake; None where there is none."""
        awake = self.ground.awake()
        how, vip, by_chance = self.rng.choice(["owner", "leader", "any"]), self.rng.choice(self.vips), self.rng.random()
        if not awake:
            return None
        node = self.ground.owned_by(vip) if how == "owner" else self.ground.led_by() if how == "leader" else None
        return node if node in awake else awake[int(by_chance * len(awake))]

    def others(self, node):
        return [other for other in self.ground.nodes if other is not node]


def names(nodes):
    return "+".join(sorted(node.name for node in nodes))


class OnOne(Fault):
    """A fault of one node."""

    def strike(self):
        self.node = self.victim()
        if self.node is None:
            return None
        self.touched = {self.node}
        return f"{self.kind} {self.node.name}{self.do(self.node) or ''}"


class OnAll(Fault):
    def strike(self):
        nodes = self.ground.awake()
        self.touched = set(self.ground.nodes)
        for node in nodes:
            self.do(node)
        return f"{self.kind} {names(nodes)}" if nodes else None


class Kill(OnOne):
    """SIGKILL; the daemon comes back at once, or at the end."""

    kind = "kill"
    weight = 4

    def do(self, node):
        self.ground.may_end.add(node)
        node.kill()
        if self.rng.random() < 0.4:
            self.ground.start_node(node)
            return ", started at once"
        return None


class CrashLoop(OnOne):
    """Killed again and again, at any moment of its start."""

    kind = "crash-loop"

    def do(self, node):
        self.ground.may_end.add(node)
        times = self.rng.randint(2, 6)
        for _ in range(times):
            node.kill()
            self.ground.start_node(node)
            time.sleep(self.rng.uniform(0, 0.15))  # how far it gets is what is varied
        return f" {times} times"


class KillAll(OnAll):
    kind = "kill-all"

    def strike(self):
        nodes = self.ground.awake()
        self.touched = set(self.ground.nodes)
        self.ground.may_end |= set(nodes)
        for node in nodes:
            node.signal(signal.SIGKILL)
        for node in nodes:
            node.process.wait(10)
        return f"{self.kind} {names(nodes)}" if nodes else None


class KillLeaderAndOwner(Fault):
    """Both at once; sometimes they are one."""

    kind = "kill-leader-and-owner"

    def strike(self):
        nodes = {self.ground.led_by(), self.ground.owned_by(self.rng.choice(self.vips))} & set(self.ground.awake())
        if not nodes:
            return None
        self.touched = nodes
        self.ground.may_end |= nodes
        for node in nodes:
            node.signal(signal.SIGKILL)
        for node in nodes:
            node.process.wait(10)
        return f"{self.kind} {names(nodes)}"


class Terminate(OnOne):
    """SIGTERM: it gives its VIPs away, and ends."""

    kind = "terminate"
    weight = 1

    def do(self, node):
        self.ground.may_end.add(node)
        self.ground.terminated.add(node)
        node.signal(signal.SIGTERM)


class RestartKeeping(OnOne):
    """As `systemctl restart`: SIGUSR2, and the next daemon takes over what this one left behind the fence."""

    kind = "restart-keeping"
    weight = 3

    def do(self, node):
        self.ground.may_end.add(node)
        node.signal(signal.SIGUSR2)
        node.process.wait(ENDS_S)
        if self.rng.random() < 0.7:
            self.ground.start_node(node)
            return ", started at once"
        return None


class Renew(OnOne):
    """A node is lost with its disk while others may be in trouble, too: it is removed, and comes back as a new one."""

    kind = "renew"
    weight = 3

    def strike(self):
        return super().strike() if not self.ground.renewing else None

    def do(self, node):
        self.ground.may_end.add(node)
        self.ground.renewing.add(node)
        if self.rng.random() < 0.5:
            node.kill()
            helper = next((other for other in self.ground.awake() if other is not node), None)
            if helper is not None:
                helper.vipctl_raw("node", "remove", node.name, "--force", "--timeout", f"{ORDER_S}s")
            return ", killed first"
        node.vipctl_raw("node", "remove", node.name, "--force", "--timeout", f"{ORDER_S}s")
        return None


class ClockStep(Fault):
    """The machine's wall clock is set to another time, and back. It is everybody's clock: only when it is asked for by name."""

    kind = "clock-step"
    by_name = True

    def strike(self):
        self.step_s = self.rng.choice([-86400, -60, -1, 1, 60, 86400])
        time.clock_settime(time.CLOCK_REALTIME, time.time() + self.step_s)
        return f"{self.kind} {self.step_s:+} s"

    def relent(self):
        time.clock_settime(time.CLOCK_REALTIME, time.time() - self.step_s)


class Stop(OnOne):
    """SIGSTOP for many leases, then SIGCONT."""

    kind = "stop"
    weight = 4
    hold_s = (1.0, 3.0)

    def do(self, node):
        node.stop()

    def relent(self):
        if self.node.running and self.node.state() == "T":
            self.node.cont()


class StopShortly(Stop):
    """SIGSTOP for about a lease: it wakes when others just took over, or are about to."""

    kind = "stop-shortly"
    hold_s = (0.3, 0.9)


class StopAll(OnAll):
    kind = "stop-all"
    weight = 1

    def do(self, node):
        node.stop()

    def relent(self):
        for node in self.ground.nodes:
            if node.running and node not in self.ground.frozen_nodes and node.state() == "T":
                node.cont()


class Freeze(OnOne):
    """The cgroup freezer for many leases: no signal, not even SIGKILL, gets through."""

    kind = "freeze"
    weight = 3
    hold_s = (1.0, 3.0)

    @classmethod
    def missing(cls):
        return Ground.cgroup_missing(FREEZER)

    def do(self, node):
        self.ground.freeze(node)

    def relent(self):
        self.ground.thaw()


class Memory(OnOne):
    """The daemon's cgroup has no memory left: what it reads again and what it asks for waits for the kernel to kill somebody,
    mostly the other one in there."""

    kind = "memory"

    @classmethod
    def missing(cls):
        return Ground.cgroup_missing(MEMORY)

    def strike(self):
        return super().strike() if self.ground.hog_process is None else None

    def do(self, node):
        self.ground.may_end.add(node)
        spare = self.rng.choice([0, 64, 1024, 8192])
        self.ground.starve(node, spare << 10)
        return f" {spare} KiB left"

    def relent(self):
        self.ground.feed()


class Partition(OnOne):
    """One node is cut off from all the others: the cluster's port alone, or everything between them."""

    kind = "partition"
    weight = 3

    def do(self, node):
        everything = self.rng.random() < 0.5
        self.ground.isolate(node.name, everything=everything)
        return f" {'everything' if everything else 'port'}"


class PartitionAll(Fault):
    """No node sees another one."""

    kind = "partition-all"
    weight = 1

    def strike(self):
        self.touched = set(self.ground.nodes)
        self.ground.isolate(*[node.name for node in self.ground.nodes])
        for node in self.ground.nodes:
            self.ground.block([node.name], [other.name for other in self.others(node)])
        return self.kind


class PartitionPartial(Fault):
    """Two nodes do not see each other; every other one sees both."""

    kind = "partition-partial"
    weight = 3

    def strike(self):
        self.touched = set(self.rng.sample(self.ground.nodes, 2))
        one, other = sorted(self.touched, key=lambda node: node.name)
        self.ground.block([one.name], [other.name])
        return f"{self.kind} {one.name}|{other.name}"


class PartitionOneWay(OnOne):
    """A node hears nobody, or nobody hears it, or one other does not."""

    kind = "partition-one-way"
    weight = 3

    def do(self, node):
        how = self.rng.choice(["deaf", "mute", "half-deaf"])
        others = [other.name for other in self.others(node)]
        if how == "half-deaf":
            others = others[:1]
            self.touched = {node, self.ground[others[0]]}
        if how == "mute":
            self.ground.block([node.name], others, one_way=True)
        else:
            self.ground.block(others, [node.name], one_way=True)
        return f" {how}"


class Loss(Fault):
    """Every node loses a share of the cluster's packets."""

    kind = "loss"
    weight = 3
    hold_s = (1.5, 3.0)

    def strike(self):
        percent = self.rng.randint(5, 30)
        self.touched = set(self.ground.nodes)
        self.ground.lose(percent)
        return f"{self.kind} {percent} %"


class LinkDown(OnOne):
    kind = "link-down"

    def do(self, node):
        node.link("down")

    def relent(self):
        self.node.link("up")


class LinkFlaps(OnOne):
    """Down and up, down and up."""

    kind = "link-flaps"
    weight = 1

    def do(self, node):
        times = self.rng.randint(2, 5)
        for _ in range(times):
            node.link("down")
            time.sleep(self.rng.uniform(0, 0.2))
            node.link("up")
            time.sleep(self.rng.uniform(0, 0.2))
        return f" {times} times"


class PortDead(OnOne):
    """The switch's port passes nothing; the link keeps its carrier."""

    kind = "port-dead"

    def do(self, node):
        node.carry(False)

    def relent(self):
        self.node.carry(True)


class DiskFull(Fault):
    """The log grows until it finds no room, or the daemon starts where there is none; then there is room again."""

    kind = "disk-full"

    def strike(self):
        ground, node = self.ground, self.ground.small
        if node not in ground.awake():
            return None
        self.touched = {node}
        ground.may_end.add(node)
        ground.fill_disk()
        if self.rng.random() < 0.3:
            node.kill()
            ground.start_node(node)
            return f"{self.kind} {node.name}, started there"
        return f"{self.kind} {node.name}, {self._grow(node)}"

    def _grow(self, node):
        many = [f"{BULK}{i + 1}/16" for i in range(BULK_N)]
        until = time.monotonic() + 3
        written = 0
        while time.monotonic() < until and node.running:
            helper = next((other for other in self.ground.awake() if other is not node), None)
            if helper is None:
                break
            what = ["del", *many] if written % 2 else ["add", *many, "--disabled"]
            written += helper.vipctl_raw("vip", *what, "--timeout", f"{ORDER_S}s").returncode == 0
        return "ended" if not node.running else f"still runs after {written} bulks"

    def relent(self):
        self.ground.free_disk()
        node = self.ground.small
        if node.running and node not in self.ground.frozen_nodes and node.state() != "T":
            node.kill()
            self.ground.start_node(node)


class Rogue(Fault):
    """A stranger has a VIP's address and announces it."""

    kind = "rogue"

    def strike(self):
        vip = self.rng.choice(self.vips)
        if self.ground.rogue_process is not None:
            return None
        every_ms = self.rng.choice([10, 50, 200, 1000])
        self.ground.start_rogue(vip, every_ms)
        return f"{self.kind} {vip} every {every_ms} ms"

    def relent(self):
        self.ground.end_rogue()


class Calm(Fault):
    """Nothing but the changes of VIPs: moves, drains, transfers."""

    kind = "changes-only"

    def strike(self):
        return self.kind


KINDS = {
    fault.kind: fault
    for fault in (Kill, CrashLoop, KillAll, KillLeaderAndOwner, Terminate, RestartKeeping, Renew, ClockStep, Stop, StopShortly, StopAll, Freeze, Memory,
                  Partition, PartitionAll, PartitionPartial, PartitionOneWay, Loss, LinkDown, LinkFlaps, PortDead, DiskFull, Rogue, Calm)
}  # fmt: skip
