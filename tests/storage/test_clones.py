"""Clones, full and copy-on-write, on every backend; stock LXC starts what Gantry made."""

import glob
import os
import re

import pytest

import containers
from containers import refused
from gantry import Job, LXC_PATH, options, run, until
from stores import BACKENDS, clone, container_on, everything, first_id, in_place_of_the_lxc_path


@pytest.fixture(params=BACKENDS)
def web(bus, request):
    with container_on(bus, request.param) as container:
        yield container


def mark(container, text):
    """Writes a file in the container."""
    container.start()
    assert container.execute("sh", "-c", f"echo {text} >/mark")[0] == 0
    container.kill()


def mark_of(container):
    container.start()
    text = container.execute("cat", "/mark")[1].strip()
    container.kill()
    return text


def runs_by_turns(container):
    container.start()
    assert container.execute("hostname") == (0, f"{container.name}\n", "")
    container.kill()
    run("lxc-start", "-n", container.name)
    assert run("lxc-attach", "-n", container.name, "--", "hostname").stdout == f"{container.name}\n"
    run("lxc-stop", "-k", "-n", container.name)
    assert container.wait("STOPPED") == "STOPPED"


def unsupported(web, snapshot):
    return snapshot and web.get("Backend") == "loop"


@pytest.mark.parametrize("snapshot", [False, True], ids=["full", "copy-on-write"])
def test_a_clone_has_what_its_origin_had_and_goes_its_own_way(web, snapshot):
    mark(web, "before")
    if unsupported(web, snapshot):
        with refused("Unsupported"):
            clone(web, "twin", snapshot=snapshot)
        assert not os.path.exists(f"{LXC_PATH}/twin")
        return
    twin = clone(web, "twin", snapshot=snapshot)
    expected = "overlay" if snapshot and web.get("Backend") == "dir" else web.get("Backend")
    assert twin.get("Backend") == expected
    assert mark_of(twin) == "before"
    mark(twin, "twin")
    if not web.get("Dependents"):
        mark(web, "web")
        assert mark_of(web) == "web"
    assert mark_of(twin) == "twin"
    runs_by_turns(twin)


def test_what_two_containers_must_not_share_is_new(bus):
    web = bus.create("web", template="busybox")
    containers.append_config("web", "lxc.net.0.hwaddr = 00:16:3e:11:22:33")
    os.makedirs(f"{LXC_PATH}/web/hooks")
    for name in ("hooks/start", "fstab"):
        with open(f"{LXC_PATH}/web/{name}", "w") as file:
            file.write("#!/bin/sh\n" if "hooks" in name else "")
        os.chmod(f"{LXC_PATH}/web/{name}", 0o755)
    containers.append_config("web", f"lxc.hook.pre-start = {LXC_PATH}/web/hooks/start",
                             f"lxc.mount.fstab = {LXC_PATH}/web/fstab", "# a comment of the user's")
    twin = clone(web, "twin")
    text = containers.config_of("twin").decode()
    assert f"lxc.hook.pre-start = {LXC_PATH}/twin/hooks/start" in text
    assert f"lxc.mount.fstab = {LXC_PATH}/twin/fstab" in text
    assert "# a comment of the user's" in text
    assert os.access(f"{LXC_PATH}/twin/hooks/start", os.X_OK) and os.path.exists(f"{LXC_PATH}/twin/fstab")
    (address,) = twin.call("GetConfigItem", "(s)", "lxc.net.0.hwaddr")
    assert re.fullmatch(r"10:66:6a(:[0-9a-f]{2}){3}", address)
    assert twin.call("GetConfigItem", "(s)", "lxc.uts.name") == ["twin"]
    with open(f"{LXC_PATH}/twin/rootfs/etc/hostname") as file:
        assert file.read().strip() == "twin"
    kept = clone(web, "kept", keep_mac=True, keep_name=True)
    assert kept.call("GetConfigItem", "(s)", "lxc.net.0.hwaddr") == ["00:16:3e:11:22:33"]
    assert kept.call("GetConfigItem", "(s)", "lxc.uts.name") == ["web"]


