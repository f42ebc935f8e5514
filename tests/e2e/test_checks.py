"""Health checks end to end: the VIP follows a real service."""

import os
import pathlib
import subprocess
import sys

import pytest

import witness as witnesses
from cluster import CONFLICT, DONE, NOT_FOUND, UNSAFE, USAGE, Cluster, wait_until

PORT = 8404
SOON = 30  # seconds; a check that runs each half second decides in two, on an idle machine


class Service:
    """A web server on a node's own loopback."""

    def __init__(self, node):
        self.node, self.process = node, None

    def start(self):
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self.node.netns, sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(PORT)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.node.folder,
            preexec_fn=witnesses.die_with_parent,
        )  # fmt: skip

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def cluster():
    with Cluster(3) as made:
        scripts = made.folder / "checks.d"
        scripts.mkdir(mode=0o755)
        for node in made:
            node.extra["checks-dir"] = scripts
        made.scripts = scripts
        made.services = {node.name: Service(node) for node in made}
        made.start().wait_formed()
        yield made
        for service in made.services.values():
            service.stop()


@pytest.fixture
def clean(cluster):
    """No VIPs and no checks; every service runs."""
    node = cluster.any()
    names = [row["name"] for row in node.rows("vip", "list")]
    if names:
        node.vipctl("vip", "del", *names, "--wait")
    for row in node.vipctl("check", "list") or []:
        node.vipctl("check", "del", row["name"])
    for service in cluster.services.values():
        if service.process is None:
            service.start()
    return cluster


def results(cluster, name):
    return cluster.any().vipctl("check", "show", name)["nodes"]


def wait_results(cluster, name, **wanted):
    wait_until(lambda: all(results(cluster, name)[node] == result for node, result in wanted.items()), SOON,
               f"{name}: {wanted}", every=0.1)  # fmt: skip


def add_http(cluster, name="web-server"):
    cluster.any().vipctl("check", "add", name, "--http", f"http://127.0.0.1:{PORT}/", "--every", "500ms", "--fall", "2")


def script(cluster, name, text, mode=0o755):
    path = cluster.scripts / name
    path.write_text(text)
    path.chmod(mode)
    return path


def add_exec(cluster, name, *args):
    cluster.any().vipctl("check", "add", name, "--exec", name, "--every", "1s", "--fall", "1", "--rise", "1", *args)


def own(node, name):
    """What the check last said on that very node, as people see it."""
    lines = node.vipctl_raw("check", "show", name).stdout.splitlines()
    return next((line for line in lines if line.startswith("here")), "")


def test_the_vip_follows_the_service(clean):
    """Also: a node whose check is not known yet is given nothing, and when all fail the VIP stays and says so."""
    add_http(clean)
    vip, other = clean.vip4(0), clean.vip4(1)
    with clean.witness(vip, other) as eye:
        clean.any().vipctl("vip", "add", vip, "--name", "web", "--require", "web-server", "--wait", "--timeout", "30s")
        bystander = clean.add_vip(other, "--name", "plain")
        wait_results(clean, "web-server", a="passes", b="passes", c="passes")
        owner = clean.wait_held("web")[0]
        left = {node.name for node in clean} - {owner.name}
        clean.services[owner.name].stop()
        second = clean.wait_held("web", but=[owner.name], timeout=SOON)[0]
        assert second.name in left and clean.vip("web")["reason"] == "health"
        assert clean.vip("plain")["owner"] == bystander.name  # it requires nothing
        wait_until(lambda: eye.answering(vip, within_ms=100) == [second.name], SOON, "the second answers")
        explained = clean.any().vipctl("explain", "vip", "web")["nodes"]
        because = {row["node"]: row["because"] for row in explained}
        assert because[owner.name] == "a check that it requires fails there: web-server"
        assert clean.any().vipctl_raw("vip", "move", "web", "--to", owner.name).returncode == UNSAFE

        for service in clean.services.values():
            service.stop()
        wait_results(clean, "web-server", a="fails", b="fails", c="fails")
        held = wait_until(lambda: clean.owner("web"), SOON, "held where it was last")
        row = clean.vip("web")
        assert row["failing"] == ["web-server"] and row["owner"] == held.name
        warnings = clean.any().vipctl("status")["warnings"]
        assert any("web" in text and "web-server" in text and held.name in text for text in warnings), warnings
        assert clean[held.name].vipctl_raw("doctor").stdout.count("check web-server fails") == 1

        back = next(node for node in clean if node is not held)
        clean.services[back.name].start()
        wait_until(lambda: clean.owner("web") is back, SOON, f"web at {back.name}, which alone passes")
        eye.assert_never_on_two()
    history = clean.any().vipctl("history")
    kinds = {(row["kind"], row["subject"]) for row in history}
    assert ("check-fails", "web-server") in kinds and ("check-passes", "web-server") in kinds
    assert any(row["kind"] == "move" and row["subject"] == "web" and row["reason"] == "health" for row in history)


