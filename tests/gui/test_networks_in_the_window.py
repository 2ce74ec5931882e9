"""Networks, their ports, addresses and forwards, on pages of their own."""

import gantry
from networks import Network, names


def open_networks(app, driver, name=None):
    app.press("button", "Networks")
    if name:
        app.tab_to(app.find("list item", name))
        driver.key("Return")
        app.find("label", "Forwarded Ports")


def test_every_network_is_listed_and_one_of_another_program_says_so(pretend, driver):
    app = pretend("web1=RUNNING")
    app.press("button", "Networks")
    app.find("label", "Up · 10.0.3.1/24 · 1 interface")
    app.find("label", "Down · 10.77.0.1/24")
    # What this computer itself has is seen below them.
    app.find("label", "physical · up · 192.0.2.7/24\nThis computer reaches others by it.")
    app.find("label", "physical · up\nA wireless card cannot be bridged.")
    app.tab_to(app.find("list item", "virbr0"))
    driver.screenshot("networks")
    driver.key("Return")
    app.find("label", "Run by Another Program")
    driver.screenshot("network-found")
    assert not driver.is_sensitive(app.find("button", "Take Down"))
    app.press("button", "Take Over…")
    app.answer("Take Over “virbr0”?", "Take Over")
    app.gone("label", "Run by Another Program")
    app.find("label", "Forwarded Ports")


def test_what_is_given_away_is_seen_and_changed(pretend, driver):
    app = pretend("web1=RUNNING", "db")
    open_networks(app, driver, "lxcbr0")
    app.find("label", "web1 · eth0")
    driver.screenshot("network")

    # An address that was given for a while is given for good.
    app.press("button", "Reserve 10.0.3.17")
    app.write("Address", "10.0.3.1")
    app.answer("Reserve an Address", "Reserve")
    app.find("label", "10.0.3.1 is taken")
    app.press("button", "Try Again")
    app.write("Address", "many")
    app.find("label", "Give an address such as")
    driver.screenshot("reserve")
    app.write("Address", "10.0.3.17")
    app.answer("Reserve an Address", "Reserve")
    app.find("label", "web1 · 10.0.3.17")
    app.gone("button", "Reserve 10.0.3.17")
    app.press("button", "Remove the Reservation of 10.0.3.200")
    app.answer("Remove the Reservation of 10.0.3.200?", "Remove")
    app.gone("label", "shop · 10.0.3.200")

    app.press("button", "Stop Forwarding Port 8080/tcp")
    app.answer("Stop Forwarding Port 8080/tcp?", "Stop Forwarding")
    app.gone("label", "Port 8080/tcp")
    app.press("button", "Forward…")
    app.write("Port of This Computer", "70000")
    app.find("label", "A port is a number from 1 to 65535.")
    app.write("Port of This Computer", "2222")
    app.write("Port of the Container", "22")
    driver.screenshot("forward")
    app.answer("Forward a Port", "Forward")
    app.find("label", "To port 22 of “web1”")

    app.press("button", "Options of “web1 · eth0”")
    app.choose("combo box", "Isolated", "On")
    driver.screenshot("port")
    app.answer("Options of “vethweb10”", "Apply")
    assert app.helper.stdout.readline() == "port vethweb10 {'isolated': True}\n"


def test_a_network_is_made_and_a_wrong_one_says_why_while_it_is_typed(pretend, driver):
    app = pretend("web1")
    open_networks(app, driver)
    app.press("button", "New Network")
    app.find("dialog", "New Network")
    assert not driver.is_sensitive(app.find("button", "Create"))
    app.write("Name", "lxcbr0")
    app.find("label", "There is a network “lxcbr0” already.")
    driver.screenshot("network-new-wrong")
    app.write("Name", "taken0")
    app.write("First and Last, if Not All", "10.0.4.9,10.0.4.2")
    app.find("label", "The range 10.0.4.9,10.0.4.2 begins after its end.")
    app.write("First and Last, if Not All", "")
    app.press("button", "Create")
    app.find("label", "ipv4: 10.0.4.1/24 overlaps with what eth0 has")
    app.press("button", "Close")
    # What was typed is still there.
    app.write("Name", "dev0")
    app.write("Domain, if Any", "dev")
    app.choose("combo box", "To the Outside", "Nothing (isolated)")
    driver.screenshot("network-new")
    app.press("button", "Create")
    app.find("list item", "dev0")
    app.gone("dialog", "New Network")
    asked = [app.helper.stdout.readline() for _ in range(2)]
    assert "'ipv4': '10.0.4.1/24'" in asked[0] and "'nat': True" in asked[0]
    assert "'nat': False" in asked[1] and "'isolated': True" in asked[1]


def test_a_network_goes_up_and_down_and_away(pretend, driver):
    app = pretend("web1=RUNNING")
    open_networks(app, driver, "isolated0")
    app.press("button", "Bring Up")
    app.press("button", "Take Down")
    app.find("button", "Bring Up")
    app.menu("Network Menu", "c")
    app.find("dialog", "Configure “isolated0”")
    assert not driver.is_sensitive(app.find("button", "Apply"))
    app.write("Domain, if Any", "lab")
    driver.screenshot("network-configure")
    app.press("button", "Apply")
    app.find("label", "lab")
    assert app.helper.stdout.readline() == "configure isolated0 {'domain': 'lab'}\n"
    app.menu("Network Menu", "d")
    app.answer("Delete “isolated0”?", "Delete")
    app.find("label", "the configs of db name the network isolated0")
    driver.screenshot("network-delete-anyway")
    app.answer("Delete “isolated0” Anyway?", "Delete Anyway")
    # Its page goes with it.
    app.find("list item", "lxcbr0")
    app.gone("list item", "isolated0")
    app.tab_to(app.find("list item", "lxcbr0"))
    driver.key("Return")
    app.press("button", "Take Down")
    app.find("label", "web1 is plugged into the network lxcbr0")


def test_the_real_helper_makes_a_network_and_a_container_gets_an_address(driver, web, bus):
    open_networks(web, driver)
    web.press("button", "New Network")
    web.write("Name", "dev0")
    web.write("IPv4 Address", "10.77.0.1/24")
    web.press("button", "Create")
    web.tab_to(web.find("list item", "dev0"))
    driver.key("Return")
    network = Network(bus, "dev0")
    try:
        web.press("button", "Bring Up")
        web.find("button", "Take Down", 60)
        assert network.get("Up") and network.get("DhcpRange") == "10.77.0.2,10.77.0.254"
        web.press("button", "Reserve…")
        web.write("Hardware Address", "00:16:3e:00:00:09")
        web.write("Address", "10.77.0.9")
        web.answer("Reserve an Address", "Reserve")
        web.press("button", "Remove the Reservation of 10.77.0.9", 60)
        web.answer("Remove the Reservation of 10.77.0.9?", "Remove")
        web.gone("label", "10.77.0.9")
        driver.screenshot("network-real")
        web.menu("Network Menu", "d")
        web.answer("Delete “dev0”?", "Delete")
        web.gone("label", "Forwarded Ports")
        gantry.until(lambda: "dev0" not in names(bus), 20)
    finally:
        if "dev0" in names(bus):
            network.delete(force=True)
