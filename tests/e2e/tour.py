"""A tour of cluster-examples, run as a terminal would run it, and what it must leave behind: nothing."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import time

from cluster import BIN, TOP, ip, wait_until
from witness import die_with_parent

EXAMPLES = TOP / "cluster-examples"


def namespaces(tag):
    return [line.split()[0] for line in ip("netns", "list").stdout.splitlines() if line.startswith(tag + "-")]


class Tour:
    """A run of an example's script in a process group of its own. `build`: builds what it runs by itself."""

    def __init__(self, example, *args, build=False):
        self.example, self.script = example, EXAMPLES / example / "run"
        environment = {key: value for key, value in os.environ.items() if key != "VIPD_BIN"}
        if not build:
            environment["VIPD_BIN"] = str(BIN)
        self.environment = environment
        self.process = subprocess.Popen(
            [self.script, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True, preexec_fn=die_with_parent, env=environment,
        )  # fmt: skip
        self.text = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Whatever the test made of it: it ends, and cleans up."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.communicate(timeout=60)

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
        return self.process.wait(60)

    def signal(self, number):
        os.killpg(self.process.pid, number)

    @property
    def tag(self):
        return re.search(rf"namespace: (vipd-{self.example}-\w+)-a,", self.text)[1]

    @property
    def folder(self):
        return pathlib.Path("/tmp") / f"vipd-{self.example}.{self.tag.rsplit('-', 1)[1]}"

    def clean(self):
        return subprocess.run([self.script, "--clean", self.tag], check=True, capture_output=True, text=True)

    def figures(self, pattern):
        """The milliseconds that the tour measured, in order."""
        return [int(ms) for ms in re.findall(pattern, " ".join(self.text.split()))]

    def assert_gone(self):
        """No namespace, no folder and no process of the tour is left."""
        wait_until(lambda: namespaces(self.tag) == [] and not self.folder.exists(), 10, f"{self.tag} to be gone")
        wait_until(lambda: self.processes() == [], 10, f"the processes of {self.tag} to be gone")

    def processes(self):
        left = []
        for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if str(self.folder) in entry.read_text(errors="replace"):
                    left.append(entry.parent.name)
        return left

    def kill_hard(self):
        """As the kernel does when it is out of memory: nobody cleans up."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

