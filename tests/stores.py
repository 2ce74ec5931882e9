"""File systems for tests of stores, each in a file."""

import os
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


# What creation takes to be quick about it.
SMALL = {"loop": {"fssize": size(64)}}


@contextmanager
def place_for(bus, backend):
    """Where containers of this backend can be; those that are left are destroyed."""
    with btrfs_in_place_of_the_lxc_path(bus) if backend == "btrfs" else nullcontext():
        try:
            yield
        finally:
            # What needs others goes before them.
            for left in sorted(os.listdir(LXC_PATH), key=lambda left: left == "base"):
                containers.destroy(left)


@contextmanager
def container_on(bus, backend, name="web"):
    """A stopped busybox container of this backend; for btrfs the whole LXC path is one."""
    with place_for(bus, backend):
        if backend == "overlay":
            bus.create("base", template="busybox")
            clone(bus.container("base"), name, snapshot=True)
        else:
            bus.create(name, template="busybox", backend=backend, **SMALL.get(backend, {}))
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

    def delete(self, name):
        self.job("Delete", "(sa{sv})", name, {})
