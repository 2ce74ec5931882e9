"""Root file systems that programs of the host make: scripts of LXC's, and mmdebstrap."""

import os
from contextlib import contextmanager

import containers
import gantry
from archives import Archive
from containers import refused
from gantry import LXC_PATH, run, until

# As those of lxc-templates: it fills the rootfs and goes on with the config.
SCRIPT = """#!/bin/sh
for argument; do echo "argument $argument"; done
for argument; do
    case $argument in
    --path=*) path=${argument#*=} ;;
    --rootfs=*) rootfs=${argument#*=} ;;
    --fail) echo 'no mirror answers' >&2; exit 7 ;;
    --wait) touch /run/waits; sleep 600 ;;
    esac
done
tar -xf /run/stand-in.tar -C "$rootfs" || exit
chown 1000:1000 "$rootfs/tmp"
mount -t tmpfs tmpfs "$rootfs/run"
echo "lxc.tty.max = 3" >>"$path/config"
echo "lxc.mount.fstab = $path/fstab" >>"$path/config"
touch "$path/fstab"
"""
DEBSTRAP = """#!/bin/sh
echo "argument proxy $http_proxy $*"
for argument; do case $argument in */tar) cp /run/stand-in.tar "$argument" ;; esac; done
"""
SLOW = """#!/bin/sh
echo begun >>/run/begun
while [ ! -e /run/go ]; do sleep 0.05; done
"""


@contextmanager
def covered(path, source):
    """Something of the host's for the length of a test: the folder is the build root's."""
    run("mount", "--bind", source, path)
    try:
        yield
    finally:
        run("umount", path)


@contextmanager
def stand_in(path, text):
    """A root file system for a program of the test's own, and that in place of another."""
    with open("/run/stand-in.tar", "wb") as file:
        file.write(Archive().bytes())
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o755)
    try:
        yield
    finally:
        os.remove("/run/stand-in.tar")
        os.remove(path)


def start(bus, name, **options):
    """The job of a creation."""
    return gantry.Job(bus, bus.manager("CreateContainer", "(sa{sv})", name, gantry.options(**options)))


def log_of(bus, name, **options):
    """What a creation says, and its job."""
    with bus.signals("Job", "Log") as lines:
        job = gantry.Job(bus, bus.manager("CreateContainer", "(sa{sv})", name, gantry.options(**options)))
        job.result()
        until(lambda: [1 for *_x, (line,) in lines if line.startswith("argument")], pump=True)
        return [line for *_x, (line,) in lines]


def test_a_script_of_lxc_makes_a_container(bus):
    with stand_in("/run/templates/lxc-ours", SCRIPT), covered("/usr/share/lxc/templates", "/run/templates"):
        said = log_of(bus, "box", template="ours", template_args=["--release", "a b; id"])
        assert "argument --name=box" in said and "argument a b; id" in said
        log_of(bus, "whole", template="ours", privileged=True)
        for name in ("box", "whole"):
            box = bus.container(name)
            config = containers.config_of(name).decode()
            assert "lxc.tty.max = 3" in config and f"lxc.mount.fstab = {LXC_PATH}/{name}/fstab" in config
            assert os.path.exists(f"{LXC_PATH}/{name}/fstab")
            assert ".gantry" not in config and not os.path.exists(f"{LXC_PATH}/{name}/built")
            box.start()
            assert box.execute("stat", "-c", "%u %g", "/tmp")[1] == "1000 1000\n"
            assert box.execute("hostname")[1] == f"{name}\n"
        with refused("Failed") as why:
            bus.create("none", template="ours", template_args=["--fail"])
        assert "status 7" in why[0].message and "no mirror answers" in why[0].message
        job = gantry.Job(bus, bus.manager("CreateContainer", "(sa{sv})", "none", gantry.options(
            template="ours", template_args=["--wait"])))
        until(lambda: os.path.exists("/run/waits"))
        os.remove("/run/waits")
        job.cancel()
        assert job.wait(20) == "cancelled"
        assert sorted(os.listdir(LXC_PATH)) == ["box", "whole"]
        os.chmod("/run/templates/lxc-ours", 0o777)
        with refused("NotAuthorized"):
            bus.create("none", template="ours")
    for wrong in ("../busybox", "nothing"):
        with refused("InvalidArgument"):
            bus.create("none", template=wrong)


