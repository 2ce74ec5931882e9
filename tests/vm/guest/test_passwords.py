"""A user at the screen who may do nothing without the administrator's password, and the
agent that asks for it on a terminal (pkttyagent), as people without a desktop have it.
"""

import json
import os
import subprocess

import pytest

import gantry
from gantry import run
from sessions import AT_THE_SCREEN, SECONDS, give_password, logged_in, session
from terminals import on_terminal

CALL = ("busctl", "call", gantry.NAME)
MANAGER = (gantry.ROOT, gantry.NAME + ".Manager")
WEB = (f"{gantry.ROOT}/container/system/web", gantry.NAME + ".Container")

# Runs as alice: each line on stdin is an expression, and its value comes out, or an
# error's name. The module's text is handed over, for the checkout may be closed to her.
PROGRAM = """
import json, select, sys
bus, web = Bus(), Container(None, "web")
web.bus, asked = bus, {"interactive": True}

def create():
    return Job(bus, bus.manager("CreateContainer", "(sa{sv})", "web", options(template="busybox"), **asked)).result(300)

def type_on_console():
    fd, _session = web.call("OpenConsole", "(a{sv})", {}, **asked)
    seen = ""
    for prompt, answer in (None, ""), ("login:", "root"), ("#", "echo from-$((6*7))"), ("from-42", "exit"):
        while prompt and prompt not in seen:
            assert select.select([fd], [], [], 120)[0], seen
            seen += os.read(fd, 4096).decode(errors="replace")
        seen = ""
        os.write(fd, answer.encode() + b"\\n")
    return "from-42"

print(os.getpid(), flush=True)
for line in sys.stdin:
    try:
        answer = ["", eval(line)]
    except Refused as refused:
        answer = [refused.name, refused.message]
    print(json.dumps(answer, default=str), flush=True)
"""


class Alice:
    """A process of hers in a session, with a connection of its own: what polkit keeps
    for some minutes, it keeps for one process."""

    def __init__(self):
        with open(gantry.__file__) as module:
            program = module.read() + PROGRAM
        self.process = subprocess.Popen([*session(**AT_THE_SCREEN), "python3", "-c", program],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = int(self.process.stdout.readline())

    def begin(self, expression):
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()

    def answer(self):
        """(error's name or "", value or message)"""
        return tuple(json.loads(self.process.stdout.readline()))

    def does(self, expression):
        self.begin(expression)
        name, value = self.answer()
        assert not name, f"{expression}: {name}: {value}"
        return value

    def end(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def alice():
    someone = Alice()
    yield someone
    someone.end()


def agent(alice, ready):
    """Her agent on a terminal, as soon as polkit knows of it."""
    os.mkfifo(ready)
    program = f"exec setpriv --reuid=alice --regid=alice --init-groups pkttyagent --process {alice.pid} --notify-fd 3 3>{ready}"
    return on_terminal("sh", "-c", program)


def test_a_password_opens_what_it_is_asked_for(alice, tmp_path):
    """A wrong one is refused; with the right one alice lists, creates, starts, and talks
    to the console, each in one process that is asked once for each kind of thing."""
    start = "web.call('Start', '(a{sv})', {}, **asked)"
    with agent(alice, tmp_path / "ready") as terminal:
        with open(tmp_path / "ready") as ready:
            # It closes the descriptor when it is registered.
            ready.read()
        assert alice.does("bus.list()") == {}
        alice.begin("create()")
        terminal.expect("io.gantry.manage ", SECONDS)
        give_password(terminal, "wrong")
        name, message = alice.answer()
        assert name == "NotAuthorized", message
        assert alice.does("bus.list()") == {}
        for expression, action in ("create()", "io.gantry.manage "), (start, "io.gantry.operate "), ("type_on_console()", "io.gantry.console "):
            alice.begin(expression)
            terminal.expect(action, SECONDS)
            give_password(terminal, "root")
            terminal.expect("AUTHENTICATION COMPLETE", SECONDS)
            name, value = alice.answer()
            assert not name, f"{expression}: {value}"
        assert alice.does("bus.list()") == {"web": "RUNNING"}
        # What was kept is not asked for again, and what equals root is, each time.
        terminal.seen = ""
        alice.does("web.call('Kill', '(a{sv})', {}, **asked)")
        alice.does("type(web.call('SetConfigItem', '(sasa{sv})', 'lxc.start.auto', ['1'], {}, **asked)).__name__")
        assert "Password" not in terminal.seen + (terminal.read(1) or "")
        alice.begin("web.call('SetConfigItem', '(sasa{sv})', 'lxc.hook.pre-start', ['/bin/true'], {}, **asked)")
        terminal.expect("io.gantry.manage-unsafe", SECONDS)
        give_password(terminal, "wrong")
        assert alice.answer()[0] == "NotAuthorized"


def test_without_an_agent_she_may_look_and_no_more(bus):
    bus.create("web", 300, template="busybox")
    done = run(*session(**AT_THE_SCREEN), *CALL, *MANAGER, "ListContainers", "a{sv}", "0")
    assert '"web" "system" "STOPPED"' in done.stdout
    done = run(*session(**AT_THE_SCREEN), *CALL, *WEB, "Start", "a{sv}", "0", check=False)
    assert done.returncode != 0 and "no authentication agent" in done.stderr, done
    assert bus.container("web").state == "STOPPED"


def test_a_login_at_the_screen_may_look(bus):
    """With her password at a terminal, by login(1), which opens a session."""
    bus.create("web", 300, template="busybox")
    with logged_in() as terminal:
        shown = terminal.ask(" ".join([*CALL, *MANAGER, "ListContainers", "'a{sv}'", "0"]), SECONDS)
        assert '"web" "system" "STOPPED"' in shown
        assert "Seat=seat0" in terminal.ask("loginctl show-session $XDG_SESSION_ID", SECONDS)
