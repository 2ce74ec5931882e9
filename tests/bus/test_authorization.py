"""Who may do what. Numbers in names are items of the security checklist."""

import ast
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import batched
from xml.etree import ElementTree

import pytest

import gantry
import image_server
import people
from agent import Agent
from people import REFUSALS, Person, place, rule

POLICY = pathlib.Path(__file__).parents[2] / "data/polkit/io.gantry.policy"
INTERACTIVE = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"
LIST = (gantry.ROOT, "Manager", "ListContainers", "(a{sv})", [{}])
ALL = "return polkit.Result.YES;"



def watch(bus, interval=1000):
    return bus.manager("WatchUsage", "(ua{sv})", interval, {})


@pytest.mark.parametrize("user", ["nobody", "bob"])
def test_35_every_method_is_refused_to_those_without_authorization(bus, user):
    place("web")
    bus.manager("GetContainer", "(s)", "web")
    watch(bus)
    job = gantry.Job(bus, bus.manager("StopContainer", "(sa{sv})", "web", {}))
    job.wait()
    calls = [people.plain_call(*method) for method in people.methods(bus)]
    seen = {interface for _path, interface, *_ in calls}
    assert {"Manager", "Container", "Job", "Session"} <= seen
    with Person(user) as person:
        # No more at once than one person may have waiting.
        answers = [answer for part in batched(calls, 50) for answer in person.ask(*part)]
        for call, (error, message) in zip(calls, answers):
            assert error in REFUSALS, f"{call}: {error} {message}"
        for call in calls:
            error, message = person.ask(call, interactive=True)[0]
            # An invalid request is refused without a dialog, for what it is.
            allowed = REFUSALS | {"InvalidArgument", "InvalidName", "InvalidConfig", "NotFound"}
            if "/job/" in call[0] and call[0] not in bus.objects():
                # Those of earlier tests are forgotten some minutes after their end.
                allowed |= {"org.freedesktop.DBus.Error.UnknownObject"}
            assert error in allowed, f"{call}: {error} {message}"
    assert bus.list() == {"web": "STOPPED"}


def test_root_is_never_asked_and_needs_no_polkit(bus):
    people.stop_polkit()
    try:
        assert bus.list() == {}
    finally:
        people.start_polkit()


def test_34_without_polkit_users_are_refused(bus):
    with rule(ALL), Person("bob") as bob:
        assert bob.ask(LIST)[0][0] == ""
        people.stop_polkit()
        try:
            error, message = bob.ask(LIST)[0]
            assert error == "NotAuthorized" and "polkit" in message
            assert bob.ask(LIST, interactive=True)[0][0] == "NotAuthorized"
            assert bus.list() == {}
        finally:
            people.start_polkit()
        assert bob.ask(LIST)[0][0] == ""


def test_34_polkit_that_dies_during_a_dialog_refuses():
    with Person("bob") as bob, Agent(bob, "wait") as agent:
        bob.send(LIST, interactive=True)
        gantry.until(lambda: agent.asked)
        people.restart_polkit()
        assert bob.answers()[0][0] == "NotAuthorized"


def test_passwords_are_asked_for_only_when_the_call_allows_it():
    with Person("bob") as bob, Agent(bob, "yes") as agent:
        assert bob.ask(LIST)[0][0] == INTERACTIVE
        assert agent.asked == []
        assert bob.ask(LIST, interactive=True)[0][0] == ""
        assert [action for action, *_ in agent.asked] == ["io.gantry.inspect"]


def test_without_an_agent_the_dialog_cannot_be():
    with Person("bob") as bob:
        error, message = bob.ask(LIST, interactive=True)[0]
        assert error == "NotAuthorized" and "agent" in message


def test_a_dismissed_dialog_has_its_own_error():
    with Person("bob") as bob, Agent(bob, "dismiss"):
        assert bob.ask(LIST, interactive=True)[0][0] == "AuthorizationDismissed"


def test_a_rule_that_says_no_brings_up_no_dialog():
    with rule("return polkit.Result.NO;"), Person("bob") as bob, Agent(bob, "yes") as agent:
        assert bob.ask(LIST, interactive=True)[0][0] == "NotAuthorized"
        assert agent.asked == []


