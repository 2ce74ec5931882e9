"""Versions of stock LXC, and the ground that each needs.

Debian 13's is that of the system; older and newer ones are in the root file systems
that `dev` makes for them.
"""

import os
import pathlib
from contextlib import contextmanager

import pytest

import containers
from gantry import Bus, run

WITHIN = pathlib.Path(__file__).with_name("within")
SUITES = {"6.0": None, "5.0": "bookworm", "7.0": "forky"}


class Tools:
    """The tools of a version of LXC."""

    def __init__(self, version):
        self.version, self.before = version, ()
        if suite := SUITES[version]:
            root = os.path.join(os.environ.get("GANTRY_OTHER_LXC", ""), suite)
            if not os.path.isdir(root):
                pytest.skip(f"GANTRY_OTHER_LXC has no LXC of Debian's suite {suite}")
            self.before = (WITHIN, root)

    def words(self, *argv):
        return *self.before, *argv

    def __call__(self, *argv, **more):
        return run(*self.words(*argv), **more)


@contextmanager
def version_2_alone():
    """A host without control groups of version 1."""
    listed = run("findmnt", "--noheadings", "--raw", "--types", "cgroup", "--output", "TARGET,FS-OPTIONS", check=False)
    groups = [line.split() for line in listed.stdout.splitlines()]
    if not groups:
        yield
        return
    remount("cgroup2")
    try:
        yield
    finally:
        remount("tmpfs")
        run("mkdir", "/sys/fs/cgroup/unified")
        run("mount", "-t", "cgroup2", "cgroup", "/sys/fs/cgroup/unified")
        for target, options in groups:
            run("mkdir", "-p", target)
            options = options.removeprefix("rw,").replace("name=", "none,name=")
            run("mount", "-t", "cgroup", "-o", options, "cgroup", target)


def remount(kind):
    """Puts another file system where the control groups are; the helper looks anew."""
    bus = Bus()
    containers.kill_helper(bus)
    bus.close()
    run("umount", "--recursive", "/sys/fs/cgroup")
    run("mount", "-t", kind, "cgroup", "/sys/fs/cgroup")
