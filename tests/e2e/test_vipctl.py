"""vipctl by itself: its words, options and formats, before any daemon is asked. What it says of a cluster: test_basic.py."""

import json
import os
import pty
import re
import shutil
import socket
import stat
import subprocess
import tempfile

import pytest
from cluster import CONFLICT, DONE, FAILED, TOP, USAGE, VIPCTL, run

# Without those that only a build has which pretends to be the next version.
SOURCE = re.sub(r"^#if VIPD_PRETEND_FORMAT$.*?^#endif$", "", (TOP / "src/cli/commands.c").read_text(), flags=re.M | re.S)
COMMANDS = re.findall(r'^        "([a-z ]+)", "', SOURCE, re.MULTILINE)


def vipctl(*args, **kwargs):
    return run(VIPCTL, *args, check=False, **kwargs)


def test_every_command_has_help_with_an_example():
    assert len(COMMANDS) > 20
    for words in COMMANDS:
        done = vipctl(*words.split(), "--help")
        assert done.returncode == DONE and not done.stderr
        assert f"usage: vipctl {words}" in done.stdout and "Examples\n  vipctl" in done.stdout
        assert vipctl("help", *words.split()).stdout == done.stdout


def test_a_bare_vipctl_lists_every_command():
    done = vipctl()
    assert done.returncode == DONE
    for words in COMMANDS:
        assert f"\n  {words}" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_the_document_has_every_command():
    text = (TOP / "docs/vipctl.md").read_text()
    for words in COMMANDS:
        assert words.split()[-1] in text, words


@pytest.mark.parametrize(
    "args, word",
    [
        (("stauts",), "status"),
        (("vip", "lst"), "vip list"),
        (("vip", "list", "--gruop", "g"), "--group"),
        (("vip", "list", "-o", "yaml"), "jsonl"),
        (("vip", "list", "more"), "more"),
        (("vip", "list", "-q"), "-q"),
        (("vip",), "second word"),
        (("drain",), "usage: vipctl drain NODE"),
        (("drain", "a", "--timeout"), "--timeout TIME"),
        (("drain", "a", "--timeout", "10x"), "10x"),
        (("drain", "a", "--timeout", "0s"), "0s"),
        (("drain", "a", "--timeout", "99999999999999999999"), "timeout"),
        (("drain", "a", "--wait=yes"), "no value"),
        (("vip", "add", "10.0.0.1/24", "10.0.0.2/24", "--name", "x"), "--name"),
        (("vip", "add", "10.0.0.1/24", "--prefer", "a"), "NODE=WEIGHT"),
        (("vip", "add", "10.0.0.1/24", "--prefer", "a=0"), "a=0"),
        (("history", "--since", "yesterday"), "yesterday"),
        (("history", "--limit", "-1"), "-1"),
        (("explain", "vpi", "web"), "vpi"),
        (("settings", "set", "announce.cuont=5"), "announce.count"),
        (("settings", "set", "announce.interval=5parsecs"), "parsecs"),
        (("--frobnicate",), "--frobnicate"),
    ],
)
def test_misuse(args, word):
    done = vipctl("-s", "/nonexistent/socket", *args)
    assert done.returncode == USAGE, done
    assert word in done.stderr and not done.stdout
    assert "vipctl: " in done.stderr


def test_errors_as_json():
    for args in (("stauts",), ("vip", "list", "--nosuch"), ("status",)):
        done = vipctl("-o", "json", "-s", "/nonexistent/socket", *args)
        told = json.loads(done.stdout)
        assert told["code"] == done.returncode != DONE and told["error"] in done.stderr


def test_options_stand_anywhere(tmp_path):
    nobody = tmp_path / "nobody"
    for args in (
        ("-s", nobody, "vip", "list"),
        ("vip", "-s", nobody, "list"),
        ("vip", "list", f"--socket={nobody}"),
        ("vip", "list", f"-s{nobody}"),
    ):
        done = vipctl(*args)
        assert done.returncode == FAILED and str(nobody) in done.stderr
    done = vipctl("vip", "list", env={**os.environ, "VIPD_SOCKET": str(nobody)})
    assert str(nobody) in done.stderr


def test_the_daemon_is_away(tmp_path):
    done = vipctl("-s", tmp_path / "nobody", "status")
    assert done.returncode == FAILED and "no daemon runs here" in done.stderr and "systemctl" in done.stderr
    dead = tmp_path / "dead"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(dead))
    done = vipctl("-s", dead, "status")
    assert done.returncode == FAILED and "not run any more" in done.stderr


def test_not_allowed():
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        os.chmod(folder, 0o755)
        path, command = f"{folder}/socket", f"{folder}/vipctl"
        server.bind(path)
        server.listen(1)
        os.chmod(path, 0o600)
        shutil.copy(VIPCTL, command)
        done = run(command, "-s", path, "status", check=False, user=65534)
        assert done.returncode == FAILED and "not allowed" in done.stderr and "sudo" in done.stderr


def test_keygen(tmp_path):
    one, two = vipctl("keygen").stdout, vipctl("keygen").stdout
    assert re.fullmatch(r"[0-9a-f]{64}\n", one) and one != two
    path = tmp_path / "key"
    assert vipctl("keygen", path).returncode == DONE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and re.fullmatch(r"[0-9a-f]{64}\n", path.read_text())
    before = path.read_text()
    assert vipctl("keygen", path).returncode == CONFLICT and path.read_text() == before
    assert vipctl("keygen", tmp_path / "no" / "key").returncode == FAILED
    assert re.fullmatch(r"[0-9a-f]{64}", json.loads(vipctl("keygen", "-o", "json").stdout)["key"])


def test_version_without_a_daemon():
    done = vipctl("-s", "/nonexistent/socket", "version")
    assert done.returncode == DONE and done.stdout.startswith("vipctl ")
    told = json.loads(vipctl("-s", "/nonexistent/socket", "version", "-o", "json").stdout)
    assert told["vipctl"] and told["vipd"] is None
    assert vipctl("-s", "/nonexistent/socket", "--version").stdout == done.stdout


def test_a_full_disk_is_told():
    with open("/dev/full", "w") as full:
        done = subprocess.run([VIPCTL, "keygen"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == FAILED and "cannot write" in done.stderr


def test_control_characters_do_not_reach_the_terminal():
    done = vipctl("vip", "\033[31mlist\007")
    assert done.returncode == USAGE and "\033" not in done.stderr and "\007" not in done.stderr


def test_output_to_a_terminal_that_goes_away():
    main, other = pty.openpty()
    child = subprocess.Popen([VIPCTL, "--help"], stdout=other, stderr=other)
    os.close(other)
    os.read(main, 100)
    os.close(main)
    child.wait(timeout=10)  # whatever its code: it ends
