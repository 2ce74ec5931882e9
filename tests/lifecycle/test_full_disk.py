"""A full disk: NoSpace, and everything as it was. So it is on one that is read-only."""

import os

import pytest

import containers
from archives import Archive, create_local, file_of, stream
from containers import refused
from gantry import GLib, Job, LXC_PATH, options, run, until


@pytest.fixture
def disk(bus):
    """Mounts a small file system in place of the LXC path, for a helper of its own."""
    mounted = []

    def mount(text):
        containers.kill_helper(bus)
        run("mount", "-t", "tmpfs", "-o", text, "tmpfs", LXC_PATH)
        mounted.append(text)

    yield mount
    containers.kill_helper(bus)
    for _ in mounted:
        run("umount", LXC_PATH)
    bus.list()


def assert_no_space(bus, create):
    def free():
        now = os.statvfs(LXC_PATH)
        return now.f_bfree, now.f_ffree

    before = free()
    with refused("NoSpace") as caught:
        create()
    assert caught[0].message
    assert os.listdir(LXC_PATH) == []
    assert bus.list() == {}
    # A process that is ending may still hold what is gone.
    until(lambda: free() == before)


def test_creating_from_the_template(bus, disk):
    disk("size=500k")
    assert_no_space(bus, lambda: bus.create("box", template="busybox"))


@pytest.mark.parametrize("source", [file_of, stream], ids=["file", "pipe"])
def test_25_unpacking_an_archive(bus, disk, source):
    disk("size=4m")
    archive = Archive("gz")
    archive.file("big", os.urandom(1 << 20) * 8)
    with source(archive.bytes()) as fd:
        assert_no_space(bus, lambda: create_local(bus, "box", fd))


def test_25_a_small_archive_that_unpacks_to_very_much(bus, disk):
    disk("size=8m")
    archive = Archive("gz")
    archive.file("bomb", bytes(1 << 28))
    data = archive.bytes()
    assert len(data) < 1 << 22
    with file_of(data) as fd:
        assert_no_space(bus, lambda: create_local(bus, "box", fd))


def test_25_no_inodes_left(bus, disk):
    disk("size=64m,nr_inodes=60")
    archive = Archive()
    for number in range(100):
        archive.file(f"file{number}", b"")
    with file_of(archive.bytes()) as fd:
        assert_no_space(bus, lambda: create_local(bus, "box", fd))


def test_importing(bus, disk):
    disk("size=4m")
    archive = Archive(base=False)
    archive.file("config", b"lxc.rootfs.path = dir:/var/lib/lxc/old/rootfs\n")
    archive.folder("rootfs")
    archive.file("rootfs/big", bytes(1 << 23))
    with file_of(archive.bytes()) as fd:
        assert_no_space(bus, lambda: Job(bus, bus.manager(
            "ImportContainer", "(hsa{sv})", 0, "box", options(), fds=[fd])).result())


def test_changing_a_config_keeps_the_old_one(bus, disk):
    disk("size=100k")
    text = f"lxc.rootfs.path = dir:{LXC_PATH}/box/rootfs\nlxc.net.0.type = empty\n"
    containers.write_container("box", text)
    box = bus.container("box")
    _, revision = box.call("GetConfig")
    with open(f"{LXC_PATH}/box/rootfs/fill", "wb", 0) as file:
        with pytest.raises(OSError):
            while True:
                file.write(bytes(4096))
    with refused("NoSpace"):
        box.call("SetConfig", "(sta{sv})", text + "# more\n" * 2000, revision, {})
    assert containers.config_of("box").decode() == text
    assert sorted(os.listdir(f"{LXC_PATH}/box")) == ["config", "rootfs"]


def test_another_try_after_making_room_succeeds(bus, disk):
    disk("size=16m")
    with open(f"{LXC_PATH}/.fill", "wb") as file:
        file.write(bytes(15 << 20))
    with refused("NoSpace"):
        bus.create("box", template="busybox")
    os.unlink(f"{LXC_PATH}/.fill")
    box = bus.create("box", template="busybox", start=GLib.Variant("b", True))
    assert box.state == "RUNNING"
    box.kill()


def test_a_copy_leaves_the_others_room(bus, disk):
    """It would fit, but what is kept free for containers that run would be gone."""
    disk("size=32m")
    web = bus.create("web", template="busybox")
    kept = (32 << 20) // 20
    with open(f"{web.folder}/rootfs/big", "wb") as file:
        now = os.statvfs(LXC_PATH)
        free, there = now.f_bavail * now.f_frsize, (now.f_blocks - now.f_bfree) * now.f_frsize
        # Twice that, and half of what is kept.
        file.write(os.urandom((free - there - kept // 2) // 2))
    before = containers.tree(LXC_PATH)
    for copy in (lambda: Job(bus, web.call("Clone", "(sa{sv})", "two", {})).result(),
                 lambda: Job(bus, bus.call(web.path, "Snapshots", "Take", "(sa{sv})", "", {})).result()):
        with refused("NoSpace") as caught:
            copy()
        assert "kept free" in caught[0].message
        after = {path: kept for path, kept in containers.tree(LXC_PATH).items() if path != "web/snaps"}
        assert after == before


@pytest.mark.parametrize("how, error", [("full", "NoSpace"), ("read-only", "Failed")], ids=["full", "read-only"])
def test_containers_run_and_what_cannot_be_written_is_refused_whole(bus, disk, how, error):
    disk("size=32m")
    box = bus.create("box", template="busybox")
    if how == "full":
        with open(f"{LXC_PATH}/.fill", "wb", 0) as file, pytest.raises(OSError):
            while True:
                file.write(bytes(1 << 12))
    else:
        run("mount", "-o", "remount,ro", LXC_PATH)
    files, config = containers.tree(LXC_PATH), containers.config_of("box")

    def refuses(call):
        with refused(error) as caught:
            call()
        assert how == "full" or "Read-only" in caught[0].message
        assert (bus.list(), containers.config_of("box")) == ({"box": box.state}, config)

    def snapshot():
        Job(bus, bus.call(box.path, "Snapshots", "Take", "(sa{sv})", "", {})).result()

    refuses(lambda: box.call("SetConfigItem", "(sasa{sv})", "lxc.group", ["web"], {}))
    refuses(lambda: box.call("Rename", "(sa{sv})", "other", {}))
    refuses(snapshot)
    refuses(lambda: Job(bus, box.call("Clone", "(sa{sv})", "two", {})).result())
    # An empty folder for snapshots is none.
    assert {path: kept for path, kept in containers.tree(LXC_PATH).items() if path != "box/snaps"} == files
    # As with stock LXC.
    box.start()
    assert box.execute("hostname")[1] == "box\n"
    limit = box.get_limit("pids.max")
    refuses(lambda: box.set_limit("pids.max", "77", persist=True))
    assert box.get_limit("pids.max") == limit
    containers.booted(box)
    box.stop(60, force=False)
    assert box.state == "STOPPED"
    if how == "full":
        box.destroy()
        until(lambda: os.listdir(LXC_PATH) == [".fill"])
    else:
        refuses(box.destroy)
        assert containers.tree(LXC_PATH) == files
        run("mount", "-o", "remount,rw", LXC_PATH)
