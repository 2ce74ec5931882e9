"""Shells and commands inside a container."""

import hashlib
import os
import signal
import time

import pytest

import containers
from archives import write_all
from containers import refused
from gantry import Bus, GLib, Refused, options, until
from terminals import Terminal, open_shell


@pytest.fixture(scope="module", params=[False, True], ids=["mapped", "privileged"])
def web(request):
    with containers.shared("web", privileged=request.param) as container:
        yield container


@pytest.fixture
def box(bus, web):
    return bus.container("web")


def uint(value):
    return GLib.Variant("u", value)


def start(box, *argv, **named):
    put, out, err, session = box.call("Execute", "(asa{sv})", list(argv), options(**named))
    return os.fdopen(put, "wb", 0), os.fdopen(out, "rb"), os.fdopen(err, "rb"), session


def test_output_and_errors_come_apart_with_the_exit_status(box):
    assert box.execute("sh", "-c", "echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")
    assert box.execute("true") == (0, "", "")


def test_death_by_a_signal_is_128_and_its_number(box):
    assert box.execute("sh", "-c", "kill -TERM $$")[0] == 128 + 15
    assert box.execute("sh", "-c", "kill -KILL $$")[0] == 128 + 9


@pytest.mark.parametrize("command, status", [("/no/such/command", 127), ("/etc/passwd", 126)])
def test_a_command_that_cannot_be_run(box, command, status):
    """The shells' status, as from lxc-attach, or a refusal that names it."""
    try:
        assert box.execute(command)[0] == status
    except Refused as error:
        assert command in error.message


def test_stdin_reaches_the_command_to_its_end(box):
    data = os.urandom(1 << 20)
    put, out, err, _session = start(box, "md5sum")
    with put, out, err:
        write_all(put.fileno(), data)
        put.close()
        assert out.read().split()[0].decode() == hashlib.md5(data).hexdigest()


def test_a_megabyte_of_output_is_whole(box):
    status, text, _ = box.execute("sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo 'some words on line' $i; i=$((i+1)); done")
    assert status == 0
    assert text.splitlines() == [f"some words on line {n}" for n in range(20000)]


def test_arguments_arrive_as_they_are(box):
    words = ["", " a  b ", "$HOME", "'quote\"", "*", "new\nline", "--", "-n", "ümläut", ";true"]
    _, text, _ = box.execute("sh", "-c", 'for word; do printf "<%s>" "$word"; done', "sh", *words)
    assert text == "".join(f"<{word}>" for word in words)


def test_environment(box):
    status, text, _ = box.execute("env", env=["COLOUR=blue", "EMPTY="])
    lines = text.splitlines()
    assert "COLOUR=blue" in lines and "EMPTY=" in lines and "container=lxc" in lines
    assert [line for line in lines if line.startswith("PATH=")]
    assert not [line for line in lines if line.startswith(("DBUS_", "RUST_"))]
    with refused("InvalidArgument"):
        box.execute("env", env=["no equals sign"])


def test_environment_of_the_config_reaches_commands(bus):
    box = bus.create("box", template="busybox", config=["lxc.environment = SHAPE=round"], start=True)
    assert "SHAPE=round" in box.execute("env")[1].splitlines()
    with open(f"/proc/{box.get('InitPid')}/environ") as file:
        assert "SHAPE=round" in file.read().split("\0")


def test_working_folder(box):
    assert box.execute("pwd", cwd="/tmp")[1] == "/tmp\n"
    try:
        status, text, _ = box.execute("pwd", cwd="/no/such/folder")
        assert status != 0 and text == ""
    except Refused as error:
        assert "/no/such/folder" in error.message


def test_user_and_group(box):
    assert box.execute("sh", "-c", "id -u; id -g; id -G")[1] == "0\n0\n0\n"
    assert box.execute("sh", "-c", "id -u; id -g", uid=uint(1000), gid=uint(1001))[1] == "1000\n1001\n"
    _, text, _ = box.execute("sh", "-c", "id -G", uid=uint(1000), gid=uint(1001))
    assert text == "1001\n"
    assert box.execute("cat", "/proc/self/status", uid=uint(1000))[1].count("CapEff:\t0000000000000000") == 1


def test_an_unmapped_user_is_refused(box):
    if not box.get("Privileged"):
        with refused("InvalidArgument", "StartFailed") as caught:
            box.execute("id", uid=uint(70000))
        assert "70000" in caught[0].message


