"""What users touch, on a cluster in good health: forming, VIPs, the JSON contract, exit codes, history."""

import json
import pathlib

import pytest

from cluster import CALM, CONFLICT, DONE, NOT_FOUND, USAGE, VIPCTL, VIPD, Cluster, run, wait_until

VIP_KEYS = {"name", "address", "dev", "owner", "state", "since_ms", "reason"}
NODE_KEYS = {"id", "name", "address", "role", "status", "leader", "lease_ms", "vips"}


@pytest.fixture(scope="module")
def cluster():
    with Cluster(3, profile=CALM) as cluster:
        cluster.start().wait_formed()
        yield cluster


@pytest.fixture
def fresh(cluster):
    """The cluster without a VIP, and a witness; nobody held anything twice."""
    for row in cluster.any().rows("vip", "list"):
        cluster.any().vipctl("vip", "del", row["name"], "--wait")
    with cluster.witness() as witness:
        cluster.eye = witness
        yield cluster
        witness.assert_single()


def test_the_nodes_agree(cluster):
    leaders = set()
    for node in cluster:
        rows = node.rows("node", "list")
        assert [row["name"] for row in rows] == ["a", "b", "c"]
        assert all(NODE_KEYS <= set(row) for row in rows)
        assert {row["role"] for row in rows} == {"voter"} and {row["status"] for row in rows} == {"up"}
        assert all(row["lease_ms"] > 0 for row in rows)
        leaders |= {row["name"] for row in rows if row["leader"]}
    assert len(leaders) == 1
    assert cluster["a"].vipctl("leader") is not None


@pytest.mark.parametrize("which", ["vip4", "vip6"])
def test_a_vip_lives_and_ends(fresh, which):
    address = getattr(fresh, which)(1)
    bare = address.split("/")[0]
    fresh.eye.watch(address)
    fresh["a"].vipctl("vip", "add", address, "--name", "web", "--wait")
    # --wait means that it is real: no polling here.
    holders = [node.name for node in fresh if node.has(bare)]
    assert len(holders) == 1
    for node in fresh:
        (row,) = node.rows("vip", "list")
        assert VIP_KEYS <= set(row)
        assert (row["name"], row["state"], row["owner"]) == ("web", "held", holders[0])
        assert row["address"].split("/")[0] == bare and row["dev"] in ("eth0", None, "") and row["reason"] == "new"
    wait_until(lambda: fresh.eye.answering(bare) == holders, 5, "the owner answers")
    wait_until(lambda: any(node == holders[0] for _, node in fresh.eye.of(bare).announces), 5, "it announced itself")
    fresh["b"].vipctl("vip", "show", "web")
    fresh["c"].vipctl("vip", "show", bare)
    fresh["b"].vipctl("vip", "disable", "web", "--wait")
    assert not any(node.has(bare) for node in fresh)
    assert fresh.vip("web")["state"] == "disabled"
    fresh["c"].vipctl("vip", "enable", bare, "--wait")
    assert sum(node.has(bare) for node in fresh) == 1
    fresh["a"].vipctl("vip", "del", "web", "--wait")
    assert not any(node.has(bare) for node in fresh)
    assert fresh["b"].rows("vip", "list") == []


def test_moves(fresh, say):
    """To each node by name, then to wherever the cluster likes; the target is ready before the source lets go."""
    address = fresh.vip4(1)
    fresh.eye.watch(address)
    owner = fresh.add_vip(address, "--name", "web")
    wait_until(lambda: fresh.eye.answering(address) and fresh.eye.of(address).pings, 5, "answers")
    for target in [node for node in fresh if node is not owner] + [owner]:
        target.vipctl("vip", "move", "web", "--to", target.name, "--wait")
        assert target.has(address)
        assert [node.name for node in fresh if node.has(address)] == [target.name]
        assert fresh.vip("web")["reason"] == "manual"
        wait_until(lambda t=target: fresh.eye.answering(address, within_ms=50) == [t.name], 5, f"{target.name} answers")
    fresh["a"].vipctl("vip", "move", "web", "--wait")
    assert not owner.has(address)
    fresh.eye.assert_never_on_two()
    say(f"longest outage of four moves {fresh.eye.of(address).ping_outage_ms():.0f} ms")


def test_any_node_serves(fresh):
    """A change at a follower is passed on to the leader, and what it answers is seen at the next node."""
    for number, node in enumerate(fresh):
        node.vipctl("vip", "add", fresh.vip4(10 + number), "--name", f"v{number}", "--wait")
        for other in fresh:
            wait_until(lambda o=other: f"v{number}" in {row["name"] for row in o.rows("vip", "list")}, 5, "everywhere")


def test_they_are_spread(fresh):
    for number in range(7):
        fresh.any().vipctl("vip", "add", fresh.vip4(number), "--wait")
    counts = [sum(row["owner"] == node.name for row in fresh.any().rows("vip", "list")) for node in fresh]
    assert sum(counts) == 7 and max(counts) - min(counts) <= 1
    assert counts == [len({r["address"].split("/")[0] for r in fresh.any().rows("vip", "list")} & n.addresses()) for n in fresh]


