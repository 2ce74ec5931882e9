"""Kinds of interfaces that not every kernel has, proven with packets: VLANs, ipvlan,
Open vSwitch, VLANs of a bridge. (tests/lifecycle/test_links.py has the others.) And what
is left on the host when a monitor is killed inside its unit.
"""

import json
import os
import signal
from contextlib import contextmanager

import pytest

import containers
import wires
from gantry import GLib, options, run, until
from wires import OUTSIDE, ip, links, reaches

# Prints the VLANs of what arrives at an interface in a second: the kernel takes the tag
# out of the frame and tells it beside (packet(7), PACKET_AUXDATA).
LISTEN = """
import socket, struct, sys
listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
listener.setsockopt(263, 8, 1)
listener.bind((sys.argv[1], 0))
listener.settimeout(5)
print("listening", flush=True)
try:
    while True:
        _data, extra, _flags, _from = listener.recvmsg(100, 100)
        for _level, _kind, data in extra:
            status, *_, tag, _protocol = struct.unpack("IIIHHHH", data)
            if status & 16:
                print(tag & 0xfff, flush=True)
except TimeoutError:
    pass
"""


@pytest.fixture
def uplink():
    with wires.uplink() as wire:
        yield wire


def wire(number, kind, link, address, **more):
    lines = {"type": kind, "link": link, "flags": "up", "name": f"wire{number}", "ipv4.address": address}
    lines |= {key.replace("__", "."): value for key, value in more.items()}
    return [f"lxc.net.{number}.{key} = {value}" for key, value in lines.items() if value is not None]


def start(bus, name, *lines):
    box = bus.create(name, 300, template="busybox", config=list(lines), start=True, privileged=True)
    return box, box.get("InitPid")


def kill_monitor(box):
    os.kill(containers.monitor_pid(box), signal.SIGKILL)


@contextmanager
def setting(path, value):
    with open(path) as file:
        before = file.read()
    with open(path, "w") as file:
        file.write(value)
    try:
        yield
    finally:
        with open(path, "w") as file:
            file.write(before)


def test_vlan(bus, uplink):
    box, pid = start(bus, "one", *wire(0, "vlan", "up0", "10.42.0.2/24", vlan__id=42, hwaddr="00:16:3e:12:34:56"))
    (link,) = ip(pid, "link", "show", "wire0")
    assert (link["linkinfo"]["info_kind"], link["linkinfo"]["info_data"]["id"]) == ("vlan", 42)
    assert link["address"] == "00:16:3e:12:34:56"
    uplink.outside("ip", "link", "add", "link", "switch", "name", "tagged", "type", "vlan", "id", "42")
    uplink.outside("ip", "addr", "add", "10.42.0.1/24", "dev", "tagged")
    uplink.outside("ip", "link", "set", "tagged", "up")
    with containers.background(*wires.enter(uplink.pid), "python3", "-c", LISTEN, uplink.port) as listener:
        assert listener.stdout.readline() == "listening\n"
        assert reaches(pid, "10.42.0.1")
        assert listener.stdout.readline() == "42\n"
    box.kill()
    box.start()
    assert reaches(box.get("InitPid"), "10.42.0.1")


@pytest.mark.parametrize("mode", ["l2", "l3", "l3s"])
def test_ipvlan(bus, uplink, mode):
    run("ip", "addr", "add", "10.9.0.2/24", "dev", "up0")
    (host,) = ip("self", "link", "show", "up0")
    _, one = start(bus, "one", *wire(0, "ipvlan", "up0", "10.9.0.11/24", ipvlan__mode=mode))
    _, two = start(bus, "two", *wire(0, "ipvlan", "up0", "10.9.0.12/24", ipvlan__mode=mode, ipvlan__isolation="bridge"))
    (link,) = ip(one, "link", "show", "wire0")
    assert (link["linkinfo"]["info_kind"], link["linkinfo"]["info_data"]["mode"]) == ("ipvlan", mode)
    assert link["address"] == host["address"]
    if mode != "l2":
        # Nobody is asked for addresses there: those outside have to know.
        uplink.outside("ip", "neigh", "replace", "10.9.0.11", "lladdr", host["address"], "dev", "switch")
    assert reaches(one, OUTSIDE)
    assert reaches(one, "10.9.0.12")


@pytest.mark.parametrize("isolation", ["private", "vepa"])
def test_isolated_ipvlans_do_not_see_each_other(bus, uplink, isolation):
    _, one = start(bus, "one", *wire(0, "ipvlan", "up0", "10.9.0.11/24", ipvlan__mode="l2", ipvlan__isolation=isolation))
    start(bus, "two", *wire(0, "ipvlan", "up0", "10.9.0.12/24", ipvlan__mode="l2", ipvlan__isolation=isolation))
    (link,) = ip(one, "link", "show", "wire0")
    assert isolation in link["linkinfo"]["info_data"]
    assert reaches(one, OUTSIDE)
    assert not reaches(one, "10.9.0.12", tries=2)


