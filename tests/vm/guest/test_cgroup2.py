"""Cgroup version 2: limits that limit, devices by a program, usage, freezing, the end,
and what the container's root may do with its groups.
"""

import glob
import os
import re

import pytest

import containers
from containers import in_group, opens
from gantry import Refused, run, until

MIB = 1 << 20
RULES = [f"lxc.cgroup2.devices.{rule}" for rule in (
    "deny = a", "allow = c 1:3 rwm", "allow = c 5:* rwm", "allow = c 136:* rwm", "allow = c *:* m")]
TUN = "c 10:200 rw"


@pytest.fixture(scope="module")
def web():
    with containers.shared("web", privileged=True, config=RULES) as container:
        yield container


@pytest.fixture(scope="module")
def mapped():
    with containers.shared("mapped") as container:
        yield container


def eats(container):
    """Has a program take more and more memory, and tells how it ended."""
    return container.execute("tail", "/dev/zero", seconds=120)[0]


def test_memory_max_kills(mapped):
    mapped.set_limit("memory.swap.max", "0")
    mapped.set_limit("memory.max", "48M")
    assert in_group("mapped", "memory.max") == str(48 * MIB)
    assert eats(mapped) == 137
    assert int(re.search(r"^oom_kill (\d+)$", mapped.get_limit("memory.events"), re.M).group(1)) > 0
    assert mapped.resources("GetUsage")["memory_limit"] == 48 * MIB
    mapped.set_limit("memory.max", "max")


def test_pids_max_refuses(mapped):
    mapped.set_limit("pids.max", mapped.get_limit("pids.current"))
    try:
        status, _out, errors = mapped.execute("sh", "-c", "sleep 0 & wait")
        assert status != 0 and "can't fork" in errors
    except Refused as refused:
        assert "temporarily unavailable" in refused.message
    mapped.set_limit("pids.max", "max")
    assert mapped.execute("sh", "-c", "sleep 0 & wait")[0] == 0


def test_cpu_max_throttles(mapped):
    mapped.set_limit("cpu.max", "10000 100000")
    assert mapped.execute("sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done", seconds=300)[0] == 0
    assert int(re.search(r"^nr_throttled (\d+)$", mapped.get_limit("cpu.stat"), re.M).group(1)) > 0
    mapped.set_limit("cpu.max", "max")


@pytest.mark.parametrize("key, value, file, found, shown", [
    ("memory.limit_in_bytes", "256M", "memory.max", str(256 * MIB), str(256 * MIB)),
    ("memory.memsw.limit_in_bytes", "320M", "memory.swap.max", str(64 * MIB), str(320 * MIB)),
    ("memory.memsw.limit_in_bytes", "-1", "memory.swap.max", "max", "-1"),
    ("memory.limit_in_bytes", "-1", "memory.max", "max", "-1"),
    ("memory.soft_limit_in_bytes", "32M", "memory.low", str(32 * MIB), str(32 * MIB)),
    ("cpu.shares", "512", "cpu.weight", "50", "512"),
    ("cpu.cfs_quota_us", "50000", "cpu.max", "50000 100000", "50000"),
    ("cpu.cfs_period_us", "50000", "cpu.max", "50000 50000", "50000"),
    ("cpu.cfs_quota_us", "-1", "cpu.max", "max 50000", "-1"),
    ("cpuset.cpus", "0", "cpuset.cpus", "0", "0"),
])
def test_keys_of_version_1_act(mapped, key, value, file, found, shown):
    mapped.set_limit(key, value)
    assert in_group("mapped", file) == found
    assert mapped.get_limit(key) == shown


