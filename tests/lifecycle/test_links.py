"""Every kind of interface, proven with packets, and compared with what stock LXC
makes of the same config.

Interfaces with static addresses are not called eth0: there the template's DHCP client
takes them away.
"""

import os
import signal
from contextlib import contextmanager

import pytest

import containers
import wires
from archives import Archive, create_local, file_of
from containers import refused
from gantry import run, until
from wires import OUTSIDE, ip, links, reaches

MAC = "00:16:3e:12:34:56"


@pytest.fixture
def uplink():
    with wires.uplink() as wire:
        yield wire


@pytest.fixture
def bridge():
    with containers.bridge() as name:
        yield name


def config(number, kind, link, address=None, **more):
    lines = {"type": kind, "link": link, "flags": "up", "name": f"wire{number}"}
    if address:
        lines["ipv4.address"] = address
    lines |= {key.replace("__", "."): value for key, value in more.items()}
    return [f"lxc.net.{number}.{key} = {value}" for key, value in lines.items() if value is not None]


def start(bus, name, *lines, **more):
    box = bus.create(name, template="busybox", config=list(lines), start=True, privileged=True, **more)
    return box, box.get("InitPid")


def gone():
    """Waits until the last monitor has gone, too, which shows STOPPED before it tidies up."""
    until(lambda: not [trace for trace in containers.traces() if trace.endswith((".one", ".two", ".box"))])


# --- macvlan

@pytest.mark.parametrize("mode, hairpin, reached", [
    ("private", True, False), ("vepa", False, False), ("vepa", True, True), ("bridge", False, True)])
def test_what_two_macvlans_see_of_each_other(bus, uplink, mode, hairpin, reached):
    uplink.hairpin(hairpin)
    _, one = start(bus, "one", *config(0, "macvlan", "up0", "10.9.0.11/24", macvlan__mode=mode))
    _, two = start(bus, "two", *config(0, "macvlan", "up0", "10.9.0.12/24", macvlan__mode=mode))
    for pid in (one, two):
        (wire,) = ip(pid, "link", "show", "wire0")
        assert wire["linkinfo"]["info_kind"] == "macvlan" and wire["linkinfo"]["info_data"]["mode"] == mode
        assert reaches(pid, OUTSIDE)
    assert reaches(one, "10.9.0.12", tries=10 if reached else 2) == reached


def test_passthru_takes_the_whole_device(bus, uplink):
    (before,) = ip("self", "link", "show", "up0")
    box, pid = start(bus, "one", *config(0, "macvlan", "up0", "10.9.0.11/24", macvlan__mode="passthru", hwaddr=MAC))
    assert ip(pid, "link", "show", "wire0")[0]["address"] == MAC
    assert reaches(pid, OUTSIDE)
    assert ip("self", "link", "show", "up0")[0]["address"] == MAC
    with refused("InvalidConfig", "StartFailed") as caught:
        start(bus, "two", *config(0, "macvlan", "up0"))
    assert "passthru" in caught[0].message
    # It is free again at once.
    box.kill()
    assert ip("self", "link", "show", "up0")[0]["address"] == before["address"]
    gone()
    box.start()
    assert reaches(box.get("InitPid"), OUTSIDE)


# --- phys

@pytest.fixture
def lent(bus, uplink):
    """A container that has up0 as wire0, and what up0 was before."""
    run("ip", "link", "property", "add", "dev", "up0", "altname", "tower")
    run("ip", "link", "set", "up0", "mtu", "1450")
    (before,) = ip("self", "link", "show", "up0")
    box, _ = start(bus, "one", *config(0, "phys", "up0", "10.9.0.11/24", hwaddr=MAC, mtu=1400))
    yield box, before


def assert_home(before):
    until(lambda: "up0" in links())
    # The last thing to come back is its other name.
    until(lambda: ip("self", "link", "show", "up0")[0].get("altnames") == ["tower"])
    (after,) = ip("self", "link", "show", "up0")
    for key in ("address", "mtu", "linkinfo"):
        assert after[key] == before[key], key
    gone()


