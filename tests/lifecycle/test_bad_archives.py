"""Archives that are broken or want out: refused or contained, with a named error, and
nothing made outside the container or left behind.
"""

import os
import random

import pytest

import containers
from archives import Archive, create_local, file_of, stream
from gantry import LXC_PATH, Refused, run

NAMED = {"InvalidArgument", "VerificationFailed", "Failed"}


def try_to_create(bus, data, source=file_of, **named):
    """The error, with nothing made; or None, with the container made."""
    names, host = sorted(os.listdir(LXC_PATH)), os.listdir("/")
    try:
        with source(data) as fd:
            create_local(bus, "box", fd, **named)
    except Refused as error:
        assert error.name in NAMED, error
        assert error.message.strip()
        assert sorted(os.listdir(LXC_PATH)) == names
        assert "box" not in bus.list()
        return error
    finally:
        assert os.listdir("/") == host
    assert sorted(os.listdir(LXC_PATH)) == sorted(names + ["box"])
    return None


@pytest.mark.parametrize("source", [file_of, stream], ids=["file", "pipe"])
@pytest.mark.parametrize("what", ["noise", "text", "empty", "half", "half gz", "half xz", "broken gz", "header"])
def test_what_is_no_whole_archive_is_refused(bus, what, source):
    noise = random.Random(1).randbytes(100_000)
    plain, gz, xz = (Archive(kind) for kind in ("", "gz", "xz"))
    data = {
        "noise": lambda: noise,
        "text": lambda: b"this is no archive\n" * 1000,
        "empty": lambda: b"",
        "half": lambda: plain.bytes()[:700_000],
        "half gz": lambda: gz.bytes()[:300_000],
        "half xz": lambda: xz.bytes()[:300_000],
        "broken gz": lambda: (whole := gz.bytes())[:200_000] + noise[:100] + whole[200_100:],
        "header": lambda: b"\x1f\x8b\x08\x00",
    }[what]()
    assert try_to_create(bus, data, source)


@pytest.mark.parametrize("privileged", [False, True], ids=["mapped", "privileged"])
class TestWayOut:
    def test_parent_folders_in_names(self, bus, victim, privileged):
        for name in (f"../../../../..{victim}/evil", "../evil", "bin/../../evil", f"{victim}/evil"):
            archive = Archive()
            archive.file(name, b"evil")
            try_to_create(bus, archive.bytes(), privileged=privileged)
            assert not os.path.lexists(f"{LXC_PATH}/evil") and not os.path.lexists(f"{LXC_PATH}/box/evil")
            containers.destroy("box")

    @pytest.mark.parametrize("climb", ["", "../../../../../../../.."], ids=["absolute", "relative"])
    def test_symlinks_used_as_folders(self, bus, victim, climb, privileged):
        archive = Archive()
        archive.link("way", climb + victim)
        archive.file("way/evil", b"evil")
        archive.file("way/file", b"overwritten")
        try_to_create(bus, archive.bytes(), privileged=privileged)

    def test_a_folder_replaced_by_a_symlink(self, bus, victim, privileged):
        archive = Archive()
        archive.folder("way")
        archive.file("way/first", b"")
        archive.link("way", victim)
        archive.folder("way", mode=0o700, uid=12)
        archive.file("way/evil", b"evil")
        try_to_create(bus, archive.bytes(), privileged=privileged)

    def test_the_root_itself_as_a_symlink(self, bus, victim, privileged):
        archive = Archive(base=False)
        archive.link("", victim)
        archive.file("evil", b"evil")
        try_to_create(bus, archive.bytes(), privileged=privileged)

    def test_a_file_through_a_symlink_to_a_file(self, bus, victim, privileged):
        archive = Archive()
        archive.link("way", f"{victim}/file")
        archive.file("way", b"overwritten")
        try_to_create(bus, archive.bytes(), privileged=privileged)

    def test_hard_links_to_the_host(self, bus, victim, privileged):
        inode = os.stat(f"{victim}/file").st_ino
        for to in (f"{victim}/file", f"../../../../../../..{victim}/file", "way/file"):
            archive = Archive()
            archive.link("way", victim)
            archive.hard_link("mine", to)
            archive.file("mine", b"overwritten")
            if not try_to_create(bus, archive.bytes(), privileged=privileged):
                path = f"{LXC_PATH}/box/rootfs/mine"
                assert not os.path.lexists(path) or os.lstat(path).st_ino != inode
            assert os.stat(f"{victim}/file").st_nlink == 1
            containers.destroy("box")

    def test_device_nodes_outside_dev(self, bus, privileged):
        for block in (False, True):
            archive = Archive()
            archive.device("disk", *((8, 0) if block else (1, 1)), block=block, mode=0o666)
            error = try_to_create(bus, archive.bytes(), privileged=privileged)
            assert error and "disk" in error.message, error

    def test_device_nodes_that_hide(self, bus, privileged):
        for name in ("dev/../disk", "dev/sub/../../disk", "./dev/./sub/disk"):
            archive = Archive()
            archive.folder("dev/sub")
            archive.device(name, 8, 0, block=True, mode=0o666)
            if not try_to_create(bus, archive.bytes(), privileged=privileged):
                found = run("find", f"{LXC_PATH}/box/rootfs", "-type", "b", "-o", "-type", "c").stdout
                assert not found
                containers.destroy("box")


def test_ids_that_have_no_place_in_the_map_are_refused(bus):
    archive = Archive()
    archive.file("of-nobody", b"", uid=70000)
    error = try_to_create(bus, archive.bytes())
    assert error
