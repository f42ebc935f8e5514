"""Only members speak: what is on the wire, who is refused, and what strangers can do to leases (docs/security.md)."""

import contextlib
import ipaddress
import json
import os
import pathlib
import re
import secrets
import shutil
import subprocess
import sys
import time

import pytest

import witness as witnesses
from cluster import TOP, Cluster, run, wait_until

HERE = pathlib.Path(__file__).parent
NAMES = ["alder-node", "birch-node", "cedar-node"]
VIPS = {"willow-vip": "10.77.201.17", "poplar-vip": "fd77::beef:1234"}


@pytest.fixture(scope="module")
def cluster():
    """The patient timing: on a busy machine a lease of `default` may end without anybody's fault."""
    with Cluster(3, profile="wan", names=NAMES, name="hawthorn-cluster") as cluster:
        yield cluster


@contextlib.contextmanager
def capture(cluster, folder):
    """What the nodes say to each other meanwhile: the payloads, in a file for each port of the bridge."""
    running = [
        subprocess.Popen(
            ["ip", "netns", "exec", cluster.bridge, sys.executable, HERE / "capture.py", f"p-{node.name}", folder / node.name],
            stdout=subprocess.PIPE, text=True,
        )
        for node in cluster
    ]  # fmt: skip
    try:
        for one in running:
            assert one.stdout.readline() == "listening\n"
        yield
    finally:
        for one in running:
            one.terminate()
            one.wait(10)


def memory(node):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{node.pid}/status").read_text())[1])  # KiB


def counter(node, name):
    return node.vipctl("status", "-o", "json")["counters"][name]


def refusals(node, words):
    return [line for line in node.log_text().splitlines() if " refused: " in line and words in line]


def formed(cluster):
    cluster.start().wait_formed(timeout=60)
    for name, address in VIPS.items():
        if cluster.vip(name) is None:
            cluster.any().vipctl("vip", "add", f"{address}/{64 if ':' in address else 16}", "--name", name, "--wait")
    return cluster.wait_held(*VIPS, timeout=30)


def test_nothing_is_said_in_the_clear(cluster, tmp_path, say):
    """From the founding on, through changes, a crash and a restart: no VIP, no name of anything, but what is to be seen."""
    with capture(cluster, tmp_path):
        owner = formed(cluster)[0]
        other = next(node for node in cluster if node is not owner)
        owner.vipctl("vip", "move", "willow-vip", "--to", other.name, "--wait")
        other.kill()
        other.start()
        cluster.wait_formed(timeout=60).wait_held(*VIPS, timeout=30)
        cluster.any().vipctl("drain", other.name, "--wait")
        cluster.any().vipctl("undrain", other.name)
    seen = b"".join((tmp_path / node.name).read_bytes() for node in cluster)
    say(f"{len(seen)} bytes of payload")
    assert seen.count(b"VIPS") > 20 and seen.count(b"\x17\x03\x03") > 20  # the search finds what is there
    secret = [cluster.name, *NAMES, *VIPS, *VIPS.values(), "hawthorn", "willow", "alder", cluster.key.read_text().strip()]
    packed = [ipaddress.ip_address(address).packed for address in VIPS.values()]
    for what in [word.encode() for word in secret] + packed + [bytes.fromhex(cluster.key.read_text())]:
        assert what not in seen, what