def test_invalid_requests_bring_up_no_dialog():
    with Person("bob") as bob, Agent(bob, "yes") as agent:
        assert bob.manager("GetContainer", "(s)", "../x", interactive=True)[0] == "InvalidName"
        assert bob.manager("GetContainer", "(s)", "none", interactive=True)[0] == "NotFound"
        wrong = {"no-such-option": ("b", True)}
        assert bob.manager("ListContainers", "(a{sv})", wrong, interactive=True)[0] == "InvalidArgument"
        assert agent.asked == []
        # Who does not let a dialog come up learns nothing.
        assert bob.manager("GetContainer", "(s)", "none")[0] == INTERACTIVE


def test_rules_may_look_at_the_details(bus):
    place("web")
    place("db")
    with rule("""
        return action.lookup("container") === "web" && action.lookup("owner") === "system"
            && action.lookup("privileged") === "true" && action.lookup("backend") === "dir"
            ? polkit.Result.YES : polkit.Result.NO;
    """), Person("bob") as bob:
        assert bob.manager("GetContainer", "(s)", "web")[0] == ""
        assert bob.manager("GetContainer", "(s)", "db")[0] == "NotAuthorized"
        assert bob.manager("GetContainer", "(s)", "nothing")[0] == "NotAuthorized"


# Connects, and becomes a program of root that sends a call over this connection; who is
# left of the user reads the answer.
BECOMING_ROOT = """
import os, socket, sys
address, program, hello, call = sys.argv[1:]
bus = socket.socket(socket.AF_UNIX)
bus.connect(address)
bus.sendall(b"\\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\\r\\n")
assert bus.recv(4096).startswith(b"OK")
bus.sendall(b"BEGIN\\r\\n" + bytes.fromhex(hello))
if os.fork():
    put, into = os.pipe()
    os.write(into, bytes.fromhex(call))
    os.close(into)
    os.dup2(put, 0)
    os.dup2(bus.fileno(), 1)
    os.execv(program, [program, "--reuid=0", "--", "/bin/sh", "-c", "id -u >&2; cat; exec sleep 60"])
answer = b""
while b"Error" not in answer and b"a{s" not in answer:
    answer += bus.recv(4096)
print(answer.hex())
"""


