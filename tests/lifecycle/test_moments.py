"""Stops, reboots and ends at moments at which nobody is prepared for them."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import containers
import gantry
from archives import Archive, start_create, write_all
from containers import kill_helper, refused
from gantry import LXC_PATH, until

# An init that listens only after a while, as every init does.
LATE = """#!/bin/sh
sleep 1
trap 'echo > /halted; exit 0' USR2
trap 'echo > /rebooted; reboot -f' USR1
while :; do sleep 0.2; done
"""


@pytest.fixture
def late(bus):
    box = bus.create("late", template="busybox", privileged=True,
                     config=["lxc.signal.halt = SIGUSR2", "lxc.signal.reboot = SIGUSR1", "lxc.init.cmd = /late"])
    write_init(LATE)
    return box


def write_init(text):
    path = f"{LXC_PATH}/late/rootfs/late"
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o755)


def has(name):
    return os.path.exists(f"{LXC_PATH}/late/rootfs/{name}")


def test_a_stop_right_after_the_start_is_heard_once_init_listens(late):
    late.start()
    late.stop(40, force=False)
    assert late.state == "STOPPED" and has("halted")


def test_a_reboot_right_after_the_start_is_heard_once_init_listens(bus, late):
    late.start()
    pid = late.get("InitPid")
    gantry.Job(bus, late.call("Reboot", "(a{sv})", gantry.options(force=False))).result(40)
    assert has("rebooted") and late.get("InitPid") not in (0, pid)


def test_a_shutdown_by_the_monitor_right_after_the_start_is_heard(late):
    late.start()
    os.kill(containers.monitor_pid(late), signal.SIGPWR)
    assert late.wait("STOPPED", seconds=40) == "STOPPED" and has("halted")


def test_an_init_that_dies_at_once_has_been_started(bus, late):
    write_init("#!/bin/sh\nexit 0\n")
    for _ in range(5):
        late.start()
        assert late.wait("STOPPED") == "STOPPED"


def test_kills_and_starts_at_once_leave_it_stopped_or_running(bus, late):
    """From three sides, again and again."""
    before = containers.traces()
    others = [gantry.Bus() for _ in range(3)]
    boxes = [other.container("late") for other in others]

    def refused_or_done(call):
        try:
            call()
        except gantry.Refused as error:
            return error.name
        return "done"

    with ThreadPoolExecutor(len(boxes)) as pool:
        for _ in range(10):
            calls = [boxes[0].start, boxes[1].start, boxes[2].kill]
            answers = list(pool.map(refused_or_done, calls))
            assert set(answers) <= {"done", "WrongState", "Cancelled"}, answers
            assert answers[:2] != ["done", "done"] or answers[2] == "done", "started twice"
            if until(lambda: late.state in ("STOPPED", "RUNNING") and late.state) == "RUNNING":
                late.kill()
            assert late.state == "STOPPED"
    for other in others:
        other.close()
    containers.assert_no_traces(before)


def test_a_name_that_is_being_given_is_busy(bus):
    out, into = os.pipe()
    try:
        write_all(into, Archive().bytes()[:60000])
        job = start_create(bus, "box", out)
        until(lambda: job.get("Bytes") > 0)
        with refused("Busy") as caught:
            bus.create("box", template="busybox")
        assert "box" in caught[0].message
        other = bus.create("other", template="busybox")
        with refused("Busy"):
            other.call("Rename", "(sa{sv})", "box", {})
        job.cancel()
        job.wait()
        bus.create("box", template="busybox")
    finally:
        os.close(out)
        os.close(into)


def test_what_a_write_left_that_was_cut_off_is_removed(bus):
    bus.create("box", template="busybox")
    kill_helper(bus)
    left, kept = f"{LXC_PATH}/box/.config.abcdefgh", f"{LXC_PATH}/box/.config.mine"
    for path in (left, kept):
        with open(path, "w") as file:
            file.write("lxc.uts.name = half")
    bus.list()
    until(lambda: not os.path.exists(left))
    assert os.path.exists(kept)
    bus.container("box").start()


@pytest.mark.parametrize("and_helper", [False, True], ids=["", "and-helper"])
def test_an_ephemeral_container_goes_also_when_its_monitor_was_killed(bus, and_helper):
    before = containers.traces()
    bus.create("kept", template="busybox", ephemeral=True)
    box = bus.create("box", template="busybox", ephemeral=True, start=True)
    monitor = containers.monitor_pid(box)
    if and_helper:
        kill_helper(bus)
    os.kill(monitor, signal.SIGKILL)
    until(lambda: set(bus.list()) == {"kept"}, 20)
    until(lambda: os.listdir(LXC_PATH) == ["kept"])
    time.sleep(0.5)
    assert bus.list() == {"kept": "STOPPED"}, "it has never run"
    containers.assert_no_traces(before)


def test_an_ephemeral_container_that_reboots_stays(bus):
    box = bus.create("box", template="busybox", ephemeral=True, start=True)
    pid = box.get("InitPid")
    box.execute("sh", "-c", "reboot -f &")
    until(lambda: box.get("InitPid") not in (0, pid))
    box.kill()
    until(lambda: bus.list() == {})
