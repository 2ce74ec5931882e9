"""Cgroup version 2 alone, on a host that has both: a helper that does not see the
hierarchies of version 1, so that devices are up to a program.
"""

import os
import re
import subprocess

import pytest

import containers
from containers import opens, refused
from gantry import Bus, run, until

RULES = [f"lxc.cgroup2.devices.{rule}" for rule in (
    "deny = a", "allow = c 1:3 rwm", "allow = c 5:* rwm", "allow = c 136:* rwm", "allow = c *:* m")]
TUN = "c 10:200 rw"
ALONE = """
umount --lazy /sys
awk '/ - cgroup2? /{print $5}' /proc/self/mountinfo | while read -r at; do umount --lazy "$at"; done
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec "$0"
"""


@pytest.fixture(scope="module")
def helper():
    """A helper's process, in a mount namespace of its own."""
    if not run("findmnt", "-n", "-t", "cgroup2", check=False).stdout:
        pytest.skip("this host has no cgroup version 2")
    bus = Bus()
    program = os.readlink(f"/proc/{containers.helper_pid(bus)}/exe")
    containers.kill_helper(bus)
    process = subprocess.Popen(["unshare", "--mount", "sh", "-ec", ALONE, program])
    try:
        until(lambda: containers.ask_bus(bus, "NameHasOwner"))
        assert containers.helper_pid(bus) == process.pid
        yield process
    finally:
        process.kill()
        process.wait()
        until(lambda: not containers.ask_bus(bus, "NameHasOwner"))
        bus.close()


@pytest.fixture
def box(helper, bus):
    return bus.create("box", template="busybox", start=True, privileged=True, config=RULES)


def beside(helper, *argv, **more):
    """A program that sees what the helper sees."""
    return run("nsenter", "--mount", "--target", str(helper.pid), *argv, **more)


def test_only_what_is_allowed_can_be_used(box):
    assert opens(box, "/dev/null")
    assert not opens(box, "/dev/urandom") and not opens(box, "/dev/zero")
    assert box.execute("mknod", "/dev/tun", "c", "10", "200")[0] == 0
    assert not opens(box, "/dev/tun")
    status, _out, errors = box.execute("mknod", "/dev/disk", "b", "7", "0")
    assert status != 0 and "not permitted" in errors


def test_rules_change_while_it_runs(box):
    assert box.execute("mknod", "/dev/tun", "c", "10", "200")[0] == 0
    box.set_limit("devices.allow", TUN)
    assert opens(box, "/dev/tun") and opens(box, "/dev/null") and not opens(box, "/dev/zero")
    box.set_limit("devices.deny", TUN)
    assert not opens(box, "/dev/tun")
    box.set_limit("devices.allow", "a")
    assert opens(box, "/dev/tun") and opens(box, "/dev/zero")
    box.set_limit("devices.deny", "c 1:5 r")
    assert opens(box, "/dev/tun") and not opens(box, "/dev/zero")


def test_stock_tools_change_them(helper, box):
    assert not opens(box, "/dev/zero")
    beside(helper, "lxc-cgroup", "-n", "box", "devices.allow", "c 1:5 r")
    assert opens(box, "/dev/zero")
    beside(helper, "lxc-cgroup", "-n", "box", "devices.deny", "c 1:5 r")
    assert not opens(box, "/dev/zero")


def test_rules_hold_after_a_reboot(box):
    box.set_limit("devices.allow", "c 1:5 r")
    pid = box.get("InitPid")
    containers.booted(box)
    run("lxc-stop", "-r", "-n", "box", "-t", "20")
    until(lambda: box.state == "RUNNING" and box.get("InitPid") not in (0, pid))
    assert opens(box, "/dev/null") and not opens(box, "/dev/zero")


def test_without_rules_everything_can_be_used(helper, bus):
    containers.create_stock("box")
    with open(containers.config_path("box")) as file:
        text = re.sub(r"lxc\.cgroup2?\.devices.*\n", "", file.read())
    with open(containers.config_path("box"), "w") as file:
        file.write(text + "lxc.cgroup2.devices.deny =\nlxc.cgroup2.devices.allow =\n")
    box = bus.container("box")
    box.start()
    assert opens(box, "/dev/zero") and box.execute("mknod", "/dev/tun", "c", "10", "200")[0] == 0
    assert opens(box, "/dev/tun")
    # One more rule does not take away what was open.
    box.set_limit("devices.allow", TUN)
    assert opens(box, "/dev/tun") and opens(box, "/dev/zero")


def test_rules_of_version_1_alone_count(helper, bus):
    """A config of LXC 1, whose containers must not have all devices here."""
    containers.create_stock("box")
    with open(containers.config_path("box")) as file:
        text = re.sub(r"lxc\.cgroup2?\.devices.*\n", "", file.read())
    old = "".join(f"{rule}\n" for rule in RULES).replace("cgroup2", "cgroup")
    with open(containers.config_path("box"), "w") as file:
        file.write(text + "lxc.cgroup2.devices.deny =\nlxc.cgroup2.devices.allow =\n" + old)
    box = bus.container("box")
    box.start()
    assert opens(box, "/dev/null") and not opens(box, "/dev/zero")
    # One more is one of theirs: alone it would allow nothing else.
    box.set_limit("devices.allow", "c 1:5 r", persist=True)
    assert opens(box, "/dev/zero") and opens(box, "/dev/null") and box.get("NeedsRestart") == []
    assert containers.config_of("box").decode().endswith("lxc.cgroup.devices.allow = c 1:5 r\n")
    box.kill()
    box.start()
    assert opens(box, "/dev/zero") and opens(box, "/dev/null") and not opens(box, "/dev/urandom")


def test_a_rule_that_is_none_is_refused_at_the_start(helper, bus):
    box = bus.create("box", template="busybox", privileged=True, config=RULES + ["lxc.cgroup2.devices.allow = tun"])
    with refused("InvalidConfig", "StartFailed") as caught:
        box.start()
    assert "lxc.cgroup2.devices.allow" in caught[0].message


def test_freezing_and_the_end(helper, box):
    with open(f"/proc/{box.get('InitPid')}/cgroup") as file:
        (group,) = re.findall(r"^0::(.*)$", file.read(), re.M)
    assert group.endswith("/lxc.payload.box"), group
    box.call("Freeze", "(a{sv})", {})
    run("lxc-wait", "-n", "box", "-s", "FROZEN", "-t", "10")
    box.call("Unfreeze", "(a{sv})", {})
    box.kill()
    until(lambda: beside(helper, "find", "/sys/fs/cgroup", "-name", "lxc.*.box").stdout == "")
