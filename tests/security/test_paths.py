"""Root file systems that want out while a container is started: refused or contained,
and the host untouched. Numbers in names are items of the security checklist.
"""

import ctypes
import os
import pathlib
import shutil
import threading

import pytest

import containers
from archives import Archive, create_local, file_of
from containers import refused
from gantry import LXC_PATH, Refused, run

ROOT = f"{LXC_PATH}/box/rootfs"


@pytest.fixture(params=[False, True], ids=["mapped", "privileged"])
def box(bus, request):
    with file_of(Archive().bytes()) as fd:
        box = create_local(bus, "box", fd, privileged=request.param)
    containers.append_config("box", "lxc.mount.auto = proc:mixed sys:mixed", "lxc.tty.max = 2")
    return box


def replace(name, by):
    """A symlink in place of something below the root, made as a container could."""
    path = f"{ROOT}/{name}"
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.symlink(by, path)


@pytest.fixture
def shared():
    """A folder of the host that configurations here share with containers."""
    folder = pathlib.Path("/run/a source")
    folder.mkdir()
    (folder / "file").write_text("shared")
    yield folder
    shutil.rmtree(folder)


def start(box):
    """Whether it started; a start that was refused leaves nothing."""
    before = containers.traces()
    try:
        box.start()
    except Refused as error:
        assert error.name in ("StartFailed", "InvalidConfig"), error
        assert box.state == "STOPPED"
        containers.assert_no_traces(before)
        return False
    return True


def look(box, command):
    return box.execute("sh", "-c", command)[1]


@pytest.mark.parametrize("climb", ["", "../../../../../../../../.."], ids=["absolute", "relative"])
@pytest.mark.parametrize("name", ["dev", "etc", "run", "tmp", "sys"])
def test_01_a_folder_of_the_root_as_a_symlink(box, victim, climb, name):
    replace(name, climb + victim)
    if start(box):
        assert look(box, "cat /run/victim/file") == ""
        box.kill()


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_07_proc_and_sys_must_be_real_folders(box, victim, name):
    replace(name, victim)
    if name == "proc":
        with refused("StartFailed") as caught:
            box.start()
        assert "proc" in caught[0].message
    else:
        start(box)


def test_07_missing_proc_and_sys_are_made(box):
    for name in ("proc", "sys"):
        os.rmdir(f"{ROOT}/{name}")
    box.start()
    assert look(box, "ls /proc/1/status /sys/class").startswith("/proc/1/status")


@pytest.mark.parametrize("name", ["console", "null", "tty1", "ptmx", "pts", "shm", "mqueue"])
def test_04_entries_of_dev_as_symlinks(box, victim, name):
    """Without autodev the entries of /dev are the root file system's own."""
    containers.append_config("box", "lxc.autodev = 0")
    os.makedirs(f"{ROOT}/dev", exist_ok=True)
    replace(f"dev/{name}", f"{victim}/file" if name not in ("pts", "shm", "mqueue") else victim)
    if start(box):
        with open(f"{victim}/file") as file:
            assert file.read() == "of the host"


def test_04_null_and_console_are_what_they_seem(box):
    """A regular file or a foreign device in their place is not taken for them."""
    with open(f"{ROOT}/dev/null", "w") as file:
        file.write("collected")
    with open(f"{ROOT}/dev/console", "w"):
        pass
    if start(box):
        assert look(box, "stat -c '%F %t:%T' /dev/null") == "character special file 1:3\n"
        assert look(box, "stat -c '%F %t' /dev/console").startswith("character special file 88")