def test_a_full_copy_keeps_everything_that_a_file_has(bus):
    web = bus.create("web", template="busybox")
    root = f"{LXC_PATH}/web/rootfs"
    run("sh", "-ec", f"""cd {root}
        echo text >file; ln file hard; ln -s /nowhere link; mkfifo fifo
        mknod null c 1 3; chown 1234:5678 file; chmod 4751 file
        setfattr -n user.note -v kept file; setfacl -m u:99:r file
        cp /bin/true capable; setcap cap_net_raw+ep capable
        truncate -s 100M hole; touch -d '2001-02-03 04:05:06.789' old; echo x >'new\nline'""")
    twin = clone(web, "twin")
    other = f"{twin.folder}/rootfs"

    def look(folder):
        listed = run("sh", "-c", f"cd {folder} && find . ! -path ./etc/hostname ! -path ./etc "
                     "-printf '%p %y %m %U %G %s %T@ %l %n\\n' | sort").stdout
        acl = run("sh", "-c", f"cd {folder} && find . -print0 | sort -z | xargs -0 sh -c "
                  "'getfattr -h -d -m - -- \"$@\"; getfacl -n -- \"$@\"' x 2>/dev/null; getcap -r . | sort")
        return listed, acl.stdout

    assert look(other) == look(root)
    assert os.stat(f"{other}/file").st_ino == os.stat(f"{other}/hard").st_ino
    assert os.stat(f"{other}/hole").st_blocks < 100
    assert os.stat(f"{other}/null").st_rdev == os.makedev(1, 3)


def test_a_copy_takes_nothing_of_the_place_it_is_made_in(bus):
    """What directories hand down to what is made in them: a group, and lists of access."""
    web = bus.create("web", template="busybox")
    before = everything(f"{web.folder}/rootfs", first_id(web))
    mode = os.stat(LXC_PATH).st_mode & 0o7777
    run("sh", "-ec", f"chgrp 99 {LXC_PATH}; chmod 2755 {LXC_PATH}; setfacl -d -m u:99:rwx,g:98:rwx {LXC_PATH}")
    try:
        twin = clone(web, "twin", keep_name=True)
    finally:
        run("sh", "-ec", f"setfacl -b {LXC_PATH}; chgrp 0 {LXC_PATH}; chmod {mode:o} {LXC_PATH}; chmod g-s {LXC_PATH}")
    assert everything(f"{twin.folder}/rootfs", first_id(web)) == before


def test_a_base_is_not_changed_under_its_clones(bus):
    base = bus.create("base", template="busybox")
    twin = clone(base, "twin", snapshot=True)
    until(lambda: base.get("Dependents") == ["twin"])
    for attempt in (base.start, base.destroy):
        with refused("HasDependents") as caught:
            attempt()
        assert "twin" in caught[0].message
    stock = run("lxc-destroy", "-n", "base", check=False)
    assert stock.returncode != 0 and "clones" in stock.stdout + stock.stderr
    containers.append_config("base", "lxc.rootfs.options = ro")
    base.start()
    base.kill()
    twin.destroy()
    until(lambda: base.get("Dependents") == [])
    base.destroy()


def test_stock_lxc_destroys_a_clone_of_gantrys(bus):
    base = bus.create("base", template="busybox")
    clone(base, "twin", snapshot=True)
    run("lxc-destroy", "-n", "twin")
    until(lambda: base.get("Dependents") == [])
    assert bus.list() == {"base": "STOPPED"}


def test_a_running_container_is_held_for_the_copy_and_goes_on(bus):
    web = bus.create("web", template="busybox", start=True)
    with bus.signals("Container", "StateChanged", web.path) as seen:
        twin = clone(web, "twin")
        until(lambda: [v for _p, _m, v in seen if v[1] == "RUNNING"], pump=True)
        assert [v[1] for _p, _m, v in seen if v[1] in ("FROZEN", "RUNNING")] == ["FROZEN", "RUNNING"]
    assert web.state == "RUNNING" and web.execute("true")[0] == 0
    assert twin.state == "STOPPED"


