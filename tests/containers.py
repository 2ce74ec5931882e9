"""What tests of real containers share: making them, looking into them, and the
traces that a container leaves on its host while it runs.
"""

import glob
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager

import gantry
from gantry import LXC_PATH, run, until

DAEMONS = {"gantry-helper", "polkitd", "dbus-daemon", "dnsmasq"}
SHARED = set()


# --- making

@contextmanager
def shared(name, stock=False, start=True, **options):
    """A container for the tests of one module; with `stock`, made by lxc-create."""
    SHARED.add(name)
    bus = gantry.Bus()
    try:
        if stock:
            create_stock(name)
            container = bus.container(name)
            if start:
                container.start()
        else:
            container = bus.create(name, template="busybox", start=start, **options)
        yield container
    finally:
        SHARED.discard(name)
        destroy(name)
        bus.close()


def create_stock(name, *config):
    """A busybox container made by stock LXC; extra lines go to the end of its config."""
    run("lxc-create", "-n", name, "-t", "busybox")
    if config:
        append_config(name, *config)


def append_config(name, *lines):
    with open(config_path(name), "a") as file:
        file.writelines(line + "\n" for line in lines)


def config_path(name):
    return os.path.join(LXC_PATH, name, "config")


def config_of(name):
    with open(config_path(name), "rb") as file:
        return file.read()


def write_container(name, config):
    """A container that is nothing but a config file."""
    # Seen whole or not at all, however soon it is looked for.
    os.makedirs(os.path.join(LXC_PATH, f".{name}", "rootfs"))
    with open(config_path(f".{name}"), "w") as file:
        file.write(config)
    os.rename(os.path.join(LXC_PATH, f".{name}"), os.path.join(LXC_PATH, name))


def destroy(name):
    # Stock LXC leaves a dataset that another was cloned of.
    if "GANTRY_INSIDE" in os.environ or not shutil.which("lxc-destroy"):
        bus = gantry.Bus()
        if name in bus.list():
            bus.container(name).destroy(300, force=True, snapshots=True)
        bus.close()
        return
    run("lxc-stop", "-k", "-n", name, check=False)
    run("lxc-destroy", "-f", "-s", "-n", name, check=False)
    run("rm", "-rf", "--one-file-system", os.path.join(LXC_PATH, name), check=False)


@contextmanager
def bridge(name="lxcbr0", address="10.0.3.1/24"):
    run("ip", "link", "add", name, "type", "bridge")
    try:
        run("ip", "addr", "add", address, "dev", name)
        run("ip", "link", "set", name, "up")
        yield name
    finally:
        run("ip", "link", "del", name)


# --- looking

def helper_pid(bus):
    """The helper's process, activated if need be."""
    bus.list()
    return ask_bus(bus, "GetConnectionUnixProcessID")


def ask_bus(bus, method):
    """A question to the bus itself about the helper's name."""
    return bus.connection.call_sync(
        "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", method,
        gantry.GLib.Variant("(s)", (gantry.NAME,)), None, gantry.Gio.DBusCallFlags.NONE, -1, None).unpack()[0]


def kill_helper(bus):
    """SIGKILL; returns when the bus knows that it is gone, so that the next call starts another."""
    pid = helper_pid(bus)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not ask_bus(bus, "NameHasOwner"))
    return pid


def status_of(pid, field):
    """A field of /proc/PID/status."""
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            key, _, value = line.partition(":")
            if key == field:
                return value.strip()


def monitor_pid(container):
    return int(status_of(container.get("InitPid"), "PPid"))


def capabilities(pid, which="CapBnd"):
    """The names of a process's capabilities, as LXC spells them."""
    mask = status_of(pid, which)
    decoded = run("capsh", f"--decode={mask}").stdout.strip().partition("=")[2]
    return {name.removeprefix("cap_") for name in decoded.split(",") if name}


def in_group(name, file):
    """What the kernel has in a container's control group, found without Gantry."""
    (path,) = glob.glob(f"/sys/fs/cgroup/**/lxc.payload.{name}/{file}", recursive=True)
    with open(path) as opened:
        return opened.read().strip()


