"""What every backend keeps to, whoever made the container: Gantry or stock LXC."""

import os
import re
import shutil

import pytest

import archives
from containers import refused
from gantry import Job, LXC_PATH, run, until
from stores import BACKENDS, Snapshots, clone, container_on, create_stock, kind, place_for, size, wish
from test_clones import mark, runs_by_turns


def shape(name):
    """What of a container says how it is stored: its line and what is in its directory."""
    with open(f"{LXC_PATH}/{name}/config") as file:
        line = re.search(r"^lxc.rootfs.path *= *(.*)$", file.read(), re.M)[1]
    listed = sorted(set(os.listdir(f"{LXC_PATH}/{name}")) - {"rootfs"})
    return line.replace(f"/{name}", "/NAME"), [entry for entry in listed if entry in ("config", "overlay", "rootdev")]


@pytest.mark.parametrize("backend", BACKENDS)
def test_gantry_makes_what_lxc_makes_and_either_may_end_it(bus, backend):
    with place_for(bus, backend):
        ours = bus.create("ours", template="busybox", **wish(backend))
        create_stock("stock", backend)
        assert shape("ours") == shape("stock")
        stock = bus.container("stock")
        assert (ours.get("Backend"), stock.get("Backend")) == (kind(backend), kind(backend))
        runs_by_turns(ours)
        mark(stock, "stock")
        assert ours.call("Rename", "(sa{sv})", "mine", {}) is None
        ours = bus.container("mine")
        runs_by_turns(ours)
        run("lxc-destroy", "-n", "mine")
        stock.destroy()
        assert not os.path.exists(f"{LXC_PATH}/mine") and not os.path.exists(stock.folder)


def create_from(bus, archive, **named):
    with archives.file_of(archive.bytes()) as fd:
        return archives.create_local(bus, "web", fd, **named)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_archive_is_unpacked_into_it(bus, backend):
    archive = archives.Archive()
    archive.file("note", b"words", uid=7)
    with place_for(bus, backend):
        web = create_from(bus, archive, **wish(backend))
        web.start()
        assert web.execute("stat", "-c", "%u %g %s", "/note")[1] == "7 0 5\n"
        assert web.execute("stat", "-c", "%u %a", "/")[1] == "0 755\n"


def room(container):
    return container.resources("GetRoom", "(a{sv})", {})


def grow(container, mebibytes):
    job = container.resources("Grow", "(ta{sv})", mebibytes << 20, {})
    return Job(container.bus, job).result()["size"]


# Growing ext4 takes CAP_SYS_RESOURCE, which the sandbox's host may lack; btrfs begins at 256 MiB.
# A dataset has a size of its own if it was given one.
GROWING = {"loop": {"fstype": "btrfs"}, "zfs": {"fssize": size(256)}}


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_tells_its_room_and_grows_where_it_can(bus, backend):
    with place_for(bus, backend):
        wished = wish(backend) | GROWING.get(backend, {})
        if "fssize" in wished:
            wished["fssize"] = size(256)
        web = bus.create("web", template="busybox", **wished)
        sizes = [room(web)["size"]]
        assert 0 < room(web)["free"] < sizes[0]
        if not room(web)["own"]:
            with refused("Unsupported"):
                grow(web, 1 << 10)
            return
        assert grow(web, 288) == 288 << 20
        sizes.append(room(web)["size"])
        web.start()
        assert grow(web, 320) == 320 << 20, "also while it runs"
        sizes.append(room(web)["size"])
        assert sizes[0] + (24 << 20) < sizes[1] < sizes[2] - (24 << 20)
        with refused("InvalidArgument"):
            grow(web, 64)
        assert web.execute("true")[0] == 0


def test_the_best_is_what_the_lxc_path_offers(bus):
    for backend, best in (("dir", "dir"), ("btrfs", "btrfs")):
        with place_for(bus, backend):
            assert bus.create("web", template="busybox", backend="best").get("Backend") == best


def test_the_size_and_kind_of_a_file_system_can_be_chosen(bus):
    web = bus.create("web", template="busybox", backend="loop", fssize=size(48), fstype="ext2")
    image = f"{web.folder}/rootdev"
    assert os.path.getsize(image) == 48 << 20
    assert "ext2" in run("blkid", "-p", image).stdout
    assert os.stat(image).st_blocks * 512 < 16 << 20, "what is not used takes no space"


@pytest.mark.parametrize("wrong, error", [
    ({"backend": "tape"}, "InvalidArgument"),
    ({"backend": "rbd"}, "Unsupported"),
    ({"backend": "btrfs"}, "Unsupported"),
    ({"backend": "dir", "fssize": size(64)}, "InvalidArgument"),
    ({"backend": "loop", "fssize": size(0)}, "InvalidArgument"),
    ({"backend": "loop", "fstype": "-x"}, "InvalidArgument"),
    ({"backend": "loop", "fstype": "nosuchfs"}, "Unsupported"),
    ({"backend": "loop", "dir": "/srv/web"}, "InvalidArgument"),
    *(({"backend": "lvm", option: name}, "InvalidArgument")
      for option in ("lvname", "vgname", "thinpool") for name in ("-f", "a b", "..", "lxc/web", "x@y", "new\nline", "é")),
    *(({"backend": "zfs", "zfsroot": name}, "InvalidArgument")
      for name in ("-r", "tank/-r", "tank/web@snap", "tank//web", "/tank", "tank/../x", "tank/new\nline", "é")),
    ({"backend": "zfs", "fssize": size(0)}, "InvalidArgument"),
])
def test_what_cannot_be_made_is_refused(bus, wrong, error):
    with refused(error):
        bus.create("web", template="busybox", **wrong)
    assert os.listdir(LXC_PATH) == []


def test_a_full_image_leaves_nothing(bus):
    archive = archives.Archive()
    archive.file("big", os.urandom(20 << 20))
    with refused("NoSpace"):
        create_from(bus, archive, backend="loop", fssize=size(8))
    until(lambda: os.listdir(LXC_PATH) == [])
    # The device goes with the worker's mounts, a moment after the worker.
    until(lambda: LXC_PATH not in run("losetup", "-a").stdout)


def volumes():
    """What of the backends of volumes there is besides files: their names."""
    def listed(*argv):
        return set(run(*argv).stdout.split()) if shutil.which(argv[0]) else set()

    return listed("lvs", "--noheadings", "-o", "lv_full_name") | listed("zfs", "list", "-H", "-o", "name", "-t", "all")


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_ephemeral_one_leaves_nothing_but_keeps_its_snapshots(bus, backend):
    """Its volume goes with it; a snapshot, which somebody took, is not lost."""
    with container_on(bus, backend) as web:
        before, others = volumes(), bus.list()
        brief = clone(web, "brief", ephemeral=True, start=True)
        brief.kill()
        until(lambda: bus.list() == others, 60)
        until(lambda: not os.path.exists(brief.folder) and volumes() == before, 60)
        kept = clone(web, "kept", ephemeral=True, start=True)
        Snapshots(kept).take()
        kept.kill()
        Snapshots(kept).restore("snap0", new_name="again")
        again = bus.container("again")
        again.start()
        assert again.execute("true")[0] == 0
        again.destroy(force=True)
        Snapshots(kept).delete("snap0")
        kept.destroy()
        until(lambda: volumes() == before, 60)
