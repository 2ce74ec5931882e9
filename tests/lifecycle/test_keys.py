"""Every key of the table: what it does, tried by a container of Gantry's and by one of stock LXC's from the same config.

Keys that another test tries name it, and those that are not acted on say why. Keys of one group share a container.
"""

import ctypes
import glob
import json
import os
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import pytest

import containers
import gantry
from gantry import LXC_PATH, run, until

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "security"))
from test_seccomp import elf  # noqa: E402

TESTS = Path(__file__).resolve().parents[1]
TABLE = TESTS.parent / "helper/core/src/keys"
WORK = "/run/keys"
LOG = f"{WORK}/console.log"
TOLD = f"{WORK}/told"
ROOT = f"{LXC_PATH}/base/rootfs"

LATER = "what stock LXC 6.0 does not do"
# With fewer pseudo terminals stock LXC gives no console.
# Its root is that of others: destroying it must leave it.
BASIS = ["lxc.init.cmd = /bin/sleep 100000", "lxc.pty.max = 1024", "lxc.rootfs.managed = 0"]
# Writes down the signals that it gets, and ends with the first.
TRAPS = """#!/bin/sh
for name in HUP USR1 USR2 TERM; do trap "echo $name >> /got; exit" $name; done
while :; do sleep 1000 & wait; done
"""
TALKS = """#!/bin/sh
i=0
while [ $i -lt 300 ]; do echo "this is line $i of the console"; i=$((i+1)); done
echo end
exec sleep 100000
"""
# Prints the number of its session keyring: keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0).
GET_KEYRING = bytes.fromhex("b8fa00000031ff48c7c6fdffffff31d20f05" "50b80100000089c74889e6ba040000000f05" "b83c00000031ff0f05")
KEYRINGS = "#!/bin/sh\n/get-keyring > /keys\nexec sleep 100000\n"
HOOK = """#!/bin/sh
own=$1
echo "$own: $*" | sed -E "s#/proc/[0-9]+/fd/[0-9]+#FILE#g" >> TOLD
env | grep -E "^(LXC_|COLOUR|SHAPE)" | grep -v "_NS=" | sed -E "s/^(LXC_PID)=.*/\\\\1/; s/^/$own: /" | sort >> TOLD
"""


# --- what runs

@dataclass
class Started:
    """A container that runs, and who has started it."""
    box: gantry.Container
    by: str

    @property
    def pid(self):
        return self.box.get("InitPid")

    @property
    def monitor(self):
        return containers.monitor_pid(self.box)

    def inside(self, script):
        if self.by == "stock":
            return run("lxc-attach", "-n", self.box.name, "--", "sh", "-c", script, check=False).stdout.strip()
        return self.box.execute("sh", "-c", script)[1].strip()

    def proc(self, file):
        with open(f"/proc/{self.pid}/{file}") as opened:
            return opened.read()

    def status(self, name):
        return containers.status_of(self.pid, name)

    def stop(self):
        run("lxc-stop", "-n", "box", "-t", "10") if self.by == "stock" else self.box.stop(10)

    def reboot(self):
        pid = self.pid
        if self.by == "stock":
            run("lxc-stop", "-r", "-n", "box", "-t", "1", check=False)
        else:
            gantry.Job(self.box.bus, self.box.call("Reboot", "(a{sv})", gantry.options(
                timeout_ms=gantry.GLib.Variant("x", 1000)))).wait(10)
        return pid

    def kill(self):
        try:
            run("lxc-stop", "-k", "-n", "box", check=False) if self.by == "stock" else self.box.kill()
        except gantry.Refused as refused:
            # An init that got its signal may have ended by now.
            assert refused.name == "WrongState", refused


class Peer:
    """A terminal of the host, which a config names."""
    def __init__(self):
        self.master = None

    def renew(self):
        if self.master is not None:
            os.close(self.master)
        self.master, self.slave = os.openpty()
        os.set_blocking(self.master, False)
        os.symlink(os.ttyname(self.slave), f"{WORK}/peer")
        self.seen = b""

    def output(self):
        with suppress(BlockingIOError):
            self.seen += os.read(self.master, 65536)
        return self.seen.decode()


