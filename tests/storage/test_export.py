"""Containers that leave as an archive: what tar sees in it, and what a bad target does."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading

import pytest

import containers
from containers import refused
from gantry import Job, LXC_PATH, options, run, until
from stores import BACKENDS, Snapshots, clone, container_on, root_of

def start_export(container, fd, **named):
    return Job(container.bus, container.call("Export", "(ha{sv})", 0, options(**named), fds=[fd]))


def export_to(container, path, **named):
    with open(path, "wb") as file:
        return start_export(container, file.fileno(), **named).result()


def names_in(path):
    return run("tar", "-tf", str(path)).stdout.splitlines()


@pytest.mark.parametrize("backend", ["dir", "overlay", "btrfs", "loop"])
def test_tar_lists_and_unpacks_an_export_of_every_backend(bus, backend, tmp_path):
    with container_on(bus, backend) as web:
        web.start()
        script = "echo text >/file; ln /file /hard; chown 1000:1001 /file; chmod 4751 /file; rm /etc/passwd"
        assert web.execute("sh", "-c", script)[0] == 0
        web.kill()
        archive = tmp_path / "web.tar.zst"
        result = export_to(web, archive, snapshots=True)
        assert result["bytes"] == archive.stat().st_size
        names = names_in(archive)
        assert names[0] == "gantry.json" and names[-2:] == ["config", "gantry.sha256"]
        assert "rootfs/file" in names and "rootfs/bin/busybox" in names and "rootfs/etc/passwd" not in names
        run("tar", "--numeric-owner", "-xf", str(archive), "-C", str(tmp_path))
    info = os.stat(tmp_path / "rootfs/file")
    # As the container sees them, whatever ids of the host it has.
    assert (info.st_uid, info.st_gid, info.st_mode & 0o7777, info.st_nlink) == (1000, 1001, 0o4751, 2)
    assert (tmp_path / "rootfs/hard").samefile(tmp_path / "rootfs/file")
    assert os.stat(tmp_path / "config").st_uid == os.stat(tmp_path / "rootfs/etc").st_uid == 0
    manifest = json.loads((tmp_path / "gantry.json").read_text())
    assert (manifest["gantry"], manifest["name"], manifest["backend"]) == (1, "web", backend)
    assert f"dir:{LXC_PATH}/web/rootfs" in (tmp_path / "config").read_text()


def test_what_a_file_has_is_in_the_archive(bus, tmp_path):
    web = bus.create("web", template="busybox")
    root, first = f"{web.folder}/rootfs", os.stat(f"{web.folder}/rootfs").st_uid
    run("sh", "-ec", f"""cd {root}
        echo text >file; ln -s /nowhere link; mkfifo fifo; cp /bin/true capable
        truncate -s 100M hole; touch -d '2001-02-03 04:05:06.789' old; echo x >'new\nline'
        chown -h {first}:{first} file link fifo capable hole old new*; mknod null c 1 3; chown {first} null
        setfattr -n user.note -v kept file; setfacl -m u:{first + 99}:r file; setcap -n {first} cap_net_raw+ep capable""")
    export_to(web, tmp_path / "a", compression="none")
    run("tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls", "-xf", "a", cwd=tmp_path)
    new = tmp_path / "rootfs"
    assert os.getxattr(new / "file", "user.note") == b"kept"
    assert "user:99:r--" in run("getfacl", "-n", str(new / "file")).stdout
    assert run("getcap", "-n", str(new / "capable")).stdout.strip().endswith("cap_net_raw=ep")
    assert os.stat(new / "hole").st_blocks < 100 and os.stat(new / "hole").st_size == 100 << 20
    assert os.stat(new / "old").st_mtime_ns == 981173106_789000000
    assert os.stat(new / "null").st_rdev == os.makedev(1, 3)
    assert (new / "link").readlink() == new.__class__("/nowhere") and (new / "new\nline").read_text() == "x\n"
    assert (tmp_path / "a").stat().st_size < 20 << 20


def test_the_checksum_is_of_all_before_it(bus, tmp_path):
    web = bus.create("web", template="busybox")
    export_to(web, tmp_path / "a", compression="none")
    data = (tmp_path / "a").read_bytes()
    lines = dict(line.split() for line in run("tar", "-xOf", "a", "gantry.sha256", cwd=tmp_path).stdout.splitlines())
    length = int(lines["bytes"])
    assert len(data) - length == 2048
    assert hashlib.sha256(data[:length]).hexdigest() == lines["sha256"]


@pytest.mark.parametrize("compression, magic", [("zstd", b"\x28\xb5\x2f\xfd"), ("gzip", b"\x1f\x8b"), ("xz", b"\xfd7zXZ"),
                                                ("none", b"gantry.json")])
def test_archives_are_packed_as_asked(bus, tmp_path, compression, magic):
    web = bus.create("web", template="busybox")
    export_to(web, tmp_path / "a", compression=compression)
    assert (tmp_path / "a").read_bytes().startswith(magic)
    assert "rootfs/bin/busybox" in names_in(tmp_path / "a")
    if compression == "none":
        with refused("InvalidArgument"):
            export_to(web, tmp_path / "a", compression="rar")
        with refused("InvalidArgument"):
            export_to(web, tmp_path / "a", format="zip")


def test_snapshots_and_what_lies_beside_the_config_come_along(bus, tmp_path):
    web = bus.create("web", template="busybox")
    os.mkdir(f"{web.folder}/hooks")
    with open(f"{web.folder}/hooks/start", "w") as file:
        file.write("#!/bin/sh\n")
    os.chmod(f"{web.folder}/hooks/start", 0o700)
    containers.append_config("web", f"lxc.hook.pre-start = {web.folder}/hooks/start")
    taken = Snapshots(web).take(comment="a word")
    export_to(web, tmp_path / "without")
    assert not [name for name in names_in(tmp_path / "without") if name.startswith("snaps")]
    export_to(web, tmp_path / "a", snapshots=True)
    names = names_in(tmp_path / "a")
    assert {"hooks/start", f"snaps/{taken}/config", f"snaps/{taken}/ts", f"snaps/{taken}/rootfs/bin/busybox"} <= {*names}
    assert run("tar", "-xOf", "a", f"snaps/{taken}/comment", cwd=tmp_path).stdout == "a word"
    assert "-rwx------ 0/0" in run("tar", "--numeric-owner", "-tvf", "a", "hooks/start", cwd=tmp_path).stdout


def test_the_plain_form_is_a_container_for_a_host_without_gantry(bus, tmp_path):
    """Unpacked as LXC's users do it, it starts under stock LXC; the origin was an overlay."""
    base = bus.create("base", template="busybox")
    web = clone(base, "web", snapshot=True)
    export_to(web, tmp_path / "web.tgz", format="tar", compression="gzip")
    web.destroy()
    base.destroy()
    assert names_in(tmp_path / "web.tgz")[-1] == "config"
    os.mkdir(f"{LXC_PATH}/web", 0o711)
    run("tar", "--numeric-owner", "-xzf", str(tmp_path / "web.tgz"), "-C", f"{LXC_PATH}/web")
    run("lxc-start", "-n", "web")
    assert run("lxc-attach", "-n", "web", "--", "hostname").stdout == "web\n"
    run("lxc-stop", "-k", "-n", "web")


