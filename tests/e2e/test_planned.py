"""What is not to move, and what is to move without a gap, with real daemons. The timing is a calm one: where a lease of half a second
is lost because the machine stood still, something moves that nobody planned."""

import contextlib
import time

import pytest

from cluster import CALM, UNSAFE, ip, wait_until
from scene import Scene, back, one_interface, took_over, watched

HAND_OVER_MS = 1400  # half a lease of CALM: nobody waited for one


@pytest.fixture(scope="module")
def the_scene():
    the_scene = Scene(CALM)
    yield the_scene
    the_scene.close()


@pytest.fixture
def scene(the_scene, say):
    with watched(the_scene, say):
        yield the_scene


def test_the_leader_is_killed(scene):
    """Somebody else's VIP does not move for it."""
    vip, owner, leader = scene.owned_by_follower()
    leader.kill()
    wait_until(lambda: scene.cluster.leader(at=owner) is not leader, 15, "a new leader")
    assert scene.cluster.wait_held(vip) == [owner]
    wait_until(lambda: scene.witness.answering(vip) == [owner.name], 5, "the owner answers")
    assert scene.witness.of(vip).nodes()[-1:] == [owner.name]
    scene.cluster.wait_held(*scene.vips, but=[leader.name])
    leader.start()
    back(scene, leader)


def test_sigterm_gives_the_vips_away_first(scene):
    vip, owner, _ = scene.owned_by_follower()
    assert owner.terminate() == 0
    assert scene.cluster.wait_held(vip)[0] is not owner
    assert not owner.addresses() & {v.split("/")[0] for v in scene.vips}
    took_over(scene, vip, owner)
    # Handed over, not lost: the two interfaces never had it together, and far less than a lease passed.
    scene.witness.assert_never_on_two()
    assert scene.witness.of(vip).ping_outage_ms() < HAND_OVER_MS
    owner.start()
    back(scene, owner)


def test_each_node_is_restarted_in_turn(scene):
    for node in scene.cluster:
        assert node.terminate() == 0
        scene.cluster.wait_held(*scene.vips, but=[node.name])
        node.start()
        back(scene, node)
    scene.cluster.wait_formed().wait_held(*scene.vips)
    scene.witness.assert_never_on_two()


@pytest.mark.parametrize("which", [0, -1], ids=["ipv4", "ipv6"])
def test_an_address_removed_by_hand_is_back(scene, say, which):
    vip = scene.vips[which]
    owner = scene.cluster.wait_held(vip)[0]
    ip("-n", owner.netns, "addr", "del", owner.as_in_kernel(vip), "dev", "eth0")

    def is_back():
        changes = [(at, added) for at, node, added in scene.witness.of(vip).changes if node == owner.name]
        removed = [at for at, added in changes if not added]
        return removed and [at - removed[-1] for at, added in changes if added and at > removed[-1]]

    after_ns = wait_until(is_back, 5, f"{vip} back on {owner.name}")[0]
    say(f"back after {after_ns / 1e6:.1f} ms")
    wait_until(lambda: scene.witness.answering(vip) == [owner.name], 5, "it answers again")
    wait_until(lambda: scene.cluster.owner(vip) is owner, 5, "it is held by the same node")


def test_foreign_addresses_are_left_alone(scene):
    foreign = "10.77.9.9/16"
    vip, owner, _ = scene.owned_by_follower()
    before = {}
    for node in scene.cluster:
        ip("-n", node.netns, "addr", "add", foreign.replace("9.9", f"9.{ord(node.name)}"), "dev", "eth0")
        before[node.name] = node.addresses() - {v.split("/")[0] for v in scene.vips}
    scene.move(vip, next(node for node in scene.cluster if node is not owner))
    owner.kill()
    owner.start()
    back(scene, owner)
    owner.terminate()
    for node in scene.cluster:
        assert before[node.name] <= node.addresses()
    owner.start()
    back(scene, owner)


@pytest.mark.parametrize("left", ["its own", "by hand"])
def test_what_an_earlier_run_left_is_removed(scene, left):
    """The owner's daemon is gone, the address outlives its lifetime (somebody meddled with it), another node holds it by
    now, and the daemon comes back: the kernel's fence stays shut until the address is gone."""
    vip, owner, _ = scene.owned_by_follower()
    in_kernel = owner.as_in_kernel(vip)
    owner.stop()
    if left == "its own":
        owner.make_eternal(vip)
        took_over(scene, vip, owner)
    else:
        took_over(scene, vip, owner)
        with contextlib.suppress(RuntimeError):  # its lifetime may have ended by now
            ip("-n", owner.netns, "addr", "del", in_kernel, "dev", "eth0")
        ip("-n", owner.netns, "addr", "add", vip, "dev", "eth0")
    owner.kill()
    assert owner.has(vip)
    owner.start()
    back(scene, owner)
    one_interface(scene, vip)


def test_drain_under_ping(scene, say):
    cluster = scene.cluster
    vip, leader = scene.owned_by_leader()
    start = time.monotonic_ns()
    cluster.any(but=[leader.name]).vipctl("drain", leader.name, "--wait")
    rows = cluster.any(but=[leader.name]).rows("node", "list")
    drained = next(row for row in rows if row["name"] == leader.name)
    assert drained["status"] == "drained" and not drained["leader"]
    assert cluster.wait_held(*scene.vips) and all(o is not leader for o in cluster.wait_held(*scene.vips))
    assert not leader.addresses() & {v.split("/")[0] for v in scene.vips}
    took_over(scene, vip, leader)
    say(f"outage of {vip}: {scene.witness.of(vip).ping_outage_ms(since=start):.0f} ms")
    scene.witness.assert_never_on_two()
    assert scene.witness.of(vip).ping_outage_ms(since=start) < HAND_OVER_MS
    cluster.any().vipctl("undrain", leader.name, "--wait")
    back(scene, leader)


def test_drain_is_refused_where_it_leaves_a_vip_nowhere(scene):
    cluster = scene.cluster
    vip = cluster.vip4(80)
    cluster.any().vipctl("vip", "add", vip, "--name", "pinned", "--nodes", "b", "--wait")
    done = cluster.any().vipctl_raw("drain", "b")
    assert done.returncode == UNSAFE
    assert "pinned" in done.stderr
    cluster.any().vipctl("vip", "del", "pinned", "--wait")
