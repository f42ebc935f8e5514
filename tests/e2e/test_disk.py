"""A disk that hangs: writes that neither return nor fail (docs/decisions/0029)."""

import pytest

from cluster import CALM, Cluster, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster():
    """Each node on a file system of its own."""
    with Cluster(3) as made:
        for node in made:
            if made.own_disk(node) is None:
                pytest.skip("this host has no loop devices to make a file system on")
        yield made.start().wait_formed()


def test_a_leader_whose_disk_hangs_is_replaced(cluster, say):
    """Everybody hears it, and nothing can be committed: without a new leader no change and no failover would ever work."""
    vips = [cluster.vip4(number) for number in range(3)]
    for vip in vips:
        cluster.add_vip(vip)
    old = cluster.leader()
    others = [node for node in cluster if node is not old]
    mine = next((vip for vip in vips if cluster.owner(vip) is old), None)
    if mine is None:
        mine = vips[0]
        others[0].vipctl("vip", "move", mine.split("/")[0], "--to", old.name, "--wait")
    with cluster.witness(*vips) as witness:
        cluster.freeze(old.data)
        others[0].vipctl("vip", "add", cluster.vip4(9), "--wait", "--timeout", "60s")  # a write for the disk to hang in
        leader = wait_until(lambda: next((n for n in [cluster.leader(at=others[0])] if n is not old), None), 20, "another leads")
        say(f"{old.name} led, {leader.name} leads")
        assert any("disk has not answered" in warning for warning in others[0].vipctl("status")["warnings"])
        assert old.vipctl_raw("doctor").returncode == 1
        # after ten seconds what it has goes elsewhere
        new = cluster.wait_held(*vips, but=[old.name], timeout=60)
        say(f"{mine} went from {old.name} to {new[vips.index(mine)].name}")
        wait_until(lambda: not old.has(mine), 10, "its address is gone")
        cluster.thaw(old.data)
        cluster.wait_formed()
        wait_until(lambda: not others[0].vipctl("status")["warnings"], 20, "nothing to warn of")
        witness.assert_single()


def test_a_disk_that_hangs_costs_no_vip_its_only_place():
    """A VIP that nobody else may have stays, and so does what is with it."""
    with Cluster(3, profile=CALM) as made:
        node = made["c"]
        if made.own_disk(node) is None:
            pytest.skip("this host has no loop devices to make a file system on")
        made.start().wait_formed()
        vip = made.vip4(0)
        made.add_vip(vip, "--nodes", node.name)
        if made.leader() is node:
            made["a"].vipctl("leader", "transfer", "a")
        with made.witness(vip) as witness:
            made.freeze(node.data)
            made["a"].vipctl("vip", "add", made.vip4(1), "--nodes", "a,b", "--wait")
            dead_s = 12  # 4 promises of this profile
            late = wait_until(lambda: [w for w in made["a"].vipctl("status")["warnings"] if "disk has not answered" in w
                                       and float(w.split()[-2]) > dead_s + 2], 60, "it is dead")
            assert late[0].startswith(f"node {node.name}")
            assert made.owner(vip, at=made["a"]) is node and node.has(vip)
            made.thaw(node.data)
            wait_until(lambda: not made["a"].vipctl("status")["warnings"], 20, "nothing to warn of")
            witness.assert_single()
