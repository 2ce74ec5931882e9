"""Importing a plain tar of an LXC container directory."""

import os
import tarfile

import pytest

import containers
from archives import Archive, file_of, stream
from containers import refused
from gantry import Job, LXC_PATH, options, run, until


def import_from(bus, fd, name, wait=60, **more):
    Job(bus, bus.manager("ImportContainer", "(hsa{sv})", 0, name, options(**more), fds=[fd])).result(wait)
    return bus.container(name)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Archives of a container made by lxc-create, packed as its users pack them."""
    folder = tmp_path_factory.mktemp("packed")
    containers.SHARED.add("old")
    containers.create_stock("old", "# a comment that stays", "lxc.start.order = 4")
    os.mkdir(f"{LXC_PATH}/old/rootfs/srv")
    with open(f"{LXC_PATH}/old/rootfs/srv/file", "w") as file:
        file.write("kept")
    os.chown(f"{LXC_PATH}/old/rootfs/srv/file", 1000, 1001)
    inside, above = ["-C", f"{LXC_PATH}/old"], ["-C", LXC_PATH]
    ways = {
        "dot": ["-c", *inside, "."],
        "members": ["-c", *inside, "config", "rootfs"],
        "folder": ["-c", *above, "old"],
        "gz": ["-cz", *inside, "."],
        "xz": ["-c", "-I", "xz -0", *inside, "."],
        "zst": ["-c", "-I", "zstd -1", *inside, "."],
    }
    for way, argv in ways.items():
        run("tar", "--numeric-owner", "-f", str(folder / way), *argv)
    containers.SHARED.discard("old")
    containers.destroy("old")
    return folder


@pytest.mark.parametrize("way", ["dot", "members", "folder", "gz", "xz", "zst"])
def test_a_container_of_stock_lxc_comes_in_and_runs(bus, packed, way):
    with file_of((packed / way).read_bytes()) as fd:
        box = import_from(bus, fd, "new")
    assert bus.list() == {"new": "STOPPED"}
    text = containers.config_of("new").decode()
    assert f"{LXC_PATH}/old" not in text and f"{LXC_PATH}/new/rootfs" in text
    assert "# a comment that stays" in text and box.get("AutostartOrder") == 4
    box.start()
    assert box.execute("hostname")[1] == "new\n"
    assert box.execute("cat", "/srv/file")[1] == "kept"
    assert box.execute("stat", "-c", "%u %g", "/srv/file")[1] == "1000 1001\n"


def test_under_its_own_name_and_from_a_pipe_it_is_the_same(bus, packed):
    with stream((packed / "gz").read_bytes()) as fd:
        box = import_from(bus, fd, "old")
    assert box.call("GetConfigItem", "(s)", "lxc.uts.name") == ["old"]
    run("lxc-start", "-n", "old")
    assert box.state == "RUNNING"


def test_an_existing_name_is_refused_and_unchanged(bus, packed):
    bus.create("new", template="busybox")
    before = containers.tree(f"{LXC_PATH}/new")
    with file_of((packed / "dot").read_bytes()) as fd, refused("Exists"):
        import_from(bus, fd, "new")
    assert containers.tree(f"{LXC_PATH}/new") == before


def archive(*skip, config=b"lxc.rootfs.path = dir:/var/lib/lxc/old/rootfs\nlxc.net.0.type = empty\n", extra=None):
    made = Archive(base=False)
    if extra and extra[0] == "first":
        extra[1](made)
    if "config" not in skip:
        made.file("config", config)
    if "rootfs" not in skip:
        made.folder("rootfs")
        made.file("rootfs/file", b"text")
    if extra and extra[0] == "last":
        extra[1](made)
    return made.bytes()


BAD = {
    "no config": lambda: archive("config"),
    "no root": lambda: archive("rootfs"),
    "noise": lambda: os.urandom(50000),
    "empty": lambda: b"",
    "truncated": lambda: archive(extra=("first", lambda a: a.file("rootfs.bin", bytes(50000))))[:30000],
    "config is no LXC": lambda: archive(config=b"lxc.nonsense = 1\n"),
    "config is a symlink": lambda: archive("config", extra=("last", lambda a: a.link("config", "/etc/shadow"))),
    "config is a folder": lambda: archive("config", extra=("last", lambda a: a.folder("config"))),
    "config is a device": lambda: archive("config", extra=("last", lambda a: a.device("config", 1, 5))),
    "config is a pipe": lambda: archive("config", extra=("last", lambda a: a.member("config", tarfile.FIFOTYPE))),
    "root is a symlink": lambda: archive("rootfs", extra=("last", lambda a: a.link("rootfs", "/run/victim"))),
    "root is a file": lambda: archive("rootfs", extra=("last", lambda a: a.file("rootfs", b""))),
    "root becomes a symlink": lambda: archive(extra=("last", lambda a: (
        a.link("rootfs", "/run/victim"), a.file("rootfs/evil", b"evil")))),
}


@pytest.mark.parametrize("what", BAD)
def test_23_an_archive_that_is_no_container_is_refused(bus, victim, what):
    names = os.listdir(LXC_PATH)
    with file_of(BAD[what]()) as fd, refused("InvalidArgument", "InvalidConfig", "VerificationFailed", "Failed"):
        import_from(bus, fd, "new")
    assert os.listdir(LXC_PATH) == names
    assert bus.list() == {}


def test_23_what_stands_beside_is_not_trusted(bus, victim):
    """Names that Gantry or LXC give a meaning to, as links to the host or with hooks in them."""
    def beside(made):
        for name in ("snaps", "lxc_snapshots", "lxc_rdepends", "partial", "overlay", "console.log"):
            made.link(name, "/run/victim")

    with file_of(archive(extra=("first", beside))) as fd:
        try:
            box = import_from(bus, fd, "new")
        except containers.gantry.Refused:
            assert os.listdir(LXC_PATH) == []
            return
    box.destroy(snapshots=True)
    until(lambda: os.listdir(LXC_PATH) == [])


def test_a_big_config_is_bounded(bus):
    with file_of(archive(config=b"#" * (64 << 20))) as fd:
        with refused("InvalidArgument", "InvalidConfig", "Failed"):
            import_from(bus, fd, "new")
    assert bus.list() == {}