PEER = Peer()


def got(started, act=None):
    """The signals that the init of TRAPS has got."""
    containers.catches(started.pid, signal.SIGTERM)
    act(started)
    return until(lambda: read(f"{ROOT}/got"))


def read(path):
    return Path(path).read_text() if os.path.exists(path) else ""


def mounted(started, place):
    """Kind and options of what is mounted in the container."""
    for line in started.proc("mounts").splitlines():
        _, at, kind, options, *_ = line.split()
        if at == place:
            return kind, set(options.split(","))


def console(started):
    return os.lstat(f"/proc/{started.pid}/root/dev/console")


def group_of(pid, controller):
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return path


def pids_group(started, file):
    """Init's group, or the one above where that has the limits."""
    return next(p for p in glob.glob("/sys/fs/cgroup/**/" + group_of(started.pid, "pids").lstrip("/"), recursive=True)
                if os.path.exists(f"{p}/{file}"))


def in_pids_group(started, file):
    return read(f"{pids_group(started, file)}/{file}").strip()


def console_log(started):
    """The log's files, once all is written: names, sizes, and the newest file's end."""
    until(lambda: read(LOG).rstrip().endswith("end"))
    return {os.path.basename(path): os.path.getsize(path) for path in glob.glob(LOG + "*")}


def session_keyring(started):
    """What init's session keyring is called: _ses is one of its own."""
    number = until(lambda: os.path.exists(f"{ROOT}/keys") and Path(f"{ROOT}/keys").read_bytes())
    return re.search(rf"^0*{int.from_bytes(number, 'little'):x} .* keyring +(\S+):", read("/proc/keys"), re.M).group(1)


# --- the table

@dataclass
class Row:
    """How a key is tried."""
    lines: list
    probe: Callable
    wanted: object
    group: str = "init"


@dataclass
class At:
    """Where a key is tried: a test's file and name."""
    file: str
    test: str


def init(value, probe, wanted):
    return Row(value if isinstance(value, list) else [value], probe, wanted)


KEYS = "lifecycle/test_keys.py"
LINKS = "lifecycle/test_links.py"
GROUPS = At("lifecycle/test_groups.py", "test_autostart_takes_the_same_in_the_same_order_as_stock")
APPARMOR = "vm/guest/test_apparmor.py"

