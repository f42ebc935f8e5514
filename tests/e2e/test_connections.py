"""Connections of a VIP that moves away as planned: reset, so that their clients connect anew at once."""

import contextlib
import ctypes
import os
import select
import socket
import subprocess
import sys
import threading
import time

import pytest

import witness as witnesses
from cluster import Cluster, wait_until

PORT = 7070
SOON = 30
CLONE_NEWNET = 0x40000000

# Says on which node it runs, and then nothing more: one line to each client.
SERVER = """
import socket, sys
server = socket.create_server(("::", %d), family=socket.AF_INET6, dualstack_ipv6=True, backlog=4096)
print("ready", flush=True)
kept = []
while True:
    client = server.accept()[0]
    client.sendall(sys.argv[1].encode() + b"\\n")
    kept.append(client)
""" % PORT


@contextlib.contextmanager
def inside(netns):
    """This thread in another network namespace: a socket stays where it was made."""
    with open("/proc/thread-self/ns/net") as back, open(f"/run/netns/{netns}") as there:
        enter(there)
        try:
            yield
        finally:
            enter(back)


def enter(netns):
    if ctypes.CDLL(None, use_errno=True).setns(netns.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Client:
    """One connection to a VIP, from the client's namespace."""

    def __init__(self, cluster, vip):
        self.cluster, self.address = cluster, vip.split("/")[0]
        self.connect()

    def connect(self, timeout=20):
        until = time.monotonic() + timeout
        while True:
            with inside(self.cluster.client):
                self.socket = socket.socket(socket.AF_INET6 if ":" in self.address else socket.AF_INET)
            self.socket.settimeout(max(until - time.monotonic(), 0.1))
            try:
                self.socket.connect((self.address, PORT))
                self.node = self.socket.recv(100).decode().strip()
                if self.node:
                    return self
            except OSError:
                if time.monotonic() > until:
                    raise
            self.socket.close()

    def wait_reset(self, timeout):
        """When the connection was reset (monotonic), or None."""
        ready = select.poll()  # there are thousands of them, more than select() has numbers for
        ready.register(self.socket, select.POLLIN)
        if not ready.poll(max(0, timeout) * 1000):
            return None
        try:
            assert self.socket.recv(100) == b"never this"
        except ConnectionResetError:
            return time.monotonic()

    def close(self):
        self.socket.close()


@pytest.fixture(scope="module")
def cluster():
    with Cluster(3) as made:
        made.start().wait_formed()
        servers = [
            subprocess.Popen(["ip", "netns", "exec", node.netns, sys.executable, "-c", SERVER, node.name],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, preexec_fn=witnesses.die_with_parent)
            for node in made
        ]  # fmt: skip
        for server in servers:
            assert server.stdout.readline() == b"ready\n"
        doctor = made["a"].vipctl_raw("doctor", "-o", "json").stdout
        made.can = "cannot be reset here" not in doctor
        yield made
        for server in servers:
            server.kill()
            server.wait()


@pytest.fixture
def clean(cluster):
    node = cluster.any()
    for row in node.rows("node", "list"):
        if row["status"] != "up":
            node.vipctl("undrain", row["name"], "--wait")
    names = [row["name"] for row in node.rows("vip", "list")]
    if names:
        node.vipctl("vip", "del", *names, "--wait")
    if not cluster.can and "reset" in os.environ.get("PYTEST_CURRENT_TEST", ""):
        pytest.skip("this kernel has no CONFIG_INET_DIAG_DESTROY")
    return cluster


@pytest.mark.parametrize("family", [4, 6])
def test_a_drain_resets_at_once(clean, say, family):
    """An idle connection is reset within a second of the drain, others are not, and the client is soon served by the new owner."""
    vip, other = (clean.vip4(0), clean.vip4(1)) if family == 4 else (clean.vip6(0), clean.vip6(1))
    clean.add_vip(vip, "--name", "web", "--prefer", "a=100")
    clean.add_vip(other, "--name", "other", "--nodes", "b", "--force")
    assert clean.wait_held("web")[0].name == "a"
    client, bystander = Client(clean, vip), Client(clean, other)
    assert client.node == "a" and bystander.node == "b"
    own = Client(clean, clean["a"].ip4 if family == 4 else clean["a"].ip6)  # the node's own address: no VIP
    begun = time.monotonic()
    clean["b"].vipctl("drain", "a")
    reset = client.wait_reset(SOON)
    assert reset is not None and reset - begun < 1, f"reset after {reset and reset - begun} s"
    clean.wait_held("web", but=["a"])
    client.connect()  # not sooner: for a millisecond the old owner still takes new ones (0024)
    back = time.monotonic()
    assert client.node != "a"
    assert bystander.wait_reset(0) is None and own.wait_reset(0) is None
    say(f"IPv{family}: reset {1000 * (reset - begun):.0f} ms after the drain was asked for, connected anew {1000 * (back - reset):.0f} ms later")
    for each in (client, bystander, own):
        each.close()


def test_off_it_hangs_as_before(clean):
    vip = clean.vip4(2)
    clean.add_vip(vip, "--name", "web", "--prefer", "a=100", "--reset-connections", "no")
    assert clean.wait_held("web")[0].name == "a"
    client = Client(clean, vip)
    clean["b"].vipctl("vip", "move", "web", "--to", "b", "--wait")
    assert clean.wait_held("web")[0].name == "b"
    assert client.wait_reset(2) is None
    client.socket.sendall(b"?")  # what is sent reaches the new owner, which knows nothing of it: its kernel resets
    assert client.wait_reset(SOON) is not None
    client.close()


def test_sigterm_resets_too(clean):
    vip = clean.vip4(3)
    clean.add_vip(vip, "--name", "web", "--prefer", "c=100")
    assert clean.wait_held("web")[0].name == "c"
    client = Client(clean, vip)
    assert client.node == "c"
    thread = threading.Thread(target=clean["c"].terminate)
    thread.start()
    assert client.wait_reset(SOON) is not None
    thread.join()
    client.connect()
    assert client.node != "c"
    client.close()
    clean["c"].start()
    clean.wait_formed()


@pytest.mark.slow
def test_thousands_reset_without_a_longer_outage(clean, say):
    """1,000 idle connections: all are reset, and the VIP is away about as long as it is without any."""
    vip = clean.vip4(4)
    clean.add_vip(vip, "--name", "web", "--prefer", "a=100")
    assert clean.wait_held("web")[0].name == "a"
    outages = []
    for n, to in ((0, "b"), (1000, "a")):
        clients = [Client(clean, vip) for _ in range(n)]
        with clean.witness(vip, period_ms=1) as eye:
            wait_until(lambda: eye.answering(vip), SOON, "answers")
            clean["c"].vipctl("vip", "move", "web", "--to", to, "--wait", "--timeout", "30s")
            assert clean.wait_held("web")[0].name == to
            wait_until(lambda: eye.answering(vip) == [to] or eye.answering(vip) == {to}, SOON, "answers of the new owner")
            outages.append(eye.of(vip).ping_outage_ms())
            eye.assert_never_on_two()
        assert all(client.wait_reset(5) is not None for client in clients)
        for client in clients:
            client.close()
    say(f"outage {outages[0]:.1f} ms without connections, {outages[1]:.1f} ms with 1,000 that are reset")
    assert outages[1] < outages[0] + 100
