"""The cluster's document end to end: apply, diff, export, rollback; what an apply leaves alone; what is refused, and how."""

import json
import pathlib
import subprocess
import time

import pytest
from cluster import CONFLICT, DONE, FAILED, NOT_FOUND, UNSAFE, USAGE, Cluster, run, wait_until

RENEWAL_S = 1.0  # a held address is renewed each third of the three seconds that it lives by itself


@pytest.fixture(scope="module")
def cluster():
    with Cluster(4, profile="wan") as cluster:  # a lease of 2.9 s, which a busy machine does not interrupt
        cluster["d"].extra["witness"] = "true"
        cluster.start().wait_formed()
        wait_until(lambda: any(row["witness"] for row in cluster["a"].rows("node", "list")), 20, "d says what it is")
        yield cluster


@pytest.fixture
def document(tmp_path):
    """Writes a document and returns its path."""

    def write(text, name="c.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


BASE = """\
settings: {failback: never, announce: {count: 5, interval: 200ms, refresh: 60s}}
groups:
  web: {prefer: {a: 100}}                      # VIPs of a group move together
vips:
  web-v4: {address: 10.77.1.50/16, dev: eth0, group: web}
  web-v6: {address: "fd77::50/64", group: web}
  db: {address: 10.77.1.60/16, nodes: [a, b], apart-from: [web-v4]}
"""


def test_apply_diff_export(cluster, document):
    node = cluster["b"]
    base = document(BASE)
    told = node.vipctl("diff", "-f", base)
    assert told["differs"] and told["add"] == 3
    assert node.vipctl("apply", "-f", base, "--dry-run")["changed"] is False
    assert node.rows("vip", "list") == []
    done = node.vipctl("apply", "-f", base, "--wait")
    assert done["changed"] and {row["name"] for row in done["changes"]} == {"web", "web-v4", "web-v6", "db"}
    rows = {row["name"]: row for row in node.rows("vip", "list")}
    assert {row["state"] for row in rows.values()} == {"held"}
    assert rows["web-v4"]["owner"] == rows["web-v6"]["owner"] == "a" and rows["db"]["owner"] == "b"
    # the same again, from any node: nothing
    for other in cluster:
        again = other.vipctl("apply", "-f", base)
        assert again["changed"] is False and again["revision"] == done["revision"]
    assert sum(row["kind"] == "apply" for row in node.rows("history")) == 1
    assert not node.vipctl("diff", "-f", base)["differs"]
    # export says the same; so does a pipe
    exported = node.vipctl_raw("export").stdout
    assert not node.vipctl("diff", "-f", document(exported, "out.yaml"))["differs"]
    done = run("/bin/sh", "-c", f"{VIPCTL(node)} export | {VIPCTL(node)} diff -f -", check=False)
    assert done.returncode == DONE and "nothing would change" in done.stdout
    # renamed in place, one gone, one new
    before = node.vipctl("vip", "show", "web-v4")["moved"]
    text = BASE.replace("  web-v4:", "  front:").replace("[web-v4]", "[front]").replace("  web-v6: {address: \"fd77::50/64\"", "  more: {address: 10.77.1.51/16")
    node.vipctl("apply", "-f", document(text), "--wait")
    rows = {row["name"]: row for row in node.rows("vip", "list")}
    assert set(rows) == {"front", "more", "db"} and {row["state"] for row in rows.values()} == {"held"}
    assert rows["front"]["moved"] == before
    told = node.rows("history", "--vip", "front")
    assert told[0]["kind"] == "vip-add" and {row["subject"] for row in told} == {"web-v4", "front"}
    assert "VIP front, which was web-v4: name changed" in node.vipctl_raw("events", "--vip", "front").stdout.replace("group, ", "")
    assert not any(other.has("fd77::50") for other in cluster)


def test_the_history_of_two_that_swap_names(cluster, document):
    node = cluster["a"]
    for name, address in (("one", "10.77.1.65/16"), ("two", "10.77.1.66/16")):
        node.vipctl("vip", "add", address, "--name", name, "--wait")
    node.vipctl("vip", "move", "one", "--to", "b", "--wait")
    before = {name: [row["number"] for row in node.rows("history", "--vip", name)] for name in ("one", "two")}
    text = node.vipctl_raw("export").stdout
    swapped = text.replace("one:", "three:").replace("two:", "one:").replace("three:", "two:")
    node.vipctl("apply", "-f", document(swapped))
    for name, was in (("one", "two"), ("two", "one")):
        told = node.rows("history", "--vip", name)
        renamed = [row for row in told if row.get("was")]  # under load it may have been moved before, too, or after
        assert [(row["subject"], row["was"]) for row in renamed] == [(name, was)]
        assert [row["number"] for row in told][: len(before[was])] == before[was]
        assert all(row["subject"] == (was if row["number"] < renamed[0]["number"] else name) for row in told)
    node.vipctl("vip", "del", "one", "two", "--wait")


def VIPCTL(node):
    from cluster import VIPCTL as path

    return f"{path} -s {node.control}"


def test_revisions_and_rollback(cluster, document):
    node = cluster["a"]
    node.vipctl("apply", "-f", document(BASE), "--wait")
    was = node.vipctl_raw("export").stdout
    revision = node.vipctl("diff", "-f", document(BASE))["revision"]
    assert node.vipctl("apply", "-f", document(BASE), "--if-rev", str(revision))["changed"] is False
    # somebody else changes it meanwhile
    cluster["c"].vipctl("vip", "add", "10.77.1.70/16", "--name", "other", "--wait")
    refused = node.vipctl("apply", "-f", document(BASE), "--if-rev", str(revision), code=CONFLICT)
    assert str(revision) in refused["error"] and "diff" in refused["hint"]
    assert cluster.vip("other")
    now = node.vipctl("diff", "-f", document(BASE))
    assert now["delete"] == 1
    node.vipctl("apply", "-f", document(BASE), "--if-rev", str(now["revision"]), "--wait")
    assert cluster.vip("other") is None
    kept = [row["revision"] for row in node.vipctl("revisions")]
    assert now["revision"] in kept
    told = node.vipctl("rollback", str(now["revision"]), "--dry-run")
    assert told["add"] == 1 and not told["changed"]
    node.vipctl("rollback", str(now["revision"]), "--wait")
    assert cluster.owner("other")
    node.vipctl("apply", "-f", document(was), "--wait")
    # a drain is no change of configuration, and a move by hand neither
    revision = node.vipctl("diff", "-f", document(BASE))["revision"]
    node.vipctl("vip", "move", "web-v4", "--to", "c", "--wait")
    assert not node.vipctl("diff", "-f", document(BASE))["differs"]
    assert node.vipctl("diff", "-f", document(BASE))["revision"] == revision


def test_failback(cluster, document):
    """A VIP that lost its preferred node stays where it is, and goes back once failback says so."""
    text = "settings: {{failback: {}}}\nvips:\n  back: {{address: 10.77.1.90/16, prefer: {{a: 100}}}}\n"
    node = cluster["b"]
    node.vipctl("apply", "-f", document(text.format("never")), "--force")
    wait_until(lambda: (cluster.owner("back", at=node) or node).name == "a", 30, "where it is preferred")
    cluster["a"].kill()
    wait_until(lambda: (cluster.vip("back", at=node) or {}).get("owner") in ("b", "c"), 30, "elsewhere")
    cluster["a"].start()
    wait_until(lambda: any(r["name"] == "a" and r["status"] == "up" for r in node.rows("node", "list")), 30, "a is back")
    assert node.vipctl("vip", "show", "back")["owner"] != "a"
    assert node.vipctl("diff", "-f", document(text.format("after 1s")))["changes"][0]["attributes"] == [
        {"key": "failback", "from": "never", "to": "after 1s"}
    ]
    node.vipctl("apply", "-f", document(text.format("after 1s")))
    wait_until(lambda: (cluster.owner("back", at=node) or node).name == "a", 30, "back where it is preferred")
    assert node.vipctl("vip", "show", "back")["reason"] == "prefer"


CHECKED = """\
checks:
  web: {file: /run/vipd-test-web, every: 200ms, fall: 2, rise: 1}
vips:
  checked: {address: 10.77.1.95/16, require: [web], probe: false}
"""


def test_checks_of_a_document(cluster, document):
    """A check and the VIP that requires it come in one entry, and the VIP is held only where it passes."""
    node = cluster["b"]
    entries = sum(row["kind"] == "apply" for row in node.rows("history"))
    told = node.vipctl("diff", "-f", document(CHECKED))
    row = next(row for row in told["changes"] if row["what"] == "check")
    assert (row["name"], row["change"]) == ("web", "add")
    assert {item["key"]: item["to"] for item in row["attributes"]} == {
        "file": "/run/vipd-test-web", "every": "200ms", "timeout": "200ms", "fall": "2", "rise": "1"
    }  # fmt: skip
    # what requires a check that comes with the same document names it
    told = node.vipctl("diff", "-f", document(CHECKED + "groups: {g: {require: [web]}}\n"))
    for what in ("vip", "group"):
        row = next(row for row in told["changes"] if row["what"] == what)
        assert {"key": "require", "from": None, "to": "[web]"} in row["attributes"]
    node.vipctl("apply", "-f", document(CHECKED), "--force")
    assert sum(row["kind"] == "apply" for row in node.rows("history")) == entries + 1
    wait_until(lambda: set(node.vipctl("check", "show", "web")["nodes"].values()) == {"fails"}, 20, "it fails everywhere")
    assert cluster.vip("checked")["state"] == "unheld"
    ok = pathlib.Path("/run/vipd-test-web")
    try:
        ok.touch()
        wait_until(lambda: cluster.owner("checked"), 20, "it passes")
        # what is so already is so; a change by hand is a difference, and goes back with a rollback
        assert not node.vipctl("diff", "-f", document(CHECKED))["differs"]
        exported = node.vipctl_raw("export").stdout
        assert "  web: {file: /run/vipd-test-web, every: 200ms, timeout: 200ms, fall: 2, rise: 1}\n" in exported
        revision = node.vipctl("diff", "-f", document(exported))["revision"]
        node.vipctl("apply", "-f", document(CHECKED.replace("every: 200ms", "every: 300ms, weight: 5, all-failed: release")))
        assert node.vipctl("check", "show", "web")["weight"] == 5
        told = node.vipctl("diff", "-f", document(exported))["changes"]
        assert [(row["what"], row["change"]) for row in told] == [("check", "change")]
        assert {"key": "weight", "from": "5", "to": None} in told[0]["attributes"]
        node.vipctl("rollback", str(revision))
        assert not node.vipctl("diff", "-f", document(exported))["differs"]
        # required by a VIP that the document does not speak of
        refused = node.vipctl_raw("apply", "-f", document("checks: {}\n"))
        assert refused.returncode == CONFLICT and ":1:9: check 'web' is not in checks" in refused.stderr
        assert "VIP 'checked' requires it" in refused.stderr and "--require" in refused.stderr
        assert node.vipctl("check", "show", "web")["required_by"] == ["checked"]
        node.vipctl("apply", "-f", document(CHECKED.split("vips:")[1].replace("\n  checked", "checks: {}\nvips:\n  checked").replace("require: [web], ", "")))
        assert node.rows("check", "list") == []
    finally:
        ok.unlink(missing_ok=True)


OWN = """\
settings: {failback: auto}
groups:
  pair: {prefer: {a: 100}, failback: after 1h}
vips:
  eager: {address: 10.77.1.91/16, prefer: {a: 100}}
  lazy: {address: 10.77.1.92/16, prefer: {a: 100}, failback: never}
  left: {address: 10.77.1.93/16, group: pair}
  right: {address: 10.77.1.94/16, group: pair}
"""


def test_failback_of_its_own(cluster, document):
    """Of four VIPs that lost the node that they prefer, only that goes back whose failback says so; explain tells whose word it is."""
    node = cluster["b"]
    names = ["eager", "lazy", "left", "right"]
    node.vipctl("apply", "-f", document(OWN), "--force")
    for name in names:
        wait_until(lambda: (cluster.owner(name, at=node) or node).name == "a", 30, f"{name} is where it is preferred")
    cluster["a"].kill()
    for name in names:
        wait_until(lambda: (cluster.vip(name, at=node) or {}).get("owner") in ("b", "c"), 30, f"{name} is elsewhere")
    cluster["a"].start()
    wait_until(lambda: (cluster.owner("eager", at=node) or node).name == "a", 30, "it is back")
    assert node.vipctl("vip", "show", "eager")["reason"] == "prefer"
    assert all(node.vipctl("vip", "show", name)["owner"] != "a" for name in names[1:])
    told = {name: node.vipctl("explain", "vip", name)["failback"] for name in names}
    assert told["eager"] == {"mode": "auto", "of": "cluster"}
    assert told["lazy"] == {"mode": "never", "of": "vip"}
    assert told["left"] == told["right"] == {"mode": "after 60m", "of": "group"}
    assert "failback: never (its own)" in node.vipctl_raw("explain", "vip", "lazy").stdout
    assert "failback    never" in node.vipctl_raw("vip", "show", "lazy").stdout
    node.vipctl("vip", "set", "lazy", "--failback", "default", "--wait")
    wait_until(lambda: (cluster.owner("lazy", at=node) or node).name == "a", 30, "it goes back, too")
    assert node.vipctl("diff", "-f", document(OWN))["changes"][0]["attributes"] == [
        {"key": "failback", "from": None, "to": "never"}
    ]
    refused = node.vipctl_raw("vip", "set", "lazy", "--failback", "soon")
    assert refused.returncode == USAGE and "never, auto, a time like 10m" in refused.stderr


# -- what is refused: the document (or {} filled into BASE), the exit code, the place, and words of the remedy --

VIP = "vips:\n  v: {{{}}}\n"
CHECK = "checks:\n  c: {{{}}}\n"
A = "address: 10.77.1.9/16"
WRONG = [
    # no YAML, or not the plain subset of it
    ("", USAGE, "1:1", ["expected keys and values", "found nothing"]),
    ("- a\n", USAGE, "1:1", ["found a list"]),
    ("vips\n", USAGE, "1:1", ["found a value"]),
    ("vips: {\n", USAGE, "2:1", ["not valid YAML"]),
    ("vips:\n\tv: {}\n", USAGE, "2:1", ["not valid YAML"]),
    ("vips: {}\nvips: {}\n", USAGE, "2:1", ["duplicate key 'vips'", "line 1"]),
    ("vips: &a {}\n", USAGE, "1:7", ["anchors", "write the value out"]),
    ("vips: !!map {}\n", USAGE, "1:7", ["tags", "leave it out"]),
    ("vips: {}\n---\nvips: {}\n", USAGE, "2:1", ["one file holds one"]),
    ("{[a]: b}\n", USAGE, "1:2", ["expected a key, found a list"]),
    (VIP.format(A + ", dev: \"e\\th\""), USAGE, "2:35", ["control character"]),
    # keys
    ("vipps: {}\n", USAGE, "1:1", ["did you mean 'vips'"]),
    ("settings: {announce: {cuont: 5}}\n", USAGE, "1:23", ["did you mean 'count'"]),
    ("settings: {fallback: never}\n", USAGE, "1:12", ["did you mean 'failback'"]),
    ("groups: {g: {perfer: {a: 1}}}\n", USAGE, "1:14", ["did you mean 'prefer'"]),
    ("nodes: {a: {capasity: 1}}\n", USAGE, "1:13", ["did you mean 'capacity'"]),
    ("cheks: {}\n", USAGE, "1:1", ["did you mean 'checks'"]),
    (CHECK.format('htpp: "http://127.0.0.1/"'), USAGE, "2:7", ["did you mean 'http'"]),
    (CHECK.format("file: /ok, evry: 1s"), USAGE, "2:18", ["did you mean 'every'"]),
    (CHECK.format("file: /ok, all-fail: keep"), USAGE, "2:18", ["did you mean 'all-failed'"]),
    ("voters: {cout: 3}\n", USAGE, "1:10", ["did you mean 'count'"]),
    (VIP.format("adress: 10.77.1.9/16"), USAGE, "2:7", ["did you mean 'address'"]),
    (VIP.format(A + ", apart: [x]"), USAGE, "2:30", ["expected one of", "apart-from"]),
    (VIP.format("dev: eth0"), USAGE, "2:6", ["key 'address' is missing"]),
    # kinds
    ("vips: [a]\n", USAGE, "1:7", ["'vips' is a list: expected a map of VIPs"]),
    ("vips:\n", USAGE, "1:1", ["'vips' has no value"]),
    ("vips: {v: 10.77.1.9/16}\n", USAGE, "1:11", ["expected a map", "{address: 10.0.0.50/24}"]),
    (VIP.format("address: [10.77.1.9/16]"), USAGE, "2:16", ["'address' is a list"]),
    (VIP.format(A + ", nodes: a"), USAGE, "2:37", ["expected a list of nodes, like [a, b]"]),
    (VIP.format(A + ", nodes: [[a]]"), USAGE, "2:38", ["expected a node's name, found a list"]),
    (VIP.format(A + ", nodes: []"), USAGE, "2:37", ["leave the key out"]),
    (VIP.format(A + ", prefer: [a]"), USAGE, "2:38", ["expected a map of nodes to weights"]),
    (VIP.format(A + ", group: [g]"), USAGE, "2:37", ["expected a group's name"]),
    ("groups: {g: web}\n", USAGE, "1:13", ["expected a map", "{} for group 'g'"]),
    ("settings: {announce: 5}\n", USAGE, "1:22", ["expected a map of count, interval and refresh"]),
    ("nodes: {a: 200}\n", USAGE, "1:12", ["{capacity: 200}"]),
    ("checks: [disk]\n", USAGE, "1:9", ["'checks' is a list: expected a map of checks"]),
    ("checks: {disk: /ok}\n", USAGE, "1:16", ["expected a map", "for check 'disk'"]),
    (CHECK.format("http: [a]"), USAGE, "2:13", ["'http' is a list", "http://127.0.0.1:8404/healthz"]),
    (CHECK.format("file: /ok, fall: {}"), USAGE, "2:24", ["expected a number from 1 to 100"]),
    (VIP.format(A + ", require: disk"), USAGE, "2:39", ["expected a list of checks, like [haproxy]"]),
    ("voters: 3\n", USAGE, "1:9", ["expected a map of count and replace"]),
    # values
    (VIP.format("address: 10.77.1.900/16"), USAGE, "2:16", ["is not an address", "10.0.0.50/24"]),
    (VIP.format("address: 10.77.1.9/33"), USAGE, "2:16", ["is not an address"]),
    (VIP.format("address: web"), USAGE, "2:16", ["is not an address"]),
    (VIP.format("address: 224.0.0.5/24"), USAGE, "2:16", ["multicast"]),
    (VIP.format("address: 127.0.0.1/8"), USAGE, "2:16", ["loopback"]),
    (VIP.format('address: "fe80::1/64"'), USAGE, "2:16", ["link-local"]),
    (VIP.format("address: 10.77.0.0/16"), USAGE, "2:16", ["network"]),
    (VIP.format("address: 10.77.255.255/16"), USAGE, "2:16", ["broadcast"]),
    (VIP.format("address: 10.77.0.1/16"), USAGE, "2:16", ["own address of node 'a'"]),
    (VIP.format('address: "fd77::3/64"'), USAGE, "2:16", ["own address of node 'c'"]),
    (VIP.format('address: "fd77::/64"'), USAGE, "2:16", ["network"]),
    (VIP.format(A + ", dev: a-name-too-long-for-it"), USAGE, "2:35", ["1 to 15 printable characters"]),
    (VIP.format(A + ", dev: eth/0"), USAGE, "2:35", ["'/'"]),
    (VIP.format(A + ", group: -g"), USAGE, "2:37", ["the first no '-'"]),
    (VIP.format(A + ", group: 'a b'"), USAGE, "2:37", ["not a name of a group"]),
    (VIP.format(A + ", enabled: yes"), USAGE, "2:39", ["expected true or false"]),
    (VIP.format(A + ", probe: 'true'"), USAGE, "2:37", ["in quotes"]),
    (VIP.format(A + ", conflict: yeild"), USAGE, "2:40", ["did you mean 'yield'"]),
    (VIP.format(A + ", prefer: {a: 0}"), USAGE, "2:42", ["expected 1 to 65535"]),
    (VIP.format(A + ", prefer: {a: 65536}"), USAGE, "2:42", ["expected 1 to 65535"]),
    (VIP.format(A + ", prefer: {a: most}"), USAGE, "2:42", ["not a number"]),
    ("settings: {announce: {count: 0}}\n", USAGE, "1:30", ["expected 1 to 100"]),
    ("settings: {announce: {count: 99999999999999999999}}\n", USAGE, "1:30", ["expected 1 to 100"]),
    ("settings: {announce: {interval: 200}}\n", USAGE, "1:33", ["did you mean 200ms"]),
    ("settings: {announce: {interval: 1ms}}\n", USAGE, "1:33", ["expected 10ms to 60s"]),
    ("settings: {announce: {refresh: 10ms}}\n", USAGE, "1:32", ["0s (never) or at least 1s"]),
    ("settings: {failback: nevr}\n", USAGE, "1:22", ["did you mean 'never'"]),
    ("settings: {failback: after 2d}\n", USAGE, "1:22", ["at most 1d"]),
    ("settings: {failback: after lunch}\n", USAGE, "1:22", ["after 10m"]),
    (VIP.format(A + ", failback: nver"), USAGE, "2:40", ["did you mean 'never'"]),
    (VIP.format(A + ", failback: after 25h"), USAGE, "2:40", ["at most 1d"]),
    (VIP.format(A + ", failback: {after: 10m}"), USAGE, "2:40", ["expected never, auto or a time"]),
    (VIP.format(A + ", failbak: never"), USAGE, "2:30", ["did you mean 'failback'"]),
    ("groups: {g: {failback: atuo}}\n", USAGE, "1:24", ["did you mean 'auto'"]),
    ("groups: {g: {failback: 10}}\n", USAGE, "1:24", ["lacks a unit"]),
    ("settings: {announce: {refresh: 2d}}\n", USAGE, "1:32", ["at most 1d"]),
    ("settings: {hold-down: {first: 10s, max: 5s}}\n", USAGE, "1:41", ["first to be at most max"]),
    ("nodes: {a: {capacity: 0}}\n", USAGE, "1:23", ["expected 1 to 1000"]),
    ("voters: {}\n", USAGE, "1:9", ["key 'count' is missing", "3, 5 or 7"]),
    ("voters: {count: 4}\n", USAGE, "1:17", ["expected 3, 5 or 7"]),
    ("voters: {count: 3, replace: 10ms}\n", USAGE, "1:29", ["expected 1s to 1d"]),
    ("checks: {-c: {file: /ok}}\n", USAGE, "1:10", ["is not a name of a check"]),
    (CHECK.format(""), USAGE, "2:6", ["check 'c' does not say what it looks at", "http, tcp, exec, process, file and ping"]),
    (CHECK.format('file: /ok, tcp: "127.0.0.1:80"'), USAGE, "2:18", ["'file' and 'tcp': expected one of them"]),
    (CHECK.format("http: \"http://localhost/\""), USAGE, "2:13", ["an address (no name)"]),
    (CHECK.format("tcp: 127.0.0.1"), USAGE, "2:12", ["expected ADDRESS:PORT"]),
    (CHECK.format("exec: /bin/sh"), USAGE, "2:13", ["no path and no arguments"]),
    (CHECK.format("process: a-name-of-17bytes"), USAGE, "2:16", ["1 to 15 bytes"]),
    (CHECK.format("file: ok"), USAGE, "2:13", ["an absolute path"]),
    (CHECK.format("ping: router"), USAGE, "2:13", ["an address, or gateway"]),
    (CHECK.format("file: /ok, every: 1"), USAGE, "2:25", ["lacks a unit"]),
    (CHECK.format("file: /ok, every: 50ms"), USAGE, "2:25", ["expected 100ms to 1h for file"]),
    (CHECK.format("exec: ok, every: 500ms"), USAGE, "2:24", ["expected 1s to 1h for exec"]),
    (CHECK.format("file: /ok, every: 2h"), USAGE, "2:25", ["at most 1h"]),
    (CHECK.format("file: /ok, every: 1s, timeout: 2s"), USAGE, "2:38", ["expected 10ms to 1s, which is 'every'"]),
    (CHECK.format("file: /ok, timeout: 1ms"), USAGE, "2:27", ["expected 10ms to 2s"]),
    (CHECK.format("file: /ok, fall: 0"), USAGE, "2:24", ["expected 1 to 100"]),
    (CHECK.format("file: /ok, rise: 101"), USAGE, "2:24", ["expected 1 to 100"]),
    (CHECK.format("file: /ok, weight: 65536"), USAGE, "2:26", ["expected 0 to 65535"]),
    (CHECK.format("file: /ok, scope: nod"), USAGE, "2:25", ["did you mean 'node'"]),
    (CHECK.format("file: /ok, all-failed: relase"), USAGE, "2:30", ["did you mean 'release'"]),
    ("checks:\n" + "".join(f"  c{i}: {{file: /ok}}\n" for i in range(65)), USAGE, "66:3", ["at most 64"]),
    # references
    (VIP.format(A + ", nodes: [a, z]"), USAGE, "2:41", ["'z' is not a node", "a, b, c"]),
    (VIP.format(A + ", nodes: [a, a]"), USAGE, "2:41", ["listed twice"]),
    (VIP.format(A + ", nodes: [d]"), USAGE, "2:38", ["witness"]),
    (VIP.format(A + ", prefer: {z: 1}"), USAGE, "2:39", ["'z' is not a node"]),
    (VIP.format(A + ", nodes: [a], prefer: {b: 1}"), USAGE, "2:50", ["not among the nodes"]),
    (VIP.format(A + ", apart-from: [w]"), USAGE, "2:43", ["'w' is no VIP of this document"]),
    (VIP.format(A + ", apart-from: [v]"), USAGE, "2:43", ["apart from itself"]),
    ("groups: {web: {}}\n" + VIP.format(A + ", group: wbe"), USAGE, "3:37", ["did you mean 'web'"]),
    ("nodes: {z: {capacity: 1}}\n", USAGE, "1:9", ["'z' is not a node"]),
    (VIP.format(A + ", require: [disk]"), USAGE, "2:40", ["there is no check 'disk'", "vipctl check add"]),
    ("checks: {disk: {file: /ok}}\n" + VIP.format(A + ", require: [dsik]"), USAGE, "3:40", ["did you mean 'disk'"]),
    ("checks: {disk: {file: /ok}}\n" + VIP.format(A + ", require: [disk, disk]"), USAGE, "3:46", ["listed twice"]),
    ("groups: {g: {require: [disk]}}\nchecks: {dist: {file: /ok}}\n", USAGE, "1:24", ["did you mean 'dist'"]),
    ("vips:\n  v: {address: 10.77.1.9/16}\n  w: {address: 10.77.1.9/24}\n", USAGE, "3:16", ["VIP 'v' in line 2"]),
    ("vips:\n  10.77.1.8: {address: 10.77.1.9/16}\n", USAGE, "2:3", ["another address than the VIP's own"]),
    ('vips:\n  "fd77::9": {address: "fd77::9/64"}\n  "FD77::9": {address: "fd77::a/64"}\n', USAGE, "3:3", ["another address"]),
    # what the nodes cannot honour
    (VIP.format(A + ", dev: eht0"), UNSAFE, "2:35", ["did you mean 'eth0'", "--force"]),
    (VIP.format("address: 192.0.2.9/24"), UNSAFE, "2:16", ["no interface whose subnet contains", "--force"]),
    (VIP.format("address: 192.0.2.9/24, nodes: [b]"), UNSAFE, "2:37", ["node 'b' has no interface", "vipctl node show"]),
]

COMMANDS = [
    (["apply"], USAGE, ["-f FILE"]),
    (["apply", "-f", "/nonexistent/c.yaml"], NOT_FOUND, ["/nonexistent/c.yaml", "No such file"]),
    (["apply", "-f", "/"], FAILED, ["Is a directory"]),
    (["apply", "-f", "/dev/null", "--if-rev", "x"], USAGE, ["is not a revision", "vipctl revisions"]),
    (["diff", "-f", "/dev/zero"], USAGE, ["larger than 1048576 bytes"]),
    (["diff", "--fiel", "c.yaml"], USAGE, ["did you mean --file"]),
    (["export", "all"], USAGE, ["one word too many"]),
    (["rollback"], USAGE, ["usage: vipctl rollback REV"]),
    (["rollback", "yesterday"], USAGE, ["is not a revision"]),
    (["rollback", "999999999"], NOT_FOUND, ["is not kept", "vipctl revisions"]),
    (["aplpy", "-f", "c.yaml"], USAGE, ["did you mean \"apply\""]),
    (["settings", "set", "failback=sometimes"], USAGE, ["never, auto"]),
    (["settings", "set", "hold-down.mx=1s"], USAGE, ["hold-down.max"]),
    (["settings", "set", "hold-down.max=500ms"], USAGE, ["first not above max"]),
]


def test_wrong_documents(cluster, document):
    """Each is refused with its place and a remedy, by apply and (some, for the time) by diff alike, and nothing changes."""
    node = cluster["c"]
    before = node.vipctl("diff", "-f", document("settings: {}\n"))["revision"]
    assert len(WRONG) + len(COMMANDS) >= 60
    wrong = []
    for number, (text, code, place, words) in enumerate(WRONG):
        path = document(text)
        done = node.vipctl_raw("apply", "-f", path)
        told = done.stderr.startswith(f"vipctl: {path}:{place}: ")
        same = number % 8 != 0 or node.vipctl_raw("diff", "-f", path).stderr == done.stderr
        if done.returncode != code or not told or not same or not all(word in done.stderr for word in words):
            wrong.append((text, code, place, words, done.returncode, done.stderr.replace(path, "c.yaml")))
    for args, code, words in COMMANDS:
        done = node.vipctl_raw(*args)
        if done.returncode != code or not all(word in done.stderr for word in words):
            wrong.append((args, code, words, done.returncode, done.stderr))
    assert not wrong, "\n".join(map(str, wrong))
    assert node.vipctl("diff", "-f", document("settings: {}\n"))["revision"] == before


class Watch:
    """netwatch.py in the namespace of a node."""

    def __init__(self, node, folder):
        self.path = folder / f"watch-{node.name}"
        self.out = open(self.path, "w")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", node.netns, "/usr/bin/python3", pathlib.Path(__file__).with_name("netwatch.py")],
            stdin=subprocess.PIPE, stdout=self.out,
        )  # fmt: skip
        wait_until(lambda: self.path.read_text().startswith("ready"), 20, "netwatch.py is ready")

    def seen(self, address):
        return [m for m in map(json.loads, self.path.read_text().splitlines()[1:]) if m["address"] == address]

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.out.close()


