"""Starts cut at every step: a system call of monitor or init fails, or is their end.
However far a start has come, nothing of it stays behind.

The monitor is run as the helper runs it, but under strace, which counts the calls of
each process and lets one fail. The containers are named after that call, so that what
is left tells whose it is.
"""

import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

import containers
import gantry
from gantry import LXC_PATH, until

# What the calls of a start do, and how many of each there are, about: the first, one in
# the midst and the last are tried. (Calls that a clean-up makes as well are not the
# last ones, as two faults at once may leave something to the helper.)
STEPS = {
    "sockets": {"bind": [1, 2], "listen": [1], "signalfd4": [1], "socketpair": [1], "recvmsg": [1], "setsid": [1]},
    "groups": {"mkdirat": [1, 5, 10], "fchownat": [1, 30], "fchmodat": [1, 30]},
    "namespaces": {"clone3": [1], "setns": [1, 2], "unshare": [1], "setgroups": [1], "setresuid": [1], "chdir": [1, 2]},
    "root": {"open_tree": [1, 2, 8, 15], "mount_setattr": [1, 2, 4, 6], "pivot_root": [1], "umount2": [1], "fchdir": [1]},
    "mounts": {"fsopen": [1, 3, 6], "fsconfig": [1, 9, 18], "fsmount": [1, 6], "move_mount": [1, 5, 10, 15, 20, 22]},
    "wires": {"sendto": [1, 2, 3, 5, 7, 9], "recvfrom": [1, 4], "connect": [1]},
    "init": {"sethostname": [1], "keyctl": [1], "symlinkat": [1, 4], "personality": [1], "capset": [1],
             "prctl": [1, 3, 6, 9], "sendmsg": [2, 3], "ioctl": [1, 6]},
    "files": {"write": [2, 5, 9, 14], "openat2": [1, 8, 20], "mknodat": [1, 3], "prlimit64": [1], "seccomp": [1]},
}
CONFIG = """lxc.net.0.type = veth
lxc.net.0.link = lxcbr0
lxc.net.0.flags = up
lxc.net.0.ipv4.address = 10.0.3.{number}/24
lxc.mount.entry = /etc/lxc mnt none ro,bind,create=dir 0 0
lxc.hook.pre-start = /bin/true
lxc.hook.start-host = /bin/true
lxc.hook.mount = /bin/true
lxc.hook.autodev = /bin/true
lxc.hook.stop = /bin/true
lxc.hook.post-stop = /bin/true
lxc.tty.max = 2
lxc.proc.oom_score_adj = 10
lxc.prlimit.nofile = 500
lxc.sysctl.net.ipv4.conf.eth0.forwarding = 0
lxc.cgroup.pids.max = 100
lxc.cgroup.devices.allow = c 10:200 rw
lxc.init.cmd = /bin/sleep 1000
"""


@pytest.fixture(scope="module")
def base():
    with containers.shared("base", start=False), containers.bridge():
        yield containers.config_of("base").decode()


@pytest.fixture
def cases(bus, base):
    """Makes containers for the calls of some steps, all with one root file system."""
    made = []

    def make(steps):
        calls = [(call, number) for call, numbers in STEPS[steps].items() for number in numbers]
        for index, (call, number) in enumerate(calls):
            name = f"{call.replace('_', '-')}-{number}"
            text = re.sub(r"(?m)^lxc\.net\..*\n", "", base)
            text = re.sub(r"(?m)^(lxc.uts.name = ).*", rf"\g<1>{name}", text) + CONFIG.format(number=100 + index)
            os.mkdir(f"{LXC_PATH}/{name}")
            made.append(name)
            with open(containers.config_path(name), "w") as file:
                file.write(text)
        bus.list()
        return list(zip(made, calls))

    yield make
    for name in made:
        shutil.rmtree(f"{LXC_PATH}/{name}")


def monitor(bus):
    return os.path.join(os.path.dirname(os.readlink(f"/proc/{containers.helper_pid(bus)}/exe")), "gantry-monitor")


def start(program, name, call, number, injected):
    """Runs a monitor; gives its last word and whether the fault has happened."""
    log = f"/run/{name}.strace"
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # It is offered nothing.
    ours.shutdown(socket.SHUT_WR)
    process = subprocess.Popen(
        ["strace", "-f", "-o", log, "-e", f"trace={call}", "-e", f"inject={call}:{injected}:when={number}",
         program, "run", "--lxcpath", LXC_PATH, "--name", name],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.dup2(theirs.fileno(), 3), close_fds=False)
    theirs.close()
    said, ended = None, os.pidfd_open(process.pid)
    while not (said and said["type"] in ("running", "failed")):
        # strace has the socket, too: that it closes is no sign.
        ready, _, _ = select.select([ours, ended], [], [], 60)
        assert ready, f"{name} neither runs nor has failed"
        message = ours.recv(1 << 16) if ours in ready else b""
        if message:
            said = json.loads(message)
        elif ended in ready:
            break
    if said and said["type"] == "running":
        bus = gantry.Bus()
        try:
            bus.container(name).kill()
        except gantry.Refused as refused:
            # A fault may come after all.
            assert refused.name == "WrongState", refused
        finally:
            bus.close()
    process.wait(60)
    os.close(ended)
    ours.close()
    with open(log) as file:
        # A call that is the end does not return, and is not marked.
        hit = "INJECTED" in file.read() or not said or said["type"] != "running"
    os.unlink(log)
    return said, hit


def cut(bus, cases, injected):
    """Starts them all; gives the last word of each monitor that was hit."""
    program = monitor(bus)
    with ThreadPoolExecutor(4) as pool:
        ends = pool.map(lambda case: start(program, case[0], *case[1], injected), cases)
    words = {name: said for (name, _call), (said, hit) in zip(cases, ends) if hit}
    # That a call has gone out of use may happen, but not with most.
    assert len(words) * 2 > len(cases), f"only {sorted(words)} were hit"
    return words


@pytest.mark.parametrize("steps", STEPS)
def test_a_call_that_fails(bus, cases, steps):
    before = containers.traces()
    for name, said in cut(bus, cases(steps), "error=EIO").items():
        assert said, f"{name} ended without a word"
        if said["type"] == "failed":
            assert said["step"] and said["message"].endswith("."), said
    containers.assert_no_traces(before)
    until(lambda: "RUNNING" not in bus.list().values())


@pytest.mark.parametrize("steps", STEPS)
def test_a_killed_monitor_or_init(bus, cases, steps):
    """And the helper with it, so that only the next can find what is left."""
    before = containers.traces()
    made = cases(steps)
    cut(bus, made, "signal=KILL")
    os.kill(containers.helper_pid(bus), signal.SIGKILL)
    until(lambda: not containers.ask_bus(bus, "NameHasOwner"))
    until(lambda: set(bus.list().values()) == {"STOPPED"})
    containers.assert_no_traces(before, 30)
    name = made[0][0]
    bus.container(name).start()
    bus.container(name).kill()
