"""SIGKILL of the helper, or of a monitor, at any moment."""

import glob
import os
import shutil
import signal
import threading
import time

import pytest

import containers
from archives import Archive, start_create, write_all
from containers import kill_helper
from gantry import Bus, GLib, LXC_PATH, options, run, until
from terminals import open_console, open_shell


@pytest.fixture(scope="module")
def web():
    with containers.shared("web") as container:
        yield container


def execute(container, *argv):
    put, out, err, session = container.call("Execute", "(asa{sv})", list(argv), {})
    return os.fdopen(put, "wb", 0), os.fdopen(out, "rb"), os.fdopen(err, "rb"), session


def sessions(bus):
    return {path for path in bus.objects() if "/session/" in path}


def test_a_running_container_goes_on(bus, web):
    pid, monitor = web.get("InitPid"), containers.monitor_pid(web)
    old = kill_helper(bus)
    assert os.path.exists(f"/proc/{pid}") and os.path.exists(f"/proc/{monitor}")
    assert bus.list()["web"] == "RUNNING"
    assert containers.helper_pid(bus) != old
    assert bus.container("web").get("InitPid") == pid
    assert containers.monitor_pid(web) == monitor


def test_a_console_and_a_shell_go_on_and_are_known(bus, web):
    box = bus.container("web")
    console, console_session = open_console(box)
    shell, shell_session = open_shell(box)
    with console, shell:
        console.send("\n")
        console.expect("login:")
        assert shell.ask("word=kept; echo $word") == "kept"
        kill_helper(bus)
        console.send("root\n")
        console.expect("# ")
        assert console.ask("hostname") == "web"
        assert shell.ask("echo $word") == "kept"
        assert {console_session, shell_session} <= sessions(bus)
        for terminal, session in ((console, console_session), (shell, shell_session)):
            bus.call(session, "Session", "Resize", "(qq)", 77, 33)
            assert terminal.ask("stty size") == "33 77"
        with bus.signals("Session", "Exited", shell_session) as exited:
            shell.send("exit 6\n")
            until(lambda: exited and exited[0][2] == (6,), pump=True)
        console.send("exit\n")
        console.expect("login:")
        bus.call(console_session, "Session", "Close")
        assert console.closed()
    until(lambda: not {console_session, shell_session} & sessions(bus))


def test_a_command_goes_on_and_its_status_is_delivered(bus, web):
    put, out, err, session = execute(bus.container("web"), "sh", "-c", "echo ready; read word; echo $word; exit 7")
    with put, out, err, bus.signals("Session", "Exited", session) as exited:
        assert out.readline() == b"ready\n"
        kill_helper(bus)
        put.write(b"later\n")
        assert out.readline() == b"later\n"
        # It has ended while no helper was there to hear of it.
        assert out.read() == b""
        assert not exited
        bus.list()
        until(lambda: exited and exited[0][2] == (7,), pump=True)
    until(lambda: session not in sessions(bus))


def test_sessions_keep_their_owner(bus, web):
    caller = Bus()
    shell, session = open_shell(caller.container("web"))
    with shell:
        shell.ask("true")
        kill_helper(bus)
        assert session in sessions(bus)
        caller.close()
        assert shell.closed()
    until(lambda: session not in sessions(bus))


def test_a_caller_that_left_while_no_helper_was_there_leaves_nothing(bus, web):
    caller = Bus()
    shell, session = open_shell(caller.container("web"))
    with shell:
        shell.ask("true")
        kill_helper(bus)
        caller.close()
        bus.list()
        assert shell.closed()
    until(lambda: session not in sessions(bus))


def test_session_numbers_are_not_given_twice(bus, web):
    shell, first = open_shell(bus.container("web"))
    with shell:
        kill_helper(bus)
        other, second = open_shell(bus.container("web"))
        assert first != second
        bus.call(second, "Session", "Close")
        assert other.closed()
        other.close()
        assert shell.ask("echo mine") == "mine"
        bus.call(first, "Session", "Close")


def test_signals_go_on_with_the_next_helper(bus, web):
    bus.create("box", template="busybox", start=True)
    kill_helper(bus)
    bus.objects()
    with bus.signals("Container", "StateChanged", bus.container("box").path) as seen:
        run("lxc-stop", "-k", "-n", "box")
        until(lambda: [1 for *_x, (_old, new) in seen if new == "STOPPED"], pump=True)


