"""A container's life: states, what changes them, and the signals that tell."""

import os
import signal
import socket
import struct
import time
from contextlib import suppress

import pytest

import containers
from archives import Archive, create_local, file_of
from containers import refused
from gantry import GLib, Job, LXC_PATH, Refused, options, run, until

MAY_FOLLOW = {
    "STOPPED": {"STARTING", "RUNNING"},
    "STARTING": {"RUNNING", "ABORTING", "STOPPED"},
    "RUNNING": {"STOPPING", "STOPPED", "FREEZING", "FROZEN", "STARTING"},
    "FREEZING": {"FROZEN"},
    "FROZEN": {"THAWED", "RUNNING", "STOPPING", "STOPPED"},
    "THAWED": {"RUNNING"},
    # A reboot may be over before the helper has asked for the next state.
    "STOPPING": {"STOPPED", "STARTING", "RUNNING"},
    "ABORTING": {"STOPPED"},
}


@pytest.fixture
def box(bus):
    """A small container of a shell as init, which ends at once on SIGPWR."""
    with file_of(Archive().bytes()) as fd:
        return create_local(bus, "box", fd)


@pytest.fixture
def changes(bus, box):
    """The StateChanged signals of the container so far, as (old, new)."""
    with bus.signals("Container", "StateChanged", box.path) as seen:
        class Seen:
            def until(self, last, seconds=10):
                with suppress(AssertionError):
                    until(lambda: seen and seen[-1][2][1] == last, seconds, pump=True)
                steps = [values for _at, _member, values in seen]
                assert steps and steps[-1][1] == last, f"no {last} after {steps}"
                seen.clear()
                for (_, new), (old, _) in zip(steps, steps[1:]):
                    assert new == old, steps
                for old, new in steps:
                    assert new in MAY_FOLLOW[old], steps
                return [steps[0][0]] + [new for _, new in steps]
        yield Seen()


def test_start_returns_when_running_and_kill_when_stopped(box, changes):
    box.start()
    assert box.state == "RUNNING"
    steps = changes.until("RUNNING")
    assert steps[0] == "STOPPED"
    pid = box.get("InitPid")
    assert containers.namespace(pid, "pid") != containers.namespace("self", "pid")
    box.kill()
    assert box.state == "STOPPED" and box.get("InitPid") == 0
    assert not os.path.exists(f"/proc/{pid}")
    assert changes.until("STOPPED")[0] == "RUNNING"


def test_the_state_property_changes_with_the_signal(bus, box):
    with bus.signals("org.freedesktop.DBus.Properties", "PropertiesChanged", box.path) as seen:
        def told(name, value):
            return [1 for _at, _m, (_i, changed, gone) in seen
                    if changed.get(name, None if name not in gone else box.get(name)) == value]
        box.start()
        until(lambda: told("State", "RUNNING"), pump=True)
        until(lambda: told("InitPid", box.get("InitPid")), pump=True)
        box.kill()
        until(lambda: told("State", "STOPPED"), pump=True)


def test_a_clean_stop_sends_the_halt_signal_and_init_ends_itself(box, changes):
    box.start()
    changes.until("RUNNING")
    containers.catches(box.get("InitPid"), signal.SIGPWR)
    begun = time.monotonic()
    box.stop()
    assert time.monotonic() - begun < 5
    assert box.state == "STOPPED"
    assert changes.until("STOPPED")[0] == "RUNNING"


def test_a_halt_signal_of_the_config_is_used(bus, box):
    box.call("SetConfigItem", "(sasa{sv})", "lxc.signal.halt", ["SIGUSR2"], {})
    with open(f"{LXC_PATH}/box/rootfs/sbin/init", "w") as file:
        file.write("#!/bin/sh\ntrap 'echo > /halted; exit 0' USR2\nwhile :; do sleep 3600 & wait; done\n")
    box.start()
    containers.catches(box.get("InitPid"), signal.SIGUSR2)
    box.stop(10)
    assert os.path.exists(f"{LXC_PATH}/box/rootfs/halted")


def test_a_stop_that_init_ignores_times_out_and_leaves_it_running(box):
    box.call("SetConfigItem", "(sasa{sv})", "lxc.signal.halt", ["SIGWINCH"], {})
    box.start()
    with refused("TimedOut"):
        box.stop(timeout_ms=GLib.Variant("x", 300))
    assert box.state == "RUNNING"
    box.stop(timeout_ms=GLib.Variant("x", 300), force=True)
    assert box.state == "STOPPED"


