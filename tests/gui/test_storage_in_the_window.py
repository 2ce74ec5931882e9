"""Snapshots and clones of a container, from its pages and menus."""

import os

import gantry
import gi

gi.require_version("Atspi", "2.0")
from gi.repository import Atspi  # noqa: E402


def kept(container):
    return container.bus.call(container.path, "Snapshots", "List", "()")


def test_a_container_goes_back_to_a_snapshot_and_is_cloned(web, bus, driver):
    container = bus.container("web1")
    note = os.path.join(container.folder, "rootfs", "root", "note")

    def write(text):
        with open(note, "w", encoding="utf-8") as file:
            file.write(text)

    write("before")
    web.press("page tab", "Snapshots")
    web.find("label", "No Snapshots")
    web.press("button", "Take Snapshot…")
    web.find("label", "All its files are copied")
    web.write("Comment", "before the upgrade")
    driver.screenshot("snapshot-take")
    web.answer("Take a Snapshot of “web1”", "Take")
    web.find("list item", "before the upgrade, Current", 60)
    driver.screenshot("snapshots")

    web.menu("Actions of “snap0”", "c")
    web.write("Comment", "all was well")
    web.answer("Comment on “snap0”", "Save")
    web.find("list item", "all was well")

    # A container that runs is stopped first, and what it was is kept.
    container.start()
    write("after")
    web.find("list item", "web1, Running")
    web.menu("Actions of “snap0”", "r")
    web.find("label", "The container is stopped first.")
    driver.screenshot("snapshot-restore")
    web.answer("Restore “snap0”?", "Stop and Restore")
    web.find("label", "snap1 ·", 90)
    with open(note, encoding="utf-8") as file:
        assert file.read() == "before"
    assert container.get("State") == "STOPPED"

    web.menu("Actions of “snap1”", "n")
    web.write("Name", "web2")
    web.answer("New Container From “snap1”", "Create")
    # What was made is shown.
    web.find("list item", "web2, Stopped", 60)
    with open(note.replace("web1", "web2"), encoding="utf-8") as file:
        assert file.read() == "after"

    web.select("web1")
    web.press("page tab", "Snapshots")
    web.menu("Actions of “snap1”", "d")
    web.answer("Delete “snap1”?", "Delete")
    web.gone("label", "snap1 ·", 60)

    web.menu("Container Menu", "o")
    web.write("New Name", "web1")
    web.find("label", "There is a container “web1” already.")
    web.write("New Name", "web3")
    web.press("check box", "Keep the Host Name")
    web.press("check box", "Start It Afterwards")
    driver.screenshot("clone")
    web.answer("Clone “web1”", "Clone")
    web.find("list item", "web3, Running", 90)
    assert bus.container("web3").get("Backend") == "dir"
    assert bus.container("web3").call("GetConfigItem", "(s)", "lxc.uts.name") == ["web1"]
    gantry.until(lambda: [one["name"] for one in kept(container)] == ["snap0"], 20)


def test_a_container_is_deleted_with_its_snapshots(web, bus, driver):
    """What goes with it is said before."""
    container = bus.container("web1")
    gantry.Job(bus, bus.call(container.path, "Snapshots", "Take", "(sa{sv})", "", {})).result()
    web.menu("Container Menu", "d")
    web.find("label", "Its files, its configuration and its snapshot are removed. This cannot be undone.")
    driver.screenshot("delete-snapshots")
    web.answer("Delete “web1”?", "Delete")
    web.gone("list item", "web1,", 60)
    assert not os.path.exists(container.folder)


