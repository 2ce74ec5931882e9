"""Gantry on a real systemd: that of a Debian container, which is the host here."""

import json
import os
import re

import pytest

import containers
from archives import create_local
from gantry import LXC_PATH, run, until

TAR = os.environ.get("GANTRY_DEBIAN_TAR", "")
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
pytestmark = pytest.mark.skipif(not os.path.exists(TAR), reason="GANTRY_DEBIAN_TAR names no Debian root file system")

WORDS = """
manager='/io/gantry/Gantry1 io.gantry.Gantry1.Manager'
gantry() { busctl --timeout=60 call io.gantry.Gantry1 "$@"; }
job() {
    gantry "$(gantry $manager "$@" | cut -d '"' -f 2)" io.gantry.Gantry1.Job Wait x 60000 | grep -q '"done"'
}
set -eu
"""


class Host:
    """The Debian container."""

    def __init__(self, container):
        self.container = container
        self.root = f"{LXC_PATH}/{container.name}/rootfs"

    def run(self, script, seconds=100):
        status, output, errors = self.container.execute("bash", "-c", WORDS + script, seconds=seconds)
        assert status == 0, f"{script}\n{output}{errors}"
        return output

    def shows(self, unit, name):
        return self.run(f"systemctl show -P {name} {unit}").strip()

    def journal(self, *arguments):
        output = self.run(f"journalctl --quiet --no-pager --output=json {' '.join(arguments)}")
        return [json.loads(line) for line in output.splitlines()]

    def file(self, path):
        with open(self.root + path) as file:
            return file.read()


@pytest.fixture(scope="module")
def host():
    bus = containers.gantry.Bus()
    containers.SHARED.add("host")
    try:
        with open(TAR, "rb") as archive:
            host = Host(create_local(bus, "host", archive.fileno(), 120, privileged=True))
        install(host.root)
        host.container.start()
        until(lambda: host.container.execute("systemctl", "is-system-running", "--wait", seconds=60)[1].strip()
              in ("running", "degraded"), 60)
        for name, order in (("one", 1), ("two", 2)):
            host.run(f"job CreateContainer 'sa{{sv}}' {name} 3 template s busybox privileged b true config as 3 "
                     f"'lxc.start.auto = 1' 'lxc.start.order = {order}' 'lxc.group = onboot'")
            with open(f"{host.root}/var/lib/lxc/{name}/rootfs/etc/inittab", "a") as table:
                # What a clean shutdown leaves behind.
                table.write("::shutdown:/bin/sh -c 'echo halted >>/halted'\n")
        yield host
    finally:
        containers.SHARED.discard("host")
        containers.destroy("host")
        bus.close()


def install(root):
    """Puts the helper where a package would, with the libraries that are not there yet."""
    helper = f"/proc/{containers.helper_pid(containers.gantry.Bus())}/exe"
    programs = os.path.dirname(os.path.realpath(helper))
    os.makedirs(f"{root}/usr/libexec/gantry")
    run("cp", f"{programs}/gantry-helper", f"{programs}/gantry-monitor", f"{root}/usr/libexec/gantry/")
    run("cp", f"{TOP}/data/dbus/io.gantry.Gantry1.conf", f"{root}/usr/share/dbus-1/system.d/")
    run("cp", f"{TOP}/data/dbus/io.gantry.Gantry1.service", f"{root}/usr/share/dbus-1/system-services/")
    run("cp", "-r", f"{TOP}/data/systemd/.", f"{root}/usr/lib/systemd/system/")
    run("cp", "-L", "/usr/bin/busybox", f"{root}/usr/bin/")
    for library in re.findall(r"=> (/\S+)", run("ldd", f"{programs}/gantry-helper").stdout):
        run("cp", "--update=none", "-L", library, f"{root}/usr/lib/x86_64-linux-gnu/")
    os.makedirs(f"{root}/etc/lxc")
    with open(f"{root}/etc/lxc/default.conf", "w") as file:
        file.write("lxc.net.0.type = empty\n")


