"""vipctl maintenance, with real daemons: a whole run, and what it is to survive. The command of most runs asks this program to do
something to the node whose turn it is, and waits until that is done."""

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import threading
import time

import pytest

from cluster import CALM, CONFLICT, DONE, FAILED, NOT_FOUND, TIMED_OUT, UNSAFE, USAGE, VIPCTL, Cluster, wait_until
from scene import Scene, back, watched

SETTLE = ("--settle", "300ms")


@pytest.fixture(scope="module")
def the_scene():
    the_scene = Scene(CALM)
    yield the_scene
    the_scene.close()


@pytest.fixture
def scene(the_scene, say):
    with contextlib.suppress(Exception):
        the_scene.cluster.any().vipctl_raw("maintenance", "abort")
    with watched(the_scene, say):
        yield the_scene
    the_scene.cluster.any().vipctl_raw("maintenance", "abort")


class Desk:
    """Where commands ask: `command` waits at it for the node in VIPD_NODE until it is let go on with an exit code."""

    def __init__(self, folder):
        self.folder = folder
        self.command = folder / "command"
        self.command.write_text(
            "#!/bin/sh\n"
            f"cd {folder} || exit 99\n"
            "trap '' PIPE\n"  # who reads its output may be killed
            'echo "at $VIPD_NODE, $1"\n'
            'touch "asks.$VIPD_NODE"\n'
            'while [ ! -s "go.$VIPD_NODE" ]; do sleep 0.05; done\n'
            'code=$(cat "go.$VIPD_NODE")\n'
            'rm -f "go.$VIPD_NODE" "asks.$VIPD_NODE"\n'
            'echo "leaves $VIPD_NODE"\n'
            'echo "$VIPD_NODE" >> ran\n'
            'exit "$code"\n'
        )
        self.command.chmod(0o755)

    def asks(self, timeout=60):
        """The name of the node whose command waits."""
        seen = wait_until(lambda: [f.name[5:] for f in self.folder.glob("asks.*")], timeout, "a command that waits")
        return seen[0]

    def let_go(self, name, code=0):
        (self.folder / f"asks.{name}").unlink(missing_ok=True)
        new = self.folder / "new"
        new.write_text(f"{code}\n")
        new.rename(self.folder / f"go.{name}")

    @property
    def ran(self):
        path = self.folder / "ran"
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def desk(tmp_path):
    yield Desk(tmp_path)
    for name in "abc":  # whatever waits still
        (tmp_path / f"go.{name}").write_text("0\n")


