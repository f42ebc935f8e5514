"""Nodes of this version beside nodes of the next one: in every role, while a cluster is upgraded, and never again back.

The next version is this one, built to pretend it (docs/decisions/0027): its heartbeats and snapshots have one value more, and it
knows one command more, `vipctl mark`, which came with format 2."""

import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import time

import pytest

from cluster import CALM, DONE, FAILED, TOP, USAGE, VIPD, Cluster, run, wait_until

BUILD_S = 280


class Next:
    """The programs of the next version."""

    def __init__(self, folder):
        self.vipd, self.vipctl = folder / "vipd", folder / "vipctl"
        self.version = run(self.vipd, "--version").stdout.split()[1]

    def mark(self, node, text):
        return run(self.vipctl, "-s", node.control, "mark", text, "--timeout", "60s", check=False)

    def marked(self, node):
        return json.loads(run(self.vipctl, "-s", node.control, "version", "-o", "json").stdout).get("mark")


@pytest.fixture(scope="module")
def newer():
    """Built where a test needs it; VIPD_NEXT_BIN names a build directory that has it already."""
    given = os.environ.get("VIPD_NEXT_BIN")
    if not given:
        for command in (["cmake", "--preset", "next"], ["cmake", "--build", "--preset", "next"]):
            done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=BUILD_S)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return Next(pathlib.Path(given) if given else TOP / "build" / "next")


def formats(node):
    told = node.vipctl("version")
    return told["format"], {row["name"]: row["reads"] for row in told["nodes"]}


def lead(cluster, name):
    if cluster.leader().name != name:
        cluster.any().vipctl("leader", "transfer", name, "--wait")
    wait_until(lambda: cluster.leader().name == name, 20, f"{name} leads")
    cluster.wait_formed()


def end_of(node):
    assert node.process.wait(60) == 1
    return node.log_text()[node.log_text().rindex("--- start"):]


def replace(node, vipd):
    """As `systemctl restart vipd` does once another vipd is installed."""
    node.signal(signal.SIGUSR2)
    assert node.process.wait(60) == 0
    node.start(vipd=vipd)


def test_two_versions_in_every_role(newer, say):
    with Cluster(3, profile=CALM) as cluster:
        old, third, new = cluster["a"], cluster["b"], cluster["c"]
        old.start()
        third.start()
        new.start(vipd=newer.vipd)
        cluster.wait_formed()
        vip = cluster.vip4(0)
        cluster.add_vip(vip)
        wait_until(lambda: formats(old) == (1, {"a": "1", "b": "1", "c": "1 to 2"}), 20, "all have said what they read")
        for number, leader in enumerate((old, third, new), 1):
            lead(cluster, leader.name)
            more = cluster.vip4(number)
            for at, node in enumerate(cluster):  # whoever is asked, whoever leads, wherever it goes to
                node.vipctl("vip", "add", more, "--wait")
                node.vipctl("vip", "move", vip.split("/")[0], "--to", "abc"[(at + number) % 3], "--wait")
                node.vipctl("vip", "del", more.split("/")[0], "--wait")
            for node in cluster:
                done = newer.mark(node, "too early")
                ignorant = node if node is not new else leader
                if ignorant is not new:
                    assert done.returncode == USAGE and f"node {ignorant.name} (vipd 0.1.0) does not know" in done.stderr, done
                else:
                    assert done.returncode == FAILED, done
                    assert "needs format 2, and node a (vipd 0.1.0) reads 1 at most: upgrade it first" in done.stderr, done
                assert done.returncode != DONE
            leases = [row["lease_ms"] for node in cluster for row in node.rows("node", "list")]
            assert min(leases) > 0
            counters = [node.vipctl("status")["counters"] for node in cluster]
            assert sum(c["datagrams_other_version"] + c["datagrams_malformed"] for c in counters) == 0
        warned = old.vipctl("status")["warnings"]
        assert f"different versions: 0.1.0 on a, b; {newer.version} on c (vipctl version)" in warned
        bad = [row for row in old.vipctl("doctor", code=FAILED)["rows"] if not row["ok"]]
        assert [row["check"] for row in bad] == ["versions"] and newer.version in bad[0]["text"], bad
        text = old.vipctl_raw("version").stdout
        assert "reads format 1\n" in text and "the cluster uses format 1\n" in text and f"{newer.version} on c" in text
        say(text.strip().replace("\n", " | "))
        shown = old.vipctl_raw("node", "list").stdout.splitlines()
        assert shown[0].split()[-1] == "VERSION" and [line.split()[-1] for line in shown[1:]] == ["0.1.0", "0.1.0", newer.version]
        replace(new, VIPD)  # nothing has gone over yet: back is as good as forth
        cluster.wait_formed()
        wait_until(lambda: formats(old) == (1, {"a": "1", "b": "1", "c": "1"}), 30, "all of one version again")
        assert "VERSION" not in old.vipctl_raw("node", "list").stdout


