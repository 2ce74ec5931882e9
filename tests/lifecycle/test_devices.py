"""Device nodes and interfaces of the host in a running container."""

import glob
import os
import stat

import pytest

import containers
from containers import opens, refused
from gantry import run, until


@pytest.fixture(scope="module", params=["mapped", "privileged", "lxc-start"])
def web(request):
    stock = request.param == "lxc-start"
    with containers.shared("web", stock=stock, start=False, **({} if stock else {"privileged": request.param == "privileged"})) as box:
        if stock:
            containers.append_config("web", "lxc.cgroup.devices.deny = a", "lxc.cgroup.devices.allow = c 1:3 rwm",
                                     "lxc.cgroup.devices.allow = c 136:* rwm", "lxc.cgroup.devices.allow = c 5:* rwm")
            run("lxc-start", "-n", "web")
        else:
            box.start()
        yield box


@pytest.fixture
def loop(tmp_path):
    """A loop device with a file of the host behind it."""
    path = tmp_path / "disk"
    path.write_bytes(b"of the host\n" + bytes(1 << 20))
    device = run("losetup", "--find", "--show", str(path)).stdout.strip()
    try:
        yield device, path
    finally:
        run("losetup", "--detach", device)


@pytest.fixture
def wire():
    """A pair of interfaces on the host."""
    run("ip", "link", "add", "lent0", "type", "veth", "peer", "name", "lent1")
    try:
        yield "lent0"
    finally:
        run("ip", "link", "del", "lent1", check=False)


def devices(container, method, signature="()", *args):
    return container.once_shown(lambda: container.bus.call(container.path, "Devices", method, signature, *args))


def listed(container):
    return [{key: value for key, value in entry.items()} for entry in devices(container, "List", "()")]


def add(container, host, path=""):
    devices(container, "AddNode", "(ssa{sv})", host, path, {})


def remove(container, path):
    devices(container, "RemoveNode", "(sa{sv})", path, {})


def links(container):
    return container.execute("ls", "/sys/class/net")[1].split()


def test_a_loop_device_as_a_partition(web, loop):
    device, file = loop
    assert listed(web) == []
    add(web, device, "/dev/sdb1")
    info = os.stat(device)
    assert listed(web) == [{"type": "node", "path": "/dev/sdb1", "kind": "block",
                            "major": os.major(info.st_rdev), "minor": os.minor(info.st_rdev)}]
    assert web.execute("head", "-n1", "/dev/sdb1")[1] == "of the host\n"
    status, _out, errors = web.execute("sh", "-c", "echo of a container | dd of=/dev/sdb1 conv=notrunc,fsync 2>/dev/null")
    assert status == 0, errors
    assert file.read_bytes().startswith(b"of a container\n")
    with refused("Exists"):
        add(web, device, "/dev/sdb1")
    remove(web, "/dev/sdb1")
    assert listed(web) == [] and web.execute("test", "-e", "/dev/sdb1")[0] != 0
    with refused("NotFound"):
        remove(web, "/dev/sdb1")


def test_a_node_that_is_gone_cannot_be_used_any_more(bus, loop):
    device, _file = loop
    box = bus.create("box", template="busybox", start=True, privileged=True)
    add(box, device, "/dev/disk/by-name/mine")
    assert box.execute("head", "-n1", "/dev/disk/by-name/mine")[1] == "of the host\n"
    remove(box, "/dev/disk/by-name/mine")
    number = os.stat(device).st_rdev
    # It may make nodes, but not use them.
    assert box.execute("mknod", "/dev/again", "b", str(os.major(number)), str(os.minor(number)))[0] == 0
    assert not opens(box, "/dev/again")
    # What the config allows stays allowed.
    add(box, "/dev/zero", "/dev/nil")
    remove(box, "/dev/nil")
    assert opens(box, "/dev/zero")