def test_the_host_answers_for_an_ipvlan(bus, uplink):
    """l2proxy: nobody outside has to know."""
    run("ip", "addr", "add", "10.9.0.2/24", "dev", "up0")

    def answered():
        return [proxy["dst"] for proxy in ip("self", "neigh", "show", "proxy", "dev", "up0")]

    with setting("/proc/sys/net/ipv4/conf/up0/forwarding", "1"):
        box, _ = start(bus, "one", *wire(0, "ipvlan", "up0", "10.9.0.5/32", ipvlan__mode="l3s", l2proxy=1,
                                         ipv4__gateway="dev"))
        assert reaches(uplink.pid, "10.9.0.5")
        for end in box.kill, lambda: kill_monitor(box):
            assert answered() == ["10.9.0.5"]
            assert [route["dst"] for route in ip("self", "route", "show", "dev", "lo")] == ["10.9.0.5"]
            end()
            until(lambda: not answered() and not ip("self", "route", "show", "dev", "lo"), 60)
            box.wait("STOPPED", seconds=120)
            box.start()


def test_a_dummy_goes_in_and_comes_home(bus):
    run("ip", "link", "add", "dummy7", "mtu", "1400", "type", "dummy")
    try:
        box, pid = start(bus, "one", *wire(0, "phys", "dummy7", "10.8.0.1/24"))
        for end in box.kill, lambda: kill_monitor(box), lambda: os.kill(pid, signal.SIGKILL):
            pid = box.get("InitPid")
            (link,) = ip(pid, "link", "show", "wire0")
            assert link["linkinfo"]["info_kind"] == "dummy" and "dummy7" not in links()
            end()
            # The kernel would delete it with the container's namespace.
            until(lambda: "dummy7" in links(), 60)
            assert ip("self", "link", "show", "dummy7")[0]["mtu"] == 1400
            box.wait("STOPPED", seconds=120)
            until(lambda: not run("systemctl", "list-units", "--plain", "--no-legend", "gantry-undo-*").stdout, 60)
            box.start()
    finally:
        if "one" in bus.list():
            bus.container("one").kill()
        until(lambda: "dummy7" in links(), 60)
        run("ip", "link", "del", "dummy7")


def test_a_lent_dummy_comes_home_too(bus):
    run("ip", "link", "add", "dummy8", "type", "dummy")
    try:
        box, _ = start(bus, "one")
        for end in (lambda: bus.call(box.path, "Devices", "RemoveInterface", "(sa{sv})", "eth7", {})), lambda: kill_monitor(box):
            bus.call(box.path, "Devices", "AddInterface", "(ssa{sv})", "dummy8", "eth7", {})
            assert "dummy8" not in links()
            end()
            until(lambda: "dummy8" in links(), 60)
    finally:
        run("ip", "link", "del", "dummy8")


def port_vlans(port):
    (shown,) = json.loads(run("bridge", "-json", "vlan", "show", "dev", port).stdout)
    return {vlan["vlan"]: sorted(vlan.get("flags", [])) for vlan in shown["vlans"]}


def test_vlans_of_a_bridge(bus):
    run("ip", "link", "add", "br7", "type", "bridge", "vlan_filtering", "1")
    run("ip", "link", "set", "br7", "up")
    try:
        def on(name, address, **more):
            return start(bus, name, *wire(0, "veth", "br7", address, veth__pair=f"p-{name}", **more))[1]

        web = on("web", "10.7.0.1/24", veth__vlan__id=10, veth__vlan__tagged__id=20)
        near = on("near", "10.7.0.2/24", veth__vlan__id=10)
        far = on("far", "10.7.0.3/24", veth__vlan__id=30)
        trunk = on("trunk", "10.7.0.4/24", veth__vlan__id="none", veth__vlan__tagged__id=20)
        native = ["Egress Untagged", "PVID"]
        assert port_vlans("p-web") == {10: native, 20: []}
        assert port_vlans("p-trunk") == {20: []}
        assert reaches(near, "10.7.0.1")
        assert not reaches(far, "10.7.0.1", tries=2) and not reaches(trunk, "10.7.0.1", tries=2)
        # Frames that carry the tag of the other VLAN get through.
        for pid, address in (web, "10.20.0.1/24"), (trunk, "10.20.0.2/24"):
            for words in (["link", "add", "link", "wire0", "name", "tagged", "type", "vlan", "id", "20"],
                          ["addr", "add", address, "dev", "tagged"], ["link", "set", "tagged", "up"]):
                run(*wires.enter(pid), "ip", *words)
        assert reaches(trunk, "10.20.0.1")
    finally:
        run("ip", "link", "del", "br7")


@pytest.fixture(scope="module")
def switch():
    run("systemctl", "start", "openvswitch-switch")
    run("ovs-vsctl", "add-br", "ovs0")
    try:
        run("ip", "link", "set", "ovs0", "up")
        yield "ovs0"
    finally:
        run("ovs-vsctl", "del-br", "ovs0")
        run("systemctl", "stop", "openvswitch-switch")


