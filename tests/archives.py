"""Archives of root file systems, good and bad, and the ways a client hands them over."""

import io
import os
import tarfile
import threading
from contextlib import contextmanager, suppress

import gantry

# In place of busybox's own init, which takes two seconds to stop.
INIT = b"#!/bin/sh\ntrap 'exit 0' PWR\nwhile :; do sleep 3600 & wait; done\n"


class Archive:
    """A root file system as a tar, with busybox and an init; more can be added."""

    def __init__(self, compression="", base=True, prefix="./"):
        self.buffer = io.BytesIO()
        self.prefix = prefix
        more = {"compresslevel": 1} if compression == "gz" else {"preset": 0} if compression == "xz" else {}
        self.tar = tarfile.open(fileobj=self.buffer, mode=f"w:{compression}" if compression else "w",
                                format=tarfile.GNU_FORMAT, **more)
        if base:
            for folder in ("", "bin", "sbin", "etc", "dev", "proc", "sys", "tmp", "root", "run", "var"):
                self.folder(folder)
            with open("/bin/busybox", "rb") as program:
                self.file("bin/busybox", program.read(), mode=0o755)
            for applet in ("sh", "sleep", "cat", "ls", "id", "stat", "tty", "test", "true", "hostname"):
                self.link(f"bin/{applet}", "busybox")
            self.file("sbin/init", INIT, mode=0o755)
            self.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")

    def member(self, name, kind, data=b"", mode=0o644, uid=0, gid=0, linkname="", major=0, minor=0):
        info = tarfile.TarInfo(self.prefix + name if not name.startswith("/") else name)
        info.type, info.mode, info.uid, info.gid = kind, mode, uid, gid
        info.linkname, info.devmajor, info.devminor = linkname, major, minor
        info.size = len(data)
        self.tar.addfile(info, io.BytesIO(data))

    def folder(self, name, mode=0o755, **more):
        self.member(name, tarfile.DIRTYPE, mode=mode, **more)

    def file(self, name, data=b"", **more):
        self.member(name, tarfile.REGTYPE, data, **more)

    def link(self, name, to):
        self.member(name, tarfile.SYMTYPE, linkname=to, mode=0o777)

    def hard_link(self, name, to):
        self.member(name, tarfile.LNKTYPE, linkname=to)

    def device(self, name, major, minor, block=False, **more):
        self.member(name, tarfile.BLKTYPE if block else tarfile.CHRTYPE, major=major, minor=minor, **more)

    def bytes(self):
        self.tar.close()
        return self.buffer.getvalue()


@contextmanager
def stream(data):
    """The read end of a pipe that the bytes come through."""
    out, into = os.pipe()

    def write():
        # A reader that has seen enough closes its end.
        with suppress(BrokenPipeError):
            write_all(into, data)
        os.close(into)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield out
    finally:
        os.close(out)
        writer.join()


@contextmanager
def file_of(data):
    """A descriptor open for reading on a file with these bytes."""
    fd = os.memfd_create("archive")
    try:
        write_all(fd, data)
        os.lseek(fd, 0, os.SEEK_SET)
        copy = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
        try:
            yield copy
        finally:
            os.close(copy)
    finally:
        os.close(fd)


def write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]


def create_local(bus, name, fd, wait=60, **named):
    """Creates from the tar stream on `fd` and waits."""
    handle = gantry.GLib.Variant("h", 0)
    return bus.create(name, wait, fds=[fd], template="local", rootfs=handle, **named)


def start_create(bus, name, fd, **named):
    """As create_local, but gives the job at once."""
    handle = gantry.GLib.Variant("h", 0)
    path = bus.manager("CreateContainer", "(sa{sv})", name,
                       gantry.options(template="local", rootfs=handle, **named), fds=[fd])
    return gantry.Job(bus, path)
