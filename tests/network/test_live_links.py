"""Interfaces of a container that are added, moved, changed and removed while it runs,
proven with packets; and the host, which is not cut off by that.

Interfaces with static addresses are not called eth0: there the template's DHCP client
takes them away.
"""

import contextlib
import os
import signal
import threading

import pytest

import containers
import wires
from containers import config_of, refused
from gantry import GLib, NAME, Refused, options, run, until
from networks import create, leased, wired
from wires import OUTSIDE, ip, links, reaches

MAC = "00:16:3e:12:34:56"


@pytest.fixture
def uplink():
    with wires.uplink() as wire:
        yield wire


@pytest.fixture
def bridge():
    with containers.bridge("br0", "10.5.0.1/24") as name:
        yield name


@pytest.fixture
def box(bus):
    return start(bus, "box")


def start(bus, name, *lines, **more):
    return bus.create(name, template="busybox", config=["lxc.net.0.type = empty", *lines], start=True, **more)


def number(value):
    return GLib.Variant("u", value)


def inside(box, *argv):
    return ip(box.get("InitPid"), *argv)


def names(box):
    return {link["ifname"] for link in inside(box, "link")} - {"lo"}


def state(box):
    """All that a change may touch: what is saved, and what the kernel has."""
    seen = [(link["ifname"], link["ifindex"], link["address"], link["mtu"], sorted(link["flags"]),
             sorted(a["local"] for a in link["addr_info"])) for link in inside(box, "addr")]
    routes = [(r["dst"], r.get("gateway"), r["dev"]) for r in inside(box, "route")]
    return config_of(box.name), seen, routes, links()


def assert_in_step(box):
    """The container runs by what is saved, and stock LXC can read that."""
    assert box.get("NeedsRestart") == []
    assert run("lxc-info", "-n", box.name, "-sH").stdout.strip() == box.state


# --- added and removed

@pytest.mark.parametrize("privileged", [True, False])
def test_a_pair_is_plugged_in_and_taken_out(bus, bridge, privileged):
    box = start(bus, "box", privileged=privileged)
    pid = box.get("InitPid")
    index = box.add_wire("veth", link=bridge, name="wire1", ipv4="10.5.0.7/24", hwaddr=MAC, mtu=number(1400),
                         host_name="towerside", ipv4_gateway="10.5.0.1", ipv6=["fd05::7/64"])
    assert index == 1 and reaches(pid, "10.5.0.1") and reaches("self", "10.5.0.7")
    wire = box.wires()[1]
    assert {key: wire[key] for key in ("type", "link", "name", "hwaddr", "mtu", "host_name", "up", "carrier")} == {
        "type": "veth", "link": bridge, "name": "wire1", "hwaddr": MAC, "mtu": 1400, "host_name": "towerside",
        "up": True, "carrier": True}
    assert {"10.5.0.7/24", "fd05::7/64"} <= set(wire["addresses"])
    assert b"lxc.net.1.veth.pair = towerside\n" in config_of("box")
    assert_in_step(box)
    # Another goes in and out, and this one does not notice.
    assert box.add_wire("veth", link=bridge) == 2
    (second,) = inside(box, "link", "show", "eth0")
    assert second["address"].startswith("10:66:6a:") and "UP" in second["flags"]
    assert second["address"].encode() in config_of("box")
    box.interfaces("Remove", "(ua{sv})", 2, {})
    assert names(box) == {"wire1"} and reaches(pid, "10.5.0.1") and box.get("InitPid") == pid
    box.interfaces("Remove", "(ua{sv})", 1, {})
    assert names(box) == set() and "towerside" not in links() and set(box.wires()) == {0}
    assert b"lxc.net.1" not in config_of("box")
    assert_in_step(box)


