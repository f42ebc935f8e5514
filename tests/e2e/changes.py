"""What users do meanwhile: VIPs are added, deleted, disabled, enabled and moved, nodes drained, the leadership handed over, at
any node, whatever its state. And what must come of it: a change that was acknowledged is there in the end, one that was refused
for want of a leader is not. Where the answer was lost, both are right.
"""

import subprocess
import threading

from cluster import CONFLICT, DONE, NO_QUORUM, NOT_FOUND, UNSAFE

TIMEOUT = "2s"
ADDS_MAX = 12  # a worker's in one round: the witness watches few
LIVE_MAX = 3  # VIPs of one worker at a time
PRESENT, ABSENT, UNKNOWN = "present", "absent", "unknown"
FIRST = 1000  # addresses from here on are the workers'


class Fate:
    """What is known of one address."""

    def __init__(self):
        self.state = ABSENT
        self.enabled = None  # or True, False
        self.told = []  # (operation, node, exit code)


class Changes:
    def __init__(self, ground, vips, watch, workers=2):
        self.ground, self.vips, self.watch, self.workers_n = ground, vips, watch, workers
        self.fates = {}  # address -> Fate; what was settled as absent and is nobody's any more is dropped at the next round
        self.retired = set()  # addresses with a lost answer: they may come up late
        self.next = FIRST
        self.counts = {}
        self.wrong = []
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.threads = []
        self.live = [[] for _ in range(workers)]

    # -- the workers --

    def start(self, rng, drains):
        """`drains`: nodes are drained, too; a fault of another node may then leave a VIP nowhere to go."""
        self.ended.clear()
        self.drains = drains
        self.threads = []
        for number in range(self.workers_n):
            own = type(rng)(f"{rng.random()}/{number}")
            self.threads.append(threading.Thread(target=self._work, args=(number, own), daemon=True))
            self.threads[-1].start()

    def stop(self):
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def _work(self, number, rng):
        adds = 0
        while not self.ended.is_set():
            live = self.live[number]
            kinds = ["move", "transfer"] + ["drain", "undrain"] * self.drains
            if adds < ADDS_MAX and len(live) < LIVE_MAX:
                kinds += ["add"] * 6
            if live:
                kinds += ["del", "del", "disable", "enable"]
            kind = rng.choice(kinds)
            adds += kind == "add"
            try:
                getattr(self, f"_{kind}")(live, rng)
            except Exception as error:  # pylint: disable=broad-except  # a thread must not end in silence
                self._is_wrong(f"{kind}: {error!r}")
            self.ended.wait(rng.uniform(0, 0.1))

    def _is_wrong(self, text):
        with self.lock:
            self.wrong.append(text)

    def _ctl(self, rng, *args):
        """(exit code, or None when no answer came; the node)"""
        node = rng.choice(self.ground.nodes)
        try:
            code = node.vipctl_raw(*args, "--timeout", TIMEOUT).returncode
        except subprocess.TimeoutExpired:
            self._is_wrong(f"vipctl {' '.join(args)} at {node.name} did not end by itself")
            code = None
        with self.lock:
            key = args[1] if args[0] in ("vip", "leader") else args[0]
            told, acknowledged = self.counts.get(key, (0, 0))
            self.counts[key] = (told + 1, acknowledged + (code == DONE))
        return code, node

    def _fate(self, address, operation, rng, *args):
        code, node = self._ctl(rng, "vip", operation, *args)
        fate = self.fates[address]
        fate.told.append((operation, node.name, code))
        return fate, code

    def _add(self, live, rng):
        with self.lock:
            address = self.ground.vip4(self.next).split("/")[0]
            self.next += 1
            self.fates[address] = Fate()
        self.watch(address)
        fate, code = self._fate(address, "add", rng, f"{address}/16")
        if code == DONE:
            fate.state, fate.enabled = PRESENT, True
        elif code == CONFLICT:
            self._is_wrong(f"{address} was added for the first time, and refused as a conflict")
        elif code not in (NO_QUORUM, UNSAFE):
            fate.state = UNKNOWN
        live.append(address)

    def _del(self, live, rng):
        address = live.pop(rng.randrange(len(live)))
        before = self.fates[address].state
        fate, code = self._fate(address, "del", rng, address)
        if code == NOT_FOUND and before == PRESENT:
            self._is_wrong(f"{address} was acknowledged, and is not found: {fate.told}")
        elif code == DONE and before == ABSENT:
            self._is_wrong(f"{address} was never there, and could be deleted: {fate.told}")
        elif code in (DONE, NOT_FOUND):
            fate.state = UNKNOWN if before == UNKNOWN else ABSENT  # a lost addition may still come
        elif code != NO_QUORUM:
            fate.state = UNKNOWN

    def _able(self, live, rng, operation, enabled):
        address = rng.choice(live)
        fate, code = self._fate(address, operation, rng, address)
        if code == DONE:
            fate.enabled = enabled if fate.enabled is not None else None
        elif code not in (NO_QUORUM, NOT_FOUND, UNSAFE):
            fate.enabled = None  # the answer was lost

    def _disable(self, live, rng):
        self._able(live, rng, "disable", False)

    def _enable(self, live, rng):
        self._able(live, rng, "enable", True)

    def _move(self, live, rng):
        vip = rng.choice(self.vips + live).split("/")[0]
        self._ctl(rng, "vip", "move", vip, *(["--to", rng.choice(self.ground.nodes).name] if rng.random() < 0.7 else []))

    def _transfer(self, _live, rng):
        to = [rng.choice(self.ground.nodes).name] if rng.random() < 0.5 else []
        self._ctl(rng, "leader", "transfer", *to)

    def _drain(self, _live, rng):
        self._ctl(rng, "drain", rng.choice(self.ground.nodes).name)

    def _undrain(self, _live, rng):
        self._ctl(rng, "undrain", rng.choice(self.ground.nodes).name)

    # -- in the end --

    def judge(self, rows):
        """Compares with the rows of all VIPs of a cluster that is whole; sentences of what is wrong."""
        there = {row["address"].split("/")[0]: row for row in rows}
        wrong, self.wrong = self.wrong, []
        for address, fate in self.fates.items():
            row = there.get(address)
            if fate.state == PRESENT and row is None:
                wrong.append(f"{address} was acknowledged, and is lost: {fate.told}")
            elif fate.state == ABSENT and row is not None:
                wrong.append(f"{address} is there, which no answer says: {fate.told}")
            elif fate.state == PRESENT and fate.enabled is not None and row["enabled"] != fate.enabled:
                wrong.append(f"{address} is {'' if row['enabled'] else 'not '}enabled, other than acknowledged: {fate.told}")
        return wrong

    def strays(self, rows):
        """Addresses of the cluster that are to be deleted: late ones, and those of which nothing certain is known."""
        known = {address for address, fate in self.fates.items() if fate.state != UNKNOWN}
        with self.lock:
            own = {address for address in self.fates} | self.retired
        there = {row["address"].split("/")[0] for row in rows}
        return sorted((there & own) - known)

    def forget(self):
        """After a round: what has no certain fate is nobody's any more."""
        for address in [a for a, fate in self.fates.items() if fate.state != PRESENT]:
            if self.fates[address].state == UNKNOWN:
                self.retired.add(address)
            del self.fates[address]
        self.live = [[a for a in live if a in self.fates] for live in self.live]

    def watched(self):
        return sorted(self.fates)
