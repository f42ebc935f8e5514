"""The measuring programs of the build, and how they and others are started inside of a namespace."""

import pathlib
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "e2e"))

import cluster as clusters  # noqa: E402
import witness as witnesses  # noqa: E402


def program(name):
    path = clusters.BIN / "tests" / "bench" / f"bench_{name}"
    if not path.exists():
        raise SystemExit(f"{path} is not there: build first, or set VIPD_BIN to a build directory")
    return path


def start_in(netns, *command, **kwargs):
    """A process in the namespace that does not outlive this one."""
    command = ["ip", "netns", "exec", netns, *[str(part) for part in command]]
    return subprocess.Popen(command, text=True, preexec_fn=witnesses.die_with_parent, **kwargs)


def run_in(netns, *command, **kwargs):
    return clusters.run("ip", "netns", "exec", netns, *command, **kwargs).stdout
