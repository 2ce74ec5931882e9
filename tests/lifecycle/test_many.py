"""Many containers at once."""

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

import containers
import gantry
from gantry import LXC_PATH

COUNT = 200


@pytest.fixture
def many(bus):
    """So many containers with one root file system; nothing but a config each."""
    with containers.shared("base", start=False):
        text = re.sub(r"(?m)^lxc\.net\..*\n", "", containers.config_of("base").decode())
        names = [f"many{number}" for number in range(COUNT)]
        try:
            for name in names:
                os.mkdir(f"{LXC_PATH}/{name}")
                with open(containers.config_path(name), "w") as file:
                    file.write(re.sub(r"(?m)^(lxc.uts.name = ).*", rf"\g<1>{name}", text))
                    file.write("lxc.net.0.type = empty\nlxc.init.cmd = /bin/sleep 1000\n")
            bus.list()
            yield names
        finally:
            for name in names:
                shutil.rmtree(f"{LXC_PATH}/{name}", ignore_errors=True)


def test_two_hundred_started_and_killed_at_once(bus, many):
    before = containers.traces()
    # The bus allows a connection 128 calls without an answer.
    connections = gantry.Bus(), gantry.Bus()
    boxes = [connections[number % 2].container(name) for number, name in enumerate(many)]

    def each(method):
        def call(box):
            box.call(method, "(a{sv})", {}, timeout=100)

        with ThreadPoolExecutor(COUNT) as pool:
            list(pool.map(call, boxes))
        return {state for name, state in bus.list().items() if name in many}

    assert each("Start") == {"RUNNING"}
    assert each("Kill") == {"STOPPED"}
    for connection in connections:
        connection.close()
    containers.assert_no_traces(before, 20)
