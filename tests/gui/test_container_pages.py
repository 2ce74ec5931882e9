"""What the engine can do to one container, from its pages: usage, restarts, limits, devices."""

import os

import gantry
import pytest


@pytest.fixture
def running(web, bus):
    """The same with the container running, and the container itself."""
    container = bus.container("web1")
    container.start()
    web.find("list item", "web1, Running")
    return container


def watches(bus):
    return [path for path in bus.objects() if "/session/" in path]


def test_usage_is_measured_while_it_can_be_seen(web, running, bus, driver):
    web.find("label", "Running For")
    web.find("label", "Processors")
    web.find("label", "Memory")
    assert not web.all("level bar"), "without a limit there is no bar"
    running.set_limit("memory.max", "64M")
    web.find("level bar", "Part of the memory’s limit")
    assert any(label.get_name().endswith("of 67.1\u00a0MB") for label in web.all("label"))
    driver.screenshot("overview-usage")
    assert len(watches(bus)) == 1
    web.press("page tab", "Settings")
    gantry.until(lambda: not watches(bus), 20)
    web.press("page tab", "Overview")
    gantry.until(lambda: len(watches(bus)) == 1, 20)
    running.kill()
    web.find("list item", "web1, Stopped")
    web.gone("label", "Running For")
    gantry.until(lambda: not watches(bus), 20)


def test_what_needs_a_restart_is_marked_and_restarted(web, running, bus, driver):
    pid = running.get("InitPid")
    running.call("SetConfigItem", "(sasa{sv})", "lxc.cap.drop", ["sys_time"], {})
    web.find("label", "Some Changes Take Effect After a Restart")
    web.find("label", "lxc.cap.drop")
    web.press("page tab", "Settings")
    web.find("label", "Some Changes Take Effect After a Restart")
    driver.screenshot("settings-restart")
    web.press("button", "Restart")
    gantry.until(lambda: running.get("InitPid") not in (0, pid), 90)
    web.gone("label", "Some Changes Take Effect After a Restart")


def test_limits_are_seen_and_set(web, running, bus, driver):
    web.press("page tab", "Settings")
    web.enter("Memory", "96M")
    gantry.until(lambda: running.get_limit("memory.max") == str(96 << 20), 20)
    web.enter("Share of the Processors", "50")
    gantry.until(lambda: running.get_limit("cpu.weight") == "50", 20)
    web.enter("Processors at Most", "0.5")
    gantry.until(lambda: running.get_limit("cpu.max") == "50000 100000", 20)
    web.enter("Which Processors", "0")
    gantry.until(lambda: running.get_limit("cpuset.cpus") == "0", 20)
    web.enter("Processes", "50")
    gantry.until(lambda: running.get_limit("pids.max") == "50", 20)
    driver.screenshot("settings-limits")
    # What is emptied is no limit any more.
    web.enter("Memory", "")
    gantry.until(lambda: running.get_limit("memory.max") == "max", 20)
    web.enter("Processors at Most", "")
    gantry.until(lambda: running.get_limit("cpu.max").startswith("max"), 20)
    web.enter("Which Processors", "")
    gantry.until(lambda: running.get_limit("cpuset.cpus") != "0", 20)
    web.enter("Memory", "lots")
    web.find("label", "The Setting of “web1” Could Not Be Saved")


def test_a_device_is_given_and_taken_back(web, running, bus, driver):
    web.press("page tab", "Devices")
    web.find("label", "No Devices of This Computer")
    driver.screenshot("devices-empty")
    web.press("button", "Add Device…")
    web.write("Device of This Computer", "zero")
    web.find("label", "Give the device’s whole path")
    driver.screenshot("devices-form")
    web.write("Device of This Computer", "/dev/zero")
    web.write("Path Inside, if Another", "/dev/nil")
    web.answer("Give “web1” a Device", "Add")
    web.find("label", "/dev/nil")
    web.find("label", "Character device 1:5")
    assert running.execute("head", "-c", "1", "/dev/nil")[:2] == (0, "\0")
    driver.screenshot("devices")
    web.press("button", "Remove “/dev/nil”")
    web.answer("Remove “/dev/nil”?", "Remove")
    web.find("label", "No Devices of This Computer")
    assert running.execute("test", "-e", "/dev/nil")[0] == 1


