"""What the helper serves is what is written down in data/dbus/."""

import os
import pathlib
import re

import pytest

import gantry
import image_server
from people import place

GOLDEN = pathlib.Path(__file__).parents[2] / "data" / "dbus"


def served(bus):
    """The XML of each interface, by its name."""
    place("web")
    bus.manager("GetContainer", "(s)", "web")
    bus.manager("WatchUsage", "(ua{sv})", 1000, {})
    gantry.Job(bus, bus.manager("StopContainer", "(sa{sv})", "web", {})).wait()
    with image_server.cached(bus):
        text = bus.call(gantry.ROOT, "org.freedesktop.DBus.Introspectable", "Introspect")
    found = {}
    for match in re.finditer(r'^( *)<interface name="(io\.gantry\.[\w.]+)">.*?^\1</interface>$', text, re.M | re.S):
        indent, name = match.groups()
        lines = [line.removeprefix(indent).rstrip() for line in match.group(0).splitlines()]
        found[name] = "\n".join(["<node>", *(("  " + line).rstrip() for line in lines), "</node>", ""])
    return found


def test_the_contract_in_the_repository_is_the_one_served(bus):
    """GANTRY_WRITE=1 writes the files anew."""
    found = served(bus)
    assert {name.rpartition(".")[2] for name in found} == {
        "Manager", "Container", "Resources", "Snapshots", "Devices", "Interfaces", "Image", "Network", "Job", "Session"}
    if os.environ.get("GANTRY_WRITE"):
        for name, text in found.items():
            (GOLDEN / f"{name}.xml").write_text(text)
        pytest.skip("written, not compared")
    for name, text in found.items():
        assert (GOLDEN / f"{name}.xml").read_text() == text, f"{name}: run this test with GANTRY_WRITE=1, and look"
    assert {path.stem for path in GOLDEN.glob("*.xml")} == set(found)
