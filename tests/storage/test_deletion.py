"""Deleting: gone at once, and what it takes of space is freed behind that, whatever happens."""

import os

import pytest

import containers
from gantry import LXC_PATH, run, until
from stores import Snapshots, clone, place_for, wish


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
