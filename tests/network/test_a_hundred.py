"""A whole rack at once: every container that starts gets an address of its own."""

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

import containers
from gantry import LXC_PATH, until
from networks import Network, wired

COUNT = 100


@pytest.fixture
def many(bus):
    """So many containers with one root file system; nothing but a DHCP client each."""
    with containers.shared("base", start=False):
        text = re.sub(r"(?m)^lxc\.net\..*\n", "", containers.config_of("base").decode())
        names = [f"many{number}" for number in range(COUNT)]
        try:
            for number, name in enumerate(names):
                os.mkdir(f"{LXC_PATH}/{name}")
                lines = [*wired("lxcbr0", mac=f"00:16:3e:00:01:{number:02x}"), "lxc.init.cmd = /sbin/udhcpc -f -t 100 -T 1 -i eth0"]
                with open(containers.config_path(name), "w") as file:
                    file.write(re.sub(r"(?m)^(lxc.uts.name = ).*", rf"\g<1>{name}", text) + "\n".join(lines) + "\n")
            bus.list()
            yield [bus.container(name) for name in names]
        finally:
            for name in [name for name, state in bus.list().items() if name in names and state != "STOPPED"]:
                bus.container(name).kill()
            until(lambda: "RUNNING" not in bus.list().values(), 60)
            for name in names:
                shutil.rmtree(f"{LXC_PATH}/{name}", ignore_errors=True)


def test_a_hundred_containers_that_start_at_once_all_get_a_lease(bus, many):
    lxcbr0 = Network(bus, "lxcbr0")
    with ThreadPoolExecutor(COUNT) as pool:
        list(pool.map(lambda box: box.call("Start", "(a{sv})", {}, timeout=100), many))
    leases = until(lambda: len(lxcbr0.leases()) == COUNT and lxcbr0.leases(), 90)
    assert len(set(leases.values())) == COUNT
    until(lambda: len(lxcbr0.get("Ports")) == COUNT)
    assert {address for box in many for address in until(lambda: [one for one in box.get("Addresses") if "." in one], 30)} == \
        set(leases.values())
