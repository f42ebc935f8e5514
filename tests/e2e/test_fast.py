"""The figures of the fast profile, and a cluster that speaks IPv6 over a network of its own, or over the shared one."""

import pytest

from cluster import Cluster, wait_until


@pytest.mark.parametrize(
    "shape", [{}, {"over_ipv6": True}, {"separate": True}], ids=["ipv4", "over-ipv6", "separate-network"]
)
def test_take_over(shape, say):
    """Owner killed, leader killed, a leader that owns killed, one after the other."""
    with Cluster(3, profile="fast", **shape) as cluster:
        cluster.start().wait_formed()
        vips = [cluster.vip4(0), cluster.vip6(0)]
        for vip in vips:
            cluster.add_vip(vip)
        with cluster.witness(*vips) as witness:
            for victim_of in ("owner", "leader", "both"):
                leader = cluster.leader()
                victim = cluster.wait_held(vips[0])[0] if victim_of == "owner" else leader
                if victim_of == "both":
                    for vip in vips:
                        cluster.any().vipctl("vip", "move", vip.split("/")[0], "--to", leader.name, "--wait")
                since = wait_until(lambda: witness.answering(vips[0]) and witness.of(vips[0]).pings, 10, "answers")[-1][0]
                victim.kill()
                owners = cluster.wait_held(*vips, but=[victim.name])
                for vip, owner in zip(vips, owners):
                    wait_until(lambda v=vip, o=owner: witness.answering(v) == [o.name], 10, f"{vip} answers")
                say(
                    f"{victim_of} killed: "
                    + ", ".join(f"{witness.of(v).ping_outage_ms(since=since):.0f} ms" for v in vips)
                )
                victim.start()
                cluster.wait_formed()
            witness.assert_single()


def test_the_network_of_the_cluster_alone_fails(say):
    """VIPs work, the nodes' own network does not: the owner is alone and lets go, though the clients reach it."""
    with Cluster(3, profile="fast", separate=True) as cluster:
        cluster.start().wait_formed()
        vip = cluster.vip4(0)
        cluster.add_vip(vip)
        with cluster.witness(vip) as witness:
            # by then, for 120 ms of a machine that stands still are enough for a move
            owner = wait_until(lambda: next((n for n in cluster if witness.answering(vip) == [n.name]), None), 10, "an answer")
            owner.link("down", "eth1")
            other = cluster.wait_held(vip, but=[owner.name])[0]
            wait_until(lambda: witness.answering(vip) == [other.name], 10, f"{other.name} answers")
            wait_until(lambda: not owner.has(vip), 5, "the address is gone")
            say(f"outage {witness.of(vip).ping_outage_ms():.0f} ms")
            owner.link("up", "eth1")
            cluster.wait_formed()
            witness.assert_single()
