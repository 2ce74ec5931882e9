"""Clocks of a container's own, mounts that reach it while it runs, cores that it does not share."""

import os

import pytest

import containers
from gantry import LXC_PATH, run, until

HOURS = 1000


def uptime(text):
    return float(text.split()[0])


@pytest.fixture(scope="module")
def late():
    """A container whose clocks have run long before it was there."""
    with containers.shared("late", config=[f"lxc.time.offset.boot = {HOURS}h", "lxc.time.offset.monotonic = -1s",
                                           "lxc.sched.core = 1"]) as box:
        yield box


def is_late(text):
    with open("/proc/uptime") as file:
        ahead = uptime(text) - uptime(file.read())
    return abs(ahead - HOURS * 3600) < 1800


def test_its_clock_is_the_containers_own(late):
    assert is_late(late.execute("cat", "/proc/uptime")[1])
    assert containers.namespace(late.get("InitPid"), "time") != containers.namespace("self", "time")
    with open("/proc/uptime") as file:
        assert uptime(file.read()) < HOURS * 3600


def test_stock_lxc_attach_sees_that_clock(late):
    assert is_late(run("lxc-attach", "-n", "late", "--", "cat", "/proc/uptime").stdout)


def test_a_reboot_keeps_the_clock(late):
    containers.booted(late)
    first = late.get("InitPid")
    late.execute("reboot")
    until(lambda: late.get("InitPid") not in (0, first), 30)
    assert is_late(late.execute("cat", "/proc/uptime")[1])


def test_shared_mounts_reach_a_running_container(bus, tmp_path):
    """shmounts of lxc.mount.auto: what is mounted below the host's folder shows up inside."""
    shared = tmp_path / "shared"
    shared.mkdir()
    run("mount", "--bind", str(shared), str(shared))
    try:
        run("mount", "--make-shared", str(shared))
        box = bus.create("box", template="busybox", privileged=True, start=True,
                         config=[f"lxc.mount.auto = proc sys shmounts:{shared}:/late"])
        (shared / "data").mkdir()
        run("mount", "-t", "tmpfs", "tmpfs", str(shared / "data"))
        (shared / "data" / "word").write_text("hello")
        assert box.execute("cat", "/late/data/word")[1] == "hello"
        assert not os.path.exists(f"{LXC_PATH}/box/rootfs/late/data")
        run("umount", str(shared / "data"))
        assert box.execute("cat", "/late/data/word")[0] != 0
    finally:
        run("umount", "-R", str(shared))