@pytest.mark.parametrize("what, words", [("key", "another key"), ("cluster", "another name for the cluster")])
def test_another_key_or_cluster_is_refused_and_both_say_so_once(cluster, what, words):
    formed(cluster)
    node, others = cluster[NAMES[2]], [cluster[name] for name in NAMES[:2]]
    node.terminate()
    before = {other.name: (len(refusals(other, node.ip4)), counter(other, "connections_unproven")) for other in others}
    start = len(node.log_text())
    data, config = node.data, node.config.read_text()
    key = node.folder / "other-key"
    key.touch(mode=0o600)
    key.write_text(secrets.token_hex(32) + "\n")
    changes = {"key-file": key} if what == "key" else {"cluster": "another-cluster"}
    node.write_config(data=node.folder / "other-data", **changes)
    (node.folder / "other-data").mkdir(exist_ok=True)
    try:
        node.start()
        for other in others:  # it tries again and again, and so do they
            wait_until(lambda o=other: counter(o, "connections_unproven") >= before[o.name][1] + 4, 30, "attempts")
            told = refusals(other, node.ip4)[before[other.name][0]:]
            assert len(told) == 1, told
            assert words in told[0] or "does not accept" in told[0]
        text = node.log_text()[start:]
        for other in others:
            told = [line for line in text.splitlines() if " refused: " in line and other.ip4 in line]
            assert len(told) == 1 and (words in told[0] or "does not accept" in told[0]), text
        assert node.vipctl_raw("vip", "list").returncode != 0 or node.rows("vip", "list") == []
    finally:
        node.kill()
        shutil.rmtree(node.folder / "other-data", ignore_errors=True)
        node.config.write_text(config)
        assert node.data == data
        node.start()
        cluster.wait_formed(timeout=60)


DRIBBLE = r"""
import socket, sys, time
kept, end = [], time.monotonic() + 6
for target in sys.argv[1:]:
    for i in range(100):
        s = socket.socket(); s.settimeout(1)
        try: s.connect((target, 7400)); kept.append((s, i % 3))
        except OSError: pass
started, at = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), 0
print(len(kept), flush=True)
while time.monotonic() < end:
    for s, kind in kept:  # some say nothing, some a byte now and then, some what no TLS is
        try: s.send(started[at:at + 1] if kind == 1 else b"GET / HTTP/1.0\r\n\r\n" if kind == 2 else b"")
        except OSError: pass
    at += 1
    time.sleep(0.05)
"""


