"""Fixtures of the whole-system tests, which run inside `./dev sandbox`."""

import os
import shutil
import signal
import sys
import time

import pytest

sys.path.insert(0, os.path.dirname(__file__))

import containers  # noqa: E402
import gantry  # noqa: E402


def pytest_configure(config):
    if "GANTRY_NETNS" not in os.environ:
        pytest.exit("these tests need the sandbox: ./dev test, or ./dev sandbox pytest tests", 2)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """No test holds up the others for more than two minutes; the machine is slower."""
    def stop(_signal, _frame):
        raise TimeoutError(f"{item.nodeid} took too long")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(int(os.environ.get("GANTRY_TEST_SECONDS", 120)))
    try:
        return (yield)
    finally:
        signal.alarm(0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """With a failure goes the end of what bus, polkitd and helper have said."""
    report = yield
    if report.failed:
        with open(os.environ["GANTRY_LOG"], errors="replace") as file:
            report.sections.append(("the helper's log", "".join(file.readlines()[-30:])))
    return report


@pytest.fixture
def bus():
    connection = gantry.Bus()
    yield connection
    connection.close()


def clean_up():
    for name in set(os.listdir(gantry.LXC_PATH)) - containers.SHARED:
        if not name.startswith("."):
            containers.destroy(name)
    # What is destroyed is freed behind its deletion, but not if the helper was killed.
    end = time.monotonic() + 3
    while time.monotonic() < end and [name for name in os.listdir(gantry.LXC_PATH) if name.startswith(".gantry-remove")]:
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def nothing_left():
    """Leaves no container behind, whoever made it and however the test ended, but
    those that a module shares."""
    yield
    clean_up()


@pytest.fixture
def no_traces(nothing_left):
    """The host is left as it was: no process, cgroup, link, mount or socket more."""
    before = containers.traces()
    yield before
    clean_up()
    containers.assert_no_traces(before)


@pytest.fixture
def victim():
    """A folder of the host, open to all, which nothing from a container may touch."""
    folder = "/run/victim"
    os.mkdir(folder)
    os.chmod(folder, 0o777)
    with open(f"{folder}/file", "w") as file:
        file.write("of the host")
    os.chmod(f"{folder}/file", 0o666)
    before = containers.tree(folder)
    yield folder
    after = containers.tree(folder)
    shutil.rmtree(folder)
    assert after == before


@pytest.fixture(scope="session")
def log():
    """The path of the log that bus, polkitd and helper write to."""
    return os.environ["GANTRY_LOG"]