def test_a_stop_can_be_cancelled(box):
    box.call("SetConfigItem", "(sasa{sv})", "lxc.signal.halt", ["SIGWINCH"], {})
    box.start()
    job = Job(box.bus, box.call("Stop", "(a{sv})", {}))
    job.cancel()
    assert job.wait(5) == "cancelled"
    assert box.state == "RUNNING"


def test_reboot_gives_a_new_init_under_the_same_monitor(box, changes):
    box.call("SetConfigItem", "(sasa{sv})", "lxc.signal.reboot", ["SIGUSR1"], {})
    with open(f"{LXC_PATH}/box/rootfs/sbin/init", "w") as file:
        file.write("#!/bin/sh\ntrap 'busybox reboot -f' USR1\nwhile :; do sleep 3600 & wait; done\n")
    box.start()
    changes.until("RUNNING")
    pid, monitor = box.get("InitPid"), containers.monitor_pid(box)
    containers.catches(pid, signal.SIGUSR1)
    Job(box.bus, box.call("Reboot", "(a{sv})", {})).result()
    assert box.state == "RUNNING"
    assert box.get("InitPid") not in (0, pid)
    assert containers.monitor_pid(box) == monitor
    assert changes.until("RUNNING")[0] == "RUNNING"


@pytest.mark.parametrize("privileged", [False, True])
def test_reboot_from_inside_is_noticed(bus, privileged):
    box = bus.create("busy", template="busybox", start=True, privileged=privileged)
    pid = box.get("InitPid")
    box.execute("sh", "-c", "reboot -f &")
    until(lambda: box.get("InitPid") not in (0, pid) and box.state == "RUNNING")
    assert not os.path.exists(f"/proc/{pid}")
    assert box.execute("hostname")[1] == "busy\n"


@pytest.mark.parametrize("command", ["poweroff -f", "halt -f"])
def test_halt_from_inside_stops_it(bus, command):
    box = bus.create("busy", template="busybox", start=True)
    with bus.signals("Container", "StateChanged", box.path) as seen:
        bus.objects()
        fds = box.call("Execute", "(asa{sv})", ["sh", "-c", command + " &"], {})
        for fd in fds[:3]:
            os.close(fd)
        until(lambda: any(values[1] == "STOPPED" for _a, _m, values in seen), pump=True)
    assert box.state == "STOPPED"


def test_busybox_halts_and_reboots_cleanly(bus):
    box = bus.create("busy", template="busybox", start=True)
    pid = box.get("InitPid")
    containers.booted(box)
    Job(bus, box.call("Reboot", "(a{sv})", {})).result(20)
    assert box.get("InitPid") not in (0, pid) and box.state == "RUNNING"
    containers.booted(box)
    box.stop(20)
    assert box.state == "STOPPED"


def test_freeze_stops_every_process_and_unfreeze_lets_them_go_on(box, changes):
    box.start()
    changes.until("RUNNING")
    put, out, err, session = box.call(
        "Execute", "(asa{sv})", ["sh", "-c", "while :; do echo x >> /count; sleep 0.01; done"], {})
    count = f"{LXC_PATH}/box/rootfs/count"
    until(lambda: os.path.exists(count) and os.path.getsize(count) > 4)
    box.call("Freeze", "(a{sv})", {})
    assert box.state == "FROZEN"
    assert changes.until("FROZEN")[0] == "RUNNING"
    size = os.path.getsize(count)
    time.sleep(0.1)
    assert os.path.getsize(count) == size
    assert "FROZEN" in run("lxc-info", "-n", "box", "-s").stdout
    box.call("Unfreeze", "(a{sv})", {})
    assert box.state == "RUNNING"
    assert changes.until("RUNNING")[0] == "FROZEN"
    until(lambda: os.path.getsize(count) > size)
    for fd in (put, out, err):
        os.close(fd)
    box.bus.call(session, "Session", "Close")


def test_a_frozen_container_can_be_killed(box):
    box.start()
    box.call("Freeze", "(a{sv})", {})
    box.kill()
    assert box.state == "STOPPED"


def test_wait_answers_at_once_later_or_with_timed_out(bus, box):
    assert box.wait("STOPPED", "RUNNING") == "STOPPED"
    begun = time.monotonic()
    with refused("TimedOut"):
        box.wait("RUNNING", seconds=0.3)
    assert 0.25 < time.monotonic() - begun < 3
    with containers.background("sh", "-c", "sleep 0.3; exec lxc-start -n box") as later:
        assert box.wait("RUNNING", "FROZEN") == "RUNNING"
        later.wait()
    box.kill()
    assert box.wait("STOPPED") == "STOPPED"
    with refused("InvalidArgument"):
        box.wait("SLEEPING")