def ports(switch):
    return run("ovs-vsctl", "list-ports", switch).stdout.split()


def column(port, name):
    return run("ovs-vsctl", "get", "port", port, name).stdout.strip()


def test_a_port_of_open_vswitch(bus, switch):
    box, web = start(bus, "web", *wire(0, "veth", switch, "10.6.0.1/24", veth__pair="p-web", veth__vlan__id=10,
                                       veth__vlan__tagged__id=20))
    _, near = start(bus, "near", *wire(0, "veth", switch, "10.6.0.2/24", veth__pair="p-near", veth__vlan__id=10))
    _, far = start(bus, "far", *wire(0, "veth", switch, "10.6.0.3/24", veth__pair="p-far"))
    assert sorted(ports(switch)) == ["p-far", "p-near", "p-web"]
    assert (column("p-web", "tag"), column("p-web", "trunks"), column("p-web", "vlan_mode")) == ("10", "[20]", "native-untagged")
    assert column("p-near", "vlan_mode") == "access" and column("p-far", "tag") == "[]"
    assert reaches(near, "10.6.0.1") and not reaches(far, "10.6.0.1", tries=2)
    for end in box.kill, lambda: kill_monitor(box):
        end()
        until(lambda: "p-web" not in ports(switch), 60)
        box.wait("STOPPED", seconds=120)
        box.start()
        assert "p-web" in ports(switch)


def test_a_port_of_open_vswitch_by_scripts(bus, switch, tmp_path):
    """As people did with LXC before it knew of Open vSwitch: without a link the fifth
    argument is the host's end."""
    for action, command in ("up", "add-port"), ("down", "--if-exists del-port"):
        script = tmp_path / action
        script.write_text(f"#!/bin/sh\necho \"$@\" >>{tmp_path}/told\nexec ovs-vsctl {command} {switch} $5\n")
        script.chmod(0o755)

    def on(name, address):
        return start(bus, name, *wire(0, "veth", None, address, veth__pair=f"p-{name}",
                                      script__up=tmp_path / "up", script__down=tmp_path / "down"))

    box, _ = on("web", "10.6.0.1/24")
    _, near = on("near", "10.6.0.2/24")
    assert reaches(near, "10.6.0.1")
    box.kill()
    until(lambda: ports(switch) == ["p-near"], 60)
    told = (tmp_path / "told").read_text().splitlines()
    assert told[0] == "web net up veth p-web" and told[-1] == "web net down veth p-web"


def test_two_macvlans_on_a_vlan(bus, uplink):
    run("ip", "link", "add", "link", "up0", "name", "up0.7", "type", "vlan", "id", "7")
    run("ip", "link", "set", "up0.7", "up")
    _, one = start(bus, "one", *wire(0, "macvlan", "up0.7", "10.4.0.1/24", macvlan__mode="bridge"))
    start(bus, "two", *wire(0, "macvlan", "up0.7", "10.4.0.2/24", macvlan__mode="bridge"))
    assert reaches(one, "10.4.0.2")


def test_kinds_that_few_kernels_have_come_and_go_while_it_runs(bus, uplink):
    """In a monitor's own unit, too: what is lent comes home when that is killed."""
    box, pid = start(bus, "one", "lxc.net.0.type = empty")
    uplink.outside("ip", "addr", "add", "10.42.0.1/24", "dev", "switch")
    for number in 42, 43:
        uplink.outside("ip", "link", "add", "link", "switch", "name", f"tag{number}", "type", "vlan", "id", str(number))
        uplink.outside("ip", "addr", "add", f"10.{number}.1.1/24", "dev", f"tag{number}")
        uplink.outside("ip", "link", "set", f"tag{number}", "up")
    vlan = lambda number: GLib.Variant("u", number)
    box.add_wire("vlan", link="up0", name="wire1", vlan_id=vlan(42), ipv4="10.42.1.2/24")
    assert reaches(pid, "10.42.1.1")
    box.interfaces("Configure", "(ua{sv})", 1, options(vlan_id=vlan(43), ipv4="10.43.1.2/24"))
    assert reaches(pid, "10.43.1.1") and not reaches(pid, "10.42.1.1", tries=1)
    box.add_wire("ipvlan", link="up0", name="wire2", ipv4="10.9.0.11/24")
    (link,) = ip(pid, "link", "show", "wire2")
    assert link["linkinfo"]["info_kind"] == "ipvlan"
    box.interfaces("Remove", "(ua{sv})", 1, {})
    run("ip", "link", "add", "dummy9", "type", "dummy")
    try:
        box.add_wire("phys", link="dummy9", name="wire3")
        assert "dummy9" not in links()
        kill_monitor(box)
        until(lambda: "dummy9" in links(), 60)
    finally:
        box.wait("STOPPED", seconds=120)
        run("ip", "link", "del", "dummy9")
