"""Where packets of a network go: nowhere, by routes, behind the host's address, or into the
net outside by an uplink; and what becomes of a host that an uplink might cut off.
"""

import json
import os
import signal
import time

import pytest

import containers
import wires
from gantry import run, until
from networks import addresses, create, listener, names, networks, start, wired


HOME = {"10.9.0.2/24", "fd09::2/64"}


@pytest.fixture
def outside():
    """The outside world, which knows the host by 10.9.0.2."""
    with wires.uplink() as wire:
        run("ip", "addr", "add", "10.9.0.2/24", "dev", wire.name)
        until(lambda: wires.reaches("self", wires.OUTSIDE, 1))
        yield wire


def asked_by(box, outside, port=7777):
    """The address by which the outside world sees who asks from a container."""
    with listener(outside.pid, port) as asked:
        assert box.execute("nc", "-w5", wires.OUTSIDE, str(port))[1] == "hello\n"
        return asked.stdout.readline().strip()


def default_routes():
    return {(one["gateway"], one["dev"]) for one in json.loads(run("ip", "-json", "route", "show", "default").stdout)}


def unconfirmed(bus):
    return bus.get("/io/gantry/Gantry1", "Manager", "Unconfirmed")


def test_a_routed_network_is_seen_by_its_own_addresses_and_one_with_nat_by_the_hosts(bus, outside):
    net = create(bus, "dev0", ipv4="10.77.0.1/24", nat=False)
    outside.outside("ip", "route", "add", "10.77.0.0/24", "via", "10.9.0.2")
    box, address = start(bus, "box", "dev0")
    assert (net.get("Nat"), net.get("Isolated")) == (False, False)
    assert wires.reaches(outside.pid, address)
    assert asked_by(box, outside) == address
    # The same network hides them as soon as it is to.
    net.configure(nat=True)
    assert asked_by(box, outside, 7778) == "10.9.0.2"


def test_nothing_leaves_an_isolated_network_or_comes_in(bus, outside):
    shut = create(bus, "iso0", ipv4="10.78.0.1/24", ipv6="fd78::1/64", isolated=True)
    assert (shut.get("Isolated"), shut.get("Nat"), shut.get("Dhcp")) == (True, False, True)
    one, first = start(bus, "one", "iso0")
    two, second = start(bus, "two", "iso0")
    create(bus, "dev0", ipv4="10.77.0.1/24")
    other, third = start(bus, "other", "dev0")
    outside.outside("ip", "route", "add", "10.78.0.0/24", "via", "10.9.0.2")
    # A way is there, were it not for the rules.
    run(*wires.enter(one.get("InitPid")), "ip", "route", "replace", "default", "via", "10.78.0.1")
    pid = one.get("InitPid")
    assert wires.reaches(pid, second) and wires.reaches(pid, "10.78.0.1") and wires.reaches("self", first)
    assert wires.reaches(other.get("InitPid"), wires.OUTSIDE)
    for asker, address in (pid, wires.OUTSIDE), (pid, third), (other.get("InitPid"), first), (outside.pid, first):
        assert not wires.reaches(asker, address, 2), (asker, address)
    # The host does not even offer itself as a way out.
    assert run(*wires.enter(two.get("InitPid")), "ip", "route", "show", "default").stdout == ""
    with containers.refused("InvalidArgument") as told:
        shut.call("AddForward", "(susua{sv})", "tcp", 8080, "one", 80, {})
    assert "isolated" in told[0].message or "MAC" in told[0].message
    with containers.refused("InvalidArgument") as told:
        shut.configure(nat=True)
    assert "isolated" in told[0].message
    shut.configure(isolated=False)
    assert wires.reaches(pid, third)


def test_with_an_uplink_containers_are_in_the_net_outside(bus, outside):
    # Not what the host depends on: nobody has to confirm it.
    run("ip", "addr", "flush", "dev", "up0")
    net = create(bus, "br9", uplink="up0")
    assert (net.get("Uplink"), net.get("Dhcp"), net.get("Nat")) == ("up0", False, False)
    box = bus.create("box", template="busybox", config=wired("br9", "ipv4.address = 10.9.0.50/24"), start=True)
    assert unconfirmed(bus) == []
    assert asked_by(box, outside) == "10.9.0.50"
    assert wires.reaches(outside.pid, "10.9.0.50")
    ports = until(lambda: len(net.get("Ports")) == 2 and net.get("Ports"))
    assert ("up0", "", "") in ports and {container for _port, container, _inside in ports} == {"", "box"}
    # Another network cannot have it as well.
    with containers.refused("InvalidArgument") as told:
        create(bus, "br8", uplink="up0")
    assert "br9" in told[0].message
    with containers.refused("HasDependents"):
        net.down()
    box.kill()
    until(lambda: net.get("Ports") == [("up0", "", "")])
    net.down()
    assert "br9" not in wires.links() and "up0" in wires.links()


