"""Fixtures of the end-to-end tests, and what is printed of a cluster when a test fails."""

import os

import pytest

import cluster as clusters


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than a few seconds; left out by tests/run --quick")
    if os.getuid() != 0:
        raise pytest.UsageError("the end-to-end tests make network namespaces: run them as root")
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
