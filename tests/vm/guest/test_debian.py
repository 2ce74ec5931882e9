"""A Debian container on a Debian host: systemd in both, cgroup version 2. LXC is not
installed, and the container has what Gantry gives one by default."""

import pytest

import containers
import gantry
from archives import create_local
from gantry import until


@pytest.fixture(scope="module", params=[False, True], ids=["mapped", "privileged"])
def debian(request):
    bus = gantry.Bus()
    containers.SHARED.add("debian")
    try:
        with open("/var/lib/gantry-test/debian-13.tar", "rb") as archive:
            container = create_local(bus, "debian", archive.fileno(), 300, privileged=request.param)
        container.start()
        yield container
    finally:
        containers.SHARED.discard("debian")
        bus.container("debian").destroy(300, force=True)
        bus.close()


def test_it_boots_to_running(debian):
    def ended():
        state = debian.execute("systemctl", "is-system-running", "--wait", seconds=300)[1].strip()
        return state if state in ("running", "degraded", "maintenance") else None

    state = until(ended, 300)
    _, failed, _ = debian.execute("systemctl", "--failed", "--no-legend", "--plain", seconds=60)
    assert (state, failed) == ("running", "")
    assert debian.execute("stat", "--file-system", "--format=%T", "/sys/fs/cgroup")[1] == "cgroup2fs\n"
    # Its systemd makes groups of its own.
    status, _, errors = debian.execute("systemd-run", "--wait", "--unit=trial", "grep", "trial", "/proc/self/cgroup",
                                       seconds=120)
    assert status == 0, errors
