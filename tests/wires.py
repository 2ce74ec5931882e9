"""What tests of network interfaces share: an outside world on a cable, and looking
into a network namespace.
"""

import json
import os
from contextlib import contextmanager

import containers
from gantry import run, until

OUTSIDE = "10.9.0.1"


def enter(pid):
    """The words before a command that is to run in a process's network namespace."""
    return ("nsenter", f"--net=/proc/{pid}/ns/net")


def ip(pid, *argv):
    """What `ip` tells of a process's network namespace."""
    return json.loads(run(*enter(pid), "ip", "-json", "-details", *argv).stdout or "[]")


class Uplink:
    """An interface of the host, up0. Its cable ends at a switch in a namespace that
    stands for the outside world, where 10.9.0.1 is.
    """

    name, port, bridge = "up0", "port0", "switch"

    def __init__(self, pid):
        self.pid = pid

    def outside(self, *argv, check=True):
        return run(*enter(self.pid), *argv, check=check)

    def hairpin(self, on):
        """Whether the switch sends frames back by the port they came from."""
        self.outside("ip", "link", "set", self.port, "type", "bridge_slave", "hairpin", "on" if on else "off")


@contextmanager
def uplink():
    with containers.background("unshare", "--net", "sleep", "infinity") as world:
        until(lambda: containers.namespace(world.pid, "net") != containers.namespace("self", "net"))
        wire = Uplink(world.pid)
        run("ip", "link", "add", wire.name, "type", "veth", "peer", "name", wire.port, "netns", str(world.pid))
        try:
            run("ip", "link", "set", wire.name, "up")
            wire.outside("ip", "link", "add", wire.bridge, "type", "bridge")
            wire.outside("ip", "link", "set", wire.port, "master", wire.bridge, "up")
            wire.outside("ip", "addr", "add", f"{OUTSIDE}/24", "dev", wire.bridge)
            wire.outside("ip", "link", "set", wire.bridge, "up")
            yield wire
        finally:
            run("ip", "link", "del", wire.name, check=False)
            until(lambda: wire.name not in links())


def links():
    """The names of the host's interfaces."""
    return set(os.listdir("/sys/class/net"))


def reaches(pid, address, tries=10):
    """Whether a ping from a process's network namespace is answered. A first one may
    be lost while addresses are resolved."""
    return any(run(*enter(pid), "ping", "-c1", "-W1", address, check=False).returncode == 0 for _ in range(tries))