def test_released_when_all_fail(clean):
    add_http(clean)
    clean.any().vipctl("check", "set", "web-server", "--all-failed", "release")
    clean.any().vipctl("vip", "add", clean.vip4(0), "--name", "web", "--require", "web-server", "--wait", "--timeout", "30s")
    wait_results(clean, "web-server", a="passes", b="passes", c="passes")
    for service in clean.services.values():
        service.stop()
    wait_until(lambda: clean.vip("web")["state"] == "unheld", SOON, "released")
    assert not any(node.has(clean.vip4(0)) for node in clean)
    assert "passes its checks" in clean.vip("web")["why"]
    clean.services["c"].start()
    wait_until(lambda: clean.owner("web") is clean["c"], SOON, "held again by c")


def test_kinds(clean, tmp_path):
    """tcp, file, process and ping, each with a node that fails it."""
    node = clean.any()
    ready = tmp_path / "ready"
    node.vipctl("check", "add", "tcp", "--tcp", f"127.0.0.1:{PORT}", "--every", "500ms")
    node.vipctl("check", "add", "file", "--file", str(ready), "--every", "500ms")
    node.vipctl("check", "add", "process", "--process", "vipd", "--every", "500ms")
    node.vipctl("check", "add", "ping", "--ping", "10.77.0.250", "--every", "500ms")
    node.vipctl("check", "add", "router", "--ping", "gateway", "--every", "500ms")
    clean["b"].exec("ip", "route", "add", "default", "via", "10.77.0.250")
    clean.services["c"].stop()
    try:
        node.vipctl("vip", "add", clean.vip4(0), "--name", "all", "--require", "tcp,file,process,ping,router")
        wait_results(clean, "tcp", a="passes", b="passes", c="fails")
        wait_results(clean, "process", a="passes", b="passes", c="passes")
        wait_results(clean, "ping", a="passes", b="passes", c="passes")
        wait_results(clean, "file", a="fails", b="fails", c="fails")
        wait_results(clean, "router", a="fails", b="passes", c="fails")
        assert clean.vip("all")["state"] == "unheld"  # nobody was known to pass, so nobody was given it
        assert "no default route" in own(clean["a"], "router")
        ready.touch()
        wait_until(lambda: clean.owner("all") is clean["b"], SOON, "held by b, which alone passes all")
    finally:
        clean["b"].exec("ip", "route", "del", "default")


def test_exec(clean, tmp_path):
    """A program that passes here and fails there; one that hangs with its children; one that floods; one that others can write;
    one that is not there: each is bounded, and says why."""
    pids = tmp_path / "pids"
    script(clean, "primary", f'#!/bin/sh\necho "I am $VIPD_NODE"\ntest -e {tmp_path}/$VIPD_NODE\n')
    script(clean, "hang", f"#!/bin/sh\nsleep 1000 & echo $! >>{pids}\necho $$ >>{pids}\nwait\n")
    script(clean, "flood", "#!/bin/sh\nexec yes\n")
    script(clean, "open", "#!/bin/sh\n", mode=0o777)
    (tmp_path / "b").touch()
    add_exec(clean, "primary", "--time", "1s")
    clean.any().vipctl("vip", "add", clean.vip4(0), "--name", "db", "--require", "primary", "--wait", "--timeout", "30s")
    assert clean.owner("db").name == "b"
    wait_until(lambda: "I am b" in own(clean["b"], "primary"), SOON, "its output")
    (tmp_path / "b").unlink()
    (tmp_path / "c").touch()
    wait_until(lambda: clean.owner("db") is clean["c"], SOON, "it follows")

    for name in ("hang", "flood", "open", "missing"):
        add_exec(clean, name, "--time", "500ms", "--scope", "node", "--weight", "10")
        wait_results(clean, name, a="fails", b="fails", c="fails")
    for name, words in [("hang", "in time"), ("flood", "more than 65536 bytes"), ("open", "written by others"),
                        ("missing", "No such file")]:  # fmt: skip
        wait_until(lambda n=name, w=words: w in own(clean["a"], n), SOON, f"{name}: {words}")
    clean.any().vipctl("check", "del", "hang")
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids.read_text().split()), SOON,
               "nothing is left of those that hung")  # fmt: skip
    assert clean.owner("db") is clean["c"]  # a weight takes no VIP away


