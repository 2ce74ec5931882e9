"""As much of systemd on the bus as starts transient units: run as a program of its
own, so that what it starts is no child of the helper's. A unit has a cgroup of version 2,
which goes with its main process and takes along what is left in it. What was asked for is
written down in the folder of the argument, beside the units' standard errors.
"""

import json
import os
import subprocess
import sys

from gi.repository import Gio, GLib

INTERFACE = """<node><interface name="org.freedesktop.systemd1.Manager"><method name="StartTransientUnit">
<arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="a(sv)" direction="in"/>
<arg type="a(sa(sv))" direction="in"/><arg type="o" direction="out"/></method></interface></node>"""

folder = sys.argv[1]
units = {}
with open("/proc/self/mountinfo") as mounts:
    unified = [line.split()[4] for line in mounts if " - cgroup2 " in line][-1]


def look():
    """Ends the units whose main process has."""
    for name, process in list(units.items()):
        if process.poll() is None:
            continue
        with open(f"{unified}/{name}/cgroup.kill", "w") as kill:
            kill.write("1")
        try:
            for at, _folders, _files in os.walk(f"{unified}/{name}", topdown=False):
                os.rmdir(at)
            del units[name]
        except OSError:
            # What was killed takes a moment.
            pass
    return True


def enter(name, channel):
    """In the unit's process, before it is the unit's program."""
    os.dup2(channel, 3)
    with open(f"{unified}/{name}/cgroup.procs", "w") as group:
        group.write("0")


def start(_connection, _sender, _path, _interface, _method, parameters, invocation):
    name, mode, properties, _auxiliary = parameters.unpack()
    properties = dict(properties)
    assert mode == "fail"
    look()
    if name in units:
        return invocation.return_dbus_error("org.freedesktop.systemd1.UnitExists", f"Unit {name} was already loaded.")
    fds = invocation.get_message().get_unix_fd_list().steal_fds()
    ((handle, _name),) = properties["ExtraFileDescriptors"]
    ((program, argv, _ignored),) = properties["ExecStart"]
    os.mkdir(f"{unified}/{name}")
    with open(f"{folder}/{name}.err", "ab") as errors:
        units[name] = subprocess.Popen(
            argv, executable=program, env={"PATH": "/usr/bin", "LISTEN_FDS": "1", "SECRET": "x"},
            stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True, pass_fds=[3],
            preexec_fn=lambda: enter(name, fds[handle]), cwd="/")
    for fd in fds:
        os.close(fd)
    with open(f"{folder}/{name}.json", "w") as file:
        json.dump(properties | {"pid": units[name].pid}, file, default=str)
    invocation.return_value(GLib.Variant("(o)", ("/org/freedesktop/systemd1/job/1",)))


def serve(connection, _name):
    # The copy of the descriptor must not be the number it is copied to.
    os.dup2(os.open("/dev/null", os.O_RDONLY), 3)
    connection.register_object_with_closures2(
        "/org/freedesktop/systemd1", Gio.DBusNodeInfo.new_for_xml(INTERFACE).interfaces[0], start, None, None)


connection = Gio.DBusConnection.new_for_address_sync(
    os.environ["DBUS_SYSTEM_BUS_ADDRESS"],
    Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION, None, None)
serve(connection, None)
Gio.bus_own_name_on_connection(connection, "org.freedesktop.systemd1", Gio.BusNameOwnerFlags.NONE, None, None)
GLib.timeout_add(20, look)
GLib.MainLoop().run()
