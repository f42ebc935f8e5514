"""A node that was away while the log was compacted gets the table as a snapshot; what a dead daemon left can be cleaned."""

import sqlite3

from cluster import BIN, CALM, Cluster, wait_until

BATCH = 1000
LOG_BYTES = 9 << 20  # above the size after which a snapshot is taken (docs/limits.md)


def column(node, sql):
    with sqlite3.connect(f"file:{node.data}/vipd.db?mode=ro", uri=True) as database:
        return database.execute(sql).fetchone()[0]


def test_a_node_far_behind_gets_a_snapshot():
    with Cluster(3, profile=CALM) as cluster:
        cluster.start().wait_formed()
        vip = cluster.vip4(0)
        cluster.add_vip(vip)
        leader = cluster.leader()
        away, other = [node for node in cluster if node is not leader]
        away.kill()
        wait_until(lambda: cluster.owner(vip, at=other) not in (None, away), 15, "a life without it")
        applied = column(away, "SELECT max(idx) FROM log")
        addresses = [f"10.99.{number // 250}.{number % 250 + 1}" for number in range(BATCH)]
        written = 0
        while written < LOG_BYTES:
            other.vipctl("vip", "add", "--disabled", "--force", *addresses)
            other.vipctl("vip", "del", *addresses)
            written += column(leader, "SELECT coalesce(sum(length(data)), 0) FROM (SELECT data FROM log ORDER BY idx DESC LIMIT 3)")
        wait_until(lambda: column(leader, "SELECT min(idx) FROM log") > applied + 1, 10, "the log to be compacted")
        away.start()
        cluster.wait_formed().wait_held(vip)
        assert column(away, "SELECT idx FROM snapshot") > applied
        assert [row["name"] for row in away.rows("vip", "list")] == [vip.split("/")[0]]


def test_what_a_dead_daemon_left_is_cleaned():
    with Cluster(3) as cluster:
        cluster.start().wait_formed()
        vip = cluster.vip4(0)
        cluster.add_vip(vip)
        owner = cluster.wait_held(vip)[0]
        busy = owner.exec(BIN / "vipd", "--clean", check=False)
        assert busy.returncode == 1 and "a daemon runs" in busy.stderr
        owner.kill()
        assert owner.has(vip) and "vipd_in" in owner.exec("tc", "filter", "show", "dev", "eth0", "ingress").stdout
        done = owner.exec(BIN / "vipd", "--clean")
        assert vip.split("/")[0] in done.stdout
        assert not owner.has(vip)
        assert "vipd" not in owner.exec("tc", "filter", "show", "dev", "eth0", "ingress").stdout
