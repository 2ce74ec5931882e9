"""Where systemd runs, monitors and sessions are its transient units: with a pretended
one, what it is asked for and how they behave as its children.
"""

import glob
import json
import os
import signal
import sys
import threading

import pytest

import containers
import gantry
from archives import Archive, create_local, file_of
from containers import refused
from gantry import LXC_PATH, until

BOOTED = "/run/systemd/system"


@pytest.fixture
def units(bus, tmp_path):
    """The folder in which the pretended systemd keeps its records."""
    fake = os.path.join(os.path.dirname(__file__), "fake_systemd.py")
    os.makedirs(BOOTED)
    try:
        with containers.background(sys.executable, fake, str(tmp_path)):
            until(lambda: gantry.run("busctl", "--system", "status", "org.freedesktop.systemd1",
                                     check=False).returncode == 0)
            # The next helper finds systemd.
            containers.kill_helper(bus)
            yield tmp_path
            for name in bus.list():
                containers.destroy(name)
            # It is the pretended systemd that takes the units' groups away.
            until(lambda: not glob.glob("/sys/fs/cgroup/**/gantry-*.service", recursive=True), 30)
    finally:
        os.removedirs(BOOTED)
        containers.kill_helper(bus)


@pytest.fixture
def box(bus, units):
    with file_of(Archive().bytes()) as fd:
        return create_local(bus, "box-1", fd)


def record(units, name):
    with open(units / f"{name}.json") as file:
        return json.load(file)


def journal(units, name):
    with open(units / f"{name}.err") as file:
        return file.read().splitlines()


UNIT = "gantry-container-box\\x2d1.service"


def test_a_monitor_is_a_unit_and_no_child_of_the_helper(bus, units, box):
    box.start()
    asked = record(units, UNIT)
    assert asked["Slice"] == "gantry.slice" and asked["Delegate"] is True
    assert (asked["KillMode"], asked["KillSignal"]) == ("mixed", signal.SIGPWR)
    assert asked["CollectMode"] == "inactive-or-failed"
    assert bytes(asked["LogExtraFields"][0]) == b"CONTAINER=box-1"
    assert asked["RequiresMountsFor"] == [LXC_PATH]
    monitor = containers.monitor_pid(box)
    assert monitor == asked["pid"] and int(containers.status_of(monitor, "PPid")) != containers.helper_pid(bus)
    for pid, kind in ((monitor, "monitor"), (box.get("InitPid"), "payload")):
        with open(f"/proc/{pid}/cgroup") as file:
            (group,) = [line.strip()[3:] for line in file if line.startswith("0::")]
        assert group == f"/{UNIT}/lxc.{kind}.box-1"
    containers.kill_helper(bus)
    assert box.state == "RUNNING" and containers.monitor_pid(box) == monitor
    box.kill()
    until(lambda: not os.path.exists(f"/proc/{monitor}"))


def test_11_a_unit_runs_from_a_sealed_copy_with_an_environment_of_its_own(units, box):
    box.start()
    monitor = containers.monitor_pid(box)
    assert os.readlink(f"/proc/{monitor}/exe").startswith("/memfd:gantry-monitor")
    with open(f"/proc/{monitor}/environ", "rb") as file:
        names = {entry.split(b"=")[0] for entry in file.read().split(b"\0") if entry}
    assert names == {b"PATH", b"LC_ALL"}
    with pytest.raises(OSError):
        open(f"/proc/{monitor}/exe", "r+b").close()


def test_nothing_of_the_journal_reaches_the_container(units, box):
    box.start()
    init = box.get("InitPid")
    outside = os.stat(units / f"{UNIT}.err")
    for fd in os.listdir(f"/proc/{init}/fd"):
        there = os.stat(f"/proc/{init}/fd/{fd}")
        assert (there.st_dev, there.st_ino) != (outside.st_dev, outside.st_ino)


def test_a_session_is_a_unit_and_survives_the_helper(bus, units, box):
    box.start()
    terminal, session = box.call("OpenShell", "(a{sv})", {})
    number = session.rsplit("/", 1)[1]
    asked = record(units, f"gantry-session-{number}.service")
    assert asked["Slice"] == "gantry.slice" and "Delegate" not in asked
    containers.kill_helper(bus)
    os.write(terminal, b"echo st''ill here\n")
    seen = b""
    while b"still here" not in seen:
        seen += os.read(terminal, 1000)
    until(lambda: session in bus.objects())
    bus.call(session, "Session", "Close")
    os.close(terminal)
    until(lambda: not os.path.exists(f"/proc/{asked['pid']}/exe"))
    assert box.execute("sh", "-c", "echo again")[:2] == (0, "again\n")


def test_systemds_stop_shuts_the_container_down_by_its_own_signal(units, box):
    containers.append_config("box-1", "lxc.signal.halt = SIGUSR2")
    with open(f"{LXC_PATH}/box-1/rootfs/sbin/init", "w") as file:
        file.write("#!/bin/sh\ntrap 'echo > /halted; exit 0' USR2\nwhile :; do sleep 3600 & wait; done\n")
    box.start()
    containers.catches(box.get("InitPid"), signal.SIGUSR2)
    os.kill(containers.monitor_pid(box), signal.SIGPWR)
    box.wait("STOPPED")
    assert os.path.exists(f"{LXC_PATH}/box-1/rootfs/halted")
    assert any(line.startswith("<6>shutting down") for line in journal(units, UNIT))


def test_a_failure_is_reported_and_stands_in_the_journal(units, box):
    containers.append_config("box-1", "lxc.hook.pre-start = /bin/false")
    with refused("HookFailed"):
        box.start()
    assert any(line.startswith("<3>") and "pre-start" in line for line in journal(units, UNIT))
    assert box.state == "STOPPED"


def test_a_start_waits_for_the_last_units_end(bus, units, box, tmp_path):
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/begun\nwhile ! [ -e {tmp_path}/go ]; do sleep 0.05; done\n")
    hook.chmod(0o755)
    containers.append_config("box-1", f"lxc.hook.post-stop = {hook}")
    box.start()
    box.kill()
    until(lambda: (tmp_path / "begun").exists())
    other = gantry.Bus()
    starting = threading.Thread(target=other.container("box-1").start)
    starting.start()
    # It is asked again and again meanwhile, and refused each time.
    assert box.wait("STARTING", "RUNNING") == "STARTING"
    (tmp_path / "go").touch()
    starting.join()
    other.close()
    assert box.state == "RUNNING"
