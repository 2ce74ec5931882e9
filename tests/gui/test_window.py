"""The main job in the real window, before the real helper."""

import os
import signal

import desktop
import gantry
import pytest
import show
from gi.repository import Gio, GLib


@pytest.fixture
def app(driver):
    with driver.running(desktop.GANTRY) as app:
        yield app


def test_from_an_empty_list_to_a_typed_command_and_back(app, driver):
    app.find("label", "No Containers")
    app.press("button", "New Container…")
    app.write("Name", "web1")
    app.press("check box", "Start After Creating")
    app.press("button", "Create")

    app.find("list item", "web1, Stopped", 60)
    # Who can log in is told once.
    app.find("label", "Log in as root; there is no password. Set one with passwd.")
    app.press("button", "Close")
    app.gone("label", "Log in as root; there is no password. Set one with passwd.")
    assert os.path.isdir(os.path.join(gantry.LXC_PATH, "web1", "rootfs"))

    app.press("button", "Start")
    app.find("list item", "web1, Running")
    driver.screenshot("window-running")

    app.press("button", "Console")
    show.log_in(app)
    app.type("echo $((6 * 7)); hostname\n")
    app.wait_for_text("42\nweb1")
    driver.screenshot("window-console")

    app.press("page tab", "Overview")
    app.press("button", "Shell")
    app.wait_for_text("#", "Shell 1, web1")
    app.type("exit 3\n", "Shell 1, web1")
    app.find("label", "The session has ended with status 3.")

    app.press("button", "Stop")
    app.find("list item", "web1, Stopped", 90)
    app.menu("Container Menu", "d")
    app.press("button", "Delete")
    app.gone("list item", "web1,", 60)
    assert not os.path.exists(os.path.join(gantry.LXC_PATH, "web1"))


def test_what_others_do_shows_at_once(app, bus):
    app.find("label", "No Containers")
    bus.create("web1")
    app.find("list item", "web1, Stopped")
    gantry.run("lxc-start", "-n", "web1")
    app.find("list item", "web1, Running")
    gantry.run("lxc-stop", "-k", "-n", "web1")
    app.find("list item", "web1, Stopped")


def test_a_killed_helper_costs_no_terminal(app, driver, bus):
    bus.create("web1", start=True)
    app.select("web1")
    app.press("button", "Shell")
    app.wait_for_text("#")
    pid = helper_pid(bus)
    os.kill(pid, signal.SIGKILL)
    app.type("echo $((6 * 7))\n")
    app.wait_for_text("42")
    driver.wait_until(lambda: driver.is_sensitive(app.find("button", "Stop")), "the helper does not come back")
    app.type("exit 5\n")
    app.find("label", "The session has ended with status 5.")


def helper_pid(bus):
    answer = bus.connection.call_sync(
        "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetConnectionUnixProcessID",
        GLib.Variant("(s)", (gantry.NAME,)), None, Gio.DBusCallFlags.NONE, 5000, None)
    return answer.unpack()[0]
