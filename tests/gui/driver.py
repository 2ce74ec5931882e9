"""Drives the real window from outside, as a screen reader would, through AT-SPI.

Roles and names are those that assistive technologies are told; what cannot be found
by them cannot be used by them. Needs a display and a session bus with at-spi2-core.
"""

import ctypes
import os
import subprocess
import time
from contextlib import contextmanager, suppress

import gi

gi.require_version("Atspi", "2.0")
from gi.repository import Atspi, GLib  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PICTURES = os.path.join(TOP, "target", "pictures")

# AT-SPI's names for one role differ between releases.
ALIASES = {"button": {"button", "push button"}}


class NotThere(Exception):
    """Nothing of that role and name appeared in time; says what there was."""


def wait_until(condition, what, timeout=20):
    """The first true result of `condition`; fails with `what` after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        began = time.monotonic()
        try:
            result = condition()
        except GLib.Error:
            # The widget went away while it was looked at.
            result = None
        if result:
            return result
        now = time.monotonic()
        if now > end:
            raise NotThere(what() if callable(what) else what)
        # Whoever looks takes no more time than the window.
        time.sleep(max(0.05, min(now - began, 1)))


class App:
    """The program in a process of its own."""

    def __init__(self, *command, env=None):
        # An accessible application is named after its program.
        self.name = os.path.basename(command[0])
        self.process = subprocess.Popen(command, env={**os.environ, **(env or {})})
        self.root = None

    def wait_for_window(self, timeout=30):
        self.root = wait_until(self._find, f"{self.name} has no window", timeout)
        return self

    def _find(self):
        if self.process.poll() is not None:
            raise NotThere(f"{self.name} ended with status {self.process.returncode}")
        desktop = Atspi.get_desktop(0)
        for index in range(desktop.get_child_count()):
            application = desktop.get_child_at_index(index)
            if application and application.get_process_id() == self.process.pid and application.get_child_count():
                return application
        return None

    def close(self):
        self.process.terminate()
        self.process.wait(10)

    # --- finding

    def nodes(self, root=None):
        """Every showing widget, depth first."""
        stack = [root or self.root]
        while stack:
            node = stack.pop()
            if node is None or not (node == self.root or node.get_state_set().contains(Atspi.StateType.SHOWING)):
                continue
            yield node
            stack.extend(node.get_child_at_index(i) for i in reversed(range(node.get_child_count())))

    def all(self, role, name=None):
        """Every showing widget of that role whose name is, or begins with, `name`."""
        roles = ALIASES.get(role, {role})
        return [node for node in self.nodes()
                if node.get_role_name() in roles and (name is None or (node.get_name() or "").startswith(name))]

    def find(self, role, name=None, timeout=20):
        """The first showing widget of that role whose name is, or begins with, `name`."""
        return wait_until(
            lambda: next(iter(self.all(role, name)), None),
            lambda: f"no {role} {name!r} in:\n{self.outline()}",
            timeout,
        )

    def gone(self, role, name=None, timeout=20):
        wait_until(lambda: not self.all(role, name), lambda: f"{role} {name!r} stays in:\n{self.outline()}", timeout)

    def outline(self):
        """What a screen reader could read now."""
        lines = []

        def walk(node, depth):
            if node is None:
                return
            if node != self.root and not node.get_state_set().contains(Atspi.StateType.SHOWING):
                return
            if node.get_name():
                lines.append("  " * depth + f"{node.get_role_name()} {node.get_name()!r}")
                depth += 1
            for index in range(node.get_child_count()):
                walk(node.get_child_at_index(index), depth)

        walk(self.root, 0)
        return "\n".join(lines)

    # --- doing

    def press(self, role, name=None, timeout=20):
        """Waits until the widget can be used, then does what a click would."""
        def usable():
            # A row and the switch in it have one name; only the switch can be acted on.
            return next((n for n in self.all(role, name) if is_sensitive(n) and can_act(n)), None)

        node = wait_until(usable, lambda: f"no usable {role} {name!r} in:\n{self.outline()}", timeout)
        act(node)
        return node

    def select(self, name):
        """Selects the row of the container `name`."""
        row = self.find("list item", f"{name},")
        Atspi.Selection.select_child(row.get_parent(), row.get_index_in_parent())
        return row

    def menu(self, button, mnemonic):
        """Opens a menu by its button and takes the item with that underlined letter.

        GTK 4.18 tells nobody the names of a menu's items, only their keys.
        """
        self.press("toggle button", button)

        def item():
            items = self.all("menu item")
            keys = [(node, node.get_attributes().get("keyshortcuts", "")) for node in items]
            return next((node for node, keys in keys if f"Alt+{mnemonic}" in keys.split() and is_sensitive(node)), None)

        act(wait_until(item, f"the menu {button!r} has no usable item with the key {mnemonic}"))

    def tab_to(self, node):
        """Moves the keyboard's focus to a widget, by Tab alone."""
        def focused():
            return next(filter(is_focused, self.nodes()), None)

        focus()
        for _ in range(100):
            before = focused()
            if before == node:
                return
            key("Tab")
            wait_until(lambda: (now := focused()) is not None and now != before, "Tab leads nowhere")
        raise NotThere(f"{node.get_name()!r} is not reached by Tab")

    def choose(self, role, name, option):
        """Chooses from a list that drops down, by the keyboard alone."""
        # What the pointer is above would be chosen instead.
        Atspi.generate_mouse_event(1279, 799, "abs")
        row = self.find(role, name)
        # A key that was late on a busy machine may have gone one too far: once more then.
        for _ in range(4):
            self.tab_to(row)
            key("space")
            self._walk_to(option)
            with suppress(NotThere):
                wait_until(lambda: option in map(Atspi.Accessible.get_name, self.nodes(row)), "another is chosen", 3)
                return
        raise NotThere(f"{option!r} is not chosen in:\n{self.outline()}")

    def _walk_to(self, option):
        """Goes to an option of a list that has just been opened, and takes it."""
        # Only their labels have names.
        def is_wanted(item):
            return option in map(Atspi.Accessible.get_name, self.nodes(item))

        def place(matches):
            # The list may change under the look.
            with suppress(GLib.Error):
                options = [node for node in self.all("list item") if not node.get_name()]
                return next((number for number, node in enumerate(options) if matches(node)), None)
            return None

        wait_until(lambda: place(is_wanted) is not None,
                   lambda: f"there is no {option!r} to choose in:\n{self.outline()}")

        # Asked of each anew: a list that has just opened makes its items over again, and
        # the one that was found first may be none of them any more.
        def focused():
            return next((node for node in self.nodes() if is_focused(node) and node.get_role_name() == "list item"), None)

        for _ in range(20):
            now = wait_until(focused, "no option has the focus")
            if is_wanted(now):
                key("Return")
                wait_until(lambda: not focused(), "the list stays open")
                return
            here, there = place(is_focused), place(is_wanted)
            key("Up" if None not in (here, there) and there < here else "Down")
            # A list that is still opening takes the focus back to where it was: again.
            with suppress(NotThere):
                wait_until(lambda: focused() not in (None, now), "the focus stays", 3)
        raise NotThere(f"{option!r} is not reached by the keyboard")

    def write(self, name, text):
        """Sets the text of the entry called `name`; one for searching has a role of its own."""
        entry = wait_until(lambda: next(iter(self.all("text", name) + self.all("entry", name) + self.all("password text", name)), None),
                           lambda: f"no entry {name!r} in:\n{self.outline()}")
        if not Atspi.EditableText.set_text_contents(entry, text):
            raise NotThere(f"{name!r} takes no text")

    def enter(self, row, text):
        """Types a setting into its row and applies it."""
        self.tab_to(self.find("text", row))
        self.write(row, text)
        self.find("button", "Apply")
        key("Return")

    def answer(self, heading, verb, timeout=20):
        """Gives an answer to the question with that heading; what lies below it has buttons too."""
        alert = self.find("alert", heading, timeout)
        buttons = [node for node in self.nodes(alert) if node.get_role_name() in ALIASES["button"]]
        act(next(node for node in buttons if node.get_name() == verb))
        self.gone("alert", heading)

    # --- terminals

    def terminal(self, name=None):
        return self.find("terminal", name)

    def text(self, name=None):
        terminal = self.terminal(name)
        return Atspi.Text.get_text(terminal, 0, -1)

    def wait_for_text(self, wanted, name=None, timeout=30):
        return wait_until(
            lambda: (text := self.text(name)) is not None and wanted in text and (text or "\n"),
            lambda: f"{wanted!r} is not in the terminal:\n{self.text(name)}",
            timeout,
        )

    def wait_for_quiet(self, name=None, seconds=1):
        """Waits until the terminal's text has not changed for a while."""
        text, since = self.text(name), time.monotonic()
        while time.monotonic() - since < seconds:
            time.sleep(0.1)
            if (now := self.text(name)) != text:
                text, since = now, time.monotonic()

    def type(self, text, name=None):
        """Types into the terminal, key by key, as a keyboard does; it has to have the focus."""
        terminal = self.terminal(name)
        focus()
        wait_until(
            lambda: is_focused(terminal),
            "the terminal does not take the focus",
        )
        for character in text:
            key("Return" if character == "\n" else character)


