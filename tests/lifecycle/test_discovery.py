"""What stock LXC, editors and users do to containers shows in Gantry at once."""

import fcntl
import os

import pytest

import containers
from gantry import Job, LXC_PATH, run, until

MANAGER = "org.freedesktop.DBus.ObjectManager"


@pytest.fixture
def watched(bus):
    """A client that has looked at all objects, as the app does, and hears signals."""
    bus.objects()
    with bus.signals() as seen:
        def told(member, path, condition=lambda values: True, seconds=5):
            return until(lambda: [v for at, m, v in seen if m == member and (at == path or path in map(str, v))
                                  and condition(v)], seconds, pump=True)
        yield told


def test_a_container_of_stock_lxc_comes_changes_and_goes_live(bus, watched):
    path = bus.container("st").path
    containers.create_stock("st")
    watched("InterfacesAdded", path)
    run("lxc-start", "-n", "st")
    watched("StateChanged", path, lambda v: v[1] == "RUNNING")
    run("lxc-freeze", "-n", "st")
    watched("StateChanged", path, lambda v: v[1] == "FROZEN")
    run("lxc-unfreeze", "-n", "st")
    watched("StateChanged", path, lambda v: v[1] == "RUNNING" and v[0] != "STARTING")
    run("lxc-stop", "-k", "-n", "st")
    watched("StateChanged", path, lambda v: v[1] == "STOPPED")
    run("lxc-destroy", "-n", "st")
    watched("InterfacesRemoved", path)


def test_answers_are_never_stale(bus):
    assert bus.list() == {}
    for round_ in range(3):
        containers.create_stock("st")
        assert bus.list() == {"st": "STOPPED"}, round_
        run("lxc-start", "-n", "st")
        assert bus.list() == {"st": "RUNNING"}
        box = bus.container("st")
        assert box.state == "RUNNING"
        assert str(box.get("InitPid")) == run("lxc-info", "-n", "st", "-pH").stdout.strip()
        run("lxc-freeze", "-n", "st")
        # The monitor tells of this itself, a moment later.
        until(lambda: box.state == "FROZEN", 2)
        run("lxc-unfreeze", "-n", "st")
        run("lxc-stop", "-k", "-n", "st")
        assert bus.list() == {"st": "STOPPED"} and box.get("InitPid") == 0
        run("lxc-destroy", "-n", "st")
        assert bus.list() == {}


def test_copies_and_renames_by_stock_tools_are_seen(bus):
    containers.create_stock("st")
    run("lxc-copy", "-n", "st", "-N", "twin")
    assert bus.list() == {"st": "STOPPED", "twin": "STOPPED"}
    run("lxc-copy", "-R", "-n", "twin", "-N", "other")
    assert bus.list() == {"st": "STOPPED", "other": "STOPPED"}


def test_a_clone_that_depends_on_it_is_named_and_hinders_destroying(bus):
    containers.create_stock("st")
    run("lxc-copy", "-s", "-n", "st", "-N", "twin")
    assert bus.container("st").get("Dependents") == ["twin"]
    with containers.refused("HasDependents") as caught:
        bus.container("st").destroy()
    assert "twin" in caught[0].message
    bus.container("twin").destroy()
    assert bus.container("st").get("Dependents") == []
    bus.container("st").destroy()
    assert bus.list() == {}


def test_a_snapshot_hinders_destroying_unless_asked_for(bus):
    containers.create_stock("st")
    run("lxc-snapshot", "-n", "st")
    with containers.refused("HasDependents"):
        bus.container("st").destroy()
    assert os.path.isdir(f"{LXC_PATH}/st/snaps/snap0")
    bus.container("st").destroy(snapshots=True)
    assert bus.list() == {}


def test_a_container_made_by_hand_is_one(bus):
    assert bus.list() == {}
    os.mkdir(f"{LXC_PATH}/hand")
    assert bus.list() == {}
    with open(f"{LXC_PATH}/hand/config", "w") as file:
        file.write(f"lxc.rootfs.path = dir:{LXC_PATH}/hand/rootfs\nlxc.start.auto = 1\n")
    assert bus.list() == {"hand": "STOPPED"}
    assert bus.container("hand").get("Autostart") is True
    os.rename(f"{LXC_PATH}/hand", f"{LXC_PATH}/foot")
    assert bus.list() == {"foot": "STOPPED"}


def test_a_container_being_made_by_lxc_create_is_not_offered_for_work(bus):
    containers.create_stock("st")
    with open(f"{LXC_PATH}/st/partial", "w") as marker:
        fcntl.lockf(marker, fcntl.LOCK_EX)
        with containers.refused("Busy", "WrongState", "NotFound"):
            Job(bus, bus.manager("DestroyContainer", "(sa{sv})", "st", {})).result()
        os.unlink(f"{LXC_PATH}/st/partial")
    assert bus.list() == {"st": "STOPPED"}
