"""Hooks end to end: programs of the nodes that are run when a VIP is taken or released."""

import json
import os

import pytest

from cluster import FAILED, Cluster, wait_until

SOON = 30  # seconds


@pytest.fixture(scope="module")
def cluster():
    with Cluster(3) as made:
        made.scripts = made.folder / "hooks.d"
        made.scripts.mkdir(mode=0o755)
        made.notes = made.folder / "notes"
        made.notes.mkdir(mode=0o777)
        made.notes.chmod(0o777)
        for node in made:
            node.extra["hooks-dir"] = made.scripts
        # one line of JSON a run, with the environment as it was and the addresses of the node's kernel
        script(made, "note", f"""#!/bin/sh
json=$(cat)
here=$(ip -o addr show to "$VIPD_ADDRESS" | grep -c .)
echo "{{\\"json\\": $json, \\"here\\": $here, \\"env\\": \\"$(env | grep ^VIPD_ | sort | tr '\\n' ' ')\\"}}" >>{made.notes}/$VIPD_NODE
""")
        script(made, "hang", "#!/bin/sh\necho about to hang\nexec sleep 1000\n")
        script(made, "fail", "#!/bin/sh\necho no such luck\nexit 3\n")
        script(made, "flood", "#!/bin/sh\nexec cat /dev/zero\n")
        script(made, "fork", f"#!/bin/sh\nsleep 1000 & echo $! >>{made.notes}/forked\n")
        script(made, "loose", "#!/bin/sh\nexit 0\n", mode=0o777)
        script(made, "quarter", "#!/bin/sh\nsleep 0.25\n")
        made.start().wait_formed()
        yield made


@pytest.fixture
def clean(cluster):
    """No VIPs. Each test has its own name for one: what hooks wrote stays."""
    node = cluster.any()
    names = [row["name"] for row in node.rows("vip", "list")]
    if names:
        node.vipctl("vip", "del", *names, "--wait")
    return cluster


def script(cluster, name, text, mode=0o755):
    path = cluster.scripts / name
    path.write_text(text)
    path.chmod(mode)
    return path


def since(cluster):
    """When each node was last fenced or admitted."""
    return {row["name"]: row["since_ms"] for row in cluster.any().rows("node", "list")}


def notes(cluster, node, vip):
    path = cluster.notes / node
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [row for row in rows if row["json"]["vip"] == vip]


def events(cluster, node, vip):
    return [row["json"]["event"] for row in notes(cluster, node, vip)]


def wait_events(cluster, node, vip, wanted):
    wait_until(lambda: events(cluster, node, vip) == wanted, SOON, f"{node}: {wanted}, not {events(cluster, node, vip)}", every=0.05)


ALL = "before-take=note,after-take=note,before-release=note,after-release=note"


def test_each_at_its_time(clean):
    """Before a take the address is not there, after it it is; before a release it still is, after it it is gone."""
    vip = clean.vip4(0)
    clean.any().vipctl("vip", "add", vip, "--name", "one", "--prefer", "a=100", "--hook", ALL, "--wait", "--timeout", "30s")
    assert clean.wait_held("one")[0].name == "a"
    wait_events(clean, "a", "one", ["before-take", "after-take"])
    clean.any().vipctl("vip", "move", "one", "--to", "b", "--wait", "--timeout", "30s")
    wait_events(clean, "a", "one", ["before-take", "after-take", "before-release", "after-release"])
    wait_events(clean, "b", "one", ["before-take", "after-take"])
    assert [row["here"] for row in notes(clean, "a", "one")] == [0, 1, 1, 0]
    assert [row["here"] for row in notes(clean, "b", "one")] == [0, 1]
    first, last = notes(clean, "a", "one")[0]["json"], notes(clean, "a", "one")[3]["json"]
    assert first["reason"] == "new" and first["from"] is None and first["to"] == "a" and first["node"] == "a"
    assert last["reason"] == "manual" and last["from"] == "a" and last["to"] == "b"
    assert last["address"] == vip.split("/")[0] and last["dev"] == "eth0" and last["moved"] > first["moved"]
    assert notes(clean, "b", "one")[1]["json"]["from"] == "a"
    env = dict(word.split("=", 1) for word in notes(clean, "b", "one")[1]["env"].split())
    assert env["VIPD_EVENT"] == "after-take" and env["VIPD_FROM"] == "a" and env["VIPD_TO"] == "b"
    assert env["VIPD_VIP"] == "one" and env["VIPD_REASON"] == "manual" and env["VIPD_LENGTH"] == vip.split("/")[1]


def test_a_crash_has_no_before_release(clean):
    """And the new owner is told who had it; a daemon that comes back keeps what it held, and says `again`."""
    clean.any().vipctl("vip", "add", clean.vip4(1), "--name", "two", "--prefer", "a=100", "--hook", ALL, "--wait", "--timeout", "30s")
    clean.wait_held("two")
    wait_events(clean, "a", "two", ["before-take", "after-take"])
    clean["a"].kill()
    owner = clean.wait_held("two", but=["a"], timeout=SOON)[0].name
    wait_events(clean, owner, "two", ["before-take", "after-take"])
    taken = notes(clean, owner, "two")[1]["json"]
    assert taken["reason"] == "crash" and taken["from"] == "a"
    clean["a"].start()
    clean.wait_formed()
    assert "before-release" not in events(clean, "a", "two")
    clean[owner].kill()
    clean[owner].start()  # within the lease or not: what it then holds it says again
    clean.wait_formed()