def test_keys_of_version_1_hold_from_the_start(bus):
    """A config of LXC 1 limits here, too."""
    box = bus.create("box", template="busybox", start=True, config=[
        "lxc.cgroup.memory.memsw.limit_in_bytes = 320M", "lxc.cgroup.memory.limit_in_bytes = 256M", "lxc.cgroup.cpu.shares = 512",
        "lxc.cgroup.pids.max = 80", "lxc.cgroup2.pids.max = 90", "lxc.cgroup.net_cls.classid = 1"])
    for file, value in (("memory.max", str(256 * MIB)), ("memory.swap.max", str(64 * MIB)), ("cpu.weight", "50"), ("pids.max", "90")):
        assert in_group("box", file) == value, file
    box.call("SetConfigItem", "(sasa{sv})", "lxc.cgroup.memory.limit_in_bytes", ["200M"], {})
    assert in_group("box", "memory.max") == str(200 * MIB) and box.get("NeedsRestart") == []


def test_a_saved_limit_is_one_of_version_2(bus):
    box = bus.create("box", template="busybox")
    box.set_limit("memory.limit_in_bytes", "200M", persist=True)
    assert containers.config_of("box").decode().endswith("lxc.cgroup2.memory.max = 200M\n")
    box.start()
    assert in_group("box", "memory.max") == str(200 * MIB)
    box.set_limit("pids.max", "99")
    assert in_group("box", "pids.max") == "99"


def test_only_allowed_devices_can_be_used(web):
    assert opens(web, "/dev/null") and not opens(web, "/dev/zero") and not opens(web, "/dev/urandom")
    status, _out, errors = web.execute("mknod", "/dev/disk", "b", "7", "0")
    assert status != 0 and "not permitted" in errors
    assert web.execute("mknod", "/dev/tun", "c", "10", "200")[0] == 0
    run("modprobe", "tun")
    assert not opens(web, "/dev/tun")
    web.set_limit("devices.allow", TUN)
    assert opens(web, "/dev/tun") and not opens(web, "/dev/zero")
    web.set_limit("devices.deny", TUN)
    assert not opens(web, "/dev/tun") and opens(web, "/dev/null")


def test_freezing(mapped):
    mapped.call("Freeze", "(a{sv})", {})
    assert "frozen 1" in in_group("mapped", "cgroup.events") and mapped.get_limit("freezer.state") == "FROZEN"
    mapped.call("Unfreeze", "(a{sv})", {})
    assert "frozen 0" in in_group("mapped", "cgroup.events") and mapped.get_limit("freezer.state") == "THAWED"


def test_usage_has_every_number(mapped):
    usage = mapped.resources("GetUsage")
    for key in ("cpu_ns", "memory", "memory_peak", "swap", "pids", "io_read", "io_write",
                "pressure_cpu", "pressure_memory", "pressure_io"):
        assert usage[key] >= 0, key
    assert usage["memory_peak"] >= usage["memory"] > 0 and usage["pids"] >= 1 and usage["cpu_ns"] > 0


def test_the_containers_root_has_what_is_delegated(mapped):
    (group,) = glob.glob("/sys/fs/cgroup/**/lxc.payload.mapped", recursive=True)
    (root,) = {int(line.split()[1]) for line in open(f"/proc/{mapped.get('InitPid')}/uid_map")}
    for name in (".", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"):
        assert os.stat(os.path.join(group, name)).st_uid == root != 0, name
    for name in ("memory.max", "pids.max", "cpu.max"):
        assert os.stat(os.path.join(group, name)).st_uid == 0, name
    made = "mkdir /sys/fs/cgroup/mine && rmdir /sys/fs/cgroup/mine"
    assert mapped.execute("sh", "-c", made)[0] == 0
    assert mapped.execute("sh", "-c", "echo max >/sys/fs/cgroup/memory.max")[0] != 0


def test_nothing_is_left_of_it(bus):
    box = bus.create("box", template="busybox", start=True)
    assert glob.glob("/sys/fs/cgroup/**/lxc.payload.box", recursive=True)
    box.call("Freeze", "(a{sv})", {})
    box.kill()
    until(lambda: not glob.glob("/sys/fs/cgroup/**/lxc.*.box", recursive=True))
