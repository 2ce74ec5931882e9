"""State on disk and in the kernel: who may see it, and whose it is. Numbers in names
are items of the security checklist.
"""

import os
import stat

import pytest

import containers
from containers import kill_helper
from gantry import LXC_PATH, run, until
from terminals import open_shell


@pytest.fixture(scope="module")
def web():
    with containers.shared("web") as box:
        yield box


def test_41_run_time_state_is_roots_alone(bus, web):
    shell, session = open_shell(bus.container("web"))
    with shell:
        shell.ask("true")
        top = os.stat("/run/gantry")
        # Others may pass through to a place they know, but neither look nor write.
        assert top.st_uid == 0 and not top.st_mode & 0o066
        for at, folders, files in os.walk("/run/gantry"):
            for name in folders + files:
                info = os.lstat(os.path.join(at, name))
                assert info.st_uid == 0 and not info.st_mode & 0o022, os.path.join(at, name)
        sessions = os.stat("/run/gantry/sessions")
        assert stat.S_IMODE(sessions.st_mode) == 0o700
        bus.call(session, "Session", "Close")


def test_41_locks_are_not_where_others_could_make_them(bus):
    box = bus.create("box", template="busybox", start=True)
    pids = {containers.helper_pid(bus), containers.monitor_pid(box)}
    for pid in pids:
        for number in os.listdir(f"/proc/{pid}/fd"):
            target = os.readlink(f"/proc/{pid}/fd/{number}")
            assert not target.startswith(("/tmp/", "/var/tmp/", "/dev/shm/")) or "sandbox" in target, target


def test_41_a_config_is_replaced_whole(web):
    before = os.stat(containers.config_path("web")).st_ino
    web.call("SetConfigItem", "(sasa{sv})", "lxc.start.order", ["3"], {})
    assert os.stat(containers.config_path("web")).st_ino != before
    assert sorted(os.listdir(f"{LXC_PATH}/web")) == sorted(
        {"config", "rootfs"} | {name for name in os.listdir(f"{LXC_PATH}/web") if name.endswith(".log")})


def test_41_a_config_that_is_a_symlink_is_not_written_through(bus, victim):
    containers.write_container("box", f"lxc.rootfs.path = dir:{LXC_PATH}/box/rootfs\n")
    os.unlink(containers.config_path("box"))
    os.symlink(f"{victim}/file", containers.config_path("box"))
    try:
        bus.container("box").call("SetConfigItem", "(sasa{sv})", "lxc.start.auto", ["1"], {})
    except containers.gantry.Refused:
        pass


@pytest.mark.parametrize("folder", ["/sys/fs/cgroup/pids", "/sys/fs/cgroup/freezer", "/sys/fs/cgroup/unified"])
def test_42_a_group_of_somebody_elses_process_is_neither_used_nor_removed(bus, folder):
    if not os.path.isdir(folder):
        folder = "/sys/fs/cgroup"
    other = f"{folder}/lxc.payload.box"
    os.mkdir(other)
    try:
        with containers.background("sleep", "335") as process:
            with open(f"{other}/cgroup.procs", "w") as file:
                file.write(str(process.pid))
            box = bus.create("box", template="busybox", start=True)
            with open(f"{other}/cgroup.procs") as file:
                assert file.read().split() == [str(process.pid)]
            assert box.execute("hostname")[1] == "box\n"
            box.call("Freeze", "(a{sv})", {})
            box.call("Unfreeze", "(a{sv})", {})
            box.kill()
            kill_helper(bus)
            bus.list()
            assert process.poll() is None and os.path.isdir(other)
    finally:
        os.rmdir(other)


def test_42_links_and_mounts_that_are_not_ours_stay(bus):
    with containers.bridge():
        run("ip", "link", "add", "vethABCDEF", "type", "veth", "peer", "name", "vethUVWXYZ")
        run("ip", "link", "set", "vethABCDEF", "master", "lxcbr0")
        try:
            box = bus.create("box", template="busybox", start=True, config=[
                "lxc.net.0.type = veth", "lxc.net.0.link = lxcbr0", "lxc.net.0.flags = up"])
            os.kill(containers.monitor_pid(box), 9)
            until(lambda: bus.list()["box"] == "STOPPED")
            kill_helper(bus)
            bus.list()
            assert os.listdir("/sys/class/net/lxcbr0/brif") == ["vethABCDEF"]
        finally:
            run("ip", "link", "del", "vethABCDEF")


def test_42_a_link_of_the_same_name_is_not_taken(bus):
    with containers.bridge():
        run("ip", "link", "add", "taken0", "type", "veth", "peer", "name", "taken1")
        try:
            box = bus.create("box", template="busybox", privileged=True, config=[
                "lxc.net.0.type = veth", "lxc.net.0.link = lxcbr0", "lxc.net.0.veth.pair = taken0"])
            with containers.refused("InvalidConfig") as caught:
                box.start()
            assert "taken0" in caught[0].message
            assert {"taken0", "taken1"} <= set(os.listdir("/sys/class/net"))
        finally:
            run("ip", "link", "del", "taken0")


def test_42_a_socket_of_somebody_else_is_no_container(bus, web):
    """Any user may bind an abstract name; what listens there is asked for nothing as root."""
    with containers.background("setpriv", "--reuid=alice", "--regid=alice", "--clear-groups", "python3", "-c", f"""
import socket, time
s = socket.socket(socket.AF_UNIX); s.bind("\\0{LXC_PATH}/fake/command"); s.listen()
print("bound", flush=True); time.sleep(60)
""", cwd="/") as other:
        assert other.stdout.readline() == "bound\n"
        assert bus.manager("ListContainers", "(a{sv})", {}, timeout=5)
        assert bus.list()["web"] == "RUNNING"
        box = bus.create("box", template="busybox")
        assert box.state == "STOPPED"


def test_42_a_socket_that_never_answers_does_not_hold_up_the_helper(bus):
    containers.write_container("box", f"lxc.rootfs.path = dir:{LXC_PATH}/box/rootfs\n")
    with containers.background("setpriv", "--reuid=alice", "--regid=alice", "--clear-groups", "python3", "-c", f"""
import socket, time
s = socket.socket(socket.AF_UNIX); s.bind("\\0{LXC_PATH}/box/command"); s.listen()
print("bound", flush=True); time.sleep(60)
""", cwd="/") as other:
        assert other.stdout.readline() == "bound\n"
        assert bus.manager("ListContainers", "(a{sv})", {}, timeout=10)
        bus.create("other", template="busybox", start=True)
        assert bus.manager("ListContainers", "(a{sv})", {}, timeout=10)