def is_sensitive(node):
    states = node.get_state_set()
    return states.contains(Atspi.StateType.SENSITIVE) and states.contains(Atspi.StateType.SHOWING)


def is_focused(node):
    return node.get_state_set().contains(Atspi.StateType.FOCUSED)


def can_act(node):
    return bool(node.get_action_iface()) and Atspi.Action.get_n_actions(node) > 0


def act(node):
    """Does the widget's first action, which is what a click does."""
    if not can_act(node) or not Atspi.Action.do_action(node, 0):
        raise NotThere(f"{node.get_role_name()} {node.get_name()!r} cannot be acted on")


SYMBOLS = {"Return": 0xFF0D, "Escape": 0xFF1B, "Tab": 0xFF09, "Shift_L": 0xFFE1, "Control_L": 0xFFE3,
           "F2": 0xFFBF, "Up": 0xFF52, "Down": 0xFF54, "space": 0x20}


def key(name, *held):
    """Presses and releases one key, a character or a name of X11, while others are held."""
    for modifier in held:
        Atspi.generate_keyboard_event(keycode(modifier), None, Atspi.KeySynthType.PRESS)
    if name in SYMBOLS:
        Atspi.generate_keyboard_event(SYMBOLS[name], None, Atspi.KeySynthType.SYM)
    elif held:
        Atspi.generate_keyboard_event(ord(name), None, Atspi.KeySynthType.SYM)
    else:
        Atspi.generate_keyboard_event(0, name, Atspi.KeySynthType.STRING)
    for modifier in reversed(held):
        Atspi.generate_keyboard_event(keycode(modifier), None, Atspi.KeySynthType.RELEASE)
    time.sleep(0.01)


