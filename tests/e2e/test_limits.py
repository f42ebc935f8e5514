"""The stated limits are reached, and what goes beyond them is refused (docs/limits.md)."""

import json

import pytest

from cluster import CALM, Cluster, wait_until

VIPS_MAX = 16384


@pytest.mark.slow
@pytest.mark.limit(600)
def test_sixty_four_nodes(say):
    with Cluster(64, profile=CALM) as cluster:
        cluster.start().wait_formed(timeout=400)
        rows = cluster.any().rows("node", "list")
        assert sorted(row["role"] for row in rows) == ["standby"] * 57 + ["voter"] * 7
        vips = [cluster.vip4(number) for number in range(8)]
        for vip in vips:
            cluster.add_vip(vip)
        leader = cluster.leader()
        leader.kill()
        cluster.wait_held(*vips, but=[leader.name], timeout=30)


@pytest.mark.slow
def test_as_many_vips_as_are_promised(say):
    with Cluster(3, profile=CALM) as cluster:
        cluster.start().wait_formed()
        for number, node in enumerate(cluster):
            node.exec("ip", "address", "add", f"10.99.255.{number + 1}/16", "dev", "eth0")
        node = cluster.any()
        wait_until(lambda: all("10.99." in json.dumps(node.vipctl("node", "show", other.name)) for other in cluster), 10,
                   "the subnet on every node")
        addresses = [f"10.99.{number // 250}.{number % 250 + 1}" for number in range(VIPS_MAX)]
        added = node.vipctl("vip", "add", *addresses, timeout=120)  # one command, whatever it takes in requests
        assert added["changed"] and [row["address"].split("/")[0] for row in added["vips"]] == addresses
        done = node.vipctl_raw("vip", "add", "10.99.254.1")
        assert done.returncode == 1 and "at most 16384 VIPs" in done.stderr, done
        held = lambda: node.vipctl("status")["vips"]["held"]  # noqa: E731
        wait_until(lambda: held() == VIPS_MAX, 60, "all held", every=0.2)
        assert sum(len([a for a in other.addresses() if a.startswith("10.99.") and not a.startswith("10.99.255.")])
                   for other in cluster) == VIPS_MAX
