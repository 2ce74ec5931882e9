"""Full copies from every backend to every other: each has all that the files of its origin have, and needs nothing of it."""

import os

import pytest

from containers import refused
from gantry import run
from stores import BACKENDS, btrfs_in_place_of_the_lxc_path, clone, everything, fill, kind, root_of, size, wish
from test_clones import runs_by_turns

# Where the machine has volumes, what is of directories is there, too.
TARGETS = sorted({kind(backend) for backend in BACKENDS} | {"dir", "overlay", "loop"})


@pytest.fixture(scope="module", autouse=True)
def on_btrfs():
    """Every backend of the sandbox can be on btrfs."""
    if "btrfs" not in BACKENDS:
        yield
        return
    import gantry
    bus = gantry.Bus()
    with btrfs_in_place_of_the_lxc_path(bus):
        yield
    bus.close()


def seen(container):
    with root_of(container) as root:
        found = everything(root)
    # A file system's own directory is nobody's.
    return {path: value for path, value in found.items() if path != "lost+found" and not path.startswith("lost+found/")}


@pytest.mark.parametrize("backend", BACKENDS)
def test_to_every_other_backend(bus, backend):
    web = bus.create("web", template="busybox", **wish(backend))
    with root_of(web) as root:
        fill(root, first=os.stat(root).st_uid)
    before = seen(web)
    for target in TARGETS:
        copy = clone(web, "copy", backend=target, keep_name=True)
        assert copy.get("Backend") == target
        assert seen(copy) == before, target
        assert web.get("Dependents") == []
        with root_of(copy) as root:
            assert os.stat(f"{root}/hole").st_blocks < 100 and os.stat(f"{root}/hard").st_nlink == 2
        copy.destroy()
    copy = clone(web, "copy")
    web.destroy()
    runs_by_turns(copy)


def test_a_file_system_has_room_for_what_it_gets(bus):
    web = bus.create("web", template="busybox")
    run("sh", "-c", f"truncate -s 300M {web.folder}/rootfs/hole")
    copy = clone(web, "copy", backend="loop")
    assert os.path.getsize(f"{copy.folder}/rootdev") == 1 << 30, "as LXC has it"
    small = clone(web, "small", backend="loop", fssize=size(48))
    assert os.path.getsize(f"{small.folder}/rootdev") == 48 << 20
    again = clone(small, "again")
    assert os.path.getsize(f"{again.folder}/rootdev") == 48 << 20
    with refused("InvalidArgument"):
        clone(web, "wrong", fssize=size(48))
