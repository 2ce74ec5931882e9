"""lxcbr0 without thinking: it comes up with the first container that is wired to it."""

import os
import signal

import pytest

import containers
import gantry
import wires
from gantry import run, until
from networks import LXC_NET, Network, addresses, keeper, leased, listener, names, rules, server, start, tables, wired

MAC = "00:16:3e:00:00:07"


@pytest.fixture
def lxcbr0(bus):
    return Network(bus, "lxcbr0")


@pytest.fixture
def outside():
    """The outside world, which knows the host by 10.9.0.2 and nothing behind it."""
    with wires.uplink() as wire:
        run("ip", "addr", "add", "10.9.0.2/24", "dev", wire.name)
        until(lambda: wires.reaches("self", wires.OUTSIDE, 1))
        yield wire


def write_lxc_net(text):
    with open(LXC_NET, "w") as file:
        file.write(text)


def test_the_first_container_brings_it_up_with_addresses_names_and_nat(bus, lxcbr0, outside):
    assert (lxcbr0.get("Managed"), lxcbr0.get("Up"), lxcbr0.get("Autostart")) == (True, False, False)
    assert lxcbr0.get("DhcpRange") == "10.0.3.2,10.0.3.254"
    box, address = start(bus, "box", "lxcbr0", MAC)
    assert address.startswith("10.0.3.") and lxcbr0.leases() == {MAC: address}
    assert "10.0.3.1/24" in addresses("lxcbr0")
    until(lambda: lxcbr0.get("Up") and "10.0.3.1/24" in lxcbr0.get("Addresses"))
    (port,) = until(lambda: lxcbr0.get("Ports"))
    assert port[1:] == ("box", "eth0")

    # The outside has no way back to 10.0.3.0/24: it answers the host.
    pid = box.get("InitPid")
    assert wires.reaches(pid, wires.OUTSIDE)
    with listener(outside.pid, 7777) as asked:
        assert box.execute("nc", wires.OUTSIDE, "7777")[1] == "hello\n"
        assert asked.stdout.readline() == "10.9.0.2\n"

    # Routers are advertised, too, and addresses of IPv6 leave behind the host's.
    until(lambda: [one for one in box.get("Addresses") if one.startswith("fc42:5009:ba4b:5ab0:")], 20)

    other, second = start(bus, "other", "lxcbr0")
    assert second != address and wires.reaches(pid, second)
    with containers.refused("HasDependents") as told:
        lxcbr0.down()
    assert "box, other are plugged" in told[0].message
    box.kill()
    other.kill()
    until(lambda: lxcbr0.get("Ports") == [])
    lxcbr0.down()
    assert not os.path.exists("/sys/class/net/lxcbr0") and rules() == ""
    assert server("lxcbr0") is None and keeper("lxcbr0") is None
    assert lxcbr0.get("Up") is False


def test_29_30_dnsmasq_and_rules_come_back_and_need_no_helper(bus, lxcbr0):
    lxcbr0.up()
    box, address = start(bus, "box", "lxcbr0", MAC)
    run("nft", "add", "table", "inet", "others")
    before, kept = rules(), server("lxcbr0")
    assert before.count("accept") >= 4 and "masquerade" in before
    with open(f"/proc/{kept}/status") as file:
        uid = next(line.split()[1] for line in file if line.startswith("Uid:"))
    assert uid != "0"

    os.kill(containers.helper_pid(bus), signal.SIGKILL)
    os.kill(kept, signal.SIGKILL)
    until(lambda: server("lxcbr0") not in (None, kept))
    run("nft", "flush", "ruleset")
    until(lambda: rules() == before)
    run("nft", "delete", "rule", "inet", "gantry", "forward", "handle", handle("forward"))
    until(lambda: rules() == before)
    assert lxcbr0.leases() == {MAC: address}
    assert box.execute("nslookup", "localhost", "10.0.3.1")[0] == 0
    box.kill()
    box.start()
    assert leased(box) == address


def handle(chain):
    text = run("nft", "-a", "list", "chain", "inet", "gantry", chain).stdout
    return next(line.split()[-1] for line in text.splitlines() if "accept" in line and "handle" in line and "hook" not in line)


