"""Processes that enter containers, and what they carry. Numbers in names are items of
the security checklist.
"""

import fcntl
import hashlib
import os
import signal
import subprocess
from contextlib import suppress

import pytest

import containers
from archives import Archive, start_create, write_all
from gantry import LXC_PATH, Refused, until
from terminals import open_shell

F_GET_SEALS, F_SEAL_WRITE = 1034, 8


@pytest.fixture(scope="module", params=[False, True], ids=["mapped", "privileged"])
def web(request):
    with containers.shared("web", privileged=request.param) as box:
        yield box


@pytest.fixture
def sleeper(web):
    """A command that runs inside while the test looks: its pid on the host."""
    put, out, err, session = web.call("Execute", "(asa{sv})", ["sleep", "334"], {})
    yield until(lambda: [pid for pid in pids() if command(pid) == "sleep 334"])[0]
    web.bus.call(session, "Session", "Close")
    for fd in (put, out, err):
        os.close(fd)


def pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def command(pid):
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read().replace("\0", " ").strip()
    except OSError:
        return ""


def link(pid, name):
    try:
        return os.readlink(f"/proc/{pid}/{name}")
    except OSError:
        return ""


def program(bus):
    return os.path.join(os.path.dirname(link(containers.helper_pid(bus), "exe")), "gantry-monitor")


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def assert_sealed(pid):
    assert link(pid, "exe").startswith("/memfd:"), link(pid, "exe")
    fd = os.open(f"/proc/{pid}/exe", os.O_RDONLY)
    try:
        assert fcntl.fcntl(fd, F_GET_SEALS) & F_SEAL_WRITE
    finally:
        os.close(fd)


def test_11_monitor_and_supervisors_run_from_a_sealed_copy(web, sleeper):
    assert_sealed(containers.monitor_pid(web))
    supervisors = [pid for pid in pids() if " attach " in f" {command(pid)} " and pid != os.getpid()]
    assert supervisors
    for pid in supervisors:
        assert_sealed(pid)


def test_11_no_program_of_the_host_runs_inside(web, sleeper):
    inside = [pid for pid in pids() if link(pid, "ns/pid") == containers.namespace(web.get("InitPid"), "pid")]
    assert sleeper in inside
    for pid in inside:
        exe = link(pid, "exe")
        assert not exe.startswith("/memfd:") and "gantry" not in exe, f"{pid} {exe} {command(pid)}"


def test_11_a_script_that_runs_what_entered_it_cannot_overwrite_it(bus, web):
    """CVE-2019-5736: the interpreter line names the program that is just entering."""
    path = program(bus)
    before = digest(path)
    root = f"{LXC_PATH}/web/rootfs"
    owner = os.stat(f"{root}/bin").st_uid
    with open(f"{root}/evil", "w") as file:
        file.write("#!/proc/self/exe\n")
    os.chmod(f"{root}/evil", 0o755)
    os.chown(f"{root}/evil", owner, owner)
    status = bus.container("web").execute("sh", "-c", """
        for try in 1 2 3; do
            for exe in /proc/[0-9]*/exe; do (echo evil > $exe) 2>/dev/null; done
        done""")[0]
    try:
        bus.container("web").execute("/evil")
    except Refused:
        pass
    assert status in range(256) and digest(path) == before
    assert bus.container("web").execute("hostname")[1] == "web\n"
    os.unlink(f"{root}/evil")


def test_12_init_and_what_enters_hold_nothing_but_their_stdio(web, sleeper):
    assert set(os.listdir(f"/proc/{web.get('InitPid')}/fd")) <= {"0", "1", "2"}
    assert set(os.listdir(f"/proc/{sleeper}/fd")) == {"0", "1", "2"}
    _, text, _ = web.execute("sh", "-c", "ls /proc/1/fd; ls /proc/self/fd")
    assert set(text.split()) <= {"0", "1", "2", "3"}
    shell, session = open_shell(web)
    with shell:
        assert set(shell.ask("ls /proc/$$/fd").split()) <= {"0", "1", "2", "10", "255"}
        web.bus.call(session, "Session", "Close")
        shell.closed()


def test_12_no_file_of_the_host_is_open_inside(web, sleeper):
    for pid in (web.get("InitPid"), sleeper):
        for number in os.listdir(f"/proc/{pid}/fd"):
            target = link(pid, f"fd/{number}")
            assert target.startswith(("/dev/", "pipe:", "/pts/", "/console", "/null")) or target == "/", target
            assert target not in ("/", "/root")


def test_13_the_working_folder_is_inside(web, sleeper):
    for pid in (web.get("InitPid"), sleeper):
        root, top = os.stat(f"/proc/{pid}/root"), os.stat(f"/proc/{pid}/cwd" + "/.." * 20)
        assert (top.st_dev, top.st_ino) == (root.st_dev, root.st_ino)


