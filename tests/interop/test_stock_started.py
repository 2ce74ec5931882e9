"""Gantry on a container that lxc-start runs."""

import os

import pytest

import containers
from gantry import GLib, Job, run, until
from terminals import open_console, open_shell


@pytest.fixture
def st(bus, tools):
    tools("lxc-create", "-n", "st", "-t", "busybox")
    tools("lxc-start", "-n", "st")
    return bus.container("st")


def test_it_is_running_with_its_pid(bus, st):
    assert bus.list() == {"st": "RUNNING"}
    assert str(st.get("InitPid")) == run("lxc-info", "-n", "st", "-pH").stdout.strip()
    assert st.get("NeedsRestart") == []


def test_kill(st):
    pid = st.get("InitPid")
    st.kill()
    assert st.state == "STOPPED" and not os.path.exists(f"/proc/{pid}")
    assert "STOPPED" in run("lxc-info", "-n", "st", "-s").stdout


def test_stop(st):
    containers.booted(st)
    st.stop(20)
    assert st.state == "STOPPED"


def test_reboot(st):
    pid = st.get("InitPid")
    containers.booted(st)
    Job(st.bus, st.call("Reboot", "(a{sv})", {})).result(20)
    assert st.get("InitPid") not in (0, pid) and st.state == "RUNNING"


def test_freeze_and_unfreeze(st):
    st.call("Freeze", "(a{sv})", {})
    assert st.state == "FROZEN" and "FROZEN" in run("lxc-info", "-n", "st", "-s").stdout
    st.call("Unfreeze", "(a{sv})", {})
    assert st.state == "RUNNING" and "RUNNING" in run("lxc-info", "-n", "st", "-s").stdout


def test_execute_is_inside(st):
    pid = st.get("InitPid")
    assert st.execute("sh", "-c", "hostname; exit 4") == (4, "st\n", "")
    for kind in ("pid", "mnt", "net", "uts", "ipc"):
        assert st.execute("readlink", f"/proc/self/ns/{kind}")[1].strip() == containers.namespace(pid, kind)
    assert st.execute("grep", "CapBnd", "/proc/self/status")[1].split()[1] == containers.status_of(pid, "CapBnd")


def test_a_shell(st):
    shell, session = open_shell(st)
    with shell:
        assert shell.ask("hostname") == "st"
        st.bus.call(session, "Session", "Close")
        assert shell.closed()


def test_a_terminal(st):
    console, session = open_console(st, 1)
    with console:
        console.send("\n")
        console.expect("login:")
        st.bus.call(session, "Session", "Close")


def test_the_console(st):
    console, session = open_console(st)
    with console:
        console.send("\n")
        console.expect("# ")
        assert console.ask("hostname") == "st"
        st.bus.call(session, "Session", "Close")


def test_usage_and_changes_are_told(st):
    st.bus.objects()
    with st.bus.signals("Session", "Sample") as seen:
        session = st.bus.manager("WatchUsage", "(ua{sv})", 100, {})
        until(lambda: [1 for _a, _m, (_t, entries) in seen for entry in entries
                       if "st" in map(str, entry.values()) and entry.get("cpu_ns", 0) > 0], pump=True)
    st.bus.call(session, "Session", "Close")


def test_destroying_it_needs_force(bus, st):
    with containers.refused("WrongState"):
        st.destroy()
    assert st.state == "RUNNING"
    st.destroy(force=GLib.Variant("b", True))
    assert bus.list() == {}
    assert run("lxc-ls", "-1").stdout == ""
