"""The quickstart: it ends well, it cleans up when it is interrupted, and what --keep leaves --clean removes."""

import re
import signal
import subprocess

import pytest

from tour import Tour, namespaces


def test_the_tour(say):
    with Tour("quickstart", build=True) as tour:
        assert tour.end() == 0, tour.text
    for words in ("took web over", "missed it for", "drain", "crash", "removed again"):
        assert words in tour.text, tour.text
    tour.assert_gone()
    say("; ".join(f"{ms} ms" for ms in tour.figures(r"missed it for (\d+) ms")))


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_tour_cleans_up(number):
    with Tour("quickstart") as tour:
        tour.read_until("Virtual IPs")
        assert len(namespaces(tour.tag)) == 5
        tour.signal(number)
        assert tour.end() == 128 + number, tour.text
        tour.assert_gone()


def test_a_tour_whose_reader_goes_away_cleans_up():
    with Tour("quickstart") as tour:
        tour.read_until("Virtual IPs")
        tour.process.stdout.close()
        assert tour.process.wait(60) == 128 + signal.SIGPIPE
        tour.assert_gone()


def test_a_kept_cluster_stays_and_is_removed():
    with Tour("quickstart", "--keep") as tour:
        tour.read_until("Left running")
        assert tour.end() == 0, tour.text
        enter = re.search(r"enter a node: +sudo (ip netns exec \S+ bash) --rcfile (\S+)", tour.text)
        shown = subprocess.run([*enter[1].split(), "-c", f". {enter[2]}\nvipctl vip list"], capture_output=True, text=True)
        assert "web" in shown.stdout, shown
        tour.clean()
        tour.assert_gone()


def test_a_killed_tour_is_cleaned_up():
    with Tour("quickstart") as tour:
        tour.read_until("Virtual IPs")
        assert len(namespaces(tour.tag)) == 5 and tour.processes()
        tour.kill_hard()
        tour.assert_gone()


def test_clean_leaves_a_running_tour_alone():
    with Tour("quickstart") as tour:
        tour.read_until("Virtual IPs")
        assert "removed 0" in tour.clean().stdout
        assert tour.end() == 0, tour.text
