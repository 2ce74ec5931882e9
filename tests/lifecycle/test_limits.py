"""Limits, live and saved, by keys of either cgroup version; usage of one container."""

import glob

import pytest

import containers
from containers import config_of, refused
from gantry import run, until

MIB = 1 << 20


@pytest.fixture(scope="module")
def web():
    with containers.shared("web") as container:
        yield container


@pytest.fixture(params=["gantry", "lxc-start"])
def box(bus, request):
    """A container that runs, by Gantry and by stock LXC."""
    container = bus.container("box")
    container.by_gantry = request.param == "gantry"
    if container.by_gantry:
        bus.create("box", template="busybox", start=True)
    else:
        containers.create_stock("box")
        run("lxc-start", "-n", "box")
    return container


def test_a_limit_is_the_kernels_at_once(box):
    before = config_of("box")
    box.set_limit("memory.limit_in_bytes", "256M")
    assert containers.in_group("box", "memory.limit_in_bytes") == str(256 * MIB)
    assert box.get_limit("memory.limit_in_bytes") == str(256 * MIB)
    assert run("lxc-cgroup", "-n", "box", "memory.limit_in_bytes").stdout.strip() == str(256 * MIB)
    box.set_limit("pids.max", "77")
    assert containers.in_group("box", "pids.max") == "77" and box.execute("true")[0] == 0
    assert config_of("box") == before


@pytest.mark.parametrize("key, value, file, found, shown", [
    ("memory.max", "64M", "memory.limit_in_bytes", str(64 * MIB), str(64 * MIB)),
    ("memory.max", "max", "memory.limit_in_bytes", None, "max"),
    ("memory.high", "32M", "memory.soft_limit_in_bytes", str(32 * MIB), str(32 * MIB)),
    ("cpu.weight", "50", "cpu.shares", "512", "50"),
    ("cpu.max", "20000 50000", "cpu.cfs_quota_us", "20000", "20000 50000"),
    ("cpu.max", "max", "cpu.cfs_quota_us", "-1", "max 50000"),
    ("cpuset.cpus", "0", "cpuset.cpus", "0", "0"),
])
def test_keys_of_version_2_act_on_a_host_of_version_1(web, key, value, file, found, shown):
    web.set_limit(key, value)
    assert found is None or containers.in_group("web", file) == found
    assert web.get_limit(key) == shown


def test_keys_of_the_other_version_hold_from_the_start_and_while_it_runs(bus):
    """Limits of version 2 in a config hold here, but not against one of version 1."""
    web = bus.create("box", template="busybox", config=[
        "lxc.cgroup2.memory.swap.max = 16M", "lxc.cgroup2.memory.max = 64M", "lxc.cgroup2.cpu.weight = 50",
        "lxc.cgroup2.cpu.max = 20000 50000", "lxc.cgroup2.pids.max = 80", "lxc.cgroup.pids.max = 90",
        "lxc.cgroup2.memory.oom.group = 1"])
    assert web.get_limit("memory.max") == "64M" and web.get_limit("pids.max") == "90"
    web.start()
    for file, value in (("memory.limit_in_bytes", str(64 * MIB)), ("memory.memsw.limit_in_bytes", str(80 * MIB)),
                        ("cpu.shares", "512"), ("cpu.cfs_quota_us", "20000"), ("cpu.cfs_period_us", "50000"),
                        ("pids.max", "90")):
        assert containers.in_group("box", file) == value, file

    def set_item(key, *values):
        web.call("SetConfigItem", "(sasa{sv})", key, list(values), {})

    set_item("lxc.cgroup2.memory.max", "32M")
    assert containers.in_group("box", "memory.limit_in_bytes") == str(32 * MIB)
    set_item("lxc.cgroup2.pids.max", "70")
    assert containers.in_group("box", "pids.max") == "90" and web.get("NeedsRestart") == []
    with refused("InvalidArgument") as caught:
        set_item("lxc.cgroup2.cpu.weight", "0")
    assert "lxc.cgroup2.cpu.weight" in caught[0].message
    assert web.call("GetConfigItem", "(s)", "lxc.cgroup2.cpu.weight") == ["50"] and web.get("NeedsRestart") == []
    # There is nothing like it here, and nobody is told that it holds.
    set_item("lxc.cgroup2.memory.oom.group", "0")
    assert web.get("NeedsRestart") == ["lxc.cgroup2.memory.oom.group"]


def test_a_translation_that_cannot_be_made_ends_the_start(bus):
    web = bus.create("box", template="busybox", config=["lxc.cgroup2.cpu.weight = much"])
    with refused("InvalidConfig") as caught:
        web.start()
    assert "lxc.cgroup2.cpu.weight" in caught[0].message


def test_swap_counts_from_the_memory_on(web):
    web.set_limit("memory.max", "64M")
    web.set_limit("memory.swap.max", "16M")
    assert containers.in_group("web", "memory.memsw.limit_in_bytes") == str(80 * MIB)
    assert web.get_limit("memory.swap.max") == str(16 * MIB)
    web.set_limit("memory.swap.max", "max")
    web.set_limit("memory.max", "max")
    with refused("InvalidArgument") as caught:
        web.set_limit("memory.swap.max", "16M")
    assert "memory.limit_in_bytes" in caught[0].message


