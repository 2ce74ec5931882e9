"""A thin pool that is full and a disk that fails: errors in words, and nothing half left. In the machine only (vm/test_volumes.py)."""

import os
from contextlib import contextmanager

import pytest

import archives
from containers import refused
from gantry import LXC_PATH, run, until
from stores import Snapshots, clone, size


def volumes():
    """The volumes that are, as GROUP/VOLUME."""
    listed = run("lvs", "--noheadings", "-o", "vg_name,lv_name", "--separator", "/").stdout.split()
    return sorted(listed)


@contextmanager
def disk(mebibytes):
    """A disk below LVM whose data can be made to fail; a function that does it."""
    path = "/var/tmp/failing"
    with open(path, "wb") as file:
        file.truncate(mebibytes << 20)
    loop = run("losetup", "--show", "-f", path).stdout.strip()
    # Behind the beginning of the device below, where LVM would find its label, too.
    start = 2048
    sectors, whole = (mebibytes << 11) - start, f"linear {loop}"

    def table(*lines):
        run("dmsetup", "suspend", "--noflush", "failing")
        run("sh", "-ec", f"printf '%s\\n' '" + "' '".join(lines) + "' | dmsetup load failing")
        run("dmsetup", "resume", "failing")

    def fail(fails=True):
        # What LVM itself has noted is at the beginning, and goes on to be found.
        head = 2048
        rest = f"{head} {sectors - head} " + ("error" if fails else f"{whole} {start + head}")
        table(f"0 {head} {whole} {start}", rest)

    run("dmsetup", "create", "failing", "--table", f"0 {sectors} {whole} {start}")
    try:
        run("vgcreate", "-q", "bad", "/dev/mapper/failing")
        yield fail
    finally:
        run("sh", "-c", "vgremove -q -y -f bad; dmsetup remove --retry failing", check=False)
        run("losetup", "-d", loop, check=False)
        os.unlink(path)


def test_a_full_thin_pool_leaves_nothing(bus):
    run("lvcreate", "-q", "-y", "--type", "thin-pool", "-L", "24M", "-n", "small", "lxc")
    try:
        # Else the kernel waits a minute for more room.
        run("lvchange", "-q", "--errorwhenfull", "y", "lxc/small")
        before = volumes()
        archive = archives.Archive()
        archive.file("big", os.urandom(40 << 20))
        with archives.file_of(archive.bytes()) as fd:
            with refused("NoSpace", "Failed") as caught:
                archives.create_local(bus, "web", fd, backend="lvm", thinpool="small", fssize=size(128))
        assert any(word in caught[0].message for word in ("full", "space", "Input/output error")), caught[0].message
        until(lambda: os.listdir(LXC_PATH) == [], 60)
        assert volumes() == before
    finally:
        run("lvremove", "-q", "-y", "-f", "lxc/small")


def test_a_failing_disk_leaves_nothing_half_made(bus):
    with disk(192) as fail:
        web = bus.create("web", template="busybox", backend="lvm", vgname="bad", fssize=size(48))
        before = volumes()
        fail()
        for attempt in (lambda: bus.create("new", template="busybox", backend="lvm", vgname="bad", fssize=size(48)),
                        lambda: clone(web, "twin"), lambda: Snapshots(web).take()):
            with refused("Failed", "NotFound", "StartFailed", "NoSpace") as caught:
                attempt()
            assert len(caught[0].message) > 20, "a sentence"
            until(lambda: os.listdir(LXC_PATH) == ["web"], 60)
            assert volumes() == before
        assert Snapshots(web).list() == []
        fail(False)
        web.start()
        web.kill()
        web.destroy()
        assert not [name for name in volumes() if name.startswith("bad/")]