def started(host):
    """Both run, and their inits are through their start."""
    host.run("systemctl start gantry-autostart")
    for name in ("one", "two"):
        host.run(f"""
            gantry $manager StartContainer 'sa{{sv}}' {name} 0 2>/dev/null || true
            until grep -qs getty $(sed 's|.*|/proc/&/cmdline|' $(find /sys/fs/cgroup -path '*lxc.payload.{name}*/cgroup.procs')); do
                sleep 0.05
            done""")
        open(f"{host.root}/var/lib/lxc/{name}/rootfs/halted", "w").close()


def test_containers_that_are_marked_start_as_units_and_the_journal_knows_them(host):
    started(host)
    assert host.shows("gantry-autostart", "ActiveState") == "active"
    for name in ("one", "two"):
        unit = f"gantry-container-{name}"
        assert (host.shows(unit, "ActiveState"), host.shows(unit, "Slice")) == ("active", "gantry.slice")
        monitor = host.shows(unit, "MainPID")
        group = host.shows(unit, "ControlGroup")
        assert f"{group}/lxc.monitor.{name}\n" in host.run(f"cat /proc/{monitor}/cgroup")
        assert host.run(f"readlink /proc/{monitor}/exe").startswith("/memfd:gantry-monitor")
        said = host.journal(f"CONTAINER={name}", "-t gantry-monitor")
        assert any("as init" in entry["MESSAGE"] for entry in said)
    turns = [entry for entry in host.journal("-t gantry-helper") if "in its turn" in entry["MESSAGE"]]
    assert [entry["CONTAINER"] for entry in turns[:2]] == ["one", "two"]
    assert turns[0]["JOB"] == turns[1]["JOB"] and turns[0]["JOB"].startswith("/io/gantry/Gantry1/job/")


def test_the_helper_ends_and_comes_back_without_them(host):
    started(host)
    monitors = host.shows("gantry-container-one gantry-container-two", "MainPID")
    host.run("systemctl kill --signal=KILL gantry-helper; systemctl stop gantry-helper")
    assert host.shows("gantry-container-one gantry-container-two", "MainPID") == monitors
    assert host.run("gantry $manager ListContainers 'a{sv}' 0").count('"RUNNING"') == 2
    assert host.shows("gantry-container-one gantry-container-two", "MainPID") == monitors


def test_the_timer_has_snapshots_taken(host):
    host.run("systemctl start gantry-snapshots.timer")
    assert host.shows("gantry-snapshots.timer", "ActiveState") == "active"
    snapshots = "/io/gantry/Gantry1/container/system/one io.gantry.Gantry1.Snapshots"
    host.run(f"gantry {snapshots} SetSchedule 'a{{sv}}' 1 weekly u 1; systemctl start gantry-snapshots.service")
    assert '"snap0"' in host.run(f"gantry {snapshots} List")
    host.run(f"gantry {snapshots} SetSchedule 'a{{sv}}' 0; systemctl stop gantry-snapshots.timer")
    host.run("rm -r /var/lib/lxc/one/snaps")


def test_systemctl_stop_shuts_a_container_down(host):
    started(host)
    host.run("systemctl stop gantry-container-one")
    assert host.file("/var/lib/lxc/one/rootfs/halted") == "halted\n"
    assert '"one" "system" "STOPPED"' in host.run("gantry $manager ListContainers 'a{sv}' 0")


def test_a_monitor_that_is_killed_takes_all_along_and_a_start_follows(host):
    started(host)
    host.run("""
        kill -KILL $(systemctl show -P MainPID gantry-container-two)
        gantry /io/gantry/Gantry1/container/system/two io.gantry.Gantry1.Container Wait asx 1 STOPPED 60000
        gantry $manager StartContainer 'sa{sv}' two 0""")
    assert host.shows("gantry-container-two", "ActiveState") == "active"


def test_autostart_stops_them_in_the_opposite_order(host):
    started(host)
    host.run("systemctl stop gantry-helper; systemctl stop gantry-autostart")
    ended = [entry["CONTAINER"] for entry in host.journal("-t gantry-helper")
             if "was shut down in its turn" in entry["MESSAGE"]]
    assert ended == ["two", "one"]
    for name in ("one", "two"):
        assert host.file(f"/var/lib/lxc/{name}/rootfs/halted") == "halted\n"
        assert host.shows(f"gantry-container-{name}", "LoadState") == "not-found"