def test_exec_that_forks_away(clean, tmp_path):
    """A program that ends at once and leaves processes: those in its group are killed, one that left the group with the output
    in its hands holds nothing up. And it is told what it judged, not how long the others lived."""
    pids, away = tmp_path / "pids", tmp_path / "away"
    script(clean, "leaves", f"#!/bin/sh\nsleep 1000 & echo $! >>{pids}\necho well\n")
    script(clean, "forks-away", f"#!/bin/sh\nsetsid sh -c 'echo $$ >>{away}; exec sleep 1000' &\n"
                                f"while ! test -s {away}; do sleep 0.01; done\necho gone\n")  # fmt: skip
    try:
        for name in ("leaves", "forks-away"):
            add_exec(clean, name, "--time", "900ms", "--scope", "node", "--weight", "10")
            wait_results(clean, name, a="passes", b="passes", c="passes")
        wait_until(lambda: "well" in own(clean["a"], "leaves"), SOON, "what it said")
        wait_until(lambda: "gone" in own(clean["a"], "forks-away"), SOON, "what the other said")
        # run after run, and still at most one of each at a time
        wait_until(lambda: len(pids.read_text().split()) >= 9, SOON, "three runs a node")
        clean.any().vipctl("check", "del", "leaves")
        clean.any().vipctl("check", "del", "forks-away")
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids.read_text().split()), SOON,
                   "nothing is left in its group")  # fmt: skip
        for node in clean:
            assert node.vipctl_raw("doctor").returncode == DONE
            open_files = len(os.listdir(f"/proc/{node.pid}/fd"))
            assert open_files < 200, open_files  # no run has left a pipe behind
    finally:
        for pid in away.read_text().split() if away.exists() else []:
            try:
                os.kill(int(pid), 9)
            except ProcessLookupError:
                pass


def test_scope_node(clean, tmp_path):
    """A check of the node is every VIP's, without --require: what was there before it, and what comes after."""
    node = clean.any()
    node.vipctl("vip", "add", clean.vip4(0), "--name", "old", "--nodes", "a,b", "--prefer", "a=100", "--wait")
    assert clean.owner("old").name == "a"
    for each in clean:
        (tmp_path / each.name).touch()
    script(clean, "well", f"#!/bin/sh\ntest -e {tmp_path}/$VIPD_NODE\n")
    add_exec(clean, "well", "--scope", "node")
    wait_results(clean, "well", a="passes", b="passes", c="passes")
    node.vipctl("vip", "add", clean.vip4(1), "--name", "new", "--prefer", "a=100", "--wait")
    assert clean.owner("old").name == "a" and clean.owner("new").name == "a"
    (tmp_path / "a").unlink()
    wait_until(lambda: clean.owner("old") and clean.owner("old").name == "b", SOON, "the old one leaves a")
    wait_until(lambda: clean.owner("new") and clean.owner("new").name in "bc", SOON, "the new one, too")
    assert {clean.vip(name)["reason"] for name in ("old", "new")} == {"health"}
    assert "require" not in clean.vip("old")  # it did not have to say so
    told = node.vipctl("explain", "node", "a")["checks"]
    assert {"ok": False, "text": "check well fails: nothing that requires it comes here"} in told
    assert node.vipctl_raw("vip", "move", "old", "--to", "a").returncode == UNSAFE


def test_weighted(clean, tmp_path):
    """A check with a weight moves nothing that is held; it decides where a VIP goes, as a preference that is lowered by it."""
    node = clean.any()
    for each in clean:
        (tmp_path / each.name).touch()
    script(clean, "fit", f"#!/bin/sh\ntest -e {tmp_path}/$VIPD_NODE\n")
    add_exec(clean, "fit", "--weight", "60")
    args = ("--prefer", "a=100,b=50", "--require", "fit", "--wait")
    node.vipctl("vip", "add", clean.vip4(0), "--name", "first", *args)
    assert clean.owner("first").name == "a"
    wait_results(clean, "fit", a="passes", b="passes", c="passes")
    (tmp_path / "a").unlink()
    wait_results(clean, "fit", a="fails", b="passes", c="passes")
    weights = {row["node"]: row["weight"] for row in node.vipctl("explain", "vip", "first")["nodes"]}
    assert weights == {"a": 40, "b": 50, "c": 0}
    node.vipctl("vip", "add", clean.vip4(1), "--name", "second", *args)
    assert clean.owner("second").name == "b"  # 100 - 60 is less than 50
    assert clean.owner("first").name == "a" and clean.vip("first")["reason"] == "new"  # it stays
    node.vipctl("check", "set", "fit", "--weight", "40", "--fall", "3")
    assert results(clean, "fit") == {"a": "fails", "b": "passes", "c": "passes"}  # it looks at the same as before
    node.vipctl("vip", "add", clean.vip4(2), "--name", "third", *args)
    assert clean.owner("third").name == "a"  # 100 - 40 is more than 50