ROWS = {
    "lxc.include": At("lifecycle/test_config.py", "test_includes_count_and_stay_one_line"),
    "lxc.arch": init("lxc.arch = i686", lambda c: c.inside("uname -m"), "i686"),
    "lxc.uts.name": init("lxc.uts.name = named", lambda c: c.inside("hostname"), "named"),
    "lxc.ephemeral": At("lifecycle/test_states.py", "test_an_ephemeral_container_is_gone_after_its_stop"),
    "lxc.init.cmd": init("lxc.init.cmd = sleep '4321'", lambda c: c.proc("cmdline"), "sleep\x004321\x00"),
    "lxc.execute.cmd": "what only lxc-execute reads",
    "lxc.init.uid": init("lxc.init.uid = 33", lambda c: (c.status("Uid").split(), console(c).st_uid), (["33"] * 4, 33)),
    "lxc.init.gid": init("lxc.init.gid = 34", lambda c: c.status("Gid").split(), ["34"] * 4),
    "lxc.init.groups": init(["lxc.init.groups = 5,6", "lxc.init.groups = 7"], lambda c: c.status("Groups").split(),
                            ["5", "6", "7"]),
    "lxc.init.cwd": init("lxc.init.cwd = /tmp", lambda c: os.readlink(f"/proc/{c.pid}/cwd"), "/tmp"),
    "lxc.environment": init(["lxc.environment = COLOUR=blue", "lxc.environment = container=other"],
                            lambda c: ({"COLOUR=blue", "container=lxc"} <= set(c.proc("environ").split("\0")),
                                       c.inside("echo $COLOUR")),
                            (True, "blue")),
    "lxc.prlimit.NAME": init("lxc.prlimit.nofile = 123:456",
                             lambda c: re.search(r"open files +(\d+) +(\d+)", c.proc("limits")).groups(), ("123", "456")),
    "lxc.proc.FILE": init("lxc.proc.oom_score_adj = 77", lambda c: c.proc("oom_score_adj"), "77\n"),
    "lxc.sysctl.KEY": init("lxc.sysctl.net.ipv4.ip_forward = 1",
                           lambda c: c.inside("cat /proc/sys/net/ipv4/ip_forward"), "1"),
    "lxc.cap.drop": init("lxc.cap.drop = mknod", lambda c: "mknod" in containers.capabilities(c.pid), False),
    "lxc.no_new_privs": init("lxc.no_new_privs = 1",
                             lambda c: (c.status("NoNewPrivs"), c.inside("grep NoNew /proc/self/status").split()[1]),
                             ("1", "1")),
    "lxc.cap.keep": Row(["lxc.cap.drop =", "lxc.cap.keep = mknod", "lxc.cap.keep = none", "lxc.cap.keep = sys_admin kill",
                         "lxc.cap.keep = sys_chroot"],
                        lambda c: (containers.capabilities(c.pid),
                                   c.inside("grep CapBnd /proc/self/status").split()[1] == c.status("CapBnd"),
                                   mounted(c, "/proc/sys/net")),
                        ({"sys_admin", "kill", "sys_chroot"}, True, None), "keep"),
    "lxc.environment.runtime": Row(["lxc.environment.runtime = COLOUR=red"],
                                   lambda c: ("COLOUR=red" in c.proc("environ").split("\0"), "COLOUR" in read(TOLD)),
                                   (True, False), LATER),
    "lxc.environment.hooks": Row([f"lxc.hook.pre-start = {WORK}/hook pre-start", "lxc.environment.hooks = SHAPE=round"],
                                 lambda c: ("SHAPE" in c.proc("environ"), "SHAPE=round" in read(TOLD)),
                                 (False, True), LATER),

    "lxc.rootfs.path": Row([], lambda c: os.stat(f"/proc/{c.pid}/root").st_ino == os.stat(ROOT).st_ino, True, "mounts"),
    "lxc.rootfs.backend": At("lifecycle/test_convert.py", "test_a_legacy_container_runs_and_is_converted_in_place"),
    "lxc.rootfs.options": Row(["lxc.rootfs.options = nosuid,noatime,idmap=container"],
                              lambda c: {"nosuid", "noatime"} <= mounted(c, "/")[1], True, "mounts"),
    "lxc.rootfs.managed": At("lifecycle/test_states.py", "test_destroy_keeps_storage_that_is_not_managed"),
    "lxc.mount.fstab": Row([f"lxc.mount.fstab = {WORK}/fstab"], lambda c: mounted(c, "/tmp/fstab"),
                           lambda got: got[0] == "tmpfs" and {"size=64k", "noexec"} <= got[1], "mounts"),
    "lxc.mount.entry": Row(["lxc.mount.entry = /etc tmp/entry none bind,ro,create=dir 0 0"],
                           lambda c: ("ro" in mounted(c, "/tmp/entry")[1], c.inside("cat /tmp/entry/hostname")),
                           (True, read("/etc/hostname").strip()), "mounts"),
    "lxc.mount.auto": Row(["lxc.mount.auto = proc:rw sys:ro"],
                          lambda c: ("rw" in mounted(c, "/proc")[1], "ro" in mounted(c, "/sys")[1], mounted(c, "/proc/sys")),
                          (True, True, None), "mounts"),
    "lxc.autodev.tmpfs.size": Row(["lxc.autodev.tmpfs.size = 700000"], lambda c: mounted(c, "/dev")[1],
                                  lambda got: "size=684k" in got, "mounts"),
    "lxc.tty.max": Row(["lxc.tty.max = 3"], lambda c: c.inside("cd /dev; echo tty[0-9]*; readlink tty1"),
                       "tty1 tty2 tty3\nlxc/tty1", "mounts"),
    "lxc.tty.dir": Row(["lxc.tty.dir = lxc"], lambda c: (c.inside("ls /dev/lxc").split(), stat.S_ISCHR(console(c).st_mode)),
                       (["console", "tty1", "tty2", "tty3"], True), "mounts"),
    "lxc.pty.max": Row(["lxc.pty.max = 77"], lambda c: next(o for o in mounted(c, "/dev/pts")[1] if "max=" in o),
                       "max=80", "mounts"),
    "lxc.autodev": Row(["lxc.autodev = 0"], lambda c: mounted(c, "/dev"), None, "no dev"),
    "lxc.console.path": Row([f"lxc.console.path = {WORK}/peer", "lxc.init.cmd = /talks"],
                            lambda c: until(lambda: "line 299 of" in PEER.output()), True, "peer"),
    "lxc.console.logfile": Row([f"lxc.console.logfile = {LOG}", "lxc.init.cmd = /talks"], console_log,
                               {"console.log": 9795}, "log"),
    "lxc.console.buffer.size": At(KEYS, "test_the_consoles_buffer_has_its_size"),
    "lxc.console.size": Row([f"lxc.console.logfile = {LOG}", "lxc.init.cmd = /talks", "lxc.console.size = 4096"],
                            lambda c: [(name, size <= 4096) for name, size in console_log(c).items()],
                            [("console.log", True)], "small log"),
    "lxc.console.rotate": Row([f"lxc.console.logfile = {LOG}", "lxc.init.cmd = /talks", "lxc.console.size = 4096",
                               "lxc.console.rotate = 1"], console_log, {"console.log": 9795 - 2 * 4096, "console.log.1": 4096},
                              "rotated log"),

    # Stock LXC takes a start hook's whole line for its path.
    **{f"lxc.hook.{stage}": Row([f"lxc.hook.{stage} = {WORK}/hook {stage} 'one two'" if stage != "start" else
                                 "lxc.hook.start = /start"],
                                lambda c, stage=stage: [line for line in told(c) if line.startswith(stage + ":")],
                                lambda got, stage=stage: got and f"box lxc {stage}" in got[0], "hooks")
       for stage in ("pre-start", "pre-mount", "mount", "autodev", "start-host", "start", "stop", "post-stop")},
    "lxc.hook.version": Row(["lxc.hook.version = 1", f"lxc.hook.pre-start = {WORK}/hook pre-start",
                             f"lxc.hook.post-stop = {WORK}/hook post-stop"], lambda c: told(c),
                            lambda got: {"pre-start: pre-start", "pre-start: LXC_HOOK_SECTION=lxc",
                                         "post-stop: LXC_HOOK_TYPE=post-stop"} <= set(got), "version 1"),
    "lxc.rootfs.mount": Row([f"lxc.rootfs.mount = {WORK}/assembled"],
                            lambda c: [line for line in told(c) if "pre-mount: LXC_ROOTFS_MOUNT" in line],
                            [f"pre-mount: LXC_ROOTFS_MOUNT={WORK}/assembled"], "hooks"),
    "lxc.hook.clone": At("storage/test_clone_hooks.py", "test_a_clone_hook_is_told_what_stock_tells_it"),
    "lxc.hook.destroy": At("lifecycle/test_hooks.py", "test_destroy_runs_its_hooks_first"),

    "lxc.start.auto": GROUPS, "lxc.start.delay": GROUPS, "lxc.start.order": GROUPS, "lxc.group": GROUPS,
    "lxc.signal.halt": Row(["lxc.signal.halt = SIGUSR1", "lxc.init.cmd = /traps"],
                           lambda c: got(c, Started.stop), "USR1\n", "halt"),
    "lxc.signal.reboot": Row(["lxc.signal.reboot = SIGUSR2", "lxc.init.cmd = /traps"],
                             lambda c: got(c, Started.reboot), "USR2\n", "reboot"),
    "lxc.signal.stop": Row(["lxc.signal.stop = SIGTERM", "lxc.init.cmd = /traps"],
                           lambda c: got(c, Started.kill), "TERM\n", "stop"),
    "lxc.monitor.unshare": Row(["lxc.monitor.unshare = 1"],
                               lambda c: containers.namespace(c.monitor, "mnt") != containers.namespace("self", "mnt"),
                               True),
    "lxc.monitor.signal.pdeath": Row(["lxc.monitor.signal.pdeath = SIGHUP", "lxc.init.cmd = /traps"],
                                     lambda c: got(c, lambda c: os.kill(c.monitor, signal.SIGKILL)), "HUP\n", "orphan"),
    "lxc.log.level": Row(["lxc.log.level = INFO"], lambda c: " INFO " in read(f"{WORK}/log"), True, LATER),
    "lxc.log.file": Row([f"lxc.log.file = {WORK}/log"], lambda c: os.path.exists(f"{WORK}/log"), True, LATER),
    "lxc.log.syslog": At(KEYS, "test_the_systems_log_is_told"),
    "lxc.kmsg": At("lifecycle/test_convert.py", "test_a_legacy_container_runs_and_is_converted_in_place"),
    "lxc.pivotdir": At("lifecycle/test_convert.py", "test_a_legacy_container_runs_and_is_converted_in_place"),

    "lxc.apparmor.profile": At(APPARMOR, "test_a_named_profile_unconfined_and_one_that_is_missing"),
    "lxc.apparmor.allow_incomplete": At("../helper/monitor/src/apparmor.rs", "a_kernel_that_cannot_confine_mounts_is_taken_only_where_the_config_says_so"),
    "lxc.apparmor.allow_nesting": At(APPARMOR, "test_nesting_allows_mounts_and_brings_its_own_proc"),
    "lxc.apparmor.raw": At(APPARMOR, "test_what_would_reach_the_host_is_stopped"),
    "lxc.selinux.context": Row(["lxc.selinux.context = system_u:system_r:lxc_t:s0"], lambda c: c.inside("echo runs"),
                               "runs", "selinux"),
    "lxc.selinux.context.keyring": Row(["lxc.selinux.context.keyring = system_u:system_r:lxc_t:s0"],
                                       lambda c: c.inside("echo runs"), "runs", "selinux"),
    "lxc.keyring.session": Row(["lxc.keyring.session = 1", "lxc.init.cmd = /keyrings"], session_keyring, "_uid_ses.0", "keyring"),
    "lxc.seccomp.profile": At("security/test_seccomp.py", "test_18_stock_lxc_denies_the_same"),
    "lxc.seccomp.allow_nesting": At(KEYS, "test_a_filter_upon_a_filter"),
    "lxc.seccomp.notify.proxy": At("lifecycle/test_seccomp_proxy.py", "test_a_proxy_decides_about_the_calls_of_both_engines"),
    "lxc.seccomp.notify.cookie": At("lifecycle/test_seccomp_proxy.py", "test_a_proxy_decides_about_the_calls_of_both_engines"),
    "lxc.idmap": At("interop/test_taking_turns.py", "test_a_container_of_lxc_create_that_is_id_mapped"),

    "lxc.cgroup.dir": Row(["lxc.cgroup.dir = own/place"],
                          lambda c: (group_of(c.pid, "pids"), group_of(c.monitor, "pids")),
                          ("/own/place/lxc.payload.box", "/own/place/lxc.monitor.box"), "cgroup dir"),
    **{key: Row(["lxc.cgroup.dir.monitor = own/watch", "lxc.cgroup.dir.monitor.pivot = own/after",
                 "lxc.cgroup.dir.container = own/limits", "lxc.cgroup.dir.container.inner = payload",
                 "lxc.cgroup.pids.max = 56"], probe, wanted, "cgroup dirs")
       for key, probe, wanted in (
           ("lxc.cgroup.dir.monitor", lambda c: group_of(c.monitor, "pids"), "/own/watch"),
           ("lxc.cgroup.dir.container", lambda c: os.path.dirname(group_of(c.pid, "pids")), "/own/limits"),
           ("lxc.cgroup.dir.container.inner", lambda c: (group_of(c.pid, "pids"), in_pids_group(c, "pids.max"),
                                                         in_pids_group(c, "../pids.max")),
            ("/own/limits/payload", "max", "56")),
           ("lxc.cgroup.dir.monitor.pivot", lambda c: pivot(c), (True, [])))},
    "lxc.cgroup.relative": Row(["lxc.cgroup.relative = 1"],
                               lambda c: group_of(c.pid, "pids").removeprefix(group_of(starter(c), "pids").rstrip("/")),
                               "/lxc.payload.box", "relative"),
    "lxc.cgroup.FILE": Row(["lxc.cgroup.pids.max = 55"],
                           lambda c: (in_pids_group(c, "pids.max"), oct(os.stat(pids_group(c, "pids.max")).st_mode)),
                           ("55", "0o40755")),
    "lxc.cgroup2.FILE": At("vm/guest/test_cgroup2.py", "test_a_saved_limit_is_one_of_version_2"),
    "lxc.sched.core": At(KEYS, "test_cores_are_shared_with_nobody"),
    "lxc.namespace.clone": At("lifecycle/test_namespaces.py", "test_the_kept_ones_are_those_that_stock_lxc_keeps"),
    "lxc.namespace.keep": At("lifecycle/test_namespaces.py", "test_the_kept_ones_are_those_that_stock_lxc_keeps"),
    "lxc.namespace.share.NS": At("lifecycle/test_namespaces.py", "test_a_container_shares_what_another_has"),
    "lxc.time.offset.boot": Row(["lxc.time.offset.boot = 1000h"], lambda c: c.proc("timens_offsets").split()[-2],
                                "3600000", "clocks"),
    "lxc.time.offset.monotonic": Row(["lxc.time.offset.monotonic = 2h"], lambda c: c.proc("timens_offsets").split()[1],
                                     "7200", "clocks"),
}

