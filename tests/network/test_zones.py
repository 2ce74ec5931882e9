"""Networks' bridges are in their zone of firewalld while they are up, whenever that begins.
(That this lets containers through is tested with the real one, in ../vm.)
"""

import contextlib
import json
import os
import sys

import pytest

import containers
from gantry import run, until
from networks import create

NAME = "org.fedoraproject.FirewallD1"
POLICY = "/run/sandbox/bus.d/firewalld.conf"


@pytest.fixture
def firewalld(tmp_path):
    """Begins it, for a block; gives the zones that interfaces are in, and those that are to be
    in Gantry's when it has read its configuration."""
    @contextlib.contextmanager
    def begin():
        path = tmp_path / "zones"
        path.unlink(missing_ok=True)
        with containers.background(sys.executable, os.path.join(os.path.dirname(__file__), "pretended_firewalld.py"), str(path)):
            until(lambda: run("busctl", "--system", "status", NAME, check=False).returncode == 0)
            yield lambda: json.loads(path.read_text())

    with open(POLICY, "w") as file:
        file.write(f'<busconfig><policy user="root"><allow own="{NAME}"/><allow send_destination="{NAME}"/></policy></busconfig>')
    reload = ("busctl", "--system", "call", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "ReloadConfig")
    run(*reload)
    yield begin
    os.unlink(POLICY)
    run(*reload)


def test_a_bridge_is_in_the_zone_while_its_network_is_up(bus, firewalld):
    with firewalld() as zones:
        nets = [create(bus, name, ipv4=f"10.77.{number}.1/24") for number, name in enumerate(("dev0", "net0", "mine0"))]
        for net in nets:
            net.up()
        # One that its administrator has put elsewhere stays there.
        assert zones() == [{"dev0": "gantry", "net0": "gantry", "mine0": "trusted"}, ["dev0", "net0"]]
        for net in nets:
            net.down()
        assert zones() == [{"mine0": "trusted"}, []]


def test_whoever_begins_first_it_comes_into_the_zone(bus, firewalld):
    net = create(bus, "dev0", ipv4="10.77.0.1/24")
    net.up()
    for _time in range(2):
        with firewalld() as zones:
            until(lambda: zones()[0].get("dev0") == "gantry" and zones()[1] == ["dev0"])
    containers.kill_helper(bus)
    with firewalld() as zones:
        assert "dev0" not in zones()[0]
        bus.list()
        until(lambda: zones()[0].get("dev0") == "gantry" and zones()[1] == ["dev0"])
