"""What the state of a container does not allow is refused, and changes nothing."""

import os

import pytest

import containers
from archives import Archive, create_local, file_of
from containers import refused
from gantry import Job, LXC_PATH


@pytest.fixture
def box(bus):
    with file_of(Archive().bytes()) as fd:
        return create_local(bus, "box", fd)


@pytest.mark.parametrize("method", ["Kill", "Freeze", "Unfreeze"])
def test_what_needs_a_running_container_is_refused_when_stopped(box, method):
    with refused("WrongState") as caught:
        box.call(method, "(a{sv})", {})
    assert "box" in caught[0].message
    assert box.state == "STOPPED"


@pytest.mark.parametrize("method", ["Stop", "Reboot"])
def test_stop_and_reboot_are_refused_when_stopped(box, method):
    with refused("WrongState"):
        Job(box.bus, box.call(method, "(a{sv})", {})).result()


def test_starting_a_running_container_is_refused_and_changes_nothing(box):
    box.start()
    pid, before = box.get("InitPid"), containers.traces()
    with refused("WrongState"):
        box.start()
    assert box.get("InitPid") == pid and box.state == "RUNNING"
    containers.assert_no_traces(before)


def test_destroying_a_running_container_needs_force(bus, box):
    box.start()
    before = containers.tree(f"{LXC_PATH}/box")
    with refused("WrongState"):
        box.destroy()
    assert box.state == "RUNNING"
    assert containers.tree(f"{LXC_PATH}/box") == before
    box.destroy(force=True)
    assert "box" not in bus.list()
    assert not os.path.exists(f"{LXC_PATH}/box")
