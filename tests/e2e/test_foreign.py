"""Another host has, or announces, an address of the cluster: it is seen, told with its hardware address, and dealt with as the
VIP's policy says. The cluster's own moves are no conflicts."""

import contextlib
import pathlib
import subprocess
import sys

import pytest

import witness as witnesses
from cluster import CALM, CONFLICT, FAILED, TIMED_OUT, USAGE, Cluster, ip, ip_batch, wait_until

MAC = "02:66:00:00:00:01"


class Rogue:
    """A host on the shared link that is none of the cluster's."""

    def __init__(self, cluster):
        self.netns = f"{cluster.prefix}-rogue"
        ip("netns", "add", self.netns)
        cluster.netns.append(self.netns)
        ip_batch(
            [f"link add p-rogue type veth peer name eth0 netns {self.netns}", "link set p-rogue master br0 up"],
            cluster.bridge,
        )
        ip_batch([f"link set eth0 address {MAC}", "link set lo up", "link set eth0 up"], self.netns)
        ip("-n", self.netns, "addr", "add", "10.77.0.251/16", "dev", "eth0")
        cluster._wait_usable(self.netns)

    @contextlib.contextmanager
    def has(self, address):
        """It answers for the address, and says nothing unasked."""
        bare = address.split("/")[0]
        six = ":" in bare
        where = (f"{bare}/{128 if six else 32}", "dev", "eth0")
        ip("-n", self.netns, "addr", "add", *where, *(["nodad"] if six else []))
        try:
            yield
        finally:
            ip("-n", self.netns, "addr", "del", *where)

    @contextlib.contextmanager
    def announces(self, address, every_ms=100, *how):
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.netns, sys.executable, pathlib.Path(__file__).with_name("rogue.py"), "eth0",
             address.split("/")[0], str(every_ms), *how],
            stdin=subprocess.DEVNULL,
            preexec_fn=witnesses.die_with_parent,
        )  # fmt: skip
        try:
            yield
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def ground():
    with Cluster(3, profile=CALM) as cluster:
        cluster.rogue = Rogue(cluster)
        cluster.start().wait_formed()
        yield cluster


@pytest.fixture
def fresh(ground):
    for row in ground.any().rows("vip", "list"):
        ground.any().vipctl("vip", "del", row["name"], "--wait")
    ground.since = max(row["number"] for row in ground.any().rows("history"))
    return ground


def kinds(cluster, name):
    """The conflicts of the VIP in the history since the test began, as (kind, hardware address)."""
    return [
        (row["kind"].removeprefix("conflict-"), row["mac"])
        for row in cluster.any().rows("history", "--vip", name)
        if row["kind"].startswith("conflict-") and row["number"] > cluster.since
    ]


def fences(cluster):
    return [row for row in cluster.any().rows("history") if row["kind"] == "fence" and row["number"] > cluster.since]


def foreign(cluster, name):
    return cluster.vip(name).get("foreign") or {}


def warned(cluster, name):
    """What each node's status warns of the VIP."""
    return [[w for w in node.vipctl("status")["warnings"] if name in w and MAC in w] for node in cluster]


@pytest.mark.parametrize("which", ["vip4", "vip6"])
def test_a_taken_address_is_not_taken(fresh, which):
    address = getattr(fresh, which)(40)
    with fresh.rogue.has(address):
        fresh.any().vipctl("vip", "add", address, "--name", "web", "--wait", "--timeout", "2s", code=TIMED_OUT)
        row = fresh.vip("web")
        assert row["state"] == "unheld" and MAC in row["why"] and row["owner"] in row["why"]
        assert (row["foreign"]["mac"], row["foreign"]["outcome"]) == (MAC, "taken")
        assert not any(node.has(address) for node in fresh)
        wait_until(lambda: all(warned(fresh, "web")), 5, "in each node's status")
        checks = {check["check"]: check["ok"] for check in fresh.any().vipctl("doctor", code=FAILED)["rows"]}
        assert not checks["foreign"]
        assert MAC in fresh.any().vipctl_raw("vip", "show", "web").stdout
        assert MAC in fresh.any().vipctl_raw("history", "--vip", "web").stdout
        assert MAC in fresh[row["owner"]].log_text()
    fresh.wait_held("web", timeout=10)
    wait_until(lambda: kinds(fresh, "web") == [("taken", MAC), ("end", MAC)], 5, "the conflict is over")
    wait_until(lambda: not any(warned(fresh, "web")) and not foreign(fresh, "web"), 5, "nothing is warned of")
    assert fences(fresh) == []  # a VIP that is not taken is no reason to fence


@pytest.mark.parametrize("which", ["vip4", "vip6"])
def test_two_hosts_ask_at_the_same_time(fresh, which):
    """Nobody has the address, and both are about to take it: the cluster gives way (RFC 5227 2.1.1), and asks again later."""
    address = getattr(fresh, which)(45)
    with fresh.rogue.announces(address, 5, "probes"):
        fresh.any().vipctl("vip", "add", address, "--name", "web", "--wait", "--timeout", "2s", code=TIMED_OUT)
        row = fresh.vip("web")
        assert row["state"] == "unheld" and (row["foreign"]["mac"], row["foreign"]["outcome"]) == (MAC, "taken")
        assert not any(node.has(address) for node in fresh)
        explained = fresh.any().vipctl_raw("explain", "vip", "web").stdout
        assert MAC in explained and "no other host" not in explained
    fresh.wait_held("web", timeout=10)
    wait_until(lambda: kinds(fresh, "web") == [("taken", MAC), ("end", MAC)], 5, "the conflict is over")
    with fresh.rogue.announces(address, 5, "probes"):
        before = fresh.vip("web")["moved"]
        fresh.any().vipctl("vip", "move", "web", "--wait")  # asking for what is held, or on its way, is no claim
        assert fresh.vip("web")["moved"] > before and fresh.vip("web")["state"] == "held"
        assert kinds(fresh, "web") == [("taken", MAC), ("end", MAC)]
    assert fences(fresh) == []


