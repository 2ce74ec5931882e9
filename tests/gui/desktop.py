"""What the window needs around it: processes, message buses, a helper that pretends."""

import contextlib
import os
import subprocess
import sys

HERE = os.path.dirname(__file__)
GANTRY = os.environ.get("GANTRY_APP", os.path.join(HERE, "..", "..", "target", "bin", "gantry"))

SYSTEM_BUS = """<busconfig>
<type>system</type><listen>unix:tmpdir=/tmp</listen><auth>EXTERNAL</auth>
<policy context="default">
  <allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
  <allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
  <allow receive_type="method_call"/><allow receive_type="method_return"/>
  <allow receive_type="error"/><allow receive_type="signal"/>
</policy>
</busconfig>"""


@contextlib.contextmanager
def process(*command, **more):
    started = subprocess.Popen(command, **more)
    try:
        yield started
    finally:
        started.terminate()
        started.wait(10)


@contextlib.contextmanager
def message_bus(*options):
    """A message bus of one's own; its address."""
    command = ("dbus-daemon", "--nofork", "--print-address", *options)
    with process(*command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as daemon:
        yield daemon.stdout.readline().strip()


def pretended_helper(bus, *containers):
    command = (sys.executable, os.path.join(HERE, "fake_helper.py"), *containers)
    env = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": bus}
    return process(*command, env=env, stdout=subprocess.PIPE, text=True)
