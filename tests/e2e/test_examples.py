"""Each example ends well twice at the same time, shows what it promises, and leaves nothing behind, also when it is interrupted
at any of its steps."""

import pathlib
import random
import re
import signal

import pytest

from cluster import TOP, VIPCTL, VIPD, run
from tour import EXAMPLES, Tour

# What a tour must say, besides ending well; it checks itself what it claims.
SAYS = {
    "active-active": ["b serves the shop as well; the client missed it for", "The shop is on a again",
                      "another node was asked for by hand", "The client missed the mail for"],
    "dual-stack": ["Both went from", "the client missed IPv4 for", "IPv4: ", "that the other one had left: 0"],
    "haproxy": ["because of its check; no node died. The customer got no page for", "web is still on", "although its check fails",
                "whose check passes; the customer got no page for", "a check that it requires fails there: haproxy"],
    "postgresql": ["db went from a to b; nobody could write for", "db went from b to a; nobody could write for",
                   "pg-failover on a: started PostgreSQL as a standby", "acknowledged rows 0 are missing", "| streaming | sync"],
    "three-nodes": ["nothing to change", "took web over; the client missed it for", "no quorum: this node holds nothing",
                    "the longest time between two answers was", "done: 3 nodes", "done, and real", "every VIP is held again"],
    "two-nodes-witness": ["has everything; the client missed web for", "it is a witness: it votes and never holds a VIP",
                          "no quorum: this node holds nothing", "The witness never held anything"],
}  # fmt: skip
TOURS = sorted(SAYS)


def text_of(tour):
    return " ".join(tour.text.split())


@pytest.mark.slow
@pytest.mark.parametrize("example", TOURS)
def test_two_at_a_time(example, say):
    with Tour(example) as one, Tour(example) as two:
        assert one.end() == 0, one.text
        assert two.end() == 0, two.text
        for tour in (one, two):
            for words in SAYS[example]:
                assert words in text_of(tour), tour.text
            assert not re.search(r"\S.{100,}", tour.text), "a line that no terminal shows whole"
            tour.assert_gone()
    say("; ".join(f"{ms} ms" for ms in one.figures(r"(?:missed \w+ for|no page for|could write for|between two \w+ was) (\d+) ms")))


@pytest.mark.slow
@pytest.mark.parametrize("example", TOURS)
def test_an_interrupted_one_cleans_up(example):
    steps = len(re.findall(r"^title ", (EXAMPLES / example / "run").read_text(), re.MULTILINE))
    step = random.randint(4, steps)
    with Tour(example) as tour:
        tour.read_until(rf"^{step}\. ")
        tour.signal(signal.SIGINT)
        assert tour.end() == 128 + signal.SIGINT, f"interrupted at step {step}\n{tour.text}"
        tour.assert_gone()


def test_every_example_is_tested():
    assert sorted(p.parent.name for p in EXAMPLES.glob("*/run")) == sorted([*TOURS, "quickstart"])


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*/nodes/*.yaml")), ids=lambda p: f"{p.parts[-3]}/{p.name}")
def test_a_nodes_file_is_valid(file, tmp_path):
    key = tmp_path / "key"
    run(VIPCTL, "keygen", key)
    copy = tmp_path / file.name
    copy.write_text(file.read_text().replace("/etc/vipd/cluster.key", str(key)))
    run(VIPD, "--check", "-c", copy)


@pytest.mark.parametrize("example", TOURS)
def test_a_reader_finds_the_way(example):
    readme = (EXAMPLES / example / "README.md").read_text()
    for part in ("## What it shows", "## What to try", "## On real machines"):
        assert part in readme
    assert len(readme.splitlines()) <= 80, "longer than a page"
    assert f"cluster-examples/{example}" in (TOP / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#]+)", readme):
        assert (EXAMPLES / example / pathlib.Path(target)).exists(), target