# Keys of interfaces: their tests compare all that is to be seen of them with stock LXC.
ROWS |= {f"lxc.net.N.{key}": At(LINKS, "test_the_same_as_with_stock_lxc") for key in (
    "type", "link", "name", "flags", "mtu", "hwaddr", "ipv4.address", "ipv6.address", "ipv4.gateway", "ipv6.gateway",
    "l2proxy", "macvlan.mode", "veth.mode", "veth.pair", "veth.n_rxqueues", "veth.n_txqueues", "veth.ipv4.route",
    "veth.ipv6.route")}
ROWS |= {f"lxc.net.N.{key}": At("lifecycle/test_network.py", "test_up_and_down_scripts_get_what_lxc_gives_them")
         for key in ("script.up", "script.down")}
ROWS |= {f"lxc.net.N.{key}": At("vm/guest/test_wires.py", test) for key, test in {
    "ipvlan.mode": "test_ipvlan", "ipvlan.isolation": "test_isolated_ipvlans_do_not_see_each_other", "vlan.id": "test_vlan",
    "veth.vlan.id": "test_vlans_of_a_bridge", "veth.vlan.tagged.id": "test_vlans_of_a_bridge"}.items()}


def told(started):
    """What the hooks have been told, once the container has stopped."""
    if started.box.state != "STOPPED":
        started.kill()
    until(lambda: "post-stop: LXC_TARGET=" in read(TOLD))
    # Where a root is put together is each one's own affair, if not said.
    lines = (read(f"{ROOT}/told") + read(TOLD)).replace("=dir:", "=").replace(" cgroup:FILE", "").splitlines()
    return [line for line in lines if "/lxc/rootfs" not in line and "/gantry/rootfs" not in line]


