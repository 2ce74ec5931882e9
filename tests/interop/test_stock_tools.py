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
def web(request):
    with containers.shared("web", stock=request.param == "stock",
                           **({} if request.param == "stock" else {"privileged": request.param == "privileged"})) as box:
        yield box


@pytest.fixture(autouse=True)
def started(web):
    if web.state == "STOPPED":
        web.start()


def test_lxc_info(web):
    text = run("lxc-info", "-n", "web").stdout
    assert re.search(r"State:\s+RUNNING", text)
    assert re.search(rf"PID:\s+{web.get('InitPid')}\b", text)
    assert re.search(r"Memory use:\s+\d", text)


def test_lxc_ls(web):
    header, *rows = run("lxc-ls", "-f").stdout.splitlines()
    row = dict(zip(header.split(), rows[0].split()))
    assert row["NAME"] == "web" and row["STATE"] == "RUNNING"
    assert row["UNPRIVILEGED"] == ("false" if web.get("Privileged") else "true")
    assert run("lxc-ls", "--running", "-1").stdout.split() == ["web"]
    assert run("lxc-ls", "--active", "-1").stdout.split() == ["web"]


def test_lxc_attach_is_inside(web):
    for kind in ("pid", "mnt", "net", "uts", "ipc", "user"):
        link = run("lxc-attach", "-n", "web", "--", "readlink", f"/proc/self/ns/{kind}").stdout.strip()
        assert link == containers.namespace(web.get("InitPid"), kind)
        assert kind == "user" or link != containers.namespace("self", kind)
    assert run("lxc-attach", "-n", "web", "--", "hostname").stdout == "web\n"
    text = run("lxc-attach", "-n", "web", "--", "cat", "/proc/self/cgroup").stdout
    with open(f"/proc/{web.get('InitPid')}/cgroup") as file:
        own = [line.rpartition("/")[2] for line in file.read().split()]
    assert own and "lxc.payload.web" in own
    # From inside, the container's own group is the root of what is seen; where processes
    # may not stand beside groups, stock makes one for those who enter.
    assert {line.split(":", 2)[2] for line in text.split()} <= {"/", "/.lxc"}


def test_lxc_attach_passes_status_streams_and_environment(web):
    assert run("lxc-attach", "-n", "web", "--", "sh", "-c", "exit 3", check=False).returncode == 3
    assert run("lxc-attach", "-n", "web", "--", "sh", "-c", "kill -9 $$", check=False).returncode == 137
    assert run("lxc-attach", "-n", "web", "--", "/no/such", check=False).returncode in (126, 127)
    done = subprocess.run(["lxc-attach", "-n", "web", "--", "cat"], input=b"x" * 300_000, stdout=subprocess.PIPE)
    assert done.stdout == b"x" * 300_000
    text = run("lxc-attach", "-n", "web", "--clear-env", "-v", "A=b c", "--", "env").stdout.splitlines()
    assert "A=b c" in text and "container=lxc" in text


def test_lxc_attach_drops_the_same_capabilities(web):
    text = run("lxc-attach", "-n", "web", "--", "grep", "CapBnd", "/proc/self/status").stdout
    assert text.split()[1] == containers.status_of(web.get("InitPid"), "CapBnd")


def test_lxc_attach_on_a_terminal(web):
    with on_terminal("lxc-attach", "-n", "web", "--", "sh") as terminal:
        terminal.expect("# ")
        assert terminal.ask("hostname") == "web"
        assert terminal.ask("tty").startswith("/dev/pts/")
        terminal.send("exit\n")
        assert terminal.closed()


@pytest.mark.parametrize("tty", [["-t", "0"], ["-t", "1"], []], ids=["console", "tty1", "next"])
def test_lxc_console(web, tty):
    with on_terminal("lxc-console", "-n", "web", *tty) as terminal:
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


def test_lxc_freeze_and_unfreeze(web):
    run("lxc-freeze", "-n", "web")
    until(lambda: web.state == "FROZEN", 1)
    assert "FROZEN" in run("lxc-info", "-n", "web", "-s").stdout
    run("lxc-unfreeze", "-n", "web")
    until(lambda: web.state == "RUNNING", 1)
    assert "RUNNING" in run("lxc-info", "-n", "web", "-s").stdout
    assert web.execute("hostname")[1] == "web\n"


def test_lxc_cgroup(web):
    run("lxc-cgroup", "-n", "web", "pids.max", "57")
    assert run("lxc-cgroup", "-n", "web", "pids.max").stdout.strip() == "57"
    found = run("find", "/sys/fs/cgroup", "-path", "*lxc.payload.web/pids.max").stdout.split()
    assert found
    with open(found[0]) as file:
        assert file.read().strip() == "57"
    run("lxc-cgroup", "-n", "web", "pids.max", "max")


def test_lxc_wait_and_lxc_stop_k(web):
    with containers.background("lxc-wait", "-n", "web", "-s", "STOPPED", "-t", "10") as waiter:
        time.sleep(0.2)
        assert waiter.poll() is None
        pid = web.get("InitPid")
        run("lxc-stop", "-k", "-n", "web")
        assert waiter.wait(5) == 0
    assert not os.path.exists(f"/proc/{pid}")
    until(lambda: web.state == "STOPPED", 1)
    assert run("lxc-stop", "-k", "-n", "web", check=False).returncode == 2
    with containers.background("lxc-wait", "-n", "web", "-s", "RUNNING", "-t", "10") as waiter:
        web.start()
        assert waiter.wait(5) == 0


def test_lxc_stop_cleanly(web):
    containers.booted(web)
    run("lxc-stop", "-n", "web", "-t", "20", "--nokill")
    until(lambda: web.state == "STOPPED", 1)


def test_lxc_stop_r_reboots(web):
    pid = web.get("InitPid")
    containers.booted(web)
    run("lxc-stop", "-r", "-n", "web", "-t", "20")
    until(lambda: web.state == "RUNNING" and web.get("InitPid") not in (0, pid), 1)


def test_lxc_start_and_lxc_destroy_refuse_what_runs(web):
    pid = web.get("InitPid")
    assert "already running" in run("lxc-start", "-n", "web", check=False).stderr
    assert run("lxc-destroy", "-n", "web", check=False).returncode != 0
    assert web.state == "RUNNING" and web.get("InitPid") == pid


def test_lxc_monitor_tells_of_every_change(web):
    web.kill()
    with containers.background("stdbuf", "-oL", "lxc-monitor", "-n", "web") as monitor:
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
    run("lxc-monitor", "-Q")
    states = re.findall(r"'web' changed state to \[(\w+)\]", text)
    assert [state for state in states if state in ("STARTING", "RUNNING", "FROZEN", "STOPPED")][:2] == \
        ["STARTING", "RUNNING"], text
    for state in ("FROZEN", "THAWED", "STOPPING", "STOPPED"):
        assert state in states, text
    assert states[-1] == "STOPPED"
    assert "'web' exited with status [" in text