def test_each_kind_comes_while_it_runs_and_is_there_after_a_restart(bus, box, uplink):
    box.add_wire("macvlan", link="up0", name="wire1", ipv4="10.9.0.11/24", macvlan_mode="bridge")
    other = start(bus, "other")
    other.add_wire("macvlan", link="up0", name="wire1", ipv4="10.9.0.12/24", macvlan_mode="bridge")
    for round in range(3):
        pid = box.get("InitPid")
        assert reaches(pid, OUTSIDE) and reaches(pid, "10.9.0.12")
        if round == 0:
            box.execute("sh", "-c", "reboot -f &")
            until(lambda: box.get("InitPid") not in (0, pid))
        elif round == 1:
            box.kill()
            box.start()
    # Another mode: in private, they do not see each other.
    box.interfaces("Configure", "(ua{sv})", 1, options(macvlan_mode="private"))
    assert reaches(box.get("InitPid"), OUTSIDE)
    assert not reaches(box.get("InitPid"), "10.9.0.12", tries=2)
    with refused("InvalidArgument") as told:
        box.interfaces("Disconnect", "(ua{sv})", 1, {})
    assert "macvlan" in told[0].message


@pytest.mark.parametrize("end", ["kill", "remove", "monitor", "type"])
def test_an_interface_of_the_host_goes_in_and_comes_home(bus, box, uplink, end):
    (before,) = ip("self", "link", "show", "up0")
    box.add_wire("phys", link="up0", name="wire1", ipv4="10.9.0.11/24", hwaddr=MAC)
    assert "up0" not in links() and reaches(box.get("InitPid"), OUTSIDE)
    if end == "kill":
        box.kill()
    elif end == "monitor":
        os.kill(containers.monitor_pid(box), signal.SIGKILL)
    elif end == "type":
        with containers.bridge("br0", "10.5.0.1/24"):
            box.interfaces("Configure", "(ua{sv})", 1, options(type="veth", link="br0", ipv4="10.5.0.7/24"))
            assert reaches(box.get("InitPid"), "10.5.0.1")
            box.interfaces("Disconnect", "(ua{sv})", 1, {})
    else:
        box.interfaces("Remove", "(ua{sv})", 1, {})
    until(lambda: "up0" in links())
    (after,) = ip("self", "link", "show", "up0")
    assert (after["address"], after["mtu"]) == (before["address"], before["mtu"])
    if end == "monitor":
        until(lambda: box.state == "STOPPED")


# --- cables

WATCH = """
while :; do
    now=$(cat /sys/class/net/eth0/carrier 2>/dev/null) || now=0
    if [ "$now" = 1 ] && [ "$old" = 0 ]; then
        kill "$(cat /run/udhcpc.eth0.pid)"
        udhcpc -S -A 1 -i eth0 -s /usr/share/udhcpc/default.script -p /run/udhcpc.eth0.pid >/dev/null 2>&1
    fi
    old=$now
    echo "$now" >/run/cable
    sleep 0.1
done
"""


def test_a_cable_that_is_pulled_and_plugged_in_elsewhere_gets_another_lease(bus):
    create(bus, "dev0", ipv4="10.77.0.1/24")
    create(bus, "dev1", ipv4="10.78.0.1/24")
    box = bus.create("box", template="busybox", config=wired("dev0"), start=True)
    assert leased(box).startswith("10.77.0.")
    # A DHCP client that minds its cable, as those of distributions do.
    assert box.execute("sh", "-c", f"({WATCH}) </dev/null >/dev/null 2>&1 &")[0] == 0
    (host_end,) = [wire["host_name"] for wire in box.wires().values()]
    minds = lambda: box.execute("cat", "/run/cable")[1].strip()
    until(lambda: minds() == "1")
    carrier = lambda: box.execute("cat", "/sys/class/net/eth0/carrier")[1].strip()
    assert carrier() == "1"
    box.interfaces("Disconnect", "(ua{sv})", 0, {})
    assert carrier() == "0" and box.wires()[0]["carrier"] is False and "link" not in box.wires()[0]
    assert not os.path.exists(f"/sys/class/net/{host_end}/master")
    with refused("WrongState"):
        box.interfaces("Disconnect", "(ua{sv})", 0, {})
    until(lambda: minds() == "0")
    # The network that it is plugged into comes up by that.
    box.connect(0, "dev1")
    until(lambda: any(a.startswith("10.78.0.") for a in box.get("Addresses")), 30)
    assert reaches(box.get("InitPid"), "10.78.0.1")
    assert b"lxc.net.0.link = dev1\n" in config_of("box")
    assert_in_step(box)