def pivot(started):
    """Whether the monitor has gone where it was to go, and what it left."""
    started.kill()
    left = lambda name: glob.glob(f"/sys/fs/cgroup/*/own/{name}")  # noqa: E731
    until(lambda: not left("watch"))
    return bool(left("after")), left("limits")


def starter(started):
    return "self" if started.by == "stock" else containers.helper_pid(started.box.bus)


def cookie(pid):
    """A process's core scheduling cookie, prctl(2)."""
    value = ctypes.c_ulong()
    assert ctypes.CDLL(None).prctl(62, 0, pid, 0, ctypes.byref(value)) == 0
    return value.value


# --- trying them

@pytest.fixture(scope="module", autouse=True)
def ground():
    """One root file system for every container, and what their configs name on the host."""
    containers.SHARED.add("base")
    containers.create_stock("base")
    os.makedirs(f"{WORK}/assembled")
    Path(f"{ROOT}/get-keyring").write_bytes(elf(GET_KEYRING))
    os.chmod(f"{ROOT}/get-keyring", 0o755)
    for path, text in ((f"{ROOT}/traps", TRAPS), (f"{ROOT}/talks", TALKS), (f"{ROOT}/keyrings", KEYRINGS),
                       (f"{ROOT}/start", HOOK.replace("TOLD", "/told").replace("$1", "start")), (f"{WORK}/hook", HOOK.replace("TOLD", TOLD))):
        script(path, text)
    PEER.renew()
    Path(f"{WORK}/fstab").write_text("tmpfs tmp/fstab tmpfs size=64k,noexec,create=dir 0 0\n")
    yield
    containers.SHARED.discard("base")
    containers.destroy("base")
    shutil.rmtree(WORK)