def test_32_it_is_the_connection_that_is_asked_about(bus):
    """A user's call is the user's, also when the process has become root's before it sent it."""
    def blob(serial, *call):
        message = gantry.Gio.DBusMessage.new_method_call(*call)
        message.set_serial(serial)
        return message, lambda: message.to_blob(gantry.Gio.DBusCapabilityFlags.NONE).hex()
    _hello, hello = blob(1, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello")
    message, call = blob(2, gantry.NAME, gantry.ROOT, f"{gantry.NAME}.Manager", "ListContainers")
    message.set_body(gantry.GLib.Variant("(a{sv})", ({},)))
    bus.list()
    folder = tempfile.mkdtemp(dir="/run")
    try:
        program = shutil.copy("/usr/bin/setpriv", folder)
        os.chmod(folder, 0o755)
        os.chmod(program, 0o4755)
        address = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/run/dbus/system_bus_socket").split("path=")[1]
        with rule("return subject.user == 'root' ? polkit.Result.YES : polkit.Result.NO;"), subprocess.Popen(
                [sys.executable, "-I", "-c", BECOMING_ROOT, address, program, hello(), call()], user="bob", cwd="/",
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                answer = bytes.fromhex(process.stdout.readline().strip())
            finally:
                process.kill()
            assert process.stderr.readline() == "0\n"
    finally:
        shutil.rmtree(folder)
    assert b"Error.NotAuthorized" in answer, answer


def test_33_a_container_that_changed_during_the_dialog_is_left_alone(bus):
    folder = pathlib.Path(place("web", "lxc.idmap = u 0 1000000 65536", "lxc.idmap = g 0 1000000 65536"))

    def change():
        config = folder / "config"
        config.write_text("\n".join(line for line in config.read_text().splitlines() if "idmap" not in line) + "\n")
        return "yes"

    with Person("bob") as bob, Agent(bob, change) as agent:
        answer = bob.manager("StopContainer", "(sa{sv})", "web", {}, interactive=True)
        assert answer[0] == "Conflict", answer
        assert len(agent.asked) == 1


UNSAFE = """
    return action.id === "io.gantry.manage-unsafe" ? polkit.Result.NO : polkit.Result.YES;
"""


def test_40_what_equals_root_has_an_action_of_its_own(bus):
    place("web", "lxc.idmap = u 0 1000000 65536", "lxc.idmap = g 0 1000000 65536")
    path = gantry.Container(bus, "web").path

    def item(key, *values):
        return path, "Container", "SetConfigItem", "(sasa{sv})", [key, list(values), {}]

    with rule(UNSAFE), Person("bob") as bob:
        assert bob.manager("CreateContainer", "(sa{sv})", "db", {"privileged": ("b", True)})[0] == "NotAuthorized"
        hook = {"config": ("as", ["lxc.hook.pre-start = /bin/true"])}
        assert bob.manager("CreateContainer", "(sa{sv})", "db", hook)[0] == "NotAuthorized"
        assert bob.manager("ImportContainer", "(hsa{sv})", 0, "db", {"allow_unsafe": ("b", True)})[0] == "NotAuthorized"
        text, revision = gantry.Container(bus, "web").call("GetConfig")
        for line in ("lxc.mount.entry = /etc etc none bind 0 0", "lxc.hook.start-host = /bin/true"):
            call = path, "Container", "SetConfig", "(sta{sv})", [f"{text}{line}\n", revision, {}]
            assert bob.ask(call)[0][0] == "NotAuthorized", line
        assert bob.ask(item("lxc.hook.pre-start", "/bin/true"))[0][0] == "NotAuthorized"
        assert bob.ask(item("lxc.idmap"))[0][0] == "NotAuthorized"
        assert bob.ask(item("lxc.start.auto", "1"))[0][0] == ""
        assert bob.ask(item("lxc.hook.pre-start"))[0][0] == "", "nothing is set"
    assert bus.list() == {"web": "STOPPED"}
    assert "hook" not in pathlib.Path(gantry.LXC_PATH, "web", "config").read_text()
    flagged = 'return action.lookup("unsafe") === "lxc.hook.pre-start" ? polkit.Result.YES : polkit.Result.NO;'
    with rule(flagged), Person("bob") as bob:
        assert bob.ask(item("lxc.idmap"))[0][0] == "NotAuthorized"
        assert bob.ask(item("lxc.hook.pre-start", "/bin/true"))[0][0] == "", "rules see what is unsafe"


def test_40_a_destruction_that_runs_hooks_has_an_action_of_its_own(bus):
    place("web", "lxc.hook.destroy = /bin/true")
    destroy = gantry.Container(bus, "web").path, "Container", "Destroy", "(a{sv})", [{}]
    with rule(UNSAFE), Person("bob") as bob:
        assert bob.ask(destroy)[0][0] == "NotAuthorized"
        assert bus.list() == {"web": "STOPPED"}
        place("db")
        # Its object comes when the helper has seen the folder.
        gantry.until(lambda: "db" in bus.list())
        assert bob.ask((gantry.Container(bus, "db").path, *destroy[1:]))[0][0] == ""
        gantry.until(lambda: bus.list() == {"web": "STOPPED"})


def test_40_a_clone_that_runs_hooks_has_an_action_of_its_own(bus):
    clone = "Container", "Clone", "(sa{sv})", ["twin", {}]
    for name, hook in (("web", "/bin/true"), ("db", "/usr/share/lxc/hooks/clonehostname")):
        # Whose root is not root on the host.
        place(name, f"lxc.hook.clone = {hook}\nlxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536")
    with rule(UNSAFE), Person("bob") as bob:
        assert bob.ask((gantry.Container(bus, "web").path, *clone))[0][0] == "NotAuthorized"
        # LXC's own is not run.
        assert bob.ask((gantry.Container(bus, "db").path, *clone))[0][0] == ""
        gantry.until(lambda: "twin" in bus.list())
    assert set(bus.list()) == {"web", "db", "twin"}


def test_40_a_snapshot_that_brings_back_more_rights_has_an_action_of_its_own(bus):
    """What the present config has not any more comes back only with what putting it in takes."""
    mapped = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536"
    config = pathlib.Path(place("web", mapped), "config")
    gantry.until(lambda: "web" in bus.list())
    path = gantry.Container(bus, "web").path
    harmless = config.read_text()
    for line in ("", "lxc.hook.pre-start = /bin/true\n"):
        config.write_text(harmless + line)
        gantry.Job(bus, bus.call(path, "Snapshots", "Take", "(sa{sv})", "", {})).result()

    def restore(name, **named):
        return path, "Snapshots", "Restore", "(sa{sv})", [name, {"safety": ("b", False), **named}]

    with rule(UNSAFE), Person("bob") as bob:
        def restored(name):
            refusal, job = bob.ask(restore(name))[0]
            assert refusal == "", job
            gantry.Job(bus, ast.literal_eval(job)).result()

        # The hook is in both.
        restored("snap1")
        config.write_text(harmless)
        for call in (restore("snap1"), restore("snap1", new_name=("s", "twin"))):
            assert bob.ask(call)[0][0] == "NotAuthorized"
        restored("snap0")
    assert "hook" not in config.read_text() and set(bus.list()) == {"web"}


def test_40_a_name_that_runs_hooks_has_an_action_of_its_own(bus):
    place("web", "lxc.hook.clone = /bin/true")
    place("db")
    gantry.until(lambda: set(bus.list()) == {"web", "db"})
    rename = "Container", "Rename", "(sa{sv})"
    with rule(UNSAFE), Person("bob") as bob:
        assert bob.ask((gantry.Container(bus, "web").path, *rename, ["new", {}]))[0][0] == "NotAuthorized"
        assert bob.ask((gantry.Container(bus, "db").path, *rename, ["other", {}]))[0][0] == ""
    assert set(bus.list()) == {"web", "other"}


def test_40_raw_cgroup_keys_have_an_action_of_their_own(bus):
    config = pathlib.Path(place("web"), "config")
    path = gantry.Container(bus, "web").path

    def limit(key, value):
        return path, "Resources", "SetLimit", "(ssa{sv})", [key, value, {"persist": ("b", True)}]

    bus.manager("GetContainer", "(s)", "web")
    with rule(UNSAFE), Person("bob") as bob:
        assert bob.ask(limit("pids.max", "100"))[0][0] == ""
        before = config.read_text()
        assert bob.ask(limit("devices.allow", "a"))[0][0] == "NotAuthorized"
        assert bob.ask(limit("cgroup.procs", "1"))[0][0] == "NotAuthorized"
    assert "pids.max = 100" in before and config.read_text() == before


def test_40_unsafe_authorizations_are_never_kept():
    for action in ElementTree.parse(POLICY).iter("action"):
        defaults = {kind.tag: kind.text for kind in action.find("defaults")}
        assert defaults["allow_any"] == defaults["allow_inactive"] == "auth_admin"
        if action.get("id") in ("io.gantry.manage-unsafe", "io.gantry.image-untrusted"):
            assert defaults["allow_active"] == "auth_admin"


OTHERS = """
    return action.id === "io.gantry.cancel-other" ? polkit.Result.NO : polkit.Result.YES;
"""


def test_36_sessions_and_jobs_of_others_are_left_alone(bus):
    with rule(OTHERS), Person("alice") as alice, Person("bob") as bob, Person("alice") as again:
        path = eval(alice.manager("WatchUsage", "(ua{sv})", 1000, {})[1])
        calls = [
            (path, "Session", "Resize", "(qq)", [80, 24]),
            (path, "Session", "Signal", "(i)", [15]),
            (path, "Session", "Close", "()", []),
        ]
        assert [error for error, _ in bob.ask(*calls)] == ["NotAuthorized"] * 3
        assert [error for error, _ in again.ask(*calls)] == ["NotAuthorized"] * 3
        assert path in bus.objects()
        assert [error for error, _ in alice.ask(*calls[:2])] == ["WrongState"] * 2
        assert alice.ask(calls[2])[0][0] == ""
        gantry.until(lambda: path not in bus.objects())


def test_36_a_job_is_cancelled_by_its_user_alone(bus, tmp_path):
    place("web")
    with rule(OTHERS), Person("alice") as alice, Person("bob") as bob, Person("alice") as again:
        error, path = alice.manager("StopContainer", "(sa{sv})", "web", {})
        assert error == ""
        cancel = (eval(path), "Job", "Cancel", "(a{sv})", [{}])
        assert bob.ask(cancel)[0][0] == "NotAuthorized"
        # It has ended at once, for the container is stopped; who may cancel is told so.
        assert again.ask(cancel)[0][0] in ("", "WrongState")


def test_39_a_session_ends_with_its_client(bus):
    with rule(ALL):
        alice = Person("alice")
        path = eval(alice.manager("WatchUsage", "(ua{sv})", 1000, {})[1])
        assert path in bus.objects()
        alice.leave()
        gantry.until(lambda: path not in bus.objects())


def test_39_a_dialog_goes_away_with_its_client():
    bob = Person("bob")
    with Agent(bob, "wait") as agent:
        bob.send(LIST, interactive=True)
        gantry.until(lambda: agent.asked)
        bob.leave()
        gantry.until(lambda: agent.cancelled)


def test_38_sessions_are_limited_for_each_user(bus):
    call = (gantry.ROOT, "Manager", "WatchUsage", "(ua{sv})", [10000, {}])
    with rule(ALL), Person("alice") as alice, Person("bob") as bob:
        errors = [error for error, _ in alice.ask(*[call] * 70)]
        assert errors.count("") == 64 and errors.count("QuotaExceeded") == 6
        assert bob.ask(call)[0][0] == ""
        for _ in range(66):
            watch(bus)


def test_38_waiting_calls_are_limited_for_each_user(bus):
    place("web")
    call = (gantry.Container(bus, "web").path, "Container", "Wait", "(asx)", [["RUNNING"], 1500])
    with rule(ALL), Person("alice") as alice:
        errors = [error for error, _ in alice.ask(*[call] * 110)]
        assert errors.count("TimedOut") == 100 and errors.count("QuotaExceeded") == 10
        assert alice.ask(LIST)[0][0] == ""


def test_38_dialogs_are_limited_for_each_user():
    with Person("bob") as bob, Agent(bob, "wait") as agent:
        bob.send(*[LIST] * 6, interactive=True)
        # polkit asks one after the other; the limit counts those that wait too.
        gantry.until(lambda: agent.asked)
        time.sleep(0.3)
        agent.answer = lambda: "dismiss"
        people.restart_polkit()
        errors = [error for error, _ in bob.answers()]
        assert errors.count("QuotaExceeded") == 2, errors


def test_37_samples_and_log_lines_go_to_their_client_alone(bus):
    other = gantry.Bus()
    with other.signals("Session") as overheard, bus.signals("Session", "Sample") as samples:
        watch(bus, 100)
        gantry.until(lambda: samples, pump=True)
        gantry.until(lambda: len(samples) > 2, pump=True)
    assert overheard == []
    other.close()


def test_43_every_authorised_action_is_in_the_log(bus, log):
    place("web")
    bus.manager("GetContainer", "(s)", "web")
    lines = [line for line in pathlib.Path(log).read_text().splitlines() if "authorised" in line]
    assert any('member="GetContainer"' in line and 'container="web"' in line and "uid=0" in line for line in lines)


def test_unsigned_images_and_strange_servers_have_actions_of_their_own(bus):
    """And scripts of the host that make root file systems are what equals root."""
    image = {"template": ("s", "download"), "distribution": ("s", "no"), "release": ("s", "no"), "cache": ("s", "only")}
    with rule("""
        return action.id === "io.gantry.manage" || action.id === "io.gantry.inspect"
            ? polkit.Result.YES : polkit.Result.NO;
    """), Person("bob") as bob:
        def create(**more):
            return bob.manager("CreateContainer", "(sa{sv})", "web", {**image, **more})[0]

        assert create() == ""
        assert create(untrusted=("b", True)) == "NotAuthorized"
        assert bob.manager("CreateContainer", "(sa{sv})", "web", {"template": ("s", "local2")})[0] == "NotAuthorized"
        assert bob.manager("ListRemoteImages", "(sa{sv})", "http://127.0.0.1:1", {})[0] == "NotAuthorized"
        assert bob.manager("ListRemoteImages", "(sa{sv})", "", {"proxy": ("s", "http://127.0.0.1:1")})[0] == "NotAuthorized"
        with image_server.cached(bus) as path:
            assert bob.ask((path, "Image", "Delete", "(a{sv})", [{}]))[0][0] == "NotAuthorized"
    assert bus.list() == {}