def test_a_container_that_runs_is_held_and_goes_on(bus, tmp_path):
    web = bus.create("web", template="busybox", start=True)
    out, into = os.pipe()
    with bus.signals("Job", "Log") as logged:
        job = start_export(web, into)
        os.close(into)
        # The pipe is full: it cannot go on before it is read.
        assert web.wait("FROZEN") == "FROZEN"
        with os.fdopen(out, "rb") as reader, open(tmp_path / "a", "wb") as file:
            file.write(reader.read())
        job.result()
        assert web.wait("RUNNING") == "RUNNING"
        assert until(lambda: any("held" in values[0] for _path, _member, values in logged), pump=True)
    assert "rootfs/bin/busybox" in names_in(tmp_path / "a")
    assert job.get("Bytes") > 1 << 20 and job.get("Total") > 1 << 20 and job.get("Progress") == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_that_runs_leaves_with_what_was_written_last(bus, backend, tmp_path):
    """What no disk has yet is in the archive, the container goes on, and nothing else is left of the export."""
    with container_on(bus, backend) as web:
        web.start()
        assert web.execute("sh", "-c", "mkdir /fresh; echo words >/fresh/file")[0] == 0
        before = left_of_exports()
        export_to(web, tmp_path / "a", compression="none")
        assert web.state == "RUNNING"
        assert web.execute("sh", "-c", "echo more >>/fresh/file && sync && cat /fresh/file")[1] == "words\nmore\n"
        until(lambda: left_of_exports() == before)
    names = names_in(tmp_path / "a")
    assert "rootfs/bin/busybox" in names and "rootfs/lost+found/" not in names
    assert run("tar", "-xOf", "a", "rootfs/fresh/file", cwd=tmp_path).stdout == "words\n"


