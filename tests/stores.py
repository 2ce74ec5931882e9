"""File systems for tests of stores, each in a file."""

import os
import tempfile
from contextlib import contextmanager

import containers
from gantry import Job, LXC_PATH, options, run


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


@contextmanager
def container_on(bus, backend, name="web"):
    """A stopped busybox container of this backend; for btrfs the whole LXC path is one."""
    if backend == "btrfs":
        with btrfs_in_place_of_the_lxc_path(bus):
            run("lxc-create", "-n", name, "-t", "busybox", "-B", "btrfs")
            try:
                yield bus.container(name)
            finally:
                for left in os.listdir(LXC_PATH):
                    containers.destroy(left)
        return
    if backend == "loop":
        run("lxc-create", "-n", name, "-t", "busybox", "-B", "loop", "--fssize", "64M")
    elif backend == "overlay":
        bus.create("base", template="busybox")
        clone(bus.container("base"), name, snapshot=True)
    else:
        bus.create(name, template="busybox")
    try:
        yield bus.container(name)
    finally:
        # What needs others goes before them.
        for left in sorted(os.listdir(LXC_PATH), key=lambda left: left == "base"):
            containers.destroy(left)


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