def test_who_keeps_it_is_replaced_when_it_was_killed(bus, lxcbr0):
    _box, address = start(bus, "box", "lxcbr0", MAC)
    old = keeper("lxcbr0")
    os.kill(old, signal.SIGKILL)
    new = until(lambda: keeper("lxcbr0") not in (None, old) and keeper("lxcbr0"))
    until(lambda: server("lxcbr0"))
    assert lxcbr0.leases() == {MAC: address}
    # Without a helper the next one does it.
    os.kill(containers.helper_pid(bus), signal.SIGKILL)
    until(lambda: not containers.ask_bus(bus, "NameHasOwner"))
    os.kill(new, signal.SIGKILL)
    until(lambda: keeper("lxcbr0") is None)
    bus.list()
    until(lambda: keeper("lxcbr0") and server("lxcbr0"))
    _other, second = start(bus, "other", "lxcbr0")
    assert second.startswith("10.0.3.") and second != address


@pytest.mark.parametrize("method", ["Up", "Down"])
def test_a_helper_killed_at_any_step_leaves_what_the_next_one_mends(bus, lxcbr0, method):
    for milliseconds in (1, 3, 6, 10, 16, 25, 40, 60):
        if method == "Down":
            lxcbr0.up()
        pid = containers.helper_pid(bus)
        bus.connection.call(
            "io.gantry.Gantry1", lxcbr0.path, "io.gantry.Gantry1.Network", method, None, None,
            gantry.Gio.DBusCallFlags.NONE, -1, None, None, None)
        run("sleep", str(milliseconds / 1000))
        os.kill(pid, signal.SIGKILL)
        until(lambda: not containers.ask_bus(bus, "NameHasOwner"))
        bus.list()
        until(whole)
        lxcbr0.up()
        assert whole() == "up" and "lxcbr0" in rules()
        lxcbr0.down()
        assert whole() == "down" and not os.path.exists("/sys/class/net/gantry-new")


def whole():
    """Whether all of the network is there, or nothing; neither is nothing."""
    parts = {os.path.exists("/sys/class/net/lxcbr0") and "10.0.3.1/24" in addresses("lxcbr0"), "masquerade" in rules(),
             server("lxcbr0") is not None, keeper("lxcbr0") is not None, os.path.exists("/run/gantry/networks/lxcbr0")}
    if len(parts) != 1:
        return None
    return "up" if parts.pop() else "down"


def test_the_bridge_of_lxcs_own_service_is_used_and_left_alone(bus, lxcbr0):
    write_lxc_net('USE_LXC_BRIDGE="true"\nLXC_IPV6_ENABLE="false"\n')
    run("/usr/libexec/lxc/lxc-net", "start")
    try:
        until(lambda: not lxcbr0.get("Managed"))
        lxcbr0.up()
        _box, address = start(bus, "box", "lxcbr0")
        assert address.startswith("10.0.3.")
        assert rules() == "" and server("lxcbr0") is None
        with containers.refused("WrongState") as told:
            lxcbr0.down()
        assert "another program" in told[0].message
        containers.destroy("box")
        until(lambda: lxcbr0.get("Ports") == [])
    finally:
        run("/usr/libexec/lxc/lxc-net", "stop", check=False)
    until(lambda: lxcbr0.get("Managed") and not lxcbr0.get("Up"))


def index(link):
    with open(f"/sys/class/net/{link}/ifindex") as file:
        return int(file.read())


def test_the_bridge_of_lxcs_own_service_is_taken_over_on_request(bus, lxcbr0):
    write_lxc_net('USE_LXC_BRIDGE="true"\nLXC_IPV6_ENABLE="false"\n')
    run("/usr/libexec/lxc/lxc-net", "start")
    try:
        box, address = start(bus, "box", "lxcbr0", MAC)
        before = index("lxcbr0")
        with open("/run/lxc/dnsmasq.pid") as file:
            theirs = int(file.read())
        lxcbr0.configure(take_over=True)
        assert lxcbr0.get("Managed") and index("lxcbr0") == before
        assert server("lxcbr0") and not os.path.exists(f"/proc/{theirs}") and "lxc" not in tables()
        # What was plugged in did not notice.
        assert lxcbr0.leases() == {MAC: address} and wires.reaches(box.get("InitPid"), "10.0.3.1")
        box.kill()
        box.start()
        assert leased(box) == address
        # Nothing is left for LXC's service to stop.
        run("/usr/libexec/lxc/lxc-net", "stop", check=False)
        assert addresses("lxcbr0") == {"10.0.3.1/24"} and server("lxcbr0")
        box.kill()
        until(lambda: lxcbr0.get("Ports") == [])
        lxcbr0.down()
        # When the service was first, as at the next boot, the first container has it taken over.
        run("/usr/libexec/lxc/lxc-net", "start")
        box.start()
        assert leased(box) == address
        until(lambda: lxcbr0.get("Managed"))
        assert server("lxcbr0") and "lxc" not in tables()
    finally:
        containers.destroy("box")
        run("/usr/libexec/lxc/lxc-net", "stop", check=False)