def keycode(name):
    with x11() as (library, display):
        return library.XKeysymToKeycode(display, ctypes.c_ulong(SYMBOLS[name]))


@contextmanager
def x11():
    library = ctypes.CDLL("libX11.so.6")
    library.XOpenDisplay.restype = ctypes.c_void_p
    library.XDefaultRootWindow.restype = ctypes.c_ulong
    display = ctypes.c_void_p(library.XOpenDisplay(None))
    yield library, display
    library.XCloseDisplay(display)


def window(library, display):
    """The topmost window of the display that is seen; the small ones are GTK's helpers."""
    root = ctypes.c_ulong(library.XDefaultRootWindow(display))
    ignored, count = ctypes.c_ulong(), ctypes.c_uint()
    children = ctypes.POINTER(ctypes.c_ulong)()
    library.XQueryTree(display, root, ctypes.byref(ignored), ctypes.byref(ignored),
                       ctypes.byref(children), ctypes.byref(count))
    for child in reversed(children[:count.value]):
        # An XWindowAttributes: its third number is the width, its 24th is 2 when it is seen.
        attributes = (ctypes.c_int * 64)()
        library.XGetWindowAttributes(display, ctypes.c_ulong(child), attributes)
        if attributes[2] >= 300 and attributes[23] == 2:
            return ctypes.c_ulong(child)
    raise NotThere("there is no window on the display")


def focus():
    """Gives the window the keyboard; there is no window manager to do it."""
    with x11() as (library, display):
        library.XSetInputFocus(display, window(library, display), 2, 0)


def repeat_no_keys():
    """A key that is released late on a busy machine is not a key that is held."""
    with x11() as (library, display):
        library.XAutoRepeatOff(display)


def drag(node, target):
    """Drags one widget to another with the mouse, step by step as a hand does.

    They have to be larger than the shadow of the window, which AT-SPI leaves out of places.
    """
    def middle(widget):
        place = Atspi.Component.get_extents(widget, Atspi.CoordType.WINDOW)
        return place.x + place.width // 2, place.y + place.height // 2

    (x, y), (to_x, to_y) = middle(node), middle(target)
    Atspi.generate_mouse_event(x, y, "abs")
    Atspi.generate_mouse_event(x, y, "b1p")
    for step in range(1, 21):
        Atspi.generate_mouse_event(x + (to_x - x) * step // 20, y + (to_y - y) * step // 20, "abs")
        time.sleep(0.03)
    time.sleep(0.3)
    Atspi.generate_mouse_event(to_x, to_y, "b1r")


def resize(width, height):
    """Gives the window another size."""
    with x11() as (library, display):
        library.XMoveResizeWindow(display, window(library, display), 0, 0, width, height)
    time.sleep(0.5)


def screenshot(name_or_path):
    """Saves the display as target/pictures/NAME.png, or at a path of one's own."""
    path = name_or_path
    if not path.endswith(".png"):
        os.makedirs(PICTURES, exist_ok=True)
        path = os.path.join(PICTURES, f"{name_or_path}.png")
    # What is on the screen lags behind what AT-SPI says by a frame or a transition.
    time.sleep(0.6)
    subprocess.run(["import", "-window", "root", path], check=True)
    return path


@contextmanager
def running(*command, env=None):
    """The program with its window open; ended when the block is left."""
    app = App(*command, env=env)
    try:
        yield app.wait_for_window()
    finally:
        app.close()
