"""Nodes come and go while VIPs are held; voters are replaced; a cluster that has lost its majority is recovered."""

import json
import shutil
import subprocess

from cluster import CALM, CONFLICT, UNSAFE, VIPD, Cluster, ip, wait_until



def row(cluster, name, but=()):
    rows = cluster.any(but=but).rows("node", "list")
    return next((r for r in rows if r["name"] == name), None)


def roles(cluster, but=()):
    return {r["name"]: r["role"] for r in cluster.any(but=but).rows("node", "list")}


def voters(cluster, but=()):
    return sorted(name for name, role in roles(cluster, but).items() if role == "voter")


def join(cluster, name, at=None):
    """Adds a node and starts it with join: alone in its file."""
    node = cluster[name]
    (at or cluster.any(but=[name])).vipctl("node", "add", name, node.endpoint)
    node.extra["join"] = json.dumps([f.endpoint for f in cluster.founders if f.running])
    node.write_config()
    node.start()
    wait_until(lambda: (row(cluster, name) or {}).get("status") == "up", 60, f"{name} up")
    wait_until(lambda: cluster.can_hold(name), 30, f"{name} with its links")


def wipe(node):
    shutil.rmtree(node.data)


def test_nodes_come_and_go_under_load(say):
    with Cluster(5, founders=3) as cluster:
        cluster.start("a", "b", "c").wait_formed()
        vips = [cluster.vip4(number) for number in range(6)]
        for vip in vips:
            cluster.add_vip(vip)
        with cluster.witness(*(vip.split("/")[0] for vip in vips)) as witness:
            join(cluster, "d")
            assert roles(cluster)["d"] == "standby"
            assert cluster["d"].vipctl("status")["cluster"] == cluster.name
            join(cluster, "e")
            ids = {r["name"]: r["id"] for r in cluster.any().rows("node", "list")}
            assert (ids["d"], ids["e"]) == (4, 5)
            say("a fourth and a fifth node are up")

            cluster.any().vipctl("settings", "set", "voters.count=5")
            wait_until(lambda: len(voters(cluster)) == 5, 60, "five voters")
            cluster.any().vipctl("settings", "set", "voters.count=3", "voters.replace=3s")
            wait_until(lambda: len(voters(cluster)) == 3, 60, "three voters")
            kinds = [r["kind"] for r in cluster.any().rows("history")]
            assert kinds.count("voter") == 2 and kinds.count("no-voter") == 2 and kinds.count("node-add") == 2
            say("five voters, and three again")

            dead = cluster[next(v for v in voters(cluster) if v != "a")]
            dead.kill()
            cluster.wait_held(*vips, but=[dead.name], timeout=60)
            wait_until(lambda: len(voters(cluster)) == 3 and dead.name not in voters(cluster), 90, "the lost voter replaced")
            say(f"{dead.name} was replaced")

            wipe(dead)
            cluster.any().vipctl("node", "add", dead.name, dead.endpoint, code=CONFLICT)
            cluster.any().vipctl("node", "remove", dead.name, "--wait", "--timeout", "60s")
            assert row(cluster, dead.name) is None
            join(cluster, dead.name)
            assert row(cluster, dead.name)["id"] == 6
            say(f"{dead.name} is back as a new node")

            leaver = cluster.owner(vips[0])
            cluster.any(but=[leaver.name]).vipctl("node", "remove", leaver.name, "--wait", "--timeout", "90s")
            wait_until(lambda: not leaver.running, 60, "the removed node ends by itself")
            assert "no member" in leaver.log_text() or "gone" in leaver.log_text()
            assert not any(leaver.has(vip) for vip in vips)
            cluster.wait_held(*vips, but=[leaver.name], timeout=60)
            leaver.start()  # its old directory is of no use
            wait_until(lambda: not leaver.running, 60, "a removed node that comes back is turned away")
            assert len(voters(cluster)) == 3
            witness.stop()
            witness.assert_single()


def test_what_is_unsafe_is_refused_and_a_node_moves(say):
    with Cluster(3) as cluster:
        cluster.start().wait_formed()
        vip = cluster.vip4(1)
        cluster.add_vip(vip)
        a = cluster.any()
        a.vipctl("node", "remove", "c", code=UNSAFE)
        a.vipctl("node", "demote", "c", code=UNSAFE)
        a.vipctl("node", "set", "c", "--address", "10.77.0.77:7400", code=UNSAFE)
        c = cluster["c"]
        a = cluster.any(but=["c"])
        c.terminate()
        wait_until(lambda: row(cluster, "c", but=["c"])["status"] in ("down", "fenced"), 30, "c not heard")
        a.vipctl("node", "set", "c", "--address", "10.77.0.77:7400")
        ip("-n", c.netns, "addr", "del", f"{c.ip4}/16", "dev", "eth0")
        ip("-n", c.netns, "addr", "add", "10.77.0.77/16", "dev", "eth0")
        c.ip4 = "10.77.0.77"
        c.write_config()
        c.start()
        wait_until(lambda: (row(cluster, "c") or {}).get("status") == "up", 60, "c up at its new address")
        assert row(cluster, "c")["address"] == "10.77.0.77:7400"
        cluster.any().vipctl("node", "set", "c", "--address", "10.77.0.77:7400", "--wait")
        say("c has moved")
        # a copy of another node's directory, and one that was emptied, are refused
        c.terminate()
        wipe(c)
        c.start()
        wait_until(lambda: not c.running, 60, "the emptied node ends")
        assert "another data directory" in c.log_text()


