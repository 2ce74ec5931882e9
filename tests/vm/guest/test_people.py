"""polkit for real: people who have logged in, at this computer or from afar, and
processes of nobody's session; each with and without a dialog.
"""

import re

import pytest

import gantry
from gantry import run
from people import Person
from sessions import AT_THE_SCREEN, session

ASKED = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"
WAYS = {"local": session(**AT_THE_SCREEN), "remote": session(), "none": None}


@pytest.fixture(params=WAYS)
def alice(request):
    with Person("alice", WAYS[request.param]) as person:
        person.way = request.param
        yield person


def test_everybody_has_what_the_policy_says(alice):
    shown = run("loginctl", "show-session", session_of(alice.pid)).stdout if alice.way != "none" else ""
    assert ("Seat=seat0" in shown) == (alice.way == "local"), shown
    assert ("Active=yes" in shown) == (alice.way != "none"), shown
    actions = re.findall(r"^io\.gantry\.[\w-]+", run("pkaction").stdout, re.M)
    assert len(actions) >= 10
    # pkcheck's status: 0 is authorized, 2 is after a password.
    got = {action: run("pkcheck", "--action-id", action, "--system-bus-name", alice.name, check=False).returncode
           for action in actions}
    free = {"io.gantry.inspect", "io.gantry.own"} if alice.way == "local" else set()
    assert got == {action: 0 if action in free else 2 for action in actions}


def session_of(pid):
    return re.search(r"session-(\w+)\.scope", open(f"/proc/{pid}/cgroup").read()).group(1)


def test_every_kind_of_call_with_and_without_a_dialog(alice, bus):
    web = bus.create("web", 300, template="busybox").path
    watch = bus.manager("WatchUsage", "(ua{sv})", 1000, {})
    looks = [(gantry.ROOT, "Manager", "ListContainers", "(a{sv})", [{}]), (web, "Container", "GetConfig", "()", [])]
    acts = [
        (web, "Container", "Start", "(a{sv})", [{}]),
        (web, "Container", "OpenShell", "(a{sv})", [{}]),
        (web, "Container", "SetConfigItem", "(sasa{sv})", ["lxc.uts.name", ["other"], {}]),
        (web, "Container", "SetConfigItem", "(sasa{sv})", ["lxc.hook.pre-start", ["/bin/true"], {}]),
        (web, "Container", "Destroy", "(a{sv})", [{}]),
        (watch, "Session", "Close", "()", []),
    ]
    may_look = alice.way == "local"
    for interactive, refusal in (False, ASKED), (True, "NotAuthorized"):
        # There is no agent that could show a dialog.
        answers = [alice.ask(call, interactive=interactive)[0] for call in (*looks, *acts)]
        wanted = ["" if may_look else refusal] * len(looks) + [refusal] * len(acts)
        assert [name for name, _ in answers] == wanted, answers
    assert bus.list() == {"web": "STOPPED"}
