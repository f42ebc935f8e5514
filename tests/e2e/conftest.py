"""Fixtures of the end-to-end tests, and what is printed of a cluster when a test fails."""

import contextlib
import os
import signal

import pytest

import cluster as clusters


LIMIT_S = 300  # of a test, and of what its fixtures do before and after it, each


class Hung(clusters.Timeout):
    """Whatever it waited for has no deadline of its own."""


@contextlib.contextmanager
def limited(item, what):
    marker = item.get_closest_marker("limit")
    limit_s = marker.args[0] if marker else LIMIT_S

    def hung(_number, _frame):
        raise Hung(f"{item.nodeid}: {what} has not ended after {limit_s} s; where it hangs is told above")

    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(limit_s)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item):
    with limited(item, "its set up"):
        yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    with limited(item, "the test"):
        yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item):
    with limited(item, "its tear down"):
        yield


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than a few seconds; left out by tests/run --quick")
    config.addinivalue_line("markers", f"limit(seconds): fails after it, instead of after {LIMIT_S} s")
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # begun in the background of a shell: a tour could not even trap the Ctrl-C that it is to survive
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.getuid() != 0:
        raise pytest.UsageError("the end-to-end tests make network namespaces: run them as root")
    with open("/proc/self/mountinfo") as mounts:
        if not any(line.split()[4] == "/" for line in mounts):
            raise pytest.UsageError("/ is no mount point, as in a chroot, and ip netns exec needs one: mount --bind DIR DIR before")
    for program in (clusters.VIPD, clusters.VIPCTL):
        if not program.exists():
            raise pytest.UsageError(f"{program} is not there: build first, or set VIPD_BIN to a build directory")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        told = [(cluster.prefix, cluster.tails()) for cluster in clusters.Cluster.live] + clusters.Cluster.last_words
        for prefix, text in told:
            report.sections.append((f"cluster {prefix}", text))
    clusters.Cluster.last_words.clear()


@pytest.fixture
def say(request, capsys):
    """Prints a line of figures past pytest's capture."""

    def line(text):
        with capsys.disabled():
            print(f"\n    {request.node.name}: {text}", end="", flush=True)

    return line
