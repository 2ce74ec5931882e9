"""A helper that only pretends: the contract's objects without containers behind them.

For what the real helper cannot be made to do on demand: a job that waits, one that
fails, a password dialog that is dismissed, a helper that goes away. Containers and
jobs live in memory; a console is a PTY that echoes. Run with the address of a bus in
DBUS_SYSTEM_BUS_ADDRESS:

    fake_helper.py [NAME[=STATE]...]

A name chooses what happens to the container: creating `slow…` waits until cancelled,
creating `fail…` fails; starting `closed…` is a dismissed dialog, `broken…` an error;
somebody else saves the configuration of `shared…` once it has been read; usage and
devices of `closed…` need a password or are refused. A job of a group never ends. On the host
things are missing, but all is well where there is a container `well…`, and nobody may
look where there is one `closed…`.
"""

import os
import pty
import sys
import threading
import tty

import gi

gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib  # noqa: E402

import fake_networks  # noqa: E402
import fake_storage  # noqa: E402
from fake_networks import Refusal  # noqa: E402

NAME = "io.gantry.Gantry1"
ROOT = "/io/gantry/Gantry1"
XML = """<node>
<interface name="org.freedesktop.DBus.ObjectManager">
  <method name="GetManagedObjects"><arg type="a{oa{sa{sv}}}" direction="out"/></method>
</interface>
<interface name="io.gantry.Gantry1.Manager">
  <property name="Features" type="as" access="read"/>
  <property name="Unconfirmed" type="a(sx)" access="read"/>
  <method name="ConfirmInterface"><arg type="s" direction="in"/><arg type="a{sv}" direction="in"/></method>
  <method name="ListRemoteImages"><arg type="s" direction="in"/><arg type="a{sv}" direction="in"/><arg type="o" direction="out"/></method>
  <method name="ImportContainer"><arg type="h" direction="in"/><arg type="s" direction="in"/><arg type="a{sv}" direction="in"/><arg type="o" direction="out"/></method>
  <method name="CheckHost"><arg type="a(sssb)" direction="out"/></method>
  <method name="CreateContainer"><arg type="s" direction="in"/><arg type="a{sv}" direction="in"/><arg type="o" direction="out"/></method>
  <method name="StartGroup"><arg type="s" direction="in"/><arg type="a{sv}" direction="in"/><arg type="o" direction="out"/></method>
  <method name="CreateNetwork"><arg type="s" direction="in"/><arg type="a{sv}" direction="in"/><arg type="o" direction="out"/></method>
  <method name="ListHostInterfaces"><arg type="aa{sv}" direction="out"/></method>
  <method name="ListContainers"><arg type="a{sv}" direction="in"/><arg type="a(sssuo)" direction="out"/></method>
  <method name="WatchUsage"><arg type="u" direction="in"/><arg type="a{sv}" direction="in"/><arg type="o" direction="out"/></method>
</interface>
<interface name="io.gantry.Gantry1.Container">
  <method name="Start"><arg type="a{sv}" direction="in"/></method>
  <method name="Kill"><arg type="a{sv}" direction="in"/></method>
  <method name="Freeze"><arg type="a{sv}" direction="in"/></method>
  <method name="Unfreeze"><arg type="a{sv}" direction="in"/></method>
  <method name="Stop"><arg type="a{sv}" direction="in"/><arg type="o" direction="out"/></method>
  <method name="Reboot"><arg type="a{sv}" direction="in"/><arg type="o" direction="out"/></method>
  <method name="Destroy"><arg type="a{sv}" direction="in"/><arg type="o" direction="out"/></method>
  <method name="Export"><arg type="h" direction="in"/><arg type="a{sv}" direction="in"/><arg type="o" direction="out"/></method>
  <method name="Rename"><arg type="s" direction="in"/><arg type="a{sv}" direction="in"/></method>
  <method name="GetConfigItem"><arg type="s" direction="in"/><arg type="as" direction="out"/></method>
  <method name="GetConfig"><arg type="s" direction="out"/><arg type="t" direction="out"/></method>
  <method name="SetConfig"><arg type="s" direction="in"/><arg type="t" direction="in"/><arg type="a{sv}" direction="in"/></method>
  <method name="ReadLog"><arg type="s" direction="in"/><arg type="a{sv}" direction="in"/><arg type="h" direction="out"/></method>
  <method name="Execute"><arg type="as" direction="in"/><arg type="a{sv}" direction="in"/><arg type="h" direction="out"/><arg type="h" direction="out"/><arg type="h" direction="out"/><arg type="o" direction="out"/></method>
  <method name="OpenConsole"><arg type="a{sv}" direction="in"/><arg type="h" direction="out"/><arg type="o" direction="out"/></method>
  <method name="OpenShell"><arg type="a{sv}" direction="in"/><arg type="h" direction="out"/><arg type="o" direction="out"/></method>
</interface>
<interface name="io.gantry.Gantry1.Devices">
  <method name="List"><arg type="aa{sv}" direction="out"/></method>
</interface>
<interface name="io.gantry.Gantry1.Job">
  <property name="Result" type="a{sv}" access="read"/>
  <property name="ErrorName" type="s" access="read"/>
  <property name="ErrorMessage" type="s" access="read"/>
  <method name="Cancel"><arg type="a{sv}" direction="in"/></method>
  <method name="Wait"><arg type="x" direction="in"/><arg type="s" direction="out"/></method>
</interface>
<interface name="io.gantry.Gantry1.Session">
  <method name="Resize"><arg type="q" direction="in"/><arg type="q" direction="in"/></method>
  <method name="Close"/>
</interface>
""" + fake_networks.XML + fake_storage.XML + "</node>"
INTERFACES = {interface.name: interface for interface in Gio.DBusNodeInfo.new_for_xml(XML).interfaces}
STATES = {"Kill": "STOPPED", "Freeze": "FROZEN", "Unfreeze": "RUNNING"}


