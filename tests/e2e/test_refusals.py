"""Bad input and failing disks: a clear refusal, and nobody else is harmed."""

import os
import random
import re
import shutil
import socket
import subprocess
import sys

import pytest

from cluster import CALM, CONFLICT, DONE, NOT_FOUND, PATIENCE_S, VIPD, Cluster, run, wait_until


@pytest.fixture(scope="module")
def cluster():
    with Cluster(3, profile=CALM) as cluster:
        cluster.start().wait_formed()
        for number in range(3):
            cluster.add_vip(cluster.vip4(number))
        yield cluster


@pytest.fixture
def watched(cluster):
    """The cluster in good order, its VIPs watched."""
    cluster.start().wait_formed()
    vips = [cluster.vip4(number) for number in range(3)]
    wait_until(lambda: len(set(cluster.wait_held(*vips))) == 3, 15, "an even spread: nothing moves by itself from here on")
    with cluster.witness(*vips) as witness:
        cluster.eye, cluster.vips = witness, vips
        for vip in vips:
            wait_until(lambda v=vip: witness.answering(v), 5, "answers")
        yield cluster
        witness.assert_single()


# -- the configuration --

GOOD = """\
cluster: prod
node: a
listen: 127.0.0.1:7400
data: {folder}/data
key-file: {folder}/key
peers:
  a: 127.0.0.1:7400
  b: 127.0.0.2:7400
  c: 127.0.0.3:7400
timing: default
"""


@pytest.mark.parametrize(
    "wrong, right, place, words",
    [
        ("lissten: 127.0.0.1:7400", "listen: 127.0.0.1:7400", "3:1", ["lissten", "listen"]),
        ("timing: fats", "timing: default", "10:9", ["fats", "fast"]),
        ("listen: 127.0.0.1", "listen: 127.0.0.1:7400", "3:9", ["127.0.0.1"]),
        ("  b: 127.0.0.1:7400", "  b: 127.0.0.2:7400", "8:", ["127.0.0.1:7400"]),
        ("node: z", "node: a", "", ["z"]),
        ("node: a\nnode: a", "node: a", "3:1", ["node"]),
        ("cluster: [prod]", "cluster: prod", "1:10", ["cluster"]),
        ("timing: {{interval: 100}}", "timing: default", "10:", ["100", "ms"]),
        ("timing: default\nwitness: perhaps", "timing: default", "11:10", ["perhaps", "true"]),
        ("peers: [a\n", "peers:\n", "", []),
        ("", "cluster: prod\n", "", ["cluster"]),
    ],
)
def test_a_wrong_configuration_names_its_place(tmp_path, wrong, right, place, words):
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_text("ab" * 32 + "\n")
    good = tmp_path / "good.yaml"
    good.write_text(GOOD.format(folder=tmp_path))
    done = run(VIPD, "--check", "-c", good, check=False)
    assert done.returncode == 0, done.stderr
    bad = tmp_path / "vipd.yaml"
    assert right in GOOD
    bad.write_text(GOOD.replace(right, wrong, 1).format(folder=tmp_path))
    for args in (("--check", "-c", bad), ("-c", bad)):
        done = run(VIPD, *args, check=False, timeout=PATIENCE_S)
        assert done.returncode not in (0, -6, -11), done
        message = done.stderr + done.stdout
        assert re.search(rf"vipd\.yaml:{place or '[0-9]+:[0-9]+'}", message), message
        for word in words:
            assert word in message, message


def test_a_missing_or_open_key(tmp_path):
    bad = tmp_path / "vipd.yaml"
    bad.write_text(GOOD.format(folder=tmp_path))
    done = run(VIPD, "--check", "-c", bad, check=False)
    assert done.returncode != 0 and "vipd.yaml:5:11" in done.stderr
    (tmp_path / "key").write_text("ab" * 32)
    (tmp_path / "key").chmod(0o644)
    done = run(VIPD, "--check", "-c", bad, check=False)
    assert done.returncode != 0 and "600" in done.stderr


# -- somebody else's data --


