"""Every test here leaves the host as it found it."""

import pytest


@pytest.fixture(autouse=True)
def leaves_the_host_as_it_was(no_traces):
    yield