def script(path, text):
    Path(path).write_text(text)
    os.chmod(path, 0o755)


def configure(lines):
    """A container of the root of `base` and these lines."""
    with open(containers.config_path("base")) as file:
        base = [line.strip() for line in file if not line.startswith(("lxc.uts.name", "lxc.rootfs.path"))]
    os.makedirs(f"{LXC_PATH}/box", exist_ok=True)
    with open(containers.config_path("box"), "w") as file:
        file.write("\n".join([*base, f"lxc.rootfs.path = dir:{ROOT}", *BASIS, *lines, ""]))


def clean():
    for path in (f"{ROOT}/got", f"{ROOT}/keys", f"{ROOT}/told", TOLD, f"{WORK}/peer", f"{WORK}/log",
                 *glob.glob(LOG + "*")):
        if os.path.lexists(path):
            os.unlink(path)
    PEER.renew()
    # A stock monitor that was killed leaves its groups; others take a moment to remove theirs.
    time.sleep(0.1)
    until(lambda: run("find", *glob.glob("/sys/fs/cgroup/*"), "-depth", "-name", "lxc.*.box", "-delete", check=False
                      ).returncode == 0)
    for path in sorted(glob.glob("/sys/fs/cgroup/*/own/**/", recursive=True), reverse=True):
        os.rmdir(path)


