"""Every test here leaves the host as it found it."""

import os

import pytest

# The sandbox's kernel has no device mapper.
collect_ignore = [] if "GANTRY_INSIDE" in os.environ else ["test_failing_volumes.py"]


@pytest.fixture(autouse=True)
def leaves_the_host_as_it_was(request):
    # A whole system has processes that come and go by themselves.
    if "GANTRY_INSIDE" not in os.environ:
        request.getfixturevalue("no_traces")
    yield
