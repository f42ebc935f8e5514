"""A cluster of real daemons in network namespaces, on a bridge in a namespace of its own.

    with Cluster(3) as cluster:
        cluster.start()
        cluster.wait_formed()
        with cluster.witness("10.77.1.1") as witness:
            cluster["a"].vipctl("vip", "add", "10.77.1.1/16", "--wait")

Everything has a random name, nothing is outside of the namespaces but one folder below the temporary directory, and all
of it goes on every way out. What an earlier run that was killed left behind is not touched.
"""

import atexit
import contextlib
import json
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import tempfile
import time

import witness as witnesses

TOP = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("VIPD_BIN") or TOP / "build" / "release")
VIPD = BIN / "vipd"
VIPCTL = BIN / "vipctl"
PORT = 7400
NAMES = [*"abcdefghijklmnopqrstuvwxyz", *(f"n{i}" for i in range(26, 64))]
TAIL_LINES = 40
NEIGHBOURS_MAX = 512  # learned by all namespaces together; the kernel's default is to keep 1024 of each family
PATIENCE_S = 60  # of whatever waits for the cluster
COMMAND_S = 120  # of a command that waits for nothing
# Where a test is about something else than how fast it goes. With the default timing a machine that stands still for half a second
# costs a lease, and rightly so: something moves that nobody asked for. Here it takes two and a half seconds.
CALM = "{interval: 100ms, suspect: 2500ms, promise: 3s, margin: 20ms, election: 2600ms}"

# Exit codes of vipctl
DONE, FAILED, USAGE, UNSAFE, NO_QUORUM, TIMED_OUT, NOT_FOUND, CONFLICT = range(8)


class Timeout(AssertionError):
    pass


def wait_until(condition, timeout, what="the condition", every=0.01):
    """The first true value of condition(), asked again and again; Timeout after `timeout` seconds, but not before
    PATIENCE_S: a deadline is for what hangs, not for what is slow on a busy machine."""
    start = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > start + max(timeout, PATIENCE_S):
            raise Timeout(f"after {time.monotonic() - start:.0f} s still not: {what}")
        time.sleep(every)  # between two looks at a condition that has a deadline


