"""What a host finds names with, pretended on the bus: systemd-resolved, NetworkManager, and
as much of systemd as starts the system's dnsmasq anew, which is a real one. Every call is a
line of JSON in the file of the argument.
"""

import json
import os
import subprocess
import sys
import time

from gi.repository import Gio, GLib

CALLS = sys.argv[1]
PID = f"{CALLS}.pid"
DNSMASQ = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--conf-dir=/etc/dnsmasq.d", "--no-resolv",
           "--no-hosts", "--user=root", f"--pid-file={PID}"]
JOB = "/org/freedesktop/systemd1/job/7"
server = None

OBJECTS = {
    "org.freedesktop.resolve1": ("/org/freedesktop/resolve1", """<interface name="org.freedesktop.resolve1.Manager">
<method name="SetLinkDNS"><arg type="i" direction="in"/><arg type="a(iay)" direction="in"/></method>
<method name="SetLinkDomains"><arg type="i" direction="in"/><arg type="a(sb)" direction="in"/></method>
<method name="SetLinkDefaultRoute"><arg type="i" direction="in"/><arg type="b" direction="in"/></method>
<method name="RevertLink"><arg type="i" direction="in"/></method></interface>"""),
    "org.freedesktop.NetworkManager": ("/org/freedesktop/NetworkManager", """<interface name="org.freedesktop.NetworkManager">
<method name="Reload"><arg type="u" direction="in"/></method></interface>"""),
    "org.freedesktop.systemd1": ("/org/freedesktop/systemd1", """<interface name="org.freedesktop.systemd1.Manager">
<method name="Subscribe"/>
<method name="TryRestartUnit"><arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="o" direction="out"/></method>
<signal name="JobRemoved"><arg type="u"/><arg type="o"/><arg type="s"/><arg type="s"/></signal></interface>"""),
}


def serve_dnsmasq():
    global server
    if server:
        server.kill()
        server.wait()
        os.unlink(PID)
    server = subprocess.Popen(DNSMASQ)
    # Whoever ends us finds it by this file.
    while server.poll() is None and (not os.path.exists(PID) or open(PID).read().strip() != str(server.pid)):
        time.sleep(0.01)


def call(connection, _sender, path, interface, method, parameters, invocation):
    if method == "Subscribe":
        return invocation.return_value(None)
    if method == "TryRestartUnit":
        invocation.return_value(GLib.Variant("(o)", (JOB,)))
        serve_dnsmasq()
    with open(CALLS, "a") as file:
        file.write(json.dumps([method, *parameters.unpack()]) + "\n")
    if method != "TryRestartUnit":
        return invocation.return_value(None)
    connection.emit_signal(None, path, interface, "JobRemoved",
                           GLib.Variant("(uoss)", (7, JOB, parameters.unpack()[0], "done")))


serve_dnsmasq()
bus = Gio.DBusConnection.new_for_address_sync(
    os.environ["DBUS_SYSTEM_BUS_ADDRESS"],
    Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION, None, None)
for name, (path, xml) in OBJECTS.items():
    bus.register_object_with_closures2(path, Gio.DBusNodeInfo.new_for_xml(f"<node>{xml}</node>").interfaces[0], call, None, None)
    Gio.bus_own_name_on_connection(bus, name, Gio.BusNameOwnerFlags.NONE, None, None)
GLib.MainLoop().run()
