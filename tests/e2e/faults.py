"""What the nemesis does to a cluster: the ground on which it happens, and one class a kind of fault.

A fault strikes, and relents; both look at the cluster as it is then (who leads, who owns), all else comes from the round's
random numbers. `touched` are the nodes whose VIPs may move because of it: a move away from any other is spurious.
"""

import contextlib
import pathlib
import signal
import subprocess
import sys
import time

import cluster as clusters
import witness as witnesses
from cluster import Cluster, ip, ip_batch, run, wait_until

FREEZER = pathlib.Path("/sys/fs/cgroup/freezer")
MEMORY = pathlib.Path("/sys/fs/cgroup/memory")
DISK_KIB = 24 * 1024
BULK_N = 100  # VIPs that are added and deleted at once, so that the log grows
BULK = "10.77.200."
TERMINATE_S = 20  # SIGTERM, and gone
ORDER_S = 2  # how long vipctl tries


class Ground(Cluster):
    """A cluster with a rogue host beside it, daemons in cgroups of their own, and one node with a small disk."""

    def __init__(self, n, rng, fence=None, **kwargs):
        self.rogue_process = self.hog_process = None
        self.freezers, self.memories = {}, {}  # node -> folder of its cgroup
        self.starved = set()
        self.frozen = set()
        self.terminated = set()
        self.may_end = set()  # nodes whose daemon was ended, or may end by itself, in this round
        super().__init__(n, **kwargs)
        try:
            self.small = rng.choice(self.nodes)
            self.small_disk(self.small, DISK_KIB)
            if fence:
                for node in self:
                    node.extra["fence"] = fence
            for top, folders in ((FREEZER, self.freezers), (MEMORY, self.memories)):
                for node in self if self.cgroup_missing(top) is None else ():
                    folders[node] = top / f"{self.prefix}-{node.name}"
                    folders[node].mkdir()
        except BaseException:
            self.close()
            raise

    def _build(self):
        super()._build()
        self.rogue = f"{self.prefix}-rogue"
        ip("netns", "add", self.rogue)
        self.netns.append(self.rogue)
        ip_batch(
            [f"link add p-rogue type veth peer name eth0 netns {self.rogue}", "link set p-rogue master br0 up"], self.bridge
        )
        ip_batch(["link set lo up", "link set eth0 up", "addr add 10.77.0.251/16 dev eth0"], self.rogue)
        # The client's pings wait for neighbours that are not there (deleted VIPs) in few bytes: those of all others go out of
        # the same socket, whose buffer would be full of them.
        for family in ("ipv4", "ipv6"):
            run("ip", "netns", "exec", self.client, "sysctl", "-q", "-w", f"net.{family}.neigh.eth0.unres_qlen_bytes=2000")

    @staticmethod
    def cgroup_missing(top):
        """Why there is no such cgroup controller, or None."""
        return None if (top / "cgroup.procs").exists() else f"no cgroup v1 controller at {top}"

    def close(self):
        with contextlib.suppress(OSError):
            self.thaw()  # a frozen process does not die
        self.end_rogue()
        self.feed()
        super().close()
        for folder in [*self.freezers.values(), *self.memories.values()]:
            with contextlib.suppress(OSError, clusters.Timeout):
                wait_until(lambda f=folder: not (f / "cgroup.procs").read_text(), 5, f"{folder} empty")
                folder.rmdir()

    # -- who --

    def any(self, but=()):
        return next(node for node in self.awake() if node.name not in but)

    def awake(self):
        return [n for n in self.nodes if n.running and n not in self.frozen and n.state() != "T"]

    def ask(self, *args):
        """The rows of a listing from the first node that has some."""
        for node in self.awake():
            with contextlib.suppress(subprocess.TimeoutExpired, ValueError):
                rows = node.vipctl_raw(*args, "--timeout", f"{ORDER_S}s", "-o", "json")
                if rows.returncode == 0:
                    return clusters.json.loads(rows.stdout)
        return []

    def led_by(self):
        """The node that leads, or None."""
        return next((self[row["name"]] for row in self.ask("node", "list") if row["leader"]), None)

    def owned_by(self, vip):
        """The node that is to hold the VIP, or None."""
        bare = vip.split("/")[0]
        owner = next((row["owner"] for row in self.ask("vip", "list") if row["address"].split("/")[0] == bare), None)
        return self[owner] if owner else None

    # -- single deeds --

    def start_node(self, node):
        self.terminated.discard(node)
        node.start()
        for folders in (self.memories, self.freezers):
            with contextlib.suppress(OSError, KeyError):  # it may be gone again: no room, no address
                (folders[node] / "cgroup.procs").write_text(str(node.process.pid))

    def freeze(self, node):
        state = self.freezers[node] / "freezer.state"
        state.write_text("FROZEN")
        wait_until(lambda: state.read_text().strip() == "FROZEN", 5, f"{node.name} frozen")
        self.frozen.add(node)

    def thaw(self):
        for node in list(self.frozen):
            (self.freezers[node] / "freezer.state").write_text("THAWED")
        self.frozen.clear()

    def starve(self, node, spare):
        """Leaves the node's daemon `spare` bytes, and somebody who wants them, too."""
        folder = self.memories[node]
        usage = int((folder / "memory.usage_in_bytes").read_text())
        (folder / "memory.limit_in_bytes").write_text(str(usage + spare))
        self.starved.add(node)
        self.hog_process = subprocess.Popen(
            [sys.executable, pathlib.Path(__file__).with_name("hog.py"), folder],
            stdin=subprocess.DEVNULL,
            preexec_fn=witnesses.die_with_parent,
        )

    def feed(self):
        if self.hog_process is not None:
            self.hog_process.kill()
            self.hog_process.wait()
            self.hog_process = None
        for node in self.starved:
            (self.memories[node] / "memory.limit_in_bytes").write_text("-1")
        self.starved.clear()

    def fill_disk(self):
        with open(self.small.data / "filler", "wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 4096):
                pass

    def free_disk(self):
        (self.small.data / "filler").unlink(missing_ok=True)

    def start_rogue(self, vip, every_ms):
        bare = vip.split("/")[0]
        ip("-n", self.rogue, "addr", "replace", f"{bare}/{128 if ':' in bare else 32}", "dev", "eth0",
           *(["nodad"] if ":" in bare else []))  # fmt: skip
        self.rogue_process = subprocess.Popen(
            ["ip", "netns", "exec", self.rogue, sys.executable, pathlib.Path(__file__).with_name("rogue.py"), "eth0", bare,
             str(every_ms)],
            stdin=subprocess.DEVNULL,
            preexec_fn=witnesses.die_with_parent,
        )  # fmt: skip
        self.rogue_vip = bare

    def end_rogue(self):
        if self.rogue_process is not None:
            self.rogue_process.kill()
            self.rogue_process.wait()
            self.rogue_process = None
            bare = self.rogue_vip
            ip("-n", self.rogue, "addr", "del", f"{bare}/{128 if ':' in bare else 32}", "dev", "eth0", check=False)

    def mend(self):
        """Everything that a fault can break is whole again, and every daemon runs; those that ended though nobody ended them:
        [(node, exit status)]."""
        self.thaw()
        self.end_rogue()
        self.feed()
        self.free_disk()
        self.heal()
        ended = []
        for node in self:
            node.carry(True)
            node.link("up")
            if node.running and node.state() == "T":
                node.cont()
            if node in self.terminated and node.running:
                node.process.wait(TERMINATE_S)
            if not node.running:
                status = node.process.returncode
                if node not in self.may_end or status in (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS):
                    ended.append((node, status))
                self.start_node(node)
        self.may_end.clear()
        self.terminated.clear()
        return ended


class Fault:
    """strike() returns what was done in words, or None when it could not be; relent() takes it back, as far as Ground.mend
    does not."""

    kind = None
    weight = 2
    hold_s = (0.7, 2.2)

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
            if node.running and node not in self.ground.frozen and node.state() == "T":
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
        if node.running and node not in self.ground.frozen and node.state() != "T":
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
    for fault in (Kill, CrashLoop, KillAll, KillLeaderAndOwner, Terminate, Stop, StopShortly, StopAll, Freeze, Memory,
                  Partition, PartitionAll, PartitionPartial, PartitionOneWay, Loss, LinkDown, LinkFlaps, PortDead, DiskFull, Rogue, Calm)
}  # fmt: skip
