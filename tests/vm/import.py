"""import.py NAME ARCHIVE: ImportContainer, for scripts in the machine."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
os.environ.setdefault("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/run/dbus/system_bus_socket")

import gantry  # noqa: E402

name, archive = sys.argv[1:]
bus = gantry.Bus()
with open(archive, "rb") as file:
    handle = gantry.GLib.Variant("h", 0)
    job = bus.manager("ImportContainer", "(hsa{sv})", 0, name, {}, fds=[file.fileno()])
gantry.Job(bus, job).result(300)
