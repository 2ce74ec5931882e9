"""What storage meets that nobody wants: full and read-only disks, paths at the limit, names that mean
mischief, files that will not go, file systems mounted in others, and very many files."""

import os
import resource
from contextlib import contextmanager

import pytest

import containers
from archives import file_of
from containers import refused
from gantry import Job, LXC_PATH, run, until
from stores import Snapshots, clone, everything, first_id, in_place_of_the_lxc_path
from test_export import export_to

# Fewer than issues speak of, so that the test is quick; a million have been tried by hand.
MANY = 50_000
NAMES = ["new\nline", "-rf", "--", "*", "$(touch evil)", ";reboot", "'\"", "\\", " ", ".", "tab\t", "é\udcff", "x" * 255,
         ".wh.x", "\x1b[31m"]


def names_in_lxc_path():
    return sorted(os.listdir(LXC_PATH))


@contextmanager
def full(keep=0):
    """Nothing is left on the disk of the LXC path but so many bytes."""
    path = f"{LXC_PATH}/.filling"
    with open(path, "wb") as file:
        space = os.statvfs(LXC_PATH)
        free = space.f_bavail * space.f_frsize - keep
        os.posix_fallocate(file.fileno(), 0, max(free - (4 << 20), 1))
        try:
            while True:
                file.seek(0, os.SEEK_END)
                file.write(b"x" * 65536)
                file.flush()
                if os.statvfs(LXC_PATH).f_bavail * space.f_frsize <= keep:
                    break
        except OSError:
            pass
    try:
        yield
    finally:
        os.unlink(path)


@contextmanager
def read_only():
    run("mount", "-o", "remount,ro", LXC_PATH)
    try:
        yield
    finally:
        run("mount", "-o", "remount,rw", LXC_PATH)


def operations(bus, web, archive):
    """What takes space, by name."""
    def bring_in():
        with file_of(archive) as fd:
            Job(bus, bus.manager("ImportContainer", "(hsa{sv})", 0, "new", {}, fds=[fd])).result()

    return {
        "create": lambda: bus.create("new", template="busybox"),
        "clone": lambda: clone(web, "new"),
        "snapshot": lambda: Snapshots(web).take(),
        "restore": lambda: Snapshots(web).restore("snap0"),
        "import": bring_in,
    }


@pytest.fixture
def small(bus, tmp_path):
    """A container with a snapshot on a small file system of its own, and its archive."""
    with in_place_of_the_lxc_path(bus, ["mkfs.ext4", "-q", "-m", "0"], size=96 << 20):
        web = bus.create("web", template="busybox")
        with open(f"{web.folder}/rootfs/filling", "wb") as file:
            file.write(os.urandom(8 << 20))
        Snapshots(web).take()
        export_to(web, tmp_path / "a")
        yield web, (tmp_path / "a").read_bytes()
        for name in os.listdir(LXC_PATH):
            containers.destroy(name)


@pytest.mark.parametrize("what", ["create", "clone", "snapshot", "restore", "import"])
@pytest.mark.parametrize("fault, error", [(full, "NoSpace"), (read_only, "Failed")], ids=["full", "read-only"])
def test_a_disk_that_takes_nothing_leaves_all_as_it_was(bus, small, what, fault, error):
    web, archive = small
    before = everything(f"{web.folder}/rootfs", first_id(web))
    with fault():
        names = names_in_lxc_path()
        with refused(error) as why:
            operations(bus, web, archive)[what]()
        assert "space" in why[0].message or "Read-only" in why[0].message
        assert names_in_lxc_path() == names
        assert Snapshots(web).names() == ["snap0"] and list(bus.list()) == ["web"]
    assert everything(f"{web.folder}/rootfs", first_id(web)) == before
    operations(bus, web, archive)["snapshot" if what == "restore" else what]()


def test_a_full_disk_lets_go_of_what_is_not_wanted(bus, small):
    web, _archive = small
    with full():
        Snapshots(web).delete("snap0")
        assert Snapshots(web).names() == []
        web.destroy()
        assert bus.list() == {}


def deep(root, length=4000):
    """A file with a path of so many bytes in the container, which no single call can name from outside."""
    here = os.open(root, os.O_RDONLY)
    size = 0
    while size < length - 255:
        name = "d" * min(200, length - size - 2)
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here, size = below, size + len(name) + 1
    name = "f" * (length - size - 1)
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)
    return length


def all_names(root):
    """Every name below a folder, also those that are too far down for a path."""
    found = []

    def walk(at, depth):
        for entry in sorted(os.listdir(at)):
            found.append((depth, entry))
            status = os.stat(entry, dir_fd=at, follow_symlinks=False)
            if status.st_mode & 0o170000 == 0o040000:
                below = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=at)
                walk(below, depth + 1)
                os.close(below)

    top = os.open(root, os.O_RDONLY)
    walk(top, 0)
    os.close(top)
    return found


