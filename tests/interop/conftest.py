"""Every test here leaves the host as it found it."""

import glob
from contextlib import nullcontext

import pytest

from gantry import run
from versions import SUITES, Tools, version_2_alone


@pytest.fixture(autouse=True)
def leaves_the_host_as_it_was(request, no_traces):
    yield
    # A stock monitor whose container did not start may leave its groups.
    if "[stock" in request.node.name:
        for group in glob.glob("/sys/fs/cgroup/**/lxc.monitor.*", recursive=True):
            run("rmdir", group, check=False)


@pytest.fixture(scope="module", params=SUITES)
def tools(request):
    tools = Tools(request.param)
    assert tools("lxc-ls", "--version").stdout.startswith(tools.version)
    # LXC 7 knows control groups of version 2 alone.
    with version_2_alone() if tools.version == "7.0" else nullcontext():
        yield tools
