"""Gantry and stock LXC take turns on the same containers."""

import os

import pytest

import containers
from gantry import LXC_PATH, run, until

DEBIAN = os.environ.get("GANTRY_DEBIAN_TAR", "")
ROOT_RANGE = "root:1000000:1000000\n"


@pytest.fixture
def roots_range():
    """Stock LXC maps ids for root through newuidmap, which asks for an entry of root's."""
    before = {}
    for path in ("/etc/subuid", "/etc/subgid"):
        with open(path) as file:
            before[path] = file.read()
        with open(path, "a") as file:
            file.write(ROOT_RANGE)
    yield
    for path, text in before.items():
        with open(path, "w") as file:
            file.write(text)


def take_turns(bus, name, tools=run, rounds=3):
    box = bus.container(name)
    config, root = containers.config_of(name), os.stat(f"{LXC_PATH}/{name}/rootfs")
    for number in range(rounds):
        box.start()
        assert box.execute("sh", "-c", f"echo gantry {number} >> /turns; hostname") == (0, f"{name}\n", "")
        assert tools("lxc-attach", "-n", name, "--", "hostname").stdout == f"{name}\n"
        box.kill()
        tools("lxc-start", "-n", name)
        assert box.state == "RUNNING"
        tools("lxc-attach", "-n", name, "--", "sh", "-c", f"echo stock {number} >> /turns")
        assert box.execute("hostname") == (0, f"{name}\n", "")
        tools("lxc-stop", "-k", "-n", name)
        assert box.state == "STOPPED"
    with open(f"{LXC_PATH}/{name}/rootfs/turns") as file:
        assert file.read() == "".join(f"gantry {n}\nstock {n}\n" for n in range(rounds))
    assert containers.config_of(name) == config
    after = os.stat(f"{LXC_PATH}/{name}/rootfs")
    assert (after.st_uid, after.st_gid, after.st_mode, after.st_ino) == \
        (root.st_uid, root.st_gid, root.st_mode, root.st_ino)


def test_a_container_of_lxc_create(bus, tools):
    tools("lxc-create", "-n", "st", "-t", "busybox")
    take_turns(bus, "st", tools)


# A file that has come along from LXC 1, upgraded by hand: comments, odd spaces, keys
# that are no longer needed, and no type before the path.
UPGRADED = """\
# Template used to create this container: /usr/share/lxc/templates/lxc-busybox
# Template script checksum (SHA-1): 56e9e6d0e4ab5f6b4d8c07ad4c7a3d8be8a9c1f7

# lxc.network.type = veth
# lxc.network.link = lxcbr0
lxc.net.0.type=empty
  lxc.net.0.flags =   up
lxc.tty.max = 4
lxc.pty.max = 1024
#lxc.aa_profile = unconfined
lxc.apparmor.profile = unconfined

lxc.cap.drop = sys_module mac_admin
lxc.cap.drop = mac_override   sys_time
lxc.mount.auto = proc sys
lxc.mount.entry = tmpfs dev/shm tmpfs  rw,nosuid,nodev,create=dir 0 0
lxc.group = onboot,web
lxc.start.order = 5
lxc.uts.name = "st"
lxc.rootfs.path = /var/lib/lxc/st/rootfs
"""


def test_a_container_with_a_legacy_config_upgraded_by_hand(bus, tools):
    tools("lxc-create", "-n", "st", "-t", "busybox")
    for path in ("lib", "lib64", "usr/lib", "usr/lib64"):
        # The template's own config would show the host's folders there.
        os.makedirs(f"{LXC_PATH}/st/rootfs/{path}", exist_ok=True)
    with open(containers.config_path("st"), "w") as file:
        file.write(UPGRADED)
    take_turns(bus, "st", tools)


