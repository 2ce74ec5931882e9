"""Every test here leaves the host as it found it: its links and processes, its rules and
what describes networks.
"""

import os
import shutil

import pytest

import containers
import gantry
from gantry import run, until
from networks import DIRECTORY, LXC_NET, Network, tables

RUN = "/run/gantry/networks"


@pytest.fixture(autouse=True)
def leaves_the_host_as_it_was(bus):
    before, rules = containers.traces(), tables()
    with open(LXC_NET) as file:
        text = file.read()
    yield
    # A connection of its own: the test may have closed the other.
    own = gantry.Bus()
    for name in own.list():
        containers.destroy(name)
    for name in os.listdir(RUN) if os.path.exists(RUN) else []:
        network = Network(own, name)
        until(lambda: network.get("Ports") == [])
        network.down()
    own.close()
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    with open(LXC_NET, "w") as file:
        file.write(text)
    for leases in os.listdir("/var/lib/misc"):
        os.unlink(f"/var/lib/misc/{leases}")
    run("sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0")
    containers.assert_no_traces(before)
    assert tables() == rules
    assert not os.path.exists(RUN) or os.listdir(RUN) == []
