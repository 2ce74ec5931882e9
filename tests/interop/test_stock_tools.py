"""Stock LXC's tools on a container that Gantry runs."""

import os
import re
import signal
import subprocess
import time

import pytest

import containers
from gantry import run, until
from terminals import on_terminal


@pytest.fixture(scope="module", params=["stock", "mapped", "privileged"])
def web(tools, request):
    with containers.shared("web", stock=request.param == "stock",
                           **({} if request.param == "stock" else {"privileged": request.param == "privileged"})) as box:
        yield box


@pytest.fixture(autouse=True)
def started(web):
    if web.state == "STOPPED":
        web.start()


def test_lxc_info(tools, web):
    text = tools("lxc-info", "-n", "web").stdout
    assert re.search(r"State:\s+RUNNING", text)
    assert re.search(rf"PID:\s+{web.get('InitPid')}\b", text)
    # It looks for files of version 1 alone.
    assert re.search(r"Memory use:\s+\d", text) or tools.version == "7.0"


def test_lxc_ls(tools, web):
    header, *rows = tools("lxc-ls", "-f").stdout.splitlines()
    row = dict(zip(header.split(), rows[0].split()))
    assert row["NAME"] == "web" and row["STATE"] == "RUNNING"
    assert row["UNPRIVILEGED"] == ("false" if web.get("Privileged") else "true")
    assert tools("lxc-ls", "--running", "-1").stdout.split() == ["web"]
    assert tools("lxc-ls", "--active", "-1").stdout.split() == ["web"]


def test_lxc_attach_is_inside(tools, web):
    for kind in ("pid", "mnt", "net", "uts", "ipc", "user"):
        link = tools("lxc-attach", "-n", "web", "--", "readlink", f"/proc/self/ns/{kind}").stdout.strip()
        assert link == containers.namespace(web.get("InitPid"), kind)
        assert kind == "user" or link != containers.namespace("self", kind)
    assert tools("lxc-attach", "-n", "web", "--", "hostname").stdout == "web\n"
    text = tools("lxc-attach", "-n", "web", "--", "cat", "/proc/self/cgroup").stdout
    with open(f"/proc/{web.get('InitPid')}/cgroup") as file:
        own = [line.rpartition("/")[2] for line in file.read().split()]
    assert own and "lxc.payload.web" in own
    # From inside, the container's own group is the root of what is seen; where processes
    # may not stand beside groups, stock makes one for those who enter.
    assert {line.split(":", 2)[2] for line in text.split()} <= {"/", "/.lxc"}


def test_lxc_attach_passes_status_streams_and_environment(tools, web):
    assert tools("lxc-attach", "-n", "web", "--", "sh", "-c", "exit 3", check=False).returncode == 3
    assert tools("lxc-attach", "-n", "web", "--", "sh", "-c", "kill -9 $$", check=False).returncode == 137
    assert tools("lxc-attach", "-n", "web", "--", "/no/such", check=False).returncode in (126, 127)
    done = subprocess.run(tools.words("lxc-attach", "-n", "web", "--", "cat"), input=b"x" * 300_000, stdout=subprocess.PIPE)
    assert done.stdout == b"x" * 300_000
    text = tools("lxc-attach", "-n", "web", "--clear-env", "-v", "A=b c", "--", "env").stdout.splitlines()
    assert "A=b c" in text and "container=lxc" in text


def test_lxc_attach_drops_the_same_capabilities(tools, web):
    text = tools("lxc-attach", "-n", "web", "--", "grep", "CapBnd", "/proc/self/status").stdout
    assert text.split()[1] == containers.status_of(web.get("InitPid"), "CapBnd")


def test_lxc_attach_on_a_terminal(tools, web):
    with on_terminal(*tools.words("lxc-attach", "-n", "web", "--", "sh")) as terminal:
        terminal.expect("# ")
        assert terminal.ask("hostname") == "web"
        assert terminal.ask("tty").startswith("/dev/pts/")
        terminal.send("exit\n")
        assert terminal.closed()


@pytest.mark.parametrize("tty", [["-t", "0"], ["-t", "1"], []], ids=["console", "tty1", "next"])
def test_lxc_console(tools, web, tty):
    with on_terminal(*tools.words("lxc-console", "-n", "web", *tty)) as terminal:
        terminal.expect("Type <Ctrl+a q>")
        if tty:
            # Stock's own template asks for Enter on the console, and has a login on tty1.
            terminal.send("\n")
            terminal.match("login:|# |Please press Enter")
        else:
            # What comes before the terminal is in raw mode is thrown away.
            time.sleep(0.3)
        terminal.send("\x01q")
        assert terminal.closed()


def test_lxc_freeze_and_unfreeze(tools, web):
    tools("lxc-freeze", "-n", "web")
    until(lambda: web.state == "FROZEN", 1)
    assert "FROZEN" in tools("lxc-info", "-n", "web", "-s").stdout
    tools("lxc-unfreeze", "-n", "web")
    until(lambda: web.state == "RUNNING", 1)
    assert "RUNNING" in tools("lxc-info", "-n", "web", "-s").stdout
    assert web.execute("hostname")[1] == "web\n"


