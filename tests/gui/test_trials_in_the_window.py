"""Changes that may cut this computer off from others: said before, confirmed after."""

import pytest


@pytest.fixture
def bridged(pretend, driver):
    """The window on a new network, whose uplink is the host's only way to others."""
    app = pretend("web1")
    app.press("button", "Networks")
    app.press("button", "New Network")
    app.write("Name", "out0")
    app.choose("combo box", "To the Outside", "In the net (bridged)")
    app.find("label", "Containers are in the net outside themselves")
    # What would happen is known before, and which cannot be one.
    assert any("unless somebody confirms within 20 seconds" in label.get_name() for label in app.all("label"))
    assert any("“wlp3s0” is wireless" in label.get_name() for label in app.all("label"))
    driver.screenshot("network-uplink")
    assert not app.all("text", "IPv4 Address")
    app.press("button", "Create")
    app.gone("dialog", "New Network")
    asked = app.helper.stdout.readline()
    assert "'uplink': 'enp4s0'" in asked and "'dhcp': False" in asked and "'nat': False" in asked and "ipv4" not in asked
    app.tab_to(app.find("list item", "out0"))
    driver.key("Return")
    app.find("label", "Containers are in it themselves, by “enp4s0”")
    app.press("button", "Bring Up")
    return app


QUESTION = "Keep the Change of “enp4s0”?"


def test_a_change_of_the_host_is_kept_by_who_reads_the_question(bridged, driver):
    bridged.find("alert", QUESTION)
    driver.screenshot("uplink-confirm")
    # Whoever types on keeps nothing.
    keep = next(node for node in bridged.nodes(bridged.find("alert", QUESTION)) if node.get_name() == "Keep")
    driver.wait_until(lambda: any(map(driver.is_focused, bridged.nodes(bridged.find("alert", QUESTION)))), "nothing has the focus")
    assert not driver.is_focused(keep)
    bridged.answer(QUESTION, "Keep")
    assert bridged.helper.stdout.readline() == "confirmed enp4s0\n"
    bridged.find("label", "Containers are in it themselves, by “enp4s0”")


def test_enter_takes_a_change_of_the_host_back(bridged, driver):
    alert = bridged.find("alert", QUESTION)
    driver.focus()
    driver.wait_until(lambda: any(map(driver.is_focused, bridged.nodes(alert))), "nothing has the focus")
    driver.key("Return")
    bridged.gone("alert", QUESTION)
    assert bridged.helper.stdout.readline() == "configure out0 {'uplink': ''}\n"
    bridged.gone("label", "Containers are in it themselves, by “enp4s0”")


def test_a_change_of_the_host_that_nobody_confirms_is_taken_back_and_told(bridged, driver):
    bridged.find("alert", QUESTION)
    bridged.gone("alert", QUESTION, timeout=60)
    bridged.find("alert", "The Change of “enp4s0” Was Taken Back")
    driver.screenshot("uplink-taken-back")
    bridged.answer("The Change of “enp4s0” Was Taken Back", "Close")
    bridged.gone("label", "Containers are in it themselves, by “enp4s0”")
    assert not bridged.all("alert")


def test_a_network_is_given_another_way_out(pretend, driver):
    app = pretend("web1")
    app.press("button", "Networks")
    app.tab_to(app.find("list item", "isolated0"))
    driver.key("Return")
    app.menu("Network Menu", "c")
    app.find("dialog", "Configure “isolated0”")
    app.choose("combo box", "To the Outside", "In the net (bridged)")
    app.choose("combo box", "Interface of This Computer", "enp5s0 · physical")
    app.find("label", "Containers are in the net outside themselves")
    assert not any("20 seconds" in label.get_name() for label in app.all("label"))
    app.press("button", "Apply")
    app.find("label", "Containers are in it themselves, by “enp5s0”")
    asked = app.helper.stdout.readline()
    assert "'uplink': 'enp5s0'" in asked and "'domain': ''" in asked and "'ipv4': ''" in asked
