"""Networks of the user's own: described in a file, changed, forwarded into, deleted."""

import os
import re
import socket

import pytest

import containers
import wires
from gantry import Job, options, run, until
from networks import DIRECTORY, addresses, create, leased, listener, names, rules, start, wired

MAC = "00:16:3e:00:00:09"


@pytest.fixture
def dev0(bus):
    return create(bus, "dev0", ipv4="10.77.0.1/24", domain="dev")


def test_a_network_has_a_file_that_people_can_read_and_write(bus, dev0):
    path = f"{DIRECTORY}/dev0.conf"
    with open(path) as file:
        text = file.read()
    assert "ipv4 = 10.77.0.1/24\n" in text and "domain = dev\n" in text and "nat = true\n" in text
    assert (dev0.get("Managed"), dev0.get("Up"), dev0.get("Dhcp"), dev0.get("Nat")) == (True, False, True, True)
    with open(path, "a") as file:
        file.write("# by hand\nautostart = true\n")
    dev0.configure(nat=False, dhcp_range="10.77.0.50,10.77.0.60")
    assert (dev0.get("Nat"), dev0.get("DhcpRange"), dev0.get("Autostart")) == (False, "10.77.0.50,10.77.0.60", True)
    with open(path) as file:
        assert "# by hand\n" in file.read()
    # With the host it comes up by itself.
    job = bus.manager("Autostart", "(a{sv})", options(groups=["none"]))
    assert bus.call(job, "Job", "Wait", "(x)", 10000) == "done"
    assert addresses("dev0") == {"10.77.0.1/24"} and "masquerade" not in rules()
    with open(path, "a") as file:
        file.write("colour = red\n")
    dev0.bus.list()
    with containers.refused("InvalidConfig") as told:
        dev0.up()
    assert "colour" in told[0].message
    with open(path, "w") as file:
        file.write(text)
    dev0.delete()
    assert not os.path.exists(path) and "dev0" not in names(bus) and not os.path.exists("/sys/class/net/dev0")


def test_containers_know_each_other_by_name_and_the_outside_comes_in_by_a_port(bus, dev0):
    web, address = start(bus, "web", "dev0", MAC)
    db, second = start(bus, "db", "dev0")
    assert address in db.execute("nslookup", "web.dev", "10.77.0.1")[1]
    assert db.execute("ping", "-c1", "-W5", "web")[0] == 0

    # Two isolated ports do not reach each other; the host they do.
    ports = {container: port for port, container, _inside in dev0.get("Ports")}
    assert set(ports) == {"web", "db"}
    for isolated in True, False:
        for port in ports.values():
            dev0.call("SetPort", "(sa{sv})", port, options(isolated=isolated, hairpin=isolated))
        assert wires.reaches(db.get("InitPid"), address, 2 if isolated else 10) is not isolated
        assert wires.reaches(db.get("InitPid"), "10.77.0.1")
    with containers.refused("NotFound"):
        dev0.call("SetPort", "(sa{sv})", "lo", options(isolated=True))

    forward = ("AddForward", "(susua{sv})", "tcp", 8080, "web", 80, {})
    dev0.call(*forward)
    assert dev0.call("Forwards") == [("tcp", 8080, "web", 80)]
    with containers.refused("Exists"):
        dev0.call(*forward)
    with containers.refused("InvalidArgument") as told:
        dev0.call("AddForward", "(susua{sv})", "tcp", 8081, "db", 80, {})
    assert "MAC" in told[0].message
    with wires.uplink() as wire:
        run("ip", "addr", "add", "10.9.0.2/24", "dev", wire.name)
        until(lambda: wires.reaches("self", wires.OUTSIDE, 1))
        for asker, host in (wire.pid, "10.9.0.2"), ("self", "10.9.0.2"), (db.get("InitPid"), "10.77.0.1"):
            with listener(web.get("InitPid"), 80):
                assert run(*wires.enter(asker), "busybox", "nc", "-w5", host, "8080").stdout == "hello\n"
    # The address that the port leads to stays the container's.
    web.kill()
    web.start()
    assert leased(web) == address
    with containers.refused("HasDependents"):
        dev0.call("RemoveReservation", "(s)", MAC)
    dev0.call("RemoveForward", "(su)", "tcp", 8080)
    assert dev0.call("Forwards") == [] and "dnat" not in rules()

    dev0.call("RemoveReservation", "(s)", MAC)
    dev0.call("AddReservation", "(sss)", MAC, "10.77.0.200", "shop")
    web.kill()
    web.start()
    assert leased(web) == "10.77.0.200"
    assert dev0.call("Reservations") == [(MAC, "10.77.0.200", "shop")]
    assert "10.77.0.200" in db.execute("nslookup", "shop.dev", "10.77.0.1")[1]
    for mac, ip, words in (MAC, "10.77.0.9", "already"), ("00:16:3e:00:00:10", "10.77.0.200", "taken"), \
            ("00:16:3e:00:00:10", "10.78.0.9", "10.77.0.0/24"), ("00:16:3e:00:00:10", "10.77.0.1", "taken"), \
            ("nonsense", "10.77.0.9", "MAC"):
        with containers.refused("InvalidArgument") as told:
            dev0.call("AddReservation", "(sss)", mac, ip, "")
        assert words in told[0].message

    with containers.refused("HasDependents") as told:
        dev0.delete()
    assert "db, web" in told[0].message
    for box in web, db:
        box.kill()
    until(lambda: dev0.get("Ports") == [])
    with containers.refused("HasDependents") as told:
        dev0.delete()
    assert "configs of db, web" in told[0].message
    dev0.delete(force=True)


