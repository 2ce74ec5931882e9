"""The host finds containers by name, with whatever it finds names with: systemd-resolved, the
dnsmasq of NetworkManager, or the system's own.
"""

import json
import os
import shutil
import signal
import sys

import pytest

import containers
from gantry import run, until
from networks import create, start

POLICY = "/run/sandbox/bus.d/names.conf"
MANAGERS, SYSTEM = "/etc/NetworkManager/dnsmasq.d", "/etc/dnsmasq.d"
NAMES = ["org.freedesktop.resolve1", "org.freedesktop.NetworkManager", "org.freedesktop.systemd1"]


@pytest.fixture
def calls(tmp_path):
    """What the pretended services were asked, oldest first."""
    path = tmp_path / "calls"
    path.touch()
    allowed = "".join(f'<allow own="{name}"/><allow send_destination="{name}"/>' for name in NAMES)
    with open(POLICY, "w") as file:
        file.write(f'<busconfig><policy user="root">{allowed}</policy></busconfig>')
    run("busctl", "--system", "call", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "ReloadConfig")
    for folder in MANAGERS, SYSTEM:
        os.makedirs(folder)
    try:
        with containers.background(sys.executable, os.path.join(os.path.dirname(__file__), "pretended_names.py"), str(path)):
            for name in NAMES:
                until(lambda: run("busctl", "--system", "status", name, check=False).returncode == 0)
            yield lambda: [json.loads(line) for line in path.read_text().splitlines()]
    finally:
        # The real one, which outlives who started it.
        with open(f"{path}.pid") as file:
            os.kill(int(file.read()), signal.SIGKILL)
        os.unlink(POLICY)
        for folder in os.path.dirname(MANAGERS), SYSTEM:
            shutil.rmtree(folder)


def told(folder, network):
    try:
        with open(f"{folder}/gantry-{network}") as file:
            return [line for line in file.read().splitlines() if not line.startswith("#")]
    except FileNotFoundError:
        return None


def looked_up(name):
    """What the system's dnsmasq, which the host asks, answers."""
    return run("busybox", "nslookup", name, "127.0.0.1", check=False).stdout


def test_every_way_to_find_names_is_told_and_untold(bus, calls):
    net = create(bus, "dev0", ipv4="10.77.0.1/24", domain="dev")
    box, address = start(bus, "box", "dev0")
    with open("/sys/class/net/dev0/ifindex") as file:
        link = int(file.read())
    assert calls() == [
        ["Reload", 4], ["TryRestartUnit", "dnsmasq.service", "replace"],
        ["SetLinkDNS", link, [[2, [10, 77, 0, 1]]]], ["SetLinkDomains", link, [["dev", True]]],
        ["SetLinkDefaultRoute", link, False]]
    assert told(MANAGERS, "dev0") == ["server=/dev/10.77.0.1"]
    assert told(SYSTEM, "dev0") == ["bind-interfaces", "except-interface=dev0", "server=/dev/10.77.0.1"]
    assert address in until(lambda: address in looked_up("box.dev") and looked_up("box.dev"))

    # Without a domain there are no names, but still no two servers on one address.
    net.configure(domain="")
    assert calls()[5:] == [["Reload", 4], ["TryRestartUnit", "dnsmasq.service", "replace"], ["RevertLink", link]]
    assert told(MANAGERS, "dev0") is None and told(SYSTEM, "dev0") == ["bind-interfaces", "except-interface=dev0"]
    assert address not in looked_up("box.dev")

    box.kill()
    until(lambda: net.get("Ports") == [])
    net.down()
    assert told(SYSTEM, "dev0") is None and calls()[8:] == [["TryRestartUnit", "dnsmasq.service", "replace"]]


def test_what_a_host_that_lost_its_power_has_left_is_untold(bus, calls):
    for folder in MANAGERS, SYSTEM:
        with open(f"{folder}/gantry-old0", "w") as file:
            file.write("# Written by gantry-helper while the network old0 is up.\nserver=/old/10.79.0.1\n")
        # Somebody else's, whatever it is called.
        with open(f"{folder}/gantry-theirs", "w") as file:
            file.write("server=/theirs/10.79.0.1\n")
        with open(f"{folder}/mine", "w") as file:
            file.write("server=/mine/10.79.0.1\n")
    containers.kill_helper(bus)
    bus.list()
    for folder in MANAGERS, SYSTEM:
        until(lambda: sorted(os.listdir(folder)) == ["gantry-theirs", "mine"])
    until(lambda: ["TryRestartUnit", "dnsmasq.service", "replace"] in calls())