def test_it_runs_inside_with_the_rights_of_init(box):
    pid = box.get("InitPid")
    kinds = ["mnt", "pid", "net", "uts", "ipc", "user", "cgroup"]
    _, text, _ = box.execute("sh", "-c", f"for kind in {' '.join(kinds)}; do readlink /proc/self/ns/$kind; done")
    assert text.split() == [containers.namespace(pid, kind) for kind in kinds]
    _, text, _ = box.execute("grep", "CapBnd", "/proc/self/status")
    assert text.split()[1] == containers.status_of(pid, "CapBnd")


def test_only_the_namespaces_asked_for_are_joined(box):
    pid = box.get("InitPid")
    _, text, _ = box.execute("readlink", "/proc/self/ns/net", "/proc/self/ns/uts",
                             namespaces=["NETWORK"], elevated=True)
    assert text.split() == [containers.namespace(pid, "net"), containers.namespace("self", "uts")]
    with refused("InvalidArgument"):
        box.execute("true", namespaces=["NONSENSE"])


def test_a_command_on_a_pty(box):
    put, out, err, session = start(box, "sh", "-c", "tty; stty size", pty=True)
    terminal = Terminal(os.dup(out.fileno()))
    with put, out, err, terminal:
        terminal.expect("/dev/pts/")
        terminal.closed()
    until(lambda: session not in box.bus.objects())


def test_a_signal_from_outside(box):
    put, out, err, session = start(box, "sh", "-c", "trap 'echo caught; exit 5' USR1; echo ready; while :; do sleep 0.05; done")
    with put, out, err, box.bus.signals("Session", "Exited", session) as exited:
        assert out.readline() == b"ready\n"
        box.bus.call(session, "Session", "Signal", "(i)", signal.SIGUSR1)
        assert out.readline() == b"caught\n"
        until(lambda: exited and exited[0][2] == (5,), pump=True)


def test_close_ends_the_command(box):
    put, out, err, session = start(box, "sh", "-c", "echo ready; exec sleep 321")
    with put, out, err:
        assert out.readline() == b"ready\n"
        box.bus.call(session, "Session", "Close")
        assert out.read() == b""
    until(lambda: "sleep 321" not in box.execute("ps")[1])


def test_39_a_session_ends_with_its_caller(box):
    caller = Bus()
    put, out, err, session = start(caller.container("web"), "sh", "-c", "echo ready; exec sleep 322")
    terminal, shell = open_shell(caller.container("web"))
    with put, out, err, terminal:
        assert out.readline() == b"ready\n"
        terminal.ask("true")
        caller.close()
        assert out.read() == b""
        assert terminal.closed()
    until(lambda: "sleep 322" not in box.execute("ps")[1])
    until(lambda: not {session, shell} & set(box.bus.objects()))


def test_a_shell_is_a_login_shell_of_root_on_the_containers_own_pty(box):
    terminal, session = open_shell(box)
    with terminal:
        assert terminal.ask("id -u") == "0"
        assert terminal.ask("hostname") == "web"
        assert terminal.ask("tty").startswith("/dev/pts/")
        assert terminal.ask("case $0 in -*) echo login;; *) echo $0;; esac") == "login"
        assert terminal.ask("pwd; echo $HOME") == "/root\n/root"
        box.bus.call(session, "Session", "Resize", "(qq)", 111, 22)
        assert terminal.ask("stty size") == "22 111"
        with box.bus.signals("Session", "Exited", session) as exited:
            terminal.send("exit 4\n")
            assert terminal.closed()
            until(lambda: exited and exited[0][2] == (4,), pump=True)
    until(lambda: session not in box.bus.objects())


def test_job_control_works_in_a_shell(box):
    terminal, _ = open_shell(box)
    with terminal:
        terminal.ask("true")
        terminal.send("sleep 323\n")
        time.sleep(0.2)
        terminal.send("\x1a")
        assert "sleep 323" in terminal.ask("jobs")
        terminal.send("fg\n")
        time.sleep(0.2)
        terminal.send("\x03")
        assert "sleep 323" not in terminal.ask("jobs")


def test_many_sessions_at_once(box):
    running = [start(box, "sh", "-c", f"read word; echo {n} $word") for n in range(20)]
    for n, (put, out, err, _session) in reversed(list(enumerate(running))):
        with put, out, err:
            put.write(b"yes\n")
            assert out.read() == b"%d yes\n" % n


def test_nothing_runs_in_a_stopped_or_frozen_container(bus, box):
    stopped = bus.create("box", template="busybox")
    with refused("WrongState"):
        stopped.execute("true")
    with refused("WrongState"):
        open_shell(stopped)
    box.call("Freeze", "(a{sv})", {})
    try:
        with refused("WrongState"):
            box.execute("true")
    finally:
        box.call("Unfreeze", "(a{sv})", {})


def test_no_command_is_refused(box):
    with refused("InvalidArgument"):
        box.call("Execute", "(asa{sv})", [], {})
