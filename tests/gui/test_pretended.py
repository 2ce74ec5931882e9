"""The window before a helper that pretends: waiting, failing, leaving, and every size and colour."""

import desktop
import pytest


@pytest.mark.parametrize("width", [1000, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_fits(pretend, driver, width, scheme):
    app = pretend("web1", "db=RUNNING", "odd-config", "changed-keys=RUNNING", "ice=FROZEN",
                  ADW_DEBUG_COLOR_SCHEME=f"prefer-{scheme}")
    look = f"{scheme}-{width}"
    app.find("list item", "db,")
    driver.resize(width, 680)
    driver.screenshot(f"list-{look}")
    app.select("web1")
    app.press("page tab", "Snapshots")
    app.find("list item", "before the upgrade to Debian 13, Current")
    driver.screenshot(f"snapshots-{look}")
    if width == 360:
        app.press("button", "Back")
    app.select("odd-config")
    app.find("label", "The Configuration Has an Error")
    driver.screenshot(f"overview-{look}")
    if width == 360:
        app.press("button", "Back")
    app.select("changed-keys")
    app.find("label", "Some Changes Take Effect After a Restart")
    app.find("level bar", "Part of the memory’s limit")
    driver.screenshot(f"overview-running-{look}")
    app.press("page tab", "Devices")
    app.find("label", "/dev/sdb1")
    driver.screenshot(f"devices-{look}")
    if width == 360:
        app.press("button", "Back")
    app.select("db")
    app.press("button", "Console")
    app.wait_for_text("login:")
    driver.screenshot(f"terminal-{look}")


def test_a_page_that_was_left_is_opened_again(pretend, driver):
    """In a narrow window, too, where nothing stays selected behind a page."""
    app = pretend("web1", "db")
    app.find("list item", "web1,")
    driver.resize(360, 680)
    for _ in range(2):
        app.select("web1")
        app.press("page tab", "Devices")
        app.press("button", "Back")
        app.gone("button", "Back")
    # By the keyboard alone.
    app.tab_to(app.find("list item", "db,"))
    driver.key("Return")
    app.press("page tab", "Snapshots")
    app.find("label", "No Snapshots")


def test_empty_list_offers_to_make_a_container(pretend, driver):
    app = pretend()
    app.find("label", "No Containers")
    driver.screenshot("empty")
    app.press("button", "New Container…")
    app.find("dialog", "New Container")


def test_a_wrong_name_says_why_while_it_is_typed(pretend, driver):
    app = pretend("web1")
    app.press("button", "New Container")
    app.write("Name", "a b")
    app.find("label", "The name cannot have a space")
    app.write("Name", "web1")
    app.find("label", "There is a container “web1” already.")
    driver.screenshot("create-taken")
    assert not driver.is_sensitive(app.find("button", "Create"))
    app.write("Name", "web2")
    app.press("button", "Create")
    app.find("list item", "web2, Running")


def test_a_slow_job_survives_its_dialog_and_can_be_cancelled(pretend, driver):
    app = pretend("web1")
    app.press("button", "New Container")
    app.write("Name", "slow")
    app.press("button", "Create")
    app.find("label", "Unpacking · 52.0\u00a0MB of 130.0\u00a0MB")
    driver.screenshot("create-progress")
    app.press("button", "Close")
    app.press("toggle button", "Jobs")
    app.find("label", "Creating “slow”")
    driver.screenshot("jobs")
    app.press("button", "Cancel")
    app.find("label", "Cancelled")


def test_a_failed_job_tells_the_cause_and_keeps_the_form(pretend, driver):
    app = pretend("web1")
    app.press("button", "New Container")
    app.write("Name", "fail")
    app.press("button", "Create")
    app.find("label", "The disk is full")
    app.press("button", "Details")
    app.find("label", "io.gantry.Gantry1.Error.NoSpace")
    driver.screenshot("error")
    app.press("button", "Close")
    assert app.find("text", "Name") and app.find("button", "Create")


def test_a_dismissed_password_dialog_is_silent_and_an_error_can_be_retried(pretend, driver):
    app = pretend("closed", "broken")
    app.press("button", "Start “closed”")
    app.press("button", "Start “broken”")
    app.find("label", "“broken” did not start at the step “network”")
    assert len(app.all("label", "“closed” Could Not Be Started")) == 0
    app.press("button", "Try Again")
    app.find("label", "“broken” did not start at the step “network”")
    driver.screenshot("start-failed")


def test_a_terminal_outlives_the_page_and_tells_how_it_ended(pretend, driver):
    app = pretend("web1", "db=RUNNING")
    app.select("db")
    app.press("button", "Shell")
    app.wait_for_text("/ #")
    app.type("one\n")
    app.wait_for_text("said one")
    app.select("web1")
    app.gone("terminal")
    app.select("db")
    assert "said one" in app.text()
    app.press("button", "New Shell")
    app.wait_for_text("/ #", "Shell 2, db")
    app.type("exit\n", "Shell 2, db")
    app.find("label", "The session has ended with status 3.")
    driver.screenshot("session-ended")
    app.press("button", "New Shell")


def test_keys_leave_a_terminal_only_by_the_documented_way(pretend, driver):
    app = pretend("db=RUNNING")
    app.select("db")
    app.press("button", "Shell")
    terminal = app.terminal()
    driver.focus()
    driver.wait_until(lambda: driver.is_focused(terminal), "the terminal has no focus")
    driver.key("n", "Control_L")
    driver.key("Tab")
    assert driver.is_focused(terminal) and not app.all("dialog")
    driver.key("Escape", "Control_L", "Shift_L")
    driver.wait_until(lambda: not driver.is_focused(terminal), "the terminal keeps the focus")


def test_the_shortcuts_window_names_the_way_out_of_a_terminal(pretend, driver):
    app = pretend("db=RUNNING")
    app.menu("Main Menu", "k")
    app.find("label", "Leave the terminal")
    driver.screenshot("shortcuts")


def test_nobody_is_asked_for_a_password_by_looking(pretend, driver):
    app = pretend("closed=RUNNING")
    app.select("closed")
    app.find("label", "Usage Cannot Be Shown")
    app.find("label", "This needs a password.")
    driver.screenshot("usage-password")
    # Whoever wants to see it is asked.
    app.press("button", "Try Again")
    app.find("label", "12.5 % of one")
    app.gone("label", "Usage Cannot Be Shown")


def test_devices_that_cannot_be_read_say_why(pretend, driver):
    app = pretend("closed=RUNNING")
    app.select("closed")
    app.press("page tab", "Devices")
    app.find("label", "The Devices Could Not Be Read")
    app.find("label", "Nobody may look at the devices.")
    driver.screenshot("devices-refused")
    app.press("button", "Try Again")
    app.find("label", "Nobody may look at the devices.")


def test_a_job_of_a_group_counts_containers_and_can_be_cancelled(pretend, driver):
    app = pretend("web1", "web2", "db")
    app.choose("toggle button", "All Containers", "web")
    app.gone("list item", "db,")
    app.menu("Group Menu", "s")
    app.press("toggle button", "Jobs")
    app.find("label", "Starting 2 Containers")
    app.find("label", "web1: starting · 1 of 2")
    driver.screenshot("group-job")
    app.press("button", "Cancel")
    app.find("label", "Cancelled")


def test_deleting_a_running_container_says_that_it_is_killed(pretend, driver):
    app = pretend("db=RUNNING", "web1")
    app.select("db")
    app.menu("Container Menu", "d")
    app.find("label", "It is running.")
    driver.screenshot("delete-running")
    app.press("button", "Kill and Delete")
    app.gone("list item", "db,")
    app.find("list item", "web1,")


def test_without_a_helper_the_window_says_what_to_do(driver, pretended_bus):
    with driver.running(desktop.GANTRY, env={"DBUS_SYSTEM_BUS_ADDRESS": pretended_bus}) as app:
        app.find("label", "The Helper Is Not Installed")
        driver.screenshot("helper-missing")
        with desktop.pretended_helper(pretended_bus, "web1"):
            # It comes back by itself.
            app.find("list item", "web1,")


def test_without_a_bus_the_window_says_so(driver):
    with driver.running(desktop.GANTRY, env={"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nowhere"}) as app:
        app.find("label", "The System Bus Cannot Be Reached")
        driver.screenshot("bus-missing")
        app.press("button", "Try Again")
        app.find("label", "The System Bus Cannot Be Reached")


def test_terminals_go_on_while_the_helper_is_away(pretend, driver, pretended_bus):
    app = pretend("db=RUNNING")
    app.select("db")
    app.press("button", "Shell")
    app.wait_for_text("/ #")
    app.helper.terminate()
    app.find("label", "The helper is not there. Open terminals go on.")
    assert not driver.is_sensitive(app.find("button", "Stop"))
    driver.screenshot("helper-away")
    with desktop.pretended_helper(pretended_bus, "db=RUNNING"):
        driver.wait_until(lambda: driver.is_sensitive(app.find("button", "Stop")), "the button stays off")