def test_who_listens_sees_the_cable_pulled_even_if_it_is_plugged_in_at_once(bus, box, bridge):
    box.add_wire("veth", link=bridge, name="wire1", ipv4=["10.5.0.7/24", "10.6.0.7/24"])
    pid = box.get("InitPid")
    with containers.bridge("br1", "10.6.0.1/24"):
        with containers.background(*wires.enter(pid), "ip", "-o", "monitor", "link", "dev", "wire1") as monitor:
            until(lambda: containers.status_of(monitor.pid, "State").startswith("S"))
            box.connect(1, "br1")
            assert any("NO-CARRIER" in monitor.stdout.readline() for _ in range(10))
        assert reaches(pid, "10.6.0.1") and not reaches(pid, "10.5.0.1", tries=1)
        box.connect(1, bridge)
        assert reaches(pid, "10.5.0.1")


# --- changed

def test_an_interface_is_changed_in_place(bus, box, bridge):
    box.add_wire("veth", link=bridge, name="wire1", ipv4="10.5.0.7/24", ipv4_gateway="10.5.0.1")
    (before,) = inside(box, "link", "show", "wire1")
    configure = lambda **named: box.interfaces("Configure", "(ua{sv})", 1, options(**named))
    configure(name="lan", hwaddr=MAC, mtu=number(1300), host_name="tower1", ipv4=["10.5.0.8/24", "10.5.0.9/24"],
              ipv4_gateway="10.5.0.2")
    (after,) = inside(box, "addr", "show", "lan")
    assert (after["ifindex"], after["address"], after["mtu"]) == (before["ifindex"], MAC, 1300)
    assert {a["local"] for a in after["addr_info"] if a["family"] == "inet"} == {"10.5.0.8", "10.5.0.9"}
    assert [r["gateway"] for r in inside(box, "route", "show", "default")] == ["10.5.0.2"]
    assert ip("self", "link", "show", "tower1")[0]["mtu"] == 1300
    configure(up=False, ipv4_gateway="")
    assert "UP" not in inside(box, "link", "show", "lan")[0]["flags"] and box.wires()[1]["up"] is False
    configure(up=True, ipv4_gateway="10.5.0.1")
    assert reaches(box.get("InitPid"), "10.5.0.1")
    assert [r["gateway"] for r in inside(box, "route", "show", "default")] == ["10.5.0.1"]
    assert_in_step(box)


def test_interfaces_of_a_stopped_container_are_edited_and_stock_lxc_starts_it_so(bus, bridge):
    box = bus.create("box", template="busybox", config=["lxc.net.0.type = empty"])
    one = box.add_wire("veth", link=bridge, name="wire1", ipv4="10.5.0.7/24", hwaddr="00:16:3e:xx:xx:xx")
    two = box.add_wire("veth", link=bridge, name="wire2")
    box.interfaces("Configure", "(ua{sv})", two, options(name="lan", ipv4=["10.5.0.9/24"]))
    box.interfaces("Remove", "(ua{sv})", 0, {})
    assert (one, two, set(box.wires())) == (1, 2, {1, 2})
    address = box.wires()[1]["hwaddr"]
    assert address.startswith("00:16:3e:") and "x" not in address
    for begin, end in ((box.start, box.kill),
                       (lambda: run("lxc-start", "-n", "box"), lambda: run("lxc-stop", "-k", "-n", "box"))):
        begin()
        pid = until(lambda: box.get("InitPid"))
        assert names(box) == {"wire1", "lan"} and inside(box, "link", "show", "wire1")[0]["address"] == address
        assert reaches(pid, "10.5.0.1")
        end()
        until(lambda: box.state == "STOPPED")


