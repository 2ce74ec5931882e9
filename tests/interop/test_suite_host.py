"""What LXC's own test suite asserts of what a container shares with its host, in our
words, of both engines: automount, locktests and mount_injection.

Elsewhere: cve-2019-5736 (security/test_processes.py).
"""

import fcntl
import os
import re
import threading
import time
from contextlib import contextmanager

import pytest

import containers
from engines import ENGINES, ranges_of_root
from gantry import LXC_PATH, run, until

LOCK = f"/run/lxc/lock{LXC_PATH}/.box"
SHARED = "/run/injected"


@pytest.fixture(params=ENGINES)
def engine(bus, request):
    containers.create_stock("box")
    return ENGINES[request.param](bus)


def test_a_lock_that_another_holds_is_waited_for(engine):
    os.makedirs(os.path.dirname(LOCK), exist_ok=True)
    released, after = threading.Event(), []

    def start():
        own = containers.gantry.Bus()
        after.append(type(engine)(own).start("box") and released.is_set())
        own.close()

    with open(LOCK, "w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        starting = threading.Thread(target=start)
        starting.start()
        # The time in which it would start if it did not look.
        time.sleep(0.5)
        released.set()
        fcntl.lockf(file, fcntl.LOCK_UN)
    starting.join(30)
    assert after == [True]


@contextmanager
def shared_mount():
    """A folder of the host, mounts in which go on to others."""
    os.mkdir(SHARED)
    run("mount", "-t", "tmpfs", "shared", SHARED)
    try:
        run("mount", "--make-shared", SHARED)
        yield
    finally:
        run("umount", "-R", SHARED)
        os.rmdir(SHARED)


@pytest.mark.parametrize("mapped", [False, True], ids=["privileged", "id-mapped"])
def test_mounts_of_the_host_reach_a_running_container_and_leave_it(engine, mapped):
    containers.append_config("box", f"lxc.mount.auto = shmounts:{SHARED}")
    if mapped:
        containers.append_config("box", "lxc.idmap = u 0 910000 9999", "lxc.idmap = g 0 910000 9999",
                                 "lxc.rootfs.options = idmap=container")
    with shared_mount(), ranges_of_root():
        assert engine.start("box")
        seen = lambda: engine.execute("box", "cat", "/dev/.lxc-mounts/new/file")[1]  # noqa: E731
        assert seen() == ""
        os.mkdir(f"{SHARED}/new")
        run("mount", "-t", "tmpfs", "new", f"{SHARED}/new")
        with open(f"{SHARED}/new/file", "w") as file:
            file.write("injected")
        assert seen() == "injected"
        assert engine.execute("box", "sh", "-c", "mkdir /mnt/here && mount --bind /dev/.lxc-mounts/new /mnt/here && "
                              "cat /mnt/here/file && umount /mnt/here")[1] == "injected"
        run("umount", f"{SHARED}/new")
        assert seen() == ""
        engine.kill("box")


@pytest.mark.parametrize("value", ["cgroup:ro:force", "cgroup:rw:force", "cgroup:mixed:force", "cgroup2:ro"])
def test_control_groups_are_mounted_as_stock_mounts_them(bus, value):
    found = control_groups(bus, f"lxc.mount.auto = {value}")
    assert found["gantry"] == found["stock"]


@pytest.mark.parametrize("value", ["cgroup", "cgroup:ro", "cgroup:rw", "cgroup:mixed", "cgroup-full:ro", "cgroup-full:rw",
                                   "cgroup-full:mixed"])
def test_those_of_the_host_are_mounted_where_there_is_no_namespace(bus, value):
    """With version 2 alone stock does not start; nothing is mounted then."""
    found = control_groups(bus, f"lxc.mount.auto = {value}", "lxc.namespace.keep = cgroup user")
    started, mounts = found["gantry"]
    if not found["stock"][0]:
        assert (started, mounts) == (True, [])
    elif value != "cgroup-full:mixed":
        assert (started, mounts) == found["stock"]
    else:
        # Stock leaves it all writable.
        assert {how for place, _kind, how in mounts if place.endswith("lxc.payload.box")} == {"rw"}
        assert ("/sys/fs/cgroup/pids", "cgroup", "ro") in mounts


def control_groups(bus, *lines):
    """By engine: whether a container starts, and what of control groups is mounted in it."""
    found = {}
    for name, engine in ENGINES.items():
        containers.create_stock("box", *lines)
        engine = engine(bus)
        started = engine.start("box")
        mounts = engine.execute("box", "cat", "/proc/self/mounts")[1].splitlines() if started else []
        found[name] = started, sorted(
            # The sandbox keeps what it runs in a group of its own.
            (place.replace("/unified/sandbox/", "/unified/"), kind, re.match("r[ow]", options).group())
            for _source, place, kind, options, *_ in map(str.split, mounts) if place.startswith("/sys/fs/cgroup"))
        if started:
            engine.kill("box")
        until(lambda: bus.container("box").state == "STOPPED")
        run("lxc-destroy", "-n", "box")
    return found