@pytest.fixture
def lifeline(bus, outside):
    """A network whose uplink is the interface that the host's default route leaves by."""
    run("ip", "route", "add", "default", "via", wires.OUTSIDE, "dev", "up0", "metric", "77")
    run("ip", "route", "add", "10.99.0.0/16", "via", wires.OUTSIDE)
    run("ip", "addr", "add", "fd09::2/64", "dev", "up0", "nodad")
    net = create(bus, "br9", uplink="up0")
    yield net
    assert at_home()


def at_home():
    """Whether the host has everything back on its uplink."""
    routes = run("ip", "route").stdout
    return addresses("up0") == HOME and f"default via {wires.OUTSIDE} dev up0 metric 77" in routes and \
        f"10.99.0.0/16 via {wires.OUTSIDE} dev up0" in routes


def test_the_hosts_own_uplink_goes_back_unless_somebody_confirms(bus, lifeline):
    mac = wires.ip("self", "link", "show", "up0")[0]["address"]
    lifeline.up()
    # The host is in the net by the bridge, as who it was before.
    assert addresses("br9") == HOME and addresses("up0") == set()
    assert default_routes() == {(wires.OUTSIDE, "br9")} and wires.reaches("self", wires.OUTSIDE)
    assert wires.ip("self", "link", "show", "br9")[0]["address"] == mac
    ((name, until_when),) = unconfirmed(bus)
    assert name == "up0" and 0 < until_when - time.time() <= 21
    # Whatever is done to it meanwhile, it is on trial.
    lifeline.up()
    until(at_home, 60)
    until(lambda: unconfirmed(bus) == [] and lifeline.get("Uplink") == "")
    assert wires.reaches("self", wires.OUTSIDE)
    with containers.refused("NotFound") as told:
        bus.manager("ConfirmInterface", "(sa{sv})", "up0", {})
    assert "undone" in told[0].message


@pytest.fixture
def second_way(outside):
    """Another interface of the host that leads to the outside world."""
    run("ip", "link", "add", "up1", "type", "veth", "peer", "name", "port1", "netns", str(outside.pid))
    run("ip", "link", "set", "up1", "up")
    outside.outside("ip", "link", "set", "port1", "up")
    for net in "10.8.0.{}/24", "fd08::{}/64":
        run("ip", "addr", "add", net.format(2), "dev", "up1", *["nodad"] * (":" in net))
        outside.outside("ip", "addr", "add", net.format(1), "dev", "port1", *["nodad"] * (":" in net))
    run("ip", "addr", "add", "fd09::2/64", "dev", "up0", "nodad")
    yield "up1"
    run("ip", "link", "del", "up1")


@pytest.mark.parametrize("family, routers", [("-4", (wires.OUTSIDE, "10.8.0.1")), ("-6", ("fd09::1", "fd08::1"))])
def test_a_way_out_that_shares_packets_with_another_is_on_trial_and_comes_back(bus, outside, second_way, family, routers):
    first, second = routers
    run("ip", family, "route", "add", "default", "nexthop", "via", first, "dev", "up0",
        "nexthop", "via", second, "dev", second_way, "weight", "2")
    hops = lambda: {(hop["gateway"], hop["dev"], hop["weight"]) for route in json.loads(
        run("ip", "-json", family, "route", "show", "default").stdout) for hop in route.get("nexthops", [])}
    before = hops()
    assert before == {(first, "up0", 1), (second, second_way, 2)}
    net = create(bus, "br9", uplink="up0")
    net.up()
    assert [name for name, _until in unconfirmed(bus)] == ["up0"]
    assert hops() == {(first, "br9", 1), (second, second_way, 2)}
    until(lambda: hops() == before, 60)
    until(lambda: net.get("Uplink") == "")


@pytest.mark.parametrize("route", [("-6", "default", "via", "fd09::1"), ("-4", "default", "via", wires.OUTSIDE, "table", "77")],
                         ids=["IPv6 alone", "a table of its own"])
def test_a_way_out_of_whichever_kind_is_on_trial(bus, outside, route):
    run("ip", "addr", "flush", "dev", "up0")
    run("ip", "addr", "add", "fd09::2/64" if route[0] == "-6" else "10.9.0.2/24", "dev", "up0", *["nodad"] * (route[0] == "-6"))
    run("ip", route[0], "route", "add", *route[1:], "dev", "up0")
    seen = lambda: run("ip", route[0], "route", "show", *route[1:]).stdout
    before = seen()
    assert "dev up0" in before
    net = create(bus, "br9", uplink="up0")
    net.up()
    assert [name for name, _until in unconfirmed(bus)] == ["up0"]
    assert seen() == before.replace("up0", "br9")
    bus.manager("ConfirmInterface", "(sa{sv})", "up0", {})
    net.down()
    assert seen() == before


