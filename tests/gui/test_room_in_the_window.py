"""How much room a container has, and more of it, from its page of settings."""

import gantry
from stores import size


def settings_of(app, name):
    app.select(name)
    app.press("page tab", "Settings")


def test_a_root_file_system_of_its_own_is_grown(pretend, driver):
    app = pretend("loop1")
    settings_of(app, "loop1")
    app.find("label", "173.7\u00a0MB of 1.1\u00a0GB are free")
    driver.screenshot("settings-room")
    app.press("button", "Grow…")
    app.write("Size, Such as 20G", "512M")
    app.find("label", "Give more than it has: it cannot shrink.")
    driver.screenshot("room-grow")
    app.write("Size, Such as 20G", "900G")
    app.answer("More Room for “loop1”", "Grow")
    app.find("label", "“loop1” Could Not Be Given More Room")
    app.find("label", "The disk has 52 GB free: give “loop1” less.")
    driver.screenshot("room-failed")
    app.press("button", "Close")
    app.press("button", "Grow…")
    app.write("Size, Such as 20G", "20G")
    app.answer("More Room for “loop1”", "Grow")
    app.find("label", "20.6\u00a0GB of 21.5\u00a0GB are free")


def test_one_that_shares_a_disk_says_that_there_is_nothing_to_grow(pretend, driver):
    app = pretend("web1")
    settings_of(app, "web1")
    app.find("label", "249.1\u00a0GB of 250.0\u00a0GB are free, on a disk that it shares")
    assert not app.all("button", "Grow…")


def test_room_that_cannot_be_measured_says_why(pretend, driver):
    app = pretend("closed")
    settings_of(app, "closed")
    app.find("label", "The Room Could Not Be Measured")
    app.find("label", "Nobody may look at the disk.")
    app.press("button", "Try Again")
    app.find("label", "Nobody may look at the disk.")


def test_the_real_helper_grows_a_file_system(web, bus, driver):
    # Growing ext4 takes a right that the sandbox's host may lack; btrfs begins at 256 MiB.
    bus.create("disk1", backend="loop", fstype="btrfs", fssize=size(256))
    web.find("list item", "disk1,")
    settings_of(web, "disk1")
    web.press("button", "Grow…", 60)
    web.write("Size, Such as 20G", "320M")
    web.answer("More Room for “disk1”", "Grow")

    def room():
        return bus.container("disk1").resources("GetRoom", "(a{sv})", {})["size"]

    gantry.until(lambda: room() > 300 << 20, 60)
    driver.screenshot("room-real")
