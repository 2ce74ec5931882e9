"""Keys that a container takes over while it runs, and those that wait for its next start."""

import os
import socket
import struct

import pytest

import containers
from containers import refused, status_of
from gantry import LXC_PATH, run, until
from terminals import open_console

LOG = "/run/live.log"


@pytest.fixture
def box(bus):
    """A container with a shell that says on its console what it is told."""
    box = bus.create("box", template="busybox", privileged=True, config=["lxc.init.cmd = /says", "lxc.console.buffer.size = 4kB"])
    with open(f"{LXC_PATH}/box/rootfs/says", "w") as file:
        file.write("#!/bin/sh\ntrap 'echo TERM >> /got; exit' TERM\ntrap 'echo USR1 >> /got; exit' USR1\n"
                   "while read line; do eval \"$line\"; done\n")
    os.chmod(f"{LXC_PATH}/box/rootfs/says", 0o755)
    box.start()
    yield box
    for path in (LOG, LOG + ".1"):
        if os.path.exists(path):
            os.unlink(path)


def set_item(box, key, *values):
    box.call("SetConfigItem", "(sasa{sv})", key, list(values), {})


def told(key):
    """What the monitor says of a key, as lxc-ls and lxc-attach ask it."""
    data = key.encode() + b"\0"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"\0{LXC_PATH}/box/command")
        client.sendall(struct.pack("iiQ", 7, len(data), 0) + data)
        _, length, _ = struct.unpack("iiQ", client.recv(16, socket.MSG_WAITALL))
        return client.recv(length, socket.MSG_WAITALL).decode().rstrip("\0") if length else ""


def say(box, command):
    terminal, session = open_console(box)
    with terminal:
        terminal.send(command + "\n")
        terminal.expect(command)
        box.bus.call(session, "Session", "Close")