def test_one_of_lxc_1s_interfaces_goes_and_the_others_keep_their_numbers(bus, bridge):
    box = bus.create("box", template="busybox")
    containers.append_config("box", "lxc.network.type = veth", "lxc.network.name = a", "lxc.network.type = veth",
                             f"lxc.network.link = {bridge}", "lxc.network.name = b", "lxc.network.ipv4 = 10.5.0.7/24",
                             "lxc.network.flags = up")
    by_name = {wire.get("name"): index for index, wire in box.wires().items()}
    box.start()
    box.interfaces("Remove", "(ua{sv})", by_name["a"], {})
    assert "a" not in names(box) and reaches(box.get("InitPid"), "10.5.0.1")
    assert box.wires()[by_name["b"]]["name"] == "b" and by_name["a"] not in box.wires()
    assert_in_step(box)


# --- refused

WRONG = {
    "a name of 16 letters": (dict(name="abcdefghijklmnop"), "15"),
    "a name with a slash": (dict(name="a/b"), "'/'"),
    "two dots for a name": (dict(name=".."), ".."),
    "a name that is taken": (dict(name="wire1"), "already"),
    "a name that the container has taken": (dict(name="own0"), "already"),
    "a host's name that is taken": (dict(host_name="br0"), "already"),
    "a group's MAC address": (dict(hwaddr="01:00:5e:00:00:01"), "first byte even"),
    "no MAC address": (dict(hwaddr="mine"), "MAC address"),
    "no address": (dict(ipv4="10.5.0.777/24"), "10.5.0.777"),
    "no prefix length": (dict(ipv4=["10.5.0.7/33"]), "prefix"),
    "no IPv6 address": (dict(ipv6="fd00::x"), "IPv6"),
    "a router without an address": (dict(ipv4_gateway="10.5.0.1"), "address"),
    "a router for an address that leads nowhere": (dict(ipv4="10.5.0.7/24", ipv4_gateway="10.6"), "10.6"),
    "an MTU that is too large": (dict(mtu=number(70000)), "65535"),
    "a link that is not there": (dict(link="nowhere0"), "nowhere0"),
    "a link that is no bridge": (dict(link="up0"), "up0"),
    "loopback": (dict(link="lo"), "lo"),
    "an unknown key": (dict(colour="red"), "colour"),
    "a key of another type": (dict(macvlan_mode="bridge"), "macvlan_mode"),
    "a wrong type of value": (dict(mtu="1500"), "(u)"),
    "a line more": (dict(name="a\nlxc.hook.start = /x"), "control character"),
    "a second way out": (dict(ipv4="10.5.0.9/24", ipv4_gateway="10.5.0.1"), "ipv4.gateway"),
}


def test_what_cannot_be_is_refused_in_words_and_changes_nothing(bus, box, bridge, uplink):
    box.add_wire("veth", link=bridge, name="wire1", ipv4="10.5.0.7/24", ipv4_gateway="10.5.0.1")
    box.add_wire("veth", link=bridge, name="wire2", host_name="tower2")
    run(*wires.enter(box.get("InitPid")), "ip", "link", "add", "own0", "type", "bridge")
    before = state(box)
    for what, (named, word) in WRONG.items():
        with refused("InvalidArgument", "NotFound", "Exists", "Failed") as told:
            box.add_wire("veth", **{"link": bridge, **named})
        assert word in told[0].message, (what, told[0])
        assert state(box) == before, what
    for what, change in (("link", dict(link="nowhere0")), ("name", dict(name="own0", mtu=number(1400))),
                         ("address", dict(hwaddr="03:00:00:00:00:01")), ("kind", dict(type="macvlan", link="br9")),
                         ("way", dict(name="x", host_name="y", mtu=number(1400), hwaddr=MAC, ipv4=["10.5.0.8/24"],
                                      link="", ipv4_gateway="10.5.0.1"))):
        with refused("InvalidArgument", "NotFound", "Exists", "Failed"):
            box.interfaces("Configure", "(ua{sv})", 2, options(**change))
            raise AssertionError(what)
        assert state(box) == before, what
    for method, signature, *words in (("Remove", "(ua{sv})", 9, {}), ("Connect", "(usa{sv})", 9, bridge, {}),
                                      ("Disconnect", "(ua{sv})", 9, {}), ("Configure", "(ua{sv})", 9, {})):
        with refused("NotFound"):
            box.interfaces(method, signature, *words)
    with refused("WrongState"):
        box.add_wire("none")
    with refused("InvalidArgument"):
        box.connect(0, bridge)
    with refused("WrongState"):
        box.interfaces("Confirm", "(ua{sv})", 1, {})
    assert state(box) == before
    assert reaches(box.get("InitPid"), "10.5.0.1")