def test_debian_from_its_packages(bus):
    """A stand-in for mmdebstrap: there is no network here. What it made is kept."""
    options = dict(template="debootstrap", release="trixie", mirror="http://mirror.invalid/debian")
    with stand_in("/run/mmdebstrap", DEBSTRAP), covered("/usr/bin/mmdebstrap", "/run/mmdebstrap"):
        (said,) = [line for line in log_of(bus, "box", **options) if line.startswith("argument")]
        assert "trixie" in said and said.endswith("http://mirror.invalid/debian") and "systemd-sysv" in said
        with bus.signals("Job", "Log") as lines:
            job = gantry.Job(bus, bus.manager("CreateContainer", "(sa{sv})", "second", gantry.options(**options)))
            assert "passwd" in job.result()["first_login"]
            assert not [1 for *_x, (line,) in lines if line.startswith("argument")], "made anew"
        log_of(bus, "third", cache="refresh", **options)
        more = dict(template_args=["--include=vim,g++", "--components=main,contrib"], proxy="http://proxy.invalid:3128")
        (said,) = [line for line in log_of(bus, "more", **options, **more) if line.startswith("argument")]
        assert ",vim,g++" in said and "--components=main,contrib" in said
        assert said.count("--include") == 1 and "proxy http://proxy.invalid:3128" in said
        for wrong in ("--setup-hook=id", "--include=a,-o", "/etc/passwd"):
            with refused("InvalidArgument"):
                bus.create("none", **options, template_args=[wrong])
    try:
        with open(f"{LXC_PATH}/box/rootfs/etc/hostname") as file:
            assert file.read() == "box\n"
        root = os.stat(f"{LXC_PATH}/box/rootfs/sbin/init").st_uid
        assert os.stat(f"{LXC_PATH}/box/rootfs/etc/hosts").st_uid == root > 0
        bus.container("box").start()
        for wrong in (dict(distribution="alpine"), dict(mirror="deb [trusted=yes] http://x y main"), dict(server="x")):
            with refused("InvalidArgument"):
                bus.create("none", **{**options, **wrong})
    finally:
        run("rm", "-rf", "/var/cache/lxc/debootstrap")


def test_two_who_want_the_same_debian_make_it_once(bus):
    """And what a helper that was killed left of one is gone when the next is made."""
    options = dict(template="debootstrap", release="trixie")
    cache = "/var/cache/lxc/debootstrap"
    with stand_in("/run/mmdebstrap", SLOW + DEBSTRAP), covered("/usr/bin/mmdebstrap", "/run/mmdebstrap"):
        try:
            start(bus, "one", **options)
            until(lambda: os.path.exists("/run/begun"))
            containers.kill_helper(bus)
            assert bus.list() == {}
            assert [name for name in os.listdir(cache) if os.path.isdir(f"{cache}/{name}")]
            os.remove("/run/begun")
            jobs = [start(bus, name, **options) for name in ("one", "two")]
            until(lambda: any(job.get("Stage").startswith("waiting for another") for job in jobs))
            until(lambda: os.path.exists("/run/begun"))
            open("/run/go", "w").close()
            for job in jobs:
                job.result()
            with open("/run/begun") as file:
                assert file.read() == "begun\n"
            assert set(bus.list()) == {"one", "two"}
            assert not [name for name in os.listdir(cache) if os.path.isdir(f"{cache}/{name}")]
        finally:
            run("rm", "-rf", cache, "/run/begun", "/run/go")
