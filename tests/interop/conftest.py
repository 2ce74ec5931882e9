"""Every test here leaves the host as it found it."""

from contextlib import nullcontext

import pytest

from versions import SUITES, Tools, version_2_alone


@pytest.fixture(autouse=True)
def leaves_the_host_as_it_was(no_traces):
    yield


@pytest.fixture(scope="module", params=SUITES)
def tools(request):
    tools = Tools(request.param)
    assert tools("lxc-ls", "--version").stdout.startswith(tools.version)
    # LXC 7 knows control groups of version 2 alone.
    with version_2_alone() if tools.version == "7.0" else nullcontext():
        yield tools