def test_what_cannot_be_saved_does_not_become_live(bus, box, bridge):
    before = state(box)
    run("chattr", "+i", box.folder, check=False)
    mounted = run("mount", "--bind", box.folder, box.folder, check=False)
    run("mount", "-o", "remount,bind,ro", box.folder)
    try:
        with refused("Failed"):
            box.add_wire("veth", link=bridge, name="wire1")
        assert state(box) == before and mounted.returncode == 0
    finally:
        run("umount", box.folder)
        run("chattr", "-i", box.folder, check=False)
    box.add_wire("veth", link=bridge, name="wire1")


def test_a_helper_that_is_killed_in_between_leaves_both_or_neither(bus, box, bridge):
    def add(box):
        # Killed, the helper does not answer.
        with contextlib.suppress(GLib.Error, Refused):
            box.add_wire("veth", link=bridge)

    for round in range(6):
        call = threading.Thread(target=add, args=(bus.container("box"),))
        call.start()
        until(lambda: len(names(box)) > round or not call.is_alive())
        containers.kill_helper(bus)
        call.join()
        until(lambda: len(names(box)) == len(box.wires()) - 1)
        assert box.get("NeedsRestart") == []
    assert not [name for name in os.listdir(box.folder) if name.startswith(".config")]


# --- the host's way out

@pytest.fixture
def way_out(uplink):
    run("ip", "addr", "add", "10.9.0.2/24", "dev", "up0")
    run("ip", "route", "add", "default", "via", OUTSIDE, "dev", "up0")
    until(lambda: reaches("self", OUTSIDE, 1))
    return uplink


@pytest.mark.parametrize("named", [dict(kind="phys"), dict(kind="macvlan", macvlan_mode="passthru")])
def test_the_hosts_way_out_comes_back_unless_that_is_confirmed(bus, box, way_out, named):
    config = config_of("box")
    with bus.signals("Interfaces", "Changed", box.path) as changes:
        index = box.add_wire(link="up0", name="wire1", ipv4="10.9.0.11/24", **named)
        assert reaches(box.get("InitPid"), OUTSIDE)
        assert 0 < box.wires()[index]["confirm_within"] <= 20
        assert config_of("box") == config
        with refused("Busy"):
            box.add_wire("empty")
        if named["kind"] == "phys":
            # Nobody is there any more to say anything, not even the helper.
            containers.kill_helper(bus)
        until(lambda: names(box) == set() and "up0" in links(), 60)
        if named["kind"] == "macvlan":
            changes.clear()
            until(lambda: changes, pump=True)
    assert config_of("box") == config and set(box.wires()) == {0}
    # With its address and its route.
    assert reaches("self", OUTSIDE)
    assert [route["dev"] for route in ip("self", "route", "show", "default")] == ["up0"]
    with refused("WrongState"):
        box.interfaces("Confirm", "(ua{sv})", index, {})


