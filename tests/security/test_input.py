"""Text from outside: control bytes, garbage and too much of it. Numbers in names are
items of the security checklist.
"""

import os
import random
import shutil

import pytest

import containers
from containers import refused
from gantry import LXC_PATH, Refused

BAD = ["a\nlxc.hook.pre-start = /bin/evil", "a\rlxc.hook.pre-start = /bin/evil", "a\n", "\na", "a\x01", "a\x1b[2J", "a\x7f"]


@pytest.fixture
def box(bus):
    return bus.create("box", template="busybox")


@pytest.mark.parametrize("value", BAD, ids=ascii)
def test_22_control_bytes_in_a_value_are_refused(bus, box, value):
    before = containers.config_of("box")
    for key in ("lxc.uts.name", "lxc.environment", "lxc.group", "lxc.rootfs.path"):
        with refused("InvalidArgument", "InvalidConfig"):
            box.call("SetConfigItem", "(sasa{sv})", key, [value], {})
    assert containers.config_of("box") == before
    with refused("InvalidArgument", "InvalidConfig"):
        bus.create("other", template="busybox", config=[f"lxc.environment = A={value}"])
    assert bus.list() == {"box": "STOPPED"}


def test_22_a_key_cannot_carry_another_line(box):
    before = containers.config_of("box")
    for key in ("lxc.uts.name = x\nlxc.hook.pre-start", "lxc.uts.name\n", " lxc.uts.name", "lxc.sysctl.a\nb", "#lxc.x"):
        with refused("InvalidArgument", "InvalidConfig"):
            box.call("SetConfigItem", "(sasa{sv})", key, ["x"], {})
    assert containers.config_of("box") == before


def test_22_extra_lines_are_one_line_each(bus):
    with refused("InvalidArgument", "InvalidConfig"):
        bus.create("other", template="busybox", config=["# a comment\nlxc.hook.pre-start = /bin/evil"])
    assert bus.list() == {}


def test_22_values_that_would_be_quoted_come_back_as_they_were(box):
    for value in ('A=" b "', "A='x'", "A=#no comment", "A==b", "A=\\n", "A=ümläut", "A=$(touch /run/evil)"):
        box.call("SetConfigItem", "(sasa{sv})", "lxc.environment", [value], {})
        assert box.call("GetConfigItem", "(s)", "lxc.environment") == [value]
    box.start()
    assert "A=$(touch /run/evil)" in box.execute("env")[1].splitlines()
    assert not os.path.exists("/run/evil")


def test_27_broken_configs_of_every_kind_do_not_bring_the_helper_down(bus, box):
    pid = containers.helper_pid(bus)
    good = containers.config_of("box")
    chance = random.Random(7)
    for round_ in range(60):
        data = bytearray(good)
        for _ in range(chance.randint(1, 30)):
            at = chance.randrange(len(data))
            data[at:at + chance.randint(0, 4)] = chance.randbytes(chance.randint(0, 4))
        with open(containers.config_path("box"), "wb") as file:
            file.write(data)
        assert "box" in bus.list()
        box.get("ConfigError")
    assert containers.helper_pid(bus) == pid


@pytest.mark.parametrize("text", [
    "lxc.idmap = u 0 4294967295 4294967295\n", "lxc.idmap = u 99999999999999999999 0 1\n",
    "lxc.net.4294967296.type = veth\n", "lxc.net.99999999999999999999.type = veth\n",
    "lxc.tty.max = 99999999999\n", "lxc.pty.max = -1\n", "lxc.console.buffer.size = 99999999999999999999GB\n",
    "lxc.mount.entry = \\\n", "lxc.mount.entry = \\777 a b c\n", "lxc.signal.halt = SIGRTMIN+999999999999\n",
    "lxc.prlimit.nofile = 18446744073709551616\n", "lxc.start.delay = 18446744073709551616\n",
    "lxc.cgroup.dir = ../../..\n", "lxc.time.offset.boot = 99999999999999999999h\n", "lxc.environment =\n",
    "lxc.net.0.type = veth\nlxc.net.0.name = a/../../b\n", "lxc.net.0.type = veth\nlxc.net.0.hwaddr = zz\n",
    "lxc.uts.name = " + "a" * 100_000 + "\n", "lxc." * 10_000 + " = 1\n",
], ids=lambda text: text[:40].strip())
def test_27_values_out_of_range_are_errors_not_crashes(bus, text):
    pid = containers.helper_pid(bus)
    containers.write_container("box", f"lxc.rootfs.path = dir:{LXC_PATH}/box/rootfs\n" + text)
    assert bus.list() == {"box": "STOPPED"}
    box = bus.container("box")
    box.get("ConfigError")
    try:
        box.start()
    except Refused as error:
        assert error.message
    assert containers.helper_pid(bus) == pid


@pytest.fixture
def endless():
    """A container whose config stock tools would read for ever; so it goes by hand."""
    os.mkfifo("/run/fifo")
    yield
    shutil.rmtree(f"{LXC_PATH}/box")
    os.unlink("/run/fifo")


def test_27_deep_and_many_includes_are_bounded(bus, endless, tmp_path):
    for number in range(1000):
        (tmp_path / f"{number}.conf").write_text(f"lxc.include = {tmp_path}/{number + 1}.conf\n" * 2)
    (tmp_path / "1000.conf").write_text("lxc.uts.name = deep\n")
    containers.write_container("box", f"lxc.include = {tmp_path}/0.conf\n")
    pid = containers.helper_pid(bus)
    assert bus.list() == {"box": "STOPPED"}
    assert bus.container("box").get("ConfigError")
    assert containers.helper_pid(bus) == pid


@pytest.mark.parametrize("path", ["/dev/zero", "/run/fifo"])
def test_27_an_include_that_never_ends_does_not_hold_up_the_helper(bus, endless, path):
    containers.write_container("box", f"lxc.include = {path}\n")
    assert bus.manager("ListContainers", "(a{sv})", {}, timeout=5)
    assert bus.container("box").get("ConfigError")


@pytest.mark.parametrize("path", ["/dev/zero", "/run/fifo"])
def test_27_a_config_that_never_ends_does_not_hold_up_the_helper(bus, endless, path):
    os.makedirs(f"{LXC_PATH}/box/rootfs")
    os.symlink(path, containers.config_path("box"))
    assert bus.manager("ListContainers", "(a{sv})", {}, timeout=5)
    os.unlink(containers.config_path("box"))
    os.mkfifo(containers.config_path("box"))
    assert bus.manager("ListContainers", "(a{sv})", {}, timeout=5) is not None


def test_27_a_big_config_is_bounded(bus):
    containers.write_container("box", "# comment\n" * 2_000_000)
    assert bus.list() == {"box": "STOPPED"}
    with open(f"/proc/{containers.helper_pid(bus)}/status") as file:
        (resident,) = [int(line.split()[1]) for line in file if line.startswith("VmRSS")]
    assert resident < 200_000
