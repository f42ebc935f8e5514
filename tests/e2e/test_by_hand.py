"""What somebody does by hand to a node's interfaces leaves no address without a fence."""

import signal

import pytest

from cluster import Cluster, ip, wait_until


@pytest.fixture
def cluster():
    with Cluster(3) as cluster:
        cluster.start().wait_formed()
        yield cluster


def held(cluster):
    """A VIP, bare, and the node that holds it."""
    vip = cluster.vip4(0)
    cluster.add_vip(vip)
    return vip.split("/")[0], cluster.wait_held(vip)[0]


def write_over(node, bare):
    """The address loses its mark and its lifetime, and is there once more with another prefix length."""
    ip("-n", node.netns, "addr", "replace", f"{bare}/32", "dev", "eth0")
    ip("-n", node.netns, "addr", "add", f"{bare}/16", "dev", "eth0")


def fenced(node, dev):
    shown = [node.exec("tc", "filter", "show", "dev", dev, side).stdout for side in ("ingress", "egress")]
    return "vipd_in" in shown[0] and "vipd_out" in shown[1]


def add_link(node, dev):
    ip("-n", node.netns, "link", "add", dev, "type", "veth", "peer", "name", f"{dev}p")
    ip("-n", node.netns, "link", "set", dev, "up")


def test_an_address_that_was_written_over_does_not_outlive_the_fence(cluster):
    """Told twice to end, a node gives nothing away first. Its fence goes with it, and so must what carries no mark."""
    bare, node = held(cluster)
    with cluster.witness(cluster.vip4(0)) as witness:
        write_over(node, bare)
        node.signal(signal.SIGTERM)
        node.signal(signal.SIGINT)
        assert node.process.wait(20) == 0
        assert not node.has(bare)
        cluster.wait_held(cluster.vip4(0), but=[node.name])
        witness.assert_single()


def test_an_address_that_was_written_over_gets_its_end_back(cluster):
    bare, node = held(cluster)
    write_over(node, bare)

    def lines():
        shown = ip("-n", node.netns, "-4", "addr", "show", "dev", "eth0").stdout.split("\n")
        return [line for line in shown if f"inet {bare}/" in line]

    wait_until(lambda: len(lines()) == 1 and f"{bare}/32" in lines()[0] and "dynamic" in lines()[0], 20, "as it was")


def test_an_interface_that_is_none_of_the_configured_ones_is_fenced(cluster):
    """A Linux host answers for its addresses on all of them."""
    node = cluster.nodes[0]
    add_link(node, "late0")
    wait_until(lambda: fenced(node, "late0") and fenced(node, "late0p"), 20, "a new interface is fenced")
    ip("-n", node.netns, "link", "set", "late0p", "name", "later0")
    node.exec("tc", "qdisc", "del", "dev", "late0", "clsact")
    wait_until(lambda: fenced(node, "late0") and fenced(node, "later0"), 30, "the fence is put back")


def test_nothing_is_taken_over_where_an_interface_has_no_fence():
    """It appeared while no daemon ran: what the earlier one left is removed before the first word, not kept until the table is known."""
    with Cluster(3, profile="wan") as cluster:
        cluster.start().wait_formed()
        bare, node = held(cluster)
        others = [other for other in cluster if other is not node]
        for other in others:
            other.stop()  # without a majority the table is never known
        node.kill()
        add_link(node, "late0")
        assert node.has(bare)
        mark = len(node.log_text())
        node.start()
        wait_until(lambda: "removed a VIP" in node.log_text()[mark:], 20, "it is removed")
        assert "left behind its fence" not in node.log_text()[mark:]
        assert not node.has(bare)
        for other in others:
            other.cont()
        cluster.wait_held(cluster.vip4(0))