@pytest.mark.skipif(not os.path.exists(DEBIAN), reason="GANTRY_DEBIAN_TAR names no Debian root file system")
def test_a_whole_debian(bus):
    run("lxc-create", "-n", "st", "-t", "none")
    folder = f"{LXC_PATH}/st/rootfs"
    os.makedirs(folder, exist_ok=True)
    run("tar", "--numeric-owner", "-xf", DEBIAN, "-C", folder)
    containers.append_config("st", "lxc.include = /usr/share/lxc/config/common.conf", f"lxc.rootfs.path = dir:{folder}",
                             "lxc.uts.name = st", "lxc.apparmor.profile = unconfined")
    config, box = containers.config_of("st"), bus.container("st")
    for start, stop in ((box.start, box.stop), (lambda: run("lxc-start", "-n", "st"), lambda: run("lxc-stop", "-n", "st"))) * 2:
        start()
        state = ("systemctl", "is-system-running")
        until(lambda: box.execute(*state)[1] == "running\n", 60, step=0.2)
        assert run("lxc-attach", "-n", "st", "--", *state).stdout == "running\n"
        assert run("lxc-attach", "-n", "st", "--", "cat", "/proc/1/comm").stdout == "systemd\n"
        stop()
        assert box.state == "STOPPED"
    assert containers.config_of("st") == config


def test_a_container_of_lxc_create_that_is_id_mapped(bus, roots_range, tmp_path):
    defaults = tmp_path / "default.conf"
    defaults.write_text("lxc.net.0.type = empty\nlxc.idmap = u 0 1000000 65536\nlxc.idmap = g 0 1000000 65536\n")
    run("lxc-create", "-n", "st", "-t", "busybox", "-f", str(defaults))
    assert bus.container("st").get("Privileged") is False
    take_turns(bus, "st")
    assert os.stat(f"{LXC_PATH}/st/rootfs/turns").st_uid == 1000000


@pytest.mark.parametrize("privileged", [True, False], ids=["privileged", "mapped"])
def test_a_container_of_gantry(bus, tools, privileged):
    bus.create("ga", template="busybox", privileged=privileged)
    take_turns(bus, "ga", tools)


def test_a_container_with_a_wire_of_its_own(bus):
    containers.create_stock("st")
    path = containers.config_path("st")
    with open(path) as file:
        text = file.read()
    with open(path, "w") as file:
        file.write(text.replace("lxc.net.0.type = empty", "lxc.net.0.type = veth\nlxc.net.0.link = lxcbr0\n"
                                "lxc.net.0.flags = up\nlxc.net.0.ipv4.address = 10.0.3.9/24"))
    # The template's own start script would ask for DHCP, which clears the address.
    with open(f"{LXC_PATH}/st/rootfs/etc/init.d/rcS", "w") as file:
        file.write("#!/bin/sh\n")
    with containers.bridge():
        for start, stop in ((bus.container("st").start, bus.container("st").kill),
                            (lambda: run("lxc-start", "-n", "st"), lambda: run("lxc-stop", "-k", "-n", "st"))) * 2:
            start()
            assert containers.answers("10.0.3.9")
            assert "10.0.3.9" in run("lxc-info", "-n", "st", "-iH").stdout
            stop()


def test_what_gantry_writes_stock_lxc_reads(bus):
    box = bus.create("ga", template="busybox")
    values = {"lxc.uts.name": ["changed"], "lxc.group": ["a", "b"], "lxc.start.auto": ["1"], "lxc.tty.max": ["2"]}
    for key, value in values.items():
        box.call("SetConfigItem", "(sasa{sv})", key, value, {})
    for key, value in values.items():
        shown = run("lxc-info", "-n", "ga", "-c", key).stdout.partition("=")[2].split()
        assert shown == value
    assert run("lxc-ls", "-f", "-F", "NAME,AUTOSTART,GROUPS").stdout.splitlines()[1].split() == ["ga", "1", "a,", "b"]


def test_the_same_items_are_read_by_both(bus):
    containers.create_stock("st", "lxc.environment = A=\"b c\"", "lxc.prlimit.nofile = 100:200")
    box = bus.container("st")
    for key in ("lxc.uts.name", "lxc.cap.drop", "lxc.mount.entry", "lxc.mount.auto", "lxc.tty.max", "lxc.pty.max",
                "lxc.autodev", "lxc.environment", "lxc.prlimit.nofile"):
        stock = run("lxc-info", "-n", "st", "-c", key).stdout.partition(" = ")[2].split()
        assert sorted(" ".join(box.call("GetConfigItem", "(s)", key)).split()) == sorted(stock), key
