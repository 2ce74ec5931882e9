"""File systems for tests of stores, each in a file."""

import os
import struct
import tempfile
from contextlib import contextmanager, nullcontext

import containers
from gantry import GLib, Job, LXC_PATH, options, run


@contextmanager
def in_place_of_the_lxc_path(bus, make, size=256 << 20):
    """Mounts a new file system there, for a helper of its own; `make` is its mkfs."""
    with tempfile.NamedTemporaryFile(dir="/var/tmp", suffix=".img") as image:
        os.truncate(image.name, size)
        run(*make, image.name)
        containers.kill_helper(bus)
        run("mount", "-o", "loop", image.name, LXC_PATH)
        try:
            yield image.name
        finally:
            containers.kill_helper(bus)
            run("umount", LXC_PATH)
            bus.list()


def btrfs_in_place_of_the_lxc_path(bus):
    return in_place_of_the_lxc_path(bus, ["mkfs.btrfs", "-q"])


def size(mebibytes):
    """The value of the option fssize."""
    return GLib.Variant("t", mebibytes << 20)


# The backends whose turn it is: those of the sandbox or, in the machine, those of volumes
# (vm/test_volumes.py).
BACKENDS = os.environ.get("GANTRY_BACKENDS", "dir overlay btrfs loop").split()

# What creation takes to make one and be quick about it; and what stock LXC takes.
WISHES = {"loop": {"fssize": size(64)}, "lvm": {"fssize": size(64)},
          "thin": {"backend": "lvm", "thinpool": "thin", "fssize": size(64)}}
STOCK = {"loop": ["--fssize", "64M"], "lvm": ["--fssize", "64M"],
         "thin": ["-B", "lvm", "--thinpool", "thin", "--fssize", "64M"]}


def kind(backend):
    """What the property Backend says."""
    return "lvm" if backend == "thin" else backend


def wish(backend):
    """The options by which creation makes a container of this backend."""
    return {"backend": backend, **WISHES.get(backend, {})}


def create_stock(name, backend):
    """A busybox container of this backend, made by stock LXC."""
    run("lxc-create", "-n", name, "-t", "busybox", "-B", kind(backend), *STOCK.get(backend, []))


def root_of(container):
    """The top of a stopped container's files, mounted where they must be; a context."""
    path = container.call("GetConfigItem", "(s)", "lxc.rootfs.path")[0]
    kind, _, path = path.partition(":")
    if kind in ("dir", "btrfs"):
        return nullcontext(path)
    return mounted(kind, path)


@contextmanager
def mounted(kind, path):
    with tempfile.TemporaryDirectory() as place:
        if kind == "overlay":
            lower, _, upper = path.rpartition(":/")
            run("mount", "-t", "overlay", "-o", f"lowerdir={lower},upperdir=/{upper},workdir={os.path.dirname('/' + upper)}/work",
                "overlay", place)
        else:
            run("mount", *{"loop": ["-o", "loop"], "zfs": ["-t", "zfs", "-o", "zfsutil"]}.get(kind, []), path, place)
        try:
            yield place
        finally:
            run("umount", place)


@contextmanager
def place_for(bus, backend):
    """Where containers of this backend can be; those that are left are destroyed."""
    with btrfs_in_place_of_the_lxc_path(bus) if backend == "btrfs" else nullcontext():
        try:
            yield
        finally:
            # What needs others goes before them.
            left = [name for name in os.listdir(LXC_PATH) if not name.startswith(".")]
            for left in sorted(left, key=lambda left: left == "base"):
                containers.destroy(left)


@contextmanager
def container_on(bus, backend, name="web"):
    """A stopped busybox container of this backend; for btrfs the whole LXC path is one."""
    with place_for(bus, backend):
        if backend == "overlay":
            bus.create("base", template="busybox")
            clone(bus.container("base"), name, snapshot=True)
        else:
            bus.create(name, template="busybox", **wish(backend))
        yield bus.container(name)


def clone(container, new, **named):
    """Clones and waits; gives the new container."""
    job = container.call("Clone", "(sa{sv})", new, options(**named))
    Job(container.bus, job).result()
    return container.bus.container(new)


class Snapshots:
    """The Snapshots interface of a container."""

    def __init__(self, container):
        self.container = container

    def call(self, method, signature="()", *args):
        container = self.container
        return container.once_shown(lambda: container.bus.call(container.path, "Snapshots", method, signature, *args))

    def job(self, method, signature, *args):
        return Job(self.container.bus, self.call(method, signature, *args)).result()

    def take(self, name="", **named):
        return self.job("Take", "(sa{sv})", name, options(**named))["name"]

    def list(self):
        return self.call("List")

    def names(self):
        return [snapshot["name"] for snapshot in self.list()]

    def restore(self, name, **named):
        return self.job("Restore", "(sa{sv})", name, options(**named))

    def estimate(self):
        return self.job("Estimate", "(a{sv})", {})

    def delete(self, name):
        self.job("Delete", "(sa{sv})", name, {})


def fill(root, first=0):
    """Files with all that a file can have, as programs of the container with this first id would make them."""
    run("sh", "-ec", f"""cd {root}
        echo text >file; ln -s /nowhere link; mkfifo fifo; cp /bin/true capable; echo x >'new\nline'
        truncate -s 100M hole; touch -d '2001-02-03 04:05:06.789' old; mkdir -p deep/er; echo below >deep/er/file
        chown -h {first}:{first} link fifo capable hole old new* deep deep/er
        chown {first + 1234}:{first + 56} file deep/er/file; ln file hard; chmod 4751 file; chmod 1777 deep
        setfattr -n user.note -v kept file; setfacl -m u:{first + 99}:r,g:{first + 7}:rw file
        setfacl -d -m u:{first + 99}:rwx deep; setcap -n {first} cap_net_raw+ep capable
        touch -d '2002-03-04 05:06:07.89' deep/er deep link -h""")


def first_id(container):
    """The host's id of the container's root."""
    return os.stat(f"{container.folder}/rootfs").st_uid


def everything(root, first=0):
    """What every file below a root file system has, but those of /dev, with the ids that the container sees."""
    seen = {}
    for at, folders, files in os.walk(root):
        for name in ["", *folders, *files]:
            path = os.path.join(at, name)
            info = os.lstat(path)
            is_folder = os.path.isdir(path) and not os.path.islink(path)
            attributes = {}
            for key in os.listxattr(path, follow_symlinks=False):
                attributes[key] = inner(key, os.getxattr(path, key, follow_symlinks=False), first)
            seen[os.path.relpath(path, root)] = (
                info.st_mode, info.st_uid - first, info.st_gid - first, info.st_mtime_ns, info.st_rdev,
                None if is_folder else (info.st_size, info.st_nlink), attributes,
                os.readlink(path) if os.path.islink(path) else "")
    return {path: value for path, value in seen.items() if not path.startswith("dev/")}


def inner(key, value, first):
    """An attribute with the ids in it as the container sees them."""
    if key.startswith("system.posix_acl"):
        entries = struct.iter_unpack("<HHI", value[4:])
        return [(tag, mode, number - first if tag in (2, 8) else None) for tag, mode, number in entries]
    if key == "security.capability":
        # Version 2 has no root id and is root's of the host.
        (root,) = struct.unpack("<I", value[20:24]) if len(value) == 24 else (0,)
        return value[4:20], root - first
    return value
