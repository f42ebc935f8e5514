"""The outside witness: runs witness.c beside a cluster and judges what it saw. Knows nothing of the product.

What "held twice" means here. Every period the witness asks each node by itself, for each address, and an answer proves
that the node held the address at some instant between the asking and the hearing. Consecutive answers of a node prove
that it held from the first one's hearing to the last one's asking: its *certain* time. Where the certain times of two
nodes overlap, or an answer of one lies inside of the certain time of another, the address was held twice: `double_ms`,
`double_answers`. It must be 0 and 0. Being unsure (a late witness, a lost frame) makes certain times shorter only.

The addresses on the interfaces are judged beside that (`overlap_ms`): by the kernel's own order of changes. There an
overlap may be right: a node that hangs cannot remove an address, and it is its kernel's fence that keeps it silent.
"""

import bisect
import collections
import ctypes
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time

MS = 1_000_000
PERIOD_MS = 5
PATIENCE_S = 60  # for the witness program, on a busy machine
SOURCE = pathlib.Path(__file__).with_name("witness.c")


def die_with_parent(by=signal.SIGKILL):
    """In a child between fork and exec: no process of the tests outlives them, whatever ends them."""
    ctypes.CDLL(None).prctl(1, by)  # PR_SET_PDEATHSIG


def compiled(folder, source=SOURCE, more_flags=()):
    """The program (the witness), compiled into `folder` when it is not newer than its source. Safe beside other runs."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / source.stem
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        handle, fresh = tempfile.mkstemp(dir=folder)
        os.close(handle)
        flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Wshadow", "-Werror"]
        subprocess.run(["cc", *flags, *more_flags, "-o", fresh, source], check=True)
        os.chmod(fresh, 0o755)
        os.replace(fresh, program)
    return program


class Spans:
    """A set of times: disjoint intervals in order, in ns."""

    def __init__(self, intervals=()):
        self.all = []
        for start, end in sorted(intervals):
            if self.all and start <= self.all[-1][1]:
                self.all[-1] = (self.all[-1][0], max(end, self.all[-1][1]))
            else:
                self.all.append((start, end))
        self.starts = [start for start, _ in self.all]

    def overlap(self, other):
        """The intervals that are in both."""
        return [
            (max(a, c), min(b, d)) for a, b in self.all for c, d in other.all if max(a, c) < min(b, d)
        ]

    def contains(self, start, end):
        """Whether one interval has all of [start, end] in its inside."""
        at = bisect.bisect_left(self.starts, start) - 1
        return at >= 0 and self.all[at][0] < start and end < self.all[at][1]


def total_ms(intervals):
    return sum(end - start for start, end in intervals) / MS


class Seen:
    """What was seen of one address. Times are CLOCK_MONOTONIC in ns."""

    def __init__(self, address):
        self.address = address
        self.answers = collections.defaultdict(list)  # (node, kind) -> [(seq, asked, heard)]
        self.pings = []  # (heard, asked, node)
        self.ping_seqs = []  # (asked, seq) of those that were answered
        self.announces = []  # (time, node)
        self.changes = []  # (time, node, added), in the kernel's order
        self.samples = []  # (time, node, present)

    def nodes(self):
        return sorted({node for node, _ in self.answers})

    def certain(self, node):
        """When the node surely held the address."""
        intervals = []
        for (who, _), answers in self.answers.items():
            if who != node:
                continue
            first_heard = last_seq = last_asked = None
            for seq, asked, heard in answers:
                if last_seq is None or seq != last_seq + 1:
                    if first_heard is not None and first_heard < last_asked:
                        intervals.append((first_heard, last_asked))
                    first_heard = heard
                last_seq, last_asked = seq, asked
            if first_heard is not None and first_heard < last_asked:
                intervals.append((first_heard, last_asked))
        return Spans(intervals)

    def doubles(self):
        """(intervals in which two nodes surely held it, single answers inside of another's certain time)."""
        nodes = self.nodes()
        certain = {node: self.certain(node) for node in nodes}
        intervals, answers = [], []
        for i, one in enumerate(nodes):
            for other in nodes[i + 1 :]:
                intervals += certain[one].overlap(certain[other])
        for (node, kind), seen in self.answers.items():
            for other in nodes:
                if other != node:
                    answers += [(node, kind, a, h, other) for _, a, h in seen if certain[other].contains(a, h)]
        return Spans(intervals).all, answers

    def overlaps(self):
        """The intervals in which two interfaces had the address, by the kernel's order of changes."""
        holders, found, since = set(), [], None
        for at, node, added in self.changes:
            before = len(holders)
            (holders.add if added else holders.discard)(node)
            if before < 2 <= len(holders):
                since = at
            elif before >= 2 > len(holders):
                found.append((since, at))
        if since is not None and len(holders) >= 2:
            found.append((since, time.monotonic_ns()))
        return found

    def gap_ms(self, times, since, until):
        times = sorted(t for t in times if (since or 0) <= t <= (until or t))
        return max(((b - a) / MS for a, b in zip(times, times[1:])), default=None)

    def outage_ms(self, since=None, until=None):
        """The longest time in which no node answered (between two answers); None without two answers."""
        return self.gap_ms([h for seen in self.answers.values() for _, _, h in seen], since, until)

    def ping_outage_ms(self, since=None, until=None):
        """The same as the client saw it, through its kernel's neighbour cache."""
        return self.gap_ms([heard for heard, _, _ in self.pings], since, until)

    def lost_pings(self, since=None):
        """How many of the client's pings, of those between two answered ones that were asked since then, were not."""
        seqs = sorted(seq for asked, seq in self.ping_seqs if asked >= (since or 0))
        return seqs[-1] - seqs[0] + 1 - len(set(seqs)) if seqs else 0

    def last_answer(self, node):
        return max((h for (who, _), seen in self.answers.items() if who == node for _, _, h in seen), default=None)

    def first_answer(self, node, since=0):
        return min(
            (h for (who, _), seen in self.answers.items() if who == node for _, _, h in seen if h >= since), default=None
        )

    def timeline(self, zero):
        parts = []
        for node in self.nodes():
            for start, end in self.certain(node).all:
                parts.append((start, f"{node} {(start - zero) / MS / 1000:.3f}-{(end - zero) / MS / 1000:.3f}"))
        return ", ".join(text for _, text in sorted(parts)) or "nobody"


class Witness:
    """Runs from the `with` to its end; `report` and the figures may be asked at any time, and after the end."""

    def __init__(self, program, netns, dev, client, ip4, ip6, nodes, period_ms=PERIOD_MS, ping_ms=None):
        """`nodes`: {name: (hardware address, path of its namespace)}; `ip4`, `ip6`: the first of 32 free addresses each,
        the echo's own being the one before ip4 and the one 32 after ip6."""
        command = ["ip", "netns", "exec", netns, str(program), "--dev", dev, "--ip4", ip4, "--ip6", ip6]
        command += ["--period-ms", str(period_ms), "--ping-ms", str(ping_ms or period_ms)]
        command += ["--client", f"/run/netns/{client}"]
        for name, (mac, path) in nodes.items():
            command += ["--node", f"{name},{mac},{path}"]
        self.zero = time.monotonic_ns()
        self.seen = {}
        self.lost = 0
        self.lock = threading.Lock()
        self.flushed = threading.Event()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent
        )
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError("the witness did not start")
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait(PATIENCE_S)
            self.reader.join(PATIENCE_S)

    def _order(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def watch(self, *addresses):
        for address in addresses:
            self._order(f"watch {address.split('/')[0]}")

    def unwatch(self, *addresses):
        for address in addresses:
            self._order(f"unwatch {address.split('/')[0]}")

    def flush(self):
        """Everything that was heard until now is in the figures afterwards."""
        if self.process.poll() is None:
            self.flushed.clear()
            self._order("flush")
            if not self.flushed.wait(PATIENCE_S):
                raise RuntimeError(f"the witness does not answer for {PATIENCE_S} s")

    def _read(self):
        for line in self.process.stdout:
            what, *f = line.split()
            if what == "flushed":
                self.flushed.set()
                continue
            with self.lock:
                if what == "answer":
                    self._of(f[1]).answers[f[2], f[0]].append((int(f[3]), int(f[4]), int(f[5])))
                elif what == "ping":
                    self._of(f[0]).pings.append((int(f[4]), int(f[3]), f[1]))
                    self._of(f[0]).ping_seqs.append((int(f[3]), int(f[2])))
                elif what == "announce":
                    self._of(f[0]).announces.append((int(f[2]), f[1]))
                elif what == "change":
                    self._of(f[1]).changes.append((int(f[3]), f[0], f[2] == "add"))
                elif what == "sample":
                    seen = self._of(f[1])
                    at, present = int(f[3]), f[2] == "1"
                    seen.samples.append((at, f[0], present))
                    if present and not any(node == f[0] for _, node, _ in seen.changes):
                        seen.changes.append((at, f[0], True))  # was there before anybody listened
                elif what == "lost":
                    self.lost += 1

    def _of(self, address):
        return self.seen.setdefault(address, Seen(address))

    def of(self, address):
        """What was seen of an address, up to now."""
        self.flush()
        with self.lock:
            return self._of(address.split("/")[0])

    def holders(self, address):
        """Which namespaces have the address now, by the last dump."""
        have = {}
        for _, node, present in self.of(address).samples:
            have[node] = present
        return sorted(node for node, present in have.items() if present)

    def answering(self, address, within_ms=100):
        """Who answered for it lately."""
        since = time.monotonic_ns() - within_ms * MS
        seen = self.of(address)
        return sorted(node for node in seen.nodes() if (seen.last_answer(node) or 0) >= since)

    def double_ms(self):
        self.flush()
        with self.lock:
            return sum(total_ms(seen.doubles()[0]) for seen in self.seen.values())

    def overlap_ms(self):
        self.flush()
        with self.lock:
            return sum(total_ms(seen.overlaps()) for seen in self.seen.values())

    def assert_never_on_two(self):
        """Stricter, where no daemon hangs or dies: no two interfaces had one address either."""
        self.flush()
        with self.lock:
            for seen in self.seen.values():
                found = seen.overlaps()
                near = [c for c in seen.changes if found and abs(c[0] - found[0][0]) < 50 * MS]
                assert not found, (
                    f"{seen.address} was on two interfaces, first for {(found[0][1] - found[0][0]) / MS:.2f} ms: "
                    + ", ".join(f"{(at - self.zero) / MS:.2f} {node} {'+' if on else '-'}" for at, node, on in near)
                )

    def assert_single(self):
        """At no instant did two nodes hold one address."""
        self.flush()
        with self.lock:
            for seen in self.seen.values():
                intervals, answers = seen.doubles()
                assert not intervals and not answers, (
                    f"{seen.address} was held twice for {total_ms(intervals):.1f} ms, {len(answers)} answers "
                    f"inside of another's time; {seen.timeline(self.zero)}; first: {(intervals + answers)[0]}"
                )

    def report(self):
        """One line an address."""
        self.flush()
        lines = []
        with self.lock:
            for seen in self.seen.values():
                outage, ping = seen.outage_ms(), seen.ping_outage_ms()
                lines.append(
                    f"witness {seen.address}: {seen.timeline(self.zero)}; longest outage "
                    f"{'-' if outage is None else f'{outage:.0f} ms'} (client's ping "
                    f"{'-' if ping is None else f'{ping:.0f} ms'}), held twice {total_ms(seen.doubles()[0]):.1f} ms, "
                    f"on two interfaces {total_ms(seen.overlaps()):.1f} ms"
                )
        return "\n".join(lines)
