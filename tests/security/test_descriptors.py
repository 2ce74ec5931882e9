"""Item 28: file descriptors that a client hands over may be of any kind."""

import os
import socket
import tempfile
import time

import pytest

import containers
from archives import Archive, file_of, start_create
from containers import refused
from gantry import GLib, Job, LXC_PATH, options

REFUSALS = ("InvalidArgument", "VerificationFailed", "Failed")


@pytest.fixture(autouse=True)
def helper_lives(bus):
    pid = containers.helper_pid(bus)
    yield
    assert containers.helper_pid(bus) == pid
    assert [name for name in os.listdir(LXC_PATH) if name.startswith(".gantry")] == []


def both(bus, fd):
    """The two calls that take an archive."""
    yield lambda: outcome(start_create(bus, "box", fd))
    yield lambda: outcome(Job(bus, bus.manager("ImportContainer", "(hsa{sv})", 0, "box", options(), fds=[fd])))


def outcome(job):
    """The job's result; one that does not end is cancelled, so that others can be tried."""
    try:
        job.result(10)
    finally:
        if job.get("State") == "running":
            job.cancel()
            job.wait()


@pytest.mark.parametrize("open_it", [
    lambda: os.open("/etc", os.O_RDONLY | os.O_DIRECTORY),
    lambda: os.open("/etc/passwd", os.O_PATH),
    lambda: os.open(tempfile.mkstemp()[1], os.O_WRONLY),
    lambda: os.open("/dev/null", os.O_WRONLY),
    lambda: os.open("/dev/null", os.O_RDONLY),
    lambda: os.pipe()[1],
    lambda: os.memfd_create("empty"),
    lambda: os.open("/proc/self/mem", os.O_RDONLY),
    lambda: os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY),
    lambda: os.eventfd(0),
    lambda: os.pidfd_open(os.getpid()),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach(),
    lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).detach(),
], ids=["folder", "path", "write-only", "null write-only", "null", "pipe's write end", "empty", "memory", "terminal",
        "eventfd", "pidfd", "datagram", "unconnected"])
def test_28_a_descriptor_of_the_wrong_kind_is_refused(bus, open_it):
    fd = open_it()
    try:
        for call in both(bus, fd):
            with refused(*REFUSALS) as caught:
                call()
            assert caught[0].message
            assert bus.list() == {}
    finally:
        os.close(fd)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/urandom"])
def test_28_a_stream_without_end_ends(bus, path):
    fd = os.open(path, os.O_RDONLY)
    try:
        for call in both(bus, fd):
            begun = time.monotonic()
            with refused(*REFUSALS, "NoSpace"):
                call()
            assert time.monotonic() - begun < 20
    finally:
        os.close(fd)
    assert bus.list() == {}


def test_28_a_fifo_that_hangs_holds_up_nobody(bus):
    path = "/run/hanging"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR)
    try:
        jobs = [start_create(bus, f"box{number}", fd) for number in range(3)]
        begun = time.monotonic()
        for _ in range(5):
            bus.manager("ListContainers", "(a{sv})", {}, timeout=5)
        bus.create("other", template="busybox")
        assert time.monotonic() - begun < 5
        assert [job.get("State") for job in jobs] == ["running"] * 3
        for job in jobs:
            job.cancel()
            assert job.wait(5) == "cancelled"
    finally:
        os.close(fd)
        os.unlink(path)


def test_28_an_archive_cut_short_while_it_is_read(bus):
    """A file that its owner truncates meanwhile must not fault the reader."""
    path = tempfile.mkstemp()[1]
    archive = Archive()
    archive.file("big", os.urandom(1 << 25))
    with open(path, "wb") as file:
        file.write(archive.bytes())
    fd = os.open(path, os.O_RDONLY)
    try:
        job = start_create(bus, "box", fd)
        os.truncate(path, 100_000)
        assert job.wait(20) in ("failed", "done")
        if job.get("State") == "failed":
            assert bus.list() == {}
    finally:
        os.close(fd)
        os.unlink(path)


def test_28_a_handle_without_a_descriptor_makes_nothing(bus):
    """A handle beyond those sent, and none at all."""
    with file_of(Archive().bytes()) as fd:
        for handle, fds in ((7, [fd]), (0, [])):
            try:
                job = bus.manager("CreateContainer", "(sa{sv})", "box",
                                  options(template="local", rootfs=GLib.Variant("h", handle)), fds=fds, timeout=5)
                Job(bus, job).result(10)
            except Exception:
                assert bus.list() == {}
            else:
                raise AssertionError("a descriptor that was never sent became a container")


def test_28_many_descriptors_do_not_stay_open(bus):
    pid = containers.helper_pid(bus)
    before = len(os.listdir(f"/proc/{pid}/fd"))
    for _ in range(20):
        with file_of(b"this is no archive") as fd, refused(*REFUSALS):
            start_create(bus, "box", fd).result()
    bus.list()
    assert len(os.listdir(f"/proc/{pid}/fd")) <= before + 3