def test_refused(clean):
    node = clean.any()
    for args, code in [
        (("check", "add", "x"), USAGE),
        (("check", "add", "x", "--http", "https://127.0.0.1/"), USAGE),
        (("check", "add", "x", "--http", "http://localhost/"), USAGE),
        (("check", "add", "x", "--tcp", "127.0.0.1"), USAGE),
        (("check", "add", "x", "--exec", "/bin/sh"), USAGE),
        (("check", "add", "x", "--exec", "../sh"), USAGE),
        (("check", "add", "x", "--exec", "a b"), USAGE),
        (("check", "add", "x", "--exec", "a", "--every", "500ms"), USAGE),
        (("check", "add", "x", "--process", "a-name-that-is-too-long"), USAGE),
        (("check", "add", "x", "--file", "relative"), USAGE),
        (("check", "add", "x", "--ping", "router"), USAGE),
        (("check", "add", "x", "--file", "/a", "--tcp", "127.0.0.1:1"), USAGE),
        (("check", "add", "x", "--file", "/a", "--every", "50ms"), USAGE),
        (("check", "add", "x", "--file", "/a", "--every", "1s", "--time", "2s"), USAGE),
        (("check", "add", "x", "--file", "/a", "--fall", "0"), USAGE),
        (("check", "add", "x", "--file", "/a", "--rise", "101"), USAGE),
        (("check", "add", "x", "--file", "/a", "--scope", "group"), USAGE),
        (("check", "add", "x", "--file", "/a", "--all-failed", "panic"), USAGE),
        (("check", "add", "-x", "--file", "/a"), USAGE),
        (("check", "set", "nosuch", "--fall", "2"), NOT_FOUND),
        (("check", "del", "nosuch"), NOT_FOUND),
        (("check", "show", "nosuch"), NOT_FOUND),
        (("vip", "add", clean.vip4(0), "--require", "nosuch"), NOT_FOUND),
    ]:
        done = node.vipctl_raw(*args)
        assert done.returncode == code and done.stderr.strip(), (args, done)
    node.vipctl("check", "add", "x", "--file", "/nosuch")
    assert node.vipctl_raw("check", "add", "x", "--file", "/nosuch").returncode == CONFLICT
    node.vipctl("vip", "add", clean.vip4(0), "--name", "web", "--require", "x")
    assert node.vipctl_raw("check", "del", "x").returncode == CONFLICT
    node.vipctl("vip", "set", "web", "--require", "none")
    assert node.vipctl_raw("check", "del", "x").returncode == DONE
    for name in range(64):
        node.vipctl("check", "add", f"c{name}", "--file", "/nosuch")
    done = node.vipctl_raw("check", "add", "one-more", "--file", "/nosuch")
    assert done.returncode == 1 and "64" in done.stderr, done


def test_in_the_document(clean, tmp_path):
    """A VIP's and a group's checks are exported, applied, and refused at their place."""
    node, path = clean.any(), tmp_path / "cluster.yaml"
    node.vipctl("check", "add", "here", "--file", str(tmp_path))
    vips = f"vips: {{web: {{address: {clean.vip4(0)}, group: g, require: [here]}}}}\n"
    path.write_text("groups: {g: {require: [here]}}\n" + vips)
    node.vipctl("apply", "-f", str(path))
    assert clean.vip("web")["require"] == ["here"]
    assert sorted(node.vipctl("check", "show", "here")["required_by"]) == ["group g", "web"]
    exported = node.vipctl_raw("export").stdout
    assert exported.count("require: [here]") == 2, exported
    path.write_text(exported)
    assert "require" not in node.vipctl_raw("diff", "-f", str(path)).stdout
    path.write_text(vips.replace("[here]", "[hree]"))
    done = node.vipctl_raw("apply", "-f", str(path))
    assert done.returncode == USAGE and ":1:" in done.stderr and "did you mean 'here'" in done.stderr, done
    path.write_text("groups: {}\n" + vips.replace("group: g, require: [here]", "nodes: [a]"))
    node.vipctl("apply", "-f", str(path))
    assert "require" not in clean.vip("web") and node.vipctl("check", "show", "here")["required_by"] == []


def test_a_restarted_daemon_keeps_what_it_has(clean):
    """Its checks are not known at first, which is no reason to take its VIP away."""
    add_http(clean)
    clean.any().vipctl("vip", "add", clean.vip4(0), "--name", "web", "--require", "web-server", "--wait", "--timeout", "30s")
    wait_results(clean, "web-server", a="passes", b="passes", c="passes")
    leader = clean.leader()
    leader.restart("kill")
    clean.wait_formed()
    wait_results(clean, "web-server", a="passes", b="passes", c="passes")
    assert clean.owner("web") is not None
    assert pathlib.Path(leader.log).read_text().count("check=web-server") >= 1
