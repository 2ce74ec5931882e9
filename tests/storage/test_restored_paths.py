"""Single files and directories that come back from a snapshot, on every backend."""

import os
import pathlib
import shutil
import tempfile

import pytest

import containers
from containers import refused
from gantry import LXC_PATH, run, until
from stores import BACKENDS, Snapshots, clone, container_on
from test_diff import diff, inside

BEFORE = """
mkdir -p /d/tree/deep /d/gone /d/other
echo one >/d/file; chown 12:34 /d/file; chmod 4751 /d/file; touch -d '2001-02-03 04:05:06' /d/file
echo hard >/d/tree/a; ln /d/tree/a /d/tree/deep/b; ln -s /nowhere /d/tree/link; mkfifo /d/tree/fifo
chmod 2750 /d/tree/deep; echo g >/d/gone/g; echo o >/d/other/o; echo kind >/d/kind
"""
AFTER = """
rm /d/file; echo two >/d/file; rm -r /d/gone; rm /d/tree/a; echo new >/d/tree/new; chmod 700 /d/tree/deep
ln -sfn /d/other /d/tree/link; rm /d/kind; mkdir -p /d/kind/of; echo changed >/d/other/o
echo extra >/etc/extra; rm /etc/passwd
"""
SELECTED = ["/d/file", "/d/tree", "/d/tree/deep", "/d/gone/g", "/d/kind", "/etc"]


@pytest.fixture(params=BACKENDS)
def web(bus, request):
    with container_on(bus, request.param) as container:
        container.backend = request.param
        yield container


def restore(container, snapshot, *paths):
    return Snapshots(container).job("RestorePaths", "(sasa{sv})", snapshot, list(paths), {})


def test_what_was_chosen_is_as_it_was_and_nothing_else(web):
    web.start()
    inside(web, BEFORE)
    Snapshots(web).take("old")
    for running in (True, False):
        if not running:
            web.start()
        inside(web, AFTER)
        if not running:
            web.kill()
        restore(web, "old", *SELECTED)
        assert diff(web, "old", "", content=True)[0] == {"/d/other/o": "changed"}
        if not running:
            web.start()
        inside(web, 'test "$(stat -c %i /d/tree/a)" = "$(stat -c %i /d/tree/deep/b)"')
        inside(web, 'test "$(stat -c "%a %u %g %Y" /d/file)" = "4751 12 34 981173106"')
        inside(web, "test -f /d/kind && ! test -e /d/tree/new && test -p /d/tree/fifo")
        # In an overlay this is of the layer below, too.
        inside(web, "test -s /etc/passwd && ! test -e /etc/extra")
        inside(web, '! ls -a / | grep gantry')
        web.kill()
    run("lxc-start", "-n", "web")
    run("lxc-stop", "-k", "-n", "web")


def test_everything_that_a_file_has_comes_back(bus):
    web = bus.create("web", template="busybox")
    root = f"{web.folder}/rootfs"
    run("sh", "-ec", f"""mkdir {root}/d; cd {root}/d
        echo text >file; ln file hard; mknod null c 1 3; chown -h 1234:5678 file; chmod 4751 file
        setfattr -n user.note -v kept file; setfacl -m u:99:r file
        cp /bin/true capable; setcap cap_net_raw+ep capable; truncate -s 1G hole
        mkdir -p dir; setfacl -d -m u:99:r dir; ln -s /etc link; chown -h 7:8 link; echo x >'new
line'; chattr +d file 2>/dev/null || :""")
    Snapshots(web).take("old")
    run("rm", "-r", f"{root}/d")
    restore(web, "old", "/d")
    assert diff(web, "old", "", content=True) == ({}, False)
    assert os.stat(f"{root}/d/file").st_ino == os.stat(f"{root}/d/hard").st_ino
    assert os.stat(f"{root}/d/hole").st_blocks < 100
    assert run("getcap", f"{root}/d/capable").stdout.strip().endswith("cap_net_raw=ep")


