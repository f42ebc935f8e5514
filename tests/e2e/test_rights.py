"""Who may ask the daemon for what, and what the daemon itself may do."""

import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest

import cluster as clusters
from cluster import FAILED, Cluster, run, wait_until

DAEMON, CONTROL, ADMIN, USER = 64100, 64111, 64112, 64200
NEEDED = {12: "net_admin", 13: "net_raw", 39: "bpf"}


def as_user(uid, gid, groups=(), capabilities=()):
    """The command that starts another as that user, with those ambient capabilities."""
    names = "".join(f",+{name}" for name in capabilities)
    return [
        "setpriv", "--reuid", str(uid), "--regid", str(gid),
        *(["--groups", ",".join(map(str, groups))] if groups else ["--clear-groups"]),
        f"--inh-caps=-all{names}", f"--ambient-caps=-all{names}",
    ]  # fmt: skip


def daemon_as(capabilities=NEEDED.values()):
    return as_user(DAEMON, CONTROL, capabilities=capabilities)


@pytest.fixture(scope="module")
def cluster():
    """Three daemons of an ordinary user with three capabilities, as systemd starts them."""
    with Cluster(3) as cluster:
        cluster.folder.chmod(0o711)
        for binary in (clusters.VIPD, clusters.VIPCTL):  # where every user can reach them
            shutil.copy(binary, cluster.folder)
        cluster.key.chmod(0o600)
        os.chown(cluster.key, DAEMON, CONTROL)
        for node in cluster:
            node.extra |= {"control-group": CONTROL, "admin-group": ADMIN}
            node.write_config()
            for path in [node.folder, *node.folder.rglob("*")]:
                os.chown(path, DAEMON, CONTROL)
            node.folder.chmod(0o711)
            start(node)
        cluster.wait_formed()
        cluster.add_vip(cluster.vip4(0))
        yield cluster


def start(node, before=None):
    return node.start(before or daemon_as(), vipd=node.cluster.folder / "vipd")


def status(node):
    lines = pathlib.Path(f"/proc/{node.pid}/status").read_text().splitlines()
    return {key: value.strip() for key, value in (line.split(":", 1) for line in lines)}


def vipctl_as(node, groups, *args, uid=USER):
    command = [*as_user(uid, uid, groups), node.cluster.folder / "vipctl", "-s", node.control, *args]
    return run(*command, check=False, timeout=30)


def test_the_daemon_keeps_three_capabilities_and_no_more(cluster):
    mask = sum(1 << bit for bit in NEEDED)
    for node in cluster:
        now = status(node)
        assert now["Uid"].split() == [str(DAEMON)] * 4
        for kind in ("CapPrm", "CapEff"):
            assert int(now[kind], 16) == mask, f"{kind} {now[kind]}"
        assert int(now["CapAmb"], 16) == 0 and int(now["CapInh"], 16) == 0, now
        assert now["NoNewPrivs"] == "1" and now["Seccomp"] == "2"
        doctor = node.vipctl_raw("doctor").stdout
        assert "kernel" in doctor and "addresses" not in doctor, doctor


def test_a_killed_one_comes_back(cluster):
    owner = cluster[cluster.owner(cluster.vip4(0)).name]
    owner.kill()
    start(owner)
    cluster.wait_formed()
    cluster.wait_held(cluster.vip4(0))


def test_as_root_it_gives_up_the_rest_too(cluster):
    node = cluster["c"]
    node.terminate()
    for path in [node.folder, *node.folder.rglob("*")]:
        os.chown(path, 0, 0)
    os.chown(cluster.key, 0, 0)
    try:
        start(node, ["env"])
        cluster.wait_formed()
        now = status(node)
        mask = sum(1 << bit for bit in NEEDED)
        assert all(int(now[kind], 16) == mask for kind in ("CapPrm", "CapEff")), now
        assert int(now["CapBnd"], 16) == 0, now  # its children have none, root or not
        assert now["Groups"] == str(CONTROL) and now["NoNewPrivs"] == "1" and now["Seccomp"] == "2"
        assert node.control.stat().st_gid == CONTROL
    finally:
        if node.running:
            node.terminate()
        os.chown(cluster.key, DAEMON, CONTROL)
        for path in [node.folder, *node.folder.rglob("*")]:
            os.chown(path, DAEMON, CONTROL)
        start(node)
        cluster.wait_formed()