def test_strangers_stall_no_lease(cluster, say):
    """Datagrams repeated, turned round, changed and made up in the nodes' names, and connections that come to nothing: every
    node's lease is renewed all the time, nothing moves, the memory stays as it is and the log short."""
    formed(cluster)
    before = {node.name: (memory(node), len(node.log_text().splitlines())) for node in cluster}
    rows = {row["name"]: (row["owner"], row["since_ms"]) for row in cluster.any().rows("vip", "list")}
    leader = cluster.leader()
    counters = {node.name: node.vipctl("status", "-o", "json")["counters"] for node in cluster}
    pairs = ",".join(f"{node.name}=p-{node.name}" for node in cluster)
    attack = subprocess.Popen(
        ["ip", "netns", "exec", cluster.bridge, sys.executable, HERE / "attack.py", pairs, "10000"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    dribble = subprocess.Popen(
        ["ip", "netns", "exec", cluster.client, sys.executable, "-c", DRIBBLE, *[node.ip4 for node in cluster]],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    leases = []
    try:
        while attack.poll() is None or dribble.poll() is None:
            for node in cluster:
                leases += [row["lease_ms"] for row in node.rows("node", "list")]
    finally:
        attack.kill()
        dribble.kill()
    sent = json.loads(attack.stdout.read())
    say(f"sent {sent}, {dribble.stdout.readline().strip()} connections; least lease {min(leases)} of {len(leases)} looks")
    assert attack.wait() == 0 and dribble.wait() == 0
    assert len(leases) > 20 and min(leases) > 0
    assert rows == {row["name"]: (row["owner"], row["since_ms"]) for row in cluster.any().rows("vip", "list")}
    assert cluster.leader() is leader
    for node in cluster:
        now = node.vipctl("status", "-o", "json")["counters"]
        more = {name: now[name] - counters[node.name][name] for name in now}
        assert more["datagrams_replayed"] > 100 and more["datagrams_forged"] > 100 and more["datagrams_dropped"] > 100, more
        assert more["connections_late"] + more["connections_crowd"] > 20 and more["connections_malformed"] > 0, more
        grown = memory(node) - before[node.name][0]
        lines = node.log_text().splitlines()[before[node.name][1]:]
        assert grown < 32 * 1024, f"{grown} KiB"
        assert len([line for line in lines if "refused" in line or "dropped" in line]) <= 8, lines


@pytest.fixture(scope="module")
def flood():
    return witnesses.compiled(TOP / "build" / "e2e", HERE / "flood.c")


FLOOD_S = 3


@pytest.mark.parametrize("kind", ["noise", "forged", "replayed"])
def test_a_flood_of_datagrams_costs_no_lease(cluster, flood, say, kind):
    """As many as this machine can send, at the leader, with the addresses of members: what has no session the kernel drops, and
    what copies one's id is opened in vain. Leases are renewed, the memory stays, the log has a line or two."""
    formed(cluster)
    leader = cluster.leader()
    before = {node.name: (memory(node), len(node.log_text())) for node in cluster}
    rows = {row["name"]: (row["owner"], row["since_ms"]) for row in cluster.any().rows("vip", "list")}
    counters = leader.vipctl("status")["counters"]
    full = min(row["lease_ms"] for row in leader.rows("node", "list"))
    command = ["ip", "netns", "exec", cluster.bridge, flood, f"p-{leader.name}", kind, str(FLOOD_S)]
    senders = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(os.cpu_count())]
    leases = []
    try:
        while any(sender.poll() is None for sender in senders):
            for node in cluster:
                leases += [row["lease_ms"] for row in node.rows("node", "list")]
    finally:
        for sender in senders:
            sender.kill()
    sent, rate = (sum(column) for column in zip(*(map(int, sender.stdout.read().split()) for sender in senders)))
    now = leader.vipctl("status")["counters"]
    more = {name: now[name] - counters[name] for name in now if now[name] != counters[name]}
    grown = {node.name: memory(node) - before[node.name][0] for node in cluster}
    say(f"{sent} datagrams, {rate}/s; least lease {min(leases)} ms of {len(leases)} looks, {full} ms without; memory {grown} KiB; "
        f"dropped by the kernel {more.get('datagrams_dropped', 0)}, opened in vain "
        f"{more.get('datagrams_forged', 0) + more.get('datagrams_replayed', 0)}")  # fmt: skip
    assert sent > 10000 and len(leases) > 20 and min(leases) > 0
    assert rows == {row["name"]: (row["owner"], row["since_ms"]) for row in cluster.any().rows("vip", "list")}
    assert cluster.leader() is leader and max(grown.values()) < 8 * 1024
    in_vain = {"noise": "datagrams_dropped", "forged": "datagrams_forged", "replayed": "datagrams_replayed"}[kind]
    assert more[in_vain] > sent // 4, more
    if kind == "noise":
        assert more.get("datagrams_forged", 0) + more.get("datagrams_unsealed", 0) == 0, more  # none got as far as the daemon
    for node in cluster:
        lines = node.log_text()[before[node.name][1]:].splitlines()
        assert len(lines) <= 3 and not any("lease-lost" in line for line in lines), lines


RECORD = r"""
import socket, sys
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); link.bind((sys.argv[1], 0))
mac, seen = bytes.fromhex(sys.argv[2].replace(":", "")), []
while len(seen) < 50:
    frame, where = link.recvfrom(2048)
    if where[2] == socket.PACKET_OUTGOING and frame[6:12] == mac and frame[23] == 17 and frame[36:38] == (7400).to_bytes(2, "big"):
        seen.append(frame[:40] + bytes(2) + frame[42:])
print(len(seen), flush=True)
sys.stdin.readline()
print(sum(link.send(frame) > 0 for _ in range(100) for frame in seen), flush=True)
"""


def test_what_was_recorded_is_worth_nothing_after_a_restart(cluster):
    """The session is over: heartbeats of the run before, once true, reach nobody and renew nothing."""
    formed(cluster)
    target = cluster.leader()
    sender = next(node for node in cluster if node is not target)
    recorder = subprocess.Popen(
        ["ip", "netns", "exec", cluster.bridge, sys.executable, "-c", RECORD, f"p-{target.name}", sender.mac()],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert recorder.stdout.readline() == "50\n"
        sender.restart("kill")
        cluster.wait_formed(timeout=60).wait_held(*VIPS, timeout=60)
        before = target.vipctl("status")["counters"]
        rows = {row["name"]: (row["owner"], row["since_ms"]) for row in cluster.any().rows("vip", "list")}
        recorder.stdin.write("now\n")
        recorder.stdin.flush()
        assert recorder.stdout.readline() == "5000\n"
        wait_until(lambda: counter(target, "datagrams_dropped") >= before["datagrams_dropped"] + 5000, 20, "all dropped")
    finally:
        recorder.kill()
    now = target.vipctl("status")["counters"]
    assert now["datagrams_forged"] == before["datagrams_forged"] and now["datagrams_replayed"] == before["datagrams_replayed"]
    assert rows == {row["name"]: (row["owner"], row["since_ms"]) for row in cluster.any().rows("vip", "list")}


def test_a_member_that_reads_nothing_holds_up_nobody(cluster, say):
    """Half open: its kernel accepts, and the daemon is stopped. The others go on, and what waits for it is bounded."""
    formed(cluster)
    leader = cluster.leader()
    stuck = next(node for node in cluster if node is not leader)
    other = next(node for node in cluster if node not in (leader, stuck))
    addresses = [f"10.99.{number // 250}.{number % 250 + 1}" for number in range(1000)]
    change = lambda: (other.vipctl("vip", "add", "--disabled", "--force", *addresses),  # noqa: E731
                      other.vipctl("vip", "del", *addresses))  # fmt: skip
    change()  # what the table has room for from now on
    before = memory(leader)
    stuck.stop()
    try:
        cluster.wait_held(*VIPS, timeout=60, but=[stuck.name])
        begin = time.monotonic()
        for _ in range(12):
            change()
        took = time.monotonic() - begin
        grown = memory(leader) - before
        say(f"24 changes of 1000 VIPs in {took:.1f} s beside it; the leader's memory {grown:+} KiB")
        assert grown < 72 * 1024  # queue_max of io/peers.h, and what the log keeps
        assert cluster.leader(at=other) is leader
    finally:
        stuck.cont()
    cluster.wait_formed(timeout=60)
    wait_until(lambda: stuck.rows("vip", "list") == leader.rows("vip", "list"), 60, "the same table again")


def test_leases_outlive_connections(cluster):
    """The nodes' TCP is cut off for longer than a lease, and ended: heartbeats go on by the keys that they have."""
    formed(cluster)
    rows = {row["name"]: (row["owner"], row["since_ms"]) for row in cluster.any().rows("vip", "list")}
    reset = "table inet cut {}\ndelete table inet cut\n"
    cut = reset + "table inet cut { chain input { type filter hook input priority 1; tcp dport 7400 drop\ntcp sport 7400 drop\n}\n}\n"
    node = next(n for n in cluster if n is not cluster.leader())
    lost = counter(node, "connections_lost")
    try:
        run("ip", "netns", "exec", node.netns, "nft", "-f", "-", input=cut)
        wait_until(lambda: counter(node, "connections_lost") >= lost + 2, 20, "both connections are lost")
        end, leases = time.monotonic() + 5, []
        while time.monotonic() < end:
            leases.append(next(row["lease_ms"] for row in node.rows("node", "list") if row["name"] == node.name))
    finally:
        run("ip", "netns", "exec", node.netns, "nft", "-f", "-", input=reset)
    assert min(leases) > 0
    cluster.wait_formed(timeout=60)
    assert rows == {row["name"]: (row["owner"], row["since_ms"]) for row in cluster.any().rows("vip", "list")}


def test_restarts_with_loss(cluster):
    """One packet of ten is lost, while every node is restarted, and then all at once."""
    formed(cluster)
    try:
        cluster.lose(10)
        for node in cluster:
            node.restart("kill")
            cluster.wait_formed(timeout=90)
        for node in cluster:
            node.kill()
        cluster.start().wait_formed(timeout=90)
        cluster.wait_held(*VIPS, timeout=60)
    finally:
        cluster.heal()
