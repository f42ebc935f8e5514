"""What users and their scripts rely on, line by line, on a cluster of three: every command in every format, every change tried
and awaited, exit codes, rows, names and addresses."""

import json
import re

import pytest
from cluster import (
    CALM, CONFLICT, DONE, FAILED, NO_QUORUM, NOT_FOUND, TIMED_OUT, TOP, UNSAFE, USAGE, VIPCTL, Cluster, run, wait_until,
)  # fmt: skip

# Without those that only a build has which pretends to be the next version.
SOURCE = re.sub(r"^#if VIPD_PRETEND_FORMAT$.*?^#endif$", "", (TOP / "src/cli/commands.c").read_text(), flags=re.M | re.S)
COMMANDS = re.findall(r'^        "([a-z ]+)", "', SOURCE, re.MULTILINE)
ADDRESS, ADDRESS6 = "10.77.1.1", "fd77::1:5"
DOCUMENT = """\
vips:
  web: {address: 10.77.1.1/16}
  six: {address: "fd77::1:5/64"}
"""
READING = [
    "status", "vip list", "vip show web", "node list", "node show a", "history", "events", "check list", "check show gw",
    "leader", "explain vip web", "explain node a", "plan --fail a", "diff -f {document}", "export", "revisions", "settings",
    "key list", "version",
]  # fmt: skip
CHANGES = [
    "vip add 10.77.9.9/16", "vip set web --prefer a=10", "vip move web --to c", "vip disable web", "vip announce web",
    "vip del web", "check add two --ping gateway", "check set gw --fall 9", "check del gw", "node add d 10.77.0.9:7400",
    "node set a --role voter", "node promote a", "drain a", "leader transfer b", "apply -f {document}",
    "settings set announce.count=3",
]  # fmt: skip
OBJECT_KEYS = {
    "status": {"cluster", "quorum", "leader", "index", "nodes", "vips", "unheld", "warnings", "survives", "losses", "node"},
    "vip show web": {"name", "address", "dev", "owner", "state", "since_ms", "reason", "history"},
    "node show a": {"id", "name", "address", "role", "status", "leader", "lease_ms", "vips"},
    "explain vip web": {"vip", "nodes"},
    "explain node a": {"node", "can_hold", "checks"},
    "plan --fail a": {"moves", "quorum", "rows", "nowhere"},
    "diff -f {document}": {"differs", "changes", "revision"},
    "export": {"cluster", "revision", "text"},
}
VIP_KEYS = {"name", "address", "dev", "owner", "state", "since_ms", "reason"}
NODE_KEYS = {"id", "name", "address", "role", "status", "leader", "lease_ms", "vips"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(3, profile=CALM) as running:
        running.document = tmp_path_factory.mktemp("contract") / "cluster.yaml"
        running.document.write_text(DOCUMENT)
        yield running.start().wait_formed()


@pytest.fixture
def ready(cluster):
    """With web and six held, and a check that nothing requires."""
    node = cluster.any()
    node.vipctl("apply", "-f", str(cluster.document), "--wait")
    node.vipctl_raw("check", "add", "gw", "--ping", "gateway")
    cluster.wait_formed()
    return cluster


def words(cluster, command):
    return [word.format(document=cluster.document) for word in command.split()]


def ask(cluster, command, *more, node="a"):
    return cluster[node].vipctl_raw(*words(cluster, command), *more)


@pytest.mark.parametrize("command", READING)
def test_every_format(ready, command):
    for form in ("table", "wide"):
        done = ask(ready, command, "-o", form)
        assert done.returncode == DONE, done
        assert done.stdout.strip() and not done.stdout.startswith("{")
        assert form == "wide" or all(len(line.rstrip()) <= 80 for line in done.stdout.splitlines()), done.stdout
    answer = json.loads(ask(ready, command, "-o", "json").stdout)
    lines = [json.loads(line) for line in ask(ready, command, "-o", "jsonl").stdout.splitlines()]
    if isinstance(answer, list):
        assert len(lines) >= len(answer) and all(isinstance(line, dict) for line in lines)
    else:
        assert len(lines) == 1 and set(lines[0]) == set(answer)
        assert OBJECT_KEYS.get(command, set()) <= set(answer)


@pytest.mark.parametrize("node", "abc")
def test_rows(ready, node):
    vips = json.loads(ask(ready, "vip list", "-o", "json", node=node).stdout)
    assert {row["name"] for row in vips} == {"web", "six"}
    for row in vips:
        assert VIP_KEYS <= set(row) and row["state"] == "held" and row["owner"] in "abc" and row["since_ms"] > 0
    nodes = json.loads(ask(ready, "node list", "-o", "json", node=node).stdout)
    assert [row["name"] for row in nodes] == ["a", "b", "c"]
    for row in nodes:
        assert NODE_KEYS <= set(row) and row["role"] == "voter" and row["status"] == "up" and row["lease_ms"] > 0
    assert sum(row["leader"] for row in nodes) == 1


def test_states_have_their_names(ready):
    node = ready["a"]
    node.vipctl("vip", "disable", "web", "--wait")
    assert ready.vip("web")["state"] == "disabled" and ready.vip("web")["owner"] is None
    node.vipctl("vip", "add", "10.99.0.1/24", "--name", "nowhere", "--force")
    row = wait_until(lambda: ready.vip("nowhere")["state"] == "unheld" and ready.vip("nowhere"), 10, "unheld")
    assert row["why"] and "nowhere" in str(node.vipctl("status")["unheld"])
    node.vipctl("drain", "c", "--wait")
    assert node.vipctl("node", "show", "c")["status"] == "drained"
    node.vipctl("undrain", "c", "--wait")


@pytest.mark.parametrize("command", CHANGES)
def test_a_dry_run_changes_nothing(ready, command):
    before = ask(ready, "export", "-o", "json").stdout, ask(ready, "history", "-o", "json").stdout
    leader = ready["a"].vipctl("leader")["leader"]
    for form in ("table", "wide", "json", "jsonl"):
        done = ask(ready, command, "--dry-run", "-o", form, node="b")
        assert done.returncode == DONE, done
        assert "dry-run" in done.stdout or "would" in done.stdout or json.loads(done.stdout)["dry_run"]
    assert (ask(ready, "export", "-o", "json").stdout, ask(ready, "history", "-o", "json").stdout) == before
    assert ready["a"].vipctl("leader")["leader"] == leader


@pytest.mark.parametrize("command", [c for c in CHANGES if not c.startswith(("node", "check", "vip del", "vip announce"))])
def test_every_change_can_be_awaited(ready, command):
    done = ask(ready, command, "--wait", "--timeout", "60s", "-o", "json", node="c")
    assert done.returncode == DONE, done
    assert json.loads(done.stdout).get("settled", True)
    ask(ready, "undrain a", "--wait")
    ask(ready, "vip enable web", "--wait")
    ask(ready, "vip del 10.77.9.9", "--wait")


@pytest.mark.parametrize("name", ["six", ADDRESS6, f"{ADDRESS6}/64", f"{ADDRESS6}/128", "FD77:0:0:0::1:0005", "fd77:0000::0001:5/64"])
def test_a_name_is_as_good_as_an_address(ready, name):
    node = ready["b"]
    assert node.vipctl("vip", "show", name)["name"] == "six"
    assert node.vipctl("explain", "vip", name)["vip"]["name"] == "six"
    assert {row["subject"] for row in node.vipctl("history", "--vip", name)} == {"six"}
    assert {row["subject"] for row in node.vipctl("events", "--vip", name)} == {"six"}
    node.vipctl("vip", "set", name, "--prefer", "b=5", "--wait")
    node.vipctl("vip", "set", "web", "--apart-from", name)
    assert node.vipctl("vip", "show", "web")["apart_from"] == ["six"]
    node.vipctl("vip", "set", "web", "--apart-from", "none")
    owner = node.vipctl("vip", "show", name)["owner"]
    to = next(other for other in "abc" if other != owner)
    assert node.vipctl("vip", "move", name, "--to", to, "--wait")["vips"][0]["owner"] == to
    assert node.vipctl("vip", "disable", name, "--wait")["vips"][0]["state"] == "disabled"
    assert node.vipctl("vip", "enable", name, "--wait")["vips"][0]["state"] == "held"
    assert node.vipctl("vip", "announce", name)["vips"][0]["name"] == "six"
    node.vipctl("vip", "del", name, "--wait")
    node.vipctl("vip", "show", name, code=NOT_FOUND)


def test_a_plan_tells_of_the_voters(ready):
    """Also where nothing moves, as with a witness."""
    a = ready["a"]
    assert "majority" not in a.vipctl_raw("plan").stdout
    a.vipctl("drain", "c", "--wait")
    plan = a.vipctl("plan", "--fail", "c")
    assert (plan["moves"], plan["quorum"], plan["voters"], plan["voters_left"]) == (0, True, 3, 2)
    assert "a majority of the voters would remain (2 of 3 left)\n" in a.vipctl_raw("plan", "--fail", "c").stdout
    a.vipctl("undrain", "c", "--wait")
    said = a.vipctl_raw("plan", "--fail", "b,c").stdout
    assert "the majority of the voters would be lost: nothing would be held (1 of 3 left)\n" in said
    assert all(len(line) <= 80 for line in said.splitlines())


def test_nodes_by_address(ready):
    a = ready["a"]
    for name in ("a", ready["a"].endpoint, ready["a"].ip4):
        assert ready["b"].vipctl("node", "show", name)["name"] == "a"
        assert ready["b"].vipctl("explain", "node", name)["node"]["name"] == "a"
        assert {row["owner"] for row in ready["b"].vipctl("vip", "list", "--node", name)} <= {"a"}
        assert {row["subject"] for row in ready["b"].vipctl("history", "--node", name)} == {"a"}
        assert ready["c"].vipctl("plan", "--fail", name)["quorum"]
    a.vipctl("drain", ready["b"].endpoint, "--wait")
    assert a.vipctl("node", "show", "b")["status"] == "drained"
    a.vipctl("undrain", ready["b"].ip4, "--wait")
    assert a.vipctl("node", "show", "b")["status"] == "up"
    a.vipctl("node", "show", "10.77.0.77", code=NOT_FOUND)


def test_several_at_once_are_one_answer(ready):
    a = ready["a"]
    for change in ("disable", "enable", "move"):
        answer = a.vipctl("vip", change, "web", ADDRESS6, "--wait")
        assert [row["name"] for row in answer["vips"]] == ["web", "six"] and answer["changed"] and answer["settled"]
    history = a.vipctl("history")
    a.vipctl("vip", "disable", "web", "nosuch", code=NOT_FOUND)
    assert a.vipctl("history") == history  # nothing of it was done


def test_exit_codes(ready):
    a = ready["a"]
    assert a.vipctl_raw("status").returncode == DONE
    assert run(VIPCTL, "-s", "/nonexistent/socket", "status", check=False).returncode == FAILED
    assert a.vipctl_raw("vip", "add", "10.0.0.300/24").returncode == USAGE
    a.vipctl("vip", "add", "10.77.1.7/16", "--nodes", "c", "--name", "only", "--wait")
    refused = a.vipctl_raw("drain", "c")
    assert refused.returncode == UNSAFE and "only" in refused.stderr and "--force" in refused.stderr
    losses = a.vipctl("status")["losses"]
    assert [(loss["node"], loss["vips"], loss["quorum"]) for loss in losses] == [("c", ["only"], True)]
    a.vipctl("vip", "show", "nosuch", code=NOT_FOUND)
    a.vipctl("vip", "add", f"{ADDRESS}/16", code=CONFLICT)
    late = a.vipctl_raw("vip", "add", "10.99.0.2/24", "--name", "late", "--force", "--wait", "--timeout", "2s")
    assert late.returncode == TIMED_OUT and "late" in late.stderr
    a.vipctl("vip", "del", "late", "only", "--wait")


def test_what_is_known_without_a_daemon():
    bare = run(VIPCTL, check=False)
    assert bare.returncode == DONE and all(f"\n  {words}" in bare.stdout for words in COMMANDS)
    for words_ in COMMANDS:
        assert run(VIPCTL, *words_.split(), "--help", check=False).returncode == DONE
    assert "vip move" in run(VIPCTL, "help", "vip").stdout


def test_history_is_an_audit_trail(ready):
    a = ready["a"]
    to = next(name for name in "abc" if name != ready.vip("web")["owner"])
    a.vipctl("vip", "move", "web", "--to", to, "--wait")
    rows = ready["c"].vipctl("history", "--vip", "web", "--since", "10m")
    move = [row for row in rows if row["kind"] == "move"][-1]
    assert move["to"] == to and move["reason"] == "manual" and 0 <= move["released_ms"] <= move["held_ms"] < 5000
    change = [row for row in rows if row["kind"] == "vip-set"][-1]
    assert change["who"] == "uid 0 on a" and change["changed"] == ["pinned"]
    wide = a.vipctl_raw("history", "-o", "wide").stdout
    assert f"held {move['held_ms']}ms" in wide
    assert f"held {move['held_ms']}ms" in a.vipctl_raw("vip", "show", "web").stdout
    for since in ("1h", "now", "@1", "2020-01-31", "2020-01-31 12:30", "2020-01-31T12:30:00", "2020-01-31T12:30:00.5Z", "2020-01-31T12:30:00+01:00"):
        answer = a.vipctl("history", "--since", since)
        assert (answer == []) == (since == "now")


def test_without_a_majority(ready):
    """The last one: it takes the cluster apart."""
    a = ready["a"]
    ready["b"].kill()
    assert [loss["quorum"] for loss in wait_until(lambda: a.vipctl("status")["losses"], 20, "losses")] == [False, False]
    fenced = wait_until(lambda: [r for r in a.vipctl("history", "--node", "b") if r["kind"] == "fence"], 20, "the fence")[-1]
    assert fenced["silent_ms"] >= 2000 or ready.profile != CALM
    ready["c"].kill()
    wait_until(lambda: not a.vipctl("status")["quorum"], 20, "no quorum")
    assert a.vipctl_raw("vip", "disable", "web").returncode == NO_QUORUM
    status = a.vipctl("status")
    assert status["local"] and status["survives"] is None
    assert a.vipctl_raw("vip", "announce", "web").returncode in (UNSAFE, CONFLICT)
    assert a.vipctl("events") and a.vipctl("vip", "list")
