"""The cluster's key changes while the cluster runs, and nobody notices (docs/security.md)."""

import re
import secrets
import shutil
import signal

import pytest

from cluster import FAILED, UNSAFE, USAGE, Cluster, wait_until


@pytest.fixture(scope="module")
def cluster():
    """Each node has a key file of its own, as on machines of their own."""
    with Cluster(3, profile="wan") as cluster:
        for node in cluster:
            node.extra["key-file"] = node.folder / "cluster.key"
            give(node, cluster.key.read_text())
        cluster.start().wait_formed(timeout=60)
        cluster.add_vip(cluster.vip4(0))
        cluster.add_vip(cluster.vip4(1))
        yield cluster


def give(node, text):
    """As a careful copy does: the whole file at once."""
    path = node.folder / "cluster.key"
    new = path.with_name("cluster.key.new")
    new.touch(mode=0o600)
    new.write_text(text)
    if path.exists():
        shutil.copymode(path, new)
    new.rename(path)


def keys(node):
    return {row["name"]: row for row in node.vipctl("key", "list")}


def new_key():
    return secrets.token_hex(32) + "\n"


def test_the_key_is_changed_under_ping(cluster, say):
    """Appended to every file, rotated, and the old one taken out: every connection is of the new one, no VIP moves, no lease
    ends, no ping is lost for long; then the old key opens nothing."""
    vips = [cluster.vip4(0), cluster.vip4(1)]
    owners = cluster.wait_held(*vips, timeout=30)
    rows = {row["name"]: (row["owner"], row["since_ms"]) for row in cluster.any().rows("vip", "list")}
    old, new = cluster["a"].folder.joinpath("cluster.key").read_text(), new_key()
    before = keys(cluster["a"])
    old_id = before["a"]["keys"][0]
    assert all(row["keys"] == [old_id] == row["file"] and row["connections"] == 2 for row in before.values())
    with cluster.witness(*vips) as witness:
        for vip in vips:
            wait_until(lambda v=vip: witness.answering(v), 10, "answers")
        for node in cluster:
            give(node, old + new)
        dry = cluster["b"].vipctl("key", "rotate", "--dry-run")
        assert all(row["keys"] == [old_id] and len(row["file"]) == 2 for row in dry)
        new_id = dry[0]["file"][1]
        leases = []
        done = cluster["b"].vipctl("key", "rotate")
        assert all(row["keys"] == [new_id] and row["connections_other_key"] == 0 and row["connections"] == 2 for row in done), done
        for node in cluster:
            leases += [row["lease_ms"] for row in node.rows("node", "list")]
        witness.flush()
        outage = max(witness.of(vip).outage_ms() for vip in vips)
        witness.assert_single()
    say(f"longest time without an answer {outage} ms")
    assert min(leases) > 0
    assert cluster.wait_held(*vips) == owners
    assert rows == {row["name"]: (row["owner"], row["since_ms"]) for row in cluster.any().rows("vip", "list")}
    for node in cluster:
        assert not re.search("lease-lost|fence:", node.log_text()), node.log_text()
        for kept in [node.log, *(path for path in node.data.rglob("*") if path.is_file())]:
            for key in (old, new):  # it is in its file and nowhere else
                assert key.strip().encode() not in kept.read_bytes() and bytes.fromhex(key) not in kept.read_bytes(), kept
    again = cluster["c"].vipctl_raw("key", "rotate")  # nothing is left to do but this
    assert again.returncode == 0 and "take the other key out of key-file on a, b, c" in again.stdout, again
    for node in cluster:
        give(node, new)
        node.signal(signal.SIGHUP)
    assert "as before" in cluster["c"].vipctl_raw("key", "rotate").stdout
    cluster["b"].restart()  # a node that starts has the new one alone
    cluster.wait_formed(timeout=60)

    node = cluster["c"]
    node.terminate()
    give(node, old)
    node.start()
    wait_until(lambda: " refused: " in node.log_text().split("--- start")[-1], 20, "a refusal")
    node.kill()
    give(node, new)
    node.start()
    cluster.wait_formed(timeout=60)


def test_nobody_is_cut_off_by_a_change(cluster):
    """A node without the new key, one that is down, and what is no key: refused before anything changes, with the node's name."""
    old, new = cluster["a"].folder.joinpath("cluster.key").read_text(), new_key()
    used = keys(cluster["a"])["a"]["keys"]
    give(cluster["a"], old + new)
    give(cluster["b"], old + new)
    done = cluster["a"].vipctl_raw("key", "rotate")
    assert done.returncode == UNSAFE and "node c does not have key" in done.stderr, done
    give(cluster["c"], "no key\n")
    done = cluster["a"].vipctl_raw("key", "rotate")
    assert done.returncode == FAILED and "node c" in done.stderr and "does not hold a key" in done.stderr, done
    give(cluster["c"], old + new)
    assert all(row["keys"] == used for row in keys(cluster["b"]).values())
    assert cluster["a"].vipctl_raw("key", "rotate", "xyz").returncode in (USAGE, UNSAFE)

    cluster["c"].terminate()
    done = cluster["a"].vipctl_raw("key", "rotate")
    assert done.returncode == UNSAFE and "node c cannot be asked" in done.stderr and "--force" in done.stderr, done
    cluster["a"].vipctl("key", "rotate", "--force")
    assert keys(cluster["a"])["b"]["keys"] == keys(cluster["a"])["a"]["keys"] != used
    cluster["c"].start()  # it offers the old key, which is refused, and is offered the new one, which it accepts
    cluster.wait_formed(timeout=60)
    cluster["c"].vipctl("key", "rotate")
    assert len({tuple(row["keys"]) for row in keys(cluster["b"]).values()}) == 1
    for node in cluster:
        give(node, new)
        node.signal(signal.SIGHUP)


def test_a_bad_file_changes_nothing(cluster):
    """SIGHUP with a file that others can read, or that holds no key: the keys stay, and the log says why."""
    node = cluster["a"]
    path, before = node.folder / "cluster.key", keys(node)["a"]["keys"]
    text = path.read_text()
    for mode, content, words in ((0o644, text, "others can read it"), (0o600, "x", "does not hold a key")):
        path.chmod(mode)
        path.write_text(content)
        node.signal(signal.SIGHUP)
        wait_until(lambda w=words: w in node.log_text(), 10, words)
        assert keys(node)["a"]["keys"] == before
        path.chmod(0o600)
        path.write_text(text)
    assert cluster.wait_formed(timeout=60)