@pytest.mark.parametrize("end", ["revert", "kill", "monitor", "confirm"])
def test_the_host_reaches_others_again_however_its_way_out_comes_home(bus, box, way_out, end):
    run("ip", "-6", "addr", "add", "fd09::2/64", "dev", "up0", "nodad")
    run("ip", "route", "add", "10.20.0.0/16", "via", OUTSIDE)
    before = [ip("self", *family, "route", "show", "dev", "up0") for family in ((), ("-6",))]
    config = config_of("box")
    index = box.add_wire("phys", link="up0", name="wire1", ipv4="10.9.0.2/24")
    assert not ip("self", "route", "show", "default")
    if end == "confirm":
        box.interfaces("Confirm", "(ua{sv})", index, {})
        assert "confirm_within" not in box.wires()[index] and b"lxc.net.1.link = up0\n" in config_of("box")
        assert_in_step(box)
        box.interfaces("Remove", "(ua{sv})", index, {})
    elif end == "revert":
        box.interfaces("Revert", "(ua{sv})", index, {})
    elif end == "monitor":
        os.kill(containers.monitor_pid(box), signal.SIGKILL)
    else:
        box.kill()
    assert until(lambda: reaches("self", OUTSIDE, 1))
    until(lambda: [ip("self", *family, "route", "show", "dev", "up0") for family in ((), ("-6",))] == before)
    assert config_of("box") == config
    if end == "monitor":
        until(lambda: box.state == "STOPPED")


def test_what_leaves_the_host_its_way_out_needs_no_word(bus, box, way_out):
    index = box.add_wire("macvlan", link="up0", name="wire1", ipv4="10.9.0.11/24")
    assert "confirm_within" not in box.wires()[index]
    index = box.add_wire("phys", link="up0", name="wire2", confirmed=True)
    assert "confirm_within" not in box.wires()[index]


WAY_OUT = ["lxc.start.auto = 1"] + [f"lxc.net.1.{line}" for line in (
    "type = phys", "link = up0", "flags = up", "name = wire1", "ipv4.address = 10.9.0.11/24")]


def unconfirmed(bus):
    return [name for name, _until in bus.get("/io/gantry/Gantry1", "Manager", "Unconfirmed")]


def test_a_container_that_starts_with_the_hosts_way_out_gives_it_back_unless_that_is_confirmed(bus, way_out):
    box = bus.create("box", template="busybox", config=["lxc.net.0.type = empty", *WAY_OUT])
    config = config_of("box")
    # With the host, where nobody is there to confirm it.
    job = bus.manager("Autostart", "(a{sv})", {})
    assert bus.call(job, "Job", "Wait", "(x)", 20000) == "done"
    pid = box.get("InitPid")
    assert reaches(pid, OUTSIDE) and 0 < box.wires()[1]["confirm_within"] <= 20
    assert unconfirmed(bus) == ["up0"] and not ip("self", "route", "show", "default")
    containers.kill_helper(bus)
    until(lambda: "up0" in links(), 60)
    assert until(lambda: reaches("self", OUTSIDE, 1)) and [r["dev"] for r in ip("self", "route", "show", "default")] == ["up0"]
    # It goes on without; what is saved is as it was, and said not to be in force.
    assert box.get("InitPid") == pid and names(box) == set() and config_of("box") == config
    until(lambda: any(key.startswith("lxc.net.1") for key in box.get("NeedsRestart")))

    # Confirmed once, it needs no word any more: not after a reboot, not at the next start.
    box.kill()
    box.start()
    bus.manager("ConfirmInterface", "(sa{sv})", "up0", {})
    assert unconfirmed(bus) == [] and "confirm_within" not in box.wires()[1] and config_of("box") == config
    pid = box.get("InitPid")
    box.execute("sh", "-c", "reboot -f &")
    until(lambda: box.get("InitPid") not in (0, pid))
    assert "confirm_within" not in box.wires()[1] and reaches(box.get("InitPid"), OUTSIDE)
    box.kill()
    until(lambda: reaches("self", OUTSIDE, 1))
    box.start()
    assert "confirm_within" not in box.wires()[1] and unconfirmed(bus) == []
    # That was for this link, and for this container alone.
    box.kill()
    until(lambda: "up0" in links())
    job = box.call("Clone", "(sa{sv})", "copy", {})
    assert bus.call(job, "Job", "Wait", "(x)", 30000) == "done"
    copy = bus.container("copy")
    copy.start()
    assert "confirm_within" in copy.wires()[1]
    copy.interfaces("Revert", "(ua{sv})", 1, {})
    until(lambda: reaches("self", OUTSIDE, 1))