def test_a_snapshot_of_a_newer_leader(newer):
    """An old node that was away while a new leader compacted the log: the snapshot is in the format that it reads."""
    with Cluster(3, profile=CALM) as cluster:
        for node in cluster:
            node.start(vipd=newer.vipd if node.name != "c" else VIPD)
        cluster.wait_formed()
        vip = cluster.vip4(0)
        cluster.add_vip(vip)
        lead(cluster, "a")
        away = cluster["c"]
        away.kill()
        leader = cluster["a"]
        applied = column(away, "SELECT max(idx) FROM log")
        addresses = [f"10.99.{number // 250}.{number % 250 + 1}" for number in range(1000)]
        while column(leader, "SELECT min(idx) FROM log") <= applied + 1:
            leader.vipctl("vip", "add", "--disabled", "--force", *addresses)
            leader.vipctl("vip", "del", *addresses)
        away.start()
        cluster.wait_formed().wait_held(vip)
        assert column(away, "SELECT idx FROM snapshot") > applied
        assert [row["name"] for row in away.rows("vip", "list")] == [vip.split("/")[0]]
        assert formats(away)[0] == 1


def column(node, sql):
    with sqlite3.connect(f"file:{node.data}/vipd.db?mode=ro", uri=True) as database:
        return database.execute(sql).fetchone()[0]


def test_a_rolling_upgrade_and_no_way_back(newer, say):
    """Nothing moves, no ping is lost but of the node that is restarted; then the new command works, and an old vipd refuses."""
    with Cluster(4, profile="wan", founders=3) as cluster:
        cluster.start("a", "b", "c").wait_formed()
        vips = [cluster.vip4(number) for number in range(3)]
        for vip in vips:
            cluster.add_vip(vip)
        wait_until(lambda: len({node.name for node in cluster.wait_held(*vips)}) == 3, 30, "one VIP a node")
        owners = cluster.wait_held(*vips)
        moved = [cluster.vip(vip)["since_ms"] for vip in vips]
        losses = []
        with cluster.witness(*vips, period_ms=10, ping_ms=10) as witness:
            for vip in vips:
                wait_until(lambda v=vip: witness.answering(v), 10, "answers")
            for node in [*(n for n in cluster.founders if n is not cluster.leader()), cluster.leader()]:
                assert newer.mark(node, "too early").returncode != DONE
                begin = time.monotonic_ns()
                replace(node, newer.vipd)
                cluster.wait_formed()
                assert cluster.wait_held(*vips) == owners
                losses.append((node, [(owner, witness.of(vip).lost_pings(begin)) for vip, owner in zip(vips, owners)]))
            witness.assert_single()
        assert [cluster.vip(vip)["since_ms"] for vip in vips] == moved
        wait_until(lambda: formats(cluster["a"])[0] == 2, 30, "the cluster has gone over")
        for node in cluster.founders:
            assert newer.mark(node, f"by {node.name}").returncode == DONE
            wait_until(lambda n=node: {newer.marked(other) for other in cluster.founders} == {f"by {n.name}"}, 10, "marked on all")
        assert "different versions" not in json.dumps(cluster["a"].vipctl("status")["warnings"])
        assert [row["subject"] for row in cluster["a"].rows("history") if row["kind"] == "format"] == ["2"]
        say("pings lost of each node's VIP while one was restarted: " + "; ".join(f"{n.name}: " + " ".join(f"{o.name} {lost}" for o, lost in pings) for n, pings in losses))
        for restarted, pings in losses:
            assert all(lost == 0 for owner, lost in pings if owner is not restarted), losses

        back = cluster["b"]
        replace(back, VIPD)
        said = end_of(back)
        assert "a format that this version does not read" in said and "version=0.1.0 format=2 reads=1..1" in said, said
        assert "install the version that the other nodes run" in said
        cluster.wait_held(*vips, timeout=60)
        back.start(vipd=newer.vipd)
        cluster.wait_formed()
        assert newer.marked(back) == "by c"

        late = cluster["d"]  # nor does one join that is too old; that keeps nobody back, and is told what to install
        cluster["a"].vipctl("node", "add", "d", late.endpoint)
        late.extra["join"] = json.dumps([node.endpoint for node in cluster.founders])
        late.write_config()
        late.start()
        said = end_of(late)
        assert "version=0.1.0 format=2 reads=1..1" in said and "install the version that the other nodes run" in said, said
        late.start(vipd=newer.vipd)
        wait_until(lambda: {row["name"]: row["status"] for row in cluster["a"].rows("node", "list")}["d"] == "up", 60, "it is up")


def test_an_entry_that_is_too_new_stops_the_node(newer):
    """It cannot come about, but if it did: an only voter, which nobody tells, with a log that an older vipd does not read. It applies
    nothing from there on, holds nothing, says why, and leaves the log as it is."""
    with Cluster(1, profile=CALM) as cluster:
        node = cluster["a"]
        node.start(vipd=newer.vipd)
        cluster.wait_formed()
        vip = cluster.vip4(0)
        cluster.add_vip(vip)
        wait_until(lambda: formats(node)[0] == 2, 30, "it has gone over, alone")
        assert newer.mark(node, "kept").returncode == DONE
        node.kill()  # its VIP is left behind, as by a crash
        refused = node.start() and end_of(node)
        assert "format=2 reads=1..1" in refused and "ready" not in refused, refused  # the directory says it at once
        with sqlite3.connect(node.data / "vipd.db") as database:
            assert database.execute("DELETE FROM meta WHERE key = 'format'").rowcount == 1
        entries = column(node, "SELECT max(idx) FROM log")
        node.start()
        said = end_of(node)
        assert "format=2 reads=1..1" in said and "this node leads" in said, said
        assert not node.has(vip)
        node.start(vipd=newer.vipd)
        cluster.wait_formed()
        cluster.wait_held(vip)
        assert newer.marked(node) == "kept" and column(node, "SELECT max(idx) FROM log") > entries
