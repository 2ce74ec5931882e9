"""The helper is killed while it has a program of LVM's or ZFS's change something: before the
program does it, which it then does all the same, and after it has. The next helper finds
what was there before or what was to be, and no volume is left over. In the machine only
(vm/test_volumes.py)."""

import os
import shutil
from contextlib import contextmanager

import pytest

from containers import refused
from gantry import LXC_PATH, run, until
from stores import BACKENDS, Snapshots, clone, mounted, place_for, wish
from test_cut_storage import attempt

VOLUMES = [backend for backend in BACKENDS if backend in ("lvm", "thin", "zfs")]
PROGRAMS = {"lvm": ["lvcreate", "lvchange", "lvremove", "lvrename"], "zfs": ["zfs"]}
# In place of each: counts what changes something, and kills the helper at one of those.
WRAPPER = """#!/bin/bash
case $1 in list | get) exec {real} "$@" ;; esac
count=$(($(cat /run/cut/count) + 1))
echo $count >/run/cut/count
[ $count = "$(cat /run/cut/at)" ] || exec {real} "$@"
if [ "$(cat /run/cut/when)" = before ]; then
    setsid sh -c 'kill -KILL "$1"; sleep 0.5' sh $PPID
    exec {real} "$@"
fi
{real} "$@"
status=$?
kill -KILL $PPID
exit $status
"""


def write(name, value):
    with open(f"/run/cut/{name}", "w") as file:
        file.write(str(value))


@contextmanager
def wrapped(backend):
    """Has the programs of a backend be ones that `cut` speaks of."""
    os.mkdir("/run/cut")
    write("count", 0)
    write("at", 0)
    write("when", "")
    names = PROGRAMS["zfs" if backend == "zfs" else "lvm"]
    try:
        for name in names:
            # Beside it, for /run executes nothing; those of LVM's are all lvm.
            run("mv", f"/usr/sbin/{name}", f"/usr/sbin/{name}.kept")
            real = f"/usr/sbin/{name}.kept" if name == "zfs" else f"/usr/sbin/lvm {name}"
            with open(f"/usr/sbin/{name}", "w") as file:
                file.write(WRAPPER.format(real=real))
            os.chmod(f"/usr/sbin/{name}", 0o755)
        yield
    finally:
        for name in names:
            if os.path.lexists(f"/usr/sbin/{name}.kept"):
                os.rename(f"/usr/sbin/{name}.kept", f"/usr/sbin/{name}")
        shutil.rmtree("/run/cut")


def volumes(backend):
    """All that there are, and what of ZFS they were cloned of."""
    if backend == "zfs":
        return set(run("zfs", "list", "-H", "-t", "all", "-o", "name", "-r", "lxc").stdout.split()) - {"lxc"}
    return set(run("lvs", "--noheadings", "-o", "lv_name", "lxc").stdout.split()) - {"thin"}


def content(container):
    """What stands in the file that tells states apart."""
    path = container.call("GetConfigItem", "(s)", "lxc.rootfs.path")[0]
    with mounted(*path.split(":", 1)) as root:
        with open(f"{root}/mark") as file:
            return file.read()


def mark(container, text):
    path = container.call("GetConfigItem", "(s)", "lxc.rootfs.path")[0]
    with mounted(*path.split(":", 1)) as root:
        with open(f"{root}/mark", "w") as file:
            file.write(text)


def settled(bus):
    """The next helper has looked round, and freed what was to be freed."""
    until(lambda: bus.list() is not None, 60)
    until(lambda: not [name for name in os.listdir(LXC_PATH) if name.startswith(".gantry")], 60)


def cut(bus, number, when, work):
    """Does it, with the helper killed at that program; whether it succeeded, and whether there was one."""
    write("count", 0)
    write("at", number)
    write("when", when)
    succeeded = attempt(work)
    settled(bus)
    with open("/run/cut/count") as file:
        reached = int(file.read()) >= number
    write("at", 0)
    return succeeded, reached


@pytest.mark.parametrize("backend", VOLUMES)
def test_a_helper_that_is_killed_leaves_no_volume_and_no_half_container(bus, backend):
    with place_for(bus, backend), wrapped(backend):
        before = volumes(backend)
        cuts = 0
        for number, when in ((1, "before"), (1, "after")):
            succeeded, reached = cut(bus, number, when, lambda: bus.create("web", template="busybox", **wish(backend)))
            cuts += reached
            assert not succeeded and bus.list() == {} and volumes(backend) == before, (number, when)
        web = bus.create("web", template="busybox", **wish(backend))
        mark(web, "old")
        snapshots = Snapshots(web)
        alone = volumes(backend)
        for number, when in ((1, "before"), (1, "after"), (2, "before"), (2, "after")):
            succeeded, reached = cut(bus, number, when, snapshots.take)
            cuts += reached
            assert content(web) == "old" and bus.list() == {"web": "STOPPED"}
            if reached:
                assert not succeeded and snapshots.names() == [] and volumes(backend) == alone, (number, when)
            for name in snapshots.names():
                snapshots.delete(name)
        snapshots.take("then")
        mark(web, "new")
        with_one = volumes(backend)
        for number, when in ((1, "before"), (2, "after"), (3, "before"), (3, "after"), (4, "after"), (5, "before")):
            succeeded, reached = cut(bus, number, when, lambda: snapshots.restore("then", safety=False))
            cuts += reached
            found = content(bus.container("web"))
            assert found == "old" or (found == "new" and not succeeded), (number, when)
            assert snapshots.names() == ["then"] and len(volumes(backend)) == len(with_one), volumes(backend)
            mark(web, "new")
            if not reached:
                break
        twin = clone(web, "twin")
        for number, when in ((1, "after"), (2, "before"), (2, "after")):
            cuts += cut(bus, number, when, twin.destroy)[1]
            if "twin" in bus.list():
                assert content(twin) == "new", (number, when)
            else:
                assert len(volumes(backend)) == len(with_one), volumes(backend)
                twin = clone(web, "twin")
        assert cuts > 8, "most were reached"
        twin.destroy()
        with refused("HasDependents"):
            web.destroy()
        assert content(web) == "new"
        web.destroy(snapshots=True)
        until(lambda: volumes(backend) == before, 60)