def test_init_that_ends_at_once_is_no_failure_of_the_start(box, changes):
    with open(f"{LXC_PATH}/box/rootfs/sbin/init", "w") as file:
        file.write("#!/bin/sh\nexit 0\n")
    box.start()
    assert box.wait("STOPPED") == "STOPPED"
    changes.until("STOPPED")
    box.start()
    assert box.wait("STOPPED") == "STOPPED"


def test_destroy_removes_the_object_and_the_folder(bus, box):
    bus.objects()
    with bus.signals("org.freedesktop.DBus.ObjectManager", "InterfacesRemoved") as removed:
        box.destroy()
        until(lambda: [1 for _at, _m, (path, _) in removed if path == box.path], pump=True)
    assert not os.path.exists(f"{LXC_PATH}/box")
    with pytest.raises(Refused):
        box.get("State")
    with refused("NotFound"):
        bus.manager("GetContainer", "(s)", "box")


def test_destroy_keeps_storage_that_is_not_managed(bus, box):
    kept = f"{LXC_PATH}/kept"
    os.rename(f"{LXC_PATH}/box/rootfs", kept)
    try:
        box.call("SetConfigItem", "(sasa{sv})", "lxc.rootfs.path", [f"dir:{kept}"], {})
        box.call("SetConfigItem", "(sasa{sv})", "lxc.rootfs.managed", ["0"], {})
        box.destroy()
        assert os.path.exists(f"{kept}/sbin/init")
    finally:
        run("rm", "-rf", kept)


def test_rename_moves_folder_object_and_what_the_config_says(bus, box):
    box.call("Rename", "(sa{sv})", "crate", {})
    assert bus.list() == {"crate": "STOPPED"}
    crate = bus.container("crate")
    assert crate.call("GetConfigItem", "(s)", "lxc.uts.name") == ["crate"]
    crate.start()
    assert crate.execute("hostname")[1] == crate.execute("cat", "/etc/hostname")[1] == "crate\n"
    with refused("WrongState"):
        crate.call("Rename", "(sa{sv})", "again", {})
    crate.kill()
    containers.write_container("taken", f"lxc.rootfs.path = dir:{LXC_PATH}/taken/rootfs\n")
    with refused("Exists"):
        crate.call("Rename", "(sa{sv})", "taken", {})
    with refused("InvalidName"):
        crate.call("Rename", "(sa{sv})", "../x", {})


def test_the_managers_methods_by_name(bus, box):
    for name in ("box", "system/box"):
        bus.manager("StartContainer", "(sa{sv})", name, {})
        bus.manager("FreezeContainer", "(sa{sv})", name, {})
        assert box.state == "FROZEN"
        bus.manager("UnfreezeContainer", "(sa{sv})", name, {})
        containers.catches(box.get("InitPid"), signal.SIGPWR)
        Job(bus, bus.manager("StopContainer", "(sa{sv})", name, options())).result()
        bus.manager("StartContainer", "(sa{sv})", name, {})
        bus.manager("KillContainer", "(sa{sv})", name, {})
        assert box.state == "STOPPED"
    Job(bus, bus.manager("DestroyContainer", "(sa{sv})", "box", {})).result()
    for method in ("StartContainer", "KillContainer", "FreezeContainer", "DestroyContainer"):
        with refused("NotFound"):
            bus.manager(method, "(sa{sv})", "box", {})


def test_an_ephemeral_container_is_gone_after_its_stop(bus):
    with file_of(Archive().bytes()) as fd:
        box = create_local(bus, "brief", fd, ephemeral=True, start=True)
    assert box.get("Ephemeral") is True
    box.kill()
    until(lambda: "brief" not in bus.list())
    assert not os.path.exists(f"{LXC_PATH}/brief")


def test_the_monitor_hands_signals_on_to_init(box):
    box.start()
    containers.catches(box.get("InitPid"), signal.SIGPWR)
    os.kill(containers.monitor_pid(box), signal.SIGPWR)
    assert box.wait("STOPPED", seconds=5) == "STOPPED"


def test_one_that_somebody_began_to_freeze_can_go_on_and_be_stopped(box):
    """An lxc-freeze that was killed amid its work leaves FREEZING behind."""
    def begin_to_freeze():
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"\0{LXC_PATH}/box/command")
            client.sendall(struct.pack("iiQ", 12, 0, 5))
            client.recv(16, socket.MSG_WAITALL)
        until(lambda: box.state == "FREEZING")

    box.start()
    begin_to_freeze()
    box.call("Unfreeze", "(a{sv})", {})
    assert box.state == "RUNNING" and box.execute("true")[0] == 0
    begin_to_freeze()
    box.stop(20, force=False)
    assert box.state == "STOPPED"