def run(*command, check=True, timeout=COMMAND_S, **kwargs):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=timeout, **kwargs)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(str(p) for p in command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done


def ip(*args, **kwargs):
    return run("ip", *args, **kwargs)


def ip_batch(lines, netns=None):
    run("ip", *(["-n", netns] if netns else []), "-batch", "-", input="\n".join(lines) + "\n")


class Refused(AssertionError):
    """vipctl ended with another code than was asked for."""

    def __init__(self, done, wanted):
        self.code = done.returncode
        super().__init__(
            f"{' '.join(done.args[1:])}: exit {done.returncode}, wanted {wanted}\n{done.stdout}{done.stderr}"
        )


class Node:
    """One node: its namespace, its files and its daemon."""

    def __init__(self, cluster, index):
        self.cluster = cluster
        self.name = cluster.names[index]
        self.netns = f"{cluster.prefix}-{self.name}"
        self.ip4 = f"10.77.0.{index + 1}"
        self.ip6 = f"fd77::{index + 1:x}"
        self.cluster_ip4 = f"10.78.0.{index + 1}"
        self.folder = cluster.folder / self.name
        self.data = self.folder / "data"
        self.control = self.folder / "ctl"
        self.config = self.folder / "vipd.yaml"
        self.log = self.folder / "log"
        self.process = None
        self.extra = {}  # further keys of the configuration file

    # -- files --

    @property
    def endpoint(self):
        if self.cluster.separate:
            return f"{self.cluster_ip4}:{PORT}"
        return f"[{self.ip6}]:{PORT}" if self.cluster.over_ipv6 else f"{self.ip4}:{PORT}"

    def config_text(self, **changes):
        keys = {
            "cluster": self.cluster.name,
            "node": self.name,
            "listen": f'"{self.endpoint}"',
            "data": self.data,
            "key-file": self.cluster.key,
            "interfaces": "[eth0]",
            "control": self.control,
            "timing": self.cluster.profile,
            **self.extra,
            **changes,
        }
        lines = [f"{key}: {value}" for key, value in keys.items() if value is not None]
        if "peers" not in changes and "join" not in keys:
            lines.append("peers:")
            lines += [f'  {node.name}: "{node.endpoint}"' for node in self.cluster.founders]
        return "\n".join(lines) + "\n"

    def write_config(self, **changes):
        self.data.mkdir(parents=True, exist_ok=True)
        self.config.write_text(self.config_text(**changes))

    # -- the daemon --

    @property
    def pid(self):
        return self.process.pid if self.running else None

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def start(self, before=(), vipd=VIPD):
        """Starts the daemon, in its namespace and by way of the command `before`, like setpriv."""
        assert not self.running, f"{self.name} runs already"
        if not self.config.exists():
            self.write_config()
        with open(self.log, "ab") as log:
            log.write(f"--- start {time.monotonic():.3f}\n".encode())
            log.flush()
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.netns, *before, str(vipd), "-c", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                preexec_fn=witnesses.die_with_parent,
            )
        return self

    def signal(self, number):
        assert self.running, f"{self.name} does not run"
        os.kill(self.process.pid, number)

    def kill(self):
        """SIGKILL, and gone."""
        self.signal(signal.SIGKILL)
        self.process.wait(PATIENCE_S)

    def terminate(self, timeout=PATIENCE_S):
        """SIGTERM, and gone; the exit status."""
        self.signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def stop(self):
        self.signal(signal.SIGSTOP)
        wait_until(lambda: self.state() == "T", 5, f"{self.name} stopped")

    def cont(self):
        self.signal(signal.SIGCONT)

    def state(self):
        """The process's state letter, as in ps."""
        text = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text()
        return text[text.rindex(")") + 2]

    def restart(self, how="terminate"):
        getattr(self, how)()
        return self.start()

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    # -- the command --

    def vipctl_raw(self, *args, timeout=COMMAND_S):
        return run(VIPCTL, "-s", self.control, *args, check=False, timeout=timeout)

    def vipctl(self, *args, code=DONE, timeout=COMMAND_S):
        """Runs vipctl at this node with -o json and returns the parsed answer; `code` is the exit code that is expected."""
        patience = [] if "--timeout" in args or code != DONE else ["--timeout", f"{PATIENCE_S}s"]
        done = self.vipctl_raw(*args, *patience, "-o", "json", timeout=timeout)
        if done.returncode != code:
            raise Refused(done, code)
        try:
            return json.loads(done.stdout) if done.stdout.strip() else None
        except json.JSONDecodeError as error:
            raise AssertionError(f"{' '.join(args)}: no JSON: {error}\n{done.stdout}") from None

    def rows(self, *args):
        """The rows of a listing ("vip list", "node list"), or [] while the node does not answer."""
        done = self.vipctl_raw(*args, "-o", "json")
        if done.returncode != 0:
            return []
        answer = json.loads(done.stdout)
        return answer if isinstance(answer, list) else next(v for v in answer.values() if isinstance(v, list))

    # -- the kernel --

    def addresses(self, dev=None):
        """The addresses on the node's interfaces, without their prefix lengths."""
        shown = json.loads(ip("-j", "-n", self.netns, "addr", "show", *(["dev", dev] if dev else [])).stdout)
        return {info["local"] for link in shown for info in link.get("addr_info", []) if "local" in info}

    def fill_disk(self):
        """Until there is no room; returns the file to be removed."""
        filler = self.data / "filler"
        with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 4096):
                pass
        return filler

    def has(self, address):
        return address.split("/")[0] in self.addresses()

    def as_in_kernel(self, address):
        """The address with the prefix length that it has on the interface."""
        bare = address.split("/")[0]
        shown = json.loads(ip("-j", "-n", self.netns, "addr", "show").stdout)
        return next(
            f"{bare}/{info['prefixlen']}" for link in shown for info in link.get("addr_info", []) if info.get("local") == bare
        )

    def link(self, state, dev="eth0"):
        """Sets a link up or down. Up gives the node its own IPv6 address back, which the kernel drops with the link."""
        ip("-n", self.netns, "link", "set", dev, state)
        if state == "up" and dev == "eth0":
            ip("-n", self.netns, "addr", "replace", f"{self.ip6}/64", "dev", "eth0", "nodad")

    def exec(self, *command, **kwargs):
        return run("ip", "netns", "exec", self.netns, *command, **kwargs)

    def make_eternal(self, address):
        """Lets an address live for ever, with all its other attributes (marks, too) as they are."""
        self.exec("/usr/bin/python3", pathlib.Path(__file__).with_name("eternal.py"), address.split("/")[0])

    def mac(self, dev="eth0"):
        return json.loads(ip("-j", "-n", self.netns, "link", "show", "dev", dev).stdout)[0]["address"]

    def carry(self, on):
        """Off: the bridge passes no frame to or from the node's shared link, which keeps its carrier."""
        run("ip", "netns", "exec", self.cluster.bridge, "bridge", "link", "set", "dev", f"p-{self.name}",
            "state", "3" if on else "0")  # fmt: skip


