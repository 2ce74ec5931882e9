"""Namespaces that a container keeps, shares or is given, and the host's root; stock LXC beside."""

import os
import signal
from contextlib import contextmanager

import pytest

import containers
from containers import namespace, refused
from gantry import LXC_PATH, run, until

KINDS = ("user", "mnt", "pid", "uts", "ipc", "net", "cgroup")
# busybox's init is pid 1 or nothing; this one does not mind.
SLEEPER = "lxc.init.cmd = /bin/sleep 100000"


@pytest.fixture(scope="module", autouse=True)
def folder():
    """One root file system for every container here: what differs is in their configs."""
    containers.SHARED.add("base")
    containers.create_stock("base")
    yield
    containers.SHARED.discard("base")
    containers.destroy("base")


@pytest.fixture
def make(bus):
    """Containers with the root of `base` and lines of their own."""
    made = []

    def make(name, *lines):
        with open(containers.config_path("base")) as file:
            base = [line.strip() for line in file if not line.startswith(("lxc.uts.name", "lxc.rootfs.path"))]
        root = f"lxc.rootfs.path = dir:{LXC_PATH}/base/rootfs"
        os.makedirs(f"{LXC_PATH}/{name}")
        with open(containers.config_path(name), "w") as file:
            file.write("\n".join([*base, root, SLEEPER, *lines, ""]))
        made.append(name)
        return bus.container(name)

    yield make
    for name in made:
        run("lxc-stop", "-k", "-n", name, check=False)
        run("rm", "-rf", f"{LXC_PATH}/{name}")


def shared_with(pid, other):
    """The kinds of namespaces in which a process is where another is."""
    return {kind for kind in KINDS if namespace(pid, kind) == namespace(other, kind)}


@contextmanager
def stock(name):
    """Started by stock LXC; gives its init."""
    run("lxc-start", "-n", name)
    try:
        yield int(run("lxc-info", "-n", name, "-pH").stdout)
    finally:
        run("lxc-stop", "-k", "-n", name)


@contextmanager
def gantrys(box):
    box.start()
    try:
        yield box.get("InitPid")
    finally:
        box.kill()


# With `keep` stock LXC makes a user namespace, without maps, unless that is kept, too.
@pytest.mark.parametrize("lines", [
    ["lxc.namespace.keep = user ipc"], ["lxc.namespace.keep = user net uts"], ["lxc.namespace.keep = user pid"],
    ["lxc.namespace.keep = user cgroup"], ["lxc.namespace.clone = mnt pid"], ["lxc.namespace.clone = mnt uts ipc"],
    ["lxc.net.0.type = none"], ["lxc.namespace.keep = user"],
], ids=lambda lines: lines[0].partition("space.")[2].replace(" ", "") or "none")
def test_the_kept_ones_are_those_that_stock_lxc_keeps(make, lines):
    if lines == ["lxc.net.0.type = none"]:
        lines = ["lxc.net =", *lines]
    box = make("box", *lines)
    with stock("box") as pid:
        expected = shared_with(pid, "self")
    with gantrys(box) as pid:
        assert shared_with(pid, "self") == expected
        # Whoever enters is where init is.
        inside = {kind: box.execute("readlink", f"/proc/self/ns/{kind}")[1].strip() for kind in KINDS}
        assert inside == {kind: namespace(pid, kind) for kind in KINDS}
        for kind in KINDS:
            assert run("lxc-attach", "-n", "box", "--", "readlink", f"/proc/self/ns/{kind}").stdout.strip() == inside[kind]


def test_the_hosts_name_stays_where_its_namespace_is_kept(make):
    before = os.uname().nodename
    box = make("box", "lxc.namespace.keep = uts", "lxc.uts.name = box")
    with gantrys(box):
        assert os.uname().nodename == before
        assert box.execute("hostname")[1].strip() == before


@pytest.mark.parametrize("source", ["name", "pid", "path"])
def test_a_container_shares_what_another_has(make, source):
    other = make("other")
    with gantrys(other) as owner:
        kinds = ("net", "ipc", "uts", "pid", "cgroup")
        at = {"name": "other", "pid": str(owner)}
        box = make("box", *(f"lxc.namespace.share.{kind} = {at.get(source, f'/proc/{owner}/ns/{kind}')}"
                            for kind in kinds))
        with stock("box") as pid:
            expected = shared_with(pid, owner)
        with gantrys(box) as pid:
            # A shared cgroup namespace is left again by stock LXC.
            assert shared_with(pid, owner) == expected | {"cgroup"} >= set(kinds)
            assert namespace(pid, "mnt") != namespace(owner, "mnt")
            for kind in kinds:
                link = run("lxc-attach", "-n", "box", "--", "readlink", f"/proc/self/ns/{kind}").stdout.strip()
                assert link == namespace(owner, kind)
        assert other.state == "RUNNING", "the end of one is not that of the other"