@pytest.mark.parametrize("cwd", [f"/proc/self/fd/{fd}" for fd in range(3, 20)] + ["/proc/self/cwd", "/../..", "/proc/1/cwd"])
def test_13_a_working_folder_cannot_lead_out(web, cwd):
    """CVE-2024-21626: a folder of the host that was left open."""
    try:
        status, text, _ = web.execute("sh", "-c", "stat -c %d:%i / ../../../../../../../../..", cwd=cwd)
    except Refused:
        return
    if status == 0:
        root, top = text.split()
        assert root == top


def test_14_what_enters_has_namespaces_groups_and_rights_of_init(web, sleeper):
    pid = web.get("InitPid")
    for kind in ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts"):
        assert containers.namespace(sleeper, kind) == containers.namespace(pid, kind), kind
    with open(f"/proc/{pid}/cgroup") as init, open(f"/proc/{sleeper}/cgroup") as entered:
        assert init.read() == entered.read()
    for field in ("CapBnd", "CapInh", "CapAmb", "Uid", "Gid", "NoNewPrivs", "Seccomp"):
        assert containers.status_of(sleeper, field) == containers.status_of(pid, field), field
    assert not int(containers.status_of(sleeper, "CapEff"), 16) & ~int(containers.status_of(pid, "CapBnd"), 16)


def test_14_no_new_privileges_hold_for_what_enters(bus):
    box = bus.create("box", template="busybox", start=True, config=["lxc.no_new_privs = 1"])
    assert containers.status_of(box.get("InitPid"), "NoNewPrivs") == "1"
    assert "NoNewPrivs:\t1" in box.execute("cat", "/proc/self/status")[1]


def process_with(pid):
    """An innocent process that has this number."""
    for _ in range(500):
        with open("/proc/sys/kernel/ns_last_pid", "w") as last:
            last.write(str(pid - 1))
        process = subprocess.Popen(["sleep", "335"])
        if process.pid == pid:
            return process
        process.kill()
        process.wait()
    raise AssertionError(f"no process can be made with the number {pid}")


def test_15_who_has_the_number_of_a_former_init_is_left_alone(bus):
    """A number that the kernel has given to another process by now is not signalled."""
    box = bus.create("box", template="busybox", start=True)
    init, monitor, helper = box.get("InitPid"), containers.monitor_pid(box), containers.helper_pid(bus)
    os.kill(helper, signal.SIGSTOP)
    try:
        for pid in monitor, init:
            os.kill(pid, signal.SIGKILL)
        until(lambda: not os.path.exists(f"/proc/{init}"))
        innocent = process_with(init)
    finally:
        os.kill(helper, signal.SIGCONT)
    try:
        for end in box.kill, box.stop, box.kill:
            with suppress(Refused):
                end()
        until(lambda: box.state == "STOPPED")
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


def test_19_consoles_are_of_the_containers_own_devpts(web):
    host = os.stat("/dev/pts").st_dev
    pid = web.get("InitPid")
    assert os.stat(f"/proc/{pid}/root/dev/pts").st_dev != host
    assert os.stat(f"/proc/{pid}/root/dev/console").st_dev != host
    terminals = {link(pid, f"fd/{number}") for number in range(3)}
    assert terminals <= {"/dev/console", "/console", "/dev/null", "/null"} or \
        all(name.startswith(("/pts/", "/dev/pts/")) for name in terminals)


def test_19_a_shell_leads_a_session_of_its_own_terminal(web):
    shell, session = open_shell(web)
    with shell:
        fields = shell.ask("cat /proc/$$/stat").rpartition(")")[2].split()
        assert fields[3] == shell.ask("echo $$")
        assert fields[4] != "0"
        web.bus.call(session, "Session", "Close")
        shell.closed()


def test_20_children_of_the_helper_have_a_clean_environment(web, sleeper):
    own = [pid for pid in pids() if link(pid, "exe").startswith("/memfd:")]
    assert containers.monitor_pid(web) in own
    for pid in own:
        assert link(pid, "cwd") == "/"
        with open(f"/proc/{pid}/environ") as file:
            environ = [entry for entry in file.read().split("\0") if entry]
        assert not [entry for entry in environ if entry.startswith(("DBUS", "LD_", "HOME", "USER", "SUDO"))], environ
        assert containers.status_of(pid, "Umask") == "0077", command(pid)


def test_12_descriptors_of_clients_do_not_reach_containers(bus):
    """A stream that a client handed over is open in the helper, not in what it starts."""
    out, into = os.pipe()
    try:
        pipe = link("self", f"fd/{out}")
        job = start_create(bus, "slow", out)
        write_all(into, Archive().bytes()[:30000])
        box = bus.create("box", template="busybox", start=True)
        for pid in (containers.monitor_pid(box), box.get("InitPid")):
            assert pipe not in [link(pid, f"fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
        job.cancel()
        job.wait()
    finally:
        os.close(out)
        os.close(into)