@pytest.mark.parametrize("key, values, shown", [
    ("lxc.start.auto", ["1"], "1"), ("lxc.start.delay", ["7"], "7"), ("lxc.start.order", ["-3"], "-3"),
    ("lxc.group", ["one", "two"], "one\ntwo\n"), ("lxc.ephemeral", ["1"], "1"), ("lxc.rootfs.managed", ["0"], "0"),
    ("lxc.signal.halt", ["SIGUSR1"], "10"), ("lxc.signal.reboot", ["SIGUSR1"], "10"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_looked_up_later_is_known_at_once(box, key, values, shown):
    before, old = told(key), box.call("GetConfigItem", "(s)", key)
    set_item(box, key, *values)
    assert told(key) == shown and box.get("NeedsRestart") == []
    set_item(box, key, *old)
    assert told(key) == before and box.get("NeedsRestart") == []


def test_limits(box):
    set_item(box, "lxc.cgroup.pids.max", "61")
    assert containers.in_group("box", "pids.max") == "61" == box.get_limit("pids.max")
    assert box.get("NeedsRestart") == []
    with refused("InvalidArgument") as caught:
        set_item(box, "lxc.cgroup.pids.max", "none")
    assert "pids.max" in caught[0].message
    assert box.call("GetConfigItem", "(s)", "lxc.cgroup.pids.max") == ["61"], "what the kernel refuses is not saved"
    # What it was without the key is not known.
    set_item(box, "lxc.cgroup.pids.max")
    assert containers.in_group("box", "pids.max") == "61" and box.get("NeedsRestart") == ["lxc.cgroup.pids.max"]


def test_a_saved_limit_needs_no_restart(box):
    box.set_limit("pids.max", "62", persist=True)
    assert box.get("NeedsRestart") == [] and told("lxc.cgroup.pids.max") == "62\n"


def test_device_rules_that_are_added(box):
    rules = box.call("GetConfigItem", "(s)", "lxc.cgroup.devices.allow")
    set_item(box, "lxc.cgroup.devices.allow", *rules, "c 10:232 rw")
    assert "c 10:232 rw" in containers.in_group("box", "devices.list").splitlines()
    assert box.get("NeedsRestart") == []
    # Rules that go are those of the next start.
    set_item(box, "lxc.cgroup.devices.allow", *rules)
    assert box.get("NeedsRestart") == ["lxc.cgroup.devices.allow"]


def test_limits_and_files_of_init(box):
    set_item(box, "lxc.prlimit.nofile", "321:654")
    with open(f"/proc/{box.get('InitPid')}/limits") as file:
        assert [line.split()[3:5] for line in file if line.startswith("Max open files")] == [["321", "654"]]
    set_item(box, "lxc.proc.oom_score_adj", "55")
    with open(f"/proc/{box.get('InitPid')}/oom_score_adj") as file:
        assert file.read() == "55\n"
    assert box.get("NeedsRestart") == []


def test_the_signal_that_ends_it(box):
    containers.catches(box.get("InitPid"), 15)
    set_item(box, "lxc.signal.stop", "SIGTERM")
    run("lxc-stop", "-k", "-n", "box")
    until(lambda: box.state == "STOPPED")
    with open(f"{LXC_PATH}/box/rootfs/got") as file:
        assert file.read() == "TERM\n"


def test_an_ephemeral_container_is_one_from_now_on(bus, box):
    set_item(box, "lxc.ephemeral", "1")
    box.kill()
    until(lambda: "box" not in bus.list() and not os.path.exists(f"{LXC_PATH}/box"))


def test_what_is_kept_of_the_console(box):
    count = "i=0; while [ $i -lt 400 ]; do echo that is line $i of it; i=$((i+1)); done; echo e''nd"

    def shown():
        with os.fdopen(box.call("ReadLog", "(sa{sv})", "console", {})) as log:
            return log.read()

    say(box, count)
    until(lambda: "end" in shown())
    assert 3500 < len(shown()) <= 4096
    set_item(box, "lxc.console.buffer.size", "64kB")
    say(box, count)
    # To the end of the second time: nothing of it may come to the file.
    until(lambda: "end" in shown().partition("that is line 0 of it")[2])
    set_item(box, "lxc.console.logfile", LOG)
    set_item(box, "lxc.console.size", "4kB")
    set_item(box, "lxc.console.rotate", "1")
    assert box.get("NeedsRestart") == []
    say(box, count)
    until(lambda: os.path.exists(LOG + ".1"))
    assert os.path.getsize(LOG + ".1") == 4096


def test_the_log(box):
    set_item(box, "lxc.log.file", LOG)
    set_item(box, "lxc.log.level", "DEBUG")
    assert box.get("NeedsRestart") == []
    box.kill()
    with open(LOG) as file:
        assert "INFO" in file.read()


@pytest.mark.parametrize("key, value", [
    ("lxc.uts.name", "other"), ("lxc.cap.drop", "mknod"), ("lxc.init.cmd", "/sbin/init"), ("lxc.tty.max", "9"),
    ("lxc.mount.entry", "tmpfs tmp tmpfs size=64k"), ("lxc.environment", "A=b"), ("lxc.no_new_privs", "1"),
    ("lxc.sysctl.net.ipv4.ip_forward", "1"), ("lxc.monitor.signal.pdeath", "SIGHUP"), ("lxc.net.0.mtu", "1400"),
])
def test_the_rest_waits_for_the_next_start(box, key, value):
    before = told(key)
    values = box.call("GetConfigItem", "(s)", key)
    set_item(box, key, *([*values, value] if key in ("lxc.cap.drop", "lxc.mount.entry") else [value]))
    assert box.get("NeedsRestart") == [key] and told(key) == before


def test_a_whole_text_is_taken_over_as_far_as_it_can(box):
    text, revision = box.call("GetConfig")
    box.call("SetConfig", "(sta{sv})", text + "lxc.cgroup.pids.max = 63\nlxc.uts.name = other\n", revision, {})
    assert containers.in_group("box", "pids.max") == "63" and box.get("NeedsRestart") == ["lxc.uts.name"]


def test_what_an_editor_changes_waits(box):
    containers.append_config("box", "lxc.cgroup.pids.max = 64", "lxc.start.order = 5")
    assert until(lambda: box.get("NeedsRestart")) == ["lxc.cgroup.pids.max"]
    assert containers.in_group("box", "pids.max") != "64"


def test_it_is_kept_by_a_reboot_and_by_another_helper(bus, box):
    set_item(box, "lxc.proc.oom_score_adj", "44")
    containers.kill_helper(bus)
    assert box.get("NeedsRestart") == []
    pid = box.get("InitPid")
    box.execute("sh", "-c", "reboot -f &")
    # The process is known before it is init's program.
    until(lambda: box.get("InitPid") not in (0, pid) and box.state == "RUNNING")
    with open(f"/proc/{box.get('InitPid')}/oom_score_adj") as file:
        assert file.read() == "44\n"
    assert status_of(box.get("InitPid"), "Name") == "says"


def test_a_container_of_stock_lxc_goes_by_what_it_was_started_with(bus):
    containers.create_stock("box")
    run("lxc-start", "-n", "box")
    box = bus.container("box")
    set_item(box, "lxc.start.auto", "1")
    set_item(box, "lxc.cgroup.pids.max", "65")
    assert box.get("Autostart") is True and box.call("GetConfigItem", "(s)", "lxc.cgroup.pids.max") == ["65"]


def test_a_log_that_is_full_is_set_aside(box):
    with open(LOG, "w") as file:
        file.truncate(4 << 20)
    set_item(box, "lxc.log.file", LOG)
    set_item(box, "lxc.log.level", "DEBUG")
    box.kill()
    assert os.path.getsize(LOG + ".1") >= 4 << 20
    with open(LOG) as file:
        assert "INFO" in file.read()
