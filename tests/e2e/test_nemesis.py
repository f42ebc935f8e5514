"""The nemesis in short, and that it finds what it looks for. In long: tests/nemesis --rounds 200."""

import ctypes
import os
import re
import signal
import subprocess
import sys

import pytest

from cluster import BIN, TOP

# (rounds, seed, nodes, profile), each in a process of its own, all at the same time
CAMPAIGNS = [(120, "25", 3, "default"), (80, "26", 5, "fast")]
SEED = "25"
TIMEOUT_S = 900


def end_in_order():
    """In the child: should this program die, the nemesis is told to clean up after itself."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def begin(*args):
    return subprocess.Popen(
        [sys.executable, TOP / "tests" / "nemesis", *args],
        env={**os.environ, "VIPD_BIN": str(BIN)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=end_in_order,
    )


def end(process):
    """(exit code, what it printed)"""
    try:
        text = process.communicate(timeout=TIMEOUT_S)[0]
    except BaseException:
        process.terminate()
        print(process.communicate(timeout=60)[0])
        raise
    return process.returncode, text


def nemesis(*args):
    return end(begin(*args))


@pytest.mark.slow
@pytest.mark.limit(TIMEOUT_S + 60)
def test_random_faults(say):
    """200 rounds."""
    running = [
        begin("--rounds", str(rounds), "--seed", seed, "--nodes", str(nodes), "--profile", profile)
        for rounds, seed, nodes, profile in CAMPAIGNS
    ]
    try:
        ended = [end(process) for process in running]
    finally:
        for process in running:
            if process.poll() is None:
                process.terminate()
                process.wait(60)
    for (rounds, *_), (code, text) in zip(CAMPAIGNS, ended):
        assert code == 0, text
        assert re.search(rf"^rounds {rounds}, .*double ownership 0 ms", text, re.MULTILINE), text
        say(text.splitlines()[-1])


@pytest.mark.slow
def test_what_is_planted_is_found():
    code, text = nemesis("--selftest", "--seed", SEED)
    assert code == 0 and "selftest: all found" in text, text


def test_a_wrong_argument_is_told():
    code, text = nemesis("--faults", "kil")
    assert code == 2 and "no such fault: kil" in text, text