def test_phys_goes_in_and_comes_home(bus, uplink, lent):
    box, before = lent
    (wire,) = ip(box.get("InitPid"), "link", "show", "wire0")
    assert (wire["address"], wire["mtu"]) == (MAC, 1400) and "UP" in wire["flags"] and "altnames" not in wire
    assert "up0" not in links()
    assert reaches(box.get("InitPid"), OUTSIDE)
    box.kill()
    assert_home(before)
    box.start()
    assert reaches(box.get("InitPid"), OUTSIDE)
    pid = box.get("InitPid")
    box.execute("sh", "-c", "reboot -f &")
    until(lambda: box.get("InitPid") not in (0, pid))
    until(lambda: reaches(box.get("InitPid"), OUTSIDE, tries=1), 30)


def test_phys_comes_home_whatever_the_container_did_to_it(bus, lent):
    box, before = lent
    for words in (["set", "wire0", "down"], ["set", "wire0", "name", "mine", "mtu", "1300"],
                  ["property", "add", "dev", "mine", "altname", "lxcbr0"], ["set", "mine", "alias", "lost"]):
        run(*wires.enter(box.get("InitPid")), "ip", "link", *words)
    run("ip", "link", "add", "mine", "type", "bridge")
    try:
        box.kill()
        assert_home(before)
    finally:
        run("ip", "link", "del", "mine")


def test_phys_comes_home_when_the_monitor_is_killed(bus, lent):
    box, before = lent
    os.kill(containers.monitor_pid(box), signal.SIGKILL)
    assert_home(before)
    until(lambda: box.state == "STOPPED")
    box.start()
    assert "up0" not in links()
    box.kill()
    assert_home(before)


def test_phys_comes_home_when_init_dies(bus, lent):
    box, before = lent
    os.kill(box.get("InitPid"), signal.SIGKILL)
    assert_home(before)


def test_phys_comes_home_when_the_start_fails_afterwards(bus, uplink, lent):
    box, before = lent
    box.kill()
    assert_home(before)
    containers.append_config("one", "lxc.init.cmd = /sbin/nothing")
    with refused("StartFailed"):
        box.start()
    assert_home(before)


def test_phys_by_a_pattern_keeps_its_name(bus, uplink):
    _, pid = start(bus, "one", "lxc.net.0.type = phys", "lxc.net.0.link = up+", "lxc.net.0.flags = up")
    assert {link["ifname"] for link in ip(pid, "link")} == {"lo", "up0"}


# --- routed pairs

def test_a_routed_pair(bus, uplink):
    run("ip", "addr", "add", "10.9.0.2/24", "dev", "up0")
    # A host answers only for addresses that it would forward to.
    run("ip", "route", "add", "default", "via", OUTSIDE)
    uplink.outside("ip", "route", "add", "10.7.0.0/16", "via", "10.9.0.2")
    with forwarding("up0"):
        _, pid = start(bus, "one", *config(0, "veth", None, "10.7.0.5/32", veth__mode="router", veth__pair="towerside",
                                           veth__ipv4__route="10.7.8.0/24", ipv4__gateway="10.7.0.1"))
        assert not os.path.exists("/sys/class/net/towerside/master")
        # From the host, through it both ways, and to a network behind the container.
        assert reaches("self", "10.7.0.5")
        assert reaches(pid, OUTSIDE)
        run(*wires.enter(pid), "ip", "addr", "add", "10.7.8.9/32", "dev", "lo")
        assert uplink.outside("ping", "-c3", "-W2", "10.7.8.9", check=False).returncode == 0


def test_the_host_answers_for_a_routed_container(bus, uplink):
    """l2proxy: those on the link find the container as if it were there."""
    run("ip", "addr", "add", "10.9.0.2/24", "dev", "up0")
    with forwarding("up0"):
        box, pid = start(bus, "one", *config(0, "veth", "up0", "10.9.0.5/32", veth__mode="router", l2proxy=1,
                                             ipv4__gateway="10.9.0.2"))
        assert reaches(uplink.pid, "10.9.0.5")
        for end in (box.kill, lambda: os.kill(containers.monitor_pid(box), signal.SIGKILL)):
            assert [proxy["dst"] for proxy in ip("self", "neigh", "show", "proxy", "dev", "up0")] == ["10.9.0.5"]
            end()
            until(lambda: not ip("self", "neigh", "show", "proxy", "dev", "up0"))
            until(lambda: box.state == "STOPPED")
            gone()
            box.start()
        assert reaches(uplink.pid, "10.9.0.5")