CALM = "  calm: {address: 10.77.1.80/16, nodes: [a]}\n  calm6: {address: \"fd77::80/64\", nodes: [a]}\n"


def changes_beside(cluster, document, watches, first):
    """Forty applies that change a neighbour of the calm VIPs; how long they took, and what the watches saw of the calm ones,
    on a and elsewhere."""
    node, begun = cluster["a"], time.monotonic()
    for turn in range(first, first + 40):
        # it comes, goes, changes its name and its node; with another address each time, as the last one may not be released yet
        busy = f"  busy{turn}: {{address: 10.77.{2 + turn // 200}.{turn % 200 + 1}/16, nodes: [{'abc'[turn % 3]}], probe: false}}\n"
        path = document(f"vips:\n{CALM}{busy}")
        wait_until(lambda: node.vipctl_raw("apply", "-f", path).returncode == DONE, 20, f"turn {turn}")
        assert node.vipctl("apply", "-f", path)["changed"] is False
    took = time.monotonic() - begun
    last = f"10.77.{2 + turn // 200}.{turn % 200 + 1}"
    cluster.wait_held(last)
    wait_until(lambda: any(watch.seen(last) for watch in watches), 10, "the watches see at all")
    seen = [m for address in ("10.77.1.80", "fd77::80") for m in watches[0].seen(address) if begun <= m["t"] <= begun + took]
    return took, seen, [m for watch in watches[1:] for address in ("10.77.1.80", "fd77::80") for m in watch.seen(address)]


def test_an_unrelated_vip_sees_no_netlink_write(cluster, document, tmp_path):
    """Renewals aside, which come once a second whatever happens: forty changes of a neighbour in little more time than that add
    none, and nothing is ever removed. A lease that ends because the machine is busy spoils a measurement; it is repeated."""
    node = cluster["a"]
    node.vipctl("apply", "-f", document(f"vips:\n{CALM}"), "--wait", "--force")
    watches = [Watch(other, tmp_path) for other in cluster]
    try:
        for first in range(0, 200, 40):
            lost = node.log_text().count("lease-lost")
            took, on_a, elsewhere = changes_beside(cluster, document, watches, first)
            if node.log_text().count("lease-lost") == lost:
                break
        else:
            raise AssertionError("the machine is too busy to keep a lease of 2.9 s")
        assert elsewhere == []
        assert [m for m in on_a if m["what"] == "del"] == []
        assert len(on_a) <= 2 * (took / RENEWAL_S + 2), (took, on_a)
    finally:
        for watch in watches:
            watch.close()
