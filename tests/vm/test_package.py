"""The Debian package on a clean system: installed, upgraded while containers run,
killed under load, removed and purged. The tests of this module are steps, one after
the other, in one machine.
"""

import re
import shutil
import subprocess

import pytest

from machine import TOP, Machine

# Python in the machine, as the tests of the guest have it.
PYTHON = """python3 -B - <<'END'
import os, sys
os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = "unix:path=/run/dbus/system_bus_socket"
sys.path.insert(0, "/checkout/tests")
import gantry
bus = gantry.Bus()
{}
END
"""
# What is ours by its name, but for the tests' own things and systemd's notes on units.
OURS = "find / /run -xdev -iname '*gantry*' ! -path '/run/systemd/*' | grep -v gantry-test || true"


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    packages = tmp_path_factory.mktemp("packages")
    subprocess.run(["env", "DPKG_DEB_COMPRESSOR_TYPE=none", f"{TOP}/data/debian/build", f"{TOP}/target/bin", packages], check=True)
    (package,) = packages.glob("*.deb")
    make_next(package, packages / "next.deb")
    with Machine(clean=True) as machine:
        shutil.copy(package, f"{machine.share}/gantry.deb")
        shutil.copy(packages / "next.deb", machine.share)
        yield machine


def make_next(package, path):
    """The same package with a higher version, which its helper says too."""
    folder = f"{path}.d"
    subprocess.run(["dpkg-deb", "-R", package, folder], check=True)
    control, helper = f"{folder}/DEBIAN/control", f"{folder}/usr/libexec/gantry/gantry-helper"
    with open(control) as file:
        version = re.search("^Version: (.*)$", file.read(), re.M).group(1)
    # Of the same length, so that nothing in the program moves.
    other = version[:-1] + "9"
    for name in (control, helper):
        with open(name, "rb") as file:
            content = file.read()
        with open(name, "wb") as file:
            file.write(content.replace(version.encode(), other.encode()))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", folder, path], check=True, stdout=subprocess.DEVNULL)


def python(machine, code, seconds=300):
    return machine.run(PYTHON.format(code), seconds).split()


def test_a_clean_system_gets_it_by_one_command(machine):
    assert machine.run(OURS) == ""
    machine.run("dpkg -i /mnt/gantry.deb")
    assert machine.run("dpkg --verify gantry; dpkg-query -W -f '${db:Status-Status}' gantry") == "installed"
    assert machine.run("systemctl --failed --quiet; systemctl is-active gantry-helper || true") == "inactive\n"


def test_the_bus_starts_the_helper_and_a_container_runs(machine):
    pid, version = python(machine, """
bus.create("web", 300, template="busybox", start=True)
print(bus.container("web").get("InitPid"), bus.get(gantry.ROOT, "Manager", "Version"))
""")
    assert int(pid) > 1
    assert machine.run("dpkg-query -W -f '${Version}' gantry") == version
    assert machine.run("systemctl is-active gantry-helper") == "active\n"


def test_an_upgrade_stops_no_container_and_a_new_helper_takes_over(machine):
    look = 'web = bus.container("web"); print(web.state, web.get("InitPid"), bus.get(gantry.ROOT, "Manager", "Version"))'
    state, pid, old = python(machine, look)
    assert state == "RUNNING"
    machine.run("dpkg -i /mnt/next.deb")
    after = python(machine, look)
    assert after[:2] == [state, pid]
    assert after[2] == machine.run("dpkg-query -W -f '${Version}' gantry") != old
    # The one that went on is held as before: its console, its command socket, its end.
    assert python(machine, 'print(bus.container("web").execute("echo", "here", seconds=120)[:2])') == ["(0,", "'here\\n')"]
    python(machine, 'web = bus.container("web"); web.kill(); web.wait("STOPPED", seconds=120); web.start()')


def test_a_helper_that_is_killed_under_load_is_followed_by_one_that_knows_all(machine):
    """Creations and starts are under way; each either happened or did not."""
    before, *lines = python(machine, """
web = bus.container("web")
before = web.get("InitPid")
for number in range(4):
    bus.create(f"ready{number}", 300, template="busybox")
for number in range(4):
    bus.manager("CreateContainer", "(sa{sv})", f"new{number}", gantry.options(template="busybox", start=True))
    bus.connection.call(gantry.NAME, f"{gantry.ROOT}/container/system/ready{number}", gantry.NAME + ".Container", "Start",
        gantry.GLib.Variant("(a{sv})", ({},)), None, gantry.Gio.DBusCallFlags.NONE, -1, None, None)
bus.connection.flush_sync(None)
gantry.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "gantry-helper.service")
gantry.until(lambda: gantry.run("systemctl", "is-active", "gantry-helper", check=False).stdout != "active\\n", 60)
later = gantry.Bus()
states = later.list()
assert states.pop("web") == "RUNNING"
print(before, later.container("web").get("InitPid"), *states)
""", 600)
    after, *names = lines
    assert after == before
    assert {f"ready{number}" for number in range(4)} <= set(names)
    # What is there is whole: it runs, or it can be started.
    for name in names:
        python(machine, f"""
container = bus.container("{name}")
try:
    container.start()
except gantry.Refused as refused:
    assert refused.name == "WrongState", refused
container.wait("RUNNING", seconds=120)
assert container.execute("true", seconds=120)[0] == 0
""")
    # And nothing is left of what did not happen.
    folders = machine.run("ls -A /var/lib/lxc").split()
    assert set(folders) == {"web", *names}, folders


def test_removing_it_shuts_containers_down_and_keeps_them(machine):
    before = machine.run("cd /var/lib/lxc; find . | sort")
    machine.run("dpkg -r gantry", 600)
    assert machine.run("pgrep -af gantry | grep -v gantry-test || true") == ""
    # Until it is purged, the system remembers that the autostart is enabled.
    states = "active,activating,deactivating,failed"
    assert machine.run(f"systemctl list-units --state={states} --no-legend 'gantry*' | grep -v gantry-test || true") == ""
    assert machine.run("cd /var/lib/lxc; find . | sort") == before


def test_purging_it_leaves_nothing_but_the_containers(machine):
    machine.run("dpkg -P gantry")
    assert machine.run(OURS) == ""
    assert "web" in machine.run("ls /var/lib/lxc").split()
    # They are still the user's to run: installed again, it finds them.
    machine.run("dpkg -i /mnt/gantry.deb")
    assert python(machine, 'bus.container("web").start(); print(bus.list()["web"])') == ["RUNNING"]