def test_nothing_is_reached_by_links(bus, victim):
    """A container chooses where its links lead: restoring never leaves its root."""
    web = bus.create("web", template="busybox")
    root = f"{web.folder}/rootfs"
    run("sh", "-ec", f"mkdir -p {root}/d/sub {root}/e; echo x >{root}/d/sub/file; echo x >{root}/e/file; "
        f"ln -s {victim} {root}/d/out")
    Snapshots(web).take("old")
    run("sh", "-ec", f"rm -r {root}/d/sub {root}/e; ln -s {victim} {root}/d/sub; ln -s {victim} {root}/e")
    with refused("NotFound"):
        restore(web, "old", "/d/out/file")
    with refused("Failed", "NotFound") as caught:
        restore(web, "old", "/d/sub/file")
    assert "/d/sub" in caught[0].message
    assert os.readlink(f"{root}/d/sub") == victim
    restore(web, "old", "/d/sub", "/e")
    assert os.path.isdir(f"{root}/d/sub") and os.listdir(f"{root}/e") == ["file"]
    # The whole top is a link; what is below is replaced and removed, not followed.
    run("sh", "-ec", f"ln -s {victim} {root}/d/sub/link; mkdir {root}/d/sub/x; ln -s {victim} {root}/d/sub/x/link")
    restore(web, "old", "/d/sub")
    assert os.listdir(f"{root}/d/sub") == ["file"]


@pytest.fixture
def lent():
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        os.chmod(folder, 0o755)
        yield pathlib.Path(folder)


def test_what_was_lent_to_a_container_is_not_its_root(web, lent):
    """A container may make a directory of the host its root: nothing is looked at or put there."""
    (lent / "etc").mkdir()
    (lent / "etc/passwd").write_text("the host's")
    shutil.copy(shutil.which("busybox"), lent / "busybox")
    Snapshots(web).take("old")
    containers.append_config("web", f"lxc.mount.entry = {lent} lent none bind,create=dir 0 0",
                             "lxc.init.cmd = /bin/busybox chroot /lent /busybox sleep 1000")
    web.start()
    until(lambda: os.path.exists(f"/proc/{web.get('InitPid')}/root/busybox"))
    room = lambda: web.bus.call(web.path, "Resources", "GetRoom", "(a{sv})", {})
    if web.backend in ("dir", "btrfs"):
        # They lie on the host as they are.
        restore(web, "old", "/etc/passwd")
        assert room()["size"] > 0
    else:
        for look in room, lambda: restore(web, "old", "/etc/passwd"):
            with refused("WrongState") as caught:
                look()
            assert "stop it first" in caught[0].message
    assert os.listdir(lent / "etc") == ["passwd"] and (lent / "etc/passwd").read_text() == "the host's"
    web.kill()


def test_what_cannot_be_restored_changes_nothing(bus):
    web = bus.create("web", template="busybox")
    root = f"{web.folder}/rootfs"
    Snapshots(web).take("old")
    with open(f"{root}/etc/new", "w") as file:
        file.write("new")
    before = containers.tree(root)
    for paths, error in ((["/etc/hostname", "/etc/new"], "NotFound"), (["/etc/../x"], "InvalidArgument"),
                         (["etc"], "InvalidArgument"), (["/"], "InvalidArgument"), ([], "InvalidArgument"),
                         (["/x" * 3000], "NotFound")):
        with refused(error, "Failed"):
            restore(web, "old", *paths)
    with refused("NotFound"):
        restore(web, "none", "/etc")
    os.mkdir(f"{root}/.gantry-restore-abcdef")
    restore(web, "old", "/etc/hostname")
    assert containers.tree(root) == before, "what a call left that was cut is gone, too"
    clone(web, "twin", snapshot=True)
    with refused("HasDependents"):
        restore(web, "old", "/etc/hostname")


def test_a_file_that_cannot_be_changed_keeps_its_place(bus):
    web = bus.create("web", template="busybox")
    root = f"{web.folder}/rootfs"
    Snapshots(web).take("old")
    run("sh", "-ec", f"echo mine >{root}/etc/hostname; chattr +i {root}/etc/hostname")
    try:
        with refused("Failed") as caught:
            restore(web, "old", "/etc/hostname")
        assert "/etc/hostname" in caught[0].message
        with open(f"{root}/etc/hostname") as file:
            assert file.read() == "mine\n"
        assert not [name for name in os.listdir(root) if name.startswith(".gantry")]
    finally:
        run("chattr", "-i", f"{root}/etc/hostname")
    assert sorted(os.listdir(LXC_PATH)) == ["web"]
