"""Names that are not allowed are refused before anything is made."""

import os

import pytest

import containers
from archives import Archive, file_of
from containers import refused
from gantry import LXC_PATH, options

BAD = ["", ".", "..", "../x", "a/b", "/", "/etc", "a" * 300, "new\nline", "a\tb", "a b", "-n", ".hidden", "ümläut",
       "a\x01", "a\x7f", "$(id)", "a;b", "a'b", "x" * 65]
CALLS = {
    "StartContainer": "(sa{sv})", "KillContainer": "(sa{sv})", "DestroyContainer": "(sa{sv})", "GetContainer": "(s)",
}


@pytest.fixture(scope="module")
def web():
    with containers.shared("web", start=False) as container:
        yield container



def listed(bus):
    """The list without the container that the module shares."""
    return {name: state for name, state in bus.list().items() if name != "web"}


@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_21_a_bad_name_makes_nothing(bus, web, name):
    before, around = containers.tree(LXC_PATH), os.listdir(os.path.dirname(LXC_PATH))
    with refused("InvalidName"):
        bus.create(name, template="busybox")
    with file_of(Archive().bytes()) as fd, refused("InvalidName"):
        job = bus.manager("ImportContainer", "(hsa{sv})", 0, name, options(), fds=[fd])
        containers.gantry.Job(bus, job).result()
    with refused("InvalidName"):
        bus.container("web").call("Rename", "(sa{sv})", name, {})
    assert containers.tree(LXC_PATH) == before
    assert os.listdir(os.path.dirname(LXC_PATH)) == around


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("name", ["../x", "", "system/../web", "u0/web", "nobody/web", "system/", "a\nb"], ids=ascii)
def test_21_a_bad_name_finds_nothing(bus, web, method, name):
    args = (name, {}) if "a{sv}" in CALLS[method] else (name,)
    with refused("InvalidName", "NotFound", "InvalidArgument"):
        bus.manager(method, CALLS[method], *args)
    assert bus.list() == {"web": "STOPPED"}


@pytest.mark.parametrize("name", ["a", "0", "web-1", "web.example", "A1", "x" * 63], ids=str)
def test_good_names_are_taken(bus, name):
    box = bus.create(name, template="busybox")
    assert listed(bus) == {name: "STOPPED"}
    assert bus.manager("GetContainer", "(s)", name) == box.path
    assert box.state == "STOPPED"


@pytest.mark.parametrize("name", ["with_underscore", "x" * 62 + "y", "UPPER.lower-9"])
def test_names_that_stock_lxc_gave_are_listed_and_run(bus, name):
    containers.create_stock(name)
    assert listed(bus) == {name: "STOPPED"}
    box = bus.container(name)
    box.start()
    assert box.state == "RUNNING"
    box.kill()


def test_entries_that_are_no_containers_are_not_listed(bus):
    os.mkdir(f"{LXC_PATH}/no-config")
    os.mkdir(f"{LXC_PATH}/.hidden")
    with open(f"{LXC_PATH}/.hidden/config", "w"):
        pass
    with open(f"{LXC_PATH}/file", "w"):
        pass
    try:
        assert listed(bus) == {}
    finally:
        os.unlink(f"{LXC_PATH}/.hidden/config")
        os.rmdir(f"{LXC_PATH}/.hidden")
        os.unlink(f"{LXC_PATH}/file")