class Cluster:
    """n nodes, a client and a witness on one shared link (eth0).

    profile     the cluster's timing: a name, or a map as in the configuration (CALM)
    over_ipv6   the daemons speak IPv6 to each other
    separate    they speak over a network of their own (eth1), so that VIPs and cluster traffic fail apart
    founders    how many of the nodes are the founding voters (default: all)
    names       of the nodes (default: a, b, c, ...); at most 13 bytes, for the interfaces named after them
    """

    live = []  # those to be cleaned up, should the program end in their middle
    last_words = []  # of those that a failure ended: (prefix, the ends of their logs)

    def __init__(self, n=3, profile="default", over_ipv6=False, separate=False, founders=None, name=None, names=NAMES):
        self.prefix = f"vipd-e2e-{os.getpid()}-{secrets.token_hex(3)}"
        self.name = name or f"e2e-{secrets.token_hex(3)}"
        self.names = names
        self.profile, self.over_ipv6, self.separate = profile, over_ipv6, separate
        self.bridge, self.client, self.watcher = (f"{self.prefix}-{what}" for what in ("bridge", "client", "witness"))
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="vipd-e2e-"))
        self.key = self.folder / "key"
        self.nodes = [Node(self, i) for i in range(n)]
        self.founders = self.nodes[: founders or n]
        self.blocked = set()  # (from, to): what the receiving node drops
        self.losing = 0
        self.cluster_port_only = True
        self.witnesses = []
        self.netns = []
        self.mounts = []
        self.frozen = []
        Cluster.live.append(self)
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def __getitem__(self, name):
        return next(node for node in self.nodes if node.name == name)

    def __iter__(self):
        return iter(self.nodes)

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        if failure is not None:
            Cluster.last_words.append((self.prefix, self.tails()))
        self.close()

    # -- building and removing --

    def _build(self):
        for name in [self.bridge, self.client, self.watcher] + [node.netns for node in self.nodes]:
            ip("netns", "add", name)
            self.netns.append(name)
        lines = ["link add br0 type bridge mcast_snooping 0", "link set br0 up"]
        if self.separate:
            lines += ["link add br1 type bridge mcast_snooping 0", "link set br1 up"]
        for name, netns in [("client", self.client), ("witness", self.watcher)] + [(n.name, n.netns) for n in self.nodes]:
            lines += [f"link add p-{name} type veth peer name eth0 netns {netns}", f"link set p-{name} master br0 up"]
            if self.separate and netns not in (self.client, self.watcher):
                lines += [f"link add q-{name} type veth peer name eth1 netns {netns}", f"link set q-{name} master br1 up"]
        ip_batch(lines, self.bridge)
        places = [(node.netns, node.ip4, node.ip6) for node in self.nodes]
        places += [(self.client, "10.77.0.250", "fd77::c"), (self.watcher, "10.77.0.199", "fd77::fe:20")]
        for netns, ip4, ip6 in places:
            ip_batch(
                ["link set lo up", "link set eth0 up", f"addr add {ip4}/16 dev eth0", f"addr add {ip6}/64 dev eth0 nodad"],
                netns,
            )
        if self.separate:
            for node in self.nodes:
                ip_batch(["link set eth1 up", f"addr add {node.cluster_ip4}/24 dev eth1"], node.netns)
        for number, node in enumerate(self.nodes, 1):
            node.folder.mkdir()
            ip("-n", self.watcher, "netns", "set", node.netns, str(number))
            self._wait_usable(node.netns)
        if len(self.nodes) ** 2 > NEIGHBOURS_MAX:
            self._know_each_other()
        self._make_key()

    def _know_each_other(self):
        """Each node is told who the others are: all namespaces share the kernel's one table of neighbours, and one that is full
        makes any of them deaf. Permanent entries do not count."""
        macs = {node: node.mac() for node in self.nodes}
        for node in self.nodes:
            others = [(other, mac) for other, mac in macs.items() if other is not node]
            ip_batch([f"neigh add {at} lladdr {mac} dev eth0 nud permanent" for o, mac in others for at in (o.ip4, o.ip6)],
                     node.netns)  # fmt: skip

    @staticmethod
    def _wait_usable(netns):
        """The link-local address is no longer tentative: from then on nothing is lost to the start of the link."""
        wait_until(
            lambda: "tentative" not in ip("-n", netns, "-6", "addr", "show", "dev", "eth0").stdout, 10, f"{netns} usable"
        )

    def _make_key(self):
        self.key.touch(mode=0o600)
        self.key.write_text(secrets.token_hex(32) + "\n")

    def close(self):
        for watching in self.witnesses:
            with contextlib.suppress(Exception):
                watching.stop()
        for mounted in self.frozen:  # who waits for it could not even be killed
            run("fsfreeze", "-u", mounted, check=False)
        self.frozen = []
        for node in self.nodes:
            if node.process is not None and node.process.poll() is None:
                node.process.kill()  # also what is stopped
                node.process.wait()
        for netns in self.netns:
            ip("netns", "del", netns, check=False)
        self.netns = []
        for mounted in self.mounts:
            run("umount", "-l", mounted, check=False)
        self.mounts = []
        shutil.rmtree(self.folder, ignore_errors=True)
        if self in Cluster.live:
            Cluster.live.remove(self)

    @classmethod
    def close_all(cls):
        for cluster in list(cls.live):
            cluster.close()

    # -- the daemons --

    def start(self, *names):
        """Starts the named nodes, or all that do not run."""
        for node in [self[name] for name in names] or [node for node in self.nodes if not node.running]:
            node.start()
        return self

    def wait_formed(self, timeout=30, nodes=None):
        """Until the nodes (default: all that run) agree on one leader and on each of them being up."""
        wanted = nodes or [node.name for node in self.nodes if node.running]

        def formed():
            leaders = set()
            for name in wanted:
                if not self[name].running:
                    raise AssertionError(f"{name} ended: {self[name].log_text()[-500:]}")
                rows = self[name].rows("node", "list")
                if not set(wanted) <= {row["name"] for row in rows if row["status"] == "up"}:
                    return False
                leaders |= {row["name"] for row in rows if row["leader"]}
            return len(leaders) == 1 and leaders <= set(wanted) and all(self.can_hold(name) for name in wanted)

        wait_until(formed, timeout, f"a cluster of {', '.join(wanted)}", every=0.03)
        return self

    def can_hold(self, name, at=None):
        """The cluster knows the node's shared link and that it is up."""
        done = (at or self.any()).vipctl_raw("node", "show", name, "-o", "json")
        links = json.loads(done.stdout).get("links", []) if done.returncode == DONE else []
        return any(link["name"] == "eth0" and link["up"] for link in links)

    def any(self, but=()):
        """A node that runs."""
        return next(node for node in self.nodes if node.running and node.state() != "T" and node.name not in but)

    def leader(self, at=None, timeout=20):
        """The leader's node, as a running node sees it."""

        def look():
            rows = (at or self.any()).rows("node", "list")
            return next((row["name"] for row in rows if row["leader"]), None)

        return self[wait_until(look, timeout, "a leader")]

    def vip(self, name, at=None):
        """The row of a VIP, by name or address, or None."""
        bare = name.split("/")[0]
        for row in (at or self.any()).rows("vip", "list"):
            if bare in (row["name"], row["address"].split("/")[0]):
                return row
        return None

    def owner(self, name, at=None):
        """The node that holds the VIP, by the cluster's own word, or None."""
        row = self.vip(name, at)
        return self[row["owner"]] if row and row["owner"] and row["state"] == "held" else None

    def wait_held(self, *names, timeout=15, but=()):
        """Until every VIP is held by a node that is not in `but`; the owners, in order."""

        def held():
            asked = self.any(but=but)
            owners = [self.owner(name, at=asked) for name in names]
            return owners if all(o is not None and o.name not in but for o in owners) else None

        return wait_until(held, timeout, f"{', '.join(names)} held")

    def add_vip(self, address, *args):
        """Adds a VIP at any node and waits until its owner's kernel has it; the owner."""
        self.any().vipctl("vip", "add", address, *args, "--wait")
        return self.wait_held(address)[0]

    def small_disk(self, node, size_kib):
        """Gives a node that has not started yet a data directory on a file system of that size."""
        node.data.mkdir(parents=True)
        run("mount", "-t", "tmpfs", "-o", f"size={size_kib}k,mode=0700", "vipd-e2e", node.data)
        self.mounts.append(node.data)

    def own_disk(self, node, size_mib=64):
        """Gives a node that has not started yet a file system of its own, which freeze() can stop; None where there are no
        loop devices."""
        node.data.mkdir(parents=True)
        image = self.folder / f"{node.name}.img"
        with open(image, "wb") as file:
            file.truncate(size_mib << 20)
        run("mkfs.ext4", "-q", image)
        if run("mount", "-o", "loop", image, node.data, check=False).returncode != 0:
            return None
        self.mounts.append(node.data)
        node.data.chmod(0o700)
        return node.data

    def freeze(self, mounted):
        """From now on no write to it returns, nor fails."""
        run("fsfreeze", "-f", mounted)
        self.frozen.append(mounted)

    def thaw(self, mounted):
        run("fsfreeze", "-u", mounted)
        self.frozen.remove(mounted)

    # -- the network --

    def vip4(self, number):
        """The number-th address for VIPs, with its prefix length."""
        return f"10.77.{1 + number // 250}.{1 + number % 250}/16"

    def vip6(self, number):
        return f"fd77::1:{number + 1:x}/64"

    def witness(self, *addresses, period_ms=witnesses.PERIOD_MS, ping_ms=None):
        """A running outside witness that watches the addresses; its client pings them each ping_ms (default: period_ms)."""
        watching = witnesses.Witness(
            witnesses.compiled(TOP / "build" / "e2e"),
            self.watcher,
            "eth0",
            self.client,
            "10.77.0.200",
            "fd77::fe:0",
            {node.name: (node.mac(), f"/run/netns/{node.netns}") for node in self.nodes},
            period_ms,
            ping_ms,
        )
        self.witnesses.append(watching)
        watching.watch(*addresses)
        return watching

    def block(self, sources, targets, one_way=False, everything=False):
        """What `sources` send does not reach `targets`, nor the other way round unless one_way.

        Only the cluster's traffic (port 7400, UDP and TCP), or everything between the two. The shared link keeps working:
        client and witness reach every node, which makes a second holder visible."""
        for source in sources:
            for target in targets:
                self.blocked.add((source, target))
                if not one_way:
                    self.blocked.add((target, source))
        self.cluster_port_only = not everything
        self._filter()

    def isolate(self, *names, **kwargs):
        """Cuts the named nodes off from all the others (not from each other)."""
        self.block(names, [node.name for node in self.nodes if node.name not in names], **kwargs)

    def lose(self, percent):
        """Every node loses that share of the cluster's packets."""
        self.losing = percent
        self._filter()

    def heal(self):
        self.blocked.clear()
        self.losing = 0
        self._filter()

    def _filter(self):
        # whoever is deaf to the most comes last: else it is heard for a while longer than it hears, which is another fault
        deaf = {node: sum(target == node.name for _, target in self.blocked) for node in self.nodes}
        for target in sorted(self.nodes, key=deaf.get):
            rules = []
            ports = [f"meta l4proto {p} th {d} {PORT}" for p in ("tcp", "udp") for d in ("dport", "sport")]
            for source, to in sorted(self.blocked):
                if to == target.name:
                    node = self[source]
                    for match in (f"ip saddr {node.ip4}", f"ip6 saddr {node.ip6}", f"ip saddr {node.cluster_ip4}"):
                        rules += [f"{match} {p} drop" for p in ports] if self.cluster_port_only else [f"{match} drop"]
            if self.losing:
                rules += [f"{p} numgen random mod 100 < {self.losing} drop" for p in ports]
            text = "table inet vipd_e2e {}\ndelete table inet vipd_e2e\n"
            if rules:
                text += "table inet vipd_e2e { chain input { type filter hook input priority 0;\n"
                text += "\n".join(rules) + "\n}\n}\n"
            run("ip", "netns", "exec", target.netns, "nft", "-f", "-", input=text)

    # -- for a failed test --

    def tails(self, lines=TAIL_LINES):
        """The ends of the daemons' logs and what the witnesses saw."""
        parts = []
        for node in self.nodes:
            state = "running" if node.running else "not running"
            tail = "\n".join(node.log_text().splitlines()[-lines:])
            parts.append(f"--- {node.name} ({state}), end of its log:\n{tail}")
        for watching in self.witnesses:
            with contextlib.suppress(Exception):
                parts.append(watching.report())
        return "\n".join(parts)


atexit.register(Cluster.close_all)


def _end(number, _frame):
    raise SystemExit(128 + number)  # and so through atexit


signal.signal(signal.SIGTERM, _end)
signal.signal(signal.SIGHUP, _end)