@pytest.mark.parametrize("change", ["cluster", "node"])
def test_the_data_of_another_is_refused(cluster, tmp_path, change):
    """Of another cluster, and of another node: the daemon says so, ends, and leaves the directory as it was."""
    node = cluster["c"]
    node.terminate()
    data = tmp_path / "data"
    shutil.copytree(node.data, data)
    before = sorted((path.name, path.stat().st_size) for path in data.rglob("*"))
    try:
        config = tmp_path / "vipd.yaml"
        if change == "cluster":
            config.write_text(node.config_text(data=data, cluster="another"))
        else:
            config.write_text(cluster["b"].config_text(data=data, control=tmp_path / "ctl", listen=f'"{node.endpoint}"')
                              .replace(f'b: "{cluster["b"].endpoint}"', f'b: "{node.endpoint}"')
                              .replace(f'c: "{node.endpoint}"', f'c: "{cluster["b"].endpoint}"'))  # fmt: skip
        done = node.exec(VIPD, "-c", config, check=False, timeout=PATIENCE_S)
        assert done.returncode not in (0, -6, -11)
        message = done.stderr + done.stdout
        assert str(data) in message and ("another" in message or "of node c" in message or '"c"' in message), message
        assert sorted((path.name, path.stat().st_size) for path in data.rglob("*")) == before
    finally:
        node.start()
        cluster.wait_formed()


def test_a_second_daemon_on_the_same_data_is_refused(cluster, tmp_path):
    node = cluster["a"]
    config = tmp_path / "vipd.yaml"
    config.write_text(node.config_text(control=tmp_path / "ctl"))
    done = node.exec(VIPD, "-c", config, check=False, timeout=PATIENCE_S)
    assert done.returncode not in (0, -6, -11) and str(node.data) in done.stderr + done.stdout
    assert node.running
    cluster.wait_formed()


# -- strangers --

NOISE = r"""
import random, select, socket, sys, time
seed, seconds, family, targets = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4:]
r = random.Random(seed)
udp = socket.socket(socket.AF_INET6 if family == "6" else socket.AF_INET, socket.SOCK_DGRAM)
end = time.monotonic() + seconds
sent = 0
def blob():
    kind = r.randrange(5)
    if kind == 0: return b""
    if kind == 1: return r.randbytes(r.randrange(1, 64))
    if kind == 2: return b"\xdd\xff\xff\xff\xff" + r.randbytes(20)          # a huge array of msgpack
    if kind == 3: return (r.randrange(2**32)).to_bytes(4, "big") + r.randbytes(r.randrange(200))
    return r.randbytes(r.choice([1200, 1472]))
while time.monotonic() < end:
    for target in targets:
        for _ in range(20):
            udp.sendto(blob(), (target, 7400)); sent += 1
        tcp = socket.socket(udp.family, socket.SOCK_STREAM)
        tcp.settimeout(0.5)
        try:
            tcp.connect((target, 7400))
            for _ in range(r.randrange(4)):
                tcp.sendall(blob())
            if r.random() < 0.5:
                tcp.recv(100)
        except OSError:
            pass
        tcp.close()
print(sent)
"""


