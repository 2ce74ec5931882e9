"""Filters of system calls: `lxc.seccomp.profile`. What a filter must stop is tried in the container, and stock
LXC is asked the same. Numbers in names are items of the security checklist.
"""

import os
import signal
import struct
from contextlib import contextmanager

import pytest

import containers
from containers import refused
from gantry import GLib, run, until

COMMON = "/usr/share/lxc/config/common.seccomp"
PROBES = {
    # chroot(2) fails with what the filter says, or works.
    "chroot": "chroot / true 2>&1 && echo done",
    "sync": "sync 2>&1 && echo done",
    "hostname": "hostname x 2>&1 && echo done",
    "umount -f": "mkdir -p /tmp/m; mount -t tmpfs none /tmp/m && umount -f /tmp/m 2>&1 && echo done",
    "umount": "mkdir -p /tmp/n; mount -t tmpfs none /tmp/n && umount /tmp/n 2>&1 && echo done",
}


@contextmanager
def profile(tmp_path, text):
    path = tmp_path / "profile"
    path.write_text(text)
    path.chmod(0o644)
    yield str(path)


def start(bus, path, *config, name="box"):
    return bus.create(name, template="busybox", privileged=True, start=True,
                      config=[f"lxc.seccomp.profile = {path}", *config])


def probe(box, what):
    _, out, error = box.execute("sh", "-c", PROBES[what])
    return out + error


def filters(pid):
    return containers.status_of(pid, "Seccomp"), containers.status_of(pid, "Seccomp_filters")


@pytest.fixture(scope="module")
def denied(tmp_path_factory):
    """A container whose filter denies some calls, and what lxc-start makes of the same config."""
    path = tmp_path_factory.mktemp("seccomp") / "profile"
    path.write_text("2\ndenylist\nreject_force_umount\n[all]\nchroot errno 5\nsync errno 38\n"
                    "no_such_call errno 1\n[x86_64]\nsethostname errno 12\n[arm64]\ngetpid kill\n")
    with containers.shared("filtered", privileged=True, config=[f"lxc.seccomp.profile = {path}"]) as box:
        yield box


def test_18_calls_are_denied_with_the_error_of_the_profile(denied):
    assert "Input/output error" in probe(denied, "chroot")
    assert "Cannot allocate memory" in probe(denied, "hostname")
    assert "Permission denied" in probe(denied, "umount -f")
    assert "done" in probe(denied, "umount")
    assert filters(denied.get("InitPid")) == ("2", "1")


def test_18_sessions_are_filtered_like_init(denied):
    """A session's program has the filter once; one with more privilege has none."""
    read = ["sh", "-c", "grep Seccomp /proc/self/status"]
    assert denied.execute(*read)[1].split() == ["Seccomp:", "2", "Seccomp_filters:", "1"]
    assert denied.execute(*read, uid=GLib.Variant("u", 1000))[1].split() == ["Seccomp:", "2", "Seccomp_filters:", "1"]
    assert denied.execute(*read, elevated=True)[1].split()[1] == "0"


def test_18_stock_lxc_denies_the_same(denied):
    """The oracle: the same container by lxc-start, entered by lxc-attach and by Gantry."""
    mine = {what: probe(denied, what) for what in PROBES}
    denied.kill()
    run("lxc-start", "-n", "filtered")
    try:
        denied.wait("RUNNING")
        until(lambda: denied.get("InitPid"))
        for what, script in PROBES.items():
            stock = run("lxc-attach", "-n", "filtered", "--", "sh", "-c", script, check=False)
            assert stock.stdout + stock.stderr == mine[what], what
            assert probe(denied, what) == mine[what], what
    finally:
        run("lxc-stop", "-k", "-n", "filtered", check=False)
        denied.wait("STOPPED")
        denied.start()