def ask(bus, group, by):
    """The answers of all keys of a group, from a container that runs."""
    rows = {key: row for key, row in ROWS.items() if isinstance(row, Row) and row.group == group}
    configure(dict.fromkeys(line for row in rows.values() for line in row.lines))
    started = Started(bus.container("box"), by)
    run("lxc-start", "-n", "box") if by == "stock" else started.box.start()
    try:
        until(lambda: started.pid)
        return {key: row.probe(started) for key, row in rows.items()}
    finally:
        if started.box.state != "STOPPED":
            started.kill()
        clean()


@pytest.fixture(scope="module")
def answers():
    """By group: what a container of stock LXC's answers, and one of Gantry's."""
    bus, known = gantry.Bus(), {}

    def answers(group):
        if group not in known:
            by = ("stock", "gantry") if group != LATER else ("gantry",)
            known[group] = [ask(bus, group, one) for one in by]
        return known[group]

    yield answers
    bus.close()


def table():
    return [name for path in TABLE.glob("*.rs") for name in re.findall(r'Key::new\(\s*"([^"]+)"', path.read_text())]


def test_every_key_of_the_table_is_tried_somewhere():
    keys = table()
    assert len(keys) > 100 and sorted(keys) == sorted(set(keys))
    assert set(keys) == set(ROWS)
    for key, row in ROWS.items():
        if isinstance(row, At):
            assert re.search(rf"\b(def|fn) {row.test}\(", (TESTS / row.file).read_text()), f"{key}: {row}"


@pytest.mark.parametrize("key", [key for key, row in ROWS.items() if isinstance(row, Row)])
def test_it_does_what_it_does_with_stock_lxc(answers, key):
    row, seen = ROWS[key], [each[key] for each in answers(ROWS[key].group)]
    for answer in seen:
        assert answer == seen[0]
        assert row.wanted(answer) if callable(row.wanted) else answer == row.wanted, answer


