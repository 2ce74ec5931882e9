"""Configs of LXC 1.x: read as they are, and written anew in today's keys when asked to."""

import os
import time

import pytest
from gi.repository import GLib

import containers
from containers import config_of, config_path, refused
from gantry import LXC_PATH, Refused, run

# As LXC 1.0's tools wrote them, and as people changed them.
LEGACY = """\
# Template used to create this container: /usr/share/lxc/templates/lxc-busybox
# lxc.tty = 9 was too much
lxc.rootfs = {root}

lxc.utsname = old
  lxc.tty=2
lxc.pts = 1
lxc.kmsg = 0
lxc.haltsignal = SIGUSR1
lxc.rebootsignal = SIGTERM
lxc.cap.drop = sys_module mac_admin
lxc.mount.auto = cgroup:mixed proc:mixed sys:ro
lxc.mount.entry = tmpfs dev/shm tmpfs defaults,create=dir 0 0
{binds}
lxc.network.type = veth
lxc.network.flags = up
lxc.network.hwaddr = 00:16:3e:00:00:01
lxc.network.ipv4 = 10.9.8.7/24
lxc.network.type = veth
lxc.network.name = second
not LXC's line
lxc.loglevel = 2
lxc.console.logfile = /tmp/gantry-old-console"""


@pytest.fixture
def legacy(bus):
    """A busybox container of stock LXC whose config somebody kept since LXC 1.0."""
    containers.create_stock("old")
    with open(config_path("old")) as file:
        binds = [line.strip() for line in file if line.startswith("lxc.mount.entry = /")]
    text = LEGACY.format(root=f"{LXC_PATH}/old/rootfs", binds="\n".join(binds))
    with open(config_path("old"), "w") as file:
        file.write(text)
    # The template's own start script would ask for DHCP, which clears the address.
    with open(f"{LXC_PATH}/old/rootfs/etc/init.d/rcS", "w") as file:
        file.write("#!/bin/sh\n")
    yield text
    # LXC's own tools stop nothing whose config they cannot read.
    try:
        bus.container("old").kill()
    except Refused:
        pass
    if os.path.exists("/tmp/gantry-old-console"):
        os.unlink("/tmp/gantry-old-console")


def convert(container, **options):
    return container.call("ConvertConfig", "(a{sv})", options)


def test_a_legacy_container_runs_and_is_converted_in_place(bus, legacy):
    box = bus.container("old")
    assert "old" not in run("lxc-ls", "-1").stdout.split(), "stock reads legacy keys again: is this still needed?"
    box.start()
    assert box.execute("hostname") == (0, "old\n", "")
    assert "10.9.8.7" in box.execute("ip", "addr", "show", "eth0")[1]
    box.kill()
    assert config_of("old").decode() == legacy, "a start changed the file"

    preview = convert(box, dry_run=GLib.Variant("b", True))
    assert config_of("old").decode() == legacy, "a preview changed the file"
    changes = convert(box)
    assert changes == preview
    new = config_of("old").decode()
    assert "line 5: 'lxc.utsname = old' is now 'lxc.uts.name = old'" in changes
    assert "line 6: 'lxc.tty=2' is now 'lxc.tty.max = 2'" in changes
    assert "line 8: 'lxc.kmsg = 0' is left out: LXC has no such key now" in changes
    kept = [line for line in legacy.splitlines(keepends=True)
            if line.startswith(("#", "\n", "not", "lxc.cap", "lxc.mount", "lxc.console"))]
    assert [line for line in new.splitlines(keepends=True) if line in kept] == kept
    assert len(changes) == len(legacy.splitlines()) - len(kept)

    assert "old" in run("lxc-ls", "-1").stdout.split()
    for start, stop in ((lambda: run("lxc-start", "-n", "old"), lambda: run("lxc-stop", "-k", "-n", "old")),
                        (box.start, box.kill)):
        start()
        assert box.execute("hostname") == (0, "old\n", "")
        assert "10.9.8.7" in box.execute("ip", "addr", "show", "eth0")[1]
        stop()
    assert convert(box) == [] and config_of("old").decode() == new


def test_the_keys_are_those_of_lxc_update_config(bus, legacy, tmp_path):
    """Apart from blanks, a default store's prefix that need not be, and comments that stock rewrites, too."""
    stock = tmp_path / "config"
    stock.write_text(legacy + "\n")
    run("lxc-update-config", "-c", str(stock), cwd=tmp_path)
    convert(bus.container("old"))

    def assignments(text):
        return [tuple(part.strip().removeprefix("dir:") for part in line.split("=", 1))
                for line in text.splitlines() if line.strip().startswith("lxc.")]

    assert assignments(config_of("old").decode()) == assignments(stock.read_text())


def test_a_stale_revision_is_a_conflict(bus, legacy):
    box = bus.container("old")
    _, revision = box.call("GetConfig")
    containers.append_config("old", "", "# more")
    before = config_of("old")
    with refused("Conflict"):
        convert(box, revision=GLib.Variant("t", revision))
    assert config_of("old") == before
    assert convert(box, revision=GLib.Variant("t", box.call("GetConfig")[1])) != []


def test_a_modern_config_is_not_written(bus):
    containers.create_stock("st")
    before = os.stat(config_path("st"))
    assert convert(bus.container("st")) == []
    after = os.stat(config_path("st"))
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_included_files_stay_and_are_named(bus, legacy, tmp_path):
    common = tmp_path / "common.conf"
    common.write_text("# of the house\nlxc.aa_profile = unconfined\n")
    containers.append_config("old", "", f"lxc.include = {common}")
    changes = convert(bus.container("old"))
    assert f"{common}, line 2: lxc.aa_profile is not changed, since the file is only included" in changes
    assert common.read_text() == "# of the house\nlxc.aa_profile = unconfined\n"


def test_a_broken_config_is_refused_with_its_line(bus, legacy):
    containers.append_config("old", "", "lxc.nonsense = 1")
    before = config_of("old")
    with refused("InvalidConfig") as caught:
        convert(bus.container("old"))
    assert "lxc.nonsense" in caught[0].message
    assert config_of("old") == before


def test_it_is_known_since_when_a_container_runs(bus):
    box = bus.create("box", template="busybox")
    assert box.get("StartedAt") == 0
    before = time.time()
    box.start()
    started = box.get("StartedAt") / 1e6
    # The kernel tells it to the hundredth of a second.
    assert before - 0.05 <= started <= time.time() + 0.05
    box.call("Freeze", "(a{sv})", {})
    assert box.get("StartedAt") / 1e6 == started
    box.kill()
    assert box.get("StartedAt") == 0
    run("lxc-start", "-n", "box")
    assert box.get("StartedAt") / 1e6 > started