def carried(bus, web, tmp_path):
    """Copies, restores and moves a container; gives the names below each root file system that came of it."""
    snapshots = Snapshots(web)
    snapshots.take()
    clone(web, "copy")
    snapshots.restore("snap0", safety=False)
    export_to(web, tmp_path / "a")
    with open(tmp_path / "a", "rb") as archive:
        Job(bus, bus.manager("ImportContainer", "(hsa{sv})", 0, "moved", {}, fds=[archive.fileno()])).result()
    yield from (all_names(f"{LXC_PATH}/{name}/rootfs") for name in ("web", "copy", "moved"))
    for name in ("copy", "moved"):
        bus.container(name).destroy()
    web.destroy(snapshots=True)
    # What is destroyed is freed while nobody waits.
    until(lambda: set(names_in_lxc_path()) <= {"lost+found"}, 60)


def test_paths_at_the_limit_are_carried_along(bus, tmp_path):
    web = bus.create("web", template="busybox")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    deep(f"{web.folder}/rootfs/srv" if os.path.isdir(f"{web.folder}/rootfs/srv") else f"{web.folder}/rootfs", 4000)
    before = all_names(f"{web.folder}/rootfs")
    for after in carried(bus, web, tmp_path):
        assert after == before


def test_hostile_names_are_names(bus, tmp_path):
    web = bus.create("web", template="busybox")
    root = os.fsencode(f"{web.folder}/rootfs")
    for name in NAMES:
        if name not in (".", " "):
            open(os.path.join(root, name.encode(errors="surrogateescape")), "w").close()
    os.symlink("/etc/shadow", os.path.join(root, b"away"))
    os.mkdir(os.path.join(root, b"folder\n-rf *"))
    before = all_names(f"{web.folder}/rootfs")
    for after in carried(bus, web, tmp_path):
        assert after == before
    assert not os.path.exists("/evil") and not os.path.exists("evil")


@pytest.fixture
def immutable(bus):
    """A container with files that nobody may change, on a file system that knows such."""
    with in_place_of_the_lxc_path(bus, ["mkfs.ext4", "-q"]):
        web = bus.create("web", template="busybox")
        os.mkdir(f"{web.folder}/rootfs/kept")
        for name in ("kept/file", "grows"):
            with open(f"{web.folder}/rootfs/{name}", "w") as file:
                file.write("text")
        run("chattr", "+a", f"{web.folder}/rootfs/grows")
        run("chattr", "+i", f"{web.folder}/rootfs/kept/file", f"{web.folder}/rootfs/kept")
        try:
            yield web
        finally:
            run("chattr", "-R", "-f", "-i", "-a", LXC_PATH, check=False)


def test_immutable_files_are_copied_and_go_with_their_container(bus, immutable, tmp_path):
    before = all_names(f"{immutable.folder}/rootfs")
    for after in carried(bus, immutable, tmp_path):
        assert after == before


def test_what_is_mounted_in_a_container_is_neither_copied_nor_destroyed(bus, victim, tmp_path):
    web = bus.create("web", template="busybox")
    inner = f"{web.folder}/rootfs/tmp"
    run("mount", "--bind", victim, inner)
    try:
        copy = clone(web, "copy")
        assert os.listdir(f"{copy.folder}/rootfs/tmp") == []
        copy.destroy()
        with refused("Busy", "Failed", "WrongState") as why:
            web.destroy()
        assert inner in why[0].message and list(bus.list()) == ["web"]
        assert os.path.exists(f"{web.folder}/rootfs/bin/busybox")
    finally:
        run("umount", inner)
    web.destroy()


def test_a_container_of_very_many_files(bus, tmp_path):
    web = bus.create("web", template="busybox")
    for folder in range(MANY // 1000):
        place = f"{web.folder}/rootfs/many/{folder}"
        os.makedirs(place)
        for number in range(1000):
            os.close(os.open(f"{place}/{number}", os.O_WRONLY | os.O_CREAT))
    copy = clone(web, "copy")
    assert sum(len(files) for _at, _folders, files in os.walk(f"{copy.folder}/rootfs/many")) == MANY
    export_to(web, tmp_path / "a")
    web.destroy()
    copy.destroy()
    with open(tmp_path / "a", "rb") as archive:
        Job(bus, bus.manager("ImportContainer", "(hsa{sv})", 0, "web", {}, fds=[archive.fileno()])).result(110)
    assert sum(len(files) for _at, _folders, files in os.walk(f"{LXC_PATH}/web/rootfs/many")) == MANY

