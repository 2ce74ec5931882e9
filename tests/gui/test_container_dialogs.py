"""Configuration, logs, name and commands of a container, in dialogs and a tab."""

import gantry
import gi

gi.require_version("Atspi", "2.0")
from gi.repository import Atspi  # noqa: E402


def config(app):
    return app.find("text", "Configuration")


def write(app, text):
    # The dialog is there before its text is.
    app.find("button", "Save")
    assert Atspi.EditableText.set_text_contents(config(app), text)


def test_the_configuration_is_edited_and_a_wrong_line_is_named(web, driver, bus):
    container = bus.container("web1")
    before, _ = container.call("GetConfig")
    web.menu("Container Menu", "g")
    text = config(web)
    assert Atspi.Text.get_text(text, 0, -1) == before
    assert not driver.is_sensitive(web.find("button", "Save"))
    write(web, before + "lxc.start.order = many\n")
    web.press("button", "Save")
    line = before.count("\n") + 1
    web.find("label", f"/var/lib/lxc/web1/config, line {line}, lxc.start.order")
    driver.screenshot("config-fault")
    write(web, "# mine\n" + before + "lxc.start.order = 7\n")
    web.press("button", "Save")
    web.gone("dialog")
    assert container.call("GetConfig")[0].startswith("# mine\n") and container.get("AutostartOrder") == 7


def test_somebody_elses_text_is_not_overwritten_unasked(pretend, driver):
    app = pretend("shared")
    app.select("shared")
    app.menu("Container Menu", "g")
    write(app, "# ours\n")
    app.press("button", "Save")
    changed = "The Configuration Has Been Changed Meanwhile"
    app.find("alert", changed)
    driver.screenshot("config-conflict")
    app.answer(changed, "Cancel")
    assert Atspi.Text.get_text(config(app), 0, -1) == "# ours\n"
    app.press("button", "Save")
    app.answer(changed, "Load Theirs")
    driver.wait_until(lambda: Atspi.Text.get_text(config(app), 0, -1) == "# theirs\n", "their text does not come")
    write(app, "# ours\n")
    app.press("button", "Save")
    app.gone("dialog")


def test_changes_are_not_thrown_away_unasked(pretend, driver):
    app = pretend("web1")
    app.select("web1")
    app.menu("Container Menu", "g")
    write(app, "# ours\n")
    app.press("button", "Cancel")
    app.answer("Discard the Changes?", "Discard")
    app.gone("dialog")


def test_the_defaults_of_new_containers_are_edited(web, driver, bus):
    before, revision = bus.manager("GetDefaults")
    web.menu("Main Menu", "d")
    web.find("dialog", "Defaults for New Containers")
    driver.wait_until(lambda: Atspi.Text.get_text(config(web), 0, -1) == before, "the defaults do not come")
    write(web, "# of the house\n" + before)
    driver.screenshot("defaults")
    web.press("button", "Save")
    web.gone("dialog")
    text, revision = bus.manager("GetDefaults")
    assert text == "# of the house\n" + before
    bus.manager("SetDefaults", "(sta{sv})", before, revision, {})


def test_logs_are_shown_without_colours(pretend, driver):
    app = pretend("db=RUNNING")
    app.select("db")
    app.menu("Container Menu", "l")
    app.find("label", "Nothing Has Been Written")
    app.press("radio button", "Console")
    log = app.find("text", "Log")
    assert Atspi.Text.get_text(log, 0, -1) == "Welcome to the console\n"
    driver.screenshot("log-console")


def test_a_container_gets_another_name(web, driver, bus):
    web.menu("Container Menu", "n")
    web.write("New Name", "a b")
    web.find("label", "The name cannot have a space")
    driver.screenshot("rename")
    web.write("New Name", "web2")
    web.press("button", "Rename")
    web.find("list item", "web2, Stopped")
    web.gone("list item", "web1,")
    assert bus.list() == {"web2": "STOPPED"}


def test_a_command_runs_in_a_tab_of_its_own(web, driver, bus):
    bus.container("web1").start()
    web.find("list item", "web1, Running")
    web.menu("Container Menu", "m")
    web.write("Command", "sh -c 'echo $((6 * 7)) $WHO $(id -u); exit 4'")
    web.write("User Number", "me")
    web.find("label", "A user is given by number")
    driver.screenshot("command-form")
    web.write("User Number", "7")
    web.write("Environment", "WHO=me")
    web.press("button", "Run")
    web.wait_for_text("42 me 7")
    web.find("label", "The session has ended with status 4.")
    driver.screenshot("command")
    web.press("button", "Run Again")
    web.wait_for_text("42 me 7\n42 me 7")


def test_settings_are_saved_one_by_one_and_a_wrong_one_is_told(web, driver, bus):
    container = bus.container("web1")
    web.press("page tab", "Settings")
    web.press("check box", "Start With the Computer")
    gantry.until(lambda: container.get("Autostart"), 20)
    web.enter("Groups", "web, onboot")
    gantry.until(lambda: container.get("Groups") == ["web", "onboot"], 20)
    web.enter("Memory", "64M")
    gantry.until(lambda: bus.call(container.path, "Resources", "GetLimit", "(s)", "memory.max") in ("64M", str(64 << 20)), 20)
    web.gone("button", "Apply")
    driver.screenshot("settings")
    web.enter("Order", "first")
    web.find("label", "The Setting of “web1” Could Not Be Saved")
    driver.screenshot("settings-error")