@pytest.mark.parametrize("delay", [0, 0.003, 0.01, 0.02, 0.04, 0.08])
def test_a_creation_cut_off_leaves_the_old_state_or_the_new_one(bus, delay):
    bus.list()
    pid = containers.helper_pid(bus)
    bus.connection.call(
        containers.gantry.NAME, containers.gantry.ROOT, f"{containers.gantry.NAME}.Manager", "CreateContainer",
        GLib.Variant("(sa{sv})", ("box", options(template="busybox"))), None,
        containers.gantry.Gio.DBusCallFlags.NONE, -1, None, None)
    bus.connection.flush_sync(None)
    time.sleep(delay)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not containers.ask_bus(bus, "NameHasOwner"))
    names = bus.list()
    until(lambda: not [name for name in os.listdir(LXC_PATH) if name.startswith(".")])
    assert names in ({}, {"box": "STOPPED"}) or "web" in names
    if "box" in names:
        bus.container("box").start()
    else:
        assert not os.path.exists(f"{LXC_PATH}/box")
        bus.create("box", template="busybox")


def test_a_creation_from_a_stream_cut_off_leaves_nothing(bus):
    before = containers.traces()
    out, into = os.pipe()
    try:
        write_all(into, Archive().bytes()[:60000])
        job = start_create(bus, "box", out)
        until(lambda: job.get("Bytes") > 0)
        kill_helper(bus)
        assert "box" not in bus.list()
        until(lambda: not [name for name in os.listdir(LXC_PATH) if name.startswith(".")])
        containers.assert_no_traces(before)
        bus.create("box", template="busybox")
    finally:
        os.close(out)
        os.close(into)


def test_42_leftovers_are_removed_only_where_they_are_ours(bus):
    kill_helper(bus)
    for name in (".gantry", ".backup", ".create"):
        os.makedirs(f"{LXC_PATH}/{name}/rootfs")
    try:
        bus.list()
        time.sleep(0.3)
        for name in (".gantry", ".backup", ".create"):
            assert os.path.isdir(f"{LXC_PATH}/{name}/rootfs")
    finally:
        for name in (".gantry", ".backup", ".create"):
            shutil.rmtree(f"{LXC_PATH}/{name}")


@pytest.mark.parametrize("delay", [0, 0.002, 0.004, 0.008, 0.016])
def test_a_start_cut_off_ends_running_or_stopped_never_half(bus, delay):
    box = bus.create("box", template="busybox")
    pid = containers.helper_pid(bus)
    box.bus.connection.call(
        containers.gantry.NAME, box.path, f"{containers.gantry.NAME}.Container", "Start",
        GLib.Variant("(a{sv})", ({},)), None, containers.gantry.Gio.DBusCallFlags.NONE, -1, None, None)
    bus.connection.flush_sync(None)
    time.sleep(delay)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not containers.ask_bus(bus, "NameHasOwner"))
    until(lambda: bus.list()["box"] in ("RUNNING", "STOPPED"))
    time.sleep(0.1)
    if bus.list()["box"] == "STOPPED":
        box.start()
    assert box.execute("hostname")[1] == "box\n"
    box.kill()


@pytest.mark.parametrize("privileged", [False, True], ids=["mapped", "privileged"])
def test_a_killed_monitor_takes_its_container_with_it(bus, privileged):
    before = containers.traces()
    with containers.bridge():
        box = bus.create("box", template="busybox", privileged=privileged, start=True,
                         config=["lxc.net.0.type = veth", "lxc.net.0.link = lxcbr0", "lxc.net.0.flags = up"])
        pid, monitor = box.get("InitPid"), containers.monitor_pid(box)
        bus.objects()
        with bus.signals("Container", "StateChanged", box.path) as seen:
            os.kill(monitor, signal.SIGKILL)
            until(lambda: [1 for *_x, (_o, new) in seen if new == "STOPPED"], pump=True)
        assert box.state == "STOPPED" and box.get("InitPid") == 0
        until(lambda: not os.path.exists(f"/proc/{pid}"))
        until(lambda: os.listdir("/sys/class/net/lxcbr0/brif") == [])
        containers.assert_no_traces(before | {"link lxcbr0"})
        box.start()
        assert box.execute("hostname")[1] == "box\n"
        box.kill()
    containers.assert_no_traces(before)