def test_a_host_that_its_router_tells_of_the_way_out_keeps_it(bus, outside):
    run("ip", "addr", "flush", "dev", "up0")
    outside.outside("ip", "addr", "add", "fd09::1/64", "dev", outside.bridge, "nodad")
    outside.outside("ip", "addr", "add", "fd99::1/128", "dev", "lo")
    outside.outside("ip", "link", "set", "lo", "up")
    router = ("dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--enable-ra", f"--interface={outside.bridge}",
              "--bind-interfaces", "--dhcp-range=fd09::,ra-only", "--dhcp-leasefile=/dev/null", "--user=root")
    with containers.background(*wires.enter(outside.pid), *router):
        # What is bound is asked for again when a cable is plugged in.
        run("ip", "link", "set", "up0", "down")
        run("ip", "link", "set", "up0", "up")
        leads = lambda: [route["dev"] for route in json.loads(run("ip", "-6", "-json", "route", "show", "default").stdout)]
        until(lambda: wires.reaches("self", "fd99::1", 1), 60)
        assert leads() == ["up0"]
        net = create(bus, "br9", uplink="up0")
        net.up()
        assert [name for name, _until in unconfirmed(bus)] == ["up0"]
        bus.manager("ConfirmInterface", "(sa{sv})", "up0", {})
        until(lambda: wires.reaches("self", "fd99::1", 1), 60)
        assert leads() == ["br9"]
        net.down()
        until(lambda: wires.reaches("self", "fd99::1", 1), 60)
        assert leads() == ["up0"]


def test_an_uplink_that_is_taken_back_is_not_on_trial_any_more(bus, lifeline):
    lifeline.up()
    assert len(unconfirmed(bus)) == 1
    lifeline.configure(uplink="")
    assert at_home() and unconfirmed(bus) == []


def test_a_confirmed_uplink_lasts_until_the_network_goes(bus, lifeline):
    lifeline.up()
    bus.manager("ConfirmInterface", "(sa{sv})", "up0", {})
    assert unconfirmed(bus) == []
    box = bus.create("box", template="busybox", config=wired("br9", "ipv4.address = 10.9.0.50/24"), start=True)
    assert wires.reaches(box.get("InitPid"), wires.OUTSIDE) and wires.reaches("self", "10.9.0.50")
    box.kill()
    until(lambda: lifeline.get("Ports") == [("up0", "", "")])
    lifeline.down()
    assert at_home() and wires.reaches("self", wires.OUTSIDE)
    # Once confirmed it comes up by itself; an empty text takes it away.
    lifeline.up()
    assert unconfirmed(bus) == [] and addresses("br9") == HOME
    lifeline.configure(uplink="")
    assert at_home() and lifeline.get("Up")


def test_a_helper_that_is_killed_during_the_trial_leaves_the_undoing_to_the_next(bus, lifeline):
    lifeline.up()
    assert addresses("up0") == set()
    os.kill(containers.helper_pid(bus), signal.SIGKILL)
    until(lambda: not containers.ask_bus(bus, "NameHasOwner"))
    bus.list()
    until(at_home)
    until(lambda: lifeline.get("Uplink") == "")


@pytest.mark.parametrize("asked, error, words", [
    ({"uplink": "eth77"}, "NotFound", "no interface eth77"),
    ({"uplink": "a/b"}, "InvalidArgument", "a/b"),
    ({"uplink": "theirs0"}, "InvalidArgument", "bridge itself"),
    ({"uplink": "port7"}, "InvalidArgument", "port of theirs0"),
    ({"uplink": "up0", "dhcp": True, "ipv4": "10.5.0.1/24"}, "InvalidArgument", "dhcp"),
    ({"uplink": "up0", "nat": True, "ipv4": "10.5.0.1/24"}, "InvalidArgument", "nat"),
    ({"uplink": "up0", "isolated": True}, "InvalidArgument", "isolated"),
    ({"isolated": True, "nat": True, "ipv4": "10.5.0.1/24"}, "InvalidArgument", "isolated"),
])
def test_uplinks_that_cannot_be_are_refused_in_words(bus, outside, asked, error, words):
    with containers.bridge("theirs0", "10.66.0.1/24"):
        run("ip", "link", "add", "port7", "type", "veth", "peer", "name", "port8")
        try:
            run("ip", "link", "set", "port7", "master", "theirs0")
            with containers.refused(error) as told:
                create(bus, "br9", **asked)
        finally:
            run("ip", "link", "del", "port7")
    assert words in told[0].message, told[0].message
    assert "br9" not in names(bus)


def test_an_uplink_that_vanishes_is_told_of_and_may_come_back(bus):
    with wires.uplink():
        net = create(bus, "br9", uplink="up0")
        net.up()
        assert net.get("Fault") == ""
    until(lambda: "no interface up0" in networks(bus)["br9"]["Fault"])
    with containers.refused("NotFound") as told:
        net.up()
    assert "plug it in" in told[0].message
    with wires.uplink():
        until(lambda: net.get("Fault") == "")
        net.up()
        until(lambda: net.get("Ports") == [("up0", "", "")])
        net.down()
