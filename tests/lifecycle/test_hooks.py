"""Hooks and network scripts: when they run, what they are told, and what may be done
while they run. Stock LXC says what they are told."""

import os
import re
import shutil
import signal
import threading

import pytest

import containers
import gantry
from containers import refused
from gantry import LXC_PATH, run, until

HOST = ["pre-start", "pre-mount", "mount", "autodev", "start-host", "stop", "post-stop"]

# What version 1 tells scripts of an interface of a type.
OF_TYPE = {None: [], "empty": ["LXC_NET_TYPE"], "macvlan": ["LXC_NET_TYPE", "LXC_NET_PARENT"],
           "veth": ["LXC_NET_TYPE", "LXC_NET_PARENT", "LXC_NET_PEER"]}

# Prints what it is told into a file that is called after its first word.
TELLER = """#!/bin/sh
into=$1; shift
{{ for word in "$@"; do echo "word $word"; done; env | sed 's/^/variable /'; echo "at $(pwd) $(umask)"
for name in MNT PID UTS IPC NET CGROUP; do
    eval path=\\$LXC_${{name}}_NS; [ -z "$path" ] || echo "$name $(readlink $path)"
done; }} > {folder}/$into
"""


def script(path, text):
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


@pytest.fixture
def box(bus):
    return bus.create("box", template="busybox", privileged=True)


class Started(threading.Thread):
    """A start that goes on; its refusal in `error`."""

    def __init__(self, name):
        super().__init__()
        self.name_of, self.error = name, None
        self.start()

    def run(self):
        bus = gantry.Bus()
        try:
            bus.container(self.name_of).start()
        except gantry.Refused as error:
            self.error = error
        finally:
            bus.close()

    def ended(self, seconds=20):
        self.join(seconds)
        assert not self.is_alive(), "the start has not ended"
        return self.error


def told(folder):
    """By hook: its words, its variables but those of the shell, and the rest."""
    found = {}
    for name in os.listdir(folder):
        words, variables, rest = [], {}, []
        for line in (folder / name).read_text().splitlines():
            kind, _, text = line.partition(" ")
            if kind == "word":
                words.append(text)
            elif kind == "variable":
                key, _, value = text.partition("=")
                if key not in ("PWD", "OLDPWD", "SHLVL", "_", "PATH"):
                    variables[key] = value
            else:
                rest.append(line)
        found[name] = (words, variables, rest)
    return found


def comparable(name, hook):
    """Without numbers that differ each time, and without what is different on purpose:
    stock tells hooks also what it has told network scripts before, tells hooks of the host
    nothing of lxc.environment, and still names namespaces after they are gone."""
    words, variables, _rest = hook
    variables = {
        key: value for key, value in variables.items()
        if value and key not in ("EVERYWHERE", "LXC_ROOTFS_MOUNT", "container_ttys")
        and (not key.startswith("LXC_NET_") or key == "LXC_NET_NS" or name.startswith(("up", "down")) and
             key in OF_TYPE[variables.get("LXC_NET_TYPE")])
        and not (name == "post-stop" and key.endswith("_NS"))
        and not (name.startswith("down") and key == "LXC_TARGET")
    }

    def plain(text):
        text = re.sub(r"/proc/\d+/fd/\d+", "/proc/PID/fd/FD", text)
        return re.sub(r"^veth\w{6}$", "vethXXXXXX", text)
    if "LXC_PID" in variables:
        variables["LXC_PID"] = str(int(variables["LXC_PID"]) > 1)
    return [plain(word) for word in words], {key: plain(value) for key, value in variables.items()}