def test_one_on_btrfs_goes_on_while_it_is_packed(bus, tmp_path):
    """Unless subvolumes lie in it, which a snapshot is without: then it is held, and they are in the archive."""
    with container_on(bus, "btrfs") as web:
        web.start()
        for nested, state in ((False, "RUNNING"), (True, "FROZEN")):
            if nested:
                run("btrfs", "subvolume", "create", f"{web.folder}/rootfs/srv/sub")
                run("touch", f"{web.folder}/rootfs/srv/sub/file")
            out, into = os.pipe()
            job = start_export(web, into)
            os.close(into)
            # The pipe is full: it cannot go on before it is read.
            until(lambda: job.get("Stage") == "packing" and job.get("Bytes") > 0)
            assert web.wait(state) == state
            with os.fdopen(out, "rb") as reader, open(tmp_path / "a", "wb") as file:
                file.write(reader.read())
            job.result()
            assert web.wait("RUNNING") == "RUNNING"
            names = names_in(tmp_path / "a")
            assert "rootfs/bin/busybox" in names and ("rootfs/srv/sub/file" in names) == nested
        web.kill()


def left_of_exports():
    """What an export may make for itself: directories, volumes and datasets, devices."""
    tools = [["losetup", "-a"], ["lvs", "--noheadings", "-o", "lv_name"], ["zfs", "list", "-Ht", "all", "-o", "name"]]
    said = [run(*tool, check=False).stdout for tool in tools if shutil.which(tool[0])]
    return sorted(os.listdir(LXC_PATH)), said


def test_a_container_whose_root_is_elsewhere_has_nothing_of_the_host_held(bus, tmp_path):
    """Its init has made a directory of the host's its root, that was lent to it."""
    with container_on(bus, "loop") as web, tempfile.TemporaryDirectory(dir="/srv") as lent:
        os.chmod(lent, 0o755)
        containers.append_config("web", f"lxc.mount.entry = {lent} lent none bind,create=dir 0 0",
                                 "lxc.init.cmd = /bin/sh /away")
        with root_of(web) as root:
            run("cp", "-a", f"{root}/bin", lent)
            with open(f"{root}/away", "w") as script:
                script.write("exec chroot /lent /bin/sh -c 'while :; do sleep 1; done'\n")
        web.start()
        until(lambda: os.path.realpath(f"/proc/{web.get('InitPid')}/root").endswith("lent"))
        with refused("WrongState"):
            export_to(web, tmp_path / "a")
        with open(f"{lent}/written", "w") as file:
            file.write("as ever")
        assert web.wait("RUNNING") == "RUNNING"
        web.kill()


