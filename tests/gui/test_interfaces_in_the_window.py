"""A container's network interfaces: the picture of the wiring, rows and dialogs."""

import containers
import gantry
import pytest


def network_of(app, name="web1"):
    app.select(name)
    app.press("page tab", "Network")
    return app


def add(app, driver):
    """The dialog's own button; the page below has one that begins like it."""
    dialog = app.find("dialog", "New Interface")

    def button():
        nodes = [node for node in app.nodes(dialog) if node.get_name() == "Add"]
        return next((node for node in nodes if driver.can_act(node) and driver.is_sensitive(node)), None)

    driver.act(driver.wait_until(button, lambda: f"nothing can be added in:\n{app.outline()}"))


def said(app, beginning):
    """What the helper was asked; it tells of sessions, too."""
    return next(line for line in iter(app.helper.stdout.readline, "") if line.startswith(beginning))


def test_an_interface_is_plugged_in_elsewhere_and_unplugged(pretend, driver):
    app = network_of(pretend("web1=RUNNING"))
    app.find("label", "veth · lxcbr0 · connected\n10.0.3.17/24 · 00:16:3e:11:22:33")
    driver.screenshot("interfaces")
    app.menu("Actions of “eth0”", "c")
    app.choose("combo box", "To", "virbr0")
    driver.screenshot("interface-connect")
    app.answer("Connect “eth0”", "Connect")
    app.find("label", "veth · virbr0 · connected")
    app.menu("Actions of “eth0”", "u")
    app.find("label", "The container’s connections over it end.")
    app.answer("Unplug “eth0”?", "Unplug")
    app.find("label", "veth · not plugged in")
    driver.screenshot("interface-unplugged")
    app.menu("Actions of “eth0”", "r")
    app.answer("Remove “eth0”?", "Remove")
    app.find("label", "No Network Interfaces")
    driver.screenshot("interfaces-none")


def test_a_cable_is_dragged_to_a_network(pretend, driver):
    app = network_of(pretend("web1=RUNNING"))
    def card(name):
        return app.find("label", name).get_parent().get_parent()

    driver.drag(card("eth0"), card("virbr0"))
    app.find("label", "veth · virbr0 · connected")
    assert said(app, "connect") == "connect 0 virbr0\n"
    driver.screenshot("interface-dragged")
    # What is refused is told, and the cable stays where it was.
    driver.drag(card("eth0"), card("isolated0"))
    app.find("label", "the network isolated0 is down")
    app.press("button", "Close")
    app.find("label", "veth · virbr0 · connected")


def test_an_interface_is_added_and_a_wrong_one_says_why_while_it_is_typed(pretend, driver):
    app = network_of(pretend("web1"))
    app.press("button", "Add Interface…")
    app.write("Hardware Address", "00:16")
    app.find("label", "Give a hardware address such as 00:16:3e:xx:xx:xx")
    driver.screenshot("interface-wrong")
    app.write("Hardware Address", "")
    app.choose("combo box", "Kind", "VLAN (vlan)")
    app.choose("combo box", "Plugged Into", "enp4s0 · physical")
    app.find("label", "The number of a VLAN is from 1 to 4094.")
    app.write("Number of the VLAN", "12")
    app.write("IPv4 Addresses", "10.5.0.7/24")
    driver.screenshot("interface-add")
    add(app, driver)
    app.find("label", "vlan · enp4s0 · VLAN 12\n10.5.0.7/24")
    asked = said(app, "add")
    assert "'type': 'vlan'" in asked and "'vlan_id': 12" in asked and "'ipv4': ['10.5.0.7/24']" in asked
    assert "'name'" not in asked and "'up'" not in asked
    app.menu("Actions of “eth1”", "f")
    app.find("dialog", "Configure “eth1”")
    assert not driver.is_sensitive(app.find("button", "Apply"))
    app.write("Largest Packet (MTU)", "1400")
    app.press("button", "Apply")
    app.gone("dialog")
    assert said(app, "set") == "set 1 {'mtu': 1400}\n"


@pytest.mark.parametrize("keep", [True, False, None])
def test_a_change_that_may_cut_the_host_off_is_confirmed_or_taken_back(pretend, driver, keep):
    app = network_of(pretend("web1=RUNNING"))
    app.press("button", "Add Interface…")
    app.choose("combo box", "Kind", "The whole (phys)")
    app.find("label", "This computer reaches others by “enp4s0”")
    driver.screenshot("interface-way-out")
    add(app, driver)
    app.find("alert", "Keep the Change of “enp4s0”?")
    app.find("label", "This computer may not be reached any more from outside. It is taken back in")
    driver.screenshot("interface-confirm")
    if keep is None:
        app.answer("The Change of “enp4s0” Was Taken Back", "Close", 60)
    else:
        app.answer("Keep the Change of “enp4s0”?", "Keep" if keep else "Take Back")
    if keep:
        assert said(app, "confirmed") == "confirmed enp4s0\n"
        app.find("label", "phys · enp4s0")
    else:
        app.gone("label", "phys · enp4s0")


def test_interfaces_that_cannot_be_read_say_why(pretend, driver):
    app = network_of(pretend("closed"), "closed")
    app.find("label", "The Interfaces Could Not Be Read")
    app.find("label", "Nobody may look at the interfaces.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_wiring_and_networks_fit_a_narrow_window(pretend, driver, scheme):
    app = pretend("web1=RUNNING", ADW_DEBUG_COLOR_SCHEME=f"prefer-{scheme}")
    app.find("list item", "web1,")
    driver.resize(360, 680)
    network_of(app)
    app.find("label", "veth · lxcbr0")
    driver.screenshot(f"interfaces-{scheme}-360")
    app.press("button", "Back")
    app.press("button", "Networks")
    driver.screenshot(f"networks-{scheme}-360")
    app.tab_to(app.find("list item", "lxcbr0"))
    driver.key("Return")
    app.find("label", "Forwarded Ports")
    driver.screenshot(f"network-{scheme}-360")
    app.press("button", "Back")
    app.find("list item", "virbr0")
    app.press("button", "Back")
    app.find("list item", "web1,")


def test_the_real_helper_plugs_a_running_container_in_elsewhere(web, driver, bus):
    with containers.bridge("br7", "10.66.0.1/24"):
        bus.container("web1").start()
        web.find("list item", "web1, Running")
        network_of(web)
        web.press("button", "Add Interface…")
        web.choose("combo box", "Plugged Into", "br7")
        add(web, driver)
        web.find("label", "veth · br7 · connected", 60)
        driver.screenshot("interface-real")
        assert gantry.run("ip", "-o", "link", "show", "master", "br7").stdout.count("\n") == 1
        web.menu("Actions of “eth0”", "u")
        web.answer("Unplug “eth0”?", "Unplug")
        web.find("label", "veth · not plugged in", 60)
        assert gantry.run("ip", "-o", "link", "show", "master", "br7").stdout == ""
        web.menu("Actions of “eth0”", "r")
        web.answer("Remove “eth0”?", "Remove")
        web.gone("label", "veth · not plugged in", 60)
        assert "veth" not in bus.container("web1").call("GetConfig")[0]
