"""The tour: it ends well, it cleans up when it is interrupted, and what --keep leaves --clean removes."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

from cluster import TOP, ip
from witness import die_with_parent

RUN = TOP / "cluster-examples" / "quickstart" / "run"


def namespaces(tag):
    return [line.split()[0] for line in ip("netns", "list").stdout.splitlines() if line.startswith(tag)]


class Tour:
    """A run of the script in a process group of its own, as a terminal would start it."""

    def __init__(self, *args):
        self.process = subprocess.Popen(
            [RUN, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True, preexec_fn=die_with_parent,
        )  # fmt: skip
        self.text = ""

    def read_until(self, pattern, timeout=240):
        deadline = time.monotonic() + timeout
        for line in self.process.stdout:
            self.text += line
            if re.search(pattern, line):
                return line
            assert time.monotonic() < deadline, self.text
        raise AssertionError(f"ended before {pattern!r}:\n{self.text}")

    def end(self):
        self.text += self.process.stdout.read()
        return self.process.wait(10)


def tag_of(tour):
    return re.search(r"namespace: (vipd-qs-\w+)-a", tour.text)[1]


def assert_gone(tag):
    """No namespace, no folder and no process of the tour is left."""
    folder = folder_of(tag)
    assert namespaces(tag) == [] and not os.path.exists(folder)
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            assert folder not in entry.read_text(errors="replace")


def folder_of(tag):
    return "/tmp/vipd-quickstart." + tag.removeprefix("vipd-qs-")


def test_the_tour(say):
    tour = Tour()
    assert tour.end() == 0, tour.text
    for words in ("took web over", "missed it for", "drain", "crash", "removed again"):
        assert words in tour.text, tour.text
    assert_gone(tag_of(tour))
    say("; ".join(re.findall(r"missed it for (\d+ ms)", tour.text)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_tour_cleans_up(number):
    tour = Tour()
    tour.read_until("Virtual IPs")
    tag = tag_of(tour)
    assert len(namespaces(tag)) == 5
    os.killpg(tour.process.pid, number)
    assert tour.end() == 128 + number, tour.text
    assert_gone(tag)


def test_a_kept_cluster_stays_and_is_removed():
    tour = Tour("--keep")
    tour.read_until("Left running")
    assert tour.end() == 0, tour.text
    tag = tag_of(tour)
    enter = re.search(r"enter a node: +sudo (ip netns exec \S+ bash) --rcfile (\S+)", tour.text)
    shell = f"shopt -s expand_aliases; . {enter[2]}\nvipctl vip list"
    shown = subprocess.run([*enter[1].split(), "-c", shell], capture_output=True, text=True)
    assert "web" in shown.stdout, shown
    subprocess.run([RUN, "--clean", tag], check=True, capture_output=True)
    assert_gone(tag)
