"""The template `local`: a root file system as a tar stream."""

import os
import subprocess
import time

import pytest

import containers
import image_server
from archives import Archive, create_local, file_of, start_create, stream, write_all
from containers import refused
from gantry import GLib, LXC_PATH, until


def compressed(kind):
    data = Archive("gz" if kind == "gz" else "xz" if kind == "xz" else "").bytes()
    if kind == "zst":
        return subprocess.run(["zstd", "-1", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout
    return data


@pytest.mark.parametrize("source", [file_of, stream], ids=["file", "pipe"])
@pytest.mark.parametrize("kind", ["plain", "gz", "xz", "zst"])
def test_an_archive_becomes_a_container_that_runs(bus, kind, source):
    with source(compressed(kind)) as fd:
        box = create_local(bus, "box", fd)
    box.start()
    assert box.execute("hostname")[1] == "box\n"
    assert box.get("Privileged") is False


def test_texts_of_an_image_may_come_along(bus):
    """As LXC's template takes them by -m: what it may say in the config, and where its name goes."""
    rootfs = Archive()
    rootfs.file("etc/motd", b"This is LXC_NAME.\n")
    texts = image_server.tar_xz({"config": "lxc.tty.max = 7\nlxc.hook.start-host = /bin/true\n",
                                 "templates": "/etc/motd\n", "create-message": "Log in as root.\n"})
    with file_of(rootfs.bytes()) as fd, file_of(texts) as more:
        with bus.signals("Job", "Log") as lines:
            box = bus.create("box", fds=[fd, more], template="local", rootfs=GLib.Variant("h", 0),
                             metadata=GLib.Variant("h", 1))
            until(lambda: any("start-host" in line for *_x, (line,) in lines), pump=True)
        assert any(line == "Log in as root." for *_x, (line,) in lines)
        with open(f"{LXC_PATH}/box/rootfs/etc/motd") as file:
            assert file.read() == "This is box.\n"
        config = containers.config_of("box").decode()
        assert "lxc.tty.max = 7" in config and "start-host" not in config
        assert sorted(os.listdir(box.folder)) == ["config", "rootfs"]
        with refused("InvalidArgument"):
            bus.create("other", fds=[fd], metadata=GLib.Variant("h", 0))


def rich():
    archive = Archive()
    archive.file("of-user", b"text", uid=1000, gid=1001, mode=0o640)
    archive.file("set-user", b"", mode=0o4755)
    archive.file("set-group", b"", mode=0o2755)
    archive.folder("sticky", mode=0o1777)
    archive.link("points-outside", "/etc/shadow")
    archive.hard_link("linked", "./of-user")
    archive.file("ümläut 'quoted' name", b"")
    archive.member("pipe", b"6", mode=0o600)
    archive.device("dev/null", 1, 3, mode=0o666)
    archive.device("dev/sda", 8, 0, block=True)
    archive.file("a" * 150, b"long")
    archive.file("huge-id", b"", uid=65535, gid=65535)
    return archive.bytes()


@pytest.mark.parametrize("privileged", [False, True], ids=["mapped", "privileged"])
def test_owners_modes_and_links_arrive(bus, privileged):
    with file_of(rich()) as fd:
        box = create_local(bus, "box", fd, privileged=privileged, start=True)
    root = f"{LXC_PATH}/box/rootfs"
    base = os.stat(f"{root}/sbin/init").st_uid
    assert (base == 0) == privileged
    info = os.stat(f"{root}/of-user")
    assert (info.st_uid, info.st_gid, info.st_mode & 0o7777) == (base + 1000, base + 1001, 0o640)
    assert info.st_ino == os.stat(f"{root}/linked").st_ino
    assert os.stat(f"{root}/set-user").st_mode & 0o7777 == 0o4755
    assert os.stat(f"{root}/set-group").st_mode & 0o7777 == 0o2755
    assert os.stat(f"{root}/sticky").st_mode & 0o7777 == 0o1777
    assert os.readlink(f"{root}/points-outside") == "/etc/shadow"
    assert os.path.exists(f"{root}/ümläut 'quoted' name") and os.path.exists(f"{root}/{'a' * 150}")
    assert os.stat(f"{root}/huge-id").st_uid == base + 65535
    assert not os.path.lexists(f"{root}/dev/sda")
    assert box.execute("stat", "-c", "%u %g %a", "/of-user")[1] == "1000 1001 640\n"


def test_members_without_the_leading_dot_are_the_same(bus):
    with file_of(Archive(prefix="").bytes()) as fd:
        box = create_local(bus, "box", fd, start=True)
    assert box.state == "RUNNING"


def test_progress_tells_bytes_and_stage(bus):
    data = Archive()
    data.file("big", os.urandom(1 << 24))
    with file_of(data.bytes()) as fd:
        size = os.fstat(fd).st_size
        job = start_create(bus, "box", fd)
        with bus.signals("org.freedesktop.DBus.Properties", "PropertiesChanged", job.path) as seen:
            assert job.wait() == "done"
            until(lambda: [1 for *_x, (_i, changed, _g) in seen if changed.get("State") == "done"]
                  or job.get("State") == "done", pump=True)
    assert job.get("Total") == size and job.get("Bytes") == size
    assert job.get("Progress") == 1.0


@pytest.fixture
def slow():
    """The read end of a pipe that has given part of an archive and stays open."""
    out, into = os.pipe()
    write_all(into, Archive().bytes()[:60000])
    yield out
    os.close(out)
    os.close(into)


def test_cancelling_a_creation_leaves_nothing(bus, slow):
    before = containers.traces()
    names = os.listdir(LXC_PATH)
    job = start_create(bus, "box", slow)
    until(lambda: job.get("Bytes") > 0)
    assert job.get("State") == "running" and job.get("CanCancel")
    assert "box" not in bus.list() or bus.list()["box"] == "STOPPED"
    begun = time.monotonic()
    job.cancel()
    assert job.wait(10) == "cancelled"
    assert time.monotonic() - begun < 5
    assert os.listdir(LXC_PATH) == names
    containers.assert_no_traces(before)
    assert "box" not in bus.list()


def test_a_name_being_made_is_taken(bus, slow):
    job = start_create(bus, "box", slow)
    until(lambda: job.get("Bytes") > 0)
    with refused("Exists", "Busy"):
        bus.create("box", template="busybox")
    job.cancel()
    job.wait()
    bus.create("box", template="busybox")


def test_a_creation_that_waits_for_its_stream_holds_up_nobody(bus, slow):
    job = start_create(bus, "box", slow)
    begun = time.monotonic()
    for _ in range(10):
        bus.list()
    bus.create("other", template="busybox", start=True)
    assert time.monotonic() - begun < 5
    job.cancel()
    job.wait()


def test_a_stream_that_goes_on_after_a_pause_is_taken_whole(bus):
    data = Archive().bytes()
    out, into = os.pipe()
    try:
        job = start_create(bus, "box", out)
        write_all(into, data[:1000])
        time.sleep(0.5)
        write_all(into, data[1000:])
        os.close(into)
        assert job.wait() == "done"
    finally:
        os.close(out)
    bus.container("box").start()


def test_a_job_of_work_done_stays_readable(bus):
    with file_of(Archive().bytes()) as fd:
        job = start_create(bus, "box", fd, start=GLib.Variant("b", True))
        assert job.wait() == "done"
    assert job.get("State") == "done" and job.get("ErrorName") == ""