def test_sigterm_runs_those_of_a_release(clean):
    clean.any().vipctl("vip", "add", clean.vip4(2), "--name", "three", "--prefer", "c=100", "--hook", ALL, "--wait", "--timeout", "30s")
    assert clean.wait_held("three")[0].name == "c"
    wait_events(clean, "c", "three", ["before-take", "after-take"])
    clean["c"].terminate()
    assert events(clean, "c", "three") == ["before-take", "after-take", "before-release", "after-release"]
    assert [row["here"] for row in notes(clean, "c", "three")] == [0, 1, 1, 0]
    clean["c"].start()
    clean.wait_formed()


def test_those_that_go_wrong_hold_up_nothing(clean, say):
    """Hanging, failing, flooding, forking away, missing, writable by others: told, bounded, and the VIP goes its way."""
    moves = {"hang": None, "fail": "exit 3: no such luck", "flood": "more than 65536 bytes", "fork": "", "missing": "No such file",
             "loose": "can be written by others"}  # fmt: skip
    node = clean.any()
    before = since(clean)
    for program, why in moves.items():
        hook = ",".join(f"{point}={program},timeout=1s" for point in ("before-take", "after-take", "before-release", "after-release"))
        node.vipctl("vip", "add", clean.vip4(3), "--name", "four", "--prefer", "a=100", "--hook", hook, "--wait", "--timeout", "30s")
        assert clean.wait_held("four")[0].name == "a"
        node.vipctl("vip", "move", "four", "--to", "b", "--wait", "--timeout", "30s")
        assert clean.wait_held("four")[0].name == "b"
        shown = lambda: clean["b"].vipctl_raw("vip", "show", "four").stdout  # noqa: E731
        wanted = "not done in time, killed: about to hang" if why is None else why or "done in"
        wait_until(lambda: f"after-take: {program}" in shown() and wanted in shown().split("after-take: ")[1].splitlines()[0],
                   SOON, f"{program}: {wanted}", every=0.1)  # fmt: skip
        if why != "":
            rows = [row for row in clean["b"].vipctl("doctor", code=FAILED)["rows"] if row["check"] == "hooks" and not row["ok"]]
            assert rows, program
        node.vipctl("vip", "del", "four", "--wait")
    assert since(clean) == before  # nobody was fenced
    for pid in (clean.notes / "forked").read_text().split():
        wait_until(lambda p=pid: not os.path.exists(f"/proc/{p}"), SOON, "what a hook left behind is gone")


def test_before_take_is_waited_for_beside_the_release(clean):
    """A hanging before-release holds up a planned move for half of a lease, a hanging before-take for its timeout; neither is fenced."""
    node = clean.any()
    node.vipctl("vip", "add", clean.vip4(4), "--name", "five", "--prefer", "a=100", "--hook",
                "before-release=hang,timeout=30s,before-take=hang,timeout=1500ms", "--wait", "--timeout", "30s")  # fmt: skip
    assert clean.wait_held("five")[0].name == "a"
    before = since(clean)
    node.vipctl("vip", "move", "five", "--to", "b", "--wait", "--timeout", "30s")
    assert clean.wait_held("five")[0].name == "b"
    assert since(clean) == before  # nobody was fenced


def test_a_group_has_hooks_for_its_vips(clean):
    document = clean.folder / "hooks.yaml"
    document.write_text(f"""groups:
  g: {{hooks: {{after-take: note}}}}
vips:
  web: {{address: {clean.vip4(5)}, group: g}}
  db: {{address: {clean.vip4(6)}, group: g, hooks: {{after-take: {{run: fail, timeout: 1s}}}}}}
""")
    node = clean.any()
    node.vipctl("apply", "-f", str(document), "--wait", "--timeout", "30s")
    owner = clean.wait_held("web", "db")[0].name
    wait_events(clean, owner, "web", ["after-take"])
    assert notes(clean, owner, "web")[0]["json"]["group"] == "g"
    assert node.vipctl("vip", "show", "db")["hooks"] == {"after-take": {"run": "fail", "timeout_ms": 1000}}
    assert events(clean, owner, "db") == []
    assert not node.vipctl("diff", "-f", str(document))["differs"]


@pytest.mark.slow
@pytest.mark.limit(200)
def test_a_burst_is_bounded(clean, say):
    """A thousand VIPs with hooks: never more than 16 programs at a time, each run once, and nobody fenced."""
    script(clean, "count", f"#!/bin/sh\necho x >>{clean.notes}/count-$VIPD_NODE\nsleep 0.02\n")
    addresses = [f"10.0.{200 + i // 250}.{i % 250 + 1}/32" for i in range(1000)]
    node = clean["a"]
    before = since(clean)
    node.vipctl("vip", "add", *addresses, "--dev", "eth0", "--no-probe", "--nodes", "a", "--hook", "after-take=count", "--force")
    most = 0
    done = lambda: (clean.notes / "count-a").read_text().count("x") if (clean.notes / "count-a").exists() else 0  # noqa: E731

    def children():
        path = f"/proc/{node.pid}/task/{node.pid}/children"
        with open(path) as file:
            return len(file.read().split())

    def all_done():
        nonlocal most
        most = max(most, children())
        return done() == 1000

    wait_until(all_done, 120, "1000 hooks", every=0.005)
    assert 1 < most <= 16
    assert since(clean) == before
    late = [line for line in node.log_text().splitlines() if "late_ms=" in line]
    say(f"1000 hooks: at most {most} programs at a time; {len(late)} turns of the loop were late")
