"""What is mounted where. Numbers in names are items of the security checklist."""

import os

import pytest

import containers
from gantry import LXC_PATH, Refused, run


@pytest.fixture(scope="module", params=[False, True], ids=["mapped", "privileged"])
def web(request):
    with containers.shared("web", privileged=request.param) as box:
        yield box


def sh(box, command):
    return box.execute("sh", "-c", command)


def mounts(pid):
    """Mount points of a process to their file system's kind and options."""
    found = {}
    with open(f"/proc/{pid}/mountinfo") as file:
        for line in file:
            fields, _, tail = line.partition(" - ")
            point, options = fields.split()[4:6]
            found[point] = (tail.split()[0], set(options.split(",")))
    return found


def test_05_kernel_settings_of_the_host_cannot_be_written(web):
    for path, word in (("/proc/sysrq-trigger", "h"), ("/proc/sys/kernel/printk", "1"),
                       ("/proc/sys/kernel/core_pattern", "x"), ("/sys/kernel/mm/ksm/run", "0")):
        status, _, _ = sh(web, f"[ -e {path} ] && echo {word} > {path}")
        assert status != 0, path


def test_06_settings_reach_the_containers_kernel_interfaces_alone(bus):
    with open("/proc/sys/net/ipv4/ip_forward") as file:
        before = file.read()
    box = bus.create("box", template="busybox", start=True,
                     config=["lxc.sysctl.net.ipv4.ip_forward = " + ("0" if before == "1\n" else "1"),
                             "lxc.proc.oom_score_adj = 501", "lxc.prlimit.nofile = 200:300"])
    assert sh(box, "cat /proc/sys/net/ipv4/ip_forward /proc/1/oom_score_adj; ulimit -n; ulimit -Hn")[1].split()[:2] == \
        ["0" if before == "1\n" else "1", "501"]
    assert "200                  300" in sh(box, "grep 'open files' /proc/1/limits")[1]
    with open("/proc/sys/net/ipv4/ip_forward") as file:
        assert file.read() == before


def test_08_nothing_of_the_hosts_mounts_is_inside(web):
    own, inside = mounts("self"), mounts(web.get("InitPid"))
    for point in inside:
        assert point == "/" or point.startswith(("/dev", "/proc", "/sys", "/run", "/tmp", "/lib", "/usr/lib")), point
        assert LXC_PATH not in point and "/run/host" not in point
    assert len(inside) < 40
    unshared = set(own) - set(inside)
    assert {LXC_PATH, "/etc", "/run/netns/gantry"} <= unshared


def test_08_the_hosts_root_is_gone(web, victim):
    assert sh(web, "cat /run/victim/file /../run/victim/file /proc/1/root/run/victim/file")[1] == ""
    first, second = sh(web, "stat -c %d:%i /; stat -c %d:%i /../../../..")[1].split()
    assert first == second


def test_08_mounts_do_not_travel_in_or_out(web):
    before = mounts("self")
    assert sh(web, "mkdir -p /tmp/in; mount -t tmpfs tmpfs /tmp/in && echo secret > /tmp/in/file")[0] == 0
    assert mounts("self") == before
    assert not os.path.exists(f"{LXC_PATH}/web/rootfs/tmp/in/file")
    target = f"{LXC_PATH}/web/rootfs/root"
    run("mount", "-t", "tmpfs", "tmpfs", target)
    try:
        assert "/root" not in mounts(web.get("InitPid"))
    finally:
        run("umount", target)
    sh(web, "umount /tmp/in")


def test_08_what_the_container_can_write_stays_below_its_root(web):
    sh(web, "for folder in / /etc /dev /run /tmp /proc /sys /lib /usr/lib; do echo x > $folder/mark-of-web; done")
    for folder in ("/", "/etc", "/dev", "/run", "/tmp", "/lib", "/usr/lib", "/usr/share"):
        assert not os.path.exists(f"{folder}/mark-of-web")


def test_09_other_users_cannot_reach_a_root_file_system(web):
    folder = f"{LXC_PATH}/web"
    for path in (folder, f"{folder}/rootfs", f"{folder}/config", f"{folder}/rootfs/bin/busybox"):
        for user in ("alice", "nobody"):
            assert run("ls", "-d", path + "/.", user=user, check=False).returncode != 0
            assert run("cat", path, user=user, check=False).returncode != 0
    assert run("find", "/run/gantry", "-mindepth", "1", user="alice", check=False).stdout == ""


def test_09_mounts_of_container_data_on_the_host_are_nosuid_and_nodev(bus):
    before = set(mounts("self"))
    bus.create("box", template="busybox", start=True)
    for point, (_kind, options) in mounts("self").items():
        if point not in before:
            assert {"nosuid", "nodev"} <= options, point


def test_10_a_block_image_is_not_mounted_by_the_host_kernel_unasked(bus):
    containers.write_container("img", f"lxc.rootfs.path = loop:{LXC_PATH}/img/rootdev\nlxc.net.0.type = empty\n")
    with open(f"{LXC_PATH}/img/rootdev", "wb") as file:
        file.truncate(1 << 22)
    run("mke2fs", "-q", f"{LXC_PATH}/img/rootdev")
    before, loops = mounts("self"), run("losetup", "-a").stdout
    assert bus.list()["img"] == "STOPPED"
    assert bus.container("img").get("Backend") in ("loop", "loopback")
    bus.container("img").call("GetConfig")
    try:
        bus.container("img").start()
    except Refused as error:
        assert error.name in ("Unsupported", "StartFailed"), error
    bus.list()
    assert mounts("self") == before
    if bus.list()["img"] == "STOPPED":
        assert run("losetup", "-a").stdout == loops


def test_directories_of_an_overlay_are_made_in_the_containers_own_and_nowhere_else(bus, victim):
    """As LXC makes them; a link in the container's root leads nowhere."""
    folder = f"{LXC_PATH}/box"
    lower = "/run/" + "/".join(["lower" * 10] * 6)
    os.makedirs(lower)
    with open(f"{lower}/word", "w") as file:
        file.write("of the host")
    entry = "lxc.mount.entry = overlay mnt overlay lowerdir={},upperdir={}/up,workdir={}/work,create=dir 0 0"
    try:
        box = bus.create("box", template="busybox", privileged=True, start=True, config=[entry.format(lower, folder, folder)])
        assert sh(box, "cat /mnt/word; echo changed > /mnt/word; cat /mnt/word")[1] == "of the hostchanged\n"
        with open(f"{lower}/word") as below, open(f"{folder}/up/word") as above:
            assert (below.read(), above.read()) == ("of the host", "changed\n")
        box.kill()
        os.symlink(victim, f"{folder}/rootfs/out")
        containers.append_config("box", "lxc.mount.entry =", entry.format("/etc", f"{folder}/rootfs/out", f"{folder}/rootfs/out"))
        try:
            box.start()
        except Refused as refused:
            assert "onto /mnt" in refused.message
        assert not os.path.exists(f"{victim}/up") and not os.path.exists(f"{victim}/work")
    finally:
        run("rm", "-rf", "/run/" + "lower" * 10)
