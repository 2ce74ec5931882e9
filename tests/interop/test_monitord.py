"""What a monitor tells lxc-monitord: the messages in its FIFO, as lxc-monitor shows them."""

import os
import signal
from contextlib import contextmanager

import pytest

import containers
import wire
from gantry import LXC_PATH, Refused, run, until
from wire import STATES

FOLDER = f"/run/lxc{LXC_PATH}"


@contextmanager
def fifo():
    """A descriptor that reads what monitors write, in lxc-monitord's place."""
    os.makedirs(FOLDER, exist_ok=True)
    os.mkfifo(f"{FOLDER}/monitor-fifo", 0o600)
    fd = os.open(f"{FOLDER}/monitor-fifo", os.O_RDWR | os.O_NONBLOCK)
    try:
        yield fd
    finally:
        os.close(fd)
        os.unlink(f"{FOLDER}/monitor-fifo")


def read(fd):
    """(what, value) of each message, states by their names."""
    try:
        text = os.read(fd, 1 << 16)
    except BlockingIOError:
        return []
    return [("state", STATES[value]) if kind == 0 else ("exit", value) for kind, _name, value in wire.messages(text)]


def started_by(bus, who, name):
    box = bus.container(name)
    if who == "stock":
        run("lxc-start", "-n", name)
    else:
        box.start()
    return box


def life(bus, who, name, end):
    """What is told of a start, of freezing, and of an end."""
    with fifo() as fd:
        box = started_by(bus, who, name)
        run("lxc-freeze", "-n", name)
        run("lxc-unfreeze", "-n", name)
        end(box)
        seen = []
        until(lambda: seen.extend(read(fd)) or ("state", "STOPPED") in seen)
        return seen


def kill(box):
    run("lxc-stop", "-k", "-n", box.name)


def shut_down(box):
    containers.booted(box)
    run("lxc-stop", "-n", box.name, "-t", "20", "--nokill")


def kill_init(box):
    os.kill(box.get("InitPid"), signal.SIGKILL)


def reboot(box):
    containers.booted(box)
    pid = box.get("InitPid")
    run("lxc-stop", "-n", box.name, "-r", "-t", "20")
    until(lambda: box.get("InitPid") not in (0, pid) and box.state == "RUNNING")
    kill(box)


@pytest.mark.parametrize("starter", ["stock", "gantry"])
def test_gantry_tells_that_it_freezes(bus, starter):
    containers.create_stock("st")
    with fifo() as fd:
        box = started_by(bus, starter, "st")
        read(fd)
        box.call("Freeze", "(a{sv})", {})
        assert read(fd) == [("state", "FREEZING"), ("state", "FROZEN")]
        box.call("Unfreeze", "(a{sv})", {})
        assert read(fd) == [("state", "THAWED")]


@pytest.mark.parametrize("end", [kill, shut_down, kill_init, reboot])
def test_a_life_is_told_alike(bus, end):
    containers.create_stock("st")
    stock, own = (life(bus, who, "st", end) for who in ("stock", "gantry"))
    assert own == stock


def test_a_start_that_fails_is_told_alike(bus):
    containers.create_stock("st", "lxc.hook.pre-start = /bin/false")
    seen = []
    for start in (lambda: run("lxc-start", "-n", "st", check=False), lambda: started_by(bus, "gantry", "st")):
        with fifo() as fd:
            try:
                start()
            except Refused as error:
                assert error.name == "HookFailed"
            told = []
            until(lambda: told.extend(read(fd)) or ("state", "STOPPED") in told)
            seen.append(told)
    assert seen[1] == seen[0]


def test_who_does_not_read_the_fifo_holds_up_nobody(bus):
    containers.create_stock("st")
    with fifo() as fd:
        while True:
            try:
                os.write(fd, bytes(4096))
            except BlockingIOError:
                break
        box = started_by(bus, "gantry", "st")
        # Stock's lxc-freeze would wait here.
        box.call("Freeze", "(a{sv})", {})
        box.call("Unfreeze", "(a{sv})", {})
        kill(box)
        assert bus.list() == {"st": "STOPPED"}


def test_nothing_but_a_fifo_is_written_to(bus):
    containers.create_stock("st")
    os.makedirs(FOLDER, exist_ok=True)
    path, target = f"{FOLDER}/monitor-fifo", f"{FOLDER}/target"
    open(target, "w").close()
    try:
        for make in (os.link, os.symlink):
            make(target, path)
            started_by(bus, "gantry", "st").kill()
            assert os.path.getsize(path) == 0
            os.unlink(path)
    finally:
        for left in (path, target):
            if os.path.lexists(left):
                os.unlink(left)