def test_garbage_from_strangers_is_dropped(watched, say):
    """Datagrams and connections full of nonsense at every node: no daemon ends, no lease, no VIP and no leader goes."""
    seed = random.randrange(2**32)
    leader, owners = watched.leader(), watched.wait_held(*watched.vips)
    pids = [node.pid for node in watched]
    targets = [node.ip4 for node in watched]
    done = subprocess.run(
        ["ip", "netns", "exec", watched.client, sys.executable, "-c", NOISE, str(seed), "3", "4", *targets],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    say(f"seed {seed}, {done.stdout.strip()} datagrams")
    assert [node.pid for node in watched] == pids
    assert watched.wait_held(*watched.vips) == owners and watched.leader() is leader
    for vip, owner in zip(watched.vips, owners):
        assert watched.eye.of(vip).nodes() == [owner.name]


def test_many_silent_connections_shut_nobody_out(watched):
    """More connections than anybody needs, kept open and silent: the cluster goes on, and so does a restarted member."""
    holder = subprocess.Popen(
        ["ip", "netns", "exec", watched.client, sys.executable, "-c",
         "import socket,sys\nkept=[]\nfor t in sys.argv[1:]:\n for _ in range(300):\n  s=socket.socket(); s.settimeout(1)\n"
         "  try: s.connect((t,7400)); kept.append(s)\n  except OSError: pass\nprint(len(kept), flush=True)\nsys.stdin.read()",
         *[node.ip4 for node in watched]],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert int(holder.stdout.readline()) > 0
        node = watched["b"]
        node.kill()
        node.start()
        watched.wait_formed()
    finally:
        holder.stdin.close()
        holder.wait(PATIENCE_S)


def test_garbage_at_the_control_socket(watched):
    seed = random.randrange(2**32)
    r = random.Random(seed)
    node = watched["a"]
    pid = node.pid
    for number in range(200):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(node.control))
            size = r.choice([0, 3, 4, 5, 100, 5000])
            data = r.randbytes(size)
            if r.random() < 0.5:
                data = len(data).to_bytes(4, "big") + data
            try:
                client.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                pass
    assert node.pid == pid, f"seed {seed}"
    node.vipctl("vip", "list")


def test_a_node_of_another_cluster_is_not_let_in(watched):
    """Same addresses, same names, another cluster: the members refuse it and go on with two of three."""
    node = watched["c"]
    owners_before = {row["name"] for row in watched.any().rows("vip", "list")}
    node.terminate()
    original, kept = node.config.read_text(), node.folder / "kept"
    os.rename(node.data, kept)
    try:
        node.write_config(cluster="stranger")
        node.start()
        wait_until(lambda: "refus" in (watched["a"].log_text() + node.log_text()).lower(), 10, "a refusal in a log")
        rows = watched["a"].rows("node", "list")
        assert next(row for row in rows if row["name"] == "c")["status"] != "up"
        assert not any(node.has(vip) for vip in watched.vips)
    finally:
        if node.running:
            node.kill()
        shutil.rmtree(node.data, ignore_errors=True)
        os.rename(kept, node.data)
        node.config.write_text(original)
        node.start()
        watched.wait_formed()
    assert owners_before == {row["name"] for row in watched.any().rows("vip", "list")}


@pytest.mark.parametrize("fence", ["kernel", "addresses"])
def test_a_second_daemon_in_the_same_network_namespace(watched, tmp_path, fence):
    """With a data directory of its own, so that only the fence's lock tells it. It ends, and leaves the VIPs of the first one alone."""
    node = watched["a"]
    before = len(node.log_text())
    config = tmp_path / "vipd.yaml"
    config.write_text(node.config_text(fence=fence, cluster="other", node="x", listen=f'"{node.ip4}:7500"', data=tmp_path / "data", control=tmp_path / "control.sock",
                                       peers=f'{{x: "{node.ip4}:7500"}}'))  # fmt: skip
    done = run("ip", "netns", "exec", node.netns, VIPD, "-c", config, check=False, timeout=PATIENCE_S)
    assert done.returncode == 1 and "another vipd runs in this network namespace" in done.stderr, done
    node.vipctl("vip", "add", watched.vip4(90), "--wait")  # whatever it was told of its VIPs, it has dealt with by now
    node.vipctl("vip", "del", watched.vip4(90), "--wait")
    assert "readd" not in node.log_text()[before:]


# -- disks --


def test_a_full_disk_takes_the_node_out(say):
    """The node whose disk is full releases what it holds; with room again, and restarted, it is a member again."""
    with Cluster(3) as cluster:
        small = cluster["a"]
        cluster.small_disk(small, 24 * 1024)
        cluster.start().wait_formed()
        vips = [cluster.vip4(number) for number in range(3)]
        for vip in vips:
            cluster.add_vip(vip)
        others = [node for node in cluster if node is not small]
        with cluster.witness(*vips) as witness:
            if not any(cluster.owner(vip) is small for vip in vips):
                others[0].vipctl("vip", "move", vips[0].split("/")[0], "--to", small.name, "--wait")
            filler = small.fill_disk()
            many = [cluster.vip4(number) for number in range(250, 450)]
            written = []

            def out():
                """The log grows until the small disk has no room for it."""
                what = ["del", *many] if len(written) % 2 else ["add", *many, "--disabled"]
                done = others[0].vipctl_raw("vip", *what)
                if done.returncode in (DONE, CONFLICT, NOT_FOUND):  # of the latter two: done by a try whose answer was lost
                    written.append(what)
                rows = {row["name"]: row for row in others[0].rows("node", "list")}
                return rows and rows[small.name]["status"] not in ("up", "draining")

            wait_until(out, 60, "the node with the full disk is out")
            cluster.wait_held(*vips, but=[small.name])
            bare = {vip.split("/")[0] for vip in vips}
            wait_until(lambda: not small.addresses() & bare, 10, "its VIPs are released")
            assert re.search(r"disk|space|data", small.log_text())
            say("ended by itself" if not small.running else "runs on, outside")
            filler.unlink()
            if small.running:
                small.kill()
            small.start()
            cluster.wait_formed()
            cluster.wait_held(*vips)
            witness.assert_single()