def object_path(name):
    escaped = "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):02x}" for c in name)
    return f"{ROOT}/container/system/{escaped}"


class Helper(fake_networks.Networks, fake_storage.Storage):
    path_of = staticmethod(object_path)

    def __init__(self, bus):
        fake_networks.Networks.__init__(self)
        fake_storage.Storage.__init__(self)
        self.bus = bus
        self.objects = {}
        self.registrations = {}
        self.sessions = {}
        self.waiting = {}
        self.may_ask = False
        self.count = 0
        self.configs = {}
        for interface in ("org.freedesktop.DBus.ObjectManager", NAME + ".Manager"):
            bus.register_object(ROOT, INTERFACES[interface], self.called, self.property, None)

    # --- objects and signals

    def add(self, path, kind, properties):
        self.objects[path] = (kind, properties)
        more = (NAME + ".Devices", NAME + ".Snapshots", NAME + ".Interfaces", NAME + ".Resources") if kind.endswith(".Container") else ()
        kinds = [kind, *more]
        self.registrations[path] = [self.bus.register_object(path, INTERFACES[kind], self.called, self.property, None)
                                    for kind in kinds]
        self.signal(ROOT, "org.freedesktop.DBus.ObjectManager", "InterfacesAdded",
                    GLib.Variant("(oa{sa{sv}})", (path, {kind: properties})))

    def change(self, path, **changed):
        kind, properties = self.objects[path]
        properties.update(changed)
        if "State" in changed:
            for waiting in self.waiting.pop(path, []):
                waiting.return_value(GLib.Variant("(s)", (changed["State"].unpack(),)))
            self.plug()
        self.signal(path, "org.freedesktop.DBus.Properties", "PropertiesChanged",
                    GLib.Variant("(sa{sv}as)", (kind, changed, [])))

    def property(self, _bus, _sender, path, _interface, name):
        if name == "Features":
            return GLib.Variant("as", ["template-download", "template-debootstrap", "template-script", "backend-dir",
                                       "backend-overlay", "backend-btrfs", "backend-zfs", "backend-lvm", "backend-loop",
                                       "template-oci"])
        if name == "Unconfirmed":
            return self.unconfirmed()
        return self.objects[path][1][name]

    def remove(self, path):
        kind, _ = self.objects.pop(path)
        for registration in self.registrations.pop(path):
            self.bus.unregister_object(registration)
        self.signal(ROOT, "org.freedesktop.DBus.ObjectManager", "InterfacesRemoved",
                    GLib.Variant("(oas)", (path, [kind])))

    def signal(self, path, interface, member, body):
        self.bus.emit_signal(None, path, interface, member, body)

    def container(self, name, state="STOPPED", privileged=False):
        path = object_path(name)
        v = GLib.Variant
        self.add(path, NAME + ".Container", {
            "Name": v("s", name), "Owner": v("s", "system"), "Uid": v("u", 0), "State": v("s", state),
            "InitPid": v("u", 4321 if state == "RUNNING" else 0),
            "StartedAt": v("x", GLib.get_real_time() - 93_784_000_000 if state == "RUNNING" else 0),
            "Addresses": v("as", ["10.0.3.17", "fd00::17"] if state == "RUNNING" else []),
            "Autostart": v("b", False), "Groups": v("as", ["web"] if "web" in name else []),
            "Backend": v("s", "loop" if name.startswith("loop") else "dir"),
            "Privileged": v("b", privileged), "Ephemeral": v("b", False), "Architecture": v("s", "x86_64"),
            "ConfigError": v("s", "/var/lib/lxc/odd/config, line 3: “lxc.rootfs.pathh” is not a key of LXC."
                             if name.startswith("odd") else ""),
            "LegacyConfig": v("b", name.startswith("old")),
            "NeedsRestart": v("as", ["lxc.cap.drop", "lxc.cgroup2.memory.max"]
                              if name.startswith("changed") else []),
            "Dependents": v("as", []), "Description": v("s", ""),
        })
        self.wires[path] = {0: {"type": "veth", "link": "lxcbr0", "name": "eth0", "hwaddr": "00:16:3e:11:22:33", "up": True}}
        self.plug()
        return path

    def switch(self, path, state):
        v, runs = GLib.Variant, state == "RUNNING"
        self.change(path, State=v("s", state), InitPid=v("u", 4321 if runs else 0),
                    Addresses=v("as", ["10.0.3.17"] if runs else []))

    def job(self, operation, objects, work, milliseconds=300):
        """A job that ends with `work` after a while, or never when that is None."""
        self.count += 1
        path, v = f"{ROOT}/job/{self.count}", GLib.Variant
        self.add(path, NAME + ".Job", {
            "Operation": v("s", operation), "Objects": v("as", objects), "StartedBy": v("u", 0),
            "State": v("s", "running"), "Stage": v("s", "Unpacking"), "Progress": v("d", 0.4),
            "Bytes": v("t", 52_000_000), "Total": v("t", 130_000_000), "CanCancel": v("b", True),
            "ErrorName": v("s", ""), "ErrorMessage": v("s", ""), "Result": v("a{sv}", {}),
        })

        def end():
            if self.objects[path][1]["State"].unpack() == "running":
                try:
                    result = work() or {}
                    self.change(path, State=v("s", "done"), Progress=v("d", 1.0), Result=v("a{sv}", result))
                except Refusal as refusal:
                    name, message = refusal.args
                    self.change(path, State=v("s", "failed"), ErrorName=v("s", f"{NAME}.Error.{name}"),
                                ErrorMessage=v("s", message))
            return False

        if work:
            GLib.timeout_add(milliseconds, end)
        return path

    def session(self, greeting):
        """A PTY whose other end greets and echoes; `exit` ends the session with status 3."""
        self.count += 1
        path = f"{ROOT}/session/{self.count}"
        master, slave = pty.openpty()
        tty.setraw(slave)
        self.add(path, NAME + ".Session", {})
        self.sessions[path] = slave
        os.write(slave, greeting.encode())
        threading.Thread(target=self.echo, args=(path, slave), daemon=True).start()
        return master, path

    @staticmethod
    def read(slave):
        try:
            return os.read(slave, 1024)
        except OSError:  # nobody holds the master any more
            return b""

    def echo(self, path, slave):
        line = b""
        while data := self.read(slave):
            os.write(slave, data.replace(b"\r", b"\r\n"))
            line += data
            if b"\r" in line:
                command, line = line.split(b"\r", 1)
                if command == b"exit":
                    break
                os.write(slave, b"said " + command + b"\r\n")
        self.signal(path, NAME + ".Session", "Exited", GLib.Variant("(i)", (3,)))
        os.close(slave)

    def name(self, path):
        return self.objects[path][1]["Name"].unpack()

    # --- methods

    def CheckHost(self, _path):
        names = [properties["Name"].unpack() for _, properties in self.objects.values() if "Name" in properties]
        if any(name.startswith("closed") for name in names):
            raise Refusal("NotAuthorized", "Nobody may look at this computer.")
        findings = [
            ("kernel", "version", "Linux 6.12.48.", True), ("kernel", "veth", "Available.", True),
            ("tools", "tar", "/usr/bin/tar.", True),
            ("extras", "vlan", "Missing: lxc.net.N.type = vlan does not work. Boot a kernel with CONFIG_VLAN_8021Q.", False),
        ]
        if not any(name.startswith("well") for name in names):
            findings += [
                ("tools", "xz", "Missing: archives that end in .xz cannot be unpacked. Run “apt install xz-utils”.", False),
                ("network", "lxcbr0", "Missing, and there is no other bridge to wire containers to. "
                 "Run “systemctl start lxc-net”.", False),
            ]
        return [], "(a(sssb))", (findings,)

    def Rename(self, path, name, _options):
        self.remove(path)
        self.container(name)

    def GetConfig(self, path):
        text, revision = self.configs.setdefault(path, ("# my own words\nlxc.uts.name = web1\n", 1))
        if self.name(path).startswith("shared"):
            self.configs[path] = ("# theirs\n", 2)
        return [], "(st)", (text, revision)

    def GetConfigItem(self, _path, _key):
        return [], "(as)", ([],)

    def SetConfig(self, path, text, revision, _options):
        name = self.name(path)
        if revision != self.configs[path][1]:
            raise Refusal("Conflict", f"The configuration of “{name}” has been changed meanwhile.")
        lines = text.splitlines()
        if "lxc.wrong = 1" in lines:
            raise Refusal("InvalidConfig", f"/var/lib/lxc/{name}/config, line {lines.index('lxc.wrong = 1') + 1}, "
                          "lxc.wrong: no version of LXC has such a key; correct or remove the line")
        self.configs[path] = (text, revision + 1)
        print("saved " + repr(text), flush=True)

    def ReadLog(self, _path, which, _options):
        fd = os.memfd_create("log")
        os.write(fd, b"" if which == "container" else b"\x1b[32mWelcome\x1b[0m to the console\r\n")
        os.lseek(fd, 0, os.SEEK_SET)
        return [fd], "(h)", (0,)

    def Execute(self, _path, argv, _options):
        master, session = self.session(f"ran {argv}\r\n")
        return [master], "(hhho)", (0, 0, 0, session)

    def called(self, _bus, _sender, path, interface, method, arguments, invocation):
        flags = invocation.get_message().get_flags()
        self.may_ask = bool(flags & Gio.DBusMessageFlags.ALLOW_INTERACTIVE_AUTHORIZATION)
        if method == "Wait" and self.objects[path][1]["State"].unpack() == "running":
            self.waiting.setdefault(path, []).append(invocation)
            return
        try:
            # Two interfaces have a List.
            method = getattr(self, interface.rsplit(".", 1)[1] + method, None) or getattr(self, method)
            invocation_values = method(path, *arguments.unpack())
        except Refusal as refusal:
            name, message = refusal.args
            invocation.return_dbus_error(name if "." in name else f"{NAME}.Error.{name}", message)
            return
        fds, signature, values = invocation_values or ([], "()", ())
        fd_list = Gio.UnixFDList.new_from_array(fds) if fds else None
        invocation.return_value_with_unix_fd_list(GLib.Variant(signature, values), fd_list)

    def GetManagedObjects(self, _path):
        objects = {path: {kind: properties} for path, (kind, properties) in self.objects.items()}
        return [], "(a{oa{sa{sv}}})", (objects,)

    def CreateContainer(self, _path, name, options):
        def work():
            if name.startswith("fail"):
                raise Refusal("NoSpace", "The disk is full: “fail” needs 130 MB, 12 MB are free.\ntar: write error")
            self.container(name, "RUNNING" if options.get("start") else "STOPPED", options.get("privileged", False))
            print("created " + repr(options), flush=True)
            login = "Log in as root; set its password with “passwd” in a shell." if options["template"] == "download" else ""
            return {"container": GLib.Variant("o", object_path(name)), "first_login": GLib.Variant("s", login)}

        if name.startswith("taken"):
            raise Refusal("Exists", f"There is a container “{name}” already.")
        return [], "(o)", (self.job("CreateContainer", [object_path(name)], None if name.startswith("slow") else work),)

    def ListContainers(self, _path, _options):
        found = [(path, properties) for path, (kind, properties) in self.objects.items() if kind.endswith(".Container")]
        rows = [(p["Name"].unpack(), "system", p["State"].unpack(), p["InitPid"].unpack(), path) for path, p in found]
        return [], "(a(sssuo))", (rows,)

    def StartGroup(self, _path, group, _options):
        members = [path for path, (_, properties) in self.objects.items()
                   if "Groups" in properties and group in properties["Groups"].unpack()]
        job = self.job("StartGroup", members, None)
        self.change(job, Stage=GLib.Variant("s", "web1: starting"), Bytes=GLib.Variant("t", 1),
                    Total=GLib.Variant("t", len(members)))
        return [], "(o)", (job,)

    def WatchUsage(self, _path, _interval, options):
        (name,) = options["containers"]
        if name.startswith("system/closed") and not self.may_ask:
            raise Refusal("org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", "A password is needed.")
        self.count += 1
        session, at, v = f"{ROOT}/session/{self.count}", 0, GLib.Variant

        def sample():
            nonlocal at
            at += 1
            usage = {"cpu_ns": at * 125_000_000, "memory": 52_000_000, "memory_limit": 64_000_000, "pids": 7,
                     "io_read": at * 4096, "io_write": 0, "rx": at * 1_200_000, "tx": at * 800}
            usage = {key: v("t", value) for key, value in usage.items()}
            if session in self.objects:
                self.signal(session, NAME + ".Session", "Sample", v("(taa{sv})", (at * 1_000_000, [usage])))
            return session in self.objects

        self.add(session, NAME + ".Session", {})
        GLib.timeout_add(300, sample)
        return [], "(o)", (session,)

    def Wait(self, path, _timeout):
        return [], "(s)", (self.objects[path][1]["State"].unpack(),)

    def DevicesList(self, path):
        if self.name(path).startswith("closed"):
            raise Refusal("NotAuthorized", "Nobody may look at the devices.")
        v = GLib.Variant
        node = {"type": v("s", "node"), "path": v("s", "/dev/sdb1"), "kind": v("s", "block"), "major": v("u", 7),
                "minor": v("u", 0)}
        lent = {"type": v("s", "interface"), "name": v("s", "eth1"), "host": v("s", "enp4s0")}
        return [], "(aa{sv})", ([node, lent],)

    def Start(self, path, _options):
        name = self.name(path)
        if name.startswith("closed"):
            raise Refusal("AuthorizationDismissed", "The dialog was closed.")
        if name.startswith("broken"):
            raise Refusal("StartFailed", f"“{name}” did not start at the step “network”: lxcbr0 does not exist.\n"
                          "lxc.net.0.link = lxcbr0\nNo such device (os error 19)")
        self.switch(path, "RUNNING")

    def Kill(self, path, _options):
        self.switch(path, "STOPPED")

    def Freeze(self, path, _options):
        self.change(path, State=GLib.Variant("s", "FROZEN"))

    def Unfreeze(self, path, _options):
        self.change(path, State=GLib.Variant("s", "RUNNING"))

    def Stop(self, path, _options):
        self.change(path, State=GLib.Variant("s", "STOPPING"))
        return [], "(o)", (self.job("Stop", [path], lambda: self.switch(path, "STOPPED")),)

    def Reboot(self, path, _options):
        return [], "(o)", (self.job("Reboot", [path], lambda: self.switch(path, "RUNNING")),)

    def Destroy(self, path, options):
        name, state = (self.objects[path][1][key].unpack() for key in ("Name", "State"))
        if state != "STOPPED" and not options.get("force"):
            raise Refusal("WrongState", f"“{name}” is running.")
        return [], "(o)", (self.job("Destroy", [path], lambda: self.remove(path)),)

    def OpenConsole(self, _path, _options):
        master, session = self.session("Welcome to the console\r\nlogin: ")
        return [master], "(ho)", (0, session)

    def OpenShell(self, _path, _options):
        master, session = self.session("/ # ")
        return [master], "(ho)", (0, session)

    def Cancel(self, path, _options):
        self.change(path, State=GLib.Variant("s", "cancelled"), CanCancel=GLib.Variant("b", False))

    def Resize(self, _path, columns, rows):
        print(f"resized {columns}x{rows}", flush=True)

    def Close(self, path):
        print(f"closed {path}", flush=True)
        self.remove(path)


def main():
    flags = Gio.DBusConnectionFlags
    bus = Gio.DBusConnection.new_for_address_sync(
        os.environ["DBUS_SYSTEM_BUS_ADDRESS"], flags.AUTHENTICATION_CLIENT | flags.MESSAGE_BUS_CONNECTION, None, None)
    helper = Helper(bus)
    helper.networks()
    for argument in sys.argv[1:]:
        helper.container(*argument.split("=", 1))
    Gio.bus_own_name_on_connection(bus, NAME, Gio.BusNameOwnerFlags.NONE, None, None)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