@contextmanager
def forwarding(name):
    """The host forwards what comes in by an interface, and all of IPv6."""
    paths = [f"/proc/sys/net/ipv4/conf/{name}/forwarding", "/proc/sys/net/ipv6/conf/all/forwarding",
             f"/proc/sys/net/ipv6/conf/{name}/proxy_ndp"]

    def write(value):
        for path in paths:
            with open(path, "w") as file:
                file.write(value)

    write("1")
    try:
        yield
    finally:
        write("0")


# --- the same as stock LXC

def shape(pid, *names):
    """What there is to see of a namespace's interfaces and routes, a line each."""
    seen = set()
    for link in ip(pid, "addr"):
        name, info = link["ifname"], link.get("linkinfo", {})
        if names and name not in names:
            continue
        for key in ("mtu", "num_tx_queues", "num_rx_queues", "link_type", "master"):
            seen.add(f"{name}: {key} {link.get(key)}")
        seen.add(f"{name}: {info.get('info_kind')} {info.get('info_data')}")
        seen |= {f"{name}: {flag}" for flag in set(link["flags"]) - {"LOWER_UP", "NO-CARRIER", "M-DOWN"}}
        # The host's end has a random one that begins with fe.
        seen.add(f"{name}: {link['address'] if link['address'].startswith('00:16:3e') else link['address'][:2]}")
        seen |= {f"{name}: {a['local']}/{a['prefixlen']} {a.get('broadcast')}"
                 for a in link["addr_info"] if a["scope"] == "global"}
    for family in ("-4", "-6"):
        for route in ip(pid, family, "route"):
            # The kernel's own for link-local addresses come and go with the carrier.
            if (not names or route.get("dev") in names) and not route["dst"].startswith("fe80:"):
                keys = ("dst", "gateway", "dev", "scope", "protocol", "prefsrc")
                seen.add(" ".join(f"{key} {route[key]}" for key in keys if key in route))
    return seen