def test_a_taken_address_is_taken_when_told_to(fresh):
    address = fresh.vip4(41)
    with fresh.rogue.has(address):
        fresh.add_vip(address, "--name", "web", "--no-probe")
        assert kinds(fresh, "web") == []
        assert fresh.vip("web")["probe"] is False
        other = fresh.vip4(42)
        with fresh.rogue.has(other):
            fresh.any().vipctl("vip", "add", other, "--name", "late")
            wait_until(lambda: kinds(fresh, "late") == [("taken", MAC)], 5, "found")
            fresh.any().vipctl("vip", "set", "late", "--probe", "no", "--wait")
            assert fresh.owner("late").has(other)
    fresh.any().vipctl("vip", "set", "late", "--probe", "maybe", code=USAGE)
    fresh.any().vipctl("vip", "set", "late", "--conflict", "fight", code=USAGE)


def test_an_announced_vip_is_defended(fresh):
    address = fresh.vip4(43)
    owner = fresh.add_vip(address, "--name", "web")
    with fresh.witness(address) as eye:
        with fresh.rogue.announces(address):
            wait_until(lambda: kinds(fresh, "web") == [("defended", MAC)], 10, "the conflict is in the history")
            wait_until(lambda: all(warned(fresh, "web")), 5, "in each node's status")
            told = len(eye.of(address).announces)
            wait_until(lambda: len(eye.of(address).announces) > told + 20, 10, "more announcements, of both")
            assert fresh.wait_held("web") == [owner] and owner.has(address)  # each announcement closes the gate for a moment
            row = fresh.vip("web")
            assert (row["foreign"]["mac"], row["foreign"]["outcome"]) == (MAC, "defended")
            assert MAC in owner.log_text()
        defences = [at for at, node in eye.of(address).announces if node == owner.name]
        assert defences, "the owner announced it again"
        wait_until(lambda: eye.answering(address) == [owner.name], 5, "the owner answers")
    assert kinds(fresh, "web") == [("defended", MAC)]  # once, however many packets
    assert fences(fresh) == []


def test_an_announced_vip_is_yielded(fresh):
    address = fresh.vip4(44)
    owner = fresh.add_vip(address, "--name", "web", "--conflict", "yield")
    assert fresh.vip("web")["conflict"] == "yield"
    with fresh.rogue.has(address), fresh.rogue.announces(address):
        wait_until(lambda: kinds(fresh, "web") == [("yielded", MAC)], 10, "the conflict is in the history")
        wait_until(lambda: not owner.has(address), 5, "given up")
        row = fresh.vip("web")
        assert row["state"] == "unheld" and MAC in row["why"]
        assert (row["foreign"]["mac"], row["foreign"]["outcome"]) == (MAC, "yielded")
        wait_until(lambda: all(warned(fresh, "web")), 5, "in each node's status")
    fresh.any().vipctl("vip", "disable", "web", "--wait")
    fresh.any().vipctl("vip", "enable", "web", "--wait")  # the user says so: at once
    assert fresh.owner("web").has(address)
    assert not foreign(fresh, "web")
    assert fences(fresh) == []


@pytest.mark.slow
def test_a_yielded_vip_comes_back(fresh):
    address = fresh.vip4(45)
    fresh.add_vip(address, "--name", "web", "--conflict", "yield")
    with fresh.rogue.announces(address):
        wait_until(lambda: kinds(fresh, "web") == [("yielded", MAC)], 10, "the conflict is in the history")
    fresh.wait_held("web", timeout=45)
    wait_until(lambda: kinds(fresh, "web") == [("yielded", MAC), ("end", MAC)], 5, "the conflict is over")


def test_own_moves_are_no_conflicts(fresh):
    """Ten planned moves, a drain and a crash, with announcements of every owner on the link."""
    address = fresh.vip4(46)
    fresh.add_vip(address, "--name", "web")
    names = [node.name for node in fresh]
    for number in range(10):
        fresh.any().vipctl("vip", "move", "web", "--to", names[number % 3], "--wait")
    owner = fresh.owner("web")
    owner.kill()
    fresh.wait_held("web", but=(owner.name,))
    owner.start()
    fresh.wait_formed()
    fresh.any().vipctl("drain", fresh.owner("web").name, "--wait")
    for name in names:
        fresh.any().vipctl("undrain", name)
    fresh.wait_held("web")
    assert kinds(fresh, "web") == []
    assert not any(warned(fresh, "web")) and not foreign(fresh, "web")
    told = [line for node in fresh for line in node.log_text().splitlines() if f"={address}" in line]
    assert told and not any(word in line for line in told for word in ("defended:", "yielded:", "taken:"))


def test_a_name_in_use_is_still_a_conflict(fresh):
    """The other meaning of the word: exit code 7 is for names and addresses of the cluster itself."""
    fresh.add_vip(fresh.vip4(47), "--name", "web")
    fresh.any().vipctl("vip", "add", fresh.vip4(48), "--name", "web", code=CONFLICT)
