"""A display and a session bus for the window, and a system bus for a helper that pretends."""

import contextlib
import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from desktop import GANTRY, SYSTEM_BUS, message_bus, pretended_helper, process  # noqa: E402


@pytest.fixture(scope="session")
def driver():
    """The driver, with a display and a session bus around it."""
    read, write = os.pipe()
    # Without -noreset the server starts afresh whenever its last client leaves.
    xvfb = ("Xvfb", "-displayfd", str(write), "-screen", "0", "1280x800x24", "-nolisten", "tcp", "-noreset")
    with process(*xvfb, pass_fds=[write], stderr=subprocess.DEVNULL):
        os.close(write)
        with os.fdopen(read) as ready:
            display = ":" + ready.readline().strip()
        # Before the bus starts: what types the keys is started by it and inherits this.
        os.environ.update(DISPLAY=display, GDK_BACKEND="x11", GSK_RENDERER="cairo", LANG="C.UTF-8")
        with message_bus("--session") as session:
            os.environ["DBUS_SESSION_BUS_ADDRESS"] = session
            import driver

            driver.repeat_no_keys()
            yield driver


@pytest.fixture
def pretended_bus(tmp_path):
    """The address of a system bus on which nothing is."""
    config = tmp_path / "bus.conf"
    config.write_text(SYSTEM_BUS)
    with message_bus(f"--config-file={config}") as address:
        yield address


@pytest.fixture
def pretend(driver, pretended_bus):
    """Opens the window before a helper that pretends to have these containers."""
    with contextlib.ExitStack() as stack:
        def start(*containers, **env):
            env["DBUS_SYSTEM_BUS_ADDRESS"] = pretended_bus
            helper = stack.enter_context(pretended_helper(pretended_bus, *containers))
            app = stack.enter_context(driver.running(GANTRY, env=env))
            app.helper = helper
            return app

        yield start


@pytest.fixture
def web(driver, bus):
    """The window on the real helper, with the container web1 selected."""
    bus.create("web1")
    with driver.running(GANTRY) as app:
        app.select("web1")
        yield app
