"""A cluster with some VIPs that is used by one test after the other, and comes back into order between them."""

import contextlib

from cluster import Cluster, wait_until

VIPS_N = 4


class Scene:
    """A cluster in good order with some VIPs under the eyes of a witness."""

    def __init__(self, profile, **kwargs):
        self.profile, self.kwargs = profile, kwargs
        self.cluster = None

    def prepare(self):
        """The same cluster again if it comes back into order, a new one otherwise. Nothing moves by itself from here on."""
        self._mended_or_new()
        wait_until(lambda: self.cluster.any().vipctl("plan")["moves"] == 0, 30, "a cluster that has nothing to move")
        self.cluster.wait_held(*self.vips)

    def _mended_or_new(self):
        if self.cluster is not None:
            try:
                self._repair()
                return
            except AssertionError:
                self.cluster.close()
        self.cluster = Cluster(3, profile=self.profile, **self.kwargs).start().wait_formed()
        self.vips = [self.cluster.vip4(i) for i in range(VIPS_N - 1)] + [self.cluster.vip6(0)]
        for address in self.vips:
            self.cluster.add_vip(address)

    def _repair(self):
        cluster = self.cluster
        cluster.heal()
        for node in cluster:
            if node.running and node.state() == "T":
                node.cont()
            node.link("up")
            node.carry(True)
        cluster.start().wait_formed()
        for row in cluster.any().rows("node", "list"):
            if row["status"] in ("draining", "drained"):
                cluster.any().vipctl("undrain", row["name"])
        for row in cluster.any().rows("vip", "list"):
            if not any(vip.split("/")[0] == row["address"].split("/")[0] for vip in self.vips):
                cluster.any().vipctl("vip", "del", row["name"])
        cluster.wait_formed().wait_held(*self.vips)

    def move(self, vip, to):
        self.cluster.any().vipctl("vip", "move", vip.split("/")[0], "--to", to.name, "--wait")
        wait_until(lambda: self.cluster.owner(vip) is to, 10, f"{vip} on {to.name}")

    def owned_by_follower(self):
        """(vip, its owner, the leader) with two different nodes."""
        leader = self.cluster.leader()
        vip = self.vips[0]
        owner = self.cluster.wait_held(vip)[0]
        if owner is leader:
            owner = next(node for node in self.cluster if node is not leader)
            self.move(vip, owner)
        return vip, owner, leader

    def owned_by_leader(self):
        leader = self.cluster.leader()
        vip = self.vips[0]
        if self.cluster.wait_held(vip)[0] is not leader:
            self.move(vip, leader)
        return vip, leader

    def close(self):
        if self.cluster is not None:
            self.cluster.close()


@contextlib.contextmanager
def watched(scene, say):
    """The scene in good order, under the eyes of a witness that finds nothing held twice in the end."""
    scene.prepare()
    with scene.cluster.witness(*scene.vips) as witness:
        scene.witness = witness
        for vip in scene.vips:
            wait_until(lambda v=vip: witness.answering(v), 10, f"somebody answers for {vip}")
        yield scene
        witness.stop()
        say(
            f"longest outage {max(witness.of(v).ping_outage_ms() or 0 for v in scene.vips):.0f} ms by the client's "
            f"ping, held twice {witness.double_ms():.0f} ms, on two interfaces {witness.overlap_ms():.0f} ms"
        )
        witness.assert_single()


def took_over(scene, vip, but, timeout=15):
    """Another one holds it and answers; its node."""
    owner = scene.cluster.wait_held(vip, but=[but.name], timeout=timeout)[0]
    wait_until(
        lambda: scene.witness.answering(vip) == [owner.name], timeout, f"only {owner.name} answers for {vip}"
    )
    return owner


def back(scene, node, timeout=30):
    """The node is a member in good standing again."""

    def up():
        at = scene.cluster.any(but=[node.name])
        rows = at.rows("node", "list")
        return any(row["name"] == node.name and row["status"] == "up" for row in rows) and scene.cluster.can_hold(node.name, at)

    wait_until(up, timeout, f"{node.name} up again")


def one_interface(scene, vip):
    """The owner's interface has the address, and no other."""

    def alone():
        owner = scene.cluster.owner(vip)
        return owner is not None and scene.witness.holders(vip) == [owner.name]

    wait_until(alone, 10, f"one interface has {vip}")