KINDS = {
    "veth": config(0, "veth", "lxcbr0", "10.0.3.77/24", hwaddr=MAC, mtu=1400, ipv6__address="fd00::77/64",
                   ipv4__gateway="auto", veth__pair="towerside", veth__n_rxqueues=2, veth__n_txqueues=3),
    "veth without a bridge": config(0, "veth", None, "10.5.0.1/30 10.5.0.3", veth__pair="towerside",
                                    ipv4__gateway="dev", hwaddr=MAC),
    "a router beyond the net": config(0, "veth", "lxcbr0", "10.0.3.78/32", ipv4__gateway="10.99.0.1",
                                      veth__pair="towerside", hwaddr=MAC, ipv6__gateway="fe80::1"),
    "routed": config(0, "veth", None, "10.7.0.5/32", veth__mode="router", veth__pair="towerside", hwaddr=MAC,
                     veth__ipv4__route="10.7.8.0/24", veth__ipv6__route="fd07::/64", ipv4__gateway="10.7.0.1"),
    "routed in both families": config(0, "veth", None, "10.7.0.5/32", veth__mode="router", veth__pair="towerside",
                                      hwaddr=MAC, ipv4__gateway="10.7.0.1", ipv6__address="fd07::5/128",
                                      ipv6__gateway="fd07::1"),
    "answered for": config(0, "veth", "up0", "10.9.0.5/32", veth__mode="router", veth__pair="towerside", hwaddr=MAC,
                           l2proxy=1, ipv4__gateway="10.9.0.2", ipv6__address="fd09::5/128"),
    "macvlan": config(0, "macvlan", "up0", "10.9.0.11/24", macvlan__mode="bridge", hwaddr=MAC, mtu=1300),
    "macvlan without wishes": ["lxc.net.0.type = macvlan", "lxc.net.0.link = up0", f"lxc.net.0.hwaddr = {MAC}"],
    "phys": config(0, "phys", "up0", "10.9.0.11/24", hwaddr=MAC, mtu=1300),
    "phys under its own name": ["lxc.net.0.type = phys", "lxc.net.0.link = up0", f"lxc.net.0.hwaddr = {MAC}"],
    "several, named and numbered": [
        "lxc.net.0.type = macvlan", "lxc.net.0.link = up0", f"lxc.net.0.hwaddr = {MAC}",
        "lxc.net.4.type = veth", "lxc.net.4.name = eth0", "lxc.net.4.flags = up", "lxc.net.4.veth.pair = towerside",
        "lxc.net.4.hwaddr = 00:16:3e:00:00:04",
        "lxc.net.7.type = veth", "lxc.net.7.link = lxcbr0", "lxc.net.7.hwaddr = 00:16:3e:00:00:07",
        "lxc.net.9.type = empty"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_as_with_stock_lxc(bus, uplink, bridge, kind):
    with forwarding("up0"):
        compare(bus, KINDS[kind])


def compare(bus, lines):
    # An init that leaves the network alone.
    box = bus.create("box", template="busybox", config=[*lines, "lxc.init.cmd = /bin/sleep 1000"], privileged=True)
    seen, before = [], links()
    for begin, end in ((box.start, box.kill),
                       (lambda: run("lxc-start", "-n", "box"), lambda: run("lxc-stop", "-k", "-n", "box"))):
        begin()
        shown = shape(until(lambda: box.get("InitPid")))
        if "towerside" in links():
            shown |= {f"host: {line}" for line in shape("self", "towerside")}
        shown |= {f"host answers for {proxy['dst']} on {proxy['dev']}" for proxy in ip("self", "neigh", "show", "proxy")}
        seen.append(shown | {f"{len(links() - before)} more interfaces on the host"})
        end()
        # The kernel takes links away a moment later.
        until(lambda: links() == before)
        gone()
    ours, stock = seen
    assert sorted(ours - stock) == sorted(stock - ours)


def test_legacy_keys_wire_as_the_modern_ones(bus, uplink):
    with file_of(Archive().bytes()) as fd:
        box = create_local(bus, "box", fd)
    containers.append_config(
        "box", "lxc.network.type = macvlan", "lxc.network.link = up0", "lxc.network.flags = up",
        "lxc.network.name = first", "lxc.network.macvlan.mode = bridge", "lxc.network.ipv4 = 10.9.0.11/24",
        "lxc.network.type = veth", "lxc.network.veth.pair = towerside", "lxc.network.name = second",
        "lxc.network.mtu = 1400", f"lxc.network.hwaddr = {MAC}", "lxc.network.ipv6 = fd00::7")
    box.start()
    pid = box.get("InitPid")
    assert reaches(pid, OUTSIDE)
    (second,) = ip(pid, "addr", "show", "second")
    assert (second["mtu"], second["address"]) == (1400, MAC) and "UP" not in second["flags"]
    assert "towerside" in links()
    # Stock tools cannot.
    box.kill()


# --- scripts

def test_scripts_of_version_1_get_an_environment(bus, uplink, tmp_path):
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\nenv | grep '^LXC_[HN]' | sort >> {tmp_path}/told\necho \"$@\" >> {tmp_path}/told\n")
    script.chmod(0o755)
    box, _ = start(bus, "one", "lxc.hook.version = 1", *config(0, "macvlan", "up0", script__up=script, script__down=script))
    box.kill()
    told = (tmp_path / "told").read_text()
    for action in ("up", "down"):
        assert f"LXC_HOOK_TYPE={action}\n" in told
    assert told.splitlines().count("macvlan up0") == 2
    for line in ("LXC_HOOK_SECTION=net", "LXC_NET_TYPE=macvlan", "LXC_NET_PARENT=up0", "LXC_NAME=one"):
        assert told.count(f"{line}\n") == 2, line


def test_a_script_that_fails_ends_the_start_and_leaves_nothing(bus, uplink, bridge, tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\nexit 3\n")
    script.chmod(0o755)
    before = links()
    with refused("HookFailed", "StartFailed"):
        start(bus, "one", *config(0, "phys", "up0"), *config(1, "macvlan", "lxcbr0"),
              *config(2, "veth", "lxcbr0", veth__pair="towerside", script__up=script))
    until(lambda: links() == before)


def test_a_phys_script_finds_the_interface_on_the_host(bus, uplink, tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\nexec /sbin/ip link show dev $5\n")
    script.chmod(0o755)
    start(bus, "one", *config(0, "phys", "up0", script__up=script, script__down=script))


# --- what cannot be

WRONG = {
    "a link that is not there": (config(0, "macvlan", "nowhere0"), "nowhere0"),
    "a bridge that is not there": (config(0, "veth", "nowhere0"), "nowhere0"),
    "no link": (config(0, "vlan", None, vlan__id=4), "lxc.net.0.link"),
    "a phys that is not there": (config(0, "phys", "nowhere0"), "nowhere0"),
    "a link that is no bridge": (config(0, "veth", "up0"), "up0"),
    "a macvlan on a bridge's port": (config(0, "macvlan", "towerport"), "lxcbr0"),
    "a bridge's port itself": (config(0, "phys", "towerport"), "lxcbr0"),
    "a name that is taken on the host": (config(0, "veth", "lxcbr0", veth__pair="up0"), "already"),
    "a name that is taken inside": (config(0, "macvlan", "up0") + config(1, "macvlan", "up0", name="wire0"), "already"),
    "a MAC address of a group": (config(0, "macvlan", "up0", hwaddr="01:00:5e:00:00:01"), "first byte even"),
    "no MAC address": (config(0, "macvlan", "up0", hwaddr="00:16:3e:zz:00:01"), "MAC address"),
    "an MTU that is too large": (config(0, "veth", "lxcbr0", mtu=70000), "65535"),
    "an MTU that is too large for the link": (config(0, "macvlan", "up0", mtu=1501), "1500"),
    "an MTU that is too small": (config(0, "veth", "lxcbr0", mtu=20), "68"),
    "no address": (config(0, "veth", "lxcbr0", "10.0.3.777/24"), "10.0.3.777"),
    "no prefix length": (config(0, "veth", "lxcbr0", "10.0.3.7/33"), "prefix"),
    "a gateway without an address": (config(0, "veth", "lxcbr0", ipv4__gateway="10.0.3.1"), "address"),
    "a gateway of nobody": (config(0, "veth", None, "10.0.3.7/24", ipv4__gateway="auto"), "auto"),
    "a name of 16 letters": (config(0, "veth", "lxcbr0", name="abcdefghijklmnop"), "15"),
    "a link of 16 letters": (config(0, "veth", "abcdefghijklmnop"), "15"),
    "a name with a slash": (config(0, "veth", "lxcbr0", name="a/b"), "'/'"),
    "VLANs where nobody looks at tags": (config(0, "veth", "lxcbr0", veth__vlan__id=4), "vlan_filtering"),
    "answering where nothing is forwarded": (config(0, "veth", "up0", "10.9.0.5/32", veth__mode="router", l2proxy=1),
                                             "forwarding"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_is_refused_in_words(bus, uplink, bridge, what):
    lines, word = WRONG[what]
    # A test before may have had the host forward, which new interfaces inherit.
    with open("/proc/sys/net/ipv4/conf/up0/forwarding", "w") as file:
        file.write("0")
    run("ip", "link", "add", "towerport", "type", "veth", "peer", "name", "towerend")
    run("ip", "link", "set", "towerport", "master", bridge)
    try:
        before = links()
        with file_of(Archive().bytes()) as fd:
            box = create_local(bus, "box", fd)
        containers.append_config("box", *lines)
        with refused("InvalidConfig", "StartFailed", "Unsupported") as caught:
            box.start()
        assert word in caught[0].message, caught[0]
        assert box.state == "STOPPED"
        until(lambda: links() == before)
    finally:
        run("ip", "link", "del", "towerport")