def test_a_device_that_is_not_there_says_so_and_can_be_corrected(web, running, driver):
    web.press("page tab", "Devices")
    web.press("button", "Add Device…")
    web.write("Device of This Computer", "/dev/nothing")
    web.answer("Give “web1” a Device", "Add")
    web.find("label", "“/dev/nothing” Could Not Be Added")
    driver.screenshot("devices-error")
    web.press("button", "Try Again")
    assert web.find("text", "Device of This Computer")
    web.answer("Give “web1” a Device", "Cancel")


def test_an_interface_is_lent_and_comes_back(web, running, bus, driver):
    gantry.run("ip", "link", "add", "lend0", "type", "veth", "peer", "name", "lend1")
    try:
        web.press("page tab", "Devices")
        web.press("button", "Add Interface…")
        # The first one is chosen, and the sandbox has no other.
        web.find("label", "lend0 · veth")
        web.write("Name Inside, if Another", "eth7")
        driver.screenshot("devices-interface")
        web.answer("Give “web1” a Network Interface", "Add")
        web.find("label", "“lend0” of this computer")
        assert "eth7" in running.execute("ip", "link")[1]
        web.press("button", "Remove “eth7”")
        web.answer("Remove “eth7”?", "Remove")
        web.gone("label", "“lend0” of this computer")
        assert gantry.run("ip", "link", "show", "lend0")
    finally:
        gantry.run("ip", "link", "del", "lend1", check=False)


def test_a_container_that_does_not_run_can_be_started_for_its_devices(web, bus):
    web.press("page tab", "Devices")
    web.find("label", "The Container Is Not Running")
    web.press("button", "Start")
    web.find("label", "No Devices of This Computer")


def test_keys_act_on_the_container_that_is_shown(web, bus, driver):
    bus.create("web2")
    web.find("list item", "web2,")
    web.select("web2")
    web.select("web1")
    driver.focus()
    driver.key("Return", "Control_L")
    web.find("list item", "web1, Running")
    driver.key("p", "Control_L")
    web.find("list item", "web1, Frozen")
    driver.key("p", "Control_L")
    web.find("list item", "web1, Running")
    driver.key("k", "Control_L")
    web.find("alert", "Kill “web1”?")
    # Behind a question nothing is done.
    driver.key("p", "Control_L")
    web.answer("Kill “web1”?", "Kill")
    web.find("list item", "web1, Stopped")
    assert bus.list() == {"web1": "STOPPED", "web2": "STOPPED"}
    driver.key("F2")
    web.answer("Rename “web1”", "Cancel")


def test_stopping_takes_a_time_out(web, running, bus, driver):
    web.menu("Container Menu", "t")
    web.write("Seconds to Wait", "soon")
    web.find("label", "Give a number of seconds.")
    driver.screenshot("stop-within")
    web.write("Seconds to Wait", "20")
    web.answer("Stop “web1”", "Stop")
    web.find("list item", "web1, Stopped", 60)


def test_keys_of_old_are_converted_and_that_can_be_undone(web, bus, driver):
    container = bus.container("web1")
    config = os.path.join(container.folder, "config")
    with open(config, encoding="utf-8") as file:
        modern = file.read()
    old = modern.replace("lxc.uts.name", "lxc.utsname")
    assert old != modern
    with open(config, "w", encoding="utf-8") as file:
        file.write(old)
    web.find("label", "The Configuration Has Keys of LXC 2")
    driver.screenshot("overview-legacy")
    web.press("button", "Edit…")
    web.press("button", "Convert")
    # What would be written is seen before it is.
    web.find("alert", "Convert 1 Line?")
    driver.screenshot("config-convert")
    assert container.call("GetConfig")[0] == old
    web.answer("Convert 1 Line?", "Convert")
    web.find("alert", "1 Line Is Converted")
    driver.screenshot("config-converted")
    assert "lxc.utsname" not in container.call("GetConfig")[0]
    web.answer("1 Line Is Converted", "Undo")
    gantry.until(lambda: container.call("GetConfig")[0] == old, 20)
    web.press("button", "Convert")
    web.answer("Convert 1 Line?", "Convert")
    web.answer("1 Line Is Converted", "Close")
    web.press("button", "Cancel")
    web.gone("label", "The Configuration Has Keys of LXC 2")
