"""Fixtures of the tests inside the virtual machine. What the system tests share is
here too: gantry.py, containers.py, terminals.py, bus/people.py and bus/agent.py.
"""

import os
import sys

import pytest

TESTS = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [TESTS, os.path.join(TESTS, "bus")]

import containers  # noqa: E402
import gantry  # noqa: E402


@pytest.fixture
def bus():
    connection = gantry.Bus()
    yield connection
    connection.close()


@pytest.fixture(autouse=True)
def nothing_left():
    """Leaves no container behind, whoever made it and however the test ended, but
    those that a module shares."""
    yield
    if not os.path.isdir(gantry.LXC_PATH):
        return
    connection = gantry.Bus()
    for name in set(connection.list()) - containers.SHARED:
        connection.container(name).destroy(300, force=True, snapshots=True)
    connection.close()