def test_18_a_reboot_keeps_the_filter_though_the_profile_has_gone(bus, tmp_path):
    with profile(tmp_path, "2\ndenylist\nchroot errno 5\n") as path:
        box = start(bus, path)
        os.unlink(path)
        containers.booted(box)
        first = box.get("InitPid")
        box.execute("reboot")
        # Its pid is told before it is filtered.
        until(lambda: (pid := box.get("InitPid")) not in (0, first) and filters(pid) == ("2", "1"), 30)
        assert "Input/output error" in probe(box, "chroot")


def test_18_mapped_containers_are_filtered_without_no_new_privs(bus, tmp_path):
    with profile(tmp_path, "2\ndenylist\nchroot errno 5\n") as path:
        box = bus.create("box", template="busybox", start=True, config=[f"lxc.seccomp.profile = {path}"])
        pid = box.get("InitPid")
        assert filters(pid) == ("2", "1")
        assert containers.status_of(pid, "NoNewPrivs") == "0"
        assert "Input/output error" in probe(box, "chroot")


def test_conditions_on_arguments_count(bus, tmp_path):
    with profile(tmp_path, "2\ndenylist\nkill kill [1,10,==]\n") as path:
        box = start(bus, path)
        assert box.execute("sh", "-c", "trap : USR1; kill -USR1 $$")[0] == 128 + signal.SIGSYS
        assert box.execute("sh", "-c", "trap : USR2; kill -USR2 $$; echo lives")[1].strip() == "lives"


@pytest.mark.parametrize("text, line", [
    ("2\ndenylist\n[vax]\nread\n", 3),
    ("2\ngreylist\n", 2),
    ("4\nallowlist\n", 1),
    ("1\ndenylist\n", 2),
    ("2\nallowlist\nread [9,0,==]\n", 3),
])
def test_profiles_with_faults_refuse_the_start_as_with_stock(bus, tmp_path, text, line):
    with profile(tmp_path, text) as path:
        box = bus.create("box", template="busybox", privileged=True, config=[f"lxc.seccomp.profile = {path}"])
        with refused("InvalidConfig") as caught:
            box.start()
        assert f"{path}, line {line}" in caught[0].message
        assert box.state == "STOPPED"
        assert run("lxc-start", "-n", "box", check=False).returncode != 0


def test_a_profile_that_cannot_be_had_refuses_the_start(bus, tmp_path):
    box = bus.create("box", template="busybox", privileged=True,
                     config=[f"lxc.seccomp.profile = {tmp_path}/missing"])
    with refused("InvalidConfig") as caught:
        box.start()
    assert f"{tmp_path}/missing" in caught[0].message
    (tmp_path / "missing").write_text("2\ndenylist\n")
    (tmp_path / "missing").chmod(0o666)
    with refused("InvalidConfig") as caught:
        box.start()
    assert "others" in caught[0].message


def test_the_common_profile_need_not_be_installed(bus):
    """What LXC's package has is there in another form."""
    hidden = COMMON + ".hidden"
    os.rename(COMMON, hidden)
    try:
        box = start(bus, COMMON)
        assert filters(box.get("InitPid")) == ("2", "1")
        assert "Permission denied" in probe(box, "umount -f")
        assert "done" in probe(box, "umount")
    finally:
        os.rename(hidden, COMMON)


def test_the_32_bit_calls_are_filtered_too(bus, tmp_path):
    """A rule without a section counts for the compatible architectures: i386 is not a way around."""
    with profile(tmp_path, "2\ndenylist\nchroot errno 5\n") as path:
        box = start(bus, path)
        # mov $61, %eax (chroot of i386); xor %ebx, %ebx; int $0x80; neg %eax; mov %eax, %ebx; mov $1, %eax; int $0x80
        code = bytes.fromhex("b83d00000031dbcd80f7d889c3b801000000cd80")
        program = elf(code)
        box.execute("sh", "-c", "cat > /tmp/call; chmod +x /tmp/call", stdin=program)
        assert box.execute("/tmp/call")[0] == 5


def elf(code):
    """A 64-bit program that is nothing but this code."""
    base, head = 0x400000, 64 + 56
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, base + head, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, head + len(code), head + len(code), 0x1000)
    return header + segment + code
