"""vipctl events: what it tells of a cluster that loses daemons and leaders meanwhile; vipctl vip announce."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
from pathlib import Path

import pytest
from cluster import CALM, NOT_FOUND, UNSAFE, VIPCTL, Cluster, wait_until

TOP = Path(__file__).resolve().parents[2]
TEXTS, VIPCTL_SOURCE = TOP / "src/core/texts.c", TOP / "src/cli"
ADDRESS, ADDRESS6 = "10.77.1.1", "fd77::1:1"


@pytest.fixture
def cluster():
    with Cluster(3, profile=CALM) as running:
        yield running.start().wait_formed()


class Follower:
    """`vipctl events --follow`, its lines read as they come."""

    def __init__(self, node, *args):
        self.process = subprocess.Popen(
            [VIPCTL, "-s", node.control, "events", "--follow", *args],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
        )  # fmt: skip
        self.text = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def lines(self):
        while select.select([self.process.stdout], [], [], 0)[0]:
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                break
            self.text += more
        return self.text.decode().split("\n")[:-1]

    def rows(self):
        return [json.loads(line) for line in self.lines()]

    def wait_for(self, kind, subject, timeout=20):
        return wait_until(
            lambda: [row for row in self.rows() if (row["kind"], row.get("subject")) == (kind, subject)],
            timeout, f"the event {kind} of {subject}",
        )  # fmt: skip


def test_following_over_a_restart_and_a_new_leader(cluster):
    leader = cluster.leader()
    followed = next(node for node in cluster if node is not leader)
    third = next(node for node in cluster if node not in (leader, followed))
    third.vipctl("vip", "add", f"{ADDRESS}/16", "--name", "web", "--wait")
    with Follower(followed, "-o", "jsonl") as follower:
        follower.wait_for("vip-add", "web")
        followed.kill()
        third.vipctl("vip", "add", f"{ADDRESS6}/64", "--name", "six", "--wait")
        followed.start()
        follower.wait_for("vip-add", "six")
        cluster.wait_formed()
        leader.kill()
        follower.wait_for("fence", leader.name)
        leader.start()
        cluster.wait_formed()
        third.vipctl("vip", "del", "six", "--wait")
        follower.wait_for("vip-delete", "six")
        told = [row["number"] for row in follower.rows()]
        assert told == list(range(told[0], told[0] + len(told)))  # nothing twice, nothing left out
        history = {row["number"]: row for row in third.rows("history", "--limit", "0")}
        assert all(history[row["number"]]["kind"] == row["kind"] for row in follower.rows())
        follower.process.send_signal(signal.SIGINT)
        _, said = follower.process.communicate(timeout=10)
        assert b"the daemon is away" in said and b"the daemon is back" in said


class Screen:
    """vipctl on a terminal of 80 by 24."""

    def __init__(self, *args):
        self.text = b""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
            os.execv(VIPCTL, [str(VIPCTL), *map(str, args)])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.terminal)

    def read(self):
        with contextlib.suppress(OSError):  # it has ended
            while select.select([self.terminal], [], [], 0)[0]:
                self.text += os.read(self.terminal, 65536)
        return self.text.decode()

    def pictures(self):
        return self.read().split("\x1b[H")[1:]

    def wait_for(self, text):
        return wait_until(lambda: text in re.sub(r"\x1b\[[0-9]+m", "", self.pictures()[-1] if self.pictures() else ""), 20, text)


def test_watching_a_status(cluster):
    a = cluster["a"]
    a.vipctl("vip", "add", f"{ADDRESS}/16", "--name", "web", "--wait")
    with Screen("-s", a.control, "status", "--watch") as screen:
        screen.wait_for("loss of any one node: survived")
        assert screen.read().startswith("\x1b[?1049h")
        assert "\x1b[32mup" in screen.read()
        a.kill()
        screen.wait_for("the daemon is away")
        screen.wait_for("1 VIP:")  # and what it was stays
        a.start()
        screen.wait_for("Ctrl-C ends")
        for picture in screen.pictures():
            lines = re.sub(r"\x1b\[[0-9?]*[a-zA-Z]", "", picture).split("\r\n")
            assert len(lines) <= 24 and all(len(line) <= 80 for line in lines)
            assert "\x1b[2J" not in picture  # nothing is wiped before it is drawn
        os.write(screen.terminal, b"\x03")
        assert os.WTERMSIG(os.waitpid(screen.pid, 0)[1]) == signal.SIGINT
        assert screen.read().endswith("\x1b[?1049l")
    done = subprocess.run(["timeout", "3", VIPCTL, "-s", cluster["b"].control, "status", "-w"], capture_output=True, text=True)
    assert done.stdout.count("cluster ") >= 2 and "\x1b" not in done.stdout


def said(node, *args):
    done = node.vipctl_raw("events", *args)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_filters_and_sentences(cluster):
    a = cluster["a"]
    a.vipctl("vip", "add", f"{ADDRESS}/16", "--name", "web", "--wait")
    with Follower(a, "--vip", f"{ADDRESS}/16", "--limit", "1") as follower:
        wait_until(lambda: any("VIP web goes to" in line for line in follower.lines()), 20, "the newest one")
        a.vipctl("drain", "c", "--wait")
        a.vipctl("vip", "disable", "web", "--wait")
        wait_until(lambda: any("taken from" in line for line in follower.lines()), 20, "the sentence")
        assert not any("drained" in line for line in follower.lines())
        assert any("VIP web: disabled, by uid 0 on a" in line for line in follower.lines())
        assert len(follower.lines()) == 4  # the day, and three
    text = said(a, "--node", "c")
    assert "node c is drained, by uid 0 on a" in text and "web" not in text
    assert all(len(line) <= 80 for line in said(a).splitlines())
    assert len(said(a, "--limit", "3").splitlines()) == 4
    assert "nothing" in said(a, "--since", "0s")


def test_every_kind_has_a_sentence():
    """A kind without one would be told by its bare name."""
    source = (VIPCTL_SOURCE / "run_events.c").read_text()
    kinds = set(re.findall(r'case HISTORY_\w+:\n +return "([a-z-]+)";', TEXTS.read_text()))
    assert len(kinds) > 30
    assert {kind for kind in kinds if not kind.startswith("conflict-") and f'"{kind}"' not in source} == set()


def test_a_seventeenth_follower_is_refused(cluster):
    a = cluster["a"]
    followers = [Follower(a, "-o", "jsonl") for _ in range(17)]
    try:
        ended = wait_until(lambda: [f for f in followers if f.process.poll() is not None], 20, "a refusal")
        assert b"16 clients" in ended[0].process.stderr.read()
        assert a.vipctl("status")
    finally:
        for follower in followers:
            follower.__exit__()


def test_announce_from_any_node(cluster):
    a = cluster["a"]
    a.vipctl("settings", "set", "announce.count=1", "announce.refresh=0")
    a.vipctl("vip", "add", f"{ADDRESS}/16", "--name", "web", "--wait")
    a.vipctl("vip", "add", f"{ADDRESS6}/64", "--wait")
    with cluster.witness(ADDRESS, ADDRESS6) as witness:
        for name, named, address in (("a", "web", ADDRESS), ("b", ADDRESS6, ADDRESS6), ("c", f"{ADDRESS}/16", ADDRESS)):
            owner = cluster.vip(named)["owner"]
            before = len(witness.of(address).announces)
            wait_until(lambda: cluster[name].vipctl("vip", "announce", named)["changed"], 10, "its turn")
            wait_until(lambda: len(witness.of(address).announces) > before, 10, f"the announcement that {name} asked for")
            assert witness.of(address).announces[-1][1] == owner
    assert cluster["b"].vipctl("vip", "announce", "web", "--dry-run")["dry_run"]
    cluster["b"].vipctl("vip", "announce", "nosuch", code=NOT_FOUND)
    a.vipctl("vip", "disable", "web", "--wait")
    for node in cluster:
        assert "disabled" in node.vipctl("vip", "announce", "web", code=UNSAFE)["error"]
