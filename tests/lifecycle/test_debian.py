"""A whole Debian with systemd, from a tar of mmdebstrap."""

import os
import time

import pytest

import containers
from archives import create_local
from gantry import Job, run, until
from terminals import open_console

TAR = os.environ.get("GANTRY_DEBIAN_TAR", "")
pytestmark = pytest.mark.skipif(not os.path.exists(TAR), reason="GANTRY_DEBIAN_TAR names no Debian root file system")


@pytest.fixture(scope="module", params=[False, True], ids=["mapped", "privileged"])
def debian(request):
    bus = containers.gantry.Bus()
    containers.SHARED.add("debian")
    try:
        with open(TAR, "rb") as archive:
            yield create_local(bus, "debian", archive.fileno(), 120, privileged=request.param)
    finally:
        containers.SHARED.discard("debian")
        containers.destroy("debian")
        bus.close()


@pytest.fixture
def running(debian):
    if debian.state == "STOPPED":
        debian.start()
    booted(debian)
    return debian


def booted(container):
    """Waits until systemd says that it is, and that nothing has failed."""
    def ended():
        state = container.execute("systemctl", "is-system-running", "--wait", seconds=60)[1].strip()
        return state if state in ("running", "degraded", "maintenance") else None

    state = until(ended, 30)
    _, failed, _ = container.execute("systemctl", "--failed", "--no-legend", "--plain")
    assert (state, failed) == ("running", "")


def test_it_boots_to_running(running):
    assert running.execute("cat", "/proc/1/comm")[1] == "systemd\n"
    assert running.execute("systemd-detect-virt")[1] == "lxc\n"


def test_its_console_has_a_login(running):
    console, session = open_console(running)
    with console:
        console.send("\n")
        console.expect("login:", 20)
        running.bus.call(session, "Session", "Close")


def test_services_have_groups_of_their_own_and_can_be_run(running):
    status, _, errors = running.execute("systemd-run", "--wait", "--unit=trial", "sh", "-c", "grep trial /proc/self/cgroup")
    assert status == 0, errors


def test_stock_tools_see_the_same(running):
    assert run("lxc-attach", "-n", "debian", "--", "systemctl", "is-system-running").stdout == "running\n"
    assert "RUNNING" in run("lxc-info", "-n", "debian", "-s").stdout


def test_reboot_from_inside_boots_again(running):
    pid, boot = running.get("InitPid"), running.execute("cat", "/proc/sys/kernel/random/boot_id")[1]
    running.execute("systemctl", "reboot")
    until(lambda: running.get("InitPid") not in (0, pid) and running.state == "RUNNING", 30)
    booted(running)
    assert running.execute("cat", "/proc/sys/kernel/random/boot_id")[1] != boot


def test_the_reboot_method_boots_again(running):
    pid = running.get("InitPid")
    Job(running.bus, running.call("Reboot", "(a{sv})", {})).result(60)
    assert running.get("InitPid") not in (0, pid)
    booted(running)


def test_a_clean_stop_ends_it_well_within_its_time(running):
    begun = time.monotonic()
    running.stop()
    assert time.monotonic() - begun < 20
    assert running.state == "STOPPED"
    running.start()
    booted(running)
    _, text, _ = running.execute("systemctl", "is-failed", "*")
    assert "failed" not in text.split()


def test_poweroff_from_inside(running):
    running.execute("sh", "-c", "systemctl poweroff &")
    assert running.wait("STOPPED") == "STOPPED"