def opens(container, device):
    """Whether a program in the container may read a device."""
    status, _out, errors = container.execute("sh", "-c", f": <{device}")
    assert status == 0 or "not permitted" in errors, errors
    return status == 0


def answers(address, seconds=5):
    """Whether somebody answers a ping; a new wire takes a moment to carry."""
    return until(lambda: run("ping", "-c1", "-W1", address, check=False).returncode == 0, seconds)


def catches(pid, number, seconds=5):
    """Waits until a process has a handler for the signal."""
    return until(lambda: int(status_of(pid, "SigCgt"), 16) >> (number - 1) & 1, seconds)


def booted(container, seconds=5):
    """Waits until busybox's init is through its start and listens to signals."""
    return until(lambda: "getty" in container.execute("ps")[1], seconds)


def namespace(pid, kind):
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def tree(folder):
    """Everything below a folder: name to kind, mode, owner, size and content's end."""
    seen = {}
    for at, folders, files in os.walk(folder):
        for name in [".", *folders, *files]:
            path = os.path.join(at, name)
            info = os.lstat(path)
            link = os.readlink(path) if os.path.islink(path) else ""
            data = b""
            if os.path.isfile(path) and not link and info.st_size < 1 << 16:
                with open(path, "rb") as file:
                    data = file.read()
            seen[os.path.relpath(path, folder)] = (info.st_mode, info.st_uid, info.st_gid, link, data)
    return seen


def processes():
    """Processes of this system other than its daemons and those inside containers."""
    own = namespace("self", "pid")
    seen = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                command = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
            if namespace(pid, "pid") != own or not command or status_of(pid, "State").startswith("Z"):
                continue
            with open(f"/proc/{pid}/comm") as file:
                comm = file.read().strip()
        except OSError:
            continue
        if comm not in DAEMONS and int(pid) != os.getpid():
            seen.add(f"process {pid} {command}")
    return seen


def traces():
    """What running containers and work on them leave on the host."""
    seen = processes()
    cgroups = run("find", "/sys/fs/cgroup", "-type", "d", "-name", "lxc.*", "-not", "-name", "lxc.pivot", check=False)
    seen |= {f"cgroup {path}" for path in cgroups.stdout.split() if "lxc." in os.path.basename(path)}
    seen |= {"link " + name for name in os.listdir("/sys/class/net")}
    with open("/proc/self/mountinfo") as file:
        seen |= {"mount " + line.split()[4] for line in file}
    with open("/proc/net/unix") as file:
        seen |= {"socket " + line.split()[-1] for line in file if f"@{LXC_PATH}/" in line or "@lxc/" in line}
    sessions = "/run/gantry/sessions"
    if os.path.isdir(sessions):
        seen |= {"session " + name for name in os.listdir(sessions)}
    seen |= {"folder " + name for name in os.listdir(LXC_PATH) if name.startswith(".gantry")}
    return seen


def assert_no_traces(before, seconds=5):
    """Nothing is there that was not before, but for what a module shares."""
    own = re.compile("|".join(rf"lxc\.\w+\.{name}(-\d+)?$|--name {name}$|^process \d+ \[lxc monitor\] \S+ {name}$|/{name}/command$" for name in SHARED) or "$^")
    end = time.monotonic() + seconds
    while extra := {trace for trace in traces() - before if not own.search(trace)}:
        assert time.monotonic() < end, "left behind: " + ", ".join(sorted(extra))
        time.sleep(0.05)


@contextmanager
def background(*argv, **more):
    """A process that is ended with the block."""
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, **more)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def refused(*names):
    """The block must be refused with one of these errors; gives the refusal in a list."""
    caught = []
    try:
        yield caught
    except gantry.Refused as error:
        assert error.name in names, f"refused with {error}, not with {' or '.join(names)}"
        assert error.message.strip(), "the error says nothing"
        caught.append(error)
    else:
        raise AssertionError("not refused, but " + " or ".join(names) + " was expected")