def test_what_takes_the_hosts_way_out_at_a_start_can_be_confirmed_before(bus, way_out):
    box = bus.create("box", template="busybox", config=["lxc.net.0.type = empty", *WAY_OUT])
    box.interfaces("Configure", "(ua{sv})", 1, options(confirmed=True))
    box.start()
    assert "confirm_within" not in box.wires()[1] and "up0" not in links()


def test_it_can_be_confirmed_or_taken_back_while_the_container_still_starts(bus, way_out, tmp_path):
    hook, go = tmp_path / "hook", tmp_path / "go"
    hook.write_text(f"#!/bin/sh\nuntil [ -e {go} ]; do sleep 0.05; done\n")
    hook.chmod(0o755)
    box = bus.create("box", template="busybox",
                     config=["lxc.net.0.type = empty", *WAY_OUT, f"lxc.hook.start-host = {hook}"])
    config = config_of("box")

    @contextlib.contextmanager
    def starting():
        start = ("busctl", "--system", "--timeout=60", "call", NAME, box.path, f"{NAME}.Container", "Start", "a{sv}", "0")
        with containers.background(*start) as process:
            until(lambda: unconfirmed(bus) == ["up0"])
            yield
            assert box.state == "STARTING" and unconfirmed(bus) == []
            go.touch()
            assert process.wait(30) == 0

    with starting():
        with refused("Busy"):
            box.add_wire("empty")
        box.interfaces("Revert", "(ua{sv})", 1, {})
    assert until(lambda: reaches("self", OUTSIDE, 1)) and names(box) == set() and config_of("box") == config
    box.kill()
    go.unlink()
    with starting():
        bus.manager("ConfirmInterface", "(sa{sv})", "up0", {})
    assert "confirm_within" not in box.wires()[1] and reaches(box.get("InitPid"), OUTSIDE) and config_of("box") == config


def test_what_is_on_top_of_an_interface_has_its_routes_again_when_that_comes_home(bus, box, uplink):
    run("ip", "link", "add", "top0", "link", "up0", "type", "macvlan", "mode", "bridge")
    run("ip", "link", "set", "top0", "up")
    run("ip", "addr", "add", "10.9.0.3/24", "dev", "top0")
    run("ip", "addr", "add", "fd09::3/64", "dev", "top0", "nodad")
    run("ip", "route", "add", "default", "via", OUTSIDE, "dev", "top0")
    until(lambda: reaches("self", OUTSIDE, 1))
    found = {entry["name"]: entry["uplink"] for entry in bus.manager("ListHostInterfaces")}
    assert found["top0"] and found["up0"]
    index = box.add_wire("phys", link="up0", name="wire1", ipv4="10.9.0.11/24")
    assert 0 < box.wires()[index]["confirm_within"] <= 20
    box.interfaces("Revert", "(ua{sv})", index, {})
    assert until(lambda: reaches("self", OUTSIDE, 1))
    assert [route["dev"] for route in ip("self", "route", "show", "default")] == ["top0"]
    run("ip", "link", "del", "top0")


# --- held by stock LXC

