#!/usr/bin/python3
"""Wants all the memory of a cgroup, again and again, each time until the kernel kills it; until it is ended.

    hog.py CGROUP_FOLDER
"""

import os
import pathlib
import signal
import sys

import witness

STEP = 1 << 18


def eat(folder):
    witness.die_with_parent()
    pathlib.Path("/proc/self/oom_score_adj").write_text("1000")
    (folder / "cgroup.procs").write_text(str(os.getpid()))
    eaten = []
    while True:
        eaten.append(os.urandom(STEP))


def main():
    folder = pathlib.Path(sys.argv[1])
    while True:
        child = os.fork()
        if child == 0:
            try:
                eat(folder)
            finally:
                os._exit(1)  # pylint: disable=protected-access  # whatever happens, never the parent's loop
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
            sys.exit(f"the hog was not killed: {status}")


main()
