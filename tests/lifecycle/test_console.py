"""Consoles: what a person at a terminal of the container sees."""

import os
import re
import subprocess
import time

import pytest

import containers
from containers import refused
from gantry import Bus, GLib, until
from terminals import Terminal, open_console


@pytest.fixture(scope="module")
def web():
    with containers.shared("web") as container:
        yield container


@pytest.fixture
def console(bus, web):
    """A viewer of /dev/console, logged in as root."""
    terminal, session = open_console(bus.container("web"))
    terminal.session = session
    with terminal:
        terminal.drain()
        terminal.send("\n")
        terminal.expect("login:")
        terminal.send("root\n")
        terminal.expect("# ")
        yield terminal
        terminal.send("exit\n")
        terminal.expect("login:")


def test_the_login_prompt_a_command_and_its_answer(console):
    assert console.ask("hostname") == "web"
    assert console.ask("tty") == "/dev/console"
    assert console.ask("echo $((6*7))") == "42"


def test_control_c_reaches_the_command_in_the_foreground(console):
    console.send("sleep 100\n")
    console.expect("sleep 100")
    time.sleep(0.3)
    console.send("\x03")
    console.expect("# ", 5)
    assert console.ask("echo $?") in ("130", "0")


def test_a_later_viewer_sees_what_came_before(bus, console):
    console.ask("echo remember-this-line")
    later, session = open_console(bus.container("web"))
    with later:
        later.expect("remember-this-line")
        bus.call(session, "Session", "Close")


def test_two_viewers_both_see_everything(console, web):
    with_other = Bus()
    other, _ = open_console(with_other.container("web"))
    with other:
        for viewer, word in ((console, "first"), (other, "second")):
            viewer.send(f"echo said-by-'{word}'\n")
            console.expect(f"said-by-{word}\r\n")
            other.expect(f"said-by-{word}\r\n")
    with_other.close()
    assert console.ask("echo still here") == "still here"


def test_resize_reaches_the_programs_inside(bus, console):
    bus.call(console.session, "Session", "Resize", "(qq)", 101, 37)
    assert console.ask("stty size") == "37 101"
    bus.call(console.session, "Session", "Resize", "(qq)", 80, 24)
    assert console.ask("stty size") == "24 80"


def test_much_output_comes_whole_and_in_order(console):
    text = console.ask("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done", 30)
    assert text.splitlines() == [f"line {n}" for n in range(20000)]


def test_a_slow_viewer_gets_all_of_a_flood(bus, web):
    """A terminal that draws slower than a command writes shows all of its output."""
    fd, session = web.call("OpenConsole", "(a{sv})", {"tty": GLib.Variant("i", 0)})
    size = 8_000_000
    writer = subprocess.Popen(["lxc-attach", "-n", "web", "--", "sh", "-c", f"head -c {size} /dev/zero >/dev/console"], stdin=subprocess.DEVNULL)
    count = 0
    while count < size:
        time.sleep(0.002)
        count += os.read(fd, 1 << 20).count(0)
    os.close(fd)
    assert writer.wait() == 0


def test_a_viewer_who_does_not_read_does_not_hold_up_the_container(bus, console):
    lazy, session = open_console(bus.container("web"))
    with lazy:
        console.ask("i=0; while [ $i -lt 30000 ]; do echo line $i; i=$((i+1)); done", 30)
        bus.call(session, "Session", "Close")


def test_closing_a_viewer_ends_the_session_not_the_console(bus, console):
    viewer, session = open_console(bus.container("web"))
    with viewer:
        bus.call(session, "Session", "Close")
        assert viewer.closed()
    assert console.ask("echo still here") == "still here"


def test_a_viewer_ends_with_its_caller(web):
    caller = Bus()
    viewer, _ = open_console(caller.container("web"))
    caller.close()
    with viewer:
        assert viewer.closed()


def test_a_viewer_ends_when_its_master_is_closed(bus, web):
    viewer, session = open_console(bus.container("web"))
    viewer.close()
    until(lambda: session not in bus.objects())


def test_tty_1_has_a_login_of_its_own(bus, web):
    terminal, session = open_console(bus.container("web"), 1)
    with terminal:
        terminal.send("\n")
        terminal.expect("login:")
        terminal.send("root\n")
        terminal.expect("# ")
        assert re.fullmatch(r"/dev/(lxc/)?tty1", terminal.ask("tty"))
        bus.call(session, "Session", "Resize", "(qq)", 90, 30)
        assert terminal.ask("stty size") == "30 90"
        terminal.send("exit\n")
        terminal.expect("login:")
        with refused("Busy"):
            open_console(bus.container("web"), 1)
        bus.call(session, "Session", "Close")
    until(lambda: session not in bus.objects())
    again, session = open_console(bus.container("web"), 1)
    with again:
        again.send("\n")
        again.expect("login:")
        bus.call(session, "Session", "Close")


@pytest.mark.parametrize("tty", [99, -5])
def test_a_tty_that_is_not_there_is_refused(web, bus, tty):
    with refused("InvalidArgument", "NotFound"):
        open_console(bus.container("web"), tty)


def test_a_stopped_container_has_no_console(bus):
    box = bus.create("box", template="busybox")
    with refused("WrongState"):
        open_console(box)


def test_the_console_ends_with_the_container(bus):
    box = bus.create("box", template="busybox", start=True)
    viewer, session = open_console(box)
    with viewer, bus.signals("Session", "Exited") as exited, bus.signals("Session", "Detached") as detached:
        box.kill()
        assert viewer.closed()
        until(lambda: [1 for at, *_ in exited + detached if at == session], pump=True)
    until(lambda: session not in bus.objects())


def test_the_console_log_can_be_read(bus, console):
    console.ask("echo into-the-log")
    for _ in range(2):
        fd = bus.container("web").call("ReadLog", "(sa{sv})", "console", {})
        with os.fdopen(fd) as log:
            assert "into-the-log" in log.read()
    # Who comes later sees it, too.
    later, session = open_console(bus.container("web"))
    with later:
        later.expect("into-the-log")
        bus.call(session, "Session", "Close")
    with refused("InvalidArgument"):
        bus.container("web").call("ReadLog", "(sa{sv})", "nonsense", {})


def test_options_that_do_not_exist_are_refused(bus, web):
    with refused("InvalidArgument"):
        bus.container("web").call("OpenConsole", "(a{sv})", {"speed": GLib.Variant("i", 9600)})


def test_a_terminal_of_the_host_that_the_config_names_is_the_console(bus):
    """What is typed there comes to the container, and nothing is echoed twice."""
    master, slave = os.openpty()
    try:
        box = bus.create("box", template="busybox", config=[f"lxc.console.path = {os.ttyname(slave)}", "lxc.init.cmd = /bin/sh"])
        box.start()
        terminal = Terminal(os.dup(master))
        with terminal:
            terminal.send("echo $((6*7))'is it'\n")
            terminal.expect("echo $((6*7))'is it'")
            assert "echo" not in terminal.expect("42is it")
        box.kill()
    finally:
        os.close(master)
        os.close(slave)