@pytest.mark.parametrize("version", [0, 1])
def test_hooks_are_told_what_stock_tells_them(bus, box, tmp_path, version):
    folders = {}
    rootfs = f"{LXC_PATH}/box/rootfs"
    with containers.bridge():
        config = containers.config_of("box").decode()
        for engine in ("stock", "gantry"):
            folder = folders[engine] = tmp_path / engine
            folder.mkdir()
            teller = tmp_path / f"teller-{engine}"
            teller.write_text(TELLER.format(folder=folder))
            teller.chmod(0o755)
            inside = f"{rootfs}/hook"
            with open(inside, "w") as file:
                file.write(TELLER.format(folder="").replace("into=$1; shift", "into=told"))
            os.chmod(inside, 0o755)
            with open(containers.config_path("box"), "w") as file:
                file.write(re.sub("lxc.net.*\n", "", config))
            containers.append_config(
                "box", f"lxc.hook.version = {version}", *(f"lxc.hook.{stage} = {teller} {stage}" for stage in HOST),
                "lxc.hook.start = /hook", "lxc.environment = EVERYWHERE=1", "lxc.console.logfile = /run/console.log",
                "lxc.log.level = INFO",
                *(line for number, (kind, link) in enumerate([("veth", "lxcbr0"), ("empty", ""), ("macvlan", "lxcbr0"), ("veth", "")])
                  for line in (f"lxc.net.{number}.type = {kind}", *([f"lxc.net.{number}.link = {link}"] if link else []),
                               f"lxc.net.{number}.script.up = {teller} up{number}",
                               f"lxc.net.{number}.script.down = {teller} down{number}")))
            if engine == "stock":
                run("lxc-start", "-n", "box", env={"PATH": os.environ["PATH"]})
                run("lxc-stop", "-k", "-n", "box")
            else:
                box.start()
                pid = box.get("InitPid")
                links = {name: containers.namespace(pid, name) for name in ("mnt", "pid", "uts", "ipc", "net", "cgroup")}
                box.kill()
            until(lambda: (folder / "post-stop").exists() and "at " in (folder / "post-stop").read_text())
            shutil.move(f"{rootfs}/told", folder / "start")
    stock, ours = told(folders["stock"]), told(folders["gantry"])
    # Stock leaves out the down script of an interface that is empty.
    assert set(ours) - {"down1"} == set(stock) == {*HOST, "start", *(f"{way}{number}" for way in ("up", "down") for number in range(4))} - {"down1"}
    for name in stock:
        assert comparable(name, ours[name]) == comparable(name, stock[name]), name
        assert ours[name][2][0] == stock[name][2][0], "directory and umask"
    for name, (_words, variables, _rest) in ours.items():
        assert variables["EVERYWHERE"] == "1" and variables["LXC_ROOTFS_PATH"] == rootfs, name
    # They lead to the namespaces that were the container's.
    assert ours["stop"][2][1:] == [f"{name.upper()} {link}" for name, link in links.items()]
    assert ours["post-stop"][2][1:] == []
    os.unlink("/run/console.log")


# --- failures

STEPS = ["pre-start", "up", "pre-mount", "mount", "autodev", "start-host", "start", "exec"]


@pytest.mark.parametrize("at", STEPS)
def test_a_failure_ends_the_start_and_runs_the_hooks_of_the_end(box, tmp_path, at):
    hook = script(tmp_path / "hook", f"echo -n \"$1 \" >> {tmp_path}/order\n"
                  f"[ $1 != {at} ] || {{ echo first; echo bad words of $1; exit 3; }}\n")
    inside = script(tmp_path / "inside", "" if at != "start" else "echo bad words of start; exit 3\n")
    shutil.move(inside, f"{LXC_PATH}/box/rootfs/hook")
    before = containers.traces()
    containers.append_config(
        "box", *(f"lxc.hook.{stage} = {hook} {stage}" for stage in HOST), "lxc.hook.start = /hook",
        "lxc.net.0.type = veth", f"lxc.net.0.script.up = {hook} up", f"lxc.net.0.script.down = {hook} down",
        *(["lxc.init.cmd = /nothing"] if at == "exec" else []))
    with refused("StartFailed" if at == "exec" else "HookFailed") as caught:
        box.start()
    message = caught[0].message
    if at != "exec":
        assert "status 3" in message and f"bad words of {at}" in message, message
        assert (".script.up" if at == "up" else f"lxc.hook.{at}") in message
    assert box.state == "STOPPED"
    containers.assert_no_traces(before)
    ran = (tmp_path / "order").read_text().split()
    assert ran[-2:] == ["stop", "post-stop"]
    # An interface that was brought up is brought down, which stock leaves out.
    assert "down" in ran or "up" not in ran
    begun = [stage for stage in ran if stage in STEPS]
    assert at in ("start", "exec") or at in begun
    # The host's and the container's side go on beside each other.
    assert [stage for stage in begun if stage != "up"] == [stage for stage in STEPS if stage in begun and stage != "up"]


@pytest.mark.parametrize("stage", ["stop", "post-stop"])
def test_a_hook_of_the_end_that_fails_hinders_nothing(box, tmp_path, stage):
    hook = script(tmp_path / "hook", "echo words of the end; exit 3\n")
    containers.append_config("box", f"lxc.hook.{stage} = {hook}", f"lxc.log.file = {tmp_path}/log")
    box.start()
    box.kill()
    assert box.state == "STOPPED"
    until(lambda: "words of the end" in (tmp_path / "log").read_text())


