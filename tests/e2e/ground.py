"""Where the nemesis strikes: a cluster with what the faults need beside it, and the single deeds that break and mend it."""

import contextlib
import json
import pathlib
import signal
import subprocess
import sys

import cluster as clusters
import witness as witnesses
from cluster import Cluster, ip, ip_batch, run, wait_until

FREEZER = pathlib.Path("/sys/fs/cgroup/freezer")
MEMORY = pathlib.Path("/sys/fs/cgroup/memory")
DISK_KIB = 24 * 1024
TERMINATE_S = 20  # SIGTERM, and gone
RENEW_S = 40  # a node is removed: drained, demoted, fenced, cleared, deleted
ASK_S = 2  # how long a node is asked before another one is


class Ground(Cluster):
    """A cluster with a rogue host beside it, daemons in cgroups of their own, and one node with a small disk."""

    def __init__(self, n, rng, fence=None, **kwargs):
        self.rogue_process = self.hog_process = self.filler = None
        self.freezers, self.memories = {}, {}  # node -> folder of its cgroup
        self.starved = set()
        self.frozen_nodes = set()
        self.terminated = set()
        self.renewing = set()  # nodes that are being removed, and come back as new ones
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
        return [n for n in self.nodes if n.running and n not in self.frozen_nodes and n.state() != "T"]

    def ask(self, *args):
        """The rows of a listing from the first node that has some."""
        for node in self.awake():
            with contextlib.suppress(subprocess.TimeoutExpired, ValueError):
                rows = node.vipctl_raw(*args, "--timeout", f"{ASK_S}s", "-o", "json")
                if rows.returncode == 0:
                    return json.loads(rows.stdout)
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
        self.frozen_nodes.add(node)

    def thaw(self):
        for node in list(self.frozen_nodes):
            (self.freezers[node] / "freezer.state").write_text("THAWED")
        self.frozen_nodes.clear()

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
        self.filler = self.small.fill_disk()

    def free_disk(self):
        if self.filler is not None:
            self.filler.unlink(missing_ok=True)

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
            if node in self.renewing:
                continue
            if not node.running:
                status = node.process.returncode
                if node not in self.may_end or status in (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS):
                    ended.append((node, status))
                self.start_node(node)
        for node in self.renewing:
            self.renew(node)
        self.renewing.clear()
        self.may_end.clear()
        self.terminated.clear()
        return ended

    def renew(self, node):
        """Until the cluster has forgotten the node; then it begins anew, without a disk."""

        def forgotten():
            rows = next((rows for rows in (other.rows("node", "list") for other in self.awake() if other is not node) if rows), [])
            here = next((row for row in rows if row["name"] == node.name), None)
            if here is not None and not here.get("removing"):
                self.any(but=[node.name]).vipctl_raw("node", "remove", node.name, "--force", "--timeout", f"{ASK_S}s")
            return rows and here is None

        wait_until(forgotten, RENEW_S, f"{node.name} removed", every=0.1)
        if node.running:
            node.kill()
        for path in node.data.iterdir():
            path.unlink()  # the folder may be a disk of its own
        self.any(but=[node.name]).vipctl("node", "add", node.name, node.endpoint)
        node.extra["join"] = json.dumps([other.endpoint for other in self.nodes if other is not node])
        node.write_config()
        self.start_node(node)