def test_an_isolated_port_is_so_at_every_start_until_it_is_not(bus, dev0):
    boxes = {name: start(bus, name, "dev0")[0] for name in ("web", "db")}

    def reaches(seconds):
        return wires.reaches(boxes["db"].get("InitPid"), leased(boxes["web"]), seconds)

    def isolate(isolated):
        for port, _container, _inside in dev0.get("Ports"):
            dev0.call("SetPort", "(sa{sv})", port, options(isolated=isolated))

    isolate(True)
    for start_again in (lambda box: (box.kill(), box.start())), (lambda box: Job(bus, box.call("Reboot", "(a{sv})", {})).result(60)):
        for box in boxes.values():
            pid = box.get("InitPid")
            start_again(box)
            until(lambda: box.get("InitPid") not in (0, pid))
        # Both have their addresses again: the host reaches them, each other they do not.
        for box in boxes.values():
            until(lambda: wires.reaches(box.get("InitPid"), "10.77.0.1", 1), 30)
        assert not reaches(2)
    isolate(False)
    assert reaches(10)
    boxes["web"].kill()
    boxes["web"].start()
    assert reaches(10)


def test_a_port_that_the_host_serves_itself_is_left_to_it(bus, dev0):
    start(bus, "web", "dev0", MAC)
    with socket.create_server(("0.0.0.0", 8080)), socket.create_server(("127.0.0.1", 8081)) as own:
        with containers.refused("Exists") as told:
            dev0.call("AddForward", "(susua{sv})", "tcp", 8080, "web", 80, {})
        assert "8080" in told[0].message and dev0.call("Forwards") == []
        # What only the host itself can reach stays where it was.
        dev0.call("AddForward", "(susua{sv})", "tcp", 8081, "web", 80, {})
        with socket.create_connection(("127.0.0.1", 8081), timeout=10):
            own.accept()[0].close()


def test_ports_and_addresses_of_a_container_go_with_it(bus, dev0):
    web, _address = start(bus, "web", "dev0", MAC)
    dev0.call("AddForward", "(susua{sv})", "tcp", 8080, "web", 80, {})
    dev0.call("AddReservation", "(sss)", "00:16:3e:00:00:10", "10.77.0.200", "shop")
    web.kill()
    web.call("Rename", "(sa{sv})", "blog", {})
    assert dev0.call("Forwards") == [("tcp", 8080, "blog", 80)]
    bus.container("blog").destroy()
    assert dev0.call("Forwards") == [] and "dnat" not in rules()
    assert [name for _mac, _address, name in dev0.call("Reservations")] == ["shop"]