def test_a_limit_limits(bus):
    web = bus.create("box", template="busybox", start=True)
    containers.booted(web)
    web.set_limit("pids.max", web.get_limit("pids.current"))
    status, _out, errors = web.execute("sh", "-c", "sleep 0 & wait")
    assert status != 0 and "can't fork" in errors
    web.set_limit("pids.max", "max")
    assert web.execute("sh", "-c", "sleep 0 & wait")[0] == 0


def test_a_saved_limit_replaces_its_line_and_holds_after_a_start(bus):
    web = bus.create("box", template="busybox")
    containers.append_config("box", "# limits", "  lxc.cgroup.memory.limit_in_bytes =  1G", "lxc.start.order = 4")
    before = config_of("box").decode()
    with refused("WrongState"):
        web.set_limit("memory.limit_in_bytes", "300M")
    assert config_of("box").decode() == before
    web.set_limit("memory.limit_in_bytes", "300M", persist=True)
    after = before.replace("  lxc.cgroup.memory.limit_in_bytes =  1G\n", "lxc.cgroup.memory.limit_in_bytes = 300M\n")
    assert config_of("box").decode() == after
    assert web.get_limit("memory.limit_in_bytes") == "300M" and web.get_limit("pids.max") == ""
    web.start()
    assert containers.in_group("box", "memory.limit_in_bytes") == str(300 * MIB)
    web.set_limit("cpu.weight", "200", persist=True)
    assert containers.in_group("box", "cpu.shares") == "2048"
    assert config_of("box").decode() == after + "lxc.cgroup.cpu.shares = 2048\n"
    web.kill()
    web.start()
    assert containers.in_group("box", "cpu.shares") == "2048" and web.get_limit("cpu.weight") == "200"
    web.kill()
    run("lxc-start", "-n", "box")
    assert containers.in_group("box", "cpu.shares") == "2048"


@pytest.mark.parametrize("key, value", [
    ("memory", "1"), ("", "1"), ("../memory.max", "1"), ("memory.max", ""), ("memory.max", "1\nlxc.hook.start = /x"),
    ("memory.max", "lots"), ("cpu.weight", "0"), ("cpu.shares", "1"), ("pids.max", "1" * 5000),
    ("freezer.state", "FROZEN"), ("cpuset.cpus", "4000"), ("devices.allow", "x 1:3 rwm"),
])
def test_a_wrong_limit_is_refused_and_changes_nothing(web, key, value):
    before = config_of("web"), web.get_limit("memory.max"), web.get_limit("cpu.weight")
    with refused("InvalidArgument"):
        web.set_limit(key, value, persist=True)
    assert (config_of("web"), web.get_limit("memory.max"), web.get_limit("cpu.weight")) == before


@pytest.mark.parametrize("key", ["memory.no_such_file", "memory.oom.group", "cgroup.max.depth.x", "nothing.max"])
def test_what_the_host_does_not_have_is_said(web, key):
    with refused("Unsupported") as caught:
        web.set_limit(key, "1")
    assert key.split(".")[0] in caught[0].message
    with refused("Unsupported"):
        web.get_limit(key)


def test_unknown_options_are_refused(web):
    with refused("InvalidArgument"):
        web.set_limit("pids.max", "max", forever=True)


def test_device_rules_are_added_and_taken_away(bus):
    web = bus.create("box", template="busybox", start=True, privileged=True)
    assert web.execute("mknod", "/dev/tun", "c", "10", "200")[0] == 0
    opening = "sh", "-c", ": </dev/tun"
    assert web.execute(*opening)[0] != 0
    tun = "c 10:200 rw"
    web.set_limit("devices.allow", tun, persist=True)
    assert tun in containers.in_group("box", "devices.list").splitlines() and web.execute(*opening)[0] == 0
    web.set_limit("devices.deny", tun)
    assert tun not in containers.in_group("box", "devices.list").splitlines() and web.execute(*opening)[0] != 0
    assert config_of("box").decode().endswith(f"lxc.cgroup.devices.allow = {tun}\n")


def test_usage_is_told_at_once(box):
    usage = box.resources("GetUsage")
    for key in ("cpu_ns", "memory", "memory_peak", "pids", "io_read", "io_write"):
        assert usage[key] >= 0, key
    assert usage["memory_peak"] >= usage["memory"] > 0 and "memory_limit" not in usage
    box.set_limit("memory.max", "128M")
    assert box.resources("GetUsage")["memory_limit"] == 128 * MIB
    # Stock LXC beside hierarchies of version 1 has nothing to do with version 2.
    if box.by_gantry and glob.glob("/sys/fs/cgroup/**/lxc.payload.box/cpu.pressure", recursive=True):
        assert 0 <= box.resources("GetUsage")["pressure_cpu"] <= 100
    box.kill()
    with refused("WrongState"):
        box.resources("GetUsage")


def test_limits_follow_a_container_that_others_start_and_stop(bus):
    containers.create_stock("box")
    web = bus.container("box")
    run("lxc-start", "-n", "box")
    web.set_limit("pids.max", "90")
    run("lxc-stop", "-k", "-n", "box")
    until(lambda: web.state == "STOPPED")
    with refused("WrongState"):
        web.set_limit("pids.max", "90")