def test_an_old_copy_of_its_own_directory_is_refused():
    """Restored from a backup: the same identity, but without what the node has acknowledged since. It ends, and says why."""
    with Cluster(3, profile=CALM) as cluster:
        cluster.start().wait_formed()
        cluster.add_vip(cluster.vip4(0))
        node = next(n for n in cluster if n is not cluster.leader())
        node.terminate()
        old, current = node.folder / "old", node.folder / "current"
        shutil.copytree(node.data, old)
        node.start()
        cluster.wait_formed()
        cluster.add_vip(cluster.vip4(1))
        node.terminate()
        node.data.rename(current)
        shutil.copytree(old, node.data)
        node.start()
        assert node.process.wait(60) == 1
        said = node.log_text()[node.log_text().rindex("--- start"):]
        assert f"the data directory of node {node.name} is older than it was" in said and "put the newer one back" in said, said
        shutil.rmtree(node.data)
        current.rename(node.data)  # as it was: welcome
        node.start()
        cluster.wait_formed()
        for _ in range(3):  # and so is every restart, however it ends
            node.restart("kill")
            cluster.wait_formed()
            cluster.any().vipctl("vip", "del", cluster.vip4(1).split("/")[0], "--wait")
            cluster.add_vip(cluster.vip4(1))


def test_voters_of_different_age_elect_each_other(say):
    """After a start a founder's table is as old as its last snapshot: it knows nothing of a voter that was added later, and yet
    one of the two has to lead. (Simulator, seed 20 with members that change.)"""
    with Cluster(4, founders=3, profile=CALM) as cluster:
        cluster.start("a", "b", "c").wait_formed()
        join(cluster, "d")
        cluster.any(but=["c", "d"]).vipctl("node", "remove", "c", "--force")
        wait_until(lambda: row(cluster, "c", but=["c"]) is None, 60, "c is removed")
        wait_until(lambda: voters(cluster, but=["c"]) == ["a", "b", "d"], 60, "d votes instead of c")
        for name in "abd":
            cluster[name].kill()
        cluster.start("a", "d")
        wait_until(lambda: any(r["leader"] for r in cluster["a"].rows("node", "list")), 60, "a leader of the two")
        cluster.add_vip(cluster.vip4(0))
        say("a founder and a node that was added later elect each other when nobody else is there")


def recover(node, *args):
    return subprocess.run(
        ["ip", "netns", "exec", node.netns, str(VIPD), "-c", str(node.config), "--recover", *args],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_a_majority_is_lost_for_good(say):
    with Cluster(3) as cluster:
        cluster.start().wait_formed()
        vips = [cluster.vip4(number) for number in range(3)]
        for vip in vips:
            cluster.add_vip(vip)
        a, b, c = cluster
        assert recover(a, "--yes", "b,c").returncode == 3  # the daemon runs
        with cluster.witness(*(vip.split("/")[0] for vip in vips)) as witness:
            b.kill()
            c.kill()
            wait_until(lambda: not any(a.has(vip) for vip in vips), 30, "a alone holds nothing")
            a.terminate()
            shown = recover(a)
            assert shown.returncode == 3 and "--yes b,c" in shown.stdout and "must be off" in shown.stdout, shown
            assert "owned " in shown.stdout and " 1 VIPs" not in shown.stdout, shown
            assert recover(a, "--yes", "b").returncode == 2
            assert recover(a, "--yes", "b,c,d").returncode == 2
            b.start()
            wait_until(lambda: "ready" in b.log_text().rsplit("--- start", 1)[1], 30, "b listens")
            alive = recover(a, "--yes", "b,c")
            assert alive.returncode == 3 and "node b is not off" in alive.stderr, alive
            b.kill()
            done = recover(a, "--yes", "b,c")
            assert done.returncode == 0, done
            a.start()
            cluster.wait_held(*vips, timeout=60)
            assert [r["name"] for r in a.rows("node", "list")] == ["a"]
            assert any(r["kind"] == "recover" for r in a.rows("history"))
            say("a holds everything, alone")

            for old in (b, c):  # against all advice; both at once would be the old cluster's majority
                old.start()
                wait_until(lambda node=old: not node.running, 60, "a member of the old cluster is turned away")
                assert "no member" in old.log_text()
                wipe(old)
            cluster.founders = [a]
            join(cluster, "b", at=a)
            join(cluster, "c", at=a)
            wait_until(lambda: len(voters(cluster)) == 3, 60, "three voters")
            cluster.wait_held(*vips, timeout=60)
            say("three nodes again")
            witness.stop()
            witness.assert_single()


def test_seed_26_round_56_what_another_life_left_stays_behind_the_fence(say):
    """A host comes back as a new node while its kernel still has the old one's VIPs. Its first table knows none of them, and took
    the old fence's place: until they were removed, one after the other, its kernel answered for them beside their new owner."""
    with Cluster(3) as cluster:
        cluster.start().wait_formed()
        b, other = cluster["b"], cluster["a"]
        vips = [cluster.vip4(number) for number in range(1000)]
        other.vipctl("vip", "add", *vips, "--prefer", "b=100", "--no-probe", "--wait", timeout=120)
        last = vips[-1]  # removed last
        assert b.has(last)
        for vip in vips:
            b.make_eternal(vip)
        with cluster.witness(last) as witness:
            b.kill()
            cluster.wait_held(last, but=["b"], timeout=60)
            cluster.any(but=["b"]).vipctl("node", "remove", "b", "--force", "--wait", "--timeout", "60s")
            wipe(b)
            assert b.has(last)
            join(cluster, "b")
            wait_until(lambda: not b.has(last), 30, "what was left is gone")
            say(f"{len([line for line in b.log_text().splitlines() if 'leftover' in line])} lines of leftovers")
            witness.assert_single()