@pytest.mark.parametrize("name, asked, error, words", [
    ("abcdefghijklmnop", {}, "InvalidName", "15"),
    ("a/b", {}, "InvalidName", "'/'"),
    ("", {}, "InvalidName", "empty"),
    ("7up", {}, "InvalidName", "letter"),
    ("gantry-new", {}, "InvalidName", "gantry-new"),
    ("lo", {}, "InvalidName", "lo"),
    ("lxcbr0", {}, "Exists", "lxcbr0"),
    ("dev1", {"ipv4": "10.0.3.9/24"}, "InvalidArgument", "overlap"),
    ("dev1", {"ipv4": "10.0.0.1/8"}, "InvalidArgument", "overlap"),
    ("dev1", {"ipv4": "10.0.3.1/30"}, "InvalidArgument", "taken"),
    ("dev1", {"ipv4": "10.66.0.1/24"}, "InvalidArgument", "taken"),
    ("dev1", {"ipv4": "10.66.0.7/24"}, "InvalidArgument", "theirs0"),
    ("dev1", {"ipv4": "10.5.0.1"}, "InvalidArgument", "prefix"),
    ("dev1", {"ipv4": "10.5.0.0/24"}, "InvalidArgument", "10.5.0.0/24"),
    ("dev1", {"ipv4": "fd00::1/64"}, "InvalidArgument", "ipv4"),
    ("dev1", {"ipv4": "10.5.0.1/24", "dhcp_range": "10.5.0.2,10.5.1.9"}, "InvalidArgument", "10.5.0.0/24"),
    ("dev1", {"ipv4": "10.5.0.1/24", "dhcp_range": "10.5.0.9,10.5.0.2"}, "InvalidArgument", "begins after"),
    ("dev1", {"ipv4": "10.5.0.1/24", "dhcp_range": "all"}, "InvalidArgument", "all"),
    ("dev1", {"ipv4": "10.5.0.1/24", "domain": "a b"}, "InvalidArgument", "domain"),
    ("dev1", {"dhcp": True}, "InvalidArgument", "ipv4"),
    ("dev1", {"driver": "hub"}, "InvalidArgument", "bridge or ovs"),
    ("dev1", {"colour": "red"}, "InvalidArgument", "colour"),
])
def test_what_cannot_be_is_refused_in_words_and_changes_nothing(bus, name, asked, error, words):
    with containers.bridge("theirs0", "10.66.0.1/24"):
        with containers.refused(error) as told:
            create(bus, name, **asked)
        assert words in told[0].message, told[0].message
        assert not os.path.exists(DIRECTORY) or os.listdir(DIRECTORY) == []


@pytest.mark.parametrize("method, signature, args", [
    ("AddForward", "(susua{sv})", ("tcp dport 22 accept; tcp", 8080, "web", 80, {})),
    ("AddForward", "(susua{sv})", ("tcp", 8080, "web; flush ruleset", 80, {})),
    ("AddForward", "(susua{sv})", ("tcp", 8080, "../web", 80, {})),
    ("AddReservation", "(sss)", (MAC, "10.77.0.9", "shop\ndhcp-script=/bin/sh")),
    ("AddReservation", "(sss)", (MAC + ",set:x", "10.77.0.9", "shop")),
    ("AddReservation", "(sss)", (MAC, "10.77.0.9,ignore", "shop")),
    ("SetPort", "(sa{sv})", ("veth0; flush ruleset", options(isolated=True))),
    ("Configure", "(a{sv})", (options(domain="dev\naddress=/#/10.0.0.1"),)),
    ("Configure", "(a{sv})", (options(dhcp_range="10.77.0.2,10.77.0.9\nuser=root"),)),
])
def test_29_30_nothing_that_is_asked_carries_a_rule_or_a_line_of_its_own(bus, dev0, method, signature, args):
    """Words for the firewall and for dnsmasq are names and numbers, or are refused."""
    start(bus, "web", "dev0", MAC)
    before = rules()
    with containers.refused("InvalidArgument", "InvalidName", "NotFound", "InvalidConfig"):
        dev0.call(method, signature, *args)
    assert rules() == before


def test_30_a_host_name_that_a_container_claims_is_a_name_or_nothing(bus, dev0):
    """What a container calls itself to the DHCP server gets into no list as it is."""
    box, _address = start(bus, "box", "dev0", MAC)
    for name in "../../../evil", "a b", "web.lan #x", "*", "-x":
        box.execute("udhcpc", "-n", "-q", "-i", "eth0", "-x", f"hostname:{name}")
        for _mac, _address, called, _until in dev0.call("Leases"):
            assert re.fullmatch("[A-Za-z0-9][A-Za-z0-9-]*|", called), called


def test_a_container_is_told_that_its_network_is_gone(bus, dev0):
    dev0.delete()
    assert "dev0" not in names(bus)
    # A container that was wired to it is told what is missing.
    box = bus.create("box", template="busybox", config=wired("dev0"))
    with containers.refused("StartFailed") as told:
        box.start()
    assert "dev0" in told[0].message
