"""A daemon that comes back within its lease keeps its VIPs: nobody else moves, and hardly a ping is lost."""

import signal

import pytest

from cluster import Cluster, wait_until


@pytest.fixture(scope="module")
def cluster():
    # time enough for a start on a busy machine: what is tested is that nobody moves within it
    with Cluster(3, profile="wan") as cluster:
        cluster.start().wait_formed()
        for number in range(3):
            cluster.add_vip(cluster.vip4(number))
        yield cluster


def spread(cluster):
    vips = [cluster.vip4(number) for number in range(3)]
    wait_until(lambda: len({node.name for node in cluster.wait_held(*vips)}) == 3, 20, "one VIP a node")
    return vips


def moves(cluster, vip):
    return cluster.any().vipctl("vip", "show", vip.split("/")[0])["since_ms"]


def restart(node):
    """As `systemctl restart vipd` does with the unit's RestartKillSignal."""
    node.signal(signal.SIGUSR2)
    assert node.process.wait(20) == 0
    node.start()


def test_a_rolling_restart_moves_nothing(cluster, say):
    vips = spread(cluster)
    before = [moves(cluster, vip) for vip in vips]
    owners = cluster.wait_held(*vips)
    with cluster.witness(*vips) as witness:
        for vip in vips:
            wait_until(lambda v=vip: witness.answering(v), 5, "answers")
        for node in list(cluster):
            restart(node)
            cluster.wait_formed()
            cluster.wait_held(*vips)
        outages = [witness.of(vip).ping_outage_ms() for vip in vips]
        say(f"longest outages {[round(outage) for outage in outages]} ms")
        witness.assert_single()
        assert max(outages) < 1000  # a failover would have taken `suspect`, two seconds
    assert cluster.wait_held(*vips) == owners
    assert [moves(cluster, vip) for vip in vips] == before
    for node in cluster:
        log = node.log_text()
        assert "removed a VIP" not in log and "left behind its fence" in log


def kill_all(cluster):
    for node in cluster:
        node.kill()


def test_a_start_of_the_whole_cluster_moves_nothing(cluster, say):
    """All daemons die at once and are started again: every VIP is where it was, without a move."""
    vips = spread(cluster)
    owners = cluster.wait_held(*vips)
    before = [moves(cluster, vip) for vip in vips]
    kill_all(cluster)
    cluster.start()
    cluster.wait_formed()
    assert cluster.wait_held(*vips, timeout=30) == owners
    assert [moves(cluster, vip) for vip in vips] == before


def test_a_node_that_starts_late_gets_back_what_it_had(cluster):
    """Machines do not boot at the same time. What the last one had goes to others once it is missed, and back when it comes."""
    vips = spread(cluster)
    owners = cluster.wait_held(*vips)
    late = [node for node in cluster if node.has(vips[2])][0]
    name = vips[2].split("/")[0]
    others = [node for node in cluster if node is not late]
    kill_all(cluster)
    for node in others:
        node.start()
    wait_until(lambda: (cluster.vip(name, at=others[0]) or {}).get("owner") in {node.name for node in others}, 60, "taken over")
    late.start()
    cluster.wait_formed()
    wait_until(lambda: late.has(vips[2]), 60, "back where it was")
    assert cluster.wait_held(*vips) == owners
    assert cluster.any().vipctl("vip", "show", name)["reason"] == "return"


def test_a_leader_that_dies_soon_after_the_start_gets_nothing_back(cluster):
    """The next one leads a cluster that is young, too, but did not just start: failback is `never` where nothing else is said. Only
    what evens it out moves again."""
    vips = spread(cluster)
    cluster.wait_held(*vips)
    kill_all(cluster)
    cluster.start()
    cluster.wait_formed()
    leader = cluster.leader()
    had = [vip for vip, owner in zip(vips, cluster.wait_held(*vips, timeout=30)) if owner is leader]
    leader.kill()
    cluster.wait_held(*vips, but=[leader.name])
    leader.start()
    cluster.wait_formed()
    wait_until(lambda: not cluster.any().vipctl("plan")["moves"], 30, "nothing is left to be moved")
    reasons = {vip: cluster.any().vipctl("vip", "show", vip.split("/")[0])["reason"] for vip in had}
    assert set(reasons.values()) <= {"crash", "rebalance"}, reasons


def test_a_fence_that_is_given_up_is_gone(cluster):
    """A node is killed, and started anew with `fence: addresses`: what the earlier run's fence would keep from everybody answers."""
    vips = spread(cluster)
    cluster.wait_held(*vips)
    node = next(node for node in cluster if node.has(vips[0]))
    name = vips[0].split("/")[0]
    with cluster.witness(*vips) as witness:
        try:
            for fence in ("addresses", "kernel"):
                node.kill()
                node.write_config(fence=fence)
                node.start()
                cluster.wait_formed()
                wait_until(lambda: not cluster.any().vipctl("plan")["moves"], 30, "nothing is left to be moved")
                cluster.any().vipctl("vip", "move", name, "--to", node.name, "--wait")
                wait_until(lambda: witness.answering(vips[0]) == [node.name], 20, f"fence: {fence}, and it answers")
        finally:
            node.write_config()
        witness.assert_single()