def test_a_flood_of_output_is_cut(box, tmp_path):
    hook = script(tmp_path / "hook", "head -c 5000000 /dev/zero | tr '\\0' x\nhead -c 1000000 /dev/zero | tr '\\0' '\\n'\n"
                  "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i + 1)); done; exit 3\n")
    containers.append_config("box", f"lxc.hook.pre-start = {hook}", f"lxc.hook.post-stop = {hook}",
                             "lxc.log.level = DEBUG", f"lxc.log.file = {tmp_path}/log")
    with refused("HookFailed") as caught:
        box.start()
    assert "line 4999" in caught[0].message and len(caught[0].message) < 10000
    log = (tmp_path / "log").read_text()
    assert "line 1\n" in log and len(log) < 1 << 20
    assert "left out" in log


@pytest.mark.parametrize("owner, mode, words", [(65534, 0o755, "belong to root"), (0, 0o775, "written to by others"),
                                                (0, 0o757, "written to by others"), (0, 0o4755, "setuid")])
def test_31_a_hook_that_others_could_have_written_is_not_run(box, tmp_path, owner, mode, words):
    """What root is to run must be root's alone: a start with such a hook is refused, and says why."""
    hook = script(tmp_path / "hook", f"touch {tmp_path}/ran\n")
    os.chown(hook, owner, 0)
    os.chmod(hook, mode)
    containers.append_config("box", f"lxc.hook.pre-start = {hook}")
    with refused("HookFailed") as told:
        box.start()
    assert words in told[0].message
    assert not (tmp_path / "ran").exists() and box.state == "STOPPED"


def test_a_hook_may_leave_a_program_behind_that_holds_its_output(box, tmp_path):
    hook = script(tmp_path / "hook", f"sleep 300 & echo $! > {tmp_path}/pid\n")
    containers.append_config("box", f"lxc.hook.pre-start = {hook}")
    try:
        box.start()
        assert os.path.exists(f"/proc/{(tmp_path / 'pid').read_text().strip()}")
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    box.kill()


# --- while a hook runs

HANGING = [("lxc.hook.pre-start", False), ("lxc.hook.mount", False), ("lxc.hook.mount", True),
           ("lxc.hook.start-host", False), ("lxc.net.0.script.up", False)]


def hang(tmp_path):
    return script(tmp_path / "hang", f"touch {tmp_path}/begun; sleep 301; true\n")


def init_pid():
    return int(run("lxc-info", "-n", "box", "-p", "-H").stdout)


@pytest.mark.parametrize("how", ["Kill", "Stop", "lxc-stop"])
@pytest.mark.parametrize(("key", "shared_pids"), HANGING, ids=lambda value: str(value).removeprefix("lxc."))
def test_while_a_hook_hangs_the_container_can_be_seen_and_stopped(bus, box, tmp_path, key, shared_pids, how):
    before = containers.traces()
    extra = ["lxc.namespace.keep = pid"] if shared_pids else []
    containers.append_config("box", "lxc.net.0.type = veth", f"{key} = {hang(tmp_path)}", *extra)
    start = Started("box")
    until((tmp_path / "begun").exists)
    assert bus.list()["box"] == "STARTING" and box.state == "STARTING"
    assert run("lxc-info", "-n", "box", "-s", "-H", timeout=10).stdout.strip() == "STARTING"
    assert "STARTING" in run("lxc-ls", "-f", timeout=10).stdout
    assert box.call("GetConfigItem", "(s)", key)
    with refused("WrongState"):
        box.start()
    if how == "lxc-stop":
        run("lxc-stop", "-k", "-n", "box", timeout=20)
    else:
        getattr(box, how.lower())()
    error = start.ended()
    assert error.name == "Cancelled" and "stop" in error.message, error
    assert box.state == "STOPPED"
    containers.assert_no_traces(before)
    containers.append_config("box", f"{key} =", "lxc.namespace.keep =")
    box.start()
    box.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGPWR])
def test_a_signal_to_the_monitor_ends_a_start(box, tmp_path, number):
    containers.append_config("box", f"lxc.hook.start-host = {hang(tmp_path)}")
    start = Started("box")
    until((tmp_path / "begun").exists)
    os.kill(int(containers.status_of(init_pid(), "PPid")), number)
    assert start.ended().name == "Cancelled"


@pytest.mark.parametrize("key", ["lxc.hook.start-host", "lxc.net.0.script.up"])
def test_the_death_of_init_ends_a_start_whose_hook_hangs(box, tmp_path, key):
    before = containers.traces()
    containers.append_config("box", "lxc.net.0.type = veth", f"{key} = {hang(tmp_path)}")
    start = Started("box")
    until((tmp_path / "begun").exists)
    os.kill(init_pid(), signal.SIGKILL)
    error = start.ended()
    assert error.name == "StartFailed" and "died" in error.message
    containers.assert_no_traces(before)