def test_an_init_that_is_not_root_ends_with_its_monitor(bus):
    """A change of ids must not make the kernel forget that it was to."""
    box = bus.create("box", template="busybox", start=True,
                     config=["lxc.init.uid = 1000", "lxc.init.gid = 1000", "lxc.init.cmd = /bin/sleep 100000"])
    pid = box.get("InitPid")
    os.kill(containers.monitor_pid(box), signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{pid}") or containers.status_of(pid, "State").startswith("Z"))
    until(lambda: box.state == "STOPPED")


@pytest.mark.parametrize("and_helper", [False, True], ids=["", "and-helper"])
def test_a_container_that_outlives_its_monitor_is_shown_and_can_be_stopped(bus, and_helper):
    before = containers.traces()
    box = bus.create("box", template="busybox", start=True, config=["lxc.monitor.signal.pdeath = 0"])
    containers.booted(box)
    pid, monitor = box.get("InitPid"), containers.monitor_pid(box)
    if and_helper:
        kill_helper(bus)
    os.kill(monitor, signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{monitor}"))
    bus.list()
    assert (box.state, box.get("InitPid")) == ("RUNNING", pid)
    for call in (box.start, lambda: box.call("Freeze", "(a{sv})", {}), lambda: box.destroy()):
        with containers.refused("WrongState") as caught:
            call()
    with containers.refused("WrongState") as caught:
        box.start()
    assert "monitor" in caught[0].message and "stop or kill it" in caught[0].message
    if and_helper:
        box.kill()
    else:
        box.stop(60, force=False)
    assert (box.state, box.get("InitPid")) == ("STOPPED", 0)
    assert not os.path.exists(f"/proc/{pid}") or containers.status_of(pid, "State").startswith("Z")
    containers.assert_no_traces(before)
    box.start()
    assert box.execute("hostname")[1] == "box\n"
    box.kill()


@pytest.mark.parametrize("where", ["lxc.cgroup.dir = own", "lxc.cgroup.relative = 1", "lxc.uts.name = suffixed"],
                         ids=["dir", "relative", "suffix"])
def test_groups_in_an_unusual_place_are_found_after_the_monitors_death(bus, where):
    """By the next helper, which shows the container, ends it, and leaves nothing."""
    before = containers.traces()
    box = bus.create("box", template="busybox", config=["lxc.monitor.signal.pdeath = 0", where])
    taken = next(path for path in glob.glob("/sys/fs/cgroup/*") if os.path.exists(f"{path}/cgroup.procs")) + "/lxc.payload.box"
    if where.endswith("suffixed"):
        os.mkdir(taken)
    try:
        box.start()
        pid, monitor = box.get("InitPid"), containers.monitor_pid(box)
        kill_helper(bus)
        os.kill(monitor, signal.SIGKILL)
        until(lambda: not os.path.exists(f"/proc/{monitor}"))
        until(lambda: (box.state, box.get("InitPid")) == ("RUNNING", pid))
        box.kill()
        assert box.state == "STOPPED"
        until(lambda: not glob.glob("/run/gantry/groups/*"), 20)
    finally:
        if os.path.exists(taken):
            os.rmdir(taken)
        for path in glob.glob("/sys/fs/cgroup/*/own"):
            os.rmdir(path)
    containers.assert_no_traces(before)


def test_the_helper_leaves_nothing_when_it_is_killed_amid_many_things(bus, web):
    """A last round of everything at once, several times."""
    for _ in range(3):
        shell, session = open_shell(bus.container("web"))
        put, out, err, command = execute(bus.container("web"), "cat")
        kill_helper(bus)
        assert {session, command} <= sessions(bus)
        with shell, put, out, err:
            put.write(b"through\n")
            put.close()
            assert out.read() == b"through\n"
            assert shell.ask("echo yes") == "yes"
            bus.call(session, "Session", "Close")
    assert bus.container("web").state == "RUNNING"


def test_what_is_asked_for_is_answered_by_a_helper_that_was_told_to_end(bus, tmp_path):
    """As at an upgrade: the old one leaves the bus to the next, and answers what it has."""
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/begun\nwhile ! [ -e {tmp_path}/go ]; do sleep 0.05; done\n")
    hook.chmod(0o755)
    box = bus.create("late")
    containers.append_config("late", f"lxc.hook.pre-start = {hook}")
    old, answers = containers.helper_pid(bus), []
    other = Bus()
    starting = threading.Thread(target=lambda: answers.append(other.container("late").start()))
    starting.start()
    until(lambda: (tmp_path / "begun").exists())
    os.kill(old, signal.SIGTERM)
    until(lambda: not containers.ask_bus(bus, "NameHasOwner"))
    (tmp_path / "go").touch()
    starting.join()
    other.close()
    assert answers == [None]
    assert containers.helper_pid(bus) != old and box.state == "RUNNING"
