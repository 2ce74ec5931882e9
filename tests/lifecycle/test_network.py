"""Network devices of a container on the wires of its host."""

import json
import os
import subprocess

import pytest

import containers
from gantry import run, until

MAC = "00:16:3e:12:34:56"
VETH = ["lxc.net.0.type = veth", "lxc.net.0.link = lxcbr0", "lxc.net.0.flags = up"]


@pytest.fixture(scope="module", autouse=True)
def bridge():
    with containers.bridge() as name:
        yield name


def create(bus, *config, **more):
    return bus.create("box", template="busybox", config=list(config), start=True, **more)


def inside(container, *argv):
    """The host's ip in the container's network namespace, as JSON."""
    text = run("nsenter", f"--net=/proc/{container.get('InitPid')}/ns/net", "ip", "-json", *argv).stdout
    return json.loads(text or "[]")


def ports():
    return set(os.listdir("/sys/class/net/lxcbr0/brif"))


@pytest.mark.parametrize("privileged", [False, True])
def test_a_veth_is_in_the_bridge_and_as_configured_inside(bus, privileged):
    before = ports()
    box = create(bus, *VETH, "lxc.net.0.name = wire", f"lxc.net.0.hwaddr = {MAC}", "lxc.net.0.mtu = 1400",
                 "lxc.net.0.ipv4.address = 10.0.3.77/24", "lxc.net.0.ipv4.gateway = 10.0.3.1",
                 "lxc.net.0.ipv6.address = fd00::77/64", privileged=privileged)
    (port,) = ports() - before
    assert port.startswith("veth")
    with open(f"/sys/class/net/{port}/address") as file:
        assert file.read().startswith("fe:")
    (wire,) = inside(box, "addr", "show", "wire")
    assert wire["address"] == MAC and wire["mtu"] == 1400 and "UP" in wire["flags"]
    addresses = {(a["local"], a["prefixlen"]) for a in wire["addr_info"]}
    assert {("10.0.3.77", 24), ("fd00::77", 64)} <= addresses
    (route,) = inside(box, "route", "show", "default")
    assert (route["gateway"], route["dev"]) == ("10.0.3.1", "wire")
    (loopback,) = inside(box, "addr", "show", "lo")
    assert "UP" in loopback["flags"]
    assert containers.answers("10.0.3.77")
    assert box.execute("ping", "-c1", "-W2", "10.0.3.1")[0] == 0
    box.kill()
    until(lambda: ports() == before)


def test_the_addresses_are_a_property_that_follows(bus):
    box = create(bus, *VETH, "lxc.net.0.ipv4.address = 10.0.3.78/24")
    until(lambda: [a for a in box.get("Addresses") if a.split("/")[0] == "10.0.3.78"])
    assert not [a for a in box.get("Addresses") if a.startswith(("127.", "::1"))]
    with bus.signals("org.freedesktop.DBus.Properties", "PropertiesChanged", box.path) as seen:
        bus.objects()
        assert box.execute("ip", "addr", "add", "10.0.3.79/24", "dev", "eth0")[0] == 0
        until(lambda: [1 for _a, _m, (_i, changed, gone) in seen if "Addresses" in changed or "Addresses" in gone],
              pump=True)
    assert {"10.0.3.78", "10.0.3.79"} <= {a.split("/")[0] for a in box.get("Addresses")}
    box.kill()
    assert box.get("Addresses") == []


def test_host_names_of_pairs_and_several_devices(bus):
    box = create(bus, *VETH, "lxc.net.0.veth.pair = towerside", "lxc.net.3.type = veth",
                 "lxc.net.3.link = lxcbr0", "lxc.net.3.veth.pair = otherside", "lxc.net.3.name = two",
                 privileged=True)
    assert {"towerside", "otherside"} <= ports()
    names = {link["ifname"] for link in inside(box, "link")}
    assert names == {"lo", "eth0", "two"}
    box.kill()
    until(lambda: not {"towerside", "otherside"} & set(os.listdir("/sys/class/net")))


def test_dhcp_client_of_the_template_gets_an_address(bus, tmp_path):
    argv = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--interface=lxcbr0", "--bind-interfaces",
            "--except-interface=lo", "--port=0", "--dhcp-range=10.0.3.100,10.0.3.110", "--no-ping",
            f"--dhcp-leasefile={tmp_path}/leases", "--user=root", "--pid-file="]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            box = create(bus, *VETH)
            until(lambda: [a for a in box.get("Addresses") if a.startswith("10.0.3.1")], 15)
        finally:
            server.kill()


@pytest.mark.parametrize("line", ["lxc.net.0.type = empty", "lxc.net ="])
def test_containers_without_wires_have_only_loopback(bus, line):
    box = create(bus, line)
    # Without any line the container brings it up itself.
    until(lambda: [(link["ifname"], "UP" in link["flags"]) for link in inside(box, "link")] == [("lo", True)])


def test_type_none_shares_the_hosts_network(bus):
    box = create(bus, "lxc.net =", "lxc.net.0.type = none", privileged=True)
    assert containers.namespace(box.get("InitPid"), "net") == containers.namespace("self", "net")


def test_reboot_wires_it_again(bus):
    before = ports()
    box = create(bus, *VETH, "lxc.net.0.ipv4.address = 10.0.3.80/24")
    first, pid = ports() - before, box.get("InitPid")
    box.execute("sh", "-c", "reboot -f &")
    until(lambda: box.get("InitPid") not in (0, pid))
    until(lambda: len(ports() - before) == 1)
    assert first
    assert containers.answers("10.0.3.80")


def test_up_and_down_scripts_get_what_lxc_gives_them(bus, tmp_path):
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\necho \"$@\" >> {tmp_path}/calls\n")
    script.chmod(0o755)
    box = create(bus, *VETH, "lxc.net.0.veth.pair = towerside", f"lxc.net.0.script.up = {script}",
                 f"lxc.net.0.script.down = {script}", privileged=True)
    box.kill()
    up, down = (tmp_path / "calls").read_text().splitlines()
    assert up == "box net up veth lxcbr0 towerside"
    assert down == "box net down veth lxcbr0 towerside"
