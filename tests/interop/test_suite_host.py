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
    found = {}
    for name, engine in ENGINES.items():
        containers.create_stock("box", f"lxc.mount.auto = {value}")
        engine = engine(bus)
        started = engine.start("box")
        mounts = engine.execute("box", "cat", "/proc/self/mounts")[1].splitlines() if started else []
        found[name] = started, sorted(
            (place, kind, re.match("r[ow]", options).group()) for _source, place, kind, options, *_ in map(str.split, mounts)
            if place.startswith("/sys/fs/cgroup"))
        if started:
            engine.kill("box")
        until(lambda: bus.container("box").state == "STOPPED")
        run("lxc-destroy", "-n", "box")
    assert found["gantry"] == found["stock"]
