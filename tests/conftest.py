"""Fixtures of the whole-system tests, which run inside `./dev sandbox`."""

import os
import shutil
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

import gantry  # noqa: E402


def pytest_configure(config):
    if "GANTRY_NETNS" not in os.environ:
        pytest.exit("these tests need the sandbox: ./dev test, or ./dev sandbox pytest tests", 2)


@pytest.fixture
def bus():
    connection = gantry.Bus()
    yield connection
    connection.close()


@pytest.fixture(autouse=True)
def nothing_left():
    """Leaves no container behind, whoever made it and however the test ended."""
    yield
    names = [name for name in os.listdir(gantry.LXC_PATH) if not name.startswith(".")]
    for name in names:
        gantry.run("lxc-stop", "-k", "-n", name, check=False)
        gantry.run("lxc-destroy", "-f", "-s", "-n", name, check=False)
        shutil.rmtree(os.path.join(gantry.LXC_PATH, name), ignore_errors=True)


@pytest.fixture(scope="session")
def log():
    """The path of the log that bus, polkitd and helper write to."""
    return os.environ["GANTRY_LOG"]