def test_a_container_that_stock_lxc_holds_is_wired_too(bus, bridge, uplink):
    containers.create_stock("box", "lxc.net.0.type = empty")
    run("lxc-start", "-n", "box")
    box = bus.container("box")
    pid = until(lambda: box.get("InitPid"))
    first = min(box.wires())
    index = box.add_wire("veth", link=bridge, name="wire1", ipv4="10.5.0.7/24", host_name="towerside")
    assert reaches(pid, "10.5.0.1") and box.wires()[index]["carrier"] and "towerside" in links()
    box.interfaces("Configure", "(ua{sv})", index, options(name="lan", ipv4=["10.5.0.8/24"]))
    box.interfaces("Disconnect", "(ua{sv})", index, {})
    assert box.wires()[index]["carrier"] is False and not reaches(pid, "10.5.0.1", tries=1)
    box.connect(index, bridge)
    assert reaches(pid, "10.5.0.1")
    with refused("Unsupported") as told:
        box.add_wire("phys", link="up0")
    assert "Gantry" in told[0].message and "up0" in links()
    box.add_wire("macvlan", link="up0", name="wire2", ipv4="10.9.0.11/24")
    assert reaches(pid, OUTSIDE)
    box.interfaces("Remove", "(ua{sv})", first, {})
    assert run("lxc-info", "-n", "box", "-sH").stdout.strip() == "RUNNING"
    run("lxc-stop", "-k", "-n", "box")
    until(lambda: not {"towerside"} & links())
    run("lxc-start", "-n", "box")
    assert reaches(until(lambda: box.get("InitPid")), "10.5.0.1")


# --- usage

def test_what_goes_through_each_interface_is_counted(bus, box, bridge, uplink):
    box.add_wire("veth", link=bridge, name="wire1", ipv4="10.5.0.7/24")
    box.add_wire("macvlan", link="up0", name="wire2", ipv4="10.9.0.11/24")
    usage = lambda: {name: (rx, tx) for name, rx, tx in box.resources("GetUsage")["links"]}
    before = usage()
    assert set(before) == {"wire1", "wire2"}
    run(*wires.enter(box.get("InitPid")), "ping", "-c4", "-i0.01", "-s1000", OUTSIDE)
    after = usage()
    assert min(after["wire2"][way] - before["wire2"][way] for way in (0, 1)) > 4000
    assert max(after["wire1"][way] - before["wire1"][way] for way in (0, 1)) < 4000
    box.interfaces("Remove", "(ua{sv})", 1, {})
    assert set(usage()) == {"wire2"}


# --- what the host has

def test_the_host_says_what_it_has_to_be_wired_to(bus, box, bridge, way_out):
    box.add_wire("veth", link=bridge, host_name="towerside")
    box.add_wire("macvlan", link="up0")
    run("ip", "link", "add", "spare0", "type", "veth", "peer", "name", "spare1")
    try:
        run("ip", "link", "set", "spare1", "master", bridge)
        found = {entry["name"]: entry for entry in bus.manager("ListHostInterfaces")}
        assert "lo" not in found
        up0 = found["up0"]
        assert (up0["state"], up0["uplink"], up0["wireless"], up0["used_by"]) == ("up", True, False, ["box"])
        assert "10.9.0.2/24" in up0["addresses"] and {"port", "macvlan", "phys"} <= set(up0["serves"])
        assert found[bridge]["kind"] == "bridge" and "veth" in found[bridge]["serves"]
        assert found[bridge]["used_by"] == ["box"] and found[bridge]["uplink"] is False
        assert found["towerside"]["serves"] == [] and found["towerside"]["master"] == bridge
        assert (found["spare0"]["state"], found["spare0"]["used_by"]) == ("down", [])
        assert "phys" not in found["spare1"]["serves"] and "port" not in found["spare1"]["serves"]
    finally:
        run("ip", "link", "del", "spare0")


def test_a_bridge_by_which_the_host_reaches_others_makes_its_port_the_way_out(bus, box, uplink):
    with containers.bridge("br9", "10.9.0.2/24"):
        run("ip", "link", "set", "up0", "master", "br9")
        run("ip", "route", "add", "default", "via", OUTSIDE, "dev", "br9")
        found = {entry["name"]: entry for entry in bus.manager("ListHostInterfaces")}
        assert found["up0"]["uplink"] and found["br9"]["uplink"]
        device = lambda **named: bus.call(box.path, "Devices", "AddInterface", "(ssa{sv})", "up0", "",
                                          options(**named))
        with refused("InvalidArgument") as told:
            device()
        assert "cut off" in told[0].message and "up0" in links()
        device(confirmed=True)
        assert "up0" not in links()
