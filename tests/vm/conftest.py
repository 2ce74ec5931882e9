"""The tests in guest/ run inside a virtual machine, one for all of them, in which
Gantry is installed; they are collected and reported here as if they ran here. The
others do run here, and boot machines themselves (machine.py).
"""

import json
import os
import shlex
import shutil
import signal
import sys
import time

import pytest

from machine import TOP, Machine, Trouble

# What the system tests share.
sys.path.append(os.path.join(TOP, "tests"))

GUEST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guest")
PICTURES = os.path.join(TOP, "target", "pictures")
INSIDE = "GANTRY_INSIDE" in os.environ
# No test may take longer, not even on a host that does much else; one that boots
# machines itself takes twice as long.
TEST_SECONDS = 600


def pytest_configure(config):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if INSIDE:
        config.pluginmanager.register(Teller(config))


def pytest_collection_finish(session):
    names = [item.nodeid for item in session.items if in_guest(item)]
    if names and not INSIDE and not session.config.option.collectonly:
        session.config.pluginmanager.register(Listener(session.config, names))


def in_guest(item):
    return str(item.path).startswith(GUEST + os.sep)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    def stop(_signal, _frame):
        raise TimeoutError(f"{item.nodeid} took too long")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(TEST_SECONDS if INSIDE else 0 if in_guest(item) else 2 * TEST_SECONDS)
    try:
        return (yield)
    finally:
        signal.alarm(0)


class Teller:
    """Inside: writes each report as a line for the host."""

    def __init__(self, config):
        self.config = config
        self.file = open("/mnt/reports", "w")

    def pytest_runtest_logreport(self, report):
        hook = self.config.hook
        self.file.write(json.dumps(hook.pytest_report_to_serializable(config=self.config, report=report)) + "\n")
        self.file.flush()


class Listener:
    """Outside: runs the guest's tests in a machine, and passes on its reports."""

    def __init__(self, config, names):
        self.config, self.names = config, names
        self.machine = self.number = self.trouble = None
        self.told, self.read = {}, 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item):
        if not in_guest(item):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self.reports(item):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        if item.nodeid == self.names[-1]:
            self.finish()
        return True

    def reports(self, item):
        """A test's reports, as soon as the machine has ended it; or one of what went wrong."""
        try:
            if self.trouble:
                raise Trouble("not run: see the first test that failed")
            if self.machine is None:
                self.begin()
            return self.wait(item.nodeid)
        except Trouble as trouble:
            self.trouble = trouble
            return [pytest.TestReport(item.nodeid, item.location, {}, "failed", str(trouble), "call")]

    def begin(self):
        self.machine = Machine()
        self.machine.begin()
        self.number = self.machine.send(
            "cd /checkout/tests/vm; export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/dbus/system_bus_socket GANTRY_INSIDE=1\n"
            f"exec python3 -B -m pytest -p no:cacheprovider {shlex.join(self.names)}")

    def wait(self, name):
        end = time.monotonic() + TEST_SECONDS + 60
        while not any(report.when == "teardown" for report in self.told.get(name, [])):
            ended = self.machine.ended(self.number)
            if not self.listen() and (ended or time.monotonic() > end):
                raise self.machine.trouble(f"{name} did not end", self.machine.output(self.number))
            time.sleep(0.2)
        return self.told[name]

    def listen(self):
        """Takes in the lines that are new; whether there were any."""
        try:
            text = self.machine.read("reports")
        except FileNotFoundError:
            return False
        whole = text.rfind("\n") + 1
        lines, self.read = text[self.read:whole].splitlines(), whole
        for line in lines:
            report = self.config.hook.pytest_report_from_serializable(config=self.config, data=json.loads(line))
            self.told.setdefault(report.nodeid, []).append(report)
        return bool(lines)

    def pytest_sessionfinish(self):
        self.finish()

    def finish(self):
        """Ends the machine, which would take the others' processors, and keeps its pictures."""
        if self.machine:
            taken = os.path.join(self.machine.share, "pictures")
            if os.path.isdir(taken):
                shutil.copytree(taken, PICTURES, dirs_exist_ok=True)
            self.machine.close()
            self.machine = None
