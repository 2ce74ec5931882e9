"""Containers on LVM, classic and thin, and on ZFS, which the sandbox's kernel has not: the
suite that every backend passes (tests/storage), and what a full pool and a failing disk do.
"""

import pytest

from machine import Machine

# The test that tells most: each takes minutes in the machine. The others can be run in
# it by hand, with GANTRY_BACKENDS.
SUITE = ["test_conformance.py", "test_export.py", "test_moving.py"]
OF_BACKENDS = "either_may_end_it or tells_its_room or written_last or another_backend or ephemeral_one_leaves"

GROUND = """
dpkg -i /var/lib/gantry-test/debs/*.deb
modprobe -a zfs dm-thin-pool dm-snapshot loop
cd /var/tmp; truncate -s 1536M lvm; truncate -s 1G zfs
vgcreate -q lxc "$(losetup --show -f lvm)"
lvcreate -q -y --type thin-pool -L 384M -n thin lxc
zpool create -m none lxc /var/tmp/zfs
"""


@pytest.fixture(scope="module")
def machine():
    with Machine() as machine:
        machine.run(GROUND, 900)
        yield machine


def suite(machine, backends, chosen, *files, seconds=1100):
    """Runs those tests of the suite in the machine; gives what pytest says."""
    return machine.run(
        "cd /checkout/tests\n"
        "export PATH=$PATH:/sbin:/bin DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/dbus/system_bus_socket\n"
        "export GANTRY_NETNS=none GANTRY_LOG=/dev/null GANTRY_INSIDE=1 GANTRY_TEST_SECONDS=500\n"
        f"GANTRY_BACKENDS={backends!r} exec python3 -B -m pytest -p no:cacheprovider --durations=5 "
        f"-k '{chosen}' {' '.join(f'storage/{file}' for file in files)}", seconds)


@pytest.mark.parametrize("backend", ["lvm", "thin", "zfs"])
def test_the_suite_of_every_backend(machine, backend):
    said = suite(machine, backend, OF_BACKENDS, *SUITE)
    print(said)
    assert "passed" in said and "failed" not in said and "skipped" not in said


def test_what_changed_as_zfs_tells_it(machine):
    said = suite(machine, "zfs", "every_way or names or million", "test_diff.py")
    print(said)
    assert "4 passed" in said
    assert "every file is compared" not in machine.run("journalctl --unit gantry-helper")


@pytest.mark.parametrize("backend", ["lvm", "zfs"])
def test_a_helper_that_is_killed(machine, backend):
    said = suite(machine, backend, "no_half_container", "test_cut_volumes.py")
    print(said)
    assert "1 passed" in said


def test_a_full_pool_and_a_failing_disk(machine):
    said = suite(machine, "lvm", "leaves_nothing", "test_failing_volumes.py")
    print(said)
    assert "2 passed" in said
