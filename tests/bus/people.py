"""Calls to the helper by other users, each from a process of that user."""

import json
import os
import pwd
import signal
import subprocess
from contextlib import contextmanager
from xml.etree import ElementTree

import gantry

RULES = "/etc/polkit-1/rules.d/10-test.rules"
POLKITD = "/usr/lib/polkit-1/polkitd"
STANDARD = "org.freedesktop.DBus."
REFUSALS = {"NotAuthorized", "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"}

# Runs as the other user: each line on stdin is a JSON list of calls, which are sent
# together; a line of answers comes out for each. A descriptor is a pipe that nothing
# comes out of. The module's text is handed over, for the checkout may be closed to
# that user.
CALLS = """
import concurrent.futures, json, os, sys
bus, pipe = Bus(), os.pipe()
print(os.getpid(), bus.connection.get_unique_name(), flush=True)

def send(call):
    path, interface, method, signature, args, interactive = call
    args = [dict((k, GLib.Variant(*v)) for k, v in a.items()) if isinstance(a, dict) else a for a in args]
    try:
        value = bus.call(path, interface, method, signature, *args, fds=pipe[:1], interactive=interactive)
        return ["", repr(value)]
    except Refused as refused:
        return [refused.name, refused.message]
    except GLib.Error as error:
        return ["local", str(error)]

with concurrent.futures.ThreadPoolExecutor(200) as pool:
    for line in sys.stdin:
        print(json.dumps(list(pool.map(send, json.loads(line)))), flush=True)
"""


class Person:
    """A process of `user` with a connection to the bus of its own; `enter` is the
    command that runs it as that user."""

    def __init__(self, user, enter=None):
        with open(gantry.__file__) as module:
            program = module.read() + CALLS
        enter = enter or ["setpriv", f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--init-groups"]
        self.process = subprocess.Popen([*enter, "python3", "-c", program],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/")
        pid, self.name = self.process.stdout.readline().split()
        self.pid = int(pid)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.leave()

    def send(self, *calls, interactive=False):
        """Sends calls (path, interface, method, signature, args), all together. Options
        are given as (signature, value)."""
        self.process.stdin.write(json.dumps([(*call, interactive) for call in calls]) + "\n")
        self.process.stdin.flush()

    def answers(self):
        """(error name or "", message or result) of each call that was sent."""
        return [tuple(answer) for answer in json.loads(self.process.stdout.readline())]

    def ask(self, *calls, interactive=False):
        self.send(*calls, interactive=interactive)
        return self.answers()

    def manager(self, method, signature="()", *args, interactive=False):
        """The answer of one call to the manager."""
        return self.ask((gantry.ROOT, "Manager", method, signature, args), interactive=interactive)[0]

    def leave(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def methods(bus, path=gantry.ROOT):
    """(path, interface, method, signature) of every method of every object that is ours."""
    xml = bus.call(path, STANDARD + "Introspectable", "Introspect")
    found = []

    def walk(node, at):
        for interface in node.findall("interface"):
            if interface.get("name").startswith(STANDARD):
                continue
            for method in interface.findall("method"):
                kinds = [arg.get("type") for arg in method.findall("arg") if arg.get("direction") != "out"]
                found.append((at, interface.get("name"), method.get("name"), f"({''.join(kinds)})"))
        for child in node.findall("node"):
            walk(child, f"{at}/{child.get('name')}")

    walk(ElementTree.fromstring(xml), path)
    return found


PLAIN = {"s": "x", "as": ["x"], "a{sv}": {}, "h": 0, "x": 0, "t": 0, "u": 0, "i": 0, "q": 80}


def plain_call(path, interface, method, signature):
    return path, interface.removeprefix(gantry.NAME + "."), method, signature, [PLAIN[kind] for kind in gantry.split(signature[1:-1])]


@contextmanager
def rule(body):
    """polkitd with a rule for Gantry's actions: the body of function (action, subject)."""
    # A change of the folder is noticed some time later; a restart is at once.
    with open(RULES, "w") as file:
        file.write("polkit.addRule(function (action, subject) {\n"
                   "if (action.id.indexOf('io.gantry.') !== 0) return polkit.Result.NOT_HANDLED;\n"
                   f"{body}\n}});\n")
    os.chmod(RULES, 0o644)
    restart_polkit()
    try:
        yield
    finally:
        os.unlink(RULES)
        restart_polkit()


def polkit_pid():
    found = subprocess.run(["pgrep", "-x", "polkitd"], capture_output=True, text=True).stdout.split()
    return int(found[0]) if found else None


def stop_polkit():
    pid = polkit_pid()
    if pid:
        os.kill(pid, signal.SIGKILL)
        gantry.until(lambda: not os.path.exists(f"/proc/{pid}/exe") or state(pid) == "Z")
    # The next one gives up where the bus still has the name of the one before.
    gantry.until(lambda: not polkit_is_there())


def polkit_is_there():
    return subprocess.run(["busctl", "--system", "status", "org.freedesktop.PolicyKit1"], capture_output=True).returncode == 0


def state(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def start_polkit():
    with open(os.environ["GANTRY_LOG"], "a") as log:
        subprocess.Popen([POLKITD, "--no-debug"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    gantry.until(polkit_is_there)


def restart_polkit():
    stop_polkit()
    start_polkit()


def place(name, *lines):
    """A container on the disk, as another tool would have left it."""
    folder = os.path.join(gantry.LXC_PATH, name)
    os.makedirs(os.path.join(folder, "rootfs"))
    with open(os.path.join(folder, "config"), "w") as config:
        config.write("".join(line + "\n" for line in (
            f"lxc.rootfs.path = dir:{folder}/rootfs", f"lxc.uts.name = {name}", *lines)))
    return folder


def helper_pid():
    found = subprocess.run(["pgrep", "-x", "gantry-helper"], capture_output=True, text=True).stdout.split()
    return int(found[0]) if found else None


def start_time(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[19])