def test_only_on_the_nodes_that_may(fresh):
    fresh["a"].vipctl("vip", "add", fresh.vip4(1), "--name", "db", "--nodes", "b,c", "--wait")
    assert fresh.owner("db").name in ("b", "c")
    fresh["a"].vipctl("vip", "add", fresh.vip4(2), "--name", "one", "--nodes", "c", "--wait")
    assert fresh.owner("one").name == "c"


def test_exit_codes(fresh):
    node = fresh["a"]
    node.vipctl("vip", "add", fresh.vip4(1), "--name", "web", "--wait")
    for args, code in [
        (("vip", "show", "nosuch"), NOT_FOUND),
        (("vip", "move", "nosuch"), NOT_FOUND),
        (("vip", "move", "web", "--to", "nosuch"), NOT_FOUND),
        (("vip", "del", "nosuch"), NOT_FOUND),
        (("drain", "nosuch"), NOT_FOUND),
        (("vip", "add", fresh.vip4(1), "--name", "again"), CONFLICT),
        (("vip", "add", fresh.vip4(2), "--name", "web"), CONFLICT),
        (("vip", "add", "10.77.1.300/16"), USAGE),
        (("vip", "add"), USAGE),
        (("vip", "frobnicate"), USAGE),
        (("frobnicate",), USAGE),
        (("vip", "list", "--frobnicate"), USAGE),
        (("version",), DONE),
        (("status",), DONE),
    ]:
        done = node.vipctl_raw(*args)
        assert done.returncode == code, (args, done)
        if code != DONE:
            assert done.stderr.strip() and not done.stdout.strip(), (args, done)
    assert "web" in node.vipctl_raw("vip", "show", "wbe").stderr  # a near name


def test_without_a_daemon(tmp_path):
    done = run(VIPCTL, "-s", tmp_path / "nobody", "status", check=False)
    assert done.returncode == 1 and "nobody" in done.stderr


def test_the_commands_are_shown():
    bare = run(VIPCTL, check=False)
    text = bare.stdout + bare.stderr
    for word in ("status", "vip", "node", "drain", "undrain", "leader", "history", "version"):
        assert word in text
    assert run(VIPCTL, "vip", "add", "--help").stdout
    assert run(VIPD, "--help").stdout


def test_table_and_json_say_the_same(fresh):
    fresh.add_vip(fresh.vip4(1), "--name", "web")
    table = fresh["b"].vipctl_raw("vip", "list").stdout
    (row,) = fresh["b"].rows("vip", "list")
    assert row["name"] in table and row["owner"] in table and row["address"].split("/")[0] in table
    names = fresh["b"].vipctl_raw("node", "list", "-o", "table").stdout
    assert all(f"{node.ip4}:7400" in names for node in fresh)
    json.loads(fresh["b"].vipctl_raw("status", "-o", "json").stdout)


def test_history_tells_the_reasons(fresh):
    owner = fresh.add_vip(fresh.vip4(1), "--name", "tale")
    target = next(node for node in fresh if node is not owner)
    fresh["a"].vipctl("vip", "move", "tale", "--to", target.name, "--wait")
    for node in fresh:
        text = json.dumps(node.vipctl("history"))
        assert "tale" in text and "manual" in text and "new" in text


def test_the_leadership_is_transferred(fresh):
    before = fresh.leader()
    target = next(node for node in fresh if node is not before)
    term = before.log_text().count("leader:")
    assert fresh.any().vipctl("leader", "transfer", target.name, "--dry-run")["changed"] is False
    assert fresh.leader() is before and before.log_text().count("leader:") == term
    fresh.any().vipctl("leader", "transfer", target.name)
    wait_until(lambda: fresh.leader() is target, 10, f"{target.name} leads")


def test_check_validates_and_exits(cluster, tmp_path):
    good = tmp_path / "vipd.yaml"
    good.write_text(cluster["a"].config_text())
    assert run(VIPD, "--check", "-c", good, check=False).returncode == 0
    assert not (tmp_path / "data").exists()


def test_keygen(tmp_path):
    """The key works as it comes, and only its owner may read it."""
    key = tmp_path / "key"
    run(VIPCTL, "keygen", key)
    assert pathlib.Path(key).stat().st_mode & 0o777 == 0o600
    again = run(VIPCTL, "keygen", key, check=False)
    assert again.returncode != 0  # an existing key is not overwritten


def test_two_clusters_on_one_link_of_names():
    """A single node founds a cluster of its own, and every address lies where it should."""
    with Cluster(1, profile=CALM) as alone:
        alone.start().wait_formed()
        address = alone.vip4(0)
        with alone.witness(address) as witness:
            assert alone.add_vip(address).name == "a"
            wait_until(lambda: witness.answering(address) == ["a"], 5, "it answers")
            witness.assert_single()


def test_before_the_founding_it_says_whom_it_waits_for():
    with Cluster(3) as cluster:
        cluster.start("a")
        wait_until(lambda: cluster["a"].vipctl_raw("status").returncode == 0, 10, "the first one answers")
        status = cluster["a"].vipctl("status")
        assert status["cluster"] == cluster.name and not status["quorum"] and status["nodes"] == []
        assert any("2 of its 3 voters" in text and text.endswith("waits for b, c") for text in status["warnings"])
        cluster.start("b")
        wait_until(lambda: cluster["a"].vipctl("status")["quorum"], 20, "two of three are enough")
        assert not any("founded" in text for text in cluster["a"].vipctl("status")["warnings"])
        cluster.start().wait_formed()
