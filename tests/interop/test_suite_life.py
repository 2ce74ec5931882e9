"""What LXC's own test suite asserts of a container's life and of entering it, in our
words, of both engines: api_reboot, attach, basic, concurrent, createconfig, exit-code,
lxc-attach, shortlived, shutdowntest, startone and state_server.

Elsewhere: configuration keys (lifecycle/test_keys.py), groups and autostart
(lifecycle/test_groups.py), terminals and the console's buffer (test_wire.py,
lifecycle/test_console.py), devices and groups (test_stock_tools.py), AppArmor
(vm/guest/test_apparmor.py). For later: clones and snapshots (cloneconfig, clonetest,
snapdeps, snapshot), users' own containers and their interfaces (unpriv, usernic,
usernsexec), checkpoints (checkpoint-restore, criu_check_feature).
"""

import hashlib
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

import containers
from engines import ENGINES
from gantry import LXC_PATH, run, until
from terminals import on_terminal


@pytest.fixture(params=ENGINES)
def engine(bus, request):
    return ENGINES[request.param](bus)


@pytest.fixture
def box(engine):
    """A container of lxc-create's that the engine runs."""
    containers.create_stock("box")
    assert engine.start("box")
    return engine


def test_a_container_that_does_not_run_has_no_init(engine):
    containers.create_stock("box")
    assert engine.init_pid("box") is None
    assert engine.start("box") and engine.init_pid("box") > 1
    engine.kill("box")
    assert engine.init_pid("box") is None


def test_it_shuts_down_by_its_own_means(box):
    containers.booted(box.bus.container("box"))
    box.shut_down("box")
    assert box.bus.container("box").state == "STOPPED"


def test_it_reboots_ten_times(box):
    for _ in range(10):
        pid = box.init_pid("box")
        containers.booted(box.bus.container("box"))
        box.reboot("box")
        assert until(lambda: box.init_pid("box")) != pid
        assert box.bus.container("box").state == "RUNNING"


@pytest.mark.parametrize("command, starts", [("/bin/echo hello", True), ("/no/such/init", False)])
def test_a_short_life_ends_stopped(engine, command, starts):
    containers.create_stock("box", f"lxc.init.cmd = {command}")
    for _ in range(5):
        started = engine.start("box")
        # One that has ended by now may count as started or not.
        assert starts or not started
        until(lambda: engine.bus.container("box").state == "STOPPED")
        assert engine.init_pid("box") is None


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_the_exit_code_comes_through(box, code):
    assert box.execute("box", "sh", "-c", f"exit {code}")[0] == code


def test_attach_a_hundred_times(box):
    for _ in range(100):
        assert box.execute("box", "hostname") == (0, "box\n", "")


def test_streams_are_kept_apart(box):
    assert box.execute("box", "sh", "-c", "echo out; echo err >&2") == (0, "out\n", "err\n")
    assert box.execute("box", "cat", stdin=b"here\n") == (0, "here\n", "")


def test_a_megabyte_comes_whole_each_way(box):
    text = "".join(f"{number:06d}\n" for number in range(1 << 17))
    digest = hashlib.md5(text.encode()).hexdigest()
    assert box.execute("box", "md5sum", stdin=text.encode())[1].split()[0] == digest
    status, output, errors = box.execute("box", "seq", "-w", "0", "131071")
    assert (status, hashlib.md5(output.encode()).hexdigest(), errors) == (0, digest, "")


@pytest.mark.parametrize("starter", ENGINES)
def test_a_megabyte_through_a_terminal(bus, starter):
    """By lxc-attach, whose terminal comes from the container's own devpts."""
    containers.create_stock("box")
    assert ENGINES[starter](bus).start("box")
    with on_terminal("lxc-attach", "-n", "box", "--", "seq", "-w", "0", "131071") as terminal:
        assert terminal.closed(30)
        whole = terminal.seen.split() == [f"{number:06d}" for number in range(131072)]
    assert whole


def test_a_new_address_is_drawn_and_saved(bus, tmp_path):
    defaults = tmp_path / "default.conf"
    defaults.write_text("lxc.net.0.type = veth\nlxc.net.0.hwaddr = 00:16:3e:xx:xx:xx\n")
    run("lxc-create", "-n", "by-stock", "-t", "busybox", "-f", str(defaults))
    with open("/etc/lxc/default.conf") as file:
        before = file.read()
    try:
        with open("/etc/lxc/default.conf", "w") as file:
            file.write(defaults.read_text())
        bus.create("by-gantry", template="busybox")
    finally:
        with open("/etc/lxc/default.conf", "w") as file:
            file.write(before)
    for name in ("by-stock", "by-gantry"):
        found = re.findall(r"^lxc\.net\.0\.hwaddr = (.*)$", containers.config_of(name).decode(), re.M)
        assert len(found) == 1 and re.fullmatch(r"00:16:3e(:[0-9a-f]{2}){3}", found[0]), name


def test_many_live_at_the_same_time(engine):
    """From several threads, each with its own container, over and over."""
    names = [f"box{number}" for number in range(4)]

    def live(name):
        bus = containers.gantry.Bus()
        own = type(engine)(bus)
        for _ in range(3):
            containers.create_stock(name)
            assert own.start(name) and own.execute(name, "hostname")[1] == f"{name}\n"
            own.kill(name)
            until(lambda: bus.container(name).state == "STOPPED")
            run("lxc-destroy", "-n", name)
        bus.close()
        return name

    with ThreadPoolExecutor(len(names)) as pool:
        assert list(pool.map(live, names)) == names
    assert not set(os.listdir(LXC_PATH)) & set(names)


def test_all_who_wait_are_told_of_each_start(engine):
    containers.create_stock("box")
    for _ in range(3):
        waiting = [subprocess.Popen(["lxc-wait", "-n", "box", "-s", "RUNNING", "-t", "20"]) for _ in range(20)]
        assert engine.start("box")
        assert [waiter.wait(20) for waiter in waiting] == [0] * 20
        engine.kill("box")