def test_a_bridge_of_somebody_elses_is_taken_over_on_request(bus):
    run("ip", "link", "add", "theirs0", "up", "type", "bridge")
    try:
        run("ip", "addr", "add", "10.66.0.1/24", "dev", "theirs0")
        until(lambda: "theirs0" in names(bus))
        theirs = Network(bus, "theirs0")
        theirs.configure(take_over=True, dhcp=True, nat=True)
        assert (theirs.get("Managed"), theirs.get("Addresses"), theirs.get("Dhcp")) == (True, ["10.66.0.1/24"], True)
        box, address = start(bus, "box", "theirs0")
        assert address.startswith("10.66.0.") and "10.66.0.0/24" in rules()
        box.kill()
        until(lambda: theirs.get("Ports") == [])
        theirs.delete(force=True)
        assert "theirs0" not in names(bus)
    finally:
        run("ip", "link", "del", "theirs0", check=False)


def test_another_bridge_is_shown_as_somebody_elses(bus):
    with containers.bridge("theirs0", "10.66.0.1/24"):
        until(lambda: "theirs0" in names(bus))
        theirs = Network(bus, "theirs0")
        until(lambda: theirs.get("Addresses") == ["10.66.0.1/24"])
        assert theirs.get("Managed") is False
        for call in (theirs.down, theirs.delete, lambda: theirs.configure(domain="x")):
            with containers.refused("WrongState"):
                call()
    until(lambda: "theirs0" not in names(bus))


def test_lxcs_variables_are_read_and_written(bus, lxcbr0):
    write_lxc_net("# ours\nUSE_LXC_BRIDGE='true'\nLXC_ADDR=10.44.0.1\nLXC_NETMASK=255.255.0.0\n"
                  "LXC_NETWORK=10.44.0.0/16\nLXC_DHCP_RANGE=10.44.1.2,10.44.1.9\nLXC_DOMAIN=lxc\nLXC_IPV6_ENABLE=false\n")
    box, address = start(bus, "box", "lxcbr0", MAC)
    assert address.startswith("10.44.1.") and addresses("lxcbr0") == {"10.44.0.1/16"}
    assert lxcbr0.get("Domain") == "lxc"
    assert address in box.execute("nslookup", "box.lxc", "10.44.0.1")[1]

    # What is up goes by a change at once, and comments stay.
    lxcbr0.configure(ipv4="10.45.0.1/24", domain="")
    assert addresses("lxcbr0") == {"10.45.0.1/24"} and "10.45.0.0/24" in rules() and "10.44" not in rules()
    with open(LXC_NET) as file:
        text = file.read()
    assert text.startswith("# ours\nUSE_LXC_BRIDGE='true'\nLXC_ADDR=\"10.45.0.1\"\n")
    assert 'LXC_DHCP_RANGE="10.45.0.2,10.45.0.254"' in text and "IPV6_ADDR" not in text
    box.kill()
    box.start()
    assert leased(box).startswith("10.45.0.")


@pytest.mark.parametrize("text, name, words", [
    ("USE_LXC_BRIDGE=false\n", "WrongState", "USE_LXC_BRIDGE"),
    ("# one\nLXC_ADDR=$(touch /run/victim)\n", "InvalidConfig", "line 2, LXC_ADDR"),
    ("LXC_DHCP_RANGE=10.0.3.2,10.0.4.9\n", "InvalidConfig", "line 1, LXC_DHCP_RANGE"),
])
def test_what_the_file_does_not_allow_is_told_in_words(bus, lxcbr0, text, name, words):
    write_lxc_net(text)
    with containers.refused(name) as told:
        lxcbr0.up()
    assert words in told[0].message
    assert not os.path.exists("/run/victim") and not os.path.exists("/sys/class/net/lxcbr0")
    # A container on it is not started, and told why.
    box = bus.create("box", template="busybox", config=wired("lxcbr0"))
    with containers.refused(name) as told:
        box.start()
    assert words in told[0].message
