"""The helper as a test sees it: the D-Bus contract, called as a script would.

Everything goes over the real bus of the sandbox. Errors come as `Refused`, which
carries the name after `io.gantry.Gantry1.Error.` (or the full name of another).
"""

import os
import subprocess
import time
from contextlib import contextmanager

import gi

gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib  # noqa: E402

NAME = "io.gantry.Gantry1"
ROOT = "/io/gantry/Gantry1"
LXC_PATH = os.environ.get("GANTRY_LXC_PATH", "/var/lib/lxc")


class Refused(Exception):
    """A call that came back with a D-Bus error."""

    def __init__(self, full_name, message):
        super().__init__(f"{full_name}: {message}")
        self.full_name = full_name
        self.name = full_name.removeprefix(NAME + ".Error.")
        self.message = message


def variant(value):
    """The variant of a Python value: str s, bool b, list of str as; others ready-made."""
    if isinstance(value, GLib.Variant):
        return value
    if isinstance(value, bool):
        return GLib.Variant("b", value)
    if isinstance(value, str):
        return GLib.Variant("s", value)
    if isinstance(value, list):
        return GLib.Variant("as", value)
    raise TypeError(f"say the D-Bus type of {value!r} with GLib.Variant")


def options(**named):
    return {key: variant(value) for key, value in named.items()}


def escape(name):
    return "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):02x}" for c in name)


