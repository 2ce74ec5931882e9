"""An authentication agent for one process, as the desktop's password dialog is."""

import os
import threading

from gi.repository import Gio, GLib

import gantry
from people import start_time

XML = """<node><interface name="org.freedesktop.PolicyKit1.AuthenticationAgent">
<method name="BeginAuthentication"><arg type="s" direction="in"/><arg type="s" direction="in"/>
<arg type="s" direction="in"/><arg type="a{ss}" direction="in"/><arg type="s" direction="in"/>
<arg type="a(sa{sv})" direction="in"/></method>
<method name="CancelAuthentication"><arg type="s" direction="in"/></method>
</interface></node>"""
AUTHORITY = ("org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority",
             "org.freedesktop.PolicyKit1.Authority")


class Agent:
    """Answers each question as `answer()` says: 'yes', 'dismiss', or 'wait' for ever."""

    def __init__(self, person, answer):
        self.answer = answer if callable(answer) else lambda: answer
        self.asked, self.cancelled = [], []
        self.uid = os.stat(f"/proc/{person.pid}").st_uid
        self.context = GLib.MainContext.new()
        self.loop = GLib.MainLoop.new(self.context, False)
        self.thread = threading.Thread(target=self.loop.run, daemon=True)
        self.bus = gantry.Bus()
        # Objects are served in the context that is the default when they are registered.
        self.context.push_thread_default()
        info = Gio.DBusNodeInfo.new_for_xml(XML)
        self.bus.connection.register_object_with_closures2("/agent", info.interfaces[0], self.serve, None, None)
        self.context.pop_thread_default()
        self.thread.start()
        subject = ("unix-process", {
            "pid": GLib.Variant("u", person.pid),
            "start-time": GLib.Variant("t", start_time(person.pid)),
        })
        self.polkit("RegisterAuthenticationAgent", "((sa{sv})ss)", subject, "C.UTF-8", "/agent")

    def polkit(self, method, signature, *args):
        self.bus.connection.call_sync(*AUTHORITY, method, GLib.Variant(signature, args), None,
                                      Gio.DBusCallFlags.NONE, -1, None)

    def serve(self, _connection, _sender, _path, _interface, method, parameters, invocation):
        if method == "CancelAuthentication":
            self.cancelled.append(parameters.unpack()[0])
            invocation.return_value(None)
            return
        action, message, _icon, details, cookie, _identities = parameters.unpack()
        self.asked.append((action, message, details))
        answer = self.answer()
        if answer == "wait":
            return
        if answer == "dismiss":
            invocation.return_dbus_error("org.freedesktop.PolicyKit1.Error.Cancelled", "dismissed")
            return
        root = ("unix-user", {"uid": GLib.Variant("u", 0)})
        self.polkit("AuthenticationAgentResponse2", "(us(sa{sv}))", self.uid, cookie, root)
        invocation.return_value(None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.bus.close()
        self.loop.quit()
        self.thread.join()


