"""Calls that a seccomp profile notifies of: what a proxy is told about them, and what
comes of its answers. Stock LXC says both."""

import array
import os
import socket
import struct
import threading
from contextlib import contextmanager

import pytest

import containers
from containers import refused
from gantry import run, until

PROFILE = "/run/proxy-profile"
SOCKET = "/run/proxy-socket"
# Reserved, pids of monitor and init, sizes of a call, an answer and its data, the cookie's length.
HEAD = struct.Struct("=QiiHHH2xQ")
CALL, ANSWER = 80, 24
EEXIST, ENOSYS, CONTINUE = "File exists", "Function not implemented", ""


class Proxy(threading.Thread):
    """Listens as Incus does, answers as `how` says, and keeps what it was told."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(address.replace("@", "\0"))
        self.listener.listen(8)
        self.how, self.told, self.accepted = "exists", [], 0
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            while True:
                data, control, _flags, _peer = connection.recvmsg(65536, 4096)
                if not data:
                    return
                fds = array.array("i")
                for _level, _kind, passed in control:
                    fds.frombytes(passed)
                files = [os.readlink(f"/proc/self/fd/{fd}") for fd in fds]
                for fd in fds:
                    os.close(fd)
                self.told.append((data, files))
                if self.how == "closes":
                    return
                connection.send(self.answer(data))

    def answer(self, data):
        (number,) = struct.unpack_from("=Q", data, HEAD.size)
        if self.how == "other call":
            number += 1
        going_on = self.how == "goes on"
        answer = data[:HEAD.size + CALL] + struct.pack("=QqiI", number, 0, 0 if going_on else -17, int(going_on))
        return b"nonsense" if self.how == "nonsense" else answer


@contextmanager
def proxy(address=SOCKET):
    made = Proxy(address)
    try:
        yield made
    finally:
        # A thread that accepts is not woken by a close.
        made.listener.shutdown(socket.SHUT_RDWR)
        made.listener.close()
        if os.path.exists(SOCKET):
            os.unlink(SOCKET)


@pytest.fixture
def box(bus):
    with open(PROFILE, "w") as file:
        file.write("2\ndenylist\nmkdir notify\nmkdirat notify\n")
    containers.create_stock("box", "lxc.init.cmd = /bin/sleep 100000", f"lxc.seccomp.profile = {PROFILE}")
    yield bus.container("box")
    os.unlink(PROFILE)


def start(box, engine):
    run("lxc-start", "-n", "box") if engine == "stock" else box.start()


def mkdir(box, by):
    """What mkdir says in the container; nothing when it made the directory."""
    if by == "lxc-attach":
        errors = run("lxc-attach", "-n", "box", "--", "mkdir", "/made", check=False).stderr
    else:
        errors = box.execute("mkdir", "/made")[2]
    made = f"{box.folder}/rootfs/made"
    if os.path.isdir(made):
        os.rmdir(made)
    return errors.strip().rpartition(": ")[2]


def heard(box, how):
    """What a proxy heard, without what differs each time."""
    data, files = how
    monitor, init = containers.monitor_pid(box), box.get("InitPid")
    reserved, *pids, call, answer, info, cookie = HEAD.unpack_from(data)
    number, pid, flags, syscall, arch = struct.unpack_from("=QIIiI", data, HEAD.size)
    (again, *rest) = struct.unpack_from("=QqiI", data, HEAD.size + CALL)
    assert pids == [monitor, init] and again == number
    assert files == [f"/proc/{pid}", f"/proc/{pid}/mem", "anon_inode:seccomp notify"]
    return reserved, call, answer, info, cookie, flags, syscall, arch, rest, data[HEAD.size + CALL + ANSWER:]


def test_a_proxy_decides_about_the_calls_of_both_engines(box):
    """Whoever started the container, for sessions of both. lxc-attach loses what listens now
    and then before a monitor has it, also one of stock LXC: then it is tried again."""
    containers.append_config("box", f"lxc.seccomp.notify.proxy = unix:{SOCKET}", "lxc.seccomp.notify.cookie = of box")
    seen = {}
    for engine in ("stock", "gantry"):
        with proxy() as decides:
            start(box, engine)
            for by in ("lxc-attach", "Execute"):
                for how, said in (("exists", EEXIST), ("goes on", CONTINUE), ("other call", EEXIST), ("nonsense", ENOSYS)):
                    decides.how = how
                    if by == "lxc-attach":
                        until(lambda: mkdir(box, by) == said, 30)  # noqa: B023
                    else:
                        assert mkdir(box, by) == said, (engine, how)
            seen[engine] = [heard(box, told) for told in decides.told]
            assert decides.accepted == 1
            box.kill()
    assert len(seen["gantry"]) >= 7 and set(map(str, seen["gantry"])) == set(map(str, seen["stock"]))


def test_a_proxy_that_is_gone_or_was_never_there(box):
    containers.append_config("box", "lxc.seccomp.notify.proxy = unix:@proxy-of-box")
    with refused("StartFailed") as caught:
        box.start()
    assert "lxc.seccomp.notify.proxy" in caught[0].message
    with proxy("@proxy-of-box") as decides:
        box.start()
        assert mkdir(box, "Execute") == EEXIST and len(decides.told) == 1
        decides.how = "closes"
        assert mkdir(box, "Execute") == ENOSYS
    assert mkdir(box, "Execute") == ENOSYS
    with proxy("@proxy-of-box"):
        assert mkdir(box, "Execute") == EEXIST
    box.kill()


@pytest.mark.parametrize("engine", ["stock", "gantry"])
def test_without_a_proxy_there_is_no_such_call(box, engine):
    start(box, engine)
    assert (mkdir(box, "lxc-attach"), mkdir(box, "Execute")) == (ENOSYS, ENOSYS)
    box.kill()


def test_a_reboot_listens_to_the_new_filter(bus, box):
    containers.append_config("box", f"lxc.seccomp.notify.proxy = unix:{SOCKET}", "lxc.init.cmd = /bin/own-init")
    with open(f"{box.folder}/rootfs/bin/own-init", "w") as file:
        file.write("#!/bin/sh\nmkdir /by-init 2>/told\ntrap 'reboot -f' INT\nwhile :; do sleep 1000 & wait; done\n")
    os.chmod(f"{box.folder}/rootfs/bin/own-init", 0o755)
    told = f"{box.folder}/rootfs/told"
    with proxy() as decides:
        box.start()
        until(lambda: os.path.exists(told) and EEXIST in open(told).read())
        os.unlink(told)
        before = box.get("InitPid")
        box.execute("reboot", "-f")
        until(lambda: os.path.exists(told) and EEXIST in open(told).read())
        assert box.get("InitPid") != before and len(decides.told) == 2
        box.kill()
