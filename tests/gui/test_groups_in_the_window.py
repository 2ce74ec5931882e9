"""The groups of containers: which are shown, and what is done to all of one."""

import desktop
import gantry
import pytest


@pytest.fixture
def groups(driver, bus):
    """The window on the real helper, with two containers of the group web and one of none."""
    for name, groups in (("web1", ["web"]), ("web2", ["web", "more"]), ("db", [])):
        bus.create(name).call("SetConfigItem", "(sasa{sv})", "lxc.group", groups, {})
    with driver.running(desktop.GANTRY) as app:
        app.find("list item", "web1, Stopped")
        yield app


def test_a_group_is_chosen_and_acted_on(groups, driver, bus):
    groups.choose("toggle button", "All Containers", "web")
    groups.gone("list item", "db,")
    groups.find("list item", "web2,")
    driver.screenshot("groups")
    groups.menu("Group Menu", "s")
    groups.find("list item", "web1, Running", 60)
    groups.find("list item", "web2, Running", 60)
    assert bus.list() == {"web1": "RUNNING", "web2": "RUNNING", "db": "STOPPED"}
    groups.press("toggle button", "Jobs")
    groups.find("label", "Starting 2 Containers")
    driver.screenshot("groups-job")
    driver.key("Escape")
    groups.menu("Group Menu", "k")
    driver.screenshot("groups-kill")
    groups.answer("Kill All Containers of “web”?", "Cancel")
    assert bus.list()["web1"] == "RUNNING"
    groups.menu("Group Menu", "k")
    groups.answer("Kill All Containers of “web”?", "Kill All")
    groups.find("list item", "web1, Stopped", 60)
    groups.find("list item", "web2, Stopped", 60)


def test_a_group_that_is_left_by_all_is_offered_no_more(groups, driver, bus):
    groups.choose("toggle button", "All Containers", "more")
    groups.gone("list item", "web1,")
    bus.container("web2").call("SetConfigItem", "(sasa{sv})", "lxc.group", ["web"], {})
    groups.find("list item", "web1,")
    groups.find("list item", "db,")
    groups.choose("toggle button", "All Containers", "Without a Group")
    groups.find("list item", "db,")
    groups.gone("list item", "web1,")


def test_what_starts_with_the_computer_is_started_by_hand(groups, driver, bus):
    bus.container("db").call("SetConfigItem", "(sasa{sv})", "lxc.start.auto", ["1"], {})
    groups.menu("Main Menu", "s")
    groups.find("list item", "db, Running", 60)
    assert bus.list() == {"web1": "STOPPED", "web2": "STOPPED", "db": "RUNNING"}
    groups.press("toggle button", "Jobs")
    groups.find("label", "Starting 1 Marked Container")
