"""An interface that is deleted while it carries a VIP, and comes back: bounded, reported, nothing else lost."""

import pytest

from cluster import Cluster, wait_until

SOON = 30
DEV = "side0"


@pytest.fixture(scope="module")
def cluster():
    with Cluster(3) as made:
        for number, node in enumerate(made, 1):
            node.extra["interfaces"] = f"[eth0, {DEV}]"
            add_side(node, number)
        made.start().wait_formed()
        yield made


def add_side(node, number):
    """A second interface; nobody listens at its other end."""
    node.exec("ip", "link", "add", DEV, "type", "veth", "peer", "name", f"{DEV}-end")
    node.exec("ip", "link", "set", f"{DEV}-end", "up")
    node.exec("ip", "addr", "add", f"10.99.0.{number}/24", "dev", DEV)
    node.exec("ip", "link", "set", DEV, "up")


def sides(cluster, name):
    return {link["name"]: link["up"] for link in cluster.any().vipctl("node", "show", name)["links"]}


def test_an_interface_that_vanishes(cluster):
    node = cluster.any()
    wait_until(lambda: all(sides(cluster, each.name).get(DEV) for each in cluster), SOON, "all have both")
    node.vipctl("vip", "add", "10.99.0.50/24", "--name", "side", "--wait")
    owner = cluster.wait_held("side")[0]
    node.vipctl("vip", "add", cluster.vip4(0), "--name", "plain", "--nodes", owner.name, "--wait")
    asked = next(each for each in cluster if each is not owner)
    started = asked.vipctl("vip", "show", "plain")["moved"]

    owner.exec("ip", "link", "del", DEV)
    second = wait_until(lambda: (lambda at: at if at and at is not owner else None)(cluster.owner("side", at=asked)), SOON,
                        "held by another")  # fmt: skip
    row = asked.vipctl("vip", "show", "side")
    assert row["reason"] == "health" and second.has("10.99.0.50")
    assert not owner.has("10.99.0.50")
    assert owner.running and asked.vipctl("vip", "show", "plain")["moved"] == started
    assert cluster.owner("plain", at=asked) is owner  # what the other interface carries stays
    wait_until(lambda: not sides(cluster, owner.name).get(DEV), SOON, "the cluster knows")
    because = {each["node"]: each["because"] for each in asked.vipctl("explain", "vip", "side")["nodes"]}
    assert because[owner.name] == "no interface for the address"

    # another interface of that name is as good: the kernel's fence is there again, too
    add_side(owner, 1 + [each.name for each in cluster].index(owner.name))
    wait_until(lambda: sides(cluster, owner.name).get(DEV), SOON, "it is back")
    asked.vipctl("vip", "move", "side", "--to", owner.name, "--wait")
    assert owner.has("10.99.0.50") and cluster.owner("side", at=asked) is owner
    assert "ok  the kernel enforces the end of the lease" in owner.vipctl_raw("doctor").stdout
    filters = owner.exec("tc", "filter", "show", "dev", DEV, "ingress").stdout
    assert "bpf" in filters, filters


def test_everywhere_at_once(cluster):
    """Nobody is left that could have it: it is held by nobody, says why, and comes back with the first interface."""
    node = cluster.any()
    node.vipctl("vip", "add", "10.99.0.51/24", "--name", "only", "--wait")
    for each in cluster:
        each.exec("ip", "link", "del", DEV)
    wait_until(lambda: cluster.vip("only")["state"] == "unheld", SOON, "held by nobody")
    assert not any(each.has("10.99.0.51") for each in cluster)
    assert "interface" in cluster.vip("only")["why"]
    add_side(cluster["b"], 2)
    wait_until(lambda: cluster.owner("only") is cluster["b"], SOON, "held by b, which alone has it")