@pytest.mark.parametrize("missing", NEEDED.values())
def test_a_missing_capability_is_named(cluster, missing):
    node = cluster["c"]
    done = node.exec(
        *daemon_as([name for name in NEEDED.values() if name != missing]),
        cluster.folder / "vipd", "-c", node.config, check=False, timeout=20,
    )  # fmt: skip
    assert done.returncode not in (0, -6, -11) and f"CAP_{missing.upper()}" in done.stderr, done


def test_readers_may_look_and_not_change(cluster):
    node = cluster["a"]
    vip = cluster.vip4(1)
    assert vipctl_as(node, [CONTROL], "status").returncode == 0
    assert vipctl_as(node, [CONTROL], "vip", "add", vip, "--dry-run").returncode == 0
    for change in (["vip", "add", vip], ["drain", "b"], ["leader", "transfer", "b"]):
        done = vipctl_as(node, [CONTROL], *change)
        assert done.returncode == FAILED and "vipd-admin" in done.stderr, done
    assert cluster.vip(vip) is None


def test_admins_change_and_history_names_them(cluster):
    node = cluster["a"]
    vip = cluster.vip4(2)
    done = vipctl_as(node, [CONTROL, ADMIN], "vip", "add", vip, "--wait")
    assert done.returncode == 0, done
    assert f"uid {USER} on a" in node.vipctl_raw("history", "-o", "json").stdout


def test_others_are_shut_out_even_by_a_loose_socket(cluster):
    node = cluster["b"]
    assert node.control.stat().st_mode & 0o777 == 0o660 and node.control.stat().st_gid == CONTROL
    assert vipctl_as(node, [], "status").returncode == FAILED
    node.control.chmod(0o666)
    try:
        done = vipctl_as(node, [], "status")
        assert done.returncode == FAILED and "control group" in done.stderr, done
    finally:
        node.control.chmod(0o660)


def test_one_who_uses_the_daemons_own_user_is_no_admin(cluster):
    """A check or a hook that was taken over runs as that user."""
    done = vipctl_as(cluster["a"], [CONTROL], "vip", "add", cluster.vip4(3), uid=DAEMON)
    assert done.returncode == FAILED
    wait_until(lambda: cluster["a"].vipctl_raw("status").returncode == 0, 5, "the daemon answers")


def dumps_core(process):
    _, how = os.waitpid(process.pid, 0)
    process.returncode = -os.WTERMSIG(how)  # it was waited for here
    return os.WTERMSIG(how) == signal.SIGABRT and os.WCOREDUMP(how)


def test_a_crash_leaves_no_key_in_a_core(cluster):
    """Started by hand as root, where the unit's LimitCORE=0 does not count, and with a limit that lets everything dump."""
    unlimited = ["prlimit", "--core=unlimited"]
    with Cluster(1) as alone:
        node = alone["a"]
        other = subprocess.Popen([*unlimited, "sleep", "100"], cwd=node.folder)
        wait_until(lambda: pathlib.Path(f"/proc/{other.pid}/comm").read_text() == "sleep\n", 10, "it runs")
        other.send_signal(signal.SIGABRT)
        if not dumps_core(other):
            pytest.skip("nothing dumps core here")
        node.start(before=unlimited)
        alone.wait_formed()
        node.signal(signal.SIGABRT)
        assert not dumps_core(node.process)


def test_the_score_of_the_unit(tmp_path):
    """No worse than docs/security.md says, by systemd's own reckoning."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not there")
    text = (clusters.TOP / "src/daemon/vipd.service.in").read_text().replace("@CMAKE_INSTALL_FULL_SBINDIR@", "/bin")
    (tmp_path / "vipd.service").write_text(text.replace("/bin/vipd", "/bin/true"))
    done = run("systemd-analyze", "security", "--offline=true", "--no-pager", tmp_path / "vipd.service", check=False)
    score = float(re.search(r"exposure level for vipd.service: ([\d.]+)", done.stdout)[1])
    stated = float(re.search(r"exposure of (\d\.\d)", (clusters.TOP / "docs/security.md").read_text())[1])
    assert score <= stated, done.stdout
