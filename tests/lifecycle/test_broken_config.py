"""A container whose config cannot be read stays in the list with the reason beside it."""

import os

import pytest

import containers
from containers import refused
from gantry import LXC_PATH, run

GOOD = "# first line\nlxc.rootfs.path = dir:{path}/{name}/rootfs\nlxc.net.0.type = empty\n"


@pytest.fixture(scope="module", autouse=True)
def well():
    """One good container beside it, which stock lxc-ls still lists."""
    with containers.shared("well", stock=True, start=False) as container:
        yield container


def broken(name, *lines):
    containers.write_container(name, GOOD.format(path=LXC_PATH, name=name) + "".join(line + "\n" for line in lines))


def assert_listed_with_reason(bus, name, *words, stock_drops_it=True):
    assert bus.list()[name] == "STOPPED"
    reason = bus.container(name).get("ConfigError")
    for word in words:
        assert word in reason, reason
    assert bus.container("well").get("ConfigError") == ""
    if stock_drops_it:
        listed = run("lxc-ls", "-1", check=False).stdout.split()
        assert name not in listed and "well" in listed
    before = containers.traces()
    with refused("InvalidConfig") as caught:
        bus.container(name).start()
    for word in words:
        assert word in caught[0].message, caught[0]
    containers.assert_no_traces(before)


@pytest.mark.parametrize("line, key", [
    ("lxc.nonsense = 1", "lxc.nonsense"),
    ("lxc.tty.max = many", "lxc.tty.max"),
    ("lxc.net.1.type = nonsense", "lxc.net.1.type"),
    ("lxc.autodev = 2", "lxc.autodev"),
    ("lxc.cap.drop = fly", "lxc.cap.drop"),
    ("lxc.uts.name without a sign", "lxc.uts.name"),
])
def test_an_unknown_key_or_wrong_value(bus, line, key):
    broken("bad", "# fourth", line)
    assert_listed_with_reason(bus, "bad", "config", "5", key)


def test_a_missing_include(bus):
    broken("bad", "lxc.include = /no/such/more.conf")
    assert_listed_with_reason(bus, "bad", "more.conf", "4")


def test_an_error_in_an_included_file(bus, tmp_path):
    (tmp_path / "more.conf").write_text("# one\n# two\nlxc.nonsense = 1\n")
    broken("bad", f"lxc.include = {tmp_path}/more.conf")
    assert_listed_with_reason(bus, "bad", "more.conf", "3", "lxc.nonsense")


def test_an_include_loop(bus, tmp_path):
    (tmp_path / "more.conf").write_text(f"lxc.include = {LXC_PATH}/bad/config\n")
    broken("bad", f"lxc.include = {tmp_path}/more.conf")
    assert_listed_with_reason(bus, "bad", "more.conf", stock_drops_it=False)


def test_a_config_that_is_a_folder_or_no_text(bus):
    os.makedirs(f"{LXC_PATH}/bad/config")
    assert bus.list()["bad"] == "STOPPED"
    assert bus.container("bad").get("ConfigError")
    os.rmdir(f"{LXC_PATH}/bad/config")
    with open(containers.config_path("bad"), "wb") as file:
        file.write(bytes(range(256)) * 100)
    assert "bad" in bus.list()
    with open(containers.config_path("bad"), "wb") as file:
        file.write(b"lxc.uts.name = \xff\xfe\n")
    assert "bad" in bus.list()


def test_mending_it_takes_the_error_away(bus):
    broken("bad", "lxc.nonsense = 1")
    bad = bus.container("bad")
    assert bad.get("ConfigError")
    text, revision = bad.call("GetConfig")
    bad.call("SetConfig", "(sta{sv})", text.replace("lxc.nonsense", "#lxc.nonsense"), revision, {})
    assert bad.get("ConfigError") == ""


def test_breaking_the_config_of_a_running_container_does_not_lose_it(bus):
    box = bus.create("box", template="busybox", start=True)
    containers.append_config("box", "lxc.nonsense = 1")
    assert bus.list()["box"] == "RUNNING"
    assert "lxc.nonsense" in box.get("ConfigError")
    assert box.execute("hostname")[1] == "box\n"
    box.kill()
    assert box.state == "STOPPED"


def test_a_broken_container_can_be_destroyed(bus):
    broken("bad", "lxc.nonsense = 1")
    bus.container("bad").destroy()
    assert not os.path.exists(f"{LXC_PATH}/bad")