def test_a_container_is_packed_and_comes_back_stored_otherwise(web, bus, driver, tmp_path):
    """An archive is written and read where the window's user chooses, on the backend that is chosen."""
    archive = tmp_path / "kept.tar.zst"
    web.menu("Container Menu", "x")
    web.answer("Export “web1”", "Choose a File…")
    web.write("Name", str(archive))
    web.press("button", "Save")
    gantry.until(lambda: gantry.run("tar", "-tf", str(archive), check=False).returncode == 0, 60)

    web.menu("Main Menu", "i")
    chooser = web.find("dialog", "Choose an Archive")
    driver.focus()
    # A path that is typed goes into an entry that has no name.
    driver.key("/")
    entry = driver.wait_until(lambda: next((node for node in web.nodes(chooser) if node.get_role_name() == "text"), None),
                              "no path can be typed")
    assert Atspi.EditableText.set_text_contents(entry, str(archive))
    web.press("button", "Open")
    web.find("alert", "Import “")
    web.write("Name", "web2")
    web.choose("combo box", "Stored As", "overlay")
    driver.screenshot("import")
    web.answer("Import “", "Import")
    web.find("list item", "web2, Stopped", 60)
    assert bus.container("web2").get("Backend") == "overlay"


def test_a_snapshot_in_the_making_is_seen_and_cancelled(pretend, driver):
    app = pretend("slow")
    driver.resize(360, 680)
    app.select("slow")
    app.press("page tab", "Snapshots")
    app.press("button", "Take Snapshot…")
    # What it costs comes once it is measured.
    app.find("label", "All its files are copied, 1.2\u00a0GB. That takes about 1 minute 10 seconds. 52.0\u00a0GB are free.")
    driver.screenshot("snapshot-cost")
    app.answer("Take a Snapshot of “slow”", "Take")
    app.find("label", "Taking a Snapshot of “slow”")
    app.find("label", "Unpacking · 52.0\u00a0MB of 130.0\u00a0MB")
    driver.screenshot("snapshot-job")
    app.press("button", "Cancel")
    app.gone("label", "Taking a Snapshot of “slow”")


def test_a_snapshot_that_others_need_names_them(pretend, driver):
    app = pretend("needed")
    app.select("needed")
    app.press("page tab", "Snapshots")
    app.menu("Actions of “snap1”", "d")
    app.answer("Delete “snap1”?", "Delete")
    app.find("label", "“web1” and “db” need the snapshot “snap1”; destroy those first.")
    driver.screenshot("snapshot-needed")
    app.press("button", "Try Again")
    app.find("label", "“web1” and “db” need the snapshot “snap1”; destroy those first.")


def test_changes_are_listed_and_searched(pretend, driver):
    app = pretend("web1")
    app.select("web1")
    app.press("page tab", "Snapshots")
    app.menu("Actions of “snap0”", "s")
    app.find("list item", "/etc/passwd")
    app.find("label", "There are more changes than can be shown.")
    driver.screenshot("changes")
    app.write("Search the Changes", "added apt")
    app.gone("list item", "/etc/passwd")
    app.find("list item", "/etc/apt/sources.list.d/backports.sources")
    assert not app.all("button", "Restore “/etc/apt"), "what was not there cannot come back"
    app.press("check box", "Read Every File")
    app.write("Search the Changes", "machine-id")
    app.find("list item", "/etc/machine-id")
    app.write("Search the Changes", "passwd")
    app.press("button", "Restore “/etc/passwd”")
    app.answer("Restore “/etc/passwd”?", "Restore")
    app.find("label", "The snapshot “snap0” has no /etc/passwd.")


def test_escape_ends_the_search_of_changes_and_then_closes_them(pretend, driver):
    """The first press brings all rows back, the second one closes the dialog."""
    app = pretend("web1")
    app.select("web1")
    app.press("page tab", "Snapshots")
    app.menu("Actions of “snap0”", "s")
    app.find("list item", "/etc/passwd")
    app.write("Search the Changes", "added apt")
    app.gone("list item", "/etc/passwd")
    driver.focus()
    driver.key("Escape")
    app.find("list item", "/etc/passwd")
    driver.key("Escape")
    app.gone("dialog")


def test_snapshots_are_taken_by_themselves(pretend, driver):
    app = pretend("db")
    app.select("db")
    app.press("page tab", "Snapshots")
    app.press("button", "Schedule…")
    app.find("text", "Daily")
    app.write("Hourly", "many")
    app.find("label", "Give numbers from 0 to 1000.")
    app.write("Hourly", "24")
    driver.screenshot("schedule")
    app.answer("Snapshots of “db” by Themselves", "Save")
    saved = app.helper.stdout.readline()
    assert "'hourly': 24" in saved and "'daily': 7" in saved