def test_lxc_cgroup(tools, web):
    if os.path.isdir("/sys/fs/cgroup/pids"):
        limits = {"pids.max": "57", "memory.limit_in_bytes": "134217728", "cpu.shares": "512"}
    elif "pids" in run("cat", "/sys/fs/cgroup/cgroup.controllers").stdout:
        limits = {"pids.max": "57", "memory.max": "134217728", "cpu.weight": "50"}
    else:
        # Version 1 has the controllers: version 2 has only what every group has.
        limits = {"cgroup.max.descendants": "57", "cgroup.max.depth": "5"}
    for file, value in limits.items():
        before = tools("lxc-cgroup", "-n", "web", file).stdout.strip()
        tools("lxc-cgroup", "-n", "web", file, value)
        assert tools("lxc-cgroup", "-n", "web", file).stdout.strip() == containers.in_group("web", file) == value
        tools("lxc-cgroup", "-n", "web", file, before)
        assert containers.in_group("web", file) == before
    assert tools("lxc-cgroup", "-n", "web", "nothing.max", check=False).returncode != 0


def test_lxc_cgroup_on_devices(tools, web):
    assert containers.opens(web, "/dev/zero")
    tools("lxc-cgroup", "-n", "web", "devices.deny", "c 1:5 rwm")
    assert not containers.opens(web, "/dev/zero")
    tools("lxc-cgroup", "-n", "web", "devices.allow", "c 1:5 rwm")
    assert containers.opens(web, "/dev/zero")


def test_lxc_device(tools, web):
    """Of a container that is not id-mapped; in another the tool refuses it."""
    added = tools("lxc-device", "-n", "web", "add", "/dev/loop-control", check=False)
    if not web.get("Privileged"):
        assert added.returncode != 0
        return
    assert added.returncode == 0, added.stderr
    assert containers.opens(web, "/dev/loop-control")
    # What was allowed before is so still.
    assert containers.opens(web, "/dev/zero")
    tools("lxc-device", "-n", "web", "del", "/dev/loop-control")
    assert web.execute("ls", "/dev/loop-control")[0] != 0


def test_lxc_wait_and_lxc_stop_k(tools, web):
    with containers.background(*tools.words("lxc-wait", "-n", "web", "-s", "STOPPED", "-t", "10")) as waiter:
        time.sleep(0.2)
        assert waiter.poll() is None
        pid = web.get("InitPid")
        tools("lxc-stop", "-k", "-n", "web")
        assert waiter.wait(5) == 0
    assert not os.path.exists(f"/proc/{pid}")
    until(lambda: web.state == "STOPPED", 1)
    assert tools("lxc-stop", "-k", "-n", "web", check=False).returncode == 2
    with containers.background(*tools.words("lxc-wait", "-n", "web", "-s", "RUNNING", "-t", "10")) as waiter:
        web.start()
        assert waiter.wait(5) == 0


def test_lxc_stop_cleanly(tools, web):
    containers.booted(web)
    tools("lxc-stop", "-n", "web", "-t", "20", "--nokill")
    until(lambda: web.state == "STOPPED", 1)


def test_lxc_stop_r_reboots(tools, web):
    pid = web.get("InitPid")
    containers.booted(web)
    tools("lxc-stop", "-r", "-n", "web", "-t", "20")
    until(lambda: web.state == "RUNNING" and web.get("InitPid") not in (0, pid), 1)


def test_lxc_start_and_lxc_destroy_refuse_what_runs(tools, web):
    pid = web.get("InitPid")
    assert "already running" in tools("lxc-start", "-n", "web", check=False).stderr
    assert tools("lxc-destroy", "-n", "web", check=False).returncode != 0
    assert web.state == "RUNNING" and web.get("InitPid") == pid


def test_lxc_monitor_tells_of_every_change(tools, web):
    web.kill()
    with containers.background(*tools.words("stdbuf", "-oL", "lxc-monitor", "-n", "web")) as monitor:
        fifo = "/run/lxc/var/lib/lxc/monitor-fifo"
        until(lambda: os.path.exists(fifo))
        time.sleep(0.3)
        web.start()
        web.call("Freeze", "(a{sv})", {})
        web.call("Unfreeze", "(a{sv})", {})
        web.kill()
        time.sleep(0.3)
        monitor.send_signal(signal.SIGTERM)
        text = monitor.stdout.read()
    tools("lxc-monitor", "-Q")
    states = re.findall(r"'web' changed state to \[(\w+)\]", text)
    assert [state for state in states if state in ("STARTING", "RUNNING", "FROZEN", "STOPPED")][:2] == \
        ["STARTING", "RUNNING"], text
    for state in ("FROZEN", "THAWED", "STOPPING", "STOPPED"):
        assert state in states, text
    assert states[-1] == "STOPPED"
    assert "'web' exited with status [" in text