def command(number, data=b""):
    """Asks the monitor of `box` over its command socket; the answer's number and bytes."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"\0{LXC_PATH}/box/command")
        client.sendall(struct.pack("iiQ", number, len(data), 0) + data)
        result, length, _ = struct.unpack("iiQ", client.recv(16, socket.MSG_WAITALL))
        return result, client.recv(length, socket.MSG_WAITALL) if length else b""


def test_the_consoles_buffer_has_its_size(bus):
    """Read with LXC's command 11. Stock LXC lets go of more than it has to when its buffer is full."""
    configure(["lxc.console.buffer.size = 4kB", "lxc.init.cmd = /talks"])
    box, shown = bus.container("box"), []
    for by in ("stock", "gantry"):
        started = Started(box, by)
        run("lxc-start", "-n", "box") if by == "stock" else box.start()
        taking = struct.pack("??xxxxxxQ?xxxxxxx", False, True, 0, False)
        # Its size is all there is to see of it once more was written.
        time.sleep(0.5)
        shown.append(command(11, taking)[1])
        started.kill()
        clean()
    assert 2048 < len(shown[0]) <= 4096 == len(shown[1]) and shown[1].endswith(shown[0])


def test_the_systems_log_is_told(bus):
    """`lxc.log.syslog`: the facility and the container are said."""
    if os.path.lexists("/dev/log"):
        pytest.skip("the host's own log is at /dev/log")
    configure(["lxc.log.syslog = local3", "lxc.log.level = INFO"])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind("/dev/log")
        try:
            log.settimeout(10)
            bus.container("box").start()
            line = log.recv(4096).decode()
        finally:
            os.unlink("/dev/log")
    assert int(re.match(r"<(\d+)>", line).group(1)) >> 3 == 16 + 3 and "box" in line


def test_cores_are_shared_with_nobody(bus):
    """Stock LXC refuses where no core runs two threads; Gantry says that there is nothing to share."""
    configure(["lxc.sched.core = 1"])
    box = bus.container("box")
    box.start()
    if read("/sys/devices/system/cpu/smt/active").strip() == "1":
        assert cookie(box.get("InitPid")) != 0
        return
    with os.fdopen(box.call("ReadLog", "(sa{sv})", "container", {})) as log:
        assert "lxc.sched.core has no effect" in log.read()


# One instruction: every system call is allowed.
ALLOW = struct.pack("HBBI", 6, 0, 0, 0x7FFF0000)


def load_filter():
    """Puts a filter on this process, seccomp(2)."""
    program = ctypes.create_string_buffer(ALLOW)
    assert ctypes.CDLL(None).prctl(22, 2, struct.pack("HxxxxxxP", 1, ctypes.addressof(program))) == 0


def start_filtered(box, by, profile):
    """Starts the container by a process that a filter is on already."""
    if by == "stock":
        return run("lxc-start", "-n", "box", preexec_fn=load_filter)
    program = os.path.dirname(os.readlink(f"/proc/{containers.helper_pid(box.bus)}/exe")) + "/gantry-monitor"
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made = os.memfd_create("filter")
    os.write(made, ALLOW)

    def prepare():
        os.dup2(theirs.fileno(), 3)
        load_filter()

    with ours, theirs, subprocess.Popen([program, "run", "--lxcpath", LXC_PATH, "--name", "box"], preexec_fn=prepare,
                                        close_fds=False) as monitor:
        theirs.close()
        socket.send_fds(ours, [json.dumps({"seccomp": profile, "confirmed": []}).encode()], [made])
        os.close(made)
        while (report := json.loads(ours.recv(65536)))["type"] != "running":
            assert report["type"] != "failed", report
        monitor.wait()


@pytest.mark.parametrize("nesting, filters", [("0", "1"), ("1", "2")])
def test_a_filter_upon_a_filter(bus, nesting, filters):
    profile = f"{WORK}/profile"
    Path(profile).write_text("2\ndenylist\nchroot errno 5\n")
    configure([f"lxc.seccomp.profile = {profile}", f"lxc.seccomp.allow_nesting = {nesting}"])
    for by in ("stock", "gantry"):
        started = Started(bus.container("box"), by)
        start_filtered(started.box, by, profile)
        until(lambda: started.pid)
        assert started.status("Seccomp_filters") == filters
        started.kill()
        clean()