class Bus:
    """A connection of its own, so that closing it is a client leaving."""

    def __init__(self):
        flags = Gio.DBusConnectionFlags
        self.connection = Gio.DBusConnection.new_for_address_sync(
            os.environ["DBUS_SYSTEM_BUS_ADDRESS"],
            flags.AUTHENTICATION_CLIENT | flags.MESSAGE_BUS_CONNECTION,
            None,
            None,
        )

    def close(self):
        self.connection.close_sync(None)

    def call(self, path, interface, method, signature="()", *args, fds=(), timeout=60, interactive=False):
        """The result's values; `h` results come as open file descriptors."""
        if "." not in interface:
            interface = f"{NAME}.{interface}"
        fd_list = Gio.UnixFDList.new()
        for fd in fds:
            fd_list.append(fd)
        flags = Gio.DBusCallFlags.NONE
        if interactive:
            flags = Gio.DBusCallFlags.ALLOW_INTERACTIVE_AUTHORIZATION
        try:
            result, out = self.connection.call_with_unix_fd_list_sync(
                NAME, path, interface, method, GLib.Variant(signature, args), None,
                flags, int(timeout * 1000), fd_list, None,
            )
        except GLib.Error as error:
            full_name = Gio.DBusError.get_remote_error(error)
            if full_name is None:
                raise
            raise Refused(full_name, error.message.removeprefix(f"GDBus.Error:{full_name}: ")) from None
        handles = out.steal_fds() if out else []
        values = [
            handles[value] if kind == "h" else value
            for value, kind in zip(result.unpack(), split(result.get_type_string()[1:-1]))
        ]
        return values[0] if len(values) == 1 else tuple(values) if values else None

    def get(self, path, interface, name):
        return self.call(path, "org.freedesktop.DBus.Properties", "Get", "(ss)", f"{NAME}.{interface}", name)

    def objects(self):
        return self.call(ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")

    @contextmanager
    def signals(self, interface=None, member=None, path=None):
        """Collects (path, member, values) of the signals that arrive meanwhile."""
        seen = []
        interface = interface and (interface if "." in interface else f"{NAME}.{interface}")
        subscription = self.connection.signal_subscribe(
            NAME, interface, member, path, None, Gio.DBusSignalFlags.NONE,
            lambda _c, _s, at, _i, name, values: seen.append((at, name, values.unpack())),
        )
        # The bus has the match once it answered the next call.
        self.connection.call_sync("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                  "GetId", None, None, Gio.DBusCallFlags.NONE, -1, None)
        try:
            yield seen
        finally:
            self.connection.signal_unsubscribe(subscription)

    # --- the Manager and its containers, in short forms

    def manager(self, method, signature="()", *args, **more):
        return self.call(ROOT, "Manager", method, signature, *args, **more)

    def list(self):
        return {name: state for name, _owner, state, _pid, _path in self.manager("ListContainers", "(a{sv})", {})}

    def create(self, name, wait=60, fds=(), **named):
        """Creates a container and waits for it; `named` are CreateContainer's options."""
        job = Job(self, self.manager("CreateContainer", "(sa{sv})", name, options(**named), fds=fds))
        job.result(wait)
        return Container(self, name)

    def container(self, name):
        return Container(self, name)


def split(signature):
    """The complete types of a signature, one by one."""
    types, depth, start = [], 0, 0
    for at, char in enumerate(signature):
        depth += (char in "({") - (char in ")}")
        if depth == 0 and char != "a":
            types.append(signature[start:at + 1])
            start = at + 1
    return types


class Job:
    def __init__(self, bus, path):
        self.bus, self.path = bus, path

    def get(self, name):
        return self.bus.get(self.path, "Job", name)

    def wait(self, seconds=60):
        return self.bus.call(self.path, "Job", "Wait", "(x)", int(seconds * 1000), timeout=seconds + 5)

    def cancel(self):
        self.bus.call(self.path, "Job", "Cancel", "(a{sv})", {})

    def result(self, seconds=60):
        """The job's result; its error as `Refused`."""
        if self.wait(seconds) == "done":
            return self.get("Result")
        raise Refused(self.get("ErrorName"), self.get("ErrorMessage"))


class Container:
    def __init__(self, bus, name, owner="system"):
        self.bus, self.name = bus, name
        self.path = f"{ROOT}/container/{owner}/{escape(name)}"
        self.folder = os.path.join(LXC_PATH, name)

    def call(self, method, signature="()", *args, **more):
        return self.once_shown(lambda: self.bus.call(self.path, "Container", method, signature, *args, **more))

    def get(self, name):
        return self.once_shown(lambda: self.bus.get(self.path, "Container", name))

    def resources(self, method, signature="()", *args):
        return self.once_shown(lambda: self.bus.call(self.path, "Resources", method, signature, *args))

    def interfaces(self, method, signature="()", *args):
        return self.once_shown(lambda: self.bus.call(self.path, "Interfaces", method, signature, *args))

    def wires(self):
        """The container's interfaces, by index."""
        return {wire["index"]: wire for wire in self.interfaces("List")}

    def add_wire(self, kind, **named):
        return self.interfaces("Add", "(a{sv})", options(type=kind, **named))

    def connect(self, index, link, **named):
        self.interfaces("Connect", "(usa{sv})", index, link, options(**named))

    def set_limit(self, key, value, **named):
        self.resources("SetLimit", "(ssa{sv})", key, value, options(**named))

    def get_limit(self, key):
        return self.resources("GetLimit", "(s)", key)

    def once_shown(self, work):
        """What others have made is shown a moment later than it is there."""
        end = time.monotonic() + 2
        while True:
            try:
                return work()
            except Refused as refused:
                there = os.path.exists(os.path.join(self.folder, "config"))
                shown = not refused.full_name.endswith((".UnknownObject", ".UnknownInterface"))
                if shown or not there or time.monotonic() > end:
                    raise
            time.sleep(0.01)

    @property
    def state(self):
        return self.get("State")

    def start(self, **named):
        self.call("Start", "(a{sv})", options(**named))

    def stop(self, seconds=60, **named):
        Job(self.bus, self.call("Stop", "(a{sv})", options(**named))).result(seconds)

    def kill(self):
        self.call("Kill", "(a{sv})", {})

    def wait(self, *states, seconds=30):
        return self.call("Wait", "(asx)", list(states), int(seconds * 1000), timeout=seconds + 5)

    def destroy(self, seconds=60, **named):
        Job(self.bus, self.call("Destroy", "(a{sv})", options(**named))).result(seconds)

    def execute(self, *argv, stdin=b"", seconds=30, **named):
        """Runs a command inside; (status, output, errors)."""
        with self.bus.signals("Session", "Exited") as exited:
            put, out, err, session = self.call("Execute", "(asa{sv})", list(argv), options(**named))
            with os.fdopen(put, "wb") as pipe:
                pipe.write(stdin)
            with os.fdopen(out, "rb") as pipe:
                output = pipe.read()
            with os.fdopen(err, "rb") as pipe:
                errors = pipe.read()
            status = until(lambda: [v[0] for at, _m, v in exited if at == session], seconds, pump=True)[0]
        return status, output.decode(), errors.decode()


def until(condition, seconds=10, pump=False, step=0.01):
    """Waits until the condition holds and returns what it gave."""
    end = time.monotonic() + seconds
    while True:
        if pump:
            while GLib.MainContext.default().iteration(False):
                pass
        began = time.monotonic()
        value = condition()
        if value:
            return value
        now = time.monotonic()
        assert now < end, f"waited {seconds} s in vain"
        # Whoever looks takes no more time than what is waited for.
        time.sleep(max(step, min(now - began, 1)))


def run(*argv, user=None, check=True, **more):
    """A program's output; as another user where one is named."""
    if user:
        argv = ("runuser", "-u", user, "--", *argv)
    done = subprocess.run(argv, text=True, errors="replace", capture_output=True, stdin=subprocess.DEVNULL, **more)
    if check:
        assert done.returncode == 0, f"{argv}: status {done.returncode}\n{done.stdout}{done.stderr}"
    return done
