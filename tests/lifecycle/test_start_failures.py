"""Starts that fail: the error names the step, and nothing is left."""

import fcntl
import os

import pytest

import containers
from archives import Archive, create_local, file_of
from containers import refused
from gantry import LXC_PATH


@pytest.fixture
def box(bus):
    with file_of(Archive().bytes()) as fd:
        return create_local(bus, "box", fd)


def assert_fails(box, *words, errors=("StartFailed",)):
    before = containers.traces()
    with refused(*errors) as caught:
        box.start()
    for word in words:
        assert word in caught[0].message, caught[0]
    assert box.state == "STOPPED" and box.get("InitPid") == 0
    containers.assert_no_traces(before)
    return caught[0].message


def test_an_init_that_is_not_there(box):
    containers.append_config("box", "lxc.init.cmd = /sbin/nothing")
    assert_fails(box, "/sbin/nothing")


def test_an_init_that_is_no_program(box):
    path = f"{LXC_PATH}/box/rootfs/sbin/init"
    os.chmod(path, 0o644)
    assert_fails(box, "init")
    os.chmod(path, 0o755)
    box.start()
    box.kill()


def test_a_bridge_that_is_not_there(box):
    containers.append_config("box", "lxc.net.0.type = veth", "lxc.net.0.link = nobridge0", "lxc.net.0.flags = up")
    assert_fails(box, "nobridge0")


def test_a_root_file_system_that_is_not_there(box):
    containers.append_config("box", f"lxc.rootfs.path = dir:{LXC_PATH}/box/nowhere")
    assert_fails(box, "nowhere", errors=("StartFailed", "InvalidConfig", "NotFound"))


def test_a_mount_whose_source_is_not_there(box):
    containers.append_config("box", "lxc.mount.entry = /no/such/source mnt none bind,create=dir 0 0")
    assert_fails(box, "/no/such/source")


def test_an_optional_mount_does_not_hinder(box):
    containers.append_config("box", "lxc.mount.entry = /no/such/source mnt none bind,optional,create=dir 0 0")
    box.start()


def test_a_pre_start_hook_that_fails(box):
    hook = f"{LXC_PATH}/box/hook"
    with open(hook, "w") as file:
        file.write("#!/bin/sh\necho words of the hook\nexit 3\n")
    os.chmod(hook, 0o755)
    containers.append_config("box", f"lxc.hook.pre-start = {hook}")
    assert_fails(box, "pre-start", errors=("HookFailed", "StartFailed"))


def test_the_error_ends_with_the_logs_last_lines(box):
    containers.append_config("box", "lxc.init.cmd = /sbin/nothing")
    message = assert_fails(box)
    assert "\n" in message, message
    assert "No such file or directory" in message


def test_a_failed_start_can_be_mended_and_tried_again(box):
    containers.append_config("box", "lxc.init.cmd = /sbin/nothing")
    for _ in range(3):
        assert_fails(box)
    containers.append_config("box", "lxc.init.cmd = /sbin/init")
    box.start()
    assert box.state == "RUNNING"


def test_a_creation_being_under_way_elsewhere_hinders_the_start(bus, box):
    """The marker of stock LXC: a file called partial with a write lock on it."""
    with open(f"{LXC_PATH}/box/partial", "w") as marker:
        fcntl.lockf(marker, fcntl.LOCK_EX)
        with refused("Busy", "WrongState", "StartFailed", "NotFound"):
            bus.manager("StartContainer", "(sa{sv})", "box", {})
        os.unlink(f"{LXC_PATH}/box/partial")
    assert bus.list() == {"box": "STOPPED"}
    box.start()