def test_a_device_is_usable_as_long_as_it_has_a_node(bus, loop):
    """A node that cannot be made and one of two that goes take nothing from the other."""
    device, _file = loop
    box = bus.create("box", template="busybox", start=True, privileged=True)
    add(box, device, "/dev/one")
    with refused("Exists"):
        add(box, device, "/dev/one")
    assert opens(box, "/dev/one")
    add(box, device, "/dev/two")
    remove(box, "/dev/two")
    assert opens(box, "/dev/one")
    remove(box, "/dev/one")
    number = os.stat(device).st_rdev
    assert box.execute("mknod", "/dev/again", "b", str(os.major(number)), str(os.minor(number)))[0] == 0
    assert not opens(box, "/dev/again")


def test_what_it_was_started_with_stays_allowed(bus):
    """A config for the next start takes nothing from the container that runs."""
    box = bus.create("box", template="busybox", start=True, privileged=True)
    rules = box.call("GetConfigItem", "(s)", "lxc.cgroup.devices.allow")
    assert any(rule.startswith("c 1:5 ") for rule in rules)
    rules = [rule for rule in rules if not rule.startswith("c 1:5 ")]
    box.call("SetConfigItem", "(sasa{sv})", "lxc.cgroup.devices.allow", rules, {})
    add(box, "/dev/zero", "/dev/nil")
    remove(box, "/dev/nil")
    assert opens(box, "/dev/zero")


def test_a_character_device_under_its_own_name(web):
    add(web, "/dev/net/tun")
    assert [entry["path"] for entry in listed(web)] == ["/dev/net/tun"] and opens(web, "/dev/net/tun")
    remove(web, "/dev/net/tun")


@pytest.mark.parametrize("host, path, error", [
    ("/etc/passwd", "/dev/x", "InvalidArgument"), ("/dev/no-such-device", "/dev/x", "NotFound"), ("dev/null", "/dev/x", "InvalidArgument"),
    ("/dev/null", "/etc/x", "InvalidArgument"), ("/dev/null", "/dev/../etc/x", "InvalidArgument"), ("/dev/null", "/dev/null", "Exists"),
    ("/dev/null", "/dev/x\n", "InvalidArgument"), ("/dev/null", "/dev", "InvalidArgument"),
])
def test_what_is_no_device_or_no_place_for_one_is_refused(web, host, path, error):
    before = web.execute("ls", "/dev", "/etc")[1]
    with refused(error):
        add(web, host, path)
    assert web.execute("ls", "/dev", "/etc")[1] == before


def test_1_nothing_outside_is_touched_through_links(web, victim):
    """The container's root bends paths in its /dev."""
    assert web.execute("sh", "-c", f"ln -s {victim} /dev/out; mkdir -p /dev/in; ln -s ../../../.. /dev/in/up")[0] == 0
    for path in ("/dev/out/x", "/dev/in/up/run/victim/x"):
        with refused("Failed", "NotFound"):
            add(web, "/dev/null", path)
        with refused("Failed", "NotFound"):
            remove(web, path)
    with refused("NotFound"):
        remove(web, "/dev/out")
    web.execute("rm", "-r", "/dev/out", "/dev/in")


def test_stock_lxc_device(bus, loop):
    device, _file = loop
    box = bus.create("box", template="busybox", start=True, privileged=True)
    run("lxc-device", "-n", "box", "add", device)
    assert [entry["path"] for entry in listed(box)] == [device]
    assert box.execute("head", "-n1", device)[1] == "of the host\n"
    run("lxc-device", "-n", "box", "del", device)
    assert listed(box) == []


def test_nodes_do_not_outlive_the_container(bus, loop):
    box = bus.create("box", template="busybox", start=True)
    add(box, loop[0], "/dev/sdb1")
    box.kill()
    assert listed(box) == []
    with refused("WrongState"):
        add(box, loop[0], "/dev/sdb1")
    box.start()
    assert listed(box) == [] and box.execute("test", "-e", "/dev/sdb1")[0] != 0
    with open("/proc/self/mountinfo") as file:
        assert "gantry" not in [line.split(" - ")[1].split()[1] for line in file]