class Vipctl:
    """A vipctl that runs on its own, as from a script."""

    def __init__(self, node, *args):
        self.process = subprocess.Popen(
            [str(VIPCTL), "-s", str(node.control), *map(str, args)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def text(self):
        return "".join(self.lines)

    def code(self, timeout=90):
        code = self.process.wait(timeout)
        self.reader.join(10)
        return code

    def runner(self):
        """The process that runs the commands: in a session of its own."""
        def find():
            own = self.process.pid
            found = subprocess.run(["ps", "-eo", "pid=,ppid=,sid=,comm="], capture_output=True, text=True, check=True).stdout
            for row in found.splitlines():
                pid, parent, session, name = row.split(None, 3)
                if int(parent) == own and int(session) == int(pid) and name.strip() == "vipctl":
                    return int(pid)
            return None

        return wait_until(find, 10, "the runner")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def vipctl(node, *args):
    running = Vipctl(node, *args)
    try:
        yield running
    finally:
        running.close()


def show(node):
    done = node.vipctl_raw("maintenance", "status", "-o", "json")
    return json.loads(done.stdout) if done.returncode == DONE else {"state": "?"}


def wait_state(node, state, timeout=60):
    return wait_until(lambda: (row := show(node))["state"] == state and row, timeout, f"maintenance {state}", every=0.05)


def states(row):
    return {node["name"]: node["state"] for node in row["nodes"]}


def status_of(node, name):
    return next(row["status"] for row in node.rows("node", "list") if row["name"] == name)


def history(node, since):
    return [row for row in node.vipctl("history") if row["index"] > since]


def other(scene, *names):
    return next(node for node in scene.cluster if node.name not in names and node.running)


# ---------------------------------------------------------------------------------------------------- a whole run


def test_a_rolling_restart(scene, desk, say):
    """Three nodes, vipd restarted on each by its command, under ping; the leader last, and one election for it."""
    first = scene.cluster.leader()
    begun = scene.cluster.any().vipctl("status")["index"]
    at = first
    with vipctl(at, "maintenance", "run", *SETTLE, "--", desk.command, "{node}") as run:
        for _ in range(3):
            name = desk.asks()
            node = scene.cluster[name]
            asked = other(scene, name)
            assert status_of(asked, name) == "drained"
            assert not node.addresses() & {v.split("/")[0] for v in scene.vips}
            row = show(asked)
            assert row["node"] == name and row["step"] == "running"
            assert sum(state not in ("waiting", "done") for state in states(row).values()) == 1
            assert f"{name} runs its command" in asked.vipctl_raw("status").stdout
            node.restart()
            desk.let_go(name)
            wait_until(lambda n=name: not (desk.folder / f"asks.{n}").exists() and n in desk.ran, 30, f"{name} left")
        assert run.code() == DONE, run.text
    assert desk.ran[-1] == first.name
    for name in desk.ran:
        assert re.search(rf"{name} \| at {name}, {name}\n", run.text)
        told = [line.split(": ", 1)[1] for line in run.text.splitlines() if re.match(rf"\d\d:\d\d:\d\d  {name}: ", line)]
        assert [re.sub(r" \(.*", "", line) for line in told] == [
            "draining", "drained", "command begins", "command ended; waiting until it is healthy",
            "healthy, and in service again",
        ]  # fmt: skip
        begins, at_it = run.text.index(f"{name}: command begins"), run.text.index(f"{name} | at ")
        assert begins < at_it < run.text.index(f"{name} | leaves") < run.text.index(f"{name}: command ended")
    scene.cluster.wait_formed().wait_held(*scene.vips)
    assert {row["status"] for row in at.rows("node", "list")} == {"up"}
    events = history(at, begun)
    kinds = [event["kind"] for event in events]
    for kind, n in (("maintenance", 1), ("maintenance-drained", 3), ("maintenance-command", 3), ("maintenance-node", 3),
                    ("maintenance-end", 1), ("undrain", 3), ("maintenance-failed", 0)):  # fmt: skip
        assert kinds.count(kind) == n, (kind, kinds)
    assert all(event["took_ms"] > 0 for event in events if event["kind"] in ("maintenance-command", "maintenance-end"))
    assert all(event["who"] == f"uid 0 on {at.name}" for event in events if event["kind"].startswith("maintenance"))
    told, command = at.vipctl_raw("events", "--limit", "60").stdout, re.escape(str(desk.command)[:63])
    for sentence in (f"maintenance begins; its command is {command}", r"node b is drained for its maintenance \(",
                     r"node b has run its command \(", r"node b is in service again \(",
                     rf"the maintenance with {command} is over \("):  # fmt: skip
        assert re.search(sentence, told), (sentence, told)
    scene.witness.assert_never_on_two()
    say(f"{show(at)['ended_ms'] - show(at)['begun_ms']} ms for three nodes")


def test_leadership_is_handed_over_once(scene, desk):
    """Draining costs one election, the leader's own, and its successor is a node that is done."""
    leader = scene.cluster.leader()
    asked = other(scene, leader.name)
    seen = []
    with vipctl(asked, "maintenance", "run", *SETTLE, "--", "true") as run:
        while run.process.poll() is None:
            name = next((row["name"] for row in asked.rows("node", "list") if row["leader"]), None)
            if name and seen[-1:] != [name]:
                seen.append(name)
        assert run.code() == DONE, run.text
    assert seen[0] == leader.name and len(seen) == 2, seen
    assert [node["name"] for node in show(asked)["nodes"]][-1] == leader.name


def test_the_plan_comes_first(scene):
    node = scene.cluster.any()
    index = node.vipctl("status")["index"]
    shown = node.vipctl_raw("maintenance", "run", "--dry-run", "--", "false")
    assert shown.returncode == DONE and "maintenance of 3 nodes" in shown.stdout and "leads now" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80
    plan = node.vipctl("maintenance", "run", "--dry-run", "--", "false")
    assert plan["n"] == 3 and len(plan["nodes"]) == 3 and "unsafe" not in plan
    assert [n["leader"] for n in plan["nodes"]] == [False, False, True]
    owned = {n["name"]: n["owns"] for n in node.rows("node", "list")}
    first = plan["nodes"][0]
    assert first["moves"] == owned[first["name"]] == len(first["rows"])
    assert all(row["from"] == first["name"] and row["to"] != first["name"] for row in first["rows"])
    chosen = node.vipctl("maintenance", "run", "--dry-run", "--nodes", "c,a", "--", "false")
    assert {n["name"] for n in chosen["nodes"]} == {"a", "c"}
    assert node.vipctl("status")["index"] == index
    assert show(node)["state"] != "running"


def test_a_node_drained_before_stays_so(scene):
    node = scene.cluster.any()
    leader = scene.cluster.leader().name
    drained = other(scene, leader).name
    node.vipctl("drain", drained, "--wait")
    done = node.vipctl_raw("maintenance", "run", *SETTLE, "--nodes", drained, "--", "true")
    assert done.returncode == DONE, done.stdout + done.stderr
    assert "stays drained, as now" in done.stdout and "it stays drained, as before" in done.stdout
    assert status_of(node, drained) == "drained"
    node.vipctl("undrain", drained, "--wait")


# ---------------------------------------------------------------------------------------------------- failures


def test_a_command_that_fails(scene, desk):
    node = scene.cluster.any()
    with vipctl(node, "maintenance", "run", *SETTLE, "--", desk.command) as run:
        name = desk.asks()
        desk.let_go(name, 3)
        assert run.code() == FAILED
    assert f"stopped at {name}: the command ended with 3" in run.text
    assert f"leaves {name}" in run.text and "maintenance resume --done" in run.text
    row = show(node)
    assert row["state"] == "stopped" and row["status"] == 3 and f"leaves {name}" in row["tail"]
    assert sorted(states(row).values()) == ["failed", "waiting", "waiting"]
    assert status_of(node, name) == "drained"
    assert f"maintenance stopped, 0 of 3 nodes done: {name} failed (uid 0 on {node.name}, " in node.vipctl_raw("status").stdout
    refused = node.vipctl_raw("undrain", name)
    assert refused.returncode == UNSAFE and "under maintenance" in refused.stderr
    assert node.vipctl_raw("maintenance", "run", "--", "true").returncode == CONFLICT
    # The person saw to it by hand.
    with vipctl(other(scene, name), "maintenance", "resume", "--done") as run:
        for _ in range(2):
            desk.let_go(desk.asks())
            wait_until(lambda: not list(desk.folder.glob("go.*")), 30, "it goes on")
        assert run.code() == DONE, run.text
    assert len(desk.ran) == 3
    assert set(states(show(node)).values()) == {"done"}


def test_a_command_that_cannot_be_run_or_takes_too_long(scene):
    node = scene.cluster.any()
    done = node.vipctl_raw("maintenance", "run", *SETTLE, "--", "/no/such/program")
    assert done.returncode == FAILED and "ended with 127" in done.stdout and "cannot run /no/such/program" in done.stdout
    node.vipctl("maintenance", "abort")
    name = next(n["name"] for n in show(node)["nodes"] if n.get("left_drained"))
    node.vipctl("undrain", name, "--wait")
    done = node.vipctl_raw("maintenance", "run", *SETTLE, "--command-timeout", "500ms", "--", "sleep", "600")
    assert done.returncode == FAILED and "did not end in time" in done.stdout
    assert show(node)["status"] == -signal.SIGTERM


def test_a_node_that_does_not_come_back(scene, desk):
    leader = scene.cluster.leader()
    with vipctl(leader, "maintenance", "run", *SETTLE, "--return-timeout", "4s", "--", desk.command) as run:
        name = desk.asks()
        node = scene.cluster[name]
        node.terminate()
        desk.let_go(name)
        assert run.code() == FAILED
    assert f"stopped at {name}: it is not heard" in run.text or f"stopped at {name}: it is fenced" in run.text, run.text
    row = show(leader)
    assert row["state"] == "stopped" and sorted(states(row).values()) == ["failed", "waiting", "waiting"]
    assert desk.ran == [name]
    scene.cluster.wait_held(*scene.vips)
    node.start()
    with vipctl(leader, "maintenance", "resume") as run:  # it is waited for again, and not done again
        for _ in range(2):
            desk.let_go(desk.asks())
            wait_until(lambda: not list(desk.folder.glob("go.*")), 30, "it goes on")
        assert run.code() == DONE, run.text
    assert sorted(desk.ran) == ["a", "b", "c"]


def test_a_restart_is_waited_for(scene, desk):
    """With --restart: the command's end says nothing, neither its code nor that it is over; the new run of vipd does."""
    leader = scene.cluster.leader()
    name = other(scene, leader.name).name
    with vipctl(leader, "maintenance", "run", *SETTLE, "--restart", "--nodes", name, "--", desk.command) as run:
        desk.asks()
        desk.let_go(name, 255)
        waited = wait_until(lambda: show(leader).get("waits"), 30, "it is waited for")
        assert waited == "it has not been restarted yet"
        assert status_of(leader, name) == "drained"
        scene.cluster[name].restart("kill")
        assert run.code() == DONE, run.text
    back(scene, scene.cluster[name])


# ---------------------------------------------------------------------------------------------------- deaths


def test_the_terminal_dies(scene, desk):
    """SIGKILL for the vipctl that shows it: its commands go on, to the end."""
    node = scene.cluster.leader()
    with vipctl(node, "maintenance", "run", *SETTLE, "--", desk.command) as run:
        name = desk.asks()
        run.process.kill()
        run.process.wait()
        for _ in range(3):
            desk.let_go(name)
            wait_until(lambda n=name: n in desk.ran, 30, f"{name} left")
            name = desk.asks() if len(desk.ran) < 3 else None
        row = wait_state(node, "done")
    assert set(states(row).values()) == {"done"}


@pytest.mark.slow
def test_the_runner_dies_with_a_command(scene, desk):
    """SIGKILL for all of vipctl, as when its host goes: paused when it is known to be lost, and nothing is guessed."""
    leader = scene.cluster.leader()
    with vipctl(leader, "maintenance", "run", *SETTLE, "--", desk.command) as run:
        name = desk.asks()
        os.kill(run.runner(), signal.SIGKILL)
        row = wait_state(leader, "paused")
        assert row["lost"] and row["step"] == "running" and row["node"] == name
        assert run.code() == FAILED
        assert f"the vipctl that ran the command on {name} is gone" in run.text
    desk.let_go(name)  # the orphan ends; nobody says so
    wait_until(lambda: name in desk.ran, 30, "the orphan ends")
    at = other(scene, leader.name)
    refused = at.vipctl_raw("maintenance", "resume")
    assert refused.returncode == UNSAFE and "not known" in refused.stderr and "--retry" in refused.stderr
    with vipctl(at, "maintenance", "resume", "--retry") as run:
        for _ in range(3):
            desk.let_go(desk.asks())
            wait_until(lambda: not list(desk.folder.glob("go.*")), 30, "it goes on")
        assert run.code() == DONE, run.text
    assert sorted(desk.ran) == sorted(["a", "b", "c", name])


def test_a_command_that_is_over_needs_nobody(scene, desk):
    """Its end was told: the cluster waits for the node and undrains it, with the runner and its terminal dead."""
    leader = scene.cluster.leader()
    with vipctl(leader, "maintenance", "run", "--settle", "4s", "--", desk.command) as run:
        name = desk.asks()
        runner = run.runner()
        desk.let_go(name)
        wait_until(lambda: show(leader).get("step") == "returning", 30, "its command has ended")
        os.kill(runner, signal.SIGKILL)
        run.process.kill()
        run.process.wait()
        wait_until(lambda: states(show(leader))[name] == "done", 30, f"{name} is done")
        wait_until(lambda: status_of(leader, name) == "up", 30, f"{name} is up")
    leader.vipctl("maintenance", "abort")


def test_the_leader_dies(scene, desk):
    leader = scene.cluster.leader()
    at = other(scene, leader.name)
    with vipctl(at, "maintenance", "run", *SETTLE, "--", desk.command) as run:
        name = desk.asks()
        leader.kill()
        wait_until(lambda: scene.cluster.leader(at=at) is not leader, 30, "a new leader")
        leader.start()
        back(scene, leader)
        assert status_of(at, name) == "drained"
        left = 3
        while left:
            desk.let_go(name)
            left -= 1
            wait_until(lambda n=name: n in desk.ran, 30, f"{name} left")
            name = desk.asks() if left else None
        assert run.code() == DONE, run.text
    assert sorted(desk.ran) == ["a", "b", "c"]


def test_the_node_under_maintenance_dies(scene, desk):
    """The one whose vipctl it is, too: the runner asks until its daemon is back."""
    leader = scene.cluster.leader()
    at = other(scene, leader.name)
    names = ",".join(node.name for node in scene.cluster if node is at or node is leader)
    with vipctl(at, "maintenance", "run", *SETTLE, "--nodes", names, "--", desk.command) as run:
        assert desk.asks() == at.name
        at.kill()
        desk.let_go(at.name)
        wait_until(lambda: at.name in desk.ran, 30, "the command ends")
        wait_until(lambda: status_of(leader, at.name) in ("fenced", "down"), 30, "it is missed")
        assert show(leader)["step"] == "running"  # nobody could say that it has ended
        at.start()
        assert desk.asks() == leader.name
        assert states(show(at))[at.name] == "done"
        desk.let_go(leader.name)
        assert run.code() == DONE, run.text


# ---------------------------------------------------------------------------------------------------- pause and abort


def test_ctrl_c_pauses(scene, desk):
    node = scene.cluster.leader()
    with vipctl(node, "maintenance", "run", *SETTLE, "--", desk.command) as run:
        name = desk.asks()
        run.process.send_signal(signal.SIGINT)
        assert run.code() == FAILED
    assert f"the command on {name} is not stopped" in run.text and "vipctl maintenance resume" in run.text
    row = show(node)
    assert row["state"] == "paused" and row["step"] == "running" and row["held"]
    refused = node.vipctl_raw("maintenance", "pause", "--wait", "--timeout", "1s")
    assert refused.returncode == TIMED_OUT and f"{name} is still running its command" in refused.stderr
    desk.let_go(name)
    node.vipctl("maintenance", "pause", "--wait", "--timeout", "60s")
    assert status_of(node, name) == "up"
    assert states(show(node))[name] == "done" and desk.ran == [name]
    with vipctl(other(scene, node.name), "maintenance", "resume") as run:
        for _ in range(2):
            desk.let_go(desk.asks())
            wait_until(lambda: not list(desk.folder.glob("go.*")), 30, "it goes on")
        assert run.code() == DONE, run.text


def test_abort(scene, desk):
    node = scene.cluster.leader()
    with vipctl(node, "maintenance", "run", *SETTLE, "--", desk.command) as run:
        name = desk.asks()
        aborted = node.vipctl_raw("maintenance", "abort")
        assert aborted.returncode == DONE and f"{name} stays drained" in aborted.stdout
        assert run.code() == FAILED
    desk.let_go(name)
    assert sorted(states(show(node)).values()) == ["skipped"] * 3
    assert status_of(node, name) == "drained"
    node.vipctl("undrain", name, "--wait")
    assert node.vipctl_raw("maintenance", "abort").returncode == NOT_FOUND
    assert node.vipctl_raw("maintenance", "resume").returncode == NOT_FOUND


# ---------------------------------------------------------------------------------------------------- refusals


def test_unsafe_beginnings(scene):
    leader = scene.cluster.leader()
    down = other(scene, leader.name)
    third = other(scene, leader.name, down.name)
    down.kill()
    wait_until(lambda: status_of(leader, down.name) in ("fenced", "down"), 30, "it is missed")
    for names in ("a,b,c", third.name):
        refused = leader.vipctl_raw("maintenance", "run", "--nodes", names, "--", "true")
        assert refused.returncode == UNSAFE, refused.stdout + refused.stderr
        assert "no majority of the voters" in refused.stderr or f"node {down.name} is" in refused.stderr
    assert show(leader)["state"] != "running"
    assert {row["status"] for row in leader.rows("node", "list") if row["name"] != down.name} == {"up"}
    down.start()
    back(scene, down)
    vip = scene.vips[0].split("/")[0]
    owner = scene.cluster.wait_held(vip)[0].name
    leader.vipctl("vip", "set", vip, "--nodes", owner)
    refused = leader.vipctl_raw("maintenance", "run", "--nodes", owner, "--", "true")
    assert refused.returncode == UNSAFE and "without a node" in refused.stderr and "--force" in refused.stderr
    leader.vipctl("vip", "set", vip, "--nodes", "all")


def test_other_clusters():
    """Two nodes and a witness, which is maintained like the others; a node alone, which cannot be."""
    with Cluster(3, profile=CALM) as cluster:
        cluster["c"].extra = {"witness": "true"}
        cluster.start()
        a = cluster["a"]
        wait_until(lambda: [row["status"] for row in a.rows("node", "list")] == ["up"] * 3, 60, "three nodes up")
        vip = cluster.vip4(0)
        cluster.add_vip(vip)
        done = a.vipctl_raw("maintenance", "run", *SETTLE, "--", "true")
        assert done.returncode == DONE, done.stdout + done.stderr
        assert states(show(a)) == {"a": "done", "b": "done", "c": "done"}
        cluster.wait_held(vip)
    with Cluster(1, profile=CALM) as cluster:
        a = cluster.start().wait_formed()["a"]
        refused = a.vipctl_raw("maintenance", "run", "--", "true")
        assert refused.returncode == UNSAFE and "a is the only voter" in refused.stderr


@pytest.mark.parametrize(
    "args,code,says",
    [
        (["run"], USAGE, "needs more than that"),
        (["run", "ls", "-l"], USAGE, "behind --"),
        (["run", "--nodes", "a,d", "--", "ls"], NOT_FOUND, 'no node "d"'),
        (["run", "--nodes", "a,a", "--", "ls"], USAGE, "named twice"),
        (["run", "--nodes", "", "--", "ls"], USAGE, "1 to 64 nodes"),
        (["run", "--settle", "soon", "--", "ls"], USAGE, "no time for --settle"),
        (["run", "--settle", "2m", "--return-timeout", "1m", "--", "ls"], USAGE, "settling"),
        (["run", "--command-timeout", "8d", "--", "ls"], USAGE, "at most 1d"),
        (["run", "--nodez", "a", "--", "ls"], USAGE, "did you mean --nodes"),
        (["run", "--", "x" * 1100], USAGE, "longer than 1024 bytes"),
        (["run", "--", ""], USAGE, "no command"),
        (["resume", "--retry", "--done"], USAGE, "exclude each other"),
        (["resume"], NOT_FOUND, "no maintenance is under way"),
        (["pause"], NOT_FOUND, "no maintenance is under way"),
        (["abort"], NOT_FOUND, "no maintenance is under way"),
        (["abrt"], USAGE, "did you mean"),
    ],
)
def test_bad_input(the_scene, args, code, says):
    if the_scene.cluster is None:
        the_scene.prepare()
    done = the_scene.cluster.any().vipctl_raw("maintenance", *args)
    assert done.returncode == code, done.stdout + done.stderr
    assert says in done.stderr
    assert max(map(len, done.stderr.splitlines())) < 200


def test_the_command_of_another_user(scene):
    """Root does not run by accident what somebody else wrote down."""
    node = scene.cluster.leader()
    index = scene.cluster.any().vipctl("status")["index"]
    done = node.vipctl_raw("maintenance", "run", *SETTLE, "--", "false")
    assert done.returncode == FAILED
    other_user = subprocess.run(
        ["setpriv", "--reuid", "65534", "--clear-groups", str(VIPCTL), "-s", str(node.control), "maintenance", "resume", "--dry-run"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert other_user.returncode in (FAILED, UNSAFE)  # not even allowed to look, as set up here
    wrong = node.vipctl_raw("maintenance", "resume", "--", "true")
    assert wrong.returncode == USAGE and "another one: false" in wrong.stderr
    assert show(node)["state"] == "stopped"
    assert index < node.vipctl("status")["index"]


# ---------------------------------------------------------------------------------------------------- what is shown


def test_as_json(scene):
    """The object of its end alone on standard output; what happens meanwhile on standard error."""
    node = scene.cluster.any()
    done = node.vipctl_raw("maintenance", "run", *SETTLE, "--nodes", "a,b", "-o", "json", "--", "sh", "-c", "echo at {node}")
    assert done.returncode == DONE, done.stderr
    row = json.loads(done.stdout)
    assert row["state"] == "done" and row["command"][0] == "sh" and row["status"] == 0
    assert set(states(row).values()) == {"done"} and all(n["command_ms"] >= 0 for n in row["nodes"])
    assert "a | at a" in done.stderr and "b: healthy" in done.stderr


def test_in_the_background(scene, desk):
    node = scene.cluster.any()
    begun = node.vipctl_raw("maintenance", "run", *SETTLE, "--nodes", "a,b", "--detach", "--", desk.command)
    assert begun.returncode == DONE and "in the background" in begun.stdout
    first = desk.asks()
    with vipctl(other(scene, first), "maintenance", "status", "--watch") as watch:
        explained = node.vipctl_raw("explain", "node", first).stdout
        assert "it is under maintenance: vipctl maintenance status" in explained
        desk.let_go(first)
        wait_until(lambda: first in desk.ran, 30, f"{first} left")
        desk.let_go(desk.asks())
        assert watch.code() == DONE
        assert f"{first}: command ended" in watch.text and "done: 2 nodes in" in watch.text


def test_no_longer_waited_for(scene, desk):
    node = scene.cluster.any()
    late = node.vipctl_raw("maintenance", "run", *SETTLE, "--nodes", "a", "--timeout", "1s", "--", desk.command)
    assert late.returncode == TIMED_OUT and "the maintenance goes on" in late.stderr
    desk.let_go(desk.asks())
    wait_state(node, "done")


def test_this_very_host(scene):
    """A restart of the host that the command is run on is told of before."""
    leader = scene.cluster.leader()
    node = other(scene, leader.name)
    shown = node.vipctl_raw("maintenance", "run", "--restart", "--dry-run", "--", "true").stdout
    assert f"this host is {node.name}: should it restart" in shown
    shown = leader.vipctl_raw("maintenance", "run", "--restart", "--dry-run", "--", "true").stdout
    assert "this host is" not in shown


# ---------------------------------------------------------------------------------------------------- on a terminal


def test_on_a_terminal(scene):
    """It asks, and draws a block over and over in 80 columns, in colour."""
    node = scene.cluster.leader()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(VIPCTL, [str(VIPCTL), "-s", str(node.control), "maintenance", "run", *SETTLE, "--", "sh", "-c", "echo one; sleep 0.6"])
    text, deadline, answered = "", time.monotonic() + 90, False
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 1)[0]:
            try:
                text += os.read(terminal, 65536).decode()
            except OSError:
                break
        if "Begin? [y/N]" in text and not answered:
            os.write(terminal, b"y\n")
            answered = True
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == DONE, text
    assert answered and "\033[32m" in text and "\033[J" in text
    assert "maintenance is running  [" in text and "maintenance done  [####################]  3 of 3 nodes" in text
    plain = re.sub(r"\033\[[0-9;]*[A-Za-z]", "", text)
    assert max(len(line.rstrip("\r")) for line in re.split(r"\r?\n", plain)) <= 80
    assert plain.count("| one") == 3
