"""The measuring programs of the build, and how they and others are started inside of a namespace."""

import multiprocessing
import pathlib
import signal
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


def side_by_side(functions):
    """Calls each in a process of its own, all at the same time; the rows of all, in their order. One that fails ends them all."""
    context = multiprocessing.get_context("fork")

    def body(function, pipe):
        witnesses.die_with_parent(signal.SIGTERM)  # and clean up
        pipe.send(function())

    running = []
    try:
        for function in functions:
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=body, args=(function, there))
            process.start()
            there.close()
            running.append((process, here))
        return [row for _, pipe in running for row in pipe.recv()]
    except EOFError:
        raise SystemExit("a measurement failed: see above") from None
    finally:
        for process, _ in running:
            process.terminate()
            process.join()


def run_in(netns, *command, **kwargs):
    return clusters.run("ip", "netns", "exec", netns, *command, **kwargs).stdout