def test_an_interface_goes_in_and_comes_back(bus, wire):
    box = bus.create("box", template="busybox", start=True)
    devices(box, "AddInterface", "(ssa{sv})", wire, "eth7", {})
    assert "eth7" in links(box) and not os.path.exists(f"/sys/class/net/{wire}")
    assert {"type": "interface", "name": "eth7", "host": wire} in listed(box)
    devices(box, "RemoveInterface", "(sa{sv})", "eth7", {})
    assert "eth7" not in links(box) and os.path.exists(f"/sys/class/net/{wire}")
    with refused("NotFound"):
        devices(box, "RemoveInterface", "(sa{sv})", "eth7", {})


@pytest.mark.parametrize("end", ["kill", "reboot", "init dies", "monitor dies"])
def test_an_interface_comes_back_when_the_container_ends(bus, wire, end):
    box = bus.create("box", template="busybox", start=True)
    devices(box, "AddInterface", "(ssa{sv})", wire, "", {})
    # Whatever the container calls it meanwhile.
    assert box.execute("ip", "link", "set", wire, "name", "renamed")[0] == 0
    assert "renamed" in links(box)
    if end == "kill":
        box.kill()
    elif end == "reboot":
        containers.booted(box)
        run("lxc-stop", "-r", "-n", "box", "-t", "20")
    elif end == "monitor dies":
        os.kill(containers.monitor_pid(box), 9)
    else:
        os.kill(box.get("InitPid"), 9)
    until(lambda: os.path.exists(f"/sys/class/net/{wire}"))
    if end != "reboot":
        # The helper tidies up after a monitor that was killed, a moment later.
        until(lambda: not [trace for trace in containers.traces() if trace.endswith(".box")], 30)


def test_what_came_back_is_left_alone_when_the_container_ends(bus, wire):
    """Its number inside may be another's by then."""
    box = bus.create("box", template="busybox", start=True, privileged=True)
    devices(box, "AddInterface", "(ssa{sv})", wire, "eth7", {})
    number = box.execute("cat", "/sys/class/net/eth7/ifindex")[1].strip()
    devices(box, "RemoveInterface", "(sa{sv})", "eth7", {})
    assert box.execute("ip", "link", "show", "eth7")[0] != 0
    run("nsenter", "-t", str(box.get("InitPid")), "-n", "ip", "link", "add", "own", "index", number, "type", "veth",
        "peer", "name", "other")
    box.kill()
    assert os.path.exists(f"/sys/class/net/{wire}")
    assert "own" not in os.listdir("/sys/class/net") and not [n for n in os.listdir("/sys/class/net") if n.startswith("phys")]


def test_interfaces_that_cannot_be_lent(bus, wire):
    box = bus.create("box", template="busybox", start=True)
    for host, name, error in ((wire, "lo", "Exists"), ("no-such", "x", "NotFound"), (wire, "a/b", "InvalidArgument"), ("", "", "InvalidArgument")):
        with refused(error):
            devices(box, "AddInterface", "(ssa{sv})", host, name, {})
    assert os.path.exists(f"/sys/class/net/{wire}") and listed(box) == []


def test_what_a_stock_monitor_could_not_bring_back_is_not_taken(bus, wire):
    containers.create_stock("box")
    run("lxc-start", "-n", "box")
    with refused("Unsupported") as caught:
        devices(bus.container("box"), "AddInterface", "(ssa{sv})", wire, "eth7", {})
    assert "lxc-device" in caught[0].message and os.path.exists(f"/sys/class/net/{wire}")


def test_the_host_keeps_its_own_nodes(web, loop):
    before = {path: stat.S_IFMT(os.lstat(path).st_mode) for path in glob.glob("/dev/*")}
    add(web, loop[0], "/dev/sdb1")
    remove(web, "/dev/sdb1")
    assert {path: stat.S_IFMT(os.lstat(path).st_mode) for path in glob.glob("/dev/*")} == before