def test_a_helper_that_is_killed_leaves_no_container_frozen(bus):
    web = bus.create("web", template="busybox", start=True)
    out, into = os.pipe()
    start_export(web, into)
    os.close(into)
    assert web.wait("FROZEN") == "FROZEN"
    containers.kill_helper(bus)
    os.close(out)
    bus.list()
    assert web.wait("RUNNING") == "RUNNING"
    until(lambda: not [line for line in containers.processes() if "pack-worker" in line])


def test_it_can_be_cancelled_while_nobody_reads(bus):
    web = bus.create("web", template="busybox")
    for make in (os.pipe, lambda: [end.detach() for end in socket.socketpair()]):
        out, into = make()
        job = start_export(web, into)
        os.close(into)
        until(lambda: job.get("Stage") == "packing")
        job.cancel()
        assert job.wait() == "cancelled"
        os.close(out)
    web.start()


def test_a_socket_takes_it_whole(bus, tmp_path):
    web = bus.create("web", template="busybox")
    out, into = socket.socketpair()
    data = []
    reader = threading.Thread(target=lambda: data.append(out.makefile("rb").read()))
    reader.start()
    job = start_export(web, into.fileno(), compression="none")
    into.close()
    result = job.result()
    reader.join()
    out.close()
    assert len(data[0]) == result["bytes"] and data[0][:11] == b"gantry.json"


def test_a_reader_that_leaves_and_a_full_disk_are_named(bus):
    web = bus.create("web", template="busybox")
    out, into = os.pipe()
    job = start_export(web, into)
    os.close(into)
    os.read(out, 1000)
    os.close(out)
    with refused("Failed") as caught:
        job.result()
    assert "closed it before its end" in caught[0].message
    with tempfile.TemporaryDirectory() as folder:
        run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder)
        try:
            with refused("NoSpace") as caught:
                export_to(web, f"{folder}/a", compression="none")
            assert "free some space" in caught[0].message
        finally:
            run("umount", folder)


def test_a_file_is_as_it_was_after_an_export_that_was_cancelled(bus, tmp_path):
    web = bus.create("web", template="busybox")
    with open(f"{web.folder}/rootfs/filling", "wb") as filling:
        for _ in range(64):
            filling.write(os.urandom(1 << 20))
    target = os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT)
    os.write(target, b"before")
    job = start_export(web, target, compression="gzip")
    until(lambda: os.fstat(target).st_size > 6, 60)
    job.cancel()
    assert job.wait() == "cancelled"
    assert os.pread(target, 100, 0) == b"before"
    os.close(target)


def test_28_a_target_of_the_wrong_kind_is_refused(bus):
    web = bus.create("web", template="busybox")
    for fd in (os.open("/etc", os.O_RDONLY | os.O_DIRECTORY), os.open("/etc/passwd", os.O_RDONLY), os.pipe()[0],
               os.open("/dev/null", os.O_WRONLY), os.eventfd(0), os.open("/etc/passwd", os.O_PATH)):
        with refused("InvalidArgument"):
            start_export(web, fd).result()
        os.close(fd)


def test_23_links_in_a_container_are_not_followed(bus, victim, tmp_path):
    web = bus.create("web", template="busybox")
    for name in ("etc/passwd", "srv"):
        run("rm", "-rf", f"{web.folder}/rootfs/{name}")
        os.symlink("/run/victim", f"{web.folder}/rootfs/{name}")
    run("mount", "--bind", victim, f"{web.folder}/rootfs/tmp")
    try:
        export_to(web, tmp_path / "a")
    finally:
        run("umount", f"{web.folder}/rootfs/tmp")
    listed = run("tar", "-tvf", "a", cwd=tmp_path).stdout
    assert "rootfs/srv -> /run/victim" in listed and "rootfs/tmp/file" not in listed
    assert b"of the host" not in subprocess.run(["tar", "-xOf", "a"], cwd=tmp_path, stdout=subprocess.PIPE).stdout
