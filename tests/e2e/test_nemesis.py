"""The nemesis in short, and that it finds what it looks for. In long: tests/nemesis --rounds 200."""

import ctypes
import os
import re
import signal
import subprocess
import sys

import pytest

from cluster import BIN, TOP

ROUNDS = 25
SEED = "25"
TIMEOUT_S = 300


def end_in_order():
    """In the child: should this program die, the nemesis is told to clean up after itself."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def nemesis(*args):
    """(exit code, what it printed)"""
    process = subprocess.Popen(
        [sys.executable, TOP / "tests" / "nemesis", *args],
        env={**os.environ, "VIPD_BIN": str(BIN)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=end_in_order,
    )
    try:
        text = process.communicate(timeout=TIMEOUT_S)[0]
    except BaseException:
        process.terminate()
        print(process.communicate(timeout=60)[0])
        raise
    return process.returncode, text


@pytest.mark.slow
def test_random_faults(say):
    code, text = nemesis("--rounds", str(ROUNDS), "--seed", SEED)
    assert code == 0, text
    assert re.search(rf"^rounds {ROUNDS}, .*double ownership 0 ms", text, re.MULTILINE), text
    say(text.splitlines()[-1])


@pytest.mark.slow
def test_what_is_planted_is_found():
    code, text = nemesis("--selftest", "--seed", SEED)
    assert code == 0 and "selftest: all found" in text, text


def test_a_wrong_argument_is_told():
    code, text = nemesis("--faults", "kil")
    assert code == 2 and "no such fault: kil" in text, text
