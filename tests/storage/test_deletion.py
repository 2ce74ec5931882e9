"""Deleting: gone at once, and what it takes of space is freed behind that, whatever happens."""

import os

import pytest

import containers
from gantry import LXC_PATH, run, until
from stores import Snapshots, clone, container_on, place_for, wish


def fill(container, count=20_000):
    run("sh", "-ec", f"mkdir {container.folder}/rootfs/many; cd {container.folder}/rootfs/many; seq {count} | xargs touch")


def nothing_is_left(*but):
    return sorted(os.listdir(LXC_PATH)) == sorted(but)


def test_a_name_is_free_at_once(bus):
    web = bus.create("web", template="busybox")
    fill(web)
    for _ in range(2):
        web.destroy()
        assert bus.list() == {} and not os.path.exists(web.folder)
        web = bus.create("web", template="busybox")
    until(lambda: nothing_is_left("web"))


def test_the_next_helper_goes_on_where_one_was_killed(bus):
    web = bus.create("web", template="busybox")
    fill(web)
    web.destroy()
    containers.kill_helper(bus)
    assert bus.list() == {}
    until(lambda: nothing_is_left(), 60)


def test_what_a_snapshot_and_a_state_that_was_replaced_took_is_freed(bus):
    web = bus.create("web", template="busybox")
    fill(web)
    snapshots = Snapshots(web)
    snapshots.take()
    snapshots.restore("snap0", safety=False)
    until(lambda: nothing_is_left("web"), 60)
    snapshots.delete("snap0")
    assert snapshots.names() == []
    until(lambda: nothing_is_left("web"), 60)


def dig(folder, depth, name="d"):
    """Makes directories in one another, as a container's root can."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def test_no_depth_is_too_much(bus):
    """Files in 20,000 directories in one another: copied, restored and deleted, and the helper is the same all along."""
    web = bus.create("web", template="busybox")
    dig(f"{web.folder}/rootfs", 20_000)
    dig(f"{web.folder}/rootfs/tmp", 100, "long" * 50)
    run("chattr", "+i", f"{web.folder}/rootfs/{'d/' * 40}", check=False)
    helper = containers.helper_pid(bus)
    snapshots = Snapshots(web)
    snapshots.take()
    run("chattr", "-i", f"{web.folder}/rootfs/{'d/' * 40}", check=False)
    snapshots.restore("snap0", safety=False)
    until(lambda: nothing_is_left("web"), 120)
    snapshots.delete("snap0")
    web.destroy()
    until(nothing_is_left, 120)
    assert containers.helper_pid(bus) == helper


def test_an_ephemeral_one_leaves_no_depth_behind(bus):
    """Its monitor leaves to the next helper what is too deep for it."""
    web = bus.create("web", template="busybox", ephemeral=True)
    dig(f"{web.folder}/rootfs", 20_000)
    web.start()
    web.kill()
    until(lambda: bus.list() == {}, 60)
    containers.kill_helper(bus)
    assert bus.list() == {}
    until(nothing_is_left, 120)


def test_subvolumes_go_however_they_are_nested(bus):
    """Also those that can only be read, and that lie below where one may be deleted at once."""
    with container_on(bus, "btrfs") as web:
        place = f"{web.folder}/rootfs/srv"
        for number in range(40):
            run("btrfs", "subvolume", "create", f"{place}/sub")
            os.mkdir(f"{place}/sub/folder")
            if number % 10 == 0:
                dig(f"{place}/sub", 50)
                run("btrfs", "subvolume", "snapshot", "-r", f"{place}/sub", f"{place}/read")
            place += "/sub/folder"
        web.destroy()
        until(nothing_is_left, 120)


def test_a_directory_elsewhere_goes_with_its_container(bus):
    web = bus.create("web", template="busybox", dir="/srv/web")
    assert os.path.exists("/srv/web/bin")
    web.destroy()
    assert not os.path.exists("/srv/web")


def test_stock_lxc_and_gantry_may_both_delete(bus):
    with place_for(bus, "loop"):
        for remove in (lambda: run("lxc-destroy", "-n", "web"), lambda: bus.container("web").destroy()):
            bus.create("web", template="busybox", **wish("loop"))
            remove()
            until(lambda: nothing_is_left())


def test_an_ephemeral_container_that_others_need_stays(bus):
    """Until nothing needs it any more, and only then may it go."""
    base = bus.create("base", template="busybox", privileged=True, start=True)
    twin = clone(base, "twin", snapshot=True)
    base.call("SetConfigItem", "(sasa{sv})", "lxc.ephemeral", ["1"], {})
    base.kill()
    twin.start()
    assert twin.execute("true")[0] == 0 and set(bus.list()) == {"base", "twin"}
    twin.kill()
    twin.destroy()
    base.start()
    base.kill()
    until(lambda: nothing_is_left())


@pytest.mark.parametrize("managed", ["0", "1"])
def test_the_directory_of_an_ephemeral_container_elsewhere(bus, managed):
    """It goes with the container, unless the config says that it is somebody's own."""
    web = bus.create("web", template="busybox", dir="/srv/web", start=True,
                     config=["lxc.ephemeral = 1", f"lxc.rootfs.managed = {managed}"])
    try:
        web.kill()
        until(lambda: nothing_is_left() and bus.list() == {})
        if managed == "0":
            assert os.path.exists("/srv/web/bin")
        else:
            until(lambda: not os.path.exists("/srv/web"))
    finally:
        run("rm", "-rf", "/srv/web")
