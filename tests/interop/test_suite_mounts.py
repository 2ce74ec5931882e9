"""What LXC's own test suite asserts of a container's file systems, in our words, of both
engines: procsys, rootfs, rootfs_options, symlink and sys_mixed.
"""

import os
import shutil

import pytest

import containers
from engines import ENGINES, ranges_of_root
from gantry import LXC_PATH

ROOT = f"{LXC_PATH}/box/rootfs"


@pytest.fixture(params=ENGINES)
def engine(bus, request):
    containers.create_stock("box")
    return ENGINES[request.param](bus)


def inside(engine, script):
    """Whether a script in the container succeeds."""
    return engine.execute("box", "sh", "-c", script)[0] == 0


def test_missing_proc_and_sys_are_made(engine):
    for folder in ("proc", "sys"):
        shutil.rmtree(f"{ROOT}/{folder}")
    assert engine.start("box")
    assert inside(engine, "test -e /proc/1/status && test -d /sys/class/net")


@pytest.mark.parametrize("options, writable", [("", True), ("rw", True), ("ro", False)])
def test_the_root_is_as_its_options_say(engine, options, writable):
    if options:
        containers.append_config("box", f"lxc.rootfs.options = {options}")
    assert engine.start("box")
    assert inside(engine, "echo > /written") == writable
    assert os.path.exists(f"{ROOT}/written") == writable


def test_nodev_and_nosuid_hold_for_the_root(engine):
    containers.append_config("box", "lxc.rootfs.options = nodev,nosuid,ro")
    assert engine.start("box")
    _status, mounts, _errors = engine.execute("box", "cat", "/proc/self/mounts")
    (options,) = {line.split()[3] for line in mounts.splitlines() if line.split()[1] == "/"}
    assert {"nodev", "nosuid", "ro"} <= set(options.split(","))


def test_an_id_mapped_root_is_written_with_its_own_ids(engine):
    """The tree keeps its owners, and what is written belongs to root outside, too."""
    with ranges_of_root():
        containers.append_config("box", "lxc.idmap = u 0 910000 9999", "lxc.idmap = g 0 910000 9999",
                                 "lxc.rootfs.options = idmap=container")
        assert engine.start("box")
        assert containers.status_of(engine.init_pid("box"), "Uid").split()[0] == "910000"
        assert inside(engine, "echo > /written")
        assert os.stat(f"{ROOT}/written").st_uid == 0
        engine.kill("box")


def test_sys_mixed_is_writable_for_networks_alone(engine):
    containers.append_config("box", "lxc.mount.auto = sys:mixed")
    assert engine.start("box")
    assert inside(engine, "grep -q ' /sys sysfs ro' /proc/self/mounts")
    assert inside(engine, "grep -q ' /sys/devices/virtual/net sysfs rw' /proc/self/mounts")


def entry(target, more=""):
    return f"lxc.mount.entry = /etc {target} none bind{more} 0 0"


@pytest.mark.parametrize("prepare, line, starts", [
    (lambda: os.symlink("/mnt", f"{ROOT}/link"), entry("link"), False),
    (lambda: (os.symlink("mnt", f"{ROOT}/link"), os.makedirs(f"{ROOT}/mnt/below")), entry("link/below"), False),
    (lambda: (shutil.rmtree(f"{ROOT}/proc"), os.makedirs(f"{ROOT}/mnt/x"), os.symlink("mnt/x", f"{ROOT}/proc")), "", False),
    (lambda: None, entry("made/deep", ",create=dir"), True),
    (lambda: os.makedirs(f"{ROOT}/there"), entry(f"{ROOT}/there"), True),
    (lambda: None, "lxc.mount.entry = /etc/hostname made none bind,create=file 0 0", True),
], ids=["a link", "through a link", "proc", "made folder", "absolute", "made file"])
def test_targets_that_are_links_are_refused(engine, prepare, line, starts):
    prepare()
    containers.append_config("box", line)
    assert engine.start("box") == starts
    if starts:
        place = line.split()[3].replace(ROOT, "").lstrip("/")
        assert inside(engine, f"test -e /{place}/hostname || grep -q . /{place}")