@pytest.mark.parametrize("key", ["lxc.hook.stop", "lxc.net.0.script.down"])
def test_a_hook_of_the_end_that_hangs_is_ended_by_the_next_kill(box, tmp_path, key):
    containers.append_config("box", "lxc.net.0.type = veth", f"{key} = {hang(tmp_path)}")
    box.start()
    os.kill(box.get("InitPid"), signal.SIGKILL)
    until((tmp_path / "begun").exists)
    until(lambda: box.state == "STOPPING")
    assert run("lxc-info", "-n", "box", "-s", "-H", timeout=10).stdout.strip() == "STOPPING"
    box.kill()
    assert box.state == "STOPPED"


def test_a_reboot_becomes_a_stop_when_its_hooks_are_not_waited_for(box, tmp_path):
    containers.append_config("box", f"lxc.hook.stop = {hang(tmp_path)}")
    box.start()
    box.execute("sh", "-c", "reboot -f &")
    until((tmp_path / "begun").exists)
    box.kill()
    assert box.state == "STOPPED"


# --- the end

def test_destroy_runs_its_hooks_first(bus, box, tmp_path):
    hook = script(tmp_path / "hook", f"echo \"$@ $LXC_NAME $LXC_ROOTFS_PATH\" >> {tmp_path}/told\nls -d $LXC_ROOTFS_PATH/sbin >> {tmp_path}/told\n")
    containers.append_config("box", f"lxc.hook.destroy = {hook} word", f"lxc.hook.destroy = {hook} second")
    box.destroy()
    assert bus.list() == {} and not os.path.exists(f"{LXC_PATH}/box")
    rootfs = f"{LXC_PATH}/box/rootfs"
    assert (tmp_path / "told").read_text().splitlines() == [
        f"word box lxc destroy box {rootfs}", f"{rootfs}/sbin", f"second box lxc destroy box {rootfs}", f"{rootfs}/sbin"]


def test_a_hook_that_fails_keeps_the_container(bus, box, tmp_path):
    containers.append_config("box", f"lxc.hook.destroy = {script(tmp_path / 'hook', 'echo not now; exit 1')}")
    before = containers.tree(f"{LXC_PATH}/box")
    with refused("HookFailed") as caught:
        box.destroy()
    assert "not now" in caught[0].message
    assert bus.list() == {"box": "STOPPED"} and containers.tree(f"{LXC_PATH}/box") == before
    containers.append_config("box", "lxc.hook.destroy =")


def test_a_destruction_that_is_cancelled_ends_its_hook(bus, box, tmp_path):
    before = containers.traces()
    containers.append_config("box", f"lxc.hook.destroy = {hang(tmp_path)}")
    job = gantry.Job(bus, box.call("Destroy", "(a{sv})", {}))
    until((tmp_path / "begun").exists)
    job.cancel()
    assert job.wait() == "cancelled"
    containers.assert_no_traces(before)
    assert bus.list() == {"box": "STOPPED"}
    containers.append_config("box", "lxc.hook.destroy =")


def test_an_ephemeral_container_ends_with_its_hooks(bus, box, tmp_path):
    containers.append_config("box", "lxc.ephemeral = 1", f"lxc.hook.destroy = {script(tmp_path / 'hook', f'touch {tmp_path}/ran')}")
    box.start()
    box.kill()
    until(lambda: bus.list() == {})
    assert (tmp_path / "ran").exists() and not os.path.exists(f"{LXC_PATH}/box")


def test_the_interfaces_are_there_for_hooks_and_settings(box, tmp_path):
    """However long a script for the network takes."""
    seen = tmp_path / "seen"
    containers.append_config(
        "box", "lxc.net.0.type = veth", "lxc.net.0.name = eth0", "lxc.net.0.flags = up",
        f"lxc.net.0.script.up = {script(tmp_path / 'up', 'sleep 1')}",
        f"lxc.hook.mount = {script(tmp_path / 'mount', f'grep -o eth0 /proc/self/net/dev >> {seen}')}",
        f"lxc.hook.autodev = {script(tmp_path / 'autodev', f'grep -o eth0 /proc/self/net/dev >> {seen}')}")
    box.start()
    assert seen.read_text() == "eth0\neth0\n"
    box.kill()
    containers.append_config("box", "lxc.hook.mount =", "lxc.hook.autodev =", "lxc.sysctl.net.ipv4.conf.eth0.forwarding = 1")
    box.start()
    assert box.execute("cat", "/proc/sys/net/ipv4/conf/eth0/forwarding")[1] == "1\n"
