"""File systems for tests of stores, each in a file."""

import os
import tempfile
from contextlib import contextmanager

import containers
from gantry import LXC_PATH, run


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