def test_mapped_containers_share_their_ids(bus, make):
    other = bus.create("other", template="busybox", start=True)
    with open(containers.config_path("other")) as file:
        maps = [line.strip() for line in file if line.startswith("lxc.idmap")]
    box = make("box", *maps, "lxc.namespace.share.user = other", "lxc.namespace.share.net = other",
               "lxc.rootfs.options = idmap=container")
    with gantrys(box) as pid:
        assert {"user", "net"} <= shared_with(pid, other.get("InitPid"))
        assert box.execute("id", "-u") == (0, "0\n", "")
        assert containers.status_of(pid, "Uid").split()[0] != "0"


def test_the_end_takes_every_process_along_also_without_a_pid_namespace(make):
    box = make("box", "lxc.namespace.keep = pid", "lxc.init.cmd = /bin/sh /children")
    with open(f"{LXC_PATH}/base/rootfs/children", "w") as file:
        file.write("trap '' TERM\n(trap '' TERM HUP; exec setsid sleep 7654321) &\nwhile :; do sleep 1000; done\n")
    for end in (box.kill, lambda: os.kill(box.get("InitPid"), signal.SIGKILL)):
        box.start()
        until(lambda: "7654321" in run("ps", "-eo", "args").stdout, 30)
        end()
        until(lambda: box.state == "STOPPED", 30)
        until(lambda: "7654321" not in run("ps", "-eo", "args").stdout, 30)


def test_no_container_may_reboot_the_host(make):
    with gantrys(make("box", "lxc.namespace.keep = pid")) as pid:
        assert "sys_boot" not in containers.capabilities(pid)
    with gantrys(make("own")) as pid:
        assert "sys_boot" in containers.capabilities(pid)


@pytest.mark.parametrize("lines, word", [
    (["lxc.namespace.keep = mnt"], "mount namespace"),
    (["lxc.namespace.share.mnt = 1"], "mount namespace"),
    (["lxc.namespace.clone = pid net"], "mount namespace"),
    (["lxc.namespace.keep = user", "lxc.idmap = u 0 100000 65536", "lxc.idmap = g 0 100000 65536"], "lxc.idmap"),
    (["lxc.namespace.share.net = nobody"], "nobody"),
    (["lxc.namespace.share.net = base"], "not running"),
    (["lxc.namespace.share.net = /etc/hostname"], "not a namespace"),
    (["lxc.namespace.share.net = 999999999"], "annot open"),
    (["lxc.namespace.share.net = /proc/self/ns/ipc"], "annot make the namespaces"),
], ids=range(9))
def test_what_cannot_be_is_refused(make, lines, word):
    with refused("Unsupported", "StartFailed", "WrongState", "InvalidConfig") as caught:
        make("box", *lines).start()
    assert word in caught[0].message


# --- the host's root

@pytest.fixture
def rootless(bus, make):
    def rootless(*lines):
        make("bare")
        with open(containers.config_path("bare"), "w") as file:
            file.write("\n".join(["lxc.init.cmd = /bin/sleep 100000", "lxc.uts.name = bare", "lxc.net.0.type = empty",
                                  "lxc.mount.auto = proc:mixed sys:ro", *lines, ""]))
        return bus.container("bare")
    return rootless


def host():
    """What a container must not change here: /dev, what is mounted on it, and on what the container mounts, too."""
    with open("/proc/self/mountinfo") as file:
        mounts = [line for line in file if line.split()[4].startswith(("/dev", "/proc", "/sys"))]
    # Loop devices come and go with whatever else the machine does.
    nodes = sorted(name for name in os.listdir("/dev") if not name.startswith("loop"))
    return mounts, nodes, [os.lstat(f"/dev/{name}").st_ino for name in ("null", "ptmx", "pts")]


def test_without_a_root_of_its_own_a_container_has_the_hosts(rootless, tmp_path):
    # Stock shows no ttys here, and its console only with ptys of the container's own.
    box = rootless("lxc.tty.max = 2", "lxc.pty.max = 1024")
    seen = "for at in /dev/*; do case $at in /dev/tty*) ;; *) echo $at;; esac; done; cat /proc/1/comm"
    with stock("bare"):
        expected = run("lxc-attach", "-n", "bare", "--", "sh", "-c", seen).stdout
    before = host()
    with gantrys(box) as pid:
        assert namespace(pid, "mnt") != namespace("self", "mnt")
        assert box.execute("sh", "-c", seen)[1].split() == expected.split()
        assert box.execute("hostname")[1] == "bare\n"
        box.execute("sh", "-c", f"echo here > {tmp_path}/file; mount -t tmpfs none {tmp_path}; mknod /dev/mine c 1 3")
        assert (tmp_path / "file").read_text() == "here\n"
        assert host() == before
        console, session = box.call("OpenConsole", "(a{sv})", {})
        box.bus.call(session, "Session", "Close")
        os.close(console)
    assert host() == before


def test_the_hosts_own_dev_is_never_touched(rootless):
    before = host()
    with refused("Unsupported") as caught:
        rootless("lxc.autodev = 0").start()
    assert "/dev" in caught[0].message and "lxc.rootfs.path" in caught[0].message
    assert host() == before
