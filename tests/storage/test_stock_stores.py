"""Containers in LXC's stores, made by stock LXC: each starts in Gantry, as it is, in turn
with stock LXC."""

import os

import pytest

import containers
from containers import refused
from gantry import LXC_PATH, run
from stores import btrfs_in_place_of_the_lxc_path


def take_turns(bus, name):
    box = bus.container(name)
    config = containers.config_of(name)
    for number in range(2):
        box.start()
        assert box.execute("sh", "-c", f"echo gantry {number} >>/turns; hostname") == (0, f"{name}\n", "")
        box.kill()
        run("lxc-start", "-n", name)
        run("lxc-attach", "-n", name, "--", "sh", "-c", f"echo stock {number} >>/turns")
        run("lxc-stop", "-k", "-n", name)
        assert box.wait("STOPPED") == "STOPPED"
    box.start()
    assert box.execute("cat", "/turns")[1] == "gantry 0\nstock 0\ngantry 1\nstock 1\n"
    box.kill()
    assert containers.config_of(name) == config


def loop_devices_of(path):
    return run("losetup", "--noheadings", "--associated", path).stdout.strip()


@pytest.fixture
def origin():
    with containers.shared("origin", stock=True, start=False) as container:
        yield container
        containers.destroy("web")


def test_overlay(bus, origin):
    run("lxc-copy", "-s", "-n", "origin", "-N", "web")
    before = containers.tree(f"{LXC_PATH}/origin/rootfs")
    take_turns(bus, "web")
    assert bus.container("web").get("Backend") == "overlay"
    assert containers.tree(f"{LXC_PATH}/origin/rootfs") == before


def test_overlay_of_an_overlay(bus, origin):
    run("lxc-copy", "-s", "-n", "origin", "-N", "web")
    run("lxc-copy", "-s", "-n", "web", "-N", "webcopy")
    try:
        take_turns(bus, "webcopy")
    finally:
        containers.destroy("webcopy")


def test_an_overlay_below_a_long_path(bus, origin):
    """The kernel's option has fewer letters than a path may have."""
    deep = f"{LXC_PATH}/web/" + "/".join(["x" * 100] * 5)
    for layer in ("delta", "work"):
        os.makedirs(f"{deep}/{layer}")
    with open(containers.config_path("web"), "w") as file:
        file.write(containers.config_of("origin").decode().replace(
            f"dir:{LXC_PATH}/origin/rootfs", f"overlay:{LXC_PATH}/origin/rootfs:{deep}/delta"))
    box = bus.container("web")
    box.start()
    assert box.execute("touch", "/here")[0] == 0
    box.kill()
    assert os.path.exists(f"{deep}/delta/here")


def test_loop(bus):
    run("lxc-create", "-n", "web", "-t", "busybox", "-B", "loop", "--fssize", "64M")
    take_turns(bus, "web")
    assert bus.container("web").get("Backend") == "loop"
    assert loop_devices_of(f"{LXC_PATH}/web/rootdev") == ""


def test_a_loop_device_is_free_after_a_start_that_fails(bus):
    run("lxc-create", "-n", "web", "-t", "busybox", "-B", "loop", "--fssize", "64M")
    containers.append_config("web", "lxc.init.cmd = /no/such")
    with refused("StartFailed"):
        bus.container("web").start()
    assert loop_devices_of(f"{LXC_PATH}/web/rootdev") == ""


def test_an_image_without_a_file_system_is_refused(bus):
    run("lxc-create", "-n", "web", "-t", "busybox", "-B", "loop", "--fssize", "64M")
    with open(f"{LXC_PATH}/web/rootdev", "r+b") as image:
        image.write(b"\0" * (1 << 20))
    with refused("StartFailed") as caught:
        bus.container("web").start()
    assert "rootdev" in caught[0].message


def test_btrfs(bus):
    with btrfs_in_place_of_the_lxc_path(bus):
        run("lxc-create", "-n", "web", "-t", "busybox", "-B", "btrfs")
        take_turns(bus, "web")
        assert bus.container("web").get("Backend") == "btrfs"
        containers.destroy("web")


@pytest.mark.parametrize("path, name, words", [
    ("overlay:/only/one", "InvalidConfig", "LOWER:UPPER"),
    ("overlay:/no/lower:/no/upper", "StartFailed", "/no/lower"),
    ("loop:/etc", "InvalidConfig", "image file"),
    ("lvm:/etc/passwd", "InvalidConfig", "block device"),
    ("zfs:no/such/dataset", "StartFailed", "no/such/dataset"),
    ("aufs:/a:/b", "Unsupported", "overlay"),
    ("nbd:/image.qcow2", "Unsupported", "qemu-nbd"),
    ("tape:/dev/st0", "Unsupported", "tape"),
])
def test_what_cannot_be_mounted_is_refused_in_words(bus, path, name, words):
    containers.write_container("web", f"lxc.rootfs.path = {path}\nlxc.uts.name = web\n")
    with refused(name) as caught:
        bus.container("web").start()
    assert words in caught[0].message
