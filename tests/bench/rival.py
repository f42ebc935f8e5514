"""Debian's keepalived in the namespaces of a cluster, in place of its daemons: VRRP for one address, the first node first."""

import os
import shutil
import signal
import subprocess

from programs import clusters, start_in

PROGRAM = shutil.which("keepalived", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
ADVERT_DEFAULT_S = 1  # keepalived.conf(5)

CONFIG = """\
global_defs {{
    router_id {name}
}}
vrrp_instance vip {{
    state BACKUP
    interface eth0
    {version}
    virtual_router_id 51
    priority {priority}
    {advert}
    virtual_ipaddress {{
        {vip} dev eth0
    }}
}}
"""


class Keepalived:
    """One node's. `process` is its parent; its own process group has both."""

    def __init__(self, node, vip, priority, advert_s):
        self.node, self.name, self.vip = node, node.name, vip
        advert = "" if advert_s is None else f"advert_int {advert_s:g}"
        version = "" if advert_s is None else "version 3"  # its default, 2, has whole seconds
        self.config = node.folder / "keepalived.conf"
        self.config.write_text(CONFIG.format(name=node.name, priority=priority, advert=advert, version=version, vip=vip))
        self.process = None

    def start(self):
        files = [("-p", "pid"), ("-r", "vrrp-pid"), ("-c", "checkers-pid")]
        with open(self.node.log, "ab") as log:
            self.process = start_in(
                self.node.netns, PROGRAM, "--dont-fork", "--log-console", "--vrrp", "-f", self.config,
                *[str(part) for option, name in files for part in (option, self.node.folder / name)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def signal_all(self, number):
        """To the parent and to the process that speaks VRRP."""
        os.killpg(self.process.pid, number)

    def kill(self):
        self.signal_all(signal.SIGKILL)
        self.process.wait(10)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)

    def stop(self):
        self.signal_all(signal.SIGSTOP)

    def cont(self):
        self.signal_all(signal.SIGCONT)

    def close(self):
        if self.running:
            self.kill()

    def clean(self):
        """What a killed one leaves behind."""
        if not self.running and self.node.has(self.vip):
            clusters.ip("-n", self.node.netns, "addr", "del", self.node.as_in_kernel(self.vip), "dev", "eth0")