def test_clones_between_backends(bus):
    with container_on(bus, "btrfs") as web:
        plain = clone(web, "plain", backend="dir")
        assert plain.get("Backend") == "dir" and mark_of_root(plain)
        back = clone(plain, "back", backend="btrfs")
        assert back.get("Backend") == "btrfs"
        assert os.stat(f"{LXC_PATH}/back/rootfs").st_ino == 256
        runs_by_turns(back)
        for wrong, name in (("tape", "InvalidArgument"), ("rbd", "Unsupported"), ("zfs", "Unsupported")):
            with refused(name):
                clone(web, "wrong", backend=wrong)
        back.destroy()
        assert "back" not in run("btrfs", "subvolume", "list", LXC_PATH).stdout


def mark_of_root(container):
    return os.path.exists(f"{container.folder}/rootfs/bin/busybox")


def test_an_ephemeral_clone_is_gone_when_it_stops(bus):
    base = bus.create("base", template="busybox")
    twin = clone(base, "twin", snapshot=True, ephemeral=True, start=True)
    assert twin.state == "RUNNING" and twin.get("Ephemeral")
    twin.kill()
    until(lambda: "twin" not in bus.list())
    until(lambda: base.get("Dependents") == [])
    assert not os.path.exists(f"{LXC_PATH}/twin")


@pytest.mark.parametrize("new, error", [("web", "Exists"), ("../x", "InvalidName"), ("", "InvalidName")])
def test_names_that_cannot_be(bus, new, error):
    web = bus.create("web", template="busybox")
    with refused(error):
        clone(web, new)
    assert sorted(os.listdir(LXC_PATH)) == ["web"]


def copying():
    """Whether the big file of a copy is on its way."""
    return glob.glob(f"{LXC_PATH}/.gantry-create-*/rootfs/big")


def test_a_clone_that_is_cancelled_leaves_nothing(bus):
    web = bus.create("web", template="busybox")
    run("sh", "-c", f"head -c 600M /dev/urandom >{web.folder}/rootfs/big")
    job = Job(bus, web.call("Clone", "(sa{sv})", "twin", options()))
    until(copying)
    job.cancel()
    assert job.wait() == "cancelled"
    until(lambda: os.listdir(LXC_PATH) == ["web"])


def test_a_killed_helper_leaves_nothing(bus):
    web = bus.create("web", template="busybox")
    run("sh", "-c", f"head -c 600M /dev/urandom >{web.folder}/rootfs/big")
    job = Job(bus, web.call("Clone", "(sa{sv})", "twin", options()))
    assert job.get("State") == "running"
    until(copying)
    containers.kill_helper(bus)
    assert bus.list() == {"web": "STOPPED"}
    until(lambda: os.listdir(LXC_PATH) == ["web"])


def test_a_host_name_is_written_nowhere_else(bus, victim):
    """The root file system is the container's: its links lead nowhere."""
    web = bus.create("web", template="busybox")
    root = f"{web.folder}/rootfs"
    run("rm", "-rf", f"{root}/etc/hostname")
    os.symlink(f"{victim}/file", f"{root}/etc/hostname")
    clone(web, "one")
    run("mv", f"{root}/etc", f"{root}/real")
    os.symlink(victim, f"{root}/etc")
    clone(web, "two")
    clone(web, "three", snapshot=True)


def test_a_full_disk_leaves_nothing(bus):
    with in_place_of_the_lxc_path(bus, ["mkfs.ext4", "-q"], size=64 << 20):
        web = bus.create("web", template="busybox")
        run("sh", "-c", f"head -c 30M /dev/urandom >{web.folder}/rootfs/big")
        with refused("NoSpace") as caught:
            clone(web, "twin")
        assert "free some space" in caught[0].message
        assert sorted(os.listdir(LXC_PATH)) == ["lost+found", "web"]
        containers.destroy("web")