@pytest.mark.parametrize("entry", [
    "tmpfs way tmpfs create=dir",
    "tmpfs way/sub tmpfs create=dir",
    "tmpfs way/sub/deep tmpfs create=dir",
    "{source} way/file none bind",
    "{source} way/new none bind,create=file",
    "{source} dir/../way/new none bind,create=file",
    "{source} ../../../../../../../..{victim}/new none bind,create=file",
    "{source} {victim}/new none bind,create=file",
    "{source} {root}/way/new none bind,create=file",
])
def test_01_mount_entries_through_symlinks(box, victim, shared, entry):
    source = shared / "file"
    replace("way", victim)
    containers.append_config("box", "lxc.mount.entry = " + entry.format(
        source=str(source).replace(" ", r"\040"), victim=victim, root=ROOT) + " 0 0")
    start(box)


@pytest.mark.parametrize("link", ["/run/victim", "../../../../../../../../run/victim"])
def test_01_relative_sources_stay_below_the_root(box, victim, link):
    replace("way", link)
    containers.append_config("box", "lxc.mount.entry = way/file copy none bind,relative,create=file 0 0")
    if start(box):
        assert "of the host" not in look(box, "cat /copy")


AT_FDCWD, RENAME_EXCHANGE = -100, 2


@pytest.fixture
def swapping(victim):
    """`way` of the root is a folder and a symlink in turn, thousands of times a second."""
    replace("link", victim)
    os.makedirs(f"{ROOT}/way")
    libc, ended = ctypes.CDLL(None), threading.Event()
    one, other = f"{ROOT}/way".encode(), f"{ROOT}/link".encode()

    def swap():
        while not ended.is_set():
            assert libc.renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE) == 0
    thread = threading.Thread(target=swap)
    thread.start()
    yield
    ended.set()
    thread.join()


def test_02_03_a_folder_that_becomes_a_symlink_after_it_was_checked(box, swapping):
    """Whoever swaps a folder for a symlink while a start looks at it wins nothing."""
    containers.append_config("box", "lxc.mount.entry = tmpfs way/new/deep tmpfs create=dir 0 0",
                             "lxc.mount.entry = /etc/hostname way/file none bind,create=file 0 0")
    for _ in range(15):
        if start(box):
            box.kill()


def test_01_mount_entries_to_good_places_work(box, shared):
    containers.append_config("box", r"lxc.mount.entry = /run/a\040source srv/deep/er none ro,bind,create=dir 0 0",
                             f"lxc.mount.entry = tmpfs {ROOT}/abs tmpfs size=64k,create=dir 0 0")
    box.start()
    assert look(box, "cat /srv/deep/er/file; echo more > /srv/deep/er/file; ls /srv/deep/er") == "sharedfile\n"
    assert (shared / "file").read_text() == "shared"
    assert "/abs tmpfs" in look(box, "cat /proc/mounts")


def test_01_a_tty_folder_that_is_a_symlink(box, victim):
    containers.append_config("box", "lxc.tty.dir = lxc", "lxc.autodev = 0")
    replace("dev/lxc", victim)
    start(box)


def test_01_a_tty_folder_that_climbs(box, victim):
    containers.append_config("box", "lxc.tty.dir = ../../../../../../run/victim")
    start(box)


def test_01_destroying_does_not_follow_symlinks(bus, box, victim):
    replace("way", victim)
    replace("etc", victim)
    box.destroy()
    assert bus.list() == {}


def test_42_destroying_does_not_delete_what_is_mounted_below(bus, box, victim):
    os.mkdir(f"{ROOT}/mnt")
    run("mount", "--bind", victim, f"{ROOT}/mnt")
    try:
        box.destroy()
    except Refused as error:
        assert error.name in ("Busy", "Failed", "WrongState") and "mnt" in error.message
        assert "box" in bus.list()
    finally:
        run("umount", f"{ROOT}/mnt", check=False)


def test_01_renaming_and_reading_do_not_follow_symlinks(box, victim):
    os.makedirs(f"{ROOT}/etc", exist_ok=True)
    replace("etc/hostname", f"{victim}/file")
    replace("etc/hosts", f"{victim}/file")
    box.call("Rename", "(sa{sv})", "crate", {})
